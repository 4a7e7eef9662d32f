/* Members out of sorted sets: ZREM ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREMRANGEBYLEX. */
#include "config.h"

#include "server/commands/zset_int.h"

#include "server/commands/rows.h"

static void zrem_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_ZSET, &e))
        return;
    int64_t removed = 0;
    if (e != NULL) {
        struct collection z = call_collection(c, e);
        for (int i = 2; i < c->argc && sorted_set_count(&z) != 0; i++)
            removed += sorted_set_remove(&z, c->argv[i]);
        if (removed != 0)
            (void)zset_changed(c, &key, e, &z, "zrem");
    }
    resp_int(c->w, removed);
}

static void remove_range(struct call *c, enum zset_range_kind kind, const char *event) {
    struct zset_range r = {.kind = kind};
    if (!zset_arg_range(c, 2, 3, &r))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_ZSET, &e))
        return;
    size_t n = 0;
    if (e != NULL) {
        struct collection z = call_collection(c, e);
        size_t rank;
        n = zset_range_find(&z, &r, &rank);
        if (n != 0) {
            sorted_set_remove_ranks(&z, rank, n);
            (void)zset_changed(c, &key, e, &z, event);
        }
    }
    resp_int(c->w, (int64_t)n);
}

static void zremrangebyrank_run(struct call *c) {
    remove_range(c, ZSET_BY_RANK, "zremrangebyrank");
}

static void zremrangebyscore_run(struct call *c) {
    remove_range(c, ZSET_BY_SCORE, "zremrangebyscore");
}

static void zremrangebylex_run(struct call *c) {
    remove_range(c, ZSET_BY_LEX, "zremrangebylex");
}

static const struct command rows[] = {
    ZSET_ROW("zrem", "1.2.0", -3, COMMAND_WRITE | COMMAND_FAST, KEY_RW | KEY_DELETE, zrem_run),
    ZSET_ROW("zremrangebyrank", "2.0.0", 4, COMMAND_WRITE, KEY_RW | KEY_DELETE, zremrangebyrank_run),
    ZSET_ROW("zremrangebyscore", "1.2.0", 4, COMMAND_WRITE, KEY_RW | KEY_DELETE, zremrangebyscore_run),
    ZSET_ROW("zremrangebylex", "2.8.9", 4, COMMAND_WRITE, KEY_RW | KEY_DELETE, zremrangebylex_run),
};

void zset_remove_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
