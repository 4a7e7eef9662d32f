#include "config.h"

#include "server/engine/engine_int.h"

#include <errno.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"

/* The hot path: ready clients → groups of requests → prefetch → execution.
 *
 * Clients that became readable in this cycle are read (by the I/O threads where there are some, who also parse), then
 * their requests are gathered in groups of up to ENGINE_GROUP_REQUESTS: as many as the cache holds. For a group, the
 * buckets of all keys are prefetched, then their entries, then all requests run in order.
 *
 * A group may hold several requests of one client. When one of them blocks, pauses or closes its client, the rest are
 * not run: the input position goes back to the first of them. Inline requests are unescaped in place and could not be
 * parsed again, so one is only taken as the first of its client in a group. */

/* ---- reading ---- */

/* The pending request's last argument is large: what came of it moves to a block of its own, and the rest is read
 * there. Only between batches, when no group holds requests of the client. */
static void begin_large(struct client *cl) {
    const struct resp_parser *p = &cl->parser;
    if (!resp_parser_pending(p) || p->multibulk != 1 || p->bulk_len < ENGINE_LARGE_BYTES ||
        (cl->flags & (CLIENT_BLOCKED | CLIENT_PAUSED)))
        return;
    const size_t len = (size_t)p->bulk_len, from = cl->in_pos + p->scanned, there = cl->in_len - from;
    const size_t cap = len + 2 < ENGINE_LARGE_CREDIT_BYTES ? len + 2 : ENGINE_LARGE_CREDIT_BYTES;
    if (there > cap)
        return; /* nearly all of it came with one read */
    cl->large = rbuf_try_create(cap);
    if (cl->large == NULL) {
        cl->read_error = -ENOMEM;
        return;
    }
    memcpy(cl->large->data, cl->in + from, there);
    cl->large->len = there;
    cl->large_len = len;
    cl->in_len = from;
}

/* Room for more of a large argument: as much as what has arrived makes credible. */
static void prepare_large(struct client *cl) {
    struct rbuf *old = cl->large;
    if (old->len < old->cap)
        return;
    size_t cap = old->cap * 8;
    if (cap > cl->large_len + 2)
        cap = cl->large_len + 2;
    struct rbuf *r = rbuf_try_create(cap);
    if (r == NULL) {
        cl->read_error = -ENOMEM;
        return;
    }
    memcpy(r->data, old->data, old->len);
    r->len = old->len;
    rbuf_unref(old);
    cl->large = r;
}

/* A buffer with room to read into: from the pool, or grown as far as the request in hand needs and what already came
 * makes credible. */
static void prepare_input(struct client *cl) {
    struct engine *e = cl->engine;
    if (cl->in == NULL) {
        cl->in = e->in_pool_count > 0 ? e->in_pool[--e->in_pool_count] : mem_alloc(ENGINE_READ_BYTES);
        cl->in_cap = ENGINE_READ_BYTES;
        cl->in_len = cl->in_pos = 0;
        return;
    }
    if (cl->large == NULL)
        begin_large(cl);
    if (cl->large != NULL) {
        prepare_large(cl);
        return;
    }
    size_t pending = cl->in_len - cl->in_pos;
    if (cl->in_pos > 0 && (cl->in_cap - cl->in_len < cl->in_cap / 2)) {
        memmove(cl->in, cl->in + cl->in_pos, pending);
        cl->in_pos = 0;
        cl->in_len = pending;
    }
    if (cl->in_cap - cl->in_len < ENGINE_READ_BYTES / 4) {
        size_t cap = cl->in_cap * 2;
        if (cl->in_wanted > cap && cl->in_wanted - cap < cap * 8)
            cap = cl->in_wanted + 64;
        char *in = mem_try_realloc(cl->in, cap);
        if (in == NULL) {
            cl->read_error = -ENOMEM;
            return;
        }
        cl->in = in;
        cl->in_cap = cap;
    }
}

