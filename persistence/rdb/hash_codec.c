/* Hashes. Written as a listpack (16) or field by field (4), with deadlines as 25 and 24 from version 12 on. At older
 * versions a hash with deadlines is written as one without them, and the deadlines stand before it in notes: aux
 * records, which everybody else skips.
 *
 *   4     count, (field, value)…
 *   9     a zipmap        13  a ziplist        16  a listpack: of field, value, …
 *   22    in REDIS files (pre-release): count, (deadline or 0, field, value)…
 *         in VALKEY files: count, (field, value, deadline in 8 bytes or -1)…
 *   23    pre-release: a listpack of field, value, deadline or 0, …
 *   24    earliest deadline in 8 bytes, count, (0 or 1 + deadline - earliest, field, value)…
 *   25    earliest deadline in 8 bytes, and 23
 *   note  (deadline in 8 bytes, length of the field in 4 bytes, field)…, about NOTE_BYTES in one
 */
#include "config.h"

#include "persistence/rdb/codec.h"

#include <string.h>

#include "persistence/rdb/walk.h"
#include "server/base/assert.h"
#include "server/base/endian.h"
#include "server/base/num.h"
#include "server/ds/packed_legacy.h"
#include "server/store/hash.h"

#define VERSION_DEADLINES 12
#define NOTE_BYTES 65536
#define NOTE_HEADER_BYTES 12
/* Fields for which a table makes room before their bytes have come. */
#define EXPECT_MAX (1u << 22)

static struct collection hash_of(const struct entry *e) {
    return collection_of(NULL, e);
}

static bool has_deadlines(const struct collection *h) {
    return hash_next_deadline_ms(h) != FIELD_NO_DEADLINE;
}

static unsigned hash_min_version(const struct entry *e) {
    struct collection h = hash_of(e);
    return has_deadlines(&h) ? VERSION_DEADLINES : RDB_VERSION_MIN;
}

static uint8_t hash_wire_type(const struct entry *e, unsigned version) {
    struct collection h = hash_of(e);
    bool timed = version >= VERSION_DEADLINES && has_deadlines(&h);
    if (h.encoding == VALUE_ENC_HASHTABLE)
        return timed ? RDB_TYPE_HASH_METADATA : RDB_TYPE_HASH;
    return timed ? RDB_TYPE_HASH_LISTPACK_EX : RDB_TYPE_HASH_LISTPACK;
}

/* ---- saving ---- */

static void write_item(struct rdb_writer *w, const struct packed_item *item, bool compress) {
    if (item->is_int)
        rdb_write_string_i64(w, item->i);
    else
        rdb_write_string(w, item->s, compress);
}

struct save_walk {
    struct rdb_writer *w;
    bool compress, timed;
    int64_t earliest_ms;
    struct listpack *pairs;
    struct buf note;
};

static int save_field(void *arg, const struct packed_item *field, const struct packed_item *value,
                      int64_t deadline_ms) {
    const struct save_walk *k = arg;
    if (k->timed)
        rdb_write_len(k->w, deadline_ms == FIELD_NO_DEADLINE ? 0 : (uint64_t)(deadline_ms - k->earliest_ms) + 1);
    write_item(k->w, field, k->compress);
    write_item(k->w, value, k->compress);
    return k->w->error;
}

static int add_pair(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms) {
    struct save_walk *k = arg;
    (void)deadline_ms;
    const struct packed_item pair[2] = {*field, *value};
    int failed = listpack_append_all(&k->pairs, pair, 2);
    HF_ASSERT(failed == 0); /* there were three where there are two now */
    return 0;
}

