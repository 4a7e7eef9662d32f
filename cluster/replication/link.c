#include "config.h"

#include "cluster/replication/replication_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* The link to our primary: one connection of ours, not an engine client.
 *
 *   WAITS → CONNECTING → HANDSHAKE ─CONTINUE→ STREAM
 *                                  └FULL→ HEADER → TRANSFER → LOADING → STREAM
 *                                                └───────────→ LOADING (from the wire)
 *
 * Whatever fails leads back to WAITS, and from there to the next attempt a second later. Bytes are read into one buffer
 * and taken from its front by whoever the state says. While the node is busy inside a command, and while the AOF is too
 * far behind, nothing is read from the stream: the primary's socket fills up, which is the flow control there is.
 *
 * With frames (frames.h) the stream begins before the snapshot ends. It is put aside, also while the snapshot is
 * loaded, and executed from there (link_spool.c); what comes meanwhile is put behind it. */

#define READ_BYTES (64 * 1024)
#define STREAM_READ_BYTES (1024 * 1024)
#define RETRY_US 1000000
#define FIRST_RETRY_US 50000
#define LINE_BYTES_MAX 4096

static void on_event(struct loop *loop, int fd, unsigned events, void *arg);

/* ---- closing ---- */

static void drop_conn(struct replication *r) {
    struct link *l = &r->link;
    if (l->state == LINK_STREAM) {
        engine_set_primary_link(r->engine, NULL, NULL, NULL, NULL);
        l->down_us = clock_mono_us();
    }
    conn_destroy(l->conn);
    l->conn = NULL;
    l->watches_read = l->watches_write = false;
    buf_deinit(&l->out);
    buf_init(&l->out);
}

static void close_conn(struct replication *r) {
    struct link *l = &r->link;
    if (l->state == LINK_STREAM || l->state == LINK_DRAINS)
        link_end_stream(r);
    drop_conn(r);
    link_drop_snapshot(r);
    buf_deinit(&l->in);
    buf_init(&l->in);
}

void link_close(struct replication *r, const char *reason) {
    struct link *l = &r->link;
    bool was_up = l->state == LINK_STREAM;
    if (was_up) {
        log_warning("Connection with master lost: %s", reason);
    } else if (strcmp(reason, l->last_error) != 0) {
        /* A primary that stays away is not told about every second. */
        log_warning("MASTER <-> REPLICA sync: %s", reason);
        snprintf(l->last_error, sizeof l->last_error, "%s", reason);
    }
    if (was_up && !spool_is_empty(&l->spool)) {
        drop_conn(r);
        l->state = LINK_DRAINS;
    } else if (l->state == LINK_LOADING && l->loading && l->spools) {
        drop_conn(r); /* link_load_snapshot() goes on from there */
        l->state = LINK_WAITS;
    } else {
        close_conn(r);
        l->state = LINK_WAITS;
    }
    /* The sooner it comes back, the less has to be kept for it; a primary that is gone is not asked more often. */
    l->retry_us = clock_mono_us() + (was_up ? FIRST_RETRY_US : RETRY_US);
}

void link_off(struct replication *r) {
    struct link *l = &r->link;
    close_conn(r);
    l->state = LINK_OFF;
    l->last_error[0] = '\0';
}

/* ---- events ---- */

void link_update_watch(struct replication *r) {
    struct link *l = &r->link;
    if (l->conn == NULL)
        return;
    bool write = l->state == LINK_CONNECTING || l->out.len > 0;
    bool read = l->state != LINK_CONNECTING && (l->state != LINK_LOADING || l->spools) &&
                !(l->state == LINK_STREAM && changelog_is_full(r->log) && spool_is_empty(&l->spool));
    if (read == l->watches_read && write == l->watches_write)
        return;
    unsigned events = (read ? LOOP_READABLE : 0) | (write ? LOOP_WRITABLE : 0);
    if (conn_watch(l->conn, events, on_event, r) < 0) {
        link_close(r, "the connection cannot be watched");
        return;
    }
    l->watches_read = read;
    l->watches_write = write;
}

