/* Whole databases: DBSIZE FLUSHDB FLUSHALL SWAPDB. */
#include "config.h"

#include "server/commands/keys_int.h"

#include "server/commands/rows.h"
#include "server/engine/engine.h"

static void dbsize_run(struct call *c) {
    resp_int(c->w, (int64_t)keyspace_size(c->ks, c->db));
}

/* [SYNC | ASYNC]; without either the option lazyfree-lazy-user-flush says. */
static bool parse_flush(struct call *c, bool *ret_async) {
    if (c->argc == 1) {
        *ret_async = engine_options(c->engine)->lazy_user_flush;
        return true;
    }
    bool async = slice_is(c->argv[1], "async");
    if (c->argc > 2 || (!async && !slice_is(c->argv[1], "sync"))) {
        call_error_syntax(c);
        return false;
    }
    *ret_async = async;
    return true;
}

static void flushdb_run(struct call *c) {
    bool async;
    if (!parse_flush(c, &async))
        return;
    call_changed_all(c, (int)c->db, keyspace_size(c->ks, c->db));
    keyspace_flush(c->ks, (int)c->db, async);
    /* A replica may hold what is empty here. */
    call_propagate_always(c);
    resp_ok(c->w);
}

static void flushall_run(struct call *c) {
    const struct keys_hooks *hooks = call_context(c);
    bool async;
    if (!parse_flush(c, &async))
        return;
    size_t keys = 0;
    for (unsigned db = 0; db < keyspace_databases(c->ks); db++)
        keys += keyspace_size(c->ks, db);
    call_changed_all(c, -1, keys);
    keyspace_flush(c->ks, -1, async);
    call_propagate_always(c);
    resp_ok(c->w);
    if (hooks->flushed_all != NULL)
        hooks->flushed_all(hooks->ctx);
}

static void swapdb_run(struct call *c) {
    unsigned a, b;
    int64_t ignored;
    if (keyspace_has_slots(c->ks)) {
        call_error(c, "ERR SWAPDB is not allowed in cluster mode");
        return;
    }
    /* Both must be numbers before either must be a database. */
    if (!call_arg_i64_range(c, 1, INT32_MIN, INT32_MAX, "ERR invalid first DB index", &ignored) ||
        !call_arg_i64_range(c, 2, INT32_MIN, INT32_MAX, "ERR invalid second DB index", &ignored) ||
        !keys_arg_db(c, 1, NULL, &a) || !keys_arg_db(c, 2, NULL, &b))
        return;
    if (a != b) {
        /* A watched key changes when it was there before the swap or is there after it. */
        call_changed_all(c, (int)a, 0);
        call_changed_all(c, (int)b, 0);
        keyspace_swap(c->ks, a, b);
        call_changed_all(c, (int)a, 0);
        call_changed_all(c, (int)b, 0);
    }
    call_propagate_always(c);
    resp_ok(c->w);
}

static const char *const dbsize_tips[] = {"request_policy:all_shards", "response_policy:agg_sum", NULL};
static const char *const flush_tips[] = {"request_policy:all_shards", "response_policy:all_succeeded", NULL};

static const struct command rows[] = {
    {.name = "dbsize",
     .group = "server",
     .since = "1.0.0",
     .arity = 1,
     .flags = COMMAND_READONLY | COMMAND_FAST | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE,
     .tips = dbsize_tips,
     .run = dbsize_run},
    {.name = "flushdb",
     .group = "server",
     .since = "1.0.0",
     .arity = -1,
     .flags = COMMAND_WRITE | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .tips = flush_tips,
     .run = flushdb_run},
    {.name = "flushall",
     .group = "server",
     .since = "1.0.0",
     .arity = -1,
     .flags = COMMAND_WRITE | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .tips = flush_tips,
     .run = flushall_run},
    {.name = "swapdb",
     .group = "server",
     .since = "4.0.0",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_FAST | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .run = swapdb_run},
};

void keys_db_register(struct command_table *t, const struct keys_hooks *hooks) {
    command_table_register(t, rows, ROW_COUNT(rows), (void *)(uintptr_t)hooks);
}
