/* A line is built on the stack and leaves in one write(2), so lines of several threads and of a child never mix.
 *
 * No lock stands between a caller and the write: a child forked from a threaded process, or a crash handler, must be
 * able to log. So the descriptor of the log file keeps its number for ever (a new file is moved onto it by dup3),
 * options are single atomic words, and the C library's locked functions (localtime_r, syslog) are behind one mutex that
 * fork() waits for and that nobody waits for longer than a moment.
 */
#include "config.h"

#include "server/base/logging.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"

#define LINE_BYTES 4096
#define SYSLOG_WAIT_MS 200

static atomic_int sink_fd = STDOUT_FILENO;
static int file_fd = -1; /* once opened, never closed */
static const char *file_name;
static atomic_int min_level = LOG_LEVEL_NOTICE;
static atomic_int line_format = LOG_FORMAT_LEGACY;
static atomic_int line_timestamp = LOG_TIMESTAMP_LEGACY;
static atomic_bool to_journal, to_syslog;
static atomic_int role_letter = 'M';

static pthread_mutex_t libc_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_long utc_offset_s;

static void libc_lock_take(void) {
    pthread_mutex_lock(&libc_lock);
}
static void libc_lock_release(void) {
    pthread_mutex_unlock(&libc_lock);
}

__attribute__((constructor)) static void guard_fork(void) {
    pthread_atfork(libc_lock_take, libc_lock_release, libc_lock_release);
}

/* Opens the file and moves it onto file_fd. 0 or -errno. */
static int open_file(const char *name) {
    int fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    if (file_fd < 0) {
        file_fd = fd;
        return 0;
    }
    int error = dup3(fd, file_fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return error;
}

int log_configure(const struct log_options *options) {
    bool to_file = options->file != NULL && options->file[0] != '\0';
    if (to_file) {
        int error = open_file(options->file);
        if (error != 0)
            return error;
    }
    file_name = to_file ? options->file : NULL;
    atomic_store(&sink_fd, to_file ? file_fd : STDOUT_FILENO);
    atomic_store(&min_level, options->level);
    atomic_store(&line_format, options->format);
    atomic_store(&line_timestamp, options->timestamp);
    atomic_store(&to_journal, options->journal && !to_file);
    if (options->syslog) {
        pthread_mutex_lock(&libc_lock);
        openlog(options->syslog_ident, LOG_PID | LOG_NDELAY | LOG_NOWAIT, options->syslog_facility);
        pthread_mutex_unlock(&libc_lock);
    }
    atomic_store(&to_syslog, options->syslog);
    return 0;
}

void log_reopen(void) {
    if (file_name != NULL)
        (void)open_file(file_name); /* on failure the old file stays */
}

void log_set_role(char role) {
    atomic_store(&role_letter, role);
}

bool log_enabled(enum log_level level) {
    return (int)level >= atomic_load_explicit(&min_level, memory_order_relaxed) && level < LOG_LEVEL_NOTHING;
}

/* ---- the time stamp -------------------------------------------------------------------------------------------- */

/* Seconds east of UTC at that time. Where another thread has the lock (or had it when it crashed), the last known. */
static long utc_offset(int64_t wall_s) {
    if (pthread_mutex_trylock(&libc_lock) == 0) {
        struct tm local;
        time_t t = (time_t)wall_s;
        if (localtime_r(&t, &local) != NULL)
            atomic_store_explicit(&utc_offset_s, local.tm_gmtoff, memory_order_relaxed);
        pthread_mutex_unlock(&libc_lock);
    }
    return atomic_load_explicit(&utc_offset_s, memory_order_relaxed);
}

struct civil {
    int year, month, day; /* month from 1 */
};

/* Proleptic Gregorian date of a day number since 1970-01-01, counted in 400-year cycles that begin in March, so that
 * the leap day comes last. */
static struct civil civil_of_day(int64_t day_number) {
    int64_t z = day_number + 719468; /* since 0000-03-01 */
    int64_t cycle = (z >= 0 ? z : z - 146096) / 146097;
    int64_t in_cycle = z - cycle * 146097;
    int64_t year = (in_cycle - in_cycle / 1460 + in_cycle / 36524 - in_cycle / 146096) / 365;
    int64_t in_year = in_cycle - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * in_year + 2) / 153; /* from March */
    int64_t day = in_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    return (struct civil){(int)(year + cycle * 400 + (month <= 2)), (int)month, (int)day};
}

