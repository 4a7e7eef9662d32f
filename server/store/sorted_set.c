#include "config.h"

#include "server/store/sorted_set.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/store/small.h"

/* Design
 *
 * Every function branches on the encoding once and leaves the rest to small.h or zset.h. Members of a small set are
 * packed items, those of a large one bytes, so callbacks take items.
 *
 * Invariants (sorted_set_check): those of the encodings. A small set keeps to the thresholds it grew by; loading and
 * later changes of the thresholds do not convert what is there.
 */

typedef int member_fn(void *arg, const struct packed_item *member, double score);

static size_t to_size(int64_t limit) {
    return limit < 0 ? 0 : (size_t)limit;
}

static struct small_limits limits_of(const struct collection_rules *rules) {
    return (struct small_limits){.elements = to_size(rules->limits.zset_max_listpack_entries),
                                 .element_bytes = to_size(rules->limits.zset_max_listpack_value)};
}

static inline bool is_small(const struct collection *z) {
    HF_ASSERT(z->encoding == VALUE_ENC_LISTPACK || z->encoding == VALUE_ENC_SKIPLIST);
    return z->encoding == VALUE_ENC_LISTPACK;
}

static void set_large(struct collection *z, struct zset *large) {
    z->encoding = VALUE_ENC_SKIPLIST;
    z->object = large;
}

struct collection sorted_set_create(const struct collection_rules *rules, size_t expected, size_t longest_bytes) {
    struct collection z = {.rules = rules};
    if (small_fits(limits_of(rules), expected, longest_bytes)) {
        z.encoding = VALUE_ENC_LISTPACK;
        z.object = listpack_create(LISTPACK_EMPTY_BYTES);
    } else {
        set_large(&z, zset_create(rules->policy));
    }
    return z;
}

static void type_free(enum value_encoding encoding, void *object) {
    if (encoding == VALUE_ENC_LISTPACK) {
        listpack_destroy(object);
        return;
    }
    HF_ASSERT(encoding == VALUE_ENC_SKIPLIST);
    zset_destroy(object);
}

void sorted_set_destroy(struct collection *z) {
    type_free(z->encoding, z->object);
    z->object = NULL;
}

static size_t type_count(enum value_encoding encoding, const void *object) {
    return encoding == VALUE_ENC_LISTPACK ? listpack_count(object) / 2 : zset_count(object);
}

size_t sorted_set_count(const struct collection *z) {
    return is_small(z) ? listpack_count(z->object) / 2 : zset_count(z->object);
}

/* ---- members ---- */

bool sorted_set_score(const struct collection *z, struct slice member, double *ret_score) {
    if (is_small(z))
        return small_zset_find(z->object, member, ret_score, NULL) != 0;
    const struct zmember *m = zset_find(z->object, member);
    if (m != NULL)
        *ret_score = m->score;
    return m != NULL;
}

static void enlarge(struct collection *z) {
    struct zset *large = small_zset_enlarge(z->object, z->rules->policy);
    HF_ASSERT(large != NULL); /* no member is there twice */
    listpack_destroy(z->object);
    set_large(z, large);
}

enum zset_put sorted_set_put(struct collection *z, struct slice member, double score) {
    enum zset_put put;
    if (is_small(z)) {
        struct listpack *lp = z->object;
        int full = small_zset_put(&lp, limits_of(z->rules), member, score, &put);
        z->object = lp;
        if (full == 0)
            return put;
        enlarge(z);
    }
    return zset_put(z->object, member, score);
}

bool sorted_set_remove(struct collection *z, struct slice member) {
    if (!is_small(z))
        return zset_remove(z->object, member);
    struct listpack *lp = z->object;
    bool removed = small_zset_remove(&lp, member);
    z->object = lp;
    return removed;
}

bool sorted_set_rank(const struct collection *z, struct slice member, size_t *ret_rank, double *ret_score) {
    double score;
    if (ret_score == NULL)
        ret_score = &score;
    if (is_small(z))
        return small_zset_find(z->object, member, ret_score, ret_rank) != 0;
    const struct zmember *m = zset_rank(z->object, member, ret_rank);
    if (m != NULL)
        *ret_score = m->score;
    return m != NULL;
}

