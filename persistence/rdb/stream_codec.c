/* Streams: RDB types 15, 19 (with the first id, the greatest deleted one and counters) and 21 (with the time at which a
 * consumer was last given something).
 *
 * Count of nodes, each its id in 16 bytes and its listpack; length; last id; [first id, greatest deleted id, entries
 * ever added]; groups: name, last id, [entries read], pending entries (id, time of delivery, deliveries), consumers:
 * name, time seen, [time active], ids of their pending entries.
 *
 * What is read is always verified as a whole, entry by entry: an entry is walked by what it says about itself. */
#include "config.h"

#include "persistence/rdb/codec.h"

#include <inttypes.h>

#include "server/base/mem.h"
#include "server/store/stream.h"

#define VERSION_ACTIVE_TIME 11 /* type 21 */

static unsigned stream_min_version(const struct entry *e) {
    (void)e;
    return RDB_VERSION_MIN;
}

static uint8_t stream_wire_type(const struct entry *e, unsigned version) {
    (void)e;
    return version >= VERSION_ACTIVE_TIME ? RDB_TYPE_STREAM_LISTPACKS_3 : RDB_TYPE_STREAM_LISTPACKS_2;
}

/* ---- saving ---- */

static void write_id(struct rdb_writer *w, struct stream_id id) {
    rdb_write_len(w, id.ms);
    rdb_write_len(w, id.seq);
}

static void write_raw_id(struct rdb_writer *w, struct stream_id id) {
    unsigned char raw[STREAM_ID_BYTES];
    stream_id_store(raw, id);
    rdb_write(w, raw, sizeof raw);
}

static void save_group(struct rdb_writer *w, const struct stream_group *g, bool active_time, bool compress) {
    rdb_write_string(w, g->name, compress);
    write_id(w, g->last_id);
    rdb_write_len(w, (uint64_t)g->entries_read);
    rdb_write_len(w, g->pending.used);
    for (struct id_cursor at = id_tree_first(&g->pending); id_cursor_item(&at) != NULL; id_cursor_next(&at)) {
        const struct stream_pending *p = id_cursor_item(&at)->value;
        write_raw_id(w, id_cursor_item(&at)->id);
        rdb_write_u64(w, (uint64_t)p->delivered_ms);
        rdb_write_len(w, p->deliveries);
    }
    rdb_write_len(w, g->consumers.count);
    for (size_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        rdb_write_string(w, c->name, compress);
        rdb_write_u64(w, (uint64_t)c->seen_ms);
        if (active_time)
            rdb_write_u64(w, (uint64_t)c->active_ms);
        rdb_write_len(w, c->pending.used);
        for (struct id_cursor at = id_tree_first(&c->pending); id_cursor_item(&at) != NULL; id_cursor_next(&at))
            write_raw_id(w, id_cursor_item(&at)->id);
    }
}

static void stream_save(struct rdb_writer *w, const struct entry *e, unsigned version, bool compress) {
    const struct stream *s = entry_object(e);
    rdb_write_len(w, s->nodes.used);
    for (struct id_cursor at = id_tree_first(&s->nodes); id_cursor_item(&at) != NULL; id_cursor_next(&at)) {
        unsigned char raw[STREAM_ID_BYTES];
        stream_id_store(raw, id_cursor_item(&at)->id);
        rdb_write_blob(w, slice_of(raw, sizeof raw), false);
        rdb_write_blob(w, listpack_slice(id_cursor_item(&at)->value), compress);
    }
    rdb_write_len(w, s->length);
    write_id(w, s->last_id);
    write_id(w, s->first_id);
    write_id(w, s->max_deleted_id);
    rdb_write_len(w, s->entries_added);
    rdb_write_len(w, s->groups.count);
    for (size_t i = 0; i < s->groups.count; i++)
        save_group(w, stream_group_at(s, i), version >= VERSION_ACTIVE_TIME, compress);
}

/* ---- loading ---- */

static int read_id(struct rdb_reader *r, struct stream_id *ret_id) {
    return rdb_read_len(r, &ret_id->ms) != 0 || rdb_read_len(r, &ret_id->seq) != 0 ? -1 : 0;
}

static int read_raw_id(struct rdb_reader *r, struct stream_id *ret_id) {
    unsigned char raw[STREAM_ID_BYTES];
    if (rdb_read(r, raw, sizeof raw) != 0)
        return -1;
    *ret_id = stream_id_load(raw);
    return 0;
}

static int load_nodes(struct rdb_reader *r, struct stream *s) {
    uint64_t nodes;
    if (rdb_read_count(r, STREAM_ID_BYTES + 2, &nodes) != 0)
        return -1;
    for (; nodes > 0; nodes--) {
        char digits[24];
        struct slice b;
        uint64_t at = rdb_reader_offset(r);
        if (rdb_read_bytes(r, digits, &b) != 0)
            return -1;
        if (b.n != STREAM_ID_BYTES)
            return rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "the name of a stream's node has %zu bytes", b.n);
        struct stream_id master = stream_id_load(b.p);
        at = rdb_reader_offset(r);
        if (rdb_read_bytes(r, digits, &b) != 0)
            return -1;
        const char *why = stream_load_node(s, master, b);
        if (why != NULL)
            return rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "%s", why);
    }
    return 0;
}

