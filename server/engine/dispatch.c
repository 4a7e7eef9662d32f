#include "config.h"

#include "server/engine/engine_int.h"
#include "server/engine/latency.h"

#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"

/* From a parsed request to an executed command. engine_dispatch() asks, in the order clients can observe, whether the
 * command may run now; engine_execute() runs it, measures it, propagates it and marks its reply. */

/* ---- CLIENT REPLY ---- */

/* Refused requests count, too; one that waits has not been answered yet. */
static inline void settle_replies(struct engine *e, struct client *cl) {
    if (__builtin_expect(cl->w.q == &cl->out &&
                             (cl->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT)) == 0,
                         1) ||
        (cl->flags & CLIENT_IN_EXEC) != 0)
        return;
    outq_clear(&e->sink);
    if (cl->flags & CLIENT_REPLY_OFF)
        cl->w.q = &e->sink;
    if (cl->flags & CLIENT_REPLY_SKIP) {
        cl->flags &= ~(uint64_t)CLIENT_REPLY_SKIP;
        if (!(cl->flags & CLIENT_REPLY_OFF))
            cl->w.q = &cl->out;
    }
    if (cl->flags & CLIENT_REPLY_SKIP_NEXT) {
        cl->flags &= ~(uint64_t)CLIENT_REPLY_SKIP_NEXT;
        cl->flags |= CLIENT_REPLY_SKIP;
        cl->w.q = &e->sink;
    }
}

void engine_settle_replies(struct client *cl) {
    settle_replies(cl->engine, cl);
}

/* ---- refusals ---- */

/* A refused EXEC ends its transaction, and says so. */
static void refuse_exec(struct client *cl, const char *text) {
    struct buf b = BUF_INIT;
    buf_append_cstr(&b, "EXECABORT Transaction discarded because of: ");
    buf_append_cstr(&b, strncmp(text, "ERR ", 4) == 0 ? text + 4 : text);
    buf_append_char(&b, '\0');
    transaction_discard(cl);
    engine_reply_error(cl, b.data);
    buf_deinit(&b);
}

void engine_refuse(struct engine *e, struct client *cl, struct command_entry *cmd, const char *text) {
    if (cl->flags & CLIENT_MULTI)
        cl->flags |= CLIENT_DIRTY_EXEC;
    if (cmd != NULL)
        cmd->rejected++;
    if (cmd != NULL && strcmp(cmd->row->name, "exec") == 0)
        refuse_exec(cl, text);
    else
        engine_reply_error(cl, text);
    settle_replies(e, cl);
    client_note_output(cl);
}

static void refuse_unknown(struct engine *e, struct client *cl, const struct slice *argv, int argc,
                           const struct command_entry *container) {
    struct buf b = BUF_INIT;
    if (container != NULL) {
        char name[64];
        size_t i = 0;
        for (; container->row->name[i] != '\0' && i + 1 < sizeof name; i++) {
            char ch = container->row->name[i];
            name[i] = (char)(ch >= 'a' && ch <= 'z' ? ch - 32 : ch);
        }
        name[i] = '\0';
        if (argc < 2)
            buf_printf(&b, "ERR wrong number of arguments for '%s' command", container->row->name);
        else
            buf_printf(&b, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)(argv[1].n > 128 ? 128 : argv[1].n),
                       argv[1].p, name);
    } else {
        buf_printf(&b,
                   "ERR unknown command '%.*s', with args beginning with: ", (int)(argv[0].n > 128 ? 128 : argv[0].n),
                   argv[0].p);
        size_t shown = 0;
        for (int i = 1; i < argc && shown < 128; i++) {
            size_t n = argv[i].n > 128 - shown ? 128 - shown : argv[i].n;
            buf_printf(&b, "'%.*s' ", (int)n, argv[i].p);
            shown += n + 3;
        }
    }
    buf_append_char(&b, '\0');
    engine_refuse(e, cl, NULL, b.data);
    buf_deinit(&b);
}

static void refuse_arity(struct engine *e, struct client *cl, struct command_entry *cmd) {
    char text[192];
    snprintf(text, sizeof text, "ERR wrong number of arguments for '%s' command", cmd->full_name);
    engine_refuse(e, cl, cmd, text);
}

/* ---- memory ---- */

