#include "config.h"

#include "tests/support/simdisk.h"

#include "tests/support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

struct disk {
    struct simdisk *sim;
    const struct fs *fs;
};

static struct disk make(uint64_t seed) {
    struct simdisk *sim = simdisk_create(seed);
    return (struct disk){sim, simdisk_fs(sim)};
}

static int create(struct disk d, const char *path) {
    int fd = d.fs->open(d.fs->ctx, path, O_RDWR | O_CREAT, 0644);
    assert_true(fd >= 0);
    return fd;
}

static void put(struct disk d, int fd, const char *s) {
    assert_int_equal(fs_write_all(d.fs, fd, s, strlen(s)), 0);
}

static void sync_dir(struct disk d, const char *dir) {
    int fd = d.fs->open(d.fs->ctx, dir, O_RDONLY | O_DIRECTORY, 0);
    assert_true(fd >= 0);
    assert_int_equal(d.fs->fsync(d.fs->ctx, fd), 0);
    assert_int_equal(d.fs->close(d.fs->ctx, fd), 0);
}

static void assert_holds(struct disk d, const char *path, const char *text) {
    struct buf b = BUF_INIT;
    assert_int_equal(simdisk_get(d.sim, path, &b), 0);
    assert_bytes_are(b.data, b.len, text);
    buf_deinit(&b);
}

static void files_read_back_what_was_written(void **state) {
    (void)state;
    struct disk d = make(1);
    assert_int_equal(d.fs->open(d.fs->ctx, "/f", O_RDONLY, 0), -ENOENT);
    assert_int_equal(d.fs->open(d.fs->ctx, "/no/f", O_WRONLY | O_CREAT, 0644), -ENOENT);
    int fd = create(d, "f");
    put(d, fd, "hello");
    assert_int_equal(d.fs->lseek(d.fs->ctx, fd, 1, SEEK_SET), 1);
    put(d, fd, "E");
    char got[8];
    assert_int_equal(d.fs->pread(d.fs->ctx, fd, got, 8, 0), 5);
    assert_memory_equal(got, "hEllo", 5);
    assert_int_equal(d.fs->read(d.fs->ctx, fd, got, 8), 3);
    assert_int_equal(d.fs->read(d.fs->ctx, fd, got, 8), 0);
    assert_int_equal(d.fs->ftruncate(d.fs->ctx, fd, 2), 0);
    assert_int_equal(d.fs->ftruncate(d.fs->ctx, fd, 4), 0);
    assert_int_equal(d.fs->pread(d.fs->ctx, fd, got, 8, 0), 4);
    assert_memory_equal(got, "hE\0\0", 4);
    assert_int_equal(d.fs->close(d.fs->ctx, fd), 0);
    assert_int_equal(d.fs->close(d.fs->ctx, fd), -EBADF);
    fd = d.fs->open(d.fs->ctx, "//./x/../f", O_WRONLY | O_APPEND, 0);
    put(d, fd, "!");
    assert_int_equal(d.fs->lseek(d.fs->ctx, fd, 0, SEEK_END), 5);
    assert_int_equal(d.fs->open(d.fs->ctx, "/f", O_WRONLY | O_CREAT | O_EXCL, 0), -EEXIST);
    assert_int_equal(d.fs->open(d.fs->ctx, "/f", O_RDONLY | O_DIRECTORY, 0), -ENOTDIR);
    simdisk_check(d.sim);
    simdisk_destroy(d.sim);
}

static void what_was_synced_survives_every_crash(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct disk d = make(seed);
        int fd = create(d, "/f");
        put(d, fd, "durable");
        assert_int_equal(d.fs->fdatasync(d.fs->ctx, fd), 0);
        sync_dir(d, "/");
        simdisk_check(d.sim);
        simdisk_crash(d.sim);
        assert_holds(d, "/f", "durable");
        assert_int_equal(simdisk_open_files(d.sim), 0);
        assert_int_equal(d.fs->fsync(d.fs->ctx, fd), -EBADF);
        simdisk_destroy(d.sim);
    }
}

/* Without fsync of the directory, over many seeds the name is sometimes there and sometimes not; the contents likewise.
 */
