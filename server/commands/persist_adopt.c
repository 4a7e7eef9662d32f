#include "config.h"

#include "server/commands/persist_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persistence/rdb/frame.h"
#include "server/base/clock.h"
#include "server/base/crc.h"
#include "server/base/logging.h"
#include "server/base/mem.h"

/* A full sync: the data set, the log's history and the AOF are replaced together.
 *
 * The files on disk stay those of the old data until the new are in memory: a crash in between brings back the old data
 * with the old id and offset, which is a replica that has missed something. Only then the snapshot takes its name, and
 * the AOF begins again with a new base. */

static int load(struct persist *p, struct keyspace *ks, const struct persist_adoption *a,
                struct rdb_load_result *ret_result, struct buf *error) {
    struct rdb_load_options o;
    struct rdb_error e = RDB_ERROR_INIT;
    int64_t start = clock_mono_us();
    int rc;
    persist_load_options(p, &o);
    if (a->path != NULL) {
        rc = rdb_load_file(p->parts.fs, a->path, ks, &o, ret_result, &e);
    } else {
        struct rdb_reader r;
        rc = rdb_reader_init_source(&r, a->source, a->source_arg, a->bytes);
        if (rc == 0)
            rc = rdb_load(&r, ks, &o, ret_result, &e);
        else
            e = r.error;
        rdb_reader_deinit(&r);
    }
    if (rc != 0) {
        buf_append_cstr(error, e.text);
        return -1;
    }
    p->last_load_expired = ret_result->keys_expired;
    p->last_load_loaded = ret_result->keys_loaded;
    log_notice("Done loading RDB, keys loaded: %llu, keys expired: %llu.", (unsigned long long)ret_result->keys_loaded,
               (unsigned long long)ret_result->keys_expired);
    log_verbose("The snapshot was loaded in %.3f seconds", (double)(clock_mono_us() - start) / 1e6);
    return 0;
}

/* ---- a look at the file, while there are data to lose ---- */

#define LOOK_BYTES (1024 * 1024)
#define MAGIC_BYTES 9
#define CHECKSUM_BYTES 8
#define VERSION_WITH_CHECKSUM 5

/* What all the bytes say: a CRC of this kind over data and their own CRC is zero. The last bytes alone are zero where
 * checksums are off. */
static bool look_through(const struct fs *fs, int fd, char *block, struct buf *error) {
    uint64_t crc = 0, total = 0;
    char last[CHECKSUM_BYTES] = "";
    unsigned version = 0;
    ssize_t n;
    while ((n = fs->read(fs->ctx, fd, block, LOOK_BYTES)) > 0) {
        size_t got = (size_t)n;
        if (total == 0) {
            if (frame_recognise((const unsigned char *)block, got) != RDB_CODEC_NONE)
                return true; /* its frames are checked as they are opened */
            if (got < MAGIC_BYTES || (memcmp(block, "REDIS", 5) != 0 && memcmp(block, "VALKEY", 6) != 0)) {
                buf_append_cstr(error, "it does not begin like a snapshot");
                return false;
            }
            char digits[5] = "";
            memcpy(digits, block + 5, 4);
            version = block[0] == 'V' ? VERSION_WITH_CHECKSUM : (unsigned)strtoul(digits, NULL, 10);
        }
        crc = crc64(crc, block, got);
        total += got;
        size_t tail = got < CHECKSUM_BYTES ? got : CHECKSUM_BYTES;
        memmove(last, last + tail, CHECKSUM_BYTES - tail);
        memcpy(last + CHECKSUM_BYTES - tail, block + got - tail, tail);
    }
    static const char none[CHECKSUM_BYTES];
    if (n < 0)
        buf_append_cstr(error, strerror((int)-n));
    else if (total == 0)
        buf_append_cstr(error, "it is empty");
    else if (version < VERSION_WITH_CHECKSUM || crc == 0 || memcmp(last, none, sizeof none) == 0)
        return true;
    else
        buf_append_cstr(error, "its checksum does not fit: it is damaged or not whole");
    return false;
}

static bool is_whole(struct persist *p, const char *path, struct buf *error) {
    const struct fs *fs = p->parts.fs;
    int fd = fs->open(fs->ctx, path, O_RDONLY, 0);
    if (fd < 0) {
        buf_append_cstr(error, strerror(-fd));
        return false;
    }
    char *block = mem_alloc(LOOK_BYTES);
    bool whole = look_through(fs, fd, block, error);
    mem_free(block);
    fs->close(fs->ctx, fd);
    return whole;
}

static bool has_keys(const struct keyspace *ks) {
    for (unsigned db = 0; db < keyspace_databases(ks); db++)
        if (keyspace_size(ks, db) > 0)
            return true;
    return false;
}

