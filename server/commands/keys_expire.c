/* Deadlines: EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL PTTL EXPIRETIME PEXPIRETIME PERSIST. Whatever way a deadline was
 * given, it is propagated as the absolute time it means here. */
#include "config.h"

#include "server/commands/keys_int.h"

#include "server/base/num.h"
#include "server/commands/rows.h"

enum expire_condition { EXPIRE_NX = 1 << 0, EXPIRE_XX = 1 << 1, EXPIRE_GT = 1 << 2, EXPIRE_LT = 1 << 3 };

static bool parse_conditions(struct call *c, unsigned *ret_conditions) {
    unsigned conditions = 0;
    for (int i = 3; i < c->argc; i++) {
        if (slice_is(c->argv[i], "nx")) {
            conditions |= EXPIRE_NX;
        } else if (slice_is(c->argv[i], "xx")) {
            conditions |= EXPIRE_XX;
        } else if (slice_is(c->argv[i], "gt")) {
            conditions |= EXPIRE_GT;
        } else if (slice_is(c->argv[i], "lt")) {
            conditions |= EXPIRE_LT;
        } else {
            call_errorf(c, "ERR Unsupported option %.*s", (int)c->argv[i].n, c->argv[i].p);
            return false;
        }
    }
    if ((conditions & EXPIRE_NX) && (conditions & (EXPIRE_XX | EXPIRE_GT | EXPIRE_LT))) {
        call_error(c, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((conditions & EXPIRE_GT) && (conditions & EXPIRE_LT)) {
        call_error(c, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    *ret_conditions = conditions;
    return true;
}

/* For GT and LT a key without a deadline counts as living for ever. */
static bool conditions_met(unsigned conditions, int64_t current_ms, int64_t deadline_ms) {
    bool has = current_ms != KEYSPACE_NO_DEADLINE;
    if ((conditions & EXPIRE_NX) && has)
        return false;
    if ((conditions & EXPIRE_XX) && !has)
        return false;
    if ((conditions & EXPIRE_GT) && (!has || deadline_ms <= current_ms))
        return false;
    if ((conditions & EXPIRE_LT) && has && deadline_ms >= current_ms)
        return false;
    return true;
}

static void expire(struct call *c, int64_t unit_ms, bool absolute) {
    unsigned conditions;
    int64_t deadline_ms;
    if (!parse_conditions(c, &conditions) || !call_arg_deadline(c, 2, unit_ms, absolute, false, &deadline_ms))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e = call_find_write(c, &key);
    if (e == NULL || !conditions_met(conditions, entry_deadline_ms(e), deadline_ms)) {
        resp_int(c->w, 0);
        return;
    }
    if (keys_deadline_passed(c, deadline_ms)) {
        keys_remove_due(c, &key);
    } else {
        /* While a log is replayed a time before 1970 may come: due at once all the same. */
        if (deadline_ms < 0)
            deadline_ms = 0;
        keyspace_set_deadline(c->ks, c->db, &key, e, deadline_ms);
        call_changed(c, &key, NOTIFY_GENERIC, "expire");
        char digits[NUM_I64_CHARS];
        struct slice argv[3] = {SLICE_LIT("PEXPIREAT"), key.key};
        argv[2] = slice_of(digits, num_format_i64(digits, deadline_ms));
        call_propagate(c, c->db, argv, 3);
    }
    resp_int(c->w, 1);
}

static void expire_run(struct call *c) {
    expire(c, 1000, false);
}

static void pexpire_run(struct call *c) {
    expire(c, 1, false);
}

static void expireat_run(struct call *c) {
    expire(c, 1000, true);
}

static void pexpireat_run(struct call *c) {
    expire(c, 1, true);
}

static void reply_deadline(struct call *c, bool seconds, bool absolute) {
    struct keyref key = call_key(c, 1);
    const struct entry *e = call_find_read_notouch(c, &key);
    int64_t ms = e == NULL ? -2 : entry_deadline_ms(e);
    if (ms < 0) {
        resp_int(c->w, ms);
        return;
    }
    if (!absolute) {
        ms -= call_now_ms(c);
        if (ms < 0)
            ms = 0;
    }
    /* Seconds are rounded to the nearest; the last half second before the end of time is not. */
    resp_int(c->w, !seconds ? ms : ms / 1000 + (ms % 1000 >= 500));
}

static void ttl_run(struct call *c) {
    reply_deadline(c, true, false);
}

static void pttl_run(struct call *c) {
    reply_deadline(c, false, false);
}

static void expiretime_run(struct call *c) {
    reply_deadline(c, true, true);
}

static void pexpiretime_run(struct call *c) {
    reply_deadline(c, false, true);
}

static void persist_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e = call_find_write(c, &key);
    if (e == NULL || entry_deadline_ms(e) == KEYSPACE_NO_DEADLINE) {
        resp_int(c->w, 0);
        return;
    }
    keyspace_set_deadline(c->ks, c->db, &key, e, KEYSPACE_NO_DEADLINE);
    call_changed(c, &key, NOTIFY_GENERIC, "persist");
    resp_int(c->w, 1);
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

#define EXPIRE_ROW(name_, since_, run_)                                                                                \
    {                                                                                                                  \
        .name = (name_), .group = "generic", .since = (since_), .arity = -3, .flags = COMMAND_WRITE | COMMAND_FAST,    \
        .acl = ACL_KEYSPACE, .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)}, .run = (run_)                                     \
    }
#define TTL_ROW(name_, since_, tips_, run_)                                                                            \
    {                                                                                                                  \
        .name = (name_), .group = "generic", .since = (since_), .arity = 2, .flags = COMMAND_READONLY | COMMAND_FAST,  \
        .acl = ACL_KEYSPACE, .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)}, .tips = (tips_), .run = (run_)                    \
    }

static const struct command rows[] = {
    EXPIRE_ROW("expire", "1.0.0", expire_run),
    EXPIRE_ROW("pexpire", "2.6.0", pexpire_run),
    EXPIRE_ROW("expireat", "1.2.0", expireat_run),
    EXPIRE_ROW("pexpireat", "2.6.0", pexpireat_run),
    TTL_ROW("ttl", "1.0.0", nondeterministic, ttl_run),
    TTL_ROW("pttl", "2.6.0", nondeterministic, pttl_run),
    TTL_ROW("expiretime", "7.0.0", NULL, expiretime_run),
    TTL_ROW("pexpiretime", "7.0.0", NULL, pexpiretime_run),
    {.name = "persist",
     .group = "generic",
     .since = "2.2.0",
     .arity = 2,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .run = persist_run},
};

void keys_expire_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
