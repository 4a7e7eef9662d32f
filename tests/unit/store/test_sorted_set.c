#include "config.h"

#include "server/store/sorted_set.h"

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

#define NAMES 60

static struct hash_key key;
static struct table_policy policy = {.ctx = &key, .resizing = TABLE_RESIZE_FREELY};
static struct collection_rules rules = {.policy = &policy};

/* Members are kept in order, by an insertion that looks at every one. */
struct model {
    struct {
        char name[24];
        size_t n;
        double score;
    } at[NAMES];
    size_t n;
};

static struct slice model_name(const struct model *m, size_t i) {
    return slice_of(m->at[i].name, m->at[i].n);
}

static size_t model_find(const struct model *m, struct slice name) {
    size_t i = 0;
    while (i < m->n && !slice_eq(model_name(m, i), name))
        i++;
    return i;
}

static void model_cut(struct model *m, size_t at, size_t n) {
    memmove(&m->at[at], &m->at[at + n], (m->n - at - n) * sizeof m->at[0]);
    m->n -= n;
}

static void model_put(struct model *m, struct slice name, double score) {
    size_t at = model_find(m, name), to = 0;
    if (at < m->n && m->at[at].score == score)
        return;
    if (at < m->n)
        model_cut(m, at, 1);
    while (to < m->n && (m->at[to].score < score ||
                         (m->at[to].score == score && zmember_compare_bytes(model_name(m, to), name) < 0)))
        to++;
    memmove(&m->at[to + 1], &m->at[to], (m->n - to) * sizeof m->at[0]);
    memcpy(m->at[to].name, name.p, name.n);
    m->at[to].n = name.n;
    m->at[to].score = score;
    m->n++;
}

/* Every second name is a number. */
static struct slice name_of(char buf[24], uint64_t i) {
    return slice_of(buf, (size_t)snprintf(buf, 24, i % 2 ? "%d" : "name-%d", (int)i - 20));
}

static double some_score(struct rng *rng, bool equal) {
    static const double scores[] = {0.0, 1.5, 3, -7, 0.1, 1e300 * 1e300, -1e300 * 1e300, 1e21, 1234567890123};
    return equal ? 5 : scores[rng_below(rng, sizeof scores / sizeof scores[0])];
}

/* ---- comparing ---- */

struct walk {
    const struct model *m;
    size_t at, left;
    bool reverse;
};

static int see(void *arg, const struct packed_item *member, double score) {
    struct walk *w = arg;
    char digits[24];
    struct slice name = member->is_int ? slice_of(digits, num_format_i64(digits, member->i)) : member->s;
    size_t i = w->reverse ? w->m->n - 1 - w->at : w->at;
    assert_true(w->left > 0 && w->at < w->m->n);
    assert_true(slice_eq(name, model_name(w->m, i)));
    assert_true(score == w->m->at[i].score);
    w->at++;
    return --w->left == 0 ? 7 : 0;
}

static void expect_walk(const struct collection *z, const struct model *m, size_t rank, size_t n, bool reverse) {
    size_t most = rank < m->n ? m->n - rank : 0, left = n < most ? n : most;
    struct walk w = {m, rank, left, reverse};
    assert_int_equal(sorted_set_each(z, rank, n, reverse, see, &w), left != 0 ? 7 : 0);
    assert_int_equal(w.left, 0);
}

static bool inside(const struct sorted_set_lex *r, int side, struct slice name) {
    if (r->bound[side] == SORTED_SET_LOWEST || r->bound[side] == SORTED_SET_HIGHEST)
        return (r->bound[side] == SORTED_SET_LOWEST) == (side == 0);
    int c = zmember_compare_bytes(name, r->bytes[side]) * (side == 0 ? 1 : -1);
    return c > 0 || (c == 0 && r->bound[side] == SORTED_SET_INCLUDED);
}

/* What a walk from the lowest, or the highest, to the other end finds. */
static size_t model_lex(const struct model *m, const struct sorted_set_lex *r, bool reverse, size_t *ret_rank) {
    int near_side = reverse, far_side = !reverse;
    size_t n = 0;
    if (m->n == 0 || !inside(r, 0, model_name(m, m->n - 1)) || !inside(r, 1, model_name(m, 0)))
        return 0;
    for (size_t i = 0; i < m->n; i++) {
        struct slice name = model_name(m, reverse ? m->n - 1 - i : i);
        if (n == 0 && !inside(r, near_side, name))
            continue;
        if (!inside(r, far_side, name))
            break;
        if (n++ == 0)
            *ret_rank = i;
    }
    return n;
}

