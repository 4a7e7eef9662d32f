#include "config.h"

#include "server/net/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/mem.h"

/* Watches are a table indexed by descriptor. Each has a generation that grows when the descriptor is forgotten; epoll
 * hands back descriptor and generation, so an event that was fetched for a descriptor since closed, and perhaps opened
 * anew, is recognised and dropped.
 *
 * Timers are slots of a table, ordered by a binary heap over (due, sequence). A timer's id is its slot and the slot's
 * generation. A pass over the due timers stops at the first one set during the pass: a timer that asks for "next cycle"
 * cannot keep the loop busy.
 *
 * A cycle may run inside a handler (loading does so): all state of a cycle is on the stack.
 */

#define EVENTS_PER_CYCLE 1024

struct watch {
    loop_fd_fn *fn;
    void *arg;
    uint32_t generation;
    uint32_t events; /* 0: not watched */
};

#define NOT_IN_HEAP UINT32_MAX

struct timer {
    loop_timer_fn *fn; /* NULL: free slot */
    void *arg;
    int64_t due_us;
    uint64_t sequence;
    uint32_t generation;
    uint32_t heap_index; /* NOT_IN_HEAP while its function runs */
};

struct hook {
    loop_hook_fn *fn;
    void *arg;
};

struct loop {
    int epoll_fd;
    bool stop;
    bool dont_wait;
    struct watch *watches;
    size_t watch_cap;
    struct timer *timers;
    uint32_t *heap; /* of timer slots */
    uint32_t *free_slots;
    uint32_t timer_cap, heap_len, free_len;
    uint64_t timer_sequence;
    int64_t now_us;
    struct hook batch, before_sleep, after_wake;
    struct loop_stats stats;
};

struct loop_waker {
    struct loop *loop;
    int fd;
    atomic_bool woken; /* a byte is on its way already */
    struct hook hook;
};

struct loop *loop_create(void) {
    struct loop *loop = mem_calloc(1, sizeof *loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        HF_PANIC("epoll_create1: %s", strerror(errno));
    loop->now_us = clock_mono_us();
    return loop;
}

void loop_destroy(struct loop *loop) {
    if (loop == NULL)
        return;
    close(loop->epoll_fd);
    mem_free(loop->watches);
    mem_free(loop->timers);
    mem_free(loop->heap);
    mem_free(loop->free_slots);
    mem_free(loop);
}

/* ---- descriptors ---- */

static void grow_watches(struct loop *loop, size_t need) {
    size_t cap = loop->watch_cap < 64 ? 64 : loop->watch_cap;
    while (cap < need)
        cap *= 2;
    loop->watches = mem_realloc(loop->watches, cap * sizeof *loop->watches);
    memset(loop->watches + loop->watch_cap, 0, (cap - loop->watch_cap) * sizeof *loop->watches);
    loop->watch_cap = cap;
}

static uint32_t epoll_events(unsigned events) {
    return (events & LOOP_READABLE ? (uint32_t)EPOLLIN : 0) | (events & LOOP_WRITABLE ? (uint32_t)EPOLLOUT : 0);
}

int loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_fn *fn, void *arg) {
    HF_ASSERT(fd >= 0 && (events & ~(LOOP_READABLE | LOOP_WRITABLE)) == 0);
    if (events == 0) {
        loop_forget(loop, fd);
        return 0;
    }
    HF_ASSERT(fn != NULL);
    if ((size_t)fd >= loop->watch_cap)
        grow_watches(loop, (size_t)fd + 1);
    struct watch *w = &loop->watches[fd];
    if (w->events != events) {
        struct epoll_event event = {.events = epoll_events(events),
                                    .data.u64 = (uint64_t)w->generation << 32 | (uint32_t)fd};
        if (epoll_ctl(loop->epoll_fd, w->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) != 0)
            return -errno;
    }
    w->events = events;
    w->fn = fn;
    w->arg = arg;
    return 0;
}

void loop_forget(struct loop *loop, int fd) {
    if (fd < 0 || (size_t)fd >= loop->watch_cap || loop->watches[fd].events == 0)
        return;
    struct watch *w = &loop->watches[fd];
    w->events = 0;
    w->generation++;
    w->fn = NULL;
    w->arg = NULL;
    /* Fails where the caller closed the descriptor too early; the kernel has then forgotten it, or the generation
     * shields us. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static bool dispatch(struct loop *loop, const struct epoll_event *event) {
    int fd = (int)(uint32_t)event->data.u64;
    uint32_t generation = (uint32_t)(event->data.u64 >> 32);
    /* A copy: the handler may make the table grow. */
    struct watch w = loop->watches[fd];
    if (w.events == 0 || w.generation != generation)
        return false;
    unsigned events = 0;
    if (event->events & (uint32_t)(EPOLLIN | EPOLLPRI))
        events |= LOOP_READABLE;
    if (event->events & (uint32_t)EPOLLOUT)
        events |= LOOP_WRITABLE;
    if (event->events & (uint32_t)(EPOLLERR | EPOLLHUP))
        events = LOOP_READABLE | LOOP_WRITABLE;
    w.fn(loop, fd, events, w.arg);
    return true;
}

