/* Entries come and the oldest go: XADD XTRIM XLEN XSETID. */
#include "config.h"

#include "server/commands/stream_int.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"

/* ---- options of XADD and XTRIM ---- */

struct add_options {
    bool trims, no_mkstream;
    bool auto_id, auto_seq; /* "*", "ms-*" */
    bool limit_given;
    int threshold_arg; /* 0: none */
    int limit_arg;     /* the word LIMIT; 0: none */
    int refs_arg;      /* 0: none */
    int id_arg;
    int64_t limit;
    struct stream_id id;
    struct stream_trim trim;
};

/* MAXLEN or MINID at argv[i], with "~" or "=" and the threshold; *inout_i is the threshold's place then. */
static bool parse_threshold(struct call *c, int *inout_i, bool by_id, struct add_options *o) {
    int i = *inout_i + 1;
    bool more = i + 1 < c->argc;
    if (o->trims) {
        call_error(c, "ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
        return false;
    }
    o->trim.approximate = more && slice_is(c->argv[i], "~");
    if (o->trim.approximate || (more && slice_is(c->argv[i], "=")))
        i++;
    int64_t n = 0;
    if (by_id) {
        if (!stream_arg_strict_id(c, i, 0, &o->trim.min_id, NULL))
            return false;
    } else if (!call_arg_i64(c, i, &n)) {
        return false;
    }
    if (n < 0) {
        call_error(c, "ERR The MAXLEN argument must be >= 0.");
        return false;
    }
    o->trims = true;
    o->trim.by_id = by_id;
    o->trim.max_length = (uint64_t)n;
    o->threshold_arg = *inout_i = i;
    return true;
}

static bool parse_limit(struct call *c, int i, struct add_options *o) {
    if (!call_arg_i64(c, i + 1, &o->limit))
        return false;
    if (o->limit < 0) {
        call_error(c, "ERR The LIMIT argument must be >= 0.");
        return false;
    }
    o->limit_given = true;
    o->limit_arg = i;
    return true;
}

/* What an approximate trim does at most where nobody says: so many nodes' worth. */
static int64_t usual_limit(const struct call *c) {
    int64_t entries = keyspace_rules(c->ks)->limits.stream_node_max_entries, n;
    if (num_mul_i64(entries, 100, &n) || n > 1000000)
        return 1000000;
    return n <= 0 ? 10000 : n;
}

/* Whether the options go together; the limit as it holds. */
static bool settle_options(struct call *c, bool xadd, struct add_options *o) {
    if (o->limit != 0 && !o->trims) {
        call_error(c, "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
        return false;
    }
    if (!xadd && !o->trims) {
        call_error(c, "ERR syntax error, XTRIM must be called with a trimming strategy");
        return false;
    }
    if (c->client->flags & CLIENT_MUST_OBEY) {
        o->trim.limit = 0; /* who sent this has looked to it */
        return true;
    }
    if (o->limit_given && !o->trim.approximate) {
        call_error(c, "ERR syntax error, LIMIT cannot be used without the special ~ option");
        return false;
    }
    if (o->trim.approximate)
        o->trim.limit = (uint64_t)(o->limit_given ? o->limit : usual_limit(c));
    return true;
}

static bool parse_options(struct call *c, bool xadd, struct add_options *o) {
    *o = (struct add_options){0};
    for (int i = 2; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (xadd && slice_is(c->argv[i], "*")) {
            o->id_arg = i;
            o->auto_id = true;
            break;
        } else if (more && (slice_is(c->argv[i], "maxlen") || slice_is(c->argv[i], "minid"))) {
            if (!parse_threshold(c, &i, slice_is(c->argv[i], "minid"), o))
                return false;
        } else if (more && slice_is(c->argv[i], "limit")) {
            if (!parse_limit(c, i++, o))
                return false;
        } else if (stream_refs_parse(c->argv[i], &o->trim.refs)) {
            if (o->refs_arg != 0) {
                call_error_syntax(c);
                return false;
            }
            o->refs_arg = i;
        } else if (xadd && slice_is(c->argv[i], "nomkstream")) {
            o->no_mkstream = true;
        } else if (xadd) {
            if (!stream_arg_strict_id(c, i, 0, &o->id, &o->auto_seq))
                return false;
            o->id_arg = i;
            break;
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    return settle_options(c, xadd, o);
}

/* ---- trimming ---- */

/* *effects is filled where references are of interest. */
static uint64_t trim(struct call *c, struct stream *s, struct add_options *o, struct stream_effects *effects) {
    *effects = (struct stream_effects){.s = s};
    if (o->trim.refs != STREAM_KEEPREF && call_propagates(c)) {
        o->trim.each = stream_effects_note;
        o->trim.arg = effects;
    }
    return stream_trim(s, &o->trim);
}

/* The threshold that does exactly what was done. */
static void exact_threshold(const struct stream *s, const struct add_options *o, struct slice argv[3],
                            char text[STREAM_ID_CHARS]) {
    bool by_id = o->trim.by_id;
    struct stream_id id = o->trim.min_id;
    uint64_t length = o->trim.max_length;
    if (o->trim.approximate) {
        by_id = by_id && s->length != 0; /* an empty stream has no first id */
        id = s->first_id;
        length = s->length;
    }
    argv[0] = by_id ? SLICE_LIT("MINID") : SLICE_LIT("MAXLEN");
    argv[1] = SLICE_LIT("=");
    argv[2] = slice_of(text, by_id ? stream_id_format(text, id) : num_format_u64(text, length));
}

/* The request as what it did: the id that was given, an exact threshold; and what became of references. */
static void propagate(struct call *c, const struct stream *s, const struct add_options *o, struct stream_id id,
                      const struct stream_effects *effects) {
    bool acked = o->trim.refs == STREAM_ACKED;
    struct slice *argv = mem_alloc((size_t)(c->argc + 3) * sizeof *argv);
    char id_text[STREAM_ID_CHARS], threshold[STREAM_ID_CHARS];
    int argc = 2;
    argv[0] = c->argv[0];
    argv[1] = c->argv[1];
    if (o->trims && !acked) {
        exact_threshold(s, o, &argv[argc], threshold);
        argc += 3;
    }
    if (o->id_arg != 0) {
        argv[argc++] = slice_of(id_text, stream_id_format(id_text, id));
        for (int i = o->id_arg + 1; i < c->argc; i++)
            argv[argc++] = c->argv[i];
    }
    if (argc > 2)
        call_propagate(c, c->db, argv, argc);
    mem_free(argv);
    stream_effects_propagate(c, effects, c->argv[1], acked);
}

static bool is_plain(const struct add_options *o) {
    return !o->trim.approximate && o->refs_arg == 0;
}

static void xtrim_run(struct call *c) {
    struct add_options o;
    struct stream_effects effects;
    struct stream *s;
    if (!parse_options(c, false, &o))
        return;
    struct keyref key = call_key(c, 1);
    if (!stream_find_write(c, &key, &s))
        return;
    if (s == NULL) {
        resp_int(c->w, 0);
        return;
    }
    uint64_t gone = trim(c, s, &o, &effects);
    if (gone != 0) {
        call_changed(c, &key, NOTIFY_STREAM, "xtrim");
        if (!is_plain(&o) && call_propagates(c))
            propagate(c, s, &o, STREAM_ID_MIN, &effects);
    }
    stream_effects_deinit(&effects);
    resp_int(c->w, (int64_t)gone);
}

/* ---- adding ---- */

/* The id that the new entry gets; s is NULL for a stream that is still to be made. */
static bool choose_id(struct call *c, const struct stream *s, const struct add_options *o, struct stream_id *ret_id) {
    static const struct stream nothing;
    if (s == NULL)
        s = &nothing;
    if (s->last_id.ms == UINT64_MAX && s->last_id.seq == UINT64_MAX) {
        call_error(c, "ERR The stream has exhausted the last possible ID, unable to add more items");
        return false;
    }
    struct stream_id id = o->id;
    bool behind = true;
    if (o->auto_id) {
        behind = stream_next_id(s, call_now_ms(c), &id);
    } else if (o->auto_seq && id.ms == s->last_id.ms) {
        behind = s->last_id.seq != UINT64_MAX;
        id.seq = behind ? s->last_id.seq + 1 : 0;
    }
    if (!behind || stream_id_compare(id, s->last_id) <= 0) {
        call_error(c, "ERR The ID specified in XADD is equal or smaller than the target stream top item");
        return false;
    }
    *ret_id = id;
    return true;
}

static void xadd_run(struct call *c) {
    struct add_options o;
    struct stream *s;
    struct stream_id id;
    struct stream_effects effects = {0};
    if (!parse_options(c, true, &o))
        return;
    int first = o.id_arg + 1;
    if (o.id_arg == 0 || c->argc - first < 2 || (c->argc - first) % 2 != 0) {
        call_error_arity(c);
        return;
    }
    if (!o.auto_id && !o.auto_seq && stream_id_is_zero(o.id)) {
        call_error(c, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }
    struct keyref key = call_key(c, 1);
    if (!stream_find_write(c, &key, &s))
        return;
    if (s == NULL && o.no_mkstream) {
        resp_null(c->w);
        return;
    }
    if (!choose_id(c, s, &o, &id))
        return;
    struct stream *made = s == NULL ? stream_create() : NULL;
    if (made != NULL)
        s = made;
    if (stream_append(s, &keyspace_rules(c->ks)->limits, id, &c->argv[first], (size_t)(c->argc - first) / 2) != 0) {
        if (made != NULL)
            stream_destroy(made);
        call_error(c, "ERR Elements are too large to be stored");
        return;
    }
    if (made != NULL) {
        struct collection col = {.rules = keyspace_rules(c->ks), .encoding = VALUE_ENC_STREAM, .object = made};
        bool stays = call_collection_store(c, &key, NULL, VALUE_STREAM, &col);
        HF_ASSERT(stays);
    }
    stream_reply_id(c, id);
    call_changed(c, &key, NOTIFY_STREAM, "xadd");
    if (o.trims && trim(c, s, &o, &effects) != 0)
        call_notify(c, c->db, &key, NOTIFY_STREAM, "xtrim");
    if ((o.auto_id || o.auto_seq || (o.trims && !is_plain(&o)) || o.refs_arg != 0) && call_propagates(c))
        propagate(c, s, &o, id, &effects);
    stream_effects_deinit(&effects);
}

static void xlen_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct stream *s;
    if (stream_find_read(c, &key, &s))
        resp_int(c->w, s != NULL ? (int64_t)s->length : 0);
}

/* ---- XSETID ---- */

struct setid_options {
    struct stream_id max_deleted;
    int64_t entries_added; /* -1: not given */
};

static bool parse_setid(struct call *c, struct stream_id id, struct setid_options *o) {
    *o = (struct setid_options){.entries_added = -1};
    for (int i = 3; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && slice_is(c->argv[i], "entriesadded")) {
            if (!call_arg_i64(c, i + 1, &o->entries_added))
                return false;
            if (o->entries_added < 0) {
                call_error(c, "ERR entries_added must be positive");
                return false;
            }
        } else if (more && slice_is(c->argv[i], "maxdeletedid")) {
            if (!stream_arg_strict_id(c, i + 1, 0, &o->max_deleted, NULL))
                return false;
            if (stream_id_compare(id, o->max_deleted) < 0) {
                call_error(c, "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
                return false;
            }
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    return true;
}

static void xsetid_run(struct call *c) {
    struct stream_id id, last;
    struct setid_options o;
    struct stream *s;
    if (!stream_arg_strict_id(c, 2, 0, &id, NULL) || !parse_setid(c, id, &o))
        return;
    struct keyref key = call_key(c, 1);
    if (!stream_find_write(c, &key, &s))
        return;
    if (s == NULL) {
        call_error_no_key(c);
        return;
    }
    if (stream_edge(s, false, &last) && stream_id_compare(id, last) < 0) {
        call_error(c, "ERR The ID specified in XSETID is smaller than the target stream top item");
        return;
    }
    if (o.entries_added >= 0 && s->length > (uint64_t)o.entries_added) {
        call_error(c, "ERR The entries_added specified in XSETID is smaller than the target stream length");
        return;
    }
    s->last_id = id;
    if (o.entries_added >= 0)
        s->entries_added = (uint64_t)o.entries_added;
    if (!stream_id_is_zero(o.max_deleted))
        s->max_deleted_id = o.max_deleted;
    resp_ok(c->w);
    call_changed_unwatched(c, &key, false);
    call_notify(c, c->db, &key, NOTIFY_STREAM, "xsetid");
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "xadd",
     .group = "stream",
     .since = "5.0.0",
     .arity = -5,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .tips = nondeterministic,
     .run = xadd_run},
    {.name = "xtrim",
     .group = "stream",
     .since = "5.0.0",
     .arity = -4,
     .flags = COMMAND_WRITE,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_DELETE)},
     .tips = nondeterministic,
     .run = xtrim_run},
    {.name = "xlen",
     .group = "stream",
     .since = "5.0.0",
     .arity = 2,
     .flags = COMMAND_READONLY | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RO)},
     .run = xlen_run},
    {.name = "xsetid",
     .group = "stream",
     .since = "5.0.0",
     .arity = -3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
     .acl = ACL_STREAM,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .run = xsetid_run},
};

void stream_add_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