/* 50 µs a step up to the default of 10, then 15 % more a step; 100: as long as it takes. */
static int64_t eviction_budget_us(int64_t tenacity) {
    if (tenacity >= 100)
        return INT64_MAX;
    double us = 50.0 * (double)(tenacity < 10 ? tenacity : 10);
    for (int64_t i = 10; i < tenacity; i++)
        us *= 1.15;
    return (int64_t)us;
}

bool engine_evict(struct engine *e) {
    if (e->maxmemory_bytes == 0 || e->loading || (e->following && e->leave_eviction))
        return true;
    if (engine_memory_counted(e) <= e->maxmemory_bytes) {
        if (e->stats.eviction_since_us != 0) {
            e->stats.eviction_exceeded_us += (uint64_t)(clock_mono_us() - e->stats.eviction_since_us);
            e->stats.eviction_since_us = 0;
        }
        return true;
    }
    if (e->stats.eviction_since_us == 0)
        e->stats.eviction_since_us = clock_mono_us();
    if (e->pause_until_ms != 0)
        return true; /* the data set is frozen for a hand-over: neither evict nor refuse */
    int64_t start = clock_mono_us();
    /* Values freed in the background are not counted down yet: wait for them before giving up. */
    for (unsigned i = 1;; i++) {
        if (!keyspace_evict_one(e->ks, (enum keyspace_policy)e->options.maxmemory_policy,
                                (unsigned)e->options.maxmemory_samples)) {
            while (keyspace_lazyfree_pending(e->ks) > 0 && clock_mono_us() - start < 10000)
                if (engine_memory_counted(e) <= e->maxmemory_bytes)
                    return true;
            return engine_memory_counted(e) <= e->maxmemory_bytes;
        }
        if (engine_memory_counted(e) <= e->maxmemory_bytes)
            return true;
        /* A long eviction goes on in the next cycles; meanwhile the command may run. */
        if (i % 16 == 0 && clock_mono_us() - start > eviction_budget_us(e->options.maxmemory_tenacity))
            return true;
    }
}

/* ---- checks ---- */

static const char *refusal_of_state(struct engine *e, struct client *cl, struct command_entry *cmd) {
    if (e->loading && !(cmd->flags & COMMAND_LOADING) && (!e->async_loading || (cmd->flags & COMMAND_NO_ASYNC_LOADING)))
        return "LOADING Redis is loading the dataset in memory";
    for (int i = 0; (cmd->flags & (COMMAND_WRITE | COMMAND_TELLS_HEALTH)) != 0 && i < e->hook_count; i++) {
        const char *text = e->hooks[i].refuse_write ? e->hooks[i].refuse_write(e->hooks[i].ctx, cl) : NULL;
        if (text != NULL)
            return text;
    }
    return e->guard.fn != NULL ? e->guard.fn(e->guard.ctx, cl, cmd) : NULL;
}

static bool access_allowed(int access, const struct client *cl) {
    return access == ENGINE_ACCESS_YES ||
           (access == ENGINE_ACCESS_LOCAL && (cl->conn == NULL || conn_is_local(cl->conn)));
}

static bool check_protected(struct engine *e, struct client *cl, struct command_entry *cmd) {
    if (!(cmd->flags & COMMAND_PROTECTED) || access_allowed(e->options.enable_debug_command, cl))
        return true;
    engine_refuse(
        e, cl, cmd,
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a "
        "local "
        "connection, otherwise you need to set this option in the configuration file, and then restart the server.");
    return false;
}

/* What a client with subscriptions may ask in RESP2, where replies and messages look alike. */
static bool runs_in_pubsub(const struct command_entry *cmd) {
    static const char *const allowed[] = {"ping",       "quit",         "reset",      "subscribe",   "unsubscribe",
                                          "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe"};
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (strcmp(cmd->full_name, allowed[i]) == 0)
            return true;
    return false;
}

static bool check_pubsub(struct engine *e, struct client *cl, struct command_entry *cmd) {
    if (cl->w.resp != 2 || runs_in_pubsub(cmd))
        return true;
    char text[256];
    snprintf(text, sizeof text,
             "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this "
             "context",
             cmd->full_name);
    engine_refuse(e, cl, cmd, text);
    return false;
}

/* Any command but these is queued while MULTI is open. */
bool engine_runs_in_multi(const struct command_entry *cmd) {
    static const char *const direct[] = {"exec", "discard", "multi", "watch", "quit", "reset"};
    for (size_t i = 0; i < sizeof direct / sizeof direct[0]; i++)
        if (strcmp(cmd->row->name, direct[i]) == 0)
            return true;
    return false;
}

