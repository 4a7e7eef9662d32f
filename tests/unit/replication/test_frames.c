#include "config.h"

#include "cluster/replication/frames.h"

#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>

#include "cluster/replication/unpack.h"
#include "server/base/buf.h"
#include "server/base/endian.h"
#include "server/base/rng.h"
#include "tests/support/unit.h"

struct got {
    struct frames f;
    struct buf snapshot, changes, rest;
    bool bad;
};

static void feed(struct got *g, const char *wire, size_t n, struct rng *rng, size_t piece_max) {
    struct buf in = BUF_INIT;
    for (size_t at = 0; at < n && !g->bad;) {
        size_t piece = 1 + (size_t)rng_below(rng, piece_max), skip, take;
        piece = piece < n - at ? piece : n - at;
        buf_append(&in, wire + at, piece);
        at += piece;
        while (!g->f.ended && !g->bad) {
            enum frames_got got = frames_take(&g->f, in.data, in.len, &skip, &take);
            assert_true(skip + take <= in.len);
            if (got == FRAMES_GOT_SNAPSHOT)
                buf_append(&g->snapshot, in.data + skip, take);
            else if (got == FRAMES_GOT_CHANGES)
                buf_append(&g->changes, in.data + skip, take);
            else
                assert_int_equal(take, 0);
            g->bad = got == FRAMES_BAD;
            buf_consume(&in, skip + take);
            if (got == FRAMES_MORE)
                break;
        }
        assert_true(g->f.ended || g->bad || in.len < FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES);
    }
    buf_append(&g->rest, in.data, in.len);
    buf_deinit(&in);
}

static void got_deinit(struct got *g) {
    buf_deinit(&g->snapshot);
    buf_deinit(&g->changes);
    buf_deinit(&g->rest);
}

static void put(struct buf *b, enum frames_kind kind, const char *p, size_t n) {
    unsigned char head[FRAMES_HEAD_BYTES];
    frames_put_head(head, kind, (uint32_t)n);
    buf_append(b, head, sizeof head);
    buf_append(b, p, n);
}

static void test_both_kinds_come_apart_however_they_are_cut(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct buf wire = BUF_INIT, snapshot = BUF_INIT, changes = BUF_INIT;
        unsigned char size[FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES];
        char bytes[3000];
        size_t pieces = 1 + (size_t)rng_below(&rng, 20), plan[20], total = 0;
        for (size_t i = 0; i < pieces; i++)
            total += plan[i] = 1 + (size_t)rng_below(&rng, sizeof bytes);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)rng_below(&rng, 256);
        if (rng_below(&rng, 2)) {
            frames_put_size(size, total);
            buf_append(&wire, size, sizeof size);
        }
        for (size_t i = 0; i < pieces; i++) {
            for (uint64_t k = rng_below(&rng, 3); k > 0; k--) {
                size_t n = (size_t)rng_below(&rng, sizeof bytes); /* 0 is allowed */
                put(&wire, FRAMES_CHANGES, bytes, n);
                buf_append(&changes, bytes, n);
            }
            put(&wire, FRAMES_SNAPSHOT, bytes, plan[i]);
            buf_append(&snapshot, bytes, plan[i]);
        }
        put(&wire, FRAMES_END, NULL, 0);
        buf_append_cstr(&wire, "*1\r\n$4\r\nPING\r\n");
        struct got g = {.snapshot = BUF_INIT, .changes = BUF_INIT, .rest = BUF_INIT};
        frames_begin(&g.f);
        feed(&g, wire.data, wire.len, &rng, seed % 2 ? 7 : 5000);
        assert_false(g.bad);
        assert_true(g.f.ended);
        assert_int_equal(g.snapshot.len, snapshot.len);
        assert_memory_equal(g.snapshot.data, snapshot.data, snapshot.len);
        assert_int_equal(g.changes.len, changes.len);
        if (changes.len > 0)
            assert_memory_equal(g.changes.data, changes.data, changes.len);
        assert_bytes_are(g.rest.data, g.rest.len, "*1\r\n$4\r\nPING\r\n");
        got_deinit(&g);
        buf_deinit(&wire);
        buf_deinit(&snapshot);
        buf_deinit(&changes);
    }
}

#define HEAD(kind, a, b, c, d)                                                                                         \
    { kind, a, b, c, d }

static void test_what_makes_no_sense_is_refused(void **state) {
    (void)state;
    static const unsigned char wrong[][FRAMES_HEAD_BYTES] = {
        HEAD('S', 0, 0, 0, 0), HEAD('S', 1, 0, 16, 0), HEAD('C', 1, 0, 16, 0),
        HEAD('N', 7, 0, 0, 0), HEAD('E', 0, 0, 0, 0),  HEAD('E', 1, 0, 0, 0),
        HEAD('*', 0, 0, 0, 0), HEAD(0, 0, 0, 0, 0),    HEAD('S', 255, 255, 255, 255),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct frames f;
        size_t skip, n;
        frames_begin(&f);
        assert_int_equal(frames_take(&f, wrong[i], FRAMES_HEAD_BYTES, &skip, &n), FRAMES_BAD);
        assert_true(f.reason[0] != '\0');
    }
}

