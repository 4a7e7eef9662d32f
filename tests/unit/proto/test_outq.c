#include "config.h"

#include "server/proto/outq.h"

#include "tests/support/unit.h"

#include "server/base/mem.h"
#include "server/base/rng.h"

/* The bytes pending in q, through outq_iov() with a small iovec, so that chunks are crossed. */
static struct buf contents(const struct outq *q) {
    struct buf b = BUF_INIT;
    struct iovec iov[64];
    int n = outq_iov(q, outq_end(q), iov, 64);
    for (int i = 0; i < n; i++)
        buf_append(&b, iov[i].iov_base, iov[i].iov_len);
    return b;
}

static void assert_contents(const struct outq *q, const void *p, size_t n) {
    outq_check(q);
    struct buf b = contents(q);
    assert_int_equal(b.len, n);
    if (n > 0)
        assert_memory_equal(b.data, p, n);
    buf_deinit(&b);
}

static struct rbuf *rbuf_of(size_t n, char c) {
    struct rbuf *r = rbuf_create(n);
    memset(r->data, c, n);
    r->len = n;
    return r;
}

static void bytes_come_out_as_they_went_in(void **state) {
    (void)state;
    struct outq q;
    outq_init(&q);
    outq_append(&q, "hello ", 6);
    char *p = outq_reserve(&q, 10);
    memcpy(p, "world", 5);
    outq_commit(&q, 5);
    assert_contents(&q, "hello world", 11);
    assert_int_equal(outq_pending(&q), 11);
    assert_int_equal(outq_end(&q), 11);
    outq_consume(&q, 6);
    assert_contents(&q, "world", 5);
    assert_int_equal(outq_end(&q), 11);
    outq_deinit(&q);
}

static void an_empty_queue_holds_no_memory_and_keeps_its_position(void **state) {
    (void)state;
    struct outq q;
    outq_init(&q);
    size_t before = mem_used();
    assert_int_equal(outq_memory(&q), 0);
    outq_append(&q, "abc", 3);
    assert_true(outq_memory(&q) > 0);
    assert_int_equal(outq_chunks(&q), 1);
    outq_consume(&q, 3);
    outq_check(&q);
    assert_true(outq_empty(&q));
    assert_int_equal(outq_memory(&q), 0);
    assert_int_equal(outq_chunks(&q), 0);
    assert_int_equal(mem_used(), before);
    outq_append(&q, "de", 2);
    assert_int_equal(outq_end(&q), 5);
    outq_clear(&q);
    outq_check(&q);
    assert_int_equal(outq_end(&q), 5);
    outq_deinit(&q);
    assert_int_equal(mem_used(), before);
}

static void a_large_value_is_referenced_and_freed_when_sent(void **state) {
    (void)state;
    struct outq q;
    outq_init(&q);
    struct rbuf *r = rbuf_of(3 * OUTQ_REF_MIN, 'x');
    outq_append(&q, "<", 1);
    outq_append_rbuf(&q, r, 5, 2 * OUTQ_REF_MIN);
    outq_append(&q, ">", 1);
    assert_false(rbuf_is_unique(r));
    assert_int_equal(outq_pending(&q), 2 * OUTQ_REF_MIN + 2);
    struct iovec iov[4];
    assert_int_equal(outq_iov(&q, UINT64_MAX, iov, 4), 3);
    assert_ptr_equal(iov[1].iov_base, r->data + 5);
    assert_int_equal(iov[1].iov_len, 2 * OUTQ_REF_MIN);
    assert_true(outq_memory(&q) >= 2 * OUTQ_REF_MIN);
    outq_consume(&q, OUTQ_REF_MIN);
    outq_check(&q);
    assert_false(rbuf_is_unique(r));
    outq_consume(&q, OUTQ_REF_MIN + 1);
    assert_true(rbuf_is_unique(r));
    assert_contents(&q, ">", 1);
    outq_deinit(&q);
    rbuf_unref(r);
}

static void a_small_part_of_a_block_is_copied(void **state) {
    (void)state;
    struct outq q;
    outq_init(&q);
    struct rbuf *r = rbuf_of(2 * OUTQ_REF_MIN, 'x');
    r->data[7] = 'y';
    outq_append_rbuf(&q, r, 7, 3);
    assert_true(rbuf_is_unique(r));
    assert_contents(&q, "yxx", 3);
    rbuf_unref(r);
    outq_deinit(&q);
}

