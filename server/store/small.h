/* Small collections: sorted sets and hashes as listpacks, sets as listpacks and intsets, and the ways to their large
 * forms (zset.h, fields.h).
 *
 * A sorted set is a listpack of member, score, member, score, … in ascending order; a hash of field, value, …; a set of
 * members. The caller owns the block and decides by its thresholds (struct small_limits) which form a value has: a
 * change that would pass them is not made. Members and values given to a change do not lie in the block.
 *
 * Thread: as listpack.h. Errors: told per call.
 */
#ifndef HF_STORE_SMALL_H
#define HF_STORE_SMALL_H

#include "server/ds/intset.h"
#include "server/ds/listpack.h"
#include "server/store/fields.h"
#include "server/store/zset.h"

struct small_limits {
    size_t elements;      /* at most: members, or fields with their value */
    size_t element_bytes; /* of each string */
};

/* Whether so many elements, with strings up to so long, may stand in a listpack. */
bool small_fits(struct small_limits limits, size_t elements, size_t longest_bytes);

/* ---- sorted sets ---- */

/* The member's offset, or 0. *ret_score and *ret_rank (may be NULL) are set where it is there. */
uint32_t small_zset_find(const struct listpack *lp, struct slice member, double *ret_score, size_t *ret_rank);
/* The score behind the member at an offset. */
double small_zset_score(const struct listpack *lp, uint32_t at);
/* Adds a member or gives it another score (not NaN). 0 and *ret_put; -1 where it does not fit the limits (nothing
 * changed). */
int small_zset_put(struct listpack **lp, struct small_limits limits, struct slice member, double score,
                   enum zset_put *ret_put) __attribute__((warn_unused_result));
/* False where it is not there. */
bool small_zset_remove(struct listpack **lp, struct slice member);
/* Number of members below a score; with or_equal, of those at it too. */
size_t small_zset_rank_of_score(const struct listpack *lp, double score, bool or_equal);
/* The same by bytes alone, where all scores are equal. */
size_t small_zset_rank_of_bytes(const struct listpack *lp, struct slice bytes, bool or_equal);
/* A large set of the same members, which are in order and none is twice: the listpack is ours or was checked. NULL
 * where one is twice or memory is not there. The listpack stays the caller's. */
struct zset *small_zset_enlarge(const struct listpack *lp, const struct table_policy *policy)
    __attribute__((warn_unused_result));
/* A listpack of the same members, or NULL where it does not fit. */
struct listpack *small_zset_from(const struct zset *z, struct small_limits limits) __attribute__((warn_unused_result));
/* Asserts that it is sound, in order and has no member twice; O(n²). */
void small_zset_check(const struct listpack *lp);

/* ---- hashes and sets ---- */

/* The offset of a field's value, or 0. */
uint32_t small_hash_find(const struct listpack *lp, struct slice field);
/* 1 where the field is new, 0 where its value was replaced, -1 where it does not fit (nothing changed). */
int small_hash_put(struct listpack **lp, struct small_limits limits, struct slice field, struct slice value)
    __attribute__((warn_unused_result));
bool small_hash_remove(struct listpack **lp, struct slice field);
/* Large forms of the same elements. NULL where one is twice or memory is not there. */
struct fields *small_hash_enlarge(const struct listpack *lp, const struct table_policy *policy)
    __attribute__((warn_unused_result));
struct fields *small_set_enlarge(const struct listpack *lp, const struct table_policy *policy)
    __attribute__((warn_unused_result));
struct fields *small_intset_enlarge(const struct intset *is, const struct table_policy *policy)
    __attribute__((warn_unused_result));
/* A listpack of the same integers, or NULL where it does not fit. */
struct listpack *small_set_from_intset(const struct intset *is, struct small_limits limits)
    __attribute__((warn_unused_result));

#endif
