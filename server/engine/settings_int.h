/* What the files of the settings module share. Nothing outside server/engine/settings*.c includes this. */
#ifndef HF_ENGINE_SETTINGS_INT_H
#define HF_ENGINE_SETTINGS_INT_H

#include "server/engine/settings.h"

/* Where the value that stands came from last: repeated lines add up within one source only. */
enum setting_source {
    SETTING_FROM_DEFAULT,
    SETTING_FROM_START,   /* the file, its includes and the command line */
    SETTING_FROM_OVERLAY, /* the overlay in the data directory */
    SETTING_FROM_CLIENT,  /* CONFIG SET */
};

/* Text forms are those of CONFIG GET. */
struct setting_state {
    const struct setting *row;
    void *base, *ctx;
    char *initial_text;
    char *file_text;  /* what the file alone gives */
    char *file_words; /* the lines of the file that said so (setting_lines_key()); NULL: it has none */
    char *start_text; /* what file and command line give: the overlay holds what differs from it */
    enum setting_source source;
    bool must_apply; /* set at start, apply() not run yet */
};

struct settings {
    struct setting_state *states;
    size_t count, cap;
    char *file;         /* absolute, "" if none */
    char *start_dir;    /* what relative includes are relative to, even after `dir` was changed to */
    char *overlay_path; /* absolute, NULL when no file was read */
};

/* One option line of a file. */
struct settings_line {
    const char *file;
    int number;          /* from 1 */
    int depth;           /* 0: the main file, else how many includes deep */
    struct slice raw;    /* without the line end */
    struct slice *words; /* at least one; words[0] is the option's name */
    int count;
};
/* Returns 0, or -1 with the reason alone in *error. */
typedef int settings_line_fn(void *arg, const struct settings_line *line, struct buf *error);

#define SETTINGS_FILE_MAX_BYTES ((size_t)64 << 20)
#define SETTINGS_INCLUDE_MAX_DEPTH 16
#define SETTINGS_OVERLAY_NAME "holdfast-overlay.conf"

struct setting_state *settings_find(const struct settings *s, struct slice name_or_alias);

/* ---- settings_value.c ---- */
void setting_text(const struct setting_state *st, struct buf *out);
char *setting_text_cstr(const struct setting_state *st); /* mem_free() it */
/* Sets from the words behind the name. 0, or -1 with the reason (Redis's texts) and the old value in place. */
int setting_set_words(struct setting_state *st, const struct slice *words, int count, bool append, struct buf *error);
/* Sets from one text as CONFIG SET has it; a multi-word option's text is split. */
int setting_set_text(struct setting_state *st, struct slice text, struct buf *error);
/* Lines of a configuration file that set the present value, each ended by \n. */
void setting_lines(const struct setting_state *st, struct buf *out);
/* A word in the form a configuration file needs: quoted where it must be. */
void settings_append_word(struct buf *out, struct slice word);
void setting_init_field(struct setting_state *st);
void setting_free_field(struct setting_state *st);

/* ---- settings_absent.c ---- */
enum settings_absent { SETTINGS_ABSENT_UNKNOWN, SETTINGS_ABSENT_ACCEPTED, SETTINGS_ABSENT_REFUSED };
/* A line of an option that no module registered: unknown, known with a value that asks for nothing, or refused with
 * *error. */
enum settings_absent settings_absent_line(const struct slice *words, int count, struct buf *error);

/* ---- settings_file.c ---- */
/* Walks the option lines of a text, following includes. 0, or -1 with the whole message for the user in *error (what fn
 * said included). */
int settings_walk_text(const struct settings *s, const struct fs *fs, const char *file, struct slice text, int depth,
                       settings_line_fn *fn, void *arg, struct buf *error);
/* Splits one line into words. *ret_words is owned by *ret_store; 0 words for blank lines and comments. 0, or -1 on
 * unbalanced quotes. */
struct settings_words {
    char **words;
    size_t *lens;
    struct slice *slices;
    int count;
};
int settings_split(struct slice line, struct settings_words *ret_words);
void settings_words_free(struct settings_words *w);
struct slice settings_trim(struct slice line);

#endif
