#include "config.h"

#include "server/engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/engine/engine_int.h"
#include "server/engine/latency.h"

/* The engine's context: creation, accepting, accessors, and what the keyspace announces. */

static void on_removed(void *ctx, unsigned db, const struct keyref *key, enum keyspace_removal why) {
    struct engine *e = ctx;
    static const struct {
        enum notify_class cls;
        const char *event;
    } events[] = {
        [KEYSPACE_EXPIRED] = {NOTIFY_EXPIRED, "expired"},
        [KEYSPACE_EVICTED] = {NOTIFY_EVICTED, "evicted"},
        [KEYSPACE_FIELDS_EXPIRED] = {NOTIFY_GENERIC, "del"},
    };
    if (why == KEYSPACE_EXPIRED)
        e->stats.expired_keys++;
    else if (why == KEYSPACE_EVICTED)
        e->stats.evicted_keys++;
    if (!e->applying && !e->loading && !e->following)
        engine_log_deletion(e, db, key, why == KEYSPACE_EVICTED ? e->options.lazy_evict : e->options.lazy_expire);
    if (e->watch_count != 0)
        transaction_touch(e, db, key);
    if (e->waits.queues != 0)
        block_keys_note(e, db, key);
    if (e->notify.fn != NULL)
        e->notify.fn(e->notify.ctx, db, key, events[why].cls, events[why].event);
}

static void on_fields_removed(void *ctx, unsigned db, const struct keyref *key, const struct slice *fields, size_t n) {
    struct engine *e = ctx;
    e->stats.expired_fields += n;
    if (fields != NULL && !e->applying && !e->loading && !e->following)
        engine_log_fields_gone(e, db, key, fields, n);
    if (e->watch_count != 0)
        transaction_touch(e, db, key);
    if (e->notify.fn != NULL)
        e->notify.fn(e->notify.ctx, db, key, NOTIFY_HASH, "hexpired");
}

static void on_appeared(void *ctx, unsigned db, const struct keyref *key) {
    struct engine *e = ctx;
    if (__builtin_expect(e->notify.fn != NULL, 0))
        e->notify.fn(e->notify.ctx, db, key, NOTIFY_NEW, "new");
}

struct store_events engine_store_events(struct engine *e) {
    return (struct store_events){
        .ctx = e, .removed = on_removed, .appeared = on_appeared, .fields_removed = on_fields_removed};
}

static void calibrate_ticks(struct engine *e) {
    int64_t ns = clock_mono_ns();
    uint64_t ticks = engine_ticks();
    if (e->tick_base_ns != 0 && ticks > e->tick_base && ns - e->tick_base_ns > 1000000)
        e->ns_per_tick = (double)(ns - e->tick_base_ns) / (double)(ticks - e->tick_base);
    if (e->tick_base_ns == 0) {
        e->tick_base = ticks;
        e->tick_base_ns = ns;
    }
}

struct engine *engine_create(const struct engine_parts *parts) {
    struct engine *e = mem_calloc(1, sizeof *e);
    e->loop = parts->loop;
    e->ks = parts->ks;
    e->log = parts->log;
    e->settings = parts->settings;
    e->info = parts->info;
    e->io = parts->io;
    uint64_t seed;
    rng_entropy(&seed, sizeof seed);
    rng_init(&e->rng, seed);
    rng_hex_id(e->run_id, 20);
    e->slowlog = slowlog_create();
    e->commands = command_table_create();
    command_table_register(e->commands, transaction_commands, transaction_command_count, e);
    e->group = mem_calloc(1, sizeof *e->group);
    e->pubsub = pubsub_create();
    outq_init(&e->sink);
    inflight_init(&e->inflight);
    e->active_expire = true;
    e->leave_eviction = true;
    calibrate_ticks(e);
    while (e->ns_per_tick <= 0)
        calibrate_ticks(e);
    e->started_us = e->now_us = clock_mono_us();
    e->now_ms = clock_wall_ms();
    if (e->ks != NULL)
        keyspace_set_now_ms(e->ks, e->now_ms);
    if (e->settings != NULL)
        engine_register_settings(e);
    e->stats.startup_memory = e->stats.peak_memory = mem_used();
    return e;
}

void engine_set_parts(struct engine *e, struct keyspace *ks, struct io_pool *io) {
    e->ks = ks;
    e->io = io;
    keyspace_set_now_ms(ks, e->now_ms);
    engine_apply_to_keyspace(e);
}

