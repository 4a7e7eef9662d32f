#include "config.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fs.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/daemon/node.h"

/* The process as the system sees it: signals, crash report, pid file, title, limits. */

static _Atomic uint64_t pending_signals;
static struct loop_waker *signal_waker; /* for the handler only */
static _Atomic bool stop_asked;         /* a signal to stop came and was not refused */

static void on_signal(int signo) {
    uint64_t bit = UINT64_C(1) << signo;
    if ((signo == SIGINT || signo == SIGTERM) && atomic_exchange(&stop_asked, true) && signo == SIGINT) {
        static const char text[] = "You insist... exiting now.\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        _exit(1);
    }
    atomic_fetch_or(&pending_signals, bit);
    loop_waker_wake(signal_waker);
}

void node_forget_stop(void) {
    atomic_store(&stop_asked, false);
}

uint64_t node_take_signals(void) {
    return atomic_exchange(&pending_signals, 0);
}

void node_install_signals(struct node *n) {
    signal_waker = n->signal_waker;
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

/* ---- crash report ---- */

static void on_crash(int signo, siginfo_t *info, void *context) {
    (void)context;
    signal(signo, SIG_DFL);
    log_warning("=== HOLDFAST BUG REPORT START: Cut & paste starting from here ===");
    log_warning("Holdfast %s crashed by signal: %d, si_code: %d", PACKAGE_VERSION, signo, info->si_code);
    if (signo == SIGSEGV || signo == SIGBUS)
        log_warning("Accessing address: %p", info->si_addr);
    void *frames[64];
    int count = backtrace(frames, 64);
    char **names = backtrace_symbols(frames, count);
    for (int i = 0; i < count; i++)
        log_warning("  %s", names ? names[i] : "?");
    log_warning("=== HOLDFAST BUG REPORT END ===");
    raise(signo);
}

void node_install_crash_handler(void) {
    struct sigaction sa = {.sa_sigaction = on_crash, .sa_flags = (int)(SA_SIGINFO | SA_NODEFER | SA_RESETHAND)};
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &sa, NULL);
}

/* ---- daemon, pid file ---- */

bool node_stdout_is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    unsigned long long dev, ino;
    return stream != NULL && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDOUT_FILENO, &st) == 0 &&
           st.st_dev == dev && st.st_ino == ino;
}

void node_daemonize_early(struct node *n) {
    /* The background thread would not survive the fork: it is made anew on the other side. */
    worker_destroy(n->worker);
    pid_t pid = fork();
    if (pid < 0) {
        log_warning("Can't daemonize: fork: %s", strerror(errno));
        exit(1);
    }
    if (pid > 0)
        _exit(0);
    setsid();
    n->worker = worker_create("holdfast-bg");
    persist_set_worker(n->persist, n->worker);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int node_write_pidfile(struct node *n) {
    const char *path = n->options.pidfile;
    if (path[0] == '\0')
        return 0;
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    int rc = fs_replace_file(fs_posix(), path, text, (size_t)len, NULL);
    if (rc < 0)
        log_warning("Failed to write PID file %s: %s", path, strerror(-rc));
    return rc;
}

/* ---- title ---- */

static char **process_argv;
static size_t process_argv_bytes;

void node_remember_argv(int argc, char **argv) {
    process_argv = argv;
    char *end = argv[0];
    for (int i = 0; i < argc; i++)
        if (argv[i] == end)
            end = argv[i] + strlen(argv[i]) + 1;
    process_argv_bytes = (size_t)(end - argv[0]);
}

static void title_variable(const struct node *n, struct slice name, struct buf *out, bool *ret_known) {
    const char *bind = n->options.bind_count > 0 ? n->options.binds[0] : "*";
    *ret_known = true;
    if (slice_is(name, "title"))
        buf_append_cstr(out, "holdfast-server");
    else if (slice_is(name, "listen-addr") && n->options.port != 0)
        buf_printf(out, "%s:%d", bind[0] == '-' ? bind + 1 : bind, (int)n->options.port);
    else if (slice_is(name, "listen-addr") || slice_is(name, "unixsocket"))
        buf_append_cstr(out, n->options.unixsocket);
    else if (slice_is(name, "port"))
        buf_printf(out, "%d", (int)n->options.port);
    else if (slice_is(name, "tls-port"))
        buf_append_cstr(out, "0");
    else if (slice_is(name, "config-file"))
        buf_append_cstr(out, settings_file(n->settings));
    else
        *ret_known = slice_is(name, "server-mode"); /* empty on a node of its own */
}

int node_format_title(const struct node *n, struct slice format, char *dst, size_t dst_bytes) {
    struct buf out = BUF_INIT;
    int rc = 0;
    for (size_t i = 0; i < format.n && rc == 0;) {
        if (format.p[i] != '{') {
            buf_append_char(&out, format.p[i++]);
            continue;
        }
        const char *close = memchr(format.p + i, '}', format.n - i);
        bool known = false;
        if (close != NULL)
            title_variable(n, slice_of(format.p + i + 1, (size_t)(close - format.p) - i - 1), &out, &known);
        if (!known)
            rc = -1;
        else
            i = (size_t)(close - format.p) + 1;
    }
    while (out.len > 0 && out.data[out.len - 1] == ' ')
        out.len--;
    if (rc == 0)
        snprintf(dst, dst_bytes, "%.*s", (int)out.len, out.data ? out.data : "");
    buf_deinit(&out);
    return rc;
}

/* The title replaces the command line in place and is cut to its length. */
void node_set_title(struct node *n) {
    char title[256];
    if (!n->options.set_proc_title || process_argv == NULL ||
        node_format_title(n, slice_cstr(n->options.proc_title_template), title, sizeof title) != 0)
        return;
    size_t len = strlen(title);
    if (len + 1 > process_argv_bytes)
        len = process_argv_bytes - 1;
    memset(process_argv[0], 0, process_argv_bytes);
    memcpy(process_argv[0], title, len);
}

/* ---- limits and warnings ---- */

static bool write_oom_score(int value) {
    char text[16];
    int len = snprintf(text, sizeof text, "%d", value);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, (size_t)len) == len;
    close(fd);
    return ok;
}

