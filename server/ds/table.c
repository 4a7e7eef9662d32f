#include "config.h"

#include "server/ds/table.h"

#include <sys/mman.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

/* Design
 *
 *   arrays[0]  [bucket 64 B][bucket][bucket] …           power of two
 *   bucket     meta tag0 … tag6 | slot0 … slot6          slot6 → child bucket when meta has TABLE_CHILD
 *
 * The low bits of a hash choose the bucket, the top byte is the tag. Chains are dense, so a look-up for an absent key
 * reads one line nearly always: at the highest usual load of 6 items a bucket one chain in four has a child.
 *
 * Invariants (table_check):
 *  1. An item lives in the chain of exactly one bucket: with i = hash & masks[0], in arrays[0][i] when i >= moved, else
 * in arrays[1][hash & masks[1]]. Insertions obey this too, so a look-up never has two places to search.
 *  2. Chains are dense: a bucket with a child holds TABLE_SLOTS - 1 items; a child holds at least one and, since a lone
 * item goes back to its parent, at least two unless it has a child itself.
 *  3. Buckets below `moved` in arrays[0] are empty.
 *  4. used is the number of items, children the number of chained buckets.
 *
 * While a big array is drained its pages are given back as they empty (drop_pages), which spreads the cost of unmapping
 * it and keeps the peak low.
 */

#define LOAD_PER_BUCKET 6         /* items per bucket that make the table grow */
#define AT_ONCE_BUCKETS 16        /* a resizing of at most so many buckets is not spread */
#define EMPTY_PER_STEP 16         /* empty buckets passed over for each full one */
#define PAGES_CHUNK_BUCKETS 32768 /* 2 MiB */
#define MAX_BUCKETS (SIZE_MAX / 2 / sizeof(struct table_bucket))

_Static_assert(sizeof(struct table_bucket) == 64, "a bucket is a cache line");

static size_t buckets_of(const struct table *t, int which) {
    return t->arrays[which] != NULL ? t->masks[which] + 1 : 0;
}

static size_t load_limit(size_t buckets) {
    return buckets == 1 ? TABLE_SLOTS : buckets * LOAD_PER_BUCKET;
}

/* Smallest power of two of buckets for so many items, or 0 when there is none. */
static size_t buckets_for(size_t items) {
    size_t buckets = 1;
    while (load_limit(buckets) < items) {
        if (buckets > MAX_BUCKETS / 2)
            return 0;
        buckets *= 2;
    }
    return buckets;
}

static void set_limits(struct table *t) {
    size_t buckets = buckets_of(t, 0);
    t->grow_at = load_limit(buckets);
    t->shrink_at = buckets * TABLE_SLOTS / 8;
}

struct table_bucket *table_add_child(struct table *t, struct table_bucket *b) {
    const unsigned last = TABLE_SLOTS - 1;
    struct table_bucket *child = mem_alloc_aligned_zero(sizeof *child, sizeof *child);
    child->slots[0] = b->slots[last];
    child->tags[0] = b->tags[last];
    child->meta = 1;
    b->slots[last] = child;
    b->tags[last] = 0;
    b->meta = (uint8_t)(last | TABLE_CHILD);
    t->children++;
    return child;
}

static void free_child(struct table *t, struct table_bucket *child) {
    mem_free_sized(child, sizeof *child);
    t->children--;
}

void table_unlink(struct table *t, struct table_bucket *home, void **slot) {
    struct table_bucket *b = (struct table_bucket *)((uintptr_t)slot & ~(uintptr_t)(sizeof *b - 1));
    struct table_bucket *parent = NULL, *last = home;
    while (last->meta & TABLE_CHILD) {
        parent = last;
        last = last->slots[TABLE_SLOTS - 1];
    }
    size_t i = (size_t)(slot - b->slots);
    HF_ASSERT(last->meta >= 1 && i < TABLE_SLOTS);
    unsigned n = last->meta - 1u;
    b->slots[i] = last->slots[n];
    b->tags[i] = last->tags[n];
    last->slots[n] = NULL;
    last->tags[n] = 0;
    last->meta = (uint8_t)n;
    if (parent != NULL && n == 1) {
        parent->slots[TABLE_SLOTS - 1] = last->slots[0];
        parent->tags[TABLE_SLOTS - 1] = last->tags[0];
        parent->meta = TABLE_SLOTS;
        free_child(t, last);
    }
}

