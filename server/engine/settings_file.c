#include "config.h"

#include "server/engine/settings.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/engine/settings_int.h"
#include "server/proto/resp.h"

/* Reading: the file with its includes, the command line, the overlay.
 *
 * File and command line are one text to the options (a `--save 60 1` adds to the file's save lines, as Redis has it);
 * the overlay is another that comes last, because it holds what CONFIG REWRITE was asked to keep where it could not
 * change the file itself. Before it is read, the text of every option is noted: the next overlay holds what differs
 * from that.
 */

struct slice settings_trim(struct slice line) {
    while (line.n > 0 && memchr(" \t\r\n", line.p[line.n - 1], 4) != NULL)
        line.n--;
    while (line.n > 0 && memchr(" \t\r\n", line.p[0], 4) != NULL) {
        line.p++;
        line.n--;
    }
    return line;
}

int settings_split(struct slice line, struct settings_words *ret_words) {
    *ret_words = (struct settings_words){0};
    line = settings_trim(line);
    if (line.n == 0 || resp_split_line(line, &ret_words->words, &ret_words->lens, &ret_words->count) != 0)
        return line.n == 0 ? 0 : -1;
    ret_words->slices = mem_calloc((size_t)ret_words->count + 1, sizeof *ret_words->slices);
    for (int i = 0; i < ret_words->count; i++)
        ret_words->slices[i] = slice_of(ret_words->words[i], ret_words->lens[i]);
    return 0;
}

void settings_words_free(struct settings_words *w) {
    mem_free(w->slices);
    resp_free_words(w->words, w->lens, w->count);
    *w = (struct settings_words){0};
}

/* ---- walking ---------------------------------------------------------------------------------------------------- */

struct walk {
    const struct settings *s;
    const struct fs *fs;
    settings_line_fn *fn;
    void *arg;
    struct buf *error;
};

/* The message for the user. The values of sensitive options stay out of it. */
static int line_error(const struct walk *w, const char *file, int number, struct slice raw,
                      const struct settings_words *words, const char *reason) {
    struct buf *e = w->error;
    buf_clear(e);
    buf_printf(e, "*** FATAL CONFIG FILE ERROR (Holdfast %s) ***\n", PACKAGE_VERSION);
    if (file[0] != '\0')
        buf_printf(e, "Reading the configuration file %s, at line %d\n", file, number);
    else
        buf_printf(e, "Reading the options of the command line, at option %d\n", number);
    const struct setting_state *st = words->count > 0 ? settings_find(w->s, words->slices[0]) : NULL;
    if (st != NULL && (st->row->flags & SETTING_SENSITIVE) != 0)
        buf_printf(e, ">>> '%s (hidden)'\n", st->row->name);
    else
        buf_printf(e, ">>> '%.*s'\n", (int)(raw.n < 1024 ? raw.n : 1024), raw.p);
    buf_append_cstr(e, reason);
    return -1;
}

static int walk_file(struct walk *w, const char *path, int depth);

static char *absolute_path(const struct settings *s, const char *path) {
    struct buf b = BUF_INIT;
    if (path[0] != '/')
        buf_printf(&b, "%s/", s->start_dir);
    buf_append_cstr(&b, path);
    return buf_take_cstr(&b);
}

static bool has_wildcard(const char *path) {
    return strpbrk(path, "*?[") != NULL;
}

/* An include: one file, which must be there, or a pattern, which may match nothing. Error: the reason. */
static int walk_pattern(struct walk *w, const char *pattern, int depth, struct buf *ret_reason) {
    if (depth >= SETTINGS_INCLUDE_MAX_DEPTH) {
        buf_printf(ret_reason, "includes are nested more than %d deep", SETTINGS_INCLUDE_MAX_DEPTH);
        return -1;
    }
    if (!has_wildcard(pattern)) {
        int result = walk_file(w, pattern, depth + 1);
        if (result < -1)
            buf_printf(ret_reason, "Can't open config file '%s': %s", pattern, strerror(-result));
        return result;
    }
    glob_t found;
    int result = glob(pattern, 0, NULL, &found);
    if (result == GLOB_NOMATCH)
        return 0;
    if (result != 0) {
        buf_printf(ret_reason, "Can't look for config files '%s'", pattern);
        return -2;
    }
    for (size_t i = 0; i < found.gl_pathc && result == 0; i++) {
        result = walk_file(w, found.gl_pathv[i], depth + 1);
        if (result < -1)
            buf_printf(ret_reason, "Can't open config file '%s': %s", found.gl_pathv[i], strerror(-result));
    }
    globfree(&found);
    return result;
}

