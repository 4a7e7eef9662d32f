/* Elements taken from the ends of lists: LPOP RPOP LMPOP, and BLPOP BRPOP BLMPOP, which wait for some. Those that look
 * at several keys, or wait, are propagated as the LPOP or RPOP that they came to be. */
#include "config.h"

#include "server/commands/list_int.h"

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"

static int reply_each(void *arg, const struct packed_item *v) {
    const struct call *c = arg;
    call_reply_item(c->w, v);
    return 0;
}

/* Replies n elements as an array, in the order in which popping gives them, and removes them. */
static void pop_array(struct call *c, const struct keyref *key, struct entry *e, enum quicklist_side side, size_t n) {
    struct collection l = call_collection(c, e);
    size_t count = list_count(&l);
    if (n > count)
        n = count;
    resp_array(c->w, n);
    if (n == 0)
        return;
    if (side == QUICKLIST_HEAD)
        (void)list_each(&l, 0, n, reply_each, c);
    else
        (void)list_each_backwards(&l, -1, n, reply_each, c);
    list_drop(&l, side, n);
    list_removed(c, key, e, &l, list_pop_event(side));
}

static void pop_one(struct call *c, const struct keyref *key, struct entry *e, enum quicklist_side side) {
    struct collection l = call_collection(c, e);
    const struct packed_item v = list_peek(&l, side);
    call_reply_item(c->w, &v);
    list_drop(&l, side, 1);
    list_removed(c, key, e, &l, list_pop_event(side));
}

static void pop(struct call *c, enum quicklist_side side) {
    int64_t n = -1;
    if (c->argc > 3) {
        call_error_arity(c);
        return;
    }
    if (c->argc == 3 && !call_arg_i64_range(c, 2, 0, INT64_MAX, "ERR value is out of range, must be positive", &n))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_LIST, &e))
        return;
    if (n >= 0 && e == NULL)
        resp_null_array(c->w);
    else if (e == NULL)
        resp_null(c->w);
    else if (n >= 0)
        pop_array(c, &key, e, side, (size_t)n);
    else
        pop_one(c, &key, e, side);
}

static void lpop_run(struct call *c) {
    pop(c, QUICKLIST_HEAD);
}

static void rpop_run(struct call *c) {
    pop(c, QUICKLIST_TAIL);
}

/* count 0: without that argument. */
static void propagate_pop(struct call *c, struct slice key, enum quicklist_side side, size_t count) {
    char digits[NUM_I64_CHARS];
    struct slice argv[3] = {side == QUICKLIST_HEAD ? SLICE_LIT("LPOP") : SLICE_LIT("RPOP"), key};
    argv[2] = slice_of(digits, num_format_u64(digits, count));
    call_propagate(c, c->db, argv, count != 0 ? 3 : 2);
}

/* Waits for one of the n keys from argv[first] on. */
static void wait_for_keys(struct call *c, int first, int n, int64_t timeout_ms) {
    struct keyref *keys = mem_alloc((size_t)n * sizeof *keys);
    for (int i = 0; i < n; i++)
        keys[i] = call_key(c, first + i);
    call_block_on_keys(c, keys, (size_t)n, VALUE_LIST, timeout_ms, CALL_TIMEOUT_NULL_ARRAY, NULL);
    mem_free(keys);
}

enum pop_outcome { POP_DONE, POP_NOTHING, POP_FAILED };

/* Replies the name of the first of the keys with a list, and elements of it: one (count 0) or an array. */
static enum pop_outcome pop_first(struct call *c, int first, int n, enum quicklist_side side, size_t count) {
    for (int i = first; i < first + n; i++) {
        struct keyref key = call_key(c, i);
        struct entry *e;
        if (!call_find_write_type(c, &key, VALUE_LIST, &e))
            return POP_FAILED;
        if (e == NULL)
            continue;
        const struct collection l = call_collection(c, e);
        size_t have = list_count(&l);
        resp_array(c->w, 2);
        resp_bulk(c->w, key.key);
        if (count == 0)
            pop_one(c, &key, e, side);
        else
            pop_array(c, &key, e, side, count);
        propagate_pop(c, key.key, side, count < have ? count : have);
        return POP_DONE;
    }
    return POP_NOTHING;
}

