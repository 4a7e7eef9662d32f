#include "config.h"

#include "server/net/loop.h"

#include "tests/support/unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mem.h"

static struct loop *loop;

static int setup(void **state) {
    (void)state;
    loop = loop_create();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    loop_destroy(loop);
    return 0;
}

static void pair(int fds[2]) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void put(int fd) {
    assert_int_equal(write(fd, "x", 1), 1);
}

static void take(int fd) {
    char c;
    assert_int_equal(read(fd, &c, 1), 1);
}

struct seen {
    int calls;
    unsigned events;
    int other_fd; /* forgotten or closed by the handler */
    struct seen *other;
};

static void note(struct loop *l, int fd, unsigned events, void *arg) {
    (void)l;
    (void)fd;
    struct seen *s = arg;
    s->calls++;
    s->events = events;
}

static void readable_and_writable_are_told_apart(void **state) {
    (void)state;
    int fds[2];
    pair(fds);
    struct seen s = {0};
    assert_int_equal(loop_watch(loop, fds[0], LOOP_READABLE, note, &s), 0);
    assert_int_equal(loop_run_once(loop, 0), 0);
    put(fds[1]);
    assert_int_equal(loop_run_once(loop, 1000), 1);
    assert_int_equal(s.events, LOOP_READABLE);
    /* Level-triggered: what is not read shows again. */
    assert_int_equal(loop_run_once(loop, 1000), 1);
    assert_int_equal(s.calls, 2);
    assert_int_equal(loop_watch(loop, fds[0], LOOP_READABLE | LOOP_WRITABLE, note, &s), 0);
    assert_int_equal(loop_run_once(loop, 1000), 1);
    assert_int_equal(s.events, LOOP_READABLE | LOOP_WRITABLE);
    assert_int_equal(loop_watch(loop, fds[0], LOOP_WRITABLE, note, &s), 0);
    assert_int_equal(loop_run_once(loop, 1000), 1);
    assert_int_equal(s.events, LOOP_WRITABLE);
    assert_int_equal(loop_watch(loop, fds[0], 0, NULL, NULL), 0);
    assert_int_equal(loop_run_once(loop, 0), 0);
    close(fds[0]);
    close(fds[1]);
}

static void a_hang_up_shows_as_both(void **state) {
    (void)state;
    int fds[2];
    pair(fds);
    struct seen s = {0};
    assert_int_equal(loop_watch(loop, fds[0], LOOP_READABLE, note, &s), 0);
    close(fds[1]);
    assert_int_equal(loop_run_once(loop, 1000), 1);
    assert_int_equal(s.events, LOOP_READABLE | LOOP_WRITABLE);
    loop_forget(loop, fds[0]);
    close(fds[0]);
}

static void a_bad_descriptor_is_an_error(void **state) {
    (void)state;
    int fds[2];
    pair(fds);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(loop_watch(loop, fds[0], LOOP_READABLE, note, NULL), -EBADF);
    assert_int_equal(loop_run_once(loop, 0), 0);
    loop_forget(loop, fds[0]);
    loop_forget(loop, -1);
    loop_forget(loop, 100000);
}

static void forget_other(struct loop *l, int fd, unsigned events, void *arg) {
    struct seen *s = arg;
    note(l, fd, events, s);
    loop_forget(l, s->other_fd);
    s->other->other = NULL;
}

static void an_event_of_a_descriptor_forgotten_in_the_same_cycle_is_dropped(void **state) {
    (void)state;
    int a[2], b[2];
    pair(a);
    pair(b);
    struct seen sa = {.other_fd = b[0]}, sb = {.other_fd = a[0]};
    sa.other = &sb;
    sb.other = &sa;
    assert_int_equal(loop_watch(loop, a[0], LOOP_READABLE, forget_other, &sa), 0);
    assert_int_equal(loop_watch(loop, b[0], LOOP_READABLE, forget_other, &sb), 0);
    put(a[1]);
    put(b[1]);
    assert_int_equal(loop_run_once(loop, 1000), 1);
    assert_int_equal(sa.calls + sb.calls, 1);
    for (int i = 0; i < 2; i++) {
        loop_forget(loop, a[0]);
        loop_forget(loop, b[0]);
    }
    close(a[0]);
    close(a[1]);
    close(b[0]);
    close(b[1]);
}

