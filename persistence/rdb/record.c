#include "config.h"

#include "persistence/rdb/record.h"

#include <inttypes.h>
#include <stdio.h>

#include "persistence/rdb/codec.h"
#include "server/base/endian.h"

#define VERSION_READ_MAX 12
#define VERSION_VALKEY 80
#define VERSION_TRAILER 5 /* the first with a checksum at the end */

enum module_opcode { MODULE_EOF = 0, MODULE_SINT, MODULE_UINT, MODULE_FLOAT, MODULE_DOUBLE, MODULE_STRING };

static int parse_hex16(const char *p, uint64_t *ret_v) {
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) {
        unsigned c = (unsigned char)p[i];
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (c - 'a' + 10);
        else
            return -1;
    }
    *ret_v = v;
    return 0;
}

int rdb_mark_parse(struct slice value, uint64_t *ret_offset, uint64_t *ret_crc) {
    if (value.n != RDB_MARK_VALUE_CHARS || value.p[16] != ':')
        return -1;
    return parse_hex16(value.p, ret_offset) == 0 ? parse_hex16(value.p + 17, ret_crc) : -1;
}

int rdb_stream_begin(struct rdb_reader *r, bool verify, struct rdb_stream *ret_s) {
    *ret_s = (struct rdb_stream){.verify = verify};
    r->checksum = verify;
    if (rdb_reader_fill(r, RDB_HEADER_BYTES) != 0)
        return -1;
    uint64_t at = rdb_reader_offset(r);
    const char *p = (const char *)r->window + r->pos;
    size_t digits_at = 5;
    r->pos += RDB_HEADER_BYTES;
    if (memcmp(p, "VALKEY", 6) == 0) {
        ret_s->valkey = true;
        digits_at = 6;
    } else if (memcmp(p, "REDIS", 5) != 0) {
        return rdb_reader_fail_at(r, at, RDB_ERR_FORMAT,
                                  "this is no snapshot: it begins with neither REDIS nor VALKEY");
    }
    for (size_t i = digits_at; i < RDB_HEADER_BYTES; i++) {
        if (p[i] < '0' || p[i] > '9')
            return rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "the version of the snapshot is not a number");
        ret_s->version = ret_s->version * 10 + (unsigned)(p[i] - '0');
    }
    bool known =
        ret_s->valkey ? ret_s->version == VERSION_VALKEY : ret_s->version >= 1 && ret_s->version <= VERSION_READ_MAX;
    if (!known)
        return rdb_reader_fail_at(r, at, RDB_ERR_UNSUPPORTED, "snapshots of version %u%s are not supported",
                                  ret_s->version, ret_s->valkey ? " (Valkey)" : "");
    return 0;
}

static void keep(struct buf *b, struct slice s) {
    buf_clear(b);
    buf_reserve(b, s.n + 1); /* an empty key has an address too */
    buf_append_slice(b, s);
}

void rdb_stream_note_key(struct rdb_reader *r, struct slice key) {
    keep(&r->key, key);
    r->has_key = true;
    if (!r->has_first_key) {
        keep(&r->first_key, key);
        r->has_first_key = true;
    }
}

static int check_mark(struct rdb_reader *r, struct rdb_stream *s, const struct rdb_record *rec, uint64_t crc) {
    uint64_t offset, stated;
    if (!s->verify)
        return 0;
    if (rdb_mark_parse(rec->value, &offset, &stated) != 0 || offset != rec->offset)
        return rdb_reader_fail(r, RDB_ERR_CHECKSUM, "a chunk checksum is unreadable or stands in the wrong place");
    if (stated != crc)
        return rdb_reader_fail(r, RDB_ERR_CHECKSUM,
                               "a chunk checksum does not match (stated %016" PRIx64 ", found %016" PRIx64 ")", stated,
                               crc);
    s->chunks_checked++;
    rdb_reader_verified(r);
    return 0;
}

/* 0, 1 where it was a mark (there is nothing to show), or -1. */
static int next_aux(struct rdb_reader *r, struct rdb_stream *s, struct rdb_record *rec) {
    char digits[24];
    struct slice name;
    r->pos--;
    uint64_t crc = s->verify ? rdb_reader_crc(r) : 0;
    r->pos++;
    if (rdb_read_bytes(r, digits, &name) != 0)
        return -1;
    /* The name is kept apart from the buffer of keys, which messages look at. */
    keep(&r->aux, name);
    size_t name_len = name.n;
    struct slice value;
    if (rdb_read_bytes(r, digits, &value) != 0)
        return -1;
    buf_append_slice(&r->aux, value);
    rec->name = slice_of(r->aux.data, name_len);
    rec->value = slice_of(r->aux.data + name_len, r->aux.len - name_len);
    if (!slice_eq(rec->name, SLICE_LIT(RDB_MARK_NAME)))
        return 0;
    return check_mark(r, s, rec, crc) != 0 ? -1 : 1;
}

static int next_trailer(struct rdb_reader *r, struct rdb_stream *s) {
    uint64_t crc, stated;
    if (s->version < VERSION_TRAILER)
        return 0;
    crc = s->verify ? rdb_reader_crc(r) : 0;
    uint64_t at = rdb_reader_offset(r);
    if (rdb_read_u64(r, &stated) != 0)
        return -1;
    if (!s->verify || stated == 0)
        return 0;
    if (stated != crc)
        return rdb_reader_fail_at(
            r, at, RDB_ERR_CHECKSUM,
            "the checksum of the snapshot does not match (stated %016" PRIx64 ", found %016" PRIx64 ")", stated, crc);
    s->checksum_checked = true;
    return 0;
}

