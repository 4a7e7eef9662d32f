#include "config.h"

#include "persistence/aof/manifest.h"

#include <errno.h>

#include "server/base/mem.h"
#include "tests/support/simdisk.h"
#include "tests/support/unit.h"

static int parse(struct aof_manifest *m, const char *text, struct buf *error) {
    aof_manifest_init(m);
    buf_clear(error);
    return aof_manifest_parse(m, slice_cstr(text), error);
}

static void test_what_redis_writes_is_read_and_written_back(void **state) {
    (void)state;
    const char *text = "file appendonly.aof.2.base.rdb seq 2 type b\n"
                       "file appendonly.aof.1.base.rdb seq 1 type h\n"
                       "file appendonly.aof.4.incr.aof seq 4 type i\n"
                       "file appendonly.aof.7.incr.aof seq 7 type i\n";
    struct aof_manifest m;
    struct buf error = BUF_INIT, out = BUF_INIT;
    assert_int_equal(parse(&m, text, &error), 0);
    assert_string_equal(aof_manifest_base(&m)->name, "appendonly.aof.2.base.rdb");
    assert_int_equal(aof_manifest_incr(&m, 1)->seq, 7);
    assert_null(aof_manifest_incr(&m, 2));
    assert_int_equal(m.max_base_seq, 2);
    assert_int_equal(m.max_incr_seq, 7);
    aof_manifest_format(&m, &out);
    assert_bytes_are(out.data, out.len, text);
    struct aof_manifest copy;
    aof_manifest_copy(&copy, &m);
    buf_clear(&out);
    aof_manifest_format(&copy, &out);
    assert_bytes_are(out.data, out.len, text);
    aof_manifest_deinit(&copy);
    aof_manifest_deinit(&m);
    buf_deinit(&out);
    buf_deinit(&error);
}

static void test_newer_keys_comments_and_quotes_are_read(void **state) {
    (void)state;
    struct aof_manifest m;
    struct buf error = BUF_INIT, out = BUF_INIT;
    assert_int_equal(parse(&m,
                           "# a comment\r\n"
                           "file \"a b\\x41\\n.aof\" seq 1 type b startoffset 17\r\n"
                           "seq 3 endoffset 5 type i file 'it\\'s'\n",
                           &error),
                     0);
    assert_string_equal(aof_manifest_base(&m)->name, "a bA\n.aof");
    assert_string_equal(aof_manifest_incr(&m, 0)->name, "it's");
    aof_manifest_format(&m, &out);
    struct aof_manifest again;
    aof_manifest_init(&again);
    assert_int_equal(aof_manifest_parse(&again, buf_slice(&out), &error), 0);
    assert_string_equal(aof_manifest_base(&again)->name, "a bA\n.aof");
    aof_manifest_deinit(&again);
    aof_manifest_deinit(&m);
    buf_deinit(&out);
    buf_deinit(&error);
}

static void test_what_is_no_manifest_is_refused_with_the_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "empty"},
        {"file a seq 1 type b", "line 1: the last line does not end"},
        {"\n", "line 1: an empty line"},
        {"file a seq 1 type b\nfile b seq 2 type b\n", "line 2: a second base"},
        {"file a seq 2 type i\nfile b seq 2 type i\n", "line 2: the sequence numbers"},
        {"file a seq 0 type i\n", "sequence number"},
        {"file a seq x type i\n", "sequence number"},
        {"file a seq 1 type x\n", "none of b, h, i"},
        {"file ../a seq 1 type b\n", "directory"},
        {"file \"\" seq 1 type b\n", "empty"},
        {"file a seq 1\n", "missing"},
        {"file a seq\n", "without a value"},
        {"file \"a seq 1 type b\n", "quotes"},
        {"file \"a\"b seq 1 type b\n", "quotes"},
        {"file a file b seq 1 type b\n", "two file names"},
    };
    struct buf error = BUF_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct aof_manifest m;
        assert_int_equal(parse(&m, cases[i].text, &error), -1);
        buf_append_char(&error, '\0');
        if (strstr(error.data, cases[i].error) == NULL)
            fail_msg("case %zu: %s", i, error.data);
        aof_manifest_deinit(&m);
    }
    buf_deinit(&error);
}

/* Killed at every call of the replacement: the old manifest or the new one, never anything else. */
static void test_replacing_is_atomic_at_every_call(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        for (uint64_t nth = 1;; nth++) {
            struct simdisk *disk = simdisk_create(seed);
            const struct fs *fs = simdisk_fs(disk);
            struct aof_manifest old, next, got;
            struct buf error = BUF_INIT;
            aof_manifest_init(&old);
            aof_manifest_add(&old, "a.1.base.rdb", 1, AOF_FILE_BASE);
            aof_manifest_copy(&next, &old);
            aof_manifest_add(&next, "a.1.incr.aof", 1, AOF_FILE_INCR);
            assert_int_equal(aof_manifest_store(fs, "/a.manifest", &old), 0);
            simdisk_kill_at(disk, nth);
            int rc = aof_manifest_store(fs, "/a.manifest", &next);
            bool died = simdisk_is_dead(disk);
            simdisk_crash(disk);
            aof_manifest_init(&got);
            assert_int_equal(aof_manifest_load(fs, "/a.manifest", &got, &error), 0);
            assert_true(got.count == 1 || got.count == 2);
            if (rc == 0)
                assert_int_equal(got.count, 2);
            aof_manifest_deinit(&old);
            aof_manifest_deinit(&next);
            aof_manifest_deinit(&got);
            buf_deinit(&error);
            simdisk_destroy(disk);
            if (!died)
                break;
        }
    }
}

static void test_names(void **state) {
    (void)state;
    char *base = aof_manifest_base_name("x.aof", 3, true), *commands = aof_manifest_base_name("x.aof", 3, false),
         *incr = aof_manifest_incr_name("x.aof", 12);
    assert_string_equal(base, "x.aof.3.base.rdb");
    assert_string_equal(commands, "x.aof.3.base.aof");
    assert_string_equal(incr, "x.aof.12.incr.aof");
    mem_free(base);
    mem_free(commands);
    mem_free(incr);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_redis_writes_is_read_and_written_back),
        cmocka_unit_test(test_newer_keys_comments_and_quotes_are_read),
        cmocka_unit_test(test_what_is_no_manifest_is_refused_with_the_line),
        cmocka_unit_test(test_replacing_is_atomic_at_every_call),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
