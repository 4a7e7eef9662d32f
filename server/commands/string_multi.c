/* Several strings at once: MGET MSET MSETNX MSETEX. A write of several keys makes all values before it puts the first,
 * so that lack of memory leaves everything as it was. */
#include "config.h"

#include "server/commands/string_int.h"

#include <limits.h>

#include "server/base/mem.h"
#include "server/commands/rows.h"
#include "server/commands/set_options.h"

static void mget_run(struct call *c) {
    resp_array(c->w, (size_t)c->argc - 1);
    for (int i = 1; i < c->argc; i++) {
        struct keyref key = call_key(c, i);
        struct entry *e = call_find_read(c, &key);
        if (e == NULL || entry_type(e) != VALUE_STRING)
            resp_null(c->w);
        else
            string_reply(c, e);
    }
}

/* Sets `pairs` keys and values from argv[first] on. False, with an error replied and nothing changed, when memory is
 * missing. */
static bool put_pairs(struct call *c, int first, int pairs, int64_t deadline_ms) {
    bool large = false;
    for (int i = 0; i < pairs && !large; i++)
        large = c->argv[first + 2 * i + 1].n >= STRING_RBUF_MIN;
    struct value *values = NULL;
    if (large) {
        values = mem_alloc((size_t)pairs * sizeof *values);
        for (int i = 0; i < pairs; i++) {
            if (string_value(c, c->argv[first + 2 * i + 1], &values[i]))
                continue;
            while (--i >= 0)
                value_free(values[i]);
            mem_free(values);
            return false;
        }
    }
    for (int i = 0; i < pairs; i++) {
        struct keyref key = call_key(c, first + 2 * i);
        if (deadline_ms == KEYSPACE_KEEP_DEADLINE)
            (void)call_find_write(c, &key); /* a deadline that has passed is not kept: the due key goes first */
        struct value v = large ? values[i] : value_string(c->argv[first + 2 * i + 1]);
        keyspace_put(c->ks, c->db, &key, v, deadline_ms);
        call_changed(c, &key, NOTIFY_STRING, "set");
        if (deadline_ms >= 0)
            call_notify(c, c->db, &key, NOTIFY_GENERIC, "expire");
    }
    mem_free(values);
    return true;
}

/* How many of the keys exist, stopping at the first that does (present) or does not. */
static bool all_keys_are(struct call *c, int first, int pairs, bool present) {
    for (int i = 0; i < pairs; i++) {
        struct keyref key = call_key(c, first + 2 * i);
        if ((call_find_write(c, &key) != NULL) != present)
            return false;
    }
    return true;
}

static void mset_run(struct call *c) {
    if (c->argc % 2 == 0)
        call_error_arity(c);
    else if (put_pairs(c, 1, (c->argc - 1) / 2, KEYSPACE_NO_DEADLINE))
        resp_ok(c->w);
}

static void msetnx_run(struct call *c) {
    int pairs = (c->argc - 1) / 2;
    if (c->argc % 2 == 0)
        call_error_arity(c);
    else if (!all_keys_are(c, 1, pairs, false))
        resp_int(c->w, 0);
    else if (put_pairs(c, 1, pairs, KEYSPACE_NO_DEADLINE))
        resp_int(c->w, 1);
}

/* MSETEX as commands that every version knows: one MSET, or SETs where deadlines matter. */
static void propagate_pairs(struct call *c, int pairs, int64_t deadline_ms) {
    if (deadline_ms != KEYSPACE_NO_DEADLINE) {
        for (int i = 0; i < pairs; i++)
            string_propagate_set(c, c->argv[2 + 2 * i], c->argv[3 + 2 * i], deadline_ms);
        return;
    }
    struct slice *argv = mem_alloc((size_t)(1 + 2 * pairs) * sizeof *argv);
    argv[0] = SLICE_LIT("MSET");
    memcpy(argv + 1, c->argv + 2, (size_t)(2 * pairs) * sizeof *argv);
    call_propagate(c, c->db, argv, 1 + 2 * pairs);
    mem_free(argv);
}

static void msetex_run(struct call *c) {
    int64_t numkeys;
    if (!call_arg_i64_range(c, 1, 1, INT_MAX, "ERR invalid numkeys value", &numkeys))
        return;
    if (numkeys > (c->argc - 2) / 2) {
        call_error(c, "ERR wrong number of key-value pairs");
        return;
    }
    int pairs = (int)numkeys;
    struct set_options o;
    if (set_options_parse(c->argv, c->argc, 2 + 2 * pairs, SET_GRAMMAR_MSETEX, &o) < 0) {
        call_error_syntax(c);
        return;
    }
    int64_t deadline_ms = o.keep_ttl ? KEYSPACE_KEEP_DEADLINE : KEYSPACE_NO_DEADLINE;
    if (o.time_arg != 0 && !call_arg_deadline(c, o.time_arg, o.unit_ms, o.absolute, true, &deadline_ms))
        return;
    if (o.condition != SET_ALWAYS && !all_keys_are(c, 2, pairs, o.condition == SET_XX)) {
        resp_int(c->w, 0);
        return;
    }
    if (!put_pairs(c, 2, pairs, deadline_ms))
        return;
    propagate_pairs(c, pairs, deadline_ms);
    resp_int(c->w, 1);
}

static const char *const multi_shard[] = {"request_policy:multi_shard", NULL};
static const char *const multi_shard_all[] = {"request_policy:multi_shard", "response_policy:all_succeeded", NULL};

static const struct command rows[] = {
    {.name = "mget",
     .group = "string",
     .since = "1.0.0",
     .arity = -2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEYS(KEY_RO | KEY_ACCESS, 1, -1, 1)},
     .tips = multi_shard,
     .run = mget_run},
    {.name = "mset",
     .group = "string",
     .since = "1.0.1",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_STRING,
     .keys = {ROW_KEYS(KEY_OW | KEY_UPDATE, 1, -1, 2)},
     .tips = multi_shard_all,
     .run = mset_run},
    {.name = "msetnx",
     .group = "string",
     .since = "1.0.1",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_STRING,
     .keys = {ROW_KEYS(KEY_OW | KEY_INSERT, 1, -1, 2)},
     .run = msetnx_run},
    {.name = "msetex",
     .group = "string",
     .since = "8.4.0",
     .arity = -4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_STRING,
     .keys = {ROW_KEYNUM(KEY_OW | KEY_UPDATE, 1, 2)},
     .run = msetex_run},
};

void string_multi_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
