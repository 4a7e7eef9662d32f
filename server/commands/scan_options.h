/* What SCAN and its relatives for collections share: the cursor, the options, and the reply of a cursor and an array.
 * Thread: the loop's thread. */
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
    bool no_values; /* NOVALUES, NOSCORES */
};

/* Options beside MATCH and COUNT. */
enum { SCAN_ALLOWS_TYPE = 1, SCAN_ALLOWS_NOVALUES = 2, SCAN_ALLOWS_NOSCORES = 4 };

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

#endif
