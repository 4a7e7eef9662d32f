#include "config.h"

#include "cluster/replication/replication_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/logging.h"

/* The stream of the meantime, on the replica's side: taken out of the frames, put aside while the snapshot comes and is
 * loaded, executed afterwards. It is executed in pieces, one a cycle, and what comes meanwhile is put behind it, so
 * that the primary never has to wait for this node.
 *
 * What is here outlives the connection: it is executed before the next attempt, which then asks to continue behind it.
 * Unless frames are still to come: then it is of no use without the rest of the snapshot. */

#define PIECE_BYTES (1024 * 1024)

static const char *spool_failure(int error) {
    static char text[160];
    snprintf(text, sizeof text, "the stream of the meantime cannot be put aside: %s", strerror(-error));
    return text;
}

int link_take_payload(struct replication *r, size_t *ret_payload, size_t *ret_used, const char **ret_reason) {
    struct link *l = &r->link;
    struct transfer *t = &l->transfer;
    size_t at = 0, skip, n;
    int rc = 0;
    *ret_payload = *ret_used = 0;
    if (!t->has_frames) {
        transfer_take(t, l->in.data, l->in.len, ret_payload, ret_used);
        return 0;
    }
    for (bool more = true; more && rc == 0;) {
        enum frames_got got = frames_take(&l->frames, l->in.data + at, l->in.len - at, &skip, &n);
        at += skip;
        switch (got) {
        case FRAMES_BAD:
            *ret_reason = l->frames.reason;
            return -1;
        case FRAMES_GOT_CHANGES:
            rc = spool_append(&l->spool, l->in.data + at, n);
            at += n;
            break;
        case FRAMES_GOT_SIZE:
            t->total_bytes = l->frames.size;
            break;
        case FRAMES_GOT_SNAPSHOT:
            *ret_payload = *ret_used = n;
            t->taken_bytes = l->frames.taken;
            more = false;
            break;
        case FRAMES_GOT_END:
            t->done = l->spools = true;
            more = false;
            break;
        case FRAMES_MORE:
            more = false;
            break;
        }
    }
    if (rc < 0) {
        *ret_reason = spool_failure(rc);
        return -1;
    }
    if (at > 0)
        buf_consume(&l->in, at);
    return 0;
}

/* The rest of the stream does not join what is here. */
static void fail(struct replication *r, const char *reason) {
    spool_clear(&r->link.spool);
    link_close(r, reason);
}

void link_spool_input(struct replication *r, size_t from) {
    struct link *l = &r->link;
    int rc = spool_append(&l->spool, l->in.data + from, l->in.len - from);
    l->in.len = from;
    if (rc < 0)
        fail(r, spool_failure(rc));
}

void link_drain_without_connection(struct replication *r, int db) {
    struct link *l = &r->link;
    link_begin_stream(r, db);
    engine_set_primary_link(r->engine, NULL, NULL, NULL, NULL);
    l->state = LINK_DRAINS;
}

void link_drain_spool(struct replication *r) {
    struct link *l = &r->link;
    if (buf_try_reserve(&l->in, PIECE_BYTES) != 0) {
        fail(r, "out of memory for what the primary sends");
        return;
    }
    ssize_t n = spool_take(&l->spool, l->in.data + l->in.len, PIECE_BYTES);
    if (n < 0) {
        fail(r, spool_failure((int)n));
        return;
    }
    l->in.len += (size_t)n;
    link_take_stream(r);
    if (l->state != LINK_STREAM && l->state != LINK_DRAINS)
        return;
    loop_dont_wait(r->loop);
    if (!spool_is_empty(&l->spool))
        return;
    log_notice("The changes of the meantime are applied; at most %" PRIu64 " bytes of them waited",
               l->spool.peak_bytes);
    spool_clear(&l->spool);
    if (l->state == LINK_DRAINS) {
        link_end_stream(r);
        buf_clear(&l->in); /* the beginning of a group: it comes again */
        l->spools = false;
        l->state = LINK_WAITS;
        link_retry(r);
    }
}
