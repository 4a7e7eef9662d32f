#include "config.h"

#include "server/net/io_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

/* One atomic word, the ticket, holds the number of the run (high half) and how many of its items nobody has claimed
 * (low half). Items are claimed from the end by compare-and-swap.
 *
 * Invariants
 * 1. items, fn and arg are written only while the low half is 0 and `left` is 0: no helper reads them then, for it
 * reads them only between a successful claim and the report of its items to `left`. The ticket's release store
 * publishes them.
 * 2. The number of the run changes with each run, so a helper that slept between reading the ticket and claiming cannot
 * claim in another.
 * 3. io_pool_run() returns when left is 0: every item has been run and its effects are visible to the caller.
 *
 * Whoever waits spins for some microseconds and then sleeps on a condition. It says so in an atomic before it looks a
 * last time, and the other side changes the state before it looks for sleepers (sequentially consistent both), so no
 * wake-up is lost. Where the process may not use as many CPUs as it has threads, spinning would take the CPU from the
 * one who has the work: then nobody spins.
 */

#define SPINS 2000 /* pauses; about 50 µs */
#define CLAIM_MAX 8
/* Below this many items waking somebody costs more than it saves. */
#define INLINE_MAX 2

struct io_pool {
    unsigned threads;
    unsigned spins;
    pthread_t *helpers;
    void **items;
    void (*fn)(void *item, void *arg);
    void *arg;
    unsigned long offloaded;
    _Alignas(64) atomic_uint_fast64_t ticket;
    _Alignas(64) atomic_size_t left;
    _Alignas(64) atomic_uint sleepers;
    atomic_bool caller_sleeps;
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
};

static inline void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Claims up to CLAIM_MAX items: fewer the fewer are left, so that all threads end together. Returns their count; they
 * end below *ret_end. */
static size_t claim(struct io_pool *p, size_t *ret_end) {
    uint_fast64_t ticket = atomic_load(&p->ticket);
    for (;;) {
        size_t unclaimed = (size_t)(ticket & UINT32_MAX);
        if (unclaimed == 0)
            return 0;
        size_t n = unclaimed / (2 * (size_t)p->threads);
        n = n < 1 ? 1 : n > CLAIM_MAX ? CLAIM_MAX : n;
        if (atomic_compare_exchange_weak(&p->ticket, &ticket, ticket - n)) {
            *ret_end = unclaimed;
            return n;
        }
    }
}

/* Works until nothing is unclaimed. Returns the items run. */
static size_t work_off(struct io_pool *p, bool helper) {
    size_t total = 0, end, n;
    while ((n = claim(p, &end)) > 0) {
        for (size_t i = end - n; i < end; i++)
            p->fn(p->items[i], p->arg);
        total += n;
        if (atomic_fetch_sub(&p->left, n) == n && helper && atomic_load(&p->caller_sleeps)) {
            pthread_mutex_lock(&p->mutex);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->mutex);
        }
    }
    return total;
}

static bool has_work(struct io_pool *p) {
    return (atomic_load(&p->ticket) & UINT32_MAX) != 0 || atomic_load(&p->stop);
}

static void wait_for_work(struct io_pool *p) {
    for (unsigned i = 0; i < p->spins; i++) {
        if (has_work(p))
            return;
        cpu_pause();
    }
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1);
    while (!has_work(p))
        pthread_cond_wait(&p->work, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
}

static void *helper_main(void *arg) {
    struct io_pool *p = arg;
    while (!atomic_load(&p->stop)) {
        wait_for_work(p);
        (void)work_off(p, true);
    }
    return NULL;
}

static unsigned usable_cpus(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

struct io_pool *io_pool_create(unsigned threads) {
    HF_ASSERT(threads >= 1 && threads <= 128);
    struct io_pool *p = mem_alloc_aligned_zero(sizeof *p, 64);
    p->threads = threads;
    p->spins = usable_cpus() >= threads ? SPINS : 0;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    p->helpers = mem_calloc(threads, sizeof *p->helpers);
    /* Signals are for the loop's thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 1; i < threads; i++) {
        int rc = pthread_create(&p->helpers[i], NULL, helper_main, p);
        if (rc != 0)
            HF_PANIC("cannot create I/O thread %u: %s", i, strerror(rc));
        char name[16];
        snprintf(name, sizeof name, "io_thd_%u", i);
        (void)pthread_setname_np(p->helpers[i], name);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return p;
}

void io_pool_destroy(struct io_pool *p) {
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->mutex);
    for (unsigned i = 1; i < p->threads; i++)
        pthread_join(p->helpers[i], NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->mutex);
    mem_free(p->helpers);
    mem_free(p);
}

unsigned io_pool_threads(const struct io_pool *p) {
    return p->threads;
}

unsigned long io_pool_offloaded(const struct io_pool *p) {
    return p->offloaded;
}

static void wake_helpers(struct io_pool *p, size_t wanted) {
    if (atomic_load(&p->sleepers) == 0)
        return;
    pthread_mutex_lock(&p->mutex);
    if (wanted >= p->threads - 1)
        pthread_cond_broadcast(&p->work);
    else
        for (size_t i = 0; i < wanted; i++)
            pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->mutex);
}

static void wait_for_all(struct io_pool *p) {
    for (unsigned i = 0; i < p->spins; i++) {
        if (atomic_load(&p->left) == 0)
            return;
        cpu_pause();
    }
    if (atomic_load(&p->left) == 0)
        return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->caller_sleeps, true);
    while (atomic_load(&p->left) != 0)
        pthread_cond_wait(&p->done, &p->mutex);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->mutex);
}

void io_pool_run(struct io_pool *p, void **items, size_t n, void (*fn)(void *item, void *arg), void *arg) {
    HF_ASSERT(n <= UINT32_MAX);
    if (p->threads == 1 || n <= INLINE_MAX) {
        for (size_t i = 0; i < n; i++)
            fn(items[i], arg);
        return;
    }
    HF_ASSERT(atomic_load(&p->left) == 0);
    p->items = items;
    p->fn = fn;
    p->arg = arg;
    atomic_store(&p->left, n);
    uint_fast64_t run = (atomic_load(&p->ticket) >> 32) + 1;
    atomic_store(&p->ticket, run << 32 | n);
    wake_helpers(p, (n + 1) / 2);
    size_t own = work_off(p, false);
    wait_for_all(p);
    p->offloaded += n - own;
}