static void iov_stops_at_the_limit_and_at_its_size(void **state) {
    (void)state;
    struct outq q;
    outq_init(&q);
    struct rbuf *r = rbuf_of(OUTQ_REF_MIN, 'x');
    outq_append(&q, "abcdef", 6);
    outq_append_rbuf(&q, r, 0, r->len);
    outq_append(&q, "tail", 4);
    outq_consume(&q, 2);
    struct iovec iov[8];
    assert_int_equal(outq_iov(&q, 2, iov, 8), 0);
    assert_int_equal(outq_iov(&q, 1, iov, 8), 0);
    assert_int_equal(outq_iov(&q, 5, iov, 8), 1);
    assert_bytes_are(iov[0].iov_base, iov[0].iov_len, "cde");
    assert_int_equal(outq_iov(&q, 6 + 100, iov, 8), 2);
    assert_int_equal(iov[0].iov_len, 4);
    assert_int_equal(iov[1].iov_len, 100);
    assert_int_equal(outq_iov(&q, UINT64_MAX, iov, 2), 2);
    assert_int_equal(outq_iov(&q, UINT64_MAX, iov, 8), 3);
    assert_int_equal(iov[2].iov_len, 4);
    rbuf_unref(r);
    outq_deinit(&q);
}

static void a_hole_is_filled_in_place(void **state) {
    (void)state;
    struct outq q;
    outq_init(&q);
    outq_append(&q, "a", 1);
    struct outq_hole h = outq_open_hole(&q);
    outq_append(&q, "bcd", 3);
    outq_fill_hole(&q, h, "*3\r\n", 4);
    outq_append(&q, "e", 1);
    assert_contents(&q, "a*3\r\nbcde", 9);
    outq_deinit(&q);
}

static void nested_holes_far_apart_are_filled(void **state) {
    (void)state;
    struct outq q;
    struct buf want = BUF_INIT;
    outq_init(&q);
    char big[5000];
    memset(big, 'z', sizeof big);
    struct outq_hole outer = outq_open_hole(&q);
    outq_append(&q, big, sizeof big);
    outq_append(&q, big, sizeof big);
    struct outq_hole middle = outq_open_hole(&q);
    struct outq_hole inner = outq_open_hole(&q);
    for (int i = 0; i < 10; i++)
        outq_append(&q, big, sizeof big);
    outq_fill_hole(&q, inner, "", 0);
    char full[OUTQ_HOLE_BYTES];
    memset(full, 'f', sizeof full);
    outq_fill_hole(&q, middle, full, sizeof full);
    outq_append(&q, "end", 3);
    outq_fill_hole(&q, outer, "OUT", 3);

    buf_append_cstr(&want, "OUT");
    buf_append(&want, big, sizeof big);
    buf_append(&want, big, sizeof big);
    buf_append(&want, full, sizeof full);
    for (int i = 0; i < 10; i++)
        buf_append(&want, big, sizeof big);
    buf_append_cstr(&want, "end");
    assert_contents(&q, want.data, want.len);
    buf_deinit(&want);
    outq_deinit(&q);
}

static void moving_appends_and_empties_the_source(void **state) {
    (void)state;
    for (int big = 0; big < 2; big++) {
        struct outq dst, src;
        struct buf want = BUF_INIT;
        outq_init(&dst);
        outq_init(&src);
        char part[3000];
        memset(part, 'p', sizeof part);
        outq_append(&dst, "dst", 3);
        outq_consume(&dst, 1);
        outq_append(&src, "??", 2);
        outq_append(&src, part, big ? sizeof part : 10);
        outq_consume(&src, 2);
        uint64_t src_end = outq_end(&src);
        outq_move(&dst, &src);
        outq_check(&src);
        assert_true(outq_empty(&src));
        assert_int_equal(outq_end(&src), src_end);
        assert_int_equal(outq_memory(&src), 0);
        outq_append(&dst, "+", 1);
        buf_append_cstr(&want, "st");
        buf_append(&want, part, big ? sizeof part : 10);
        buf_append_cstr(&want, "+");
        assert_contents(&dst, want.data, want.len);
        assert_int_equal(outq_end(&dst), 1 + want.len);
        outq_move(&dst, &src);
        assert_contents(&dst, want.data, want.len);
        buf_deinit(&want);
        outq_deinit(&dst);
        outq_deinit(&src);
    }
}

static void a_long_reply_by_copy_is_kept_whole(void **state) {
    (void)state;
    struct outq q;
    outq_init(&q);
    size_t n = 300000;
    char *bytes = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 7);
    outq_append(&q, bytes, n);
    assert_contents(&q, bytes, n);
    assert_true(outq_memory(&q) < n + n / 4);
    mem_free(bytes);
    outq_deinit(&q);
}

/* ---- random steps against a flat model ---- */

struct model {
    struct outq q;
    struct buf bytes; /* pending */
    uint64_t begin;
    struct rbuf *block;
};

#define MODEL_HOLES 4

static void random_bytes(struct rng *r, char *dst, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = (char)('a' + rng_below(r, 26));
}

static void step_append(struct model *m, struct rng *r) {
    static char scratch[40000];
    size_t n = rng_below(r, 10) == 0 ? rng_below(r, sizeof scratch) : rng_below(r, 200);
    random_bytes(r, scratch, n);
    outq_append(&m->q, scratch, n);
    buf_append(&m->bytes, scratch, n);
}

