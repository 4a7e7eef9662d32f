#include "config.h"

#include "tests/unit/store/fixture.h"

#include <stdio.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/base/rng.h"
#include "server/base/worker.h"
#include "server/store/hash.h"

/* What the keyspace announced. */
struct told {
    size_t fields, hashes, whole;
    char last[64]; /* the fields of the last announcement, joined */
};

static void on_fields_removed(void *ctx, unsigned db, const struct keyref *key, const struct slice *fields, size_t n) {
    struct told *t = ctx;
    (void)db;
    (void)key;
    t->fields += n;
    t->whole += fields == NULL;
    t->last[0] = '\0';
    for (size_t i = 0; fields != NULL && i < n; i++)
        if (strlen(t->last) + fields[i].n + 1 < sizeof t->last)
            strncat(t->last, fields[i].p, fields[i].n);
}

static void on_hash_removed(void *ctx, unsigned db, const struct keyref *key, enum keyspace_removal why) {
    struct told *t = ctx;
    (void)db;
    (void)key;
    t->hashes += why == KEYSPACE_FIELDS_EXPIRED;
}

static struct keyspace *make_hashes(struct told *told, struct worker *worker) {
    struct keyspace_options o = {.databases = 4, .rng_seed = 5, .lazyfree = worker};
    hash_key_init(&o.hash_key, "seed", 4);
    o.events = (struct store_events){.ctx = told, .removed = on_hash_removed, .fields_removed = on_fields_removed};
    struct keyspace *ks = keyspace_create(&o);
    keyspace_set_now_ms(ks, START_MS);
    return ks;
}

/* Gives a field of a hash, which is made where it is not there, a deadline (or FIELD_NO_DEADLINE). */
static void put_field(struct keyspace *ks, unsigned db, const char *name, const char *field, int64_t deadline_ms) {
    struct keyref k = ref(ks, name);
    struct entry *e = keyspace_find(ks, db, &k, KEYSPACE_LOOKUP_NOTOUCH);
    struct collection h = e != NULL ? collection_of(keyspace_rules(ks), e) : hash_create(keyspace_rules(ks));
    hash_put_until(&h, slice_cstr(field), SLICE_LIT("value"), deadline_ms);
    if (e == NULL) {
        keyspace_put(ks, db, &k, collection_value(VALUE_HASH, &h), KEYSPACE_NO_DEADLINE);
        return;
    }
    keyspace_set_object(ks, e, h.encoding, h.object);
    keyspace_fields_changed(ks, db, e);
}

static size_t count_of(struct keyspace *ks, unsigned db, const char *name) {
    struct keyref k = ref(ks, name);
    struct entry *e = keyspace_find(ks, db, &k, KEYSPACE_LOOKUP_NOTOUCH);
    if (e == NULL)
        return 0;
    struct collection h = collection_of(keyspace_rules(ks), e);
    return hash_live_count(&h, keyspace_field_now_ms(ks));
}

static void due_fields_go_and_the_hash_with_the_last(void **state) {
    (void)state;
    struct told told = {0};
    struct keyspace *ks = make_hashes(&told, NULL);
    put_field(ks, 0, "h", "a", START_MS + 10);
    put_field(ks, 0, "h", "b", START_MS + 5);
    put_field(ks, 0, "h", "c", START_MS + 100);
    keyspace_check(ks);
    assert_int_equal(keyspace_timed_hashes(ks, 0), 1);
    assert_int_equal(keyspace_next_deadline_ms(ks), START_MS + 5);
    keyspace_set_now_ms(ks, START_MS + 10); /* at the very millisecond a still lives */
    assert_int_equal(keyspace_expire_due(ks, 1000000), 1);
    assert_string_equal(told.last, "b");
    keyspace_set_now_ms(ks, START_MS + 11);
    assert_int_equal(count_of(ks, 0, "h"), 1);
    assert_string_equal(told.last, "a");
    keyspace_set_now_ms(ks, START_MS + 101);
    assert_int_equal(keyspace_expire_due(ks, 1000000), 1);
    assert_int_equal(told.fields, 3);
    assert_int_equal(told.hashes, 1);
    assert_int_equal(keyspace_size(ks, 0), 0);
    keyspace_check(ks);
    keyspace_destroy(ks);
}

