/* Keyspaces and snapshots for the tests of persistence/. */
#ifndef HF_TESTS_UNIT_RDB_COMMON_H
#define HF_TESTS_UNIT_RDB_COMMON_H

#include "persistence/rdb/rdb.h"
#include "server/base/buf.h"
#include "server/store/keyspace.h"

#define NOW_MS INT64_C(1700000000000)

struct keyspace *common_keyspace(void);
void common_put(struct keyspace *ks, unsigned db, struct slice key, struct value v, int64_t deadline_ms);
void common_put_text(struct keyspace *ks, const char *key, const char *value);
/* Every representation of strings, several databases, deadlines; `filler` more short keys. */
void common_fill(struct keyspace *ks, unsigned filler);
/* Asserts equal keys, values, encodings and deadlines in all databases. */
void common_assert_equal(struct keyspace *a, struct keyspace *b);
/* Saves to out; asserts success. */
void common_save(const struct keyspace *ks, const struct rdb_save_options *o, enum rdb_codec codec, struct buf *out);
int common_load(struct slice snapshot, struct keyspace *ks, const struct rdb_load_options *o,
                struct rdb_load_result *ret_result, struct rdb_error *ret_error);
/* A file below tests/data; asserts that it is there. */
void common_read_data(const char *path, struct buf *out);

#endif
