/* Loading. Most records of most files are short strings: those are cut out of the reader's window without copying, in
 * batches, so that the tables' buckets are prefetched for a whole batch before the keys are added. Everything else
 * (other types, long strings, records at the end of the window, opcodes) goes record by record through record.h and the
 * codecs.
 *
 * Invariant: what a batch holds points into the window or into the batch's arena; it is added to the keyspace before
 * the window moves, that is, before any call on the reader.
 */
#include "config.h"

#include "persistence/rdb/rdb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "persistence/rdb/codec.h"
#include "persistence/rdb/frame.h"
#include "persistence/rdb/record.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/lzf.h"
#include "server/store/hash.h"

#define BATCH 32
#define ARENA_BYTES 32768
#define FAST_STRING_MAX 16383 /* what a two-byte length can say */
#define LZF_EXPANSION_MAX 88
#define KEY_BYTES_MIN 3 /* type, key length, value length: what a key takes at least */
#define EXPECT_UNKNOWN_MAX (1 << 20)
#define EXPECT_FEW 1024
#define USUAL_COMPRESSION 8

struct pending {
    struct slice key;
    struct value value;
    int64_t deadline_ms;
    int64_t idle_s;
    int freq;
    uint64_t offset;
};

struct load {
    struct rdb_reader *r;
    struct keyspace *ks;
    const struct rdb_load_options *o;
    struct rdb_load_result *result;
    struct rdb_stream stream;
    unsigned db;
    uint64_t yielded; /* offset of the last yield */
    struct buf notes; /* for the next key, see codec.h */
    unsigned batched;
    size_t arena_used;
    struct pending batch[BATCH];
    struct keyref refs[BATCH];
    char arena[ARENA_BYTES];
};

void rdb_load_options_default(struct rdb_load_options *o) {
    *o = (struct rdb_load_options){.checksum = true};
}

bool rdb_is_snapshot(struct slice head) {
    if (frame_recognise((const unsigned char *)head.p, head.n) != RDB_CODEC_NONE)
        return true;
    return (head.n >= 5 && memcmp(head.p, "REDIS", 5) == 0) || (head.n >= 6 && memcmp(head.p, "VALKEY", 6) == 0);
}

/* ---- adding ---- */

static int fail_duplicate(struct load *l, const struct pending *p) {
    rdb_stream_note_key(l->r, p->key);
    return rdb_reader_fail_at(l->r, p->offset, RDB_ERR_DUPLICATE, "a key is there for the second time in database %u",
                              l->db);
}

static void take_access(struct load *l, struct entry *e, const struct pending *p) {
    if (l->o->access == RDB_ACCESS_LRU && p->idle_s >= 0)
        keyspace_set_access(l->ks, e, p->idle_s, -1);
    else if (l->o->access == RDB_ACCESS_LFU && p->freq >= 0)
        keyspace_set_access(l->ks, e, -1, p->freq);
}

static bool is_expired(const struct load *l, int64_t deadline_ms) {
    return l->o->skip_expired && deadline_ms != KEYSPACE_NO_DEADLINE && deadline_ms < l->o->now_ms;
}

static int add(struct load *l, const struct pending *p, const struct keyref *ref) {
    struct entry *e = l->o->replace ? keyspace_put(l->ks, l->db, ref, p->value, p->deadline_ms)
                                    : keyspace_add(l->ks, l->db, ref, p->value, p->deadline_ms);
    if (e == NULL)
        return fail_duplicate(l, p);
    if (l->o->access != RDB_ACCESS_NONE)
        take_access(l, e, p);
    l->result->keys_loaded++;
    return 0;
}

static int add_batch(struct load *l) {
    unsigned n = l->batched;
    l->batched = 0;
    l->arena_used = 0;
    for (unsigned i = 0; i < n; i++) {
        l->refs[i] = keyspace_key(l->ks, l->batch[i].key);
        keyspace_prefetch_bucket(l->ks, l->db, &l->refs[i]);
    }
    for (unsigned i = 0; i < n; i++)
        if (add(l, &l->batch[i], &l->refs[i]) != 0)
            return -1;
    return 0;
}

