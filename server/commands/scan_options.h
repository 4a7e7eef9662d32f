/* What SCAN and its relatives for collections share: the cursor, the options, and the reply of a cursor and an array.
 * Thread: the loop's thread. */
/* What SSCAN, HSCAN and ZSCAN have in common: a cursor, MATCH and COUNT, and the reply around the elements. Thread: the
 * loop's thread. */
#ifndef HF_COMMANDS_SCAN_OPTIONS_H
#define HF_COMMANDS_SCAN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/engine/call.h"

struct scan_options {
    struct slice pattern;
    bool every; /* the pattern matches all */
    int64_t count;
    bool any_type;
    char type_lower[16]; /* where not any_type; "": a name that no type has */
    bool no_values;
};

/* Options beside MATCH and COUNT. */
enum { SCAN_ALLOWS_TYPE = 1, SCAN_ALLOWS_NOVALUES = 2 };

bool scan_arg_cursor(struct call *c, int i, uint64_t *ret_cursor);
/* From argument `first` to the last. */
bool scan_arg_options(struct call *c, int first, unsigned allowed, struct scan_options *ret_options);
bool scan_shows(const struct scan_options *o, struct slice name);

struct scan_reply {
    struct outq_hole cursor, items;
};
struct scan_reply scan_reply_open(struct call *c);
void scan_reply_close(struct call *c, const struct scan_reply *r, uint64_t cursor, size_t items);
/* Of a key that is not there. */
void scan_reply_nothing(struct call *c);
    bool bare;  /* NOVALUES, NOSCORES: whatever bare_word says */
    size_t count;
};

/* The cursor in argument 2; false where an error was replied. */
bool scan_cursor(struct call *c, uint64_t *ret_cursor);
/* The options from argument 3 on; false where an error was replied. bare_word: an option without a value, or NULL. */
bool scan_options(struct call *c, const char *bare_word, struct scan_options *ret_options);
static inline bool scan_shows(const struct scan_options *o, struct slice name);

/* The reply: begin, the elements, end with what the cursor is then and how many elements there were. */
struct scan_reply {
    struct outq_hole cursor, elements;
};
struct scan_reply scan_reply_begin(struct call *c);
void scan_reply_end(struct call *c, struct scan_reply r, uint64_t cursor, size_t elements);
/* The reply where the key is not there. */
void scan_reply_empty(struct call *c);

/* ---- */

bool scan_matches(struct slice pattern, struct slice name);
static inline bool scan_shows(const struct scan_options *o, struct slice name) {
    return o->every || scan_matches(o->pattern, name);
}

#endif
