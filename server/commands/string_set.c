/* Strings, set whole: SET SETNX SETEX PSETEX GETSET. */
#include "config.h"

#include "server/commands/string_int.h"

#include "server/commands/rows.h"
#include "server/commands/set_options.h"

/* Puts the value and announces it; replies nothing unless memory is missing (false). A deadline that has been given is
 * propagated as the absolute time it means here. */
static bool put_string(struct call *c, const struct keyref *key, struct slice argument, int64_t deadline_ms) {
    struct value v;
    if (!string_value(c, argument, &v))
        return false;
    keyspace_put(c->ks, c->db, key, v, deadline_ms);
    call_changed(c, key, NOTIFY_STRING, "set");
    if (deadline_ms >= 0)
        call_notify(c, c->db, key, NOTIFY_GENERIC, "expire");
    return true;
}

/* The condition of SET on the key as it is. False when an error was replied. */
static bool condition_met(struct call *c, const struct set_options *o, const struct keyref *key, bool *ret_met) {
    struct entry *e;
    char scratch[24];
    struct slice current;
    if (o->condition < SET_IFEQ) {
        e = call_find_write(c, key);
        current = slice_of("", 0);
    } else {
        if (!call_find_write_type(c, key, VALUE_STRING, &e))
            return false;
        if (e != NULL)
            current = entry_string(e, scratch);
    }
    *ret_met = set_condition_met(o, e == NULL ? NULL : &current);
    return true;
}

static void set_with_options(struct call *c) {
    struct set_options o;
    uint64_t digest;
    if (set_options_parse(c->argv, c->argc, 3, SET_GRAMMAR_SET, &o) < 0) {
        call_error_syntax(c);
        return;
    }
    if (o.condition >= SET_IFDEQ && set_options_digest(o.operand, &digest) < 0) {
        call_error(c, "ERR must be exactly 16 hexadecimal characters");
        return;
    }
    int64_t deadline_ms = o.keep_ttl ? KEYSPACE_KEEP_DEADLINE : KEYSPACE_NO_DEADLINE;
    if (o.time_arg != 0 && !call_arg_deadline(c, o.time_arg, o.unit_ms, o.absolute, true, &deadline_ms))
        return;

    struct keyref key = call_key(c, 1);
    struct entry *old = NULL;
    if (o.get && !call_find_read_type(c, &key, VALUE_STRING, &old))
        return;
    bool met = true;
    if (o.keep_ttl)
        (void)call_find_write(c, &key); /* a deadline that has passed is not kept: the due key goes first */
    if (o.condition != SET_ALWAYS && !condition_met(c, &o, &key, &met))
        return;
    struct value v = {0};
    if (met && !string_value(c, c->argv[2], &v))
        return;
    if (o.get && old != NULL)
        string_reply(c, old);
    else if (o.get || !met)
        resp_null(c->w);
    else
        resp_ok(c->w);
    if (!met)
        return;
    keyspace_put(c->ks, c->db, &key, v, deadline_ms);
    call_changed(c, &key, NOTIFY_STRING, "set");
    if (o.time_arg != 0)
        call_notify(c, c->db, &key, NOTIFY_GENERIC, "expire");
    string_propagate_set(c, key.key, c->argv[2], deadline_ms);
}

static void set_run(struct call *c) {
    if (c->argc > 3) {
        set_with_options(c);
        return;
    }
    struct keyref key = call_key(c, 1);
    if (put_string(c, &key, c->argv[2], KEYSPACE_NO_DEADLINE))
        resp_ok(c->w);
}

static void setnx_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    if (call_find_write(c, &key) != NULL)
        resp_int(c->w, 0);
    else if (put_string(c, &key, c->argv[2], KEYSPACE_NO_DEADLINE))
        resp_int(c->w, 1);
}

static void set_expiring(struct call *c, int64_t unit_ms) {
    int64_t deadline_ms;
    if (!call_arg_deadline(c, 2, unit_ms, false, true, &deadline_ms))
        return;
    struct keyref key = call_key(c, 1);
    if (!put_string(c, &key, c->argv[3], deadline_ms))
        return;
    string_propagate_set(c, key.key, c->argv[3], deadline_ms);
    resp_ok(c->w);
}

static void setex_run(struct call *c) {
    set_expiring(c, 1000);
}

static void psetex_run(struct call *c) {
    set_expiring(c, 1);
}

static void getset_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *old;
    struct value v;
    if (!call_find_read_type(c, &key, VALUE_STRING, &old) || !string_value(c, c->argv[2], &v))
        return;
    if (old == NULL)
        resp_null(c->w);
    else
        string_reply(c, old);
    keyspace_put(c->ks, c->db, &key, v, KEYSPACE_NO_DEADLINE);
    call_changed(c, &key, NOTIFY_STRING, "set");
    string_propagate_set(c, key.key, c->argv[2], KEYSPACE_NO_DEADLINE);
}

/* SET reads its key only with GET or a condition on the value. */
static int set_get_keys(const struct slice *argv, int argc, struct key_positions *ret_keys) {
    struct set_options o;
    bool reads = set_options_parse(argv, argc, 3, SET_GRAMMAR_SET, &o) == 0 && (o.get || o.condition >= SET_IFEQ);
    key_positions_add(ret_keys, 1, reads ? KEY_RW | KEY_ACCESS | KEY_UPDATE : KEY_OW | KEY_UPDATE);
    return 0;
}

static const struct command rows[] = {
    {.name = "set",
     .group = "string",
     .since = "1.0.0",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE_FLAGS)},
     .get_keys = set_get_keys,
     .run = set_run},
    {.name = "setnx",
     .group = "string",
     .since = "1.0.0",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_OW | KEY_INSERT)},
     .run = setnx_run},
    {.name = "setex",
     .group = "string",
     .since = "2.0.0",
     .arity = 4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_OW | KEY_UPDATE)},
     .run = setex_run},
    {.name = "psetex",
     .group = "string",
     .since = "2.6.0",
     .arity = 4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_OW | KEY_UPDATE)},
     .run = psetex_run},
    {.name = "getset",
     .group = "string",
     .since = "1.0.0",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .run = getset_run},
};

void string_set_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
