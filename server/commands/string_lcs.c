/* LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN] */
#include "config.h"

#include "server/commands/string_int.h"

#include "server/base/mem.h"
#include "server/commands/lcs.h"
#include "server/commands/rows.h"
#include "server/engine/engine.h"

struct lcs_options {
    bool len, idx, with_match_len;
    size_t min_match_len;
};

static bool parse_options(struct call *c, struct lcs_options *ret_options) {
    struct lcs_options o = {0};
    for (int i = 3; i < c->argc; i++) {
        if (slice_is(c->argv[i], "len")) {
            o.len = true;
        } else if (slice_is(c->argv[i], "idx")) {
            o.idx = true;
        } else if (slice_is(c->argv[i], "withmatchlen")) {
            o.with_match_len = true;
        } else if (slice_is(c->argv[i], "minmatchlen") && i + 1 < c->argc) {
            int64_t n;
            if (!call_arg_i64(c, ++i, &n))
                return false;
            o.min_match_len = n < 0 ? 0 : (size_t)n;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    if (o.len && o.idx) {
        call_error(c, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    *ret_options = o;
    return true;
}

struct matches {
    struct call *call;
    const struct lcs_options *options;
    size_t count;
};

static void reply_match(void *arg, size_t a_start, size_t b_start, size_t len) {
    struct matches *m = arg;
    struct resp_writer *w = m->call->w;
    if (len < m->options->min_match_len)
        return;
    resp_array(w, m->options->with_match_len ? 3 : 2);
    resp_array(w, 2);
    resp_int(w, (int64_t)a_start);
    resp_int(w, (int64_t)(a_start + len - 1));
    resp_array(w, 2);
    resp_int(w, (int64_t)b_start);
    resp_int(w, (int64_t)(b_start + len - 1));
    if (m->options->with_match_len)
        resp_int(w, (int64_t)len);
    m->count++;
}

struct result {
    const char *source;
    char *bytes;
    size_t left; /* bytes not yet filled: runs come from the end */
};

static void fill_result(void *arg, size_t a_start, size_t b_start, size_t len) {
    struct result *r = arg;
    (void)b_start;
    r->left -= len;
    memcpy(r->bytes + r->left, r->source + a_start, len);
}

static void reply_lcs(struct call *c, const struct lcs *l, const struct lcs_options *o) {
    if (o->len) {
        resp_int(c->w, (int64_t)l->len);
        return;
    }
    if (o->idx) {
        resp_map(c->w, 2);
        resp_bulk(c->w, SLICE_LIT("matches"));
        struct matches m = {.call = c, .options = o};
        struct outq_hole hole = resp_open(c->w);
        lcs_walk(l, reply_match, &m);
        resp_close_array(c->w, hole, m.count);
        resp_bulk(c->w, SLICE_LIT("len"));
        resp_int(c->w, (int64_t)l->len);
        return;
    }
    struct result r = {.source = l->a.p, .bytes = mem_try_alloc(l->len + 1), .left = l->len};
    if (r.bytes == NULL) {
        string_error_memory(c);
        return;
    }
    lcs_walk(l, fill_result, &r);
    resp_bulk(c->w, slice_of(r.bytes, l->len));
    mem_free(r.bytes);
}

static void lcs_run(struct call *c) {
    struct keyref keys[2] = {call_key(c, 1), call_key(c, 2)};
    /* Finding the second key may remove it (it is due) but never touches the first, unless both are the same. */
    struct entry *first = call_find_read(c, &keys[0]);
    struct entry *second = call_find_read(c, &keys[1]);
    if ((first != NULL && entry_type(first) != VALUE_STRING) ||
        (second != NULL && entry_type(second) != VALUE_STRING)) {
        call_error(c, "ERR The specified keys must contain string values");
        return;
    }
    struct lcs_options o;
    if (!parse_options(c, &o))
        return;
    char scratch[2][24];
    struct slice a = first != NULL ? entry_string(first, scratch[0]) : slice_of("", 0);
    struct slice b = second != NULL ? entry_string(second, scratch[1]) : slice_of("", 0);
    struct lcs l;
    switch (lcs_compute(&l, a, b, !o.len, (uint64_t)engine_options(c->engine)->proto_max_bulk_len)) {
    case 0:
        reply_lcs(c, &l, &o);
        lcs_free(&l);
        break;
    case LCS_TOO_LARGE:
        call_error(c, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
        break;
    default:
        call_error(c, "ERR Insufficient memory, failed allocating transient memory for LCS");
        break;
    }
}

static const struct command rows[] = {
    {.name = "lcs",
     .group = "string",
     .since = "7.0.0",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .acl = ACL_STRING,
     .keys = {ROW_KEYS(KEY_RO | KEY_ACCESS, 1, 1, 1)},
     .run = lcs_run},
};

void string_lcs_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
