#include "config.h"

#include "server/engine/write_ack.h"

#include <stdio.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/engine/engine_int.h"

/* Held replies.
 *
 * A client's waits are a ring in the order of its replies: [from, to) are positions of its output queue, which rise,
 * and nothing from the first wait on is written. A wait ends when enough replicas have its offset, or at its deadline,
 * when the queue is made anew with an error in place of each reply that is late: positions behind it move, those of
 * marks too. One timer stands at about the earliest deadline of all clients. */

#define WAITS_MIN 16
#define WAITS_MAX 16384 /* then the client is read no further */
#define ERROR_BYTES 160

struct ack_wait {
    uint64_t from, to, offset;
    int64_t deadline_us; /* monotonic; 0: none */
    struct write_ack_terms terms;
};

struct client_acks {
    bool has_terms;
    struct write_ack_terms terms;
    struct ack_wait *waits;
    uint32_t head, count, cap;
};

static struct ack_wait *wait_at(const struct client_acks *a, uint32_t i) {
    return &a->waits[(a->head + i) & (a->cap - 1)];
}

static bool is_confirmed(const struct engine *e, const struct ack_wait *w) {
    const struct write_ack_source *s = &e->ack_source;
    return w->offset != UINT64_MAX && s->confirmed != NULL &&
           s->confirmed(s->ctx, w->offset, w->terms.durable) >= w->terms.replicas;
}

/* ---- terms ---- */

void engine_set_write_ack_source(struct engine *e, const struct write_ack_source *source) {
    e->ack_source = *source;
}

static struct client_acks *acks_of(struct client *cl) {
    if (cl->acks == NULL)
        cl->acks = mem_calloc(1, sizeof *cl->acks);
    return cl->acks;
}

void client_set_write_ack(struct client *cl, const struct write_ack_terms *terms) {
    if (terms == NULL && cl->acks == NULL)
        return;
    struct client_acks *a = acks_of(cl);
    a->has_terms = terms != NULL;
    if (terms != NULL)
        a->terms = *terms;
}

struct write_ack_terms client_write_ack(const struct client *cl) {
    return cl->acks != NULL && cl->acks->has_terms ? cl->acks->terms : cl->engine->write_ack;
}

bool write_ack_applies(const struct client *cl) {
    return cl->conn != NULL && client_write_ack(cl).replicas != 0;
}

/* ---- waiting ---- */

static int64_t on_timer(struct loop *loop, uint64_t id, void *arg);

static void arm(struct engine *e, int64_t deadline_us) {
    if (e->ack_timer != 0 && e->ack_timer_us <= deadline_us)
        return;
    if (e->ack_timer != 0)
        loop_timer_remove(e->loop, e->ack_timer);
    int64_t ms = (deadline_us - clock_mono_us() + 999) / 1000;
    e->ack_timer_us = deadline_us;
    e->ack_timer = loop_timer_add(e->loop, ms > 0 ? ms : 0, on_timer, e);
}

static void grow(struct client_acks *a) {
    uint32_t cap = a->cap != 0 ? a->cap * 2 : WAITS_MIN;
    struct ack_wait *waits = mem_alloc(cap * sizeof *waits);
    for (uint32_t i = 0; i < a->count; i++)
        waits[i] = *wait_at(a, i);
    mem_free(a->waits);
    a->waits = waits;
    a->head = 0;
    a->cap = cap;
}

void write_ack_note(struct client *cl, uint64_t from, uint64_t offset) {
    struct engine *e = cl->engine;
    struct client_acks *a = acks_of(cl);
    struct ack_wait w = {.from = from, .to = outq_end(&cl->out), .offset = offset, .terms = client_write_ack(cl)};
    if (w.to == from)
        return;
    int64_t us;
    if (w.terms.timeout_ms > 0 && !__builtin_mul_overflow(w.terms.timeout_ms, 1000, &us) &&
        !__builtin_add_overflow(us, clock_mono_us(), &w.deadline_us))
        arm(e, w.deadline_us);
    else
        w.deadline_us = 0;
    if (a->count == a->cap)
        grow(a);
    a->count++;
    *wait_at(a, a->count - 1) = w;
    if (e->ack_source.ask != NULL)
        e->ack_source.ask(e->ack_source.ctx);
}

