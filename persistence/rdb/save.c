/* Saving. Entries arrive from the walk in table order, far apart in memory: they are collected in small groups whose
 * headers and keys are prefetched, and written when a group is full, in the order in which they came.
 *
 * A chunk checksum (record.h) is written before the first record that begins RDB_MARK_EVERY_BYTES or more behind the
 * last one, and before the end.
 */
#include "config.h"

#include "persistence/rdb/rdb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "persistence/rdb/codec.h"
#include "persistence/rdb/record.h"
#include "server/base/assert.h"
#include "server/base/num.h"

#define SAVE_GROUP 16 /* entries prefetched ahead: about as many misses as a core keeps in flight */
#define PROGRESS_KEYS 1024
#define PROGRESS_BYTES (1024 * 1024)
#define RELEASE_MIN_BYTES 65536 /* a smaller value hardly covers whole pages */
#define REDIS_VERSION "7.2.4"   /* what readers take our files for */
#define CACHE_LINE 64

struct save {
    struct rdb_writer *w;
    const struct rdb_save_options *o;
    uint64_t mark;           /* offset behind the last mark */
    uint64_t progress_bytes; /* at the last progress call */
    uint64_t keys, progress_keys;
    size_t page_bytes;
    struct rdb_error *error;
    unsigned grouped;
    const struct entry *group[SAVE_GROUP];
};

void rdb_save_options_default(struct rdb_save_options *o) {
    *o = (struct rdb_save_options){
        .version = RDB_VERSION_DEFAULT, .compress = true, .checksum = true, .repl_stream_db = -1};
}

void rdb_write_aux(struct rdb_writer *w, const char *name, struct slice value) {
    rdb_write_byte(w, RDB_OP_AUX);
    rdb_write_string(w, slice_cstr(name), false);
    rdb_write_string(w, value, false);
}

static void write_aux_i64(struct rdb_writer *w, const char *name, int64_t v) {
    rdb_write_byte(w, RDB_OP_AUX);
    rdb_write_string(w, slice_cstr(name), false);
    rdb_write_string_i64(w, v);
}

void rdb_write_function(struct rdb_writer *w, struct slice code, bool compress) {
    rdb_write_byte(w, RDB_OP_FUNCTION);
    rdb_write_blob(w, code, compress);
}

static void write_mark(struct save *s) {
    struct rdb_writer *w = s->w;
    char value[RDB_MARK_VALUE_CHARS + 1];
    rdb_writer_mark(w);
    int n = snprintf(value, sizeof value, "%016" PRIx64 ":%016" PRIx64, rdb_writer_offset(w), rdb_writer_crc(w));
    HF_ASSERT(n == RDB_MARK_VALUE_CHARS);
    rdb_write_byte(w, RDB_OP_AUX);
    rdb_write_blob(w, SLICE_LIT(RDB_MARK_NAME), false);
    rdb_write_blob(w, slice_of(value, RDB_MARK_VALUE_CHARS), false);
    s->mark = rdb_writer_offset(w);
}

static void write_header(struct rdb_writer *w, const struct rdb_save_options *o) {
    char magic[RDB_HEADER_BYTES + 1];
    snprintf(magic, sizeof magic, "REDIS%04u", o->version % 10000);
    rdb_write(w, magic, RDB_HEADER_BYTES);
    rdb_write_aux(w, "redis-ver", SLICE_LIT(REDIS_VERSION));
    write_aux_i64(w, "redis-bits", 8 * (int64_t)sizeof(void *));
    write_aux_i64(w, "ctime", o->now_ms / 1000);
    write_aux_i64(w, "used-mem", o->used_mem > INT64_MAX ? INT64_MAX : (int64_t)o->used_mem);
    if (o->repl_id != NULL) {
        if (o->repl_stream_db >= 0)
            write_aux_i64(w, "repl-stream-db", o->repl_stream_db);
        rdb_write_aux(w, "repl-id", slice_cstr(o->repl_id));
        write_aux_i64(w, "repl-offset", o->repl_offset);
    }
    write_aux_i64(w, "aof-base", o->aof_base ? 1 : 0);
}

