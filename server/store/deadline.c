#include "config.h"

#include "server/store/deadline.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

/* Design: a B+ tree whose leaves are not sorted.
 *
 *   leaf   512 B   count, 63 item pointers in any order
 *   inner 1024 B   count of children, 42 separators (deadline, address), 43 children
 *
 * A leaf covers a range of (deadline, address); inserting appends to it and removing scans it for the pointer, so
 * neither reads an item. Only a full leaf does when it is split: the keys of its items are read then to find the
 * middle. Separators are plain values: nothing has to exist at the address of one.
 *
 * Invariants (deadline_check):
 *  1. The key of every item under child i is >= separator i-1 and < separator i; separators ascend strictly.
 *  2. All leaves are at the same depth, hold at least one item, and there is at least one unless the index is empty.
 *  3. An inner node has at least one child; the root, where it is an inner node, has two.
 *  4. used, leaves, inners and sum_ms are what counting gives; first is NULL or the least item.
 *
 * Deadlines mostly come in rising order, so a leaf that overflows at the right end of the tree is left nearly full; a
 * split elsewhere is in the middle. A node merges with a neighbour under the same parent when it is below a quarter and
 * both fit in three quarters: what is between stays, so that alternating changes do not split and merge in turn.
 */

#define INNER_CHILDREN 43
#define LEAF_SPARSE (DEADLINE_LEAF_ITEMS / 4)
#define LEAF_MERGED (DEADLINE_LEAF_ITEMS * 3 / 4)
#define INNER_SPARSE (INNER_CHILDREN / 4)
#define INNER_MERGED (INNER_CHILDREN * 3 / 4)
#define RIGHT_END_MOVES 8 /* items that go to the new leaf when the last one overflows */
#define MAX_HEIGHT 14     /* 2 * 2^14 leaves at the very least, 43^14 at best; deeper trees cannot fill memory */

struct key {
    int64_t deadline_ms;
    uintptr_t address;
};

struct leaf {
    uint64_t count;
    struct deadline_item *items[DEADLINE_LEAF_ITEMS];
};

struct inner {
    uint64_t count;
    int64_t deadlines[INNER_CHILDREN - 1];
    uintptr_t addresses[INNER_CHILDREN - 1];
    void *children[INNER_CHILDREN];
};
_Static_assert(sizeof(struct leaf) == 512, "a leaf fills its class");
_Static_assert(sizeof(struct inner) == 1024, "an inner node fills its class");

/* The way to a leaf: path[0] is the root. */
struct path {
    struct inner *nodes[MAX_HEIGHT];
    unsigned at[MAX_HEIGHT];
    struct leaf *leaf;
};

static struct key key_of(const struct deadline_item *item) {
    return (struct key){item->deadline_ms, (uintptr_t)item};
}

static bool key_less(struct key a, struct key b) {
    return a.deadline_ms != b.deadline_ms ? a.deadline_ms < b.deadline_ms : a.address < b.address;
}

static struct key separator(const struct inner *n, unsigned i) {
    return (struct key){n->deadlines[i], n->addresses[i]};
}

static void set_separator(struct inner *n, unsigned i, struct key k) {
    n->deadlines[i] = k.deadline_ms;
    n->addresses[i] = k.address;
}

/* Separators of n that are <= k: the child to go to. Searches without branches to mispredict; equal deadlines come
 * after. */
static unsigned child_for(const struct inner *n, struct key k) {
    unsigned lo = 0, left = (unsigned)n->count - 1;
    while (left > 1) {
        unsigned half = left / 2;
        lo += n->deadlines[lo + half - 1] < k.deadline_ms ? half : 0;
        left -= half;
    }
    if (left == 1)
        lo += n->deadlines[lo] < k.deadline_ms;
    while (lo + 1 < n->count && n->deadlines[lo] == k.deadline_ms && n->addresses[lo] <= k.address)
        lo++;
    return lo;
}

static void descend(const struct deadline_index *x, struct key k, struct path *ret_path) {
    void *node = x->root;
    for (unsigned level = 0; level < x->height; level++) {
        struct inner *n = node;
        unsigned i = child_for(n, k);
        ret_path->nodes[level] = n;
        ret_path->at[level] = i;
        node = n->children[i];
    }
    ret_path->leaf = node;
}

static struct leaf *new_leaf(struct deadline_index *x) {
    struct leaf *l = mem_alloc(sizeof *l);
    l->count = 0;
    x->leaves++;
    return l;
}

static struct inner *new_inner(struct deadline_index *x) {
    struct inner *n = mem_alloc(sizeof *n);
    n->count = 0;
    x->inners++;
    return n;
}

