/* Bit arrays over bytes: counting, searching, combining, and integers of any width. Pure, any thread.
 *
 * Bit 0 is the most significant bit of byte 0, as SETBIT numbers them.
 */
#ifndef HF_COMMANDS_BITS_H
#define HF_COMMANDS_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

/* Set bits in p[0 … n). */
uint64_t bits_count(const void *p, size_t n);
/* Set bits among bits first … last (inclusive, first ≤ last). */
uint64_t bits_count_range(const void *p, uint64_t first, uint64_t last);
/* The first bit equal to `bit` among bits first … last (inclusive, first ≤ last), or -1. */
int64_t bits_find(const void *p, uint64_t first, uint64_t last, bool bit);

enum bits_op { BITS_AND, BITS_OR, BITS_XOR, BITS_NOT, BITS_DIFF, BITS_DIFF1, BITS_ANDOR, BITS_ONE };
/* dst[0 … n) = op over count ≥ 1 sources, shorter ones continued by zeroes; n is the length of the longest. NOT takes
 * the first source only. DIFF: the first and none of the others; DIFF1: any of the others and not the first; ANDOR: the
 * first and any of the others; ONE: exactly one of all. dst overlaps no source. */
void bits_combine(enum bits_op op, void *dst, size_t n, const struct slice *sources, size_t count);

/* An unsigned integer of 1 … 64 bits at bit `offset`; bits behind n bytes are 0. */
uint64_t bits_get(const void *p, size_t n, uint64_t offset, unsigned width);
/* Writes the low `width` bits of v; all of them lie within the array. */
void bits_put(void *p, uint64_t offset, unsigned width, uint64_t v);

#endif