static int walk_include(struct walk *w, const char *pattern, int depth, struct buf *ret_reason) {
    char *absolute = absolute_path(w->s, pattern);
    int result = walk_pattern(w, absolute, depth, ret_reason);
    mem_free(absolute);
    return result;
}

static int walk_line(struct walk *w, const char *file, int number, struct slice raw, int depth) {
    struct slice line = settings_trim(raw);
    struct settings_words words = {0};
    if (line.n == 0 || line.p[0] == '#')
        return 0;
    if (settings_split(line, &words) != 0)
        return line_error(w, file, number, line, &words, "Unbalanced quotes in configuration line");
    struct buf reason = BUF_INIT;
    int result = 0;
    if (words.count == 0) {
        result = 0;
    } else if (slice_is(words.slices[0], "include")) {
        if (words.count != 2) {
            buf_append_cstr(&reason, "wrong number of arguments");
            result = -2;
        } else {
            result = walk_include(w, words.words[1], depth, &reason);
        }
    } else {
        struct settings_line l = {file, number, depth, raw, words.slices, words.count};
        result = w->fn(w->arg, &l, &reason);
    }
    if (result != 0 && reason.len > 0) { /* else the message is there already, from an included file */
        buf_append_char(&reason, '\0');
        (void)line_error(w, file, number, line, &words, reason.data);
    }
    buf_deinit(&reason);
    settings_words_free(&words);
    return result == 0 ? 0 : -1;
}

static int walk_text(struct walk *w, const char *file, struct slice text, int depth) {
    int number = 0;
    while (text.n > 0) {
        const char *newline = memchr(text.p, '\n', text.n);
        size_t n = newline == NULL ? text.n : (size_t)(newline - text.p);
        if (walk_line(w, file, ++number, slice_of(text.p, n), depth) != 0)
            return -1;
        size_t step = newline == NULL ? n : n + 1;
        text = slice_of(text.p + step, text.n - step);
    }
    return 0;
}

/* 0; -1 with the message in w->error; or -errno (< -1, as -EPERM is taken for -EACCES) when the file cannot be read. */
static int walk_file(struct walk *w, const char *path, int depth) {
    struct buf text = BUF_INIT;
    int result = fs_read_file(w->fs, path, SETTINGS_FILE_MAX_BYTES, &text);
    if (result == 0)
        result = walk_text(w, path, buf_slice(&text), depth);
    else if (result == -1)
        result = -EACCES;
    buf_deinit(&text);
    return result;
}

int settings_walk_text(const struct settings *s, const struct fs *fs, const char *file, struct slice text, int depth,
                       settings_line_fn *fn, void *arg, struct buf *error) {
    struct walk w = {s, fs, fn, arg, error};
    return walk_text(&w, file, text, depth);
}

/* ---- loading ---------------------------------------------------------------------------------------------------- */

struct load {
    struct settings *s;
    enum setting_source source;
    bool in_file; /* words are noted for CONFIG REWRITE */
};

static void note_words(struct setting_state *st, const struct settings_line *line) {
    struct buf b = BUF_INIT;
    if (st->file_words != NULL)
        buf_append_cstr(&b, st->file_words);
    for (int i = 1; i < line->count; i++) {
        settings_append_word(&b, line->words[i]);
        buf_append_char(&b, i + 1 < line->count ? ' ' : '\n');
    }
    mem_free(st->file_words);
    st->file_words = buf_take_cstr(&b);
}

