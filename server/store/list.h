/* Lists: a listpack (VALUE_ENC_LISTPACK) while one node of a quicklist would hold it, else a quicklist
 * (VALUE_ENC_QUICKLIST); it goes back to a listpack where little is left.
 *
 * Handles as in collection.h. Elements are packed items: text, or the integer that it spells. Borrowed bytes are valid
 * until the list changes; bytes passed in do not lie in the list. Thread: the owner of the store; reading also in a
 * forked child. Errors: -1 for an element of 4 GiB and more (nothing changed).
 */
#ifndef HF_STORE_LIST_H
#define HF_STORE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/ds/packed.h"
#include "server/ds/quicklist.h"
#include "server/store/collection.h"
#include "server/store/type.h"

/* An empty list. */
struct collection list_create(const struct collection_rules *rules);
size_t list_count(const struct collection *l);
int list_push(struct collection *l, enum quicklist_side side, struct slice s) __attribute__((warn_unused_result));
/* Calls each() for up to n elements from an index on (negative: from the end), forwards, until it returns nonzero;
 * returns that. */
int list_each(const struct collection *l, int64_t index, size_t n, int (*each)(void *arg, const struct packed_item *v),
              void *arg);

extern const struct value_type_ops list_type_ops;

#endif
