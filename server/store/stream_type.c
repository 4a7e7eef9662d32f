/* Streams as values: loading nodes, copies, figures, checks. */
#include "config.h"

#include "server/store/stream.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/store/stream_int.h"

/* ---- loading ---- */

static const char bad_inside[] = "a node of a stream is damaged or has another inner structure than it states";

/* A walk over the bytes of a node that nobody has looked at yet. Each item is verified as it is stepped over. */
struct scan {
    const unsigned char *p;
    uint32_t at, end; /* end: of the end mark */
    uint64_t count;
};

static inline bool take_items(struct scan *k, uint64_t n) {
    for (k->count += n; n > 0; n--) {
        uint32_t bytes = listpack_verify(k->p + k->at, k->end - k->at);
        if (bytes == 0)
            return false;
        k->at += bytes;
    }
    return true;
}

/* Steps over a number between 0 and max; false where something else or nothing stands there. */
static inline __attribute__((always_inline)) bool take_number(struct scan *k, uint64_t max, uint64_t *ret_n) {
    const unsigned char *e = k->p + k->at;
    if (__builtin_expect(e[0] < 0x80 && k->end - k->at > 1 && e[1] == 1, 1)) { /* most are below 128 */
        k->at += 2;
        k->count++;
        *ret_n = e[0];
        return e[0] <= max;
    }
    if (!take_items(k, 1))
        return false;
    struct packed_item item = {.is_int = true, .i = e[0]};
    if (e[0] >= 0x80)
        item = listpack_get_slow(e);
    *ret_n = (uint64_t)item.i;
    return item.is_int && *ret_n <= max;
}

/* The entry that comes next. Flags are changed in place later: they take one byte. */
static inline bool take_entry(struct scan *k, uint64_t master_fields, uint64_t *ret_flags, uint64_t ret_delta[2]) {
    uint64_t items = master_fields, before = 3, n;
    if (k->p[k->at] > (ENTRY_DELETED | ENTRY_SAME_FIELDS))
        return false;
    if (!take_number(k, ENTRY_DELETED | ENTRY_SAME_FIELDS, ret_flags) || !take_number(k, UINT64_MAX, &ret_delta[0]) ||
        !take_number(k, UINT64_MAX, &ret_delta[1]))
        return false;
    if (!(*ret_flags & ENTRY_SAME_FIELDS)) {
        if (!take_number(k, UINT32_MAX, &items))
            return false;
        items *= 2;
        before++;
    }
    return take_items(k, items) && take_number(k, UINT64_MAX, &n) && n == before + items;
}

/* Whether the bytes are a sound listpack with the layout of a node and right counts, and ids ascend from above
 * `before`; *ret_last is the last valid one. */
static const char *check_node(struct slice bytes, struct stream_id master, const struct stream_id *before,
                              uint64_t *ret_valid, struct stream_id *ret_last) {
    uint64_t stated, valid, deleted, fields, zero, flags, delta[2], found[2] = {0, 0};
    const char *why = listpack_validate(bytes, false, NULL, NULL, &stated);
    if (why != NULL)
        return why;
    struct scan k = {(const unsigned char *)bytes.p, LISTPACK_HEADER_BYTES, (uint32_t)bytes.n - 1, 0};
    if (!take_number(&k, INT64_MAX, &valid) || !take_number(&k, INT64_MAX, &deleted) ||
        !take_number(&k, UINT32_MAX, &fields) || !take_items(&k, fields) || !take_number(&k, 0, &zero))
        return bad_inside;
    struct stream_id last = before != NULL ? *before : STREAM_ID_MIN;
    bool any = before != NULL;
    while (k.at < k.end) {
        if (!take_entry(&k, fields, &flags, delta))
            return bad_inside;
        found[flags & ENTRY_DELETED]++;
        if (flags & ENTRY_DELETED)
            continue;
        struct stream_id id = {master.ms + delta[0], master.seq + delta[1]};
        if (stream_id_compare(id, master) < 0 || (any && stream_id_compare(id, last) <= 0))
            return "entries of a stream are not in the order of their ids";
        last = id;
        any = true;
    }
    if (found[0] != valid || found[1] != deleted || (stated != UINT64_MAX && stated != k.count))
        return "a node of a stream holds another number of entries than it states";
    *ret_valid = valid;
    *ret_last = last;
    return NULL;
}

const char *stream_load_node(struct stream *s, struct stream_id master, struct slice bytes) {
    uint64_t valid;
    if (bytes.n > STREAM_NODE_MAX_BYTES)
        return "a node of a stream is too long";
    struct id_cursor last = id_tree_last(&s->nodes);
    if (id_cursor_item(&last) != NULL && stream_id_compare(id_cursor_item(&last)->id, master) >= 0)
        return "nodes of a stream are not in the order of their ids";
    const struct stream_id *before = s->length != 0 ? &s->last_id : NULL;
    const char *why = check_node(bytes, master, before, &valid, &s->last_id);
    if (why != NULL || valid == 0)
        return why;
    struct listpack *lp = listpack_try_load(bytes);
    if (lp == NULL)
        return "no memory for a node of a stream";
    bool added = id_tree_insert(&s->nodes, master, lp);
    HF_ASSERT(added);
    s->length += valid;
    return NULL;
}

/* ---- copying ---- */

static void copy_group(struct stream *to, const struct stream_group *g) {
    struct stream_group *h = stream_group_create(to, g->name, g->last_id, g->entries_read);
    for (size_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        struct stream_consumer *d = stream_consumer_create(h, c->name, c->seen_ms);
        d->active_ms = c->active_ms;
    }
    for (struct id_cursor at = id_tree_first(&g->pending); id_cursor_item(&at) != NULL; id_cursor_next(&at)) {
        const struct stream_pending *p = id_cursor_item(&at)->value;
        struct stream_consumer *d = stream_consumer_find(h, p->consumer->name);
        struct stream_pending *q = stream_pending_give(to, h, d, id_cursor_item(&at)->id);
        q->delivered_ms = p->delivered_ms;
        q->deliveries = p->deliveries;
    }
}

