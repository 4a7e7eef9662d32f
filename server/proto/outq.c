#include "config.h"

#include "server/proto/outq.h"

#include "server/base/assert.h"
#include "server/base/mem.h"

/* A queue is a list of chunks. Only the tail grows, at q->cur; the length of the others is final.
 *
 *   head                          tail
 *   [····bytes bytes]→[ref]→…→[···bytes bytes      room      ]
 *        ^data                     ^data      ^cur           ^end
 *
 * Invariants
 * 1. head, tail, cur, end and mark are NULL together; then there are no bytes.
 * 2. tail->data ≤ cur ≤ end, mark ≤ cur, all inside the tail; a tail that is a reference has cur == end.
 * 3. begin + sum of chunk lengths == outq_end().
 * 4. memory_bytes is the sum over chunks of their allocation and of the bytes they reference.
 *
 * The first chunk of an empty queue is small: most queues get a reply or a pipeline's worth and are written out at
 * once, and small chunks of an odd size class share the cache between many clients better than big aligned ones, whose
 * headers all fall into one set of it.
 */

struct outq_chunk {
    struct outq_chunk *next;
    char *data;       /* first byte not consumed */
    size_t len;       /* from data; of the tail, q->cur tells */
    struct rbuf *ref; /* the bytes lie in it; NULL: they lie behind this header */
    size_t alloc_bytes;
    char bytes[];
};

#define HEADER_BYTES sizeof(struct outq_chunk)
/* Replies to 32 GETs of 64-byte values fit; a jemalloc size class that is no power of two. */
#define FIRST_CHUNK_BYTES 2560
/* Bytes copied at once from a large reply that is not reference-counted. */
#define COPY_CHUNK_BYTES 65536
/* Up to here outq_move() copies instead of linking chunks that are mostly empty. */
#define MOVE_COPY_MAX 2048

_Static_assert(OUTQ_RESERVE_MAX + HEADER_BYTES <= OUTQ_CHUNK_BYTES, "the largest reservation fits a chunk");

static size_t chunk_len(const struct outq *q, const struct outq_chunk *c) {
    return c == q->tail ? (size_t)(q->cur - c->data) : c->len;
}

static void detach_all(struct outq *q) {
    q->begin = outq_end(q);
    q->finish = q->begin;
    q->cur = q->end = q->mark = NULL;
    q->head = q->tail = NULL;
    q->memory_bytes = 0;
    q->chunks = 0;
}

static void chunk_free(struct outq *q, struct outq_chunk *c, size_t ref_bytes) {
    q->memory_bytes -= c->alloc_bytes;
    q->chunks--;
    if (c->ref != NULL) {
        q->memory_bytes -= ref_bytes;
        rbuf_unref(c->ref);
    }
    mem_free_sized(c, c->alloc_bytes);
}

/* Makes c the tail; its bytes so far are counted. */
static void push_tail(struct outq *q, struct outq_chunk *c, char *cur, char *end) {
    uint64_t position = outq_end(q);
    if (q->tail != NULL) {
        q->tail->len = (size_t)(q->cur - q->tail->data);
        q->tail->next = c;
    } else {
        q->head = c;
    }
    q->tail = c;
    q->cur = cur;
    q->end = end;
    q->mark = c->data;
    q->finish = position;
    q->chunks++;
    q->memory_bytes += c->alloc_bytes;
}

static struct outq_chunk *chunk_create(size_t alloc_bytes) {
    struct outq_chunk *c = mem_alloc(alloc_bytes);
    c->next = NULL;
    c->data = c->bytes;
    c->len = 0;
    c->ref = NULL;
    c->alloc_bytes = alloc_bytes;
    return c;
}

/* A tail with room for at least n bytes. */
static void add_chunk(struct outq *q, size_t n) {
    size_t alloc_bytes = n + HEADER_BYTES;
    bool small = q->tail == NULL || q->tail->ref != NULL;
    if (alloc_bytes <= FIRST_CHUNK_BYTES && small)
        alloc_bytes = FIRST_CHUNK_BYTES;
    else if (alloc_bytes <= OUTQ_CHUNK_BYTES)
        alloc_bytes = OUTQ_CHUNK_BYTES;
    struct outq_chunk *c = chunk_create(alloc_bytes);
    push_tail(q, c, c->bytes, (char *)c + alloc_bytes);
}

void outq_init(struct outq *q) {
    memset(q, 0, sizeof *q);
}

void outq_init_at(struct outq *q, uint64_t position) {
    outq_init(q);
    q->begin = q->finish = position;
}

void outq_deinit(struct outq *q) {
    outq_clear(q);
}

void outq_clear(struct outq *q) {
    struct outq_chunk *c = q->head;
    while (c != NULL) {
        struct outq_chunk *next = c->next;
        chunk_free(q, c, chunk_len(q, c));
        c = next;
    }
    detach_all(q);
    q->open_holes = 0;
}

char *outq_reserve_chunk(struct outq *q, size_t n) {
    HF_ASSERT(n <= OUTQ_RESERVE_MAX);
    add_chunk(q, n);
    return q->cur;
}

void outq_append_chunks(struct outq *q, const void *p, size_t n) {
    const char *from = p;
    while (n > 0) {
        size_t room = (size_t)(q->end - q->cur);
        if (room == 0) {
            add_chunk(q, n < COPY_CHUNK_BYTES ? n : COPY_CHUNK_BYTES);
            room = (size_t)(q->end - q->cur);
        }
        size_t step = n < room ? n : room;
        memcpy(q->cur, from, step);
        q->cur += step;
        from += step;
        n -= step;
    }
}

