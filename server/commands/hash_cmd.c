#include "config.h"

#include "server/commands/hash_int.h"

#include <limits.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/commands.h"

/* ---- opening and closing ---- */

static void open_entry(struct call *c, struct hash_target *t) {
    t->now_ms = keyspace_field_now_ms(c->ks);
    if (t->e != NULL)
        t->col = call_collection(c, t->e);
}

bool hash_open_read(struct call *c, struct hash_target *t) {
    t->key = call_key(c, 1);
    if (!call_find_read_type(c, &t->key, VALUE_HASH, &t->e))
        return false;
    open_entry(c, t);
    return true;
}

bool hash_open_write(struct call *c, struct hash_target *t) {
    t->key = call_key(c, 1);
    if (!call_find_write_type(c, &t->key, VALUE_HASH, &t->e))
        return false;
    if (t->e != NULL && entry_encoding(t->e) != VALUE_ENC_LISTPACK)
        keyspace_expire_fields(c->ks, c->db, &t->key, t->e);
    open_entry(c, t);
    return true;
}

bool hash_open_create(struct call *c, struct hash_target *t) {
    if (!hash_open_write(c, t))
        return false;
    if (t->e == NULL)
        t->col = hash_create(keyspace_rules(c->ks));
    return true;
}

bool hash_close(struct call *c, struct hash_target *t) {
    return call_collection_store(c, &t->key, t->e, VALUE_HASH, &t->col);
}

void hash_close_announced(struct call *c, struct hash_target *t, const char *event, size_t fields) {
    bool was = t->e != NULL;
    bool there = hash_close(c, t);
    call_changed(c, &t->key, NOTIFY_HASH, event);
    c->dirty += fields - 1;
    if (was && !there)
        call_notify(c, c->db, &t->key, NOTIFY_GENERIC, "del");
}

/* ---- arguments ---- */

bool hash_arg_fields(struct call *c, int i, int width, const char *number_error, struct hash_fields *ret_fields) {
    int64_t n;
    if (i + 1 >= c->argc || !slice_is(c->argv[i], "fields")) {
        call_error(c, "ERR Mandatory argument FIELDS is missing or not at the right position");
        return false;
    }
    if (!call_arg_i64_range(c, i + 1, 1, INT64_MAX, number_error, &n))
        return false;
    int given = c->argc - i - 2;
    if (n > INT_MAX / width || given != n * width) {
        call_error(c, "ERR The `numfields` parameter must match the number of arguments");
        return false;
    }
    *ret_fields = (struct hash_fields){.first = i + 2, .count = (int)n, .width = width};
    return true;
}

/* The latest deadline of a field: a quarter of what 48 bits hold, in the year 4199. */
#define DEADLINE_MAX_MS INT64_C(70368744177663)

bool hash_arg_deadline(struct call *c, int i, int64_t unit_ms, bool absolute, int64_t *ret_ms) {
    int64_t v;
    if (!call_arg_i64(c, i, &v))
        return false;
    if (v < 0) {
        call_error(c, "ERR invalid expire time, must be >= 0");
        return false;
    }
    int64_t base_ms = absolute ? 0 : call_now_ms(c);
    if (v > DEADLINE_MAX_MS / unit_ms || v * unit_ms > DEADLINE_MAX_MS - base_ms) {
        call_errorf(c, "ERR invalid expire time in '%s' command", c->cmd->full_name);
        return false;
    }
    *ret_ms = v * unit_ms + base_ms;
    return true;
}

bool hash_is_time_option(struct slice word, int64_t *ret_unit_ms, bool *ret_absolute) {
    bool ex = slice_is(word, "ex"), px = slice_is(word, "px");
    bool exat = slice_is(word, "exat"), pxat = slice_is(word, "pxat");
    *ret_unit_ms = ex || exat ? 1000 : 1;
    *ret_absolute = exat || pxat;
    return ex || px || exat || pxat;
}

bool hash_deadline_passed(const struct call *c, int64_t deadline_ms) {
    return deadline_ms <= call_now_ms(c) && keyspace_expiry_mode(c->ks) == KEYSPACE_EXPIRE_DELETE;
}

/* ---- propagation ---- */

static void propagate(struct call *c, const struct slice *head, size_t head_len, const struct slice *fields, size_t n) {
    struct slice *argv = mem_alloc((head_len + n) * sizeof *argv);
    memcpy(argv, head, head_len * sizeof *argv);
    memcpy(argv + head_len, fields, n * sizeof *argv);
    call_propagate(c, c->db, argv, (int)(head_len + n));
    mem_free(argv);
}

void hash_propagate_del(struct call *c, const struct hash_target *t, const struct slice *fields, size_t n) {
    const struct slice head[2] = {SLICE_LIT("HDEL"), t->key.key};
    propagate(c, head, 2, fields, n);
}

void hash_propagate_deadline(struct call *c, const struct hash_target *t, int64_t deadline_ms,
                             const struct slice *fields, size_t n) {
    char deadline[NUM_I64_CHARS], count[NUM_I64_CHARS];
    struct slice head[5] = {SLICE_LIT("HPEXPIREAT"), t->key.key};
    size_t len = 2;
    if (deadline_ms == FIELD_NO_DEADLINE)
        head[0] = SLICE_LIT("HPERSIST");
    else
        head[len++] = slice_of(deadline, num_format_i64(deadline, deadline_ms));
    head[len++] = SLICE_LIT("FIELDS");
    head[len++] = slice_of(count, num_format_u64(count, n));
    propagate(c, head, len, fields, n);
}

void hash_commands_register(struct command_table *t) {
    hash_get_register(t);
    hash_set_register(t);
    hash_scan_register(t);
    hash_expire_register(t);
    hash_ex_register(t);
}