/* What is in the buffer, as far as the socket takes it. */
static void flush(struct replication *r) {
    struct link *l = &r->link;
    while (l->conn != NULL && l->out.len > 0) {
        struct iovec iov = {l->out.data, l->out.len};
        ssize_t n = conn_writev(l->conn, &iov, 1);
        if (n == -EAGAIN)
            break;
        if (n < 0) {
            link_close(r, strerror((int)-n));
            return;
        }
        buf_consume(&l->out, (size_t)n);
    }
    link_update_watch(r);
}

void link_send(struct replication *r, const struct slice *argv, int argc) {
    resp_append_command(&r->link.out, argv, argc);
    flush(r);
}

void link_send_ack(struct replication *r) {
    struct link *l = &r->link;
    char received[NUM_I64_CHARS], durable[NUM_I64_CHARS];
    uint64_t on_disk = changelog_durable(r->log);
    struct slice argv[5] = {SLICE_LIT("REPLCONF"), SLICE_LIT("ACK"),
                            slice_of(received, num_format_u64(received, changelog_sealed(r->log))), SLICE_LIT("FACK"),
                            slice_of(durable, num_format_u64(durable, on_disk))};
    l->acked_us = clock_mono_us();
    l->told_durable = on_disk;
    link_send(r, argv, on_disk > 0 ? 5 : 3);
}

/* ---- handshake ---- */

static void begin_handshake(struct replication *r) {
    struct link *l = &r->link;
    const struct changelog_history *h = changelog_history(r->log);
    uint64_t offset = changelog_sealed(r->log);
    struct handshake_options o = {
        .user = r->options.user,
        .password = r->options.password,
        .port = r->options.announce_port != 0 ? (int)r->options.announce_port : r->parts.port(r->parts.ctx),
        .announce_ip = r->options.announce_ip,
        .id = l->history_known ? resync_id_to_ask(h, offset) : NULL,
        .offset = offset,
    };
    failover_introduce(r, &o);
    l->state = LINK_HANDSHAKE;
    handshake_begin(&l->handshake, &o, &l->out);
    flush(r);
}

static void note_connected(struct replication *r) {
    struct link *l = &r->link;
    int error = conn_errno(l->conn);
    char text[160];
    if (error != 0) {
        snprintf(text, sizeof text, "Error condition on socket for SYNC: %s", strerror(error < 0 ? -error : error));
        link_close(r, text);
        return;
    }
    if (conn_set_nodelay(l->conn, true) < 0 || conn_set_keepalive(l->conn, 60) < 0)
        log_debug("Options of the connection to the primary could not be set");
    log_verbose("Non blocking connect for SYNC fired the event.");
    l->io_us = clock_mono_us();
    begin_handshake(r);
}

/* The primary goes on where we stand; it may do so under another id. */
static void take_continue(struct replication *r) {
    struct link *l = &r->link;
    const struct handshake *hs = &l->handshake;
    struct changelog_history h = *changelog_history(r->log), old = h;
    const char *asked = hs->options.id;
    const char *now = hs->id[0] != '\0' ? hs->id : asked;
    log_notice("Successful partial resynchronization with master.");
    if (strcmp(now, h.id) != 0) {
        if (strcmp(now, asked) != 0) {
            memcpy(h.id2, asked, sizeof h.id2);
            h.id2_offset = (int64_t)changelog_sealed(r->log);
        } else {
            memset(h.id2, '0', CHANGELOG_ID_CHARS);
            h.id2_offset = -1;
        }
        memcpy(h.id, hs->id[0] != '\0' ? hs->id : old.id2, sizeof h.id);
        changelog_set_history(r->log, &h);
        log_notice("Master replication ID changed to %s", h.id);
        replicas_disconnect(r, "the replication id has changed");
    }
    link_begin_stream(r, -1);
}

