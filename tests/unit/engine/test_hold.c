#include "config.h"

#include "tests/unit/engine/engine_fixture.h"

/* Which replies wait for the change log, and for what. */

#define OK "+OK\r\n"

static int setup(void **state) {
    node_setup(state);
    follow(*state);
    return 0;
}

static void test_write_waits(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    hold(n);
    talk(n, a, "SET k v", "");
    talk(n, b, "GET other", "$-1\r\n"); /* sees nothing that is in flight */
    uint64_t first = changelog_appended(n->log);
    talk(n, a, "SET l v", "");
    release(n, first - 1);
    expect(a, "");
    release(n, first);
    expect(a, OK);
    release(n, changelog_appended(n->log));
    expect(a, OK);
    close(a), close(b);
}

static void test_reads_of_keys_in_flight_wait(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), c = peer(n);
    talk(n, a, "SET k old", OK);
    talk(n, a, "SET stays s", OK);
    hold(n);
    ask(a, "SET k new");
    cycle(n);
    talk(n, b, "GET k", "");
    talk(n, c, "GET stays", "$1\r\ns\r\n");
    talk(n, c, "DEL nothing k", ""); /* it changed k itself */
    release(n, changelog_appended(n->log));
    expect(a, OK);
    expect(b, "$3\r\nnew\r\n");
    expect(c, ":1\r\n");
    talk(n, b, "GET k", "$-1\r\n");
    close(a), close(b), close(c);
}

static void test_same_name_in_another_database(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    talk(n, b, "SELECT 1", OK);
    hold(n);
    talk(n, a, "SET k v", "");
    talk(n, b, "GET k", "$-1\r\n");
    close(a), close(b);
}

static void test_order_within_a_pipeline(void **state) {
    struct node *n = *state;
    int a = peer(n);
    struct buf b = BUF_INIT;
    hold(n);
    append_request(&b, "GET x");
    append_request(&b, "PING");
    append_request(&b, "SET k v");
    append_request(&b, "PING");
    append_request(&b, "SET l v");
    append_request(&b, "GET x");
    put_bytes(a, b.data, b.len);
    cycle(n);
    expect(a, "$-1\r\n+PONG\r\n");
    uint64_t end = changelog_appended(n->log);
    release(n, end - 1);
    expect(a, OK "+PONG\r\n");
    release(n, end);
    expect(a, OK "$-1\r\n");
    buf_deinit(&b);
    close(a);
}

static void test_whole_keyspace_waits_for_all(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    hold(n);
    talk(n, b, "DBSIZE", ":0\r\n");
    talk(n, a, "SET k v", "");
    talk(n, b, "DBSIZE", "");
    release(n, changelog_appended(n->log));
    expect(a, OK);
    expect(b, ":1\r\n");
    /* Inside EXEC, too. */
    talk(n, a, "SET l v", "");
    talk(n, b, "MULTI", OK);
    talk(n, b, "DBSIZE", "+QUEUED\r\n");
    talk(n, b, "EXEC", "");
    release(n, changelog_appended(n->log));
    expect(b, "*1\r\n:2\r\n");
    close(a), close(b);
}

static void test_flush_in_flight_holds_every_read(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    hold(n);
    talk(n, a, "FLUSHALL", "");
    talk(n, b, "GET any", "");
    talk(n, b, "PING", "");
    release(n, changelog_appended(n->log));
    expect(b, "$-1\r\n+PONG\r\n");
    talk(n, b, "GET any", "$-1\r\n");
    close(a), close(b);
}

static void test_transactions(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    hold(n);
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET k v", "+QUEUED\r\n");
    talk(n, a, "GET k", "+QUEUED\r\n");
    talk(n, a, "EXEC", "");
    /* A transaction that only reads waits for what it saw. */
    talk(n, b, "MULTI", OK);
    talk(n, b, "GET other", "+QUEUED\r\n");
    talk(n, b, "GET k", "+QUEUED\r\n");
    talk(n, b, "EXEC", "");
    release(n, changelog_appended(n->log));
    expect(a, "*2\r\n+OK\r\n$1\r\nv\r\n");
    expect(b, "*2\r\n$-1\r\n$1\r\nv\r\n");
    close(a), close(b);
}

static void test_failed_exec_tells_of_a_change_in_flight(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    talk(n, b, "WATCH k", OK);
    hold(n);
    talk(n, a, "SET k v", "");
    talk(n, b, "MULTI", OK);
    talk(n, b, "PING", "+QUEUED\r\n");
    talk(n, b, "EXEC", "");
    release(n, changelog_appended(n->log));
    expect(b, "*-1\r\n");
    close(a), close(b);
}

