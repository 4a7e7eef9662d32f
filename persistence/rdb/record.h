/* The records of a snapshot, one after the other: what the loader and the check tool have in common. Internal to
 * persistence/rdb and its tests.
 *
 * The value behind a key is left to the caller (codec.h or walk.h). Chunk checksums are verified here and not shown.
 * Thread, errors: as the reader.
 */
#ifndef HF_RDB_RECORD_H
#define HF_RDB_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "persistence/rdb/io.h"

enum rdb_opcode {
    RDB_RECORD_KEY = 0, /* not an opcode: a key with its value */
    RDB_OP_SLOT_IMPORT = 243,
    RDB_OP_SLOT_INFO = 244,
    RDB_OP_FUNCTION = 245,
    RDB_OP_FUNCTION_PRE_GA = 246,
    RDB_OP_MODULE_AUX = 247,
    RDB_OP_IDLE = 248,
    RDB_OP_FREQ = 249,
    RDB_OP_AUX = 250,
    RDB_OP_RESIZEDB = 251,
    RDB_OP_EXPIRE_MS = 252,
    RDB_OP_EXPIRE_S = 253,
    RDB_OP_SELECTDB = 254,
    RDB_OP_EOF = 255,
};

/* The magic and the version's digits. */
#define RDB_HEADER_BYTES 9
#define RDB_TRAILER_BYTES 8
/* Chunk checksums: an aux field of this name, whose value is the offset of the record itself and the CRC-64 of all
 * bytes before it, 16 hexadecimal digits each, with a colon between. One follows about each MiB and one stands before
 * the end. */
#define RDB_MARK_NAME "hf-crc"
#define RDB_MARK_EVERY_BYTES (1024 * 1024)
#define RDB_MARK_VALUE_CHARS 33
#define RDB_MARK_BYTES (1 + 1 + sizeof RDB_MARK_NAME - 1 + 1 + RDB_MARK_VALUE_CHARS)

/* 0, or -1 where the text is not a mark's value. */
int rdb_mark_parse(struct slice value, uint64_t *ret_offset, uint64_t *ret_crc) __attribute__((warn_unused_result));

struct rdb_stream {
    unsigned version;
    bool valkey;
    bool verify; /* checksums are looked at */
    uint64_t chunks_checked;
    uint64_t module_aux, slot_imports;
    bool checksum_checked; /* the trailer was there, not 0, and matched */
};

struct rdb_record {
    enum rdb_opcode kind;     /* AUX, SELECTDB, RESIZEDB, SLOT_INFO, FUNCTION, EOF; for a key: RDB_RECORD_KEY */
    uint64_t offset;          /* of its first byte */
    uint64_t n[3];            /* SELECTDB: db; RESIZEDB: keys, deadlines; SLOT_INFO: slot, keys, deadlines */
    struct slice name, value; /* AUX (name in r->key), FUNCTION (value): until the next call on the reader */
    /* Key: its bytes are in r->key until the next record. */
    unsigned type; /* enum rdb_type, with RDB_TYPE_HASH_2 told apart */
    struct slice key;
    int64_t deadline_ms; /* -1: none; never another negative */
    int64_t idle_s;      /* -1: not given */
    int freq;            /* -1: not given */
};

/* The header. verify: look at checksums. */
int rdb_stream_begin(struct rdb_reader *r, bool verify, struct rdb_stream *ret_s) __attribute__((warn_unused_result));
/* The next record. At RDB_OP_EOF the trailer was read and verified. */
int rdb_stream_next(struct rdb_reader *r, struct rdb_stream *s, struct rdb_record *ret_rec)
    __attribute__((warn_unused_result));
/* A deadline as files state it: -1 stays, any other negative is long past. */
static inline int64_t rdb_deadline(int64_t ms) {
    return ms < -1 ? 0 : ms;
}
/* The loader's shortcut saw a key without rdb_stream_next(): for messages. */
void rdb_stream_note_key(struct rdb_reader *r, struct slice key);
/* Reads past a module's values up to its end mark. */
int rdb_skip_module(struct rdb_reader *r, bool deep) __attribute__((warn_unused_result));

#endif
