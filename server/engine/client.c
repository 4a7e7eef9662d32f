#include "config.h"

#include "server/engine/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/engine/engine_int.h"

/* Life of a session: accept → read … write → close. Closing is two steps, mark and free, so that no pointer dangles
 * inside a batch. */

#define MARKS_MIN 16

static bool push(struct client ***array, size_t *count, size_t *cap, struct client *cl) {
    if (*count == *cap) {
        *cap = *cap ? *cap * 2 : 64;
        *array = mem_realloc(*array, *cap * sizeof(struct client *));
    }
    (*array)[(*count)++] = cl;
    return true;
}

struct client *client_create(struct engine *e, struct conn *conn) {
    struct client *cl = mem_calloc(1, sizeof *cl);
    cl->engine = e;
    cl->conn = conn;
    cl->id = ++e->next_client_id;
    cl->user = "default";
    cl->authenticated = e->options.requirepass[0] == '\0';
    outq_init(&cl->out);
    cl->w = (struct resp_writer){&cl->out, 2};
    resp_parser_init(&cl->parser);
    cl->created_us = cl->last_active_us = clock_mono_us();
    if (conn != NULL) {
        if (conn_kind(conn) == CONN_UNIX)
            cl->flags |= CLIENT_UNIX_SOCKET;
        cl->index = (uint32_t)e->client_count;
        push(&e->clients, &e->client_count, &e->client_cap, cl);
    }
    return cl;
}

void client_free_input(struct client *cl) {
    struct engine *e = cl->engine;
    if (cl->in == NULL)
        return;
    if (cl->in_cap == ENGINE_READ_BYTES && e->in_pool_count < 256) {
        if (e->in_pool_count == e->in_pool_cap) {
            e->in_pool_cap = e->in_pool_cap ? e->in_pool_cap * 2 : 64;
            e->in_pool = mem_realloc(e->in_pool, e->in_pool_cap * sizeof(char *));
        }
        e->in_pool[e->in_pool_count++] = cl->in;
    } else {
        mem_free(cl->in);
    }
    cl->in = NULL;
    cl->in_len = cl->in_pos = cl->in_cap = 0;
}

void client_free(struct client *cl) {
    struct engine *e = cl->engine;
    if (cl->source != NULL)
        cl->source->closed(cl->source_ctx);
    block_drop(cl);
    transaction_discard(cl);
    pubsub_free(cl);
    if (cl->conn != NULL) {
        struct client *last = e->clients[--e->client_count];
        e->clients[cl->index] = last;
        last->index = cl->index;
        conn_destroy(cl->conn);
    }
    client_free_input(cl);
    rbuf_unref(cl->large);
    resp_parser_deinit(&cl->parser);
    outq_deinit(&cl->out);
    mem_free(cl->marks);
    write_ack_free(cl);
    mem_free(cl->name);
    mem_free(cl->lib_name);
    mem_free(cl->lib_ver);
    mem_free(cl);
}

void engine_free_closed(struct engine *e) {
    while (e->closing_count > 0) {
        struct client *cl = e->closing[--e->closing_count];
        if (cl->in_ready) {
            size_t k = 0;
            for (size_t i = 0; i < e->ready_count; i++)
                if (e->ready[i] != cl)
                    e->ready[k++] = e->ready[i];
            e->ready_count = k;
        }
        if (cl->in_write) {
            size_t k = 0;
            for (size_t i = 0; i < e->writing_count; i++)
                if (e->writing[i] != cl)
                    e->writing[k++] = e->writing[i];
            e->writing_count = k;
        }
        client_free(cl);
    }
}

void client_close_asap(struct client *cl) {
    struct engine *e = cl->engine;
    if (cl == e->primary.client)
        e->primary.kill(e->primary.ctx);
    if ((cl->flags & (CLIENT_CLOSE_ASAP | CLIENT_INTERNAL)) != 0)
        return;
    cl->flags |= CLIENT_CLOSE_ASAP;
    push(&cl->engine->closing, &cl->engine->closing_count, &cl->engine->closing_cap, cl);
}