static void expect_lex(const struct collection *z, const struct model *m, struct rng *rng) {
    char a[24], b[24];
    struct sorted_set_lex r = {.bytes = {name_of(a, rng_below(rng, NAMES)), name_of(b, rng_below(rng, NAMES))}};
    r.bound[0] = (enum sorted_set_bound)rng_below(rng, 4);
    r.bound[1] = (enum sorted_set_bound)rng_below(rng, 4);
    bool empty = r.bound[0] == SORTED_SET_HIGHEST || r.bound[1] == SORTED_SET_LOWEST;
    if (r.bound[0] > SORTED_SET_HIGHEST && r.bound[1] > SORTED_SET_HIGHEST) {
        int c = zmember_compare_bytes(r.bytes[0], r.bytes[1]);
        empty = empty || c > 0 || (c == 0 && (r.bound[0] != r.bound[1] || r.bound[0] == SORTED_SET_EXCLUDED));
    }
    for (int reverse = 0; reverse < 2; reverse++) {
        size_t rank = 0, want = 0;
        size_t n = empty ? 0 : model_lex(m, &r, reverse, &want);
        assert_int_equal(sorted_set_lex_range(z, &r, reverse, &rank), n);
        assert_true(n == 0 || rank == want);
    }
}

struct marks {
    const struct model *m;
    bool seen[NAMES];
};

static int mark(void *arg, const struct packed_item *member, double score) {
    struct marks *k = arg;
    char digits[24];
    struct slice name = member->is_int ? slice_of(digits, num_format_i64(digits, member->i)) : member->s;
    size_t i = model_find(k->m, name);
    assert_true(i < k->m->n && k->m->at[i].score == score && !k->seen[i]);
    k->seen[i] = true;
    return 0;
}

static void expect_random(const struct collection *z, const struct model *m, struct rng *rng) {
    struct marks k = {.m = m};
    size_t n = rng_below(rng, m->n + 1), found = 0;
    assert_int_equal(sorted_set_random_distinct(z, rng, n, mark, &k), 0);
    for (size_t i = 0; i < m->n; i++)
        found += k.seen[i];
    assert_int_equal(found, n);
}

static void expect_same(const struct collection *z, const struct model *m, struct rng *rng, bool equal) {
    sorted_set_check(z);
    assert_int_equal(sorted_set_count(z), m->n);
    expect_walk(z, m, rng_below(rng, m->n + 2), rng_below(rng, m->n + 2), rng_below(rng, 2) != 0);
    expect_lex(z, m, rng);
    expect_random(z, m, rng);
    double bound = some_score(rng, equal);
    for (int or_equal = 0; or_equal < 2; or_equal++) {
        size_t want = 0;
        while (want < m->n && (m->at[want].score < bound || (or_equal && m->at[want].score == bound)))
            want++;
        assert_int_equal(sorted_set_rank_of_score(z, bound, or_equal), want);
    }
    char buf[24];
    size_t i = rng_below(rng, NAMES), rank = 0;
    double score = 0, also = 0;
    struct slice name = name_of(buf, i);
    bool there = model_find(m, name) < m->n;
    assert_int_equal(sorted_set_score(z, name, &score), there);
    assert_int_equal(sorted_set_rank(z, name, &rank, &also), there);
    if (there) {
        assert_int_equal(rank, model_find(m, name));
        assert_true(score == m->at[rank].score && also == score);
    }
}

static int setup(void **state) {
    (void)state;
    hash_key_init(&key, "a seed of sorted sets", 21);
    collection_limits_default(&rules.limits);
    return 0;
}

/* ---- tests ---- */

