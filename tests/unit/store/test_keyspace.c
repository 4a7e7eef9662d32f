#include "config.h"

#include "server/store/keyspace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "tests/unit/store/fixture.h"

static void assert_string(const struct entry *e, const void *p, size_t n) {
    char scratch[24];
    assert_non_null(e);
    struct slice s = entry_string(e, scratch);
    assert_int_equal(s.n, n);
    assert_memory_equal(s.p, p, n);
    assert_int_equal(entry_string_len(e), n);
}

/* ---- against a model ---- */

#define MODEL_KEYS 400
#define MODEL_VALUE 6000

struct model_key {
    bool there;
    size_t len;
    int64_t deadline;
    char value[MODEL_VALUE];
};

static struct model_key model[MODEL_KEYS];

/* Lengths around the edges of the layout: one-byte key lengths, embedding, classes. */
static size_t key_name(size_t i, char *dst) {
    static const size_t lengths[] = {4, 16, 17, 200, 254, 255, 256, 300, 4080, 4200};
    size_t n = lengths[i % 10];
    memset(dst, 'k', n);
    for (size_t d = 0, v = i; d < 4; d++, v /= 10)
        dst[d] = (char)('0' + v % 10);
    return n;
}

static size_t random_length(struct rng *rng) {
    static const size_t edges[] = {0, 1, 44, 45, 64, 100, 800, 3790, 4060, 4080, 4088, 5000};
    size_t n = edges[rng_below(rng, 12)] + rng_below(rng, 9);
    return n < MODEL_VALUE ? n : MODEL_VALUE;
}

static struct value random_value(struct rng *rng, struct model_key *m) {
    if (rng_below(rng, 4) == 0) {
        int64_t i = (int64_t)rng_u64(rng) >> rng_below(rng, 64);
        m->len = num_format_i64(m->value, i);
        return value_string_int(i);
    }
    m->len = random_length(rng);
    for (size_t i = 0; i < m->len; i++)
        m->value[i] = (char)('a' + rng_below(rng, 26));
    struct value v = value_string(slice_of(m->value, m->len));
    if (rng_below(rng, 4) == 0)
        v = value_copy(v); /* an rbuf of any size */
    return v;
}

static void compare_key(struct keyspace *ks, size_t i) {
    char name[4300];
    struct keyref k = keyspace_key(ks, slice_of(name, key_name(i, name)));
    struct model_key *m = &model[i];
    const struct entry *e = keyspace_peek(ks, 3, &k);
    assert_int_equal(e != NULL, m->there);
    if (e == NULL)
        return;
    assert_true(slice_eq(entry_key(e), k.key));
    assert_int_equal(entry_deadline_ms(e), m->deadline);
    assert_string(e, m->value, m->len);
}

