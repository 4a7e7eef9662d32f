/* What the files of the generic commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_KEYS_INT_H
#define HF_COMMANDS_KEYS_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/commands/commands.h"
#include "server/engine/call.h"

/* A database number as COPY and MOVE take it: what is not a number gets `error` (NULL: the usual text), what is no
 * database the usual text. */
bool keys_arg_db(struct call *c, int i, const char *error, unsigned *ret_db);
/* True where the deadline has passed and the server is one that removes due keys by itself. */
bool keys_deadline_passed(const struct call *c, int64_t deadline_ms);
/* True where an entry met by walking is due and must not be shown. */
bool keys_hidden(const struct keyspace *ks, const struct entry *e);
/* Removes a key that was found, by the lazyfree option for expiry, and propagates DEL or UNLINK instead of the request.
 */
void keys_remove_due(struct call *c, const struct keyref *key);

void keys_basic_register(struct command_table *t);
void keys_move_register(struct command_table *t);
void keys_db_register(struct command_table *t, const struct keys_hooks *hooks);
void keys_scan_register(struct command_table *t);
void keys_expire_register(struct command_table *t);
void keys_object_register(struct command_table *t);
void keys_dump_register(struct command_table *t, const struct keys_hooks *hooks);

/* The event of a key that took another one's place whole (RENAME, COPY and RESTORE with REPLACE): clients see it as new.
 * Where none was there, the keyspace announces that. */
void keys_notify_renewed(struct call *c, unsigned db, const struct keyref *key);

#endif