static void hash_save(struct rdb_writer *w, const struct entry *e, unsigned version, bool compress) {
    struct collection h = hash_of(e);
    struct save_walk k = {.w = w,
                          .compress = compress,
                          .timed = version >= VERSION_DEADLINES && has_deadlines(&h),
                          .earliest_ms = hash_next_deadline_ms(&h)};
    if (k.timed)
        rdb_write_u64(w, (uint64_t)k.earliest_ms);
    if (h.encoding == VALUE_ENC_HASHTABLE) {
        rdb_write_len(w, hash_count(&h));
        hash_each(&h, save_field, &k);
    } else if (h.encoding == VALUE_ENC_LISTPACK || k.timed) {
        rdb_write_blob(w, listpack_slice(hash_listpack(&h)), compress);
    } else {
        k.pairs = listpack_create(listpack_bytes(hash_listpack(&h)));
        hash_each(&h, add_pair, &k);
        rdb_write_blob(w, listpack_slice(k.pairs), compress);
        listpack_destroy(k.pairs);
    }
}

/* ---- notes ---- */

static void flush_note(struct save_walk *k) {
    if (k->note.len != 0)
        rdb_write_aux(k->w, RDB_NOTE_NAME, buf_slice(&k->note));
    buf_clear(&k->note);
}

static int note_field(void *arg, const struct packed_item *field, const struct packed_item *value,
                      int64_t deadline_ms) {
    struct save_walk *k = arg;
    char digits[NUM_I64_CHARS];
    unsigned char head[NOTE_HEADER_BYTES];
    (void)value;
    if (deadline_ms == FIELD_NO_DEADLINE)
        return 0;
    struct slice name = packed_text(field, digits);
    HF_ASSERT(name.n <= UINT32_MAX);
    store_le64(head, (uint64_t)deadline_ms);
    store_le32(head + 8, (uint32_t)name.n);
    buf_append(&k->note, head, sizeof head);
    buf_append_slice(&k->note, name);
    if (k->note.len >= NOTE_BYTES)
        flush_note(k);
    return k->w->error;
}

static void hash_annotate(struct rdb_writer *w, const struct entry *e) {
    struct collection h = hash_of(e);
    struct save_walk k = {.w = w, .note = BUF_INIT};
    hash_each(&h, note_field, &k);
    flush_note(&k);
    buf_deinit(&k.note);
}

static const char *hash_take_notes(const struct collection_rules *rules, struct slice notes,
                                   struct value *inout_value) {
    struct collection h = {.rules = rules, .encoding = inout_value->encoding, .object = inout_value->u.object};
    const char *why = NULL;
    while (notes.n != 0 && why == NULL) {
        if (notes.n < NOTE_HEADER_BYTES || notes.n - NOTE_HEADER_BYTES < load_le32(notes.p + 8)) {
            why = "the deadlines noted for a hash end in the middle";
            break;
        }
        size_t n = load_le32(notes.p + 8);
        uint64_t deadline = load_le64(notes.p);
        if (deadline > INT64_MAX)
            why = "a deadline noted for a hash is out of range";
        else if (!hash_set_deadline(&h, slice_of(notes.p + NOTE_HEADER_BYTES, n), (int64_t)deadline))
            why = "a deadline is noted for a field that the hash does not have";
        notes = slice_of(notes.p + NOTE_HEADER_BYTES + n, notes.n - NOTE_HEADER_BYTES - n);
    }
    *inout_value = collection_value(VALUE_HASH, &h);
    return why;
}

/* ---- loading: packed ---- */

/* Elements of a packed payload on their way into a hash, or just looked at. */
struct packed_load {
    struct collection *into; /* NULL: deadlines are verified only */
    unsigned period, at;
    struct packed_item field;
    bool twice;
};

static const char *take_packed(void *arg, const struct packed_item *item) {
    struct packed_load *k = arg;
    unsigned at = k->at;
    k->at = (at + 1) % k->period;
    if (at == 2 && (!item->is_int || item->i < 0))
        return "a field's deadline is no time";
    if (k->into == NULL)
        return NULL;
    if (at == 0) {
        k->field = *item;
        return NULL;
    }
    char field_digits[NUM_I64_CHARS], value_digits[NUM_I64_CHARS];
    struct slice field = packed_text(&k->field, field_digits);
    struct slice value = packed_text(item, value_digits);
    return hash_put(k->into, field, value) ? NULL : "a packed payload holds a name twice";
}

