#include "config.h"

#include "persistence/rdb/codec.h"

#include <stdio.h>
#include <stdlib.h>

#include "persistence/rdb/check.h"
#include "persistence/rdb/record.h"
#include "server/base/crc.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/base/rng.h"
#include "server/store/hash.h"
#include "tests/support/unit.h"
#include "tests/unit/rdb/common.h"

/* Names as of a kind: numbers, and text. */
static struct slice name_of(char *buf, unsigned i) {
    return slice_of(buf, (size_t)snprintf(buf, 32, i % 3 ? "field-%u" : "%u", i));
}

/* deadlines: of every third field, in no order. */
static struct collection make_hash(struct keyspace *ks, unsigned fields, bool deadlines) {
    struct collection h = hash_create(keyspace_rules(ks));
    for (unsigned i = 0; i < fields; i++) {
        char name[32];
        int64_t deadline_ms = deadlines && i % 3 == 1 ? NOW_MS + 1000 + i * 7919 % 1000 : FIELD_NO_DEADLINE;
        hash_put_until(&h, name_of(name, i), slice_of(name, i % 5), deadline_ms);
    }
    return h;
}

static void put_hash(struct keyspace *ks, const char *key, struct collection h) {
    common_put(ks, 0, slice_cstr(key), collection_value(VALUE_HASH, &h), -1);
}

static struct collection find_hash(struct keyspace *ks, const char *key) {
    struct keyref k = keyspace_key(ks, slice_cstr(key));
    const struct entry *e = keyspace_peek(ks, 0, &k);
    if (e == NULL || entry_type(e) != VALUE_HASH)
        fail_msg("%s is no hash", key);
    return collection_of(keyspace_rules(ks), e);
}

static struct slice text_of(const struct packed_item *item, char *digits) {
    return item->is_int ? slice_of(digits, num_format_i64(digits, item->i)) : item->s;
}

static int expect_in(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms) {
    char digits[2][NUM_I64_CHARS], name[NUM_I64_CHARS];
    struct packed_item other;
    int64_t other_ms;
    assert_true(hash_find(arg, text_of(field, name), HASH_NOTHING_DUE, &other, &other_ms));
    assert_true(slice_eq(text_of(value, digits[0]), text_of(&other, digits[1])));
    assert_int_equal(deadline_ms, other_ms);
    return 0;
}

static void expect_same(struct collection a, struct collection b) {
    hash_check(&b);
    assert_int_equal(hash_count(&a), hash_count(&b));
    assert_int_equal(a.encoding, b.encoding);
    hash_each(&a, expect_in, &b);
}

static void load_ok(const struct buf *snapshot, struct keyspace *ks, const struct rdb_load_options *o) {
    struct rdb_load_result result;
    struct rdb_error error;
    if (common_load(buf_slice(snapshot), ks, o, &result, &error) != 0)
        fail_msg("loading: %s", error.text);
}

static const struct {
    const char *key;
    unsigned fields;
    bool deadlines;
    uint8_t type_10, type_12;
} shapes[] = {{"small", 40, false, RDB_TYPE_HASH_LISTPACK, RDB_TYPE_HASH_LISTPACK},
              {"small timed", 40, true, RDB_TYPE_HASH_LISTPACK, RDB_TYPE_HASH_LISTPACK_EX},
              {"large", 3000, false, RDB_TYPE_HASH, RDB_TYPE_HASH},
              {"large timed", 30000, true, RDB_TYPE_HASH, RDB_TYPE_HASH_METADATA}};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static void hashes_survive_every_version(void **state) {
    (void)state;
    for (unsigned version = RDB_VERSION_MIN; version <= RDB_VERSION_MAX; version++)
        for (int checksum = 0; checksum < 2; checksum++) {
            struct keyspace *ks = common_keyspace(), *other = common_keyspace();
            struct rdb_save_options so;
            struct rdb_load_options lo;
            struct buf out = BUF_INIT;
            rdb_save_options_default(&so);
            rdb_load_options_default(&lo);
            so.version = version;
            so.checksum = lo.checksum = checksum;
            common_fill(ks, 100);
            for (size_t i = 0; i < SHAPES; i++) {
                struct keyref k = keyspace_key(ks, slice_cstr(shapes[i].key));
                put_hash(ks, shapes[i].key, make_hash(ks, shapes[i].fields, shapes[i].deadlines));
                assert_int_equal(rdb_codec_for_value(VALUE_HASH)->wire_type(keyspace_peek(ks, 0, &k), version),
                                 version < 12 ? shapes[i].type_10 : shapes[i].type_12);
            }
            common_save(ks, &so, RDB_CODEC_NONE, &out);
            lo.deep = true;
            load_ok(&out, other, &lo);
            for (size_t i = 0; i < SHAPES; i++)
                expect_same(find_hash(ks, shapes[i].key), find_hash(other, shapes[i].key));
            keyspace_check(other);
            assert_int_equal(keyspace_size(other, 0), keyspace_size(ks, 0));
            assert_int_equal(keyspace_timed_hashes(other, 0), 2);
            buf_deinit(&out);
            keyspace_destroy(ks);
            keyspace_destroy(other);
        }
}

