#include "config.h"

#include "server/ds/lzf.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server/base/endian.h"

/* Greedy matching with one remembered place for each hash of three or four bytes. The table has as many places as the
 * input is worth (512 to 8192).
 *
 * A match of three bytes between literals saves nothing: it takes two, and the literals behind it a length of their
 * own. So inputs of some size look for four, and are done in 40 to 90 % of the time; listpacks of records and JSON come
 * out 4 to 6 % larger, source code the same, hexadecimal digits of random numbers 13 % (of 15 that were saved). Short
 * inputs have too few matches to be choosy.
 */

#define MAX_LITERALS 32
#define MAX_DISTANCE 8192 /* a distance is stored less one, in 13 bits */
#define MAX_LENGTH (255 + 7 + 2)
#define HASH_FACTOR 2654435761u
#define HASH_BITS_MIN 9
#define HASH_BITS_MAX 13
#define MISSES_SHIFT 7 /* a step more after each 128 places without a match */

static uint64_t load_u64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline size_t match_length(const uint8_t *a, const uint8_t *b, size_t most) {
    size_t n = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (most >= 8) { /* most end here */
        uint64_t x = load_u64(a) ^ load_u64(b);
        if (x != 0)
            return (size_t)__builtin_ctzll(x) / 8;
        n = 8;
    }
#endif
    while (n + 32 <= most &&
           ((load_u64(a + n) ^ load_u64(b + n)) | (load_u64(a + n + 8) ^ load_u64(b + n + 8)) |
            (load_u64(a + n + 16) ^ load_u64(b + n + 16)) | (load_u64(a + n + 24) ^ load_u64(b + n + 24))) == 0)
        n += 32;
    while (n + 8 <= most) {
        uint64_t x = load_u64(a + n), y = load_u64(b + n);
        if (x != y) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return n + (size_t)__builtin_ctzll(x ^ y) / 8;
#else
            return n + (size_t)__builtin_clzll(x ^ y) / 8;
#endif
        }
        n += 8;
    }
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

struct out {
    uint8_t *p, *end;
    const uint8_t *in_end;
};

/* Literals wait in the input until a match or the end, and are copied in runs. */
static inline bool put_literals(struct out *o, const uint8_t *from, size_t n) {
    while (n > 0) {
        size_t run = n < MAX_LITERALS ? n : MAX_LITERALS;
        if ((size_t)(o->end - o->p) < run + 1)
            return false;
        *o->p++ = (uint8_t)(run - 1);
        memcpy(o->p, from, run);
        o->p += run;
        from += run;
        n -= run;
    }
    return true;
}

static inline uint8_t *write_match(uint8_t *p, size_t distance, size_t length) {
    size_t d = distance - 1, l = length - 2;
    if (l < 7) {
        *p++ = (uint8_t)(l << 5 | d >> 8);
    } else {
        *p++ = (uint8_t)(7u << 5 | d >> 8);
        *p++ = (uint8_t)(l - 7);
    }
    *p++ = (uint8_t)d;
    return p;
}

/* n literals and a match behind them. */
static inline bool put_sequence(struct out *o, const uint8_t *from, size_t n, size_t distance, size_t length) {
    if (n <= MAX_LITERALS && o->end - o->p >= 1 + MAX_LITERALS + 3 && o->in_end - from >= MAX_LITERALS) {
        if (n > 0) {
            *o->p = (uint8_t)(n - 1);
            memcpy(o->p + 1, from, MAX_LITERALS); /* of a fixed size, it is two loads and stores */
            o->p += 1 + n;
        }
    } else if (!put_literals(o, from, n) || (size_t)(o->end - o->p) < (length - 2 < 7 ? 2 : 3)) {
        return false;
    }
    o->p = write_match(o->p, distance, length);
    return true;
}

/* Places: of one, two or four bytes each, so that clearing them does not outweigh compressing a short string. They hold
 * offsets modulo their width; a cleared one says 0, where the first bytes of the input are, which is as good a guess as
 * any: so there is nothing to ask but whether the bytes are equal. */
static inline __attribute__((always_inline)) uint32_t place_swap(void *places, unsigned width, uint32_t at,
                                                                 uint32_t value) {
    uint32_t was;
    if (width == 1) {
        was = ((uint8_t *)places)[at];
        ((uint8_t *)places)[at] = (uint8_t)value;
    } else if (width == 2) {
        was = ((uint16_t *)places)[at];
        ((uint16_t *)places)[at] = (uint16_t)value;
    } else {
        was = ((uint32_t *)places)[at];
        ((uint32_t *)places)[at] = value;
    }
    return was;
}

/* The `least` bytes at p, of which four are there, in the upper part of a word. */
static inline __attribute__((always_inline)) uint32_t bytes_at(const uint8_t *p, size_t least) {
    return load_le32(p) << 8 * (4 - least);
}

/* The same distance, but what depends on it need not wait for it where it is the guess: a branch, which the processor
 * foresees, stands in front instead. How far a match goes says where the next place is to be looked up, and the place
 * where the match is to be read: records of one form, whose matches have one distance, are done in three quarters of
 * the time when only the first of the two is waited for. */
static inline uint32_t believe(uint32_t distance, uint32_t guess) {
    uint32_t copy = guess;
    __asm__("" : "+r"(copy)); /* for the compiler, another number */
    if (distance == guess) {
        distance = copy;
        __asm__ volatile(""); /* no conditional move, which would wait */
    }
    return distance;
}