static void what_was_not_synced_may_go_either_way(void **state) {
    (void)state;
    int named = 0, whole = 0, empty = 0, torn = 0;
    char page[2048];
    memset(page, 'x', sizeof page);
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct disk d = make(seed);
        int fd = create(d, "/f");
        assert_int_equal(fs_write_all(d.fs, fd, page, sizeof page), 0);
        simdisk_crash(d.sim);
        struct buf b = BUF_INIT;
        if (simdisk_get(d.sim, "/f", &b) == 0) {
            named++;
            if (b.len == 0)
                empty++;
            else if (b.len == sizeof page && memcmp(b.data, page, b.len) == 0)
                whole++;
            else
                torn++;
        }
        buf_deinit(&b);
        simdisk_destroy(d.sim);
    }
    assert_in_range(named, 150, 250);
    assert_true(whole > 10 && empty > 10 && torn > 10);
}

static void a_strict_crash_keeps_only_what_is_durable(void **state) {
    (void)state;
    struct disk d = make(1);
    int fd = create(d, "/a");
    put(d, fd, "one");
    assert_int_equal(d.fs->fsync(d.fs->ctx, fd), 0);
    sync_dir(d, "/");
    put(d, fd, "two");
    assert_int_equal(d.fs->rename(d.fs->ctx, "/a", "/b"), 0);
    (void)create(d, "/c");
    simdisk_crash_strict(d.sim);
    assert_holds(d, "/a", "one");
    assert_false(simdisk_exists(d.sim, "/b"));
    assert_false(simdisk_exists(d.sim, "/c"));
    simdisk_destroy(d.sim);
}

static void a_rename_is_seen_at_once_and_durable_with_its_directory(void **state) {
    (void)state;
    int kept_old = 0, got_new = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct disk d = make(seed);
        simdisk_put(d.sim, "/dir/f", "old", 3);
        int fd = create(d, "/dir/tmp");
        put(d, fd, "new");
        assert_int_equal(d.fs->fsync(d.fs->ctx, fd), 0);
        assert_int_equal(d.fs->rename(d.fs->ctx, "/dir/tmp", "/dir/f"), 0);
        assert_holds(d, "/dir/f", "new");
        assert_false(simdisk_exists(d.sim, "/dir/tmp"));
        if (seed % 2 == 0)
            sync_dir(d, "/dir");
        simdisk_crash(d.sim);
        struct buf b = BUF_INIT;
        assert_int_equal(simdisk_get(d.sim, "/dir/f", &b), 0);
        bool is_new = slice_eq(buf_slice(&b), SLICE_LIT("new"));
        assert_true(is_new || (seed % 2 == 1 && slice_eq(buf_slice(&b), SLICE_LIT("old"))));
        kept_old += !is_new;
        got_new += is_new;
        buf_deinit(&b);
        simdisk_destroy(d.sim);
    }
    assert_true(kept_old > 5 && got_new > 55);
}

static void a_directory_needs_its_parents_sync(void **state) {
    (void)state;
    struct disk d = make(1);
    assert_int_equal(d.fs->mkdir(d.fs->ctx, "/data", 0755), 0);
    assert_int_equal(d.fs->mkdir(d.fs->ctx, "/data", 0755), -EEXIST);
    int fd = create(d, "/data/f");
    put(d, fd, "x");
    assert_int_equal(d.fs->fsync(d.fs->ctx, fd), 0);
    sync_dir(d, "/data");
    simdisk_crash_strict(d.sim);
    assert_false(simdisk_exists(d.sim, "/data"));
    assert_false(simdisk_exists(d.sim, "/data/f"));
    simdisk_destroy(d.sim);
}

/* The trap of fsync: the second one succeeds, and the bytes are not there. */
static void a_failed_fsync_loses_pages_that_the_next_one_does_not_bring_back(void **state) {
    (void)state;
    int lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct disk d = make(seed);
        int fd = create(d, "/f");
        sync_dir(d, "/");
        put(d, fd, "payload");
        simdisk_fail(d.sim, SIMDISK_FSYNC, NULL, 0, 1, EIO);
        assert_int_equal(d.fs->fsync(d.fs->ctx, fd), -EIO);
        assert_int_equal(d.fs->fsync(d.fs->ctx, fd), 0);
        assert_holds(d, "/f", "payload"); /* the cache still says so */
        simdisk_crash(d.sim);
        struct buf b = BUF_INIT;
        assert_int_equal(simdisk_get(d.sim, "/f", &b), 0);
        lost += !slice_eq(buf_slice(&b), SLICE_LIT("payload"));
        buf_deinit(&b);
        simdisk_destroy(d.sim);
    }
    assert_true(lost > 50);
    struct disk d = make(1);
    int fd = create(d, "/f");
    sync_dir(d, "/");
    put(d, fd, "payload");
    simdisk_fail(d.sim, SIMDISK_FSYNC, NULL, 0, 1, EIO);
    assert_int_equal(d.fs->fsync(d.fs->ctx, fd), -EIO);
    assert_int_equal(d.fs->lseek(d.fs->ctx, fd, 0, SEEK_SET), 0);
    put(d, fd, "payload");
    assert_int_equal(d.fs->fsync(d.fs->ctx, fd), 0);
    simdisk_crash_strict(d.sim);
    assert_holds(d, "/f", "payload");
    simdisk_destroy(d.sim);
}

