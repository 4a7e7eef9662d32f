/* Entries between two ids: XRANGE XREVRANGE. */
#include "config.h"

#include "server/commands/rows.h"
#include "server/commands/stream_int.h"

static void range(struct call *c, bool reverse) {
    struct stream_id start, end;
    struct stream *s;
    int64_t count = -1;
    if (!stream_arg_start(c, reverse ? 3 : 2, &start) || !stream_arg_end(c, reverse ? 2 : 3, &end))
        return;
    for (int i = 4; i < c->argc; i += 2) {
        if (!slice_is(c->argv[i], "count") || i + 1 == c->argc) {
            call_error_syntax(c);
            return;
        }
        if (!call_arg_i64(c, i + 1, &count))
            return;
        if (count < 0)
            count = 0;
    }
    struct keyref key = call_key(c, 1);
    if (!stream_find_read(c, &key, &s))
        return;
    if (s == NULL)
        resp_array(c->w, 0);
    else if (count == 0)
        resp_null_array(c->w);
    else
        (void)stream_reply_range(c, s, start, end, count < 0 ? 0 : (uint64_t)count, reverse);
}

static void xrange_run(struct call *c) {
    range(c, false);
}

static void xrevrange_run(struct call *c) {
    range(c, true);
}

#define RANGE_ROW(name_, run_)                                                                                         \
    {                                                                                                                  \
        .name = (name_), .group = "stream", .since = "5.0.0", .arity = -4, .flags = COMMAND_READONLY,                  \
        .acl = ACL_STREAM, .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)}, .run = (run_)                                       \
    }

static const struct command rows[] = {RANGE_ROW("xrange", xrange_run), RANGE_ROW("xrevrange", xrevrange_run)};

void stream_range_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