int rdb_skip_module(struct rdb_reader *r, bool deep) {
    uint64_t id, op, v;
    if (rdb_read_len(r, &id) != 0)
        return -1;
    for (;;) {
        int err;
        if (rdb_read_len(r, &op) != 0)
            return -1;
        switch (op) {
        case MODULE_EOF:
            return 0;
        case MODULE_SINT:
        case MODULE_UINT:
            err = rdb_read_len(r, &v);
            break;
        case MODULE_FLOAT:
            err = rdb_skip(r, 4);
            break;
        case MODULE_DOUBLE:
            err = rdb_skip(r, 8);
            break;
        case MODULE_STRING:
            err = rdb_skip_string(r, deep, NULL);
            break;
        default:
            return rdb_reader_fail(r, RDB_ERR_FORMAT, "%" PRIu64 " is no opcode of a module's value", op);
        }
        if (err != 0)
            return -1;
    }
}

/* Slots that were being imported when the snapshot was made: a name and ranges. */
static int skip_slot_import(struct rdb_reader *r) {
    uint64_t ranges, v;
    if (rdb_skip_string(r, false, NULL) != 0 || rdb_read_count(r, 2, &ranges) != 0)
        return -1;
    for (uint64_t i = 0; i < 2 * ranges; i++)
        if (rdb_read_len(r, &v) != 0)
            return -1;
    return 0;
}

static int read_lens(struct rdb_reader *r, uint64_t *ret_n, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (rdb_read_len(r, &ret_n[i]) != 0)
            return -1;
    return 0;
}

static int next_key(struct rdb_reader *r, const struct rdb_stream *s, unsigned type, struct rdb_record *rec) {
    char digits[24];
    if (rdb_type_name(type) == NULL)
        return rdb_reader_fail_at(r, rdb_reader_offset(r) - 1, RDB_ERR_FORMAT, "%u is no record of a snapshot", type);
    rec->kind = RDB_RECORD_KEY;
    rec->type = s->valkey && type == 22 ? RDB_TYPE_HASH_2 : type;
    if (rdb_read_bytes(r, digits, &rec->key) != 0)
        return -1;
    rdb_stream_note_key(r, rec->key);
    rec->key = buf_slice(&r->key);
    return 0;
}

/* What stands before a key: 1 where op was one of those, 0 where not, -1 on a fault. */
static int next_attribute(struct rdb_reader *r, unsigned op, struct rdb_record *rec) {
    uint64_t v;
    unsigned b;
    switch (op) {
    case RDB_OP_EXPIRE_MS:
        if (rdb_read_u64(r, &v) != 0)
            return -1;
        rec->deadline_ms = rdb_deadline((int64_t)v);
        return 1;
    case RDB_OP_EXPIRE_S:
        if (rdb_reader_fill(r, 4) != 0)
            return -1;
        rec->deadline_ms = rdb_deadline((int64_t)(int32_t)load_le32(r->window + r->pos) * 1000);
        r->pos += 4;
        return 1;
    case RDB_OP_IDLE:
        if (rdb_read_len(r, &v) != 0)
            return -1;
        rec->idle_s = v > INT32_MAX ? INT32_MAX : (int64_t)v;
        return 1;
    case RDB_OP_FREQ:
        if (rdb_read_byte(r, &b) != 0)
            return -1;
        rec->freq = (int)b;
        return 1;
    default:
        return 0;
    }
}

int rdb_stream_next(struct rdb_reader *r, struct rdb_stream *s, struct rdb_record *rec) {
    char digits[24];
    unsigned op;
    int got;
    *rec = (struct rdb_record){.offset = rdb_reader_offset(r), .deadline_ms = -1, .idle_s = -1, .freq = -1};
    r->has_key = false;
    for (;;) {
        if (rdb_read_byte(r, &op) != 0)
            return -1;
        if (op < RDB_OP_SLOT_IMPORT)
            return next_key(r, s, op, rec);
        got = next_attribute(r, op, rec);
        if (got < 0)
            return -1;
        if (got > 0)
            continue;
        rec->kind = (enum rdb_opcode)op;
        switch (rec->kind) {
        case RDB_OP_AUX:
            rec->offset = rdb_reader_offset(r) - 1;
            got = next_aux(r, s, rec);
            if (got <= 0)
                return got;
            rec->offset = rdb_reader_offset(r);
            continue;
        case RDB_OP_SELECTDB:
            return read_lens(r, rec->n, 1);
        case RDB_OP_RESIZEDB:
            return read_lens(r, rec->n, 2);
        case RDB_OP_SLOT_INFO:
            return read_lens(r, rec->n, 3);
        case RDB_OP_FUNCTION:
            return rdb_read_bytes(r, digits, &rec->value) != 0 ? -1
                   : rec->value.p == digits ? rdb_reader_fail(r, RDB_ERR_FORMAT, "a function library is a number")
                                            : 0;
        case RDB_OP_FUNCTION_PRE_GA:
            return rdb_reader_fail(
                r, RDB_ERR_UNSUPPORTED,
                "function libraries in the form of Redis 7.0's release candidates are not supported");
        case RDB_OP_MODULE_AUX:
            if (rdb_skip_module(r, false) != 0)
                return -1;
            s->module_aux++;
            continue;
        case RDB_OP_SLOT_IMPORT:
            if (skip_slot_import(r) != 0)
                return -1;
            s->slot_imports++;
            continue;
        case RDB_OP_EOF:
            return next_trailer(r, s);
        default:
            return rdb_reader_fail(r, RDB_ERR_FORMAT, "%u is no record of a snapshot", op);
        }
    }
}
