#include "config.h"

#include "tests/unit/engine/engine_fixture.h"

/* The engine as a replica (a primary's stream), and as a primary (clients fed by a source). */

#define OK "+OK\r\n"

static int setup(void **state) {
    node_setup(state);
    follow(*state);
    return 0;
}

/* One request of the stream, as its own group. Returns what engine_follow() says. */
static int stream(struct node *n, struct client *cl, const char *line, bool ends_group, struct slice group) {
    char copy[256];
    struct slice argv[16];
    int argc = 0;
    struct buf b = BUF_INIT, error = BUF_INIT;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *at = copy, *word; (word = strsep(&at, " ")) != NULL;)
        argv[argc++] = slice_cstr(word);
    append_request(&b, line);
    engine_follow_begin(n->engine);
    if (group.p == NULL)
        group = ends_group ? buf_slice(&b) : slice_of("", 0);
    int rc = engine_follow(cl, argv, argc, group, &error);
    engine_follow_end(n->engine);
    buf_deinit(&b);
    buf_deinit(&error);
    return rc;
}

static int alone(struct node *n, struct client *cl, const char *line) {
    return stream(n, cl, line, true, slice_of(NULL, 0));
}

static void test_the_stream_enters_the_log_as_it_came(void **state) {
    struct node *n = *state;
    engine_set_following(n->engine, true);
    struct client *cl = engine_client_create_primary(n->engine);
    assert_int_equal(alone(n, cl, "SELECT 2"), 0);
    assert_int_equal(alone(n, cl, "SET k v"), 0);
    assert_int_equal(alone(n, cl, "PING"), 0);
    assert_string_equal(logged(n), "*2 $6 SELECT $1 2 *3 $3 SET $1 k $1 v *1 $4 PING ");
    assert_int_equal(keyspace_size(n->ks, 2), 1);
    /* What it propagates instead of itself stays out: the primary has done that already. */
    assert_int_equal(alone(n, cl, "TWO"), 0);
    assert_string_equal(logged(n), "*1 $3 TWO ");
    engine_client_destroy_internal(cl);
}

static void test_a_transaction_enters_the_log_with_its_exec(void **state) {
    struct node *n = *state;
    engine_set_following(n->engine, true);
    struct client *cl = engine_client_create_primary(n->engine);
    static const char *const parts[] = {"MULTI", "SET a 1", "SET b 2", "EXEC"};
    struct buf group = BUF_INIT;
    for (int i = 0; i < 4; i++) {
        append_request(&group, parts[i]);
        assert_int_equal(stream(n, cl, parts[i], false, i == 3 ? buf_slice(&group) : slice_of(NULL, 0)), 0);
        assert_int_equal(engine_follow_in_group(cl), i < 3);
        assert_int_equal(keyspace_size(n->ks, 0), i < 3 ? 0 : 2);
        if (i < 3)
            assert_string_equal(logged(n), "");
    }
    assert_string_equal(logged(n), "*1 $5 MULTI *3 $3 SET $1 a $1 1 *3 $3 SET $1 b $1 2 *1 $4 EXEC ");
    buf_deinit(&group);
    engine_client_destroy_internal(cl);
}

static void test_a_transaction_without_end_is_forgotten(void **state) {
    struct node *n = *state;
    engine_set_following(n->engine, true);
    struct client *cl = engine_client_create_primary(n->engine);
    assert_int_equal(stream(n, cl, "MULTI", false, slice_of(NULL, 0)), 0);
    assert_int_equal(stream(n, cl, "SET a 1", false, slice_of(NULL, 0)), 0);
    engine_follow_discard(cl);
    assert_false(engine_follow_in_group(cl));
    assert_int_equal(alone(n, cl, "SET b 2"), 0);
    assert_int_equal(keyspace_size(n->ks, 0), 1);
    engine_client_destroy_internal(cl);
}