static int yield(struct load *l) {
    uint64_t at = rdb_reader_offset(l->r);
    if (l->o->yield_every_bytes == 0 || l->o->yield == NULL || at - l->yielded < l->o->yield_every_bytes)
        return 0;
    l->yielded = at;
    const struct rdb_load_progress p = {.bytes = at, .file_bytes = l->r->raw, .keys_loaded = l->result->keys_loaded};
    if (l->o->yield(l->o->yield_arg, &p) != 0)
        return rdb_reader_fail(l->r, RDB_ERR_ABORTED, "loading was stopped");
    return 0;
}

/* ---- the shortcut ---- */

struct cursor {
    const unsigned char *p, *end;
};

/* A length of one or two bytes: the length, or -1. */
static inline int64_t fast_len(struct cursor *c) {
    if (c->p == c->end)
        return -1;
    unsigned b = *c->p;
    if (b < 0x40) {
        c->p++;
        return b;
    }
    if (b >= 0x80 || c->end - c->p < 2)
        return -1;
    int64_t n = (int64_t)(b & 63) << 8 | c->p[1];
    c->p += 2;
    return n;
}

static int fast_lzf(struct load *l, struct cursor *c, struct slice *ret_s) {
    c->p++;
    int64_t packed = fast_len(c);
    int64_t n = packed < 0 ? -1 : fast_len(c);
    if (n <= 0 || c->end - c->p < packed || (size_t)n > ARENA_BYTES - l->arena_used || n / LZF_EXPANSION_MAX > packed)
        return -1;
    char *to = l->arena + l->arena_used;
    if (lzf_decompress(c->p, (size_t)packed, to, (size_t)n) != 0)
        return -1;
    c->p += packed;
    l->arena_used += (size_t)n;
    *ret_s = slice_of(to, (size_t)n);
    return 0;
}

static int fast_int(struct cursor *c, int64_t *ret_i) {
    unsigned kind = *c->p & 3;
    ptrdiff_t n = (ptrdiff_t)1 << kind;
    const unsigned char *p = c->p + 1;
    if (c->end - p < n)
        return -1;
    *ret_i = kind == 0 ? (int8_t)*p : kind == 1 ? (int16_t)load_le16(p) : (int32_t)load_le32(p);
    c->p = p + n;
    return 0;
}

/* 0: bytes; 1: an integer; -1: not for the shortcut. */
static inline int fast_string(struct load *l, struct cursor *c, struct slice *ret_s, int64_t *ret_i) {
    if (c->p == c->end)
        return -1;
    if (*c->p < 0x80) {
        int64_t n = fast_len(c);
        if (n < 0 || c->end - c->p < n)
            return -1;
        *ret_s = slice_of(c->p, (size_t)n);
        c->p += n;
        return 0;
    }
    if (*c->p == 0xC3)
        return fast_lzf(l, c, ret_s);
    if (*c->p >= 0xC0 && *c->p <= 0xC2)
        return fast_int(c, ret_i) == 0 ? 1 : -1;
    return -1;
}

static int fast_attributes(struct cursor *c, struct pending *p) {
    p->deadline_ms = -1;
    p->idle_s = -1;
    p->freq = -1;
    for (;;) {
        if (c->p == c->end)
            return -1;
        switch (*c->p) {
        case RDB_TYPE_STRING:
            c->p++;
            return 0;
        case RDB_OP_EXPIRE_MS:
            if (c->end - c->p < 9)
                return -1;
            p->deadline_ms = rdb_deadline((int64_t)load_le64(c->p + 1));
            c->p += 9;
            break;
        case RDB_OP_IDLE:
            c->p++;
            p->idle_s = fast_len(c);
            if (p->idle_s < 0)
                return -1;
            break;
        case RDB_OP_FREQ:
            if (c->end - c->p < 2)
                return -1;
            p->freq = c->p[1];
            c->p += 2;
            break;
        default:
            return -1;
        }
    }
}

