#include "config.h"

#include "server/log/changelog.h"

#include <stdint.h>

#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/mem.h"

/* Segments are blocks of 256 KiB in a singly linked list:
 *
 *      head                                      tail
 *   [ xxxxxxxx ] → [ xxxxxxxxxxxxxxxxxx ] → [ xxxxx......... ]
 *     ^ first            ^ cursor                  ^ at      ^ end
 *
 * The tail is written through struct changelog_tail, so an append is a comparison and a copy. Bytes before a cursor of
 * every reader are let go in whole segments; the last one freed is kept as the spare for the next. When every cursor
 * has read everything, the tail is written from its beginning again: the log of a server that keeps up then lives in
 * the processor's cache.
 *
 * Invariants (check()):
 *  1. Segments are contiguous: s->start + s->len = s->next->start for all but the tail, whose len is implied by `at`.
 *  2. first ≤ every cursor ≤ sealed ≤ appended; marks ascend strictly and lie in (first, sealed].
 */
#define SEGMENT_BYTES (256 * 1024)
#define MARK_BYTES (256 * 1024)

struct segment {
    struct segment *next;
    struct rbuf *block;
    uint64_t start;
    size_t len; /* final once it is not the tail any more */
};

struct changelog {
    struct changelog_tail tail; /* first: changelog_append() casts */
    uint64_t sealed;
    uint64_t last_mark;
    uint64_t released;
    uint64_t durable;
    uint64_t first; /* offset of the first byte held */
    bool holds, full, verbatim;
    int db;
    struct segment *head, *last;
    struct segment *spare;
    size_t memory;
    struct changelog_cursor *cursors;
    uint64_t *marks; /* ring of group boundaries, about one every MARK_BYTES */
    size_t mark_head, mark_count, mark_cap;
    char *refusal;
    struct changelog_history history;
};

struct changelog_cursor {
    struct changelog *cl;
    struct changelog_cursor *next;
    struct segment *segment; /* holds the byte at offset; the tail when there is none yet */
    uint64_t offset;
};

_Static_assert(offsetof(struct changelog, tail) == 0, "the tail is reached by a cast");

static struct segment *segment_create(struct changelog *cl, size_t min_bytes) {
    if (cl->spare != NULL && cl->spare->block->cap >= min_bytes) {
        struct segment *s = cl->spare;
        cl->spare = NULL;
        s->next = NULL;
        s->len = 0;
        return s;
    }
    struct segment *s = mem_calloc(1, sizeof *s);
    s->block = rbuf_create(min_bytes > SEGMENT_BYTES ? min_bytes : SEGMENT_BYTES);
    cl->memory += s->block->cap;
    return s;
}

static void segment_free(struct changelog *cl, struct segment *s) {
    cl->memory -= s->block->cap;
    rbuf_unref(s->block);
    mem_free(s);
}

static void segment_retire(struct changelog *cl, struct segment *s) {
    if (cl->spare == NULL && s->block->cap == SEGMENT_BYTES)
        cl->spare = s;
    else
        segment_free(cl, s);
}

/* Makes s the tail, to be written from its first byte, which stands for offset. */
static void set_tail(struct changelog *cl, struct segment *s, uint64_t offset) {
    s->start = offset;
    cl->last = s;
    cl->tail.at = s->block->data;
    cl->tail.end = s->block->data + s->block->cap;
    cl->tail.end_offset = offset + s->block->cap;
}

struct changelog *changelog_create(uint64_t start) {
    struct changelog *cl = mem_calloc(1, sizeof *cl);
    cl->head = segment_create(cl, 0);
    cl->released = UINT64_MAX;
    memset(cl->history.id, '0', CHANGELOG_ID_CHARS);
    memset(cl->history.id2, '0', CHANGELOG_ID_CHARS);
    cl->history.id2_offset = -1;
    changelog_reset(cl, start);
    return cl;
}

void changelog_destroy(struct changelog *cl) {
    if (cl == NULL)
        return;
    HF_ASSERT(cl->cursors == NULL);
    while (cl->head != NULL) {
        struct segment *next = cl->head->next;
        segment_free(cl, cl->head);
        cl->head = next;
    }
    if (cl->spare != NULL)
        segment_free(cl, cl->spare);
    mem_free(cl->marks);
    mem_free(cl->refusal);
    mem_free(cl);
}

