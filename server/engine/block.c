#include "config.h"

#include "server/engine/engine_int.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/mem.h"

/* Clients that wait: for something outside the key space (call_block), or, with a request in hand, for the end of
 * CLIENT PAUSE or for room in the change log; block_keys.c has those who wait for keys. A blocked client is read but
 * not parsed, so that its going away is noticed; what it sends stays in its input buffer. */

static void enter(struct client *cl, struct client_block *b, uint64_t flag) {
    struct engine *e = cl->engine;
    HF_ASSERT(cl->block == NULL);
    cl->block = b;
    cl->flags |= flag;
    b->index = e->blocked_count;
    if (e->blocked_count == e->blocked_cap) {
        e->blocked_cap = e->blocked_cap ? e->blocked_cap * 2 : 16;
        e->blocked = mem_realloc(e->blocked, e->blocked_cap * sizeof(struct client *));
    }
    e->blocked[e->blocked_count++] = cl;
}

static void leave(struct client *cl) {
    struct engine *e = cl->engine;
    struct client_block *b = cl->block;
    if (b->keys != NULL) {
        block_keys_leave(cl);
    } else {
        e->blocked[b->index] = NULL;
        e->blocked_left++;
    }
    if (b->timer != 0)
        loop_timer_remove(e->loop, b->timer);
    if (b->ops != NULL && b->ops->free != NULL)
        b->ops->free(b->state);
    mem_free(b->postponed);
    mem_free(b);
    cl->block = NULL;
    cl->flags &= ~(uint64_t)(CLIENT_BLOCKED | CLIENT_PAUSED);
}

void block_drop(struct client *cl) {
    if (cl->block != NULL)
        leave(cl);
}

/* Places of those who left, once they are half of all. */
static void compact(struct engine *e) {
    if (e->walking_blocked || e->blocked_left * 2 < e->blocked_count)
        return;
    size_t k = 0;
    for (size_t i = 0; i < e->blocked_count; i++) {
        if (e->blocked[i] == NULL)
            continue;
        e->blocked[k] = e->blocked[i];
        e->blocked[k]->block->index = k;
        k++;
    }
    e->blocked_count = k;
    e->blocked_left = 0;
}

void block_resume(struct client *cl) {
    if (cl->flags & CLIENT_BLOCKED)
        engine_settle_replies(cl);
    leave(cl);
    client_update_reading(cl);
    client_note_output(cl);
    if (cl->in_len > cl->in_pos || cl->read_error != 0) {
        client_note_ready(cl);
        loop_dont_wait(cl->engine->loop);
    }
}

/* The cycle that the timer causes looks at who may go on. */
static int64_t on_deadline(struct loop *loop, uint64_t id, void *arg) {
    (void)loop, (void)id;
    struct client_block *b = arg;
    b->timer = 0;
    return -1;
}

void call_block(struct call *c, const struct client_block_ops *ops, void *state, int64_t timeout_ms) {
    struct client_block *b = mem_calloc(1, sizeof *b);
    b->ops = ops;
    b->state = state;
    int64_t us;
    if (timeout_ms > 0 && !__builtin_mul_overflow(timeout_ms, 1000, &us) &&
        !__builtin_add_overflow(us, clock_mono_us(), &b->deadline_us))
        b->timer = loop_timer_add(c->engine->loop, timeout_ms, on_deadline, b);
    else
        b->deadline_us = 0; /* later than any clock */
    enter(c->client, b, CLIENT_BLOCKED);
}

bool call_must_not_block(const struct call *c) {
    return (c->client->flags & (CLIENT_IN_EXEC | CLIENT_INTERNAL)) != 0 || c->engine->in_exec;
}

void block_pause(struct client *cl, struct command_entry *cmd, const struct slice *argv, int argc) {
    struct client_block *b = mem_calloc(1, sizeof *b);
    b->postponed = owned_request_create(cmd, argv, argc);
    enter(cl, b, CLIENT_PAUSED);
}

static void run_postponed(struct client *cl) {
    struct engine *e = cl->engine;
    struct owned_request *r = cl->block->postponed;
    cl->block->postponed = NULL;
    block_resume(cl);
    loop_dont_wait(e->loop); /* for what it appends to the change log */
    struct request req = {.cl = cl, .cmd = r->cmd, .argv = r->argv, .argc = r->argc};
    engine_dispatch(e, &req);
    mem_free(r);
}

