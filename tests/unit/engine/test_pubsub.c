#include "config.h"

#include "server/engine/pubsub.h"

#include "tests/unit/engine/engine_fixture.h"

/* Subscriptions and messages: the lists behind them, where a message comes in the output, how long it is held, and what
 * of it the change log gets. */

#define OK "+OK\r\n"
#define MESSAGE(channel, text) "*3\r\n$7\r\nmessage\r\n$1\r\n" channel "\r\n$1\r\n" text "\r\n"

static enum pubsub_kind kind_of(struct slice word) {
    return slice_is(word, "p") ? PUBSUB_PATTERN : slice_is(word, "s") ? PUBSUB_SHARD : PUBSUB_CHANNEL;
}

static void run_join(struct call *c) {
    resp_int(c->w, pubsub_subscribe(c->client, kind_of(c->argv[1]), c->argv[2]));
}
static void run_leave(struct call *c) {
    resp_int(c->w, pubsub_unsubscribe(c->client, kind_of(c->argv[1]), c->argv[2]));
}
static void run_tell(struct call *c) {
    resp_int(c->w, (int64_t)pubsub_publish(c->engine, kind_of(c->argv[1]), c->argv[2], c->argv[3], NULL, false));
    call_propagate_message(c);
}
/* Changes a key and tells so. */
static void run_set_and_tell(struct call *c) {
    struct keyref key = call_key(c, 1);
    keyspace_put(c->ks, c->db, &key, value_string(c->argv[2]), KEYSPACE_NO_DEADLINE);
    call_changed(c, &key, NOTIFY_STRING, "set");
    pubsub_publish(c->engine, PUBSUB_CHANNEL, c->argv[1], c->argv[2], NULL, true);
    resp_ok(c->w);
}
static void run_reset(struct call *c) {
    client_reset(c->client);
    resp_simple(c->w, "RESET");
}
static void run_resp(struct call *c) {
    c->w->resp = slice_is(c->argv[1], "3") ? 3 : 2;
    resp_ok(c->w);
}

static const struct command more_commands[] = {
    {.name = "subscribe", .arity = 3, .run = run_join}, {.name = "unsubscribe", .arity = 3, .run = run_leave},
    {.name = "tell", .arity = 4, .run = run_tell},      {.name = "settell", .arity = 3, .run = run_set_and_tell},
    {.name = "reset", .arity = 1, .run = run_reset},    {.name = "resp", .arity = 2, .run = run_resp},
};

static int setup(void **state) {
    node_setup(state);
    struct node *n = *state;
    command_table_register(engine_commands(n->engine), more_commands, sizeof more_commands / sizeof more_commands[0],
                           n);
    follow(n);
    return 0;
}

static void test_delivery(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), p = peer(n);
    talk(n, a, "SUBSCRIBE c x", ":1\r\n");
    talk(n, a, "SUBSCRIBE c x", ":0\r\n");
    talk(n, b, "SUBSCRIBE c x", ":1\r\n");
    talk(n, b, "SUBSCRIBE p [xy]*", ":1\r\n");
    talk(n, b, "SUBSCRIBE s x", ":1\r\n");
    assert_int_equal(pubsub_clients(n->engine), 2);
    assert_int_equal(pubsub_subscribers(n->engine, PUBSUB_CHANNEL, SLICE_LIT("x")), 2);
    talk(n, p, "TELL c x 1", ":3\r\n");
    expect(a, MESSAGE("x", "1"));
    expect(b, MESSAGE("x", "1") "*4\r\n$8\r\npmessage\r\n$5\r\n[xy]*\r\n$1\r\nx\r\n$1\r\n1\r\n");
    talk(n, p, "TELL s x 2", ":1\r\n");
    expect(a, "");
    expect(b, "*3\r\n$8\r\nsmessage\r\n$1\r\nx\r\n$1\r\n2\r\n");
    talk(n, p, "TELL c z 2", ":0\r\n");
    talk(n, a, "UNSUBSCRIBE c y", ":0\r\n");
    talk(n, a, "UNSUBSCRIBE c x", ":1\r\n");
    assert_int_equal(pubsub_clients(n->engine), 1);
    assert_int_equal(pubsub_names(n->engine, PUBSUB_CHANNEL), 1);
    close(b);
    cycle(n);
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        assert_int_equal(pubsub_names(n->engine, (enum pubsub_kind)kind), 0);
    talk(n, a, "SUBSCRIBE c x", ":1\r\n");
    talk(n, a, "RESET", "+RESET\r\n");
    assert_int_equal(pubsub_clients(n->engine), 0);
    talk(n, p, "TELL c x 1", ":0\r\n");
    close(a), close(p);
}

