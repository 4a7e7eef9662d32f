/* Invariants (simdisk_check):
 *  1. A name's inode has a parent directory that exists, and paths are unique.
 *  2. An inode's refs are its names, its durable names, its pending changes and its open descriptors.
 *  3. A page that is neither dirty nor lost reads the same in the cache and on the medium.
 */
#include "config.h"

#include "tests/support/simdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "tests/support/simdisk_int.h"

#define FIRST_FD 1000
#define FILE_LIMIT_BYTES ((int64_t)1 << 32)

/* ---- every call begins here ------------------------------------------------------------------------------------ */

static unsigned op_index(enum simdisk_op op) {
    return (unsigned)__builtin_ctz((unsigned)op);
}

static int rules_decide(struct simdisk *d, enum simdisk_op op, const char *path) {
    for (size_t i = 0; i < d->n_rules; i++) {
        struct rule *r = &d->rules[i];
        if ((r->ops & (unsigned)op) == 0 || (r->path_part != NULL && strstr(path, r->path_part) == NULL))
            continue;
        if (r->skip > 0) {
            r->skip--;
            continue;
        }
        if (r->times == 0)
            continue;
        if (r->times != SIMDISK_FOREVER)
            r->times--;
        return -r->error;
    }
    return 0;
}

/* Counts the call and returns what faults make of it: 0, or the -errno to return. *ret_killed_here tells the call at
 * which the process died. */
static int call_admit(struct simdisk *d, enum simdisk_op op, const char *path, bool *ret_killed_here) {
    *ret_killed_here = false;
    if (d->dead)
        return -EIO;
    d->counts[op_index(op)]++;
    if ((SIMDISK_CHANGES & (unsigned)op) != 0 && ++d->n_changing == d->kill_at) {
        d->dead = true;
        *ret_killed_here = true;
        return -EIO;
    }
    return rules_decide(d, op, path);
}

/* Runs the hook without the lock, then takes it. */
static void call_begin(struct simdisk *d, enum simdisk_op op, const char *path) {
    pthread_mutex_lock(&d->lock);
    void (*hook)(void *, enum simdisk_op, const char *) = d->hook;
    void *arg = d->hook_arg;
    pthread_mutex_unlock(&d->lock);
    if (hook != NULL)
        hook(arg, op, path);
    pthread_mutex_lock(&d->lock);
}

static int64_t call_end(struct simdisk *d, int64_t result) {
    pthread_mutex_unlock(&d->lock);
    return result;
}

static struct handle *handle_of(struct simdisk *d, int fd) {
    if (fd < FIRST_FD || (size_t)(fd - FIRST_FD) >= d->n_handles)
        return NULL;
    struct handle *h = &d->handles[fd - FIRST_FD];
    return h->inode != NULL ? h : NULL;
}

/* A call on a descriptor: finds it, runs hook and faults. NULL: *ret_error says what to return; the lock is held
 * anyway. */
static struct handle *fd_begin(struct simdisk *d, enum simdisk_op op, int fd, int *ret_error, bool *ret_killed_here) {
    pthread_mutex_lock(&d->lock);
    const struct handle *before = handle_of(d, fd);
    char *path = mem_strdup(before != NULL ? before->path : "");
    if (before != NULL && before->inode->is_dir && op == SIMDISK_FSYNC)
        op = SIMDISK_FSYNC_DIR;
    pthread_mutex_unlock(&d->lock);
    call_begin(d, op, path);
    *ret_error = call_admit(d, op, path, ret_killed_here);
    mem_free(path);
    struct handle *h = handle_of(d, fd); /* again: the table may have moved */
    if (h == NULL && *ret_error == 0)
        *ret_error = -EBADF;
    return h;
}

/* ---- struct fs ------------------------------------------------------------------------------------------------- */

