#include "config.h"

#include "persistence/rdb/rdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "persistence/rdb/check.h"
#include "persistence/rdb/codec.h"
#include "server/base/crc.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "tests/support/unit.h"
#include "tests/unit/rdb/common.h"

static const struct table_policy free_policy = {.resizing = TABLE_RESIZE_FREELY};
static struct collection_rules plain_rules = {.policy = &free_policy};
static const struct rdb_load_context deep_load = {.rules = &plain_rules, .deep = true};

#define FILLER 60000 /* a few MiB: chunk checksums in the middle, windows that move on */

struct setup {
    struct keyspace *ks, *other;
    struct buf out;
    struct rdb_save_options so;
    struct rdb_load_options lo;
    struct rdb_load_result result;
    struct rdb_error error;
};

static int setup(void **state) {
    struct setup *s = mem_calloc(1, sizeof *s);
    s->ks = common_keyspace();
    s->other = common_keyspace();
    buf_init(&s->out);
    rdb_save_options_default(&s->so);
    s->so.now_ms = NOW_MS;
    rdb_load_options_default(&s->lo);
    s->lo.now_ms = NOW_MS;
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct setup *s = *state;
    keyspace_destroy(s->ks);
    keyspace_destroy(s->other);
    buf_deinit(&s->out);
    mem_free(s);
    return 0;
}

static void load_ok(struct setup *s) {
    if (common_load(buf_slice(&s->out), s->other, &s->lo, &s->result, &s->error) != 0)
        fail_msg("loading: %s", s->error.text);
}

static void test_round_trip(void **state) {
    static const enum rdb_codec codecs[] = {RDB_CODEC_NONE, RDB_CODEC_LZ4, RDB_CODEC_ZLIB};
    struct setup *s = *state;
    common_fill(s->ks, FILLER);
    for (unsigned version = 10; version <= 12; version++) {
        for (unsigned i = 0; i < 6; i++) {
            s->so.version = version;
            s->so.compress = i < 3;
            buf_clear(&s->out);
            common_save(s->ks, &s->so, codecs[i % 3], &s->out);
            keyspace_flush(s->other, -1, false);
            load_ok(s);
            common_assert_equal(s->ks, s->other);
            assert_int_equal(s->result.version, version);
            assert_int_equal(s->result.codec, codecs[i % 3]);
            assert_true(s->result.checksum_checked);
            assert_true(s->result.chunks_checked > 2);
            assert_string_equal(s->result.redis_ver, "7.2.4");
            assert_int_equal(s->result.ctime_s, NOW_MS / 1000);
            assert_false(s->result.aof_base);
        }
    }
}

static void test_no_checksum(void **state) {
    struct setup *s = *state;
    common_fill(s->ks, 100);
    s->so.checksum = false;
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    assert_int_equal(load_le64(s->out.data + s->out.len - 8), 0);
    load_ok(s);
    common_assert_equal(s->ks, s->other);
    assert_false(s->result.checksum_checked);
    assert_int_equal(s->result.chunks_checked, 0);
}

static void test_checksum_not_wanted(void **state) {
    struct setup *s = *state;
    common_put_text(s->ks, "key", "some value that is here");
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    s->out.data[s->out.len - 1] ^= 1;
    assert_int_equal(common_load(buf_slice(&s->out), s->other, &s->lo, &s->result, &s->error), -1);
    assert_int_equal(s->error.code, RDB_ERR_CHECKSUM);
    keyspace_flush(s->other, -1, false);
    s->lo.checksum = false;
    load_ok(s);
    common_assert_equal(s->ks, s->other);
}

static void test_replication_fields(void **state) {
    struct setup *s = *state;
    s->so.aof_base = true;
    s->so.repl_id = "0123456789abcdef0123456789abcdef01234567";
    s->so.repl_offset = 424242;
    s->so.repl_stream_db = 3;
    s->so.used_mem = 999;
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    load_ok(s);
    assert_true(s->result.aof_base);
    assert_string_equal(s->result.repl_id, s->so.repl_id);
    assert_int_equal(s->result.repl_offset, 424242);
    assert_int_equal(s->result.repl_stream_db, 3);
    assert_int_equal(s->result.used_mem, 999);
}