static void random_changes(uint64_t seed, int64_t entries, bool equal) {
    struct rng rng;
    struct model m = {.n = 0};
    rng_init(&rng, seed);
    rules.limits.zset_max_listpack_entries = entries;
    struct collection z = sorted_set_create(&rules, 1, 8);
    assert_int_equal(z.encoding, entries == 0 ? VALUE_ENC_SKIPLIST : VALUE_ENC_LISTPACK);
    for (int step = 0; step < 3000; step++) {
        char buf[24];
        struct slice name = name_of(buf, rng_below(&rng, NAMES));
        uint64_t what = rng_below(&rng, 20);
        size_t at = model_find(&m, name);
        if (what < 12) {
            double score = some_score(&rng, equal);
            enum zset_put want = at == m.n ? ZSET_ADDED : m.at[at].score == score ? ZSET_SAME : ZSET_MOVED;
            assert_int_equal(sorted_set_put(&z, name, score), want);
            model_put(&m, name, score);
        } else if (what < 19) {
            assert_int_equal(sorted_set_remove(&z, name), at < m.n);
            if (at < m.n)
                model_cut(&m, at, 1);
        } else {
            size_t rank = rng_below(&rng, m.n + 1), n = rng_below(&rng, m.n - rank + 1);
            sorted_set_remove_ranks(&z, rank, n);
            model_cut(&m, rank, n);
        }
        if (m.n > (size_t)entries)
            assert_int_equal(z.encoding, VALUE_ENC_SKIPLIST);
        expect_same(&z, &m, &rng, equal);
    }
    sorted_set_destroy(&z);
}

static void random_changes_in_a_small_set(void **state) {
    (void)state;
    random_changes(1, NAMES, false);
    random_changes(2, NAMES, true);
}

static void random_changes_in_a_large_set(void **state) {
    (void)state;
    random_changes(3, 0, false);
    random_changes(4, 0, true);
}

static void random_changes_across_the_threshold(void **state) {
    (void)state;
    size_t before = mem_used();
    random_changes(5, 12, false);
    random_changes(6, 12, true);
    assert_int_equal(mem_used(), before);
}

static void a_set_grows_by_number_and_by_length(void **state) {
    (void)state;
    char buf[80];
    memset(buf, 'x', sizeof buf);
    rules.limits.zset_max_listpack_entries = 4;
    rules.limits.zset_max_listpack_value = 64;
    struct collection z = sorted_set_create(&rules, 1, 64);
    sorted_set_put(&z, slice_of(buf, 64), 1);
    assert_int_equal(z.encoding, VALUE_ENC_LISTPACK);
    sorted_set_put(&z, slice_of(buf, 65), 1);
    assert_int_equal(z.encoding, VALUE_ENC_SKIPLIST);
    sorted_set_remove(&z, slice_of(buf, 65));
    assert_int_equal(z.encoding, VALUE_ENC_SKIPLIST);
    sorted_set_settle(&z);
    assert_int_equal(z.encoding, VALUE_ENC_LISTPACK);
    sorted_set_destroy(&z);
    z = sorted_set_create(&rules, 1, 65);
    assert_int_equal(z.encoding, VALUE_ENC_SKIPLIST);
    sorted_set_destroy(&z);
    z = sorted_set_create(&rules, 1, 1);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(z.encoding, VALUE_ENC_LISTPACK);
        sorted_set_put(&z, slice_of(buf, i + 1), 1);
    }
    assert_int_equal(z.encoding, VALUE_ENC_SKIPLIST);
    sorted_set_destroy(&z);
}

static int collect(void *arg, const struct packed_item *member, double score) {
    bool *seen = arg;
    (void)member;
    seen[(size_t)score] = true;
    return 0;
}

static void a_scan_sees_every_member(void **state) {
    (void)state;
    rules.limits.zset_max_listpack_entries = 4;
    for (size_t n = 3; n < 2000; n = n * 5 + 1) {
        struct collection z = sorted_set_create(&rules, 1, 1);
        bool *seen = mem_calloc(n, 1);
        char buf[24];
        for (size_t i = 0; i < n; i++)
            sorted_set_put(&z, name_of(buf, i), (double)i);
        uint64_t cursor = 0, steps = 0;
        do {
            cursor = sorted_set_scan(&z, cursor, 10, collect, seen);
            steps++;
        } while (cursor != 0);
        for (size_t i = 0; i < n; i++)
            assert_true(seen[i]);
        assert_true(n < 100 || steps > n / 30);
        mem_free(seen);
        sorted_set_destroy(&z);
    }
}

struct sequence {
    double next, step;
    size_t n;
};

