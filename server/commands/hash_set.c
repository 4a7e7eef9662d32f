/* Changing hashes: HSET HMSET HSETNX HDEL HINCRBY HINCRBYFLOAT. A field that is set loses its deadline; one that is
 * counted up keeps it. */
#include "config.h"

#include "server/commands/hash_int.h"

#include <math.h>

#include "server/base/num.h"
#include "server/commands/rows.h"

/* Sets all pairs of the request. False with an error replied; *ret_new: fields that were not there. */
static bool set_pairs(struct call *c, int64_t *ret_new) {
    struct hash_target t;
    if (c->argc % 2 != 0) {
        call_error_arity(c);
        return false;
    }
    if (!hash_open_create(c, &t))
        return false;
    *ret_new = 0;
    for (int i = 2; i < c->argc; i += 2)
        *ret_new += hash_put(&t.col, c->argv[i], c->argv[i + 1]);
    hash_close_announced(c, &t, "hset", (size_t)(c->argc - 2) / 2);
    return true;
}

static void hset_run(struct call *c) {
    int64_t added;
    if (set_pairs(c, &added))
        resp_int(c->w, added);
}

static void hmset_run(struct call *c) {
    int64_t added;
    if (set_pairs(c, &added))
        resp_ok(c->w);
}

static void hsetnx_run(struct call *c) {
    struct hash_target t;
    struct packed_item value;
    if (!hash_open_create(c, &t))
        return;
    if (hash_get(&t.col, c->argv[2], t.now_ms, &value)) {
        resp_int(c->w, 0);
        return;
    }
    hash_put(&t.col, c->argv[2], c->argv[3]);
    hash_close_announced(c, &t, "hset", 1);
    resp_int(c->w, 1);
}

static void hdel_run(struct call *c) {
    struct hash_target t;
    size_t removed = 0;
    if (!hash_open_write(c, &t))
        return;
    for (int i = 2; t.e != NULL && i < c->argc; i++)
        removed += hash_remove(&t.col, c->argv[i]);
    if (removed != 0)
        hash_close_announced(c, &t, "hdel", removed);
    resp_int(c->w, (int64_t)removed);
}

static void hincrby_run(struct call *c) {
    int64_t by, sum = 0;
    struct hash_target t;
    struct packed_item value;
    if (!call_arg_i64(c, 3, &by) || !hash_open_write(c, &t))
        return;
    if (t.e != NULL && hash_get(&t.col, c->argv[2], t.now_ms, &value)) {
        sum = value.i;
        if (!value.is_int && num_parse_i64(value.s, &sum) < 0) {
            call_error(c, "ERR hash value is not an integer");
            return;
        }
    }
    if (num_add_i64(sum, by, &sum)) {
        call_error(c, "ERR increment or decrement would overflow");
        return;
    }
    if (t.e == NULL)
        t.col = hash_create(keyspace_rules(c->ks));
    char digits[NUM_I64_CHARS];
    hash_put_until(&t.col, c->argv[2], slice_of(digits, num_format_i64(digits, sum)), HASH_KEEP_DEADLINE);
    hash_close_announced(c, &t, "hincrby", 1);
    resp_int(c->w, sum);
}

/* Floating point may differ between machines and versions: the result is what is repeated. */
static void propagate_sum(struct call *c, const struct hash_target *t, struct slice sum, int64_t deadline_ms) {
    const struct slice argv[4] = {SLICE_LIT("HSET"), t->key.key, c->argv[2], sum};
    call_propagate(c, c->db, argv, 4);
    if (deadline_ms != FIELD_NO_DEADLINE)
        hash_propagate_deadline(c, t, deadline_ms, &c->argv[2], 1);
}

static void hincrbyfloat_run(struct call *c) {
    long double by, sum = 0;
    struct hash_target t;
    struct packed_item value;
    int64_t deadline_ms = FIELD_NO_DEADLINE;
    if (!call_arg_ldouble(c, 3, &by))
        return;
    if (isinf(by)) {
        call_error(c, "ERR value is NaN or Infinity");
        return;
    }
    if (!hash_open_write(c, &t))
        return;
    if (t.e != NULL && hash_find(&t.col, c->argv[2], t.now_ms, &value, &deadline_ms)) {
        sum = (long double)value.i;
        if (!value.is_int && num_parse_ldouble(value.s, &sum) < 0) {
            call_error(c, "ERR hash value is not a float");
            return;
        }
    }
    sum += by;
    if (isnan(sum) || isinf(sum)) {
        call_error(c, "ERR increment would produce NaN or Infinity");
        return;
    }
    if (t.e == NULL)
        t.col = hash_create(keyspace_rules(c->ks));
    char digits[NUM_LDOUBLE_CHARS];
    struct slice text = slice_of(digits, num_format_ldouble_human(digits, sum));
    hash_put_until(&t.col, c->argv[2], text, HASH_KEEP_DEADLINE);
    hash_close_announced(c, &t, "hincrbyfloat", 1);
    propagate_sum(c, &t, text, deadline_ms);
    resp_bulk(c->w, text);
}

#define WRITE_ROW(name_, since_, arity_, flags_, key_flags_, run_)                                                     \
    {                                                                                                                  \
        .name = (name_), .group = "hash", .since = (since_), .arity = (arity_),                                        \
        .flags = COMMAND_WRITE | COMMAND_FAST | (flags_), .acl = ACL_HASH, .keys = {ROW_KEY(KEY_RW | (key_flags_))},   \
        .run = (run_)                                                                                                  \
    }

static const struct command rows[] = {
    WRITE_ROW("hset", "2.0.0", -4, COMMAND_DENYOOM, KEY_UPDATE, hset_run),
    WRITE_ROW("hmset", "2.0.0", -4, COMMAND_DENYOOM, KEY_UPDATE, hmset_run),
    WRITE_ROW("hsetnx", "2.0.0", 4, COMMAND_DENYOOM, KEY_INSERT, hsetnx_run),
    WRITE_ROW("hdel", "2.0.0", -3, 0, KEY_DELETE, hdel_run),
    WRITE_ROW("hincrby", "2.0.0", 4, COMMAND_DENYOOM, KEY_ACCESS | KEY_UPDATE, hincrby_run),
    WRITE_ROW("hincrbyfloat", "2.6.0", 4, COMMAND_DENYOOM, KEY_ACCESS | KEY_UPDATE, hincrbyfloat_run),
};

void hash_set_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
