/* A background thread with a first-in first-out queue of jobs: freeing, closing, deleting files.
 *
 * A job is a function and its argument; it must not touch the store. Thread: worker_submit() from the owner's thread or
 * any other; jobs run on the worker's thread in order. Destroy drains the queue first. After fork() only the parent has it.
 */
#ifndef HF_BASE_WORKER_H
#define HF_BASE_WORKER_H

#include <stddef.h>

struct worker;

/* name: at most 15 bytes, shown by ps. Aborts when the thread cannot be made. */
struct worker *worker_create(const char *name);
/* Runs the queue to its end, stops the thread and frees. NULL is fine. */
void worker_destroy(struct worker *w);
void worker_submit(struct worker *w, void (*fn)(void *arg), void *arg);
/* Jobs waiting or running. */
size_t worker_pending(const struct worker *w);
/* Blocks until all jobs submitted so far have run. */
void worker_drain(struct worker *w);

#endif
