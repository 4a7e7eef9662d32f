/* Replication: this node as a primary with replicas, and as a replica of another node. PSYNC2, as Redis 7.0 speaks it.
 *
 * There is one stream, the change log (server/log/changelog.h). A primary's replicas are engine clients whose output is
 * a cursor on it (struct client_source); the backlog is one more cursor. A replica executes its primary's bytes and
 * appends them verbatim, so that ids and offsets mean the same on every node of a chain, and its own replicas, its AOF
 * and its backlog are again cursors.
 *
 *   history.h    which history may be continued, and what to ask for        pure
 *   handshake.h  the replica's half of the handshake                        pure
 *   transfer.h   the frame around a snapshot on the wire                    pure
 *   backlog.h    the last bytes of the log
 *   primary.c    who is a replica of ours: REPLCONF, PSYNC, SYNC, acknowledgements, what they are fed
 *   full_sync.c  one snapshot for all who wait for one: from a file or while it is made
 *   link.c       our primary: connecting, handshake, the snapshot, the stream
 *   role.c       REPLICAOF, promotion, restart
 *
 * What this layer may not know (the AOF, the child process, loading) it asks for through struct replication_parts; the
 * daemon wires it. Thread: the loop's thread. Errors: of a peer close its link with a reason in the log; nothing a peer
 * sends ends the process.
 */
#ifndef HF_REPLICATION_REPLICATION_H
#define HF_REPLICATION_REPLICATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persistence/snapshot/snapshot.h"
#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/engine/engine.h"

struct replication;

/* A snapshot that is to become the data set. */
struct replication_adoption {
    const char *path;      /* a file in the data directory, synced; NULL: */
    rdb_source_fn *source; /* … it comes from here */
    void *source_arg;
    uint64_t bytes; /* that will come; UINT64_MAX: unknown */
    /* The history and the offset that it stands for. NULL: none (the primary is too old to have one). */
    const char *id;
    uint64_t offset;
    bool beside;     /* the old data stay until the new are complete (repl-diskless-load swapdb) */
    bool serve;      /* … and are served meanwhile: they are of the same history */
    bool lazy_flush; /* replica-lazy-flush */
    /* Called once the change log is to begin anew: no cursor of this layer may be left. */
    void (*let_go)(void *arg);
    void *let_go_arg;
};
enum replication_adopted {
    REPLICATION_ADOPTED,
    REPLICATION_ADOPT_KEPT, /* it failed; data, log and history are what they were */
    REPLICATION_ADOPT_LOST, /* it failed; the data set is empty, the AOF off, the history a new one */
};

struct replication_parts {
    struct engine *engine;
    const struct fs *fs;
    struct worker *worker; /* may be NULL: then files are deleted in place */
    void *ctx;
    /* The options of a snapshot as they are now; repl_id and offset are of the log's end. */
    void (*snapshot_options)(void *ctx, struct snapshot_options *ret_options);
    /* child_start() on the node's one child, and what goes with it. 0, -EBUSY or -errno. */
    int (*start_child)(void *ctx, const struct child_job *job);
    /* First thing in the job's done(). */
    void (*child_ended)(void *ctx);
    void (*kill_child)(void *ctx);
    /* Replaces the data set, the change log's offset and history, and starts a new base and increment where the AOF is
     * configured. *ret_db: the database that the stream stands in, -1 when the snapshot does not say. */
    enum replication_adopted (*adopt)(void *ctx, const struct replication_adoption *a, int *ret_db, struct buf *error);
    /* This node is a primary from now on: begins to log again where the AOF is configured and a failed adoption left it
     * off. rewrite: the AOF holds commands of the old primary that failed here, and is to be written anew. */
    void (*resume_log)(void *ctx, bool rewrite);
    /* The node has become a primary, or a replica. */
    void (*role_changed)(void *ctx);
    /* The port that clients reach this node at. */
    int (*port)(void *ctx);
};

struct replication *replication_create(const struct replication_parts *parts);
/* Before the engine and the change log are destroyed. NULL is fine. */
void replication_destroy(struct replication *r);
/* Registers options (before the configuration is read), commands and INFO fields. */
void replication_register(struct replication *r);

/* What loading found: the change log has its id and offset already. */
struct replication_origin {
    bool is_known; /* data, id and offset came from disk */
    int db;        /* database that the log's next bytes mean, -1: they will say */
};
/* Once the data set is loaded and before clients are served: takes up the role that the configuration gives. */
void replication_start(struct replication *r, const struct replication_origin *origin);
/* Each cycle, before persistence writes the log and the engine its clients: what it appends is to go out with the rest.
 */
void replication_before_sleep(struct replication *r);
/* Links to replicas are flushed by the engine at exit; this closes the one to our primary. */
void replication_stop(struct replication *r);

/* ---- what others want to know ---- */
/* "master" or "slave", as the field writes it. */
bool replication_is_replica(const struct replication *r);
/* How many replicas have acknowledged the offset; durable: have it on disk. */
size_t replication_acked(const struct replication *r, uint64_t offset, bool durable);
/* Asks all replicas for an acknowledgement, in this cycle. */
void replication_ask_acks(struct replication *r);
/* Replicas that are online and have not acknowledged the offset. */
size_t replication_lagging(const struct replication *r, uint64_t offset);

#endif
