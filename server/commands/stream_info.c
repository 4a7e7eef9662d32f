/* XINFO STREAM | GROUPS | CONSUMERS | HELP */
#include "config.h"

#include "server/commands/rows.h"
#include "server/commands/stream_int.h"

#define FULL_COUNT 10

static void put_int(struct call *c, const char *name, int64_t v) {
    resp_bulk_cstr(c->w, name);
    resp_int(c->w, v);
}

static void put_id(struct call *c, const char *name, struct stream_id id) {
    resp_bulk_cstr(c->w, name);
    stream_reply_id(c, id);
}

static void put_entries_read(struct call *c, const struct stream_group *g) {
    resp_bulk_cstr(c->w, "entries-read");
    if (g->entries_read != STREAM_ENTRIES_READ_UNKNOWN)
        resp_int(c->w, g->entries_read);
    else
        resp_null(c->w);
}

static void put_lag(struct call *c, const struct stream *s, const struct stream_group *g) {
    int64_t lag;
    resp_bulk_cstr(c->w, "lag");
    if (stream_group_lag(s, g, &lag))
        resp_int(c->w, lag);
    else
        resp_null(c->w);
}

/* The stream of argv[2]. */
static bool find_stream(struct call *c, struct stream **ret_stream) {
    struct keyref key = call_key(c, 2);
    if (!stream_find_read(c, &key, ret_stream))
        return false;
    if (*ret_stream == NULL)
        call_error_no_key(c);
    return *ret_stream != NULL;
}

/* ---- STREAM ---- */

static void put_common(struct call *c, const struct stream *s) {
    put_int(c, "length", (int64_t)s->length);
    put_int(c, "radix-tree-keys", (int64_t)s->nodes.used);
    put_int(c, "radix-tree-nodes", (int64_t)id_tree_radix_nodes(&s->nodes));
    put_id(c, "last-generated-id", s->last_id);
    put_id(c, "max-deleted-entry-id", s->max_deleted_id);
    put_int(c, "entries-added", (int64_t)s->entries_added);
    put_id(c, "recorded-first-entry-id", s->first_id);
}

static void put_edge(struct call *c, const struct stream *s, const char *name, bool reverse) {
    struct stream_iter it;
    struct stream_id id;
    uint64_t fields;
    resp_bulk_cstr(c->w, name);
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, reverse);
    if (stream_iter_next(&it, &id, &fields))
        stream_reply_entry(c, &it, id, fields);
    else
        resp_null(c->w);
}

static void put_group_pending(struct call *c, const struct stream_group *g, size_t count) {
    size_t n = count == 0 || count > g->pending.used ? g->pending.used : count;
    resp_bulk_cstr(c->w, "pending");
    resp_array(c->w, n);
    struct id_cursor at = id_tree_first(&g->pending);
    for (; n > 0; n--, id_cursor_next(&at)) {
        const struct stream_pending *p = id_cursor_item(&at)->value;
        resp_array(c->w, 4);
        stream_reply_id(c, id_cursor_item(&at)->id);
        resp_bulk(c->w, p->consumer->name);
        resp_int(c->w, p->delivered_ms);
        resp_int(c->w, (int64_t)p->deliveries);
    }
}

static void put_consumer(struct call *c, const struct stream_consumer *consumer, size_t count) {
    size_t n = count == 0 || count > consumer->pending.used ? consumer->pending.used : count;
    resp_map(c->w, 5);
    resp_bulk_cstr(c->w, "name");
    resp_bulk(c->w, consumer->name);
    put_int(c, "seen-time", consumer->seen_ms);
    put_int(c, "active-time", consumer->active_ms);
    put_int(c, "pel-count", (int64_t)consumer->pending.used);
    resp_bulk_cstr(c->w, "pending");
    resp_array(c->w, n);
    struct id_cursor at = id_tree_first(&consumer->pending);
    for (; n > 0; n--, id_cursor_next(&at)) {
        const struct stream_pending *p = id_cursor_item(&at)->value;
        resp_array(c->w, 3);
        stream_reply_id(c, id_cursor_item(&at)->id);
        resp_int(c->w, p->delivered_ms);
        resp_int(c->w, (int64_t)p->deliveries);
    }
}

static void put_group(struct call *c, const struct stream *s, const struct stream_group *g, size_t count) {
    resp_map(c->w, 7);
    resp_bulk_cstr(c->w, "name");
    resp_bulk(c->w, g->name);
    put_id(c, "last-delivered-id", g->last_id);
    put_entries_read(c, g);
    put_lag(c, s, g);
    put_int(c, "pel-count", (int64_t)g->pending.used);
    put_group_pending(c, g, count);
    resp_bulk_cstr(c->w, "consumers");
    resp_array(c->w, g->consumers.count);
    for (size_t i = 0; i < g->consumers.count; i++)
        put_consumer(c, stream_consumer_at(g, i), count);
}

