/* Reading increments back: the longest prefix that may be trusted, and what is wrong behind it.
 *
 * Files are given in order (base in command form, increments). A file that begins with a head line is ours: its
 * stretches are checked against the chain before a byte of them is applied. Any other file is read as Redis reads it,
 * command by command. Commands behind the last annotation of a file of ours (a commit cut short by a kill, or what a
 * Redis appended) are applied as far as they are whole groups; if the last annotation is no clean seal, they end at the
 * first argument in which a 512-byte sector of the file ends with a zero byte, the mark of a sector that did not reach
 * the disk whole.
 *
 * Verdict on the first fault, at log offset x: *corruption* when any annotation behind it, in this file or a later one,
 * states a durable offset above x, when a head is damaged, or when a foreign file has a format error; *torn* otherwise.
 * Bytes behind the fault are never applied.
 *
 * Usage: create, recovery_file() for each, recovery_finish(). Reads with a buffer that grows to the largest stretch or
 * group. Thread: the caller's.
 */
#ifndef HF_LOG_RECOVERY_H
#define HF_LOG_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/base/slice.h"
#include "server/log/changelog.h"

struct recovery_callbacks {
    void *ctx;
    /* One command; argv is valid during the call. Nonzero stops: *ret_error says why. NULL: only check. */
    int (*apply)(void *ctx, int argc, const struct slice *argv, struct buf *ret_error);
    /* MULTI was applied and its EXEC is missing: forget what was queued. May be NULL. */
    void (*discard_group)(void *ctx);
    /* n more bytes were dealt with. May be NULL. */
    void (*progress)(void *ctx, uint64_t n);
    /* What stands in file `index` from byte offset on was written at time_ms or later. offset lies between groups. May
     * be NULL. */
    void (*at_time)(void *ctx, size_t index, int64_t offset, uint64_t time_ms);
};

enum recovery_verdict {
    RECOVERY_WHOLE,   /* every byte of every file was good */
    RECOVERY_TORN,    /* cut file cut_index at cut_bytes and drop the files behind it; the fault says what is there */
    RECOVERY_CORRUPT, /* damage below what was durable */
    RECOVERY_IO,      /* a file could not be read: fault.reason */
    RECOVERY_REFUSED  /* apply said no: fault.reason */
};

struct recovery_fault {
    size_t index;       /* which file */
    int64_t offset;     /* first bad byte, as exactly as can be told */
    int64_t good_bytes; /* end of the last good group before it */
    int64_t file_bytes;
    char key[128]; /* first key of the group or stretch that is bad, printable; "" when unknown */
    char reason[256];
};

struct recovery_result {
    enum recovery_verdict verdict;
    struct recovery_fault fault; /* for all but WHOLE */
    size_t files;
    /* The log, as far as annotations tell. */
    bool annotated;         /* at least one annotation was good: the fields below are known */
    uint64_t offset;        /* of the log, behind everything applied (unsealed commands of ours are counted) */
    uint64_t sealed_offset; /* as the last annotation states: the history is certain up to here */
    uint64_t durable;       /* highest offset stated durable */
    struct changelog_history history;
    bool foreign_tail; /* commands of another program stand behind the last annotation: the history is over */
    bool clean;        /* sealed by a clean stop, nothing behind: id and offset may be continued */
    /* Continuing the last file when clean. */
    size_t last_index;
    int64_t last_bytes; /* good bytes of it */
    uint64_t last_chain, last_key, last_seq;
    bool last_is_empty;        /* it is ours and holds no bytes of the log */
    uint64_t link;             /* what the BEGIN line of an increment behind the last file links to; 0: nothing */
    uint64_t link_before_last; /* the same if the last file is taken away */
    uint64_t last_time_ms;     /* last time seen in an annotation or #TS line */
    /* Where the bytes begin that no annotation states durable: file and byte. unsynced_index = files when there are
     * none known. */
    size_t unsynced_index;
    int64_t unsynced_bytes;
    /* Where to cut, when TORN. */
    size_t cut_index;
    int64_t cut_bytes;
    uint64_t commands, stretches;
};

struct recovery;

struct recovery *recovery_create(const struct fs *fs, const struct recovery_callbacks *callbacks);
void recovery_destroy(struct recovery *r);
/* Reads the next file from byte `start` (behind an RDB preamble; else 0). may_be_torn: false for a base, whose every
 * fault is corruption. After a fault, files are only searched for statements of durability. */
void recovery_file(struct recovery *r, const char *path, int64_t start, bool may_be_torn);
/* True when a fault was found: nothing more will be applied. */
bool recovery_is_stopped(const struct recovery *r);
void recovery_finish(struct recovery *r, struct recovery_result *ret_result);

#endif
