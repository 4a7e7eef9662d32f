#include "config.h"

#include "server/store/stream.h"

#include "tests/support/unit.h"

#include <stdio.h>

#include "server/base/mem.h"
#include "server/base/rng.h"

/* The model: entries in an array, whose fields follow from a number; for each group the last id and who has what. */
#define ENTRIES_MAX 4000
#define GROUPS 3
#define CONSUMERS 3

struct model_entry {
    struct stream_id id;
    unsigned shape;
    bool there;
    int owner[GROUPS]; /* consumer that has it pending, or -1 */
};

struct model {
    struct stream *s;
    struct collection_limits limits;
    struct rng rng;
    struct model_entry e[ENTRIES_MAX];
    size_t n;
    uint64_t length;
    struct stream_id last_id, max_deleted;
};

static const char *const group_names[GROUPS] = {"b", "a", "c"};
static const char *const consumer_names[CONSUMERS] = {"y", "", "x"};

#define PAIRS_MAX 4
static char long_value[9000];

/* Fields and values of an entry of some shape; most have the same fields. */
static size_t fields_of(unsigned shape, struct slice dst[2 * PAIRS_MAX], char text[32]) {
    static const char *const names[] = {"temperature", "humidity", "12", "-1"};
    size_t pairs = shape % 7 < 5 ? 2 : 1 + shape % PAIRS_MAX;
    size_t turn = shape % 7 < 5 ? 0 : shape % 3;
    int n = snprintf(text, 32, "%u", shape * 37);
    for (size_t i = 0; i < pairs; i++) {
        dst[2 * i] = slice_cstr(names[(i + turn) % 4]);
        dst[2 * i + 1] = i % 2 == 0         ? slice_of(text, (size_t)n)
                         : shape % 101 == 0 ? slice_of(long_value, sizeof long_value)
                                            : slice_of(long_value, shape % 90);
    }
    return pairs;
}

static struct model *model_create(uint64_t seed, int64_t node_bytes, int64_t node_entries) {
    struct model *m = mem_calloc(1, sizeof *m);
    rng_init(&m->rng, seed);
    collection_limits_default(&m->limits);
    m->limits.stream_node_max_bytes = node_bytes;
    m->limits.stream_node_max_entries = node_entries;
    memset(long_value, 'v', sizeof long_value);
    m->s = stream_create();
    for (int g = 0; g < GROUPS; g++) {
        struct stream_group *group = stream_group_create(m->s, slice_cstr(group_names[g]), STREAM_ID_MIN, 0);
        assert_non_null(group);
        assert_null(stream_group_create(m->s, slice_cstr(group_names[g]), STREAM_ID_MIN, 0));
        for (int c = 0; c < CONSUMERS; c++)
            assert_non_null(stream_consumer_create(group, slice_cstr(consumer_names[c]), 1));
    }
    return m;
}

static void model_destroy(struct model *m) {
    stream_destroy(m->s);
    mem_free(m);
}

static struct stream_group *group_of(const struct stream *s, int g) {
    return stream_group_find(s, slice_cstr(group_names[g]));
}

static void add(struct model *m) {
    struct stream_id id = m->last_id;
    if (rng_below(&m->rng, 4) == 0)
        id = (struct stream_id){id.ms + 1 + rng_below(&m->rng, 1000), rng_below(&m->rng, 3)};
    else
        id.seq += 1 + rng_below(&m->rng, 3);
    char text[32];
    struct slice fields[2 * PAIRS_MAX];
    struct model_entry *e = &m->e[m->n++];
    *e = (struct model_entry){.id = id, .shape = (unsigned)rng_below(&m->rng, 1000), .there = true};
    for (int g = 0; g < GROUPS; g++)
        e->owner[g] = -1;
    assert_int_equal(stream_append(m->s, &m->limits, id, fields, fields_of(e->shape, fields, text)), 0);
    m->last_id = id;
    m->length++;
}

