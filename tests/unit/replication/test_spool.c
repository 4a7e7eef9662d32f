#include "config.h"

#include "cluster/replication/spool.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/base/rng.h"
#include "tests/support/unit.h"

#define TOTAL_BYTES (40 * 1024 * 1024)

static char byte_at(uint64_t i) {
    return (char)((i * 2654435761u) >> 13);
}

static size_t names;
static int count_name(void *arg, const char *name) {
    (void)arg, (void)name;
    names++;
    return 0;
}

/* Appends and takes in random steps; what comes out must be what went in, in order. */
static void run(uint64_t seed, uint64_t total, uint64_t append_max, uint64_t take_max, bool *ret_used_file) {
    struct rng rng;
    struct spool s;
    static char in[300000], out[300000];
    uint64_t put = 0, got = 0;
    rng_init(&rng, seed);
    spool_init(&s, fs_posix());
    *ret_used_file = false;
    while (got < total) {
        size_t n = (size_t)rng_below(&rng, append_max);
        if (put < total) {
            n = total - put < n ? (size_t)(total - put) : n;
            for (size_t i = 0; i < n; i++)
                in[i] = byte_at(put + i);
            assert_int_equal(spool_append(&s, in, n), 0);
            put += n;
        }
        ssize_t took = spool_take(&s, out, (size_t)rng_below(&rng, take_max));
        assert_true(took >= 0 && (uint64_t)took <= put - got);
        for (ssize_t i = 0; i < took; i++)
            if (out[i] != byte_at(got + (uint64_t)i))
                assert_int_equal(out[i], byte_at(got + (uint64_t)i));
        got += (uint64_t)took;
        assert_int_equal(s.bytes, put - got);
        assert_int_equal(spool_is_empty(&s), put == got);
        assert_true(s.front.len + s.back.len <= 2 * SPOOL_MEMORY_BYTES);
        *ret_used_file |= s.fd >= 0;
        if (s.fd >= 0) {
            names = 0;
            assert_int_equal(fs_posix()->list_dir(fs_posix()->ctx, ".", count_name, NULL), 0);
            assert_int_equal(names, 0); /* nothing that a crash would leave */
        }
    }
    assert_true(s.peak_bytes <= total);
    spool_clear(&s);
    assert_int_equal(s.fd, -1);
    assert_true(spool_is_empty(&s));
}

static void test_what_is_put_aside_comes_back_in_order(void **state) {
    (void)state;
    bool file;
    run(1, TOTAL_BYTES, 300000, 100000, &file); /* it grows, then is emptied */
    assert_true(file);
    run(2, TOTAL_BYTES, 200000, 300000, &file); /* it stays small */
    assert_false(file);
    run(3, TOTAL_BYTES, 250000, 240000, &file); /* to and fro */
    run(4, 100000, 300, 200, &file);
    assert_false(file);
}

static void test_a_spool_is_ready_for_the_next_sync(void **state) {
    (void)state;
    struct spool s;
    static char bytes[3 * SPOOL_MEMORY_BYTES];
    char c;
    spool_init(&s, fs_posix());
    for (int i = 0; i < 3; i++) {
        assert_int_equal(spool_append(&s, bytes, sizeof bytes), 0);
        assert_int_equal(spool_append(&s, bytes, sizeof bytes), 0);
        assert_true(s.fd >= 0);
        spool_clear(&s);
        assert_int_equal(spool_take(&s, &c, 1), 0);
    }
}

static ssize_t no_space(void *ctx, int fd, const void *p, size_t n) {
    (void)ctx, (void)fd, (void)p, (void)n;
    return -ENOSPC;
}

static void test_a_full_disk_is_an_error(void **state) {
    (void)state;
    struct fs full = *fs_posix();
    struct spool s;
    static char bytes[SPOOL_MEMORY_BYTES];
    full.write = no_space;
    spool_init(&s, &full);
    int rc = 0;
    for (int i = 0; i < 4 && rc == 0; i++)
        rc = spool_append(&s, bytes, sizeof bytes);
    assert_int_equal(rc, -ENOSPC);
    spool_clear(&s);
}

int main(void) {
    char dir[] = "/tmp/holdfast-spool-XXXXXX";
    if (mkdtemp(dir) == NULL || chdir(dir) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_put_aside_comes_back_in_order),
        cmocka_unit_test(test_a_spool_is_ready_for_the_next_sync),
        cmocka_unit_test(test_a_full_disk_is_an_error),
    };
    int rc = cmocka_run_group_tests_name("spool", tests, NULL, NULL);
    return rmdir(dir) != 0 ? 1 : rc;
}