static void free_leaf(struct deadline_index *x, struct leaf *l) {
    mem_free_sized(l, sizeof *l);
    x->leaves--;
}

static void free_inner(struct deadline_index *x, struct inner *n) {
    mem_free_sized(n, sizeof *n);
    x->inners--;
}

/* ---- inner nodes ---- */

/* Adds child behind children[i], with the least key below it. n has room. */
static void inner_add(struct inner *n, unsigned i, struct key k, void *child) {
    unsigned behind = (unsigned)n->count - 1 - i; /* separators and children that move */
    HF_ASSERT(n->count < INNER_CHILDREN && i < n->count);
    memmove(&n->deadlines[i + 1], &n->deadlines[i], behind * sizeof n->deadlines[0]);
    memmove(&n->addresses[i + 1], &n->addresses[i], behind * sizeof n->addresses[0]);
    memmove(&n->children[i + 2], &n->children[i + 1], behind * sizeof n->children[0]);
    set_separator(n, i, k);
    n->children[i + 1] = child;
    n->count++;
}

/* Takes children[i] out, with the separator on its left (on its right for the first). */
static void inner_take_out(struct inner *n, unsigned i) {
    HF_ASSERT(i < n->count);
    n->count--;
    memmove(&n->children[i], &n->children[i + 1], (n->count - i) * sizeof n->children[0]);
    if (n->count == 0)
        return;
    unsigned s = i == 0 ? 0 : i - 1;
    memmove(&n->deadlines[s], &n->deadlines[s + 1], (n->count - 1 - s) * sizeof n->deadlines[0]);
    memmove(&n->addresses[s], &n->addresses[s + 1], (n->count - 1 - s) * sizeof n->addresses[0]);
}

/* Hangs a new right neighbour of the node at `level` (the leaf at x->height) under its parent, splitting upwards as
 * needed. */
static void add_sibling(struct deadline_index *x, struct path *path, unsigned level, struct key k, void *sibling) {
    while (level > 0) {
        struct inner *n = path->nodes[level - 1];
        unsigned i = path->at[level - 1];
        if (n->count < INNER_CHILDREN) {
            inner_add(n, i, k, sibling);
            return;
        }
        bool right_end = i == INNER_CHILDREN - 1;
        unsigned keep = right_end ? INNER_CHILDREN - 4 : (INNER_CHILDREN + 1) / 2;
        unsigned moved = INNER_CHILDREN - keep;
        struct inner *right = new_inner(x);
        struct key up = separator(n, keep - 1);
        memcpy(right->children, &n->children[keep], moved * sizeof right->children[0]);
        memcpy(right->deadlines, &n->deadlines[keep], (moved - 1) * sizeof right->deadlines[0]);
        memcpy(right->addresses, &n->addresses[keep], (moved - 1) * sizeof right->addresses[0]);
        right->count = moved;
        n->count = keep;
        if (i < keep)
            inner_add(n, i, k, sibling);
        else
            inner_add(right, i - keep, k, sibling);
        k = up;
        sibling = right;
        level--;
    }
    struct inner *root = new_inner(x);
    root->children[0] = x->root;
    root->children[1] = sibling;
    set_separator(root, 0, k);
    root->count = 2;
    x->root = root;
    x->height++;
    HF_ASSERT(x->height <= MAX_HEIGHT);
}

/* Appends children of b, which starts at k, to a. */
static void inner_join(struct inner *a, struct key k, const struct inner *b) {
    unsigned n = (unsigned)a->count;
    HF_ASSERT(n + b->count <= INNER_CHILDREN);
    set_separator(a, n - 1, k);
    memcpy(&a->children[n], b->children, b->count * sizeof a->children[0]);
    memcpy(&a->deadlines[n], b->deadlines, (b->count - 1) * sizeof a->deadlines[0]);
    memcpy(&a->addresses[n], b->addresses, (b->count - 1) * sizeof a->addresses[0]);
    a->count += b->count;
}

/* ---- splitting and merging ---- */

struct sorted {
    struct key key;
    struct deadline_item *item;
};

static void sift_down(struct sorted *s, size_t at, size_t n) {
    struct sorted v = s[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && key_less(s[child].key, s[child + 1].key))
            child++;
        if (!key_less(v.key, s[child].key))
            break;
        s[at] = s[child];
    }
    s[at] = v;
}

static void sort_items(struct sorted *s, size_t n) {
    for (size_t i = n / 2; i-- > 0;)
        sift_down(s, i, n);
    for (size_t i = n; i-- > 1;) {
        struct sorted t = s[0];
        s[0] = s[i];
        s[i] = t;
        sift_down(s, 0, i);
    }
}