static void due_fields_are_dropped_where_due_keys_are(void **state) {
    (void)state;
    for (unsigned version = 11; version <= 12; version++) {
        struct keyspace *ks = common_keyspace();
        struct rdb_save_options so;
        struct rdb_load_options lo;
        struct buf out = BUF_INIT;
        rdb_save_options_default(&so);
        rdb_load_options_default(&lo);
        so.version = version;
        put_hash(ks, "some", make_hash(ks, 30, true));
        struct collection all = hash_create(keyspace_rules(ks));
        hash_put_until(&all, SLICE_LIT("f"), SLICE_LIT("v"), NOW_MS);
        put_hash(ks, "all", all);
        common_save(ks, &so, RDB_CODEC_NONE, &out);
        for (int skip = 0; skip < 2; skip++) {
            struct keyspace *other = common_keyspace();
            lo.skip_expired = skip;
            lo.now_ms = NOW_MS + 100000;
            load_ok(&out, other, &lo);
            struct collection some = find_hash(other, "some");
            assert_int_equal(hash_count(&some), skip ? 20 : 30);
            assert_int_equal(keyspace_size(other, 0), skip ? 1 : 2);
            keyspace_check(other);
            keyspace_destroy(other);
        }
        buf_deinit(&out);
        keyspace_destroy(ks);
    }
}

/* A payload of DUMP made by hand. */
static int restore(struct keyspace *ks, unsigned type, struct slice value, unsigned version, bool deep,
                   struct collection *ret_h) {
    struct buf b = BUF_INIT;
    unsigned char trailer[10];
    const struct rdb_load_context with = {.rules = keyspace_rules(ks), .deep = deep, .now_ms = NOW_MS};
    struct value v;
    const char *text;
    buf_append_char(&b, (char)type);
    buf_append_slice(&b, value);
    store_le16(trailer, (uint16_t)version);
    buf_append(&b, trailer, 2);
    store_le64(trailer + 2, crc64(0, b.data, b.len));
    buf_append(&b, trailer + 2, 8);
    int err = rdb_restore_value(buf_slice(&b), &with, false, &v, &text);
    buf_deinit(&b);
    if (err != 0) {
        assert_string_equal(text, RDB_RESTORE_BAD_FORMAT);
        return -1;
    }
    *ret_h = (struct collection){.rules = with.rules, .encoding = v.encoding, .object = v.u.object};
    hash_check(ret_h);
    return 0;
}

static void drop(struct collection h) {
    value_free(collection_value(VALUE_HASH, &h));
}

static void expect_field(const struct collection *h, const char *field, const char *value, int64_t deadline_ms) {
    struct packed_item item;
    int64_t ms;
    char digits[NUM_I64_CHARS];
    assert_true(hash_find(h, slice_cstr(field), HASH_NOTHING_DUE, &item, &ms));
    assert_true(slice_eq(text_of(&item, digits), slice_cstr(value)));
    assert_int_equal(ms, deadline_ms);
}

