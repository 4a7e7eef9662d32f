/* Checking and repairing AOF files, for holdfast-check-aof: every form, without executing anything.
 *
 * Reads a manifest with all its files, or one file (RDB preamble and commands, annotated or not). Reports the first
 * fault with file, offset, key and reason. A fix cuts the last file at the last good group; the caller asks the user in
 * between through `confirm`.
 *
 * Thread: the caller's. Hostile files give faults, never crashes.
 */
#ifndef HF_AOF_CHECK_H
#define HF_AOF_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/fs.h"

struct aof_check_options {
    bool fix;
    int64_t truncate_to_timestamp_s; /* -1: no. Cuts behind the last group commit at or before this Unix time */
};

struct aof_check_fault {
    const char *path;
    int64_t offset;      /* of the first bad byte as far as it can be told */
    int64_t good_offset; /* end of the last good group before it */
    int64_t size;        /* of the file */
    const char *key;     /* first key of the command (or group) that is damaged, quoted; NULL when unknown */
    const char *reason;
    bool is_torn_tail; /* beyond everything stated durable: what a crash leaves */
    bool can_fix;      /* it is in the last file */
};

struct aof_check_callbacks {
    void *ctx;
    /* Checks an RDB at path from byte 0; *ret_rest_offset is where it ends. 0, or nonzero with the reason (and offset)
     * in *ret_error. */
    int (*check_rdb)(void *ctx, const char *path, int64_t *ret_rest_offset, int64_t *ret_offset, struct buf *ret_error);
    /* One line of the report. */
    void (*report)(void *ctx, const char *line);
    /* The first fault; also reported as a line. May be NULL. */
    void (*fault)(void *ctx, const struct aof_check_fault *fault);
    /* About to cut path from size to keep_bytes: true to go on. */
    bool (*confirm)(void *ctx, const char *path, int64_t size, int64_t keep_bytes);
};

enum aof_check_status { AOF_CHECK_OK = 0, AOF_CHECK_FAULT, AOF_CHECK_FIXED, AOF_CHECK_CANCELLED, AOF_CHECK_IO };

/* path: a manifest (its first line begins with "file "), or a file of any other form. */
enum aof_check_status aof_check_path(const struct fs *fs, const char *path, const struct aof_check_options *options,
                                     const struct aof_check_callbacks *callbacks) __attribute__((warn_unused_result));

#endif