static void read_input(struct client *cl) {
    struct rbuf *large = cl->large;
    size_t room = large != NULL ? large->cap - large->len : cl->in_cap - cl->in_len;
    cl->read_bytes = 0;
    if (room == 0 || cl->read_error != 0)
        return;
    if (!cl->authenticated && room > ENGINE_UNAUTHENTICATED_BYTES - ENGINE_READ_BYTES)
        room = ENGINE_UNAUTHENTICATED_BYTES - ENGINE_READ_BYTES;
    ssize_t n = conn_read(cl->conn, large != NULL ? large->data + large->len : cl->in + cl->in_len, room);
    if (n > 0) {
        if (large != NULL)
            large->len += (size_t)n;
        else
            cl->in_len += (size_t)n;
        cl->read_bytes = (size_t)n;
        cl->net_in += (uint64_t)n;
    } else if (n != -EAGAIN) {
        cl->read_error = n == 0 ? CLIENT_READ_EOF : (int)n;
    }
}

static void after_read(struct engine *e, struct client *cl) {
    if (cl->read_bytes > 0) {
        cl->last_active_us = e->now_us;
        e->stats.net_in += cl->read_bytes;
        e->stats.reads++;
    }
    size_t pending = cl->in_len - cl->in_pos + (cl->large != NULL ? cl->large->len : 0);
    if (pending > e->input_peak[0])
        e->input_peak[0] = pending;
    /* What MULTI has queued came in, too. */
    bool over = pending + (cl->tx != NULL ? cl->tx->queued_bytes : 0) > (uint64_t)e->options.client_query_buffer_limit;
    over = over || (!cl->authenticated && pending >= ENGINE_UNAUTHENTICATED_BYTES);
    if (over && cl->read_error == 0) {
        struct buf b = BUF_INIT;
        client_describe(cl, &b);
        log_warning("Closing client that reached max query buffer length: %.*s", (int)b.len, b.data);
        buf_deinit(&b);
        e->stats.query_limit_closes++;
        client_close_asap(cl);
    }
    if (cl->flags & (CLIENT_BLOCKED | CLIENT_PAUSED))
        client_update_reading(cl);
}

/* ---- parsing ---- */

static void protocol_error(struct client *cl, const char *text) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "ERR Protocol error: %s", text);
    buf_append_char(&b, '\0');
    engine_reply_error(cl, b.data);
    buf_deinit(&b);
    log_verbose("Protocol error from client id=%llu: %s", (unsigned long long)cl->id, text);
    cl->in_pos = cl->in_len;
    client_close_after_reply(cl);
}

static void resolve(struct engine *e, struct request *r) {
    r->cmd = command_table_find(e->commands, r->argv[0]);
    r->key_index = 0;
    if (r->cmd == NULL)
        return;
    if (r->cmd->sub_count > 0) {
        r->cmd = NULL; /* containers are resolved when they run */
        return;
    }
    int first = r->cmd->first_key;
    if (first > 0 && first < r->argc) {
        r->key_index = first;
        r->key = keyspace_key(e->ks, r->argv[first]);
    }
}

/* The request whose last argument was read into a block of its own, once all of it is there. */
static bool take_large(struct client *cl, struct group *g) {
    if (cl->large->len < cl->large_len + 2)
        return true;
    if (g->n == ENGINE_GROUP_REQUESTS)
        return false;
    struct resp_request req;
    cl->large->len = cl->large_len;
    if (!resp_parser_finish(&cl->parser, cl->in + cl->in_pos, slice_of(cl->large->data, cl->large_len), &req)) {
        cl->read_error = -ENOMEM;
        return true;
    }
    struct request *r = &g->requests[g->n++];
    cl->in_pos += req.consumed;
    *r = (struct request){.cl = cl, .argv = req.argv, .argc = req.argc, .start = cl->in_pos, .large = cl->large};
    cl->large = NULL;
    resolve(cl->engine, r);
    return false; /* the arguments stand in the parser until its next call */
}

/* Cuts requests of one client into g until the group or the input is at its end. Touches only the client and g: an I/O
 * thread may run it. Returns false when g is full. */