static void take_line(struct replication *r, struct slice line) {
    struct link *l = &r->link;
    struct handshake *hs = &l->handshake;
    enum handshake_step before = hs->step;
    enum handshake_outcome outcome = handshake_line(hs, line, &l->out);
    if (failover_note_answer(r, before, outcome, line))
        return;
    switch (outcome) {
    case HANDSHAKE_GOES_ON:
        if (before == HANDSHAKE_PONG && hs->step != before)
            log_notice("Master replied to PING, replication can continue...");
        if (before != HANDSHAKE_PSYNC && hs->step == HANDSHAKE_PSYNC && hs->options.id != NULL)
            log_notice("Trying a partial resynchronization (request %s:%" PRIu64 ").", hs->options.id,
                       hs->options.offset + 1);
        else if (before != HANDSHAKE_PSYNC && hs->step == HANDSHAKE_PSYNC)
            log_notice("Partial resynchronization not possible (no cached master)");
        break;
    case HANDSHAKE_FULL:
        log_notice("Full resync from master: %s:%" PRIu64, hs->id, hs->offset);
        link_begin_snapshot(r);
        break;
    case HANDSHAKE_OLD:
        log_notice("Retrying with SYNC...");
        link_begin_snapshot(r);
        break;
    case HANDSHAKE_CONTINUE:
        take_continue(r);
        break;
    case HANDSHAKE_LATER:
        if (hs->primary_is_empty && l->own_history) {
            /* Somebody told this node to follow that primary: its data are to go. */
            log_notice(
                "The primary started without data; this node was a primary when it was told to follow it, and asks "
                "for its snapshot");
            l->history_known = false;
        }
        link_close(r, hs->reason);
        return;
    case HANDSHAKE_FAILED:
        link_close(r, hs->reason);
        return;
    }
    flush(r);
}

/* True when a whole line was there and has been taken. */
static bool take_lines(struct replication *r) {
    struct link *l = &r->link;
    const char *newline = l->in.len > 0 ? memchr(l->in.data, '\n', l->in.len) : NULL;
    if (newline == NULL) {
        if (l->in.len > LINE_BYTES_MAX)
            link_close(r, "the primary sends a line without end");
        return false;
    }
    size_t n = (size_t)(newline - l->in.data), used = n + 1;
    if (n > 0 && l->in.data[n - 1] == '\r')
        n--;
    char text[LINE_BYTES_MAX];
    if (n > sizeof text) {
        link_close(r, "the primary sends a line that is too long");
        return false;
    }
    memcpy(text, l->in.data, n);
    buf_consume(&l->in, used);
    if (l->state == LINK_HANDSHAKE) {
        take_line(r, slice_of(text, n));
    } else if (transfer_header(&l->transfer, slice_of(text, n)) != 0) {
        link_close(r, l->transfer.reason);
    } else if (l->transfer.has_header) {
        link_take_snapshot(r);
    }
    return true;
}

static void work_off(struct replication *r) {
    struct link *l = &r->link;
    while (l->conn != NULL && l->in.len > 0) {
        if (l->state == LINK_HANDSHAKE || l->state == LINK_HEADER) {
            if (!take_lines(r))
                break;
        } else if (l->state == LINK_TRANSFER) {
            size_t before = l->in.len;
            link_take_snapshot(r);
            if (l->state == LINK_TRANSFER && l->in.len == before)
                break;
        } else {
            if (l->state == LINK_STREAM)
                link_take_stream(r);
            break;
        }
    }
    link_update_watch(r);
}