void client_close_after_reply(struct client *cl) {
    if (cl->flags & CLIENT_INTERNAL)
        return;
    cl->flags |= CLIENT_CLOSE_AFTER_REPLY;
    client_update_reading(cl); /* what nobody reads must not wake the loop */
    client_note_output(cl);
}

void client_note_output(struct client *cl) {
    if (cl->in_write || cl->conn == NULL)
        return;
    cl->in_write = 1;
    push(&cl->engine->writing, &cl->engine->writing_count, &cl->engine->writing_cap, cl);
}

void client_set_source(struct client *cl, const struct client_source *source, void *ctx) {
    cl->source = source;
    cl->source_ctx = ctx;
    cl->source_sent = 0;
}

void client_feed(struct client *cl) {
    if (!(cl->watched_events & LOOP_WRITABLE))
        client_note_output(cl);
    else
        client_check_output_limit(cl); /* the socket is full: its event will come, or it has waited too long */
}

void client_note_ready(struct client *cl) {
    if (cl->in_ready || cl->conn == NULL)
        return;
    cl->in_ready = 1;
    push(&cl->engine->ready, &cl->engine->ready_count, &cl->engine->ready_cap, cl);
}

static void set_events(struct client *cl, unsigned events) {
    if (cl->conn == NULL || cl->watched_events == events)
        return;
    cl->watched_events = (uint8_t)events;
    if (conn_watch(cl->conn, events, client_read_event, cl) < 0)
        client_close_asap(cl);
}

void client_update_reading(struct client *cl) {
    bool on = (cl->flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY)) == 0;
    if ((cl->flags & (CLIENT_BLOCKED | CLIENT_PAUSED)) && cl->in_len - cl->in_pos >= ENGINE_WAITING_INPUT_BYTES)
        on = false;
    if ((cl->mark_count > 0 || write_ack_is_waiting(cl)) && outq_pending(&cl->out) >= ENGINE_HELD_OUTPUT_BYTES)
        on = false;
    if (write_ack_is_full(cl))
        on = false;
    set_events(cl, on ? cl->watched_events | LOOP_READABLE : cl->watched_events & ~LOOP_READABLE);
}

void client_read_event(struct loop *loop, int fd, unsigned events, void *arg) {
    (void)loop;
    (void)fd;
    struct client *cl = arg;
    if (events & LOOP_WRITABLE & cl->watched_events) {
        set_events(cl, cl->watched_events & ~LOOP_WRITABLE);
        client_note_output(cl);
    }
    if (events & LOOP_READABLE & cl->watched_events)
        client_note_ready(cl);
}

/* ---- release marks ---- */

void engine_update_marks(struct client *cl, uint64_t from, uint64_t offset) {
    if (cl->conn == NULL || offset <= changelog_released(cl->engine->log))
        return;
    if (cl->mark_count > 0) {
        struct client_mark *last = &cl->marks[(cl->mark_head + cl->mark_count - 1) & (cl->mark_cap - 1)];
        if (last->offset >= offset)
            return;
        /* Nothing is held in this cycle: one mark for the client's whole batch is as good as many. */
        if (!cl->engine->tracking) {
            last->offset = offset;
            return;
        }
    }
    if (cl->mark_count == cl->mark_cap) {
        uint32_t cap = cl->mark_cap ? cl->mark_cap * 2 : MARKS_MIN;
        struct client_mark *marks = mem_alloc(cap * sizeof *marks);
        for (uint32_t i = 0; i < cl->mark_count; i++)
            marks[i] = cl->marks[(cl->mark_head + i) & (cl->mark_cap - 1)];
        mem_free(cl->marks);
        cl->marks = marks;
        cl->mark_head = 0;
        cl->mark_cap = cap;
    }
    cl->marks[(cl->mark_head + cl->mark_count++) & (cl->mark_cap - 1)] = (struct client_mark){from, offset};
}

/* Position up to which the client's output may be written now. */
static uint64_t writable_end(struct client *cl, uint64_t released) {
    while (cl->mark_count > 0 && cl->marks[cl->mark_head].offset <= released) {
        cl->mark_head = (cl->mark_head + 1) & (cl->mark_cap - 1);
        cl->mark_count--;
    }
    return cl->mark_count > 0 ? cl->marks[cl->mark_head].from : outq_end(&cl->out);
}

