/* A sorted set of integers in one heap block, in exactly the layout that RDB files hold.
 *
 * The block is the object: whoever holds the pointer owns it; a call that may move it takes the address of the pointer.
 * All integers have one width (2, 4 or 8 bytes), which grows when one needs it and never shrinks.
 *
 * Thread: one owner; any number of readers while nobody writes. Errors: -1 where the block would pass INTSET_MAX_BYTES
 * (nothing changed); small memory aborts. Everything but intset_validate() trusts the bytes.
 */
#ifndef HF_DS_INTSET_H
#define HF_DS_INTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/endian.h"
#include "server/base/rng.h"
#include "server/ds/packed.h"

#define INTSET_HEADER_BYTES 8u
#define INTSET_MAX_BYTES (UINT32_C(1) << 30)

struct intset {
    unsigned char width_le[4];
    unsigned char count_le[4];
    unsigned char rest[];
};

struct intset *intset_create(void);
void intset_destroy(struct intset *is);
struct intset *intset_dup(const struct intset *is);
/* Copies validated bytes; NULL where memory is not there. */
struct intset *intset_try_load(struct slice validated);

static inline uint32_t intset_count(const struct intset *is) {
    return load_le32(is->count_le);
}
static inline uint32_t intset_width(const struct intset *is) {
    return load_le32(is->width_le);
}
static inline size_t intset_bytes(const struct intset *is) {
    return INTSET_HEADER_BYTES + (size_t)intset_count(is) * intset_width(is);
}
static inline struct slice intset_slice(const struct intset *is) {
    return slice_of(is, intset_bytes(is));
}
/* The integer at index i < count, in ascending order. */
static inline int64_t intset_get(const struct intset *is, uint32_t i) {
    uint32_t width = intset_width(is);
    const unsigned char *p = is->rest + (size_t)i * width;
    return width == 2 ? (int16_t)load_le16(p) : width == 4 ? (int32_t)load_le32(p) : (int64_t)load_le64(p);
}
/* Whether v is there. *ret_index (may be NULL): where it is, or where it would go. */
bool intset_find(const struct intset *is, int64_t v, uint32_t *ret_index);
/* 1 where v is new, 0 where it was there, -1 on overflow. */
int intset_add(struct intset **is, int64_t v) __attribute__((warn_unused_result));
bool intset_remove(struct intset **is, int64_t v);
/* Removes the integers at n indexes from i on, all of which are there. */
void intset_remove_range(struct intset **is, uint32_t i, uint32_t n);
/* One of them; the set is not empty. */
int64_t intset_random(const struct intset *is, struct rng *rng);

/* Checks bytes from outside (packed.h): sorted without repetitions, in a known width. *ret_count: integers. Not deep:
 * width and size only, without each(). */
const char *intset_validate(struct slice b, bool deep, packed_each_fn *each, void *arg, uint64_t *ret_count);
/* Asserts that the bytes are sound. */
void intset_check(const struct intset *is);

#endif
