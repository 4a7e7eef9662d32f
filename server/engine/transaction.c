#include "config.h"

#include "server/engine/engine_int.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

/* MULTI, EXEC, DISCARD, WATCH, UNWATCH.
 *
 * A watched key is one record in a chained hash by (database, key), with the clients that watch it. A key that was due
 * already when it was watched does not spoil the transaction when it goes (`was_due`). */

struct watched_key {
    struct watched_key *next; /* of the bucket */
    uint64_t hash;
    unsigned db;
    size_t key_len;
    struct watcher {
        struct client *cl;
        bool was_due;
    } * watchers;
    size_t count, cap;
    char key[];
};

/* ---- owned requests ---- */

struct owned_request *owned_request_create(struct command_entry *cmd, const struct slice *argv, int argc) {
    size_t bytes = sizeof(struct owned_request) + (size_t)argc * sizeof(struct slice);
    size_t data = bytes;
    for (int i = 0; i < argc; i++)
        bytes += argv[i].n;
    struct owned_request *r = mem_alloc(bytes);
    r->cmd = cmd;
    r->argc = argc;
    r->memory_bytes = bytes;
    char *p = (char *)r + data;
    for (int i = 0; i < argc; i++) {
        memcpy(p, argv[i].p, argv[i].n);
        r->argv[i] = slice_of(p, argv[i].n);
        p += argv[i].n;
    }
    return r;
}

static struct transaction *transaction_of(struct client *cl) {
    if (cl->tx == NULL)
        cl->tx = mem_calloc(1, sizeof *cl->tx);
    return cl->tx;
}

void transaction_queue(struct client *cl, struct command_entry *cmd, const struct slice *argv, int argc) {
    struct transaction *tx = transaction_of(cl);
    /* A transaction that is going to fail anyway need not hold its commands. */
    if (cl->flags & (CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC))
        return;
    if (tx->count == tx->cap) {
        tx->cap = tx->cap ? tx->cap * 2 : 8;
        tx->queued = mem_realloc(tx->queued, tx->cap * sizeof(struct owned_request *));
    }
    struct owned_request *r = owned_request_create(cmd, argv, argc);
    tx->queued[tx->count++] = r;
    tx->queued_bytes += r->memory_bytes;
}

static void drop_queue(struct client *cl) {
    struct transaction *tx = cl->tx;
    if (tx != NULL) {
        for (size_t i = 0; i < tx->count; i++)
            mem_free(tx->queued[i]);
        tx->count = 0;
        tx->queued_bytes = 0;
    }
    cl->flags &= ~(uint64_t)(CLIENT_MULTI | CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC);
}

void transaction_discard(struct client *cl) {
    if (cl->tx == NULL)
        return;
    drop_queue(cl);
    transaction_unwatch(cl);
    mem_free(cl->tx->queued);
    mem_free(cl->tx->watched);
    mem_free(cl->tx);
    cl->tx = NULL;
}

size_t transaction_memory(const struct client *cl) {
    if (cl->tx == NULL)
        return 0;
    return sizeof *cl->tx + cl->tx->cap * sizeof(void *) + cl->tx->queued_bytes + cl->tx->watched_cap * sizeof(void *);
}

/* ---- watched keys ---- */

static size_t bucket_of(const struct engine *e, unsigned db, uint64_t hash) {
    return (size_t)inflight_key(db, hash) & e->watch_mask;
}

static struct watched_key *find_watched(struct engine *e, unsigned db, const struct keyref *key) {
    if (e->watch_buckets == NULL)
        return NULL;
    for (struct watched_key *w = e->watch_buckets[bucket_of(e, db, key->hash)]; w != NULL; w = w->next)
        if (w->hash == key->hash && w->db == db && slice_eq(slice_of(w->key, w->key_len), key->key))
            return w;
    return NULL;
}

static void grow_buckets(struct engine *e) {
    size_t old_n = e->watch_buckets ? e->watch_mask + 1 : 0, n = old_n ? old_n * 2 : 64;
    struct watched_key **old = e->watch_buckets;
    e->watch_buckets = mem_calloc(n, sizeof *e->watch_buckets);
    e->watch_mask = n - 1;
    for (size_t i = 0; i < old_n; i++) {
        for (struct watched_key *w = old[i], *next; w != NULL; w = next) {
            next = w->next;
            size_t b = bucket_of(e, w->db, w->hash);
            w->next = e->watch_buckets[b];
            e->watch_buckets[b] = w;
        }
    }
    mem_free(old);
}