void sorted_set_remove_ranks(struct collection *z, size_t rank, size_t n) {
    if (is_small(z)) {
        struct listpack *lp = z->object;
        uint32_t removed = listpack_delete_range(&lp, (int64_t)rank * 2, (uint32_t)n * 2);
        HF_ASSERT(removed == n * 2);
        z->object = lp;
    } else {
        zset_remove_ranks(z->object, rank, n, NULL, NULL);
    }
}

/* ---- ranges ---- */

size_t sorted_set_rank_of_score(const struct collection *z, double score, bool or_equal) {
    if (is_small(z))
        return small_zset_rank_of_score(z->object, score, or_equal);
    return ordered_tree_rank_of_score(zset_tree(z->object), score, or_equal);
}

static int each_small(const struct listpack *lp, size_t rank, size_t n, bool reverse, member_fn *each, void *arg) {
    if (rank >= listpack_count(lp) / 2)
        return 0;
    uint32_t at = listpack_seek(lp, reverse ? -2 * ((int64_t)rank + 1) : 2 * (int64_t)rank);
    for (size_t i = 0; i < n && at != 0; i++) {
        struct packed_item member = listpack_get(lp, at);
        int stop = each(arg, &member, small_zset_score(lp, at));
        if (stop != 0)
            return stop;
        at = reverse ? listpack_prev(lp, at) : listpack_next(lp, listpack_next(lp, at));
        if (reverse && at != 0)
            at = listpack_prev(lp, at);
    }
    return 0;
}

/* Members of a large set that are fetched together. */
#define AT_ONCE 32

int sorted_set_each(const struct collection *z, size_t rank, size_t n, bool reverse, member_fn *each, void *arg) {
    if (is_small(z))
        return each_small(z->object, rank, n, reverse, each, arg);
    const struct ordered_tree *t = zset_tree(z->object);
    if (rank >= t->used)
        return 0;
    struct ordered_cursor c = ordered_tree_seek(t, reverse ? t->used - 1 - rank : rank);
    const struct zmember *run[AT_ONCE];
    while (n > 0) {
        size_t got = ordered_cursor_take(&c, reverse, run, n < AT_ONCE ? n : AT_ONCE);
        for (size_t i = 0; i < got; i++) {
            struct packed_item member = packed_bytes(zmember_bytes(run[i]));
            int stop = each(arg, &member, run[i]->score);
            if (stop != 0)
                return stop;
        }
        if (got < AT_ONCE)
            break;
        n -= got;
    }
    return 0;
}

/* ---- ranges of bytes ---- */

/* Whether bytes lie above the minimum (side 0) or below the maximum (side 1). */
static bool lex_inside(const struct sorted_set_lex *range, int side, struct slice bytes) {
    switch (range->bound[side]) {
    case SORTED_SET_LOWEST:
        return side == 0;
    case SORTED_SET_HIGHEST:
        return side == 1;
    default:
        break;
    }
    int c = zmember_compare_bytes(bytes, range->bytes[side]);
    if (c == 0)
        return range->bound[side] == SORTED_SET_INCLUDED;
    return side == 0 ? c > 0 : c < 0;
}

/* Whether no bytes can be in the range. */
static bool lex_is_empty(const struct sorted_set_lex *range) {
    enum sorted_set_bound low = range->bound[0], high = range->bound[1];
    if (low == SORTED_SET_HIGHEST || high == SORTED_SET_LOWEST)
        return true;
    if (low == SORTED_SET_LOWEST || high == SORTED_SET_HIGHEST)
        return false;
    int c = zmember_compare_bytes(range->bytes[0], range->bytes[1]);
    return c > 0 || (c == 0 && (low == SORTED_SET_EXCLUDED || high == SORTED_SET_EXCLUDED));
}

/* The rank behind the last member below the minimum (side 0) or within the maximum (side 1), in a large set of equal
 * scores. */
static size_t lex_rank(const struct ordered_tree *t, const struct sorted_set_lex *range, int side) {
    switch (range->bound[side]) {
    case SORTED_SET_LOWEST:
        return 0;
    case SORTED_SET_HIGHEST:
        return t->used;
    case SORTED_SET_INCLUDED:
        return ordered_tree_rank_of_bytes(t, range->bytes[side], side == 1);
    case SORTED_SET_EXCLUDED:
        break;
    }
    return ordered_tree_rank_of_bytes(t, range->bytes[side], side == 0);
}