/* ---- resizing ---- */

/* Starts to move to an array of so many buckets. False when memory is not there. */
static bool resize_start(struct table *t, size_t buckets) {
    HF_ASSERT(t->arrays[1] == NULL && buckets != 0);
    struct table_bucket *array = mem_try_alloc_aligned_zero(buckets * sizeof *array, sizeof *array);
    if (array == NULL)
        return false;
    int which = t->arrays[0] == NULL ? 0 : 1;
    t->arrays[which] = array;
    t->masks[which] = buckets - 1;
    if (which == 0)
        set_limits(t);
    return true;
}

static void resize_finish(struct table *t) {
    mem_free_sized(t->arrays[0], (t->masks[0] + 1) * sizeof *t->arrays[0]);
    t->arrays[0] = t->arrays[1];
    t->masks[0] = t->masks[1];
    t->arrays[1] = NULL;
    t->masks[1] = 0;
    t->moved = 0;
    set_limits(t);
}

/* Gives back the pages of the last chunk of drained buckets. They read as zeroes, which is an empty bucket, from then
 * on. */
static void drop_pages(struct table *t) {
    const uintptr_t page = 4096;
    uintptr_t end = (uintptr_t)&t->arrays[0][t->moved];
    uintptr_t start = end - PAGES_CHUNK_BUCKETS * sizeof *t->arrays[0];
    start = (start + page - 1) & ~(page - 1);
    end &= ~(page - 1);
    if (start < end)
        (void)madvise((void *)start, end - start, MADV_DONTNEED); /* a hint: failing costs nothing */
}

static void prefetch_next(const struct table *t) {
    if (t->moved > t->masks[0])
        return;
    const struct table_bucket *b = &t->arrays[0][t->moved];
    for (unsigned i = 0; i < (b->meta & 7u); i++)
        __builtin_prefetch(b->slots[i]);
    __builtin_prefetch(b + 1);
    __builtin_prefetch(&t->arrays[1][t->moved & t->masks[1]], 1);
    __builtin_prefetch(&t->arrays[1][(t->moved + t->masks[0] + 1) & t->masks[1]], 1);
}

static void move_chain(struct table *t, struct table_bucket *home, const struct table_ops *ops, const void *ctx) {
    struct table_bucket *b = home;
    for (;;) {
        for (unsigned i = 0; i < (b->meta & 7u); i++) {
            uint64_t hash = ops->hash(ctx, b->slots[i]);
            table_place(t, &t->arrays[1][hash & t->masks[1]], b->tags[i], b->slots[i]);
        }
        struct table_bucket *next = b->meta & TABLE_CHILD ? b->slots[TABLE_SLOTS - 1] : NULL;
        if (b != home)
            free_child(t, b);
        if (next == NULL)
            break;
        b = next;
    }
    *home = (struct table_bucket){0};
}

bool table_step(struct table *t, const struct table_ops *ops, const void *ctx, size_t buckets) {
    if (t->arrays[1] == NULL)
        return false;
    size_t empty = buckets <= SIZE_MAX / EMPTY_PER_STEP ? buckets * EMPTY_PER_STEP : SIZE_MAX;
    while (buckets > 0 && empty > 0) {
        struct table_bucket *b = &t->arrays[0][t->moved];
        if (b->meta == 0) {
            empty--;
        } else {
            move_chain(t, b, ops, ctx);
            buckets--;
        }
        t->moved++;
        if ((t->moved & (PAGES_CHUNK_BUCKETS - 1)) == 0)
            drop_pages(t);
        if (t->moved > t->masks[0]) {
            resize_finish(t);
            return false;
        }
    }
    prefetch_next(t);
    return true;
}

static void resize_to(struct table *t, size_t buckets, const struct table_ops *ops, const void *ctx) {
    if (!resize_start(t, buckets)) {
        t->grow_at += t->grow_at / 8 + 1; /* try again, but not at each insertion */
        return;
    }
    if (t->arrays[1] != NULL && t->masks[0] < AT_ONCE_BUCKETS)
        while (table_step(t, ops, ctx, AT_ONCE_BUCKETS)) {
        }
}

