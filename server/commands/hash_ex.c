/* Several fields at once with deadlines: HGETEX HSETEX HGETDEL. Propagated as HSET, HDEL, HPEXPIREAT and HPERSIST. */
#include "config.h"

#include "server/commands/hash_int.h"

#include "server/base/mem.h"
#include "server/commands/rows.h"

#define NUMBER_ERROR "ERR Number of fields must be a positive integer"

/* ---- HGETDEL ---- */

static void reply_nulls(struct call *c, int count) {
    resp_array(c->w, (size_t)count);
    for (int i = 0; i < count; i++)
        resp_null(c->w);
}

static void hgetdel_run(struct call *c) {
    struct hash_target t;
    struct hash_fields f;
    if (!hash_open_write(c, &t) || !hash_arg_fields(c, 2, 1, NUMBER_ERROR, &f))
        return;
    if (t.e == NULL) {
        reply_nulls(c, f.count);
        return;
    }
    struct slice *removed = mem_alloc((size_t)f.count * sizeof *removed);
    size_t n = 0;
    resp_array(c->w, (size_t)f.count);
    for (int i = 0; i < f.count; i++) {
        struct packed_item value;
        struct slice field = hash_field_arg(c, &f, i);
        if (!hash_get(&t.col, field, t.now_ms, &value)) {
            resp_null(c->w);
            continue;
        }
        call_reply_item(c->w, &value);
        hash_remove(&t.col, field);
        removed[n++] = field;
    }
    if (n != 0) {
        hash_close_announced(c, &t, "hdel", n);
        hash_propagate_del(c, &t, removed, n);
    }
    mem_free(removed);
}

/* ---- options ---- */

enum ttl_change { TTL_UNTOUCHED, TTL_AT, TTL_PERSIST, TTL_KEEP };

struct ex_options {
    enum ttl_change ttl;
    int64_t deadline_ms;
    int key_condition;   /* -1: NX, 1: XX */
    int field_condition; /* -1: FNX, 1: FXX */
    int fields_at;       /* argument of FIELDS */
};

/* A time option at argument *inout_i, which moves to its last argument. False with an error replied. */
static bool parse_time(struct call *c, int *inout_i, int64_t unit_ms, bool absolute, struct ex_options *o) {
    if (*inout_i + 1 >= c->argc) {
        call_error(c, "ERR missing expire time");
        return false;
    }
    return hash_arg_deadline(c, ++*inout_i, unit_ms, absolute, &o->deadline_ms);
}

/* One option of HSETEX that is a word by itself. False where it is none of them or stands against another one. */
static bool parse_condition(struct slice word, struct ex_options *o) {
    static const struct {
        const char *word;
        int key, field;
    } conditions[] = {{"nx", -1, 0}, {"xx", 1, 0}, {"fnx", 0, -1}, {"fxx", 0, 1}};
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        if (!slice_is(word, conditions[i].word))
            continue;
        if ((conditions[i].key != 0 && o->key_condition != 0) || (conditions[i].field != 0 && o->field_condition != 0))
            return false;
        o->key_condition += conditions[i].key;
        o->field_condition += conditions[i].field;
        return true;
    }
    return false;
}

static bool parse_options(struct call *c, bool sets, struct ex_options *o) {
    *o = (struct ex_options){.ttl = TTL_UNTOUCHED};
    int i = 2;
    for (; i < c->argc && !slice_is(c->argv[i], "fields"); i++) {
        int64_t unit_ms;
        bool absolute;
        bool time = hash_is_time_option(c->argv[i], &unit_ms, &absolute);
        bool other = slice_is(c->argv[i], sets ? "keepttl" : "persist");
        if ((time || other) && o->ttl != TTL_UNTOUCHED) {
            call_errorf(c, "ERR Only one of EX, PX, EXAT, PXAT or %s arguments can be specified",
                        sets ? "KEEPTTL" : "PERSIST");
            return false;
        }
        if (time) {
            o->ttl = TTL_AT;
            if (!parse_time(c, &i, unit_ms, absolute, o))
                return false;
        } else if (other) {
            o->ttl = sets ? TTL_KEEP : TTL_PERSIST;
        } else if (!sets || !parse_condition(c->argv[i], o)) {
            call_error_syntax(c);
            return false;
        }
    }
    o->fields_at = i;
    return true;
}

/* ---- HGETEX ---- */

/* Gives a field that is there what the options say. True when that changed something. */
static bool get_and_change(struct call *c, struct hash_target *t, struct slice field, const struct ex_options *o,
                           bool passed) {
    struct packed_item value;
    int64_t current_ms;
    if (!hash_find(&t->col, field, t->now_ms, &value, &current_ms)) {
        resp_null(c->w);
        return false;
    }
    call_reply_item(c->w, &value);
    if (o->ttl == TTL_UNTOUCHED || (o->ttl == TTL_PERSIST && current_ms == FIELD_NO_DEADLINE))
        return false;
    return passed ? hash_remove(&t->col, field)
                  : hash_set_deadline(&t->col, field, o->ttl == TTL_AT ? o->deadline_ms : FIELD_NO_DEADLINE);
}

