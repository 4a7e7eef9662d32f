#include "config.h"

#include "server/store/keyspace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "tests/unit/store/fixture.h"

/* ---- the access clock ---- */

static void test_idle_time_and_frozen_clock(void **state) {
    (void)state;
    struct keyspace *ks = make(false, NULL, NULL);
    struct entry *e = put(ks, "k", "v", -1);
    struct keyref k = ref(ks, "k");
    int64_t now = START_MS + 30000;
    keyspace_set_now_ms(ks, now);
    assert_int_equal(entry_idle_s(e, now), 30);
    keyspace_find(ks, 0, &k, KEYSPACE_LOOKUP_NOTOUCH);
    keyspace_set_frozen(ks, true);
    keyspace_find(ks, 0, &k, KEYSPACE_LOOKUP_TOUCH);
    assert_int_equal(entry_idle_s(e, now), 30);
    keyspace_set_frozen(ks, false);
    keyspace_find(ks, 0, &k, KEYSPACE_LOOKUP_TOUCH);
    assert_int_equal(entry_idle_s(e, now), 0);
    keyspace_set_access(ks, e, 1234, -1);
    assert_int_equal(entry_idle_s(e, now), 1234);
    keyspace_set_access(ks, e, -1, 5);
    assert_int_equal(entry_idle_s(e, now), 1234);
    keyspace_set_access(ks, e, INT64_MAX, -1);
    assert_int_equal(entry_idle_s(e, now), 0xffffff);
    keyspace_destroy(ks);
}

static void test_lfu_counter_rises_slowly_and_decays(void **state) {
    (void)state;
    struct keyspace *ks = make(false, NULL, NULL);
    keyspace_set_clock(ks, KEYSPACE_CLOCK_LFU, 10, 1);
    struct entry *e = put(ks, "k", "v", -1);
    struct keyref k = ref(ks, "k");
    assert_int_equal(entry_lfu_counter(e, START_MS, 1), 5);
    for (int i = 0; i < 1000; i++)
        keyspace_find(ks, 0, &k, KEYSPACE_LOOKUP_TOUCH);
    uint8_t counter = entry_lfu_counter(e, START_MS, 1);
    assert_in_range(counter, 12, 26); /* 18 in the mean, as the table in redis.conf has it */
    assert_int_equal(entry_lfu_counter(e, START_MS + 3 * 60000, 1), counter - 3);
    assert_int_equal(entry_lfu_counter(e, START_MS + 3 * 60000, 3), counter - 1);
    assert_int_equal(entry_lfu_counter(e, START_MS + 3 * 60000, 0), counter);
    assert_int_equal(entry_lfu_counter(e, START_MS + 600 * 60000, 1), 0);
    keyspace_set_access(ks, e, -1, 200);
    assert_int_equal(entry_lfu_counter(e, START_MS, 1), 200);
    keyspace_destroy(ks);
}

/* ---- eviction ---- */

#define EVICT_KEYS 2000

/* Key i was used i seconds after the start, the odd ones have a deadline; the later half is left when half is evicted,
 * mostly. */
static struct keyspace *make_evictable(struct seen *seen, bool slots, enum keyspace_clock clock) {
    struct keyspace *ks = make(slots, seen, NULL);
    char name[32];
    keyspace_set_clock(ks, clock, 10, 1);
    for (int i = 0; i < EVICT_KEYS; i++) {
        snprintf(name, sizeof name, "%d", i);
        keyspace_set_now_ms(ks, clock == KEYSPACE_CLOCK_LRU ? START_MS + i * 1000 : START_MS);
        struct entry *e = put(ks, name, "v", i % 2 ? START_MS * 2 - i : -1);
        keyspace_set_access(ks, e, -1, i / 8);
    }
    return ks;
}

static int key_number(const char *name) {
    return atoi(name);
}

static void evict_half(enum keyspace_policy policy, enum keyspace_clock clock, bool slots, int *ret_old,
                       int *ret_volatile) {
    struct seen seen = {0};
    struct keyspace *ks = make_evictable(&seen, slots, clock);
    *ret_old = *ret_volatile = 0;
    for (int i = 0; i < EVICT_KEYS / 4; i++) {
        assert_true(keyspace_evict_one(ks, policy, 5));
        *ret_old += key_number(seen.last) < EVICT_KEYS / 2;
        *ret_volatile += key_number(seen.last) % 2;
    }
    assert_int_equal(seen.evicted, EVICT_KEYS / 4);
    assert_int_equal(keyspace_size(ks, 0), EVICT_KEYS - EVICT_KEYS / 4);
    keyspace_check(ks);
    while (keyspace_evict_one(ks, policy, 5)) {
    }
    bool all = policy >= KEYSPACE_EVICT_ALLKEYS_LRU;
    assert_int_equal(keyspace_size(ks, 0), all ? 0 : EVICT_KEYS / 2);
    keyspace_destroy(ks);
}

