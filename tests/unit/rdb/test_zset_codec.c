#include "config.h"

#include "persistence/rdb/rdb.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "persistence/rdb/codec.h"
#include "persistence/rdb/io.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/listpack.h"
#include "server/store/sorted_set.h"
#include "tests/unit/rdb/common.h"

static struct hash_key key;
static struct table_policy policy = {.ctx = &key, .resizing = TABLE_RESIZE_FREELY};
static struct collection_rules rules = {.policy = &policy};

static int setup(void **state) {
    (void)state;
    hash_key_init(&key, "a seed of sorted sets", 21);
    collection_limits_default(&rules.limits);
    return 0;
}

/* ---- payloads ---- */

static int restore(struct slice payload, struct value *ret_value) {
    const struct rdb_load_context with = {.rules = &rules, .deep = true, .now_ms = NOW_MS};
    const char *text = NULL;
    int err = rdb_restore_value(payload, &with, true, ret_value, &text);
    if (err != 0)
        assert_string_equal(text, RDB_RESTORE_BAD_FORMAT);
    return err;
}

/* The payload of a type byte and the bytes that were written. */
static int restore_body(struct rdb_writer *w, struct buf *b, struct value *ret_value) {
    static const char trailer[10] = {10};
    assert_int_equal(rdb_writer_finish(w), 0);
    rdb_writer_deinit(w);
    buf_append(b, trailer, sizeof trailer);
    int err = restore(buf_slice(b), ret_value);
    buf_deinit(b);
    return err;
}

static void begin(struct rdb_writer *w, struct buf *b, unsigned type) {
    *b = BUF_INIT;
    rdb_writer_init_buf(w, b, RDB_CODEC_NONE);
    rdb_write_byte(w, type);
}

static struct collection handle(struct value v) {
    assert_int_equal(v.type, VALUE_ZSET);
    assert_int_equal(v.repr, VALUE_REPR_OBJECT);
    return (struct collection){.rules = &rules, .encoding = (enum value_encoding)v.encoding, .object = v.u.object};
}

struct member {
    const char *name;
    double score;
    const char *text; /* of the score, in the forms that hold text */
};

static int restore_binary(const struct member *m, size_t n, struct value *ret_value) {
    struct rdb_writer w;
    struct buf b;
    begin(&w, &b, RDB_TYPE_ZSET_2);
    rdb_write_len(&w, n);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &m[i].score, sizeof bits);
        rdb_write_string(&w, slice_cstr(m[i].name), true);
        rdb_write_u64(&w, bits);
    }
    return restore_body(&w, &b, ret_value);
}

/* A score of one byte of text stands for itself: 253, 254, 255. */
static int restore_text(const struct member *m, size_t n, struct value *ret_value) {
    struct rdb_writer w;
    struct buf b;
    begin(&w, &b, RDB_TYPE_ZSET);
    rdb_write_len(&w, n);
    for (size_t i = 0; i < n; i++) {
        unsigned char first = (unsigned char)m[i].text[0];
        rdb_write_string(&w, slice_cstr(m[i].name), true);
        rdb_write_byte(&w, first >= 253 ? first : (unsigned)strlen(m[i].text));
        if (first < 253)
            rdb_write(&w, m[i].text, strlen(m[i].text));
    }
    return restore_body(&w, &b, ret_value);
}

static void ziplist_of(const char *const *elements, size_t n, struct buf *out) {
    size_t prev = 0;
    buf_append(out, "\0\0\0\0\0\0\0\0\0\0", 10);
    uint32_t last = 10;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(elements[i]);
        last = (uint32_t)out->len;
        buf_append_char(out, (char)prev);
        buf_append_char(out, (char)len);
        buf_append_cstr(out, elements[i]);
        prev = len + 2;
    }
    buf_append_char(out, (char)0xFF);
    store_le32(out->data, (uint32_t)out->len);
    store_le32(out->data + 4, last);
    store_le16(out->data + 8, (uint16_t)n);
}

