/* Snapshot files: written beside the old one, fsynced and renamed over it, in the foreground or in a forked child.
 *
 * Whatever happens at whatever call, the file under the name is the old one or the new one, whole. A temporary file
 * `temp-<pid>.rdb` in the same directory is removed on failure, by the parent where the child was killed.
 *
 * Log lines are data here (snapshot_result_lines()): the owner prints them. Lines of the child go through
 * options.child_log.
 *
 * Ownership: everything passed is borrowed for the call; snapshot_start() copies what the child needs. Thread: the
 * owner of the keyspace.
 */
#ifndef HF_SNAPSHOT_SNAPSHOT_H
#define HF_SNAPSHOT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persistence/rdb/rdb.h"
#include "persistence/snapshot/child.h"
#include "server/base/fs.h"
#include "server/base/logging.h"
#include "server/base/worker.h"

struct snapshot_options {
    struct rdb_save_options rdb; /* progress and release_values are set by this module */
    enum rdb_codec codec;
    bool incremental_fsync; /* rdb-save-incremental-fsync */
    size_t cow_limit_bytes; /* rdb-cow-limit worked out to bytes; 0: none */
    bool oom_score_set;
    int oom_score_adj;
    int nice;
    /* A line of the child; called in the child. May be NULL. */
    void (*child_log)(void *arg, enum log_level level, const char *line);
    void *child_log_arg;
};

void snapshot_options_default(struct snapshot_options *o);

struct snapshot_result {
    bool background;
    bool ok;
    bool cancelled;   /* BGSAVE CANCEL, SHUTDOWN NOSAVE …: no failure of the disk */
    bool over_budget; /* rdb-cow-limit */
    int signal;
    int exit_code;
    pid_t pid; /* of the child, or our own */
    uint64_t keys;
    uint64_t bytes; /* before the codec (foreground only; 0 in the background) */
    int64_t duration_us;
    size_t cow_peak_bytes; /* rdb_last_cow_size */
    size_t cow_limit_bytes;
    char path[1024]; /* the file to be replaced, cut if longer */
    char text[256];  /* the error, or "" */
};

/* Writes to a new file at path (truncated if it exists), fsyncs it; no rename. A failure removes it. For AOF bases and
 * for the functions below; link is NULL in the foreground. 0, or -1 with *ret_error. */
int snapshot_write_file(const struct fs *fs, const char *path, const struct keyspace *ks,
                        const struct snapshot_options *o, struct child_link *link,
                        struct rdb_save_progress *ret_progress, struct rdb_error *ret_error)
    __attribute__((warn_unused_result));

/* Writes to a sink instead (a full sync): nothing is synced. 0, or -1 with *ret_error. */
int snapshot_write_stream(rdb_sink_fn *sink, void *sink_arg, const struct keyspace *ks,
                          const struct snapshot_options *o, struct child_link *link, struct rdb_error *ret_error)
    __attribute__((warn_unused_result));

/* SAVE: replaces path by a snapshot of ks in this process. 0 or -1; *ret_result says all. */
int snapshot_save(const struct fs *fs, const char *path, const struct keyspace *ks, const struct snapshot_options *o,
                  struct snapshot_result *ret_result) __attribute__((warn_unused_result));

/* BGSAVE: starts a child. done (never NULL) is called from child_service() or child_kill(). unlinker, where given,
 * frees the disk blocks of a discarded temporary file in the background. 0, -EBUSY, or -errno. The keyspace's freeze is
 * the owner's: keyspace_set_frozen(true) right after, false in done(). */
int snapshot_start(struct children *children, const struct fs *fs, const char *path, const struct keyspace *ks,
                   const struct snapshot_options *o, struct worker *unlinker,
                   void (*done)(void *arg, const struct snapshot_result *result), void *arg)
    __attribute__((warn_unused_result));

/* The log lines that go with a result, in the field's words: each(arg, level, line). */
void snapshot_result_lines(const struct snapshot_result *r,
                           void (*each)(void *arg, enum log_level level, const char *line), void *arg);
/* The line at the start: "Background saving started by pid N". */
void snapshot_started_line(pid_t pid, char *dst, size_t dst_bytes);
/* The two lines after a load: "Done loading RDB, keys loaded: …" and "DB loaded from disk: … seconds". */
void snapshot_loaded_lines(const struct rdb_load_result *r, int64_t duration_us,
                           void (*each)(void *arg, enum log_level level, const char *line), void *arg);
/* "Fork CoW for RDB: current … MB, peak … MB, average … MB"; what: "RDB", "AOF rewrite". */
void snapshot_cow_line(const char *what, const struct child_cow *cow, char *dst, size_t dst_bytes);

/* Removes temporary files in dir that processes now dead have left. Returns how many. */
unsigned snapshot_remove_stale(const struct fs *fs, const char *dir);

#endif