uint64_t write_ack_limit(struct client *cl, uint64_t limit) {
    struct client_acks *a = cl->acks;
    while (a->count > 0) {
        const struct ack_wait *w = wait_at(a, 0);
        if (!is_confirmed(cl->engine, w))
            return w->from < limit ? w->from : limit;
        a->head = (a->head + 1) & (a->cap - 1);
        a->count--;
    }
    return limit;
}

bool write_ack_is_waiting(const struct client *cl) {
    return cl->acks != NULL && cl->acks->count > 0;
}

bool write_ack_is_full(const struct client *cl) {
    return cl->acks != NULL && cl->acks->count >= WAITS_MAX;
}

void write_ack_free(struct client *cl) {
    if (cl->acks == NULL)
        return;
    mem_free(cl->acks->waits);
    mem_free(cl->acks);
    cl->acks = NULL;
}

size_t write_ack_memory(const struct client *cl) {
    return cl->acks == NULL ? 0 : sizeof *cl->acks + cl->acks->cap * sizeof *cl->acks->waits;
}

/* ---- giving up ---- */

struct rebuild {
    struct outq *from, *to;
    struct client *cl;
    uint32_t next_mark;
};

static struct client_mark *mark_at(const struct client *cl, uint32_t i) {
    return &cl->marks[(cl->mark_head + i) & (cl->mark_cap - 1)];
}

/* Takes the bytes up to position `end` out of the old queue, into the new one or nowhere. */
static void pass(struct rebuild *r, uint64_t end, bool keep) {
    const uint64_t old_start = r->from->begin, new_start = outq_end(r->to);
    for (; r->next_mark < r->cl->mark_count; r->next_mark++) {
        struct client_mark *m = mark_at(r->cl, r->next_mark);
        if (m->from >= end)
            break;
        m->from = keep ? new_start + (m->from - old_start) : new_start;
    }
    while (r->from->begin < end) {
        struct iovec iov[16];
        int n = outq_iov(r->from, end, iov, 16);
        HF_ASSERT(n > 0);
        size_t total = 0;
        for (int i = 0; i < n; i++) {
            if (keep)
                outq_append(r->to, iov[i].iov_base, iov[i].iov_len);
            total += iov[i].iov_len;
        }
        outq_consume(r->from, total);
    }
}

static void append_error(struct engine *e, struct outq *q, const struct ack_wait *w, bool disowned) {
    const struct write_ack_source *s = &e->ack_source;
    size_t have =
        s->confirmed != NULL && w->offset != UINT64_MAX ? s->confirmed(s->ctx, w->offset, w->terms.durable) : 0;
    char text[ERROR_BYTES];
    int n;
    if (disowned)
        n = snprintf(text, sizeof text,
                     "UNCONFIRMED The write is applied here, but this node became a replica before %u replicas "
                     "confirmed it",
                     w->terms.replicas);
    else
        n = snprintf(text, sizeof text,
                     "UNCONFIRMED The write is applied here, but only %zu of %u replicas confirmed it within %lld ms",
                     have, w->terms.replicas, (long long)w->terms.timeout_ms);
    HF_ASSERT(n > 0 && (size_t)n < sizeof text);
    engine_count_error(e, slice_of(text, (size_t)n));
    outq_append(q, "-", 1);
    outq_append(q, text, (size_t)n);
    outq_append(q, "\r\n", 2);
    e->ack_timeouts++;
}

/* What is late becomes an error; disown: all that is not confirmed. */
static void give_up(struct client *cl, int64_t now_us, bool disown) {
    struct client_acks *a = cl->acks;
    struct outq old = cl->out;
    outq_init_at(&cl->out, old.begin);
    struct rebuild r = {.from = &old, .to = &cl->out, .cl = cl};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        struct ack_wait w = *wait_at(a, i);
        bool late = (disown || (w.deadline_us != 0 && w.deadline_us <= now_us)) && !is_confirmed(cl->engine, &w);
        pass(&r, w.from, true);
        uint64_t start = outq_end(&cl->out);
        pass(&r, w.to, !late);
        if (late) {
            append_error(cl->engine, &cl->out, &w, disown);
            continue;
        }
        w.from = start;
        w.to = outq_end(&cl->out);
        *wait_at(a, kept++) = w;
    }
    pass(&r, outq_end(&old), true);
    for (; r.next_mark < cl->mark_count; r.next_mark++) /* of replies that were empty */
        mark_at(cl, r.next_mark)->from = outq_end(&cl->out);
    a->count = kept;
    outq_deinit(&old);
    client_note_output(cl);
}

