/* The engine: clients, dispatch, transactions, propagation and release of replies over one keyspace and one change log.
 *
 * It owns clients and the command table; everything else is handed in (struct engine_parts) and outlives it. It knows no files, no replication and no cluster: those
 * append hooks here (struct engine_hooks) and cursors on the change log.
 *
 * A cycle of the loop: readable clients are collected; the batch hook reads, parses, prefetches and executes them in groups; before sleeping the daemon flushes the change
 * log, then calls engine_before_sleep(), which releases and writes replies. Thread: the loop's thread.
 */
#ifndef HF_ENGINE_ENGINE_H
#define HF_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/rng.h"
#include "server/engine/client.h"
#include "server/engine/command.h"
#include "server/engine/info.h"
#include "server/engine/settings.h"
#include "server/engine/slowlog.h"
#include "server/log/changelog.h"
#include "server/net/conn.h"
#include "server/net/io_pool.h"
#include "server/net/loop.h"
#include "server/store/keyspace.h"

struct engine;
struct call;

struct engine_parts {
    struct loop *loop;
    struct keyspace *ks; /* its store_events must forward to engine_store_events() */
    struct changelog *log;
    struct settings *settings;
    struct info *info;
    struct io_pool *io; /* NULL: no I/O threads */
};

/* Options owned by the engine (rows in engine_settings.c). Read by commands for CONFIG-dependent behaviour. */
struct engine_options {
    int64_t maxclients, timeout_s, tcp_keepalive_s;
    int64_t client_query_buffer_limit, proto_max_bulk_len;
    bool protected_mode;
    char *requirepass;
    int64_t maxmemory;          /* bytes, or -N for N% */
    int64_t maxmemory_clients;  /* bytes, or -N for N% of maxmemory */
    int maxmemory_policy;       /* enum keyspace_policy */
    int64_t maxmemory_samples, maxmemory_tenacity; /* tenacity 0–100: how long one eviction may hold the loop */
    int64_t lfu_log_factor, lfu_decay_time;
    bool lazy_evict, lazy_expire, lazy_server_del, lazy_user_del, lazy_user_flush;
    int64_t hz;
    bool dynamic_hz, activerehashing;
    int64_t active_expire_effort;
    int64_t slowlog_slower_than_us, slowlog_max_len;
    bool latency_tracking;
    int enable_debug_command, enable_protected_configs; /* enum engine_access */
    struct {
        int64_t hard_bytes, soft_bytes, soft_seconds;
    } output_limit[CLIENT_CLASSES];
};

enum engine_access { ENGINE_ACCESS_NO, ENGINE_ACCESS_YES, ENGINE_ACCESS_LOCAL };

struct engine_stats {
    uint64_t commands, connections, rejected_connections;
    uint64_t net_in, net_out;
    uint64_t expired_keys, expired_fields, evicted_keys, keyspace_hits, keyspace_misses;
    uint64_t evicted_clients, query_limit_closes, output_limit_closes;
    uint64_t error_replies, unexpected_error_replies;
    uint64_t auth_denied;
    uint64_t reads, writes, io_reads, io_writes;
    uint64_t prefetch_batches, prefetch_entries;
    uint64_t command_ns; /* time inside commands */
    uint64_t eviction_exceeded_us;
    int64_t eviction_since_us; /* monotonic: over the limit since; 0 = not */
    uint64_t expire_ns, expire_cap_reached;
    int64_t expire_lag_ms; /* how late the latest due key was removed */
    size_t peak_memory, startup_memory;
    uint64_t dump_sanitizations;
    size_t max_input, max_output;
};

/* What other modules put in. Any may be NULL. Returning a text refuses the command with that error (static string, without "-"). */
struct engine_hooks {
    void *ctx;
    /* Before a write command: disk errors (MISCONF), replicas missing (NOREPLICAS), read-only replica (READONLY). */
    const char *(*refuse_write)(void *ctx, const struct client *cl);
    /* Cluster redirection, called with the keys' positions: error text "MOVED …" in buf. */
    int (*route)(void *ctx, struct call *c, const struct key_positions *keys, struct buf *error);
};

