#include "config.h"

#include "server/store/set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/listpack.h"

#define NAMES 400
#define NAME_CHARS 128

static struct hash_key key;
static struct table_policy policy = {.ctx = &key, .resizing = TABLE_RESIZE_FREELY};
static struct collection_rules rules = {.policy = &policy};

static int setup(void **state) {
    (void)state;
    hash_key_init(&key, "a seed of sets", 14);
    collection_limits_default(&rules.limits);
    rules.limits.set_max_intset_entries = 60;
    rules.limits.set_max_listpack_entries = 40;
    rules.limits.set_max_listpack_value = 32;
    return 0;
}

/* Integers of every width for the lower half of the names; words, some of them long and one empty, for the rest. */
static struct slice name_of(char *buf, size_t i) {
    size_t n;
    if (i < NAMES / 2)
        n = num_format_i64(buf, ((int64_t)i - 60) * (i % 5 == 0 ? INT64_C(3000000000) : i % 3 == 0 ? 70000 : 1));
    else if (i == NAMES - 1)
        n = 0;
    else
        n = (size_t)snprintf(buf, NAME_CHARS, i % 50 == 7 ? "%060zu long" : "w%zu", i);
    return slice_of(buf, n);
}

/* ---- the model: which names are in ---- */

struct model {
    bool in[NAMES];
    size_t count;
};

struct walked {
    const struct model *m;
    unsigned seen[NAMES];
    size_t steps;
};

static void mark(void *arg, const struct packed_item *member) {
    struct walked *w = arg;
    char digits[NUM_I64_CHARS], buf[NAME_CHARS];
    struct slice s = member->is_int ? slice_of(digits, num_format_i64(digits, member->i)) : member->s;
    w->steps++;
    for (size_t i = 0; i < NAMES; i++)
        if (slice_eq(name_of(buf, i), s)) {
            assert_true(w->m->in[i]);
            w->seen[i]++;
            return;
        }
    fail_msg("a member that nobody added");
}

static int mark_and_go_on(void *arg, const struct packed_item *member) {
    mark(arg, member);
    return 0;
}

static int stop_at_third(void *arg, const struct packed_item *member) {
    (void)member;
    return ++*(int *)arg == 3 ? 77 : 0;
}

static void expect_equal(const struct collection *s, const struct model *m) {
    set_check(s);
    assert_int_equal(set_count(s), m->count);
    struct walked w = {.m = m}, scanned = {.m = m};
    assert_int_equal(set_each(s, mark_and_go_on, &w), 0);
    assert_int_equal(w.steps, m->count);
    uint64_t cursor = 0;
    do
        cursor = set_scan(s, cursor, 10, mark, &scanned);
    while (cursor != 0);
    for (size_t i = 0; i < NAMES; i++) {
        char buf[NAME_CHARS];
        struct slice name = name_of(buf, i);
        assert_int_equal(w.seen[i], m->in[i]);
        assert_int_equal(scanned.seen[i] != 0, m->in[i]);
        assert_int_equal(set_contains(s, name), m->in[i]);
    }
    int steps = 0;
    if (m->count >= 3)
        assert_int_equal(set_each(s, stop_at_third, &steps), 77);
}

static void expect_samples(const struct collection *s, const struct model *m, struct rng *rng) {
    const size_t sizes[] = {0, 1, m->count / 4, m->count / 2, m->count, m->count + 3};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct walked w = {.m = m};
        set_sample(s, sizes[k], rng, mark, &w);
        assert_int_equal(w.steps, sizes[k] < m->count ? sizes[k] : m->count);
        for (size_t i = 0; i < NAMES; i++)
            assert_true(w.seen[i] <= 1);
    }
    struct walked w = {.m = m};
    const struct packed_item one = set_random(s, rng);
    mark(&w, &one);
}

static bool change(struct collection *s, size_t i, bool add, bool as_item) {
    char buf[NAME_CHARS];
    struct slice name = name_of(buf, i);
    struct packed_item item = packed_bytes(name);
    if (!as_item)
        return add ? set_add(s, name) : set_remove(s, name);
    if (i < NAMES / 2) {
        item = packed_int(0);
        assert_int_equal(num_parse_i64(name, &item.i), 0);
    }
    char other[NAME_CHARS];
    assert_int_equal(set_contains_item(s, &item), set_contains(s, name_of(other, i)));
    return add ? set_add_item(s, &item) : set_remove_item(s, &item);
}

