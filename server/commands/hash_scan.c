/* Walking and drawing fields: HSCAN HRANDFIELD. */
#include "config.h"

#include "server/commands/hash_int.h"

#include "server/base/assert.h"
#include "server/base/num.h"
#include "server/commands/rows.h"
#include "server/commands/scan_options.h"
#include "server/engine/engine.h"

static bool is_due(int64_t deadline_ms, int64_t now_ms) {
    return deadline_ms != FIELD_NO_DEADLINE && deadline_ms < now_ms;
}

/* ---- HSCAN ---- */

#define STEPS_PER_FIELD 10 /* chains looked at for each field aimed at */

struct scan {
    struct call *call;
    int64_t now_ms;
    struct scan_options options;
    size_t shown;
    size_t seen;
};

static void show(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms) {
    struct scan *s = arg;
    char digits[NUM_I64_CHARS];
    s->seen++;
    if (is_due(deadline_ms, s->now_ms))
        return;
    if (!scan_shows(&s->options, packed_text(field, digits)))
        return;
    call_reply_item(s->call->w, field);
    if (!s->options.no_values)
        call_reply_item(s->call->w, value);
    s->shown += s->options.no_values ? 1 : 2;
}

static uint64_t scan_fields(const struct collection *h, uint64_t cursor, struct scan *s) {
    int64_t steps = s->options.count > INT64_MAX / STEPS_PER_FIELD ? INT64_MAX : s->options.count * STEPS_PER_FIELD;
    do
        cursor = hash_scan(h, cursor, show, s);
    while (cursor != 0 && --steps > 0 && s->seen < (size_t)s->options.count);
    return cursor;
}

static void hscan_run(struct call *c) {
    uint64_t cursor;
    struct hash_target t;
    if (!scan_arg_cursor(c, 2, &cursor) || !hash_open_read(c, &t))
        return;
    if (t.e == NULL) {
        scan_reply_nothing(c);
        return;
    }
    struct scan s = {.call = c, .now_ms = t.now_ms};
    if (!scan_arg_options(c, 3, SCAN_ALLOWS_NOVALUES, &s.options))
        return;
    struct scan_reply reply = scan_reply_open(c);
    cursor = scan_fields(&t.col, cursor, &s);
    scan_reply_close(c, &reply, cursor, s.shown);
}

/* ---- HRANDFIELD ---- */

/* Drawing without repetition tries again while what it wants is at most a third of what there is; else it walks. */
#define DRAW_SHARE 3
/* Tries in a hash where nearly everything is due; then the live ones are walked. */
#define DRAW_TRIES 100

struct draw {
    struct call *call;
    const struct hash_target *t;
    bool values;
    uint64_t left, wanted; /* of the walk: live fields to come, fields to take from them */
    uint64_t nth;          /* … or the one to show */
};

static void reply_drawn(const struct draw *d, const struct packed_item *field, const struct packed_item *value) {
    if (d->values && d->call->w->resp > 2)
        resp_array(d->call->w, 2);
    call_reply_item(d->call->w, field);
    if (d->values)
        call_reply_item(d->call->w, value);
}

static int show_nth(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms) {
    struct draw *d = arg;
    if (is_due(deadline_ms, d->t->now_ms))
        return 0;
    if (d->nth-- != 0)
        return 0;
    reply_drawn(d, field, value);
    return 1;
}

/* One live field of at least one, by tries and, where these fail, by a walk. */
static void reply_one(struct draw *d) {
    struct rng *rng = engine_rng(d->call->engine);
    struct packed_item field, value;
    int64_t deadline_ms;
    for (int i = 0; i < DRAW_TRIES; i++)
        if (hash_random(&d->t->col, rng, &field, &value, &deadline_ms) && !is_due(deadline_ms, d->t->now_ms)) {
            reply_drawn(d, &field, &value);
            return;
        }
    d->nth = rng_below(rng, hash_live_count(&d->t->col, d->t->now_ms));
    int shown = hash_each(&d->t->col, show_nth, d);
    HF_ASSERT(shown == 1);
}

/* Takes each with the chance that leaves every selection of that size as likely. */
static int take_some(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms) {
    struct draw *d = arg;
    if (is_due(deadline_ms, d->t->now_ms))
        return 0;
    if (rng_below(engine_rng(d->call->engine), d->left--) < d->wanted) {
        reply_drawn(d, field, value);
        d->wanted--;
    }
    return d->wanted == 0;
}

/* n of many fields, none twice. */
static void reply_distinct(struct draw *d, uint64_t n) {
    struct rng *rng = engine_rng(d->call->engine);
    struct fields *drawn = fields_create(keyspace_rules(d->call->ks)->policy);
    while (fields_count(drawn) < n) {
        struct packed_item field, value;
        int64_t deadline_ms;
        char digits[NUM_I64_CHARS];
        bool any = hash_random(&d->t->col, rng, &field, &value, &deadline_ms);
        HF_ASSERT(any);
        if (!is_due(deadline_ms, d->t->now_ms) && fields_add(drawn, packed_text(&field, digits)))
            reply_drawn(d, &field, &value);
    }
    fields_destroy(drawn);
}

static void reply_count(struct call *c, const struct hash_target *t, int64_t count, bool values) {
    uint64_t live = t->e != NULL ? hash_live_count(&t->col, t->now_ms) : 0;
    uint64_t n = live == 0 ? 0 : count < 0 ? (uint64_t)-count : (uint64_t)count < live ? (uint64_t)count : live;
    struct draw d = {.call = c, .t = t, .values = values, .left = live, .wanted = n};
    resp_array(c->w, values && c->w->resp == 2 ? n * 2 : n);
    if (n == 0)
        return;
    if (count < 0) {
        while (n-- != 0 && !(c->client->flags & CLIENT_CLOSE_ASAP))
            reply_one(&d);
    } else if (t->col.encoding == VALUE_ENC_HASHTABLE && n < live / DRAW_SHARE &&
               live > hash_count(&t->col) / DRAW_SHARE) {
        reply_distinct(&d, n);
    } else {
        hash_each(&t->col, take_some, &d);
    }
}

static void hrandfield_run(struct call *c) {
    struct hash_target t;
    int64_t count = 0;
    bool values = c->argc > 3;
    if (c->argc > 2) {
        if (!call_arg_i64_range(c, 2, -INT64_MAX, INT64_MAX, NULL, &count))
            return;
        if (c->argc > 4 || (values && !slice_is(c->argv[3], "withvalues"))) {
            call_error_syntax(c);
            return;
        }
        if (values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
            call_error(c, "ERR value is out of range");
            return;
        }
    }
    if (!hash_open_read(c, &t))
        return;
    if (c->argc > 2) {
        reply_count(c, &t, count, values);
    } else if (t.e == NULL) {
        resp_null(c->w);
    } else {
        struct draw d = {.call = c, .t = &t};
        reply_one(&d);
    }
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "hscan",
     .group = "hash",
     .since = "2.8.0",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .acl = ACL_HASH,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = nondeterministic,
     .run = hscan_run},
    {.name = "hrandfield",
     .group = "hash",
     .since = "6.2.0",
     .arity = -2,
     .flags = COMMAND_READONLY,
     .acl = ACL_HASH,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = nondeterministic,
     .run = hrandfield_run},
};

void hash_scan_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
