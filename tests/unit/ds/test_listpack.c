#include "config.h"

#include "server/ds/listpack.h"
#include "tests/support/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/base/num.h"

/* ---- a model: an array of texts ---- */

#define MODEL_MAX 400

struct model {
    struct slice v[MODEL_MAX];
    size_t n;
};

static void model_insert(struct model *m, size_t i, struct slice s) {
    memmove(&m->v[i + 1], &m->v[i], (m->n - i) * sizeof m->v[0]);
    m->v[i] = slice_of(mem_strndup(s.p, s.n), s.n);
    m->n++;
}

static void model_delete(struct model *m, size_t i, size_t n) {
    for (size_t k = i; k < i + n; k++)
        mem_free((void *)(uintptr_t)m->v[k].p);
    memmove(&m->v[i], &m->v[i + n], (m->n - i - n) * sizeof m->v[0]);
    m->n -= n;
}

static struct slice text_of(struct packed_item it, char *buf) {
    return it.is_int ? slice_of(buf, num_format_i64(buf, it.i)) : it.s;
}

static void assert_item_is(const struct listpack *lp, uint32_t at, struct slice want) {
    char buf[NUM_I64_CHARS];
    assert_int_not_equal(at, 0);
    struct slice got = text_of(listpack_get(lp, at), buf);
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.p, want.p, want.n);
    assert_true(listpack_equals(lp, at, want));
}

static void compare(const struct listpack *lp, const struct model *m) {
    listpack_check(lp);
    assert_int_equal(listpack_count(lp), m->n);
    assert_int_equal(listpack_is_empty(lp), m->n == 0);
    uint32_t at = listpack_first(lp);
    for (size_t i = 0; i < m->n; i++, at = listpack_next(lp, at))
        assert_item_is(lp, at, m->v[i]);
    assert_int_equal(at, 0);
    at = listpack_last(lp);
    for (size_t i = m->n; i-- > 0; at = listpack_prev(lp, at))
        assert_item_is(lp, at, m->v[i]);
    assert_int_equal(at, 0);
}

/* Integers around every bound, texts around every bound, texts that nearly are integers. */
static struct slice random_text(struct rng *rng, char *buf) {
    static const unsigned bits[] = {0, 6, 7, 11, 12, 13, 15, 16, 23, 24, 31, 32, 62, 63};
    static const char *const odd[] = {"", "-", "00", "-0", "+1", " 1", "1.5", "9223372036854775808", "-1x", "007"};
    uint64_t kind = rng_below(rng, 8);
    if (kind < 4) {
        uint64_t v = (UINT64_C(1) << bits[rng_below(rng, 14)]) + rng_below(rng, 3) - 1;
        return slice_of(buf, num_format_i64(buf, kind & 1 ? (int64_t)v : (int64_t)(0 - v)));
    }
    if (kind == 4)
        return slice_cstr(odd[rng_below(rng, 10)]);
    static const size_t lengths[] = {1, 5, 62, 63, 64, 125, 126, 127, 300};
    size_t n = lengths[rng_below(rng, 9)];
    if (rng_below(rng, 200) == 0)
        n = rng_below(rng, 2) ? 4094 + rng_below(rng, 4) : 16376 + rng_below(rng, 5);
    for (size_t i = 0; i < n; i++)
        buf[i] = (char)('a' + rng_below(rng, 3));
    return slice_of(buf, n);
}

static struct packed_item as_item(struct rng *rng, struct slice s) {
    int64_t i;
    if (rng_below(rng, 2) && num_parse_i64(s, &i) == 0)
        return packed_int(i);
    return packed_bytes(s);
}

static void check_find(const struct listpack *lp, const struct model *m, struct slice s, unsigned skip) {
    uint32_t at = listpack_find(lp, listpack_first(lp), s, skip);
    for (size_t i = 0; i < m->n; i += skip + 1)
        if (slice_eq(m->v[i], s)) {
            assert_int_equal(at, listpack_seek(lp, (int64_t)i));
            return;
        }
    assert_int_equal(at, 0);
}

