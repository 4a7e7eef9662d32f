/* The bytes of an entry, for the files of the store that make and change entries. Everyone else uses entry.h. */
#ifndef HF_STORE_ENTRY_INT_H
#define HF_STORE_ENTRY_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/store/entry.h"

/* Layout
 *
 *   0  u32  access clock (24 bits), type (4), encoding (4)
 *   4  u8   flags
 *   5  u8   key length, or 255: a u32 with the length stands in front of the key
 *   6  u16  length of an embedded value
 *   8  i64  deadline, Unix ms              only with ENTRY_DEADLINE
 *      u64  integer or pointer             only with ENTRY_WORD
 *      u32  key length                     only where byte 5 is 255
 *           key
 *           embedded value                 only without ENTRY_WORD
 *
 * The deadline is at a fixed place, which is what struct deadline_item wants. A 16-byte key with 64 bytes of value
 * takes 88 bytes, or 96 with a deadline: the same allocation class.
 *
 * Blocks are allocated in whole classes (entry_class), so a new value that fits the class is written in place.
 */
struct entry {
    uint32_t word;
    uint8_t flags;
    uint8_t key_len;
    uint16_t value_len;
    unsigned char rest[];
};
_Static_assert(sizeof(struct entry) == 8, "header of an entry");

#define ENTRY_DEADLINE 1u
#define ENTRY_WORD 2u    /* the value is an integer or a pointer */
#define ENTRY_INT 4u     /* … an integer */
#define ENTRY_RBUF 8u    /* … an rbuf */
#define ENTRY_OBJECT 16u /* … an object */
#define ENTRY_LONG_KEY 255u
/* Most bytes of an entry with an embedded value; a longer string is an rbuf. See the note in entry.c. */
#define ENTRY_EMBED_MAX 4096u

static inline bool entry_has_deadline(const struct entry *e) {
    return e->flags & ENTRY_DEADLINE;
}

static inline size_t entry_word_offset(const struct entry *e) {
    return entry_has_deadline(e) ? 8u : 0u;
}

/* Of the key's length field or the key, behind the fixed part. */
static inline size_t entry_key_offset(const struct entry *e) {
    return 8u * (e->flags & ENTRY_DEADLINE) + 4u * (e->flags & ENTRY_WORD);
}

static inline struct slice entry_key_bytes(const struct entry *e) {
    const unsigned char *p = e->rest + entry_key_offset(e);
    if (__builtin_expect(e->key_len != ENTRY_LONG_KEY, 1))
        return slice_of(p, e->key_len);
    uint32_t n;
    memcpy(&n, p, sizeof n);
    return slice_of(p + sizeof n, n);
}

static inline int64_t entry_deadline_value(const struct entry *e) {
    int64_t v;
    memcpy(&v, e->rest, sizeof v);
    return v;
}

static inline void entry_deadline_store(struct entry *e, int64_t deadline_ms) {
    HF_ASSERT(entry_has_deadline(e));
    memcpy(e->rest, &deadline_ms, sizeof deadline_ms);
}

static inline uint64_t entry_word_value(const struct entry *e) {
    uint64_t v;
    memcpy(&v, e->rest + entry_word_offset(e), sizeof v);
    return v;
}

static inline void entry_word_store(struct entry *e, uint64_t v) {
    memcpy(e->rest + entry_word_offset(e), &v, sizeof v);
}

static inline void *entry_pointer(const struct entry *e) {
    return (void *)(uintptr_t)entry_word_value(e);
}

static inline enum value_type entry_type_of(const struct entry *e) {
    return (enum value_type)(e->word >> 24 & 15u);
}
static inline enum value_encoding entry_encoding_of(const struct entry *e) {
    return (enum value_encoding)(e->word >> 28);
}
static inline uint32_t entry_access(const struct entry *e) {
    return e->word & 0xffffffu;
}
static inline void entry_set_access(struct entry *e, uint32_t access) {
    uint32_t word = (e->word & ~0xffffffu) | (access & 0xffffffu);
    if (word != e->word) /* keeps the line clean, for the caches and for copy-on-write */
        e->word = word;
}
static inline void entry_set_kind(struct entry *e, unsigned type, unsigned encoding) {
    e->word = entry_access(e) | (uint32_t)type << 24 | (uint32_t)encoding << 28;
}