static void test_what_fails_is_said_and_logged_all_the_same(void **state) {
    struct node *n = *state;
    engine_set_following(n->engine, true);
    struct client *cl = engine_client_create_primary(n->engine);
    static const char *const wrong[] = {"NOSUCH a", "SET k", "EXEC", "BLOCK 0", "QUIT", "PUTAT k v soon"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t before = changelog_sealed(n->log);
        assert_int_equal(alone(n, cl, wrong[i]), -1);
        assert_true(changelog_sealed(n->log) > before);
    }
    assert_int_equal(alone(n, cl, "SET k v"), 0);
    engine_client_destroy_internal(cl);
}

static void test_local_changes_stay_out_of_the_log(void **state) {
    struct node *n = *state;
    int a = peer(n);
    engine_set_following(n->engine, true);
    talk(n, a, "SET mine 1", OK);
    struct slice argv[2] = {SLICE_LIT("DEL"), SLICE_LIT("mine")};
    engine_propagate(n->engine, 0, argv, 2);
    assert_string_equal(logged(n), "");
    engine_set_following(n->engine, false);
    talk(n, a, "SET mine 2", OK);
    assert_string_equal(logged(n), "*2 $6 SELECT $1 0 *3 $3 SET $4 mine $1 2 ");
    close(a);
}

static void test_due_keys_are_hidden_from_clients_and_seen_by_the_stream(void **state) {
    struct node *n = *state;
    int a = peer(n);
    engine_set_following(n->engine, true);
    struct client *cl = engine_client_create_primary(n->engine);
    assert_int_equal(alone(n, cl, "PUTAT k v 1000"), 0);
    talk(n, a, "GET k", "$-1\r\n");
    engine_cron(n->engine);
    assert_int_equal(keyspace_size(n->ks, 0), 1);
    assert_int_equal(alone(n, cl, "GET k"), -1); /* a primary has no reason to read */
    assert_int_equal(alone(n, cl, "DEL k"), 0);
    assert_int_equal(keyspace_size(n->ks, 0), 0);
    engine_client_destroy_internal(cl);
    close(a);
}

static void test_readers_wait_for_what_the_stream_has_in_flight(void **state) {
    struct node *n = *state;
    int a = peer(n);
    engine_set_following(n->engine, true);
    struct client *cl = engine_client_create_primary(n->engine);
    hold(n);
    cycle(n);
    assert_int_equal(alone(n, cl, "SET k v"), 0);
    talk(n, a, "GET k", "");
    release(n, changelog_appended(n->log));
    expect(a, "$1\r\nv\r\n");
    engine_client_destroy_internal(cl);
    close(a);
}

static void test_watchers_notice_the_stream_and_a_new_data_set(void **state) {
    struct node *n = *state;
    int a = peer(n);
    engine_set_following(n->engine, true);
    struct client *cl = engine_client_create_primary(n->engine);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(alone(n, cl, "SET k v"), 0);
        talk(n, a, "WATCH k", OK);
        talk(n, a, "MULTI", OK);
        talk(n, a, "PING", "+QUEUED\r\n");
        if (i == 0)
            assert_int_equal(alone(n, cl, "SET k w"), 0);
        else
            engine_data_replaced(n->engine);
        talk(n, a, "EXEC", "*-1\r\n");
    }
    engine_client_destroy_internal(cl);
    close(a);
}

/* ---- the guard ---- */

static const char *guard(void *ctx, const struct client *cl, const struct command_entry *cmd) {
    (void)ctx, (void)cl;
    return cmd->flags & COMMAND_WRITE ? "READONLY no" : NULL;
}

static void test_the_guard_refuses_at_once_and_at_exec(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "MULTI", OK);
    talk(n, a, "SET k v", "+QUEUED\r\n");
    engine_set_guard(n->engine, guard, n);
    talk(n, a, "EXEC", "-EXECABORT Transaction discarded because of: READONLY no\r\n");
    talk(n, a, "SET k v", "-READONLY no\r\n");
    talk(n, a, "GET k", "$-1\r\n");
    engine_set_guard(n->engine, NULL, NULL);
    talk(n, a, "SET k v", OK);
    close(a);
}

/* ---- sources ---- */

struct feed {
    char bytes[300000];
    size_t len, at, step;
    int closed;
};