/* Takes the record at the window's position where it is a short string that lies in it whole: true; else nothing
 * changed. */
static bool fast_record(struct load *l) {
    struct rdb_reader *r = l->r;
    struct pending *p = &l->batch[l->batched];
    struct cursor c = {r->window + r->pos, r->window + r->end};
    size_t arena_used = l->arena_used;
    int64_t i = 0;
    struct slice bytes = {NULL, 0};
    int kind;
    if (fast_attributes(&c, p) != 0)
        return false;
    kind = fast_string(l, &c, &p->key, &i);
    if (kind > 0) {
        char *digits = l->arena + l->arena_used;
        if (ARENA_BYTES - l->arena_used < NUM_I64_CHARS)
            kind = -1;
        else
            p->key = slice_of(digits, num_format_i64(digits, i));
        l->arena_used += kind > 0 ? p->key.n : 0;
    }
    if (kind >= 0)
        kind = fast_string(l, &c, &bytes, &i);
    if (kind < 0) {
        l->arena_used = arena_used;
        return false;
    }
    p->offset = rdb_reader_offset(r);
    if (!r->has_first_key)
        rdb_stream_note_key(r, p->key);
    r->pos = (size_t)(c.p - r->window);
    if (is_expired(l, p->deadline_ms)) {
        l->result->keys_expired++;
        l->arena_used = arena_used;
        return true;
    }
    p->value = kind > 0 ? value_string_int(i) : value_string(bytes);
    l->batched++;
    return true;
}

/* ---- record by record ---- */

static void take_text(char *dst, size_t cap, struct slice s) {
    size_t n = s.n < cap - 1 ? s.n : cap - 1;
    memcpy(dst, s.p, n);
    dst[n] = '\0';
}

static int take_aux(struct load *l, struct slice name, struct slice value) {
    struct rdb_load_result *res = l->result;
    int64_t v = 0;
    if (slice_eq(name, SLICE_LIT(RDB_NOTE_NAME))) {
        if (buf_try_reserve(&l->notes, value.n) != 0)
            return rdb_reader_fail(l->r, RDB_ERR_FORMAT, "no memory for the notes of a key");
        buf_append_slice(&l->notes, value);
        return 0;
    }
    bool number = num_parse_i64(value, &v) == 0;
    if (slice_eq(name, SLICE_LIT("repl-id"))) {
        if (value.n == sizeof res->repl_id - 1)
            take_text(res->repl_id, sizeof res->repl_id, value);
    } else if (slice_eq(name, SLICE_LIT("redis-ver"))) {
        take_text(res->redis_ver, sizeof res->redis_ver, value);
    } else if (!number) {
        /* All others that we know are numbers. */
    } else if (slice_eq(name, SLICE_LIT("ctime"))) {
        res->ctime_s = v;
    } else if (slice_eq(name, SLICE_LIT("used-mem"))) {
        res->used_mem = v;
    } else if (slice_eq(name, SLICE_LIT("aof-base")) || slice_eq(name, SLICE_LIT("aof-preamble"))) {
        res->aof_base = v != 0;
    } else if (slice_eq(name, SLICE_LIT("repl-offset"))) {
        res->repl_offset = v;
    } else if (slice_eq(name, SLICE_LIT("repl-stream-db"))) {
        res->repl_stream_db = v >= 0 && v <= INT32_MAX ? (int)v : -1;
    }
    if (l->o->aux != NULL)
        l->o->aux(l->o->aux_arg, name, value);
    return 0;
}

