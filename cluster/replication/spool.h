/* The spool: a replica's store for the stream that comes while it receives and loads a snapshot.
 *
 * First in, first out. What is read next and what came last are in memory, SPOOL_MEMORY_BYTES each at most; what lies
 * between is in a file in the data directory, which has no name from the moment it is open and begins anew when it has
 * been read to its end.
 *
 *   take ← | front | ← file ← | back | ← append
 *
 * Ownership: embedded; fs is borrowed. Thread: the loop's thread. Errors: -errno of the file; the bytes are lost then,
 * and the link has to be closed.
 */
#ifndef HF_REPLICATION_SPOOL_H
#define HF_REPLICATION_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/fs.h"

#define SPOOL_MEMORY_BYTES (2 * 1024 * 1024)

struct spool {
    const struct fs *fs;
    struct buf front, back;
    size_t front_at;            /* read of front */
    int fd;                     /* -1: no file */
    uint64_t file_at, file_end; /* read of the file, written to it */
    uint64_t bytes;             /* in all that are still to be taken */
    uint64_t peak_bytes;
};

void spool_init(struct spool *s, const struct fs *fs);
/* Forgets what is there; memory and file are given back. */
void spool_clear(struct spool *s);
static inline bool spool_is_empty(const struct spool *s) {
    return s->bytes == 0;
}
/* 0 or -errno. */
int spool_append(struct spool *s, const void *p, size_t n) __attribute__((warn_unused_result));
/* Takes up to n bytes from the front: how many, 0 where it is empty, or -errno. */
ssize_t spool_take(struct spool *s, void *p, size_t n) __attribute__((warn_unused_result));

#endif
