#include "config.h"

#include <string.h>

#include "server/base/num.h"
#include "server/commands/persist_int.h"

/* Options of snapshots and the AOF. */

static int apply_aof(void *ctx, struct buf *error) {
    (void)error;
    struct persist *p = ctx;
    if (p->aof == NULL)
        return 0;
    struct aof_options o;
    persist_aof_options(p, &o);
    aof_set_options(p->aof, &o);
    return 0;
}

static int apply_appendonly(void *ctx, struct buf *error) {
    return persist_apply_appendonly(ctx, error);
}

static int apply_cow_limit(void *ctx, struct buf *error) {
    (void)error;
    struct persist *p = ctx;
    struct snapshot_options o;
    if (p->ks == NULL || child_running(p->children) == CHILD_NONE)
        return 0;
    persist_snapshot_options(p, &o);
    child_set_cow_limit(p->children, o.cow_limit_bytes);
    return 0;
}

static int check_file_name(void *ctx, struct slice text, int64_t number, struct buf *error) {
    (void)ctx, (void)number;
    if (text.n > 0 && memchr(text.p, '/', text.n) == NULL && !slice_eq(text, slice_cstr(".")) &&
        !slice_eq(text, slice_cstr("..")))
        return 0;
    buf_append_cstr(error, text.n == 0 ? "the name can't be empty" : "it can't be a path, just a filename");
    return -1;
}

/* ---- save ---- */

static int set_save(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct persist *p = ctx;
    struct save_point points[PERSIST_SAVE_POINTS_MAX];
    int n = append ? p->options.save_point_count : 0;
    memcpy(points, p->options.save_points, sizeof points);
    if (argc == 1 && argv[0].n == 0) {
        p->options.save_point_count = 0;
        return 0;
    }
    if (argc == 0 || argc % 2 != 0) {
        buf_append_cstr(error, "Invalid save parameters");
        return -1;
    }
    for (int i = 0; i < argc; i += 2) {
        int64_t seconds, changes;
        if (num_parse_i64(argv[i], &seconds) != 0 || num_parse_i64(argv[i + 1], &changes) != 0 || seconds < 1 ||
            changes < 0 || n == PERSIST_SAVE_POINTS_MAX) {
            buf_append_cstr(error, "Invalid save parameters");
            return -1;
        }
        points[n++] = (struct save_point){seconds, changes};
    }
    memcpy(p->options.save_points, points, sizeof points);
    p->options.save_point_count = n;
    return 0;
}

static void get_save(void *ctx, struct buf *out) {
    const struct persist *p = ctx;
    for (int i = 0; i < p->options.save_point_count; i++)
        buf_printf(out, "%s%lld %lld", i ? " " : "", (long long)p->options.save_points[i].seconds,
                   (long long)p->options.save_points[i].changes);
}

static void rewrite_save(void *ctx, struct buf *out) {
    const struct persist *p = ctx;
    if (p->options.save_point_count == 0)
        buf_append_cstr(out, "save \"\"\n");
    for (int i = 0; i < p->options.save_point_count; i++)
        buf_printf(out, "save %lld %lld\n", (long long)p->options.save_points[i].seconds,
                   (long long)p->options.save_points[i].changes);
}

static const struct setting_enum fsync_policies[] = {
    {"everysec", DURABILITY_EVERYSEC}, {"always", DURABILITY_ALWAYS}, {"no", DURABILITY_NO}, {NULL, 0}};
static const struct setting_enum codecs[] = {
    {"none", RDB_CODEC_NONE}, {"lz4", RDB_CODEC_LZ4}, {"zlib", RDB_CODEC_ZLIB}, {NULL, 0}};
static const struct setting_enum sanitize[] = {{"no", 0}, {"yes", 1}, {"clients", 2}, {NULL, 0}};

#define FIELD(f) offsetof(struct persist_options, f)
#define MAX INT64_MAX

