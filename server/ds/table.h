/* A hash table of pointers ("items") in cache-line buckets.
 *
 * The table owns its buckets and never the items. It keeps no hash of an item: it asks for it when it resizes. Equality
 * is the caller's. Keys are unique as far as the caller looks before it inserts. A zeroed struct table is an empty
 * table.
 *
 * Resizing is incremental in both directions: two arrays while it lasts, one bucket moved per change and more by
 * table_step(). Whether it may is the caller's to say at each change (struct table_policy), so that no table needs to
 * be visited when a snapshot child starts.
 *
 * Slots: table_find() and table_insert() return the address of the pointer in the table. The caller may store another
 * item of the same key there. It is valid until the next insertion, removal or step.
 *
 * The look-up and insertion are inline and take a constant struct table_ops: an instance with a static const one
 * compiles to code without indirect calls. Thread: one owner; a forked child may read. Errors: only table_try_expect()
 * can fail; where no memory is there for a bigger array, the table goes on with longer chains.
 */
#ifndef HF_DS_TABLE_H
#define HF_DS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "server/base/rng.h"

#define TABLE_SLOTS 7
#define TABLE_CHILD 0x80u /* in meta: the last slot points to the next bucket of the chain */
#define TABLE_INLINE static inline __attribute__((always_inline))

struct table_bucket {
    uint8_t meta; /* low 3 bits: items in this bucket, dense from slot 0; TABLE_CHILD */
    uint8_t tags[TABLE_SLOTS];
    void *slots[TABLE_SLOTS];
} __attribute__((aligned(64)));

struct table {
    struct table_bucket *arrays[2]; /* [1] only while resizing */
    uint64_t masks[2];
    uint64_t moved;   /* buckets of arrays[0] moved to arrays[1]; 0 when not resizing */
    size_t used;      /* items */
    size_t grow_at;   /* an insertion at this many items looks at the size */
    size_t shrink_at; /* so does a removal below */
    size_t children;  /* chained buckets */
};

struct table_ops {
    bool (*match)(const void *item, const void *key);
    uint64_t (*hash)(const void *ctx, const void *item); /* ctx from struct table_policy */
};

enum table_resizing {
    TABLE_RESIZE_FREELY,
    TABLE_RESIZE_AVOID, /* neither grow nor shrink nor move buckets below TABLE_AVOID_LOAD times the usual limit */
};
#define TABLE_AVOID_LOAD 4

struct table_policy {
    const void *ctx;
    enum table_resizing resizing;
};

/* ---- internals of the inline path ---- */

TABLE_INLINE struct table_bucket *table_home(const struct table *t, uint64_t hash) {
    uint64_t i = hash & t->masks[0];
    if (__builtin_expect(i < t->moved, 0))
        return &t->arrays[1][hash & t->masks[1]];
    return &t->arrays[0][i];
}

TABLE_INLINE uint8_t table_tag(uint64_t hash) {
    return (uint8_t)(hash >> 56);
}

/* Bit i is set where tag i is that of hash and slot i holds an item. */
TABLE_INLINE unsigned table_match_tags(const struct table_bucket *b, uint8_t tag) {
    unsigned live = (1u << (b->meta & 7u)) - 1u;
#if defined(__SSE2__) && !defined(TABLE_PORTABLE)
    __m128i line = _mm_loadl_epi64((const __m128i *)(const void *)b);
    __m128i same = _mm_cmpeq_epi8(line, _mm_set1_epi8((char)tag));
    return ((unsigned)_mm_movemask_epi8(same) >> 1) & live;
#else
    unsigned m = 0;
    for (unsigned i = 0; i < TABLE_SLOTS; i++)
        m |= (unsigned)(b->tags[i] == tag) << i;
    return m & live;
#endif
}

void table_make_room(struct table *t, const struct table_ops *ops, const struct table_policy *policy);
void table_after_remove(struct table *t, const struct table_ops *ops, const struct table_policy *policy);
struct table_bucket *table_add_child(struct table *t, struct table_bucket *b);
void table_unlink(struct table *t, struct table_bucket *home, void **slot);

/* Puts an item into the chain of b. */
TABLE_INLINE void **table_place(struct table *t, struct table_bucket *b, uint8_t tag, void *item) {
    while (__builtin_expect(b->meta & TABLE_CHILD, 0))
        b = b->slots[TABLE_SLOTS - 1];
    if (__builtin_expect(b->meta == TABLE_SLOTS, 0))
        b = table_add_child(t, b);
    unsigned n = b->meta;
    b->slots[n] = item;
    b->tags[n] = tag;
    b->meta = (uint8_t)(n + 1);
    return &b->slots[n];
}

/* ---- look up, insert, remove ---- */

