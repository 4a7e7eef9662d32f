#include "config.h"

#include "cluster/replication/replication_int.h"

#include <inttypes.h>

#include "server/base/clock.h"
#include "server/engine/write_ack.h"

/* INFO: the section Replication, and what replication knows of Stats. */

static int64_t seconds_since(int64_t us) {
    return (clock_mono_us() - us) / 1000000;
}

static void transfer_fields(const struct link *l, struct buf *out) {
    const struct transfer *t = &l->transfer;
    bool sized = t->has_header && t->total_bytes != UINT64_MAX;
    info_field_i64(out, "master_sync_total_bytes", sized ? (int64_t)t->total_bytes : 0);
    info_field_u64(out, "master_sync_read_bytes", t->taken_bytes);
    info_field_i64(out, "master_sync_left_bytes", sized ? (int64_t)(t->total_bytes - t->taken_bytes) : -1);
    info_field_f2(out, "master_sync_perc",
                  sized && t->total_bytes > 0 ? 100.0 * (double)t->taken_bytes / (double)t->total_bytes : 0);
    info_field_i64(out, "master_sync_last_io_seconds_ago", seconds_since(l->io_us));
}

static void replica_fields(const struct replication *r, struct buf *out) {
    const struct link *l = &r->link;
    bool up = l->state == LINK_STREAM;
    bool syncs = l->state == LINK_HEADER || l->state == LINK_TRANSFER || l->state == LINK_LOADING;
    info_field_str(out, "master_host", r->options.primary_host);
    info_field_i64(out, "master_port", r->options.primary_port);
    info_field_str(out, "master_link_status", up ? "up" : "down");
    info_field_i64(out, "master_last_io_seconds_ago", up ? seconds_since(l->io_us) : -1);
    info_field_i64(out, "master_sync_in_progress", syncs);
    info_field_u64(out, "slave_read_repl_offset", changelog_sealed(r->log) + (up ? l->in.len + l->spool.bytes : 0));
    info_field_u64(out, "slave_repl_offset", changelog_sealed(r->log));
    if (syncs)
        transfer_fields(l, out);
    if (!up)
        info_field_i64(out, "master_link_down_since_seconds", seconds_since(l->down_us));
    info_field_i64(out, "slave_priority", r->options.priority);
    info_field_i64(out, "slave_read_only", r->options.read_only);
    info_field_i64(out, "replica_announced", r->options.announced);
}

static void list_replicas(const struct replication *r, struct buf *out) {
    static const char *const states[] = {
        [REPLICA_WAITS] = "wait_bgsave", [REPLICA_MAKING] = "wait_bgsave", [REPLICA_SENDING] = "send_bulk",
        [REPLICA_LOADS] = "send_bulk",   [REPLICA_ONLINE] = "online",      [REPLICA_DONE] = "rdb_transmitted",
    };
    int index = 0;
    for (size_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        char ip[128];
        if (!replica_is_attached(p))
            continue;
        replica_ip(p, ip, sizeof ip);
        int64_t lag = p->state == REPLICA_ONLINE ? (engine_now_us(r->engine) - p->acked_us) / 1000000 : 0;
        buf_printf(out, "slave%d:ip=%s,port=%d,state=%s,offset=%" PRIu64 ",lag=%" PRId64 "\r\n", index++, ip, p->port,
                   states[p->state], p->acked, lag > 0 ? lag : 0);
    }
}

static void section(void *ctx, struct buf *out) {
    const struct replication *r = ctx;
    const struct changelog_history *h = changelog_history(r->log);
    bool open = backlog_is_open(&r->backlog);
    info_field_str(out, "role", r->is_replica ? "slave" : "master");
    if (r->is_replica)
        replica_fields(r, out);
    info_field_u64(out, "connected_slaves", replicas_attached(r));
    if (r->options.min_replicas > 0 && r->options.min_replicas_max_lag_s > 0)
        info_field_u64(out, "min_slaves_good_slaves", replicas_good(r));
    list_replicas(r, out);
    info_field_str(out, "master_failover_state", failover_state_name(r));
    info_field_str(out, "master_replid", h->id);
    info_field_str(out, "master_replid2", h->id2);
    info_field_u64(out, "master_repl_offset", changelog_sealed(r->log));
    info_field_i64(out, "second_repl_offset", h->id2_offset >= 0 ? h->id2_offset + 1 : -1);
    info_field_i64(out, "repl_backlog_active", open);
    info_field_i64(out, "repl_backlog_size", r->options.backlog_size_bytes);
    info_field_u64(out, "repl_backlog_first_byte_offset", open ? backlog_first(&r->backlog) + 1 : 0);
    struct write_ack_stats acks;
    engine_write_ack_stats(r->engine, &acks);
    info_field_u64(out, "write_ack_waiting_clients", acks.waiting);
    info_field_u64(out, "write_ack_timeouts", acks.timeouts);
    info_field_u64(out, "repl_backlog_histlen", open ? backlog_bytes(&r->backlog) : 0);
}

static void stats_fields(void *ctx, struct buf *out) {
    const struct replication *r = ctx;
    info_field_u64(out, "sync_full", r->full_syncs);
    info_field_u64(out, "sync_partial_ok", r->partial_ok);
    info_field_u64(out, "sync_partial_err", r->partial_refused);
    uint64_t out_bytes = r->net_out;
    for (size_t i = 0; i < r->replica_count; i++)
        out_bytes += r->replicas[i]->client->net_out;
    info_field_u64(out, "total_net_repl_input_bytes", r->net_in);
    info_field_u64(out, "total_net_repl_output_bytes", out_bytes);
}

/* Backlog, replicas and AOF share the segments of the log: what goes beyond the backlog is kept for who lags. */
static void memory_fields(void *ctx, struct buf *out) {
    const struct replication *r = ctx;
    size_t clients = 0;
    for (size_t i = 0; i < r->replica_count; i++)
        clients += client_memory_bytes(r->replicas[i]->client);
    info_field_u64(out, "mem_replication_backlog", backlog_is_open(&r->backlog) ? backlog_bytes(&r->backlog) : 0);
    info_field_u64(out, "mem_total_replication_buffers", changelog_memory(r->log));
    info_field_u64(out, "mem_clients_slaves", clients);
}

void replication_register_info(struct replication *r) {
    info_register(engine_info(r->engine), "Replication", INFO_DEFAULT, section, r);
    info_register(engine_info(r->engine), "Memory", INFO_DEFAULT, memory_fields, r);
    info_register(engine_info(r->engine), "Stats", INFO_DEFAULT, stats_fields, r);
}
