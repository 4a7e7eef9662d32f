/* Settings: the typed configuration, composed of rows that each module owns.
 *
 * A module declares rows over its own options struct and registers them with that struct's address; defaults are
 * applied at registration. Values arrive from the configuration file, the command line and CONFIG SET, are checked as a
 * whole and applied all or nothing; CONFIG REWRITE writes back what differs. Names, aliases, defaults and ranges are
 * the field's (shared table config.tsv).
 *
 * Ownership: strings in option structs are owned by the settings (never NULL: "" is the empty value). Thread: the
 * loop's thread. Errors: texts go to *error.
 */
#ifndef HF_ENGINE_SETTINGS_H
#define HF_ENGINE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/base/slice.h"

enum setting_type {
    SETTING_BOOL,    /* bool */
    SETTING_INT,     /* int64_t, plain integer */
    SETTING_MEMORY,  /* int64_t, with units */
    SETTING_PERCENT, /* int64_t: memory with units, or N% held as -N */
    SETTING_OCTAL,   /* int64_t */
    SETTING_STRING,  /* char * */
    SETTING_ENUM,    /* int */
    SETTING_SPECIAL  /* own set() and get() */
};

enum setting_flags {
    SETTING_MODIFIABLE = 0,
    SETTING_IMMUTABLE = 1 << 0,    /* file and command line only */
    SETTING_SENSITIVE = 1 << 1,    /* never logged */
    SETTING_PROTECTED = 1 << 2,    /* needs enable-protected-configs */
    SETTING_HIDDEN = 1 << 3,       /* CONFIG GET by exact name only */
    SETTING_MULTI_ARG = 1 << 4,    /* may be several words (save, bind, client-output-buffer-limit) */
    SETTING_DENY_LOADING = 1 << 5, /* not while loading */
    SETTING_DEBUG = 1 << 6,
    SETTING_ADDS_UP =
        1 << 7, /* special: repeated lines add up (save); a line whose value is one empty word starts afresh */
};

struct setting_enum {
    const char *name; /* NULL ends the list */
    int value;
};

struct setting {
    const char *name;
    const char *alias; /* NULL if none */
    enum setting_type type;
    uint32_t flags;
    const char *initial;              /* default as text */
    int64_t min, max;                 /* numbers, after units */
    const struct setting_enum *names; /* SETTING_ENUM */
    size_t offset;                    /* of the field in the options struct */
    bool enum_bits;                   /* SETTING_ENUM: several names may be combined (shutdown-on-sigterm) */
    /* Optional check of a new value before anything is applied: 0, or -1 with *error. For SETTING_ENUM/INT/… value is
     * the parsed number, for strings text. */
    int (*check)(void *ctx, struct slice text, int64_t number, struct buf *error);
    /* Optional, called after all values of one CONFIG SET stand in their structs: 0, or -1 with *error (everything is
     * rolled back and applied again). Not called for defaults, and for file values only once settings_apply_all() runs.
     */
    int (*apply)(void *ctx, struct buf *error);
    /* SETTING_SPECIAL: parse argv into the module's struct (0, or -1 with *error; must leave the old value on failure)
     * and write the value as text. For multi-line options (save, client-output-buffer-limit …) set() gets all words of
     * a line; `append` is true for a repeated line of the same file. */
    int (*set)(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error);
    void (*get)(void *ctx, struct buf *out);
    /* SETTING_SPECIAL: the lines of CONFIG REWRITE, each ended by \n (name included). NULL: one line `name value`. */
    void (*rewrite)(void *ctx, struct buf *out);
};

struct settings;

struct settings *settings_create(void);
/* Frees the strings in the registered structs, too: it comes before the end of those. */
void settings_destroy(struct settings *s);
/* Adds rows (borrowed) over the struct at base; sets its fields to the defaults. ctx is passed to the callbacks. */
void settings_register(struct settings *s, const struct setting *rows, size_t count, void *base, void *ctx);

/* Reads a file (NULL: none; "-": standard input) and options of the command line in their order ("--port 7000 --save 60
 * 1"): `extra` is text in the form of a configuration file. Follows `include` (globs too). Then the overlay in the data
 * directory, when one is there (see settings_rewrite). 0, or -1 with *error naming file, line and reason. Immutable
 * options may be set here. */
int settings_load(struct settings *s, const char *path, struct slice extra, struct buf *error)
    __attribute__((warn_unused_result));
/* Runs the apply callbacks of everything that was set. */
int settings_apply_all(struct settings *s, struct buf *error) __attribute__((warn_unused_result));
/* The file that was read, absolute; "" if none. */
const char *settings_file(const struct settings *s);

/* CONFIG SET: pairs of name and value. 0, or -1 with *error = "ERR …" text as Redis has it; nothing changed then.
 * loading: refuse SETTING_DENY_LOADING; allow_protected: whether protected options may change. */
int settings_set(struct settings *s, const struct slice *names_and_values, int pairs, bool loading,
                 bool allow_protected, struct buf *error) __attribute__((warn_unused_result));
/* CONFIG GET: calls each() once per matching option (name or alias, glob, any case). */
void settings_get(struct settings *s, const struct slice *patterns, int count,
                  void (*each)(void *arg, const char *name, struct slice value), void *arg);
/* True when logs must not show the option's value. */
bool settings_is_sensitive(const struct settings *s, struct slice name);
/* Text of one option appended to out; -1 if unknown. */
int settings_value(struct settings *s, const char *name, struct buf *out);
/* CONFIG REWRITE: brings the file up to date keeping comments, order, includes, mode and owner; atomic. Where its
 * directory is not writable, writes the overlay `holdfast-overlay.conf` into the data directory (the `dir` option),
 * which settings_load() reads last. 0, or -1 with *error. */
int settings_rewrite(struct settings *s, const struct fs *fs, struct buf *error) __attribute__((warn_unused_result));

#endif
