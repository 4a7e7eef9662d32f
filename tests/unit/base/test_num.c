#include "config.h"

#include "server/base/num.h"

#include "tests/support/unit.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/rng.h"

static int parse_i64(const char *s, int64_t *ret) {
    return num_parse_i64(slice_cstr(s), ret);
}

static void integers_parse_at_their_limits(void **state) {
    (void)state;
    static const int64_t values[] = {0, 1, -1, 9, 10, 12345678, 123456789, -12345678901234567, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "%" PRId64, values[i]);
        int64_t got;
        assert_int_equal(parse_i64(text, &got), 0);
        assert_true(got == values[i]);
    }
    uint64_t u;
    assert_int_equal(num_parse_u64(SLICE_LIT("18446744073709551615"), &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(num_parse_u64(SLICE_LIT("18446744073709551616"), &u), -1);
    assert_int_equal(num_parse_u64(SLICE_LIT("99999999999999999999"), &u), -1);
    assert_int_equal(num_parse_u64(SLICE_LIT("-1"), &u), -1);
}

static void what_is_not_canonical_is_not_an_integer(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      "-01",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "1e3",
                                      "12345678a",
                                      "a2345678",
                                      "1234567:",
                                      "1234567/",
                                      "123456789012345678901",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "--1",
                                      "00000000",
                                      "1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t v = 42;
        assert_int_equal(parse_i64(bad[i], &v), -1);
        assert_int_equal(v, 42);
    }
    int64_t v;
    assert_int_equal(num_parse_i64(slice_of("12\0", 3), &v), -1);
}

/* Every byte in every place of an eight-digit group: the check of the group must see each. */
static void one_wrong_byte_anywhere_is_seen(void **state) {
    (void)state;
    for (size_t at = 0; at < 17; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[18] = "12345678123456781";
            text[at] = (char)byte;
            int64_t v;
            int is_digit = byte >= '0' && byte <= '9' && !(at == 0 && byte == '0');
            int expected = is_digit || (at == 0 && byte == '-') ? 0 : -1;
            assert_int_equal(num_parse_i64(slice_of(text, 17), &v), expected);
            if (expected == 0)
                assert_true(v == strtoll(text, NULL, 10));
        }
    }
}

static void formatted_integers_parse_back(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (int round = 0; round < 20000; round++) {
        uint64_t v = rng_u64(&rng) >> rng_below(&rng, 64);
        char ours[NUM_I64_CHARS], libc[32];
        size_t n = num_format_u64(ours, v);
        snprintf(libc, sizeof libc, "%" PRIu64, v);
        assert_bytes_are(ours, n, libc);
        int64_t back;
        n = num_format_i64(ours, (int64_t)v);
        snprintf(libc, sizeof libc, "%" PRId64, (int64_t)v);
        assert_bytes_are(ours, n, libc);
        assert_int_equal(num_parse_i64(slice_of(ours, n), &back), 0);
        assert_true(back == (int64_t)v);
    }
    char edge[NUM_I64_CHARS];
    uint64_t power = 1;
    for (int digits = 1; digits <= 20; digits++, power *= 10) {
        assert_int_equal(num_format_u64(edge, power), digits);
        assert_int_equal(num_format_u64(edge, power - 1), digits == 1 ? 1 : digits - 1);
    }
    assert_bytes_are(edge, num_format_i64(edge, INT64_MIN), "-9223372036854775808");
}

static int parse_double(const char *s, double *ret) {
    return num_parse_double(slice_cstr(s), ret);
}

static void doubles_parse_as_strtod_does(void **state) {
    (void)state;
    static const char *const good[] = {"0",
                                       "-0",
                                       "1",
                                       "3.0",
                                       "+5",
                                       ".5",
                                       "5.",
                                       "1e3",
                                       "1E-3",
                                       "0x1p4",
                                       "0.1",
                                       "-12.75",
                                       "inf",
                                       "-inf",
                                       "+inf",
                                       "Infinity",
                                       "007",
                                       "1e308",
                                       "123456789012345",
                                       "1234567890123456789",
                                       "0.000001",
                                       "179769313486231570000000000000000000000",
                                       "4.9e-324",
                                       "999999999999999.9"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double v, expected = strtod(good[i], NULL);
        assert_int_equal(parse_double(good[i], &v), 0);
        assert_memory_equal(&v, &expected, sizeof v);
    }
    static const char *const bad[] = {"",    " 1",    "1 ", "\t1", "nan", "-nan", "1e400", "-1e400", "1e-400",
                                      "abc", "1.2.3", ".",  "-",   "-.",  "1e",   "--1",   "1,5",    "0x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double v;
        long double l;
        assert_int_equal(parse_double(bad[i], &v), -1);
        if (strchr(bad[i], '4') == NULL)
            assert_int_equal(num_parse_ldouble(slice_cstr(bad[i]), &l), -1);
    }
    double v;
    assert_int_equal(num_parse_double(slice_of("1\0", 2), &v), -1);
    long double l;
    assert_int_equal(num_parse_ldouble(SLICE_LIT("1e400"), &l), 0); /* fits an x87 long double */
    assert_int_equal(num_parse_ldouble(SLICE_LIT("1e5000"), &l), -1);
    static char long_text[NUM_LDOUBLE_CHARS + 10];
    memset(long_text, '1', sizeof long_text);
    assert_int_equal(num_parse_double(slice_of(long_text, sizeof long_text), &v), -1);
}

