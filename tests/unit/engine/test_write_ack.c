#include "config.h"

#include "server/engine/write_ack.h"

#include "tests/unit/engine/engine_fixture.h"

/* Which replies wait for replicas, and what becomes of those that wait too long. */

#define OK "+OK\r\n"
#define LATE(have, want, ms)                                                                                           \
    "-UNCONFIRMED The write is applied here, but only " #have " of " #want " replicas confirmed it within " #ms        \
    " ms\r\n"

struct replicas {
    uint64_t received[3], durable[3];
    int asked;
};
static struct replicas replicas;

static size_t confirmed(void *ctx, uint64_t offset, bool durable) {
    const struct replicas *r = ctx;
    size_t n = 0;
    for (size_t i = 0; i < 3; i++)
        n += (durable ? r->durable[i] : r->received[i]) >= offset;
    return n;
}

static void ask_replicas(void *ctx) {
    ((struct replicas *)ctx)->asked++;
}

static int setup(void **state) {
    node_setup(state);
    struct node *n = *state;
    replicas = (struct replicas){0};
    const struct write_ack_source source = {&replicas, confirmed, ask_replicas};
    engine_set_write_ack_source(n->engine, &source);
    return 0;
}

static void configure(struct node *n, const char *terms, const char *timeout) {
    struct buf error = BUF_INIT;
    const struct slice v[4] = {SLICE_LIT("write-ack"), slice_cstr(terms), SLICE_LIT("write-ack-timeout"),
                               slice_cstr(timeout)};
    if (settings_set(n->settings, v, 2, false, true, &error) != 0)
        fail_msg("%.*s", (int)error.len, error.data);
}

static void wait_until_past(struct node *n, int64_t ms) {
    int64_t until = clock_mono_us() + ms * 1000 + 1000;
    while (clock_mono_us() < until) {
        usleep(1000);
        cycle(n);
    }
    cycle(n);
}

static void all_have(struct node *n, int count) {
    for (int i = 0; i < count; i++)
        replicas.received[i] = changelog_appended(n->log);
    cycle(n);
}

static void test_writes_wait_for_as_many_as_asked(void **state) {
    struct node *n = *state;
    int a = peer(n);
    follow(n);
    configure(n, "replicas 2", "0");
    talk(n, a, "GET k", "$-1\r\n"); /* reads do not wait */
    talk(n, a, "SET k v", "");
    assert_true(replicas.asked > 0);
    all_have(n, 1);
    expect(a, "");
    all_have(n, 2);
    expect(a, OK);
    struct write_ack_stats stats;
    engine_write_ack_stats(n->engine, &stats);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.timeouts, 0);
    close(a);
}

static void test_durable_waits_for_the_disk(void **state) {
    struct node *n = *state;
    int a = peer(n);
    follow(n);
    configure(n, "replicas 1 durable", "0");
    talk(n, a, "SET k v", "");
    all_have(n, 3);
    expect(a, "");
    replicas.durable[2] = changelog_appended(n->log);
    cycle(n);
    expect(a, OK);
    close(a);
}

static void test_a_client_has_terms_of_its_own(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    follow(n);
    struct write_ack_terms terms = {.replicas = 1};
    client_set_write_ack(engine_client_by_id(n->engine, 1), &terms);
    talk(n, a, "SET k v", "");
    talk(n, b, "SET k w", OK);
    all_have(n, 1);
    expect(a, OK);
    configure(n, "replicas 1", "0");
    terms.replicas = 0;
    client_set_write_ack(engine_client_by_id(n->engine, 1), &terms);
    talk(n, a, "SET k x", OK);
    talk(n, b, "SET k y", "");
    close(a), close(b);
}

