#include "config.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/daemon/node.h"

/* The daemon's configuration rows: where it listens, where it logs, what kind of process it is. */

int node_apply_logging(void *ctx, struct buf *error) {
    struct node *n = ctx;
    bool to_stdout = n->options.logfile[0] == '\0';
    struct log_options o = {
        .level = (enum log_level)n->options.loglevel,
        .format = (enum log_format)n->options.log_format,
        .timestamp = (enum log_timestamp)n->options.log_timestamp_format,
        .file = n->options.logfile,
        .journal = to_stdout && node_stdout_is_journal(),
        .syslog = n->options.syslog_enabled,
        .syslog_ident = n->options.syslog_ident,
        .syslog_facility = n->options.syslog_facility,
    };
    int rc = log_configure(&o);
    if (rc == 0)
        return 0;
    buf_printf(error, "Can't open the log file: %s", strerror(-rc));
    return -1;
}

static int apply_listeners(void *ctx, struct buf *error) {
    struct node *n = ctx;
    if (!n->running)
        return 0;
    return node_relisten(n, error) < 0 ? -1 : 0;
}

static int apply_accepts(void *ctx, struct buf *error) {
    (void)error;
    struct node *n = ctx;
    for (int i = 0; i < n->listener_count; i++)
        listener_set_accepts_per_cycle(n->listeners[i], (unsigned)n->options.accepts_per_cycle);
    return 0;
}

static int apply_oom(void *ctx, struct buf *error) {
    (void)error;
    struct node *n = ctx;
    if (n->running)
        node_set_oom_score(n);
    return 0;
}

static int apply_purge_thread(void *ctx, struct buf *error) {
    struct node *n = ctx;
    if (mem_set_background_thread(n->options.jemalloc_bg_thread) == 0 || !n->running)
        return 0;
    buf_append_cstr(error, "the allocator has no background thread");
    return -1;
}

static int check_title(void *ctx, struct slice text, int64_t number, struct buf *error) {
    (void)number;
    char title[256];
    if (node_format_title(ctx, text, title, sizeof title) == 0)
        return 0;
    buf_append_cstr(error, "template format is invalid or contains unknown variables");
    return -1;
}

static int apply_title(void *ctx, struct buf *error) {
    (void)error;
    struct node *n = ctx;
    if (n->running)
        node_set_title(n);
    return 0;
}

/* ---- dir ---- */

static int set_dir(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    (void)ctx, (void)append;
    char path[4096];
    if (argc != 1 || argv[0].n >= sizeof path) {
        buf_append_cstr(error, "wrong number of arguments");
        return -1;
    }
    memcpy(path, argv[0].p, argv[0].n);
    path[argv[0].n] = '\0';
    if (chdir(path) == 0)
        return 0;
    buf_append_cstr(error, strerror(errno));
    return -1;
}

static void get_dir(void *ctx, struct buf *out) {
    (void)ctx;
    char path[4096];
    if (getcwd(path, sizeof path) != NULL)
        buf_append_cstr(out, path);
}

/* ---- bind ---- */

static void free_binds(struct node *n) {
    for (int i = 0; i < n->options.bind_count; i++)
        mem_free(n->options.binds[i]);
    n->options.bind_count = 0;
}

static int set_bind(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct node *n = ctx;
    (void)append; /* the last line of a file counts */
    if (argc > NODE_BINDS_MAX) {
        buf_append_cstr(error, "Too many bind addresses specified.");
        return -1;
    }
    if (argc == 1 && argv[0].n == 0)
        argc = 0;
    free_binds(n);
    for (int i = 0; i < argc; i++)
        n->options.binds[i] = mem_strndup(argv[i].p, argv[i].n);
    n->options.bind_count = argc;
    return 0;
}

static void get_bind(void *ctx, struct buf *out) {
    const struct node *n = ctx;
    for (int i = 0; i < n->options.bind_count; i++)
        buf_printf(out, "%s%s", i ? " " : "", n->options.binds[i]);
}

/* ---- oom-score-adj-values ---- */

