#include "config.h"

#include "tests/unit/engine/engine_fixture.h"

/* Waiting for keys, with strings whose bytes are taken one by one: TAKE waits as BLPOP does, PASS as BLMOVE does, LOOK
 * as XREADGROUP does. */

#define OK "+OK\r\n"
#define QUEUED "+QUEUED\r\n"
#define NIL "$-1\r\n"

static int runs; /* of the commands below */

static void arg_keys(struct call *c, int from, int n, struct keyref *ret_keys) {
    for (int i = 0; i < n; i++)
        ret_keys[i] = call_key(c, from + i);
}

/* The first byte of the key's string, which is taken away; 0 if there is none. */
static char take(struct call *c, const struct keyref *key) {
    struct entry *e;
    char scratch[24];
    if (!call_find_write_type(c, key, VALUE_STRING, &e))
        return 0;
    if (e == NULL)
        return 0;
    struct slice all = entry_string(e, scratch);
    char first = all.p[0];
    if (all.n > 1)
        keyspace_put(c->ks, c->db, key, value_string_raw(slice_of(all.p + 1, all.n - 1)), KEYSPACE_NO_DEADLINE);
    else
        keyspace_delete(c->ks, c->db, key, false);
    call_changed(c, key, NOTIFY_LIST, "lpop");
    return first;
}

/* TAKE key … timeout; SHUN waits for a type that nobody makes here. */
static void take_or_wait(struct call *c, enum value_type type) {
    struct keyref keys[8];
    int64_t ms;
    int n = c->argc - 2;
    runs++;
    if (!call_arg_timeout(c, c->argc - 1, &ms))
        return;
    arg_keys(c, 1, n, keys);
    for (int i = 0; i < n && type == VALUE_STRING; i++) {
        char byte = take(c, &keys[i]);
        if (c->failed)
            return;
        if (byte == 0)
            continue;
        struct slice effect[2] = {SLICE_LIT("POP"), keys[i].key};
        call_propagate(c, c->db, effect, 2);
        resp_array(c->w, 2);
        resp_bulk(c->w, keys[i].key);
        resp_bulk(c->w, slice_of(&byte, 1));
        return;
    }
    call_block_on_keys(c, keys, (size_t)n, type, ms, CALL_TIMEOUT_NULL_ARRAY, NULL);
}

static void run_take(struct call *c) {
    take_or_wait(c, VALUE_STRING);
}

static void run_shun(struct call *c) {
    take_or_wait(c, VALUE_LIST);
}

/* PASS from to timeout. */
static void run_pass(struct call *c) {
    struct keyref from = call_key(c, 1), to = call_key(c, 2);
    int64_t ms;
    runs++;
    if (!call_arg_timeout(c, 3, &ms))
        return;
    char byte = take(c, &from);
    if (byte == 0) {
        call_block_on_keys(c, &from, 1, VALUE_STRING, ms, CALL_TIMEOUT_NULL, NULL);
        return;
    }
    struct entry *e = call_find_write(c, &to);
    struct buf all = BUF_INIT;
    char scratch[24];
    if (e != NULL)
        buf_append_slice(&all, entry_string(e, scratch));
    buf_append_char(&all, byte);
    keyspace_put(c->ks, c->db, &to, value_string_raw(buf_slice(&all)), KEYSPACE_NO_DEADLINE);
    buf_deinit(&all);
    call_changed(c, &to, NOTIFY_LIST, "rpush");
    resp_bulk(c->w, slice_of(&byte, 1));
}

/* LOOK key letter timeout: waits until the string begins with the letter, and announces a change each time. */
static void run_look(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    char scratch[24];
    int64_t ms;
    runs++;
    if (!call_arg_timeout(c, 3, &ms) || !call_find_read_type(c, &key, VALUE_STRING, &e))
        return;
    call_changed(c, &key, NOTIFY_LIST, "look");
    call_propagate_nothing(c);
    if (e != NULL && entry_string(e, scratch).p[0] == c->argv[2].p[0])
        resp_bulk(c->w, entry_string(e, scratch));
    else
        call_block_on_keys(c, &key, 1, VALUE_STRING, ms, CALL_TIMEOUT_NULL, "GONE no such thing");
}

static void run_swap(struct call *c) {
    int64_t a, b;
    if (!call_arg_i64(c, 1, &a) || !call_arg_i64(c, 2, &b))
        return;
    keyspace_swap(c->ks, (unsigned)a, (unsigned)b);
    call_changed_all(c, (int)a, 1);
    call_changed_all(c, (int)b, 1);
    resp_ok(c->w);
}

