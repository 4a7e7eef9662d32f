#include "config.h"

#include "server/net/conn.h"

#include "tests/support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mem.h"

#define ACCEPTED_MAX 64

static struct loop *loop;
static struct conn *accepted[ACCEPTED_MAX];
static int accepted_count;
static bool destroy_on_accept;
static struct buf error;
static char directory[64];

static int setup(void **state) {
    (void)state;
    loop = loop_create();
    accepted_count = 0;
    destroy_on_accept = false;
    buf_init(&error);
    strcpy(directory, "/tmp/hf-conn-XXXXXX");
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < accepted_count; i++)
        conn_destroy(accepted[i]);
    buf_deinit(&error);
    loop_destroy(loop);
    return rmdir(directory);
}

static void on_accept(struct listener *l, struct conn *c, void *arg) {
    (void)arg;
    assert_true(accepted_count < ACCEPTED_MAX);
    accepted[accepted_count++] = c;
    if (destroy_on_accept)
        listener_destroy(l);
}

static struct listener *listen_with(const struct listener_options *o) {
    struct listener *l = NULL;
    int rc = listener_create(loop, o, on_accept, NULL, &l, &error);
    if (rc != 0)
        fail_msg("listener_create: %.*s", (int)error.len, error.data);
    return l;
}

static struct listener *listen_tcp(const char *address, int port) {
    return listen_with(&(struct listener_options){.address = address, .port = port, .kind = CONN_TCP, .backlog = 16});
}

/* Runs the loop until n connections are accepted, for at most 5 s. */
static void wait_accepted(int n) {
    int64_t start_us = clock_mono_us();
    while (accepted_count < n && clock_mono_us() - start_us < 5000000)
        (void)loop_run_once(loop, 20);
    assert_int_equal(accepted_count, n);
}

static struct conn *connect_to(const char *host, int port) {
    struct conn *c = NULL;
    assert_int_equal(conn_connect(loop, host, port, NULL, &c), 0);
    return c;
}

static void assert_talks(struct conn *from, struct conn *to) {
    struct iovec iov[2] = {{"hel", 3}, {"lo", 2}};
    assert_int_equal(conn_writev(from, iov, 2), 5);
    struct iovec one = {"!", 1};
    assert_int_equal(conn_writev(from, &one, 1), 1);
    char text[16];
    size_t n = 0;
    int64_t start_us = clock_mono_us();
    while (n < 6 && clock_mono_us() - start_us < 5000000) {
        ssize_t got = conn_read(to, text + n, sizeof text - n);
        assert_true(got > 0 || got == -EAGAIN);
        n += got > 0 ? (size_t)got : 0;
    }
    assert_bytes_are(text, n, "hello!");
}

static void check_tcp(const char *listen_address, const char *host, const char *form) {
    struct listener *l = listen_tcp(listen_address, 0);
    int port = listener_port(l);
    assert_true(port > 0);
    struct conn *c = connect_to(host, port);
    wait_accepted(1);
    assert_int_equal(conn_errno(c), 0);
    assert_talks(c, accepted[0]);
    assert_talks(accepted[0], c);
    char got[CONN_ADDR_CHARS], want[CONN_ADDR_CHARS], other[CONN_ADDR_CHARS];
    snprintf(want, sizeof want, form, port);
    conn_peer_addr(c, got);
    assert_string_equal(got, want);
    conn_local_addr(accepted[0], got);
    assert_string_equal(got, want);
    conn_peer_addr(accepted[0], got);
    conn_local_addr(c, other);
    assert_string_equal(got, other);
    assert_true(conn_is_local(accepted[0]));
    assert_int_equal(conn_is_ipv6(accepted[0]), form[0] == '[');
    assert_int_equal(conn_kind(accepted[0]), CONN_TCP);
    int flags = fcntl(conn_fd(accepted[0]), F_GETFL);
    assert_true((flags & O_NONBLOCK) != 0);
    assert_true((fcntl(conn_fd(accepted[0]), F_GETFD) & FD_CLOEXEC) != 0);
    /* The address is still known when the peer is gone. */
    conn_destroy(c);
    char byte;
    int64_t start_us = clock_mono_us();
    while (conn_read(accepted[0], &byte, 1) != 0 && clock_mono_us() - start_us < 5000000)
        continue;
    assert_int_equal(conn_read(accepted[0], &byte, 1), 0);
    conn_peer_addr(accepted[0], got);
    assert_string_equal(got, other);
    listener_destroy(l);
}

