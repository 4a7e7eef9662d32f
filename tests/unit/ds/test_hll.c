#include "config.h"

#include "server/ds/hll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "server/base/rng.h"

#define SPARSE_MAX 3000

static uint64_t fnv1a(struct slice s) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void add_names(struct hll_edit *h, const char *name, unsigned from, unsigned n, size_t sparse_max) {
    char text[40];
    for (unsigned i = from; i < from + n; i++)
        hll_edit_raise(h, hll_place_of(slice_of(text, (size_t)snprintf(text, sizeof text, "%s:%u", name, i))),
                       sparse_max);
    hll_forget_count(h->bytes);
}

/* What redis-server 7.0.15 has after PFADD k, PFADD k element:FROM … (500 each), PFCOUNT k; then, in another key, after
 * PFADD m other:0 … other:199, PFMERGE m k: lengths, FNV-1a of the values, estimates. */
static const struct vector {
    size_t sparse_max;
    unsigned from, n;
    size_t bytes;
    uint64_t hash, count, merged_count, merged_hash;
} vectors[] = {
    {3000, 0, 0, 18, UINT64_C(0xfd8f436a8f6e62f9), 0, 201, UINT64_C(0x89debd3801d94c90)},
    {3000, 0, 1, 21, UINT64_C(0xee0dc2daee4050ac), 1, 202, UINT64_C(0xd9eb85e0de45f4de)},
    {3000, 0, 10, 48, UINT64_C(0x911d310964ebaba7), 10, 211, UINT64_C(0x2bf6cdd10685357b)},
    {3000, 0, 300, 687, UINT64_C(0x56def88b8ae4e3e3), 301, 500, UINT64_C(0xf72d14f2f1a58e53)},
    {3000, 0, 1500, 2722, UINT64_C(0xac1c3b14462300f7), 1500, 1695, UINT64_C(0x483c0b7b620abe92)},
    {3000, 0, 3000, 12304, UINT64_C(0x8ea95bd892be3fff), 3002, 3189, UINT64_C(0x6ea6d0738bad981f)},
    {3000, 0, 20000, 12304, UINT64_C(0x73d1f56db36cfbff), 19986, 20185, UINT64_C(0xc2f933ee6f36f585)},
    {3000, 1000000, 100000, 12304, UINT64_C(0xe6f3e8b4d809dd55), 100805, 101078, UINT64_C(0x471b3c43d4f90ab4)},
    {500, 0, 0, 18, UINT64_C(0xfd8f436a8f6e62f9), 0, 201, UINT64_C(0x8fb63e405102d6b6)},
    {500, 0, 1, 21, UINT64_C(0xee0dc2daee4050ac), 1, 202, UINT64_C(0x747506449eccbdc6)},
    {500, 0, 10, 48, UINT64_C(0x911d310964ebaba7), 10, 211, UINT64_C(0x4c5118c6e4a0d0e0)},
    {500, 0, 300, 12304, UINT64_C(0xcda05239eefeb746), 301, 500, UINT64_C(0x1154badc10f6e9c8)},
    {500, 0, 1500, 12304, UINT64_C(0x3159dadf16e65ef5), 1500, 1695, UINT64_C(0x483c0b7b620abe92)},
    {500, 0, 3000, 12304, UINT64_C(0x8ea95bd892be3fff), 3002, 3189, UINT64_C(0x6ea6d0738bad981f)},
    {500, 0, 20000, 12304, UINT64_C(0x73d1f56db36cfbff), 19986, 20185, UINT64_C(0xc2f933ee6f36f585)},
    {500, 1000000, 100000, 12304, UINT64_C(0xe6f3e8b4d809dd55), 100805, 101078, UINT64_C(0x471b3c43d4f90ab4)},
    {0, 0, 0, 18, UINT64_C(0xfd8f436a8f6e62f9), 0, 201, UINT64_C(0x8fb63e405102d6b6)},
    {0, 0, 1, 12304, UINT64_C(0x3f3d62d67371776b), 1, 202, UINT64_C(0x747506449eccbdc6)},
    {0, 0, 10, 12304, UINT64_C(0x63ace4b28034de56), 10, 211, UINT64_C(0x4c5118c6e4a0d0e0)},
    {0, 0, 300, 12304, UINT64_C(0xcda05239eefeb746), 301, 500, UINT64_C(0x1154badc10f6e9c8)},
    {0, 0, 1500, 12304, UINT64_C(0x3159dadf16e65ef5), 1500, 1695, UINT64_C(0x483c0b7b620abe92)},
    {0, 0, 3000, 12304, UINT64_C(0x8ea95bd892be3fff), 3002, 3189, UINT64_C(0x6ea6d0738bad981f)},
    {0, 0, 20000, 12304, UINT64_C(0x73d1f56db36cfbff), 19986, 20185, UINT64_C(0xc2f933ee6f36f585)},
    {0, 1000000, 100000, 12304, UINT64_C(0xe6f3e8b4d809dd55), 100805, 101078, UINT64_C(0x471b3c43d4f90ab4)},
};

