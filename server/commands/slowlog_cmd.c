/* SLOWLOG. */
#include "config.h"

#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"

static void reply_entry(struct call *c, const struct slowlog_entry *e, bool verbose) {
    resp_array(c->w, verbose ? 9 : 6);
    resp_int(c->w, e->id);
    resp_int(c->w, e->time_s);
    resp_int(c->w, e->duration_us);
    resp_array(c->w, (size_t)e->argc);
    for (int i = 0; i < e->argc; i++)
        resp_bulk(c->w, slice_of(e->argv[i], e->argv_len[i]));
    resp_bulk_cstr(c->w, e->peer);
    resp_bulk_cstr(c->w, e->client_name);
    if (!verbose)
        return;
    resp_int(c->w, e->wait_us);
    resp_bulk_cstr(c->w, e->user);
    resp_int(c->w, (int64_t)e->db);
}

static void get_run(struct call *c) {
    const struct slowlog *log = engine_slowlog(c->engine);
    int64_t count = 10;
    bool verbose = c->argc == 4 && slice_is(c->argv[3], "verbose");
    if (c->argc > 4 || (c->argc == 4 && !verbose)) {
        call_error_subcommand(c);
        return;
    }
    if (c->argc > 2 &&
        !call_arg_i64_range(c, 2, -1, INT64_MAX, "ERR count should be greater than or equal to -1", &count))
        return;
    size_t n = slowlog_len(log);
    if (count >= 0 && (uint64_t)count < n)
        n = (size_t)count;
    resp_array(c->w, n);
    for (size_t i = 0; i < n; i++)
        reply_entry(c, slowlog_at(log, i), verbose);
}

static void len_run(struct call *c) {
    resp_int(c->w, (int64_t)slowlog_len(engine_slowlog(c->engine)));
}

static void reset_run(struct call *c) {
    slowlog_reset(engine_slowlog(c->engine));
    resp_ok(c->w);
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "GET [<count> [VERBOSE]]",
        "    Return the latest entries (default: 10, -1: all): number, Unix time, microseconds, request, address and "
        "name of",
        "    the client. VERBOSE adds the microseconds from reading to execution, the user and the database.",
        "LEN",
        "    Return the number of entries.",
        "RESET",
        "    Forget all entries.",
        NULL,
    };
    call_reply_help(c, lines);
}

#define ADMIN (COMMAND_ADMIN | COMMAND_LOADING | COMMAND_STALE)

static const char *const get_tips[] = {"request_policy:all_nodes", "nondeterministic_output", NULL};
static const char *const len_tips[] = {"request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output",
                                       NULL};
static const char *const reset_tips[] = {"request_policy:all_nodes", "response_policy:all_succeeded", NULL};

static const struct command subs[] = {
    {.name = "get",
     .group = "server",
     .since = "2.2.12",
     .arity = -2,
     .flags = ADMIN,
     .tips = get_tips,
     .run = get_run},
    {.name = "help",
     .group = "server",
     .since = "6.2.0",
     .arity = 2,
     .flags = COMMAND_LOADING | COMMAND_STALE,
     .run = help_run},
    {.name = "len", .group = "server", .since = "2.2.12", .arity = 2, .flags = ADMIN, .tips = len_tips, .run = len_run},
    {.name = "reset",
     .group = "server",
     .since = "2.2.12",
     .arity = 2,
     .flags = ADMIN,
     .tips = reset_tips,
     .run = reset_run},
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "slowlog", .group = "server", .since = "2.2.12", .arity = -2, .subcommands = subs}};

void slowlog_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
