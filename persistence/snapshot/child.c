/* The parent learns of the child's end by the end of the pipe, whose other side only the child holds, and then reaps it
 * by pid. Messages are fixed-size and shorter than PIPE_BUF, so each arrives whole. The child never waits for a parent
 * that does not read, but for its last words.
 *
 * Copied memory is what smaps_rollup calls Private_Dirty in the child: a page that the parent wrote to since the fork
 * is the child's alone. Asking walks the page tables, so it is done as rarely as keeps it to a hundredth of the time, a
 * tenth where a budget has to be watched.
 */
#include "config.h"

#include "persistence/snapshot/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/num.h"

#define REPORT_EVERY_US 50000
#define MEASURE_EVERY_US 100000
#define MEASURE_DUTY 100 /* a measurement may take 1/100 of the time */
#define MEASURE_DUTY_BUDGET 10
#define LAST_WORDS_WAIT_MS 1000
#define REAP_WAIT_MS 50

enum message_kind { MESSAGE_PROGRESS = 1, MESSAGE_FAILURE = 2 };

struct message {
    uint32_t kind;
    uint32_t has_cow;
    uint64_t keys_done;
    uint64_t cow_bytes;
    uint64_t cow_peak_bytes;
    char text[256];
};
_Static_assert(sizeof(struct message) <= PIPE_BUF, "messages arrive whole");

struct children {
    struct children_options o;
    void (*forget)(void *arg, int fd);
    void *forget_arg;
    pid_t pid; /* -1: none */
    int fd;    /* read end, or -1 */
    struct child_job job;
    size_t partial; /* bytes of `incoming` that have arrived */
    struct message incoming;
    bool cancelled, over_budget, ended;
    int64_t started_us, cow_at_us;
    uint64_t keys_done;
    size_t cow_bytes, cow_peak_bytes;
    char text[256];
    uint64_t forks;
    int64_t last_fork_us;
    double fork_rate;
};

struct child_link {
    int fd;
    int64_t reported_us;
    int64_t measured_us, measure_cost_us;
    bool budget;
    uint64_t keys_done;
    size_t cow_bytes, cow_peak_bytes;
    double cow_sum;
    uint64_t cow_count;
};

/* ---- measuring ---- */

static ssize_t read_proc(const char *path, char *dst, size_t cap) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, dst, cap - 1);
    close(fd);
    if (n >= 0)
        dst[n] = '\0';
    return n;
}

size_t child_private_dirty_bytes(void) {
    char text[4096];
    if (read_proc("/proc/self/smaps_rollup", text, sizeof text) < 0)
        return 0;
    const char *at = strstr(text, "Private_Dirty:");
    return at == NULL ? 0 : (size_t)strtoull(at + strlen("Private_Dirty:"), NULL, 10) * 1024;
}

static double resident_gb(void) {
    char text[128];
    unsigned long long total, resident;
    if (read_proc("/proc/self/statm", text, sizeof text) < 0 || sscanf(text, "%llu %llu", &total, &resident) != 2)
        return 0;
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1024.0 * 1024 * 1024);
}

/* ---- the child's side ---- */

static int link_send(struct child_link *l, const struct message *m, int wait_ms) {
    for (;;) {
        ssize_t n = write(l->fd, m, sizeof *m);
        if (n == (ssize_t)sizeof *m)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN && wait_ms > 0) {
            struct pollfd p = {.fd = l->fd, .events = POLLOUT};
            if (poll(&p, 1, wait_ms) > 0)
                continue;
        }
        return n < 0 && errno == EAGAIN ? 0 : -1;
    }
}

static void link_measure(struct child_link *l) {
    int64_t from = clock_mono_us();
    l->cow_bytes = child_private_dirty_bytes();
    l->measured_us = clock_mono_us();
    l->measure_cost_us = l->measured_us - from;
    if (l->cow_bytes > l->cow_peak_bytes)
        l->cow_peak_bytes = l->cow_bytes;
    l->cow_sum += (double)l->cow_bytes;
    l->cow_count++;
}

static int link_progress(struct child_link *l, uint64_t keys_done, bool measure, int wait_ms) {
    if (measure)
        link_measure(l);
    l->keys_done = keys_done;
    l->reported_us = clock_mono_us();
    const struct message m = {.kind = MESSAGE_PROGRESS,
                              .has_cow = l->cow_count > 0,
                              .keys_done = keys_done,
                              .cow_bytes = l->cow_bytes,
                              .cow_peak_bytes = l->cow_peak_bytes};
    return link_send(l, &m, wait_ms);
}

