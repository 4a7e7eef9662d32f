/* A configuration: the input up to its first zero byte is a file, what follows is the value of a CONFIG SET. Whatever
 * loads must survive CONFIG REWRITE: the file written then gives the same values. */
#include "config.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/fs.h"
#include "server/base/num.h"
#include "server/engine/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define POINTS_MAX 16

struct options {
    bool flag;
    int64_t number, memory, percent, octal;
    char *text, *dir;
    int mode, bits;
    int64_t points[POINTS_MAX];
    int point_count;
};

static int set_points(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct options *o = ctx, next = *o;
    if (!append)
        next.point_count = 0;
    if (argc == 1 && argv[0].n == 0)
        argc = 0;
    for (int i = 0; i < argc; i++) {
        if (next.point_count == POINTS_MAX || num_parse_i64(argv[i], &next.points[next.point_count++]) != 0) {
            buf_append_cstr(error, "bad points");
            return -1;
        }
    }
    *o = next;
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
        buf_printf(out, "p %lld\n", (long long)o->points[i]);
}

static const struct setting_enum modes[] = {{"a", 1}, {"b", 2}, {NULL, 0}};
static const struct setting_enum bits[] = {{"none", 0}, {"x", 1}, {"y", 2}, {NULL, 0}};

#define FIELD(f) offsetof(struct options, f)

static const struct setting rows[] = {
    {.name = "f", .alias = "g", .type = SETTING_BOOL, .initial = "no", .offset = FIELD(flag)},
    {.name = "n", .type = SETTING_INT, .initial = "1", .min = INT64_MIN, .max = INT64_MAX, .offset = FIELD(number)},
    {.name = "m", .type = SETTING_MEMORY, .initial = "1mb", .min = 0, .max = INT64_MAX, .offset = FIELD(memory)},
    {.name = "c", .type = SETTING_PERCENT, .initial = "0", .min = -100, .max = INT64_MAX, .offset = FIELD(percent)},
    {.name = "o", .type = SETTING_OCTAL, .initial = "0", .min = 0, .max = 0777, .offset = FIELD(octal)},
    {.name = "t", .type = SETTING_STRING, .initial = "", .offset = FIELD(text)},
    {.name = "e", .type = SETTING_ENUM, .initial = "a", .names = modes, .offset = FIELD(mode)},
    {.name = "b",
     .type = SETTING_ENUM,
     .flags = SETTING_MULTI_ARG,
     .initial = "none",
     .names = bits,
     .enum_bits = true,
     .offset = FIELD(bits)},
    {.name = "p",
     .type = SETTING_SPECIAL,
     .flags = SETTING_MULTI_ARG | SETTING_ADDS_UP,
     .initial = "3 4",
     .set = set_points,
     .get = get_points,
     .rewrite = rewrite_points},
    {.name = "dir", .type = SETTING_STRING, .flags = SETTING_IMMUTABLE, .initial = ".", .offset = FIELD(dir)},
};
#define ROWS (sizeof rows / sizeof rows[0])

static char directory[64], path[96];

static void clean_up(void) {
    (void)unlink(path);
    (void)rmdir(directory);
}

static struct settings *load(struct options *o, struct buf *error) {
    struct settings *s = settings_create();
    memset(o, 0, sizeof *o);
    settings_register(s, rows, ROWS, o, o);
    struct buf extra = BUF_INIT;
    buf_printf(&extra, "dir %s\n", directory);
    int result = settings_load(s, path, buf_slice(&extra), error);
    buf_deinit(&extra);
    if (result == 0)
        return s;
    HF_ASSERT(error->len > 0);
    settings_destroy(s);
    return NULL;
}

static void change(struct settings *s, struct slice value, struct buf *error) {
    for (size_t i = 0; i < ROWS; i++) {
        struct slice pair[2] = {slice_cstr(rows[i].name), value};
        struct buf before = BUF_INIT, after = BUF_INIT;
        HF_ASSERT(settings_value(s, rows[i].name, &before) == 0);
        buf_clear(error);
        if (settings_set(s, pair, 1, false, true, error) != 0) {
            HF_ASSERT(error->len > 0 && settings_value(s, rows[i].name, &after) == 0);
            HF_ASSERT(slice_eq(buf_slice(&before), buf_slice(&after)));
        }
        buf_deinit(&before);
        buf_deinit(&after);
    }
}

static void check_rewrite(struct settings *s, struct buf *error) {
    struct options o;
    buf_clear(error);
    HF_ASSERT(settings_rewrite(s, fs_posix(), error) == 0);
    struct settings *again = load(&o, error);
    HF_ASSERT(again != NULL);
    for (size_t i = 0; i < ROWS; i++) {
        struct buf a = BUF_INIT, b = BUF_INIT;
        HF_ASSERT(settings_value(s, rows[i].name, &a) == 0 && settings_value(again, rows[i].name, &b) == 0);
        HF_ASSERT(slice_eq(buf_slice(&a), buf_slice(&b)));
        buf_deinit(&a);
        buf_deinit(&b);
    }
    settings_destroy(again);
}

/* Includes would read files of this machine: they are tested elsewhere. */
static bool includes(struct slice text) {
    for (size_t i = 0; i + 7 <= text.n; i++)
        if (slice_is(slice_of(text.p + i, 7), "include"))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (directory[0] == '\0') {
        snprintf(directory, sizeof directory, "%s/hf-fuzz-config-%d",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
        (void)fs_posix()->mkdir(NULL, directory, 0700);
        snprintf(path, sizeof path, "%s/f.conf", directory);
        (void)atexit(clean_up);
    }
    const uint8_t *zero = size > 0 ? memchr(data, '\0', size) : NULL;
    struct slice text = slice_of(data, zero != NULL ? (size_t)(zero - data) : size);
    struct slice value = zero != NULL ? slice_of(zero + 1, size - text.n - 1) : SLICE_LIT("2");
    struct buf error = BUF_INIT;
    struct options o;
    if (size > 4096 || includes(text) || fs_replace_file(fs_posix(), path, text.p, text.n, NULL) != 0)
        return 0;
    struct settings *s = load(&o, &error);
    if (s != NULL) {
        change(s, value, &error);
        check_rewrite(s, &error);
        settings_destroy(s);
    }
    buf_deinit(&error);
    return 0;
}
