#include "config.h"

#include "server/ds/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/mem.h"

/* Items are pointers into an array of numbers; the hash of a number is a mixed one, or a colliding one where a test
 * asks for it. */
#define UNIVERSE 20000
#define CHURNED 3000

static uint64_t numbers[UNIVERSE];
static bool present[UNIVERSE];

static uint64_t mix(uint64_t v) {
    v = (v ^ (v >> 31)) * UINT64_C(0x7fb5d329728ea185);
    v = (v ^ (v >> 27)) * UINT64_C(0x81dadef4bc2dd44d);
    return v ^ (v >> 33);
}

static uint64_t hash_of(const void *ctx, const void *item) {
    uint64_t colliding = *(const uint64_t *)ctx;
    return mix(*(const uint64_t *)item) & ~colliding;
}

static bool same(const void *item, const void *key) {
    return *(const uint64_t *)item == *(const uint64_t *)key;
}

static const struct table_ops ops = {.match = same, .hash = hash_of};

static void **find(const struct table *t, const struct table_policy *policy, uint64_t n) {
    return table_find(t, &ops, hash_of(policy->ctx, &n), &n);
}

static void add(struct table *t, const struct table_policy *policy, uint64_t n) {
    assert_null(find(t, policy, n));
    void **slot = table_insert(t, &ops, policy, hash_of(policy->ctx, &n), &numbers[n]);
    assert_ptr_equal(*slot, &numbers[n]);
    present[n] = true;
}

static void take(struct table *t, const struct table_policy *policy, uint64_t n) {
    void **slot = find(t, policy, n);
    assert_non_null(slot);
    table_remove(t, &ops, policy, hash_of(policy->ctx, &n), slot);
    present[n] = false;
}

static int setup(void **state) {
    (void)state;
    for (uint64_t i = 0; i < UNIVERSE; i++)
        numbers[i] = i;
    memset(present, 0, sizeof present);
    return 0;
}

static int count_item(void *arg, void *item) {
    assert_true(present[*(uint64_t *)item]);
    ++*(size_t *)arg;
    return 0;
}

static void compare_all(const struct table *t, const struct table_policy *policy) {
    size_t expected = 0, seen = 0;
    for (uint64_t i = 0; i < UNIVERSE; i++) {
        void **slot = find(t, policy, i);
        assert_int_equal(slot != NULL, present[i]);
        expected += present[i];
    }
    assert_int_equal(t->used, expected);
    assert_int_equal(table_each(t, count_item, &seen), 0);
    assert_int_equal(seen, expected);
}

/* Random changes that swell and shrink the table, checked against an array of flags. */
static void churn(uint64_t seed, uint64_t colliding, size_t steps) {
    struct rng rng;
    struct table t = {0};
    struct table_policy policy = {.ctx = &colliding};
    size_t bound = UNIVERSE / 64, grown = 0, grown_frozen = 0;
    rng_init(&rng, seed);
    memset(present, 0, sizeof present);
    for (size_t i = 0; i < steps; i++) {
        if (i % 9973 == 0) {
            policy.resizing = rng_below(&rng, 4) == 0 ? TABLE_RESIZE_AVOID : TABLE_RESIZE_FREELY;
            static const size_t bounds[] = {0, 0, 16, 300, CHURNED};
            bound = bounds[rng_below(&rng, 5)];
        }
        uint64_t n = rng_below(&rng, bound == 0 || rng_below(&rng, 2) == 0 ? CHURNED : bound);
        uint64_t was_mask = t.masks[0] | t.masks[1];
        if (present[n] && (n >= bound || rng_below(&rng, 3) == 0))
            take(&t, &policy, n);
        else if (!present[n] && n < bound)
            add(&t, &policy, n);
        if ((t.masks[0] | t.masks[1]) > was_mask) {
            grown++;
            grown_frozen += policy.resizing == TABLE_RESIZE_AVOID;
        }
        if (rng_below(&rng, 64) == 0)
            (void)table_step(&t, &ops, &colliding, 1 + rng_below(&rng, 4));
        if (t.used < 512 || i % 64 == 0)
            table_check(&t, &ops, &colliding);
    }
    compare_all(&t, &policy);
    assert_true(grown > 8);
    assert_true(grown_frozen < grown);
    policy.resizing = TABLE_RESIZE_FREELY;
    for (uint64_t n = 0; n < UNIVERSE; n++)
        if (present[n])
            take(&t, &policy, n);
    while (table_step(&t, &ops, &colliding, 64) || table_resize_if_due(&t, &ops, &policy)) {
    }
    table_check(&t, &ops, &colliding);
    assert_true(table_bytes(&t) <= 4 * 64);
    table_clear(&t, NULL, NULL);
    assert_int_equal(t.used, 0);
}

