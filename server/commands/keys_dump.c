/* Values as bytes: DUMP RESTORE RESTORE-ASKING. */
#include "config.h"

#include "server/commands/keys_int.h"

#include "persistence/rdb/rdb.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"
#include "server/engine/engine.h"

static bool option(const bool *value, bool initial) {
    return value == NULL ? initial : *value;
}

static void dump_run(struct call *c) {
    const struct keys_hooks *hooks = call_context(c);
    struct keyref key = call_key(c, 1);
    const struct entry *e = call_find_read(c, &key);
    if (e == NULL) {
        resp_null(c->w);
        return;
    }
    struct buf payload = BUF_INIT;
    if (rdb_dump_value(e, RDB_VERSION_MAX, option(hooks->dump_compress, true), &payload) < 0)
        call_error(c, "ERR no version of the snapshot format holds this value");
    else
        resp_bulk(c->w, buf_slice(&payload));
    buf_deinit(&payload);
}

struct restore_options {
    bool replace, absolute;
    int64_t idle_s, freq; /* -1: not given */
};

static bool parse_restore(struct call *c, struct restore_options *o) {
    *o = (struct restore_options){.idle_s = -1, .freq = -1};
    for (int i = 4; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (slice_is(c->argv[i], "replace")) {
            o->replace = true;
        } else if (slice_is(c->argv[i], "absttl")) {
            o->absolute = true;
        } else if (slice_is(c->argv[i], "idletime") && more && o->freq < 0) {
            if (!call_arg_i64(c, ++i, &o->idle_s))
                return false;
            if (o->idle_s < 0) {
                call_error(c, "ERR Invalid IDLETIME value, must be >= 0");
                return false;
            }
        } else if (slice_is(c->argv[i], "freq") && more && o->idle_s < 0) {
            if (!call_arg_i64(c, ++i, &o->freq))
                return false;
            if (o->freq < 0 || o->freq > 255) {
                call_error(c, "ERR Invalid FREQ value, must be >= 0 and <= 255");
                return false;
            }
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    return true;
}

/* The request with an absolute time in place of a relative one. */
static void propagate_absolute(struct call *c, int64_t deadline_ms) {
    char digits[NUM_I64_CHARS];
    struct slice *argv = mem_alloc((size_t)(c->argc + 1) * sizeof *argv);
    memcpy(argv, c->argv, (size_t)c->argc * sizeof *argv);
    argv[0] = SLICE_LIT("RESTORE");
    argv[2] = slice_of(digits, num_format_i64(digits, deadline_ms));
    argv[c->argc] = SLICE_LIT("ABSTTL");
    call_propagate(c, c->db, argv, c->argc + 1);
    mem_free(argv);
}

/* Due already: nothing appears, and what REPLACE would have replaced is gone. */
static void restore_due(struct call *c, const struct keyref *key, bool exists, struct value v) {
    value_free(v);
    if (exists)
        keys_remove_due(c, key);
    resp_ok(c->w);
}

static void restore_run(struct call *c) {
    const struct keys_hooks *hooks = call_context(c);
    struct restore_options o;
    if (!parse_restore(c, &o))
        return;
    struct keyref key = call_key(c, 1);
    bool exists = call_find_write(c, &key) != NULL;
    if (exists && !o.replace) {
        call_error(c, "BUSYKEY Target key name already exists.");
        return;
    }
    int64_t ttl_ms, deadline_ms = KEYSPACE_NO_DEADLINE;
    if (!call_arg_i64(c, 2, &ttl_ms))
        return;
    if (ttl_ms < 0 || (!o.absolute && num_add_i64(ttl_ms, call_now_ms(c), &deadline_ms))) {
        call_error(c, "ERR Invalid TTL value, must be >= 0");
        return;
    }
    if (ttl_ms == 0)
        deadline_ms = KEYSPACE_NO_DEADLINE;
    else if (o.absolute)
        deadline_ms = ttl_ms;

    struct value v;
    const char *error;
    /* Whoever sends a payload: it is validated in full, whatever sanitize-dump-payload says of snapshots. */
    const struct rdb_load_context with = {.rules = keyspace_rules(c->ks), .deep = true, .now_ms = call_now_ms(c)};
    if (rdb_restore_value(c->argv[3], &with, option(hooks->restore_skip_checksum, false), &v, &error) < 0) {
        call_errorf(c, "ERR %s", error);
        return;
    }
    engine_stats(c->engine)->dump_sanitizations++;
    if (ttl_ms != 0 && keys_deadline_passed(c, deadline_ms)) {
        restore_due(c, &key, exists, v);
        return;
    }
    struct entry *e = keyspace_put(c->ks, c->db, &key, v, deadline_ms);
    keyspace_set_access(c->ks, e, o.idle_s, (int)o.freq);
    if (exists)
        keys_notify_renewed(c, c->db, &key);
    call_changed(c, &key, NOTIFY_GENERIC, "restore");
    if (ttl_ms != 0 && !o.absolute)
        propagate_absolute(c, deadline_ms);
    resp_ok(c->w);
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "dump",
     .group = "generic",
     .since = "2.6.0",
     .arity = 2,
     .flags = COMMAND_READONLY,
     .acl = ACL_KEYSPACE,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = nondeterministic,
     .run = dump_run},
    {.name = "restore",
     .group = "generic",
     .since = "2.6.0",
     .arity = -4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .keys = {ROW_KEY(KEY_OW | KEY_UPDATE)},
     .run = restore_run},
    {.name = "restore-asking",
     .group = "server",
     .since = "3.0.0",
     .arity = -4,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_ASKING,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .keys = {ROW_KEY(KEY_OW | KEY_UPDATE)},
     .run = restore_run},
};

void keys_dump_register(struct command_table *t, const struct keys_hooks *hooks) {
    command_table_register(t, rows, ROW_COUNT(rows), (void *)(uintptr_t)hooks);
}