void node_set_oom_score(struct node *n) {
    if (n->options.oom_score_adj == 0)
        return;
    if (!write_oom_score((int)n->options.oom_values[node_is_replica(n) ? 1 : 0]))
        log_warning("Unable to write oom_score_adj: %s", strerror(errno));
}

/* Room for maxclients descriptors and our own; fewer clients where the system does not give them. */
int node_raise_file_limit(struct node *n) {
    const rlim_t own = 64;
    struct engine_options *o = engine_options(n->engine);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t want = (rlim_t)o->maxclients + own;
    if (limit.rlim_cur >= want)
        return 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = want;
    if (limit.rlim_max < want)
        limit.rlim_max = want;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = before;
    int64_t fits = (int64_t)limit.rlim_cur - (int64_t)own;
    if (fits < 1) {
        log_warning("The limit of open files (%lu) is too low to serve anybody.", (unsigned long)limit.rlim_cur);
        return -1;
    }
    if (fits < o->maxclients) {
        log_warning(
            "maxclients is reduced from %lld to %lld: the limit of open files is %lu. Raise LimitNOFILE or ulimit -n.",
            (long long)o->maxclients, (long long)fits, (unsigned long)limit.rlim_cur);
        o->maxclients = fits;
    }
    return 0;
}

static bool file_says(const char *path, const char *word) {
    struct buf b = BUF_INIT;
    bool found = false;
    if (fs_read_file(fs_posix(), path, 4096, &b) == 0) {
        buf_append_char(&b, '\0');
        found = strstr(b.data, word) != NULL;
    }
    buf_deinit(&b);
    return found;
}

void node_check_system(struct node *n) {
    if (file_says("/proc/sys/vm/overcommit_memory", "0"))
        log_warning("WARNING Memory overcommit must be enabled! Without it, a background save or replication may fail "
                    "under low memory condition. "
                    "Set vm.overcommit_memory = 1 in /etc/sysctl.conf and run sysctl vm.overcommit_memory=1.");
    if (n->options.disable_thp) {
        if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0 &&
            file_says("/sys/kernel/mm/transparent_hugepage/enabled", "[always]"))
            log_warning("WARNING Transparent Huge Pages are always on in this kernel and could not be switched off for "
                        "this process: copies during a "
                        "background save will be larger and slower. Run: echo madvise > "
                        "/sys/kernel/mm/transparent_hugepage/enabled");
    } else if (file_says("/sys/kernel/mm/transparent_hugepage/enabled", "[always]")) {
        log_warning("WARNING Transparent Huge Pages are on (disable-thp no): expect latency and memory costs during "
                    "background saves.");
    }
    struct buf b = BUF_INIT;
    int64_t somaxconn;
    if (fs_read_file(fs_posix(), "/proc/sys/net/core/somaxconn", 64, &b) == 0) {
        while (b.len > 0 && b.data[b.len - 1] == '\n')
            b.len--;
        if (num_parse_i64(buf_slice(&b), &somaxconn) == 0 && somaxconn < n->options.tcp_backlog)
            log_warning("WARNING: The TCP backlog setting of %lld cannot be enforced because "
                        "/proc/sys/net/core/somaxconn is set to the lower value of %lld.",
                        (long long)n->options.tcp_backlog, (long long)somaxconn);
    }
    buf_deinit(&b);
}
