/* Every value type of the formats, as a walk. Counts are checked against what the rest of the input can hold before
 * anything is done with them; memory goes into one string at a time and, for the search for repetitions, 8 bytes an
 * element of a packed payload. */
#include "config.h"

#include "persistence/rdb/walk.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "persistence/rdb/codec.h"
#include "persistence/rdb/record.h"
#include "server/base/buf.h"
#include "server/base/endian.h"
#include "server/base/hash.h"
#include "server/base/num.h"
#include "server/ds/intset.h"
#include "server/ds/listpack.h"
#include "server/ds/packed_legacy.h"

#define STREAM_ID_BYTES 16
#define QUICKLIST_PLAIN 1
#define QUICKLIST_PACKED 2
#define STREAM_FLAG_DELETED 1
#define STREAM_FLAG_SAME_FIELDS 2

/* ---- packed payloads ---- */

/* What the elements of a payload are: `period` elements make one; names stand first, a score or deadline where
 * number_at says. */
struct packed {
    unsigned period;
    unsigned number_at; /* index in the period of a number; = period: none */
    bool unique;        /* names do not repeat */
    uint64_t seen;
    struct buf hashes; /* uint64_t each */
};

static const char *packed_each(void *arg, const struct packed_item *it) {
    struct packed *k = arg;
    unsigned at = (unsigned)(k->seen++ % k->period);
    if (at == 0 && k->unique) {
        char digits[NUM_I64_CHARS];
        uint64_t h = it->is_int ? hash_xxh3(digits, num_format_i64(digits, it->i)) : hash_xxh3(it->s.p, it->s.n);
        if (buf_try_reserve(&k->hashes, sizeof h) != 0)
            return "no memory to look for repetitions";
        memcpy(k->hashes.data + k->hashes.len, &h, sizeof h);
        k->hashes.len += sizeof h;
    }
    if (at == k->number_at && !it->is_int) {
        double d;
        if (num_parse_double(it->s, &d) != 0 || isnan(d))
            return "a number is expected where something else stands";
    }
    return NULL;
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Two different names of equal 64-bit hash would be taken for a repetition; that takes an attacker who only harms his
 * own payload. */
static bool has_repetition(struct buf *hashes) {
    size_t n = hashes->len / sizeof(uint64_t);
    if (n < 2)
        return false;
    qsort(hashes->data, n, sizeof(uint64_t), compare_u64);
    for (size_t i = 1; i < n; i++)
        if (memcmp(hashes->data + (i - 1) * sizeof(uint64_t), hashes->data + i * sizeof(uint64_t), sizeof(uint64_t)) ==
            0)
            return true;
    return false;
}

/* ---- the inside of a stream's listpack ---- */

/* Master entry: valid count, deleted count, number of fields, the fields, 0. Entry: flags, two deltas, [number of
 * fields, then pairs | values], count of elements before this one in the entry. */
enum lp_stream_state {
    LPS_VALID,
    LPS_DELETED,
    LPS_FIELDS,
    LPS_FIELD,
    LPS_ZERO,
    LPS_FLAGS,
    LPS_MS,
    LPS_SEQ,
    LPS_COUNT,
    LPS_ITEM,
    LPS_BACK
};

struct lp_stream {
    enum lp_stream_state state;
    int64_t valid, deleted, fields;
    int64_t flags, left, taken;
    int64_t found_valid, found_deleted;
};

static const char *lps_each(void *arg, const struct packed_item *it) {
    static const char *const bad = "a stream's listpack has another inner structure than it states";
    struct lp_stream *s = arg;
    bool any = s->state == LPS_FIELD || s->state == LPS_ITEM;
    if (!any && !it->is_int)
        return bad;
    s->taken++;
    switch (s->state) {
    case LPS_VALID:
        s->valid = it->i;
        s->state = LPS_DELETED;
        break;
    case LPS_DELETED:
        s->deleted = it->i;
        s->state = LPS_FIELDS;
        break;
    case LPS_FIELDS:
        s->fields = s->left = it->i;
        if (it->i < 0 || it->i > INT32_MAX)
            return bad;
        s->state = it->i == 0 ? LPS_ZERO : LPS_FIELD;
        break;
    case LPS_FIELD:
        s->state = --s->left == 0 ? LPS_ZERO : LPS_FIELD;
        break;
    case LPS_ZERO:
        if (it->i != 0)
            return bad;
        s->state = LPS_FLAGS;
        s->taken = 0;
        break;
    case LPS_FLAGS:
        s->flags = it->i;
        s->state = LPS_MS;
        break;
    case LPS_MS:
        s->state = LPS_SEQ;
        break;
    case LPS_SEQ:
        s->left = s->fields;
        s->state = (s->flags & STREAM_FLAG_SAME_FIELDS) == 0 ? LPS_COUNT : s->left == 0 ? LPS_BACK : LPS_ITEM;
        break;
    case LPS_COUNT:
        if (it->i < 0 || it->i > INT32_MAX)
            return bad;
        s->left = 2 * it->i;
        s->state = s->left == 0 ? LPS_BACK : LPS_ITEM;
        break;
    case LPS_ITEM:
        s->state = --s->left == 0 ? LPS_BACK : LPS_ITEM;
        break;
    case LPS_BACK:
        if (it->i != s->taken - 1)
            return bad;
        if ((s->flags & STREAM_FLAG_DELETED) != 0)
            s->found_deleted++;
        else
            s->found_valid++;
        s->taken = 0;
        s->state = LPS_FLAGS;
        break;
    }
    return NULL;
}

static const char *check_stream_listpack(struct slice b, uint64_t *ret_entries) {
    struct lp_stream s = {.state = LPS_VALID};
    uint64_t count;
    const char *why = listpack_validate(b, true, lps_each, &s, &count);
    if (why != NULL)
        return why;
    if (s.state != LPS_FLAGS || s.valid != s.found_valid || s.deleted != s.found_deleted)
        return "a stream's listpack holds another number of entries than it states";
    *ret_entries = (uint64_t)s.found_valid;
    return NULL;
}

const char *rdb_check_packed(unsigned type, struct slice b, uint64_t *ret_elements) {
    struct packed k = {.period = 1, .number_at = 1};
    const char *why;
    uint64_t count = 0;
    switch (type) {
    case RDB_TYPE_STREAM_LISTPACKS:
    case RDB_TYPE_STREAM_LISTPACKS_2:
    case RDB_TYPE_STREAM_LISTPACKS_3:
        return check_stream_listpack(b, ret_elements);
    case RDB_TYPE_SET_INTSET:
        return intset_validate(b, true, NULL, NULL, ret_elements);
    case RDB_TYPE_LIST_ZIPLIST:
    case RDB_TYPE_LIST_QUICKLIST:
        return ziplist_validate(b, NULL, NULL, ret_elements);
    case RDB_TYPE_LIST_QUICKLIST_2:
        return listpack_validate(b, true, NULL, NULL, ret_elements);
    case RDB_TYPE_SET_LISTPACK:
        k.unique = true;
        break;
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_ZSET_LISTPACK:
        k = (struct packed){.period = 2, .number_at = 1, .unique = true};
        break;
    case RDB_TYPE_HASH_LISTPACK_EX:
    case RDB_TYPE_HASH_LISTPACK_EX_PRE_GA:
        k = (struct packed){.period = 3, .number_at = 2, .unique = true};
        break;
    default:
        k = (struct packed){.period = 2, .number_at = 2, .unique = true};
        break;
    }
    if (type == RDB_TYPE_HASH_ZIPMAP)
        why = zipmap_validate(b, packed_each, &k, &count);
    else if (type == RDB_TYPE_HASH_ZIPLIST || type == RDB_TYPE_ZSET_ZIPLIST)
        why = ziplist_validate(b, packed_each, &k, &count);
    else
        why = listpack_validate(b, true, packed_each, &k, &count);
    if (why == NULL && count % k.period != 0)
        why = "a packed payload ends in the middle of an element";
    if (why == NULL && has_repetition(&k.hashes))
        why = "a packed payload holds a name twice";
    buf_deinit(&k.hashes);
    *ret_elements = count / k.period;
    return why;
}

/* What stands at the front of every packed payload of a type, where it is not checked deeply. */
static const char *check_frame(unsigned type, struct slice b) {
    const unsigned char *p = (const unsigned char *)b.p;
    switch (type) {
    case RDB_TYPE_SET_INTSET:
        return b.n >= 8 ? NULL : "an intset is too short";
    case RDB_TYPE_HASH_ZIPMAP:
        return b.n >= 2 && p[b.n - 1] == 0xFF ? NULL : "a zipmap has no end mark";
    default: /* ziplists and listpacks begin with their length and end with the same mark */
        return b.n >= 7 && load_le32(p) == b.n && p[b.n - 1] == 0xFF ? NULL
                                                                     : "a packed payload is not as long as it states";
    }
}

static int walk_packed(struct rdb_reader *r, unsigned type, bool deep, uint64_t *inout_elements) {
    char digits[24];
    struct slice b;
    uint64_t elements = 0;
    uint64_t at = rdb_reader_offset(r);
    if (rdb_read_bytes(r, digits, &b) != 0)
        return -1;
    const char *why = deep ? rdb_check_packed(type, b, &elements) : check_frame(type, b);
    if (why != NULL)
        return rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "%s", why);
    *inout_elements += elements;
    return 0;
}