static void run_unblock(struct call *c) {
    int64_t id;
    if (!call_arg_i64(c, 1, &id))
        return;
    struct client *cl = engine_client_by_id(c->engine, (uint64_t)id);
    resp_int(c->w, cl != NULL && engine_unblock(c->engine, cl, slice_is(c->argv[2], "error")));
}

static void run_kill(struct call *c) {
    int64_t id;
    if (!call_arg_i64(c, 1, &id))
        return;
    client_close_asap(engine_client_by_id(c->engine, (uint64_t)id));
    resp_ok(c->w);
}

static void run_pause(struct call *c) {
    if (slice_is(c->argv[1], "on"))
        engine_pause_clients(c->engine, clock_mono_us() / 1000 + 100000, false);
    else
        engine_unpause_clients(c->engine);
    resp_ok(c->w);
}

static void run_follow(struct call *c) {
    engine_set_following(c->engine, slice_is(c->argv[1], "on"));
    resp_ok(c->w);
}

static void run_wait_ms(struct call *c) {
    int64_t ms;
    if (call_arg_timeout(c, 1, &ms))
        resp_int(c->w, ms);
}

static const struct command more_commands[] = {
    {.name = "take", .arity = -3, .flags = COMMAND_WRITE | COMMAND_BLOCKING, .run = run_take},
    {.name = "shun", .arity = -3, .flags = COMMAND_WRITE | COMMAND_BLOCKING, .run = run_shun},
    {.name = "pass", .arity = 4, .flags = COMMAND_WRITE | COMMAND_BLOCKING, ALL_KEYS, .run = run_pass},
    {.name = "look", .arity = 4, .flags = COMMAND_WRITE | COMMAND_BLOCKING, ONE_KEY, .run = run_look},
    {.name = "swap", .arity = 3, .flags = COMMAND_WRITE, .run = run_swap},
    {.name = "unblock", .arity = 3, .run = run_unblock},
    {.name = "kill", .arity = 2, .run = run_kill},
    {.name = "pause", .arity = 2, .run = run_pause},
    {.name = "follow", .arity = 2, .run = run_follow},
    {.name = "waitms", .arity = 2, .run = run_wait_ms},
};

static int setup(void **state) {
    node_setup(state);
    struct node *n = *state;
    command_table_register(engine_commands(n->engine), more_commands, sizeof more_commands / sizeof more_commands[0],
                           n);
    follow(n);
    runs = 0;
    return 0;
}

#define TOOK(key, byte) "*2\r\n$1\r\n" key "\r\n$1\r\n" byte "\r\n"
#define SELECT0 "*2 $6 SELECT $1 0 "
#define SET(k, v) "*3 $3 SET $1 " k " $1 " v " "

static size_t waiting(const struct node *n) {
    return engine_blocked_clients(n->engine);
}

static void test_served_in_order_of_arrival(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), c = peer(n), p = peer(n);
    talk(n, a, "TAKE k 0", "");
    talk(n, b, "TAKE j k 0", "");
    talk(n, c, "TAKE k k k 0", "");
    assert_int_equal(waiting(n), 3);
    assert_int_equal(engine_blocking_keys(n->engine), 2);
    talk(n, p, "SET k xy", OK);
    expect(a, TOOK("k", "x"));
    expect(b, TOOK("k", "y"));
    expect(c, "");
    assert_int_equal(waiting(n), 1);
    assert_int_equal(engine_blocking_keys(n->engine), 1);
    talk(n, p, "GET k", NIL);
    talk(n, a, "TAKE k 0", "");
    talk(n, p, "SET k zxx", OK);
    expect(c, TOOK("k", "z"));
    expect(a, TOOK("k", "x"));
    talk(n, p, "GET k", "$1\r\nx\r\n");
    assert_int_equal(engine_blocking_keys(n->engine), 0);
    close(a), close(b), close(c), close(p);
}

static void test_effects_follow_what_woke(void **state) {
    struct node *n = *state;
    int a = peer(n), p = peer(n);
    talk(n, a, "TAKE k 0", "");
    assert_string_equal(logged(n), "");
    talk(n, p, "SET k x", OK);
    expect(a, TOOK("k", "x"));
    assert_string_equal(logged(n), SELECT0 SET("k", "x") "*2 $3 POP $1 k ");
    close(a), close(p);
}

