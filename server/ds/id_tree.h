/* An id tree: an ordered map from stream ids to pointers, a B+ tree for ids that mostly come in ascending order.
 *
 * The tree owns its nodes and never the values, which are not NULL. A zeroed struct id_tree is an empty tree and holds
 * no memory. Finding, inserting and removing are O(log n); adding behind the last id and a step of a cursor O(1). A
 * tree of one id takes 48 bytes; one filled in ascending order 24 bytes an id and 1.6 % for the nodes above.
 *
 * A cursor is valid until an id is added or removed. Thread: one owner; a forked child may read. Nothing fails.
 */
#ifndef HF_DS_ID_TREE_H
#define HF_DS_ID_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/ds/stream_id.h"

struct id_item {
    struct stream_id id;
    void *value;
};

struct id_leaf {
    struct id_leaf *prev, *next;
    uint16_t used, cap;
    struct id_item items[];
};

struct id_tree {
    void *root;
    unsigned height; /* levels of inner nodes above the leaves */
    size_t used;     /* ids */
    struct id_leaf *first, *last;
    size_t node_bytes; /* allocated, all nodes */
};

struct id_cursor {
    struct id_leaf *leaf; /* NULL past either end */
    unsigned slot;
};

/* The value, or NULL. */
void *id_tree_find(const struct id_tree *t, struct stream_id id);
/* False where the id is there already; nothing changes then. */
bool id_tree_insert(struct id_tree *t, struct stream_id id, void *value) __attribute__((warn_unused_result));
/* Removes the id and returns its value; NULL where it is not there. */
void *id_tree_remove(struct id_tree *t, struct stream_id id);
/* Frees the nodes and leaves an empty tree; drop(), unless NULL, gets each value in order. */
void id_tree_clear(struct id_tree *t, void (*drop)(void *arg, void *value), void *arg);

struct id_cursor id_tree_first(const struct id_tree *t);
struct id_cursor id_tree_last(const struct id_tree *t);
/* The first id that is not below, or the last that is not above. */
struct id_cursor id_tree_seek_ge(const struct id_tree *t, struct stream_id id);
struct id_cursor id_tree_seek_le(const struct id_tree *t, struct stream_id id);

/* The item under the cursor, whose value may be replaced; NULL past an end. */
static inline struct id_item *id_cursor_item(const struct id_cursor *c) {
    return c->leaf != NULL ? &c->leaf->items[c->slot] : NULL;
}
static inline void id_cursor_next(struct id_cursor *c) {
    if (++c->slot == c->leaf->used) {
        c->leaf = c->leaf->next;
        c->slot = 0;
    }
}
static inline void id_cursor_prev(struct id_cursor *c) {
    if (c->slot-- == 0) {
        c->leaf = c->leaf->prev;
        c->slot = c->leaf != NULL ? c->leaf->used - 1u : 0;
    }
}

/* Nodes that a radix tree with compressed paths over the ids' bytes would have: what tools know from XINFO. O(n). */
size_t id_tree_radix_nodes(const struct id_tree *t);

/* Asserts every invariant; O(n). */
void id_tree_check(const struct id_tree *t);

#endif
