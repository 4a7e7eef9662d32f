/* Lists: a listpack (VALUE_ENC_LISTPACK) while one node of a quicklist would hold it, else a quicklist
 * (VALUE_ENC_QUICKLIST); it goes back to a listpack where little is left.
 *
 * Handles as in collection.h. Elements are packed items: text, or the integer that it spells. Borrowed bytes are valid
 * until the list changes, those that list_each() shows until each() returns; bytes passed in do not lie in the list.
 * Indexes that are negative count from the end.
 *
 * A list becomes a quicklist before a change for which, by the sum of the lengths that come in (the overhead of their
 * encoding is not counted), one node would be too small. It becomes a listpack again behind a removal that leaves one
 * node, filled at most by half.
 *
 * Thread: the owner of the store; reading also in a forked child. Errors: -1 for an element of 4 GiB and more (nothing
 * changed).
 */
#ifndef HF_STORE_LIST_H
#define HF_STORE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/ds/packed.h"
#include "server/ds/quicklist.h"
#include "server/store/collection.h"
#include "server/store/type.h"

/* An empty list. */
struct collection list_create(const struct collection_rules *rules);
size_t list_count(const struct collection *l);

/* ---- building ---- */

/* For lists that are made whole: goes by the exact size. */
int list_push(struct collection *l, enum quicklist_side side, struct slice s) __attribute__((warn_unused_result));
int list_push_item(struct collection *l, enum quicklist_side side, struct packed_item v)
    __attribute__((warn_unused_result));
/* Appends a sound listpack that is not empty. list_loaded() must follow the last one. */
void list_append_listpack_take(struct collection *l, struct listpack *lp);
/* Appends an element that stands alone in its node. */
int list_append_plain(struct collection *l, struct slice s) __attribute__((warn_unused_result));
/* A list that was appended to gets the encoding that its size asks for. */
void list_loaded(struct collection *l);

/* ---- reading ---- */

/* Calls each() for up to n elements from an index on, forwards, until it returns nonzero; returns that. */
int list_each(const struct collection *l, int64_t index, size_t n, int (*each)(void *arg, const struct packed_item *v),
              void *arg);
/* The same towards the head. */
int list_each_backwards(const struct collection *l, int64_t index, size_t n,
                        int (*each)(void *arg, const struct packed_item *v), void *arg);
/* False where there is none. The item's bytes are valid until the list changes, those of an element in a compressed
 * node are copied to *scratch. */
bool list_get(const struct collection *l, int64_t index, struct buf *scratch, struct packed_item *ret_v);
/* The element at an end of a list that is not empty; borrowed. */
struct packed_item list_peek(const struct collection *l, enum quicklist_side side);
/* Whether an element is s. */
struct list_needle {
    struct slice s;
    bool is_int;
    int64_t i;
};
struct list_needle list_needle(struct slice s);
static inline bool list_needle_is(const struct list_needle *k, const struct packed_item *v) {
    return v->is_int ? k->is_int && k->i == v->i : slice_eq(k->s, v->s);
}

/* ---- changing ---- */

/* Pushes n elements one after the other. */
int list_push_all(struct collection *l, enum quicklist_side side, const struct slice *v, size_t n)
    __attribute__((warn_unused_result));
/* An element of another list, whose bytes do not lie in this one. */
int list_push_moved(struct collection *l, enum quicklist_side side, struct packed_item v)
    __attribute__((warn_unused_result));
/* Removes up to n elements at an end. */
void list_drop(struct collection *l, enum quicklist_side side, size_t n);
/* Keeps n elements from an index (not negative) on. */
void list_trim(struct collection *l, size_t index, size_t n);
/* Removes up to n elements equal to s, from the head or, `backwards`, from the tail on. Returns how many. */
size_t list_remove(struct collection *l, struct slice s, size_t n, bool backwards);
/* 1; 0 where no element is pivot; -1 as above. */
int list_insert(struct collection *l, struct slice pivot, bool before, struct slice s)
    __attribute__((warn_unused_result));
/* 1; 0 where there is no such index; -1 as above. */
int list_set(struct collection *l, int64_t index, struct slice s) __attribute__((warn_unused_result));

/* Asserts every invariant; O(size). */
void list_check(const struct collection *l);

extern const struct value_type_ops list_type_ops;

#endif
