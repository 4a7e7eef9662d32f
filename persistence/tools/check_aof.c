/* holdfast-check-aof: reads AOF directories and files of every form, names the first fault, and cuts a damaged or
 * unwanted tail. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persistence/aof/check.h"
#include "persistence/tools/check_snapshot.h"
#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/base/mem.h"
#include "server/base/num.h"

static const char usage[] =
    "Usage: holdfast-check-aof [--fix | --truncate-to-timestamp T] FILE|MANIFEST|DIRECTORY\n"
    "\n"
    "Reads an AOF (a directory with its manifest, or a single file with or without a snapshot at its head) without "
    "executing\n"
    "it, and names file, offset, key and reason of the first fault.\n"
    "\n"
    "  --fix                      cut the last file behind its last good group\n"
    "  --truncate-to-timestamp T  cut the last file behind the last group at or before the Unix time T\n"
    "  --help                     show this text\n"
    "  --version                  show the version\n"
    "\n"
    "Before a file is cut, a confirmation is read from standard input. The exit status is 0 when all is well or was "
    "repaired, 1 otherwise.\n";

static int check_rdb(void *ctx, const char *path, int64_t *ret_rest_offset, int64_t *ret_offset,
                     struct buf *ret_error) {
    (void)ctx;
    struct rdb_check_report report;
    struct rdb_error error;
    int err = check_snapshot_file(path, false, true, &report, &error);
    *ret_rest_offset = (int64_t)report.bytes;
    if (err == 0)
        return 0;
    *ret_offset = (int64_t)error.offset;
    buf_append_cstr(ret_error, error.text);
    return 1;
}

static void print_line(void *ctx, const char *line) {
    (void)ctx;
    printf("%s\n", line);
}

static bool confirm(void *ctx, const char *path, int64_t size, int64_t keep_bytes) {
    char answer[16];
    (void)ctx;
    printf("This will shrink %s from %lld to %lld bytes.\nContinue? [y/N]: ", path, (long long)size,
           (long long)keep_bytes);
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* The only manifest in a directory, appended to *b (empty: none; a second one is an error told by the count). */
struct manifests {
    struct buf name;
    unsigned count;
};

static int collect(void *arg, const char *name) {
    struct manifests *m = arg;
    static const char suffix[] = ".manifest";
    size_t n = strlen(name), k = sizeof suffix - 1;
    if (n > k && strcmp(name + n - k, suffix) == 0 && strncmp(name, "temp", 4) != 0) {
        m->count++;
        buf_clear(&m->name);
        buf_append_cstr(&m->name, name);
    }
    return 0;
}

/* The path to check (free with mem_free()), or NULL after a message. */
static char *resolve(const char *path) {
    const struct fs *fs = fs_posix();
    struct fs_stat st;
    struct manifests m = {.count = 0};
    struct buf out;
    int err = fs->stat(fs->ctx, path, &st);
    if (err < 0) {
        fprintf(stderr, "Cannot open %s: %s\n", path, strerror(-err));
        return NULL;
    }
    if (!st.is_dir)
        return mem_strdup(path);
    buf_init(&out);
    err = fs->list_dir(fs->ctx, path, collect, &m);
    if (err < 0)
        fprintf(stderr, "Cannot read directory %s: %s\n", path, strerror(-err));
    else if (m.count != 1)
        fprintf(stderr, "There %s in directory %s: name the manifest\n",
                m.count == 0 ? "is no manifest" : "are several manifests", path);
    else
        buf_printf(&out, "%s/%.*s", path, (int)m.name.len, m.name.data);
    buf_deinit(&m.name);
    if (out.len > 0)
        return buf_take_cstr(&out);
    buf_deinit(&out);
    return NULL;
}

static int usage_error(void) {
    fputs(usage, stderr);
    return 1;
}

int main(int argc, char **argv) {
    struct aof_check_options o = {.truncate_to_timestamp_s = -1};
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("holdfast-check-aof %s\n", PACKAGE_VERSION);
            return 0;
        }
        if (strcmp(argv[i], "--fix") == 0) {
            o.fix = true;
        } else if (strcmp(argv[i], "--truncate-to-timestamp") == 0 && i + 1 < argc) {
            if (num_parse_i64(slice_cstr(argv[++i]), &o.truncate_to_timestamp_s) != 0 ||
                o.truncate_to_timestamp_s < 0) {
                fprintf(stderr, "%s is no Unix time\n", argv[i]);
                return 1;
            }
        } else if (argv[i][0] == '-' || path != NULL) {
            return usage_error();
        } else {
            path = argv[i];
        }
    }
    if (path == NULL || (o.fix && o.truncate_to_timestamp_s >= 0))
        return usage_error();
    char *file = resolve(path);
    if (file == NULL)
        return 1;
    const struct aof_check_callbacks callbacks = {.check_rdb = check_rdb, .report = print_line, .confirm = confirm};
    enum aof_check_status status = aof_check_path(fs_posix(), file, &o, &callbacks);
    mem_free(file);
    if (fflush(stdout) != 0) {
        perror("holdfast-check-aof");
        return 1;
    }
    return status == AOF_CHECK_OK || status == AOF_CHECK_FIXED ? 0 : 1;
}
