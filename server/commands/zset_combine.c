/* Sorted sets of several: ZUNION ZINTER ZDIFF, their STORE forms, and ZINTERCARD. Sets serve as inputs too; their
 * members have the score 1. */
#include "config.h"

#include "server/commands/zset_int.h"

#include <math.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"
#include "server/store/set.h"

/* Inputs are taken in ascending order of their size (ZDIFF keeps its order): sums of several scores come out as Redis
 * has them only if they are added in its order. */

enum operation { UNION, INTER, DIFF };
enum aggregate { SUM, MIN, MAX };

struct input {
    struct collection col;
    bool there, is_set;
    size_t count;
    double weight;
    int position;
};

struct request {
    enum operation operation;
    bool store, count_only;
    int at; /* argument of the number of keys */
    int64_t n;
    struct input *inputs;
    enum aggregate aggregate;
    bool scores;
    int64_t limit; /* 0: none */
};

/* ---- arguments ---- */

/* Looks the keys up; false where an error was replied. */
static bool find_inputs(struct call *c, struct request *q) {
    for (int i = 0; i < q->n; i++) {
        struct input *in = &q->inputs[i];
        struct keyref key = call_key(c, q->at + 1 + i);
        const struct entry *e = call_find_read(c, &key);
        *in = (struct input){.weight = 1, .position = i, .there = e != NULL};
        if (e == NULL)
            continue;
        in->is_set = entry_type(e) == VALUE_SET;
        if (!in->is_set && entry_type(e) != VALUE_ZSET) {
            call_error_wrong_type(c);
            return false;
        }
        in->col = call_collection(c, e);
        in->count = in->is_set ? set_count(&in->col) : sorted_set_count(&in->col);
    }
    return true;
}

static bool parse_weights(struct call *c, struct request *q, int at) {
    for (int i = 0; i < q->n; i++)
        if (num_parse_double(c->argv[at + i], &q->inputs[i].weight) != 0) {
            call_error(c, "ERR weight value is not a float");
            return false;
        }
    return true;
}

static bool parse_aggregate(struct slice word, enum aggregate *ret_aggregate) {
    static const char *const words[] = {[SUM] = "sum", [MIN] = "min", [MAX] = "max"};
    for (unsigned i = 0; i < ROW_COUNT(words); i++)
        if (slice_is(word, words[i])) {
            *ret_aggregate = (enum aggregate)i;
            return true;
        }
    return false;
}

