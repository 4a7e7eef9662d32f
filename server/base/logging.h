/* The log of the process, in the field's line format, to file, stdout, syslog or the journal.
 *
 * Line (legacy format): `PID:ROLE DD Mon YYYY HH:MM:SS.mmm C message`, where C is . - * # for debug, verbose, notice, warning, and
 * ROLE is M (primary), S (replica), C (child), X (sentinel), I (loading is logged as M). logfmt format:
 * `pid=… role=primary timestamp="…" level=notice message="…"`. With journal output, lines carry <priority> prefixes (sd-daemon) and
 * no timestamp. Libraries log at debug at most; the daemon and the engine decide what is worth more.
 *
 * Thread: log_line() from any thread and from a forked child; the others from the main thread at start-up or under
 * CONFIG SET. Errors: an unwritable log file never stops the node.
 */
#ifndef HF_BASE_LOGGING_H
#define HF_BASE_LOGGING_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING, LOG_LEVEL_NOTHING };
enum log_format { LOG_FORMAT_LEGACY, LOG_FORMAT_LOGFMT };
enum log_timestamp { LOG_TIMESTAMP_LEGACY, LOG_TIMESTAMP_ISO8601, LOG_TIMESTAMP_MILLISECONDS };

struct log_options {
    enum log_level level;
    enum log_format format;
    enum log_timestamp timestamp;
    const char *file;      /* "" or NULL: standard output. Borrowed until the next call */
    bool journal;          /* standard output is the journal's stream (JOURNAL_STREAM matches): use <N> prefixes */
    bool syslog;           /* also to syslog */
    const char *syslog_ident; /* borrowed for the life of the process */
    int syslog_facility;   /* LOG_LOCAL0 … of <syslog.h> */
};

/* Applies options; may be called again. 0, or -errno when the file cannot be opened for append (old sinks stay). */
int log_configure(const struct log_options *options) __attribute__((warn_unused_result));
/* Closes and reopens the log file by name (after logrotate, on SIGUSR1... the file is opened per line otherwise kept open). */
void log_reopen(void);
/* Sets the role letter of the line: 'M', 'S', 'C', 'X'. A child calls it with 'C'. */
void log_set_role(char role);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) (log_enabled(LOG_LEVEL_DEBUG) ? log_line(LOG_LEVEL_DEBUG, __VA_ARGS__) : (void)0)
#define log_verbose(...) (log_enabled(LOG_LEVEL_VERBOSE) ? log_line(LOG_LEVEL_VERBOSE, __VA_ARGS__) : (void)0)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)

#endif
