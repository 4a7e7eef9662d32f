/* What the files of persist share. */
#ifndef HF_COMMANDS_PERSIST_INT_H
#define HF_COMMANDS_PERSIST_INT_H

#include "persistence/aof/aof.h"
#include "persistence/snapshot/snapshot.h"
#include "server/commands/persist.h"

#define PERSIST_SAVE_POINTS_MAX 32

struct save_point {
    int64_t seconds, changes;
};

struct persist_options {
    char *dbfilename, *appendfilename, *appenddirname;
    bool rdbchecksum, rdbcompression, rdb_incremental_fsync, stop_writes_on_bgsave_error;
    int64_t rdb_version, rdb_cow_limit, rdb_key_save_delay, load_interval_bytes;
    int rdb_codec, sanitize_dump_payload;
    bool appendonly, aof_incremental_fsync, no_appendfsync_on_rewrite, aof_load_truncated, aof_use_rdb_preamble,
        aof_timestamps, aof_disable_auto_gc;
    int appendfsync;
    int64_t aof_rewrite_percentage, aof_rewrite_min_size, aof_buffer_limit, aof_stall_tolerance_ms;
    struct save_point save_points[PERSIST_SAVE_POINTS_MAX];
    int save_point_count;
};

struct persist {
    struct persist_parts parts;
    struct engine *engine;
    struct keyspace *ks;
    struct changelog *log;
    struct persist_options options;
    struct aof *aof;
    struct children *children;
    struct loop_waker *waker;
    int watched_fd;
    bool started; /* persist_load() is done */

    /* snapshots */
    bool bgsave_scheduled, last_bgsave_ok, pause_after_fork;
    int64_t last_save_s, last_try_s, bgsave_started_us, last_bgsave_time_s;
    uint64_t dirty_at_fork, saves;
    size_t last_cow_bytes;
    uint64_t last_load_expired, last_load_loaded;

    /* the AOF's base child */
    bool rewrite_once;  /* BGREWRITEAOF with the AOF off: on until its base is there */
    bool rewrite_later; /* … as soon as no other child lives */
    struct aof_base_job *base_job;

    /* loading */
    bool loading, load_async;
    bool load_replaces; /* DEBUG RELOAD MERGE */
    uint64_t load_total, load_done;
    int64_t load_started_us, load_started_s, load_told_us;
    struct client *replayer;
    bool origin_known; /* id and offset of the log came from disk */
    int origin_db;
    struct buf libraries; /* persist_libraries.c */
};

/* ---- persist.c ---- */
int persist_save(struct persist *p, struct buf *error);   /* in the foreground */
int persist_bgsave(struct persist *p, struct buf *error); /* starts a child */
void persist_aof_options(struct persist *p, struct aof_options *o);
void persist_watch_child(struct persist *p);
void persist_log(void *arg, enum log_level level, const char *line);
/* ---- persist_aof.c ---- */
struct aof *persist_make_aof(struct persist *p);
int persist_apply_appendonly(struct persist *p, struct buf *error);
int persist_rewrite_once(struct persist *p, struct buf *error);
void persist_rewrite_once_cron(struct persist *p);
/* ---- persist_load.c ---- */
void persist_begin_loading(struct persist *p, uint64_t total_bytes, bool async);
void persist_end_loading(struct persist *p);
void persist_load_options(struct persist *p, struct rdb_load_options *o);
void persist_fresh_history(struct persist *p);
int persist_load_rdb(struct persist *p, const char *path, bool aof_base, int64_t *ret_rest_offset, struct buf *error);
/* ---- persist_libraries.c: the callbacks of loading and saving (arg: struct persist) ---- */
int persist_hold_library(void *arg, struct slice code, const char **ret_text);
void persist_write_libraries(void *arg, struct rdb_writer *w);
/* ---- persist_settings.c, persist_cmd.c, persist_info.c ---- */
void persist_register_settings(struct persist *p);
void persist_register_commands(struct persist *p);
void persist_register_info(struct persist *p);

#endif
