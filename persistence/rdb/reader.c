/* The reader: a window of 256 KiB over the source. What was read is summed when the window moves on, while it is still
 * in the cache.
 *
 * Invariants: summed ≤ pos ≤ end ≤ cap; base is the stream offset of window[0]; crc covers everything before
 * window[summed]. Over a slice, the window is the slice itself and never moves.
 *
 * Locating damage: `verified` is the stream offset up to which checksums matched. Damage that is noticed at an offset
 * lies between the two. For a compressed file the same range is kept in file offsets; as a decompressor looks ahead and
 * back within a block, it starts two checks back.
 */
#include "config.h"

#include "persistence/rdb/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "persistence/rdb/frame.h"
#include "server/base/assert.h"
#include "server/base/crc.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/lzf.h"

#define READER_WINDOW (4 * (size_t)RDB_ROOM_MAX)
/* Where the input's size is unknown, a length up to this is believed at once; beyond it, memory grows with what
 * arrives. */
#define READER_TRUST_BYTES (64 * 1024 * 1024)
#define LZF_EXPANSION_MAX 88 /* three bytes become at most 264 */

/* ---- source ---- */

static ssize_t reader_take(void *arg, void *p, size_t n) {
    struct rdb_reader *r = arg;
    ssize_t got = r->source != NULL ? r->source(r->source_arg, p, n) : r->fs->read(r->fs->ctx, r->fd, p, n);
    if (got > 0) {
        r->raw += (uint64_t)got;
        if (r->sized)
            r->source_left = r->source_left > (uint64_t)got ? r->source_left - (uint64_t)got : 0;
    }
    return got;
}

/* Up to n uncompressed bytes: the count, 0 at the end, -1 with the error set. */
static ssize_t reader_pull(struct rdb_reader *r, void *p, size_t n) {
    if (r->at_end)
        return 0;
    ssize_t got = r->codec != NULL ? frame_read(r->codec, p, n, reader_take, r) : reader_take(r, p, n);
    if (got == -EBADMSG)
        return rdb_reader_fail(r, RDB_ERR_CHECKSUM, "the %s compression of the file is damaged",
                               rdb_codec_name(r->codec_kind));
    if (got == -ENODATA)
        return rdb_reader_fail(r, RDB_ERR_TRUNCATED, "the file ends in the middle of its %s frame",
                               rdb_codec_name(r->codec_kind));
    if (got == -ENOMEM)
        return rdb_reader_fail(r, RDB_ERR_MEMORY, "no memory to decompress");
    if (got < 0) {
        r->error.sys_errno = (int)-got;
        return rdb_reader_fail(r, RDB_ERR_IO, "reading failed: %s", strerror((int)-got));
    }
    if (got == 0)
        r->at_end = true;
    return got;
}

/* ---- errors ---- */

