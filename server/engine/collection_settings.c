/* The options that decide which encoding a collection has: rows over the limits that the keyspace's rules carry. */
#include "config.h"

#include "server/engine/engine_int.h"

#include "server/engine/settings.h"
#include "server/store/collection.h"

void engine_apply_limits(struct engine *e) {
    if (e->ks != NULL)
        keyspace_rules(e->ks)->limits = e->limits;
}

static int apply(void *ctx, struct buf *error) {
    (void)error;
    engine_apply_limits(ctx);
    return 0;
}

#define FIELD(name) offsetof(struct collection_limits, name)

static const struct setting rows[] = {
    {.name = "hash-max-listpack-entries",
     .alias = "hash-max-ziplist-entries",
     .type = SETTING_INT,
     .initial = "512",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(hash_max_listpack_entries),
     .apply = apply},
    {.name = "hash-max-listpack-value",
     .alias = "hash-max-ziplist-value",
     .type = SETTING_MEMORY,
     .initial = "64",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(hash_max_listpack_value),
     .apply = apply},
    {.name = "set-max-intset-entries",
     .type = SETTING_INT,
     .initial = "512",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(set_max_intset_entries),
     .apply = apply},
    {.name = "set-max-listpack-entries",
     .type = SETTING_INT,
     .initial = "128",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(set_max_listpack_entries),
     .apply = apply},
    {.name = "set-max-listpack-value",
     .type = SETTING_INT,
     .initial = "64",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(set_max_listpack_value),
     .apply = apply},
    {.name = "zset-max-listpack-entries",
     .alias = "zset-max-ziplist-entries",
     .type = SETTING_INT,
     .initial = "128",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(zset_max_listpack_entries),
     .apply = apply},
    {.name = "zset-max-listpack-value",
     .alias = "zset-max-ziplist-value",
     .type = SETTING_MEMORY,
     .initial = "64",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(zset_max_listpack_value),
     .apply = apply},
    {.name = "list-max-listpack-size",
     .alias = "list-max-ziplist-size",
     .type = SETTING_INT,
     .initial = "-2",
     .min = INT32_MIN,
     .max = INT32_MAX,
     .offset = FIELD(list_max_listpack_size),
     .apply = apply},
    {.name = "list-compress-depth",
     .type = SETTING_INT,
     .initial = "0",
     .min = 0,
     .max = INT32_MAX,
     .offset = FIELD(list_compress_depth),
     .apply = apply},
    {.name = "stream-node-max-bytes",
     .type = SETTING_MEMORY,
     .initial = "4096",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(stream_node_max_bytes),
     .apply = apply},
    {.name = "stream-node-max-entries",
     .type = SETTING_INT,
     .initial = "100",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(stream_node_max_entries),
     .apply = apply},
    {.name = "hll-sparse-max-bytes",
     .type = SETTING_MEMORY,
     .initial = "3000",
     .min = 0,
     .max = INT64_MAX,
     .offset = FIELD(hll_sparse_max_bytes),
     .apply = apply},
};

void engine_register_collection_settings(struct engine *e) {
    settings_register(e->settings, rows, sizeof rows / sizeof rows[0], &e->limits, e);
}