static int handle_create(struct simdisk *d, struct inode *ino, const char *path, int flags) {
    size_t i = 0;
    while (i < d->n_handles && d->handles[i].inode != NULL)
        i++;
    if (i == d->n_handles)
        d->handles = mem_realloc(d->handles, ++d->n_handles * sizeof *d->handles);
    d->handles[i] = (struct handle){simdisk_inode_ref(ino), mem_strdup(path), flags, 0};
    return FIRST_FD + (int)i;
}

static void handle_release(struct handle *h) {
    mem_free(h->path);
    simdisk_inode_unref(h->inode);
    *h = (struct handle){NULL, NULL, 0, 0};
}

static int parent_error(struct simdisk *d, const char *path) {
    char *parent = simdisk_path_parent(path);
    const struct inode *dir = simdisk_names_inode(&d->now, parent);
    mem_free(parent);
    return dir == NULL ? -ENOENT : dir->is_dir ? 0 : -ENOTDIR;
}

static int do_open(struct simdisk *d, const char *path, int flags, mode_t mode) {
    struct inode *ino = simdisk_names_inode(&d->now, path);
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    if (ino == NULL) {
        if ((flags & O_CREAT) == 0)
            return -ENOENT;
        int error = parent_error(d, path);
        if (error != 0)
            return error;
        ino = simdisk_inode_create(false, mode);
        simdisk_change_names(d, NULL, path, ino);
    } else if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
        return -EEXIST;
    } else if (ino->is_dir && writes) {
        return -EISDIR;
    } else if (!ino->is_dir && (flags & O_DIRECTORY) != 0) {
        return -ENOTDIR;
    } else if ((flags & O_TRUNC) != 0 && writes && ino->data.len > 0) {
        simdisk_inode_resize(ino, 0);
    }
    return handle_create(d, ino, path, flags);
}

static int sim_open(void *ctx, const char *path, int flags, mode_t mode) {
    struct simdisk *d = ctx;
    char *full = simdisk_path_normalise(path);
    enum simdisk_op op = (flags & (O_CREAT | O_TRUNC)) != 0 ? SIMDISK_CREATE : SIMDISK_OPEN;
    bool killed;
    call_begin(d, op, full);
    int result = call_admit(d, op, full, &killed);
    if (result == 0)
        result = do_open(d, full, flags, mode);
    mem_free(full);
    return (int)call_end(d, result);
}

static int sim_close(void *ctx, int fd) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    struct handle *h = fd_begin(d, SIMDISK_CLOSE, fd, &error, &killed);
    if (h != NULL && !d->dead)
        handle_release(h); /* a failing close closes all the same */
    return (int)call_end(d, error);
}

static ssize_t read_at(const struct inode *ino, void *p, size_t n, int64_t offset) {
    if (offset < 0)
        return -EINVAL;
    if (ino->is_dir)
        return -EISDIR;
    if ((size_t)offset >= ino->data.len || n == 0)
        return 0;
    size_t left = ino->data.len - (size_t)offset;
    size_t got = n < left ? n : left;
    memcpy(p, ino->data.data + offset, got);
    return (ssize_t)got;
}

static ssize_t sim_read(void *ctx, int fd, void *p, size_t n) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    struct handle *h = fd_begin(d, SIMDISK_READ, fd, &error, &killed);
    ssize_t got = error;
    if (error == 0) {
        got = read_at(h->inode, p, n, h->offset);
        h->offset += got > 0 ? got : 0;
    }
    return (ssize_t)call_end(d, got);
}

static ssize_t sim_pread(void *ctx, int fd, void *p, size_t n, int64_t offset) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    const struct handle *h = fd_begin(d, SIMDISK_READ, fd, &error, &killed);
    return (ssize_t)call_end(d, error != 0 ? error : read_at(h->inode, p, n, offset));
}

static uint64_t bytes_used(const struct simdisk *d) {
    uint64_t used = 0;
    for (size_t i = 0; i < d->now.n; i++)
        used += d->now.at[i].inode->data.len;
    return used;
}