static void a_killed_process_leaves_what_it_wrote(void **state) {
    (void)state;
    struct disk d = make(3);
    int fd = create(d, "/f");
    put(d, fd, "abc");
    simdisk_kill_at(d.sim, 2);
    put(d, fd, "def");
    assert_int_equal(d.fs->rename(d.fs->ctx, "/f", "/g"), -EIO);
    assert_true(simdisk_is_dead(d.sim));
    assert_int_equal(fs_write_all(d.fs, fd, "ghi", 3), -EIO);
    assert_int_equal(d.fs->open(d.fs->ctx, "/f", O_RDONLY, 0), -EIO);
    simdisk_process_kill(d.sim);
    assert_false(simdisk_is_dead(d.sim));
    assert_holds(d, "/f", "abcdef");
    assert_int_equal(simdisk_open_files(d.sim), 0);
    simdisk_crash_strict(d.sim); /* it was never durable */
    assert_false(simdisk_exists(d.sim, "/f"));
    simdisk_destroy(d.sim);
}

static void a_kill_in_a_write_leaves_a_part(void **state) {
    (void)state;
    bool seen[11] = {false};
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct disk d = make(seed);
        int fd = create(d, "/f");
        simdisk_kill_at(d.sim, 1);
        assert_int_equal(fs_write_all(d.fs, fd, "0123456789", 10), -EIO);
        simdisk_process_kill(d.sim);
        struct buf b = BUF_INIT;
        assert_int_equal(simdisk_get(d.sim, "/f", &b), 0);
        assert_true(b.len <= 10);
        assert_true(b.len == 0 || memcmp(b.data, "0123456789", b.len) == 0);
        seen[b.len] = true;
        buf_deinit(&b);
        simdisk_destroy(d.sim);
    }
    for (int n = 0; n <= 10; n++)
        assert_true(seen[n]);
}

static void rules_pick_the_call_by_kind_path_and_number(void **state) {
    (void)state;
    struct disk d = make(1);
    int a = create(d, "/a.aof"), b = create(d, "/b.rdb");
    simdisk_fail(d.sim, SIMDISK_WRITE, ".aof", 1, 2, ENOSPC);
    assert_int_equal(d.fs->write(d.fs->ctx, b, "x", 1), 1);
    assert_int_equal(d.fs->write(d.fs->ctx, a, "x", 1), 1);
    assert_int_equal(d.fs->write(d.fs->ctx, a, "x", 1), -ENOSPC);
    assert_int_equal(d.fs->write(d.fs->ctx, b, "x", 1), 1);
    assert_int_equal(d.fs->write(d.fs->ctx, a, "x", 1), -ENOSPC);
    assert_int_equal(d.fs->write(d.fs->ctx, a, "x", 1), 1);
    simdisk_fail(d.sim, SIMDISK_ANY, NULL, 0, SIMDISK_FOREVER, EIO);
    for (int i = 0; i < 10; i++)
        assert_int_equal(d.fs->unlink(d.fs->ctx, "/a.aof"), -EIO);
    simdisk_heal(d.sim);
    assert_int_equal(d.fs->unlink(d.fs->ctx, "/a.aof"), 0);
    assert_int_equal(simdisk_count(d.sim, SIMDISK_WRITE), 6);
    assert_int_equal(simdisk_changes(d.sim), 2 + 6 + 11);
    assert_int_equal(d.fs->write(d.fs->ctx, a, "x", 1), 1); /* lives on while it is open */
    simdisk_check(d.sim);
    simdisk_destroy(d.sim);
}

