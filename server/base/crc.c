/* CRC-16/XMODEM byte by byte, CRC-64/Jones sixteen bytes at a step or by carry-less multiplication.
 *
 * The 64-bit CRC is reflected: bit 63 of a word is the coefficient of x^0. Folding: a 128-bit block A (low half first,
 * as it lies in memory) moved D bits ahead is lo·x^(D+64) + hi·x^D modulo P, so two multiplications by constants
 * replace D bits of table steps. A carry-less product of two reflected words comes out multiplied by x, hence the
 * constants are x^(D+63) and x^(D-1) mod P. (Gopal et al., "Fast CRC Computation for Generic Polynomials Using
 * PCLMULQDQ", Intel 2009.) The last block goes through the tables like any other 16 bytes.
 *
 * Tables and constants are computed by a constructor, before there is a second thread.
 */
#include "config.h"

#include "server/base/crc.h"

#include <string.h>

#include "server/base/endian.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define HAVE_CLMUL 1
#endif

#define CRC64_REFLECTED UINT64_C(0x95ac9329ac4bc9b5) /* 0xad93d23594c935a9 with its bits reversed */
#define CRC16_POLYNOMIAL 0x1021u
#define LANES 16

static uint64_t table64[LANES][256]; /* [k][b]: byte b followed by k zero bytes */
static uint16_t table16[256];

#ifdef HAVE_CLMUL
static int use_clmul;
static uint64_t fold_512[2], fold_128[2]; /* for the low and the high half */

/* x^n mod P, reflected. */
static uint64_t x_pow_mod(unsigned n) {
    uint64_t v = UINT64_C(1) << 63;
    while (n-- > 0)
        v = (v >> 1) ^ ((v & 1) != 0 ? CRC64_REFLECTED : 0);
    return v;
}
#endif

__attribute__((constructor)) static void make_tables(void) {
    for (unsigned b = 0; b < 256; b++) {
        uint64_t v = b;
        for (int bit = 0; bit < 8; bit++)
            v = (v >> 1) ^ ((v & 1) != 0 ? CRC64_REFLECTED : 0);
        table64[0][b] = v;
        unsigned w = b << 8;
        for (int bit = 0; bit < 8; bit++)
            w = (w << 1) ^ ((w & 0x8000) != 0 ? CRC16_POLYNOMIAL : 0);
        table16[b] = (uint16_t)w;
    }
    for (unsigned k = 1; k < LANES; k++)
        for (unsigned b = 0; b < 256; b++)
            table64[k][b] = table64[0][table64[k - 1][b] & 0xff] ^ (table64[k - 1][b] >> 8);
#ifdef HAVE_CLMUL
    __builtin_cpu_init();
    use_clmul = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse2");
    fold_512[0] = x_pow_mod(512 + 63);
    fold_512[1] = x_pow_mod(512 - 1);
    fold_128[0] = x_pow_mod(128 + 63);
    fold_128[1] = x_pow_mod(128 - 1);
#endif
}

static uint64_t crc64_tables(uint64_t crc, const unsigned char *p, size_t n) {
    while (n >= LANES) {
        uint64_t lo = load_le64(p) ^ crc;
        uint64_t hi = load_le64(p + 8);
        crc = 0;
        for (unsigned i = 0; i < 8; i++)
            crc ^= table64[15 - i][(lo >> (8 * i)) & 0xff] ^ table64[7 - i][(hi >> (8 * i)) & 0xff];
        p += LANES;
        n -= LANES;
    }
    while (n-- > 0)
        crc = table64[0][(crc ^ *p++) & 0xff] ^ (crc >> 8);
    return crc;
}

#ifdef HAVE_CLMUL
#define CLMUL_MIN_BYTES 128

__attribute__((target("pclmul,sse2"))) static inline __m128i fold(__m128i a, __m128i k, __m128i next) {
    __m128i lo = _mm_clmulepi64_si128(a, k, 0x00);
    __m128i hi = _mm_clmulepi64_si128(a, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(lo, hi), next);
}

__attribute__((target("pclmul,sse2"))) static inline __m128i load_block(const unsigned char *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

__attribute__((target("pclmul,sse2"))) static uint64_t crc64_clmul(uint64_t crc, const unsigned char *p, size_t n) {
    const __m128i k512 = _mm_set_epi64x((long long)fold_512[1], (long long)fold_512[0]);
    const __m128i k128 = _mm_set_epi64x((long long)fold_128[1], (long long)fold_128[0]);
    __m128i a = _mm_xor_si128(load_block(p), _mm_set_epi64x(0, (long long)crc));
    __m128i b = load_block(p + 16), c = load_block(p + 32), d = load_block(p + 48);
    p += 64;
    n -= 64;
    while (n >= 64) {
        a = fold(a, k512, load_block(p));
        b = fold(b, k512, load_block(p + 16));
        c = fold(c, k512, load_block(p + 32));
        d = fold(d, k512, load_block(p + 48));
        p += 64;
        n -= 64;
    }
    a = fold(a, k128, b);
    a = fold(a, k128, c);
    a = fold(a, k128, d);
    while (n >= 16) {
        a = fold(a, k128, load_block(p));
        p += 16;
        n -= 16;
    }
    unsigned char last[16];
    _mm_storeu_si128((__m128i *)(void *)last, a);
    return crc64_tables(crc64_tables(0, last, sizeof last), p, n);
}
#endif

uint64_t crc64(uint64_t crc, const void *p, size_t n) {
#ifdef HAVE_CLMUL
    if (use_clmul && n >= CLMUL_MIN_BYTES)
        return crc64_clmul(crc, p, n);
#endif
    return crc64_tables(crc, p, n);
}

uint64_t crc64_portable(uint64_t crc, const void *p, size_t n) {
    return crc64_tables(crc, p, n);
}

uint16_t crc16(const void *p, size_t n) {
    const unsigned char *at = p;
    unsigned crc = 0;
    while (n-- > 0)
        crc = ((crc << 8) & 0xffff) ^ table16[(crc >> 8) ^ *at++];
    return (uint16_t)crc;
}

unsigned crc16_key_slot(const void *key, size_t n) {
    const char *p = key;
    const char *open = n > 0 ? memchr(p, '{', n) : NULL;
    if (open != NULL) {
        const char *inner = open + 1;
        const char *close = memchr(inner, '}', n - (size_t)(inner - p));
        if (close != NULL && close > inner)
            return crc16(inner, (size_t)(close - inner)) & 0x3fff;
    }
    return crc16(p, n) & 0x3fff;
}
