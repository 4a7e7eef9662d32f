#include "config.h"

#include "server/store/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/hash.h"
#include "server/base/mem.h"

#define NAMES 1200
#define LONGEST 70000

static struct hash_key key;
static struct table_policy policy = {.ctx = &key, .resizing = TABLE_RESIZE_FREELY};

/* The model: of each name whether it is there, its value's length and first byte, its deadline. */
struct model {
    struct {
        bool there;
        size_t len;
        char byte;
        int64_t deadline_ms;
    } f[NAMES];
    size_t n, with_deadline;
};

static char value_bytes[LONGEST];

/* Every eleventh name is longer than a byte counts. */
static struct slice name_of(char buf[400], size_t i) {
    int n = i % 11 == 0 ? snprintf(buf, 400, "%0300zu", i) : snprintf(buf, 400, "field:%zu", i);
    return slice_of(buf, (size_t)n);
}

static int setup(void **state) {
    (void)state;
    hash_key_init(&key, "a seed of field tables", 22);
    return 0;
}

static void compare_one(const struct model *m, const struct fields *t, size_t i) {
    char buf[400];
    struct slice name = name_of(buf, i);
    const struct field *f = fields_find(t, name);
    assert_int_equal(f != NULL, m->f[i].there);
    assert_int_equal(fields_count(t), m->n);
    assert_int_equal(fields_deadlines(t), m->with_deadline);
    if (f == NULL)
        return;
    assert_true(slice_eq(field_name(f), name));
    struct slice value = field_value(f);
    assert_int_equal(value.n, m->f[i].len);
    for (size_t k = 0; k < value.n; k++)
        if (value.p[k] != m->f[i].byte)
            fail_msg("byte %zu of field %zu", k, i);
    assert_int_equal(field_deadline_ms(f), m->f[i].deadline_ms);
}

static void model_forget(struct model *m, size_t i) {
    m->n -= m->f[i].there;
    m->with_deadline -= m->f[i].there && m->f[i].deadline_ms != FIELD_NO_DEADLINE;
    m->f[i].there = false;
}

static void model_put(struct model *m, size_t i, size_t len, char byte, int64_t deadline_ms) {
    model_forget(m, i);
    m->f[i].there = true;
    m->f[i].len = len;
    m->f[i].byte = byte;
    m->f[i].deadline_ms = deadline_ms;
    m->n++;
    m->with_deadline += deadline_ms != FIELD_NO_DEADLINE;
}

static int64_t random_deadline(struct rng *rng) {
    return rng_below(rng, 3) == 0 ? (int64_t)rng_below(rng, 500) : FIELD_NO_DEADLINE;
}

static void put_random(struct model *m, struct fields *t, struct rng *rng, size_t i) {
    char buf[400], byte = (char)rng_below(rng, 256);
    size_t len = rng_below(rng, 200) == 0 ? 65500 + rng_below(rng, 100) : rng_below(rng, 60);
    int64_t deadline_ms = random_deadline(rng);
    memset(value_bytes, byte, len);
    assert_int_equal(fields_put(t, name_of(buf, i), slice_of(value_bytes, len), deadline_ms), !m->f[i].there);
    model_put(m, i, len, byte, deadline_ms);
}

static void expire_one(struct model *m, struct fields *t, int64_t before_ms) {
    int64_t next_ms = FIELD_NO_DEADLINE;
    for (size_t k = 0; k < NAMES; k++)
        if (m->f[k].there && m->f[k].deadline_ms != FIELD_NO_DEADLINE)
            if (next_ms == FIELD_NO_DEADLINE || m->f[k].deadline_ms < next_ms)
                next_ms = m->f[k].deadline_ms;
    assert_int_equal(fields_next_deadline_ms(t), next_ms);
    const struct field *f = fields_first_due(t, before_ms);
    assert_int_equal(f != NULL, next_ms != FIELD_NO_DEADLINE && next_ms < before_ms);
    if (f == NULL)
        return;
    assert_int_equal(field_deadline_ms(f), next_ms);
    char buf[400], own[400];
    struct slice name = field_name(f);
    memcpy(own, name.p, name.n);
    for (size_t k = 0; k < NAMES; k++)
        if (slice_eq(name_of(buf, k), slice_of(own, name.n)))
            model_forget(m, k);
    assert_true(fields_remove(t, slice_of(own, name.n)));
}

