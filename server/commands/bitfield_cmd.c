/* BITFIELD and BITFIELD_RO: integers of any width inside a string. All operations are parsed before the first is done.
 */
#include "config.h"

#include "server/commands/bitmap_int.h"

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/bits.h"
#include "server/commands/rows.h"

enum field_overflow { FIELD_WRAP, FIELD_SAT, FIELD_FAIL };
enum field_verb { FIELD_GET, FIELD_SET, FIELD_INCRBY };

struct field_op {
    enum field_verb verb;
    enum field_overflow overflow;
    bool is_signed;
    unsigned width;
    uint64_t offset;
    int64_t operand;
};

/* i1 … i64, u1 … u63 */
static bool parse_type(struct call *c, int i, struct field_op *op) {
    struct slice s = c->argv[i];
    int64_t width;
    bool is_signed = s.n > 0 && s.p[0] == 'i';
    if (s.n < 2 || (!is_signed && s.p[0] != 'u') || num_parse_i64(slice_of(s.p + 1, s.n - 1), &width) < 0 ||
        width < 1 || width > (is_signed ? 64 : 63)) {
        call_error(c,
                   "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
        return false;
    }
    op->is_signed = is_signed;
    op->width = (unsigned)width;
    return true;
}

static bool parse_overflow(struct call *c, int i, enum field_overflow *ret_overflow) {
    static const char *const words[] = {[FIELD_WRAP] = "wrap", [FIELD_SAT] = "sat", [FIELD_FAIL] = "fail"};
    for (size_t w = 0; w < ROW_COUNT(words); w++)
        if (slice_is(c->argv[i], words[w])) {
            *ret_overflow = (enum field_overflow)w;
            return true;
        }
    call_error(c, "ERR Invalid OVERFLOW type specified");
    return false;
}

/* Parses into ops, which has room for one operation per two arguments. The count, or -1 with the error replied. */
static int parse_ops(struct call *c, struct field_op *ops) {
    enum field_overflow overflow = FIELD_WRAP;
    int count = 0;
    for (int i = 2; i < c->argc;) {
        int left = c->argc - i - 1;
        struct field_op *op = &ops[count];
        int words = 3;
        if (slice_is(c->argv[i], "overflow") && left >= 1) {
            if (!parse_overflow(c, i + 1, &overflow))
                return -1;
            i += 2;
            continue;
        }
        if (slice_is(c->argv[i], "get") && left >= 2) {
            op->verb = FIELD_GET;
        } else if (slice_is(c->argv[i], "set") && left >= 3) {
            op->verb = FIELD_SET;
            words = 4;
        } else if (slice_is(c->argv[i], "incrby") && left >= 3) {
            op->verb = FIELD_INCRBY;
            words = 4;
        } else {
            call_error_syntax(c);
            return -1;
        }
        op->overflow = overflow;
        if (!parse_type(c, i + 1, op) || !bitmap_arg_offset(c, i + 2, op->width, &op->offset))
            return -1;
        if (words == 4 && !call_arg_i64(c, i + 3, &op->operand))
            return -1;
        i += words;
        count++;
    }
    return count;
}

static int64_t sign_extend(uint64_t bits, unsigned width) {
    return (int64_t)(bits << (64 - width)) >> (64 - width);
}

static int64_t read_field(const char *bytes, size_t n, const struct field_op *op) {
    uint64_t bits = bits_get(bytes, n, op->offset, op->width);
    return op->is_signed ? sign_extend(bits, op->width) : (int64_t)bits;
}

/* The value that SET or INCRBY leaves, given the old one. False when it does not fit and OVERFLOW FAIL is in force. */
static bool new_value(const struct field_op *op, int64_t old, int64_t *ret_value) {
    __int128 low = op->is_signed ? -((__int128)1 << (op->width - 1)) : 0;
    __int128 high = ((__int128)1 << (op->width - (op->is_signed ? 1 : 0))) - 1;
    __int128 v;
    if (op->verb == FIELD_INCRBY)
        v = (__int128)old + op->operand;
    else if (op->is_signed)
        v = op->operand;
    else
        v = (uint64_t)op->operand; /* a negative number is a large one to an unsigned field */
    if (v < low || v > high) {
        if (op->overflow == FIELD_FAIL)
            return false;
        if (op->overflow == FIELD_SAT) {
            v = v < low ? low : high;
        } else {
            uint64_t bits = (uint64_t)v & (UINT64_MAX >> (64 - op->width));
            v = op->is_signed ? sign_extend(bits, op->width) : (int64_t)bits;
        }
    }
    *ret_value = (int64_t)v;
    return true;
}

static void read_all(struct call *c, const struct keyref *key, const struct field_op *ops, int count) {
    struct entry *e;
    if (!call_find_read_type(c, key, VALUE_STRING, &e))
        return;
    char scratch[24];
    struct slice s = e == NULL ? slice_of("", 0) : entry_string(e, scratch);
    resp_array(c->w, (size_t)count);
    for (int i = 0; i < count; i++)
        resp_int(c->w, read_field(s.p, s.n, &ops[i]));
}

static void write_all(struct call *c, const struct keyref *key, const struct field_op *ops, int count,
                      uint64_t last_bit) {
    char *bytes;
    bool changed;
    if (!bitmap_writable(c, key, last_bit, &bytes, &changed))
        return;
    /* Fields that are only read may lie behind the last one that is written. */
    const struct entry *e = keyspace_peek(c->ks, c->db, key);
    size_t n = entry_string_len(e);
    resp_array(c->w, (size_t)count);
    for (int i = 0; i < count; i++) {
        const struct field_op *op = &ops[i];
        int64_t old = read_field(bytes, n, op), v;
        if (op->verb == FIELD_GET) {
            resp_int(c->w, old);
            continue;
        }
        if (!new_value(op, old, &v)) {
            resp_null(c->w);
            continue;
        }
        resp_int(c->w, op->verb == FIELD_SET ? old : v);
        bits_put(bytes, op->offset, op->width, (uint64_t)v);
        changed |= v != old;
    }
    if (changed)
        call_changed(c, key, NOTIFY_STRING, "setbit");
}

static void bitfield(struct call *c, bool read_only) {
    struct field_op *ops = mem_alloc((size_t)c->argc * sizeof *ops);
    int count = parse_ops(c, ops);
    bool writes = false;
    uint64_t last_bit = 0;
    for (int i = 0; i < count; i++) {
        if (ops[i].verb == FIELD_GET)
            continue;
        writes = true;
        if (ops[i].offset + ops[i].width - 1 > last_bit)
            last_bit = ops[i].offset + ops[i].width - 1;
    }
    struct keyref key = call_key(c, 1);
    if (count >= 0) {
        if (!writes)
            read_all(c, &key, ops, count);
        else if (read_only)
            call_error(c, "ERR BITFIELD_RO only supports the GET subcommand");
        else
            write_all(c, &key, ops, count, last_bit);
    }
    mem_free(ops);
}

static void bitfield_run(struct call *c) {
    bitfield(c, false);
}

static void bitfield_ro_run(struct call *c) {
    bitfield(c, true);
}

static const struct command rows[] = {
    {.name = "bitfield",
     .group = "bitmap",
     .since = "3.2.0",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_BITMAP,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE | KEY_ACCESS | KEY_VARIABLE_FLAGS)},
     .run = bitfield_run},
    {.name = "bitfield_ro",
     .group = "bitmap",
     .since = "6.0.0",
     .arity = -2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_BITMAP,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = bitfield_ro_run},
};

void bitfield_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