static void text_append(struct rdb_error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void text_append(struct rdb_error *e, const char *fmt, ...) {
    size_t used = strlen(e->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text + used, sizeof e->text - used, fmt, ap);
    va_end(ap);
}

static void error_set_key(struct rdb_error *e, struct slice key) {
    size_t n = 0;
    for (size_t i = 0; i < key.n && n + 8 < sizeof e->key; i++) {
        unsigned char c = (unsigned char)key.p[i];
        if (c >= 0x20 && c < 0x7F)
            e->key[n++] = (char)c;
        else
            n += (size_t)snprintf(e->key + n, sizeof e->key - n, "\\x%02x", c);
        if (n + 8 >= sizeof e->key && i + 1 < key.n)
            n += (size_t)snprintf(e->key + n, sizeof e->key - n, "...");
    }
    e->key[n] = '\0';
}

static void error_complete(struct rdb_reader *r, uint64_t offset) {
    struct rdb_error *e = &r->error;
    bool located = r->verified > 0 || e->code == RDB_ERR_CHECKSUM;
    e->offset = offset;
    e->damage_from = r->verified;
    e->damage_to = rdb_reader_offset(r) > offset ? rdb_reader_offset(r) : offset;
    e->file_from = e->damage_from;
    e->file_to = e->damage_to;
    if (r->codec != NULL) {
        e->file_from = r->raw_verified;
        e->file_to = r->raw - frame_unused(r->codec);
    }
    e->key[0] = '\0';
    if (e->code == RDB_ERR_CHECKSUM ? r->has_first_key : r->has_key)
        error_set_key(e, buf_slice(e->code == RDB_ERR_CHECKSUM ? &r->first_key : &r->key));
    text_append(e, " at offset %" PRIu64, offset);
    if (e->key[0] != '\0' && e->code != RDB_ERR_CHECKSUM)
        text_append(e, ", key '%s'", e->key);
    if (located && e->code != RDB_ERR_IO && e->code != RDB_ERR_ABORTED) {
        text_append(e, "; the bytes at fault lie in [%" PRIu64 ", %" PRIu64 ")", e->damage_from, e->damage_to);
        if (r->codec != NULL)
            text_append(e, " of the uncompressed snapshot, [%" PRIu64 ", %" PRIu64 ") of the file", e->file_from,
                        e->file_to);
        if (e->code == RDB_ERR_CHECKSUM && e->key[0] != '\0')
            text_append(e, ", where the first key is '%s'", e->key);
    }
}

static int fail_v(struct rdb_reader *r, uint64_t offset, enum rdb_error_code code, const char *fmt, va_list ap) {
    if (r->error.code == RDB_OK) {
        r->error.code = code;
        vsnprintf(r->error.text, sizeof r->error.text, fmt, ap);
        error_complete(r, offset);
    }
    return -1;
}

int rdb_reader_fail(struct rdb_reader *r, enum rdb_error_code code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fail_v(r, rdb_reader_offset(r), code, fmt, ap);
    va_end(ap);
    return -1;
}

int rdb_reader_fail_at(struct rdb_reader *r, uint64_t offset, enum rdb_error_code code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fail_v(r, offset, code, fmt, ap);
    va_end(ap);
    return -1;
}

/* ---- life ---- */

/* Looks for the magic of a codec and, where there is one, puts a decompressor under the window. */
static int reader_recognise(struct rdb_reader *r) {
    while (r->end < 4 && !r->at_end) {
        ssize_t got = reader_pull(r, r->window + r->end, 4 - r->end);
        if (got < 0)
            return -1;
        r->end += (size_t)got;
    }
    r->codec_kind = frame_recognise(r->window, r->end);
    return 0;
}

/* The bytes that were read to recognise the codec, given to it first. */
struct reader_head {
    struct rdb_reader *r;
    const unsigned char *p;
    size_t n;
};

static ssize_t head_take(void *arg, void *p, size_t n) {
    struct reader_head *h = arg;
    if (h->n == 0)
        return reader_take(h->r, p, n);
    size_t k = h->n < n ? h->n : n;
    memcpy(p, h->p, k);
    h->p += k;
    h->n -= k;
    return (ssize_t)k;
}

static int reader_start_codec(struct rdb_reader *r) {
    unsigned char head[4];
    size_t n = r->end;
    HF_ASSERT(n <= sizeof head);
    memcpy(head, r->window, n);
    r->codec = frame_create_reader(r->codec_kind);
    if (r->codec == NULL)
        return rdb_reader_fail(r, RDB_ERR_MEMORY, "no memory to decompress");
    struct reader_head h = {r, head, n};
    r->end = 0;
    r->at_end = false;
    ssize_t got = frame_read(r->codec, r->window, r->cap, head_take, &h);
    if (got < 0) {
        /* The same words as everywhere else. */
        enum rdb_error_code code = got == -ENODATA  ? RDB_ERR_TRUNCATED
                                   : got == -ENOMEM ? RDB_ERR_MEMORY
                                                    : RDB_ERR_CHECKSUM;
        return rdb_reader_fail(r, code, "the %s frame of the file cannot be read", rdb_codec_name(r->codec_kind));
    }
    r->end = (size_t)got;
    r->at_end = got == 0;
    return 0;
}

static int reader_start(struct rdb_reader *r, bool codec_allowed) {
    r->cap = READER_WINDOW;
    r->window = mem_alloc(r->cap);
    if (!codec_allowed)
        return 0;
    if (reader_recognise(r) != 0)
        return -1;
    return r->codec_kind == RDB_CODEC_NONE ? 0 : reader_start_codec(r);
}

int rdb_reader_init_fd(struct rdb_reader *r, const struct fs *fs, int fd) {
    *r = (struct rdb_reader){.fd = fd, .fs = fs, .checksum = true};
    int64_t here = fs->lseek(fs->ctx, fd, 0, SEEK_CUR);
    int64_t end = here < 0 ? here : fs->lseek(fs->ctx, fd, 0, SEEK_END);
    if (end >= here && here >= 0 && fs->lseek(fs->ctx, fd, here, SEEK_SET) == here) {
        r->sized = true;
        r->source_left = (uint64_t)(end - here);
    }
    return reader_start(r, true);
}

int rdb_reader_init_source(struct rdb_reader *r, rdb_source_fn *source, void *arg, uint64_t size_bytes) {
    *r = (struct rdb_reader){.fd = -1, .source = source, .source_arg = arg, .checksum = true};
    r->sized = size_bytes != UINT64_MAX;
    r->source_left = r->sized ? size_bytes : 0;
    return reader_start(r, true);
}

static ssize_t slice_take(void *arg, void *p, size_t n) {
    struct slice *s = arg;
    if (n > s->n)
        n = s->n;
    if (n > 0)
        memcpy(p, s->p, n);
    s->p += n;
    s->n -= n;
    return (ssize_t)n;
}

int rdb_reader_init_slice(struct rdb_reader *r, struct slice s, bool codec_allowed) {
    *r = (struct rdb_reader){.fd = -1, .checksum = true, .sized = true};
    if (codec_allowed && frame_recognise((const unsigned char *)s.p, s.n) != RDB_CODEC_NONE) {
        r->slice = s;
        r->source = slice_take;
        r->source_arg = &r->slice;
        r->source_left = s.n;
        return reader_start(r, true);
    }
    r->window = (unsigned char *)(uintptr_t)s.p;
    r->window_borrowed = true;
    r->end = r->cap = s.n;
    r->at_end = true;
    return 0;
}

void rdb_reader_deinit(struct rdb_reader *r) {
    if (!r->window_borrowed)
        mem_free(r->window);
    r->window = NULL;
    frame_destroy(r->codec);
    r->codec = NULL;
    buf_deinit(&r->scratch);
    buf_deinit(&r->compressed);
    buf_deinit(&r->key);
    buf_deinit(&r->aux);
    buf_deinit(&r->first_key);
}

/* ---- state ---- */

static void reader_sum(struct rdb_reader *r) {
    if (r->checksum)
        r->crc = crc64(r->crc, r->window + r->summed, r->pos - r->summed);
    r->summed = r->pos;
}

uint64_t rdb_reader_crc(struct rdb_reader *r) {
    reader_sum(r);
    return r->crc;
}

void rdb_reader_verified(struct rdb_reader *r) {
    r->verified = rdb_reader_offset(r);
    r->has_first_key = false;
    r->raw_verified = r->raw_verified_next;
    r->raw_verified_next = r->raw_window;
}

uint64_t rdb_reader_left(const struct rdb_reader *r) {
    uint64_t sum;
    if (r->at_end)
        return r->end - r->pos;
    if (!r->sized)
        return UINT64_MAX;
    uint64_t source = r->source_left;
    if (r->codec != NULL) {
        /* A decompressor may hold back what it has made already: a window's worth of slack. */
        source = frame_expansion_max(r->codec_kind, source + frame_unused(r->codec));
        if (__builtin_add_overflow(source, (uint64_t)1 << 20, &source))
            return UINT64_MAX;
    }
    return __builtin_add_overflow(source, r->end - r->pos, &sum) ? UINT64_MAX : sum;
}

/* Moves what is unread to the front, after summing what was read. */
static void reader_compact(struct rdb_reader *r) {
    reader_sum(r);
    size_t unread = r->end - r->pos;
    memmove(r->window, r->window + r->pos, unread);
    r->base += r->pos;
    r->pos = 0;
    r->summed = 0;
    r->end = unread;
    r->raw_window = r->codec != NULL ? r->raw - frame_unused(r->codec) : r->base;
}

bool rdb_reader_is_drained(struct rdb_reader *r) {
    if (r->error.code != RDB_OK || r->pos < r->end)
        return false;
    if (r->at_end)
        return r->codec == NULL || frame_unused(r->codec) == 0;
    reader_compact(r);
    ssize_t got = reader_pull(r, r->window, r->cap);
    if (got > 0)
        r->end = (size_t)got;
    return got == 0 && (r->codec == NULL || (frame_unused(r->codec) == 0 && (!r->sized || r->source_left == 0)));
}

/* ---- reading ---- */

static int fail_short(struct rdb_reader *r, uint64_t wanted) {
    return rdb_reader_fail(r, RDB_ERR_TRUNCATED,
                           "the snapshot ends early: %" PRIu64 " more bytes are needed, %zu are there", wanted,
                           r->end - r->pos);
}

int rdb_reader_fill(struct rdb_reader *r, size_t n) {
    HF_ASSERT(n <= RDB_ROOM_MAX);
    if (r->error.code != RDB_OK)
        return -1;
    if (r->end - r->pos >= n)
        return 0;
    if (r->at_end)
        return fail_short(r, n);
    reader_compact(r);
    while (r->end < n) {
        ssize_t got = reader_pull(r, r->window + r->end, r->cap - r->end);
        if (got < 0)
            return -1;
        if (got == 0)
            return fail_short(r, n);
        r->end += (size_t)got;
    }
    return 0;
}

int rdb_read(struct rdb_reader *r, void *p, size_t n) {
    unsigned char *to = p;
    if (r->error.code != RDB_OK)
        return -1;
    size_t have = r->end - r->pos;
    size_t k = have < n ? have : n;
    if (k > 0)
        memcpy(to, r->window + r->pos, k);
    r->pos += k;
    to += k;
    n -= k;
    if (n == 0)
        return 0;
    if (!r->window_borrowed)
        reader_compact(r);
    while (n > 0) {
        ssize_t got = reader_pull(r, to, n);
        if (got < 0)
            return -1;
        if (got == 0)
            return fail_short(r, n);
        if (r->checksum)
            r->crc = crc64(r->crc, to, (size_t)got);
        r->base += (uint64_t)got;
        to += got;
        n -= (size_t)got;
    }
    return 0;
}

int rdb_skip(struct rdb_reader *r, uint64_t n) {
    if (r->error.code != RDB_OK)
        return -1;
    if (n > rdb_reader_left(r))
        return fail_short(r, n);
    while (n > r->end - r->pos) {
        n -= r->end - r->pos;
        r->pos = r->end;
        if (rdb_reader_fill(r, 1) != 0)
            return -1;
    }
    r->pos += (size_t)n;
    return 0;
}

int rdb_read_byte(struct rdb_reader *r, unsigned *ret_byte) {
    if (r->pos == r->end && rdb_reader_fill(r, 1) != 0)
        return -1;
    if (r->error.code != RDB_OK)
        return -1;
    *ret_byte = r->window[r->pos++];
    return 0;
}

int rdb_read_u64(struct rdb_reader *r, uint64_t *ret_v) {
    if (rdb_reader_fill(r, 8) != 0)
        return -1;
    *ret_v = load_le64(r->window + r->pos);
    r->pos += 8;
    return 0;
}

/* The length encoding behind its first byte, which is not special (11). */
static int read_len_rest(struct rdb_reader *r, unsigned first, uint64_t *ret_len) {
    switch (first >> 6) {
    case 0:
        *ret_len = first & 63;
        return 0;
    case 1: {
        unsigned low;
        if (rdb_read_byte(r, &low) != 0)
            return -1;
        *ret_len = (first & 63) << 8 | low;
        return 0;
    }
    default:
        if (first == 0x80) {
            if (rdb_reader_fill(r, 4) != 0)
                return -1;
            *ret_len = load_be32(r->window + r->pos);
            r->pos += 4;
            return 0;
        }
        if (first == 0x81) {
            if (rdb_reader_fill(r, 8) != 0)
                return -1;
            *ret_len = load_be64(r->window + r->pos);
            r->pos += 8;
            return 0;
        }
        return rdb_reader_fail_at(r, rdb_reader_offset(r) - 1, RDB_ERR_FORMAT, "0x%02x begins no length", first);
    }
}

int rdb_read_len(struct rdb_reader *r, uint64_t *ret_len) {
    unsigned first;
    if (rdb_read_byte(r, &first) != 0)
        return -1;
    if (first >= 0xC0)
        return rdb_reader_fail_at(r, rdb_reader_offset(r) - 1, RDB_ERR_FORMAT,
                                  "0x%02x stands where a length is expected", first);
    return read_len_rest(r, first, ret_len);
}

int rdb_read_count(struct rdb_reader *r, size_t min_bytes, uint64_t *ret_count) {
    uint64_t at = rdb_reader_offset(r);
    uint64_t n, bytes;
    if (rdb_read_len(r, &n) != 0)
        return -1;
    if (__builtin_mul_overflow(n, (uint64_t)min_bytes, &bytes) || bytes > rdb_reader_left(r))
        return rdb_reader_fail_at(r, at, RDB_ERR_FORMAT,
                                  "%" PRIu64 " elements are announced, more than the rest of the input can hold", n);
    *ret_count = n;
    return 0;
}

/* ---- strings ---- */

/* Reads n bytes to *b (emptied first). Memory grows with what arrives where the size of the input does not vouch for n.
 */
static int read_to_buf(struct rdb_reader *r, uint64_t n, struct buf *b) {
    bool vouched = r->sized && r->codec == NULL;
    buf_clear(b);
    while (b->len < n) {
        uint64_t piece = n - b->len;
        if (!vouched && piece > READER_TRUST_BYTES)
            piece = READER_TRUST_BYTES;
        if (buf_try_reserve(b, (size_t)piece) != 0)
            return rdb_reader_fail(r, RDB_ERR_MEMORY, "no memory for a string of %" PRIu64 " bytes", n);
        if (rdb_read(r, b->data + b->len, (size_t)piece) != 0)
            return -1;
        b->len += (size_t)piece;
    }
    return 0;
}

static int check_string_len(struct rdb_reader *r, uint64_t n) {
    uint64_t left = rdb_reader_left(r);
    if (n > left)
        return rdb_reader_fail(r, RDB_ERR_TRUNCATED,
                               "a string of %" PRIu64 " bytes is announced, but only %" PRIu64 " are left", n, left);
    if (n > SIZE_MAX / 2)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a string of %" PRIu64 " bytes is announced", n);
    return 0;
}

static int make_rbuf(struct rdb_reader *r, uint64_t n, struct rbuf **ret_rbuf) {
    *ret_rbuf = rbuf_try_create((size_t)n);
    if (*ret_rbuf == NULL)
        return rdb_reader_fail(r, RDB_ERR_MEMORY, "no memory for a string of %" PRIu64 " bytes", n);
    (*ret_rbuf)->len = (size_t)n;
    return 0;
}

static int read_raw(struct rdb_reader *r, uint64_t n, bool rbuf_wanted, struct rdb_string *ret_s) {
    if (check_string_len(r, n) != 0)
        return -1;
    if (rbuf_wanted && n >= RDB_RBUF_MIN) {
        bool vouched = (r->sized && r->codec == NULL) || n <= READER_TRUST_BYTES;
        struct rbuf *block = NULL;
        if (!vouched && read_to_buf(r, n, &r->scratch) != 0)
            return -1;
        if (make_rbuf(r, n, &block) != 0)
            return -1;
        if (!vouched) {
            memcpy(block->data, r->scratch.data, (size_t)n);
            buf_deinit(&r->scratch);
            buf_init(&r->scratch);
        } else if (rdb_read(r, block->data, (size_t)n) != 0) {
            rbuf_unref(block);
            return -1;
        }
        *ret_s = (struct rdb_string){.kind = RDB_STRING_RBUF, .rbuf = block};
        return 0;
    }
    if (n <= RDB_ROOM_MAX || n <= r->end - r->pos) {
        if (n > r->end - r->pos && rdb_reader_fill(r, (size_t)n) != 0)
            return -1;
        *ret_s = (struct rdb_string){.kind = RDB_STRING_BYTES, .bytes = slice_of(r->window + r->pos, (size_t)n)};
        r->pos += (size_t)n;
        return 0;
    }
    if (read_to_buf(r, n, &r->scratch) != 0)
        return -1;
    *ret_s = (struct rdb_string){.kind = RDB_STRING_BYTES, .bytes = buf_slice(&r->scratch)};
    return 0;
}

static int read_lzf_head(struct rdb_reader *r, uint64_t *ret_packed, uint64_t *ret_len) {
    uint64_t packed, n;
    if (rdb_read_len(r, &packed) != 0 || rdb_read_len(r, &n) != 0)
        return -1;
    if (check_string_len(r, packed) != 0)
        return -1;
    if (n == 0 || packed == 0 || n / LZF_EXPANSION_MAX > packed)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a compressed string claims that %" PRIu64 " bytes become %" PRIu64,
                               packed, n);
    *ret_packed = packed;
    *ret_len = n;
    return 0;
}

