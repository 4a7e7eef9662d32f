/* An engine over a real loop, a keyspace and a change log whose marks the test moves by hand, with a handful of small
 * commands, and peers at the other end of socket pairs. A test steps the loop with cycle(). */
#ifndef HF_TESTS_ENGINE_FIXTURE_H
#define HF_TESTS_ENGINE_FIXTURE_H

#include "server/engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/engine/call.h"
#include "tests/support/unit.h"

struct node {
    struct loop *loop;
    struct keyspace *ks;
    struct changelog *log;
    struct changelog_cursor *cursor; /* NULL until follow(): the log is not active then */
    struct settings *settings;
    struct info *info;
    struct io_pool *io;
    struct engine *engine;
    bool may_go_on;    /* what `block` waits for */
    bool blocked_late; /* its wait timed out */
    int blocks_freed;
    const char *refusal; /* of writes */
    char trace[4096];    /* words of `trace`, in the order of execution */
};

/* ---- commands ---- */

static void run_ping(struct call *c) {
    resp_simple(c->w, "PONG");
}

static void run_echo(struct call *c) {
    resp_bulk(c->w, c->argv[1]);
}

static void run_set(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct rbuf *taken = call_take_argument(c, c->argv[2]);
    struct value v = taken != NULL ? value_string_rbuf_take(taken) : value_string(c->argv[2]);
    keyspace_put(c->ks, c->db, &key, v, KEYSPACE_NO_DEADLINE);
    call_changed(c, &key, NOTIFY_STRING, "set");
    resp_ok(c->w);
}

/* PUTAT key value ms: with a deadline that may have passed. */
static void run_putat(struct call *c) {
    struct keyref key = call_key(c, 1);
    int64_t ms;
    if (!call_arg_i64(c, 3, &ms))
        return;
    keyspace_put(c->ks, c->db, &key, value_string(c->argv[2]), ms);
    call_changed(c, &key, NOTIFY_STRING, "set");
    resp_ok(c->w);
}

static void run_get(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e = call_find_read(c, &key);
    char scratch[24];
    if (e == NULL)
        resp_null(c->w);
    else
        resp_bulk(c->w, entry_string(e, scratch));
}

static void run_del(struct call *c) {
    int64_t n = 0;
    for (int i = 1; i < c->argc; i++) {
        struct keyref key = call_key(c, i);
        if (call_find_write(c, &key) != NULL && keyspace_delete(c->ks, c->db, &key, false)) {
            call_changed(c, &key, NOTIFY_GENERIC, "del");
            n++;
        }
    }
    resp_int(c->w, n);
}

/* Propagates SET a 1 and SET b 2 of database 0 and 1 instead of itself. */
static void run_two(struct call *c) {
    struct slice a[3] = {SLICE_LIT("SET"), SLICE_LIT("a"), SLICE_LIT("1")},
                 b[3] = {SLICE_LIT("SET"), SLICE_LIT("b"), SLICE_LIT("2")};
    struct keyref key = keyspace_key(c->ks, a[1]);
    call_changed_db(c, 0, &key, NOTIFY_STRING, "set");
    key = keyspace_key(c->ks, b[1]);
    call_changed_db(c, 1, &key, NOTIFY_STRING, "set");
    call_propagate(c, 0, a, 3);
    call_propagate(c, 1, b, 3);
    resp_ok(c->w);
}

/* Changes a key and propagates nothing. */
static void run_quiet(struct call *c) {
    struct keyref key = call_key(c, 1);
    call_changed(c, &key, NOTIFY_STRING, "set");
    call_propagate_nothing(c);
    resp_ok(c->w);
}

static void run_select(struct call *c) {
    unsigned db;
    if (!call_arg_db(c, 1, &db))
        return;
    c->client->db = db;
    resp_ok(c->w);
}

static void run_dbsize(struct call *c) {
    resp_int(c->w, (int64_t)keyspace_size(c->ks, c->db));
}

static void run_flushall(struct call *c) {
    call_changed_all(c, -1, 1);
    keyspace_flush(c->ks, -1, false);
    resp_ok(c->w);
}

static void run_quit(struct call *c) {
    resp_ok(c->w);
    client_close_after_reply(c->client);
}

static void run_reply(struct call *c) {
    struct client *cl = c->client;
    if (slice_is(c->argv[1], "on")) {
        cl->flags &= ~(uint64_t)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
        cl->w.q = &cl->out;
        resp_ok(c->w);
    } else {
        cl->flags |= slice_is(c->argv[1], "off") ? CLIENT_REPLY_OFF : CLIENT_REPLY_SKIP_NEXT;
    }
}

static void run_auth(struct call *c) {
    if (slice_is(c->argv[1], engine_options(c->engine)->requirepass)) {
        c->client->authenticated = true;
        resp_ok(c->w);
    } else {
        call_error(c, "WRONGPASS invalid username-password pair or user is disabled.");
    }
}

static bool block_ready(struct client *cl, void *state) {
    (void)cl;
    return ((struct node *)state)->may_go_on;
}