static int load_figures(struct rdb_reader *r, unsigned type, struct stream *s) {
    uint64_t length;
    struct stream_id last, first;
    if (rdb_read_len(r, &length) != 0 || read_id(r, &last) != 0)
        return -1;
    if (length != s->length)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a stream states %" PRIu64 " entries and holds %" PRIu64, length,
                               s->length);
    if (s->length != 0 && stream_id_compare(last, s->last_id) < 0)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "the last id of a stream is below an entry's");
    s->last_id = last;
    s->entries_added = length;
    if (!stream_edge(s, true, &s->first_id))
        s->first_id = STREAM_ID_MIN;
    if (type == RDB_TYPE_STREAM_LISTPACKS)
        return 0;
    /* The first id is known better from the entries. */
    if (read_id(r, &first) != 0 || read_id(r, &s->max_deleted_id) != 0 || rdb_read_len(r, &s->entries_added) != 0)
        return -1;
    return 0;
}

static int load_pending(struct rdb_reader *r, struct stream *s, struct stream_group *g) {
    uint64_t n;
    if (rdb_read_count(r, STREAM_ID_BYTES + 9, &n) != 0)
        return -1;
    for (; n > 0; n--) {
        struct stream_id id;
        uint64_t delivered_ms, deliveries;
        if (read_raw_id(r, &id) != 0 || rdb_read_u64(r, &delivered_ms) != 0 || rdb_read_len(r, &deliveries) != 0)
            return -1;
        struct stream_pending *p = stream_pending_load(s, g, id);
        if (p == NULL)
            return rdb_reader_fail(r, RDB_ERR_FORMAT, "a pending entry of a stream is there twice");
        p->delivered_ms = (int64_t)delivered_ms;
        p->deliveries = deliveries;
    }
    return 0;
}

static int load_consumer(struct rdb_reader *r, unsigned type, struct stream_group *g) {
    char digits[24];
    struct slice name;
    uint64_t seen_ms, active_ms, n;
    if (rdb_read_bytes(r, digits, &name) != 0)
        return -1;
    struct stream_consumer *c = stream_consumer_create(g, name, 0);
    if (c == NULL)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a consumer of a stream is there twice");
    if (rdb_read_u64(r, &seen_ms) != 0)
        return -1;
    active_ms = seen_ms;
    if (type == RDB_TYPE_STREAM_LISTPACKS_3 && rdb_read_u64(r, &active_ms) != 0)
        return -1;
    c->seen_ms = (int64_t)seen_ms;
    c->active_ms = (int64_t)active_ms;
    if (rdb_read_count(r, STREAM_ID_BYTES, &n) != 0)
        return -1;
    for (; n > 0; n--) {
        struct stream_id id;
        if (read_raw_id(r, &id) != 0)
            return -1;
        if (!stream_pending_own(g, c, id))
            return rdb_reader_fail(r, RDB_ERR_FORMAT,
                                   "what a consumer of a stream has pending its group has not, or another consumer");
    }
    return 0;
}

static int load_group(struct rdb_reader *r, unsigned type, struct stream *s) {
    char digits[24];
    struct slice name;
    struct stream_id last;
    uint64_t entries_read = (uint64_t)STREAM_ENTRIES_READ_UNKNOWN, consumers;
    size_t owned = 0;
    if (rdb_read_bytes(r, digits, &name) != 0)
        return -1;
    struct stream_group *g = stream_group_create(s, name, STREAM_ID_MIN, STREAM_ENTRIES_READ_UNKNOWN);
    if (g == NULL)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a group of a stream is there twice");
    if (read_id(r, &last) != 0 || (type != RDB_TYPE_STREAM_LISTPACKS && rdb_read_len(r, &entries_read) != 0))
        return -1;
    g->last_id = last;
    g->entries_read = type != RDB_TYPE_STREAM_LISTPACKS ? (int64_t)entries_read : stream_entries_up_to(s, last);
    if (load_pending(r, s, g) != 0 || rdb_read_count(r, 10, &consumers) != 0)
        return -1;
    for (; consumers > 0; consumers--)
        if (load_consumer(r, type, g) != 0)
            return -1;
    for (size_t i = 0; i < g->consumers.count; i++)
        owned += stream_consumer_at(g, i)->pending.used;
    if (owned != g->pending.used)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a group of a stream has entries pending that no consumer has");
    return 0;
}

static int load_all(struct rdb_reader *r, unsigned type, struct stream *s) {
    uint64_t groups;
    if (load_nodes(r, s) != 0 || load_figures(r, type, s) != 0 || rdb_read_count(r, 5, &groups) != 0)
        return -1;
    for (; groups > 0; groups--)
        if (load_group(r, type, s) != 0)
            return -1;
    return 0;
}

/* Pending entries without a consumer are freed with their group, whoever owns them. */
static int stream_load(struct rdb_reader *r, unsigned rdb_type, const struct rdb_load_context *with,
                       struct value *ret_value) {
    (void)with;
    struct stream *s = stream_create();
    if (load_all(r, rdb_type, s) != 0) {
        stream_destroy(s);
        return -1;
    }
    *ret_value =
        (struct value){.type = VALUE_STREAM, .encoding = VALUE_ENC_STREAM, .repr = VALUE_REPR_OBJECT, .u.object = s};
    return 0;
}

const struct rdb_value_codec rdb_stream_codec = {
    .type = VALUE_STREAM,
    .loads = UINT64_C(1) << RDB_TYPE_STREAM_LISTPACKS | UINT64_C(1) << RDB_TYPE_STREAM_LISTPACKS_2 |
             UINT64_C(1) << RDB_TYPE_STREAM_LISTPACKS_3,
    .min_version = stream_min_version,
    .wire_type = stream_wire_type,
    .save = stream_save,
    .load = stream_load,
};
