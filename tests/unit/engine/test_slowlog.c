#include "config.h"

#include "server/engine/slowlog.h"

#include <stdio.h>

#include "tests/support/unit.h"

static void add(struct slowlog *s, int64_t max, int64_t us, const struct slice *argv, int argc) {
    slowlog_add(s, max, 1000 + us, us, 7, 3, argv, argc, "127.0.0.1:1", "me", "default");
}

static void add_one(struct slowlog *s, int64_t max, int64_t us) {
    struct slice argv[] = {SLICE_LIT("PING")};
    add(s, max, us, argv, 1);
}

static void newest_is_first(void **state) {
    (void)state;
    struct slowlog *s = slowlog_create();
    assert_null(slowlog_at(s, 0));
    for (int i = 0; i < 40; i++)
        add_one(s, 128, i);
    assert_int_equal(slowlog_len(s), 40);
    for (int i = 0; i < 40; i++) {
        const struct slowlog_entry *e = slowlog_at(s, (size_t)i);
        assert_int_equal(e->id, 39 - i);
        assert_int_equal(e->duration_us, 39 - i);
    }
    assert_null(slowlog_at(s, 40));
    slowlog_destroy(s);
}

static void keeps_what_it_was_told(void **state) {
    (void)state;
    struct slowlog *s = slowlog_create();
    struct slice argv[] = {SLICE_LIT("SET"), SLICE_LIT("a\0b"), SLICE_LIT("")};
    add(s, 10, 55, argv, 3);
    const struct slowlog_entry *e = slowlog_at(s, 0);
    assert_int_equal(e->time_s, 1055);
    assert_int_equal(e->wait_us, 7);
    assert_int_equal(e->db, 3);
    assert_int_equal(e->argc, 3);
    assert_int_equal(e->argv_len[1], 3);
    assert_memory_equal(e->argv[1], "a\0b", 3);
    assert_int_equal(e->argv_len[2], 0);
    assert_string_equal(e->peer, "127.0.0.1:1");
    assert_string_equal(e->client_name, "me");
    assert_string_equal(e->user, "default");
    slowlog_destroy(s);
}

static void length_is_bounded(void **state) {
    (void)state;
    struct slowlog *s = slowlog_create();
    for (int i = 0; i < 1000; i++)
        add_one(s, 5, i);
    assert_int_equal(slowlog_len(s), 5);
    assert_int_equal(slowlog_at(s, 0)->id, 999);
    assert_int_equal(slowlog_at(s, 4)->id, 995);
    add_one(s, 2, 1); /* the option was lowered */
    assert_int_equal(slowlog_len(s), 2);
    assert_int_equal(slowlog_at(s, 1)->id, 999);
    for (int i = 0; i < 100; i++) /* and raised */
        add_one(s, 64, i);
    assert_int_equal(slowlog_len(s), 64);
    assert_int_equal(slowlog_at(s, 0)->id, 1100);
    add_one(s, 0, 1);
    assert_int_equal(slowlog_len(s), 0);
    slowlog_destroy(s);
}

static void reset_keeps_the_numbering(void **state) {
    (void)state;
    struct slowlog *s = slowlog_create();
    add_one(s, 5, 1);
    add_one(s, 5, 1);
    slowlog_reset(s);
    assert_int_equal(slowlog_len(s), 0);
    add_one(s, 5, 1);
    assert_int_equal(slowlog_at(s, 0)->id, 2);
    slowlog_destroy(s);
}

static void long_requests_are_cut(void **state) {
    (void)state;
    struct slowlog *s = slowlog_create();
    char big[300];
    memset(big, 'x', sizeof big);
    struct slice argv[40];
    for (int i = 0; i < 40; i++)
        argv[i] = SLICE_LIT("w");
    argv[1] = slice_of(big, sizeof big);
    argv[2] = slice_of(big, SLOWLOG_MAX_STRING);
    add(s, 5, 1, argv, 40);
    const struct slowlog_entry *e = slowlog_at(s, 0);
    assert_int_equal(e->argc, SLOWLOG_MAX_ARGS);
    assert_bytes_are(e->argv[31], e->argv_len[31], "... (9 more arguments)");
    assert_int_equal(e->argv_len[1], SLOWLOG_MAX_STRING + strlen("... (172 more bytes)"));
    assert_string_equal(e->argv[1] + SLOWLOG_MAX_STRING, "... (172 more bytes)");
    assert_int_equal(e->argv_len[2], SLOWLOG_MAX_STRING);
    slowlog_reset(s);
    add(s, 5, 1, argv, SLOWLOG_MAX_ARGS);
    assert_bytes_are(slowlog_at(s, 0)->argv[31], slowlog_at(s, 0)->argv_len[31], "w");
    slowlog_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_is_first),       cmocka_unit_test(keeps_what_it_was_told),
        cmocka_unit_test(length_is_bounded),     cmocka_unit_test(reset_keeps_the_numbering),
        cmocka_unit_test(long_requests_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