/* Bytes of a block for `size` bytes: four classes a doubling, sixteen bytes apart at least. These are jemalloc's. */
static inline size_t entry_class(size_t size) {
    if (size <= 128)
        return size <= 16 ? 16 : (size + 15) & ~(size_t)15;
    size_t step = (size_t)1 << (61 - __builtin_clzl(size - 1));
    return (size + step - 1) & ~(step - 1);
}

/* What an entry is to hold. Bytes longer than the embedding limit are an rbuf's. */
struct entry_shape {
    uint8_t flags;
    size_t value_len; /* embedded */
};

/* Bytes of an entry of this shape before rounding to a class. */
static inline size_t entry_shape_size(size_t key_len, struct entry_shape s) {
    return sizeof(struct entry) + 8u * (s.flags & ENTRY_DEADLINE) + 4u * (s.flags & ENTRY_WORD) +
           (key_len >= ENTRY_LONG_KEY ? 4u : 0u) + key_len + s.value_len;
}

static inline struct entry_shape entry_shape_of(const struct entry *e) {
    return (struct entry_shape){e->flags, e->flags & ENTRY_WORD ? 0 : e->value_len};
}

static inline size_t entry_block_size(const struct entry *e) {
    return entry_class(entry_shape_size(entry_key_bytes(e).n, entry_shape_of(e)));
}

/* Turns v into what an entry of this key stores: short strings become bytes, long ones an rbuf. Takes v over.
 * *ret_release is what has to be unreferenced once the bytes are copied, or NULL. */
struct value entry_normalise(size_t key_len, bool deadline, struct value v, struct rbuf **ret_release);
/* A new entry with a normalised value, which it takes over. The access clock is 0. */
struct entry *entry_create(struct slice key, struct value v, int64_t deadline_ms);
/* As entry_create() in the block of e, whose old value the caller has taken out. False, nothing done, when the class
 * differs or the bytes of v would be overwritten before they are copied. The access clock stays. */
bool entry_rewrite(struct entry *e, struct value v, int64_t deadline_ms);
/* Gives e, in its block, the deadline it did not have, or (-1) takes away the one it has. False, nothing done, when the
 * class differs. */
bool entry_toggle_deadline(struct entry *e, int64_t deadline_ms);
/* An entry with the key, deadline and access clock of e and a raw embedded string of len bytes: those of `bytes`, cut
 * or followed by zeroes. */
struct entry *entry_create_resized(const struct entry *e, struct slice bytes, size_t len);
/* Frees the block, not the value. */
void entry_free_block(struct entry *e);
/* What the entry owns besides its block, as a value (repr INT with 0 where it owns nothing). */
static inline struct value entry_owned(const struct entry *e) {
    if (e->flags & ENTRY_RBUF)
        return (struct value){
            .type = VALUE_STRING, .encoding = VALUE_ENC_RAW, .repr = VALUE_REPR_RBUF, .u.rbuf = entry_pointer(e)};
    if (e->flags & ENTRY_OBJECT)
        return (struct value){.type = (uint8_t)entry_type_of(e),
                              .encoding = (uint8_t)entry_encoding_of(e),
                              .repr = VALUE_REPR_OBJECT,
                              .u.object = entry_pointer(e)};
    return (struct value){.type = VALUE_STRING, .encoding = VALUE_ENC_INT, .repr = VALUE_REPR_INT, .u.i = 0};
}
static inline bool entry_owns(const struct entry *e) {
    return e->flags & (ENTRY_RBUF | ENTRY_OBJECT);
}

void entry_check(const struct entry *e);

/* LFU in the access clock: minutes (16 bits) above the counter (8 bits). */
#define ENTRY_LFU_INITIAL 5u
static inline uint32_t entry_lfu_pack(int64_t now_ms, uint8_t counter) {
    return ((uint32_t)(now_ms / 60000) & 0xffffu) << 8 | counter;
}
static inline uint32_t entry_lru_clock(int64_t now_ms) {
    return (uint32_t)(now_ms / 1000) & 0xffffffu;
}

#endif