static void test_random_changes_follow_the_model(void **state) {
    (void)state;
    size_t before = mem_used();
    for (uint64_t seed = 1; seed <= 4; seed++)
        churn(seed, 0, 200000);
    assert_int_equal(mem_used(), before);
}

static void test_colliding_tags_and_buckets_follow_the_model(void **state) {
    (void)state;
    churn(11, UINT64_C(0xff00000000000000), 200000); /* equal tags */
    churn(12, UINT64_C(0x1e), 100000);               /* few buckets, long chains */
}

static void test_resizing_is_spread_over_changes(void **state) {
    (void)state;
    struct table t = {0};
    uint64_t colliding = 0;
    struct table_policy policy = {.ctx = &colliding};
    size_t while_resizing = 0;
    for (uint64_t n = 0; n < UNIVERSE; n++) {
        uint64_t moved = t.moved;
        add(&t, &policy, n);
        if (table_is_resizing(&t)) {
            while_resizing++;
            assert_true(t.moved - moved <= 17);
        }
    }
    assert_true(while_resizing > UNIVERSE / 16);
    table_clear(&t, NULL, NULL);
}

static void test_avoiding_keeps_the_array_up_to_four_times_the_load(void **state) {
    (void)state;
    struct table t = {0};
    uint64_t colliding = 0;
    struct table_policy policy = {.ctx = &colliding};
    for (uint64_t n = 0; n < 512; n++)
        add(&t, &policy, n);
    while (table_step(&t, &ops, &colliding, 64)) {
    }
    uint64_t mask = t.masks[0];
    size_t limit = (mask + 1) * 6 * TABLE_AVOID_LOAD;
    policy.resizing = TABLE_RESIZE_AVOID;
    uint64_t n = 512;
    while (t.used < limit) {
        add(&t, &policy, n++);
        assert_false(table_is_resizing(&t));
    }
    assert_int_equal(t.masks[0], mask);
    for (int i = 0; i < 8; i++)
        add(&t, &policy, n++);
    assert_true(table_is_resizing(&t));
    table_check(&t, &ops, &colliding);
    compare_all(&t, &policy);
    /* Nothing shrinks either. */
    while (n-- > 8)
        take(&t, &policy, n);
    assert_true(t.masks[0] >= mask);
    table_clear(&t, NULL, NULL);
}

static void mark(void *arg, void *item) {
    ((uint8_t *)arg)[*(uint64_t *)item] = 1;
}

/* What stays during a whole scan is seen, while other items come and go and the table grows and shrinks between the
 * steps. */
static void scan_under_changes(uint64_t seed, bool grow) {
    static uint8_t seen[UNIVERSE];
    struct rng rng;
    struct table t = {0};
    uint64_t colliding = 0, cursor = 0;
    struct table_policy policy = {.ctx = &colliding};
    const uint64_t stay = 300;
    rng_init(&rng, seed);
    memset(present, 0, sizeof present);
    memset(seen, 0, sizeof seen);
    size_t others = grow ? 0 : 12000;
    for (uint64_t n = 0; n < stay + others; n++)
        add(&t, &policy, n);
    uint64_t next = stay + others;
    uint64_t first_mask = t.masks[0];
    do {
        cursor = table_scan(&t, cursor, mark, seen);
        uint64_t changes = rng_below(&rng, 100);
        for (uint64_t i = 0; i < changes; i++) {
            if (grow && next < UNIVERSE)
                add(&t, &policy, next++);
            else if (!grow && next > stay)
                take(&t, &policy, --next);
        }
        if (rng_below(&rng, 4) == 0)
            (void)table_step(&t, &ops, &colliding, rng_below(&rng, 32));
    } while (cursor != 0);
    assert_true(grow ? t.masks[0] > first_mask : t.masks[0] < first_mask);
    for (uint64_t n = 0; n < stay; n++)
        assert_true(seen[n]);
    table_clear(&t, NULL, NULL);
}

static void test_scan_sees_what_stays_while_the_table_grows(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++)
        scan_under_changes(seed, true);
}

static void test_scan_sees_what_stays_while_the_table_shrinks(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++)
        scan_under_changes(seed, false);
}

