#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "persistence/aof/command_form.h"
#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/commands/persist_int.h"

/* The AOF's side of persist: its callbacks, and the child that writes a base. */

struct aof_base_job {
    struct persist *p;
    char *path, *repl_id;
    bool preamble, incremental_fsync;
    struct snapshot_options options;
    struct child_link *link; /* in the child */
};

static void free_job(struct aof_base_job *job) {
    if (job == NULL)
        return;
    mem_free(job->path);
    mem_free(job->repl_id);
    mem_free(job);
}

static int report_commands(void *arg, uint64_t keys) {
    struct aof_base_job *job = arg;
    return job->link != NULL ? child_link_report(job->link, keys) : 0;
}

/* In the child, or in place for an empty data set. 0 or -1 with text. */
static int write_base(struct aof_base_job *job, char *text, size_t text_bytes) {
    struct persist *p = job->p;
    if (job->preamble) {
        struct rdb_error error = RDB_ERROR_INIT;
        struct rdb_save_progress progress = {0, 0};
        if (snapshot_write_file(p->parts.fs, job->path, p->ks, &job->options, job->link, &progress, &error) == 0)
            return 0;
        snprintf(text, text_bytes, "%s", error.text);
        return -1;
    }
    struct command_form_options o = {
        .incremental_fsync = job->incremental_fsync,
        .timestamp = p->options.aof_timestamps,
        .now_ms = clock_wall_ms(),
        .progress = report_commands,
        .progress_arg = job,
    };
    int rc = command_form_write(p->parts.fs, job->path, p->ks, &o);
    if (rc < 0)
        snprintf(text, text_bytes, "%s: %s", job->path, strerror(-rc));
    return rc;
}

static int run_base(void *arg, struct child_link *link) {
    struct aof_base_job *job = ((struct persist *)arg)->base_job;
    char text[RDB_ERROR_TEXT_BYTES] = "";
    job->link = link;
    if (write_base(job, text, sizeof text) != 0) {
        log_warning("Write error writing append only file on disk: %s", text);
        child_link_fail(link, text);
        return 1;
    }
    child_link_report_final(link, 0);
    struct child_cow cow;
    child_link_cow(link, &cow);
    char line[160];
    snapshot_cow_line("AOF rewrite", &cow, line, sizeof line);
    log_notice("%s", line);
    return 0;
}

static void base_done(void *arg, const struct child_result *r) {
    struct persist *p = arg;
    struct aof_base_job *job = p->base_job;
    p->base_job = NULL;
    if (r->ok) {
        log_notice("Background AOF rewrite terminated with success");
    } else {
        if (r->over_budget)
            log_warning(
                "Background AOF rewrite aborted: it had copied %zu bytes of memory, the limit (rdb-cow-limit) is %zu",
                r->cow_peak_bytes, r->cow_limit_bytes);
        else if (r->signal != 0 && !r->cancelled)
            log_warning("Background AOF rewrite terminated by signal %d", r->signal);
        else if (!r->cancelled)
            log_warning("Background AOF rewrite terminated with error%s%s", r->text[0] ? ": " : "", r->text);
        p->parts.fs->unlink(p->parts.fs->ctx, job->path);
    }
    free_job(job);
    persist_child_ended(p);
    aof_base_done(p->aof, r->ok, r->cow_peak_bytes);
}

static uint64_t all_keys(const struct keyspace *ks) {
    uint64_t n = 0;
    for (unsigned db = 0; db < keyspace_databases(ks); db++)
        n += keyspace_size(ks, db);
    return n;
}

static struct aof_base_job *make_job(struct persist *p, const struct aof_base_request *req) {
    struct aof_base_job *job = mem_calloc(1, sizeof *job);
    job->p = p;
    job->path = mem_strdup(req->path);
    job->preamble = req->rdb_preamble;
    job->incremental_fsync = req->incremental_fsync;
    persist_snapshot_options(p, &job->options);
    job->options.rdb.aof_base = true;
    job->options.incremental_fsync = req->incremental_fsync;
    job->options.rdb.repl_id = NULL;
    if (req->repl_id != NULL) {
        job->repl_id = mem_strdup(req->repl_id);
        job->options.rdb.repl_id = job->repl_id;
        job->options.rdb.repl_offset = (int64_t)req->repl_offset;
    }
    return job;
}

static enum aof_base_start start_base(void *ctx, const struct aof_base_request *req, int *ret_error) {
    struct persist *p = ctx;
    struct aof_base_job *job = make_job(p, req);
    uint64_t keys = all_keys(p->ks);
    if (keys == 0) {
        char text[RDB_ERROR_TEXT_BYTES] = "";
        int rc = write_base(job, text, sizeof text);
        free_job(job);
        if (rc == 0)
            return AOF_BASE_DONE;
        log_warning("Writing the base of the AOF: %s", text);
        *ret_error = EIO;
        return AOF_BASE_FAILED;
    }
    struct child_job cj = {
        .kind = CHILD_AOF_REWRITE,
        .run = run_base,
        .done = base_done,
        .arg = p,
        .keys_total = keys,
        .cow_limit_bytes = job->options.cow_limit_bytes,
        .oom_score_adj = job->options.oom_score_adj,
        .oom_score_set = job->options.oom_score_set,
    };
    HF_ASSERT(p->base_job == NULL);
    p->base_job = job;
    int rc = child_start(p->children, &cj);
    if (rc < 0) {
        p->base_job = NULL;
        free_job(job);
        log_warning("Can't rewrite append only file in background: fork: %s", strerror(-rc));
        *ret_error = -rc;
        return AOF_BASE_FAILED;
    }
    log_notice("Background append only file rewriting started by pid %d", (int)child_pid(p->children));
    persist_watch_child(p);
    return AOF_BASE_STARTED;
}

