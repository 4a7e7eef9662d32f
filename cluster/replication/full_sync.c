#include "config.h"

#include "cluster/replication/replication_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/rng.h"

/* One snapshot for all who wait for one.
 *
 * The cut is the end of the log at the moment of the fork; every member gets a cursor there. With a file, the child
 * writes it, and whoever comes while it does so joins: the session keeps a cursor at the cut. When the file is complete
 * each member reads it at its own pace through a descriptor of its own, and the session is over. The session's cursor
 * is given up once it holds more than the backlog does: who comes then waits for the next snapshot.
 *
 * Without a file, the child writes to a pipe, and the bytes go to all members through a window: more is read once the
 * slowest has made room, so that memory does not grow with it. A member that keeps others waiting for more than
 * HOLD_UP_US in all is dropped. At the end of the pipe the child's exit status decides whether the end of the snapshot
 * is sent.
 *
 * done() of the child may come before the end of the pipe was read. */

#define BLOCK_BYTES (256 * 1024)
#define CHUNK_BYTES (256 * 1024)
#define WINDOW_BYTES (16 * CHUNK_BYTES)
#define HOLD_UP_US 10000000
#define PIPE_BYTES (1024 * 1024)

/* What the peers of one session have in common. */
struct session_kind {
    bool diskless, without_data, lz4;
    unsigned rdb_version;
};

struct full_sync {
    struct replication *r;
    struct session_kind kind;
    struct snapshot_options options;
    char id[CHANGELOG_ID_CHARS + 1];
    uint64_t cut;
    struct changelog_cursor *cursor; /* at the cut, for who joins */
    bool child_done, child_ok, aborted;
    int64_t started_us;
    /* diskless */
    int pipe_in, pipe_out; /* reading end; writing end, the child's */
    bool at_end, watching;
    char mark[TRANSFER_MARK_BYTES + 1];
    char *window;
    uint64_t bytes; /* read from the pipe: the last WINDOW_BYTES of them are in the window */
    int64_t checked_us;
};

/* ---- in the child ---- */

static void temp_name(char dst[64], pid_t pid) {
    snprintf(dst, 64, "temp-%ld.rdb", (long)pid);
}

