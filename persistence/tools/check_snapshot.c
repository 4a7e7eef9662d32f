#include "config.h"

#include "persistence/tools/check_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/fs.h"

#define SHOWN_MAX 200 /* characters of an aux field's name or value */

static void print_repr(struct slice s) {
    struct buf b;
    buf_init(&b);
    buf_append_repr(&b, slice_of(s.p, s.n < SHOWN_MAX ? s.n : SHOWN_MAX));
    printf("%.*s%s", (int)b.len, b.data, s.n > SHOWN_MAX ? "..." : "");
    buf_deinit(&b);
}

static void print_aux(void *arg, uint64_t offset, struct slice name, struct slice value) {
    (void)arg;
    printf("[offset %" PRIu64 "] AUX FIELD ", offset);
    print_repr(name);
    printf(" = ");
    print_repr(value);
    printf("\n");
}

static void print_selectdb(void *arg, uint64_t offset, uint64_t db) {
    (void)arg;
    printf("[offset %" PRIu64 "] Selecting DB ID %" PRIu64 "\n", offset, db);
}

static int open_file(const struct fs *fs, const char *path, struct rdb_error *ret_error) {
    struct fs_stat st;
    int fd = fs->open(fs->ctx, path, O_RDONLY, 0);
    int err = fd < 0 ? fd : fs->stat(fs->ctx, path, &st);
    if (err >= 0 && st.is_dir)
        err = -EISDIR;
    if (err >= 0)
        return fd;
    if (fd >= 0)
        fs->close(fs->ctx, fd);
    *ret_error = (struct rdb_error){.code = RDB_ERR_IO, .sys_errno = -err};
    snprintf(ret_error->text, sizeof ret_error->text, "cannot open %.300s: %s", path, strerror(-err));
    return -1;
}

int check_snapshot_file(const char *path, bool verbose, bool trailing, struct rdb_check_report *ret_report,
                        struct rdb_error *ret_error) {
    const struct fs *fs = fs_posix();
    const struct rdb_check_options o = {
        .trailing = trailing,
        .now_ms = clock_wall_ms(),
        .aux = verbose ? print_aux : NULL,
        .selectdb = verbose ? print_selectdb : NULL,
    };
    struct rdb_reader r;
    *ret_report = (struct rdb_check_report){.doing = "the file"};
    int fd = open_file(fs, path, ret_error);
    if (fd < 0)
        return -1;
    int err = rdb_reader_init_fd(&r, fs, fd);
    if (err == 0)
        err = rdb_check(&r, &o, ret_report, ret_error);
    else
        *ret_error = r.error;
    rdb_reader_deinit(&r);
    fs->close(fs->ctx, fd);
    return err;
}

static void print_chunk(void *arg, uint64_t from, uint64_t to) {
    unsigned *found = arg;
    if ((*found)++ == 0)
        printf("[info] Damaged chunks, found by the checksums inside the file:\n");
    printf("[damage] bytes %" PRIu64 " to %" PRIu64 "\n", from, to);
}

void check_snapshot_print_chunks(const char *path) {
    const struct fs *fs = fs_posix();
    struct rdb_error error;
    struct rdb_reader r;
    unsigned found = 0;
    uint64_t chunks = 0;
    int fd = open_file(fs, path, &error);
    if (fd < 0)
        return;
    if (rdb_reader_init_fd(&r, fs, fd) == 0 && rdb_check_chunks(&r, print_chunk, &found, &chunks, &error) == 0 &&
        chunks > 0 && found == 0)
        printf("[info] All %" PRIu64 " chunk checksums inside the file match\n", chunks);
    rdb_reader_deinit(&r);
    fs->close(fs->ctx, fd);
}
