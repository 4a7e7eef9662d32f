#include "config.h"

#include "server/base/logging.h"

#include "tests/support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "server/base/assert.h"

static char file[64];
static const struct log_options plain = {.level = LOG_LEVEL_NOTICE, .file = file};

static int make_file(void **state) {
    (void)state;
    snprintf(file, sizeof file, "/tmp/holdfast-log-XXXXXX");
    int fd = mkstemp(file);
    return fd < 0 || close(fd) != 0 || log_configure(&plain) != 0;
}

static int remove_file(void **state) {
    (void)state;
    log_set_role('M');
    const struct log_options standard = {.level = LOG_LEVEL_NOTICE};
    return log_configure(&standard) != 0 || unlink(file) != 0;
}

/* The file's text, in a static buffer; the file is emptied. */
static const char *logged(void) {
    static char text[1 << 20];
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_int_equal(truncate(file, 0), 0);
    return text;
}

static void assert_matches(const char *text, const char *pattern) {
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int result = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (result != 0)
        fail_msg("'%s' does not match %s", text, pattern);
}

static void a_line_has_the_fields_form(void **state) {
    (void)state;
    log_notice("hello %d", 42);
    assert_matches(logged(),
                   "^[0-9]+:M [0-9]{2} [A-Z][a-z]{2} 20[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} \\* hello 42\n$");
    log_warning("careful");
    assert_matches(logged(), " # careful\n$");
    log_set_role('S');
    log_notice("x");
    assert_matches(logged(), "^[0-9]+:S ");
}

static void the_stamp_is_the_local_time(void **state) {
    (void)state;
    assert_int_equal(setenv("TZ", "XXX-05:30", 1), 0);
    tzset();
    char before[64], after[64], *form = "%d %b %Y %H:%M";
    time_t now = time(NULL);
    strftime(before, sizeof before, form, localtime(&now));
    log_notice("x");
    now = time(NULL);
    strftime(after, sizeof after, form, localtime(&now));
    const char *text = logged();
    assert_true(strstr(text, before) != NULL || strstr(text, after) != NULL);
    struct log_options iso = plain;
    iso.timestamp = LOG_TIMESTAMP_ISO8601;
    assert_int_equal(log_configure(&iso), 0);
    log_notice("x");
    assert_matches(logged(), "^[0-9]+:M 20[0-9-]{8}T[0-9:]{8}\\.[0-9]{3}\\+05:30 \\* x\n$");
    iso.timestamp = LOG_TIMESTAMP_MILLISECONDS;
    assert_int_equal(log_configure(&iso), 0);
    log_notice("x");
    assert_matches(logged(), "^[0-9]+:M [0-9]{13} \\* x\n$");
    unsetenv("TZ");
    tzset();
}

static void lines_below_the_level_are_dropped(void **state) {
    (void)state;
    struct log_options o = plain;
    log_verbose("no");
    log_debug("no");
    assert_string_equal(logged(), "");
    o.level = LOG_LEVEL_DEBUG;
    assert_int_equal(log_configure(&o), 0);
    log_verbose("yes");
    log_debug("yes");
    assert_matches(logged(), " - yes\n.* \\. yes\n$");
    o.level = LOG_LEVEL_NOTHING;
    assert_int_equal(log_configure(&o), 0);
    log_warning("no");
    assert_string_equal(logged(), "");
    assert_false(log_enabled(LOG_LEVEL_WARNING));
}

static void logfmt_quotes_its_message(void **state) {
    (void)state;
    struct log_options o = plain;
    o.format = LOG_FORMAT_LOGFMT;
    assert_int_equal(log_configure(&o), 0);
    log_warning("a \"b\" \\ c\nd\x01");
    assert_matches(logged(), "^pid=[0-9]+ role=primary timestamp=\"[^\"]+\" level=warning "
                             "message=\"a \\\\\"b\\\\\" \\\\\\\\ c\\\\nd\\\\x01\"\n$");
}

static void a_long_line_is_cut_and_still_ends(void **state) {
    (void)state;
    char *big = malloc(100001);
    memset(big, 'x', 100000);
    big[100000] = '\0';
    log_notice("%s", big);
    const char *text = logged();
    assert_true(strlen(text) == 4096 && text[4095] == '\n');
    struct log_options o = plain;
    o.format = LOG_FORMAT_LOGFMT;
    assert_int_equal(log_configure(&o), 0);
    memset(big, '"', 100000);
    log_notice("%s", big);
    assert_matches(logged(), "\"\n$");
    free(big);
}