static void random_decimals_parse_to_the_nearest_double(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 4);
    for (int round = 0; round < 20000; round++) {
        char text[64];
        snprintf(text, sizeof text, "%s%llu.%0*llu", round % 2 ? "-" : "",
                 (unsigned long long)rng_below(&rng, 1u << rng_below(&rng, 31)), 1 + round % 9,
                 (unsigned long long)rng_below(&rng, 10));
        double v, expected = strtod(text, NULL);
        assert_int_equal(parse_double(text, &v), 0);
        assert_memory_equal(&v, &expected, sizeof v);
    }
}

/* Replies of redis-server 7.0.15 to ZSCORE. */
/* Values of every size, many of them with few digits or next to those. */
static double random_double(uint64_t (*next)(void *), void *arg) {
    uint64_t bits = next(arg);
    double v;
    switch (next(arg) % 5) {
    case 0:
        memcpy(&v, &bits, sizeof v);
        return v;
    case 1:
        return (double)(int64_t)(bits >> (11 + next(arg) % 50)) / 1000.0;
    case 2:
        return (double)(bits >> (next(arg) % 64)) * 0x1p-60;
    case 3:
        bits = (bits & ((UINT64_C(1) << 52) - 1)) | (985 + next(arg) % 95) << 52;
        memcpy(&v, &bits, sizeof v);
        return next(arg) % 2 ? v : -v;
    default:
        v = 1;
        for (uint64_t i = next(arg) % 20; i > 0; i--)
            v *= bits % 2 ? 10 : 0.1;
        return v * (double)(bits >> 40 & 15);
    }
}

static uint64_t next_u64(void *arg) {
    return rng_u64(arg);
}

static void doubles_print_and_parse_as_the_c_library_does(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 17);
    for (int i = 0; i < 300000; i++) {
        char want[NUM_DOUBLE_CHARS], got[NUM_DOUBLE_CHARS];
        double v = random_double(next_u64, &rng), back;
        if (v != v)
            continue;
        size_t n = (size_t)snprintf(want, sizeof want, "%.17g", v);
        assert_int_equal(num_format_double(got, v), n);
        assert_memory_equal(got, want, n);
        assert_int_equal(num_parse_double(slice_of(got, n), &back), 0);
        assert_memory_equal(&back, &v, sizeof v);
        n = (size_t)snprintf(want, sizeof want, "%.*f", (int)(rng_u64(&rng) % 21), v > 1e12 || v < -1e12 ? 0.3 : v);
        double nearest = strtod(want, NULL);
        if (num_parse_double(slice_of(want, n), &back) == 0)
            assert_memory_equal(&back, &nearest, sizeof nearest);
        else
            assert_true(nearest == 0);
    }
}

static void decimals_in_the_middle_of_two_doubles_round_to_even(void **state) {
    (void)state;
    static const char *const texts[] = {"9007199254740993",
                                        "9007199254740995",
                                        "4503599627370496.5",
                                        "4503599627370497.5",
                                        "0.5",
                                        "1125899906842624.125",
                                        "2251799813685249.75",
                                        "9007199254740993.000",
                                        "0.10000000000000000555",
                                        "9223372036854775807"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        double v, want = strtod(texts[i], NULL);
        assert_int_equal(num_parse_double(slice_cstr(texts[i]), &v), 0);
        assert_memory_equal(&v, &want, sizeof v);
    }
}