static void test_pipelined(void **state) {
    struct node *n = *state;
    int a = peer(n), p = peer(n);
    /* What comes behind the command that waits is answered behind it, whenever that is. */
    put(a, "take k 0\r\n");
    ask(a, "ECHO 1");
    ask(a, "TAKE k 0");
    ask(a, "ECHO 2");
    cycle(n);
    expect(a, "");
    talk(n, p, "SET k x", OK);
    expect(a, TOOK("k", "x") "$1\r\n1\r\n");
    ask(a, "ECHO 3");
    cycle(n);
    talk(n, p, "SET k y", OK);
    expect(a, TOOK("k", "y") "$1\r\n2\r\n$1\r\n3\r\n");
    /* In one batch. */
    ask(a, "TAKE k 0");
    ask(a, "ECHO 4");
    ask(p, "SET k z");
    ask(p, "GET k");
    cycle(n);
    expect(a, TOOK("k", "z") "$1\r\n4\r\n");
    expect(p, OK NIL);
    close(a), close(p);
}

static void test_transactions(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), p = peer(n);
    /* Inside EXEC nobody waits. */
    talk(n, p, "MULTI", OK);
    talk(n, p, "TAKE k 0", QUEUED);
    talk(n, p, "PASS k l 0", QUEUED);
    talk(n, p, "EXEC", "*2\r\n*-1\r\n$-1\r\n");
    assert_int_equal(waiting(n), 0);
    /* Who waits sees a transaction whole. */
    talk(n, a, "TAKE k 0", "");
    talk(n, b, "TAKE j k 0", "");
    talk(n, p, "MULTI", OK);
    talk(n, p, "SET k x", QUEUED);
    talk(n, p, "DEL k", QUEUED);
    talk(n, p, "EXEC", "*2\r\n+OK\r\n:1\r\n");
    expect(a, "");
    (void)logged(n);
    talk(n, p, "MULTI", OK);
    talk(n, p, "SET k x", QUEUED);
    talk(n, p, "SET j q", QUEUED);
    talk(n, p, "GET k", QUEUED);
    talk(n, p, "SET k yz", QUEUED);
    talk(n, p, "EXEC", "*4\r\n+OK\r\n+OK\r\n$1\r\nx\r\n+OK\r\n");
    expect(a, TOOK("k", "y"));
    /* The key that changed first serves, not the one that was named first. */
    expect(b, TOOK("k", "z"));
    assert_non_null(strstr(logged(n), "$4 EXEC *2 $3 POP $1 k *2 $3 POP $1 k "));
    talk(n, p, "GET j", "$1\r\nq\r\n");
    close(a), close(b), close(p);
}

static void test_chains(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), c = peer(n), p = peer(n);
    talk(n, c, "TAKE m 0", "");
    talk(n, b, "PASS l m 0", "");
    talk(n, a, "PASS k l 0", "");
    (void)logged(n);
    talk(n, p, "SET k x", OK);
    expect(a, "$1\r\nx\r\n");
    expect(b, "$1\r\nx\r\n");
    expect(c, TOOK("m", "x"));
    assert_string_equal(logged(n), SELECT0 SET("k", "x") "*4 $4 PASS $1 k $1 l $1 0 *4 $4 PASS $1 l $1 m $1 0 "
                                                         "*2 $3 POP $1 m ");
    /* In a circle, and with oneself: everybody gets the byte once. */
    talk(n, a, "PASS k l 0", "");
    talk(n, b, "PASS l k 0", "");
    talk(n, c, "PASS k k 0", "");
    talk(n, p, "SET k x", OK);
    expect(a, "$1\r\nx\r\n");
    expect(b, "$1\r\nx\r\n");
    expect(c, "$1\r\nx\r\n");
    talk(n, p, "GET k", "$1\r\nx\r\n");
    assert_int_equal(waiting(n), 0);
    close(a), close(b), close(c), close(p);
}

static void test_looks_again(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), p = peer(n);
    talk(n, p, "SET k x", OK);
    talk(n, a, "LOOK k b 0", "");
    talk(n, b, "LOOK k c 0.5", ""); /* its announcement makes a look again */
    runs = 0;
    talk(n, p, "SET k y", OK);
    assert_int_equal(runs, 2);
    assert_int_equal(engine_blocking_keys_on_gone(n->engine), 1);
    talk(n, p, "SET k b", OK);
    expect(a, "$1\r\nb\r\n");
    expect(b, "");
    /* Its deadline is the first one's still. */
    assert_int_equal(engine_blocked_with_deadline(n->engine), 1);
    usleep(510000);
    cycle(n);
    expect(b, "*-1\r\n");
    assert_int_equal(engine_blocking_keys_on_gone(n->engine), 0);
    close(a), close(b), close(p);
}

