/* Invariants (quicklist_check()):
 *   1. The chain is linked both ways; nodes, count and bytes are the sums over it.
 *   2. No node is empty; a plain node has one element, a packed one as many as its listpack.
 *   3. The `depth` nodes at each end are not compressed; with depth 0 none is.
 *   4. While no iterator stands on it, a node between them is compressed unless that would not save SAVE_MIN_BYTES.
 *
 * Compressed data is a u32 with its length and the LZF bytes. Readers decompress into a copy that the iterator owns;
 * only a change puts the copy in the place of the compressed data ("opens" the node).
 */
#include "config.h"

#include "server/ds/quicklist.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/lzf.h"

_Static_assert(sizeof(struct quicklist_node) == 32, "a node is half a cache line");

#define COUNT_MAX ((UINT32_C(1) << 30) - 1)
#define FILL_BYTES 8192u       /* of a node, where fill counts elements */
#define COMPRESS_MIN_BYTES 48u /* less is not tried */
#define SAVE_MIN_BYTES 16u     /* the length included */
#define END_ROOM_BYTES 1024u   /* of a new node at the end of a long list */

struct packed_data {
    uint32_t bytes;
    unsigned char lzf[];
};

/* ---- nodes ---- */

static uint64_t stored_bytes(const struct quicklist_node *n) {
    return quicklist_node_is_lzf(n) ? sizeof(struct packed_data) + ((const struct packed_data *)n->data)->bytes
                                    : n->bytes;
}

struct slice quicklist_node_stored(const struct quicklist_node *n) {
    if (!quicklist_node_is_lzf(n))
        return slice_of(n->data, n->bytes);
    const struct packed_data *d = n->data;
    return slice_of(d->lzf, d->bytes);
}

static void set_kind(struct quicklist_node *n, bool plain, bool lzf) {
    n->kind = (plain ? 1u : 0u) | (lzf ? 2u : 0u);
}

/* Links a new node behind `after` (NULL: in front of all). */
static struct quicklist_node *link_node(struct quicklist *ql, struct quicklist_node *after, void *data, uint32_t bytes,
                                        uint32_t count, bool plain) {
    struct quicklist_node *n = mem_alloc(sizeof *n);
    n->data = data;
    n->bytes = bytes;
    n->count = count & COUNT_MAX;
    set_kind(n, plain, false);
    n->prev = after;
    n->next = after != NULL ? after->next : ql->head;
    *(n->prev != NULL ? &n->prev->next : &ql->head) = n;
    *(n->next != NULL ? &n->next->prev : &ql->tail) = n;
    ql->nodes++;
    ql->count += count;
    ql->bytes += bytes;
    return n;
}

static void unlink_node(struct quicklist *ql, struct quicklist_node *n) {
    *(n->prev != NULL ? &n->prev->next : &ql->head) = n->next;
    *(n->next != NULL ? &n->next->prev : &ql->tail) = n->prev;
    ql->nodes--;
    ql->count -= n->count;
    ql->bytes -= stored_bytes(n);
    mem_free(n->data);
    mem_free(n);
}

/* A copy of what a compressed node holds. */
static void *decompressed(const struct quicklist_node *n) {
    const struct packed_data *d = n->data;
    void *p = mem_alloc(n->bytes);
    HF_ASSERT(lzf_decompress(d->lzf, d->bytes, p, n->bytes) == 0);
    return p;
}

/* Puts the decompressed data p in the place of the compressed. */
static void put_decompressed(struct quicklist *ql, struct quicklist_node *n, void *p) {
    ql->bytes -= stored_bytes(n);
    mem_free(n->data);
    n->data = p;
    set_kind(n, quicklist_node_is_plain(n), false);
    ql->bytes += n->bytes;
}

static void open_node(struct quicklist *ql, struct quicklist_node *n) {
    if (quicklist_node_is_lzf(n))
        put_decompressed(ql, n, decompressed(n));
}

