#include "config.h"

#include "server/engine/engine_int.h"

#include <math.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* Clients that wait for keys.
 *
 *   k->buckets ─► key_queue (db, key) ─► … of the bucket
 *                  │ first … last: waiters in order of arrival
 *                  ▼
 *                 key_waiter ◄──► key_waiter          one a (client, key)
 *                  │ lies in
 *                 key_wait of a client: its request, its terms, its waiters
 *
 *  1. A client waits ⇔ it has CLIENT_BLOCKED and cl->block->keys; it is in one queue for each of its different keys.
 *  2. A queue exists while somebody is in it, or while it is being served.
 *  3. k->woken holds each woken queue once, at q->woken - 1, in the order in which they were woken.
 *
 * A change marks its key's queue, which costs a look-up while anybody waits and one comparison while nobody does. What
 * was marked is served when no command runs: the request of each waiter runs again as any command does, so that what it
 * changes is propagated, held and counted by the same code, behind the change that woke it. While it runs, the other
 * keys it waits for are hidden from it: it is served by the key that was changed first, whatever stands in the others.
 * What it changes may wake further queues, which come at the end of the list. */

struct key_waiter {
    struct key_wait *wait;
    struct key_queue *queue;
    struct key_waiter *prev, *next;
};

struct key_queue {
    struct key_queue *next; /* of the bucket */
    struct keyref key;      /* its bytes lie behind */
    unsigned db;
    bool serving;
    size_t woken;        /* place in k->woken + 1; 0: not woken */
    size_t gone_waiters; /* those with a gone_error */
    struct key_waiter *first, *last;
};

struct key_wait {
    struct client *cl;
    struct owned_request *request;
    char *gone_error;
    enum value_type type;
    bool again;                    /* the request that ran again found nothing */
    const struct key_queue *woken; /* while it runs again: the key it is served by */
    size_t count;
    struct key_waiter waiters[];
};

/* ---- queues ---- */

static struct key_queue **bucket_of(struct key_waits *k, unsigned db, uint64_t hash) {
    return &k->buckets[(size_t)inflight_key(db, hash) & k->mask];
}

static struct key_queue *find_queue(struct key_waits *k, unsigned db, const struct keyref *key) {
    if (k->queues == 0)
        return NULL;
    for (struct key_queue *q = *bucket_of(k, db, key->hash); q != NULL; q = q->next)
        if (q->key.hash == key->hash && q->db == db && slice_eq(q->key.key, key->key))
            return q;
    return NULL;
}

static void grow_buckets(struct key_waits *k) {
    struct key_queue **old = k->buckets;
    const size_t n = old != NULL ? k->mask + 1 : 0, to = n != 0 ? n * 2 : 64;
    k->buckets = mem_calloc(to, sizeof *k->buckets);
    k->mask = to - 1;
    for (size_t i = 0; i < n; i++) {
        for (struct key_queue *q = old[i], *next; q != NULL; q = next) {
            next = q->next;
            struct key_queue **b = bucket_of(k, q->db, q->key.hash);
            q->next = *b;
            *b = q;
        }
    }
    mem_free(old);
}

static struct key_queue *queue_of(struct key_waits *k, unsigned db, const struct keyref *key) {
    struct key_queue *q = find_queue(k, db, key);
    if (q != NULL)
        return q;
    if (k->buckets == NULL || k->queues > k->mask)
        grow_buckets(k);
    q = mem_calloc(1, sizeof *q + key->key.n);
    memcpy(q + 1, key->key.p, key->key.n);
    q->key = *key;
    q->key.key = slice_of((const char *)(q + 1), key->key.n);
    q->db = db;
    struct key_queue **b = bucket_of(k, db, key->hash);
    q->next = *b;
    *b = q;
    k->queues++;
    return q;
}

static void free_if_empty(struct key_waits *k, struct key_queue *q) {
    if (q->first != NULL || q->serving)
        return;
    struct key_queue **at = bucket_of(k, q->db, q->key.hash);
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    if (q->woken != 0)
        k->woken[q->woken - 1] = NULL;
    k->queues--;
    mem_free(q);
}

static void wake(struct key_waits *k, struct key_queue *q) {
    if (q->woken != 0)
        return;
    if (k->woken_count == k->woken_cap) {
        k->woken_cap = k->woken_cap != 0 ? k->woken_cap * 2 : 16;
        k->woken = mem_realloc(k->woken, k->woken_cap * sizeof *k->woken);
    }
    k->woken[k->woken_count++] = q;
    q->woken = k->woken_count;
}

