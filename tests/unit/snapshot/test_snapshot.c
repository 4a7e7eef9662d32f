#include "config.h"

#include "persistence/snapshot/snapshot.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "tests/support/simdisk.h"
#include "tests/support/unit.h"
#include "tests/unit/rdb/common.h"

#define FILE_PATH "/data/dump.rdb"

static void options(struct snapshot_options *o) {
    snapshot_options_default(o);
    o->rdb.now_ms = NOW_MS;
}

/* What the file on a simulated disk holds. */
static uint64_t keys_on_disk(struct simdisk *d) {
    struct buf b;
    struct keyspace *ks = common_keyspace();
    struct rdb_load_options lo;
    struct rdb_load_result result;
    struct rdb_error error;
    rdb_load_options_default(&lo);
    buf_init(&b);
    assert_int_equal(simdisk_get(d, FILE_PATH, &b), 0);
    if (common_load(buf_slice(&b), ks, &lo, &result, &error) != 0)
        fail_msg("the file is damaged: %s", error.text);
    buf_deinit(&b);
    keyspace_destroy(ks);
    return result.keys_loaded;
}

static bool has_temp(struct simdisk *d) {
    char name[64];
    snprintf(name, sizeof name, "/data/temp-%ld.rdb", (long)getpid());
    return simdisk_exists(d, name);
}

static struct simdisk *disk_with_old_file(uint64_t seed, const struct keyspace *old) {
    struct simdisk *d = simdisk_create(seed);
    struct rdb_save_options so;
    struct buf b;
    rdb_save_options_default(&so);
    so.now_ms = NOW_MS;
    buf_init(&b);
    common_save(old, &so, RDB_CODEC_NONE, &b);
    simdisk_put(d, FILE_PATH, b.data, b.len);
    buf_deinit(&b);
    return d;
}

struct pair {
    struct keyspace *old, *new;
    uint64_t old_keys, new_keys;
};

static int setup(void **state) {
    struct pair *p = mem_calloc(1, sizeof *p);
    p->old = common_keyspace();
    p->new = common_keyspace();
    common_put_text(p->old, "only", "this");
    common_fill(p->new, 2000);
    p->old_keys = 1;
    for (unsigned db = 0; db < 16; db++)
        p->new_keys += keyspace_size(p->new, db);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    struct pair *p = *state;
    keyspace_destroy(p->old);
    keyspace_destroy(p->new);
    mem_free(p);
    return 0;
}

static void test_foreground(void **state) {
    struct pair *p = *state;
    struct snapshot_options o;
    struct snapshot_result res;
    options(&o);
    struct simdisk *d = disk_with_old_file(1, p->old);
    assert_int_equal(snapshot_save(simdisk_fs(d), FILE_PATH, p->new, &o, &res), 0);
    assert_true(res.ok);
    assert_int_equal(res.keys, p->new_keys);
    simdisk_crash_strict(d);
    assert_int_equal(keys_on_disk(d), p->new_keys);
    assert_false(has_temp(d));
    assert_int_equal(simdisk_open_files(d), 0);
    simdisk_destroy(d);
}

/* Killed at every changing call, with and without a power loss: the old file or the new one, whole. */
static void test_killed_at_every_call(void **state) {
    struct pair *p = *state;
    struct snapshot_options o;
    struct snapshot_result res;
    options(&o);
    bool finished = false, saw_old = false, saw_new = false;
    for (uint64_t nth = 1; !finished; nth++) {
        for (unsigned mode = 0; mode < 3; mode++) {
            struct simdisk *d = disk_with_old_file(nth * 3 + mode, p->old);
            simdisk_short_writes(d, mode == 1);
            simdisk_kill_at(d, nth);
            int err = snapshot_save(simdisk_fs(d), FILE_PATH, p->new, &o, &res);
            bool died = simdisk_is_dead(d);
            if (!died)
                assert_int_equal(err, 0);
            if (mode == 0)
                simdisk_process_kill(d);
            else
                simdisk_crash(d);
            uint64_t keys = keys_on_disk(d);
            assert_true(keys == p->old_keys || keys == p->new_keys);
            if (!died)
                assert_int_equal(keys, p->new_keys);
            saw_old |= keys == p->old_keys;
            saw_new |= keys == p->new_keys && died;
            finished |= mode == 0 && !died;
            simdisk_destroy(d);
        }
    }
    assert_true(saw_old);
    assert_true(saw_new);
}

