/* An output queue: the bytes a client is still owed, in chunks, with large values by reference.
 *
 * Bytes are appended at the end and consumed from the front; positions are counted from the queue's birth (u64, never wrap), so that
 * release marks and deferred headers can name a place. Small replies fill a chunk taken from a pool; a value of OUTQ_REF_MIN bytes or
 * more held in an rbuf is referenced, not copied.
 *
 * Ownership: embedded in the connection (init/deinit). Thread: one at a time (an I/O thread may fill iovecs and consume while the owner
 * waits for it).
 */
#ifndef HF_PROTO_OUTQ_H
#define HF_PROTO_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "server/base/buf.h"
#include "server/base/slice.h"

#define OUTQ_CHUNK_BYTES 16384
#define OUTQ_REF_MIN 16384

struct outq_chunk;

struct outq {
    struct outq_chunk *head, *tail;
    char *cur, *end;     /* room in the tail chunk */
    uint64_t begin;      /* position of the first byte not yet consumed */
    uint64_t finish;     /* position behind the last appended byte, as of the last outq_finish() or slow-path call */
    size_t memory_bytes; /* chunks and referenced blocks */
    size_t chunks;
};

void outq_init(struct outq *q);
void outq_deinit(struct outq *q); /* frees all chunks */
void outq_clear(struct outq *q);  /* drops all bytes not yet consumed */

/* Room for n contiguous bytes (n ≤ OUTQ_CHUNK_BYTES / 4); the caller writes at most n and calls outq_commit(). */
char *outq_reserve(struct outq *q, size_t n);
void outq_commit(struct outq *q, size_t n);
void outq_append(struct outq *q, const void *p, size_t n);
/* Appends bytes [offset, offset + n) of r by reference (takes a new reference) when n ≥ OUTQ_REF_MIN, by copy otherwise. */
void outq_append_rbuf(struct outq *q, struct rbuf *r, size_t offset, size_t n);

uint64_t outq_end(const struct outq *q);      /* position behind the last byte */
size_t outq_pending(const struct outq *q);    /* bytes not yet consumed */
static inline bool outq_empty(const struct outq *q) { return outq_pending(q) == 0; }
size_t outq_memory(const struct outq *q);     /* bytes of memory held, for limits */
size_t outq_chunks(const struct outq *q);

/* Fills iov with the bytes from the front up to (not including) position limit. Returns the count of iovecs. */
int outq_iov(const struct outq *q, uint64_t limit, struct iovec *iov, int iov_max);
/* Drops n bytes from the front and frees what is done. */
void outq_consume(struct outq *q, size_t n);
/* Moves all bytes of src to the end of dst; src is empty afterwards. */
void outq_move(struct outq *dst, struct outq *src);

/* A header whose number is known only later (an aggregate's length): opens a hole at the end, filled once with at most 32 bytes.
 * Bytes appended meanwhile come after it. Nothing from the hole on may be consumed before it is filled. */
struct outq_hole {
    struct outq_chunk *chunk;
};
struct outq_hole outq_open_hole(struct outq *q);
void outq_fill_hole(struct outq *q, struct outq_hole hole, const void *p, size_t n);

#endif
