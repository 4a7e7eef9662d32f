#include "config.h"

#include "server/log/record_reader.h"

#include <fcntl.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/log/annotation.h"

#define READ_BYTES (1 << 20)
#define HEADER_BYTES 24 /* '*' or '$', up to 19 digits, CRLF */
#define ARG_BYTES_MIN 6 /* "$0\r\n\r\n" */

int record_reader_open(struct record_reader *rr, const struct fs *fs, const char *path, int64_t start) {
    *rr = (struct record_reader){.fs = fs, .fd = -1, .base = start, .at = start};
    struct fs_stat st;
    int error = fs->stat(fs->ctx, path, &st);
    if (error != 0)
        return error;
    rr->size = st.size_bytes;
    rr->fd = fs->open(fs->ctx, path, O_RDONLY, 0);
    return rr->fd < 0 ? rr->fd : 0;
}

void record_reader_close(struct record_reader *rr) {
    if (rr->fd >= 0)
        (void)rr->fs->close(rr->fs->ctx, rr->fd); /* nothing was written */
    buf_deinit(&rr->buf);
    mem_free(rr->args);
    rr->fd = -1;
    rr->args = NULL;
}

static inline int64_t held_end(const struct record_reader *rr) {
    return rr->base + (int64_t)rr->buf.len;
}

/* Reads until byte `end` is held or the file has no more. RECORD_IO on errors, else RECORD_COMMAND. */
static enum record_kind fill(struct record_reader *rr, int64_t end) {
    while (held_end(rr) < end) {
        size_t want = (size_t)(end - held_end(rr));
        if (want < READ_BYTES)
            want = READ_BYTES;
        if (buf_try_reserve(&rr->buf, want) != 0) {
            rr->reason = "not enough memory for the record";
            return RECORD_IO;
        }
        ssize_t got = rr->fs->pread(rr->fs->ctx, rr->fd, rr->buf.data + rr->buf.len, want, held_end(rr));
        if (got < 0) {
            rr->reason = strerror((int)-got);
            return RECORD_IO;
        }
        if (got == 0) {
            if (held_end(rr) < rr->size)
                rr->size = held_end(rr); /* it shrank under us */
            return RECORD_COMMAND;
        }
        rr->buf.len += (size_t)got;
    }
    return RECORD_COMMAND;
}

static enum record_kind bad(struct record_reader *rr, int64_t offset, const char *reason) {
    rr->bad_offset = offset;
    rr->reason = reason;
    return RECORD_BAD;
}

static enum record_kind torn(struct record_reader *rr) {
    rr->bad_offset = rr->at;
    rr->reason = "the file ends inside a record";
    return RECORD_TORN;
}

/* "<prefix>digits\r\n" at *at. RECORD_COMMAND when there, and *at behind it. */
static enum record_kind read_header(struct record_reader *rr, int64_t *at, char prefix, uint64_t *ret_value) {
    if (held_end(rr) < *at + HEADER_BYTES && held_end(rr) < rr->size) {
        enum record_kind k = fill(rr, *at + HEADER_BYTES);
        if (k != RECORD_COMMAND)
            return k;
    }
    const char *begin = record_reader_bytes(rr, *at);
    const char *end = rr->buf.data + rr->buf.len;
    const char *p = begin;
    if (p == end)
        return torn(rr);
    if (*p != prefix)
        return bad(rr, *at,
                   prefix == '*' ? "expected '*', the begin of a command" : "expected '$', the begin of an argument");
    p++;
    uint64_t v = 0;
    const char *digits = p;
    while (p < end && *p >= '0' && *p <= '9' && p - digits < 19)
        v = v * 10 + (uint64_t)(*p++ - '0');
    if (p == end)
        return torn(rr);
    if (p == digits)
        return bad(rr, *at + (p - begin), "expected a length");
    if (*p != '\r')
        return bad(rr, *at + (p - begin), "expected the end of the line behind a length");
    if (p + 1 == end)
        return torn(rr);
    if (p[1] != '\n')
        return bad(rr, *at + (p + 1 - begin), "expected the end of the line behind a length");
    *ret_value = v;
    *at += p + 2 - begin;
    return RECORD_COMMAND;
}

