#include "config.h"

#include "server/commands/set_options.h"

#include "tests/support/unit.h"

#include <stdio.h>
#include <string.h>

#include "server/base/hash.h"

#define WORDS_MAX 12

/* Parses a blank-separated line of options. */
static int parse(const char *line, enum set_grammar grammar, struct set_options *o) {
    struct slice argv[WORDS_MAX];
    int argc = 0;
    for (const char *p = line; *p != '\0';) {
        size_t n = strcspn(p, " ");
        argv[argc++] = slice_of(p, n);
        p += n;
        p += *p == ' ';
    }
    return set_options_parse(argv, argc, 0, grammar, o);
}

static void assert_refused(const char *line, enum set_grammar grammar) {
    struct set_options o;
    assert_int_equal(parse(line, grammar, &o), -1);
}

static void times_carry_unit_and_kind(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int64_t unit_ms;
        bool absolute;
    } cases[] = {{"ex 1", 1000, false}, {"PX 1", 1, false}, {"ExAt 1", 1000, true}, {"pxat 1", 1, true}};
    for (size_t i = 0; i < 4; i++) {
        struct set_options o;
        assert_int_equal(parse(cases[i].line, SET_GRAMMAR_SET, &o), 0);
        assert_int_equal(o.time_arg, 1);
        assert_int_equal(o.unit_ms, cases[i].unit_ms);
        assert_int_equal(o.absolute, cases[i].absolute);
        assert_false(o.keep_ttl);
    }
}

static void repeated_words_are_fine_and_the_last_time_counts(void **state) {
    (void)state;
    struct set_options o;
    assert_int_equal(parse("ex 1 ex 2 nx nx get get", SET_GRAMMAR_SET, &o), 0);
    assert_int_equal(o.time_arg, 3);
    assert_int_equal(o.condition, SET_NX);
    assert_true(o.get);
}

static void contradictions_are_refused(void **state) {
    (void)state;
    static const char *const lines[] = {"nx xx",     "ex 1 px 1", "keepttl ex 1", "pxat 1 keepttl",
                                        "ifeq a nx", "xx ifne b", "ex",           "ifeq",
                                        "persist",   "1",         "ex 1 2",       "exat 1 pxat 1"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_refused(lines[i], SET_GRAMMAR_SET);
}

static void each_command_has_its_own_words(void **state) {
    (void)state;
    struct set_options o;
    assert_refused("nx", SET_GRAMMAR_GETEX);
    assert_refused("get", SET_GRAMMAR_GETEX);
    assert_refused("keepttl", SET_GRAMMAR_GETEX);
    assert_refused("persist ex 1", SET_GRAMMAR_GETEX);
    assert_int_equal(parse("persist", SET_GRAMMAR_GETEX, &o), 0);
    assert_true(o.persist);
    assert_refused("get", SET_GRAMMAR_MSETEX);
    assert_refused("ifeq a", SET_GRAMMAR_MSETEX);
    assert_int_equal(parse("xx keepttl", SET_GRAMMAR_MSETEX, &o), 0);
    assert_true(o.keep_ttl);
    assert_refused("ex 1", SET_GRAMMAR_DELEX);
    assert_refused("nx", SET_GRAMMAR_DELEX);
    assert_int_equal(parse("ifdne a", SET_GRAMMAR_DELEX, &o), 0);
}

static void conditions_compare_whole_values(void **state) {
    (void)state;
    struct slice v = slice_of("a\0b", 3), shorter = slice_of("a", 1);
    struct set_options o = {.condition = SET_IFEQ, .operand = v};
    assert_true(set_condition_met(&o, &v));
    assert_false(set_condition_met(&o, &shorter));
    assert_false(set_condition_met(&o, NULL));
    o.condition = SET_IFNE;
    assert_false(set_condition_met(&o, &v));
    assert_true(set_condition_met(&o, &shorter));
    assert_true(set_condition_met(&o, NULL));
    o.condition = SET_NX;
    assert_true(set_condition_met(&o, NULL));
    assert_false(set_condition_met(&o, &v));
    o.condition = SET_XX;
    assert_false(set_condition_met(&o, NULL));
    assert_true(set_condition_met(&o, &v));
}

static void digests_are_hex_of_any_case(void **state) {
    (void)state;
    uint64_t digest;
    assert_int_equal(set_options_digest(SLICE_LIT("0123456789abCDef"), &digest), 0);
    assert_int_equal(digest, UINT64_C(0x0123456789abcdef));
    assert_int_equal(set_options_digest(SLICE_LIT("0123456789abcde"), &digest), -1);
    assert_int_equal(set_options_digest(SLICE_LIT("0123456789abcdeff"), &digest), -1);
    assert_int_equal(set_options_digest(SLICE_LIT("0123456789abcdeg"), &digest), -1);

    struct slice v = SLICE_LIT("value"), other = SLICE_LIT("other");
    char hex[17];
    snprintf(hex, sizeof hex, "%016llX", (unsigned long long)hash_xxh3(v.p, v.n));
    struct set_options o = {.condition = SET_IFDEQ, .operand = slice_of(hex, 16)};
    assert_true(set_condition_met(&o, &v));
    assert_false(set_condition_met(&o, &other));
    assert_false(set_condition_met(&o, NULL));
    o.condition = SET_IFDNE;
    assert_false(set_condition_met(&o, &v));
    assert_true(set_condition_met(&o, &other));
    assert_true(set_condition_met(&o, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_carry_unit_and_kind),
        cmocka_unit_test(repeated_words_are_fine_and_the_last_time_counts),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(each_command_has_its_own_words),
        cmocka_unit_test(conditions_compare_whole_values),
        cmocka_unit_test(digests_are_hex_of_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
