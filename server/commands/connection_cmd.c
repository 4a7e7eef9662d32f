/* A connection's own commands: AUTH ECHO HELLO LOLWUT PING QUIT RESET SELECT. */
#include "config.h"

#include <stdio.h>

#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"

#define PASSWORD_MAX 512 /* requirepass is never longer */

/* Equal in a time that depends neither on where the two differ nor on the password's length. */
static bool same_secret(const char *secret, struct slice given) {
    size_t n = strlen(secret);
    unsigned different = n == given.n ? 0 : 1;
    for (size_t i = 0; i < PASSWORD_MAX; i++) {
        unsigned char a = i < n ? (unsigned char)secret[i] : 0;
        unsigned char b = i < given.n ? (unsigned char)given.p[i] : 0;
        different |= (unsigned)(a ^ b);
    }
    return different == 0;
}

/* Replies the error and returns false when user and password are not right. */
static bool authenticate(struct call *c, struct slice user, struct slice password) {
    const char *secret = engine_options(c->engine)->requirepass;
    bool known = slice_eq(user, SLICE_LIT("default"));
    bool right = secret[0] == '\0' || same_secret(secret, password);
    if (!known || !right) {
        engine_stats(c->engine)->auth_denied++;
        call_error(c, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    c->client->authenticated = true;
    c->client->user = "default";
    return true;
}

static void auth_run(struct call *c) {
    if (c->argc > 3) {
        call_error_syntax(c);
        return;
    }
    call_redact(c, 1);
    if (c->argc == 3)
        call_redact(c, 2);
    if (c->argc == 2 && engine_options(c->engine)->requirepass[0] == '\0') {
        call_error(c,
                   "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
                   "configuration is correct?");
        return;
    }
    if (authenticate(c, c->argc == 3 ? c->argv[1] : SLICE_LIT("default"), c->argv[c->argc - 1]))
        resp_ok(c->w);
}

static void hello_reply(struct call *c) {
    resp_map(c->w, 7);
    resp_bulk_cstr(c->w, "server");
    resp_bulk_cstr(c->w, "redis");
    resp_bulk_cstr(c->w, "version");
    resp_bulk_cstr(c->w, SERVER_REDIS_VERSION);
    resp_bulk_cstr(c->w, "proto");
    resp_int(c->w, c->w->resp);
    resp_bulk_cstr(c->w, "id");
    resp_int(c->w, (int64_t)c->client->id);
    resp_bulk_cstr(c->w, "mode");
    resp_bulk_cstr(c->w, keyspace_has_slots(c->ks) ? "cluster" : "standalone");
    resp_bulk_cstr(c->w, "role");
    const struct server_identity *identity = call_context(c);
    resp_bulk_cstr(c->w, identity->is_replica != NULL && identity->is_replica(identity->ctx) ? "replica" : "master");
    resp_bulk_cstr(c->w, "modules");
    resp_array(c->w, 0);
}

static void hello_run(struct call *c) {
    int64_t version = c->w->resp;
    struct slice name = {NULL, 0};
    bool has_name = false;
    if (c->argc > 1 && num_parse_i64(c->argv[1], &version) != 0) {
        call_error(c, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version < 2 || version > 3) {
        call_error(c, "NOPROTO unsupported protocol version");
        return;
    }
    for (int i = 2; i < c->argc; i++) {
        int left = c->argc - 1 - i;
        if (slice_is(c->argv[i], "auth") && left >= 2) {
            call_redact(c, i + 1);
            call_redact(c, i + 2);
            if (!authenticate(c, c->argv[i + 1], c->argv[i + 2]))
                return;
            i += 2;
        } else if (slice_is(c->argv[i], "setname") && left >= 1) {
            name = c->argv[++i];
            has_name = true;
        } else {
            call_errorf(c, "ERR Syntax error in HELLO option '%.*s'", (int)(c->argv[i].n < 128 ? c->argv[i].n : 128),
                        c->argv[i].p);
            return;
        }
    }
    if (!c->client->authenticated) {
        call_error(
            c, "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
               "<user> <pass> option can be used to authenticate the client and select the RESP protocol version at "
               "the same time");
        return;
    }
    if (has_name && client_set_name(c->client, name) != 0) {
        call_error(c, "ERR Client names cannot contain spaces, newlines or special characters.");
        return;
    }
    c->w->resp = (int)version;
    hello_reply(c);
}

static void ping_run(struct call *c) {
    if (c->argc > 2)
        call_error_arity(c);
    else if ((c->client->flags & CLIENT_PUBSUB) && c->w->resp == 2) {
        resp_array(c->w, 2);
        resp_bulk_cstr(c->w, "pong");
        resp_bulk(c->w, c->argc == 2 ? c->argv[1] : slice_of("", 0));
    } else if (c->argc == 2)
        resp_bulk(c->w, c->argv[1]);
    else
        resp_simple(c->w, "PONG");
}

static void echo_run(struct call *c) {
    resp_bulk(c->w, c->argv[1]);
}

static void select_run(struct call *c) {
    unsigned db;
    if (!call_arg_db(c, 1, &db))
        return;
    c->client->db = db;
    resp_ok(c->w);
}

static void quit_run(struct call *c) {
    resp_ok(c->w);
    client_close_after_reply(c->client);
}

static void reset_run(struct call *c) {
    client_reset(c->client);
    resp_simple(c->w, "RESET");
}

static void lolwut_run(struct call *c) {
    const struct server_identity *identity = call_context(c);
    char text[80];
    int n = snprintf(text, sizeof text, "Holdfast ver. %s\n", identity->version);
    resp_verbatim(c->w, "txt", slice_of(text, (size_t)n));
}

static const char *const ping_tips[] = {"request_policy:all_shards", "response_policy:all_succeeded", NULL};

static const struct command rows[] = {
    {.name = "auth",
     .group = "connection",
     .since = "1.0.0",
     .arity = -2,
     .run = auth_run,
     .acl = ACL_CONNECTION,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_NO_AUTH | COMMAND_ALLOW_BUSY},
    {.name = "echo",
     .group = "connection",
     .since = "1.0.0",
     .arity = 2,
     .run = echo_run,
     .acl = ACL_CONNECTION,
     .flags = COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST},
    {.name = "hello",
     .group = "connection",
     .since = "6.0.0",
     .arity = -1,
     .run = hello_run,
     .acl = ACL_CONNECTION,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_NO_AUTH | COMMAND_ALLOW_BUSY},
    {.name = "lolwut",
     .group = "server",
     .since = "5.0.0",
     .arity = -1,
     .run = lolwut_run,
     .flags = COMMAND_READONLY | COMMAND_FAST},
    {.name = "ping",
     .group = "connection",
     .since = "1.0.0",
     .arity = -1,
     .flags = COMMAND_TELLS_HEALTH | COMMAND_FAST,
     .run = ping_run,
     .acl = ACL_CONNECTION,
     .tips = ping_tips},
    {.name = "quit",
     .group = "connection",
     .since = "1.0.0",
     .arity = -1,
     .run = quit_run,
     .acl = ACL_CONNECTION,
     .flags = COMMAND_ALLOW_BUSY | COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_NO_AUTH},
    {.name = "reset",
     .group = "connection",
     .since = "6.2.0",
     .arity = 1,
     .run = reset_run,
     .acl = ACL_CONNECTION,
     .flags = COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_NO_AUTH | COMMAND_ALLOW_BUSY},
    {.name = "select",
     .group = "connection",
     .since = "1.0.0",
     .arity = 2,
     .run = select_run,
     .acl = ACL_CONNECTION,
     .flags = COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST},
};

void connection_commands_register(struct command_table *t, const struct server_identity *identity) {
    command_table_register(t, rows, ROW_COUNT(rows), (void *)(uintptr_t)identity);
}
