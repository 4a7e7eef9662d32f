#include "config.h"

#include "server/base/crc.h"

#include "tests/support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/rng.h"

/* Bit by bit, from the definition. */
static uint64_t crc64_by_bits(uint64_t crc, const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT64_C(0x95ac9329ac4bc9b5) : 0);
    }
    return crc;
}

static void crc64_has_the_published_check_value(void **state) {
    (void)state;
    assert_true(crc64(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
    assert_true(crc64(0, "", 0) == 0);
}

static void crc64_equals_the_definition_at_every_length_and_alignment(void **state) {
    (void)state;
    unsigned char bytes[1400];
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)rng_u64(&rng);
    for (size_t n = 0; n < 1300; n++) {
        size_t from = n % 17;
        uint64_t start = n % 3 == 0 ? 0 : rng_u64(&rng);
        uint64_t expected = crc64_by_bits(start, bytes + from, n);
        assert_true(crc64(start, bytes + from, n) == expected);
        assert_true(crc64_portable(start, bytes + from, n) == expected);
    }
}

static void crc64_continues_over_pieces(void **state) {
    (void)state;
    unsigned char bytes[1000];
    memset(bytes, 0xa5, sizeof bytes);
    struct rng rng;
    rng_init(&rng, 2);
    uint64_t whole = crc64(0, bytes, sizeof bytes);
    for (int round = 0; round < 200; round++) {
        size_t cut = (size_t)rng_below(&rng, sizeof bytes + 1);
        assert_true(crc64(crc64(0, bytes, cut), bytes + cut, sizeof bytes - cut) == whole);
    }
}

static void crc16_has_the_published_check_value(void **state) {
    (void)state;
    assert_int_equal(crc16("123456789", 9), 0x31c3);
    assert_int_equal(crc16("", 0), 0);
}

static unsigned slot(const char *key) {
    return crc16_key_slot(key, strlen(key));
}

static void a_slot_is_the_crc_of_the_tag_in_braces(void **state) {
    (void)state;
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("somekey"), 11058);
    assert_int_equal(slot("foo{hash_tag}"), 2515);
    assert_int_equal(slot("bar{hash_tag}"), 2515);
    assert_int_equal(slot("{user1000}.following"), slot("user1000"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_equal(slot("foo{bar}{zap}"), slot("bar"));
    /* An empty tag, and braces that do not close, are part of the key. */
    assert_int_equal(slot("foo{}{bar}"), crc16("foo{}{bar}", 10) & 0x3fff);
    assert_int_equal(slot("foo{bar"), crc16("foo{bar", 7) & 0x3fff);
    assert_int_equal(slot("foo}bar{"), crc16("foo}bar{", 8) & 0x3fff);
    assert_int_equal(crc16_key_slot("", 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc64_has_the_published_check_value),
        cmocka_unit_test(crc64_equals_the_definition_at_every_length_and_alignment),
        cmocka_unit_test(crc64_continues_over_pieces),
        cmocka_unit_test(crc16_has_the_published_check_value),
        cmocka_unit_test(a_slot_is_the_crc_of_the_tag_in_braces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
