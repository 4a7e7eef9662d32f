/* Values: what a key holds, apart from the key.
 *
 * A struct value is the currency between the store and everything that makes or takes values whole: SET, RESTORE, COPY,
 * RENAME, the RDB codec. It is passed by value. `repr` says what it owns:
 *   VALUE_REPR_INT    a 64-bit integer (strings only; encoding VALUE_ENC_INT)
 *   VALUE_REPR_BYTES  borrowed bytes, copied when the value is put into the keyspace (strings only)
 *   VALUE_REPR_RBUF   one owned reference to a reference-counted block (strings only)
 *   VALUE_REPR_OBJECT an owned pointer to the object of a collection type
 * Thread: the owner of the store, except value_free() of a detached value, which any thread may call.
 */
#ifndef HF_STORE_VALUE_H
#define HF_STORE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/slice.h"

/* Numbers are internal; type names of the wire come from value_type_name(). */
enum value_type {
    VALUE_STRING = 0,
    VALUE_LIST = 1,
    VALUE_SET = 2,
    VALUE_ZSET = 3,
    VALUE_HASH = 4,
    VALUE_STREAM = 5,
    VALUE_TYPES
};

/* What OBJECT ENCODING answers. A short string set whole is embstr, one changed in place is raw, as clients expect. */
enum value_encoding {
    VALUE_ENC_RAW = 0,
    VALUE_ENC_INT = 1,
    VALUE_ENC_EMBSTR = 2,
    VALUE_ENC_LISTPACK = 3,
    VALUE_ENC_QUICKLIST = 4,
    VALUE_ENC_INTSET = 5,
    VALUE_ENC_HASHTABLE = 6,
    VALUE_ENC_SKIPLIST = 7, /* a counted B+ tree; tools test for the name */
    VALUE_ENC_STREAM = 8,
    VALUE_ENC_LISTPACK_EX = 9, /* hash listpack with field deadlines */
    VALUE_ENCODINGS
};

enum value_repr { VALUE_REPR_INT, VALUE_REPR_BYTES, VALUE_REPR_RBUF, VALUE_REPR_OBJECT };

struct value {
    uint8_t type;     /* enum value_type */
    uint8_t encoding; /* enum value_encoding */
    uint8_t repr;     /* enum value_repr */
    union {
        int64_t i;
        struct slice bytes;
        struct rbuf *rbuf;
        void *object;
    } u;
};

/* Longest string that OBJECT ENCODING calls embstr, in bytes. */
#define VALUE_EMBSTR_MAX 44

const char *value_type_name(enum value_type t);         /* "string", "list", … */
const char *value_encoding_name(enum value_encoding e); /* "embstr", "int", … */

/* A string value from borrowed bytes: an int where the bytes are exactly the decimal form of an int64, else bytes
 * (encoding embstr up to VALUE_EMBSTR_MAX, else raw). */
struct value value_string(struct slice bytes);
/* As above, never an int (what APPEND, SETRANGE and friends leave behind is raw). */
struct value value_string_raw(struct slice bytes);
struct value value_string_int(int64_t i);
/* Takes over one reference; encoding raw. */
struct value value_string_rbuf_take(struct rbuf *r);
/* Frees what v owns. O(size of a collection). */
void value_free(struct value v);
/* Rough number of allocations behind v: what decides whether freeing goes to a background thread. */
size_t value_free_effort(struct value v);
/* Bytes of memory behind v (usable sizes; collections are sampled: `samples` elements, 0 = all). */
size_t value_memory_bytes(struct value v, size_t samples);
/* A deep copy (strings: a copy or another reference; collections: duplicated). NULL-object never: small allocations
 * abort. */
struct value value_copy(struct value v);

#endif
