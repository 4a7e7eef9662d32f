/* Places on the sphere as 52-bit numbers, whose order keeps what is near together: the scores of GEOADD.
 *
 * Longitude (-180 … 180) and latitude (±85.05112878, where the Mercator projection is a square) are cut in 2^26 steps
 * each; the bits of the two step numbers take turns, latitude in the even places. The first 2n bits name a cell: one of
 * 2^n × 2^n rectangles of degrees. Degrees throughout; distances in metres on a sphere. Pure, any thread.
 */
#ifndef HF_COMMANDS_GEOHASH_H
#define HF_COMMANDS_GEOHASH_H

#include <stdbool.h>
#include <stdint.h>

#define GEOHASH_STEPS 26
#define GEOHASH_LON_MAX 180.0
#define GEOHASH_LAT_MAX 85.05112878
#define GEOHASH_TEXT_CHARS 11
#define GEOHASH_CELLS_MAX 9

struct geohash_point {
    double lon, lat;
};
struct geohash_box {
    struct geohash_point min, max;
};

/* The point lies within the limits. */
bool geohash_in_limits(struct geohash_point p);
/* Of a point within the limits. On the upper limits the number has more than 52 bits. */
uint64_t geohash_encode(struct geohash_point p);
/* The middle of the smallest cell, for any number. */
struct geohash_point geohash_decode(uint64_t bits);
/* The number that a score stands for: any double, also such as GEOADD never made. */
uint64_t geohash_of_score(double score);
/* The text known from geohash.org (latitudes to ±90 there); without a NUL. Its last letter is "0": there are no bits
 * left for it. */
void geohash_text(struct geohash_point p, char ret_text[GEOHASH_TEXT_CHARS]);

double geohash_distance_m(struct geohash_point a, struct geohash_point b);
/* Between two parallels. */
double geohash_lat_distance_m(double lat_a, double lat_b);

/* A rectangle around a point that reaches so far in each direction. Beyond the limits near the poles and the date
 * line, as it comes. */
struct geohash_box geohash_box_around(struct geohash_point center, double half_width_m, double half_height_m);

/* Numbers from min to below max. */
struct geohash_range {
    uint64_t min, max;
};
/* Cells that hold everything inside a box and not further than radius_m from the centre (which is inside the box): the
 * centre's own first, then those beside it that reach into the box. Returns how many. `tight`: the size of the cells is
 * reduced once at most, as redis-server does it, where the box is that of a circle or a rectangle around the centre;
 * else as often as needed. */
int geohash_cover(struct geohash_point center, double radius_m, const struct geohash_box *box, bool tight,
                  struct geohash_range ret_ranges[GEOHASH_CELLS_MAX]);

#endif
