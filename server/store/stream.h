/* Streams: entries in listpacks, and the groups of consumers that read them.
 *
 * An entry is an id and pairs of field and value. Entries stand in nodes, listpacks in exactly the layout of the files,
 * in an id tree by the id that each node counts from. A deleted entry leaves a mark in its node, which goes when
 * nothing else is in it. A stream without entries stays a stream.
 *
 * A group has read the stream up to an id; what it handed to a consumer and is not acknowledged is pending, with the
 * group and with the consumer. Pending ids may name entries that are gone.
 *
 * Pointers to groups, consumers and pending entries are valid until they are removed; borrowed bytes until the stream
 * changes; bytes passed in do not lie in the stream. Thread: the owner of the store; stream_destroy() of a detached one
 * on any thread; a forked child may read. Errors: told per call.
 */
#ifndef HF_STORE_STREAM_H
#define HF_STORE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"
#include "server/ds/id_tree.h"
#include "server/ds/listpack.h"
#include "server/ds/packed.h"
#include "server/ds/slab.h"
#include "server/ds/stream_id.h"
#include "server/store/collection.h"
#include "server/store/type.h"

#define STREAM_ENTRIES_READ_UNKNOWN INT64_C(-1)
#define STREAM_NEVER INT64_C(-1) /* a consumer that was never given anything */

/* Things with a name, in the order of their names. */
struct stream_names {
    struct slice **at; /* each the first member of what it belongs to */
    size_t count, cap;
};

struct stream_consumer {
    struct slice name;
    int64_t seen_ms;   /* when it last asked, Unix ms */
    int64_t active_ms; /* when it was last given something, or STREAM_NEVER */
    struct id_tree pending;
};

/* An entry that was delivered and not acknowledged. */
struct stream_pending {
    int64_t delivered_ms;
    uint64_t deliveries;
    struct stream_consumer *consumer;
};

struct stream_group {
    struct slice name;
    struct stream_id last_id; /* delivered */
    int64_t entries_read;     /* or STREAM_ENTRIES_READ_UNKNOWN */
    struct id_tree pending;   /* struct stream_pending of all consumers */
    struct stream_names consumers;
};

struct stream {
    struct id_tree nodes; /* struct listpack, none of them without a valid entry */
    uint64_t length;
    uint64_t entries_added;   /* ever */
    struct stream_id last_id; /* ever; not below any entry */
    struct stream_id first_id;
    struct stream_id max_deleted_id;
    struct stream_names groups;
    struct slab slab; /* of pending entries */
};

struct stream *stream_create(void) __attribute__((returns_nonnull));
void stream_destroy(struct stream *s);
struct stream *stream_copy(const struct stream *s) __attribute__((returns_nonnull));

/* The stream of a handle. */
static inline struct stream *stream_of(const struct collection *c) {
    return c->object;
}

/* ---- entries ---- */

/* The id for an entry added now: of the clock, or behind the last one. False where no id is left. */
bool stream_next_id(const struct stream *s, int64_t now_ms, struct stream_id *ret_id)
    __attribute__((warn_unused_result));
/* Adds an entry of `pairs` fields with their values behind the last one; the id is above last_id. -1 where it is too
 * large for a node (nothing changed). */
int stream_append(struct stream *s, const struct collection_limits *limits, struct stream_id id,
                  const struct slice *fields_and_values, size_t pairs) __attribute__((warn_unused_result));
bool stream_contains(const struct stream *s, struct stream_id id);
/* The first or the last entry; false where there is none. */
bool stream_edge(const struct stream *s, bool first, struct stream_id *ret_id);
/* False where it is not there. */
bool stream_delete(struct stream *s, struct stream_id id);

/* What is done about pending references to entries that are trimmed or deleted. */
enum stream_refs {
    STREAM_KEEPREF, /* they stay */
    STREAM_DELREF,  /* they go */
    STREAM_ACKED    /* an entry goes only where every group has read it and none has it pending */
};
struct stream_trim {
    bool by_id;       /* entries below min_id go; else those beyond the max_length newest */
    bool approximate; /* only whole nodes */
    enum stream_refs refs;
    uint64_t max_length;
    struct stream_id min_id;
    uint64_t limit; /* at most so many, as far as nodes allow; 0: all */
    /* Sees each id that goes, before it does, where refs is not STREAM_KEEPREF. May be NULL. */
    void (*each)(void *arg, struct stream_id id);
    void *arg;
};
/* Returns how many entries went. */
uint64_t stream_trim(struct stream *s, const struct stream_trim *t);

