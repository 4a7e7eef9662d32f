/* COMMAND: what the command table knows, and which keys a request names. */
#include "config.h"

#include <strings.h>

#include "server/commands/commands.h"
#include "server/commands/docs.h"
#include "server/commands/rows.h"
#include "server/ds/glob.h"
#include "server/engine/call.h"
#include "server/engine/engine.h"

/* ---- INFO ---- */

static void reply_flags(struct call *c, uint32_t flags) {
    struct outq_hole hole = resp_open(c->w);
    size_t n = 0;
    for (unsigned bit = 0; bit < 32; bit++) {
        const char *name = flags >> bit & 1 ? command_flag_name(UINT32_C(1) << bit) : NULL;
        if (name == NULL)
            continue;
        resp_simple(c->w, name);
        n++;
    }
    resp_close_set(c->w, hole, n);
}

static void reply_categories(struct call *c, uint32_t acl) {
    struct outq_hole hole = resp_open(c->w);
    size_t n = 0;
    for (unsigned bit = 0; bit < 32; bit++) {
        char text[32] = "@";
        const char *name = acl >> bit & 1 ? acl_category_name(UINT32_C(1) << bit) : NULL;
        if (name == NULL)
            continue;
        strncat(text, name, sizeof text - 2);
        resp_simple(c->w, text);
        n++;
    }
    resp_close_set(c->w, hole, n);
}

static void reply_key_flags(struct call *c, uint32_t flags) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {KEY_RO, "RO"},
        {KEY_RW, "RW"},
        {KEY_OW, "OW"},
        {KEY_RM, "RM"},
        {KEY_ACCESS, "access"},
        {KEY_UPDATE, "update"},
        {KEY_INSERT, "insert"},
        {KEY_DELETE, "delete"},
        {KEY_NOT_KEY, "not_key"},
        {KEY_INCOMPLETE, "incomplete"},
        {KEY_VARIABLE_FLAGS, "variable_flags"},
    };
    struct outq_hole hole = resp_open(c->w);
    size_t n = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((flags & names[i].bit) == 0)
            continue;
        resp_simple(c->w, names[i].name);
        n++;
    }
    resp_close_set(c->w, hole, n);
}

static void field_int(struct call *c, const char *name, int64_t v) {
    resp_bulk_cstr(c->w, name);
    resp_int(c->w, v);
}

/* {type, spec} with `fields` fields in spec to come. */
static void open_spec(struct call *c, const char *what, const char *type, size_t fields) {
    resp_bulk_cstr(c->w, what);
    resp_map(c->w, 2);
    resp_bulk_cstr(c->w, "type");
    resp_bulk_cstr(c->w, type);
    resp_bulk_cstr(c->w, "spec");
    resp_map(c->w, fields);
}

static void reply_key_spec(struct call *c, const struct key_spec *k) {
    resp_map(c->w, 3);
    resp_bulk_cstr(c->w, "flags");
    reply_key_flags(c, k->flags);
    switch ((enum key_begin)k->begin) {
    case KEY_BEGIN_INDEX:
        open_spec(c, "begin_search", "index", 1);
        field_int(c, "index", k->index);
        break;
    case KEY_BEGIN_KEYWORD:
        open_spec(c, "begin_search", "keyword", 2);
        resp_bulk_cstr(c->w, "keyword");
        resp_bulk_cstr(c->w, k->keyword);
        field_int(c, "startfrom", k->start_from);
        break;
    default:
        open_spec(c, "begin_search", "unknown", 0);
        break;
    }
    switch ((enum key_find)k->find) {
    case KEY_FIND_RANGE:
        open_spec(c, "find_keys", "range", 3);
        field_int(c, "lastkey", k->last);
        field_int(c, "keystep", k->step);
        field_int(c, "limit", k->limit);
        break;
    case KEY_FIND_KEYNUM:
        open_spec(c, "find_keys", "keynum", 3);
        field_int(c, "keynumidx", k->keynum_index);
        field_int(c, "firstkey", k->first_key);
        field_int(c, "keystep", k->keynum_step);
        break;
    case KEY_FIND_UNKNOWN:
        open_spec(c, "find_keys", "unknown", 0);
        break;
    }
}

static void reply_info(struct call *c, const struct command_entry *e) {
    size_t n = 0;
    resp_array(c->w, 10);
    resp_bulk_cstr(c->w, e->full_name);
    resp_int(c->w, e->row->arity);
    reply_flags(c, e->flags);
    resp_int(c->w, e->first_key);
    resp_int(c->w, e->last_key);
    resp_int(c->w, e->key_step);
    reply_categories(c, e->acl);
    while (e->row->tips != NULL && e->row->tips[n] != NULL)
        n++;
    resp_set(c->w, n);
    for (size_t i = 0; i < n; i++)
        resp_bulk_cstr(c->w, e->row->tips[i]);
    for (n = 0; n < COMMAND_KEY_SPECS_MAX && e->row->keys[n].begin != KEY_BEGIN_NONE; n++) {
    }
    resp_set(c->w, n);
    for (size_t i = 0; i < n; i++)
        reply_key_spec(c, &e->row->keys[i]);
    if (e->sub_count == 0)
        resp_set(c->w, 0);
    else
        resp_array(c->w, (size_t)e->sub_count);
    for (int i = 0; i < e->sub_count; i++)
        reply_info(c, &e->subs[i]);
}

