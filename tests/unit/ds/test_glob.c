#include "config.h"

#include "server/ds/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/rng.h"

struct example {
    const char *pattern, *text;
    bool matches;
};

static void check(const struct example *examples, size_t n, bool ignore_case) {
    for (size_t i = 0; i < n; i++) {
        const struct example *e = &examples[i];
        if (glob_match(slice_cstr(e->pattern), slice_cstr(e->text), ignore_case) != e->matches)
            fail_msg("%s against %s", e->pattern, e->text);
    }
}

static void test_plain_bytes_stars_and_question_marks(void **state) {
    (void)state;
    static const struct example examples[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"abc", "abc", true},
        {"abc", "abd", false},
        {"abc", "abcd", false},
        {"?", "a", true},
        {"?", "", false},
        {"a?c", "abc", true},
        {"*", "", true},
        {"*", "anything", true},
        {"***", "", true},
        {"a*", "a", true},
        {"a*", "ba", false},
        {"*c", "abc", true},
        {"*c", "abcd", false},
        {"a*b*c", "axbxc", true},
        {"a*b*c", "acb", false},
        {"a**?", "a", false},
        {"a**?", "ab", true},
        {"*a*b", "aab", true},
        {"*ab*ab", "abab", true},
        {"*ab*ab", "aba", false},
        {"news.*", "news.art", true},
        {"h*llo", "heeeello", true},
    };
    check(examples, sizeof examples / sizeof examples[0], false);
}

static void test_classes(void **state) {
    (void)state;
    static const struct example examples[] = {
        {"h[ae]llo", "hello", true},  {"h[ae]llo", "hillo", false}, {"h[^e]llo", "hallo", true},
        {"h[^e]llo", "hello", false}, {"h[a-b]llo", "hbllo", true}, {"h[a-b]llo", "hcllo", false},
        {"[z-a]", "m", true},         {"[^a-c]x", "dx", true},      {"[^a-c]x", "bx", false},
        {"[a-]", "-", false},         {"[-a]", "-", true},          {"[a]*[b]", "aXb", true},
        {"*[0-9]", "abc7", true},     {"*[0-9]", "abc", false},     {"[!a]", "a", true},
    };
    check(examples, sizeof examples / sizeof examples[0], false);
}

static void test_the_oddities_of_classes(void **state) {
    (void)state;
    static const struct example examples[] = {
        {"[abc", "b", true},                                              /* unclosed */
        {"[abc", "d", false}, {"[abc", "[abc", false}, {"[", "[", false}, /* an unclosed empty class */
        {"[]", "]", false},   {"[]", "a", false},      {"[^]", "a", true},
        {"[^]", "", false},   {"[]a]", "a]", false}, /* closed at once */
        {"[\\]]", "]", true}, {"[\\-a]", "-", true},   {"[a\\", "\\", true},
        {"[^", "x", true},    {"[a-]]", "]", true}, /* ] ends the range, and the class is closed behind it */
    };
    check(examples, sizeof examples / sizeof examples[0], false);
}

static void test_escapes(void **state) {
    (void)state;
    static const struct example examples[] = {
        {"\\*", "*", true},  {"\\*", "a", false},    {"\\?", "?", true},
        {"\\?", "a", false}, {"a\\", "a\\", true},   {"a\\\\", "a\\", true},
        {"\\a", "a", true},  {"\\[a]", "[a]", true}, {"\\[a]", "a", false},
    };
    check(examples, sizeof examples / sizeof examples[0], false);
}

static void test_case_is_ignored_where_asked(void **state) {
    (void)state;
    static const struct example same[] = {{"ABC", "abc", true},        {"[a-c]", "B", true}, {"[A-C]", "b", true},
                                          {"[B]", "b", true},          {"\\A*", "ab", true}, {"[^a]", "A", false},
                                          {"maxM*", "MAXmemory", true}};
    static const struct example apart[] = {{"ABC", "abc", false}, {"[a-c]", "B", false}, {"[^a]", "A", true}};
    check(same, sizeof same / sizeof same[0], true);
    check(apart, sizeof apart / sizeof apart[0], false);
}

static void test_bytes_may_be_anything(void **state) {
    (void)state;
    assert_true(glob_match(slice_of("a\0*", 3), slice_of("a\0b\0", 4), false));
    assert_false(glob_match(slice_of("a\0b", 3), slice_of("a\0c", 3), false));
    assert_true(glob_match(slice_of("[\x80-\xff]", 5), slice_of("\xc3", 1), false));
    assert_true(glob_match(slice_of("?\xff", 2), slice_of("\xfe\xff", 2), true));
}

static void test_hostile_patterns_take_bounded_time(void **state) {
    (void)state;
    static char pattern[4001], text[20001];
    for (size_t i = 0; i < 4000; i++)
        pattern[i] = i % 2 ? '*' : 'a';
    pattern[4000] = 'b';
    memset(text, 'a', sizeof text);
    int64_t start = clock_mono_us();
    assert_false(glob_match(slice_of(pattern, 4001), slice_of(text, 20000), false));
    memset(pattern, '*', 4000);
    assert_false(glob_match(slice_of(pattern, 4001), slice_of(text, 20000), false));
    for (size_t i = 0; i < 4000; i += 4)
        memcpy(pattern + i, "*[b-", 4);
    assert_true(glob_match(slice_of(pattern, 4000), slice_of("bbbb", 4), false) ||
                !glob_match(slice_of(pattern, 4000), slice_of(text, 20000), true));
    assert_true(clock_mono_us() - start < 5000000);
}

/* The meaning, without stars kept apart: matches by trying everything. For short inputs. */
static bool slow_match(const char *p, const char *t) {
    if (*p == '\0')
        return *t == '\0';
    if (*p == '*')
        return slow_match(p + 1, t) || (*t != '\0' && slow_match(p, t + 1));
    return *t != '\0' && (*p == '?' || *p == *t) && slow_match(p + 1, t + 1);
}

static void test_agrees_with_trying_everything(void **state) {
    (void)state;
    struct rng rng;
    size_t matched = 0;
    rng_init(&rng, 1);
    for (int i = 0; i < 100000; i++) {
        char p[8] = "", t[8] = "";
        for (uint64_t k = rng_below(&rng, 8); k-- > 0;)
            p[k] = "ab*?*"[rng_below(&rng, 5)];
        for (uint64_t k = rng_below(&rng, 8); k-- > 0;)
            t[k] = "ab"[rng_below(&rng, 2)];
        bool m = glob_match(slice_cstr(p), slice_cstr(t), false);
        assert_int_equal(m, slow_match(p, t));
        matched += m;
    }
    assert_in_range(matched, 1000, 99000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_bytes_stars_and_question_marks),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_the_oddities_of_classes),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_case_is_ignored_where_asked),
        cmocka_unit_test(test_bytes_may_be_anything),
        cmocka_unit_test(test_hostile_patterns_take_bounded_time),
        cmocka_unit_test(test_agrees_with_trying_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
