/* Sets and their members: SADD SREM SMOVE SCARD SISMEMBER SMISMEMBER SMEMBERS SSCAN. */
#include "config.h"

#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/commands/scan_options.h"
#include "server/commands/set_int.h"

static int reply_item(void *arg, const struct packed_item *member) {
    const struct call *c = arg;
    call_reply_item(c->w, member);
    return 0;
}

void set_reply_members(struct call *c, const struct collection *s) {
    (void)set_each(s, reply_item, c);
}

void set_store_smaller(struct call *c, const struct keyref *key, struct entry *e, const struct collection *s,
                       const char *event) {
    bool there = call_collection_store(c, key, e, VALUE_SET, s);
    call_changed(c, key, NOTIFY_SET, event);
    if (!there)
        call_notify(c, c->db, key, NOTIFY_GENERIC, "del");
}

/* ---- changes ---- */

static void sadd_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_SET, &e))
        return;
    const size_t members = (size_t)c->argc - 2;
    struct collection s;
    if (e == NULL) {
        s = set_create(keyspace_rules(c->ks), members, c->argv[2]);
    } else {
        s = call_collection(c, e);
        set_expect(&s, members);
    }
    int64_t added = 0;
    for (int i = 2; i < c->argc; i++)
        added += set_add(&s, c->argv[i]);
    bool there = call_collection_store(c, &key, e, VALUE_SET, &s);
    if (there && added != 0)
        call_changed(c, &key, NOTIFY_SET, "sadd");
    resp_int(c->w, added);
}

static void srem_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_SET, &e))
        return;
    int64_t removed = 0;
    if (e != NULL) {
        struct collection s = call_collection(c, e);
        for (int i = 2; i < c->argc; i++)
            removed += set_remove(&s, c->argv[i]);
        if (removed != 0)
            set_store_smaller(c, &key, e, &s, "srem");
    }
    resp_int(c->w, removed);
}

static void smove_run(struct call *c) {
    struct keyref from_key = call_key(c, 1), to_key = call_key(c, 2);
    const struct slice member = c->argv[3];
    struct entry *from_e = call_find_write(c, &from_key), *to_e = call_find_write(c, &to_key);
    if (from_e == NULL) {
        resp_int(c->w, 0);
        return;
    }
    if (entry_type(from_e) != VALUE_SET || (to_e != NULL && entry_type(to_e) != VALUE_SET)) {
        call_error_wrong_type(c);
        return;
    }
    struct collection from = call_collection(c, from_e);
    if (from_e == to_e) {
        resp_int(c->w, set_contains(&from, member));
        return;
    }
    if (!set_remove(&from, member)) {
        resp_int(c->w, 0);
        return;
    }
    set_store_smaller(c, &from_key, from_e, &from, "srem");
    to_e = call_find_write(c, &to_key); /* removing a key may have moved it */
    struct collection to = to_e != NULL ? call_collection(c, to_e) : set_create(keyspace_rules(c->ks), 1, member);
    bool added = set_add(&to, member);
    bool there = call_collection_store(c, &to_key, to_e, VALUE_SET, &to);
    if (there && added)
        call_changed(c, &to_key, NOTIFY_SET, "sadd");
    resp_int(c->w, 1);
}

/* ---- questions ---- */

/* The set of argument 1 for reading. False where an error was replied; *ret_there tells whether there is one. */
static bool find_set(struct call *c, struct collection *ret_set, bool *ret_there) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_SET, &e))
        return false;
    *ret_there = e != NULL;
    if (e != NULL)
        *ret_set = call_collection(c, e);
    return true;
}

static void scard_run(struct call *c) {
    struct collection s;
    bool there;
    if (find_set(c, &s, &there))
        resp_int(c->w, there ? (int64_t)set_count(&s) : 0);
}

static void sismember_run(struct call *c) {
    struct collection s;
    bool there;
    if (find_set(c, &s, &there))
        resp_int(c->w, there && set_contains(&s, c->argv[2]));
}

static void smismember_run(struct call *c) {
    struct collection s;
    bool there;
    if (!find_set(c, &s, &there))
        return;
    resp_array(c->w, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++)
        resp_int(c->w, there && set_contains(&s, c->argv[i]));
}

static void smembers_run(struct call *c) {
    struct collection s;
    bool there;
    if (!find_set(c, &s, &there))
        return;
    resp_set(c->w, there ? set_count(&s) : 0);
    if (there)
        set_reply_members(c, &s);
}

struct scan {
    struct call *call;
    struct scan_options options;
    size_t shown;
};

static void show(void *arg, const struct packed_item *member) {
    struct scan *k = arg;
    char digits[NUM_I64_CHARS];
    struct slice text = packed_text(member, digits);
    if (!scan_shows(&k->options, text))
        return;
    resp_bulk(k->call->w, text);
    k->shown++;
}

static void sscan_run(struct call *c) {
    struct scan k = {.call = c};
    struct collection s;
    bool there;
    uint64_t cursor;
    if (!scan_arg_cursor(c, 2, &cursor) || !find_set(c, &s, &there))
        return;
    if (!there) {
        scan_reply_nothing(c);
        return;
    }
    if (!scan_arg_options(c, 3, 0, &k.options))
        return;
    struct scan_reply reply = scan_reply_open(c);
    cursor = set_scan(&s, cursor, (size_t)k.options.count, show, &k);
    scan_reply_close(c, &reply, cursor, k.shown);
}

static const char *const any_order_tips[] = {"nondeterministic_output_order", NULL};
static const char *const any_output_tips[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "sadd",
     .group = "set",
     .since = "1.0.0",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RW | KEY_INSERT)},
     .run = sadd_run},
    {.name = "srem",
     .group = "set",
     .since = "1.0.0",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RW | KEY_DELETE)},
     .run = srem_run},
    {.name = "smove",
     .group = "set",
     .since = "1.0.0",
     .arity = 4,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_DELETE), ROW_KEYS(KEY_RW | KEY_INSERT, 2, 0, 1)},
     .run = smove_run},
    {.name = "scard",
     .group = "set",
     .since = "1.0.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RO)},
     .run = scard_run},
    {.name = "sismember",
     .group = "set",
     .since = "1.0.0",
     .arity = 3,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RO)},
     .run = sismember_run},
    {.name = "smismember",
     .group = "set",
     .since = "6.2.0",
     .arity = -3,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = smismember_run},
    {.name = "smembers",
     .group = "set",
     .since = "1.0.0",
     .arity = 2,
     .flags = COMMAND_READONLY,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = any_order_tips,
     .run = smembers_run},
    {.name = "sscan",
     .group = "set",
     .since = "2.8.0",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = any_output_tips,
     .run = sscan_run},
};

void set_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
    set_random_register(t);
    set_algebra_register(t);
}
