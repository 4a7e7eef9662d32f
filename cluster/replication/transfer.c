#include "config.h"

#include "cluster/replication/transfer.h"

#include <stdio.h>
#include <string.h>

#include "server/base/num.h"

void transfer_begin(struct transfer *t) {
    memset(t, 0, sizeof *t);
    t->total_bytes = UINT64_MAX;
}

static int fail(struct transfer *t, const char *what, struct slice line) {
    snprintf(t->reason, sizeof t->reason, "%s'%.*s'", what, (int)(line.n > 80 ? 80 : line.n), line.p);
    return -1;
}

int transfer_header(struct transfer *t, struct slice line) {
    if (line.n == 0)
        return 0;
    if (line.p[0] == '-')
        return fail(t, "the primary gave up the synchronization: ", line);
    if (line.p[0] != '$')
        return fail(t, "the header of the snapshot is wrong: ", line);
    struct slice rest = slice_of(line.p + 1, line.n - 1);
    if (rest.n == 4 + TRANSFER_MARK_BYTES && memcmp(rest.p, "EOF:", 4) == 0) {
        memcpy(t->mark, rest.p + 4, TRANSFER_MARK_BYTES);
        t->has_mark = t->has_header = true;
        return 0;
    }
    if (rest.n == 6 && memcmp(rest.p, "FRAMES", 6) == 0) {
        t->has_frames = t->has_header = true;
        return 0;
    }
    uint64_t bytes;
    if (num_parse_u64(rest, &bytes) != 0 || bytes > INT64_MAX)
        return fail(t, "the length of the snapshot is wrong: ", line);
    t->total_bytes = bytes;
    t->has_header = true;
    t->done = bytes == 0;
    return 0;
}

void transfer_take(struct transfer *t, const char *p, size_t n, size_t *ret_payload, size_t *ret_used) {
    size_t payload = 0, used = 0;
    if (t->done) {
        /* All that is left is the stream's. */
    } else if (!t->has_mark) {
        uint64_t left = t->total_bytes - t->taken_bytes;
        payload = used = n < left ? n : (size_t)left;
        t->done = payload == left;
    } else {
        const char *mark = n >= TRANSFER_MARK_BYTES ? memmem(p, n, t->mark, TRANSFER_MARK_BYTES) : NULL;
        if (mark != NULL) {
            payload = (size_t)(mark - p);
            used = payload + TRANSFER_MARK_BYTES;
            t->done = true;
        } else if (n >= TRANSFER_MARK_BYTES) {
            payload = used = n - (TRANSFER_MARK_BYTES - 1); /* the mark may begin in the rest */
        }
    }
    t->taken_bytes += payload;
    *ret_payload = payload;
    *ret_used = used;
}
