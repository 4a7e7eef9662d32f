#include "config.h"

#include "cluster/replication/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Invariant: bytes = (front.len − front_at) + (file_end − file_at) + back.len. Bytes go to the front directly while
 * nothing lies behind it. */

void spool_init(struct spool *s, const struct fs *fs) {
    memset(s, 0, sizeof *s);
    s->fs = fs;
    s->fd = -1;
    buf_init(&s->front);
    buf_init(&s->back);
}

void spool_clear(struct spool *s) {
    if (s->fd >= 0)
        s->fs->close(s->fs->ctx, s->fd);
    buf_deinit(&s->front);
    buf_deinit(&s->back);
    spool_init(s, s->fs);
}

static int open_file(struct spool *s) {
    const struct fs *fs = s->fs;
    int fd = fs->open(fs->ctx, ".", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0) { /* not every file system makes files without a name */
        char path[64];
        snprintf(path, sizeof path, "temp-%ld.spool", (long)getpid());
        fd = fs->open(fs->ctx, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        int rc = fd < 0 ? fd : fs->unlink(fs->ctx, path);
        if (rc < 0) {
            if (fd >= 0)
                fs->close(fs->ctx, fd);
            return rc;
        }
    }
    s->fd = fd;
    return 0;
}

static int write_back(struct spool *s) {
    int rc = s->fd < 0 ? open_file(s) : 0;
    if (rc == 0)
        rc = fs_write_all(s->fs, s->fd, s->back.data, s->back.len);
    if (rc < 0)
        return rc;
    s->file_end += s->back.len;
    buf_clear(&s->back);
    return 0;
}

int spool_append(struct spool *s, const void *p, size_t n) {
    const char *at = p;
    while (n > 0) {
        bool direct = s->back.len == 0 && s->file_at == s->file_end && s->front.len < SPOOL_MEMORY_BYTES;
        struct buf *to = direct ? &s->front : &s->back;
        if (!direct && s->back.len == SPOOL_MEMORY_BYTES) {
            int rc = write_back(s);
            if (rc < 0)
                return rc;
        }
        size_t room = SPOOL_MEMORY_BYTES - to->len, take = n < room ? n : room;
        buf_append(to, at, take);
        at += take;
        n -= take;
        s->bytes += take;
    }
    if (s->bytes > s->peak_bytes)
        s->peak_bytes = s->bytes;
    return 0;
}

/* Fills the front, which has been read to its end. */
static int refill(struct spool *s) {
    buf_clear(&s->front);
    s->front_at = 0;
    if (s->file_at == s->file_end) {
        struct buf b = s->front;
        s->front = s->back;
        s->back = b;
        return 0;
    }
    uint64_t left = s->file_end - s->file_at;
    size_t want = left < SPOOL_MEMORY_BYTES ? (size_t)left : SPOOL_MEMORY_BYTES;
    if (buf_try_reserve(&s->front, want) != 0)
        return -ENOMEM;
    ssize_t n = s->fs->pread(s->fs->ctx, s->fd, s->front.data, want, (int64_t)s->file_at);
    if (n <= 0)
        return n < 0 ? (int)n : -EIO;
    s->front.len = (size_t)n;
    s->file_at += (uint64_t)n;
    if (s->file_at < s->file_end)
        return 0;
    s->file_at = s->file_end = 0;
    int rc = s->fs->ftruncate(s->fs->ctx, s->fd, 0);
    int64_t at = rc == 0 ? s->fs->lseek(s->fs->ctx, s->fd, 0, SEEK_SET) : rc;
    return at < 0 ? (int)at : 0;
}

ssize_t spool_take(struct spool *s, void *p, size_t n) {
    size_t done = 0;
    while (done < n && s->bytes > 0) {
        if (s->front_at == s->front.len) {
            int rc = refill(s);
            if (rc < 0)
                return rc;
        }
        size_t here = s->front.len - s->front_at, take = n - done < here ? n - done : here;
        memcpy((char *)p + done, s->front.data + s->front_at, take);
        s->front_at += take;
        s->bytes -= take;
        done += take;
    }
    if (s->bytes == 0) {
        buf_clear(&s->front);
        s->front_at = 0;
    }
    return (ssize_t)done;
}