/* The compressed form, or NULL where it saves too little. */
static struct packed_data *compressed(const void *data, uint32_t bytes) {
    if (bytes < COMPRESS_MIN_BYTES)
        return NULL;
    size_t cap = bytes - SAVE_MIN_BYTES;
    struct packed_data *d = mem_alloc(sizeof *d + cap);
    size_t n = lzf_compress(data, bytes, d->lzf, cap - sizeof *d);
    if (n == 0) {
        mem_free(d);
        return NULL;
    }
    d->bytes = (uint32_t)n;
    return mem_realloc(d, sizeof *d + n);
}

static bool is_between(const struct quicklist *ql, const struct quicklist_node *n) {
    const struct quicklist_node *a = n, *b = n;
    if (ql->depth == 0 || ql->nodes <= 2u * ql->depth)
        return false;
    for (unsigned i = 0; i < ql->depth; i++)
        if ((a = a->prev) == NULL || (b = b->next) == NULL)
            return false;
    return true;
}

/* Compresses a node that is due. */
static void close_node(struct quicklist *ql, struct quicklist_node *n) {
    if (quicklist_node_is_lzf(n) || !is_between(ql, n))
        return;
    struct packed_data *d = compressed(n->data, n->bytes);
    if (d == NULL)
        return;
    ql->bytes -= n->bytes;
    mem_free(n->data);
    n->data = d;
    set_kind(n, quicklist_node_is_plain(n), true);
    ql->bytes += stored_bytes(n);
}

/* After nodes came or went: opens what now is at an end, compresses what no longer is. */
static void settle_ends(struct quicklist *ql) {
    if (ql->depth == 0)
        return;
    struct quicklist_node *a = ql->head, *b = ql->tail;
    for (unsigned i = 0; i < ql->depth && a != NULL; i++, a = a->next, b = b->prev) {
        open_node(ql, a);
        open_node(ql, b);
    }
    if (a != NULL) {
        close_node(ql, a);
        close_node(ql, b);
    }
}

/* Takes over what became of a node's listpack. */
static void repacked(struct quicklist *ql, struct quicklist_node *n, struct listpack *lp) {
    uint32_t bytes = listpack_bytes(lp), count = listpack_count(lp);
    n->data = lp;
    ql->bytes += bytes;
    ql->bytes -= n->bytes;
    ql->count += count;
    ql->count -= n->count;
    n->bytes = bytes;
    n->count = count & COUNT_MAX;
}

/* ---- what fits ---- */

static uint32_t limit_bytes(const struct quicklist *ql) {
    return ql->fill < 0 ? UINT32_C(2048) << -ql->fill : FILL_BYTES;
}

static bool is_large(const struct quicklist *ql, struct packed_item v) {
    return !v.is_int && (v.s.n > limit_bytes(ql) - LISTPACK_EMPTY_BYTES - LISTPACK_ELEMENT_OVERHEAD_BYTES ||
                         (ql->plain_bytes != 0 && v.s.n >= ql->plain_bytes));
}

/* Whether `bytes` more in `count` more elements fit into a node, which may be NULL. */
static bool fits(const struct quicklist *ql, const struct quicklist_node *n, uint64_t bytes, uint64_t count) {
    if (n == NULL || quicklist_node_is_plain(n))
        return false;
    return n->bytes + bytes <= limit_bytes(ql) && (ql->fill < 0 || n->count + count <= (uint64_t)ql->fill);
}

/* The same for one element, which is not large: its exact size matters in the last bytes of a node only. */
static bool has_room(const struct quicklist *ql, const struct quicklist_node *n, struct packed_item v) {
    return fits(ql, n, (v.is_int ? 0 : v.s.n) + LISTPACK_ELEMENT_OVERHEAD_BYTES, 1) ||
           (!v.is_int && fits(ql, n, listpack_item_bytes(v), 1));
}

/* ---- the whole ---- */

struct quicklist *quicklist_create(int fill, unsigned depth) {
    struct quicklist *ql = mem_calloc(1, sizeof *ql);
    ql->fill = (int16_t)(fill < -5 ? -5 : fill == 0 ? 1 : fill > INT16_MAX ? INT16_MAX : fill);
    ql->depth = (uint16_t)(depth > UINT16_MAX ? UINT16_MAX : depth);
    return ql;
}

void quicklist_destroy(struct quicklist *ql) {
    if (ql == NULL)
        return;
    while (ql->head != NULL)
        unlink_node(ql, ql->head);
    mem_free(ql);
}