/* The slot of the item that matches key, or NULL. */
TABLE_INLINE void **table_find(const struct table *t, const struct table_ops *ops, uint64_t hash, const void *key) {
    if (t->used == 0)
        return NULL;
    struct table_bucket *b = table_home(t, hash);
    for (;;) {
        for (unsigned m = table_match_tags(b, table_tag(hash)); m != 0; m &= m - 1) {
            unsigned i = (unsigned)__builtin_ctz(m);
            if (__builtin_expect(ops->match(b->slots[i], key), 1))
                return &b->slots[i];
        }
        if (__builtin_expect(!(b->meta & TABLE_CHILD), 1))
            return NULL;
        b = b->slots[TABLE_SLOTS - 1];
    }
}

/* Adds an item whose key is not there. Returns its slot. */
TABLE_INLINE void **table_insert(struct table *t, const struct table_ops *ops, const struct table_policy *policy,
                                 uint64_t hash, void *item) {
    if (__builtin_expect(t->used >= t->grow_at || t->arrays[1] != NULL, 0))
        table_make_room(t, ops, policy);
    t->used++;
    return table_place(t, table_home(t, hash), table_tag(hash), item);
}

/* Removes the item in a slot that table_find() returned for hash. */
TABLE_INLINE void table_remove(struct table *t, const struct table_ops *ops, const struct table_policy *policy,
                               uint64_t hash, void **slot) {
    table_unlink(t, table_home(t, hash), slot);
    t->used--;
    if (__builtin_expect(t->used < t->shrink_at || t->arrays[1] != NULL, 0))
        table_after_remove(t, ops, policy);
}

/* Hints, in two passes over a batch: the bucket; then two lines of each item whose tag matches. */
TABLE_INLINE void table_prefetch_bucket(const struct table *t, uint64_t hash) {
    if (t->used != 0)
        __builtin_prefetch(table_home(t, hash));
}

TABLE_INLINE void table_prefetch_items(const struct table *t, uint64_t hash) {
    if (t->used == 0)
        return;
    const struct table_bucket *b = table_home(t, hash);
    for (unsigned m = table_match_tags(b, table_tag(hash)); m != 0; m &= m - 1) {
        const char *item = b->slots[__builtin_ctz(m)];
        __builtin_prefetch(item);
        __builtin_prefetch(item + 64);
    }
    if (__builtin_expect(b->meta & TABLE_CHILD, 0))
        __builtin_prefetch(b->slots[TABLE_SLOTS - 1]);
}

/* ---- the whole table ---- */

/* Frees the buckets and leaves an empty table; drop(), unless NULL, is called for every item. */
void table_clear(struct table *t, void (*drop)(void *arg, void *item), void *arg);
static inline bool table_is_resizing(const struct table *t) {
    return t->arrays[1] != NULL;
}
/* Moves up to `buckets` non-empty buckets of a resizing in progress. True when there is more to move. */
bool table_step(struct table *t, const struct table_ops *ops, const void *ctx, size_t buckets);
/* Starts a growing or shrinking that a change put off. True when one is in progress afterwards. */
bool table_resize_if_due(struct table *t, const struct table_ops *ops, const struct table_policy *policy);
/* Makes the array big enough for `more` items beside those it has; what has to be moved is moved at once when little,
 * else step by step. 0, or -1 when memory is not there or a resizing is in progress (nothing changed). */
int table_try_expect(struct table *t, const struct table_ops *ops, const void *ctx, size_t more)
    __attribute__((warn_unused_result));

/* Calls each() for the items of the next chain or chains; returns the next cursor, 0 at the end. Start with 0. Every
 * item that is in the table during a whole scan is seen at least once, whatever resizing happens between the calls. */
uint64_t table_scan(const struct table *t, uint64_t cursor, void (*each)(void *arg, void *item), void *arg);
/* Calls each() for every item until it returns nonzero; returns that. The table does not change meanwhile. */
int table_each(const struct table *t, int (*each)(void *arg, void *item), void *arg);
/* An item, each with nearly the same probability. NULL when empty. */
void *table_random(const struct table *t, struct rng *rng);
/* Up to n items from neighbouring buckets at a random place, none twice. Returns how many. Cheaper than n
 * table_random(). */
size_t table_sample(const struct table *t, struct rng *rng, void **ret_items, size_t n);

size_t table_bytes(const struct table *t);          /* of buckets */
size_t table_resizing_bytes(const struct table *t); /* of both arrays while a resizing is in progress, else 0 */

struct table_stats {
    size_t buckets[2]; /* [1] is 0 when not resizing */
    size_t moved;
    size_t children;
    size_t longest;     /* items in the longest chain */
    size_t lengths[16]; /* chains by number of items; the last counts all longer ones */
};
void table_stats(const struct table *t, struct table_stats *ret_stats);

/* Asserts every invariant; O(size). */
void table_check(const struct table *t, const struct table_ops *ops, const void *ctx);

#endif
