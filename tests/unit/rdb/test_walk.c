#include "config.h"

#include "persistence/rdb/walk.h"

#include <stdio.h>
#include <stdlib.h>

#include "persistence/rdb/check.h"
#include "persistence/rdb/codec.h"
#include "server/base/endian.h"
#include "server/ds/intset.h"
#include "server/ds/listpack.h"
#include "server/ds/packed_legacy.h"
#include "tests/support/unit.h"
#include "tests/unit/rdb/common.h"

static int check_bytes(struct slice s, struct rdb_check_report *ret_report, struct rdb_error *ret_error) {
    struct rdb_reader r;
    const struct rdb_check_options o = {.now_ms = NOW_MS};
    int err = rdb_reader_init_slice(&r, s, true);
    if (err == 0)
        err = rdb_check(&r, &o, ret_report, ret_error);
    else
        *ret_error = r.error;
    rdb_reader_deinit(&r);
    return err;
}

static void check_fixture(const char *path, unsigned version, bool valkey, uint64_t keys) {
    struct buf b;
    struct rdb_check_report report;
    struct rdb_error error;
    buf_init(&b);
    common_read_data(path, &b);
    if (check_bytes(buf_slice(&b), &report, &error) != 0)
        fail_msg("%s: %s", path, error.text);
    assert_int_equal(report.version, version);
    assert_int_equal(report.valkey, valkey);
    assert_int_equal(report.bytes, b.len);
    assert_int_equal(report.keys, keys);
    if (strstr(path, "legacy") == NULL)
        assert_true(report.checksum_checked);
    buf_deinit(&b);
}

static void test_snapshots_of_others(void **state) {
    (void)state;
    check_fixture("fixtures/redis-7.0/dump.rdb", 10, false, 36);
    check_fixture("fixtures/redis-7.0/appendonlydir/appendonly.aof.2.base.rdb", 10, false, 36);
    check_fixture("fixtures/redis-8.0-dev/dump.rdb", 12, false, 38);
    check_fixture("fixtures/redis-8.0-dev/appendonlydir/appendonly.aof.2.base.rdb", 12, false, 38);
    check_fixture("fixtures/valkey-8.1-dev/dump.rdb", 11, false, 36);
    check_fixture("fixtures/valkey-8.1-dev/appendonlydir/appendonly.aof.2.base.rdb", 11, false, 36);
}

static void test_snapshots_in_old_encodings(void **state) {
    (void)state;
    check_fixture("fixtures/legacy/hash-zipmap.rdb", 3, false, 1);
    check_fixture("fixtures/legacy/hash-ziplist.rdb", 9, false, 1);
    check_fixture("fixtures/legacy/zset-ziplist.rdb", 10, false, 1);
    check_fixture("fixtures/legacy/list-quicklist.rdb", 8, false, 2);
    check_fixture("fixtures/legacy/encodings.rdb", 4, false, 13);
    check_fixture("fixtures/legacy/scriptbackup.rdb", 10, false, 0);
}

/* Whatever one byte becomes, the walk ends and stays inside (the sanitizers look on). Snapshots of others carry no
 * chunk checksums. */
static void test_hostile_fixtures_never_crash(void **state) {
    static const char *const paths[] = {"fixtures/redis-7.0/dump.rdb", "fixtures/redis-8.0-dev/dump.rdb",
                                        "fixtures/legacy/hash-zipmap.rdb", "fixtures/legacy/encodings.rdb",
                                        "fixtures/legacy/list-quicklist.rdb"};
    (void)state;
    for (size_t f = 0; f < sizeof paths / sizeof *paths; f++) {
        struct buf b;
        struct rdb_check_report report;
        struct rdb_error error;
        buf_init(&b);
        common_read_data(paths[f], &b);
        size_t step = 1 + b.len / 600;
        for (size_t at = 9; at < b.len; at += step) {
            char was = b.data[at];
            b.data[at] = (char)(was ^ (1 << at % 8));
            (void)!check_bytes(buf_slice(&b), &report, &error);
            b.data[at] = was;
            (void)!check_bytes(slice_of(b.data, at), &report, &error);
        }
        buf_deinit(&b);
    }
}

/* ---- packed payloads ---- */

static void put_lp(struct buf *b, const char *elements, size_t n, unsigned count) {
    char head[6];
    buf_clear(b);
    store_le32(head, (uint32_t)(n + 7));
    store_le16(head + 4, (uint16_t)count);
    buf_append(b, head, 6);
    buf_append(b, elements, n);
    buf_append_char(b, '\xff');
}
#define LP(b, s, count) put_lp((b), (s), sizeof(s) - 1, (count))

