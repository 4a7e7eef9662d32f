/* What the engine's own files share. Nobody outside server/engine includes this.
 *
 * Invariants:
 *  1. A client is in e->clients exactly once, at cl->index; it is freed only by engine_free_closed(), never inside a
 * batch.
 *  2. cl->in_ready ⇔ cl is in e->ready; cl->in_write ⇔ cl is in e->writing.
 *  3. Marks of a client rise in both fields; a mark's `from` lies within [out.begin, end of out].
 *  4. Bytes behind the first mark whose offset is not released are never written.
 *  5. Requests of a group point into clients' input buffers; no input buffer moves or is freed while a group is open.
 */
#ifndef HF_ENGINE_INT_H
#define HF_ENGINE_INT_H

#include "server/base/rng.h"
#include "server/engine/call.h"
#include "server/engine/client.h"
#include "server/engine/command.h"
#include "server/engine/engine.h"
#include "server/engine/inflight.h"
#include "server/engine/write_ack.h"
#include "server/engine/pubsub.h"

#define ENGINE_GROUP_REQUESTS 64
#define ENGINE_GROUP_ARGS 512
#define ENGINE_READ_BYTES 16384
/* A last argument of this length is read into a block of its own, which a value may take over. */
#define ENGINE_LARGE_BYTES 32768
/* Memory that the announcement of a length is worth; beyond, eight times what has arrived. */
#define ENGINE_LARGE_CREDIT_BYTES (256 * 1024)
#define ENGINE_UNAUTHENTICATED_BYTES 65536
#define ENGINE_INLINE_MAX_BYTES 65536
#define ENGINE_WAITING_INPUT_BYTES 65536    /* of a client that waits: then it is not read any more */
#define ENGINE_HELD_OUTPUT_BYTES (1024 * 1024) /* of replies that are held */
#define ENGINE_HOOKS_MAX 4
#define ENGINE_ERROR_CODES_MAX 128

/* A parsed request of a group. Everything in it is a hint but argv: the client's state is looked at again when it runs.
 */
struct request {
    struct client *cl;
    struct command_entry *cmd; /* NULL: unknown */
    const struct slice *argv;
    int argc;
    int key_index; /* 0: none */
    struct keyref key;
    size_t start; /* offset of the request in cl->in, for rewinding */
    size_t consumed;
    bool canonical;
    struct rbuf *large; /* owned: block of the last argument, NULL if it has none */
};

struct group {
    int n, args;
    struct request requests[ENGINE_GROUP_REQUESTS];
    struct slice argv[ENGINE_GROUP_ARGS];
};

/* A request that outlives its input: queued in MULTI or postponed by a pause. One allocation. */
struct owned_request {
    struct command_entry *cmd;
    int argc;
    size_t memory_bytes;
    struct slice argv[];
};
struct owned_request *owned_request_create(struct command_entry *cmd, const struct slice *argv, int argc);

struct watched_key;
struct transaction {
    struct owned_request **queued;
    size_t count, cap;
    size_t queued_bytes;
    struct watched_key **watched; /* keys this client watches */
    size_t watched_count, watched_cap;
};

struct key_wait;
struct client_block {
    const struct client_block_ops *ops; /* NULL: paused, or waits for keys */
    void *state;
    struct key_wait *keys;           /* NULL: does not wait for keys */
    int64_t deadline_us;             /* monotonic, 0 = none */
    uint64_t timer;                  /* wakes the loop at the deadline */
    size_t index;                    /* in e->blocked; who waits for keys is not there */
    struct owned_request *postponed; /* of a paused client */
};

/* See block_keys.c. */
struct key_queue;
struct key_waits {
    struct key_queue **buckets;
    size_t mask, queues;
    size_t gone_queues; /* with waiters that are to learn when the key goes */
    size_t clients;
    struct key_queue **woken; /* to be served; NULL where one has gone */
    size_t woken_count, woken_cap;
    bool serving;
};

/* A client was told of a change of the running command, from this place of its output on. */
struct told {
    struct client *cl;
    uint64_t from;
};

struct pending_command { /* of call_propagate() */
    unsigned db;
    size_t from, len; /* in e->own_bytes */
};

struct error_code {
    char code[32];
    uint64_t count;
};

struct engine {
    struct loop *loop;
    struct keyspace *ks;
    struct changelog *log;
    struct settings *settings;
    struct info *info;
    struct io_pool *io;
    struct command_table *commands;
    struct slowlog *slowlog;
    struct engine_options options;
    struct collection_limits limits;
    struct write_ack_terms write_ack;
    struct write_ack_source ack_source;
    uint64_t ack_timer; /* 0: not set */
    int64_t ack_timer_us;
    uint64_t ack_timeouts;
    struct engine_stats stats;
    struct engine_hooks hooks[ENGINE_HOOKS_MAX];
    int hook_count;
    struct {
        engine_guard_fn *fn;
        void *ctx;
    } guard;
    struct {
        struct client *client;
        struct conn *conn;
        void (*kill)(void *ctx);
        void *ctx;
    } primary;
    bool routed; /* some hook routes by keys */
    struct rng rng;
    char run_id[41];

