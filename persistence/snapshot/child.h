/* The one child process: saving a snapshot, rewriting the AOF, feeding replicas.
 *
 * At most one child lives at a time. It works on the memory image of its birth, reports progress and copied memory
 * through a pipe, and ends with a result. The parent watches the pipe's descriptor (child_fd()) and calls
 * child_service() when it is readable and now and then (each 100 ms or so); that reads reports, enforces the budget for
 * copied memory, reaps the child by its pid and calls the job's done().
 *
 * The child dies with its parent (a child that outlived it could replace a newer file by an older one).
 *
 * Ownership: struct children is made by the daemon and passed to those who start jobs; a job's arg belongs to its
 * owner. Thread: the owner of the keyspace. Errors: -errno. Nothing here logs: results are data, and what a child says
 * it says through functions of its job.
 */
#ifndef HF_SNAPSHOT_CHILD_H
#define HF_SNAPSHOT_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum child_kind { CHILD_NONE, CHILD_SNAPSHOT, CHILD_AOF_REWRITE, CHILD_REPLICATION };

struct children;
/* The child's end of the pipe. */
struct child_link;

struct children_options {
    /* First thing in the child: close listeners and client sockets, log_set_role('C') …; may be NULL. Signals are reset
     * already (SIGINT is ignored: a Ctrl-C at the terminal is for the parent), and the kernel kills the child with its
     * parent. */
    void (*in_child)(void *arg);
    void *in_child_arg;
};

struct child_result {
    enum child_kind kind;
    pid_t pid;
    bool ok;               /* exit status 0 */
    int exit_code;         /* where it exited; else -1 */
    int signal;            /* that ended it, or 0 */
    bool cancelled;        /* child_kill() was called */
    bool over_budget;      /* killed because copied memory passed the limit */
    size_t cow_peak_bytes; /* most copied memory seen */
    size_t cow_limit_bytes;
    uint64_t keys_done, keys_total;
    int64_t duration_us;
    char text[256]; /* what the child said with child_link_fail(), or "" */
};

struct child_job {
    enum child_kind kind;
    /* Runs in the child; its value is the exit status (0 = success). It must not return into the parent's code. */
    int (*run)(void *arg, struct child_link *link);
    /* In the parent when the child is gone, however it ended; a new child may be started from here. */
    void (*done)(void *arg, const struct child_result *result);
    void *arg;
    uint64_t keys_total;    /* for current_fork_perc */
    size_t cow_limit_bytes; /* 0: none */
    int oom_score_adj;      /* written in the child where oom_score_set */
    bool oom_score_set;
    int nice; /* added to the child's niceness; 0 leaves it */
};

struct children *children_create(const struct children_options *o);
/* A child that lives is killed first, as child_kill() does. NULL is fine. */
void children_destroy(struct children *c);

/* Forks. 0, -EBUSY when a child lives, or -errno of fork or pipe. */
int child_start(struct children *c, const struct child_job *job) __attribute__((warn_unused_result));
/* CHILD_NONE when none lives. */
enum child_kind child_running(const struct children *c);
pid_t child_pid(const struct children *c); /* -1 when none lives */
/* To be watched for reading while a child lives, else -1. A new descriptor for each child; it is closed by
 * child_service() or child_kill() just before done() is called. */
int child_fd(const struct children *c);
/* Called with the descriptor before it is closed, so that the owner can stop watching it. */
void child_set_forget(struct children *c, void (*forget)(void *arg, int fd), void *arg);
/* Reads reports, enforces the limit, reaps. Cheap when nothing happened. */
void child_service(struct children *c);
/* Kills the child and waits until it is gone, then calls done() with cancelled set. Nothing when none lives. */
void child_kill(struct children *c);
/* Changes the limit of the living child (CONFIG SET). */
void child_set_cow_limit(struct children *c, size_t bytes);
/* Blocks until the child has ended by itself and done() was called, or timeout_ms passed (−1: no limit). True when none
 * lives any more. */
bool child_wait(struct children *c, int timeout_ms);

struct child_stats {
    uint64_t forks;            /* total_forks */
    int64_t last_fork_us;      /* latest_fork_usec; 0 before the first */
    double fork_rate_gb_per_s; /* resident memory forked by time */
    enum child_kind running;
    int64_t started_mono_us;
    uint64_t keys_done, keys_total;   /* current_save_keys_processed, _total */
    double percent;                   /* current_fork_perc */
    size_t cow_bytes, cow_peak_bytes; /* current_cow_size, current_cow_peak */
    int64_t cow_age_s;                /* current_cow_size_age: since the last report */
};
void child_stats(const struct children *c, struct child_stats *ret_stats);
/* CONFIG RESETSTAT: the fork counters. */
void child_reset_stats(struct children *c);

/* ---- in the child ---- */

/* Progress; cheap enough for every thousand keys. Measures and sends now and then. Nonzero when the parent is gone. */
int child_link_report(struct child_link *l, uint64_t keys_done);
/* Measures copied memory and sends it whatever the time (at the end of the work). */
void child_link_report_final(struct child_link *l, uint64_t keys_done);
/* Why it failed, for child_result.text. */
void child_link_fail(struct child_link *l, const char *text);
struct child_cow {
    size_t current_bytes, peak_bytes, average_bytes;
};
void child_link_cow(const struct child_link *l, struct child_cow *ret_cow);

/* Private dirty memory of this process in bytes (/proc/self/smaps_rollup), 0 where the kernel does not tell. */
size_t child_private_dirty_bytes(void);

#endif