static void push_arg(struct record_reader *rr, int64_t offset, size_t n) {
    if (rr->arg_count == rr->arg_cap) {
        rr->arg_cap = rr->arg_cap == 0 ? 256 : rr->arg_cap * 2;
        rr->args = mem_realloc(rr->args, rr->arg_cap * sizeof *rr->args);
    }
    rr->args[rr->arg_count++] = (struct record_arg){offset, n};
}

static enum record_kind read_command(struct record_reader *rr) {
    int64_t at = rr->at;
    uint64_t argc;
    rr->first_arg = rr->arg_count;
    rr->argc = 0;
    enum record_kind k = read_header(rr, &at, '*', &argc);
    if (k != RECORD_COMMAND)
        return k;
    if (argc == 0 || argc > INT32_MAX)
        return bad(rr, rr->at, argc == 0 ? "a command without arguments" : "a command of too many arguments");
    if (argc > (uint64_t)(rr->size - at) / ARG_BYTES_MIN)
        return torn(rr);
    for (uint64_t i = 0; i < argc; i++) {
        uint64_t n;
        int64_t header_at = at;
        k = read_header(rr, &at, '$', &n);
        if (k != RECORD_COMMAND)
            return k;
        (void)header_at;
        if (rr->size - at < 2 || n > (uint64_t)(rr->size - at) - 2)
            return torn(rr);
        int64_t end = at + (int64_t)n + 2;
        if (held_end(rr) < end) {
            k = fill(rr, end);
            if (k != RECORD_COMMAND)
                return k;
            if (held_end(rr) < end)
                return torn(rr);
        }
        const char *tail = record_reader_bytes(rr, end - 2);
        if (tail[0] != '\r' || tail[1] != '\n')
            return bad(rr, end - 2, "expected the end of the line behind an argument");
        push_arg(rr, at, (size_t)n);
        rr->argc++;
        at = end;
    }
    rr->at = at;
    return RECORD_COMMAND;
}

static enum record_kind read_comment(struct record_reader *rr) {
    enum record_kind k = fill(rr, rr->at + ANNOTATION_MAX_BYTES < rr->size ? rr->at + ANNOTATION_MAX_BYTES : rr->size);
    if (k != RECORD_COMMAND)
        return k;
    const char *p = record_reader_bytes(rr, rr->at);
    size_t n = (size_t)(held_end(rr) - rr->at);
    const char *newline = memchr(p, '\n', n < ANNOTATION_MAX_BYTES ? n : ANNOTATION_MAX_BYTES);
    if (newline == NULL)
        return n < ANNOTATION_MAX_BYTES ? torn(rr) : bad(rr, rr->at, "a comment line of 1024 bytes or more");
    size_t len = (size_t)(newline - p);
    rr->at += (int64_t)len + 1;
    if (len > 0 && p[len - 1] == '\r')
        len--;
    rr->comment = slice_of(p, len);
    return RECORD_COMMENT;
}

enum record_kind record_reader_next(struct record_reader *rr) {
    if (held_end(rr) <= rr->at) {
        enum record_kind k = fill(rr, rr->at + 1);
        if (k != RECORD_COMMAND)
            return k;
        if (held_end(rr) <= rr->at)
            return RECORD_END;
    }
    size_t args_before = rr->arg_count;
    enum record_kind k = *record_reader_bytes(rr, rr->at) == '#' ? read_comment(rr) : read_command(rr);
    if (k != RECORD_COMMAND && k != RECORD_COMMENT)
        rr->first_arg = args_before; /* what was read of it stays for the report */
    return k;
}

void record_reader_drop(struct record_reader *rr) {
    rr->arg_count = 0;
    size_t gone = (size_t)(rr->at - rr->base);
    /* Moving the rest down pays only when little is left. */
    if (gone < rr->buf.len / 2 && rr->buf.len - gone > READ_BYTES)
        return;
    if (gone < READ_BYTES / 2 && gone < rr->buf.len)
        return;
    buf_consume(&rr->buf, gone);
    rr->base = rr->at;
}
