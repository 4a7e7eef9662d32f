/* Strings as numbers: INCR DECR INCRBY DECRBY INCRBYFLOAT. */
#include "config.h"

#include "server/commands/string_int.h"

#include <math.h>

#include "server/base/num.h"
#include "server/commands/rows.h"

static void add(struct call *c, int64_t by) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_STRING, &e))
        return;
    int64_t value = 0;
    if (e != NULL && !entry_string_is_int(e, &value)) {
        char scratch[24];
        if (num_parse_i64(entry_string(e, scratch), &value) < 0) {
            call_error_not_integer(c);
            return;
        }
    }
    if (num_add_i64(value, by, &value)) {
        call_error(c, "ERR increment or decrement would overflow");
        return;
    }
    if (e != NULL)
        keyspace_set_int(c->ks, c->db, &key, e, value);
    else
        keyspace_put(c->ks, c->db, &key, value_string_int(value), KEYSPACE_NO_DEADLINE);
    call_changed(c, &key, NOTIFY_STRING, "incrby");
    resp_int(c->w, value);
}

static void incr_run(struct call *c) {
    add(c, 1);
}

static void decr_run(struct call *c) {
    add(c, -1);
}

static void incrby_run(struct call *c) {
    int64_t by;
    if (call_arg_i64(c, 2, &by))
        add(c, by);
}

static void decrby_run(struct call *c) {
    int64_t by;
    if (!call_arg_i64(c, 2, &by))
        return;
    if (by == INT64_MIN)
        call_error(c, "ERR decrement would overflow");
    else
        add(c, -by);
}

static void incrbyfloat_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_STRING, &e))
        return;
    long double value = 0, by;
    char scratch[24];
    if (e != NULL && num_parse_ldouble(entry_string(e, scratch), &value) < 0) {
        call_error_not_float(c);
        return;
    }
    if (!call_arg_ldouble(c, 2, &by))
        return;
    value += by;
    if (isnan(value) || isinf(value)) {
        call_error(c, "ERR increment would produce NaN or Infinity");
        return;
    }
    char digits[NUM_LDOUBLE_CHARS];
    struct slice text = slice_of(digits, num_format_ldouble_human(digits, value));
    /* Never held as an int, whatever the digits: clients see embstr or raw. */
    struct value v = value_string_raw(text);
    if (text.n <= VALUE_EMBSTR_MAX)
        v.encoding = VALUE_ENC_EMBSTR;
    keyspace_put(c->ks, c->db, &key, v, e != NULL ? KEYSPACE_KEEP_DEADLINE : KEYSPACE_NO_DEADLINE);
    call_changed(c, &key, NOTIFY_STRING, "incrbyfloat");
    /* Floating point may differ between machines and versions: the result is what is repeated. */
    string_propagate_set(c, key.key, text, KEYSPACE_KEEP_DEADLINE);
    resp_bulk(c->w, text);
}

#define COUNTER_ROW(name_, since_, arity_, run_)                                                                       \
    {                                                                                                                  \
        .name = (name_), .group = "string", .since = (since_), .arity = (arity_),                                      \
        .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST, .acl = ACL_STRING,                                    \
        .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_UPDATE)}, .run = (run_)                                             \
    }

static const struct command rows[] = {
    COUNTER_ROW("incr", "1.0.0", 2, incr_run),
    COUNTER_ROW("decr", "1.0.0", 2, decr_run),
    COUNTER_ROW("incrby", "1.0.0", 3, incrby_run),
    COUNTER_ROW("decrby", "1.0.0", 3, decrby_run),
    COUNTER_ROW("incrbyfloat", "2.6.0", 3, incrbyfloat_run),
};

void string_counter_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
