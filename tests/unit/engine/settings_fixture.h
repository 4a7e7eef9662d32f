/* Settings of every type over one struct, and a directory of their own: what the tests of settings share. */
#ifndef HF_TESTS_SETTINGS_FIXTURE_H
#define HF_TESTS_SETTINGS_FIXTURE_H

#include "server/engine/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "tests/support/unit.h"

#define POINTS_MAX 8

struct options {
    bool flag, fixed;
    int64_t number, memory, percent, octal, guarded, loading;
    char *text, *secret, *dir, *checked, *hidden;
    int mode, signals;
    int64_t points[POINTS_MAX];
    int point_count;
    /* apply() */
    int applied, applied_number;
    int64_t number_seen;
    bool refuse_apply;
};

struct fixture {
    char dir[64];
    char file[96], overlay[128];
    struct options o;
    struct settings *s;
    struct buf error;
};

static int apply_number(void *ctx, struct buf *error) {
    struct options *o = ctx;
    o->applied_number++;
    o->number_seen = o->number;
    if (o->refuse_apply && o->number == 13) {
        buf_append_cstr(error, "thirteen is bad luck");
        return -1;
    }
    return 0;
}

static int apply_other(void *ctx, struct buf *error) {
    (void)error;
    ((struct options *)ctx)->applied++;
    return 0;
}

static int check_checked(void *ctx, struct slice text, int64_t number, struct buf *error) {
    (void)ctx, (void)number;
    if (text.n == 0 || text.p[0] != '!')
        return 0;
    buf_append_cstr(error, "no shouting");
    return -1;
}

static int set_points(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct options *o = ctx;
    int64_t points[POINTS_MAX];
    int n = append ? o->point_count : 0;
    memcpy(points, o->points, sizeof points);
    for (int i = 0; i < argc && argv[0].n > 0; i++) {
        if (n == POINTS_MAX || num_parse_i64(argv[i], &points[n++]) != 0) {
            buf_append_cstr(error, "Invalid points");
            return -1;
        }
    }
    memcpy(o->points, points, sizeof points);
    o->point_count = n;
    return 0;
}

static void get_points(void *ctx, struct buf *out) {
    struct options *o = ctx;
    for (int i = 0; i < o->point_count; i++)
        buf_printf(out, "%s%lld", i ? " " : "", (long long)o->points[i]);
}

static void rewrite_points(void *ctx, struct buf *out) {
    struct options *o = ctx;
    for (int i = 0; i < o->point_count; i++)
        buf_printf(out, "points %lld\n", (long long)o->points[i]);
}

static const struct setting_enum modes[] = {{"slow", 3}, {"fast", 5}, {NULL, 0}};
static const struct setting_enum signals[] = {{"default", 0}, {"save", 1}, {"now", 4}, {NULL, 0}};

#define FIELD(f) .offset = offsetof(struct options, f)