static int to_pipe(void *arg, const void *p, size_t n) {
    const struct full_sync *s = arg;
    const char *at = p;
    while (n > 0) {
        ssize_t w = write(s->pipe_out, at, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

static int run_child(void *arg, struct child_link *link) {
    struct full_sync *s = arg;
    struct rdb_error error = RDB_ERROR_INIT;
    struct keyspace *ks = engine_keyspace(s->r->engine);
    if (s->kind.without_data) {
        struct keyspace_options o = {.databases = 1};
        ks = keyspace_create(&o);
    }
    int rc;
    if (s->kind.diskless) {
        close(s->pipe_in); /* else nobody would notice when the parent stops reading */
        rc = snapshot_write_stream(to_pipe, s, ks, &s->options, link, &error);
    } else {
        char path[64];
        temp_name(path, getpid());
        rc = snapshot_write_file(s->r->parts.fs, path, ks, &s->options, link, NULL, &error);
    }
    if (rc != 0) {
        log_warning("Error making the snapshot for replicas: %s", error.text);
        child_link_fail(link, error.text);
        return 1;
    }
    struct child_cow cow;
    char line[160];
    child_link_report_final(link, 0);
    child_link_cow(link, &cow);
    snapshot_cow_line("RDB", &cow, line, sizeof line);
    log_notice("%s", line);
    return 0;
}

/* ---- members ---- */

static size_t member_count(const struct full_sync *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->r->replica_count; i++)
        n += s->r->replicas[i]->sync == s && replica_is_attached(s->r->replicas[i]);
    return n;
}

static void attach(struct full_sync *s, struct replica *p) {
    p->cursor = changelog_cursor_create(s->r->log, s->cut);
    HF_ASSERT(p->cursor != NULL);
    p->sync = s;
    p->state = s->kind.diskless ? REPLICA_SENDING : REPLICA_MAKING;
    p->taken = 0;
    p->held_up_us = 0;
    p->waits_since_us = clock_mono_us();
    p->frames = (struct frame_feed){.used = (p->capa & REPLICA_CAPA_FRAMES) && !p->speaks_sync && !p->rdb_only};
    struct buf b = BUF_INIT;
    if (!p->speaks_sync)
        buf_printf(&b, "+FULLRESYNC %s %" PRIu64 "\r\n", s->id, s->cut);
    if (p->frames.used)
        buf_append_cstr(&b, "$FRAMES\r\n");
    else if (s->kind.diskless)
        buf_printf(&b, "$EOF:%s\r\n", s->mark);
    outq_append(&p->client->out, b.data, b.len);
    buf_deinit(&b);
    client_feed(p->client);
}

/* Versions up to which the peer reads snapshots: that of Redis 7.0 where nothing better is known. */
static unsigned rdb_version_of(const struct replica *p, unsigned ours) {
    if ((p->capa & REPLICA_CAPA_HOLDFAST) || p->version >= 0x070200)
        return (p->capa & REPLICA_CAPA_HOLDFAST) ? ours : 11 < ours ? 11 : ours;
    return RDB_VERSION_MIN;
}

static bool fits(const struct full_sync *s, const struct replica *p) {
    return s->cursor != NULL && s->kind.rdb_version <= rdb_version_of(p, s->kind.rdb_version) &&
           s->kind.without_data == p->without_data && (!s->kind.lz4 || (p->capa & REPLICA_CAPA_LZ4));
}

void full_sync_want(struct replication *r, struct replica *p) {
    char name[160];
    replica_describe(p, name, sizeof name);
    p->state = REPLICA_WAITS;
    p->waits_since_us = clock_mono_us();
    struct full_sync *s = r->sync;
    if (s != NULL && !s->kind.diskless && !s->child_done && !s->aborted && fits(s, p)) {
        attach(s, p);
        log_notice("Waiting for end of BGSAVE for SYNC: replica %s joins it", name);
    } else if (s != NULL) {
        log_notice(s->kind.diskless
                       ? "Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC"
                       : "Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC");
    }
}

/* ---- the end of a session ---- */

static void session_free(struct full_sync *s) {
    struct replication *r = s->r;
    if (s->pipe_in >= 0) {
        loop_forget(r->loop, s->pipe_in);
        close(s->pipe_in);
    }
    if (s->pipe_out >= 0)
        close(s->pipe_out);
    changelog_cursor_destroy(s->cursor);
    for (size_t i = 0; i < r->replica_count; i++)
        if (r->replicas[i]->sync == s)
            r->replicas[i]->sync = NULL;
    mem_free(s->window);
    mem_free(s);
    r->sync = NULL;
}

static void drop_members(struct full_sync *s, const char *reason) {
    for (size_t i = 0; i < s->r->replica_count; i++)
        if (s->r->replicas[i]->sync == s && replica_is_attached(s->r->replicas[i]))
            replica_drop(s->r->replicas[i], reason);
}

static void send_header(struct replica *p, int fd, int64_t bytes) {
    p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (p->fd < 0) {
        replica_drop(p, strerror(errno));
        return;
    }
    p->file_at = 0;
    p->file_bytes = bytes;
    p->state = REPLICA_SENDING;
    p->waits_since_us = clock_mono_us();
    p->block = mem_alloc(BLOCK_BYTES);
    p->block_at = p->block_len = 0;
    p->frames.size_due = true;
    if (!p->frames.used) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "$%" PRId64 "\r\n", bytes);
        outq_append(&p->client->out, b.data, b.len);
        buf_deinit(&b);
    }
    client_feed(p->client);
}

static void hand_out_file(struct full_sync *s, pid_t pid) {
    const struct fs *fs = s->r->parts.fs;
    char path[64];
    struct fs_stat st;
    temp_name(path, pid);
    int fd = fs->open(fs->ctx, path, O_RDONLY, 0);
    if (fd < 0 || fs->stat(fs->ctx, path, &st) != 0) {
        drop_members(s, "the snapshot cannot be read back");
    } else {
        for (size_t i = 0; i < s->r->replica_count; i++)
            if (s->r->replicas[i]->sync == s && replica_is_attached(s->r->replicas[i]))
                send_header(s->r->replicas[i], fd, st.size_bytes);
    }
    if (fd >= 0)
        fs->close(fs->ctx, fd);
    fs->unlink(fs->ctx, path);
}