static bool may_resize(const struct table *t, const struct table_policy *policy) {
    return policy->resizing == TABLE_RESIZE_FREELY || t->used / TABLE_AVOID_LOAD >= load_limit(buckets_of(t, 0));
}

void table_make_room(struct table *t, const struct table_ops *ops, const struct table_policy *policy) {
    if (t->arrays[0] == NULL) {
        /* One line; without it there is no table at all. */
        t->arrays[0] = mem_alloc_aligned_zero(sizeof *t->arrays[0], sizeof *t->arrays[0]);
        t->masks[0] = 0;
        set_limits(t);
        return;
    }
    if (!may_resize(t, policy))
        return;
    if (t->arrays[1] != NULL) {
        table_step(t, ops, policy->ctx, 1);
        return;
    }
    size_t buckets = buckets_for(t->used + 1);
    if (buckets > buckets_of(t, 0))
        resize_to(t, buckets, ops, policy->ctx);
}

void table_after_remove(struct table *t, const struct table_ops *ops, const struct table_policy *policy) {
    if (!may_resize(t, policy))
        return;
    if (t->arrays[1] != NULL) {
        table_step(t, ops, policy->ctx, 2);
        return;
    }
    size_t buckets = buckets_for(t->used * 2);
    if (t->used < t->shrink_at && buckets != 0 && buckets < buckets_of(t, 0))
        resize_to(t, buckets, ops, policy->ctx);
}

bool table_resize_if_due(struct table *t, const struct table_ops *ops, const struct table_policy *policy) {
    if (t->arrays[0] != NULL && t->arrays[1] == NULL) {
        if (t->used >= t->grow_at)
            table_make_room(t, ops, policy);
        else if (t->used < t->shrink_at)
            table_after_remove(t, ops, policy);
    }
    return t->arrays[1] != NULL;
}

int table_try_expect(struct table *t, const struct table_ops *ops, const void *ctx, size_t more) {
    size_t items;
    if (__builtin_add_overflow(t->used, more, &items))
        return -1;
    size_t buckets = buckets_for(items);
    if (buckets == 0)
        return -1;
    if (buckets <= buckets_of(t, 0) || buckets <= buckets_of(t, 1))
        return 0;
    if (t->arrays[1] != NULL || !resize_start(t, buckets))
        return -1;
    if (t->arrays[1] != NULL && (t->used == 0 || t->masks[0] < AT_ONCE_BUCKETS))
        while (table_step(t, ops, ctx, AT_ONCE_BUCKETS)) {
        }
    t->shrink_at = 0; /* until the items have come */
    return 0;
}

/* ---- walking ---- */

static void drop_array(struct table *t, int which, void (*drop)(void *arg, void *item), void *arg) {
    size_t buckets = buckets_of(t, which);
    for (size_t i = which == 0 ? t->moved : 0; i < buckets; i++) {
        struct table_bucket *home = &t->arrays[which][i];
        for (struct table_bucket *b = home, *next; b != NULL; b = next) {
            next = b->meta & TABLE_CHILD ? b->slots[TABLE_SLOTS - 1] : NULL;
            for (unsigned k = 0; drop != NULL && k < (b->meta & 7u); k++)
                drop(arg, b->slots[k]);
            if (b != home)
                free_child(t, b);
        }
    }
    if (t->arrays[which] != NULL)
        mem_free_sized(t->arrays[which], buckets * sizeof *t->arrays[which]);
}

void table_clear(struct table *t, void (*drop)(void *arg, void *item), void *arg) {
    drop_array(t, 0, drop, arg);
    drop_array(t, 1, drop, arg);
    HF_ASSERT(t->children == 0);
    *t = (struct table){0};
}

static void emit_chain(const struct table_bucket *b, void (*each)(void *arg, void *item), void *arg) {
    for (; b != NULL; b = b->meta & TABLE_CHILD ? b->slots[TABLE_SLOTS - 1] : NULL)
        for (unsigned i = 0; i < (b->meta & 7u); i++)
            each(arg, b->slots[i]);
}

