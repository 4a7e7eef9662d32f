/* Pending entries change hands: XCLAIM XAUTOCLAIM. Both propagate one XCLAIM for each entry they touch. */
#include "config.h"

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"
#include "server/commands/stream_int.h"

struct claim_options {
    int64_t min_idle_ms;
    int64_t delivered_ms;
    int64_t deliveries; /* -1: one more */
    bool force, just_id, has_last_id;
    struct stream_id last_id;
    struct stream_id *ids;
    size_t count;
};

static bool claim_number(struct call *c, int i, const char *error, int64_t *ret_value) {
    return call_arg_i64_range(c, i, INT64_MIN, INT64_MAX, error, ret_value);
}

static bool parse_min_idle(struct call *c, const char *error, int64_t *ret_ms) {
    if (!claim_number(c, 4, error, ret_ms))
        return false;
    if (*ret_ms < 0)
        *ret_ms = 0;
    return true;
}

/* The options behind the ids, from argv[i] on. */
static bool parse_claim_options(struct call *c, int i, struct claim_options *o) {
    const int64_t now_ms = call_now_ms(c);
    int64_t v;
    o->delivered_ms = now_ms;
    o->deliveries = -1;
    for (; i < c->argc; i++) {
        struct slice word = c->argv[i];
        bool more = i + 1 < c->argc;
        if (slice_is(word, "force")) {
            o->force = true;
        } else if (slice_is(word, "justid")) {
            o->just_id = true;
        } else if (more && slice_is(word, "idle")) {
            if (!claim_number(c, ++i, "ERR Invalid IDLE option argument for XCLAIM", &v))
                return false;
            if (__builtin_sub_overflow(now_ms, v, &o->delivered_ms))
                o->delivered_ms = -1;
        } else if (more && slice_is(word, "time")) {
            if (!claim_number(c, ++i, "ERR Invalid TIME option argument for XCLAIM", &o->delivered_ms))
                return false;
        } else if (more && slice_is(word, "retrycount")) {
            if (!claim_number(c, ++i, "ERR Invalid RETRYCOUNT option argument for XCLAIM", &o->deliveries))
                return false;
        } else if (more && slice_is(word, "lastid")) {
            if (!stream_arg_strict_id(c, ++i, 0, &o->last_id, NULL))
                return false;
            o->has_last_id = true;
        } else {
            call_errorf(c, "ERR Unrecognized XCLAIM option '%.*s'", (int)word.n, word.p);
            return false;
        }
    }
    /* A time to come or before all times is none. */
    if (o->delivered_ms < 0 || o->delivered_ms > now_ms)
        o->delivered_ms = now_ms;
    return true;
}

/* Ids stand up to the first argument that is none. */
static int parse_claim_ids(struct call *c, struct claim_options *o) {
    int i = 5;
    o->ids = mem_alloc((size_t)(c->argc - 5) * sizeof *o->ids);
    while (i < c->argc && stream_parse_strict_id(c->argv[i], 0, &o->ids[o->count])) {
        i++;
        o->count++;
    }
    return i;
}

struct claim {
    struct call *c;
    struct keyref key;
    struct stream *s;
    struct stream_group *g;
    struct stream_consumer *consumer;
    bool propagates, propagated;
    struct stream_id *claimed;
    size_t count, cap;
};

static void note_claimed(struct claim *k, struct stream_id id, const struct stream_pending *p) {
    if (k->propagates)
        stream_propagate_claim(k->c, k->key.key, k->g, id, p);
    k->propagated = true;
    call_changed_unwatched(k->c, &k->key, false);
}

/* The entry is gone: so is what is pending of it. */
static void drop_stale(struct claim *k, struct stream_id id, const struct stream_pending *p) {
    note_claimed(k, id, p);
    (void)stream_pending_remove(k->s, k->g, id);
}

static void reply_claimed(struct claim *k, const struct claim_options *o) {
    resp_array(k->c->w, k->count);
    for (size_t i = 0; i < k->count; i++) {
        struct stream_iter it;
        struct stream_id id;
        uint64_t fields;
        stream_iter_init(&it, k->s, k->claimed[i], k->claimed[i], false);
        if (o->just_id || !stream_iter_next(&it, &id, &fields))
            stream_reply_id(k->c, k->claimed[i]);
        else
            stream_reply_entry(k->c, &it, id, fields);
    }
}

/* True where the consumer has it now. */
static bool claim_one(struct claim *k, const struct claim_options *o, struct stream_id id) {
    struct stream_pending *p = stream_pending_find(k->g, id);
    if (!stream_contains(k->s, id)) {
        if (p != NULL)
            drop_stale(k, id, p);
        return false;
    }
    if (p == NULL && !o->force)
        return false;
    bool is_new = p == NULL;
    if (!is_new && o->min_idle_ms != 0 && call_now_ms(k->c) - p->delivered_ms < o->min_idle_ms)
        return false;
    p = stream_pending_give(k->s, k->g, k->consumer, id);
    if (is_new)
        p->deliveries = 1;
    p->delivered_ms = o->delivered_ms;
    if (o->deliveries >= 0)
        p->deliveries = (uint64_t)o->deliveries;
    else if (!o->just_id)
        p->deliveries++;
    k->consumer->active_ms = call_now_ms(k->c);
    note_claimed(k, id, p);
    if (k->count == k->cap) {
        k->cap = k->cap != 0 ? 2 * k->cap : 16;
        k->claimed = mem_realloc(k->claimed, k->cap * sizeof *k->claimed);
    }
    k->claimed[k->count++] = id;
    return true;
}