static void ipv4_connections(void **state) {
    (void)state;
    check_tcp("127.0.0.1", "127.0.0.1", "127.0.0.1:%d");
}

static void ipv4_any_address(void **state) {
    (void)state;
    check_tcp("*", "127.0.0.1", "127.0.0.1:%d");
}

static bool have_ipv6(void) {
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool there = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return there;
}

static void ipv6_connections(void **state) {
    (void)state;
    if (!have_ipv6())
        skip();
    check_tcp("::1", "::1", "[::1]:%d");
}

static void ipv6_any_address_leaves_ipv4_alone(void **state) {
    (void)state;
    if (!have_ipv6())
        skip();
    struct listener *v4 = listen_tcp("*", 0);
    struct listener *v6 = listen_tcp("::*", listener_port(v4));
    struct conn *c = connect_to("::1", listener_port(v4));
    wait_accepted(1);
    assert_true(conn_is_ipv6(accepted[0]));
    conn_destroy(c);
    listener_destroy(v4);
    listener_destroy(v6);
}

static void a_name_is_looked_up(void **state) {
    (void)state;
    struct listener *l = listen_tcp("localhost", 0);
    struct conn *c = connect_to("localhost", listener_port(l));
    int64_t start_us = clock_mono_us();
    while (accepted_count == 0 && clock_mono_us() - start_us < 2000000)
        (void)loop_run_once(loop, 20);
    assert_int_equal(accepted_count, 1);
    conn_destroy(c);
    listener_destroy(l);
}

static void expect_listen_error(const struct listener_options *o, int rc, const char *text) {
    struct listener *l = NULL;
    buf_clear(&error);
    assert_int_equal(listener_create(loop, o, on_accept, NULL, &l, &error), rc);
    assert_null(l);
    assert_bytes_are(error.data, error.len, text);
}

static void a_port_in_use_is_reported(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    char want[128];
    snprintf(want, sizeof want,
             "Could not create server TCP listening socket 127.0.0.1:%d: bind: Address already in use",
             listener_port(l));
    expect_listen_error(&(struct listener_options){.address = "127.0.0.1", .port = listener_port(l), .kind = CONN_TCP},
                        -EADDRINUSE, want);
    listener_destroy(l);
}

static void an_address_of_another_machine_is_reported(void **state) {
    (void)state;
    expect_listen_error(
        &(struct listener_options){.address = "192.0.2.1", .port = 1, .kind = CONN_TCP}, -EADDRNOTAVAIL,
        "Could not create server TCP listening socket 192.0.2.1:1: bind: Cannot assign requested address");
    expect_listen_error(&(struct listener_options){.address = "127.0.0.1", .port = 65536, .kind = CONN_TCP}, -EINVAL,
                        "Could not create server TCP listening socket 127.0.0.1:65536: port: Invalid argument");
    struct listener *l = NULL;
    buf_clear(&error);
    int rc = listener_create(loop, &(struct listener_options){.address = "no.such.host.invalid", .port = 1}, on_accept,
                             NULL, &l, &error);
    assert_true(rc < 0);
    assert_true(error.len > 0);
}

static void only_some_are_accepted_in_a_cycle(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    listener_set_accepts_per_cycle(l, 2);
    struct conn *c[5];
    for (int i = 0; i < 5; i++)
        c[i] = connect_to("127.0.0.1", listener_port(l));
    usleep(20000);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(accepted_count, 2);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(accepted_count, 4);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(accepted_count, 5);
    for (int i = 0; i < 5; i++)
        conn_destroy(c[i]);
    listener_destroy(l);
}

