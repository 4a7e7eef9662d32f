/* Elements that go from list to list: LMOVE RPOPLPUSH, and BLMOVE BRPOPLPUSH, which wait for one and are propagated as
 * the former. */
#include "config.h"

#include "server/commands/list_int.h"

#include "server/base/assert.h"
#include "server/commands/rows.h"

struct move {
    enum quicklist_side from, to;
    bool sides_given; /* LMOVE's form */
};

static void rotate(struct call *c, const struct keyref *key, struct entry *e, const struct move *m) {
    struct collection l = call_collection(c, e);
    struct packed_item v = list_peek(&l, m->from);
    struct buf copy = BUF_INIT;
    if (!v.is_int) {
        buf_append_slice(&copy, v.s);
        v.s = buf_slice(&copy);
    }
    call_reply_item(c->w, &v);
    list_drop(&l, m->from, 1);
    int rc = list_push_moved(&l, m->to, v);
    bool there = call_collection_store(c, key, e, VALUE_LIST, &l);
    HF_ASSERT(rc == 0 && there);
    buf_deinit(&copy);
    call_changed(c, key, NOTIFY_LIST, list_push_event(m->to));
    call_notify(c, c->db, key, NOTIFY_LIST, list_pop_event(m->from));
}

static void move_between(struct call *c, const struct keyref *from, struct entry *from_e, const struct keyref *to,
                         struct entry *to_e, const struct move *m) {
    struct collection source = call_collection(c, from_e);
    struct collection target = to_e != NULL ? call_collection(c, to_e) : list_create(keyspace_rules(c->ks));
    const struct packed_item v = list_peek(&source, m->from);
    call_reply_item(c->w, &v);
    int rc = list_push_moved(&target, m->to, v);
    bool there = call_collection_store(c, to, to_e, VALUE_LIST, &target);
    HF_ASSERT(rc == 0 && there);
    call_changed(c, to, NOTIFY_LIST, list_push_event(m->to));
    if (to_e == NULL)
        from_e = call_find_write(c, from); /* a new key ends the life of entry pointers */
    list_drop(&source, m->from, 1);
    list_removed(c, from, from_e, &source, list_pop_event(m->from));
}

/* From argv[1] to argv[2]. False where there is no source; else the reply was given. */
static bool move_element(struct call *c, const struct move *m) {
    struct keyref from = call_key(c, 1), to = call_key(c, 2);
    struct entry *from_e, *to_e;
    if (!call_find_write_type(c, &from, VALUE_LIST, &from_e))
        return true;
    if (from_e == NULL)
        return false;
    if (slice_eq(from.key, to.key)) {
        rotate(c, &from, from_e, m);
        return true;
    }
    if (!call_find_write_type(c, &to, VALUE_LIST, &to_e))
        return true;
    from_e = call_find_write(c, &from); /* finding the target may have removed it, as due */
    move_between(c, &from, from_e, &to, to_e, m);
    return true;
}

static void wait_and_move(struct call *c, const struct move *m, int timeout_arg) {
    int64_t timeout_ms;
    if (!call_arg_timeout(c, timeout_arg, &timeout_ms))
        return;
    if (!move_element(c, m)) {
        struct keyref from = call_key(c, 1);
        call_block_on_keys(c, &from, 1, VALUE_LIST, timeout_ms, CALL_TIMEOUT_NULL, NULL);
    } else if (!c->failed) {
        struct slice argv[5];
        for (int i = 0; i < 5 && i < c->argc; i++)
            argv[i] = c->argv[i];
        argv[0] = m->sides_given ? SLICE_LIT("LMOVE") : SLICE_LIT("RPOPLPUSH");
        call_propagate(c, c->db, argv, m->sides_given ? 5 : 3);
    }
}

static bool parse_sides(struct call *c, struct move *m) {
    m->sides_given = true;
    return list_arg_side(c, 3, &m->from) && list_arg_side(c, 4, &m->to);
}

static const struct move tail_to_head = {.from = QUICKLIST_TAIL, .to = QUICKLIST_HEAD};

static void lmove_run(struct call *c) {
    struct move m;
    if (parse_sides(c, &m) && !move_element(c, &m))
        resp_null(c->w);
}

static void rpoplpush_run(struct call *c) {
    if (!move_element(c, &tail_to_head))
        resp_null(c->w);
}

static void blmove_run(struct call *c) {
    struct move m;
    if (parse_sides(c, &m))
        wait_and_move(c, &m, 5);
}

static void brpoplpush_run(struct call *c) {
    wait_and_move(c, &tail_to_head, 3);
}

#define MOVE_KEYS                                                                                                      \
    { ROW_KEYS(KEY_RW | KEY_ACCESS | KEY_DELETE, 1, 0, 1), ROW_KEYS(KEY_RW | KEY_INSERT, 2, 0, 1) }

static const struct command rows[] = {
    {.name = "lmove",
     .group = "list",
     .since = "6.2.0",
     .arity = 5,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_LIST,
     .keys = MOVE_KEYS,
     .run = lmove_run},
    {.name = "rpoplpush",
     .group = "list",
     .since = "1.2.0",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_LIST,
     .keys = MOVE_KEYS,
     .run = rpoplpush_run},
    {.name = "blmove",
     .group = "list",
     .since = "6.2.0",
     .arity = 6,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_BLOCKING,
     .acl = ACL_LIST,
     .keys = MOVE_KEYS,
     .run = blmove_run},
    {.name = "brpoplpush",
     .group = "list",
     .since = "2.2.0",
     .arity = 4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_BLOCKING,
     .acl = ACL_LIST,
     .keys = MOVE_KEYS,
     .run = brpoplpush_run},
};

void list_move_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