static void expect_item(const struct packed_item *item, struct slice s) {
    char text[32];
    if (item->is_int) {
        int n = snprintf(text, sizeof text, "%lld", (long long)item->i);
        assert_true(slice_eq(slice_of(text, (size_t)n), s));
    } else {
        assert_true(slice_eq(item->s, s));
    }
}

static void expect_entry(struct stream_iter *it, const struct model_entry *e, struct stream_id id, uint64_t fields) {
    char text[32];
    struct slice want[2 * PAIRS_MAX];
    assert_int_equal(stream_id_compare(id, e->id), 0);
    assert_int_equal(fields, fields_of(e->shape, want, text));
    for (uint64_t i = 0; i < fields; i++) {
        struct packed_item field, value;
        stream_iter_field(it, &field, &value);
        expect_item(&field, want[2 * i]);
        expect_item(&value, want[2 * i + 1]);
    }
}

static bool in_range(const struct model_entry *e, struct stream_id start, struct stream_id end) {
    return e->there && stream_id_compare(e->id, start) >= 0 && stream_id_compare(e->id, end) <= 0;
}

static void compare_range(const struct model *m, struct stream_id start, struct stream_id end, bool reverse,
                          bool read) {
    struct stream_iter it;
    struct stream_id id;
    uint64_t fields;
    stream_iter_init(&it, m->s, start, end, reverse);
    for (size_t k = 0; k < m->n; k++) {
        const struct model_entry *e = &m->e[reverse ? m->n - 1 - k : k];
        if (!in_range(e, start, end))
            continue;
        assert_true(stream_iter_next(&it, &id, &fields));
        if (read)
            expect_entry(&it, e, id, fields);
        else
            assert_int_equal(stream_id_compare(id, e->id), 0);
    }
    assert_false(stream_iter_next(&it, &id, &fields));
}

static void compare_pending(const struct model *m, const struct stream *s) {
    for (int g = 0; g < GROUPS; g++) {
        const struct stream_group *group = group_of(s, g);
        size_t pending = 0;
        for (size_t i = 0; i < m->n; i++) {
            const struct stream_pending *p = stream_pending_find(group, m->e[i].id);
            assert_int_equal(p != NULL, m->e[i].owner[g] >= 0);
            if (p != NULL)
                assert_true(slice_eq(p->consumer->name, slice_cstr(consumer_names[m->e[i].owner[g]])));
            pending += p != NULL;
        }
        assert_int_equal(group->pending.used, pending);
    }
}

static void compare(const struct model *m) {
    struct stream_id first = STREAM_ID_MIN;
    stream_check(m->s);
    assert_int_equal(m->s->length, m->length);
    for (size_t i = m->n; i-- > 0;)
        if (m->e[i].there)
            first = m->e[i].id;
    assert_int_equal(stream_id_compare(m->s->first_id, first), 0);
    assert_int_equal(stream_id_compare(m->s->last_id, m->last_id), 0);
    assert_int_equal(stream_id_compare(m->s->max_deleted_id, m->max_deleted), 0);
    assert_int_equal(m->s->entries_added, m->n);
    compare_range(m, STREAM_ID_MIN, STREAM_ID_MAX, false, true);
    compare_range(m, STREAM_ID_MIN, STREAM_ID_MAX, true, true);
    compare_pending(m, m->s);
}

static struct model_entry *any(struct model *m) {
    return &m->e[rng_below(&m->rng, m->n)];
}

static void cut(struct model *m) {
    struct model_entry *e = any(m);
    assert_int_equal(stream_contains(m->s, e->id), e->there);
    assert_int_equal(stream_delete(m->s, e->id), e->there);
    assert_false(stream_contains(m->s, e->id));
    if (e->there && stream_id_compare(e->id, m->max_deleted) > 0)
        m->max_deleted = e->id;
    m->length -= e->there;
    e->there = false;
}

