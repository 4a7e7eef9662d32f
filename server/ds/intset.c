/* Layout, little endian: u32 width (2, 4, 8), u32 count, the integers in ascending order.
 *
 * Invariants (intset_check()): the width is one of the three; the integers ascend strictly. Not required: that some
 * integer needs the width.
 */
#include "config.h"

#include "server/ds/intset.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

_Static_assert(sizeof(struct intset) == INTSET_HEADER_BYTES, "the header has no padding");
_Static_assert(offsetof(struct intset, count_le) == 4, "the count stands behind the width");

#define SHRINK_SLACK_BYTES 64

static uint32_t width_of(int64_t v) {
    return v == (int16_t)v ? 2 : v == (int32_t)v ? 4 : 8;
}

static void set_at(struct intset *is, uint32_t width, uint32_t i, int64_t v) {
    unsigned char *p = is->rest + (size_t)i * width;
    if (width == 2)
        store_le16(p, (uint16_t)v);
    else if (width == 4)
        store_le32(p, (uint32_t)v);
    else
        store_le64(p, (uint64_t)v);
}

struct intset *intset_create(void) {
    struct intset *is = mem_alloc(INTSET_HEADER_BYTES + 2 * sizeof(int16_t));
    store_le32(is->width_le, 2);
    store_le32(is->count_le, 0);
    return is;
}

void intset_destroy(struct intset *is) {
    mem_free(is);
}

struct intset *intset_dup(const struct intset *is) {
    size_t n = intset_bytes(is);
    struct intset *copy = mem_alloc(n);
    memcpy(copy, is, n);
    return copy;
}

struct intset *intset_try_load(struct slice validated) {
    struct intset *is = mem_try_alloc(validated.n);
    if (is != NULL)
        memcpy(is, validated.p, validated.n);
    return is;
}

/* The index of the first integer that is not below v. Branch-free halving: the width is fixed outside the loop. */
#define LOWER_BOUND(bits, width)                                                                                       \
    static uint32_t lower_bound_##bits(const unsigned char *p, uint32_t n, int64_t v) {                                \
        const unsigned char *base = p;                                                                                 \
        if (n == 0)                                                                                                    \
            return 0;                                                                                                  \
        while (n > 1) {                                                                                                \
            uint32_t half = n / 2;                                                                                     \
            base +=                                                                                                    \
                (int##bits##_t)load_le##bits(base + (size_t)(half - 1) * (width)) < v ? (size_t)half * (width) : 0;    \
            n -= half;                                                                                                 \
        }                                                                                                              \
        base += (int##bits##_t)load_le##bits(base) < v ? (width) : 0;                                                  \
        return (uint32_t)((size_t)(base - p) / (width));                                                               \
    }
LOWER_BOUND(16, 2u)
LOWER_BOUND(32, 4u)
LOWER_BOUND(64, 8u)

bool intset_find(const struct intset *is, int64_t v, uint32_t *ret_index) {
    uint32_t n = intset_count(is), width = intset_width(is), i;
    if (n == 0)
        i = 0;
    else if (v > intset_get(is, n - 1))
        i = n;
    else
        i = width == 2   ? lower_bound_16(is->rest, n, v)
            : width == 4 ? lower_bound_32(is->rest, n, v)
                         : lower_bound_64(is->rest, n, v);
    if (ret_index != NULL)
        *ret_index = i;
    return i < n && intset_get(is, i) == v;
}

static void reserve(struct intset **is, size_t bytes) {
    if (bytes > mem_usable_size(*is))
        *is = mem_realloc(*is, bytes);
}

/* Widens and puts v, which is below or above all others, at its end. */
static void widen_and_add(struct intset **is, uint32_t width, int64_t v) {
    uint32_t n = intset_count(*is), shift = v < 0;
    reserve(is, INTSET_HEADER_BYTES + (size_t)(n + 1) * width);
    for (uint32_t i = n; i-- > 0;)
        set_at(*is, width, i + shift, intset_get(*is, i));
    set_at(*is, width, v < 0 ? 0 : n, v);
    store_le32((*is)->width_le, width);
    store_le32((*is)->count_le, n + 1);
}

int intset_add(struct intset **is, int64_t v) {
    uint32_t n = intset_count(*is), old = intset_width(*is), need = width_of(v), i;
    uint32_t width = need > old ? need : old;
    if (need <= old && intset_find(*is, v, &i))
        return 0;
    size_t bytes = INTSET_HEADER_BYTES + ((size_t)n + 1) * width;
    if (bytes > INTSET_MAX_BYTES)
        return -1;
    if (need > old) {
        widen_and_add(is, width, v);
        return 1;
    }
    reserve(is, bytes);
    unsigned char *p = (*is)->rest + (size_t)i * width;
    memmove(p + width, p, (size_t)(n - i) * width);
    set_at(*is, width, i, v);
    store_le32((*is)->count_le, n + 1);
    return 1;
}

void intset_remove_range(struct intset **is, uint32_t i, uint32_t n) {
    uint32_t count = intset_count(*is), width = intset_width(*is);
    HF_ASSERT(i <= count && n <= count - i);
    unsigned char *p = (*is)->rest + (size_t)i * width;
    memmove(p, p + (size_t)n * width, (size_t)(count - i - n) * width);
    store_le32((*is)->count_le, count - n);
    size_t bytes = intset_bytes(*is);
    if (mem_usable_size(*is) / 2 > bytes + SHRINK_SLACK_BYTES)
        *is = mem_realloc(*is, bytes);
}

bool intset_remove(struct intset **is, int64_t v) {
    uint32_t i;
    if (!intset_find(*is, v, &i))
        return false;
    intset_remove_range(is, i, 1);
    return true;
}

int64_t intset_random(const struct intset *is, struct rng *rng) {
    return intset_get(is, (uint32_t)rng_below(rng, intset_count(is)));
}

const char *intset_validate(struct slice b, bool deep, packed_each_fn *each, void *arg, uint64_t *ret_count) {
    const unsigned char *p = (const unsigned char *)b.p;
    if (b.n < INTSET_HEADER_BYTES)
        return "an intset is too short";
    uint64_t width = load_le32(p), count = load_le32(p + 4);
    if (width != 2 && width != 4 && width != 8)
        return "an intset has an unknown width";
    if (count * width != b.n - INTSET_HEADER_BYTES)
        return "an intset states another number of integers than it has";
    const struct intset *is = (const struct intset *)(const void *)p;
    int64_t before = 0;
    for (uint32_t i = 0; deep && i < count; i++) {
        int64_t v = intset_get(is, i);
        if (i > 0 && v <= before)
            return "an intset is not sorted or repeats an integer";
        before = v;
        const struct packed_item it = packed_int(v);
        const char *why = each != NULL ? each(arg, &it) : NULL;
        if (why != NULL)
            return why;
    }
    *ret_count = count;
    return NULL;
}

void intset_check(const struct intset *is) {
    uint64_t count;
    const char *why = intset_validate(intset_slice(is), true, NULL, NULL, &count);
    if (why != NULL)
        HF_PANIC("%s", why);
    HF_ASSERT(mem_usable_size(is) >= intset_bytes(is));
}
