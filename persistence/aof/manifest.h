/* The manifest: which files make up the AOF, in Redis 7's format.
 *
 *     file appendonly.aof.1.base.rdb seq 1 type b
 *     file appendonly.aof.1.incr.aof seq 1 type i
 *
 * At most one base, increments in ascending sequence, history files (h) that are to be deleted. Names with blanks or
 * quotes are quoted. Keys that we do not know (`startoffset`, `endoffset` of newer servers) are read over. Replaced
 * atomically.
 *
 * Ownership: a struct aof_manifest owns its entries (deinit). Thread: any, one at a time.
 */
#ifndef HF_AOF_MANIFEST_H
#define HF_AOF_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/base/slice.h"

enum aof_file_type { AOF_FILE_BASE = 'b', AOF_FILE_HISTORY = 'h', AOF_FILE_INCR = 'i' };

struct aof_manifest_entry {
    char *name; /* without directory */
    uint64_t seq;
    enum aof_file_type type;
};

struct aof_manifest {
    struct aof_manifest_entry *entries; /* in the file's order: base, history, increments */
    size_t count, cap;
    uint64_t max_base_seq, max_incr_seq; /* over all entries, history included where the name tells */
};

void aof_manifest_init(struct aof_manifest *m);
void aof_manifest_deinit(struct aof_manifest *m);
void aof_manifest_copy(struct aof_manifest *dst, const struct aof_manifest *src); /* dst is uninitialised */
/* Appends an entry; the name is copied. */
void aof_manifest_add(struct aof_manifest *m, const char *name, uint64_t seq, enum aof_file_type type);
/* The base, or NULL. */
const struct aof_manifest_entry *aof_manifest_base(const struct aof_manifest *m);
/* The i-th increment, or NULL. */
const struct aof_manifest_entry *aof_manifest_incr(const struct aof_manifest *m, size_t i);

/* Parses text into *m (initialised, empty). 0, or -1 with the reason and line in *ret_error. */
int aof_manifest_parse(struct aof_manifest *m, struct slice text, struct buf *ret_error)
    __attribute__((warn_unused_result));
void aof_manifest_format(const struct aof_manifest *m, struct buf *out);
/* Reads path. 0, -ENOENT when there is none, another -errno, or -EINVAL for a text that is not a manifest; *ret_error
 * says why. */
int aof_manifest_load(const struct fs *fs, const char *path, struct aof_manifest *m, struct buf *ret_error)
    __attribute__((warn_unused_result));
/* Replaces path atomically and durably. 0 or -errno: then the old one or the new one is there. */
int aof_manifest_store(const struct fs *fs, const char *path, const struct aof_manifest *m)
    __attribute__((warn_unused_result));

/* Name of a file: "NAME.SEQ.base.rdb", "NAME.SEQ.base.aof", "NAME.SEQ.incr.aof". The caller frees it with mem_free().
 */
char *aof_manifest_base_name(const char *filename, uint64_t seq, bool rdb);
char *aof_manifest_incr_name(const char *filename, uint64_t seq);

#endif