/* ---- values in pieces ---- */

static int walk_strings(struct rdb_reader *r, unsigned per_element, bool deep, uint64_t *ret_elements) {
    if (rdb_read_count(r, per_element, ret_elements) != 0)
        return -1;
    for (uint64_t i = 0; i < *ret_elements * per_element; i++)
        if (rdb_skip_string(r, deep, NULL) != 0)
            return -1;
    return 0;
}

/* A score as text: a length byte, or 253–255 for nan, +inf, -inf. */
static int walk_text_score(struct rdb_reader *r) {
    unsigned n;
    char text[256];
    double d;
    if (rdb_read_byte(r, &n) != 0)
        return -1;
    if (n > 253)
        return 0;
    if (n == 253)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a score is not a number");
    if (rdb_read(r, text, n) != 0)
        return -1;
    if (num_parse_double(slice_of(text, n), &d) != 0 || isnan(d))
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a score is not a number");
    return 0;
}

static int walk_zset(struct rdb_reader *r, bool text, bool deep, uint64_t *ret_elements) {
    if (rdb_read_count(r, text ? 2 : 9, ret_elements) != 0)
        return -1;
    for (uint64_t i = 0; i < *ret_elements; i++) {
        uint64_t bits;
        double d;
        if (rdb_skip_string(r, deep, NULL) != 0)
            return -1;
        if (text) {
            if (walk_text_score(r) != 0)
                return -1;
            continue;
        }
        if (rdb_read_u64(r, &bits) != 0)
            return -1;
        memcpy(&d, &bits, sizeof d);
        if (isnan(d))
            return rdb_reader_fail(r, RDB_ERR_FORMAT, "a score is not a number");
    }
    return 0;
}

