/* CONFIG. */
#include "config.h"

#include "server/base/logging.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"
#include "server/net/conn.h"

struct get {
    struct resp_writer *w;
    size_t count;
};

static void get_one(void *arg, const char *name, struct slice value) {
    struct get *g = arg;
    resp_bulk_cstr(g->w, name);
    resp_bulk(g->w, value);
    g->count++;
}

static void get_run(struct call *c) {
    struct get g = {c->w, 0};
    struct outq_hole hole = resp_open(c->w);
    settings_get(engine_settings(c->engine), c->argv + 2, c->argc - 2, get_one, &g);
    resp_close_map(c->w, hole, g.count);
}

static bool may_change_protected(const struct call *c) {
    int access = engine_options(c->engine)->enable_protected_configs;
    return access == ENGINE_ACCESS_YES ||
           (access == ENGINE_ACCESS_LOCAL && (c->client->conn == NULL || conn_is_local(c->client->conn)));
}

static void reply_failure(struct call *c, struct buf *error) {
    buf_append_char(error, '\0');
    call_error(c, error->data);
}

static void set_run(struct call *c) {
    struct settings *s = engine_settings(c->engine);
    for (int i = 2; i + 1 < c->argc; i += 2)
        if (settings_is_sensitive(s, c->argv[i]))
            call_redact(c, i + 1);
    if (c->argc % 2 != 0) {
        call_error_syntax(c);
        return;
    }
    struct buf error = BUF_INIT;
    if (settings_set(s, c->argv + 2, (c->argc - 2) / 2, engine_loading(c->engine), may_change_protected(c), &error) !=
        0)
        reply_failure(c, &error);
    else
        resp_ok(c->w);
    buf_deinit(&error);
}

static void rewrite_run(struct call *c) {
    struct buf error = BUF_INIT;
    if (settings_rewrite(engine_settings(c->engine), fs_posix(), &error) != 0) {
        log_warning("CONFIG REWRITE failed: %.*s", (int)error.len, error.data);
        reply_failure(c, &error);
    } else {
        log_notice("CONFIG REWRITE executed with success.");
        resp_ok(c->w);
    }
    buf_deinit(&error);
}

static void resetstat_run(struct call *c) {
    engine_reset_stats(c->engine);
    resp_ok(c->w);
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    Return the options whose names match, with their values.",
        "RESETSTAT",
        "    Set the counters of INFO to zero.",
        "REWRITE",
        "    Write the values that stand into the configuration file.",
        "SET <option> <value> [<option> <value> ...]",
        "    Change options: all of them, or none.",
        NULL,
    };
    call_reply_help(c, lines);
}

#define ADMIN (COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE)

static const char *const everywhere[] = {"request_policy:all_nodes", "response_policy:all_succeeded", NULL};

static const struct command subs[] = {
    {.name = "get", .group = "server", .since = "2.0.0", .arity = -3, .flags = ADMIN, .run = get_run},
    {.name = "help",
     .group = "server",
     .since = "5.0.0",
     .arity = 2,
     .flags = COMMAND_LOADING | COMMAND_STALE,
     .run = help_run},
    {.name = "resetstat",
     .group = "server",
     .since = "2.0.0",
     .arity = 2,
     .flags = ADMIN,
     .tips = everywhere,
     .run = resetstat_run},
    {.name = "rewrite",
     .group = "server",
     .since = "2.8.0",
     .arity = 2,
     .flags = ADMIN,
     .tips = everywhere,
     .run = rewrite_run},
    {.name = "set",
     .group = "server",
     .since = "2.0.0",
     .arity = -4,
     .flags = ADMIN,
     .tips = everywhere,
     .run = set_run},
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "config", .group = "server", .since = "2.0.0", .arity = -2, .subcommands = subs}};

void config_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