/* The compressed bytes of a string, which the reader keeps, and the length of the string. */
static int read_compressed(struct rdb_reader *r, struct slice *ret_from, uint64_t *ret_len) {
    uint64_t packed;
    if (read_lzf_head(r, &packed, ret_len) != 0)
        return -1;
    if (packed <= RDB_ROOM_MAX || packed <= r->end - r->pos) {
        if (packed > r->end - r->pos && rdb_reader_fill(r, (size_t)packed) != 0)
            return -1;
        *ret_from = slice_of(r->window + r->pos, (size_t)packed);
        r->pos += (size_t)packed;
    } else {
        if (read_to_buf(r, packed, &r->compressed) != 0)
            return -1;
        *ret_from = buf_slice(&r->compressed);
    }
    return 0;
}

static int fail_lzf(struct rdb_reader *r, size_t packed) {
    return rdb_reader_fail_at(r, rdb_reader_offset(r) - packed, RDB_ERR_FORMAT,
                              "a compressed string does not decompress");
}

static int fail_memory(struct rdb_reader *r, uint64_t n) {
    return rdb_reader_fail(r, RDB_ERR_MEMORY, "no memory for a string of %" PRIu64 " bytes", n);
}

static int read_lzf(struct rdb_reader *r, bool rbuf_wanted, struct rdb_string *ret_s) {
    uint64_t n;
    struct slice from;
    if (read_compressed(r, &from, &n) != 0)
        return -1;
    struct rbuf *block = NULL;
    char *to;
    if (rbuf_wanted && n >= RDB_RBUF_MIN) {
        if (make_rbuf(r, n, &block) != 0)
            return -1;
        to = block->data;
    } else {
        buf_clear(&r->scratch);
        if (buf_try_reserve(&r->scratch, (size_t)n) != 0)
            return fail_memory(r, n);
        to = r->scratch.data;
    }
    if (lzf_decompress(from.p, from.n, to, (size_t)n) != 0) {
        rbuf_unref(block);
        return fail_lzf(r, from.n);
    }
    if (block != NULL) {
        *ret_s = (struct rdb_string){.kind = RDB_STRING_RBUF, .rbuf = block};
    } else {
        r->scratch.len = (size_t)n;
        *ret_s = (struct rdb_string){.kind = RDB_STRING_BYTES, .bytes = buf_slice(&r->scratch)};
    }
    return 0;
}

