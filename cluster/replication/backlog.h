/* The backlog: the last bytes of the change log, kept so that a replica whose link broke can go on.
 *
 * It is a cursor that follows the end of the log at a distance of `size_bytes`. Segments are shared with whoever reads
 * the log, so a replica that lags costs memory only beyond the backlog. Thread: the loop's thread. Nothing fails.
 */
#ifndef HF_REPLICATION_BACKLOG_H
#define HF_REPLICATION_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "server/log/changelog.h"

struct backlog {
    struct changelog *log;
    struct changelog_cursor *tail; /* NULL: closed */
    uint64_t size_bytes;
};

/* Begins to keep what is appended from now on. Nothing where it is open. */
void backlog_open(struct backlog *b);
void backlog_close(struct backlog *b);
static inline bool backlog_is_open(const struct backlog *b) {
    return b->tail != NULL;
}
/* Lets go of what is too old. Each cycle. */
void backlog_trim(struct backlog *b);
/* Oldest offset that is kept, and how many bytes from there. Open only. */
uint64_t backlog_first(const struct backlog *b);
uint64_t backlog_bytes(const struct backlog *b);

#endif