static bool model_needs(const struct model *m, const struct model_entry *e) {
    for (int g = 0; g < GROUPS; g++)
        if (e->owner[g] >= 0 || stream_id_compare(e->id, group_of(m->s, g)->last_id) > 0)
            return true;
    return false;
}

/* Exact trims of all kinds. */
static void trim(struct model *m) {
    struct stream_trim t = {.by_id = rng_below(&m->rng, 2) == 0, .refs = (enum stream_refs)rng_below(&m->rng, 3)};
    t.max_length = m->length - rng_below(&m->rng, m->length / 4 + 1);
    t.min_id = m->e[rng_below(&m->rng, m->n / 3 + 1)].id;
    uint64_t excess = m->length - t.max_length, gone = 0, seen = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct model_entry *e = &m->e[i];
        if (!e->there)
            continue;
        bool due = t.by_id ? stream_id_compare(e->id, t.min_id) < 0 : seen++ < excess;
        if (!due || (t.refs == STREAM_ACKED && model_needs(m, e)))
            continue;
        e->there = false;
        gone++;
        for (int g = 0; t.refs == STREAM_DELREF && g < GROUPS; g++)
            e->owner[g] = -1;
        if (t.refs == STREAM_ACKED && stream_id_compare(e->id, m->max_deleted) > 0)
            m->max_deleted = e->id;
    }
    m->length -= gone;
    assert_int_equal(stream_trim(m->s, &t), gone);
}

static void give(struct model *m) {
    struct model_entry *e = any(m);
    int g = (int)rng_below(&m->rng, GROUPS), c = (int)rng_below(&m->rng, CONSUMERS);
    struct stream_group *group = group_of(m->s, g);
    struct stream_consumer *consumer = stream_consumer_find(group, slice_cstr(consumer_names[c]));
    stream_group_advance(m->s, group, e->id);
    struct stream_pending *p = stream_pending_give(m->s, group, consumer, e->id);
    p->delivered_ms = (int64_t)e->id.ms;
    p->deliveries = e->shape;
    e->owner[g] = c;
}

static void acknowledge(struct model *m) {
    struct model_entry *e = any(m);
    int g = (int)rng_below(&m->rng, GROUPS);
    assert_int_equal(stream_pending_remove(m->s, group_of(m->s, g), e->id), e->owner[g] >= 0);
    e->owner[g] = -1;
}

static void drop_consumer(struct model *m) {
    int g = (int)rng_below(&m->rng, GROUPS), c = (int)rng_below(&m->rng, CONSUMERS);
    struct stream_group *group = group_of(m->s, g);
    stream_consumer_destroy(m->s, group, stream_consumer_find(group, slice_cstr(consumer_names[c])));
    assert_null(stream_consumer_find(group, slice_cstr(consumer_names[c])));
    assert_non_null(stream_consumer_create(group, slice_cstr(consumer_names[c]), 2));
    for (size_t i = 0; i < m->n; i++)
        if (m->e[i].owner[g] == c)
            m->e[i].owner[g] = -1;
}

static void random_steps(struct model *m, size_t steps) {
    for (size_t i = 0; i < steps && m->n < ENTRIES_MAX; i++) {
        uint64_t what = rng_below(&m->rng, 100);
        if (what < 40 || m->n == 0)
            add(m);
        else if (what < 60)
            cut(m);
        else if (what < 62)
            trim(m);
        else if (what < 80)
            give(m);
        else if (what < 96)
            acknowledge(m);
        else if (what < 97)
            drop_consumer(m);
        else
            compare_range(m, any(m)->id, any(m)->id, rng_below(&m->rng, 2) == 0, rng_below(&m->rng, 2) == 0);
        if (i % 16 == 0)
            compare(m);
        else if (i % 4 == 0)
            stream_check(m->s);
    }
    compare(m);
}

static void agrees_with_a_list_of_entries_under_random_changes(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{4096, 100}, {200, 100}, {4096, 3}, {0, 0}, {100, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct model *m = model_create(i + 1, shapes[i][0], shapes[i][1]);
        random_steps(m, 1500);
        model_destroy(m);
    }
}

