/* Hashes: a listpack (VALUE_ENC_LISTPACK), one with deadlines (VALUE_ENC_LISTPACK_EX), or a field table
 * (VALUE_ENC_HASHTABLE), by the thresholds of the rules.
 *
 * Handles as in collection.h. Borrowed bytes are valid until the hash changes; bytes passed in do not lie in the hash.
 * A field past its deadline is not there for readers who say which time it is, and stays until it is removed.
 *
 * Thread: the owner of the store; reading also in a forked child. Nothing fails.
 */
#ifndef HF_STORE_HASH_H
#define HF_STORE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/ds/packed.h"
#include "server/store/collection.h"
#include "server/store/fields.h"
#include "server/store/type.h"

struct collection hash_create(const struct collection_rules *rules);
/* Fields, due ones included. */
size_t hash_count(const struct collection *h);
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

#endif