static ssize_t do_write(struct simdisk *d, struct handle *h, const char *p, size_t n, bool killed_here) {
    if ((h->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (n == 0)
        return 0;
    if ((h->flags & O_APPEND) != 0)
        h->offset = (int64_t)h->inode->data.len;
    if (d->short_writes)
        n = 1 + (size_t)rng_below(&d->rng, n);
    if (killed_here)
        n = (size_t)rng_below(&d->rng, n + 1);
    size_t end = (size_t)h->offset + n;
    size_t grows = end > h->inode->data.len ? end - h->inode->data.len : 0;
    uint64_t used = bytes_used(d);
    uint64_t room = d->capacity_bytes > used ? d->capacity_bytes - used : 0;
    if (grows > room) {
        if (grows - room >= n)
            return -ENOSPC;
        n -= grows - (size_t)room;
    }
    simdisk_inode_write(h->inode, (size_t)h->offset, p, n);
    h->offset += (int64_t)n;
    return (ssize_t)n;
}

static ssize_t sim_write(void *ctx, int fd, const void *p, size_t n) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    struct handle *h = fd_begin(d, SIMDISK_WRITE, fd, &error, &killed);
    ssize_t wrote = error;
    if (h != NULL && (error == 0 || killed))
        wrote = do_write(d, h, p, n, killed);
    return (ssize_t)call_end(d, killed ? -EIO : wrote);
}

static ssize_t sim_writev(void *ctx, int fd, const struct iovec *iov, int iovcnt) {
    struct buf all = BUF_INIT;
    for (int i = 0; i < iovcnt; i++)
        buf_append(&all, iov[i].iov_base, iov[i].iov_len);
    ssize_t wrote = sim_write(ctx, fd, all.data, all.len);
    buf_deinit(&all);
    return wrote;
}

static int sim_fsync(void *ctx, int fd) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    struct handle *h = fd_begin(d, SIMDISK_FSYNC, fd, &error, &killed);
    if (h != NULL && !d->dead) {
        if (error != 0 && !h->inode->is_dir)
            simdisk_inode_sync_failed(h->inode, &d->rng);
        else if (error == 0 && h->inode->is_dir)
            simdisk_sync_names_of(d, h->path);
        else if (error == 0)
            simdisk_inode_sync(h->inode);
    }
    return (int)call_end(d, error);
}

static int sim_ftruncate(void *ctx, int fd, int64_t size_bytes) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    struct handle *h = fd_begin(d, SIMDISK_TRUNCATE, fd, &error, &killed);
    if (error == 0 && (size_bytes < 0 || size_bytes > FILE_LIMIT_BYTES || (h->flags & O_ACCMODE) == O_RDONLY))
        error = -EINVAL;
    if (error == 0)
        simdisk_inode_resize(h->inode, (size_t)size_bytes);
    return (int)call_end(d, error);
}

static int64_t sim_lseek(void *ctx, int fd, int64_t offset, int whence) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    struct handle *h = fd_begin(d, SIMDISK_SEEK, fd, &error, &killed);
    if (error != 0)
        return call_end(d, error);
    int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? h->offset : (int64_t)h->inode->data.len;
    int64_t at;
    if (__builtin_add_overflow(base, offset, &at) || at < 0 || at > FILE_LIMIT_BYTES)
        return call_end(d, -EINVAL);
    h->offset = at;
    return call_end(d, at);
}

static int do_rename(struct simdisk *d, const char *from, const char *to) {
    struct inode *ino = simdisk_names_inode(&d->now, from);
    const struct inode *target = simdisk_names_inode(&d->now, to);
    if (ino == NULL)
        return -ENOENT;
    int error = parent_error(d, to);
    if (error != 0)
        return error;
    if (ino == target)
        return 0;
    if (ino->is_dir && simdisk_path_is_within(to, from))
        return -EINVAL;
    if (target != NULL && target->is_dir)
        return ino->is_dir ? -ENOTEMPTY : -EISDIR;
    if (target != NULL && ino->is_dir)
        return -ENOTDIR;
    simdisk_change_names(d, from, to, ino);
    return 0;
}

