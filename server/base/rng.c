#include "config.h"

#include "server/base/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "server/base/assert.h"

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t v, unsigned by) {
    return (v << by) | (v >> (64 - by));
}

void rng_init(struct rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix64(&seed);
}

uint64_t rng_u64(struct rng *r) {
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Multiply and take the high half; the low half tells when a draw falls into the uneven part (Lemire 2019). */
uint64_t rng_below(struct rng *r, uint64_t bound) {
    HF_ASSERT(bound > 0);
    unsigned __int128 m = (unsigned __int128)rng_u64(r) * bound;
    if ((uint64_t)m < bound) {
        uint64_t uneven = -bound % bound;
        while ((uint64_t)m < uneven)
            m = (unsigned __int128)rng_u64(r) * bound;
    }
    return (uint64_t)(m >> 64);
}

double rng_unit(struct rng *r) {
    return (double)(rng_u64(r) >> 11) * 0x1.0p-53;
}

void rng_entropy(void *p, size_t n) {
    char *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            HF_PANIC("the system gives no random bytes: errno %d", errno);
        }
        at += got;
        n -= (size_t)got;
    }
}

void rng_hex_id(char *dst, size_t n_bytes) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char byte;
        rng_entropy(&byte, 1);
        dst[2 * i] = digits[byte >> 4];
        dst[2 * i + 1] = digits[byte & 15];
    }
    dst[2 * n_bytes] = '\0';
}
