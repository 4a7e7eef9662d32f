#include "config.h"

#include "server/store/deadline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/mem.h"

#define ITEMS 300000

static struct deadline_item *items;
static bool *in;

static int setup(void **state) {
    (void)state;
    items = calloc(ITEMS, sizeof *items);
    in = calloc(ITEMS, sizeof *in);
    return items == NULL || in == NULL;
}

static int teardown(void **state) {
    (void)state;
    free(items);
    free(in);
    return 0;
}

static void insert(struct deadline_index *x, size_t i, int64_t deadline_ms) {
    items[i].deadline_ms = deadline_ms;
    deadline_insert(x, &items[i]);
    in[i] = true;
}

static void take(struct deadline_index *x, size_t i) {
    deadline_remove(x, &items[i], items[i].deadline_ms);
    in[i] = false;
    items[i].deadline_ms = -7; /* the index does not look at it again */
}

static void replace(struct deadline_index *x, size_t was, size_t now) {
    items[now].deadline_ms = items[was].deadline_ms;
    items[was].deadline_ms = -7;
    deadline_replace(x, &items[was], &items[now]);
    in[was] = false;
    in[now] = true;
}

static int count(void *arg, struct deadline_item *item) {
    assert_true(in[item - items]);
    ++*(size_t *)arg;
    return 0;
}

static void compare(struct deadline_index *x, size_t n) {
    size_t expected = 0, seen = 0;
    __int128 sum = 0;
    const struct deadline_item *first = NULL, *last = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!in[i])
            continue;
        expected++;
        sum += items[i].deadline_ms;
        if (first == NULL || items[i].deadline_ms < first->deadline_ms)
            first = &items[i];
        if (last == NULL || items[i].deadline_ms >= last->deadline_ms)
            last = &items[i];
    }
    assert_int_equal(x->used, expected);
    deadline_each(x, count, &seen);
    assert_int_equal(seen, expected);
    assert_ptr_equal(deadline_first(x), first);
    assert_ptr_equal(deadline_last(x), last);
    assert_int_equal(deadline_mean_ms(x), expected == 0 ? 0 : (int64_t)(sum / (__int128)expected));
    deadline_check(x);
}

static void churn(uint64_t seed, size_t n, int64_t range, size_t steps) {
    struct rng rng;
    struct deadline_index x = {0};
    size_t before = mem_used();
    rng_init(&rng, seed);
    memset(in, 0, n * sizeof *in);
    uint64_t fill = 4;
    for (size_t s = 0; s < steps; s++) {
        if (s % 4096 == 0)
            fill = rng_below(&rng, 9);
        size_t i = rng_below(&rng, n), k = rng_below(&rng, n);
        if (!in[i]) {
            if (rng_below(&rng, 8) < fill)
                insert(&x, i, (int64_t)rng_below(&rng, (uint64_t)range));
        } else if (!in[k] && rng_below(&rng, 3) == 0) {
            replace(&x, i, k);
        } else if (rng_below(&rng, 8) >= fill) {
            take(&x, i);
        }
        if (s % 256 == 0)
            (void)deadline_first(&x);
        if (x.used < 200 || s % 1024 == 0)
            deadline_check(&x);
    }
    compare(&x, n);
    for (size_t i = 0; i < n; i++)
        if (in[i])
            take(&x, i);
    deadline_check(&x);
    assert_null(x.root);
    deadline_clear(&x);
    assert_int_equal(mem_used(), before);
}

static void test_random_changes_follow_the_model(void **state) {
    (void)state;
    churn(1, 30, 1000, 100000);
    churn(2, 3000, INT64_C(1) << 60, 200000);
    churn(3, 20000, 1 << 30, 300000);
    churn(4, 20000, 10, 300000);
}

static void test_hundreds_of_thousands_of_equal_deadlines(void **state) {
    (void)state;
    struct deadline_index x = {0};
    struct rng rng;
    rng_init(&rng, 5);
    for (size_t i = 0; i < ITEMS; i++)
        insert(&x, i * 7919 % ITEMS, 1000);
    compare(&x, ITEMS);
    assert_true(deadline_bytes(&x) <= ITEMS * 20);
    for (size_t i = 0; i < ITEMS; i += 2)
        take(&x, i);
    for (size_t i = 1; i < ITEMS; i += 4)
        replace(&x, i, i - 1);
    compare(&x, ITEMS);
    deadline_clear(&x);
    assert_int_equal(x.used, 0);
}

static void test_rising_deadlines_fill_the_leaves(void **state) {
    (void)state;
    struct deadline_index x = {0};
    for (size_t i = 0; i < ITEMS; i++)
        insert(&x, i, (int64_t)i);
    assert_true(deadline_bytes(&x) <= ITEMS * 11);
    compare(&x, ITEMS);
    deadline_clear(&x);
}

static void test_due_items_come_earliest_first(void **state) {
    (void)state;
    struct deadline_index x = {0};
    struct deadline_item *due[DEADLINE_LEAF_ITEMS];
    assert_int_equal(deadline_due(&x, INT64_MAX, due), 0);
    for (size_t i = 0; i < 10000; i++)
        insert(&x, i, (int64_t)(i * 7919 % 10000) / 2);
    int64_t last = -1;
    size_t n, total = 0;
    while ((n = deadline_due(&x, 3000, due)) != 0)
        for (size_t i = 0; i < n; i++) {
            assert_true(due[i]->deadline_ms >= last && due[i]->deadline_ms < 3000);
            last = due[i]->deadline_ms;
            take(&x, (size_t)(due[i] - items));
            total++;
        }
    assert_int_equal(total, 6000);
    assert_int_equal(deadline_first(&x)->deadline_ms, 3000);
    deadline_check(&x);
    deadline_clear(&x);
}

static void test_random_items_are_drawn_evenly(void **state) {
    (void)state;
    struct deadline_index x = {0};
    struct rng rng;
    static unsigned counts[5000];
    rng_init(&rng, 3);
    assert_null(deadline_random(&x, &rng));
    for (size_t i = 0; i < 5000; i++)
        insert(&x, i, (int64_t)(i * 7919 % 5000));
    for (size_t i = 0; i < 1000; i++)
        take(&x, i);
    for (unsigned i = 0; i < 400000; i++)
        counts[deadline_random(&x, &rng) - items]++;
    for (size_t i = 1000; i < 5000; i++)
        assert_in_range(counts[i], 50, 160);
    deadline_clear(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_changes_follow_the_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hundreds_of_thousands_of_equal_deadlines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rising_deadlines_fill_the_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_due_items_come_earliest_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_items_are_drawn_evenly, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
