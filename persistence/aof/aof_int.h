/* What the sources of the AOF share: its state and its jobs. Internal to persistence/aof.
 *
 * A job belongs to its thread from submission until `done` is set (release); then to the loop's thread again. At most
 * one of each kind is in progress.
 */
#ifndef HF_AOF_AOF_INT_H
#define HF_AOF_AOF_INT_H

#include <stdatomic.h>

#include "persistence/aof/aof.h"
#include "persistence/aof/writer.h"
#include "server/base/worker.h"

struct aof_job {
    struct aof *aof;
    bool busy; /* loop's thread: submitted and its result not yet taken */
    atomic_bool done;
    int error;
};

struct write_commit {
    int first, n; /* iovecs */
    uint64_t begin, end;
};

struct write_job {
    struct aof_job job;
    struct aof_file *file;
    struct iovec *src, *iov; /* pieces of segments; the same cut at the ends of commits */
    int src_cap, iov_cap;
    struct write_commit *commits;
    size_t commit_count, commit_cap;
    struct aof_statement statement;
    struct changelog_history history;
    uint64_t reached;
};

struct sync_job {
    struct aof_job job;
    int fd; /* -1: there is no file yet */
    int64_t duration_us;
};

enum control_kind { CONTROL_PREPARE, CONTROL_INSTALL, CONTROL_COLLECT };

struct control_job {
    struct aof_job job;
    enum control_kind kind;
    struct aof_manifest manifest; /* to store, if store_manifest */
    bool store_manifest;
    char *from, *to; /* INSTALL: rename. PREPARE: to = path */
    char *name;
    uint64_t seq;
    struct aof_file *ret_file; /* PREPARE */
    int64_t base_bytes;        /* INSTALL */
};

struct aof {
    const struct fs *fs;
    struct changelog *cl;
    struct aof_callbacks cb;
    struct aof_options options; /* strings owned */
    char *dir;                  /* dir/dirname */
    char *manifest_path;

    bool on;
    bool stopping; /* no child is started any more */
    bool stepping; /* inside run(): results of actions are queued */
    struct durability machine;
    struct changelog_cursor *cursor;
    struct worker *write_worker, *sync_worker, *control_worker;
    struct write_job write;
    struct sync_job sync;
    struct control_job control;
    bool install_tried; /* since the start: a manifest on disk may name the new files although storing it failed */
    bool prepare_waits, install_waits, prepare_lists;

    struct aof_manifest manifest; /* as last stored (in force), or that of an earlier AOF */
    struct aof_file *current, *old, *next;
    uint64_t last_incr_seq, last_base_seq;
    uint64_t previous_chain; /* chain value at the end of the increment before current, for its BEGIN line */

    char *base_path; /* temporary file of the rewrite in progress */
    bool base_rdb;
    bool base_child; /* start_base started one, aof_base_done() is to come */
    bool scheduled;
    int refusal_shown;

    int64_t current_bytes;      /* of the current increment, as of the last write */
    int64_t older_bytes;        /* of all listed files but current */
    int64_t rewrite_base_bytes; /* total size after the last rewrite or start */
    int64_t rewrite_started_ms, last_rewrite_ms;
    bool last_rewrite_ok;
    uint64_t rewrites, exposures_seen, delayed_seen;
    size_t last_cow_bytes;
    int64_t last_sync_us, max_sync_us;
    int64_t statement_checked_ms;
    int last_write_errno;
};

void aof_log(struct aof *aof, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
char *aof_path(const struct aof *aof, const char *name);

/* aof.c: takes one event and everything that follows from it; takes what the threads have finished. */
void aof_run(struct aof *aof, struct durability_event first);
void aof_poll(struct aof *aof);

/* aof_files.c: manifest, increments and bases. Jobs are submitted to the control thread; aof_control_take() turns a
 * finished one into an event. */
void aof_submit_prepare(struct aof *aof, bool list);
void aof_submit_install(struct aof *aof);
bool aof_control_take(struct aof *aof, struct durability_event *ret_event);
/* At the stop, when the threads are gone: lets go of a job whose result nobody takes. */
void aof_control_discard(struct aof *aof);
int aof_make_directory(struct aof *aof);
void aof_remove_temporary(struct aof *aof);
/* Makes a fresh current increment that begins at the log's end, lists it and drops the entry `drop` (may be NULL) from
 * the manifest. 0 or -errno. */
int aof_add_increment(struct aof *aof, const char *drop, uint64_t previous);

#endif