/* The late ones become errors where they stand; what lies between them stays. */
static void test_timeout_replaces_each_late_reply(void **state) {
    struct node *n = *state;
    int a = peer(n);
    follow(n);
    configure(n, "replicas 1", "20");
    struct buf b = BUF_INIT;
    append_request(&b, "PING");
    append_request(&b, "SET k v");
    append_request(&b, "GET k");
    append_request(&b, "DEL nothing k");
    append_request(&b, "PING");
    put_bytes(a, b.data, b.len);
    cycle(n);
    expect(a, "+PONG\r\n");
    wait_until_past(n, 20);
    expect(a, LATE(0, 1, 20) "$1\r\nv\r\n" LATE(0, 1, 20) "+PONG\r\n");
    all_have(n, 1);
    talk(n, a, "SET k v", "");
    all_have(n, 1);
    expect(a, OK);
    struct write_ack_stats stats;
    engine_write_ack_stats(n->engine, &stats);
    assert_int_equal(stats.timeouts, 2);
    buf_deinit(&b);
    close(a);
}

static void test_marks_of_the_log_keep_their_place(void **state) {
    struct node *n = *state;
    int a = peer(n);
    follow(n);
    hold(n);
    configure(n, "replicas 1", "20");
    struct buf b = BUF_INIT;
    append_request(&b, "SET k v");
    append_request(&b, "PING");
    append_request(&b, "SET l v");
    put_bytes(a, b.data, b.len);
    cycle(n);
    wait_until_past(n, 20);
    expect(a, ""); /* the local promise still holds the errors */
    uint64_t end = changelog_appended(n->log);
    release(n, end - 1);
    expect(a, LATE(0, 1, 20) "+PONG\r\n");
    release(n, end);
    expect(a, LATE(0, 1, 20));
    buf_deinit(&b);
    close(a);
}

static void test_nobody_follows_the_log(void **state) {
    struct node *n = *state;
    int a = peer(n);
    configure(n, "replicas 1", "10");
    talk(n, a, "SET k v", "");
    all_have(n, 3);
    expect(a, "");
    wait_until_past(n, 10);
    expect(a, LATE(0, 1, 10));
    close(a);
}

static void test_a_transaction_waits_as_one(void **state) {
    struct node *n = *state;
    int a = peer(n);
    follow(n);
    configure(n, "replicas 1", "10");
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET k v", "+QUEUED\r\n");
    talk(n, a, "SET l v", "+QUEUED\r\n");
    talk(n, a, "EXEC", "");
    wait_until_past(n, 10);
    expect(a, LATE(0, 1, 10));
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET k v", "+QUEUED\r\n");
    talk(n, a, "EXEC", "");
    all_have(n, 1);
    expect(a, "*1\r\n" OK);
    close(a);
}

static void test_disowned_replies_are_never_confirmed(void **state) {
    struct node *n = *state;
    int a = peer(n);
    follow(n);
    configure(n, "replicas 1", "0");
    put_bytes(a, "SET k v\r\n", 9);
    cycle(n);
    all_have(n, 1);
    expect(a, OK);
    put_bytes(a, "SET k w\r\nGET k\r\n", 16);
    cycle(n);
    engine_write_ack_disown(n->engine);
    all_have(n, 1);
    expect(a,
           "-UNCONFIRMED The write is applied here, but this node became a replica before 1 replicas confirmed it\r\n"
           "$1\r\nw\r\n");
    close(a);
}

static void test_words_of_the_option(void **state) {
    (void)state;
    struct write_ack_terms t = {.timeout_ms = 7};
    const struct slice good[3] = {SLICE_LIT("REPLICAS"), SLICE_LIT("2"), SLICE_LIT("durable")};
    const struct slice local = SLICE_LIT("local"), zero[2] = {SLICE_LIT("replicas"), SLICE_LIT("0")};
    assert_int_equal(write_ack_parse(zero, 2, &t), -1);
    assert_int_equal(write_ack_parse(good, 1, &t), -1);
    assert_int_equal(write_ack_parse(good, 3, &t), 0);
    assert_int_equal(t.replicas, 2);
    assert_true(t.durable);
    assert_int_equal(t.timeout_ms, 7);
    assert_int_equal(write_ack_parse(&local, 1, &t), 0);
    assert_int_equal(t.replicas, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_writes_wait_for_as_many_as_asked, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_durable_waits_for_the_disk, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_a_client_has_terms_of_its_own, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_timeout_replaces_each_late_reply, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_marks_of_the_log_keep_their_place, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_nobody_follows_the_log, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_a_transaction_waits_as_one, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_disowned_replies_are_never_confirmed, setup, node_teardown),
        cmocka_unit_test(test_words_of_the_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