/* From here on the old history is over. */
static void begin_anew(struct persist *p, const struct persist_adoption *a) {
    if (child_running(p->children) != CHILD_NONE)
        child_kill(p->children); /* what it writes is of the old data */
    p->rewrite_once = p->rewrite_later = false;
    if (aof_is_on(p->aof)) {
        int rc = aof_stop(p->aof);
        if (rc < 0)
            log_warning("Ending the AOF of the old data: %s", strerror(-rc));
    }
    a->let_go(a->let_go_arg);
    engine_data_replaced(p->engine);
    persist_fresh_history(p);
    changelog_reset(p->log, a->offset);
    if (a->id != NULL) {
        struct changelog_history h = *changelog_history(p->log);
        memcpy(h.id, a->id, CHANGELOG_ID_CHARS);
        changelog_set_history(p->log, &h);
    }
}

static void keep_file(struct persist *p, const char *path, enum rdb_codec codec) {
    const struct fs *fs = p->parts.fs;
    if (codec != RDB_CODEC_NONE && p->options.rdb_codec == RDB_CODEC_NONE) {
        /* It was compressed for the way here. Who reads this node's snapshots with other programs could not read it. */
        fs->unlink(fs->ctx, path);
        p->bgsave_scheduled = p->options.save_point_count > 0;
        return;
    }
    int rc = fs->rename(fs->ctx, path, p->options.dbfilename);
    if (rc == 0)
        rc = fs_sync_parent(fs, p->options.dbfilename);
    if (rc < 0) {
        log_warning("The snapshot of the primary could not be kept as %s: %s", p->options.dbfilename, strerror(-rc));
        fs->unlink(fs->ctx, path);
        return;
    }
    p->last_save_s = clock_wall_us() / 1000000;
    engine_set_dirty(p->engine, 0);
}

static enum persist_adopted adopt_beside(struct persist *p, const struct persist_adoption *a,
                                         struct rdb_load_result *ret_result, struct buf *error) {
    struct keyspace *fresh = keyspace_create_beside(p->ks);
    struct buf old_libraries = p->libraries;
    buf_init(&p->libraries);
    if (load(p, fresh, a, ret_result, error) != 0) {
        keyspace_destroy(fresh);
        buf_deinit(&p->libraries);
        p->libraries = old_libraries;
        return PERSIST_ADOPT_KEPT;
    }
    buf_deinit(&old_libraries);
    begin_anew(p, a);
    keyspace_take_all(p->ks, fresh, a->lazy_flush);
    keyspace_destroy(fresh);
    return PERSIST_ADOPTED;
}

static enum persist_adopted adopt_in_place(struct persist *p, const struct persist_adoption *a,
                                           struct rdb_load_result *ret_result, struct buf *error) {
    if (a->path != NULL && has_keys(p->ks) && !is_whole(p, a->path, error))
        return PERSIST_ADOPT_KEPT;
    begin_anew(p, a);
    keyspace_flush(p->ks, -1, a->lazy_flush);
    buf_clear(&p->libraries);
    if (load(p, p->ks, a, ret_result, error) == 0)
        return PERSIST_ADOPTED;
    keyspace_flush(p->ks, -1, false);
    persist_fresh_history(p);
    return PERSIST_ADOPT_LOST;
}

enum persist_adopted persist_adopt(struct persist *p, const struct persist_adoption *a, int *ret_db,
                                   struct buf *error) {
    struct rdb_load_result r = {.repl_stream_db = -1};
    persist_begin_loading(p, a->bytes == UINT64_MAX ? 0 : a->bytes, a->beside && a->serve);
    enum persist_adopted got = a->beside ? adopt_beside(p, a, &r, error) : adopt_in_place(p, a, &r, error);
    persist_end_loading(p);
    *ret_db = r.repl_stream_db >= 0 && r.repl_stream_db < (int)keyspace_databases(p->ks) ? r.repl_stream_db : -1;
    if (got != PERSIST_ADOPTED)
        return got;
    if (a->path != NULL)
        keep_file(p, a->path, r.codec);
    changelog_set_db(p->log, *ret_db >= 0 ? *ret_db : 0);
    persist_resume_aof(p);
    return got;
}

void persist_resume_aof(struct persist *p) {
    struct buf error = BUF_INIT;
    if (!p->started || !p->options.appendonly || aof_is_on(p->aof))
        return;
    if (aof_start(p->aof, NULL, &error) < 0)
        log_warning("The AOF could not be started again: %.*s", (int)error.len, error.data != NULL ? error.data : "");
    buf_deinit(&error);
}
