/* Publish and subscribe: SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE PUBLISH SPUBLISH PUBSUB.
 */
#include "config.h"

#include "server/base/buf.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/ds/glob.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"
#include "server/engine/pubsub.h"

/* ---- subscribing ---- */

static const char *const joins[PUBSUB_KINDS] = {"subscribe", "psubscribe", "ssubscribe"};
static const char *const leaves[PUBSUB_KINDS] = {"unsubscribe", "punsubscribe", "sunsubscribe"};

/* How many subscriptions the client has now, as its replies count them: shard channels are apart. */
static size_t counted(const struct client *cl, enum pubsub_kind kind) {
    if (kind == PUBSUB_SHARD)
        return pubsub_subscriptions(cl, PUBSUB_SHARD);
    return pubsub_subscriptions(cl, PUBSUB_CHANNEL) + pubsub_subscriptions(cl, PUBSUB_PATTERN);
}

/* Confirmations are messages: CLIENT REPLY does not keep them back. */
static void confirm(struct client *cl, const char *what, enum pubsub_kind kind, const struct slice *name) {
    struct resp_writer w = {&cl->out, cl->w.resp};
    resp_push(&w, 3);
    resp_bulk_cstr(&w, what);
    if (name != NULL)
        resp_bulk(&w, *name);
    else
        resp_null(&w);
    resp_int(&w, (int64_t)counted(cl, kind));
}

static void subscribe(struct call *c, enum pubsub_kind kind) {
    for (int i = 1; i < c->argc; i++) {
        pubsub_subscribe(c->client, kind, c->argv[i]);
        confirm(c->client, joins[kind], kind, &c->argv[i]);
    }
}

static void leave_all(struct client *cl, enum pubsub_kind kind) {
    struct slice name;
    struct buf copy = BUF_INIT;
    if (!pubsub_first(cl, kind, &name)) {
        confirm(cl, leaves[kind], kind, NULL);
        return;
    }
    do {
        buf_clear(&copy); /* the name goes with its last subscriber */
        buf_append_slice(&copy, name);
        name = buf_slice(&copy);
        pubsub_unsubscribe(cl, kind, name);
        confirm(cl, leaves[kind], kind, &name);
    } while (pubsub_first(cl, kind, &name));
    buf_deinit(&copy);
}

static void unsubscribe(struct call *c, enum pubsub_kind kind) {
    if (c->argc == 1) {
        leave_all(c->client, kind);
        return;
    }
    for (int i = 1; i < c->argc; i++) {
        pubsub_unsubscribe(c->client, kind, c->argv[i]);
        confirm(c->client, leaves[kind], kind, &c->argv[i]);
    }
}

static void subscribe_run(struct call *c) {
    subscribe(c, PUBSUB_CHANNEL);
}
static void psubscribe_run(struct call *c) {
    subscribe(c, PUBSUB_PATTERN);
}
static void ssubscribe_run(struct call *c) {
    subscribe(c, PUBSUB_SHARD);
}
static void unsubscribe_run(struct call *c) {
    unsubscribe(c, PUBSUB_CHANNEL);
}
static void punsubscribe_run(struct call *c) {
    unsubscribe(c, PUBSUB_PATTERN);
}
static void sunsubscribe_run(struct call *c) {
    unsubscribe(c, PUBSUB_SHARD);
}

/* ---- publishing ---- */

static void publish(struct call *c, enum pubsub_kind kind) {
    size_t receivers = 0;
    /* Messages that a file repeats are old news. */
    if (!(engine_loading(c->engine) && (c->client->flags & CLIENT_INTERNAL))) {
        struct rbuf *block = call_take_argument(c, c->argv[2]);
        receivers = pubsub_publish(c->engine, kind, c->argv[1], c->argv[2], block, false);
        rbuf_unref(block);
    }
    call_propagate_message(c);
    resp_int(c->w, (int64_t)receivers);
}

static void publish_run(struct call *c) {
    publish(c, PUBSUB_CHANNEL);
}
static void spublish_run(struct call *c) {
    publish(c, PUBSUB_SHARD);
}

/* ---- PUBSUB ---- */

struct matching {
    struct resp_writer *w;
    const struct slice *pattern;
    size_t n;
};

static void reply_if_matching(void *arg, struct slice name) {
    struct matching *m = arg;
    if (m->pattern != NULL && !glob_match(*m->pattern, name, false))
        return;
    resp_bulk(m->w, name);
    m->n++;
}