static size_t write_timestamp(char *dst, size_t dst_bytes, enum log_timestamp form) {
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t now_ms = clock_wall_ms();
    if (form == LOG_TIMESTAMP_MILLISECONDS)
        return (size_t)snprintf(dst, dst_bytes, "%lld", (long long)now_ms);
    long offset_s = utc_offset(now_ms / 1000);
    int64_t local_s = now_ms / 1000 + offset_s;
    struct civil date = civil_of_day(local_s / 86400);
    int in_day = (int)(local_s % 86400), ms = (int)(now_ms % 1000);
    int h = in_day / 3600, min = in_day / 60 % 60, s = in_day % 60;
    if (form == LOG_TIMESTAMP_LEGACY)
        return (size_t)snprintf(dst, dst_bytes, "%02d %s %04d %02d:%02d:%02d.%03d", date.day, months[date.month - 1],
                                date.year, h, min, s, ms);
    int east_min = (int)(offset_s / 60), abs_min = east_min < 0 ? -east_min : east_min;
    return (size_t)snprintf(dst, dst_bytes, "%04d-%02d-%02dT%02d:%02d:%02d.%03d%c%02d:%02d", date.year, date.month,
                            date.day, h, min, s, ms, east_min < 0 ? '-' : '+', abs_min / 60, abs_min % 60);
}

/* ---- the line -------------------------------------------------------------------------------------------------- */

struct line {
    char text[LINE_BYTES];
    size_t n; /* < LINE_BYTES: the last byte is for the newline */
};

static void line_add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line_add(struct line *l, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->text + l->n, sizeof l->text - l->n, fmt, ap);
    va_end(ap);
    if (n > 0)
        l->n = l->n + (size_t)n < sizeof l->text ? l->n + (size_t)n : sizeof l->text - 1;
}

/* In quotes a value has no bare quote, backslash or control character. Room for the closing quote is kept. */
static void line_add_quoted(struct line *l, const char *s) {
    line_add(l, "\"");
    for (; *s != '\0' && l->n + 8 < sizeof l->text; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '\n')
            line_add(l, "\\n");
        else if (c == '"' || c == '\\')
            line_add(l, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            line_add(l, "\\x%02x", c);
        else
            l->text[l->n++] = (char)c;
    }
    line_add(l, "\"");
}

static const char *role_word(char role) {
    switch (role) {
    case 'S':
        return "replica";
    case 'C':
        return "child";
    case 'X':
        return "sentinel";
    default:
        return "primary";
    }
}

static void build_line(struct line *l, enum log_level level, const char *message) {
    static const char marks[] = ".-*#";
    static const char *const words[] = {"debug", "verbose", "notice", "warning"};
    char role = (char)atomic_load_explicit(&role_letter, memory_order_relaxed);
    bool journal = atomic_load_explicit(&to_journal, memory_order_relaxed);
    enum log_timestamp form = (enum log_timestamp)atomic_load_explicit(&line_timestamp, memory_order_relaxed);
    char stamp[64] = "";
    l->n = 0;
    if (journal)
        line_add(l, "<%d>", LOG_DEBUG - (int)level); /* debug 7, info 6, notice 5, warning 4 */
    else
        write_timestamp(stamp, sizeof stamp, form);
    if (atomic_load_explicit(&line_format, memory_order_relaxed) == LOG_FORMAT_LOGFMT) {
        line_add(l, "pid=%d role=%s ", (int)getpid(), role_word(role));
        if (!journal)
            line_add(l, "timestamp=\"%s\" ", stamp);
        line_add(l, "level=%s message=", words[level]);
        line_add_quoted(l, message);
    } else if (journal) {
        line_add(l, "%d:%c %c %s", (int)getpid(), role, marks[level], message);
    } else {
        line_add(l, "%d:%c %s %c %s", (int)getpid(), role, stamp, marks[level], message);
    }
    l->text[l->n++] = '\n';
}

static void write_line(const struct line *l) {
    int fd = atomic_load_explicit(&sink_fd, memory_order_relaxed);
    while (write(fd, l->text, l->n) < 0 && errno == EINTR)
        ;
}

static void send_to_syslog(enum log_level level, const char *message) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += SYSLOG_WAIT_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    if (pthread_mutex_timedlock(&libc_lock, &until) != 0)
        return;
    syslog(LOG_DEBUG - (int)level, "%s", message);
    pthread_mutex_unlock(&libc_lock);
}

void log_line(enum log_level level, const char *fmt, ...) {
    if (!log_enabled(level))
        return;
    int saved_errno = errno;
    char message[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    struct line l;
    build_line(&l, level, message);
    write_line(&l);
    if (atomic_load_explicit(&to_syslog, memory_order_relaxed))
        send_to_syslog(level, message);
    errno = saved_errno;
}