static struct seen reborn;

/* Closes the other descriptor and opens another connection, which gets its number, and watches that. */
static void replace_other(struct loop *l, int fd, unsigned events, void *arg) {
    struct seen *s = arg;
    note(l, fd, events, s);
    loop_forget(l, s->other_fd);
    close(s->other_fd);
    int fds[2];
    pair(fds);
    assert_int_equal(fds[0], s->other_fd);
    assert_int_equal(loop_watch(l, fds[0], LOOP_READABLE, note, &reborn), 0);
    reborn.other_fd = fds[1];
    loop_forget(l, fd);
}

static void an_event_does_not_reach_a_descriptor_reopened_in_the_same_cycle(void **state) {
    (void)state;
    int a[2], b[2];
    pair(a);
    pair(b);
    struct seen sa = {.other_fd = b[0]}, sb = {.other_fd = a[0]};
    reborn = (struct seen){0};
    assert_int_equal(loop_watch(loop, a[0], LOOP_READABLE, replace_other, &sa), 0);
    assert_int_equal(loop_watch(loop, b[0], LOOP_READABLE, replace_other, &sb), 0);
    put(a[1]);
    put(b[1]);
    assert_int_equal(loop_run_once(loop, 1000), 1);
    assert_int_equal(reborn.calls, 0);
    put(reborn.other_fd);
    assert_int_equal(loop_run_once(loop, 1000), 1);
    assert_int_equal(reborn.calls, 1);
}

static int64_t count_timer(struct loop *l, uint64_t id, void *arg) {
    (void)l;
    (void)id;
    int *n = arg;
    ++*n;
    return 0;
}

static void a_timer_for_the_next_cycle_runs_once_a_cycle(void **state) {
    (void)state;
    int n = 0;
    uint64_t id = loop_timer_add(loop, 0, count_timer, &n);
    for (int i = 1; i <= 5; i++) {
        (void)loop_run_once(loop, 1000);
        assert_int_equal(n, i);
    }
    loop_timer_remove(loop, id);
    (void)loop_run_once(loop, 0);
    assert_int_equal(n, 5);
    loop_timer_remove(loop, id);
}

struct order {
    int values[128];
    int n;
};
struct ordered_timer {
    struct order *order;
    int value;
};

static int64_t order_timer(struct loop *l, uint64_t id, void *arg) {
    (void)l;
    (void)id;
    struct ordered_timer *t = arg;
    t->order->values[t->order->n++] = t->value;
    return -1;
}

static void timers_run_in_order_of_their_time(void **state) {
    (void)state;
    struct order order = {.n = 0};
    struct ordered_timer timers[100];
    uint64_t ids[100];
    for (int i = 0; i < 100; i++) {
        timers[i] = (struct ordered_timer){&order, i * 37 % 100};
        ids[i] = loop_timer_add(loop, timers[i].value / 5, order_timer, &timers[i]);
    }
    for (int i = 0; i < 100; i += 3)
        loop_timer_remove(loop, ids[i]);
    int64_t start_us = clock_mono_us();
    while (order.n < 66 && clock_mono_us() - start_us < 5000000)
        (void)loop_run_once(loop, 100);
    assert_int_equal(order.n, 66);
    for (int i = 1; i < order.n; i++)
        assert_true(order.values[i] / 5 >= order.values[i - 1] / 5);
    assert_true(clock_mono_us() - start_us >= 18000);
}

static int64_t remove_itself(struct loop *l, uint64_t id, void *arg) {
    loop_timer_remove(l, id);
    /* The slot is taken again at once. */
    (void)loop_timer_add(l, 0, count_timer, arg);
    return 0;
}

