#include "config.h"

#include "server/engine/settings_int.h"

#include "server/base/mem.h"
#include "server/base/num.h"

/* Options that the field's configuration files hold and that no module of this build may have registered.
 *
 * A line that asks for nothing but the default is accepted, so that a stock redis.conf starts the node; one that asks
 * for more is refused by name instead of being ignored. Options that are registered never get here, so the table needs
 * no care when a module arrives. Defaults are those of Redis 7.0 and of its successors where they differ.
 */

struct absent {
    const char *name;
    const char *alias;    /* NULL if none */
    const char *accepted; /* values behind which nothing stands, separated by '|'; "*": any, the option means nothing
                             any more; NULL: none */
};

static const struct absent table[] = {
    {"rdbchecksum", NULL, "yes"},
    {"daemonize", NULL, "no"},
    {"always-show-logo", NULL, "no"},
    {"protected-mode", NULL, "yes"},
    {"rdbcompression", NULL, "yes"},
    {"rdb-del-sync-files", NULL, "no"},
    {"activerehashing", NULL, "yes"},
    {"stop-writes-on-bgsave-error", NULL, "yes"},
    {"set-proc-title", NULL, "yes"},
    {"dynamic-hz", NULL, "yes"},
    {"lazyfree-lazy-eviction", NULL, "no|yes"},
    {"lazyfree-lazy-expire", NULL, "no|yes"},
    {"lazyfree-lazy-server-del", NULL, "no|yes"},
    {"lazyfree-lazy-user-del", NULL, "no|yes"},
    {"lazyfree-lazy-user-flush", NULL, "no|yes"},
    {"repl-disable-tcp-nodelay", NULL, "no"},
    {"repl-diskless-sync", NULL, "yes|no"},
    {"dual-channel-replication-enabled", NULL, "no"},
    {"aof-rewrite-incremental-fsync", NULL, "yes"},
    {"no-appendfsync-on-rewrite", NULL, "no"},
    {"cluster-require-full-coverage", NULL, "yes"},
    {"rdb-save-incremental-fsync", NULL, "yes"},
    {"aof-load-truncated", NULL, "yes"},
    {"aof-use-rdb-preamble", NULL, "yes"},
    {"aof-timestamp-enabled", NULL, "no"},
    {"cluster-replica-no-failover", "cluster-slave-no-failover", "no"},
    {"replica-lazy-flush", "slave-lazy-flush", "no|yes"},
    {"replica-serve-stale-data", "slave-serve-stale-data", "yes"},
    {"replica-read-only", "slave-read-only", "yes"},
    {"replica-ignore-maxmemory", "slave-ignore-maxmemory", "yes"},
    {"jemalloc-bg-thread", NULL, "yes"},
    {"activedefrag", NULL, "no"},
    {"syslog-enabled", NULL, "no"},
    {"cluster-enabled", NULL, "no"},
    {"appendonly", NULL, "no"},
    {"cluster-allow-reads-when-down", NULL, "no"},
    {"cluster-allow-pubsubshard-when-down", NULL, "yes"},
    {"crash-log-enabled", NULL, "yes"},
    {"crash-memcheck-enabled", NULL, "yes"},
    {"use-exit-on-panic", NULL, "no"},
    {"disable-thp", NULL, "yes"},
    {"cluster-allow-replica-migration", NULL, "yes"},
    {"replica-announced", NULL, "yes"},
    {"latency-tracking", NULL, "yes"},
    {"aof-disable-auto-gc", NULL, "no"},
    {"replica-ignore-disk-write-errors", NULL, "no"},
    {"extended-redis-compatibility", NULL, "no"},
    {"enable-debug-assert", NULL, "no"},
    {"cluster-slot-stats-enabled", NULL, "no"},
    {"hide-user-data-from-log", NULL, "yes|no"},
    {"aclfile", NULL, ""},
    {"unixsocket", NULL, ""},
    {"unixsocketgroup", NULL, ""},
    {"pidfile", NULL, ""},
    {"replica-announce-ip", "slave-announce-ip", ""},
    {"primaryuser", "masteruser", ""},
    {"cluster-announce-ip", NULL, ""},
    {"cluster-announce-client-ipv4", NULL, ""},
    {"cluster-announce-client-ipv6", NULL, ""},
    {"cluster-config-file", NULL, "nodes.conf"},
    {"cluster-announce-hostname", NULL, ""},
    {"cluster-announce-human-nodename", NULL, ""},
    {"syslog-ident", NULL, "redis|holdfast"},
    {"dbfilename", NULL, "dump.rdb"},
    {"appendfilename", NULL, "appendonly.aof"},
    {"appenddirname", NULL, "appendonlydir"},
    {"server-cpulist", "server_cpulist", ""},
    {"bio-cpulist", "bio_cpulist", ""},
    {"aof-rewrite-cpulist", "aof_rewrite_cpulist", ""},
    {"bgsave-cpulist", "bgsave_cpulist", ""},
    {"ignore-warnings", NULL, "|ARM64-COW-BUG"},
    {"bind-source-addr", NULL, ""},
    {"logfile", NULL, ""},
    {"req-res-logfile", NULL, ""},
    {"locale-collate", NULL, ""},
    {"debug-context", NULL, ""},
    {"primaryauth", "masterauth", ""},
    {"requirepass", NULL, ""},
    {"availability-zone", NULL, ""},
    {"supervised", NULL, "no"},
    {"syslog-facility", NULL, "local0"},
    {"repl-diskless-load", NULL, "disabled"},
    {"loglevel", NULL, "notice"},
    {"maxmemory-policy", NULL, "noeviction"},
    {"appendfsync", NULL, "everysec"},
    {"oom-score-adj", NULL, "no"},
    {"acl-pubsub-default", NULL, "resetchannels"},
    {"sanitize-dump-payload", NULL, "no"},
    {"enable-protected-configs", NULL, "no"},
    {"enable-debug-command", NULL, "no"},
    {"enable-module-command", NULL, "no"},
    {"cluster-preferred-endpoint-type", NULL, "ip"},
    {"propagation-error-behavior", NULL, "ignore"},
    {"shutdown-on-sigint", NULL, "default"},
    {"shutdown-on-sigterm", NULL, "default"},
    {"log-format", NULL, "legacy"},
    {"log-timestamp-format", NULL, "legacy"},
    {"databases", NULL, "16"},
    {"port", NULL, "6379"},
    {"io-threads", NULL, "1"},
    {"events-per-io-thread", NULL, "2"},
    {"prefetch-batch-max-size", NULL, "16"},
    {"auto-aof-rewrite-percentage", NULL, "100"},
    {"cluster-replica-validity-factor", "cluster-slave-validity-factor", "10"},
    {"tcp-keepalive", NULL, "300"},
    {"cluster-migration-barrier", NULL, "1"},
    {"active-defrag-cycle-min", NULL, "1"},
    {"active-defrag-cycle-max", NULL, "25"},
    {"active-defrag-threshold-lower", NULL, "10"},
    {"active-defrag-threshold-upper", NULL, "100"},
    {"lfu-log-factor", NULL, "10"},
    {"lfu-decay-time", NULL, "1"},
    {"replica-priority", "slave-priority", "100"},
    {"repl-diskless-sync-delay", NULL, "5"},
    {"maxmemory-samples", NULL, "5"},
    {"timeout", NULL, "0"},
    {"replica-announce-port", "slave-announce-port", "0"},
    {"tcp-backlog", NULL, "511"},
    {"cluster-port", NULL, "0"},
    {"cluster-announce-bus-port", NULL, "0"},
    {"cluster-announce-port", NULL, "0"},
    {"cluster-announce-tls-port", NULL, "0"},
    {"repl-timeout", NULL, "60"},
    {"repl-ping-replica-period", "repl-ping-slave-period", "10"},
    {"rdb-key-save-delay", NULL, "0"},
    {"key-load-delay", NULL, "0"},
    {"active-expire-effort", NULL, "1"},
    {"hz", NULL, "10"},
    {"min-replicas-to-write", "min-slaves-to-write", "0"},
    {"min-replicas-max-lag", "min-slaves-max-lag", "10"},
    {"watchdog-period", NULL, "0"},
    {"shutdown-timeout", NULL, "10"},
    {"repl-diskless-sync-max-replicas", NULL, "0"},
    {"maxclients", NULL, "10000"},
    {"unixsocketperm", NULL, "0"},
    {"socket-mark-id", NULL, "0"},
    {"max-new-connections-per-cycle", NULL, "10"},
    {"max-new-tls-connections-per-cycle", NULL, "1"},
    {"client-default-resp", NULL, "2"},
    {"active-defrag-max-scan-fields", NULL, "1000"},
    {"slowlog-max-len", NULL, "128"},
    {"acllog-max-len", NULL, "128"},
    {"cluster-blacklist-ttl", NULL, "60"},
    {"busy-reply-threshold", "lua-time-limit", "5000"},
    {"proc-title-template", NULL, "{title} {listen-addr} {server-mode}"},
    {"maxmemory-eviction-tenacity", NULL, "10"},
    {"cluster-node-timeout", NULL, "15000"},
    {"cluster-ping-interval", NULL, "0"},
    {"slowlog-log-slower-than", NULL, "10000"},
    {"latency-monitor-threshold", NULL, "0"},
    {"proto-max-bulk-len", NULL, "536870912"},
    {"repl-backlog-size", NULL, "10485760"},
    {"maxmemory", NULL, "0"},
    {"cluster-link-sendbuf-limit", NULL, "0"},
    {"active-defrag-ignore-bytes", NULL, "104857600"},
    {"tracking-table-max-keys", NULL, "1000000"},
    {"client-query-buffer-limit", NULL, "1073741824"},
    {"maxmemory-clients", NULL, "0"},
    {"repl-backlog-ttl", NULL, "3600"},
    {"auto-aof-rewrite-min-size", NULL, "67108864"},
    {"loading-process-events-interval-bytes", NULL, "2097152"},
    {"tls-port", NULL, "0"},
    {"tls-session-cache-size", NULL, "20480"},
    {"tls-session-cache-timeout", NULL, "300"},
    {"tls-cluster", NULL, "no"},
    {"tls-replication", NULL, "no"},
    {"tls-auth-clients", NULL, "yes"},
    {"tls-prefer-server-ciphers", NULL, "no"},
    {"tls-session-caching", NULL, "yes"},
    {"tls-cert-file", NULL, ""},
    {"tls-key-file", NULL, ""},
    {"tls-key-file-pass", NULL, ""},
    {"tls-client-cert-file", NULL, ""},
    {"tls-client-key-file", NULL, ""},
    {"tls-client-key-file-pass", NULL, ""},
    {"tls-dh-params-file", NULL, ""},
    {"tls-ca-cert-file", NULL, ""},
    {"tls-ca-cert-dir", NULL, ""},
    {"tls-protocols", NULL, ""},
    {"tls-ciphers", NULL, ""},
    {"tls-ciphersuites", NULL, ""},
    {"dir", NULL, NULL},
    {"save", NULL, NULL},
    {"client-output-buffer-limit", NULL, NULL},
    {"oom-score-adj-values", NULL, "0 200 800"},
    {"notify-keyspace-events", NULL, ""},
    {"bind", NULL, NULL},
    {"replicaof", "slaveof", NULL},
    {"latency-tracking-info-percentiles", NULL, "50 99 99.9"},
    {"list-max-ziplist-entries", NULL, "*"},
    {"list-max-ziplist-value", NULL, "*"},
    {"lua-replicate-commands", NULL, "*"},
    {"io-threads-do-reads", NULL, "no|yes"},
    {"lua-enable-insecure-api", "lua-enable-deprecated-api", "no"},
    {"user", NULL, NULL},
    {"loadmodule", NULL, NULL},
    {"rename-command", NULL, NULL},
};

