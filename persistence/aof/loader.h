/* Reading an AOF back: the multi-part directory of Redis 7, or a single file of older servers.
 *
 * Bases in RDB form go to the load_base callback; commands, of a base or an increment, to apply. Increments of ours are
 * verified (annotation chain, server/log/recovery.h) before a byte of them is applied; increments written by Redis are
 * applied command by command.
 *
 * Verdict: a torn tail (beyond every offset stated durable) is cut when load_truncated, else refused. Damage below a
 * stated durable offset is corruption: refused with file, offset and reason, whatever the options say.
 *
 * Thread: the caller's; nothing of the result is shared. Files are read with a buffer that grows to the largest group
 * commit.
 */
#ifndef HF_AOF_LOADER_H
#define HF_AOF_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "persistence/aof/manifest.h"
#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/base/slice.h"
#include "server/log/changelog.h"
#include "server/log/recovery.h"

struct loader_callbacks {
    void *ctx;
    /* Loads an RDB (or codec) base at path. rest_offset: where in the file the RDB ended (a single-file AOF goes on
     * with commands there); -1 if that is unknown because nothing may follow. 0, or nonzero with *ret_error set. */
    int (*load_base)(void *ctx, const char *path, int64_t *ret_rest_offset, struct buf *ret_error);
    /* Executes one command; argv points into the loader's buffer. 0, or nonzero with *ret_error set to stop. MULTI and
     * EXEC come through as commands. */
    int (*apply)(void *ctx, int argc, const struct slice *argv, struct buf *ret_error);
    /* A MULTI was begun and its EXEC is not in the file: forget what was queued. May be NULL. */
    void (*discard_group)(void *ctx);
    /* Bytes of all files done so far, of total. Called at least every 2 MiB. May be NULL. */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    /* A line for the log. May be NULL. */
    void (*log)(void *ctx, int level, const char *text);
};

struct loader_options {
    const char *dir, *dirname, *filename; /* as in struct aof_options */
    bool load_truncated;
    bool read_only; /* do not upgrade, truncate or delete anything (DEBUG LOADAOF, tools) */
};

struct loader_result {
    bool found;                   /* there was an AOF */
    struct aof_manifest manifest; /* as on disk now; owned */
    struct recovery_result recovery;
    uint64_t base_bytes;  /* size of the base file */
    uint64_t total_bytes; /* all files, after cutting */
    uint64_t commands;
};

enum loader_status {
    LOADER_OK = 0,    /* loaded, or there was nothing to load */
    LOADER_TRUNCATED, /* a torn tail, and load_truncated is off: refused */
    LOADER_CORRUPT,   /* refused */
    LOADER_IO,        /* a file could not be read, or is missing */
    LOADER_REFUSED    /* a callback said no */
};

/* Initialises and fills *ret_result; *ret_error gets the text for the log on anything but LOADER_OK. The caller calls
 * loader_result_deinit(). */
enum loader_status loader_load(const struct fs *fs, const struct loader_options *options,
                               const struct loader_callbacks *callbacks, struct loader_result *ret_result,
                               struct buf *ret_error) __attribute__((warn_unused_result));
/* True when dir holds an AOF (directory or single file) that loader_load() would load. */
bool loader_exists(const struct fs *fs, const struct loader_options *options);
void loader_result_deinit(struct loader_result *r);

#endif
