/* Four registers are three bytes: a group of them, spread over four bytes, is what both ways of unpacking make. */
#include "config.h"

#include "server/ds/hll_registers.h"

#include <math.h>
#include <string.h>

#include "server/base/endian.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define COUNT_MAX 9.2e18 /* what registers of no true element would exceed */
#define RANK_MAX 51      /* 64 - 14 bits of hash, and one for none of them being set */

/* ---- packed registers ---- */

void hll_pack(unsigned char *object, const uint8_t registers[static HLL_REGISTERS]) {
    unsigned char *p = object + HLL_HEADER_BYTES;
    for (uint32_t i = 0; i < HLL_REGISTERS; i += 4, p += 3) {
        uint32_t group = (uint32_t)registers[i] | (uint32_t)registers[i + 1] << 6 | (uint32_t)registers[i + 2] << 12 |
                         (uint32_t)registers[i + 3] << 18;
        p[0] = (unsigned char)group;
        p[1] = (unsigned char)(group >> 8);
        p[2] = (unsigned char)(group >> 16);
    }
}

/* Eight registers from the low six bytes of x. */
static uint64_t spread(uint64_t x) {
    const uint64_t first = UINT64_C(0x0000003f0000003f);
    x = (x & 0xffffff) | (x & UINT64_C(0xffffff000000)) << 8;
    return (x & first) | (x << 2 & first << 8) | (x << 4 & first << 16) | (x << 6 & first << 24);
}

/* Registers are raised a block at a time: unpacked, then compared by a loop that the compiler makes vectors of. */
#define BLOCK 256u

static void raise_block(uint8_t *restrict to, const uint8_t *restrict from) {
    for (unsigned i = 0; i < BLOCK; i++)
        to[i] = from[i] > to[i] ? from[i] : to[i];
}

static void merge_from(uint8_t *registers, const unsigned char *packed, uint32_t at) {
    for (; at < HLL_REGISTERS; at += BLOCK) {
        uint8_t block[BLOCK];
        for (unsigned i = 0; i < BLOCK; i += 8) {
            unsigned char six[8] = {0};
            memcpy(six, packed + (at + i) / 4 * 3, 6);
            store_le64(block + i, spread(load_le64(six)));
        }
        raise_block(registers + at, block);
    }
}

void hll_merge_dense_portable(uint8_t registers[static HLL_REGISTERS], const unsigned char *object) {
    merge_from(registers, object + HLL_HEADER_BYTES, 0);
}

#if defined(__x86_64__)
/* 32 registers a step. Each half takes 12 of the 16 bytes it loads, so the last steps, which would load bytes behind
 * the object, are left to the other way. */
__attribute__((target("avx2"))) static void merge_avx2(uint8_t *registers, const unsigned char *packed) {
    const __m256i groups = _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 0, 1, 2, -1, 3, 4, 5,
                                            -1, 6, 7, 8, -1, 9, 10, 11, -1);
    const __m256i first = _mm256_set1_epi32(0x3f);
    const uint32_t end = HLL_REGISTERS - BLOCK;
    for (uint32_t at = 0; at < end; at += 32) {
        const unsigned char *p = packed + at / 4 * 3;
        __m256i x = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p)),
                                            _mm_loadu_si128((const __m128i *)(const void *)(p + 12)), 1);
        x = _mm256_shuffle_epi8(x, groups);
        __m256i r = _mm256_and_si256(x, first);
        r = _mm256_or_si256(r, _mm256_and_si256(_mm256_slli_epi32(x, 2), _mm256_slli_epi32(first, 8)));
        r = _mm256_or_si256(r, _mm256_and_si256(_mm256_slli_epi32(x, 4), _mm256_slli_epi32(first, 16)));
        r = _mm256_or_si256(r, _mm256_and_si256(_mm256_slli_epi32(x, 6), _mm256_slli_epi32(first, 24)));
        __m256i *to = (__m256i *)(void *)(registers + at);
        _mm256_storeu_si256(to, _mm256_max_epu8(_mm256_loadu_si256(to), r));
    }
    merge_from(registers, packed, end);
}
#endif

