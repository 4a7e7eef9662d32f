#include "config.h"

#include "persistence/aof/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "persistence/aof/manifest.h"
#include "server/base/mem.h"
#include "server/log/recovery.h"

struct checking {
    const struct fs *fs;
    const struct aof_check_options *options;
    const struct aof_check_callbacks *cb;
    char **paths;
    size_t count;
    /* --truncate-to-timestamp: where the first newer bytes stand */
    bool has_newer;
    size_t newer_index;
    int64_t newer_offset;
};

static void say(const struct checking *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct checking *c, const char *fmt, ...) {
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->cb->report(c->cb->ctx, text);
}

static void on_time(void *ctx, size_t index, int64_t offset, uint64_t time_ms) {
    struct checking *c = ctx;
    int64_t limit = c->options->truncate_to_timestamp_s;
    if (limit < 0 || c->has_newer || time_ms / 1000 <= (uint64_t)limit)
        return;
    c->has_newer = true;
    c->newer_index = index;
    c->newer_offset = offset;
}

static int64_t size_of(const struct checking *c, const char *path) {
    struct fs_stat st;
    return c->fs->stat(c->fs->ctx, path, &st) == 0 ? st.size_bytes : -1;
}

static int cut(const struct checking *c, const char *path, int64_t bytes) {
    int fd = c->fs->open(c->fs->ctx, path, O_WRONLY, 0);
    if (fd < 0)
        return fd;
    int error = c->fs->ftruncate(c->fs->ctx, fd, bytes);
    if (error == 0)
        error = c->fs->fsync(c->fs->ctx, fd);
    int close_error = c->fs->close(c->fs->ctx, fd);
    return error != 0 ? error : close_error;
}

/* Asks, then cuts file `index`. It must be the last one with content: what stands behind a cut cannot follow it. */
static enum aof_check_status cut_at(const struct checking *c, size_t index, int64_t keep) {
    for (size_t i = index + 1; i < c->count; i++) {
        if (size_of(c, c->paths[i]) <= 0)
            continue;
        say(c, "%s cannot be cut: %s comes behind it", c->paths[index], c->paths[i]);
        return AOF_CHECK_FAULT;
    }
    int64_t size = size_of(c, c->paths[index]);
    if (c->cb->confirm != NULL && !c->cb->confirm(c->cb->ctx, c->paths[index], size, keep)) {
        say(c, "Nothing was changed");
        return AOF_CHECK_CANCELLED;
    }
    int error = cut(c, c->paths[index], keep);
    if (error != 0) {
        say(c, "Cannot cut %s: %s", c->paths[index], strerror(-error));
        return AOF_CHECK_IO;
    }
    say(c, "Cut %s from %" PRId64 " to %" PRId64 " bytes", c->paths[index], size, keep);
    return AOF_CHECK_FIXED;
}

static void report_fault(const struct checking *c, const struct aof_check_fault *f) {
    say(c, "%s: byte %" PRId64 ": %s%s%s", f->path, f->offset, f->reason, f->key != NULL ? ", key " : "",
        f->key != NULL ? f->key : "");
    say(c, "%s: %s; good up to byte %" PRId64 " of %" PRId64, f->path,
        f->is_torn_tail ? "a torn tail, as a crash leaves it" : "damage", f->good_offset, f->size);
    if (c->cb->fault != NULL)
        c->cb->fault(c->cb->ctx, f);
}