static void on_event(struct loop *loop, int fd, unsigned events, void *arg) {
    (void)loop, (void)fd;
    struct replication *r = arg;
    struct link *l = &r->link;
    if (l->state == LINK_CONNECTING) {
        note_connected(r);
        return;
    }
    if ((events & LOOP_WRITABLE) && l->out.len > 0)
        flush(r);
    if (l->conn == NULL || !(events & LOOP_READABLE) || !l->watches_read)
        return;
    if (l->state == LINK_STREAM && engine_is_busy(r->engine) && spool_is_empty(&l->spool))
        return;
    size_t room = l->state == LINK_STREAM || l->state == LINK_LOADING ? STREAM_READ_BYTES : READ_BYTES;
    if (buf_try_reserve(&l->in, room) != 0) {
        link_close(r, "out of memory for what the primary sends");
        return;
    }
    size_t before = l->in.len;
    ssize_t n = conn_read(l->conn, l->in.data + l->in.len, l->in.cap - l->in.len);
    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        link_close(r, n == 0 ? "the primary closed the connection" : strerror((int)-n));
        return;
    }
    l->in.len += (size_t)n;
    l->io_us = clock_mono_us();
    r->net_in += (uint64_t)n;
    if (l->state == LINK_LOADING || (l->state == LINK_STREAM && !spool_is_empty(&l->spool)))
        link_spool_input(r, before); /* behind what waits already */
    else
        work_off(r);
}

/* ---- beginning ---- */

static void connect_now(struct replication *r) {
    struct link *l = &r->link;
    char text[200];
    bool first = l->last_error[0] == '\0';
    if (first)
        log_notice("Connecting to MASTER %s:%d", r->options.primary_host, r->options.primary_port);
    l->io_us = clock_mono_us();
    int rc = conn_connect(r->loop, r->options.primary_host, r->options.primary_port, NULL, &l->conn);
    if (rc < 0) {
        snprintf(text, sizeof text, "Unable to connect to MASTER: %s", strerror(-rc));
        link_close(r, text);
        return;
    }
    l->state = LINK_CONNECTING;
    if (first)
        log_notice("MASTER <-> REPLICA sync started");
    link_update_watch(r);
}

void link_start(struct replication *r) {
    struct link *l = &r->link;
    close_conn(r);
    l->state = LINK_WAITS;
    l->last_error[0] = '\0';
    l->down_us = clock_mono_us();
    connect_now(r);
}

/* ---- time ---- */

void link_retry(struct replication *r) {
    const struct link *l = &r->link;
    if (l->state == LINK_WAITS && !l->loading && clock_mono_us() >= l->retry_us && !engine_is_busy(r->engine))
        connect_now(r);
}

void link_cron(struct replication *r) {
    struct link *l = &r->link;
    int64_t now = clock_mono_us();
    bool silent = now - l->io_us > r->options.timeout_s * 1000000;
    switch (l->state) {
    case LINK_OFF:
    case LINK_WAITS:
    case LINK_DRAINS:
        break;
    case LINK_CONNECTING:
    case LINK_HANDSHAKE:
        if (silent)
            link_close(r, "Timeout connecting to the MASTER...");
        break;
    case LINK_HEADER:
    case LINK_TRANSFER:
        if (silent)
            link_close(r, "Timeout receiving bulk data from MASTER... If the problem persists try to set the "
                          "'repl-timeout' parameter to a larger value.");
        break;
    case LINK_LOADING:
        buf_append_char(&l->out, '\n'); /* a sign of life */
        flush(r);
        break;
    case LINK_STREAM:
        if (silent && !engine_is_busy(r->engine) && l->watches_read)
            link_close(r, "MASTER timeout: no data nor PING received...");
        else
            link_send_ack(r);
        break;
    }
}

void link_before_sleep(struct replication *r) {
    struct link *l = &r->link;
    if (l->state == LINK_LOADING && l->load_due && !engine_is_busy(r->engine)) {
        l->load_due = false;
        link_load_snapshot(r);
        work_off(r);
    }
    if ((l->state == LINK_STREAM || l->state == LINK_DRAINS) && !spool_is_empty(&l->spool) &&
        !engine_is_busy(r->engine) && !changelog_is_full(r->log))
        link_drain_spool(r);
    if (l->kill_due) {
        l->kill_due = false;
        if (l->state == LINK_STREAM)
            link_close(r, "the connection was killed");
    }
    /* What the primary asked for is told twice: when it is here and when it is on disk. */
    if (l->state == LINK_STREAM &&
        (l->acked_us == 0 || (l->told_durable < l->asked && changelog_durable(r->log) > l->told_durable)))
        link_send_ack(r);
    if (l->state == LINK_STREAM)
        link_update_watch(r);
}