static void send_end(struct full_sync *s) {
    for (size_t i = 0; i < s->r->replica_count; i++) {
        struct replica *p = s->r->replicas[i];
        if (p->sync != s || !replica_is_attached(p))
            continue;
        if (p->frames.used) {
            p->frames.end_due = true;
        } else {
            outq_append(&p->client->out, s->mark, TRANSFER_MARK_BYTES);
            p->state = p->rdb_only ? REPLICA_DONE : REPLICA_LOADS;
        }
        p->acked_us = p->waits_since_us = clock_mono_us();
        client_feed(p->client);
    }
}

/* What of the pipe the slowest member has taken. */
static uint64_t slowest(const struct full_sync *s) {
    uint64_t least = s->bytes;
    for (size_t i = 0; i < s->r->replica_count; i++) {
        const struct replica *p = s->r->replicas[i];
        if (p->sync == s && replica_is_attached(p) && p->taken < least)
            least = p->taken;
    }
    return least;
}

static void finish_if_over(struct full_sync *s) {
    bool sent = !s->kind.diskless || (s->at_end && slowest(s) == s->bytes);
    if (!s->child_done || (!sent && s->child_ok && !s->aborted))
        return;
    if (s->aborted)
        drop_members(s, "its synchronization was given up");
    else if (!s->child_ok)
        drop_members(s, "the snapshot failed");
    else if (s->kind.diskless)
        send_end(s);
    session_free(s);
}

static void child_done(void *arg, const struct child_result *res) {
    struct full_sync *s = arg;
    struct replication *r = s->r;
    char path[64];
    r->parts.child_ended(r->parts.ctx);
    s->child_done = true;
    s->child_ok = res->ok;
    if (res->ok) {
        log_notice(s->kind.diskless ? "Background RDB transfer terminated with success"
                                    : "Background saving for replicas terminated with success");
        if (!s->kind.diskless && !s->aborted)
            hand_out_file(s, res->pid);
    } else {
        if (!s->kind.diskless) {
            temp_name(path, res->pid);
            r->parts.fs->unlink(r->parts.fs->ctx, path);
        }
        if (res->over_budget)
            log_warning("The snapshot for replicas was stopped: it had copied %zu bytes of memory, the limit "
                        "(rdb-cow-limit) is %zu",
                        res->cow_peak_bytes, res->cow_limit_bytes);
        else if (res->signal != 0 && !res->cancelled)
            log_warning("Background transfer terminated by signal %d", res->signal);
        else if (!res->cancelled)
            log_warning("Background transfer error%s%s", res->text[0] ? ": " : "", res->text);
    }
    finish_if_over(s);
}

void full_sync_abort(struct replication *r, const char *reason) {
    struct full_sync *s = r->sync;
    if (s == NULL)
        return;
    log_notice("The snapshot for replicas is given up: %s", reason);
    s->aborted = true;
    if (!s->child_done)
        r->parts.kill_child(r->parts.ctx); /* done() frees the session */
    else
        finish_if_over(s);
}

void full_sync_leave(struct replica *p) {
    p->sync = NULL;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    mem_free(p->block);
    p->block = NULL;
}

/* ---- diskless: the pipe ---- */

static void on_pipe(struct loop *loop, int fd, unsigned events, void *arg);

static void watch_pipe(struct full_sync *s, bool on) {
    if (s->watching == on)
        return;
    if (!on)
        loop_forget(s->r->loop, s->pipe_in);
    else if (loop_watch(s->r->loop, s->pipe_in, LOOP_READABLE, on_pipe, s) < 0)
        return; /* the cron tries again */
    s->watching = on;
}

/* Reads a chunk where the slowest has made room for one. */
static void next_chunk(struct full_sync *s) {
    if (s->at_end || s->aborted)
        return;
    if (WINDOW_BYTES - (s->bytes - slowest(s)) < CHUNK_BYTES) {
        watch_pipe(s, false);
        return;
    }
    size_t at = (size_t)(s->bytes % WINDOW_BYTES), to_end = WINDOW_BYTES - at;
    ssize_t n = read(s->pipe_in, s->window + at, to_end < CHUNK_BYTES ? to_end : CHUNK_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        watch_pipe(s, true);
        return;
    }
    s->bytes += n > 0 ? (uint64_t)n : 0;
    s->at_end = n <= 0;
    watch_pipe(s, !s->at_end);
    for (size_t i = 0; i < s->r->replica_count; i++)
        if (s->r->replicas[i]->sync == s && replica_is_attached(s->r->replicas[i]))
            client_feed(s->r->replicas[i]->client);
}