int child_link_report(struct child_link *l, uint64_t keys_done) {
    int64_t now = clock_mono_us();
    if (now - l->reported_us < REPORT_EVERY_US)
        return 0;
    int64_t pause = l->measure_cost_us * (l->budget ? MEASURE_DUTY_BUDGET : MEASURE_DUTY);
    if (pause < MEASURE_EVERY_US)
        pause = MEASURE_EVERY_US;
    return link_progress(l, keys_done, now - l->measured_us >= pause, 0);
}

void child_link_report_final(struct child_link *l, uint64_t keys_done) {
    (void)link_progress(l, keys_done, true, LAST_WORDS_WAIT_MS); /* a parent that is gone needs no report */
}

void child_link_fail(struct child_link *l, const char *text) {
    struct message m = {.kind = MESSAGE_FAILURE, .keys_done = l->keys_done};
    snprintf(m.text, sizeof m.text, "%s", text);
    (void)link_send(l, &m, LAST_WORDS_WAIT_MS);
}

void child_link_cow(const struct child_link *l, struct child_cow *ret_cow) {
    *ret_cow = (struct child_cow){.current_bytes = l->cow_bytes,
                                  .peak_bytes = l->cow_peak_bytes,
                                  .average_bytes = l->cow_count == 0 ? 0 : (size_t)(l->cow_sum / (double)l->cow_count)};
}

static void child_reset_signals(void) {
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL); /* those that cannot be changed stay */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A child that is easier to kill than its parent is a kindness, not a need: failures are passed over. */
static void child_set_priority(const struct child_job *job) {
    char text[32];
    if (job->oom_score_set) {
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            int n = snprintf(text, sizeof text, "%d", job->oom_score_adj);
            ssize_t written = write(fd, text, (size_t)n);
            (void)written;
            close(fd);
        }
    }
    if (job->nice != 0) {
        int was = nice(job->nice);
        (void)was;
    }
}

static _Noreturn void child_run(const struct children *c, int fd, pid_t parent) {
    struct child_link link = {.fd = fd, .budget = c->job.cow_limit_bytes > 0};
    child_reset_signals();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before the line above */
        _exit(1);
    child_set_priority(&c->job);
    if (c->o.in_child != NULL)
        c->o.in_child(c->o.in_child_arg);
    _exit(c->job.run(c->job.arg, &link));
}

/* ---- the parent's side ---- */

struct children *children_create(const struct children_options *o) {
    struct children *c = mem_calloc(1, sizeof *c);
    if (o != NULL)
        c->o = *o;
    c->pid = -1;
    c->fd = -1;
    return c;
}

void children_destroy(struct children *c) {
    if (c == NULL)
        return;
    child_kill(c);
    mem_free(c);
}

int child_start(struct children *c, const struct child_job *job) {
    int ends[2];
    HF_ASSERT(job->kind != CHILD_NONE && job->run != NULL && job->done != NULL);
    if (c->pid != -1)
        return -EBUSY;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -errno;
    double gb = resident_gb();
    pid_t parent = getpid();
    c->job = *job;
    int64_t from = clock_mono_us();
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child_run(c, ends[1], parent);
    }
    int err = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (err != 0) {
        close(ends[0]);
        return err;
    }
    c->started_us = clock_mono_us();
    c->last_fork_us = c->started_us - from;
    c->fork_rate = c->last_fork_us > 0 ? gb * 1e6 / (double)c->last_fork_us : 0;
    c->forks++;
    c->pid = pid;
    c->fd = ends[0];
    c->partial = 0;
    c->cancelled = c->over_budget = c->ended = false;
    c->cow_at_us = c->started_us;
    c->keys_done = 0;
    c->cow_bytes = c->cow_peak_bytes = 0;
    c->text[0] = '\0';
    return 0;
}

enum child_kind child_running(const struct children *c) {
    return c->pid == -1 ? CHILD_NONE : c->job.kind;
}
pid_t child_pid(const struct children *c) {
    return c->pid;
}
int child_fd(const struct children *c) {
    return c->fd;
}

void child_set_forget(struct children *c, void (*forget)(void *arg, int fd), void *arg) {
    c->forget = forget;
    c->forget_arg = arg;
}

static void enforce_limit(struct children *c) {
    if (c->job.cow_limit_bytes == 0 || c->cow_peak_bytes <= c->job.cow_limit_bytes || c->over_budget || c->ended)
        return;
    c->over_budget = true;
    kill(c->pid, SIGKILL);
}

void child_set_cow_limit(struct children *c, size_t bytes) {
    c->job.cow_limit_bytes = bytes;
    if (c->pid != -1)
        enforce_limit(c);
}

