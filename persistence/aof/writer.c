#include "config.h"

#include "persistence/aof/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/rng.h"

#define TIME_EVERY_MS 1000
#define FEW_IOVECS 8
#define SELECT_BYTES 64

static struct aof_file *file_alloc(const struct fs *fs, const char *name, uint64_t seq) {
    struct aof_file *f = mem_calloc(1, sizeof *f);
    f->fs = fs;
    f->name = mem_strdup(name);
    f->seq = seq;
    f->stated_ts_s = -1;
    f->select_db = -1;
    return f;
}

int aof_file_create(struct aof_file **ret_file, const struct fs *fs, const char *path, const char *name, uint64_t seq) {
    int fd = fs->open(fs->ctx, path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    if (fd < 0)
        return fd;
    struct annotation head = {.fields = ANNOTATION_HEAD, .version = ANNOTATION_VERSION, .seq = seq};
    rng_entropy(&head.nonce, sizeof head.nonce);
    struct annotation_chain chain;
    char line[ANNOTATION_MAX_BYTES];
    uint64_t key;
    annotation_chain_begin(&chain, 0);
    size_t n = annotation_write(line, &head, &chain, 0, &key);
    int error = fs_write_all(fs, fd, line, n);
    if (error == 0)
        error = fs->fsync(fs->ctx, fd);
    if (error != 0) {
        (void)fs->close(fs->ctx, fd);
        (void)fs->unlink(fs->ctx, path);
        return error;
    }
    struct aof_file *f = file_alloc(fs, name, seq);
    f->fd = fd;
    f->key = f->chain = key;
    f->good_bytes = (int64_t)n;
    *ret_file = f;
    return 0;
}

int aof_file_reopen(struct aof_file **ret_file, const struct fs *fs, const char *path, const char *name, uint64_t seq,
                    int64_t good_bytes, uint64_t key, uint64_t chain, uint64_t offset) {
    int fd = fs->open(fs->ctx, path, O_WRONLY | O_APPEND, 0);
    if (fd < 0)
        return fd;
    struct aof_file *f = file_alloc(fs, name, seq);
    f->fd = fd;
    f->key = key;
    f->chain = chain;
    f->good_bytes = good_bytes;
    f->is_dirty = true; /* comment lines may stand behind the seal */
    f->has_begun = true;
    f->offset = offset;
    f->stated_durable = offset;
    *ret_file = f;
    return 0;
}

void aof_file_close(struct aof_file *f) {
    if (f == NULL)
        return;
    (void)f->fs->close(f->fs->ctx, f->fd); /* what mattered was synced */
    mem_free(f->name);
    mem_free(f);
}

static int cut_back(struct aof_file *f) {
    int error = f->fs->ftruncate(f->fs->ctx, f->fd, f->good_bytes);
    if (error == 0)
        f->is_dirty = false;
    return error;
}

/* The lines before the commit's bytes: where the file begins, and the time as Redis notes it. *ret_own is where those begin
 * that belong to the stretch of the bytes. A SELECT in front of the BEGIN line belongs to the file, not to the log. */
static size_t compose_front(const struct aof_file *f, char *dst, uint64_t begin, const struct aof_statement *st,
                            bool has_bytes, uint64_t *chain, size_t *ret_own) {
    size_t n = 0;
    if (!f->has_begun) {
        struct annotation a = {.fields = ANNOTATION_BEGIN | ANNOTATION_OFFSET | ANNOTATION_DURABLE | ANNOTATION_TIME |
                                         ANNOTATION_HISTORY,
                               .offset = begin,
                               .durable = st->durable < begin ? st->durable : begin,
                               .time_ms = st->now_ms,
                               .previous = st->previous,
                               .history = *st->history};
        struct annotation_chain c;
        annotation_chain_begin(&c, *chain);
        if (f->select_db >= 0) {
            char db[16];
            int digits = snprintf(db, sizeof db, "%d", f->select_db);
            n = (size_t)snprintf(dst, SELECT_BYTES, "*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n", digits, db);
            annotation_chain_update(&c, dst, n);
        }
        n += annotation_write(dst + n, &a, &c, f->key, chain);
    }
    *ret_own = n;
    if (has_bytes && st->timestamps && (int64_t)(st->now_ms / 1000) != f->stated_ts_s)
        n += (size_t)snprintf(dst + n, 64, "#TS:%llu\r\n", (unsigned long long)(st->now_ms / 1000));
    return n;
}

static struct annotation compose_seal(const struct aof_file *f, uint64_t begin, uint64_t end,
                                      const struct aof_statement *st) {
    struct annotation a = {.fields = ANNOTATION_OFFSET, .offset = end};
    /* A BEGIN line in front has stated what is durable below it. */
    uint64_t stated = f->has_begun ? f->stated_durable : begin < st->durable ? begin : st->durable;
    if (st->durable > stated && end > stated) {
        a.fields |= ANNOTATION_DURABLE;
        a.durable = st->durable < end ? st->durable : end;
    }
    if (st->now_ms >= f->stated_time_ms + TIME_EVERY_MS || st->now_ms < f->stated_time_ms) {
        a.fields |= ANNOTATION_TIME;
        a.time_ms = st->now_ms;
    }
    if (f->has_begun && memcmp(f->stated_id, st->history->id, CHANGELOG_ID_CHARS) != 0) {
        a.fields |= ANNOTATION_HISTORY;
        a.history = *st->history;
    }
    if (st->clean)
        a.fields |= ANNOTATION_CLEAN;
    return a;
}

int aof_file_commit(struct aof_file *f, const struct iovec *iov, int n, uint64_t begin, uint64_t end,
                    const struct aof_statement *st) {
    HF_ASSERT(!f->has_begun || begin == f->offset);
    if (f->is_dirty) {
        int error = cut_back(f);
        if (error != 0)
            return error;
    }
    char front[SELECT_BYTES + ANNOTATION_MAX_BYTES + 64], seal[ANNOTATION_MAX_BYTES];
    struct iovec few[FEW_IOVECS + 2];
    struct iovec *all = n <= FEW_IOVECS ? few : mem_alloc(((size_t)n + 2) * sizeof *all);
    uint64_t chain = f->chain;
    /* The #TS line belongs to this stretch, a BEGIN line closes its own. */
    size_t ts_at = 0;
    size_t front_bytes = compose_front(f, front, begin, st, n > 0, &chain, &ts_at);
    struct annotation_chain c;
    annotation_chain_begin(&c, chain);
    annotation_chain_update(&c, front + ts_at, front_bytes - ts_at);
    int64_t total = (int64_t)front_bytes;
    all[0] = (struct iovec){front, front_bytes};
    for (int i = 0; i < n; i++) {
        annotation_chain_update(&c, iov[i].iov_base, iov[i].iov_len);
        all[i + 1] = iov[i];
        total += (int64_t)iov[i].iov_len;
    }
    struct annotation a = compose_seal(f, begin, end, st);
    size_t seal_bytes = annotation_write(seal, &a, &c, f->key, &chain);
    all[n + 1] = (struct iovec){seal, seal_bytes};
    total += (int64_t)seal_bytes;
    int error = fs_writev_all(f->fs, f->fd, all, n + 2);
    if (all != few)
        mem_free(all);
    if (error != 0) {
        f->is_dirty = true;
        (void)cut_back(f); /* tried again before the next commit */
        return error;
    }
    f->chain = chain;
    f->good_bytes += total;
    f->offset = end;
    if (!f->has_begun || (a.fields & ANNOTATION_HISTORY))
        memcpy(f->stated_id, st->history->id, sizeof f->stated_id);
    if (!f->has_begun)
        f->stated_durable = begin < st->durable ? begin : st->durable;
    f->has_begun = true;
    if (a.fields & ANNOTATION_DURABLE)
        f->stated_durable = a.durable;
    if (a.fields & ANNOTATION_TIME)
        f->stated_time_ms = a.time_ms;
    if (n > 0 && st->timestamps)
        f->stated_ts_s = (int64_t)(st->now_ms / 1000);
    return 0;
}