static void change_key(struct keyspace *ks, struct rng *rng, size_t i) {
    char name[4300];
    struct keyref k = keyspace_key(ks, slice_of(name, key_name(i, name)));
    struct model_key *m = &model[i];
    int64_t deadline = rng_below(rng, 2) ? KEYSPACE_NO_DEADLINE : START_MS + (int64_t)rng_below(rng, 50);
    struct entry *e = keyspace_find(ks, 3, &k, KEYSPACE_LOOKUP_TOUCH);
    char *bytes;
    struct value v;
    switch (rng_below(rng, 9)) {
    case 0:
        assert_int_equal(keyspace_delete(ks, 3, &k, rng_below(rng, 2)), m->there);
        m->there = false;
        break;
    case 1:
    case 2:
        e = keyspace_put(ks, 3, &k, random_value(rng, m), deadline);
        m->there = true;
        m->deadline = deadline;
        break;
    case 3:
        if (!m->there)
            m->deadline = KEYSPACE_NO_DEADLINE;
        e = keyspace_put(ks, 3, &k, random_value(rng, m), KEYSPACE_KEEP_DEADLINE);
        m->there = true;
        break;
    case 4: {
        struct model_key was = *m;
        e = keyspace_add(ks, 3, &k, random_value(rng, m), deadline);
        assert_int_equal(e == NULL, was.there);
        if (was.there)
            *m = was;
        else
            m->deadline = deadline;
        m->there = true;
        break;
    }
    case 5:
        if (e != NULL) {
            m->deadline = deadline;
            e = keyspace_set_deadline(ks, 3, &k, e, deadline);
        }
        break;
    case 6:
        if (e != NULL) {
            size_t len = random_length(rng);
            assert_int_equal(keyspace_string_writable(ks, 3, &k, &e, len, &bytes), 0);
            if (len > m->len)
                memset(m->value + m->len, 0, len - m->len);
            m->len = len;
            if (len != 0)
                bytes[len / 2] = m->value[len / 2] = 'W';
            assert_int_equal(entry_encoding(e), VALUE_ENC_RAW);
        }
        break;
    case 7:
        if (e != NULL) {
            int64_t n = (int64_t)rng_u64(rng), is;
            e = keyspace_set_int(ks, 3, &k, e, n);
            m->len = num_format_i64(m->value, n);
            assert_true(entry_string_is_int(e, &is));
            assert_int_equal(is, n);
            assert_int_equal(entry_encoding(e), VALUE_ENC_INT);
        }
        break;
    default: {
        int64_t was;
        bool there = keyspace_detach(ks, 3, &k, &v, &was);
        assert_int_equal(there, m->there);
        if (there) {
            assert_int_equal(was, m->deadline);
            assert_null(keyspace_peek(ks, 3, &k));
            assert_int_not_equal(v.repr, VALUE_REPR_BYTES);
            e = keyspace_put(ks, 3, &k, v, was);
        }
        break;
    }
    }
    if (m->there)
        assert_ptr_equal(keyspace_peek(ks, 3, &k), e != NULL ? e : keyspace_peek(ks, 3, &k));
}

static void follow_model(bool slots, uint64_t seed) {
    struct rng rng;
    size_t before = mem_used();
    struct keyspace *ks = make(slots, NULL, NULL);
    rng_init(&rng, seed);
    memset(model, 0, sizeof model);
    for (int step = 0; step < 20000; step++) {
        size_t i = rng_below(&rng, MODEL_KEYS);
        change_key(ks, &rng, i);
        compare_key(ks, i);
        if (step % (slots ? 2000 : 50) == 0)
            keyspace_check(ks);
        if (step % 512 == 0)
            keyspace_set_frozen(ks, rng_below(&rng, 2));
    }
    size_t keys = 0, deadlines = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        compare_key(ks, i);
        keys += model[i].there;
        deadlines += model[i].there && model[i].deadline != -1;
    }
    assert_int_equal(keyspace_size(ks, 3), keys);
    assert_int_equal(keyspace_deadlines(ks, 3), deadlines);
    assert_int_equal(keyspace_size(ks, 0), 0);
    keyspace_check(ks);
    keyspace_destroy(ks);
    assert_int_equal(mem_used(), before);
}

static void test_changes_follow_the_model(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        follow_model(false, seed);
}

static void test_changes_follow_the_model_with_slots(void **state) {
    (void)state;
    follow_model(true, 9);
}

/* ---- single behaviours ---- */

