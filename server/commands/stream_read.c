/* Entries behind an id, of several streams, waiting for them where there are none: XREAD XREADGROUP. */
#include "config.h"

#include "server/commands/stream_int.h"

#include "server/base/buf.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"

struct read_options {
    bool is_group, noack, blocks;
    int64_t timeout_ms, count; /* 0: for ever; all */
    int group_arg;             /* 0: none */
    int streams_arg;
    size_t streams;
};

/* One stream of the request. */
struct source {
    struct keyref key;
    struct stream *s;
    struct stream_group *group;
    struct stream_id after;
    bool only_new; /* ">" */
    bool dollar;   /* "$": `after` is what it meant */
};

#define SOURCES_ON_STACK 8

static bool parse_timeout(struct call *c, int i, int64_t *ret_ms) {
    int64_t sum;
    if (!call_arg_i64_range(c, i, INT64_MIN, INT64_MAX, "ERR timeout is not an integer or out of range", ret_ms))
        return false;
    if (*ret_ms < 0) {
        call_error(c, "ERR timeout is negative");
        return false;
    }
    if (num_add_i64(*ret_ms, call_now_ms(c), &sum)) {
        call_error(c, "ERR timeout is out of range");
        return false;
    }
    return true;
}

/* Options of groups, which XREAD has not. */
static bool parse_group_option(struct call *c, int *inout_i, struct read_options *o) {
    bool is_group = slice_is(c->argv[*inout_i], "group");
    if (!o->is_group) {
        call_errorf(c, "ERR The %s option is only supported by XREADGROUP. You called XREAD instead.",
                    is_group ? "GROUP" : "NOACK");
        return false;
    }
    if (is_group) {
        o->group_arg = *inout_i + 1;
        *inout_i += 2;
    } else {
        o->noack = true;
    }
    return true;
}

