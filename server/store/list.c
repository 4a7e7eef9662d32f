/* Invariants (list_check()): those of listpack and quicklist; a listpack is at most SMALL_BYTES_MAX long, which bounds
 * what a change in its middle moves.
 *
 * Which encoding a list has is part of the field's interface (OBJECT ENCODING): the rules are those of Redis 7.2, with
 * one addition. There, lengths are counted without the overhead of encoding, so that a million empty strings would fit
 * a listpack; here a listpack never grows beyond SLACK times its limit.
 */
#include "config.h"

#include "server/store/list.h"

#include "server/base/assert.h"

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/listpack.h"

#define COUNTED_BYTES_MAX 8192u /* of a listpack whose limit is a number of elements */
#define SLACK 2u
#define SMALL_BYTES_MAX (SLACK * 65536u)
#define LOADED_NODE_BYTES_MAX 65536u

/* ---- limits ---- */

struct node_limit {
    uint64_t bytes, count; /* UINT64_MAX: none */
};

static struct node_limit node_limit(const struct collection_rules *rules) {
    int64_t fill = rules->limits.list_max_listpack_size;
    if (fill >= 0)
        return (struct node_limit){.bytes = UINT64_MAX, .count = fill == 0 ? 1 : (uint64_t)fill};
    return (struct node_limit){.bytes = UINT64_C(2048) << (fill < -5 ? 5 : -fill), .count = UINT64_MAX};
}

static uint64_t limit_bytes(struct node_limit limit) {
    return limit.bytes != UINT64_MAX ? limit.bytes : COUNTED_BYTES_MAX;
}

static bool fits(struct node_limit limit, uint64_t bytes, uint64_t count) {
    return bytes <= limit_bytes(limit) && count <= limit.count;
}

/* ---- the two encodings ---- */

static bool is_small(const struct collection *l) {
    return l->encoding == VALUE_ENC_LISTPACK;
}

static int clamp_int(int64_t v) {
    return v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : (int)v;
}

static void enlarge(struct collection *l) {
    const struct collection_limits *limits = &l->rules->limits;
    int64_t depth = limits->list_compress_depth;
    struct quicklist *ql =
        quicklist_create(clamp_int(limits->list_max_listpack_size), depth > 0 ? (unsigned)clamp_int(depth) : 0);
    ql->plain_bytes = l->rules->list_plain_bytes;
    if (listpack_is_empty(l->object))
        listpack_destroy(l->object);
    else
        HF_ASSERT(quicklist_append_listpack_take(ql, l->object) == 0);
    l->encoding = VALUE_ENC_QUICKLIST;
    l->object = ql;
}

/* Makes way for `count` elements of `bytes` bytes that take exact_bytes. */
static void expect(struct collection *l, uint64_t bytes, uint64_t exact_bytes, uint64_t count) {
    if (!is_small(l))
        return;
    struct node_limit limit = node_limit(l->rules);
    uint64_t old = listpack_bytes(l->object);
    if (!fits(limit, old + bytes, listpack_count(l->object) + count) || old + exact_bytes > SLACK * limit_bytes(limit))
        enlarge(l);
}

static void expect_one(struct collection *l, struct slice s) {
    expect(l, s.n, s.n + LISTPACK_ELEMENT_OVERHEAD_BYTES, 1);
}

/* A quicklist of one node becomes a listpack where 1/part of the limit holds it. */
static void try_shrink(struct collection *l, unsigned part) {
    const struct quicklist *ql = l->object;
    if (is_small(l) || ql->nodes != 1 || ql->head->kind != QUICKLIST_PACKED)
        return;
    struct node_limit limit = node_limit(l->rules);
    if (ql->head->bytes > limit.bytes / part || ql->count > limit.count / part || ql->head->bytes > SMALL_BYTES_MAX)
        return;
    l->object = quicklist_take_listpack(l->object);
    l->encoding = VALUE_ENC_LISTPACK;
}

static bool is_storable(struct packed_item v) {
    return v.is_int || v.s.n < UINT32_MAX;
}

