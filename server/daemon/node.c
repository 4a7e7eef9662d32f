#include "config.h"

#include "server/daemon/node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/commands/commands.h"
#include "server/daemon/service.h"

/* Order of life: create (modules, rows, commands) → configuration → build what it shapes → listen → load → READY → loop
 * → stop.
 *
 * The watchdog of the service manager is fed from the loop's timer, so that it tells of the loop's progress; while a
 * long operation holds the loop (loading, the final save), its progress callback asks for more time instead. */

#define PROGRESS_EVERY_US 1000000
#define EXTEND_BY_US 60000000

/* ---- what persist asks of the daemon ---- */

static void on_progress(void *ctx, enum persist_activity what, double percent) {
    struct node *n = ctx;
    int64_t now = clock_mono_us();
    if (what == PERSIST_IDLE) {
        if (n->next_status_us != 0)
            service_status(n->stopping ? "Stopping" : "Ready to accept connections");
        n->next_status_us = 0;
        return;
    }
    if (now < n->next_status_us)
        return;
    n->next_status_us = now + PROGRESS_EVERY_US;
    service_status("%s: %.0f %%", what == PERSIST_LOADING ? "Loading" : "Saving", percent);
    if (what == PERSIST_LOADING || n->stopping)
        service_extend_timeout(EXTEND_BY_US);
    service_watchdog();
}

static int on_shutdown(void *ctx, unsigned flags) {
    return node_shutdown(ctx, flags);
}

static void stop_waiting(struct node *n) {
    n->shutdown_waits = false;
    engine_unpause_clients(n->engine);
}

/* Only one that waits for replicas can be given up. */
static int on_shutdown_abort(void *ctx) {
    struct node *n = ctx;
    if (!n->shutdown_waits)
        return -1;
    stop_waiting(n);
    log_notice("Shutdown manually aborted.");
    return 0;
}

static bool shutdown_waits(void *ctx) {
    const struct node *n = ctx;
    return n->shutdown_waits;
}

/* Replicas that have all of the log can continue after the restart; who is behind could not, because the new process
 * keeps nothing of what was before. So writes stop, and those who are behind get a moment. */
static bool wait_for_replicas(struct node *n, unsigned flags) {
    uint64_t offset = changelog_sealed(n->log);
    if (n->shutdown_waits || (flags & PERSIST_SHUTDOWN_NOW) || n->options.shutdown_timeout_s == 0 ||
        engine_loading(n->engine))
        return false;
    size_t behind = replication_lagging(n->replication, offset);
    if (behind == 0)
        return false;
    n->shutdown_waits = true;
    n->shutdown_flags = flags;
    n->shutdown_offset = offset;
    n->shutdown_until_us = clock_mono_us() + n->options.shutdown_timeout_s * 1000000;
    log_notice(
        "%zu of the replicas have not acknowledged everything yet: waiting for them for up to %lld seconds before "
        "the shutdown",
        behind, (long long)n->options.shutdown_timeout_s);
    engine_pause_clients(n->engine, INT64_MAX / 1000, false);
    replication_ask_acks(n->replication);
    return true;
}

static void shutdown_when_ready(struct node *n) {
    size_t behind = replication_lagging(n->replication, n->shutdown_offset);
    if (behind > 0 && clock_mono_us() < n->shutdown_until_us)
        return;
    if (behind > 0)
        log_warning("%zu replicas are behind at the shutdown: they will need a full synchronization", behind);
    if (node_shutdown(n, n->shutdown_flags) != 0)
        log_warning("The shutdown was refused");
}

static bool child_oom_score(void *ctx, int *ret_adj) {
    const struct node *n = ctx;
    *ret_adj = (int)n->options.oom_values[2];
    return n->options.oom_score_adj != 0;
}

/* ---- the loop ---- */

static void after_wake(struct loop *loop, void *arg) {
    (void)loop;
    struct node *n = arg;
    engine_after_wake(n->engine);
}

static void batch(struct loop *loop, void *arg) {
    (void)loop;
    struct node *n = arg;
    engine_batch(n->engine);
}