void block_check_all(struct engine *e) {
    if (e->blocked_count == 0 && e->waits.woken_count == 0)
        return;
    engine_note_log_state(e);
    int64_t now_us = clock_mono_us();
    block_check_pause(e, now_us / 1000);
    if (e->waits.woken_count != 0) { /* they came before those whose commands were postponed */
        block_keys_serve(e);
        loop_dont_wait(e->loop);
    }
    /* In the order in which they began to wait. Who begins to wait meanwhile is asked in the next cycle. */
    const bool outer = e->walking_blocked;
    e->walking_blocked = true;
    const size_t n = e->blocked_count;
    for (size_t i = 0; i < n; i++) {
        struct client *cl = e->blocked[i];
        if (cl == NULL || (cl->flags & CLIENT_CLOSE_ASAP))
            continue;
        struct client_block *b = cl->block;
        if (b->ops == NULL) {
            if (e->pause_until_ms == 0 && !e->log_full)
                run_postponed(cl);
            continue;
        }
        bool ready = b->ops->ready(cl, b->state);
        bool late = !ready && b->deadline_us != 0 && now_us >= b->deadline_us;
        if (ready || late) {
            b->ops->reply(cl, b->state, late);
            block_resume(cl);
        }
    }
    e->walking_blocked = outer;
    compact(e);
}

#define UNBLOCKED_BY_COMMAND "UNBLOCKED client unblocked via CLIENT UNBLOCK"

bool engine_unblock(struct engine *e, struct client *cl, bool with_error) {
    (void)e;
    if (!(cl->flags & CLIENT_BLOCKED) || cl->block == NULL)
        return false;
    if (cl->block->keys != NULL) {
        block_keys_end(cl, with_error ? UNBLOCKED_BY_COMMAND : NULL);
        return true;
    }
    if (with_error)
        engine_reply_error(cl, UNBLOCKED_BY_COMMAND);
    else
        cl->block->ops->reply(cl, cl->block->state, true);
    block_resume(cl);
    return true;
}

void block_release_all(struct engine *e, const char *error) {
    for (size_t i = 0; i < e->client_count; i++) {
        struct client *cl = e->clients[i];
        if (!(cl->flags & CLIENT_BLOCKED) || (cl->flags & CLIENT_CLOSE_ASAP))
            continue;
        if (cl->block->keys != NULL) {
            block_keys_end(cl, error);
        } else {
            engine_reply_error(cl, error);
            block_resume(cl);
        }
        client_close_after_reply(cl);
    }
}

size_t engine_blocked_clients(const struct engine *e) {
    size_t n = e->waits.clients;
    for (size_t i = 0; i < e->blocked_count; i++)
        n += e->blocked[i] != NULL && (e->blocked[i]->flags & CLIENT_BLOCKED) != 0;
    return n;
}

size_t engine_blocked_with_deadline(const struct engine *e) {
    size_t n = 0;
    for (size_t i = 0; i < e->client_count; i++) {
        const struct client *cl = e->clients[i];
        n += (cl->flags & CLIENT_BLOCKED) != 0 && cl->block->deadline_us != 0;
    }
    return n;
}

/* The two pauses as one: what is asked at every command is a single field. */
static void apply_pauses(struct engine *e) {
    const int64_t before = e->pause_until_ms;
    e->pause_until_ms = e->writes_held ? INT64_MAX : e->client_pause_until_ms;
    if (e->client_pause_until_ms == 0)
        e->pause_all = false;
    engine_apply_expiry(e);
    if (e->pause_until_ms != before)
        loop_dont_wait(e->loop);
}

void engine_pause_clients(struct engine *e, int64_t until_mono_ms, bool all) {
    if (e->client_pause_until_ms != 0) {
        all = all || e->pause_all;
        if (until_mono_ms < e->client_pause_until_ms)
            until_mono_ms = e->client_pause_until_ms;
    }
    e->client_pause_until_ms = until_mono_ms;
    e->pause_all = all;
    apply_pauses(e);
}

void engine_unpause_clients(struct engine *e) {
    if (e->client_pause_until_ms == 0)
        return;
    e->client_pause_until_ms = 0;
    apply_pauses(e);
}

void engine_hold_writes(struct engine *e, bool on) {
    if (e->writes_held == on)
        return;
    e->writes_held = on;
    apply_pauses(e);
}

void block_check_pause(struct engine *e, int64_t now_ms) {
    if (e->client_pause_until_ms != 0 && now_ms >= e->client_pause_until_ms)
        engine_unpause_clients(e);
}

bool engine_paused(const struct engine *e, bool *ret_all) {
    *ret_all = e->pause_all;
    return e->pause_until_ms != 0;
}
