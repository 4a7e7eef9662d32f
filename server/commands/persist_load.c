#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/commands/persist_int.h"

/* Bringing the data set back: at start, and for DEBUG RELOAD and LOADAOF. Clients are served with -LOADING meanwhile.
 */

#define TELL_EVERY_US 250000

static void serve(struct persist *p) {
    engine_serve_while_busy(p->engine);
    int64_t now = clock_mono_us();
    if (p->parts.progress == NULL || now - p->load_told_us < TELL_EVERY_US)
        return;
    p->load_told_us = now;
    double percent = p->load_total > 0 ? 100.0 * (double)p->load_done / (double)p->load_total : 0;
    p->parts.progress(p->parts.ctx, PERSIST_LOADING, percent > 100 ? 100 : percent);
}

void persist_begin_loading(struct persist *p, uint64_t total_bytes, bool async) {
    p->loading = true;
    p->load_async = async;
    p->load_total = total_bytes;
    p->load_done = 0;
    p->load_started_us = clock_mono_us();
    p->load_started_s = clock_wall_us() / 1000000;
    p->load_told_us = 0;
    engine_set_loading(p->engine, true, async);
    serve(p);
}

void persist_end_loading(struct persist *p) {
    p->loading = false;
    engine_set_loading(p->engine, false, false);
}

static int on_yield(void *arg, const struct rdb_load_progress *progress) {
    struct persist *p = arg;
    p->load_done = progress->file_bytes;
    serve(p);
    return 0;
}

static void loaded_line(void *arg, enum log_level level, const char *line) {
    persist_log(arg, level, line);
}

void persist_load_options(struct persist *p, struct rdb_load_options *o) {
    rdb_load_options_default(o);
    o->checksum = p->options.rdbchecksum;
    o->deep = p->options.sanitize_dump_payload == 1;
    o->now_ms = clock_wall_ms();
    o->access = RDB_ACCESS_LRU;
    o->yield_every_bytes = (size_t)p->options.load_interval_bytes;
    o->yield = on_yield;
    o->yield_arg = p;
    o->function = persist_hold_library;
    o->function_arg = p;
}

/* At the start: the log goes on where the snapshot stands, under a new id, because what was written behind it is lost.
 */
static void take_position(struct persist *p, const struct rdb_load_result *r) {
    struct changelog_history h = *changelog_history(p->log);
    if (p->started || r->repl_id[0] == '\0' || r->repl_offset < 0)
        return;
    memcpy(h.id2, r->repl_id, sizeof h.id2);
    h.id2_offset = r->repl_offset;
    changelog_reset(p->log, (uint64_t)r->repl_offset);
    changelog_set_history(p->log, &h);
    p->origin_known = true;
    p->origin_db = r->repl_stream_db;
}

int persist_load_rdb(struct persist *p, const char *path, bool aof_base, int64_t *ret_rest_offset, struct buf *error) {
    struct rdb_load_options o;
    struct rdb_load_result r;
    struct rdb_error e = RDB_ERROR_INIT;
    persist_load_options(p, &o);
    o.skip_expired = !aof_base && !(p->parts.is_replica != NULL && p->parts.is_replica(p->parts.ctx));
    o.trailing = aof_base;
    o.replace = p->load_replaces;
    int64_t start = clock_mono_us();
    if (rdb_load_file(p->parts.fs, path, p->ks, &o, &r, &e) != 0) {
        buf_append_cstr(error, e.text);
        return e.code == RDB_ERR_IO && e.sys_errno == ENOENT ? -ENOENT : -1;
    }
    if (ret_rest_offset != NULL)
        *ret_rest_offset = r.codec == RDB_CODEC_NONE ? (int64_t)r.bytes : -1;
    p->last_load_expired = r.keys_expired;
    p->last_load_loaded = r.keys_loaded;
    snapshot_loaded_lines(&r, clock_mono_us() - start, loaded_line, NULL);
    if (!aof_base)
        take_position(p, &r);
    return 0;
}

/* ---- the AOF ---- */

static int load_base(void *ctx, const char *path, int64_t *ret_rest_offset, struct buf *error) {
    return persist_load_rdb(ctx, path, true, ret_rest_offset, error) == 0 ? 0 : -1;
}

static int apply(void *ctx, int argc, const struct slice *argv, struct buf *error) {
    struct persist *p = ctx;
    if (engine_apply(p->replayer, argv, argc, error) == 0)
        return 0;
    if (p->parts.is_replica == NULL || !p->parts.is_replica(p->parts.ctx))
        return -1;
    /* The log of a replica has what its primary sent, as it came: what failed then fails now. */
    log_warning("A command that the AOF took over from the primary failed, as it may have before: %.*s",
                (int)error->len, error->data);
    buf_clear(error);
    return 0;
}

static void discard_group(void *ctx) {
    struct persist *p = ctx;
    struct buf error = BUF_INIT;
    struct slice discard = SLICE_LIT("DISCARD");
    if (engine_apply(p->replayer, &discard, 1, &error) != 0)
        log_debug("There was no transaction to discard");
    buf_deinit(&error);
}

static void on_progress(void *ctx, uint64_t done, uint64_t total) {
    struct persist *p = ctx;
    p->load_done = done;
    p->load_total = total;
    serve(p);
}