static const struct setting fixture_rows[] = {
    {.name = "flag", .alias = "old-flag", .type = SETTING_BOOL, .initial = "yes", FIELD(flag), .apply = apply_other},
    {.name = "number",
     .type = SETTING_INT,
     .initial = "7",
     .min = -5,
     .max = 100,
     FIELD(number),
     .apply = apply_number},
    {.name = "memory",
     .type = SETTING_MEMORY,
     .initial = "2mb",
     .min = 1024,
     .max = INT64_MAX,
     FIELD(memory),
     .apply = apply_other},
    {.name = "percent", .type = SETTING_PERCENT, .initial = "0", .min = -100, .max = INT64_MAX, FIELD(percent)},
    {.name = "octal", .type = SETTING_OCTAL, .initial = "0", .min = 0, .max = 0777, FIELD(octal)},
    {.name = "text", .type = SETTING_STRING, .initial = "", FIELD(text)},
    {.name = "secret", .type = SETTING_STRING, .flags = SETTING_SENSITIVE, .initial = "", FIELD(secret)},
    {.name = "checked", .type = SETTING_STRING, .initial = "quiet", FIELD(checked), .check = check_checked},
    {.name = "mode", .type = SETTING_ENUM, .initial = "slow", .names = modes, FIELD(mode)},
    {.name = "signals",
     .type = SETTING_ENUM,
     .flags = SETTING_MULTI_ARG,
     .initial = "default",
     .names = signals,
     .enum_bits = true,
     FIELD(signals)},
    {.name = "points",
     .type = SETTING_SPECIAL,
     .flags = SETTING_MULTI_ARG | SETTING_ADDS_UP,
     .initial = "1 2",
     .set = set_points,
     .get = get_points,
     .rewrite = rewrite_points},
    {.name = "fixed", .type = SETTING_BOOL, .flags = SETTING_IMMUTABLE, .initial = "no", FIELD(fixed)},
    {.name = "guarded",
     .type = SETTING_INT,
     .flags = SETTING_PROTECTED,
     .initial = "1",
     .min = 0,
     .max = 9,
     FIELD(guarded)},
    {.name = "loading",
     .type = SETTING_INT,
     .flags = SETTING_DENY_LOADING,
     .initial = "1",
     .min = 0,
     .max = 9,
     FIELD(loading)},
    {.name = "hidden", .type = SETTING_STRING, .flags = SETTING_HIDDEN, .initial = "here", FIELD(hidden)},
    {.name = "dir", .type = SETTING_STRING, .initial = ".", FIELD(dir)},
};

#undef FIELD

static void fixture_open(struct fixture *f) {
    memset(&f->o, 0, sizeof f->o);
    f->error = BUF_INIT;
    f->s = settings_create();
    settings_register(f->s, fixture_rows, sizeof fixture_rows / sizeof fixture_rows[0], &f->o, &f->o);
}

static void fixture_close(struct fixture *f) {
    settings_destroy(f->s);
    buf_deinit(&f->error);
}

static void fixture_init(struct fixture *f) {
    strcpy(f->dir, "/tmp/hf-settings-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->file, sizeof f->file, "%s/x.conf", f->dir);
    snprintf(f->overlay, sizeof f->overlay, "%s/holdfast-overlay.conf", f->dir);
    fixture_open(f);
}

static void fixture_deinit(struct fixture *f) {
    char command[128];
    fixture_close(f);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

static void put_file(const char *path, const char *text) {
    assert_int_equal(fs_replace_file(fs_posix(), path, text, strlen(text), NULL), 0);
}

/* Loads text as the file and "dir" as its directory. */
static inline int load_text(struct fixture *f, const char *text, const char *extra) {
    struct buf all = BUF_INIT;
    buf_printf(&all, "dir %s\n%s", f->dir, extra);
    put_file(f->file, text);
    int result = settings_load(f->s, f->file, buf_slice(&all), &f->error);
    buf_deinit(&all);
    return result;
}

static inline void assert_value(struct fixture *f, const char *name, const char *expected) {
    struct buf b = BUF_INIT;
    assert_int_equal(settings_value(f->s, name, &b), 0);
    assert_bytes_are(b.data, b.len, expected);
    buf_deinit(&b);
}

/* CONFIG SET of space-free words. */
static int set_words(struct fixture *f, const char *const *words, int count) {
    struct slice argv[16];
    for (int i = 0; i < count; i++)
        argv[i] = slice_cstr(words[i]);
    buf_clear(&f->error);
    return settings_set(f->s, argv, count / 2, false, false, &f->error);
}

#define SET(f, ...)                                                                                                    \
    set_words(f, (const char *const[]){__VA_ARGS__},                                                                   \
              (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)))

static void assert_error(struct fixture *f, const char *expected) {
    assert_bytes_are(f->error.data, f->error.len, expected);
}

static inline void assert_error_has(struct fixture *f, const char *part) {
    buf_append_char(&f->error, '\0');
    assert_non_null(strstr(f->error.data, part));
    f->error.len--;
}

#endif
