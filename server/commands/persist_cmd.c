#include "config.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/persist_int.h"
#include "server/engine/call.h"

/* SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, WAIT, WAITAOF, SHUTDOWN. */

static void cmd_save(struct call *c) {
    struct persist *p = call_context(c);
    struct buf error = BUF_INIT;
    if (persist_save(p, &error) == 0)
        resp_ok(c->w);
    else if (child_running(p->children) == CHILD_SNAPSHOT)
        call_error(c, "ERR Background save already in progress");
    else
        call_errorf(c, "ERR %.*s", (int)error.len, error.data ? error.data : "");
    buf_deinit(&error);
}

static void bgsave_cancel(struct call *c, struct persist *p) {
    if (child_running(p->children) == CHILD_SNAPSHOT) {
        child_kill(p->children);
        resp_simple(c->w, "Background saving cancelled");
    } else if (p->bgsave_scheduled) {
        p->bgsave_scheduled = false;
        resp_simple(c->w, "Scheduled background saving cancelled");
    } else {
        call_error(c, "ERR Background saving is currently not in progress or scheduled");
    }
}

static void cmd_bgsave(struct call *c) {
    struct persist *p = call_context(c);
    bool schedule = false;
    if (c->argc > 1) {
        if (c->argc == 2 && slice_is(c->argv[1], "schedule")) {
            schedule = true;
        } else if (c->argc == 2 && slice_is(c->argv[1], "cancel")) {
            bgsave_cancel(c, p);
            return;
        } else {
            call_error_syntax(c);
            return;
        }
    }
    enum child_kind running = child_running(p->children);
    struct aof_stats aof;
    aof_stats(p->aof, &aof);
    if (running == CHILD_NONE && aof.rewrite_in_progress)
        running = CHILD_AOF_REWRITE; /* it prepares its increment: the fork is next */
    if (running == CHILD_SNAPSHOT) {
        call_error(c, "ERR Background save already in progress");
    } else if (running != CHILD_NONE || call_must_not_block(c)) {
        if (schedule || running == CHILD_NONE) {
            p->bgsave_scheduled = true;
            resp_simple(c->w, "Background saving scheduled");
        } else {
            call_error(c, "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in "
                          "order to schedule a BGSAVE "
                          "whenever possible.");
        }
    } else {
        struct buf error = BUF_INIT;
        if (persist_bgsave(p, &error) == 0)
            resp_simple(c->w, "Background saving started");
        else
            call_errorf(c, "ERR %.*s", (int)error.len, error.data);
        buf_deinit(&error);
    }
}

/* With the AOF off: the directory gets a base and an increment that end here, as Redis leaves them. */
static void rewrite_once(struct call *c, struct persist *p) {
    if (child_running(p->children) != CHILD_NONE) {
        p->rewrite_later = true;
        resp_simple(c->w, "Background append only file rewriting scheduled");
        return;
    }
    struct buf error = BUF_INIT;
    if (persist_rewrite_once(p, &error) == 0)
        resp_simple(c->w, "Background append only file rewriting started");
    else
        call_errorf(c, "ERR %.*s", (int)error.len, error.data);
    buf_deinit(&error);
}

static void cmd_bgrewriteaof(struct call *c) {
    struct persist *p = call_context(c);
    switch (aof_rewrite(p->aof)) {
    case AOF_REWRITE_STARTED:
        resp_simple(c->w, "Background append only file rewriting started");
        break;
    case AOF_REWRITE_SCHEDULED:
        resp_simple(c->w, "Background append only file rewriting scheduled");
        break;
    case AOF_REWRITE_IN_PROGRESS:
        call_error(c, "ERR Background append only file rewriting already in progress");
        break;
    case AOF_REWRITE_OFF:
        rewrite_once(c, p);
        break;
    }
}

static void cmd_lastsave(struct call *c) {
    const struct persist *p = call_context(c);
    resp_int(c->w, p->last_save_s);
}

/* ---- WAIT, WAITAOF ---- */