static void test_gone(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), p = peer(n);
    talk(n, p, "SET k x", OK);
    talk(n, a, "LOOK k b 0", "");
    talk(n, b, "SHUN k 0", "");
    runs = 0;
    talk(n, p, "DEL k", ":1\r\n");
    expect(a, "-GONE no such thing\r\n");
    expect(b, "");
    /* Of another type than the one that is waited for. */
    talk(n, p, "SET k x", OK);
    expect(b, "");
    assert_int_equal(runs, 0);
    talk(n, a, "LOOK k b 0", "");
    talk(n, p, "FLUSHALL", OK);
    expect(a, "-GONE no such thing\r\n");
    /* Expiry takes a key away, too. */
    char line[80];
    snprintf(line, sizeof line, "PUTAT k x %lld", (long long)clock_wall_ms() + 30);
    talk(n, p, line, OK);
    talk(n, a, "LOOK k b 0", "");
    usleep(40000);
    talk(n, p, "GET k", NIL);
    expect(a, "-GONE no such thing\r\n");
    talk(n, a, "PING", "+PONG\r\n");
    close(a), close(b), close(p);
}

static void test_databases(void **state) {
    struct node *n = *state;
    int a = peer(n), p = peer(n);
    talk(n, a, "SELECT 3", OK);
    talk(n, a, "TAKE k 0", "");
    talk(n, p, "SET k x", OK);
    expect(a, "");
    talk(n, p, "SWAP 0 5", OK);
    expect(a, "");
    talk(n, p, "SWAP 5 3", OK);
    expect(a, TOOK("k", "x"));
    close(a), close(p);
}

static void test_timeouts(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    talk(n, a, "TAKE k 0.02", "");
    talk(n, b, "PASS k l 0.0001", "");
    ask(a, "PING");
    assert_int_equal(engine_blocked_with_deadline(n->engine), 2);
    usleep(2000);
    cycle(n);
    expect(b, "*-1\r\n");
    expect(a, "");
    usleep(20000);
    cycle(n);
    expect(a, "*-1\r\n+PONG\r\n");
    assert_int_equal(engine_blocking_keys(n->engine), 0);
    talk(n, a, "TAKE k -1", "-ERR timeout is negative\r\n");
    talk(n, a, "TAKE k x", "-ERR timeout is not a float or out of range\r\n");
    talk(n, a, "WAITMS 0", ":0\r\n");
    talk(n, a, "WAITMS 1e-9", ":1\r\n");
    talk(n, a, "WAITMS 1.5", ":1500\r\n");
    talk(n, a, "WAITMS 0x1p63", "-ERR timeout is out of range\r\n");
    talk(n, a, "WAITMS 9223372036854775", "-ERR timeout is out of range\r\n"); /* later than the clock can say */
    talk(n, a, "WAITMS inf", "-ERR timeout is out of range\r\n");
    talk(n, a, "WAITMS -inf", "-ERR timeout is negative\r\n");
    talk(n, a, "WAITMS nan", "-ERR timeout is not a float or out of range\r\n");
    close(a), close(b);
}

static void test_unblock_and_close(void **state) {
    struct node *n = *state;
    int a = peer(n), p = peer(n), b = peer(n), c = peer(n);
    talk(n, a, "TAKE k 0", "");
    talk(n, p, "UNBLOCK 1 timeout", ":1\r\n");
    expect(a, "*-1\r\n");
    talk(n, p, "UNBLOCK 1 timeout", ":0\r\n");
    talk(n, a, "TAKE k 0", "");
    talk(n, p, "UNBLOCK 1 error", ":1\r\n");
    expect(a, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    talk(n, a, "TAKE k 0", "");
    talk(n, b, "TAKE k 0", "");
    talk(n, c, "TAKE k 0", "");
    ask(p, "KILL 1");
    ask(p, "SET k x"); /* runs before the first one is freed */
    cycle(n);
    expect(p, OK OK);
    expect(a, "<closed>");
    expect(b, TOOK("k", "x"));
    /* Who has hung up in the batch of the change is not served. */
    talk(n, b, "TAKE k 0", "");
    close(c);
    talk(n, p, "SET k y", OK);
    expect(b, TOOK("k", "y"));
    assert_int_equal(waiting(n), 0);
    assert_int_equal(engine_blocking_keys(n->engine), 0);
    close(a), close(b), close(p);
}

static void test_pause(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), p = peer(n);
    talk(n, a, "TAKE k 0", "");
    /* The pause begins when the transaction is over: the key is there, but serving would be a write. */
    talk(n, p, "MULTI", OK);
    talk(n, p, "SET k x", QUEUED);
    talk(n, p, "PAUSE on", QUEUED);
    talk(n, p, "EXEC", "*2\r\n+OK\r\n+OK\r\n");
    expect(a, "");
    talk(n, b, "TAKE k 0", "");
    talk(n, p, "GET k", "$1\r\nx\r\n");
    talk(n, p, "PAUSE off", OK);
    expect(a, TOOK("k", "x"));
    expect(b, "");
    talk(n, p, "SET k y", OK);
    expect(b, TOOK("k", "y"));
    close(a), close(b), close(p);
}

