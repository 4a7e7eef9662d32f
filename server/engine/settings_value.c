#include "config.h"

#include "server/engine/settings_int.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* Values: from words to the field in the module's struct, and back to text.
 *
 * The text of CONFIG GET is canonical: two values are the same when their texts are. It is accepted back by CONFIG SET
 * for every type, which is what rolling back a special option rests on.
 */

static void *field_of(const struct setting_state *st) {
    return (char *)st->base + st->row->offset;
}

static int fail(struct buf *error, const char *reason) {
    buf_clear(error);
    buf_append_cstr(error, reason);
    return -1;
}

/* ---- to text ---------------------------------------------------------------------------------------------------- */

static void enum_text(const struct setting *row, int value, struct buf *out) {
    bool first = true;
    for (const struct setting_enum *n = row->names; n->name != NULL; n++) {
        if (n->value == value) {
            buf_append_cstr(out, n->name);
            return;
        }
    }
    HF_ASSERT(row->enum_bits);
    for (const struct setting_enum *n = row->names; n->name != NULL; n++) {
        if (n->value == 0 || (n->value & value) != n->value)
            continue;
        if (!first)
            buf_append_char(out, ' ');
        buf_append_cstr(out, n->name);
        first = false;
    }
}

void setting_text(const struct setting_state *st, struct buf *out) {
    const struct setting *row = st->row;
    switch (row->type) {
    case SETTING_BOOL:
        buf_append_cstr(out, *(const bool *)field_of(st) ? "yes" : "no");
        break;
    case SETTING_INT:
    case SETTING_MEMORY:
        buf_append_i64(out, *(const int64_t *)field_of(st));
        break;
    case SETTING_PERCENT: {
        int64_t v = *(const int64_t *)field_of(st);
        buf_append_i64(out, v < 0 ? -v : v);
        if (v < 0)
            buf_append_char(out, '%');
        break;
    }
    case SETTING_OCTAL:
        buf_printf(out, "%llo", (unsigned long long)*(const int64_t *)field_of(st));
        break;
    case SETTING_STRING:
        buf_append_cstr(out, *(char *const *)field_of(st));
        break;
    case SETTING_ENUM:
        enum_text(row, *(const int *)field_of(st), out);
        break;
    case SETTING_SPECIAL:
        row->get(st->ctx, out);
        break;
    }
}

char *setting_text_cstr(const struct setting_state *st) {
    struct buf b = BUF_INIT;
    setting_text(st, &b);
    return buf_take_cstr(&b);
}

/* ---- from words ------------------------------------------------------------------------------------------------- */

static int parse_bool(struct slice text, bool *ret_value, struct buf *error) {
    if (slice_is(text, "yes"))
        *ret_value = true;
    else if (slice_is(text, "no"))
        *ret_value = false;
    else
        return fail(error, "argument must be 'yes' or 'no'");
    return 0;
}

static int parse_octal(struct slice text, int64_t *ret_value) {
    int64_t v = 0;
    if (text.n == 0 || text.n > 20)
        return -1;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '7')
            return -1;
        v = v * 8 + (text.p[i] - '0');
    }
    *ret_value = v;
    return 0;
}

static bool parse_percent(struct slice text, int64_t *ret_value) {
    int64_t v;
    if (text.n < 2 || text.p[text.n - 1] != '%' || num_parse_i64(slice_of(text.p, text.n - 1), &v) != 0 || v < 0)
        return false;
    *ret_value = v;
    return true;
}

static int check_range(const struct setting *row, int64_t v, struct buf *error) {
    if (v >= row->min && v <= row->max)
        return 0;
    buf_clear(error);
    if (row->type == SETTING_OCTAL)
        buf_printf(error, "argument must be between %llo and %llo inclusive", (unsigned long long)row->min,
                   (unsigned long long)row->max);
    else
        buf_printf(error, "argument must be between %lld and %lld inclusive", (long long)row->min, (long long)row->max);
    return -1;
}

