#include "config.h"

#include "server/store/hash.h"

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

static int setup(void **state) {
    (void)state;
    hash_key_init(&key, "a seed of hashes", 16);
    collection_limits_default(&rules.limits);
    rules.limits.hash_max_listpack_entries = 40;
    return 0;
}

/* What a hash should hold: by number of the name. */
struct model {
    bool there[NAMES];
    unsigned value[NAMES];
    int64_t deadline_ms[NAMES];
    size_t count;
};

/* Numbers as names, names with letters, and the empty name. */
static struct slice name_of(char *buf, unsigned i) {
    return slice_of(buf, (size_t)snprintf(buf, 24, i == 0 ? "" : i % 2 ? "%u" : "n%u", i * 37));
}

/* Numbers, texts and some values that are too long for the small form (5 of a thousand). */
static struct slice value_of(char *buf, unsigned v) {
    if (v % 1000 < 5) {
        memset(buf, 'v', 80);
        return slice_of(buf, 70 + v % 1000);
    }
    return slice_of(buf, (size_t)snprintf(buf, 100, v % 2 ? "%u" : "value %u", v));
}

static struct slice text_of(const struct packed_item *item, char *buf) {
    return item->is_int ? slice_of(buf, num_format_i64(buf, item->i)) : item->s;
}

static unsigned number_of(struct slice name) {
    char buf[24];
    for (unsigned i = 0; i < NAMES; i++)
        if (slice_eq(name, name_of(buf, i)))
            return i;
    fail_msg("a name that was never put");
    return 0;
}

struct comparison {
    const struct model *m;
    size_t seen;
};

static int expect_field(void *arg, const struct packed_item *field, const struct packed_item *value,
                        int64_t deadline_ms) {
    struct comparison *k = arg;
    char digits[NUM_I64_CHARS], value_digits[NUM_I64_CHARS], buf[100];
    unsigned i = number_of(text_of(field, digits));
    assert_true(k->m->there[i]);
    assert_true(slice_eq(text_of(value, value_digits), value_of(buf, k->m->value[i])));
    assert_int_equal(deadline_ms, k->m->deadline_ms[i]);
    k->seen++;
    return 0;
}

static void expect(const struct collection *h, const struct model *m) {
    struct comparison k = {.m = m};
    int64_t earliest = FIELD_NO_DEADLINE;
    hash_check(h);
    assert_int_equal(hash_count(h), m->count);
    assert_int_equal(hash_each(h, expect_field, &k), 0);
    assert_int_equal(k.seen, m->count);
    for (unsigned i = 0; i < NAMES; i++)
        if (m->there[i] && m->deadline_ms[i] != FIELD_NO_DEADLINE &&
            (earliest == FIELD_NO_DEADLINE || m->deadline_ms[i] < earliest))
            earliest = m->deadline_ms[i];
    assert_int_equal(hash_next_deadline_ms(h), earliest);
}

static void model_put(struct model *m, unsigned i, unsigned value, int64_t deadline_ms) {
    m->count += !m->there[i];
    if (deadline_ms != HASH_KEEP_DEADLINE)
        m->deadline_ms[i] = deadline_ms;
    else if (!m->there[i])
        m->deadline_ms[i] = FIELD_NO_DEADLINE;
    m->there[i] = true;
    m->value[i] = value;
}

static bool model_remove(struct model *m, unsigned i) {
    bool was = m->there[i];
    m->there[i] = false;
    m->count -= was;
    return was;
}

static void put(struct collection *h, struct model *m, struct rng *rng, unsigned i) {
    char name[24], buf[100];
    unsigned value = (unsigned)rng_below(rng, 100000);
    int64_t deadline_ms = FIELD_NO_DEADLINE;
    switch (rng_below(rng, 4)) {
    case 0:
        deadline_ms = HASH_KEEP_DEADLINE;
        break;
    case 1:
        deadline_ms = 1 + (int64_t)rng_below(rng, 1000);
        break;
    default:
        break;
    }
    assert_int_equal(hash_put_until(h, name_of(name, i), value_of(buf, value), deadline_ms), !m->there[i]);
    model_put(m, i, value, deadline_ms);
}