/* Pushes to the encoding that the list has. */
static void put(struct collection *l, enum quicklist_side side, struct packed_item v) {
    int rc;
    if (!is_small(l)) {
        rc = quicklist_push(l->object, side, v);
    } else {
        struct listpack *lp = l->object;
        rc = side == QUICKLIST_HEAD ? listpack_prepend(&lp, v) : listpack_append(&lp, v);
        l->object = lp;
    }
    HF_ASSERT(rc == 0);
}

/* ---- building ---- */

struct collection list_create(const struct collection_rules *rules) {
    return (struct collection){.rules = rules, .encoding = VALUE_ENC_LISTPACK, .object = listpack_create(0)};
}

size_t list_count(const struct collection *l) {
    return list_type_ops.count(l->encoding, l->object);
}

int list_push_item(struct collection *l, enum quicklist_side side, struct packed_item v) {
    if (!is_storable(v))
        return -1;
    if (is_small(l)) {
        uint64_t more = listpack_item_bytes(v); /* UINT64_MAX where none holds it */
        if (more > COUNTED_BYTES_MAX * 8u ||
            !fits(node_limit(l->rules), listpack_bytes(l->object) + more, listpack_count(l->object) + UINT64_C(1)))
            enlarge(l);
    }
    put(l, side, v);
    return 0;
}

int list_push(struct collection *l, enum quicklist_side side, struct slice s) {
    return list_push_item(l, side, packed_bytes(s));
}

/* Elements of a listpack that is too big for a node go into nodes of the right size. */
static void append_elements(struct quicklist *ql, const struct listpack *lp) {
    for (uint32_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at))
        HF_ASSERT(quicklist_push(ql, QUICKLIST_TAIL, listpack_get(lp, at)) == 0);
}

void list_append_listpack_take(struct collection *l, struct listpack *lp) {
    uint64_t bytes = listpack_bytes(lp);
    if (is_small(l) && listpack_is_empty(l->object) && fits(node_limit(l->rules), bytes, listpack_count(lp))) {
        listpack_destroy(l->object);
        l->object = lp;
        return;
    }
    if (is_small(l))
        enlarge(l);
    if (bytes > LOADED_NODE_BYTES_MAX) {
        append_elements(l->object, lp);
        listpack_destroy(lp);
    } else {
        HF_ASSERT(quicklist_append_listpack_take(l->object, lp) == 0);
    }
}

int list_append_plain(struct collection *l, struct slice s) {
    if (s.n >= UINT32_MAX)
        return -1;
    if (is_small(l))
        enlarge(l);
    return quicklist_append_plain(l->object, s);
}

void list_loaded(struct collection *l) {
    try_shrink(l, 1);
}

/* ---- reading ---- */

static int each_element(const struct collection *l, int64_t index, size_t n, bool backwards,
                        int (*each)(void *arg, const struct packed_item *v), void *arg) {
    if (!is_small(l))
        return quicklist_each(l->object, index, n, backwards, each, arg);
    const struct listpack *lp = l->object;
    int rc = 0;
    for (uint32_t at = listpack_seek(lp, index); at != 0 && n > 0 && rc == 0; n--) {
        const struct packed_item v = listpack_get(lp, at);
        rc = each(arg, &v);
        at = backwards ? listpack_prev(lp, at) : listpack_next(lp, at);
    }
    return rc;
}

int list_each(const struct collection *l, int64_t index, size_t n, int (*each)(void *arg, const struct packed_item *v),
              void *arg) {
    return each_element(l, index, n, false, each, arg);
}

int list_each_backwards(const struct collection *l, int64_t index, size_t n,
                        int (*each)(void *arg, const struct packed_item *v), void *arg) {
    return each_element(l, index, n, true, each, arg);
}

bool list_get(const struct collection *l, int64_t index, struct buf *scratch, struct packed_item *ret_v) {
    if (is_small(l)) {
        uint32_t at = listpack_seek(l->object, index);
        if (at != 0)
            *ret_v = listpack_get(l->object, at);
        return at != 0;
    }
    struct quicklist_iter it;
    if (!quicklist_seek(l->object, index, &it))
        return false;
    *ret_v = quicklist_get(&it);
    if (it.view != NULL && !ret_v->is_int) {
        buf_clear(scratch);
        buf_append_slice(scratch, ret_v->s);
        ret_v->s = buf_slice(scratch);
    }
    quicklist_end(&it);
    return true;
}