static bool parse_input(struct client *cl, struct group *g) {
    struct engine *e = cl->engine;
    struct resp_limits limits = {INT32_MAX, (size_t)e->options.proto_max_bulk_len, ENGINE_INLINE_MAX_BYTES};
    if (!cl->authenticated) {
        limits.multibulk_max = 10;
        limits.bulk_max_bytes = 16384;
    }
    int mine = 0;
    cl->parse_error = NULL;
    if (cl->large != NULL)
        return take_large(cl, g);
    while (cl->in_pos < cl->in_len) {
        if (g->n == ENGINE_GROUP_REQUESTS)
            return false;
        char *data = cl->in + cl->in_pos;
        if (data[0] != '*' && mine > 0)
            return false;
        struct resp_request req;
        size_t wanted = 0;
        const char *error = NULL;
        enum resp_parse got = resp_parse_request(&cl->parser, &limits, data, cl->in_len - cl->in_pos, g->argv + g->args,
                                                 ENGINE_GROUP_ARGS - g->args, &req, &error, &wanted);
        if (got == RESP_PARSE_MORE) {
            cl->in_wanted = cl->in_len - cl->in_pos + wanted;
            return true;
        }
        if (got == RESP_PARSE_ERROR) {
            cl->parse_error = error;
            return true;
        }
        if (got == RESP_PARSE_EMPTY) {
            cl->in_pos += req.consumed;
            continue;
        }
        struct request *r = &g->requests[g->n++];
        r->cl = cl;
        r->argv = req.argv;
        r->argc = req.argc;
        r->start = cl->in_pos;
        r->consumed = req.consumed;
        r->canonical = req.canonical;
        r->large = NULL;
        cl->in_pos += req.consumed;
        mine++;
        resolve(e, r);
        if (req.argv != g->argv + g->args)
            return false; /* the arguments stand in the parser until its next call */
        g->args += req.argc;
        /* Before AUTH may change the limits, requests come one at a time. */
        if (!cl->authenticated || g->args > ENGINE_GROUP_ARGS - 16)
            return false;
    }
    return true;
}

/* ---- execution ---- */

/* The requests of a client that cannot go on are forgotten, and its input goes back to the first of them. What an I/O
 * thread parsed may be spread over several groups: a later group must not move the input forward again. */
static void rewind_client(struct group *g, int from, struct client *cl) {
    for (int i = from; i < g->n; i++) {
        if (g->requests[i].cl != cl)
            continue;
        if (g->requests[i].start < cl->in_pos) {
            cl->in_pos = g->requests[i].start;
            resp_parser_reset(&cl->parser);
        }
        g->requests[i].cl = NULL;
    }
}

static void prefetch_group(struct engine *e, const struct group *g) {
    for (int i = 0; i < g->n; i++)
        if (g->requests[i].key_index)
            keyspace_prefetch_bucket(e->ks, g->requests[i].cl->db, &g->requests[i].key);
    for (int i = 0; i < g->n; i++)
        if (g->requests[i].key_index)
            keyspace_prefetch_entry(e->ks, g->requests[i].cl->db, &g->requests[i].key);
    e->stats.prefetch_batches++;
    e->stats.prefetch_entries += (uint64_t)g->n;
}

#define STOPPED (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY | CLIENT_BLOCKED | CLIENT_PAUSED)

static void run_group(struct engine *e, struct group *g) {
    if (g->n == 0)
        return;
    if (g->n > 1)
        prefetch_group(e, g);
    engine_note_log_state(e);
    if (e->batch_groups++ > 0) { /* a long batch must not stop the clock */
        e->now_ms = clock_wall_ms();
        keyspace_set_now_ms(e->ks, e->now_ms);
    }
    for (int i = 0; i < g->n; i++) {
        struct request *r = &g->requests[i];
        struct client *cl = r->cl;
        if (__builtin_expect(r->large != NULL && (cl == NULL || (cl->flags & STOPPED) != 0), 0)) {
            rbuf_unref(r->large); /* only who is closed stops between the last byte and the command */
            continue;
        }
        if (cl == NULL)
            continue;
        if (__builtin_expect((cl->flags & STOPPED) != 0, 0)) {
            rewind_client(g, i, cl);
            continue;
        }
        engine_dispatch(e, r);
        if (__builtin_expect(r->large != NULL, 0))
            rbuf_unref(r->large);
        if (__builtin_expect(cl->out.memory_bytes > 4 * OUTQ_CHUNK_BYTES, 0))
            client_check_output_limit(cl);
    }
    g->n = 0;
    g->args = 0;
}