static void packed_is(unsigned type, const struct buf *b, const char *words) {
    uint64_t n = 0;
    const char *why = rdb_check_packed(type, buf_slice(b), &n);
    if (words == NULL) {
        if (why != NULL)
            fail_msg("refused: %s", why);
    } else if (why == NULL || strstr(why, words) == NULL) {
        fail_msg("\"%s\" where \"%s\" was expected", why != NULL ? why : "accepted", words);
    }
}

static const char *collect(void *arg, const struct packed_item *it) {
    struct buf *b = arg;
    if (it->is_int)
        buf_printf(b, "%lld,", (long long)it->i);
    else
        buf_printf(b, "'%.*s',", (int)it->s.n, it->s.p);
    return NULL;
}

static void test_listpack(void **state) {
    struct buf b, seen;
    uint64_t n;
    (void)state;
    buf_init(&b);
    buf_init(&seen);
    LP(&b,
       "\x05\x01\x82hi\x03\xdf\xff\x02\xf1\x00\x80\x03\xf2\xff\xff\x7f\x04\xf3\x00\x00\x00\x80\x05\xf4\xff\xff\xff\xff"
       "\xff\xff\xff\x7f\x09\xe0\x01z\x03\xf0\x01\x00\x00\x00y\x06",
       9);
    assert_null(listpack_validate(buf_slice(&b), true, collect, &seen, &n));
    assert_int_equal(n, 9);
    assert_bytes_are(seen.data, seen.len, "5,'hi',-1,-32768,8388607,-2147483648,9223372036854775807,'z','y',");
    LP(&b, "\x05\x01\x05\x01", 1);
    assert_string_equal(listpack_validate(buf_slice(&b), true, NULL, NULL, &n),
                        "a listpack states another number of elements than it has");
    LP(&b, "\x05\x02", 1);
    assert_non_null(strstr(listpack_validate(buf_slice(&b), true, NULL, NULL, &n), "back length"));
    LP(&b, "\x8axx", 1);
    assert_non_null(strstr(listpack_validate(buf_slice(&b), true, NULL, NULL, &n), "reaches over"));
    LP(&b, "\xf5\x01", 1);
    assert_non_null(strstr(listpack_validate(buf_slice(&b), true, NULL, NULL, &n), "damaged"));
    LP(&b, "\xf0\xff\xff\xff\xffx", 1);
    assert_non_null(strstr(listpack_validate(buf_slice(&b), true, NULL, NULL, &n), "reaches over"));
    buf_deinit(&b);
    buf_deinit(&seen);
}

static void test_pairs_scores_and_repetitions(void **state) {
    struct buf b;
    (void)state;
    buf_init(&b);
    LP(&b,
       "\x81"
       "a\x02\x01\x01\x81"
       "b\x02\x02\x01",
       4);
    packed_is(RDB_TYPE_HASH_LISTPACK, &b, NULL);
    packed_is(RDB_TYPE_ZSET_LISTPACK, &b, NULL);
    packed_is(RDB_TYPE_LIST_QUICKLIST_2, &b, NULL);
    packed_is(RDB_TYPE_SET_LISTPACK, &b, NULL);
    LP(&b,
       "\x81"
       "a\x02\x01\x01\x81"
       "a\x02\x02\x01",
       4);
    packed_is(RDB_TYPE_HASH_LISTPACK, &b, "twice");
    packed_is(RDB_TYPE_SET_LISTPACK, &b, "twice");
    packed_is(RDB_TYPE_LIST_QUICKLIST_2, &b, NULL);
    LP(&b,
       "\x81"
       "a\x02",
       1);
    packed_is(RDB_TYPE_HASH_LISTPACK, &b, "in the middle");
    LP(&b,
       "\x81"
       "a\x02\x83nan\x04",
       2);
    packed_is(RDB_TYPE_ZSET_LISTPACK, &b, "a number is expected");
    packed_is(RDB_TYPE_HASH_LISTPACK, &b, NULL);
    LP(&b,
       "\x81"
       "a\x02\x83"
       "1.5\x04",
       2);
    packed_is(RDB_TYPE_ZSET_LISTPACK, &b, NULL);
    LP(&b,
       "\x01\x01\x81"
       "1\x02",
       2);
    packed_is(RDB_TYPE_SET_LISTPACK, &b, "twice");
    buf_deinit(&b);
}

