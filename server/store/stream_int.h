/* The layout of a stream's node, shared by the files of streams. */
#ifndef HF_STORE_STREAM_INT_H
#define HF_STORE_STREAM_INT_H

#include "server/store/stream.h"

#define ENTRY_DELETED 1u
#define ENTRY_SAME_FIELDS 2u
/* Of a node to which entries are added or which is loaded: counts may still get longer. */
#define STREAM_NODE_MAX_BYTES (LISTPACK_MAX_BYTES - 64)

struct stream_node {
    struct stream_id master;
    const struct listpack *lp;
    uint32_t valid_at, deleted_at, fields_at, entries_at;
    uint64_t valid, deleted, fields;
};

struct stream_entry {
    uint32_t at, items_at;
    uint64_t flags, fields, items;
    struct stream_id id;
};

/* The item at `at`, which is a number. */
uint64_t stream_node_int(const struct listpack *lp, uint32_t at);
struct stream_node stream_node_open(struct stream_id master, const struct listpack *lp);
/* The entry at `at`; false at the end. */
bool stream_node_entry(const struct stream_node *n, uint32_t at, struct stream_entry *ret_entry);
/* Where the next entry begins. */
uint32_t stream_entry_skip(const struct stream_node *n, const struct stream_entry *e);
/* Sets first_id by the entries. */
void stream_settle_first(struct stream *s);

#endif
