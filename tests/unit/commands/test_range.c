#include "config.h"

#include "server/commands/range.h"

#include "tests/support/unit.h"

#include <string.h>

/* What the range means, said in another way: walk all positions. */
static size_t slow_cut(int64_t start, int64_t end, size_t len, size_t *first) {
    size_t n = 0;
    __int128 from = start < 0 ? (__int128)len + start : start;
    __int128 to = end < 0 ? (__int128)len + end : end;
    if (start < 0 && end < 0 && start > end)
        return 0;
    if (from < 0)
        from = 0;
    if (to < 0)
        to = 0; /* a range that ends before the beginning still names the first element */
    for (size_t i = 0; i < len; i++)
        if ((__int128)i >= from && (__int128)i <= to && n++ == 0)
            *first = i;
    return n;
}

static void agrees_with_a_walk_over_all_positions(void **state) {
    (void)state;
    static const int64_t odd[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, INT64_MAX - 1};
    int64_t at[24];
    size_t n = 0;
    for (int64_t i = -8; i <= 8; i++)
        at[n++] = i;
    for (size_t i = 0; i < 4; i++)
        at[n++] = odd[i];
    for (size_t len = 0; len < 7; len++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                size_t first = 99, slow_first = 99;
                assert_int_equal(range_cut(at[i], at[j], len, &first), slow_cut(at[i], at[j], len, &slow_first));
                assert_int_equal(first, slow_first);
            }
}

static void counts_from_the_end(void **state) {
    (void)state;
    size_t start;
    assert_int_equal(range_cut(-3, -1, 10, &start), 3);
    assert_int_equal(start, 7);
    assert_int_equal(range_cut(0, -1, 10, &start), 10);
    assert_int_equal(range_cut(-100, -100, 10, &start), 1);
    assert_int_equal(start, 0);
    assert_int_equal(range_cut(-1, -3, 10, &start), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_walk_over_all_positions),
        cmocka_unit_test(counts_from_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
