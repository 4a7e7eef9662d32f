/* Deadlines of fields: HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HTTL HPTTL HEXPIRETIME HPEXPIRETIME HPERSIST. Whatever way
 * a deadline was given, it is propagated as the absolute time it means here, and a time that has passed as the removal.
 */
#include "config.h"

#include "server/commands/hash_int.h"

#include "server/base/mem.h"
#include "server/commands/rows.h"

enum field_answer { FIELD_ABSENT = -2, FIELD_UNLIMITED = -1, FIELD_REFUSED = 0, FIELD_DONE = 1, FIELD_REMOVED = 2 };
enum field_condition { ALWAYS, ONLY_WITHOUT, ONLY_WITH, ONLY_LATER, ONLY_EARLIER };

static enum field_condition parse_condition(struct slice word) {
    return slice_is(word, "nx")   ? ONLY_WITHOUT
           : slice_is(word, "xx") ? ONLY_WITH
           : slice_is(word, "gt") ? ONLY_LATER
           : slice_is(word, "lt") ? ONLY_EARLIER
                                  : ALWAYS;
}

/* A field without a deadline counts as living for ever. */
static bool condition_met(enum field_condition condition, int64_t current_ms, int64_t deadline_ms) {
    bool has = current_ms != FIELD_NO_DEADLINE;
    switch (condition) {
    case ALWAYS:
        return true;
    case ONLY_WITHOUT:
        return !has;
    case ONLY_WITH:
        return has;
    case ONLY_LATER:
        return has && deadline_ms > current_ms;
    case ONLY_EARLIER:
        return !has || deadline_ms < current_ms;
    }
    return false;
}

static void reply_absent(struct call *c, int count) {
    resp_array(c->w, (size_t)count);
    for (int i = 0; i < count; i++)
        resp_int(c->w, FIELD_ABSENT);
}

/* What became of the fields of a request, for the log. */
struct outcome {
    struct slice *set, *removed;
    size_t set_count, removed_count;
};

static enum field_answer expire_field(struct call *c, struct hash_target *t, struct slice field,
                                      enum field_condition condition, int64_t deadline_ms, struct outcome *o) {
    int64_t current_ms;
    if (!hash_find(&t->col, field, t->now_ms, NULL, &current_ms))
        return FIELD_ABSENT;
    if (!condition_met(condition, current_ms, deadline_ms))
        return FIELD_REFUSED;
    if (hash_deadline_passed(c, deadline_ms)) {
        hash_remove(&t->col, field);
        o->removed[o->removed_count++] = field;
        return FIELD_REMOVED;
    }
    hash_set_deadline(&t->col, field, deadline_ms);
    o->set[o->set_count++] = field;
    return FIELD_DONE;
}

static void announce(struct call *c, struct hash_target *t, int64_t deadline_ms, const struct outcome *o) {
    bool there = hash_close(c, t);
    if (o->set_count != 0) {
        call_changed(c, &t->key, NOTIFY_HASH, "hexpire");
        hash_propagate_deadline(c, t, deadline_ms, o->set, o->set_count);
    }
    if (o->removed_count != 0) {
        call_changed(c, &t->key, NOTIFY_HASH, "hdel");
        hash_propagate_del(c, t, o->removed, o->removed_count);
    }
    if (!there)
        call_notify(c, c->db, &t->key, NOTIFY_GENERIC, "del");
}

static void expire(struct call *c, int64_t unit_ms, bool absolute) {
    struct hash_target t;
    struct hash_fields f;
    int64_t deadline_ms;
    if (!hash_open_write(c, &t))
        return;
    enum field_condition condition = parse_condition(c->argv[3]);
    if (!hash_arg_deadline(c, 2, unit_ms, absolute, &deadline_ms) ||
        !hash_arg_fields(c, condition == ALWAYS ? 3 : 4, 1, "ERR Parameter `numFields` should be greater than 0", &f))
        return;
    if (t.e == NULL) {
        reply_absent(c, f.count);
        return;
    }
    struct outcome o = {.set = mem_alloc((size_t)f.count * 2 * sizeof *o.set)};
    o.removed = o.set + f.count;
    resp_array(c->w, (size_t)f.count);
    for (int i = 0; i < f.count; i++)
        resp_int(c->w, expire_field(c, &t, hash_field_arg(c, &f, i), condition, deadline_ms, &o));
    if (o.set_count + o.removed_count != 0)
        announce(c, &t, deadline_ms, &o);
    mem_free(o.set);
}