static int read_special_int(struct rdb_reader *r, unsigned first, int64_t *ret_i) {
    size_t n = (size_t)1 << (first & 3);
    if (rdb_reader_fill(r, n) != 0)
        return -1;
    const unsigned char *p = r->window + r->pos;
    *ret_i = n == 1 ? (int8_t)*p : n == 2 ? (int16_t)load_le16(p) : (int32_t)load_le32(p);
    r->pos += n;
    return 0;
}

int rdb_read_string(struct rdb_reader *r, bool rbuf_wanted, struct rdb_string *ret_s) {
    unsigned first;
    if (rdb_read_byte(r, &first) != 0)
        return -1;
    if (first < 0xC0) {
        uint64_t n;
        return read_len_rest(r, first, &n) != 0 ? -1 : read_raw(r, n, rbuf_wanted, ret_s);
    }
    if (first <= 0xC2) {
        *ret_s = (struct rdb_string){.kind = RDB_STRING_INT};
        return read_special_int(r, first, &ret_s->i);
    }
    if (first == 0xC3)
        return read_lzf(r, rbuf_wanted, ret_s);
    return rdb_reader_fail_at(r, rdb_reader_offset(r) - 1, RDB_ERR_FORMAT, "0x%02x begins no string", first);
}

int rdb_read_bytes(struct rdb_reader *r, char digits[24], struct slice *ret_s) {
    struct rdb_string s;
    if (rdb_read_string(r, false, &s) != 0)
        return -1;
    *ret_s = s.kind == RDB_STRING_INT ? slice_of(digits, num_format_i64(digits, s.i)) : s.bytes;
    return 0;
}