static int sim_rename(void *ctx, const char *from, const char *to) {
    struct simdisk *d = ctx;
    char *full_from = simdisk_path_normalise(from), *full_to = simdisk_path_normalise(to);
    bool killed;
    call_begin(d, SIMDISK_RENAME, full_to);
    int error = call_admit(d, SIMDISK_RENAME, full_to, &killed);
    if (error == 0)
        error = do_rename(d, full_from, full_to);
    mem_free(full_from);
    mem_free(full_to);
    return (int)call_end(d, error);
}

static int sim_unlink(void *ctx, const char *path) {
    struct simdisk *d = ctx;
    char *full = simdisk_path_normalise(path);
    bool killed;
    call_begin(d, SIMDISK_UNLINK, full);
    int error = call_admit(d, SIMDISK_UNLINK, full, &killed);
    struct inode *ino = simdisk_names_inode(&d->now, full);
    if (error == 0 && ino == NULL)
        error = -ENOENT;
    if (error == 0 && ino->is_dir)
        error = -EISDIR;
    if (error == 0)
        simdisk_change_names(d, full, NULL, NULL);
    mem_free(full);
    return (int)call_end(d, error);
}

static int sim_mkdir(void *ctx, const char *path, mode_t mode) {
    struct simdisk *d = ctx;
    char *full = simdisk_path_normalise(path);
    bool killed;
    call_begin(d, SIMDISK_MKDIR, full);
    int error = call_admit(d, SIMDISK_MKDIR, full, &killed);
    if (error == 0 && simdisk_names_find(&d->now, full) != NULL)
        error = -EEXIST;
    if (error == 0)
        error = parent_error(d, full);
    if (error == 0)
        simdisk_change_names(d, NULL, full, simdisk_inode_create(true, mode));
    mem_free(full);
    return (int)call_end(d, error);
}

static int sim_stat(void *ctx, const char *path, struct fs_stat *ret_stat) {
    struct simdisk *d = ctx;
    char *full = simdisk_path_normalise(path);
    bool killed;
    call_begin(d, SIMDISK_STAT, full);
    int error = call_admit(d, SIMDISK_STAT, full, &killed);
    const struct inode *ino = simdisk_names_inode(&d->now, full);
    mem_free(full);
    if (error == 0 && ino == NULL)
        error = -ENOENT;
    if (error == 0)
        *ret_stat = (struct fs_stat){
            .size_bytes = (int64_t)ino->data.len,
            .mode = ino->mode,
            .uid = ino->uid,
            .gid = ino->gid,
            .mtime_s = 0,
            .is_dir = ino->is_dir,
        };
    return (int)call_end(d, error);
}

static int sim_fchown(void *ctx, int fd, uint32_t uid, uint32_t gid) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    struct handle *h = fd_begin(d, SIMDISK_CHATTR, fd, &error, &killed);
    if (error == 0) {
        h->inode->uid = uid;
        h->inode->gid = gid;
    }
    return (int)call_end(d, error);
}

static int sim_fchmod(void *ctx, int fd, uint32_t mode) {
    struct simdisk *d = ctx;
    int error;
    bool killed;
    struct handle *h = fd_begin(d, SIMDISK_CHATTR, fd, &error, &killed);
    if (error == 0)
        h->inode->mode = (h->inode->mode & (uint32_t)S_IFMT) | (mode & 07777);
    return (int)call_end(d, error);
}

