/* CLIENT: what a connection is, and what may be done to others. */
#include "config.h"

#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"
#include "server/engine/write_ack.h"
#include "server/net/conn.h"

#define BAD_NAME "ERR Client names cannot contain spaces, newlines or special characters."

static bool arg_on_off(struct call *c, int i, bool *ret_on) {
    if (slice_is(c->argv[i], "on"))
        *ret_on = true;
    else if (slice_is(c->argv[i], "off"))
        *ret_on = false;
    else {
        call_error_syntax(c);
        return false;
    }
    return true;
}

static void set_flag(struct client *cl, uint64_t flag, bool on) {
    cl->flags = on ? cl->flags | flag : cl->flags & ~flag;
}

/* ---- kinds of clients ---- */

enum kind { KIND_NORMAL, KIND_PRIMARY, KIND_REPLICA, KIND_PUBSUB, KIND_ANY };

static enum kind kind_of(const struct client *cl) {
    if (cl->flags & CLIENT_PRIMARY)
        return KIND_PRIMARY;
    if (cl->flags & CLIENT_REPLICA)
        return KIND_REPLICA;
    return cl->flags & CLIENT_PUBSUB ? KIND_PUBSUB : KIND_NORMAL;
}

static bool arg_kind(struct call *c, int i, enum kind *ret_kind) {
    static const struct {
        const char *name;
        enum kind kind;
    } names[] = {{"normal", KIND_NORMAL},   {"master", KIND_PRIMARY}, {"primary", KIND_PRIMARY},
                 {"replica", KIND_REPLICA}, {"slave", KIND_REPLICA},  {"pubsub", KIND_PUBSUB}};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        if (slice_is(c->argv[i], names[n].name)) {
            *ret_kind = names[n].kind;
            return true;
        }
    }
    call_errorf(c, "ERR Unknown client type '%.*s'", (int)(c->argv[i].n < 128 ? c->argv[i].n : 128), c->argv[i].p);
    return false;
}

/* ---- LIST, INFO ---- */

struct clients {
    struct client **at;
    size_t count;
    enum kind kind;
};

static void collect(void *arg, struct client *cl) {
    struct clients *l = arg;
    if (l->kind == KIND_ANY || kind_of(cl) == l->kind)
        l->at[l->count++] = cl;
}