/* Reads the keys of the items, which is a cache miss each: all are asked for first. */
static size_t read_items(struct deadline_item *const *items, size_t n, struct sorted *ret_sorted) {
    for (size_t i = 0; i < n; i++)
        __builtin_prefetch(items[i]);
    for (size_t i = 0; i < n; i++)
        ret_sorted[i] = (struct sorted){key_of(items[i]), items[i]};
    return n;
}

static bool at_right_end(const struct deadline_index *x, const struct path *path) {
    for (unsigned level = 0; level < x->height; level++)
        if (path->at[level] + 1 != path->nodes[level]->count)
            return false;
    return true;
}

static void split_and_insert(struct deadline_index *x, struct path *path, struct deadline_item *item) {
    struct sorted s[DEADLINE_LEAF_ITEMS + 1];
    struct leaf *left = path->leaf, *right = new_leaf(x);
    size_t n = read_items(left->items, left->count, s);
    s[n++] = (struct sorted){key_of(item), item};
    sort_items(s, n);
    size_t keep = at_right_end(x, path) ? n - RIGHT_END_MOVES : n / 2;
    for (size_t i = 0; i < keep; i++)
        left->items[i] = s[i].item;
    for (size_t i = keep; i < n; i++)
        right->items[i - keep] = s[i].item;
    left->count = keep;
    right->count = n - keep;
    add_sibling(x, path, x->height, s[keep].key, right);
}

/* Joins the leaf at children[i + 1] to the one at children[i]. */
static void join_leaves(struct deadline_index *x, struct inner *n, unsigned i) {
    struct leaf *a = n->children[i], *b = n->children[i + 1];
    memcpy(&a->items[a->count], b->items, b->count * sizeof b->items[0]);
    a->count += b->count;
    inner_take_out(n, i + 1);
    free_leaf(x, b);
}

static void join_inners(struct deadline_index *x, struct inner *n, unsigned i) {
    struct inner *a = n->children[i], *b = n->children[i + 1];
    inner_join(a, separator(n, i), b);
    inner_take_out(n, i + 1);
    free_inner(x, b);
}

static void drop_root(struct deadline_index *x) {
    while (x->height > 0) {
        struct inner *root = x->root;
        if (root->count > 1)
            return;
        x->root = root->children[0];
        x->height--;
        free_inner(x, root);
    }
}

/* Mends the inner nodes of the path from `level` upwards after the node at that level lost a child. */
static void mend_inners(struct deadline_index *x, struct path *path, unsigned level) {
    for (; level > 0; level--) {
        struct inner *n = path->nodes[level], *parent = path->nodes[level - 1];
        unsigned i = path->at[level - 1];
        if (n->count == 0) {
            inner_take_out(parent, i);
            free_inner(x, n);
            continue;
        }
        if (n->count > INNER_SPARSE)
            break;
        const struct inner *before = i > 0 ? parent->children[i - 1] : NULL;
        const struct inner *after = i + 1 < parent->count ? parent->children[i + 1] : NULL;
        if (after != NULL && n->count + after->count <= INNER_MERGED)
            join_inners(x, parent, i);
        else if (before != NULL && n->count + before->count <= INNER_MERGED)
            join_inners(x, parent, i - 1);
        else
            break;
    }
    drop_root(x);
}

static void mend_leaf(struct deadline_index *x, struct path *path) {
    struct leaf *l = path->leaf;
    if (l->count > LEAF_SPARSE)
        return;
    if (x->height == 0) {
        if (l->count == 0) {
            free_leaf(x, l);
            x->root = NULL;
        }
        return;
    }
    struct inner *parent = path->nodes[x->height - 1];
    unsigned i = path->at[x->height - 1];
    if (l->count == 0) {
        inner_take_out(parent, i);
        free_leaf(x, l);
    } else {
        const struct leaf *before = i > 0 ? parent->children[i - 1] : NULL;
        const struct leaf *after = i + 1 < parent->count ? parent->children[i + 1] : NULL;
        if (after != NULL && l->count + after->count <= LEAF_MERGED)
            join_leaves(x, parent, i);
        else if (before != NULL && l->count + before->count <= LEAF_MERGED)
            join_leaves(x, parent, i - 1);
        else
            return;
    }
    mend_inners(x, path, x->height - 1);
}

/* ---- the interface ---- */

static void prefetch_leaf(const struct leaf *l) {
    const char *lines = (const char *)l;
    for (size_t at = 0; at < sizeof *l; at += 64)
        __builtin_prefetch(lines + at, 1);
}