static int feed_iov(void *ctx, struct iovec *iov, int max, size_t *ret_bytes) {
    struct feed *f = ctx;
    size_t left = f->len - f->at;
    if (left == 0 || max < 1)
        return 0;
    *ret_bytes = left < f->step ? left : f->step;
    *iov = (struct iovec){f->bytes + f->at, *ret_bytes};
    return 1;
}

static void feed_written(void *ctx, size_t n) {
    struct feed *f = ctx;
    f->at += n;
    assert_true(f->at <= f->len);
}

static size_t feed_held(const void *ctx) {
    const struct feed *f = ctx;
    return f->len - f->at;
}

static void feed_closed(void *ctx) {
    ((struct feed *)ctx)->closed++;
}

static const struct client_source feed_source = {feed_iov, feed_written, feed_held, feed_closed};

static void only(void *arg, struct client *cl) {
    *(struct client **)arg = cl;
}

static struct client *fed_client(struct node *n, struct feed *f) {
    struct client *cl = NULL;
    engine_each_client(n->engine, only, &cl);
    assert_non_null(cl);
    for (size_t i = 0; i < sizeof f->bytes; i++)
        f->bytes[i] = (char)('a' + i % 23);
    client_set_source(cl, &feed_source, f);
    return cl;
}

static void test_a_source_is_written_behind_the_replies_and_to_its_end(void **state) {
    struct node *n = *state;
    int a = peer(n);
    struct feed *f = mem_calloc(1, sizeof *f);
    f->step = 70000;
    cycle(n);
    struct client *cl = fed_client(n, f);
    ask(a, "PING");
    f->len = sizeof f->bytes; /* both are written before the loop sleeps */
    char *all = mem_alloc(sizeof f->bytes + 8);
    size_t len = 0;
    for (int i = 0; i < 2000 && len < sizeof f->bytes + 7; i++) {
        cycle(n);
        client_feed(cl);
        ssize_t r = recv(a, all + len, sizeof f->bytes + 8 - len, 0);
        len += r > 0 ? (size_t)r : 0;
    }
    assert_int_equal(len, sizeof f->bytes + 7);
    assert_memory_equal(all, "+PONG\r\n", 7);
    assert_memory_equal(all + 7, f->bytes, sizeof f->bytes);
    assert_int_equal(f->at, f->len);
    assert_int_equal(f->closed, 0);
    close(a);
    cycle(n);
    assert_int_equal(f->closed, 1);
    mem_free(all);
    mem_free(f);
}

static void test_what_a_source_holds_counts_against_the_limit(void **state) {
    struct node *n = *state;
    int a = peer(n);
    struct feed *f = mem_calloc(1, sizeof *f);
    cycle(n);
    struct client *cl = fed_client(n, f);
    cl->flags |= CLIENT_REPLICA;
    engine_options(n->engine)->output_limit[CLIENT_CLASS_REPLICA].hard_bytes = 100000;
    f->len = 100000;
    talk(n, a, "PING", "+PONG\r\n");
    assert_int_equal(f->closed, 0);
    f->len = 100001;
    for (int i = 0; i < 20 && f->closed == 0; i++) {
        ask(a, "PING");
        cycle(n);
    }
    assert_int_equal(f->closed, 1);
    close(a);
    mem_free(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, node_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_the_stream_enters_the_log_as_it_came),
        TEST(test_a_transaction_enters_the_log_with_its_exec),
        TEST(test_a_transaction_without_end_is_forgotten),
        TEST(test_what_fails_is_said_and_logged_all_the_same),
        TEST(test_local_changes_stay_out_of_the_log),
        TEST(test_due_keys_are_hidden_from_clients_and_seen_by_the_stream),
        TEST(test_readers_wait_for_what_the_stream_has_in_flight),
        TEST(test_watchers_notice_the_stream_and_a_new_data_set),
        TEST(test_the_guard_refuses_at_once_and_at_exec),
        TEST(test_a_source_is_written_behind_the_replies_and_to_its_end),
        TEST(test_what_a_source_holds_counts_against_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
