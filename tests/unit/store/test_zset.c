#include "config.h"

#include "server/store/zset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/store/value.h"

#define NAMES 3000

static struct hash_key key;
static struct table_policy policy = {.ctx = &key, .resizing = TABLE_RESIZE_FREELY};

/* The model: a score for each name, or not there. */
struct model {
    double score[NAMES];
    bool there[NAMES];
    size_t n;
};

static struct slice name_of(char *buf, size_t i) {
    return slice_of(buf, (size_t)snprintf(buf, 24, "member-%zu", i));
}

static size_t number_of(const struct zmember *m) {
    struct slice bytes = zmember_bytes(m);
    size_t number = 0;
    for (size_t i = strlen("member-"); i < bytes.n; i++)
        number = number * 10 + (size_t)(bytes.p[i] - '0');
    return number;
}

static int setup(void **state) {
    (void)state;
    hash_key_init(&key, "a seed of sorted sets", 21);
    return 0;
}

static void model_forget(void *arg, const struct zmember *m) {
    struct model *model = arg;
    size_t i = number_of(m);
    assert_true(model->there[i]);
    assert_true(model->score[i] == m->score);
    model->there[i] = false;
    model->n--;
}

static void model_put(struct model *model, struct zset *z, size_t i, double score) {
    char buf[24];
    enum zset_put want = !model->there[i] ? ZSET_ADDED : model->score[i] != score ? ZSET_MOVED : ZSET_SAME;
    assert_int_equal(zset_put(z, name_of(buf, i), score), want);
    model->n += !model->there[i];
    model->there[i] = true;
    model->score[i] = score;
}

static void compare_member(const struct model *model, const struct zset *z, size_t i) {
    char buf[24];
    size_t rank = SIZE_MAX;
    struct zmember *m = zset_rank(z, name_of(buf, i), &rank);
    assert_int_equal(m != NULL, model->there[i]);
    assert_int_equal(zset_count(z), model->n);
    if (m == NULL) {
        assert_int_equal(rank, SIZE_MAX);
        return;
    }
    assert_true(m->score == model->score[i]);
    assert_ptr_equal(ordered_tree_at(zset_tree(z), rank), m);
}

static void one_step(struct model *model, struct zset *z, struct rng *rng, unsigned puts_of_10) {
    size_t i = rng_below(rng, NAMES);
    char buf[24];
    if (rng_below(rng, 10) < puts_of_10) {
        model_put(model, z, i, (double)rng_below(rng, 50));
    } else if (rng_below(rng, 12) == 0) {
        size_t rank = rng_below(rng, model->n + 1);
        zset_remove_ranks(z, rank, rng_below(rng, (model->n - rank) / 8 + 1), model_forget, model);
    } else if (rng_below(rng, 4) == 0) {
        bool highest = rng_below(rng, 2) != 0;
        size_t end = highest && model->n != 0 ? model->n - 1 : 0;
        const struct zmember *want = ordered_tree_at(zset_tree(z), end);
        struct zmember *m = zset_pop(z, highest);
        assert_ptr_equal(m, want);
        if (m != NULL)
            model_forget(model, m);
        zmember_destroy(m);
    } else {
        assert_int_equal(zset_remove(z, name_of(buf, i)), model->there[i]);
        model->n -= model->there[i];
        model->there[i] = false;
    }
    compare_member(model, z, i);
}

static void random_changes_follow_a_model(void **state) {
    (void)state;
    static struct model model;
    struct rng rng;
    rng_init(&rng, 5);
    size_t before = mem_used();
    struct zset *z = zset_create(&policy);
    for (int phase = 0; phase < 4; phase++) {
        policy.resizing = phase == 2 ? TABLE_RESIZE_AVOID : TABLE_RESIZE_FREELY;
        for (int step = 0; step < 2500; step++) {
            one_step(&model, z, &rng, phase % 2 == 0 ? 8 : 3);
            if (step % 8 == 0)
                zset_check(z);
        }
    }
    for (size_t i = 0; i < NAMES; i++)
        compare_member(&model, z, i);
    zset_destroy(z);
    assert_int_equal(mem_used(), before);
}