static void bytes_and_estimates_are_those_of_redis(void **state) {
    (void)state;
    static struct hll_edit k, m;
    static uint8_t registers[HLL_REGISTERS];
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *v = &vectors[i];
        hll_edit_create(&k);
        add_names(&k, "element", v->from, v->n, v->sparse_max);
        uint64_t count = hll_count(hll_edit_object(&k)), kept;
        assert_false(hll_kept_count(hll_edit_object(&k), &kept));
        assert_int_equal(count, v->count);
        hll_keep_count(k.bytes, count);
        assert_true(hll_kept_count(hll_edit_object(&k), &kept) && kept == count);
        assert_int_equal(k.n, v->bytes);
        assert_int_equal(fnv1a(hll_edit_object(&k)), v->hash);

        hll_edit_create(&m);
        add_names(&m, "other", 0, 200, v->sparse_max);
        memset(registers, 0, sizeof registers);
        hll_merge(registers, hll_edit_object(&m));
        hll_merge(registers, hll_edit_object(&k));
        if (hll_edit_is_dense(&k) && !hll_edit_is_dense(&m))
            hll_edit_make_dense(&m);
        hll_edit_raise_all(&m, registers, v->sparse_max);
        hll_forget_count(m.bytes);
        assert_int_equal(fnv1a(hll_edit_object(&m)), v->merged_hash);
        assert_int_equal(hll_count(hll_edit_object(&m)), v->merged_count);
        assert_int_equal(hll_count_registers(registers), v->merged_count);
    }
}

static void expect_registers(const struct hll_edit *h, const uint8_t *want) {
    uint8_t got[HLL_REGISTERS] = {0};
    const struct slice object = hll_edit_object(h);
    assert_int_equal(hll_kind_of(object), hll_edit_is_dense(h) ? HLL_DENSE : HLL_SPARSE);
    hll_merge(got, object);
    assert_memory_equal(got, want, sizeof got);
    assert_int_equal(hll_count(object), hll_count_registers(want));
}

/* Registers near each other and of few ranks, so that runs are cut and joined in every way. */
static void sparse_objects_hold_what_was_raised(void **state) {
    (void)state;
    static struct hll_edit h;
    struct rng rng;
    rng_init(&rng, 3);
    for (int round = 0; round < 30; round++) {
        uint8_t want[HLL_REGISTERS] = {0};
        const uint32_t span = 1u << (3 + rng_below(&rng, 12)),
                       from = (uint32_t)rng_below(&rng, HLL_REGISTERS - span + 1);
        const unsigned ranks = 1 + (unsigned)rng_below(&rng, round % 3 == 0 ? 32 : 3);
        hll_edit_create(&h);
        for (int step = 0; step < 400; step++) {
            struct hll_place p = {.index = from + (uint32_t)rng_below(&rng, span),
                                  .rank = 1 + (unsigned)rng_below(&rng, ranks)};
            assert_int_equal(hll_edit_raise(&h, p, HLL_DENSE_BYTES), p.rank > want[p.index]);
            if (p.rank > want[p.index])
                want[p.index] = (uint8_t)p.rank;
            if (step % 20 == 0)
                expect_registers(&h, want);
        }
        assert_false(hll_edit_is_dense(&h));
        expect_registers(&h, want);
    }
}