static void on_pipe(struct loop *loop, int fd, unsigned events, void *arg) {
    (void)loop, (void)fd, (void)events;
    struct full_sync *s = arg;
    next_chunk(s);
    if (s->at_end)
        finish_if_over(s);
}

/* Drops who has filled the window while others have nothing to take, when that has lasted too long. */
static void drop_who_holds_up(struct full_sync *s) {
    int64_t now = clock_mono_us(), passed_us = s->checked_us != 0 ? now - s->checked_us : 0;
    size_t idle = 0;
    s->checked_us = now;
    for (size_t i = 0; i < s->r->replica_count; i++) {
        const struct replica *p = s->r->replicas[i];
        idle += p->sync == s && replica_is_attached(p) && p->taken == s->bytes;
    }
    for (size_t i = 0; i < s->r->replica_count && idle > 0; i++) {
        struct replica *p = s->r->replicas[i];
        if (p->sync != s || !replica_is_attached(p) ||
            (WINDOW_BYTES - (s->bytes - p->taken) >= CHUNK_BYTES && !s->at_end) || p->taken == s->bytes)
            continue;
        p->held_up_us += passed_us;
        if (p->held_up_us > HOLD_UP_US)
            replica_drop(p, "it has kept the other replicas of its snapshot waiting for too long; it may synchronise "
                            "behind them");
    }
}

/* ---- the beginning of a session ---- */

static bool choose_kind(struct replication *r, unsigned ours, struct session_kind *ret_kind) {
    struct session_kind k = {.diskless = r->options.diskless_sync, .lz4 = r->options.transfer_lz4, .rdb_version = ours};
    int64_t now = clock_mono_us(), longest_us = 0;
    size_t n = 0;
    for (size_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        if (p->state != REPLICA_WAITS || !replica_is_attached(p))
            continue;
        if (n++ == 0)
            k.without_data = p->without_data;
        if (p->without_data != k.without_data)
            continue;
        unsigned version = rdb_version_of(p, ours);
        k.rdb_version = version < k.rdb_version ? version : k.rdb_version;
        k.diskless = k.diskless && (p->capa & REPLICA_CAPA_EOF) != 0;
        k.lz4 = k.lz4 && (p->capa & REPLICA_CAPA_LZ4) != 0;
        if (now - p->waits_since_us > longest_us)
            longest_us = now - p->waits_since_us;
    }
    *ret_kind = k;
    if (n == 0)
        return false;
    bool enough = r->options.diskless_max_replicas > 0 && n >= (size_t)r->options.diskless_max_replicas;
    return !k.diskless || enough || longest_us >= r->options.diskless_delay_s * 1000000;
}

static bool open_pipe(struct full_sync *s) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    s->pipe_in = ends[0];
    s->pipe_out = ends[1];
    (void)fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); /* what the system allows is enough */
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    rng_hex_id(s->mark, TRANSFER_MARK_BYTES / 2);
    s->window = mem_alloc(WINDOW_BYTES);
    return true;
}

static uint64_t all_keys(const struct keyspace *ks) {
    uint64_t n = 0;
    for (unsigned db = 0; db < keyspace_databases(ks); db++)
        n += keyspace_size(ks, db);
    return n;
}