static void a_timer_may_remove_itself(void **state) {
    (void)state;
    int n = 0;
    uint64_t id = loop_timer_add(loop, 0, remove_itself, &n);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(n, 0);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(n, 1);
    loop_timer_remove(loop, id); /* does not hit the successor */
    (void)loop_run_once(loop, 1000);
    assert_int_equal(n, 2);
}

static int64_t add_many(struct loop *l, uint64_t id, void *arg) {
    (void)id;
    for (int i = 0; i < 50; i++)
        (void)loop_timer_add(l, 0, count_timer, arg);
    return -1;
}

static void a_timer_may_add_timers(void **state) {
    (void)state;
    int n = 0;
    (void)loop_timer_add(loop, 0, add_many, &n);
    (void)loop_run_once(loop, 1000);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(n, 50);
}

static void the_wait_ends_at_the_next_timer(void **state) {
    (void)state;
    int n = 0;
    (void)loop_timer_add(loop, 30, count_timer, &n);
    int64_t start_us = clock_mono_us();
    (void)loop_run_once(loop, -1);
    int64_t took_us = clock_mono_us() - start_us;
    assert_int_equal(n, 1);
    assert_true(took_us >= 29000);
}

static char trace[64];

static void trace_hook(struct loop *l, void *arg) {
    (void)l;
    strncat(trace, arg, sizeof trace - strlen(trace) - 1);
}
static void trace_fd(struct loop *l, int fd, unsigned events, void *arg) {
    (void)events;
    take(fd);
    trace_hook(l, arg);
}
static int64_t trace_timer(struct loop *l, uint64_t id, void *arg) {
    (void)id;
    trace_hook(l, arg);
    return -1;
}

static void a_cycle_goes_through_its_stations_in_order(void **state) {
    (void)state;
    int fds[2];
    pair(fds);
    trace[0] = '\0';
    loop_set_before_sleep_hook(loop, trace_hook, "s");
    loop_set_after_wake_hook(loop, trace_hook, "w");
    loop_set_batch_hook(loop, trace_hook, "b");
    assert_int_equal(loop_watch(loop, fds[0], LOOP_READABLE, trace_fd, "f"), 0);
    put(fds[1]);
    (void)loop_timer_add(loop, 0, trace_timer, "t");
    (void)loop_run_once(loop, 1000);
    assert_string_equal(trace, "swfbt");
    (void)loop_run_once(loop, 0);
    assert_string_equal(trace, "swfbtswb");
    loop_forget(loop, fds[0]);
    close(fds[0]);
    close(fds[1]);
}

static void dont_wait(struct loop *l, void *arg) {
    int *left = arg;
    if (*left > 0) {
        --*left;
        loop_dont_wait(l);
    }
}

static void work_left_over_prevents_the_wait_once(void **state) {
    (void)state;
    int left = 2;
    loop_set_before_sleep_hook(loop, dont_wait, &left);
    int64_t start_us = clock_mono_us();
    (void)loop_run_once(loop, 5000);
    (void)loop_run_once(loop, 5000);
    assert_true(clock_mono_us() - start_us < 4000000);
    assert_int_equal(left, 0);
    start_us = clock_mono_us();
    (void)loop_run_once(loop, 20);
    assert_true(clock_mono_us() - start_us >= 19000);
}

static int64_t stop_timer(struct loop *l, uint64_t id, void *arg) {
    (void)id;
    int *n = arg;
    if (++*n == 3) {
        loop_stop(l);
        return -1;
    }
    return 1;
}

static void run_ends_after_stop_and_counts_cycles(void **state) {
    (void)state;
    int n = 0;
    (void)loop_timer_add(loop, 1, stop_timer, &n);
    loop_run(loop);
    assert_int_equal(n, 3);
    struct loop_stats stats;
    loop_stats(loop, &stats);
    assert_true(stats.cycles >= 3);
    assert_true(loop_now_us(loop) <= clock_mono_us());
    loop_stop(loop);
    loop_run(loop); /* stopped before it ran */
    n = 0;
    (void)loop_timer_add(loop, 1, stop_timer, &n);
    loop_run(loop);
    assert_int_equal(n, 3);
}

