/* Checking one snapshot file for the tools: the walk of every record and, where it fails, the search for damaged
 * chunks. */
#ifndef HF_TOOLS_CHECK_SNAPSHOT_H
#define HF_TOOLS_CHECK_SNAPSHOT_H

#include <stdbool.h>

#include "persistence/rdb/check.h"
#include "persistence/rdb/error.h"

/* verbose: aux fields and databases go to standard output as they are met. trailing: bytes may follow the snapshot. 0,
 * or -1 with *ret_error. */
int check_snapshot_file(const char *path, bool verbose, bool trailing, struct rdb_check_report *ret_report,
                        struct rdb_error *ret_error) __attribute__((warn_unused_result));
/* Prints the ranges of the file whose chunk checksums do not match, where it carries any. */
void check_snapshot_print_chunks(const char *path);

#endif
