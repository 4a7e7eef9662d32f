#include "config.h"

#include "cluster/replication/replication_int.h"

#include <inttypes.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/engine/write_ack.h"

/* Primary or replica, and the way from one to the other.
 *
 * To a replica: what this node wrote stays its history, and it asks to continue it: where the new primary was a replica
 * of ours, it may have all of it. To a primary: a new replication id begins; the old one stays valid up to here, so
 * that the other replicas of the old primary can follow us without a snapshot. Sub-replicas are disconnected then,
 * because they learn the id when they ask. */

#define VERSION_7_4 0x070400u

static const char *guard(void *ctx, const struct client *cl, const struct command_entry *cmd) {
    const struct replication *r = ctx;
    if (cl->flags & (CLIENT_MUST_OBEY | CLIENT_INTERNAL))
        return NULL;
    bool writes = (cmd->flags & COMMAND_WRITE) != 0;
    if (!r->is_replica && (cmd->flags & COMMAND_WRITES_7_4) && replicas_older(r, VERSION_7_4))
        return "ERR a replica is attached that does not know deadlines of hash fields";
    if (!r->is_replica)
        return writes && r->options.min_replicas > 0 && r->options.min_replicas_max_lag_s > 0 &&
                       replicas_good(r) < (size_t)r->options.min_replicas
                   ? "NOREPLICAS Not enough good replicas to write."
                   : NULL;
    if (writes && r->options.read_only)
        return "READONLY You can't write against a read only replica.";
    if (r->link.state != LINK_STREAM && !r->options.serve_stale_data && !(cmd->flags & COMMAND_STALE))
        return "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    return NULL;
}

void role_update_guard(struct replication *r) {
    bool wanted =
        r->is_replica || r->replica_count > 0 || (r->options.min_replicas > 0 && r->options.min_replicas_max_lag_s > 0);
    engine_set_guard(r->engine, wanted ? guard : NULL, r);
}

static void set_primary(struct replication *r, const char *host, int port) {
    char *copy = mem_strdup(host);
    mem_free(r->options.primary_host);
    r->options.primary_host = copy;
    r->options.primary_port = port;
}

void role_follow(struct replication *r, const char *host, int port) {
    bool was_primary = !r->is_replica;
    set_primary(r, host, port);
    r->is_replica = true;
    if (!r->started)
        return; /* replication_start() takes it up */
    engine_set_following(r->engine, true);
    changelog_set_verbatim(r->log, true);
    log_set_role('S');
    role_update_guard(r);
    r->parts.role_changed(r->parts.ctx);
    if (was_primary) {
        engine_write_ack_disown(r->engine);
        engine_drop_blocked(r->engine);
        r->empty_start = false;
        int db = changelog_db(r->log);
        r->link.history_known = changelog_is_active(r->log);
        r->link.own_history = true;
        if (r->link.client == NULL)
            r->link.client = engine_client_create_primary(r->engine);
        r->link.client->db = db >= 0 ? (unsigned)db : 0;
        if (r->link.history_known)
            log_notice("Before turning into a replica, using my own master parameters to synthesize a cached master: I "
                       "may be able to synchronize with the new master with just a partial transfer.");
    }
    link_start(r);
}

void role_lead(struct replication *r) {
    struct changelog_history h = *changelog_history(r->log);
    set_primary(r, "", 0);
    if (!r->is_replica)
        return;
    r->is_replica = false;
    link_off(r);
    engine_client_destroy_internal(r->link.client);
    r->link.client = NULL;
    if (!r->started)
        return;
    memcpy(h.id2, h.id, sizeof h.id2);
    h.id2_offset = (int64_t)changelog_sealed(r->log);
    rng_hex_id(h.id, CHANGELOG_ID_CHARS / 2);
    changelog_set_history(r->log, &h);
    log_notice("Setting secondary replication ID to %s, valid up to offset: %" PRId64 ". New replication ID is %s",
               h.id2, h.id2_offset + 1, h.id);
    replicas_disconnect(r, "this node is a primary now and has a new replication id");
    changelog_set_verbatim(r->log, false);
    changelog_set_db(r->log, -1);
    r->link.history_known = false;
    r->no_replicas_since_us = clock_mono_us();
    engine_set_following(r->engine, false);
    log_set_role('M');
    role_update_guard(r);
    r->parts.role_changed(r->parts.ctx);
    r->parts.resume_log(r->parts.ctx, r->link.stream_errors > 0);
    r->link.stream_errors = 0;
}
