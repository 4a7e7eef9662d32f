#include "config.h"

#include "cluster/replication/replication_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/logging.h"

/* FAILOVER: this primary hands its role to a replica, and nothing that it acknowledged is lost.
 *
 *   NONE ─FAILOVER→ WAITS_FOR_SYNC ─target in step, or late and FORCE→ IN_PROGRESS ─CONTINUE, FULLRESYNC→ NONE
 *          writes wait from here on                                   we follow the target, writes wait still
 *
 * With writes held the end of the log stands still but for PING and GETACK, so a replica that has acknowledged the end
 * has all there is. Then this node becomes its replica and asks it, by the word FAILOVER behind PSYNC, to take the lead
 * of the history that both share. With the answer the writes run on, into -READONLY.
 *
 * A connection that breaks after the request leaves open whether the target is a primary now: it is asked again, and
 * when it says that it is one, it is followed. Giving up instead could make two primaries. */

static void clear(struct replication *r) {
    r->failover = (struct failover){.state = FAILOVER_NONE};
    engine_hold_writes(r->engine, false);
}

static void give_up(struct replication *r, const char *reason) {
    const struct failover *f = &r->failover;
    if (f->host[0] != '\0')
        log_notice("FAILOVER to %s:%d aborted: %s", f->host, f->port, reason);
    else
        log_notice("FAILOVER to any replica aborted: %s", reason);
    if (f->state == FAILOVER_IN_PROGRESS)
        role_lead(r);
    clear(r);
}

const char *failover_state_name(const struct replication *r) {
    static const char *const names[] = {[FAILOVER_NONE] = "no-failover",
                                        [FAILOVER_WAITS_FOR_SYNC] = "waiting-for-sync",
                                        [FAILOVER_IN_PROGRESS] = "failover-in-progress"};
    return names[r->failover.state];
}

/* ---- the command ---- */

struct request {
    bool abort, force, has_target, has_timeout;
    char host[256];
    int64_t port, timeout_ms;
};

