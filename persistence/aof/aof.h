/* The append-only file: the change log on disk, run by the durability machine (server/log/durability.h) with real files
 * and threads.
 *
 * Life of an AOF:
 *
 *     aof_create()                        at start-up, always
 *     loader_load()                       when `appendonly yes` (persistence/aof/loader.h)
 *     aof_start()                         begin to log, on a loaded (possibly empty) data set
 *     aof_before_sleep(), aof_on_wake(), aof_cron()     every loop cycle; when the wake callback was called; ten times
 * a second aof_start()/aof_stop()              CONFIG SET appendonly yes|no aof_stop() or aof_seal(), aof_destroy()
 *
 * The AOF owns one cursor of the change log and sets its released, durable, holds, full and refusal marks. It calls the
 * daemon through struct aof_callbacks for what it may not know: the snapshot child, connections, the log.
 *
 * Thread: the loop's thread, except where stated. Its own threads (aof-write, aof-sync, aof-ctl) never touch the store
 * or the change log's structure. After fork() the child must not call anything here. Errors: at run time nothing fails
 * to the caller; failures show in aof_stats, in log lines and as refusal of writes.
 */
#ifndef HF_AOF_AOF_H
#define HF_AOF_AOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persistence/aof/loader.h"
#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/log/changelog.h"
#include "server/log/durability.h"

struct aof;

struct aof_options {
    const char *dir;                /* working directory of the data ("dir"); copied */
    const char *dirname;            /* appenddirname, under dir; copied */
    const char *filename;           /* appendfilename: prefix of every file; copied */
    enum durability_policy policy;  /* appendfsync */
    bool no_sync_on_rewrite;        /* no-appendfsync-on-rewrite */
    bool timestamps;                /* aof-timestamp-enabled: #TS lines too */
    bool use_rdb_preamble;          /* aof-use-rdb-preamble: form of the base */
    bool load_truncated;            /* aof-load-truncated */
    bool incremental_fsync;         /* aof-rewrite-incremental-fsync: handed to start_base */
    bool disable_auto_gc;           /* aof-disable-auto-gc: history files stay */
    int rewrite_percentage;         /* auto-aof-rewrite-percentage, 0 = never */
    int64_t rewrite_min_size_bytes; /* auto-aof-rewrite-min-size */
    uint64_t buffer_limit_bytes;    /* aof-buffer-limit, 0 = none (default 256 MiB) */
    int64_t stall_tolerance_ms;     /* aof-stall-tolerance (default 2000), < 0 = never acknowledge before the write */
    int64_t give_up_ms;             /* disconnect who waits for a failing disk this long (default 10000) */
};

/* Defaults of configuration. */
#define AOF_OPTIONS_DEFAULT                                                                                            \
    ((struct aof_options){.dir = ".",                                                                                  \
                          .dirname = "appendonlydir",                                                                  \
                          .filename = "appendonly.aof",                                                                \
                          .policy = DURABILITY_EVERYSEC,                                                               \
                          .use_rdb_preamble = true,                                                                    \
                          .load_truncated = true,                                                                      \
                          .incremental_fsync = true,                                                                   \
                          .rewrite_percentage = 100,                                                                   \
                          .rewrite_min_size_bytes = 64 << 20,                                                          \
                          .buffer_limit_bytes = 256 << 20,                                                             \
                          .stall_tolerance_ms = 2000,                                                                  \
                          .give_up_ms = 10000})

enum aof_base_start {
    AOF_BASE_FAILED,  /* could not be started (no fork, another child lives): the AOF backs off and logs errno of
                         ret_error */
    AOF_BASE_STARTED, /* a child writes; the daemon calls aof_base_done() when it has ended */
    AOF_BASE_DONE     /* written and synced already (small or empty data set) */
};

struct aof_base_request {
    const char *path;  /* temporary file to write: complete, fsynced and closed on success */
    bool rdb_preamble; /* RDB (aux aof-base 1), else commands */
    bool incremental_fsync;
    uint64_t repl_offset; /* offset of the change log that the data set stands for (the cut) */
    const char *repl_id;
};

struct aof_callbacks {
    void *ctx;
    /* Make the loop call aof_on_wake() soon. Any thread; async with respect to the loop. */
    void (*wake)(void *ctx);
    /* Start writing the data set as it is at this moment. Called between commands on the loop's thread. */
    enum aof_base_start (*start_base)(void *ctx, const struct aof_base_request *request, int *ret_error);
    /* Kill the child of start_base; aof_base_done(false) is still to be called when it has ended. May be NULL if
     * start_base never starts one. */
    void (*kill_base)(void *ctx);
    /* True while some other child (a snapshot) lives, so that a rewrite has to wait. May be NULL. */
    bool (*is_child_alive)(void *ctx);
    /* Disconnect every client whose reply waits for an offset above `released`. */
    void (*close_waiters)(void *ctx, uint64_t released);
    /* A line for the log: level is an enum log_level. */
    void (*log)(void *ctx, int level, const char *text);
};