struct quicklist *quicklist_dup(const struct quicklist *ql) {
    struct quicklist *copy = quicklist_create(ql->fill, ql->depth);
    copy->plain_bytes = ql->plain_bytes;
    for (const struct quicklist_node *n = ql->head; n != NULL; n = n->next) {
        size_t stored = (size_t)stored_bytes(n);
        void *data = mem_alloc(stored);
        memcpy(data, n->data, stored);
        struct quicklist_node *m = link_node(copy, copy->tail, data, n->bytes, n->count, quicklist_node_is_plain(n));
        m->kind = n->kind;
        copy->bytes += stored;
        copy->bytes -= n->bytes;
    }
    return copy;
}

size_t quicklist_memory_bytes(const struct quicklist *ql) {
    return sizeof *ql + ql->nodes * sizeof(struct quicklist_node) + (size_t)ql->bytes;
}

/* ---- ends ---- */

static struct quicklist_node *link_plain(struct quicklist *ql, struct quicklist_node *after, struct slice s) {
    void *p = mem_alloc(s.n);
    if (s.n != 0)
        memcpy(p, s.p, s.n);
    return link_node(ql, after, p, (uint32_t)s.n, 1, true);
}

static struct quicklist_node *link_single(struct quicklist *ql, struct quicklist_node *after, struct packed_item v) {
    if (is_large(ql, v))
        return link_plain(ql, after, v.s);
    struct listpack *lp = listpack_create(0);
    HF_ASSERT(listpack_append(&lp, v) == 0);
    return link_node(ql, after, lp, listpack_bytes(lp), 1, false);
}

static bool is_storable(struct packed_item v) {
    return v.is_int || v.s.n < UINT32_MAX;
}

/* The node at the end of a long list will be filled: its block doubles, where each size in turn would cost a move.
 * Behind the next node it gets the size it needs. */
static void make_room(const struct quicklist *ql, struct quicklist_node *n, struct packed_item v) {
    uint32_t have = END_ROOM_BYTES,
             want = n->bytes + (uint32_t)(v.is_int ? 0 : v.s.n) + LISTPACK_ELEMENT_OVERHEAD_BYTES;
    while (have < n->bytes)
        have *= 2;
    if (want <= have)
        return;
    have = have * 2 < limit_bytes(ql) ? have * 2 : limit_bytes(ql);
    struct listpack *lp = n->data;
    listpack_reserve(&lp, have);
    n->data = lp;
}

static void make_end(struct quicklist *ql, struct quicklist_node *before, struct quicklist_node *n) {
    if (before == NULL || n->kind != QUICKLIST_PACKED)
        return;
    struct listpack *lp = n->data;
    listpack_reserve(&lp, END_ROOM_BYTES < limit_bytes(ql) ? END_ROOM_BYTES : limit_bytes(ql));
    n->data = lp;
    if (before->kind == QUICKLIST_PACKED) {
        lp = before->data;
        listpack_shrink(&lp);
        before->data = lp;
    }
}

/* Puts v at an end of an open packed node that has room. */
static void put_at_end(struct quicklist *ql, struct quicklist_node *n, enum quicklist_side side, struct packed_item v) {
    struct listpack *lp = n->data;
    HF_ASSERT((side == QUICKLIST_HEAD ? listpack_prepend(&lp, v) : listpack_append(&lp, v)) == 0);
    uint32_t bytes = listpack_bytes(lp);
    n->data = lp;
    ql->bytes += bytes - n->bytes;
    n->bytes = bytes;
    n->count = (n->count + 1) & COUNT_MAX;
    ql->count++;
}

int quicklist_push(struct quicklist *ql, enum quicklist_side side, struct packed_item v) {
    if (!is_storable(v))
        return -1;
    struct quicklist_node *n = side == QUICKLIST_HEAD ? ql->head : ql->tail;
    if (!is_large(ql, v) && has_room(ql, n, v)) {
        if (ql->nodes > 1)
            make_room(ql, n, v);
        put_at_end(ql, n, side, v);
        return 0;
    }
    make_end(ql, n, link_single(ql, side == QUICKLIST_HEAD ? NULL : ql->tail, v));
    settle_ends(ql);
    return 0;
}

