/* Sets: an intset (VALUE_ENC_INTSET) of integers, a listpack (VALUE_ENC_LISTPACK), or a field table without values
 * (VALUE_ENC_HASHTABLE), by the thresholds of the rules.
 *
 * A set changes to a larger form as it grows and never goes back by itself. Handles as in collection.h. Borrowed bytes
 * are valid until the set changes; bytes passed in do not lie in the set. Thread: the owner of the store; reading also
 * in a forked child. Nothing fails.
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
/* Frees a set that is in no entry. */
void set_destroy(struct collection *s);
struct collection set_copy(const struct collection *s);
size_t set_count(const struct collection *s);
bool set_contains(const struct collection *s, struct slice member);
/* False where it was there already. */
bool set_add(struct collection *s, struct slice member);
bool set_remove(struct collection *s, struct slice member);
/* The same for a member of another set, which is not turned into text where that is not needed. */
bool set_contains_item(const struct collection *s, const struct packed_item *member);
bool set_add_item(struct collection *s, const struct packed_item *member);
bool set_remove_item(struct collection *s, const struct packed_item *member);
/* `more` members are to be added at once: room for them, in the form that so many would have. */
void set_expect(struct collection *s, size_t more);
/* Calls each() for every member until it returns nonzero; returns that. The set does not change meanwhile. */
int set_each(const struct collection *s, int (*each)(void *arg, const struct packed_item *member), void *arg);
/* As fields_scan(), in steps of about `count` members: a small set is given whole, with cursor 0. */
uint64_t set_scan(const struct collection *s, uint64_t cursor, size_t count,
                  void (*each)(void *arg, const struct packed_item *member), void *arg);
/* A member, each with (nearly, in a large set) the same probability. The set is not empty. */
struct packed_item set_random(const struct collection *s, struct rng *rng);
/* Calls each() for n different members, at most all, every subset being as likely; in no order to rely on. */
void set_sample(const struct collection *s, size_t n, struct rng *rng,
                void (*each)(void *arg, const struct packed_item *member), void *arg);

/* Hint that a member will be looked for. */
void set_prefetch(const struct collection *s, const struct packed_item *member);
/* Asserts every invariant; O(n), O(n²) in a listpack. */
void set_check(const struct collection *s);

extern const struct value_type_ops set_type_ops;

#endif
