#include "config.h"

#include "server/ds/quicklist.h"
#include "tests/support/unit.h"

#include "server/base/mem.h"
#include "server/base/num.h"

#define MODEL_MAX 4000

struct model {
    struct slice v[MODEL_MAX];
    size_t n;
};

static void model_insert(struct model *m, size_t i, struct slice s) {
    memmove(&m->v[i + 1], &m->v[i], (m->n - i) * sizeof m->v[0]);
    m->v[i] = slice_of(mem_strndup(s.p, s.n), s.n);
    m->n++;
}

static void model_delete(struct model *m, size_t i, size_t n) {
    for (size_t k = i; k < i + n; k++)
        mem_free((void *)(uintptr_t)m->v[k].p);
    memmove(&m->v[i], &m->v[i + n], (m->n - i - n) * sizeof m->v[0]);
    m->n -= n;
}

static void assert_item_is(struct packed_item it, struct slice want) {
    char buf[NUM_I64_CHARS];
    struct slice got = it.is_int ? slice_of(buf, num_format_i64(buf, it.i)) : it.s;
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.p, want.p, want.n);
}

static void compare(struct quicklist *ql, const struct model *m) {
    struct quicklist_iter it;
    quicklist_check(ql);
    assert_int_equal(ql->count, m->n);
    bool on = quicklist_seek(ql, 0, &it);
    for (size_t i = 0; i < m->n; i++, on = quicklist_next(&it)) {
        assert_true(on);
        assert_item_is(quicklist_get(&it), m->v[i]);
        assert_true(quicklist_equals(&it, m->v[i]));
    }
    assert_false(on);
    quicklist_end(&it);
    on = quicklist_seek(ql, -1, &it);
    for (size_t i = m->n; i-- > 0; on = quicklist_prev(&it)) {
        assert_true(on);
        assert_item_is(quicklist_get(&it), m->v[i]);
    }
    assert_false(on);
    quicklist_end(&it);
    if (m->n != 0) {
        assert_item_is(quicklist_peek(ql, QUICKLIST_HEAD), m->v[0]);
        assert_item_is(quicklist_peek(ql, QUICKLIST_TAIL), m->v[m->n - 1]);
    }
}

/* Mostly compressible; some random, some integers, some too large for a node. */
static struct slice random_text(struct rng *rng, char *buf) {
    uint64_t kind = rng_below(rng, 20);
    if (kind < 5)
        return slice_of(buf, num_format_i64(buf, (int64_t)rng_u64(rng) >> rng_below(rng, 64)));
    size_t n = kind == 5 ? 3900 + rng_below(rng, 9000) : kind < 8 ? 1000 + rng_below(rng, 500) : rng_below(rng, 100);
    for (size_t i = 0; i < n; i++)
        buf[i] = kind & 1 ? (char)rng_u64(rng) : (char)('a' + i % 5);
    return slice_of(buf, n);
}

static void one_step(struct quicklist *ql, struct model *m, struct rng *rng, char *buf) {
    struct slice s = random_text(rng, buf);
    struct packed_item v = packed_bytes(s);
    struct quicklist_iter it;
    size_t i = m->n != 0 ? rng_below(rng, m->n) : 0;
    int64_t index = rng_below(rng, 2) ? (int64_t)i : (int64_t)i - (int64_t)m->n;
    uint64_t kind = rng_below(rng, m->n > 150 ? 28 : 20);
    if (m->n == 0 || kind < 6) {
        bool head = kind & 1;
        assert_int_equal(quicklist_push(ql, head ? QUICKLIST_HEAD : QUICKLIST_TAIL, v), 0);
        model_insert(m, head ? 0 : m->n, s);
    } else if (kind < 8) {
        bool head = kind & 1;
        quicklist_drop(ql, head ? QUICKLIST_HEAD : QUICKLIST_TAIL);
        model_delete(m, head ? 0 : m->n - 1, 1);
    } else if (kind == 8) {
        quicklist_rotate(ql);
        model_insert(m, 0, m->v[m->n - 1]);
        model_delete(m, m->n - 1, 1);
    } else if (kind < 16) {
        assert_true(quicklist_seek(ql, index, &it));
        if (kind < 11) {
            assert_int_equal(quicklist_insert_before(&it, v), 0);
            model_insert(m, i, s);
        } else if (kind < 14) {
            assert_int_equal(quicklist_insert_after(&it, v), 0);
            model_insert(m, i + 1, s);
        } else {
            assert_int_equal(quicklist_replace(&it, v), 0);
            model_delete(m, i, 1);
            model_insert(m, i, s);
        }
    } else if (kind < 20) {
        bool backwards = kind & 1, on = true;
        assert_true(quicklist_seek(ql, index, &it));
        for (unsigned k = 0; k < 4 && on; k++) {
            on = quicklist_delete(&it, backwards);
            model_delete(m, i, 1);
            if (backwards)
                i--;
            assert_int_equal(on, i < m->n);
            if (on)
                assert_item_is(quicklist_get(&it), m->v[i]);
        }
        quicklist_end(&it);
    } else {
        uint64_t n = rng_below(rng, 40);
        n = quicklist_delete_range(ql, index, n);
        model_delete(m, i, n);
    }
}