static void the_accept_function_may_destroy_the_listener(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    destroy_on_accept = true;
    struct conn *a = connect_to("127.0.0.1", listener_port(l));
    struct conn *b = connect_to("127.0.0.1", listener_port(l));
    usleep(20000);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(accepted_count, 1);
    (void)loop_run_once(loop, 0);
    conn_destroy(a);
    conn_destroy(b);
}

static void accepting_pauses_while_descriptors_are_short(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    struct conn *c = connect_to("127.0.0.1", listener_port(l));
    usleep(20000);
    int lowest_free = dup(0);
    close(lowest_free);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = (rlim_t)lowest_free;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct loop_stats before, after;
    loop_stats(loop, &before);
    int64_t start_us = clock_mono_us();
    while (clock_mono_us() - start_us < 250000)
        (void)loop_run_once(loop, 50);
    loop_stats(loop, &after);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(accepted_count, 0);
    assert_true(after.cycles - before.cycles < 30);
    wait_accepted(1);
    conn_destroy(c);
    listener_destroy(l);
}

static void destroying_a_paused_listener_is_clean(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    struct conn *c = connect_to("127.0.0.1", listener_port(l));
    usleep(20000);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    (void)loop_run_once(loop, 100);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    listener_destroy(l);
    int64_t start_us = clock_mono_us();
    while (clock_mono_us() - start_us < 150000)
        (void)loop_run_once(loop, 50);
    assert_int_equal(accepted_count, 0);
    conn_destroy(c);
}

/* ---- Unix sockets ---- */

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void unix_connections(void **state) {
    (void)state;
    const char *path = path_of("s");
    struct listener *l = listen_with(&(struct listener_options){.address = path, .kind = CONN_UNIX, .unix_mode = 0700});
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    struct conn *c = NULL;
    assert_int_equal(conn_connect_unix(loop, path, &c), 0);
    wait_accepted(1);
    assert_talks(c, accepted[0]);
    assert_talks(accepted[0], c);
    char got[CONN_ADDR_CHARS], want[256];
    snprintf(want, sizeof want, "%s:0", path);
    conn_peer_addr(accepted[0], got);
    assert_string_equal(got, want);
    conn_local_addr(accepted[0], got);
    assert_string_equal(got, want);
    conn_peer_addr(c, got);
    assert_string_equal(got, want);
    assert_true(conn_is_local(accepted[0]));
    assert_false(conn_is_ipv6(accepted[0]));
    assert_int_equal(conn_kind(accepted[0]), CONN_UNIX);
    assert_int_equal(conn_set_nodelay(c, true), 0);
    assert_int_equal(conn_set_keepalive(c, 300), 0);
    conn_destroy(c);
    listener_destroy(l);
    assert_int_equal(lstat(path, &st), -1);
}

static void a_stale_socket_file_is_replaced(void **state) {
    (void)state;
    const char *path = path_of("stale");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(fd);
    struct listener *l = listen_with(&(struct listener_options){.address = path, .kind = CONN_UNIX});
    struct conn *c = NULL;
    assert_int_equal(conn_connect_unix(loop, path, &c), 0);
    conn_destroy(c);
    listener_destroy(l);
}

static void a_socket_in_use_stays(void **state) {
    (void)state;
    const char *path = path_of("used");
    struct listener *l = listen_with(&(struct listener_options){.address = path, .kind = CONN_UNIX});
    char want[256];
    snprintf(want, sizeof want, "Could not create server Unix socket %s: bind: Address already in use", path);
    expect_listen_error(&(struct listener_options){.address = path, .kind = CONN_UNIX}, -EADDRINUSE, want);
    struct conn *c = NULL;
    assert_int_equal(conn_connect_unix(loop, path, &c), 0);
    conn_destroy(c);
    listener_destroy(l);
}