static int parse_number(const struct setting *row, struct slice text, int64_t *ret_value, struct buf *error) {
    int64_t v;
    bool negative = text.n > 0 && text.p[0] == '-';
    switch (row->type) {
    case SETTING_MEMORY:
        if (negative || num_parse_memory(text, &v) != 0)
            return fail(error, "argument must be a memory value");
        break;
    case SETTING_PERCENT:
        if (parse_percent(text, &v)) {
            if (v > -row->min) {
                buf_clear(error);
                buf_printf(error, "percentage argument must be less or equal to %lld", (long long)-row->min);
                return -1;
            }
            v = -v;
        } else if (negative || num_parse_memory(text, &v) != 0) {
            return fail(error, "argument must be a memory or percent value");
        }
        break;
    case SETTING_OCTAL:
        if (parse_octal(text, &v) != 0)
            return fail(error, "argument couldn't be parsed as an octal number");
        break;
    default:
        if (num_parse_i64(text, &v) != 0)
            return fail(error, "argument couldn't be parsed into an integer");
        break;
    }
    if (check_range(row, v, error) != 0)
        return -1;
    *ret_value = v;
    return 0;
}

static int parse_enum(const struct setting *row, const struct slice *words, int count, int *ret_value,
                      struct buf *error) {
    int value = 0, known = 0;
    for (int i = 0; i < count; i++) {
        for (const struct setting_enum *n = row->names; n->name != NULL; n++) {
            if (slice_is(words[i], n->name)) {
                value |= n->value;
                known++;
                break;
            }
        }
    }
    if (known == count && count > 0 && (count == 1 || row->enum_bits)) {
        *ret_value = value;
        return 0;
    }
    buf_clear(error);
    buf_append_cstr(error, "argument(s) must be one of the following: ");
    for (const struct setting_enum *n = row->names; n->name != NULL; n++) {
        buf_append_cstr(error, n->name);
        if (n[1].name != NULL)
            buf_append_cstr(error, ", ");
    }
    return -1;
}

static int run_check(const struct setting_state *st, struct slice text, int64_t number, struct buf *error) {
    return st->row->check == NULL ? 0 : st->row->check(st->ctx, text, number, error);
}

int setting_set_words(struct setting_state *st, const struct slice *words, int count, bool append, struct buf *error) {
    const struct setting *row = st->row;
    if (count < 1 || (count > 1 && (row->flags & SETTING_MULTI_ARG) == 0))
        return fail(error, "wrong number of arguments");
    switch (row->type) {
    case SETTING_BOOL: {
        bool v;
        if (parse_bool(words[0], &v, error) != 0 || run_check(st, words[0], v, error) != 0)
            return -1;
        *(bool *)field_of(st) = v;
        return 0;
    }
    case SETTING_INT:
    case SETTING_MEMORY:
    case SETTING_PERCENT:
    case SETTING_OCTAL: {
        int64_t v;
        if (parse_number(row, words[0], &v, error) != 0 || run_check(st, words[0], v, error) != 0)
            return -1;
        *(int64_t *)field_of(st) = v;
        return 0;
    }
    case SETTING_ENUM: {
        int v;
        if (parse_enum(row, words, count, &v, error) != 0 || run_check(st, words[0], v, error) != 0)
            return -1;
        *(int *)field_of(st) = v;
        return 0;
    }
    case SETTING_STRING: {
        if (memchr(words[0].p, '\0', words[0].n) != NULL)
            return fail(error, "argument must not contain a zero byte");
        if (run_check(st, words[0], 0, error) != 0)
            return -1;
        char **field = field_of(st);
        char *old = *field;
        *field = mem_strndup(words[0].p, words[0].n);
        mem_free(old);
        return 0;
    }
    case SETTING_SPECIAL:
        /* One empty word means "none": it starts the option afresh whatever lines came before. */
        return row->set(st->ctx, words, count, append && !(count == 1 && words[0].n == 0), error);
    }
    return fail(error, "unknown type of option");
}

