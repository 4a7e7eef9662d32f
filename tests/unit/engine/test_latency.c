#include "config.h"

#include "server/engine/latency.h"

#include "tests/support/unit.h"

static void buckets_follow_each_other_without_gaps(void **state) {
    (void)state;
    for (unsigned i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        uint64_t max = latency_bucket_max_ns(i);
        assert_int_equal(latency_bucket(max), i);
        assert_int_equal(latency_bucket(max + 1), i + 1);
    }
    assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
}

static void buckets_are_narrow(void **state) {
    (void)state;
    for (unsigned i = 1; i < LATENCY_BUCKETS; i++) {
        uint64_t first = latency_bucket_max_ns(i - 1) + 1;
        assert_true(latency_bucket_max_ns(i) - first <= first / 32);
    }
}

static void percentiles(void **state) {
    (void)state;
    struct latency *l = latency_create();
    assert_int_equal(latency_percentile_ns(l, 50), 0);
    for (uint64_t us = 1; us <= 1000; us++)
        latency_record(l, us * 1000);
    const double wanted[] = {0, 1, 50, 99, 99.9, 100};
    const uint64_t at_least[] = {1000, 10000, 500000, 990000, 999000, 1000000};
    for (int i = 0; i < 6; i++) {
        uint64_t p = latency_percentile_ns(l, wanted[i]);
        assert_in_range(p, at_least[i], at_least[i] + at_least[i] / 31);
    }
    assert_int_equal(latency_at_most(l, UINT64_MAX), 1000);
    assert_in_range(latency_at_most(l, 500000), 500, 516);
    assert_int_equal(latency_at_most(l, 900), 0);
    latency_destroy(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_follow_each_other_without_gaps),
        cmocka_unit_test(buckets_are_narrow),
        cmocka_unit_test(percentiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