/* Elements as they come: member, score, … */
static int restore_packed(const char *const *elements, size_t n, bool ziplist, struct value *ret_value) {
    struct rdb_writer w;
    struct buf b, packed = BUF_INIT;
    if (ziplist) {
        ziplist_of(elements, n, &packed);
    } else {
        struct listpack *lp = listpack_create(0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(listpack_append(&lp, packed_bytes(slice_cstr(elements[i]))), 0);
        buf_append_slice(&packed, listpack_slice(lp));
        listpack_destroy(lp);
    }
    begin(&w, &b, ziplist ? RDB_TYPE_ZSET_ZIPLIST : RDB_TYPE_ZSET_LISTPACK);
    rdb_write_blob(&w, buf_slice(&packed), true);
    buf_deinit(&packed);
    return restore_body(&w, &b, ret_value);
}

static void expect(struct value v, enum value_encoding encoding, const struct member *m, size_t n) {
    struct collection z = handle(v);
    sorted_set_check(&z);
    assert_int_equal(z.encoding, encoding);
    assert_int_equal(sorted_set_count(&z), n);
    for (size_t i = 0; i < n; i++) {
        double score;
        assert_true(sorted_set_score(&z, slice_cstr(m[i].name), &score));
        assert_true(score == m[i].score);
    }
    value_free(v);
}

/* ---- tests ---- */

static void members_come_in_any_order(void **state) {
    (void)state;
    static const struct member m[] = {
        {"b", 2.5, "2.5"}, {"a", -1, "-1"}, {"17", INFINITY, "\xfe"}, {"", -INFINITY, "\xff"}, {"c", 2.5, "2.5"}};
    struct value v;
    assert_int_equal(restore_binary(m, 5, &v), 0);
    expect(v, VALUE_ENC_LISTPACK, m, 5);
    assert_int_equal(restore_text(m, 5, &v), 0);
    expect(v, VALUE_ENC_LISTPACK, m, 5);
    rules.limits.zset_max_listpack_entries = 4;
    assert_int_equal(restore_binary(m, 5, &v), 0);
    expect(v, VALUE_ENC_SKIPLIST, m, 5);
    rules.limits.zset_max_listpack_entries = 128;
}

static void members_twice_and_what_is_no_number_are_refused(void **state) {
    (void)state;
    struct member m[] = {{"b", 2.5, "2.5"}, {"a", -1, "-1"}, {"b", 3, "3"}};
    struct value v;
    assert_int_equal(restore_binary(m, 3, &v), -1);
    assert_int_equal(restore_text(m, 3, &v), -1);
    m[2] = (struct member){"c", NAN, "\xfd"};
    assert_int_equal(restore_binary(m, 3, &v), -1);
    assert_int_equal(restore_text(m, 3, &v), -1);
    static const char *const texts[] = {"x", "", "1x", "nan", "1e999", " 1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        m[2].text = texts[i];
        assert_int_equal(restore_text(m, 3, &v), -1);
    }
    m[2] = (struct member){"c", 1, "1"};
    assert_int_equal(restore_text(m, 3, &v), 0);
    value_free(v);
}

static void nothing_is_no_sorted_set(void **state) {
    (void)state;
    struct value v;
    assert_int_equal(restore_binary(NULL, 0, &v), -1);
    assert_int_equal(restore_packed(NULL, 0, false, &v), -1);
    assert_int_equal(restore_packed(NULL, 0, true, &v), -1);
}

static void packed_members_are_taken_as_they_are(void **state) {
    (void)state;
    static const char *const elements[] = {"x", "-inf", "b", "-2.5", "c", "-2.5", "12", "7", "a", "1e+22"};
    static const struct member m[] = {
        {"x", -INFINITY, NULL}, {"b", -2.5, NULL}, {"c", -2.5, NULL}, {"12", 7, NULL}, {"a", 1e22, NULL}};
    struct value v;
    for (int ziplist = 0; ziplist < 2; ziplist++) {
        assert_int_equal(restore_packed(elements, 10, ziplist, &v), 0);
        expect(v, VALUE_ENC_LISTPACK, m, 5);
        rules.limits.zset_max_listpack_entries = 4;
        assert_int_equal(restore_packed(elements, 10, ziplist, &v), 0);
        expect(v, VALUE_ENC_SKIPLIST, m, 5);
        rules.limits.zset_max_listpack_entries = 128;
    }
}

static void packed_members_that_are_wrong_are_refused(void **state) {
    (void)state;
    static const struct {
        size_t n;
        const char *elements[6];
    } bad[] = {
        {1, {"a"}},
        {3, {"a", "1", "b"}},
        {4, {"b", "2", "a", "1"}},              /* falling scores */
        {4, {"b", "1", "a", "1"}},              /* falling bytes */
        {4, {"a", "1", "a", "1"}},              /* twice */
        {4, {"a", "1", "a", "2"}},              /* twice, with another score */
        {6, {"12", "1", "13", "2", "12", "3"}}, /* numbers twice */
        {2, {"a", "x"}},
        {2, {"a", "nan"}},
        {2, {"a", ""}},
    };
    struct value v;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int ziplist = 0; ziplist < 2; ziplist++)
            assert_int_equal(restore_packed(bad[i].elements, bad[i].n, ziplist, &v), -1);
}

