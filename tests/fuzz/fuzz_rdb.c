/* Snapshots: whatever the bytes, loading, checking and looking for chunks end with a result and stay inside. What loads
 * can be saved, and loads again to the same number of keys. The first byte chooses: checksums looked at or not, deep or
 * not, compressed input allowed or not. */
#include "config.h"

#include <stdint.h>

#include "persistence/rdb/check.h"
#include "persistence/rdb/rdb.h"
#include "server/base/assert.h"
#include "server/base/buf.h"

#define NOW_MS INT64_C(1700000000000)
#define VERIFY 1
#define DEEP 2
#define CODEC 4
#define EXPIRE 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keyspace *make(void) {
    struct keyspace_options o = {.databases = 16, .rng_seed = 7};
    hash_key_init(&o.hash_key, "seed", 4);
    struct keyspace *ks = keyspace_create(&o);
    keyspace_set_now_ms(ks, NOW_MS);
    keyspace_set_expiry(ks, KEYSPACE_EXPIRE_IGNORE);
    return ks;
}

static void save_again(const struct keyspace *ks, uint64_t keys) {
    struct buf out = BUF_INIT;
    struct rdb_writer w;
    struct rdb_reader r;
    struct rdb_error error;
    struct rdb_save_options so;
    struct rdb_load_options lo;
    struct rdb_load_result result;
    rdb_save_options_default(&so);
    so.now_ms = NOW_MS;
    rdb_load_options_default(&lo);
    rdb_writer_init_buf(&w, &out, RDB_CODEC_NONE);
    HF_ASSERT(rdb_save(&w, ks, &so, NULL, &error) == 0);
    rdb_writer_deinit(&w);
    struct keyspace *back = make();
    HF_ASSERT(rdb_reader_init_slice(&r, buf_slice(&out), false) == 0);
    HF_ASSERT(rdb_load(&r, back, &lo, &result, &error) == 0);
    HF_ASSERT(result.keys_loaded == keys);
    rdb_reader_deinit(&r);
    keyspace_destroy(back);
    buf_deinit(&out);
}

static void see(void *arg, uint64_t from, uint64_t to) {
    (void)arg;
    HF_ASSERT(from <= to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rdb_reader r;
    struct rdb_error error = RDB_ERROR_INIT;
    struct rdb_load_options lo;
    struct rdb_load_result result;
    struct rdb_check_report report;
    const struct rdb_check_options co = {.now_ms = NOW_MS};
    uint64_t chunks;
    if (size == 0)
        return 0;
    unsigned choice = data[0];
    const struct slice s = slice_of(data + 1, size - 1);
    rdb_load_options_default(&lo);
    lo.checksum = (choice & VERIFY) != 0;
    lo.deep = (choice & DEEP) != 0;
    lo.skip_expired = (choice & EXPIRE) != 0;
    lo.now_ms = NOW_MS;
    lo.skip_functions = true;

    struct keyspace *ks = make();
    int err = rdb_reader_init_slice(&r, s, (choice & CODEC) != 0);
    if (err == 0)
        err = rdb_load(&r, ks, &lo, &result, &error);
    else
        error = r.error;
    rdb_reader_deinit(&r);
    HF_ASSERT((err == 0) == (error.code == RDB_OK));
    keyspace_check(ks);
    if (err == 0)
        save_again(ks, result.keys_loaded);
    keyspace_destroy(ks);

    if (rdb_reader_init_slice(&r, s, (choice & CODEC) != 0) == 0) {
        err = rdb_check(&r, &co, &report, &error);
        HF_ASSERT((err == 0) == (error.code == RDB_OK));
    }
    rdb_reader_deinit(&r);
    if (rdb_reader_init_slice(&r, s, (choice & CODEC) != 0) == 0)
        (void)!rdb_check_chunks(&r, see, NULL, &chunks, &error);
    rdb_reader_deinit(&r);
    return 0;
}
