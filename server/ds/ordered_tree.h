/* An ordered tree: a counted B+ tree of sorted-set members, ordered by score and, where scores are equal, by bytes.
 *
 * The tree owns its nodes and never the members: who inserts a member frees it after its removal. A member is in a tree
 * at most once, and its score changes only by ordered_tree_move() while it is. Two members never have the same score
 * and the same bytes (the caller looks in its table first). Scores are never NaN; -0 and 0 are equal. A zeroed struct
 * ordered_tree is an empty tree.
 *
 * A rank counts from 0 at the lowest member. Ranks, seeks, insertions and removals are O(log n); a step of a cursor is
 * O(1). A cursor is valid until the next change of the tree. Thread: one owner; a forked child may read. Nothing fails.
 */
#ifndef HF_DS_ORDERED_TREE_H
#define HF_DS_ORDERED_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/base/slice.h"

/* A member in one allocation: its score, then a length of 1 byte, or 0xff and a length of 8 bytes, then its bytes. */
struct zmember {
    double score;
    uint8_t tail[];
};

#define ZMEMBER_LONG 0xffu

static inline struct slice zmember_bytes(const struct zmember *m) {
    if (__builtin_expect(m->tail[0] != ZMEMBER_LONG, 1))
        return slice_of(m->tail + 1, m->tail[0]);
    uint64_t n;
    memcpy(&n, m->tail + 1, sizeof n);
    return slice_of(m->tail + 1 + sizeof n, n);
}

/* Copies the bytes. Aborts when memory is gone. */
struct zmember *zmember_create(double score, struct slice bytes) __attribute__((returns_nonnull));
void zmember_destroy(struct zmember *m);
size_t zmember_alloc_bytes(struct slice bytes); /* what its allocation really takes */
/* Order of bytes, a shorter prefix first: below, equal to or above 0. */
int zmember_compare_bytes(struct slice a, struct slice b);

struct ordered_leaf;

struct ordered_tree {
    void *root;
    unsigned height; /* levels of inner nodes above the leaves */
    size_t used;     /* members */
    struct ordered_leaf *first, *last;
    size_t node_bytes; /* allocated, all nodes */
};

struct ordered_cursor {
    const struct ordered_leaf *leaf; /* NULL past either end */
    unsigned slot;
};

/* ---- changes ---- */

void ordered_tree_insert(struct ordered_tree *t, struct zmember *m);
/* Asserts that this very member is there. */
void ordered_tree_remove(struct ordered_tree *t, const struct zmember *m);
/* Gives a member of the tree another score and its place by it. */
void ordered_tree_move(struct ordered_tree *t, struct zmember *m, double score);
/* Removes the n members from `rank` on (rank + n <= used); drop(), unless NULL, is called for each, in order, when the
 * tree no longer knows it. */
void ordered_tree_remove_ranks(struct ordered_tree *t, size_t rank, size_t n,
                               void (*drop)(void *arg, struct zmember *m), void *arg);
/* Fills an empty tree with n members in ascending order (asserted), with little free room in the nodes. O(n). */
void ordered_tree_build(struct ordered_tree *t, struct zmember *const *members, size_t n);
/* Frees the nodes and leaves an empty tree; drop(), unless NULL, is called for each member in order. */
void ordered_tree_clear(struct ordered_tree *t, void (*drop)(void *arg, struct zmember *m), void *arg);

/* ---- ranks ---- */

/* Asserts that this very member is there. */
size_t ordered_tree_rank(const struct ordered_tree *t, const struct zmember *m);
/* Number of members below a score; with or_equal, of those at it too: the rank where a range starts or ends. */
size_t ordered_tree_rank_of_score(const struct ordered_tree *t, double score, bool or_equal);
/* The same by bytes alone. Defined where all scores are equal; else some number up to `used`. */
size_t ordered_tree_rank_of_bytes(const struct ordered_tree *t, struct slice bytes, bool or_equal);
/* The member of a rank, or NULL when rank >= used. */
struct zmember *ordered_tree_at(const struct ordered_tree *t, size_t rank);

/* ---- walks ---- */

/* A cursor on the member of a rank; past the end when rank >= used. */
struct ordered_cursor ordered_tree_seek(const struct ordered_tree *t, size_t rank);
/* The member under the cursor, or NULL past an end. */
struct zmember *ordered_cursor_member(const struct ordered_cursor *c);
/* The member under the cursor, or NULL; the cursor then goes up or down by one. */
struct zmember *ordered_cursor_next(struct ordered_cursor *c);
struct zmember *ordered_cursor_prev(struct ordered_cursor *c);

/* Up to n members from the cursor on, upwards or downwards, which are on their way into the cache; the cursor moves
 * behind them. Returns how many: fewer only where the tree ends. */
size_t ordered_cursor_take(struct ordered_cursor *c, bool reverse, const struct zmember **ret_members, size_t n);

/* Asserts every invariant; O(n). */
void ordered_tree_check(const struct ordered_tree *t);

#endif