void changelog_reset(struct changelog *cl, uint64_t start) {
    HF_ASSERT(cl->cursors == NULL);
    while (cl->head->next != NULL) {
        struct segment *next = cl->head->next;
        segment_retire(cl, cl->head);
        cl->head = next;
    }
    set_tail(cl, cl->head, start);
    cl->first = cl->sealed = cl->last_mark = start;
    cl->mark_count = 0;
    cl->durable = 0;
    cl->db = -1;
}

bool changelog_is_active(const struct changelog *cl) {
    return cl->cursors != NULL;
}

/* ---- letting go ------------------------------------------------------------------------------------------------ */

static void trim(struct changelog *cl) {
    uint64_t low = changelog_appended(cl);
    for (const struct changelog_cursor *c = cl->cursors; c != NULL; c = c->next)
        if (c->offset < low)
            low = c->offset;
    while (cl->head != cl->last && cl->head->start + cl->head->len <= low) {
        struct segment *gone = cl->head;
        cl->head = gone->next;
        for (struct changelog_cursor *c = cl->cursors; c != NULL; c = c->next)
            if (c->segment == gone)
                c->segment = cl->head;
        segment_retire(cl, gone);
    }
    cl->first = low;
    while (cl->mark_count > 0 && cl->marks[cl->mark_head] <= low) {
        cl->mark_head = (cl->mark_head + 1) % cl->mark_cap;
        cl->mark_count--;
    }
    if (cl->head == cl->last && low == changelog_appended(cl) && rbuf_is_unique(cl->last->block))
        set_tail(cl, cl->last, low);
}

/* ---- appending ------------------------------------------------------------------------------------------------- */

void changelog_append_slow(struct changelog *cl, const void *p, size_t n) {
    if (cl->cursors == NULL) {
        /* Nobody will read these bytes: only their count matters. */
        uint64_t end = changelog_appended(cl) + n;
        while (cl->head != cl->last) {
            struct segment *next = cl->head->next;
            segment_retire(cl, cl->head);
            cl->head = next;
        }
        set_tail(cl, cl->last, end);
        cl->first = end;
        return;
    }
    size_t room = (size_t)(cl->tail.end - cl->tail.at);
    memcpy(cl->tail.at, p, room);
    cl->tail.at = cl->tail.end;
    struct segment *full = cl->last;
    full->len = full->block->cap;
    /* What is left of a large value gets a segment of its size: one more piece for writev(), not hundreds. */
    struct segment *s = segment_create(cl, n - room);
    full->next = s;
    set_tail(cl, s, full->start + full->len);
    memcpy(cl->tail.at, (const char *)p + room, n - room);
    cl->tail.at += n - room;
}

static void push_mark(struct changelog *cl) {
    if (cl->mark_count == cl->mark_cap) {
        size_t cap = cl->mark_cap == 0 ? 16 : cl->mark_cap * 2;
        uint64_t *marks = mem_alloc(cap * sizeof *marks);
        for (size_t i = 0; i < cl->mark_count; i++)
            marks[i] = cl->marks[(cl->mark_head + i) % cl->mark_cap];
        mem_free(cl->marks);
        cl->marks = marks;
        cl->mark_head = 0;
        cl->mark_cap = cap;
    }
    cl->marks[(cl->mark_head + cl->mark_count++) % cl->mark_cap] = cl->sealed;
    cl->last_mark = cl->sealed;
}

void changelog_end_group(struct changelog *cl) {
    cl->sealed = changelog_appended(cl);
    if (__builtin_expect(cl->sealed - cl->last_mark >= MARK_BYTES, 0) && cl->cursors != NULL)
        push_mark(cl);
}

uint64_t changelog_sealed(const struct changelog *cl) {
    return cl->sealed;
}

uint64_t changelog_boundary(const struct changelog *cl, uint64_t offset, size_t min_bytes) {
    HF_ASSERT(offset <= cl->sealed);
    if (cl->sealed - offset <= min_bytes)
        return cl->sealed;
    /* The first mark ≥ offset + min_bytes, by bisection of the ring. */
    size_t low = 0, high = cl->mark_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (cl->marks[(cl->mark_head + mid) % cl->mark_cap] < offset + min_bytes)
            low = mid + 1;
        else
            high = mid;
    }
    return low < cl->mark_count ? cl->marks[(cl->mark_head + low) % cl->mark_cap] : cl->sealed;
}

