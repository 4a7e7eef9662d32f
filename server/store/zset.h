/* Sorted sets, the large form (VALUE_ENC_SKIPLIST): an ordered tree and a table over the same members.
 *
 * A set owns its members. It keeps the address of the table policy it was created with (the hash key and whether tables
 * may be resized now), which outlives it. Members that a function returns are borrowed and valid until the next change;
 * only zset_pop() hands one over. Ranges are walked on zset_tree() by ranks and cursors.
 *
 * Thread: the owner of the store; zset_destroy() of a detached set on any thread; a forked child may read. Errors: only
 * zset_try_load() can fail.
 */
#ifndef HF_STORE_ZSET_H
#define HF_STORE_ZSET_H

#include "server/ds/ordered_tree.h"
#include "server/ds/table.h"

struct zset;

struct zset *zset_create(const struct table_policy *policy) __attribute__((returns_nonnull));
void zset_destroy(struct zset *z);
struct zset *zset_copy(const struct zset *z) __attribute__((returns_nonnull));
/* A set of n members that are taken over, in any order; those that ascend or descend need no sort. NULL where two have
 * the same bytes, a score is NaN or memory for the table is not there; the members are freed then. */
struct zset *zset_try_load(const struct table_policy *policy, struct zmember **members, size_t n)
    __attribute__((warn_unused_result));

/* Building a set whose scores are known only at the end: between begin and end it is a table of members, which only
 * these functions, zset_destroy() and a caller that changes the score of a member (never to NaN) know. */
struct zset *zset_build_begin(const struct table_policy *policy, size_t expected) __attribute__((returns_nonnull));
/* The member of these bytes, made with this score where it is not there. */
struct zmember *zset_build_member(struct zset *z, struct slice bytes, double score, bool *ret_added);
void zset_build_end(struct zset *z);

size_t zset_count(const struct zset *z);
const struct ordered_tree *zset_tree(const struct zset *z);

enum zset_put { ZSET_ADDED, ZSET_MOVED, ZSET_SAME };
/* Adds a member or gives it another score, which is not NaN. */
enum zset_put zset_put(struct zset *z, struct slice bytes, double score);
/* The same for a member that zset_find() returned. */
enum zset_put zset_set_score(struct zset *z, struct zmember *m, double score);
/* The member, or NULL. */
struct zmember *zset_find(const struct zset *z, struct slice bytes);
/* The member and its rank from the lowest, or NULL with *ret_rank unchanged. */
struct zmember *zset_rank(const struct zset *z, struct slice bytes, size_t *ret_rank);
/* False where it is not there. */
bool zset_remove(struct zset *z, struct slice bytes);
/* Removes n members from a rank on (rank + n <= count), after each(), unless NULL, has seen each of them. */
void zset_remove_ranks(struct zset *z, size_t rank, size_t n, void (*each)(void *arg, const struct zmember *m),
                       void *arg);
/* Takes the lowest or the highest member out; the caller destroys it. NULL when empty. */
struct zmember *zset_pop(struct zset *z, bool highest);

/* A member, each with the same probability; NULL when empty. */
struct zmember *zset_random(const struct zset *z, struct rng *rng);
/* As table_scan(): every member that stays is seen at least once. */
uint64_t zset_scan(const struct zset *z, uint64_t cursor, void (*each)(void *arg, struct zmember *m), void *arg);
/* Hint that a member will be looked up. */
void zset_prefetch(const struct zset *z, struct slice bytes);

/* Bytes of everything; member sizes are those of `samples` members, 0 = of all. */
size_t zset_memory_bytes(const struct zset *z, size_t samples);
/* Asserts every invariant; O(n). */
void zset_check(const struct zset *z);

#endif
