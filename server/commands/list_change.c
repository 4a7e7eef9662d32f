/* Lists that grow and change in place: LPUSH RPUSH LPUSHX RPUSHX LINSERT LSET LREM LTRIM. */
#include "config.h"

#include "server/commands/list_int.h"

#include "server/commands/rows.h"

static void push(struct call *c, enum quicklist_side side, bool only_existing) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_LIST, &e))
        return;
    if (e == NULL && only_existing) {
        resp_int(c->w, 0);
        return;
    }
    struct collection l = e != NULL ? call_collection(c, e) : list_create(keyspace_rules(c->ks));
    int rc = list_push_all(&l, side, c->argv + 2, (size_t)c->argc - 2);
    size_t count = list_count(&l);
    bool stored = call_collection_store(c, &key, e, VALUE_LIST, &l);
    if (rc != 0 || !stored) {
        list_error_large(c);
        return;
    }
    call_changed(c, &key, NOTIFY_LIST, list_push_event(side));
    resp_int(c->w, (int64_t)count);
}

static void lpush_run(struct call *c) {
    push(c, QUICKLIST_HEAD, false);
}

static void rpush_run(struct call *c) {
    push(c, QUICKLIST_TAIL, false);
}

static void lpushx_run(struct call *c) {
    push(c, QUICKLIST_HEAD, true);
}

static void rpushx_run(struct call *c) {
    push(c, QUICKLIST_TAIL, true);
}

static void linsert_run(struct call *c) {
    bool before = slice_is(c->argv[2], "before");
    if (!before && !slice_is(c->argv[2], "after")) {
        call_error_syntax(c);
        return;
    }
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_LIST, &e))
        return;
    if (e == NULL) {
        resp_int(c->w, 0);
        return;
    }
    struct collection l = call_collection(c, e);
    int rc = list_insert(&l, c->argv[3], before, c->argv[4]);
    size_t count = list_count(&l);
    bool there = call_collection_store(c, &key, e, VALUE_LIST, &l);
    if (rc < 0 || !there) {
        list_error_large(c);
    } else if (rc == 0) {
        resp_int(c->w, -1);
    } else {
        call_changed(c, &key, NOTIFY_LIST, "linsert");
        resp_int(c->w, (int64_t)count);
    }
}

static void lset_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    int64_t index;
    if (!call_find_write_type(c, &key, VALUE_LIST, &e))
        return;
    if (e == NULL) {
        call_error_no_key(c);
        return;
    }
    if (!call_arg_i64(c, 2, &index))
        return;
    struct collection l = call_collection(c, e);
    int rc = list_set(&l, index, c->argv[3]);
    bool there = call_collection_store(c, &key, e, VALUE_LIST, &l);
    if (rc < 0 || !there) {
        list_error_large(c);
    } else if (rc == 0) {
        call_error_out_of_range(c);
    } else {
        call_changed(c, &key, NOTIFY_LIST, "lset");
        resp_ok(c->w);
    }
}

static void lrem_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    int64_t n;
    if (!call_arg_i64(c, 2, &n) || !call_find_write_type(c, &key, VALUE_LIST, &e))
        return;
    if (e == NULL) {
        resp_int(c->w, 0);
        return;
    }
    struct collection l = call_collection(c, e);
    size_t at_most = n == 0 ? SIZE_MAX : n > 0 ? (size_t)n : 0 - (size_t)n;
    size_t removed = list_remove(&l, c->argv[3], at_most, n < 0);
    if (removed != 0)
        list_removed(c, &key, e, &l, "lrem");
    resp_int(c->w, (int64_t)removed);
}

static void ltrim_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    int64_t start, end;
    if (!call_arg_i64(c, 2, &start) || !call_arg_i64(c, 3, &end) || !call_find_write_type(c, &key, VALUE_LIST, &e))
        return;
    if (e != NULL) {
        struct collection l = call_collection(c, e);
        size_t count = list_count(&l), from;
        size_t n = list_range(start, end, count, &from);
        list_trim(&l, from, n);
        list_removed(c, &key, e, &l, "ltrim");
        if (n == count) /* announced all the same, but there is nothing to repeat elsewhere */
            call_propagate_nothing(c);
    }
    resp_ok(c->w);
}

#define PUSH_FLAGS (COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST)

static const struct command rows[] = {
    {.name = "lpush",
     .group = "list",
     .since = "1.0.0",
     .arity = -3,
     .flags = PUSH_FLAGS,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RW | KEY_INSERT)},
     .run = lpush_run},
    {.name = "rpush",
     .group = "list",
     .since = "1.0.0",
     .arity = -3,
     .flags = PUSH_FLAGS,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RW | KEY_INSERT)},
     .run = rpush_run},
    {.name = "lpushx",
     .group = "list",
     .since = "2.2.0",
     .arity = -3,
     .flags = PUSH_FLAGS,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RW | KEY_INSERT)},
     .run = lpushx_run},
    {.name = "rpushx",
     .group = "list",
     .since = "2.2.0",
     .arity = -3,
     .flags = PUSH_FLAGS,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RW | KEY_INSERT)},
     .run = rpushx_run},
    {.name = "linsert",
     .group = "list",
     .since = "2.2.0",
     .arity = 5,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RW | KEY_INSERT)},
     .run = linsert_run},
    {.name = "lset",
     .group = "list",
     .since = "1.0.0",
     .arity = 4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .run = lset_run},
    {.name = "lrem",
     .group = "list",
     .since = "1.0.0",
     .arity = 4,
     .flags = COMMAND_WRITE,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RW | KEY_DELETE)},
     .run = lrem_run},
    {.name = "ltrim",
     .group = "list",
     .since = "1.0.0",
     .arity = 4,
     .flags = COMMAND_WRITE,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RW | KEY_DELETE)},
     .run = ltrim_run},
};

void list_change_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
