/* A node is a listpack of items:
 *
 *   valid  deleted  fields  field …  0      the master entry: how many entries of each kind, and names of fields
 *   flags  ms  seq  [fields]  item …  n     an entry: distances from the node's id, and the number of items before n
 *
 * With ENTRY_SAME_FIELDS an entry has the names of the master entry and holds values only; else it says how many fields
 * it has and holds names and values. The n at the end leads a walk backwards. Ids are modulo 2^64 in each half, so that
 * a sequence number may be below that of the node's id.
 *
 * Invariants (stream_check()):
 *   1. Every node is a sound listpack of that layout whose counts are right, and has a valid entry.
 *   2. Ids of valid entries ascend, within a node and over all; none is below its node's id or above last_id.
 *      Entries that are marked deleted may have any id: XSETID can take last_id back below them.
 *   3. length is the number of valid entries; first_id is the first one's, or 0-0.
 *   4. What a consumer has pending is pending in its group with that consumer, and the other way round. */
#include "config.h"

#include "server/store/stream.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/store/stream_int.h"

#define NODE_ROOM_BYTES 4096 /* set aside for a node of a stream that grows */
#define ITEMS_ON_STACK 40

struct stream *stream_create(void) {
    return mem_calloc(1, sizeof(struct stream));
}

static void drop_node(void *arg, void *value) {
    (void)arg;
    listpack_destroy(value);
}

void stream_destroy(struct stream *s) {
    while (s->groups.count > 0)
        stream_group_destroy(s, stream_group_at(s, s->groups.count - 1));
    mem_free(s->groups.at);
    id_tree_clear(&s->nodes, drop_node, NULL);
    mem_free(s);
}

/* ---- nodes ---- */

uint64_t stream_node_int(const struct listpack *lp, uint32_t at) {
    return (uint64_t)listpack_get(lp, at).i;
}

struct stream_node stream_node_open(struct stream_id master, const struct listpack *lp) {
    struct stream_node n = {.master = master, .lp = lp, .valid_at = LISTPACK_HEADER_BYTES};
    n.deleted_at = listpack_skip(lp, n.valid_at);
    uint32_t at = listpack_skip(lp, n.deleted_at);
    n.valid = stream_node_int(lp, n.valid_at);
    n.deleted = stream_node_int(lp, n.deleted_at);
    n.fields = stream_node_int(lp, at);
    n.fields_at = at = listpack_skip(lp, at);
    for (uint64_t i = 0; i < n.fields; i++)
        at = listpack_skip(lp, at);
    n.entries_at = listpack_skip(lp, at); /* behind the 0 */
    return n;
}

bool stream_node_entry(const struct stream_node *n, uint32_t at, struct stream_entry *ret_entry) {
    const struct listpack *lp = n->lp;
    if (*listpack_ptr(lp, at) == LISTPACK_END)
        return false;
    ret_entry->at = at;
    ret_entry->flags = stream_node_int(lp, at);
    at = listpack_skip(lp, at);
    ret_entry->id.ms = n->master.ms + stream_node_int(lp, at);
    at = listpack_skip(lp, at);
    ret_entry->id.seq = n->master.seq + stream_node_int(lp, at);
    at = listpack_skip(lp, at);
    if (ret_entry->flags & ENTRY_SAME_FIELDS) {
        ret_entry->fields = n->fields;
        ret_entry->items = n->fields;
    } else {
        ret_entry->fields = stream_node_int(lp, at);
        ret_entry->items = 2 * ret_entry->fields;
        at = listpack_skip(lp, at);
    }
    ret_entry->items_at = at;
    return true;
}

uint32_t stream_entry_skip(const struct stream_node *n, const struct stream_entry *e) {
    uint32_t at = e->items_at;
    for (uint64_t i = 0; i <= e->items; i++) /* the items and n */
        at = listpack_skip(n->lp, at);
    return at;
}

/* The node where an entry of this id is if anywhere. */
static bool find_entry(const struct stream *s, struct stream_id id, struct id_cursor *ret_cursor,
                       struct stream_node *ret_node, struct stream_entry *ret_entry) {
    *ret_cursor = id_tree_seek_le(&s->nodes, id);
    const struct id_item *item = id_cursor_item(ret_cursor);
    if (item == NULL)
        return false;
    *ret_node = stream_node_open(item->id, item->value);
    for (uint32_t at = ret_node->entries_at; stream_node_entry(ret_node, at, ret_entry);
         at = stream_entry_skip(ret_node, ret_entry)) {
        if (ret_entry->flags & ENTRY_DELETED)
            continue;
        int order = stream_id_compare(ret_entry->id, id);
        if (order >= 0)
            return order == 0;
    }
    return false;
}

