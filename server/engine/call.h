/* A call: one execution of one command. This is the whole interface between commands and the engine.
 *
 * Ownership: everything in struct call is borrowed for the duration of the function. argv points into the client's input buffer: what must outlive the
 * call is copied. Thread: the loop's thread.
 *
 * A command replies exactly once (through c->w or the helpers), announces every change of a key with call_changed(), and leaves propagation to
 * the engine: when something changed, the request itself goes to the change log, unless call_propagate_*() said otherwise.
 */
#ifndef HF_ENGINE_CALL_H
#define HF_ENGINE_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"
#include "server/ds/packed.h"
#include "server/engine/client.h"
#include "server/engine/command.h"
#include "server/proto/resp.h"
#include "server/store/keyspace.h"

struct engine;

struct call {
    struct engine *engine;
    struct client *client;
    struct keyspace *ks;
    struct command_entry *cmd;
    const struct slice *argv;
    int argc;
    unsigned db;           /* the client's database */
    struct resp_writer *w; /* &client->w */
    struct keyref key;     /* of argv[key_index], hashed ahead */
    int key_index;         /* 0: none was hashed ahead */
    struct rbuf *large;    /* block of the last argument, when it has one; see call_take_argument() */
    /* outcome (engine) */
    uint64_t dirty;        /* changes announced */
    bool failed;           /* an error was replied */
    bool retry;            /* (engine) run again for a client that waited for a key; see call_block_on_keys() */
    uint8_t propagate;     /* enum call_propagation */
    uint64_t redacted;     /* bit i: logs show argv[i] as "(redacted)"; see call_redact() */
};

/* The context given with the command's row. */
static inline void *call_context(const struct call *c) { return c->cmd->ctx; }
/* Wall clock of this command, transaction or script, Unix ms. */
static inline int64_t call_now_ms(const struct call *c) { return keyspace_now_ms(c->ks); }

