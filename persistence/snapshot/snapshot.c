/* Steps, foreground and child alike: create temp-<pid>.rdb beside the target, write, fsync, close, rename over the
 * target, fsync of the directory. Up to the rename the old file stands; from there on the new one. A failed step before
 * the rename removes the temporary file. If the directory's fsync fails, the new file is in place and whole, but the
 * save counts as failed: after a power loss the old one may be back.
 */
#include "config.h"

#include "persistence/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/mem.h"

#define SYNC_EVERY_BYTES (8 * 1024 * 1024)
#define MB (1024 * 1024)
#define LINE_BYTES 640

void snapshot_options_default(struct snapshot_options *o) {
    *o = (struct snapshot_options){.incremental_fsync = true};
    rdb_save_options_default(&o->rdb);
}

/* ---- one file ---- */

static int fail_io(struct rdb_error *e, const char *what, const char *path, int err) {
    *e = (struct rdb_error){.code = RDB_ERR_IO, .sys_errno = -err};
    snprintf(e->text, sizeof e->text, "%s %.200s: %s", what, path, strerror(-err));
    return -1;
}

static int report(void *arg, const struct rdb_save_progress *p) {
    struct child_link *link = arg;
    return child_link_report(link, p->keys);
}

static struct rdb_save_options options_for(const struct snapshot_options *o, struct child_link *link) {
    struct rdb_save_options options = o->rdb;
    if (link != NULL) {
        options.progress = report;
        options.progress_arg = link;
    }
    options.release_values = link != NULL;
    return options;
}

int snapshot_write_stream(rdb_sink_fn *sink, void *sink_arg, const struct keyspace *ks,
                          const struct snapshot_options *o, struct child_link *link, struct rdb_error *ret_error) {
    struct rdb_writer w;
    struct rdb_save_options options = options_for(o, link);
    rdb_writer_init_sink(&w, sink, sink_arg, o->codec);
    int err = rdb_save(&w, ks, &options, NULL, ret_error);
    rdb_writer_deinit(&w);
    return err != 0 ? -1 : 0;
}

static int write_open_file(const struct fs *fs, int fd, const char *path, const struct keyspace *ks,
                           const struct snapshot_options *o, struct child_link *link,
                           struct rdb_save_progress *ret_progress, struct rdb_error *ret_error) {
    struct rdb_writer w;
    struct rdb_save_options options = options_for(o, link);
    rdb_writer_init_fd(&w, fs, fd, o->codec, o->incremental_fsync ? SYNC_EVERY_BYTES : 0);
    int err = rdb_save(&w, ks, &options, ret_progress, ret_error);
    rdb_writer_deinit(&w);
    if (err != 0)
        return -1;
    err = fs->fsync(fs->ctx, fd);
    return err < 0 ? fail_io(ret_error, "cannot fsync", path, err) : 0;
}