void outq_append_rbuf(struct outq *q, struct rbuf *r, size_t offset, size_t n) {
    HF_ASSERT(offset <= r->len && n <= r->len - offset);
    if (n < OUTQ_REF_MIN) {
        outq_append(q, r->data + offset, n);
        return;
    }
    struct outq_chunk *c = chunk_create(HEADER_BYTES);
    c->ref = rbuf_ref(r);
    c->data = r->data + offset;
    push_tail(q, c, c->data + n, c->data + n);
    q->memory_bytes += n;
}

int outq_iov(const struct outq *q, uint64_t limit, struct iovec *iov, int iov_max) {
    int count = 0;
    uint64_t position = q->begin;
    for (struct outq_chunk *c = q->head; c != NULL && position < limit && count < iov_max; c = c->next) {
        size_t n = chunk_len(q, c);
        if (n > limit - position)
            n = (size_t)(limit - position);
        if (n == 0)
            continue;
        iov[count].iov_base = c->data;
        iov[count].iov_len = n;
        count++;
        position += n;
    }
    return count;
}

void outq_consume(struct outq *q, size_t n) {
    HF_ASSERT(n <= outq_pending(q));
    q->begin += n;
    while (q->head != NULL) {
        struct outq_chunk *c = q->head;
        size_t len = chunk_len(q, c);
        if (n < len) {
            c->data += n;
            if (c != q->tail)
                c->len -= n;
            else if (q->mark < c->data) {
                q->finish += (uint64_t)(c->data - q->mark);
                q->mark = c->data;
            }
            if (c->ref != NULL)
                q->memory_bytes -= n;
            return;
        }
        n -= len;
        struct outq_chunk *next = c->next;
        bool last = c == q->tail;
        chunk_free(q, c, len);
        q->head = next;
        if (last)
            detach_all(q);
    }
}

void outq_move(struct outq *dst, struct outq *src) {
    HF_ASSERT(dst != src && src->open_holes == 0);
    if (src->head == NULL)
        return;
    size_t n = outq_pending(src);
    if (n <= MOVE_COPY_MAX && dst->head != NULL) {
        for (struct outq_chunk *c = src->head; c != NULL; c = c->next)
            outq_append(dst, c->data, chunk_len(src, c));
        outq_clear(src);
        return;
    }
    uint64_t position = outq_end(dst);
    if (dst->tail != NULL) {
        dst->tail->len = (size_t)(dst->cur - dst->tail->data);
        dst->tail->next = src->head;
    } else {
        dst->head = src->head;
    }
    dst->tail = src->tail;
    dst->cur = src->cur;
    dst->end = src->end;
    dst->mark = src->cur;
    dst->finish = position + n;
    dst->memory_bytes += src->memory_bytes;
    dst->chunks += src->chunks;
    detach_all(src);
}

struct outq_hole outq_open_hole(struct outq *q) {
    char *at = outq_reserve(q, OUTQ_HOLE_BYTES);
    outq_commit(q, OUTQ_HOLE_BYTES);
    return (struct outq_hole){.chunk = q->tail, .at = at, .depth = ++q->open_holes};
}

/* The hole takes its full width at once; filling closes the part not needed by moving what follows in the same chunk.
 * That is at most one chunk's bytes, and keeps replies in one piece. */
void outq_fill_hole(struct outq *q, struct outq_hole hole, const void *p, size_t n) {
    HF_ASSERT(n <= OUTQ_HOLE_BYTES && hole.depth == q->open_holes);
    q->open_holes--;
    memcpy(hole.at, p, n);
    char *old_end = hole.at + OUTQ_HOLE_BYTES;
    char *new_end = hole.at + n;
    size_t unused = OUTQ_HOLE_BYTES - n;
    if (hole.chunk == q->tail) {
        /* The mark lies before the hole: it moves only when a chunk begins, or to the front of what is left to consume.
         */
        HF_ASSERT(q->mark <= hole.at);
        memmove(new_end, old_end, (size_t)(q->cur - old_end));
        q->cur -= unused;
        return;
    }
    struct outq_chunk *c = hole.chunk;
    memmove(new_end, old_end, (size_t)(c->data + c->len - old_end));
    c->len -= unused;
    q->finish -= unused;
}

void outq_check(const struct outq *q) {
    HF_ASSERT((q->head == NULL) == (q->tail == NULL));
    if (q->head == NULL) {
        HF_ASSERT(q->cur == NULL && q->end == NULL && q->mark == NULL);
        HF_ASSERT(q->memory_bytes == 0 && q->chunks == 0 && q->begin == q->finish);
        return;
    }
    size_t memory_bytes = 0, chunks = 0;
    uint64_t position = q->begin;
    const struct outq_chunk *last = NULL;
    for (const struct outq_chunk *c = q->head; c != NULL; c = c->next) {
        size_t len = chunk_len(q, c);
        memory_bytes += c->alloc_bytes + (c->ref != NULL ? len : 0);
        chunks++;
        position += len;
        last = c;
        const char *low = c->ref != NULL ? c->ref->data : c->bytes;
        const char *high = c->ref != NULL ? c->ref->data + c->ref->len : (const char *)c + c->alloc_bytes;
        HF_ASSERT(c->data >= low && c->data + len <= high);
    }
    HF_ASSERT(last == q->tail && position == outq_end(q));
    HF_ASSERT(memory_bytes == q->memory_bytes && chunks == q->chunks);
    HF_ASSERT(q->mark <= q->cur && q->cur <= q->end && q->tail->data <= q->cur);
}