static void start(struct replication *r, const struct session_kind *kind, const struct snapshot_options *options) {
    struct full_sync *s = mem_calloc(1, sizeof *s);
    s->r = r;
    s->kind = *kind;
    s->options = *options;
    s->pipe_in = s->pipe_out = -1;
    s->started_us = clock_mono_us();
    s->cut = changelog_sealed(r->log);
    memcpy(s->id, changelog_history(r->log)->id, sizeof s->id);
    s->options.rdb.version = kind->rdb_version;
    s->options.rdb.repl_id = s->id;
    s->options.rdb.repl_offset = (int64_t)s->cut;
    s->options.rdb.repl_stream_db = r->is_replica ? changelog_db(r->log) : 0;
    s->options.codec = kind->lz4 ? RDB_CODEC_LZ4 : RDB_CODEC_NONE;
    s->options.rdb.compress = s->options.rdb.compress && !kind->lz4; /* once is enough */
    s->cursor = changelog_cursor_create(r->log, s->cut);
    HF_ASSERT(s->cursor != NULL);
    r->sync = s;
    if (kind->diskless && !open_pipe(s)) {
        log_warning("Can't start the snapshot for replicas: pipe: %s", strerror(errno));
        session_free(s);
        return;
    }
    struct child_job job = {
        .kind = CHILD_REPLICATION,
        .run = run_child,
        .done = child_done,
        .arg = s,
        .keys_total = all_keys(engine_keyspace(r->engine)),
        .cow_limit_bytes = s->options.cow_limit_bytes,
        .oom_score_adj = s->options.oom_score_adj,
        .oom_score_set = s->options.oom_score_set,
    };
    int rc = r->parts.start_child(r->parts.ctx, &job);
    if (rc < 0) {
        if (rc != -EBUSY)
            log_warning("Can't start the snapshot for replicas: fork: %s", strerror(-rc));
        session_free(s);
        return;
    }
    log_notice("Starting BGSAVE for SYNC with target: %s", kind->diskless ? "replicas sockets" : "disk");
    if (!r->is_replica)
        changelog_set_db(r->log, -1); /* the stream behind the snapshot says its database first */
    if (kind->diskless) {
        close(s->pipe_out);
        s->pipe_out = -1;
    }
    for (size_t i = 0; i < r->replica_count; i++) {
        struct replica *p = r->replicas[i];
        if (p->state == REPLICA_WAITS && replica_is_attached(p) && p->without_data == kind->without_data)
            attach(s, p);
    }
    if (kind->diskless) {
        changelog_cursor_destroy(s->cursor); /* nobody joins */
        s->cursor = NULL;
        next_chunk(s);
    }
}

void full_sync_cron(struct replication *r) {
    struct full_sync *s = r->sync;
    if (s != NULL) {
        if (member_count(s) == 0) {
            full_sync_abort(r, "no replica waits for it any more");
        } else if (!s->kind.diskless) {
            if (s->cursor != NULL && changelog_sealed(r->log) - s->cut > r->backlog.size_bytes) {
                changelog_cursor_destroy(s->cursor);
                s->cursor = NULL;
            }
        } else {
            drop_who_holds_up(s);
            next_chunk(s);
            if (s->at_end)
                finish_if_over(s);
        }
        return;
    }
    bool somebody = false;
    for (size_t i = 0; i < r->replica_count && !somebody; i++)
        somebody = r->replicas[i]->state == REPLICA_WAITS && replica_is_attached(r->replicas[i]);
    if (!somebody || engine_is_busy(r->engine))
        return;
    struct snapshot_options options;
    struct session_kind kind;
    r->parts.snapshot_options(r->parts.ctx, &options);
    if (choose_kind(r, options.rdb.version, &kind))
        start(r, &kind, &options);
}

/* ---- what a member is fed ---- */

int full_sync_iov(struct replica *p, struct iovec *iov, size_t *ret_bytes) {
    if (p->fd >= 0) {
        if (p->block_at == p->block_len && p->file_at < p->file_bytes) {
            ssize_t n = pread(p->fd, p->block, BLOCK_BYTES, p->file_at);
            if (n <= 0)
                return 0; /* the replica is dropped when nothing has moved for repl-timeout */
            p->block_at = 0;
            p->block_len = (size_t)n;
            p->file_at += n;
        }
        *iov = (struct iovec){p->block + p->block_at, p->block_len - p->block_at};
    } else if (p->sync != NULL && p->taken < p->sync->bytes) {
        size_t at = (size_t)(p->taken % WINDOW_BYTES), to_end = WINDOW_BYTES - at;
        uint64_t left = p->sync->bytes - p->taken;
        *iov = (struct iovec){p->sync->window + at, left < to_end ? (size_t)left : to_end};
    } else {
        return 0;
    }
    *ret_bytes = iov->iov_len;
    return iov->iov_len > 0;
}

void full_sync_written(struct replica *p, size_t n) {
    p->waits_since_us = clock_mono_us();
    if (p->fd < 0) {
        p->taken += n;
        if (p->sync != NULL && !p->sync->watching)
            next_chunk(p->sync);
        if (p->sync != NULL && p->sync->at_end)
            loop_dont_wait(p->r->loop); /* it may be over */
        return;
    }
    p->block_at += n;
    if (p->block_at < p->block_len || p->file_at < p->file_bytes)
        return;
    full_sync_leave(p);
    if (p->frames.used)
        p->frames.end_due = true;
    else if (p->rdb_only)
        p->state = REPLICA_DONE;
    else
        replica_online(p);
}
