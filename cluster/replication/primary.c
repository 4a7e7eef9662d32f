#include "config.h"

#include "cluster/replication/replication_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* Our replicas. A client becomes one in steps:
 *
 *   INTRODUCES ─PSYNC→ ONLINE                                         it can continue
 *              └PSYNC→ WAITS → MAKING → SENDING → ONLINE              the snapshot goes through a file
 *                            └────────→ SENDING → LOADS ─ACK→ ONLINE  it is sent while it is made
 *
 * From FULLRESYNC or CONTINUE on its cursor keeps what is appended. A stream that follows a snapshot without a length
 * waits for the replica's first acknowledgement: it finds the end of the snapshot by a mark that must be the last it
 * has read. With frames (frames.h) the stream goes out from the beginning, and nothing waits for the snapshot.
 *
 * Invariants: ONLINE has a cursor; SENDING and MAKING belong to a session or have a file; INTRODUCES and WAITS have
 * neither. */

#define STREAM_BYTES (1024 * 1024)
#define IP_BYTES_MAX 46
/* Replicas of a primary that was away come back at once; who comes later for the first time was sent by somebody. */
#define EMPTY_START_US 60000000

struct replica *replica_of(const struct client *cl) {
    return cl->source == &replica_source ? cl->source_ctx : NULL;
}

/* ---- what it is fed ---- */

static int source_iov(void *ctx, struct iovec *iov, int max, size_t *ret_bytes) {
    struct replica *p = ctx;
    switch (p->state) {
    case REPLICA_ONLINE:
        return changelog_cursor_iov(p->cursor, iov, max, STREAM_BYTES, ret_bytes);
    case REPLICA_MAKING:
    case REPLICA_SENDING:
        if (p->frames.used)
            return full_sync_frames_iov(p, iov, max, ret_bytes);
        return p->state == REPLICA_SENDING ? full_sync_iov(p, iov, ret_bytes) : 0;
    case REPLICA_LOADS:
        return p->frames.used ? changelog_cursor_iov(p->cursor, iov, max, STREAM_BYTES, ret_bytes) : 0;
    default:
        return 0;
    }
}

static void source_written(void *ctx, size_t n) {
    struct replica *p = ctx;
    if (p->state == REPLICA_ONLINE || p->state == REPLICA_LOADS)
        changelog_cursor_advance(p->cursor, n);
    else if (p->frames.used)
        full_sync_frames_written(p, n);
    else
        full_sync_written(p, n);
}

/* What lies within the backlog is kept anyhow. */
static size_t source_held(const void *ctx) {
    const struct replica *p = ctx;
    if (p->cursor == NULL)
        return 0;
    uint64_t lag = changelog_sealed(p->r->log) - changelog_cursor_offset(p->cursor);
    return lag > p->r->backlog.size_bytes ? (size_t)lag : 0;
}

static void source_closed(void *ctx) {
    struct replica *p = ctx;
    struct replication *r = p->r;
    if (p->state != REPLICA_INTRODUCES) {
        char name[160];
        replica_describe(p, name, sizeof name);
        if (p->state == REPLICA_DONE)
            log_notice("RDB-only replica %s has left", name);
        else
            log_notice("Connection with replica %s lost.", name);
    }
    full_sync_leave(p);
    changelog_cursor_destroy(p->cursor);
    r->net_out += p->client->net_out;
    size_t i = 0;
    while (r->replicas[i] != p)
        i++;
    memmove(&r->replicas[i], &r->replicas[i + 1], (r->replica_count - i - 1) * sizeof *r->replicas);
    r->replica_count--;
    mem_free(p);
    if (replicas_attached(r) == 0) {
        r->no_replicas_since_us = clock_mono_us();
        engine_set_replicated(r->engine, false);
    }
    role_update_guard(r);
}

const struct client_source replica_source = {
    .iov = source_iov, .written = source_written, .held_bytes = source_held, .closed = source_closed};

static struct replica *replica_make(struct replication *r, struct client *cl) {
    struct replica *p = replica_of(cl);
    if (p != NULL)
        return p;
    p = mem_calloc(1, sizeof *p);
    p->r = r;
    p->client = cl;
    p->fd = -1;
    if (r->replica_count == r->replica_cap) {
        r->replica_cap = r->replica_cap ? r->replica_cap * 2 : 8;
        r->replicas = mem_realloc(r->replicas, r->replica_cap * sizeof *r->replicas);
    }
    r->replicas[r->replica_count++] = p;
    client_set_source(cl, &replica_source, p);
    return p;
}