static bool same_value(struct slice a, struct slice b) {
    int64_t x, y;
    char lower[64];
    if (slice_eq(a, b))
        return true;
    if (num_parse_memory(a, &x) == 0 && num_parse_memory(b, &y) == 0)
        return x == y;
    if (b.n >= sizeof lower)
        return false;
    memcpy(lower, b.p, b.n);
    lower[b.n] = '\0';
    return slice_is(a, lower);
}

static bool is_accepted(const char *accepted, struct slice value) {
    for (const char *at = accepted;; at++) {
        const char *end = strchr(at, '|');
        size_t n = end == NULL ? strlen(at) : (size_t)(end - at);
        if (same_value(value, slice_of(at, n)))
            return true;
        if (end == NULL)
            return false;
        at = end;
    }
}

static enum settings_absent refuse(const struct absent *a, struct buf *error) {
    if (a->accepted == NULL)
        buf_printf(error, "option '%s' is not available in this build", a->name);
    else
        buf_printf(error, "option '%s' is not available in this build: no value but its default ('%s') is accepted",
                   a->name, a->accepted);
    return SETTINGS_ABSENT_REFUSED;
}

enum settings_absent settings_absent_line(const struct slice *words, int count, struct buf *error) {
    const struct absent *found = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table && found == NULL; i++)
        if (slice_is(words[0], table[i].name) || (table[i].alias != NULL && slice_is(words[0], table[i].alias)))
            found = &table[i];
    if (found == NULL)
        return SETTINGS_ABSENT_UNKNOWN;
    if (found->accepted == NULL || count < 2)
        return refuse(found, error);
    if (strcmp(found->accepted, "*") == 0)
        return SETTINGS_ABSENT_ACCEPTED;
    struct buf value = BUF_INIT;
    for (int i = 1; i < count; i++) {
        if (i > 1)
            buf_append_char(&value, ' ');
        buf_append_slice(&value, words[i]);
    }
    bool accepted = is_accepted(found->accepted, buf_slice(&value));
    buf_deinit(&value);
    return accepted ? SETTINGS_ABSENT_ACCEPTED : refuse(found, error);
}
