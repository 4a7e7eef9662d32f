/* Nodes of up to NODE_MAX items or children, all in blocks of one size class; only a leaf that is the root is smaller.
 * An inner node keeps for each child a lower bound of its ids; that of the first child is not looked at.
 *
 * What is added behind everything gets a new node instead of a split, so that nodes filled in order stay full. A node
 * is merged with a sibling when it is less than a quarter full and the two fit together, and goes when it is empty;
 * nothing is ever moved between two nodes that both stay. Streams are trimmed at one end and acknowledged nearly in
 * order: what empties, empties whole nodes.
 *
 * Invariants (id_tree_check()):
 *   1. All leaves are at the same depth; no node is empty; an inner root has at least two children.
 *   2. Ids ascend; the leaves' list has all leaves in order.
 *   3. Ids below child i are at least low[i] (i > 0), and those below child i - 1 are less.
 *   4. used and node_bytes are what the nodes add up to. */
#include "config.h"

#include "server/ds/id_tree.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

#define NODE_MAX 63
#define NODE_FEW (NODE_MAX / 4)
#define NODE_MERGED (NODE_MAX * 3 / 4) /* a merged node has room, lest it is split again at once */
#define HEIGHT_MAX 16                  /* a level needs 31 splits below: more than 2^64 insertions */

struct inner {
    unsigned used;
    struct stream_id low[NODE_MAX];
    void *child[NODE_MAX];
};

struct step {
    struct inner *node;
    unsigned slot;
};

struct path {
    struct step at[HEIGHT_MAX];
};

static size_t leaf_bytes(unsigned cap) {
    return sizeof(struct id_leaf) + cap * sizeof(struct id_item);
}

static struct id_leaf *leaf_create(struct id_tree *t, unsigned cap) {
    struct id_leaf *leaf = mem_alloc(leaf_bytes(cap));
    *leaf = (struct id_leaf){.cap = (uint16_t)cap};
    t->node_bytes += mem_good_size(leaf_bytes(cap));
    return leaf;
}

static void leaf_free(struct id_tree *t, struct id_leaf *leaf) {
    t->node_bytes -= mem_good_size(leaf_bytes(leaf->cap));
    mem_free_sized(leaf, leaf_bytes(leaf->cap));
}

static struct inner *inner_create(struct id_tree *t) {
    struct inner *n = mem_alloc(sizeof *n);
    n->used = 0;
    t->node_bytes += mem_good_size(sizeof *n);
    return n;
}

static void inner_free(struct id_tree *t, struct inner *n) {
    t->node_bytes -= mem_good_size(sizeof *n);
    mem_free_sized(n, sizeof *n);
}

/* ---- finding ---- */

