#include "config.h"

#include "tests/unit/engine/engine_fixture.h"

/* Sessions: how input becomes requests, who waits, who is turned away, who is closed. */

#define OK "+OK\r\n"

/* ---- input ---- */

static const char mixed[] =
    "PING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nvalue\r\nGET a\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
    "set b \"x\\x41\"\r\n*0\r\nget b\n*2\r\n$4\r\necho\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n";
static const char mixed_replies[] =
    "+PONG\r\n+OK\r\n$5\r\nvalue\r\n$5\r\nvalue\r\n+OK\r\n$2\r\nxA\r\n$0\r\n\r\n+PONG\r\n";

static void test_split_at_each_byte(void **state) {
    struct node *n = *state;
    for (size_t cut = 0; cut <= sizeof mixed - 1; cut++) {
        int a = peer(n);
        put_bytes(a, mixed, cut);
        cycle(n);
        char *first = strdup(got(a));
        put_bytes(a, mixed + cut, sizeof mixed - 1 - cut);
        cycle(n);
        struct buf all = BUF_INIT;
        buf_append_cstr(&all, first);
        buf_append_cstr(&all, got(a));
        assert_bytes_are(all.data, all.len, mixed_replies);
        buf_deinit(&all);
        free(first);
        close(a);
    }
    int a = peer(n);
    for (size_t i = 0; i < sizeof mixed - 1; i++) {
        put_bytes(a, mixed + i, 1);
        loop_run_once(n->loop, 0);
    }
    cycle(n);
    expect(a, mixed_replies);
    close(a);
}

/* More requests than a group holds, with the waiting one at every place; inline requests in between. */
static void waits_at(struct node *n, int place, int total) {
    struct buf b = BUF_INIT, want = BUF_INIT;
    int a = peer(n), other = peer(n);
    n->may_go_on = false;
    for (int i = 0; i < total; i++) {
        char line[64];
        snprintf(line, sizeof line, "ECHO %d", i);
        if (i == place)
            append_request(&b, "BLOCK 0");
        else if (i % 11 == 5)
            buf_printf(&b, "%s\r\n", line);
        else
            append_request(&b, line);
        if (i == place)
            buf_append_cstr(&want, "+GO\r\n");
        else
            buf_printf(&want, "$%d\r\n%d\r\n", i < 10 ? 1 : i < 100 ? 2 : 3, i);
    }
    put_bytes(a, b.data, b.len);
    for (int i = 0; i < 5; i++)
        ask(other, "PING");
    cycle(n);
    char *before = strdup(got(a));
    expect(other, "+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n");
    assert_null(strstr(before, "+GO"));
    assert_int_equal(engine_blocked_clients(n->engine), 1);
    n->may_go_on = true;
    cycle(n);
    struct buf all = BUF_INIT;
    buf_printf(&all, "%s%s", before, got(a));
    assert_int_equal(all.len, want.len);
    assert_memory_equal(all.data, want.data, want.len);
    free(before);
    buf_deinit(&all), buf_deinit(&b), buf_deinit(&want);
    close(a), close(other);
    cycle(n);
    assert_int_equal(engine_client_count(n->engine), 0);
}

static void test_waiting_in_a_pipeline(void **state) {
    struct node *n = *state;
    for (int place = 0; place < 200; place += 1 + place / 20)
        waits_at(n, place, 200);
}

static void test_waiting_in_a_pipeline_with_io_threads(void **state) {
    (void)state;
    struct node *n = node_create(3);
    for (int place = 0; place < 200; place++)
        waits_at(n, place, 200);
    node_destroy(n);
}

/* Requests too long for a group's argument array stand in the parser. */
static void test_long_requests(void **state) {
    struct node *n = *state;
    int a = peer(n);
    struct buf b = BUF_INIT;
    static struct slice argv[700];
    argv[0] = SLICE_LIT("DEL");
    for (int i = 1; i < 700; i++)
        argv[i] = SLICE_LIT("key");
    for (int round = 0; round < 3; round++) {
        append_request(&b, "SET key v");
        append_request(&b, "PING");
        resp_append_command(&b, argv, 700);
        append_request(&b, "BLOCK 0");
        resp_append_command(&b, argv, 700);
    }
    put_bytes(a, b.data, b.len);
    n->may_go_on = true;
    cycle(n), cycle(n);
    const char *round = "+OK\r\n+PONG\r\n:1\r\n+GO\r\n:0\r\n";
    char want[256];
    snprintf(want, sizeof want, "%s%s%s", round, round, round);
    expect(a, want);
    buf_deinit(&b);
    close(a);
}

