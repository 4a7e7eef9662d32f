#include "config.h"

#include "cluster/replication/transfer.h"

#include <stdio.h>

#include "server/base/buf.h"
#include "server/base/rng.h"
#include "tests/support/unit.h"

#define MARK "0123456789abcdef0123456789abcdef01234567"

/* Feeds `wire` in pieces; the payload is appended to out, what is left over to rest. */
static void feed(struct transfer *t, const char *wire, size_t n, struct rng *rng, size_t piece_max, struct buf *out,
                 struct buf *rest) {
    struct buf in = BUF_INIT;
    for (size_t at = 0; at < n;) {
        size_t piece = 1 + (size_t)rng_below(rng, piece_max);
        piece = piece < n - at ? piece : n - at;
        buf_append(&in, wire + at, piece);
        at += piece;
        size_t payload, used;
        transfer_take(t, in.data, in.len, &payload, &used);
        assert_true(payload <= used && used <= in.len);
        buf_append(out, in.data, payload);
        buf_consume(&in, used);
        assert_true(t->done || in.len < TRANSFER_MARK_BYTES);
    }
    buf_append(rest, in.data, in.len);
    buf_deinit(&in);
}

static void test_a_length_ends_the_payload(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    struct transfer t;
    struct buf out = BUF_INIT, rest = BUF_INIT;
    transfer_begin(&t);
    assert_int_equal(transfer_header(&t, slice_cstr("")), 0);
    assert_false(t.has_header);
    assert_int_equal(transfer_header(&t, slice_cstr("$11")), 0);
    assert_true(t.has_header && !t.has_mark && !t.done);
    feed(&t, "hello world*1\r\n", 15, &rng, 4, &out, &rest);
    assert_true(t.done);
    assert_bytes_are(out.data, out.len, "hello world");
    assert_bytes_are(rest.data, rest.len, "*1\r\n");
    buf_deinit(&out);
    buf_deinit(&rest);
}

static void test_a_mark_ends_the_payload_however_it_is_cut(void **state) {
    (void)state;
    /* Beginnings of the mark stand in the payload, one right before the mark. */
    static const char payload[] =
        "REDIS0010 0123456789abcdef0123456789abcdef0123456 x 0123456789abcdef0123456789abcdef0123";
    char wire[300];
    int n = snprintf(wire, sizeof wire, "%s%s%s", payload, MARK, "*1\r\n$4\r\nPING\r\n");
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct transfer t;
        struct buf out = BUF_INIT, rest = BUF_INIT;
        transfer_begin(&t);
        assert_int_equal(transfer_header(&t, slice_cstr("$EOF:" MARK)), 0);
        assert_true(t.has_mark);
        feed(&t, wire, (size_t)n, &rng, 1 + seed % 60, &out, &rest);
        assert_true(t.done);
        assert_bytes_are(out.data, out.len, payload);
        assert_bytes_are(rest.data, rest.len, "*1\r\n$4\r\nPING\r\n");
        assert_int_equal(t.taken_bytes, strlen(payload));
        buf_deinit(&out);
        buf_deinit(&rest);
    }
}

static void test_wrong_headers_are_errors(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "-ERR no", "$", "$x", "$-1", "+OK", "$EOF:short", "$99999999999999999999", "$1 ", "$EOF:" MARK "x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct transfer t;
        transfer_begin(&t);
        assert_int_equal(transfer_header(&t, slice_cstr(wrong[i])), -1);
        assert_true(t.reason[0] != '\0' && !t.has_header);
    }
}

static void test_an_empty_payload_is_done_at_once(void **state) {
    (void)state;
    struct transfer t;
    transfer_begin(&t);
    assert_int_equal(transfer_header(&t, slice_cstr("$0")), 0);
    assert_true(t.done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_length_ends_the_payload),
        cmocka_unit_test(test_a_mark_ends_the_payload_however_it_is_cut),
        cmocka_unit_test(test_wrong_headers_are_errors),
        cmocka_unit_test(test_an_empty_payload_is_done_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
