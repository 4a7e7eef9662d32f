/* TIME. */
#include "config.h"

#include "server/base/clock.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/engine/call.h"

static void time_run(struct call *c) {
    int64_t now_us = clock_wall_us();
    resp_array(c->w, 2);
    resp_bulk_i64(c->w, now_us / 1000000);
    resp_bulk_i64(c->w, now_us % 1000000);
}

static const char *const time_tips[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "time",
     .group = "server",
     .since = "2.6.0",
     .arity = 1,
     .run = time_run,
     .tips = time_tips,
     .flags = COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST},
};

void server_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
