/* Floating-point numbers and text.
 *
 * The forms that scores usually have are converted here, correctly rounded in integer arithmetic; the C library, which
 * takes several times as long, has the others. */
#include "config.h"

#include "server/base/num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/assert.h"

typedef unsigned __int128 u128;

#define MANTISSA_BITS 53

const uint64_t num_powers_of_10[20] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
    UINT64_C(1000000000000000000),
    UINT64_C(10000000000000000000),
};

/* ---- text to numbers ---- */

/* 2^e as a double, e in the normal range. */
static double power_of_2(int e) {
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The double nearest to digits / 10^fraction: digits > 0, fraction < 20. The quotient of both, shifted so that it has
 * at least 62 bits, and whether it is exact decide every rounding. */
static double divide_decimal(uint64_t digits, unsigned fraction) {
    uint64_t power = num_powers_of_10[fraction];
    int up = __builtin_clzll(digits), down = __builtin_clzll(power);
    u128 numerator = (u128)(digits << up) << 63;
    uint64_t divisor = power << down;
    uint64_t q = (uint64_t)(numerator / divisor);
    bool sticky = numerator % divisor != 0;
    int drop = 64 - __builtin_clzll(q) - MANTISSA_BITS;
    uint64_t half = UINT64_C(1) << (drop - 1), rest = q & (2 * half - 1), m = q >> drop;
    m += rest > half || (rest == half && (sticky || (m & 1) != 0));
    return (double)m * power_of_2(drop - 63 + down - up);
}

/* Plain decimals of at most 19 significant digits. Up to 15, digits and power of ten are both exact doubles, so one
 * division rounds correctly (Clinger 1990). False: not of that form. */
static bool parse_plain_decimal(struct slice s, double *ret_value) {
    if (s.n == 0 || s.n > 22)
        return false;
    size_t i = s.p[0] == '-' ? 1 : 0;
    uint64_t digits = 0;
    unsigned any = 0, count = 0, fraction = 0;
    bool point = false;
    for (; i < s.n; i++) {
        char c = s.p[i];
        if (c == '.' && !point) {
            point = true;
        } else if (c >= '0' && c <= '9') {
            digits = digits * 10 + (unsigned)(c - '0'); /* may wrap beyond 19 digits, which are refused below */
            any = 1;
            count += digits != 0 || count != 0;
            fraction += point;
        } else {
            return false;
        }
    }
    if (any == 0 || count > 19 || fraction > 19)
        return false;
    double v = digits == 0 || (count <= 15 && fraction <= 15) ? (double)digits / (double)num_powers_of_10[fraction]
                                                              : divide_decimal(digits, fraction);
    *ret_value = s.p[0] == '-' ? -v : v;
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The slice as a C string in dst, or false where it cannot be a number. */
static bool as_cstr(struct slice s, char *dst, size_t dst_bytes) {
    if (s.n == 0 || s.n >= dst_bytes || is_blank(s.p[0]))
        return false;
    memcpy(dst, s.p, s.n);
    dst[s.n] = '\0';
    return true;
}

int num_parse_double(struct slice s, double *ret_value) {
    if (parse_plain_decimal(s, ret_value))
        return 0;
    char text[NUM_LDOUBLE_CHARS];
    if (!as_cstr(s, text, sizeof text))
        return -1;
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end != text + s.n || isnan(v) || (errno == ERANGE && (isinf(v) || v == 0)))
        return -1;
    *ret_value = v;
    return 0;
}

int num_parse_ldouble(struct slice s, long double *ret_value) {
    char text[NUM_LDOUBLE_CHARS];
    if (!as_cstr(s, text, sizeof text))
        return -1;
    char *end;
    errno = 0;
    long double v = strtold(text, &end);
    if (end != text + s.n || isnan(v) || (errno == ERANGE && (isinf(v) || v == 0)))
        return -1;
    *ret_value = v;
    return 0;
}

static size_t format_special(char *dst, bool is_nan, bool negative) {
    const char *word = is_nan ? "nan" : negative ? "-inf" : "inf";
    size_t n = strlen(word);
    memcpy(dst, word, n);
    return n;
}

/* ---- numbers to text ---- */

#define DIGITS 17
#define SMALLEST_FAST 1e-10 /* so that the power of 5 below fits */

static const uint64_t powers_of_5[28] = {1,
                                         5,
                                         25,
                                         125,
                                         625,
                                         3125,
                                         15625,
                                         78125,
                                         390625,
                                         1953125,
                                         9765625,
                                         48828125,
                                         244140625,
                                         1220703125,
                                         UINT64_C(6103515625),
                                         UINT64_C(30517578125),
                                         UINT64_C(152587890625),
                                         UINT64_C(762939453125),
                                         UINT64_C(3814697265625),
                                         UINT64_C(19073486328125),
                                         UINT64_C(95367431640625),
                                         UINT64_C(476837158203125),
                                         UINT64_C(2384185791015625),
                                         UINT64_C(11920928955078125),
                                         UINT64_C(59604644775390625),
                                         UINT64_C(298023223876953125),
                                         UINT64_C(1490116119384765625),
                                         UINT64_C(7450580596923828125)};

/* The 17 significant digits of v, SMALLEST_FAST <= v < 2^52, as a number, and the decimal exponent of the first:
 * v = mantissa * 2^e, times 10^q = 5^q * 2^q with the q that makes 17 digits. The product is exact in 128 bits, so
 * shifting rounds correctly, half to even, as printf() does. */
static uint64_t digits_of(double v, int *ret_exponent) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint64_t m = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    int e = (int)(bits >> 52) - 1075;
    /* log10(2) is about 1233/4096: the estimate is exact or one too low. */
    int exponent = ((e + 52) * 1233) >> 12;
    for (;; exponent++) {
        int q = DIGITS - 1 - exponent;
        u128 product = (u128)m * powers_of_5[q];
        int shift = -(e + q);
        uint64_t d;
        if (shift > 0) {
            u128 half = (u128)1 << (shift - 1), rest = product & (2 * half - 1);
            u128 whole = product >> shift;
            whole += rest > half || (rest == half && (whole & 1) != 0);
            if (whole > num_powers_of_10[DIGITS])
                continue;
            d = (uint64_t)whole;
        } else {
            d = (uint64_t)(product << -shift);
            if (d > num_powers_of_10[DIGITS])
                continue;
        }
        if (d == num_powers_of_10[DIGITS]) {
            d /= 10;
            exponent++;
        }
        *ret_exponent = exponent;
        return d;
    }
}