static void each_info(void *arg, struct command_entry *e) {
    reply_info(arg, e);
}

static void all_info(struct call *c) {
    const struct command_table *t = engine_commands(c->engine);
    resp_array(c->w, command_table_count(t));
    command_table_each(t, each_info, c);
}

static void info_run(struct call *c) {
    if (c->argc == 2) {
        all_info(c);
        return;
    }
    resp_array(c->w, (size_t)(c->argc - 2));
    for (int i = 2; i < c->argc; i++) {
        const struct command_entry *e = command_table_find_full(engine_commands(c->engine), c->argv[i]);
        if (e == NULL)
            resp_null(c->w);
        else
            reply_info(c, e);
    }
}

static void count_run(struct call *c) {
    resp_int(c->w, (int64_t)command_table_count(engine_commands(c->engine)));
}

/* ---- LIST ---- */

enum filter { FILTER_NONE, FILTER_NOTHING, FILTER_CATEGORY, FILTER_PATTERN };

struct list {
    struct call *c;
    enum filter filter;
    uint32_t category;
    struct slice pattern;
    size_t count;
};

static void list_one(void *arg, struct command_entry *e) {
    struct list *l = arg;
    bool shown = l->filter == FILTER_NONE || (l->filter == FILTER_CATEGORY && (e->acl & l->category) != 0) ||
                 (l->filter == FILTER_PATTERN && glob_match(l->pattern, slice_cstr(e->full_name), true));
    if (shown) {
        resp_bulk_cstr(l->c->w, e->full_name);
        l->count++;
    }
    for (int i = 0; i < e->sub_count; i++)
        list_one(l, &e->subs[i]);
}

static void list_run(struct call *c) {
    struct list l = {.c = c, .filter = FILTER_NONE};
    if (c->argc == 5 && slice_is(c->argv[2], "filterby")) {
        if (slice_is(c->argv[3], "module")) {
            l.filter = FILTER_NOTHING; /* there are none */
        } else if (slice_is(c->argv[3], "aclcat")) {
            l.filter = FILTER_CATEGORY;
            l.category = acl_category_by_name(c->argv[4]);
        } else if (slice_is(c->argv[3], "pattern")) {
            l.filter = FILTER_PATTERN;
            l.pattern = c->argv[4];
        } else {
            call_error_syntax(c);
            return;
        }
    } else if (c->argc != 2) {
        call_error_syntax(c);
        return;
    }
    struct outq_hole hole = resp_open(c->w);
    command_table_each(engine_commands(c->engine), list_one, &l);
    resp_close_array(c->w, hole, l.count);
}

/* ---- DOCS ---- */

static void field_text(struct call *c, const char *name, const char *text, size_t *fields) {
    resp_bulk_cstr(c->w, name);
    resp_bulk_cstr(c->w, text);
    ++*fields;
}

static void reply_doc(struct call *c, const struct command_entry *e) {
    const struct command_doc *doc = command_doc_find(e->full_name);
    size_t fields = 0;
    resp_bulk_cstr(c->w, e->full_name);
    struct outq_hole hole = resp_open(c->w);
    if (doc != NULL)
        field_text(c, "summary", doc->summary, &fields);
    if (e->row->since != NULL)
        field_text(c, "since", e->row->since, &fields);
    if (e->row->group != NULL)
        field_text(c, "group", e->row->group, &fields);
    if (doc != NULL && doc->complexity[0] != '\0')
        field_text(c, "complexity", doc->complexity, &fields);
    if (doc != NULL && doc->deprecated_since != NULL) {
        resp_bulk_cstr(c->w, "doc_flags");
        resp_set(c->w, 1);
        resp_simple(c->w, "deprecated");
        fields++;
        field_text(c, "deprecated_since", doc->deprecated_since, &fields);
    }
    if (doc != NULL && doc->syntax[0] != '\0')
        field_text(c, "syntax", doc->syntax, &fields);
    if (e->sub_count > 0) {
        resp_bulk_cstr(c->w, "subcommands");
        resp_map(c->w, (size_t)e->sub_count);
        for (int i = 0; i < e->sub_count; i++)
            reply_doc(c, &e->subs[i]);
        fields++;
    }
    resp_close_map(c->w, hole, fields);
}