struct stream *stream_copy(const struct stream *s) {
    struct stream *copy = stream_create();
    copy->length = s->length;
    copy->entries_added = s->entries_added;
    copy->last_id = s->last_id;
    copy->first_id = s->first_id;
    copy->max_deleted_id = s->max_deleted_id;
    for (struct id_cursor at = id_tree_first(&s->nodes); id_cursor_item(&at) != NULL; id_cursor_next(&at)) {
        bool added = id_tree_insert(&copy->nodes, id_cursor_item(&at)->id, listpack_dup(id_cursor_item(&at)->value));
        HF_ASSERT(added);
    }
    for (size_t i = 0; i < s->groups.count; i++)
        copy_group(copy, stream_group_at(s, i));
    return copy;
}

/* ---- figures ---- */

static size_t group_bytes(const struct stream_group *g) {
    size_t bytes = mem_usable_size(g) + g->pending.node_bytes;
    if (g->consumers.at != NULL)
        bytes += mem_usable_size(g->consumers.at);
    for (size_t i = 0; i < g->consumers.count; i++)
        bytes += mem_usable_size(stream_consumer_at(g, i)) + stream_consumer_at(g, i)->pending.node_bytes;
    return bytes;
}

size_t stream_memory_bytes(const struct stream *s, size_t samples) {
    size_t seen = 0, bytes = 0;
    struct id_cursor at = id_tree_first(&s->nodes);
    /* The last node, which has room to grow, counts as itself. */
    for (; seen + 1 < s->nodes.used && (samples == 0 || seen < samples); seen++, id_cursor_next(&at))
        bytes += mem_usable_size(id_cursor_item(&at)->value);
    if (seen != 0)
        bytes = (size_t)((double)bytes / (double)seen * (double)(s->nodes.used - 1));
    if (s->nodes.used != 0) {
        at = id_tree_last(&s->nodes);
        bytes += mem_usable_size(id_cursor_item(&at)->value);
    }
    bytes += mem_usable_size(s) + s->nodes.node_bytes + s->slab.block_bytes + s->slab.outside_bytes;
    if (s->groups.at != NULL)
        bytes += mem_usable_size(s->groups.at);
    for (size_t i = 0; i < s->groups.count; i++)
        bytes += group_bytes(stream_group_at(s, i));
    return bytes;
}

/* ---- checks ---- */

static void check_group(const struct stream *s, const struct stream_group *g) {
    size_t owned = 0;
    HF_ASSERT(stream_group_find(s, g->name) == g);
    id_tree_check(&g->pending);
    for (size_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        HF_ASSERT(stream_consumer_find(g, c->name) == c);
        id_tree_check(&c->pending);
        owned += c->pending.used;
        for (struct id_cursor at = id_tree_first(&c->pending); id_cursor_item(&at) != NULL; id_cursor_next(&at)) {
            const struct stream_pending *p = id_cursor_item(&at)->value;
            HF_ASSERT(p->consumer == c && stream_pending_find(g, id_cursor_item(&at)->id) == p);
        }
    }
    HF_ASSERT(owned == g->pending.used);
}

void stream_check(const struct stream *s) {
    uint64_t length = 0, valid;
    struct stream_id last = STREAM_ID_MIN, first;
    id_tree_check(&s->nodes);
    for (struct id_cursor at = id_tree_first(&s->nodes); id_cursor_item(&at) != NULL; id_cursor_next(&at)) {
        const struct listpack *lp = id_cursor_item(&at)->value;
        listpack_check(lp);
        HF_ASSERT(listpack_bytes(lp) <= LISTPACK_MAX_BYTES);
        const char *why =
            check_node(listpack_slice(lp), id_cursor_item(&at)->id, length != 0 ? &last : NULL, &valid, &last);
        if (why != NULL)
            HF_PANIC("%s", why);
        HF_ASSERT(valid > 0);
        length += valid;
    }
    HF_ASSERT(length == s->length && (length == 0 || stream_id_compare(last, s->last_id) <= 0));
    if (!stream_edge(s, true, &first))
        first = STREAM_ID_MIN;
    HF_ASSERT(stream_id_compare(first, s->first_id) == 0);
    for (size_t i = 0; i < s->groups.count; i++)
        check_group(s, stream_group_at(s, i));
    slab_check(&s->slab);
}

/* ---- the type's row ---- */

static void type_free(enum value_encoding encoding, void *object) {
    HF_ASSERT(encoding == VALUE_ENC_STREAM);
    stream_destroy(object);
}

static size_t type_effort(enum value_encoding encoding, const void *object) {
    (void)encoding;
    const struct stream *s = object;
    size_t n = 1 + s->nodes.used;
    for (size_t i = 0; i < s->groups.count && i < 64; i++) {
        const struct stream_group *g = stream_group_at(s, i);
        n += 1 + g->pending.used + g->consumers.count;
    }
    return n;
}

static size_t type_memory_bytes(enum value_encoding encoding, const void *object, size_t samples) {
    (void)encoding;
    return stream_memory_bytes(object, samples);
}

static void *type_copy(enum value_encoding encoding, const void *object) {
    (void)encoding;
    return stream_copy(object);
}

const struct value_type_ops stream_type_ops = {
    .free = type_free, .effort = type_effort, .memory_bytes = type_memory_bytes, .copy = type_copy};
