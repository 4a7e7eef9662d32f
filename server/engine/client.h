/* A client: one session on a connection (or inside the server: the AOF loader, the replication stream).
 *
 * The engine owns clients. Commands read the fields; those marked (engine) are changed by the engine only. A client that is to go away is marked
 * (client_close_*) and freed after the batch it is part of. Thread: the loop's thread; an I/O thread touches `in`, the parser and `out` of the clients it was
 * handed while the loop's thread waits.
 */
#ifndef HF_ENGINE_CLIENT_H
#define HF_ENGINE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "server/base/buf.h"
#include "server/base/slice.h"
#include "server/proto/outq.h"
#include "server/proto/resp.h"

struct engine;
struct conn;
struct command_entry;
struct transaction;
struct client_block;
struct group;

/* Output that another module owns, written behind the client's own queue: what a replica is fed. The bytes are not
 * copied; they stay where they are until written() says how many are out. A client with a source is written to whenever
 * client_feed() was called, until iov() has nothing more. */
struct client_source {
    /* The next bytes in at most `max` pieces: how many pieces, 0 when there are none now; their sum in *ret_bytes. May
     * run on an I/O thread while the loop's thread waits. */
    int (*iov)(void *ctx, struct iovec *iov, int max, size_t *ret_bytes);
    void (*written)(void *ctx, size_t n);
    /* What is kept in memory for this client alone: counts against its output buffer limit. */
    size_t (*held_bytes)(const void *ctx);
    /* The client is being freed. */
    void (*closed)(void *ctx);
};

enum client_flags {
    CLIENT_CLOSE_ASAP = 1 << 0,        /* free after the batch */
    CLIENT_CLOSE_AFTER_REPLY = 1 << 1, /* write what is owed, then close */
    CLIENT_MULTI = 1 << 2,             /* queueing */
    CLIENT_DIRTY_CAS = 1 << 3,         /* a watched key changed: EXEC fails */
    CLIENT_DIRTY_EXEC = 1 << 4,        /* a command was refused while queueing: EXEC aborts */
    CLIENT_REPLY_OFF = 1 << 5,
    CLIENT_REPLY_SKIP_NEXT = 1 << 6,
    CLIENT_REPLY_SKIP = 1 << 7,
    CLIENT_NO_EVICT = 1 << 8,
    CLIENT_NO_TOUCH = 1 << 9,
    CLIENT_UNIX_SOCKET = 1 << 10,
    CLIENT_INTERNAL = 1 << 11, /* no connection: AOF loader and other apply() callers */
    CLIENT_BLOCKED = 1 << 12,
    CLIENT_PAUSED = 1 << 13,   /* waits for the end of CLIENT PAUSE with a request pending */
    CLIENT_READONLY = 1 << 14, /* READONLY of cluster mode */
    CLIENT_ASKING = 1 << 15,
    CLIENT_MONITOR = 1 << 16,
    CLIENT_REPLICA = 1 << 17,
    CLIENT_PRIMARY = 1 << 18,
    CLIENT_PUBSUB = 1 << 19, /* it has subscriptions */
    CLIENT_MUST_OBEY = 1 << 20, /* commands of an AOF or a primary: not refused for memory, disk errors or read-only */
    CLIENT_IN_EXEC = 1 << 21,   /* its EXEC is running */
};

#define CLIENT_READ_EOF 1

/* Output buffer limit classes (client-output-buffer-limit). */
enum client_class { CLIENT_CLASS_NORMAL, CLIENT_CLASS_REPLICA, CLIENT_CLASS_PUBSUB, CLIENT_CLASSES };

/* Replies from position `from` on need the change log released up to `offset`. */
struct client_mark {
    uint64_t from;
    uint64_t offset;
};

struct client {
    struct engine *engine;
    struct conn *conn; /* NULL when internal */
    uint64_t id;
    uint64_t flags; /* enum client_flags */
    unsigned db;
    bool authenticated;

    /* reply */
    struct resp_writer w; /* w.q == &out, unless replies are off or captured */
    struct outq out;
    struct client_mark *marks; /* (engine) pending marks, oldest first */
    uint32_t mark_head, mark_count, mark_cap;
    struct client_acks *acks; /* (engine) terms and replies that wait for replicas, NULL: none; see write_ack.h */

    /* request (engine) */
    char *in;
    size_t in_len, in_pos, in_cap;
    struct resp_parser parser;

    /* session */
    char *name, *lib_name, *lib_ver; /* owned, NULL when not set */
    const char *user;                /* "default" */
    struct command_entry *last_cmd;
    int64_t created_us, last_active_us; /* monotonic */
    uint64_t net_in, net_out, commands;
    uint64_t wait_offset;               /* offset of its last write: what WAIT and WAITAOF ask for */
    int64_t soft_limit_since_us;        /* output buffer over the soft limit since; 0 = not */

    const struct client_source *source; /* NULL: none */
    void *source_ctx;
    size_t source_sent; /* (engine) written by this cycle's I/O thread, not yet told */

    struct transaction *tx;     /* queue and watched keys, NULL until MULTI or WATCH */
    struct client_block *block; /* why it is blocked, NULL if not */
    struct subscriber *subscriber; /* its subscriptions, NULL until the first */

    /* lists (engine) */
    uint32_t index;                 /* in the engine's array of clients */
    uint8_t in_ready, in_write, watched_events, write_outcome;
    uint8_t pinned; /* > 0: an outer batch or command holds its requests; see engine_serve_while_busy() */
    bool io_more;                /* an I/O thread's parse stopped for lack of room */
    struct group *io_group;      /* where an I/O thread puts parsed requests */
    const char *parse_error;     /* of the input in hand, replied once what precedes it has run */
    struct rbuf *large;          /* last argument of the pending request, when it has a block of its own; len: bytes so far */
    size_t large_len;            /* length it is to have */
    size_t in_wanted;            /* bytes the pending request needs at least */
    int read_error; /* of the last read: 0, or what conn_read() returned (0 bytes: CLIENT_READ_EOF) */
    size_t read_bytes;
};

enum client_class client_class(const struct client *c);
/* Marks for closing: at once, or when the replies are out. */
void client_close_asap(struct client *c);
void client_close_after_reply(struct client *c);
/* Gives the client a source (NULL takes it away: closed() is then not called). */
void client_set_source(struct client *c, const struct client_source *source, void *ctx);
/* The source has bytes: they are written before the loop sleeps. Cheap. */
void client_feed(struct client *c);
/* Bytes of memory the session holds: buffers, queue, itself. */
size_t client_memory_bytes(const struct client *c);
/* The line of CLIENT LIST / CLIENT INFO, without the newline. */
void client_describe(const struct client *c, struct buf *out);
/* Name may be cleared with an empty slice. 0, or -1 for bytes outside '!' … '~'. */
int client_set_name(struct client *c, struct slice name) __attribute__((warn_unused_result));
/* Back to the state of a new connection (RESET): db 0, no MULTI, RESP2, no name, not authenticated where a password is needed. */
void client_reset(struct client *c);

#endif
