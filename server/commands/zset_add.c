/* Members into sorted sets: ZADD ZINCRBY. */
#include "config.h"

#include "server/commands/zset_int.h"

#include <math.h>

#include "server/base/mem.h"
#include "server/commands/rows.h"

struct add_options {
    bool nx, xx, gt, lt, ch, incr;
};

/* Scores of so many members are read without taking memory. */
#define FEW_SCORES 16

static int parse_options(struct call *c, struct add_options *o) {
    int i = 2;
    for (; i < c->argc; i++) {
        struct slice word = c->argv[i];
        if (word.n != 2 && word.n != 4)
            break;
        if (slice_is(word, "nx"))
            o->nx = true;
        else if (slice_is(word, "xx"))
            o->xx = true;
        else if (slice_is(word, "gt"))
            o->gt = true;
        else if (slice_is(word, "lt"))
            o->lt = true;
        else if (slice_is(word, "ch"))
            o->ch = true;
        else if (slice_is(word, "incr"))
            o->incr = true;
        else
            break;
    }
    return i;
}

/* False where an error was replied. */
static bool check_options(struct call *c, const struct add_options *o, int first) {
    int rest = c->argc - first;
    if (rest == 0 || rest % 2 != 0)
        call_error_syntax(c);
    else if (o->nx && o->xx)
        call_error(c, "ERR XX and NX options at the same time are not compatible");
    else if ((o->gt && o->nx) || (o->lt && o->nx) || (o->gt && o->lt))
        call_error(c, "ERR GT, LT, and/or NX options at the same time are not compatible");
    else if (o->incr && rest > 2)
        call_error(c, "ERR INCR option supports a single increment-element pair");
    else
        return true;
    return false;
}

enum outcome { NOTHING_DONE, UNCHANGED, MEMBER_ADDED, SCORE_CHANGED, NOT_A_NUMBER };

/* Puts one member by the options; *inout_score becomes the score it has then. */
static enum outcome add_member(struct collection *z, const struct add_options *o, struct slice member,
                               double *inout_score) {
    static const enum outcome of_put[] = {
        [ZSET_ADDED] = MEMBER_ADDED, [ZSET_MOVED] = SCORE_CHANGED, [ZSET_SAME] = UNCHANGED};
    double was;
    if (o->nx || o->xx || o->gt || o->lt || o->incr) {
        bool there = sorted_set_score(z, member, &was);
        if (there ? o->nx : o->xx)
            return NOTHING_DONE;
        if (there && o->incr)
            *inout_score += was;
        if (isnan(*inout_score))
            return NOT_A_NUMBER;
        if (there && ((o->gt && *inout_score <= was) || (o->lt && *inout_score >= was)))
            return NOTHING_DONE;
    }
    return of_put[sorted_set_put(z, member, *inout_score)];
}

struct tally {
    size_t added, updated;
    enum outcome last;
};

/* False where an error was replied. */
static bool add_members(struct call *c, const struct add_options *o, int first, double *scores, size_t n,
                        struct tally *ret_tally) {
    struct tally tally = {.last = NOTHING_DONE};
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_ZSET, &e))
        return false;
    *ret_tally = tally;
    if (e == NULL && o->xx)
        return true;
    struct collection z =
        e != NULL ? call_collection(c, e) : sorted_set_create(keyspace_rules(c->ks), 1, c->argv[first + 1].n);
    for (size_t i = 0; i < n; i++) {
        tally.last = add_member(&z, o, c->argv[first + 2 * (int)i + 1], &scores[i]);
        tally.added += tally.last == MEMBER_ADDED;
        tally.updated += tally.last == SCORE_CHANGED;
    }
    *ret_tally = tally;
    if (tally.added + tally.updated != 0)
        (void)zset_changed(c, &key, e, &z, o->incr ? "zincr" : "zadd");
    if (tally.last == NOT_A_NUMBER)
        call_error(c, "ERR resulting score is not a number (NaN)");
    return tally.last != NOT_A_NUMBER;
}

static void add(struct call *c, struct add_options o) {
    int first = parse_options(c, &o);
    if (!check_options(c, &o, first))
        return;
    size_t n = (size_t)(c->argc - first) / 2;
    double few[FEW_SCORES], *scores = n <= FEW_SCORES ? few : mem_calloc(n, sizeof *scores);
    struct tally tally;
    bool good = true;
    for (size_t i = 0; i < n && good; i++)
        good = call_arg_double(c, first + 2 * (int)i, &scores[i]);
    if (good && add_members(c, &o, first, scores, n, &tally)) {
        if (!o.incr)
            resp_int(c->w, (int64_t)(o.ch ? tally.added + tally.updated : tally.added));
        else if (tally.last == NOTHING_DONE)
            resp_null(c->w);
        else
            resp_double(c->w, scores[0]);
    }
    if (scores != few)
        mem_free_sized(scores, n * sizeof *scores);
}

static void zadd_run(struct call *c) {
    add(c, (struct add_options){0});
}

static void zincrby_run(struct call *c) {
    add(c, (struct add_options){.incr = true});
}

static const struct command rows[] = {
    ZSET_ROW("zadd", "1.2.0", -4, COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST, KEY_RW | KEY_UPDATE, zadd_run),
    ZSET_ROW("zincrby", "1.2.0", 4, COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST, KEY_RW | KEY_ACCESS | KEY_UPDATE,
             zincrby_run),
};

void zset_add_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