/* What is left to do for a client once its requests have run: more input, errors, the end of the stream. */
static void settle_client(struct client *cl) {
    if (cl->parse_error != NULL && !(cl->flags & STOPPED)) {
        protocol_error(cl, cl->parse_error);
        cl->parse_error = NULL;
    }
    if (cl->in != NULL && cl->in_pos >= cl->in_len)
        client_free_input(cl);
    if (cl->read_error != 0 && !(cl->flags & CLIENT_CLOSE_ASAP)) {
        if (cl->read_error != CLIENT_READ_EOF)
            log_verbose("Reading from client id=%llu: %s", (unsigned long long)cl->id, strerror(-cl->read_error));
        /* Who has closed one direction only is still owed the replies that are held or did not fit yet. */
        if (cl->read_error == CLIENT_READ_EOF && !outq_empty(&cl->out) &&
            !(cl->flags & (CLIENT_BLOCKED | CLIENT_PAUSED)))
            client_close_after_reply(cl);
        else
            client_close_asap(cl);
    }
}

static bool can_read(const struct client *cl) {
    return (cl->flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY)) == 0;
}

static bool can_run(const struct client *cl) {
    return (cl->flags & STOPPED) == 0 && cl->in_pos < cl->in_len;
}

static void work_off(struct engine *e, struct client *cl) {
    for (;;) {
        bool all = parse_input(cl, e->group);
        if (all)
            return;
        run_group(e, e->group);
        if (!can_run(cl))
            return;
    }
}

static void read_item(void *item, void *arg) {
    struct client *cl = item;
    (void)arg;
    if (!can_read(cl))
        return;
    read_input(cl);
    if (can_run(cl))
        cl->io_more = !parse_input(cl, cl->io_group);
}

static void batch_with_threads(struct engine *e, struct client **clients, size_t n) {
    while (e->io_groups_cap < n) {
        e->io_groups = mem_realloc(e->io_groups, (e->io_groups_cap + 1) * sizeof(struct group *));
        e->io_groups[e->io_groups_cap] = mem_alloc(sizeof(struct group));
        e->io_groups_cap++;
    }
    for (size_t i = 0; i < n; i++) {
        clients[i]->io_group = e->io_groups[i];
        clients[i]->io_group->n = clients[i]->io_group->args = 0;
        clients[i]->io_more = false;
        if (can_read(clients[i]))
            prepare_input(clients[i]);
    }
    io_pool_run(e->io, (void **)clients, n, read_item, NULL);
    for (size_t i = 0; i < n; i++) {
        struct client *cl = clients[i];
        const struct group *own = cl->io_group;
        cl->io_group = NULL;
        after_read(e, cl);
        for (int k = 0; k < own->n; k++) {
            if (e->group->n == ENGINE_GROUP_REQUESTS)
                run_group(e, e->group);
            e->group->requests[e->group->n++] = own->requests[k];
        }
        if (cl->io_more) {
            run_group(e, e->group);
            if (can_run(cl))
                work_off(e, cl);
        }
    }
}

/* All that are ready, but for those whose requests an outer batch is working on: their turn is later. */
static size_t take_ready(struct engine *e, struct client **ret_clients) {
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < e->ready_count; i++) {
        struct client *cl = e->ready[i];
        if (cl->pinned) {
            e->ready[kept++] = cl;
            continue;
        }
        cl->in_ready = 0;
        ret_clients[n++] = cl;
    }
    e->ready_count = kept;
    return n;
}

void engine_batch(struct engine *e) {
    size_t n = e->ready_count;
    if (n == 0)
        return;
    /* Clients that become ready meanwhile (resumed ones) go to the next batch. */
    struct client **clients = mem_alloc(n * sizeof(struct client *));
    n = take_ready(e, clients);
    struct client **outer = e->batch;
    const size_t outer_count = e->batch_count;
    e->batch = clients;
    e->batch_count = n;
    e->batch_groups = 0;
    keyspace_set_now_ms(e->ks, e->now_ms);
    if (e->io != NULL && n > 1 && e->busy_depth == 0 && io_pool_threads(e->io) > 1) {
        batch_with_threads(e, clients, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            struct client *cl = clients[i];
            if (!can_read(cl))
                continue;
            prepare_input(cl);
            read_input(cl);
            after_read(e, cl);
            if (can_run(cl))
                work_off(e, cl);
        }
    }
    run_group(e, e->group);
    for (size_t i = 0; i < n; i++)
        settle_client(clients[i]);
    e->batch = outer;
    e->batch_count = outer_count;
    mem_free(clients);
}
