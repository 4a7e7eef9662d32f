/* Keys that change their name or database: RENAME RENAMENX MOVE COPY. */
#include "config.h"

#include "server/commands/keys_int.h"

#include "server/base/assert.h"
#include "server/commands/rows.h"

void keys_notify_renewed(struct call *c, unsigned db, const struct keyref *key) {
    call_notify(c, db, key, NOTIFY_NEW, "new");
}

/* Takes the key out of its database and puts value and deadline under another name or in another database. */
static void transfer(struct call *c, const struct keyref *from, unsigned to_db, const struct keyref *to) {
    struct value v;
    int64_t deadline_ms;
    bool found = keyspace_detach(c->ks, c->db, from, &v, &deadline_ms);
    HF_ASSERT(found);
    keyspace_put(c->ks, to_db, to, v, deadline_ms);
}

/* True when the key was renamed; else the reply has been written. */
static bool rename_key(struct call *c, bool only_if_free) {
    struct keyref from = call_key(c, 1), to = call_key(c, 2);
    if (call_find_write(c, &from) == NULL) {
        call_error_no_key(c);
        return false;
    }
    if (slice_eq(from.key, to.key)) {
        if (only_if_free)
            resp_int(c->w, 0);
        else
            resp_ok(c->w);
        return false;
    }
    bool taken = call_find_write(c, &to) != NULL;
    if (only_if_free && taken) {
        resp_int(c->w, 0);
        return false;
    }
    transfer(c, &from, c->db, &to);
    if (taken)
        keys_notify_renewed(c, c->db, &to);
    call_changed(c, &from, NOTIFY_GENERIC, "rename_from");
    call_changed(c, &to, NOTIFY_GENERIC, "rename_to");
    return true;
}

static void rename_run(struct call *c) {
    if (rename_key(c, false))
        resp_ok(c->w);
}

static void renamenx_run(struct call *c) {
    if (rename_key(c, true))
        resp_int(c->w, 1);
}

static void move_run(struct call *c) {
    unsigned db;
    if (keyspace_has_slots(c->ks)) {
        call_error(c, "ERR MOVE is not allowed in cluster mode");
        return;
    }
    if (!keys_arg_db(c, 2, NULL, &db))
        return;
    if (db == c->db) {
        call_error(c, "ERR source and destination objects are the same");
        return;
    }
    struct keyref key = call_key(c, 1);
    if (call_find_write(c, &key) == NULL || call_find_write_db(c, db, &key) != NULL) {
        resp_int(c->w, 0);
        return;
    }
    transfer(c, &key, db, &key);
    call_changed(c, &key, NOTIFY_GENERIC, "move_from");
    call_changed_db(c, db, &key, NOTIFY_GENERIC, "move_to");
    resp_int(c->w, 1);
}

static void copy_run(struct call *c) {
    unsigned db = c->db;
    bool replace = false;
    for (int i = 3; i < c->argc; i++) {
        if (slice_is(c->argv[i], "replace")) {
            replace = true;
        } else if (slice_is(c->argv[i], "db") && i + 1 < c->argc) {
            if (!keys_arg_db(c, ++i, NULL, &db))
                return;
        } else {
            call_error_syntax(c);
            return;
        }
    }
    if (keyspace_has_slots(c->ks) && db != 0) {
        call_error(c, "ERR Copying to another database is not allowed in cluster mode");
        return;
    }
    struct keyref from = call_key(c, 1), to = call_key(c, 2);
    if (db == c->db && slice_eq(from.key, to.key)) {
        call_error(c, "ERR source and destination objects are the same");
        return;
    }
    bool taken = false;
    if (call_find_read(c, &from) == NULL || ((taken = call_find_write_db(c, db, &to) != NULL) && !replace)) {
        resp_int(c->w, 0);
        return;
    }
    /* Looked up again: finding the destination may have removed it, which ends the life of entry pointers. */
    const struct entry *source = keyspace_peek(c->ks, c->db, &from);
    HF_ASSERT(source != NULL);
    keyspace_put(c->ks, db, &to, value_copy(entry_value(source)), entry_deadline_ms(source));
    if (taken)
        keys_notify_renewed(c, db, &to);
    call_changed_db(c, db, &to, NOTIFY_GENERIC, "copy_to");
    resp_int(c->w, 1);
}

static const struct command rows[] = {
    {.name = "rename",
     .group = "generic",
     .since = "1.0.0",
     .arity = 3,
     .flags = COMMAND_WRITE,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEYS(KEY_RW | KEY_ACCESS | KEY_DELETE, 1, 0, 1), ROW_KEYS(KEY_OW | KEY_UPDATE, 2, 0, 1)},
     .run = rename_run},
    {.name = "renamenx",
     .group = "generic",
     .since = "1.0.0",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEYS(KEY_RW | KEY_ACCESS | KEY_DELETE, 1, 0, 1), ROW_KEYS(KEY_OW | KEY_INSERT, 2, 0, 1)},
     .run = renamenx_run},
    {.name = "move",
     .group = "generic",
     .since = "1.0.0",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .run = move_run},
    {.name = "copy",
     .group = "generic",
     .since = "6.2.0",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEYS(KEY_RO | KEY_ACCESS, 1, 0, 1), ROW_KEYS(KEY_OW | KEY_UPDATE, 2, 0, 1)},
     .run = copy_run},
};

void keys_move_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
