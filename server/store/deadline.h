/* An index of items by deadline: dense pointers to items that carry their deadline themselves.
 *
 * Order: deadline, then address. An item is in the index at most once, and neither its deadline nor its address changes
 * while it is; an item that moves is replaced. The index owns its nodes and never the items. A zeroed struct
 * deadline_index is empty. Thread: one owner; a forked child may read. Nothing fails.
 */
#ifndef HF_STORE_DEADLINE_H
#define HF_STORE_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/rng.h"

/* How anything in the index begins. */
struct deadline_item {
    uint64_t own; /* the item's own use */
    int64_t deadline_ms;
};

#define DEADLINE_LEAF_ITEMS 63

struct deadline_index {
    void *root;
    unsigned height; /* levels of inner nodes above the leaves */
    size_t used;
    size_t leaves, inners;
    __int128 sum_ms;             /* of all deadlines */
    struct deadline_item *first; /* earliest, NULL where not known */
};

void deadline_insert(struct deadline_index *x, struct deadline_item *item);
/* A hint that an item with this deadline is about to be inserted. */
void deadline_prefetch(const struct deadline_index *x, int64_t deadline_ms);
/* deadline_ms is the one the item was inserted with; the item itself is not read. Asserts that it is there. */
void deadline_remove(struct deadline_index *x, const struct deadline_item *item, int64_t deadline_ms);
/* The item moved: `now` carries the same deadline. `was` is not read. */
void deadline_replace(struct deadline_index *x, const struct deadline_item *was, struct deadline_item *now);
/* The earliest item, or NULL. */
struct deadline_item *deadline_first(struct deadline_index *x);
/* The latest item, or NULL. */
struct deadline_item *deadline_last(const struct deadline_index *x);
/* Copies items with a deadline before before_ms, the earliest first in order, to ret_items: some of them, none only if
 * there are none. Nothing is removed. */
size_t deadline_due(const struct deadline_index *x, int64_t before_ms,
                    struct deadline_item *ret_items[static DEADLINE_LEAF_ITEMS]);
/* An item, each with the same probability. NULL when empty. */
struct deadline_item *deadline_random(const struct deadline_index *x, struct rng *rng);
/* Mean of all deadlines, 0 when empty. */
int64_t deadline_mean_ms(const struct deadline_index *x);
size_t deadline_bytes(const struct deadline_index *x);
/* Frees the nodes and leaves an empty index. */
void deadline_clear(struct deadline_index *x);
/* Calls each() for every item, leaf after leaf but without order inside a leaf, until it returns nonzero; returns that.
 */
int deadline_each(const struct deadline_index *x, int (*each)(void *arg, struct deadline_item *item), void *arg);
/* Asserts every invariant; O(items). */
void deadline_check(const struct deadline_index *x);

#endif