static void doubles_print_as_the_field_prints_them(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {3.0, "3"},
        {-3.0, "-3"},
        {0.0, "0"},
        {-0.0, "-0"},
        {0.1, "0.10000000000000001"},
        {1e15, "1000000000000000"},
        {1e16, "10000000000000000"},
        {1e17, "1e+17"},
        {1e20, "1e+20"},
        {1e300, "1.0000000000000001e+300"},
        {1.5, "1.5"},
        {4503599627370497.0, "4503599627370497"},
        {9007199254740993.0, "9007199254740992"},
        {123456789.125, "123456789.125"},
        {5e-324, "4.9406564584124654e-324"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[NUM_DOUBLE_CHARS];
        size_t n = num_format_double(text, cases[i].v);
        assert_bytes_are(text, n, cases[i].text);
    }
}

static void printed_doubles_parse_back_exactly(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int round = 0; round < 20000; round++) {
        uint64_t bits = rng_u64(&rng);
        double v, back;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v) || (v != 0 && fabs(v) < DBL_MIN))
            continue;
        char text[NUM_DOUBLE_CHARS];
        size_t n = num_format_double(text, v);
        assert_int_equal(num_parse_double(slice_of(text, n), &back), 0);
        assert_memory_equal(&v, &back, sizeof v);
    }
}

/* Replies of redis-server 7.0.15 to INCRBYFLOAT. */
static void long_doubles_print_without_exponent_or_trailing_zeros(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {{"3.0", "3"},
                 {"0.1", "0.1"},
                 {"5.0e3", "5000"},
                 {"10.6", "10.6"},
                 {"-0", "0"},
                 {"-0.5", "-0.5"},
                 {"1e20", "100000000000000000000"},
                 {"100", "100"},
                 {"3.1415926", "3.1415926"},
                 {"-0.00000000000000000001", "0"},
                 {"1e-17", "0.00000000000000001"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        long double v;
        char text[NUM_LDOUBLE_CHARS];
        assert_int_equal(num_parse_ldouble(slice_cstr(cases[i].in), &v), 0);
        size_t n = num_format_ldouble_human(text, v);
        assert_bytes_are(text, n, cases[i].out);
    }
    char longest[NUM_LDOUBLE_CHARS];
    assert_int_equal(num_format_ldouble_human(longest, -LDBL_MAX), 4934);
}

static void memory_sizes_have_decimal_and_binary_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"0", 0},           {"1", 1},
                {"10b", 10},        {"1k", 1000},
                {"1kb", 1024},      {"1K", 1000},
                {"1Kb", 1024},      {"2m", 2000000},
                {"2MB", 2097152},   {"1g", 1000000000},
                {"1gb", 1 << 30},   {"-1", -1},
                {"-5mb", -5242880}, {"9223372036854775807", INT64_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t v;
        assert_int_equal(num_parse_memory(slice_cstr(good[i].text), &v), 0);
        assert_true(v == good[i].bytes);
    }
    static const char *const bad[] = {"",
                                      "-",
                                      "kb",
                                      "1t",
                                      "1kbb",
                                      "1 kb",
                                      " 1",
                                      "1.5gb",
                                      "9223372036854775808",
                                      "9223372036854775807k",
                                      "10000000000gb"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t v;
        assert_int_equal(num_parse_memory(slice_cstr(bad[i]), &v), -1);
    }
}

static void human_sizes_have_two_decimals_and_a_unit(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0B"},
                 {1023, "1023B"},
                 {1024, "1.00K"},
                 {1536, "1.50K"},
                 {1048576, "1.00M"},
                 {1572864, "1.50M"},
                 {UINT64_C(3) << 30, "3.00G"},
                 {UINT64_C(5) << 40, "5.00T"},
                 {UINT64_C(1) << 50, "1.00P"},
                 {UINT64_MAX, "16384.00P"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];
        size_t n = num_format_human_bytes(text, cases[i].bytes);
        assert_bytes_are(text, n, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_parse_at_their_limits),
        cmocka_unit_test(what_is_not_canonical_is_not_an_integer),
        cmocka_unit_test(one_wrong_byte_anywhere_is_seen),
        cmocka_unit_test(formatted_integers_parse_back),
        cmocka_unit_test(doubles_parse_as_strtod_does),
        cmocka_unit_test(random_decimals_parse_to_the_nearest_double),
        cmocka_unit_test(doubles_print_and_parse_as_the_c_library_does),
        cmocka_unit_test(decimals_in_the_middle_of_two_doubles_round_to_even),
        cmocka_unit_test(doubles_print_as_the_field_prints_them),
        cmocka_unit_test(printed_doubles_parse_back_exactly),
        cmocka_unit_test(long_doubles_print_without_exponent_or_trailing_zeros),
        cmocka_unit_test(memory_sizes_have_decimal_and_binary_units),
        cmocka_unit_test(human_sizes_have_two_decimals_and_a_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
