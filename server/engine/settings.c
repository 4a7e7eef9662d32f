#include "config.h"

#include "server/engine/settings.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/ds/glob.h"
#include "server/engine/settings_int.h"

/* The registry and CONFIG SET.
 *
 * Options live in one array in order of registration; a few hundred are looked up by walking it, which no hot path
 * does.
 *
 * Invariants:
 *  1. A field always holds a value that its row accepts.
 *  2. After settings_set() fails, every field has the value it had before, and so has everything that apply() acted on.
 *  3. apply() runs once for each (function, context) of a change, after all fields stand.
 */

struct settings *settings_create(void) {
    struct settings *s = mem_calloc(1, sizeof *s);
    s->file = mem_strdup("");
    s->start_dir = mem_strdup(".");
    return s;
}

void settings_destroy(struct settings *s) {
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        struct setting_state *st = &s->states[i];
        setting_free_field(st);
        mem_free(st->initial_text);
        mem_free(st->file_text);
        mem_free(st->file_words);
        mem_free(st->start_text);
    }
    mem_free(s->states);
    mem_free(s->file);
    mem_free(s->start_dir);
    mem_free(s->overlay_path);
    mem_free(s);
}

void settings_register(struct settings *s, const struct setting *rows, size_t count, void *base, void *ctx) {
    for (size_t i = 0; i < count; i++) {
        HF_ASSERT(settings_find(s, slice_cstr(rows[i].name)) == NULL);
        HF_ASSERT(rows[i].alias == NULL || settings_find(s, slice_cstr(rows[i].alias)) == NULL);
        if (s->count == s->cap) {
            s->cap = s->cap == 0 ? 64 : s->cap * 2;
            s->states = mem_realloc(s->states, s->cap * sizeof *s->states);
        }
        struct setting_state *st = &s->states[s->count++];
        *st = (struct setting_state){.row = &rows[i], .base = base, .ctx = ctx};
        setting_init_field(st);
        st->initial_text = setting_text_cstr(st);
    }
}

struct setting_state *settings_find(const struct settings *s, struct slice name) {
    for (size_t i = 0; i < s->count; i++) {
        const struct setting *row = s->states[i].row;
        if (slice_is(name, row->name) || (row->alias != NULL && slice_is(name, row->alias)))
            return &s->states[i];
    }
    return NULL;
}

const char *settings_file(const struct settings *s) {
    return s->file;
}

/* ---- applying --------------------------------------------------------------------------------------------------- */

typedef int apply_fn(void *ctx, struct buf *error);
struct apply_one {
    apply_fn *fn;
    void *ctx;
    const struct setting_state *because;
};
struct apply_list {
    struct apply_one *at;
    size_t count;
};

static void apply_add(struct apply_list *list, const struct setting_state *st) {
    if (st->row->apply == NULL)
        return;
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].fn == st->row->apply && list->at[i].ctx == st->ctx)
            return;
    list->at[list->count++] = (struct apply_one){st->row->apply, st->ctx, st};
}

/* Runs the list in order. NULL, or the option whose apply() failed; *ret_done is how many were tried. */
static const struct setting_state *apply_run(const struct apply_list *list, size_t *ret_done, struct buf *error) {
    for (size_t i = 0; i < list->count; i++) {
        *ret_done = i + 1;
        if (list->at[i].fn(list->at[i].ctx, error) != 0)
            return list->at[i].because;
    }
    return NULL;
}

int settings_apply_all(struct settings *s, struct buf *error) {
    struct apply_list list = {mem_calloc(s->count + 1, sizeof *list.at), 0};
    for (size_t i = 0; i < s->count; i++) {
        if (s->states[i].must_apply)
            apply_add(&list, &s->states[i]);
        s->states[i].must_apply = false;
    }
    size_t done = 0;
    struct buf reason = BUF_INIT;
    const struct setting_state *failed = apply_run(&list, &done, &reason);
    if (failed != NULL) {
        buf_printf(error, "option '%s': %.*s", failed->row->name, (int)reason.len, reason.data);
    }
    buf_deinit(&reason);
    mem_free(list.at);
    return failed == NULL ? 0 : -1;
}

/* ---- CONFIG SET ------------------------------------------------------------------------------------------------- */

struct change {
    struct setting_state *st;
    char *old_text;
    enum setting_source old_source;
    bool changed;
};

