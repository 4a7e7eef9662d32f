#include "config.h"

#include "persistence/rdb/codec.h"

#include <stdlib.h>

#include "persistence/rdb/rdb.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/base/rng.h"
#include "server/ds/listpack.h"
#include "server/store/list.h"
#include "tests/support/unit.h"
#include "tests/unit/rdb/common.h"

static struct collection_rules rules;

static int setup(void **state) {
    (void)state;
    collection_limits_default(&rules.limits);
    return 0;
}

/* ---- payloads ---- */

/* The body, with a footer that is not looked at. */
static int restore(struct slice body, bool deep, struct collection *ret_l) {
    struct buf b = BUF_INIT;
    buf_append_slice(&b, body);
    buf_append(&b, "\x0a\0\0\0\0\0\0\0\0\0", 10);
    const struct rdb_load_context with = {.rules = &rules, .deep = deep};
    struct value v;
    const char *text;
    int rc = rdb_restore_value(buf_slice(&b), &with, true, &v, &text);
    if (rc == 0) {
        assert_int_equal(v.type, VALUE_LIST);
        *ret_l = (struct collection){.rules = &rules, .encoding = v.encoding, .object = v.u.object};
    } else {
        assert_string_equal(text, RDB_RESTORE_BAD_FORMAT);
    }
    buf_deinit(&b);
    return rc;
}

static int join(void *arg, const struct packed_item *v) {
    if (v->is_int)
        buf_append_i64(arg, v->i);
    else
        buf_append_slice(arg, v->s);
    buf_append_char(arg, ' ');
    return 0;
}

static void assert_elements(struct slice body, enum value_encoding encoding, const char *want) {
    struct collection l;
    struct buf b = BUF_INIT;
    assert_int_equal(restore(body, true, &l), 0);
    list_check(&l);
    assert_int_equal(l.encoding, encoding);
    (void)list_each(&l, 0, SIZE_MAX, join, &b);
    assert_bytes_are(b.data, b.len, want);
    buf_deinit(&b);
    list_type_ops.free(l.encoding, l.object);
}

static void assert_refused(struct slice body) {
    struct collection l;
    assert_int_equal(restore(body, true, &l), -1);
    assert_int_equal(restore(body, false, &l), -1);
}

/* A listpack of "a" and 1, of 2 and "bcd", and an empty one; a ziplist of the first. */
#define PACK_A1                                                                                                        \
    "\x0d\x0c\0\0\0\x02\0\x81"                                                                                         \
    "a\x02\x01\x01\xff"
#define PACK_2BCD                                                                                                      \
    "\x0f\x0e\0\0\0\x02\0\x02\x01\x83"                                                                                 \
    "bcd\x04\xff"
#define PACK_EMPTY "\x07\x07\0\0\0\0\0\xff"
#define ZIP_A1                                                                                                         \
    "\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01"                                                                             \
    "a\x03\xf2\xff"
#define ZIP_EMPTY "\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff"
#define BODY(s) slice_of(s, sizeof(s) - 1)

static void test_every_form_is_read(void **state) {
    (void)state;
    assert_elements(BODY("\x01\x02\x01"
                         "a\xc0\x07"),
                    VALUE_ENC_LISTPACK, "a 7 ");
    assert_elements(BODY("\x0a" ZIP_A1), VALUE_ENC_LISTPACK, "a 1 ");
    assert_elements(BODY("\x0e\x02" ZIP_A1 ZIP_A1), VALUE_ENC_LISTPACK, "a 1 a 1 ");
    assert_elements(BODY("\x12\x01\x02\x0c\x0c\0\0\0\x02\0\x81"
                         "a\x02\x01\x01\xff"),
                    VALUE_ENC_LISTPACK, "a 1 ");
    assert_elements(BODY("\x12\x02\x02\x0c\x0c\0\0\0\x02\0\x81"
                         "a\x02\x01\x01\xff\x02\x0e\x0e\0\0\0\x02\0\x02\x01\x83"
                         "bcd\x04\xff"),
                    VALUE_ENC_QUICKLIST, "a 1 2 bcd ");
    assert_elements(BODY("\x12\x01\x01\x03xyz"), VALUE_ENC_QUICKLIST, "xyz ");
}

static void test_nodes_without_elements_are_passed_over(void **state) {
    (void)state;
    assert_elements(BODY("\x12\x03\x02" PACK_EMPTY "\x02\x0c\x0c\0\0\0\x02\0\x81"
                         "a\x02\x01\x01\xff\x02" PACK_EMPTY),
                    VALUE_ENC_LISTPACK, "a 1 ");
    assert_elements(BODY("\x0e\x02" ZIP_EMPTY ZIP_A1), VALUE_ENC_LISTPACK, "a 1 ");
}

static void test_lists_without_elements_are_refused_in_payloads(void **state) {
    (void)state;
    assert_refused(BODY("\x01\0"));
    assert_refused(BODY("\x0a" ZIP_EMPTY));
    assert_refused(BODY("\x0e\0"));
    assert_refused(BODY("\x0e\x01" ZIP_EMPTY));
    assert_refused(BODY("\x12\0"));
    assert_refused(BODY("\x12\x01\x02" PACK_EMPTY));
}

