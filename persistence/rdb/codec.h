/* The value codecs: one file per data type, registered in the table of codec.c. Internal to persistence/rdb and its
 * tests.
 *
 * A codec writes the values of one enum value_type and reads the RDB value types that make them. A type that is in no
 * codec cannot be loaded yet: the loader names key, type and offset.
 *
 * Thread: as the reader or writer passed. Errors: saving leaves them in the writer; loading fills the reader's error.
 */
#ifndef HF_RDB_CODEC_H
#define HF_RDB_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "persistence/rdb/rdb.h"
#include "server/store/entry.h"
#include "server/store/value.h"

/* Value types of the files. */
enum rdb_type {
    RDB_TYPE_STRING = 0,
    RDB_TYPE_LIST = 1,
    RDB_TYPE_SET = 2,
    RDB_TYPE_ZSET = 3, /* scores as text */
    RDB_TYPE_HASH = 4,
    RDB_TYPE_ZSET_2 = 5, /* scores as binary doubles */
    RDB_TYPE_MODULE_PRE_GA = 6,
    RDB_TYPE_MODULE_2 = 7,
    RDB_TYPE_HASH_ZIPMAP = 9,
    RDB_TYPE_LIST_ZIPLIST = 10,
    RDB_TYPE_SET_INTSET = 11,
    RDB_TYPE_ZSET_ZIPLIST = 12,
    RDB_TYPE_HASH_ZIPLIST = 13,
    RDB_TYPE_LIST_QUICKLIST = 14,
    RDB_TYPE_STREAM_LISTPACKS = 15,
    RDB_TYPE_HASH_LISTPACK = 16,
    RDB_TYPE_ZSET_LISTPACK = 17,
    RDB_TYPE_LIST_QUICKLIST_2 = 18,
    RDB_TYPE_STREAM_LISTPACKS_2 = 19,
    RDB_TYPE_SET_LISTPACK = 20,
    RDB_TYPE_STREAM_LISTPACKS_3 = 21,
    RDB_TYPE_HASH_METADATA_PRE_GA = 22, /* in VALKEY files: RDB_TYPE_HASH_2 */
    RDB_TYPE_HASH_LISTPACK_EX_PRE_GA = 23,
    RDB_TYPE_HASH_METADATA = 24,
    RDB_TYPE_HASH_LISTPACK_EX = 25,
    RDB_TYPES = 26,
    /* Not a number of the files: type 22 as Valkey 9 means it. */
    RDB_TYPE_HASH_2 = 64 + 22,
};

/* "list, quicklist of ziplists"; NULL for a number that is no type. */
const char *rdb_type_name(unsigned type);

/* The number that stands in the file. */
unsigned rdb_type_number(unsigned type);

struct rdb_value_codec {
    enum value_type type;
    /* Bit n: reads RDB value type n; RDB_TYPE_HASH_2 is bit 63. */
    uint64_t loads;
    /* The lowest version whose types hold this value. */
    unsigned (*min_version)(const struct entry *e);
    /* The type byte that a file of `version` (≥ min_version) gets for it. */
    uint8_t (*wire_type)(const struct entry *e, unsigned version);
    /* Writes the value behind type and key. */
    void (*save)(struct rdb_writer *w, const struct entry *e, unsigned version, bool compress);
    /* Reads a value: 0 and an owned or borrowed value (bytes stay until the next call on r); 1 where it is a collection
     * without elements, to be skipped; -1 with r's error set. */
    int (*load)(struct rdb_reader *r, unsigned rdb_type, const struct rdb_load_context *with, struct value *ret_value);
    /* NULL, or writes what the types of versions under min_version do not hold of e, as aux records of the name
     * RDB_NOTE_NAME that stand before its key; the value itself is saved without it then. */
    void (*annotate)(struct rdb_writer *w, const struct entry *e);
    /* Applies the values of these records, joined, to the value that was loaded. NULL or what is wrong. */
    const char *(*take_notes)(const struct collection_rules *rules, struct slice notes, struct value *inout_value);
};
#define RDB_NOTE_NAME "hf-note"

/* NULL where this build has no codec. */
const struct rdb_value_codec *rdb_codec_for_value(enum value_type type);
const struct rdb_value_codec *rdb_codec_for_rdb_type(unsigned rdb_type);

extern const struct rdb_value_codec rdb_string_codec;
extern const struct rdb_value_codec rdb_hash_codec;
extern const struct rdb_value_codec rdb_set_codec;
extern const struct rdb_value_codec rdb_list_codec;
extern const struct rdb_value_codec rdb_zset_codec;
extern const struct rdb_value_codec rdb_stream_codec;

#endif
