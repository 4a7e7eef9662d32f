#include "config.h"

#include "server/proto/resp.h"

#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/mem.h"

#define STORE 8

static const struct resp_limits open_limits = {
    .multibulk_max = INT32_MAX, .bulk_max_bytes = 512 << 20, .inline_max_bytes = 65536};
static const struct resp_limits unauthenticated_limits = {
    .multibulk_max = 10, .bulk_max_bytes = 16384, .inline_max_bytes = 65536};

/* What came of an input, as text: the arguments in repr form, one request a line, "!" in front of those that are not
 * canonical; "empty", "more N", "error TEXT". */
static void describe(struct buf *out, const struct resp_request *r) {
    if (!r->canonical)
        buf_append_char(out, '!');
    for (int i = 0; i < r->argc; i++) {
        if (i > 0)
            buf_append_char(out, ' ');
        buf_append_repr(out, r->argv[i]);
    }
    buf_append_char(out, '\n');
}

/* Feeds the input in pieces that end at the given places and then at its end. The bytes live in a block of exactly
 * their number, made anew each time: the parser must not read beyond, nor keep addresses. */
static char *run_cut(const struct resp_limits *limits, const char *input, size_t n, const size_t *cuts,
                     size_t cut_count) {
    struct buf out = BUF_INIT;
    struct resp_parser p;
    resp_parser_init(&p);
    char *rest = mem_alloc(0);
    size_t rest_n = 0, fed = 0;
    bool failed = false, asked = false;
    size_t wanted = 0;
    for (size_t piece = 0; piece <= cut_count && !failed; piece++) {
        size_t end = piece < cut_count ? cuts[piece] : n;
        char *joined = mem_alloc(rest_n + end - fed);
        memcpy(joined, rest, rest_n);
        memcpy(joined + rest_n, input + fed, end - fed);
        mem_free(rest);
        rest = joined;
        rest_n += end - fed;
        fed = end;
        for (bool more = true; more && !failed;) {
            struct slice store[STORE];
            struct resp_request r = {0};
            const char *error = NULL;
            asked = false;
            switch (resp_parse_request(&p, limits, rest, rest_n, store, STORE, &r, &error, &wanted)) {
            case RESP_PARSE_REQUEST:
                assert_true(r.argc > 0 && r.consumed <= rest_n);
                assert_true((r.argc <= STORE) == (r.argv == store));
                describe(&out, &r);
                break;
            case RESP_PARSE_EMPTY:
                buf_append_cstr(&out, "empty\n");
                break;
            case RESP_PARSE_MORE:
                assert_true(wanted >= 1);
                asked = rest_n > 0;
                more = false;
                continue;
            case RESP_PARSE_ERROR:
                buf_printf(&out, "error %s\n", error);
                failed = true;
                continue;
            }
            assert_true(r.consumed > 0);
            assert_false(resp_parser_pending(&p));
            char *left = mem_alloc(rest_n - r.consumed);
            memcpy(left, rest + r.consumed, rest_n - r.consumed);
            mem_free(rest);
            rest = left;
            rest_n -= r.consumed;
        }
    }
    if (asked)
        buf_printf(&out, "more %zu\n", wanted);
    mem_free(rest);
    resp_parser_deinit(&p);
    return buf_take_cstr(&out);
}

static void check_n(const struct resp_limits *limits, const char *input, size_t n, const char *want) {
    char *whole = run_cut(limits, input, n, NULL, 0);
    assert_string_equal(whole, want);
    mem_free(whole);
    if (n > 4096)
        return;
    for (size_t cut = 0; cut <= n; cut++) {
        char *cut_once = run_cut(limits, input, n, &cut, 1);
        assert_string_equal(cut_once, want);
        mem_free(cut_once);
    }
    size_t each[4096];
    for (size_t i = 0; i < n; i++)
        each[i] = i;
    char *bytewise = run_cut(limits, input, n, each, n);
    assert_string_equal(bytewise, want);
    mem_free(bytewise);
}

/* Whole, cut in two at every place, and byte by byte. */
#define CHECK(input, want) check_n(&open_limits, input, sizeof(input) - 1, want)
#define CHECK_UNAUTH(input, want) check_n(&unauthenticated_limits, input, sizeof(input) - 1, want)