static void test_random_operations_keep_to_the_model(void **state) {
    (void)state;
    static struct model m;
    static char buf[20000];
    static const int fills[] = {-2, -1, -5, 1, 3, 128, 0};
    struct rng rng;
    for (uint64_t seed = 0; seed < 28; seed++) {
        struct quicklist *ql = quicklist_create(fills[seed % 7], (unsigned)(seed / 7));
        rng_init(&rng, seed);
        for (unsigned step = 0; step < 400; step++) {
            one_step(ql, &m, &rng, buf);
            compare(ql, &m);
        }
        struct quicklist *copy = quicklist_dup(ql);
        compare(copy, &m);
        assert_int_equal(quicklist_memory_bytes(copy), quicklist_memory_bytes(ql));
        quicklist_destroy(copy);
        quicklist_destroy(ql);
        model_delete(&m, 0, m.n);
    }
}

static void test_nodes_keep_to_the_fill(void **state) {
    (void)state;
    static const struct {
        int fill;
        size_t text;
        uint32_t nodes;
    } rows[] = {{4, 10, 25}, {-1, 1010, 25}, {-2, 1010, 13}, {1000, 2030, 25}, {-1, 4090, 100}, {3, 9000, 100}};
    static char text[10000];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct quicklist *ql = quicklist_create(rows[i].fill, 0);
        for (unsigned k = 0; k < 100; k++)
            assert_int_equal(quicklist_push(ql, QUICKLIST_TAIL, packed_bytes(slice_of(text, rows[i].text))), 0);
        assert_int_equal(ql->nodes, rows[i].nodes);
        quicklist_check(ql);
        quicklist_destroy(ql);
    }
}

static void test_the_middle_is_compressed_and_the_ends_are_not(void **state) {
    (void)state;
    static char text[1000];
    struct quicklist *ql = quicklist_create(1, 2);
    for (unsigned k = 0; k < 10; k++)
        assert_int_equal(quicklist_push(ql, QUICKLIST_HEAD, packed_bytes(slice_of(text, sizeof text))), 0);
    unsigned i = 0;
    for (const struct quicklist_node *n = ql->head; n != NULL; n = n->next, i++) {
        assert_int_equal(quicklist_node_is_lzf(n), i >= 2 && i < 8);
        assert_int_equal(quicklist_node_stored(n).n < 100, quicklist_node_is_lzf(n));
    }
    assert_true(quicklist_memory_bytes(ql) < 6000);
    assert_int_equal(quicklist_delete_range(ql, 0, 6), 6);
    quicklist_check(ql);
    for (const struct quicklist_node *n = ql->head; n != NULL; n = n->next)
        assert_false(quicklist_node_is_lzf(n));
    quicklist_destroy(ql);
}

static void test_loaded_nodes_stay_as_they_are(void **state) {
    (void)state;
    struct quicklist *ql = quicklist_create(2, 1);
    for (unsigned k = 0; k < 3; k++) {
        struct listpack *lp = listpack_create(0);
        for (int i = 0; i < 50; i++)
            assert_int_equal(listpack_append(&lp, packed_int(i)), 0);
        assert_int_equal(quicklist_append_listpack_take(ql, lp), 0);
        assert_int_equal(quicklist_append_plain(ql, SLICE_LIT("alone")), 0);
        quicklist_check(ql);
    }
    assert_int_equal(ql->nodes, 6);
    assert_int_equal(ql->count, 153);
    struct quicklist_iter it;
    assert_true(quicklist_seek(ql, 50, &it));
    assert_bytes_are(quicklist_get(&it).s.p, quicklist_get(&it).s.n, "alone");
    quicklist_end(&it);
    assert_false(quicklist_seek(ql, 153, &it));
    assert_false(quicklist_seek(ql, -154, &it));
    assert_int_equal(quicklist_append_plain(ql, slice_of("x", UINT32_MAX)), -1);
    assert_int_equal(quicklist_push(ql, QUICKLIST_HEAD, packed_bytes(slice_of("x", SIZE_MAX))), -1);
    quicklist_check(ql);
    quicklist_destroy(ql);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations_keep_to_the_model),
        cmocka_unit_test(test_nodes_keep_to_the_fill),
        cmocka_unit_test(test_the_middle_is_compressed_and_the_ends_are_not),
        cmocka_unit_test(test_loaded_nodes_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
