#include "config.h"

#include "cluster/replication/replication_int.h"

#include "server/base/clock.h"

/* Snapshot and stream on one connection: what a member that understands frames is fed (frames.h).
 *
 * A frame's length is fixed when it is begun, from what is there. The stream goes first, for it is what takes up memory
 * here; but where it never ends every ROW_MAX + 1st frame is one of the snapshot, so that the snapshot does. */

#define FRAME_BYTES (128 * 1024)
#define ROW_MAX 7

static void open_frame(struct frame_feed *f, enum frames_kind kind, size_t n) {
    frames_put_head(f->head, kind, (uint32_t)n);
    f->head_at = 0;
    f->head_len = FRAMES_HEAD_BYTES;
    f->left = (uint32_t)n;
    f->open = true;
    f->row = kind == FRAMES_CHANGES ? f->row + 1 : 0;
}

/* Begins the next frame, if there is something to say. */
static void choose(struct replica *p, struct iovec *iov, int max) {
    struct frame_feed *f = &p->frames;
    size_t changes = 0, snapshot = 0;
    (void)changelog_cursor_iov(p->cursor, iov, max, FRAME_BYTES, &changes);
    if (p->state == REPLICA_SENDING && !f->end_due)
        (void)full_sync_iov(p, iov, &snapshot);
    bool other = snapshot > 0 || f->end_due;
    if (f->size_due) {
        open_frame(f, FRAMES_SIZE, 0);
        frames_put_size(f->head, (uint64_t)p->file_bytes);
        f->head_len = FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES;
        f->size_due = false;
    } else if (changes > 0 && (!other || f->row < ROW_MAX)) {
        open_frame(f, FRAMES_CHANGES, changes);
    } else if (snapshot > 0) {
        open_frame(f, FRAMES_SNAPSHOT, snapshot < FRAME_BYTES ? snapshot : FRAME_BYTES);
    } else if (f->end_due) {
        open_frame(f, FRAMES_END, 0);
    } else if (f->ping_due) {
        open_frame(f, FRAMES_CHANGES, 0);
    }
}

int full_sync_frames_iov(struct replica *p, struct iovec *iov, int max, size_t *ret_bytes) {
    struct frame_feed *f = &p->frames;
    size_t bytes = 0;
    int n = 0;
    if (!f->open)
        choose(p, iov, max);
    if (!f->open)
        return 0;
    if (f->head_at < f->head_len) {
        iov[n++] = (struct iovec){f->head + f->head_at, f->head_len - f->head_at};
        *ret_bytes = f->head_len - f->head_at;
    } else {
        *ret_bytes = 0;
    }
    if (f->left == 0 || n == max)
        return n;
    int more;
    if (f->head[0] == FRAMES_CHANGES) {
        more = changelog_cursor_iov(p->cursor, iov + n, max - n, f->left, &bytes);
    } else {
        more = full_sync_iov(p, iov + n, &bytes);
        if (bytes > f->left)
            iov[n].iov_len = bytes = f->left;
    }
    *ret_bytes += bytes;
    return n + more;
}

void full_sync_frames_written(struct replica *p, size_t n) {
    struct frame_feed *f = &p->frames;
    size_t head = f->head_len - f->head_at < n ? f->head_len - f->head_at : n;
    f->head_at += head;
    n -= head;
    f->left -= (uint32_t)n;
    if (f->left == 0 && f->head_at == f->head_len)
        f->open = false;
    f->ping_due = false;
    if (n > 0 && f->head[0] == FRAMES_CHANGES)
        changelog_cursor_advance(p->cursor, n);
    else if (n > 0)
        full_sync_written(p, n);
    if (f->open || f->head[0] != FRAMES_END)
        return;
    p->state = REPLICA_LOADS;
    p->acked_us = clock_mono_us();
}