static void test_scan_survives_any_cursor(void **state) {
    (void)state;
    struct table t = {0};
    static uint8_t seen[UNIVERSE];
    uint64_t colliding = 0;
    struct table_policy policy = {.ctx = &colliding};
    assert_int_equal(table_scan(&t, UINT64_MAX, mark, seen), 0);
    for (uint64_t n = 0; n < 5000; n++)
        add(&t, &policy, n);
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < 1000; i++) {
        uint64_t cursor = rng_u64(&rng);
        for (int steps = 0; cursor != 0; steps++) {
            cursor = table_scan(&t, cursor, mark, seen);
            assert_true(steps < 5000);
        }
    }
    table_clear(&t, NULL, NULL);
}

static void test_random_items_are_drawn_evenly(void **state) {
    (void)state;
    struct rng rng;
    struct table t = {0};
    uint64_t colliding = 0;
    struct table_policy policy = {.ctx = &colliding};
    const uint64_t items = 100;
    const unsigned draws = 100000;
    unsigned counts[100] = {0};
    rng_init(&rng, 7);
    assert_null(table_random(&t, &rng));
    for (uint64_t n = 0; n < items; n++)
        add(&t, &policy, n);
    for (unsigned i = 0; i < draws; i++)
        counts[*(uint64_t *)table_random(&t, &rng)]++;
    for (uint64_t n = 0; n < items; n++)
        assert_in_range(counts[n], draws / items * 2 / 3, draws / items * 3 / 2);
    void *sample[100];
    for (int i = 0; i < 100; i++) {
        memset(counts, 0, sizeof counts);
        size_t got = table_sample(&t, &rng, sample, 40);
        assert_in_range(got, 1, 40);
        for (size_t k = 0; k < got; k++)
            assert_int_equal(counts[*(uint64_t *)sample[k]]++, 0);
    }
    assert_int_equal(table_sample(&t, &rng, sample, 100), 100);
    table_clear(&t, NULL, NULL);
}

static void test_expect_makes_room_and_refuses_absurd_sizes(void **state) {
    (void)state;
    struct table t = {0};
    uint64_t colliding = 0;
    struct table_policy policy = {.ctx = &colliding};
    assert_int_equal(table_try_expect(&t, &ops, &colliding, SIZE_MAX), -1);
    assert_int_equal(table_try_expect(&t, &ops, &colliding, SIZE_MAX / 64), -1);
    table_check(&t, &ops, &colliding);
    add(&t, &policy, 0);
    assert_int_equal(table_try_expect(&t, &ops, &colliding, SIZE_MAX), -1);
    assert_int_equal(table_try_expect(&t, &ops, &colliding, UNIVERSE), 0);
    uint64_t mask = t.masks[0];
    for (uint64_t n = 1; n < UNIVERSE; n++)
        add(&t, &policy, n);
    assert_int_equal(t.masks[0], mask);
    assert_false(table_is_resizing(&t));
    table_check(&t, &ops, &colliding);
    table_clear(&t, NULL, NULL);
}

static void drop(void *arg, void *item) {
    assert_true(present[*(uint64_t *)item]);
    present[*(uint64_t *)item] = false;
    ++*(size_t *)arg;
}

static void test_clear_hands_out_every_item_once(void **state) {
    (void)state;
    struct table t = {0};
    uint64_t colliding = 0;
    struct table_policy policy = {.ctx = &colliding};
    size_t dropped = 0, before = mem_used();
    for (uint64_t n = 0; n < 9000 || !table_is_resizing(&t); n++)
        add(&t, &policy, n);
    size_t used = t.used;
    table_clear(&t, drop, &dropped);
    assert_int_equal(dropped, used);
    assert_int_equal(mem_used(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_random_changes_follow_the_model, setup),
        cmocka_unit_test_setup(test_colliding_tags_and_buckets_follow_the_model, setup),
        cmocka_unit_test_setup(test_resizing_is_spread_over_changes, setup),
        cmocka_unit_test_setup(test_avoiding_keeps_the_array_up_to_four_times_the_load, setup),
        cmocka_unit_test_setup(test_scan_sees_what_stays_while_the_table_grows, setup),
        cmocka_unit_test_setup(test_scan_sees_what_stays_while_the_table_shrinks, setup),
        cmocka_unit_test_setup(test_scan_survives_any_cursor, setup),
        cmocka_unit_test_setup(test_random_items_are_drawn_evenly, setup),
        cmocka_unit_test_setup(test_expect_makes_room_and_refuses_absurd_sizes, setup),
        cmocka_unit_test_setup(test_clear_hands_out_every_item_once, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
