/* What the files of the string commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_STRING_INT_H
#define HF_COMMANDS_STRING_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/engine/call.h"

/* Arguments of this size and more become a reference-counted block of their own, which replies and copies share. */
#define STRING_RBUF_MIN (32u * 1024)

/* Replies the value of a string entry as a bulk; a large one goes by reference. */
void string_reply(struct call *c, const struct entry *e);
/* Replies bytes [start, start + n) of a string entry. */
void string_reply_range(struct call *c, const struct entry *e, size_t start, size_t n);
/* The value for an argument: an int, borrowed bytes, or an owned block. On lack of memory replies the error and returns
 * false. */
bool string_value(struct call *c, struct slice argument, struct value *ret_value);
/* True when a string may be len_bytes + more_bytes long; else replies why not. */
bool string_length_allowed(struct call *c, size_t len_bytes, size_t more_bytes);
void string_error_memory(struct call *c);

/* Propagate instead of the request: SET key value [KEEPTTL | PXAT deadline_ms], where deadline_ms may be
 * KEYSPACE_NO_DEADLINE or KEYSPACE_KEEP_DEADLINE. */
void string_propagate_set(struct call *c, struct slice key, struct slice value, int64_t deadline_ms);
void string_propagate_del(struct call *c, struct slice key);
/* PEXPIREAT key deadline_ms */
void string_propagate_deadline(struct call *c, struct slice key, int64_t deadline_ms);

void string_set_register(struct command_table *t);
void string_get_register(struct command_table *t);
void string_multi_register(struct command_table *t);
void string_range_register(struct command_table *t);
void string_counter_register(struct command_table *t);
void string_lcs_register(struct command_table *t);

#endif
