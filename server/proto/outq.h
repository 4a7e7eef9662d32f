/* An output queue: the bytes a client is still owed, in chunks, with large values by reference.
 *
 * Bytes are appended at the end and consumed from the front; positions are counted from the queue's birth (u64, never
 * wrap), so that release marks can name a place. Small replies fill a chunk; a value of OUTQ_REF_MIN bytes or more held
 * in an rbuf is referenced, not copied. A queue without bytes holds no memory: its last chunk goes back to the
 * allocator, whose thread cache makes that cheap.
 *
 * Ownership: embedded in the connection (init/deinit). Thread: one at a time (an I/O thread may fill iovecs and consume
 * while the owner waits for it). Nothing fails: memory of this size aborts when it is gone.
 */
#ifndef HF_PROTO_OUTQ_H
#define HF_PROTO_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "server/base/buf.h"
#include "server/base/slice.h"

#define OUTQ_CHUNK_BYTES 16384
#define OUTQ_REF_MIN 16384
#define OUTQ_RESERVE_MAX (OUTQ_CHUNK_BYTES / 4)
#define OUTQ_HOLE_BYTES 32

struct outq_chunk;

struct outq {
    char *cur, *end; /* room in the tail chunk */
    char *mark;      /* place in the tail chunk that has position `finish` */
    uint64_t finish; /* position of mark */
    uint64_t begin;  /* position of the first byte not yet consumed */
    struct outq_chunk *head, *tail;
    size_t memory_bytes; /* chunks and referenced bytes */
    size_t chunks;
    unsigned open_holes;
};

void outq_init(struct outq *q);
/* As outq_init(), with positions from here on. */
void outq_init_at(struct outq *q, uint64_t position);
void outq_deinit(struct outq *q); /* frees all chunks */
void outq_clear(
    struct outq *q); /* drops all bytes not yet consumed, and open holes; positions go on from the old end */

/* Slow path of outq_reserve(): begins a new chunk. */
char *outq_reserve_chunk(struct outq *q, size_t n);
void outq_append_chunks(struct outq *q, const void *p, size_t n);

/* Room for n contiguous bytes (1 ≤ n ≤ OUTQ_RESERVE_MAX); the caller writes at most n and calls outq_commit(). */
static inline char *outq_reserve(struct outq *q, size_t n) {
    if (__builtin_expect((size_t)(q->end - q->cur) >= n, 1))
        return q->cur;
    return outq_reserve_chunk(q, n);
}

static inline void outq_commit(struct outq *q, size_t n) {
    q->cur += n;
}

static inline void outq_append(struct outq *q, const void *p, size_t n) {
    if (__builtin_expect((size_t)(q->end - q->cur) < n, 0)) {
        outq_append_chunks(q, p, n);
        return;
    }
    if (n == 0)
        return;
    memcpy(q->cur, p, n);
    q->cur += n;
}

/* Appends bytes [offset, offset + n) of r by reference (takes a new reference) when n ≥ OUTQ_REF_MIN, by copy
 * otherwise. */
void outq_append_rbuf(struct outq *q, struct rbuf *r, size_t offset, size_t n);

/* Position behind the last byte. Positions taken while a hole is open are void once it is filled. */
static inline uint64_t outq_end(const struct outq *q) {
    return q->finish + (uint64_t)(q->cur - q->mark);
}
/* Bytes not yet consumed. */
static inline size_t outq_pending(const struct outq *q) {
    return (size_t)(outq_end(q) - q->begin);
}
static inline bool outq_empty(const struct outq *q) {
    return outq_pending(q) == 0;
}
/* Bytes of memory held, for limits. */
static inline size_t outq_memory(const struct outq *q) {
    return q->memory_bytes;
}
static inline size_t outq_chunks(const struct outq *q) {
    return q->chunks;
}

/* Fills iov with the bytes from the front up to (not including) position limit. Returns the count of iovecs. */
int outq_iov(const struct outq *q, uint64_t limit, struct iovec *iov, int iov_max);
/* Drops n ≤ pending bytes from the front and frees what is done. */
void outq_consume(struct outq *q, size_t n);
/* Moves all bytes of src (which has no open hole) to the end of dst; src is empty afterwards. */
void outq_move(struct outq *dst, struct outq *src);

/* A header whose number is known only later (an aggregate's length): opens a hole at the end, filled once with at most
 * OUTQ_HOLE_BYTES. Bytes appended meanwhile come after it. Nothing from the hole on may be consumed before it is
 * filled. Nested holes are filled innermost first. */
struct outq_hole {
    struct outq_chunk *chunk;
    char *at;
    unsigned depth;
};
struct outq_hole outq_open_hole(struct outq *q);
void outq_fill_hole(struct outq *q, struct outq_hole hole, const void *p, size_t n);

/* Asserts all invariants; for tests and fuzzers. */
void outq_check(const struct outq *q);

#endif