static void multibulk_requests(void **state) {
    (void)state;
    CHECK("*1\r\n$4\r\nPING\r\n", "\"PING\"\n");
    CHECK("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$10\r\n0123456789\r\n", "\"SET\" \"key\" \"0123456789\"\n");
    CHECK("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "\"GET\" \"\"\n");
    CHECK("*2\r\n$4\r\nECHO\r\n$6\r\n\r\n\0*1\r\r\n", "\"ECHO\" \"\\r\\n\\x00*1\\r\"\n");
    CHECK("*9\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n",
          "\"1\" \"2\" \"3\" \"4\" \"5\" \"6\" \"7\" \"8\" \"9\"\n");
    CHECK("*12\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n"
          "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n*1\r\n$1\r\nd\r\n",
          "\"1\" \"2\" \"3\" \"4\" \"5\" \"6\" \"7\" \"8\" \"9\" \"a\" \"b\" \"c\"\n\"d\"\n");
}

static void pipelined_requests(void **state) {
    (void)state;
    CHECK("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPI",
          "\"PING\"\n\"GET\" \"k\"\n!\"PING\"\n\"QUIT\"\nmore 4\n");
}

static void lengths_of_every_number_of_digits(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 1001};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buf in = BUF_INIT, want = BUF_INIT;
        char *bytes = mem_alloc(sizes[i]);
        memset(bytes, 'v', sizes[i]);
        buf_printf(&in, "*2\r\n$3\r\nSET\r\n$%zu\r\n", sizes[i]);
        buf_append(&in, bytes, sizes[i]);
        buf_append_cstr(&in, "\r\n");
        buf_append_cstr(&want, "\"SET\" ");
        buf_append_repr(&want, slice_of(bytes, sizes[i]));
        buf_append_char(&want, '\n');
        char *text = buf_take_cstr(&want);
        check_n(&open_limits, in.data, in.len, text);
        mem_free(text);
        mem_free(bytes);
        buf_deinit(&in);
    }
}