static void test_expired_keys(void **state) {
    struct setup *s = *state;
    common_fill(s->ks, 50);
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    s->lo.skip_expired = true;
    load_ok(s);
    assert_int_equal(s->result.keys_expired, 1);
    const struct keyref ref = keyspace_key(s->other, SLICE_LIT("due:past"));
    assert_null(keyspace_peek(s->other, 0, &ref));
}

static void test_access_clocks(void **state) {
    struct setup *s = *state;
    common_put_text(s->ks, "k", "v");
    common_put_text(s->ks, "long",
                    "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv");
    const struct keyref ref = keyspace_key(s->ks, SLICE_LIT("k"));
    keyspace_set_access(s->ks, keyspace_find(s->ks, 0, &ref, KEYSPACE_LOOKUP_NOTOUCH), 500, -1);
    s->so.access = RDB_ACCESS_LRU;
    s->lo.access = RDB_ACCESS_LRU;
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    load_ok(s);
    assert_int_equal(entry_idle_s(keyspace_peek(s->other, 0, &ref), NOW_MS), 500);

    keyspace_set_clock(s->ks, KEYSPACE_CLOCK_LFU, 10, 1);
    keyspace_set_clock(s->other, KEYSPACE_CLOCK_LFU, 10, 1);
    keyspace_flush(s->other, -1, false);
    keyspace_set_access(s->ks, keyspace_find(s->ks, 0, &ref, KEYSPACE_LOOKUP_NOTOUCH), -1, 77);
    s->so.access = RDB_ACCESS_LFU;
    s->so.lfu_decay_time_min = 1;
    s->lo.access = RDB_ACCESS_LFU;
    buf_clear(&s->out);
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    load_ok(s);
    assert_int_equal(entry_lfu_counter(keyspace_peek(s->other, 0, &ref), NOW_MS, 1), 77);
}

/* ---- snapshots written by hand ---- */

static void raw(struct setup *s, const char *magic, const char *records, size_t n) {
    buf_clear(&s->out);
    buf_append_cstr(&s->out, magic);
    buf_append(&s->out, records, n);
}

static void raw_trailer(struct setup *s) {
    char trailer[8];
    store_le64(trailer, crc64(0, s->out.data, s->out.len));
    buf_append(&s->out, trailer, 8);
}

static void assert_refused(struct setup *s, enum rdb_error_code code, const char *words) {
    keyspace_flush(s->other, -1, false);
    assert_int_equal(common_load(buf_slice(&s->out), s->other, &s->lo, &s->result, &s->error), -1);
    if (s->error.code != code || strstr(s->error.text, words) == NULL)
        fail_msg("error %d, \"%s\", where %d and \"%s\" were expected", s->error.code, s->error.text, code, words);
    keyspace_check(s->other);
}
#define RAW(s, magic, records) raw((s), (magic), (records), sizeof(records) - 1)

static void test_old_versions(void **state) {
    struct setup *s = *state;
    static const char *const magics[] = {"REDIS0001", "REDIS0004", "REDIS0005", "REDIS0009", "REDIS0012", "VALKEY080"};
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        RAW(s, magics[i], "\xfe\x05\x00\x01k\x01v\xfd\x00\x00\x00\x70\x00\x01s\xc1\x10\x27\xff");
        if (i >= 2)
            raw_trailer(s);
        keyspace_flush(s->other, -1, false);
        load_ok(s);
        assert_int_equal(keyspace_size(s->other, 5), 2);
        const struct keyref ref = keyspace_key(s->other, SLICE_LIT("s"));
        const struct entry *e = keyspace_peek(s->other, 5, &ref);
        int64_t v;
        assert_true(entry_string_is_int(e, &v));
        assert_int_equal(v, 10000);
        assert_int_equal(entry_deadline_ms(e), INT64_C(0x70000000) * 1000);
        assert_int_equal(s->result.bytes, s->out.len);
    }
}

