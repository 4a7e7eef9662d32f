/* Strings: RDB type 0, the same in every version. */
#include "config.h"

#include "persistence/rdb/codec.h"

#include "server/base/assert.h"

static unsigned string_min_version(const struct entry *e) {
    (void)e;
    return 1;
}

static uint8_t string_wire_type(const struct entry *e, unsigned version) {
    (void)e;
    (void)version;
    return RDB_TYPE_STRING;
}

static void string_save(struct rdb_writer *w, const struct entry *e, unsigned version, bool compress) {
    (void)version;
    struct value v = entry_value(e);
    switch ((enum value_repr)v.repr) {
    case VALUE_REPR_INT:
        rdb_write_string_i64(w, v.u.i);
        return;
    case VALUE_REPR_BYTES:
        rdb_write_string(w, v.u.bytes, compress);
        return;
    case VALUE_REPR_RBUF:
        rdb_write_string(w, slice_of(v.u.rbuf->data, v.u.rbuf->len), compress);
        return;
    case VALUE_REPR_OBJECT:
        break;
    }
    HF_PANIC("a string entry with representation %d", v.repr);
}

static int string_load(struct rdb_reader *r, unsigned rdb_type, const struct rdb_load_context *with,
                       struct value *ret_value) {
    (void)rdb_type;
    (void)with;
    struct rdb_string s;
    if (rdb_read_string(r, true, &s) != 0)
        return -1;
    if (s.kind == RDB_STRING_INT)
        *ret_value = value_string_int(s.i);
    else if (s.kind == RDB_STRING_RBUF)
        *ret_value = value_string_rbuf_take(s.rbuf);
    else
        *ret_value = value_string(s.bytes);
    return 0;
}

const struct rdb_value_codec rdb_string_codec = {
    .type = VALUE_STRING,
    .loads = UINT64_C(1) << RDB_TYPE_STRING,
    .min_version = string_min_version,
    .wire_type = string_wire_type,
    .save = string_save,
    .load = string_load,
};