static void write_attributes(struct save *s, const struct entry *e) {
    int64_t deadline = entry_deadline_ms(e);
    if (deadline != -1) {
        rdb_write_byte(s->w, RDB_OP_EXPIRE_MS);
        rdb_write_u64(s->w, (uint64_t)deadline);
    }
    if (s->o->access == RDB_ACCESS_LRU) {
        rdb_write_byte(s->w, RDB_OP_IDLE);
        rdb_write_len(s->w, entry_idle_s(e, s->o->now_ms));
    } else if (s->o->access == RDB_ACCESS_LFU) {
        rdb_write_byte(s->w, RDB_OP_FREQ);
        rdb_write_byte(s->w, entry_lfu_counter(e, s->o->now_ms, s->o->lfu_decay_time_min));
    }
}

/* Gives the whole pages of a written value back. Only in a child, where nobody reads the value again; a block with
 * other references stays. */
static void release_value(const struct save *s, const struct entry *e) {
    struct value v = entry_value(e);
    if (v.repr != VALUE_REPR_RBUF || v.u.rbuf->len < RELEASE_MIN_BYTES || !rbuf_is_unique(v.u.rbuf))
        return;
    uintptr_t mask = s->page_bytes - 1;
    uintptr_t from = ((uintptr_t)v.u.rbuf->data + mask) & ~mask;
    uintptr_t to = ((uintptr_t)v.u.rbuf->data + v.u.rbuf->len) & ~mask;
    if (to > from)
        (void)madvise((void *)from, to - from, MADV_DONTNEED); /* a hint: nothing is lost where it fails */
}

static int save_fail_key(struct save *s, const struct entry *e, unsigned needed) {
    struct rdb_error *err = s->error;
    struct slice key = entry_key(e);
    struct buf shown;
    buf_init(&shown);
    buf_append_repr(&shown, key);
    err->code = RDB_ERR_UNSUPPORTED;
    if (needed != 0)
        snprintf(err->text, sizeof err->text,
                 "cannot save key %.*s: its value (%s) needs snapshots of version %u, but %u is asked for",
                 (int)(shown.len < 90 ? shown.len : 90), shown.data, value_type_name(entry_type(e)), needed,
                 s->o->version);
    else
        snprintf(err->text, sizeof err->text, "cannot save key %.*s: values of type %s are not supported",
                 (int)(shown.len < 90 ? shown.len : 90), shown.data, value_type_name(entry_type(e)));
    buf_deinit(&shown);
    return -1;
}

static int save_abort(struct save *s) {
    s->error->code = RDB_ERR_ABORTED;
    snprintf(s->error->text, sizeof s->error->text, "saving was stopped after %" PRIu64 " keys", s->keys);
    return -1;
}

static int save_progress(struct save *s) {
    uint64_t at = rdb_writer_offset(s->w);
    const uint64_t every =
        s->o->key_delay_us > 0 ? 1 : PROGRESS_KEYS; /* a save slowed down for a test is watched closely */
    if (s->keys - s->progress_keys < every && at - s->progress_bytes < PROGRESS_BYTES)
        return 0;
    s->progress_keys = s->keys;
    s->progress_bytes = at;
    if (s->w->error != 0)
        return -1;
    if (s->o->progress == NULL)
        return 0;
    const struct rdb_save_progress p = {.keys = s->keys, .bytes = at};
    return s->o->progress(s->o->progress_arg, &p) == 0 ? 0 : save_abort(s);
}

static void key_delay(const struct save *s) {
    int us = s->o->key_delay_us;
    if (us > 0)
        usleep((unsigned)us);
    else if (s->keys % (uint64_t) - (int64_t)us == 0)
        usleep(1);
}

