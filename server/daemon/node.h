/* The node: everything wired together. The only place that sees all modules.
 *
 * main() makes one, reads the configuration into it, runs it, and ends it. Thread: the loop's thread. Internal to
 * server/daemon.
 */
#ifndef HF_DAEMON_NODE_H
#define HF_DAEMON_NODE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "cluster/replication/replication.h"
#include "server/base/worker.h"
#include "server/commands/commands.h"
#include "server/commands/persist.h"
#include "server/engine/engine.h"

#define NODE_LISTENERS_MAX 16
#define NODE_BINDS_MAX 16

struct node_options {
    int64_t port, tcp_backlog, databases, io_threads, unixsocketperm, socket_mark_id, accepts_per_cycle;
    char *unixsocket, *unixsocketgroup, *pidfile, *logfile, *syslog_ident, *proc_title_template;
    int loglevel, log_format, log_timestamp_format, syslog_facility, supervised, oom_score_adj, shutdown_on_sigint,
        shutdown_on_sigterm;
    bool daemonize, always_show_logo, set_proc_title, disable_thp, syslog_enabled, crash_log_enabled,
        jemalloc_bg_thread;
    int64_t oom_values[3]; /* primary, replica, child */
    int64_t shutdown_timeout_s;
    char *binds[NODE_BINDS_MAX];
    int bind_count;
};

struct node {
    struct loop *loop;
    struct worker *worker;
    struct keyspace *ks;
    struct changelog *log;
    struct settings *settings;
    struct info *info;
    struct io_pool *io;
    struct engine *engine;
    struct persist *persist;
    struct replication *replication;
    struct node_options options;
    struct listener *listeners[NODE_LISTENERS_MAX];
    int listener_count;
    struct loop_waker *signal_waker;
    bool running;  /* the configuration is applied: changes take effect at once */
    bool stopping; /* the loop is about to end */
    bool supervised;
    bool shutdown_waits; /* for replicas, up to shutdown-timeout */
    unsigned shutdown_flags;
    uint64_t shutdown_offset; /* that replicas are to have */
    int64_t shutdown_until_us;
    int exit_code;
    bool sighup;
    int64_t next_watchdog_us, next_status_us;
    struct keys_hooks keys_hooks;
    struct server_identity identity;
    struct debug_hooks debug_hooks;
    struct latency_info latency;
    bool skip_checksum; /* DEBUG SET-SKIP-CHECKSUM-VALIDATION */
    char executable[1024];
};

/* ---- node.c ---- */
struct node *node_create(void);
void node_destroy(struct node *n);
/* After settings_load(): builds what the options shape, opens listeners, loads, runs until the end. Returns the exit
 * status. */
int node_run(struct node *n);
/* 0 when the process is going to end, 1 when it waits for replicas first, -1 when it refused. */
int node_shutdown(struct node *n, unsigned flags);

/* ---- node_settings.c ---- */
void node_register_settings(struct node *n);
int node_apply_logging(void *ctx, struct buf *error);
/* ---- node_commands.c ---- */
void node_register_commands(struct node *n);
/* ---- node_replication.c ---- */
void node_create_replication(struct node *n);
/* What persistence asks about replicas; ctx is the node. */
size_t node_replicas_acked(void *ctx, uint64_t offset, bool durable);
void node_ask_replicas(void *ctx);
bool node_is_replica(void *ctx);
/* ---- listen.c ---- */
int node_listen(struct node *n, struct buf *error);
void node_close_listeners(struct node *n);
/* Closes the descriptors only: the files of Unix sockets are the parent's. ctx is the node. */
void node_in_child(void *ctx);
int node_relisten(struct node *n, struct buf *error);
/* ---- process.c ---- */
/* Forks away from the terminal; before this nothing but the configuration was made. */
void node_daemonize_early(struct node *n);
/* True when standard output is the stream that the service manager gave us for the journal. */
bool node_stdout_is_journal(void);
int node_write_pidfile(struct node *n);
void node_install_signals(struct node *n);
void node_install_crash_handler(void);
void node_check_system(struct node *n);
void node_set_title(struct node *n);
/* The title that a template with {variables} gives: 0, or -1 for an unknown variable or an open brace. */
int node_format_title(const struct node *n, struct slice format, char *dst, size_t dst_bytes);
void node_set_oom_score(struct node *n);
int node_raise_file_limit(struct node *n);
/* The signals that came since the last call, as bits 1 << signo. */
uint64_t node_take_signals(void);
/* A shutdown was refused: the next SIGINT asks again instead of ending the process at once. */
void node_forget_stop(void);
void node_remember_argv(int argc, char **argv);

#endif
