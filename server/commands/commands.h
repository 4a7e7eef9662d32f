/* The commands: what the daemon registers at start-up, one function per family.
 *
 * Thread: the loop's thread. A function registers rows of static storage; contexts and hooks are borrowed for the life
 * of the table.
 */
#ifndef HF_COMMANDS_COMMANDS_H
#define HF_COMMANDS_COMMANDS_H

#include <stdbool.h>

#include "server/engine/command.h"

/* ---- strings ---- */
void string_commands_register(struct command_table *t);

/* ---- bitmaps: SETBIT GETBIT BITCOUNT BITPOS BITOP BITFIELD BITFIELD_RO ---- */
void bitmap_commands_register(struct command_table *t);

/* ---- keys: DEL … FLUSHALL, SCAN, EXPIRE …, OBJECT, DUMP, RESTORE ---- */
/* What the generic commands need from the rest of the server. Everything may be NULL, which means the default. */
struct keys_hooks {
    void *ctx;
    /* All databases were emptied by FLUSHALL: a running save is pointless, and a snapshot that is due anyway is to be
     * replaced. */
    void (*flushed_all)(void *ctx);
    const bool *dump_compress;         /* `rdbcompression`; default on */
    const bool *restore_deep;          /* `sanitize-dump-payload`; default on */
    const bool *restore_skip_checksum; /* DEBUG SET-SKIP-CHECKSUM-VALIDATION; default off */
};
void keys_commands_register(struct command_table *t, const struct keys_hooks *hooks);

#endif