static void a_hash_that_is_over_is_seen_by_nobody(void **state) {
    (void)state;
    for (int mode = 0; mode < 3; mode++) {
        struct told told = {0};
        struct keyspace *ks = make_hashes(&told, NULL);
        put_field(ks, 0, "h", "a", START_MS + 1);
        put_field(ks, 0, "h", "b", START_MS + 2);
        keyspace_set_now_ms(ks, START_MS + 3);
        keyspace_set_expiry(ks, (enum keyspace_expiry)mode);
        bool ignored = mode == KEYSPACE_EXPIRE_IGNORE;
        if (mode != KEYSPACE_EXPIRE_DELETE) {
            struct entry *e = keyspace_random(ks, 0);
            assert_int_equal(e != NULL, ignored);
            assert_int_equal(keyspace_expire_due(ks, 1000), 0);
        }
        assert_int_equal(count_of(ks, 0, "h"), ignored ? 2 : 0);
        assert_int_equal(keyspace_size(ks, 0), mode == KEYSPACE_EXPIRE_DELETE ? 0 : 1);
        assert_int_equal(told.whole, mode == KEYSPACE_EXPIRE_DELETE);
        assert_int_equal(told.hashes, mode == KEYSPACE_EXPIRE_DELETE);
        keyspace_check(ks);
        keyspace_destroy(ks);
    }
}

static void hashes_go_by_their_earliest_deadline(void **state) {
    (void)state;
    struct told told = {0};
    struct keyspace *ks = make_hashes(&told, NULL);
    char name[24];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "h%u", i);
        put_field(ks, i % 3, name, "stays", FIELD_NO_DEADLINE);
        snprintf(name + 16, 8, "%02u", i);
        put_field(ks, i % 3, name, name + 16, START_MS + 100 - i);
    }
    for (unsigned i = 0; i < 100; i++) {
        char expected[8];
        keyspace_set_now_ms(ks, START_MS + 2 + i);
        assert_int_equal(keyspace_expire_due(ks, 1000000), 1);
        snprintf(expected, sizeof expected, "%02u", 99 - i);
        assert_string_equal(told.last, expected);
    }
    keyspace_check(ks);
    keyspace_destroy(ks);
}

/* One step of a random history: every way in which an entry appears, moves or goes. */
static void random_step(struct keyspace *ks, struct rng *rng, int64_t *inout_now_ms) {
    char name[24], field[8];
    unsigned db = (unsigned)rng_below(rng, 3), other = (unsigned)rng_below(rng, 3);
    /* Of a length with which the entry moves when it gets a deadline, and of one with which it does not. */
    snprintf(name, sizeof name, rng_below(rng, 2) ? "h%u" : "a-long-name-%u", (unsigned)rng_below(rng, 6));
    snprintf(field, sizeof field, "f%u", (unsigned)rng_below(rng, 30));
    struct keyref k = ref(ks, name);
    struct entry *e = keyspace_find(ks, db, &k, KEYSPACE_LOOKUP_TOUCH);
    struct value v;
    int64_t deadline_ms;
    switch (rng_below(rng, 14)) {
    case 0:
        keyspace_delete(ks, db, &k, rng_below(rng, 2) == 0);
        break;
    case 1:
        if (e != NULL)
            keyspace_set_deadline(
                ks, db, &k, e, rng_below(rng, 2) ? KEYSPACE_NO_DEADLINE : *inout_now_ms + (int64_t)rng_below(rng, 500));
        break;
    case 2:
        if (keyspace_detach(ks, db, &k, &v, &deadline_ms)) {
            struct keyref to = ref(ks, field[1] == '1' ? "h1" : "elsewhere");
            keyspace_put(ks, other, &to, v, deadline_ms);
        }
        break;
    case 3:
        if (e != NULL && db != other)
            keyspace_put(ks, other, &k, value_copy(entry_value(e)), KEYSPACE_NO_DEADLINE);
        break;
    case 4:
        keyspace_put(ks, db, &k, value_string(SLICE_LIT("no hash")), KEYSPACE_NO_DEADLINE);
        keyspace_delete(ks, db, &k, false);
        break;
    case 5:
        keyspace_swap(ks, db, other);
        break;
    case 6:
        if (rng_below(rng, 20) == 0)
            keyspace_flush(ks, (int)db, rng_below(rng, 2) == 0);
        else
            keyspace_evict_one(ks, KEYSPACE_EVICT_ALLKEYS_RANDOM, 5);
        break;
    case 7:
        *inout_now_ms += (int64_t)rng_below(rng, 60);
        keyspace_set_now_ms(ks, *inout_now_ms);
        if (rng_below(rng, 2))
            keyspace_expire_due(ks, 1000000);
        break;
    case 8:
        if (e != NULL)
            keyspace_expire_fields(ks, db, &k, e);
        break;
    default:
        put_field(ks, db, name, field,
                  rng_below(rng, 3) ? *inout_now_ms + (int64_t)rng_below(rng, 300) : FIELD_NO_DEADLINE);
    }
}