static void test_large_argument(void **state) {
    struct node *n = *state;
    int a = peer(n);
    struct client *cl = engine_client_by_id(n->engine, 1);
    assert_non_null(cl);
    /* A length alone makes nobody allocate. */
    put(a, "*2\r\n$4\r\nECHO\r\n$500000000\r\n");
    cycle(n);
    assert_true(client_memory_bytes(cl) < 300000);
    char piece[10000];
    memset(piece, 'p', sizeof piece);
    size_t sent = 0;
    for (int i = 0; i < 30; i++) {
        put_bytes(a, piece, sizeof piece);
        sent += sizeof piece;
        cycle(n);
        assert_true(client_memory_bytes(cl) < 300000 + 16 * sent);
    }
    close(a);
    cycle(n);
    int b = peer(n);
    put(b, "*2\r\n$4\r\nECHO\r\n$300000\r\n");
    for (int i = 0; i < 30; i++) {
        put_bytes(b, piece, sizeof piece);
        cycle(n);
    }
    put(b, "\r\nPING\r\n");
    size_t bytes = 0;
    for (int i = 0; i < 100 && bytes < 300000 + 18; i++) {
        cycle(n);
        bytes += strlen(got(b));
    }
    assert_int_equal(bytes, 9 + 300000 + 2 + 7);
    cycle(n);
    cl = engine_client_by_id(n->engine, 2);
    assert_true(client_memory_bytes(cl) < 10000); /* an idle client holds no buffers */
    close(b);
}

static void append_large_set(struct buf *b, size_t n, char fill) {
    char *p = mem_alloc(n);
    memset(p, fill, n);
    struct slice argv[3] = {SLICE_LIT("SET"), SLICE_LIT("big"), slice_of(p, n)};
    resp_append_command(b, argv, 3);
    mem_free(p);
}

/* Sends all of b in pieces, the first of `cut` bytes, while the loop runs. */
static void put_slowly(struct node *n, int fd, const struct buf *b, size_t cut, size_t piece) {
    size_t at = 0, next = cut;
    while (at < b->len) {
        if (next > b->len - at)
            next = b->len - at;
        put_bytes(fd, b->data + at, next);
        loop_run_once(n->loop, 0);
        at += next;
        next = piece;
    }
    cycle(n);
}

