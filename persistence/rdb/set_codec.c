/* Sets: type 2, members as strings, in every version; type 11, an intset; type 20, a listpack, from version 11 on.
 *
 * A listpack can always be written as type 2 instead, so the lowest version that holds a set is the first: payloads of
 * DUMP restore everywhere. */
#include "config.h"

#include "persistence/rdb/codec.h"

#include <inttypes.h>

#include "persistence/rdb/walk.h"
#include "server/base/num.h"
#include "server/ds/intset.h"
#include "server/ds/listpack.h"
#include "server/store/set.h"
#include "server/store/small.h"

#define VERSION_OF_LISTPACK 11
/* Members for which room is made at once where the input does not say how many can come. */
#define EXPECT_UNKNOWN_MAX 65536
/* Bytes of a member in the input, at least, for which room is made at once. */
#define MEMBER_BYTES_MIN 2

/* ---- saving ---- */

static unsigned set_min_version(const struct entry *e) {
    (void)e;
    return 1;
}

static uint8_t set_wire_type(const struct entry *e, unsigned version) {
    if (entry_encoding(e) == VALUE_ENC_INTSET)
        return RDB_TYPE_SET_INTSET;
    if (entry_encoding(e) == VALUE_ENC_LISTPACK && version >= VERSION_OF_LISTPACK)
        return RDB_TYPE_SET_LISTPACK;
    return RDB_TYPE_SET;
}

struct save {
    struct rdb_writer *w;
    bool compress;
};

static int save_member(void *arg, const struct packed_item *member) {
    const struct save *k = arg;
    if (member->is_int)
        rdb_write_string_i64(k->w, member->i);
    else
        rdb_write_string(k->w, member->s, k->compress);
    return k->w->error;
}

static void set_save(struct rdb_writer *w, const struct entry *e, unsigned version, bool compress) {
    const struct collection s = collection_of(NULL, e);
    switch (set_wire_type(e, version)) {
    case RDB_TYPE_SET_INTSET:
        rdb_write_blob(w, intset_slice(s.object), compress);
        return;
    case RDB_TYPE_SET_LISTPACK:
        rdb_write_blob(w, listpack_slice(s.object), compress);
        return;
    default:
        break;
    }
    struct save k = {w, compress};
    rdb_write_len(w, set_count(&s));
    (void)set_each(&s, save_member, &k);
}

/* ---- loading ---- */

static int fail(struct rdb_reader *r, uint64_t at, const char *why) {
    return rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "%s", why);
}

static int fail_memory(struct rdb_reader *r, uint64_t at) {
    return rdb_reader_fail_at(r, at, RDB_ERR_MEMORY, "not enough memory for a set");
}

static int give(enum value_encoding encoding, void *object, struct value *ret_value) {
    const struct collection s = {.encoding = encoding, .object = object};
    *ret_value = collection_value(VALUE_SET, &s);
    return 0;
}

/* How many members of n announced ones to make room for, going by what the input can hold. */
static size_t credible(const struct rdb_reader *r, uint64_t n) {
    uint64_t left = rdb_reader_left(r);
    uint64_t most = left == UINT64_MAX ? EXPECT_UNKNOWN_MAX : left / MEMBER_BYTES_MIN;
    return (size_t)(n < most ? n : most);
}

static int load_members(struct rdb_reader *r, const struct collection_rules *rules, struct value *ret_value) {
    uint64_t n;
    if (rdb_read_count(r, 1, &n) != 0)
        return -1;
    if (n == 0)
        return 1;
    struct collection s = {.object = NULL};
    for (uint64_t i = 0; i < n; i++) {
        struct rdb_string member;
        char digits[NUM_I64_CHARS];
        uint64_t at = rdb_reader_offset(r);
        int err = rdb_read_string(r, false, &member);
        struct slice text = member.bytes;
        if (err == 0 && member.kind == RDB_STRING_INT)
            text = slice_of(digits, num_format_i64(digits, member.i));
        if (err == 0 && s.object == NULL)
            s = set_create(rules, credible(r, n), text);
        if (err == 0 && !set_add(&s, text))
            err = fail(r, at, "a set holds a member twice");
        if (err != 0) {
            if (s.object != NULL)
                set_destroy(&s);
            return -1;
        }
    }
    return give(s.encoding, s.object, ret_value);
}

static int load_intset(struct rdb_reader *r, uint64_t at, struct slice b, const struct collection_rules *rules,
                       struct value *ret_value) {
    uint64_t n;
    const char *why = intset_validate(b, true, NULL, NULL, &n);
    if (why != NULL)
        return fail(r, at, why);
    if (n == 0)
        return 1;
    if (n > (uint64_t)rules->limits.set_max_intset_entries) {
        struct fields *t = small_intset_enlarge((const struct intset *)(const void *)b.p, rules->policy);
        return t != NULL ? give(VALUE_ENC_HASHTABLE, t, ret_value) : fail_memory(r, at);
    }
    struct intset *is = intset_try_load(b);
    return is != NULL ? give(VALUE_ENC_INTSET, is, ret_value) : fail_memory(r, at);
}

/* The structure is always checked, for nothing may be read outside; repetitions where the bytes are not ours. */
static int load_listpack(struct rdb_reader *r, uint64_t at, struct slice b, const struct rdb_load_context *with,
                         struct value *ret_value) {
    uint64_t n;
    const char *why =
        with->deep ? rdb_check_packed(RDB_TYPE_SET_LISTPACK, b, &n) : listpack_validate(b, true, NULL, NULL, &n);
    if (why != NULL)
        return fail(r, at, why);
    if (n == 0)
        return 1;
    if (n > (uint64_t)with->rules->limits.set_max_listpack_entries) {
        struct fields *t = small_set_enlarge((const struct listpack *)(const void *)b.p, with->rules->policy);
        return t != NULL ? give(VALUE_ENC_HASHTABLE, t, ret_value)
                         : fail(r, at, "a set holds a member twice, or more than memory does");
    }
    struct listpack *lp = listpack_try_load(b);
    return lp != NULL ? give(VALUE_ENC_LISTPACK, lp, ret_value) : fail_memory(r, at);
}

static int set_load(struct rdb_reader *r, unsigned rdb_type, const struct rdb_load_context *with,
                    struct value *ret_value) {
    char digits[24];
    struct slice b;
    if (rdb_type == RDB_TYPE_SET)
        return load_members(r, with->rules, ret_value);
    uint64_t at = rdb_reader_offset(r);
    if (rdb_read_bytes(r, digits, &b) != 0)
        return -1;
    return rdb_type == RDB_TYPE_SET_INTSET ? load_intset(r, at, b, with->rules, ret_value)
                                           : load_listpack(r, at, b, with, ret_value);
}

const struct rdb_value_codec rdb_set_codec = {
    .type = VALUE_SET,
    .loads = UINT64_C(1) << RDB_TYPE_SET | UINT64_C(1) << RDB_TYPE_SET_INTSET | UINT64_C(1) << RDB_TYPE_SET_LISTPACK,
    .min_version = set_min_version,
    .wire_type = set_wire_type,
    .save = set_save,
    .load = set_load,
};