static void test_strings_have_the_encodings_clients_expect(void **state) {
    (void)state;
    struct keyspace *ks = make(false, NULL, NULL);
    char long_string[46] = "";
    memset(long_string, 'x', 44);
    assert_int_equal(entry_encoding(put(ks, "a", long_string, -1)), VALUE_ENC_EMBSTR);
    long_string[44] = 'x';
    assert_int_equal(entry_encoding(put(ks, "a", long_string, -1)), VALUE_ENC_RAW);
    assert_int_equal(entry_encoding(put(ks, "a", "9223372036854775807", -1)), VALUE_ENC_INT);
    assert_int_equal(entry_encoding(put(ks, "a", "-9223372036854775808", -1)), VALUE_ENC_INT);
    static const char *const not_numbers[] = {"9223372036854775808", "01", "+1", "-0", " 1", "1 ", "", "1.0"};
    for (size_t i = 0; i < sizeof not_numbers / sizeof not_numbers[0]; i++) {
        struct entry *e = put(ks, "a", not_numbers[i], -1);
        assert_int_equal(entry_encoding(e), VALUE_ENC_EMBSTR);
        assert_string(e, not_numbers[i], strlen(not_numbers[i]));
    }
    assert_string_equal(value_encoding_name(VALUE_ENC_LISTPACK_EX), "listpackex");
    assert_string_equal(value_type_name(VALUE_ZSET), "zset");
    keyspace_destroy(ks);
}

static void test_overwriting_within_the_class_allocates_nothing(void **state) {
    (void)state;
    struct keyspace *ks = make(false, NULL, NULL);
    char value[65] = "";
    memset(value, 'v', 64);
    struct entry *e = put(ks, "0123456789abcdef", value, -1);
    size_t used = mem_used();
    for (int i = 0; i < 100; i++) {
        value[i % 64]++;
        assert_ptr_equal(put(ks, "0123456789abcdef", value, -1), e);
        assert_string(e, value, 64);
    }
    value[60] = '\0';
    assert_ptr_equal(put(ks, "0123456789abcdef", value, -1), e);
    value[60] = 'v';
    /* A deadline comes and goes within the class too: 88 and 96 bytes. */
    assert_ptr_equal(put(ks, "0123456789abcdef", value, START_MS + 5), e);
    assert_int_equal(entry_deadline_ms(e), START_MS + 5);
    assert_string(e, value, 64);
    struct keyref k = ref(ks, "0123456789abcdef");
    assert_ptr_equal(keyspace_set_deadline(ks, 0, &k, e, KEYSPACE_NO_DEADLINE), e);
    assert_string(e, value, 64);
    assert_int_equal(mem_used(), used);
    keyspace_check(ks);
    keyspace_destroy(ks);
}

static void test_put_copies_bytes_that_lie_in_what_it_replaces(void **state) {
    (void)state;
    struct keyspace *ks = make(false, NULL, NULL);
    char big[5000];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)('a' + i % 26);
    static const size_t sizes[] = {20, 60, 90, 900, 5000};
    for (size_t s = 0; s < 5; s++)
        for (size_t from = 0; from < sizes[s]; from += 1 + sizes[s] / 17)
            for (size_t n = 0; n <= sizes[s] - from; n += 1 + sizes[s] / 19)
                for (int deadline = 0; deadline < 2; deadline++) {
                    struct keyref k = ref(ks, "key");
                    char scratch[24];
                    keyspace_put(ks, 0, &k, value_string_raw(slice_of(big, sizes[s])), deadline ? -1 : START_MS);
                    struct slice own = entry_string(keyspace_peek(ks, 0, &k), scratch);
                    struct value v = value_string_raw(slice_of(own.p + from, n));
                    struct entry *e = keyspace_put(ks, 0, &k, v, deadline ? START_MS : -1);
                    assert_string(e, big + from, n);
                }
    keyspace_check(ks);
    keyspace_destroy(ks);
}

static void test_a_shared_block_is_copied_before_it_is_written(void **state) {
    (void)state;
    struct keyspace *ks = make(false, NULL, NULL);
    struct rbuf *r = rbuf_create(70000);
    memset(r->data, 'x', 70000);
    r->len = 70000;
    struct keyref k = ref(ks, "key");
    struct entry *e = keyspace_put(ks, 0, &k, value_string_rbuf_take(rbuf_ref(r)), -1);
    char *bytes;
    assert_ptr_equal(entry_value(e).u.rbuf, r);
    assert_int_equal(keyspace_string_writable(ks, 0, &k, &e, 70000, &bytes), 0);
    assert_ptr_not_equal(bytes, r->data);
    bytes[0] = 'y';
    assert_int_equal(r->data[0], 'x');
    assert_true(rbuf_is_unique(r));
    char *again;
    assert_int_equal(keyspace_string_writable(ks, 0, &k, &e, 70000, &again), 0);
    assert_ptr_equal(again, bytes);
    rbuf_unref(r);
    keyspace_destroy(ks);
}