static void test_unknown_versions(void **state) {
    struct setup *s = *state;
    RAW(s, "REDIS0013", "\xff");
    assert_refused(s, RDB_ERR_UNSUPPORTED, "version 13");
    RAW(s, "REDIS0000", "\xff");
    assert_refused(s, RDB_ERR_UNSUPPORTED, "version 0");
    RAW(s, "REDIS00x1", "\xff");
    assert_refused(s, RDB_ERR_FORMAT, "not a number");
    RAW(s, "VALKEY081", "\xff");
    assert_refused(s, RDB_ERR_UNSUPPORTED, "version 81");
    RAW(s, "RUDIS0011", "\xff");
    assert_refused(s, RDB_ERR_FORMAT, "no snapshot");
    RAW(s, "REDIS", "");
    assert_refused(s, RDB_ERR_TRUNCATED, "ends early");
}

static void test_other_records(void **state) {
    struct setup *s = *state;
    RAW(s, "REDIS0012",
        "\xfa\x07unknown\x03say" /* aux */
        "\xf7\x81\x01\x02\x03\x04\x05\x06\x07\x08\x02\x01\x01\x05\x03\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"
        "\x00\x05\x02hi\x00"      /* module aux */
        "\xfe\x00\xfb\x01\x00"    /* select, resize */
        "\xf4\x07\x01\x00"        /* slot info */
        "\xf3\x03job\x01\x00\x05" /* slot import */
        "\xf8\x40\xff\xf9\x05\x00\x01k\x01v"
        "\xff");
    raw_trailer(s);
    load_ok(s);
    assert_int_equal(s->result.module_aux, 1);
    assert_int_equal(s->result.keys_loaded, 1);
}

static int take_function(void *arg, struct slice code, const char **ret_text) {
    struct buf *b = arg;
    buf_append_slice(b, code);
    *ret_text = "no such engine";
    return code.n > 4;
}

static void test_functions(void **state) {
    struct setup *s = *state;
    struct buf code;
    buf_init(&code);
    RAW(s, "REDIS0010", "\xf5\x04#!lu\xff");
    raw_trailer(s);
    assert_refused(s, RDB_ERR_UNSUPPORTED, "function libraries are not supported at offset 9");
    s->lo.skip_functions = true;
    load_ok(s);
    s->lo.skip_functions = false;
    s->lo.function = take_function;
    s->lo.function_arg = &code;
    load_ok(s);
    assert_int_equal(s->result.functions, 1);
    assert_bytes_are(code.data, code.len, "#!lu");
    RAW(s, "REDIS0010", "\xf5\x05#!lua\xff");
    raw_trailer(s);
    assert_refused(s, RDB_ERR_FORMAT, "no such engine");
    RAW(s, "REDIS0010", "\xf6\x05#!lua\xff");
    assert_refused(s, RDB_ERR_UNSUPPORTED, "release candidates");
    buf_deinit(&code);
}

static void test_faults_are_named(void **state) {
    struct setup *s = *state;
    RAW(s, "REDIS0011", "\xfe\x00\x07\x04name\x01\x0b");
    assert_refused(s, RDB_ERR_UNSUPPORTED,
                   "cannot load a key: value type 7 (module) is not supported at offset 11, key 'name'");
    RAW(s, "REDIS0011", "\xfe\x00\x00\x03key\x05val");
    assert_refused(s, RDB_ERR_TRUNCATED, "key 'key'");
    RAW(s, "REDIS0011", "\xfe\x00\x00\x03key\x80\x7f\xff\xff\xffval");
    assert_refused(s, RDB_ERR_TRUNCATED, "a string of 2147483647 bytes is announced, but only 3 are left");
    RAW(s, "REDIS0011", "\xfe\x00\x00\x03key\x81\xff\xff\xff\xff\xff\xff\xff\xffval");
    assert_refused(s, RDB_ERR_TRUNCATED, "is announced");
    RAW(s, "REDIS0011", "\xfe\x00\x00\x03key\x82val");
    assert_refused(s, RDB_ERR_FORMAT, "0x82 begins no length");
    RAW(s, "REDIS0011", "\xfe\x00\x00\x03key\xc4val");
    assert_refused(s, RDB_ERR_FORMAT, "0xc4 begins no string");
    RAW(s, "REDIS0011", "\xfe\x00\xc8");
    assert_refused(s, RDB_ERR_FORMAT, "200 is no record");
    RAW(s, "REDIS0011", "\xfe\x00\x08\x01k");
    assert_refused(s, RDB_ERR_FORMAT, "8 is no record");
    RAW(s, "REDIS0011", "\xfe\x10\x00\x01k\x01v\xff");
    assert_refused(s, RDB_ERR_FORMAT, "database 16 is selected");
    RAW(s, "REDIS0011", "\xfe\x00\x00\x01k\xc3\x03\x40\x80xyz\xff");
    assert_refused(s, RDB_ERR_FORMAT, "does not decompress");
    RAW(s, "REDIS0011", "\xfe\x00\x00\x01k\xc3\x03\x80\x7f\xff\xff\xffxyz\xff");
    assert_refused(s, RDB_ERR_FORMAT, "claims that 3 bytes become 2147483647");
    RAW(s, "REDIS0011", "\xfe\x00\x00\x01k\x01v\x00\x01k\x01w\xff");
    assert_refused(s, RDB_ERR_DUPLICATE, "for the second time in database 0 at offset 16, key 'k'");
    RAW(s, "REDIS0011", "\xfe\x00\xff\x01\x02\x03\x04\x05\x06\x07\x08");
    assert_refused(s, RDB_ERR_CHECKSUM, "does not match");
    RAW(s, "REDIS0011", "\xfe\x00\xff");
    raw_trailer(s);
    buf_append_cstr(&s->out, "more");
    assert_refused(s, RDB_ERR_FORMAT, "behind the end");
    s->lo.trailing = true;
    load_ok(s);
    assert_int_equal(s->result.bytes, s->out.len - 4);
}

