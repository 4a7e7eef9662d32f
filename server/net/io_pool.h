/* I/O threads: a fork-join pool for reading, parsing and writing many connections at once.
 *
 * The loop's thread hands out items, takes a share itself, and waits until all are done; so whatever an item touches is
 * touched by one thread at a time and no locks are needed. Helpers spin briefly and then sleep. With one thread
 * everything runs inline.
 */
#ifndef HF_NET_IO_POOL_H
#define HF_NET_IO_POOL_H

#include <stddef.h>

struct io_pool;

/* threads: all in all, the caller's included (1..128). */
struct io_pool *io_pool_create(unsigned threads);
void io_pool_destroy(struct io_pool *p);
unsigned io_pool_threads(const struct io_pool *p);
/* Calls fn(items[i], arg) for every i; returns when all have returned. Few items run inline. */
void io_pool_run(struct io_pool *p, void **items, size_t n, void (*fn)(void *item, void *arg), void *arg);
/* Items run by helper threads so far. */
unsigned long io_pool_offloaded(const struct io_pool *p);

#endif