static void test_a_node_that_becomes_a_replica(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), p = peer(n);
    const char *gone = "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
                       "replica?)\r\n<closed>";
    talk(n, a, "TAKE k 0", "");
    talk(n, b, "BLOCK 0", "");
    talk(n, p, "FOLLOW on", OK);
    expect(a, gone);
    expect(b, gone);
    assert_int_equal(waiting(n), 0);
    assert_int_equal(n->blocks_freed, 1);
    close(a), close(b), close(p);
}

static void test_held_replies(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), p = peer(n);
    talk(n, a, "TAKE k 0", "");
    hold(n);
    talk(n, p, "SET k xyz", "");
    expect(a, "");
    uint64_t both = changelog_appended(n->log);
    /* Of two commands, the one that woke is released first: the other waits for its own effect. */
    release(n, both - 1);
    expect(p, OK);
    expect(a, "");
    release(n, both);
    expect(a, TOOK("k", "x"));
    /* A null tells that the key is gone, which is not released yet. */
    talk(n, p, "DEL k", "");
    talk(n, b, "TAKE k 0.001", "");
    usleep(3000);
    cycle(n);
    expect(b, "");
    release(n, changelog_appended(n->log));
    expect(p, ":1\r\n");
    expect(b, "*-1\r\n");
    close(a), close(b), close(p);
}

static void test_silent(void **state) {
    struct node *n = *state;
    int a = peer(n), p = peer(n);
    /* REPLY SKIP means the reply of the command that waits, however late it comes. */
    talk(n, a, "REPLY skip", "");
    talk(n, a, "TAKE k 0", "");
    ask(a, "PING");
    cycle(n);
    talk(n, p, "SET k x", OK);
    expect(a, "+PONG\r\n");
    talk(n, a, "REPLY skip", "");
    talk(n, a, "TAKE k 0.001", "");
    usleep(3000);
    cycle(n);
    expect(a, "");
    talk(n, a, "PING", "+PONG\r\n");
    close(a), close(p);
}

static void test_counted_once(void **state) {
    struct node *n = *state;
    int a = peer(n), p = peer(n);
    struct command_entry *cmd = command_table_find(engine_commands(n->engine), SLICE_LIT("take"));
    uint64_t before = engine_stats(n->engine)->commands;
    talk(n, a, "TAKE k 0", "");
    assert_int_equal(cmd->calls, 1);
    talk(n, p, "SET k x", OK);
    expect(a, TOOK("k", "x"));
    assert_int_equal(cmd->calls, 1);
    assert_int_equal(engine_stats(n->engine)->commands - before, 2);
    close(a), close(p);
}

#define MANY 1000
static void test_many(void **state) {
    struct node *n = *state;
    static int fd[MANY];
    int p = peer(n);
    char line[64];
    for (int i = 0; i < MANY; i++) {
        fd[i] = peer(n);
        snprintf(line, sizeof line, "TAKE k k%d 0", i);
        ask(fd[i], line);
        cycle(n); /* in this order */
    }
    assert_int_equal(waiting(n), MANY);
    assert_int_equal(engine_blocking_keys(n->engine), MANY + 1);
    runs = 0;
    talk(n, p, "SET k abcde", OK);
    assert_int_equal(runs, 5);
    for (int i = 0; i < 6; i++)
        assert_int_equal(got(fd[i])[0] == '*', i < 5);
    for (int i = 5; i < MANY; i++) {
        snprintf(line, sizeof line, "SET k%d z", i);
        talk(n, p, line, OK);
        snprintf(line, sizeof line, "*2\r\n$%d\r\nk%d\r\n$1\r\nz\r\n", i < 10 ? 2 : i < 100 ? 3 : 4, i);
        expect(fd[i], line);
    }
    assert_int_equal(waiting(n), 0);
    assert_int_equal(engine_blocking_keys(n->engine), 0);
    for (int i = 0; i < MANY; i++)
        close(fd[i]);
    close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_served_in_order_of_arrival, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_effects_follow_what_woke, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_pipelined, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_transactions, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_chains, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_looks_again, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_gone, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_databases, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_timeouts, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_unblock_and_close, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_pause, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_a_node_that_becomes_a_replica, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_held_replies, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_silent, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_counted_once, setup, node_teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, node_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