/* In ascending order a search goes on where the last one ended; the bytes are those of searches from the front. */
static void raising_in_order_gives_the_same_bytes(void **state) {
    (void)state;
    static struct hll_edit a, b, start;
    struct rng rng;
    rng_init(&rng, 8);
    for (int round = 0; round < 40; round++) {
        uint8_t want[HLL_REGISTERS] = {0};
        hll_edit_create(&start);
        for (int i = 0; i < 60; i++) {
            struct hll_place p = {.index = (uint32_t)rng_below(&rng, 300), .rank = 1 + (unsigned)rng_below(&rng, 2)};
            hll_edit_raise(&start, p, HLL_DENSE_BYTES);
        }
        for (int i = 0; i < 80; i++)
            want[rng_below(&rng, 310)] = (uint8_t)(1 + rng_below(&rng, 3));
        hll_edit_load(&a, hll_edit_object(&start));
        hll_edit_raise_all(&a, want, HLL_DENSE_BYTES);
        hll_edit_load(&b, hll_edit_object(&start));
        for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
            static struct hll_edit fresh;
            hll_edit_load(&fresh, hll_edit_object(&b));
            if (want[i] != 0)
                hll_edit_raise(&fresh, (struct hll_place){.index = i, .rank = want[i]}, HLL_DENSE_BYTES);
            hll_edit_load(&b, hll_edit_object(&fresh));
            if (i > 320)
                break;
        }
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.bytes, b.bytes, a.n);
    }
}

static void a_high_rank_or_the_limit_makes_it_dense(void **state) {
    (void)state;
    static struct hll_edit h;
    uint8_t want[HLL_REGISTERS] = {0};
    hll_edit_create(&h);
    assert_true(hll_edit_raise(&h, (struct hll_place){.index = 5, .rank = 32}, SPARSE_MAX));
    assert_false(hll_edit_is_dense(&h));
    hll_keep_count(h.bytes, 77);
    assert_true(hll_edit_raise(&h, (struct hll_place){.index = 16383, .rank = 33}, SPARSE_MAX));
    assert_true(hll_edit_is_dense(&h) && h.n == HLL_DENSE_BYTES);
    want[5] = 32;
    want[16383] = 33;
    expect_registers(&h, want);
    uint64_t kept;
    assert_true(hll_kept_count(hll_edit_object(&h), &kept) && kept == 77);
    assert_false(hll_edit_raise(&h, (struct hll_place){.index = 16383, .rank = 33}, SPARSE_MAX));

    hll_edit_create(&h);
    for (uint32_t i = 0; h.n <= 97; i += 2)
        assert_true(hll_edit_raise(&h, (struct hll_place){.index = i * 70, .rank = 1}, 100));
    assert_false(hll_edit_is_dense(&h));
    assert_true(hll_edit_raise(&h, (struct hll_place){.index = 16000, .rank = 1}, 100));
    assert_true(hll_edit_is_dense(&h));
}

static void all_ways_of_unpacking_agree(void **state) {
    (void)state;
    static struct hll_edit h;
    struct rng rng;
    rng_init(&rng, 4);
    hll_edit_create(&h);
    hll_edit_make_dense(&h);
    /* The object ends where its memory ends: nothing behind it may be read. */
    unsigned char *object = malloc(HLL_DENSE_BYTES);
    for (int round = 0; round < 20; round++) {
        uint8_t fast[HLL_REGISTERS], portable[HLL_REGISTERS], want[HLL_REGISTERS];
        for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
            unsigned r = (unsigned)rng_below(&rng, round < 2 ? 64 : 20);
            hll_dense_set(h.bytes, i, r);
            assert_int_equal(hll_dense_get(h.bytes, i), r);
            fast[i] = portable[i] = (uint8_t)rng_below(&rng, round == 0 ? 1 : 64);
            want[i] = (uint8_t)(r > fast[i] ? r : fast[i]);
        }
        memcpy(object, h.bytes, HLL_DENSE_BYTES);
        for (uint32_t i = 0; i < HLL_REGISTERS; i += 997)
            assert_int_equal(hll_dense_get(object, i), hll_dense_get(h.bytes, i));
        assert_int_equal(hll_dense_get(object, 16383), hll_dense_get(h.bytes, 16383));
        hll_merge(fast, slice_of(object, HLL_DENSE_BYTES));
        hll_merge_dense_portable(portable, object);
        assert_memory_equal(fast, want, sizeof want);
        assert_memory_equal(portable, want, sizeof want);
    }
    free(object);
}