/* ---- timers ---- */

static bool timer_before(const struct timer *a, const struct timer *b) {
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->sequence < b->sequence;
}

static void heap_put(struct loop *loop, uint32_t index, uint32_t slot) {
    loop->heap[index] = slot;
    loop->timers[slot].heap_index = index;
}

static void heap_up(struct loop *loop, uint32_t index) {
    uint32_t slot = loop->heap[index];
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;
        if (!timer_before(&loop->timers[slot], &loop->timers[loop->heap[parent]]))
            break;
        heap_put(loop, index, loop->heap[parent]);
        index = parent;
    }
    heap_put(loop, index, slot);
}

static void heap_down(struct loop *loop, uint32_t index) {
    uint32_t slot = loop->heap[index];
    for (;;) {
        uint32_t child = index * 2 + 1;
        if (child >= loop->heap_len)
            break;
        if (child + 1 < loop->heap_len &&
            timer_before(&loop->timers[loop->heap[child + 1]], &loop->timers[loop->heap[child]]))
            child++;
        if (!timer_before(&loop->timers[loop->heap[child]], &loop->timers[slot]))
            break;
        heap_put(loop, index, loop->heap[child]);
        index = child;
    }
    heap_put(loop, index, slot);
}

static void heap_insert(struct loop *loop, uint32_t slot) {
    uint32_t index = loop->heap_len++;
    heap_put(loop, index, slot);
    heap_up(loop, index);
}

static void heap_remove(struct loop *loop, uint32_t index) {
    loop->timers[loop->heap[index]].heap_index = NOT_IN_HEAP;
    uint32_t last = loop->heap[--loop->heap_len];
    if (index == loop->heap_len)
        return;
    heap_put(loop, index, last);
    heap_down(loop, index);
    heap_up(loop, loop->timers[last].heap_index);
}

static void grow_timers(struct loop *loop) {
    uint32_t cap = loop->timer_cap == 0 ? 16 : loop->timer_cap * 2;
    loop->timers = mem_realloc(loop->timers, cap * sizeof *loop->timers);
    loop->heap = mem_realloc(loop->heap, cap * sizeof *loop->heap);
    loop->free_slots = mem_realloc(loop->free_slots, cap * sizeof *loop->free_slots);
    memset(loop->timers + loop->timer_cap, 0, (cap - loop->timer_cap) * sizeof *loop->timers);
    for (uint32_t slot = cap; slot-- > loop->timer_cap;)
        loop->free_slots[loop->free_len++] = slot;
    loop->timer_cap = cap;
}

static int64_t due_after(int64_t ms) {
    HF_ASSERT(ms >= 0);
    int64_t us;
    if (__builtin_mul_overflow(ms, 1000, &us) || __builtin_add_overflow(us, clock_mono_us(), &us))
        return INT64_MAX;
    return us;
}

static uint64_t timer_id(const struct loop *loop, uint32_t slot) {
    return (uint64_t)loop->timers[slot].generation << 32 | (slot + 1);
}

uint64_t loop_timer_add(struct loop *loop, int64_t after_ms, loop_timer_fn *fn, void *arg) {
    HF_ASSERT(fn != NULL);
    if (loop->free_len == 0)
        grow_timers(loop);
    uint32_t slot = loop->free_slots[--loop->free_len];
    struct timer *t = &loop->timers[slot];
    t->fn = fn;
    t->arg = arg;
    t->due_us = due_after(after_ms);
    t->sequence = loop->timer_sequence++;
    heap_insert(loop, slot);
    return timer_id(loop, slot);
}

static void timer_free(struct loop *loop, uint32_t slot) {
    struct timer *t = &loop->timers[slot];
    t->fn = NULL;
    t->arg = NULL;
    t->generation++;
    loop->free_slots[loop->free_len++] = slot;
}

void loop_timer_remove(struct loop *loop, uint64_t id) {
    uint32_t slot = (uint32_t)id - 1;
    if (slot >= loop->timer_cap || loop->timers[slot].fn == NULL || timer_id(loop, slot) != id)
        return;
    if (loop->timers[slot].heap_index != NOT_IN_HEAP)
        heap_remove(loop, loop->timers[slot].heap_index);
    timer_free(loop, slot);
}