struct wait_state {
    struct persist *p;
    uint64_t offset;
    int64_t local; /* 0, 1; -1: WAIT */
    int64_t replicas;
};

static bool wait_local_done(const struct wait_state *w) {
    return w->local <= 0 || (aof_is_on(w->p->aof) && aof_durable_offset(w->p->aof) >= w->offset);
}

static size_t acked(const struct wait_state *w) {
    const struct persist_parts *parts = &w->p->parts;
    return parts->replicas_acked == NULL ? 0 : parts->replicas_acked(parts->ctx, w->offset, w->local >= 0);
}

static bool wait_ready(struct client *cl, void *state) {
    (void)cl;
    const struct wait_state *w = state;
    return acked(w) >= (size_t)w->replicas && wait_local_done(w);
}

static void wait_reply(struct client *cl, void *state, bool timed_out) {
    const struct wait_state *w = state;
    (void)timed_out;
    if (w->local < 0) {
        resp_int(&cl->w, (int64_t)acked(w));
        return;
    }
    bool durable = aof_is_on(w->p->aof) && aof_durable_offset(w->p->aof) >= w->offset;
    resp_array(&cl->w, 2);
    resp_int(&cl->w, durable ? 1 : 0);
    resp_int(&cl->w, (int64_t)acked(w));
}

static const struct client_block_ops wait_ops = {
    .name = "wait", .ready = wait_ready, .reply = wait_reply, .free = mem_free};

static bool arg_timeout_ms(struct call *c, int i, int64_t *ret_ms) {
    if (num_parse_i64(c->argv[i], ret_ms) != 0 || *ret_ms > INT64_MAX / 1000000) {
        call_error(c, "ERR timeout is not an integer or out of range");
        return false;
    }
    if (*ret_ms < 0) {
        call_error(c, "ERR timeout is negative");
        return false;
    }
    return true;
}

static void wait_for(struct call *c, int64_t local, int64_t replicas, int64_t timeout_ms) {
    struct wait_state now = {call_context(c), c->client->wait_offset, local, replicas};
    if (wait_ready(c->client, &now) || call_must_not_block(c)) {
        wait_reply(c->client, &now, false);
        return;
    }
    if (now.replicas > 0 && now.p->parts.ask_replicas != NULL)
        now.p->parts.ask_replicas(now.p->parts.ctx);
    struct wait_state *state = mem_alloc(sizeof *state);
    *state = now;
    call_block(c, &wait_ops, state, timeout_ms);
}

static bool is_replica(const struct persist *p) {
    return p->parts.is_replica != NULL && p->parts.is_replica(p->parts.ctx);
}

static void cmd_wait(struct call *c) {
    int64_t replicas, timeout_ms;
    if (is_replica(call_context(c))) {
        call_error(c, "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a "
                      "replica is configured to be writable (which is not the default) writes to replicas are just "
                      "local and are not propagated.");
        return;
    }
    if (!call_arg_i64(c, 1, &replicas) || !arg_timeout_ms(c, 2, &timeout_ms))
        return;
    wait_for(c, -1, replicas > 0 ? replicas : 0, timeout_ms);
}

