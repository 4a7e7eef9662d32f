#include "config.h"

#include "server/commands/commands.h"
#include "server/daemon/node.h"
#include "server/daemon/service.h"

/* Which commands this server has, and what they need from the rest of it. */

static void flushed_all(void *ctx) {
    struct node *n = ctx;
    persist_flushed_all(n->persist);
}

static int reload(void *ctx, bool merge, bool flush, bool save, struct buf *error) {
    struct node *n = ctx;
    return persist_reload(n->persist, merge, flush, save, error);
}

static int load_aof(void *ctx, struct buf *error) {
    struct node *n = ctx;
    return persist_reload_aof(n->persist, error);
}

static void pause_after_fork(void *ctx, bool on) {
    struct node *n = ctx;
    persist_set_pause_after_fork(n->persist, on);
}

static void describe_listeners(void *ctx, struct buf *out) {
    const struct node *n = ctx;
    int index = 0;
    if (n->options.port != 0) {
        buf_printf(out, "listener%d:name=tcp", index++);
        for (int i = 0; i < n->options.bind_count; i++)
            buf_printf(out, ",bind=%s", n->options.binds[i]);
        buf_printf(out, ",port=%d\r\n", (int)n->options.port);
    }
    if (n->options.unixsocket[0] != '\0')
        buf_printf(out, "listener%d:name=unix,bind=%s\r\n", index, n->options.unixsocket);
}

void node_register_commands(struct node *n) {
    struct command_table *t = engine_commands(n->engine);
    n->keys_hooks = (struct keys_hooks){.ctx = n,
                                        .flushed_all = flushed_all,
                                        .dump_compress = persist_compresses(n->persist),
                                        .restore_skip_checksum = &n->skip_checksum};
    n->identity = (struct server_identity){
        .engine = n->engine,
        .version = PACKAGE_VERSION,
        .executable = n->executable,
        .supervised = service_present() ? "systemd" : "no",
        .ctx = n,
        .is_replica = node_is_replica,
        .listeners = describe_listeners,
    };
    n->debug_hooks = (struct debug_hooks){
        .ctx = n,
        .reload = reload,
        .load_aof = load_aof,
        .pause_after_fork = pause_after_fork,
        .skip_checksum = &n->skip_checksum,
    };
    connection_commands_register(t, &n->identity);
    client_commands_register(t);
    command_commands_register(t);
    config_commands_register(t);
    slowlog_commands_register(t);
    memory_commands_register(t);
    server_commands_register(t);
    n->latency.engine = n->engine;
    latency_commands_register(t, &n->latency);
    info_commands_register(t);
    info_sections_register(n->info, &n->identity);
    replication_register(n->replication);
    debug_commands_register(t, &n->debug_hooks);
    string_commands_register(t);
    bitmap_commands_register(t);
    hash_commands_register(t);
    pubsub_commands_register(t);
    geo_commands_register(t);
    set_commands_register(t);
    hll_commands_register(t);
    list_commands_register(t);
    sort_commands_register(t);
    zset_commands_register(t);
    stream_commands_register(t);
    keys_commands_register(t, &n->keys_hooks);
}