void deadline_prefetch(const struct deadline_index *x, int64_t deadline_ms) {
    struct path path;
    if (x->height == 0)
        return;
    descend(x, (struct key){deadline_ms, 0}, &path);
    prefetch_leaf(path.leaf);
}

void deadline_insert(struct deadline_index *x, struct deadline_item *item) {
    struct path path;
    if (x->root == NULL)
        x->root = new_leaf(x);
    descend(x, key_of(item), &path);
    struct leaf *l = path.leaf;
    if (__builtin_expect(l->count < DEADLINE_LEAF_ITEMS, 1))
        l->items[l->count++] = item;
    else
        split_and_insert(x, &path, item);
    x->sum_ms += item->deadline_ms;
    x->used++;
    if (x->used == 1 || (x->first != NULL && key_less(key_of(item), key_of(x->first))))
        x->first = item;
}

static unsigned find_in_leaf(const struct leaf *l, const struct deadline_item *item) {
    prefetch_leaf(l);
    unsigned i = 0;
    while (i < l->count && l->items[i] != item)
        i++;
    return i;
}

void deadline_remove(struct deadline_index *x, const struct deadline_item *item, int64_t deadline_ms) {
    struct path path;
    HF_ASSERT(x->root != NULL);
    descend(x, (struct key){deadline_ms, (uintptr_t)item}, &path);
    struct leaf *l = path.leaf;
    unsigned i = find_in_leaf(l, item);
    HF_ASSERT(i < l->count);
    l->items[i] = l->items[--l->count];
    x->sum_ms -= deadline_ms;
    x->used--;
    if (x->first == item)
        x->first = NULL;
    mend_leaf(x, &path);
}

void deadline_replace(struct deadline_index *x, const struct deadline_item *was, struct deadline_item *now) {
    struct path path;
    HF_ASSERT(x->root != NULL);
    int64_t deadline_ms = now->deadline_ms;
    struct key k = key_of(now);
    descend(x, (struct key){deadline_ms, (uintptr_t)was}, &path);
    bool same_leaf = true;
    for (unsigned level = 0; level < x->height && same_leaf; level++)
        same_leaf = child_for(path.nodes[level], k) == path.at[level];
    if (!same_leaf) {
        deadline_remove(x, was, deadline_ms);
        deadline_insert(x, now);
        return;
    }
    unsigned i = find_in_leaf(path.leaf, was);
    HF_ASSERT(i < path.leaf->count);
    path.leaf->items[i] = now;
    /* The address decides between equal deadlines. */
    if (x->first == was)
        x->first = NULL;
    else if (x->first != NULL && key_less(k, key_of(x->first)))
        x->first = now;
}

static const struct leaf *end_leaf(const struct deadline_index *x, bool right) {
    const void *node = x->root;
    for (unsigned level = 0; level < x->height; level++) {
        const struct inner *n = node;
        node = n->children[right ? n->count - 1 : 0];
    }
    return node;
}

struct deadline_item *deadline_first(struct deadline_index *x) {
    if (x->first != NULL || x->used == 0)
        return x->used == 0 ? NULL : x->first;
    const struct leaf *l = end_leaf(x, false);
    struct deadline_item *best = l->items[0];
    for (uint64_t i = 0; i < l->count; i++)
        __builtin_prefetch(l->items[i]);
    for (uint64_t i = 1; i < l->count; i++)
        if (key_less(key_of(l->items[i]), key_of(best)))
            best = l->items[i];
    x->first = best;
    return best;
}

struct deadline_item *deadline_last(const struct deadline_index *x) {
    if (x->used == 0)
        return NULL;
    const struct leaf *l = end_leaf(x, true);
    struct deadline_item *best = l->items[0];
    for (uint64_t i = 1; i < l->count; i++)
        if (key_less(key_of(best), key_of(l->items[i])))
            best = l->items[i];
    return best;
}

size_t deadline_due(const struct deadline_index *x, int64_t before_ms,
                    struct deadline_item *ret_items[static DEADLINE_LEAF_ITEMS]) {
    if (x->used == 0)
        return 0;
    const struct leaf *l = end_leaf(x, false);
    struct sorted s[DEADLINE_LEAF_ITEMS];
    size_t n = read_items(l->items, l->count, s), due = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i].key.deadline_ms < before_ms)
            s[due++] = s[i];
    sort_items(s, due);
    for (size_t i = 0; i < due; i++)
        ret_items[i] = s[i].item;
    return due;
}