static bool parse_options(struct call *c, bool is_group, struct read_options *o) {
    *o = (struct read_options){.is_group = is_group};
    for (int i = 1; i < c->argc && o->streams_arg == 0; i++) {
        int more = c->argc - 1 - i;
        if (more >= 1 && slice_is(c->argv[i], "block")) {
            if (!parse_timeout(c, ++i, &o->timeout_ms))
                return false;
            o->blocks = true;
        } else if (more >= 1 && slice_is(c->argv[i], "count")) {
            if (!call_arg_i64(c, ++i, &o->count))
                return false;
            if (o->count < 0)
                o->count = 0;
        } else if (more >= 1 && slice_is(c->argv[i], "streams")) {
            if (more % 2 != 0) {
                call_error(c, "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be "
                              "specified.");
                return false;
            }
            o->streams_arg = i + 1;
            o->streams = (size_t)more / 2;
        } else if ((more >= 2 && slice_is(c->argv[i], "group")) || slice_is(c->argv[i], "noack")) {
            if (!parse_group_option(c, &i, o))
                return false;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    if (o->streams_arg == 0) {
        call_error_syntax(c);
        return false;
    }
    if (is_group && o->group_arg == 0) {
        call_error(c, "ERR Missing GROUP option for XREADGROUP");
        return false;
    }
    return true;
}

static const char meaningless[] =
    "ERR The %c ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by "
    "specifying a proper ID, or use the > ID to get new messages. The %c ID would just return an empty result set.";

/* An id behind which to read. "+" is in front of the last entry, and stays that while a client waits. */
static bool resolve_id(struct call *c, const struct read_options *o, int i, struct source *from) {
    struct slice word = c->argv[i];
    char sign = word.n == 1 ? word.p[0] : '\0';
    if (sign == '$' || sign == '+') {
        if (o->is_group) {
            call_errorf(c, meaningless, sign, sign);
            return false;
        }
        from->dollar = sign == '$';
        if (from->dollar && from->s != NULL)
            from->after = from->s->last_id;
        else if (from->s != NULL && stream_edge(from->s, false, &from->after))
            (void)stream_id_decrement(&from->after);
        return true;
    }
    if (sign == '>') {
        if (!o->is_group) {
            call_error(c, "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> "
                          "<consumer> option.");
            return false;
        }
        from->only_new = true;
        return true;
    }
    if (!stream_arg_strict_id(c, i, 0, &from->after, NULL))
        return false;
    /* Nothing lies behind the greatest id: to a group it means what ">" does. */
    from->only_new = o->is_group && stream_id_compare(from->after, STREAM_ID_MAX) == 0;
    return true;
}

static void error_no_group(struct call *c, const struct read_options *o, int key_arg) {
    struct slice key = c->argv[key_arg], group = c->argv[o->group_arg];
    call_errorf(c, "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with GROUP option", (int)key.n,
                key.p, (int)group.n, group.p);
}

static bool resolve(struct call *c, const struct read_options *o, struct source *sources) {
    for (size_t i = 0; i < o->streams; i++) {
        int key_arg = o->streams_arg + (int)i;
        struct source *from = &sources[i];
        *from = (struct source){.key = call_key(c, key_arg)};
        if (!stream_find_read(c, &from->key, &from->s))
            return false;
        if (o->is_group) {
            from->group = from->s != NULL ? stream_group_find(from->s, c->argv[o->group_arg]) : NULL;
            if (from->group == NULL) {
                error_no_group(c, o, key_arg);
                return false;
            }
        }
        if (!resolve_id(c, o, key_arg + (int)o->streams, from))
            return false;
    }
    return true;
}

/* ---- serving ---- */

/* What the consumer has pending behind an id, once more. */
static void reply_history(struct call *c, const struct stream *s, struct stream_consumer *consumer,
                          struct stream_id start, uint64_t count) {
    uint64_t n = 0;
    struct outq_hole hole = resp_open(c->w);
    for (struct id_cursor at = id_tree_seek_ge(&consumer->pending, start); count == 0 || n < count;
         id_cursor_next(&at), n++) {
        const struct id_item *item = id_cursor_item(&at);
        if (item == NULL)
            break;
        struct stream_pending *p = item->value;
        struct stream_iter it;
        struct stream_id id;
        uint64_t fields;
        stream_iter_init(&it, s, item->id, item->id, false);
        if (stream_iter_next(&it, &id, &fields)) {
            stream_reply_entry(c, &it, id, fields);
            p->delivered_ms = call_now_ms(c);
            p->deliveries++;
        } else {
            resp_array(c->w, 2);
            stream_reply_id(c, item->id);
            resp_null_array(c->w);
        }
    }
    resp_close_array(c->w, hole, n);
}

/* Entries that no consumer of the group was given yet. */
static void reply_new(struct call *c, const struct source *from, struct stream_consumer *consumer, bool noack,
                      struct stream_id start, uint64_t count) {
    struct stream_iter it;
    struct stream_id id;
    uint64_t fields, n = 0;
    const bool propagates = call_propagates(c);
    struct outq_hole hole = resp_open(c->w);
    stream_iter_init(&it, from->s, start, STREAM_ID_MAX, false);
    while ((count == 0 || n < count) && stream_iter_next(&it, &id, &fields)) {
        stream_group_advance(from->s, from->group, id);
        stream_reply_entry(c, &it, id, fields);
        n++;
        if (noack)
            continue;
        struct stream_pending *p = stream_pending_give(from->s, from->group, consumer, id);
        p->delivered_ms = call_now_ms(c);
        p->deliveries = 1;
        if (propagates)
            stream_propagate_claim(c, from->key.key, from->group, id, p);
    }
    resp_close_array(c->w, hole, n);
    if (n == 0)
        return;
    consumer->active_ms = call_now_ms(c);
    call_changed_unwatched(c, &from->key, false);
    if (propagates)
        stream_propagate_group(c, from->key.key, from->group);
}

/* Whether there is something to reply for a stream now; what lies behind the group for ">". */
static bool has_something(struct source *from, bool is_group) {
    struct stream_id last;
    if (from->s == NULL)
        return false;
    if (is_group && !from->only_new)
        return true;
    if (from->only_new)
        from->after = from->group->last_id;
    return stream_edge(from->s, false, &last) && stream_id_compare(last, from->after) > 0;
}

static void reply_source(struct call *c, const struct read_options *o, struct source *from,
                         struct stream_consumer *consumer) {
    struct stream_id start = from->after;
    uint64_t count = (uint64_t)o->count;
    bool any = stream_id_increment(&start);
    if (c->w->resp == 2)
        resp_array(c->w, 2);
    resp_bulk(c->w, from->key.key);
    if (!any)
        resp_array(c->w, 0);
    else if (!o->is_group)
        (void)stream_reply_range(c, from->s, start, STREAM_ID_MAX, count, false);
    else if (from->only_new)
        reply_new(c, from, consumer, o->noack, start, count);
    else
        reply_history(c, from->s, consumer, start, count);
}

/* Replies for those streams that have something; false, with nothing replied, where none has. */
static bool serve(struct call *c, const struct read_options *o, struct source *sources) {
    size_t served = 0;
    struct outq_hole hole = {0};
    if (o->is_group)
        call_propagate_nothing(c); /* its effects only */
    for (size_t i = 0; i < o->streams; i++) {
        struct source *from = &sources[i];
        struct stream_consumer *consumer = NULL;
        if (o->is_group && from->s != NULL) {
            consumer = stream_consumer_obtain(c, &from->key, from->group, c->argv[o->group_arg + 1]);
            consumer->seen_ms = call_now_ms(c);
        }
        /* What is not there is looked for twice, once for the id and once for entries: events of misses tell of both.
         */
        if (from->s == NULL && !stream_find_read(c, &from->key, &from->s))
            return true;
        if (!has_something(from, o->is_group))
            continue;
        if (served++ == 0)
            hole = resp_open(c->w);
        reply_source(c, o, from, consumer);
    }
    if (served == 0)
        return false;
    if (c->w->resp == 2)
        resp_close_array(c->w, hole, served);
    else
        resp_close_map(c->w, hole, served);
    return true;
}

/* ---- waiting ---- */

/* The request runs again when something has come: "$" must mean then what it means now. */
static void block(struct call *c, const struct read_options *o, const struct source *sources) {
    struct keyref *keys = mem_alloc(o->streams * sizeof *keys);
    struct slice *argv = mem_alloc((size_t)c->argc * sizeof *argv);
    char(*ids)[STREAM_ID_CHARS] = mem_alloc(o->streams * sizeof *ids);
    struct buf gone = BUF_INIT;
    memcpy(argv, c->argv, (size_t)c->argc * sizeof *argv);
    for (size_t i = 0; i < o->streams; i++) {
        keys[i] = sources[i].key;
        if (sources[i].dollar)
            argv[(size_t)o->streams_arg + o->streams + i] =
                slice_of(ids[i], stream_id_format(ids[i], sources[i].after));
    }
    if (o->is_group && o->streams == 1) {
        struct slice group = c->argv[o->group_arg];
        buf_printf(&gone, "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with GROUP option",
                   (int)keys[0].key.n, keys[0].key.p, (int)group.n, group.p);
        buf_append_char(&gone, '\0');
    } else if (o->is_group) {
        buf_append_cstr(&gone, "UNBLOCKED the stream key no longer exists");
        buf_append_char(&gone, '\0');
    }
    const struct slice *request = c->argv;
    c->argv = argv;
    call_block_on_keys(c, keys, o->streams, VALUE_STREAM, o->timeout_ms, CALL_TIMEOUT_NULL_ARRAY, gone.data);
    c->argv = request;
    buf_deinit(&gone);
    mem_free(ids);
    mem_free(argv);
    mem_free(keys);
}

static void read_streams(struct call *c, bool is_group) {
    struct read_options o;
    struct source stack[SOURCES_ON_STACK];
    if (!parse_options(c, is_group, &o))
        return;
    struct source *sources = o.streams <= SOURCES_ON_STACK ? stack : mem_alloc(o.streams * sizeof *sources);
    if (resolve(c, &o, sources) && !serve(c, &o, sources)) {
        if (o.blocks)
            block(c, &o, sources);
        else
            resp_null_array(c->w);
    }
    if (sources != stack)
        mem_free(sources);
}

static void xread_run(struct call *c) {
    read_streams(c, false);
}

static void xreadgroup_run(struct call *c) {
    read_streams(c, true);
}

#define STREAMS_KEYS(start_from_)                                                                                      \
    {                                                                                                                  \
        .flags = KEY_RO | KEY_ACCESS, .begin = KEY_BEGIN_KEYWORD, .keyword = "STREAMS", .start_from = (start_from_),   \
        .find = KEY_FIND_RANGE, .last = -1, .step = 1, .limit = 2                                                      \
    }

static const struct command rows[] = {
    {.name = "xread",
     .group = "stream",
     .since = "5.0.0",
     .arity = -4,
     .flags = COMMAND_BLOCKING | COMMAND_READONLY,
     .acl = ACL_STREAM,
     .keys = {STREAMS_KEYS(1)},
     .run = xread_run},
    {.name = "xreadgroup",
     .group = "stream",
     .since = "5.0.0",
     .arity = -7,
     .flags = COMMAND_BLOCKING | COMMAND_WRITE,
     .acl = ACL_STREAM,
     .keys = {STREAMS_KEYS(4)},
     .run = xreadgroup_run},
};

void stream_read_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
