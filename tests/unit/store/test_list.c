#include "config.h"

#include "server/store/list.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/base/rng.h"
#include "server/ds/listpack.h"
#include "tests/support/unit.h"

#define MODEL_MAX 3000

static struct collection_rules rules;

static struct collection make(int64_t size, int64_t depth) {
    collection_limits_default(&rules.limits);
    rules.limits.list_max_listpack_size = size;
    rules.limits.list_compress_depth = depth;
    rules.list_plain_bytes = 0;
    return list_create(&rules);
}

static void destroy(struct collection *l) {
    list_type_ops.free(l->encoding, l->object);
}

/* ---- the model ---- */

struct model {
    struct slice v[MODEL_MAX];
    size_t n;
};

static void model_insert(struct model *m, size_t i, struct slice s) {
    assert_true(m->n < MODEL_MAX);
    memmove(&m->v[i + 1], &m->v[i], (m->n - i) * sizeof m->v[0]);
    m->v[i] = slice_of(mem_strndup(s.n != 0 ? s.p : "", s.n), s.n);
    m->n++;
}

static void model_delete(struct model *m, size_t i, size_t n) {
    for (size_t k = i; k < i + n; k++)
        mem_free((void *)(uintptr_t)m->v[k].p);
    memmove(&m->v[i], &m->v[i + n], (m->n - i - n) * sizeof m->v[0]);
    m->n -= n;
}

static size_t model_remove(struct model *m, struct slice s, size_t n, bool backwards) {
    size_t removed = 0;
    for (size_t k = m->n; k-- > 0 && removed < n;) {
        size_t i = 0;
        if (backwards) {
            for (i = m->n; i > 0 && !slice_eq(m->v[i - 1], s); i--)
                ;
            if (i-- == 0)
                break;
        } else {
            for (; i < m->n && !slice_eq(m->v[i], s); i++)
                ;
            if (i == m->n)
                break;
        }
        model_delete(m, i, 1);
        removed++;
    }
    return removed;
}

struct walk {
    const struct model *m;
    int64_t at, step;
};

static void assert_item_is(const struct packed_item *v, struct slice want) {
    char digits[NUM_I64_CHARS];
    struct slice got = v->is_int ? slice_of(digits, num_format_i64(digits, v->i)) : v->s;
    assert_true(slice_eq(got, want));
}

static int check_next(void *arg, const struct packed_item *v) {
    struct walk *w = arg;
    assert_true(w->at >= 0 && (size_t)w->at < w->m->n);
    assert_item_is(v, w->m->v[w->at]);
    const struct list_needle k = list_needle(w->m->v[w->at]);
    assert_true(list_needle_is(&k, v));
    w->at += w->step;
    return 0;
}

static void compare(const struct collection *l, const struct model *m) {
    list_check(l);
    assert_int_equal(list_count(l), m->n);
    struct walk forth = {.m = m, .step = 1}, back = {.m = m, .at = (int64_t)m->n - 1, .step = -1};
    assert_int_equal(list_each(l, 0, SIZE_MAX, check_next, &forth), 0);
    assert_int_equal(forth.at, m->n);
    assert_int_equal(list_each_backwards(l, -1, SIZE_MAX, check_next, &back), 0);
    assert_int_equal(back.at, -1);
    if (m->n != 0) {
        struct buf scratch = BUF_INIT;
        struct packed_item v = list_peek(l, QUICKLIST_HEAD);
        assert_item_is(&v, m->v[0]);
        v = list_peek(l, QUICKLIST_TAIL);
        assert_item_is(&v, m->v[m->n - 1]);
        assert_true(list_get(l, (int64_t)m->n / 2, &scratch, &v));
        assert_item_is(&v, m->v[m->n / 2]);
        assert_false(list_get(l, (int64_t)m->n, &scratch, &v));
        assert_false(list_get(l, -(int64_t)m->n - 1, &scratch, &v));
        buf_deinit(&scratch);
    }
}

/* Few different ones, so that they are found again; some too large for a node. */
static struct slice random_text(struct rng *rng, char *buf) {
    uint64_t kind = rng_below(rng, 20);
    if (kind < 8)
        return slice_of(buf, num_format_i64(buf, (int64_t)rng_below(rng, 9) - 4));
    size_t n = kind == 8 ? 2000 + rng_below(rng, 9000) : kind < 10 ? 200 : rng_below(rng, 4);
    memset(buf, (int)('a' + kind % 3), n);
    return slice_of(buf, n);
}

static void grow(struct collection *l, struct model *m, struct rng *rng, char *buf) {
    enum quicklist_side side = rng_below(rng, 2) ? QUICKLIST_HEAD : QUICKLIST_TAIL;
    struct slice v[3];
    size_t n = 1 + rng_below(rng, 3);
    for (size_t i = 0; i < n; i++)
        v[i] = random_text(rng, buf + 12000 * i);
    assert_int_equal(list_push_all(l, side, v, n), 0);
    for (size_t i = 0; i < n; i++)
        model_insert(m, side == QUICKLIST_HEAD ? 0 : m->n, v[i]);
}

