/* What packed structures hold: an element is an integer or bytes. Header only.
 *
 * Validators of packed bytes (listpack.h, intset.h, packed_legacy.h) share their form: they return NULL where the bytes
 * are sound, else a static text that says what is wrong, and read nothing outside the slice. Elements are shown to
 * `each` (may be NULL) as they are verified; a fault may still follow. each() returns NULL to go on, or a static text
 * to end with. They are pure and run on any thread.
 */
#ifndef HF_DS_PACKED_H
#define HF_DS_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/num.h"
#include "server/base/slice.h"

struct packed_item {
    bool is_int;
    int64_t i;
    struct slice s; /* where not is_int */
};

typedef const char *packed_each_fn(void *arg, const struct packed_item *item);

static inline struct packed_item packed_int(int64_t i) {
    return (struct packed_item){.is_int = true, .i = i};
}
/* Bytes; whoever stores them may store the integer that they spell in canonical decimal form. */
static inline struct packed_item packed_bytes(struct slice s) {
    return (struct packed_item){.s = s};
}

/* The bytes of an element; digits has room for those of an integer, and the bytes live as long as both. */
static inline struct slice packed_text(const struct packed_item *item, char digits[static NUM_I64_CHARS]) {
    return item->is_int ? slice_of(digits, num_format_i64(digits, item->i)) : item->s;
}

#endif
