#include "config.h"

#include "server/base/num.h"

#include <stdio.h>
#include <string.h>

#include "server/base/endian.h"

/* ---- integers -------------------------------------------------------------------------------------------------- */

/* Eight ASCII digits at once: check them all, then add neighbours pairwise, pairs, and fours. False if one is none. */
static inline bool eight_digits(const char *p, uint64_t *ret_value) {
    uint64_t v = load_le64(p);
    /* A digit has 3 in its high half, and still has when 6 is added. */
    uint64_t high = v & UINT64_C(0xf0f0f0f0f0f0f0f0);
    uint64_t high_plus_6 = (v + UINT64_C(0x0606060606060606)) & UINT64_C(0xf0f0f0f0f0f0f0f0);
    if ((high | high_plus_6 >> 4) != UINT64_C(0x3333333333333333))
        return false;
    v -= UINT64_C(0x3030303030303030);
    v = v * 10 + (v >> 8);
    v = ((v & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064) +
         ((v >> 16) & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001)) >>
        32;
    *ret_value = v;
    return true;
}

/* Digits of canonical form ("0", or no leading zero) up to UINT64_MAX. */
static inline bool parse_digits(const char *p, size_t n, uint64_t *ret_value) {
    if (n == 0 || n > 20 || (p[0] == '0' && n > 1))
        return false;
    uint64_t v = 0;
    size_t safe = n < 19 ? n : 19; /* 19 digits cannot overflow */
    size_t i = 0;
    for (; i + 8 <= safe; i += 8) {
        uint64_t eight;
        if (!eight_digits(p + i, &eight))
            return false;
        v = v * 100000000 + eight;
    }
    for (; i < safe; i++) {
        unsigned digit = (unsigned char)p[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        v = v * 10 + digit;
    }
    if (n == 20) {
        unsigned digit = (unsigned char)p[19] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *ret_value = v;
    return true;
}

int num_parse_u64(struct slice s, uint64_t *ret_value) {
    return parse_digits(s.p, s.n, ret_value) ? 0 : -1;
}

int num_parse_i64(struct slice s, int64_t *ret_value) {
    uint64_t v;
    if (s.n > 0 && s.p[0] == '-') {
        if (!parse_digits(s.p + 1, s.n - 1, &v) || v == 0 || v > (uint64_t)INT64_MAX + 1)
            return -1;
        *ret_value = (int64_t)(0 - v);
        return 0;
    }
    if (!parse_digits(s.p, s.n, &v) || v > INT64_MAX)
        return -1;
    *ret_value = (int64_t)v;
    return 0;
}

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                  "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                  "8081828384858687888990919293949596979899";

static unsigned count_digits(uint64_t v) {
    /* log10(2) is about 1233/4096; the table corrects the estimate by one. */
    unsigned bits = 64u - (unsigned)__builtin_clzll((unsigned long long)(v | 1));
    unsigned guess = bits * 1233 >> 12;
    return guess + ((v | 1) >= num_powers_of_10[guess]); /* 0 has a digit, too */
}

size_t num_format_u64(char *dst, uint64_t v) {
    unsigned n = v == 0 ? 1 : count_digits(v);
    char *at = dst + n;
    while (v >= 100) {
        at -= 2;
        memcpy(at, digit_pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10)
        memcpy(dst, digit_pairs + v * 2, 2);
    else
        dst[0] = (char)('0' + v);
    return n;
}

size_t num_format_i64(char *dst, int64_t v) {
    if (v >= 0)
        return num_format_u64(dst, (uint64_t)v);
    dst[0] = '-';
    return 1 + num_format_u64(dst + 1, 0 - (uint64_t)v);
}

int num_parse_memory(struct slice s, int64_t *ret_bytes) {
    static const struct {
        const char *unit;
        int64_t bytes;
    } units[] = {{"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1024},
                 {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", INT64_C(1) << 30}};
    size_t i = s.n > 0 && s.p[0] == '-' ? 1 : 0;
    bool negative = i == 1;
    size_t first = i;
    int64_t v = 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        if (num_mul_i64(v, 10, &v) || num_add_i64(v, s.p[i] - '0', &v))
            return -1;
    if (i == first)
        return -1;
    struct slice unit = slice_of(s.p + i, s.n - i);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        if (!slice_is(unit, units[u].unit))
            continue;
        if (num_mul_i64(v, units[u].bytes, &v))
            return -1;
        *ret_bytes = negative ? -v : v;
        return 0;
    }
    return -1;
}

size_t num_format_human_bytes(char *dst, uint64_t bytes) {
    static const char units[] = "KMGTP";
    if (bytes < 1024)
        return (size_t)snprintf(dst, 32, "%uB", (unsigned)bytes);
    double scaled = (double)bytes / 1024;
    size_t u = 0;
    while (bytes >> (10 * (u + 2)) != 0 && units[u + 1] != '\0') {
        scaled /= 1024;
        u++;
    }
    return (size_t)snprintf(dst, 32, "%.2f%c", scaled, units[u]);
}