static void another_file_is_not_removed(void **state) {
    (void)state;
    const char *path = path_of("file");
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    char want[256];
    snprintf(want, sizeof want, "Could not create server Unix socket %s: not a socket: File exists", path);
    expect_listen_error(&(struct listener_options){.address = path, .kind = CONN_UNIX}, -EEXIST, want);
    assert_int_equal(unlink(path), 0);
}

static void the_file_of_a_successor_is_not_removed(void **state) {
    (void)state;
    const char *path = path_of("successor");
    struct listener *l = listen_with(&(struct listener_options){.address = path, .kind = CONN_UNIX});
    char moved[160];
    snprintf(moved, sizeof moved, "%s.old", path);
    assert_int_equal(rename(path, moved), 0);
    struct listener *successor = listen_with(&(struct listener_options){.address = path, .kind = CONN_UNIX});
    listener_destroy(l);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    listener_destroy(successor);
    assert_int_equal(unlink(moved), 0);
}

static void a_path_too_long_is_reported(void **state) {
    (void)state;
    char path[200];
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    struct listener *l = NULL;
    assert_int_equal(listener_create(loop, &(struct listener_options){.address = path, .kind = CONN_UNIX}, on_accept,
                                     NULL, &l, &error),
                     -ENAMETOOLONG);
    struct conn *c = NULL;
    assert_int_equal(conn_connect_unix(loop, path, &c), -ENAMETOOLONG);
}

static void an_unknown_group_is_reported_and_leaves_no_file(void **state) {
    (void)state;
    const char *path = path_of("group");
    char want[256];
    snprintf(want, sizeof want, "Could not create server Unix socket %s: unixsocketgroup: No such file or directory",
             path);
    expect_listen_error(&(struct listener_options){.address = path, .kind = CONN_UNIX, .unix_group = "no-such-group"},
                        -ENOENT, want);
    struct stat st;
    assert_int_equal(lstat(path, &st), -1);
    struct group *own = getgrgid(getegid());
    if (own == NULL)
        return;
    struct listener *l =
        listen_with(&(struct listener_options){.address = path, .kind = CONN_UNIX, .unix_group = own->gr_name});
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_gid, getegid());
    listener_destroy(l);
}

/* ---- one connection ---- */

static void a_refused_connection_shows_in_its_errno(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    int port = listener_port(l);
    listener_destroy(l);
    struct conn *c = NULL;
    int rc = conn_connect(loop, "127.0.0.1", port, NULL, &c);
    if (rc == 0) {
        usleep(20000);
        assert_int_equal(conn_errno(c), ECONNREFUSED);
    } else {
        assert_int_equal(rc, -ECONNREFUSED);
    }
    conn_destroy(c);
    assert_int_equal(conn_connect(loop, "127.0.0.1", 0, NULL, &c), -EINVAL);
}

static void a_source_address_is_used(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    struct conn *c = NULL;
    assert_int_equal(conn_connect(loop, "127.0.0.1", listener_port(l), "127.0.0.5", &c), 0);
    wait_accepted(1);
    char got[CONN_ADDR_CHARS];
    conn_peer_addr(accepted[0], got);
    assert_int_equal(strncmp(got, "127.0.0.5:", 10), 0);
    conn_destroy(c);
    assert_int_equal(conn_connect(loop, "127.0.0.1", listener_port(l), "192.0.2.1", &c), -EADDRNOTAVAIL);
    listener_destroy(l);
}

static void writing_to_a_peer_that_is_gone_is_an_error_and_no_signal(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct conn *c = conn_create(loop, fds[0], CONN_UNIX);
    char byte;
    assert_int_equal(conn_read(c, &byte, 1), -EAGAIN);
    close(fds[1]);
    struct iovec iov[2] = {{"a", 1}, {"b", 1}};
    assert_int_equal(conn_writev(c, iov, 1), -EPIPE);
    assert_int_equal(conn_writev(c, iov, 2), -EPIPE);
    conn_destroy(c);
}

