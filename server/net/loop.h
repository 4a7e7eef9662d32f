/* The event loop: file descriptors, timers, and wake-ups from other threads, on epoll.
 *
 * A cycle is: wait for events → dispatch each → the `batch` hook (what the events collected is worked off here) →
 * timers that are due → the `before_sleep` hook → wait. Thread: one thread runs the loop and calls everything here,
 * except loop_waker_wake(), which any thread (and a signal handler) may call. Descriptors stay owned by the caller.
 */
#ifndef HF_NET_LOOP_H
#define HF_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

#define LOOP_READABLE 1u
#define LOOP_WRITABLE 2u

/* events: what happened, LOOP_READABLE | LOOP_WRITABLE (hang-ups and errors show as both). */
typedef void loop_fd_fn(struct loop *loop, int fd, unsigned events, void *arg);
/* Returns ms until the next call (≥ 0, 0 = next cycle), or -1 to end the timer. */
typedef int64_t loop_timer_fn(struct loop *loop, uint64_t id, void *arg);
typedef void loop_hook_fn(struct loop *loop, void *arg);

struct loop_stats {
    uint64_t cycles;
    uint64_t busy_us; /* time not spent waiting */
};

/* Aborts when epoll is not there. */
struct loop *loop_create(void);
void loop_destroy(struct loop *loop);

/* Watches fd for the given events (level-triggered), replacing what was set before; 0 events forgets it. 0 or -errno.
 */
int loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_fn *fn, void *arg)
    __attribute__((warn_unused_result));
/* Must be called before close(fd). Pending events of this cycle for fd are dropped. */
void loop_forget(struct loop *loop, int fd);

uint64_t loop_timer_add(struct loop *loop, int64_t after_ms, loop_timer_fn *fn, void *arg);
void loop_timer_remove(struct loop *loop, uint64_t id);

void loop_set_batch_hook(struct loop *loop, loop_hook_fn *fn, void *arg);
void loop_set_before_sleep_hook(struct loop *loop, loop_hook_fn *fn, void *arg);
/* Called first thing after waiting (time caching). */
void loop_set_after_wake_hook(struct loop *loop, loop_hook_fn *fn, void *arg);

/* A waker calls fn on the loop's thread soon after loop_waker_wake(); several wakes may become one call. */
struct loop_waker;
struct loop_waker *loop_waker_create(struct loop *loop, loop_hook_fn *fn, void *arg);
void loop_waker_destroy(struct loop_waker *w);
void loop_waker_wake(struct loop_waker *w); /* any thread, async-signal-safe */

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One cycle that waits at most timeout_ms (0: not at all, -1: as long as it takes): for use while loading, and in
 * tests. Returns events dispatched. */
int loop_run_once(struct loop *loop, int64_t timeout_ms);
/* Makes the next wait return at once: somebody has work left over for the next cycle. */
void loop_dont_wait(struct loop *loop);
/* Monotonic time in us, read after the last wait. */
int64_t loop_now_us(const struct loop *loop);
void loop_stats(const struct loop *loop, struct loop_stats *ret_stats);

#endif