static uint64_t reverse_bits(uint64_t v) {
    v = ((v >> 1) & 0x5555555555555555u) | ((v & 0x5555555555555555u) << 1);
    v = ((v >> 2) & 0x3333333333333333u) | ((v & 0x3333333333333333u) << 2);
    v = ((v >> 4) & 0x0f0f0f0f0f0f0f0fu) | ((v & 0x0f0f0f0f0f0f0f0fu) << 4);
    return __builtin_bswap64(v);
}

/* The cursor counts with its top bit (under the mask) as the lowest. All buckets that a bucket is split into or merged
 * with when the array doubles or halves then follow each other, and none that was passed comes back. */
static uint64_t next_cursor(uint64_t cursor, uint64_t mask) {
    return reverse_bits(reverse_bits(cursor | ~mask) + 1);
}

uint64_t table_scan(const struct table *t, uint64_t cursor, void (*each)(void *arg, void *item), void *arg) {
    if (t->arrays[0] == NULL)
        return 0;
    if (t->arrays[1] == NULL) {
        emit_chain(&t->arrays[0][cursor & t->masks[0]], each, arg);
        return next_cursor(cursor, t->masks[0]);
    }
    int small = t->masks[0] < t->masks[1] ? 0 : 1;
    uint64_t small_mask = t->masks[small], big_mask = t->masks[1 - small];
    emit_chain(&t->arrays[small][cursor & small_mask], each, arg);
    do {
        emit_chain(&t->arrays[1 - small][cursor & big_mask], each, arg);
        cursor = next_cursor(cursor, big_mask);
    } while (cursor & (small_mask ^ big_mask));
    return cursor;
}

int table_each(const struct table *t, int (*each)(void *arg, void *item), void *arg) {
    for (int which = 0; which < 2; which++) {
        size_t buckets = buckets_of(t, which);
        for (size_t i = which == 0 ? t->moved : 0; i < buckets; i++) {
            const struct table_bucket *b = &t->arrays[which][i];
            if (i + 1 < buckets)
                for (unsigned k = 0; k < (b[1].meta & 7u); k++)
                    __builtin_prefetch(b[1].slots[k]);
            for (; b != NULL; b = b->meta & TABLE_CHILD ? b->slots[TABLE_SLOTS - 1] : NULL)
                for (unsigned k = 0; k < (b->meta & 7u); k++) {
                    int rc = each(arg, b->slots[k]);
                    if (rc != 0)
                        return rc;
                }
        }
    }
    return 0;
}

/* ---- sampling ---- */

static size_t chain_length(const struct table_bucket *b) {
    size_t n = 0;
    for (; b->meta & TABLE_CHILD; b = b->slots[TABLE_SLOTS - 1])
        n += TABLE_SLOTS - 1;
    return n + b->meta;
}

static void *chain_item(const struct table_bucket *b, size_t i) {
    for (; b->meta & TABLE_CHILD && i >= TABLE_SLOTS - 1; b = b->slots[TABLE_SLOTS - 1])
        i -= TABLE_SLOTS - 1;
    return b->slots[i];
}

/* Buckets that can hold items, numbered through both arrays. */
static size_t live_buckets(const struct table *t) {
    return buckets_of(t, 0) - t->moved + buckets_of(t, 1);
}

static const struct table_bucket *live_bucket(const struct table *t, size_t i) {
    size_t first = buckets_of(t, 0) - t->moved;
    return i < first ? &t->arrays[0][t->moved + i] : &t->arrays[1][i - first];
}

void *table_random(const struct table *t, struct rng *rng) {
    if (t->used == 0)
        return NULL;
    /* A bucket is accepted in proportion to its length, up to 8 items: longer chains are rare below the usual load. */
    size_t buckets = live_buckets(t);
    for (int tries = 0; tries < 128; tries++) {
        const struct table_bucket *b = live_bucket(t, rng_below(rng, buckets));
        size_t n = chain_length(b);
        if (n != 0 && (n >= 8 || rng_below(rng, 8) < n))
            return chain_item(b, rng_below(rng, n));
    }
    /* Very sparse, because it was not allowed to shrink. */
    for (size_t i = rng_below(rng, buckets);; i = i + 1 < buckets ? i + 1 : 0) {
        const struct table_bucket *b = live_bucket(t, i);
        size_t n = chain_length(b);
        if (n != 0)
            return chain_item(b, rng_below(rng, n));
    }
}

