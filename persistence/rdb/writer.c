/* The writer: bytes collect in a window of 256 KiB; a full window is summed while it is still in the cache and handed
 * on.
 *
 * Invariants: summed ≤ len ≤ cap; crc covers the flushed bytes and [0, summed). With a plain struct buf as the sink,
 * the window lies in the buffer itself behind what it held before (out_start), so that a DUMP of a small value copies
 * nothing twice; then flushed stays 0.
 */
#include "config.h"

#include "persistence/rdb/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "persistence/rdb/frame.h"
#include "server/base/assert.h"
#include "server/base/crc.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/lzf.h"

#define WRITER_WINDOW (4 * (size_t)RDB_ROOM_MAX)
#define BUF_FIRST_BYTES 64   /* room for most payloads of DUMP */
#define LZF_MIN_BYTES 21     /* a shorter string hardly gets shorter */
#define LZF_HEADER_MAX 19    /* type byte and two lengths of up to 9 bytes */
#define LZF_WINDOW_MAX 32768 /* strings up to this are compressed straight into the window */

const char *rdb_codec_name(enum rdb_codec c) {
    static const char *const names[] = {[RDB_CODEC_NONE] = "none", [RDB_CODEC_LZ4] = "lz4", [RDB_CODEC_ZLIB] = "zlib"};
    HF_ASSERT((unsigned)c < sizeof names / sizeof *names);
    return names[c];
}

static void writer_init(struct rdb_writer *w, enum rdb_codec codec) {
    *w = (struct rdb_writer){.fd = -1, .checksum = true};
    if (codec != RDB_CODEC_NONE) {
        w->codec = frame_create_writer(codec);
        if (w->codec == NULL)
            w->error = -ENOMEM;
    }
}

static void writer_own_window(struct rdb_writer *w) {
    w->window = mem_alloc(WRITER_WINDOW);
    w->cap = WRITER_WINDOW;
}

void rdb_writer_init_fd(struct rdb_writer *w, const struct fs *fs, int fd, enum rdb_codec codec,
                        size_t sync_every_bytes) {
    writer_init(w, codec);
    writer_own_window(w);
    w->fs = fs;
    w->fd = fd;
    w->sync_every = sync_every_bytes;
}

void rdb_writer_init_sink(struct rdb_writer *w, rdb_sink_fn *sink, void *arg, enum rdb_codec codec) {
    writer_init(w, codec);
    writer_own_window(w);
    w->sink = sink;
    w->sink_arg = arg;
}

void rdb_writer_init_buf(struct rdb_writer *w, struct buf *out, enum rdb_codec codec) {
    writer_init(w, codec);
    w->out = out;
    w->out_start = out->len;
    buf_reserve(out, BUF_FIRST_BYTES);
    if (codec != RDB_CODEC_NONE) {
        writer_own_window(w);
    } else {
        w->window = (unsigned char *)out->data + out->len;
        w->cap = out->cap - out->len;
    }
}

static bool writer_is_direct(const struct rdb_writer *w) {
    return w->out != NULL && w->codec == NULL;
}

void rdb_writer_deinit(struct rdb_writer *w) {
    if (!writer_is_direct(w))
        mem_free(w->window);
    frame_destroy(w->codec);
    buf_deinit(&w->scratch);
    w->window = NULL;
    w->codec = NULL;
}

/* Keeps the bytes that wait for the disk few, without waiting for what was just written: the piece before the last one
 * is waited for, the last one is started. */