static void copies_everything(void **state) {
    (void)state;
    struct model *m = model_create(20, 400, 10);
    random_steps(m, 600);
    struct stream *original = m->s;
    m->s = stream_copy(original);
    compare(m);
    stream_destroy(original);
    random_steps(m, 300);
    model_destroy(m);
}

/* Nodes as a snapshot holds them, loaded again. */
static void loads_the_nodes_that_it_made(void **state) {
    (void)state;
    struct model *m = model_create(21, 500, 20);
    random_steps(m, 500);
    struct stream *loaded = stream_create();
    for (struct id_cursor c = id_tree_first(&m->s->nodes); id_cursor_item(&c) != NULL; id_cursor_next(&c))
        assert_null(stream_load_node(loaded, id_cursor_item(&c)->id, listpack_slice(id_cursor_item(&c)->value)));
    assert_int_equal(loaded->length, m->length);
    assert_true(stream_edge(loaded, true, &loaded->first_id));
    stream_check(loaded);
    stream_destroy(loaded);
    model_destroy(m);
}

/* Each byte of a node changed in turn: it is refused, or what is accepted is sound. */
static void refuses_or_survives_every_damaged_byte(void **state) {
    (void)state;
    struct model *m = model_create(22, 4096, 8);
    for (int i = 0; i < 8; i++)
        add(m);
    (void)stream_delete(m->s, m->e[3].id);
    struct id_cursor c = id_tree_first(&m->s->nodes);
    struct slice bytes = listpack_slice(id_cursor_item(&c)->value);
    unsigned char *copy = mem_alloc(bytes.n);
    for (size_t at = 0; at < bytes.n; at++) {
        for (unsigned v = 1; v < 256; v += at < 64 ? 1 : 37) {
            memcpy(copy, bytes.p, bytes.n);
            copy[at] = (unsigned char)(copy[at] ^ v);
            struct stream *s = stream_create();
            if (stream_load_node(s, id_cursor_item(&c)->id, slice_of(copy, bytes.n)) == NULL) {
                if (!stream_edge(s, true, &s->first_id))
                    s->first_id = STREAM_ID_MIN;
                stream_check(s);
                while (s->length > 0)
                    assert_true(stream_delete(s, s->first_id));
                stream_check(s);
            }
            stream_destroy(s);
        }
    }
    mem_free(copy);
    model_destroy(m);
}

static void refuses_nodes_out_of_order(void **state) {
    (void)state;
    struct model *m = model_create(23, 4096, 2);
    for (int i = 0; i < 6; i++)
        add(m);
    struct id_cursor first = id_tree_first(&m->s->nodes), last = id_tree_last(&m->s->nodes);
    struct stream *s = stream_create();
    assert_null(stream_load_node(s, id_cursor_item(&last)->id, listpack_slice(id_cursor_item(&last)->value)));
    assert_non_null(stream_load_node(s, id_cursor_item(&first)->id, listpack_slice(id_cursor_item(&first)->value)));
    assert_non_null(stream_load_node(s, id_cursor_item(&last)->id, listpack_slice(id_cursor_item(&last)->value)));
    /* Another name moves the ids of what is inside; the same entries again are not above themselves. */
    struct stream_id beside = id_cursor_item(&last)->id;
    beside.ms -= 1;
    assert_non_null(stream_load_node(s, beside, listpack_slice(id_cursor_item(&last)->value)));
    stream_destroy(s);
    model_destroy(m);
}

static struct stream *numbers(struct collection_limits *limits, uint64_t n) {
    const struct slice pair[2] = {SLICE_LIT("k"), SLICE_LIT("v")};
    struct stream *s = stream_create();
    collection_limits_default(limits);
    for (uint64_t i = 1; i <= n; i++)
        assert_int_equal(stream_append(s, limits, (struct stream_id){i, 0}, pair, 1), 0);
    return s;
}

