#include "config.h"

#include "server/engine/engine_int.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* What goes to the change log, and in which groups.
 *
 * A command outside a transaction is one group: its own bytes, or the commands it gave with call_propagate(), wrapped
 * in MULTI/EXEC when there are several. Inside EXEC everything is one group that opens with the first change. A key
 * that the keyspace removes by itself is a DEL of its own, before the command that met it; fields of a hash are an
 * HDEL. SELECT precedes a command whose database is not the log's current one. */

/* More keys than this between two sleeps are not worth remembering one by one. */
#define RECENT_MAX 65536

static void remember(struct engine *e, const uint64_t *keys, size_t n) {
    if (n == 0)
        return;
    if (n > RECENT_MAX - e->recent_count) {
        e->recent_lost = true;
        return;
    }
    if (e->recent_count + n > e->recent_cap) {
        e->recent_cap = (e->recent_count + n) * 2;
        e->recent = mem_realloc(e->recent, e->recent_cap * sizeof *e->recent);
    }
    memcpy(e->recent + e->recent_count, keys, n * sizeof *keys);
    e->recent_count += n;
}

void engine_note_log_state(struct engine *e) {
    bool holds = changelog_is_active(e->log) && changelog_holds(e->log);
    uint64_t appended = changelog_appended(e->log);
    bool released = appended <= changelog_released(e->log);
    /* Changes so far were to be released in their own cycle; now they are not: whoever reads one of them waits. */
    if (holds && !e->tracking && !released) {
        for (size_t i = 0; i < e->recent_count; i++)
            inflight_put(&e->inflight, e->recent[i], appended);
        if (e->recent_lost)
            e->inflight.all_offset = appended;
    }
    if (holds || released) {
        e->recent_count = 0;
        e->recent_lost = false;
    }
    e->tracking = holds;
    e->log_full = changelog_is_full(e->log);
}

static void append_cstr(struct engine *e, const char *s) {
    changelog_append(e->log, s, strlen(s));
}

static void append_select(struct engine *e, unsigned db) {
    if (changelog_db(e->log) == (int)db)
        return;
    char digits[NUM_I64_CHARS], len[NUM_I64_CHARS];
    size_t n = num_format_u64(digits, db);
    size_t m = num_format_u64(len, n);
    append_cstr(e, "*2\r\n$6\r\nSELECT\r\n$");
    changelog_append(e->log, len, m);
    append_cstr(e, "\r\n");
    changelog_append(e->log, digits, n);
    append_cstr(e, "\r\n");
    changelog_set_db(e->log, (int)db);
}

static void open_exec(struct engine *e) {
    if (e->in_exec && !e->exec_wrote) {
        append_cstr(e, "*1\r\n$5\r\nMULTI\r\n");
        e->exec_wrote = true;
    }
}

static void close_group(struct engine *e) {
    if (!e->in_exec)
        changelog_end_group(e->log);
}

/* A large argument goes to the log at once, without a detour. */
static void append_large_argv(struct engine *e, const struct slice *argv, int argc) {
    char header[RESP_HEADER_BYTES];
    changelog_append(e->log, header, (size_t)(resp_put_header(header, '*', (uint64_t)argc) - header));
    for (int i = 0; i < argc; i++) {
        changelog_append(e->log, header, (size_t)(resp_put_header(header, '$', argv[i].n) - header));
        changelog_append(e->log, argv[i].p, argv[i].n);
        changelog_append(e->log, "\r\n", 2);
    }
}

static void append_argv(struct engine *e, const struct slice *argv, int argc) {
    if (argv[argc - 1].n >= ENGINE_LARGE_BYTES) {
        append_large_argv(e, argv, argc);
        return;
    }
    struct buf b = BUF_INIT;
    resp_append_command(&b, argv, argc);
    changelog_append(e->log, b.data, b.len);
    buf_deinit(&b);
}

static void log_own(struct engine *e) {
    bool wrap = e->own_count > 1 && !e->in_exec;
    if (e->own_count == 0)
        return;
    append_select(e, e->own[0].db);
    open_exec(e);
    if (wrap)
        append_cstr(e, "*1\r\n$5\r\nMULTI\r\n");
    for (size_t i = 0; i < e->own_count; i++) {
        append_select(e, e->own[i].db);
        changelog_append(e->log, e->own_bytes.data + e->own[i].from, e->own[i].len);
    }
    if (wrap)
        append_cstr(e, "*1\r\n$4\r\nEXEC\r\n");
    close_group(e);
}