static bool is_paused(const struct engine *e, const struct client *cl, const struct command_entry *cmd) {
    if (cl->flags & (CLIENT_REPLICA | CLIENT_PRIMARY | CLIENT_INTERNAL))
        return false;
    if (e->pause_until_ms != 0 && e->pause_all)
        return strcmp(cmd->full_name, "client|unpause") != 0;
    if (cmd->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE))
        return true;
    if (strcmp(cmd->row->name, "exec") == 0 && cl->tx != NULL)
        for (size_t i = 0; i < cl->tx->count; i++)
            if (cl->tx->queued[i]->cmd->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE))
                return true;
    return false;
}

/* Queueing takes memory, too: while MULTI is open everything is refused but what ends it. */
static bool has_denyoom(const struct client *cl, const struct command_entry *cmd) {
    if (cmd->flags & COMMAND_DENYOOM)
        return true;
    if ((cl->flags & CLIENT_MULTI) && strcmp(cmd->row->name, "exec") != 0 && strcmp(cmd->row->name, "discard") != 0 &&
        strcmp(cmd->row->name, "quit") != 0 && strcmp(cmd->row->name, "reset") != 0)
        return true;
    if (strcmp(cmd->row->name, "exec") == 0 && cl->tx != NULL)
        for (size_t i = 0; i < cl->tx->count; i++)
            if (cl->tx->queued[i]->cmd->flags & COMMAND_DENYOOM)
                return true;
    return false;
}

static bool route(struct engine *e, struct client *cl, struct command_entry *cmd, const struct request *r) {
    for (int i = 0; i < e->hook_count; i++) {
        if (e->hooks[i].route == NULL)
            continue;
        struct key_positions keys;
        key_positions_init(&keys);
        struct buf error = BUF_INIT;
        struct call c = {.engine = e,
                         .client = cl,
                         .ks = e->ks,
                         .cmd = cmd,
                         .argv = r->argv,
                         .argc = r->argc,
                         .db = cl->db,
                         .w = &cl->w};
        int rc = command_get_keys(cmd, r->argv, r->argc, &keys) == 0
                     ? e->hooks[i].route(e->hooks[i].ctx, &c, &keys, &error)
                     : 0;
        key_positions_deinit(&keys);
        if (rc != 0) {
            buf_append_char(&error, '\0');
            engine_refuse(e, cl, cmd, error.data);
            buf_deinit(&error);
            return false;
        }
        buf_deinit(&error);
    }
    return true;
}

/* The path that nearly every command takes has one branch per question; what is rare lives behind `special`. */
void engine_dispatch(struct engine *e, const struct request *r) {
    struct client *cl = r->cl;
    struct command_entry *cmd = r->cmd;
    if (__builtin_expect(cmd == NULL, 0)) {
        struct command_entry *container = NULL;
        cmd = command_table_resolve(e->commands, r->argv, r->argc, &container);
        if (cmd == NULL) {
            refuse_unknown(e, cl, r->argv, r->argc, container);
            return;
        }
    }
    if (__builtin_expect(!command_arity_ok(cmd, r->argc), 0)) {
        refuse_arity(e, cl, cmd);
        return;
    }
    if (__builtin_expect(!cl->authenticated && !(cmd->flags & COMMAND_NO_AUTH), 0)) {
        e->stats.auth_denied++;
        engine_refuse(e, cl, cmd, "NOAUTH Authentication required.");
        return;
    }
    if (__builtin_expect((cmd->flags & COMMAND_PROTECTED) != 0, 0) && !check_protected(e, cl, cmd))
        return;
    if (__builtin_expect((cl->flags & CLIENT_MULTI) && (cmd->flags & COMMAND_NO_MULTI) && !engine_runs_in_multi(cmd), 0)) {
        engine_refuse(e, cl, cmd, "ERR Command not allowed inside a transaction");
        return;
    }
    if (e->routed && !route(e, cl, cmd, r))
        return;
    if (__builtin_expect(e->maxmemory_bytes != 0, 0) && !(cl->flags & CLIENT_MUST_OBEY) && !engine_evict(e) &&
        has_denyoom(cl, cmd)) {
        engine_refuse(e, cl, cmd, "OOM command not allowed when used memory > 'maxmemory'.");
        return;
    }
    const char *refusal = refusal_of_state(e, cl, cmd);
    if (__builtin_expect(refusal != NULL, 0)) {
        engine_refuse(e, cl, cmd, refusal);
        return;
    }
    if (__builtin_expect((cl->flags & CLIENT_PUBSUB) != 0, 0) && !check_pubsub(e, cl, cmd))
        return;
    if (__builtin_expect((cl->flags & CLIENT_MULTI) != 0, 0) && !engine_runs_in_multi(cmd)) {
        transaction_queue(cl, cmd, r->argv, r->argc);
        resp_simple(&cl->w, "QUEUED");
        settle_replies(e, cl);
        client_note_output(cl);
        return;
    }
    if (__builtin_expect(e->pause_until_ms != 0 || e->log_full, 0) && is_paused(e, cl, cmd)) {
        block_pause(cl, cmd, r->argv, r->argc);
        return;
    }
    struct slice raw = r->canonical ? slice_of(cl->in + r->start, r->consumed) : slice_of(NULL, 0);
    engine_execute(e, cl, cmd, r->argv, r->argc, r, raw);
}

