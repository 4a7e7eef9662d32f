#include "config.h"

#include "server/commands/scan_options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/num.h"
#include "server/ds/glob.h"

#define DEFAULT_COUNT 10

/* A cursor as strtoul() reads it: a sign is accepted, blanks in front are not, a NUL ends it. */
bool scan_arg_cursor(struct call *c, int i, uint64_t *ret_cursor) {
    char text[40];
    struct slice s = c->argv[i];
    if (s.n < sizeof text && (s.n == 0 || !isspace((unsigned char)s.p[0]))) {
        memcpy(text, s.p, s.n);
        text[s.n] = '\0';
        char *end;
        errno = 0;
        uint64_t cursor = strtoull(text, &end, 10);
        if (*end == '\0' && errno != ERANGE) {
            *ret_cursor = cursor;
            return true;
        }
    }
    call_error(c, "ERR invalid cursor");
    return false;
}

static void take_type(struct scan_options *o, struct slice name) {
    size_t n = name.n < sizeof o->type_lower ? name.n : 0;
    for (size_t at = 0; at < n; at++)
        o->type_lower[at] = (char)tolower((unsigned char)name.p[at]);
    o->type_lower[n] = '\0';
    o->any_type = false;
}

/* An option with a value at i + 1. False with an error replied. */
static bool take_option(struct call *c, int i, unsigned allowed, struct scan_options *o) {
    if (i + 1 == c->argc) {
        call_error_syntax(c);
        return false;
    }
    struct slice value = c->argv[i + 1];
    if (slice_is(c->argv[i], "count")) {
        if (!call_arg_i64(c, i + 1, &o->count))
            return false;
        if (o->count >= 1)
            return true;
    } else if (slice_is(c->argv[i], "match")) {
        o->pattern = value;
        o->every = value.n == 1 && value.p[0] == '*';
        return true;
    } else if (slice_is(c->argv[i], "type") && (allowed & SCAN_ALLOWS_TYPE)) {
        take_type(o, value);
        return true;
    }
    call_error_syntax(c);
    return false;
}

bool scan_arg_options(struct call *c, int first, unsigned allowed, struct scan_options *ret_options) {
    *ret_options = (struct scan_options){.every = true, .count = DEFAULT_COUNT, .any_type = true};
    for (int i = first; i < c->argc;) {
        if (((allowed & SCAN_ALLOWS_NOVALUES) && slice_is(c->argv[i], "novalues")) ||
            ((allowed & SCAN_ALLOWS_NOSCORES) && slice_is(c->argv[i], "noscores"))) {
            ret_options->no_values = true;
            i++;
            continue;
        }
        if (!take_option(c, i, allowed, ret_options))
            return false;
        i += 2;
    }
    return true;
}

bool scan_shows(const struct scan_options *o, struct slice name) {
    return o->every || glob_match(o->pattern, name, false);
}

struct scan_reply scan_reply_open(struct call *c) {
    resp_array(c->w, 2);
    struct scan_reply r = {.cursor = outq_open_hole(c->w->q)};
    r.items = resp_open(c->w);
    return r;
}

void scan_reply_close(struct call *c, const struct scan_reply *r, uint64_t cursor, size_t items) {
    resp_close_array(c->w, r->items, items);
    char digits[NUM_I64_CHARS], head[NUM_I64_CHARS + 11];
    size_t n = num_format_u64(digits, cursor);
    int len = snprintf(head, sizeof head, "$%zu\r\n%.*s\r\n", n, (int)n, digits);
    outq_fill_hole(c->w->q, r->cursor, head, (size_t)len);
}

void scan_reply_nothing(struct call *c) {
    resp_array(c->w, 2);
    resp_bulk(c->w, SLICE_LIT("0"));
    resp_array(c->w, 0);
}