static void get(const struct collection *h, const struct model *m, struct rng *rng, unsigned i) {
    char name[24], buf[100], digits[NUM_I64_CHARS];
    struct packed_item value;
    int64_t now_ms = (int64_t)rng_below(rng, 1000), deadline_ms;
    bool due = m->there[i] && m->deadline_ms[i] != FIELD_NO_DEADLINE && m->deadline_ms[i] < now_ms;
    assert_int_equal(hash_find(h, name_of(name, i), now_ms, &value, &deadline_ms), m->there[i] && !due);
    if (m->there[i] && !due) {
        assert_true(slice_eq(text_of(&value, digits), value_of(buf, m->value[i])));
        assert_int_equal(deadline_ms, m->deadline_ms[i]);
    }
    assert_int_equal(hash_get(h, name_of(name, i), HASH_NOTHING_DUE, &value), m->there[i]);
    size_t live = 0, timed = 0, last = 0;
    for (unsigned n = 0; n < NAMES; n++) {
        bool has = m->there[n] && m->deadline_ms[n] != FIELD_NO_DEADLINE;
        live += m->there[n] && !(has && m->deadline_ms[n] < now_ms);
        timed += has;
        last += has && m->deadline_ms[n] >= now_ms;
    }
    assert_int_equal(hash_live_count(h, now_ms), live);
    assert_int_equal(hash_is_over(h, now_ms), m->count != 0 && timed == m->count && last == 0);
}

struct due {
    struct model *m;
    int64_t before;
    size_t n;
};

static void expect_due(void *arg, struct slice field) {
    struct due *d = arg;
    unsigned i = number_of(field);
    assert_true(d->m->there[i] && d->m->deadline_ms[i] >= d->before);
    d->before = d->m->deadline_ms[i];
    model_remove(d->m, i);
    d->n++;
}

static void remove_due(struct collection *h, struct model *m, struct rng *rng) {
    int64_t now_ms = (int64_t)rng_below(rng, 300);
    size_t max = 1 + rng_below(rng, 8), due = 0;
    for (unsigned i = 0; i < NAMES; i++)
        due += m->there[i] && m->deadline_ms[i] != FIELD_NO_DEADLINE && m->deadline_ms[i] < now_ms;
    struct due d = {.m = m};
    assert_int_equal(hash_remove_due(h, now_ms, max, expect_due, &d), due < max ? due : max);
    assert_int_equal(d.n, due < max ? due : max);
}

static void copy(struct collection *h) {
    void *twin = hash_type_ops.copy(h->encoding, h->object);
    assert_true(hash_type_ops.memory_bytes(h->encoding, twin, 0) > 0);
    assert_int_equal(hash_type_ops.count(h->encoding, twin), hash_count(h));
    hash_type_ops.free(h->encoding, h->object);
    h->object = twin;
}

static void step(struct collection *h, struct model *m, struct rng *rng) {
    char name[24];
    unsigned i = (unsigned)rng_below(rng, NAMES);
    switch (rng_below(rng, 10)) {
    case 0:
    case 1:
    case 2:
        put(h, m, rng, i);
        break;
    case 3:
    case 4:
        assert_int_equal(hash_remove(h, name_of(name, i)), model_remove(m, i));
        break;
    case 5: {
        int64_t deadline_ms = rng_below(rng, 3) == 0 ? FIELD_NO_DEADLINE : 1 + (int64_t)rng_below(rng, 1000);
        assert_int_equal(hash_set_deadline(h, name_of(name, i), deadline_ms), m->there[i]);
        m->deadline_ms[i] = deadline_ms;
        break;
    }
    case 6:
        remove_due(h, m, rng);
        break;
    case 7:
        copy(h);
        break;
    default:
        get(h, m, rng, i);
    }
}

static void a_hash_does_as_its_model_in_every_form(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    size_t before = mem_used();
    unsigned seen[VALUE_ENCODINGS] = {0};
    for (int round = 0; round < 120; round++) {
        struct collection h = hash_create(&rules);
        struct model m = {0};
        for (int n = 0; n < 200; n++) {
            step(&h, &m, &rng);
            expect(&h, &m);
            seen[h.encoding]++;
        }
        hash_type_ops.free(h.encoding, h.object);
    }
    assert_true(seen[VALUE_ENC_LISTPACK] > 100 && seen[VALUE_ENC_LISTPACK_EX] > 100 && seen[VALUE_ENC_HASHTABLE] > 100);
    assert_int_equal(mem_used(), before);
}

static void thresholds_decide_the_form(void **state) {
    (void)state;
    char name[24], longest[65];
    memset(longest, 'x', sizeof longest);
    struct collection h = hash_create(&rules);
    for (unsigned i = 0; i < 40; i++)
        assert_true(hash_put(&h, name_of(name, i), slice_of(longest, 64)));
    assert_int_equal(h.encoding, VALUE_ENC_LISTPACK);
    assert_true(hash_set_deadline(&h, name_of(name, 3), 77));
    assert_int_equal(h.encoding, VALUE_ENC_LISTPACK_EX);
    assert_true(hash_set_deadline(&h, name_of(name, 3), FIELD_NO_DEADLINE));
    assert_int_equal(h.encoding, VALUE_ENC_LISTPACK_EX);
    assert_true(hash_put(&h, name_of(name, 40), SLICE_LIT("one too many")));
    assert_int_equal(h.encoding, VALUE_ENC_HASHTABLE);
    hash_type_ops.free(h.encoding, h.object);

    h = hash_create(&rules);
    assert_true(hash_put(&h, SLICE_LIT("f"), slice_of(longest, 65)));
    assert_int_equal(h.encoding, VALUE_ENC_HASHTABLE);
    hash_type_ops.free(h.encoding, h.object);
}