int snapshot_write_file(const struct fs *fs, const char *path, const struct keyspace *ks,
                        const struct snapshot_options *o, struct child_link *link,
                        struct rdb_save_progress *ret_progress, struct rdb_error *ret_error) {
    struct rdb_save_progress progress = {0};
    int fd = fs->open(fs->ctx, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return fail_io(ret_error, "cannot create", path, fd);
    int err = write_open_file(fs, fd, path, ks, o, link, &progress, ret_error);
    int closed = fs->close(fs->ctx, fd);
    if (err == 0 && closed < 0)
        err = fail_io(ret_error, "cannot close", path, closed);
    if (err != 0) {
        fs->unlink(fs->ctx, path);
        return -1;
    }
    if (ret_progress != NULL)
        *ret_progress = progress;
    return 0;
}

/* temp-<pid>.rdb beside path. */
static char *temp_path(const char *path, pid_t pid) {
    const char *slash = strrchr(path, '/');
    struct buf b;
    buf_init(&b);
    buf_append(&b, path, slash == NULL ? 0 : (size_t)(slash - path) + 1);
    buf_printf(&b, "temp-%ld.rdb", (long)pid);
    return buf_take_cstr(&b);
}

static int replace(const struct fs *fs, const char *path, const struct keyspace *ks, const struct snapshot_options *o,
                   struct child_link *link, struct rdb_save_progress *ret_progress, struct rdb_error *ret_error) {
    char *temp = temp_path(path, getpid());
    int err = snapshot_write_file(fs, temp, ks, o, link, ret_progress, ret_error);
    if (err == 0) {
        int renamed = fs->rename(fs->ctx, temp, path);
        if (renamed < 0) {
            err = fail_io(ret_error, "cannot rename the temporary file to", path, renamed);
            fs->unlink(fs->ctx, temp);
        }
    }
    if (err == 0) {
        int synced = fs_sync_parent(fs, path);
        if (synced < 0)
            err = fail_io(ret_error, "cannot fsync the directory of", path, synced);
    }
    mem_free(temp);
    return err;
}

int snapshot_save(const struct fs *fs, const char *path, const struct keyspace *ks, const struct snapshot_options *o,
                  struct snapshot_result *ret_result) {
    struct rdb_save_progress progress = {0};
    struct rdb_error error;
    int64_t from = clock_mono_us();
    int err = replace(fs, path, ks, o, NULL, &progress, &error);
    *ret_result = (struct snapshot_result){.ok = err == 0,
                                           .pid = getpid(),
                                           .keys = progress.keys,
                                           .bytes = progress.bytes,
                                           .duration_us = clock_mono_us() - from};
    snprintf(ret_result->path, sizeof ret_result->path, "%s", path);
    if (err != 0)
        snprintf(ret_result->text, sizeof ret_result->text, "%.*s", (int)sizeof ret_result->text - 1, error.text);
    return err;
}

/* ---- in the background ---- */

struct background {
    const struct fs *fs;
    char *path;
    const struct keyspace *ks;
    struct snapshot_options o;
    char *repl_id;
    struct worker *unlinker;
    void (*done)(void *arg, const struct snapshot_result *result);
    void *arg;
};

static void background_free(struct background *b) {
    mem_free(b->path);
    mem_free(b->repl_id);
    mem_free(b);
}

static void child_line(const struct background *b, enum log_level level, const char *line) {
    if (b->o.child_log != NULL)
        b->o.child_log(b->o.child_log_arg, level, line);
}

static int background_run(void *arg, struct child_link *link) {
    struct background *b = arg;
    struct rdb_save_progress progress = {0};
    struct rdb_error error;
    struct child_cow cow;
    char line[LINE_BYTES];
    if (replace(b->fs, b->path, b->ks, &b->o, link, &progress, &error) != 0) {
        child_link_fail(link, error.text);
        snprintf(line, sizeof line, "Write error saving DB on disk: %s", error.text);
        child_line(b, LOG_LEVEL_WARNING, line);
        return 1;
    }
    child_line(b, LOG_LEVEL_NOTICE, "DB saved on disk");
    child_link_report_final(link, progress.keys);
    child_link_cow(link, &cow);
    snapshot_cow_line("RDB", &cow, line, sizeof line);
    child_line(b, LOG_LEVEL_NOTICE, line);
    return 0;
}

/* The name goes at once; the blocks go when the descriptor is closed, which may take long and is the worker's. */
struct closing {
    const struct fs *fs;
    int fd;
};

static void close_job(void *arg) {
    struct closing *c = arg;
    c->fs->close(c->fs->ctx, c->fd);
    mem_free(c);
}

static void discard(const struct fs *fs, const char *path, struct worker *unlinker) {
    int fd = unlinker == NULL ? -1 : fs->open(fs->ctx, path, O_RDONLY, 0);
    fs->unlink(fs->ctx, path);
    if (fd >= 0) {
        struct closing *c = mem_alloc(sizeof *c);
        *c = (struct closing){fs, fd};
        worker_submit(unlinker, close_job, c);
    }
}

static void background_done(void *arg, const struct child_result *child) {
    struct background *b = arg;
    struct snapshot_result res = {
        .background = true,
        .ok = child->ok,
        .cancelled = child->cancelled,
        .over_budget = child->over_budget,
        .signal = child->signal,
        .exit_code = child->exit_code,
        .pid = child->pid,
        .keys = child->keys_done,
        .duration_us = child->duration_us,
        .cow_peak_bytes = child->cow_peak_bytes,
        .cow_limit_bytes = child->cow_limit_bytes,
    };
    snprintf(res.path, sizeof res.path, "%s", b->path);
    memcpy(res.text, child->text, sizeof res.text);
    if (!child->ok) {
        char *temp = temp_path(b->path, child->pid);
        discard(b->fs, temp, b->unlinker);
        mem_free(temp);
    }
    void (*done)(void *, const struct snapshot_result *) = b->done;
    void *done_arg = b->arg;
    background_free(b);
    done(done_arg, &res);
}

static uint64_t count_keys(const struct keyspace *ks) {
    uint64_t n = 0;
    unsigned databases = keyspace_databases(ks);
    for (unsigned db = 0; db < databases; db++)
        n += keyspace_size(ks, db);
    return n;
}

int snapshot_start(struct children *children, const struct fs *fs, const char *path, const struct keyspace *ks,
                   const struct snapshot_options *o, struct worker *unlinker,
                   void (*done)(void *arg, const struct snapshot_result *result), void *arg) {
    HF_ASSERT(done != NULL);
    if (child_running(children) != CHILD_NONE)
        return -EBUSY;
    struct background *b = mem_calloc(1, sizeof *b);
    b->fs = fs;
    b->path = mem_strdup(path);
    b->ks = ks;
    b->o = *o;
    if (o->rdb.repl_id != NULL)
        b->o.rdb.repl_id = b->repl_id = mem_strdup(o->rdb.repl_id);
    b->unlinker = unlinker;
    b->done = done;
    b->arg = arg;
    const struct child_job job = {
        .kind = CHILD_SNAPSHOT,
        .run = background_run,
        .done = background_done,
        .arg = b,
        .keys_total = count_keys(ks),
        .cow_limit_bytes = o->cow_limit_bytes,
        .oom_score_adj = o->oom_score_adj,
        .oom_score_set = o->oom_score_set,
        .nice = o->nice,
    };
    int err = child_start(children, &job);
    if (err != 0)
        background_free(b);
    return err;
}

/* ---- lines ---- */

void snapshot_started_line(pid_t pid, char *dst, size_t dst_bytes) {
    snprintf(dst, dst_bytes, "Background saving started by pid %ld", (long)pid);
}

void snapshot_cow_line(const char *what, const struct child_cow *cow, char *dst, size_t dst_bytes) {
    snprintf(dst, dst_bytes, "Fork CoW for %s: current %zu MB, peak %zu MB, average %zu MB", what,
             cow->current_bytes / MB, cow->peak_bytes / MB, cow->average_bytes / MB);
}

void snapshot_result_lines(const struct snapshot_result *r,
                           void (*each)(void *arg, enum log_level level, const char *line), void *arg) {
    char line[LINE_BYTES];
    if (!r->background) {
        if (r->ok) {
            each(arg, LOG_LEVEL_NOTICE, "DB saved on disk");
            return;
        }
        snprintf(line, sizeof line, "Write error saving DB on disk: %s", r->text);
        each(arg, LOG_LEVEL_WARNING, line);
        return;
    }
    if (r->ok) {
        each(arg, LOG_LEVEL_NOTICE, "Background saving terminated with success");
    } else if (r->over_budget) {
        snprintf(line, sizeof line,
                 "Background saving aborted: %zu MB of memory were copied since the fork, rdb-cow-limit allows %zu MB",
                 r->cow_peak_bytes / MB, r->cow_limit_bytes / MB);
        each(arg, LOG_LEVEL_WARNING, line);
    } else if (r->cancelled) {
        each(arg, LOG_LEVEL_NOTICE, "Background saving cancelled");
    } else if (r->signal != 0) {
        snprintf(line, sizeof line, "Background saving terminated by signal %d", r->signal);
        each(arg, LOG_LEVEL_WARNING, line);
    } else {
        each(arg, LOG_LEVEL_WARNING, "Background saving error");
    }
}

void snapshot_loaded_lines(const struct rdb_load_result *r, int64_t duration_us,
                           void (*each)(void *arg, enum log_level level, const char *line), void *arg) {
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "Done loading RDB, keys loaded: %" PRIu64 ", keys expired: %" PRIu64 ".",
             r->keys_loaded, r->keys_expired);
    each(arg, LOG_LEVEL_NOTICE, line);
    snprintf(line, sizeof line, "DB loaded from disk: %.3f seconds", (double)duration_us / 1e6);
    each(arg, LOG_LEVEL_NOTICE, line);
}