static void test_eviction_prefers_the_longest_unused_and_the_least_used(void **state) {
    (void)state;
    int old, of_volatile;
    for (int slots = 0; slots < 2; slots++) {
        evict_half(KEYSPACE_EVICT_ALLKEYS_LRU, KEYSPACE_CLOCK_LRU, slots, &old, &of_volatile);
        assert_in_range(old, 450, 500);
        evict_half(KEYSPACE_EVICT_ALLKEYS_LFU, KEYSPACE_CLOCK_LFU, slots, &old, &of_volatile);
        assert_in_range(old, 450, 500);
        evict_half(KEYSPACE_EVICT_VOLATILE_LRU, KEYSPACE_CLOCK_LRU, slots, &old, &of_volatile);
        assert_in_range(old, 400, 500);
        assert_int_equal(of_volatile, 500);
        evict_half(KEYSPACE_EVICT_VOLATILE_LFU, KEYSPACE_CLOCK_LFU, slots, &old, &of_volatile);
        assert_in_range(old, 400, 500);
        assert_int_equal(of_volatile, 500);
    }
}

static void test_random_eviction_has_no_preference(void **state) {
    (void)state;
    int old, of_volatile;
    evict_half(KEYSPACE_EVICT_ALLKEYS_RANDOM, KEYSPACE_CLOCK_LRU, false, &old, &of_volatile);
    assert_in_range(old, 190, 310);
    assert_in_range(of_volatile, 190, 310);
    evict_half(KEYSPACE_EVICT_VOLATILE_RANDOM, KEYSPACE_CLOCK_LRU, false, &old, &of_volatile);
    assert_in_range(old, 190, 310);
    assert_int_equal(of_volatile, 500);
}

static void test_ttl_eviction_takes_the_earliest_exactly(void **state) {
    (void)state;
    struct seen seen = {0};
    struct keyspace *ks = make_evictable(&seen, false, KEYSPACE_CLOCK_LRU);
    for (int i = EVICT_KEYS - 1; i > 0; i -= 2) {
        assert_true(keyspace_evict_one(ks, KEYSPACE_EVICT_VOLATILE_TTL, 5));
        assert_int_equal(key_number(seen.last), i);
    }
    assert_false(keyspace_evict_one(ks, KEYSPACE_EVICT_VOLATILE_TTL, 5));
    assert_false(keyspace_evict_one(ks, KEYSPACE_EVICT_NONE, 5));
    keyspace_destroy(ks);
}

static void test_a_candidate_that_was_used_again_is_spared(void **state) {
    (void)state;
    struct seen seen = {0};
    struct keyspace *ks = make(false, &seen, NULL);
    char name[32];
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "old:%d", i);
        put(ks, name, "v", -1);
    }
    keyspace_set_now_ms(ks, START_MS + 100000);
    assert_true(keyspace_evict_one(ks, KEYSPACE_EVICT_ALLKEYS_LRU, 64)); /* all are in the pool now */
    keyspace_set_now_ms(ks, START_MS + 200000);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "idle:%d", i);
        put(ks, name, "v", -1);
    }
    keyspace_set_now_ms(ks, START_MS + 201000);
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "old:%d", i);
        find(ks, name);
    }
    for (int i = 0; i < 10; i++) {
        assert_true(keyspace_evict_one(ks, KEYSPACE_EVICT_ALLKEYS_LRU, 5));
        assert_memory_equal(seen.last, "idle", 4);
    }
    keyspace_destroy(ks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_time_and_frozen_clock),
        cmocka_unit_test(test_lfu_counter_rises_slowly_and_decays),
        cmocka_unit_test(test_eviction_prefers_the_longest_unused_and_the_least_used),
        cmocka_unit_test(test_random_eviction_has_no_preference),
        cmocka_unit_test(test_ttl_eviction_takes_the_earliest_exactly),
        cmocka_unit_test(test_a_candidate_that_was_used_again_is_spared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