static void test_a_string_beyond_memory_is_refused_unchanged(void **state) {
    (void)state;
    struct keyspace *ks = make(false, NULL, NULL);
    struct entry *e = put(ks, "key", "value", START_MS + 1);
    struct keyref k = ref(ks, "key");
    char *bytes;
    assert_int_equal(keyspace_string_writable(ks, 0, &k, &e, SIZE_MAX / 4, &bytes), -1);
    assert_string(find(ks, "key"), "value", 5);
    keyspace_check(ks);
    keyspace_destroy(ks);
}

static void test_detached_values_move_to_another_name(void **state) {
    (void)state;
    struct keyspace *ks = make(false, NULL, NULL);
    struct value v;
    int64_t deadline;
    put(ks, "from", "some text", START_MS + 10);
    struct keyref from = ref(ks, "from"), to = ref(ks, "to");
    assert_true(keyspace_detach(ks, 0, &from, &v, &deadline));
    assert_int_equal(deadline, START_MS + 10);
    struct entry *e = keyspace_put(ks, 0, &to, v, deadline);
    assert_string(e, "some text", 9);
    assert_int_equal(entry_encoding(e), VALUE_ENC_EMBSTR);
    assert_null(find(ks, "from"));
    assert_false(keyspace_detach(ks, 0, &from, &v, &deadline));
    keyspace_check(ks);
    keyspace_destroy(ks);
}

static void test_a_due_key_is_treated_as_the_mode_says(void **state) {
    (void)state;
    struct seen seen = {0};
    struct keyspace *ks = make(false, &seen, NULL);
    put(ks, "due", "x", START_MS + 10);
    keyspace_set_now_ms(ks, START_MS + 10);
    assert_non_null(find(ks, "due")); /* at its millisecond it lives */
    keyspace_set_now_ms(ks, START_MS + 11);
    keyspace_set_expiry(ks, KEYSPACE_EXPIRE_IGNORE);
    assert_non_null(find(ks, "due"));
    assert_int_equal(keyspace_expire_due(ks, 1000), 0);
    keyspace_set_expiry(ks, KEYSPACE_EXPIRE_HIDE);
    assert_null(find(ks, "due"));
    assert_null(keyspace_random(ks, 0));
    assert_int_equal(keyspace_expire_due(ks, 1000), 0);
    assert_int_equal(keyspace_size(ks, 0), 1);
    assert_int_equal(seen.expired, 0);
    keyspace_set_expiry(ks, KEYSPACE_EXPIRE_DELETE);
    assert_null(find(ks, "due"));
    assert_int_equal(keyspace_size(ks, 0), 0);
    assert_int_equal(seen.expired, 1);
    assert_string_equal(seen.last, "due");
    assert_int_equal(seen.appeared, 1);
    keyspace_destroy(ks);
}

