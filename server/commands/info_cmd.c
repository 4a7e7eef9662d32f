/* INFO, and the sections whose numbers the engine and the process have. */
#include "config.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/memory_report.h"
#include "server/commands/rows.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"
#include "server/engine/info.h"
#include "server/engine/pubsub.h"

static struct engine *engine_of(void *ctx) {
    return ((const struct server_identity *)ctx)->engine;
}

/* ---- Server ---- */

static int64_t option_i64(struct engine *e, const char *name) {
    struct buf text = BUF_INIT;
    int64_t v = 0;
    if (settings_value(engine_settings(e), name, &text) != 0 || num_parse_i64(buf_slice(&text), &v) != 0)
        v = 0;
    buf_deinit(&text);
    return v;
}

static void server_section(void *ctx, struct buf *out) {
    const struct server_identity *id = ctx;
    struct engine *e = id->engine;
    struct utsname system;
    int64_t up_s = (clock_mono_us() - engine_started_us(e)) / 1000000;
    int64_t threads = option_i64(e, "io-threads");
    info_field_str(out, "redis_version", SERVER_REDIS_VERSION);
    info_field_str(out, "server_name", SERVER_NAME);
    info_field_str(out, "holdfast_version", id->version);
    info_field_str(out, "redis_git_sha1", "00000000");
    info_field_str(out, "redis_git_dirty", "0");
    info_field_str(out, "redis_build_id", "0");
    info_field_str(out, "redis_mode", keyspace_has_slots(engine_keyspace(e)) ? "cluster" : "standalone");
    info_field_str(out, "server_mode", keyspace_has_slots(engine_keyspace(e)) ? "cluster" : "standalone");
    if (uname(&system) == 0)
        buf_printf(out, "os:%s %s %s\r\n", system.sysname, system.release, system.machine);
    info_field_u64(out, "arch_bits", sizeof(void *) * 8);
    info_field_str(out, "monotonic_clock", "POSIX clock_gettime");
    info_field_str(out, "multiplexing_api", "epoll");
    info_field_str(out, "atomicvar_api", "c11-builtin");
#ifdef __clang__
    info_field_str(out, "gcc_version", "0.0.0");
#else
    buf_printf(out, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
    info_field_i64(out, "process_id", getpid());
    info_field_str(out, "process_supervised", id->supervised);
    info_field_str(out, "run_id", engine_run_id(e));
    info_field_i64(out, "tcp_port", option_i64(e, "port"));
    info_field_i64(out, "server_time_usec", clock_wall_us());
    info_field_i64(out, "uptime_in_seconds", up_s);
    info_field_i64(out, "uptime_in_days", up_s / 86400);
    info_field_i64(out, "hz", engine_options(e)->hz);
    info_field_i64(out, "configured_hz", engine_options(e)->hz);
    info_field_i64(out, "lru_clock", (clock_wall_us() / 1000000) & 0xffffff);
    info_field_str(out, "executable", id->executable);
    info_field_str(out, "config_file", settings_file(engine_settings(e)));
    info_field_i64(out, "io_threads_active", threads > 1);
    if (id->listeners != NULL)
        id->listeners(id->ctx, out);
}

/* ---- Clients ---- */

static void clients_section(void *ctx, struct buf *out) {
    struct engine *e = engine_of(ctx);
    const struct engine_stats *s = engine_stats(e);
    info_field_u64(out, "connected_clients", engine_client_count(e));
    info_field_i64(out, "cluster_connections", 0);
    info_field_i64(out, "maxclients", engine_options(e)->maxclients);
    info_field_u64(out, "client_recent_max_input_buffer", s->max_input);
    info_field_u64(out, "client_recent_max_output_buffer", s->max_output);
    info_field_u64(out, "blocked_clients", engine_blocked_clients(e));
    info_field_i64(out, "tracking_clients", 0);
    info_field_u64(out, "pubsub_clients", pubsub_clients(e));
    info_field_u64(out, "watching_clients", engine_watching_clients(e));
    info_field_i64(out, "clients_in_timeout_table", (int64_t)engine_blocked_with_deadline(e));
    info_field_u64(out, "total_watched_keys", engine_watched_keys(e));
    info_field_u64(out, "total_blocking_keys", engine_blocking_keys(e));
    info_field_u64(out, "total_blocking_keys_on_nokey", engine_blocking_keys_on_gone(e));
}

/* ---- Memory ---- */

static void percent_field(struct buf *out, const char *name, double v) {
    buf_printf(out, "%s:%.2f%%\r\n", name, v);
}

static void memory_section(void *ctx, struct buf *out) {
    struct engine *e = engine_of(ctx);
    struct memory_report m;
    struct buf policy = BUF_INIT;
    memory_report_take(e, &m);
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    info_field_bytes(out, "used_memory", m.used);
    info_field_bytes(out, "used_memory_rss", m.rss);
    info_field_bytes(out, "used_memory_peak", m.peak);
    percent_field(out, "used_memory_peak_perc", memory_percent(m.used, m.peak));
    info_field_u64(out, "used_memory_overhead", m.overhead);
    info_field_u64(out, "used_memory_startup", m.startup);
    info_field_u64(out, "used_memory_dataset", m.dataset);
    percent_field(out, "used_memory_dataset_perc", memory_percent(m.dataset, memory_less(m.used, m.startup)));
    info_field_u64(out, "allocator_allocated", m.allocator.allocated);
    info_field_u64(out, "allocator_active", m.allocator.active);
    info_field_u64(out, "allocator_resident", m.allocator.resident);
    info_field_u64(out, "allocator_muzzy", m.allocator.muzzy);
    info_field_bytes(out, "total_system_memory", machine);
    info_field_bytes(out, "used_memory_lua", 0);
    info_field_u64(out, "used_memory_vm_eval", 0);
    info_field_u64(out, "used_memory_scripts_eval", 0);
    info_field_u64(out, "number_of_cached_scripts", 0);
    info_field_u64(out, "number_of_functions", 0);
    info_field_u64(out, "number_of_libraries", 0);
    info_field_u64(out, "used_memory_vm_functions", 0);
    info_field_bytes(out, "used_memory_vm_total", 0);
    info_field_u64(out, "used_memory_functions", 0);
    info_field_bytes(out, "used_memory_scripts", 0);
    info_field_bytes(out, "maxmemory", engine_maxmemory_bytes(e));
    if (settings_value(engine_settings(e), "maxmemory-policy", &policy) == 0)
        buf_printf(out, "maxmemory_policy:%.*s\r\n", (int)policy.len, policy.data);
    buf_deinit(&policy);
    info_field_f2(out, "allocator_frag_ratio", memory_ratio(m.allocator.active, m.allocator.allocated));
    info_field_u64(out, "allocator_frag_bytes", memory_less(m.allocator.active, m.allocator.allocated));
    info_field_f2(out, "allocator_rss_ratio", memory_ratio(m.allocator.resident, m.allocator.active));
    info_field_u64(out, "allocator_rss_bytes", memory_less(m.allocator.resident, m.allocator.active));
    info_field_f2(out, "rss_overhead_ratio", memory_ratio(m.rss, m.allocator.resident));
    info_field_i64(out, "rss_overhead_bytes", (int64_t)m.rss - (int64_t)m.allocator.resident);
    info_field_f2(out, "mem_fragmentation_ratio", memory_ratio(m.rss, m.used));
    info_field_i64(out, "mem_fragmentation_bytes", (int64_t)m.rss - (int64_t)m.used);
    info_field_u64(out, "mem_not_counted_for_evict", memory_less(m.used, engine_memory_counted(e)));
    info_field_u64(out, "mem_clients_normal", m.clients);
    info_field_u64(out, "mem_cluster_links", 0);
    info_field_u64(out, "mem_aof_buffer", m.log);
    info_field_str(out, "mem_allocator", mem_allocator_name());
    info_field_u64(out, "mem_overhead_db_hashtable_rehashing", m.rehash);
    info_field_i64(out, "active_defrag_running", 0);
    info_field_u64(out, "lazyfree_pending_objects", keyspace_lazyfree_pending(engine_keyspace(e)));
    info_field_u64(out, "lazyfreed_objects", keyspace_lazyfree_done(engine_keyspace(e)));
}

/* ---- Stats ---- */

static void traffic_fields(struct engine *e, struct buf *out) {
    const struct engine_stats *s = engine_stats(e);
    struct engine_rates r;
    engine_rates(e, &r);
    info_field_u64(out, "total_connections_received", s->connections);
    info_field_u64(out, "total_commands_processed", s->commands);
    info_field_u64(out, "instantaneous_ops_per_sec", r.ops_per_s);
    info_field_u64(out, "total_net_input_bytes", s->net_in);
    info_field_u64(out, "total_net_output_bytes", s->net_out);
    info_field_f2(out, "instantaneous_input_kbps", (double)r.in_bytes_per_s / 1024);
    info_field_f2(out, "instantaneous_output_kbps", (double)r.out_bytes_per_s / 1024);
    info_field_f2(out, "instantaneous_input_repl_kbps", 0);
    info_field_f2(out, "instantaneous_output_repl_kbps", 0);
    info_field_u64(out, "rejected_connections", s->rejected_connections);
}

static void keys_fields(struct engine *e, struct buf *out) {
    const struct engine_stats *s = engine_stats(e);
    info_field_u64(out, "expired_keys", s->expired_keys);
    info_field_u64(out, "expired_subkeys", s->expired_fields);
    info_field_f2(out, "expired_stale_perc", 0);
    info_field_u64(out, "expired_time_cap_reached_count", s->expire_cap_reached);
    info_field_u64(out, "expire_cycle_cpu_milliseconds", s->expire_ns / 1000000);
    info_field_i64(out, "expire_lag_ms", s->expire_lag_ms);
    info_field_u64(out, "evicted_keys", s->evicted_keys);
    info_field_u64(out, "evicted_clients", s->evicted_clients);
    info_field_u64(out, "evicted_scripts", 0);
    int64_t exceeded_us = s->eviction_since_us != 0 ? clock_mono_us() - s->eviction_since_us : 0;
    info_field_u64(out, "total_eviction_exceeded_time", (s->eviction_exceeded_us + (uint64_t)exceeded_us) / 1000);
    info_field_i64(out, "current_eviction_exceeded_time", exceeded_us / 1000);
    info_field_u64(out, "keyspace_hits", s->keyspace_hits);
    info_field_u64(out, "keyspace_misses", s->keyspace_misses);
    info_field_u64(out, "pubsub_channels", pubsub_names(e, PUBSUB_CHANNEL));
    info_field_u64(out, "pubsub_patterns", pubsub_names(e, PUBSUB_PATTERN));
    info_field_u64(out, "pubsubshard_channels", pubsub_names(e, PUBSUB_SHARD));
}

static void stats_section(void *ctx, struct buf *out) {
    struct engine *e = engine_of(ctx);
    const struct engine_stats *s = engine_stats(e);
    struct engine_rates r;
    struct loop_stats loop;
    engine_rates(e, &r);
    loop_stats(engine_loop(e), &loop);
    traffic_fields(e, out);
    keys_fields(e, out);
    info_field_u64(out, "tracking_total_keys", 0);
    info_field_u64(out, "tracking_total_items", 0);
    info_field_u64(out, "tracking_total_prefixes", 0);
    info_field_u64(out, "unexpected_error_replies", s->unexpected_error_replies);
    info_field_u64(out, "total_error_replies", s->error_replies);
    info_field_u64(out, "dump_payload_sanitizations", s->dump_sanitizations);
    info_field_u64(out, "total_reads_processed", s->reads);
    info_field_u64(out, "total_writes_processed", s->writes);
    info_field_u64(out, "io_threaded_reads_processed", s->io_reads);
    info_field_u64(out, "io_threaded_writes_processed", s->io_writes);
    info_field_u64(out, "io_threaded_total_prefetch_batches", s->prefetch_batches);
    info_field_u64(out, "io_threaded_total_prefetch_entries", s->prefetch_entries);
    info_field_u64(out, "client_query_buffer_limit_disconnections", s->query_limit_closes);
    info_field_u64(out, "client_output_buffer_limit_disconnections", s->output_limit_closes);
    info_field_u64(out, "eventloop_cycles", loop.cycles);
    info_field_u64(out, "eventloop_duration_sum", loop.busy_us);
    info_field_u64(out, "eventloop_duration_cmd_sum", s->command_ns / 1000);
    info_field_u64(out, "instantaneous_eventloop_cycles_per_sec", r.cycles_per_s);
    info_field_u64(out, "instantaneous_eventloop_duration_usec", r.cycle_us);
    info_field_u64(out, "acl_access_denied_auth", s->auth_denied);
    info_field_u64(out, "acl_access_denied_cmd", 0);
    info_field_u64(out, "acl_access_denied_key", 0);
    info_field_u64(out, "acl_access_denied_channel", 0);
}

/* ---- CPU ---- */

static void cpu_field(struct buf *out, const char *name, struct timeval t) {
    buf_printf(out, "%s:%lld.%06lld\r\n", name, (long long)t.tv_sec, (long long)t.tv_usec);
}

static void cpu_section(void *ctx, struct buf *out) {
    (void)ctx;
    struct rusage self = {0}, children = {0}, thread = {0};
    if (getrusage(RUSAGE_SELF, &self) != 0 || getrusage(RUSAGE_CHILDREN, &children) != 0 ||
        getrusage(RUSAGE_THREAD, &thread) != 0)
        return;
    cpu_field(out, "used_cpu_sys", self.ru_stime);
    cpu_field(out, "used_cpu_user", self.ru_utime);
    cpu_field(out, "used_cpu_sys_children", children.ru_stime);
    cpu_field(out, "used_cpu_user_children", children.ru_utime);
    cpu_field(out, "used_cpu_sys_main_thread", thread.ru_stime);
    cpu_field(out, "used_cpu_user_main_thread", thread.ru_utime);
}

/* ---- Modules, Commandstats, Errorstats, Cluster, Keyspace ---- */

static void modules_section(void *ctx, struct buf *out) {
    (void)ctx, (void)out;
}

static void command_line(void *arg, struct command_entry *c) {
    struct buf *out = arg;
    if (c->calls != 0 || c->rejected != 0 || c->failed != 0) {
        double usec = (double)c->usec_ns / 1000;
        buf_printf(out, "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,failed_calls=%llu\r\n",
                   c->full_name, (unsigned long long)c->calls, (unsigned long long)(c->usec_ns / 1000),
                   c->calls == 0 ? 0 : usec / (double)c->calls, (unsigned long long)c->rejected,
                   (unsigned long long)c->failed);
    }
    for (int i = 0; i < c->sub_count; i++)
        command_line(out, &c->subs[i]);
}

static void commandstats_section(void *ctx, struct buf *out) {
    command_table_each(engine_commands(engine_of(ctx)), command_line, out);
}

static void error_line(void *arg, const char *code, uint64_t count) {
    buf_printf(arg, "errorstat_%s:count=%llu\r\n", code, (unsigned long long)count);
}

static void errorstats_section(void *ctx, struct buf *out) {
    engine_each_error_code(engine_of(ctx), error_line, out);
}

static void cluster_section(void *ctx, struct buf *out) {
    info_field_i64(out, "cluster_enabled", keyspace_has_slots(engine_keyspace(engine_of(ctx))));
}

static void keyspace_section(void *ctx, struct buf *out) {
    const struct keyspace *ks = engine_keyspace(engine_of(ctx));
    for (unsigned db = 0; db < keyspace_databases(ks); db++) {
        size_t keys = keyspace_size(ks, db);
        if (keys == 0)
            continue;
        buf_printf(out, "db%u:keys=%zu,expires=%zu,avg_ttl=%lld,subexpiry=%zu\r\n", db, keys,
                   keyspace_deadlines(ks, db), (long long)keyspace_deadline_mean_ms(ks, db),
                   keyspace_timed_hashes(ks, db));
    }
}

void info_sections_register(struct info *info, const struct server_identity *identity) {
    void *ctx = (void *)(uintptr_t)identity;
    info_register(info, "Server", INFO_DEFAULT, server_section, ctx);
    info_register(info, "Clients", INFO_DEFAULT, clients_section, ctx);
    info_register(info, "Memory", INFO_DEFAULT, memory_section, ctx);
    info_register(info, "Stats", INFO_DEFAULT, stats_section, ctx);
    info_register(info, "CPU", INFO_DEFAULT, cpu_section, ctx);
    info_register(info, "Modules", INFO_DEFAULT, modules_section, ctx);
    info_register(info, "Commandstats", INFO_ALL, commandstats_section, ctx);
    info_register(info, "Errorstats", INFO_DEFAULT, errorstats_section, ctx);
    info_register(info, "Cluster", INFO_DEFAULT, cluster_section, ctx);
    info_register(info, "Keyspace", INFO_DEFAULT, keyspace_section, ctx);
}

/* ---- INFO ---- */

static void info_run(struct call *c) {
    struct buf text = BUF_INIT;
    info_compose(engine_info(c->engine), c->argv + 1, c->argc - 1, &text);
    resp_verbatim(c->w, "txt", buf_slice(&text));
    buf_deinit(&text);
}

static const char *const tips[] = {"nondeterministic_output", "request_policy:all_shards", "response_policy:special",
                                   NULL};

static const struct command rows[] = {{.name = "info",
                                       .group = "server",
                                       .since = "1.0.0",
                                       .arity = -1,
                                       .run = info_run,
                                       .tips = tips,
                                       .acl = ACL_DANGEROUS,
                                       .flags = COMMAND_LOADING | COMMAND_STALE}};

void info_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
