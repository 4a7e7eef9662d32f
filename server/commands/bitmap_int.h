/* What the files of the bitmap commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_BITMAP_INT_H
#define HF_COMMANDS_BITMAP_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/engine/call.h"

/* A bit position; with width ≠ 0 the form #n is accepted, which means n × width. Replies the error and returns false
 * where it is none or lies beyond proto-max-bulk-len. */
bool bitmap_arg_offset(struct call *c, int i, unsigned width, uint64_t *ret_offset);
/* Makes the key a writable string with at least last_bit + 1 bits. False when an error was replied. *ret_grew: it was
 * created or became longer. */
bool bitmap_writable(struct call *c, const struct keyref *key, uint64_t last_bit, char **ret_bytes, bool *ret_grew);

void bitmap_basic_register(struct command_table *t);
void bitfield_register(struct command_table *t);

#endif