static void before_sleep(struct loop *loop, void *arg) {
    (void)loop;
    struct node *n = arg;
    replication_before_sleep(n->replication);
    persist_before_sleep(n->persist);
    engine_before_sleep(n->engine);
    if (n->shutdown_waits)
        shutdown_when_ready(n);
}

static int64_t cron(struct loop *loop, uint64_t id, void *arg) {
    (void)loop, (void)id;
    struct node *n = arg;
    int64_t next = engine_cron(n->engine);
    if (n->next_watchdog_us != 0 && clock_mono_us() >= n->next_watchdog_us) {
        service_watchdog();
        n->next_watchdog_us = clock_mono_us() + service_watchdog_interval_us();
    }
    return next;
}

static int64_t persist_timer(struct loop *loop, uint64_t id, void *arg) {
    (void)loop, (void)id;
    struct node *n = arg;
    persist_cron(n->persist);
    return 100;
}

static void on_signals(struct loop *loop, void *arg) {
    (void)loop;
    struct node *n = arg;
    uint64_t signals = node_take_signals();
    if (signals & (UINT64_C(1) << SIGHUP))
        log_reopen();
    if (signals & (UINT64_C(1) << SIGTERM | UINT64_C(1) << SIGINT)) {
        bool term = (signals & (UINT64_C(1) << SIGTERM)) != 0;
        log_warning("Received %s scheduling shutdown...", term ? "SIGTERM" : "SIGINT");
        if (node_shutdown(n, (unsigned)(term ? n->options.shutdown_on_sigterm : n->options.shutdown_on_sigint)) < 0)
            log_warning("%s received but errors trying to shut down the server, check the logs for more information",
                        term ? "SIGTERM" : "SIGINT");
    }
}

/* ---- life ---- */

struct node *node_create(void) {
    struct node *n = mem_calloc(1, sizeof *n);
    n->loop = loop_create();
    n->worker = worker_create("holdfast-bg");
    n->log = changelog_create(0);
    n->settings = settings_create();
    n->info = info_create();
    struct engine_parts parts = {.loop = n->loop, .log = n->log, .settings = n->settings, .info = n->info};
    n->engine = engine_create(&parts);
    node_register_settings(n);
    struct persist_parts pp = {
        .engine = n->engine,
        .fs = fs_posix(),
        .worker = n->worker,
        .ctx = n,
        .progress = on_progress,
        .in_child = node_in_child,
        .shutdown = on_shutdown,
        .shutdown_abort = on_shutdown_abort,
        .shutdown_waits = shutdown_waits,
        .child_oom_score = child_oom_score,
        .replicas_acked = node_replicas_acked,
        .ask_replicas = node_ask_replicas,
        .is_replica = node_is_replica,
    };
    n->persist = persist_create(&pp);
    persist_register(n->persist);
    node_create_replication(n);
    node_register_commands(n);
    n->signal_waker = loop_waker_create(n->loop, on_signals, n);
    loop_set_after_wake_hook(n->loop, after_wake, n);
    loop_set_batch_hook(n->loop, batch, n);
    loop_set_before_sleep_hook(n->loop, before_sleep, n);
    return n;
}

void node_destroy(struct node *n) {
    if (n == NULL)
        return;
    node_close_listeners(n);
    settings_destroy(n->settings); /* it frees strings in the options of those who follow */
    replication_destroy(n->replication);
    persist_destroy(n->persist);
    engine_destroy(n->engine);
    keyspace_destroy(n->ks);
    io_pool_destroy(n->io);
    worker_destroy(n->worker);
    changelog_destroy(n->log);
    info_destroy(n->info);
    for (int i = 0; i < n->options.bind_count; i++)
        mem_free(n->options.binds[i]);
    loop_waker_destroy(n->signal_waker);
    loop_destroy(n->loop);
    mem_free(n);
}

/* What the configuration shapes once and for all. */
static void build(struct node *n) {
    struct keyspace_options o = {
        .databases = (unsigned)n->options.databases,
        .lazyfree = n->worker,
        .events = engine_store_events(n->engine),
    };
    uint8_t seed[64];
    rng_entropy(seed, sizeof seed);
    hash_key_init(&o.hash_key, seed, sizeof seed);
    rng_entropy(&o.rng_seed, sizeof o.rng_seed);
    n->ks = keyspace_create(&o);
    n->io = n->options.io_threads > 1 ? io_pool_create((unsigned)n->options.io_threads) : NULL;
    engine_set_parts(n->engine, n->ks, n->io);
}