static void test_due_keys_go_earliest_first_over_all_databases(void **state) {
    (void)state;
    struct seen seen = {0};
    struct keyspace *ks = make(false, &seen, NULL);
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "key:%d", i);
        struct keyref k = ref(ks, name);
        keyspace_put(ks, (unsigned)i % 3, &k, value_string(slice_cstr("v")), START_MS + (i * 7919) % 1000);
    }
    assert_int_equal(keyspace_next_deadline_ms(ks), START_MS);
    keyspace_set_now_ms(ks, START_MS + 500);
    assert_int_equal(keyspace_expire_due(ks, 1000000), 500);
    assert_int_equal(seen.expired, 500);
    assert_int_equal(keyspace_next_deadline_ms(ks), START_MS + 500);
    assert_int_equal(keyspace_size(ks, 0) + keyspace_size(ks, 1) + keyspace_size(ks, 2), 500);
    keyspace_check(ks);
    keyspace_set_now_ms(ks, START_MS + 5000);
    /* No time: a few keys are removed, then the clock is looked at. */
    size_t n = keyspace_expire_due(ks, 0);
    assert_in_range(n, 1, 100);
    assert_int_equal(keyspace_expire_due(ks, 1000000), 500 - n);
    assert_int_equal(keyspace_next_deadline_ms(ks), -1);
    keyspace_destroy(ks);
}

static void test_random_skips_due_keys(void **state) {
    (void)state;
    for (int hide = 0; hide < 2; hide++) {
        struct keyspace *ks = make(hide, NULL, NULL);
        char name[32];
        assert_null(keyspace_random(ks, 0));
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof name, "key:%d", i);
            put(ks, name, "v", START_MS + 1);
        }
        put(ks, "live", "v", -1);
        keyspace_set_now_ms(ks, START_MS + 2);
        keyspace_set_expiry(ks, hide ? KEYSPACE_EXPIRE_HIDE : KEYSPACE_EXPIRE_DELETE);
        for (int i = 0; i < 3; i++) {
            struct entry *e = keyspace_random(ks, 0);
            assert_non_null(e);
            assert_true(slice_eq(entry_key(e), slice_cstr("live")));
        }
        keyspace_check(ks);
        keyspace_destroy(ks);
    }
}

/* ---- databases ---- */

static void test_a_keyspace_takes_over_what_was_loaded_beside_it(void **state) {
    (void)state;
    for (int slots = 0; slots < 2; slots++) {
        struct keyspace *ks = make(slots, NULL, NULL);
        put(ks, "old", "1", KEYSPACE_NO_DEADLINE);
        put(ks, "both", "1", START_MS + 1000);
        struct keyspace *beside = keyspace_create_beside(ks);
        put(beside, "both", "2", KEYSPACE_NO_DEADLINE);
        struct keyref k = ref(beside, "far");
        keyspace_put(beside, 15, &k, value_string(SLICE_LIT("x")), START_MS + 5000);
        assert_int_equal(keyspace_size(ks, 0), 2);
        keyspace_take_all(ks, beside, false);
        assert_int_equal(keyspace_size(beside, 0) + keyspace_size(beside, 15), 0);
        keyspace_check(beside);
        keyspace_destroy(beside);
        assert_null(find(ks, "old"));
        char scratch[24];
        assert_true(slice_eq(entry_string(find(ks, "both"), scratch), SLICE_LIT("2")));
        assert_int_equal(keyspace_size(ks, 15), 1);
        assert_int_equal(keyspace_deadlines(ks, 0), 0);
        assert_int_equal(keyspace_next_deadline_ms(ks), START_MS + 5000);
        put(ks, "new", "3", KEYSPACE_NO_DEADLINE);
        keyspace_check(ks);
        keyspace_destroy(ks);
    }
}