static void the_index_stays_exact_whatever_happens(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct told told = {0};
        struct rng rng;
        rng_init(&rng, seed);
        struct worker *worker = seed % 2 ? worker_create("free") : NULL;
        struct keyspace *ks = make_hashes(&told, worker);
        keyspace_rules(ks)->limits.hash_max_listpack_entries = seed % 3 == 0 ? 512 : 8;
        int64_t now_ms = START_MS;
        for (int i = 0; i < 4000; i++) {
            random_step(ks, &rng, &now_ms);
            keyspace_check(ks);
        }
        assert_true(told.fields > 20 && told.hashes > 0);
        keyspace_destroy(ks);
        worker_destroy(worker);
    }
}

static void a_thousand_due_fields_among_a_million_go_at_once(void **state) {
    (void)state;
    struct told told = {0};
    struct keyspace *ks = make_hashes(&told, NULL);
    struct collection h = hash_create(keyspace_rules(ks));
    char field[NUM_I64_CHARS];
    for (int64_t i = 0; i < 1000000; i++) {
        size_t n = num_format_i64(field, i);
        hash_put_until(&h, slice_of(field, n), SLICE_LIT("value"), START_MS + (i % 1000 == 7 ? 1 : 3600000 + i));
    }
    struct keyref k = ref(ks, "big");
    keyspace_put(ks, 0, &k, collection_value(VALUE_HASH, &h), KEYSPACE_NO_DEADLINE);
    keyspace_set_now_ms(ks, START_MS + 2);
    int64_t begun = clock_mono_us();
    assert_int_equal(keyspace_expire_due(ks, INT64_MAX), 1000);
    assert_true(clock_mono_us() - begun < 500000);
    assert_int_equal(keyspace_expire_due(ks, INT64_MAX), 0);
    assert_int_equal(count_of(ks, 0, "big"), 999000);
    keyspace_destroy(ks);
}

static void a_look_removes_little_and_a_change_all(void **state) {
    (void)state;
    struct told told = {0};
    struct keyspace *ks = make_hashes(&told, NULL);
    char field[8];
    put_field(ks, 0, "h", "stays", FIELD_NO_DEADLINE);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(field, sizeof field, "f%u", i);
        put_field(ks, 0, "h", field, START_MS + 1);
    }
    keyspace_set_now_ms(ks, START_MS + 5);
    assert_int_equal(count_of(ks, 0, "h"), 1); /* due ones that are still there are not counted */
    assert_true(told.fields > 0 && told.fields < 1000);
    struct keyref k = ref(ks, "h");
    keyspace_expire_fields(ks, 0, &k, keyspace_find(ks, 0, &k, KEYSPACE_LOOKUP_NOTOUCH));
    assert_int_equal(told.fields, 1000);
    assert_int_equal(keyspace_timed_hashes(ks, 0), 0);
    keyspace_check(ks);
    keyspace_destroy(ks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due_fields_go_and_the_hash_with_the_last),
        cmocka_unit_test(a_hash_that_is_over_is_seen_by_nobody),
        cmocka_unit_test(hashes_go_by_their_earliest_deadline),
        cmocka_unit_test(the_index_stays_exact_whatever_happens),
        cmocka_unit_test(a_thousand_due_fields_among_a_million_go_at_once),
        cmocka_unit_test(a_look_removes_little_and_a_change_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