bool stream_contains(const struct stream *s, struct stream_id id) {
    struct id_cursor cursor;
    struct stream_node node;
    struct stream_entry entry;
    return s->length != 0 && stream_id_compare(id, s->first_id) >= 0 && stream_id_compare(id, s->last_id) <= 0 &&
           find_entry(s, id, &cursor, &node, &entry);
}

bool stream_edge(const struct stream *s, bool first, struct stream_id *ret_id) {
    struct stream_iter it;
    uint64_t fields;
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, !first);
    return stream_iter_next(&it, ret_id, &fields);
}

void stream_settle_first(struct stream *s) {
    if (s->length == 0 || !stream_edge(s, true, &s->first_id))
        s->first_id = STREAM_ID_MIN;
}

/* ---- adding ---- */

bool stream_next_id(const struct stream *s, int64_t now_ms, struct stream_id *ret_id) {
    if ((uint64_t)now_ms > s->last_id.ms) {
        *ret_id = (struct stream_id){(uint64_t)now_ms, 0};
        return true;
    }
    struct stream_id id = s->last_id;
    if (!stream_id_increment(&id))
        return false;
    *ret_id = id;
    return true;
}

static uint64_t node_bytes_max(const struct collection_limits *limits) {
    int64_t n = limits->stream_node_max_bytes;
    return n <= 0 || n > STREAM_NODE_MAX_BYTES ? STREAM_NODE_MAX_BYTES : (uint64_t)n;
}

/* Whether the last node takes no entry of so many strings with so many bytes. */
static bool is_full(const struct collection_limits *limits, const struct stream_node *n, uint64_t strings,
                    uint64_t bytes) {
    if (listpack_bytes(n->lp) + bytes >= node_bytes_max(limits) ||
        listpack_bytes(n->lp) + bytes + (strings + 8) * LISTPACK_ELEMENT_OVERHEAD_BYTES > STREAM_NODE_MAX_BYTES)
        return true;
    return limits->stream_node_max_entries != 0 && n->valid + n->deleted >= (uint64_t)limits->stream_node_max_entries;
}

static bool has_fields(const struct stream_node *n, const struct slice *fields_and_values, size_t pairs) {
    if (n->fields != pairs)
        return false;
    uint32_t at = n->fields_at;
    for (size_t i = 0; i < pairs; i++, at = listpack_skip(n->lp, at))
        if (!listpack_equals(n->lp, at, fields_and_values[2 * i]))
            return false;
    return true;
}

/* Appends an entry as items. */
static int append_items(struct listpack **lp, struct stream_id master, struct stream_id id,
                        const struct slice *fields_and_values, size_t pairs, bool same) {
    struct packed_item stack[ITEMS_ON_STACK];
    size_t room = 2 * pairs + 5, n = 0;
    struct packed_item *v = room <= ITEMS_ON_STACK ? stack : mem_alloc(room * sizeof *v);
    v[n++] = packed_int(same ? ENTRY_SAME_FIELDS : 0);
    v[n++] = packed_int((int64_t)(id.ms - master.ms));
    v[n++] = packed_int((int64_t)(id.seq - master.seq));
    if (same) {
        for (size_t i = 0; i < pairs; i++)
            v[n++] = packed_bytes(fields_and_values[2 * i + 1]);
    } else {
        v[n++] = packed_int((int64_t)pairs);
        for (size_t i = 0; i < 2 * pairs; i++)
            v[n++] = packed_bytes(fields_and_values[i]);
    }
    v[n] = packed_int((int64_t)n);
    int rc = listpack_append_all(lp, v, n + 1);
    if (v != stack)
        mem_free(v);
    return rc;
}