static void test_databases_are_apart_and_can_be_swapped_and_flushed(void **state) {
    (void)state;
    size_t before = mem_used();
    struct worker *w = worker_create("lazyfree");
    for (int async = 0; async < 2; async++) {
        struct keyspace *ks = make(false, NULL, w);
        struct keyref k = ref(ks, "k");
        for (unsigned db = 0; db < 3; db++)
            keyspace_put(ks, db, &k, value_string_int(db), db == 1 ? START_MS + 9 : -1);
        keyspace_swap(ks, 1, 15);
        keyspace_swap(ks, 2, 2);
        assert_int_equal(keyspace_size(ks, 1), 0);
        assert_string(keyspace_peek(ks, 15, &k), "1", 1);
        assert_int_equal(keyspace_deadlines(ks, 15), 1);
        assert_int_equal(keyspace_deadline_mean_ms(ks, 15), 9);
        keyspace_check(ks);
        assert_int_equal(keyspace_flush(ks, 15, async), 1);
        assert_int_equal(keyspace_flush(ks, 14, async), 0);
        assert_null(keyspace_peek(ks, 15, &k));
        for (int i = 0; i < 3000; i++) {
            char name[32];
            snprintf(name, sizeof name, "key:%d", i);
            put(ks, name, name, START_MS);
        }
        assert_int_equal(keyspace_flush(ks, -1, async), 3002);
        assert_int_equal(keyspace_size(ks, 0), 0);
        worker_drain(w);
        assert_int_equal(keyspace_lazyfree_pending(ks), 0);
        assert_int_equal(keyspace_lazyfree_done(ks), async ? 3003 : 0);
        keyspace_lazyfree_reset(ks);
        assert_int_equal(keyspace_lazyfree_done(ks), 0);
        keyspace_check(ks);
        keyspace_destroy(ks);
    }
    worker_destroy(w);
    assert_in_range(mem_used(), 0, before);
}

static void test_far_databases_cost_nothing_until_used(void **state) {
    (void)state;
    size_t before = mem_used();
    struct keyspace_options o = {.databases = INT32_MAX};
    hash_key_init(&o.hash_key, "seed", 4);
    struct keyspace *ks = keyspace_create(&o);
    struct keyref k = ref(ks, "k");
    assert_true(mem_used() - before < 64 * 1024);
    static const unsigned numbers[] = {INT32_MAX - 1, 1024, 5, 2000000, 1023};
    for (size_t i = 0; i < 5; i++) {
        assert_null(keyspace_find(ks, numbers[i], &k, 0));
        keyspace_put(ks, numbers[i], &k, value_string_int((int64_t)i), -1);
    }
    keyspace_check(ks);
    keyspace_swap(ks, INT32_MAX - 1, 5);
    for (size_t i = 0; i < 5; i++) {
        int64_t n, expected = i == 0 ? 2 : i == 2 ? 0 : (int64_t)i;
        assert_true(entry_string_is_int(keyspace_find(ks, numbers[i], &k, 0), &n));
        assert_int_equal(n, expected);
    }
    keyspace_check(ks);
    assert_int_equal(keyspace_flush(ks, INT32_MAX - 1, false), 1);
    assert_null(keyspace_find(ks, INT32_MAX - 1, &k, 0));
    keyspace_destroy(ks);
    assert_int_equal(mem_used(), before);
}

static void test_big_values_are_freed_in_the_background_where_asked(void **state) {
    (void)state;
    struct worker *w = worker_create("lazyfree");
    struct keyspace *ks = make(false, NULL, w);
    struct keyref k = ref(ks, "big"), small = ref(ks, "small");
    for (int i = 0; i < 4; i++) {
        struct rbuf *r = rbuf_create(100000);
        r->len = 100000;
        keyspace_put(ks, 0, &k, value_string_rbuf_take(r), -1);
        keyspace_put(ks, 0, &small, value_string_int(1), -1);
        struct keyspace_lazy lazy = {.user_del = i == 1, .server_del = i == 2};
        keyspace_set_lazy(ks, &lazy);
        if (i == 2)
            keyspace_put(ks, 0, &k, value_string_int(1), -1);
        else
            assert_true(keyspace_delete(ks, 0, &k, i == 3));
        keyspace_delete(ks, 0, &small, true);
        worker_drain(w);
        assert_int_equal(keyspace_lazyfree_done(ks), i);
    }
    keyspace_destroy(ks);
    worker_destroy(w);
}

/* ---- scanning ---- */

static void mark_key(void *arg, const struct entry *e) {
    int64_t i;
    assert_true(entry_string_is_int(e, &i));
    ((uint8_t *)arg)[i]++;
}

static int count_key(void *arg, const struct entry *e) {
    (void)e;
    return ++*(int *)arg == 700 ? 7 : 0;
}