void block_keys_note(struct engine *e, unsigned db, const struct keyref *key) {
    struct key_queue *q = find_queue(&e->waits, db, key);
    if (q != NULL)
        wake(&e->waits, q);
}

void block_keys_note_all(struct engine *e, int db) {
    struct key_waits *k = &e->waits;
    for (size_t i = 0; k->queues != 0 && i <= k->mask; i++)
        for (struct key_queue *q = k->buckets[i]; q != NULL; q = q->next)
            if (db < 0 || q->db == (unsigned)db)
                wake(k, q);
}

void block_keys_deinit(struct engine *e) {
    HF_ASSERT(e->waits.queues == 0);
    mem_free(e->waits.buckets);
    mem_free(e->waits.woken);
}

/* ---- waiting ---- */

static void join(struct key_waits *k, struct key_wait *w, const struct keyref *key) {
    struct key_queue *q = queue_of(k, w->cl->db, key);
    /* A client comes to all of its queues at once: where the key was named before, it is still the last. */
    if (q->last != NULL && q->last->wait == w)
        return;
    struct key_waiter *me = &w->waiters[w->count++];
    *me = (struct key_waiter){.wait = w, .queue = q, .prev = q->last};
    if (q->last != NULL)
        q->last->next = me;
    else
        q->first = me;
    q->last = me;
    if (w->gone_error != NULL && q->gone_waiters++ == 0)
        k->gone_queues++;
}

static void part(struct key_waits *k, struct key_waiter *me) {
    struct key_queue *q = me->queue;
    *(me->prev != NULL ? &me->prev->next : &q->first) = me->next;
    *(me->next != NULL ? &me->next->prev : &q->last) = me->prev;
    if (me->wait->gone_error != NULL && --q->gone_waiters == 0)
        k->gone_queues--;
    free_if_empty(k, q);
}

void block_keys_leave(struct client *cl) {
    struct key_waits *k = &cl->engine->waits;
    struct key_wait *w = cl->block->keys;
    for (size_t i = 0; i < w->count; i++)
        part(k, &w->waiters[i]);
    k->clients--;
    mem_free(w->gone_error);
    mem_free(w->request);
    mem_free(w);
}

size_t block_keys_memory(const struct client *cl) {
    const struct key_wait *w = cl->block->keys;
    return sizeof *w + w->count * sizeof w->waiters[0] + w->request->memory_bytes;
}

/* The reply tells of keys whose changes may be in flight. */
void block_keys_end(struct client *cl, const char *error) {
    struct engine *e = cl->engine;
    const struct key_wait *w = cl->block->keys;
    uint64_t from = outq_end(&cl->out), offset = 0;
    for (size_t i = 0; i < w->count; i++) {
        const struct key_queue *q = w->waiters[i].queue;
        uint64_t seen = inflight_offset(&e->inflight, inflight_key(q->db, q->key.hash));
        if (seen > offset)
            offset = seen;
    }
    if (error != NULL)
        engine_reply_error(cl, error);
    else
        resp_null_array(&cl->w);
    if (offset != 0 && outq_end(&cl->out) != from)
        engine_update_marks(cl, from, offset);
    block_resume(cl);
}

static bool is_leaving(const struct client *cl) {
    return (cl->flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY)) != 0 || cl->read_error != 0;
}

static int64_t on_deadline(struct loop *loop, uint64_t id, void *arg) {
    (void)loop, (void)id;
    struct client *cl = arg;
    cl->block->timer = 0;
    if (!is_leaving(cl))
        block_keys_end(cl, NULL);
    return -1;
}

void call_block_on_keys(struct call *c, const struct keyref *keys, size_t n, enum value_type type, int64_t timeout_ms,
                        enum call_timeout_reply reply, const char *gone_error) {
    struct engine *e = c->engine;
    struct client *cl = c->client;
    if (c->retry) {
        cl->block->keys->again = true;
        return;
    }
    if (call_must_not_block(c)) {
        if (reply == CALL_TIMEOUT_NULL_ARRAY)
            resp_null_array(c->w);
        else
            resp_null(c->w);
        return;
    }
    struct key_wait *w = mem_calloc(1, sizeof *w + n * sizeof w->waiters[0]);
    w->cl = cl;
    w->request = owned_request_create(c->cmd, c->argv, c->argc);
    w->gone_error = gone_error != NULL ? mem_strdup(gone_error) : NULL;
    w->type = type;
    w->again = true;
    for (size_t i = 0; i < n; i++)
        join(&e->waits, w, &keys[i]);
    e->waits.clients++;
    struct client_block *b = mem_calloc(1, sizeof *b);
    b->keys = w;
    cl->block = b;
    cl->flags |= CLIENT_BLOCKED;
    int64_t us;
    if (timeout_ms > 0 && !__builtin_mul_overflow(timeout_ms, 1000, &us) &&
        !__builtin_add_overflow(us, clock_mono_us(), &b->deadline_us))
        b->timer = loop_timer_add(e->loop, timeout_ms, on_deadline, cl);
    else
        b->deadline_us = 0; /* later than any clock */
}

