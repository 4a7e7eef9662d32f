/* Strings as arrays of bits: SETBIT GETBIT BITCOUNT BITPOS BITOP. */
#include "config.h"

#include "server/commands/bitmap_int.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/bits.h"
#include "server/commands/commands.h"
#include "server/commands/range.h"
#include "server/commands/rows.h"
#include "server/commands/string_int.h"
#include "server/engine/engine.h"

bool bitmap_arg_offset(struct call *c, int i, unsigned width, uint64_t *ret_offset) {
    struct slice s = c->argv[i];
    int64_t unit = 1, offset;
    if (width != 0 && s.n > 0 && s.p[0] == '#') {
        s = slice_of(s.p + 1, s.n - 1);
        unit = width;
    }
    bool trusted = c->client->flags & CLIENT_MUST_OBEY;
    if (num_parse_i64(s, &offset) < 0 || num_mul_i64(offset, unit, &offset) || offset < 0 ||
        (!trusted && offset / 8 >= engine_options(c->engine)->proto_max_bulk_len)) {
        call_error(c, "ERR bit offset is not an integer or out of range");
        return false;
    }
    *ret_offset = (uint64_t)offset;
    return true;
}

bool bitmap_writable(struct call *c, const struct keyref *key, uint64_t last_bit, char **ret_bytes, bool *ret_grew) {
    struct entry *e;
    if (!call_find_write_type(c, key, VALUE_STRING, &e))
        return false;
    bool absent = e == NULL;
    size_t len = absent ? 0 : entry_string_len(e), need = (size_t)(last_bit / 8) + 1;
    if (absent)
        e = keyspace_put(c->ks, c->db, key, value_string_raw(slice_of("", 0)), KEYSPACE_NO_DEADLINE);
    if (keyspace_string_writable(c->ks, c->db, key, &e, len > need ? len : need, ret_bytes) < 0) {
        if (absent)
            keyspace_delete(c->ks, c->db, key, false);
        string_error_memory(c);
        return false;
    }
    *ret_grew = need > len;
    return true;
}

static void setbit_run(struct call *c) {
    uint64_t offset;
    int64_t on;
    if (!bitmap_arg_offset(c, 2, 0, &offset) ||
        !call_arg_i64_range(c, 3, 0, 1, "ERR bit is not an integer or out of range", &on))
        return;
    struct keyref key = call_key(c, 1);
    char *bytes;
    bool grew;
    if (!bitmap_writable(c, &key, offset, &bytes, &grew))
        return;
    unsigned char *byte = (unsigned char *)bytes + offset / 8;
    unsigned shift = (unsigned)(7 - offset % 8);
    bool was = *byte >> shift & 1;
    *byte = (unsigned char)((*byte & ~(1u << shift)) | (unsigned)on << shift);
    if (grew || was != (bool)on)
        call_changed(c, &key, NOTIFY_STRING, "setbit");
    resp_int(c->w, was);
}

static void getbit_run(struct call *c) {
    uint64_t offset;
    if (!bitmap_arg_offset(c, 2, 0, &offset))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    char scratch[24];
    struct slice s = e == NULL ? slice_of("", 0) : entry_string(e, scratch);
    resp_int(c->w, (int64_t)bits_get(s.p, s.n, offset, 1));
}

/* BYTE or BIT. False with a syntax error replied. */
static bool parse_unit(struct call *c, int i, bool *ret_bit) {
    bool bit = slice_is(c->argv[i], "bit");
    if (!bit && !slice_is(c->argv[i], "byte")) {
        call_error_syntax(c);
        return false;
    }
    *ret_bit = bit;
    return true;
}

static void bitcount_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    if (e == NULL) {
        resp_int(c->w, 0);
        return;
    }
    char scratch[24];
    struct slice s = entry_string(e, scratch);
    if (c->argc == 2) {
        resp_int(c->w, (int64_t)bits_count(s.p, s.n));
        return;
    }
    if (c->argc != 4 && c->argc != 5) {
        call_error_syntax(c);
        return;
    }
    int64_t start, end;
    bool in_bits = false;
    if (!call_arg_i64(c, 2, &start) || !call_arg_i64(c, 3, &end))
        return;
    bool backwards = start < 0 && end < 0 && start > end;
    if (c->argc == 5 && !backwards && !parse_unit(c, 4, &in_bits))
        return;
    size_t first = 0;
    size_t n = range_cut(start, end, in_bits ? s.n * 8 : s.n, &first);
    if (n == 0)
        resp_int(c->w, 0);
    else if (in_bits)
        resp_int(c->w, (int64_t)bits_count_range(s.p, first, first + n - 1));
    else
        resp_int(c->w, (int64_t)bits_count(s.p + first, n));
}