static int set_failed(struct buf *error, struct slice name, const char *reason) {
    buf_clear(error);
    buf_printf(error, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s", (int)name.n, name.p, reason);
    return -1;
}

/* Finds the options of all pairs and refuses those that may not change. */
static int resolve(struct settings *s, const struct slice *pairs, int count, bool loading, bool allow_protected,
                   struct change *changes, struct buf *error) {
    for (int i = 0; i < count; i++) {
        struct slice name = pairs[2 * i];
        struct setting_state *st = settings_find(s, name);
        if (st == NULL) {
            buf_clear(error);
            buf_printf(error, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'", (int)name.n, name.p);
            return -1;
        }
        if ((st->row->flags & SETTING_IMMUTABLE) != 0)
            return set_failed(error, name, "can't set immutable config");
        if ((st->row->flags & SETTING_PROTECTED) != 0 && !allow_protected)
            return set_failed(error, name, "can't set protected config");
        if ((st->row->flags & SETTING_DENY_LOADING) != 0 && loading) {
            buf_clear(error);
            buf_append_cstr(error, "LOADING Redis is loading the dataset in memory");
            return -1;
        }
        for (int j = 0; j < i; j++)
            if (changes[j].st == st)
                return set_failed(error, name, "duplicate parameter");
        changes[i] = (struct change){.st = st, .old_source = st->source};
    }
    return 0;
}

static void restore(struct change *changes, int count) {
    struct buf error = BUF_INIT;
    for (int i = count - 1; i >= 0; i--) {
        struct setting_state *st = changes[i].st;
        if (!changes[i].changed)
            continue;
        struct setting_state unchecked = *st; /* the old value was accepted once */
        struct setting plain = *st->row;
        plain.check = NULL;
        unchecked.row = &plain;
        if (setting_set_text(&unchecked, slice_cstr(changes[i].old_text), &error) != 0)
            HF_PANIC("option %s does not take back its own value: %.*s", st->row->name, (int)error.len, error.data);
        st->source = changes[i].old_source;
    }
    buf_deinit(&error);
}

/* Sets one field; notes whether that changed anything. */
static int change_one(struct change *c, struct slice text, struct buf *reason) {
    c->old_text = setting_text_cstr(c->st);
    if (setting_set_text(c->st, text, reason) != 0)
        return -1;
    char *now = setting_text_cstr(c->st);
    c->changed = strcmp(now, c->old_text) != 0;
    mem_free(now);
    c->st->source = SETTING_FROM_CLIENT;
    return 0;
}

static int set_all(struct change *changes, const struct slice *pairs, int count, struct buf *error) {
    struct buf reason = BUF_INIT;
    struct apply_list list = {mem_calloc((size_t)count + 1, sizeof *list.at), 0};
    int result = 0;
    for (int i = 0; i < count && result == 0; i++) {
        if (change_one(&changes[i], pairs[2 * i + 1], &reason) != 0) {
            buf_append_char(&reason, '\0');
            result = set_failed(error, pairs[2 * i], reason.data);
        } else if (changes[i].changed) {
            apply_add(&list, changes[i].st);
        }
    }
    if (result != 0) {
        restore(changes, count);
    } else {
        size_t done = 0;
        const struct setting_state *failed = apply_run(&list, &done, &reason);
        if (failed != NULL) {
            buf_append_char(&reason, '\0');
            result = set_failed(error, slice_cstr(failed->row->name), reason.data);
            restore(changes, count);
            /* What acted on the new values acts on the old ones again; they stood before, so a failure now has nowhere
             * to go. */
            list.count = done;
            for (size_t i = 0; i < list.count; i++) {
                buf_clear(&reason);
                (void)list.at[i].fn(list.at[i].ctx, &reason);
            }
        }
    }
    mem_free(list.at);
    buf_deinit(&reason);
    return result;
}

int settings_set(struct settings *s, const struct slice *names_and_values, int pairs, bool loading,
                 bool allow_protected, struct buf *error) {
    HF_ASSERT(pairs >= 0);
    struct change *changes = mem_calloc((size_t)pairs + 1, sizeof *changes);
    int result = resolve(s, names_and_values, pairs, loading, allow_protected, changes, error);
    if (result == 0)
        result = set_all(changes, names_and_values, pairs, error);
    for (int i = 0; i < pairs; i++)
        mem_free(changes[i].old_text);
    mem_free(changes);
    return result;
}

/* ---- CONFIG GET ------------------------------------------------------------------------------------------------- */

static bool is_glob(struct slice pattern) {
    for (size_t i = 0; i < pattern.n; i++)
        if (strchr("*?[\\", pattern.p[i]) != NULL && pattern.p[i] != '\0')
            return true;
    return false;
}

static bool any_matches(const struct setting *row, const char *name, const struct slice *patterns, int count) {
    for (int i = 0; i < count; i++) {
        bool exact = slice_is(patterns[i], name);
        if (exact || ((row->flags & SETTING_HIDDEN) == 0 && is_glob(patterns[i]) &&
                      glob_match(patterns[i], slice_cstr(name), true)))
            return true;
    }
    return false;
}

void settings_get(struct settings *s, const struct slice *patterns, int count,
                  void (*each)(void *arg, const char *name, struct slice value), void *arg) {
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < s->count; i++) {
        const struct setting *row = s->states[i].row;
        const char *names[2] = {row->name, row->alias};
        for (int n = 0; n < 2; n++) {
            if (names[n] == NULL || !any_matches(row, names[n], patterns, count))
                continue;
            buf_clear(&text);
            setting_text(&s->states[i], &text);
            each(arg, names[n], buf_slice(&text));
        }
    }
    buf_deinit(&text);
}

int settings_value(struct settings *s, const char *name, struct buf *out) {
    const struct setting_state *st = settings_find(s, slice_cstr(name));
    if (st == NULL)
        return -1;
    setting_text(st, out);
    return 0;
}

bool settings_is_sensitive(const struct settings *s, struct slice name) {
    const struct setting_state *st = settings_find(s, name);
    return st != NULL && (st->row->flags & SETTING_SENSITIVE) != 0;
}