static void test_intset(void **state) {
    uint64_t n;
    (void)state;
    assert_null(intset_validate(SLICE_LIT("\x02\0\0\0\x02\0\0\0\xff\xff\x01\x00"), true, NULL, NULL, &n));
    assert_int_equal(n, 2);
    assert_non_null(intset_validate(SLICE_LIT("\x02\0\0\0\x02\0\0\0\x01\x00\x01\x00"), true, NULL, NULL, &n));
    assert_non_null(intset_validate(SLICE_LIT("\x02\0\0\0\x03\0\0\0\x01\x00\x02\x00"), true, NULL, NULL, &n));
    assert_non_null(intset_validate(SLICE_LIT("\x03\0\0\0\x00\0\0\0"), true, NULL, NULL, &n));
    assert_non_null(intset_validate(SLICE_LIT("\x08\0\0\0\xff\xff\xff\xff\x01"), true, NULL, NULL, &n));
    assert_non_null(intset_validate(SLICE_LIT("\x02\0"), true, NULL, NULL, &n));
}

static void test_ziplist_and_zipmap(void **state) {
    struct buf seen;
    uint64_t n;
    (void)state;
    buf_init(&seen);
    assert_null(ziplist_validate(SLICE_LIT("\x11\0\0\0\x0e\0\0\0\x02\0\0\x02hi\x04\xf3\xff"), collect, &seen, &n));
    assert_bytes_are(seen.data, seen.len, "'hi',2,");
    assert_non_null(ziplist_validate(SLICE_LIT("\x11\0\0\0\x0e\0\0\0\x02\0\0\x02hi\x05\xf3\xff"), NULL, NULL, &n));
    assert_non_null(ziplist_validate(SLICE_LIT("\x11\0\0\0\x0a\0\0\0\x02\0\0\x02hi\x04\xf3\xff"), NULL, NULL, &n));
    assert_non_null(ziplist_validate(SLICE_LIT("\x11\0\0\0\x0e\0\0\0\x03\0\0\x02hi\x04\xf3\xff"), NULL, NULL, &n));
    buf_clear(&seen);
    assert_null(zipmap_validate(SLICE_LIT("\x01\x01k\x02\x01vv.\xff"), collect, &seen, &n));
    assert_bytes_are(seen.data, seen.len, "'k','vv',");
    assert_non_null(zipmap_validate(SLICE_LIT("\x02\x01k\x02\x01vv.\xff"), NULL, NULL, &n));
    assert_non_null(zipmap_validate(SLICE_LIT("\x01\x01k\x02\x05vv.\xff"), NULL, NULL, &n));
    assert_non_null(zipmap_validate(SLICE_LIT("\x01\x01k\xfe\xff\xff\xff\xff\x00v\xff"), NULL, NULL, &n));
    buf_deinit(&seen);
}

/* Every bit of every payload flipped: accepted or refused, but never read outside (the sanitizers look on). */
static void test_flipped_payloads_stay_inside(void **state) {
    static const unsigned types[] = {RDB_TYPE_HASH_LISTPACK, RDB_TYPE_ZSET_LISTPACK, RDB_TYPE_STREAM_LISTPACKS_3,
                                     RDB_TYPE_HASH_ZIPLIST,  RDB_TYPE_HASH_ZIPMAP,   RDB_TYPE_SET_INTSET};
    static const struct slice payloads[] = {
        {"\x11\0\0\0\x0e\0\0\0\x02\0\0\x02hi\x04\xf3\xff", 17},
        {"\x0f\0\0\0\x03\0\x81"
         "a\x02\x83"
         "1.5\x04\xff",
         15},
        {"\x01\x01k\x02\x01vv.\xff", 9},
        {"\x02\0\0\0\x02\0\0\0\xff\xff\x01\x00", 12},
    };
    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        for (size_t bit = 0; bit < 8 * payloads[i].n; bit++) {
            char *copy = malloc(payloads[i].n);
            uint64_t n;
            memcpy(copy, payloads[i].p, payloads[i].n);
            copy[bit / 8] ^= (char)(1 << bit % 8);
            for (size_t t = 0; t < sizeof types / sizeof *types; t++)
                (void)rdb_check_packed(types[t], slice_of(copy, payloads[i].n), &n);
            free(copy);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshots_of_others),          cmocka_unit_test(test_snapshots_in_old_encodings),
        cmocka_unit_test(test_hostile_fixtures_never_crash), cmocka_unit_test(test_listpack),
        cmocka_unit_test(test_pairs_scores_and_repetitions), cmocka_unit_test(test_intset),
        cmocka_unit_test(test_ziplist_and_zipmap),           cmocka_unit_test(test_flipped_payloads_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
