/* Groups and their consumers: XGROUP. */
#include "config.h"

#include "server/base/assert.h"
#include "server/commands/rows.h"
#include "server/commands/stream_int.h"

static void error_key_required(struct call *c) {
    call_error(c, "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the "
                  "MKSTREAM option to create an empty stream automatically.");
}

/* MKSTREAM (CREATE only) and ENTRIESREAD, from argument 5 on. */
static bool parse_options(struct call *c, bool creates, bool *ret_mkstream, int64_t *ret_entries_read) {
    *ret_mkstream = false;
    *ret_entries_read = STREAM_ENTRIES_READ_UNKNOWN;
    for (int i = 5; i < c->argc; i++) {
        if (creates && slice_is(c->argv[i], "mkstream")) {
            *ret_mkstream = true;
        } else if (slice_is(c->argv[i], "entriesread") && i + 1 < c->argc) {
            if (!call_arg_i64(c, ++i, ret_entries_read))
                return false;
            if (*ret_entries_read < 0 && *ret_entries_read != STREAM_ENTRIES_READ_UNKNOWN) {
                call_error(c, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            call_error_subcommand(c);
            return false;
        }
    }
    return true;
}

/* "$" or an id in argv[4]; where a group is moved also "-" or "+". */
static bool parse_position(struct call *c, const struct stream *s, bool moves, struct stream_id *ret_id) {
    if (c->argv[4].n == 1 && c->argv[4].p[0] == '$') {
        *ret_id = s != NULL ? s->last_id : STREAM_ID_MIN;
        return true;
    }
    return moves ? stream_arg_id(c, 4, 0, ret_id) : stream_arg_strict_id(c, 4, 0, ret_id, NULL);
}

static void create_run(struct call *c) {
    struct keyref key = call_key(c, 2);
    struct stream *s;
    struct stream_id id;
    bool mkstream;
    int64_t entries_read;
    if (!parse_options(c, true, &mkstream, &entries_read) || !stream_find_write(c, &key, &s))
        return;
    if (s == NULL && !mkstream) {
        error_key_required(c);
        return;
    }
    if (!parse_position(c, s, false, &id))
        return;
    if (s == NULL) {
        struct collection col = {
            .rules = keyspace_rules(c->ks), .encoding = VALUE_ENC_STREAM, .object = s = stream_create()};
        bool stays = call_collection_store(c, &key, NULL, VALUE_STREAM, &col);
        HF_ASSERT(stays);
        (void)stream_group_create(s, c->argv[3], id, entries_read);
        call_changed(c, &key, NOTIFY_STREAM, "xgroup-create");
    } else if (stream_group_create(s, c->argv[3], id, entries_read) != NULL) {
        call_changed_unwatched(c, &key, false);
        call_notify(c, c->db, &key, NOTIFY_STREAM, "xgroup-create");
    } else {
        call_error(c, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    resp_ok(c->w);
}

/* The stream of argv[2]; and its group argv[3], where group_required. */
static bool find_group(struct call *c, const struct keyref *key, bool group_required, struct stream **ret_stream,
                       struct stream_group **ret_group) {
    if (!stream_find_write(c, key, ret_stream))
        return false;
    if (*ret_stream == NULL) {
        error_key_required(c);
        return false;
    }
    *ret_group = stream_group_find(*ret_stream, c->argv[3]);
    if (*ret_group != NULL || !group_required)
        return true;
    call_errorf(c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'", (int)c->argv[3].n, c->argv[3].p,
                (int)key->key.n, key->key.p);
    return false;
}

static void setid_run(struct call *c) {
    struct keyref key = call_key(c, 2);
    struct stream *s;
    struct stream_group *g;
    struct stream_id id;
    bool mkstream;
    int64_t entries_read;
    if (!parse_options(c, false, &mkstream, &entries_read) || !find_group(c, &key, true, &s, &g) ||
        !parse_position(c, s, true, &id))
        return;
    g->last_id = id;
    g->entries_read = entries_read;
    resp_ok(c->w);
    call_changed_unwatched(c, &key, true);
    call_notify(c, c->db, &key, NOTIFY_STREAM, "xgroup-setid");
}

static void destroy_run(struct call *c) {
    struct keyref key = call_key(c, 2);
    struct stream *s;
    struct stream_group *g;
    if (!find_group(c, &key, false, &s, &g))
        return;
    if (g == NULL) {
        resp_int(c->w, 0);
        return;
    }
    stream_group_destroy(s, g);
    resp_int(c->w, 1);
    call_changed_unwatched(c, &key, true); /* who waits for entries of the group is told */
    call_notify(c, c->db, &key, NOTIFY_STREAM, "xgroup-destroy");
}

static void createconsumer_run(struct call *c) {
    struct keyref key = call_key(c, 2);
    struct stream *s;
    struct stream_group *g;
    if (!find_group(c, &key, true, &s, &g))
        return;
    if (stream_consumer_create(g, c->argv[4], call_now_ms(c)) == NULL) {
        resp_int(c->w, 0);
        return;
    }
    resp_int(c->w, 1);
    call_changed_unwatched(c, &key, false);
    call_notify(c, c->db, &key, NOTIFY_STREAM, "xgroup-createconsumer");
}

static void delconsumer_run(struct call *c) {
    struct keyref key = call_key(c, 2);
    struct stream *s;
    struct stream_group *g;
    if (!find_group(c, &key, true, &s, &g))
        return;
    struct stream_consumer *consumer = stream_consumer_find(g, c->argv[4]);
    if (consumer == NULL) {
        resp_int(c->w, 0);
        return;
    }
    resp_int(c->w, (int64_t)consumer->pending.used);
    stream_consumer_destroy(s, g, consumer);
    call_changed_unwatched(c, &key, false);
    call_notify(c, c->db, &key, NOTIFY_STREAM, "xgroup-delconsumer");
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Make a group that reads from behind an id, or from now on. Options are:",
        "    * MKSTREAM",
        "      Make an empty stream where the key is not there.",
        "    * ENTRIESREAD entries_read",
        "      How many entries the group counts as read.",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Make a consumer of a group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove a consumer with what it has pending.",
        "DESTROY <key> <groupname>",
        "    Remove a group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Move a group to an id.",
        NULL,
    };
    call_reply_help(c, lines);
}

#define GROUP_ROW(name_, since_, arity_, flags_, key_flags_, run_)                                                     \
    {                                                                                                                  \
        .name = (name_), .group = "stream", .since = (since_), .arity = (arity_), .flags = COMMAND_WRITE | (flags_),   \
        .acl = ACL_STREAM, .keys = {ROW_KEYS((key_flags_), 2, 0, 1)}, .run = (run_)                                    \
    }

static const struct command subcommands[] = {
    GROUP_ROW("create", "5.0.0", -5, COMMAND_DENYOOM, KEY_RW | KEY_INSERT, create_run),
    GROUP_ROW("createconsumer", "6.2.0", 5, COMMAND_DENYOOM, KEY_RW | KEY_INSERT, createconsumer_run),
    GROUP_ROW("delconsumer", "5.0.0", 5, 0, KEY_RW | KEY_DELETE, delconsumer_run),
    GROUP_ROW("destroy", "5.0.0", 4, 0, KEY_RW | KEY_DELETE, destroy_run),
    {.name = "help",
     .group = "stream",
     .since = "5.0.0",
     .arity = 2,
     .flags = COMMAND_LOADING | COMMAND_STALE,
     .acl = ACL_STREAM,
     .run = help_run},
    GROUP_ROW("setid", "5.0.0", -5, 0, KEY_RW | KEY_UPDATE, setid_run),
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "xgroup", .group = "stream", .since = "5.0.0", .arity = -2, .subcommands = subcommands},
};

void stream_group_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