/* Every call that may fail fails once: an error, the old file, nothing left over, and the next save works. */
static void fail_everywhere(struct pair *p, unsigned op, int error, bool file_may_be_new) {
    struct snapshot_options o;
    struct snapshot_result res;
    options(&o);
    for (uint64_t skip = 0;; skip++) {
        struct simdisk *d = disk_with_old_file(skip, p->old);
        uint64_t before = simdisk_count(d, op);
        simdisk_fail(d, op, NULL, skip, 1, error);
        int err = snapshot_save(simdisk_fs(d), FILE_PATH, p->new, &o, &res);
        if (simdisk_count(d, op) - before <= skip) {
            assert_int_equal(err, 0);
            assert_true(skip > 0);
            simdisk_destroy(d);
            return;
        }
        assert_int_equal(err, -1);
        assert_false(res.ok);
        if (strstr(res.text, strerror(error)) == NULL)
            fail_msg("\"%s\" does not name the cause", res.text);
        simdisk_heal(d);
        uint64_t keys = keys_on_disk(d);
        assert_true(keys == p->old_keys || (file_may_be_new && keys == p->new_keys));
        assert_false(has_temp(d));
        assert_int_equal(simdisk_open_files(d), 0);
        assert_int_equal(snapshot_save(simdisk_fs(d), FILE_PATH, p->new, &o, &res), 0);
        assert_int_equal(keys_on_disk(d), p->new_keys);
        simdisk_destroy(d);
    }
}

static void test_every_failing_call(void **state) {
    struct pair *p = *state;
    fail_everywhere(p, SIMDISK_CREATE, EACCES, false);
    fail_everywhere(p, SIMDISK_WRITE, ENOSPC, false);
    fail_everywhere(p, SIMDISK_WRITE, EIO, false);
    fail_everywhere(p, SIMDISK_FSYNC, EIO, false);
    fail_everywhere(p, SIMDISK_RENAME, EIO, false);
    fail_everywhere(p, SIMDISK_FSYNC_DIR, EIO, true);
}

static void test_full_disk(void **state) {
    struct pair *p = *state;
    struct snapshot_options o;
    struct snapshot_result res;
    options(&o);
    struct simdisk *d = disk_with_old_file(5, p->old);
    simdisk_set_capacity(d, 100000);
    assert_int_equal(snapshot_save(simdisk_fs(d), FILE_PATH, p->new, &o, &res), -1);
    assert_non_null(strstr(res.text, strerror(ENOSPC)));
    assert_int_equal(keys_on_disk(d), p->old_keys);
    assert_false(has_temp(d));
    simdisk_destroy(d);
}

static void test_stale_files(void **state) {
    (void)state;
    struct simdisk *d = simdisk_create(1);
    char live[64];
    snprintf(live, sizeof live, "/data/temp-%ld.rdb", (long)getppid());
    simdisk_put(d, live, "x", 1);
    simdisk_put(d, "/data/temp-99999999.rdb", "x", 1);
    simdisk_put(d, "/data/temp-12a.rdb", "x", 1);
    simdisk_put(d, "/data/temp-.rdb", "x", 1);
    simdisk_put(d, "/data/dump.rdb", "x", 1);
    assert_int_equal(snapshot_remove_stale(simdisk_fs(d), "/data"), 1);
    assert_true(simdisk_exists(d, live));
    assert_true(simdisk_exists(d, "/data/temp-12a.rdb"));
    assert_false(simdisk_exists(d, "/data/temp-99999999.rdb"));
    simdisk_destroy(d);
}

/* ---- children, on the real disk ---- */

struct place {
    char dir[64], path[96];
    struct children *children;
    struct keyspace *ks;
    struct snapshot_options o;
    struct snapshot_result res;
    unsigned done;
};

static int place_setup(void **state) {
    struct place *p = mem_calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "%s/hf-snapshot-XXXXXX",
             getenv("TMPDIR") != NULL && strlen(getenv("TMPDIR")) < 40 ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/dump.rdb", p->dir);
    p->children = children_create(NULL);
    p->ks = common_keyspace();
    options(&p->o);
    *state = p;
    return 0;
}

