#include "config.h"

#include "server/store/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/hash.h"
#include "server/base/mem.h"

#define NAMES 120

static struct hash_key key;
static struct table_policy policy = {.ctx = &key, .resizing = TABLE_RESIZE_FREELY};
static const struct small_limits limits = {.elements = 90, .element_bytes = 64};

static int setup(void **state) {
    (void)state;
    hash_key_init(&key, "a seed of small ones", 20);
    return 0;
}

/* Numbers as names and names with letters. */
static struct slice name_of(char *buf, size_t i) {
    return slice_of(buf, (size_t)snprintf(buf, 24, i % 2 ? "%zu" : "n%zu", i * 37));
}

static double some_score(struct rng *rng) {
    static const double scores[] = {0.0, -0.0, 1.5, 3, -7, 1e300 * 1e300, -1e300 * 1e300, 0.1, 1e21, 5e-324};
    return scores[rng_below(rng, sizeof scores / sizeof scores[0])];
}

/* The small set has the members of the large one, in its order. */
static void expect_same(const struct listpack *lp, const struct zset *z) {
    small_zset_check(lp);
    zset_check(z);
    assert_int_equal(listpack_count(lp), zset_count(z) * 2);
    struct ordered_cursor c = ordered_tree_seek(zset_tree(z), 0);
    for (uint32_t at = listpack_first(lp); at != 0; at = listpack_next(lp, listpack_next(lp, at))) {
        const struct zmember *m = ordered_cursor_next(&c);
        double score = small_zset_score(lp, at);
        assert_true(listpack_equals(lp, at, zmember_bytes(m)));
        double want = m->score + 0.0; /* a listpack holds -0 as 0 */
        assert_memory_equal(&score, &want, sizeof score);
    }
}

static void small_sorted_sets_do_as_large_ones(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 6);
    size_t before = mem_used();
    struct listpack *lp = listpack_create(0);
    struct zset *z = zset_create(&policy);
    for (int step = 0; step < 6000; step++) {
        char buf[24];
        struct slice name = name_of(buf, rng_below(&rng, NAMES));
        double score = some_score(&rng), found = 0;
        enum zset_put put;
        if (rng_below(&rng, 4) != 0) {
            bool fits = zset_find(z, name) != NULL || zset_count(z) < limits.elements;
            assert_int_equal(small_zset_put(&lp, limits, name, score, &put), fits ? 0 : -1);
            if (fits)
                assert_int_equal(zset_put(z, name, score), put);
        } else {
            assert_int_equal(small_zset_remove(&lp, name), zset_remove(z, name));
        }
        size_t rank = 0, want = 0;
        const struct zmember *m = zset_rank(z, name, &want);
        assert_int_equal(small_zset_find(lp, name, &found, &rank) != 0, m != NULL);
        assert_int_equal(rank, want);
        assert_true(m == NULL || found == m->score);
        for (int or_equal = 0; or_equal < 2; or_equal++)
            assert_int_equal(small_zset_rank_of_score(lp, score, or_equal),
                             ordered_tree_rank_of_score(zset_tree(z), score, or_equal));
        if (step % 16 == 0)
            expect_same(lp, z);
    }
    struct zset *enlarged = small_zset_enlarge(lp, &policy);
    expect_same(lp, enlarged);
    struct listpack *again = small_zset_from(enlarged, limits);
    expect_same(again, z);
    assert_null(small_zset_from(z, (struct small_limits){zset_count(z) - 1, 64}));
    assert_null(small_zset_from(z, (struct small_limits){zset_count(z), 2}));
    listpack_destroy(again);
    zset_destroy(enlarged);
    zset_destroy(z);
    value_free(
        (struct value){.type = VALUE_ZSET, .encoding = VALUE_ENC_LISTPACK, .repr = VALUE_REPR_OBJECT, .u.object = lp});
    assert_int_equal(mem_used(), before);
}

static void ranks_of_bytes_in_a_small_sorted_set(void **state) {
    (void)state;
    struct listpack *lp = listpack_create(0);
    struct zset *z = zset_create(&policy);
    char buf[24];
    for (size_t i = 0; i < 60; i++) {
        enum zset_put put;
        assert_int_equal(small_zset_put(&lp, limits, name_of(buf, i * 2), 3, &put), 0);
        zset_put(z, name_of(buf, i * 2), 3);
    }
    for (size_t i = 0; i < 140; i++)
        for (int or_equal = 0; or_equal < 2; or_equal++)
            assert_int_equal(small_zset_rank_of_bytes(lp, name_of(buf, i), or_equal),
                             ordered_tree_rank_of_bytes(zset_tree(z), name_of(buf, i), or_equal));
    zset_destroy(z);
    listpack_destroy(lp);
}

