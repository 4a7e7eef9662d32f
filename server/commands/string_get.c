/* Strings, read whole or removed: GET GETEX GETDEL STRLEN DIGEST DELIFEQ DELEX. */
#include "config.h"

#include "server/commands/string_int.h"

#include "server/base/hash.h"
#include "server/commands/rows.h"
#include "server/commands/set_options.h"

static void get_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    if (e == NULL)
        resp_null(c->w);
    else
        string_reply(c, e);
}

static void strlen_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (call_find_read_type(c, &key, VALUE_STRING, &e))
        resp_int(c->w, e == NULL ? 0 : (int64_t)entry_string_len(e));
}

static void digest_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    if (e == NULL) {
        resp_null(c->w);
        return;
    }
    char scratch[24], hex[16];
    struct slice s = entry_string(e, scratch);
    uint64_t digest = hash_xxh3(s.p, s.n);
    for (int i = 15; i >= 0; i--, digest >>= 4)
        hex[i] = "0123456789abcdef"[digest & 15];
    resp_bulk(c->w, slice_of(hex, sizeof hex));
}

/* Removes a key that was found. */
static void remove_key(struct call *c, const struct keyref *key) {
    keyspace_delete(c->ks, c->db, key, false);
    call_changed(c, key, NOTIFY_GENERIC, "del");
    string_propagate_del(c, key->key);
}

static void getdel_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    if (e == NULL) {
        resp_null(c->w);
        return;
    }
    string_reply(c, e);
    remove_key(c, &key);
}

static void getex_run(struct call *c) {
    struct set_options o;
    if (set_options_parse(c->argv, c->argc, 2, SET_GRAMMAR_GETEX, &o) < 0) {
        call_error_syntax(c);
        return;
    }
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    if (e == NULL) {
        resp_null(c->w);
        return;
    }
    int64_t deadline_ms = KEYSPACE_NO_DEADLINE;
    if (o.time_arg != 0 && !call_arg_deadline(c, o.time_arg, o.unit_ms, o.absolute, true, &deadline_ms))
        return;
    string_reply(c, e);
    if (o.time_arg != 0 && deadline_ms <= call_now_ms(c) && keyspace_expiry_mode(c->ks) == KEYSPACE_EXPIRE_DELETE) {
        remove_key(c, &key);
    } else if (o.time_arg != 0) {
        keyspace_set_deadline(c->ks, c->db, &key, e, deadline_ms);
        call_changed(c, &key, NOTIFY_GENERIC, "expire");
        string_propagate_deadline(c, key.key, deadline_ms);
    } else if (o.persist && entry_deadline_ms(e) != KEYSPACE_NO_DEADLINE) {
        keyspace_set_deadline(c->ks, c->db, &key, e, KEYSPACE_NO_DEADLINE);
        call_changed(c, &key, NOTIFY_GENERIC, "persist");
        struct slice argv[2] = {SLICE_LIT("PERSIST"), key.key};
        call_propagate(c, c->db, argv, 2);
    }
}

/* DELIFEQ and DELEX with a condition: only strings can be compared. */
static void delete_if(struct call *c, const struct set_options *o) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_STRING, &e))
        return;
    char scratch[24];
    struct slice current;
    if (e != NULL)
        current = entry_string(e, scratch);
    if (e == NULL || !set_condition_met(o, &current)) {
        resp_int(c->w, 0);
        return;
    }
    remove_key(c, &key);
    resp_int(c->w, 1);
}

static void delifeq_run(struct call *c) {
    struct set_options o = {.condition = SET_IFEQ, .operand = c->argv[2]};
    delete_if(c, &o);
}

static void delex_run(struct call *c) {
    if (c->argc == 2) {
        struct keyref key = call_key(c, 1);
        bool found = call_find_write(c, &key) != NULL;
        if (found)
            remove_key(c, &key);
        resp_int(c->w, found);
        return;
    }
    if (c->argc != 4) {
        call_error_arity(c);
        return;
    }
    struct set_options o;
    uint64_t digest;
    if (set_options_parse(c->argv, c->argc, 2, SET_GRAMMAR_DELEX, &o) < 0)
        call_error_syntax(c);
    else if (o.condition >= SET_IFDEQ && set_options_digest(o.operand, &digest) < 0)
        call_error(c, "ERR must be exactly 16 hexadecimal characters");
    else
        delete_if(c, &o);
}

static const struct command rows[] = {
    {.name = "get",
     .group = "string",
     .since = "1.0.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = get_run},
    {.name = "strlen",
     .group = "string",
     .since = "2.2.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RO)},
     .run = strlen_run},
    {.name = "digest",
     .group = "string",
     .since = "8.4.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = digest_run},
    {.name = "getdel",
     .group = "string",
     .since = "6.2.0",
     .arity = 2,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_DELETE)},
     .run = getdel_run},
    {.name = "getex",
     .group = "string",
     .since = "6.2.0",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .run = getex_run},
    {.name = "delifeq",
     .group = "string",
     .since = "9.0.0",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RM | KEY_ACCESS | KEY_DELETE)},
     .run = delifeq_run},
    {.name = "delex",
     .group = "string",
     .since = "8.4.0",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RM | KEY_ACCESS | KEY_DELETE)},
     .run = delex_run},
};

void string_get_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