static int expect_next(void *arg, const struct packed_item *member, double score) {
    struct sequence *s = arg;
    (void)member;
    assert_true(score == s->next);
    s->next += s->step;
    s->n++;
    return 0;
}

static void long_walks_go_both_ways(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 13);
    struct collection z = sorted_set_create(&rules, 1 << 20, 1);
    char buf[24];
    size_t count = 1000;
    for (size_t i = 0; i < count; i++)
        sorted_set_put(&z, name_of(buf, i * 7 % count), (double)(i * 7 % count));
    for (int step = 0; step < 500; step++) {
        size_t rank = rng_below(&rng, count + 1), n = rng_below(&rng, count + 100);
        bool reverse = step % 2 != 0;
        struct sequence s = {.next = (double)(reverse ? count - 1 - rank : rank), .step = reverse ? -1 : 1};
        assert_int_equal(sorted_set_each(&z, rank, n, reverse, expect_next, &s), 0);
        assert_int_equal(s.n, n < count - rank ? n : count - rank);
    }
    sorted_set_destroy(&z);
}

static void few_random_members_of_many_differ(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 12);
    struct collection z = sorted_set_create(&rules, 1 << 20, 1);
    char buf[24];
    for (size_t i = 0; i < 3000; i++)
        sorted_set_put(&z, name_of(buf, i), (double)i);
    size_t hits = 0;
    for (int round = 0; round < 20; round++) {
        bool seen[3000] = {false};
        assert_int_equal(sorted_set_random_distinct(&z, &rng, 200, collect, seen), 0);
        size_t n = 0;
        for (size_t i = 0; i < 3000; i++)
            n += seen[i];
        assert_int_equal(n, 200);
        hits += seen[2999];
    }
    assert_in_range(hits, 0, 8);
    sorted_set_destroy(&z);
}

static void members_load_in_any_order_but_once(void **state) {
    (void)state;
    struct zmember *members[300];
    rules.limits.zset_max_listpack_entries = 128;
    for (size_t n = 1; n <= 300; n += 149) {
        char buf[24];
        struct collection z;
        for (size_t i = 0; i < n; i++)
            members[i] = zmember_create((double)(i * 7 % 300), name_of(buf, i));
        assert_int_equal(sorted_set_try_load(&rules, members, n, &z), 0);
        assert_int_equal(z.encoding, n <= 128 ? VALUE_ENC_LISTPACK : VALUE_ENC_SKIPLIST);
        sorted_set_check(&z);
        assert_int_equal(sorted_set_count(&z), n);
        sorted_set_destroy(&z);
        for (size_t i = 0; i < n; i++)
            members[i] = zmember_create((double)i, name_of(buf, i));
        members[n] = zmember_create(-1, name_of(buf, 0));
        assert_int_equal(sorted_set_try_load(&rules, members, n + 1, &z), -1);
        if (n > 200)
            break;
    }
}

static void a_set_is_built_with_scores_open_until_the_end(void **state) {
    (void)state;
    size_t before = mem_used();
    struct zset *z = zset_build_begin(&policy, 10);
    char buf[24];
    bool added;
    for (size_t i = 0; i < 5000; i++) {
        struct zmember *m = zset_build_member(z, name_of(buf, i % 2500), (double)i, &added);
        assert_int_equal(added, i < 2500);
        if (!added)
            m->score -= (double)(i * i % 1000);
    }
    zset_build_end(z);
    zset_check(z);
    assert_int_equal(zset_count(z), 2500);
    zset_put(z, SLICE_LIT("one more"), 3);
    zset_check(z);
    zset_destroy(z);
    z = zset_build_begin(&policy, 0);
    zset_build_end(z);
    zset_check(z);
    zset_destroy(z);
    assert_int_equal(mem_used(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_in_a_small_set),
        cmocka_unit_test(random_changes_in_a_large_set),
        cmocka_unit_test(random_changes_across_the_threshold),
        cmocka_unit_test(a_set_grows_by_number_and_by_length),
        cmocka_unit_test(a_scan_sees_every_member),
        cmocka_unit_test(long_walks_go_both_ways),
        cmocka_unit_test(few_random_members_of_many_differ),
        cmocka_unit_test(members_load_in_any_order_but_once),
        cmocka_unit_test(a_set_is_built_with_scores_open_until_the_end),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