struct packed_item quicklist_peek(const struct quicklist *ql, enum quicklist_side side) {
    const struct quicklist_node *n = side == QUICKLIST_HEAD ? ql->head : ql->tail;
    if (quicklist_node_is_plain(n))
        return packed_bytes(slice_of(n->data, n->bytes));
    return listpack_get(n->data, side == QUICKLIST_HEAD ? LISTPACK_HEADER_BYTES : listpack_last(n->data));
}

void quicklist_drop(struct quicklist *ql, enum quicklist_side side) {
    struct quicklist_node *n = side == QUICKLIST_HEAD ? ql->head : ql->tail;
    if (n->count == 1) {
        unlink_node(ql, n);
        settle_ends(ql);
        return;
    }
    struct listpack *lp = n->data;
    (void)listpack_delete(&lp, side == QUICKLIST_HEAD ? LISTPACK_HEADER_BYTES : listpack_last(lp), 1, NULL);
    repacked(ql, n, lp);
}

void quicklist_rotate(struct quicklist *ql) {
    if (ql->count < 2)
        return;
    struct packed_item v = quicklist_peek(ql, QUICKLIST_TAIL);
    char *copy = NULL;
    if (!v.is_int) {
        copy = mem_strndup(v.s.p, v.s.n);
        v.s.p = copy;
    }
    quicklist_drop(ql, QUICKLIST_TAIL);
    HF_ASSERT(quicklist_push(ql, QUICKLIST_HEAD, v) == 0);
    mem_free(copy);
}

struct listpack *quicklist_take_listpack(struct quicklist *ql) {
    struct quicklist_node *n = ql->head;
    HF_ASSERT(ql->nodes == 1 && n->kind == QUICKLIST_PACKED);
    struct listpack *lp = n->data;
    mem_free(n);
    mem_free(ql);
    return lp;
}

int quicklist_append_listpack_take(struct quicklist *ql, struct listpack *lp) {
    uint32_t count = listpack_count(lp);
    if (listpack_bytes(lp) > LISTPACK_MAX_BYTES || count > COUNT_MAX)
        return -1;
    HF_ASSERT(count != 0);
    (void)link_node(ql, ql->tail, lp, listpack_bytes(lp), count, false);
    settle_ends(ql);
    return 0;
}

int quicklist_append_plain(struct quicklist *ql, struct slice s) {
    if (s.n >= UINT32_MAX)
        return -1;
    (void)link_plain(ql, ql->tail, s);
    settle_ends(ql);
    return 0;
}

/* ---- places ---- */

/* The node with the element at an index, and the index in it. NULL where there is none. */
static struct quicklist_node *locate(const struct quicklist *ql, int64_t index, uint32_t *ret_in_node) {
    uint64_t i = index >= 0 ? (uint64_t)index : ql->count - (0 - (uint64_t)index);
    if (i >= ql->count || (index < 0 && 0 - (uint64_t)index > ql->count))
        return NULL;
    struct quicklist_node *n;
    if (i < ql->count / 2) {
        for (n = ql->head; i >= n->count; n = n->next)
            i -= n->count;
    } else {
        uint64_t start = ql->count;
        for (n = ql->tail; (start -= n->count) > i; n = n->prev)
            ;
        i -= start;
    }
    *ret_in_node = (uint32_t)i;
    return n;
}

/* Places an iterator at an index in a node. */
static void enter(struct quicklist_iter *it, struct quicklist_node *n, int64_t in_node) {
    it->node = n;
    it->view = quicklist_node_is_lzf(n) ? decompressed(n) : NULL;
    it->opened = false;
    it->at = quicklist_node_is_plain(n) ? 0 : listpack_seek(it->view != NULL ? it->view : n->data, in_node);
}

static void leave(struct quicklist_iter *it) {
    mem_free(it->view);
    it->view = NULL;
    if (it->opened)
        close_node(it->list, it->node);
    it->opened = false;
    it->node = NULL;
}