struct packed_item list_peek(const struct collection *l, enum quicklist_side side) {
    if (!is_small(l))
        return quicklist_peek(l->object, side);
    return listpack_get(l->object, side == QUICKLIST_HEAD ? listpack_first(l->object) : listpack_last(l->object));
}

struct list_needle list_needle(struct slice s) {
    struct list_needle k = {.s = s};
    k.is_int = s.n != 0 && s.n < NUM_I64_CHARS && num_parse_i64(s, &k.i) == 0;
    return k;
}

/* ---- changing ---- */

int list_push_all(struct collection *l, enum quicklist_side side, const struct slice *v, size_t n) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (v[i].n >= UINT32_MAX)
            return -1;
        bytes += v[i].n;
    }
    expect(l, bytes, bytes + n * LISTPACK_ELEMENT_OVERHEAD_BYTES, n);
    for (size_t i = 0; i < n; i++)
        put(l, side, packed_bytes(v[i]));
    return 0;
}

int list_push_moved(struct collection *l, enum quicklist_side side, struct packed_item v) {
    if (!is_storable(v))
        return -1;
    if (v.is_int) /* counts as a number, which has no length */
        expect(l, 0, LISTPACK_ELEMENT_OVERHEAD_BYTES, 1);
    else
        expect_one(l, v.s);
    put(l, side, v);
    return 0;
}

static void delete_range(struct collection *l, int64_t index, uint64_t n) {
    if (n == 0)
        return;
    if (!is_small(l)) {
        (void)quicklist_delete_range(l->object, index, n);
        return;
    }
    struct listpack *lp = l->object;
    (void)listpack_delete_range(&lp, index, n < UINT32_MAX ? (uint32_t)n : UINT32_MAX);
    l->object = lp;
}

void list_drop(struct collection *l, enum quicklist_side side, size_t n) {
    size_t count = list_count(l);
    if (n > count)
        n = count;
    if (n == 1 && !is_small(l))
        quicklist_drop(l->object, side);
    else
        delete_range(l, side == QUICKLIST_HEAD ? 0 : (int64_t)(count - n), n);
    try_shrink(l, 2);
}

void list_trim(struct collection *l, size_t index, size_t n) {
    size_t count = list_count(l);
    if (index > count)
        index = count;
    if (n > count - index)
        n = count - index;
    delete_range(l, (int64_t)(index + n), count - index - n);
    delete_range(l, 0, index);
    try_shrink(l, 2);
}

static size_t remove_small(struct collection *l, const struct list_needle *k, size_t n, bool backwards) {
    struct listpack *lp = l->object;
    size_t removed = 0;
    uint32_t at = backwards ? listpack_last(lp) : listpack_first(lp);
    while (at != 0 && removed < n) {
        const struct packed_item v = listpack_get(lp, at);
        const uint32_t before = backwards ? listpack_prev(lp, at) : 0;
        if (list_needle_is(k, &v)) {
            at = listpack_delete(&lp, at, 1, NULL);
            removed++;
        } else if (!backwards) {
            at = listpack_next(lp, at);
        }
        if (backwards)
            at = before;
    }
    l->object = lp;
    return removed;
}

static size_t remove_large(struct collection *l, const struct list_needle *k, size_t n, bool backwards) {
    struct quicklist_iter it;
    size_t removed = 0;
    bool on = quicklist_seek(l->object, backwards ? -1 : 0, &it);
    while (on && removed < n) {
        const struct packed_item v = quicklist_get(&it);
        if (list_needle_is(k, &v)) {
            on = quicklist_delete(&it, backwards);
            removed++;
        } else {
            on = backwards ? quicklist_prev(&it) : quicklist_next(&it);
        }
    }
    quicklist_end(&it);
    return removed;
}

size_t list_remove(struct collection *l, struct slice s, size_t n, bool backwards) {
    const struct list_needle k = list_needle(s);
    size_t removed = is_small(l) ? remove_small(l, &k, n, backwards) : remove_large(l, &k, n, backwards);
    if (removed != 0)
        try_shrink(l, 2);
    return removed;
}

