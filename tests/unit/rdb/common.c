#include "config.h"

#include "tests/unit/rdb/common.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/fs.h"
#include "server/base/mem.h"
#include "tests/support/unit.h"

struct keyspace *common_keyspace(void) {
    struct keyspace_options o = {.databases = 16, .rng_seed = 7};
    hash_key_init(&o.hash_key, "seed", 4);
    struct keyspace *ks = keyspace_create(&o);
    keyspace_set_now_ms(ks, NOW_MS);
    keyspace_set_expiry(ks, KEYSPACE_EXPIRE_IGNORE);
    return ks;
}

void common_put(struct keyspace *ks, unsigned db, struct slice key, struct value v, int64_t deadline_ms) {
    const struct keyref ref = keyspace_key(ks, key);
    assert_non_null(keyspace_put(ks, db, &ref, v, deadline_ms));
}

void common_put_text(struct keyspace *ks, const char *key, const char *value) {
    common_put(ks, 0, slice_cstr(key), value_string(slice_cstr(value)), KEYSPACE_NO_DEADLINE);
}

static void put_block(struct keyspace *ks, const char *key, size_t bytes, bool random) {
    struct rbuf *r = rbuf_create(bytes);
    uint32_t x = 12345;
    for (size_t i = 0; i < bytes; i++) {
        x = x * 1664525 + 1013904223;
        r->data[i] = random ? (char)(x >> 24) : (char)('a' + (i / 100) % 3);
    }
    r->len = bytes;
    common_put(ks, 0, slice_cstr(key), value_string_rbuf_take(r), KEYSPACE_NO_DEADLINE);
}

void common_fill(struct keyspace *ks, unsigned filler) {
    static const int64_t ints[] = {0,         -1,       127,    128,       -128,      -129,
                                   32767,     32768,    -32769, INT32_MAX, INT32_MIN, INT64_C(2147483648),
                                   INT64_MAX, INT64_MIN};
    char key[64];
    char value[128];
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        snprintf(key, sizeof key, "int:%zu", i);
        common_put(ks, 0, slice_cstr(key), value_string_int(ints[i]), KEYSPACE_NO_DEADLINE);
    }
    common_put_text(ks, "empty", "");
    common_put_text(ks, "", "the empty key");
    common_put_text(ks, "12345", "a key of digits");
    common_put_text(ks, "leading", "007");
    common_put_text(ks, "embstr44", "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeee");
    common_put_text(ks, "raw45", "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee");
    common_put(ks, 0, slice_of("bin\0key", 7), value_string(slice_of("\0\r\n\xff", 4)), KEYSPACE_NO_DEADLINE);
    common_put_text(ks, "a key that is longer than twenty bytes and says aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "v");
    put_block(ks, "block:40k:random", 40000, true);
    put_block(ks, "block:40k:regular", 40000, false);
    put_block(ks, "block:300k:random", 300000, true);
    put_block(ks, "block:300k:regular", 300000, false);
    common_put(ks, 0, SLICE_LIT("due:past"), value_string(SLICE_LIT("x")), NOW_MS - 1000);
    common_put(ks, 0, SLICE_LIT("due:future"), value_string(SLICE_LIT("y")), NOW_MS + 1000000);
    common_put(ks, 9, SLICE_LIT("elsewhere"), value_string(SLICE_LIT("z")), NOW_MS + 1);
    for (unsigned i = 0; i < filler; i++) {
        snprintf(key, sizeof key, "filler:%u", i);
        snprintf(
            value, sizeof value, "%u:%.*s", i * 2654435761u, (int)(i % 100),
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
        common_put(ks, i % 2 == 0 ? 0 : 3, slice_cstr(key), value_string(slice_cstr(value)),
                   i % 5 == 0 ? NOW_MS + 5000 + i : KEYSPACE_NO_DEADLINE);
    }
}

struct comparison {
    struct keyspace *other;
    unsigned db;
};

static int compare_entry(void *arg, const struct entry *e) {
    struct comparison *c = arg;
    char x[24], y[24];
    const struct keyref ref = keyspace_key(c->other, entry_key(e));
    const struct entry *o = keyspace_peek(c->other, c->db, &ref);
    assert_non_null(o);
    struct slice a = entry_string(e, x), b = entry_string(o, y);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    assert_int_equal(entry_deadline_ms(e), entry_deadline_ms(o));
    assert_string_equal(value_encoding_name(entry_encoding(e)), value_encoding_name(entry_encoding(o)));
    return 0;
}

void common_assert_equal(struct keyspace *a, struct keyspace *b) {
    for (unsigned db = 0; db < keyspace_databases(a); db++) {
        struct comparison c = {b, db};
        assert_int_equal(keyspace_size(a, db), keyspace_size(b, db));
        assert_int_equal(keyspace_deadlines(a, db), keyspace_deadlines(b, db));
        assert_int_equal(keyspace_each(a, db, compare_entry, &c), 0);
    }
    keyspace_check(b);
}

void common_save(const struct keyspace *ks, const struct rdb_save_options *o, enum rdb_codec codec, struct buf *out) {
    struct rdb_writer w;
    struct rdb_error error;
    rdb_writer_init_buf(&w, out, codec);
    if (rdb_save(&w, ks, o, NULL, &error) != 0)
        fail_msg("saving: %s", error.text);
    rdb_writer_deinit(&w);
}

int common_load(struct slice snapshot, struct keyspace *ks, const struct rdb_load_options *o,
                struct rdb_load_result *ret_result, struct rdb_error *ret_error) {
    struct rdb_reader r;
    int err = rdb_reader_init_slice(&r, snapshot, true);
    if (err == 0)
        err = rdb_load(&r, ks, o, ret_result, ret_error);
    else
        *ret_error = r.error;
    rdb_reader_deinit(&r);
    return err;
}

void common_read_data(const char *path, struct buf *out) {
    char full[512];
    const char *top = getenv("HF_SRCDIR");
    snprintf(full, sizeof full, "%s/tests/data/%s", top != NULL ? top : HF_SRCDIR, path);
    assert_int_equal(fs_read_file(fs_posix(), full, 16 << 20, out), 0);
}