static void shutdown_ends_the_stream_one_way(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct conn *a = conn_create(loop, fds[0], CONN_UNIX);
    struct conn *b = conn_create(loop, fds[1], CONN_UNIX);
    conn_shutdown(a);
    char byte;
    assert_int_equal(conn_read(b, &byte, 1), 0);
    struct iovec iov = {"z", 1};
    assert_int_equal(conn_writev(b, &iov, 1), 1);
    assert_int_equal(conn_read(a, &byte, 1), 1);
    conn_destroy(a);
    conn_destroy(b);
}

static int int_option(const struct conn *c, int level, int option) {
    int value = -1;
    socklen_t bytes = sizeof value;
    assert_int_equal(getsockopt(conn_fd(c), level, option, &value, &bytes), 0);
    return value;
}

static void tcp_options_are_set(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    struct conn *c = connect_to("127.0.0.1", listener_port(l));
    assert_int_equal(conn_set_nodelay(c, true), 0);
    assert_true(int_option(c, IPPROTO_TCP, TCP_NODELAY) != 0);
    assert_int_equal(conn_set_nodelay(c, false), 0);
    assert_int_equal(int_option(c, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(conn_set_keepalive(c, 300), 0);
    assert_true(int_option(c, SOL_SOCKET, SO_KEEPALIVE) != 0);
    assert_int_equal(int_option(c, IPPROTO_TCP, TCP_KEEPIDLE), 300);
    assert_int_equal(int_option(c, IPPROTO_TCP, TCP_KEEPINTVL), 100);
    assert_int_equal(conn_set_keepalive(c, 1), 0);
    assert_int_equal(conn_set_keepalive(c, 2000000000), 0);
    assert_int_equal(conn_set_keepalive(c, 0), 0);
    assert_int_equal(int_option(c, SOL_SOCKET, SO_KEEPALIVE), 0);
    conn_destroy(c);
    listener_destroy(l);
}

static void set_flag(struct loop *lp, int fd, unsigned events, void *arg) {
    (void)lp;
    (void)fd;
    *(unsigned *)arg = events;
}

static void a_connection_is_watched_and_forgotten_when_destroyed(void **state) {
    (void)state;
    struct listener *l = listen_tcp("127.0.0.1", 0);
    struct conn *c = connect_to("127.0.0.1", listener_port(l));
    unsigned events = 0;
    assert_int_equal(conn_watch(c, LOOP_WRITABLE, set_flag, &events), 0);
    wait_accepted(1);
    (void)loop_run_once(loop, 1000);
    assert_int_equal(events, LOOP_WRITABLE);
    conn_destroy(c);
    events = 0;
    (void)loop_run_once(loop, 0);
    assert_int_equal(events, 0);
    conn_destroy(NULL);
    listener_destroy(l);
    listener_destroy(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(ipv4_connections),
        TEST(ipv4_any_address),
        TEST(ipv6_connections),
        TEST(ipv6_any_address_leaves_ipv4_alone),
        TEST(a_name_is_looked_up),
        TEST(a_port_in_use_is_reported),
        TEST(an_address_of_another_machine_is_reported),
        TEST(only_some_are_accepted_in_a_cycle),
        TEST(the_accept_function_may_destroy_the_listener),
        TEST(accepting_pauses_while_descriptors_are_short),
        TEST(destroying_a_paused_listener_is_clean),
        TEST(unix_connections),
        TEST(a_stale_socket_file_is_replaced),
        TEST(a_socket_in_use_stays),
        TEST(another_file_is_not_removed),
        TEST(the_file_of_a_successor_is_not_removed),
        TEST(a_path_too_long_is_reported),
        TEST(an_unknown_group_is_reported_and_leaves_no_file),
        TEST(a_refused_connection_shows_in_its_errno),
        TEST(a_source_address_is_used),
        TEST(writing_to_a_peer_that_is_gone_is_an_error_and_no_signal),
        TEST(shutdown_ends_the_stream_one_way),
        TEST(tcp_options_are_set),
        TEST(a_connection_is_watched_and_forgotten_when_destroyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