#if defined(__x86_64__)
/* Whether the upper halves of the vector registers are in use; 0 too where the processor does not tell. */
static unsigned upper_halves_in_use(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(13, 1, &a, &b, &c, &d) || !(a & 4))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
    return a & 4;
}

static void vector_registers_are_left_clean(void **state) {
    (void)state;
    static struct hll_edit h;
    static uint8_t registers[HLL_REGISTERS];
    hll_edit_create(&h);
    add_names(&h, "x", 0, 500, SPARSE_MAX);
    __asm__ volatile("" ::: "memory");
    assert_int_equal(hll_kind_of(hll_edit_object(&h)), HLL_SPARSE);
    assert_int_equal(upper_halves_in_use(), 0);
    hll_edit_make_dense(&h);
    hll_merge(registers, hll_edit_object(&h));
    assert_int_equal(upper_halves_in_use(), 0);
}
#endif

static enum hll_kind kind_of_copy(const void *p, size_t n) {
    unsigned char *copy = malloc(n != 0 ? n : 1);
    memcpy(copy, p, n);
    enum hll_kind kind = hll_kind_of(slice_of(copy, n));
    free(copy);
    return kind;
}

static void bytes_from_outside_are_told_apart(void **state) {
    (void)state;
    static struct hll_edit h;
    static unsigned char b[HLL_DENSE_BYTES + 1];
    hll_edit_create(&h);
    assert_int_equal(kind_of_copy(h.bytes, h.n), HLL_SPARSE);
    for (size_t n = 0; n < HLL_HEADER_BYTES; n++)
        assert_int_equal(kind_of_copy(h.bytes, n), HLL_FOREIGN);
    assert_int_equal(kind_of_copy(h.bytes, 16), HLL_CORRUPT); /* no registers */
    assert_int_equal(kind_of_copy(h.bytes, 17), HLL_CORRUPT); /* half an opcode */
    h.bytes[17]--;
    assert_int_equal(kind_of_copy(h.bytes, 18), HLL_CORRUPT); /* one register too few */
    h.bytes[18] = 1;
    assert_int_equal(kind_of_copy(h.bytes, 19), HLL_CORRUPT); /* one too many */
    h.bytes[18] = 0;
    assert_int_equal(kind_of_copy(h.bytes, 19), HLL_SPARSE);
    h.bytes[18] = 0x84;
    assert_int_equal(kind_of_copy(h.bytes, 19), HLL_SPARSE);

    hll_edit_create(&h);
    memcpy(b, h.bytes, 16);
    b[4] = 0;
    assert_int_equal(kind_of_copy(b, HLL_DENSE_BYTES), HLL_DENSE);
    assert_int_equal(kind_of_copy(b, HLL_DENSE_BYTES - 1), HLL_FOREIGN);
    assert_int_equal(kind_of_copy(b, HLL_DENSE_BYTES + 1), HLL_FOREIGN);
    b[4] = 2;
    assert_int_equal(kind_of_copy(b, HLL_DENSE_BYTES), HLL_FOREIGN);
    b[4] = 1;
    b[0] = 'h';
    assert_int_equal(kind_of_copy(b, HLL_DENSE_BYTES), HLL_FOREIGN);
}

