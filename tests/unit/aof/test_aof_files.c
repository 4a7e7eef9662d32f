/* Files of other programs, and the checker. */
#include "config.h"

#include "persistence/aof/check.h"
#include "persistence/aof/loader.h"
#include "persistence/aof/writer.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/rng.h"
#include "server/log/annotation.h"
#include "tests/support/simdisk.h"
#include "tests/support/unit.h"

#define SET(k, v) "*3\r\n$3\r\nSET\r\n$1\r\n" k "\r\n$1\r\n" v "\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nexec\r\n"
#define MANIFEST "/d/appendonlydir/a.aof.manifest"
#define INCR "/d/appendonlydir/a.aof.1.incr.aof"

static struct simdisk *disk;
static struct buf applied, report, why;
static struct loader_result result;
static bool load_truncated;

static int setup(void **state) {
    (void)state;
    disk = simdisk_create(1);
    load_truncated = true;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    simdisk_destroy(disk);
    buf_deinit(&applied);
    buf_deinit(&report);
    buf_deinit(&why);
    return 0;
}

static int on_apply(void *ctx, int argc, const struct slice *argv, struct buf *error) {
    (void)ctx;
    if (argc == 1 && slice_eq(argv[0], SLICE_LIT("NO"))) {
        buf_append_cstr(error, "not this one");
        return -1;
    }
    for (int i = 0; i < argc; i++) {
        buf_append_slice(&applied, argv[i]);
        buf_append_char(&applied, i + 1 < argc ? ' ' : ';');
    }
    return 0;
}

static void on_discard(void *ctx) {
    (void)ctx;
    buf_append_cstr(&applied, "discarded;");
}

static int on_base(void *ctx, const char *path, int64_t *ret_rest, struct buf *error) {
    (void)ctx;
    (void)path;
    (void)error;
    buf_append_cstr(&applied, "base;");
    *ret_rest = 9;
    return 0;
}

static enum loader_status load(void) {
    struct loader_options o = {
        .dir = "/d", .dirname = "appendonlydir", .filename = "a.aof", .load_truncated = load_truncated};
    struct loader_callbacks cb = {.load_base = on_base, .apply = on_apply, .discard_group = on_discard};
    buf_clear(&applied);
    buf_clear(&why);
    enum loader_status st = loader_load(simdisk_fs(disk), &o, &cb, &result, &why);
    loader_result_deinit(&result);
    buf_append_char(&applied, '\0');
    buf_append_char(&why, '\0');
    return st;
}

static void put(const char *path, const char *text) {
    simdisk_put(disk, path, text, strlen(text));
}

static void put_incr(const char *text) {
    put(MANIFEST, "file a.aof.1.incr.aof seq 1 type i\n");
    put(INCR, text);
}

static size_t size_of(const char *path) {
    struct buf b = BUF_INIT;
    assert_int_equal(simdisk_get(disk, path, &b), 0);
    size_t n = b.len;
    buf_deinit(&b);
    return n;
}

static void test_nothing_there_is_fine(void **state) {
    (void)state;
    assert_int_equal(load(), LOADER_OK);
    assert_false(result.found);
}

static void test_a_whole_file_of_redis(void **state) {
    (void)state;
    put_incr("#TS:1700000000\r\n" SET("a", "1") MULTI SET("b", "2") EXEC "# anything\r\n" SET("c", "3"));
    assert_int_equal(load(), LOADER_OK);
    assert_string_equal(applied.data, "SET a 1;MULTI;SET b 2;exec;SET c 3;");
    assert_false(result.recovery.annotated);
}

static void test_a_torn_tail_is_cut_at_the_last_command(void **state) {
    (void)state;
    put_incr(SET("a", "1") "*3\r\n$3\r\nSET\r\n$1\r\nb");
    assert_int_equal(load(), LOADER_OK);
    assert_string_equal(applied.data, "SET a 1;");
    assert_int_equal(size_of(INCR), strlen(SET("a", "1")));
}

static void test_multi_without_exec_is_cut_and_discarded(void **state) {
    (void)state;
    put_incr(SET("a", "1") MULTI SET("b", "2"));
    assert_int_equal(load(), LOADER_OK);
    assert_string_equal(applied.data, "SET a 1;MULTI;SET b 2;discarded;");
    assert_int_equal(size_of(INCR), strlen(SET("a", "1")));
}

static void test_without_load_truncated_it_is_refused_and_left(void **state) {
    (void)state;
    load_truncated = false;
    put_incr(SET("a", "1") "*3\r\n");
    assert_int_equal(load(), LOADER_TRUNCATED);
    assert_non_null(strstr(why.data, "Unexpected end"));
    assert_int_equal(size_of(INCR), strlen(SET("a", "1")) + 4);
}

static void test_a_format_error_is_refused_and_located(void **state) {
    (void)state;
    put_incr(SET("a", "1") "*3\r\n$3\r\nSET\r\n$1\r\nkX\r\n$1\r\nv\r\n" SET("b", "2"));
    assert_int_equal(load(), LOADER_CORRUPT);
    assert_non_null(strstr(why.data, "byte 45"));
    assert_non_null(strstr(why.data, INCR));
}

