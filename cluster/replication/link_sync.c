#include "config.h"

#include "cluster/replication/replication_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"

/* A full sync, on the replica's side: the snapshot goes to a file and is loaded from there, or is loaded as it comes.
 * Which one `repl-diskless-load` says. Loading is done between two cycles of the loop, with cycles inside that serve
 * clients. What goes to a file is decompressed on the way: the file becomes this node's snapshot. */

#define SYNC_EVERY_BYTES (8 * 1024 * 1024)
#define WIRE_READ_BYTES (256 * 1024)
#define WIRE_WAIT_MS 10

void link_drop_snapshot(struct replication *r) {
    struct link *l = &r->link;
    const struct fs *fs = r->parts.fs;
    l->load_due = false;
    if (l->fd >= 0)
        fs->close(fs->ctx, l->fd);
    if (l->path[0] != '\0')
        fs->unlink(fs->ctx, l->path);
    l->fd = -1;
    l->path[0] = '\0';
    l->spools = false;
    unpack_deinit(&l->unpack);
    spool_clear(&l->spool);
}

void link_begin_snapshot(struct replication *r) {
    struct link *l = &r->link;
    transfer_begin(&l->transfer);
    frames_begin(&l->frames);
    l->spools = false;
    unpack_begin(&l->unpack);
    l->state = LINK_HEADER;
}

static bool is_empty(struct keyspace *ks) {
    for (unsigned db = 0; db < keyspace_databases(ks); db++)
        if (keyspace_size(ks, db) > 0)
            return false;
    return true;
}

static bool loads_from_wire(struct replication *r) {
    switch ((enum diskless_load)r->options.diskless_load) {
    case DISKLESS_LOAD_DISABLED:
        return false;
    case DISKLESS_LOAD_EMPTY:
        return is_empty(engine_keyspace(r->engine));
    case DISKLESS_LOAD_SWAP:
    case DISKLESS_LOAD_FLUSH:
        return true;
    }
    return false;
}