static void one_step(struct listpack **lp, struct model *m, struct rng *rng, char *buf) {
    struct slice s = random_text(rng, buf);
    struct packed_item v = as_item(rng, s);
    size_t i = m->n != 0 ? rng_below(rng, m->n) : 0;
    uint32_t at = listpack_seek(*lp, rng_below(rng, 2) ? (int64_t)i : (int64_t)i - (int64_t)m->n), new_at;
    uint32_t before = listpack_bytes(*lp);
    uint64_t kind = rng_below(rng, m->n > 60 ? 24 : 16);
    if (m->n == 0 || kind < 3) {
        assert_int_equal(listpack_append(lp, v), 0);
        model_insert(m, m->n, s);
        assert_int_equal(listpack_bytes(*lp), before + listpack_item_bytes(v));
    } else if (kind < 5) {
        assert_int_equal(listpack_prepend(lp, v), 0);
        model_insert(m, 0, s);
    } else if (kind < 7) {
        assert_int_equal(listpack_insert_before(lp, at, v), 0);
        model_insert(m, i, s);
    } else if (kind < 9) {
        assert_int_equal(listpack_insert_after(lp, at, v, &new_at), 0);
        model_insert(m, i + 1, s);
        assert_item_is(*lp, new_at, s);
    } else if (kind < 11) {
        assert_int_equal(listpack_replace(lp, at, v), 0);
        model_delete(m, i, 1);
        model_insert(m, i, s);
    } else if (kind < 13) {
        uint32_t n = (uint32_t)rng_below(rng, 4), deleted;
        uint32_t next = listpack_delete(lp, at, n, &deleted);
        assert_int_equal(deleted, n < m->n - i ? n : m->n - i);
        model_delete(m, i, deleted);
        assert_int_equal(next, i < m->n ? at : 0);
    } else if (kind == 13) {
        struct listpack *tail = listpack_split(lp, at);
        listpack_check(tail);
        assert_int_equal(listpack_count(*lp), i);
        assert_int_equal(listpack_concat(lp, tail), 0);
        listpack_destroy(tail);
    } else if (kind == 14) {
        struct packed_item two[2] = {v, packed_int(-5)};
        assert_int_equal(listpack_append_all(lp, two, 2), 0);
        model_insert(m, m->n, s);
        model_insert(m, m->n, SLICE_LIT("-5"));
    } else if (kind == 15) {
        check_find(*lp, m, s, (unsigned)rng_below(rng, 3));
        check_find(*lp, m, m->v[i], (unsigned)rng_below(rng, 3));
    } else {
        uint32_t n = (uint32_t)rng_below(rng, 20);
        n = listpack_delete_range(lp, (int64_t)i, n);
        model_delete(m, i, n);
    }
}

static void test_random_operations_keep_to_the_model(void **state) {
    (void)state;
    static struct model m;
    static char buf[20000];
    struct rng rng;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        rng_init(&rng, seed);
        struct listpack *lp = listpack_create(seed * 10);
        for (unsigned step = 0; step < 400; step++) {
            one_step(&lp, &m, &rng, buf);
            compare(lp, &m);
        }
        struct listpack *copy = listpack_dup(lp);
        compare(copy, &m);
        listpack_clear(&copy);
        listpack_shrink(&copy);
        listpack_check(copy);
        assert_true(listpack_is_empty(copy));
        listpack_destroy(copy);
        model_delete(&m, 0, m.n);
        listpack_destroy(lp);
    }
}

static void test_layout_is_the_published_one(void **state) {
    (void)state;
    struct listpack *lp = listpack_create(0);
    static const char *const texts[] = {"127", "-1", "4095", "a", "32767", "8388607", "-2147483648", "-8388609000"};
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(listpack_append(&lp, packed_bytes(slice_cstr(texts[i]))), 0);
    static const unsigned char want[] = {0x2B, 0x00, 0x00, 0x00, 0x08, 0x00, 0x7F, 0x01, 0xDF, 0xFF, 0x02,
                                         0xCF, 0xFF, 0x02, 0x81, 0x61, 0x02, 0xF1, 0xFF, 0x7F, 0x03, 0xF2,
                                         0xFF, 0xFF, 0x7F, 0x04, 0xF3, 0x00, 0x00, 0x00, 0x80, 0x05, 0xF4,
                                         0x18, 0xFC, 0xFF, 0x0B, 0xFE, 0xFF, 0xFF, 0xFF, 0x09, 0xFF};
    assert_int_equal(listpack_bytes(lp), sizeof want);
    assert_memory_equal(lp, want, sizeof want);
    listpack_destroy(lp);
}

/* As redis-server 7.0 dumps them. */
static void test_back_length_at_the_bounds_of_its_width(void **state) {
    (void)state;
    static char text[16400];
    memset(text, 'x', sizeof text);
    static const struct {
        size_t n;
        unsigned char tail[4];
    } rows[] = {{16377, {'x', 0x7F, 0xFE, 0xFF}}, {16378, {0x00, 0xFF, 0xFF, 0xFF}}, {16379, {0x01, 0x80, 0x80, 0xFF}}};
    for (size_t i = 0; i < 3; i++) {
        struct listpack *lp = listpack_create(0);
        assert_int_equal(listpack_append(&lp, packed_bytes(slice_of(text, rows[i].n))), 0);
        assert_memory_equal(listpack_ptr(lp, listpack_bytes(lp) - 4), rows[i].tail, 4);
        listpack_check(lp);
        listpack_destroy(lp);
    }
}

static void test_counts_beyond_the_header(void **state) {
    (void)state;
    struct listpack *lp = listpack_create(0);
    for (unsigned i = 0; i < 70000; i++)
        assert_int_equal(listpack_append(&lp, packed_int(i & 127)), 0);
    assert_int_equal(listpack_count(lp), 70000);
    assert_int_equal(listpack_get(lp, listpack_seek(lp, 69999)).i, 69999 & 127);
    assert_int_equal(listpack_get(lp, listpack_seek(lp, -70000)).i, 0);
    assert_int_equal(listpack_seek(lp, 70000), 0);
    assert_int_equal(listpack_delete_range(&lp, 1, 69000), 69000);
    assert_int_equal(listpack_count(lp), 1000);
    listpack_check(lp);
    assert_int_equal(listpack_delete_range(&lp, 0, UINT32_MAX), 1000);
    assert_int_equal(load_le16(lp->count_le), 0);
    listpack_check(lp);
    listpack_destroy(lp);
}