static void one_step(struct model *m, struct fields *t, struct rng *rng, unsigned puts_of_10) {
    char buf[400];
    size_t i = rng_below(rng, NAMES);
    if (rng_below(rng, 10) < puts_of_10) {
        put_random(m, t, rng, i);
    } else if (rng_below(rng, 3) == 0) {
        int64_t deadline_ms = random_deadline(rng);
        assert_int_equal(fields_set_deadline(t, name_of(buf, i), deadline_ms), m->f[i].there);
        if (m->f[i].there)
            model_put(m, i, m->f[i].len, m->f[i].byte, deadline_ms);
    } else if (rng_below(rng, 10) == 0) {
        expire_one(m, t, (int64_t)rng_below(rng, 500));
    } else {
        assert_int_equal(fields_remove(t, name_of(buf, i)), m->f[i].there);
        model_forget(m, i);
    }
    compare_one(m, t, i);
}

static void random_changes_follow_a_model(void **state) {
    (void)state;
    static struct model m;
    struct rng rng;
    rng_init(&rng, 11);
    size_t before = mem_used();
    struct fields *t = fields_create(&policy);
    for (int phase = 0; phase < 4; phase++) {
        for (int step = 0; step < 3000; step++) {
            one_step(&m, t, &rng, phase % 2 == 0 ? 8 : 2);
            if (step % 4 == 0)
                fields_check(t);
        }
        size_t told = fields_memory_bytes(t), used = mem_used() - before;
        if (strncmp(mem_allocator_name(), "jemalloc", 8) == 0)
            assert_int_equal(told, used);
        else /* its real sizes are known by asking for each alone */
            assert_in_range(told, used - used / 20, used + used / 20);
    }
    for (size_t i = 0; i < NAMES; i++)
        compare_one(&m, t, i);
    struct value v = {.type = VALUE_HASH, .encoding = VALUE_ENC_HASHTABLE, .repr = VALUE_REPR_OBJECT, .u.object = t};
    struct value w = value_copy(v);
    assert_int_equal(value_free_effort(v), m.n);
    value_free(v);
    fields_check(w.u.object);
    for (size_t i = 0; i < NAMES; i++)
        compare_one(&m, w.u.object, i);
    value_free(w);
    assert_int_equal(mem_used(), before);
}

static void count_name(void *arg, struct field *f) {
    ((unsigned *)arg)[strtoul(field_name(f).p + 1, NULL, 10)]++;
}

static int count_each(void *arg, struct field *f) {
    (void)f;
    return ++*(int *)arg == 100;
}

static void a_set_has_names_alone(void **state) {
    (void)state;
    static unsigned seen[NAMES];
    struct rng rng;
    rng_init(&rng, 4);
    struct fields *t = fields_create(&policy);
    assert_null(fields_random(t, &rng));
    assert_int_equal(fields_try_expect(t, NAMES), 0);
    for (size_t i = 0; i < NAMES; i++) {
        char name[16];
        struct slice s = slice_of(name, (size_t)snprintf(name, sizeof name, "s%zu", i) + 1);
        assert_true(fields_add(t, s));
        assert_false(fields_add(t, s));
        assert_int_equal(field_value(fields_find(t, s)).n, 0);
    }
    fields_check(t);
    uint64_t cursor = 0;
    do {
        cursor = fields_scan(t, cursor, count_name, seen);
    } while (cursor != 0);
    for (size_t i = 0; i < NAMES; i++)
        assert_int_equal(seen[i], 1);
    int calls = 0;
    assert_int_equal(fields_each(t, count_each, &calls), 1);
    assert_int_equal(calls, 100);
    assert_non_null(fields_random(t, &rng));
    value_free(
        (struct value){.type = VALUE_SET, .encoding = VALUE_ENC_HASHTABLE, .repr = VALUE_REPR_OBJECT, .u.object = t});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_follow_a_model),
        cmocka_unit_test(a_set_has_names_alone),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