static void other_servers_forms_are_read(void **state) {
    (void)state;
    struct keyspace *ks = common_keyspace();
    struct collection h;
    /* Valkey 9: field, value, deadline; -1 is none. */
    assert_int_equal(
        restore(ks, 22, SLICE_LIT("\2\1a\1x\7\0\0\0\0\0\0\0\1b\1y\xff\xff\xff\xff\xff\xff\xff\xff"), 80, true, &h), 0);
    expect_field(&h, "a", "x", 7);
    expect_field(&h, "b", "y", FIELD_NO_DEADLINE);
    drop(h);
    /* The pre-release form of the same number: deadline, field, value. */
    assert_int_equal(restore(ks, 22, SLICE_LIT("\2\7\1a\1x\0\1b\1y"), 12, true, &h), 0);
    expect_field(&h, "a", "x", 7);
    expect_field(&h, "b", "y", FIELD_NO_DEADLINE);
    drop(h);
    /* Relative to the earliest. */
    assert_int_equal(restore(ks, 24, SLICE_LIT("\x64\0\0\0\0\0\0\0\3\1\1a\1x\0\1b\1y\4\1c\1z"), 12, true, &h), 0);
    expect_field(&h, "a", "x", 100);
    expect_field(&h, "b", "y", FIELD_NO_DEADLINE);
    expect_field(&h, "c", "z", 103);
    drop(h);
    /* A zipmap: length of the field, field, length of the value, unused, value. */
    assert_int_equal(restore(ks, 9, SLICE_LIT("\x0a\1\1a\2\0xy\xff"), 10, true, &h), -1);
    assert_int_equal(restore(ks, 9, SLICE_LIT("\x08\1\1a\2\0xy\xff"), 10, true, &h), 0);
    expect_field(&h, "a", "xy", FIELD_NO_DEADLINE);
    drop(h);
    /* A listpack of triples, pre-release: without the earliest. */
    struct listpack *lp = listpack_create(0);
    const struct packed_item items[] = {packed_bytes(SLICE_LIT("a")), packed_bytes(SLICE_LIT("x")), packed_int(90),
                                        packed_bytes(SLICE_LIT("b")), packed_bytes(SLICE_LIT("y")), packed_int(0)};
    assert_int_equal(listpack_append_all(&lp, items, 6), 0);
    struct buf b = BUF_INIT;
    buf_append_char(&b, (char)listpack_bytes(lp));
    buf_append_slice(&b, listpack_slice(lp));
    assert_int_equal(restore(ks, 23, buf_slice(&b), 12, true, &h), 0);
    assert_int_equal(h.encoding, VALUE_ENC_LISTPACK_EX);
    expect_field(&h, "a", "x", 90);
    drop(h);
    buf_deinit(&b);
    listpack_destroy(lp);
    keyspace_destroy(ks);
}