static void test_zero_checksum_is_accepted(void **state) {
    struct setup *s = *state;
    RAW(s, "REDIS0011", "\xfe\x00\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0");
    load_ok(s);
    assert_false(s->result.checksum_checked);
}

static void test_every_truncation_is_noticed(void **state) {
    struct setup *s = *state;
    common_put_text(s->ks, "key", "some value that is here and goes on and on and on and on and on");
    common_put(s->ks, 2, SLICE_LIT("k2"), value_string_int(70000), NOW_MS);
    for (enum rdb_codec codec = RDB_CODEC_NONE; codec <= RDB_CODEC_ZLIB; codec++) {
        buf_clear(&s->out);
        common_save(s->ks, &s->so, codec, &s->out);
        for (size_t n = 0; n < s->out.len; n++) {
            keyspace_flush(s->other, -1, false);
            assert_int_equal(common_load(slice_of(s->out.data, n), s->other, &s->lo, &s->result, &s->error), -1);
            assert_int_not_equal(s->error.code, RDB_OK);
        }
    }
}

struct damage {
    uint64_t at;
    bool found;
};

static void see_damage(void *arg, uint64_t from, uint64_t to) {
    struct damage *d = arg;
    d->found |= d->at >= from && d->at < to;
}

static void check_flip(struct setup *s, size_t byte, unsigned bit) {
    struct rdb_reader r;
    struct damage d = {.at = byte};
    uint64_t chunks;
    s->out.data[byte] ^= (char)(1 << bit);
    keyspace_flush(s->other, -1, false);
    if (common_load(buf_slice(&s->out), s->other, &s->lo, &s->result, &s->error) == 0)
        fail_msg("the loader missed bit %u of byte %zu", bit, byte);
    if (byte < s->error.damage_from || byte >= s->error.damage_to + 1)
        fail_msg("bit %u of byte %zu is not in [%llu, %llu): %s", bit, byte, (unsigned long long)s->error.damage_from,
                 (unsigned long long)s->error.damage_to, s->error.text);
    assert_int_equal(rdb_reader_init_slice(&r, buf_slice(&s->out), false), 0);
    assert_int_equal(rdb_check_chunks(&r, see_damage, &d, &chunks, &s->error), 0);
    rdb_reader_deinit(&r);
    if (!d.found && chunks > 0)
        fail_msg("the scan of chunks missed bit %u of byte %zu", bit, byte);
    s->out.data[byte] ^= (char)(1 << bit);
}

/* Magic and version are found by the loader, or make it another format. */
static void test_every_flipped_bit_is_found(void **state) {
    struct setup *s = *state;
    common_put_text(s->ks, "key", "some value that is here and goes on and on and on and on and on");
    common_put_text(s->ks, "number", "70000");
    common_put(s->ks, 2, SLICE_LIT("k2"), value_string(SLICE_LIT("v")), NOW_MS);
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    for (size_t byte = 0; byte < s->out.len; byte++)
        for (unsigned bit = 0; bit < 8; bit++)
            check_flip(s, byte, bit);
}