static void shrink(struct collection *l, struct model *m, struct rng *rng, struct slice s) {
    bool backwards = rng_below(rng, 2);
    size_t n = rng_below(rng, 4), kind = rng_below(rng, 8);
    if (kind < 3) {
        list_drop(l, backwards ? QUICKLIST_TAIL : QUICKLIST_HEAD, n);
        n = n > m->n ? m->n : n;
        model_delete(m, backwards ? m->n - n : 0, n);
    } else if (kind < 7) {
        assert_int_equal(list_remove(l, s, n, backwards), model_remove(m, s, n, backwards));
    } else if (rng_below(rng, 6) == 0) {
        size_t from = rng_below(rng, m->n + 2), keep = rng_below(rng, m->n + 2);
        list_trim(l, from, keep);
        from = from > m->n ? m->n : from;
        keep = keep > m->n - from ? m->n - from : keep;
        model_delete(m, from + keep, m->n - from - keep);
        model_delete(m, 0, from);
    }
}

static void change(struct collection *l, struct model *m, struct rng *rng, struct slice s) {
    size_t i = rng_below(rng, m->n + 1);
    int64_t index = rng_below(rng, 2) ? (int64_t)i : (int64_t)i - (int64_t)m->n;
    bool before = rng_below(rng, 2);
    if (rng_below(rng, 2)) {
        bool there = i < m->n || (index == 0 && m->n != 0);
        size_t at = i < m->n ? i : 0;
        assert_int_equal(list_set(l, index, s), there);
        if (there) {
            model_insert(m, at, s);
            model_delete(m, at + 1, 1);
        }
        return;
    }
    struct slice pivot = i < m->n ? m->v[i] : SLICE_LIT("nobody");
    size_t at = 0;
    while (at < m->n && !slice_eq(m->v[at], pivot))
        at++;
    assert_int_equal(list_insert(l, pivot, before, s), at < m->n);
    if (at < m->n)
        model_insert(m, before ? at : at + 1, s);
}

static void test_random_operations_keep_to_the_model(void **state) {
    (void)state;
    static struct model m;
    static char buf[40000];
    static const int64_t sizes[] = {-2, -1, -5, 1, 3, 20, 0, 100};
    for (uint64_t seed = 0; seed < 32; seed++) {
        struct collection l = make(sizes[seed % 8], (int64_t)(seed / 8));
        struct rng rng;
        rng_init(&rng, seed);
        rules.list_plain_bytes = seed % 5 == 0 ? 150 : 0;
        for (unsigned step = 0; step < 500; step++) {
            uint64_t kind = rng_below(&rng, 10);
            if (kind < (step / 100 % 2 ? 3 : 5))
                grow(&l, &m, &rng, buf);
            else if (kind < 8)
                shrink(&l, &m, &rng, random_text(&rng, buf));
            else
                change(&l, &m, &rng, random_text(&rng, buf));
            compare(&l, &m);
        }
        struct collection twin = l;
        twin.object = list_type_ops.copy(l.encoding, l.object);
        compare(&twin, &m);
        assert_true(list_type_ops.memory_bytes(twin.encoding, twin.object, 0) >= 8);
        destroy(&twin);
        destroy(&l);
        model_delete(&m, 0, m.n);
    }
}

/* ---- encodings ---- */

static void push_text(struct collection *l, size_t bytes) {
    char *text = mem_alloc(bytes + 1);
    memset(text, 'x', bytes);
    struct slice s = slice_of(text, bytes);
    assert_int_equal(list_push_all(l, QUICKLIST_TAIL, &s, 1), 0);
    mem_free(text);
}

static void test_a_listpack_holds_as_many_bytes_as_a_node(void **state) {
    (void)state;
    struct collection l = make(-2, 0);
    for (unsigned i = 0; i < 8; i++)
        push_text(&l, 1000);
    /* 8 × 1004 + 7 = 8039 are in; what comes counts by its length. */
    assert_int_equal(l.encoding, VALUE_ENC_LISTPACK);
    push_text(&l, 8192 - 8039);
    assert_int_equal(l.encoding, VALUE_ENC_LISTPACK);
    push_text(&l, 1);
    assert_int_equal(l.encoding, VALUE_ENC_QUICKLIST);
    list_check(&l);
    destroy(&l);
}

static void test_a_listpack_holds_as_many_elements_as_a_node(void **state) {
    (void)state;
    struct collection l = make(5, 0);
    for (unsigned i = 0; i < 5; i++)
        push_text(&l, 1);
    assert_int_equal(l.encoding, VALUE_ENC_LISTPACK);
    push_text(&l, 1);
    assert_int_equal(l.encoding, VALUE_ENC_QUICKLIST);
    destroy(&l);
    l = make(1000, 0);
    push_text(&l, 8186); /* limits in elements hold 8 KiB all the same */
    assert_int_equal(l.encoding, VALUE_ENC_QUICKLIST);
    destroy(&l);
}

