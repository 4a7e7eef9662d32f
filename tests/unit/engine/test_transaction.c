#include "config.h"

#include "tests/unit/engine/engine_fixture.h"

/* MULTI, EXEC, WATCH: what clients see, and what the change log gets. */

#define OK "+OK\r\n"
#define QUEUED "+QUEUED\r\n"
#define MULTI_ "*1 $5 MULTI "
#define EXEC_ "*1 $4 EXEC "
#define SELECT(db) "*2 $6 SELECT $1 " db " "
#define SET(k, v) "*3 $3 SET $1 " k " $1 " v " "

static int setup(void **state) {
    node_setup(state);
    follow(*state);
    return 0;
}

static void test_single_commands(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "SET a 1", OK);
    assert_string_equal(logged(n), SELECT("0") SET("a", "1"));
    talk(n, a, "SET b 2", OK);
    put(a, "set c '3'\r\n");
    cycle(n);
    expect(a, OK);
    assert_string_equal(logged(n), SET("b", "2") "*3 $3 set $1 c $1 3 ");
    talk(n, a, "DEL none", ":0\r\n");
    talk(n, a, "GET a", "$1\r\n1\r\n");
    talk(n, a, "QUIET a", OK);
    assert_string_equal(logged(n), "");
    talk(n, a, "SELECT 3", OK);
    assert_string_equal(logged(n), "");
    talk(n, a, "SET a 1", OK);
    assert_string_equal(logged(n), SELECT("3") SET("a", "1"));
    talk(n, a, "TWO", OK);
    assert_string_equal(logged(n), SELECT("0") MULTI_ SET("a", "1") SELECT("1") SET("b", "2") EXEC_);
    close(a);
}

static void test_groups(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*0\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "GET a", QUEUED);
    talk(n, a, "DEL a", QUEUED);
    talk(n, a, "EXEC", "*2\r\n$-1\r\n:0\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET a 1", QUEUED);
    talk(n, a, "DISCARD", OK);
    assert_string_equal(logged(n), "");
    talk(n, a, "MULTI", OK);
    talk(n, a, "GET a", QUEUED);
    talk(n, a, "SET a 1", QUEUED);
    talk(n, a, "QUIET a", QUEUED);
    talk(n, a, "SELECT 2", QUEUED);
    talk(n, a, "SET b 2", QUEUED);
    talk(n, a, "TWO", QUEUED);
    talk(n, a, "BLOCK 0", QUEUED);
    talk(n, a, "EXEC", "*7\r\n$-1\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+NOBLOCK\r\n");
    assert_string_equal(logged(n), SELECT("0") MULTI_ SET("a", "1") SELECT("2") SET("b", "2") SELECT("0") SET("a", "1")
                                       SELECT("1") SET("b", "2") EXEC_);
    /* The client stays where SELECT put it. */
    talk(n, a, "SET c 3", OK);
    assert_string_equal(logged(n), SELECT("2") SET("c", "3"));
    assert_int_equal(changelog_sealed(n->log), changelog_appended(n->log));
    close(a);
}

