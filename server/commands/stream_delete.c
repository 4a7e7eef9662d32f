/* Entries go one by one: XDEL XDELEX XACKDEL. */
#include "config.h"

#include "server/commands/stream_int.h"

#include <limits.h>

#include "server/base/mem.h"
#include "server/commands/rows.h"

/* The ids in argv[first …]; NULL and an error where one is none. */
static struct stream_id *parse_ids(struct call *c, int first, size_t n) {
    struct stream_id *ids = mem_alloc(n * sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        if (!stream_arg_strict_id(c, first + (int)i, 0, &ids[i], NULL)) {
            mem_free(ids);
            return NULL;
        }
    }
    return ids;
}

static void xdel_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct stream *s;
    if (!stream_find_write(c, &key, &s))
        return;
    if (s == NULL) {
        resp_int(c->w, 0);
        return;
    }
    size_t n = (size_t)(c->argc - 2);
    int64_t gone = 0;
    struct stream_id *ids = parse_ids(c, 2, n);
    if (ids == NULL)
        return;
    for (size_t i = 0; i < n; i++)
        gone += stream_delete(s, ids[i]);
    mem_free(ids);
    if (gone != 0)
        call_changed(c, &key, NOTIFY_STREAM, "xdel");
    resp_int(c->w, gone);
}

/* ---- with references: [KEEPREF | DELREF | ACKED] IDS n id … ---- */

enum outcome { NO_ENTRY = -1, DELETED = 1, STILL_NEEDED = 2 };

struct ex_options {
    enum stream_refs refs;
    struct stream_id *ids;
    size_t count;
};

static bool parse_ex(struct call *c, int from, struct ex_options *o) {
    bool refs_given = false, ids_given = false;
    int first = 0;
    *o = (struct ex_options){.refs = STREAM_KEEPREF};
    for (int i = from; i < c->argc; i++) {
        int64_t n;
        if (!refs_given && stream_refs_parse(c->argv[i], &o->refs)) {
            refs_given = true;
        } else if (!ids_given && i + 1 < c->argc && slice_is(c->argv[i], "ids")) {
            if (!call_arg_i64_range(c, i + 1, 1, INT_MAX, "ERR Number of IDs must be a positive integer", &n))
                return false;
            if (n > c->argc - (i + 2)) {
                call_error(c, "ERR The `numids` parameter must match the number of arguments");
                return false;
            }
            ids_given = true;
            first = i + 2;
            o->count = (size_t)n;
            i = first + (int)n - 1;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    if (!ids_given) {
        call_error_syntax(c);
        return false;
    }
    o->ids = parse_ids(c, first, o->count);
    return o->ids != NULL;
}

static void reply_no_entries(struct call *c, size_t n) {
    resp_array(c->w, n);
    for (size_t i = 0; i < n; i++)
        resp_int(c->w, NO_ENTRY);
}

/* Deletes an entry that is there, unless it is still needed. */
static enum outcome delete_entry(struct stream *s, enum stream_refs refs, struct stream_id id,
                                 struct stream_effects *effects) {
    if (refs == STREAM_ACKED && stream_is_referenced(s, id))
        return STILL_NEEDED;
    if (refs == STREAM_DELREF) {
        stream_effects_note(effects, id);
        for (size_t i = 0; i < s->groups.count; i++)
            (void)stream_pending_remove(s, stream_group_at(s, i), id);
    } else {
        struct stream_id *more = effects->ids;
        if (effects->count == effects->cap) {
            effects->cap = effects->cap != 0 ? 2 * effects->cap : 16;
            effects->ids = more = mem_realloc(more, effects->cap * sizeof *more);
        }
        more[effects->count++] = id;
    }
    (void)stream_delete(s, id);
    return DELETED;
}

/* What was done, as commands that every server knows. */
static void announce(struct call *c, const struct keyref *key, const struct stream_effects *effects) {
    if (effects->count == 0 && effects->ack_count == 0)
        return;
    if (effects->count != 0)
        call_changed(c, key, NOTIFY_STREAM, "xdel");
    else
        call_changed_unwatched(c, key, false);
    if (call_propagates(c))
        stream_effects_propagate(c, effects, key->key, true);
}

static void xdelex_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct ex_options o;
    struct stream *s;
    if (!stream_find_write(c, &key, &s) || !parse_ex(c, 2, &o))
        return;
    if (s == NULL) {
        reply_no_entries(c, o.count);
        mem_free(o.ids);
        return;
    }
    struct stream_effects effects = {.s = s};
    resp_array(c->w, o.count);
    for (size_t i = 0; i < o.count; i++)
        resp_int(c->w, stream_contains(s, o.ids[i]) ? (int64_t)delete_entry(s, o.refs, o.ids[i], &effects) : NO_ENTRY);
    announce(c, &key, &effects);
    stream_effects_deinit(&effects);
    mem_free(o.ids);
}

static size_t index_of(const struct stream *s, const struct stream_group *g) {
    size_t i = 0;
    while (stream_group_at(s, i) != g)
        i++;
    return i;
}

/* An id that is pending in the group is acknowledged; then its entry goes as XDELEX has it. An entry that is gone
 * already counts as deleted. */
static void xackdel_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct ex_options o;
    struct stream *s;
    if (!stream_find_write(c, &key, &s) || !parse_ex(c, 3, &o))
        return;
    struct stream_group *g = s != NULL ? stream_group_find(s, c->argv[2]) : NULL;
    if (g == NULL) {
        reply_no_entries(c, o.count);
        mem_free(o.ids);
        return;
    }
    struct stream_effects effects = {.s = s};
    const size_t index = index_of(s, g);
    resp_array(c->w, o.count);
    for (size_t i = 0; i < o.count; i++) {
        struct stream_id id = o.ids[i];
        enum outcome outcome = NO_ENTRY;
        if (stream_pending_remove(s, g, id)) {
            stream_effects_note_ack(&effects, index, id);
            outcome = stream_contains(s, id) ? delete_entry(s, o.refs, id, &effects) : DELETED;
        }
        resp_int(c->w, (int64_t)outcome);
    }
    announce(c, &key, &effects);
    stream_effects_deinit(&effects);
    mem_free(o.ids);
}

static const struct command rows[] = {
    {.name = "xdel",
     .group = "stream",
     .since = "5.0.0",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_DELETE)},
     .run = xdel_run},
    {.name = "xdelex",
     .group = "stream",
     .since = "8.2.0",
     .arity = -5,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_DELETE)},
     .run = xdelex_run},
    {.name = "xackdel",
     .group = "stream",
     .since = "8.2.0",
     .arity = -6,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_DELETE)},
     .run = xackdel_run},
};

void stream_delete_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