static void step_reserve(struct model *m, struct rng *r) {
    size_t n = 1 + rng_below(r, OUTQ_RESERVE_MAX);
    size_t used = rng_below(r, n + 1);
    char *p = outq_reserve(&m->q, n);
    random_bytes(r, p, used);
    buf_append(&m->bytes, p, used);
    outq_commit(&m->q, used);
}

static void step_block(struct model *m, struct rng *r) {
    size_t offset = rng_below(r, m->block->len);
    size_t n = rng_below(r, m->block->len - offset + 1);
    outq_append_rbuf(&m->q, m->block, offset, n);
    buf_append(&m->bytes, m->block->data + offset, n);
}

static void step_consume(struct model *m, struct rng *r) {
    size_t n = m->bytes.len;
    if (n > 0 && rng_below(r, 3) != 0)
        n = rng_below(r, n + 1);
    outq_consume(&m->q, n);
    if (n > 0)
        buf_consume(&m->bytes, n);
    m->begin += n;
}

/* Opens holes, appends between them, and fills them innermost first. */
static void step_holes(struct model *m, struct rng *r) {
    struct outq_hole holes[MODEL_HOLES];
    size_t at[MODEL_HOLES];
    size_t n = 1 + rng_below(r, MODEL_HOLES);
    for (size_t i = 0; i < n; i++) {
        holes[i] = outq_open_hole(&m->q);
        at[i] = m->bytes.len;
        step_append(m, r);
    }
    if (rng_below(r, 2) == 0)
        step_block(m, r);
    while (n-- > 0) {
        char text[OUTQ_HOLE_BYTES];
        size_t len = rng_below(r, sizeof text + 1);
        random_bytes(r, text, len);
        outq_fill_hole(&m->q, holes[n], text, len);
        buf_reserve(&m->bytes, len);
        memmove(m->bytes.data + at[n] + len, m->bytes.data + at[n], m->bytes.len - at[n]);
        memcpy(m->bytes.data + at[n], text, len);
        m->bytes.len += len;
        if (rng_below(r, 3) == 0)
            step_append(m, r);
    }
}

static void step_move(struct model *m, struct rng *r) {
    struct model other = {.block = m->block};
    outq_init(&other.q);
    buf_init(&other.bytes);
    for (uint64_t i = rng_below(r, 4); i-- > 0;) {
        if (rng_below(r, 2) == 0)
            step_append(&other, r);
        else
            step_block(&other, r);
    }
    if (rng_below(r, 2) == 0)
        step_consume(&other, r);
    outq_move(&m->q, &other.q);
    buf_append(&m->bytes, other.bytes.data, other.bytes.len);
    outq_check(&other.q);
    outq_deinit(&other.q);
    buf_deinit(&other.bytes);
}

static void assert_model(const struct model *m) {
    outq_check(&m->q);
    assert_int_equal(outq_pending(&m->q), m->bytes.len);
    assert_int_equal(outq_end(&m->q), m->begin + m->bytes.len);
    size_t at = 0;
    struct iovec iov[4096];
    int n = outq_iov(&m->q, UINT64_MAX, iov, 4096);
    for (int i = 0; i < n; i++) {
        assert_memory_equal(m->bytes.data + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, m->bytes.len);
}

static void random_steps_agree_with_a_flat_buffer(void **state) {
    (void)state;
    size_t before = mem_used();
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng r;
        rng_init(&r, seed);
        struct model m = {.block = rbuf_create(70000)};
        m.block->len = 70000;
        random_bytes(&r, m.block->data, m.block->len);
        outq_init(&m.q);
        buf_init(&m.bytes);
        for (int i = 0; i < 300; i++) {
            switch (rng_below(&r, 8)) {
            case 0:
                step_block(&m, &r);
                break;
            case 1:
                step_holes(&m, &r);
                break;
            case 2:
                step_move(&m, &r);
                break;
            case 3:
                step_reserve(&m, &r);
                break;
            case 4:
            case 5:
                step_consume(&m, &r);
                break;
            default:
                step_append(&m, &r);
            }
            assert_model(&m);
        }
        outq_deinit(&m.q);
        assert_true(rbuf_is_unique(m.block));
        rbuf_unref(m.block);
        buf_deinit(&m.bytes);
    }
    assert_int_equal(mem_used(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_as_they_went_in),
        cmocka_unit_test(an_empty_queue_holds_no_memory_and_keeps_its_position),
        cmocka_unit_test(a_large_value_is_referenced_and_freed_when_sent),
        cmocka_unit_test(a_small_part_of_a_block_is_copied),
        cmocka_unit_test(iov_stops_at_the_limit_and_at_its_size),
        cmocka_unit_test(a_hole_is_filled_in_place),
        cmocka_unit_test(nested_holes_far_apart_are_filled),
        cmocka_unit_test(moving_appends_and_empties_the_source),
        cmocka_unit_test(a_long_reply_by_copy_is_kept_whole),
        cmocka_unit_test(random_steps_agree_with_a_flat_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