static void block_reply(struct client *cl, void *state, bool timed_out) {
    ((struct node *)state)->blocked_late = timed_out;
    resp_simple(&cl->w, timed_out ? "LATE" : "GO");
}

static void block_free(void *state) {
    ((struct node *)state)->blocks_freed++;
}

static void run_block(struct call *c) {
    static const struct client_block_ops ops = {"block", block_ready, block_reply, block_free};
    int64_t ms;
    if (!call_arg_i64(c, 1, &ms))
        return;
    if (call_must_not_block(c))
        resp_simple(c->w, "NOBLOCK");
    else
        call_block(c, &ops, call_context(c), ms);
}

/* A write that notes its word: shows in which order requests ran. */
static void run_trace(struct call *c) {
    struct node *n = call_context(c);
    size_t len = strlen(n->trace);
    snprintf(n->trace + len, sizeof n->trace - len, "%.*s ", (int)c->argv[1].n, c->argv[1].p);
    resp_ok(c->w);
}

/* Serves others from inside a command, as loading does. */
static void run_busy(struct call *c) {
    engine_set_loading(c->engine, true, false);
    for (int i = 0; i < 5; i++)
        engine_serve_while_busy(c->engine);
    engine_set_loading(c->engine, false, false);
    resp_bulk(c->w, c->argv[1]);
}

static void run_blob(struct call *c) {
    int64_t n;
    if (!call_arg_i64(c, 1, &n))
        return;
    char *p = mem_alloc((size_t)n + 1);
    memset(p, 'x', (size_t)n);
    resp_bulk(c->w, slice_of(p, (size_t)n));
    mem_free(p);
}

#define ONE_KEY                                                                                                        \
    .keys = {{.flags = KEY_RW, .begin = KEY_BEGIN_INDEX, .index = 1, .find = KEY_FIND_RANGE, .last = 0, .step = 1}}
#define ALL_KEYS                                                                                                       \
    .keys = {{.flags = KEY_RW, .begin = KEY_BEGIN_INDEX, .index = 1, .find = KEY_FIND_RANGE, .last = -1, .step = 1}}

static const struct command fixture_commands[] = {
    {.name = "ping", .arity = 1, .flags = COMMAND_FAST | COMMAND_LOADING, .run = run_ping},
    {.name = "echo", .arity = -2, .flags = COMMAND_FAST, .run = run_echo},
    {.name = "set", .arity = 3, .flags = COMMAND_WRITE | COMMAND_DENYOOM, ONE_KEY, .run = run_set},
    {.name = "putat", .arity = 4, .flags = COMMAND_WRITE | COMMAND_DENYOOM, ONE_KEY, .run = run_putat},
    {.name = "get", .arity = 2, .flags = COMMAND_READONLY, ONE_KEY, .run = run_get},
    {.name = "del", .arity = -2, .flags = COMMAND_WRITE, ALL_KEYS, .run = run_del},
    {.name = "two", .arity = 1, .flags = COMMAND_WRITE, .run = run_two},
    {.name = "quiet", .arity = 2, .flags = COMMAND_WRITE, ONE_KEY, .run = run_quiet},
    {.name = "select", .arity = 2, .run = run_select},
    {.name = "dbsize", .arity = 1, .flags = COMMAND_READONLY | COMMAND_WHOLE_KEYSPACE, .run = run_dbsize},
    {.name = "flushall", .arity = 1, .flags = COMMAND_WRITE, .run = run_flushall},
    {.name = "quit", .arity = 1, .flags = COMMAND_NO_AUTH, .run = run_quit},
    {.name = "reply", .arity = 2, .run = run_reply},
    {.name = "auth", .arity = 2, .flags = COMMAND_NO_AUTH, .run = run_auth},
    {.name = "block", .arity = 2, .flags = COMMAND_BLOCKING, .run = run_block},
    {.name = "trace", .arity = 2, .flags = COMMAND_WRITE, .run = run_trace},
    {.name = "busy", .arity = 2, .run = run_busy},
    {.name = "blob", .arity = 2, .run = run_blob},
};

/* ---- the node ---- */

static const char *refuse_write(void *ctx, const struct client *cl) {
    return (cl->flags & CLIENT_MUST_OBEY) ? NULL : ((struct node *)ctx)->refusal;
}

static void hook_after_wake(struct loop *loop, void *arg) {
    (void)loop;
    engine_after_wake(((struct node *)arg)->engine);
}
static void hook_batch(struct loop *loop, void *arg) {
    (void)loop;
    engine_batch(((struct node *)arg)->engine);
}
static void hook_before_sleep(struct loop *loop, void *arg) {
    (void)loop;
    engine_before_sleep(((struct node *)arg)->engine);
}