static void reply_full(struct call *c, const struct stream *s, size_t count) {
    resp_map(c->w, 9);
    put_common(c, s);
    resp_bulk_cstr(c->w, "entries");
    (void)stream_reply_range(c, s, STREAM_ID_MIN, STREAM_ID_MAX, count, false);
    resp_bulk_cstr(c->w, "groups");
    resp_array(c->w, s->groups.count);
    for (size_t i = 0; i < s->groups.count; i++)
        put_group(c, s, stream_group_at(s, i), count);
}

static void stream_run(struct call *c) {
    struct stream *s;
    int64_t count = FULL_COUNT;
    if (!find_stream(c, &s))
        return;
    if (c->argc == 3) {
        resp_map(c->w, 10);
        put_common(c, s);
        put_int(c, "groups", (int64_t)s->groups.count);
        put_edge(c, s, "first-entry", false);
        put_edge(c, s, "last-entry", true);
        return;
    }
    if (!slice_is(c->argv[3], "full") || (c->argc != 4 && c->argc != 6) ||
        (c->argc == 6 && !slice_is(c->argv[4], "count"))) {
        call_error_subcommand(c);
        return;
    }
    if (c->argc == 6 && !call_arg_i64(c, 5, &count))
        return;
    reply_full(c, s, count < 0 ? FULL_COUNT : (size_t)count);
}

/* ---- GROUPS, CONSUMERS ---- */

static void groups_run(struct call *c) {
    struct stream *s;
    if (!find_stream(c, &s))
        return;
    resp_array(c->w, s->groups.count);
    for (size_t i = 0; i < s->groups.count; i++) {
        const struct stream_group *g = stream_group_at(s, i);
        resp_map(c->w, 6);
        resp_bulk_cstr(c->w, "name");
        resp_bulk(c->w, g->name);
        put_int(c, "consumers", (int64_t)g->consumers.count);
        put_int(c, "pending", (int64_t)g->pending.used);
        put_id(c, "last-delivered-id", g->last_id);
        put_entries_read(c, g);
        put_lag(c, s, g);
    }
}

static int64_t since(int64_t now_ms, int64_t then_ms) {
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static void consumers_run(struct call *c) {
    struct stream *s;
    if (!find_stream(c, &s))
        return;
    const struct stream_group *g = stream_group_find(s, c->argv[3]);
    if (g == NULL) {
        call_errorf(c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'", (int)c->argv[3].n, c->argv[3].p,
                    (int)c->argv[2].n, c->argv[2].p);
        return;
    }
    const int64_t now_ms = call_now_ms(c);
    resp_array(c->w, g->consumers.count);
    for (size_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *consumer = stream_consumer_at(g, i);
        resp_map(c->w, 4);
        resp_bulk_cstr(c->w, "name");
        resp_bulk(c->w, consumer->name);
        put_int(c, "pending", (int64_t)consumer->pending.used);
        put_int(c, "idle", since(now_ms, consumer->seen_ms));
        put_int(c, "inactive", consumer->active_ms == STREAM_NEVER ? STREAM_NEVER : since(now_ms, consumer->active_ms));
    }
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "CONSUMERS <key> <groupname>",
        "    The consumers of a group.",
        "GROUPS <key>",
        "    The groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    A stream's figures and its ends; with FULL, what is in it.",
        NULL,
    };
    call_reply_help(c, lines);
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

#define INFO_ROW(name_, arity_, run_)                                                                                  \
    .name = (name_), .group = "stream", .since = "5.0.0", .arity = (arity_), .flags = COMMAND_READONLY,                \
    .acl = ACL_STREAM, .keys = {ROW_KEYS(KEY_RO | KEY_ACCESS, 2, 0, 1)}, .run = (run_)

static const struct command subcommands[] = {
    {INFO_ROW("consumers", 4, consumers_run), .tips = nondeterministic},
    {INFO_ROW("groups", 3, groups_run)},
    {.name = "help",
     .group = "stream",
     .since = "5.0.0",
     .arity = 2,
     .flags = COMMAND_LOADING | COMMAND_STALE,
     .acl = ACL_STREAM,
     .run = help_run},
    {INFO_ROW("stream", -3, stream_run)},
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "xinfo", .group = "stream", .since = "5.0.0", .arity = -2, .subcommands = subcommands},
};

void stream_info_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
