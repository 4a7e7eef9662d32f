/* Packed payloads of values: validation, and iteration over what they hold. Pure, any thread. Internal to
 * persistence/rdb and its tests.
 *
 * Each check returns NULL where the bytes are sound, else a static text that says what is wrong; nothing outside the
 * slice is ever read. Elements are shown to `each` (may be NULL) as they are verified; a fault may still follow. each()
 * returns NULL to go on or a static text to end with.
 */
#ifndef HF_RDB_BLOB_H
#define HF_RDB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

struct blob_item {
    bool is_int;
    int64_t i;
    struct slice s; /* where not is_int */
};

typedef const char *blob_each_fn(void *arg, const struct blob_item *item);

/* ret_count: elements (zipmap: fields and values). */
const char *blob_check_listpack(struct slice b, blob_each_fn *each, void *arg, uint64_t *ret_count);
const char *blob_check_ziplist(struct slice b, blob_each_fn *each, void *arg, uint64_t *ret_count);
const char *blob_check_zipmap(struct slice b, blob_each_fn *each, void *arg, uint64_t *ret_count);
/* Sorted, without repetitions, in the smallest width or a greater one. */
const char *blob_check_intset(struct slice b, blob_each_fn *each, void *arg, uint64_t *ret_count);

#endif