/* ---- execution ---- */

static void note_slow(struct engine *e, struct client *cl, const struct call *c, int64_t us) {
    if (c->cmd->flags & COMMAND_SKIP_SLOWLOG)
        return;
    struct slice shown[64]; /* more than the slow log keeps */
    const int argc = c->argc < 64 ? c->argc : 64;
    for (int i = 0; i < argc && c->redacted != 0; i++)
        shown[i] = (c->redacted >> i & 1) != 0 ? SLICE_LIT("(redacted)") : c->argv[i];
    const struct slice *argv = c->redacted != 0 ? shown : c->argv;
    char peer[CONN_ADDR_CHARS] = "";
    if (cl->conn != NULL)
        conn_peer_addr(cl->conn, peer);
    int64_t wait_us = clock_mono_us() - us - cl->last_active_us;
    slowlog_add(e->slowlog, e->options.slowlog_max_len, clock_wall_us() / 1000000, us, wait_us > 0 ? wait_us : 0,
                cl->db, argv, c->redacted != 0 ? argc : c->argc, peer, cl->name ? cl->name : "", cl->user);
}

/* The reply that began at `from` waits for what the command changed and for what it saw, and so does what others were
 * told of it. */
static void mark_reply(struct engine *e, struct client *cl, const struct call *c, uint64_t from, uint64_t log_before) {
    uint64_t offset = e->read_offset;
    uint64_t appended = changelog_appended(e->log);
    if (appended != log_before &&
        (c->dirty != 0 || (c->propagate != CALL_PROPAGATE_REQUEST && c->propagate != CALL_PROPAGATE_MESSAGE)))
        offset = appended;
    if (offset != 0 && outq_end(&cl->out) != from)
        engine_update_marks(cl, from, offset);
    if (__builtin_expect(e->told_count != 0, 0))
        pubsub_hold_told(e, offset);
}