bool quicklist_seek(struct quicklist *ql, int64_t index, struct quicklist_iter *ret_it) {
    uint32_t i;
    struct quicklist_node *n = locate(ql, index, &i);
    *ret_it = (struct quicklist_iter){.list = ql};
    if (n == NULL)
        return false;
    enter(ret_it, n, i);
    return true;
}

void quicklist_end(struct quicklist_iter *it) {
    if (it->node != NULL)
        leave(it);
}

static const void *data_of(const struct quicklist_iter *it) {
    return it->view != NULL ? it->view : it->node->data;
}

struct packed_item quicklist_get(const struct quicklist_iter *it) {
    if (quicklist_node_is_plain(it->node))
        return packed_bytes(slice_of(data_of(it), it->node->bytes));
    return listpack_get(data_of(it), it->at);
}

bool quicklist_equals(const struct quicklist_iter *it, struct slice s) {
    if (quicklist_node_is_plain(it->node))
        return slice_eq(slice_of(data_of(it), it->node->bytes), s);
    return listpack_equals(data_of(it), it->at, s);
}

/* Shows up to *left elements of a listpack from `at` on and counts them off. */
static int each_packed(const struct listpack *lp, uint32_t at, uint64_t *left, bool backwards,
                       int (*each)(void *arg, const struct packed_item *v), void *arg) {
    for (; at != 0 && *left > 0; at = backwards ? listpack_prev(lp, at) : listpack_next(lp, at)) {
        const struct packed_item v = listpack_get(lp, at);
        (*left)--;
        int rc = each(arg, &v);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* As above for a node, from the element at an index in it. */
static int each_in_node(const struct quicklist_node *n, int64_t index, uint64_t *left, bool backwards,
                        int (*each)(void *arg, const struct packed_item *v), void *arg) {
    void *copy = quicklist_node_is_lzf(n) ? decompressed(n) : NULL;
    const void *data = copy != NULL ? copy : n->data;
    int rc;
    if (quicklist_node_is_plain(n)) {
        const struct packed_item v = packed_bytes(slice_of(data, n->bytes));
        (*left)--;
        rc = each(arg, &v);
    } else {
        rc = each_packed(data, listpack_seek(data, index), left, backwards, each, arg);
    }
    mem_free(copy);
    return rc;
}

int quicklist_each(const struct quicklist *ql, int64_t index, uint64_t n, bool backwards,
                   int (*each)(void *arg, const struct packed_item *v), void *arg) {
    uint32_t i = 0;
    const struct quicklist_node *node = locate(ql, index, &i);
    int64_t in_node = i;
    int rc = 0;
    while (node != NULL && n > 0 && rc == 0) {
        rc = each_in_node(node, in_node, &n, backwards, each, arg);
        node = backwards ? node->prev : node->next;
        in_node = backwards ? -1 : 0;
    }
    return rc;
}

int quicklist_node_each(const struct quicklist_node *n, int (*each)(void *arg, const struct packed_item *v),
                        void *arg) {
    uint64_t left = n->count;
    return each_in_node(n, 0, &left, false, each, arg);
}

static bool move(struct quicklist_iter *it, bool backwards) {
    if (it->node == NULL)
        return false;
    if (!quicklist_node_is_plain(it->node)) {
        uint32_t at = backwards ? listpack_prev(data_of(it), it->at) : listpack_next(data_of(it), it->at);
        if (at != 0) {
            it->at = at;
            return true;
        }
    }
    struct quicklist_node *n = backwards ? it->node->prev : it->node->next;
    leave(it);
    if (n == NULL)
        return false;
    enter(it, n, backwards ? -1 : 0);
    return true;
}

bool quicklist_next(struct quicklist_iter *it) {
    return move(it, false);
}

bool quicklist_prev(struct quicklist_iter *it) {
    return move(it, true);
}

/* ---- changes in the middle ---- */

/* Makes the node's data changeable in place. */
static void open_for_change(struct quicklist_iter *it) {
    if (it->view == NULL)
        return;
    put_decompressed(it->list, it->node, it->view);
    it->view = NULL;
    it->opened = true;
}

bool quicklist_delete(struct quicklist_iter *it, bool backwards) {
    struct quicklist *ql = it->list;
    struct quicklist_node *n = it->node, *neighbour = backwards ? n->prev : n->next;
    if (n->count > 1) {
        open_for_change(it);
        it->opened = true;
        struct listpack *lp = n->data;
        uint32_t before = backwards ? listpack_prev(lp, it->at) : 0;
        uint32_t behind = listpack_delete(&lp, it->at, 1, NULL);
        repacked(ql, n, lp);
        it->at = backwards ? before : behind;
        if (it->at != 0)
            return true;
        leave(it);
    } else {
        mem_free(it->view);
        *it = (struct quicklist_iter){.list = ql};
        unlink_node(ql, n);
        settle_ends(ql);
    }
    if (neighbour == NULL)
        return false;
    enter(it, neighbour, backwards ? -1 : 0);
    return true;
}

uint64_t quicklist_delete_range(struct quicklist *ql, int64_t index, uint64_t n) {
    uint32_t i;
    uint64_t deleted = 0;
    struct quicklist_node *node = locate(ql, index, &i), *next;
    for (; node != NULL && deleted < n; node = next, i = 0) {
        next = node->next;
        uint64_t k = node->count - i;
        if (k > n - deleted)
            k = n - deleted;
        deleted += k;
        if (k == node->count) {
            unlink_node(ql, node);
            continue;
        }
        open_node(ql, node);
        struct listpack *lp = node->data;
        (void)listpack_delete_range(&lp, i, (uint32_t)k);
        repacked(ql, node, lp);
        close_node(ql, node);
    }
    settle_ends(ql);
    return deleted;
}

/* Joins b, the next of a, to a where both fit in one. */
static void try_merge(struct quicklist *ql, struct quicklist_node *a, struct quicklist_node *b) {
    if (a == NULL || b == NULL || quicklist_node_is_plain(b) || !fits(ql, a, b->bytes, b->count))
        return;
    open_node(ql, a);
    open_node(ql, b);
    struct listpack *lp = a->data;
    HF_ASSERT(listpack_concat(&lp, b->data) == 0);
    repacked(ql, a, lp);
    unlink_node(ql, b);
    close_node(ql, a);
}

/* Cuts an open packed node in two; the elements from `at` on go to a new node behind it. */
static struct quicklist_node *split_node(struct quicklist *ql, struct quicklist_node *n, uint32_t at) {
    struct listpack *lp = n->data, *tail = listpack_split(&lp, at);
    repacked(ql, n, lp);
    return link_node(ql, n, tail, listpack_bytes(tail), listpack_count(tail), false);
}

/* v between two neighbours, of which either may be NULL: into one of them, or alone. */
static void put_between(struct quicklist *ql, struct quicklist_node *a, struct quicklist_node *b,
                        struct packed_item v) {
    uint64_t bytes = is_large(ql, v) ? UINT32_MAX : listpack_item_bytes(v);
    if (fits(ql, a, bytes, 1)) {
        open_node(ql, a);
        put_at_end(ql, a, QUICKLIST_TAIL, v);
        close_node(ql, a);
    } else if (fits(ql, b, bytes, 1)) {
        open_node(ql, b);
        put_at_end(ql, b, QUICKLIST_HEAD, v);
        close_node(ql, b);
    } else {
        close_node(ql, link_single(ql, a, v));
    }
}

/* Inserts in front of the element at `at` of node n, or behind all of it (at = 0). */
static void insert(struct quicklist *ql, struct quicklist_node *n, uint32_t at, struct packed_item v) {
    bool plain = quicklist_node_is_plain(n);
    bool room = !is_large(ql, v) && fits(ql, n, listpack_item_bytes(v), 1);
    if (plain || at == 0 || at == LISTPACK_HEADER_BYTES) {
        bool behind = plain ? at == 0 : at != LISTPACK_HEADER_BYTES;
        put_between(ql, behind ? n : n->prev, behind ? n->next : n, v);
    } else if (room) {
        open_node(ql, n);
        struct listpack *lp = n->data;
        HF_ASSERT(listpack_insert_before(&lp, at, v) == 0);
        repacked(ql, n, lp);
        close_node(ql, n);
    } else {
        open_node(ql, n);
        struct quicklist_node *m = split_node(ql, n, at);
        put_between(ql, n, m, v);
        try_merge(ql, m, m->next);
        try_merge(ql, n->prev, n);
        /* One of the halves may have gone: whoever is left is closed by its neighbours' settling or here. */
    }
    settle_ends(ql);
}

/* Compresses what a split left open around the place. */
static void close_around(struct quicklist *ql, struct quicklist_node *from, unsigned nodes) {
    for (; from != NULL && nodes > 0; from = from->next, nodes--)
        close_node(ql, from);
}

static int insert_at(struct quicklist_iter *it, struct packed_item v, bool after) {
    struct quicklist *ql = it->list;
    struct quicklist_node *n = it->node;
    uint32_t at = it->at;
    if (!is_storable(v)) {
        quicklist_end(it);
        return -1;
    }
    if (quicklist_node_is_plain(n))
        at = after ? 0 : LISTPACK_HEADER_BYTES;
    else if (after)
        at = listpack_next(data_of(it), at);
    open_for_change(it);
    it->opened = false;
    it->node = NULL;
    struct quicklist_node *before = n->prev != NULL ? n->prev->prev : NULL;
    insert(ql, n, at, v);
    close_around(ql, before != NULL ? before : ql->head, 7);
    return 0;
}

int quicklist_insert_before(struct quicklist_iter *it, struct packed_item v) {
    return insert_at(it, v, false);
}

int quicklist_insert_after(struct quicklist_iter *it, struct packed_item v) {
    return insert_at(it, v, true);
}

int quicklist_replace(struct quicklist_iter *it, struct packed_item v) {
    struct quicklist *ql = it->list;
    struct quicklist_node *n = it->node;
    if (!is_storable(v)) {
        quicklist_end(it);
        return -1;
    }
    if (!quicklist_node_is_plain(n) && !is_large(ql, v)) {
        uint32_t old = listpack_skip(data_of(it), it->at) - it->at;
        uint64_t new_bytes = listpack_item_bytes(v);
        if (n->count == 1 || new_bytes <= old || n->bytes - old + new_bytes <= limit_bytes(ql)) {
            open_for_change(it);
            it->opened = true;
            struct listpack *lp = n->data;
            HF_ASSERT(listpack_replace(&lp, it->at, v) == 0);
            repacked(ql, n, lp);
            quicklist_end(it);
            return 0;
        }
    }
    /* The new one goes in front of the old, which then is found behind it. */
    uint64_t index = 0;
    for (const struct quicklist_node *m = n->prev; m != NULL; m = m->prev)
        index += m->count;
    if (!quicklist_node_is_plain(n))
        for (uint32_t at = listpack_first(data_of(it)); at != it->at; at = listpack_next(data_of(it), at))
            index++;
    HF_ASSERT(insert_at(it, v, false) == 0);
    (void)quicklist_delete_range(ql, (int64_t)index + 1, 1);
    return 0;
}

/* ---- check ---- */

static void check_node(const struct quicklist *ql, const struct quicklist_node *n) {
    void *copy = quicklist_node_is_lzf(n) ? decompressed(n) : NULL;
    const void *data = copy != NULL ? copy : n->data;
    if (quicklist_node_is_plain(n)) {
        HF_ASSERT(n->count == 1);
    } else {
        listpack_check(data);
        HF_ASSERT(listpack_bytes(data) == n->bytes && listpack_count(data) == n->count && n->count != 0);
    }
    HF_ASSERT(!quicklist_node_is_lzf(n) || is_between(ql, n));
    if (copy == NULL && is_between(ql, n)) {
        struct packed_data *d = compressed(data, n->bytes);
        HF_ASSERT(d == NULL);
    }
    mem_free(copy);
}

void quicklist_check(const struct quicklist *ql) {
    uint64_t count = 0, bytes = 0;
    uint32_t nodes = 0;
    const struct quicklist_node *before = NULL;
    for (const struct quicklist_node *n = ql->head; n != NULL; before = n, n = n->next) {
        HF_ASSERT(n->prev == before);
        check_node(ql, n);
        nodes++;
        count += n->count;
        bytes += stored_bytes(n);
    }
    HF_ASSERT(ql->tail == before && nodes == ql->nodes && count == ql->count && bytes == ql->bytes);
}