static void test_many_names(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    char line[80];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3000; i++) {
            snprintf(line, sizeof line, "SUBSCRIBE c n%d", i);
            talk(n, i % 3 != 0 ? a : b, line, ":1\r\n");
            if (i % 3 == 2)
                talk(n, b, line, ":1\r\n");
        }
        assert_int_equal(pubsub_names(n->engine, PUBSUB_CHANNEL), 3000);
        for (int i = 2999; i >= 0; i--) {
            snprintf(line, sizeof line, "n%d", i);
            assert_int_equal(pubsub_subscribers(n->engine, PUBSUB_CHANNEL, slice_cstr(line)), i % 3 == 2 ? 2 : 1);
            if (round == 0) {
                snprintf(line, sizeof line, "UNSUBSCRIBE c n%d", i);
                talk(n, i % 3 != 0 ? a : b, line, ":1\r\n");
                if (i % 3 == 2)
                    talk(n, b, line, ":1\r\n");
            }
        }
    }
    close(a);
    cycle(n);
    assert_int_equal(pubsub_names(n->engine, PUBSUB_CHANNEL), 2000);
    close(b);
}

static void test_behind_ones_own_reply(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "RESP 3", OK);
    talk(n, a, "SUBSCRIBE c x", ":1\r\n");
    talk(n, a, "TELL c x 1", ":1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\n1\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "TELL c x 1", "+QUEUED\r\n");
    talk(n, a, "ECHO 2", "+QUEUED\r\n");
    talk(n, a, "EXEC", "*2\r\n:1\r\n$1\r\n2\r\n>3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\n1\r\n");
    /* Replies may be off; messages are none. */
    talk(n, a, "REPLY off", "");
    talk(n, a, "TELL c x 3", ">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\n3\r\n");
    close(a);
}

static void test_held_like_the_change(void **state) {
    struct node *n = *state;
    int a = peer(n), p = peer(n);
    talk(n, a, "SUBSCRIBE c k", ":1\r\n");
    hold(n);
    talk(n, p, "TELL c k 0", ":1\r\n");
    expect(a, MESSAGE("k", "0"));
    talk(n, p, "SETTELL k 1", "");
    expect(a, "");
    talk(n, p, "TELL c k 2", "");
    expect(a, ""); /* the order stays */
    release(n, changelog_appended(n->log));
    expect(p, OK ":1\r\n");
    expect(a, MESSAGE("k", "1") MESSAGE("k", "2"));
    talk(n, p, "MULTI", OK);
    talk(n, p, "SETTELL k 1", "+QUEUED\r\n");
    talk(n, p, "SETTELL k 2", "+QUEUED\r\n");
    talk(n, p, "EXEC", "");
    expect(a, "");
    release(n, changelog_appended(n->log) - 1);
    expect(a, "");
    release(n, changelog_appended(n->log));
    expect(a, MESSAGE("k", "1") MESSAGE("k", "2"));
    close(a), close(p);
}

static void test_in_the_log_for_replicas_only(void **state) {
    struct node *n = *state;
    int p = peer(n);
    uint64_t dirty = engine_dirty(n->engine);
    talk(n, p, "TELL c x 1", ":0\r\n");
    assert_string_equal(logged(n), "");
    engine_set_replicated(n->engine, true);
    hold(n);
    talk(n, p, "TELL c x 1", ":0\r\n"); /* at once: it changed nothing that could be lost */
    assert_string_equal(logged(n), "*2 $6 SELECT $1 0 *4 $4 TELL $1 c $1 x $1 1 ");
    assert_int_equal(engine_dirty(n->engine), dirty);
    close(p);
}

static void test_resp2_restrictions(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "SUBSCRIBE c x", ":1\r\n");
    talk(n, a, "ECHO 1",
         "-ERR Can't execute 'echo': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this "
         "context\r\n");
    talk(n, a, "PING", "+PONG\r\n");
    talk(n, a, "UNSUBSCRIBE c x", ":1\r\n");
    talk(n, a, "ECHO 1", "$1\r\n1\r\n");
    close(a);
}

static void test_large_messages_are_shared(void **state) {
    struct node *n = *state;
    int fd[3], p = peer(n);
    const size_t len = 100000;
    char *text = mem_alloc(len + 1);
    memset(text, 'x', len);
    text[len] = '\0';
    for (int i = 0; i < 3; i++) {
        fd[i] = peer(n);
        talk(n, fd[i], "SUBSCRIBE c x", ":1\r\n");
    }
    struct buf b = BUF_INIT;
    buf_printf(&b, "*4\r\n$4\r\nTELL\r\n$1\r\nc\r\n$1\r\nx\r\n$%zu\r\n", len);
    put_bytes(p, b.data, b.len);
    for (size_t at = 0; at < len; at += 20000) {
        put_bytes(p, text + at, 20000);
        cycle(n);
    }
    put(p, "\r\n");
    cycle(n);
    expect(p, ":3\r\n");
    buf_clear(&b);
    buf_printf(&b, "*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$%zu\r\n%s\r\n", len, text);
    buf_append_char(&b, '\0');
    for (int i = 0; i < 3; i++) {
        cycle(n);
        expect(fd[i], b.data);
        close(fd[i]);
    }
    buf_deinit(&b);
    mem_free(text);
    close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_delivery, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_many_names, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_behind_ones_own_reply, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_held_like_the_change, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_in_the_log_for_replicas_only, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_resp2_restrictions, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_large_messages_are_shared, setup, node_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
