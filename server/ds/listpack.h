/* A listpack: a list of integers and short strings in one heap block, in exactly the layout that RDB files hold.
 *
 * The block is the object: whoever holds the pointer owns it. A call that may move the block takes the address of the
 * pointer. An element is named by its offset `at`, valid until the next change in front of it; 0 names none. Stored
 * strings that spell an integer in canonical form become integers: text and number are the same element. A slice that
 * is passed in must not point into the listpack that changes.
 *
 * Thread: one owner; any number of readers while nobody writes. Errors: -1 where the block would pass
 * LISTPACK_MAX_BYTES (nothing changed); small memory aborts. Everything but listpack_validate() trusts the bytes: bytes
 * from outside are validated first, deeply.
 *
 * Limits: LISTPACK_MAX_BYTES for what grows here; what is loaded may have up to 4 GiB - 1 and can only shrink then. The
 * header counts to 65534; beyond that listpack_count() walks.
 */
#ifndef HF_DS_LISTPACK_H
#define HF_DS_LISTPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/endian.h"
#include "server/base/rng.h"
#include "server/ds/packed.h"

#define LISTPACK_HEADER_BYTES 6u
#define LISTPACK_EMPTY_BYTES 7u
#define LISTPACK_MAX_BYTES (UINT32_C(1) << 30)
#define LISTPACK_COUNT_UNKNOWN 65535u
#define LISTPACK_END 0xFFu
#define LISTPACK_ELEMENT_OVERHEAD_BYTES 10u /* at most, besides the bytes of a string; an integer takes no more */

struct listpack {
    unsigned char bytes_le[4]; /* of the whole block */
    unsigned char count_le[2];
    unsigned char rest[];
};

/* ---- the block ---- */

struct listpack *listpack_create(size_t room_bytes); /* room_bytes: a hint */
void listpack_destroy(struct listpack *lp);
struct listpack *listpack_dup(const struct listpack *lp);
/* Copies validated bytes; NULL where memory is not there. */
struct listpack *listpack_try_load(struct slice validated);
/* Room for so many bytes in all, so that the block need not grow up to there. */
void listpack_reserve(struct listpack **lp, size_t bytes);
/* Gives back what the block has in excess. */
void listpack_shrink(struct listpack **lp);

static inline uint32_t listpack_bytes(const struct listpack *lp) {
    return load_le32(lp->bytes_le);
}
static inline struct slice listpack_slice(const struct listpack *lp) {
    return slice_of(lp, listpack_bytes(lp));
}
static inline bool listpack_is_empty(const struct listpack *lp) {
    return lp->rest[0] == LISTPACK_END;
}
uint32_t listpack_count(const struct listpack *lp);

/* ---- walking; 0 behind the last and before the first ---- */

static inline const unsigned char *listpack_ptr(const struct listpack *lp, uint32_t at) {
    return (const unsigned char *)lp + at;
}

/* Bytes of encoding and data of the element at e. */
static inline uint32_t listpack_element_bytes(const unsigned char *e) {
    unsigned b = e[0];
    if (b < 0x80)
        return 1;
    if (b < 0xC0)
        return 1 + (b & 63);
    if (b < 0xE0)
        return 2;
    if (b < 0xF0)
        return 2 + ((b & 15) << 8 | e[1]);
    if (b == 0xF0)
        return 5 + load_le32(e + 1);
    return b == 0xF4 ? 9 : b - 0xEE; /* 0xF1, 0xF2, 0xF3: 3, 4, 5 */
}

/* Bytes that the back length of an element of n bytes takes. The bounds are the format's: the last value of each width
 * but the first goes into the next one. */
static inline unsigned listpack_back_bytes(uint64_t n) {
    return n < 128 ? 1 : n < 16383 ? 2 : n < 2097151 ? 3 : n < 268435455 ? 4 : 5;
}

/* The offset behind the element at `at`: of the next, or of the end mark. */
static inline uint32_t listpack_skip(const struct listpack *lp, uint32_t at) {
    uint32_t n = listpack_element_bytes(listpack_ptr(lp, at));
    return at + n + listpack_back_bytes(n);
}

static inline uint32_t listpack_first(const struct listpack *lp) {
    return listpack_is_empty(lp) ? 0 : LISTPACK_HEADER_BYTES;
}
static inline uint32_t listpack_next(const struct listpack *lp, uint32_t at) {
    at = listpack_skip(lp, at);
    return *listpack_ptr(lp, at) == LISTPACK_END ? 0 : at;
}
uint32_t listpack_prev(const struct listpack *lp, uint32_t at);
uint32_t listpack_last(const struct listpack *lp);
/* The element at an index, counted from the end where negative (-1: the last). Walks from the nearer end. */
uint32_t listpack_seek(const struct listpack *lp, int64_t index);