static void hgetex_run(struct call *c) {
    struct hash_target t;
    struct hash_fields f;
    struct ex_options o;
    if (!hash_open_write(c, &t) || !parse_options(c, false, &o) ||
        !hash_arg_fields(c, o.fields_at, 1, NUMBER_ERROR, &f))
        return;
    if (t.e == NULL) {
        reply_nulls(c, f.count);
        return;
    }
    bool passed = o.ttl == TTL_AT && hash_deadline_passed(c, o.deadline_ms);
    struct slice *changed = mem_alloc((size_t)f.count * sizeof *changed);
    size_t n = 0;
    resp_array(c->w, (size_t)f.count);
    for (int i = 0; i < f.count; i++) {
        struct slice field = hash_field_arg(c, &f, i);
        if (get_and_change(c, &t, field, &o, passed))
            changed[n++] = field;
    }
    if (n != 0) {
        hash_close_announced(c, &t, passed ? "hdel" : o.ttl == TTL_AT ? "hexpire" : "hpersist", n);
        if (passed)
            hash_propagate_del(c, &t, changed, n);
        else
            hash_propagate_deadline(c, &t, o.ttl == TTL_AT ? o.deadline_ms : FIELD_NO_DEADLINE, changed, n);
    }
    mem_free(changed);
}

/* ---- HSETEX ---- */

static bool fields_allow(const struct call *c, const struct hash_target *t, const struct hash_fields *f,
                         int field_condition) {
    struct packed_item value;
    for (int i = 0; field_condition != 0 && i < f->count; i++) {
        bool there = t->e != NULL && hash_get(&t->col, hash_field_arg(c, f, i), t->now_ms, &value);
        if (there != (field_condition > 0))
            return false;
    }
    return true;
}

/* A time that has passed: what would be set is removed. */
static void remove_pairs(struct call *c, struct hash_target *t, const struct hash_fields *f) {
    struct slice *removed = mem_alloc((size_t)f->count * sizeof *removed);
    size_t n = 0;
    for (int i = 0; t->e != NULL && i < f->count; i++)
        if (hash_remove(&t->col, hash_field_arg(c, f, i)))
            removed[n++] = hash_field_arg(c, f, i);
    if (n != 0) {
        hash_close_announced(c, t, "hdel", n);
        hash_propagate_del(c, t, removed, n);
    }
    mem_free(removed);
}

/* HSET takes deadlines away, so those that the fields have now are propagated behind it. */
static void propagate_pairs(struct call *c, const struct hash_target *t, const struct hash_fields *f,
                            const struct ex_options *o) {
    size_t args = (size_t)f->count * 2;
    struct slice *argv = mem_alloc((args + 2) * sizeof *argv);
    argv[0] = SLICE_LIT("HSET");
    argv[1] = t->key.key;
    memcpy(argv + 2, c->argv + f->first, args * sizeof *argv);
    call_propagate(c, c->db, argv, (int)args + 2);
    if (o->ttl == TTL_AT) {
        for (int i = 0; i < f->count; i++)
            argv[i] = hash_field_arg(c, f, i);
        hash_propagate_deadline(c, t, o->deadline_ms, argv, (size_t)f->count);
    }
    for (int i = 0; o->ttl == TTL_KEEP && i < f->count; i++) {
        int64_t deadline_ms;
        struct slice field = hash_field_arg(c, f, i);
        if (hash_find(&t->col, field, t->now_ms, NULL, &deadline_ms) && deadline_ms != FIELD_NO_DEADLINE)
            hash_propagate_deadline(c, t, deadline_ms, &field, 1);
    }
    mem_free(argv);
}

static void set_pairs(struct call *c, struct hash_target *t, const struct hash_fields *f, const struct ex_options *o) {
    int64_t deadline_ms = o->ttl == TTL_AT     ? o->deadline_ms
                          : o->ttl == TTL_KEEP ? HASH_KEEP_DEADLINE
                                               : FIELD_NO_DEADLINE;
    if (t->e == NULL)
        t->col = hash_create(keyspace_rules(c->ks));
    for (int i = 0; i < f->count; i++)
        hash_put_until(&t->col, hash_field_arg(c, f, i), c->argv[f->first + 2 * i + 1], deadline_ms);
    hash_close_announced(c, t, "hset", (size_t)f->count);
    if (o->ttl == TTL_AT)
        call_notify(c, c->db, &t->key, NOTIFY_HASH, "hexpire");
    propagate_pairs(c, t, f, o);
}

static void hsetex_run(struct call *c) {
    struct hash_target t;
    struct hash_fields f;
    struct ex_options o;
    if (!hash_open_write(c, &t) || !parse_options(c, true, &o) || !hash_arg_fields(c, o.fields_at, 2, NUMBER_ERROR, &f))
        return;
    bool allowed =
        (o.key_condition == 0 || (t.e != NULL) == (o.key_condition > 0)) && fields_allow(c, &t, &f, o.field_condition);
    if (allowed && o.ttl == TTL_AT && hash_deadline_passed(c, o.deadline_ms))
        remove_pairs(c, &t, &f);
    else if (allowed)
        set_pairs(c, &t, &f, &o);
    resp_int(c->w, allowed);
}

#define EX_ROW(name_, arity_, flags_, key_flags_, run_)                                                                \
    {                                                                                                                  \
        .name = (name_), .group = "hash", .since = "8.0.0", .arity = (arity_),                                         \
        .flags = COMMAND_WRITE | COMMAND_FAST | (flags_), .acl = ACL_HASH, .keys = {ROW_KEY(KEY_RW | (key_flags_))},   \
        .run = (run_)                                                                                                  \
    }

static const struct command rows[] = {
    EX_ROW("hgetdel", -5, 0, KEY_ACCESS | KEY_DELETE, hgetdel_run),
    EX_ROW("hgetex", -5, COMMAND_WRITES_7_4, KEY_ACCESS | KEY_UPDATE, hgetex_run),
    EX_ROW("hsetex", -6, COMMAND_DENYOOM | COMMAND_WRITES_7_4, KEY_UPDATE, hsetex_run),
};

void hash_ex_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