static void test_too_big_is_refused(void **state) {
    (void)state;
    struct listpack *lp = listpack_create(0);
    assert_int_equal(listpack_append(&lp, packed_int(1)), 0);
    /* The bytes are never read: the length alone is too much. */
    const struct packed_item big = packed_bytes(slice_of("x", LISTPACK_MAX_BYTES - 1));
    const struct packed_item absurd = packed_bytes(slice_of("x", SIZE_MAX));
    assert_int_equal(listpack_append(&lp, big), -1);
    assert_int_equal(listpack_replace(&lp, LISTPACK_HEADER_BYTES, absurd), -1);
    const struct packed_item both[2] = {absurd, big};
    assert_int_equal(listpack_append_all(&lp, both, 2), -1);
    assert_int_equal(listpack_item_bytes(absurd), UINT64_MAX);
    assert_false(listpack_has_room(lp, LISTPACK_MAX_BYTES));
    assert_int_equal(listpack_count(lp), 1);
    listpack_check(lp);
    listpack_destroy(lp);
}

static void test_random_picks_reach_every_group_and_no_value(void **state) {
    (void)state;
    struct listpack *lp = listpack_create(0);
    struct rng rng;
    rng_init(&rng, 3);
    assert_int_equal(listpack_random(lp, 2, &rng), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(listpack_append(&lp, packed_int(i)), 0);
        assert_int_equal(listpack_append(&lp, packed_int(1000 + i)), 0);
    }
    unsigned seen[10] = {0}, once[10] = {0};
    uint32_t at[500];
    listpack_random_picks(lp, 2, &rng, at, 500);
    for (unsigned i = 0; i < 500; i++)
        seen[listpack_get(lp, at[i]).i]++;
    for (unsigned i = 0; i < 500; i++)
        once[listpack_get(lp, listpack_random(lp, 2, &rng)).i]++;
    for (unsigned i = 0; i < 10; i++)
        assert_true(seen[i] > 20 && seen[i] < 90 && once[i] > 20 && once[i] < 90);
    for (uint32_t n = 0; n <= 12; n++) {
        uint32_t got = listpack_random_distinct(lp, 2, &rng, at, n);
        assert_int_equal(got, n < 10 ? n : 10);
        for (uint32_t i = 0; i < got; i++) {
            assert_true(listpack_get(lp, at[i]).i < 10);
            assert_true(i == 0 || at[i] > at[i - 1]);
        }
    }
    listpack_destroy(lp);
}

static const char *count_three(void *arg, const struct packed_item *item) {
    (void)item;
    return ++*(unsigned *)arg == 3 ? "three" : NULL;
}

static void test_validation_sees_each_fault(void **state) {
    (void)state;
    struct listpack *lp = listpack_create(0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(listpack_append(&lp, packed_bytes(SLICE_LIT("hello"))), 0);
    uint32_t n = listpack_bytes(lp);
    uint64_t count = 0;
    unsigned calls = 0;
    assert_null(listpack_validate(listpack_slice(lp), false, NULL, NULL, &count));
    assert_int_equal(count, 5);
    assert_string_equal(listpack_validate(listpack_slice(lp), true, count_three, &calls, &count), "three");
    /* Any one changed byte outside the texts is seen, and a text's byte is not. */
    for (uint32_t i = 0; i < n; i++) {
        unsigned char *bad = mem_alloc(n);
        memcpy(bad, lp, n);
        bad[i] ^= 0x41;
        bool in_text = i >= LISTPACK_HEADER_BYTES && i < n - 1 && (i - LISTPACK_HEADER_BYTES) % 7 >= 1 &&
                       (i - LISTPACK_HEADER_BYTES) % 7 <= 5;
        assert_int_equal(listpack_validate(slice_of(bad, n), true, NULL, NULL, &count) == NULL, in_text);
        mem_free(bad);
    }
    for (uint32_t i = 0; i < n; i++) {
        unsigned char *cut = mem_alloc(i);
        memcpy(cut, lp, i);
        assert_non_null(listpack_validate(slice_of(cut, i), true, NULL, NULL, &count));
        mem_free(cut);
    }
    struct listpack *loaded = listpack_try_load(listpack_slice(lp));
    listpack_check(loaded);
    listpack_destroy(loaded);
    listpack_destroy(lp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations_keep_to_the_model),
        cmocka_unit_test(test_layout_is_the_published_one),
        cmocka_unit_test(test_back_length_at_the_bounds_of_its_width),
        cmocka_unit_test(test_counts_beyond_the_header),
        cmocka_unit_test(test_too_big_is_refused),
        cmocka_unit_test(test_random_picks_reach_every_group_and_no_value),
        cmocka_unit_test(test_validation_sees_each_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
