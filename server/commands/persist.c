#include "config.h"

#include "server/commands/persist.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/commands/persist_int.h"

/* Snapshots: when and how they are made, and what is known about the last one. The AOF's side is in persist_aof.c,
 * loading in persist_load.c. */

#define RETRY_AFTER_FAILURE_S 5

void persist_log(void *arg, enum log_level level, const char *line) {
    (void)arg;
    log_line(level, "%s", line);
}

static void forget_child(void *arg, int fd) {
    struct persist *p = arg;
    if (p->watched_fd == fd) {
        loop_forget(engine_loop(p->engine), fd);
        p->watched_fd = -1;
    }
}

static void child_event(struct loop *loop, int fd, unsigned events, void *arg) {
    (void)loop, (void)fd, (void)events;
    struct persist *p = arg;
    child_service(p->children);
}

void persist_watch_child(struct persist *p) {
    int fd = child_fd(p->children);
    if (fd < 0 || fd == p->watched_fd)
        return;
    if (loop_watch(engine_loop(p->engine), fd, LOOP_READABLE, child_event, p) == 0)
        p->watched_fd = fd; /* else the cron serves the child */
    keyspace_set_frozen(p->ks, true);
    if (p->aof != NULL)
        aof_set_child(p->aof, true);
}

void persist_child_ended(struct persist *p) {
    if (child_running(p->children) != CHILD_NONE)
        return;
    keyspace_set_frozen(p->ks, false);
    if (p->aof != NULL)
        aof_set_child(p->aof, false);
    if (p->parts.progress != NULL && !p->loading)
        p->parts.progress(p->parts.ctx, PERSIST_IDLE, 100);
}

static void in_child(void *arg) {
    struct persist *p = arg;
    log_set_role('C');
    if (p->parts.in_child != NULL)
        p->parts.in_child(p->parts.ctx);
    if (p->pause_after_fork)
        for (;;) /* DEBUG PAUSE-AFTER-FORK: until somebody kills it */
            pause();
}

struct persist *persist_create(const struct persist_parts *parts) {
    struct persist *p = mem_calloc(1, sizeof *p);
    p->parts = *parts;
    p->engine = parts->engine;
    p->log = engine_log(parts->engine);
    p->watched_fd = -1;
    p->last_bgsave_ok = true;
    p->last_bgsave_time_s = -1;
    p->last_save_s = clock_wall_us() / 1000000;
    struct children_options co = {.in_child = in_child, .in_child_arg = p};
    p->children = children_create(&co);
    child_set_forget(p->children, forget_child, p);
    return p;
}

void persist_destroy(struct persist *p) {
    if (p == NULL)
        return;
    aof_destroy(p->aof);
    children_destroy(p->children);
    loop_waker_destroy(p->waker);
    engine_client_destroy_internal(p->replayer);
    buf_deinit(&p->libraries);
    mem_free(p);
}

static const char *refuse_write(void *ctx, const struct client *cl) {
    return (cl->flags & CLIENT_MUST_OBEY) ? NULL : persist_refusal(ctx);
}

void persist_register(struct persist *p) {
    persist_register_settings(p);
    persist_register_commands(p);
    persist_register_info(p);
    struct engine_hooks hooks = {.ctx = p, .refuse_write = refuse_write};
    engine_add_hooks(p->engine, &hooks);
}

const char *persist_refusal(struct persist *p) {
    const char *log_refusal = changelog_refusal(p->log);
    if (log_refusal != NULL)
        return log_refusal;
    if (!p->last_bgsave_ok && p->options.stop_writes_on_bgsave_error && p->options.save_point_count > 0)
        return "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. "
               "Commands that may modify the "
               "data set are disabled, because this instance is configured to report errors during writes if RDB "
               "snapshotting fails "
               "(stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";
    return NULL;
}

const struct children *persist_children(const struct persist *p) {
    return p->children;
}
const bool *persist_compresses(const struct persist *p) {
    return &p->options.rdbcompression;
}
int persist_start_child(struct persist *p, const struct child_job *job) {
    int rc = child_start(p->children, job);
    if (rc == 0)
        persist_watch_child(p);
    return rc;
}
void persist_kill_child(struct persist *p) {
    child_kill(p->children);
}
void persist_set_worker(struct persist *p, struct worker *worker) {
    p->parts.worker = worker;
}
struct aof *persist_aof(struct persist *p) {
    return p->aof;
}
void persist_set_pause_after_fork(struct persist *p, bool on) {
    p->pause_after_fork = on;
}

/* ---- saving ---- */

