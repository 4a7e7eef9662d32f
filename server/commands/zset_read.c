/* Looking into sorted sets: ZCARD ZSCORE ZMSCORE ZRANK ZREVRANK ZCOUNT ZLEXCOUNT ZRANDMEMBER ZSCAN. */
#include "config.h"

#include "server/commands/zset_int.h"

#include "server/base/num.h"
#include "server/commands/rows.h"
#include "server/commands/scan_options.h"
#include "server/engine/engine.h"

static void zcard_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    struct collection z;
    if (e != NULL)
        z = call_collection(c, e);
    resp_int(c->w, e != NULL ? (int64_t)sorted_set_count(&z) : 0);
}

/* ZSCORE, and the members of ZMSCORE. */
static void reply_score(struct call *c, const struct collection *z, struct slice member) {
    double score;
    if (z != NULL && sorted_set_score(z, member, &score))
        resp_double(c->w, score);
    else
        resp_null(c->w);
}

static void zscore_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    if (e == NULL) {
        resp_null(c->w);
        return;
    }
    struct collection z = call_collection(c, e);
    reply_score(c, &z, c->argv[2]);
}

static void zmscore_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    struct collection z;
    if (e != NULL)
        z = call_collection(c, e);
    resp_array(c->w, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++)
        reply_score(c, e != NULL ? &z : NULL, c->argv[i]);
}

static void rank(struct call *c, bool reverse) {
    bool with_score = c->argc == 4 && slice_is(c->argv[3], "withscore");
    if (c->argc > 3 && !with_score) {
        call_error_syntax(c);
        return;
    }
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    size_t at;
    double score;
    struct collection z;
    bool there = e != NULL;
    if (there) {
        z = call_collection(c, e);
        there = sorted_set_rank(&z, c->argv[2], &at, &score);
    }
    if (!there && with_score) {
        resp_null_array(c->w);
    } else if (!there) {
        resp_null(c->w);
    } else {
        if (with_score)
            resp_array(c->w, 2);
        resp_int(c->w, (int64_t)(reverse ? sorted_set_count(&z) - 1 - at : at));
        if (with_score)
            resp_double(c->w, score);
    }
}

static void zrank_run(struct call *c) {
    rank(c, false);
}

static void zrevrank_run(struct call *c) {
    rank(c, true);
}

static void count(struct call *c, enum zset_range_kind kind) {
    struct zset_range r = {.kind = kind};
    if (!zset_arg_range(c, 2, 3, &r))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    size_t n = 0;
    if (e != NULL) {
        size_t from;
        struct collection z = call_collection(c, e);
        n = zset_range_find(&z, &r, &from);
    }
    resp_int(c->w, (int64_t)n);
}

static void zcount_run(struct call *c) {
    count(c, ZSET_BY_SCORE);
}

static void zlexcount_run(struct call *c) {
    count(c, ZSET_BY_LEX);
}

/* ---- ZRANDMEMBER ---- */

struct random_reply {
    struct zset_reply out;
    const struct outq *client_out;
    uint64_t most_bytes; /* 0: no limit */
};

/* Members that are asked for again and again end where the client will be closed for what it is owed. */
static int reply_random(void *arg, const struct packed_item *member, double score) {
    struct random_reply *r = arg;
    zset_reply_member(&r->out, member, score);
    return r->most_bytes != 0 && r->out.w->q == r->client_out && outq_memory(r->client_out) > r->most_bytes;
}

static void random_members(struct call *c, const struct collection *z, int64_t wanted, bool scores) {
    int64_t limit = engine_options(c->engine)->output_limit[client_class(c->client)].hard_bytes;
    struct random_reply r = {{c->w, zset_shape_for(c, scores)}, &c->client->out, limit > 0 ? (uint64_t)limit : 0};
    struct rng *rng = engine_rng(c->engine);
    size_t members = sorted_set_count(z);
    if (wanted < 0) {
        size_t n = 0 - (size_t)wanted;
        zset_reply_header(&r.out, n);
        (void)sorted_set_random(z, rng, n, reply_random, &r);
        return;
    }
    size_t n = (uint64_t)wanted < members ? (size_t)wanted : members;
    zset_reply_header(&r.out, n);
    if (n == members)
        (void)sorted_set_each(z, 0, n, false, reply_random, &r);
    else
        (void)sorted_set_random_distinct(z, rng, n, reply_random, &r);
}