static void test_the_announced_size_is_held(void **state) {
    (void)state;
    for (uint64_t announced = 1; announced < 6; announced++) {
        struct buf wire = BUF_INIT;
        struct rng rng;
        rng_init(&rng, announced);
        unsigned char size[FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES];
        frames_put_size(size, announced);
        buf_append(&wire, size, sizeof size);
        put(&wire, FRAMES_SNAPSHOT, "abc", 3);
        put(&wire, FRAMES_END, NULL, 0);
        struct got g = {.snapshot = BUF_INIT, .changes = BUF_INIT, .rest = BUF_INIT};
        frames_begin(&g.f);
        feed(&g, wire.data, wire.len, &rng, 4);
        assert_int_equal(g.bad, announced != 3);
        got_deinit(&g);
        buf_deinit(&wire);
    }
    struct buf twice = BUF_INIT;
    struct rng rng;
    rng_init(&rng, 9);
    unsigned char size[FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES];
    frames_put_size(size, 3);
    buf_append(&twice, size, sizeof size);
    buf_append(&twice, size, sizeof size);
    struct got g = {.snapshot = BUF_INIT, .changes = BUF_INIT, .rest = BUF_INIT};
    frames_begin(&g.f);
    feed(&g, twice.data, twice.len, &rng, 4);
    assert_true(g.bad);
    got_deinit(&g);
    buf_deinit(&twice);
}

static void test_garbage_ends_in_an_error_or_is_taken_whole(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        char wire[400];
        for (size_t i = 0; i < sizeof wire; i++)
            wire[i] = (char)(rng_below(&rng, 3) ? 0 : (uint64_t) "SCNE\1\2\10\377"[rng_below(&rng, 8)]);
        wire[0] = "SCNE"[seed % 4];
        struct got g = {.snapshot = BUF_INIT, .changes = BUF_INIT, .rest = BUF_INIT};
        frames_begin(&g.f);
        feed(&g, wire, sizeof wire, &rng, 30);
        assert_true(g.snapshot.len + g.changes.len <= sizeof wire);
        got_deinit(&g);
    }
}

/* ---- the snapshot on its way into a file ---- */

static int collect(void *arg, const void *p, size_t n) {
    buf_append(arg, p, n);
    return 0;
}

static int unpack_all(const char *p, size_t n, size_t piece_max, uint64_t seed, struct buf *out) {
    struct unpack u;
    struct rng rng;
    int rc = 0;
    rng_init(&rng, seed);
    unpack_begin(&u);
    for (size_t at = 0; at < n && rc == 0;) {
        size_t piece = 1 + (size_t)rng_below(&rng, piece_max);
        piece = piece < n - at ? piece : n - at;
        rc = unpack_take(&u, p + at, piece, collect, out);
        at += piece;
    }
    if (rc == 0)
        rc = unpack_end(&u, collect, out);
    unpack_deinit(&u);
    return rc;
}

static char *packed_sample(char *plain, size_t plain_len, size_t *ret_len) {
    for (size_t i = 0; i < plain_len; i++)
        plain[i] = (char)('a' + (i * i / 77) % 26);
    LZ4F_preferences_t prefs = LZ4F_INIT_PREFERENCES;
    prefs.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
    prefs.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    size_t bound = LZ4F_compressFrameBound(plain_len, &prefs);
    char *packed = malloc(bound);
    *ret_len = LZ4F_compressFrame(packed, bound, plain, plain_len, &prefs);
    assert_false(LZ4F_isError(*ret_len));
    return packed;
}

static void test_a_packed_snapshot_is_unpacked_and_others_pass(void **state) {
    (void)state;
    static char plain[700000];
    size_t n;
    char *packed = packed_sample(plain, sizeof plain, &n);
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct buf out = BUF_INIT;
        assert_int_equal(unpack_all(packed, n, seed % 2 ? 100 : 200000, seed, &out), 0);
        assert_int_equal(out.len, sizeof plain);
        assert_memory_equal(out.data, plain, sizeof plain);
        buf_clear(&out);
        assert_int_equal(unpack_all(plain, 5000, 3, seed, &out), 0);
        assert_int_equal(out.len, 5000);
        assert_memory_equal(out.data, plain, 5000);
        buf_clear(&out);
        assert_int_equal(unpack_all("RE", 2, 1, seed, &out), 0);
        assert_bytes_are(out.data, out.len, "RE");
        buf_deinit(&out);
    }
    free(packed);
}

static void test_a_damaged_or_short_packed_snapshot_is_noticed(void **state) {
    (void)state;
    static char plain[100000];
    size_t n;
    char *packed = packed_sample(plain, sizeof plain, &n);
    struct buf out = BUF_INIT;
    for (size_t cut = 4; cut < n; cut += n / 50) {
        buf_clear(&out);
        assert_int_equal(unpack_all(packed, cut, 300, cut, &out), -ENODATA);
    }
    for (size_t at = 4; at < n; at += n / 50) {
        buf_clear(&out);
        packed[at] = (char)(packed[at] ^ 0x40);
        assert_true(unpack_all(packed, n, 300, at, &out) < 0);
        packed[at] = (char)(packed[at] ^ 0x40);
    }
    buf_clear(&out);
    char *longer = malloc(n + 3);
    memcpy(longer, packed, n);
    memcpy(longer + n, "abc", 3);
    assert_int_equal(unpack_all(longer, n + 3, 1000, 1, &out), -EBADMSG);
    free(longer);
    free(packed);
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_kinds_come_apart_however_they_are_cut),
        cmocka_unit_test(test_what_makes_no_sense_is_refused),
        cmocka_unit_test(test_the_announced_size_is_held),
        cmocka_unit_test(test_garbage_ends_in_an_error_or_is_taken_whole),
        cmocka_unit_test(test_a_packed_snapshot_is_unpacked_and_others_pass),
        cmocka_unit_test(test_a_damaged_or_short_packed_snapshot_is_noticed),
    };
    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