struct lex_walk {
    const struct sorted_set_lex *range;
    int near_side; /* the bound that the walk meets first */
    size_t before, inside;
};

static int lex_step(void *arg, const struct packed_item *member, double score) {
    struct lex_walk *k = arg;
    char digits[NUM_I64_CHARS];
    struct slice bytes = packed_text(member, digits);
    (void)score;
    if (k->inside == 0 && !lex_inside(k->range, k->near_side, bytes)) {
        k->before++;
        return 0;
    }
    if (!lex_inside(k->range, 1 - k->near_side, bytes))
        return 1;
    /* Behind the first member of the range, only the far bound ends it. */
    k->inside++;
    return 0;
}

static int lex_meets(void *arg, const struct packed_item *member, double score) {
    const struct lex_walk *k = arg;
    char digits[NUM_I64_CHARS];
    (void)score;
    return lex_inside(k->range, k->near_side, packed_text(member, digits));
}

size_t sorted_set_lex_range(const struct collection *z, const struct sorted_set_lex *range, bool reverse,
                            size_t *ret_rank) {
    size_t count = sorted_set_count(z);
    if (count == 0 || lex_is_empty(range))
        return 0;
    if (!is_small(z)) {
        const struct ordered_tree *t = zset_tree(z->object);
        if (ordered_tree_at(t, 0)->score == ordered_tree_at(t, count - 1)->score) {
            size_t low = lex_rank(t, range, 0), high = lex_rank(t, range, 1);
            *ret_rank = reverse ? count - high : low;
            return high > low ? high - low : 0;
        }
    }
    struct lex_walk k = {.range = range, .near_side = 0};
    if (!sorted_set_each(z, 0, 1, true, lex_meets, &k))
        return 0;
    k.near_side = 1;
    if (!sorted_set_each(z, 0, 1, false, lex_meets, &k))
        return 0;
    k.near_side = reverse;
    (void)sorted_set_each(z, 0, count, reverse, lex_step, &k);
    *ret_rank = k.before;
    return k.inside;
}

/* ---- scans and random members ---- */

struct scan {
    member_fn *each;
    void *arg;
    size_t seen;
};

static void scan_member(void *arg, struct zmember *m) {
    struct scan *s = arg;
    struct packed_item member = packed_bytes(zmember_bytes(m));
    (void)s->each(s->arg, &member, m->score);
    s->seen++;
}

uint64_t sorted_set_scan(const struct collection *z, uint64_t cursor, size_t count, member_fn *each, void *arg) {
    if (is_small(z)) {
        (void)each_small(z->object, 0, SIZE_MAX, false, each, arg);
        return 0;
    }
    struct scan s = {each, arg, 0};
    /* A sparse table shows nothing for many steps. */
    size_t steps = count > SIZE_MAX / 10 ? SIZE_MAX : count * 10;
    do {
        cursor = zset_scan(z->object, cursor, scan_member, &s);
    } while (cursor != 0 && s.seen < count && --steps > 0);
    return cursor;
}

#define PICKS_AT_ONCE 256

static int random_small(const struct listpack *lp, struct rng *rng, size_t n, member_fn *each, void *arg) {
    uint32_t picks[PICKS_AT_ONCE];
    int stop = 0;
    while (n > 0 && stop == 0) {
        uint32_t run = n < PICKS_AT_ONCE ? (uint32_t)n : PICKS_AT_ONCE;
        listpack_random_picks(lp, 2, rng, picks, run);
        n -= run;
        for (uint32_t i = 0; i < run && stop == 0; i++) {
            struct packed_item member = listpack_get(lp, picks[i]);
            stop = each(arg, &member, small_zset_score(lp, picks[i]));
        }
    }
    return stop;
}

