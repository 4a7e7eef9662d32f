/* DEBUG: looking inside, and breaking things on purpose. Behind enable-debug-command. */
#include "config.h"

#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "persistence/rdb/rdb.h"
#include "server/base/assert.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/base/rng.h"
#include "server/commands/commands.h"
#include "server/commands/digest.h"
#include "server/commands/rows.h"
#include "server/ds/glob.h"
#include "server/ds/listpack.h"
#include "server/ds/quicklist.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"
#include "server/log/changelog.h"

static void not_there(struct call *c, const char *what) {
    call_errorf(c, "ERR DEBUG %s is not available in this build", what);
}

static void reply_outcome(struct call *c, int result, struct buf *error) {
    if (result != 0) {
        buf_append_char(error, '\0');
        call_errorf(c, "ERR %s", error->data);
    } else {
        resp_ok(c->w);
    }
}

/* A switch: 0 is off, any other number on, as Redis reads it. */
static bool arg_switch(struct call *c, int i) {
    return !slice_eq(c->argv[i], SLICE_LIT("0"));
}

/* ---- looking ---- */

static void digest_run(struct call *c) {
    struct digest d;
    char hex[41];
    digest_keyspace(c->ks, &d);
    digest_hex(&d, hex);
    resp_simple(c->w, hex);
}

static void digest_value_run(struct call *c) {
    resp_array(c->w, (size_t)(c->argc - 2));
    for (int i = 2; i < c->argc; i++) {
        struct digest d;
        char hex[41];
        struct keyref key = call_key(c, i);
        const struct entry *e = keyspace_peek(c->ks, c->db, &key);
        digest_init(&d);
        if (e != NULL)
            digest_value(&d, e);
        digest_hex(&d, hex);
        resp_simple(c->w, hex);
    }
}

#define PACKED_THRESHOLD_MAX ((INT64_C(1) << 32) - (1 << 20)) /* bytes */
#define DUMP_AROUND 11 /* type, version and checksum around the value in a DUMP payload */

static void object_run(struct call *c) {
    struct keyref key = call_key(c, 2);
    const struct entry *e = keyspace_peek(c->ks, c->db, &key);
    if (e == NULL) {
        call_error_no_key(c);
        return;
    }
    struct buf payload = BUF_INIT, text = BUF_INIT;
    size_t length = 0;
    if (rdb_dump_value(e, RDB_VERSION_MAX, true, &payload) == 0 && payload.len > DUMP_AROUND)
        length = payload.len - DUMP_AROUND;
    uint32_t idle_s = entry_idle_s(e, call_now_ms(c));
    buf_printf(&text, "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%u lru_seconds_idle:%u",
               (const void *)e, value_encoding_name(entry_encoding(e)), length,
               (unsigned)((uint64_t)(call_now_ms(c) / 1000 - idle_s) & 0xffffff), idle_s);
    buf_append_char(&text, '\0');
    resp_simple(c->w, text.data);
    buf_deinit(&text);
    buf_deinit(&payload);
}

static void htstats_run(struct call *c) {
    int64_t db;
    if (!call_arg_i64(c, 2, &db))
        return;
    if (db < 0 || db >= (int64_t)keyspace_databases(c->ks)) {
        call_error(c, "ERR Out of range database");
        return;
    }
    struct buf text = BUF_INIT;
    keyspace_describe(c->ks, (unsigned)db, c->argc > 3 && slice_is(c->argv[3], "full"), &text);
    resp_verbatim(c->w, "txt", buf_slice(&text));
    buf_deinit(&text);
}

static const struct entry *find_key(struct call *c) {
    struct keyref key = call_key(c, 2);
    const struct entry *e = keyspace_peek(c->ks, c->db, &key);
    if (e == NULL)
        call_error_no_key(c);
    return e;
}

static void htstats_key_run(struct call *c) {
    const struct entry *e = find_key(c);
    if (e == NULL)
        return;
    if (entry_encoding(e) == VALUE_ENC_HASHTABLE || entry_encoding(e) == VALUE_ENC_SKIPLIST)
        not_there(c, "HTSTATS-KEY");
    else
        call_error(c, "ERR The value stored at the specified key is not represented using an hash table");
}

