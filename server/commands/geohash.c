#include "config.h"

#include "server/commands/geohash.h"

#include <math.h>

/* Step numbers have 26 bits, 27 on the upper limit itself. Cells beside each other have neighbouring step numbers; at
 * the edges of the map they go round, which is right for the date line and harmless at the poles. */

#define EARTH_RADIUS_M 6372797.560856
#define MERCATOR_MAX_M 20037726.37 /* half the map */
#define RADIANS (M_PI / 180.0)

struct span {
    double min, max;
};
static const struct span lon_span = {-GEOHASH_LON_MAX, GEOHASH_LON_MAX};
static const struct span lat_span = {-GEOHASH_LAT_MAX, GEOHASH_LAT_MAX};

struct cell {
    uint32_t lon, lat; /* step numbers */
    int step;          /* bits they have */
};

/* ---- bits ---- */

/* Bit i goes to place 2i. */
static uint64_t spread(uint32_t v) {
    uint64_t x = v;
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x << 2) & UINT64_C(0x3333333333333333);
    return (x | x << 1) & UINT64_C(0x5555555555555555);
}

static uint32_t gather(uint64_t x) {
    x &= UINT64_C(0x5555555555555555);
    x = (x | x >> 1) & UINT64_C(0x3333333333333333);
    x = (x | x >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(x | x >> 16);
}

static uint64_t bits_of(struct cell c) {
    return spread(c.lat) | spread(c.lon) << 1;
}

static uint32_t step_number(double v, struct span s, int step) {
    return (uint32_t)((v - s.min) / (s.max - s.min) * (double)(UINT64_C(1) << step));
}

/* Where a step begins, in degrees. */
static double step_start(uint32_t number, struct span s, int step) {
    return s.min + (double)number / (double)(UINT64_C(1) << step) * (s.max - s.min);
}

static struct cell cell_at(struct geohash_point p, int step) {
    return (struct cell){step_number(p.lon, lon_span, step), step_number(p.lat, lat_span, step), step};
}

static struct geohash_box box_of(struct cell c) {
    return (struct geohash_box){{step_start(c.lon, lon_span, c.step), step_start(c.lat, lat_span, c.step)},
                                {step_start(c.lon + 1, lon_span, c.step), step_start(c.lat + 1, lat_span, c.step)}};
}

/* ---- points ---- */

bool geohash_in_limits(struct geohash_point p) {
    return p.lon >= lon_span.min && p.lon <= lon_span.max && p.lat >= lat_span.min && p.lat <= lat_span.max;
}

uint64_t geohash_encode(struct geohash_point p) {
    return bits_of(cell_at(p, GEOHASH_STEPS));
}

static double middle(double a, double b, struct span s) {
    double m = (a + b) / 2;
    return m < s.min ? s.min : m > s.max ? s.max : m;
}

struct geohash_point geohash_decode(uint64_t bits) {
    struct cell c = {gather(bits >> 1), gather(bits), GEOHASH_STEPS};
    struct geohash_box b = box_of(c);
    return (struct geohash_point){middle(b.min.lon, b.max.lon, lon_span), middle(b.min.lat, b.max.lat, lat_span)};
}

/* As 64-bit processors convert: beyond an int64, what is left of 2^63; a negative number as its two's complement. */
uint64_t geohash_of_score(double score) {
    const double half = 0x1p63;
    if (score >= -half && score < half)
        return (uint64_t)(int64_t)score;
    if (score >= half && score < 2 * half)
        return (uint64_t)(int64_t)(score - half) ^ UINT64_C(1) << 63;
    return score < 0 ? UINT64_C(1) << 63 : 0;
}

void geohash_text(struct geohash_point p, char ret_text[GEOHASH_TEXT_CHARS]) {
    static const char letters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    static const struct span whole = {-90, 90};
    struct cell c = {step_number(p.lon, lon_span, GEOHASH_STEPS), step_number(p.lat, whole, GEOHASH_STEPS),
                     GEOHASH_STEPS};
    uint64_t bits = bits_of(c);
    for (int i = 0; i < GEOHASH_TEXT_CHARS; i++) {
        int shift = 2 * GEOHASH_STEPS - 5 * (i + 1);
        ret_text[i] = letters[shift >= 0 ? bits >> shift & 31 : 0];
    }
}

/* ---- distances ---- */

double geohash_lat_distance_m(double lat_a, double lat_b) {
    return EARTH_RADIUS_M * fabs(lat_b * RADIANS - lat_a * RADIANS);
}

/* The haversine formula. */
double geohash_distance_m(struct geohash_point a, struct geohash_point b) {
    double v = sin((b.lon * RADIANS - a.lon * RADIANS) / 2);
    if (v == 0)
        return geohash_lat_distance_m(a.lat, b.lat);
    double lat_a = a.lat * RADIANS, lat_b = b.lat * RADIANS;
    double u = sin((lat_b - lat_a) / 2);
    return 2.0 * EARTH_RADIUS_M * asin(sqrt(u * u + cos(lat_a) * cos(lat_b) * v * v));
}

/* ---- areas ---- */

struct geohash_box geohash_box_around(struct geohash_point center, double half_width_m, double half_height_m) {
    const double high = half_height_m / EARTH_RADIUS_M / RADIANS;
    /* Parallels are shortest on the side of the pole: so many degrees are needed there. */
    const double side = center.lat < 0 ? center.lat - high : center.lat + high;
    const double wide = half_width_m / EARTH_RADIUS_M / cos(side * RADIANS) / RADIANS;
    return (struct geohash_box){{center.lon - wide, center.lat - high}, {center.lon + wide, center.lat + high}};
}

/* Steps whose cells are about as large as the radius, so that nine of them hold the circle; fewer, that is larger
 * cells, near the poles, where degrees of longitude are short. */
static int estimate_steps(double radius_m, double lat) {
    if (radius_m == 0)
        return GEOHASH_STEPS;
    int step = -1;
    for (double r = radius_m; r < MERCATOR_MAX_M; r *= 2)
        step++;
    if (fabs(lat) > 66)
        step--;
    if (fabs(lat) > 80)
        step--;
    return step < 1 ? 1 : step > GEOHASH_STEPS ? GEOHASH_STEPS : step;
}

static struct cell beside(struct cell c, int east, int north) {
    const uint32_t mask = (UINT32_C(1) << c.step) - 1;
    if (east != 0)
        c.lon = (c.lon + (uint32_t)east) & mask;
    if (north != 0)
        c.lat = (c.lat + (uint32_t)north) & mask;
    return c;
}

/* The cells around hold the whole box. */
static bool reaches(struct cell c, const struct geohash_box *box) {
    return box_of(beside(c, 0, 1)).max.lat >= box->max.lat && box_of(beside(c, 0, -1)).min.lat <= box->min.lat &&
           box_of(beside(c, 1, 0)).max.lon >= box->max.lon && box_of(beside(c, -1, 0)).min.lon <= box->min.lon;
}

int geohash_cover(struct geohash_point center, double radius_m, const struct geohash_box *box, bool tight,
                  struct geohash_range ret_ranges[GEOHASH_CELLS_MAX]) {
    static const struct {
        int east, north;
    } order[GEOHASH_CELLS_MAX] = {{0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    struct cell c = cell_at(center, estimate_steps(radius_m, center.lat));
    while (c.step > 1 && !reaches(c, box)) {
        c = cell_at(center, c.step - 1);
        if (tight)
            break;
    }
    const struct geohash_box own = box_of(c);
    int n = 0;
    for (int i = 0; i < GEOHASH_CELLS_MAX; i++) {
        if (c.step >= 2 &&
            ((order[i].north < 0 && own.min.lat < box->min.lat) || (order[i].north > 0 && own.max.lat > box->max.lat) ||
             (order[i].east < 0 && own.min.lon < box->min.lon) || (order[i].east > 0 && own.max.lon > box->max.lon)))
            continue;
        uint64_t bits = bits_of(beside(c, order[i].east, order[i].north));
        const int shift = 2 * (GEOHASH_STEPS - c.step);
        struct geohash_range r = {bits << shift, (bits + 1) << shift};
        bool twice = false; /* of four cells, the nine are some of them again */
        for (int k = 0; k < n; k++)
            twice = twice || ret_ranges[k].min == r.min;
        if (!twice)
            ret_ranges[n++] = r;
    }
    return n;
}
