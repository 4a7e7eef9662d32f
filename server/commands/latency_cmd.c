/* LATENCY, the option of its percentiles, and INFO's latencystats. */
#include "config.h"

#include <stdio.h>

#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"
#include "server/engine/latency.h"

/* ---- latency-tracking-info-percentiles ---- */

static int set_percentiles(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct latency_info *l = ctx;
    double percentiles[LATENCY_PERCENTILES_MAX];
    int n = 0;
    (void)append; /* each line names them all */
    for (int i = 0; i < argc && !(argc == 1 && argv[0].n == 0); i++) {
        if (n == LATENCY_PERCENTILES_MAX) {
            buf_printf(error, "there can be %d percentiles at most", LATENCY_PERCENTILES_MAX);
            return -1;
        }
        if (num_parse_double(argv[i], &percentiles[n]) != 0) {
            buf_append_cstr(error, "Invalid latency-tracking-info-percentiles parameters");
            return -1;
        }
        if (percentiles[n] < 0 || percentiles[n] > 100) {
            buf_append_cstr(error,
                            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
            return -1;
        }
        n++;
    }
    memcpy(l->percentiles, percentiles, (size_t)n * sizeof percentiles[0]);
    l->count = n;
    return 0;
}

static void get_percentiles(void *ctx, struct buf *out) {
    const struct latency_info *l = ctx;
    for (int i = 0; i < l->count; i++) {
        char text[NUM_DOUBLE_CHARS];
        int n = snprintf(text, sizeof text, "%.6g", l->percentiles[i]);
        if (i > 0)
            buf_append_char(out, ' ');
        buf_append(out, text, (size_t)n);
    }
}

static const struct setting settings_rows[] = {{.name = "latency-tracking-info-percentiles",
                                                .type = SETTING_SPECIAL,
                                                .flags = SETTING_MULTI_ARG,
                                                .initial = "50 99 99.9",
                                                .set = set_percentiles,
                                                .get = get_percentiles}};

/* ---- INFO ---- */

struct section {
    const struct latency_info *l;
    struct buf *out;
};

static void info_line(void *arg, struct command_entry *e) {
    struct section *s = arg;
    if (e->latency != NULL && e->latency->total > 0) {
        buf_printf(s->out, "latency_percentiles_usec_%s:", e->full_name);
        for (int i = 0; i < s->l->count; i++)
            buf_printf(s->out, "%sp%.6g=%.3f", i > 0 ? "," : "", s->l->percentiles[i],
                       (double)latency_percentile_ns(e->latency, s->l->percentiles[i]) / 1000);
        buf_append_cstr(s->out, "\r\n");
    }
    for (int i = 0; i < e->sub_count; i++)
        info_line(arg, &e->subs[i]);
}

static void latencystats_section(void *ctx, struct buf *out) {
    const struct latency_info *l = ctx;
    struct section s = {l, out};
    if (engine_options(l->engine)->latency_tracking)
        command_table_each(engine_commands(l->engine), info_line, &s);
}

/* ---- HISTOGRAM ---- */

#define FIRST_BOUND_NS 1024 /* bounds double from here, as Redis has them */

static void reply_histogram(struct call *c, const struct command_entry *e) {
    resp_bulk_cstr(c->w, e->full_name);
    resp_map(c->w, 2);
    resp_bulk_cstr(c->w, "calls");
    resp_int(c->w, (int64_t)e->latency->total);
    resp_bulk_cstr(c->w, "histogram_usec");
    struct outq_hole hole = resp_open(c->w);
    size_t n = 0;
    uint64_t before = 0;
    for (uint64_t bound = FIRST_BOUND_NS; before < e->latency->total && bound < UINT64_C(1) << 62; bound *= 2) {
        uint64_t now = bound >= UINT64_C(1) << LATENCY_OCTAVES ? e->latency->total : latency_at_most(e->latency, bound);
        if (now == before)
            continue;
        resp_int(c->w, (int64_t)(latency_bucket_max_ns(latency_bucket(bound)) / 1000));
        resp_int(c->w, (int64_t)now);
        before = now;
        n++;
    }
    resp_close_map(c->w, hole, n);
}

struct histograms {
    struct call *c;
    size_t count;
};

static void histogram_of(void *arg, struct command_entry *e) {
    struct histograms *h = arg;
    if (e->latency != NULL && e->latency->total > 0) {
        reply_histogram(h->c, e);
        h->count++;
    }
    for (int i = 0; i < e->sub_count; i++)
        histogram_of(arg, &e->subs[i]);
}

static void histogram_run(struct call *c) {
    struct histograms h = {c, 0};
    struct outq_hole hole = resp_open(c->w);
    if (c->argc == 2)
        command_table_each(engine_commands(c->engine), histogram_of, &h);
    for (int i = 2; i < c->argc; i++) {
        struct command_entry *e = command_table_find_full(engine_commands(c->engine), c->argv[i]);
        if (e != NULL)
            histogram_of(&h, e);
    }
    resp_close_map(c->w, hole, h.count);
}

/* ---- the monitor of single events: there is none, and there are no events ---- */

static void latest_run(struct call *c) {
    resp_array(c->w, 0);
}

static void reset_run(struct call *c) {
    resp_int(c->w, 0);
}

static void doctor_run(struct call *c) {
    resp_verbatim(c->w, "txt",
                  SLICE_LIT("Single events are not monitored by this build. LATENCY HISTOGRAM and INFO latencystats "
                            "show how long commands take.\n"));
}

static void graph_run(struct call *c) {
    call_errorf(c, "ERR No samples available for event '%.*s'", (int)(c->argv[2].n < 128 ? c->argv[2].n : 128),
                c->argv[2].p);
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "DOCTOR",
        "    Say what is monitored.",
        "GRAPH <event>, HISTORY <event>, LATEST, RESET [<event> ...]",
        "    About single slow events, which this build does not monitor.",
        "HISTOGRAM [<command> ...]",
        "    Return how many calls took at most so many microseconds, for these commands or for all.",
        NULL,
    };
    call_reply_help(c, lines);
}

#define ADMIN (COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE)
#define SUB(name_, since_, arity_, run_, tips_)                                                                        \
    { .name = name_, .group = "server", .since = since_, .arity = arity_, .flags = ADMIN, .tips = tips_, .run = run_ }

static const char *const special[] = {"nondeterministic_output", "request_policy:all_nodes", "response_policy:special",
                                      NULL};
static const char *const sums[] = {"request_policy:all_nodes", "response_policy:agg_sum", NULL};

static const struct command subs[] = {
    SUB("doctor", "2.8.13", 2, doctor_run, special),
    SUB("graph", "2.8.13", 3, graph_run, special),
    {.name = "help",
     .group = "server",
     .since = "2.8.13",
     .arity = 2,
     .flags = COMMAND_LOADING | COMMAND_STALE,
     .run = help_run},
    SUB("histogram", "7.0.0", -2, histogram_run, special),
    SUB("history", "2.8.13", 3, latest_run, special),
    SUB("latest", "2.8.13", 2, latest_run, special),
    SUB("reset", "2.8.13", -2, reset_run, sums),
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "latency", .group = "server", .since = "2.8.13", .arity = -2, .subcommands = subs}};

void latency_commands_register(struct command_table *t, struct latency_info *l) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
    settings_register(engine_settings(l->engine), settings_rows, ROW_COUNT(settings_rows), l, l);
    info_register(engine_info(l->engine), "Latencystats", INFO_ALL, latencystats_section, l);
}
