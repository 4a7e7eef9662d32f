/* Persistence as one running thing: snapshots and the AOF of a node, their options, schedule, loading, INFO and
 * commands.
 *
 * It owns the struct aof, the one child process and the save points; the daemon gives it the engine and calls the cycle
 * functions. Commands: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, WAIT, WAITAOF, SHUTDOWN.
 *
 * Thread: the loop's thread.
 */
#ifndef HF_COMMANDS_PERSIST_H
#define HF_COMMANDS_PERSIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persistence/snapshot/snapshot.h"
#include "server/base/fs.h"
#include "server/base/worker.h"
#include "server/engine/engine.h"

struct persist;
struct aof;

enum persist_activity { PERSIST_IDLE, PERSIST_LOADING, PERSIST_SAVING };

enum persist_shutdown_flags {
    PERSIST_SHUTDOWN_SAVE = 1 << 0,
    PERSIST_SHUTDOWN_NOSAVE = 1 << 1,
    PERSIST_SHUTDOWN_NOW = 1 << 2,
    PERSIST_SHUTDOWN_FORCE = 1 << 3,
};

struct persist_parts {
    struct engine *engine;
    const struct fs *fs;
    struct worker *worker; /* deletes files in the background */
    void *ctx;
    /* What goes on, for the service manager: per cent (0–100) of loading or saving. May be called often. */
    void (*progress)(void *ctx, enum persist_activity what, double percent);
    /* First thing in a child: close listeners. */
    void (*in_child)(void *ctx);
    /* SHUTDOWN: 0 when the process is going to end, -1 when it refused (reasons are in the log), 1 when it waits for
     * replicas first. */
    int (*shutdown)(void *ctx, unsigned flags);
    /* Whether it still waits. */
    bool (*shutdown_waits)(void *ctx);
    /* SHUTDOWN ABORT: 0, or -1 when none was in progress. */
    int (*shutdown_abort)(void *ctx);
    /* Replicas that have acknowledged an offset (durable: that have it on disk); asking them to; whether this node is one.
     * For WAIT and WAITAOF. */
    size_t (*replicas_acked)(void *ctx, uint64_t offset, bool durable);
    void (*ask_replicas)(void *ctx);
    bool (*is_replica)(void *ctx);
    /* oom-score-adj of a child: true and *ret_adj where one is set. */
    bool (*child_oom_score)(void *ctx, int *ret_adj);
};

struct persist *persist_create(const struct persist_parts *parts);
/* As after a crash: what was not stopped by persist_stop() is not sealed. */
void persist_destroy(struct persist *p);
/* Registers options (before the configuration is read), commands and INFO fields. */
void persist_register(struct persist *p);

/* Loads the data set as the options say and begins to log. 0, or -1 with *error. Serves clients with -LOADING
 * meanwhile. */
int persist_load(struct persist *p, struct buf *error) __attribute__((warn_unused_result));
/* True when the data, the log's id and its offset came from disk; *ret_db: the database that the log's next bytes mean, -1
 * when they will say. */
bool persist_origin(const struct persist *p, int *ret_db);
/* Each cycle: before replies are released. */
void persist_before_sleep(struct persist *p);
/* Ten times a second: save points, retries, the child. */
void persist_cron(struct persist *p);

/* Ends persistence for a shutdown: kills children, seals the AOF, saves a snapshot where the flags or save points want
 * one. 0, or -1 when something that matters failed and FORCE was not given: then everything goes on. */
int persist_stop(struct persist *p, unsigned shutdown_flags);

/* DEBUG RELOAD and LOADAOF: 0, or -1 with *error. */
int persist_reload(struct persist *p, bool merge, bool flush, bool save, struct buf *error);
int persist_reload_aof(struct persist *p, struct buf *error);
/* ---- for replication ---- */
/* A snapshot from elsewhere that is to become the data set. */
struct persist_adoption {
    const char *path;      /* a synced file in the data directory, which becomes the node's snapshot; NULL: */
    rdb_source_fn *source; /* … it comes from here */
    void *source_arg;
    uint64_t bytes; /* that will come; UINT64_MAX: unknown */
    const char *id; /* history and offset that it stands for; NULL: a new history */
    uint64_t offset;
    bool beside;     /* the old data stay until the new are complete */
    bool serve;      /* … and are served meanwhile */
    bool lazy_flush; /* old data are freed in the background */
    void (*let_go)(void *arg); /* the change log begins anew after this: all cursors but the AOF's must be gone */
    void *let_go_arg;
};
enum persist_adopted {
    PERSIST_ADOPTED,
    PERSIST_ADOPT_KEPT, /* failed; nothing has changed */
    PERSIST_ADOPT_LOST, /* failed; no data, the AOF off, a new history */
};
/* Replaces the data set and restarts the change log at the offset, with a new base and increment where the AOF is
 * configured. Serves clients meanwhile; never inside a command. *ret_db: the stream's database, -1 when not known. */
enum persist_adopted persist_adopt(struct persist *p, const struct persist_adoption *a, int *ret_db, struct buf *error);
/* Begins to log again where the AOF is configured and a failed adoption has left it off. */
void persist_resume_aof(struct persist *p);
/* Options of a snapshot made now. */
void persist_snapshot_options(struct persist *p, struct snapshot_options *o);
/* child_start() on the node's child, with what goes with it; first thing in the job's done(): persist_child_ended(). */
int persist_start_child(struct persist *p, const struct child_job *job);
void persist_child_ended(struct persist *p);
void persist_kill_child(struct persist *p);

/* FLUSHALL: kills a snapshot child whose result would be stale and saves the empty state where save points are set. */
void persist_flushed_all(struct persist *p);
/* DEBUG PAUSE-AFTER-FORK. */
void persist_set_pause_after_fork(struct persist *p, bool on);
/* True while clients must not write: disk errors. Text of the refusal or NULL. */
const char *persist_refusal(struct persist *p);
/* `rdbcompression` as it is now: valid for the life of p. */
const bool *persist_compresses(const struct persist *p);
void persist_set_worker(struct persist *p, struct worker *worker);
const struct children *persist_children(const struct persist *p);
struct aof *persist_aof(struct persist *p);

#endif
