#include "config.h"

#include "server/engine/inflight.h"

#include "server/base/rng.h"
#include "tests/support/unit.h"

/* Against a model: an array of the latest offset of each key. */

#define KEYS 3000

static uint64_t nth_key(size_t i) {
    return inflight_key((unsigned)(i % 3), (uint64_t)i * 0x100000001b3u);
}

static void check_all(const struct inflight *f, const uint64_t *model, uint64_t released) {
    size_t live = 0;
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t want = model[i] > released ? model[i] : 0;
        live += want != 0;
        assert_int_equal(inflight_offset(f, nth_key(i)), want);
    }
    assert_int_equal(f->count, live);
}

static void test_model(void **state) {
    (void)state;
    struct inflight f;
    inflight_init(&f);
    struct rng rng;
    rng_init(&rng, 7);
    static uint64_t model[KEYS];
    memset(model, 0, sizeof model);
    uint64_t offset = 1, released = 0;
    for (int step = 0; step < 60000; step++) {
        uint64_t r = rng_u64(&rng);
        if (r % 16 < 14) {
            size_t i = (size_t)(r >> 8) % (step % 20000 < 10000 ? 50 : KEYS);
            if (r % 16 < 12) /* several keys of one group have one offset */
                offset += 1 + (r >> 40) % 100;
            inflight_put(&f, nth_key(i), offset);
            model[i] = offset;
        } else if (r % 16 == 14 && step % 20000 > 5000) {
            released += (offset - released) / (1 + (r >> 8) % 4);
            inflight_prune(&f, released);
        }
        if (step % 997 == 0)
            check_all(&f, model, released);
    }
    inflight_prune(&f, offset);
    check_all(&f, model, offset);
    assert_int_equal(f.ring_count, 0);
    inflight_deinit(&f);
}

static void test_key_put_twice(void **state) {
    (void)state;
    struct inflight f;
    inflight_init(&f);
    assert_int_equal(inflight_offset(&f, 5), 0);
    inflight_put(&f, 5, 10);
    inflight_put(&f, 5, 20);
    inflight_prune(&f, 15);
    assert_int_equal(inflight_offset(&f, 5), 20);
    inflight_prune(&f, 20);
    assert_int_equal(inflight_offset(&f, 5), 0);
    inflight_deinit(&f);
}

static void test_whole_databases(void **state) {
    (void)state;
    struct inflight f;
    inflight_init(&f);
    f.all_offset = 100;
    assert_int_equal(inflight_offset(&f, 1), 100);
    inflight_put(&f, 1, 120);
    assert_int_equal(inflight_offset(&f, 1), 120);
    assert_int_equal(inflight_offset(&f, 2), 100);
    inflight_prune(&f, 99);
    assert_int_equal(inflight_offset(&f, 2), 100);
    inflight_prune(&f, 100);
    assert_int_equal(inflight_offset(&f, 2), 0);
    assert_int_equal(inflight_offset(&f, 1), 120);
    inflight_deinit(&f);
}

static void test_keys_differ_by_database(void **state) {
    (void)state;
    assert_int_not_equal(inflight_key(0, 77), inflight_key(1, 77));
    assert_int_not_equal(inflight_key(0, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_key_put_twice),
        cmocka_unit_test(test_whole_databases),
        cmocka_unit_test(test_keys_differ_by_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
