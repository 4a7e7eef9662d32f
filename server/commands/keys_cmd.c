/* Keys, whatever they hold: DEL UNLINK EXISTS TOUCH TYPE. */
#include "config.h"

#include "server/commands/keys_int.h"

#include <limits.h>

#include "server/commands/rows.h"
#include "server/engine/engine.h"

bool keys_arg_db(struct call *c, int i, const char *error, unsigned *ret_db) {
    int64_t db;
    if (!call_arg_i64_range(c, i, INT_MIN, INT_MAX, error, &db))
        return false;
    if (db < 0 || db >= (int64_t)keyspace_databases(c->ks)) {
        call_error(c, "ERR DB index is out of range");
        return false;
    }
    *ret_db = (unsigned)db;
    return true;
}

bool keys_deadline_passed(const struct call *c, int64_t deadline_ms) {
    return deadline_ms <= call_now_ms(c) && keyspace_expiry_mode(c->ks) == KEYSPACE_EXPIRE_DELETE;
}

bool keys_hidden(const struct keyspace *ks, const struct entry *e) {
    int64_t deadline_ms = entry_deadline_ms(e);
    if (keyspace_expiry_mode(ks) == KEYSPACE_EXPIRE_IGNORE)
        return false;
    return (deadline_ms >= 0 && deadline_ms < keyspace_now_ms(ks)) || keyspace_fields_over(ks, e);
}

void keys_remove_due(struct call *c, const struct keyref *key) {
    bool lazy = engine_options(c->engine)->lazy_expire;
    keyspace_delete(c->ks, c->db, key, lazy);
    call_changed(c, key, NOTIFY_GENERIC, "del");
    struct slice argv[2] = {lazy ? SLICE_LIT("UNLINK") : SLICE_LIT("DEL"), key->key};
    call_propagate(c, c->db, argv, 2);
}

static void remove_keys(struct call *c, bool lazy) {
    int64_t removed = 0;
    for (int i = 1; i < c->argc; i++) {
        struct keyref key = call_key(c, i);
        if (call_find_write(c, &key) == NULL)
            continue;
        keyspace_delete(c->ks, c->db, &key, lazy);
        call_changed(c, &key, NOTIFY_GENERIC, "del");
        removed++;
    }
    resp_int(c->w, removed);
}

static void del_run(struct call *c) {
    remove_keys(c, false);
}

static void unlink_run(struct call *c) {
    remove_keys(c, true);
}

static void exists_run(struct call *c) {
    int64_t found = 0;
    for (int i = 1; i < c->argc; i++) {
        struct keyref key = call_key(c, i);
        found += call_find_read_notouch(c, &key) != NULL;
    }
    resp_int(c->w, found);
}

static void touch_run(struct call *c) {
    int64_t found = 0;
    for (int i = 1; i < c->argc; i++) {
        struct keyref key = call_key(c, i);
        bool there = call_find_read(c, &key) != NULL;
        /* To touch is what was asked for, CLIENT NO-TOUCH or not. */
        if (there && (c->client->flags & CLIENT_NO_TOUCH))
            (void)keyspace_find(c->ks, c->db, &key, KEYSPACE_LOOKUP_TOUCH);
        found += there;
    }
    resp_int(c->w, found);
}

static void type_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e = call_find_read_notouch(c, &key);
    resp_simple(c->w, e == NULL ? "none" : value_type_name(entry_type(e)));
}

static const char *const multi_shard_sum[] = {"request_policy:multi_shard", "response_policy:agg_sum", NULL};

static const struct command rows[] = {
    {.name = "del",
     .group = "generic",
     .since = "1.0.0",
     .arity = -2,
     .flags = COMMAND_WRITE,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEYS(KEY_RM | KEY_DELETE, 1, -1, 1)},
     .tips = multi_shard_sum,
     .run = del_run},
    {.name = "unlink",
     .group = "generic",
     .since = "4.0.0",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEYS(KEY_RM | KEY_DELETE, 1, -1, 1)},
     .tips = multi_shard_sum,
     .run = unlink_run},
    {.name = "exists",
     .group = "generic",
     .since = "1.0.0",
     .arity = -2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEYS(KEY_RO, 1, -1, 1)},
     .tips = multi_shard_sum,
     .run = exists_run},
    {.name = "touch",
     .group = "generic",
     .since = "3.2.1",
     .arity = -2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEYS(KEY_RO, 1, -1, 1)},
     .tips = multi_shard_sum,
     .run = touch_run},
    {.name = "type",
     .group = "generic",
     .since = "1.0.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEY(KEY_RO)},
     .run = type_run},
};

void keys_basic_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}

void keys_commands_register(struct command_table *t, const struct keys_hooks *hooks) {
    static const struct keys_hooks none = {0};
    if (hooks == NULL)
        hooks = &none;
    keys_basic_register(t);
    keys_move_register(t);
    keys_db_register(t, hooks);
    keys_scan_register(t);
    keys_expire_register(t);
    keys_object_register(t);
    keys_dump_register(t, hooks);
}
