#include "config.h"

#include "server/base/rng.h"

#include "tests/support/unit.h"

static void the_same_seed_gives_the_same_numbers(void **state) {
    (void)state;
    struct rng a, b, c;
    rng_init(&a, 7);
    rng_init(&b, 7);
    rng_init(&c, 8);
    int equal_to_c = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t v = rng_u64(&a);
        assert_true(v == rng_u64(&b));
        equal_to_c += v == rng_u64(&c);
    }
    assert_int_equal(equal_to_c, 0);
}

/* First outputs of the authors' generator with state 1, 2, 3, 4. */
static void it_is_xoshiro256starstar(void **state) {
    (void)state;
    struct rng r = {{1, 2, 3, 4}};
    assert_true(rng_u64(&r) == 11520);
    assert_true(rng_u64(&r) == 0);
    assert_true(rng_u64(&r) == 1509978240);
    assert_true(rng_u64(&r) == 1215971899390074240);
}

static void below_is_uniform_and_bounded(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 1);
    int counts[6] = {0};
    for (int i = 0; i < 60000; i++) {
        uint64_t v = rng_below(&r, 6);
        assert_true(v < 6);
        counts[v]++;
    }
    for (int i = 0; i < 6; i++)
        assert_in_range(counts[i], 9500, 10500);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rng_below(&r, 1), 0);
        assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
        double unit = rng_unit(&r);
        assert_true(unit >= 0 && unit < 1);
    }
}

static void ids_are_hex_and_differ(void **state) {
    (void)state;
    char a[41], b[41];
    rng_hex_id(a, 20);
    rng_hex_id(b, 20);
    assert_int_equal(strlen(a), 40);
    assert_int_equal(strspn(a, "0123456789abcdef"), 40);
    assert_string_not_equal(a, b);
    unsigned char zeros[64] = {0}, filled[64] = {0};
    rng_entropy(filled, sizeof filled);
    assert_memory_not_equal(filled, zeros, sizeof filled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_numbers),
        cmocka_unit_test(it_is_xoshiro256starstar),
        cmocka_unit_test(below_is_uniform_and_bounded),
        cmocka_unit_test(ids_are_hex_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