/* Ziplists and zipmaps are made anew. */
static const char *load_legacy(unsigned type, const struct collection_rules *rules, struct slice blob,
                               struct collection *ret_h) {
    uint64_t count;
    struct collection h = hash_create(rules);
    struct packed_load k = {.into = &h, .period = 2};
    const char *why = type == RDB_TYPE_HASH_ZIPMAP ? zipmap_validate(blob, take_packed, &k, &count)
                                                   : ziplist_validate(blob, take_packed, &k, &count);
    if (why == NULL && k.at != 0)
        why = "a packed payload ends in the middle of an element";
    if (why != NULL)
        value_free(collection_value(VALUE_HASH, &h));
    else
        *ret_h = h;
    return why;
}

/* Listpacks are taken as they are. Their structure is always verified, for nothing here may read outside them; whether
 * a name is there twice only where it was asked for. */
static const char *load_listpack(unsigned type, const struct rdb_load_context *with, struct slice blob,
                                 struct collection *ret_h) {
    uint64_t count, elements;
    bool triples = type != RDB_TYPE_HASH_LISTPACK;
    struct packed_load k = {.period = triples ? 3 : 2};
    const char *why = listpack_validate(blob, true, triples ? take_packed : NULL, &k, &count);
    if (why == NULL && count % k.period != 0)
        why = "a packed payload ends in the middle of an element";
    if (why == NULL && with->deep)
        why = rdb_check_packed(type, blob, &elements);
    if (why != NULL)
        return why;
    struct listpack *lp = listpack_try_load(blob);
    if (lp == NULL)
        return "no memory for a listpack";
    *ret_h = triples ? hash_from_triples_take(with->rules, lp) : hash_from_listpack_take(with->rules, lp);
    return NULL;
}

static int load_packed(struct rdb_reader *r, unsigned type, const struct rdb_load_context *with,
                       struct collection *ret_h) {
    uint64_t earliest;
    char digits[24];
    struct slice blob;
    if (type == RDB_TYPE_HASH_LISTPACK_EX && rdb_read_u64(r, &earliest) != 0)
        return -1;
    uint64_t at = rdb_reader_offset(r);
    if (rdb_read_bytes(r, digits, &blob) != 0)
        return -1;
    const char *why = type == RDB_TYPE_HASH_ZIPMAP || type == RDB_TYPE_HASH_ZIPLIST
                          ? load_legacy(type, with->rules, blob, ret_h)
                          : load_listpack(type, with, blob, ret_h);
    return why != NULL ? rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "%s", why) : 0;
}

/* ---- loading: field by field ---- */

struct plain_load {
    struct rdb_reader *r;
    unsigned type;
    uint64_t earliest;
    struct buf field, value; /* copies: what the reader gives lasts until it is called again */
};

static int read_copy(struct rdb_reader *r, struct buf *into) {
    char digits[24];
    struct slice s;
    if (rdb_read_bytes(r, digits, &s) != 0)
        return -1;
    buf_clear(into);
    if (buf_try_reserve(into, s.n + 1) != 0)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "no memory for a field");
    buf_append_slice(into, s);
    return 0;
}

/* A deadline as types 22 and 24 state it. */
static int read_deadline(struct plain_load *k, int64_t *ret_ms) {
    uint64_t v;
    if (rdb_read_len(k->r, &v) != 0)
        return -1;
    if (v == 0) {
        *ret_ms = FIELD_NO_DEADLINE;
        return 0;
    }
    if (k->type == RDB_TYPE_HASH_METADATA && __builtin_add_overflow(v - 1, k->earliest, &v))
        v = UINT64_MAX;
    if (v > INT64_MAX)
        return rdb_reader_fail(k->r, RDB_ERR_FORMAT, "a field's deadline is out of range");
    *ret_ms = (int64_t)v;
    return 0;
}