/* ks and io may be NULL here and be handed in by engine_set_parts() once the configuration that shapes them is known. */
struct engine *engine_create(const struct engine_parts *parts);
void engine_set_parts(struct engine *e, struct keyspace *ks, struct io_pool *io);
void engine_destroy(struct engine *e);
/* What the keyspace announces. Set as its store_events' functions with the engine as ctx. */
struct store_events engine_store_events(struct engine *e);

struct command_table *engine_commands(struct engine *e);
struct keyspace *engine_keyspace(struct engine *e);
struct changelog *engine_log(struct engine *e);
struct settings *engine_settings(struct engine *e);
struct info *engine_info(struct engine *e);
struct slowlog *engine_slowlog(struct engine *e);
struct loop *engine_loop(struct engine *e);
struct rng *engine_rng(struct engine *e);
struct engine_options *engine_options(struct engine *e);
struct engine_stats *engine_stats(struct engine *e);
void engine_add_hooks(struct engine *e, const struct engine_hooks *hooks);
/* All data are about to be thrown away and made anew (DEBUG RELOAD): watchers of keys that are there lose them, clients
 * that wait for keys look again. */
void engine_data_dropped(struct engine *e);
/* Whether replicas read the change log: then messages go there, too. */
void engine_set_replicated(struct engine *e, bool on);
const char *engine_run_id(const struct engine *e); /* 40 hex digits */

/* ---- clients ---- */
/* Takes over an accepted connection; refuses it (with Redis's texts) for maxclients and protected mode. */
void engine_accept(struct engine *e, struct conn *c);
/* A client without a connection, for replaying commands. */
struct client *engine_client_create_internal(struct engine *e);
void engine_client_destroy_internal(struct client *cl);
/* Runs one command for an internal client, without propagation, expiry or checks of a live client. 0, or -1 with *error = the reply's error text. */
int engine_apply(struct client *cl, const struct slice *argv, int argc, struct buf *error) __attribute__((warn_unused_result));
size_t engine_client_count(const struct engine *e);
struct client *engine_client_by_id(const struct engine *e, uint64_t id);
/* Calls each() for every connected client; closing one inside is fine. */
void engine_each_client(struct engine *e, void (*each)(void *arg, struct client *cl), void *arg);
size_t engine_blocked_clients(const struct engine *e);
size_t engine_blocked_with_deadline(const struct engine *e);
/* Keys that clients wait for; those whose waiters are to learn when the key goes. */
size_t engine_blocking_keys(const struct engine *e);
size_t engine_blocking_keys_on_gone(const struct engine *e);
size_t engine_clients_memory(const struct engine *e);
/* CLIENT PAUSE until a monotonic ms deadline; all: every command, else writes only. Extends, never shortens. */
void engine_pause_clients(struct engine *e, int64_t until_mono_ms, bool all);
void engine_unpause_clients(struct engine *e);
/* Writes wait as under a pause until they are let go, whatever clients say: the data set is being handed over. */
void engine_hold_writes(struct engine *e, bool on);
bool engine_paused(const struct engine *e, bool *ret_all);
/* Writes that are queued for blocked or paused clients run again in the next cycle. Also CLIENT UNBLOCK (error: with -UNBLOCKED). False if it was not blocked. */
bool engine_unblock(struct engine *e, struct client *cl, bool with_error);
/* Number of clients that watch keys, and keys watched. */
size_t engine_watching_clients(const struct engine *e);
size_t engine_watched_keys(const struct engine *e);

/* ---- replication ---- */
/* While the node follows a primary, the change log takes the primary's bytes verbatim (engine_follow()) and nothing else:
 * what local clients of a writable replica change is not logged, due keys are hidden until the primary deletes them, and
 * nothing expires or is announced by itself. */
void engine_set_following(struct engine *e, bool following);
bool engine_following(const struct engine *e);
/* Whether a node that follows leaves eviction to its primary (replica-ignore-maxmemory; initially so). */
void engine_set_leave_eviction(struct engine *e, bool leave);
/* Asked before each command of a connected client, behind the hooks of engine_add_hooks(): the error that refuses it
 * (static) or NULL. fn NULL: nobody is asked. */
