#include "config.h"

#include "cluster/replication/history.h"

#include "tests/support/unit.h"

#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BEFORE "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define OTHER "cccccccccccccccccccccccccccccccccccccccc"
#define NONE "0000000000000000000000000000000000000000"

/* A primary promoted at offset 500 that keeps 400 to 1000. */
static const struct changelog_history promoted = {ID, BEFORE, 500};
static const struct resync_offer offer = {&promoted, true, 400, 1000};

static enum resync_verdict decide(const struct resync_offer *o, const char *id, int64_t wanted, uint64_t *ret_offset) {
    return resync_decide(o, slice_cstr(id), wanted, ret_offset);
}

static void test_a_replica_within_the_backlog_continues(void **state) {
    (void)state;
    static const int64_t wanted[] = {401, 402, 1000, 1001};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        uint64_t offset = 0;
        assert_int_equal(decide(&offer, ID, wanted[i], &offset), RESYNC_CONTINUE);
        assert_int_equal(offset, wanted[i] - 1);
    }
}

static void test_an_id_is_compared_without_case(void **state) {
    (void)state;
    uint64_t offset = 0;
    assert_int_equal(decide(&offer, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 900, &offset), RESYNC_CONTINUE);
}

static void test_the_edges_of_the_backlog_are_exact(void **state) {
    (void)state;
    uint64_t offset = 7;
    assert_int_equal(decide(&offer, ID, 400, &offset), RESYNC_FULL_TOO_OLD);
    assert_int_equal(decide(&offer, ID, 0, &offset), RESYNC_FULL_TOO_OLD);
    assert_int_equal(decide(&offer, ID, -1, &offset), RESYNC_FULL_TOO_OLD);
    assert_int_equal(decide(&offer, ID, INT64_MIN, &offset), RESYNC_FULL_TOO_OLD);
    assert_int_equal(decide(&offer, ID, 1002, &offset), RESYNC_FULL_AHEAD);
    assert_int_equal(decide(&offer, ID, INT64_MAX, &offset), RESYNC_FULL_AHEAD);
    assert_int_equal(offset, 7);
}

static void test_the_previous_id_is_good_up_to_the_offset_that_both_share(void **state) {
    (void)state;
    uint64_t offset = 0;
    assert_int_equal(decide(&offer, BEFORE, 501, &offset), RESYNC_CONTINUE);
    assert_int_equal(offset, 500);
    assert_int_equal(decide(&offer, BEFORE, 502, &offset), RESYNC_FULL_PARTED);
    assert_int_equal(decide(&offer, BEFORE, INT64_MAX, &offset), RESYNC_FULL_PARTED);
    assert_int_equal(decide(&offer, BEFORE, 400, &offset), RESYNC_FULL_TOO_OLD);
}

static void test_strangers_get_a_snapshot(void **state) {
    (void)state;
    uint64_t offset = 0;
    assert_int_equal(decide(&offer, OTHER, 500, &offset), RESYNC_FULL_STRANGER);
    assert_int_equal(decide(&offer, "?", -1, &offset), RESYNC_FULL_ASKED);
    assert_int_equal(decide(&offer, "", 500, &offset), RESYNC_FULL_STRANGER);
    assert_int_equal(decide(&offer, ID "a", 500, &offset), RESYNC_FULL_STRANGER);
}

static void test_forty_zeros_are_nobodys_previous_id(void **state) {
    (void)state;
    static const struct changelog_history fresh = {ID, NONE, -1};
    static const struct resync_offer o = {&fresh, true, 0, 10};
    uint64_t offset = 0;
    assert_int_equal(decide(&o, NONE, 1, &offset), RESYNC_FULL_STRANGER);
}

static void test_without_a_backlog_nobody_continues(void **state) {
    (void)state;
    static const struct resync_offer o = {&promoted, false, 0, 1000};
    uint64_t offset = 0;
    assert_int_equal(decide(&o, ID, 1001, &offset), RESYNC_FULL_NO_BACKLOG);
}

static void test_a_node_asks_for_the_previous_id_only_where_it_stands_at_its_end(void **state) {
    (void)state;
    static const struct changelog_history fresh = {ID, NONE, -1};
    assert_string_equal(resync_id_to_ask(&promoted, 500), BEFORE);
    assert_string_equal(resync_id_to_ask(&promoted, 501), ID);
    assert_string_equal(resync_id_to_ask(&fresh, 0), ID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_replica_within_the_backlog_continues),
        cmocka_unit_test(test_an_id_is_compared_without_case),
        cmocka_unit_test(test_the_edges_of_the_backlog_are_exact),
        cmocka_unit_test(test_the_previous_id_is_good_up_to_the_offset_that_both_share),
        cmocka_unit_test(test_strangers_get_a_snapshot),
        cmocka_unit_test(test_forty_zeros_are_nobodys_previous_id),
        cmocka_unit_test(test_without_a_backlog_nobody_continues),
        cmocka_unit_test(test_a_node_asks_for_the_previous_id_only_where_it_stands_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
