/* File system calls, injectable.
 *
 * Everything that must survive a crash goes through a struct fs: production uses fs_posix(), unit tests a simulated disk
 * that forgets what was not fsynced and fails on demand. Calls return ≥ 0 or -errno; EINTR is retried inside.
 *
 * Ownership: a struct fs is borrowed by whoever uses it and outlives it. Thread: fs_posix() may be used from any thread.
 */
#ifndef HF_BASE_FS_H
#define HF_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/base/buf.h"

struct iovec;

struct fs_stat {
    int64_t size_bytes;
    uint32_t mode; /* st_mode */
    uint32_t uid, gid;
    int64_t mtime_s;
    bool is_dir;
};

struct fs {
    void *ctx; /* passed first to every call */
    int (*open)(void *ctx, const char *path, int flags, mode_t mode); /* → descriptor; O_CLOEXEC is added */
    int (*close)(void *ctx, int fd);
    ssize_t (*read)(void *ctx, int fd, void *p, size_t n);
    ssize_t (*pread)(void *ctx, int fd, void *p, size_t n, int64_t offset);
    ssize_t (*write)(void *ctx, int fd, const void *p, size_t n); /* may be short */
    ssize_t (*writev)(void *ctx, int fd, const struct iovec *iov, int iovcnt); /* may be short */
    int (*fsync)(void *ctx, int fd);
    int (*fdatasync)(void *ctx, int fd);
    int (*ftruncate)(void *ctx, int fd, int64_t size_bytes);
    int64_t (*lseek)(void *ctx, int fd, int64_t offset, int whence);
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path, mode_t mode);
    int (*stat)(void *ctx, const char *path, struct fs_stat *ret_stat);
    int (*fchown)(void *ctx, int fd, uint32_t uid, uint32_t gid);
    int (*fchmod)(void *ctx, int fd, uint32_t mode);
    /* Calls each(arg, name) for every entry of the directory except . and ..; stops when it returns nonzero. */
    int (*list_dir)(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg);
};

/* The real file system. */
const struct fs *fs_posix(void);

/* Writes all n bytes (loops over short writes). 0, or -errno; a short write that makes no progress is -EIO. */
int fs_write_all(const struct fs *fs, int fd, const void *p, size_t n) __attribute__((warn_unused_result));
/* As above for an iovec, which is modified. */
int fs_writev_all(const struct fs *fs, int fd, struct iovec *iov, int iovcnt) __attribute__((warn_unused_result));
/* Reads a whole file of at most max_bytes into *b (appended). 0, -EFBIG, or -errno. */
int fs_read_file(const struct fs *fs, const char *path, size_t max_bytes, struct buf *b) __attribute__((warn_unused_result));
/* fsync of the directory that holds path (or of path itself if it is a directory ending in '/'). 0 or -errno. */
int fs_sync_parent(const struct fs *fs, const char *path) __attribute__((warn_unused_result));

/* Replaces path by data atomically: temporary file beside it, write, fsync, rename, fsync of the directory. keep, where not NULL,
 * gives mode and owner (owner is best effort); else mode is 0644 less the umask. A failure leaves the old file and removes the
 * temporary one. 0 or -errno. */
int fs_replace_file(const struct fs *fs, const char *path, const void *p, size_t n, const struct fs_stat *keep)
    __attribute__((warn_unused_result));

#endif