static int load_function(struct load *l, const struct rdb_record *rec) {
    const char *why = NULL;
    if (l->o->function == NULL) {
        if (l->o->skip_functions)
            return 0;
        return rdb_reader_fail_at(l->r, rec->offset, RDB_ERR_UNSUPPORTED, "function libraries are not supported");
    }
    if (l->o->function(l->o->function_arg, rec->value, &why) != 0)
        return rdb_reader_fail_at(l->r, rec->offset, RDB_ERR_FORMAT, "a function library cannot be loaded: %s",
                                  why != NULL ? why : "it was refused");
    l->result->functions++;
    return 0;
}

static int take_notes(struct load *l, const struct rdb_value_codec *codec, const struct rdb_record *rec,
                      struct value *inout_value) {
    const char *why = "it is of no type that notes are for";
    if (codec->take_notes != NULL)
        why = codec->take_notes(keyspace_rules(l->ks), buf_slice(&l->notes), inout_value);
    buf_clear(&l->notes);
    if (why == NULL)
        return 0;
    value_free(*inout_value);
    return rdb_reader_fail_at(l->r, rec->offset, RDB_ERR_FORMAT, "the notes for a key do not match it: %s", why);
}

static void forget_field(void *arg, struct slice field) {
    (void)arg;
    (void)field;
}

/* Drops due fields where due keys are dropped. True when none is left. */
static bool fields_expired(const struct load *l, const struct value *v) {
    if (!l->o->skip_expired || v->type != VALUE_HASH)
        return false;
    struct collection h = {.encoding = v->encoding, .object = v->u.object};
    if (hash_is_over(&h, l->o->now_ms))
        return true;
    hash_remove_due(&h, l->o->now_ms, SIZE_MAX, forget_field, NULL);
    return false;
}

static int load_key(struct load *l, const struct rdb_record *rec) {
    struct pending p = {.key = rec->key,
                        .deadline_ms = rec->deadline_ms,
                        .idle_s = rec->idle_s,
                        .freq = rec->freq,
                        .offset = rec->offset};
    const struct rdb_value_codec *codec = rdb_codec_for_rdb_type(rec->type);
    if (codec == NULL)
        return rdb_reader_fail_at(l->r, rec->offset, RDB_ERR_UNSUPPORTED,
                                  "cannot load a key: value type %u (%s) is not supported", rdb_type_number(rec->type),
                                  rdb_type_name(rec->type));
    const struct rdb_load_context with = {.rules = keyspace_rules(l->ks), .deep = l->o->deep, .now_ms = l->o->now_ms};
    int got = codec->load(l->r, rec->type, &with, &p.value);
    if (got < 0)
        return -1;
    if (got > 0) {
        buf_clear(&l->notes);
        l->result->keys_empty++;
        return 0;
    }
    if (l->notes.len != 0 && take_notes(l, codec, rec, &p.value) != 0)
        return -1;
    if (is_expired(l, p.deadline_ms) || fields_expired(l, &p.value)) {
        value_free(p.value);
        l->result->keys_expired++;
        return 0;
    }
    const struct keyref ref = keyspace_key(l->ks, p.key);
    return add(l, &p, &ref);
}

/* What a file announces is believed as far as the rest of it could hold; of a compressed one, as far as is usual. */
static void expect(struct load *l, const struct rdb_record *rec) {
    uint64_t left = l->r->codec == NULL ? rdb_reader_left(l->r) : l->r->sized ? l->r->source_left : UINT64_MAX;
    uint64_t most = left / KEY_BYTES_MIN;
    if (left == UINT64_MAX)
        most = EXPECT_UNKNOWN_MAX;
    else if (l->r->codec != NULL)
        most = most * USUAL_COMPRESSION + EXPECT_FEW;
    uint64_t keys = rec->n[0] < most ? rec->n[0] : most;
    uint64_t deadlines = rec->n[1] < keys ? rec->n[1] : keys;
    keyspace_expect(l->ks, l->db, (size_t)keys, (size_t)deadlines);
}