/* Sets of names below `names`, with more additions than removals at first and the other way round later. */
static void do_as_the_model(size_t first, size_t names, uint64_t seed, bool *seen_encodings) {
    struct rng rng;
    rng_init(&rng, seed);
    struct model m = {0};
    char buf[NAME_CHARS];
    struct collection s = set_create(&rules, 1, name_of(buf, first));
    for (int step = 0; step < 3000; step++) {
        size_t i = first + rng_below(&rng, names);
        bool add = rng_below(&rng, 10) < (step < 2000 ? 7u : 3u);
        bool was = m.in[i];
        assert_int_equal(change(&s, i, add, rng_below(&rng, 2) == 0), add ? !was : was);
        m.in[i] = add;
        m.count += (size_t)(add && !was);
        m.count -= (size_t)(!add && was);
        seen_encodings[s.encoding] = true;
        set_check(&s);
        if (step % 150 == 0 && m.count != 0) {
            expect_equal(&s, &m);
            expect_samples(&s, &m, &rng);
            struct collection copy = set_copy(&s);
            assert_true(copy.object != s.object && copy.encoding == s.encoding);
            expect_equal(&copy, &m);
            set_destroy(&copy);
        }
    }
    set_destroy(&s);
}

static void sets_do_as_the_model_in_every_form(void **state) {
    (void)state;
    size_t before = mem_used();
    bool seen[VALUE_ENCODINGS] = {false};
    do_as_the_model(0, 50, 1, seen);
    assert_true(seen[VALUE_ENC_INTSET] && !seen[VALUE_ENC_LISTPACK]);
    do_as_the_model(0, NAMES / 2, 2, seen);
    assert_true(seen[VALUE_ENC_HASHTABLE]);
    do_as_the_model(NAMES - 40, 30, 3, seen);
    assert_true(seen[VALUE_ENC_LISTPACK]);
    for (uint64_t seed = 4; seed < 10; seed++)
        do_as_the_model(0, NAMES, seed, seen);
    assert_int_equal(mem_used(), before);
}

/* ---- forms ---- */

static void add_range(struct collection *s, int64_t from, int64_t to, const char *format) {
    for (int64_t i = from; i < to; i++) {
        char text[64];
        set_add(s, slice_of(text, (size_t)snprintf(text, sizeof text, format, (long long)i)));
    }
}

static struct collection integers(int64_t n) {
    struct collection s = set_create(&rules, 1, SLICE_LIT("1"));
    add_range(&s, 0, n, "%lld");
    return s;
}

static void thresholds_decide_the_form(void **state) {
    (void)state;
    struct collection s = integers(60);
    assert_int_equal(s.encoding, VALUE_ENC_INTSET);
    add_range(&s, 60, 61, "%lld");
    assert_int_equal(s.encoding, VALUE_ENC_HASHTABLE); /* though 40 would fit a listpack, and 60 an intset */
    set_destroy(&s);

    s = integers(39);
    set_add(&s, SLICE_LIT("x"));
    assert_int_equal(s.encoding, VALUE_ENC_LISTPACK);
    set_add(&s, SLICE_LIT("y"));
    assert_int_equal(s.encoding, VALUE_ENC_HASHTABLE);
    set_check(&s);
    set_destroy(&s);

    s = integers(40);
    set_add(&s, SLICE_LIT("x"));
    assert_int_equal(s.encoding, VALUE_ENC_HASHTABLE);
    set_destroy(&s);

    s = integers(3);
    set_add(&s, SLICE_LIT("a member of thirty-three bytes, i"));
    assert_int_equal(s.encoding, VALUE_ENC_HASHTABLE);
    set_destroy(&s);

    s = set_create(&rules, 1, SLICE_LIT("a"));
    set_add(&s, SLICE_LIT("a member of thirty-two bytes, no"));
    assert_int_equal(s.encoding, VALUE_ENC_LISTPACK);
    set_add(&s, SLICE_LIT("a member of thirty-three bytes, i"));
    assert_int_equal(s.encoding, VALUE_ENC_HASHTABLE);
    set_destroy(&s);
}

