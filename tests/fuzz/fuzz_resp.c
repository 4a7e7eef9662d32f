/* Requests: the same bytes whole and in pieces give the same requests, errors and ends; a request called canonical is
 * byte for byte what resp_append_command() makes of its arguments, and one that is not parses back to the same
 * arguments.
 *
 * The first byte chooses limits and array sizes, the second how the bytes behind it are cut. */
#include "config.h"

#include <stdint.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/proto/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STORE_MAX 12

static void check_serialised(const struct resp_request *r, const char *first) {
    struct buf b = BUF_INIT;
    resp_append_command(&b, r->argv, r->argc);
    if (r->canonical)
        HF_ASSERT(slice_eq(buf_slice(&b), slice_of(first, r->consumed)));
    struct resp_parser p;
    struct resp_request again;
    struct resp_limits limits = {INT32_MAX, INT64_MAX, 65536};
    const char *error;
    size_t wanted;
    resp_parser_init(&p);
    HF_ASSERT(resp_parse_request(&p, &limits, b.data, b.len, NULL, 0, &again, &error, &wanted) == RESP_PARSE_REQUEST);
    HF_ASSERT(again.argc == r->argc && again.canonical && again.consumed == b.len);
    for (int i = 0; i < r->argc; i++)
        HF_ASSERT(slice_eq(again.argv[i], r->argv[i]));
    resp_parser_deinit(&p);
    buf_deinit(&b);
}

/* Appends what came of it to *out; true when parsing goes on behind it. */
static bool note_result(enum resp_parse result, const struct resp_request *r, const char *error, struct buf *out) {
    switch (result) {
    case RESP_PARSE_ERROR:
        buf_printf(out, "error %s\n", error);
        return false;
    case RESP_PARSE_EMPTY:
        buf_printf(out, "empty %zu\n", r->consumed);
        return true;
    case RESP_PARSE_REQUEST:
        buf_printf(out, "request %zu %d:", r->consumed, r->canonical);
        for (int i = 0; i < r->argc; i++) {
            buf_append_char(out, ' ');
            buf_append_repr(out, r->argv[i]);
        }
        buf_append_char(out, '\n');
        return true;
    case RESP_PARSE_MORE:
        break;
    }
    return true;
}

/* Parses bytes that arrive in pieces of at most piece_max. A piece lies in a block of its own with what is left before
 * it. */
static void run(const struct resp_limits *limits, const char *bytes, size_t n, int store_cap, struct rng *rng,
                size_t piece_max, struct buf *out) {
    struct resp_parser p;
    struct slice store[STORE_MAX];
    resp_parser_init(&p);
    size_t start = 0, end = 0;
    bool going = true;
    while (going && end < n) {
        size_t piece = piece_max < n ? 1 + rng_below(rng, piece_max) : n;
        end = piece < n - end ? end + piece : n;
        char *block = mem_alloc(end - start);
        memcpy(block, bytes + start, end - start);
        size_t at = 0;
        while (going) {
            struct resp_request r = {0};
            const char *error = NULL;
            size_t wanted = 0;
            enum resp_parse result =
                resp_parse_request(&p, limits, block + at, end - start - at, store, store_cap, &r, &error, &wanted);
            if (result == RESP_PARSE_MORE) {
                HF_ASSERT(wanted >= 1);
                break;
            }
            going = note_result(result, &r, error, out);
            if (result == RESP_PARSE_REQUEST)
                check_serialised(&r, block + at);
            if (going)
                HF_ASSERT(r.consumed > 0 && r.consumed <= end - start - at);
            at += r.consumed;
        }
        start += at;
        mem_free(block);
    }
    if (going)
        buf_printf(out, "left %zu\n", n - start);
    resp_parser_deinit(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    struct resp_limits limits = {.multibulk_max = data[0] & 1 ? 10 : INT32_MAX,
                                 .bulk_max_bytes = data[0] & 1 ? 16384 : (size_t)512 << 20,
                                 .inline_max_bytes = data[0] & 2 ? 64 : 65536};
    struct rng rng;
    rng_init(&rng, data[1]);
    const char *bytes = (const char *)data + 2;
    size_t n = size - 2;
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    run(&limits, bytes, n, STORE_MAX, &rng, SIZE_MAX, &whole);
    run(&limits, bytes, n, data[0] & 4 ? 2 : STORE_MAX, &rng, (size_t)1 << (data[1] % 8), &pieces);
    HF_ASSERT(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}