static void cmd_waitaof(struct call *c) {
    struct persist *p = call_context(c);
    int64_t local, replicas, timeout_ms;
    if (!call_arg_i64_range(c, 1, 0, 1, "ERR value is out of range, value must between 0 and 1", &local) ||
        !call_arg_i64_range(c, 2, 0, INT64_MAX, "ERR value is out of range, must be positive", &replicas) ||
        !arg_timeout_ms(c, 3, &timeout_ms))
        return;
    if (is_replica(p)) {
        call_error(c, "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are "
                      "just local and are not propagated.");
        return;
    }
    if (local == 1 && !aof_is_on(p->aof)) {
        call_error(c, "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
        return;
    }
    wait_for(c, local, replicas, timeout_ms);
}

/* ---- SHUTDOWN ---- */

/* Nobody reads the answer of a server that ends. */
static bool shutdown_is_over(struct client *cl, void *state) {
    const struct persist *p = state;
    (void)cl;
    return !p->parts.shutdown_waits(p->parts.ctx);
}

static void shutdown_reply(struct client *cl, void *state, bool timed_out) {
    (void)state, (void)timed_out;
    resp_error(&cl->w, SLICE_LIT("ERR Errors trying to SHUTDOWN. Check logs."));
}

static const struct client_block_ops shutdown_ops = {
    .name = "shutdown", .ready = shutdown_is_over, .reply = shutdown_reply};

static void cmd_shutdown(struct call *c) {
    struct persist *p = call_context(c);
    unsigned flags = 0;
    bool abort_it = false;
    for (int i = 1; i < c->argc; i++) {
        if (slice_is(c->argv[i], "nosave"))
            flags |= PERSIST_SHUTDOWN_NOSAVE;
        else if (slice_is(c->argv[i], "save"))
            flags |= PERSIST_SHUTDOWN_SAVE;
        else if (slice_is(c->argv[i], "now"))
            flags |= PERSIST_SHUTDOWN_NOW;
        else if (slice_is(c->argv[i], "force"))
            flags |= PERSIST_SHUTDOWN_FORCE;
        else if (slice_is(c->argv[i], "abort"))
            abort_it = true;
        else {
            call_error_syntax(c);
            return;
        }
    }
    const unsigned both = PERSIST_SHUTDOWN_SAVE | PERSIST_SHUTDOWN_NOSAVE;
    if ((abort_it && flags != 0) || (flags & both) == both) {
        call_error_syntax(c);
        return;
    }
    if (abort_it) {
        if (p->parts.shutdown_abort(p->parts.ctx) == 0)
            resp_ok(c->w);
        else
            call_error(c, "ERR No shutdown in progress.");
        return;
    }
    int rc = p->parts.shutdown(p->parts.ctx, flags | (call_must_not_block(c) ? PERSIST_SHUTDOWN_NOW : 0u));
    if (rc < 0)
        call_error(c, "ERR Errors trying to SHUTDOWN. Check logs.");
    else if (rc == 0)
        client_close_asap(c->client);
    else
        call_block(c, &shutdown_ops, p, 0);
}

static const struct command rows[] = {
    {.name = "save",
     .group = "server",
     .since = "1.0.0",
     .arity = 1,
     .flags = COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_MULTI,
     .run = cmd_save},
    {.name = "bgsave",
     .group = "server",
     .since = "1.0.0",
     .arity = -1,
     .flags = COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_NO_ASYNC_LOADING,
     .run = cmd_bgsave},
    {.name = "bgrewriteaof",
     .group = "server",
     .since = "1.0.0",
     .arity = 1,
     .flags = COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_NO_ASYNC_LOADING,
     .run = cmd_bgrewriteaof},
    {.name = "lastsave",
     .group = "server",
     .since = "1.0.0",
     .arity = 1,
     .flags = COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST,
     .acl = ACL_ADMIN | ACL_DANGEROUS,
     .run = cmd_lastsave},
    {.name = "wait",
     .group = "generic",
     .since = "3.0.0",
     .arity = 3,
     .flags = COMMAND_BLOCKING,
     .acl = ACL_CONNECTION,
     .run = cmd_wait},
    {.name = "waitaof",
     .group = "generic",
     .since = "7.2.0",
     .arity = 4,
     .flags = COMMAND_BLOCKING,
     .acl = ACL_CONNECTION,
     .run = cmd_waitaof},
    {.name = "shutdown",
     .group = "server",
     .since = "1.0.0",
     .arity = -1,
     .flags =
         COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_NO_MULTI | COMMAND_ALLOW_BUSY,
     .run = cmd_shutdown},
};

void persist_register_commands(struct persist *p) {
    command_table_register(engine_commands(p->engine), rows, sizeof rows / sizeof rows[0], p);
}