static void test_a_torn_file_that_is_not_the_last_is_damage(void **state) {
    (void)state;
    put(MANIFEST, "file a.aof.1.incr.aof seq 1 type i\nfile a.aof.2.incr.aof seq 2 type i\n");
    put(INCR, SET("a", "1") "*3\r\n");
    put("/d/appendonlydir/a.aof.2.incr.aof", SET("b", "2"));
    assert_int_equal(load(), LOADER_CORRUPT);
    put("/d/appendonlydir/a.aof.2.incr.aof", "");
    assert_int_equal(load(), LOADER_OK);
    assert_string_equal(applied.data, "SET a 1;");
}

static void test_a_missing_file_is_said(void **state) {
    (void)state;
    put(MANIFEST, "file a.aof.1.base.rdb seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n");
    assert_int_equal(load(), LOADER_IO);
    assert_non_null(strstr(why.data, "a.aof.1.base.rdb"));
}

static void test_a_command_that_cannot_be_applied_stops(void **state) {
    (void)state;
    put_incr(SET("a", "1") "*1\r\n$2\r\nNO\r\n" SET("b", "2"));
    assert_int_equal(load(), LOADER_REFUSED);
    assert_non_null(strstr(why.data, "not this one"));
    assert_string_equal(applied.data, "SET a 1;");
}

static void test_a_single_file_becomes_the_base_at_every_kill(void **state) {
    (void)state;
    const char *text = "REDIS....*1\r\n$4\r\nPING\r\n";
    for (uint64_t nth = 1;; nth++) {
        put("/d/a.aof", text);
        simdisk_kill_at(disk, nth);
        enum loader_status st = load();
        bool died = simdisk_is_dead(disk);
        simdisk_process_kill(disk);
        if (!died) {
            assert_int_equal(st, LOADER_OK);
            break;
        }
        assert_int_equal(load(), LOADER_OK);
        assert_string_equal(applied.data, "base;PING;");
        simdisk_destroy(disk);
        disk = simdisk_create(nth);
    }
    assert_string_equal(applied.data, "base;PING;");
    assert_false(simdisk_exists(disk, "/d/a.aof"));
    assert_int_equal(size_of("/d/appendonlydir/a.aof"), strlen(text));
    assert_int_equal(load(), LOADER_OK);
    assert_string_equal(applied.data, "base;PING;");
}

/* Lengths that lie are compared with the file, not with memory. */
static void test_huge_lengths_do_not_allocate(void **state) {
    (void)state;
    static const char *const bad[] = {"*2147483647\r\n",
                                      "*1\r\n$9223372036854775807\r\nx",
                                      "*1\r\n$99999999999999999999\r\nx",
                                      "*99999999999999999999999\r\n",
                                      "*-1\r\n",
                                      "*0\r\n",
                                      "*1\r\n$-1\r\n",
                                      "$1\r\nx\r\n",
                                      "\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_incr(bad[i]);
        (void)load();
        assert_string_equal(applied.data, "");
    }
}

/* ---- the checker ----------------------------------------------------------------------------------------------- */

/* An increment of a replica, which begins where the log stands in database 5. */
static void test_a_select_in_front_of_the_log_counts_for_no_offset(void **state) {
    (void)state;
    static const char group[] = SET("a", "1");
    const struct fs *fs = simdisk_fs(disk);
    struct changelog_history h = {.id2_offset = -1};
    memset(h.id, 'a', CHANGELOG_ID_CHARS);
    memset(h.id2, '0', CHANGELOG_ID_CHARS);
    put(MANIFEST, "file a.aof.1.incr.aof seq 1 type i\n");
    struct aof_file *f = NULL;
    assert_int_equal(aof_file_create(&f, fs, INCR, "a.aof.1.incr.aof", 1), 0);
    f->select_db = 5;
    struct iovec iov = {(void *)(uintptr_t)group, sizeof group - 1};
    struct aof_statement st = {.history = &h, .durable = 1000, .now_ms = 1};
    assert_int_equal(aof_file_commit(f, &iov, 1, 1000, 1000 + sizeof group - 1, &st), 0);
    st.durable = 1000 + sizeof group - 1;
    struct iovec more = {(void *)(uintptr_t)group, sizeof group - 1};
    assert_int_equal(aof_file_commit(f, &more, 1, 1000 + sizeof group - 1, 1000 + 2 * (sizeof group - 1), &st), 0);
    aof_file_close(f);
    assert_int_equal(load(), LOADER_OK);
    assert_string_equal(applied.data, "SELECT 5;SET a 1;SET a 1;");
    assert_true(result.recovery.annotated);
    assert_int_equal(result.recovery.offset, 1000 + 2 * (sizeof group - 1));
    /* A damaged database number is found like any other damage. */
    struct buf b = BUF_INIT;
    assert_int_equal(simdisk_get(disk, INCR, &b), 0);
    char *at = memmem(b.data, b.len, "\r\n5\r\n", 5);
    assert_non_null(at);
    at[2] = '6';
    simdisk_put(disk, INCR, b.data, b.len);
    buf_deinit(&b);
    assert_int_equal(load(), LOADER_CORRUPT);
}