static void take_message(struct children *c, const struct message *m) {
    if (m->kind == MESSAGE_FAILURE) {
        memcpy(c->text, m->text, sizeof c->text);
        c->text[sizeof c->text - 1] = '\0';
        return;
    }
    c->keys_done = m->keys_done;
    if (m->has_cow == 0)
        return;
    c->cow_bytes = m->cow_bytes;
    c->cow_peak_bytes = m->cow_peak_bytes;
    c->cow_at_us = clock_mono_us();
}

/* Reads what has come. */
static void drain(struct children *c) {
    for (;;) {
        ssize_t n = read(c->fd, (char *)&c->incoming + c->partial, sizeof c->incoming - c->partial);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            c->ended = true;
        if (n <= 0)
            return;
        c->partial += (size_t)n;
        if (c->partial == sizeof c->incoming) {
            c->partial = 0;
            take_message(c, &c->incoming);
        }
    }
}

static void finish(struct children *c, int status, bool known) {
    drain(c); /* its last words */
    struct child_result res = {
        .kind = c->job.kind,
        .pid = c->pid,
        .exit_code = -1,
        .cancelled = c->cancelled,
        .over_budget = c->over_budget,
        .cow_peak_bytes = c->cow_peak_bytes,
        .cow_limit_bytes = c->job.cow_limit_bytes,
        .keys_done = c->keys_done,
        .keys_total = c->job.keys_total,
        .duration_us = clock_mono_us() - c->started_us,
    };
    memcpy(res.text, c->text, sizeof res.text);
    if (!known)
        snprintf(res.text, sizeof res.text, "the exit status of the child is not to be had");
    else if (WIFEXITED(status))
        res.exit_code = WEXITSTATUS(status);
    else if (WIFSIGNALED(status))
        res.signal = WTERMSIG(status);
    res.ok = res.exit_code == 0;
    if (res.ok) /* it was faster than the signal */
        res.cancelled = res.over_budget = false;
    if (c->forget != NULL)
        c->forget(c->forget_arg, c->fd);
    close(c->fd);
    c->fd = -1;
    c->pid = -1;
    c->job.done(c->job.arg, &res);
}

/* True when the child is gone (and done() was called). */
static bool reap(struct children *c, int options) {
    int status = 0;
    pid_t got;
    do
        got = waitpid(c->pid, &status, options);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        return false;
    finish(c, status, got > 0);
    return true;
}

void child_service(struct children *c) {
    if (c->pid == -1)
        return;
    drain(c);
    enforce_limit(c);
    if (reap(c, WNOHANG) || !c->ended)
        return;
    /* Its descriptors are closed: it is a matter of microseconds. Should it not be, the next call will find it. */
    for (int ms = 0; ms < REAP_WAIT_MS; ms++) {
        const struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
        if (reap(c, WNOHANG))
            return;
    }
}

void child_kill(struct children *c) {
    if (c->pid == -1)
        return;
    c->cancelled = true;
    kill(c->pid, SIGKILL);
    (void)reap(c, 0);
}

bool child_wait(struct children *c, int timeout_ms) {
    int64_t until_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    while (c->pid != -1) {
        int64_t left_us = until_us - clock_mono_us();
        if (timeout_ms >= 0 && left_us <= 0)
            return false;
        int pause_ms = timeout_ms < 0 || left_us > 100000 ? 100 : (int)(left_us / 1000) + 1;
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        (void)poll(&p, 1, pause_ms); /* a signal ends the pause early, which does no harm */
        child_service(c);
    }
    return true;
}

void child_stats(const struct children *c, struct child_stats *ret_stats) {
    *ret_stats = (struct child_stats){.forks = c->forks,
                                      .last_fork_us = c->last_fork_us,
                                      .fork_rate_gb_per_s = c->fork_rate,
                                      .running = child_running(c)};
    if (c->pid == -1)
        return;
    ret_stats->started_mono_us = c->started_us;
    ret_stats->keys_done = c->keys_done;
    ret_stats->keys_total = c->job.keys_total;
    ret_stats->cow_bytes = c->cow_bytes;
    ret_stats->cow_peak_bytes = c->cow_peak_bytes;
    ret_stats->cow_age_s = (clock_mono_us() - c->cow_at_us) / 1000000;
    if (c->job.keys_total > 0) {
        double percent = 100.0 * (double)c->keys_done / (double)c->job.keys_total;
        ret_stats->percent = percent > 100 ? 100 : percent;
    }
}

void child_reset_stats(struct children *c) {
    c->forks = 0;
    c->last_fork_us = 0;
    c->fork_rate = 0;
}
