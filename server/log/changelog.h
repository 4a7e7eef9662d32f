/* The change log: one byte sequence of everything that changed the data, in memory, with cursors.
 *
 * The engine appends each change once, as the RESP command that repeats it; the AOF, the replication backlog, replicas
 * and slot migrations are cursors that read the same reference-counted segments. The offset of a byte is the
 * replication offset.
 *
 * A *group* is what must be applied whole: a command, or MULTI … EXEC. changelog_append() adds to the open group,
 * changelog_end_group() closes it; cursors see whole groups only, and the AOF writer puts its annotation lines only
 * between groups.
 *
 * Prefixes: appended ≥ written ≥ durable. `released` is the prefix whose replies may go out; which one that is the
 * durability policy decides (server/log/durability.h, a pure state machine). Offsets start at the recovered offset and
 * never go back.
 *
 * Thread: the loop's thread, except that the log thread reads segment bytes it was handed by reference. Errors: none;
 * memory is bounded by the callers through changelog_pending_bytes().
 */
#ifndef HF_LOG_CHANGELOG_H
#define HF_LOG_CHANGELOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define CHANGELOG_ID_CHARS 40

struct changelog;

/* start: offset of the first byte to come. */
struct changelog *changelog_create(uint64_t start);
void changelog_destroy(struct changelog *cl);

/* ---- appending (engine) ---- */
/* True when somebody reads: an AOF, a backlog or another cursor. When false, the engine need not append at all. */
bool changelog_is_active(const struct changelog *cl);

/* The room behind the last byte: where changelog_append() copies to. First member of struct changelog; nobody else
 * looks at it. */
struct changelog_tail {
    char *at;
    char *end;
    uint64_t end_offset; /* the offset that `end` stands for */
};
void changelog_append_slow(struct changelog *cl, const void *p, size_t n);

static inline void changelog_append(struct changelog *cl, const void *p, size_t n) {
    struct changelog_tail *tail = (struct changelog_tail *)cl;
    if (__builtin_expect(n <= (size_t)(tail->end - tail->at), 1)) {
        memcpy(tail->at, p, n);
        tail->at += n;
    } else {
        changelog_append_slow(cl, p, n);
    }
}

void changelog_end_group(struct changelog *cl);
/* Offset behind the last byte appended (open group included). */
static inline uint64_t changelog_appended(const struct changelog *cl) {
    const struct changelog_tail *tail = (const struct changelog_tail *)cl;
    return tail->end_offset - (uint64_t)(tail->end - tail->at);
}
/* Offset behind the last whole group. */
uint64_t changelog_sealed(const struct changelog *cl);
/* The database that the last SELECT in the log names, or -1: a change in another one is preceded by a SELECT that
 * counts as bytes of the log. The engine sets it when it appends one; a reader that starts afresh (a new increment, a
 * new replica) resets it to -1 or states its own SELECT. */
int changelog_db(const struct changelog *cl);
void changelog_set_db(struct changelog *cl, int db);
/* True while the bytes are another node's (a replica): nobody may slip in a SELECT, so changelog_db() is then the database
 * that the next bytes mean, and a reader that starts afresh states it outside of the log. */
bool changelog_is_verbatim(const struct changelog *cl);
void changelog_set_verbatim(struct changelog *cl, bool verbatim);
/* The first group boundary known at or behind offset + min_bytes, or the sealed offset when none is known there.
 * Boundaries are remembered about every 256 KiB, so that a long backlog is committed in pieces. offset is itself a
 * boundary. */
uint64_t changelog_boundary(const struct changelog *cl, uint64_t offset, size_t min_bytes);
/* Moves the start to another offset when no cursor is attached and nothing is pending (recovery, full sync). */
void changelog_reset(struct changelog *cl, uint64_t start);

/* Replication ids: the current one and the previous with the last offset it is valid for. */
struct changelog_history {
    char id[CHANGELOG_ID_CHARS + 1];
    char id2[CHANGELOG_ID_CHARS + 1]; /* forty zeros when there is none */
    int64_t id2_offset;               /* last offset id2 is valid for, -1 when none */
};
const struct changelog_history *changelog_history(const struct changelog *cl);
void changelog_set_history(struct changelog *cl, const struct changelog_history *h);

/* ---- release (engine) ---- */
/* Replies that need offset ≤ this may be sent. UINT64_MAX when no policy holds replies. */
uint64_t changelog_released(const struct changelog *cl);
/* Set by whoever runs the policy (the AOF, write-ack). */
void changelog_set_released(struct changelog *cl, uint64_t offset);
/* True while a change appended now would not be released in this cycle of the loop, so that reads of keys in flight
 * must be tracked. */
bool changelog_holds(const struct changelog *cl);
void changelog_set_holds(struct changelog *cl, bool holds);
/* True while writes must wait because too many bytes are unwritten (`aof-buffer-limit`); reads go on. */
bool changelog_is_full(const struct changelog *cl);
void changelog_set_full(struct changelog *cl, bool full);

/* The error that refuses commands which write (the text behind "-", as "MISCONF …"), or NULL. Reads go on. The text is
 * copied. */
const char *changelog_refusal(const struct changelog *cl);
void changelog_set_refusal(struct changelog *cl, const char *text);
/* The durable prefix: what WAITAOF compares with. 0 until an AOF says otherwise. */
uint64_t changelog_durable(const struct changelog *cl);
void changelog_set_durable(struct changelog *cl, uint64_t offset);

/* ---- cursors ---- */
struct changelog_cursor;
/* A reader from `offset` (within [first, appended]). NULL when that offset is no longer held. */
struct changelog_cursor *changelog_cursor_create(struct changelog *cl, uint64_t offset);
void changelog_cursor_destroy(struct changelog_cursor *c);
uint64_t changelog_cursor_offset(const struct changelog_cursor *c);
/* iovecs of sealed bytes from the cursor on, at most max_bytes; the total in *ret_bytes. The bytes stay valid until the
 * cursor moves past them. */
int changelog_cursor_iov(const struct changelog_cursor *c, struct iovec *iov, int iov_max, size_t max_bytes,
                         size_t *ret_bytes);
/* Moves on by n bytes; segments that no cursor needs are freed. */
void changelog_cursor_advance(struct changelog_cursor *c, size_t n);
/* Bytes held in segments. */
size_t changelog_memory(const struct changelog *cl);

#endif