static void test_it_goes_back_at_half_of_the_limit(void **state) {
    (void)state;
    struct collection l = make(6, 0);
    for (unsigned i = 0; i < 7; i++)
        push_text(&l, 1);
    list_drop(&l, QUICKLIST_TAIL, 3);
    assert_int_equal(l.encoding, VALUE_ENC_QUICKLIST);
    list_drop(&l, QUICKLIST_TAIL, 1);
    assert_int_equal(l.encoding, VALUE_ENC_LISTPACK);
    assert_int_equal(list_count(&l), 3);
    list_check(&l);
    destroy(&l);
}

static void test_many_empty_strings_do_not_stay_in_one_listpack(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    struct collection l = make(-2, 0);
    struct slice *v = mem_calloc(COUNT, sizeof *v);
    for (size_t i = 0; i < COUNT; i++)
        v[i] = SLICE_LIT("");
    assert_int_equal(list_push_all(&l, QUICKLIST_HEAD, v, COUNT), 0);
    assert_int_equal(l.encoding, VALUE_ENC_QUICKLIST);
    assert_int_equal(list_count(&l), COUNT);
    list_check(&l);
    mem_free(v);
    destroy(&l);
}

static void test_a_list_made_whole_goes_by_its_size(void **state) {
    (void)state;
    struct collection l = make(-1, 0);
    size_t n = 0;
    while (listpack_bytes(l.object) + 12 <= 4096) {
        assert_int_equal(list_push(&l, QUICKLIST_TAIL, SLICE_LIT("0123456789")), 0);
        n++;
        assert_int_equal(l.encoding, VALUE_ENC_LISTPACK);
    }
    assert_int_equal(list_push(&l, QUICKLIST_TAIL, SLICE_LIT("0123456789")), 0);
    assert_int_equal(l.encoding, VALUE_ENC_QUICKLIST);
    assert_int_equal(list_count(&l), n + 1);
    destroy(&l);
}

static void test_loaded_nodes(void **state) {
    (void)state;
    struct collection l = make(-2, 0);
    struct listpack *lp = listpack_create(0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(listpack_append(&lp, packed_int(i)), 0);
    list_append_listpack_take(&l, listpack_dup(lp));
    assert_int_equal(l.encoding, VALUE_ENC_LISTPACK);
    list_append_listpack_take(&l, listpack_dup(lp));
    list_loaded(&l);
    assert_int_equal(l.encoding, VALUE_ENC_QUICKLIST);
    while (listpack_bytes(lp) < 100000)
        assert_int_equal(listpack_append(&lp, packed_bytes(SLICE_LIT("some text of some length"))), 0);
    size_t more = listpack_count(lp);
    list_append_listpack_take(&l, lp); /* comes in nodes that can be changed at a bounded cost */
    assert_int_equal(list_append_plain(&l, SLICE_LIT("alone")), 0);
    list_loaded(&l);
    list_check(&l);
    assert_int_equal(list_count(&l), 201 + more);
    for (const struct quicklist_node *n = ((struct quicklist *)l.object)->head; n != NULL; n = n->next)
        assert_true(n->bytes <= 8192);
    destroy(&l);
    /* One that a node holds is a listpack in the end, whatever came first. */
    l = make(-2, 0);
    lp = listpack_create(0);
    assert_int_equal(listpack_append(&lp, packed_int(1)), 0);
    rules.limits.list_max_listpack_size = 1;
    list_append_listpack_take(&l, lp);
    list_loaded(&l);
    assert_int_equal(l.encoding, VALUE_ENC_LISTPACK);
    destroy(&l);
}

static void test_elements_of_4_gib_are_refused(void **state) {
    (void)state;
    struct collection l = make(-2, 0);
    const struct slice huge = slice_of("x", UINT32_MAX), v[2] = {SLICE_LIT("a"), huge};
    push_text(&l, 1);
    assert_int_equal(list_push(&l, QUICKLIST_HEAD, huge), -1);
    assert_int_equal(list_push_all(&l, QUICKLIST_HEAD, v, 2), -1);
    assert_int_equal(list_push_moved(&l, QUICKLIST_HEAD, packed_bytes(huge)), -1);
    assert_int_equal(list_insert(&l, SLICE_LIT("x"), true, huge), -1);
    assert_int_equal(list_set(&l, 0, huge), -1);
    assert_int_equal(list_append_plain(&l, huge), -1);
    assert_int_equal(list_count(&l), 1);
    list_check(&l);
    destroy(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations_keep_to_the_model),
        cmocka_unit_test(test_a_listpack_holds_as_many_bytes_as_a_node),
        cmocka_unit_test(test_a_listpack_holds_as_many_elements_as_a_node),
        cmocka_unit_test(test_it_goes_back_at_half_of_the_limit),
        cmocka_unit_test(test_many_empty_strings_do_not_stay_in_one_listpack),
        cmocka_unit_test(test_a_list_made_whole_goes_by_its_size),
        cmocka_unit_test(test_loaded_nodes),
        cmocka_unit_test(test_elements_of_4_gib_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