/* A node with a master entry of one valid entry, which is still to come. */
static struct listpack *node_create(const struct stream *s, const struct collection_limits *limits, uint64_t bytes,
                                    const struct slice *fields_and_values, size_t pairs) {
    /* Where one node was filled the next will be; a stream of few entries takes what it needs. */
    uint64_t room = node_bytes_max(limits) < NODE_ROOM_BYTES ? node_bytes_max(limits) : NODE_ROOM_BYTES;
    if (s->nodes.used == 0 || room < bytes)
        room = 0;
    struct listpack *lp = listpack_create(room);
    struct packed_item stack[ITEMS_ON_STACK];
    size_t count = pairs + 4, n = 0;
    struct packed_item *v = count <= ITEMS_ON_STACK ? stack : mem_alloc(count * sizeof *v);
    v[n++] = packed_int(1);
    v[n++] = packed_int(0);
    v[n++] = packed_int((int64_t)pairs);
    for (size_t i = 0; i < pairs; i++)
        v[n++] = packed_bytes(fields_and_values[2 * i]);
    v[n++] = packed_int(0);
    if (listpack_append_all(&lp, v, n) != 0) {
        listpack_destroy(lp);
        lp = NULL;
    }
    if (v != stack)
        mem_free(v);
    return lp;
}

static int append_to_new_node(struct stream *s, const struct collection_limits *limits, uint64_t bytes,
                              struct stream_id id, const struct slice *fields_and_values, size_t pairs) {
    struct listpack *lp = node_create(s, limits, bytes, fields_and_values, pairs);
    if (lp == NULL)
        return -1;
    if (append_items(&lp, id, id, fields_and_values, pairs, true) != 0) {
        listpack_destroy(lp);
        return -1;
    }
    struct id_cursor last = id_tree_last(&s->nodes);
    struct id_item *item = id_cursor_item(&last);
    if (item != NULL)
        listpack_shrink((struct listpack **)&item->value);
    bool added = id_tree_insert(&s->nodes, id, lp);
    HF_ASSERT(added);
    return 0;
}

int stream_append(struct stream *s, const struct collection_limits *limits, struct stream_id id,
                  const struct slice *fields_and_values, size_t pairs) {
    HF_ASSERT(stream_id_compare(id, s->last_id) > 0 && pairs > 0);
    uint64_t bytes = 0;
    for (size_t i = 0; i < 2 * pairs; i++)
        bytes += fields_and_values[i].n;
    if (bytes > STREAM_NODE_MAX_BYTES)
        return -1;
    struct id_cursor last = id_tree_last(&s->nodes);
    struct id_item *item = id_cursor_item(&last);
    struct stream_node node;
    if (item != NULL)
        node = stream_node_open(item->id, item->value);
    if (item == NULL || is_full(limits, &node, 2 * pairs, bytes)) {
        if (append_to_new_node(s, limits, bytes, id, fields_and_values, pairs) != 0)
            return -1;
    } else {
        struct listpack *lp = item->value;
        int rc = append_items(&lp, item->id, id, fields_and_values, pairs, has_fields(&node, fields_and_values, pairs));
        HF_ASSERT(rc == 0); /* is_full() has seen to the room */
        rc = listpack_replace(&lp, node.valid_at, packed_int((int64_t)(node.valid + 1)));
        HF_ASSERT(rc == 0);
        item->value = lp;
    }
    s->entries_added++;
    s->last_id = id;
    if (s->length++ == 0)
        s->first_id = id;
    return 0;
}

/* ---- deleting and trimming ---- */

/* Marks entries of a node as deleted; the node goes with its last valid one. */
struct node_change {
    struct stream *s;
    struct id_item *item;
    uint64_t valid, deleted;
};

static void mark_deleted(struct node_change *k, uint32_t at, uint64_t flags) {
    struct listpack *lp = k->item->value;
    int rc = listpack_replace(&lp, at, packed_int((int64_t)(flags | ENTRY_DELETED))); /* one byte as before */
    HF_ASSERT(rc == 0);
    k->item->value = lp;
    k->valid--;
    k->deleted++;
}

static void write_counts(struct node_change *k) {
    struct listpack *lp = k->item->value;
    if (k->valid == 0) {
        (void)id_tree_remove(&k->s->nodes, k->item->id);
        listpack_destroy(lp);
        return;
    }
    uint32_t at = LISTPACK_HEADER_BYTES;
    int rc = listpack_replace(&lp, at, packed_int((int64_t)k->valid));
    HF_ASSERT(rc == 0);
    rc = listpack_replace(&lp, listpack_skip(lp, at), packed_int((int64_t)k->deleted));
    HF_ASSERT(rc == 0); /* STREAM_NODE_MAX_BYTES leaves room for longer counts */
    k->item->value = lp;
}