static const struct entry *big_value(struct node *n, size_t len, char fill) {
    struct keyref key = keyspace_key(n->ks, SLICE_LIT("big"));
    const struct entry *e = keyspace_peek(n->ks, 0, &key);
    assert_non_null(e);
    char scratch[24];
    struct slice s = entry_string(e, scratch);
    assert_int_equal(s.n, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(s.p[i], fill);
    return e;
}

/* A large last argument gets a block of its own, however it is cut, and the value takes it over. */
static void test_taking_over_a_large_argument(void **state) {
    struct node *n = *state;
    const size_t header = strlen("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$100000\r\n");
    int a = peer(n);
    follow(n);
    struct buf b = BUF_INIT;
    append_large_set(&b, 100000, 'x');
    struct buf alone = BUF_INIT;
    buf_append(&alone, b.data, b.len);
    append_request(&b, "PING");
    for (size_t cut = header - 12; cut <= header + 3; cut++) {
        put_slowly(n, a, &b, cut, 9000);
        expect(a, "+OK\r\n+PONG\r\n");
        if (cut >= header) {
            struct value v = entry_value(big_value(n, 100000, 'x'));
            assert_int_equal(v.repr, VALUE_REPR_RBUF);
            assert_true(rbuf_is_unique(v.u.rbuf));
        }
    }
    /* The end falls at every place around the line's end; nothing follows. */
    for (size_t behind = 0; behind <= 3; behind++) {
        put_slowly(n, a, &alone, header + 10, 100000 - 10 - 1 + behind);
        expect(a, "+OK\r\n");
        big_value(n, 100000, 'x');
    }
    /* What the log has is the request. */
    struct iovec iov[16];
    size_t bytes = 0, at = 0, select = strlen("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n");
    struct buf logged_bytes = BUF_INIT;
    for (;;) {
        int k = changelog_cursor_iov(n->cursor, iov, 16, 1 << 20, &bytes);
        if (bytes == 0)
            break;
        for (int i = 0; i < k; i++)
            buf_append(&logged_bytes, iov[i].iov_base, iov[i].iov_len);
        changelog_cursor_advance(n->cursor, bytes);
    }
    assert_int_equal(logged_bytes.len, select + 20 * alone.len);
    for (at = select; at < logged_bytes.len; at += alone.len)
        assert_memory_equal(logged_bytes.data + at, alone.data, alone.len);
    buf_deinit(&logged_bytes), buf_deinit(&b), buf_deinit(&alone);
    close(a);
}

static void test_large_arguments_among_others(void **state) {
    struct node *n = *state;
    int a = peer(n);
    struct buf b = BUF_INIT;
    append_request(&b, "PING");
    append_request(&b, "BLOCK 0");
    append_request(&b, "ECHO 1");
    append_large_set(&b, 40000, 'a');
    append_request(&b, "MULTI");
    append_large_set(&b, 600000, 'b');
    append_request(&b, "GET none");
    append_large_set(&b, 50000, 'c');
    append_request(&b, "EXEC");
    append_large_set(&b, 3000000, 'd');
    append_request(&b, "PING");
    size_t at = 0;
    int rounds = 0;
    struct buf all = BUF_INIT;
    while (rounds < 2000 && at < b.len) {
        ssize_t w = send(a, b.data + at, b.len - at < 30000 ? b.len - at : 30000, MSG_NOSIGNAL);
        at += w > 0 ? (size_t)w : 0;
        loop_run_once(n->loop, 0);
        n->may_go_on = ++rounds > 6;
        buf_append_cstr(&all, got(a));
    }
    assert_int_equal(at, b.len);
    cycle(n);
    buf_append_cstr(&all, got(a));
    assert_bytes_are(all.data, all.len,
                     "+PONG\r\n+GO\r\n$1\r\n1\r\n+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
                     "*3\r\n+OK\r\n$-1\r\n+OK\r\n+OK\r\n+PONG\r\n");
    big_value(n, 3000000, 'd');
    /* Somebody goes away in the middle of one, and is paused with one in hand. */
    put_bytes(a, b.data, 30000);
    cycle(n);
    close(a);
    cycle(n);
    int c = peer(n);
    engine_pause_clients(n->engine, clock_mono_us() / 1000 + 100000, false);
    buf_clear(&b);
    append_large_set(&b, 70000, 'e');
    put_slowly(n, c, &b, 100, 10000);
    expect(c, "");
    engine_unpause_clients(n->engine);
    cycle(n);
    expect(c, "+OK\r\n");
    big_value(n, 70000, 'e');
    buf_deinit(&all), buf_deinit(&b);
    close(c);
}

static void test_protocol_errors(void **state) {
    struct node *n = *state;
    int a = peer(n);
    put(a, "PING\r\n*1\r\n+PING\r\nPING\r\n");
    cycle(n);
    expect(a, "+PONG\r\n-ERR Protocol error: expected '$', got '+'\r\n<closed>");
    close(a);
    int b = peer(n);
    put(b, "*1\r\n$600000000\r\n");
    cycle(n);
    expect(b, "-ERR Protocol error: invalid bulk length\r\n<closed>");
    close(b);
    int c = peer(n);
    put(c, "PING 'unbalanced\r\n");
    cycle(n);
    expect(c, "-ERR Protocol error: unbalanced quotes in request\r\n<closed>");
    close(c);
    assert_int_equal(engine_client_count(n->engine), 0);
}

static void test_query_buffer_limit(void **state) {
    struct node *n = *state;
    node_set(n, "client-query-buffer-limit", "1048576");
    int a = peer(n);
    char piece[65536];
    memset(piece, 'p', sizeof piece);
    put(a, "*2\r\n$4\r\nECHO\r\n$5000000\r\n");
    for (int i = 0; i < 15; i++) {
        put_bytes(a, piece, sizeof piece);
        cycle(n);
    }
    assert_int_equal(engine_client_count(n->engine), 1);
    for (int i = 0; i < 4; i++) {
        (void)!send(a, piece, sizeof piece, MSG_NOSIGNAL);
        cycle(n);
    }
    assert_int_equal(engine_client_count(n->engine), 0);
    assert_int_equal(engine_stats(n->engine)->query_limit_closes, 1);
    close(a);
    /* What MULTI queues counts. */
    int b = peer(n);
    talk(n, b, "MULTI", OK);
    struct buf set = BUF_INIT;
    append_large_set(&set, 20000, 'x');
    for (int i = 0; i < 50; i++) {
        put_bytes(b, set.data, set.len);
        cycle(n);
    }
    assert_int_equal(engine_client_count(n->engine), 1);
    for (int i = 0; i < 4; i++) {
        (void)!send(b, set.data, set.len, MSG_NOSIGNAL);
        cycle(n);
    }
    assert_int_equal(engine_client_count(n->engine), 0);
    buf_deinit(&set);
    close(b);
}

/* ---- waiting ---- */

static void test_timeout_of_a_wait(void **state) {
    struct node *n = *state;
    int a = peer(n);
    ask(a, "BLOCK 30");
    talk(n, a, "PING", "");
    int64_t start = clock_mono_us();
    while (engine_blocked_clients(n->engine) == 1 && clock_mono_us() - start < 5000000)
        loop_run_once(n->loop, 5000); /* the wait itself wakes the loop: there is no other timer here */
    cycle(n);
    assert_true(clock_mono_us() - start < 2000000);
    expect(a, "+LATE\r\n+PONG\r\n");
    assert_true(n->blocked_late);
    assert_int_equal(n->blocks_freed, 1);
    close(a);
}

static void test_unblock(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "BLOCK 9223372036854775807", "");
    struct client *cl = engine_client_by_id(n->engine, 1);
    assert_true(engine_unblock(n->engine, cl, false));
    assert_false(engine_unblock(n->engine, cl, false));
    cycle(n);
    expect(a, "+LATE\r\n");
    talk(n, a, "BLOCK 0", "");
    assert_true(engine_unblock(n->engine, cl, true));
    cycle(n);
    expect(a, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    talk(n, a, "PING", "+PONG\r\n");
    assert_int_equal(n->blocks_freed, 2);
    close(a);
}

static void test_going_away_while_waiting(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    talk(n, a, "BLOCK 0", "");
    talk(n, b, "BLOCK 0", "");
    ask(a, "PING");
    close(a);
    cycle(n);
    assert_int_equal(engine_client_count(n->engine), 1);
    assert_int_equal(engine_blocked_clients(n->engine), 1);
    assert_int_equal(n->blocks_freed, 1);
    n->may_go_on = true;
    cycle(n);
    expect(b, "+GO\r\n");
    close(b);
}

static void test_input_of_who_waits_is_bounded(void **state) {
    struct node *n = *state;
    int a = peer(n);
    talk(n, a, "BLOCK 0", "");
    static char pings[6000];
    for (size_t i = 0; i < sizeof pings; i += 6)
        memcpy(pings + i, "PING\r\n", 6);
    size_t sent = 0;
    for (int i = 0; i < 100; i++) {
        ssize_t w = send(a, pings, sizeof pings, MSG_NOSIGNAL);
        if (w > 0)
            sent += (size_t)w;
        cycle(n);
    }
    assert_true(sent > 150000);
    struct client *cl = engine_client_by_id(n->engine, 1);
    assert_true(client_memory_bytes(cl) < 300000);
    n->may_go_on = true;
    size_t bytes = 0;
    for (int i = 0; i < 200; i++) {
        cycle(n);
        bytes += strlen(got(a));
    }
    assert_int_equal(bytes, 5 + sent / 6 * 7);
    close(a);
}

static void test_pause_of_writes(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), c = peer(n);
    bool all;
    engine_pause_clients(n->engine, clock_mono_us() / 1000 + 100000, false);
    assert_true(engine_paused(n->engine, &all));
    assert_false(all);
    for (int i = 0; i < 3; i++) {
        char line[32];
        int fd = i == 0 ? b : i == 1 ? a : c;
        snprintf(line, sizeof line, "TRACE %d", i);
        ask(fd, line);
        snprintf(line, sizeof line, "TRACE again%d", i);
        ask(fd, line);
        cycle(n);
    }
    int d = peer(n);
    talk(n, d, "PING", "+PONG\r\n");
    talk(n, d, "MULTI", OK);
    talk(n, d, "TRACE tx", "+QUEUED\r\n");
    talk(n, d, "EXEC", "");
    assert_string_equal(n->trace, "");
    engine_unpause_clients(n->engine);
    cycle(n);
    expect(a, OK OK);
    expect(b, OK OK);
    expect(c, OK OK);
    expect(d, "*1\r\n+OK\r\n");
    assert_memory_equal(n->trace, "0 1 2 tx again", 14);
    close(a), close(b), close(c), close(d);
}

