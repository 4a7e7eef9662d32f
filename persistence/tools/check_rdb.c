/* holdfast-check-rdb: reads snapshots of every version, type and codec to their end and says where the first fault
 * lies. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persistence/tools/check_snapshot.h"
#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/base/mem.h"

static const char usage[] =
    "Usage: holdfast-check-rdb FILE|DIRECTORY...\n"
    "\n"
    "Reads snapshots (RDB files of Redis 1 to 8, Valkey and Holdfast, plain or compressed as LZ4 or gzip) without "
    "loading them, verifies every\n"
    "record, value and checksum, and names offset, key and reason of the first fault. Of a DIRECTORY, such as an AOF\n"
    "directory, the files *.rdb are checked.\n"
    "\n"
    "  --help     show this text\n"
    "  --version  show the version\n"
    "\n"
    "The exit status is 0 when all is well and 1 otherwise.\n";

static void print_totals(const struct rdb_check_report *r) {
    printf("[info] %" PRIu64 " keys read\n", r->keys);
    printf("[info] %" PRIu64 " expires\n", r->with_deadline);
    printf("[info] %" PRIu64 " already expired\n", r->expired);
    for (unsigned t = 0; t < RDB_CHECK_TYPES; t++)
        if (r->by_type[t] > 0)
            printf("[info] %" PRIu64 " of value type %u (%s)\n", r->by_type[t], t,
                   rdb_check_type_name(t) != NULL ? rdb_check_type_name(t) : "unknown");
    if (r->functions > 0)
        printf("[info] %" PRIu64 " function libraries\n", r->functions);
    if (r->module_aux > 0)
        printf("[info] %" PRIu64 " sections of modules\n", r->module_aux);
}

static int check_file(const char *path) {
    struct rdb_check_report report;
    struct rdb_error error;
    printf("[offset 0] Checking RDB file %s\n", path);
    int err = check_snapshot_file(path, true, false, &report, &error);
    if (report.version != 0)
        printf("[info] version %u%s, codec %s\n", report.version, report.valkey ? " of Valkey" : "",
               rdb_codec_name(report.codec));
    if (err != 0) {
        printf("--- RDB ERROR DETECTED ---\n");
        printf("[offset %" PRIu64 "] %s\n", error.offset, error.text);
        printf("[additional info] While reading: %s\n", report.doing);
        if (error.key[0] != '\0')
            printf("[additional info] %s '%s'\n",
                   error.code == RDB_ERR_CHECKSUM ? "First key of the damaged range:" : "Reading key", error.key);
        if (error.code != RDB_ERR_IO)
            check_snapshot_print_chunks(path);
        print_totals(&report);
        return 1;
    }
    if (report.checksum_checked)
        printf("[offset %" PRIu64 "] Checksum OK\n", report.bytes);
    else
        printf("[offset %" PRIu64 "] The snapshot has no checksum\n", report.bytes);
    if (report.chunks_checked > 0)
        printf("[info] %" PRIu64 " chunk checksums match\n", report.chunks_checked);
    printf("[offset %" PRIu64 "] \\o/ RDB looks OK! \\o/\n", report.bytes);
    print_totals(&report);
    return 0;
}

/* Collects the names of snapshots in a directory, each ended by a NUL. */
static int collect(void *arg, const char *name) {
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, ".rdb") == 0 && strncmp(name, "temp-", 5) != 0)
        buf_append(arg, name, n + 1);
    return 0;
}

static int check_directory(const char *dir) {
    const struct fs *fs = fs_posix();
    struct buf names;
    int failed = 0;
    buf_init(&names);
    int err = fs->list_dir(fs->ctx, dir, collect, &names);
    if (err < 0) {
        printf("Cannot read directory %s: %s\n", dir, strerror(-err));
        failed = 1;
    } else if (names.len == 0) {
        printf("There is no file *.rdb in %s\n", dir);
        failed = 1;
    }
    for (size_t at = 0; at < names.len; at += strlen(names.data + at) + 1) {
        struct buf path;
        buf_init(&path);
        buf_printf(&path, "%s/%s", dir, names.data + at);
        char *name = buf_take_cstr(&path);
        failed |= check_file(name);
        mem_free(name);
    }
    buf_deinit(&names);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("holdfast-check-rdb %s\n", PACKAGE_VERSION);
        return 0;
    }
    if (argc < 2 || (argv[1][0] == '-' && argv[1][1] == '-')) {
        fputs(usage, stderr);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        const struct fs *fs = fs_posix();
        struct fs_stat st;
        if (fs->stat(fs->ctx, argv[i], &st) == 0 && st.is_dir)
            failed |= check_directory(argv[i]);
        else
            failed |= check_file(argv[i]);
    }
    if (fflush(stdout) != 0) {
        perror("holdfast-check-rdb");
        return 1;
    }
    return failed;
}