/* 0: go on; 1: the snapshot ends here; -1: a fault. */
static int load_record(struct load *l) {
    struct rdb_record rec;
    if (rdb_stream_next(l->r, &l->stream, &rec) != 0)
        return -1;
    if (l->notes.len != 0 && rec.kind != RDB_RECORD_KEY && rec.kind != RDB_OP_AUX)
        return rdb_reader_fail_at(l->r, rec.offset, RDB_ERR_FORMAT, "there are notes for a key, but no key follows");
    switch (rec.kind) {
    case RDB_RECORD_KEY:
        return load_key(l, &rec);
    case RDB_OP_AUX:
        return take_aux(l, rec.name, rec.value);
    case RDB_OP_SELECTDB:
        if (rec.n[0] >= keyspace_databases(l->ks))
            return rdb_reader_fail_at(l->r, rec.offset, RDB_ERR_FORMAT,
                                      "database %" PRIu64 " is selected, but only %u are configured", rec.n[0],
                                      keyspace_databases(l->ks));
        l->db = (unsigned)rec.n[0];
        return 0;
    case RDB_OP_RESIZEDB:
        expect(l, &rec);
        return 0;
    case RDB_OP_FUNCTION:
        return load_function(l, &rec);
    case RDB_OP_EOF:
        return 1;
    default:
        return 0;
    }
}

static int load_records(struct load *l) {
    for (;;) {
        while (l->batched < BATCH && l->notes.len == 0 && fast_record(l))
            ;
        bool full = l->batched == BATCH;
        if (add_batch(l) != 0 || yield(l) != 0)
            return -1;
        if (full)
            continue;
        int got = load_record(l);
        if (got != 0)
            return got > 0 ? 0 : -1;
    }
}

int rdb_load(struct rdb_reader *r, struct keyspace *ks, const struct rdb_load_options *o,
             struct rdb_load_result *ret_result, struct rdb_error *ret_error) {
    *ret_result = (struct rdb_load_result){.codec = r->codec_kind, .repl_offset = -1, .repl_stream_db = -1};
    struct load *l = mem_alloc(sizeof *l);
    l->r = r;
    l->ks = ks;
    l->o = o;
    l->result = ret_result;
    l->db = 0;
    l->yielded = 0;
    buf_init(&l->notes);
    l->batched = 0;
    l->arena_used = 0;
    int err = rdb_stream_begin(r, o->checksum, &l->stream);
    if (err == 0)
        err = load_records(l);
    ret_result->version = l->stream.version;
    ret_result->valkey = l->stream.valkey;
    ret_result->module_aux = l->stream.module_aux;
    ret_result->chunks_checked = l->stream.chunks_checked;
    ret_result->checksum_checked = l->stream.checksum_checked;
    ret_result->bytes = rdb_reader_offset(r);
    if (err == 0 && !o->trailing && !rdb_reader_is_drained(r))
        err = rdb_reader_fail(r, RDB_ERR_FORMAT, "there are bytes behind the end of the snapshot");
    buf_deinit(&l->notes);
    mem_free(l);
    *ret_error = r->error;
    return err;
}

int rdb_load_file(const struct fs *fs, const char *path, struct keyspace *ks, const struct rdb_load_options *o,
                  struct rdb_load_result *ret_result, struct rdb_error *ret_error) {
    struct rdb_reader r;
    *ret_result = (struct rdb_load_result){.repl_offset = -1, .repl_stream_db = -1};
    *ret_error = RDB_ERROR_INIT;
    int fd = fs->open(fs->ctx, path, O_RDONLY, 0);
    if (fd < 0) {
        ret_error->code = RDB_ERR_IO;
        ret_error->sys_errno = -fd;
        snprintf(ret_error->text, sizeof ret_error->text, "cannot open %.300s: %s", path, strerror(-fd));
        return -1;
    }
    int err = rdb_reader_init_fd(&r, fs, fd);
    if (err == 0)
        err = rdb_load(&r, ks, o, ret_result, ret_error);
    else
        *ret_error = r.error;
    rdb_reader_deinit(&r);
    fs->close(fs->ctx, fd);
    return err;
}
