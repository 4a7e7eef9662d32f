#include "config.h"

#include "server/base/hash.h"

#include "tests/support/unit.h"

#include <stdio.h>

static void hex(const uint8_t *p, size_t n, char *dst) {
    for (size_t i = 0; i < n; i++)
        snprintf(dst + 2 * i, 3, "%02x", p[i]);
}

static void sha_of_abc_is_the_published_one(void **state) {
    (void)state;
    uint8_t digest[32];
    char text[65];
    hash_sha1("abc", 3, digest);
    hex(digest, 20, text);
    assert_string_equal(text, "a9993e364706816aba3e25717850c26c9cd0d89d");
    hash_sha1("", 0, digest);
    hex(digest, 20, text);
    assert_string_equal(text, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    hash_sha256("abc", 3, digest);
    hex(digest, 32, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void xxh3_has_its_reference_values(void **state) {
    (void)state;
    assert_true(hash_xxh3("", 0) == UINT64_C(0x2d06800538d394c2));
    assert_true(hash_xxh3("abc", 3) == UINT64_C(0x78af5f94892f3950));
    assert_true(hash_xxh3_seed(0, "abc", 3) == hash_xxh3("abc", 3));
    assert_true(hash_xxh3_seed(1, "abc", 3) != hash_xxh3("abc", 3));
}

static void a_key_decides_the_hash_and_equal_keys_agree(void **state) {
    (void)state;
    struct hash_key a, b, same;
    hash_key_init(&a, "seed one", 8);
    hash_key_init(&same, "seed one", 8);
    hash_key_init(&b, "seed two", 8);
    char text[300];
    memset(text, 'x', sizeof text);
    for (size_t n = 0; n < sizeof text; n++) {
        assert_true(hash_keyed(&a, text, n) == hash_keyed(&same, text, n));
        assert_true(hash_keyed(&a, text, n) != hash_keyed(&b, text, n));
    }
}

/* Every bit of the hash takes about as often 0 as 1 over similar short keys, and flips in about half of the keys when
 * one input bit flips. */
static void short_keys_are_well_mixed(void **state) {
    (void)state;
    struct hash_key k;
    hash_key_init(&k, "seed", 4);
    enum { KEYS = 4000 };
    int ones[64] = {0}, flips[64] = {0};
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        int n = snprintf(key, sizeof key, "key:%010d", i);
        uint64_t h = hash_keyed(&k, key, (size_t)n);
        key[n - 1] = (char)(key[n - 1] ^ 1);
        uint64_t other = h ^ hash_keyed(&k, key, (size_t)n);
        for (int bit = 0; bit < 64; bit++) {
            ones[bit] += (int)(h >> bit & 1);
            flips[bit] += (int)(other >> bit & 1);
        }
    }
    for (int bit = 0; bit < 64; bit++) {
        assert_in_range(ones[bit], KEYS * 45 / 100, KEYS * 55 / 100);
        assert_in_range(flips[bit], KEYS * 44 / 100, KEYS * 56 / 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha_of_abc_is_the_published_one),
        cmocka_unit_test(xxh3_has_its_reference_values),
        cmocka_unit_test(a_key_decides_the_hash_and_equal_keys_agree),
        cmocka_unit_test(short_keys_are_well_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