void engine_destroy(struct engine *e) {
    if (e == NULL)
        return;
    while (e->client_count > 0)
        client_free(e->clients[e->client_count - 1]);
    while (e->late_count > 0)
        conn_destroy(e->late[--e->late_count]);
    while (e->in_pool_count > 0)
        mem_free(e->in_pool[--e->in_pool_count]);
    for (size_t i = 0; i < e->io_groups_cap; i++)
        mem_free(e->io_groups[i]);
    command_table_destroy(e->commands);
    slowlog_destroy(e->slowlog);
    inflight_deinit(&e->inflight);
    outq_deinit(&e->sink);
    buf_deinit(&e->own_bytes);
    mem_free(e->io_groups);
    mem_free(e->in_pool);
    mem_free(e->late);
    mem_free(e->clients);
    mem_free(e->ready);
    mem_free(e->writing);
    mem_free(e->closing);
    mem_free(e->blocked);
    mem_free(e->group);
    mem_free(e->own);
    mem_free(e->changed);
    mem_free(e->recent);
    mem_free(e->watch_buckets);
    block_keys_deinit(e);
    pubsub_destroy(e->pubsub);
    mem_free(e->told);
    mem_free(e);
}

/* ---- accepting ---- */

static void refuse_connection(struct engine *e, struct conn *c, const char *text) {
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    if (conn_writev(c, &iov, 1) < 0)
        log_debug("A refused connection was gone already");
    e->stats.rejected_connections++;
    conn_destroy(c);
}

static void admit(struct engine *e, struct conn *c) {
    if (e->options.protected_mode && e->options.requirepass[0] == '\0' && !conn_is_local(c)) {
        refuse_connection(e, c,
                          "-DENIED Redis is running in protected mode because protected mode is enabled and no "
                          "password is set for the default "
                          "user. In this mode connections are only accepted from the loopback interface. To accept "
                          "others, set a password "
                          "(requirepass), or disable protected mode (CONFIG SET protected-mode no) where the network "
                          "is trusted.\r\n");
        return;
    }
    if (conn_kind(c) == CONN_TCP) {
        int rc = conn_set_nodelay(c, true);
        if (rc == 0 && e->options.tcp_keepalive_s > 0)
            rc = conn_set_keepalive(c, (int)e->options.tcp_keepalive_s);
        if (rc < 0) {
            conn_destroy(c);
            return;
        }
    }
    e->stats.connections++;
    client_update_reading(client_create(e, c));
}

/* Who comes when all places are taken waits until the end of the cycle: somebody may leave in it. */
void engine_accept(struct engine *e, struct conn *c) {
    if (e->client_count < (uint64_t)e->options.maxclients) {
        admit(e, c);
        return;
    }
    if (e->late_count == e->late_cap) {
        e->late_cap = e->late_cap ? e->late_cap * 2 : 16;
        e->late = mem_realloc(e->late, e->late_cap * sizeof(struct conn *));
    }
    e->late[e->late_count++] = c;
    loop_dont_wait(e->loop);
}

void engine_accept_late(struct engine *e) {
    for (size_t i = 0; i < e->late_count; i++) {
        if (e->client_count < (uint64_t)e->options.maxclients)
            admit(e, e->late[i]);
        else
            refuse_connection(e, e->late[i], "-ERR max number of clients reached\r\n");
    }
    e->late_count = 0;
}

struct client *engine_client_create_internal(struct engine *e) {
    struct client *cl = client_create(e, NULL);
    cl->flags |= CLIENT_INTERNAL | CLIENT_MUST_OBEY;
    cl->authenticated = true;
    return cl;
}

void engine_client_destroy_internal(struct client *cl) {
    if (cl != NULL)
        client_free(cl);
}

/* ---- accessors ---- */

struct command_table *engine_commands(struct engine *e) {
    return e->commands;
}
struct keyspace *engine_keyspace(struct engine *e) {
    return e->ks;
}
struct changelog *engine_log(struct engine *e) {
    return e->log;
}
struct settings *engine_settings(struct engine *e) {
    return e->settings;
}
struct info *engine_info(struct engine *e) {
    return e->info;
}
struct slowlog *engine_slowlog(struct engine *e) {
    return e->slowlog;
}
struct loop *engine_loop(struct engine *e) {
    return e->loop;
}
struct rng *engine_rng(struct engine *e) {
    return &e->rng;
}
struct engine_options *engine_options(struct engine *e) {
    return &e->options;
}
struct engine_stats *engine_stats(struct engine *e) {
    return &e->stats;
}
const char *engine_run_id(const struct engine *e) {
    return e->run_id;
}