static void begin_transfer(struct replication *r) {
    struct link *l = &r->link;
    bool wire = loads_from_wire(r);
    const char *where = wire ? "parser" : "disk";
    l->synced_us = clock_mono_us();
    if (l->transfer.has_frames)
        log_notice("MASTER <-> REPLICA sync: receiving RDB and the stream that follows it from master, the RDB to %s",
                   where);
    else if (l->transfer.has_mark)
        log_notice("MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to %s", where);
    else
        log_notice("MASTER <-> REPLICA sync: receiving %" PRIu64 " bytes from master to %s", l->transfer.total_bytes,
                   where);
    if (wire) {
        l->state = LINK_LOADING;
        l->load_due = true;
        loop_dont_wait(r->loop);
        return;
    }
    const struct fs *fs = r->parts.fs;
    snprintf(l->path, sizeof l->path, "temp-%ld.rdb", (long)getpid());
    l->fd = fs->open(fs->ctx, l->path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (l->fd < 0) {
        char text[160];
        snprintf(text, sizeof text, "Opening the temp file needed for MASTER <-> REPLICA synchronization: %s",
                 strerror(-l->fd));
        l->path[0] = '\0';
        link_close(r, text);
        return;
    }
    l->file_bytes = 0;
    l->state = LINK_TRANSFER;
}

static void fail_write(struct replication *r, int error) {
    char text[160];
    snprintf(text, sizeof text,
             "Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA "
             "synchronization: %s",
             strerror(error < 0 ? -error : error));
    link_close(r, text);
}

static int to_file(void *arg, const void *p, size_t n) {
    struct replication *r = arg;
    struct link *l = &r->link;
    uint64_t before = l->file_bytes / SYNC_EVERY_BYTES;
    int rc = fs_write_all(r->parts.fs, l->fd, p, n);
    if (rc < 0)
        return rc;
    l->file_bytes += n;
    if (l->file_bytes / SYNC_EVERY_BYTES != before) /* so that the fsync at the end is short; a hint */
        (void)sync_file_range(l->fd, (off64_t)(before * SYNC_EVERY_BYTES), SYNC_EVERY_BYTES, SYNC_FILE_RANGE_WRITE);
    return 0;
}

static void fail_file(struct replication *r, int error) {
    if (error == -EBADMSG || error == -ENODATA)
        link_close(r, "the compressed snapshot of the primary is damaged");
    else
        fail_write(r, error);
}

static void transfer_done(struct replication *r) {
    struct link *l = &r->link;
    const struct fs *fs = r->parts.fs;
    int rc = unpack_end(&l->unpack, to_file, r);
    unpack_deinit(&l->unpack);
    if (rc < 0) {
        fail_file(r, rc);
        return;
    }
    rc = fs->fsync(fs->ctx, l->fd);
    fs->close(fs->ctx, l->fd);
    l->fd = -1;
    if (rc < 0) {
        fail_write(r, rc);
        return;
    }
    l->state = LINK_LOADING;
    l->load_due = true;
    if (l->spools)
        link_spool_input(r, 0);
    loop_dont_wait(r->loop);
}

void link_take_snapshot(struct replication *r) {
    struct link *l = &r->link;
    if (l->state == LINK_HEADER)
        begin_transfer(r);
    if (l->state != LINK_TRANSFER)
        return;
    size_t payload = 0, used = 0;
    const char *reason = NULL;
    if (link_take_payload(r, &payload, &used, &reason) != 0) {
        link_close(r, reason);
        return;
    }
    int rc = payload > 0 ? unpack_take(&l->unpack, l->in.data, payload, to_file, r) : 0;
    if (rc < 0) {
        fail_file(r, rc);
        return;
    }
    if (used > 0)
        buf_consume(&l->in, used);
    if (l->transfer.done)
        transfer_done(r);
}

/* ---- loading ---- */

struct wire {
    struct replication *r;
    size_t ready, skip; /* payload at the front of link.in, and what goes with it */
    int error;
    char reason[160];
};

/* Waits for more bytes, and serves clients meanwhile. 0 or -errno. */
static int read_more(struct wire *w) {
    struct replication *r = w->r;
    struct link *l = &r->link;
    for (;;) {
        struct pollfd p = {.fd = conn_fd(l->conn), .events = POLLIN};
        int got = poll(&p, 1, WIRE_WAIT_MS);
        if (got == 0 || (got < 0 && errno == EINTR)) {
            engine_serve_while_busy(r->engine);
            if (l->conn == NULL)
                return -ECONNABORTED;
            if (clock_mono_us() - l->io_us > r->options.timeout_s * 1000000)
                return -ETIMEDOUT;
            continue;
        }
        if (buf_try_reserve(&l->in, WIRE_READ_BYTES) != 0)
            return -ENOMEM;
        ssize_t n = conn_read(l->conn, l->in.data + l->in.len, l->in.cap - l->in.len);
        if (n == -EAGAIN)
            continue;
        if (n <= 0)
            return n == 0 ? -ECONNRESET : (int)n;
        l->in.len += (size_t)n;
        l->io_us = clock_mono_us();
        r->net_in += (uint64_t)n;
        return 0;
    }
}

static ssize_t read_wire(void *arg, void *p, size_t n) {
    struct wire *w = arg;
    struct link *l = &w->r->link;
    if (l->conn == NULL && !l->spools) /* closed while clients were served: its bytes are gone, too */
        return w->error = -ECONNABORTED;
    while (w->ready == 0) {
        size_t used = 0;
        const char *reason = NULL;
        if (l->in.len > 0 && !l->transfer.done) {
            if (link_take_payload(w->r, &w->ready, &used, &reason) != 0) {
                snprintf(w->reason, sizeof w->reason, "%s", reason);
                return w->error = -EBADMSG;
            }
            w->skip = used - w->ready;
            if (w->ready == 0 && w->skip > 0)
                buf_consume(&l->in, w->skip);
            if (w->ready > 0)
                break;
        }
        if (l->transfer.done) {
            if (l->spools && l->in.len > 0)
                link_spool_input(w->r, 0);
            link_update_watch(w->r);
            return 0;
        }
        if ((w->error = read_more(w)) != 0)
            return w->error;
    }
    size_t take = n < w->ready ? n : w->ready;
    memcpy(p, l->in.data, take);
    w->ready -= take;
    buf_consume(&l->in, w->ready == 0 ? take + w->skip : take);
    return (ssize_t)take;
}

/* The loader stops at the end of the data. With frames the end of the transfer may still be to come. */
static bool take_end(struct wire *w) {
    char c;
    return !w->r->link.transfer.has_frames || read_wire(w, &c, 1) == 0;
}

static void let_go(void *arg) {
    struct replication *r = arg;
    if (r->sync != NULL)
        full_sync_abort(r, "this node gets another history from its primary");
    replicas_disconnect(r, "this node gets another history from its primary");
    backlog_close(&r->backlog);
}

void link_load_snapshot(struct replication *r) {
    struct link *l = &r->link;
    const struct changelog_history *h = changelog_history(r->log);
    struct wire w = {.r = r};
    bool wire = l->path[0] == '\0';
    char path[sizeof l->path];
    memcpy(path, l->path, sizeof path);
    l->path[0] = '\0'; /* the file is whole: the end of the connection does not take it away any more */
    bool known = l->handshake.id[0] != '\0';
    char id[CHANGELOG_ID_CHARS + 1];
    memcpy(id, l->handshake.id, sizeof id);
    struct replication_adoption a = {
        .path = wire ? NULL : path,
        .source = wire ? read_wire : NULL,
        .source_arg = &w,
        .bytes = l->transfer.total_bytes,
        .id = known ? id : NULL,
        .offset = l->handshake.offset,
        .beside = wire && r->options.diskless_load == DISKLESS_LOAD_SWAP,
        .serve = known && l->history_known && strcmp(id, h->id) == 0,
        .lazy_flush = r->options.lazy_flush,
        .let_go = let_go,
        .let_go_arg = r,
    };
    int db = -1;
    struct buf error = BUF_INIT;
    log_notice("MASTER <-> REPLICA sync: Loading DB in memory");
    l->loading = true;
    link_update_watch(r); /* the stream may go on coming */
    enum replication_adopted got = r->parts.adopt(r->parts.ctx, &a, &db, &error);
    if (wire && got == REPLICATION_ADOPTED && !take_end(&w) && l->conn != NULL)
        link_close(r, w.reason[0] != '\0' ? w.reason : "the snapshot does not end where its frames do");
    l->loading = false;
    if (got != REPLICATION_ADOPTED) {
        if (!wire)
            r->parts.fs->unlink(r->parts.fs->ctx, path);
        log_warning("Failed trying to load the MASTER synchronization DB %s: %.*s", wire ? "from socket" : "from disk",
                    (int)error.len, error.data != NULL ? error.data : "");
        if (got == REPLICATION_ADOPT_LOST)
            l->history_known = false;
    }
    buf_deinit(&error);
    /* The connection may have gone while clients were served. */
    if (l->conn == NULL || got != REPLICATION_ADOPTED) {
        bool keeps = got == REPLICATION_ADOPTED && known && l->state == LINK_WAITS && !spool_is_empty(&l->spool);
        if (got == REPLICATION_ADOPTED)
            l->history_known = known;
        if (keeps)
            link_drain_without_connection(r, db >= 0 ? db : 0);
        else if (l->state == LINK_WAITS)
            spool_clear(&l->spool);
        else
            link_close(r, w.reason[0] != '\0' ? w.reason
                          : w.error != 0      ? strerror(-w.error)
                                              : "the snapshot of the primary could not be loaded");
        return;
    }
    log_notice("MASTER <-> REPLICA sync: Finished with success");
    l->history_known = known;
    link_begin_stream(r, db >= 0 ? db : 0);
}