static void merge_dense(uint8_t *registers, const unsigned char *object) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        merge_avx2(registers, object + HLL_HEADER_BYTES);
        hll_clear_upper_halves();
        return;
    }
#endif
    hll_merge_dense_portable(registers, object);
}

static void merge_sparse(uint8_t *registers, const unsigned char *p, const unsigned char *end) {
    for (uint32_t at = 0; p != end;) {
        struct hll_run run = hll_run_at(p);
        for (uint32_t i = 0; run.rank != 0 && i < run.length; i++)
            if (registers[at + i] < run.rank)
                registers[at + i] = (uint8_t)run.rank;
        at += run.length;
        p += run.bytes;
    }
}

void hll_merge(uint8_t registers[static HLL_REGISTERS], struct slice object) {
    const unsigned char *p = (const unsigned char *)object.p;
    if (p[HLL_FORM_AT] == HLL_FORM_DENSE)
        merge_dense(registers, p);
    else
        merge_sparse(registers, p + HLL_HEADER_BYTES, p + object.n);
}

/* ---- estimates ---- */

/* Ertl's algorithm 6 sums the histogram between two series, which stand for the registers that are empty and for those
 * that are as high as can be. Each runs until its sum does not change any more. */
static double series_of_empty(double x) {
    if (x == 1)
        return INFINITY;
    double factor = 1, sum = x, before;
    do {
        x *= x;
        before = sum;
        sum += x * factor;
        factor += factor;
    } while (sum != before);
    return sum;
}

static double series_of_full(double x) {
    if (x == 0 || x == 1)
        return 0;
    double factor = 1, sum = 1 - x, before;
    do {
        x = sqrt(x);
        before = sum;
        factor *= 0.5;
        sum -= (1 - x) * (1 - x) * factor;
    } while (sum != before);
    return sum / 3;
}

uint64_t hll_estimate(const uint32_t histogram[static 64]) {
    const double m = HLL_REGISTERS;
    double sum = m * series_of_full((m - histogram[RANK_MAX]) / m);
    for (unsigned rank = RANK_MAX - 1; rank >= 1; rank--)
        sum = (sum + histogram[rank]) * 0.5;
    sum += m * series_of_empty(histogram[0] / m);
    const double alpha = 0.721347520444481703680; /* 1 / (2 ln 2) */
    const double estimate = alpha * m * m / sum;
    return estimate < COUNT_MAX ? (uint64_t)llround(estimate) : (uint64_t)INT64_MAX;
}

/* Four histograms, so that equal neighbours do not wait for each other. */
uint64_t hll_count_registers(const uint8_t registers[static HLL_REGISTERS]) {
    uint32_t parts[4][64] = {{0}}, histogram[64];
    for (uint32_t i = 0; i < HLL_REGISTERS; i += 8) {
        uint64_t x = load_le64(registers + i);
        parts[0][x & 63]++;
        parts[1][x >> 8 & 63]++;
        parts[2][x >> 16 & 63]++;
        parts[3][x >> 24 & 63]++;
        parts[0][x >> 32 & 63]++;
        parts[1][x >> 40 & 63]++;
        parts[2][x >> 48 & 63]++;
        parts[3][x >> 56 & 63]++;
    }
    for (unsigned r = 0; r < 64; r++)
        histogram[r] = parts[0][r] + parts[1][r] + parts[2][r] + parts[3][r];
    return hll_estimate(histogram);
}

uint64_t hll_count(struct slice object) {
    const unsigned char *p = (const unsigned char *)object.p, *end = p + object.n;
    if (p[HLL_FORM_AT] == HLL_FORM_DENSE) {
        uint8_t registers[HLL_REGISTERS] = {0};
        merge_dense(registers, p);
        return hll_count_registers(registers);
    }
    uint32_t histogram[64] = {0};
    for (p += HLL_HEADER_BYTES; p != end;) {
        struct hll_run run = hll_run_at(p);
        histogram[run.rank] += run.length;
        p += run.bytes;
    }
    return hll_estimate(histogram);
}