bool stream_delete(struct stream *s, struct stream_id id) {
    struct id_cursor cursor;
    struct stream_node node;
    struct stream_entry entry;
    if (s->length == 0 || !find_entry(s, id, &cursor, &node, &entry))
        return false;
    struct node_change k = {s, id_cursor_item(&cursor), node.valid, node.deleted};
    mark_deleted(&k, entry.at, entry.flags);
    write_counts(&k);
    s->length--;
    if (stream_id_compare(id, s->first_id) == 0)
        stream_settle_first(s);
    if (stream_id_compare(id, s->max_deleted_id) > 0)
        s->max_deleted_id = id;
    return true;
}

static void drop_references(struct stream *s, struct stream_id id) {
    for (size_t i = 0; i < s->groups.count; i++)
        (void)stream_pending_remove(s, stream_group_at(s, i), id);
}

/* The last entry of a node, deleted or not. */
static struct stream_id last_of(const struct stream_node *n) {
    uint32_t at = listpack_last(n->lp);
    for (uint64_t left = stream_node_int(n->lp, at); left > 0; left--)
        at = listpack_prev(n->lp, at);
    struct stream_entry e;
    bool there = stream_node_entry(n, at, &e);
    HF_ASSERT(there);
    return e.id;
}

static bool stays(const struct stream *s, const struct stream_trim *t, struct stream_id id) {
    return t->by_id ? stream_id_compare(id, t->min_id) >= 0 : s->length <= t->max_length;
}

static void announce(struct stream *s, const struct stream_trim *t, struct stream_id id) {
    if (t->each != NULL)
        t->each(t->arg, id);
    if (t->refs == STREAM_DELREF)
        drop_references(s, id);
}

/* Of a node that goes as a whole: nothing is written. */
static void announce_node(struct stream *s, const struct stream_trim *t, const struct stream_node *n) {
    struct stream_entry e;
    for (uint32_t at = n->entries_at; stream_node_entry(n, at, &e); at = stream_entry_skip(n, &e))
        if (!(e.flags & ENTRY_DELETED))
            announce(s, t, e.id);
}

/* Deletes entries of the first node as long as they are to go. */
static uint64_t trim_inside(struct stream *s, const struct stream_trim *t, struct id_item *item,
                            const struct stream_node *n) {
    struct node_change k = {s, item, n->valid, n->deleted};
    struct stream_entry e;
    uint64_t gone = 0;
    for (uint32_t at = n->entries_at; stream_node_entry(n, at, &e); at = stream_entry_skip(n, &e)) {
        if (e.flags & ENTRY_DELETED)
            continue;
        if (stays(s, t, e.id))
            break;
        if (t->refs != STREAM_KEEPREF)
            announce(s, t, e.id);
        mark_deleted(&k, e.at, e.flags);
        s->length--;
        gone++;
    }
    if (gone != 0)
        write_counts(&k);
    return gone;
}

/* Entries that groups still need stay where they are, so whole nodes are of no interest: each entry that is due is
 * looked at. An approximate trim is exact here. */
static uint64_t trim_acknowledged(struct stream *s, const struct stream_trim *t) {
    struct stream_iter it;
    struct stream_id id;
    uint64_t fields, due = 0, seen = 0, gone = 0, cap = 0;
    struct stream_id *ids = NULL;
    uint64_t excess = !t->by_id && s->length > t->max_length ? s->length - t->max_length : 0;
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_iter_next(&it, &id, &fields)) {
        bool due_now = t->by_id ? stream_id_compare(id, t->min_id) < 0 : seen < excess;
        if (!due_now || (t->limit != 0 && due >= t->limit))
            break;
        seen++;
        if (stream_is_referenced(s, id))
            continue;
        if (due == cap) {
            cap = cap != 0 ? 2 * cap : 64;
            ids = mem_realloc(ids, cap * sizeof *ids);
        }
        ids[due++] = id;
    }
    for (uint64_t i = 0; i < due; i++) {
        announce(s, t, ids[i]);
        gone += stream_delete(s, ids[i]);
    }
    mem_free(ids);
    return gone;
}

