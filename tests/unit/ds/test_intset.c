#include "config.h"

#include "server/ds/intset.h"
#include "tests/support/unit.h"

#include "server/base/mem.h"

#define VALUES 48

/* Values on both sides of every width's bound. */
static int64_t value_of(unsigned i) {
    static const int64_t bases[] = {0, 32767, -32768, 2147483647, -INT64_C(2147483648), INT64_MAX - 3, INT64_MIN + 4};
    unsigned k = i % 7;
    return bases[k] + ((int64_t)(i / 7) - 3);
}

static void compare(const struct intset *is, const bool *in) {
    uint32_t n = 0;
    intset_check(is);
    for (unsigned i = 0; i < VALUES; i++) {
        uint32_t at;
        assert_int_equal(intset_find(is, value_of(i), &at), in[i]);
        if (in[i])
            assert_true(intset_get(is, at) == value_of(i));
        assert_true(at == 0 || intset_get(is, at - 1) < value_of(i));
        n += in[i];
    }
    assert_int_equal(intset_count(is), n);
    assert_int_equal(intset_bytes(is), 8 + n * intset_width(is));
}

static void test_random_operations_keep_to_the_model(void **state) {
    (void)state;
    struct rng rng;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        bool in[VALUES] = {false};
        struct intset *is = intset_create();
        rng_init(&rng, seed);
        for (unsigned step = 0; step < 300; step++) {
            /* Narrow values first, so that each width is lived in. */
            unsigned i = (unsigned)rng_below(&rng, VALUES);
            if (step < 200)
                i = i / 7 * 7 + (unsigned)rng_below(&rng, step < 100 ? 1 : 3);
            i %= VALUES;
            if (rng_below(&rng, 3) != 0)
                assert_int_equal(intset_add(&is, value_of(i)), !in[i]), in[i] = true;
            else
                assert_int_equal(intset_remove(&is, value_of(i)), in[i]), in[i] = false;
            compare(is, in);
        }
        struct intset *copy = intset_dup(is), *loaded = intset_try_load(intset_slice(is));
        compare(copy, in);
        compare(loaded, in);
        intset_destroy(copy);
        intset_destroy(loaded);
        intset_destroy(is);
    }
}

static void test_layout_and_widening(void **state) {
    (void)state;
    struct intset *is = intset_create();
    assert_int_equal(intset_add(&is, 5), 1);
    assert_int_equal(intset_add(&is, -1), 1);
    assert_int_equal(intset_add(&is, 5), 0);
    static const unsigned char narrow[] = {2, 0, 0, 0, 2, 0, 0, 0, 0xFF, 0xFF, 5, 0};
    assert_int_equal(intset_bytes(is), sizeof narrow);
    assert_memory_equal(is, narrow, sizeof narrow);
    assert_int_equal(intset_add(&is, -40000), 1);
    static const unsigned char wide[] = {4,    0,    0,    0,    3,    0,    0, 0, 0xC0, 0x63,
                                         0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 5, 0, 0,    0};
    assert_int_equal(intset_bytes(is), sizeof wide);
    assert_memory_equal(is, wide, sizeof wide);
    intset_destroy(is);
}

static void test_many_are_added_and_removed(void **state) {
    (void)state;
    struct intset *is = intset_create();
    for (int64_t i = 0; i < 20000; i++)
        assert_int_equal(intset_add(&is, (i * 7919) % 20000 - 10000), 1);
    intset_check(is);
    assert_int_equal(intset_count(is), 20000);
    intset_remove_range(&is, 100, 19800);
    intset_check(is);
    assert_int_equal(intset_get(is, 99), -9901);
    assert_int_equal(intset_get(is, 100), 9900);
    struct rng rng;
    rng_init(&rng, 1);
    unsigned low = 0;
    for (unsigned i = 0; i < 1000; i++)
        low += intset_random(is, &rng) < 0;
    assert_in_range(low, 400, 600);
    intset_remove_range(&is, 0, 200);
    assert_int_equal(intset_count(is), 0);
    assert_false(intset_find(is, 0, NULL));
    intset_destroy(is);
}

static void test_validation_sees_each_fault(void **state) {
    (void)state;
    static const struct {
        unsigned char bytes[16];
        size_t n;
        bool sound;
    } rows[] = {
        {{2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0}, 12, true},
        {{2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 2, 0}, 12, false}, /* repeats */
        {{2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 0}, 12, false}, /* descends */
        {{2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 2, 0}, 12, false},
        {{2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0}, 11, false},
        {{3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0}, 12, false},
        {{8, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, 8, false},
        {{4, 0, 0, 0, 0, 0, 0, 0}, 8, true},
        {{4, 0, 0, 0}, 4, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t count;
        unsigned char *exact = mem_alloc(rows[i].n);
        memcpy(exact, rows[i].bytes, rows[i].n);
        assert_int_equal(intset_validate(slice_of(exact, rows[i].n), true, NULL, NULL, &count) == NULL, rows[i].sound);
        mem_free(exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations_keep_to_the_model),
        cmocka_unit_test(test_layout_and_widening),
        cmocka_unit_test(test_many_are_added_and_removed),
        cmocka_unit_test(test_validation_sees_each_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
