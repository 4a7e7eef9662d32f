#include "config.h"

#include "server/commands/bits.h"

#include "tests/support/unit.h"

#include "server/base/rng.h"

#define BYTES 10000

static int bit_of(const unsigned char *p, uint64_t at) {
    return p[at / 8] >> (7 - at % 8) & 1;
}

/* Random bytes with long runs of zeroes and ones between them. */
static void fill(struct rng *r, unsigned char *p, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t run = 1 + rng_below(r, 100);
        unsigned kind = (unsigned)rng_below(r, 4);
        for (; run > 0 && i < n; run--, i++)
            p[i] = (unsigned char)(kind == 0 ? 0 : kind == 1 ? 0xff : rng_below(r, 256));
    }
}

static void counts_any_range(void **state) {
    (void)state;
    static unsigned char p[BYTES];
    struct rng r;
    rng_init(&r, 3);
    fill(&r, p, sizeof p);
    for (int round = 0; round < 300; round++) {
        uint64_t first = rng_below(&r, BYTES * 8), last = first + rng_below(&r, BYTES * 8 - first), n = 0;
        for (uint64_t i = first; i <= last; i++)
            n += (uint64_t)bit_of(p, i);
        assert_int_equal(bits_count_range(p, first, last), n);
        size_t from = (size_t)(first / 8), bytes = (size_t)rng_below(&r, 300);
        if (from + bytes > BYTES)
            bytes = BYTES - from;
        n = 0;
        for (uint64_t i = from * 8; i < (from + bytes) * 8; i++)
            n += (uint64_t)bit_of(p, i);
        assert_int_equal(bits_count(p + from, bytes), n);
    }
    memset(p, 0xff, sizeof p);
    assert_int_equal(bits_count(p, sizeof p), BYTES * 8);
}

static void finds_the_first_bit_of_a_range(void **state) {
    (void)state;
    static unsigned char p[BYTES];
    struct rng r;
    rng_init(&r, 4);
    for (int round = 0; round < 600; round++) {
        size_t n = 1 + rng_below(&r, round % 2 ? 30 : 600);
        int bit = (int)rng_below(&r, 2);
        memset(p, bit ? 0 : 0xff, n);
        if (rng_below(&r, 4) != 0) {
            uint64_t at = rng_below(&r, n * 8);
            p[at / 8] = (unsigned char)(p[at / 8] ^ (0x80u >> (at % 8)));
        }
        uint64_t first = rng_below(&r, n * 8), last = first + rng_below(&r, n * 8 - first);
        int64_t expected = -1;
        for (uint64_t i = first; i <= last && expected < 0; i++)
            if (bit_of(p, i) == bit)
                expected = (int64_t)i;
        assert_int_equal(bits_find(p, first, last, bit), expected);
    }
}

static int combined(enum bits_op op, const struct slice *s, size_t count, uint64_t at) {
    int first = 0, others = 0;
    for (size_t k = 0; k < count; k++) {
        int b = at / 8 < s[k].n ? bit_of((const unsigned char *)s[k].p, at) : 0;
        if (k == 0)
            first = b;
        else
            others += b;
    }
    switch (op) {
    case BITS_AND:
        return first + others == (int)count;
    case BITS_OR:
        return first + others > 0;
    case BITS_XOR:
        return (first + others) % 2;
    case BITS_NOT:
        return !first;
    case BITS_DIFF:
        return first && others == 0;
    case BITS_DIFF1:
        return !first && others > 0;
    case BITS_ANDOR:
        return first && others > 0;
    case BITS_ONE:
        return first + others == 1;
    }
    return -1;
}

static void combines_sources_of_any_length(void **state) {
    (void)state;
    static unsigned char source[4][BYTES], got[BYTES + 1];
    struct rng r;
    rng_init(&r, 5);
    for (int round = 0; round < 64; round++) {
        enum bits_op op = (enum bits_op)(round % 8);
        size_t count = op == BITS_NOT ? 1 : 2 + rng_below(&r, 3), longest = 0;
        struct slice s[4];
        for (size_t k = 0; k < count; k++) {
            s[k] = slice_of(source[k], rng_below(&r, round % 3 ? 9000 : 70));
            fill(&r, source[k], s[k].n);
            longest = s[k].n > longest ? s[k].n : longest;
        }
        got[longest] = 0x5a;
        bits_combine(op, got, longest, s, count);
        for (uint64_t at = 0; at < longest * 8; at++)
            assert_int_equal(bit_of(got, at), combined(op, s, count, at));
        assert_int_equal(got[longest], 0x5a);
    }
}

static void fields_of_any_width_keep_their_neighbours(void **state) {
    (void)state;
    unsigned char p[40], before[40];
    struct rng r;
    rng_init(&r, 6);
    for (int round = 0; round < 20000; round++) {
        unsigned width = 1 + (unsigned)rng_below(&r, 64);
        uint64_t offset = rng_below(&r, sizeof p * 8 - width + 1);
        uint64_t v = rng_u64(&r), mask = UINT64_MAX >> (64 - width);
        fill(&r, p, sizeof p);
        memcpy(before, p, sizeof p);
        bits_put(p, offset, width, v);
        assert_true(bits_get(p, sizeof p, offset, width) == (v & mask));
        for (uint64_t at = 0; at < sizeof p * 8; at++)
            if (at < offset || at >= offset + width)
                assert_int_equal(bit_of(p, at), bit_of(before, at));
    }
}

static void behind_the_end_is_zero(void **state) {
    (void)state;
    unsigned char p[2] = {0xff, 0xff};
    assert_int_equal(bits_get(p, 2, 12, 8), 0xf0);
    assert_int_equal(bits_get(p, 2, 16, 64), 0);
    assert_int_equal(bits_get(p, 0, 0, 1), 0);
    assert_int_equal(bits_get(p, 2, (uint64_t)INT64_MAX, 64), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_any_range),
        cmocka_unit_test(finds_the_first_bit_of_a_range),
        cmocka_unit_test(combines_sources_of_any_length),
        cmocka_unit_test(fields_of_any_width_keep_their_neighbours),
        cmocka_unit_test(behind_the_end_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
