/* Walking the keys: KEYS SCAN RANDOMKEY. */
#include "config.h"

#include "server/commands/keys_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/num.h"
#include "server/commands/rows.h"
#include "server/ds/glob.h"

/* What a walk shows, and the reply it goes to. */
struct walk {
    struct call *call;
    struct slice pattern;
    bool every;             /* the pattern matches all */
    const char *type_lower; /* NULL: any type; "": none */
    size_t shown;
};

static void show(void *arg, const struct entry *e) {
    struct walk *k = arg;
    if (keys_hidden(k->call->ks, e))
        return;
    struct slice key = entry_key(e);
    if (!k->every && !glob_match(k->pattern, key, false))
        return;
    if (k->type_lower != NULL && !slice_is(slice_cstr(value_type_name(entry_type(e))), k->type_lower))
        return;
    resp_bulk(k->call->w, key);
    k->shown++;
}

static int show_and_go_on(void *arg, const struct entry *e) {
    show(arg, e);
    return 0;
}

static bool matches_all(struct slice pattern) {
    return pattern.n == 1 && pattern.p[0] == '*';
}

static void keys_run(struct call *c) {
    struct walk k = {.call = c, .pattern = c->argv[1], .every = matches_all(c->argv[1])};
    struct outq_hole hole = resp_open(c->w);
    keyspace_each(c->ks, c->db, show_and_go_on, &k);
    resp_close_array(c->w, hole, k.shown);
}

/* A cursor as strtoul() reads it: a sign is accepted, blanks in front are not, a NUL ends it. */
static bool parse_cursor(struct slice s, uint64_t *ret_cursor) {
    char text[40];
    if (s.n >= sizeof text || (s.n > 0 && isspace((unsigned char)s.p[0])))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    char *end;
    errno = 0;
    uint64_t cursor = strtoull(text, &end, 10);
    if (*end != '\0' || errno == ERANGE)
        return false;
    *ret_cursor = cursor;
    return true;
}

struct scan_options {
    struct slice pattern;
    bool every;
    int64_t count;
    bool any_type;
    char type_lower[16]; /* "": a name that no type has */
};

static bool parse_scan(struct call *c, struct scan_options *o) {
    *o = (struct scan_options){.every = true, .count = 10, .any_type = true};
    for (int i = 2; i < c->argc; i += 2) {
        if (i + 1 == c->argc) {
            call_error_syntax(c);
            return false;
        }
        struct slice value = c->argv[i + 1];
        if (slice_is(c->argv[i], "count")) {
            if (!call_arg_i64(c, i + 1, &o->count))
                return false;
            if (o->count < 1) {
                call_error_syntax(c);
                return false;
            }
        } else if (slice_is(c->argv[i], "match")) {
            o->pattern = value;
            o->every = matches_all(value);
        } else if (slice_is(c->argv[i], "type")) {
            size_t n = value.n < sizeof o->type_lower ? value.n : 0;
            for (size_t at = 0; at < n; at++)
                o->type_lower[at] = (char)tolower((unsigned char)value.p[at]);
            o->type_lower[n] = '\0';
            o->any_type = false;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    return true;
}

static void scan_run(struct call *c) {
    uint64_t cursor;
    if (!parse_cursor(c->argv[1], &cursor)) {
        call_error(c, "ERR invalid cursor");
        return;
    }
    struct scan_options o;
    if (!parse_scan(c, &o))
        return;
    struct walk k = {.call = c, .pattern = o.pattern, .every = o.every, .type_lower = o.any_type ? NULL : o.type_lower};
    resp_array(c->w, 2);
    struct outq_hole cursor_hole = outq_open_hole(c->w->q);
    struct outq_hole keys_hole = resp_open(c->w);
    cursor = keyspace_scan(c->ks, c->db, cursor, (size_t)o.count, show, &k);
    resp_close_array(c->w, keys_hole, k.shown);

    char digits[NUM_I64_CHARS], head[NUM_I64_CHARS + 11];
    size_t n = num_format_u64(digits, cursor);
    int len = snprintf(head, sizeof head, "$%zu\r\n%.*s\r\n", n, (int)n, digits);
    outq_fill_hole(c->w->q, cursor_hole, head, (size_t)len);
}

static void randomkey_run(struct call *c) {
    struct entry *e = keyspace_random(c->ks, c->db);
    if (e == NULL)
        resp_null(c->w);
    else
        resp_bulk(c->w, entry_key(e));
}

static const char *const keys_tips[] = {"request_policy:all_shards", "nondeterministic_output_order", NULL};
static const char *const scan_tips[] = {"nondeterministic_output", "request_policy:special", "response_policy:special",
                                        NULL};
static const char *const randomkey_tips[] = {"request_policy:all_shards", "response_policy:special",
                                             "nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "keys",
     .group = "generic",
     .since = "1.0.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .tips = keys_tips,
     .run = keys_run},
    {.name = "scan",
     .group = "generic",
     .since = "2.8.0",
     .arity = -2,
     .flags = COMMAND_READONLY | COMMAND_TOUCHES_ARBITRARY_KEYS | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE,
     .tips = scan_tips,
     .run = scan_run},
    {.name = "randomkey",
     .group = "generic",
     .since = "1.0.0",
     .arity = 1,
     .flags = COMMAND_READONLY | COMMAND_TOUCHES_ARBITRARY_KEYS | COMMAND_WHOLE_KEYSPACE,
     .acl = ACL_KEYSPACE,
     .tips = randomkey_tips,
     .run = randomkey_run},
};

void keys_scan_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