/* Number of children behind the first whose bound is not above id. */
static unsigned child_of(const struct inner *n, struct stream_id id) {
    unsigned low = 1, high = n->used;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (stream_id_compare(n->low[mid], id) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low - 1;
}

/* The first slot whose id is not below. */
static unsigned slot_of(const struct id_leaf *leaf, struct stream_id id) {
    unsigned low = 0, high = leaf->used;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (stream_id_compare(leaf->items[mid].id, id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The leaf where id is or belongs, of a tree that is not empty. */
static struct id_leaf *descend(const struct id_tree *t, struct stream_id id, struct path *ret_path) {
    void *n = t->root;
    for (unsigned level = 0; level < t->height; level++) {
        unsigned slot = child_of(n, id);
        if (ret_path != NULL)
            ret_path->at[level] = (struct step){n, slot};
        n = ((struct inner *)n)->child[slot];
    }
    return n;
}

static bool is_at(const struct id_leaf *leaf, unsigned slot, struct stream_id id) {
    return slot < leaf->used && stream_id_compare(leaf->items[slot].id, id) == 0;
}

void *id_tree_find(const struct id_tree *t, struct stream_id id) {
    if (t->root == NULL)
        return NULL;
    const struct id_leaf *leaf = descend(t, id, NULL);
    unsigned slot = slot_of(leaf, id);
    return is_at(leaf, slot, id) ? leaf->items[slot].value : NULL;
}

struct id_cursor id_tree_first(const struct id_tree *t) {
    return (struct id_cursor){t->first, 0};
}

struct id_cursor id_tree_last(const struct id_tree *t) {
    return (struct id_cursor){t->last, t->last != NULL ? t->last->used - 1u : 0};
}

struct id_cursor id_tree_seek_ge(const struct id_tree *t, struct stream_id id) {
    if (t->root == NULL)
        return (struct id_cursor){NULL, 0};
    struct id_leaf *leaf = descend(t, id, NULL);
    unsigned slot = slot_of(leaf, id);
    return slot < leaf->used ? (struct id_cursor){leaf, slot} : (struct id_cursor){leaf->next, 0};
}

struct id_cursor id_tree_seek_le(const struct id_tree *t, struct stream_id id) {
    if (t->root == NULL)
        return (struct id_cursor){NULL, 0};
    struct id_leaf *leaf = descend(t, id, NULL);
    unsigned slot = slot_of(leaf, id);
    if (is_at(leaf, slot, id))
        return (struct id_cursor){leaf, slot};
    struct id_cursor c = {leaf, slot};
    id_cursor_prev(&c);
    return c;
}

/* ---- inserting ---- */

static void inner_put(struct inner *n, unsigned slot, struct stream_id low, void *child) {
    memmove(&n->low[slot + 1], &n->low[slot], (n->used - slot) * sizeof n->low[0]);
    memmove(&n->child[slot + 1], &n->child[slot], (n->used - slot) * sizeof n->child[0]);
    n->low[slot] = low;
    n->child[slot] = child;
    n->used++;
}

/* Puts a child in a full node: the upper part, with the new child in one of the two, becomes a node of its own, whose
 * bound is *ret_low. */
static struct inner *inner_split(struct id_tree *t, struct inner *n, unsigned slot, struct stream_id low, void *child,
                                 struct stream_id *ret_low) {
    struct inner *upper = inner_create(t);
    unsigned keep = slot == NODE_MAX ? NODE_MAX : NODE_MAX / 2;
    upper->used = NODE_MAX - keep;
    memcpy(upper->low, &n->low[keep], upper->used * sizeof n->low[0]);
    memcpy(upper->child, &n->child[keep], upper->used * sizeof n->child[0]);
    n->used = keep;
    if (slot > keep || keep == NODE_MAX)
        inner_put(upper, slot - keep, low, child);
    else
        inner_put(n, slot, low, child);
    *ret_low = upper->low[0];
    return upper;
}

/* A new node stands behind the one that the path leads to. */
static void add_child(struct id_tree *t, const struct path *path, struct stream_id low, void *child) {
    for (unsigned level = t->height; level-- > 0;) {
        struct inner *n = path->at[level].node;
        unsigned slot = path->at[level].slot + 1;
        if (n->used < NODE_MAX) {
            inner_put(n, slot, low, child);
            return;
        }
        child = inner_split(t, n, slot, low, child, &low);
    }
    HF_ASSERT(t->height < HEIGHT_MAX);
    struct inner *root = inner_create(t);
    root->used = 2;
    root->low[0] = STREAM_ID_MIN;
    root->child[0] = t->root;
    root->low[1] = low;
    root->child[1] = child;
    t->root = root;
    t->height++;
}

static void leaf_put(struct id_leaf *leaf, unsigned slot, struct stream_id id, void *value) {
    memmove(&leaf->items[slot + 1], &leaf->items[slot], (leaf->used - slot) * sizeof leaf->items[0]);
    leaf->items[slot] = (struct id_item){id, value};
    leaf->used++;
}

/* Gives the leaf that is the whole tree another size. */
static struct id_leaf *resize_only_leaf(struct id_tree *t, unsigned cap) {
    struct id_leaf *leaf = t->root;
    t->node_bytes -= mem_good_size(leaf_bytes(leaf->cap));
    leaf = mem_realloc(leaf, leaf_bytes(cap));
    leaf->cap = (uint16_t)cap;
    t->node_bytes += mem_good_size(leaf_bytes(cap));
    t->root = t->first = t->last = leaf;
    return leaf;
}

static void leaf_split(struct id_tree *t, struct id_leaf *leaf, unsigned slot, const struct path *path,
                       struct stream_id id, void *value) {
    unsigned keep = leaf->next == NULL && slot == NODE_MAX ? NODE_MAX : NODE_MAX / 2;
    struct id_leaf *upper = leaf_create(t, NODE_MAX);
    upper->used = (uint16_t)(NODE_MAX - keep);
    memcpy(upper->items, &leaf->items[keep], upper->used * sizeof leaf->items[0]);
    leaf->used = (uint16_t)keep;
    upper->prev = leaf;
    upper->next = leaf->next;
    if (leaf->next != NULL)
        leaf->next->prev = upper;
    else
        t->last = upper;
    leaf->next = upper;
    if (slot > keep || keep == NODE_MAX)
        leaf_put(upper, slot - keep, id, value);
    else
        leaf_put(leaf, slot, id, value);
    add_child(t, path, upper->items[0].id, upper);
}

bool id_tree_insert(struct id_tree *t, struct stream_id id, void *value) {
    struct path path;
    if (t->root == NULL) {
        t->root = t->first = t->last = leaf_create(t, 1);
        leaf_put(t->root, 0, id, value);
        t->used = 1;
        return true;
    }
    struct id_leaf *leaf = t->last;
    unsigned slot = leaf->used;
    if (slot == leaf->cap || stream_id_compare(leaf->items[slot - 1u].id, id) >= 0) {
        leaf = descend(t, id, &path);
        slot = slot_of(leaf, id);
        if (is_at(leaf, slot, id))
            return false;
    }
    t->used++;
    if (leaf->used == leaf->cap && leaf->cap < NODE_MAX)
        leaf = resize_only_leaf(t, leaf->cap * 2u < NODE_MAX ? leaf->cap * 2u : NODE_MAX);
    if (leaf->used < leaf->cap)
        leaf_put(leaf, slot, id, value);
    else
        leaf_split(t, leaf, slot, &path, id, value);
    return true;
}

/* ---- removing ---- */

static void inner_cut(struct inner *n, unsigned slot) {
    n->used--;
    memmove(&n->low[slot], &n->low[slot + 1], (n->used - slot) * sizeof n->low[0]);
    memmove(&n->child[slot], &n->child[slot + 1], (n->used - slot) * sizeof n->child[0]);
}

static void leaf_unlink(struct id_tree *t, struct id_leaf *leaf) {
    if (leaf->prev != NULL)
        leaf->prev->next = leaf->next;
    else
        t->first = leaf->next;
    if (leaf->next != NULL)
        leaf->next->prev = leaf->prev;
    else
        t->last = leaf->prev;
    leaf_free(t, leaf);
}

static bool merges(unsigned a, unsigned b) {
    return (a < NODE_FEW || b < NODE_FEW) && a + b <= NODE_MERGED;
}

/* Moves the items of the child at slot + 1 to the one at slot where the two are to become one. */
static bool merge_leaves(struct id_tree *t, struct inner *n, unsigned slot) {
    struct id_leaf *a = n->child[slot], *b = n->child[slot + 1];
    if (!merges(a->used, b->used))
        return false;
    memcpy(&a->items[a->used], b->items, b->used * sizeof b->items[0]);
    a->used = (uint16_t)(a->used + b->used);
    leaf_unlink(t, b);
    return true;
}

static bool merge_inners(struct id_tree *t, struct inner *n, unsigned slot) {
    struct inner *a = n->child[slot], *b = n->child[slot + 1];
    if (!merges(a->used, b->used))
        return false;
    memcpy(&a->low[a->used], b->low, b->used * sizeof b->low[0]);
    memcpy(&a->child[a->used], b->child, b->used * sizeof b->child[0]);
    a->low[a->used] = n->low[slot + 1];
    a->used += b->used;
    inner_free(t, b);
    return true;
}

/* The child at slot has become smaller (or empty and is freed already): true where the node lost one. */
static bool settle_child(struct id_tree *t, struct inner *n, unsigned slot, bool gone,
                         bool (*merge)(struct id_tree *t, struct inner *n, unsigned slot)) {
    if (gone) {
        inner_cut(n, slot);
        return true;
    }
    if (slot + 1 < n->used && merge(t, n, slot)) {
        inner_cut(n, slot + 1);
        return true;
    }
    if (slot > 0 && merge(t, n, slot - 1)) {
        inner_cut(n, slot);
        return true;
    }
    return false;
}

static void settle_path(struct id_tree *t, const struct path *path, bool gone) {
    for (unsigned level = t->height; level-- > 0;) {
        struct inner *n = path->at[level].node;
        bool leaves = level + 1 == t->height;
        if (!settle_child(t, n, path->at[level].slot, gone, leaves ? merge_leaves : merge_inners))
            break;
        gone = n->used == 0;
        if (gone)
            inner_free(t, n);
        else if (n->used >= NODE_FEW)
            break;
    }
    while (t->height > 0 && ((struct inner *)t->root)->used == 1) {
        struct inner *root = t->root;
        t->root = root->child[0];
        inner_free(t, root);
        t->height--;
    }
}

void *id_tree_remove(struct id_tree *t, struct stream_id id) {
    struct path path;
    if (t->root == NULL)
        return NULL;
    struct id_leaf *leaf = descend(t, id, &path);
    unsigned slot = slot_of(leaf, id);
    if (!is_at(leaf, slot, id))
        return NULL;
    void *value = leaf->items[slot].value;
    t->used--;
    leaf->used--;
    memmove(&leaf->items[slot], &leaf->items[slot + 1], (leaf->used - slot) * sizeof leaf->items[0]);
    if (t->height == 0) {
        if (leaf->used == 0) {
            leaf_free(t, leaf);
            t->root = t->first = t->last = NULL;
        } else if (leaf->used <= leaf->cap / 4) {
            (void)resize_only_leaf(t, leaf->cap / 2);
        }
        return value;
    }
    if (leaf->used >= NODE_FEW)
        return value;
    bool gone = leaf->used == 0;
    if (gone)
        leaf_unlink(t, leaf);
    settle_path(t, &path, gone);
    return value;
}

static void free_inners(struct id_tree *t, struct inner *n, unsigned levels) {
    if (levels > 1)
        for (unsigned i = 0; i < n->used; i++)
            free_inners(t, n->child[i], levels - 1);
    inner_free(t, n);
}

void id_tree_clear(struct id_tree *t, void (*drop)(void *arg, void *value), void *arg) {
    if (t->height > 0)
        free_inners(t, t->root, t->height);
    for (struct id_leaf *leaf = t->first, *next; leaf != NULL; leaf = next) {
        next = leaf->next;
        if (drop != NULL)
            for (unsigned i = 0; i < leaf->used; i++)
                drop(arg, leaf->items[i].value);
        leaf_free(t, leaf);
    }
    HF_ASSERT(t->node_bytes == 0);
    *t = (struct id_tree){0};
}

/* ---- figures and checks ---- */

/* Bytes that two ids have in common at the front. */
static unsigned common_bytes(struct stream_id a, struct stream_id b) {
    if (a.ms != b.ms)
        return (unsigned)__builtin_clzll(a.ms ^ b.ms) / 8;
    return a.seq != b.seq ? 8 + (unsigned)__builtin_clzll(a.seq ^ b.seq) / 8 : STREAM_ID_BYTES;
}

/* The ids are the leaves of a trie; it branches where neighbours part. Each id is a node, each branch is one, and so is
 * each run of bytes between them that has no branch, whose first byte the branch above has taken. `open` holds the
 * depths of the branches on the way to the last id, and that id's own. */
size_t id_tree_radix_nodes(const struct id_tree *t) {
    int open[STREAM_ID_BYTES + 2];
    unsigned n = 0;
    size_t nodes = 0;
    struct stream_id before = STREAM_ID_MIN;
    if (t->used == 0)
        return 1;
    open[n++] = -1; /* above the root */
    for (struct id_cursor c = id_tree_first(t);; id_cursor_next(&c)) {
        const struct id_item *item = id_cursor_item(&c);
        int shared = item == NULL ? -1 : n == 1 ? -1 : (int)common_bytes(before, item->id);
        while (open[n - 1] > shared) {
            int above = open[n - 2] > shared ? open[n - 2] : shared;
            nodes += open[n - 1] - above > 1;
            n--;
        }
        if (item == NULL)
            return nodes;
        if (open[n - 1] < shared) {
            open[n++] = shared;
            nodes++;
        }
        open[n++] = STREAM_ID_BYTES;
        nodes++;
        before = item->id;
    }
}

struct check {
    const struct id_leaf *leaf; /* the next one of the list */
    size_t used, bytes;
};

static void check_leaf(struct check *k, const struct id_leaf *leaf, struct stream_id low,
                       const struct stream_id *high) {
    HF_ASSERT(leaf == k->leaf && leaf->used > 0 && leaf->used <= leaf->cap && leaf->cap <= NODE_MAX);
    HF_ASSERT(leaf->next == NULL || leaf->next->prev == leaf);
    for (unsigned i = 0; i < leaf->used; i++) {
        HF_ASSERT(leaf->items[i].value != NULL);
        HF_ASSERT(i == 0 || stream_id_compare(leaf->items[i - 1].id, leaf->items[i].id) < 0);
    }
    HF_ASSERT(stream_id_compare(leaf->items[0].id, low) >= 0);
    HF_ASSERT(high == NULL || stream_id_compare(leaf->items[leaf->used - 1u].id, *high) < 0);
    k->leaf = leaf->next;
    k->used += leaf->used;
    k->bytes += mem_good_size(leaf_bytes(leaf->cap));
}

static void check_node(struct check *k, const void *node, unsigned levels, struct stream_id low,
                       const struct stream_id *high) {
    if (levels == 0) {
        check_leaf(k, node, low, high);
        return;
    }
    const struct inner *n = node;
    HF_ASSERT(n->used > 0 && n->used <= NODE_MAX);
    for (unsigned i = 0; i < n->used; i++) {
        struct stream_id from = i == 0 ? low : n->low[i];
        const struct stream_id *to = i + 1 < n->used ? &n->low[i + 1] : high;
        HF_ASSERT(stream_id_compare(from, low) >= 0);
        HF_ASSERT(to == NULL || stream_id_compare(from, *to) < 0 || i == 0);
        check_node(k, n->child[i], levels - 1, from, to);
    }
    k->bytes += mem_good_size(sizeof *n);
}

void id_tree_check(const struct id_tree *t) {
    struct check k = {.leaf = t->first};
    if (t->root == NULL) {
        HF_ASSERT(t->used == 0 && t->height == 0 && t->first == NULL && t->last == NULL && t->node_bytes == 0);
        return;
    }
    HF_ASSERT(t->first->prev == NULL && t->last->next == NULL);
    HF_ASSERT(t->height == 0 || ((const struct inner *)t->root)->used >= 2);
    check_node(&k, t->root, t->height, STREAM_ID_MIN, NULL);
    HF_ASSERT(k.leaf == NULL && k.used == t->used && k.bytes == t->node_bytes);
}