static int remove_each(void *arg, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%.200s", (const char *)arg, name);
    return unlink(path);
}

static int count_each(void *arg, const char *name) {
    (void)name;
    (*(unsigned *)arg)++;
    return 0;
}

static unsigned files_in(const struct place *p) {
    unsigned n = 0;
    assert_int_equal(fs_posix()->list_dir(fs_posix()->ctx, p->dir, count_each, &n), 0);
    return n;
}

static int place_teardown(void **state) {
    struct place *p = *state;
    children_destroy(p->children);
    (void)fs_posix()->list_dir(fs_posix()->ctx, p->dir, remove_each, p->dir);
    rmdir(p->dir);
    keyspace_destroy(p->ks);
    mem_free(p);
    return 0;
}

static void on_done(void *arg, const struct snapshot_result *res) {
    struct place *p = arg;
    p->res = *res;
    p->done++;
}

static void start(struct place *p) {
    p->done = 0;
    assert_int_equal(snapshot_start(p->children, fs_posix(), p->path, p->ks, &p->o, NULL, on_done, p), 0);
}

static void test_background(void **state) {
    struct place *p = *state;
    struct child_stats st;
    common_fill(p->ks, 20000);
    start(p);
    assert_int_equal(child_running(p->children), CHILD_SNAPSHOT);
    assert_int_equal(snapshot_start(p->children, fs_posix(), p->path, p->ks, &p->o, NULL, on_done, p), -EBUSY);
    child_stats(p->children, &st);
    assert_int_equal(st.forks, 1);
    assert_true(st.last_fork_us > 0);
    assert_true(child_wait(p->children, 20000));
    assert_int_equal(p->done, 1);
    if (!p->res.ok)
        fail_msg("exit %d signal %d: %s", p->res.exit_code, p->res.signal, p->res.text);
    assert_true(p->res.cow_peak_bytes > 0);
    assert_int_equal(files_in(p), 1);
    assert_int_equal(child_fd(p->children), -1);

    struct keyspace *back = common_keyspace();
    struct rdb_load_options lo;
    struct rdb_load_result result;
    struct rdb_error error;
    rdb_load_options_default(&lo);
    assert_int_equal(rdb_load_file(fs_posix(), p->path, back, &lo, &result, &error), 0);
    common_assert_equal(p->ks, back);
    assert_int_equal(p->res.keys, result.keys_loaded);
    keyspace_destroy(back);
}

static void test_progress_is_seen(void **state) {
    struct place *p = *state;
    struct child_stats st = {0};
    common_fill(p->ks, 8000);
    p->o.rdb.key_delay_us = 50;
    start(p);
    int64_t until = clock_mono_us() + 10000000;
    while (st.keys_done == 0 && clock_mono_us() < until) {
        usleep(10000);
        child_service(p->children);
        child_stats(p->children, &st);
    }
    assert_true(st.keys_done > 0);
    assert_true(st.percent > 0 && st.percent <= 100);
    assert_true(st.keys_total > 8000);
    child_kill(p->children);
    assert_true(p->res.cancelled);
}

static void test_kill_leaves_the_old_file(void **state) {
    struct place *p = *state;
    common_fill(p->ks, 2000);
    start(p);
    assert_true(child_wait(p->children, 20000));
    assert_true(p->res.ok);
    struct stat was, is;
    assert_int_equal(stat(p->path, &was), 0);
    p->o.rdb.key_delay_us = 1000;
    start(p);
    usleep(50000);
    assert_int_equal(files_in(p), 2);
    child_kill(p->children);
    assert_int_equal(p->done, 1);
    assert_false(p->res.ok);
    assert_true(p->res.cancelled);
    assert_int_equal(p->res.signal, SIGKILL);
    assert_int_equal(files_in(p), 1);
    assert_int_equal(stat(p->path, &is), 0);
    assert_int_equal(was.st_ino, is.st_ino);
}

static void test_a_killed_child_is_an_error(void **state) {
    struct place *p = *state;
    common_fill(p->ks, 2000);
    p->o.rdb.key_delay_us = 1000;
    start(p);
    usleep(20000);
    kill(child_pid(p->children), SIGTERM);
    assert_true(child_wait(p->children, 20000));
    assert_false(p->res.ok);
    assert_false(p->res.cancelled);
    assert_int_equal(p->res.signal, SIGTERM);
    assert_int_equal(files_in(p), 0);
}

