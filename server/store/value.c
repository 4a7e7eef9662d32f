#include "config.h"

#include "server/store/value.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/store/type.h"

const char *value_type_name(enum value_type t) {
    static const char *const names[VALUE_TYPES] = {
        [VALUE_STRING] = "string", [VALUE_LIST] = "list", [VALUE_SET] = "set",
        [VALUE_ZSET] = "zset",     [VALUE_HASH] = "hash", [VALUE_STREAM] = "stream",
    };
    HF_ASSERT(t < VALUE_TYPES);
    return names[t];
}

const char *value_encoding_name(enum value_encoding e) {
    static const char *const names[VALUE_ENCODINGS] = {
        [VALUE_ENC_RAW] = "raw",
        [VALUE_ENC_INT] = "int",
        [VALUE_ENC_EMBSTR] = "embstr",
        [VALUE_ENC_LISTPACK] = "listpack",
        [VALUE_ENC_QUICKLIST] = "quicklist",
        [VALUE_ENC_INTSET] = "intset",
        [VALUE_ENC_HASHTABLE] = "hashtable",
        [VALUE_ENC_SKIPLIST] = "skiplist",
        [VALUE_ENC_STREAM] = "stream",
        [VALUE_ENC_LISTPACK_EX] = "listpackex",
    };
    HF_ASSERT(e < VALUE_ENCODINGS);
    return names[e];
}

struct value value_string_raw(struct slice bytes) {
    return (struct value){.type = VALUE_STRING, .encoding = VALUE_ENC_RAW, .repr = VALUE_REPR_BYTES, .u.bytes = bytes};
}

struct value value_string_int(int64_t i) {
    return (struct value){.type = VALUE_STRING, .encoding = VALUE_ENC_INT, .repr = VALUE_REPR_INT, .u.i = i};
}

struct value value_string(struct slice bytes) {
    int64_t i;
    if (bytes.n > 0 && bytes.n < NUM_I64_CHARS && (bytes.p[0] == '-' || (bytes.p[0] >= '0' && bytes.p[0] <= '9')) &&
        num_parse_i64(bytes, &i) == 0)
        return value_string_int(i);
    struct value v = value_string_raw(bytes);
    if (bytes.n <= VALUE_EMBSTR_MAX)
        v.encoding = VALUE_ENC_EMBSTR;
    return v;
}

struct value value_string_rbuf_take(struct rbuf *r) {
    return (struct value){.type = VALUE_STRING, .encoding = VALUE_ENC_RAW, .repr = VALUE_REPR_RBUF, .u.rbuf = r};
}

void value_free(struct value v) {
    if (v.repr == VALUE_REPR_RBUF)
        rbuf_unref(v.u.rbuf);
    else if (v.repr == VALUE_REPR_OBJECT)
        value_type_ops(v.type)->free(v.encoding, v.u.object);
}

size_t value_free_effort(struct value v) {
    if (v.repr == VALUE_REPR_OBJECT)
        return value_type_ops(v.type)->effort(v.encoding, v.u.object);
    return v.repr == VALUE_REPR_RBUF ? 1 : 0;
}

size_t value_memory_bytes(struct value v, size_t samples) {
    if (v.repr == VALUE_REPR_OBJECT)
        return value_type_ops(v.type)->memory_bytes(v.encoding, v.u.object, samples);
    return v.repr == VALUE_REPR_RBUF ? mem_usable_size(v.u.rbuf) : 0;
}

struct value value_copy(struct value v) {
    if (v.repr == VALUE_REPR_OBJECT) {
        v.u.object = value_type_ops(v.type)->copy(v.encoding, v.u.object);
    } else if (v.repr == VALUE_REPR_RBUF) {
        v.u.rbuf = rbuf_ref(v.u.rbuf);
    } else if (v.repr == VALUE_REPR_BYTES) {
        struct rbuf *r = rbuf_create(v.u.bytes.n);
        if (v.u.bytes.n != 0)
            memcpy(r->data, v.u.bytes.p, v.u.bytes.n);
        r->len = v.u.bytes.n;
        v.repr = VALUE_REPR_RBUF;
        v.u.rbuf = r;
    }
    return v;
}