static int save_entry(struct save *s, const struct entry *e) {
    const struct rdb_value_codec *codec = rdb_codec_for_value(entry_type(e));
    if (codec == NULL)
        return save_fail_key(s, e, 0);
    unsigned needed = codec->min_version(e);
    if (needed > s->o->version && codec->annotate == NULL)
        return save_fail_key(s, e, needed);
    if (s->o->checksum && rdb_writer_offset(s->w) - s->mark >= RDB_MARK_EVERY_BYTES)
        write_mark(s);
    if (needed > s->o->version)
        codec->annotate(s->w, e);
    write_attributes(s, e);
    rdb_write_byte(s->w, codec->wire_type(e, s->o->version));
    rdb_write_string(s->w, entry_key(e), s->o->compress);
    codec->save(s->w, e, s->o->version, s->o->compress);
    s->keys++;
    if (s->o->release_values)
        release_value(s, e);
    if (s->o->key_delay_us != 0)
        key_delay(s);
    return 0;
}

static int save_group(struct save *s) {
    unsigned n = s->grouped;
    s->grouped = 0;
    for (unsigned i = 0; i < n; i++)
        if (save_entry(s, s->group[i]) != 0)
            return -1;
    return save_progress(s);
}

static int save_each(void *arg, const struct entry *e) {
    struct save *s = arg;
    __builtin_prefetch(e);
    __builtin_prefetch((const char *)e + CACHE_LINE);
    s->group[s->grouped++] = e;
    return s->grouped < SAVE_GROUP ? 0 : save_group(s);
}

static int save_db(struct save *s, const struct keyspace *ks, unsigned db) {
    size_t keys = keyspace_size(ks, db);
    if (keys == 0)
        return 0;
    rdb_write_byte(s->w, RDB_OP_SELECTDB);
    rdb_write_len(s->w, db);
    rdb_write_byte(s->w, RDB_OP_RESIZEDB);
    rdb_write_len(s->w, keys);
    rdb_write_len(s->w, keyspace_deadlines(ks, db));
    return keyspace_each(ks, db, save_each, s) != 0 ? -1 : save_group(s);
}

static int save_io_failed(struct save *s) {
    s->error->code = RDB_ERR_IO;
    s->error->sys_errno = -s->w->error;
    s->error->offset = rdb_writer_offset(s->w);
    snprintf(s->error->text, sizeof s->error->text, "writing failed: %s", strerror(-s->w->error));
    return -1;
}

int rdb_save(struct rdb_writer *w, const struct keyspace *ks, const struct rdb_save_options *o,
             struct rdb_save_progress *ret_progress, struct rdb_error *ret_error) {
    HF_ASSERT(o->version >= RDB_VERSION_MIN && o->version <= RDB_VERSION_MAX);
    struct save s = {.w = w, .o = o, .error = ret_error, .page_bytes = (size_t)sysconf(_SC_PAGESIZE)};
    *ret_error = RDB_ERROR_INIT;
    w->checksum = o->checksum;
    write_header(w, o);
    if (o->extra != NULL)
        o->extra(o->extra_arg, w);
    int err = 0;
    unsigned databases = keyspace_databases(ks);
    for (unsigned db = 0; db < databases && err == 0 && w->error == 0; db++)
        err = save_db(&s, ks, db);
    if (w->error != 0)
        return save_io_failed(&s);
    if (err != 0)
        return -1;
    if (o->checksum)
        write_mark(&s);
    rdb_write_byte(w, RDB_OP_EOF);
    rdb_write_u64(w, o->checksum ? rdb_writer_crc(w) : 0);
    uint64_t bytes = rdb_writer_offset(w);
    if (rdb_writer_finish(w) != 0)
        return save_io_failed(&s);
    if (ret_progress != NULL)
        *ret_progress = (struct rdb_save_progress){.keys = s.keys, .bytes = bytes};
    return 0;
}
