/* RESTORE: the input is type and value, to which the trailer is added. What is accepted can be put into a keyspace,
 * dumped, and restored to the same bytes. The same input goes through the walk over values and, behind its first byte,
 * through the checks of packed payloads. */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include "persistence/rdb/rdb.h"
#include "persistence/rdb/walk.h"
#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/crc.h"
#include "server/base/endian.h"
#include "server/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void restore(struct slice payload) {
    struct value v, again;
    const char *text;
    struct buf dump = BUF_INIT;
    char a[24], b[24];
    struct keyspace_options o = {.databases = 1, .rng_seed = 7};
    hash_key_init(&o.hash_key, "seed", 4);
    struct keyspace *ks = keyspace_create(&o);
    const struct rdb_load_context with = {.rules = keyspace_rules(ks), .deep = true, .now_ms = 1700000000000};
    if (rdb_restore_value(payload, &with, false, &v, &text) != 0) {
        HF_ASSERT(strcmp(text, RDB_RESTORE_BAD_FORMAT) == 0);
        keyspace_destroy(ks);
        return;
    }
    const struct keyref x = keyspace_key(ks, SLICE_LIT("x")), y = keyspace_key(ks, SLICE_LIT("y"));
    (void)keyspace_put(ks, 0, &x, v, KEYSPACE_NO_DEADLINE);
    HF_ASSERT(rdb_dump_value(keyspace_peek(ks, 0, &x), RDB_VERSION_MAX, true, &dump) == 0);
    HF_ASSERT(rdb_restore_value(buf_slice(&dump), &with, false, &again, &text) == 0);
    (void)keyspace_put(ks, 0, &y, again, KEYSPACE_NO_DEADLINE);
    const struct entry *e = keyspace_peek(ks, 0, &x), *f = keyspace_peek(ks, 0, &y);
    HF_ASSERT(entry_type(e) == entry_type(f) && entry_encoding(e) == entry_encoding(f));
    if (entry_type(e) == VALUE_STRING)
        HF_ASSERT(slice_eq(entry_string(e, a), entry_string(f, b)));
    keyspace_check(ks);
    keyspace_destroy(ks);
    buf_deinit(&dump);
}

static void walk(struct slice value, unsigned type) {
    for (unsigned deep = 0; deep < 2; deep++) {
        struct rdb_reader r;
        struct rdb_walk w;
        HF_ASSERT(rdb_reader_init_slice(&r, value, false) == 0);
        if (rdb_walk_value(&r, type, deep, &w) == 0)
            HF_ASSERT(w.bytes <= value.n);
        rdb_reader_deinit(&r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf payload = BUF_INIT;
    char footer[10];
    uint64_t elements;
    if (size < 1)
        return 0;
    buf_append(&payload, data, size);
    store_le16(footer, 10);
    buf_append(&payload, footer, 2);
    store_le64(footer + 2, crc64(0, payload.data, payload.len));
    buf_append(&payload, footer + 2, 8);
    restore(buf_slice(&payload));
    buf_deinit(&payload);
    /* An allocation of its own, so that a read past its end is seen. */
    char *value = mem_alloc(size - 1);
    memcpy(value, data + 1, size - 1);
    walk(slice_of(value, size - 1), data[0]);
    if (data[0] < 26)
        (void)rdb_check_packed(data[0], slice_of(value, size - 1), &elements);
    mem_free(value);
    return 0;
}
