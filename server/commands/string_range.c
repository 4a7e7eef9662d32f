/* Parts of strings: APPEND SETRANGE GETRANGE SUBSTR. */
#include "config.h"

#include "server/commands/string_int.h"

#include "server/commands/range.h"
#include "server/commands/rows.h"

static void append_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct slice more = c->argv[2];
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_STRING, &e))
        return;
    size_t len = more.n;
    if (e == NULL) {
        struct value v;
        if (!string_value(c, more, &v))
            return;
        keyspace_put(c->ks, c->db, &key, v, KEYSPACE_NO_DEADLINE);
    } else {
        size_t old_len = entry_string_len(e);
        if (!string_length_allowed(c, old_len, more.n))
            return;
        len = old_len + more.n;
        char *bytes;
        if (keyspace_string_writable(c->ks, c->db, &key, &e, len, &bytes) < 0) {
            string_error_memory(c);
            return;
        }
        memcpy(bytes + old_len, more.p, more.n);
    }
    call_changed(c, &key, NOTIFY_STRING, "append");
    resp_int(c->w, (int64_t)len);
}

static void setrange_run(struct call *c) {
    int64_t offset;
    if (!call_arg_i64(c, 2, &offset))
        return;
    if (offset < 0) {
        call_error(c, "ERR offset is out of range");
        return;
    }
    struct keyref key = call_key(c, 1);
    struct slice part = c->argv[3];
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_STRING, &e))
        return;
    bool absent = e == NULL;
    size_t len = absent ? 0 : entry_string_len(e);
    if (part.n == 0) {
        resp_int(c->w, (int64_t)len);
        return;
    }
    if (!string_length_allowed(c, (size_t)offset, part.n))
        return;
    if ((size_t)offset + part.n > len)
        len = (size_t)offset + part.n;
    if (absent)
        e = keyspace_put(c->ks, c->db, &key, value_string_raw(slice_of("", 0)), KEYSPACE_NO_DEADLINE);
    char *bytes;
    if (keyspace_string_writable(c->ks, c->db, &key, &e, len, &bytes) < 0) {
        if (absent)
            keyspace_delete(c->ks, c->db, &key, false);
        string_error_memory(c);
        return;
    }
    memcpy(bytes + offset, part.p, part.n);
    call_changed(c, &key, NOTIFY_STRING, "setrange");
    resp_int(c->w, (int64_t)len);
}

static void getrange_run(struct call *c) {
    int64_t start, end;
    if (!call_arg_i64(c, 2, &start) || !call_arg_i64(c, 3, &end))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    size_t from = 0;
    size_t n = e == NULL ? 0 : range_cut(start, end, entry_string_len(e), &from);
    if (n == 0)
        resp_bulk(c->w, slice_of("", 0));
    else
        string_reply_range(c, e, from, n);
}

static const struct command rows[] = {
    {.name = "append",
     .group = "string",
     .since = "2.0.0",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RW | KEY_INSERT)},
     .run = append_run},
    {.name = "setrange",
     .group = "string",
     .since = "2.2.0",
     .arity = 4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .run = setrange_run},
    {.name = "getrange",
     .group = "string",
     .since = "2.4.0",
     .arity = 4,
     .flags = COMMAND_READONLY,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = getrange_run},
    {.name = "substr",
     .group = "string",
     .since = "1.0.0",
     .arity = 4,
     .flags = COMMAND_READONLY,
     .acl = ACL_STRING,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = getrange_run},
};

void string_range_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