/* More members than are looked at one by one: the first and the last are the same. */
static void a_member_twice_is_found_in_a_long_listpack(void **state) {
    (void)state;
    size_t before = mem_used();
    for (int64_t limit = 128; limit <= 1024; limit += 896) {
        rules.limits.zset_max_listpack_entries = limit;
        for (int twice = 0; twice < 2; twice++) {
            const char *elements[1400];
            char texts[1400][8];
            for (size_t i = 0; i < 700; i++) {
                snprintf(texts[2 * i], 8, "m%d", (int)(i == 699 && twice ? 0 : i));
                snprintf(texts[2 * i + 1], 8, "%d", (int)i);
            }
            for (size_t i = 0; i < 1400; i++)
                elements[i] = texts[i];
            struct value v;
            assert_int_equal(restore_packed(elements, 1400, false, &v), twice ? -1 : 0);
            if (twice)
                continue;
            struct collection z = handle(v);
            sorted_set_check(&z);
            assert_int_equal(z.encoding, limit == 128 ? VALUE_ENC_SKIPLIST : VALUE_ENC_LISTPACK);
            value_free(v);
        }
    }
    rules.limits.zset_max_listpack_entries = 128;
    assert_int_equal(mem_used(), before);
}

/* ---- round trips and damage ---- */

static void make_dump(size_t n, struct buf *out) {
    struct keyspace *ks = common_keyspace();
    struct collection z = sorted_set_create(keyspace_rules(ks), 1, 1);
    for (size_t i = 0; i < n; i++) {
        char name[24];
        int len = snprintf(name, sizeof name, i % 3 ? "member-%zu" : "%zu", i);
        sorted_set_put(&z, slice_of(name, (size_t)len), (double)(i * 7 % 31) * 0.5 - 3);
    }
    struct keyref k = keyspace_key(ks, SLICE_LIT("k"));
    const struct entry *e = keyspace_put(ks, 0, &k, collection_value(VALUE_ZSET, &z), KEYSPACE_NO_DEADLINE);
    for (unsigned version = 10; version <= 12; version++) {
        buf_clear(out);
        assert_int_equal(rdb_dump_value(e, version, true, out), 0);
    }
    keyspace_destroy(ks);
}

static void what_is_saved_is_loaded(void **state) {
    (void)state;
    for (size_t n = 1; n < 2000; n = n * 3 + 2) {
        struct buf dump = BUF_INIT;
        struct value v;
        make_dump(n, &dump);
        assert_int_equal(dump.data[0], n <= 128 ? RDB_TYPE_ZSET_LISTPACK : RDB_TYPE_ZSET_2);
        assert_int_equal(restore(buf_slice(&dump), &v), 0);
        struct collection z = handle(v);
        sorted_set_check(&z);
        assert_int_equal(z.encoding, n <= 128 ? VALUE_ENC_LISTPACK : VALUE_ENC_SKIPLIST);
        assert_int_equal(sorted_set_count(&z), n);
        double score;
        assert_true(sorted_set_score(&z, SLICE_LIT("0"), &score) && score == -3);
        value_free(v);
        buf_deinit(&dump);
    }
}

/* Whatever a flipped bit makes of a payload, it is refused or sound. */
static void damage_is_refused_or_makes_a_sound_set(void **state) {
    (void)state;
    static const size_t sizes[] = {3, 40, 130};
    size_t before = mem_used(), good = 0, bad = 0;
    for (size_t s = 0; s < 3; s++) {
        struct buf dump = BUF_INIT;
        make_dump(sizes[s], &dump);
        for (size_t bit = 8; bit < (dump.len - 10) * 8; bit++) {
            struct value v;
            dump.data[bit / 8] = (char)(dump.data[bit / 8] ^ 1 << bit % 8);
            if (restore(buf_slice(&dump), &v) == 0) {
                struct collection z = handle(v);
                sorted_set_check(&z);
                value_free(v);
                good++;
            } else {
                bad++;
            }
            dump.data[bit / 8] = (char)(dump.data[bit / 8] ^ 1 << bit % 8);
        }
        for (size_t n = 1; n < dump.len - 10; n++) {
            struct value v;
            struct buf cut = BUF_INIT;
            buf_append(&cut, dump.data, n);
            buf_append(&cut, dump.data + dump.len - 10, 10);
            assert_int_equal(restore(buf_slice(&cut), &v), -1);
            buf_deinit(&cut);
        }
        buf_deinit(&dump);
    }
    assert_true(good > 100 && bad > 100);
    assert_int_equal(mem_used(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_in_any_order),
        cmocka_unit_test(members_twice_and_what_is_no_number_are_refused),
        cmocka_unit_test(nothing_is_no_sorted_set),
        cmocka_unit_test(packed_members_are_taken_as_they_are),
        cmocka_unit_test(packed_members_that_are_wrong_are_refused),
        cmocka_unit_test(a_member_twice_is_found_in_a_long_listpack),
        cmocka_unit_test(what_is_saved_is_loaded),
        cmocka_unit_test(damage_is_refused_or_makes_a_sound_set),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