static void kill_base(void *ctx) {
    struct persist *p = ctx;
    if (child_running(p->children) == CHILD_AOF_REWRITE)
        child_kill(p->children);
}

static bool is_child_alive(void *ctx) {
    struct persist *p = ctx;
    return child_running(p->children) != CHILD_NONE;
}

struct closer {
    uint64_t released;
    size_t closed;
};

static void close_if_waiting(void *arg, struct client *cl) {
    struct closer *c = arg;
    if (cl->mark_count > 0) {
        client_close_asap(cl);
        c->closed++;
    }
}

static void close_waiters(void *ctx, uint64_t released) {
    struct persist *p = ctx;
    struct closer c = {released, 0};
    engine_each_client(p->engine, close_if_waiting, &c);
    if (c.closed > 0)
        log_warning("%zu connections closed: what they wrote could not be made durable and was not acknowledged",
                    c.closed);
}

static void wake(void *ctx) {
    struct persist *p = ctx;
    loop_waker_wake(p->waker);
}

static void on_wake(struct loop *loop, void *arg) {
    (void)loop;
    struct persist *p = arg;
    if (p->aof != NULL)
        aof_on_wake(p->aof);
}

static void aof_log(void *ctx, int level, const char *text) {
    (void)ctx;
    log_line((enum log_level)level, "%s", text);
}

void persist_aof_options(struct persist *p, struct aof_options *o) {
    *o = AOF_OPTIONS_DEFAULT;
    o->dirname = p->options.appenddirname;
    o->filename = p->options.appendfilename;
    o->policy = (enum durability_policy)p->options.appendfsync;
    o->no_sync_on_rewrite = p->options.no_appendfsync_on_rewrite;
    o->timestamps = p->options.aof_timestamps;
    /* As commands, libraries that nobody here can call could not be replayed. */
    o->use_rdb_preamble = p->options.aof_use_rdb_preamble || p->libraries.len > 0;
    o->load_truncated = p->options.aof_load_truncated;
    o->incremental_fsync = p->options.aof_incremental_fsync;
    o->disable_auto_gc = p->options.aof_disable_auto_gc;
    o->rewrite_percentage = (int)p->options.aof_rewrite_percentage;
    o->rewrite_min_size_bytes = p->options.aof_rewrite_min_size;
    o->buffer_limit_bytes = (uint64_t)p->options.aof_buffer_limit;
    o->stall_tolerance_ms = p->options.aof_stall_tolerance_ms;
}

struct aof *persist_make_aof(struct persist *p) {
    struct aof_options o;
    persist_aof_options(p, &o);
    p->waker = loop_waker_create(engine_loop(p->engine), on_wake, p);
    struct aof_callbacks cb = {
        .ctx = p,
        .wake = wake,
        .start_base = start_base,
        .kill_base = kill_base,
        .is_child_alive = is_child_alive,
        .close_waiters = close_waiters,
        .log = aof_log,
    };
    return aof_create(p->parts.fs, p->log, &o, &cb);
}

/* The increments are made by a thread, later: what can be known at once about the directory is asked here, so that
 * CONFIG SET says it. */
static int check_directory(struct persist *p, struct buf *error) {
    const struct fs *fs = p->parts.fs;
    char path[1200];
    snprintf(path, sizeof path, "%s/temp-probe-%d.aof", p->options.appenddirname, (int)getpid());
    int rc = fs->mkdir(fs->ctx, p->options.appenddirname, 0755);
    if (rc == 0 || rc == -EEXIST) {
        rc = fs->open(fs->ctx, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (rc >= 0) {
            fs->close(fs->ctx, rc);
            rc = fs->unlink(fs->ctx, path);
        }
    }
    if (rc < 0)
        buf_printf(error, "Unable to turn on AOF: %s: %s", p->options.appenddirname, strerror(-rc));
    return rc < 0 ? -1 : 0;
}

int persist_rewrite_once(struct persist *p, struct buf *error) {
    if (check_directory(p, error) != 0 || aof_start(p->aof, NULL, error) != 0)
        return -1;
    p->rewrite_once = true;
    p->rewrite_later = false;
    return 0;
}

void persist_rewrite_once_cron(struct persist *p) {
    if (p->rewrite_later && !aof_is_on(p->aof) && child_running(p->children) == CHILD_NONE) {
        struct buf error = BUF_INIT;
        p->rewrite_later = false;
        if (persist_rewrite_once(p, &error) != 0)
            log_warning("The scheduled rewrite of the AOF: %.*s", (int)error.len, error.data);
        buf_deinit(&error);
    }
    if (!p->rewrite_once || !aof_is_in_force(p->aof))
        return;
    p->rewrite_once = false;
    int rc = aof_stop(p->aof);
    if (rc < 0)
        log_warning("Closing the AOF that was written once: %s", strerror(-rc));
}

int persist_apply_appendonly(struct persist *p, struct buf *error) {
    if (!p->started || p->aof == NULL)
        return 0;
    p->rewrite_once = p->rewrite_later = false; /* from here on the option decides */
    if (p->options.appendonly == aof_is_on(p->aof))
        return 0;
    if (p->options.appendonly) {
        if (check_directory(p, error) != 0)
            return -1;
        if (aof_start(p->aof, NULL, error) == 0)
            return 0;
        return -1;
    }
    int rc = aof_stop(p->aof);
    if (rc < 0)
        log_warning("Turning the AOF off: %s", strerror(-rc));
    return 0;
}