static void a_copy_is_apart(void **state) {
    (void)state;
    static struct model model;
    struct zset *z = zset_create(&policy);
    for (size_t i = 0; i < NAMES; i += 3)
        model_put(&model, z, i, (double)(i % 100));
    struct value v = {.type = VALUE_ZSET, .encoding = VALUE_ENC_SKIPLIST, .repr = VALUE_REPR_OBJECT, .u.object = z};
    struct value w = value_copy(v);
    assert_int_equal(value_free_effort(v), model.n);
    assert_true(value_memory_bytes(v, 0) > model.n * 32);
    size_t all = value_memory_bytes(v, 0), sampled = value_memory_bytes(v, 5);
    assert_true(sampled > all * 9 / 10 && sampled < all * 11 / 10);
    value_free(v);
    zset_check(w.u.object);
    for (size_t i = 0; i < NAMES; i++)
        compare_member(&model, w.u.object, i);
    value_free(w);
}

static struct zmember **make_members(size_t n, int how) {
    struct zmember **all = mem_calloc(n, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        char buf[24];
        double score = how == 0 ? (double)i : how == 1 ? -(double)i : (double)(i * 7919 % 1000);
        all[i] = zmember_create(score, name_of(buf, i));
    }
    return all;
}

static void members_load_in_any_order(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct zmember **all = make_members(NAMES, how);
        struct zset *z = zset_try_load(&policy, all, NAMES);
        assert_non_null(z);
        zset_check(z);
        assert_int_equal(zset_count(z), NAMES);
        zset_destroy(z);
        mem_free(all);
    }
    struct zset *empty = zset_try_load(&policy, NULL, 0);
    assert_non_null(empty);
    zset_check(empty);
    assert_null(zset_pop(empty, true));
    zset_destroy(empty);
}

static void a_load_with_a_member_twice_fails(void **state) {
    (void)state;
    size_t before = mem_used();
    struct zmember **all = make_members(500, 0);
    zmember_destroy(all[499]);
    all[499] = zmember_create(1e9, SLICE_LIT("member-7"));
    assert_null(zset_try_load(&policy, all, 500));
    mem_free(all);
    all = make_members(3, 0);
    all[1]->score = __builtin_nan("");
    assert_null(zset_try_load(&policy, all, 3));
    mem_free(all);
    assert_int_equal(mem_used(), before);
}

static void count_seen(void *arg, struct zmember *m) {
    ((unsigned *)arg)[number_of(m)]++;
}

static void a_scan_sees_every_member(void **state) {
    (void)state;
    static unsigned seen[NAMES];
    struct zmember **all = make_members(NAMES, 2);
    struct zset *z = zset_try_load(&policy, all, NAMES);
    uint64_t cursor = 0;
    do {
        cursor = zset_scan(z, cursor, count_seen, seen);
    } while (cursor != 0);
    for (size_t i = 0; i < NAMES; i++)
        assert_true(seen[i] >= 1);
    zset_destroy(z);
    mem_free(all);
}

static void random_members_are_spread(void **state) {
    (void)state;
    unsigned seen[20] = {0};
    struct zmember **all = make_members(20, 0);
    struct zset *z = zset_try_load(&policy, all, 20);
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 20000; i++)
        count_seen(seen, zset_random(z, &rng));
    for (int i = 0; i < 20; i++)
        assert_in_range(seen[i], 800, 1200);
    zset_destroy(z);
    mem_free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_follow_a_model), cmocka_unit_test(a_copy_is_apart),
        cmocka_unit_test(members_load_in_any_order),     cmocka_unit_test(a_load_with_a_member_twice_fails),
        cmocka_unit_test(a_scan_sees_every_member),      cmocka_unit_test(random_members_are_spread),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
