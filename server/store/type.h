/* What the store needs to know of a collection type: one row per type, composed in type.c.
 *
 * A type's file defines its row as a constant; nothing is registered at run time. Thread: free() may run on a
 * background thread, the others on the owner's (memory() in a forked child too).
 */
#ifndef HF_STORE_TYPE_H
#define HF_STORE_TYPE_H

#include <stddef.h>

#include "server/store/value.h"

struct value_type_ops {
    void (*free)(enum value_encoding encoding, void *object);
    /* Rough number of allocations that free() returns. O(1). */
    size_t (*effort)(enum value_encoding encoding, const void *object);
    /* Bytes behind the object; `samples` elements are looked at, 0 = all. */
    size_t (*memory_bytes)(enum value_encoding encoding, const void *object, size_t samples);
    void *(*copy)(enum value_encoding encoding, const void *object);
    /* Elements; a key whose collection has none is deleted. NULL: it stays (streams). O(1). */
    size_t (*count)(enum value_encoding encoding, const void *object);
};

/* The row of a collection type. Asserts that the type has one. */
const struct value_type_ops *value_type_ops(enum value_type type);

#endif
