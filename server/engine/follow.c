#include "config.h"

#include "server/engine/engine_int.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/clock.h"

/* The node as a replica: a primary's stream is executed and enters the change log as it came.
 *
 * The bytes of a group are appended and sealed before its last request runs. That is sound because nothing else appends
 * while the node follows, and it lets the offset of the group be known while its keys are recorded as in flight. The
 * primary says when a key is gone: its own commands meet keys whatever their deadline, clients do not see due ones. */

void engine_set_following(struct engine *e, bool following) {
    if (following && !e->following)
        block_release_all(e, "UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
                             "replica?)");
    e->following = following;
    engine_apply_expiry(e);
}

bool engine_following(const struct engine *e) {
    return e->following;
}

void engine_set_leave_eviction(struct engine *e, bool leave) {
    e->leave_eviction = leave;
}

void engine_set_guard(struct engine *e, engine_guard_fn *fn, void *ctx) {
    e->guard.fn = fn;
    e->guard.ctx = ctx;
}

bool engine_is_busy(const struct engine *e) {
    return e->busy_depth > 0 || e->call != NULL || e->loading;
}

struct client *engine_client_create_primary(struct engine *e) {
    struct client *cl = engine_client_create_internal(e);
    cl->flags |= CLIENT_PRIMARY;
    return cl;
}

void engine_follow_begin(struct engine *e) {
    HF_ASSERT(!engine_is_busy(e) && e->following);
    e->now_us = clock_mono_us();
    e->now_ms = clock_wall_ms();
    keyspace_set_now_ms(e->ks, e->now_ms);
    keyspace_set_expiry(e->ks, KEYSPACE_EXPIRE_IGNORE);
    engine_note_log_state(e);
}

void engine_follow_end(struct engine *e) {
    engine_apply_expiry(e);
}

static int fail(struct buf *error, const char *what, struct slice name) {
    buf_printf(error, "%s '%.*s'", what, (int)(name.n > 128 ? 128 : name.n), name.p);
    return -1;
}

/* Changes, messages, and what holds a stream together. Everything else a primary has no reason to send. */
static bool is_replicated(const struct command_entry *cmd) {
    static const char *const frame[] = {"ping", "select", "multi", "exec", "discard", "replconf"};
    if (cmd->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE))
        return true;
    for (size_t i = 0; i < sizeof frame / sizeof frame[0]; i++)
        if (strcmp(cmd->full_name, frame[i]) == 0)
            return true;
    return false;
}

int engine_follow(struct client *cl, const struct slice *argv, int argc, struct slice group, struct buf *error) {
    struct engine *e = cl->engine;
    if (group.n > 0) {
        changelog_append(e->log, group.p, group.n);
        changelog_end_group(e->log);
    }
    struct command_entry *container = NULL, *cmd = command_table_resolve(e->commands, argv, argc, &container);
    if (cmd == NULL)
        return fail(error, "unknown command", argv[0]);
    if (!command_arity_ok(cmd, argc))
        return fail(error, "wrong number of arguments for", argv[0]);
    if (!is_replicated(cmd))
        return fail(error, "replication does not carry", argv[0]);
    if ((cl->flags & CLIENT_MULTI) && !engine_runs_in_multi(cmd)) {
        transaction_queue(cl, cmd, argv, argc);
        return 0;
    }
    engine_execute(e, cl, cmd, argv, argc, NULL, slice_of(NULL, 0));
    return engine_take_error(cl, error);
}

bool engine_follow_in_group(const struct client *cl) {
    return (cl->flags & CLIENT_MULTI) != 0;
}

void engine_follow_discard(struct client *cl) {
    transaction_discard(cl);
}

void engine_data_replaced(struct engine *e) {
    engine_data_dropped(e);
    inflight_prune(&e->inflight, UINT64_MAX);
    e->recent_count = 0;
    e->recent_lost = false;
    for (size_t i = 0; i < e->client_count; i++)
        e->clients[i]->wait_offset = 0;
}

void engine_set_primary_link(struct engine *e, struct client *cl, struct conn *conn, void (*kill)(void *ctx),
                             void *ctx) {
    e->primary.client = cl;
    e->primary.conn = conn;
    e->primary.kill = kill;
    e->primary.ctx = ctx;
}

void engine_drop_blocked(struct engine *e) {
    for (size_t i = 0; i < e->client_count; i++) {
        struct client *cl = e->clients[i];
        if (!(cl->flags & CLIENT_BLOCKED) || cl->block == NULL || (cl->flags & CLIENT_CLOSE_ASAP))
            continue;
        engine_reply_error(cl, "UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
                               "replica?)");
        block_resume(cl);
        client_close_after_reply(cl);
    }
}