static void hexpire_run(struct call *c) {
    expire(c, 1000, false);
}

static void hpexpire_run(struct call *c) {
    expire(c, 1, false);
}

static void hexpireat_run(struct call *c) {
    expire(c, 1000, true);
}

static void hpexpireat_run(struct call *c) {
    expire(c, 1, true);
}

#define NUMBER_ERROR "ERR Number of fields must be a positive integer"

static void reply_deadlines(struct call *c, bool seconds, bool absolute) {
    struct hash_target t;
    struct hash_fields f;
    if (!hash_open_read(c, &t) || !hash_arg_fields(c, 2, 1, NUMBER_ERROR, &f))
        return;
    if (t.e == NULL) {
        reply_absent(c, f.count);
        return;
    }
    int64_t base_ms = absolute ? 0 : call_now_ms(c);
    resp_array(c->w, (size_t)f.count);
    for (int i = 0; i < f.count; i++) {
        int64_t ms;
        if (!hash_find(&t.col, hash_field_arg(c, &f, i), t.now_ms, NULL, &ms)) {
            resp_int(c->w, FIELD_ABSENT);
            continue;
        }
        if (ms == FIELD_NO_DEADLINE) {
            resp_int(c->w, FIELD_UNLIMITED);
            continue;
        }
        ms = ms > base_ms ? ms - base_ms : 0;
        /* Seconds are rounded up. */
        resp_int(c->w, seconds ? ms / 1000 + (ms % 1000 != 0) : ms);
    }
}

static void httl_run(struct call *c) {
    reply_deadlines(c, true, false);
}

static void hpttl_run(struct call *c) {
    reply_deadlines(c, false, false);
}

static void hexpiretime_run(struct call *c) {
    reply_deadlines(c, true, true);
}

static void hpexpiretime_run(struct call *c) {
    reply_deadlines(c, false, true);
}

static void hpersist_run(struct call *c) {
    struct hash_target t;
    struct hash_fields f;
    size_t changed = 0;
    if (!hash_open_write(c, &t) || !hash_arg_fields(c, 2, 1, NUMBER_ERROR, &f))
        return;
    if (t.e == NULL) {
        reply_absent(c, f.count);
        return;
    }
    resp_array(c->w, (size_t)f.count);
    for (int i = 0; i < f.count; i++) {
        int64_t ms;
        struct slice field = hash_field_arg(c, &f, i);
        if (!hash_find(&t.col, field, t.now_ms, NULL, &ms)) {
            resp_int(c->w, FIELD_ABSENT);
        } else if (ms == FIELD_NO_DEADLINE) {
            resp_int(c->w, FIELD_UNLIMITED);
        } else {
            hash_set_deadline(&t.col, field, FIELD_NO_DEADLINE);
            changed++;
            resp_int(c->w, FIELD_DONE);
        }
    }
    if (changed != 0)
        hash_close_announced(c, &t, "hpersist", changed);
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

#define EXPIRE_ROW(name_, run_)                                                                                        \
    {                                                                                                                  \
        .name = (name_), .group = "hash", .since = "7.4.0", .arity = -6,                                               \
        .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST | COMMAND_WRITES_7_4, .acl = ACL_HASH,                 \
        .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)}, .run = (run_)                                                          \
    }
#define TTL_ROW(name_, tips_, run_)                                                                                    \
    {                                                                                                                  \
        .name = (name_), .group = "hash", .since = "7.4.0", .arity = -5, .flags = COMMAND_READONLY | COMMAND_FAST,     \
        .acl = ACL_HASH, .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)}, .tips = (tips_), .run = (run_)                        \
    }

static const struct command rows[] = {
    EXPIRE_ROW("hexpire", hexpire_run),
    EXPIRE_ROW("hpexpire", hpexpire_run),
    EXPIRE_ROW("hexpireat", hexpireat_run),
    EXPIRE_ROW("hpexpireat", hpexpireat_run),
    TTL_ROW("httl", nondeterministic, httl_run),
    TTL_ROW("hpttl", nondeterministic, hpttl_run),
    TTL_ROW("hexpiretime", NULL, hexpiretime_run),
    TTL_ROW("hpexpiretime", NULL, hpexpiretime_run),
    {.name = "hpersist",
     .group = "hash",
     .since = "7.4.0",
     .arity = -5,
     .flags = COMMAND_WRITE | COMMAND_FAST | COMMAND_WRITES_7_4,
     .acl = ACL_HASH,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .run = hpersist_run},
};

void hash_expire_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
