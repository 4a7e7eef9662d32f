/* Sorted sets: a listpack (VALUE_ENC_LISTPACK, small.h) or an ordered tree with a table (VALUE_ENC_SKIPLIST, zset.h),
 * by the thresholds of the rules.
 *
 * Handles as in collection.h. Borrowed bytes are valid until the set changes; bytes passed in do not lie in the set.
 * Scores are never NaN. Thread: the owner of the store; reading also in a forked child. Nothing fails.
 */
#ifndef HF_STORE_SORTED_SET_H
#define HF_STORE_SORTED_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/ds/packed.h"
#include "server/store/collection.h"
#include "server/store/zset.h"

/* An empty sorted set that is to take about `expected` members of up to longest_bytes. */
struct collection sorted_set_create(const struct collection_rules *rules, size_t expected, size_t longest_bytes);
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

#endif