static void test_a_failing_child_says_why(void **state) {
    struct place *p = *state;
    common_fill(p->ks, 10);
    snprintf(p->path, sizeof p->path, "%s/none/dump.rdb", p->dir);
    start(p);
    assert_true(child_wait(p->children, 20000));
    assert_false(p->res.ok);
    assert_int_equal(p->res.exit_code, 1);
    assert_non_null(strstr(p->res.text, strerror(ENOENT)));
}

static void test_budget(void **state) {
    struct place *p = *state;
    common_fill(p->ks, 5000);
    p->o.rdb.key_delay_us = 300;
    p->o.cow_limit_bytes = 4096;
    start(p);
    assert_true(child_wait(p->children, 30000));
    assert_false(p->res.ok);
    assert_true(p->res.over_budget);
    assert_true(p->res.cow_peak_bytes > 4096);
    assert_int_equal(files_in(p), 0);
}

/* An orphan could put its older snapshot in the place of a newer one. */
static void test_the_child_dies_with_its_parent(void **state) {
    struct place *p = *state;
    int ends[2];
    pid_t pid = 0;
    common_fill(p->ks, 5000);
    p->o.rdb.key_delay_us = 10000;
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        if (snapshot_start(p->children, fs_posix(), p->path, p->ks, &p->o, NULL, on_done, p) == 0)
            pid = child_pid(p->children);
        ssize_t n = write(ends[1], &pid, sizeof pid);
        _exit(n == (ssize_t)sizeof pid ? (int)(sleep(60) & 1) : 1);
    }
    assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
    assert_true(pid > 0);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(kill(pid, 0), 0);
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    /* The orphan may stay a zombie where nobody reaps: then it has no memory map. */
    char path[64], text[8];
    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    bool alive = true;
    for (int i = 0; alive && i < 500; i++) {
        FILE *f = fopen(path, "r");
        alive = f != NULL && fgets(text, sizeof text, f) != NULL && strncmp(text, "0 ", 2) != 0;
        if (f != NULL)
            fclose(f);
        usleep(10000);
    }
    assert_false(alive);
}

static void gather_line(void *arg, enum log_level level, const char *line) {
    (void)level;
    buf_append_cstr(arg, line);
    buf_append_char(arg, '\n');
}

static void test_lines(void **state) {
    struct buf b;
    (void)state;
    buf_init(&b);
    struct snapshot_result r = {.background = true, .ok = true};
    snapshot_result_lines(&r, gather_line, &b);
    r = (struct snapshot_result){.background = true, .signal = 9};
    snapshot_result_lines(&r, gather_line, &b);
    r = (struct snapshot_result){.background = true, .exit_code = 1};
    snapshot_result_lines(&r, gather_line, &b);
    r = (struct snapshot_result){
        .background = true, .signal = 9, .over_budget = true, .cow_peak_bytes = 5 << 20, .cow_limit_bytes = 2 << 20};
    snapshot_result_lines(&r, gather_line, &b);
    r = (struct snapshot_result){.ok = true};
    snapshot_result_lines(&r, gather_line, &b);
    const struct rdb_load_result l = {.keys_loaded = 3, .keys_expired = 1};
    snapshot_loaded_lines(&l, 1500, gather_line, &b);
    assert_bytes_are(b.data, b.len,
                     "Background saving terminated with success\n"
                     "Background saving terminated by signal 9\n"
                     "Background saving error\n"
                     "Background saving aborted: 5 MB of memory were copied since the fork, rdb-cow-limit allows 2 MB\n"
                     "DB saved on disk\n"
                     "Done loading RDB, keys loaded: 3, keys expired: 1.\n"
                     "DB loaded from disk: 0.002 seconds\n");
    buf_deinit(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define C(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_foreground),
        T(test_killed_at_every_call),
        T(test_every_failing_call),
        T(test_full_disk),
        cmocka_unit_test(test_stale_files),
        C(test_background),
        C(test_progress_is_seen),
        C(test_kill_leaves_the_old_file),
        C(test_a_killed_child_is_an_error),
        C(test_a_failing_child_says_why),
        C(test_budget),
        C(test_the_child_dies_with_its_parent),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