static int writer_sync_some(struct rdb_writer *w) {
    if (w->sync_every == 0 || w->sunk - w->syncing < w->sync_every)
        return 0;
    if (w->fs != fs_posix())
        return w->fs->fdatasync(w->fs->ctx, w->fd);
    int rc = 0;
    if (w->syncing > w->synced)
        rc = sync_file_range(w->fd, (off_t)w->synced, (off_t)(w->syncing - w->synced),
                             SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    if (rc == 0)
        rc = sync_file_range(w->fd, (off_t)w->syncing, (off_t)(w->sunk - w->syncing), SYNC_FILE_RANGE_WRITE);
    w->synced = w->syncing;
    w->syncing = w->sunk;
    if (rc == 0)
        return 0;
    /* Pipes and some file systems have no such call; the fsync at the end does the work there. */
    return errno == ESPIPE || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
}

static int writer_sink(void *arg, const void *p, size_t n) {
    struct rdb_writer *w = arg;
    int err = 0;
    w->sunk += n;
    if (w->out != NULL) {
        buf_append(w->out, p, n);
    } else if (w->sink != NULL) {
        err = w->sink(w->sink_arg, p, n);
    } else {
        err = fs_write_all(w->fs, w->fd, p, n);
        if (err == 0)
            err = writer_sync_some(w);
    }
    return err;
}

static void writer_hand_on(struct rdb_writer *w, const void *p, size_t n, enum frame_flush flush) {
    if (w->error != 0)
        return;
    if (w->codec != NULL)
        w->error = frame_write(w->codec, p, n, flush, writer_sink, w);
    else if (n > 0)
        w->error = writer_sink(w, p, n);
}

static void writer_sum(struct rdb_writer *w) {
    if (w->checksum)
        w->crc = crc64(w->crc, w->window + w->summed, w->len - w->summed);
    w->summed = w->len;
}

static void writer_empty(struct rdb_writer *w, enum frame_flush flush) {
    writer_sum(w);
    if (writer_is_direct(w)) {
        w->out->len = w->out_start + w->len;
        return;
    }
    writer_hand_on(w, w->window, w->len, flush);
    w->flushed += w->len;
    w->len = 0;
    w->summed = 0;
}

static void writer_grow_direct(struct rdb_writer *w, size_t n) {
    w->out->len = w->out_start + w->len;
    buf_reserve(w->out, n);
    w->window = (unsigned char *)w->out->data + w->out_start;
    w->cap = w->out->cap - w->out_start;
}

unsigned char *rdb_writer_room_slow(struct rdb_writer *w, size_t n) {
    HF_ASSERT(n <= RDB_ROOM_MAX);
    if (writer_is_direct(w))
        writer_grow_direct(w, n);
    else
        writer_empty(w, FRAME_MORE);
    return w->window + w->len;
}

int rdb_writer_flush(struct rdb_writer *w) {
    writer_empty(w, FRAME_FLUSH);
    return w->error;
}

int rdb_writer_finish(struct rdb_writer *w) {
    writer_empty(w, FRAME_END);
    return w->error;
}

void rdb_writer_mark(struct rdb_writer *w) {
    if (w->codec != NULL)
        writer_empty(w, FRAME_MARK);
}

uint64_t rdb_writer_crc(struct rdb_writer *w) {
    writer_sum(w);
    return w->crc;
}

void rdb_write(struct rdb_writer *w, const void *p, size_t n) {
    if (n == 0)
        return;
    if (n > w->cap - w->len) {
        if (writer_is_direct(w)) {
            writer_grow_direct(w, n);
        } else {
            writer_empty(w, FRAME_MORE);
            if (n > w->cap / 2) {
                if (w->checksum)
                    w->crc = crc64(w->crc, p, n);
                writer_hand_on(w, p, n, FRAME_MORE);
                w->flushed += n;
                return;
            }
        }
    }
    memcpy(w->window + w->len, p, n);
    w->len += n;
}

void rdb_write_byte(struct rdb_writer *w, unsigned b) {
    *rdb_writer_room(w, 1) = (unsigned char)b;
    w->len++;
}

void rdb_write_u16(struct rdb_writer *w, uint16_t v) {
    store_le16(rdb_writer_room(w, sizeof v), v);
    w->len += sizeof v;
}

void rdb_write_u64(struct rdb_writer *w, uint64_t v) {
    store_le64(rdb_writer_room(w, sizeof v), v);
    w->len += sizeof v;
}

/* The length encoding, 1, 2, 5 or 9 bytes. */
static inline size_t encode_len(unsigned char *p, uint64_t n) {
    if (n < 64) {
        p[0] = (unsigned char)n;
        return 1;
    }
    if (n < 16384) {
        p[0] = (unsigned char)(0x40 | (n >> 8));
        p[1] = (unsigned char)n;
        return 2;
    }
    if (n <= UINT32_MAX) {
        p[0] = 0x80;
        store_be32(p + 1, (uint32_t)n);
        return 5;
    }
    p[0] = 0x81;
    store_be64(p + 1, n);
    return 9;
}

void rdb_write_len(struct rdb_writer *w, uint64_t n) {
    w->len += encode_len(rdb_writer_room(w, 9), n);
}

/* An integer of at most 32 bits as a special string: 2, 3 or 5 bytes; 0 where it is longer. */
static inline size_t encode_int(unsigned char *p, int64_t v) {
    if (v >= INT8_MIN && v <= INT8_MAX) {
        p[0] = 0xC0;
        p[1] = (unsigned char)v;
        return 2;
    }
    if (v >= INT16_MIN && v <= INT16_MAX) {
        p[0] = 0xC1;
        store_le16(p + 1, (uint16_t)v);
        return 3;
    }
    if (v >= INT32_MIN && v <= INT32_MAX) {
        p[0] = 0xC2;
        store_le32(p + 1, (uint32_t)v);
        return 5;
    }
    return 0;
}

void rdb_write_string_i64(struct rdb_writer *w, int64_t v) {
    unsigned char *p = rdb_writer_room(w, 1 + NUM_I64_CHARS);
    size_t n = encode_int(p, v);
    if (n == 0) {
        n = num_format_i64((char *)p + 1, v);
        p[0] = (unsigned char)n;
        n++;
    }
    w->len += n;
}

/* LZF where it makes the string shorter: true when written. */
static bool write_lzf(struct rdb_writer *w, struct slice s) {
    unsigned char head[LZF_HEADER_MAX];
    unsigned char *to;
    bool in_window = s.n <= LZF_WINDOW_MAX;
    if (in_window) {
        to = rdb_writer_room(w, s.n + LZF_HEADER_MAX) + LZF_HEADER_MAX;
    } else {
        buf_clear(&w->scratch);
        if (buf_try_reserve(&w->scratch, s.n) != 0)
            return false;
        to = (unsigned char *)w->scratch.data;
    }
    size_t packed = lzf_compress(s.p, s.n, to, s.n - 4);
    if (packed == 0)
        return false;
    size_t n = 0;
    head[n++] = 0xC3;
    n += encode_len(head + n, packed);
    n += encode_len(head + n, s.n);
    if (in_window) {
        unsigned char *at = w->window + w->len;
        memcpy(at, head, n);
        memmove(at + n, to, packed);
        w->len += n + packed;
    } else {
        rdb_write(w, head, n);
        rdb_write(w, to, packed);
    }
    return true;
}

void rdb_write_blob(struct rdb_writer *w, struct slice s, bool compress) {
    if (compress && s.n >= LZF_MIN_BYTES && write_lzf(w, s))
        return;
    if (s.n <= RDB_ROOM_MAX - 9) {
        unsigned char *p = rdb_writer_room(w, s.n + 9);
        size_t n = encode_len(p, s.n);
        if (s.n > 0)
            memcpy(p + n, s.p, s.n);
        w->len += n + s.n;
    } else {
        rdb_write_len(w, s.n);
        rdb_write(w, s.p, s.n);
    }
}

void rdb_write_string(struct rdb_writer *w, struct slice s, bool compress) {
    int64_t v;
    if (s.n <= 11 && s.n > 0 && (s.p[0] == '-' || (s.p[0] >= '0' && s.p[0] <= '9')) && num_parse_i64(s, &v) == 0) {
        unsigned char *p = rdb_writer_room(w, 5);
        size_t n = encode_int(p, v);
        if (n != 0) {
            w->len += n;
            return;
        }
    }
    rdb_write_blob(w, s, compress);
}