static void watch(struct client *cl, const struct keyref *key) {
    struct engine *e = cl->engine;
    struct transaction *tx = transaction_of(cl);
    if (e->watch_buckets == NULL || e->watch_count > e->watch_mask)
        grow_buckets(e);
    struct watched_key *w = find_watched(e, cl->db, key);
    if (w == NULL) {
        w = mem_calloc(1, sizeof *w + key->key.n);
        w->hash = key->hash;
        w->db = cl->db;
        w->key_len = key->key.n;
        memcpy(w->key, key->key.p, key->key.n);
        size_t b = bucket_of(e, cl->db, key->hash);
        w->next = e->watch_buckets[b];
        e->watch_buckets[b] = w;
        e->watch_count++;
    }
    for (size_t i = 0; i < w->count; i++)
        if (w->watchers[i].cl == cl)
            return;
    if (w->count == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 2;
        w->watchers = mem_realloc(w->watchers, w->cap * sizeof *w->watchers);
    }
    const struct entry *now = keyspace_peek(e->ks, cl->db, key);
    bool due = now != NULL && entry_deadline_ms(now) >= 0 && entry_deadline_ms(now) <= keyspace_now_ms(e->ks);
    w->watchers[w->count++] = (struct watcher){cl, due};
    if (tx->watched_count == tx->watched_cap) {
        tx->watched_cap = tx->watched_cap ? tx->watched_cap * 2 : 4;
        tx->watched = mem_realloc(tx->watched, tx->watched_cap * sizeof(struct watched_key *));
    }
    if (tx->watched_count == 0)
        e->watching_clients++;
    tx->watched[tx->watched_count++] = w;
}

static void forget_watched(struct engine *e, struct watched_key *w) {
    struct watched_key **at = &e->watch_buckets[bucket_of(e, w->db, w->hash)];
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    mem_free(w->watchers);
    mem_free(w);
    e->watch_count--;
}

void transaction_unwatch(struct client *cl) {
    struct transaction *tx = cl->tx;
    if (tx == NULL || tx->watched_count == 0)
        return;
    for (size_t i = 0; i < tx->watched_count; i++) {
        struct watched_key *w = tx->watched[i];
        for (size_t k = 0; k < w->count; k++) {
            if (w->watchers[k].cl == cl) {
                w->watchers[k] = w->watchers[--w->count];
                break;
            }
        }
        if (w->count == 0)
            forget_watched(cl->engine, w);
    }
    tx->watched_count = 0;
    cl->engine->watching_clients--;
}

void transaction_touch(struct engine *e, unsigned db, const struct keyref *key) {
    struct watched_key *w = find_watched(e, db, key);
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->count; i++) {
        if (w->watchers[i].was_due && keyspace_peek(e->ks, db, key) == NULL)
            w->watchers[i].was_due = false; /* the dead key is gone: nothing changed for the watcher */
        else
            w->watchers[i].cl->flags |= CLIENT_DIRTY_CAS;
    }
}

/* Redis: a flush spoils watches of keys that exist (or did until now); a swap those of keys that exist on either side.
 * Watchers of keys that were never there keep theirs. */
void transaction_touch_all(struct engine *e, int db) {
    for (size_t b = 0; e->watch_buckets != NULL && b <= e->watch_mask; b++)
        for (struct watched_key *w = e->watch_buckets[b]; w != NULL; w = w->next) {
            if (db >= 0 && w->db != (unsigned)db)
                continue;
            struct keyref key = {slice_of(w->key, w->key_len), w->hash, 0};
            key = keyspace_key(e->ks, key.key);
            const struct entry *now = keyspace_peek(e->ks, w->db, &key);
            if (now == NULL)
                continue;
            bool due = entry_deadline_ms(now) >= 0 && entry_deadline_ms(now) <= keyspace_now_ms(e->ks);
            for (size_t i = 0; i < w->count; i++)
                if (!(due && w->watchers[i].was_due))
                    w->watchers[i].cl->flags |= CLIENT_DIRTY_CAS;
        }
}

static bool watched_key_due(struct client *cl) {
    if (cl->tx == NULL)
        return false;
    int64_t now = keyspace_now_ms(cl->engine->ks);
    for (size_t i = 0; i < cl->tx->watched_count; i++) {
        struct watched_key *w = cl->tx->watched[i];
        struct keyref key = keyspace_key(cl->engine->ks, slice_of(w->key, w->key_len));
        const struct entry *en = keyspace_peek(cl->engine->ks, w->db, &key);
        bool due = en != NULL && entry_deadline_ms(en) >= 0 && entry_deadline_ms(en) <= now;
        for (size_t k = 0; k < w->count; k++)
            if (w->watchers[k].cl == cl && due && !w->watchers[k].was_due)
                return true;
    }
    return false;
}

/* ---- commands ---- */

static void cmd_multi(struct call *c) {
    if (c->client->flags & CLIENT_MULTI) {
        call_error(c, "ERR MULTI calls can not be nested");
        return;
    }
    transaction_of(c->client);
    c->client->flags |= CLIENT_MULTI;
    resp_ok(c->w);
}

static void cmd_discard(struct call *c) {
    if (!(c->client->flags & CLIENT_MULTI)) {
        call_error(c, "ERR DISCARD without MULTI");
        return;
    }
    transaction_discard(c->client);
    resp_ok(c->w);
}