void engine_execute(struct engine *e, struct client *cl, struct command_entry *cmd, const struct slice *argv, int argc,
                    const struct request *r, struct slice raw) {
    struct call c = {
        .engine = e, .client = cl, .ks = e->ks, .cmd = cmd, .argv = argv, .argc = argc, .db = cl->db, .w = &cl->w};
    c.retry = (cl->flags & CLIENT_BLOCKED) != 0;
    if (r != NULL)
        c.large = r->large;
    if (r != NULL && r->key_index > 0) {
        c.key = r->key;
        c.key_index = r->key_index;
    }
    struct call *outer = e->call;
    e->call = &c;
    uint64_t from = 0, log_before = 0;
    const uint64_t dirty_before = e->dirty;
    const bool acked = __builtin_expect((e->write_ack.replicas != 0) | (cl->acks != NULL), 0) && !e->in_exec &&
                       write_ack_applies(cl);
    if (acked)
        from = outq_end(&cl->out);
    if (!e->in_exec)
        e->changed_count = 0;
    /* As it is now: an earlier command may have switched the AOF on. On a replica the stream alone is logged, but clients
     * may read what of it is in flight. */
    const bool tracked = !e->applying && changelog_is_active(e->log);
    e->log_active = tracked && (!e->following || (cl->flags & CLIENT_PRIMARY) != 0);
    if (tracked) {
        e->own_count = 0;
        buf_clear(&e->own_bytes);
        if (!e->in_exec) {
            from = outq_end(&cl->out);
            log_before = changelog_appended(e->log);
            e->read_offset = 0;
            e->changed_everything = false;
        }
    }
    if (__builtin_expect((cmd->flags & COMMAND_WHOLE_KEYSPACE) && e->tracking, 0))
        e->read_offset = changelog_appended(e->log);
    cl->last_cmd = cmd;
    uint64_t start = engine_ticks();
    cmd->row->run(&c);
    uint64_t ns = (uint64_t)((double)(engine_ticks() - start) * e->ns_per_tick);
    e->call = outer;
    /* A request that waits counts as one call, and is measured when it is answered. */
    const bool waits = (cl->flags & CLIENT_BLOCKED) != 0;
    const bool answered = __builtin_expect(!waits, 1) || !block_keys_unfinished(cl);
    cmd->calls += !c.retry;
    cmd->usec_ns += ns;
    e->stats.command_ns += ns;
    if (e->options.latency_tracking && answered) {
        if (__builtin_expect(cmd->latency == NULL, 0))
            cmd->latency = latency_create();
        latency_record(cmd->latency, ns);
    }
    e->stats.commands += !c.retry;
    cl->commands += !c.retry;
    if (__builtin_expect(c.failed, 0))
        cmd->failed++;
    e->dirty += c.dirty;
    if (__builtin_expect(e->pushed != 0, 0) && !(cl->flags & CLIENT_IN_EXEC))
        pubsub_release_pushes(cl);
    if (e->log_active) { /* as it was when the command began: what it switched on does not need this change again */
        e->call = &c;
        engine_log_request(e, cl, &c, raw);
        e->call = outer;
    }
    if (tracked && !e->in_exec)
        mark_reply(e, cl, &c, from, log_before);
    if (acked && e->dirty != dirty_before)
        write_ack_note(cl, from, e->log_active ? changelog_appended(e->log) : UINT64_MAX);
    if (__builtin_expect(ns >= 1000000, 0)) {
        e->now_us = clock_mono_us();
        e->now_ms = clock_wall_ms();
        if (!e->in_exec)
            keyspace_set_now_ms(e->ks, e->now_ms);
    }
    int64_t us = (int64_t)(ns / 1000);
    if (__builtin_expect(e->options.slowlog_slower_than_us >= 0 && us >= e->options.slowlog_slower_than_us, 0) &&
        answered)
        note_slow(e, cl, &c, us);
    if (__builtin_expect(!waits, 1))
        settle_replies(e, cl);
    client_note_output(cl);
    if (__builtin_expect(e->waits.woken_count != 0, 0))
        block_keys_serve(e);
}

int engine_apply(struct client *cl, const struct slice *argv, int argc, struct buf *error) {
    struct engine *e = cl->engine;
    struct command_entry *container = NULL, *cmd = command_table_resolve(e->commands, argv, argc, &container);
    if (cmd == NULL) {
        buf_printf(error, "unknown command '%.*s'", (int)(argv[0].n > 128 ? 128 : argv[0].n), argv[0].p);
        return -1;
    }
    if (!command_arity_ok(cmd, argc)) {
        buf_printf(error, "wrong number of arguments for '%s'", cmd->full_name);
        return -1;
    }
    if ((cl->flags & CLIENT_MULTI) && !engine_runs_in_multi(cmd)) {
        transaction_queue(cl, cmd, argv, argc);
        return 0;
    }
    bool outer = e->applying;
    e->applying = true;
    engine_execute(e, cl, cmd, argv, argc, NULL, slice_of(NULL, 0));
    e->applying = outer;
    return engine_take_error(cl, error);
}

int engine_take_error(struct client *cl, struct buf *error) {
    int rc = 0;
    struct iovec iov;
    if (outq_iov(&cl->out, outq_end(&cl->out), &iov, 1) == 1 && iov.iov_len > 0 && ((char *)iov.iov_base)[0] == '-') {
        size_t n = iov.iov_len > 200 ? 200 : iov.iov_len;
        char *text = (char *)iov.iov_base + 1;
        size_t len = 0;
        while (len + 1 < n && text[len] != '\r')
            len++;
        buf_append(error, text, len);
        rc = -1;
    }
    outq_clear(&cl->out);
    return rc;
}