bool call_arg_timeout(struct call *c, int i, int64_t *ret_ms) {
    long double s;
    if (num_parse_ldouble(c->argv[i], &s) != 0) {
        call_error(c, "ERR timeout is not a float or out of range");
        return false;
    }
    long double ms = ceill(s * 1000.0L);
    int64_t at;
    if (ms >= 0x1p63L || (ms > 0 && num_add_i64((int64_t)ms, call_now_ms(c), &at))) {
        call_error(c, "ERR timeout is out of range");
        return false;
    }
    if (ms < 0) {
        call_error(c, "ERR timeout is negative");
        return false;
    }
    *ret_ms = (int64_t)ms;
    return true;
}

/* ---- serving ---- */

bool block_keys_hides(const struct call *c, const struct keyref *key) {
    const struct key_wait *w = c->client->block->keys;
    if (w->gone_error != NULL) /* it ends when any of its keys goes: none may seem to be gone */
        return false;
    for (size_t i = 0; i < w->count; i++) {
        const struct key_queue *q = w->waiters[i].queue;
        if (q->key.hash == key->hash && slice_eq(q->key.key, key->key))
            return q != w->woken;
    }
    return false;
}

bool block_keys_unfinished(const struct client *cl) {
    return cl->block != NULL && cl->block->keys != NULL && cl->block->keys->again;
}

static void forget_woken(struct key_waits *k, size_t from) {
    while (k->woken_count > from) {
        struct key_queue *q = k->woken[--k->woken_count];
        if (q != NULL)
            q->woken = 0;
    }
}

static void run_again(struct engine *e, struct key_waiter *me) {
    struct key_wait *w = me->wait;
    struct client *cl = w->cl;
    const size_t woken = e->waits.woken_count;
    w->again = false;
    w->woken = me->queue;
    engine_execute(e, cl, w->request->cmd, w->request->argv, w->request->argc, NULL, slice_of(NULL, 0));
    if (!w->again) {
        block_resume(cl);
        return;
    }
    /* Who found nothing has nothing for others either: or two of them could wake each other for ever. */
    w->woken = NULL;
    forget_woken(&e->waits, woken);
}

static void serve_queue(struct engine *e, struct key_queue *q) {
    q->serving = true;
    for (struct key_waiter *me = q->first, *next; me != NULL; me = next) {
        next = me->next; /* serving a client takes away no waiters but its own, of which this queue has one */
        const struct key_wait *w = me->wait;
        if (is_leaving(w->cl))
            continue;
        const struct entry *en = keyspace_peek(e->ks, q->db, &q->key);
        if (en != NULL && entry_type(en) == w->type)
            run_again(e, me);
        else if (w->gone_error != NULL)
            block_keys_end(w->cl, w->gone_error);
        else if (en == NULL && q->gone_waiters == 0)
            break;
    }
    q->serving = false;
    free_if_empty(&e->waits, q);
}

void block_keys_serve(struct engine *e) {
    struct key_waits *k = &e->waits;
    if (k->woken_count == 0 || k->serving || e->call != NULL || e->in_exec)
        return;
    if (e->pause_until_ms != 0 || e->log_full)
        return; /* serving is writing: after the pause */
    if (keyspace_expiry_mode(e->ks) == KEYSPACE_EXPIRE_IGNORE)
        return; /* while a primary's stream is executed: clients see keys otherwise */
    const bool applying = e->applying;
    e->applying = false;
    k->serving = true;
    for (size_t i = 0; i < k->woken_count; i++) {
        struct key_queue *q = k->woken[i];
        if (q == NULL)
            continue;
        q->woken = 0; /* it may be woken again, for a turn at the end */
        k->woken[i] = NULL;
        serve_queue(e, q);
    }
    k->woken_count = 0;
    k->serving = false;
    e->applying = applying;
}

size_t engine_blocking_keys(const struct engine *e) {
    return e->waits.queues;
}

size_t engine_blocking_keys_on_gone(const struct engine *e) {
    return e->waits.gone_queues;
}
