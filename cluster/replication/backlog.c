#include "config.h"

#include "cluster/replication/backlog.h"

#include "server/base/assert.h"

/* Moved on in steps, for every move looks at all cursors of the log. */
#define STEP_BYTES 65536

void backlog_open(struct backlog *b) {
    if (b->tail != NULL)
        return;
    b->tail = changelog_cursor_create(b->log, changelog_sealed(b->log));
    HF_ASSERT(b->tail != NULL);
}

void backlog_close(struct backlog *b) {
    changelog_cursor_destroy(b->tail);
    b->tail = NULL;
}

void backlog_trim(struct backlog *b) {
    if (b->tail == NULL)
        return;
    uint64_t bytes = backlog_bytes(b);
    uint64_t over = bytes > b->size_bytes ? bytes - b->size_bytes : 0;
    if (over >= STEP_BYTES || (over > 0 && b->size_bytes < STEP_BYTES))
        changelog_cursor_advance(b->tail, (size_t)over);
}

uint64_t backlog_first(const struct backlog *b) {
    return changelog_cursor_offset(b->tail);
}

uint64_t backlog_bytes(const struct backlog *b) {
    return changelog_sealed(b->log) - changelog_cursor_offset(b->tail);
}
