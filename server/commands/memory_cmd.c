/* MEMORY. */
#include "config.h"

#include <stdio.h>

#include "server/commands/commands.h"
#include "server/commands/memory_report.h"
#include "server/commands/rows.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"

#define USAGE_SAMPLES 5

static void usage_run(struct call *c) {
    int64_t samples = USAGE_SAMPLES;
    for (int i = 3; i < c->argc; i += 2) {
        if (!slice_is(c->argv[i], "samples") || i + 1 >= c->argc) {
            call_error_syntax(c);
            return;
        }
        if (!call_arg_i64(c, i + 1, &samples))
            return;
        if (samples < 0) {
            call_error_syntax(c);
            return;
        }
    }
    struct keyref key = call_key(c, 2);
    const struct entry *e = call_find_read_silent(c, &key);
    if (e == NULL)
        resp_null(c->w);
    else
        resp_int(c->w, (int64_t)entry_memory_bytes(e, (size_t)samples));
}

/* ---- STATS ---- */

struct stats_reply {
    struct resp_writer *w;
    size_t count;
};

static void stat_size(struct stats_reply *r, const char *name, size_t v) {
    resp_bulk_cstr(r->w, name);
    resp_int(r->w, (int64_t)v);
    r->count++;
}

static void stat_double(struct stats_reply *r, const char *name, double v) {
    resp_bulk_cstr(r->w, name);
    resp_double(r->w, v);
    r->count++;
}

static void stats_databases(struct stats_reply *r, const struct keyspace *ks) {
    for (unsigned db = 0; db < keyspace_databases(ks); db++) {
        char name[24];
        if (keyspace_size(ks, db) == 0)
            continue;
        snprintf(name, sizeof name, "db.%u", db);
        resp_bulk_cstr(r->w, name);
        resp_map(r->w, 2);
        resp_bulk_cstr(r->w, "overhead.hashtable.main");
        resp_int(r->w, (int64_t)keyspace_table_bytes(ks, db));
        resp_bulk_cstr(r->w, "overhead.hashtable.expires");
        resp_int(r->w, (int64_t)keyspace_deadline_bytes(ks, db));
        r->count++;
    }
}

static void stats_run(struct call *c) {
    struct memory_report m;
    memory_report_take(c->engine, &m);
    struct outq_hole hole = resp_open(c->w);
    struct stats_reply r = {c->w, 0};
    stat_size(&r, "peak.allocated", m.peak);
    stat_size(&r, "total.allocated", m.used);
    stat_size(&r, "startup.allocated", m.startup);
    stat_size(&r, "replication.backlog", 0);
    stat_size(&r, "clients.slaves", 0);
    stat_size(&r, "clients.normal", m.clients);
    stat_size(&r, "cluster.links", 0);
    stat_size(&r, "aof.buffer", m.log);
    stat_size(&r, "lua.caches", 0);
    stat_size(&r, "functions.caches", 0);
    stats_databases(&r, c->ks);
    stat_size(&r, "overhead.db.hashtable.rehashing", m.rehash);
    stat_size(&r, "overhead.total", m.overhead);
    stat_size(&r, "keys.count", m.keys);
    stat_size(&r, "keys.bytes-per-key", m.keys == 0 ? 0 : memory_less(m.used, m.startup) / m.keys);
    stat_size(&r, "dataset.bytes", m.dataset);
    stat_double(&r, "dataset.percentage", memory_percent(m.dataset, memory_less(m.used, m.startup)));
    stat_double(&r, "peak.percentage", memory_percent(m.used, m.peak));
    stat_size(&r, "allocator.allocated", m.allocator.allocated);
    stat_size(&r, "allocator.active", m.allocator.active);
    stat_size(&r, "allocator.resident", m.allocator.resident);
    stat_size(&r, "allocator.muzzy", m.allocator.muzzy);
    stat_double(&r, "allocator-fragmentation.ratio", memory_ratio(m.allocator.active, m.allocator.allocated));
    stat_size(&r, "allocator-fragmentation.bytes", memory_less(m.allocator.active, m.allocator.allocated));
    stat_double(&r, "allocator-rss.ratio", memory_ratio(m.allocator.resident, m.allocator.active));
    stat_size(&r, "allocator-rss.bytes", memory_less(m.allocator.resident, m.allocator.active));
    stat_double(&r, "rss-overhead.ratio", memory_ratio(m.rss, m.allocator.resident));
    stat_size(&r, "rss-overhead.bytes", memory_less(m.rss, m.allocator.resident));
    stat_double(&r, "fragmentation", memory_ratio(m.rss, m.used));
    stat_size(&r, "fragmentation.bytes", memory_less(m.rss, m.used));
    resp_close_map(c->w, hole, r.count);
}