static void test_damage_is_located_between_marks(void **state) {
    struct setup *s = *state;
    common_fill(s->ks, FILLER);
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    for (size_t byte = 10007; byte < s->out.len; byte += 130003) {
        check_flip(s, byte, (unsigned)(byte % 8));
        s->out.data[byte] ^= 4;
        keyspace_flush(s->other, -1, false);
        assert_int_equal(common_load(buf_slice(&s->out), s->other, &s->lo, &s->result, &s->error), -1);
        if (s->error.code == RDB_ERR_CHECKSUM) {
            assert_true(s->error.damage_to - s->error.damage_from < 2 * 1024 * 1024);
            assert_string_not_equal(s->error.key, "");
        }
        s->out.data[byte] ^= 4;
    }
}

static void test_flips_in_compressed_files_are_found(void **state) {
    struct setup *s = *state;
    common_put_text(s->ks, "key", "some value that is here and goes on and on and on and on and on");
    for (unsigned i = 0; i < 60; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i * 7919);
        common_put_text(s->ks, key, key);
    }
    for (enum rdb_codec codec = RDB_CODEC_LZ4; codec <= RDB_CODEC_ZLIB; codec++) {
        buf_clear(&s->out);
        common_save(s->ks, &s->so, codec, &s->out);
        for (size_t i = 0; i < 8 * s->out.len; i++) {
            s->out.data[i / 8] ^= (char)(1 << (i % 8));
            keyspace_flush(s->other, -1, false);
            if (common_load(buf_slice(&s->out), s->other, &s->lo, &s->result, &s->error) == 0) {
                /* What the format does not protect may differ only where nothing of ours lies. */
                common_assert_equal(s->ks, s->other);
                fail_msg("%s: bit %zu of byte %zu was missed", rdb_codec_name(codec), i % 8, i / 8);
            }
            s->out.data[i / 8] ^= (char)(1 << (i % 8));
        }
    }
}

/* ---- sources, sinks, callbacks ---- */

struct trickle {
    struct slice s;
    unsigned step;
};

static ssize_t trickle(void *arg, void *p, size_t n) {
    struct trickle *t = arg;
    size_t k = 1 + t->step++ % 4093;
    k = k < n ? k : n;
    k = k < t->s.n ? k : t->s.n;
    memcpy(p, t->s.p, k);
    t->s.p += k;
    t->s.n -= k;
    return (ssize_t)k;
}

static int gather(void *arg, const void *p, size_t n) {
    buf_append(arg, p, n);
    return 0;
}

static void test_streams_in_pieces(void **state) {
    struct setup *s = *state;
    common_fill(s->ks, 3000);
    for (enum rdb_codec codec = RDB_CODEC_NONE; codec <= RDB_CODEC_ZLIB; codec++) {
        struct rdb_writer w;
        struct rdb_reader r;
        buf_clear(&s->out);
        rdb_writer_init_sink(&w, gather, &s->out, codec);
        assert_int_equal(rdb_save(&w, s->ks, &s->so, NULL, &s->error), 0);
        rdb_writer_deinit(&w);
        struct trickle t = {buf_slice(&s->out), 0};
        keyspace_flush(s->other, -1, false);
        assert_int_equal(rdb_reader_init_source(&r, trickle, &t, codec == RDB_CODEC_NONE ? UINT64_MAX : s->out.len), 0);
        if (rdb_load(&r, s->other, &s->lo, &s->result, &s->error) != 0)
            fail_msg("%s", s->error.text);
        rdb_reader_deinit(&r);
        common_assert_equal(s->ks, s->other);
    }
}

static int full_sink(void *arg, const void *p, size_t n) {
    size_t *left = arg;
    (void)p;
    if (n > *left)
        return -ENOSPC;
    *left -= n;
    return 0;
}