static void test_pause_of_all_ends_by_itself(void **state) {
    struct node *n = *state;
    int a = peer(n);
    engine_pause_clients(n->engine, clock_mono_us() / 1000 + 30, true);
    put(a, "PING\r\nPING\r\n");
    cycle(n);
    expect(a, "");
    usleep(40000);
    engine_cron(n->engine);
    cycle(n);
    expect(a, "+PONG\r\n+PONG\r\n");
    close(a);
}

/* Cycles inside a command: others are served, who is part of the outer batch waits. */
static void test_busy(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n), c = peer(n);
    put(a, "PING\r\n");
    ask(a, "ECHO before");
    ask(a, "BUSY now");
    ask(a, "ECHO after");
    ask(b, "PING");
    ask(b, "ECHO one");
    loop_run_once(n->loop, 0);
    cycle(n);
    expect(a, "+PONG\r\n$6\r\nbefore\r\n$3\r\nnow\r\n$5\r\nafter\r\n");
    expect(b, "+PONG\r\n$3\r\none\r\n");
    talk(n, a, "MULTI", OK);
    talk(n, a, "BUSY tx", "+QUEUED\r\n");
    talk(n, a, "SET k v", "+QUEUED\r\n");
    talk(n, a, "EXEC", "*2\r\n$2\r\ntx\r\n+OK\r\n");
    talk(n, c, "GET k", "$1\r\nv\r\n");
    /* Somebody who goes away meanwhile is freed afterwards. */
    ask(a, "BUSY x");
    close(b);
    cycle(n);
    expect(a, "$1\r\nx\r\n");
    cycle(n);
    assert_int_equal(engine_client_count(n->engine), 2);
    close(a), close(c);
}