static void what_is_expected_decides_the_form(void **state) {
    (void)state;
    static const struct {
        size_t expected;
        const char *example;
        enum value_encoding encoding;
    } cases[] = {
        {60, "-12", VALUE_ENC_INTSET},   {61, "-12", VALUE_ENC_HASHTABLE},
        {40, "012", VALUE_ENC_LISTPACK}, {41, "x", VALUE_ENC_HASHTABLE},
        {1, "", VALUE_ENC_LISTPACK},     {1, "9223372036854775808", VALUE_ENC_LISTPACK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct collection s = set_create(&rules, cases[i].expected, slice_cstr(cases[i].example));
        assert_int_equal(s.encoding, cases[i].encoding);
        set_destroy(&s);
    }
    struct collection s = integers(3);
    set_expect(&s, 60);
    assert_int_equal(s.encoding, VALUE_ENC_INTSET);
    set_expect(&s, 61);
    assert_int_equal(s.encoding, VALUE_ENC_HASHTABLE);
    assert_int_equal(set_count(&s), 3);
    set_check(&s);
    set_destroy(&s);
    s = set_create(&rules, 1, SLICE_LIT("x"));
    set_add(&s, SLICE_LIT("x"));
    set_expect(&s, 40);
    assert_int_equal(s.encoding, VALUE_ENC_LISTPACK);
    set_expect(&s, 41);
    assert_int_equal(s.encoding, VALUE_ENC_HASHTABLE);
    set_destroy(&s);
}

static void numbers_that_are_not_canonical_are_words(void **state) {
    (void)state;
    struct collection s = integers(3);
    assert_false(set_contains(&s, SLICE_LIT("01")));
    assert_false(set_remove(&s, SLICE_LIT("+1")));
    assert_true(set_add(&s, SLICE_LIT("01")));
    assert_int_equal(s.encoding, VALUE_ENC_LISTPACK);
    assert_true(set_contains(&s, SLICE_LIT("01")) && set_contains(&s, SLICE_LIT("1")));
    assert_int_equal(set_count(&s), 4);
    set_destroy(&s);
}

/* What was loaded without looking for repetitions may have them. */
static void a_repetition_in_a_listpack_does_not_outlive_it(void **state) {
    (void)state;
    struct listpack *lp = listpack_create(0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(listpack_append(&lp, packed_bytes(i % 2 ? SLICE_LIT("same") : SLICE_LIT("12"))), 0);
    struct collection s = {.rules = &rules, .encoding = VALUE_ENC_LISTPACK, .object = lp};
    add_range(&s, 100, 200, "%lld");
    assert_int_equal(s.encoding, VALUE_ENC_HASHTABLE);
    assert_int_equal(set_count(&s), 102);
    set_check(&s);
    set_destroy(&s);
}

static void samples_are_even(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (int large = 0; large < 2; large++) {
        struct model m = {0};
        struct collection s = set_create(&rules, large ? 1000 : 1, SLICE_LIT("1"));
        for (size_t i = 0; i < 30; i++) {
            m.in[i] = change(&s, i, true, false);
            m.count++;
        }
        struct walked few = {.m = &m}, most = {.m = &m}, singles = {.m = &m};
        for (int round = 0; round < 3000; round++) {
            set_sample(&s, 5, &rng, mark, &few);
            set_sample(&s, 20, &rng, mark, &most);
            const struct packed_item one = set_random(&s, &rng);
            mark(&singles, &one);
        }
        for (size_t i = 0; i < 30; i++) {
            assert_in_range(few.seen[i], large ? 200 : 400, large ? 1000 : 600);  /* 500 */
            assert_in_range(most.seen[i], 1850, 2150);                            /* 2000 */
            assert_in_range(singles.seen[i], large ? 30 : 60, large ? 220 : 140); /* 100 */
        }
        set_destroy(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_do_as_the_model_in_every_form),
        cmocka_unit_test(thresholds_decide_the_form),
        cmocka_unit_test(what_is_expected_decides_the_form),
        cmocka_unit_test(numbers_that_are_not_canonical_are_words),
        cmocka_unit_test(a_repetition_in_a_listpack_does_not_outlive_it),
        cmocka_unit_test(samples_are_even),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