static void test_a_failing_sink_fails_the_save(void **state) {
    struct setup *s = *state;
    common_fill(s->ks, 3000);
    struct rdb_writer w;
    size_t left = 300000;
    rdb_writer_init_sink(&w, full_sink, &left, RDB_CODEC_NONE);
    assert_int_equal(rdb_save(&w, s->ks, &s->so, NULL, &s->error), -1);
    rdb_writer_deinit(&w);
    assert_int_equal(s->error.code, RDB_ERR_IO);
    assert_int_equal(s->error.sys_errno, ENOSPC);
}

static ssize_t broken_source(void *arg, void *p, size_t n) {
    struct trickle *t = arg;
    return t->s.n == 0 ? -EIO : trickle(arg, p, n);
}

static void test_a_failing_source_fails_the_load(void **state) {
    struct setup *s = *state;
    struct rdb_reader r;
    common_fill(s->ks, 3000);
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    struct trickle t = {slice_of(s->out.data, 200000), 0};
    assert_int_equal(rdb_reader_init_source(&r, broken_source, &t, UINT64_MAX), 0);
    assert_int_equal(rdb_load(&r, s->other, &s->lo, &s->result, &s->error), -1);
    rdb_reader_deinit(&r);
    assert_int_equal(s->error.code, RDB_ERR_IO);
    assert_int_equal(s->error.sys_errno, EIO);
}

static int count_saves(void *arg, const struct rdb_save_progress *p) {
    unsigned *left = arg;
    assert_true(p->keys > 0);
    return --*left == 0;
}

static int count_yields(void *arg, const struct rdb_load_progress *p) {
    unsigned *left = arg;
    assert_true(p->bytes > 0);
    return --*left == 0;
}

static void test_progress_and_stopping(void **state) {
    struct setup *s = *state;
    struct rdb_writer w;
    unsigned left = 3;
    common_fill(s->ks, 30000);
    s->so.progress = count_saves;
    s->so.progress_arg = &left;
    rdb_writer_init_buf(&w, &s->out, RDB_CODEC_NONE);
    assert_int_equal(rdb_save(&w, s->ks, &s->so, NULL, &s->error), -1);
    rdb_writer_deinit(&w);
    assert_int_equal(s->error.code, RDB_ERR_ABORTED);
    assert_int_equal(left, 0);
    left = UINT32_MAX;
    buf_clear(&s->out);
    common_save(s->ks, &s->so, RDB_CODEC_NONE, &s->out);
    assert_true(UINT32_MAX - left >= 20);

    s->lo.yield = count_yields;
    s->lo.yield_arg = &left;
    s->lo.yield_every_bytes = 65536;
    left = 5;
    assert_int_equal(common_load(buf_slice(&s->out), s->other, &s->lo, &s->result, &s->error), -1);
    assert_int_equal(s->error.code, RDB_ERR_ABORTED);
    left = UINT32_MAX;
    keyspace_flush(s->other, -1, false);
    load_ok(s);
    assert_true(UINT32_MAX - left >= s->out.len / 65536 / 2);
}

/* ---- DUMP and RESTORE ---- */

static int dump_each(void *arg, const struct entry *e) {
    struct setup *s = arg;
    struct value v;
    const char *text;
    char x[24], y[24];
    for (unsigned compress = 0; compress < 2; compress++) {
        buf_clear(&s->out);
        buf_append_cstr(&s->out, "front");
        assert_int_equal(rdb_dump_value(e, 10, compress, &s->out), 0);
        assert_memory_equal(s->out.data, "front", 5);
        struct slice payload = slice_of(s->out.data + 5, s->out.len - 5);
        assert_int_equal(load_le16(payload.p + payload.n - 10), 10);
        if (rdb_restore_value(payload, &deep_load, false, &v, &text) != 0)
            fail_msg("%s", text);
        const struct keyref ref = keyspace_key(s->other, entry_key(e));
        const struct entry *o = keyspace_put(s->other, 0, &ref, v, KEYSPACE_NO_DEADLINE);
        struct slice a = entry_string(e, x), b = entry_string(o, y);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.p, b.p, a.n);
        assert_string_equal(value_encoding_name(entry_encoding(e)), value_encoding_name(entry_encoding(o)));
    }
    assert_int_equal(rdb_dump_value(e, 9, false, &s->out), -1);
    return 0;
}

static void test_dump_and_restore(void **state) {
    struct setup *s = *state;
    common_fill(s->ks, 200);
    assert_int_equal(keyspace_each(s->ks, 0, dump_each, s), 0);
    keyspace_check(s->other);
}