static int walk_quicklist(struct rdb_reader *r, unsigned type, bool deep, uint64_t *ret_elements) {
    uint64_t nodes, container = QUICKLIST_PACKED;
    if (rdb_read_count(r, 1, &nodes) != 0)
        return -1;
    for (uint64_t i = 0; i < nodes; i++) {
        if (type == RDB_TYPE_LIST_QUICKLIST_2 && rdb_read_len(r, &container) != 0)
            return -1;
        if (container == QUICKLIST_PLAIN) {
            if (rdb_skip_string(r, deep, NULL) != 0)
                return -1;
            (*ret_elements)++;
        } else if (container != QUICKLIST_PACKED) {
            return rdb_reader_fail(r, RDB_ERR_FORMAT, "%" PRIu64 " is no container of a list node", container);
        } else if (walk_packed(r, type, deep, ret_elements) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Hashes with field deadlines: (deadline, field, value) in Redis, (field, value, 8 bytes of deadline) in Valkey. */
static int walk_hash_deadlines(struct rdb_reader *r, unsigned type, bool deep, uint64_t *ret_elements) {
    uint64_t v;
    if (type == RDB_TYPE_HASH_METADATA && rdb_read_u64(r, &v) != 0)
        return -1;
    if (rdb_read_count(r, type == RDB_TYPE_HASH_2 ? 10 : 3, ret_elements) != 0)
        return -1;
    for (uint64_t i = 0; i < *ret_elements; i++) {
        if (type != RDB_TYPE_HASH_2 && rdb_read_len(r, &v) != 0)
            return -1;
        if (rdb_skip_string(r, deep, NULL) != 0 || rdb_skip_string(r, deep, NULL) != 0)
            return -1;
        if (type == RDB_TYPE_HASH_2 && rdb_read_u64(r, &v) != 0)
            return -1;
    }
    return 0;
}

static int walk_lens(struct rdb_reader *r, unsigned count) {
    uint64_t v;
    for (unsigned i = 0; i < count; i++)
        if (rdb_read_len(r, &v) != 0)
            return -1;
    return 0;
}

static int walk_consumers(struct rdb_reader *r, unsigned type, bool deep) {
    uint64_t consumers, pending;
    if (rdb_read_count(r, 10, &consumers) != 0)
        return -1;
    for (uint64_t i = 0; i < consumers; i++) {
        if (rdb_skip_string(r, deep, NULL) != 0 || rdb_skip(r, type == RDB_TYPE_STREAM_LISTPACKS_3 ? 16 : 8) != 0)
            return -1;
        if (rdb_read_count(r, STREAM_ID_BYTES, &pending) != 0 || rdb_skip(r, pending * STREAM_ID_BYTES) != 0)
            return -1;
    }
    return 0;
}

static int walk_group(struct rdb_reader *r, unsigned type, bool deep) {
    uint64_t pending;
    if (rdb_skip_string(r, deep, NULL) != 0 || walk_lens(r, type == RDB_TYPE_STREAM_LISTPACKS ? 2 : 3) != 0)
        return -1;
    if (rdb_read_count(r, STREAM_ID_BYTES + 9, &pending) != 0)
        return -1;
    for (uint64_t i = 0; i < pending; i++)
        if (rdb_skip(r, STREAM_ID_BYTES + 8) != 0 || walk_lens(r, 1) != 0)
            return -1;
    return walk_consumers(r, type, deep);
}

static int walk_stream(struct rdb_reader *r, unsigned type, bool deep, uint64_t *ret_elements) {
    uint64_t nodes, groups, stated;
    if (rdb_read_count(r, 2, &nodes) != 0)
        return -1;
    for (uint64_t i = 0; i < nodes; i++) {
        uint64_t id_bytes;
        if (rdb_skip_string(r, deep, &id_bytes) != 0)
            return -1;
        if (id_bytes != STREAM_ID_BYTES)
            return rdb_reader_fail(r, RDB_ERR_FORMAT, "the name of a stream's node has %" PRIu64 " bytes", id_bytes);
        if (walk_packed(r, type, deep, ret_elements) != 0)
            return -1;
    }
    if (rdb_read_len(r, &stated) != 0)
        return -1;
    if (deep && stated != *ret_elements)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a stream states %" PRIu64 " entries and holds %" PRIu64, stated,
                               *ret_elements);
    /* The last id; later also the first, the greatest deleted one, and how many were ever added. */
    if (walk_lens(r, type == RDB_TYPE_STREAM_LISTPACKS ? 2 : 7) != 0 || rdb_read_count(r, 5, &groups) != 0)
        return -1;
    for (uint64_t i = 0; i < groups; i++)
        if (walk_group(r, type, deep) != 0)
            return -1;
    return 0;
}

int rdb_walk_value(struct rdb_reader *r, unsigned type, bool deep, struct rdb_walk *ret_walk) {
    uint64_t from = rdb_reader_offset(r);
    uint64_t n = 0;
    int err;
    switch (type) {
    case RDB_TYPE_STRING:
        n = 1;
        err = rdb_skip_string(r, deep, NULL);
        break;
    case RDB_TYPE_LIST:
    case RDB_TYPE_SET:
        err = walk_strings(r, 1, deep, &n);
        break;
    case RDB_TYPE_HASH:
        err = walk_strings(r, 2, deep, &n);
        break;
    case RDB_TYPE_ZSET:
    case RDB_TYPE_ZSET_2:
        err = walk_zset(r, type == RDB_TYPE_ZSET, deep, &n);
        break;
    case RDB_TYPE_MODULE_2:
        err = rdb_skip_module(r, deep);
        break;
    case RDB_TYPE_MODULE_PRE_GA:
        return rdb_reader_fail(r, RDB_ERR_UNSUPPORTED,
                               "values of modules in their pre-release form cannot be read past");
    case RDB_TYPE_LIST_QUICKLIST:
    case RDB_TYPE_LIST_QUICKLIST_2:
        err = walk_quicklist(r, type, deep, &n);
        break;
    case RDB_TYPE_HASH_METADATA:
    case RDB_TYPE_HASH_METADATA_PRE_GA:
    case RDB_TYPE_HASH_2:
        err = walk_hash_deadlines(r, type, deep, &n);
        break;
    case RDB_TYPE_STREAM_LISTPACKS:
    case RDB_TYPE_STREAM_LISTPACKS_2:
    case RDB_TYPE_STREAM_LISTPACKS_3:
        err = walk_stream(r, type, deep, &n);
        break;
    case RDB_TYPE_HASH_LISTPACK_EX:
        err = rdb_skip(r, 8) != 0 ? -1 : walk_packed(r, type, deep, &n);
        break;
    case RDB_TYPE_HASH_ZIPMAP:
    case RDB_TYPE_LIST_ZIPLIST:
    case RDB_TYPE_SET_INTSET:
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_HASH_ZIPLIST:
    case RDB_TYPE_HASH_LISTPACK:
    case RDB_TYPE_ZSET_LISTPACK:
    case RDB_TYPE_SET_LISTPACK:
    case RDB_TYPE_HASH_LISTPACK_EX_PRE_GA:
        err = walk_packed(r, type, deep, &n);
        break;
    default:
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "%u is no value type", rdb_type_number(type));
    }
    if (err != 0)
        return -1;
    *ret_walk = (struct rdb_walk){.elements = n, .bytes = rdb_reader_offset(r) - from};
    return 0;
}