/* A walk over the entries of [start, end] that are not deleted. The stream does not change meanwhile. */
struct stream_iter {
    struct id_cursor node;
    struct stream_id start, end, master;
    bool reverse, same_fields;
    const struct listpack *lp; /* NULL: the cursor's node is still to be entered */
    uint32_t entries_at;       /* the first entry of the node */
    uint32_t at;               /* forward: of the next item; reverse: of the entry given last */
    uint32_t value_at, field_at, master_fields_at;
    uint64_t master_fields;
    uint64_t left; /* forward: items of the current entry that are not walked over */
};
void stream_iter_init(struct stream_iter *it, const struct stream *s, struct stream_id start, struct stream_id end,
                      bool reverse);
/* The next entry and how many fields it has; false at the end. */
bool stream_iter_next(struct stream_iter *it, struct stream_id *ret_id, uint64_t *ret_fields);
/* The entry's next field; called as often as it has fields, or less. */
void stream_iter_field(struct stream_iter *it, struct packed_item *ret_field, struct packed_item *ret_value);

/* ---- groups ---- */

/* NULL where it is not there. */
struct stream_group *stream_group_find(const struct stream *s, struct slice name);
/* NULL where it is there already. */
struct stream_group *stream_group_create(struct stream *s, struct slice name, struct stream_id last_id,
                                         int64_t entries_read);
void stream_group_destroy(struct stream *s, struct stream_group *g);
static inline struct stream_group *stream_group_at(const struct stream *s, size_t i) {
    return (struct stream_group *)s->groups.at[i];
}
struct stream_consumer *stream_consumer_find(const struct stream_group *g, struct slice name);
/* NULL where it is there already. */
struct stream_consumer *stream_consumer_create(struct stream_group *g, struct slice name, int64_t now_ms);
/* Drops what it has pending. */
void stream_consumer_destroy(struct stream *s, struct stream_group *g, struct stream_consumer *c);
static inline struct stream_consumer *stream_consumer_at(const struct stream_group *g, size_t i) {
    return (struct stream_consumer *)g->consumers.at[i];
}

static inline struct stream_pending *stream_pending_find(const struct stream_group *g, struct stream_id id) {
    return id_tree_find(&g->pending, id);
}
/* The pending entry of an id, made where it is not there, and the consumer's from now on. */
struct stream_pending *stream_pending_give(struct stream *s, struct stream_group *g, struct stream_consumer *c,
                                           struct stream_id id);
/* Adds what is pending with no consumer yet, when loading. NULL where it is there. */
struct stream_pending *stream_pending_load(struct stream *s, struct stream_group *g, struct stream_id id);
/* Gives what stream_pending_load() added to its consumer. False where it is not there or has one. */
bool stream_pending_own(struct stream_group *g, struct stream_consumer *c, struct stream_id id);
/* Acknowledges: false where it is not pending. */
bool stream_pending_remove(struct stream *s, struct stream_group *g, struct stream_id id);

/* Some group has not read the entry yet or has it pending. O(groups). */
bool stream_is_referenced(const struct stream *s, struct stream_id id);

/* A group has been given the entry: moves its last id, and its count as far as that is known. */
void stream_group_advance(const struct stream *s, struct stream_group *g, struct stream_id id);
/* How many entries were added up to an id, or STREAM_ENTRIES_READ_UNKNOWN. */
int64_t stream_entries_up_to(const struct stream *s, struct stream_id id);
/* How many entries the group has still to read. False where that is not known. */
bool stream_group_lag(const struct stream *s, const struct stream_group *g, int64_t *ret_lag);

/* ---- loading ---- */

/* Adds a node, behind those there are, whose bytes come from outside: they are validated. NULL, or what is wrong with
 * them. A node without a valid entry is dropped. */
const char *stream_load_node(struct stream *s, struct stream_id master, struct slice bytes)
    __attribute__((warn_unused_result));

/* ---- figures and checks ---- */

/* Bytes of everything; the sizes of `samples` nodes stand for all, 0: each is asked. */
size_t stream_memory_bytes(const struct stream *s, size_t samples);
/* Asserts every invariant; O(n). */
void stream_check(const struct stream *s);

extern const struct value_type_ops stream_type_ops;

#endif