static void a_member_too_long_is_not_put(void **state) {
    (void)state;
    char bytes[65] = {0};
    enum zset_put put;
    struct listpack *lp = listpack_create(0);
    assert_int_equal(small_zset_put(&lp, limits, slice_of(bytes, 65), 1, &put), -1);
    assert_int_equal(small_zset_put(&lp, limits, slice_of(bytes, 64), 1, &put), 0);
    assert_int_equal(small_hash_put(&lp, limits, SLICE_LIT("f"), slice_of(bytes, 65)), -1);
    assert_int_equal(listpack_count(lp), 2);
    listpack_destroy(lp);
}

static void small_hashes_do_as_large_ones(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 8);
    struct listpack *lp = listpack_create(0);
    struct fields *t = fields_create(&policy);
    for (int step = 0; step < 4000; step++) {
        char buf[24], value[24];
        struct slice name = name_of(buf, rng_below(&rng, NAMES)), v = name_of(value, rng_below(&rng, 1000));
        if (rng_below(&rng, 4) != 0) {
            bool there = fields_find(t, name) != NULL, fits = there || fields_count(t) < limits.elements;
            assert_int_equal(small_hash_put(&lp, limits, name, v), !fits ? -1 : !there);
            if (fits)
                fields_put(t, name, v, FIELD_NO_DEADLINE);
        } else {
            assert_int_equal(small_hash_remove(&lp, name), fields_remove(t, name));
        }
        listpack_check(lp);
        uint32_t at = small_hash_find(lp, name);
        const struct field *f = fields_find(t, name);
        assert_int_equal(at != 0, f != NULL);
        assert_int_equal(listpack_count(lp), fields_count(t) * 2);
        assert_true(at == 0 || listpack_equals(lp, at, field_value(f)));
    }
    struct fields *enlarged = small_hash_enlarge(lp, &policy);
    fields_check(enlarged);
    assert_int_equal(fields_count(enlarged), fields_count(t));
    for (size_t i = 0; i < NAMES; i++) {
        char buf[24];
        const struct field *a = fields_find(t, name_of(buf, i)), *b = fields_find(enlarged, name_of(buf, i));
        assert_int_equal(a != NULL, b != NULL);
        assert_true(a == NULL || slice_eq(field_value(a), field_value(b)));
    }
    fields_destroy(enlarged);
    fields_destroy(t);
    listpack_destroy(lp);
}

static void sets_enlarge_from_both_small_forms(void **state) {
    (void)state;
    struct intset *is = intset_create();
    for (int64_t i = 0; i < 80; i++)
        assert_int_equal(intset_add(&is, (i - 40) * 1000003), 1);
    struct listpack *lp = small_set_from_intset(is, limits);
    assert_int_equal(listpack_count(lp), 80);
    assert_null(small_set_from_intset(is, (struct small_limits){79, 64}));
    assert_null(small_set_from_intset(is, (struct small_limits){80, 3}));
    struct fields *a = small_set_enlarge(lp, &policy), *b = small_intset_enlarge(is, &policy);
    assert_int_equal(fields_count(a), 80);
    assert_int_equal(fields_count(b), 80);
    assert_non_null(fields_find(a, SLICE_LIT("-40000120")));
    assert_non_null(fields_find(b, SLICE_LIT("0")));
    fields_destroy(a);
    fields_destroy(b);
    assert_int_equal(listpack_append(&lp, packed_int(0)), 0);
    assert_null(small_set_enlarge(lp, &policy)); /* 0 is there twice */
    struct value v = {.type = VALUE_SET, .encoding = VALUE_ENC_INTSET, .repr = VALUE_REPR_OBJECT, .u.object = is};
    struct value w = value_copy(v);
    assert_int_equal(value_free_effort(w), 1);
    assert_true(value_memory_bytes(w, 0) >= intset_bytes(is));
    value_free(v);
    assert_int_equal(intset_count(w.u.object), 80);
    value_free(w);
    listpack_destroy(lp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_sorted_sets_do_as_large_ones), cmocka_unit_test(ranks_of_bytes_in_a_small_sorted_set),
        cmocka_unit_test(a_member_too_long_is_not_put),       cmocka_unit_test(small_hashes_do_as_large_ones),
        cmocka_unit_test(sets_enlarge_from_both_small_forms),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