/* A fraction as %.17g prints it. All copies are of DIGITS bytes: what is too much is written over or left behind. */
static size_t format_fraction(char *dst, double v) {
    char digits[2 * DIGITS + NUM_I64_CHARS], *p = dst;
    if (v < 0) {
        *p++ = '-';
        v = -v;
    }
    int exponent;
    size_t n = num_format_u64(digits, digits_of(v, &exponent));
    HF_ASSERT(n == DIGITS);
    while (digits[n - 1] == '0')
        n--;
    if (exponent < 0 && exponent >= -4) {
        memcpy(p, "0.000", 5);
        p += 1 - exponent;
        memcpy(p, digits, DIGITS);
        return (size_t)(p - dst) + n;
    }
    size_t whole = exponent >= 0 ? (unsigned)exponent + 1u : 1;
    HF_ASSERT(whole <= n); /* a fraction does not print as an integer */
    memcpy(p, digits, DIGITS);
    p += whole;
    if (whole < n) {
        *p++ = '.';
        memcpy(p, digits + whole, DIGITS);
        p += n - whole;
    }
    if (exponent < 0) {
        unsigned below = (unsigned)-exponent;
        *p++ = 'e';
        *p++ = '-';
        *p++ = (char)('0' + below / 10);
        *p++ = (char)('0' + below % 10);
    }
    return (size_t)(p - dst);
}

size_t num_format_double(char *dst, double v) {
    if (isnan(v) || isinf(v))
        return format_special(dst, isnan(v), v < 0);
    /* %.17g prints the digits of an integer of up to 17 of them; -0 keeps its sign. */
    if (v > -1e17 && v < 1e17 && v == (double)(int64_t)v && !(v == 0 && signbit(v)))
        return num_format_i64(dst, (int64_t)v);
    double size = fabs(v);
    if (size >= SMALLEST_FAST && size < 0x1p52)
        return format_fraction(dst, v);
    int n = snprintf(dst, NUM_DOUBLE_CHARS, "%.17g", v);
    HF_ASSERT(n > 0 && n < NUM_DOUBLE_CHARS);
    return (size_t)n;
}

size_t num_format_ldouble_human(char *dst, long double v) {
    if (isnan(v) || isinf(v))
        return format_special(dst, isnan(v), v < 0);
    int printed = snprintf(dst, NUM_LDOUBLE_CHARS, "%.17Lf", v);
    HF_ASSERT(printed > 0 && printed < NUM_LDOUBLE_CHARS);
    size_t n = (size_t)printed;
    while (dst[n - 1] == '0')
        n--;
    if (dst[n - 1] == '.')
        n--;
    if (n == 2 && dst[0] == '-' && dst[1] == '0') {
        dst[0] = '0';
        n = 1;
    }
    return n;
}
