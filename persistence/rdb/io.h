/* The byte streams of snapshots: a writer and a reader with a window, a running CRC-64 and an optional whole-file
 * codec.
 *
 * Writer: collects bytes in a window and hands them to a file, a struct buf or a callback; errors are sticky (the first
 * one stays, later calls do nothing), so that value codecs write without looking and the owner asks once. Reader: gives
 * contiguous bytes from a window that is refilled from a file, a callback or lies over a slice; the first fault is kept
 * in an rdb_error and every later read fails.
 *
 * Lengths that the input names never cause an allocation larger than what the rest of the input can hold; where its
 * size is unknown (a callback, a compressed file), memory grows with the bytes that really arrive.
 *
 * Ownership: both are embedded (init/deinit); struct fs, descriptors and slices are borrowed. Thread: one at a time.
 */
#ifndef HF_RDB_IO_H
#define HF_RDB_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "persistence/rdb/error.h"
#include "server/base/buf.h"
#include "server/base/fs.h"

/* Compression of the whole file. On load it is recognised by the first bytes. */
enum rdb_codec { RDB_CODEC_NONE, RDB_CODEC_LZ4, RDB_CODEC_ZLIB };
/* "none", "lz4", "zlib". */
const char *rdb_codec_name(enum rdb_codec c);

/* ---- writer ---- */

struct rdb_codec_state;

/* Takes n bytes; 0, or -errno. */
typedef int rdb_sink_fn(void *arg, const void *p, size_t n);

struct rdb_writer {
    /* Window: [0, len) is filled, [0, summed) is in crc already. */
    unsigned char *window;
    size_t len, cap, summed;
    uint64_t flushed; /* stream bytes that left the window */
    uint64_t crc;     /* CRC-64 of flushed bytes and [0, summed) */
    bool checksum;
    int error; /* 0 or a negative errno: the first failure */
    /* Sink. */
    const struct fs *fs;
    int fd;
    rdb_sink_fn *sink;
    void *sink_arg;
    struct buf *out;
    struct rdb_codec_state *codec;
    uint64_t sunk;       /* bytes given to the sink (after the codec) */
    struct buf scratch;  /* compressed long strings */
    size_t out_start;    /* length of *out before us */
    uint64_t sync_every; /* bytes; 0: never in between */
    uint64_t synced, syncing;
};

/* To a file at its current position. sync_every_bytes > 0 asks the kernel to write back every so many bytes, so that
 * the fsync at the end is short. The caller fsyncs and closes. */
void rdb_writer_init_fd(struct rdb_writer *w, const struct fs *fs, int fd, enum rdb_codec codec,
                        size_t sync_every_bytes);
void rdb_writer_init_buf(struct rdb_writer *w, struct buf *out, enum rdb_codec codec);
void rdb_writer_init_sink(struct rdb_writer *w, rdb_sink_fn *sink, void *arg, enum rdb_codec codec);
/* Drops what was not flushed and frees. */
void rdb_writer_deinit(struct rdb_writer *w);
/* Hands on everything collected and ends the codec's frame: nothing may be written behind it. 0 or the sticky -errno.
 */
int rdb_writer_finish(struct rdb_writer *w) __attribute__((warn_unused_result));
/* Hands on what was collected (a live stream). 0 or the sticky -errno. */
int rdb_writer_flush(struct rdb_writer *w) __attribute__((warn_unused_result));
/* Bytes written so far, before the codec. */
static inline uint64_t rdb_writer_offset(const struct rdb_writer *w) {
    return w->flushed + w->len;
}
/* The next bytes begin a chunk that damage before it should not touch: the codec starts afresh. */
void rdb_writer_mark(struct rdb_writer *w);
/* CRC-64 of everything written so far (0 with checksum off). */
uint64_t rdb_writer_crc(struct rdb_writer *w);

/* Room for n ≤ RDB_ROOM_MAX bytes at the returned place; rdb_writer_commit() says how many were used. */
#define RDB_ROOM_MAX 65536
unsigned char *rdb_writer_room_slow(struct rdb_writer *w, size_t n);
static inline unsigned char *rdb_writer_room(struct rdb_writer *w, size_t n) {
    return __builtin_expect(w->cap - w->len >= n, 1) ? w->window + w->len : rdb_writer_room_slow(w, n);
}
static inline void rdb_writer_commit(struct rdb_writer *w, size_t n) {
    w->len += n;
}

void rdb_write(struct rdb_writer *w, const void *p, size_t n);
void rdb_write_byte(struct rdb_writer *w, unsigned b);
void rdb_write_u16(struct rdb_writer *w, uint16_t v); /* little endian */
void rdb_write_u64(struct rdb_writer *w, uint64_t v); /* little endian: times, binary doubles */
void rdb_write_len(struct rdb_writer *w, uint64_t n); /* the format's length encoding */
/* A string: as an integer where it is one of at most 32 bits, LZF where compress is set, it is longer than 20 bytes and
 * gets shorter, else raw. */
void rdb_write_string(struct rdb_writer *w, struct slice s, bool compress);
void rdb_write_string_i64(struct rdb_writer *w, int64_t v);
/* Raw, never as an integer: packed payloads whose bytes happen to be digits stay what they are. LZF as above. */
void rdb_write_blob(struct rdb_writer *w, struct slice s, bool compress);

/* ---- reader ---- */

/* Reads up to n bytes: the count, 0 at the end, or -errno. */
typedef ssize_t rdb_source_fn(void *arg, void *p, size_t n);