void replica_ip(const struct replica *p, char *dst, size_t dst_bytes) {
    char addr[CONN_ADDR_CHARS];
    conn_peer_addr(p->client->conn, addr);
    char *colon = strrchr(addr, ':');
    if (colon != NULL)
        *colon = '\0';
    char *ip = addr;
    size_t n = strlen(ip);
    if (ip[0] == '[' && ip[n - 1] == ']') {
        ip[n - 1] = '\0';
        ip++;
    }
    snprintf(dst, dst_bytes, "%s", p->ip[0] != '\0' ? p->ip : ip);
}

void replica_describe(const struct replica *p, char *dst, size_t dst_bytes) {
    char ip[CONN_ADDR_CHARS];
    replica_ip(p, ip, sizeof ip);
    if (p->port != 0)
        snprintf(dst, dst_bytes, strchr(ip, ':') != NULL ? "[%s]:%d" : "%s:%d", ip, p->port);
    else
        snprintf(dst, dst_bytes, "%s:<unknown-replica-port>", ip);
}

bool replica_is_attached(const struct replica *p) {
    return p->state != REPLICA_INTRODUCES && !(p->client->flags & CLIENT_CLOSE_ASAP);
}

size_t replicas_attached(const struct replication *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->replica_count; i++)
        n += replica_is_attached(r->replicas[i]);
    return n;
}

bool replicas_older(const struct replication *r, unsigned version) {
    bool older = false;
    for (size_t i = 0; i < r->replica_count && !older; i++) {
        const struct replica *p = r->replicas[i];
        older = replica_is_attached(p) && !(p->capa & REPLICA_CAPA_HOLDFAST) && p->version < version;
    }
    return older;
}

size_t replicas_good(const struct replication *r) {
    size_t n = 0;
    int64_t now = engine_now_us(r->engine);
    for (size_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        n += replica_is_attached(p) && p->state == REPLICA_ONLINE &&
             (now - p->acked_us) / 1000000 <= r->options.min_replicas_max_lag_s;
    }
    return n;
}

void replica_drop(struct replica *p, const char *reason) {
    char name[160];
    replica_describe(p, name, sizeof name);
    log_warning("Disconnecting replica %s: %s", name, reason);
    client_close_asap(p->client);
}

void replicas_disconnect(struct replication *r, const char *reason) {
    for (size_t i = 0; i < r->replica_count; i++) {
        struct replica *p = r->replicas[i];
        if (p->state == REPLICA_INTRODUCES)
            continue;
        if (replica_is_attached(p))
            replica_drop(p, reason);
        full_sync_leave(p);
        p->state = REPLICA_DONE;
        changelog_cursor_destroy(p->cursor);
        p->cursor = NULL;
    }
}

void replica_online(struct replica *p) {
    char name[160];
    replica_describe(p, name, sizeof name);
    p->state = REPLICA_ONLINE;
    p->acked_us = clock_mono_us();
    log_notice("Synchronization with replica %s succeeded", name);
    client_feed(p->client);
}

/* ---- the log's own groups ---- */

void primary_append(struct replication *r, const char *const *words, int n) {
    struct slice argv[8];
    struct buf b = BUF_INIT;
    for (int i = 0; i < n; i++)
        argv[i] = slice_cstr(words[i]);
    resp_append_command(&b, argv, n);
    changelog_append(r->log, b.data, b.len);
    changelog_end_group(r->log);
    buf_deinit(&b);
}

/* ---- REPLCONF ---- */

static void take_ack(struct call *c, struct replica *p) {
    int64_t offset;
    if (p == NULL || !replica_is_attached(p))
        return;
    for (int i = 1; i + 1 < c->argc; i += 2) {
        bool received = slice_is(c->argv[i], "ack");
        if ((!received && !slice_is(c->argv[i], "fack")) || num_parse_i64(c->argv[i + 1], &offset) != 0 || offset < 0)
            continue;
        if ((uint64_t)offset > changelog_sealed(p->r->log)) {
            char reason[128];
            snprintf(reason, sizeof reason, "it acknowledges %" PRIu64 " bytes that were never written",
                     (uint64_t)offset - changelog_sealed(p->r->log));
            replica_drop(p, reason);
            return;
        }
        uint64_t *field = received ? &p->acked : &p->durable;
        if ((uint64_t)offset > *field)
            *field = (uint64_t)offset;
    }
    p->acked_us = engine_now_us(p->r->engine);
    if (p->state == REPLICA_LOADS)
        replica_online(p);
}