static void test_damage_is_refused(void **state) {
    (void)state;
    assert_refused(BODY("\x01\x02\x01"
                        "a"));                                        /* an element is missing */
    assert_refused(BODY("\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xff")); /* more than there can be */
    assert_refused(BODY("\x12\x01\x03\x01x"));                        /* no such container */
    assert_refused(BODY("\x12\x02\x01\x01x"));                        /* a node is missing */
    assert_refused(BODY("\x12\x01\x02\x0c\x0c\0\0\0\x03\0\x81"
                        "a\x02\x01\x01\xff")); /* counts one too many */
    assert_refused(BODY("\x12\x01\x02\x0c\x0c\0\0\0\x02\0\x82"
                        "a\x02\x01\x01\xff")); /* a string over the next one */
    assert_refused(BODY("\x12\x01\x02\x0c\x0d\0\0\0\x02\0\x81"
                        "a\x02\x01\x01\xff")); /* longer than it is */
    assert_refused(BODY("\x0a\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01"
                        "a\x04\xf2\xff"));        /* wrong length in front */
    assert_refused(BODY("\x12\x01\x01\x03xyz!")); /* something behind */
}

/* ---- whole values ---- */

static struct slice make_text(char *buf, struct rng *rng) {
    uint64_t kind = rng_below(rng, 8);
    if (kind < 3)
        return slice_of(buf, num_format_i64(buf, (int64_t)(rng_u64(rng) >> rng_below(rng, 64))));
    size_t n = kind == 7 ? rng_below(rng, 9000) : rng_below(rng, 60);
    for (size_t i = 0; i < n; i++)
        buf[i] = kind & 1 ? (char)rng_u64(rng) : (char)('a' + i % 7);
    return slice_of(buf, n);
}

static void fill(struct keyspace *ks, const char *key, unsigned n, uint64_t seed) {
    static char buf[16000];
    struct collection l = list_create(keyspace_rules(ks));
    struct rng rng;
    rng_init(&rng, seed);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(list_push(&l, QUICKLIST_TAIL, make_text(buf, &rng)), 0);
    common_put(ks, 0, slice_cstr(key), collection_value(VALUE_LIST, &l), -1);
}

static struct collection find(struct keyspace *ks, const char *key) {
    struct keyref k = keyspace_key(ks, slice_cstr(key));
    const struct entry *e = keyspace_peek(ks, 0, &k);
    assert_non_null(e);
    return collection_of(keyspace_rules(ks), e);
}

static void assert_same(const struct collection *a, const struct collection *b) {
    struct buf x = BUF_INIT, y = BUF_INIT;
    list_check(b);
    assert_int_equal(list_count(a), list_count(b));
    (void)list_each(a, 0, SIZE_MAX, join, &x);
    (void)list_each(b, 0, SIZE_MAX, join, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    buf_deinit(&x);
    buf_deinit(&y);
}

static void test_lists_survive_every_version(void **state) {
    (void)state;
    for (unsigned version = RDB_VERSION_MIN; version <= RDB_VERSION_MAX; version++) {
        for (unsigned depth = 0; depth < 2; depth++) {
            struct keyspace *ks = common_keyspace(), *other = common_keyspace();
            keyspace_rules(ks)->limits.list_compress_depth = depth;
            fill(ks, "short", 20, 1);
            fill(ks, "long", 3000, 2);
            struct rdb_save_options so;
            struct rdb_load_options lo;
            struct rdb_load_result result;
            struct rdb_error error;
            struct buf out = BUF_INIT;
            rdb_save_options_default(&so);
            so.version = version;
            so.compress = depth == 0;
            common_save(ks, &so, RDB_CODEC_NONE, &out);
            rdb_load_options_default(&lo);
            if (common_load(buf_slice(&out), other, &lo, &result, &error) != 0)
                fail_msg("loading: %s", error.text);
            const struct collection a = find(ks, "short"), b = find(other, "short"), c = find(ks, "long"),
                                    d = find(other, "long");
            assert_same(&a, &b);
            assert_int_equal(b.encoding, VALUE_ENC_LISTPACK);
            assert_same(&c, &d);
            assert_int_equal(d.encoding, VALUE_ENC_QUICKLIST);
            buf_deinit(&out);
            keyspace_destroy(ks);
            keyspace_destroy(other);
        }
    }
}

/* Whatever a bit does to a payload: it is refused, or what it makes is a sound list. */
static void test_any_byte_may_be_wrong(void **state) {
    (void)state;
    static const unsigned counts[] = {3, 40, 300};
    for (unsigned k = 0; k < 3; k++) {
        struct keyspace *ks = common_keyspace();
        keyspace_rules(ks)->limits.list_compress_depth = k == 2;
        fill(ks, "list", counts[k], k);
        struct keyref key = keyspace_key(ks, SLICE_LIT("list"));
        struct buf whole = BUF_INIT;
        assert_int_equal(rdb_dump_value(keyspace_peek(ks, 0, &key), 10, k != 1, &whole), 0);
        struct rng rng;
        rng_init(&rng, k);
        for (unsigned i = 0; i < 4000; i++) {
            size_t n = whole.len - 10, at = i < n && i < 400 ? i : rng_below(&rng, n);
            char old = whole.data[at];
            whole.data[at] ^= (char)(1u << rng_below(&rng, 8));
            struct collection l;
            if (restore(slice_of(whole.data, i % 5 == 0 ? at + 1 : n), i & 1, &l) == 0) {
                list_check(&l);
                list_type_ops.free(l.encoding, l.object);
            }
            whole.data[at] = old;
        }
        buf_deinit(&whole);
        keyspace_destroy(ks);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form_is_read),
        cmocka_unit_test(test_nodes_without_elements_are_passed_over),
        cmocka_unit_test(test_lists_without_elements_are_refused_in_payloads),
        cmocka_unit_test(test_damage_is_refused),
        cmocka_unit_test(test_lists_survive_every_version),
        cmocka_unit_test(test_any_byte_may_be_wrong),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