static void blocking_pop(struct call *c, enum quicklist_side side) {
    int64_t timeout_ms;
    if (!call_arg_timeout(c, c->argc - 1, &timeout_ms))
        return;
    if (pop_first(c, 1, c->argc - 2, side, 0) == POP_NOTHING)
        wait_for_keys(c, 1, c->argc - 2, timeout_ms);
}

static void blpop_run(struct call *c) {
    blocking_pop(c, QUICKLIST_HEAD);
}

static void brpop_run(struct call *c) {
    blocking_pop(c, QUICKLIST_TAIL);
}

/* numkeys key … LEFT|RIGHT [COUNT n], from argv[at] on. */
struct mpop {
    int first, keys;
    enum quicklist_side side;
    size_t count;
};

static bool parse_mpop(struct call *c, int at, struct mpop *m) {
    int64_t n, count = 1;
    if (!call_arg_i64_range(c, at, 1, INT64_MAX, "ERR numkeys should be greater than 0", &n))
        return false;
    if (n >= c->argc - at - 1) {
        call_error_syntax(c);
        return false;
    }
    m->first = at + 1;
    m->keys = (int)n;
    int i = m->first + m->keys;
    if (!list_arg_side(c, i, &m->side))
        return false;
    bool counted = false;
    for (i++; i < c->argc; i += 2) {
        if (counted || i + 1 >= c->argc || !slice_is(c->argv[i], "count")) {
            call_error_syntax(c);
            return false;
        }
        if (!call_arg_i64_range(c, i + 1, 1, INT64_MAX, "ERR count should be greater than 0", &count))
            return false;
        counted = true;
    }
    m->count = (size_t)count;
    return true;
}

static void lmpop_run(struct call *c) {
    struct mpop m;
    if (!parse_mpop(c, 1, &m))
        return;
    if (pop_first(c, m.first, m.keys, m.side, m.count) == POP_NOTHING)
        resp_null_array(c->w);
}

static void blmpop_run(struct call *c) {
    struct mpop m;
    int64_t timeout_ms;
    if (!parse_mpop(c, 2, &m) || !call_arg_timeout(c, 1, &timeout_ms))
        return;
    if (pop_first(c, m.first, m.keys, m.side, m.count) == POP_NOTHING)
        wait_for_keys(c, m.first, m.keys, timeout_ms);
}

#define POP_KEY (KEY_RW | KEY_ACCESS | KEY_DELETE)

static const struct command rows[] = {
    {.name = "lpop",
     .group = "list",
     .since = "1.0.0",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(POP_KEY)},
     .run = lpop_run},
    {.name = "rpop",
     .group = "list",
     .since = "1.0.0",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(POP_KEY)},
     .run = rpop_run},
    {.name = "lmpop",
     .group = "list",
     .since = "7.0.0",
     .arity = -4,
     .flags = COMMAND_WRITE,
     .acl = ACL_LIST,
     .keys = {ROW_KEYNUM(POP_KEY, 1, 1)},
     .run = lmpop_run},
    {.name = "blpop",
     .group = "list",
     .since = "2.0.0",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_BLOCKING,
     .acl = ACL_LIST,
     .keys = {ROW_KEYS(POP_KEY, 1, -2, 1)},
     .run = blpop_run},
    {.name = "brpop",
     .group = "list",
     .since = "2.0.0",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_BLOCKING,
     .acl = ACL_LIST,
     .keys = {ROW_KEYS(POP_KEY, 1, -2, 1)},
     .run = brpop_run},
    {.name = "blmpop",
     .group = "list",
     .since = "7.0.0",
     .arity = -5,
     .flags = COMMAND_WRITE | COMMAND_BLOCKING,
     .acl = ACL_LIST,
     .keys = {ROW_KEYNUM(POP_KEY, 2, 1)},
     .run = blmpop_run},
};

void list_pop_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
