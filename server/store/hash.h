/* Hashes: a listpack (VALUE_ENC_LISTPACK), one with deadlines (VALUE_ENC_LISTPACK_EX), or a field table
 * (VALUE_ENC_HASHTABLE), by the thresholds of the rules.
 *
 * Handles as in collection.h. Borrowed bytes are valid until the hash changes; bytes passed in do not lie in the hash.
 * A field past its deadline is not there for readers who say which time it is, and stays until it is removed. At the
 * very millisecond of its deadline it still lives, as keys do.
 *
 * A hash that has had deadlines carries a timer, by which the keyspace keeps it in an index (keyspace.h). Functions
 * here do not touch the index: who changes a hash in a keyspace tells it with keyspace_fields_changed(), which
 * call_collection_store() does for commands.
 *
 * Thread: the owner of the store; reading also in a forked child. Nothing fails.
 */
#ifndef HF_STORE_HASH_H
#define HF_STORE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/rng.h"
#include "server/ds/listpack.h"
#include "server/ds/packed.h"
#include "server/store/collection.h"
#include "server/store/deadline.h"
#include "server/store/fields.h"
#include "server/store/type.h"

/* As a time: nothing is due (a log being replayed, a primary's stream). */
#define HASH_NOTHING_DUE INT64_MIN
/* As a deadline: the one that the field has, if it is there. */
#define HASH_KEEP_DEADLINE INT64_C(-2)

struct collection hash_create(const struct collection_rules *rules);
/* Fields, due ones included. */
size_t hash_count(const struct collection *h);
/* Fields that are not due at now_ms. O(1) where none is. */
size_t hash_live_count(const struct collection *h, int64_t now_ms);
/* The value of a field that is not due at now_ms. False where there is none. */
bool hash_get(const struct collection *h, struct slice field, int64_t now_ms, struct packed_item *ret_value);
/* Gives a field a value, without a deadline. True when the field is new. */
bool hash_put(struct collection *h, struct slice field, struct slice value);
bool hash_remove(struct collection *h, struct slice field);
/* Every field as it is stored, due ones included, until each() returns nonzero; returns that. deadline_ms:
 * FIELD_NO_DEADLINE or Unix ms. */
int hash_each(const struct collection *h,
              int (*each)(void *arg, const struct packed_item *field, const struct packed_item *value,
                          int64_t deadline_ms),
              void *arg);

/* ---- deadlines ---- */

/* As hash_get(), with the deadline or FIELD_NO_DEADLINE; either result may be NULL. */
bool hash_find(const struct collection *h, struct slice field, int64_t now_ms, struct packed_item *ret_value,
               int64_t *ret_deadline_ms);
/* As hash_put(), with this deadline, none or HASH_KEEP_DEADLINE. */
bool hash_put_until(struct collection *h, struct slice field, struct slice value, int64_t deadline_ms);
/* Gives a field another deadline or none. False where it is not there. */
bool hash_set_deadline(struct collection *h, struct slice field, int64_t deadline_ms);
/* The earliest deadline, or FIELD_NO_DEADLINE. */
int64_t hash_next_deadline_ms(const struct collection *h);
/* Whether it has fields and every one of them is due at now_ms. */
bool hash_is_over(const struct collection *h, int64_t now_ms);
/* Removes up to max fields that are due at now_ms, the earliest first; each is shown before (its bytes are valid during
 * that call). Returns how many. */
size_t hash_remove_due(struct collection *h, int64_t now_ms, size_t max, void (*each)(void *arg, struct slice field),
                       void *arg);

/* ---- many fields ---- */

/* A field, each with nearly the same probability, due ones included; false when it is empty. */
bool hash_random(const struct collection *h, struct rng *rng, struct packed_item *ret_field,
                 struct packed_item *ret_value, int64_t *ret_deadline_ms);
/* One step of a scan, which shows some fields as hash_each() does; returns the next cursor, 0 at the end (small ones
 * are shown whole in one step). Every field that stays is seen at least once. */
uint64_t hash_scan(const struct collection *h, uint64_t cursor,
                   void (*each)(void *arg, const struct packed_item *field, const struct packed_item *value,
                                int64_t deadline_ms),
                   void *arg);
/* The hash will have so many fields more: the small form is left at once where they would not fit it, and the large one
 * makes room where memory is there. */
void hash_expect(struct collection *h, size_t more);

/* ---- whole hashes: the codecs of files ---- */

/* Takes over a sound listpack of field, value, … in which no field is twice. It becomes large where it has more fields
 * than the rules allow; the length of its strings is not looked at. */
struct collection hash_from_listpack_take(const struct collection_rules *rules, struct listpack *lp);
/* The same for field, value, deadline (0: none), …, in any order; plain pairs where none has a deadline. */
struct collection hash_from_triples_take(const struct collection_rules *rules, struct listpack *lp);
/* The listpack of a small hash: pairs, or (VALUE_ENC_LISTPACK_EX) triples with the earliest deadline first and those
 * without last. NULL where it is large. */
const struct listpack *hash_listpack(const struct collection *h);

/* ---- the keyspace's view ---- */

/* The place of the timer of a hash; NULL where it has none: a plain listpack. The timer moves with the contents when
 * they change form, and is freed with the object. */
struct deadline_item **hash_timer(const struct collection *h);
/* Asserts every invariant; O(n²) for small ones. */
void hash_check(const struct collection *h);

extern const struct value_type_ops hash_type_ops;

#endif
