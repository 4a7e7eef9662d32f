#include "config.h"

#include "persistence/aof/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/base/logging.h"
#include "server/base/mem.h"

/* Order of changes to the disk, each of which leaves a directory that loads to the same data after a crash: a
 * single-file AOF is made a base (manifest first naming the file that is then moved); a torn tail is cut; files behind
 * the cut leave the manifest, then the directory. */

struct loading {
    const struct fs *fs;
    const struct loader_options *options;
    const struct loader_callbacks *cb;
    struct loader_result *result;
    struct buf *error;
    char *aof_dir, *manifest_path, *single_path;
    char **paths; /* of the files given to recovery, by index */
    char **names;
    size_t path_count;
    uint64_t done_bytes;
};

static char *join(const char *dir, const char *name) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s/%s", dir, name);
    return buf_take_cstr(&b);
}

static void say(const struct loading *l, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(const struct loading *l, int level, const char *fmt, ...) {
    if (l->cb->log == NULL)
        return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    l->cb->log(l->cb->ctx, level, text);
}

static bool file_exists(const struct fs *fs, const char *path, int64_t *ret_size) {
    struct fs_stat st;
    if (fs->stat(fs->ctx, path, &st) != 0 || st.is_dir)
        return false;
    if (ret_size != NULL)
        *ret_size = st.size_bytes;
    return true;
}

/* ---- the single file of older servers -------------------------------------------------------------------------- */

/* Makes dir/NAME the base of a multi-part AOF: as Redis 7 does, under its old name. */
static int upgrade(struct loading *l) {
    const struct fs *fs = l->fs;
    struct fs_stat st;
    int error = 0;
    if (fs->stat(fs->ctx, l->aof_dir, &st) != 0) {
        error = fs->mkdir(fs->ctx, l->aof_dir, 0755);
        if (error == 0)
            error = fs_sync_parent(fs, l->aof_dir);
    }
    char *moved = join(l->aof_dir, l->options->filename);
    if (error == 0)
        error = aof_manifest_store(fs, l->manifest_path, &l->result->manifest);
    if (error == 0)
        error = fs->rename(fs->ctx, l->single_path, moved);
    if (error == 0)
        error = fs_sync_parent(fs, moved);
    if (error == 0)
        error = fs_sync_parent(fs, l->single_path);
    if (error != 0)
        buf_printf(l->error, "Can't make the AOF file %s the base of a multi-part AOF: %s", l->single_path,
                   strerror(-error));
    else
        say(l, LOG_LEVEL_NOTICE, "The AOF file %s is now the base of the multi-part AOF in %s", l->options->filename,
            l->aof_dir);
    mem_free(moved);
    return error;
}

/* Finds the AOF; the manifest (or what stands for it) is in the result. */
static enum loader_status find(struct loading *l, bool *ret_single) {
    struct loader_result *r = l->result;
    struct buf why = BUF_INIT;
    int error = aof_manifest_load(l->fs, l->manifest_path, &r->manifest, &why);
    *ret_single = false;
    if (error != 0 && error != -ENOENT) {
        buf_printf(l->error, "Bad AOF manifest %s: %.*s", l->manifest_path, (int)why.len, why.data);
        buf_deinit(&why);
        return error == -EINVAL ? LOADER_CORRUPT : LOADER_IO;
    }
    buf_deinit(&why);
    r->found = error == 0;
    bool has_single = file_exists(l->fs, l->single_path, NULL);
    if (r->found) {
        /* An upgrade that was cut short: the manifest names the file, which has not been moved yet. */
        const struct aof_manifest_entry *base = aof_manifest_base(&r->manifest);
        char *moved = base == NULL ? NULL : join(l->aof_dir, base->name);
        bool is_half_way = base != NULL && has_single && strcmp(base->name, l->options->filename) == 0 &&
                           !file_exists(l->fs, moved, NULL);
        mem_free(moved);
        if (!is_half_way)
            return LOADER_OK;
    } else if (!has_single) {
        return LOADER_OK;
    } else {
        r->found = true;
        aof_manifest_add(&r->manifest, l->options->filename, 1, AOF_FILE_BASE);
    }
    if (l->options->read_only) {
        *ret_single = true;
        return LOADER_OK;
    }
    return upgrade(l) == 0 ? LOADER_OK : LOADER_IO;
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static int on_apply(void *ctx, int argc, const struct slice *argv, struct buf *ret_error) {
    struct loading *l = ctx;
    return l->cb->apply(l->cb->ctx, argc, argv, ret_error);
}

static void on_discard(void *ctx) {
    struct loading *l = ctx;
    if (l->cb->discard_group != NULL)
        l->cb->discard_group(l->cb->ctx);
}

static void on_progress(void *ctx, uint64_t n) {
    struct loading *l = ctx;
    l->done_bytes += n;
    if (l->cb->progress != NULL)
        l->cb->progress(l->cb->ctx, l->done_bytes, l->result->total_bytes);
}

/* True when the file is one for load_base: neither commands nor empty. */
static bool is_snapshot(const struct fs *fs, const char *path) {
    char first = '*';
    int fd = fs->open(fs->ctx, path, O_RDONLY, 0);
    if (fd < 0)
        return false; /* recovery will say why */
    bool got = fs->pread(fs->ctx, fd, &first, 1, 0) == 1;
    (void)fs->close(fs->ctx, fd);
    return got && first != '*' && first != '#';
}

static enum loader_status load_base(struct loading *l, struct recovery *rec, const char *path, bool is_last) {
    int64_t size = 0;
    if (!file_exists(l->fs, path, &size)) {
        buf_printf(l->error, "The AOF base file %s is missing", path);
        return LOADER_IO;
    }
    l->result->base_bytes = (uint64_t)size;
    if (!is_snapshot(l->fs, path)) {
        recovery_file(rec, path, 0, is_last);
        return LOADER_OK;
    }
    int64_t rest = -1;
    struct buf why = BUF_INIT;
    if (l->cb->load_base(l->cb->ctx, path, &rest, &why) != 0) {
        buf_printf(l->error, "Error reading the RDB preamble of the AOF file %s: %.*s", path, (int)why.len, why.data);
        buf_deinit(&why);
        return LOADER_CORRUPT;
    }
    buf_deinit(&why);
    l->done_bytes += (uint64_t)(rest >= 0 && rest < size ? rest : size);
    recovery_file(rec, path, rest >= 0 ? rest : size, is_last);
    return LOADER_OK;
}

static void add_path(struct loading *l, const char *dir, const char *name) {
    l->paths[l->path_count] = join(dir, name);
    l->names[l->path_count++] = mem_strdup(name);
}

static enum loader_status read_files(struct loading *l, struct recovery *rec, bool single) {
    const struct aof_manifest *m = &l->result->manifest;
    const struct aof_manifest_entry *base = aof_manifest_base(m);
    l->paths = mem_calloc(m->count + 1, sizeof *l->paths);
    l->names = mem_calloc(m->count + 1, sizeof *l->names);
    if (base != NULL)
        add_path(l, single ? l->options->dir : l->aof_dir, base->name);
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].type == AOF_FILE_INCR)
            add_path(l, l->aof_dir, m->entries[i].name);
    for (size_t i = 0; i < l->path_count; i++) {
        int64_t size = 0;
        if (file_exists(l->fs, l->paths[i], &size))
            l->result->total_bytes += (uint64_t)size;
    }
    size_t first_incr = base != NULL;
    if (base != NULL) {
        enum loader_status st = load_base(l, rec, l->paths[0], l->path_count == 1);
        if (st != LOADER_OK)
            return st;
    }
    for (size_t i = first_incr; i < l->path_count; i++)
        recovery_file(rec, l->paths[i], 0, true);
    return LOADER_OK;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

static int cut_file(const struct fs *fs, const char *path, int64_t bytes) {
    int fd = fs->open(fs->ctx, path, O_WRONLY, 0);
    if (fd < 0)
        return fd;
    int error = fs->ftruncate(fs->ctx, fd, bytes);
    if (error == 0)
        error = fs->fsync(fs->ctx, fd);
    int close_error = fs->close(fs->ctx, fd);
    return error != 0 ? error : close_error;
}

/* Cuts the torn tail off: the rest of its file and all files behind. */
static int cut_tail(struct loading *l) {
    struct loader_result *r = l->result;
    size_t at = r->recovery.cut_index;
    int error = cut_file(l->fs, l->paths[at], r->recovery.cut_bytes);
    if (error != 0 || at + 1 == l->path_count)
        return error;
    struct aof_manifest kept;
    aof_manifest_init(&kept);
    for (size_t i = 0; i < r->manifest.count; i++) {
        const struct aof_manifest_entry *e = &r->manifest.entries[i];
        bool goes = false;
        for (size_t k = at + 1; k < l->path_count; k++)
            goes |= e->type == AOF_FILE_INCR && strcmp(e->name, l->names[k]) == 0;
        if (!goes)
            aof_manifest_add(&kept, e->name, e->seq, e->type);
    }
    kept.max_incr_seq = r->manifest.max_incr_seq; /* a number is never used twice */
    error = aof_manifest_store(l->fs, l->manifest_path, &kept);
    aof_manifest_deinit(&r->manifest);
    r->manifest = kept;
    for (size_t k = at + 1; k < l->path_count && error == 0; k++)
        (void)l->fs->unlink(l->fs->ctx, l->paths[k]); /* nothing names it */
    return error;
}

static enum loader_status judge(struct loading *l) {
    struct loader_result *r = l->result;
    const struct recovery_fault *f = &r->recovery.fault;
    const char *path = f->index < l->path_count ? l->paths[f->index] : "?";
    const char *of = f->key[0] != '\0' ? ", key " : "";
    switch (r->recovery.verdict) {
    case RECOVERY_WHOLE:
        return LOADER_OK;
    case RECOVERY_IO:
        buf_printf(l->error, "Can't read the AOF file %s: %s", path, f->reason);
        return LOADER_IO;
    case RECOVERY_REFUSED:
        buf_printf(l->error, "The AOF file %s, byte %lld: %s", path, (long long)f->offset, f->reason);
        return LOADER_REFUSED;
    case RECOVERY_CORRUPT:
        buf_printf(l->error,
                   "The AOF file %s is damaged at byte %lld: %s%s%s. The last good byte before is %lld. Make a backup, "
                   "then see "
                   "holdfast-check-aof --fix",
                   path, (long long)f->offset, f->reason, of, f->key, (long long)f->good_bytes);
        return LOADER_CORRUPT;
    case RECOVERY_TORN:
        break;
    }
    if (!l->options->load_truncated) {
        buf_printf(l->error,
                   "Unexpected end of the AOF file %s at byte %lld: %s%s%s. With aof-load-truncated it would be cut at "
                   "byte %lld",
                   path, (long long)f->offset, f->reason, of, f->key, (long long)f->good_bytes);
        return LOADER_TRUNCATED;
    }
    say(l, LOG_LEVEL_WARNING, "The AOF file %s ends torn at byte %lld (%s%s%s): cut at byte %lld of %lld", path,
        (long long)f->offset, f->reason, of, f->key, (long long)f->good_bytes, (long long)f->file_bytes);
    int error = l->options->read_only ? 0 : cut_tail(l);
    if (error == 0)
        return LOADER_OK;
    buf_printf(l->error, "Can't cut the AOF file %s: %s", path, strerror(-error));
    return LOADER_IO;
}

static void init_paths(struct loading *l) {
    l->aof_dir = join(l->options->dir, l->options->dirname);
    l->single_path = join(l->options->dir, l->options->filename);
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s/%s.manifest", l->aof_dir, l->options->filename);
    l->manifest_path = buf_take_cstr(&b);
}

static void deinit_paths(struct loading *l) {
    for (size_t i = 0; i < l->path_count; i++) {
        mem_free(l->paths[i]);
        mem_free(l->names[i]);
    }
    mem_free(l->paths);
    mem_free(l->names);
    mem_free(l->aof_dir);
    mem_free(l->single_path);
    mem_free(l->manifest_path);
}

enum loader_status loader_load(const struct fs *fs, const struct loader_options *options,
                               const struct loader_callbacks *callbacks, struct loader_result *ret_result,
                               struct buf *ret_error) {
    *ret_result = (struct loader_result){0};
    aof_manifest_init(&ret_result->manifest);
    struct loading l = {.fs = fs, .options = options, .cb = callbacks, .result = ret_result, .error = ret_error};
    init_paths(&l);
    bool single;
    enum loader_status st = find(&l, &single);
    if (st == LOADER_OK && ret_result->found) {
        struct recovery_callbacks cb = {
            .ctx = &l, .apply = on_apply, .discard_group = on_discard, .progress = on_progress};
        struct recovery *rec = recovery_create(fs, &cb);
        st = read_files(&l, rec, single);
        recovery_finish(rec, &ret_result->recovery);
        recovery_destroy(rec);
        ret_result->commands = ret_result->recovery.commands;
        if (st == LOADER_OK)
            st = judge(&l);
    }
    deinit_paths(&l);
    return st;
}

bool loader_exists(const struct fs *fs, const struct loader_options *options) {
    struct loading l = {.fs = fs, .options = options};
    init_paths(&l);
    bool exists = file_exists(fs, l.manifest_path, NULL) || file_exists(fs, l.single_path, NULL);
    deinit_paths(&l);
    return exists;
}

void loader_result_deinit(struct loader_result *r) {
    aof_manifest_deinit(&r->manifest);
}