/* False: an error was replied. */
static bool parse(struct call *c, struct request *q) {
    for (int i = 1; i < c->argc; i++) {
        struct slice word = c->argv[i];
        int left = c->argc - 1 - i;
        if (slice_is(word, "timeout") && left >= 1 && !q->has_timeout) {
            if (!call_arg_i64(c, i + 1, &q->timeout_ms))
                return false;
            if (q->timeout_ms <= 0) {
                call_error(c, "ERR FAILOVER timeout must be greater than 0");
                return false;
            }
            q->has_timeout = true;
            i++;
        } else if (slice_is(word, "abort") && c->argc == 2) {
            q->abort = true;
        } else if (slice_is(word, "to") && left >= 2 && !q->has_target) {
            struct slice host = c->argv[i + 1];
            if (!call_arg_i64(c, i + 2, &q->port))
                return false;
            if (host.n < sizeof q->host && memchr(host.p, '\0', host.n) == NULL)
                memcpy(q->host, host.p, host.n); /* else it stays the name of nobody */
            q->has_target = true;
            i += 2;
        } else if (slice_is(word, "force") && !q->force) {
            q->force = true;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    return true;
}

static struct replica *find(const struct replication *r, const char *host, int64_t port) {
    for (size_t i = 0; i < r->replica_count; i++) {
        struct replica *p = r->replicas[i];
        char ip[CONN_ADDR_CHARS];
        if (!replica_is_attached(p) || p->port != port)
            continue;
        replica_ip(p, ip, sizeof ip);
        if (strcasecmp(ip, host) == 0)
            return p;
    }
    return NULL;
}

static const char *refusal(const struct replication *r, const struct request *q) {
    if (r->failover.state != FAILOVER_NONE)
        return "ERR FAILOVER already in progress.";
    if (r->is_replica)
        return "ERR FAILOVER is not valid when server is a replica.";
    if (replicas_attached(r) == 0)
        return "ERR FAILOVER requires connected replicas.";
    if (q->force && (!q->has_timeout || !q->has_target))
        return "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    if (!q->has_target)
        return NULL;
    const struct replica *p = find(r, q->host, q->port);
    if (p == NULL)
        return "ERR FAILOVER target HOST and PORT is not a replica.";
    return p->state == REPLICA_ONLINE ? NULL : "ERR FAILOVER target replica is not online.";
}

void failover_cmd(struct call *c) {
    struct replication *r = call_context(c);
    struct failover *f = &r->failover;
    struct request q = {.host = ""};
    if (!parse(c, &q))
        return;
    if (q.abort) {
        if (f->state == FAILOVER_NONE) {
            call_error(c, "ERR No failover in progress.");
            return;
        }
        give_up(r, "Failover manually aborted");
        resp_ok(c->w);
        return;
    }
    const char *why_not = refusal(r, &q);
    if (why_not != NULL) {
        call_error(c, why_not);
        return;
    }
    int64_t us;
    if (q.has_timeout && !__builtin_mul_overflow(q.timeout_ms, 1000, &us) &&
        !__builtin_add_overflow(us, clock_mono_us(), &us))
        f->deadline_us = us;
    f->state = FAILOVER_WAITS_FOR_SYNC;
    f->force = q.force;
    f->port = (int)q.port;
    snprintf(f->host, sizeof f->host, "%s", q.host);
    if (q.has_target)
        log_notice("FAILOVER requested to %s:%d.", f->host, f->port);
    else
        log_notice("FAILOVER requested to any replica.");
    engine_hold_writes(r->engine, true);
    replication_ask_acks(r);
    resp_ok(c->w);
}

/* ---- waiting for the target ---- */

static bool is_in_step(const struct replica *p) {
    return p != NULL && p->state == REPLICA_ONLINE && replica_is_attached(p) && !p->speaks_sync &&
           p->acked >= changelog_sealed(p->r->log);
}

static const struct replica *find_in_step(const struct replication *r) {
    if (r->failover.host[0] != '\0') {
        const struct replica *p = find(r, r->failover.host, r->failover.port);
        return is_in_step(p) ? p : NULL;
    }
    for (size_t i = 0; i < r->replica_count; i++)
        if (is_in_step(r->replicas[i]) && r->replicas[i]->port != 0)
            return r->replicas[i];
    return NULL;
}

static void hand_over(struct replication *r) {
    struct failover *f = &r->failover;
    char host[sizeof f->host];
    memcpy(host, f->host, sizeof host);
    f->state = FAILOVER_IN_PROGRESS;
    role_follow(r, host, f->port);
}

void failover_step(struct replication *r) {
    struct failover *f = &r->failover;
    if (f->state != FAILOVER_WAITS_FOR_SYNC || engine_is_busy(r->engine))
        return;
    if (f->deadline_us != 0 && clock_mono_us() >= f->deadline_us) {
        if (!f->force) {
            give_up(r, "Replica never caught up before timeout");
            return;
        }
        log_notice("FAILOVER to %s:%d time out exceeded, failing over.", f->host, f->port);
        hand_over(r);
        return;
    }
    const struct replica *p = find_in_step(r);
    if (p == NULL)
        return;
    replica_ip(p, f->host, sizeof f->host);
    f->port = p->port;
    log_notice("Failover target %s:%d is synced, failing over.", f->host, f->port);
    hand_over(r);
}

/* ---- asking it ---- */

void failover_introduce(const struct replication *r, struct handshake_options *o) {
    if (r->failover.state != FAILOVER_IN_PROGRESS || r->failover.plain)
        return;
    /* It is our replica and knows the history by its current name; what it is asked for is the lead of that one. */
    o->failover = true;
    o->id = changelog_history(r->log)->id;
}

static bool is_primary_already(struct slice line) {
    static const char text[] = "-ERR PSYNC FAILOVER can't be sent to a master";
    return line.n >= sizeof text - 1 && memcmp(line.p, text, sizeof text - 1) == 0;
}

bool failover_note_answer(struct replication *r, enum handshake_step step, enum handshake_outcome outcome,
                          struct slice line) {
    struct failover *f = &r->failover;
    if (f->state != FAILOVER_IN_PROGRESS)
        return false;
    if (step != HANDSHAKE_PSYNC) {
        f->requests += r->link.handshake.step == HANDSHAKE_PSYNC;
        return false;
    }
    switch (outcome) {
    case HANDSHAKE_CONTINUE:
    case HANDSHAKE_FULL:
        clear(r);
        return false;
    case HANDSHAKE_GOES_ON:
        return false;
    default:
        break;
    }
    if (f->plain)
        return false; /* it is asked again */
    if (f->requests > 1 && is_primary_already(line)) {
        f->plain = true;
        return false;
    }
    give_up(r, "Failover target rejected psync request");
    return true;
}

/* ---- being asked ---- */

bool failover_take_request(struct call *c) {
    struct replication *r = call_context(c);
    struct buf who = BUF_INIT;
    log_warning("Failover request received for replid %.*s.", (int)(c->argv[1].n > 40 ? 40 : c->argv[1].n),
                c->argv[1].p);
    if (!r->is_replica) {
        call_error(c, "ERR PSYNC FAILOVER can't be sent to a master.");
        return false;
    }
    if (!slice_is(c->argv[1], changelog_history(r->log)->id)) {
        call_error(c, "ERR PSYNC FAILOVER replid must match my replid.");
        return false;
    }
    role_lead(r);
    client_describe(c->client, &who);
    log_notice("MASTER MODE enabled (failover request from '%.*s')", (int)who.len, who.data);
    buf_deinit(&who);
    return true;
}
