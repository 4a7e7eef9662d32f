#include "config.h"

#include "cluster/replication/replication_int.h"

#include <string.h>

#include "server/base/mem.h"
#include "server/base/num.h"

/* Options of replication. */

static int apply_guard(void *ctx, struct buf *error) {
    (void)error;
    role_update_guard(ctx);
    return 0;
}

static int apply_backlog(void *ctx, struct buf *error) {
    struct replication *r = ctx;
    (void)error;
    r->backlog.size_bytes = (uint64_t)r->options.backlog_size_bytes;
    backlog_trim(&r->backlog);
    return 0;
}

static int apply_eviction(void *ctx, struct buf *error) {
    struct replication *r = ctx;
    (void)error;
    engine_set_leave_eviction(r->engine, r->options.ignore_maxmemory);
    return 0;
}

/* ---- replicaof ---- */

static int set_replicaof(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct replication *r = ctx;
    int64_t port;
    (void)append;
    if (argc == 1 && argv[0].n == 0)
        return 0; /* "": none, which is the default */
    if (argc != 2) {
        buf_append_cstr(error, "wrong number of arguments");
        return -1;
    }
    if (slice_is(argv[0], "no") && slice_is(argv[1], "one")) {
        role_lead(r);
        return 0;
    }
    if (num_parse_i64(argv[1], &port) != 0 || port < 0 || port > 65535) {
        buf_append_cstr(error, "Invalid master port");
        return -1;
    }
    char *host = mem_strndup(argv[0].p, argv[0].n);
    role_follow(r, host, (int)port);
    mem_free(host);
    return 0;
}

static void get_replicaof(void *ctx, struct buf *out) {
    const struct replication *r = ctx;
    if (r->is_replica)
        buf_printf(out, "%s %d", r->options.primary_host, r->options.primary_port);
}

static void rewrite_replicaof(void *ctx, struct buf *out) {
    const struct replication *r = ctx;
    if (r->is_replica)
        buf_printf(out, "replicaof %s %d\n", r->options.primary_host, r->options.primary_port);
}

static const struct setting_enum diskless_loads[] = {{"disabled", DISKLESS_LOAD_DISABLED},
                                                     {"on-empty-db", DISKLESS_LOAD_EMPTY},
                                                     {"swapdb", DISKLESS_LOAD_SWAP},
                                                     {"flush-before-load", DISKLESS_LOAD_FLUSH},
                                                     {NULL, 0}};

#define FIELD(f) offsetof(struct replication_options, f)
#define BOOL(n, a, d, f)                                                                                               \
    { .name = n, .alias = a, .type = SETTING_BOOL, .initial = d, .offset = FIELD(f) }
#define INT(n, a, d, lo, hi, f)                                                                                        \
    { .name = n, .alias = a, .type = SETTING_INT, .initial = d, .min = lo, .max = hi, .offset = FIELD(f) }

static const struct setting rows[] = {
    {.name = "replicaof",
     .alias = "slaveof",
     .type = SETTING_SPECIAL,
     .flags = SETTING_IMMUTABLE | SETTING_MULTI_ARG,
     .initial = "",
     .set = set_replicaof,
     .get = get_replicaof,
     .rewrite = rewrite_replicaof},
    {.name = "primaryuser",
     .alias = "masteruser",
     .type = SETTING_STRING,
     .flags = SETTING_SENSITIVE,
     .initial = "",
     .offset = FIELD(user)},
    {.name = "primaryauth",
     .alias = "masterauth",
     .type = SETTING_STRING,
     .flags = SETTING_SENSITIVE,
     .initial = "",
     .offset = FIELD(password)},
    {.name = "replica-announce-ip",
     .alias = "slave-announce-ip",
     .type = SETTING_STRING,
     .initial = "",
     .offset = FIELD(announce_ip)},
    INT("replica-announce-port", "slave-announce-port", "0", 0, 65535, announce_port),
    INT("replica-priority", "slave-priority", "100", 0, INT32_MAX, priority),
    BOOL("replica-announced", NULL, "yes", announced),
    BOOL("replica-serve-stale-data", "slave-serve-stale-data", "yes", serve_stale_data),
    BOOL("replica-read-only", "slave-read-only", "yes", read_only),
    BOOL("replica-lazy-flush", "slave-lazy-flush", "yes", lazy_flush),
    {.name = "replica-ignore-maxmemory",
     .alias = "slave-ignore-maxmemory",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(ignore_maxmemory),
     .apply = apply_eviction},
    BOOL("replica-accept-empty-primary", NULL, "no", accept_empty_primary),
    BOOL("repl-disable-tcp-nodelay", NULL, "no", disable_tcp_nodelay),
    BOOL("repl-diskless-sync", NULL, "yes", diskless_sync),
    INT("repl-diskless-sync-delay", NULL, "5", 0, INT32_MAX, diskless_delay_s),
    BOOL("repl-transfer-lz4", NULL, "yes", transfer_lz4),
    INT("repl-diskless-sync-max-replicas", NULL, "0", 0, INT32_MAX, diskless_max_replicas),
    {.name = "repl-diskless-load",
     .type = SETTING_ENUM,
     .flags = SETTING_DENY_LOADING,
     .initial = "disabled",
     .names = diskless_loads,
     .offset = FIELD(diskless_load)},
    INT("repl-timeout", NULL, "60", 1, INT32_MAX, timeout_s),
    INT("repl-ping-replica-period", "repl-ping-slave-period", "10", 1, INT32_MAX, ping_period_s),
    {.name = "repl-backlog-size",
     .type = SETTING_MEMORY,
     .initial = "10mb",
     .min = 1,
     .max = INT64_MAX,
     .offset = FIELD(backlog_size_bytes),
     .apply = apply_backlog},
    INT("repl-backlog-ttl", NULL, "3600", 0, INT64_MAX / 1000000, backlog_ttl_s),
    {.name = "min-replicas-to-write",
     .alias = "min-slaves-to-write",
     .type = SETTING_INT,
     .initial = "0",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(min_replicas),
     .apply = apply_guard},
    {.name = "min-replicas-max-lag",
     .alias = "min-slaves-max-lag",
     .type = SETTING_INT,
     .initial = "10",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(min_replicas_max_lag_s),
     .apply = apply_guard},
};

void replication_register_settings(struct replication *r) {
    settings_register(engine_settings(r->engine), rows, sizeof rows / sizeof rows[0], &r->options, r);
    r->backlog.size_bytes = (uint64_t)r->options.backlog_size_bytes;
}