static int fail(const char *what, struct buf *error) {
    log_warning("%s%.*s", what, (int)error->len, error->data ? error->data : "");
    buf_deinit(error);
    return 1;
}

static void announce_start(struct node *n) {
    log_notice("oO0OoO0OoO0Oo Holdfast is starting oO0OoO0OoO0Oo");
    log_notice("Holdfast version=%s, bits=64, pid=%d, just started", PACKAGE_VERSION, (int)getpid());
    if (settings_file(n->settings)[0] != '\0')
        log_notice("Configuration loaded from %s", settings_file(n->settings));
    else
        log_warning("Warning: no config file specified, using the default config. In order to specify a config file "
                    "use holdfast-server /path/to/holdfast.conf");
    log_notice("Running mode=standalone, port=%d, PID: %d", (int)n->options.port, (int)getpid());
}

static int start(struct node *n) {
    struct buf error = BUF_INIT;
    build(n);
    if (settings_apply_all(n->settings, &error) != 0)
        return fail("Configuration: ", &error);
    announce_start(n);
    node_check_system(n);
    if (node_raise_file_limit(n) != 0)
        return 1;
    node_set_oom_score(n);
    int rc = node_listen(n, &error);
    if (rc < 0)
        return fail("Failed listening: ", &error);
    if (n->options.daemonize || n->options.pidfile[0] != '\0')
        node_write_pidfile(n);
    node_set_title(n);
    n->running = true;
    engine_stats(n->engine)->startup_memory = mem_used();
    log_notice("Server initialized");
    engine_after_wake(n->engine);
    loop_timer_add(n->loop, 1, cron, n);
    if (persist_load(n->persist, &error) != 0)
        return n->stopping ? n->exit_code : fail("Fatal error loading the DB, check server logs. Exiting. ", &error);
    buf_deinit(&error);
    if (!n->stopping) {
        struct replication_origin origin;
        origin.is_known = persist_origin(n->persist, &origin.db);
        replication_start(n->replication, &origin);
    }
    return -1;
}

static void serve(struct node *n) {
    for (int i = 0; i < n->listener_count; i++)
        if (listener_port(n->listeners[i]) == 0)
            log_notice("The server is now ready to accept connections at %s", n->options.unixsocket);
    log_notice("Ready to accept connections tcp");
    service_ready();
    service_status("Ready to accept connections");
    if (service_watchdog_interval_us() > 0)
        n->next_watchdog_us = 1;
    loop_timer_add(n->loop, 100, persist_timer, n);
    loop_run(n->loop);
}

int node_run(struct node *n) {
    node_install_signals(n);
    int rc = start(n);
    if (rc >= 0)
        return rc;
    if (!n->stopping)
        serve(n);
    engine_flush_and_close(n->engine, 1000);
    log_warning("Holdfast is now ready to exit, bye bye...");
    return n->exit_code;
}

int node_shutdown(struct node *n, unsigned flags) {
    if (n->stopping)
        return 0;
    if (wait_for_replicas(n, flags))
        return 1;
    n->stopping = true;
    service_stopping();
    service_status("Stopping");
    service_extend_timeout(EXTEND_BY_US);
    log_warning("User requested shutdown...");
    if (persist_stop(n->persist, flags) != 0) {
        n->stopping = false;
        if (n->shutdown_waits)
            stop_waiting(n);
        node_forget_stop();
        service_status("Ready to accept connections; a shutdown was refused");
        return -1;
    }
    if (n->options.pidfile[0] != '\0') {
        log_notice("Removing the pid file.");
        unlink(n->options.pidfile);
    }
    replication_stop(n->replication);
    if (engine_loading(n->engine)) {
        log_warning("Exiting while loading: nothing was changed");
        _exit(0);
    }
    node_close_listeners(n);
    loop_stop(n->loop);
    return 0;
}