static enum rdb_access access_of(struct persist *p) {
    switch ((enum keyspace_policy)engine_options(p->engine)->maxmemory_policy) {
    case KEYSPACE_EVICT_ALLKEYS_LFU:
    case KEYSPACE_EVICT_VOLATILE_LFU:
        return RDB_ACCESS_LFU;
    case KEYSPACE_EVICT_ALLKEYS_LRU:
    case KEYSPACE_EVICT_VOLATILE_LRU:
        return RDB_ACCESS_LRU;
    default:
        return RDB_ACCESS_NONE;
    }
}

static void child_line(void *arg, enum log_level level, const char *line) {
    persist_log(arg, level, line);
}

void persist_snapshot_options(struct persist *p, struct snapshot_options *o) {
    snapshot_options_default(o);
    const struct changelog_history *h = changelog_history(p->log);
    o->rdb.version = (unsigned)p->options.rdb_version;
    o->rdb.compress = p->options.rdbcompression;
    o->rdb.checksum = p->options.rdbchecksum;
    o->rdb.access = access_of(p);
    o->rdb.lfu_decay_time_min = (int)engine_options(p->engine)->lfu_decay_time;
    o->rdb.now_ms = clock_wall_ms();
    o->rdb.used_mem = mem_used();
    if (changelog_is_active(p->log)) { /* else changes are not counted, and the offset means nothing */
        o->rdb.repl_id = h->id;
        o->rdb.repl_offset = (int64_t)changelog_sealed(p->log);
        o->rdb.repl_stream_db = changelog_db(p->log);
    }
    o->rdb.extra = persist_write_libraries;
    o->rdb.extra_arg = p;
    o->rdb.key_delay_us = (int)p->options.rdb_key_save_delay;
    o->codec = (enum rdb_codec)p->options.rdb_codec;
    o->incremental_fsync = p->options.rdb_incremental_fsync;
    int64_t limit = p->options.rdb_cow_limit;
    o->cow_limit_bytes = limit >= 0 ? (size_t)limit : (size_t)(mem_used() / 100 * (uint64_t)-limit);
    if (p->parts.child_oom_score != NULL)
        o->oom_score_set = p->parts.child_oom_score(p->parts.ctx, &o->oom_score_adj);
    o->child_log = child_line;
}

static void note_result(struct persist *p, const struct snapshot_result *r, uint64_t dirty_covered) {
    snapshot_result_lines(r, persist_log, NULL);
    if (r->ok) {
        uint64_t dirty = engine_dirty(p->engine);
        engine_set_dirty(p->engine, dirty > dirty_covered ? dirty - dirty_covered : 0);
        p->last_save_s = clock_wall_us() / 1000000;
        p->last_bgsave_ok = true;
        p->saves++;
    } else if (!r->cancelled) {
        p->last_bgsave_ok = false;
    }
}

int persist_save(struct persist *p, struct buf *error) {
    if (child_running(p->children) == CHILD_SNAPSHOT) {
        buf_append_cstr(error, "Background save already in progress");
        return -1;
    }
    struct snapshot_options o;
    struct snapshot_result r;
    persist_snapshot_options(p, &o);
    int rc = snapshot_save(p->parts.fs, p->options.dbfilename, p->ks, &o, &r);
    note_result(p, &r, engine_dirty(p->engine));
    if (rc != 0)
        buf_append_cstr(error, r.text);
    return rc;
}

static void bgsave_done(void *arg, const struct snapshot_result *r) {
    struct persist *p = arg;
    p->last_bgsave_time_s = r->duration_us / 1000000;
    p->last_cow_bytes = r->cow_peak_bytes;
    note_result(p, r, p->dirty_at_fork);
    p->last_try_s = clock_wall_us() / 1000000;
    persist_child_ended(p);
}

int persist_bgsave(struct persist *p, struct buf *error) {
    struct snapshot_options o;
    persist_snapshot_options(p, &o);
    p->last_try_s = clock_wall_us() / 1000000;
    p->dirty_at_fork = engine_dirty(p->engine);
    int rc =
        snapshot_start(p->children, p->parts.fs, p->options.dbfilename, p->ks, &o, p->parts.worker, bgsave_done, p);
    if (rc < 0) {
        p->last_bgsave_ok = false;
        log_warning("Can't save in background: fork: %s", strerror(-rc));
        buf_printf(error, "Can't save in background: %s", strerror(-rc));
        return -1;
    }
    char line[96];
    snapshot_started_line(child_pid(p->children), line, sizeof line);
    log_notice("%s", line);
    p->bgsave_started_us = clock_mono_us();
    p->bgsave_scheduled = false;
    persist_watch_child(p);
    return 0;
}