/* The entries' names, each with its NUL, appended to *b. */
static int collect_entries(struct simdisk *d, const char *dir, struct buf *b) {
    const struct inode *ino = simdisk_names_inode(&d->now, dir);
    if (ino == NULL)
        return -ENOENT;
    if (!ino->is_dir)
        return -ENOTDIR;
    for (size_t i = 0; i < d->now.n; i++) {
        const char *path = d->now.at[i].path;
        char *parent = simdisk_path_parent(path);
        if (strcmp(parent, dir) == 0 && strcmp(path, "/") != 0) {
            const char *entry = strrchr(path, '/') + 1;
            buf_append(b, entry, strlen(entry) + 1);
        }
        mem_free(parent);
    }
    return 0;
}

static int sim_list_dir(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg) {
    struct simdisk *d = ctx;
    char *full = simdisk_path_normalise(path);
    struct buf entries = BUF_INIT;
    bool killed;
    call_begin(d, SIMDISK_LIST, full);
    int error = call_admit(d, SIMDISK_LIST, full, &killed);
    if (error == 0)
        error = collect_entries(d, full, &entries);
    mem_free(full);
    (void)call_end(d, 0);
    /* Without the lock: the callback may use the disk. */
    for (size_t at = 0; at < entries.len; at += strlen(entries.data + at) + 1)
        if (each(arg, entries.data + at) != 0)
            break;
    buf_deinit(&entries);
    return error;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

struct simdisk *simdisk_create(uint64_t seed) {
    struct simdisk *d = mem_calloc(1, sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    rng_init(&d->rng, seed);
    d->capacity_bytes = UINT64_MAX;
    d->fs = (struct fs){
        .ctx = d,
        .open = sim_open,
        .close = sim_close,
        .read = sim_read,
        .pread = sim_pread,
        .write = sim_write,
        .writev = sim_writev,
        .fsync = sim_fsync,
        .fdatasync = sim_fsync,
        .ftruncate = sim_ftruncate,
        .lseek = sim_lseek,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .mkdir = sim_mkdir,
        .stat = sim_stat,
        .fchown = sim_fchown,
        .fchmod = sim_fchmod,
        .list_dir = sim_list_dir,
    };
    struct inode *root = simdisk_inode_create(true, 0755);
    simdisk_names_set(&d->now, "/", root);
    simdisk_names_set(&d->durable, "/", root);
    return d;
}

static void heal(struct simdisk *d) {
    while (d->n_rules > 0)
        mem_free(d->rules[--d->n_rules].path_part);
    d->short_writes = false;
    d->capacity_bytes = UINT64_MAX;
    d->kill_at = 0;
    d->dead = false;
}

static void close_all(struct simdisk *d) {
    for (size_t i = 0; i < d->n_handles; i++)
        if (d->handles[i].inode != NULL)
            handle_release(&d->handles[i]);
}

void simdisk_destroy(struct simdisk *d) {
    if (d == NULL)
        return;
    heal(d);
    close_all(d);
    while (d->n_changes > 0)
        simdisk_change_settle(d, d->n_changes - 1, false);
    simdisk_names_clear(&d->now);
    simdisk_names_clear(&d->durable);
    mem_free(d->changes);
    mem_free(d->handles);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

const struct fs *simdisk_fs(struct simdisk *d) {
    return &d->fs;
}

void simdisk_fail(struct simdisk *d, unsigned ops, const char *path_part, uint64_t skip, uint64_t times, int error) {
    HF_ASSERT(error > 0);
    pthread_mutex_lock(&d->lock);
    HF_ASSERT(d->n_rules < SIMDISK_MAX_RULES);
    d->rules[d->n_rules++] = (struct rule){ops, path_part != NULL ? mem_strdup(path_part) : NULL, skip, times, error};
    pthread_mutex_unlock(&d->lock);
}

void simdisk_short_writes(struct simdisk *d, bool on) {
    pthread_mutex_lock(&d->lock);
    d->short_writes = on;
    pthread_mutex_unlock(&d->lock);
}

void simdisk_set_capacity(struct simdisk *d, uint64_t capacity_bytes) {
    pthread_mutex_lock(&d->lock);
    d->capacity_bytes = capacity_bytes;
    pthread_mutex_unlock(&d->lock);
}

void simdisk_kill_at(struct simdisk *d, uint64_t nth) {
    pthread_mutex_lock(&d->lock);
    d->kill_at = nth == 0 ? 0 : d->n_changing + nth;
    pthread_mutex_unlock(&d->lock);
}

bool simdisk_is_dead(struct simdisk *d) {
    pthread_mutex_lock(&d->lock);
    bool dead = d->dead;
    pthread_mutex_unlock(&d->lock);
    return dead;
}

void simdisk_heal(struct simdisk *d) {
    pthread_mutex_lock(&d->lock);
    heal(d);
    pthread_mutex_unlock(&d->lock);
}

void simdisk_set_hook(struct simdisk *d, void (*hook)(void *arg, enum simdisk_op op, const char *path), void *arg) {
    pthread_mutex_lock(&d->lock);
    d->hook = hook;
    d->hook_arg = arg;
    pthread_mutex_unlock(&d->lock);
}

uint64_t simdisk_changes(struct simdisk *d) {
    return simdisk_count(d, SIMDISK_CHANGES);
}

uint64_t simdisk_count(struct simdisk *d, unsigned ops) {
    uint64_t sum = 0;
    pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < sizeof d->counts / sizeof d->counts[0]; i++)
        sum += (ops >> i & 1) != 0 ? d->counts[i] : 0;
    pthread_mutex_unlock(&d->lock);
    return sum;
}

static void crash(struct simdisk *d, bool strict) {
    pthread_mutex_lock(&d->lock);
    close_all(d);
    heal(d);
    simdisk_crash_names(d, strict);
    simdisk_drop_orphans(&d->durable);
    simdisk_names_clear(&d->now);
    for (size_t i = 0; i < d->durable.n; i++) {
        simdisk_inode_crash(d->durable.at[i].inode, &d->rng, strict);
        simdisk_names_set(&d->now, d->durable.at[i].path, d->durable.at[i].inode);
    }
    pthread_mutex_unlock(&d->lock);
    simdisk_check(d);
}

void simdisk_crash(struct simdisk *d) {
    crash(d, false);
}

void simdisk_crash_strict(struct simdisk *d) {
    crash(d, true);
}

void simdisk_process_kill(struct simdisk *d) {
    pthread_mutex_lock(&d->lock);
    close_all(d);
    heal(d);
    pthread_mutex_unlock(&d->lock);
    simdisk_check(d);
}

static void make_durable(struct inode *ino) {
    ino->durable.len = 0;
    buf_append(&ino->durable, ino->data.data, ino->data.len);
    simdisk_inode_set_durable_only(ino);
}

void simdisk_sync(struct simdisk *d) {
    pthread_mutex_lock(&d->lock);
    while (d->n_changes > 0)
        simdisk_change_settle(d, 0, true);
    for (size_t i = 0; i < d->now.n; i++)
        make_durable(d->now.at[i].inode);
    pthread_mutex_unlock(&d->lock);
}

/* ---- looking and tampering ------------------------------------------------------------------------------------- */

static struct inode *find(struct simdisk *d, const char *path) {
    char *full = simdisk_path_normalise(path);
    struct inode *ino = simdisk_names_inode(&d->now, full);
    mem_free(full);
    return ino;
}

bool simdisk_exists(struct simdisk *d, const char *path) {
    pthread_mutex_lock(&d->lock);
    bool there = find(d, path) != NULL;
    pthread_mutex_unlock(&d->lock);
    return there;
}

int simdisk_get(struct simdisk *d, const char *path, struct buf *b) {
    pthread_mutex_lock(&d->lock);
    const struct inode *ino = find(d, path);
    if (ino != NULL)
        buf_append(b, ino->data.data, ino->data.len);
    pthread_mutex_unlock(&d->lock);
    return ino != NULL ? 0 : -ENOENT;
}

/* Names that both views get at once. */
static void put_name(struct simdisk *d, const char *path, struct inode *ino) {
    simdisk_names_set(&d->now, path, ino);
    simdisk_names_set(&d->durable, path, ino);
}

static void put_parents(struct simdisk *d, const char *path) {
    char *parent = simdisk_path_parent(path);
    if (strcmp(parent, path) != 0) {
        put_parents(d, parent);
        struct inode *dir = simdisk_names_inode(&d->now, parent);
        HF_ASSERT(dir == NULL || dir->is_dir);
        put_name(d, parent, dir != NULL ? dir : simdisk_inode_create(true, 0755));
    }
    mem_free(parent);
}

void simdisk_put(struct simdisk *d, const char *path, const void *p, size_t n) {
    pthread_mutex_lock(&d->lock);
    char *full = simdisk_path_normalise(path);
    put_parents(d, full);
    simdisk_sync_names_of(d, full);
    struct inode *ino = simdisk_inode_create(false, 0644);
    simdisk_inode_write(ino, 0, p, n);
    simdisk_inode_sync(ino);
    char *parent = simdisk_path_parent(full);
    simdisk_sync_names_of(d, parent); /* an older pending change must not undo this one */
    mem_free(parent);
    put_name(d, full, ino);
    mem_free(full);
    pthread_mutex_unlock(&d->lock);
}

void simdisk_flip_bit(struct simdisk *d, const char *path, size_t bit) {
    pthread_mutex_lock(&d->lock);
    struct inode *ino = find(d, path);
    HF_ASSERT(ino != NULL && bit / 8 < ino->data.len);
    char mask = (char)(1u << (bit % 8));
    ino->data.data[bit / 8] = (char)(ino->data.data[bit / 8] ^ mask);
    if (bit / 8 < ino->durable.len)
        ino->durable.data[bit / 8] = (char)(ino->durable.data[bit / 8] ^ mask);
    pthread_mutex_unlock(&d->lock);
}

size_t simdisk_open_files(struct simdisk *d) {
    size_t open = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_handles; i++)
        open += d->handles[i].inode != NULL;
    pthread_mutex_unlock(&d->lock);
    return open;
}

static unsigned count_refs(const struct simdisk *d, const struct inode *ino) {
    unsigned refs = 0;
    for (size_t i = 0; i < d->now.n; i++)
        refs += d->now.at[i].inode == ino;
    for (size_t i = 0; i < d->durable.n; i++)
        refs += d->durable.at[i].inode == ino;
    for (size_t i = 0; i < d->n_changes; i++)
        refs += d->changes[i].inode == ino;
    for (size_t i = 0; i < d->n_handles; i++)
        refs += d->handles[i].inode == ino;
    return refs;
}

static void check_inode(const struct simdisk *d, const struct inode *ino) {
    HF_ASSERT(ino->refs == count_refs(d, ino));
    HF_ASSERT(ino->pages.len == simdisk_pages_of(ino->data.len));
    for (size_t i = 0; i < ino->data.len; i++)
        if (ino->pages.data[i / SIMDISK_PAGE_BYTES] == PAGE_CLEAN)
            HF_ASSERT(i < ino->durable.len && ino->data.data[i] == ino->durable.data[i]);
}

void simdisk_check(struct simdisk *d) {
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->now.n; i++) {
        const struct name *name = &d->now.at[i];
        HF_ASSERT(simdisk_names_find(&d->now, name->path) == name);
        char *parent = simdisk_path_parent(name->path);
        const struct inode *dir = simdisk_names_inode(&d->now, parent);
        HF_ASSERT(dir != NULL && dir->is_dir);
        mem_free(parent);
        check_inode(d, name->inode);
    }
    pthread_mutex_unlock(&d->lock);
}
