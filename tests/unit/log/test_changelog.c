#include "config.h"

#include "server/log/changelog.h"

#include <stdlib.h>

#include "server/base/buf.h"
#include "server/base/rng.h"
#include "tests/support/unit.h"

static void append(struct changelog *cl, const char *s) {
    changelog_append(cl, s, strlen(s));
}

/* All that a cursor sees, in pieces of at most `step` bytes and `iov_max` iovecs. */
static void read_all(struct changelog_cursor *c, struct buf *out, size_t step, int iov_max) {
    struct iovec iov[16];
    size_t n;
    int count;
    while ((count = changelog_cursor_iov(c, iov, iov_max, step, &n)) > 0) {
        assert_true(n <= step);
        size_t sum = 0;
        for (int i = 0; i < count; i++) {
            buf_append(out, iov[i].iov_base, iov[i].iov_len);
            sum += iov[i].iov_len;
        }
        assert_int_equal(sum, n);
        changelog_cursor_advance(c, n);
    }
}

static void test_cursor_sees_whole_groups_only(void **state) {
    (void)state;
    struct changelog *cl = changelog_create(100);
    assert_false(changelog_is_active(cl));
    struct changelog_cursor *c = changelog_cursor_create(cl, 100);
    assert_true(changelog_is_active(cl));
    append(cl, "abc");
    struct buf out = BUF_INIT;
    read_all(c, &out, 100, 4);
    assert_int_equal(out.len, 0);
    assert_int_equal(changelog_appended(cl), 103);
    assert_int_equal(changelog_sealed(cl), 100);
    append(cl, "de");
    changelog_end_group(cl);
    append(cl, "f");
    read_all(c, &out, 2, 4);
    assert_bytes_are(out.data, out.len, "abcde");
    assert_int_equal(changelog_cursor_offset(c), 105);
    assert_int_equal(changelog_sealed(cl), 105);
    buf_deinit(&out);
    changelog_cursor_destroy(c);
    assert_false(changelog_is_active(cl));
    changelog_destroy(cl);
}

static void test_bytes_without_reader_count_but_are_not_held(void **state) {
    (void)state;
    struct changelog *cl = changelog_create(0);
    char *block = calloc(1, 100000);
    for (int i = 0; i < 100; i++)
        changelog_append(cl, block, 100000);
    changelog_end_group(cl);
    assert_int_equal(changelog_appended(cl), 10000000);
    assert_true(changelog_memory(cl) < 1 << 20);
    assert_null(changelog_cursor_create(cl, 5));
    struct changelog_cursor *c = changelog_cursor_create(cl, 10000000);
    assert_non_null(c);
    append(cl, "x");
    changelog_end_group(cl);
    struct buf out = BUF_INIT;
    read_all(c, &out, 100, 4);
    assert_bytes_are(out.data, out.len, "x");
    buf_deinit(&out);
    changelog_cursor_destroy(c);
    changelog_destroy(cl);
    free(block);
}

static void test_boundaries_are_ends_of_groups(void **state) {
    (void)state;
    struct changelog *cl = changelog_create(0);
    struct changelog_cursor *c = changelog_cursor_create(cl, 0);
    char group[1000] = {0};
    for (int i = 0; i < 5000; i++) {
        changelog_append(cl, group, sizeof group);
        changelog_end_group(cl);
    }
    uint64_t at = 0;
    int pieces = 0;
    while (at < changelog_sealed(cl)) {
        uint64_t next = changelog_boundary(cl, at, 256 * 1024);
        assert_true(next > at && next % sizeof group == 0);
        assert_true(next - at <= 2 * 256 * 1024 + sizeof group);
        at = next;
        pieces++;
    }
    assert_true(pieces >= 10);
    changelog_cursor_destroy(c);
    changelog_destroy(cl);
}

static void test_memory_is_let_go_behind_the_slowest_cursor(void **state) {
    (void)state;
    struct changelog *cl = changelog_create(0);
    struct changelog_cursor *fast = changelog_cursor_create(cl, 0), *slow = changelog_cursor_create(cl, 0);
    char *block = calloc(1, 1 << 20);
    for (int i = 0; i < 8; i++)
        changelog_append(cl, block, 1 << 20);
    changelog_end_group(cl);
    changelog_cursor_advance(fast, 8 << 20);
    assert_true(changelog_memory(cl) >= 8 << 20);
    assert_null(changelog_cursor_create(cl, (8 << 20) + 1));
    struct changelog_cursor *third = changelog_cursor_create(cl, 3 << 20);
    assert_non_null(third);
    changelog_cursor_advance(slow, 8 << 20);
    assert_null(changelog_cursor_create(cl, 1));
    changelog_cursor_destroy(third);
    assert_true(changelog_memory(cl) <= 2 << 20);
    changelog_cursor_destroy(fast);
    changelog_cursor_destroy(slow);
    changelog_destroy(cl);
    free(block);
}

/* Against a plain buffer, with three readers that come and go. */
static void test_random_use_gives_every_reader_the_same_bytes(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 42);
    struct changelog *cl = changelog_create(7);
    struct buf all = BUF_INIT, got = BUF_INIT;
    struct changelog_cursor *c[3] = {changelog_cursor_create(cl, 7)};
    char *bytes = malloc(600000);
    for (int i = 0; i < 600000; i++)
        bytes[i] = (char)rng_u64(&r);
    for (int step = 0; step < 20000; step++) {
        size_t n = rng_below(&r, 200) == 0 ? rng_below(&r, 600000) : rng_below(&r, 300);
        if (all.len < 64 << 20) {
            changelog_append(cl, bytes, n);
            buf_append(&all, bytes, n);
        }
        if (rng_below(&r, 2) == 0)
            changelog_end_group(cl);
        size_t k = rng_below(&r, 3);
        if (c[k] == NULL) {
            uint64_t from = c[0] != NULL ? changelog_cursor_offset(c[0]) : changelog_sealed(cl);
            c[k] = changelog_cursor_create(cl, from);
            continue;
        }
        if (k > 0 && rng_below(&r, 50) == 0) {
            changelog_cursor_destroy(c[k]);
            c[k] = NULL;
            continue;
        }
        uint64_t from = changelog_cursor_offset(c[k]);
        buf_clear(&got);
        struct iovec iov[4];
        size_t len;
        int count = changelog_cursor_iov(c[k], iov, 4, 1 + rng_below(&r, 500000), &len);
        for (int i = 0; i < count; i++)
            buf_append(&got, iov[i].iov_base, iov[i].iov_len);
        assert_int_equal(got.len, len);
        assert_memory_equal(got.data != NULL ? got.data : "", all.data + (from - 7), len);
        changelog_cursor_advance(c[k], len);
    }
    for (int i = 0; i < 3; i++)
        changelog_cursor_destroy(c[i]);
    changelog_destroy(cl);
    buf_deinit(&all);
    buf_deinit(&got);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_sees_whole_groups_only),
        cmocka_unit_test(test_bytes_without_reader_count_but_are_not_held),
        cmocka_unit_test(test_boundaries_are_ends_of_groups),
        cmocka_unit_test(test_memory_is_let_go_behind_the_slowest_cursor),
        cmocka_unit_test(test_random_use_gives_every_reader_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