/* ---- replies ---- */
/* "-" text; the first word is the code. Counted in errorstats. */
void call_error(struct call *c, const char *text);
void call_errorf(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void call_error_syntax(struct call *c);        /* ERR syntax error */
void call_error_wrong_type(struct call *c);    /* WRONGTYPE Operation against a key holding the wrong kind of value */
void call_error_not_integer(struct call *c);   /* ERR value is not an integer or out of range */
void call_error_not_float(struct call *c);     /* ERR value is not a valid float */
void call_error_out_of_range(struct call *c);  /* ERR index out of range */
void call_error_no_key(struct call *c);        /* ERR no such key */
void call_error_arity(struct call *c);         /* ERR wrong number of arguments for '…' command */
void call_error_oom(struct call *c);           /* OOM command not allowed when used memory > 'maxmemory'. */
/* Unknown subcommand of a container: ERR unknown subcommand '…'. Try … HELP. */
void call_error_subcommand(struct call *c);
/* HELP: title line "CMD <subcommand> …" and HELP lines around the module's own lines (NULL-terminated). */
void call_reply_help(struct call *c, const char *const *lines);

/* An element of a collection as a bulk string. */
static inline void call_reply_item(struct resp_writer *w, const struct packed_item *item) {
    if (item->is_int)
        resp_bulk_i64(w, item->i);
    else
        resp_bulk(w, item->s);
}

/* argv[i] is a secret: the slow log must not show it. */
void call_redact(struct call *c, int i);

/* ---- arguments: on failure reply the usual error and return false ---- */
bool call_arg_i64(struct call *c, int i, int64_t *ret_value);              /* not an integer or out of range */
/* error NULL: not an integer or out of range; value is out of range, value must between min and max. */
bool call_arg_i64_range(struct call *c, int i, int64_t min, int64_t max, const char *error, int64_t *ret_value);
bool call_arg_double(struct call *c, int i, double *ret_value);            /* not a valid float */
bool call_arg_ldouble(struct call *c, int i, long double *ret_value);
/* A database number: ERR DB index is out of range / invalid DB index. */
bool call_arg_db(struct call *c, int i, unsigned *ret_db);
/* A deadline from a time argument as EXPIRE, SET EX, GETEX … have it: unit 1 (ms) or 1000 (s), relative or absolute. Refuses ≤ 0 when `positive` and overflow
 * with "ERR invalid expire time in 'name' command". *ret_ms is absolute Unix ms. */
bool call_arg_deadline(struct call *c, int i, int64_t unit_ms, bool absolute, bool positive, int64_t *ret_ms);

/* A large argument that has a block of its own: a reference to the block, whose bytes nobody changes while they are
 * shared; the argument stays valid during the call. NULL: it has none, copy it. */
struct rbuf *call_take_argument(struct call *c, struct slice argument);

/* ---- keys ---- */
/* The keyref of argv[i]; free for the key hashed ahead. */
struct keyref call_key(const struct call *c, int i);
/* Look-ups for reading: count hits and misses, touch the access clock, note keys in flight. NULL if absent. */
struct entry *call_find_read(struct call *c, const struct keyref *key);
struct entry *call_find_read_notouch(struct call *c, const struct keyref *key); /* TTL, TYPE: no clock change */
struct entry *call_find_read_silent(struct call *c, const struct keyref *key); /* OBJECT: and no event of a miss */
/* For writing: no hit count. */
struct entry *call_find_write(struct call *c, const struct keyref *key);
/* As above for a type: on another type replies WRONGTYPE and returns false; *ret_e is NULL if absent. */
bool call_find_read_type(struct call *c, const struct keyref *key, enum value_type type, struct entry **ret_e);
bool call_find_write_type(struct call *c, const struct keyref *key, enum value_type type, struct entry **ret_e);
/* Any database: COPY … DB, MOVE. */
struct entry *call_find_write_db(struct call *c, unsigned db, const struct keyref *key);

/* ---- collections ---- */
/* The handle of an entry's collection, to be read, or changed and stored back. */
static inline struct collection call_collection(const struct call *c, const struct entry *e) {
    return collection_of(keyspace_rules(c->ks), e);
}
/* After a change: e, which call_find_write*() returned, gets the object and encoding that the handle has now; with e NULL
 * the handle becomes a new key's value, without a deadline. A collection without elements is freed, and its key deleted
 * (streams stay). True when the key is there afterwards; where it is not and was, the caller announces "del" behind his
 * own event. */
bool call_collection_store(struct call *c, const struct keyref *key, struct entry *e, enum value_type type,
                           const struct collection *col) __attribute__((warn_unused_result));
/* As above, replacing whatever is there, its deadline too: SUNIONSTORE, ZRANGESTORE, SORT … STORE. False: nothing was
 * stored, for there are no elements; *ret_existed (may be NULL) tells whether the key was there before. */
bool call_collection_replace(struct call *c, const struct keyref *key, enum value_type type,
                             const struct collection *col, bool *ret_existed) __attribute__((warn_unused_result));

/* ---- changes ---- */
/* Keyspace notification classes (notify-keyspace-events). */
enum notify_class {
    NOTIFY_GENERIC = 1 << 0,  /* g */
    NOTIFY_STRING = 1 << 1,   /* $ */
    NOTIFY_LIST = 1 << 2,     /* l */
    NOTIFY_SET = 1 << 3,      /* s */
    NOTIFY_HASH = 1 << 4,     /* h */
    NOTIFY_ZSET = 1 << 5,     /* z */
    NOTIFY_EXPIRED = 1 << 6,  /* x */
    NOTIFY_EVICTED = 1 << 7,  /* e */
    NOTIFY_STREAM = 1 << 8,   /* t */
    NOTIFY_KEY_MISS = 1 << 9, /* m */
    NOTIFY_MODULE = 1 << 10,  /* d */
    NOTIFY_NEW = 1 << 11,     /* n */
};
/* A key changed: wakes WATCHers, counts towards save points, marks it in flight, notifies with the event's name. Call it after the change, once per event. */
void call_changed(struct call *c, const struct keyref *key, enum notify_class cls, const char *event);
void call_changed_db(struct call *c, unsigned db, const struct keyref *key, enum notify_class cls, const char *event);
/* A change that WATCHers do not see: how far the groups of a stream have come, beside its entries. Counts towards save
 * points and is in flight; `wakes`: clients that wait for the key look again. Nothing is notified. */
void call_changed_unwatched(struct call *c, const struct keyref *key, bool wakes);
/* A further event for a change already announced: notification only. */
void call_notify(struct call *c, unsigned db, const struct keyref *key, enum notify_class cls, const char *event);
/* A whole database changes (db = -1: all), `keys` of them: FLUSHDB, SWAPDB. Call it before the change, while the keys that
 * WATCHers lose are still there, and again after it where others took their place. */
void call_changed_all(struct call *c, int db, size_t keys);

/* ---- propagation ---- */
enum call_propagation {
    CALL_PROPAGATE_REQUEST,
    CALL_PROPAGATE_OWN,
    CALL_PROPAGATE_NOTHING,
    CALL_PROPAGATE_MESSAGE
};
/* Instead of the request, these commands in this order (all in one group; several are wrapped in MULTI/EXEC). Arguments are copied. The first call replaces
 * the request, further ones add. */
void call_propagate(struct call *c, unsigned db, const struct slice *argv, int argc);
/* Convenience: NULL-terminated C words for fixed parts would hide lengths; build slices. */
void call_propagate_nothing(struct call *c);
/* False where nothing is propagated now: effects that take work to put together need not be. */
bool call_propagates(const struct call *c);
/* Even though nothing was announced as changed, propagate the request (e.g. SCRIPT FLUSH). */
void call_propagate_always(struct call *c);
/* The request is a message to replicas (PUBLISH): it goes to the change log while some are attached, is no change, and
 * its reply waits for nothing. */
void call_propagate_message(struct call *c);

/* ---- blocking until a key can serve ---- */
/* The null where the caller must not wait; at the end of a wait it is the null array always. */
enum call_timeout_reply { CALL_TIMEOUT_NULL, CALL_TIMEOUT_NULL_ARRAY };
/* Seconds with a fraction, as BLPOP has them: *ret_ms is 0 for 0, else at least 1. Replies "ERR timeout is not a float or
 * out of range", "ERR timeout is negative", "ERR timeout is out of range". */
bool call_arg_timeout(struct call *c, int i, int64_t *ret_ms);
/* Blocks the client until one of the keys holds a value of this type that was changed since, then runs the request again
 * with c->retry set. A command that finds nothing then either calls this again, and keeps its place among the waiters of
 * its keys and its deadline (timeout_ms is not looked at). While a request runs again, call_find_*() finds nothing under
 * those of its keys that are not the one which was changed. Waiters of a key are served in the order in which they came, each
 * as long as the key can serve, after the command, transaction or script that changed it. timeout_ms 0: for ever; at the
 * end the reply is the null array. gone_error: NULL, or the error text with which the client is released when a
 * key of its is deleted or replaced by another type (XREADGROUP). Where the caller must not block (call_must_not_block())
 * the null named is replied at once. */
void call_block_on_keys(struct call *c, const struct keyref *keys, size_t n, enum value_type type, int64_t timeout_ms,
                        enum call_timeout_reply reply, const char *gone_error);

/* ---- blocking until something outside the key space happens (WAIT, WAITAOF, …) ---- */
struct client_block_ops {
    const char *name;
    /* Asked before each sleep: true when the client may go on; then reply() is called. */
    bool (*ready)(struct client *cl, void *state);
    /* Writes the reply: timed_out tells why. */
    void (*reply)(struct client *cl, void *state, bool timed_out);
    void (*free)(void *state);
};
/* Blocks the client; timeout_ms 0 = for ever. state is owned from now on. Never inside MULTI (the caller replies at once there). */
void call_block(struct call *c, const struct client_block_ops *ops, void *state, int64_t timeout_ms);
/* True inside EXEC or where the caller cannot wait. */
bool call_must_not_block(const struct call *c);

#endif