static int stage_two; /* a peer whose request arrives while the command runs */
static void run_late(struct call *c) {
    ask(stage_two, "GET k");
    ask(stage_two, "PING");
    engine_set_loading(c->engine, true, false);
    engine_serve_while_busy(c->engine);
    engine_set_loading(c->engine, false, false);
    resp_bulk(c->w, c->argv[1]);
}

static void test_served_while_busy(void **state) {
    struct node *n = *state;
    static const struct command late = {.name = "late", .arity = 2, .run = run_late};
    command_table_register(engine_commands(n->engine), &late, 1, NULL);
    int a = peer(n);
    stage_two = peer(n);
    ask(a, "LATE word");
    ask(a, "PING");
    cycle(n);
    expect(stage_two, "-LOADING Redis is loading the dataset in memory\r\n+PONG\r\n");
    expect(a, "$4\r\nword\r\n+PONG\r\n");
    /* The client's own next request must not overtake, nor move its buffer. */
    close(stage_two);
    stage_two = a;
    ask(a, "LATE word");
    cycle(n);
    expect(a, "$4\r\nword\r\n$-1\r\n+PONG\r\n");
    close(a);
}

/* ---- replies ---- */

static void test_reply_modes(void **state) {
    struct node *n = *state;
    int a = peer(n);
    put(a, "PING\r\nREPLY skip\r\nECHO skipped\r\nECHO seen\r\nREPLY off\r\nECHO 1\r\nNOSUCH\r\nSET\r\nREPLY "
           "skip\r\nREPLY on\r\nPING\r\n");
    cycle(n), cycle(n);
    expect(a, "+PONG\r\n$4\r\nseen\r\n+OK\r\n+PONG\r\n");
    put(a, "REPLY skip\r\nNOSUCH\r\nREPLY skip\r\nREPLY skip\r\nECHO skipped\r\nPING\r\n");
    cycle(n), cycle(n);
    expect(a, "+PONG\r\n");
    close(a);
}