struct rdb_reader {
    /* Window: [pos, end) is unread, [summed, pos) is read but not in crc yet. */
    unsigned char *window;
    size_t pos, end, cap, summed;
    uint64_t base; /* stream offset of window[0] */
    uint64_t crc;
    bool checksum; /* keep the CRC */
    bool window_borrowed;
    bool at_end;          /* the source is exhausted */
    bool sized;           /* source_left is known */
    uint64_t source_left; /* bytes the source can still give */
    const struct fs *fs;
    int fd;
    rdb_source_fn *source;
    void *source_arg;
    struct slice slice; /* what is left of a compressed slice */
    struct rdb_codec_state *codec;
    enum rdb_codec codec_kind;
    uint64_t raw;                             /* bytes taken from the source */
    uint64_t raw_window;                      /* raw when the window was last refilled */
    uint64_t raw_verified, raw_verified_next; /* see rdb_reader_verified() */
    uint64_t verified;                        /* stream offset up to which checksums matched */
    struct buf scratch;                       /* decompressed strings and strings longer than the window */
    struct buf compressed;                    /* LZF input longer than the window */
    struct buf key;                           /* for messages: the key being read */
    bool has_key;
    struct buf aux;       /* name and value of an aux field */
    struct buf first_key; /* the first key behind `verified` */
    bool has_first_key;
    struct rdb_error error;
};

/* From the current position of a file, whose size is looked up. Recognises a compressed file. 0, or -1 with r->error
 * set (deinit in both cases). */
int rdb_reader_init_fd(struct rdb_reader *r, const struct fs *fs, int fd) __attribute__((warn_unused_result));
/* size_bytes: what the source will give, or UINT64_MAX. Recognises a compressed stream. */
int rdb_reader_init_source(struct rdb_reader *r, rdb_source_fn *source, void *arg, uint64_t size_bytes)
    __attribute__((warn_unused_result));
/* Over bytes that stay; they are not copied. Recognises a compressed snapshot where codec_allowed. */
int rdb_reader_init_slice(struct rdb_reader *r, struct slice s, bool codec_allowed) __attribute__((warn_unused_result));
void rdb_reader_deinit(struct rdb_reader *r);

static inline uint64_t rdb_reader_offset(const struct rdb_reader *r) {
    return r->base + r->pos;
}
/* CRC-64 of all bytes read so far. */
uint64_t rdb_reader_crc(struct rdb_reader *r);
/* All bytes read so far are known to be good: a later fault lies behind them. */
void rdb_reader_verified(struct rdb_reader *r);
/* True when nothing is left, with a codec also that its frame ends here as it should (else the error is set). */
bool rdb_reader_is_drained(struct rdb_reader *r);
/* The most bytes that can still come (UINT64_MAX when unknown). */
uint64_t rdb_reader_left(const struct rdb_reader *r);

/* Sets the error unless one is set, with offset, range and key; the text is completed with them. Returns -1. */
int rdb_reader_fail(struct rdb_reader *r, enum rdb_error_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As above for a fault noticed at a given offset. */
int rdb_reader_fail_at(struct rdb_reader *r, uint64_t offset, enum rdb_error_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* All return 0, or -1 with the error set. */
int rdb_reader_fill(struct rdb_reader *r, size_t n)
    __attribute__((warn_unused_result)); /* n ≤ RDB_ROOM_MAX unread bytes in the window */
int rdb_read(struct rdb_reader *r, void *p, size_t n) __attribute__((warn_unused_result));
int rdb_skip(struct rdb_reader *r, uint64_t n) __attribute__((warn_unused_result));
int rdb_read_byte(struct rdb_reader *r, unsigned *ret_byte) __attribute__((warn_unused_result));
int rdb_read_u64(struct rdb_reader *r, uint64_t *ret_v) __attribute__((warn_unused_result)); /* little endian */
int rdb_read_len(struct rdb_reader *r, uint64_t *ret_len) __attribute__((warn_unused_result));
/* A count of elements that take at least min_bytes each: more than the input can hold is a format error. */
int rdb_read_count(struct rdb_reader *r, size_t min_bytes, uint64_t *ret_count) __attribute__((warn_unused_result));

/* A string in whatever form it was written. */
enum rdb_string_kind {
    RDB_STRING_INT,   /* i */
    RDB_STRING_BYTES, /* bytes: borrowed, valid until the next call on the reader */
    RDB_STRING_RBUF,  /* rbuf: one reference for the caller (RDB_RBUF_MIN bytes and more, where rbuf_wanted) */
};
#define RDB_RBUF_MIN 32768
struct rdb_string {
    enum rdb_string_kind kind;
    int64_t i;
    struct slice bytes;
    struct rbuf *rbuf;
};
int rdb_read_string(struct rdb_reader *r, bool rbuf_wanted, struct rdb_string *ret_s)
    __attribute__((warn_unused_result));
/* As bytes in any case: borrowed from the reader or written to digits. */
int rdb_read_bytes(struct rdb_reader *r, char digits[24], struct slice *ret_s) __attribute__((warn_unused_result));
/* For what is kept as it is: bytes that came compressed stand in a block of their own (mem_alloc(), exactly ret_s->n
 * bytes), which is the caller's; otherwise *ret_block is NULL, and they are borrowed as above. */
int rdb_read_bytes_take(struct rdb_reader *r, char digits[24], struct slice *ret_s, void **ret_block)
    __attribute__((warn_unused_result));
/* Reads past a string, checking its lengths; with LZF, that it decompresses where deep is set. ret_len: decoded bytes;
 * may be NULL. */
int rdb_skip_string(struct rdb_reader *r, bool deep, uint64_t *ret_len) __attribute__((warn_unused_result));

#endif
