/* One increment file being written: head, group commits with their annotation lines. Internal to persistence/aof.
 *
 * A commit is the bytes of whole groups and the annotation that seals them, in one writev(). State moves on only when
 * all of it is in the file; after a failure the file is cut back to the last whole commit before anything else is
 * written.
 *
 * Thread: one at a time (the loop or a log thread).
 */
#ifndef HF_AOF_WRITER_H
#define HF_AOF_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "server/base/fs.h"
#include "server/log/annotation.h"
#include "server/log/changelog.h"

struct aof_file {
    const struct fs *fs;
    int fd;
    char *name; /* in the AOF directory; owned */
    uint64_t seq;
    uint64_t key, chain;
    int64_t good_bytes; /* end of the last whole commit */
    bool is_dirty;      /* bytes may stand behind good_bytes */
    bool has_begun;     /* the BEGIN line is there */
    int select_db;      /* database that the first bytes mean, where they do not say it; -1 */
    uint64_t offset;    /* of the log, behind the last commit; valid when has_begun */
    uint64_t stated_durable;
    uint64_t stated_time_ms;
    int64_t stated_ts_s; /* last #TS line */
    char stated_id[CHANGELOG_ID_CHARS + 1];
};

/* What a commit states besides its bytes. */
struct aof_statement {
    uint64_t durable;
    uint64_t previous; /* for a BEGIN line: chain value at the end of the increment before */
    const struct changelog_history *history;
    uint64_t now_ms;
    bool timestamps;
    bool clean;
};

/* Creates path (which must not be in use) with its head, synced; the name in the directory is not yet durable. 0 or
 * -errno, then nothing is left. */
int aof_file_create(struct aof_file **ret_file, const struct fs *fs, const char *path, const char *name, uint64_t seq)
    __attribute__((warn_unused_result));
/* Opens an increment of ours to go on behind a clean seal. 0 or -errno. */
int aof_file_reopen(struct aof_file **ret_file, const struct fs *fs, const char *path, const char *name, uint64_t seq,
                    int64_t good_bytes, uint64_t key, uint64_t chain, uint64_t offset)
    __attribute__((warn_unused_result));
/* Closes and frees; NULL is fine. */
void aof_file_close(struct aof_file *f);
/* Writes one commit of the n iovecs, which end at log offset `end` and begin where the file ends (or begins, for its
 * first). n = 0 only states. 0 or -errno; the iovecs may be modified. */
int aof_file_commit(struct aof_file *f, const struct iovec *iov, int n, uint64_t begin, uint64_t end,
                    const struct aof_statement *st) __attribute__((warn_unused_result));

#endif