    /* clients */
    struct client **clients;
    size_t client_count, client_cap;
    struct conn **late; /* accepted while all places were taken, until the end of the cycle */
    size_t late_count, late_cap;
    uint64_t next_client_id;
    struct client **ready, **writing, **closing;
    size_t ready_count, ready_cap, writing_count, writing_cap, closing_count, closing_cap;
    struct client **blocked; /* in the order of blocking; NULL where one has left */
    size_t blocked_count, blocked_cap, blocked_left;
    char **in_pool; /* input buffers of ENGINE_READ_BYTES */
    size_t in_pool_count, in_pool_cap;
    struct group *group;
    struct client **batch; /* clients of the batch that is running */
    size_t batch_count;
    unsigned batch_groups; /* groups it has run */
    unsigned busy_depth;   /* cycles that run inside a command */
    bool walking_blocked;
    struct group **io_groups; /* one a ready client while I/O threads parse */
    size_t io_groups_cap;
    struct outq sink; /* where replies go that nobody reads */

    /* the running command */
    struct call *call;
    bool in_exec, exec_wrote;
    bool applying; /* replaying: nothing is logged */
    struct pending_command *own;
    size_t own_count, own_cap;
    struct buf own_bytes;
    uint64_t *changed; /* in-flight keys of the running command */
    size_t changed_count, changed_cap;
    bool changed_everything;
    uint64_t read_offset; /* highest offset in flight that the running command saw */
    struct {
        void (*fn)(void *ctx, unsigned db, const struct keyref *key, unsigned cls, const char *event);
        void *ctx;
        unsigned classes;
    } notify;      /* keyspace notifications; fn NULL: off */
    /* Keys changed while nothing was held: kept until the log has released them, in case it stops doing so. */
    uint64_t *recent;
    size_t recent_count, recent_cap;
    bool recent_lost; /* too many to keep: all keys count */
    bool tracking; /* this batch: changes may be held, so keys in flight are recorded */
    bool log_active;
    bool log_full; /* this batch: writes wait for room in the change log */
    uint64_t dirty;
    struct inflight inflight;

    /* watched keys */
    struct watched_key **watch_buckets;
    size_t watch_mask, watch_count, watching_clients;

    struct key_waits waits; /* clients that wait for keys */

    /* messages */
    struct pubsub *pubsub;
    size_t pushed;              /* clients with messages that wait for the end of their own reply */
    struct client *busy_client; /* whose command serves others meanwhile */
    struct told *told;
    size_t told_count, told_cap;
    bool replicated; /* replicas read the change log */

    /* time */
    int64_t now_ms, now_us, started_us;
    double ns_per_tick;
    uint64_t tick_base;
    int64_t tick_base_ns;

    /* state */
    bool loading, async_loading, active_expire, cron_paused;
    bool following, leave_eviction;
    int64_t pause_until_ms; /* what is in force: of CLIENT PAUSE and of engine_hold_writes() */
    bool pause_all, writes_held;
    int64_t client_pause_until_ms;
    uint64_t maxmemory_bytes;
    struct error_code error_codes[ENGINE_ERROR_CODES_MAX];
    int error_code_count;
    struct {
        uint64_t ops, in, out, cycles, busy_us;
        int64_t at_us;
    } rate_last;
    struct engine_rates rate_ring[16];
    int rate_index;
    size_t cron_client; /* round robin over clients */
    int64_t cron_runs;
    size_t input_peak[2], output_peak[2];
};

/* ---- client.c ---- */
struct client *client_create(struct engine *e, struct conn *conn);
void client_free(struct client *cl);
void client_free_input(struct client *cl);
void client_note_output(struct client *cl); /* there may be something to write */
void client_note_ready(struct client *cl);  /* there is input to work on */
void client_check_output_limit(struct client *cl);
void client_read_event(struct loop *loop, int fd, unsigned events, void *arg);
/* Stops or resumes reading: from who is leaving, who waits with much input in hand, whose held replies are many. */
void client_update_reading(struct client *cl);
void engine_free_closed(struct engine *e);
void engine_update_marks(struct client *cl, uint64_t from, uint64_t offset);
void engine_write_clients(struct engine *e);

/* ---- engine.c ---- */
/* Tells the keyspace what to do with due keys, after any state that decides it has changed. */
void engine_apply_expiry(struct engine *e);
/* The error that a command just run replied with, without its dash; the reply is dropped. 0, or -1 when it is one. */
int engine_take_error(struct client *cl, struct buf *error);
void engine_accept_late(struct engine *e);