static const struct setting rows[] = {
    {.name = "dbfilename",
     .type = SETTING_STRING,
     .flags = SETTING_PROTECTED,
     .initial = "dump.rdb",
     .offset = FIELD(dbfilename),
     .check = check_file_name},
    {.name = "rdbchecksum",
     .type = SETTING_BOOL,
     .flags = SETTING_IMMUTABLE,
     .initial = "yes",
     .offset = FIELD(rdbchecksum)},
    {.name = "rdbcompression", .type = SETTING_BOOL, .initial = "yes", .offset = FIELD(rdbcompression)},
    {.name = "rdb-version", .type = SETTING_INT, .initial = "11", .min = 10, .max = 12, .offset = FIELD(rdb_version)},
    {.name = "rdb-codec", .type = SETTING_ENUM, .initial = "none", .names = codecs, .offset = FIELD(rdb_codec)},
    {.name = "rdb-cow-limit",
     .type = SETTING_PERCENT,
     .initial = "0",
     .min = -100,
     .max = MAX,
     .offset = FIELD(rdb_cow_limit),
     .apply = apply_cow_limit},
    {.name = "rdb-save-incremental-fsync",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(rdb_incremental_fsync)},
    {.name = "rdb-key-save-delay",
     .type = SETTING_INT,
     .flags = SETTING_HIDDEN,
     .initial = "0",
     .min = INT32_MIN,
     .max = INT32_MAX,
     .offset = FIELD(rdb_key_save_delay)},
    {.name = "loading-process-events-interval-bytes",
     .type = SETTING_INT,
     .flags = SETTING_HIDDEN,
     .initial = "2097152",
     .min = 1024,
     .max = INT32_MAX,
     .offset = FIELD(load_interval_bytes)},
    {.name = "sanitize-dump-payload",
     .type = SETTING_ENUM,
     .initial = "no",
     .names = sanitize,
     .offset = FIELD(sanitize_dump_payload)},
    {.name = "stop-writes-on-bgsave-error",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(stop_writes_on_bgsave_error)},
    {.name = "save",
     .type = SETTING_SPECIAL,
     .flags = SETTING_MULTI_ARG | SETTING_ADDS_UP,
     .initial = "3600 1 300 100 60 10000",
     .set = set_save,
     .get = get_save,
     .rewrite = rewrite_save},
    {.name = "appendonly",
     .type = SETTING_BOOL,
     .flags = SETTING_DENY_LOADING,
     .initial = "no",
     .offset = FIELD(appendonly),
     .apply = apply_appendonly},
    {.name = "appendfilename",
     .type = SETTING_STRING,
     .flags = SETTING_IMMUTABLE,
     .initial = "appendonly.aof",
     .offset = FIELD(appendfilename),
     .check = check_file_name},
    {.name = "appenddirname",
     .type = SETTING_STRING,
     .flags = SETTING_IMMUTABLE,
     .initial = "appendonlydir",
     .offset = FIELD(appenddirname),
     .check = check_file_name},
    {.name = "appendfsync",
     .type = SETTING_ENUM,
     .initial = "everysec",
     .names = fsync_policies,
     .offset = FIELD(appendfsync),
     .apply = apply_aof},
    {.name = "no-appendfsync-on-rewrite",
     .type = SETTING_BOOL,
     .initial = "no",
     .offset = FIELD(no_appendfsync_on_rewrite),
     .apply = apply_aof},
    {.name = "aof-rewrite-incremental-fsync",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(aof_incremental_fsync),
     .apply = apply_aof},
    {.name = "aof-load-truncated",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(aof_load_truncated),
     .apply = apply_aof},
    {.name = "aof-use-rdb-preamble",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(aof_use_rdb_preamble),
     .apply = apply_aof},
    {.name = "aof-timestamp-enabled",
     .type = SETTING_BOOL,
     .initial = "no",
     .offset = FIELD(aof_timestamps),
     .apply = apply_aof},
    {.name = "aof-disable-auto-gc",
     .type = SETTING_BOOL,
     .flags = SETTING_HIDDEN,
     .initial = "no",
     .offset = FIELD(aof_disable_auto_gc),
     .apply = apply_aof},
    {.name = "auto-aof-rewrite-percentage",
     .type = SETTING_INT,
     .initial = "100",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(aof_rewrite_percentage),
     .apply = apply_aof},
    {.name = "auto-aof-rewrite-min-size",
     .type = SETTING_MEMORY,
     .initial = "64mb",
     .min = 0,
     .max = MAX,
     .offset = FIELD(aof_rewrite_min_size),
     .apply = apply_aof},
    {.name = "aof-buffer-limit",
     .type = SETTING_MEMORY,
     .initial = "256mb",
     .min = 0,
     .max = MAX,
     .offset = FIELD(aof_buffer_limit),
     .apply = apply_aof},
    {.name = "aof-stall-tolerance",
     .type = SETTING_INT,
     .initial = "2000",
     .min = -1,
     .max = INT32_MAX,
     .offset = FIELD(aof_stall_tolerance_ms),
     .apply = apply_aof},
};

void persist_register_settings(struct persist *p) {
    settings_register(engine_settings(p->engine), rows, sizeof rows / sizeof rows[0], &p->options, p);
}
