/* Ranges of sorted sets: ZRANGE ZRANGESTORE ZREVRANGE Z[REV]RANGEBYSCORE Z[REV]RANGEBYLEX. */
#include "config.h"

#include "server/commands/zset_int.h"

#include "server/commands/rows.h"

/* What the name of a command fixes, and what its options may still choose. */
struct form {
    enum zset_range_kind kind;
    bool reverse;
    bool kind_open, reverse_open, scores_open;
};

/* Options from argument `at` on; false where an error was replied. */
static bool parse_options(struct call *c, int at, struct form f, struct zset_range *r, bool *ret_scores) {
    *r = (struct zset_range){.kind = f.kind, .reverse = f.reverse, .limit = -1};
    *ret_scores = false;
    for (int i = at; i < c->argc; i++) {
        struct slice word = c->argv[i];
        if (f.scores_open && slice_is(word, "withscores")) {
            *ret_scores = true;
        } else if (c->argc - i > 2 && slice_is(word, "limit")) {
            if (!call_arg_i64(c, i + 1, &r->offset) || !call_arg_i64(c, i + 2, &r->limit))
                return false;
            i += 2;
        } else if (f.reverse_open && slice_is(word, "rev")) {
            r->reverse = true;
            f.reverse_open = false;
        } else if (f.kind_open && slice_is(word, "bylex")) {
            r->kind = ZSET_BY_LEX;
            f.kind_open = false;
        } else if (f.kind_open && slice_is(word, "byscore")) {
            r->kind = ZSET_BY_SCORE;
            f.kind_open = false;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    if (r->limit != -1 && r->kind == ZSET_BY_RANK)
        call_error(c, "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
    else if (*ret_scores && r->kind == ZSET_BY_LEX)
        call_error(c, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
    else
        return true;
    return false;
}

/* The whole request, with the key before argument min_at. */
static bool parse_range(struct call *c, int min_at, struct form f, struct zset_range *r, bool *ret_scores) {
    if (!parse_options(c, min_at + 2, f, r, ret_scores))
        return false;
    if (r->kind == ZSET_BY_RANK) {
        r->offset = 0; /* LIMIT n -1 was allowed and means nothing */
        return zset_arg_range(c, min_at, min_at + 1, r);
    }
    /* Downwards, the maximum comes first. */
    return zset_arg_range(c, r->reverse ? min_at + 1 : min_at, r->reverse ? min_at : min_at + 1, r);
}

static void range(struct call *c, struct form f) {
    struct zset_range r;
    bool scores;
    f.scores_open = true;
    if (!parse_range(c, 2, f, &r, &scores))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    if (e == NULL) {
        resp_array(c->w, 0);
        return;
    }
    struct collection z = call_collection(c, e);
    size_t rank = 0, n = zset_range_select(&z, &r, &rank);
    zset_reply_ranks(c, &z, rank, n, r.reverse, zset_shape_for(c, scores));
}

static void zrange_run(struct call *c) {
    range(c, (struct form){.kind_open = true, .reverse_open = true});
}

static void zrevrange_run(struct call *c) {
    range(c, (struct form){.reverse = true});
}

static void zrangebyscore_run(struct call *c) {
    range(c, (struct form){.kind = ZSET_BY_SCORE});
}

static void zrevrangebyscore_run(struct call *c) {
    range(c, (struct form){.kind = ZSET_BY_SCORE, .reverse = true});
}

static void zrangebylex_run(struct call *c) {
    range(c, (struct form){.kind = ZSET_BY_LEX});
}

static void zrevrangebylex_run(struct call *c) {
    range(c, (struct form){.kind = ZSET_BY_LEX, .reverse = true});
}

static int copy_member(void *arg, const struct packed_item *member, double score) {
    char digits[24];
    bool added;
    (void)zset_build_member(arg, packed_text(member, digits), score, &added);
    return 0;
}

static void zrangestore_run(struct call *c) {
    struct zset_range r;
    bool scores;
    if (!parse_range(c, 3, (struct form){.kind_open = true, .reverse_open = true}, &r, &scores))
        return;
    struct keyref to = call_key(c, 1), from = call_key(c, 2);
    struct entry *e;
    if (!call_find_read_type(c, &from, VALUE_ZSET, &e))
        return;
    struct collection z = {.rules = keyspace_rules(c->ks), .encoding = VALUE_ENC_SKIPLIST};
    size_t rank = 0, n = 0;
    struct collection source;
    if (e != NULL) {
        source = call_collection(c, e);
        n = zset_range_select(&source, &r, &rank);
    }
    struct zset *built = zset_build_begin(z.rules->policy, n);
    if (n != 0)
        (void)sorted_set_each(&source, rank, n, r.reverse, copy_member, built);
    zset_build_end(built);
    z.object = built;
    sorted_set_settle(&z);
    zset_store_result(c, &to, &z, "zrangestore");
}

#define RANGE_ROW(name_, since_, run_) ZSET_ROW(name_, since_, -4, COMMAND_READONLY, KEY_RO | KEY_ACCESS, run_)

static const struct command rows[] = {
    RANGE_ROW("zrange", "1.2.0", zrange_run),
    RANGE_ROW("zrevrange", "1.2.0", zrevrange_run),
    RANGE_ROW("zrangebyscore", "1.0.5", zrangebyscore_run),
    RANGE_ROW("zrevrangebyscore", "2.2.0", zrevrangebyscore_run),
    RANGE_ROW("zrangebylex", "2.8.9", zrangebylex_run),
    RANGE_ROW("zrevrangebylex", "2.8.9", zrevrangebylex_run),
    {.name = "zrangestore",
     .group = "sorted_set",
     .since = "6.2.0",
     .arity = -5,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_SORTEDSET,
     .keys = {ROW_KEY(KEY_OW | KEY_UPDATE), ROW_KEYS(KEY_RO | KEY_ACCESS, 2, 0, 1)},
     .run = zrangestore_run},
};

void zset_range_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
