#include "config.h"

#include "server/ds/lzf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/mem.h"
#include "server/base/rng.h"

/* Compresses into exactly `cap` bytes of a heap block, so that a sanitizer sees a byte too many, and back. */
static size_t there_and_back(const unsigned char *src, size_t n, size_t cap) {
    unsigned char *packed = mem_alloc(cap), *back = mem_alloc(n);
    size_t m = lzf_compress(src, n, packed, cap);
    assert_true(m <= cap);
    if (m != 0) {
        unsigned char *exact = mem_alloc(m);
        memcpy(exact, packed, m);
        assert_int_equal(lzf_decompress(exact, m, back, n), 0);
        assert_memory_equal(back, src, n);
        if (n > 0)
            assert_int_equal(lzf_decompress(exact, m, back, n - 1), -1);
        mem_free(exact);
    }
    mem_free(packed);
    mem_free(back);
    return m;
}

static void fill(unsigned char *p, size_t n, struct rng *rng, unsigned kind) {
    static const char *const words[] = {"the ", "key", "value:", "0000", "\n", "hash-slot "};
    for (size_t i = 0; i < n;) {
        if (kind == 0) {
            p[i++] = (unsigned char)rng_u64(rng);
        } else if (kind == 1) {
            p[i++] = (unsigned char)("ab"[rng_below(rng, 2)]);
        } else if (kind == 2) {
            const char *w = words[rng_below(rng, 6)];
            for (; *w != '\0' && i < n; w++)
                p[i++] = (unsigned char)*w;
        } else {
            p[i++] = 'x';
        }
    }
}

static void test_round_trips_of_all_sizes(void **state) {
    (void)state;
    static unsigned char src[100000];
    struct rng rng;
    rng_init(&rng, 1);
    for (unsigned kind = 0; kind < 4; kind++)
        for (size_t n = 1; n < sizeof src; n += n < 300 ? 1 : n / 3) {
            fill(src, n, &rng, kind);
            size_t m = there_and_back(src, n, n + n / 32 + 8);
            assert_true(m != 0);
            if (kind == 2 && n > 500)
                assert_true(m < n / 2);
            if (kind == 3 && n > 1000)
                assert_true(m < n / 40);
            there_and_back(src, n, n > 4 ? n - 4 : 1); /* what saving asks for: smaller or not at all */
            if (m > 1)
                assert_int_equal(there_and_back(src, n, m - 1), 0);
            assert_int_equal(there_and_back(src, n, m), m);
        }
}

static void test_decodes_what_the_format_says(void **state) {
    (void)state;
    char out[300];
    /* A literal run of three, a match of three at distance three, a long match of 7+2+5 at distance one. */
    static const unsigned char packed[] = {2, 'a', 'b', 'c', 1 << 5, 2, 7 << 5, 5, 0};
    assert_int_equal(lzf_decompress(packed, sizeof packed, out, 20), 0);
    assert_memory_equal(out, "abcabccccccccccccccc", 20);
    assert_int_equal(lzf_decompress("", 0, out, 0), 0);
    assert_int_equal(lzf_decompress("", 0, out, 1), -1);
    assert_int_equal(lzf_decompress("\x02"
                                    "ab",
                                    3, out, 3),
                     -1); /* literals cut */
    assert_int_equal(lzf_decompress("\x00"
                                    "a\x20",
                                    3, out, 4),
                     -1); /* distance missing */
    assert_int_equal(lzf_decompress("\x00"
                                    "a\xe0",
                                    3, out, 99),
                     -1); /* length missing */
    assert_int_equal(lzf_decompress("\x00"
                                    "a\x20\x01",
                                    4, out, 4),
                     -1); /* before the start */
    assert_int_equal(lzf_decompress("\x00"
                                    "a\x20\x00",
                                    4, out, 3),
                     -1); /* beyond the end */
}

static void test_farthest_distance_and_longest_match(void **state) {
    (void)state;
    static unsigned char src[8192 + 600];
    struct rng rng;
    rng_init(&rng, 2);
    for (size_t gap = 8180; gap < 8200; gap++) {
        fill(src, sizeof src, &rng, 0);
        memcpy(src + gap, src, 300);
        there_and_back(src, gap + 300, sizeof src * 2);
    }
    for (size_t n = 260; n < 280; n++) {
        fill(src, n + 8, &rng, 3);
        src[0] = src[n] = 'y';
        there_and_back(src, n + 8, sizeof src);
    }
}

/* A match may be longer than its distance: whatever is copied at once must not run ahead of what is there. */
static void test_matches_that_repeat_themselves(void **state) {
    (void)state;
    unsigned char packed[64], want[400];
    for (size_t distance = 1; distance <= 32; distance++) {
        for (size_t length = 9; length <= 264; length++) {
            size_t m = 0, n = distance + length;
            packed[m++] = (unsigned char)(distance - 1);
            for (size_t i = 0; i < distance; i++)
                packed[m++] = want[i] = (unsigned char)(i * 37 + 1);
            for (size_t i = distance; i < n; i++)
                want[i] = want[i - distance];
            packed[m++] = 7 << 5;
            packed[m++] = (unsigned char)(length - 9);
            packed[m++] = (unsigned char)(distance - 1);
            for (size_t more = 0; more <= 32; more += 16) { /* room behind it */
                size_t end = m;
                if (more != 0) { /* z, and a match of the rest at distance 1 */
                    static const unsigned char z[] = {0, 'z', 7 << 5};
                    memcpy(packed + end, z, sizeof z);
                    packed[end + 3] = (unsigned char)(more - 10);
                    packed[end + 4] = 0;
                    end += 5;
                }
                memset(want + n, 'z', more);
                unsigned char *back = mem_alloc(n + more);
                assert_int_equal(lzf_decompress(packed, end, back, n + more), 0);
                assert_memory_equal(back, want, n + more);
                mem_free(back);
            }
        }
    }
}

static void test_corrupt_input_stays_inside_its_bounds(void **state) {
    (void)state;
    static unsigned char src[2000];
    struct rng rng;
    size_t refused = 0;
    rng_init(&rng, 3);
    for (int round = 0; round < 20000; round++) {
        size_t n = 1 + rng_below(&rng, sizeof src);
        fill(src, n, &rng, 1 + (unsigned)rng_below(&rng, 3));
        unsigned char *packed = mem_alloc(n * 2 + 16), *out = mem_alloc(n);
        size_t m = lzf_compress(src, n, packed, n * 2 + 16);
        for (uint64_t flips = 1 + rng_below(&rng, 4); flips > 0; flips--)
            packed[rng_below(&rng, m)] = (unsigned char)rng_u64(&rng);
        size_t cut = rng_below(&rng, 4) == 0 ? rng_below(&rng, m + 1) : m;
        unsigned char *exact = mem_alloc(cut);
        memcpy(exact, packed, cut);
        refused += lzf_decompress(exact, cut, out, n) != 0;
        mem_free(exact);
        mem_free(packed);
        mem_free(out);
    }
    assert_true(refused > 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips_of_all_sizes),
        cmocka_unit_test(test_decodes_what_the_format_says),
        cmocka_unit_test(test_farthest_distance_and_longest_match),
        cmocka_unit_test(test_matches_that_repeat_themselves),
        cmocka_unit_test(test_corrupt_input_stays_inside_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