static void a_full_disk_takes_what_fits(void **state) {
    (void)state;
    struct disk d = make(1);
    int fd = create(d, "/f");
    simdisk_set_capacity(d.sim, 10);
    assert_int_equal(d.fs->write(d.fs->ctx, fd, "12345678", 8), 8);
    assert_int_equal(d.fs->write(d.fs->ctx, fd, "12345678", 8), 2);
    assert_int_equal(d.fs->write(d.fs->ctx, fd, "12345678", 8), -ENOSPC);
    assert_int_equal(d.fs->lseek(d.fs->ctx, fd, 0, SEEK_SET), 0);
    assert_int_equal(d.fs->write(d.fs->ctx, fd, "abcd", 4), 4);
    simdisk_heal(d.sim);
    assert_int_equal(d.fs->lseek(d.fs->ctx, fd, 0, SEEK_END), 10);
    put(d, fd, "more");
    assert_holds(d, "/f", "abcd567812more");
    simdisk_destroy(d.sim);
}

static int note_name(void *arg, const char *name) {
    buf_printf(arg, "%s,", name);
    return 0;
}

static int stop_at_once(void *arg, const char *name) {
    (void)name;
    return ++*(int *)arg;
}

static void a_directory_lists_its_own_entries(void **state) {
    (void)state;
    struct disk d = make(1);
    simdisk_put(d.sim, "/d/one", "1", 1);
    simdisk_put(d.sim, "/d/sub/deep", "1", 1);
    simdisk_put(d.sim, "/other", "1", 1);
    struct buf b = BUF_INIT;
    assert_int_equal(d.fs->list_dir(d.fs->ctx, "/d/", note_name, &b), 0);
    assert_true(b.len == 8 && memmem(b.data, b.len, "one,", 4) && memmem(b.data, b.len, "sub,", 4));
    buf_deinit(&b);
    int seen = 0;
    assert_int_equal(d.fs->list_dir(d.fs->ctx, "/d", stop_at_once, &seen), 0);
    assert_int_equal(seen, 1);
    assert_int_equal(d.fs->list_dir(d.fs->ctx, "/none", stop_at_once, &seen), -ENOENT);
    struct fs_stat st;
    assert_int_equal(d.fs->stat(d.fs->ctx, "/d/sub", &st), 0);
    assert_true(st.is_dir);
    assert_int_equal(d.fs->stat(d.fs->ctx, "/d/one", &st), 0);
    assert_true(!st.is_dir && st.size_bytes == 1);
    assert_int_equal(d.fs->rename(d.fs->ctx, "/d", "/e"), 0);
    assert_holds(d, "/e/sub/deep", "1");
    simdisk_check(d.sim);
    simdisk_destroy(d.sim);
}

static void tampering_reaches_the_medium(void **state) {
    (void)state;
    struct disk d = make(1);
    simdisk_put(d.sim, "/f", "abc", 3);
    simdisk_flip_bit(d.sim, "/f", 8 + 1);
    assert_holds(d, "/f", "a`c");
    simdisk_crash_strict(d.sim);
    assert_holds(d, "/f", "a`c");
    int fd = create(d, "/g");
    put(d, fd, "g");
    simdisk_sync(d.sim);
    simdisk_crash_strict(d.sim);
    assert_holds(d, "/g", "g");
    simdisk_destroy(d.sim);
}

static void count_hook(void *arg, enum simdisk_op op, const char *path) {
    *(int *)arg += op == SIMDISK_WRITE && strcmp(path, "/f") == 0;
}

static void the_hook_sees_calls_with_their_path(void **state) {
    (void)state;
    struct disk d = make(1);
    int writes = 0;
    simdisk_set_hook(d.sim, count_hook, &writes);
    int fd = create(d, "f");
    put(d, fd, "x");
    put(d, fd, "y");
    assert_int_equal(writes, 2);
    simdisk_destroy(d.sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_read_back_what_was_written),
        cmocka_unit_test(what_was_synced_survives_every_crash),
        cmocka_unit_test(what_was_not_synced_may_go_either_way),
        cmocka_unit_test(a_strict_crash_keeps_only_what_is_durable),
        cmocka_unit_test(a_rename_is_seen_at_once_and_durable_with_its_directory),
        cmocka_unit_test(a_directory_needs_its_parents_sync),
        cmocka_unit_test(a_failed_fsync_loses_pages_that_the_next_one_does_not_bring_back),
        cmocka_unit_test(a_killed_process_leaves_what_it_wrote),
        cmocka_unit_test(a_kill_in_a_write_leaves_a_part),
        cmocka_unit_test(rules_pick_the_call_by_kind_path_and_number),
        cmocka_unit_test(a_full_disk_takes_what_fits),
        cmocka_unit_test(a_directory_lists_its_own_entries),
        cmocka_unit_test(tampering_reaches_the_medium),
        cmocka_unit_test(the_hook_sees_calls_with_their_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