static void an_approximate_trim_drops_whole_nodes_within_the_limit(void **state) {
    (void)state;
    struct collection_limits limits;
    struct stream *s = numbers(&limits, 1050);
    struct stream_trim t = {.approximate = true, .max_length = 1001};
    assert_int_equal(stream_trim(s, &t), 0);
    t.max_length = 500;
    t.limit = 250;
    assert_int_equal(stream_trim(s, &t), 200);
    t.limit = 0;
    assert_int_equal(stream_trim(s, &t), 300);
    assert_int_equal(s->length, 550);
    assert_int_equal(s->first_id.ms, 501);
    t = (struct stream_trim){.approximate = true, .by_id = true, .min_id = {601, 0}};
    assert_int_equal(stream_trim(s, &t), 100);
    stream_check(s);
    stream_destroy(s);
}

static void the_lag_is_known_until_an_entry_ahead_is_deleted(void **state) {
    (void)state;
    struct collection_limits limits;
    struct stream *s = numbers(&limits, 10);
    int64_t lag;
    struct stream_group *g = stream_group_create(s, SLICE_LIT("g"), STREAM_ID_MIN, STREAM_ENTRIES_READ_UNKNOWN);
    assert_true(stream_group_lag(s, g, &lag));
    assert_int_equal(lag, 10);
    stream_group_advance(s, g, (struct stream_id){1, 0});
    assert_int_equal(g->entries_read, 1);
    for (uint64_t i = 2; i <= 4; i++)
        stream_group_advance(s, g, (struct stream_id){i, 0});
    assert_true(stream_group_lag(s, g, &lag));
    assert_int_equal(lag, 6);
    assert_true(stream_delete(s, (struct stream_id){7, 0}));
    assert_false(stream_group_lag(s, g, &lag));
    for (uint64_t i = 5; i <= 8; i++)
        stream_group_advance(s, g, (struct stream_id){i, 0});
    assert_int_equal(g->entries_read, STREAM_ENTRIES_READ_UNKNOWN);
    stream_group_advance(s, g, (struct stream_id){10, 0});
    assert_int_equal(g->entries_read, 10);
    assert_true(stream_group_lag(s, g, &lag));
    assert_int_equal(lag, 0);
    stream_destroy(s);
}

static void ids_end_at_the_greatest(void **state) {
    (void)state;
    struct stream *s = stream_create();
    struct stream_id id;
    assert_true(stream_next_id(s, 5, &id));
    assert_int_equal(stream_id_compare(id, (struct stream_id){5, 0}), 0);
    s->last_id = (struct stream_id){9, UINT64_MAX};
    assert_true(stream_next_id(s, 5, &id));
    assert_int_equal(stream_id_compare(id, (struct stream_id){10, 0}), 0);
    s->last_id = STREAM_ID_MAX;
    assert_false(stream_next_id(s, 5, &id));
    stream_destroy(s);
}

static void takes_little_memory(void **state) {
    (void)state;
    struct collection_limits limits;
    struct stream *s = numbers(&limits, 100000);
    size_t all = stream_memory_bytes(s, 0), some = stream_memory_bytes(s, 5);
    assert_true(all < 100000 * 14);
    assert_true(some > all / 2 && some < all * 2);
    stream_destroy(s);
    s = numbers(&limits, 1);
    assert_true(stream_memory_bytes(s, 0) < 450);
    stream_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_list_of_entries_under_random_changes),
        cmocka_unit_test(copies_everything),
        cmocka_unit_test(loads_the_nodes_that_it_made),
        cmocka_unit_test(refuses_or_survives_every_damaged_byte),
        cmocka_unit_test(refuses_nodes_out_of_order),
        cmocka_unit_test(an_approximate_trim_drops_whole_nodes_within_the_limit),
        cmocka_unit_test(the_lag_is_known_until_an_entry_ahead_is_deleted),
        cmocka_unit_test(ids_end_at_the_greatest),
        cmocka_unit_test(takes_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