static void test_output_limit(void **state) {
    struct node *n = *state;
    node_set(n, "client-output-buffer-limit", "normal 1000000 0 0");
    int a = peer(n), b = peer(n);
    struct buf pipeline = BUF_INIT;
    for (int i = 0; i < 100; i++)
        append_request(&pipeline, "BLOB 100000");
    put_bytes(a, pipeline.data, pipeline.len);
    cycle(n);
    assert_int_equal(engine_client_count(n->engine), 1);
    assert_int_equal(engine_stats(n->engine)->output_limit_closes, 1);
    talk(n, b, "PING", "+PONG\r\n");
    buf_deinit(&pipeline);
    close(a), close(b);
}

static void test_large_replies_arrive(void **state) {
    struct node *n = *state;
    int a = peer(n);
    for (int i = 0; i < 10; i++)
        ask(a, "BLOB 500000");
    size_t bytes = 0;
    for (int i = 0; i < 2000 && bytes < 10 * (size_t)500011; i++) {
        cycle(n);
        bytes += strlen(got(a));
    }
    assert_int_equal(bytes, 10 * 500011);
    close(a);
}

/* What comes behind QUIT is read by nobody and must not wake the loop, however slowly the peer reads. */
static void test_input_behind_quit(void **state) {
    struct node *n = *state;
    int a = peer(n);
    ask(a, "BLOB 900000");
    ask(a, "QUIT");
    cycle(n), cycle(n);
    ask(a, "TRACE never");
    cycle(n);
    assert_int_equal(engine_client_count(n->engine), 1);
    assert_int_equal(loop_run_once(n->loop, 0), 0);
    size_t bytes = 0;
    for (int i = 0; i < 100; i++) {
        bytes += strlen(got(a));
        cycle(n);
    }
    assert_true(bytes >= 900011 + 5);
    assert_string_equal(n->trace, "");
    assert_int_equal(engine_client_count(n->engine), 0);
    close(a);
}

/* ---- doors ---- */

static void test_authentication(void **state) {
    struct node *n = *state;
    node_set(n, "requirepass", "secret");
    int a = peer(n);
    put(a, "PING\r\nAUTH wrong\r\nNOSUCH\r\nAUTH secret\r\nPING\r\n");
    cycle(n);
    expect(a, "-NOAUTH Authentication required.\r\n-WRONGPASS invalid username-password pair or user is disabled.\r\n"
              "-ERR unknown command 'NOSUCH', with args beginning with: \r\n+OK\r\n+PONG\r\n");
    /* The bounds go with the state at each request, also within one read. */
    struct buf b = BUF_INIT;
    char big[20000];
    memset(big, 'v', sizeof big);
    struct slice set[3] = {SLICE_LIT("SET"), SLICE_LIT("k"), slice_of(big, sizeof big)};
    append_request(&b, "AUTH secret");
    resp_append_command(&b, set, 3);
    int c = peer(n);
    put_bytes(c, b.data, b.len);
    cycle(n);
    expect(c, OK OK);
    int d = peer(n);
    buf_clear(&b);
    resp_append_command(&b, set, 3);
    put_bytes(d, b.data, b.len);
    cycle(n);
    expect(d, "-ERR Protocol error: unauthenticated bulk length\r\n<closed>");
    buf_deinit(&b);
    close(a), close(c), close(d);
}

