#include "config.h"

#include "server/commands/bits.h"

#include "server/base/assert.h"
#include "server/base/endian.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- counting ---- */

static uint64_t count_words(const unsigned char *p, size_t n) {
    uint64_t total = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        total += (uint64_t)__builtin_popcountll(load_le64(p + i));
    for (; i < n; i++)
        total += (uint64_t)__builtin_popcount(p[i]);
    return total;
}

#if defined(__x86_64__)
/* Bit counts of both nibbles of 32 bytes by table look-up, summed per 8 bytes (W. Muła, "SSSE3: fast popcount"). Bytes
 * hold at most 8 a step, so that 31 steps fit before the sums are widened. */
__attribute__((target("avx2"))) static uint64_t count_avx2(const unsigned char *p, size_t n) {
    const __m256i nibble_counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2,
                                                   3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(0x0f);
    __m256i total = _mm256_setzero_si256();
    size_t i = 0;
    while (i + 32 <= n) {
        __m256i bytes = _mm256_setzero_si256();
        for (int step = 0; step < 31 && i + 32 <= n; step++, i += 32) {
            __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
            __m256i lower = _mm256_shuffle_epi8(nibble_counts, _mm256_and_si256(v, low));
            __m256i upper = _mm256_shuffle_epi8(nibble_counts, _mm256_and_si256(_mm256_srli_epi16(v, 4), low));
            bytes = _mm256_add_epi8(bytes, _mm256_add_epi8(lower, upper));
        }
        total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
    }
    uint64_t lanes[4];
    _mm256_storeu_si256((__m256i *)(void *)lanes, total);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3] + count_words(p + i, n - i);
}
#endif

uint64_t bits_count(const void *p, size_t n) {
#if defined(__x86_64__)
    if (n >= 64 && __builtin_cpu_supports("avx2"))
        return count_avx2(p, n);
#endif
    return count_words(p, n);
}

/* The bits of a byte from position `first` on, and up to position `last`. */
static unsigned mask_from(uint64_t first) {
    return 0xffu >> (first % 8);
}
static unsigned mask_to(uint64_t last) {
    return 0xffu & (0xff00u >> (last % 8 + 1));
}

uint64_t bits_count_range(const void *p, uint64_t first, uint64_t last) {
    const unsigned char *b = p;
    size_t from = (size_t)(first / 8), to = (size_t)(last / 8);
    if (from == to)
        return (uint64_t)__builtin_popcount(b[from] & mask_from(first) & mask_to(last));
    return (uint64_t)__builtin_popcount(b[from] & mask_from(first)) + bits_count(b + from + 1, to - from - 1) +
           (uint64_t)__builtin_popcount(b[to] & mask_to(last));
}

/* ---- searching ---- */

int64_t bits_find(const void *p, uint64_t first, uint64_t last, bool bit) {
    const unsigned char *b = p;
    size_t at = (size_t)(first / 8), to = (size_t)(last / 8);
    const unsigned char flip = bit ? 0 : 0xff; /* from here on a set bit is searched */
    unsigned byte = (unsigned)(b[at] ^ flip) & mask_from(first);
    if (byte == 0 && at < to) {
        const uint64_t skip = bit ? 0 : UINT64_MAX;
        at++;
        while (at + 8 <= to && load_le64(b + at) == skip)
            at += 8;
        while (at < to && b[at] == (unsigned char)skip)
            at++;
        byte = (unsigned)(b[at] ^ flip);
    }
    if (at == to)
        byte &= mask_to(last);
    if (byte == 0)
        return -1;
    return (int64_t)at * 8 + __builtin_clz(byte) - 24;
}

/* ---- combining ---- */

/* Blocks stay in the first-level cache while all sources pass over them. */
#define BLOCK_BYTES 4096

typedef uint64_t vec __attribute__((vector_size(32), aligned(1), may_alias));

#define COMBINE(name, expression)                                                                                      \
    static void name(unsigned char *restrict d, const unsigned char *restrict s, size_t n) {                           \
        size_t i = 0;                                                                                                  \
        for (; i + sizeof(vec) <= n; i += sizeof(vec)) {                                                               \
            vec x = *(const vec *)(d + i), y = *(const vec *)(s + i);                                                  \
            *(vec *)(d + i) = (expression);                                                                            \
        }                                                                                                              \
        for (; i < n; i++) {                                                                                           \
            unsigned char x = d[i], y = s[i];                                                                          \
            d[i] = (unsigned char)(expression);                                                                        \
        }                                                                                                              \
    }
COMBINE(combine_and, x &y)
COMBINE(combine_or, x | y)
COMBINE(combine_xor, x ^ y)
COMBINE(combine_first_not, y & ~x) /* d holds the others' union, s is the first */
COMBINE(combine_others_not, x & ~y)

static void complement(unsigned char *d, size_t n) {
    size_t i = 0;
    for (; i + sizeof(vec) <= n; i += sizeof(vec))
        *(vec *)(d + i) = ~*(const vec *)(d + i);
    for (; i < n; i++)
        d[i] = (unsigned char)~d[i];
}

