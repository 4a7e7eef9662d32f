#include "config.h"

#include "server/base/buf.h"

#include "tests/support/unit.h"

#include <pthread.h>

#include "server/base/mem.h"
#include "server/base/rng.h"

static void appends_of_every_kind_end_up_in_order(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    buf_append(&b, "ab", 2);
    buf_append_char(&b, 'c');
    buf_append_cstr(&b, "de");
    buf_append_slice(&b, SLICE_LIT("f"));
    buf_append_i64(&b, -12);
    buf_append_u64(&b, 18446744073709551615u);
    buf_printf(&b, "<%s:%d>", "x", 7);
    buf_append(&b, NULL, 0);
    assert_bytes_are(b.data, b.len, "abcdef-1218446744073709551615<x:7>");
    buf_deinit(&b);
    assert_null(b.data);
}

static void printf_grows_to_any_length(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    for (int width = 0; width < 2000; width += 37) {
        size_t before = b.len;
        buf_printf(&b, "%*d", width, 5);
        assert_int_equal(b.len - before, width == 0 ? 1 : width);
        assert_int_equal(b.data[b.len - 1], '5');
    }
    buf_deinit(&b);
}

static void repr_escapes_what_is_not_printable(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    buf_append_repr(&b, slice_of("a\"\\\n\r\t\a\b\0\x1f\x7f\xff z", 14));
    assert_bytes_are(b.data, b.len, "\"a\\\"\\\\\\n\\r\\t\\a\\b\\x00\\x1f\\x7f\\xff z\"");
    buf_deinit(&b);
}

static void consume_keeps_the_rest(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    buf_append_cstr(&b, "hello world");
    buf_consume(&b, 6);
    assert_bytes_are(b.data, b.len, "world");
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    buf_deinit(&b);
}

static void an_impossible_reserve_leaves_the_buffer_alone(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    buf_append_cstr(&b, "x");
    assert_int_equal(buf_try_reserve(&b, SIZE_MAX), -1);
    assert_int_equal(buf_try_reserve(&b, SIZE_MAX / 2), -1);
    assert_bytes_are(b.data, b.len, "x");
    assert_int_equal(buf_try_reserve(&b, 1000), 0);
    assert_true(b.cap >= 1001);
    buf_deinit(&b);
}

static void growth_is_geometric(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    int moves = 0;
    size_t cap = 0;
    for (int i = 0; i < 4000000; i++) {
        buf_append_char(&b, 'x');
        moves += b.cap != cap;
        cap = b.cap;
    }
    assert_true(moves < 25);
    buf_deinit(&b);
}

static void take_hands_over_a_string(void **state) {
    (void)state;
    size_t before = mem_used();
    struct buf b = BUF_INIT;
    char *empty = buf_take_cstr(&b);
    assert_string_equal(empty, "");
    buf_append_cstr(&b, "abc");
    char *s = buf_take_cstr(&b);
    assert_string_equal(s, "abc");
    assert_true(b.data == NULL && b.len == 0 && b.cap == 0);
    mem_free(s);
    mem_free(empty);
    assert_int_equal(mem_used(), before);
}

static void *drop_ten_thousand(void *arg) {
    for (int i = 0; i < 10000; i++) {
        rbuf_ref(arg);
        rbuf_unref(arg);
    }
    rbuf_unref(arg);
    return NULL;
}

static void the_last_reference_frees_from_any_thread(void **state) {
    (void)state;
    size_t before = mem_used();
    struct rbuf *r = rbuf_create(100);
    assert_int_equal(r->cap, 100);
    assert_int_equal(r->len, 0);
    assert_true(rbuf_is_unique(r));
    assert_ptr_equal(rbuf_ref(r), r);
    assert_false(rbuf_is_unique(r));
    rbuf_ref(r);
    pthread_t a, b;
    assert_int_equal(pthread_create(&a, NULL, drop_ten_thousand, r), 0);
    assert_int_equal(pthread_create(&b, NULL, drop_ten_thousand, r), 0);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    assert_true(rbuf_is_unique(r));
    rbuf_unref(r);
    rbuf_unref(NULL);
    assert_int_equal(mem_used(), before);
    assert_null(rbuf_try_create(SIZE_MAX));
    assert_null(rbuf_try_create(SIZE_MAX - 100));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_of_every_kind_end_up_in_order),
        cmocka_unit_test(printf_grows_to_any_length),
        cmocka_unit_test(repr_escapes_what_is_not_printable),
        cmocka_unit_test(consume_keeps_the_rest),
        cmocka_unit_test(an_impossible_reserve_leaves_the_buffer_alone),
        cmocka_unit_test(growth_is_geometric),
        cmocka_unit_test(take_hands_over_a_string),
        cmocka_unit_test(the_last_reference_frees_from_any_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
