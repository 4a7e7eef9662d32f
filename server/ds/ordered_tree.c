#include "config.h"

#include "server/ds/ordered_tree.h"

#include "server/base/assert.h"
#include "server/base/mem.h"

/* Design
 *
 *   inner   count | keys[64] | firsts[64] | counts[64] | children[64]
 *   leaf    prev next base skip count room shift lexical | slot0 slot1 …
 *   slot    16 bits of hint, 48 bits of address
 *
 * A score's key is its bits turned into an unsigned number of the same order. An inner node keeps for each child but
 * the first the key and the address of the first member below it, so that a descent reads no member unless scores are
 * equal, and the number of members below each child.
 *
 * A leaf is an array of addresses, for scores beside them would cost 8 bytes a member. What a search would need of
 * the members stands as a hint in the bits of an address that user space does not use: a number that never falls from
 * slot to slot, linear in what distinguishes the members of this leaf. Usually that is the key: (key - base) >> shift,
 * cut to 16 bits. Where all scores of a leaf are equal ("lexical") it is the 8 bytes that follow the common prefix of
 * `skip` bytes. Base and shift are chosen for a span of a half of the 16 bits, with a quarter of room at both ends; a
 * member outside the room has them chosen anew, and so does a split that leaves too few distinct hints. A search then
 * reads one or two members.
 *
 * Leaves grow in allocation classes of 128 bytes up to 1 KiB, so that only about 8 of 85 slots are unused although a
 * split leaves half-full leaves. A split at either end of the tree leaves the full leaf alone: members that come in
 * ascending or descending order fill the leaves.
 *
 * Invariants (ordered_tree_check):
 *  1. Members ascend strictly through the leaves, and the links follow the order of the tree.
 *  2. In an inner node keys[i] and firsts[i], i > 0, are those of the first member below children[i]; those of i = 0
 * are not read. counts[i] is the number of members below children[i].
 *  3. No node is empty; an inner root has two children at least. All leaves are at the same depth.
 *  4. The hint of a slot is what hint_of() computes, and all members are in reach: inside the 16 bits; in a lexical
 *     leaf of the leaf's key, with the common prefix.
 *  5. `room` is a class of leaf_room().
 *
 * A node that becomes sparse by removals is merged with a neighbour when both together leave room for a quarter; there
 * is no lower limit otherwise, and none is needed for the depth to stay logarithmic in the number of insertions.
 */

#define FANOUT 64
#define INNER_SPARSE (FANOUT / 4)
#define INNER_MERGED (FANOUT * 3 / 4)
#define INNER_BUILT 56
#define LEAF_MAX 124 /* slots: 1 KiB with the header */
#define LEAF_SPARSE (LEAF_MAX / 4)
#define LEAF_MERGED (LEAF_MAX * 3 / 4)
#define LEAF_BUILT 112
#define MAX_HEIGHT 24
#define FEW_HINTS 2048 /* a span of hints below this is chosen anew at a split */
#define HINT_MAX 65535u
#define ADDRESS_BITS 48
#define ADDRESS_MASK ((UINT64_C(1) << ADDRESS_BITS) - 1)
#define LEXICAL_SKIP_MAX UINT16_MAX

struct inner {
    unsigned count;
    uint64_t keys[FANOUT];
    const struct zmember *firsts[FANOUT];
    uint64_t counts[FANOUT];
    void *children[FANOUT];
};

struct ordered_leaf {
    struct ordered_leaf *prev, *next;
    uint64_t base; /* of the hints */
    uint16_t count, room;
    uint16_t skip; /* lexical: bytes that all members have in common */
    uint8_t shift;
    bool lexical;
    uint64_t slots[];
};

_Static_assert(sizeof(struct ordered_leaf) == 32, "the classes of leaf_room() count on it");
_Static_assert(sizeof(uintptr_t) == 8, "hints stand in the upper bits of addresses");

struct path {
    struct inner *nodes[MAX_HEIGHT];
    unsigned index[MAX_HEIGHT];
    struct ordered_leaf *leaf;
    unsigned slot;
};

/* A place between members. */
enum probe_order { BY_SCORE, BY_BYTES, BY_BOTH };
struct probe {
    enum probe_order order;
    bool inner_past_equal, leaf_past_equal; /* what is equal counts as below */
    uint64_t key;
    struct slice bytes;
};

/* ---- members ---- */

static size_t member_size(size_t n) {
    return sizeof(struct zmember) + 1 + (n < ZMEMBER_LONG ? 0 : sizeof(uint64_t)) + n;
}

size_t zmember_alloc_bytes(struct slice bytes) {
    return mem_good_size(member_size(bytes.n));
}

struct zmember *zmember_create(double score, struct slice bytes) {
    struct zmember *m = mem_alloc(member_size(bytes.n));
    m->score = score;
    uint8_t *p = m->tail;
    if (bytes.n < ZMEMBER_LONG) {
        *p++ = (uint8_t)bytes.n;
    } else {
        uint64_t n = bytes.n;
        *p++ = ZMEMBER_LONG;
        memcpy(p, &n, sizeof n);
        p += sizeof n;
    }
    if (bytes.n != 0)
        memcpy(p, bytes.p, bytes.n);
    return m;
}

