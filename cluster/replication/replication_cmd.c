#include "config.h"

#include "cluster/replication/replication_int.h"

#include <string.h>

#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* REPLICAOF, SLAVEOF, REPLCONF, PSYNC, SYNC, ROLE. */

static void cmd_psync(struct call *c) {
    primary_psync(c, false);
}

static void cmd_sync(struct call *c) {
    primary_psync(c, true);
}

static void cmd_replicaof(struct call *c) {
    struct replication *r = call_context(c);
    struct buf who = BUF_INIT;
    int64_t port;
    if (c->client->flags & CLIENT_REPLICA) {
        call_error(c, "ERR Command is not valid when client is a replica.");
        return;
    }
    if (r->failover.state != FAILOVER_NONE) {
        call_error(c, "ERR REPLICAOF not allowed while failing over.");
        return;
    }
    if (slice_is(c->argv[1], "no") && slice_is(c->argv[2], "one")) {
        if (r->is_replica) {
            role_lead(r);
            client_describe(c->client, &who);
            log_notice("MASTER MODE enabled (user request from '%.*s')", (int)who.len, who.data);
            buf_deinit(&who);
        }
        resp_ok(c->w);
        return;
    }
    if (!call_arg_i64_range(c, 2, 0, 65535, "ERR Invalid master port", &port))
        return;
    if (c->argv[1].n > 255 || memchr(c->argv[1].p, '\0', c->argv[1].n) != NULL) {
        call_error(c, "ERR Invalid master host");
        return;
    }
    char host[256];
    memcpy(host, c->argv[1].p, c->argv[1].n);
    host[c->argv[1].n] = '\0';
    if (r->is_replica && strcasecmp(host, r->options.primary_host) == 0 && r->options.primary_port == port) {
        log_notice("REPLICAOF would result into synchronization with the master we are already connected with. No "
                   "operation performed.");
        resp_simple(c->w, "OK Already connected to specified master");
        return;
    }
    role_follow(r, host, (int)port);
    client_describe(c->client, &who);
    log_notice("REPLICAOF %s:%d enabled (user request from '%.*s')", host, (int)port, (int)who.len, who.data);
    buf_deinit(&who);
    resp_ok(c->w);
}

/* ---- ROLE ---- */

static void role_primary(struct call *c, const struct replication *r) {
    size_t n = 0;
    resp_array(c->w, 3);
    resp_bulk_cstr(c->w, "master");
    resp_int(c->w, (int64_t)changelog_sealed(r->log));
    struct outq_hole hole = resp_open(c->w);
    for (size_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        char ip[128];
        if (!replica_is_attached(p) || p->state != REPLICA_ONLINE)
            continue;
        replica_ip(p, ip, sizeof ip);
        resp_array(c->w, 3);
        resp_bulk_cstr(c->w, ip);
        resp_bulk_i64(c->w, p->port);
        resp_bulk_i64(c->w, (int64_t)p->acked);
        n++;
    }
    resp_close_array(c->w, hole, n);
}

static void cmd_role(struct call *c) {
    static const char *const states[] = {
        [LINK_OFF] = "none",
        [LINK_WAITS] = "connect",
        [LINK_CONNECTING] = "connecting",
        [LINK_HANDSHAKE] = "handshake",
        [LINK_HEADER] = "sync",
        [LINK_TRANSFER] = "sync",
        [LINK_LOADING] = "sync",
        [LINK_STREAM] = "connected",
        [LINK_DRAINS] = "connect",
    };
    const struct replication *r = call_context(c);
    if (!r->is_replica) {
        role_primary(c, r);
        return;
    }
    resp_array(c->w, 5);
    resp_bulk_cstr(c->w, "slave");
    resp_bulk_cstr(c->w, r->options.primary_host);
    resp_int(c->w, r->options.primary_port);
    resp_bulk_cstr(c->w, states[r->link.state]);
    resp_int(c->w, r->link.state == LINK_STREAM ? (int64_t)changelog_sealed(r->log) : -1);
}

static const struct command rows[] = {
    {.name = "failover",
     .group = "server",
     .since = "6.2.0",
     .arity = -1,
     .flags = COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_STALE,
     .run = failover_cmd},
    {.name = "psync",
     .group = "server",
     .since = "2.8.0",
     .arity = -3,
     .flags = COMMAND_NO_ASYNC_LOADING | COMMAND_ADMIN | COMMAND_NO_MULTI | COMMAND_NOSCRIPT,
     .run = cmd_psync},
    {.name = "replconf",
     .group = "server",
     .since = "3.0.0",
     .arity = -1,
     .flags = COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_ALLOW_BUSY,
     .run = primary_replconf},
    {.name = "replicaof",
     .group = "server",
     .since = "5.0.0",
     .arity = 3,
     .flags = COMMAND_NO_ASYNC_LOADING | COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_STALE,
     .run = cmd_replicaof},
    {.name = "role",
     .group = "server",
     .since = "2.8.12",
     .arity = 1,
     .acl = ACL_ADMIN | ACL_DANGEROUS,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST,
     .run = cmd_role},
    {.name = "slaveof",
     .group = "server",
     .since = "1.0.0",
     .arity = 3,
     .flags = COMMAND_NO_ASYNC_LOADING | COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_STALE,
     .run = cmd_replicaof},
    {.name = "sync",
     .group = "server",
     .since = "1.0.0",
     .arity = 1,
     .flags = COMMAND_NO_ASYNC_LOADING | COMMAND_ADMIN | COMMAND_NO_MULTI | COMMAND_NOSCRIPT,
     .run = cmd_sync},
};

void replication_register_commands(struct replication *r) {
    command_table_register(engine_commands(r->engine), rows, sizeof rows / sizeof rows[0], r);
}