static void test_scan_sees_every_key_that_stays(void **state) {
    (void)state;
    for (int slots = 0; slots < 2; slots++) {
        struct keyspace *ks = make(slots, NULL, NULL);
        static uint8_t seen[6000];
        char name[32];
        memset(seen, 0, sizeof seen);
        assert_int_equal(keyspace_scan(ks, 0, 0, 10, mark_key, seen), 0);
        for (int i = 0; i < 6000; i++) {
            snprintf(name, sizeof name, "key:%d", i);
            struct keyref k = ref(ks, name);
            keyspace_put(ks, 0, &k, value_string_int(i), -1);
        }
        uint64_t cursor = 0;
        int next = 1000, calls = 0;
        do {
            cursor = keyspace_scan(ks, 0, cursor, 100, mark_key, seen);
            for (int i = 0; i < 50 && next < 6000; i++, next++) {
                snprintf(name, sizeof name, "key:%d", next);
                struct keyref k = ref(ks, name);
                keyspace_delete(ks, 0, &k, false);
            }
            calls++;
        } while (cursor != 0);
        assert_in_range(calls, 10, 2000);
        for (int i = 0; i < 1000; i++)
            assert_true(seen[i] >= 1);
        int n = 0;
        assert_int_equal(keyspace_each(ks, 0, count_key, &n), 7);
        assert_int_equal(n, 700);
        keyspace_check(ks);
        keyspace_destroy(ks);
    }
}

static void test_slots_keep_their_keys_together(void **state) {
    (void)state;
    struct keyspace *ks = make(true, NULL, NULL);
    static uint8_t seen[1000];
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, i % 2 ? "{a}%d" : "%d", i);
        struct keyref k = ref(ks, name);
        keyspace_put(ks, 0, &k, value_string_int(i), -1);
    }
    struct keyref a = ref(ks, "a");
    assert_true(keyspace_slot_size(ks, 0, a.slot) >= 500);
    static uint8_t of_all[1000];
    uint64_t walk = 0;
    do
        walk = keyspace_scan(ks, 0, walk, 10, mark_key, of_all);
    while (walk != 0);
    for (int i = 0; i < 1000; i++)
        assert_true(of_all[i] >= 1);
    uint64_t cursor = 0;
    do
        cursor = keyspace_scan_slot(ks, 0, a.slot, cursor, 10, mark_key, seen);
    while (cursor != 0);
    for (int i = 1; i < 1000; i += 2)
        assert_int_equal(seen[i] >= 1, 1);
    /* Drawn by weight, not by slot. */
    int in_a = 0;
    for (int i = 0; i < 1000; i++)
        in_a += entry_key(keyspace_random(ks, 0)).p[0] == '{';
    assert_in_range(in_a, 400, 600);
    keyspace_check(ks);
    keyspace_destroy(ks);
}

/* ---- memory and upkeep ---- */