static void run_timers(struct loop *loop) {
    if (loop->heap_len == 0)
        return;
    int64_t now_us = clock_mono_us();
    uint64_t stop_sequence = loop->timer_sequence;
    while (loop->heap_len > 0) {
        uint32_t slot = loop->heap[0];
        struct timer *t = &loop->timers[slot];
        if (t->due_us > now_us || t->sequence >= stop_sequence)
            return;
        uint64_t id = timer_id(loop, slot);
        heap_remove(loop, 0);
        int64_t again_ms = t->fn(loop, id, t->arg);
        t = &loop->timers[slot];
        if (t->fn == NULL || timer_id(loop, slot) != id)
            continue; /* removed itself */
        if (again_ms < 0) {
            timer_free(loop, slot);
            continue;
        }
        t->due_us = due_after(again_ms);
        t->sequence = loop->timer_sequence++;
        heap_insert(loop, slot);
    }
}

/* ---- wakers ---- */

static void waker_ready(struct loop *loop, int fd, unsigned events, void *arg) {
    (void)events;
    struct loop_waker *w = arg;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    HF_ASSERT(n == (ssize_t)sizeof count || errno == EAGAIN || errno == EINTR);
    /* Before the call: a wake from now on comes again. */
    atomic_store(&w->woken, false);
    w->hook.fn(loop, w->hook.arg);
}

struct loop_waker *loop_waker_create(struct loop *loop, loop_hook_fn *fn, void *arg) {
    HF_ASSERT(fn != NULL);
    struct loop_waker *w = mem_calloc(1, sizeof *w);
    w->loop = loop;
    w->hook = (struct hook){fn, arg};
    atomic_init(&w->woken, false);
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->fd < 0)
        HF_PANIC("eventfd: %s", strerror(errno));
    int rc = loop_watch(loop, w->fd, LOOP_READABLE, waker_ready, w);
    if (rc < 0)
        HF_PANIC("epoll_ctl: %s", strerror(-rc));
    return w;
}

void loop_waker_destroy(struct loop_waker *w) {
    if (w == NULL)
        return;
    loop_forget(w->loop, w->fd);
    close(w->fd);
    mem_free(w);
}

void loop_waker_wake(struct loop_waker *w) {
    if (atomic_exchange(&w->woken, true))
        return;
    int saved_errno = errno;
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(w->fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    errno = saved_errno;
}

/* ---- the cycle ---- */

static void run_hook(struct loop *loop, const struct hook *hook) {
    if (hook->fn != NULL)
        hook->fn(loop, hook->arg);
}

void loop_set_batch_hook(struct loop *loop, loop_hook_fn *fn, void *arg) {
    loop->batch = (struct hook){fn, arg};
}

void loop_set_before_sleep_hook(struct loop *loop, loop_hook_fn *fn, void *arg) {
    loop->before_sleep = (struct hook){fn, arg};
}

void loop_set_after_wake_hook(struct loop *loop, loop_hook_fn *fn, void *arg) {
    loop->after_wake = (struct hook){fn, arg};
}

/* ms to wait: the caller's bound, or until the next timer where that is sooner. */
static int wait_ms(struct loop *loop, int64_t timeout_ms, int64_t now_us) {
    if (loop->dont_wait || loop->stop || timeout_ms == 0)
        return 0;
    int64_t ms = timeout_ms;
    if (loop->heap_len > 0) {
        int64_t left_us = loop->timers[loop->heap[0]].due_us - now_us;
        int64_t left_ms = left_us <= 0 ? 0 : (left_us - 1) / 1000 + 1;
        if (ms < 0 || left_ms < ms)
            ms = left_ms;
    }
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

int loop_run_once(struct loop *loop, int64_t timeout_ms) {
    struct epoll_event events[EVENTS_PER_CYCLE];
    run_hook(loop, &loop->before_sleep);
    int64_t sleep_us = clock_mono_us();
    int64_t busy_us = sleep_us - loop->now_us;
    if (busy_us > 0)
        loop->stats.busy_us += (uint64_t)busy_us;
    int ms = wait_ms(loop, timeout_ms, sleep_us);
    loop->dont_wait = false;
    int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_CYCLE, ms);
    if (n < 0) {
        if (errno != EINTR)
            HF_PANIC("epoll_wait: %s", strerror(errno));
        n = 0;
    }
    loop->now_us = clock_mono_us();
    loop->stats.cycles++;
    run_hook(loop, &loop->after_wake);
    int dispatched = 0;
    for (int i = 0; i < n; i++)
        dispatched += dispatch(loop, &events[i]);
    run_hook(loop, &loop->batch);
    run_timers(loop);
    return dispatched;
}

void loop_run(struct loop *loop) {
    while (!loop->stop)
        (void)loop_run_once(loop, -1);
    loop->stop = false;
}

void loop_stop(struct loop *loop) {
    loop->stop = true;
}

void loop_dont_wait(struct loop *loop) {
    loop->dont_wait = true;
}

int64_t loop_now_us(const struct loop *loop) {
    return loop->now_us;
}

void loop_stats(const struct loop *loop, struct loop_stats *ret_stats) {
    *ret_stats = loop->stats;
}