static int load_line(void *arg, const struct settings_line *line, struct buf *error) {
    struct load *l = arg;
    struct setting_state *st = settings_find(l->s, line->words[0]);
    if (st == NULL) {
        switch (settings_absent_line(line->words, line->count, error)) {
        case SETTINGS_ABSENT_ACCEPTED:
            return 0;
        case SETTINGS_ABSENT_REFUSED:
            return -2;
        case SETTINGS_ABSENT_UNKNOWN:
            break;
        }
        buf_append_cstr(error, "Bad directive or wrong number of arguments");
        return -2;
    }
    if (setting_set_words(st, line->words + 1, line->count - 1, st->source == l->source, error) != 0) {
        if (error->len == 0)
            buf_append_cstr(error, "Bad directive or wrong number of arguments");
        return -2;
    }
    st->source = l->source;
    st->must_apply = true;
    if (l->in_file)
        note_words(st, line);
    return 0;
}

static int read_input(const char *path, struct buf *text, struct buf *error) {
    int result = 0;
    if (strcmp(path, "-") != 0) {
        result = fs_read_file(fs_posix(), path, SETTINGS_FILE_MAX_BYTES, text);
    } else {
        char piece[4096];
        ssize_t got;
        while ((got = read(STDIN_FILENO, piece, sizeof piece)) != 0) {
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0 || text->len > SETTINGS_FILE_MAX_BYTES) {
                result = got < 0 ? -errno : -EFBIG;
                break;
            }
            buf_append(text, piece, (size_t)got);
        }
    }
    if (result != 0) {
        buf_clear(error);
        buf_printf(error, "Fatal error, can't open config file '%s': %s", path, strerror(-result));
    }
    return result == 0 ? 0 : -1;
}

static void replace_text(char **field, const struct setting_state *st) {
    mem_free(*field);
    *field = setting_text_cstr(st);
}

static char *find_overlay(const struct settings *s) {
    struct buf b = BUF_INIT;
    const struct setting_state *dir = settings_find(s, SLICE_LIT("dir"));
    char *text = dir == NULL ? mem_strdup(".") : setting_text_cstr(dir);
    char *absolute = absolute_path(s, text[0] == '\0' ? "." : text);
    buf_printf(&b, "%s/%s", absolute, SETTINGS_OVERLAY_NAME);
    mem_free(absolute);
    mem_free(text);
    return buf_take_cstr(&b);
}

static int load_overlay(struct settings *s, struct buf *error) {
    struct buf text = BUF_INIT;
    int result = fs_read_file(fs_posix(), s->overlay_path, SETTINGS_FILE_MAX_BYTES, &text);
    if (result == -ENOENT || result == -ENOTDIR) {
        result = 0; /* none: the usual case */
    } else if (result != 0) {
        buf_clear(error);
        buf_printf(error, "Fatal error, can't open config file '%s': %s", s->overlay_path, strerror(-result));
    } else {
        struct load l = {s, SETTING_FROM_OVERLAY, false};
        result = settings_walk_text(s, fs_posix(), s->overlay_path, buf_slice(&text), 0, load_line, &l, error);
    }
    buf_deinit(&text);
    return result == 0 ? 0 : -1;
}

int settings_load(struct settings *s, const char *path, struct slice extra, struct buf *error) {
    struct buf text = BUF_INIT;
    struct load l = {s, SETTING_FROM_START, true};
    char *cwd = getcwd(NULL, 0);
    if (cwd != NULL) {
        mem_free(s->start_dir);
        s->start_dir = mem_strdup(cwd);
        free(cwd); /* from getcwd() */
    }
    bool on_disk = path != NULL && strcmp(path, "-") != 0;
    int result = 0;
    if (path != NULL)
        result = read_input(path, &text, error);
    if (result == 0 && on_disk) {
        mem_free(s->file);
        s->file = absolute_path(s, path);
    }
    if (result == 0)
        result = settings_walk_text(s, fs_posix(), path == NULL ? "" : path, buf_slice(&text), 0, load_line, &l, error);
    for (size_t i = 0; i < s->count; i++)
        replace_text(&s->states[i].file_text, &s->states[i]);
    l.in_file = false;
    if (result == 0)
        result = settings_walk_text(s, fs_posix(), "", extra, 0, load_line, &l, error);
    for (size_t i = 0; i < s->count; i++)
        replace_text(&s->states[i].start_text, &s->states[i]);
    if (result == 0 && on_disk) {
        mem_free(s->overlay_path);
        s->overlay_path = find_overlay(s);
        result = load_overlay(s, error);
    }
    buf_deinit(&text);
    return result;
}
