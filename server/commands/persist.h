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

#include "persistence/snapshot/child.h"
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
    /* SHUTDOWN: 0 when the process is going to end, -1 when it refused (reasons are in the log). */
    int (*shutdown)(void *ctx, unsigned flags);
    /* SHUTDOWN ABORT: 0, or -1 when none was in progress. */
    int (*shutdown_abort)(void *ctx);
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