/* Opcodes of all kinds, whole and cut off, for as many registers as there are or nearly so. */
static void both_ways_of_checking_runs_agree(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 33);
    unsigned sound = 0;
    for (int round = 0; round < 60000; round++) {
        unsigned char b[600];
        uint32_t left = HLL_REGISTERS, n = 0, longest = (uint32_t)1 << (6 + rng_below(&rng, 9));
        while (left != 0 && n < sizeof b - 4) {
            uint32_t length = 1 + (uint32_t)rng_below(&rng, longest);
            length = length < left ? length : left;
            if (rng_below(&rng, 3) == 0 && length > 0) {
                length = length < 4 ? length : 4;
                b[n++] = (unsigned char)(0x80 | rng_below(&rng, 32) << 2 | (length - 1));
            } else if (length <= 64 && rng_below(&rng, 4) != 0) {
                b[n++] = (unsigned char)(length - 1);
            } else {
                b[n++] = (unsigned char)(0x40 | (length - 1) >> 8);
                b[n++] = (unsigned char)(length - 1);
            }
            left -= length;
        }
        if (left != 0) { /* the rest in one */
            b[n++] = (unsigned char)(0x40 | (left - 1) >> 8);
            b[n++] = (unsigned char)(left - 1);
        }
        if (round % 2 == 1)
            b[rng_below(&rng, n)] ^= (unsigned char)(1u << rng_below(&rng, 8));
        if (round % 8 == 3)
            n -= (uint32_t)rng_below(&rng, 2);
        unsigned char *copy = malloc(n);
        memcpy(copy, b, n);
        bool ok = hll_runs_are_sound(copy, n);
        assert_int_equal(ok, hll_runs_are_sound_portable(copy, n));
        assert_true(ok || round % 2 == 1);
        sound += ok;
        free(copy);
    }
    assert_in_range(sound, 30000, 59000);
}

/* Whatever passes for sound can be used. */
static void damaged_objects_do_no_harm(void **state) {
    (void)state;
    static struct hll_edit h, copy;
    struct rng rng;
    rng_init(&rng, 21);
    hll_edit_create(&h);
    add_names(&h, "x", 0, 500, SPARSE_MAX);
    unsigned sound = 0;
    for (int round = 0; round < 20000; round++) {
        hll_edit_load(&copy, hll_edit_object(&h));
        for (uint64_t k = rng_below(&rng, 3) + 1; k > 0; k--)
            copy.bytes[HLL_HEADER_BYTES + rng_below(&rng, copy.n - HLL_HEADER_BYTES)] ^=
                (unsigned char)(1u << rng_below(&rng, 8));
        if (hll_kind_of(hll_edit_object(&copy)) != HLL_SPARSE)
            continue;
        sound++;
        hll_edit_raise(&copy, (struct hll_place){.index = (uint32_t)rng_below(&rng, HLL_REGISTERS), .rank = 30},
                       SPARSE_MAX);
        assert_true(hll_count(hll_edit_object(&copy)) < 1000000000);
    }
    assert_in_range(sound, 1000, 19000);
}

/* Zeroes written two bytes a register are sound, and the largest object there is. */
static void the_longest_sound_object_has_room_to_change(void **state) {
    (void)state;
    static struct hll_edit h;
    static unsigned char b[HLL_SPARSE_BYTES_MAX];
    uint8_t want[HLL_REGISTERS] = {0};
    hll_edit_create(&h);
    memcpy(b, h.bytes, HLL_HEADER_BYTES);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++)
        b[HLL_HEADER_BYTES + 2 * i] = 0x40;
    assert_int_equal(hll_kind_of(slice_of(b, sizeof b)), HLL_SPARSE);
    hll_edit_load(&h, slice_of(b, sizeof b));
    for (uint32_t i = 0; i < HLL_REGISTERS; i += 5) {
        assert_true(hll_edit_raise(&h, (struct hll_place){.index = i, .rank = 9}, SIZE_MAX));
        want[i] = 9;
    }
    assert_false(hll_edit_is_dense(&h));
    expect_registers(&h, want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_estimates_are_those_of_redis),
        cmocka_unit_test(sparse_objects_hold_what_was_raised),
        cmocka_unit_test(raising_in_order_gives_the_same_bytes),
        cmocka_unit_test(a_high_rank_or_the_limit_makes_it_dense),
        cmocka_unit_test(all_ways_of_unpacking_agree),
#if defined(__x86_64__)
        cmocka_unit_test(vector_registers_are_left_clean),
#endif
        cmocka_unit_test(bytes_from_outside_are_told_apart),
        cmocka_unit_test(both_ways_of_checking_runs_agree),
        cmocka_unit_test(damaged_objects_do_no_harm),
        cmocka_unit_test(the_longest_sound_object_has_room_to_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