static int set_oom_values(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct node *n = ctx;
    int64_t v[3];
    (void)append;
    if (argc != 3) {
        buf_append_cstr(error, "wrong number of arguments");
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        if (num_parse_i64(argv[i], &v[i]) != 0 || v[i] < -2000 || v[i] > 2000) {
            buf_append_cstr(error, "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
            return -1;
        }
    }
    memcpy(n->options.oom_values, v, sizeof v);
    return 0;
}

static void get_oom_values(void *ctx, struct buf *out) {
    const struct node *n = ctx;
    buf_printf(out, "%lld %lld %lld", (long long)n->options.oom_values[0], (long long)n->options.oom_values[1],
               (long long)n->options.oom_values[2]);
}

static const struct setting_enum levels[] = {{"debug", LOG_LEVEL_DEBUG},     {"verbose", LOG_LEVEL_VERBOSE},
                                             {"notice", LOG_LEVEL_NOTICE},   {"warning", LOG_LEVEL_WARNING},
                                             {"nothing", LOG_LEVEL_NOTHING}, {NULL, 0}};
static const struct setting_enum formats[] = {{"legacy", LOG_FORMAT_LEGACY}, {"logfmt", LOG_FORMAT_LOGFMT}, {NULL, 0}};
static const struct setting_enum timestamps[] = {{"legacy", LOG_TIMESTAMP_LEGACY},
                                                 {"iso8601", LOG_TIMESTAMP_ISO8601},
                                                 {"milliseconds", LOG_TIMESTAMP_MILLISECONDS},
                                                 {NULL, 0}};
static const struct setting_enum facilities[] = {{"user", LOG_USER},     {"local0", LOG_LOCAL0},
                                                 {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2},
                                                 {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},
                                                 {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},
                                                 {"local7", LOG_LOCAL7}, {NULL, 0}};
static const struct setting_enum supervised[] = {{"upstart", 3}, {"systemd", 1}, {"auto", 2}, {"no", 0}, {NULL, 0}};
static const struct setting_enum oom_modes[] = {{"no", 0}, {"yes", 1}, {"relative", 1}, {"absolute", 2}, {NULL, 0}};
static const struct setting_enum shutdown_ways[] = {{"default", 0},
                                                    {"save", PERSIST_SHUTDOWN_SAVE},
                                                    {"nosave", PERSIST_SHUTDOWN_NOSAVE},
                                                    {"now", PERSIST_SHUTDOWN_NOW},
                                                    {"force", PERSIST_SHUTDOWN_FORCE},
                                                    {NULL, 0}};

#define FIELD(f) offsetof(struct node_options, f)

static const struct setting rows[] = {
    {.name = "port",
     .type = SETTING_INT,
     .initial = "6379",
     .min = 0,
     .max = 65535,
     .offset = FIELD(port),
     .apply = apply_listeners},
    {.name = "bind",
     .type = SETTING_SPECIAL,
     .flags = SETTING_MULTI_ARG,
     .initial = "* -::*",
     .set = set_bind,
     .get = get_bind,
     .apply = apply_listeners},
    {.name = "unixsocket",
     .type = SETTING_STRING,
     .flags = SETTING_IMMUTABLE,
     .initial = "",
     .offset = FIELD(unixsocket)},
    {.name = "unixsocketperm",
     .type = SETTING_OCTAL,
     .flags = SETTING_IMMUTABLE,
     .initial = "0",
     .min = 0,
     .max = 0777,
     .offset = FIELD(unixsocketperm)},
    {.name = "unixsocketgroup",
     .type = SETTING_STRING,
     .flags = SETTING_IMMUTABLE,
     .initial = "",
     .offset = FIELD(unixsocketgroup)},
    {.name = "tcp-backlog",
     .type = SETTING_INT,
     .flags = SETTING_IMMUTABLE,
     .initial = "511",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(tcp_backlog)},
    {.name = "socket-mark-id",
     .type = SETTING_INT,
     .flags = SETTING_IMMUTABLE,
     .initial = "0",
     .min = 0,
     .max = UINT32_MAX,
     .offset = FIELD(socket_mark_id)},
    {.name = "max-new-connections-per-cycle",
     .type = SETTING_INT,
     .initial = "10",
     .min = 1,
     .max = 1000,
     .offset = FIELD(accepts_per_cycle),
     .apply = apply_accepts},
    {.name = "databases",
     .type = SETTING_INT,
     .flags = SETTING_IMMUTABLE,
     .initial = "16",
     .min = 1,
     .max = INT32_MAX,
     .offset = FIELD(databases)},
    {.name = "io-threads",
     .type = SETTING_INT,
     .flags = SETTING_IMMUTABLE,
     .initial = "1",
     .min = 1,
     .max = 128,
     .offset = FIELD(io_threads)},
    {.name = "daemonize",
     .type = SETTING_BOOL,
     .flags = SETTING_IMMUTABLE,
     .initial = "no",
     .offset = FIELD(daemonize)},
    {.name = "supervised",
     .type = SETTING_ENUM,
     .flags = SETTING_IMMUTABLE,
     .initial = "auto",
     .names = supervised,
     .offset = FIELD(supervised)},
    {.name = "pidfile", .type = SETTING_STRING, .flags = SETTING_IMMUTABLE, .initial = "", .offset = FIELD(pidfile)},
    {.name = "dir",
     .type = SETTING_SPECIAL,
     .flags = SETTING_PROTECTED | SETTING_DENY_LOADING,
     .initial = ".",
     .set = set_dir,
     .get = get_dir},
    {.name = "loglevel",
     .type = SETTING_ENUM,
     .initial = "notice",
     .names = levels,
     .offset = FIELD(loglevel),
     .apply = node_apply_logging},
    {.name = "logfile",
     .type = SETTING_STRING,
     .flags = SETTING_IMMUTABLE,
     .initial = "",
     .offset = FIELD(logfile),
     .apply = node_apply_logging},
    {.name = "log-format",
     .type = SETTING_ENUM,
     .initial = "legacy",
     .names = formats,
     .offset = FIELD(log_format),
     .apply = node_apply_logging},
    {.name = "log-timestamp-format",
     .type = SETTING_ENUM,
     .initial = "legacy",
     .names = timestamps,
     .offset = FIELD(log_timestamp_format),
     .apply = node_apply_logging},
    {.name = "syslog-enabled",
     .type = SETTING_BOOL,
     .flags = SETTING_IMMUTABLE,
     .initial = "no",
     .offset = FIELD(syslog_enabled),
     .apply = node_apply_logging},
    {.name = "syslog-ident",
     .type = SETTING_STRING,
     .flags = SETTING_IMMUTABLE,
     .initial = "holdfast",
     .offset = FIELD(syslog_ident)},
    {.name = "syslog-facility",
     .type = SETTING_ENUM,
     .flags = SETTING_IMMUTABLE,
     .initial = "local0",
     .names = facilities,
     .offset = FIELD(syslog_facility)},
    {.name = "set-proc-title",
     .type = SETTING_BOOL,
     .flags = SETTING_IMMUTABLE,
     .initial = "yes",
     .offset = FIELD(set_proc_title)},
    {.name = "proc-title-template",
     .type = SETTING_STRING,
     .initial = "{title} {listen-addr} {server-mode}",
     .offset = FIELD(proc_title_template),
     .check = check_title,
     .apply = apply_title},
    {.name = "always-show-logo",
     .type = SETTING_BOOL,
     .flags = SETTING_IMMUTABLE,
     .initial = "yes",
     .offset = FIELD(always_show_logo)},
    {.name = "disable-thp",
     .type = SETTING_BOOL,
     .flags = SETTING_IMMUTABLE,
     .initial = "yes",
     .offset = FIELD(disable_thp)},
    {.name = "crash-log-enabled",
     .type = SETTING_BOOL,
     .flags = SETTING_IMMUTABLE,
     .initial = "yes",
     .offset = FIELD(crash_log_enabled)},
    {.name = "jemalloc-bg-thread",
     .type = SETTING_BOOL,
     .initial = "yes",
     .offset = FIELD(jemalloc_bg_thread),
     .apply = apply_purge_thread},
    {.name = "oom-score-adj",
     .type = SETTING_ENUM,
     .initial = "no",
     .names = oom_modes,
     .offset = FIELD(oom_score_adj),
     .apply = apply_oom},
    {.name = "oom-score-adj-values",
     .type = SETTING_SPECIAL,
     .flags = SETTING_MULTI_ARG,
     .initial = "0 200 800",
     .set = set_oom_values,
     .get = get_oom_values,
     .apply = apply_oom},
    {.name = "shutdown-timeout",
     .type = SETTING_INT,
     .initial = "10",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(shutdown_timeout_s)},
    {.name = "shutdown-on-sigint",
     .type = SETTING_ENUM,
     .flags = SETTING_MULTI_ARG,
     .initial = "default",
     .names = shutdown_ways,
     .enum_bits = true,
     .offset = FIELD(shutdown_on_sigint)},
    {.name = "shutdown-on-sigterm",
     .type = SETTING_ENUM,
     .flags = SETTING_MULTI_ARG,
     .initial = "default",
     .names = shutdown_ways,
     .enum_bits = true,
     .offset = FIELD(shutdown_on_sigterm)},
};

void node_register_settings(struct node *n) {
    settings_register(n->settings, rows, sizeof rows / sizeof rows[0], &n->options, n);
}