static void read_and_run_nested(struct loop *l, int fd, unsigned events, void *arg) {
    note(l, fd, events, arg);
    take(fd);
    (void)loop_run_once(l, 0);
}

static void a_cycle_may_run_inside_a_handler(void **state) {
    (void)state;
    int a[2], b[2];
    pair(a);
    pair(b);
    struct seen sa = {0}, sb = {0};
    assert_int_equal(loop_watch(loop, a[0], LOOP_READABLE, read_and_run_nested, &sa), 0);
    assert_int_equal(loop_watch(loop, b[0], LOOP_READABLE, note, &sb), 0);
    put(a[1]);
    put(b[1]);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(sa.calls, 1);
    assert_int_equal(sb.calls, 2);
    loop_forget(loop, a[0]);
    loop_forget(loop, b[0]);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

/* ---- wakers ---- */

struct waking {
    struct loop_waker *waker;
    atomic_int made; /* work items */
    int seen;
};

static void count_wakes(struct loop *l, void *arg) {
    struct waking *w = arg;
    w->seen = atomic_load(&w->made);
    if (w->seen == 10000)
        loop_stop(l);
}

static void *wake_often(void *arg) {
    struct waking *w = arg;
    for (int i = 0; i < 5000; i++) {
        atomic_fetch_add(&w->made, 1);
        loop_waker_wake(w->waker);
    }
    return NULL;
}

static void no_wake_from_another_thread_is_lost(void **state) {
    (void)state;
    struct waking w = {0};
    w.waker = loop_waker_create(loop, count_wakes, &w);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wake_often, &w), 0);
    loop_run(loop);
    assert_int_equal(w.seen, 10000);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    loop_waker_destroy(w.waker);
    loop_waker_destroy(NULL);
}

static struct loop_waker *signal_waker;

static void on_signal(int sig) {
    (void)sig;
    loop_waker_wake(signal_waker);
}

static void stop_hook(struct loop *l, void *arg) {
    (void)arg;
    loop_stop(l);
}

static int64_t raise_signal(struct loop *l, uint64_t id, void *arg) {
    (void)l;
    (void)id;
    (void)arg;
    raise(SIGUSR1);
    return -1;
}

static void a_signal_handler_may_wake(void **state) {
    (void)state;
    signal_waker = loop_waker_create(loop, stop_hook, NULL);
    struct sigaction action = {.sa_handler = on_signal}, old;
    sigaction(SIGUSR1, &action, &old);
    (void)loop_timer_add(loop, 1, raise_signal, NULL);
    loop_run(loop);
    sigaction(SIGUSR1, &old, NULL);
    loop_waker_destroy(signal_waker);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(readable_and_writable_are_told_apart),
        TEST(a_hang_up_shows_as_both),
        TEST(a_bad_descriptor_is_an_error),
        TEST(an_event_of_a_descriptor_forgotten_in_the_same_cycle_is_dropped),
        TEST(an_event_does_not_reach_a_descriptor_reopened_in_the_same_cycle),
        TEST(a_timer_for_the_next_cycle_runs_once_a_cycle),
        TEST(timers_run_in_order_of_their_time),
        TEST(a_timer_may_remove_itself),
        TEST(a_timer_may_add_timers),
        TEST(the_wait_ends_at_the_next_timer),
        TEST(a_cycle_goes_through_its_stations_in_order),
        TEST(work_left_over_prevents_the_wait_once),
        TEST(run_ends_after_stop_and_counts_cycles),
        TEST(a_cycle_may_run_inside_a_handler),
        TEST(no_wake_from_another_thread_is_lost),
        TEST(a_signal_handler_may_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
