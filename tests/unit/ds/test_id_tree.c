#include "config.h"

#include "server/ds/id_tree.h"

#include "tests/support/unit.h"

#include "server/base/mem.h"
#include "server/base/rng.h"

/* The model is a sorted array of ids; the value of an id is the address of its mark. */
#define MODEL_MAX 20000

struct model {
    struct id_tree tree;
    struct stream_id ids[MODEL_MAX];
    size_t n;
    struct rng rng;
};

static char marks[1 << 16];

static void *value_of(struct stream_id id) {
    return &marks[(id.ms * 31 + id.seq * 7) & 0xffff];
}

static size_t place(const struct model *m, struct stream_id id) {
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (stream_id_compare(m->ids[mid], id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_there(const struct model *m, size_t i, struct stream_id id) {
    return i < m->n && stream_id_compare(m->ids[i], id) == 0;
}

static void add(struct model *m, struct stream_id id) {
    size_t i = place(m, id);
    bool there = is_there(m, i, id);
    assert_int_equal(id_tree_insert(&m->tree, id, value_of(id)), !there);
    if (there)
        return;
    memmove(&m->ids[i + 1], &m->ids[i], (m->n - i) * sizeof m->ids[0]);
    m->ids[i] = id;
    m->n++;
}

static void cut(struct model *m, struct stream_id id) {
    size_t i = place(m, id);
    bool there = is_there(m, i, id);
    assert_ptr_equal(id_tree_remove(&m->tree, id), there ? value_of(id) : NULL);
    if (!there)
        return;
    m->n--;
    memmove(&m->ids[i], &m->ids[i + 1], (m->n - i) * sizeof m->ids[0]);
}

static void expect(const struct model *m, struct id_cursor c, size_t i) {
    const struct id_item *item = id_cursor_item(&c);
    if (i >= m->n) {
        assert_null(item);
        return;
    }
    assert_non_null(item);
    assert_int_equal(stream_id_compare(item->id, m->ids[i]), 0);
    assert_ptr_equal(item->value, value_of(m->ids[i]));
}

static void probe(const struct model *m, struct stream_id id) {
    size_t i = place(m, id);
    bool there = is_there(m, i, id);
    assert_ptr_equal(id_tree_find(&m->tree, id), there ? value_of(id) : NULL);
    expect(m, id_tree_seek_ge(&m->tree, id), i);
    expect(m, id_tree_seek_le(&m->tree, id), there ? i : i - 1); /* SIZE_MAX: none */
    expect(m, id_tree_first(&m->tree), 0);
    expect(m, id_tree_last(&m->tree), m->n - 1);
}

static void compare_walks(const struct model *m) {
    size_t i = 0;
    id_tree_check(&m->tree);
    assert_int_equal(m->tree.used, m->n);
    for (struct id_cursor c = id_tree_first(&m->tree); id_cursor_item(&c) != NULL; id_cursor_next(&c))
        expect(m, c, i++);
    assert_int_equal(i, m->n);
    for (struct id_cursor c = id_tree_last(&m->tree); id_cursor_item(&c) != NULL; id_cursor_prev(&c))
        expect(m, c, --i);
    assert_int_equal(i, 0);
}

static struct stream_id any_id(struct model *m, uint64_t range) {
    return (struct stream_id){rng_below(&m->rng, range), rng_below(&m->rng, 3)};
}

static void random_changes(struct model *m, size_t steps, uint64_t range, unsigned adds_of_ten) {
    for (size_t i = 0; i < steps; i++) {
        struct stream_id id = any_id(m, range);
        if (rng_below(&m->rng, 10) < adds_of_ten && m->n < MODEL_MAX)
            add(m, id);
        else
            cut(m, id);
        probe(m, any_id(m, range));
        if (i % 64 == 0 || m->n < 40)
            compare_walks(m);
    }
}

static struct model *model_create(uint64_t seed) {
    struct model *m = mem_calloc(1, sizeof *m);
    rng_init(&m->rng, seed);
    return m;
}

static void model_destroy(struct model *m) {
    id_tree_clear(&m->tree, NULL, NULL);
    id_tree_check(&m->tree);
    assert_int_equal(m->tree.node_bytes, 0);
    mem_free(m);
}

static void agrees_with_a_sorted_array_under_random_changes(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct model *m = model_create(seed);
        random_changes(m, 3000, 30, 5);
        random_changes(m, 12000, 6000, 8);
        random_changes(m, 20000, 6000, 2);
        random_changes(m, 3000, 6000, 5);
        model_destroy(m);
    }
}

static void is_full_when_ids_come_in_order_and_free_when_they_go_in_order(void **state) {
    (void)state;
    struct model *m = model_create(7);
    for (uint64_t i = 0; i < MODEL_MAX; i++)
        add(m, (struct stream_id){i / 5, i % 5});
    compare_walks(m);
    assert_true(m->tree.node_bytes < m->n * 26);
    while (m->n > 0) {
        cut(m, m->ids[0]);
        if (m->n % 1000 == 0)
            compare_walks(m);
    }
    assert_int_equal(m->tree.node_bytes, 0);
    model_destroy(m);
}

static void gives_room_back_when_ids_go_from_everywhere(void **state) {
    (void)state;
    struct model *m = model_create(8);
    for (uint64_t i = 0; i < MODEL_MAX; i++)
        add(m, (struct stream_id){i, 0});
    size_t full = m->tree.node_bytes;
    for (uint64_t i = 0; i < MODEL_MAX; i++)
        if (i % 20 != 0)
            cut(m, (struct stream_id){i, 0});
    compare_walks(m);
    assert_true(m->tree.node_bytes < full / 3);
    model_destroy(m);
}

static void holds_the_ends_of_the_range(void **state) {
    (void)state;
    struct model *m = model_create(9);
    add(m, STREAM_ID_MAX);
    add(m, STREAM_ID_MIN);
    add(m, STREAM_ID_MAX);
    probe(m, STREAM_ID_MIN);
    probe(m, STREAM_ID_MAX);
    probe(m, (struct stream_id){5, 5});
    compare_walks(m);
    cut(m, STREAM_ID_MIN);
    cut(m, STREAM_ID_MAX);
    probe(m, STREAM_ID_MAX);
    model_destroy(m);
}

static void count_drop(void *arg, void *value) {
    (void)value;
    ++*(size_t *)arg;
}

static void hands_each_value_to_who_clears_it(void **state) {
    (void)state;
    struct model *m = model_create(10);
    size_t seen = 0;
    for (uint64_t i = 0; i < 1000; i++)
        add(m, (struct stream_id){i, 0});
    id_tree_clear(&m->tree, count_drop, &seen);
    assert_int_equal(seen, 1000);
    model_destroy(m);
}

/* Counts by Redis's radix tree, as XINFO STREAM showed them for streams with one entry a node. */
static void counts_the_nodes_of_a_radix_tree(void **state) {
    (void)state;
    struct id_tree t = {0};
    static const struct {
        struct stream_id id;
        size_t nodes;
    } steps[] = {{{1, 1}, 2}, {{1, 2}, 4}, {{1, 3}, 5}, {{256, 1}, 9}, {{256, 300}, 13}, {{UINT64_C(1) << 60, 0}, 16}};
    assert_int_equal(id_tree_radix_nodes(&t), 1);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_true(id_tree_insert(&t, steps[i].id, marks));
        assert_int_equal(id_tree_radix_nodes(&t), steps[i].nodes);
    }
    id_tree_clear(&t, NULL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_sorted_array_under_random_changes),
        cmocka_unit_test(is_full_when_ids_come_in_order_and_free_when_they_go_in_order),
        cmocka_unit_test(gives_room_back_when_ids_go_from_everywhere),
        cmocka_unit_test(holds_the_ends_of_the_range),
        cmocka_unit_test(hands_each_value_to_who_clears_it),
        cmocka_unit_test(counts_the_nodes_of_a_radix_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
