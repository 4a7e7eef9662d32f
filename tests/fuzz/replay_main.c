/* main() of a fuzz target in builds without libFuzzer: runs the target on every file named, or in the directories
 * named. Without arguments, as `make check` runs it, fuzz_NAME takes tests/fuzz/corpus/NAME under $srcdir. A finding is
 * the target's own abort; here only missing input fails. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/base/mem.h"

#define FILE_BYTES_MAX ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long files;

/* From a block of exactly its size, so that a sanitizer sees the first byte read beyond it. */
static void run_bytes(const void *p, size_t n) {
    uint8_t *exact = mem_alloc(n);
    if (n > 0)
        memcpy(exact, p, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    mem_free(exact);
}

static int run_file(const char *path) {
    struct buf b = BUF_INIT;
    int rc = fs_read_file(fs_posix(), path, FILE_BYTES_MAX, &b);
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(-rc));
    } else {
        /* An abort leaves this as the last line. */
        printf("%s\n", path);
        fflush(stdout);
        run_bytes(b.data, b.len);
        files++;
    }
    buf_deinit(&b);
    return rc;
}

struct place {
    const char *directory;
    int rc;
};

static int run_entry(void *arg, const char *name) {
    struct place *place = arg;
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/%s", place->directory, name);
    char *text = buf_take_cstr(&path);
    place->rc = run_file(text);
    mem_free(text);
    return place->rc;
}

static int run_path(const char *path) {
    const struct fs *fs = fs_posix();
    struct fs_stat st;
    int rc = fs->stat(fs->ctx, path, &st);
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(-rc));
        return rc;
    }
    if (!st.is_dir)
        return run_file(path);
    struct place place = {path, 0};
    rc = fs->list_dir(fs->ctx, path, run_entry, &place);
    return place.rc != 0 ? place.rc : rc < 0 ? rc : 0;
}

int main(int argc, char **argv) {
    int rc = 0;
    run_bytes(NULL, 0);
    for (int i = 1; i < argc && rc == 0; i++)
        rc = run_path(argv[i]);
    if (argc == 1) {
        const char *name = strrchr(argv[0], '/');
        name = name != NULL ? name + 1 : argv[0];
        name += strncmp(name, "fuzz_", 5) == 0 ? 5 : 0;
        const char *srcdir = getenv("srcdir");
        struct buf path = BUF_INIT;
        buf_printf(&path, "%s/tests/fuzz/corpus/%s", srcdir != NULL ? srcdir : ".", name);
        char *text = buf_take_cstr(&path);
        rc = run_path(text);
        mem_free(text);
    }
    if (rc == 0 && files == 0) {
        fprintf(stderr, "no input files\n");
        rc = -ENOENT;
    }
    printf("%lu inputs\n", files);
    return rc == 0 ? 0 : 1;
}