static void cmd_watch(struct call *c) {
    if (c->client->flags & CLIENT_MULTI) {
        call_error(c, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!(c->client->flags & CLIENT_DIRTY_CAS))
        for (int i = 1; i < c->argc; i++) {
            struct keyref key = call_key(c, i);
            watch(c->client, &key);
        }
    resp_ok(c->w);
}

static void cmd_unwatch(struct call *c) {
    transaction_unwatch(c->client);
    c->client->flags &= ~(uint64_t)CLIENT_DIRTY_CAS;
    resp_ok(c->w);
}

/* A command queued earlier may have become impossible meanwhile. */
static const char *refusal_at_exec(struct engine *e, struct client *cl) {
    for (size_t i = 0; i < cl->tx->count; i++) {
        if (!(cl->tx->queued[i]->cmd->flags & COMMAND_WRITE) || (cl->flags & CLIENT_MUST_OBEY))
            continue;
        for (int h = 0; h < e->hook_count; h++) {
            const char *text = e->hooks[h].refuse_write ? e->hooks[h].refuse_write(e->hooks[h].ctx, cl) : NULL;
            if (text != NULL)
                return text;
        }
        break;
    }
    for (size_t i = 0; e->guard.fn != NULL && i < cl->tx->count; i++) {
        const char *text = e->guard.fn(e->guard.ctx, cl, cl->tx->queued[i]->cmd);
        if (text != NULL)
            return text;
    }
    return NULL;
}

static void run_queue(struct call *c) {
    struct engine *e = c->engine;
    struct client *cl = c->client;
    struct transaction *tx = cl->tx;
    transaction_unwatch(cl);
    cl->flags &= ~(uint64_t)CLIENT_MULTI;
    cl->flags |= CLIENT_IN_EXEC;
    engine_log_exec_begin(e);
    resp_array(c->w, tx->count);
    for (size_t i = 0; i < tx->count; i++)
        engine_execute(e, cl, tx->queued[i]->cmd, tx->queued[i]->argv, tx->queued[i]->argc, NULL, slice_of(NULL, 0));
    cl->flags &= ~(uint64_t)CLIENT_IN_EXEC;
    if (e->exec_wrote)
        c->propagate = CALL_PROPAGATE_NOTHING; /* the group is in the log: EXEC itself is part of it */
    engine_log_exec_end(e);
}

static void cmd_exec(struct call *c) {
    struct client *cl = c->client;
    if (!(cl->flags & CLIENT_MULTI)) {
        call_error(c, "ERR EXEC without MULTI");
        return;
    }
    if (watched_key_due(cl))
        cl->flags |= CLIENT_DIRTY_CAS;
    if (cl->flags & (CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC)) {
        if (cl->flags & CLIENT_DIRTY_EXEC)
            call_error(c, "EXECABORT Transaction discarded because of previous errors.");
        else
            resp_null_array(c->w);
        /* The failure tells that a watched key changed, which may be in flight still. */
        if (c->engine->tracking)
            c->engine->read_offset = changelog_appended(c->engine->log);
        transaction_discard(cl);
        return;
    }
    const char *refusal = refusal_at_exec(c->engine, cl);
    if (refusal != NULL) {
        call_errorf(c, "EXECABORT Transaction discarded because of: %s", refusal);
        transaction_discard(cl);
        return;
    }
    run_queue(c);
    transaction_discard(cl);
}

const struct command transaction_commands[] = {
    {.name = "multi",
     .group = "transactions",
     .since = "1.2.0",
     .arity = 1,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_NO_MULTI | COMMAND_ALLOW_BUSY,
     .acl = ACL_TRANSACTION,
     .run = cmd_multi},
    {.name = "exec",
     .group = "transactions",
     .since = "1.2.0",
     .arity = 1,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_SKIP_SLOWLOG,
     .acl = ACL_TRANSACTION,
     .run = cmd_exec},
    {.name = "discard",
     .group = "transactions",
     .since = "2.0.0",
     .arity = 1,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_ALLOW_BUSY,
     .acl = ACL_TRANSACTION,
     .run = cmd_discard},
    {.name = "watch",
     .group = "transactions",
     .since = "2.2.0",
     .arity = -2,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_NO_MULTI | COMMAND_ALLOW_BUSY,
     .acl = ACL_TRANSACTION,
     .keys = {{.flags = KEY_RO, .begin = KEY_BEGIN_INDEX, .index = 1, .find = KEY_FIND_RANGE, .last = -1, .step = 1}},
     .run = cmd_watch},
    {.name = "unwatch",
     .group = "transactions",
     .since = "2.2.0",
     .arity = 1,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_ALLOW_BUSY,
     .acl = ACL_TRANSACTION,
     .run = cmd_unwatch},
};
const size_t transaction_command_count = sizeof transaction_commands / sizeof transaction_commands[0];