static void restore_refused(struct slice payload, const char *words) {
    struct value v;
    const char *text;
    assert_int_equal(rdb_restore_value(payload, &deep_load, false, &v, &text), -1);
    assert_string_equal(text, words);
}

static void payload(struct buf *b, const char *body, size_t n, unsigned version) {
    char footer[10];
    buf_clear(b);
    buf_append(b, body, n);
    store_le16(footer, (uint16_t)version);
    buf_append(b, footer, 2);
    store_le64(footer + 2, crc64(0, b->data, b->len));
    buf_append(b, footer + 2, 8);
}

static void test_restore_refuses(void **state) {
    struct setup *s = *state;
    struct buf *b = &s->out;
    struct value v;
    const char *text;
    restore_refused(SLICE_LIT(""), RDB_RESTORE_BAD_TRAILER);
    restore_refused(SLICE_LIT("\x00\x01v\x0a"), RDB_RESTORE_BAD_TRAILER);
    payload(b, "\x00\x01v", 3, 13);
    restore_refused(buf_slice(b), RDB_RESTORE_BAD_TRAILER);
    payload(b, "\x00\x01v", 3, 12);
    assert_int_equal(rdb_restore_value(buf_slice(b), &deep_load, false, &v, &text), 0);
    b->data[b->len - 1] ^= 1;
    restore_refused(buf_slice(b), RDB_RESTORE_BAD_TRAILER);
    assert_int_equal(rdb_restore_value(buf_slice(b), &deep_load, true, &v, &text), 0);
    payload(b, "", 0, 10);
    restore_refused(buf_slice(b), RDB_RESTORE_BAD_FORMAT);
    payload(b, "\x00\x02v", 3, 10);
    restore_refused(buf_slice(b), RDB_RESTORE_BAD_FORMAT);
    payload(b, "\x00\x01vv", 4, 10);
    restore_refused(buf_slice(b), RDB_RESTORE_BAD_FORMAT);
    payload(b, "\x0e\x00", 2, 10);
    restore_refused(buf_slice(b), RDB_RESTORE_BAD_FORMAT);
    payload(b, "\x63\x00", 2, 10);
    restore_refused(buf_slice(b), RDB_RESTORE_BAD_FORMAT);
}

static void test_missing_file(void **state) {
    struct setup *s = *state;
    assert_int_equal(rdb_load_file(fs_posix(), "/nonexistent/dump.rdb", s->other, &s->lo, &s->result, &s->error), -1);
    assert_int_equal(s->error.code, RDB_ERR_IO);
    assert_int_equal(s->error.sys_errno, ENOENT);
}

static void test_recognises_snapshots(void **state) {
    (void)state;
    assert_true(rdb_is_snapshot(SLICE_LIT("REDIS0011")));
    assert_true(rdb_is_snapshot(SLICE_LIT("VALKEY080")));
    assert_true(rdb_is_snapshot(SLICE_LIT("\x04\x22\x4d\x18xxxxx")));
    assert_true(rdb_is_snapshot(SLICE_LIT("\x1f\x8bxxxxxxx")));
    assert_false(rdb_is_snapshot(SLICE_LIT("*3\r\n$3\r\nSE")));
    assert_false(rdb_is_snapshot(SLICE_LIT("")));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_round_trip),
        T(test_no_checksum),
        T(test_checksum_not_wanted),
        T(test_replication_fields),
        T(test_expired_keys),
        T(test_access_clocks),
        T(test_old_versions),
        T(test_unknown_versions),
        T(test_other_records),
        T(test_functions),
        T(test_faults_are_named),
        T(test_zero_checksum_is_accepted),
        T(test_every_truncation_is_noticed),
        T(test_every_flipped_bit_is_found),
        T(test_damage_is_located_between_marks),
        T(test_flips_in_compressed_files_are_found),
        T(test_streams_in_pieces),
        T(test_a_failing_sink_fails_the_save),
        T(test_a_failing_source_fails_the_load),
        T(test_progress_and_stopping),
        T(test_dump_and_restore),
        T(test_restore_refuses),
        T(test_missing_file),
        T(test_recognises_snapshots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
