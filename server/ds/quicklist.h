/* A long list: a doubly linked chain of listpacks, with large elements in nodes of their own and LZF in the middle.
 *
 * Elements are packed_item; text and integer are the same element as in a listpack. The list owns its nodes. `fill` is
 * list-max-listpack-size: -1 … -5 let a node have 4, 8, 16, 32, 64 KiB; a positive one that many elements and at most
 * 8 KiB. An element that is too big for that stands alone ("plain"). `depth` is list-compress-depth: so many nodes at
 * each end are never compressed, 0: none is.
 *
 * An iterator that was placed must be ended by quicklist_end(), and while it is used nothing else changes the list.
 * Borrowed bytes are good until the iterator moves or the list changes; bytes passed in must not point into the list.
 * Thread: one owner; a forked child may read. Errors: -1 for an element or a node of 4 GiB and more (nothing changed);
 * small memory aborts.
 */
#ifndef HF_DS_QUICKLIST_H
#define HF_DS_QUICKLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/ds/listpack.h"

enum quicklist_kind { QUICKLIST_PACKED, QUICKLIST_PLAIN, QUICKLIST_PACKED_LZF, QUICKLIST_PLAIN_LZF };
enum quicklist_side { QUICKLIST_HEAD, QUICKLIST_TAIL };

/* For those who save a list; read only. */
struct quicklist_node {
    struct quicklist_node *prev, *next;
    void *data;
    uint32_t bytes; /* of listpack or element, not compressed */
    uint32_t count : 30;
    uint32_t kind : 2;
};

struct quicklist {
    struct quicklist_node *head, *tail;
    uint64_t count; /* elements */
    uint64_t bytes; /* as stored, without the nodes */
    uint32_t nodes;
    int16_t fill;
    uint16_t depth;
    uint32_t plain_bytes; /* elements of so many bytes and more stand alone, however much a node holds; 0: no such */
};

struct quicklist_iter {
    struct quicklist *list;
    struct quicklist_node *node; /* NULL: on no element */
    void *view;                  /* what a compressed node holds; owned */
    uint32_t at;                 /* in a listpack */
    bool opened;                 /* the node was decompressed to be changed */
};

struct quicklist *quicklist_create(int fill, unsigned depth);
void quicklist_destroy(struct quicklist *ql);
struct quicklist *quicklist_dup(const struct quicklist *ql);
/* Heap bytes asked for, of all. */
size_t quicklist_memory_bytes(const struct quicklist *ql);

int quicklist_push(struct quicklist *ql, enum quicklist_side side, struct packed_item v)
    __attribute__((warn_unused_result));
/* The element at an end of a list that is not empty, borrowed; and its removal. */
struct packed_item quicklist_peek(const struct quicklist *ql, enum quicklist_side side);
void quicklist_drop(struct quicklist *ql, enum quicklist_side side);
/* The last element becomes the first. */
void quicklist_rotate(struct quicklist *ql);
/* Deletes up to n elements from an index (negative: from the end) on. Returns how many. */
uint64_t quicklist_delete_range(struct quicklist *ql, int64_t index, uint64_t n);

/* Calls each() for up to n elements from an index on (negative: from the end), towards the tail or `backwards`, until
 * it returns nonzero; returns that. The list does not change meanwhile. An element's bytes are valid until each()
 * returns. */
int quicklist_each(const struct quicklist *ql, int64_t index, uint64_t n, bool backwards,
                   int (*each)(void *arg, const struct packed_item *v), void *arg);
/* The same for the elements of one node, forwards. */
int quicklist_node_each(const struct quicklist_node *n, int (*each)(void *arg, const struct packed_item *v), void *arg);

/* The listpack of a list of one node, which is neither plain nor compressed; the rest of the list is freed. */
struct listpack *quicklist_take_listpack(struct quicklist *ql);

/* ---- loading: whole nodes at the tail ---- */

/* Takes a sound listpack that is not empty. -1 where its bytes or elements are too many (2^30): not taken. */
int quicklist_append_listpack_take(struct quicklist *ql, struct listpack *lp) __attribute__((warn_unused_result));
/* A node with this element alone. */
int quicklist_append_plain(struct quicklist *ql, struct slice s) __attribute__((warn_unused_result));

/* ---- saving ---- */

static inline bool quicklist_node_is_plain(const struct quicklist_node *n) {
    return n->kind == QUICKLIST_PLAIN || n->kind == QUICKLIST_PLAIN_LZF;
}
static inline bool quicklist_node_is_lzf(const struct quicklist_node *n) {
    return n->kind == QUICKLIST_PACKED_LZF || n->kind == QUICKLIST_PLAIN_LZF;
}
/* The listpack, the element, or the LZF data that become n->bytes of them. */
struct slice quicklist_node_stored(const struct quicklist_node *n);

/* ---- iterators ---- */

/* Places the iterator on the element at an index (negative: from the end). False, and nothing to end, where none is. */
bool quicklist_seek(struct quicklist *ql, int64_t index, struct quicklist_iter *ret_it);
/* On to the neighbour; false where there is none (the iterator stands on no element then, and is still to be ended). */
bool quicklist_next(struct quicklist_iter *it);
bool quicklist_prev(struct quicklist_iter *it);
void quicklist_end(struct quicklist_iter *it);
struct packed_item quicklist_get(const struct quicklist_iter *it);
bool quicklist_equals(const struct quicklist_iter *it, struct slice s);
/* Deletes the element and goes on to the one behind it, or with `backwards` to the one in front. False: none. */
bool quicklist_delete(struct quicklist_iter *it, bool backwards);
/* These end the iterator, also where they fail. */
int quicklist_insert_before(struct quicklist_iter *it, struct packed_item v) __attribute__((warn_unused_result));
int quicklist_insert_after(struct quicklist_iter *it, struct packed_item v) __attribute__((warn_unused_result));
int quicklist_replace(struct quicklist_iter *it, struct packed_item v) __attribute__((warn_unused_result));

/* Asserts every invariant; O(size). */
void quicklist_check(const struct quicklist *ql);

#endif
