/* Ziplists and zipmaps: packed layouts that only old RDB files hold. They are read, never written.
 *
 * To read one is to validate it (packed.h): each() sees the elements in order and may store them as they come, to drop
 * them where a fault follows. Pure, any thread.
 */
#ifndef HF_DS_PACKED_LEGACY_H
#define HF_DS_PACKED_LEGACY_H

#include "server/ds/packed.h"

/* *ret_count: elements; of a zipmap fields and values. Written where the bytes are sound. */
const char *ziplist_validate(struct slice b, packed_each_fn *each, void *arg, uint64_t *ret_count);
const char *zipmap_validate(struct slice b, packed_each_fn *each, void *arg, uint64_t *ret_count);

#endif
