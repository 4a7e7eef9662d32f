/* Numbers and text: exact, checked conversions in the field's formats.
 *
 * Thread: any. Nothing allocates. All parse functions take the whole slice: leading or trailing blanks, a plus sign,
 * leading zeros (except "0") and an empty slice are not numbers, as Redis's string2ll() has it, unless stated
 * otherwise.
 */
#ifndef HF_BASE_NUM_H
#define HF_BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

#define NUM_I64_CHARS 21     /* room for any int64 in decimal, with NUL */
#define NUM_DOUBLE_CHARS 384 /* room for any double written by num_format_double() with NUL */
#define NUM_LDOUBLE_CHARS 5120

/* 0 and *ret_value, or -1. */
int num_parse_i64(struct slice s, int64_t *ret_value) __attribute__((warn_unused_result));
int num_parse_u64(struct slice s, uint64_t *ret_value) __attribute__((warn_unused_result));
/* Accepts what strtod()/strtold() accept for the whole slice with no leading blank, "inf" forms too; NaN is refused. */
int num_parse_double(struct slice s, double *ret_value) __attribute__((warn_unused_result));
int num_parse_ldouble(struct slice s, long double *ret_value) __attribute__((warn_unused_result));
/* Memory sizes: decimal digits with optional b, k, kb, m, mb, g, gb, any case (k = 1000, kb = 1024). Checked. A
 * negative sign is accepted and carried. 0, or -1 on syntax or overflow. */
int num_parse_memory(struct slice s, int64_t *ret_bytes) __attribute__((warn_unused_result));

/* Write digits to dst without NUL and return the count. dst has NUM_I64_CHARS. */
size_t num_format_i64(char *dst, int64_t v);
size_t num_format_u64(char *dst, uint64_t v);
/* As %.17g prints it: what RESP2 replies, zset scores and digests use; "inf", "-inf", "nan". */
size_t num_format_double(char *dst, double v);
/* INCRBYFLOAT's human form: %.17Lf with trailing zeros cut, "-0" becomes "0". dst has NUM_LDOUBLE_CHARS. */
size_t num_format_ldouble_human(char *dst, long double v);
/* "1.50M", "12.34K", "512B": INFO's human sizes. dst has 32 chars; returns the count. */
size_t num_format_human_bytes(char *dst, uint64_t bytes);

/* Checked arithmetic: true when the result overflowed (ret_ is then unspecified). */
static inline bool num_add_size(size_t a, size_t b, size_t *ret_sum) {
    return __builtin_add_overflow(a, b, ret_sum);
}
static inline bool num_mul_size(size_t a, size_t b, size_t *ret_product) {
    return __builtin_mul_overflow(a, b, ret_product);
}
static inline bool num_add_i64(int64_t a, int64_t b, int64_t *ret_sum) {
    return __builtin_add_overflow(a, b, ret_sum);
}
static inline bool num_mul_i64(int64_t a, int64_t b, int64_t *ret_product) {
    return __builtin_mul_overflow(a, b, ret_product);
}

/* 10 to the power of the index. */
extern const uint64_t num_powers_of_10[20];

#endif