void zmember_destroy(struct zmember *m) {
    if (m != NULL)
        mem_free_sized(m, member_size(zmember_bytes(m).n));
}

int zmember_compare_bytes(struct slice a, struct slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n != 0 ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static uint64_t key_of_score(double score) {
    uint64_t bits;
    score += 0.0; /* makes -0 0 */
    HF_ASSERT(score == score);
    memcpy(&bits, &score, sizeof bits);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static uint64_t key_of(const struct zmember *m) {
    return key_of_score(m->score);
}

static struct zmember *slot_member(uint64_t slot) {
    return (struct zmember *)(uintptr_t)(slot & ADDRESS_MASK);
}

static unsigned slot_hint(uint64_t slot) {
    return (unsigned)(slot >> ADDRESS_BITS);
}

static uint64_t make_slot(const struct zmember *m, unsigned hint) {
    return (uint64_t)(uintptr_t)m | (uint64_t)hint << ADDRESS_BITS;
}

static struct zmember *leaf_member(const struct ordered_leaf *leaf, unsigned slot) {
    return slot_member(leaf->slots[slot]);
}

/* ---- hints ---- */

/* The 8 bytes after a prefix as a number, as if NULs followed the end: it never falls as bytes ascend. */
static uint64_t bytes_key(struct slice bytes, size_t skip) {
    uint8_t word[8] = {0};
    size_t left = bytes.n - skip;
    if (left >= sizeof word)
        memcpy(word, bytes.p + skip, sizeof word);
    else if (left != 0)
        memcpy(word, bytes.p + skip, left);
    uint64_t v;
    memcpy(&v, word, sizeof v);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* False when v is out of the leaf's reach; the hint is then the nearest there is. */
static bool hint_of(const struct ordered_leaf *leaf, uint64_t v, unsigned *ret_hint) {
    uint64_t hint = v < leaf->base ? 0 : (v - leaf->base) >> leaf->shift;
    *ret_hint = hint > HINT_MAX ? HINT_MAX : (unsigned)hint;
    return v >= leaf->base && hint <= HINT_MAX;
}

/* Compares bytes with the prefix that all members of a lexical leaf have in common; 0 where they begin with it. */
static int compare_prefix(const struct ordered_leaf *leaf, const struct zmember *any, struct slice bytes) {
    if (leaf->skip == 0)
        return 0;
    size_t n = bytes.n < leaf->skip ? bytes.n : leaf->skip;
    int c = n != 0 ? memcmp(bytes.p, zmember_bytes(any).p, n) : 0;
    return c != 0 ? c : bytes.n < leaf->skip ? -1 : 0;
}

static bool member_hint(const struct ordered_leaf *leaf, const struct zmember *m, unsigned *ret_hint) {
    return hint_of(leaf, leaf->lexical ? bytes_key(zmember_bytes(m), leaf->skip) : key_of(m), ret_hint);
}

/* Chooses what the hints of a leaf are made of, and sets them all. */
static void choose_hints(struct ordered_leaf *leaf) {
    const struct zmember *first = leaf_member(leaf, 0), *last = leaf_member(leaf, leaf->count - 1u);
    uint64_t low = key_of(first), high = key_of(last);
    leaf->lexical = low == high;
    leaf->skip = 0;
    if (leaf->lexical) {
        struct slice a = zmember_bytes(first), b = zmember_bytes(last);
        size_t skip = 0, most = a.n < b.n ? a.n : b.n;
        if (most > LEXICAL_SKIP_MAX)
            most = LEXICAL_SKIP_MAX;
        while (skip < most && a.p[skip] == b.p[skip])
            skip++;
        leaf->skip = (uint16_t)skip;
        low = bytes_key(a, skip);
        high = bytes_key(b, skip);
    }
    leaf->shift = 0;
    while ((high - low) >> leaf->shift > HINT_MAX / 2)
        leaf->shift++;
    uint64_t slack = (uint64_t)(HINT_MAX / 4) << leaf->shift;
    leaf->base = low > slack ? low - slack : 0;
    for (unsigned i = 0; i < leaf->count; i++)
        __builtin_prefetch(leaf_member(leaf, i));
    for (unsigned i = 0; i < leaf->count; i++) {
        unsigned hint;
        HF_ASSERT(member_hint(leaf, leaf_member(leaf, i), &hint));
        leaf->slots[i] = make_slot(leaf_member(leaf, i), hint);
    }
}

/* Sets the hint of a member that was put into a slot. */
static void place_hint(struct ordered_leaf *leaf, unsigned slot) {
    const struct zmember *m = leaf_member(leaf, slot);
    unsigned hint;
    bool fits = leaf->count > 1;
    if (fits && leaf->lexical) {
        const struct zmember *any = leaf_member(leaf, slot == 0 ? 1 : 0);
        fits = key_of(m) == key_of(any) && compare_prefix(leaf, any, zmember_bytes(m)) == 0;
    }
    if (fits && member_hint(leaf, m, &hint))
        leaf->slots[slot] = make_slot(m, hint);
    else
        choose_hints(leaf);
}

static void refresh_few_hints(struct ordered_leaf *leaf) {
    if (slot_hint(leaf->slots[leaf->count - 1]) - slot_hint(leaf->slots[0]) < FEW_HINTS)
        choose_hints(leaf);
}

/* ---- searches ---- */

static int compare_at(uint64_t key, const struct zmember *m, const struct probe *p) {
    if (p->order != BY_BYTES && key != p->key)
        return key < p->key ? -1 : 1;
    return p->order == BY_SCORE ? 0 : zmember_compare_bytes(zmember_bytes(m), p->bytes);
}

/* The last child whose first member is below the probe, or the first child. */
static unsigned inner_search(const struct inner *n, const struct probe *p) {
    unsigned low = 1, high = n->count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        int c = compare_at(n->keys[mid], n->firsts[mid], p);
        if (c < 0 || (c == 0 && p->inner_past_equal))
            low = mid + 1;
        else
            high = mid;
    }
    return low - 1;
}

/* First slot from low on whose hint is at least `hint`. */
static unsigned hint_search(const struct ordered_leaf *leaf, unsigned low, unsigned hint) {
    uint64_t bound = (uint64_t)hint << ADDRESS_BITS; /* no address is 0 */
    unsigned n = leaf->count - low;
    while (n > 0) {
        unsigned half = n / 2;
        bool below = leaf->slots[low + half] < bound;
        low = below ? low + half + 1 : low;
        n = below ? n - half - 1 : half;
    }
    return low;
}

/* Number of members of the leaf below the probe. */
static unsigned leaf_search(const struct ordered_leaf *leaf, const struct probe *p) {
    unsigned low = 0, high = leaf->count, hint;
    uint64_t v = p->key;
    if (leaf->lexical) {
        const struct zmember *any = leaf_member(leaf, 0);
        uint64_t key = key_of(any);
        if (p->order != BY_BYTES && p->key != key)
            return p->key < key ? 0 : high;
        if (p->order == BY_SCORE)
            return p->leaf_past_equal ? high : 0;
        int c = compare_prefix(leaf, any, p->bytes);
        if (c != 0)
            return c < 0 ? 0 : high;
        v = bytes_key(p->bytes, leaf->skip);
    }
    if (leaf->lexical || p->order != BY_BYTES) {
        hint_of(leaf, v, &hint);
        low = hint_search(leaf, 0, hint);
        high = low;
        while (high < leaf->count && high < low + 4 && slot_hint(leaf->slots[high]) == hint)
            high++;
        if (high == low + 4)
            high = hint == HINT_MAX ? leaf->count : hint_search(leaf, high, hint + 1);
    }
    while (low < high) {
        unsigned mid = (low + high) / 2;
        const struct zmember *m = leaf_member(leaf, mid);
        int c = compare_at(key_of(m), m, p);
        if (c < 0 || (c == 0 && p->leaf_past_equal))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void descend(const struct ordered_tree *t, const struct probe *p, struct path *path) {
    void *node = t->root;
    for (unsigned level = 0; level < t->height; level++) {
        path->nodes[level] = node;
        path->index[level] = inner_search(node, p);
        node = path->nodes[level]->children[path->index[level]];
    }
    path->leaf = node;
    path->slot = leaf_search(node, p);
}

static size_t path_rank(const struct ordered_tree *t, const struct path *path) {
    size_t rank = path->slot;
    for (unsigned level = 0; level < t->height; level++)
        for (unsigned i = 0; i < path->index[level]; i++)
            rank += path->nodes[level]->counts[i];
    return rank;
}

/* The path to a member that is in the tree. */
static void find_member(const struct ordered_tree *t, const struct zmember *m, struct path *path) {
    HF_ASSERT(t->used != 0);
    const struct probe p = {.order = BY_BOTH, .inner_past_equal = true, .key = key_of(m), .bytes = zmember_bytes(m)};
    descend(t, &p, path);
    HF_ASSERT(path->slot < path->leaf->count && leaf_member(path->leaf, path->slot) == m);
}

static void find_rank(const struct ordered_tree *t, size_t rank, struct path *path) {
    void *node = t->root;
    for (unsigned level = 0; level < t->height; level++) {
        struct inner *n = node;
        unsigned i = 0;
        while (rank >= n->counts[i])
            rank -= n->counts[i++];
        path->nodes[level] = n;
        path->index[level] = i;
        node = n->children[i];
    }
    path->leaf = node;
    path->slot = (unsigned)rank;
}

/* ---- nodes ---- */

static unsigned leaf_room(unsigned count) {
    if (count <= 12)
        return count <= 4 ? 4 : 12;
    return (count - 12 + 15) / 16 * 16 + 12;
}

static size_t leaf_size(unsigned room) {
    return sizeof(struct ordered_leaf) + room * sizeof(uint64_t);
}

static struct ordered_leaf *leaf_create(struct ordered_tree *t, unsigned count) {
    unsigned room = leaf_room(count);
    struct ordered_leaf *leaf = mem_alloc(leaf_size(room));
    *leaf = (struct ordered_leaf){.room = (uint16_t)room};
    t->node_bytes += leaf_size(room);
    return leaf;
}

static void leaf_destroy(struct ordered_tree *t, struct ordered_leaf *leaf) {
    t->node_bytes -= leaf_size(leaf->room);
    mem_free_sized(leaf, leaf_size(leaf->room));
}

static struct inner *inner_create(struct ordered_tree *t) {
    struct inner *n = mem_alloc(sizeof *n);
    n->count = 0;
    t->node_bytes += sizeof *n;
    return n;
}

static void inner_destroy(struct ordered_tree *t, struct inner *n) {
    t->node_bytes -= sizeof *n;
    mem_free_sized(n, sizeof *n);
}

/* Makes the neighbours of a leaf, or the ends of the tree, point to it. */
static void link_leaf(struct ordered_tree *t, struct ordered_leaf *leaf) {
    *(leaf->prev != NULL ? &leaf->prev->next : &t->first) = leaf;
    *(leaf->next != NULL ? &leaf->next->prev : &t->last) = leaf;
}

static void unlink_leaf(struct ordered_tree *t, struct ordered_leaf *leaf) {
    *(leaf->prev != NULL ? &leaf->prev->next : &t->first) = leaf->next;
    *(leaf->next != NULL ? &leaf->next->prev : &t->last) = leaf->prev;
    leaf_destroy(t, leaf);
}

/* Gives a leaf, the child of parent (NULL: the root) at index, room for so many. It moves. */
static struct ordered_leaf *resize_leaf(struct ordered_tree *t, struct inner *parent, unsigned index,
                                        struct ordered_leaf *leaf, unsigned count) {
    unsigned room = leaf_room(count);
    t->node_bytes += leaf_size(room) - leaf_size(leaf->room);
    leaf = mem_realloc(leaf, leaf_size(room));
    leaf->room = (uint16_t)room;
    link_leaf(t, leaf);
    *(parent != NULL ? &parent->children[index] : &t->root) = leaf;
    return leaf;
}

static struct ordered_leaf *resize_path_leaf(struct ordered_tree *t, struct path *path, unsigned count) {
    unsigned h = t->height;
    path->leaf = resize_leaf(t, h > 0 ? path->nodes[h - 1] : NULL, h > 0 ? path->index[h - 1] : 0, path->leaf, count);
    return path->leaf;
}

static void inner_open(struct inner *n, unsigned at) {
    size_t after = n->count - at;
    memmove(&n->keys[at + 1], &n->keys[at], after * sizeof n->keys[0]);
    memmove(&n->firsts[at + 1], &n->firsts[at], after * sizeof n->firsts[0]);
    memmove(&n->counts[at + 1], &n->counts[at], after * sizeof n->counts[0]);
    memmove(&n->children[at + 1], &n->children[at], after * sizeof n->children[0]);
    n->count++;
}

static void inner_close(struct inner *n, unsigned at) {
    size_t after = n->count - at - 1;
    memmove(&n->keys[at], &n->keys[at + 1], after * sizeof n->keys[0]);
    memmove(&n->firsts[at], &n->firsts[at + 1], after * sizeof n->firsts[0]);
    memmove(&n->counts[at], &n->counts[at + 1], after * sizeof n->counts[0]);
    memmove(&n->children[at], &n->children[at + 1], after * sizeof n->children[0]);
    n->count--;
}

/* Appends the children of `from` from index `start` on to `to`. */
static void inner_append(struct inner *to, const struct inner *from, unsigned start) {
    size_t n = from->count - start;
    memcpy(&to->keys[to->count], &from->keys[start], n * sizeof to->keys[0]);
    memcpy(&to->firsts[to->count], &from->firsts[start], n * sizeof to->firsts[0]);
    memcpy(&to->counts[to->count], &from->counts[start], n * sizeof to->counts[0]);
    memcpy(&to->children[to->count], &from->children[start], n * sizeof to->children[0]);
    to->count += (unsigned)n;
}

static uint64_t inner_members(const struct inner *n) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->count; i++)
        sum += n->counts[i];
    return sum;
}

static void add_counts(const struct ordered_tree *t, const struct path *path, uint64_t delta) {
    for (unsigned level = 0; level < t->height; level++)
        path->nodes[level]->counts[path->index[level]] += delta;
}

/* The first member below the path's node at `level` is another one now, or has another key. */
static void set_first(const struct path *path, unsigned level, uint64_t key, const struct zmember *first) {
    while (level-- > 0)
        if (path->index[level] > 0) {
            path->nodes[level]->keys[path->index[level]] = key;
            path->nodes[level]->firsts[path->index[level]] = first;
            return;
        }
}

/* ---- insertion ---- */

enum edge { EDGE_NONE, EDGE_LOW, EDGE_HIGH };

/* A node that was split off, to become the right neighbour of the one on the path. */
struct sprout {
    void *node;
    uint64_t key;
    const struct zmember *first;
    uint64_t members;
};

static void inner_put(struct inner *n, unsigned at, const struct sprout *s) {
    inner_open(n, at);
    n->keys[at] = s->key;
    n->firsts[at] = s->first;
    n->counts[at] = s->members;
    n->children[at] = s->node;
}

/* Adds a sprout to a full node at index `at`; *s becomes the sprout of that node. */
static void split_inner(struct ordered_tree *t, struct inner *n, unsigned at, enum edge edge, struct sprout *s) {
    unsigned keep = edge == EDGE_LOW ? 1 : edge == EDGE_HIGH ? FANOUT : FANOUT / 2;
    struct inner *right = inner_create(t);
    inner_append(right, n, keep);
    n->count = keep;
    if (at <= keep && keep != FANOUT)
        inner_put(n, at, s);
    else
        inner_put(right, at - keep, s);
    *s = (struct sprout){right, right->keys[0], right->firsts[0], inner_members(right)};
}

static void add_sprout(struct ordered_tree *t, struct path *path, enum edge edge, struct sprout s) {
    for (unsigned level = t->height; level-- > 0;) {
        struct inner *n = path->nodes[level];
        unsigned at = path->index[level] + 1;
        n->counts[at - 1] -= s.members;
        if (n->count < FANOUT) {
            inner_put(n, at, &s);
            return;
        }
        split_inner(t, n, at, edge, &s);
    }
    HF_ASSERT(t->height < MAX_HEIGHT);
    struct inner *root = inner_create(t);
    root->count = 1;
    root->children[0] = t->root;
    root->keys[0] = 0;
    root->firsts[0] = NULL;
    root->counts[0] = t->used - s.members;
    inner_put(root, 1, &s);
    t->root = root;
    t->height++;
}

static void put_slot(struct ordered_leaf *leaf, unsigned slot, const struct zmember *m) {
    memmove(&leaf->slots[slot + 1], &leaf->slots[slot], (leaf->count - slot) * sizeof leaf->slots[0]);
    leaf->slots[slot] = make_slot(m, 0);
    leaf->count++;
    place_hint(leaf, slot);
}

/* Splits the full leaf of the path and inserts m. The counts on the path have m already. */
static void split_leaf(struct ordered_tree *t, struct path *path, const struct zmember *m) {
    struct ordered_leaf *leaf = path->leaf;
    unsigned slot = path->slot, n = leaf->count;
    enum edge edge = leaf->next == NULL && slot == n   ? EDGE_HIGH
                     : leaf->prev == NULL && slot == 0 ? EDGE_LOW
                                                       : EDGE_NONE;
    unsigned keep = edge == EDGE_LOW ? 0 : edge == EDGE_HIGH ? n : n / 2;
    bool left = slot <= keep && edge != EDGE_HIGH;
    struct ordered_leaf *right = leaf_create(t, n - keep + !left);
    right->base = leaf->base;
    right->skip = leaf->skip;
    right->shift = leaf->shift;
    right->lexical = leaf->lexical;
    right->count = (uint16_t)(n - keep);
    memcpy(right->slots, &leaf->slots[keep], right->count * sizeof right->slots[0]);
    leaf->count = (uint16_t)keep;
    right->prev = leaf;
    right->next = leaf->next;
    link_leaf(t, right);
    leaf->next = right;
    leaf = resize_path_leaf(t, path, keep + left);
    put_slot(left ? leaf : right, left ? slot : slot - keep, m);
    refresh_few_hints(leaf);
    refresh_few_hints(right);
    const struct zmember *first = leaf_member(right, 0);
    add_sprout(t, path, edge, (struct sprout){right, key_of(first), first, right->count});
}

void ordered_tree_insert(struct ordered_tree *t, struct zmember *m) {
    HF_ASSERT(((uintptr_t)m & ~ADDRESS_MASK) == 0 && m != NULL);
    if (t->used == 0) {
        struct ordered_leaf *leaf = leaf_create(t, 1);
        link_leaf(t, leaf);
        t->root = leaf;
        t->used = 1;
        put_slot(leaf, 0, m);
        return;
    }
    const struct probe p = {.order = BY_BOTH, .key = key_of(m), .bytes = zmember_bytes(m)};
    struct path path;
    descend(t, &p, &path);
    add_counts(t, &path, 1);
    t->used++;
    if (path.leaf->count == LEAF_MAX) {
        split_leaf(t, &path, m);
        return;
    }
    if (path.leaf->count == path.leaf->room)
        resize_path_leaf(t, &path, path.leaf->count + 1u);
    put_slot(path.leaf, path.slot, m);
}

/* ---- removal ---- */

/* Merges children at and at + 1 of a parent of leaves if they are few together. */
static bool merge_leaves(struct ordered_tree *t, struct inner *parent, unsigned at) {
    struct ordered_leaf *left = parent->children[at], *right = parent->children[at + 1];
    unsigned n = left->count + right->count;
    if (n > LEAF_MERGED)
        return false;
    if (n > left->room)
        left = resize_leaf(t, parent, at, left, n);
    memcpy(&left->slots[left->count], right->slots, right->count * sizeof left->slots[0]);
    left->count = (uint16_t)n;
    choose_hints(left);
    unlink_leaf(t, right);
    parent->counts[at] += parent->counts[at + 1];
    inner_close(parent, at + 1);
    return true;
}

static bool merge_inners(struct ordered_tree *t, struct inner *parent, unsigned at) {
    struct inner *left = parent->children[at], *right = parent->children[at + 1];
    if (left->count + right->count > INNER_MERGED)
        return false;
    right->keys[0] = parent->keys[at + 1];
    right->firsts[0] = parent->firsts[at + 1];
    inner_append(left, right, 0);
    inner_destroy(t, right);
    parent->counts[at] += parent->counts[at + 1];
    inner_close(parent, at + 1);
    return true;
}

typedef bool merge_fn(struct ordered_tree *t, struct inner *parent, unsigned at);

static bool merge_with_either(struct ordered_tree *t, struct inner *parent, unsigned at, merge_fn *merge) {
    return (at > 0 && merge(t, parent, at - 1)) || (at + 1 < parent->count && merge(t, parent, at));
}

/* Inner nodes of the path from `level` up lost children, but none is empty. */
static void settle_inners(struct ordered_tree *t, const struct path *path, unsigned level) {
    while (level > 0 && path->nodes[level]->count < INNER_SPARSE &&
           merge_with_either(t, path->nodes[level - 1], path->index[level - 1], merge_inners))
        level--;
    while (t->height > 0 && ((struct inner *)t->root)->count == 1) {
        struct inner *root = t->root;
        t->root = root->children[0];
        t->height--;
        inner_destroy(t, root);
    }
}

/* Takes the emptied leaf of the path out, and nodes that are empty without it. */
static void remove_leaf(struct ordered_tree *t, const struct path *path) {
    unlink_leaf(t, path->leaf);
    unsigned level = t->height;
    while (level-- > 0) {
        struct inner *n = path->nodes[level];
        unsigned at = path->index[level];
        inner_close(n, at);
        if (n->count != 0) {
            if (at == 0)
                set_first(path, level, n->keys[0], n->firsts[0]);
            settle_inners(t, path, level);
            return;
        }
        inner_destroy(t, n);
    }
    HF_ASSERT(t->used == 0);
    t->root = NULL;
    t->height = 0;
}

/* Takes n members from the path's slot on out of its leaf. */
static void remove_slots(struct ordered_tree *t, struct path *path, unsigned n) {
    struct ordered_leaf *leaf = path->leaf;
    unsigned slot = path->slot, after = leaf->count - slot - n;
    memmove(&leaf->slots[slot], &leaf->slots[slot + n], after * sizeof leaf->slots[0]);
    leaf->count = (uint16_t)(leaf->count - n);
    t->used -= n;
    add_counts(t, path, 0 - (uint64_t)n);
    if (leaf->count == 0) {
        remove_leaf(t, path);
        return;
    }
    if (slot == 0)
        set_first(path, t->height, key_of(leaf_member(leaf, 0)), leaf_member(leaf, 0));
    unsigned h = t->height;
    if (leaf->count < LEAF_SPARSE && h > 0 &&
        merge_with_either(t, path->nodes[h - 1], path->index[h - 1], merge_leaves))
        settle_inners(t, path, h - 1);
    else if (leaf_room(leaf->count + 16u) < leaf->room)
        resize_path_leaf(t, path, leaf->count);
}

void ordered_tree_remove(struct ordered_tree *t, const struct zmember *m) {
    struct path path;
    find_member(t, m, &path);
    remove_slots(t, &path, 1);
}

void ordered_tree_remove_ranks(struct ordered_tree *t, size_t rank, size_t n,
                               void (*drop)(void *arg, struct zmember *m), void *arg) {
    HF_ASSERT(rank <= t->used && n <= t->used - rank);
    while (n > 0) {
        struct path path;
        find_rank(t, rank, &path);
        unsigned here = path.leaf->count - path.slot;
        unsigned run = n < here ? (unsigned)n : here;
        uint64_t gone[LEAF_MAX];
        memcpy(gone, &path.leaf->slots[path.slot], run * sizeof gone[0]);
        remove_slots(t, &path, run);
        n -= run;
        for (unsigned i = 0; drop != NULL && i < run; i++)
            drop(arg, slot_member(gone[i]));
    }
}

/* True when the member under the path may have this key without changing places. */
static bool stays(const struct path *path, const struct zmember *m, uint64_t key) {
    struct ordered_cursor below = {path->leaf, path->slot}, above = below;
    const struct probe p = {.order = BY_BOTH, .key = key, .bytes = zmember_bytes(m)};
    (void)ordered_cursor_prev(&below);
    (void)ordered_cursor_next(&above);
    const struct zmember *b = ordered_cursor_member(&below), *a = ordered_cursor_member(&above);
    return (b == NULL || compare_at(key_of(b), b, &p) < 0) && (a == NULL || compare_at(key_of(a), a, &p) > 0);
}

void ordered_tree_move(struct ordered_tree *t, struct zmember *m, double score) {
    struct path path;
    uint64_t key = key_of_score(score);
    if (key == key_of(m)) {
        m->score = score;
        return;
    }
    find_member(t, m, &path);
    if (!stays(&path, m, key)) {
        remove_slots(t, &path, 1);
        m->score = score;
        ordered_tree_insert(t, m);
        return;
    }
    m->score = score;
    place_hint(path.leaf, path.slot);
    if (path.slot == 0)
        set_first(&path, t->height, key, m);
}

/* ---- the whole tree ---- */

static struct sprout build_leaf(struct ordered_tree *t, struct zmember *const *members, unsigned n) {
    struct ordered_leaf *leaf = leaf_create(t, n);
    leaf->prev = t->last;
    link_leaf(t, leaf);
    leaf->count = (uint16_t)n;
    for (unsigned i = 0; i < n; i++) {
        HF_ASSERT(((uintptr_t)members[i] & ~ADDRESS_MASK) == 0);
        leaf->slots[i] = make_slot(members[i], 0);
        __builtin_prefetch(members[i]);
    }
    choose_hints(leaf);
    for (unsigned i = 1; i < n; i++) {
        const struct probe p = {.order = BY_BOTH, .key = key_of(members[i]), .bytes = zmember_bytes(members[i])};
        HF_ASSERT(compare_at(key_of(members[i - 1]), members[i - 1], &p) < 0);
    }
    return (struct sprout){leaf, key_of(members[0]), members[0], n};
}

void ordered_tree_build(struct ordered_tree *t, struct zmember *const *members, size_t n) {
    HF_ASSERT(t->used == 0);
    if (n == 0)
        return;
    size_t nodes = (n - 1) / LEAF_BUILT + 1, done = 0;
    struct sprout *level = mem_calloc(nodes, sizeof *level);
    size_t level_bytes = nodes * sizeof *level;
    for (size_t i = 0; i < nodes; i++) {
        unsigned share = (unsigned)((n - done) / (nodes - i));
        level[i] = build_leaf(t, members + done, share);
        done += share;
    }
    while (nodes > 1) {
        size_t parents = (nodes - 1) / INNER_BUILT + 1;
        done = 0;
        for (size_t i = 0; i < parents; i++) {
            size_t share = (nodes - done) / (parents - i);
            struct inner *parent = inner_create(t);
            struct sprout first = level[done];
            for (unsigned k = 0; k < share; k++)
                inner_put(parent, k, &level[done + k]);
            level[i] = (struct sprout){parent, first.key, first.first, inner_members(parent)};
            done += share;
        }
        nodes = parents;
        t->height++;
    }
    t->root = level[0].node;
    t->used = n;
    mem_free_sized(level, level_bytes);
}

static void free_inners(struct ordered_tree *t, struct inner *n, unsigned levels) {
    if (levels > 1)
        for (unsigned i = 0; i < n->count; i++)
            free_inners(t, n->children[i], levels - 1);
    inner_destroy(t, n);
}

void ordered_tree_clear(struct ordered_tree *t, void (*drop)(void *arg, struct zmember *m), void *arg) {
    if (t->height > 0)
        free_inners(t, t->root, t->height);
    for (struct ordered_leaf *leaf = t->first, *next; leaf != NULL; leaf = next) {
        next = leaf->next;
        if (drop != NULL) {
            for (unsigned i = 0; i < leaf->count; i++)
                __builtin_prefetch(leaf_member(leaf, i));
            for (unsigned i = 0; i < leaf->count; i++)
                drop(arg, leaf_member(leaf, i));
        }
        leaf_destroy(t, leaf);
    }
    HF_ASSERT(t->node_bytes == 0);
    *t = (struct ordered_tree){0};
}

/* ---- ranks and walks ---- */

size_t ordered_tree_rank(const struct ordered_tree *t, const struct zmember *m) {
    struct path path;
    find_member(t, m, &path);
    return path_rank(t, &path);
}

static size_t rank_of(const struct ordered_tree *t, const struct probe *p) {
    if (t->used == 0)
        return 0;
    struct path path;
    descend(t, p, &path);
    return path_rank(t, &path);
}

size_t ordered_tree_rank_of_score(const struct ordered_tree *t, double score, bool or_equal) {
    const struct probe p = {
        .order = BY_SCORE, .inner_past_equal = or_equal, .leaf_past_equal = or_equal, .key = key_of_score(score)};
    return rank_of(t, &p);
}

size_t ordered_tree_rank_of_bytes(const struct ordered_tree *t, struct slice bytes, bool or_equal) {
    const struct probe p = {
        .order = BY_BYTES, .inner_past_equal = or_equal, .leaf_past_equal = or_equal, .bytes = bytes};
    return rank_of(t, &p);
}

struct ordered_cursor ordered_tree_seek(const struct ordered_tree *t, size_t rank) {
    if (rank >= t->used)
        return (struct ordered_cursor){NULL, 0};
    struct path path;
    find_rank(t, rank, &path);
    return (struct ordered_cursor){path.leaf, path.slot};
}

struct zmember *ordered_tree_at(const struct ordered_tree *t, size_t rank) {
    struct ordered_cursor c = ordered_tree_seek(t, rank);
    return ordered_cursor_member(&c);
}

struct zmember *ordered_cursor_member(const struct ordered_cursor *c) {
    return c->leaf != NULL ? leaf_member(c->leaf, c->slot) : NULL;
}

#define PREFETCH_AHEAD 8

struct zmember *ordered_cursor_next(struct ordered_cursor *c) {
    struct zmember *m = ordered_cursor_member(c);
    if (m == NULL)
        return NULL;
    if (c->slot + PREFETCH_AHEAD < c->leaf->count)
        __builtin_prefetch(leaf_member(c->leaf, c->slot + PREFETCH_AHEAD));
    if (++c->slot == c->leaf->count) {
        c->leaf = c->leaf->next;
        c->slot = 0;
        for (unsigned i = 0; c->leaf != NULL && i < c->leaf->count && i < PREFETCH_AHEAD; i++)
            __builtin_prefetch(leaf_member(c->leaf, i));
    }
    return m;
}

struct zmember *ordered_cursor_prev(struct ordered_cursor *c) {
    struct zmember *m = ordered_cursor_member(c);
    if (m == NULL)
        return NULL;
    if (c->slot >= PREFETCH_AHEAD)
        __builtin_prefetch(leaf_member(c->leaf, c->slot - PREFETCH_AHEAD));
    if (c->slot-- == 0) {
        c->leaf = c->leaf->prev;
        c->slot = c->leaf != NULL ? c->leaf->count - 1u : 0;
    }
    return m;
}

size_t ordered_cursor_take(struct ordered_cursor *c, bool reverse, const struct zmember **ret_members, size_t n) {
    size_t done = 0;
    while (done < n && c->leaf != NULL) {
        unsigned here = reverse ? c->slot + 1 : c->leaf->count - c->slot;
        unsigned run = n - done < here ? (unsigned)(n - done) : here;
        for (unsigned i = 0; i < run; i++) {
            const struct zmember *m = leaf_member(c->leaf, reverse ? c->slot - i : c->slot + i);
            __builtin_prefetch(m);
            ret_members[done++] = m;
        }
        if (run < here) {
            c->slot = reverse ? c->slot - run : c->slot + run;
        } else {
            c->leaf = reverse ? c->leaf->prev : c->leaf->next;
            c->slot = reverse && c->leaf != NULL ? c->leaf->count - 1u : 0;
        }
    }
    return done;
}

/* ---- checks ---- */

struct check {
    const struct ordered_leaf *prev;
    const struct zmember *last;
    size_t members, bytes;
};

static void check_leaf(const struct ordered_leaf *leaf, struct check *k) {
    HF_ASSERT(leaf->count > 0 && leaf->count <= leaf->room && leaf->room <= LEAF_MAX);
    HF_ASSERT(leaf_room(leaf->room) == leaf->room);
    HF_ASSERT(leaf->prev == k->prev && (k->prev == NULL || k->prev->next == leaf));
    for (unsigned i = 0; i < leaf->count; i++) {
        const struct zmember *m = leaf_member(leaf, i), *first = leaf_member(leaf, 0);
        const struct probe p = {.order = BY_BOTH, .key = key_of(m), .bytes = zmember_bytes(m)};
        unsigned hint;
        HF_ASSERT(k->last == NULL || compare_at(key_of(k->last), k->last, &p) < 0);
        if (leaf->lexical)
            HF_ASSERT(key_of(m) == key_of(first) && compare_prefix(leaf, first, zmember_bytes(m)) == 0);
        HF_ASSERT(member_hint(leaf, m, &hint) && slot_hint(leaf->slots[i]) == hint);
        k->last = m;
    }
    k->prev = leaf;
    k->members += leaf->count;
    k->bytes += leaf_size(leaf->room);
}

static const struct zmember *check_node(const void *node, unsigned levels, struct check *k) {
    if (levels == 0) {
        check_leaf(node, k);
        return leaf_member(node, 0);
    }
    const struct inner *n = node;
    const struct zmember *first = NULL;
    HF_ASSERT(n->count > 0 && n->count <= FANOUT);
    for (unsigned i = 0; i < n->count; i++) {
        size_t before = k->members;
        const struct zmember *below = check_node(n->children[i], levels - 1, k);
        HF_ASSERT(n->counts[i] == k->members - before);
        if (i == 0)
            first = below;
        else
            HF_ASSERT(n->firsts[i] == below && n->keys[i] == key_of(below));
    }
    k->bytes += sizeof *n;
    return first;
}

void ordered_tree_check(const struct ordered_tree *t) {
    struct check k = {0};
    HF_ASSERT((t->root == NULL) == (t->used == 0));
    if (t->root != NULL) {
        HF_ASSERT(t->height == 0 || ((const struct inner *)t->root)->count >= 2);
        check_node(t->root, t->height, &k);
        HF_ASSERT(k.prev->next == NULL && t->first->prev == NULL);
    } else {
        HF_ASSERT(t->first == NULL && t->height == 0);
    }
    HF_ASSERT(t->last == k.prev && k.members == t->used && k.bytes == t->node_bytes);
}