typedef const char *engine_guard_fn(void *ctx, const struct client *cl, const struct command_entry *cmd);
void engine_set_guard(struct engine *e, engine_guard_fn *fn, void *ctx);
/* True while a command or a load is under way (this is then a cycle inside it): nothing else may touch the data. */
bool engine_is_busy(const struct engine *e);

/* The session of a primary's stream. Destroyed by engine_client_destroy_internal(). */
struct client *engine_client_create_primary(struct engine *e);
/* While the link to the primary is up: its session is listed with this connection, and kill() is called when somebody
 * closes it (CLIENT KILL). cl NULL: it is down. */
void engine_set_primary_link(struct engine *e, struct client *cl, struct conn *conn, void (*kill)(void *ctx), void *ctx);
/* The node is no primary any more: who waits for something is told so and disconnected. */
void engine_drop_blocked(struct engine *e);
/* Around the requests that are worked off in one go. Never while engine_is_busy(). */
void engine_follow_begin(struct engine *e);
void engine_follow_end(struct engine *e);
/* Runs one request of the stream. A group (a command, or MULTI … EXEC) enters the change log with its last request:
 * `group` is then all of its bytes, else empty. 0, or -1 with *error = why the command failed (the bytes are in the log
 * all the same). Watched keys, blocked clients, notifications and keys in flight are treated as for local writes. */
int engine_follow(struct client *cl, const struct slice *argv, int argc, struct slice group, struct buf *error)
    __attribute__((warn_unused_result));
/* The data set was replaced as a whole (a full sync) and the log begins anew: watched keys have changed, and nothing of
 * before is in flight. Before the old keys go. */
void engine_data_replaced(struct engine *e);
/* True when the request just run left a transaction open: its group goes on. */
bool engine_follow_in_group(const struct client *cl);
/* Forgets a transaction whose end will not come. */
void engine_follow_discard(struct client *cl);

/* ---- state ---- */
/* While loading, only commands flagged `loading` run; others get -LOADING. */
void engine_set_loading(struct engine *e, bool loading, bool async);
bool engine_loading(const struct engine *e);
/* Runs a cycle for clients while a long operation (loading, a slow script) goes on. */
void engine_serve_while_busy(struct engine *e);
/* Changes since the last successful save: what save points count. */
uint64_t engine_dirty(const struct engine *e);
void engine_set_dirty(struct engine *e, uint64_t dirty);
/* Memory limit in bytes after resolving a percentage; 0 = none. Memory that counts against it. */
uint64_t engine_maxmemory_bytes(const struct engine *e);
uint64_t engine_memory_counted(const struct engine *e);
/* Debug switches (DEBUG SET-ACTIVE-EXPIRE, PAUSE-CRON). */
void engine_set_active_expire(struct engine *e, bool on);
void engine_set_cron_paused(struct engine *e, bool paused);
/* CONFIG RESETSTAT. */
void engine_reset_stats(struct engine *e);
/* Errorstats: each code with its count, for INFO. */
void engine_each_error_code(struct engine *e, void (*each)(void *arg, const char *code, uint64_t count), void *arg);
/* Rates over the last seconds for instantaneous_* fields. */
struct engine_rates {
    uint64_t ops_per_s, in_bytes_per_s, out_bytes_per_s, cycles_per_s, cycle_us;
};
void engine_rates(const struct engine *e, struct engine_rates *ret_rates);
/* Wall clock ms and monotonic us of this cycle. */
int64_t engine_now_ms(const struct engine *e);
int64_t engine_now_us(const struct engine *e);
int64_t engine_started_us(const struct engine *e);

/* ---- cycle (called by the daemon's loop hooks) ---- */
void engine_after_wake(struct engine *e);
void engine_batch(struct engine *e);
/* Releases and writes replies; call after the change log was flushed. */
void engine_before_sleep(struct engine *e);
/* Ten times a second and more: expiry, eviction of clients, timeouts, resizing, rates. Returns ms until the next call. */
int64_t engine_cron(struct engine *e);
/* Writes all it can and drops all clients (at exit). */
void engine_flush_and_close(struct engine *e, int64_t budget_ms);
/* A change made by the server itself, outside any client's command: appended to the log as its own group. */
void engine_propagate(struct engine *e, unsigned db, const struct slice *argv, int argc);

#endif
