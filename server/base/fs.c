#include "config.h"

#include "server/base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "server/base/mem.h"
#include "server/base/num.h"

/* ---- the real file system -------------------------------------------------------------------------------------- */

/* The value of a call that may be interrupted, or -errno. */
#define RETRY(ret_type, call)                                                                                          \
    do {                                                                                                               \
        ret_type result_;                                                                                              \
        do                                                                                                             \
            result_ = (call);                                                                                          \
        while (result_ < 0 && errno == EINTR);                                                                         \
        return result_ < 0 ? -errno : result_;                                                                         \
    } while (0)

static int posix_open(void *ctx, const char *path, int flags, mode_t mode) {
    (void)ctx;
    RETRY(int, open(path, flags | O_CLOEXEC, mode));
}

static int posix_close(void *ctx, int fd) {
    (void)ctx;
    /* On Linux the descriptor is gone even after EINTR: a second try could close another thread's file. */
    return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

static ssize_t posix_read(void *ctx, int fd, void *p, size_t n) {
    (void)ctx;
    RETRY(ssize_t, read(fd, p, n));
}

static ssize_t posix_pread(void *ctx, int fd, void *p, size_t n, int64_t offset) {
    (void)ctx;
    RETRY(ssize_t, pread(fd, p, n, offset));
}

static ssize_t posix_write(void *ctx, int fd, const void *p, size_t n) {
    (void)ctx;
    RETRY(ssize_t, write(fd, p, n));
}

static ssize_t posix_writev(void *ctx, int fd, const struct iovec *iov, int iovcnt) {
    (void)ctx;
    RETRY(ssize_t, writev(fd, iov, iovcnt));
}

static int posix_fsync(void *ctx, int fd) {
    (void)ctx;
    RETRY(int, fsync(fd));
}

static int posix_fdatasync(void *ctx, int fd) {
    (void)ctx;
    RETRY(int, fdatasync(fd));
}

static int posix_ftruncate(void *ctx, int fd, int64_t size_bytes) {
    (void)ctx;
    RETRY(int, ftruncate(fd, size_bytes));
}

static int64_t posix_lseek(void *ctx, int fd, int64_t offset, int whence) {
    (void)ctx;
    int64_t at = lseek(fd, offset, whence);
    return at < 0 ? -errno : at;
}

static int posix_rename(void *ctx, const char *from, const char *to) {
    (void)ctx;
    return rename(from, to) == 0 ? 0 : -errno;
}

static int posix_unlink(void *ctx, const char *path) {
    (void)ctx;
    return unlink(path) == 0 ? 0 : -errno;
}

static int posix_mkdir(void *ctx, const char *path, mode_t mode) {
    (void)ctx;
    return mkdir(path, mode) == 0 ? 0 : -errno;
}

static int posix_stat(void *ctx, const char *path, struct fs_stat *ret_stat) {
    (void)ctx;
    struct stat st;
    if (stat(path, &st) != 0)
        return -errno;
    *ret_stat = (struct fs_stat){
        .size_bytes = st.st_size,
        .mode = st.st_mode,
        .uid = st.st_uid,
        .gid = st.st_gid,
        .mtime_s = st.st_mtime,
        .is_dir = S_ISDIR(st.st_mode),
    };
    return 0;
}

static int posix_fchown(void *ctx, int fd, uint32_t uid, uint32_t gid) {
    (void)ctx;
    RETRY(int, fchown(fd, uid, gid));
}

static int posix_fchmod(void *ctx, int fd, uint32_t mode) {
    (void)ctx;
    RETRY(int, fchmod(fd, mode));
}

static int posix_list_dir(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg) {
    (void)ctx;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    int error = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            error = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (each(arg, entry->d_name) != 0)
            break;
    }
    closedir(dir);
    return error;
}

const struct fs *fs_posix(void) {
    static const struct fs posix = {
        .ctx = NULL,
        .open = posix_open,
        .close = posix_close,
        .read = posix_read,
        .pread = posix_pread,
        .write = posix_write,
        .writev = posix_writev,
        .fsync = posix_fsync,
        .fdatasync = posix_fdatasync,
        .ftruncate = posix_ftruncate,
        .lseek = posix_lseek,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .mkdir = posix_mkdir,
        .stat = posix_stat,
        .fchown = posix_fchown,
        .fchmod = posix_fchmod,
        .list_dir = posix_list_dir,
    };
    return &posix;
}