/* ---- writing ---- */

#define WRITE_IOV 64
#define WRITE_PER_CYCLE (256 * 1024)

enum write_outcome { WRITE_DONE, WRITE_HELD, WRITE_LATER, WRITE_BLOCKED, WRITE_FAILED };

/* One call of the kernel, so that nothing is told to the source from an I/O thread. */
static enum write_outcome write_source(struct client *cl) {
    struct iovec iov[WRITE_IOV];
    size_t bytes = 0;
    int n = cl->source->iov(cl->source_ctx, iov, WRITE_IOV, &bytes);
    if (n == 0)
        return WRITE_DONE;
    ssize_t w = conn_writev(cl->conn, iov, n);
    if (w == -EAGAIN)
        return WRITE_BLOCKED;
    if (w < 0)
        return WRITE_FAILED;
    cl->source_sent = (size_t)w;
    cl->net_out += (uint64_t)w;
    return (size_t)w < bytes ? WRITE_BLOCKED : WRITE_DONE;
}

static enum write_outcome write_out(struct client *cl, uint64_t released) {
    uint64_t limit = writable_end(cl, released);
    if (__builtin_expect(cl->acks != NULL, 0))
        limit = write_ack_limit(cl, limit);
    size_t total = 0;
    while (cl->out.begin < limit) {
        struct iovec iov[WRITE_IOV];
        int n = outq_iov(&cl->out, limit, iov, WRITE_IOV);
        if (n == 0)
            break;
        ssize_t w = conn_writev(cl->conn, iov, n);
        if (w == -EAGAIN)
            return WRITE_BLOCKED;
        if (w < 0)
            return WRITE_FAILED;
        outq_consume(&cl->out, (size_t)w);
        total += (size_t)w;
        cl->net_out += (uint64_t)w;
        if (total > WRITE_PER_CYCLE && cl->out.begin < limit)
            return WRITE_LATER;
    }
    if (cl->mark_count > 0 || write_ack_is_waiting(cl))
        return WRITE_HELD;
    return cl->source != NULL ? write_source(cl) : WRITE_DONE;
}

struct write_job {
    uint64_t released;
};

static void write_item(void *item, void *arg) {
    struct client *cl = item;
    const struct write_job *job = arg;
    if (!(cl->flags & CLIENT_CLOSE_ASAP))
        cl->write_outcome = (uint8_t)write_out(cl, job->released);
}

/* True when the source has more. */
static bool tell_source(struct client *cl) {
    size_t sent = cl->source_sent, bytes = 0;
    struct iovec iov;
    if (sent == 0)
        return false;
    cl->source_sent = 0;
    cl->source->written(cl->source_ctx, sent);
    return cl->source != NULL && cl->source->iov(cl->source_ctx, &iov, 1, &bytes) > 0;
}

static void after_write(struct client *cl, bool *keep) {
    struct engine *e = cl->engine;
    *keep = false;
    if (cl->source != NULL && tell_source(cl) && cl->write_outcome == WRITE_DONE)
        cl->write_outcome = WRITE_LATER;
    switch ((enum write_outcome)cl->write_outcome) {
    case WRITE_FAILED:
        client_close_asap(cl);
        return;
    case WRITE_BLOCKED:
        set_events(cl, cl->watched_events | LOOP_WRITABLE);
        break;
    case WRITE_LATER:
        loop_dont_wait(e->loop);
        *keep = true;
        break;
    case WRITE_HELD:
        *keep = true;
        break;
    case WRITE_DONE:
        if (cl->flags & CLIENT_CLOSE_AFTER_REPLY)
            client_close_asap(cl);
        break;
    }
    client_check_output_limit(cl);
    if (cl->mark_count > 0 || cl->acks != NULL || !(cl->watched_events & LOOP_READABLE))
        client_update_reading(cl);
}

