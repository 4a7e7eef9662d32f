#include "config.h"

#include "server/store/zset.h"

#include <stdlib.h>

#include "server/base/assert.h"
#include "server/base/hash.h"
#include "server/base/mem.h"

/* Design
 *
 * Each member is one allocation, known to the tree by its score and to the table by its bytes. A change of score leaves
 * the table alone and moves the member in the tree.
 *
 * Invariants (zset_check): those of the tree and the table; both have the same members.
 */

struct zset {
    struct table table;
    struct ordered_tree tree;
    const struct table_policy *policy;
};

static bool match_bytes(const void *item, const void *key) {
    return slice_eq(zmember_bytes(item), *(const struct slice *)key);
}

static uint64_t hash_bytes(const void *ctx, struct slice bytes) {
    return hash_keyed(ctx, bytes.p, bytes.n);
}

static uint64_t hash_member(const void *ctx, const void *item) {
    return hash_bytes(ctx, zmember_bytes(item));
}

static const struct table_ops member_ops = {.match = match_bytes, .hash = hash_member};

static void **find_slot(const struct zset *z, uint64_t hash, struct slice bytes) {
    return table_find(&z->table, &member_ops, hash, &bytes);
}

static void forget(struct zset *z, const struct zmember *m) {
    struct slice bytes = zmember_bytes(m);
    uint64_t hash = hash_bytes(z->policy->ctx, bytes);
    void **slot = find_slot(z, hash, bytes);
    HF_ASSERT(slot != NULL && *slot == m);
    table_remove(&z->table, &member_ops, z->policy, hash, slot);
}

static void destroy_member(void *arg, struct zmember *m) {
    (void)arg;
    zmember_destroy(m);
}

struct zset *zset_create(const struct table_policy *policy) {
    struct zset *z = mem_alloc(sizeof *z);
    *z = (struct zset){.policy = policy};
    return z;
}

void zset_destroy(struct zset *z) {
    if (z == NULL)
        return;
    table_clear(&z->table, NULL, NULL);
    ordered_tree_clear(&z->tree, destroy_member, NULL);
    mem_free_sized(z, sizeof *z);
}

/* ---- whole sets ---- */

static int compare_members(const struct zmember *x, const struct zmember *y) {
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return zmember_compare_bytes(zmember_bytes(x), zmember_bytes(y));
}

/* A member with its score beside, so that sorting reads few members. */
struct ranked {
    double score;
    struct zmember *m;
};

static int compare_ranked(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return zmember_compare_bytes(zmember_bytes(x->m), zmember_bytes(y->m));
}

static void sort_by_score(struct zmember **members, size_t n) {
    struct ranked *r = mem_calloc(n, sizeof *r);
    for (size_t i = 0; i < n; i++)
        r[i] = (struct ranked){members[i]->score, members[i]};
    qsort(r, n, sizeof *r, compare_ranked);
    for (size_t i = 0; i < n; i++)
        members[i] = r[i].m;
    mem_free_sized(r, n * sizeof *r);
}

/* Puts members in ascending order. */
static void sort_members(struct zmember **members, size_t n) {
    size_t up = 1, down = 1;
    while (up < n && compare_members(members[up - 1], members[up]) < 0)
        up++;
    while (down < n && compare_members(members[down - 1], members[down]) > 0)
        down++;
    if (up >= n)
        return;
    if (down < n) {
        sort_by_score(members, n);
        return;
    }
    for (size_t i = 0; i < n / 2; i++) {
        struct zmember *m = members[i];
        members[i] = members[n - 1 - i];
        members[n - 1 - i] = m;
    }
}

struct zset *zset_try_load(const struct table_policy *policy, struct zmember **members, size_t n) {
    struct zset *z = zset_create(policy);
    bool good = table_try_expect(&z->table, &member_ops, policy->ctx, n) == 0;
    for (size_t i = 0; good && i < n; i++) {
        struct slice bytes = zmember_bytes(members[i]);
        uint64_t hash = hash_bytes(policy->ctx, bytes);
        good = members[i]->score == members[i]->score && find_slot(z, hash, bytes) == NULL;
        if (good)
            table_insert(&z->table, &member_ops, policy, hash, members[i]);
    }
    if (good) {
        sort_members(members, n);
        ordered_tree_build(&z->tree, members, n);
        return z;
    }
    zset_destroy(z);
    for (size_t i = 0; i < n; i++)
        zmember_destroy(members[i]);
    return NULL;
}

/* ---- building ---- */

struct zset *zset_build_begin(const struct table_policy *policy, size_t expected) {
    struct zset *z = zset_create(policy);
    /* A hint: where there is no memory for it, the table grows as it goes. */
    if (table_try_expect(&z->table, &member_ops, policy->ctx, expected) != 0)
        expected = 0;
    return z;
}

struct zmember *zset_build_member(struct zset *z, struct slice bytes, double score, bool *ret_added) {
    uint64_t hash = hash_bytes(z->policy->ctx, bytes);
    void **slot = find_slot(z, hash, bytes);
    *ret_added = slot == NULL;
    if (slot != NULL)
        return *slot;
    struct zmember *m = zmember_create(score, bytes);
    table_insert(&z->table, &member_ops, z->policy, hash, m);
    return m;
}

struct gathering {
    struct zmember **members;
    size_t n;
};

static int gather(void *arg, void *item) {
    struct gathering *g = arg;
    g->members[g->n++] = item;
    return 0;
}

void zset_build_end(struct zset *z) {
    size_t n = z->table.used;
    HF_ASSERT(z->tree.used == 0);
    struct gathering g = {.members = mem_calloc(n + 1, sizeof *g.members)};
    (void)table_each(&z->table, gather, &g);
    HF_ASSERT(g.n == n);
    sort_members(g.members, n);
    ordered_tree_build(&z->tree, g.members, n);
    mem_free_sized(g.members, (n + 1) * sizeof *g.members);
}