static void reply_names(struct call *c, enum pubsub_kind kind) {
    if (c->argc > 3) {
        call_error_subcommand(c);
        return;
    }
    struct matching m = {c->w, c->argc == 3 ? &c->argv[2] : NULL, 0};
    struct outq_hole hole = resp_open(c->w);
    pubsub_each_name(c->engine, kind, reply_if_matching, &m);
    resp_close_array(c->w, hole, m.n);
}

static void reply_subscribers(struct call *c, enum pubsub_kind kind) {
    resp_array(c->w, (size_t)(c->argc - 2) * 2);
    for (int i = 2; i < c->argc; i++) {
        resp_bulk(c->w, c->argv[i]);
        resp_int(c->w, (int64_t)pubsub_subscribers(c->engine, kind, c->argv[i]));
    }
}

static void channels_run(struct call *c) {
    reply_names(c, PUBSUB_CHANNEL);
}
static void shardchannels_run(struct call *c) {
    reply_names(c, PUBSUB_SHARD);
}
static void numsub_run(struct call *c) {
    reply_subscribers(c, PUBSUB_CHANNEL);
}
static void shardnumsub_run(struct call *c) {
    reply_subscribers(c, PUBSUB_SHARD);
}
static void numpat_run(struct call *c) {
    resp_int(c->w, (int64_t)pubsub_names(c->engine, PUBSUB_PATTERN));
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    List the channels that have subscribers, all or those that match.",
        "NUMPAT",
        "    Count the different patterns that clients are subscribed to.",
        "NUMSUB [<channel> ...]",
        "    Count the subscribers of channels, those of patterns left out.",
        "SHARDCHANNELS [<pattern>]",
        "    List the shard channels that have subscribers, all or those that match.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Count the subscribers of shard channels.",
        NULL,
    };
    call_reply_help(c, lines);
}

#define SUB(name_, since_, arity_, flags_, run_)                                                                       \
    {                                                                                                                  \
        .name = name_, .group = "pubsub", .since = since_, .arity = arity_, .run = run_,                               \
        .flags = COMMAND_LOADING | COMMAND_STALE | (flags_)                                                            \
    }

static const struct command subs[] = {
    SUB("channels", "2.8.0", -2, COMMAND_PUBSUB, channels_run),
    SUB("help", "6.2.0", 2, 0, help_run),
    SUB("numpat", "2.8.0", 2, COMMAND_PUBSUB, numpat_run),
    SUB("numsub", "2.8.0", -2, COMMAND_PUBSUB, numsub_run),
    SUB("shardchannels", "7.0.0", -2, COMMAND_PUBSUB, shardchannels_run),
    SUB("shardnumsub", "7.0.0", -2, COMMAND_PUBSUB, shardnumsub_run),
    {.name = NULL},
};

#define ROW(name_, since_, arity_, flags_, run_)                                                                       \
    .name = name_, .group = "pubsub", .since = since_, .arity = arity_, .run = run_,                                   \
    .flags = COMMAND_PUBSUB | COMMAND_LOADING | COMMAND_STALE | (flags_)

static const struct command rows[] = {
    {ROW("psubscribe", "2.0.0", -2, COMMAND_NOSCRIPT, psubscribe_run)},
    {ROW("publish", "2.0.0", 3, COMMAND_FAST | COMMAND_MAY_REPLICATE, publish_run)},
    {.name = "pubsub", .group = "pubsub", .since = "2.8.0", .arity = -2, .subcommands = subs},
    {ROW("punsubscribe", "2.0.0", -1, COMMAND_NOSCRIPT, punsubscribe_run)},
    {ROW("spublish", "7.0.0", 3, COMMAND_FAST | COMMAND_MAY_REPLICATE, spublish_run), .keys = {ROW_KEY(KEY_NOT_KEY)}},
    {ROW("ssubscribe", "7.0.0", -2, COMMAND_NOSCRIPT, ssubscribe_run), .keys = {ROW_KEYS(KEY_NOT_KEY, 1, -1, 1)}},
    {ROW("subscribe", "2.0.0", -2, COMMAND_NOSCRIPT, subscribe_run)},
    {ROW("sunsubscribe", "7.0.0", -1, COMMAND_NOSCRIPT, sunsubscribe_run), .keys = {ROW_KEYS(KEY_NOT_KEY, 1, -1, 1)}},
    {ROW("unsubscribe", "2.0.0", -1, COMMAND_NOSCRIPT, unsubscribe_run)},
};

void pubsub_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