static int insert_small(struct collection *l, const struct list_needle *pivot, bool before, struct packed_item v) {
    struct listpack *lp = l->object;
    uint32_t at = listpack_find(lp, listpack_first(lp), pivot->s, 0);
    if (at == 0)
        return 0;
    int rc = before ? listpack_insert_before(&lp, at, v) : listpack_insert_after(&lp, at, v, NULL);
    HF_ASSERT(rc == 0);
    l->object = lp;
    return 1;
}

int list_insert(struct collection *l, struct slice pivot, bool before, struct slice s) {
    if (s.n >= UINT32_MAX)
        return -1;
    const struct list_needle k = list_needle(pivot);
    const struct packed_item v = packed_bytes(s);
    expect_one(l, s); /* also where the pivot turns out not to be there */
    if (is_small(l))
        return insert_small(l, &k, before, v);
    struct quicklist_iter it;
    bool on = quicklist_seek(l->object, 0, &it);
    for (; on; on = quicklist_next(&it)) {
        const struct packed_item x = quicklist_get(&it);
        if (list_needle_is(&k, &x))
            break;
    }
    if (!on) {
        quicklist_end(&it);
        return 0;
    }
    int rc = before ? quicklist_insert_before(&it, v) : quicklist_insert_after(&it, v);
    HF_ASSERT(rc == 0);
    return 1;
}

int list_set(struct collection *l, int64_t index, struct slice s) {
    if (s.n >= UINT32_MAX)
        return -1;
    expect_one(l, s);
    int rc;
    if (is_small(l)) {
        struct listpack *lp = l->object;
        uint32_t at = listpack_seek(lp, index);
        if (at == 0)
            return 0;
        rc = listpack_replace(&lp, at, packed_bytes(s));
        l->object = lp;
    } else {
        struct quicklist_iter it;
        if (!quicklist_seek(l->object, index, &it))
            return 0;
        rc = quicklist_replace(&it, packed_bytes(s));
    }
    HF_ASSERT(rc == 0);
    try_shrink(l, 2);
    return 1;
}

void list_check(const struct collection *l) {
    HF_ASSERT(is_small(l) || l->encoding == VALUE_ENC_QUICKLIST);
    if (!is_small(l)) {
        quicklist_check(l->object);
        return;
    }
    listpack_check(l->object);
    HF_ASSERT(listpack_bytes(l->object) <= SMALL_BYTES_MAX);
}

/* ---- the type ---- */

static void free_list(enum value_encoding encoding, void *object) {
    if (encoding == VALUE_ENC_LISTPACK)
        listpack_destroy(object);
    else
        quicklist_destroy(object);
}

static size_t effort(enum value_encoding encoding, const void *object) {
    return encoding == VALUE_ENC_LISTPACK ? 1 : ((const struct quicklist *)object)->nodes;
}

/* Nodes are looked at until they held `samples` elements; the others count as those. */
static size_t memory_bytes(enum value_encoding encoding, const void *object, size_t samples) {
    if (encoding == VALUE_ENC_LISTPACK)
        return mem_usable_size(object);
    const struct quicklist *ql = object;
    size_t bytes = 0, nodes = 0, elements = 0;
    for (const struct quicklist_node *n = ql->head; n != NULL && (samples == 0 || elements < samples); n = n->next) {
        bytes += mem_usable_size(n) + mem_usable_size(n->data);
        elements += n->count;
        nodes++;
    }
    if (nodes < ql->nodes && nodes != 0)
        bytes = (size_t)((double)bytes / (double)nodes * (double)ql->nodes);
    return mem_usable_size(ql) + bytes;
}

static void *copy(enum value_encoding encoding, const void *object) {
    return encoding == VALUE_ENC_LISTPACK ? (void *)listpack_dup(object) : (void *)quicklist_dup(object);
}

static size_t count(enum value_encoding encoding, const void *object) {
    return encoding == VALUE_ENC_LISTPACK ? listpack_count(object) : (size_t)((const struct quicklist *)object)->count;
}

const struct value_type_ops list_type_ops = {
    .free = free_list, .effort = effort, .memory_bytes = memory_bytes, .copy = copy, .count = count};