/* Standard output goes to the file while fn runs. */
static void with_stdout(void (*fn)(void)) {
    int saved = dup(STDOUT_FILENO), fd = open(file, O_WRONLY | O_APPEND);
    fflush(stdout);
    assert_true(saved >= 0 && fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0);
    fn();
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    close(saved);
    close(fd);
}

static void log_two(void) {
    log_notice("one");
    log_warning("two");
}

static void the_journal_gets_priorities_and_no_time(void **state) {
    (void)state;
    const struct log_options o = {.level = LOG_LEVEL_NOTICE, .file = "", .journal = true};
    assert_int_equal(log_configure(&o), 0);
    with_stdout(log_two);
    assert_matches(logged(), "^<5>[0-9]+:M \\* one\n<4>[0-9]+:M # two\n$");
}

static void a_file_that_cannot_be_opened_changes_nothing(void **state) {
    (void)state;
    struct log_options o = plain;
    o.file = "/nonexistent/dir/log";
    o.level = LOG_LEVEL_DEBUG;
    assert_true(log_configure(&o) < 0);
    log_notice("still here");
    assert_matches(logged(), "still here\n$");
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
}

static void reopening_follows_the_name(void **state) {
    (void)state;
    char rotated[80];
    snprintf(rotated, sizeof rotated, "%s.1", file);
    log_notice("one");
    assert_int_equal(rename(file, rotated), 0);
    log_notice("two");
    log_reopen();
    log_notice("three");
    assert_matches(logged(), "^[^\n]*three\n$");
    FILE *f = fopen(rotated, "r");
    char text[300] = "";
    assert_true(f != NULL && fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_matches(text, "one\n.*two\n$");
    assert_int_equal(unlink(rotated), 0);
}

static void *log_hundred(void *arg) {
    for (int i = 0; i < 100; i++)
        log_notice("thread %s line %03d xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx end", (const char *)arg, i);
    return NULL;
}

/* Children forked while other threads log must not find a lock taken for ever. */
static void threads_and_children_log_whole_lines(void **state) {
    (void)state;
    pthread_t a, b;
    assert_int_equal(pthread_create(&a, NULL, log_hundred, "a"), 0);
    assert_int_equal(pthread_create(&b, NULL, log_hundred, "b"), 0);
    pid_t children[5];
    for (int i = 0; i < 5; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            alarm(20);
            log_set_role('C');
            log_hundred("c");
            _exit(0);
        }
    }
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    for (int i = 0; i < 5; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
    }
    const char *at = logged();
    int lines = 0;
    for (const char *end; (end = strchr(at, '\n')) != NULL; at = end + 1, lines++)
        assert_true(end - at > 60 && memcmp(end - 5, "x end", 5) == 0);
    assert_int_equal(lines, 700);
}

static void logging_keeps_errno(void **state) {
    (void)state;
    errno = 1234;
    log_notice("%s", "x");
    assert_int_equal(errno, 1234);
    (void)logged();
}

static void a_failed_assertion_says_where_and_aborts(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        HF_ASSERT(1 + 1 == 2);
        volatile int two = 2;
        HF_ASSERT(two + two == 5);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_matches(logged(), "ASSERTION FAILED.*test_logging\\.c:[0-9]+ 'two \\+ two == 5' is not true\n$");
    child = fork();
    if (child == 0)
        HF_PANIC("bad %d", 7);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_matches(logged(), "PANIC: bad 7.*test_logging\\.c:[0-9]+\n$");
}

#define LOGGED(test) cmocka_unit_test_setup_teardown(test, make_file, remove_file)

int main(void) {
    const struct CMUnitTest tests[] = {
        LOGGED(a_line_has_the_fields_form),
        LOGGED(the_stamp_is_the_local_time),
        LOGGED(lines_below_the_level_are_dropped),
        LOGGED(logfmt_quotes_its_message),
        LOGGED(a_long_line_is_cut_and_still_ends),
        LOGGED(the_journal_gets_priorities_and_no_time),
        LOGGED(a_file_that_cannot_be_opened_changes_nothing),
        LOGGED(reopening_follows_the_name),
        LOGGED(threads_and_children_log_whole_lines),
        LOGGED(logging_keeps_errno),
        LOGGED(a_failed_assertion_says_where_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
