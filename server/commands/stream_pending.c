/* What is delivered and not acknowledged: XACK XPENDING. */
#include "config.h"

#include "server/base/mem.h"
#include "server/commands/rows.h"
#include "server/commands/stream_int.h"

static void xack_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct stream *s;
    if (!stream_find_read(c, &key, &s))
        return;
    struct stream_group *g = s != NULL ? stream_group_find(s, c->argv[2]) : NULL;
    if (g == NULL) {
        resp_int(c->w, 0);
        return;
    }
    size_t n = (size_t)(c->argc - 3);
    struct stream_id *ids = mem_alloc(n * sizeof *ids);
    int64_t acked = 0;
    for (size_t i = 0; i < n; i++) {
        if (!stream_arg_strict_id(c, 3 + (int)i, 0, &ids[i], NULL)) {
            mem_free(ids);
            return;
        }
    }
    for (size_t i = 0; i < n; i++)
        acked += stream_pending_remove(s, g, ids[i]);
    mem_free(ids);
    if (acked != 0)
        call_changed_unwatched(c, &key, false);
    resp_int(c->w, acked);
}

struct pending_options {
    bool is_range;
    int64_t min_idle_ms, count;
    struct stream_id start, end;
    int consumer_arg; /* 0: all */
};

static bool parse_pending(struct call *c, struct pending_options *o) {
    *o = (struct pending_options){.is_range = c->argc != 3};
    if (!o->is_range)
        return true;
    int at = 3;
    if (c->argc < 6 || c->argc > 9) {
        call_error_syntax(c);
        return false;
    }
    if (slice_is(c->argv[3], "idle")) {
        if (!call_arg_i64(c, 4, &o->min_idle_ms))
            return false;
        if (c->argc < 8) {
            call_error_syntax(c);
            return false;
        }
        at = 5;
    }
    if (!call_arg_i64(c, at + 2, &o->count))
        return false;
    if (o->count < 0)
        o->count = 0;
    if (!stream_arg_start(c, at, &o->start) || !stream_arg_end(c, at + 1, &o->end))
        return false;
    if (at + 3 < c->argc)
        o->consumer_arg = at + 3;
    return true;
}

/* How many, the ends, and how many each consumer has. */
static void reply_summary(struct call *c, const struct stream_group *g) {
    resp_array(c->w, 4);
    resp_int(c->w, (int64_t)g->pending.used);
    if (g->pending.used == 0) {
        resp_null(c->w);
        resp_null(c->w);
        resp_null_array(c->w);
        return;
    }
    struct id_cursor first = id_tree_first(&g->pending), last = id_tree_last(&g->pending);
    stream_reply_id(c, id_cursor_item(&first)->id);
    stream_reply_id(c, id_cursor_item(&last)->id);
    struct outq_hole hole = resp_open(c->w);
    size_t n = 0;
    for (size_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *consumer = stream_consumer_at(g, i);
        if (consumer->pending.used == 0)
            continue;
        resp_array(c->w, 2);
        resp_bulk(c->w, consumer->name);
        resp_bulk_i64(c->w, (int64_t)consumer->pending.used);
        n++;
    }
    resp_close_array(c->w, hole, n);
}

static void reply_pending(struct call *c, const struct pending_options *o, const struct stream_group *g) {
    const struct stream_consumer *consumer = NULL;
    int64_t n = 0;
    if (o->consumer_arg != 0) {
        consumer = stream_consumer_find(g, c->argv[o->consumer_arg]);
        if (consumer == NULL) {
            resp_array(c->w, 0);
            return;
        }
    }
    struct outq_hole hole = resp_open(c->w);
    struct id_cursor at = id_tree_seek_ge(consumer != NULL ? &consumer->pending : &g->pending, o->start);
    for (const struct id_item *item; n < o->count && (item = id_cursor_item(&at)) != NULL; id_cursor_next(&at)) {
        if (stream_id_compare(item->id, o->end) > 0)
            break;
        const struct stream_pending *p = item->value;
        int64_t idle_ms = call_now_ms(c) - p->delivered_ms;
        if (o->min_idle_ms != 0 && idle_ms < o->min_idle_ms)
            continue;
        resp_array(c->w, 4);
        stream_reply_id(c, item->id);
        resp_bulk(c->w, p->consumer->name);
        resp_int(c->w, idle_ms > 0 ? idle_ms : 0);
        resp_int(c->w, (int64_t)p->deliveries);
        n++;
    }
    resp_close_array(c->w, hole, (size_t)n);
}

static void xpending_run(struct call *c) {
    struct pending_options o;
    struct stream *s;
    if (!parse_pending(c, &o))
        return;
    struct keyref key = call_key(c, 1);
    if (!stream_find_read(c, &key, &s))
        return;
    const struct stream_group *g = s != NULL ? stream_group_find(s, c->argv[2]) : NULL;
    if (g == NULL)
        stream_error_no_group(c, c->argv[1], c->argv[2]);
    else if (o.is_range)
        reply_pending(c, &o, g);
    else
        reply_summary(c, g);
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "xack",
     .group = "stream",
     .since = "5.0.0",
     .arity = -4,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .run = xack_run},
    {.name = "xpending",
     .group = "stream",
     .since = "5.0.0",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = nondeterministic,
     .run = xpending_run},
};

void stream_pending_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