static void each_doc(void *arg, struct command_entry *e) {
    reply_doc(arg, e);
}

static void docs_run(struct call *c) {
    const struct command_table *t = engine_commands(c->engine);
    if (c->argc == 2) {
        resp_map(c->w, command_table_count(t));
        command_table_each(t, each_doc, c);
        return;
    }
    struct outq_hole hole = resp_open(c->w);
    size_t n = 0;
    for (int i = 2; i < c->argc; i++) {
        const struct command_entry *e = command_table_find_full(t, c->argv[i]);
        if (e == NULL)
            continue;
        reply_doc(c, e);
        n++;
    }
    resp_close_map(c->w, hole, n);
}

/* ---- GETKEYS ---- */

static bool names_keys(const struct command *row) {
    bool any = row->get_keys != NULL;
    for (int i = 0; i < COMMAND_KEY_SPECS_MAX && row->keys[i].begin != KEY_BEGIN_NONE; i++)
        any = any || !(row->keys[i].flags & KEY_NOT_KEY);
    return any;
}

static void getkeys(struct call *c, bool with_flags) {
    struct command_entry *container;
    const struct slice *argv = c->argv + 2;
    int argc = c->argc - 2;
    const struct command_entry *e = command_table_resolve(engine_commands(c->engine), argv, argc, &container);
    if (e == NULL) {
        call_error(c, "ERR Invalid command specified");
        return;
    }
    if (!names_keys(e->row)) {
        call_error(c, "ERR The command has no key arguments");
        return;
    }
    if (!command_arity_ok(e, argc)) {
        call_error(c, "ERR Invalid number of arguments specified for command");
        return;
    }
    struct key_positions keys;
    key_positions_init(&keys);
    int result = command_get_keys(e, argv, argc, &keys);
    if (result != 0 || (keys.count == 0 && (e->flags & COMMAND_NO_MANDATORY_KEYS) == 0)) {
        call_error(c, "ERR Invalid arguments specified for command");
    } else {
        resp_array(c->w, (size_t)keys.count);
        for (int i = 0; i < keys.count; i++) {
            if (with_flags)
                resp_array(c->w, 2);
            resp_bulk(c->w, argv[keys.at[i].index]);
            if (with_flags)
                reply_key_flags(c, keys.at[i].flags);
        }
    }
    key_positions_deinit(&keys);
}

static void getkeys_run(struct call *c) {
    getkeys(c, false);
}

static void getkeysandflags_run(struct call *c) {
    getkeys(c, true);
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "(no subcommand)",
        "    Describe all commands.",
        "COUNT",
        "    Return the number of commands.",
        "DOCS [<command-name> ...]",
        "    Return the documentation of these commands, or of all.",
        "GETKEYS <full-command>",
        "    Return the keys that a request names.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys that a request names, and what it does to them.",
        "INFO [<command-name> ...]",
        "    Describe these commands, or all.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Return names of commands.",
        NULL,
    };
    call_reply_help(c, lines);
}

#define FLAGS (COMMAND_LOADING | COMMAND_STALE)
#define SUB(name_, since_, arity_, run_)                                                                               \
    {                                                                                                                  \
        .name = name_, .group = "server", .since = since_, .arity = arity_, .flags = FLAGS, .acl = ACL_CONNECTION,     \
        .run = run_                                                                                                    \
    }
#define SUB_TIPS(name_, since_, arity_, run_)                                                                          \
    {                                                                                                                  \
        .name = name_, .group = "server", .since = since_, .arity = arity_, .flags = FLAGS, .acl = ACL_CONNECTION,     \
        .run = run_, .tips = any_order                                                                                 \
    }

static const char *const any_order[] = {"nondeterministic_output_order", NULL};

static const struct command subs[] = {
    SUB("count", "2.8.13", 2, count_run),      SUB_TIPS("docs", "7.0.0", -2, docs_run),
    SUB("getkeys", "2.8.13", -3, getkeys_run), SUB("getkeysandflags", "7.0.0", -3, getkeysandflags_run),
    SUB("help", "5.0.0", 2, help_run),         SUB_TIPS("info", "2.8.13", -2, info_run),
    SUB_TIPS("list", "7.0.0", -2, list_run),   {.name = NULL},
};

static void command_run(struct call *c) {
    if (c->argc == 1)
        all_info(c);
    else
        call_errorf(c, "ERR unknown subcommand '%.*s'. Try COMMAND HELP.",
                    (int)(c->argv[1].n < 128 ? c->argv[1].n : 128), c->argv[1].p);
}

static const struct command rows[] = {{.name = "command",
                                       .group = "server",
                                       .since = "2.8.13",
                                       .arity = -1,
                                       .flags = FLAGS,
                                       .acl = ACL_CONNECTION,
                                       .run = command_run,
                                       .subcommands = subs,
                                       .tips = any_order}};

void command_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