size_t table_sample(const struct table *t, struct rng *rng, void **ret_items, size_t n) {
    size_t got = 0, buckets = live_buckets(t);
    if (t->used == 0)
        return 0;
    size_t at = rng_below(rng, buckets);
    size_t most = n <= buckets / 16 ? n * 16 : buckets; /* buckets looked at before settling for less than n */
    for (size_t seen = 0; seen < buckets && got < n && (seen < most || got == 0); seen++) {
        for (const struct table_bucket *b = live_bucket(t, at); b != NULL;
             b = b->meta & TABLE_CHILD ? b->slots[TABLE_SLOTS - 1] : NULL)
            for (unsigned k = 0; k < (b->meta & 7u) && got < n; k++) {
                __builtin_prefetch(b->slots[k]);
                ret_items[got++] = b->slots[k];
            }
        at = at + 1 < buckets ? at + 1 : 0;
    }
    return got;
}

/* ---- figures and checks ---- */

size_t table_bytes(const struct table *t) {
    return (buckets_of(t, 0) + buckets_of(t, 1) + t->children) * sizeof(struct table_bucket);
}

size_t table_resizing_bytes(const struct table *t) {
    return t->arrays[1] == NULL ? 0 : (buckets_of(t, 0) + buckets_of(t, 1)) * sizeof(struct table_bucket);
}

void table_stats(const struct table *t, struct table_stats *ret_stats) {
    const size_t longest_class = sizeof ret_stats->lengths / sizeof ret_stats->lengths[0] - 1;
    *ret_stats = (struct table_stats){
        .buckets = {buckets_of(t, 0), buckets_of(t, 1)}, .moved = t->moved, .children = t->children};
    size_t buckets = t->arrays[0] == NULL ? 0 : live_buckets(t);
    for (size_t i = 0; i < buckets; i++) {
        size_t n = chain_length(live_bucket(t, i));
        ret_stats->lengths[n < longest_class ? n : longest_class]++;
        if (n > ret_stats->longest)
            ret_stats->longest = n;
    }
}

static size_t check_chain(const struct table *t, int which, size_t index, const struct table_ops *ops, const void *ctx,
                          size_t *inout_children) {
    const struct table_bucket *home = &t->arrays[which][index];
    size_t n = 0;
    for (const struct table_bucket *b = home; b != NULL; b = b->meta & TABLE_CHILD ? b->slots[TABLE_SLOTS - 1] : NULL) {
        unsigned here = b->meta & 7u;
        HF_ASSERT(((uintptr_t)b & 63) == 0);
        HF_ASSERT((b->meta & ~(7u | TABLE_CHILD)) == 0);
        HF_ASSERT(!(b->meta & TABLE_CHILD) || here == TABLE_SLOTS - 1);
        if (b != home) {
            HF_ASSERT(here >= 2);
            ++*inout_children;
        }
        for (unsigned i = 0; i < here; i++) {
            HF_ASSERT(b->slots[i] != NULL);
            uint64_t hash = ops->hash(ctx, b->slots[i]);
            HF_ASSERT(b->tags[i] == table_tag(hash));
            HF_ASSERT(table_home(t, hash) == home);
        }
        n += here;
    }
    return n;
}

void table_check(const struct table *t, const struct table_ops *ops, const void *ctx) {
    HF_ASSERT(t->arrays[0] != NULL || (t->arrays[1] == NULL && t->used == 0 && t->children == 0));
    HF_ASSERT(t->arrays[1] != NULL || t->moved == 0);
    size_t items = 0, children = 0;
    for (int which = 0; which < 2; which++) {
        size_t buckets = buckets_of(t, which);
        HF_ASSERT((buckets & (buckets - 1)) == 0);
        for (size_t i = 0; i < buckets; i++) {
            size_t n = check_chain(t, which, i, ops, ctx, &children);
            HF_ASSERT(which == 1 || i >= t->moved || n == 0);
            items += n;
        }
    }
    HF_ASSERT(items == t->used);
    HF_ASSERT(children == t->children);
}