struct bitpos_range {
    int64_t start, end;
    bool in_bits, end_given;
};

static bool parse_bitpos(struct call *c, struct bitpos_range *r) {
    *r = (struct bitpos_range){.start = 0, .end = -1};
    if (c->argc > 6) {
        call_error_syntax(c);
        return false;
    }
    if (c->argc > 3 && !call_arg_i64(c, 3, &r->start))
        return false;
    if (c->argc > 5 && !parse_unit(c, 5, &r->in_bits))
        return false;
    r->end_given = c->argc > 4;
    return !r->end_given || call_arg_i64(c, 4, &r->end);
}

/* Negative positions count from the end; what lies before the beginning is the beginning. Unlike the ranges of BITCOUNT
 * and GETRANGE, two negative ones in the wrong order may both become the beginning. */
static bool cut_bitpos(struct bitpos_range *r, int64_t len) {
    if (r->start < 0)
        r->start = r->start < -len ? 0 : len + r->start;
    if (r->end < 0)
        r->end = r->end < -len ? 0 : len + r->end;
    if (r->end >= len)
        r->end = len - 1;
    return r->start <= r->end;
}

static void bitpos_run(struct call *c) {
    int64_t bit;
    if (!call_arg_i64(c, 2, &bit))
        return;
    if (bit != 0 && bit != 1) {
        call_error(c, "ERR The bit argument must be 1 or 0.");
        return;
    }
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    if (e == NULL) {
        resp_int(c->w, bit ? -1 : 0);
        return;
    }
    struct bitpos_range r;
    if (!parse_bitpos(c, &r))
        return;
    char scratch[24];
    struct slice s = entry_string(e, scratch);
    if (!cut_bitpos(&r, (int64_t)(r.in_bits ? s.n * 8 : s.n))) {
        resp_int(c->w, -1);
        return;
    }
    uint64_t first = (uint64_t)r.start, last = (uint64_t)r.end;
    if (!r.in_bits) {
        first *= 8;
        last = last * 8 + 7;
    }
    int64_t at = bits_find(s.p, first, last, bit != 0);
    /* Without an end the string goes on in zeroes. */
    if (at < 0 && bit == 0 && !r.end_given)
        at = (int64_t)s.n * 8;
    resp_int(c->w, at);
}

static const struct {
    const char *word, *upper;
    enum bits_op op;
    bool known_to_70; /* Redis 7.0 has it, so that the request itself may be propagated */
} operations[] = {
    {"and", "AND", BITS_AND, true},        {"or", "OR", BITS_OR, true},        {"xor", "XOR", BITS_XOR, true},
    {"not", "NOT", BITS_NOT, true},        {"diff", "DIFF", BITS_DIFF, false}, {"diff1", "DIFF1", BITS_DIFF1, false},
    {"andor", "ANDOR", BITS_ANDOR, false}, {"one", "ONE", BITS_ONE, false},
};

/* Index into operations, or -1 with the error replied. */
static int parse_operation(struct call *c) {
    for (size_t i = 0; i < ROW_COUNT(operations); i++) {
        if (!slice_is(c->argv[1], operations[i].word))
            continue;
        enum bits_op op = operations[i].op;
        bool pair = op == BITS_DIFF || op == BITS_DIFF1 || op == BITS_ANDOR;
        if (op == BITS_NOT && c->argc != 4) {
            call_error(c, "ERR BITOP NOT must be called with a single source key.");
            return -1;
        }
        if (pair && c->argc < 5) {
            call_errorf(c, "ERR BITOP %s must be called with at least two source keys.", operations[i].upper);
            return -1;
        }
        return (int)i;
    }
    call_error_syntax(c);
    return -1;
}

struct source {
    struct slice bytes;
    char scratch[24];
};

/* Reads the source keys. Two passes: a look-up may remove a due key, after which no entry of before may be used. The
 * longest length, or -1 with the error replied. */
static int64_t read_sources(struct call *c, struct source *sources, struct slice *slices, int count) {
    for (int i = 0; i < count; i++) {
        struct keyref key = call_key(c, 3 + i);
        struct entry *e;
        if (!call_find_read_type(c, &key, VALUE_STRING, &e))
            return -1;
    }
    size_t longest = 0;
    for (int i = 0; i < count; i++) {
        struct keyref key = call_key(c, 3 + i);
        const struct entry *e = keyspace_find(c->ks, c->db, &key, KEYSPACE_LOOKUP_NOTOUCH);
        slices[i] = e == NULL ? slice_of("", 0) : entry_string(e, sources[i].scratch);
        if (slices[i].n > longest)
            longest = slices[i].n;
    }
    return (int64_t)longest;
}