struct zset *zset_copy(const struct zset *z) {
    size_t n = z->tree.used;
    struct zmember **members = mem_calloc(n + 1, sizeof *members);
    struct ordered_cursor c = ordered_tree_seek(&z->tree, 0);
    for (size_t i = 0; i < n; i++) {
        const struct zmember *m = ordered_cursor_next(&c);
        members[i] = zmember_create(m->score, zmember_bytes(m));
    }
    struct zset *copy = zset_try_load(z->policy, members, n);
    HF_ASSERT(copy != NULL);
    mem_free_sized(members, (n + 1) * sizeof *members);
    return copy;
}

size_t zset_count(const struct zset *z) {
    return z->tree.used;
}

const struct ordered_tree *zset_tree(const struct zset *z) {
    return &z->tree;
}

/* ---- members ---- */

enum zset_put zset_set_score(struct zset *z, struct zmember *m, double score) {
    if (m->score == score)
        return ZSET_SAME;
    ordered_tree_move(&z->tree, m, score);
    return ZSET_MOVED;
}

enum zset_put zset_put(struct zset *z, struct slice bytes, double score) {
    HF_ASSERT(score == score);
    uint64_t hash = hash_bytes(z->policy->ctx, bytes);
    void **slot = find_slot(z, hash, bytes);
    if (slot != NULL)
        return zset_set_score(z, *slot, score);
    struct zmember *m = zmember_create(score, bytes);
    table_insert(&z->table, &member_ops, z->policy, hash, m);
    ordered_tree_insert(&z->tree, m);
    return ZSET_ADDED;
}

struct zmember *zset_find(const struct zset *z, struct slice bytes) {
    void **slot = find_slot(z, hash_bytes(z->policy->ctx, bytes), bytes);
    return slot != NULL ? *slot : NULL;
}

struct zmember *zset_rank(const struct zset *z, struct slice bytes, size_t *ret_rank) {
    struct zmember *m = zset_find(z, bytes);
    if (m != NULL)
        *ret_rank = ordered_tree_rank(&z->tree, m);
    return m;
}

bool zset_remove(struct zset *z, struct slice bytes) {
    uint64_t hash = hash_bytes(z->policy->ctx, bytes);
    void **slot = find_slot(z, hash, bytes);
    if (slot == NULL)
        return false;
    struct zmember *m = *slot;
    table_remove(&z->table, &member_ops, z->policy, hash, slot);
    ordered_tree_remove(&z->tree, m);
    zmember_destroy(m);
    return true;
}

struct removal {
    struct zset *z;
    void (*each)(void *arg, const struct zmember *m);
    void *arg;
};

static void drop_removed(void *arg, struct zmember *m) {
    const struct removal *r = arg;
    if (r->each != NULL)
        r->each(r->arg, m);
    forget(r->z, m);
    zmember_destroy(m);
}

void zset_remove_ranks(struct zset *z, size_t rank, size_t n, void (*each)(void *arg, const struct zmember *m),
                       void *arg) {
    struct removal r = {z, each, arg};
    ordered_tree_remove_ranks(&z->tree, rank, n, drop_removed, &r);
}

static void keep_popped(void *arg, struct zmember *m) {
    *(struct zmember **)arg = m;
}

struct zmember *zset_pop(struct zset *z, bool highest) {
    struct zmember *m = NULL;
    if (z->tree.used == 0)
        return NULL;
    ordered_tree_remove_ranks(&z->tree, highest ? z->tree.used - 1 : 0, 1, keep_popped, &m);
    forget(z, m);
    return m;
}

struct zmember *zset_random(const struct zset *z, struct rng *rng) {
    return z->tree.used != 0 ? ordered_tree_at(&z->tree, rng_below(rng, z->tree.used)) : NULL;
}

struct scan {
    void (*each)(void *arg, struct zmember *m);
    void *arg;
};

static void scan_item(void *arg, void *item) {
    const struct scan *s = arg;
    s->each(s->arg, item);
}

uint64_t zset_scan(const struct zset *z, uint64_t cursor, void (*each)(void *arg, struct zmember *m), void *arg) {
    struct scan s = {each, arg};
    return table_scan(&z->table, cursor, scan_item, &s);
}

void zset_prefetch(const struct zset *z, struct slice bytes) {
    table_prefetch_bucket(&z->table, hash_bytes(z->policy->ctx, bytes));
}

/* ---- figures and checks ---- */

size_t zset_memory_bytes(const struct zset *z, size_t samples) {
    size_t n = z->tree.used, seen = samples == 0 || samples > n ? n : samples, bytes = 0;
    struct ordered_cursor c = ordered_tree_seek(&z->tree, 0);
    for (size_t i = 0; i < seen; i++)
        bytes += mem_usable_size(ordered_cursor_next(&c));
    if (seen != 0)
        bytes = (size_t)((double)bytes / (double)seen * (double)n);
    return bytes + mem_usable_size(z) + z->tree.node_bytes + table_bytes(&z->table);
}

void zset_check(const struct zset *z) {
    table_check(&z->table, &member_ops, z->policy->ctx);
    ordered_tree_check(&z->tree);
    HF_ASSERT(z->table.used == z->tree.used);
    struct ordered_cursor c = ordered_tree_seek(&z->tree, 0);
    for (const struct zmember *m; (m = ordered_cursor_next(&c)) != NULL;)
        HF_ASSERT(zset_find(z, zmember_bytes(m)) == m);
}
