/* The table of value codecs. A type gets its row here when its file is there. */
#include "config.h"

#include "persistence/rdb/codec.h"

#include <stddef.h>

static const struct rdb_value_codec *const codecs[VALUE_TYPES] = {
    [VALUE_STRING] = &rdb_string_codec,
    [VALUE_HASH] = &rdb_hash_codec,
    [VALUE_SET] = &rdb_set_codec,
    [VALUE_LIST] = &rdb_list_codec,
    [VALUE_ZSET] = &rdb_zset_codec,
    [VALUE_STREAM] = &rdb_stream_codec,
};

static const char *const type_names[RDB_TYPES] = {
    [RDB_TYPE_STRING] = "string",
    [RDB_TYPE_LIST] = "list",
    [RDB_TYPE_SET] = "set",
    [RDB_TYPE_ZSET] = "zset, scores as text",
    [RDB_TYPE_HASH] = "hash",
    [RDB_TYPE_ZSET_2] = "zset",
    [RDB_TYPE_MODULE_PRE_GA] = "module, pre-release form",
    [RDB_TYPE_MODULE_2] = "module",
    [RDB_TYPE_HASH_ZIPMAP] = "hash, zipmap",
    [RDB_TYPE_LIST_ZIPLIST] = "list, ziplist",
    [RDB_TYPE_SET_INTSET] = "set, intset",
    [RDB_TYPE_ZSET_ZIPLIST] = "zset, ziplist",
    [RDB_TYPE_HASH_ZIPLIST] = "hash, ziplist",
    [RDB_TYPE_LIST_QUICKLIST] = "list, quicklist of ziplists",
    [RDB_TYPE_STREAM_LISTPACKS] = "stream",
    [RDB_TYPE_HASH_LISTPACK] = "hash, listpack",
    [RDB_TYPE_ZSET_LISTPACK] = "zset, listpack",
    [RDB_TYPE_LIST_QUICKLIST_2] = "list, quicklist of listpacks",
    [RDB_TYPE_STREAM_LISTPACKS_2] = "stream, second form",
    [RDB_TYPE_SET_LISTPACK] = "set, listpack",
    [RDB_TYPE_STREAM_LISTPACKS_3] = "stream, third form",
    [RDB_TYPE_HASH_METADATA_PRE_GA] = "hash with field deadlines, pre-release form",
    [RDB_TYPE_HASH_LISTPACK_EX_PRE_GA] = "hash with field deadlines, listpack, pre-release form",
    [RDB_TYPE_HASH_METADATA] = "hash with field deadlines",
    [RDB_TYPE_HASH_LISTPACK_EX] = "hash with field deadlines, listpack",
};

const char *rdb_type_name(unsigned type) {
    if (type == RDB_TYPE_HASH_2)
        return "hash with field deadlines, Valkey's form";
    return type < RDB_TYPES ? type_names[type] : NULL;
}

unsigned rdb_type_number(unsigned type) {
    return type == RDB_TYPE_HASH_2 ? 22 : type;
}

const struct rdb_value_codec *rdb_codec_for_value(enum value_type type) {
    return (unsigned)type < VALUE_TYPES ? codecs[type] : NULL;
}

const struct rdb_value_codec *rdb_codec_for_rdb_type(unsigned rdb_type) {
    unsigned bit = rdb_type == RDB_TYPE_HASH_2 ? 63 : rdb_type;
    if (bit > 63)
        return NULL;
    for (unsigned t = 0; t < VALUE_TYPES; t++)
        if (codecs[t] != NULL && (codecs[t]->loads >> bit & 1) != 0)
            return codecs[t];
    return NULL;
}
