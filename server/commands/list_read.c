/* Lists read: LLEN LINDEX LRANGE LPOS. */
#include "config.h"

#include "server/commands/list_int.h"

#include "server/commands/rows.h"

static void llen_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_LIST, &e))
        return;
    size_t count = 0;
    if (e != NULL) {
        const struct collection l = call_collection(c, e);
        count = list_count(&l);
    }
    resp_int(c->w, (int64_t)count);
}

static void lindex_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    int64_t index;
    if (!call_find_read_type(c, &key, VALUE_LIST, &e))
        return;
    if (e == NULL) {
        resp_null(c->w);
        return;
    }
    if (!call_arg_i64(c, 2, &index))
        return;
    const struct collection l = call_collection(c, e);
    struct buf scratch = BUF_INIT;
    struct packed_item v;
    if (list_get(&l, index, &scratch, &v))
        call_reply_item(c->w, &v);
    else
        resp_null(c->w);
    buf_deinit(&scratch);
}

static int reply_each(void *arg, const struct packed_item *v) {
    const struct call *c = arg;
    call_reply_item(c->w, v);
    return 0;
}

static void lrange_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    int64_t start, end;
    if (!call_arg_i64(c, 2, &start) || !call_arg_i64(c, 3, &end) || !call_find_read_type(c, &key, VALUE_LIST, &e))
        return;
    if (e == NULL) {
        resp_array(c->w, 0);
        return;
    }
    const struct collection l = call_collection(c, e);
    size_t from;
    size_t n = list_range(start, end, list_count(&l), &from);
    resp_array(c->w, n);
    (void)list_each(&l, (int64_t)from, n, reply_each, c);
}

/* ---- LPOS ---- */

struct lpos {
    struct call *c;
    struct list_needle needle;
    int64_t index, step;
    uint64_t to_skip; /* matches before the first that counts */
    uint64_t wanted;  /* matches; 0: all */
    size_t found;
};

static int look_at(void *arg, const struct packed_item *v) {
    struct lpos *p = arg;
    int64_t index = p->index;
    p->index += p->step;
    if (!list_needle_is(&p->needle, v))
        return 0;
    if (p->to_skip > 0) {
        p->to_skip--;
        return 0;
    }
    resp_int(p->c->w, index);
    return ++p->found == p->wanted;
}

struct lpos_options {
    int64_t rank, count, max_len; /* count -1: not given; max_len 0: no limit */
};

static bool parse_lpos(struct call *c, struct lpos_options *o) {
    *o = (struct lpos_options){.rank = 1, .count = -1};
    for (int i = 3; i < c->argc; i += 2) {
        if (i + 1 >= c->argc) {
            call_error_syntax(c);
            return false;
        }
        if (slice_is(c->argv[i], "rank")) {
            if (!call_arg_i64(c, i + 1, &o->rank))
                return false;
            if (o->rank == INT64_MIN) {
                call_error(c, "ERR value is out of range, value must between -9223372036854775807 and "
                              "9223372036854775807");
                return false;
            }
            if (o->rank == 0) {
                call_error(c, "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
                              "or use negative to start from the end of the list");
                return false;
            }
        } else if (slice_is(c->argv[i], "count")) {
            if (!call_arg_i64_range(c, i + 1, 0, INT64_MAX, "ERR COUNT can't be negative", &o->count))
                return false;
        } else if (slice_is(c->argv[i], "maxlen")) {
            if (!call_arg_i64_range(c, i + 1, 0, INT64_MAX, "ERR MAXLEN can't be negative", &o->max_len))
                return false;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    return true;
}

static void lpos_run(struct call *c) {
    struct lpos_options o;
    if (!parse_lpos(c, &o))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_LIST, &e))
        return;
    if (e == NULL) {
        if (o.count >= 0)
            resp_array(c->w, 0);
        else
            resp_null(c->w);
        return;
    }
    const struct collection l = call_collection(c, e);
    bool backwards = o.rank < 0;
    struct lpos p = {.c = c,
                     .needle = list_needle(c->argv[2]),
                     .index = backwards ? (int64_t)list_count(&l) - 1 : 0,
                     .step = backwards ? -1 : 1,
                     .to_skip = (uint64_t)(backwards ? -o.rank : o.rank) - 1,
                     .wanted = o.count >= 0 ? (uint64_t)o.count : 1};
    size_t n = o.max_len == 0 ? SIZE_MAX : (size_t)o.max_len;
    struct outq_hole hole = {0};
    if (o.count >= 0)
        hole = resp_open(c->w);
    (void)(backwards ? list_each_backwards : list_each)(&l, backwards ? -1 : 0, n, look_at, &p);
    if (o.count >= 0)
        resp_close_array(c->w, hole, p.found);
    else if (p.found == 0)
        resp_null(c->w);
}

static const struct command rows[] = {
    {.name = "llen",
     .group = "list",
     .since = "1.0.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RO)},
     .run = llen_run},
    {.name = "lindex",
     .group = "list",
     .since = "1.0.0",
     .arity = 3,
     .flags = COMMAND_READONLY,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = lindex_run},
    {.name = "lrange",
     .group = "list",
     .since = "1.0.0",
     .arity = 4,
     .flags = COMMAND_READONLY,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = lrange_run},
    {.name = "lpos",
     .group = "list",
     .since = "6.0.6",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .acl = ACL_LIST,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .run = lpos_run},
};

void list_read_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