void persist_flushed_all(struct persist *p) {
    if (child_running(p->children) == CHILD_SNAPSHOT)
        child_kill(p->children);
    if (p->options.save_point_count == 0)
        return;
    /* The snapshot on disk would bring the flushed keys back after a crash: replace it now. The flush itself counts as
     * a change for replicas and the AOF. */
    struct buf error = BUF_INIT;
    if (persist_save(p, &error) != 0)
        log_warning("After FLUSHALL: %.*s", (int)error.len, error.data);
    buf_deinit(&error);
}

/* ---- cycle ---- */

void persist_before_sleep(struct persist *p) {
    if (p->aof != NULL)
        aof_before_sleep(p->aof);
}

static void check_save_points(struct persist *p) {
    int64_t now_s = engine_now_ms(p->engine) / 1000;
    uint64_t dirty = engine_dirty(p->engine);
    for (int i = 0; i < p->options.save_point_count; i++) {
        const struct save_point *s = &p->options.save_points[i];
        if (dirty < (uint64_t)s->changes || now_s - p->last_save_s <= s->seconds)
            continue;
        if (!p->last_bgsave_ok && now_s - p->last_try_s <= RETRY_AFTER_FAILURE_S)
            continue;
        log_notice("%lld changes in %lld seconds. Saving...", (long long)s->changes, (long long)s->seconds);
        struct buf error = BUF_INIT;
        if (persist_bgsave(p, &error) != 0)
            log_debug("The save point of %lld changes waits", (long long)s->changes);
        buf_deinit(&error);
        return;
    }
}

void persist_cron(struct persist *p) {
    enum child_kind running = child_running(p->children);
    if (running != CHILD_NONE) {
        child_service(p->children);
        struct child_stats st;
        child_stats(p->children, &st);
        if (st.running != CHILD_NONE && p->parts.progress != NULL && !p->loading)
            p->parts.progress(p->parts.ctx, PERSIST_SAVING, st.percent);
    }
    if (!p->started || p->loading)
        return;
    if (child_running(p->children) == CHILD_NONE) {
        struct buf error = BUF_INIT;
        int64_t now_s = engine_now_ms(p->engine) / 1000;
        if (p->bgsave_scheduled && (p->last_bgsave_ok || now_s - p->last_try_s > RETRY_AFTER_FAILURE_S)) {
            if (persist_bgsave(p, &error) != 0)
                log_debug("The scheduled save waits");
        } else {
            check_save_points(p);
        }
        buf_deinit(&error);
    }
    if (p->aof != NULL) {
        aof_cron(p->aof);
        persist_rewrite_once_cron(p);
    }
}

/* ---- the end ---- */

int persist_stop(struct persist *p, unsigned flags) {
    int rc = 0;
    if (child_running(p->children) != CHILD_NONE) {
        log_warning("There is a child saving. Killing it!");
        child_kill(p->children);
    }
    if (p->loading)
        return 0; /* what is loaded so far is not the data set: the files stay as they are */
    bool save =
        (flags & PERSIST_SHUTDOWN_SAVE) || (p->options.save_point_count > 0 && !(flags & PERSIST_SHUTDOWN_NOSAVE));
    if (save) {
        log_notice("Saving the final RDB snapshot before exiting.");
        if (p->parts.progress != NULL)
            p->parts.progress(p->parts.ctx, PERSIST_SAVING, 0);
        struct buf error = BUF_INIT;
        if (persist_save(p, &error) != 0) {
            log_warning("Error trying to save the DB, %s.",
                        flags & PERSIST_SHUTDOWN_FORCE ? "exit anyway" : "can't exit");
            rc = flags & PERSIST_SHUTDOWN_FORCE ? 0 : -1;
        }
        buf_deinit(&error);
        if (rc != 0)
            return rc;
    }
    if (p->aof != NULL && aof_is_on(p->aof)) {
        log_notice("Calling fsync() on the AOF file.");
        int stopped = aof_stop(p->aof);
        if (stopped < 0) {
            log_warning("The AOF could not be completed: %s", strerror(-stopped));
            rc = flags & PERSIST_SHUTDOWN_FORCE ? 0 : -1;
        }
        if (rc != 0) {
            /* We go on: so does the log. */
            struct buf error = BUF_INIT;
            if (aof_start(p->aof, NULL, &error) < 0)
                log_warning("The AOF could not be started again: %.*s", (int)error.len, error.data);
            buf_deinit(&error);
        }
    }
    return rc;
}