static void test_upkeep_finishes_resizing_and_expect_avoids_it(void **state) {
    (void)state;
    for (int slots = 0; slots < 2; slots++) {
        struct keyspace *ks = make(slots, NULL, NULL);
        char name[32];
        int i = 0;
        for (; i < 3000 || (i < 100000 && keyspace_rehash_bytes(ks) == 0); i++) {
            snprintf(name, sizeof name, "{x}%d", i);
            put(ks, name, "v", -1);
        }
        assert_true(keyspace_rehash_bytes(ks) > 0);
        keyspace_set_resizing(ks, false);
        assert_false(keyspace_step(ks, 1000));
        assert_true(keyspace_rehash_bytes(ks) > 0);
        keyspace_set_resizing(ks, true);
        while (keyspace_step(ks, 100)) {
        }
        assert_int_equal(keyspace_rehash_bytes(ks), 0);
        keyspace_check(ks);
        /* Deleting while frozen leaves a sparse table, which upkeep shrinks afterwards. */
        keyspace_set_frozen(ks, true);
        while (--i > 10) {
            snprintf(name, sizeof name, "{x}%d", i);
            struct keyref k = ref(ks, name);
            keyspace_delete(ks, 0, &k, false);
        }
        size_t sparse = keyspace_table_bytes(ks, 0);
        keyspace_set_frozen(ks, false);
        for (int n = 0; n < 2 * KEYSPACE_SLOTS / 64; n++)
            (void)keyspace_step(ks, 100);
        assert_true(keyspace_table_bytes(ks, 0) < sparse);
        keyspace_check(ks);
        struct buf out = BUF_INIT;
        keyspace_describe(ks, 0, true, &out);
        assert_non_null(memmem(out.data, out.len, "[Dictionary HT]", 15));
        buf_deinit(&out);
        keyspace_destroy(ks);
    }
    struct keyspace *ks = make(false, NULL, NULL);
    keyspace_expect(ks, 0, 100000, 0);
    size_t bytes = keyspace_table_bytes(ks, 0);
    keyspace_expect(ks, 0, SIZE_MAX, 0); /* a lie in a snapshot changes nothing */
    assert_int_equal(keyspace_table_bytes(ks, 0), bytes);
    assert_true(bytes >= 100000 * 8);
    keyspace_destroy(ks);
}

#ifdef HAVE_JEMALLOC
static double bytes_per_key(bool deadlines) {
    size_t before = mem_used();
    struct keyspace *ks = make(false, NULL, NULL);
    char name[17], value[65] = "";
    memset(value, 'v', 64);
    for (int i = 0; i < 1000000; i++) {
        snprintf(name, sizeof name, "key:%012d", i);
        put(ks, name, value, deadlines ? START_MS + 100000 + (int64_t)((uint64_t)i * 2654435761u % 1000000) : -1);
    }
    double n = (double)(mem_used() - before) / 1e6;
    keyspace_destroy(ks);
    assert_int_equal(mem_used(), before);
    return n;
}

static void test_bytes_per_key_stay_within_their_bounds(void **state) {
    (void)state;
    double plain = bytes_per_key(false), with_deadline = bytes_per_key(true);
    print_message("%.1f bytes a key, %.1f more with a deadline\n", plain, with_deadline - plain);
    assert_true(plain <= 115);
    assert_true(with_deadline - plain <= 20);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_follow_the_model),
        cmocka_unit_test(test_changes_follow_the_model_with_slots),
        cmocka_unit_test(test_strings_have_the_encodings_clients_expect),
        cmocka_unit_test(test_overwriting_within_the_class_allocates_nothing),
        cmocka_unit_test(test_put_copies_bytes_that_lie_in_what_it_replaces),
        cmocka_unit_test(test_a_shared_block_is_copied_before_it_is_written),
        cmocka_unit_test(test_a_string_beyond_memory_is_refused_unchanged),
        cmocka_unit_test(test_detached_values_move_to_another_name),
        cmocka_unit_test(test_a_due_key_is_treated_as_the_mode_says),
        cmocka_unit_test(test_due_keys_go_earliest_first_over_all_databases),
        cmocka_unit_test(test_random_skips_due_keys),
        cmocka_unit_test(test_a_keyspace_takes_over_what_was_loaded_beside_it),
        cmocka_unit_test(test_databases_are_apart_and_can_be_swapped_and_flushed),
        cmocka_unit_test(test_far_databases_cost_nothing_until_used),
        cmocka_unit_test(test_big_values_are_freed_in_the_background_where_asked),
        cmocka_unit_test(test_scan_sees_every_key_that_stays),
        cmocka_unit_test(test_slots_keep_their_keys_together),
        cmocka_unit_test(test_upkeep_finishes_resizing_and_expect_avoids_it),
#ifdef HAVE_JEMALLOC
        cmocka_unit_test(test_bytes_per_key_stay_within_their_bounds),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
