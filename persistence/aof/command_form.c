#include "config.h"

#include "persistence/aof/command_form.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "persistence/aof/value_form.h"
#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/num.h"
#include "server/base/slice.h"
#include "server/proto/resp.h"

#define FLUSH_BYTES (256 * 1024)
#define SYNC_BYTES (32 * 1024 * 1024)

struct command_form {
    const struct fs *fs;
    const struct command_form_options *options;
    int fd, rc;
    struct buf out;
    uint64_t keys, unsynced;
};

static int flush(struct command_form *f) {
    int rc = fs_write_all(f->fs, f->fd, f->out.data, f->out.len);
    f->unsynced += f->out.len;
    buf_clear(&f->out);
    if (rc == 0 && f->options->incremental_fsync && f->unsynced >= SYNC_BYTES) {
        rc = f->fs->fdatasync(f->fs->ctx, f->fd);
        f->unsynced = 0;
    }
    return rc < 0 ? rc : 0;
}

bool form_command(struct command_form *f, const struct slice *argv, int argc) {
    if (f->rc != 0)
        return false;
    resp_append_command(&f->out, argv, argc);
    if (f->out.len >= FLUSH_BYTES)
        f->rc = flush(f);
    return f->rc == 0;
}

void form_pieces_begin(struct form_pieces *p, struct command_form *f, const char *verb, struct slice key,
                       unsigned width) {
    HF_ASSERT(width >= 1 && width <= FORM_WIDTH_MAX);
    p->form = f;
    p->fixed[0] = slice_cstr(verb);
    p->fixed[1] = key;
    p->fixed_count = 2;
    p->width = width;
    p->held = 0;
}

void form_pieces_fix(struct form_pieces *p, struct slice s) {
    HF_ASSERT(p->fixed_count < sizeof p->fixed / sizeof p->fixed[0] && p->held == 0);
    p->fixed[p->fixed_count++] = s;
}

bool form_pieces_flush(struct form_pieces *p) {
    char digits[FORM_PIECE_ELEMENTS * FORM_WIDTH_MAX][NUM_I64_CHARS];
    struct slice argv[2 + FORM_FIXED_MAX + FORM_PIECE_ELEMENTS * FORM_WIDTH_MAX];
    if (p->held == 0)
        return p->form->rc == 0;
    HF_ASSERT(p->held % p->width == 0);
    memcpy(argv, p->fixed, p->fixed_count * sizeof argv[0]);
    for (size_t i = 0; i < p->held; i++) {
        const struct packed_item *item = &p->items[i];
        argv[p->fixed_count + i] = packed_text(item, digits[i]);
    }
    size_t argc = p->fixed_count + p->held;
    p->held = 0;
    return form_command(p->form, argv, (int)argc);
}

bool form_pieces_add(struct form_pieces *p, const struct packed_item *item) {
    p->items[p->held++] = *item;
    return p->held < (size_t)FORM_PIECE_ELEMENTS * p->width ? p->form->rc == 0 : form_pieces_flush(p);
}

bool form_pieces_end(struct form_pieces *p) {
    return form_pieces_flush(p);
}

static void write_string(struct command_form *f, struct slice key, const struct entry *e) {
    char scratch[24];
    struct slice argv[3] = {SLICE_LIT("SET"), key, entry_string(e, scratch)};
    (void)form_command(f, argv, 3);
}

static value_form_fn *const forms[VALUE_TYPES] = {
    [VALUE_STRING] = write_string,  [VALUE_HASH] = form_write_hash, [VALUE_SET] = value_form_set,
    [VALUE_LIST] = value_form_list, [VALUE_ZSET] = zset_form_write, [VALUE_STREAM] = value_form_stream,
};

static int write_entry(void *arg, const struct entry *e) {
    struct command_form *f = arg;
    struct slice key = entry_key(e);
    HF_ASSERT(forms[entry_type(e)] != NULL);
    forms[entry_type(e)](f, key, e);
    int64_t deadline = entry_deadline_ms(e);
    if (deadline >= 0) {
        char digits[NUM_I64_CHARS];
        struct slice argv[3] = {SLICE_LIT("PEXPIREAT"), key, slice_of(digits, num_format_i64(digits, deadline))};
        (void)form_command(f, argv, 3);
    }
    if (++f->keys % 1024 == 0 && f->rc == 0 && f->options->progress != NULL &&
        f->options->progress(f->options->progress_arg, f->keys) != 0)
        f->rc = -ECANCELED;
    return f->rc;
}

static int write_databases(struct command_form *f, const struct keyspace *ks) {
    if (f->options->timestamp)
        buf_printf(&f->out, "#TS:%lld\r\n", (long long)(f->options->now_ms / 1000));
    for (unsigned db = 0; db < keyspace_databases(ks) && f->rc == 0; db++) {
        if (keyspace_size(ks, db) == 0)
            continue;
        char digits[NUM_I64_CHARS];
        struct slice argv[2] = {SLICE_LIT("SELECT"), slice_of(digits, num_format_u64(digits, db))};
        resp_append_command(&f->out, argv, 2);
        keyspace_each(ks, db, write_entry, f);
    }
    return f->rc != 0 ? f->rc : flush(f);
}

int command_form_write(const struct fs *fs, const char *path, const struct keyspace *ks,
                       const struct command_form_options *o) {
    struct command_form f = {.fs = fs, .options = o, .out = BUF_INIT};
    f.fd = fs->open(fs->ctx, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (f.fd < 0)
        return f.fd;
    int rc = write_databases(&f, ks);
    if (rc == 0)
        rc = fs->fsync(fs->ctx, f.fd);
    int closed = fs->close(fs->ctx, f.fd);
    if (rc == 0)
        rc = closed;
    buf_deinit(&f.out);
    if (rc < 0)
        fs->unlink(fs->ctx, path);
    return rc < 0 ? rc : 0;
}