/* ---- DOCTOR ---- */

#define DOCTOR_MIN_BYTES ((size_t)5 << 20) /* below this, ratios say nothing */

static void doctor_run(struct call *c) {
    struct memory_report m;
    struct buf text = BUF_INIT;
    memory_report_take(c->engine, &m);
    if (m.used < DOCTOR_MIN_BYTES) {
        buf_append_cstr(&text, "This node holds too little data for a diagnosis.\n");
    } else {
        size_t clients = engine_client_count(c->engine);
        if (memory_ratio(m.peak, m.used) > 1.5)
            buf_append_cstr(
                &text,
                "* The peak was more than 1.5 times what is used now: the resident size may stay large for a while.\n");
        if (memory_ratio(m.rss, m.used) > 1.4 && m.rss - m.used > (size_t)10 << 20)
            buf_printf(&text, "* The process holds %.2f times the memory it uses: MEMORY PURGE returns unused pages.\n",
                       memory_ratio(m.rss, m.used));
        if (memory_ratio(m.allocator.active, m.allocator.allocated) > 1.1 &&
            m.allocator.active - m.allocator.allocated > (size_t)10 << 20)
            buf_append_cstr(&text, "* The allocator's pages are more than 10 % empty inside.\n");
        if (clients > 0 && m.clients / clients > (size_t)200 << 10)
            buf_append_cstr(
                &text, "* Clients hold more than 200 kB each: look for slow readers with CLIENT LIST (omem, qbuf).\n");
        if (text.len == 0)
            buf_append_cstr(&text, "Nothing unusual was found in this node's memory.\n");
    }
    resp_verbatim(c->w, "txt", buf_slice(&text));
    buf_deinit(&text);
}

static void malloc_stats_run(struct call *c) {
    char *report = mem_allocator_report();
    resp_verbatim(c->w, "txt",
                  report != NULL ? slice_cstr(report) : SLICE_LIT("The allocator of this build keeps no statistics"));
    mem_free(report);
}

static void purge_run(struct call *c) {
    if (mem_purge() != 0)
        call_error(c, "ERR Error purging dirty pages");
    else
        resp_ok(c->w);
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "DOCTOR",
        "    Point out what is unusual in the use of memory.",
        "MALLOC-STATS",
        "    Return the allocator's own report.",
        "PURGE",
        "    Give unused pages back to the system.",
        "STATS",
        "    Return what the memory is used for.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return the bytes that a key and its value take. Of a collection so many elements are",
        "    measured (default: 5, 0: all).",
        NULL,
    };
    call_reply_help(c, lines);
}

static const char *const shard_tips[] = {"nondeterministic_output", "request_policy:all_shards",
                                         "response_policy:special", NULL};
static const char *const purge_tips[] = {"request_policy:all_shards", "response_policy:all_succeeded", NULL};

static const struct command subs[] = {
    {.name = "doctor", .group = "server", .since = "4.0.0", .arity = 2, .tips = shard_tips, .run = doctor_run},
    {.name = "help",
     .group = "server",
     .since = "4.0.0",
     .arity = 2,
     .flags = COMMAND_LOADING | COMMAND_STALE,
     .run = help_run},
    {.name = "malloc-stats",
     .group = "server",
     .since = "4.0.0",
     .arity = 2,
     .tips = shard_tips,
     .run = malloc_stats_run},
    {.name = "purge", .group = "server", .since = "4.0.0", .arity = 2, .tips = purge_tips, .run = purge_run},
    {.name = "stats", .group = "server", .since = "4.0.0", .arity = 2, .tips = shard_tips, .run = stats_run},
    {.name = "usage",
     .group = "server",
     .since = "4.0.0",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .keys = {ROW_KEYS(KEY_RO, 2, 0, 1)},
     .run = usage_run},
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "memory", .group = "server", .since = "4.0.0", .arity = -2, .subcommands = subs}};

void memory_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
