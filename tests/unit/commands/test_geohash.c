#include "config.h"

#include "server/commands/geohash.h"

#include "server/base/rng.h"
#include "tests/support/unit.h"

#include <math.h>
#include <string.h>

/* Numbers, texts and distances of known places; cells that cover what they are asked to. */

static double random_in(struct rng *rng, double from, double to) {
    return from + (to - from) * rng_unit(rng);
}

static void known_places(void **state) {
    (void)state;
    const struct geohash_point palermo = {13.361389, 38.115556}, catania = {15.087269, 37.502669};
    char text[GEOHASH_TEXT_CHARS];
    assert_int_equal(geohash_encode(palermo), UINT64_C(3479099956230698));
    assert_int_equal(geohash_encode(catania), UINT64_C(3479447370796909));
    geohash_text(geohash_decode(UINT64_C(3479099956230698)), text);
    assert_memory_equal(text, "sqc8b49rny0", sizeof text);
    geohash_text(geohash_decode(UINT64_C(3479447370796909)), text);
    assert_memory_equal(text, "sqdtr74hyu0", sizeof text);
    double m =
        geohash_distance_m(geohash_decode(UINT64_C(3479099956230698)), geohash_decode(UINT64_C(3479447370796909)));
    assert_true(fabs(m - 166274.1516) < 0.0001);
    assert_true(geohash_distance_m(palermo, palermo) == 0);
    assert_true(fabs(geohash_lat_distance_m(0, 90) - 6372797.560856 * M_PI / 2) < 1e-6);
}

static void a_number_leads_back_to_its_place(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 200000; i++) {
        struct geohash_point p = {random_in(&rng, -180, 180), random_in(&rng, -GEOHASH_LAT_MAX, GEOHASH_LAT_MAX)};
        uint64_t bits = geohash_encode(p);
        struct geohash_point q = geohash_decode(bits);
        assert_true(bits < UINT64_C(1) << 52);
        assert_true(fabs(p.lon - q.lon) <= 360.0 / (1 << 27) * 1.0001);
        assert_true(fabs(p.lat - q.lat) <= GEOHASH_LAT_MAX / (1 << 26) * 1.0001);
        assert_int_equal(geohash_encode(q), bits);
        assert_int_equal(geohash_of_score((double)bits), bits);
    }
}

static void limits_and_numbers_that_are_no_places(void **state) {
    (void)state;
    const struct geohash_point corner = {180, GEOHASH_LAT_MAX}, other = {-180, -GEOHASH_LAT_MAX};
    assert_true(geohash_in_limits(corner) && geohash_in_limits(other));
    assert_false(geohash_in_limits((struct geohash_point){180.0001, 0}));
    assert_false(geohash_in_limits((struct geohash_point){0, -85.06}));
    assert_false(geohash_in_limits((struct geohash_point){NAN, 0}));
    assert_int_equal(geohash_encode(other), 0);
    assert_int_equal(geohash_encode(corner), UINT64_C(3) << 52);
    static const double odd[] = {-1, -0.5, 0x1p53, 0x1p63, 0x1.8p63, 0x1p64, 1e300, -1e300, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct geohash_point p = geohash_decode(geohash_of_score(odd[i]));
        assert_true(geohash_in_limits(p));
    }
    assert_int_equal(geohash_of_score(-1), UINT64_MAX);
    assert_int_equal(geohash_of_score(0x1p63), UINT64_C(1) << 63);
}

static bool covered(const struct geohash_range *ranges, int n, struct geohash_point p) {
    uint64_t bits = geohash_encode(p);
    int times = 0;
    for (int i = 0; i < n; i++)
        times += bits >= ranges[i].min && bits < ranges[i].max;
    assert_true(times <= 1); /* nothing is found twice */
    return times == 1;
}

/* Away from the poles every circle is inside the cells. */
static void cells_cover_circles(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 2);
    for (int i = 0; i < 3000; i++) {
        struct geohash_point c = {random_in(&rng, -180, 180), random_in(&rng, -60, 60)};
        double r = pow(10, random_in(&rng, 0, 6));
        struct geohash_box box = geohash_box_around(c, r, r);
        struct geohash_range ranges[GEOHASH_CELLS_MAX];
        int n = geohash_cover(c, r, &box, true, ranges);
        assert_in_range(n, 1, GEOHASH_CELLS_MAX);
        assert_true(covered(ranges, n, c));
        for (int k = 0; k < 100; k++) {
            struct geohash_point p = {random_in(&rng, box.min.lon, box.max.lon),
                                      random_in(&rng, box.min.lat, box.max.lat)};
            p.lon = p.lon > 180 ? p.lon - 360 : p.lon < -180 ? p.lon + 360 : p.lon;
            if (geohash_in_limits(p) && geohash_distance_m(c, p) <= r)
                assert_true(covered(ranges, n, p));
        }
    }
}

static void cells_cover_any_box(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (int i = 0; i < 3000; i++) {
        struct geohash_point a = {random_in(&rng, -180, 180), random_in(&rng, -85, 85)},
                             b = {a.lon + random_in(&rng, 0, 40) * random_in(&rng, 0, 1),
                                  a.lat + random_in(&rng, 0, 80)};
        if (b.lon > 180 || b.lat > 85)
            continue;
        struct geohash_box box = {a, b};
        struct geohash_point c = {(a.lon + b.lon) / 2, (a.lat + b.lat) / 2};
        struct geohash_range ranges[GEOHASH_CELLS_MAX];
        int n = geohash_cover(c, geohash_distance_m(c, a), &box, false, ranges);
        for (int k = 0; k < 100; k++)
            assert_true(covered(ranges, n,
                                (struct geohash_point){random_in(&rng, a.lon, b.lon), random_in(&rng, a.lat, b.lat)}));
    }
}

static void a_small_circle_needs_few_numbers(void **state) {
    (void)state;
    const struct geohash_point c = {13.4, 52.5};
    struct geohash_box box = geohash_box_around(c, 100, 100);
    struct geohash_range ranges[GEOHASH_CELLS_MAX];
    int n = geohash_cover(c, 100, &box, true, ranges);
    uint64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += ranges[i].max - ranges[i].min;
    assert_true(sum < UINT64_C(1) << 26);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_places),
        cmocka_unit_test(a_number_leads_back_to_its_place),
        cmocka_unit_test(limits_and_numbers_that_are_no_places),
        cmocka_unit_test(cells_cover_circles),
        cmocka_unit_test(cells_cover_any_box),
        cmocka_unit_test(a_small_circle_needs_few_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