int setting_set_text(struct setting_state *st, struct slice text, struct buf *error) {
    if ((st->row->flags & SETTING_MULTI_ARG) == 0)
        return setting_set_words(st, &text, 1, false, error);
    struct settings_words words;
    if (settings_split(text, &words) != 0)
        return fail(error, "unbalanced quotes in argument");
    int result = words.count > 0 ? setting_set_words(st, words.slices, words.count, false, error)
                                 : setting_set_words(st, &SLICE_LIT(""), 1, false, error);
    settings_words_free(&words);
    return result;
}

void setting_init_field(struct setting_state *st) {
    struct buf error = BUF_INIT;
    const struct setting *row = st->row;
    HF_ASSERT(row->type == SETTING_SPECIAL ? row->set != NULL && row->get != NULL : true);
    HF_ASSERT(row->type == SETTING_ENUM ? row->names != NULL : true);
    if (row->type == SETTING_STRING)
        *(char **)field_of(st) = mem_strdup("");
    struct setting_state unchecked =
        *st; /* a default is right by definition; check() may look at what is not there yet */
    struct setting plain = *row;
    plain.check = NULL;
    unchecked.row = &plain;
    if (row->initial != NULL && setting_set_text(&unchecked, slice_cstr(row->initial), &error) != 0)
        HF_PANIC("default of option %s: %.*s", row->name, (int)error.len, error.data);
    buf_deinit(&error);
}

void setting_free_field(struct setting_state *st) {
    if (st->row->type != SETTING_STRING)
        return;
    char **field = field_of(st);
    mem_free(*field);
    *field = NULL;
}

/* ---- lines of a file -------------------------------------------------------------------------------------------- */

void settings_append_word(struct buf *out, struct slice word) {
    bool plain = word.n > 0 && word.p[0] != '#';
    for (size_t i = 0; i < word.n && plain; i++) {
        unsigned char c = (unsigned char)word.p[i];
        plain = c > ' ' && c < 0x7f && c != '"' && c != '\'' && c != '\\';
    }
    if (plain)
        buf_append_slice(out, word);
    else
        buf_append_repr(out, word);
}

static void memory_word(struct buf *out, int64_t v) {
    static const struct {
        int64_t bytes;
        const char *unit;
    } units[] = {{INT64_C(1) << 30, "gb"}, {INT64_C(1) << 20, "mb"}, {INT64_C(1) << 10, "kb"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (v >= units[i].bytes && v % units[i].bytes == 0) {
            buf_append_i64(out, v / units[i].bytes);
            buf_append_cstr(out, units[i].unit);
            return;
        }
    }
    buf_append_i64(out, v);
}

void setting_lines(const struct setting_state *st, struct buf *out) {
    const struct setting *row = st->row;
    if (row->type == SETTING_SPECIAL && row->rewrite != NULL) {
        size_t before = out->len;
        row->rewrite(st->ctx, out);
        HF_ASSERT(out->len == before || out->data[out->len - 1] == '\n');
        if (out->len > before)
            return;
        /* No lines at all would mean the default. */
    }
    buf_append_cstr(out, row->name);
    buf_append_char(out, ' ');
    struct buf text = BUF_INIT;
    if ((row->type == SETTING_MEMORY || row->type == SETTING_PERCENT) && *(const int64_t *)field_of(st) >= 0)
        memory_word(&text, *(const int64_t *)field_of(st));
    else
        setting_text(st, &text);
    if ((row->flags & SETTING_MULTI_ARG) != 0 && text.len > 0)
        buf_append_slice(out, buf_slice(&text));
    else
        settings_append_word(out, buf_slice(&text));
    buf_append_char(out, '\n');
    buf_deinit(&text);
}
