#include "config.h"

#include "server/base/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

struct job {
    struct job *next;
    void (*fn)(void *arg);
    void *arg;
};

/* Jobs are numbered in order of arrival; `done` ones have run. Everything but `pending` is under the lock. */
struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job came, or stop was set */
    pthread_cond_t ran;  /* done grew */
    struct job *head, *tail;
    uint64_t submitted;
    uint64_t done;
    bool stop;
    atomic_size_t pending; /* submitted - done, for readers without the lock */
};

static void *worker_main(void *arg) {
    struct worker *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->head == NULL && !w->stop)
            pthread_cond_wait(&w->work, &w->lock);
        struct job *job = w->head;
        if (job == NULL)
            break;
        w->head = job->next;
        if (w->head == NULL)
            w->tail = NULL;
        pthread_mutex_unlock(&w->lock);
        job->fn(job->arg);
        mem_free_sized(job, sizeof *job);
        pthread_mutex_lock(&w->lock);
        w->done++;
        atomic_fetch_sub_explicit(&w->pending, 1, memory_order_release);
        pthread_cond_broadcast(&w->ran);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct worker *worker_create(const char *name) {
    struct worker *w = mem_calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->ran, NULL);
    atomic_init(&w->pending, 0);
    /* Signals are the main thread's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        HF_PANIC("cannot create thread %s: error %d", name, error);
    /* Fails for names over 15 bytes only. */
    HF_ASSERT(pthread_setname_np(w->thread, name) == 0);
    return w;
}

void worker_destroy(struct worker *w) {
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    HF_ASSERT(w->head == NULL && w->done == w->submitted);
    pthread_cond_destroy(&w->ran);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

void worker_submit(struct worker *w, void (*fn)(void *arg), void *arg) {
    struct job *job = mem_alloc(sizeof *job);
    *job = (struct job){NULL, fn, arg};
    pthread_mutex_lock(&w->lock);
    HF_ASSERT(!w->stop);
    if (w->tail != NULL)
        w->tail->next = job;
    else
        w->head = job;
    w->tail = job;
    w->submitted++;
    atomic_fetch_add_explicit(&w->pending, 1, memory_order_relaxed);
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

size_t worker_pending(const struct worker *w) {
    return atomic_load_explicit(&((struct worker *)(uintptr_t)w)->pending, memory_order_acquire);
}

void worker_drain(struct worker *w) {
    pthread_mutex_lock(&w->lock);
    uint64_t upto = w->submitted;
    while (w->done < upto)
        pthread_cond_wait(&w->ran, &w->lock);
    pthread_mutex_unlock(&w->lock);
}
