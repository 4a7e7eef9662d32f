/* AOF files: the input is an increment. Whatever it is, the loader answers, what it cuts is whole, and the checker
 * agrees. */
#include "config.h"

#include <stddef.h>
#include <stdint.h>

#include "persistence/aof/check.h"
#include "persistence/aof/loader.h"
#include "server/base/assert.h"
#include "tests/support/simdisk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MANIFEST "/d/a/f.manifest"
#define INCR "/d/a/f.1.incr.aof"

static int on_apply(void *ctx, int argc, const struct slice *argv, struct buf *error) {
    (void)error;
    size_t *commands = ctx;
    HF_ASSERT(argc > 0);
    /* Every byte of every argument is there. */
    volatile char sink = 0;
    for (int i = 0; i < argc; i++)
        for (size_t k = 0; k < argv[i].n; k++)
            sink = (char)(sink ^ argv[i].p[k]);
    ++*commands;
    return 0;
}

static int on_base(void *ctx, const char *path, int64_t *ret_rest, struct buf *error) {
    (void)ctx;
    (void)path;
    *ret_rest = -1;
    buf_append_cstr(error, "no snapshots here");
    return -1;
}

static void on_report(void *ctx, const char *line) {
    (void)ctx;
    (void)line;
}

static enum loader_status load(const struct fs *fs, bool read_only, size_t *commands, uint64_t *ret_offset) {
    struct loader_options o = {
        .dir = "/d", .dirname = "a", .filename = "f", .load_truncated = true, .read_only = read_only};
    struct loader_callbacks cb = {.ctx = commands, .load_base = on_base, .apply = on_apply};
    struct loader_result r;
    struct buf error = BUF_INIT;
    *commands = 0;
    enum loader_status st = loader_load(fs, &o, &cb, &r, &error);
    HF_ASSERT(st == LOADER_OK || error.len > 0);
    *ret_offset = r.recovery.offset;
    loader_result_deinit(&r);
    buf_deinit(&error);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct simdisk *disk = simdisk_create(1);
    const struct fs *fs = simdisk_fs(disk);
    static const char manifest[] = "file f.1.incr.aof seq 1 type i\n";
    simdisk_put(disk, MANIFEST, manifest, sizeof manifest - 1);
    simdisk_put(disk, INCR, data, size);
    size_t first, second;
    uint64_t offset, again;
    enum loader_status st = load(fs, false, &first, &offset);
    if (st == LOADER_OK) {
        /* What was cut off does not change what is there. */
        HF_ASSERT(load(fs, true, &second, &again) == LOADER_OK);
        HF_ASSERT(second <= first && again == offset);
    }
    struct aof_check_options o = {.fix = true, .truncate_to_timestamp_s = -1};
    struct aof_check_callbacks cb = {.report = on_report};
    enum aof_check_status checked = aof_check_path(fs, MANIFEST, &o, &cb);
    HF_ASSERT(st != LOADER_OK || checked == AOF_CHECK_OK);
    HF_ASSERT(checked == AOF_CHECK_OK || checked == AOF_CHECK_FIXED);
    HF_ASSERT(aof_check_path(fs, MANIFEST, &o, &cb) == AOF_CHECK_OK);
    o.truncate_to_timestamp_s = 1000000000;
    checked = aof_check_path(fs, MANIFEST, &o, &cb);
    HF_ASSERT(checked == AOF_CHECK_OK || checked == AOF_CHECK_FIXED);
    simdisk_destroy(disk);
    return 0;
}
