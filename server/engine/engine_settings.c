#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/fs.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/engine/engine_int.h"

/* The engine's configuration rows. */

/* Memory that the machine or this process's control group allows, in bytes: what a percentage of maxmemory refers to.
 */
static uint64_t read_u64_file(const char *path) {
    struct buf b = BUF_INIT;
    uint64_t v = 0;
    if (fs_read_file(fs_posix(), path, 4096, &b) == 0) {
        size_t n = 0;
        while (n < b.len && b.data[n] >= '0' && b.data[n] <= '9')
            n++;
        if (num_parse_u64(slice_of(b.data, n), &v) != 0)
            v = 0;
    }
    buf_deinit(&b);
    return v;
}

static uint64_t cgroup_limit(void) {
    struct buf b = BUF_INIT;
    uint64_t limit = 0;
    if (fs_read_file(fs_posix(), "/proc/self/cgroup", 65536, &b) == 0) {
        buf_append_char(&b, '\0');
        /* Version 2: the limit of every group up to the root counts. */
        char *line = strstr(b.data, "0::/");
        if (line != NULL) {
            char path[4096];
            line += 3;
            line[strcspn(line, "\n")] = '\0';
            for (;;) {
                snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", line);
                uint64_t v = read_u64_file(path);
                if (v != 0 && (limit == 0 || v < limit))
                    limit = v;
                char *slash = strrchr(line, '/');
                if (slash == NULL)
                    break;
                *slash = '\0';
            }
        }
    }
    buf_deinit(&b);
    uint64_t v1 = read_u64_file("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    if (v1 != 0 && v1 < UINT64_C(1) << 60 && (limit == 0 || v1 < limit))
        limit = v1;
    return limit;
}

static uint64_t memory_available(void) {
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t group = cgroup_limit();
    return group != 0 && group < machine ? group : machine;
}

static int apply_maxmemory(void *ctx, struct buf *error) {
    (void)error;
    struct engine *e = ctx;
    int64_t v = e->options.maxmemory;
    e->maxmemory_bytes = v >= 0 ? (uint64_t)v : memory_available() / 100 * (uint64_t)-v;
    return 0;
}

static int apply_clock(void *ctx, struct buf *error) {
    (void)error;
    struct engine *e = ctx;
    if (e->ks == NULL)
        return 0;
    int p = e->options.maxmemory_policy;
    bool lfu = p == KEYSPACE_EVICT_ALLKEYS_LFU || p == KEYSPACE_EVICT_VOLATILE_LFU;
    keyspace_set_clock(e->ks, lfu ? KEYSPACE_CLOCK_LFU : KEYSPACE_CLOCK_LRU, (int)e->options.lfu_log_factor,
                       (int)e->options.lfu_decay_time);
    return 0;
}

static int apply_lazy(void *ctx, struct buf *error) {
    (void)error;
    struct engine *e = ctx;
    if (e->ks == NULL)
        return 0;
    struct keyspace_lazy lazy = {e->options.lazy_user_del, e->options.lazy_expire, e->options.lazy_evict,
                                 e->options.lazy_server_del};
    keyspace_set_lazy(e->ks, &lazy);
    return 0;
}

/* At run time the descriptors must be there at once; at start the daemon asks for them and reduces the number where the
 * system refuses. */
static int check_maxclients(void *ctx, struct slice text, int64_t number, struct buf *error) {
    const struct engine *e = ctx;
    (void)text;
    struct rlimit limit;
    const int64_t own = 32;
    if (e->ks == NULL || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= (rlim_t)(number + own))
        return 0;
    struct rlimit more = {(rlim_t)(number + own),
                          limit.rlim_max > (rlim_t)(number + own) ? limit.rlim_max : (rlim_t)(number + own)};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        return 0;
    buf_printf(error, "The operating system is not able to handle the specified number of clients, try with %lld",
               (long long)limit.rlim_cur - (long long)own);
    return -1;
}

static int check_requirepass(void *ctx, struct slice text, int64_t number, struct buf *error) {
    (void)ctx;
    (void)number;
    if (text.n <= 512)
        return 0;
    buf_append_cstr(error, "Password is longer than 512 bytes");
    return -1;
}

static int apply_hz(void *ctx, struct buf *error) {
    (void)error;
    struct engine *e = ctx;
    if (e->options.hz < 1)
        e->options.hz = 1;
    if (e->options.hz > 500)
        e->options.hz = 500;
    return 0;
}

/* ---- client-output-buffer-limit ---- */

static const char *const class_names[CLIENT_CLASSES] = {"normal", "replica", "pubsub"};

static int class_by_name(struct slice s) {
    if (slice_is(s, "slave"))
        return CLIENT_CLASS_REPLICA;
    for (int i = 0; i < CLIENT_CLASSES; i++)
        if (slice_is(s, class_names[i]))
            return i;
    return -1;
}

static int set_output_limit(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct engine *e = ctx;
    (void)append; /* each line sets its own classes */
    struct engine_options next = e->options;
    if (argc % 4 != 0) {
        buf_append_cstr(error, "Wrong number of arguments in buffer limit configuration.");
        return -1;
    }
    for (int i = 0; i < argc; i += 4) {
        int c = class_by_name(argv[i]);
        if (c < 0) {
            buf_append_cstr(error, "Invalid client class specified in buffer limit configuration.");
            return -1;
        }
        int64_t hard, soft, seconds;
        if (num_parse_memory(argv[i + 1], &hard) != 0 || num_parse_memory(argv[i + 2], &soft) != 0 ||
            num_parse_i64(argv[i + 3], &seconds) != 0 || hard < 0 || soft < 0 || seconds < 0) {
            buf_append_cstr(error, "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
            return -1;
        }
        next.output_limit[c].hard_bytes = hard;
        next.output_limit[c].soft_bytes = soft;
        next.output_limit[c].soft_seconds = seconds;
    }
    memcpy(e->options.output_limit, next.output_limit, sizeof next.output_limit);
    return 0;
}

static void get_output_limit(void *ctx, struct buf *out) {
    const struct engine *e = ctx;
    for (int i = 0; i < CLIENT_CLASSES; i++)
        buf_printf(out, "%s%s %lld %lld %lld", i ? " " : "", i == CLIENT_CLASS_REPLICA ? "slave" : class_names[i],
                   (long long)e->options.output_limit[i].hard_bytes, (long long)e->options.output_limit[i].soft_bytes,
                   (long long)e->options.output_limit[i].soft_seconds);
}

static void rewrite_output_limit(void *ctx, struct buf *out) {
    const struct engine *e = ctx;
    for (int i = 0; i < CLIENT_CLASSES; i++)
        buf_printf(out, "client-output-buffer-limit %s %lld %lld %lld\n", class_names[i],
                   (long long)e->options.output_limit[i].hard_bytes, (long long)e->options.output_limit[i].soft_bytes,
                   (long long)e->options.output_limit[i].soft_seconds);
}

/* ---- rows ---- */

static const struct setting_enum policies[] = {
    {"volatile-lru", KEYSPACE_EVICT_VOLATILE_LRU},
    {"volatile-lfu", KEYSPACE_EVICT_VOLATILE_LFU},
    {"volatile-random", KEYSPACE_EVICT_VOLATILE_RANDOM},
    {"volatile-ttl", KEYSPACE_EVICT_VOLATILE_TTL},
    {"allkeys-lru", KEYSPACE_EVICT_ALLKEYS_LRU},
    {"allkeys-lfu", KEYSPACE_EVICT_ALLKEYS_LFU},
    {"allkeys-random", KEYSPACE_EVICT_ALLKEYS_RANDOM},
    {"noeviction", KEYSPACE_EVICT_NONE},
    {NULL, 0},
};

static const struct setting_enum access_levels[] = {
    {"no", ENGINE_ACCESS_NO}, {"yes", ENGINE_ACCESS_YES}, {"local", ENGINE_ACCESS_LOCAL}, {NULL, 0}};

#define FIELD(f) offsetof(struct engine_options, f)
#define MAX INT64_MAX

static const struct setting rows[] = {
    {.name = "maxclients",
     .type = SETTING_INT,
     .initial = "10000",
     .min = 1,
     .max = UINT32_MAX,
     .offset = FIELD(maxclients),
     .check = check_maxclients},
    {.name = "timeout", .type = SETTING_INT, .initial = "0", .min = 0, .max = INT32_MAX, .offset = FIELD(timeout_s)},
    {.name = "tcp-keepalive",
     .type = SETTING_INT,
     .initial = "300",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(tcp_keepalive_s)},
    {.name = "client-query-buffer-limit",
     .type = SETTING_MEMORY,
     .initial = "1gb",
     .min = 1024 * 1024,
     .max = MAX,
     .offset = FIELD(client_query_buffer_limit)},
    {.name = "proto-max-bulk-len",
     .type = SETTING_MEMORY,
     .initial = "512mb",
     .min = 1024 * 1024,
     .max = MAX,
     .offset = FIELD(proto_max_bulk_len)},
    {.name = "protected-mode", .type = SETTING_BOOL, .initial = "yes", .offset = FIELD(protected_mode)},
    {.name = "requirepass",
     .type = SETTING_STRING,
     .flags = SETTING_SENSITIVE,
     .initial = "",
     .offset = FIELD(requirepass),
     .check = check_requirepass},
    {.name = "maxmemory",
     .type = SETTING_PERCENT,
     .initial = "0",
     .min = -100,
     .max = MAX,
     .offset = FIELD(maxmemory),
     .apply = apply_maxmemory},
    {.name = "maxmemory-clients",
     .type = SETTING_PERCENT,
     .initial = "0",
     .min = -100,
     .max = MAX,
     .offset = FIELD(maxmemory_clients)},
    {.name = "maxmemory-policy",
     .type = SETTING_ENUM,
     .initial = "noeviction",
     .names = policies,
     .offset = FIELD(maxmemory_policy),
     .apply = apply_clock},
    {.name = "maxmemory-samples",
     .type = SETTING_INT,
     .initial = "5",
     .min = 1,
     .max = 64,
     .offset = FIELD(maxmemory_samples)},
    {.name = "maxmemory-eviction-tenacity",
     .type = SETTING_INT,
     .initial = "10",
     .min = 0,
     .max = 100,
     .offset = FIELD(maxmemory_tenacity)},
    {.name = "lfu-log-factor",
     .type = SETTING_INT,
     .initial = "10",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(lfu_log_factor),
     .apply = apply_clock},
    {.name = "lfu-decay-time",
     .type = SETTING_INT,
     .initial = "1",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(lfu_decay_time),
     .apply = apply_clock},
    {.name = "lazyfree-lazy-eviction",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(lazy_evict),
     .apply = apply_lazy},
    {.name = "lazyfree-lazy-expire",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(lazy_expire),
     .apply = apply_lazy},
    {.name = "lazyfree-lazy-server-del",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(lazy_server_del),
     .apply = apply_lazy},
    {.name = "lazyfree-lazy-user-del",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(lazy_user_del),
     .apply = apply_lazy},
    {.name = "lazyfree-lazy-user-flush", .type = SETTING_BOOL, .initial = "yes", .offset = FIELD(lazy_user_flush)},
    {.name = "hz",
     .type = SETTING_INT,
     .initial = "10",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(hz),
     .apply = apply_hz},
    {.name = "dynamic-hz", .type = SETTING_BOOL, .initial = "yes", .offset = FIELD(dynamic_hz)},
    {.name = "activerehashing", .type = SETTING_BOOL, .initial = "yes", .offset = FIELD(activerehashing)},
    {.name = "active-expire-effort",
     .type = SETTING_INT,
     .initial = "1",
     .min = 1,
     .max = 10,
     .offset = FIELD(active_expire_effort)},
    {.name = "latency-tracking", .type = SETTING_BOOL, .initial = "yes", .offset = FIELD(latency_tracking)},
    {.name = "slowlog-log-slower-than",
     .type = SETTING_INT,
     .initial = "10000",
     .min = -1,
     .max = MAX,
     .offset = FIELD(slowlog_slower_than_us)},
    {.name = "slowlog-max-len",
     .type = SETTING_INT,
     .initial = "128",
     .min = 0,
     .max = MAX,
     .offset = FIELD(slowlog_max_len)},
    {.name = "enable-debug-command",
     .type = SETTING_ENUM,
     .flags = SETTING_IMMUTABLE,
     .initial = "no",
     .names = access_levels,
     .offset = FIELD(enable_debug_command)},
    {.name = "enable-protected-configs",
     .type = SETTING_ENUM,
     .flags = SETTING_IMMUTABLE,
     .initial = "no",
     .names = access_levels,
     .offset = FIELD(enable_protected_configs)},
    {.name = "client-output-buffer-limit",
     .type = SETTING_SPECIAL,
     .flags = SETTING_MULTI_ARG,
     .initial = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
     .set = set_output_limit,
     .get = get_output_limit,
     .rewrite = rewrite_output_limit},
    {.name = "notify-keyspace-events", .type = SETTING_SPECIAL, .initial = "", .set = notify_set, .get = notify_get},
};

void engine_register_settings(struct engine *e) {
    settings_register(e->settings, rows, sizeof rows / sizeof rows[0], &e->options, e);
    engine_register_collection_settings(e);
    engine_register_write_ack_settings(e);
}

void engine_apply_to_keyspace(struct engine *e) {
    struct buf error = BUF_INIT;
    int rc = apply_clock(e, &error) | apply_lazy(e, &error);
    HF_ASSERT(rc == 0); /* neither can fail */
    engine_apply_limits(e);
    buf_deinit(&error);
}