struct packed_item listpack_get_slow(const unsigned char *e);
/* The element at `at`; its bytes are borrowed until the next change. */
static inline struct packed_item listpack_get(const struct listpack *lp, uint32_t at) {
    const unsigned char *e = listpack_ptr(lp, at);
    if (e[0] < 0x80)
        return packed_int(e[0]);
    if (e[0] < 0xC0)
        return packed_bytes(slice_of(e + 1, e[0] & 63u));
    return listpack_get_slow(e);
}

/* Whether the element is s: the same bytes, or the integer that s spells. */
bool listpack_equals(const struct listpack *lp, uint32_t at, struct slice s);
/* The first element from `from` on (0: none) that is s; after each one looked at, `skip` elements are passed over
 * (hashes and sorted sets: 1). 0 where there is none. */
uint32_t listpack_find(const struct listpack *lp, uint32_t from, struct slice s, unsigned skip);

/* ---- changing ---- */

/* Bytes that storing v would add: exact, UINT64_MAX where v can be in no listpack. */
uint64_t listpack_item_bytes(struct packed_item v);
/* Whether `more` bytes fit beside those it has. */
static inline bool listpack_has_room(const struct listpack *lp, uint64_t more) {
    return more <= LISTPACK_MAX_BYTES && listpack_bytes(lp) + more <= LISTPACK_MAX_BYTES;
}

int listpack_append(struct listpack **lp, struct packed_item v) __attribute__((warn_unused_result));
int listpack_prepend(struct listpack **lp, struct packed_item v) __attribute__((warn_unused_result));
/* All or, with -1, none; grows once. -1 already where an upper bound of the sizes passes the maximum. */
int listpack_append_all(struct listpack **lp, const struct packed_item *v, size_t n)
    __attribute__((warn_unused_result));
/* The new element stands at `at` afterwards, which may be the offset of the end mark (bytes - 1). */
int listpack_insert_before(struct listpack **lp, uint32_t at, struct packed_item v) __attribute__((warn_unused_result));
/* *ret_at (may be NULL): the new element. */
int listpack_insert_after(struct listpack **lp, uint32_t at, struct packed_item v, uint32_t *ret_at)
    __attribute__((warn_unused_result));
/* The element at `at` becomes v. */
int listpack_replace(struct listpack **lp, uint32_t at, struct packed_item v) __attribute__((warn_unused_result));
/* Deletes up to n elements from `at` on. The next one stands at `at` then; returns `at`, or 0 where none is left there.
 * *ret_deleted may be NULL. */
uint32_t listpack_delete(struct listpack **lp, uint32_t at, uint32_t n, uint32_t *ret_deleted);
/* Deletes up to n elements from an index on (as listpack_seek()). Returns how many. */
uint32_t listpack_delete_range(struct listpack **lp, int64_t index, uint32_t n);
void listpack_clear(struct listpack **lp);
/* Appends all elements of src. */
int listpack_concat(struct listpack **lp, const struct listpack *src) __attribute__((warn_unused_result));
/* Cuts off the elements from `at` on and returns them as a new listpack. */
struct listpack *listpack_split(struct listpack **lp, uint32_t at);

/* ---- random; groups of `stride` elements count as one, by their first element ---- */

/* One group; 0 when empty. */
uint32_t listpack_random(const struct listpack *lp, unsigned stride, struct rng *rng);
/* n groups with repetitions, in random order. The listpack is not empty. One walk. */
void listpack_random_picks(const struct listpack *lp, unsigned stride, struct rng *rng, uint32_t *ret_at, uint32_t n);
/* Up to n different groups, in the order of the list. Returns how many. One walk. */
uint32_t listpack_random_distinct(const struct listpack *lp, unsigned stride, struct rng *rng, uint32_t *ret_at,
                                  uint32_t n);

/* ---- trust ---- */

uint32_t listpack_verify_slow(const unsigned char *e, uint32_t left);
/* For walks over bytes that were not validated: the bytes of the element at e with its back length, or 0 where it is
 * damaged or takes more than the `left` bytes in front of the end mark. */
static inline uint32_t listpack_verify(const unsigned char *e, uint32_t left) {
    uint32_t n = e[0] < 0x80 ? 1 : 1 + (e[0] & 63u);
    if (__builtin_expect(e[0] < 0xC0, 1))
        return n < left && e[n] == n ? n + 1 : 0;
    return listpack_verify_slow(e, left);
}

/* Checks bytes from outside (packed.h). Not deep: the header and the end mark only, without each(), which is not
 * enough for any other call here. *ret_count: elements; UINT64_MAX where not deep and the header does not say. */
const char *listpack_validate(struct slice b, bool deep, packed_each_fn *each, void *arg, uint64_t *ret_count);
/* Asserts that the bytes are sound. */
void listpack_check(const struct listpack *lp);

#endif
