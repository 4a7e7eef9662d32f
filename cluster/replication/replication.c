#include "config.h"

#include "cluster/replication/replication.h"

#include <inttypes.h>
#include <string.h>

#include "cluster/replication/replication_int.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/engine/write_ack.h"

/* Life and cycle. */

#define CRON_MS 100
#define CRON_SECOND 10

struct replication *replication_create(const struct replication_parts *parts) {
    struct replication *r = mem_calloc(1, sizeof *r);
    r->parts = *parts;
    r->engine = parts->engine;
    r->loop = engine_loop(parts->engine);
    r->log = engine_log(parts->engine);
    r->backlog.log = r->log;
    r->link.fd = -1;
    spool_init(&r->link.spool, parts->fs);
    r->options.primary_host = mem_strdup("");
    buf_init(&r->link.in);
    buf_init(&r->link.out);
    return r;
}

void replication_destroy(struct replication *r) {
    if (r == NULL)
        return;
    if (r->timer != 0)
        loop_timer_remove(r->loop, r->timer);
    replication_stop(r);
    while (r->replica_count > 0) {
        struct replica *p = r->replicas[0];
        client_set_source(p->client, NULL, NULL);
        replica_source.closed(p);
    }
    if (r->sync != NULL)
        full_sync_abort(r, "the node ends");
    backlog_close(&r->backlog);
    engine_client_destroy_internal(r->link.client);
    mem_free(r->options.primary_host);
    mem_free(r->replicas);
    mem_free(r);
}

static size_t confirmed(void *ctx, uint64_t offset, bool durable) {
    return replication_acked(ctx, offset, durable);
}

static void ask(void *ctx) {
    replication_ask_acks(ctx);
}

void replication_register(struct replication *r) {
    replication_register_settings(r);
    replication_register_commands(r);
    replication_register_info(r);
    const struct write_ack_source source = {.ctx = r, .confirmed = confirmed, .ask = ask};
    engine_set_write_ack_source(r->engine, &source);
}

static int64_t cron(struct loop *loop, uint64_t id, void *arg) {
    (void)loop, (void)id;
    struct replication *r = arg;
    static const int64_t second_us = CRON_SECOND * CRON_MS * 1000;
    int64_t now = clock_mono_us();
    if (now - r->second_us >= second_us) {
        r->second_us = now;
        link_cron(r);
        replicas_cron(r);
    }
    link_retry(r);
    full_sync_cron(r);
    return CRON_MS;
}

static bool is_empty(struct keyspace *ks) {
    for (unsigned db = 0; db < keyspace_databases(ks); db++)
        if (keyspace_size(ks, db) > 0)
            return false;
    return true;
}

void replication_start(struct replication *r, const struct replication_origin *origin) {
    r->started = true;
    r->started_us = clock_mono_us();
    r->no_replicas_since_us = r->ping_us = clock_mono_us();
    if (origin->is_known)
        backlog_open(&r->backlog);
    r->empty_start = !r->is_replica && !origin->is_known && is_empty(engine_keyspace(r->engine));
    if (r->is_replica) {
        r->is_replica = false; /* as if REPLICAOF came now */
        if (origin->db >= 0)
            changelog_set_db(r->log, origin->db);
        char *host = mem_strdup(r->options.primary_host);
        role_follow(r, host, r->options.primary_port);
        mem_free(host);
        r->link.history_known = origin->is_known;
        r->link.own_history = false;
    }
    role_update_guard(r);
    r->timer = loop_timer_add(r->loop, CRON_MS, cron, r);
}

void replication_before_sleep(struct replication *r) {
    if (!r->started)
        return;
    link_before_sleep(r);
    if (r->replica_count > 0)
        full_sync_cron(r);
    failover_step(r);
    if (r->ask_acks && !engine_is_busy(r->engine)) {
        const char *words[] = {"REPLCONF", "GETACK", "*"};
        r->ask_acks = false;
        if (!r->is_replica && replicas_attached(r) > 0)
            primary_append(r, words, 3);
    }
    uint64_t sealed = changelog_sealed(r->log);
    if (sealed == r->fed)
        return;
    r->fed = sealed;
    backlog_trim(&r->backlog);
    for (size_t i = 0; i < r->replica_count; i++)
        if (r->replicas[i]->cursor != NULL)
            client_feed(r->replicas[i]->client);
}

void replication_stop(struct replication *r) {
    if (r->link.state == LINK_STREAM)
        link_send_ack(r);
    link_off(r);
}

bool replication_is_replica(const struct replication *r) {
    return r->is_replica;
}

size_t replication_acked(const struct replication *r, uint64_t offset, bool durable) {
    size_t n = 0;
    for (size_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        n += replica_is_attached(p) && p->state == REPLICA_ONLINE && (durable ? p->durable : p->acked) >= offset;
    }
    return n;
}

void replication_ask_acks(struct replication *r) {
    r->ask_acks = true;
    loop_dont_wait(r->loop);
}

size_t replication_lagging(const struct replication *r, uint64_t offset) {
    size_t n = 0;
    for (size_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        n += replica_is_attached(p) && p->state == REPLICA_ONLINE && !p->speaks_sync && p->acked < offset;
    }
    return n;
}