static void listpack_run(struct call *c) {
    const struct entry *e = find_key(c);
    if (e == NULL)
        return;
    if (entry_encoding(e) != VALUE_ENC_LISTPACK && entry_encoding(e) != VALUE_ENC_LISTPACK_EX) {
        call_error(c, "ERR Not a listpack encoded object.");
        return;
    }
    const struct listpack *lp = entry_object(e);
    log_notice("listpack: %u bytes, %u elements", listpack_bytes(lp), listpack_count(lp));
    for (uint32_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at))
        log_notice("  at %u: %s of %u bytes", at, listpack_get(lp, at).is_int ? "an integer" : "text",
                   listpack_element_bytes(listpack_ptr(lp, at)));
    resp_simple(c->w, "Listpack structure printed on stdout");
}

static void quicklist_run(struct call *c) {
    static const char *const kinds[] = {"listpack", "plain", "listpack, LZF", "plain, LZF"};
    int64_t full = 0;
    const struct entry *e = find_key(c);
    if (e == NULL || (c->argc > 3 && !call_arg_i64_range(c, 3, 0, 1, NULL, &full)))
        return;
    if (entry_encoding(e) != VALUE_ENC_QUICKLIST) {
        call_error(c, "ERR Not a quicklist encoded object.");
        return;
    }
    const struct quicklist *ql = entry_object(e);
    log_notice("quicklist: %llu elements in %u nodes of %llu bytes, fill %d, compressed from %u nodes on",
               (unsigned long long)ql->count, ql->nodes, (unsigned long long)ql->bytes, ql->fill, ql->depth);
    for (const struct quicklist_node *n = ql->head; n != NULL && full != 0; n = n->next)
        log_notice("  %s: %u elements, %u bytes, stored in %zu", kinds[n->kind], n->count, n->bytes,
                   quicklist_node_stored(n).n);
    resp_simple(c->w, "Quicklist structure printed on stdout");
}

static void stringmatch_run(struct call *c) {
    int64_t n;
    if (!call_arg_i64_range(c, 2, 0, 1 << 20, "ERR the length must be between 0 and 1048576", &n))
        return;
    char *text = mem_alloc((size_t)n + 1);
    memset(text, 'a', (size_t)n);
    resp_int(c->w, glob_match(c->argv[3], slice_of(text, (size_t)n), false));
    mem_free(text);
}

/* ---- filling, changing ---- */

static bool populate_args(struct call *c, int64_t *ret_count, int64_t *ret_size) {
    *ret_size = 0;
    if (!call_arg_i64_range(c, 2, 0, INT64_MAX, "ERR value is out of range, must be positive", ret_count))
        return false;
    return c->argc < 5 ||
           call_arg_i64_range(c, 4, 0, INT32_MAX, "ERR value is out of range, must be positive", ret_size);
}

/* Fills the database past log and replicas: for tests of memory and speed. */
static void populate_run(struct call *c) {
    int64_t count, size;
    if (c->argc > 5) {
        call_error_arity(c);
        return;
    }
    if (!populate_args(c, &count, &size))
        return;
    struct slice prefix = c->argc > 3 ? c->argv[3] : SLICE_LIT("key");
    struct buf name = BUF_INIT, value = BUF_INIT;
    for (int64_t i = 0; i < count; i++) {
        buf_clear(&name);
        buf_append_slice(&name, prefix);
        buf_append_char(&name, ':');
        buf_append_i64(&name, i);
        struct keyref key = keyspace_key(c->ks, buf_slice(&name));
        if (keyspace_find(c->ks, c->db, &key, KEYSPACE_LOOKUP_NOTOUCH) != NULL)
            continue;
        buf_clear(&value);
        buf_append_cstr(&value, "value:");
        buf_append_i64(&value, i);
        if (size > 0) {
            size_t n = (size_t)size;
            if (value.len < n) {
                buf_reserve(&value, n - value.len);
                memset(value.data + value.len, 0, n - value.len);
            }
            value.len = n;
        }
        keyspace_put(c->ks, c->db, &key, value_string(buf_slice(&value)), KEYSPACE_NO_DEADLINE);
    }
    buf_deinit(&name);
    buf_deinit(&value);
    call_propagate_nothing(c);
    resp_ok(c->w);
}