static inline __attribute__((always_inline)) size_t compress(const uint8_t *in, size_t src_len, void *dst,
                                                             size_t dst_cap, void *places, unsigned width,
                                                             unsigned bits, size_t least) {
    struct out o = {.p = dst, .end = (uint8_t *)dst + dst_cap, .in_end = in + src_len};
    memset(places, 0, (size_t)width << bits);
    size_t at = 1, literals = 0, misses = 0;
    uint32_t last = 0;
    while (at + 4 <= src_len) {
        uint32_t bytes = bytes_at(in + at, least);
        uint32_t distance = (uint32_t)at - place_swap(places, width, bytes * HASH_FACTOR >> (32 - bits), (uint32_t)at);
        if ((width > 1 && distance - 1 >= MAX_DISTANCE) || bytes_at(in + at - distance, least) != bytes) {
            /* What does not compress is passed over faster and faster. */
            at += 1 + (misses++ >> MISSES_SHIFT);
            continue;
        }
        misses = 0;
        if (width > 1)
            distance = believe(distance, last);
        last = distance;
        size_t most = src_len - at < MAX_LENGTH ? src_len - at : MAX_LENGTH;
        size_t n = least + match_length(in + at + least, in + at + least - distance, most - least);
        if (!put_sequence(&o, in + literals, at - literals, distance, n))
            return 0;
        /* Two places near the end of the match are enough to find what follows it again. */
        size_t end = literals = at + n;
        for (at = end - 2; at < end; at++)
            if (at + 4 <= src_len)
                (void)place_swap(places, width, bytes_at(in + at, least) * HASH_FACTOR >> (32 - bits), (uint32_t)at);
    }
    if (!put_literals(&o, in + literals, src_len - literals))
        return 0;
    return (size_t)(o.p - (uint8_t *)dst);
}

size_t lzf_compress(const void *src, size_t src_len, void *dst, size_t dst_cap) {
    union {
        uint8_t narrow[1u << HASH_BITS_MIN];
        uint16_t middle[1u << HASH_BITS_MAX];
        uint32_t wide[1u << HASH_BITS_MAX];
    } places;
    if (src_len <= UINT8_MAX)
        return compress(src, src_len, dst, dst_cap, places.narrow, 1, HASH_BITS_MIN, 3);
    unsigned bits = HASH_BITS_MIN;
    while (bits < HASH_BITS_MAX && (size_t)1 << bits < src_len)
        bits++;
    if (src_len <= UINT16_MAX)
        return compress(src, src_len, dst, dst_cap, places.middle, 2, bits, 4);
    return compress(src, src_len, dst, dst_cap, places.wide, 4, bits, 4);
}

/* Most runs and matches are short: where there is room, so many bytes are copied at once whatever the length, and the
 * next ones overwrite the rest. A call of memcpy() for a few bytes takes longer than that, and a copy of unknown length
 * that the compiler turns into "rep movs" much longer. Half as many do for a match, whose bytes may repeat. */
#define WIDE 32
_Static_assert(WIDE >= MAX_LITERALS, "a run of literals is one copy");

/* n bytes that repeat those in front of them. A chunk that is no longer than the period reads only what was there
 * before it; a short period is made longer by going through it several times. */
static void repeat(uint8_t *out, size_t period, size_t n) {
    size_t i = 0;
    if (period < 8) {
        size_t longer = (8 + period - 1) / period * period;
        for (; i < n && i < longer - period; i++)
            out[i] = *(out + i - period);
        period = longer;
    }
    if (period >= 16)
        for (; i + 16 <= n; i += 16)
            memcpy(out + i, out + i - period, 16);
    for (; i + 8 <= n; i += 8)
        memcpy(out + i, out + i - period, 8);
    for (; i < n; i++)
        out[i] = *(out + i - period);
}

int lzf_decompress(const void *src, size_t src_len, void *dst, size_t dst_len) {
    const uint8_t *in = src, *in_end = in + src_len;
    uint8_t *out = dst, *out_end = out + dst_len;
    while (in < in_end) {
        size_t control = *in++;
        if (control < MAX_LITERALS) {
            size_t n = control + 1;
            if ((size_t)(in_end - in) < n || (size_t)(out_end - out) < n)
                return -1;
            if (in_end - in >= WIDE && out_end - out >= WIDE)
                memcpy(out, in, WIDE);
            else
                memcpy(out, in, n);
            in += n;
            out += n;
            continue;
        }
        size_t n = control >> 5;
        if (n == 7) {
            if (in == in_end)
                return -1;
            n += *in++;
        }
        n += 2;
        if (in == in_end)
            return -1;
        size_t distance = ((control & 31) << 8 | *in++) + 1;
        if (distance > (size_t)(out - (uint8_t *)dst) || (size_t)(out_end - out) < n)
            return -1;
        const uint8_t *from = out - distance;
        if (distance >= WIDE / 2 && n <= WIDE && out_end - out >= WIDE) {
            memcpy(out, from, WIDE / 2);
            memcpy(out + WIDE / 2, from + WIDE / 2, WIDE / 2);
            out += n;
        } else if (distance >= WIDE / 2 && (size_t)(out_end - out) >= n + WIDE / 2) {
            for (size_t i = 0; i < n; i += WIDE / 2)
                memcpy(out + i, from + i, WIDE / 2);
            out += n;
        } else if (distance == 1) {
            memset(out, *from, n);
            out += n;
        } else {
            repeat(out, distance, n);
            out += n;
        }
    }
    return out == out_end ? 0 : -1;
}