static void test_bounds_before_authentication(void **state) {
    struct node *n = *state;
    node_set(n, "requirepass", "secret");
    /* In: an inline request without an end. */
    int a = peer(n);
    char piece[8192];
    memset(piece, 'p', sizeof piece);
    size_t sent = 0;
    for (int i = 0; i < 20; i++) {
        ssize_t w = send(a, piece, sizeof piece, MSG_NOSIGNAL);
        sent += w > 0 ? (size_t)w : 0;
        cycle(n);
    }
    assert_true(sent < 100000);
    assert_int_equal(engine_client_count(n->engine), 0);
    close(a);
    /* Out: errors that nobody reads. */
    int b = peer(n);
    int small = 4096;
    struct buf pipeline = BUF_INIT;
    assert_int_equal(setsockopt(b, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    for (int i = 0; i < 4000; i++)
        append_request(&pipeline, "NOSUCH");
    for (int i = 0; i < 40 && engine_client_count(n->engine) == 1; i++) {
        (void)!send(b, pipeline.data, pipeline.len, MSG_NOSIGNAL);
        cycle(n);
    }
    assert_int_equal(engine_client_count(n->engine), 0);
    buf_deinit(&pipeline);
    close(b);
}

static int newcomer;
static void on_door(struct loop *loop, int fd, unsigned events, void *arg) {
    (void)events;
    loop_forget(loop, fd);
    newcomer = peer(arg);
}

static void test_maxclients(void **state) {
    struct node *n = *state;
    node_set(n, "maxclients", "2");
    int a = peer(n), b = peer(n), c = peer(n);
    cycle(n);
    expect(c, "-ERR max number of clients reached\r\n<closed>");
    assert_int_equal(engine_stats(n->engine)->rejected_connections, 1);
    assert_int_equal(engine_stats(n->engine)->connections, 2);
    /* A place that becomes free in the same cycle is given on. */
    int door[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, door), 0);
    assert_int_equal(loop_watch(n->loop, door[0], LOOP_READABLE, on_door, n), 0);
    put(door[1], "knock");
    close(a);
    cycle(n);
    talk(n, newcomer, "PING", "+PONG\r\n");
    assert_int_equal(engine_client_count(n->engine), 2);
    close(b), close(c), close(newcomer), close(door[0]), close(door[1]);
}

static void test_idle_timeout(void **state) {
    struct node *n = *state;
    node_set(n, "timeout", "1");
    int idle = peer(n), waiting = peer(n);
    talk(n, idle, "PING", "+PONG\r\n");
    talk(n, waiting, "BLOCK 0", "");
    usleep(1100000);
    int fresh = peer(n);
    cycle(n);
    engine_cron(n->engine);
    cycle(n);
    expect(idle, "<closed>");
    expect(waiting, "");
    talk(n, fresh, "PING", "+PONG\r\n");
    close(idle), close(waiting), close(fresh);
}

static void test_closing_others_inside_a_batch(void **state) {
    struct node *n = *state;
    int a = peer(n), b = peer(n);
    ask(a, "PING");
    for (int i = 0; i < 3; i++)
        ask(b, "TRACE x");
    /* Both are ready in one cycle; the second is killed before its requests run. */
    client_close_asap(engine_client_by_id(n->engine, 2));
    assert_null(engine_client_by_id(n->engine, 2));
    cycle(n);
    expect(a, "+PONG\r\n");
    expect(b, "<closed>");
    assert_string_equal(n->trace, "");
    assert_int_equal(engine_client_count(n->engine), 1);
    close(a), close(b);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, node_setup, node_teardown)
    const struct CMUnitTest tests[] = {
        T(test_split_at_each_byte),
        T(test_waiting_in_a_pipeline),
        cmocka_unit_test(test_waiting_in_a_pipeline_with_io_threads),
        T(test_long_requests),
        T(test_large_argument),
        T(test_taking_over_a_large_argument),
        T(test_large_arguments_among_others),
        T(test_protocol_errors),
        T(test_query_buffer_limit),
        T(test_timeout_of_a_wait),
        T(test_unblock),
        T(test_going_away_while_waiting),
        T(test_input_of_who_waits_is_bounded),
        T(test_pause_of_writes),
        T(test_pause_of_all_ends_by_itself),
        T(test_busy),
        T(test_served_while_busy),
        T(test_reply_modes),
        T(test_output_limit),
        T(test_large_replies_arrive),
        T(test_input_behind_quit),
        T(test_authentication),
        T(test_bounds_before_authentication),
        T(test_maxclients),
        T(test_idle_timeout),
        T(test_closing_others_inside_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