static void on_log(void *ctx, int level, const char *text) {
    (void)ctx;
    log_line((enum log_level)level, "%s", text);
}

static enum loader_status load_aof(struct persist *p, bool read_only, struct loader_result *ret_result,
                                   struct buf *error) {
    struct loader_options lo = {
        .dir = ".",
        .dirname = p->options.appenddirname,
        .filename = p->options.appendfilename,
        .load_truncated = p->options.aof_load_truncated,
        .read_only = read_only,
    };
    struct loader_callbacks cb = {.ctx = p,
                                  .load_base = load_base,
                                  .apply = apply,
                                  .discard_group = discard_group,
                                  .progress = on_progress,
                                  .log = on_log};
    p->replayer = engine_client_create_internal(p->engine);
    int64_t start = clock_mono_us();
    enum loader_status st = loader_load(p->parts.fs, &lo, &cb, ret_result, error);
    p->origin_db = (int)p->replayer->db;
    p->origin_known = st == LOADER_OK && ret_result->found && ret_result->recovery.annotated;
    engine_client_destroy_internal(p->replayer);
    p->replayer = NULL;
    if (st == LOADER_OK && ret_result->found)
        log_notice("DB loaded from append only file: %.3f seconds", (double)(clock_mono_us() - start) / 1e6);
    return st;
}

static int64_t file_size(struct persist *p, const char *path) {
    struct fs_stat st;
    return p->parts.fs->stat(p->parts.fs->ctx, path, &st) == 0 ? st.size_bytes : 0;
}

static int load_snapshot(struct persist *p, struct buf *error) {
    int64_t size = file_size(p, p->options.dbfilename);
    if (size > 0)
        p->load_total = (uint64_t)size;
    int rc = persist_load_rdb(p, p->options.dbfilename, false, NULL, error);
    if (rc == -ENOENT) {
        buf_clear(error);
        return 0;
    }
    return rc == 0 ? 0 : -1;
}

void persist_fresh_history(struct persist *p) {
    struct changelog_history h = {.id2_offset = -1};
    rng_hex_id(h.id, CHANGELOG_ID_CHARS / 2);
    memset(h.id2, '0', CHANGELOG_ID_CHARS);
    changelog_set_history(p->log, &h);
}

int persist_load(struct persist *p, struct buf *error) {
    unsigned stale = snapshot_remove_stale(p->parts.fs, ".");
    if (stale > 0)
        log_notice("Removed %u temporary files of an earlier run", stale);
    p->ks = engine_keyspace(p->engine);
    p->origin_db = -1;
    persist_fresh_history(p);
    persist_begin_loading(p, 0, false);
    p->aof = persist_make_aof(p);
    struct loader_result loaded;
    memset(&loaded, 0, sizeof loaded);
    int rc = 0;
    if (p->options.appendonly) {
        enum loader_status st = load_aof(p, false, &loaded, error);
        rc = st == LOADER_OK ? 0 : -1;
        if (rc == 0 && !loaded.found) {
            /* The AOF was switched on in the configuration of a node that has a snapshot: starting empty would hide its
             * data. */
            rc = load_snapshot(p, error);
            if (rc == 0 && p->last_load_loaded > 0)
                log_notice("There is no AOF yet: it begins with the %llu keys of %s",
                           (unsigned long long)p->last_load_loaded, p->options.dbfilename);
        }
    } else {
        rc = load_snapshot(p, error);
    }
    persist_end_loading(p);
    struct aof_options o;
    persist_aof_options(p, &o); /* what was loaded has a say in them */
    aof_set_options(p->aof, &o);
    if (rc == 0 && p->options.appendonly)
        rc = aof_start(p->aof, &loaded, error) < 0 ? -1 : 0;
    if (p->options.appendonly)
        loader_result_deinit(&loaded);
    engine_set_dirty(p->engine, 0);
    p->last_save_s = clock_wall_us() / 1000000;
    p->started = rc == 0;
    return rc;
}

/* ---- DEBUG ---- */

int persist_reload(struct persist *p, bool merge, bool flush, bool save, struct buf *error) {
    if (save && persist_save(p, error) != 0)
        return -1;
    if (flush && !merge) {
        engine_data_dropped(p->engine);
        keyspace_flush(p->ks, -1, false);
    }
    persist_begin_loading(p, (uint64_t)file_size(p, p->options.dbfilename), false);
    p->load_replaces = merge;
    int rc = persist_load_rdb(p, p->options.dbfilename, false, NULL, error);
    p->load_replaces = false;
    persist_end_loading(p);
    return rc == 0 ? 0 : -1;
}

int persist_reload_aof(struct persist *p, struct buf *error) {
    if (aof_is_on(p->aof))
        aof_before_sleep(p->aof); /* what is appended must be in the file */
    engine_data_dropped(p->engine);
    keyspace_flush(p->ks, -1, false);
    struct loader_result loaded;
    persist_begin_loading(p, 0, false);
    enum loader_status st = load_aof(p, true, &loaded, error);
    persist_end_loading(p);
    loader_result_deinit(&loaded);
    return st == LOADER_OK ? 0 : -1;
}

bool persist_origin(const struct persist *p, int *ret_db) {
    *ret_db = p->origin_db;
    return p->origin_known;
}