/* ---- what dead processes left ---- */

/* The pid of temp-<pid>.rdb, or -1. */
static pid_t temp_pid(const char *name) {
    long pid = 0;
    if (strncmp(name, "temp-", 5) != 0)
        return -1;
    name += 5;
    const char *p = name;
    for (; *p >= '0' && *p <= '9' && p - name < 9; p++)
        pid = pid * 10 + (*p - '0');
    return p > name && strcmp(p, ".rdb") == 0 && pid > 0 ? (pid_t)pid : -1;
}

static int collect_stale(void *arg, const char *name) {
    struct buf *pids = arg;
    pid_t pid = temp_pid(name);
    /* Our own pid: a predecessor had it (it is 1 in every container), for this process has saved nothing yet. */
    if (pid > 0 && (pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH)))
        buf_append(pids, &pid, sizeof pid);
    return 0;
}

unsigned snapshot_remove_stale(const struct fs *fs, const char *dir) {
    struct buf pids;
    unsigned removed = 0;
    buf_init(&pids);
    (void)fs->list_dir(fs->ctx, dir, collect_stale, &pids);
    for (size_t at = 0; at + sizeof(pid_t) <= pids.len; at += sizeof(pid_t)) {
        pid_t pid;
        struct buf path;
        memcpy(&pid, pids.data + at, sizeof pid);
        buf_init(&path);
        buf_printf(&path, "%s/temp-%ld.rdb", dir, (long)pid);
        char *name = buf_take_cstr(&path);
        if (fs->unlink(fs->ctx, name) == 0)
            removed++;
        mem_free(name);
    }
    buf_deinit(&pids);
    return removed;
}
