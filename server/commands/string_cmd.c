#include "config.h"

#include "server/commands/string_int.h"

#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/engine/engine.h"

void string_reply(struct call *c, const struct entry *e) {
    struct value v = entry_value(e);
    switch ((enum value_repr)v.repr) {
    case VALUE_REPR_INT:
        resp_bulk_i64(c->w, v.u.i);
        break;
    case VALUE_REPR_RBUF:
        resp_bulk_rbuf(c->w, v.u.rbuf);
        break;
    default:
        resp_bulk(c->w, v.u.bytes);
        break;
    }
}

void string_reply_range(struct call *c, const struct entry *e, size_t start, size_t n) {
    struct value v = entry_value(e);
    if (v.repr == VALUE_REPR_RBUF && n >= OUTQ_REF_MIN) {
        char head[NUM_I64_CHARS + 3];
        head[0] = '$';
        size_t len = 1 + num_format_u64(head + 1, n);
        head[len++] = '\r';
        head[len++] = '\n';
        outq_append(c->w->q, head, len);
        outq_append_rbuf(c->w->q, v.u.rbuf, start, n);
        outq_append(c->w->q, "\r\n", 2);
        return;
    }
    char scratch[24];
    struct slice s = entry_string(e, scratch);
    resp_bulk(c->w, slice_of(s.p + start, n));
}

bool string_value(struct call *c, struct slice argument, struct value *ret_value) {
    if (argument.n < STRING_RBUF_MIN) {
        *ret_value = value_string(argument);
        return true;
    }
    struct rbuf *r = call_take_argument(c, argument);
    if (r == NULL) {
        r = rbuf_try_create(argument.n);
        if (r == NULL) {
            string_error_memory(c);
            return false;
        }
        memcpy(r->data, argument.p, argument.n);
        r->len = argument.n;
    }
    *ret_value = value_string_rbuf_take(r);
    return true;
}

bool string_length_allowed(struct call *c, size_t len_bytes, size_t more_bytes) {
    /* What a log or a primary says has been allowed already, maybe under another limit. */
    if (c->client->flags & CLIENT_MUST_OBEY)
        return true;
    size_t total;
    if (!num_add_size(len_bytes, more_bytes, &total) && total <= (size_t)engine_options(c->engine)->proto_max_bulk_len)
        return true;
    call_error(c, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

void string_error_memory(struct call *c) {
    call_error(c, "ERR not enough memory for a string of this size");
}

void string_propagate_set(struct call *c, struct slice key, struct slice value, int64_t deadline_ms) {
    char digits[NUM_I64_CHARS];
    struct slice argv[5] = {SLICE_LIT("SET"), key, value};
    int argc = 3;
    if (deadline_ms == KEYSPACE_KEEP_DEADLINE) {
        argv[argc++] = SLICE_LIT("KEEPTTL");
    } else if (deadline_ms != KEYSPACE_NO_DEADLINE) {
        argv[argc++] = SLICE_LIT("PXAT");
        argv[argc++] = slice_of(digits, num_format_i64(digits, deadline_ms));
    }
    call_propagate(c, c->db, argv, argc);
}

void string_propagate_del(struct call *c, struct slice key) {
    struct slice argv[2] = {SLICE_LIT("DEL"), key};
    call_propagate(c, c->db, argv, 2);
}

void string_propagate_deadline(struct call *c, struct slice key, int64_t deadline_ms) {
    char digits[NUM_I64_CHARS];
    struct slice argv[3] = {SLICE_LIT("PEXPIREAT"), key};
    argv[2] = slice_of(digits, num_format_i64(digits, deadline_ms));
    call_propagate(c, c->db, argv, 3);
}

void string_commands_register(struct command_table *t) {
    string_get_register(t);
    string_set_register(t);
    string_multi_register(t);
    string_range_register(t);
    string_counter_register(t);
    string_lcs_register(t);
}