/* ---- dispatch.c ---- */
void engine_dispatch(struct engine *e, const struct request *r);
/* Runs a command that passed all checks; raw: the request's bytes if they may be propagated verbatim. */
void engine_execute(struct engine *e, struct client *cl, struct command_entry *cmd, const struct slice *argv, int argc,
                    const struct request *r, struct slice raw);
void engine_refuse(struct engine *e, struct client *cl, struct command_entry *cmd, const char *text);
void engine_count_error(struct engine *e, struct slice text);
void engine_reply_error(struct client *cl, const char *text);
/* Not queued while MULTI is open. */
bool engine_runs_in_multi(const struct command_entry *cmd);
/* After a request has been answered: what nobody reads is dropped (CLIENT REPLY), and the mode of the next is set. */
void engine_settle_replies(struct client *cl);
bool engine_evict(struct engine *e); /* false: over the limit and nothing may go */

/* ---- propagate.c ---- */
/* Looks at what the change log wants now: are replies held (e->tracking), do writes wait (e->log_full)? */
void engine_note_log_state(struct engine *e);
void engine_log_request(struct engine *e, struct client *cl, const struct call *c, struct slice raw);
void engine_log_exec_begin(struct engine *e);
void engine_log_exec_end(struct engine *e);
void engine_log_deletion(struct engine *e, unsigned db, const struct keyref *key, bool lazy);
/* The same for fields of a hash that the keyspace removed by itself. */
void engine_log_fields_gone(struct engine *e, unsigned db, const struct keyref *key, const struct slice *fields,
                            size_t n);

/* ---- transaction.c ---- */
extern const struct command transaction_commands[];
extern const size_t transaction_command_count;
void transaction_queue(struct client *cl, struct command_entry *cmd, const struct slice *argv, int argc);
void transaction_discard(struct client *cl); /* queue and watches */
void transaction_unwatch(struct client *cl);
void transaction_touch(struct engine *e, unsigned db, const struct keyref *key);
void transaction_touch_all(struct engine *e, int db);
size_t transaction_memory(const struct client *cl);

/* ---- block.c ---- */
void block_pause(struct client *cl, struct command_entry *cmd, const struct slice *argv, int argc);
void block_check_all(struct engine *e);
void block_drop(struct client *cl);
/* The client goes on: its reply was written, and what it sent meanwhile is worked off in the next batch. */
void block_resume(struct client *cl);

/* ---- notify.c: the option notify-keyspace-events ---- */
int notify_set(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error);
void notify_get(void *ctx, struct buf *out);

/* ---- pubsub.c ---- */
struct pubsub *pubsub_create(void);
void pubsub_destroy(struct pubsub *p);
void pubsub_free(struct client *cl);
/* What was pushed to the client while its command ran comes behind the reply. */
void pubsub_release_pushes(struct client *cl);
/* What was told of the command that has run is held up to this offset; 0: it changed nothing. */
void pubsub_hold_told(struct engine *e, uint64_t offset);

/* Who waits gets the error, and is closed: what it waits for may not come to pass any more. */
void block_release_all(struct engine *e, const char *error);

/* ---- block_keys.c ---- */
/* A key changed or went, or a whole database (-1: all) did: who waits for it is served once the command is over. */
void block_keys_note(struct engine *e, unsigned db, const struct keyref *key);
void block_keys_note_all(struct engine *e, int db);
/* Serves who waits for what was noted, unless a command runs or writes are not possible now. */
void block_keys_serve(struct engine *e);
/* While a request runs again: is this one of the keys it waits for, but not the one that was changed? */
bool block_keys_hides(const struct call *c, const struct keyref *key);
/* The request that has just run (again) waits (on). */
bool block_keys_unfinished(const struct client *cl);
/* Ends the wait with an error, or without one with the null. */
void block_keys_end(struct client *cl, const char *error);
void block_keys_leave(struct client *cl);
size_t block_keys_memory(const struct client *cl);
void block_keys_deinit(struct engine *e);

/* ---- engine_settings.c ---- */
void engine_register_settings(struct engine *e);
void engine_register_collection_settings(struct engine *e);
void engine_register_write_ack_settings(struct engine *e);
/* Ends CLIENT PAUSE when its time has come. */
void block_check_pause(struct engine *e, int64_t now_ms);
/* Hands the limits to the keyspace, if there is one yet. */
void engine_apply_limits(struct engine *e);
/* Tells a new keyspace what the options are, defaults too. */
void engine_apply_to_keyspace(struct engine *e);

/* Ticks: a cheap clock for the time inside commands. */
static inline uint64_t engine_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    extern int64_t clock_mono_ns(void);
    return (uint64_t)clock_mono_ns();
#endif
}

#endif
