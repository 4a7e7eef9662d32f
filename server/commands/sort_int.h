/* What the files of SORT share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_SORT_INT_H
#define HF_COMMANDS_SORT_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/ds/packed.h"
#include "server/engine/call.h"

/* The argument of BY or GET: "#" is the element itself; else names of keys, with the element in the place of the first
 * asterisk, and with "->field" behind it fields of their hashes. Borrowed from the argument. */
struct sort_pattern {
    bool is_element;
    bool has_place; /* an asterisk */
    bool has_field;
    struct slice before, behind, field;
};
struct sort_pattern sort_pattern_parse(struct slice text);
/* False where keys of this pattern may lie in another slot than `key`. */
bool sort_pattern_keeps_slot(const struct keyspace *ks, struct slice text, const struct keyref *key);
/* What the pattern means for an element; false where that is not there or of another type. The value is valid until the
 * keyspace changes or `name`, which the call uses, does. */
bool sort_pattern_get(struct call *c, const struct sort_pattern *p, struct slice element, struct buf *name,
                      struct packed_item *ret_value);

#endif
