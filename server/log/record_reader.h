/* Cuts an AOF file into records: commands (RESP arrays of bulk strings) and comment lines. Internal to recovery.
 *
 * The bytes from the first record not yet dropped up to the newest stay in memory, so that a stretch can be verified
 * whole before it is used; all positions are counted from the file's first byte. Lengths are compared with what is left
 * of the file before anything is allocated.
 *
 * Ownership: init/deinit. Thread: the caller's.
 */
#ifndef HF_LOG_RECORD_READER_H
#define HF_LOG_RECORD_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/base/slice.h"

enum record_kind {
    RECORD_COMMAND,
    RECORD_COMMENT, /* a line that begins with '#' */
    RECORD_END,     /* the file ends behind the last record */
    RECORD_TORN,    /* the file ends inside a record: bad_offset is its first byte */
    RECORD_BAD,     /* not a record: bad_offset, reason */
    RECORD_IO       /* the file could not be read: reason */
};

struct record_arg {
    int64_t offset;
    size_t n;
};

struct record_reader {
    const struct fs *fs;
    int fd;
    int64_t size;
    struct buf buf;
    int64_t base;            /* file offset of buf.data[0] */
    int64_t at;              /* file offset of the next record */
    struct record_arg *args; /* of the commands not yet dropped, in order */
    size_t arg_count, arg_cap;
    /* of the last command */
    size_t first_arg;
    int argc;
    /* of the last comment: its bytes without line end */
    struct slice comment;
    int64_t bad_offset;
    const char *reason;
};

/* 0 or -errno. */
int record_reader_open(struct record_reader *rr, const struct fs *fs, const char *path, int64_t start)
    __attribute__((warn_unused_result));
void record_reader_close(struct record_reader *rr);
/* Reads the record at `at` and moves behind it; `at` stays on TORN, BAD and IO. */
enum record_kind record_reader_next(struct record_reader *rr);
/* Lets everything before `at` go: bytes and arguments. */
void record_reader_drop(struct record_reader *rr);
/* Bytes [from, to) of the file, which must still be held. Valid until the next call. */
static inline const char *record_reader_bytes(const struct record_reader *rr, int64_t from) {
    return rr->buf.data + (from - rr->base);
}

#endif