/* Borrows fs, cl. wake etc. are copied. Nothing is opened. */
struct aof *aof_create(const struct fs *fs, struct changelog *cl, const struct aof_options *options,
                       const struct aof_callbacks *callbacks);
/* Stops without sealing when still running: as after a crash. NULL is fine. */
void aof_destroy(struct aof *aof);
/* Takes changed options over at run time: all but dir, dirname, filename. */
void aof_set_options(struct aof *aof, const struct aof_options *options);

/* Begins to log.
 *  loaded != NULL: at start-up, after loader_load() filled it (also when there was nothing to load). Continues a log
 * that was sealed; else starts a fresh increment, gives the change log a new replication id with the old one as id2,
 * and resets the offset to the recovered one. What the loader found torn is cut off first. Where no base exists, one is
 * made through start_base (AOF_BASE_DONE or a child). Waits for the disk. 0, or -errno with *ret_error set (the AOF is
 * then off). loaded == NULL: at run time. Appends go to a new increment at once; the AOF is in force
 * (aof_is_in_force()) when the first base is installed. Files of an earlier AOF become history then. 0, or -errno. */
int aof_start(struct aof *aof, const struct loader_result *loaded, struct buf *ret_error)
    __attribute__((warn_unused_result));
/* Writes and syncs everything, and on success seals the log (a clean stop): blocks. Kills the base child. Off
 * afterwards; the marks in the change log say that nothing is held. 0, or -errno when the disk did not take everything.
 * At shutdown and for CONFIG SET appendonly no. */
int aof_stop(struct aof *aof) __attribute__((warn_unused_result));
bool aof_is_on(const struct aof *aof);
bool aof_is_in_force(const struct aof *aof);

/* Once per loop cycle, before replies are written: hands appended bytes on and moves `released`. Cheap when nothing
 * changed. */
void aof_before_sleep(struct aof *aof);
/* On the loop's thread after wake(): takes results of the threads. */
void aof_on_wake(struct aof *aof);
/* Ten times a second. Starts automatic rewrites; retries what failed. */
void aof_cron(struct aof *aof);

/* ---- rewrites ---- */
enum aof_rewrite_reply { AOF_REWRITE_STARTED, AOF_REWRITE_SCHEDULED, AOF_REWRITE_IN_PROGRESS, AOF_REWRITE_OFF };
/* BGREWRITEAOF with the AOF on. SCHEDULED: another child lives, it starts when that has ended. OFF: the AOF is off; the
 * caller may write a base by other means. */
enum aof_rewrite_reply aof_rewrite(struct aof *aof);
void aof_rewrite_cancel(struct aof *aof);
/* The child that start_base started has ended. cow_bytes: copied pages, for stats. */
void aof_base_done(struct aof *aof, bool ok, size_t cow_bytes);
/* Any snapshot or rewrite child lives (for no-appendfsync-on-rewrite). Call when it changes. */
void aof_set_child(struct aof *aof, bool alive);

/* ---- numbers ---- */
struct aof_stats {
    bool enabled; /* on */
    bool in_force;
    bool rewrite_in_progress;
    bool rewrite_scheduled;
    int64_t last_rewrite_time_s;    /* -1: none yet */
    int64_t current_rewrite_time_s; /* -1: none running */
    bool last_bgrewrite_ok;
    bool last_write_ok;
    int last_write_errno;
    uint64_t rewrites;
    uint64_t rewrites_consecutive_failures;
    size_t last_cow_size_bytes;
    int64_t current_size_bytes;   /* base and increments */
    int64_t base_size_bytes;      /* of the last rewrite or of start-up */
    uint64_t buffer_length_bytes; /* appended, not yet written */
    uint64_t pending_sync;        /* 1 while a sync runs */
    uint64_t delayed_fsync;
    uint64_t exposures;     /* times that replies went out before the write */
    uint64_t exposed_bytes; /* acknowledged and not written at this moment */
    uint64_t written_offset, durable_offset, released_offset;
    int64_t last_sync_us; /* duration of the last fsync */
    int64_t max_sync_us;
    bool broken; /* a sync failed and no new base is durable yet */
};
void aof_stats(const struct aof *aof, struct aof_stats *ret_stats);
/* CONFIG RESETSTAT: counters to zero. */
void aof_reset_stats(struct aof *aof);
/* Offset that is durable on this node (WAITAOF). Also in changelog_durable(). */
uint64_t aof_durable_offset(const struct aof *aof);

#endif
