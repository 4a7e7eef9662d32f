#include "config.h"

#include "server/ds/lzf.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Greedy matching with one remembered place for each hash of three bytes. The table has as many places as the input is
 * worth (256 to 8192), so that clearing it does not outweigh compressing a short string. Literals are copied as they
 * come; the control byte in front of a run is filled in when the run ends.
 */

#define MAX_LITERALS 32
#define MAX_DISTANCE 8192 /* a distance is stored less one, in 13 bits */
#define MAX_LENGTH (255 + 7 + 2)
#define HASH_BITS_MAX 13

static inline uint32_t three_bytes(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static size_t match_length(const uint8_t *a, const uint8_t *b, size_t most) {
    size_t n = 0;
    while (n + 8 <= most) {
        uint64_t x, y;
        memcpy(&x, a + n, 8);
        memcpy(&y, b + n, 8);
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
    uint8_t *control; /* of the run of literals being written, in front of them; NULL when none is */
    unsigned run;
};

static inline bool put_literal(struct out *o, uint8_t c) {
    if (o->control == NULL) {
        if (o->p == o->end)
            return false;
        o->control = o->p++;
        o->run = 0;
    }
    if (o->p == o->end)
        return false;
    *o->p++ = c;
    *o->control = (uint8_t)o->run++;
    if (o->run == MAX_LITERALS)
        o->control = NULL;
    return true;
}

static inline bool put_match(struct out *o, size_t distance, size_t length) {
    size_t d = distance - 1, l = length - 2;
    o->control = NULL;
    if (o->end - o->p < (l < 7 ? 2 : 3))
        return false;
    if (l < 7) {
        *o->p++ = (uint8_t)(l << 5 | d >> 8);
    } else {
        *o->p++ = (uint8_t)(7u << 5 | d >> 8);
        *o->p++ = (uint8_t)(l - 7);
    }
    *o->p++ = (uint8_t)d;
    return true;
}

size_t lzf_compress(const void *src, size_t src_len, void *dst, size_t dst_cap) {
    uint32_t places[1u << HASH_BITS_MAX]; /* offset + 1, modulo 2^32; 0 is none */
    const uint8_t *in = src;
    struct out o = {.p = dst, .end = (uint8_t *)dst + dst_cap};
    unsigned bits = 8;
    while (bits < HASH_BITS_MAX && (size_t)1 << bits < src_len)
        bits++;
    memset(places, 0, sizeof places[0] << bits);
    size_t at = 0;
    while (at + 3 <= src_len) {
        uint32_t bytes = three_bytes(in + at);
        uint32_t *place = &places[bytes * 2654435761u >> (32 - bits)];
        uint32_t distance = (uint32_t)(at + 1) - *place;
        bool known = *place != 0;
        *place = (uint32_t)(at + 1);
        if (!known || distance == 0 || distance > MAX_DISTANCE || distance > at ||
            three_bytes(in + at - distance) != bytes) {
            if (!put_literal(&o, in[at++]))
                return 0;
            continue;
        }
        size_t most = src_len - at < MAX_LENGTH ? src_len - at : MAX_LENGTH;
        size_t n = 3 + match_length(in + at + 3, in + at + 3 - distance, most - 3);
        if (!put_match(&o, distance, n))
            return 0;
        /* Two places near the end of the match are enough to find what follows it again. */
        size_t end = at + n;
        for (at = end > 2 ? end - 2 : end; at < end; at++)
            if (at + 3 <= src_len)
                places[three_bytes(in + at) * 2654435761u >> (32 - bits)] = (uint32_t)(at + 1);
    }
    while (at < src_len)
        if (!put_literal(&o, in[at++]))
            return 0;
    return (size_t)(o.p - (uint8_t *)dst);
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
        if (distance >= n) {
            memcpy(out, from, n);
            out += n;
        } else {
            while (n-- > 0) /* overlapping: the bytes just written are read again */
                *out++ = *from++;
        }
    }
    return out == out_end ? 0 : -1;
}