static int64_t on_timer(struct loop *loop, uint64_t id, void *arg) {
    (void)loop, (void)id;
    struct engine *e = arg;
    int64_t now = clock_mono_us(), next = INT64_MAX;
    e->ack_timer = 0;
    for (size_t i = 0; i < e->client_count; i++) {
        struct client *cl = e->clients[i];
        if (!write_ack_is_waiting(cl) || (cl->flags & CLIENT_CLOSE_ASAP))
            continue;
        bool late = false;
        for (uint32_t k = 0; k < cl->acks->count && !late; k++) {
            int64_t at = wait_at(cl->acks, k)->deadline_us;
            late = at != 0 && at <= now;
        }
        if (late)
            give_up(cl, now, false);
        for (uint32_t k = 0; k < cl->acks->count; k++) {
            int64_t at = wait_at(cl->acks, k)->deadline_us;
            if (at != 0 && at < next)
                next = at;
        }
    }
    if (next != INT64_MAX)
        arm(e, next);
    return -1;
}

void engine_write_ack_disown(struct engine *e) {
    for (size_t i = 0; i < e->client_count; i++) {
        struct client *cl = e->clients[i];
        if (write_ack_is_waiting(cl) && !(cl->flags & CLIENT_CLOSE_ASAP))
            give_up(cl, 0, true);
    }
}

void engine_write_ack_stats(const struct engine *e, struct write_ack_stats *ret_stats) {
    *ret_stats = (struct write_ack_stats){.timeouts = e->ack_timeouts};
    for (size_t i = 0; i < e->client_count; i++)
        ret_stats->waiting += write_ack_is_waiting(e->clients[i]);
}

/* ---- options ---- */

int write_ack_parse(const struct slice *argv, int argc, struct write_ack_terms *ret_terms) {
    int64_t n = 0;
    if (argc == 1 && slice_is(argv[0], "local")) {
        *ret_terms = (struct write_ack_terms){.timeout_ms = ret_terms->timeout_ms};
        return 0;
    }
    if (argc < 2 || argc > 3 || !slice_is(argv[0], "replicas") || num_parse_i64(argv[1], &n) != 0 || n < 1 ||
        n > INT32_MAX || (argc == 3 && !slice_is(argv[2], "durable")))
        return -1;
    *ret_terms =
        (struct write_ack_terms){.replicas = (unsigned)n, .durable = argc == 3, .timeout_ms = ret_terms->timeout_ms};
    return 0;
}

static int set_terms(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    (void)append;
    struct engine *e = ctx;
    if (write_ack_parse(argv, argc, &e->write_ack) == 0)
        return 0;
    buf_append_cstr(error, "argument must be 'local' or 'replicas <count> [durable]'");
    return -1;
}

static void get_terms(void *ctx, struct buf *out) {
    const struct engine *e = ctx;
    if (e->write_ack.replicas == 0)
        buf_append_cstr(out, "local");
    else
        buf_printf(out, "replicas %u%s", e->write_ack.replicas, e->write_ack.durable ? " durable" : "");
}

static const struct setting rows[] = {
    {.name = "write-ack",
     .type = SETTING_SPECIAL,
     .flags = SETTING_MULTI_ARG,
     .initial = "local",
     .set = set_terms,
     .get = get_terms},
    {.name = "write-ack-timeout",
     .type = SETTING_INT,
     .initial = "5000",
     .min = 0,
     .max = INT32_MAX,
     .offset = offsetof(struct write_ack_terms, timeout_ms)},
};

void engine_register_write_ack_settings(struct engine *e) {
    settings_register(e->settings, rows, sizeof rows / sizeof rows[0], &e->write_ack, e);
}
