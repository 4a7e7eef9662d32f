/* Walking the keys: KEYS SCAN RANDOMKEY. */
#include "config.h"

#include "server/commands/keys_int.h"

#include "server/commands/rows.h"
#include "server/commands/scan_options.h"
#include "server/ds/glob.h"

/* What a walk shows, and the reply it goes to. */
struct walk {
    struct call *call;
    struct slice pattern;
    bool every;             /* the pattern matches all */
    const char *type_lower; /* NULL: any type; "": none */
    size_t shown;
};

static void show(void *arg, const struct entry *e) {
    struct walk *k = arg;
    if (keys_hidden(k->call->ks, e))
        return;
    struct slice key = entry_key(e);
    if (!k->every && !glob_match(k->pattern, key, false))
        return;
    if (k->type_lower != NULL && !slice_is(slice_cstr(value_type_name(entry_type(e))), k->type_lower))
        return;
    resp_bulk(k->call->w, key);
    k->shown++;
}

static int show_and_go_on(void *arg, const struct entry *e) {
    show(arg, e);
    return 0;
}

static bool matches_all(struct slice pattern) {
    return pattern.n == 1 && pattern.p[0] == '*';
}

static void keys_run(struct call *c) {
    struct walk k = {.call = c, .pattern = c->argv[1], .every = matches_all(c->argv[1])};
    struct outq_hole hole = resp_open(c->w);
    keyspace_each(c->ks, c->db, show_and_go_on, &k);
    resp_close_array(c->w, hole, k.shown);
}

static void scan_run(struct call *c) {
    uint64_t cursor;
    struct scan_options o;
    if (!scan_arg_cursor(c, 1, &cursor) || !scan_arg_options(c, 2, SCAN_ALLOWS_TYPE, &o))
        return;
    struct walk k = {.call = c, .pattern = o.pattern, .every = o.every, .type_lower = o.any_type ? NULL : o.type_lower};
    struct scan_reply reply = scan_reply_open(c);
    cursor = keyspace_scan(c->ks, c->db, cursor, (size_t)o.count, show, &k);
    scan_reply_close(c, &reply, cursor, k.shown);
}

static void randomkey_run(struct call *c) {
    struct entry *e = keyspace_random(c->ks, c->db);
    if (e == NULL)
        resp_null(c->w);
    else
        resp_bulk(c->w, entry_key(e));
}

static const char *const keys_tips[] = {"request_policy:all_shards", "nondeterministic_output_order", NULL};
static const char *const scan_tips[] = {"nondeterministic_output", "request_policy:special", "response_policy:special",
                                        NULL};
static const char *const randomkey_tips[] = {"request_policy:all_shards", "response_policy:special",
                                             "nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "keys",
     .group = "generic",
     .since = "1.0.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .tips = keys_tips,
     .run = keys_run},
    {.name = "scan",
     .group = "generic",
     .since = "2.8.0",
     .arity = -2,
     .flags = COMMAND_READONLY | COMMAND_TOUCHES_ARBITRARY_KEYS | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE,
     .tips = scan_tips,
     .run = scan_run},
    {.name = "randomkey",
     .group = "generic",
     .since = "1.0.0",
     .arity = 1,
     .flags = COMMAND_READONLY | COMMAND_TOUCHES_ARBITRARY_KEYS | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE,
     .tips = randomkey_tips,
     .run = randomkey_run},
};

void keys_scan_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
