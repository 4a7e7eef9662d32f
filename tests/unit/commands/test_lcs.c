#include "config.h"

#include "server/commands/lcs.h"

#include "tests/support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/rng.h"

#define MAX 200

struct pick {
    size_t count;
    struct {
        size_t a, b, len;
    } runs[MAX];
};

static void note(void *arg, size_t a_start, size_t b_start, size_t len) {
    struct pick *p = arg;
    assert_true(p->count < MAX);
    p->runs[p->count].a = a_start;
    p->runs[p->count].b = b_start;
    p->runs[p->count++].len = len;
}

/* The textbook table, walked back by the rule the header states. */
static size_t table_lcs(struct slice a, struct slice b, struct pick *p) {
    static unsigned t[MAX + 1][MAX + 1];
    for (size_t i = 0; i <= a.n; i++)
        for (size_t j = 0; j <= b.n; j++) {
            if (i == 0 || j == 0)
                t[i][j] = 0;
            else if (a.p[i - 1] == b.p[j - 1])
                t[i][j] = t[i - 1][j - 1] + 1;
            else
                t[i][j] = t[i - 1][j] > t[i][j - 1] ? t[i - 1][j] : t[i][j - 1];
        }
    size_t i = a.n, j = b.n, run = 0;
    p->count = 0;
    while (i > 0 && j > 0) {
        if (a.p[i - 1] == b.p[j - 1]) {
            i--, j--, run++;
            continue;
        }
        if (run > 0)
            note(p, i, j, run);
        run = 0;
        if (t[i - 1][j] > t[i][j - 1])
            i--;
        else
            j--;
    }
    if (run > 0)
        note(p, i, j, run);
    return t[a.n][b.n];
}

static void compare(struct slice a, struct slice b) {
    struct pick expected, got = {0};
    size_t len = table_lcs(a, b, &expected);
    struct lcs l;
    assert_int_equal(lcs_compute(&l, a, b, 0, UINT64_MAX), 0);
    assert_int_equal(l.len, len);
    assert_null(l.rows);
    assert_int_equal(lcs_compute(&l, a, b, 1, UINT64_MAX), 0);
    assert_int_equal(l.len, len);
    lcs_walk(&l, note, &got);
    assert_int_equal(got.count, expected.count);
    assert_memory_equal(got.runs, expected.runs, got.count * sizeof got.runs[0]);
    lcs_free(&l);
}

static void picks_what_the_table_picks(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 7);
    char a[MAX], b[MAX];
    for (int round = 0; round < 400; round++) {
        size_t an = rng_below(&r, MAX), bn = rng_below(&r, MAX);
        unsigned letters = 1 + (unsigned)rng_below(&r, round % 2 ? 3 : 200);
        for (size_t i = 0; i < an; i++)
            a[i] = (char)rng_below(&r, letters);
        for (size_t i = 0; i < bn; i++)
            b[i] = (char)rng_below(&r, letters);
        compare(slice_of(a, an), slice_of(b, bn));
    }
}

static void word_boundaries_carry(void **state) {
    (void)state;
    char a[MAX], b[MAX];
    memset(a, 'x', sizeof a);
    memset(b, 'x', sizeof b);
    static const size_t sizes[] = {0, 1, 63, 64, 65, 127, 128, 129, MAX - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++)
            compare(slice_of(a, sizes[i]), slice_of(b, sizes[j]));
}

static void too_large_is_refused_before_any_work(void **state) {
    (void)state;
    char a[MAX] = {0};
    struct lcs l;
    assert_int_equal(lcs_compute(&l, slice_of(a, 100), slice_of(a, 100), 0, 101 * 101 * 4), 0);
    assert_int_equal(lcs_compute(&l, slice_of(a, 100), slice_of(a, 100), 0, 101 * 101 * 4 - 1), LCS_TOO_LARGE);
    assert_int_equal(lcs_compute(&l, slice_of(a, SIZE_MAX / 2), slice_of(a, SIZE_MAX / 2), 1, UINT64_MAX),
                     LCS_TOO_LARGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_what_the_table_picks),
        cmocka_unit_test(word_boundaries_carry),
        cmocka_unit_test(too_large_is_refused_before_any_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