static bool take_filter(struct call *c, struct replica *p, struct slice words) {
    char **word;
    size_t *len;
    int n;
    if (resp_split_line(words, &word, &len, &n) != 0) {
        call_error(c, "ERR Missing rdb-filter-only values");
        return false;
    }
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        ok = strcmp(word[i], "functions") == 0;
        if (!ok)
            call_errorf(c, "ERR Unsupported rdb-filter-only option: %s", word[i]);
    }
    resp_free_words(word, len, n);
    p->without_data = p->without_data || ok;
    return ok;
}

static bool take_version(struct replica *p, struct slice s) {
    unsigned part[3] = {0, 0, 0};
    char text[32];
    if (s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (sscanf(text, "%3u.%3u.%3u", &part[0], &part[1], &part[2]) != 3)
        return false;
    p->version = (part[0] & 255) << 16 | (part[1] & 255) << 8 | (part[2] & 255);
    return true;
}

/* One pair of REPLCONF. False: an error was replied. */
static bool take_option(struct call *c, struct replica *p, struct slice name, struct slice value, int i) {
    int64_t v;
    if (slice_is(name, "listening-port")) {
        if (!call_arg_i64_range(c, i, 0, 65535, NULL, &v))
            return false;
        p->port = (int)v;
    } else if (slice_is(name, "ip-address")) {
        if (value.n >= IP_BYTES_MAX) {
            call_errorf(c, "ERR REPLCONF ip-address provided by replica instance is too long: %zu bytes", value.n);
            return false;
        }
        memcpy(p->ip, value.p, value.n);
        p->ip[value.n] = '\0';
    } else if (slice_is(name, "capa")) {
        p->capa |= slice_is(value, "eof") ? REPLICA_CAPA_EOF : 0u;
        p->capa |= slice_is(value, "psync2") ? REPLICA_CAPA_PSYNC2 : 0u;
        p->capa |= slice_is(value, "holdfast") ? REPLICA_CAPA_HOLDFAST : 0u;
        p->capa |= slice_is(value, "holdfast-frames") ? REPLICA_CAPA_FRAMES : 0u;
        p->capa |= slice_is(value, "holdfast-lz4") ? REPLICA_CAPA_LZ4 : 0u;
    } else if (slice_is(name, "rdb-only")) {
        if (!call_arg_i64_range(c, i, 0, 1, NULL, &v))
            return false;
        p->rdb_only = v != 0;
    } else if (slice_is(name, "rdb-filter-only")) {
        return take_filter(c, p, value);
    } else if (slice_is(name, "version")) {
        if (!take_version(p, value)) {
            call_errorf(c, "ERR Unrecognized version format: %.*s", (int)(value.n > 64 ? 64 : value.n), value.p);
            return false;
        }
    } else {
        call_errorf(c, "ERR Unrecognized REPLCONF option: %.*s", (int)(name.n > 128 ? 128 : name.n), name.p);
        return false;
    }
    return true;
}

void primary_replconf(struct call *c) {
    struct replication *r = call_context(c);
    if (c->argc % 2 == 0) {
        call_error_syntax(c);
        return;
    }
    if (c->argc >= 3 && (slice_is(c->argv[1], "ack") || slice_is(c->argv[1], "fack"))) {
        take_ack(c, replica_of(c->client)); /* never answered */
        return;
    }
    if (c->argc >= 3 && slice_is(c->argv[1], "getack")) {
        /* Of our primary: it waits for the answer on the link, not here. */
        if (c->client->flags & CLIENT_PRIMARY) {
            r->link.acked_us = 0;
            r->link.asked = changelog_sealed(r->log);
        }
        return;
    }
    if (c->client->flags & CLIENT_INTERNAL)
        return; /* an AOF may hold what a primary sent */
    for (int i = 1; i < c->argc; i += 2)
        if (!take_option(c, replica_make(r, c->client), c->argv[i], c->argv[i + 1], i + 1))
            return;
    resp_ok(c->w);
}

/* ---- PSYNC, SYNC ---- */

/* From here on what the client sends is not answered. */
static void become_replica(struct replica *p) {
    struct client *cl = p->client;
    cl->flags |= CLIENT_REPLICA | CLIENT_REPLY_OFF;
    if (conn_set_nodelay(cl->conn, !p->r->options.disable_tcp_nodelay) < 0)
        log_debug("TCP_NODELAY of a replica could not be set");
    p->waits_since_us = p->acked_us = clock_mono_us();
    engine_set_replicated(p->r->engine, true);
    role_update_guard(p->r);
}

static bool try_continue(struct call *c, struct replica *p) {
    struct replication *r = p->r;
    const struct changelog_history *h = changelog_history(r->log);
    struct resync_offer offer = {.history = h,
                                 .has_backlog = backlog_is_open(&r->backlog),
                                 .first = backlog_is_open(&r->backlog) ? backlog_first(&r->backlog) : 0,
                                 .sealed = changelog_sealed(r->log)};
    int64_t wanted;
    uint64_t offset = 0;
    char name[160];
    replica_describe(p, name, sizeof name);
    if (num_parse_i64(c->argv[2], &wanted) != 0)
        wanted = -1;
    enum resync_verdict v = resync_decide(&offer, c->argv[1], wanted, &offset);
    if (v != RESYNC_CONTINUE) {
        if (v == RESYNC_FULL_ASKED) {
            log_notice("Full resync requested by replica %s", name);
        } else {
            r->partial_refused++;
            log_notice("Partial resynchronization not accepted for replica %s: %s (it asks for %.*s:%" PRId64
                       ", the log holds %s:%" PRIu64 " to %" PRIu64 ")",
                       name, resync_verdict_text(v), (int)(c->argv[1].n > 40 ? 40 : c->argv[1].n), c->argv[1].p, wanted,
                       h->id, offer.first + 1, offer.sealed);
        }
        return false;
    }
    p->cursor = changelog_cursor_create(r->log, offset);
    if (p->cursor == NULL)
        return false;
    r->partial_ok++;
    struct buf b = BUF_INIT;
    if (p->capa & REPLICA_CAPA_PSYNC2)
        buf_printf(&b, "+CONTINUE %s\r\n", h->id);
    else
        buf_append_cstr(&b, "+CONTINUE\r\n");
    outq_append(c->w->q, b.data, b.len);
    buf_deinit(&b);
    become_replica(p);
    p->state = REPLICA_ONLINE;
    log_notice("Partial resynchronization request from %s accepted. Sending %" PRIu64
               " bytes of backlog starting from offset %" PRIu64 ".",
               name, offer.sealed - offset, offset + 1);
    client_feed(c->client);
    return true;
}

/* A node that started without data, and a replica that has a history: it may be our own, which a lost disk or a missing
 * configuration has taken from us. A snapshot of nothing would take it from the replica, too. */
static bool would_wipe(struct call *c, const struct replica *p, bool old) {
    struct replication *r = p->r;
    int64_t wanted = 0;
    char name[160];
    if (!r->empty_start || r->options.accept_empty_primary ||
        (!r->refused_history && clock_mono_us() - r->started_us > EMPTY_START_US))
        return false;
    if (old)
        return r->refused_history && !p->rdb_only;
    const struct changelog_history *h = changelog_history(r->log);
    const struct resync_offer offer = {.history = h, .has_backlog = true, .sealed = UINT64_MAX};
    uint64_t offset;
    if (num_parse_i64(c->argv[2], &wanted) != 0 || wanted <= 1 ||
        resync_decide(&offer, c->argv[1], wanted, &offset) != RESYNC_FULL_STRANGER)
        return false;
    replica_describe(p, name, sizeof name);
    if (!r->refused_history)
        log_warning(
            "This primary started without data, and replica %s brings a history that it does not know (%.*s, offset "
            "%" PRId64 "). If the data of this node are lost, promote that replica, or stop this node and bring "
            "its files back. If the replica is to be overwritten with what is here now, say CONFIG SET "
            "replica-accept-empty-primary yes. Until then the replica keeps its data and is not synchronised.",
            name, (int)(c->argv[1].n > 40 ? 40 : c->argv[1].n), c->argv[1].p, wanted - 1);
    r->refused_history = true;
    return true;
}

/* The bytes from here on are kept. Where nobody counted them until now, ids and offsets of before mean nothing. */
static void begin_history(struct replication *r) {
    if (backlog_is_open(&r->backlog))
        return;
    if (!changelog_is_active(r->log) && !r->is_replica) {
        struct changelog_history h = {.id2_offset = -1};
        rng_hex_id(h.id, CHANGELOG_ID_CHARS / 2);
        memset(h.id2, '0', CHANGELOG_ID_CHARS);
        changelog_set_history(r->log, &h);
        log_notice("Replication backlog created, my new replication IDs are '%s' and '%s'", h.id, h.id2);
    }
    backlog_open(&r->backlog);
}

void primary_psync(struct call *c, bool old) {
    struct replication *r = call_context(c);
    struct client *cl = c->client;
    if (cl->flags & (CLIENT_REPLICA | CLIENT_INTERNAL))
        return;
    if (!old && c->argc > 3 && slice_is(c->argv[3], "failover") && !failover_take_request(c))
        return;
    if (r->failover.state != FAILOVER_NONE) {
        call_error(c, "NOMASTERLINK Can't SYNC while failing over");
        return;
    }
    if (r->is_replica && r->link.state != LINK_STREAM) {
        call_error(c, "NOMASTERLINK Can't SYNC while not connected with my master");
        return;
    }
    if (!outq_empty(&cl->out)) {
        call_error(c, "ERR SYNC and PSYNC are invalid with pending output");
        return;
    }
    struct replica *p = replica_make(r, cl);
    char name[160];
    replica_describe(p, name, sizeof name);
    log_notice("Replica %s asks for synchronization", name);
    if (would_wipe(c, p, old)) {
        call_error(c, HANDSHAKE_EMPTY_PRIMARY " this primary started without data and does not overwrite yours");
        return;
    }
    if (!old && try_continue(c, p))
        return;
    p->speaks_sync = old;
    r->full_syncs++;
    begin_history(r);
    become_replica(p);
    full_sync_want(r, p);
}

/* ---- once a second ---- */

static void keep_alive(struct replica *p) {
    if (p->state != REPLICA_WAITS && p->state != REPLICA_MAKING)
        return;
    if (p->frames.used)
        p->frames.ping_due = true;
    else
        outq_append(&p->client->out, "\n", 1);
    client_feed(p->client);
}

static bool is_silent(const struct replica *p, int64_t now) {
    int64_t limit_us = p->r->options.timeout_s * 1000000;
    if (now - p->client->last_active_us <= limit_us)
        return false; /* any byte is a sign of life: while it loads it sends empty lines */
    switch (p->state) {
    case REPLICA_ONLINE:
        return !p->speaks_sync && now - p->acked_us > limit_us;
    case REPLICA_SENDING:
    case REPLICA_LOADS:
        return now - p->waits_since_us > limit_us && now - p->acked_us > limit_us;
    default:
        return false;
    }
}

static void drop_backlog(struct replication *r) {
    backlog_close(&r->backlog);
    log_notice("Replication backlog freed after %" PRId64 " seconds without connected replicas.",
               r->options.backlog_ttl_s);
    if (changelog_is_active(r->log))
        return;
    /* Changes are not counted from now on: nobody may continue this history. */
    struct changelog_history h = {.id2_offset = -1};
    rng_hex_id(h.id, CHANGELOG_ID_CHARS / 2);
    memset(h.id2, '0', CHANGELOG_ID_CHARS);
    changelog_set_history(r->log, &h);
}

void replicas_cron(struct replication *r) {
    int64_t now = clock_mono_us();
    size_t attached = 0;
    for (size_t i = 0; i < r->replica_count; i++) {
        struct replica *p = r->replicas[i];
        if (!replica_is_attached(p))
            continue;
        attached++;
        keep_alive(p);
        if (is_silent(p, now))
            replica_drop(p, "it has been silent for longer than repl-timeout");
    }
    /* Not into the middle of a transaction that is running. */
    if (attached > 0 && !r->is_replica && !engine_is_busy(r->engine) &&
        now - r->ping_us >= r->options.ping_period_s * 1000000) {
        const char *words[] = {"PING"};
        bool all = false;
        r->ping_us = now;
        /* A failover that has a deadline is not kept waiting by what the target has yet to acknowledge. */
        if (r->failover.deadline_us == 0 && (!engine_paused(r->engine, &all) || !all))
            primary_append(r, words, 1);
    }
    if (attached == 0 && !r->is_replica && backlog_is_open(&r->backlog) && r->options.backlog_ttl_s > 0 &&
        now - r->no_replicas_since_us > r->options.backlog_ttl_s * 1000000)
        drop_backlog(r);
}