#define REUSE_MIN_BYTES (1u << 20)

/* The block of the destination's old value, taken out of the keyspace, where it is large, fits, and is nobody else's:
 * the kernel takes as long to give new pages as the operation takes. NULL where there is none. */
static struct rbuf *take_destination(struct call *c, size_t len) {
    struct keyref dst = call_key(c, 2);
    struct value old;
    int64_t deadline;
    if (len < REUSE_MIN_BYTES)
        return NULL;
    for (int i = 3; i < c->argc; i++)
        if (slice_eq(c->argv[i], dst.key))
            return NULL;
    const struct entry *e = keyspace_peek(c->ks, c->db, &dst);
    if (e == NULL || entry_deadline_ms(e) != KEYSPACE_NO_DEADLINE) /* a key that is due has more to it */
        return NULL;
    const struct value v = entry_value(e);
    if (v.repr != VALUE_REPR_RBUF || !rbuf_is_unique(v.u.rbuf) || v.u.rbuf->cap < len || v.u.rbuf->cap / 2 > len)
        return NULL;
    HF_ASSERT(keyspace_detach(c->ks, c->db, &dst, &old, &deadline));
    return old.u.rbuf;
}

static void store_result(struct call *c, int operation, struct rbuf *result) {
    struct keyref dst = call_key(c, 2);
    if (result == NULL) {
        if (call_find_write(c, &dst) == NULL)
            return;
        keyspace_delete(c->ks, c->db, &dst, false);
        call_changed(c, &dst, NOTIFY_GENERIC, "del");
        if (!operations[operation].known_to_70)
            string_propagate_del(c, dst.key);
        return;
    }
    if (!operations[operation].known_to_70)
        string_propagate_set(c, dst.key, slice_of(result->data, result->len), KEYSPACE_NO_DEADLINE);
    keyspace_put(c->ks, c->db, &dst, value_string_rbuf_take(result), KEYSPACE_NO_DEADLINE);
    call_changed(c, &dst, NOTIFY_STRING, "set");
}

static void bitop_run(struct call *c) {
    int operation = parse_operation(c);
    if (operation < 0)
        return;
    int count = c->argc - 3;
    struct source *sources = mem_alloc((size_t)count * sizeof *sources);
    struct slice *slices = mem_alloc((size_t)count * sizeof *slices);
    int64_t len = read_sources(c, sources, slices, count);
    struct rbuf *result = len > 0 ? take_destination(c, (size_t)len) : NULL;
    if (len > 0 && result == NULL)
        result = rbuf_try_create((size_t)len);
    if (len > 0 && result == NULL) {
        string_error_memory(c);
    } else if (len >= 0) {
        if (result != NULL) {
            bits_combine(operations[operation].op, result->data, (size_t)len, slices, (size_t)count);
            result->len = (size_t)len;
        }
        store_result(c, operation, result);
        resp_int(c->w, len);
    }
    mem_free(slices);
    mem_free(sources);
}

static const struct command rows[] = {
    {.name = "setbit",
     .group = "bitmap",
     .since = "2.2.0",
     .arity = 4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_BITMAP,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .run = setbit_run},
    {.name = "getbit",
     .group = "bitmap",
     .since = "2.2.0",
     .arity = 3,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_BITMAP,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = getbit_run},
    {.name = "bitcount",
     .group = "bitmap",
     .since = "2.6.0",
     .arity = -2,
     .flags = COMMAND_READONLY,
     .acl = ACL_BITMAP,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = bitcount_run},
    {.name = "bitpos",
     .group = "bitmap",
     .since = "2.8.7",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .acl = ACL_BITMAP,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = bitpos_run},
    {.name = "bitop",
     .group = "bitmap",
     .since = "2.6.0",
     .arity = -4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_BITMAP,
     .keys = {ROW_KEYS(KEY_OW | KEY_UPDATE, 2, 0, 1), ROW_KEYS(KEY_RO | KEY_ACCESS, 3, -1, 1)},
     .run = bitop_run},
};

void bitmap_basic_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}

void bitmap_commands_register(struct command_table *t) {
    bitmap_basic_register(t);
    bitfield_register(t);
}