static void record_in_flight(struct engine *e, struct client *cl) {
    uint64_t offset = changelog_appended(e->log);
    cl->wait_offset = offset;
    if (!e->tracking) {
        remember(e, e->changed, e->changed_count);
        e->recent_lost = e->recent_lost || e->changed_everything;
        e->changed_count = 0;
        return;
    }
    for (size_t i = 0; i < e->changed_count; i++)
        inflight_put(&e->inflight, e->changed[i], offset);
    e->changed_count = 0;
    if (e->changed_everything)
        e->inflight.all_offset = offset;
    e->changed_everything = false;
}

void engine_log_request(struct engine *e, struct client *cl, const struct call *c, struct slice raw) {
    if (__builtin_expect((cl->flags & CLIENT_PRIMARY) != 0, 0)) {
        if (!e->in_exec)
            record_in_flight(e, cl); /* its bytes are in the log already */
        return;
    }
    if (c->propagate == CALL_PROPAGATE_NOTHING || (c->propagate == CALL_PROPAGATE_REQUEST && c->dirty == 0) ||
        (c->propagate == CALL_PROPAGATE_MESSAGE && !e->replicated))
        return;
    if (c->propagate == CALL_PROPAGATE_OWN) {
        log_own(e);
    } else {
        append_select(e, c->db);
        open_exec(e);
        if (raw.p != NULL)
            changelog_append(e->log, raw.p, raw.n);
        else
            append_argv(e, c->argv, c->argc);
        close_group(e);
    }
    /* Inside EXEC the offset is only known at its end: keys are recorded then. */
    if (!e->in_exec && c->propagate != CALL_PROPAGATE_MESSAGE)
        record_in_flight(e, cl);
}

void engine_log_exec_begin(struct engine *e) {
    e->in_exec = true;
    e->exec_wrote = false;
}

void engine_log_exec_end(struct engine *e) {
    HF_ASSERT(e->in_exec);
    e->in_exec = false;
    if (!e->exec_wrote) {
        if (e->log_active && (e->call->client->flags & CLIENT_PRIMARY) != 0)
            record_in_flight(e, e->call->client);
        return;
    }
    e->exec_wrote = false;
    append_cstr(e, "*1\r\n$4\r\nEXEC\r\n");
    changelog_end_group(e->log);
    record_in_flight(e, e->call->client);
}

/* What the keyspace did to a key by itself. */
static void log_effect(struct engine *e, unsigned db, const struct keyref *key, const struct slice *argv, int argc) {
    append_select(e, db);
    open_exec(e);
    append_argv(e, argv, argc);
    close_group(e);
    uint64_t changed = inflight_key(db, key->hash);
    if (!e->tracking)
        remember(e, &changed, 1);
    else if (!e->in_exec)
        inflight_put(&e->inflight, changed, changelog_appended(e->log));
}

void engine_log_deletion(struct engine *e, unsigned db, const struct keyref *key, bool lazy) {
    if (e->following || !changelog_is_active(e->log))
        return;
    struct slice argv[2] = {lazy ? SLICE_LIT("UNLINK") : SLICE_LIT("DEL"), key->key};
    log_effect(e, db, key, argv, 2);
}

void engine_log_fields_gone(struct engine *e, unsigned db, const struct keyref *key, const struct slice *fields,
                            size_t n) {
    if (e->following || !changelog_is_active(e->log))
        return;
    struct slice *argv = mem_alloc((n + 2) * sizeof *argv);
    argv[0] = SLICE_LIT("HDEL");
    argv[1] = key->key;
    memcpy(argv + 2, fields, n * sizeof *fields);
    log_effect(e, db, key, argv, (int)n + 2);
    mem_free(argv);
}

void engine_propagate(struct engine *e, unsigned db, const struct slice *argv, int argc) {
    if (e->following || !changelog_is_active(e->log))
        return;
    append_select(e, db);
    open_exec(e);
    append_argv(e, argv, argc);
    close_group(e);
}

void call_propagate(struct call *c, unsigned db, const struct slice *argv, int argc) {
    struct engine *e = c->engine;
    c->propagate = CALL_PROPAGATE_OWN;
    if (!e->log_active)
        return;
    if (e->own_count == e->own_cap) {
        e->own_cap = e->own_cap ? e->own_cap * 2 : 16;
        e->own = mem_realloc(e->own, e->own_cap * sizeof *e->own);
    }
    size_t from = e->own_bytes.len;
    resp_append_command(&e->own_bytes, argv, argc);
    e->own[e->own_count++] = (struct pending_command){db, from, e->own_bytes.len - from};
}

bool call_propagates(const struct call *c) {
    return c->engine->log_active;
}

void call_propagate_nothing(struct call *c) {
    c->propagate = CALL_PROPAGATE_NOTHING;
}

void call_propagate_message(struct call *c) {
    c->propagate = CALL_PROPAGATE_MESSAGE;
}

void call_propagate_always(struct call *c) {
    if (c->dirty == 0)
        c->dirty = 1;
}
