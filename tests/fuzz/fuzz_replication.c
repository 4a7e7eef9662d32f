/* What a primary sends until the stream begins: the handshake's lines, the header of the snapshot, its frame. The same
 * bytes whole and in pieces lead to the same answers, the same payload and the same end.
 *
 * The first byte chooses what the replica brings along, the second how the bytes behind it are cut. */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include "cluster/replication/handshake.h"
#include "cluster/replication/transfer.h"
#include "server/base/assert.h"
#include "server/base/rng.h"
#include "server/proto/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_BYTES_MAX 4096

enum stage { STAGE_HANDSHAKE, STAGE_HEADER, STAGE_PAYLOAD, STAGE_STREAM, STAGE_CLOSED };

struct replica {
    enum stage stage;
    struct handshake handshake;
    struct transfer transfer;
    struct buf in, out, said, payload;
};

static void take_line(struct replica *r, struct slice line) {
    if (r->stage == STAGE_HEADER) {
        if (transfer_header(&r->transfer, line) != 0) {
            buf_printf(&r->said, "header: %s\n", r->transfer.reason);
            HF_ASSERT(memchr(r->transfer.reason, '\0', sizeof r->transfer.reason) != NULL);
            r->stage = STAGE_CLOSED;
        } else if (r->transfer.has_header) {
            HF_ASSERT(r->transfer.has_mark || r->transfer.total_bytes <= INT64_MAX);
            r->stage = r->transfer.done ? STAGE_STREAM : STAGE_PAYLOAD;
        }
        return;
    }
    enum handshake_outcome outcome = handshake_line(&r->handshake, line, &r->out);
    buf_printf(&r->said, "%d %s\n", (int)outcome, r->handshake.id);
    switch (outcome) {
    case HANDSHAKE_GOES_ON:
        break;
    case HANDSHAKE_FULL:
        HF_ASSERT(strlen(r->handshake.id) == CHANGELOG_ID_CHARS && r->handshake.offset <= INT64_MAX / 2);
        transfer_begin(&r->transfer);
        r->stage = STAGE_HEADER;
        break;
    case HANDSHAKE_OLD:
        transfer_begin(&r->transfer);
        r->stage = STAGE_HEADER;
        break;
    case HANDSHAKE_CONTINUE:
        HF_ASSERT(r->handshake.options.id != NULL);
        HF_ASSERT(r->handshake.id[0] == '\0' || strlen(r->handshake.id) == CHANGELOG_ID_CHARS);
        r->stage = STAGE_STREAM;
        break;
    case HANDSHAKE_LATER:
    case HANDSHAKE_FAILED:
        HF_ASSERT(memchr(r->handshake.reason, '\0', sizeof r->handshake.reason) != NULL &&
                  r->handshake.reason[0] != '\0');
        r->stage = STAGE_CLOSED;
        break;
    }
}

/* True: something was taken. */
static bool step(struct replica *r) {
    if (r->in.len == 0)
        return false;
    if (r->stage == STAGE_PAYLOAD) {
        size_t payload = 0, used = 0;
        transfer_take(&r->transfer, r->in.data, r->in.len, &payload, &used);
        HF_ASSERT(payload <= used && used <= r->in.len && r->transfer.taken_bytes >= payload);
        HF_ASSERT(r->transfer.has_mark || r->transfer.taken_bytes <= r->transfer.total_bytes);
        buf_append(&r->payload, r->in.data, payload);
        buf_consume(&r->in, used);
        if (r->transfer.done)
            r->stage = STAGE_STREAM;
        return used > 0;
    }
    if (r->stage == STAGE_STREAM || r->stage == STAGE_CLOSED)
        return false;
    const char *newline = memchr(r->in.data, '\n', r->in.len);
    if (newline == NULL)
        return false;
    size_t n = (size_t)(newline - r->in.data), used = n + 1;
    if (n > 0 && r->in.data[n - 1] == '\r')
        n--;
    char text[LINE_BYTES_MAX];
    if (n > sizeof text) {
        r->stage = STAGE_CLOSED;
        return false;
    }
    memcpy(text, r->in.data, n);
    buf_consume(&r->in, used);
    take_line(r, slice_of(text, n));
    return true;
}

static void run(struct replica *r, const struct handshake_options *o, const uint8_t *data, size_t size, uint64_t seed) {
    *r = (struct replica){.in = BUF_INIT, .out = BUF_INIT, .said = BUF_INIT, .payload = BUF_INIT};
    handshake_begin(&r->handshake, o, &r->out);
    struct rng rng;
    rng_init(&rng, seed);
    while (size > 0) {
        size_t n = seed == 0 ? size : 1 + rng_below(&rng, 60);
        n = n < size ? n : size;
        buf_append(&r->in, (const char *)data, n);
        data += n;
        size -= n;
        while (step(r))
            ;
    }
}

static void check_requests(const struct buf *out) {
    struct resp_limits limits = {INT32_MAX, INT64_MAX, 65536};
    struct resp_parser p;
    struct slice argv[16];
    struct resp_request q;
    const char *error;
    size_t at = 0, wanted;
    resp_parser_init(&p);
    while (at < out->len) {
        HF_ASSERT(resp_parse_request(&p, &limits, out->data + at, out->len - at, argv, 16, &q, &error, &wanted) ==
                  RESP_PARSE_REQUEST);
        at += q.consumed;
    }
    resp_parser_deinit(&p);
}

static bool same(const struct buf *a, const struct buf *b) {
    return slice_eq(buf_slice(a), buf_slice(b));
}

static void release(struct replica *r) {
    buf_deinit(&r->in);
    buf_deinit(&r->out);
    buf_deinit(&r->said);
    buf_deinit(&r->payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    const struct handshake_options o = {
        .user = data[0] & 1 ? "user" : "",
        .password = data[0] & 2 ? "secret" : "",
        .port = 6379,
        .announce_ip = data[0] & 4 ? "10.0.0.1" : "",
        .id = data[0] & 8 ? "0123456789abcdef0123456789abcdef01234567" : NULL,
        .offset = 1000,
        .failover = (data[0] & 24) == 24,
    };
    struct replica whole, cut;
    run(&whole, &o, data + 2, size - 2, 0);
    run(&cut, &o, data + 2, size - 2, 1 + (uint64_t)data[1]);
    HF_ASSERT(whole.stage == cut.stage && same(&whole.said, &cut.said) && same(&whole.out, &cut.out));
    /* What may yet turn out to be the mark is in the buffer of both. */
    HF_ASSERT(same(&whole.payload, &cut.payload));
    if (whole.stage != STAGE_CLOSED)
        HF_ASSERT(same(&whole.in, &cut.in));
    check_requests(&whole.out);
    release(&whole);
    release(&cut);
    return 0;
}