void engine_add_hooks(struct engine *e, const struct engine_hooks *hooks) {
    HF_ASSERT(e->hook_count < ENGINE_HOOKS_MAX);
    e->hooks[e->hook_count++] = *hooks;
    e->routed = e->routed || hooks->route != NULL;
}

void engine_data_dropped(struct engine *e) {
    if (e->watch_count != 0)
        transaction_touch_all(e, -1);
    if (e->waits.queues != 0)
        block_keys_note_all(e, -1);
}

void engine_set_replicated(struct engine *e, bool on) {
    e->replicated = on;
}

size_t engine_client_count(const struct engine *e) {
    return e->client_count;
}

struct client *engine_client_by_id(const struct engine *e, uint64_t id) {
    for (size_t i = 0; i < e->client_count; i++)
        if (e->clients[i]->id == id && !(e->clients[i]->flags & CLIENT_CLOSE_ASAP))
            return e->clients[i];
    return NULL;
}

void engine_each_client(struct engine *e, void (*each)(void *arg, struct client *cl), void *arg) {
    for (size_t i = 0; i < e->client_count; i++)
        if (!(e->clients[i]->flags & CLIENT_CLOSE_ASAP))
            each(arg, e->clients[i]);
    if (e->primary.client != NULL)
        each(arg, e->primary.client);
}

size_t engine_clients_memory(const struct engine *e) {
    size_t n = 0;
    for (size_t i = 0; i < e->client_count; i++)
        n += client_memory_bytes(e->clients[i]);
    return n;
}

size_t engine_watching_clients(const struct engine *e) {
    return e->watching_clients;
}
size_t engine_watched_keys(const struct engine *e) {
    return e->watch_count;
}

void engine_set_loading(struct engine *e, bool loading, bool async) {
    e->loading = loading;
    e->async_loading = loading && async;
    engine_apply_expiry(e);
}

void engine_apply_expiry(struct engine *e) {
    if (e->ks == NULL)
        return;
    keyspace_set_expiry(e->ks, e->loading && !e->async_loading          ? KEYSPACE_EXPIRE_IGNORE
                               : e->following || e->pause_until_ms != 0 ? KEYSPACE_EXPIRE_HIDE
                                                                        : KEYSPACE_EXPIRE_DELETE);
}

bool engine_loading(const struct engine *e) {
    return e->loading;
}
uint64_t engine_dirty(const struct engine *e) {
    return e->dirty;
}
void engine_set_dirty(struct engine *e, uint64_t dirty) {
    e->dirty = dirty;
}
uint64_t engine_maxmemory_bytes(const struct engine *e) {
    return e->maxmemory_bytes;
}

uint64_t engine_memory_counted(const struct engine *e) {
    size_t used = mem_used(), log = changelog_memory(e->log);
    return used > log ? used - log : 0;
}

void engine_set_active_expire(struct engine *e, bool on) {
    e->active_expire = on;
}
void engine_set_cron_paused(struct engine *e, bool paused) {
    e->cron_paused = paused;
}
int64_t engine_now_ms(const struct engine *e) {
    return e->now_ms;
}
int64_t engine_now_us(const struct engine *e) {
    return e->now_us;
}
int64_t engine_started_us(const struct engine *e) {
    return e->started_us;
}

void engine_each_error_code(struct engine *e, void (*each)(void *arg, const char *code, uint64_t count), void *arg) {
    for (int i = 0; i < e->error_code_count; i++)
        each(arg, e->error_codes[i].code, e->error_codes[i].count);
}

static void reset_command(void *arg, struct command_entry *c) {
    (void)arg;
    c->calls = c->usec_ns = c->rejected = c->failed = 0;
    latency_destroy(c->latency);
    c->latency = NULL;
    for (int i = 0; i < c->sub_count; i++)
        reset_command(arg, &c->subs[i]);
}

void engine_reset_stats(struct engine *e) {
    size_t startup = e->stats.startup_memory;
    memset(&e->stats, 0, sizeof e->stats);
    e->stats.startup_memory = startup;
    e->stats.peak_memory = mem_used();
    e->error_code_count = 0;
    memset(e->rate_ring, 0, sizeof e->rate_ring);
    memset(&e->rate_last, 0, sizeof e->rate_last);
    command_table_each(e->commands, reset_command, NULL);
    keyspace_lazyfree_reset(e->ks);
}