int rdb_read_bytes_take(struct rdb_reader *r, char digits[24], struct slice *ret_s, void **ret_block) {
    *ret_block = NULL;
    if (rdb_reader_fill(r, 1) != 0)
        return -1;
    if (r->window[r->pos] != 0xC3)
        return rdb_read_bytes(r, digits, ret_s);
    uint64_t n;
    struct slice from;
    r->pos++;
    if (read_compressed(r, &from, &n) != 0)
        return -1;
    void *block = mem_try_alloc((size_t)n);
    if (block == NULL)
        return fail_memory(r, n);
    if (lzf_decompress(from.p, from.n, block, (size_t)n) != 0) {
        mem_free(block);
        return fail_lzf(r, from.n);
    }
    *ret_block = block;
    *ret_s = slice_of(block, (size_t)n);
    return 0;
}

int rdb_skip_string(struct rdb_reader *r, bool deep, uint64_t *ret_len) {
    uint64_t n;
    if (rdb_reader_fill(r, 1) != 0)
        return -1;
    unsigned first = r->window[r->pos];
    if (first < 0xC0) {
        if (rdb_read_len(r, &n) != 0 || check_string_len(r, n) != 0 || rdb_skip(r, n) != 0)
            return -1;
    } else if (first == 0xC3 && !deep) {
        uint64_t packed;
        r->pos++;
        if (read_lzf_head(r, &packed, &n) != 0 || rdb_skip(r, packed) != 0)
            return -1;
    } else {
        char digits[24];
        struct slice s;
        if (rdb_read_bytes(r, digits, &s) != 0)
            return -1;
        n = s.n;
    }
    if (ret_len != NULL)
        *ret_len = n;
    return 0;
}
