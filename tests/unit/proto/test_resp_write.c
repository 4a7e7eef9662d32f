#include "config.h"

#include "server/proto/resp.h"

#include "tests/support/unit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "server/base/mem.h"

static struct outq q;

static int setup(void **state) {
    (void)state;
    outq_init(&q);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    outq_deinit(&q);
    return 0;
}

/* The queue holds exactly this, and is empty afterwards. */
static void assert_wire(const char *want, size_t n) {
    struct buf b = BUF_INIT;
    struct iovec iov[16];
    int count = outq_iov(&q, UINT64_MAX, iov, 16);
    for (int i = 0; i < count; i++)
        buf_append(&b, iov[i].iov_base, iov[i].iov_len);
    assert_int_equal(b.len, n);
    assert_memory_equal(b.data, want, n);
    buf_deinit(&b);
    outq_consume(&q, n);
}
#define WIRE(s) assert_wire(s, sizeof(s) - 1)

/* Both protocols' forms of one call. */
#define FORMS(call, resp2, resp3)                                                                                      \
    do {                                                                                                               \
        struct resp_writer writer = {&q, 2}, *w = &writer;                                                             \
        call;                                                                                                          \
        WIRE(resp2);                                                                                                   \
        w->resp = 3;                                                                                                   \
        call;                                                                                                          \
        WIRE(resp3);                                                                                                   \
    } while (0)

static void status_and_error_lines_stay_one_line(void **state) {
    (void)state;
    FORMS(resp_ok(w), "+OK\r\n", "+OK\r\n");
    FORMS(resp_simple(w, "a\r\nb"), "+a  b\r\n", "+a  b\r\n");
    FORMS(resp_simple(w, ""), "+\r\n", "+\r\n");
    FORMS(resp_error(w, SLICE_LIT("ERR no\nway\r")), "-ERR no way \r\n", "-ERR no way \r\n");
}

static void a_long_error_is_written_whole(void **state) {
    (void)state;
    size_t n = 3 * OUTQ_RESERVE_MAX;
    char *text = mem_alloc(n + 3);
    memset(text, 'e', n);
    struct resp_writer w = {&q, 2};
    resp_error(&w, slice_of(text, n));
    memmove(text + 1, text, n);
    text[0] = '-';
    memcpy(text + n + 1, "\r\n", 2);
    assert_wire(text, n + 3);
    mem_free(text);
}