static void a_timer_moves_with_the_contents(void **state) {
    (void)state;
    size_t before = mem_used();
    char name[24];
    struct collection h = hash_create(&rules);
    assert_null(hash_timer(&h));
    hash_put_until(&h, SLICE_LIT("f"), SLICE_LIT("v"), 5);
    struct deadline_item **place = hash_timer(&h), *timer = mem_calloc(1, sizeof *timer);
    assert_null(*place);
    *place = timer;
    for (unsigned i = 1; i < 45; i++)
        hash_put(&h, name_of(name, i), SLICE_LIT("v"));
    assert_int_equal(h.encoding, VALUE_ENC_HASHTABLE);
    assert_ptr_equal(*hash_timer(&h), timer);
    struct collection twin = {
        .rules = &rules, .encoding = h.encoding, .object = hash_type_ops.copy(h.encoding, h.object)};
    assert_null(*hash_timer(&twin));
    hash_type_ops.free(twin.encoding, twin.object);
    hash_type_ops.free(h.encoding, h.object);
    assert_int_equal(mem_used(), before);
}

static void triples_in_any_order_are_put_in_order(void **state) {
    (void)state;
    const struct packed_item items[] = {packed_bytes(SLICE_LIT("a")), packed_int(1), packed_int(0),
                                        packed_bytes(SLICE_LIT("b")), packed_int(2), packed_int(900),
                                        packed_bytes(SLICE_LIT("c")), packed_int(3), packed_int(500)};
    struct listpack *lp = listpack_create(0);
    assert_int_equal(listpack_append_all(&lp, items, 9), 0);
    struct collection h = hash_from_triples_take(&rules, lp);
    hash_check(&h);
    assert_int_equal(hash_next_deadline_ms(&h), 500);
    int64_t deadline_ms;
    assert_true(hash_find(&h, SLICE_LIT("a"), HASH_NOTHING_DUE, NULL, &deadline_ms) &&
                deadline_ms == FIELD_NO_DEADLINE);
    assert_true(hash_find(&h, SLICE_LIT("b"), 900, NULL, &deadline_ms) && deadline_ms == 900);
    assert_false(hash_find(&h, SLICE_LIT("b"), 901, NULL, &deadline_ms));
    hash_type_ops.free(h.encoding, h.object);
}

static void mark(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms) {
    char digits[NUM_I64_CHARS];
    (void)value;
    (void)deadline_ms;
    ((bool *)arg)[number_of(text_of(field, digits))] = true;
}

static void scans_and_draws_reach_every_field(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (int large = 0; large < 2; large++) {
        struct collection h = hash_create(&rules);
        char name[24];
        if (large)
            hash_expect(&h, 1000);
        for (unsigned i = 0; i < 30; i++)
            hash_put_until(&h, name_of(name, i), SLICE_LIT("v"), i % 3 ? FIELD_NO_DEADLINE : 9);
        assert_int_equal(h.encoding, large ? VALUE_ENC_HASHTABLE : VALUE_ENC_LISTPACK_EX);
        bool seen[NAMES] = {false}, drawn[NAMES] = {false};
        uint64_t cursor = 0;
        do
            cursor = hash_scan(&h, cursor, mark, seen);
        while (cursor != 0);
        for (int i = 0; i < 3000; i++) {
            struct packed_item field, value;
            int64_t deadline_ms;
            assert_true(hash_random(&h, &rng, &field, &value, &deadline_ms));
            mark(drawn, &field, &value, deadline_ms);
        }
        for (unsigned i = 0; i < NAMES; i++) {
            assert_int_equal(seen[i], i < 30);
            assert_int_equal(drawn[i], i < 30);
        }
        hash_type_ops.free(h.encoding, h.object);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_does_as_its_model_in_every_form),
        cmocka_unit_test(thresholds_decide_the_form),
        cmocka_unit_test(a_timer_moves_with_the_contents),
        cmocka_unit_test(triples_in_any_order_are_put_in_order),
        cmocka_unit_test(scans_and_draws_reach_every_field),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