/* d: set in exactly one so far; twice: set in more. */
static void combine_one(unsigned char *restrict d, unsigned char *restrict twice, const unsigned char *restrict s,
                        size_t n) {
    size_t i = 0;
    for (; i + sizeof(vec) <= n; i += sizeof(vec)) {
        vec x = *(const vec *)(d + i), t = *(const vec *)(twice + i), y = *(const vec *)(s + i);
        t |= x & y;
        *(vec *)(twice + i) = t;
        *(vec *)(d + i) = (x | y) & ~t;
    }
    for (; i < n; i++) {
        twice[i] = (unsigned char)(twice[i] | (d[i] & s[i]));
        d[i] = (unsigned char)((d[i] | s[i]) & ~twice[i]);
    }
}

/* The part of a source in the block at `at`: its bytes and how many there are. */
static size_t part(struct slice source, size_t at, size_t n, const unsigned char **ret_p) {
    *ret_p = (const unsigned char *)source.p + (at < source.n ? at : 0);
    if (at >= source.n)
        return 0;
    return source.n - at < n ? source.n - at : n;
}

static void load_block(unsigned char *d, struct slice source, size_t at, size_t n) {
    const unsigned char *p;
    size_t have = part(source, at, n, &p);
    if (have > 0)
        memcpy(d, p, have);
    memset(d + have, 0, n - have);
}

/* d = union of the sources. */
static void unite_block(unsigned char *d, const struct slice *sources, size_t count, size_t at, size_t n) {
    memset(d, 0, n);
    for (size_t k = 0; k < count; k++) {
        const unsigned char *p;
        size_t have = part(sources[k], at, n, &p);
        combine_or(d, p, have);
    }
}

static void combine_block(enum bits_op op, unsigned char *d, const struct slice *sources, size_t count, size_t at,
                          size_t n) {
    unsigned char twice[BLOCK_BYTES];
    const unsigned char *p;
    size_t have;
    switch (op) {
    case BITS_AND:
        load_block(d, sources[0], at, n);
        for (size_t k = 1; k < count; k++) {
            have = part(sources[k], at, n, &p);
            combine_and(d, p, have);
            memset(d + have, 0, n - have);
        }
        break;
    case BITS_OR:
        unite_block(d, sources, count, at, n);
        break;
    case BITS_XOR:
        load_block(d, sources[0], at, n);
        for (size_t k = 1; k < count; k++) {
            have = part(sources[k], at, n, &p);
            combine_xor(d, p, have);
        }
        break;
    case BITS_NOT:
        load_block(d, sources[0], at, n);
        complement(d, n);
        break;
    case BITS_DIFF:
    case BITS_ANDOR:
        unite_block(d, sources + 1, count - 1, at, n);
        have = part(sources[0], at, n, &p);
        (op == BITS_DIFF ? combine_first_not : combine_and)(d, p, have);
        memset(d + have, 0, n - have);
        break;
    case BITS_DIFF1:
        unite_block(d, sources + 1, count - 1, at, n);
        have = part(sources[0], at, n, &p);
        combine_others_not(d, p, have);
        break;
    case BITS_ONE:
        load_block(d, sources[0], at, n);
        memset(twice, 0, n);
        for (size_t k = 1; k < count; k++) {
            have = part(sources[k], at, n, &p);
            combine_one(d, twice, p, have);
        }
        break;
    }
}

void bits_combine(enum bits_op op, void *dst, size_t n, const struct slice *sources, size_t count) {
    HF_ASSERT(count >= 1);
    for (size_t at = 0; at < n; at += BLOCK_BYTES)
        combine_block(op, (unsigned char *)dst + at, sources, count, at, n - at < BLOCK_BYTES ? n - at : BLOCK_BYTES);
}

/* ---- integers ---- */

/* A field of 64 bits touches at most nine bytes. */
typedef unsigned __int128 window;

uint64_t bits_get(const void *p, size_t n, uint64_t offset, unsigned width) {
    HF_ASSERT(width >= 1 && width <= 64);
    const unsigned char *b = p;
    uint64_t from = offset / 8, to = (offset + width - 1) / 8;
    window w = 0;
    for (uint64_t i = from; i <= to; i++)
        w = w << 8 | (i < n ? b[i] : 0);
    w >>= 7 - (offset + width - 1) % 8;
    return (uint64_t)w & (UINT64_MAX >> (64 - width));
}

void bits_put(void *p, uint64_t offset, unsigned width, uint64_t v) {
    HF_ASSERT(width >= 1 && width <= 64);
    unsigned char *b = p;
    uint64_t from = offset / 8, to = (offset + width - 1) / 8;
    unsigned shift = (unsigned)(7 - (offset + width - 1) % 8);
    window mask = (window)(UINT64_MAX >> (64 - width)) << shift;
    window w = ((window)v << shift) & mask;
    for (uint64_t i = to + 1; i-- > from; w >>= 8, mask >>= 8)
        b[i] = (unsigned char)((b[i] & (unsigned char)~mask) | (unsigned char)w);
}