void engine_write_clients(struct engine *e) {
    struct write_job job = {changelog_released(e->log)};
    size_t count = e->writing_count;
    if (count == 0)
        return;
    size_t fed = 0;
    for (size_t i = 0; i < count; i++) {
        struct client *cl = e->writing[i];
        e->stats.net_out -= cl->net_out;
        if (__builtin_expect(cl->source != NULL, 0)) { /* replicas first: who has a reply finds its write there sooner */
            e->writing[i] = e->writing[fed];
            e->writing[fed++] = cl;
        }
    }
    if (e->io != NULL && count > 1 && io_pool_threads(e->io) > 1)
        io_pool_run(e->io, (void **)e->writing, count, write_item, &job);
    else
        for (size_t i = 0; i < count; i++)
            write_item(e->writing[i], &job);
    size_t k = 0;
    for (size_t i = 0; i < count; i++) {
        struct client *cl = e->writing[i];
        bool keep = false;
        e->stats.net_out += cl->net_out;
        e->stats.writes++;
        if (!(cl->flags & CLIENT_CLOSE_ASAP))
            after_write(cl, &keep);
        if (keep)
            e->writing[k++] = cl;
        else
            cl->in_write = 0;
    }
    /* What a source said may have given others something to write. */
    for (size_t i = count; i < e->writing_count; i++)
        e->writing[k++] = e->writing[i];
    if (e->writing_count > count)
        loop_dont_wait(e->loop);
    e->writing_count = k;
}

/* ---- limits ---- */

enum client_class client_class(const struct client *cl) {
    if (cl->flags & CLIENT_REPLICA)
        return CLIENT_CLASS_REPLICA;
    return cl->flags & CLIENT_PUBSUB ? CLIENT_CLASS_PUBSUB : CLIENT_CLASS_NORMAL;
}

static size_t source_bytes(const struct client *cl) {
    return cl->source != NULL ? cl->source->held_bytes(cl->source_ctx) : 0;
}

void client_check_output_limit(struct client *cl) {
    struct engine *e = cl->engine;
    size_t held = outq_memory(&cl->out) + source_bytes(cl);
    if (cl->conn == NULL || (cl->flags & (CLIENT_CLOSE_ASAP | CLIENT_PRIMARY)))
        return;
    if (held <= OUTQ_CHUNK_BYTES * 2) {
        cl->soft_limit_since_us = 0;
        return;
    }
    if (held > e->output_peak[0])
        e->output_peak[0] = held;
    const int64_t hard = e->options.output_limit[client_class(cl)].hard_bytes;
    const int64_t soft = e->options.output_limit[client_class(cl)].soft_bytes;
    bool over = hard > 0 && held > (uint64_t)hard;
    if (!cl->authenticated && outq_pending(&cl->out) > ENGINE_UNAUTHENTICATED_BYTES)
        over = true;
    if (soft > 0 && held > (uint64_t)soft) {
        if (cl->soft_limit_since_us == 0)
            cl->soft_limit_since_us = e->now_us;
        else if (e->now_us - cl->soft_limit_since_us > e->options.output_limit[client_class(cl)].soft_seconds * 1000000)
            over = true;
    } else {
        cl->soft_limit_since_us = 0;
    }
    if (!over)
        return;
    struct buf b = BUF_INIT;
    client_describe(cl, &b);
    log_warning("Client %.*s closed for overcoming of output buffer limits.", (int)b.len, b.data);
    buf_deinit(&b);
    e->stats.output_limit_closes++;
    client_close_asap(cl);
}

size_t client_memory_bytes(const struct client *cl) {
    return sizeof *cl + cl->in_cap + (cl->large ? cl->large->cap : 0) + resp_parser_memory(&cl->parser) +
           outq_memory(&cl->out) + cl->mark_cap * sizeof(struct client_mark) + write_ack_memory(cl) + transaction_memory(cl) +
           (cl->block && cl->block->postponed ? cl->block->postponed->memory_bytes : 0) + pubsub_client_memory(cl) +
           (cl->block && cl->block->keys ? block_keys_memory(cl) : 0) + (cl->name ? strlen(cl->name) + 1 : 0);
}

/* ---- description ---- */

