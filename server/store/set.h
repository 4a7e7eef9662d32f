/* Sets: an intset (VALUE_ENC_INTSET) of integers, a listpack (VALUE_ENC_LISTPACK), or a field table without values
 * (VALUE_ENC_HASHTABLE), by the thresholds of the rules.
 *
 * Handles as in collection.h. Borrowed bytes are valid until the set changes; bytes passed in do not lie in the set.
 * Thread: the owner of the store; reading also in a forked child. Nothing fails.
 */
#ifndef HF_STORE_SET_H
#define HF_STORE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/rng.h"
#include "server/ds/packed.h"
#include "server/store/collection.h"
#include "server/store/type.h"

/* An empty set that is to take about `expected` members, the first of them like `example`. */
struct collection set_create(const struct collection_rules *rules, size_t expected, struct slice example);
size_t set_count(const struct collection *s);
bool set_contains(const struct collection *s, struct slice member);
/* False where it was there already. */
bool set_add(struct collection *s, struct slice member);
bool set_remove(struct collection *s, struct slice member);
/* Calls each() for every member until it returns nonzero; returns that. The set does not change meanwhile. */
int set_each(const struct collection *s, int (*each)(void *arg, const struct packed_item *member), void *arg);
/* As fields_scan(): a small set is given whole, with cursor 0. */
uint64_t set_scan(const struct collection *s, uint64_t cursor, size_t count,
                  void (*each)(void *arg, const struct packed_item *member), void *arg);

#endif