int changelog_db(const struct changelog *cl) {
    return cl->db;
}

void changelog_set_db(struct changelog *cl, int db) {
    cl->db = db;
}

bool changelog_is_verbatim(const struct changelog *cl) {
    return cl->verbatim;
}

void changelog_set_verbatim(struct changelog *cl, bool verbatim) {
    cl->verbatim = verbatim;
}

const struct changelog_history *changelog_history(const struct changelog *cl) {
    return &cl->history;
}

void changelog_set_history(struct changelog *cl, const struct changelog_history *h) {
    cl->history = *h;
}

/* ---- what the policy says -------------------------------------------------------------------------------------- */

uint64_t changelog_released(const struct changelog *cl) {
    return cl->released;
}

void changelog_set_released(struct changelog *cl, uint64_t offset) {
    cl->released = offset;
}

bool changelog_holds(const struct changelog *cl) {
    return cl->holds;
}

void changelog_set_holds(struct changelog *cl, bool holds) {
    cl->holds = holds;
}

bool changelog_is_full(const struct changelog *cl) {
    return cl->full;
}

void changelog_set_full(struct changelog *cl, bool full) {
    cl->full = full;
}

const char *changelog_refusal(const struct changelog *cl) {
    return cl->refusal;
}

void changelog_set_refusal(struct changelog *cl, const char *text) {
    char *copy = text == NULL ? NULL : mem_strdup(text);
    mem_free(cl->refusal);
    cl->refusal = copy;
}

uint64_t changelog_durable(const struct changelog *cl) {
    return cl->durable;
}

void changelog_set_durable(struct changelog *cl, uint64_t offset) {
    cl->durable = offset;
}

/* ---- cursors --------------------------------------------------------------------------------------------------- */

struct changelog_cursor *changelog_cursor_create(struct changelog *cl, uint64_t offset) {
    if (cl->cursors == NULL)
        trim(cl);
    if (offset < cl->first || offset > cl->sealed)
        return NULL;
    struct changelog_cursor *c = mem_calloc(1, sizeof *c);
    c->cl = cl;
    c->offset = offset;
    c->segment = cl->head;
    while (c->segment != cl->last && offset >= c->segment->start + c->segment->len)
        c->segment = c->segment->next;
    c->next = cl->cursors;
    cl->cursors = c;
    return c;
}

void changelog_cursor_destroy(struct changelog_cursor *c) {
    if (c == NULL)
        return;
    struct changelog *cl = c->cl;
    struct changelog_cursor **link = &cl->cursors;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    mem_free(c);
    trim(cl);
}

uint64_t changelog_cursor_offset(const struct changelog_cursor *c) {
    return c->offset;
}

int changelog_cursor_iov(const struct changelog_cursor *c, struct iovec *iov, int iov_max, size_t max_bytes,
                         size_t *ret_bytes) {
    uint64_t left = c->cl->sealed - c->offset;
    if (left > max_bytes)
        left = max_bytes;
    uint64_t at = c->offset;
    int n = 0;
    size_t total = 0;
    for (struct segment *s = c->segment; s != NULL && left > 0 && n < iov_max; s = s->next) {
        size_t skip = (size_t)(at - s->start);
        size_t len = s == c->cl->last ? (size_t)(c->cl->tail.at - s->block->data) : s->len;
        size_t take = len - skip;
        if (take == 0)
            continue;
        if (take > left)
            take = (size_t)left;
        iov[n++] = (struct iovec){s->block->data + skip, take};
        total += take;
        at += take;
        left -= take;
    }
    *ret_bytes = total;
    return n;
}

void changelog_cursor_advance(struct changelog_cursor *c, size_t n) {
    HF_ASSERT(n <= c->cl->sealed - c->offset);
    c->offset += n;
    while (c->segment != c->cl->last && c->offset >= c->segment->start + c->segment->len)
        c->segment = c->segment->next;
    trim(c->cl);
}

size_t changelog_memory(const struct changelog *cl) {
    return cl->memory;
}