static int load_field(struct plain_load *k, struct collection *h) {
    char digits[24];
    struct slice value;
    int64_t deadline_ms = FIELD_NO_DEADLINE;
    if (k->type == RDB_TYPE_HASH_METADATA || k->type == RDB_TYPE_HASH_METADATA_PRE_GA)
        if (read_deadline(k, &deadline_ms) != 0)
            return -1;
    if (read_copy(k->r, &k->field) != 0)
        return -1;
    if (k->type == RDB_TYPE_HASH_2) {
        uint64_t v;
        if (read_copy(k->r, &k->value) != 0 || rdb_read_u64(k->r, &v) != 0)
            return -1;
        value = buf_slice(&k->value);
        deadline_ms = (int64_t)v >= -1 ? (int64_t)v : 0;
    } else if (rdb_read_bytes(k->r, digits, &value) != 0) {
        return -1;
    }
    if (!hash_put_until(h, buf_slice(&k->field), value, deadline_ms))
        return rdb_reader_fail(k->r, RDB_ERR_FORMAT, "a hash holds a field twice");
    return 0;
}

static int load_plain(struct rdb_reader *r, unsigned type, const struct rdb_load_context *with,
                      struct collection *ret_h) {
    struct plain_load k = {.r = r, .type = type, .field = BUF_INIT, .value = BUF_INIT};
    uint64_t count;
    if (type == RDB_TYPE_HASH_METADATA && rdb_read_u64(r, &k.earliest) != 0)
        return -1;
    if (rdb_read_count(r, type == RDB_TYPE_HASH_2 ? 10 : type == RDB_TYPE_HASH ? 2 : 3, &count) != 0)
        return -1;
    struct collection h = hash_create(with->rules);
    if (count > (uint64_t)with->rules->limits.hash_max_listpack_entries)
        hash_expect(&h, count < EXPECT_MAX ? (size_t)count : EXPECT_MAX);
    int err = 0;
    for (uint64_t i = 0; i < count && err == 0; i++)
        err = load_field(&k, &h);
    buf_deinit(&k.field);
    buf_deinit(&k.value);
    if (err != 0)
        value_free(collection_value(VALUE_HASH, &h));
    else
        *ret_h = h;
    return err;
}

static int hash_load(struct rdb_reader *r, unsigned rdb_type, const struct rdb_load_context *with,
                     struct value *ret_value) {
    struct collection h;
    bool plain = rdb_type == RDB_TYPE_HASH || rdb_type == RDB_TYPE_HASH_METADATA ||
                 rdb_type == RDB_TYPE_HASH_METADATA_PRE_GA || rdb_type == RDB_TYPE_HASH_2;
    if ((plain ? load_plain(r, rdb_type, with, &h) : load_packed(r, rdb_type, with, &h)) != 0)
        return -1;
    *ret_value = collection_value(VALUE_HASH, &h);
    if (hash_count(&h) != 0)
        return 0;
    value_free(*ret_value);
    return 1;
}

#define BIT(type) (UINT64_C(1) << (type))
const struct rdb_value_codec rdb_hash_codec = {
    .type = VALUE_HASH,
    .loads = BIT(RDB_TYPE_HASH) | BIT(RDB_TYPE_HASH_ZIPMAP) | BIT(RDB_TYPE_HASH_ZIPLIST) | BIT(RDB_TYPE_HASH_LISTPACK) |
             BIT(RDB_TYPE_HASH_METADATA_PRE_GA) | BIT(RDB_TYPE_HASH_LISTPACK_EX_PRE_GA) | BIT(RDB_TYPE_HASH_METADATA) |
             BIT(RDB_TYPE_HASH_LISTPACK_EX) | BIT(63), /* 63: RDB_TYPE_HASH_2 */
    .min_version = hash_min_version,
    .wire_type = hash_wire_type,
    .save = hash_save,
    .load = hash_load,
    .annotate = hash_annotate,
    .take_notes = hash_take_notes,
};