/* ---- on top of any struct fs ----------------------------------------------------------------------------------- */

int fs_write_all(const struct fs *fs, int fd, const void *p, size_t n) {
    const char *at = p;
    while (n > 0) {
        ssize_t wrote = fs->write(fs->ctx, fd, at, n);
        if (wrote < 0)
            return (int)wrote;
        if (wrote == 0)
            return -EIO;
        at += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

int fs_writev_all(const struct fs *fs, int fd, struct iovec *iov, int iovcnt) {
    const int max_at_once = 1024; /* IOV_MAX of Linux */
    for (;;) {
        while (iovcnt > 0 && iov->iov_len == 0) {
            iov++;
            iovcnt--;
        }
        if (iovcnt == 0)
            return 0;
        ssize_t wrote = fs->writev(fs->ctx, fd, iov, iovcnt < max_at_once ? iovcnt : max_at_once);
        if (wrote < 0)
            return (int)wrote;
        if (wrote == 0)
            return -EIO;
        size_t left = (size_t)wrote;
        while (iovcnt > 0 && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            iovcnt--;
        }
        if (left > 0) {
            iov->iov_base = (char *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
}

static int read_to_end(const struct fs *fs, int fd, size_t max_bytes, struct buf *b) {
    size_t total = 0;
    for (;;) {
        if (buf_try_reserve(b, 65536) != 0)
            return -ENOMEM;
        ssize_t got = fs->read(fs->ctx, fd, b->data + b->len, b->cap - b->len);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return 0;
        if ((size_t)got > max_bytes - total)
            return -EFBIG;
        total += (size_t)got;
        b->len += (size_t)got;
    }
}

int fs_read_file(const struct fs *fs, const char *path, size_t max_bytes, struct buf *b) {
    int fd = fs->open(fs->ctx, path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    size_t len_before = b->len;
    int error = read_to_end(fs, fd, max_bytes, b);
    if (error != 0)
        b->len = len_before;
    (void)fs->close(fs->ctx, fd); /* nothing was written */
    return error;
}

int fs_sync_parent(const struct fs *fs, const char *path) {
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL ? mem_strdup(".") : mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = fs->open(fs->ctx, dir, O_RDONLY | O_DIRECTORY, 0);
    mem_free(dir);
    if (fd < 0)
        return fd;
    int error = fs->fsync(fs->ctx, fd);
    int close_error = fs->close(fs->ctx, fd);
    return error != 0 ? error : close_error;
}

/* Writes data to a new file at path, durably. */
static int write_new_file(const struct fs *fs, const char *path, const void *p, size_t n, const struct fs_stat *keep) {
    int fd = fs->open(fs->ctx, path, O_WRONLY | O_CREAT | O_TRUNC, keep != NULL ? 0600 : 0644);
    if (fd < 0)
        return fd;
    int error = fs_write_all(fs, fd, p, n);
    if (error == 0 && keep != NULL) {
        /* Owner first: chown clears set-id bits. An unprivileged process may not give files away, which is fine. */
        (void)fs->fchown(fs->ctx, fd, keep->uid, keep->gid);
        error = fs->fchmod(fs->ctx, fd, keep->mode & 07777);
    }
    if (error == 0)
        error = fs->fsync(fs->ctx, fd);
    int close_error = fs->close(fs->ctx, fd);
    return error != 0 ? error : close_error;
}

int fs_replace_file(const struct fs *fs, const char *path, const void *p, size_t n, const struct fs_stat *keep) {
    const char *slash = strrchr(path, '/');
    int dir_bytes = slash == NULL ? 0 : (int)(slash - path + 1);
    struct buf name = BUF_INIT;
    buf_printf(&name, "%.*s.%s.tmp-%d", dir_bytes, path, path + dir_bytes, (int)getpid());
    char *temporary = buf_take_cstr(&name);
    int error = write_new_file(fs, temporary, p, n, keep);
    if (error == 0)
        error = fs->rename(fs->ctx, temporary, path);
    if (error != 0)
        (void)fs->unlink(fs->ctx, temporary); /* it may not even exist */
    else
        error = fs_sync_parent(fs, path);
    mem_free(temporary);
    return error;
}