static void integers(void **state) {
    (void)state;
    FORMS(resp_int(w, 0), ":0\r\n", ":0\r\n");
    FORMS(resp_int(w, 9), ":9\r\n", ":9\r\n");
    FORMS(resp_int(w, 10), ":10\r\n", ":10\r\n");
    FORMS(resp_int(w, 99), ":99\r\n", ":99\r\n");
    FORMS(resp_int(w, 100), ":100\r\n", ":100\r\n");
    FORMS(resp_int(w, -1), ":-1\r\n", ":-1\r\n");
    FORMS(resp_int(w, INT64_MAX), ":9223372036854775807\r\n", ":9223372036854775807\r\n");
    FORMS(resp_int(w, INT64_MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
    struct resp_writer w = {&q, 2};
    for (int64_t v = -2000; v < 12000; v++) {
        char want[32];
        int n = snprintf(want, sizeof want, ":%lld\r\n", (long long)v);
        resp_int(&w, v);
        assert_wire(want, (size_t)n);
    }
}

static void bulk_strings(void **state) {
    (void)state;
    FORMS(resp_bulk(w, SLICE_LIT("")), "$0\r\n\r\n", "$0\r\n\r\n");
    FORMS(resp_bulk(w, ((struct slice){NULL, 0})), "$0\r\n\r\n", "$0\r\n\r\n");
    FORMS(resp_bulk(w, SLICE_LIT("a\0\r\nb")), "$5\r\na\0\r\nb\r\n", "$5\r\na\0\r\nb\r\n");
    FORMS(resp_bulk_cstr(w, "0123456789"), "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n");
    FORMS(resp_bulk_i64(w, -123), "$4\r\n-123\r\n", "$4\r\n-123\r\n");
    FORMS(resp_null(w), "$-1\r\n", "_\r\n");
    FORMS(resp_null_array(w), "*-1\r\n", "_\r\n");
}

static void bulk_strings_of_every_length_around_the_seams(void **state) {
    (void)state;
    struct resp_writer w = {&q, 2};
    size_t max = 70000;
    char *bytes = mem_alloc(max);
    memset(bytes, 'b', max);
    struct buf want = BUF_INIT;
    static const size_t around[] = {0, 9, 10, 99, 100, 999, 1000, 2500, 4070, 4096, 9999, 10000, 16384, 65536};
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++)
        for (size_t n = around[i] > 30 ? around[i] - 30 : 0; n < around[i] + 30; n++) {
            buf_clear(&want);
            buf_printf(&want, "$%zu\r\n", n);
            buf_append(&want, bytes, n);
            buf_append_cstr(&want, "\r\n");
            resp_bulk(&w, slice_of(bytes, n));
            assert_wire(want.data, want.len);
        }
    buf_deinit(&want);
    mem_free(bytes);
}

static void blocks_are_referenced_when_large(void **state) {
    (void)state;
    for (size_t n = OUTQ_REF_MIN - 1; n <= OUTQ_REF_MIN; n++) {
        struct rbuf *r = rbuf_create(n);
        memset(r->data, 'r', n);
        r->len = n;
        struct buf want = BUF_INIT;
        buf_printf(&want, "$%zu\r\n", n);
        buf_append(&want, r->data, n);
        buf_append_cstr(&want, "\r\n");
        struct resp_writer w = {&q, 3};
        resp_bulk_rbuf(&w, r);
        assert_int_equal(rbuf_is_unique(r), n < OUTQ_REF_MIN);
        assert_wire(want.data, want.len);
        assert_true(rbuf_is_unique(r));
        rbuf_unref(r);
        buf_deinit(&want);
    }
}

static void booleans_and_doubles(void **state) {
    (void)state;
    FORMS(resp_bool(w, true), ":1\r\n", "#t\r\n");
    FORMS(resp_bool(w, false), ":0\r\n", "#f\r\n");
    FORMS(resp_double(w, 1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    FORMS(resp_double(w, 3), "$1\r\n3\r\n", ",3\r\n");
    FORMS(resp_double(w, -0.25), "$5\r\n-0.25\r\n", ",-0.25\r\n");
    FORMS(resp_double(w, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    FORMS(resp_double(w, -INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    FORMS(resp_double(w, NAN), "$3\r\nnan\r\n", ",nan\r\n");
    FORMS(resp_bulk_ldouble(w, 10.5L), "$4\r\n10.5\r\n", "$4\r\n10.5\r\n");
    FORMS(resp_bulk_ldouble(w, 3.0L), "$1\r\n3\r\n", "$1\r\n3\r\n");
}

static void numbers_and_verbatim_text(void **state) {
    (void)state;
    FORMS(resp_big_number(w, SLICE_LIT("1234567999999999999999999999999999999")),
          "$37\r\n1234567999999999999999999999999999999\r\n", "(1234567999999999999999999999999999999\r\n");
    FORMS(resp_verbatim(w, "txt", SLICE_LIT("Some string")), "$11\r\nSome string\r\n", "=15\r\ntxt:Some string\r\n");
    FORMS(resp_verbatim(w, "mkd", SLICE_LIT("")), "$0\r\n\r\n", "=4\r\nmkd:\r\n");
}

static void aggregates(void **state) {
    (void)state;
    FORMS(resp_array(w, 0), "*0\r\n", "*0\r\n");
    FORMS(resp_array(w, 12345), "*12345\r\n", "*12345\r\n");
    FORMS(resp_map(w, 6), "*12\r\n", "%6\r\n");
    FORMS(resp_set(w, 7), "*7\r\n", "~7\r\n");
    FORMS(resp_push(w, 3), "*3\r\n", ">3\r\n");
    struct resp_writer w = {&q, 3};
    resp_attribute(&w, 1);
    WIRE("|1\r\n");
    w.resp = 2;
    resp_attribute(&w, 1);
    assert_true(outq_empty(&q));
}

static void deferred(struct resp_writer *w) {
    struct outq_hole array = resp_open(w);
    resp_int(w, 1);
    struct outq_hole map = resp_open(w);
    resp_bulk_cstr(w, "k");
    resp_null(w);
    resp_close_map(w, map, 1);
    struct outq_hole set = resp_open(w);
    resp_close_set(w, set, 0);
    resp_close_array(w, array, 3);
}

static void aggregates_of_sizes_known_at_the_end(void **state) {
    (void)state;
    FORMS(deferred(w), "*3\r\n:1\r\n*2\r\n$1\r\nk\r\n$-1\r\n*0\r\n", "*3\r\n:1\r\n%1\r\n$1\r\nk\r\n_\r\n~0\r\n");
}

static void a_command_is_serialised_canonically(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    struct slice argv[] = {SLICE_LIT("SET"), SLICE_LIT("k\r\n"), {NULL, 0}};
    buf_append_cstr(&b, "x");
    resp_append_command(&b, argv, 3);
    assert_bytes_are(b.data, b.len, "x*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n");
    buf_deinit(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(status_and_error_lines_stay_one_line),
        TEST(a_long_error_is_written_whole),
        TEST(integers),
        TEST(bulk_strings),
        TEST(bulk_strings_of_every_length_around_the_seams),
        TEST(blocks_are_referenced_when_large),
        TEST(booleans_and_doubles),
        TEST(numbers_and_verbatim_text),
        TEST(aggregates),
        TEST(aggregates_of_sizes_known_at_the_end),
        TEST(a_command_is_serialised_canonically),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
