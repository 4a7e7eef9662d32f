#include "config.h"

#include "server/base/endian.h"

#include "tests/support/unit.h"

#include "server/base/clock.h"
#include "server/base/slice.h"

static void loads_and_stores_have_the_order_they_say(void **state) {
    (void)state;
    unsigned char bytes[9] = {0xee, 1, 2, 3, 4, 5, 6, 7, 8};
    assert_int_equal(load_le16(bytes + 1), 0x0201);
    assert_int_equal(load_be16(bytes + 1), 0x0102);
    assert_int_equal(load_le32(bytes + 1), 0x04030201);
    assert_int_equal(load_be32(bytes + 1), 0x01020304);
    assert_true(load_le64(bytes + 1) == UINT64_C(0x0807060504030201));
    assert_true(load_be64(bytes + 1) == UINT64_C(0x0102030405060708));
    unsigned char out[9] = {0};
    store_le64(out + 1, UINT64_C(0x0807060504030201));
    assert_memory_equal(out + 1, bytes + 1, 8);
    store_be32(out + 1, 0x01020304);
    assert_memory_equal(out + 1, bytes + 1, 4);
    store_be64(out + 1, UINT64_C(0x0102030405060708));
    assert_memory_equal(out + 1, bytes + 1, 8);
    assert_int_equal(out[0], 0);
}

static void words_compare_without_case(void **state) {
    (void)state;
    assert_true(slice_is(SLICE_LIT("KeepTTL"), "keepttl"));
    assert_true(slice_is(SLICE_LIT(""), ""));
    assert_false(slice_is(SLICE_LIT("keep"), "keepttl"));
    assert_false(slice_is(SLICE_LIT("keepttlx"), "keepttl"));
    assert_false(slice_is(slice_of("ex\0", 3), "ex"));
    assert_true(slice_eq(SLICE_LIT("a\0b"), slice_of("a\0b", 3)));
    assert_false(slice_eq(SLICE_LIT("a"), SLICE_LIT("b")));
    assert_false(slice_eq(SLICE_LIT("a"), SLICE_LIT("ab")));
}

static void clocks_agree_with_themselves(void **state) {
    (void)state;
    int64_t us = clock_mono_us(), ns = clock_mono_ns(), us_after = clock_mono_us();
    assert_true(us <= ns / 1000 && ns / 1000 <= us_after);
    int64_t wall_us = clock_wall_us(), wall_ms = clock_wall_ms();
    assert_true(wall_us > INT64_C(1600000000000000));
    assert_true(wall_ms - wall_us / 1000 >= 0 && wall_ms - wall_us / 1000 < 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_and_stores_have_the_order_they_say),
        cmocka_unit_test(words_compare_without_case),
        cmocka_unit_test(clocks_agree_with_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
