/* Reading hashes: HGET HMGET HGETALL HKEYS HVALS HLEN HSTRLEN HEXISTS. */
#include "config.h"

#include "server/commands/hash_int.h"

#include "server/base/num.h"
#include "server/commands/rows.h"

static void hget_run(struct call *c) {
    struct hash_target t;
    struct packed_item value;
    if (!hash_open_read(c, &t))
        return;
    if (t.e != NULL && hash_get(&t.col, c->argv[2], t.now_ms, &value))
        call_reply_item(c->w, &value);
    else
        resp_null(c->w);
}

static void hmget_run(struct call *c) {
    struct hash_target t;
    struct packed_item value;
    if (!hash_open_read(c, &t))
        return;
    resp_array(c->w, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        if (t.e != NULL && hash_get(&t.col, c->argv[i], t.now_ms, &value))
            call_reply_item(c->w, &value);
        else
            resp_null(c->w);
    }
}

struct reply_walk {
    struct call *call;
    int64_t now_ms;
    bool fields, values;
};

static int reply_field(void *arg, const struct packed_item *field, const struct packed_item *value,
                       int64_t deadline_ms) {
    const struct reply_walk *k = arg;
    if (deadline_ms != FIELD_NO_DEADLINE && deadline_ms < k->now_ms)
        return 0;
    if (k->fields)
        call_reply_item(k->call->w, field);
    if (k->values)
        call_reply_item(k->call->w, value);
    return 0;
}

static void reply_all(struct call *c, bool fields, bool values) {
    struct hash_target t;
    if (!hash_open_read(c, &t))
        return;
    size_t n = t.e != NULL ? hash_live_count(&t.col, t.now_ms) : 0;
    if (fields && values)
        resp_map(c->w, n);
    else
        resp_array(c->w, n);
    struct reply_walk k = {.call = c, .now_ms = t.now_ms, .fields = fields, .values = values};
    if (n != 0)
        hash_each(&t.col, reply_field, &k);
}

static void hgetall_run(struct call *c) {
    reply_all(c, true, true);
}

static void hkeys_run(struct call *c) {
    reply_all(c, true, false);
}

static void hvals_run(struct call *c) {
    reply_all(c, false, true);
}

static void hlen_run(struct call *c) {
    struct hash_target t;
    if (hash_open_read(c, &t))
        resp_int(c->w, t.e != NULL ? (int64_t)hash_live_count(&t.col, t.now_ms) : 0);
}

static void hstrlen_run(struct call *c) {
    struct hash_target t;
    struct packed_item value;
    char digits[NUM_I64_CHARS];
    if (!hash_open_read(c, &t))
        return;
    size_t n = 0;
    if (t.e != NULL && hash_get(&t.col, c->argv[2], t.now_ms, &value))
        n = value.is_int ? num_format_i64(digits, value.i) : value.s.n;
    resp_int(c->w, (int64_t)n);
}

static void hexists_run(struct call *c) {
    struct hash_target t;
    struct packed_item value;
    if (hash_open_read(c, &t))
        resp_int(c->w, t.e != NULL && hash_get(&t.col, c->argv[2], t.now_ms, &value));
}

static const char *const any_order[] = {"nondeterministic_output_order", NULL};

#define READ_ROW(name_, since_, arity_, flags_, key_flags_, tips_, run_)                                               \
    {                                                                                                                  \
        .name = (name_), .group = "hash", .since = (since_), .arity = (arity_), .flags = COMMAND_READONLY | (flags_),  \
        .acl = ACL_HASH, .keys = {ROW_KEY(KEY_RO | (key_flags_))}, .tips = (tips_), .run = (run_)                      \
    }

static const struct command rows[] = {
    READ_ROW("hget", "2.0.0", 3, COMMAND_FAST, KEY_ACCESS, NULL, hget_run),
    READ_ROW("hmget", "2.0.0", -3, COMMAND_FAST, KEY_ACCESS, NULL, hmget_run),
    READ_ROW("hgetall", "2.0.0", 2, 0, KEY_ACCESS, any_order, hgetall_run),
    READ_ROW("hkeys", "2.0.0", 2, 0, KEY_ACCESS, any_order, hkeys_run),
    READ_ROW("hvals", "2.0.0", 2, 0, KEY_ACCESS, any_order, hvals_run),
    READ_ROW("hlen", "2.0.0", 2, COMMAND_FAST, 0, NULL, hlen_run),
    READ_ROW("hstrlen", "3.2.0", 3, COMMAND_FAST, 0, NULL, hstrlen_run),
    READ_ROW("hexists", "2.0.0", 3, COMMAND_FAST, 0, NULL, hexists_run),
};

void hash_get_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
