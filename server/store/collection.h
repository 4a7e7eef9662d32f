/* What all collection types share: the thresholds between small and large encodings, and the handle that their
 * functions work on.
 *
 * A struct collection names an object and its encoding, wherever it lives: in an entry of the keyspace, or nowhere yet
 * (a value that is being built or loaded). Functions that change it update the handle; who took it from an entry stores
 * it back with keyspace_set_object(), which call_collection_store() does for commands. The type is the caller's
 * knowledge: list.h, set.h, hash.h and sorted_set.h each take handles of their own type only.
 *
 * Thread: the owner of the store. Nothing here fails.
 */
#ifndef HF_STORE_COLLECTION_H
#define HF_STORE_COLLECTION_H

#include <stddef.h>
#include <stdint.h>

#include "server/ds/table.h"
#include "server/store/entry.h"
#include "server/store/value.h"

/* The options of these names; sizes in bytes. A change holds for values that grow from then on. */
struct collection_limits {
    int64_t hash_max_listpack_entries, hash_max_listpack_value;
    int64_t set_max_intset_entries, set_max_listpack_entries, set_max_listpack_value;
    int64_t zset_max_listpack_entries, zset_max_listpack_value;
    int64_t list_max_listpack_size, list_compress_depth;
    int64_t stream_node_max_bytes, stream_node_max_entries;
    int64_t hll_sparse_max_bytes;
};

/* One per keyspace; objects keep the address of the policy. */
struct collection_rules {
    const struct table_policy *policy;
    struct collection_limits limits;
    uint32_t list_plain_bytes; /* DEBUG QUICKLIST-PACKED-THRESHOLD; 0: unset (quicklist.h: plain_bytes) */
};

/* The options' defaults. */
void collection_limits_default(struct collection_limits *limits);

struct collection {
    const struct collection_rules *rules;
    enum value_encoding encoding;
    void *object;
};

/* The handle of an entry that is no string. */
static inline struct collection collection_of(const struct collection_rules *rules, const struct entry *e) {
    return (struct collection){.rules = rules, .encoding = entry_encoding(e), .object = entry_object(e)};
}
/* The value of a handle, which passes on what the handle owns. */
static inline struct value collection_value(enum value_type type, const struct collection *c) {
    return (struct value){
        .type = (uint8_t)type, .encoding = (uint8_t)c->encoding, .repr = VALUE_REPR_OBJECT, .u.object = c->object};
}

#endif