static inline struct node *node_create(unsigned io_threads) {
    struct node *n = mem_calloc(1, sizeof *n);
    n->loop = loop_create();
    n->log = changelog_create(0);
    n->settings = settings_create();
    n->info = info_create();
    struct engine_parts parts = {.loop = n->loop, .log = n->log, .settings = n->settings, .info = n->info};
    n->engine = engine_create(&parts);
    struct keyspace_options o = {.databases = 16, .rng_seed = 1, .events = engine_store_events(n->engine)};
    hash_key_init(&o.hash_key, "seed", 4);
    n->ks = keyspace_create(&o);
    n->io = io_threads > 1 ? io_pool_create(io_threads) : NULL;
    engine_set_parts(n->engine, n->ks, n->io);
    command_table_register(engine_commands(n->engine), fixture_commands,
                           sizeof fixture_commands / sizeof fixture_commands[0], n);
    struct engine_hooks hooks = {.ctx = n, .refuse_write = refuse_write};
    engine_add_hooks(n->engine, &hooks);
    loop_set_after_wake_hook(n->loop, hook_after_wake, n);
    loop_set_batch_hook(n->loop, hook_batch, n);
    loop_set_before_sleep_hook(n->loop, hook_before_sleep, n);
    return n;
}

static inline void node_destroy(struct node *n) {
    if (n->cursor != NULL)
        changelog_cursor_destroy(n->cursor);
    settings_destroy(n->settings); /* it frees the strings in the engine's options */
    engine_destroy(n->engine);
    keyspace_destroy(n->ks);
    io_pool_destroy(n->io);
    changelog_destroy(n->log);
    info_destroy(n->info);
    loop_destroy(n->loop);
    mem_free(n);
}

static inline int node_setup(void **state) {
    *state = node_create(1);
    return 0;
}

static inline int node_teardown(void **state) {
    node_destroy(*state);
    return 0;
}

static inline void node_set(struct node *n, const char *name, const char *value) {
    struct slice pair[2] = {slice_cstr(name), slice_cstr(value)};
    struct buf error = BUF_INIT;
    if (settings_set(n->settings, pair, 1, false, true, &error) != 0)
        fail_msg("%s %s: %.*s", name, value, (int)error.len, error.data);
    buf_deinit(&error);
}

/* Enough cycles for what was sent to be worked off and answered. */
static inline void cycle(struct node *n) {
    for (int i = 0; i < 4; i++)
        loop_run_once(n->loop, 0);
}

/* ---- the change log ---- */

/* Somebody reads the log from now on. */
static inline void follow(struct node *n) {
    n->cursor = changelog_cursor_create(n->log, changelog_appended(n->log));
    assert_non_null(n->cursor);
}

/* Replies are held from now on, until release(). */
static inline void hold(struct node *n) {
    changelog_set_holds(n->log, true);
    changelog_set_released(n->log, changelog_appended(n->log));
}

static inline void release(struct node *n, uint64_t offset) {
    changelog_set_released(n->log, offset);
    cycle(n);
}

/* What was appended since the last call, CR LF as blanks. The string lives until the next call. */
static inline const char *logged(struct node *n) {
    static char text[65536];
    size_t len = 0;
    for (;;) {
        struct iovec iov[8];
        size_t bytes = 0;
        int k = changelog_cursor_iov(n->cursor, iov, 8, 32768, &bytes);
        if (bytes == 0)
            break;
        for (int i = 0; i < k; i++) {
            assert_true(len + iov[i].iov_len < sizeof text);
            memcpy(text + len, iov[i].iov_base, iov[i].iov_len);
            len += iov[i].iov_len;
        }
        changelog_cursor_advance(n->cursor, bytes);
    }
    size_t to = 0;
    for (size_t i = 0; i < len; i++)
        if (text[i] != '\r')
            text[to++] = text[i] == '\n' ? ' ' : text[i];
    text[to] = '\0';
    return text;
}

/* ---- peers ---- */

static inline int peer(struct node *n) {
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
    engine_accept(n->engine, conn_create(n->loop, fd[0], CONN_UNIX));
    return fd[1];
}

static inline void put_bytes(int fd, const char *p, size_t len) {
    assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), len);
}
static inline void put(int fd, const char *text) {
    put_bytes(fd, text, strlen(text));
}

/* A multibulk request of the words of a line. */
static inline void append_request(struct buf *b, const char *line) {
    char copy[1024];
    struct slice argv[64];
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *at = copy, *word; (word = strsep(&at, " ")) != NULL;)
        argv[argc++] = slice_cstr(word);
    resp_append_command(b, argv, argc);
}
static inline void ask(int fd, const char *line) {
    struct buf b = BUF_INIT;
    append_request(&b, line);
    put_bytes(fd, b.data, b.len);
    buf_deinit(&b);
}

/* What has come, as text; "<closed>" at its end when the connection is at its end. The string lives until the next
 * call. */
static inline const char *got(int fd) {
    static char text[1 << 20];
    size_t len = 0;
    for (;;) {
        ssize_t r = recv(fd, text + len, sizeof text - len - 16, 0);
        if (r > 0) {
            len += (size_t)r;
            continue;
        }
        text[len] = '\0';
        if (r == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            strcpy(text + len, "<closed>");
        return text;
    }
}

#define expect(fd, text) assert_string_equal(got(fd), text)
/* Sends a request, runs the loop, compares the reply. */
#define talk(n, fd, line, reply)                                                                                       \
    do {                                                                                                               \
        ask((fd), (line));                                                                                             \
        cycle(n);                                                                                                      \
        expect((fd), (reply));                                                                                         \
    } while (0)

#endif
