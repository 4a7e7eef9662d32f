/* The data set as commands: the base of an AOF where aof-use-rdb-preamble is off, readable by everything that speaks
 * the protocol.
 *
 * Thread: the owner of the keyspace, or a forked child. Errors: -errno of the first failing write.
 */
#ifndef HF_AOF_COMMAND_FORM_H
#define HF_AOF_COMMAND_FORM_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/fs.h"
#include "server/store/keyspace.h"

struct command_form_options {
    bool incremental_fsync; /* sync every few MiB, so that the last sync is short */
    bool timestamp;         /* begin with a #TS line */
    int64_t now_ms;
    /* Called about every 1,024 keys; nonzero aborts with -ECANCELED. May be NULL. */
    int (*progress)(void *arg, uint64_t keys);
    void *progress_arg;
};

/* Writes all databases to a new file at path and fsyncs it. A failure removes it. 0 or -errno. */
int command_form_write(const struct fs *fs, const char *path, const struct keyspace *ks,
                       const struct command_form_options *o) __attribute__((warn_unused_result));

#endif