static bool is_snapshot(const struct checking *c, const char *path) {
    char first = '*';
    int fd = c->fs->open(c->fs->ctx, path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    bool got = c->fs->pread(c->fs->ctx, fd, &first, 1, 0) == 1;
    (void)c->fs->close(c->fs->ctx, fd);
    return got && first != '*' && first != '#';
}

/* Checks the RDB in front of the commands. 0 and where it ends, or -1. */
static int check_preamble(const struct checking *c, const char *path, int64_t *ret_rest) {
    struct buf why = BUF_INIT;
    int64_t bad = 0, rest = -1;
    int rc = c->cb->check_rdb(c->cb->ctx, path, &rest, &bad, &why);
    int64_t size = size_of(c, path);
    if (rc != 0) {
        char *text = buf_take_cstr(&why);
        struct aof_check_fault f = {.path = path, .offset = bad, .size = size, .reason = text};
        report_fault(c, &f);
        mem_free(text);
        return -1;
    }
    buf_deinit(&why);
    *ret_rest = rest >= 0 && rest <= size ? rest : size;
    say(c, "%s: RDB preamble is good (%" PRId64 " bytes)", path, *ret_rest);
    return 0;
}

static enum aof_check_status judge(struct checking *c, const struct recovery_result *r) {
    if (r->verdict == RECOVERY_WHOLE) {
        if (c->has_newer)
            return cut_at(c, c->newer_index, c->newer_offset);
        if (c->options->truncate_to_timestamp_s >= 0)
            say(c, "Nothing is newer than %" PRId64, c->options->truncate_to_timestamp_s);
        say(c, "The AOF is good: %zu files, %" PRIu64 " commands, %" PRIu64 " sealed group commits%s", c->count,
            r->commands, r->stretches, r->clean ? ", cleanly closed" : "");
        return AOF_CHECK_OK;
    }
    if (r->verdict == RECOVERY_IO) {
        say(c, "%s: %s", c->paths[r->fault.index], r->fault.reason);
        return AOF_CHECK_IO;
    }
    bool is_last = true;
    for (size_t i = r->fault.index + 1; i < c->count; i++)
        is_last = is_last && size_of(c, c->paths[i]) <= 0;
    struct aof_check_fault f = {.path = c->paths[r->fault.index],
                                .offset = r->fault.offset,
                                .good_offset = r->fault.good_bytes,
                                .size = r->fault.file_bytes,
                                .key = r->fault.key[0] != '\0' ? r->fault.key : NULL,
                                .reason = r->fault.reason,
                                .is_torn_tail = r->verdict == RECOVERY_TORN,
                                .can_fix = is_last};
    report_fault(c, &f);
    if (c->has_newer)
        return cut_at(c, c->newer_index, c->newer_offset);
    if (!c->options->fix) {
        if (is_last)
            say(c, "With --fix it is cut at the last good group");
        return AOF_CHECK_FAULT;
    }
    return cut_at(c, r->fault.index, r->fault.good_bytes);
}

static enum aof_check_status check_files(struct checking *c, bool has_base) {
    struct recovery_callbacks cb = {.ctx = c, .at_time = on_time};
    struct recovery *rec = recovery_create(c->fs, &cb);
    enum aof_check_status st = AOF_CHECK_OK;
    for (size_t i = 0; i < c->count; i++) {
        int64_t start = 0;
        bool is_base = has_base && i == 0;
        if (is_base && is_snapshot(c, c->paths[i]) && check_preamble(c, c->paths[i], &start) != 0) {
            st = AOF_CHECK_FAULT;
            break;
        }
        recovery_file(rec, c->paths[i], start, !is_base || c->count == 1);
    }
    if (st == AOF_CHECK_OK) {
        struct recovery_result r;
        recovery_finish(rec, &r);
        st = judge(c, &r);
    }
    recovery_destroy(rec);
    return st;
}

static bool is_manifest(const struct fs *fs, const char *path) {
    char first[5];
    int fd = fs->open(fs->ctx, path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    bool is = fs->pread(fs->ctx, fd, first, sizeof first, 0) == (ssize_t)sizeof first && memcmp(first, "file ", 5) == 0;
    (void)fs->close(fs->ctx, fd);
    return is;
}

static char *beside(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    struct buf b = BUF_INIT;
    buf_printf(&b, "%.*s%s", slash == NULL ? 0 : (int)(slash - path + 1), path, name);
    return buf_take_cstr(&b);
}

enum aof_check_status aof_check_path(const struct fs *fs, const char *path, const struct aof_check_options *options,
                                     const struct aof_check_callbacks *callbacks) {
    struct checking c = {.fs = fs, .options = options, .cb = callbacks};
    struct fs_stat st;
    int error = fs->stat(fs->ctx, path, &st);
    if (error != 0 || st.is_dir) {
        say(&c, "Cannot open %s: %s", path, error != 0 ? strerror(-error) : "it is a directory; name its manifest");
        return AOF_CHECK_IO;
    }
    struct aof_manifest m;
    aof_manifest_init(&m);
    bool has_base = true;
    enum aof_check_status status = AOF_CHECK_OK;
    if (is_manifest(fs, path)) {
        struct buf why = BUF_INIT;
        error = aof_manifest_load(fs, path, &m, &why);
        if (error != 0) {
            say(&c, "%s: %.*s", path, (int)why.len, why.data);
            status = error == -EINVAL ? AOF_CHECK_FAULT : AOF_CHECK_IO;
        }
        buf_deinit(&why);
        const struct aof_manifest_entry *base = aof_manifest_base(&m);
        has_base = base != NULL;
        c.paths = mem_calloc(m.count + 1, sizeof *c.paths);
        if (base != NULL)
            c.paths[c.count++] = beside(path, base->name);
        for (size_t i = 0; i < m.count; i++)
            if (m.entries[i].type == AOF_FILE_INCR)
                c.paths[c.count++] = beside(path, m.entries[i].name);
    } else {
        c.paths = mem_calloc(1, sizeof *c.paths);
        c.paths[c.count++] = mem_strdup(path);
    }
    if (status == AOF_CHECK_OK)
        status = check_files(&c, has_base);
    for (size_t i = 0; i < c.count; i++)
        mem_free(c.paths[i]);
    mem_free(c.paths);
    aof_manifest_deinit(&m);
    return status;
}
