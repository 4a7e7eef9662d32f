#include "config.h"

#include "server/ds/ordered_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/mem.h"
#include "server/base/rng.h"

/* The model is a sorted array of the same members. */
#define MODEL_MAX 6000

struct model {
    struct ordered_tree tree;
    struct zmember *sorted[MODEL_MAX];
    size_t n;
    struct rng rng;
    uint64_t next_name;
};

typedef double score_fn(struct model *m);

static int order(const struct zmember *a, const struct zmember *b) {
    if (a->score != b->score)
        return a->score < b->score ? -1 : 1;
    return zmember_compare_bytes(zmember_bytes(a), zmember_bytes(b));
}

static size_t model_place(const struct model *m, const struct zmember *x) {
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (order(m->sorted[mid], x) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void model_add(struct model *m, struct zmember *x) {
    size_t at = model_place(m, x);
    memmove(&m->sorted[at + 1], &m->sorted[at], (m->n - at) * sizeof m->sorted[0]);
    m->sorted[at] = x;
    m->n++;
}

static void model_take(struct model *m, size_t at, size_t n) {
    memmove(&m->sorted[at], &m->sorted[at + n], (m->n - at - n) * sizeof m->sorted[0]);
    m->n -= n;
}

/* Names of three kinds: with a long prefix, with few distinct bytes, longer than a byte counts. */
static struct zmember *new_member(struct model *m, double score) {
    char name[400];
    uint64_t i = m->next_name++;
    int n;
    switch (rng_below(&m->rng, 8)) {
    case 0:
        n = snprintf(name, sizeof name, "%0*llu", (int)(300 + rng_below(&m->rng, 80)), (unsigned long long)i);
        break;
    case 1:
        memset(name, 0, sizeof name);
        memcpy(name + rng_below(&m->rng, 12), &i, sizeof i);
        n = (int)(20 + rng_below(&m->rng, 3));
        break;
    default:
        n = snprintf(name, sizeof name, "member:%06llu:%llu", (unsigned long long)rng_below(&m->rng, 1000000),
                     (unsigned long long)i);
    }
    return zmember_create(score, slice_of(name, (size_t)n));
}

static void compare_whole(struct model *m) {
    ordered_tree_check(&m->tree);
    assert_int_equal(m->tree.used, m->n);
    struct ordered_cursor up = ordered_tree_seek(&m->tree, 0);
    for (size_t i = 0; i < m->n; i++)
        assert_ptr_equal(ordered_cursor_next(&up), m->sorted[i]);
    assert_null(ordered_cursor_next(&up));
    if (m->n == 0)
        return;
    struct ordered_cursor down = ordered_tree_seek(&m->tree, m->n - 1);
    for (size_t i = m->n; i-- > 0;)
        assert_ptr_equal(ordered_cursor_prev(&down), m->sorted[i]);
    assert_null(ordered_cursor_prev(&down));
}

static void compare_ranks(struct model *m, double score) {
    size_t below = 0, up_to = 0;
    for (size_t i = 0; i < m->n; i++) {
        below += m->sorted[i]->score < score;
        up_to += m->sorted[i]->score <= score;
    }
    assert_int_equal(ordered_tree_rank_of_score(&m->tree, score, false), below);
    assert_int_equal(ordered_tree_rank_of_score(&m->tree, score, true), up_to);
    assert_null(ordered_tree_at(&m->tree, m->n));
    for (int i = 0; i < 3 && m->n != 0; i++) {
        size_t rank = rng_below(&m->rng, m->n);
        assert_ptr_equal(ordered_tree_at(&m->tree, rank), m->sorted[rank]);
        assert_int_equal(ordered_tree_rank(&m->tree, m->sorted[rank]), rank);
    }
}

struct drops {
    struct model *m;
    size_t at;
};

static void drop_expected(void *arg, struct zmember *x) {
    struct drops *d = arg;
    assert_ptr_equal(x, d->m->sorted[d->at++]);
    zmember_destroy(x);
}

static void remove_range(struct model *m) {
    size_t at = rng_below(&m->rng, m->n + 1);
    size_t n = rng_below(&m->rng, (m->n - at) / (1 + rng_below(&m->rng, 40)) + 1);
    struct drops d = {m, at};
    ordered_tree_remove_ranks(&m->tree, at, n, drop_expected, &d);
    assert_int_equal(d.at, at + n);
    model_take(m, at, n);
}

static void random_step(struct model *m, score_fn *score, unsigned adds_of_10) {
    if (m->n < MODEL_MAX && (m->n == 0 || rng_below(&m->rng, 10) < adds_of_10)) {
        struct zmember *x = new_member(m, score(m));
        ordered_tree_insert(&m->tree, x);
        model_add(m, x);
        return;
    }
    size_t at = rng_below(&m->rng, m->n);
    struct zmember *x = m->sorted[at];
    if (rng_below(&m->rng, 2)) {
        model_take(m, at, 1);
        ordered_tree_move(&m->tree, x, rng_below(&m->rng, 2) ? score(m) : x->score + 0.25);
        model_add(m, x);
    } else {
        ordered_tree_remove(&m->tree, x);
        model_take(m, at, 1);
        zmember_destroy(x);
    }
}

static void random_life(score_fn *score, uint64_t seed) {
    static struct model m;
    m = (struct model){.next_name = 0};
    rng_init(&m.rng, seed);
    for (int phase = 0; phase < 6; phase++) {
        unsigned adds_of_10 = phase % 2 == 0 ? 9 : 1;
        for (int step = 0; step < 1800; step++) {
            random_step(&m, score, adds_of_10);
            if (step % 97 == 0 && phase % 2 == 1)
                remove_range(&m);
            ordered_tree_check(&m.tree);
            if (step % 16 == 0)
                compare_ranks(&m, m.n != 0 && step % 32 ? m.sorted[rng_below(&m.rng, m.n)]->score : score(&m));
        }
        compare_whole(&m);
    }
    struct drops d = {&m, 0};
    ordered_tree_clear(&m.tree, drop_expected, &d);
    assert_int_equal(d.at, m.n);
    assert_int_equal(m.tree.used, 0);
}

static double score_any(struct model *m) {
    uint64_t bits = rng_u64(&m->rng);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d == d ? d : 0.0;
}
static double score_one(struct model *m) {
    (void)m;
    return 7.0;
}
static double score_few(struct model *m) {
    static const double few[] = {-1.0, -0.0, 0.0, 1.0, 1e300 * 1e300, -1e300 * 1e300, 5e-324};
    return few[rng_below(&m->rng, sizeof few / sizeof few[0])];
}
static double score_time(struct model *m) {
    return 1.7e12 + (double)m->next_name;
}
static double score_down(struct model *m) {
    return -(double)m->next_name;
}
static double score_clustered(struct model *m) {
    return (double)(rng_below(&m->rng, 4) << 40) + rng_unit(&m->rng);
}

static void random_changes_of_any_scores(void **state) {
    (void)state;
    random_life(score_any, 1);
}
static void random_changes_of_equal_scores(void **state) {
    (void)state;
    random_life(score_one, 2);
}
static void random_changes_of_few_scores(void **state) {
    (void)state;
    random_life(score_few, 3);
}
static void random_changes_of_ascending_scores(void **state) {
    (void)state;
    random_life(score_time, 4);
}
static void random_changes_of_descending_scores(void **state) {
    (void)state;
    random_life(score_down, 5);
}
static void random_changes_of_clustered_scores(void **state) {
    (void)state;
    random_life(score_clustered, 6);
}

static void destroy_member(void *arg, struct zmember *m) {
    (void)arg;
    zmember_destroy(m);
}

static void ranks_of_bytes_where_scores_are_equal(void **state) {
    (void)state;
    struct ordered_tree t = {0};
    char name[16];
    for (int i = 0; i < 3000; i++) {
        int n = snprintf(name, sizeof name, "k%04d", i * 7 % 3000 * 2);
        ordered_tree_insert(&t, zmember_create(0, slice_of(name, (size_t)n)));
    }
    ordered_tree_check(&t);
    for (int i = 0; i < 6000; i++) {
        int n = snprintf(name, sizeof name, "k%04d", i);
        assert_int_equal(ordered_tree_rank_of_bytes(&t, slice_of(name, (size_t)n), false), (i + 1) / 2);
        assert_int_equal(ordered_tree_rank_of_bytes(&t, slice_of(name, (size_t)n), true), i / 2 + 1);
    }
    assert_int_equal(ordered_tree_rank_of_bytes(&t, SLICE_LIT(""), true), 0);
    assert_int_equal(ordered_tree_rank_of_bytes(&t, SLICE_LIT("k"), true), 0);
    assert_int_equal(ordered_tree_rank_of_bytes(&t, SLICE_LIT("l"), false), 3000);
    ordered_tree_clear(&t, destroy_member, NULL);
}

/* Makes n members, inserts or builds, and returns the bytes of nodes a member. */
static double node_bytes_per_member(size_t n, int how) {
    struct ordered_tree t = {0};
    struct rng rng;
    rng_init(&rng, 9);
    struct zmember **all = mem_calloc(n, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        char name[24];
        int len = snprintf(name, sizeof name, "m%zu", i);
        double score = how == 0 ? rng_unit(&rng) : how == 1 ? -(double)i : (double)i;
        all[i] = zmember_create(score, slice_of(name, (size_t)len));
        if (how < 3)
            ordered_tree_insert(&t, all[i]);
    }
    if (how == 3)
        ordered_tree_build(&t, all, n);
    ordered_tree_check(&t);
    double bytes = (double)t.node_bytes / (double)n;
    for (size_t rank = 0; how >= 2 && rank < n; rank += 37)
        assert_ptr_equal(ordered_tree_at(&t, rank), all[rank]);
    ordered_tree_clear(&t, destroy_member, NULL);
    mem_free(all);
    return bytes;
}

static void nodes_are_well_filled(void **state) {
    (void)state;
    assert_true(node_bytes_per_member(100000, 0) < 11.4); /* 8 bytes at 70 % */
    assert_true(node_bytes_per_member(100000, 1) < 9.5);
    assert_true(node_bytes_per_member(100000, 2) < 9.5);
    assert_true(node_bytes_per_member(100000, 3) < 10.0);
}

static void a_tree_is_built_of_any_number(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 111, 112, 113, 224, 225, 112 * 56, 112 * 56 + 1, 112 * 56 * 2 + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_true(node_bytes_per_member(sizes[i], 3) > 0);
    struct ordered_tree t = {0};
    ordered_tree_build(&t, NULL, 0);
    ordered_tree_check(&t);
    assert_int_equal(t.used, 0);
}

static void draining_by_ranks_gives_all_memory_back(void **state) {
    (void)state;
    size_t before = mem_used();
    struct ordered_tree t = {0};
    for (int i = 0; i < 20000; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "%d", i);
        ordered_tree_insert(&t, zmember_create(i % 1000, slice_of(name, (size_t)n)));
    }
    while (t.used > 0) {
        size_t n = t.used < 777 ? t.used : 777;
        ordered_tree_remove_ranks(&t, (t.used - n) / 2, n, destroy_member, NULL);
        ordered_tree_check(&t);
    }
    assert_int_equal(mem_used(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_of_any_scores),
        cmocka_unit_test(random_changes_of_equal_scores),
        cmocka_unit_test(random_changes_of_few_scores),
        cmocka_unit_test(random_changes_of_ascending_scores),
        cmocka_unit_test(random_changes_of_descending_scores),
        cmocka_unit_test(random_changes_of_clustered_scores),
        cmocka_unit_test(ranks_of_bytes_where_scores_are_equal),
        cmocka_unit_test(nodes_are_well_filled),
        cmocka_unit_test(a_tree_is_built_of_any_number),
        cmocka_unit_test(draining_by_ranks_gives_all_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
