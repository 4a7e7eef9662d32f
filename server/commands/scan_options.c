#include "config.h"

#include "server/commands/scan_options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "server/base/num.h"
#include "server/ds/glob.h"

/* As strtoul() reads it: a sign is accepted, blanks in front are not, a NUL ends it. */
bool scan_cursor(struct call *c, uint64_t *ret_cursor) {
    char text[40];
    struct slice s = c->argv[2];
    bool good = s.n < sizeof text && (s.n == 0 || !isspace((unsigned char)s.p[0]));
    if (good) {
        char *end;
        if (s.n != 0)
            memcpy(text, s.p, s.n);
        text[s.n] = '\0';
        errno = 0;
        *ret_cursor = strtoull(text, &end, 10);
        good = *end == '\0' && errno != ERANGE;
    }
    if (!good)
        call_error(c, "ERR invalid cursor");
    return good;
}

bool scan_options(struct call *c, const char *bare_word, struct scan_options *ret_options) {
    struct scan_options o = {.every = true, .count = 10};
    for (int i = 3; i < c->argc; i++) {
        bool last = i + 1 == c->argc;
        if (!last && slice_is(c->argv[i], "count")) {
            int64_t count;
            if (!call_arg_i64(c, ++i, &count))
                return false;
            if (count < 1) {
                call_error_syntax(c);
                return false;
            }
            o.count = (size_t)count;
        } else if (!last && slice_is(c->argv[i], "match")) {
            o.pattern = c->argv[++i];
            o.every = o.pattern.n == 1 && o.pattern.p[0] == '*';
        } else if (bare_word != NULL && slice_is(c->argv[i], bare_word)) {
            o.bare = true;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    *ret_options = o;
    return true;
}

bool scan_matches(struct slice pattern, struct slice name) {
    return glob_match(pattern, name, false);
}

struct scan_reply scan_reply_begin(struct call *c) {
    struct scan_reply r;
    resp_array(c->w, 2);
    r.cursor = outq_open_hole(c->w->q);
    r.elements = resp_open(c->w);
    return r;
}

void scan_reply_end(struct call *c, struct scan_reply r, uint64_t cursor, size_t elements) {
    char digits[NUM_I64_CHARS], head[2 * NUM_I64_CHARS];
    size_t n = num_format_u64(digits, cursor);
    char *p = resp_put_header(head, '$', n);
    resp_close_array(c->w, r.elements, elements);
    memcpy(p, digits, n);
    memcpy(p + n, "\r\n", 2);
    outq_fill_hole(c->w->q, r.cursor, head, (size_t)(p + n + 2 - head));
}

void scan_reply_empty(struct call *c) {
    resp_array(c->w, 2);
    resp_bulk(c->w, SLICE_LIT("0"));
    resp_array(c->w, 0);
}