static void large_arguments_and_many(void **state) {
    (void)state;
    struct buf in = BUF_INIT;
    size_t big = 12345678;
    char *bytes = mem_alloc(big);
    memset(bytes, 'v', big);
    buf_printf(&in, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", big);
    buf_append(&in, bytes, big);
    buf_append_cstr(&in, "\r\n*1234\r\n");
    for (int i = 0; i < 1234; i++)
        buf_printf(&in, "$%d\r\n%d\r\n", i < 10 ? 1 : i < 100 ? 2 : i < 1000 ? 3 : 4, i);
    struct resp_parser p;
    resp_parser_init(&p);
    struct slice store[STORE];
    struct resp_request r;
    const char *error;
    size_t wanted;
    assert_int_equal(resp_parse_request(&p, &open_limits, in.data, in.len, store, STORE, &r, &error, &wanted),
                     RESP_PARSE_REQUEST);
    assert_int_equal(r.argv[2].n, big);
    assert_true(r.canonical);
    size_t first = r.consumed;
    assert_int_equal(
        resp_parse_request(&p, &open_limits, in.data + first, in.len - first, store, STORE, &r, &error, &wanted),
        RESP_PARSE_REQUEST);
    assert_int_equal(r.argc, 1234);
    assert_int_equal(first + r.consumed, in.len);
    assert_bytes_are(r.argv[1233].p, r.argv[1233].n, "1233");
    assert_true(r.canonical);
    assert_true(resp_parser_memory(&p) >= 1234 * sizeof(struct slice));
    resp_parser_reset(&p);
    assert_int_equal(resp_parser_memory(&p), 0);
    resp_parser_deinit(&p);
    mem_free(bytes);
    buf_deinit(&in);
}

static void a_pending_bulk_tells_how_much_is_missing(void **state) {
    (void)state;
    struct resp_parser p;
    resp_parser_init(&p);
    char data[] = "*2\r\n$3\r\nSET\r\n$100000\r\nabc";
    struct slice store[STORE];
    struct resp_request r;
    const char *error;
    size_t wanted;
    assert_int_equal(resp_parse_request(&p, &open_limits, data, sizeof data - 1, store, STORE, &r, &error, &wanted),
                     RESP_PARSE_MORE);
    assert_int_equal(wanted, 100000 + 2 - 3);
    assert_int_equal(p.bulk_len, 100000);
    assert_int_equal(p.scanned, sizeof data - 1 - 3);
    assert_true(resp_parser_pending(&p));
    resp_parser_deinit(&p);
}

static void empty_requests_are_skipped(void **state) {
    (void)state;
    CHECK("*0\r\n*-1\r\n*-10\r\n\r\n\n   \r\nPING\r\n", "empty\nempty\nempty\nempty\nempty\nempty\n!\"PING\"\n");
}

static void inline_requests(void **state) {
    (void)state;
    CHECK("PING\n", "!\"PING\"\n");
    CHECK("  set  k\tv  \r\nGET k\r\n", "!\"set\" \"k\" \"v\"\n!\"GET\" \"k\"\n");
    CHECK("set k \"a b\\n\\r\\t\\b\\a\\x41\\xzz\\\"\\q\" 'c\\'d\\n'\r\n",
          "!\"set\" \"k\" \"a b\\n\\r\\t\\b\\aAxzz\\\"q\" \"c'd\\\\n\"\n");
    CHECK("set \"\" ''\r\n", "!\"set\" \"\" \"\"\n");
    CHECK("se\"t\" k\r\n", "!\"set\" \"k\"\n");
    CHECK("1 2 3 4 5 6 7 8 9 10\n", "!\"1\" \"2\" \"3\" \"4\" \"5\" \"6\" \"7\" \"8\" \"9\" \"10\"\n");
    CHECK("a\rb\n", "!\"a\" \"b\"\n");
    CHECK("set k a\0b\n", "!\"set\" \"k\" \"a\\x00b\"\n");
    CHECK("PING", "more 1\n");
}

static void inline_requests_with_bad_quotes(void **state) {
    (void)state;
    CHECK("set k \"abc\r\n", "error unbalanced quotes in request\n");
    CHECK("set k 'abc\n", "error unbalanced quotes in request\n");
    CHECK("set \"a\"b c\r\n", "error unbalanced quotes in request\n");
    CHECK("set 'a'\"b\" c\r\n", "error unbalanced quotes in request\n");
    CHECK("set \"a\\\"\r\n", "error unbalanced quotes in request\n");
}

static void wrong_multibulk_counts(void **state) {
    (void)state;
    CHECK("*x\r\n", "error invalid multibulk length\n");
    CHECK("*\r\n", "error invalid multibulk length\n");
    CHECK("*+1\r\n", "error invalid multibulk length\n");
    CHECK("*01\r\n$4\r\nPING\r\n", "error invalid multibulk length\n");
    CHECK("* 1\r\n", "error invalid multibulk length\n");
    CHECK("*1 \r\n", "error invalid multibulk length\n");
    CHECK("*2147483648\r\n", "error invalid multibulk length\n");
    CHECK("*99999999999999999999\r\n", "error invalid multibulk length\n");
    CHECK("*2147483647\r\n", "more 1\n");
    CHECK("*2147483647\r\n$1\r\na\r\n", "more 1\n");
}

static void wrong_bulk_lengths(void **state) {
    (void)state;
    CHECK("*1\r\n$x\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$-1\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$04\r\nPING\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$004\r\nPING\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$1x\r\nPING\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$12x\r\nPING\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$536870913\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$536870912\r\n", "more 536870914\n");
    CHECK("*1\r\n$9223372036854775807\r\n", "error invalid bulk length\n");
    CHECK("*1\r\n$18446744073709551615\r\n", "error invalid bulk length\n");
    CHECK("*2\r\n$4\r\nPING\r\n:1\r\n", "error expected '$', got ':'\n");
    CHECK("*1\r\nPING\r\n", "error expected '$', got 'P'\n");
    CHECK("*1\r\n\r\n", "error expected '$', got '\r'\n");
}

static void the_largest_length_does_not_overflow(void **state) {
    (void)state;
    struct resp_limits limits = open_limits;
    limits.bulk_max_bytes = INT64_MAX;
    static const char input[] = "*1\r\n$9223372036854775807\r\nabc";
    check_n(&limits, input, sizeof input - 1, "more 9223372036854775806\n");
}

static void unauthenticated_limits_hold(void **state) {
    (void)state;
    CHECK_UNAUTH("*10\r\n", "more 1\n");
    CHECK_UNAUTH("*11\r\n$4\r\nAUTH\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nb\r\n$1\r\nb\r\n$1\r\nb\r\n$1\r\nb\r\n$1\r\nb\r\n$"
                 "1\r\nb\r\n$1"
                 "\r\nb\r\n$1\r\nb\r\n",
                 "error unauthenticated multibulk length\n");
    CHECK_UNAUTH("*2\r\n$4\r\nAUTH\r\n$16384\r\n", "more 16386\n");
    CHECK_UNAUTH("*2\r\n$4\r\nAUTH\r\n$16385\r\n", "error unauthenticated bulk length\n");
    CHECK_UNAUTH("*2147483648\r\n", "error invalid multibulk length\n");
    CHECK_UNAUTH("*1\r\n$-1\r\n", "error invalid bulk length\n");
}

/* Bytes that Redis does not look at pass, but are never propagated as they are. */
static void sloppy_line_ends_pass_but_are_not_canonical(void **state) {
    (void)state;
    CHECK("*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", "!\"PING\"\n\"PING\"\n");
    CHECK("*1\rx$4\r\nPING\r\n", "!\"PING\"\n");
    CHECK("*1\r\n$4\rxPING\r\n", "!\"PING\"\n");
}

/* n bytes of filler behind a beginning, then an end. */
static void check_long_line(const char *begin, size_t filler, const char *end, const char *want_error) {
    struct buf in = BUF_INIT;
    buf_append_cstr(&in, begin);
    for (size_t i = 0; i < filler; i++)
        buf_append_char(&in, 'a');
    buf_append_cstr(&in, end);
    size_t cuts[] = {in.len / 2, 65536, 65537};
    for (size_t i = 0; i < 4; i++) {
        char *got = run_cut(&open_limits, in.data, in.len, &cuts[i % 3], i < 3 && cuts[i] <= in.len ? 1 : 0);
        if (want_error == NULL)
            assert_null(strstr(got, "error"));
        else
            assert_string_equal(got, want_error);
        mem_free(got);
    }
    buf_deinit(&in);
}

static void lines_without_end_are_refused(void **state) {
    (void)state;
    check_long_line("", 65536, "", NULL);
    check_long_line("", 65536, "\n", NULL);
    check_long_line("", 65537, "", "error too big inline request\n");
    check_long_line("", 65537, "\n", "error too big inline request\n");
    check_long_line("*", 65535, "", NULL);
    check_long_line("*", 65536, "", "error too big mbulk count string\n");
    check_long_line("*", 70000, "\r\n", "error too big mbulk count string\n");
    check_long_line("*1\r\n$", 65535, "", NULL);
    check_long_line("*1\r\n$", 65536, "", "error too big bulk count string\n");
    check_long_line("*1\r\n$", 70000, "\r\n", "error too big bulk count string\n");
}

static void a_line_in_drips_is_searched_once(void **state) {
    (void)state;
    struct resp_parser p;
    resp_parser_init(&p);
    char data[300];
    memset(data, 'a', sizeof data);
    struct slice store[STORE];
    struct resp_request r;
    const char *error;
    size_t wanted;
    for (size_t n = 1; n < sizeof data; n++) {
        assert_int_equal(resp_parse_request(&p, &open_limits, data, n, store, STORE, &r, &error, &wanted),
                         RESP_PARSE_MORE);
        assert_int_equal(p.searched, n);
    }
    resp_parser_deinit(&p);
}

static void words_are_split_as_in_inline_requests(void **state) {
    (void)state;
    char **words;
    size_t *lens;
    int count;
    assert_int_equal(resp_split_line(SLICE_LIT(" save 900 \"1 \\x00z\" '' "), &words, &lens, &count), 0);
    assert_int_equal(count, 4);
    assert_string_equal(words[0], "save");
    assert_string_equal(words[1], "900");
    assert_int_equal(lens[2], 4);
    assert_memory_equal(words[2], "1 \0z", 5);
    assert_string_equal(words[3], "");
    resp_free_words(words, lens, count);
    assert_int_equal(resp_split_line(SLICE_LIT("   \t"), &words, &lens, &count), 0);
    assert_int_equal(count, 0);
    resp_free_words(words, lens, count);
    assert_int_equal(resp_split_line((struct slice){NULL, 0}, &words, &lens, &count), 0);
    assert_int_equal(count, 0);
    resp_free_words(words, lens, count);
    assert_int_equal(resp_split_line(SLICE_LIT("dir \"abc"), &words, &lens, &count), -1);
    assert_int_equal(resp_split_line(SLICE_LIT("dir 'abc'd"), &words, &lens, &count), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multibulk_requests),
        cmocka_unit_test(pipelined_requests),
        cmocka_unit_test(lengths_of_every_number_of_digits),
        cmocka_unit_test(large_arguments_and_many),
        cmocka_unit_test(a_pending_bulk_tells_how_much_is_missing),
        cmocka_unit_test(empty_requests_are_skipped),
        cmocka_unit_test(inline_requests),
        cmocka_unit_test(inline_requests_with_bad_quotes),
        cmocka_unit_test(wrong_multibulk_counts),
        cmocka_unit_test(wrong_bulk_lengths),
        cmocka_unit_test(the_largest_length_does_not_overflow),
        cmocka_unit_test(unauthenticated_limits_hold),
        cmocka_unit_test(sloppy_line_ends_pass_but_are_not_canonical),
        cmocka_unit_test(lines_without_end_are_refused),
        cmocka_unit_test(a_line_in_drips_is_searched_once),
        cmocka_unit_test(words_are_split_as_in_inline_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