struct deadline_item *deadline_random(const struct deadline_index *x, struct rng *rng) {
    if (x->used == 0)
        return NULL;
    /* Every place that a node could have is drawn alike and a draw of an empty one starts over: every item has the same
     * chance. Nodes are half full at worst but for rare ones, the root excepted, whose own count is taken. */
    for (;;) {
        const void *node = x->root;
        for (unsigned level = 0; node != NULL && level < x->height; level++) {
            const struct inner *n = node;
            uint64_t i = rng_below(rng, level == 0 ? n->count : INNER_CHILDREN);
            node = i < n->count ? n->children[i] : NULL;
        }
        const struct leaf *l = node;
        if (l == NULL)
            continue;
        uint64_t i = rng_below(rng, x->height == 0 ? l->count : DEADLINE_LEAF_ITEMS);
        if (i < l->count)
            return l->items[i];
    }
}

int64_t deadline_mean_ms(const struct deadline_index *x) {
    return x->used == 0 ? 0 : (int64_t)(x->sum_ms / (__int128)x->used);
}

size_t deadline_bytes(const struct deadline_index *x) {
    return x->leaves * sizeof(struct leaf) + x->inners * sizeof(struct inner);
}

static void free_below(struct deadline_index *x, void *node, unsigned levels) {
    if (levels == 0) {
        free_leaf(x, node);
        return;
    }
    struct inner *n = node;
    for (uint64_t i = 0; i < n->count; i++)
        free_below(x, n->children[i], levels - 1);
    free_inner(x, n);
}

void deadline_clear(struct deadline_index *x) {
    if (x->root != NULL)
        free_below(x, x->root, x->height);
    HF_ASSERT(x->leaves == 0 && x->inners == 0);
    *x = (struct deadline_index){0};
}

static int each_below(const void *node, unsigned levels, int (*each)(void *arg, struct deadline_item *item),
                      void *arg) {
    int rc = 0;
    if (levels == 0) {
        const struct leaf *l = node;
        for (uint64_t i = 0; i < l->count && rc == 0; i++)
            rc = each(arg, l->items[i]);
        return rc;
    }
    const struct inner *n = node;
    for (uint64_t i = 0; i < n->count && rc == 0; i++)
        rc = each_below(n->children[i], levels - 1, each, arg);
    return rc;
}

int deadline_each(const struct deadline_index *x, int (*each)(void *arg, struct deadline_item *item), void *arg) {
    return x->root == NULL ? 0 : each_below(x->root, x->height, each, arg);
}

/* What check_below() counts; lo and hi bound the keys where not NULL. */
struct tally {
    size_t used, leaves, inners;
    __int128 sum_ms;
    const struct deadline_item *first;
};

static void check_leaf(const struct leaf *l, const struct key *lo, const struct key *hi, struct tally *t) {
    HF_ASSERT(l->count >= 1 && l->count <= DEADLINE_LEAF_ITEMS);
    t->leaves++;
    for (uint64_t i = 0; i < l->count; i++) {
        struct key k = key_of(l->items[i]);
        HF_ASSERT(lo == NULL || !key_less(k, *lo));
        HF_ASSERT(hi == NULL || key_less(k, *hi));
        t->used++;
        t->sum_ms += k.deadline_ms;
        if (t->first == NULL || key_less(k, key_of(t->first)))
            t->first = l->items[i];
    }
}

static void check_below(const void *node, unsigned levels, const struct key *lo, const struct key *hi,
                        struct tally *t) {
    if (levels == 0) {
        check_leaf(node, lo, hi, t);
        return;
    }
    const struct inner *n = node;
    HF_ASSERT(n->count >= 1 && n->count <= INNER_CHILDREN);
    t->inners++;
    struct key left = {0, 0}, right;
    for (unsigned i = 0; i < n->count; i++) {
        const struct key *child_lo = i == 0 ? lo : &left, *child_hi = hi;
        if (i + 1 < n->count) {
            right = separator(n, i);
            HF_ASSERT(child_lo == NULL || key_less(*child_lo, right));
            HF_ASSERT(hi == NULL || key_less(right, *hi));
            child_hi = &right;
        }
        check_below(n->children[i], levels - 1, child_lo, child_hi, t);
        left = right;
    }
}

void deadline_check(const struct deadline_index *x) {
    struct tally t = {0};
    HF_ASSERT((x->root == NULL) == (x->used == 0));
    if (x->root != NULL)
        check_below(x->root, x->height, NULL, NULL, &t);
    HF_ASSERT(x->height == 0 || ((const struct inner *)x->root)->count >= 2);
    HF_ASSERT(t.used == x->used && t.leaves == x->leaves && t.inners == x->inners && t.sum_ms == x->sum_ms);
    HF_ASSERT(x->first == NULL || x->first == t.first);
}