static bool answer;

static void on_report(void *ctx, const char *line) {
    (void)ctx;
    buf_append_cstr(&report, line);
    buf_append_char(&report, '\n');
}

static bool on_confirm(void *ctx, const char *path, int64_t size, int64_t keep) {
    (void)ctx;
    (void)path;
    (void)size;
    (void)keep;
    return answer;
}

static enum aof_check_status check(const char *path, bool fix, int64_t timestamp) {
    struct aof_check_options o = {.fix = fix, .truncate_to_timestamp_s = timestamp};
    struct aof_check_callbacks cb = {.report = on_report, .confirm = on_confirm};
    buf_clear(&report);
    enum aof_check_status st = aof_check_path(simdisk_fs(disk), path, &o, &cb);
    buf_append_char(&report, '\0');
    return st;
}

static void test_the_checker_names_offset_key_and_reason_and_fixes(void **state) {
    (void)state;
    put_incr(SET("a", "1") "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nvX");
    assert_int_equal(check(MANIFEST, false, -1), AOF_CHECK_FAULT);
    assert_non_null(strstr(report.data, "byte 27"));
    assert_non_null(strstr(report.data, "key k"));
    assert_non_null(strstr(report.data, "torn tail"));
    answer = false;
    assert_int_equal(check(MANIFEST, true, -1), AOF_CHECK_CANCELLED);
    answer = true;
    assert_int_equal(check(INCR, true, -1), AOF_CHECK_FIXED);
    assert_int_equal(size_of(INCR), strlen(SET("a", "1")));
    assert_int_equal(check(MANIFEST, false, -1), AOF_CHECK_OK);
}

static void test_the_checker_cuts_at_a_time(void **state) {
    (void)state;
    put_incr("#TS:100\r\n" SET("a", "1") "#TS:200\r\n" SET("b", "2") MULTI SET("c", "3") EXEC
             "#TS:300\r\n" SET("d", "4"));
    answer = true;
    assert_int_equal(check(MANIFEST, false, 300), AOF_CHECK_OK);
    assert_int_equal(check(MANIFEST, false, 250), AOF_CHECK_FIXED);
    assert_int_equal(load(), LOADER_OK);
    assert_string_equal(applied.data, "SET a 1;SET b 2;MULTI;SET c 3;exec;");
    assert_int_equal(check(MANIFEST, false, 100), AOF_CHECK_FIXED);
    assert_int_equal(load(), LOADER_OK);
    assert_string_equal(applied.data, "SET a 1;");
}

/* Any bytes at all: an answer, no crash, and what is fixed is good. */
static void test_hostile_files_are_answered(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 3);
    answer = true;
    for (int round = 0; round < 3000; round++) {
        struct buf b = BUF_INIT;
        for (uint64_t i = rng_below(&r, 8); i > 0; i--) {
            static const char *const pieces[] = {SET("a", "1"),
                                                 MULTI,
                                                 EXEC,
                                                 "#TS:5\r\n",
                                                 "#HF:v=1;n=0000000000000000;q=1;c=00\r\n",
                                                 "*3\r\n$3\r\n",
                                                 "#HF:",
                                                 "\r\n",
                                                 "*",
                                                 "$",
                                                 "99999999999",
                                                 "#HF:o=1;c=000000000000000000000000\r\n"};
            buf_append_cstr(&b, pieces[rng_below(&r, sizeof pieces / sizeof *pieces)]);
        }
        if (b.len > 0 && rng_below(&r, 2) == 0)
            b.data[rng_below(&r, b.len)] = (char)rng_u64(&r);
        put_incr("");
        simdisk_put(disk, INCR, b.data != NULL ? b.data : "", b.len);
        enum aof_check_status st = check(MANIFEST, true, -1);
        assert_true(st == AOF_CHECK_OK || st == AOF_CHECK_FIXED);
        assert_int_equal(check(MANIFEST, false, -1), AOF_CHECK_OK);
        buf_deinit(&b);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_there_is_fine),
        TEST(test_a_whole_file_of_redis),
        TEST(test_a_torn_tail_is_cut_at_the_last_command),
        TEST(test_multi_without_exec_is_cut_and_discarded),
        TEST(test_without_load_truncated_it_is_refused_and_left),
        TEST(test_a_format_error_is_refused_and_located),
        TEST(test_a_torn_file_that_is_not_the_last_is_damage),
        TEST(test_a_missing_file_is_said),
        TEST(test_a_command_that_cannot_be_applied_stops),
        TEST(test_a_single_file_becomes_the_base_at_every_kill),
        TEST(test_a_select_in_front_of_the_log_counts_for_no_offset),
        TEST(test_huge_lengths_do_not_allocate),
        TEST(test_the_checker_names_offset_key_and_reason_and_fixes),
        TEST(test_the_checker_cuts_at_a_time),
        TEST(test_hostile_files_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