void client_describe(const struct client *cl, struct buf *out) {
    const struct engine *e = cl->engine;
    const struct conn *conn = cl == e->primary.client ? e->primary.conn : cl->conn;
    char peer[CONN_ADDR_CHARS] = "", local[CONN_ADDR_CHARS] = "", flags[24];
    if (conn != NULL) {
        conn_peer_addr(conn, peer);
        conn_local_addr(conn, local);
    }
    size_t f = 0;
    static const struct {
        uint64_t flag;
        char letter;
    } letters[] = {
        {CLIENT_REPLICA, 'S'},    {CLIENT_PRIMARY, 'M'},     {CLIENT_MONITOR, 'O'},
        {CLIENT_PUBSUB, 'P'},     {CLIENT_MULTI, 'x'},       {CLIENT_BLOCKED, 'b'},
        {CLIENT_PAUSED, 'b'},     {CLIENT_DIRTY_CAS, 'd'},   {CLIENT_CLOSE_AFTER_REPLY, 'c'},
        {CLIENT_CLOSE_ASAP, 'A'}, {CLIENT_UNIX_SOCKET, 'U'}, {CLIENT_READONLY, 'r'},
        {CLIENT_NO_EVICT, 'e'},   {CLIENT_NO_TOUCH, 'T'},
    };
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if ((cl->flags & letters[i].flag) && f < sizeof flags - 1)
            flags[f++] = letters[i].letter;
    if (f == 0)
        flags[f++] = 'N';
    flags[f] = '\0';
    char events[3], *ev = events;
    if (cl->watched_events & LOOP_READABLE)
        *ev++ = 'r';
    if (cl->watched_events & LOOP_WRITABLE)
        *ev++ = 'w';
    *ev = '\0';
    size_t pending = cl->in_len - cl->in_pos;
    buf_printf(
        out,
        "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%s age=%" PRId64 " idle=%" PRId64
        " flags=%s db=%u sub=%zu psub=%zu ssub=%zu multi=%d "
        "watch=%zu qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=%zu rbs=%d rbp=%d obl=%zu oll=%zu omem=%zu "
        "tot-mem=%zu events=%s cmd=%s user=%s "
        "redir=-1 resp=%d lib-name=%s lib-ver=%s tot-net-in=%" PRIu64 " tot-net-out=%" PRIu64 " tot-cmds=%" PRIu64,
        cl->id, peer, local, conn ? conn_fd(conn) : -1, cl->name ? cl->name : "",
        (e->now_us - cl->created_us) / 1000000, (e->now_us - cl->last_active_us) / 1000000, flags, cl->db,
        pubsub_subscriptions(cl, PUBSUB_CHANNEL), pubsub_subscriptions(cl, PUBSUB_PATTERN),
        pubsub_subscriptions(cl, PUBSUB_SHARD), cl->flags & CLIENT_MULTI ? (int)(cl->tx ? cl->tx->count : 0) : -1,
        cl->tx ? cl->tx->watched_count : 0, pending, cl->in_cap - pending, cl->tx ? cl->tx->queued_bytes : 0,
        OUTQ_CHUNK_BYTES, 0, outq_chunks(&cl->out) <= 1 ? outq_pending(&cl->out) : 0,
        outq_chunks(&cl->out) > 1 ? outq_chunks(&cl->out) : 0, outq_memory(&cl->out) + source_bytes(cl), client_memory_bytes(cl), events,
        cl->last_cmd ? cl->last_cmd->full_name : "NULL", cl->user, cl->w.resp, cl->lib_name ? cl->lib_name : "",
        cl->lib_ver ? cl->lib_ver : "", cl->net_in, cl->net_out, cl->commands);
}

int client_set_name(struct client *cl, struct slice name) {
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < '!' || name.p[i] > '~')
            return -1;
    mem_free(cl->name);
    cl->name = name.n ? mem_strndup(name.p, name.n) : NULL;
    return 0;
}

void client_reset(struct client *cl) {
    transaction_discard(cl);
    pubsub_drop(cl);
    cl->flags &= ~(uint64_t)(CLIENT_MULTI | CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC | CLIENT_REPLY_OFF |
                             CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT | CLIENT_NO_EVICT | CLIENT_NO_TOUCH |
                             CLIENT_READONLY | CLIENT_ASKING | CLIENT_MONITOR);
    client_set_write_ack(cl, NULL);
    cl->w.q = &cl->out;
    cl->w.resp = 2;
    cl->db = 0;
    cl->authenticated = cl->engine->options.requirepass[0] == '\0';
    mem_free(cl->name);
    cl->name = NULL;
}