/* Options from argument i on; false where an error was replied. */
static bool parse_options(struct call *c, struct request *q, int i) {
    bool weighs = q->operation != DIFF && !q->count_only;
    while (i < c->argc) {
        int left = c->argc - i;
        struct slice word = c->argv[i];
        if (weighs && left > q->n && slice_is(word, "weights")) {
            if (!parse_weights(c, q, i + 1))
                return false;
            i += 1 + (int)q->n;
        } else if (weighs && left > 1 && slice_is(word, "aggregate") &&
                   parse_aggregate(c->argv[i + 1], &q->aggregate)) {
            i += 2;
        } else if (!q->store && !q->count_only && slice_is(word, "withscores")) {
            q->scores = true;
            i++;
        } else if (q->count_only && left > 1 && slice_is(word, "limit")) {
            if (!zset_arg_positive(c, i + 1, 0, "ERR LIMIT can't be negative", &q->limit))
                return false;
            i += 2;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    return true;
}

/* ---- inputs ---- */

typedef int member_fn(void *arg, const struct packed_item *member, double score);

struct unscored {
    member_fn *each;
    void *arg;
};

static int give_score(void *arg, const struct packed_item *member) {
    const struct unscored *u = arg;
    return u->each(u->arg, member, 1);
}

static int input_each(const struct input *in, member_fn *each, void *arg) {
    if (!in->there)
        return 0;
    if (!in->is_set)
        return sorted_set_each(&in->col, 0, in->count, false, each, arg);
    struct unscored u = {each, arg};
    return set_each(&in->col, give_score, &u);
}

static bool input_find(const struct input *in, struct slice member, double *ret_score) {
    if (!in->there)
        return false;
    if (!in->is_set)
        return sorted_set_score(&in->col, member, ret_score);
    *ret_score = 1;
    return set_contains(&in->col, member);
}

static int compare_inputs(const void *a, const void *b) {
    const struct input *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return x->position - y->position;
}

/* ---- combining ---- */

struct work {
    const struct request *q;
    const struct input *in; /* whose members are given */
    struct zset *result;
    size_t count; /* of ZINTERCARD */
};

static double aggregate(enum aggregate how, double have, double more) {
    double v = have;
    switch (how) {
    case SUM:
        v = have + more;
        return isnan(v) ? 0 : v; /* of inf and -inf */
    case MIN:
        return more < have ? more : have;
    case MAX:
        return more > have ? more : have;
    }
    return v;
}

static double weighted(const struct input *in, double score) {
    double v = in->weight * score;
    return isnan(v) ? 0 : v;
}

static int unite(void *arg, const struct packed_item *member, double score) {
    struct work *k = arg;
    char digits[24];
    bool added;
    score = weighted(k->in, score);
    struct zmember *m = zset_build_member(k->result, packed_text(member, digits), score, &added);
    if (!added)
        m->score = aggregate(k->q->aggregate, m->score, score);
    return 0;
}

static void keep(struct work *k, struct slice bytes, double score) {
    bool added;
    (void)zset_build_member(k->result, bytes, score, &added);
}

static int intersect(void *arg, const struct packed_item *member, double score) {
    struct work *k = arg;
    char digits[24];
    struct slice bytes = packed_text(member, digits);
    score = weighted(k->in, score);
    for (int i = 1; i < k->q->n; i++) {
        double other;
        if (!input_find(&k->q->inputs[i], bytes, &other))
            return 0;
        /* A product that is no number changes nothing as a minimum or maximum, and makes a sum 0. */
        score = aggregate(k->q->aggregate, score, k->q->inputs[i].weight * other);
    }
    k->count++;
    if (k->q->count_only)
        return k->q->limit != 0 && k->count == (uint64_t)k->q->limit;
    keep(k, bytes, score);
    return 0;
}

static int subtract(void *arg, const struct packed_item *member, double score) {
    struct work *k = arg;
    char digits[24];
    struct slice bytes = packed_text(member, digits);
    double other;
    for (int i = 1; i < k->q->n; i++)
        if (input_find(&k->q->inputs[i], bytes, &other))
            return 0;
    keep(k, bytes, score);
    return 0;
}

static size_t largest(const struct request *q) {
    size_t most = 0;
    for (int i = 0; i < q->n; i++)
        if (q->inputs[i].count > most)
            most = q->inputs[i].count;
    return most;
}

static void combine(struct work *k, const struct table_policy *policy) {
    const struct request *q = k->q;
    if (q->operation != DIFF)
        qsort(q->inputs, (size_t)q->n, sizeof *q->inputs, compare_inputs);
    /* Of an intersection or difference little may be left: their tables grow as they go. */
    if (!q->count_only)
        k->result = zset_build_begin(policy, q->operation == UNION ? largest(q) : 0);
    for (int i = 0; i < (q->operation == UNION ? q->n : 1); i++) {
        k->in = &q->inputs[i];
        (void)input_each(k->in, q->operation == UNION ? unite : q->operation == INTER ? intersect : subtract, k);
    }
    if (!q->count_only)
        zset_build_end(k->result);
}

/* ---- commands ---- */

static void answer(struct call *c, struct request *q) {
    static const char *const events[] = {[UNION] = "zunionstore", [INTER] = "zinterstore", [DIFF] = "zdiffstore"};
    struct work k = {.q = q};
    const struct collection_rules *rules = keyspace_rules(c->ks);
    combine(&k, rules->policy);
    if (q->count_only) {
        resp_int(c->w, (int64_t)k.count);
        return;
    }
    struct collection z = {.rules = rules, .encoding = VALUE_ENC_SKIPLIST, .object = k.result};
    if (q->store) {
        struct keyref key = call_key(c, 1);
        sorted_set_settle(&z);
        zset_store_result(c, &key, &z, events[q->operation]);
    } else {
        zset_reply_ranks(c, &z, 0, sorted_set_count(&z), false, zset_shape_for(c, q->scores));
        sorted_set_destroy(&z);
    }
}

static void run(struct call *c, struct request q) {
    q.at = q.store ? 2 : 1;
    if (!call_arg_i64(c, q.at, &q.n))
        return;
    if (q.n < 1) {
        call_errorf(c, "ERR at least 1 input key is needed for '%s' command", c->cmd->full_name);
        return;
    }
    if (q.n > c->argc - (q.at + 1)) {
        call_error_syntax(c);
        return;
    }
    struct input few[4];
    q.inputs = q.n <= 4 ? few : mem_calloc((size_t)q.n, sizeof *q.inputs);
    if (find_inputs(c, &q) && parse_options(c, &q, q.at + 1 + (int)q.n))
        answer(c, &q);
    if (q.inputs != few)
        mem_free_sized(q.inputs, (size_t)q.n * sizeof *q.inputs);
}

static void zunion_run(struct call *c) {
    run(c, (struct request){.operation = UNION});
}

static void zinter_run(struct call *c) {
    run(c, (struct request){.operation = INTER});
}

static void zdiff_run(struct call *c) {
    run(c, (struct request){.operation = DIFF});
}

static void zintercard_run(struct call *c) {
    run(c, (struct request){.operation = INTER, .count_only = true});
}

static void zunionstore_run(struct call *c) {
    run(c, (struct request){.operation = UNION, .store = true});
}

static void zinterstore_run(struct call *c) {
    run(c, (struct request){.operation = INTER, .store = true});
}

static void zdiffstore_run(struct call *c) {
    run(c, (struct request){.operation = DIFF, .store = true});
}

#define READ_ROW(name_, since_, run_)                                                                                  \
    {                                                                                                                  \
        .name = (name_), .group = "sorted_set", .since = (since_), .arity = -3, .flags = COMMAND_READONLY,             \
        .acl = ACL_SORTEDSET, .keys = {ROW_KEYNUM(KEY_RO | KEY_ACCESS, 1, 1)}, .run = (run_)                           \
    }
#define STORE_ROW(name_, since_, run_)                                                                                 \
    {                                                                                                                  \
        .name = (name_), .group = "sorted_set", .since = (since_), .arity = -4,                                        \
        .flags = COMMAND_WRITE | COMMAND_DENYOOM, .acl = ACL_SORTEDSET,                                                \
        .keys = {ROW_KEY(KEY_OW | KEY_UPDATE), ROW_KEYNUM(KEY_RO | KEY_ACCESS, 2, 1)}, .run = (run_)                   \
    }

static const struct command rows[] = {
    READ_ROW("zunion", "6.2.0", zunion_run),
    READ_ROW("zinter", "6.2.0", zinter_run),
    READ_ROW("zdiff", "6.2.0", zdiff_run),
    READ_ROW("zintercard", "7.0.0", zintercard_run),
    STORE_ROW("zunionstore", "2.0.0", zunionstore_run),
    STORE_ROW("zinterstore", "2.0.0", zinterstore_run),
    STORE_ROW("zdiffstore", "6.2.0", zdiffstore_run),
};

void zset_combine_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