static int by_id(const void *a, const void *b) {
    const struct client *x = *(struct client *const *)a, *y = *(struct client *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void list_all(struct call *c, enum kind kind) {
    struct clients l = {mem_calloc(engine_client_count(c->engine) + 1, sizeof(struct client *)), 0, kind};
    struct buf text = BUF_INIT;
    engine_each_client(c->engine, collect, &l);
    qsort(l.at, l.count, sizeof(struct client *), by_id);
    for (size_t i = 0; i < l.count; i++) {
        client_describe(l.at[i], &text);
        buf_append_char(&text, '\n');
    }
    resp_verbatim(c->w, "txt", buf_slice(&text));
    buf_deinit(&text);
    mem_free(l.at);
}

static void list_ids(struct call *c) {
    struct buf text = BUF_INIT;
    for (int i = 3; i < c->argc; i++) {
        int64_t id;
        if (num_parse_i64(c->argv[i], &id) != 0 || id < 0) {
            call_error(c, "ERR Invalid client ID");
            buf_deinit(&text);
            return;
        }
        const struct client *cl = engine_client_by_id(c->engine, (uint64_t)id);
        if (cl == NULL)
            continue;
        client_describe(cl, &text);
        buf_append_char(&text, '\n');
    }
    resp_verbatim(c->w, "txt", buf_slice(&text));
    buf_deinit(&text);
}

static void list_run(struct call *c) {
    enum kind kind = KIND_ANY;
    if (c->argc == 2) {
        list_all(c, kind);
    } else if (c->argc == 4 && slice_is(c->argv[2], "type")) {
        if (arg_kind(c, 3, &kind))
            list_all(c, kind);
    } else if (c->argc > 3 && slice_is(c->argv[2], "id")) {
        list_ids(c);
    } else {
        call_error_syntax(c);
    }
}

static void info_run(struct call *c) {
    struct buf text = BUF_INIT;
    client_describe(c->client, &text);
    buf_append_char(&text, '\n');
    resp_verbatim(c->w, "txt", buf_slice(&text));
    buf_deinit(&text);
}

/* ---- KILL ---- */

struct kill {
    struct call *c;
    uint64_t id;                    /* 0: any */
    struct slice addr, laddr, user; /* p NULL: any */
    enum kind kind;
    int64_t max_age_s; /* 0: any */
    bool skip_me;
    int64_t killed;
};

static bool address_is(struct slice wanted, const struct client *cl, bool local) {
    char text[CONN_ADDR_CHARS] = "";
    if (wanted.p == NULL)
        return true;
    if (cl->conn == NULL)
        return false;
    if (local)
        conn_local_addr(cl->conn, text);
    else
        conn_peer_addr(cl->conn, text);
    return slice_eq(wanted, slice_cstr(text));
}

static void kill_one(struct call *c, struct client *cl) {
    if (cl == c->client)
        client_close_after_reply(cl);
    else
        client_close_asap(cl);
}

static void kill_matching(void *arg, struct client *cl) {
    struct kill *k = arg;
    bool is_me = cl == k->c->client;
    if ((is_me && k->skip_me) || (k->id != 0 && cl->id != k->id) || (k->kind != KIND_ANY && kind_of(cl) != k->kind))
        return;
    if (!address_is(k->addr, cl, false) || !address_is(k->laddr, cl, true))
        return;
    if (k->user.p != NULL && !(cl->authenticated && slice_eq(k->user, slice_cstr(cl->user))))
        return;
    if (k->max_age_s != 0 && (clock_mono_us() - cl->created_us) / 1000000 < k->max_age_s)
        return;
    k->killed++;
    kill_one(k->c, cl);
}

/* One filter at argv[i], its value behind it. */
static bool kill_filter(struct call *c, int i, struct kill *k) {
    struct slice name = c->argv[i], value = c->argv[i + 1];
    if (slice_is(name, "id")) {
        int64_t id;
        if (!call_arg_i64_range(c, i + 1, 1, INT64_MAX, "ERR client-id should be greater than 0", &id))
            return false;
        k->id = (uint64_t)id;
    } else if (slice_is(name, "type")) {
        return arg_kind(c, i + 1, &k->kind);
    } else if (slice_is(name, "addr")) {
        k->addr = value;
    } else if (slice_is(name, "laddr")) {
        k->laddr = value;
    } else if (slice_is(name, "user")) {
        if (!slice_eq(value, SLICE_LIT("default"))) {
            call_errorf(c, "ERR No such user '%.*s'", (int)(value.n < 128 ? value.n : 128), value.p);
            return false;
        }
        k->user = value;
    } else if (slice_is(name, "maxage")) {
        return call_arg_i64_range(c, i + 1, 1, INT64_MAX, "ERR maxage is not an integer or out of range",
                                  &k->max_age_s);
    } else if (slice_is(name, "skipme") && (slice_is(value, "yes") || slice_is(value, "no"))) {
        k->skip_me = slice_is(value, "yes");
    } else {
        call_error_syntax(c);
        return false;
    }
    return true;
}

static void kill_run(struct call *c) {
    struct kill k = {.c = c, .kind = KIND_ANY, .skip_me = true};
    if (c->argc == 3) { /* the old form: an address, the caller's own too */
        k.addr = c->argv[2];
        k.skip_me = false;
        engine_each_client(c->engine, kill_matching, &k);
        if (k.killed == 0)
            call_error(c, "ERR No such client");
        else
            resp_ok(c->w);
        return;
    }
    for (int i = 2; i < c->argc; i += 2) {
        if (i + 1 >= c->argc) {
            call_error_syntax(c);
            return;
        }
        if (!kill_filter(c, i, &k))
            return;
    }
    engine_each_client(c->engine, kill_matching, &k);
    resp_int(c->w, k.killed);
}

/* ---- PAUSE, UNPAUSE, UNBLOCK ---- */

static void pause_run(struct call *c) {
    int64_t ms;
    bool all = true;
    if (c->argc > 4) {
        call_error_syntax(c);
        return;
    }
    if (c->argc == 4 && !slice_is(c->argv[3], "all")) {
        all = false;
        if (!slice_is(c->argv[3], "write")) {
            call_error(c, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    }
    int64_t now_ms = clock_mono_us() / 1000;
    if (!call_arg_i64_range(c, 2, INT64_MIN, INT64_MAX - now_ms, "ERR timeout is not an integer or out of range", &ms))
        return;
    if (ms < 0) {
        call_error(c, "ERR timeout is negative");
        return;
    }
    engine_pause_clients(c->engine, now_ms + ms, all);
    resp_ok(c->w);
}

static void unpause_run(struct call *c) {
    engine_unpause_clients(c->engine);
    resp_ok(c->w);
}

static void unblock_run(struct call *c) {
    int64_t id;
    bool with_error = false;
    if (c->argc > 4) {
        call_error_syntax(c);
        return;
    }
    if (c->argc == 4) {
        with_error = slice_is(c->argv[3], "error");
        if (!with_error && !slice_is(c->argv[3], "timeout")) {
            call_error(c, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return;
        }
    }
    if (!call_arg_i64(c, 2, &id))
        return;
    struct client *cl = id > 0 ? engine_client_by_id(c->engine, (uint64_t)id) : NULL;
    resp_int(c->w, cl != NULL && engine_unblock(c->engine, cl, with_error));
}

/* ---- the connection itself ---- */

static void id_run(struct call *c) {
    resp_int(c->w, (int64_t)c->client->id);
}

static void getname_run(struct call *c) {
    if (c->client->name == NULL)
        resp_null(c->w);
    else
        resp_bulk_cstr(c->w, c->client->name);
}

static void setname_run(struct call *c) {
    if (client_set_name(c->client, c->argv[2]) != 0)
        call_error(c, BAD_NAME);
    else
        resp_ok(c->w);
}

static void setinfo_run(struct call *c) {
    bool is_name = slice_is(c->argv[2], "lib-name");
    struct slice v = c->argv[3];
    if (!is_name && !slice_is(c->argv[2], "lib-ver")) {
        call_errorf(c, "ERR Unrecognized option '%.*s'", (int)(c->argv[2].n < 128 ? c->argv[2].n : 128), c->argv[2].p);
        return;
    }
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '!' || v.p[i] > '~') {
            call_errorf(c, "ERR %s cannot contain spaces, newlines or special characters.",
                        is_name ? "lib-name" : "lib-ver");
            return;
        }
    }
    char **field = is_name ? &c->client->lib_name : &c->client->lib_ver;
    mem_free(*field);
    *field = v.n > 0 ? mem_strndup(v.p, v.n) : NULL;
    resp_ok(c->w);
}

/* The engine takes replies away from the client according to these flags once the command is done. */
static void reply_run(struct call *c) {
    struct client *cl = c->client;
    if (slice_is(c->argv[2], "on")) {
        set_flag(cl, CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT, false);
        cl->w.q = &cl->out;
        resp_ok(c->w);
    } else if (slice_is(c->argv[2], "off")) {
        set_flag(cl, CLIENT_REPLY_OFF, true);
    } else if (slice_is(c->argv[2], "skip")) {
        if ((cl->flags & CLIENT_REPLY_OFF) == 0)
            set_flag(cl, CLIENT_REPLY_SKIP_NEXT, true);
    } else {
        call_error_syntax(c);
    }
}

static void no_evict_run(struct call *c) {
    bool on;
    if (!arg_on_off(c, 2, &on))
        return;
    set_flag(c->client, CLIENT_NO_EVICT, on);
    resp_ok(c->w);
}

static void no_touch_run(struct call *c) {
    bool on;
    if (!arg_on_off(c, 2, &on))
        return;
    set_flag(c->client, CLIENT_NO_TOUCH, on);
    resp_ok(c->w);
}

/* CLIENT WRITE-ACK DEFAULT | LOCAL | REPLICAS <count> [DURABLE] [TIMEOUT <ms>] */
static void write_ack_run(struct call *c) {
    int argc = c->argc - 2;
    struct write_ack_terms terms = client_write_ack(c->client);
    if (argc >= 4 && slice_is(c->argv[c->argc - 2], "timeout")) {
        if (!call_arg_i64_range(c, c->argc - 1, 0, INT32_MAX, "ERR timeout is not an integer or out of range",
                                &terms.timeout_ms))
            return;
        argc -= 2;
    }
    if (argc == 1 && slice_is(c->argv[2], "default")) {
        client_set_write_ack(c->client, NULL);
    } else if (write_ack_parse(c->argv + 2, argc, &terms) == 0) {
        client_set_write_ack(c->client, &terms);
    } else {
        call_error_syntax(c);
        return;
    }
    resp_ok(c->w);
}

/* ---- tracking: there is none, and the questions about it are answered so ---- */

static void tracking_run(struct call *c) {
    bool on;
    if (!arg_on_off(c, 2, &on))
        return;
    if (on)
        call_error(c, "ERR CLIENT TRACKING is not available in this build");
    else
        resp_ok(c->w);
}

static void caching_run(struct call *c) {
    call_error(
        c,
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled");
}

static void getredir_run(struct call *c) {
    resp_int(c->w, -1);
}

static void trackinginfo_run(struct call *c) {
    resp_map(c->w, 3);
    resp_bulk_cstr(c->w, "flags");
    resp_set(c->w, 1);
    resp_bulk_cstr(c->w, "off");
    resp_bulk_cstr(c->w, "redirect");
    resp_int(c->w, -1);
    resp_bulk_cstr(c->w, "prefixes");
    resp_array(c->w, 0);
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "CACHING (YES|NO)",
        "    Answer that tracking is off.",
        "GETNAME",
        "    Return the name of this connection.",
        "GETREDIR",
        "    Return the connection that invalidations go to: -1, tracking is off.",
        "ID",
        "    Return the number of this connection.",
        "INFO",
        "    Describe this connection.",
        "KILL <ip:port>",
        "    Close the connection from that address.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Close every connection that all options match:",
        "    * ADDR (<ip:port>|<unixsocket>:0), LADDR (<ip:port>|<unixsocket>:0)",
        "    * ID <client-id>, TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER <username>",
        "    * MAXAGE <seconds>: open for at least so long",
        "    * SKIPME (YES|NO): spare this connection (default: yes)",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <client-id> [...]]",
        "    Describe the connections, one a line.",
        "NO-EVICT (ON|OFF)",
        "    Spare this connection when maxmemory-clients is exceeded.",
        "NO-TOUCH (ON|OFF)",
        "    Leave the access clock of keys alone.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Make all commands, or writes only, wait for so many milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Choose whether this connection gets replies.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    State the client library and its version.",
        "SETNAME <name>",
        "    Name this connection.",
        "TRACKING (ON|OFF)",
        "    Client-side caching: OFF only.",
        "TRACKINGINFO",
        "    Return the state of tracking.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    End the wait of a blocked client.",
        "UNPAUSE",
        "    End a pause.",
        "WRITE-ACK (DEFAULT|LOCAL|REPLICAS <count> [DURABLE] [TIMEOUT <ms>])",
        "    Choose how many replicas confirm a write before its reply is sent.",
        NULL,
    };
    call_reply_help(c, lines);
}

#define SUB(name_, since_, arity_, flags_, run_)                                                                       \
    {                                                                                                                  \
        .name = name_, .group = "connection", .since = since_, .arity = arity_, .run = run_, .acl = ACL_CONNECTION,    \
        .flags = COMMAND_LOADING | COMMAND_STALE | (flags_)                                                            \
    }
#define SUB_TIPS(name_, since_, arity_, flags_, run_, tips_)                                                           \
    {                                                                                                                  \
        .name = name_, .group = "connection", .since = since_, .arity = arity_, .run = run_, .acl = ACL_CONNECTION,    \
        .flags = COMMAND_LOADING | COMMAND_STALE | (flags_), .tips = tips_                                             \
    }

static const char *const varying[] = {"nondeterministic_output", NULL};
static const char *const everywhere[] = {"request_policy:all_nodes", "response_policy:all_succeeded", NULL};

static const struct command subs[] = {
    SUB("caching", "6.0.0", 3, COMMAND_NOSCRIPT, caching_run),
    SUB("getname", "2.6.9", 2, COMMAND_NOSCRIPT, getname_run),
    SUB("getredir", "6.0.0", 2, COMMAND_NOSCRIPT, getredir_run),
    SUB("help", "5.0.0", 2, 0, help_run),
    SUB("id", "5.0.0", 2, COMMAND_NOSCRIPT, id_run),
    SUB_TIPS("info", "6.2.0", 2, COMMAND_NOSCRIPT, info_run, varying),
    SUB("kill", "2.4.0", -3, COMMAND_ADMIN | COMMAND_NOSCRIPT, kill_run),
    SUB_TIPS("list", "2.4.0", -2, COMMAND_ADMIN | COMMAND_NOSCRIPT, list_run, varying),
    SUB("no-evict", "7.0.0", 3, COMMAND_ADMIN | COMMAND_NOSCRIPT, no_evict_run),
    SUB("no-touch", "7.2.0", 3, COMMAND_NOSCRIPT, no_touch_run),
    SUB("pause", "3.0.0", -3, COMMAND_ADMIN | COMMAND_NOSCRIPT, pause_run),
    SUB("reply", "3.2.0", 3, COMMAND_NOSCRIPT, reply_run),
    SUB_TIPS("setinfo", "7.2.0", 4, COMMAND_NOSCRIPT, setinfo_run, everywhere),
    SUB_TIPS("setname", "2.6.9", 3, COMMAND_NOSCRIPT, setname_run, everywhere),
    SUB("tracking", "6.0.0", -3, COMMAND_NOSCRIPT, tracking_run),
    SUB("trackinginfo", "6.2.0", 2, COMMAND_NOSCRIPT, trackinginfo_run),
    SUB("unblock", "5.0.0", -3, COMMAND_ADMIN | COMMAND_NOSCRIPT, unblock_run),
    SUB("unpause", "6.2.0", 2, COMMAND_ADMIN | COMMAND_NOSCRIPT, unpause_run),
    SUB("write-ack", "7.2.4", -3, COMMAND_NOSCRIPT, write_ack_run),
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "client", .group = "connection", .since = "2.4.0", .arity = -2, .subcommands = subs}};

void client_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