uint64_t stream_trim(struct stream *s, const struct stream_trim *t) {
    uint64_t gone = 0;
    if (t->refs == STREAM_ACKED)
        return trim_acknowledged(s, t);
    while (s->nodes.used != 0) {
        if (!t->by_id && s->length <= t->max_length)
            break;
        struct id_cursor c = id_tree_first(&s->nodes);
        struct id_item *item = id_cursor_item(&c);
        struct stream_node n = stream_node_open(item->id, item->value);
        if (t->limit != 0 && gone + n.valid > t->limit)
            break;
        bool whole = t->by_id ? stream_id_compare(last_of(&n), t->min_id) < 0 : s->length - n.valid >= t->max_length;
        if (whole) {
            if (t->refs != STREAM_KEEPREF)
                announce_node(s, t, &n);
            s->length -= n.valid;
            gone += n.valid;
            void *lp = id_tree_remove(&s->nodes, item->id);
            listpack_destroy(lp);
            continue;
        }
        if (!t->approximate)
            gone += trim_inside(s, t, item, &n);
        break;
    }
    if (gone != 0)
        stream_settle_first(s);
    return gone;
}

/* ---- walking ---- */

void stream_iter_init(struct stream_iter *it, const struct stream *s, struct stream_id start, struct stream_id end,
                      bool reverse) {
    *it = (struct stream_iter){.start = start, .end = end, .reverse = reverse};
    struct stream_id from = reverse ? end : start;
    it->node = id_tree_seek_le(&s->nodes, from);
    if (it->node.leaf == NULL && !reverse)
        it->node = id_tree_first(&s->nodes);
}

static bool enter_node(struct stream_iter *it) {
    const struct id_item *item = id_cursor_item(&it->node);
    if (item == NULL || (!it->reverse && stream_id_compare(item->id, it->end) > 0))
        return false;
    struct stream_node n = stream_node_open(item->id, item->value);
    it->lp = n.lp;
    it->master = n.master;
    it->master_fields = n.fields;
    it->master_fields_at = n.fields_at;
    it->entries_at = n.entries_at;
    it->at = it->reverse ? listpack_bytes(n.lp) - 1 : n.entries_at;
    it->left = 0;
    return true;
}

/* Steps to where the next entry begins; false where the node has no more. */
static inline bool step(struct stream_iter *it) {
    if (it->reverse) {
        if (it->at == it->entries_at)
            return false;
        uint32_t at = listpack_prev(it->lp, it->at);
        for (uint64_t n = stream_node_int(it->lp, at); n > 0; n--)
            at = listpack_prev(it->lp, at);
        it->at = at;
        return true;
    }
    for (; it->left > 0; it->left--)
        it->at = listpack_skip(it->lp, it->at);
    return *listpack_ptr(it->lp, it->at) != LISTPACK_END;
}

bool stream_iter_next(struct stream_iter *it, struct stream_id *ret_id, uint64_t *ret_fields) {
    for (;;) {
        if (it->lp == NULL && !enter_node(it))
            return false;
        if (!step(it)) {
            it->lp = NULL;
            if (it->reverse)
                id_cursor_prev(&it->node);
            else
                id_cursor_next(&it->node);
            continue;
        }
        const struct stream_node n = {.master = it->master, .lp = it->lp, .fields = it->master_fields};
        struct stream_entry e;
        (void)stream_node_entry(&n, it->at, &e);
        it->value_at = e.items_at;
        if (!it->reverse) {
            it->at = e.items_at;
            it->left = e.items + 1;
        }
        if (e.flags & ENTRY_DELETED)
            continue;
        if (stream_id_compare(e.id, it->start) < 0) {
            if (it->reverse)
                return false;
            continue;
        }
        if (stream_id_compare(e.id, it->end) > 0) {
            if (!it->reverse)
                return false;
            continue;
        }
        it->same_fields = (e.flags & ENTRY_SAME_FIELDS) != 0;
        it->field_at = it->master_fields_at;
        *ret_id = e.id;
        *ret_fields = e.fields;
        return true;
    }
}

void stream_iter_field(struct stream_iter *it, struct packed_item *ret_field, struct packed_item *ret_value) {
    uint32_t at = it->value_at;
    if (it->same_fields) {
        *ret_field = listpack_get(it->lp, it->field_at);
        it->field_at = listpack_skip(it->lp, it->field_at);
    } else {
        *ret_field = listpack_get(it->lp, at);
        at = listpack_skip(it->lp, at);
    }
    *ret_value = listpack_get(it->lp, at);
    it->value_at = listpack_skip(it->lp, at);
    if (!it->reverse) { /* what is read need not be walked over again */
        it->left -= it->same_fields ? 1 : 2;
        it->at = it->value_at;
    }
}