static void reload_run(struct call *c) {
    const struct debug_hooks *hooks = call_context(c);
    bool merge = false, flush = true, save = true;
    for (int i = 2; i < c->argc; i++) {
        if (slice_is(c->argv[i], "merge")) {
            merge = true;
        } else if (slice_is(c->argv[i], "noflush")) {
            flush = false;
        } else if (slice_is(c->argv[i], "nosave")) {
            save = false;
        } else {
            call_error(c, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
            return;
        }
    }
    if (hooks->reload == NULL) {
        not_there(c, "RELOAD");
        return;
    }
    struct buf error = BUF_INIT;
    reply_outcome(c, hooks->reload(hooks->ctx, merge, flush, save, &error), &error);
    buf_deinit(&error);
}

static void loadaof_run(struct call *c) {
    const struct debug_hooks *hooks = call_context(c);
    if (hooks->load_aof == NULL) {
        not_there(c, "LOADAOF");
        return;
    }
    struct buf error = BUF_INIT;
    reply_outcome(c, hooks->load_aof(hooks->ctx, &error), &error);
    buf_deinit(&error);
}

static void replicate_run(struct call *c) {
    struct command_entry *container;
    const struct command_entry *cmd =
        command_table_resolve(engine_commands(c->engine), c->argv + 2, c->argc - 2, &container);
    if (cmd == NULL || !command_arity_ok(cmd, c->argc - 2) || (cmd->flags & COMMAND_WRITE) == 0) {
        call_error(c, "ERR DEBUG REPLICATE needs a whole write command: anything else in the log could not be loaded");
        return;
    }
    call_propagate(c, c->db, c->argv + 2, c->argc - 2);
    resp_ok(c->w);
}

static void change_repl_id_run(struct call *c) {
    struct changelog *log = engine_log(c->engine);
    struct changelog_history h = *changelog_history(log);
    rng_hex_id(h.id, CHANGELOG_ID_CHARS / 2);
    memset(h.id2, '0', CHANGELOG_ID_CHARS);
    h.id2_offset = -1;
    changelog_set_history(log, &h);
    log_warning("Changing replication IDs after receiving change-repl-id");
    resp_ok(c->w);
}

/* ---- switches ---- */

static void set_active_expire_run(struct call *c) {
    engine_set_active_expire(c->engine, arg_switch(c, 2));
    resp_ok(c->w);
}

static void pause_cron_run(struct call *c) {
    engine_set_cron_paused(c->engine, arg_switch(c, 2));
    resp_ok(c->w);
}

static void dict_resizing_run(struct call *c) {
    keyspace_set_resizing(c->ks, arg_switch(c, 2));
    resp_ok(c->w);
}

static void skip_checksum_run(struct call *c) {
    const struct debug_hooks *hooks = call_context(c);
    if (hooks->skip_checksum == NULL) {
        not_there(c, "SET-SKIP-CHECKSUM-VALIDATION");
        return;
    }
    *hooks->skip_checksum = arg_switch(c, 2);
    resp_ok(c->w);
}

static void pause_after_fork_run(struct call *c) {
    const struct debug_hooks *hooks = call_context(c);
    if (hooks->pause_after_fork == NULL) {
        not_there(c, "PAUSE-AFTER-FORK");
        return;
    }
    hooks->pause_after_fork(hooks->ctx, arg_switch(c, 2));
    resp_ok(c->w);
}

/* Output goes through pooled chunks that a client holds only while it is owed something: there is no buffer to resize
 * and no peak to reset. */
static void replybuffer_run(struct call *c) {
    int64_t ms;
    if (slice_is(c->argv[2], "resizing")) {
        resp_ok(c->w);
    } else if (slice_is(c->argv[2], "peak-reset-time")) {
        if (slice_is(c->argv[3], "never") || slice_is(c->argv[3], "reset") || call_arg_i64(c, 3, &ms))
            resp_ok(c->w);
    } else {
        call_error_subcommand(c);
    }
}

/* Elements of this size and more stand alone in the nodes of lists that are made from now on; 0: as the node's size
 * says. */
static void packed_threshold_run(struct call *c) {
    int64_t bytes;
    if (num_parse_memory(c->argv[2], &bytes) != 0 || bytes < 0 || bytes > PACKED_THRESHOLD_MAX) {
        call_error(c, "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
        return;
    }
    keyspace_rules(c->ks)->list_plain_bytes = (uint32_t)bytes;
    resp_ok(c->w);
}

static void deny_scripts_run(struct call *c) {
    not_there(c, "SET-DISABLE-DENY-SCRIPTS");
}

/* ---- talking ---- */

static void log_run(struct call *c) {
    log_warning("DEBUG LOG: %.*s", (int)(c->argv[2].n < 4096 ? c->argv[2].n : 4096), c->argv[2].p);
    resp_ok(c->w);
}

static void error_run(struct call *c) {
    struct buf text = BUF_INIT;
    buf_append_slice(&text, c->argv[2]);
    buf_append_char(&text, '\0');
    call_error(c, text.data);
    buf_deinit(&text);
}

static void reply_aggregate(struct call *c, void (*open)(struct resp_writer *w, size_t n), bool pairs) {
    open(c->w, 3);
    for (int i = 0; i < 3; i++) {
        resp_int(c->w, i);
        if (pairs)
            resp_bool(c->w, i == 1);
    }
}

static void protocol_run(struct call *c) {
    struct slice type = c->argv[2];
    if (slice_is(type, "string")) {
        resp_bulk_cstr(c->w, "Hello World");
    } else if (slice_is(type, "integer")) {
        resp_int(c->w, 12345);
    } else if (slice_is(type, "double")) {
        resp_double(c->w, 3.141);
    } else if (slice_is(type, "null")) {
        resp_null(c->w);
    } else if (slice_is(type, "array")) {
        reply_aggregate(c, resp_array, false);
    } else if (slice_is(type, "set")) {
        reply_aggregate(c, resp_set, false);
    } else if (slice_is(type, "map")) {
        reply_aggregate(c, resp_map, true);
    } else if (slice_is(type, "attrib")) {
        if (c->w->resp > 2) {
            resp_attribute(c->w, 1);
            resp_bulk_cstr(c->w, "key-popularity");
            resp_array(c->w, 2);
            resp_bulk_cstr(c->w, "key:123");
            resp_int(c->w, 90);
        }
        resp_bulk_cstr(c->w, "Some real reply following the attribute");
    } else if (slice_is(type, "push")) {
        if (c->w->resp < 3) {
            call_error(c, "ERR RESP2 is not supported by this command");
            return;
        }
        resp_push(c->w, 2);
        resp_bulk_cstr(c->w, "server-cpu-usage");
        resp_int(c->w, 42);
        resp_bulk_cstr(c->w, "Some real reply following the push reply");
    } else if (slice_is(type, "true") || slice_is(type, "false")) {
        resp_bool(c->w, slice_is(type, "true"));
    } else if (slice_is(type, "verbatim")) {
        resp_verbatim(c->w, "txt", SLICE_LIT("This is a verbatim\nstring"));
    } else if (slice_is(type, "bignum")) {
        resp_big_number(c->w, SLICE_LIT("1234567999999999999999999999999999999"));
    } else {
        call_error(c, "ERR Wrong protocol type name. Please use one of the following: "
                      "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
    }
}

/* ---- breaking ---- */

static void sleep_run(struct call *c) {
    double seconds = 0;
    if (num_parse_double(c->argv[2], &seconds) != 0 || !(seconds >= 0))
        seconds = 0;
    if (seconds > 86400)
        seconds = 86400;
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0) {
    }
    resp_ok(c->w);
}

static void segfault_run(struct call *c) {
    (void)c;
    volatile char *nowhere = (volatile char *)(uintptr_t)sysconf(_SC_PAGESIZE); /* never mapped */
    *nowhere = 'x';
}

static void assert_run(struct call *c) {
    HF_ASSERT(c == NULL);
}

static void panic_run(struct call *c) {
    (void)c;
    HF_PANIC("called by Unit Test");
}

static void oom_run(struct call *c) {
    (void)c;
    volatile size_t too_much = SIZE_MAX / 2;
    void *p = mem_alloc(too_much); /* aborts */
    mem_free(p);
}

/* ---- the table of subcommands ---- */

struct subcommand {
    const char *name;
    int min, max; /* words behind the name; max -1: any number */
    void (*run)(struct call *c);
};

static const struct subcommand subcommands[] = {
    {"assert", 0, 0, assert_run},
    {"change-repl-id", 0, 0, change_repl_id_run},
    {"dict-resizing", 1, 1, dict_resizing_run},
    {"digest", 0, 0, digest_run},
    {"digest-value", 1, -1, digest_value_run},
    {"error", 1, 1, error_run},
    {"htstats", 1, 2, htstats_run},
    {"htstats-key", 1, 2, htstats_key_run},
    {"listpack", 1, 1, listpack_run},
    {"loadaof", 0, 0, loadaof_run},
    {"log", 1, 1, log_run},
    {"object", 1, 2, object_run},
    {"oom", 0, 0, oom_run},
    {"panic", 0, 0, panic_run},
    {"pause-after-fork", 1, 1, pause_after_fork_run},
    {"pause-cron", 1, 1, pause_cron_run},
    {"populate", 1, 3, populate_run},
    {"protocol", 1, 1, protocol_run},
    {"quicklist", 1, 2, quicklist_run},
    {"quicklist-packed-threshold", 1, 1, packed_threshold_run},
    {"reload", 0, -1, reload_run},
    {"replicate", 1, -1, replicate_run},
    {"replybuffer", 2, 2, replybuffer_run},
    {"segfault", 0, 0, segfault_run},
    {"set-active-expire", 1, 1, set_active_expire_run},
    {"set-disable-deny-scripts", 1, 1, deny_scripts_run},
    {"set-skip-checksum-validation", 1, 1, skip_checksum_run},
    {"sleep", 1, 1, sleep_run},
    {"stringmatch-len", 2, 2, stringmatch_run},
};

static void help(struct call *c) {
    static const char *const lines[] = {
        "ASSERT, OOM, PANIC, SEGFAULT",
        "    Crash in that way.",
        "CHANGE-REPL-ID",
        "    Take a new replication id.",
        "DICT-RESIZING <0|1>",
        "    Forbid or allow hash tables to grow and shrink.",
        "DIGEST",
        "    Return the digest of the data set.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Return the digests of values.",
        "ERROR <text>",
        "    Reply that error.",
        "HTSTATS <db> [full]",
        "    Describe the hash tables of a database.",
        "HTSTATS-KEY <key> [full]",
        "    Describe a collection's hash table.",
        "LISTPACK <key>, QUICKLIST <key> [<0|1>]",
        "    Write the structure of a collection to the log, with 1 every node of a list.",
        "LOADAOF",
        "    Write the AOF out and load it again.",
        "LOG <text>",
        "    Write to the log.",
        "OBJECT <key>",
        "    Describe a value.",
        "PAUSE-AFTER-FORK <0|1>",
        "    Stop the parent after each fork until it gets SIGCONT.",
        "PAUSE-CRON <0|1>",
        "    Stop periodic work.",
        "POPULATE <count> [<prefix> [<size>]]",
        "    Create strings prefix:0 ... without logging them.",
        "PROTOCOL <type>",
        "    Reply a value of that type of the protocol.",
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "    Elements of that size stand alone in the nodes of new lists; 0 for the usual.",
        "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
        "    Save a snapshot and load it again.",
        "REPLICATE <command> [<arg> ...]",
        "    Log a write without executing it.",
        "REPLYBUFFER (PEAK-RESET-TIME <time> | RESIZING <0|1>)",
        "    Accepted; buffers here need neither.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Expire keys on access only, or in the background too.",
        "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
        "    Skip checksums when loading and restoring.",
        "SLEEP <seconds>",
        "    Stop the server for so long.",
        "STRINGMATCH-LEN <length> <pattern>",
        "    Match a pattern with so many letters a.",
        NULL,
    };
    call_reply_help(c, lines);
}

static void debug_run(struct call *c) {
    if (c->argc == 2 && slice_is(c->argv[1], "help")) {
        help(c);
        return;
    }
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++) {
        const struct subcommand *s = &subcommands[i];
        if (slice_is(c->argv[1], s->name) && c->argc - 2 >= s->min && (s->max < 0 || c->argc - 2 <= s->max)) {
            s->run(c);
            return;
        }
    }
    call_error_subcommand(c);
}

static const struct command rows[] = {{.name = "debug",
                                       .group = "server",
                                       .since = "1.0.0",
                                       .arity = -2,
                                       .run = debug_run,
                                       .flags = COMMAND_ADMIN | COMMAND_NOSCRIPT | COMMAND_LOADING | COMMAND_STALE |
                                                COMMAND_PROTECTED | COMMAND_WHOLE_KEYSPACE}};

void debug_commands_register(struct command_table *t, const struct debug_hooks *hooks) {
    command_table_register(t, rows, ROW_COUNT(rows), (void *)(uintptr_t)hooks);
}