static void bad_payloads_are_refused(void **state) {
    (void)state;
    struct keyspace *ks = common_keyspace();
    struct collection h;
    static const struct {
        unsigned type, version;
        struct slice value;
    } bad[] = {
        {4, 10, SLICE_LIT("\2\1a\1x\1a\1y")},                              /* a field twice */
        {4, 10, SLICE_LIT("\2\1a\1x")},                                    /* one is missing */
        {4, 10, SLICE_LIT("\x81\xff\xff\xff\xff\xff\xff\xff\xff\1a\1x")},  /* a huge count */
        {22, 80, SLICE_LIT("\1\1a\1x\7\0\0")},                             /* half a deadline */
        {24, 12, SLICE_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\1\5\1a\1x")}, /* a deadline beyond all time */
        {16, 10, SLICE_LIT("\x0d\x0d\0\0\0\1\0\x84zzzz\5\xff")},           /* a field without a value */
        {25, 12, SLICE_LIT("\0\0\0\0\0\0\0\0\x10\x10\0\0\0\3\0\x81z\2\x81z\2\x81z\2\xff")}, /* a text as deadline */
        {9, 10, SLICE_LIT("\x06\1\1a\xff")},
        {13, 10, SLICE_LIT("\3abc")},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int deep = 0; deep < 2; deep++)
            if (restore(ks, bad[i].type, bad[i].value, bad[i].version, deep, &h) == 0)
                fail_msg("payload %zu was taken", i);
    keyspace_destroy(ks);
}

/* Whatever stands in a payload, it is refused or it makes a sound hash. */
static void damaged_payloads_do_no_harm(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    struct keyspace *ks = common_keyspace();
    size_t taken = 0;
    for (size_t i = 0; i < SHAPES; i++) {
        struct buf whole = BUF_INIT;
        struct keyref k = keyspace_key(ks, slice_cstr(shapes[i].key));
        put_hash(ks, shapes[i].key, make_hash(ks, shapes[i].fields > 100 ? 60 : 8, shapes[i].deadlines));
        assert_int_equal(rdb_dump_value(keyspace_peek(ks, 0, &k), 12, false, &whole), 0);
        unsigned type = (unsigned char)whole.data[0];
        struct slice value = slice_of(whole.data + 1, whole.len - 11);
        for (int n = 0; n < 3000; n++) {
            struct buf damaged = BUF_INIT;
            struct collection h;
            buf_append_slice(&damaged, value);
            for (uint64_t flips = 1 + rng_below(&rng, 3); flips != 0; flips--)
                damaged.data[rng_below(&rng, damaged.len)] = (char)rng_u64(&rng);
            if (restore(ks, type, buf_slice(&damaged), 12, true, &h) == 0) {
                taken++;
                drop(h);
            }
            buf_deinit(&damaged);
        }
        buf_deinit(&whole);
    }
    assert_true(taken > 0);
    keyspace_destroy(ks);
}

static void dump_needs_the_version_that_holds_deadlines(void **state) {
    (void)state;
    struct keyspace *ks = common_keyspace();
    struct buf out = BUF_INIT;
    put_hash(ks, "h", make_hash(ks, 10, true));
    struct keyref k = keyspace_key(ks, SLICE_LIT("h"));
    assert_int_equal(rdb_dump_value(keyspace_peek(ks, 0, &k), 11, false, &out), -1);
    assert_int_equal(out.len, 0);
    assert_int_equal(rdb_dump_value(keyspace_peek(ks, 0, &k), 12, false, &out), 0);
    buf_deinit(&out);
    keyspace_destroy(ks);
}

/* A snapshot of version 11 with these records between the header and the end, without checksums. */
static int load_records(struct slice records, char text[static 512]) {
    struct keyspace *ks = common_keyspace();
    struct buf b = BUF_INIT;
    struct rdb_load_options lo;
    struct rdb_load_result result;
    struct rdb_error error;
    rdb_load_options_default(&lo);
    buf_append_cstr(&b, "REDIS0011");
    buf_append_slice(&b, records);
    buf_append(&b, "\xff\0\0\0\0\0\0\0\0", 9);
    int err = common_load(buf_slice(&b), ks, &lo, &result, &error);
    if (err == 0) {
        struct collection h = find_hash(ks, "h");
        expect_field(&h, "a", "x", 9);
        keyspace_check(ks);
    } else {
        snprintf(text, 512, "%s", error.text);
    }
    buf_deinit(&b);
    keyspace_destroy(ks);
    return err;
}

#define NOTE(bytes, n) "\xfa\7hf-note" n bytes
#define A_UNTIL_9 "\x09\0\0\0\0\0\0\0\1\0\0\0a"
#define HASH_H "\4\1h\1\1a\1x"

static void notes_belong_to_the_key_that_follows(void **state) {
    (void)state;
    char text[512] = "";
    static const struct {
        struct slice records;
        const char *why; /* NULL: fine */
    } cases[] = {
        {SLICE_LIT(NOTE(A_UNTIL_9, "\x0d") HASH_H), NULL},
        {SLICE_LIT(NOTE(A_UNTIL_9, "\x0d") "\xf8\5" HASH_H), NULL},
        {SLICE_LIT(NOTE(A_UNTIL_9, "\x0d") "\0\1h\1v"), "no type"},
        {SLICE_LIT(NOTE(A_UNTIL_9, "\x0d")), "no key follows"},
        {SLICE_LIT(NOTE("\x09\0\0\0\0\0\0\0\1\0\0\0b", "\x0d") HASH_H), "does not have"},
        {SLICE_LIT(NOTE("\x09\0\0\0\0\0\0\0\2\0\0\0b", "\x0d") HASH_H), "in the middle"},
        {SLICE_LIT(NOTE("\x09\0\0\0\0\0\0\xff\1\0\0\0a", "\x0d") HASH_H), "out of range"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int err = load_records(cases[i].records, text);
        if ((err == 0) != (cases[i].why == NULL) || (err != 0 && strstr(text, cases[i].why) == NULL))
            fail_msg("case %zu: %s", i, err == 0 ? "loaded" : text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_survive_every_version),
        cmocka_unit_test(due_fields_are_dropped_where_due_keys_are),
        cmocka_unit_test(other_servers_forms_are_read),
        cmocka_unit_test(bad_payloads_are_refused),
        cmocka_unit_test(damaged_payloads_do_no_harm),
        cmocka_unit_test(dump_needs_the_version_that_holds_deadlines),
        cmocka_unit_test(notes_belong_to_the_key_that_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