int sorted_set_random(const struct collection *z, struct rng *rng, size_t n, member_fn *each, void *arg) {
    if (is_small(z))
        return random_small(z->object, rng, n, each, arg);
    int stop = 0;
    for (size_t i = 0; i < n && stop == 0; i++) {
        const struct zmember *m = zset_random(z->object, rng);
        struct packed_item member = packed_bytes(zmember_bytes(m));
        stop = each(arg, &member, m->score);
    }
    return stop;
}

/* Few of many: n different ranks below count, by Floyd's method with a set of those taken. */
static int random_few(const struct ordered_tree *t, struct rng *rng, size_t n, member_fn *each, void *arg) {
    size_t slots = 16;
    while (slots < n * 2)
        slots *= 2;
    size_t *taken = mem_calloc(slots, sizeof *taken); /* rank + 1, or 0 */
    int stop = 0;
    for (size_t top = t->used - n; top < t->used && stop == 0; top++) {
        size_t rank = rng_below(rng, top + 1), i;
        for (int again = 0; again < 2; again++) {
            for (i = rank * UINT64_C(0x9E3779B97F4A7C15) & (slots - 1); taken[i] != 0 && taken[i] != rank + 1;
                 i = (i + 1) & (slots - 1))
                ;
            if (taken[i] == 0)
                break;
            rank = top; /* taken; this one cannot be */
        }
        taken[i] = rank + 1;
        const struct zmember *m = ordered_tree_at(t, rank);
        struct packed_item member = packed_bytes(zmember_bytes(m));
        stop = each(arg, &member, m->score);
    }
    mem_free_sized(taken, slots * sizeof *taken);
    return stop;
}

struct selection {
    struct rng *rng;
    size_t wanted, left; /* of those not yet passed by */
    member_fn *each;
    void *arg;
};

/* Selection sampling (Knuth 3.4.2 S): each member is taken with the probability that makes the number come out. */
static int select_member(void *arg, const struct packed_item *member, double score) {
    struct selection *s = arg;
    if (rng_below(s->rng, s->left--) >= s->wanted)
        return 0;
    s->wanted--;
    return s->each(s->arg, member, score);
}

int sorted_set_random_distinct(const struct collection *z, struct rng *rng, size_t n, member_fn *each, void *arg) {
    size_t count = sorted_set_count(z);
    HF_ASSERT(n <= count);
    if (!is_small(z) && n < count / 8)
        return random_few(zset_tree(z->object), rng, n, each, arg);
    struct selection s = {rng, n, count, each, arg};
    return sorted_set_each(z, 0, count, false, select_member, &s);
}

/* ---- whole sets ---- */

void sorted_set_settle(struct collection *z) {
    if (is_small(z))
        return;
    struct listpack *lp = small_zset_from(z->object, limits_of(z->rules));
    if (lp == NULL)
        return;
    zset_destroy(z->object);
    z->encoding = VALUE_ENC_LISTPACK;
    z->object = lp;
}

int sorted_set_try_load(const struct collection_rules *rules, struct zmember **members, size_t n,
                        struct collection *ret_z) {
    struct zset *large = zset_try_load(rules->policy, members, n);
    if (large == NULL)
        return -1;
    *ret_z = (struct collection){.rules = rules};
    set_large(ret_z, large);
    sorted_set_settle(ret_z);
    return 0;
}

void sorted_set_check(const struct collection *z) {
    if (is_small(z))
        small_zset_check(z->object);
    else
        zset_check(z->object);
}

/* ---- the type's row ---- */

static size_t type_effort(enum value_encoding encoding, const void *object) {
    return encoding == VALUE_ENC_LISTPACK ? 1 : zset_count(object);
}

static size_t type_memory_bytes(enum value_encoding encoding, const void *object, size_t samples) {
    return encoding == VALUE_ENC_LISTPACK ? mem_usable_size(object) : zset_memory_bytes(object, samples);
}

static void *type_copy(enum value_encoding encoding, const void *object) {
    if (encoding == VALUE_ENC_LISTPACK)
        return listpack_dup(object);
    HF_ASSERT(encoding == VALUE_ENC_SKIPLIST);
    return zset_copy(object);
}

const struct value_type_ops sorted_set_type_ops = {.free = type_free,
                                                   .effort = type_effort,
                                                   .memory_bytes = type_memory_bytes,
                                                   .copy = type_copy,
                                                   .count = type_count};