static void zrandmember_run(struct call *c) {
    int64_t wanted = 1;
    bool scores = c->argc == 4 && slice_is(c->argv[3], "withscores");
    if (c->argc > 2) {
        if (!call_arg_i64_range(c, 2, -INT64_MAX, INT64_MAX, NULL, &wanted))
            return;
        if (c->argc > 3 && !scores) {
            call_error_syntax(c);
            return;
        }
        if (scores && (wanted < -INT64_MAX / 2 || wanted > INT64_MAX / 2)) {
            call_error(c, "ERR value is out of range");
            return;
        }
    }
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    struct collection z;
    if (e != NULL)
        z = call_collection(c, e);
    if (c->argc == 2 && e == NULL) {
        resp_null(c->w);
    } else if (c->argc == 2) {
        struct zset_reply one = {c->w, ZSET_MEMBERS};
        (void)sorted_set_random(&z, engine_rng(c->engine), 1, zset_reply_member, &one);
    } else if (e == NULL || wanted == 0) {
        resp_array(c->w, 0);
    } else {
        random_members(c, &z, wanted, scores);
    }
}

/* ---- ZSCAN ---- */

struct scan {
    struct call *call;
    struct scan_options options;
    bool small;
    size_t shown;
};

static int show(void *arg, const struct packed_item *member, double score) {
    struct scan *s = arg;
    struct resp_writer *w = s->call->w;
    char digits[24], text[NUM_DOUBLE_CHARS];
    struct slice bytes = packed_text(member, digits);
    if (!scan_shows(&s->options, bytes))
        return 0;
    resp_bulk(w, bytes);
    s->shown++;
    if (s->options.no_values)
        return 0;
    s->shown++;
    /* A small set shows its integers as it holds them. */
    if (s->small && score >= -0x1p62 && score <= 0x1p62 && score == (double)(int64_t)score)
        resp_bulk_i64(w, (int64_t)score);
    else
        resp_bulk(w, slice_of(text, num_format_double(text, score)));
    return 0;
}

static void zscan_run(struct call *c) {
    uint64_t cursor;
    if (!scan_arg_cursor(c, 2, &cursor))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    if (e == NULL) {
        scan_reply_nothing(c);
        return;
    }
    struct scan s = {.call = c, .small = entry_encoding(e) == VALUE_ENC_LISTPACK};
    if (!scan_arg_options(c, 3, SCAN_ALLOWS_NOSCORES, &s.options))
        return;
    struct collection z = call_collection(c, e);
    struct scan_reply r = scan_reply_open(c);
    cursor = sorted_set_scan(&z, cursor, (size_t)s.options.count, show, &s);
    scan_reply_close(c, &r, cursor, s.shown);
}

static const char *const unpredictable[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    ZSET_ROW("zcard", "1.2.0", 2, COMMAND_READONLY | COMMAND_FAST, KEY_RO, zcard_run),
    ZSET_ROW("zscore", "1.2.0", 3, COMMAND_READONLY | COMMAND_FAST, KEY_RO | KEY_ACCESS, zscore_run),
    ZSET_ROW("zmscore", "6.2.0", -3, COMMAND_READONLY | COMMAND_FAST, KEY_RO | KEY_ACCESS, zmscore_run),
    ZSET_ROW("zrank", "2.0.0", -3, COMMAND_READONLY | COMMAND_FAST, KEY_RO | KEY_ACCESS, zrank_run),
    ZSET_ROW("zrevrank", "2.0.0", -3, COMMAND_READONLY | COMMAND_FAST, KEY_RO | KEY_ACCESS, zrevrank_run),
    ZSET_ROW("zcount", "2.0.0", 4, COMMAND_READONLY | COMMAND_FAST, KEY_RO | KEY_ACCESS, zcount_run),
    ZSET_ROW("zlexcount", "2.8.9", 4, COMMAND_READONLY | COMMAND_FAST, KEY_RO | KEY_ACCESS, zlexcount_run),
    {.name = "zrandmember",
     .group = "sorted_set",
     .since = "6.2.0",
     .arity = -2,
     .flags = COMMAND_READONLY,
     .acl = ACL_SORTEDSET,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = unpredictable,
     .run = zrandmember_run},
    {.name = "zscan",
     .group = "sorted_set",
     .since = "2.8.0",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .acl = ACL_SORTEDSET,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = unpredictable,
     .run = zscan_run},
};

void zset_read_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