/* What was appended while nothing was held is held back once holding begins (a disk that stalls). */
static void test_holding_begins_late(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    changelog_set_released(n->log, changelog_appended(n->log));
    talk(n, a, "SET k v", "");
    changelog_set_holds(n->log, true);
    talk(n, b, "GET k", "");
    release(n, changelog_appended(n->log));
    expect(a, OK);
    expect(b, "$1\r\nv\r\n");
    close(a), close(b);
}

static void test_refusals_do_not_wait(void **state) {
    struct node *n = *state;
    int a = peer(n);
    hold(n);
    n->refusal = "MISCONF no disk";
    talk(n, a, "SET k v", "-MISCONF no disk\r\n");
    talk(n, a, "NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: \r\n");
    assert_string_equal(logged(n), "");
    close(a);
}

static void test_quit_waits_for_held_replies(void **state) {
    struct node *n = *state;
    int a = peer(n);
    hold(n);
    ask(a, "SET k v");
    talk(n, a, "QUIT", "");
    ask(a, "SET never v"); /* behind QUIT: not looked at, and it does not keep the loop busy */
    struct loop_stats before, after;
    cycle(n);
    loop_stats(n->loop, &before);
    loop_run_once(n->loop, 20);
    loop_stats(n->loop, &after);
    assert_true(after.busy_us - before.busy_us < 15000);
    assert_int_equal(loop_run_once(n->loop, 0), 0);
    release(n, changelog_appended(n->log));
    expect(a, OK OK "<closed>");
    assert_int_equal(engine_client_count(n->engine), 0);
    close(a);
}

static void test_half_closed_peer_gets_its_replies(void **state) {
    struct node *n = *state;
    int a = peer(n);
    hold(n);
    ask(a, "SET k v");
    assert_int_equal(shutdown(a, SHUT_WR), 0);
    cycle(n);
    expect(a, "");
    release(n, changelog_appended(n->log));
    expect(a, OK "<closed>");
    close(a);
}

static void test_reading_stops_while_much_is_held(void **state) {
    struct node *n = *state;
    int a = peer(n);
    hold(n);
    talk(n, a, "SET k v", "");
    for (int i = 0; i < 40; i++) { /* 100 KB of reply each */
        ask(a, "BLOB 100000");
        cycle(n);
    }
    struct client *cl = engine_client_by_id(n->engine, 1);
    assert_non_null(cl);
    assert_in_range(outq_pending(&cl->out), 1000000, 1300000);
    changelog_set_released(n->log, changelog_appended(n->log));
    size_t bytes = 0;
    for (int i = 0; i < 2000 && bytes < 5 + 40 * (size_t)100011; i++) {
        cycle(n);
        bytes += strlen(got(a));
    }
    assert_int_equal(bytes, 5 + 40 * 100011);
    close(a);
}

static void test_replies_nobody_reads(void **state) {
    struct node *n = *state;
    int a = peer(n);
    hold(n);
    talk(n, a, "REPLY off", "");
    talk(n, a, "SET k v", "");
    talk(n, a, "REPLY on", OK); /* no mark is left over */
    talk(n, a, "REPLY skip", "");
    talk(n, a, "SET l v", "");
    talk(n, a, "PING", "+PONG\r\n");
    close(a);
}

static void test_log_full(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), c = peer(n);
    changelog_set_full(n->log, true);
    talk(n, a, "TRACE 1", "");
    ask(a, "TRACE 2");
    talk(n, b, "TRACE 3", "");
    talk(n, c, "TRACE 4", "");
    talk(n, c, "PING", "");
    int d = peer(n);
    talk(n, d, "GET k", "$-1\r\n");
    assert_string_equal(n->trace, "");
    /* Nobody sends anything any more: the cycle alone lets them go on, in their order. */
    changelog_set_full(n->log, false);
    cycle(n);
    expect(a, OK OK);
    expect(b, OK);
    expect(c, OK "+PONG\r\n");
    assert_string_equal(n->trace, "1 3 4 2 ");
    close(a), close(b), close(c), close(d);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, node_teardown)
    const struct CMUnitTest tests[] = {
        T(test_write_waits),
        T(test_reads_of_keys_in_flight_wait),
        T(test_same_name_in_another_database),
        T(test_order_within_a_pipeline),
        T(test_whole_keyspace_waits_for_all),
        T(test_flush_in_flight_holds_every_read),
        T(test_transactions),
        T(test_failed_exec_tells_of_a_change_in_flight),
        T(test_holding_begins_late),
        T(test_refusals_do_not_wait),
        T(test_quit_waits_for_held_replies),
        T(test_half_closed_peer_gets_its_replies),
        T(test_reading_stops_while_much_is_held),
        T(test_replies_nobody_reads),
        T(test_log_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