static void claim_all(struct claim *k, const struct claim_options *o) {
    struct call *c = k->c;
    bool moved = o->has_last_id && stream_id_compare(o->last_id, k->g->last_id) > 0;
    if (moved)
        k->g->last_id = o->last_id;
    k->consumer = stream_consumer_obtain(c, &k->key, k->g, c->argv[3]);
    k->consumer->seen_ms = call_now_ms(c);
    for (size_t i = 0; i < o->count; i++)
        (void)claim_one(k, o, o->ids[i]);
    reply_claimed(k, o);
    if (moved && !k->propagated) { /* else it rides on what was claimed */
        stream_propagate_group(c, k->key.key, k->g);
        call_changed_unwatched(c, &k->key, false);
    }
}

static void xclaim_run(struct call *c) {
    struct claim_options o = {0};
    struct claim k = {.c = c, .key = call_key(c, 1), .propagates = call_propagates(c)};
    if (!stream_find_group(c, &k.s, &k.g) ||
        !parse_min_idle(c, "ERR Invalid min-idle-time argument for XCLAIM", &o.min_idle_ms))
        return;
    int i = parse_claim_ids(c, &o);
    if (parse_claim_options(c, i, &o)) {
        call_propagate_nothing(c); /* its effects only */
        claim_all(&k, &o);
    }
    mem_free(k.claimed);
    mem_free(o.ids);
}

/* ---- XAUTOCLAIM ---- */

#define ATTEMPTS_PER_ENTRY 10 /* how many are looked at for each that is asked for */

static bool parse_auto(struct call *c, struct claim_options *o, struct stream_id *ret_start, int64_t *ret_count) {
    const int64_t most = INT64_MAX / (int64_t)sizeof(struct stream_id);
    *ret_count = 100;
    o->deliveries = -1;
    o->delivered_ms = call_now_ms(c);
    if (!parse_min_idle(c, "ERR Invalid min-idle-time argument for XAUTOCLAIM", &o->min_idle_ms) ||
        !stream_arg_start(c, 5, ret_start))
        return false;
    for (int i = 6; i < c->argc; i++) {
        if (i + 1 < c->argc && slice_is(c->argv[i], "count")) {
            if (!call_arg_i64_range(c, ++i, 1, most, "ERR COUNT must be > 0", ret_count))
                return false;
        } else if (slice_is(c->argv[i], "justid")) {
            o->just_id = true;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    return true;
}

/* Claims from `start` on what was idle long enough, and drops what names entries that are gone; replies. */
static void claim_range(struct claim *k, const struct claim_options *o, struct stream_id start, int64_t count) {
    struct call *c = k->c;
    struct stream_id *gone = NULL;
    size_t gone_count = 0, gone_cap = 0;
    struct id_cursor at = id_tree_seek_ge(&k->g->pending, start);
    for (int64_t attempts = count * ATTEMPTS_PER_ENTRY; attempts > 0 && count > 0; attempts--) {
        const struct id_item *item = id_cursor_item(&at);
        if (item == NULL)
            break;
        struct stream_id id = item->id;
        if (stream_contains(k->s, id)) {
            count -= claim_one(k, o, id);
            id_cursor_next(&at);
            continue;
        }
        if (gone_count == gone_cap) {
            gone_cap = gone_cap != 0 ? 2 * gone_cap : 16;
            gone = mem_realloc(gone, gone_cap * sizeof *gone);
        }
        gone[gone_count++] = id;
        drop_stale(k, id, item->value);
        at = id_tree_seek_ge(&k->g->pending, id);
        count--;
    }
    resp_array(c->w, 3);
    stream_reply_id(c, id_cursor_item(&at) != NULL ? id_cursor_item(&at)->id : STREAM_ID_MIN);
    reply_claimed(k, o);
    resp_array(c->w, gone_count);
    for (size_t i = 0; i < gone_count; i++)
        stream_reply_id(c, gone[i]);
    mem_free(gone);
}

static void xautoclaim_run(struct call *c) {
    struct claim_options o = {0};
    struct claim k = {.c = c, .key = call_key(c, 1), .propagates = call_propagates(c)};
    struct stream_id start;
    int64_t count;
    const struct entry *e =
        call_find_read(c, &k.key); /* first: events of misses tell of it whatever the arguments are */
    if (!parse_auto(c, &o, &start, &count))
        return;
    if (e != NULL && entry_type(e) != VALUE_STREAM) {
        call_error_wrong_type(c);
        return;
    }
    k.s = e != NULL ? entry_object(e) : NULL;
    k.g = k.s != NULL ? stream_group_find(k.s, c->argv[2]) : NULL;
    if (k.g == NULL) {
        stream_error_no_group(c, c->argv[1], c->argv[2]);
        return;
    }
    call_propagate_nothing(c); /* its effects only */
    k.consumer = stream_consumer_obtain(c, &k.key, k.g, c->argv[3]);
    k.consumer->seen_ms = call_now_ms(c);
    claim_range(&k, &o, start, count);
    mem_free(k.claimed);
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "xclaim",
     .group = "stream",
     .since = "5.0.0",
     .arity = -6,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .tips = nondeterministic,
     .run = xclaim_run},
    {.name = "xautoclaim",
     .group = "stream",
     .since = "6.2.0",
     .arity = -6,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_DELETE)},
     .tips = nondeterministic,
     .run = xautoclaim_run},
};

void stream_claim_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
