/* Sorted sets: a listpack (VALUE_ENC_LISTPACK, small.h) or an ordered tree with a table (VALUE_ENC_SKIPLIST, zset.h),
 * by the thresholds of the rules.
 *
 * Handles as in collection.h. Borrowed bytes are valid until the set changes; bytes passed in do not lie in the set.
 * Scores are never NaN. Ranks count from 0 at the lowest member. A set that has become large stays so.
 *
 * Thread: the owner of the store; reading also in a forked child. Nothing fails but sorted_set_try_load().
 */
#ifndef HF_STORE_SORTED_SET_H
#define HF_STORE_SORTED_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/rng.h"
#include "server/ds/packed.h"
#include "server/store/collection.h"
#include "server/store/type.h"
#include "server/store/zset.h"

/* An empty sorted set that is to take about `expected` members of up to longest_bytes. */
struct collection sorted_set_create(const struct collection_rules *rules, size_t expected, size_t longest_bytes);
/* Frees a set that no entry holds. */
void sorted_set_destroy(struct collection *z);
size_t sorted_set_count(const struct collection *z);
/* False where the member is not there. */
bool sorted_set_score(const struct collection *z, struct slice member, double *ret_score);
enum zset_put sorted_set_put(struct collection *z, struct slice member, double score);
bool sorted_set_remove(struct collection *z, struct slice member);
/* Number of members below a score; with or_equal, of those at it too: the rank where a range starts or ends. */
size_t sorted_set_rank_of_score(const struct collection *z, double score, bool or_equal);
/* Calls each() for n members from a rank on (0: the lowest), upwards, or downwards with `reverse` where rank counts
 * from the highest; until it returns nonzero, which is returned. Fewer where there are fewer. */
int sorted_set_each(const struct collection *z, size_t rank, size_t n, bool reverse,
                    int (*each)(void *arg, const struct packed_item *member, double score), void *arg);

/* The rank of a member and its score (may be NULL). False where it is not there. */
bool sorted_set_rank(const struct collection *z, struct slice member, size_t *ret_rank, double *ret_score);
/* Removes n members from a rank on (rank + n <= count). */
void sorted_set_remove_ranks(struct collection *z, size_t rank, size_t n);

/* A bound of a range of bytes. */
enum sorted_set_bound { SORTED_SET_LOWEST, SORTED_SET_HIGHEST, SORTED_SET_INCLUDED, SORTED_SET_EXCLUDED };
struct sorted_set_lex {
    enum sorted_set_bound bound[2]; /* minimum, maximum */
    struct slice bytes[2];          /* where included or excluded */
};
/* The members of a range of bytes: *ret_rank (counted from the highest with `reverse`) and how many.
 *
 * Where not all scores are equal, bytes do not ascend over the set, and the range is a run of ranks all the same: none
 * where the lowest member is above it or the highest below it; else it starts at the first member, seen from the
 * side where the walk starts, that is not on this side of the range, and ends before the first one that is not inside.
 * Both encodings answer alike; a large set takes O(n) for it, O(log n) where the scores are equal. */
size_t sorted_set_lex_range(const struct collection *z, const struct sorted_set_lex *range, bool reverse,
                            size_t *ret_rank);

/* As table_scan(); a small set is given whole, with cursor 0. Stops once `count` members or more were given. */
uint64_t sorted_set_scan(const struct collection *z, uint64_t cursor, size_t count,
                         int (*each)(void *arg, const struct packed_item *member, double score), void *arg);
/* n members with repetitions, each with the same probability; not of an empty set. each() stops it with nonzero, which
 * is returned. */
int sorted_set_random(const struct collection *z, struct rng *rng, size_t n,
                      int (*each)(void *arg, const struct packed_item *member, double score), void *arg);
/* n different members (n <= count), each choice with the same probability, in no special order. */
int sorted_set_random_distinct(const struct collection *z, struct rng *rng, size_t n,
                               int (*each)(void *arg, const struct packed_item *member, double score), void *arg);
/* Makes a small set of one that was built large, where it fits the thresholds. */
void sorted_set_settle(struct collection *z);
/* A set of these members, which are taken over, in any order, in the encoding that fits. 0, or -1 where two have the
 * same bytes, a score is NaN or memory is not there; the members are freed then. */
int sorted_set_try_load(const struct collection_rules *rules, struct zmember **members, size_t n,
                        struct collection *ret_z) __attribute__((warn_unused_result));
/* Asserts every invariant. */
void sorted_set_check(const struct collection *z);

extern const struct value_type_ops sorted_set_type_ops;

#endif
