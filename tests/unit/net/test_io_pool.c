#include "config.h"

#include "server/net/io_pool.h"

#include "tests/support/unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "server/base/mem.h"

#define ITEMS 500

struct item {
    unsigned runs; /* plain: only one thread at a time may touch an item */
    unsigned long arg_sum;
    pthread_t by;
};

static void run_item(void *p, void *arg) {
    struct item *item = p;
    item->runs++;
    item->arg_sum += *(unsigned long *)arg;
    item->by = pthread_self();
}

static void every_item_runs_exactly_once_a_run(void **state) {
    (void)state;
    static const unsigned threads[] = {1, 2, 3, 8};
    for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
        struct io_pool *pool = io_pool_create(threads[t]);
        assert_int_equal(io_pool_threads(pool), threads[t]);
        struct item *items = mem_calloc(ITEMS, sizeof *items);
        void *pointers[ITEMS];
        for (size_t i = 0; i < ITEMS; i++)
            pointers[i] = &items[i];
        unsigned long sum = 0;
        /* Many short runs, back to back: helpers come late to one and find the next. */
        unsigned runs_of[ITEMS] = {0};
        for (unsigned long run = 1; run <= 2000; run++) {
            size_t n = run * 7 % 40;
            if (run % 100 == 0)
                n = ITEMS;
            io_pool_run(pool, pointers, n, run_item, &run);
            sum += run * n;
            for (size_t i = 0; i < n; i++)
                runs_of[i]++;
        }
        unsigned long got = 0;
        for (size_t i = 0; i < ITEMS; i++) {
            assert_int_equal(items[i].runs, runs_of[i]);
            got += items[i].arg_sum;
        }
        assert_int_equal(got, sum);
        if (threads[t] == 1)
            assert_int_equal(io_pool_offloaded(pool), 0);
        io_pool_destroy(pool);
        mem_free(items);
    }
    io_pool_destroy(NULL);
}

static atomic_uint met;

/* Returns once two threads are inside. */
static void meet(void *p, void *arg) {
    (void)p;
    (void)arg;
    atomic_fetch_add(&met, 1);
    for (int i = 0; i < 10000 && atomic_load(&met) < 2; i++)
        usleep(1000);
}

static void helpers_take_a_share_after_sleeping(void **state) {
    (void)state;
    struct io_pool *pool = io_pool_create(2);
    usleep(50000); /* longer than anybody spins */
    void *items[8] = {0};
    atomic_store(&met, 0);
    io_pool_run(pool, items, 8, meet, NULL);
    assert_int_equal(atomic_load(&met), 8);
    assert_true(io_pool_offloaded(pool) >= 1);
    assert_true(io_pool_offloaded(pool) <= 7);
    io_pool_destroy(pool);
}

static void few_items_run_on_the_callers_thread(void **state) {
    (void)state;
    struct io_pool *pool = io_pool_create(4);
    struct item item = {0};
    void *items[1] = {&item};
    unsigned long one = 1;
    io_pool_run(pool, items, 0, run_item, &one);
    assert_int_equal(item.runs, 0);
    io_pool_run(pool, items, 1, run_item, &one);
    assert_true(pthread_equal(item.by, pthread_self()));
    io_pool_destroy(pool);
}

static void slow_item(void *p, void *arg) {
    usleep(2000);
    run_item(p, arg);
}

static void the_caller_waits_for_slow_helpers(void **state) {
    (void)state;
    struct io_pool *pool = io_pool_create(4);
    struct item items[16] = {0};
    void *pointers[16];
    for (int i = 0; i < 16; i++)
        pointers[i] = &items[i];
    unsigned long one = 1;
    for (unsigned run = 1; run <= 20; run++) {
        io_pool_run(pool, pointers, 16, slow_item, &one);
        for (int i = 0; i < 16; i++)
            assert_int_equal(items[i].runs, run);
    }
    io_pool_destroy(pool);
}

static atomic_ulong signals_on_helpers;
static pthread_t main_thread;

static void on_signal(int sig) {
    (void)sig;
    if (!pthread_equal(pthread_self(), main_thread))
        atomic_fetch_add(&signals_on_helpers, 1);
}

static void signals_stay_on_the_callers_thread(void **state) {
    (void)state;
    main_thread = pthread_self();
    struct sigaction action = {.sa_handler = on_signal}, old;
    sigaction(SIGUSR1, &action, &old);
    struct io_pool *pool = io_pool_create(4);
    for (int i = 0; i < 50; i++)
        kill(getpid(), SIGUSR1);
    io_pool_destroy(pool);
    sigaction(SIGUSR1, &old, NULL);
    assert_int_equal(atomic_load(&signals_on_helpers), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_exactly_once_a_run),  cmocka_unit_test(helpers_take_a_share_after_sleeping),
        cmocka_unit_test(few_items_run_on_the_callers_thread), cmocka_unit_test(the_caller_waits_for_slow_helpers),
        cmocka_unit_test(signals_stay_on_the_callers_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