static void test_errors(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "EXEC", "-ERR EXEC without MULTI\r\n");
    talk(n, a, "DISCARD", "-ERR DISCARD without MULTI\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "MULTI", "-ERR MULTI calls can not be nested\r\n");
    talk(n, a, "WATCH a", "-ERR WATCH inside MULTI is not allowed\r\n");
    talk(n, a, "SET a 1", QUEUED);
    talk(n, a, "EXEC", "*1\r\n+OK\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET a", "-ERR wrong number of arguments for 'set' command\r\n");
    talk(n, a, "SET a 1", QUEUED);
    talk(n, a, "EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    talk(n, a, "EXEC", "-ERR EXEC without MULTI\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: \r\n");
    talk(n, a, "EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    /* A failing command inside does not stop the others. */
    talk(n, a, "MULTI", OK);
    talk(n, a, "SELECT x", QUEUED);
    talk(n, a, "SET b 2", QUEUED);
    talk(n, a, "EXEC", "*2\r\n-ERR value is not an integer or out of range\r\n+OK\r\n");
    close(a);
}

static void test_refused_at_exec(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET a 1", QUEUED);
    n->refusal = "MISCONF no disk";
    talk(n, a, "EXEC", "-EXECABORT Transaction discarded because of: MISCONF no disk\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET a 1", "-MISCONF no disk\r\n");
    talk(n, a, "EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    talk(n, a, "GET a", "$-1\r\n");
    close(a);
}

static void test_out_of_memory(void **state) {
    struct node *n = *state;
    int a = peer(n);
    const char *oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    talk(n, a, "SET a 1", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET a 2", QUEUED);
    node_set(n, "maxmemory", "1");
    talk(n, a, "GET a", oom); /* queueing takes memory, too */
    talk(n, a, "EXEC",
         "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
         "'maxmemory'.\r\n");
    talk(n, a, "GET a", "$1\r\n1\r\n");
    talk(n, a, "SET a 2", oom);
    talk(n, a, "DEL b", ":0\r\n");
    logged(n);
    node_set(n, "maxmemory-policy", "allkeys-random");
    talk(n, a, "PING", "+PONG\r\n");
    assert_string_equal(logged(n), "*2 $6 UNLINK $1 a "); /* evicted */
    assert_int_equal(engine_stats(n->engine)->evicted_keys, 1);
    close(a);
}

static void test_watch(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    talk(n, a, "WATCH k l", OK);
    assert_int_equal(engine_watching_clients(n->engine), 1);
    assert_int_equal(engine_watched_keys(n->engine), 2);
    talk(n, b, "SET other 1", OK);
    talk(n, b, "GET k", "$-1\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "PING", QUEUED);
    talk(n, a, "EXEC", "*1\r\n+PONG\r\n");
    assert_int_equal(engine_watching_clients(n->engine), 0);
    assert_int_equal(engine_watched_keys(n->engine), 0);

    talk(n, a, "WATCH k", OK);
    talk(n, b, "SET k 1", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "PING", QUEUED);
    talk(n, a, "EXEC", "*-1\r\n");
    assert_int_equal(engine_watched_keys(n->engine), 0);

    talk(n, a, "WATCH k", OK); /* by the client itself */
    talk(n, a, "SET k 2", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*-1\r\n");

    talk(n, a, "WATCH k", OK);
    talk(n, b, "SET k 3", OK);
    talk(n, a, "UNWATCH", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*0\r\n");

    talk(n, a, "WATCH k", OK); /* another database */
    talk(n, b, "SELECT 1", OK);
    talk(n, b, "SET k 1", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*0\r\n");

    talk(n, a, "WATCH k", OK);
    close(a); /* a watcher goes away */
    cycle(n);
    assert_int_equal(engine_watched_keys(n->engine), 0);
    talk(n, b, "SELECT 0", OK);
    talk(n, b, "SET k 4", OK);
    close(b);
}

static void test_watch_and_flush(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    talk(n, a, "WATCH none", OK);
    talk(n, b, "FLUSHALL", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*0\r\n");
    talk(n, b, "SET k 1", OK);
    talk(n, a, "WATCH k", OK);
    talk(n, b, "FLUSHALL", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*-1\r\n");
    close(a), close(b);
}

/* A key that was due when it was watched is not missed; one that becomes due later is. */
static void test_watch_and_expiry(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    talk(n, b, "PUTAT k v 1", OK);
    talk(n, a, "WATCH k", OK);
    talk(n, b, "GET k", "$-1\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*0\r\n");

    talk(n, b, "PUTAT k v 1", OK);
    talk(n, a, "WATCH k", OK);
    talk(n, b, "FLUSHALL", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*0\r\n");

    talk(n, b, "PUTAT k v 1", OK);
    talk(n, a, "WATCH k", OK);
    talk(n, b, "SET k 1", OK);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*-1\r\n");

    char line[64];
    snprintf(line, sizeof line, "PUTAT k v %lld", (long long)clock_wall_ms() + 30);
    talk(n, b, line, OK);
    talk(n, a, "WATCH k", OK);
    usleep(50000);
    talk(n, a, "MULTI", OK);
    talk(n, a, "EXEC", "*-1\r\n");
    close(a), close(b);
}

static void test_expired_key_met_on_the_way(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "PUTAT k v 1", OK);
    talk(n, a, "PUTAT l v 1", OK);
    logged(n);
    talk(n, a, "GET k", "$-1\r\n");
    assert_string_equal(logged(n), "*2 $6 UNLINK $1 k ");
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET a 1", QUEUED);
    talk(n, a, "GET l", QUEUED);
    talk(n, a, "EXEC", "*2\r\n+OK\r\n$-1\r\n");
    assert_string_equal(logged(n), MULTI_ SET("a", "1") "*2 $6 UNLINK $1 l " EXEC_);
    talk(n, a, "PUTAT m v 1", OK);
    logged(n);
    talk(n, a, "MULTI", OK);
    talk(n, a, "GET m", QUEUED);
    talk(n, a, "EXEC", "*1\r\n$-1\r\n");
    assert_string_equal(logged(n), MULTI_ "*2 $6 UNLINK $1 m " EXEC_);
    assert_int_equal(engine_stats(n->engine)->expired_keys, 3);
    close(a);
}

static void test_replay(void **state) {
    struct node *n = *state;
    struct client *r = engine_client_create_internal(n->engine);
    static const char *const lines[] = {"SELECT 2", "SET a 1", "MULTI", "SET b 2", "SELECT 0", "SET c 3", "EXEC"};
    struct buf error = BUF_INIT;
    n->refusal = "MISCONF not for those who must obey";
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char copy[64];
        struct slice argv[8];
        int argc = 0;
        snprintf(copy, sizeof copy, "%s", lines[i]);
        for (char *at = copy, *word; (word = strsep(&at, " ")) != NULL;)
            argv[argc++] = slice_cstr(word);
        assert_int_equal(engine_apply(r, argv, argc, &error), 0);
    }
    struct slice bad[1] = {SLICE_LIT("SET")}, unknown[1] = {SLICE_LIT("NOSUCH")},
                 fails[2] = {SLICE_LIT("SELECT"), SLICE_LIT("99")};
    assert_int_equal(engine_apply(r, bad, 1, &error), -1);
    assert_int_equal(engine_apply(r, unknown, 1, &error), -1);
    buf_clear(&error);
    assert_int_equal(engine_apply(r, fails, 2, &error), -1);
    assert_bytes_are(error.data, error.len, "ERR DB index is out of range");
    buf_deinit(&error);
    assert_int_equal(keyspace_size(n->ks, 2), 2);
    assert_int_equal(keyspace_size(n->ks, 0), 1);
    assert_string_equal(logged(n), ""); /* nothing is logged again */
    engine_client_destroy_internal(r);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, node_teardown)
    const struct CMUnitTest tests[] = {
        T(test_single_commands), T(test_groups),           T(test_errors),
        T(test_refused_at_exec), T(test_out_of_memory),    T(test_watch),
        T(test_watch_and_flush), T(test_watch_and_expiry), T(test_expired_key_met_on_the_way),
        T(test_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
