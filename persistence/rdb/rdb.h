/* Snapshots (RDB): saving a keyspace to a stream, loading one from a stream, and values as DUMP payloads.
 *
 * Reads the versions 1–12 of Redis and 80 of Valkey; writes 10, 11 or 12. Chunk checksums ride in aux fields named
 * `hf-crc`, which other programs skip: see docs/formats/rdb.md. Saving does not change the keyspace and may run in a
 * forked child.
 *
 * Ownership: everything passed is borrowed for the call. Thread: the owner of the keyspace, or a forked child (saving).
 * Errors: every fault comes back in a struct rdb_error, whose text is meant for a log line; nothing here logs, exits or
 * asserts on input.
 */
#ifndef HF_RDB_RDB_H
#define HF_RDB_RDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persistence/rdb/error.h"
#include "persistence/rdb/io.h"
#include "server/store/keyspace.h"

#define RDB_VERSION_MIN 10 /* that we write */
#define RDB_VERSION_MAX 12
#define RDB_VERSION_DEFAULT 11

/* Which access clock is saved with, or taken over from, each key: what maxmemory-policy asks for. */
enum rdb_access { RDB_ACCESS_NONE, RDB_ACCESS_LRU, RDB_ACCESS_LFU };

/* ---- saving ---- */

struct rdb_save_progress {
    uint64_t keys;  /* written so far */
    uint64_t bytes; /* of the stream, before the codec */
};

struct rdb_save_options {
    unsigned version; /* RDB_VERSION_MIN … RDB_VERSION_MAX */
    bool compress;    /* rdbcompression: LZF for strings */
    bool checksum;    /* rdbchecksum; off: the trailer is 0 and there are no chunk checksums */
    enum rdb_access access;
    int lfu_decay_time_min;
    int64_t now_ms;    /* wall clock: ctime, idle times */
    uint64_t used_mem; /* for the aux field */
    bool aof_base;
    const char *repl_id; /* NULL: none; else with repl_offset and repl_stream_db (−1: left out) */
    int64_t repl_offset;
    int repl_stream_db;
    int key_delay_us; /* rdb-key-save-delay: sleep per key; −n: a microsecond every n keys; 0 none */
    /* Child only: memory of large values is given back once they are written, so that the parent's writes do not copy
     * it. The keyspace of this process is unusable afterwards. */
    bool release_values;
    /* Writes records of other modules (functions …) between the aux fields and the first database. May be NULL. */
    void (*extra)(void *arg, struct rdb_writer *w);
    void *extra_arg;
    /* Called about every 1,024 keys or 1 MiB; nonzero ends the save with RDB_ERR_ABORTED. May be NULL. */
    int (*progress)(void *arg, const struct rdb_save_progress *p);
    void *progress_arg;
};

/* Version 11, compression and checksum on, nothing else. */
void rdb_save_options_default(struct rdb_save_options *o);

/* Writes a whole snapshot of ks and finishes the writer (not fsync). 0, or -1 with *ret_error filled. ret_progress (may
 * be NULL): totals. */
int rdb_save(struct rdb_writer *w, const struct keyspace *ks, const struct rdb_save_options *o,
             struct rdb_save_progress *ret_progress, struct rdb_error *ret_error) __attribute__((warn_unused_result));

/* A library of functions as a record, for the `extra` callback. */
void rdb_write_function(struct rdb_writer *w, struct slice code, bool compress);
void rdb_write_aux(struct rdb_writer *w, const char *name, struct slice value);

/* ---- loading ---- */

struct rdb_load_progress {
    uint64_t bytes;      /* read so far (uncompressed) */
    uint64_t file_bytes; /* taken from the source so far */
    uint64_t keys_loaded;
};

struct rdb_load_options {
    bool checksum; /* rdbchecksum: verify; a stored 0 means "not computed" */
    bool deep;     /* sanitize-dump-payload: validate packed payloads entry by entry (always done by the check tool) */
    bool skip_expired; /* a primary drops keys due before now_ms; replicas and AOF bases keep them */
    bool replace;      /* a key that is there already is replaced (DEBUG RELOAD MERGE), not an error */
    bool trailing;     /* bytes may follow the snapshot: an AOF with an RDB head */
    int64_t now_ms;
    enum rdb_access access;   /* which of the saved clocks the keys take over */
    size_t yield_every_bytes; /* loading-process-events-interval-bytes; 0: never */
    /* Called every so many bytes; nonzero ends the load with RDB_ERR_ABORTED. May be NULL. */
    int (*yield)(void *arg, const struct rdb_load_progress *p);
    void *yield_arg;
    /* Every aux field except our checksums, as it comes. May be NULL. */
    void (*aux)(void *arg, struct slice name, struct slice value);
    void *aux_arg;
    /* A function library; nonzero ends the load, with *ret_text (static or NULL) as the reason. NULL: libraries in a
     * snapshot are refused with a clear error unless skip_functions is set. */
    int (*function)(void *arg, struct slice code, const char **ret_text);
    void *function_arg;
    bool skip_functions;
};

struct rdb_load_result {
    unsigned version; /* of the file */
    bool valkey;      /* the magic was VALKEY */
    enum rdb_codec codec;
    uint64_t keys_loaded;  /* in the keyspace now */
    uint64_t keys_expired; /* dropped: due */
    uint64_t keys_empty;   /* dropped: collections without elements, which old versions could write */
    uint64_t functions;
    uint64_t module_aux; /* module sections skipped */
    uint64_t bytes;      /* length of the snapshot (uncompressed), trailer included: where an AOF's commands begin */
    uint64_t chunks_checked; /* chunk checksums that matched */
    bool checksum_checked;
    /* Aux fields; absent: 0, -1, "" or false. */
    int64_t ctime_s;
    int64_t used_mem;
    bool aof_base;
    char redis_ver[32];
    char repl_id[41];
    int64_t repl_offset; /* -1 when absent */
    int repl_stream_db;  /* -1 when absent */
};

void rdb_load_options_default(struct rdb_load_options *o);

/* Loads into ks, which the caller has emptied (a key that is there already is an error) and whose expiry mode he has
 * set to ignore. 0 and *ret_result; or -1 and *ret_error, with the keys read so far left in ks; *ret_result is filled
 * as far as it is known. */
int rdb_load(struct rdb_reader *r, struct keyspace *ks, const struct rdb_load_options *o,
             struct rdb_load_result *ret_result, struct rdb_error *ret_error) __attribute__((warn_unused_result));
/* Opens and loads a file. A missing file is RDB_ERR_IO with ENOENT. */
int rdb_load_file(const struct fs *fs, const char *path, struct keyspace *ks, const struct rdb_load_options *o,
                  struct rdb_load_result *ret_result, struct rdb_error *ret_error) __attribute__((warn_unused_result));

/* True when the bytes begin like a snapshot, plain or compressed (is this AOF file an RDB base?). Nine bytes decide. */
bool rdb_is_snapshot(struct slice head);

/* ---- values: DUMP, RESTORE, MIGRATE ---- */

/* What a load of values goes by. */
struct rdb_load_context {
    const struct collection_rules *rules; /* of the keyspace the value is for */
    bool deep;      /* packed payloads are validated entry by entry (server/ds/packed.h), not just framed */
    int64_t now_ms; /* wall clock */
};

/* Appends the payload of DUMP: type, value, version, CRC-64. The version is the lowest that holds the value (never
 * under RDB_VERSION_MIN). 0, or -1 when no version ≤ version_max holds it (nothing appended). */
int rdb_dump_value(const struct entry *e, unsigned version_max, bool compress, struct buf *out)
    __attribute__((warn_unused_result));

#define RDB_RESTORE_BAD_TRAILER "DUMP payload version or checksum are wrong"
#define RDB_RESTORE_BAD_FORMAT "Bad data format"
/* The value of a payload. Versions up to 12 are accepted. skip_checksum: DEBUG SET-SKIP-CHECKSUM-VALIDATION. 0 and
 * *ret_value: owned, or bytes borrowed from payload. -1 and *ret_text, one of the two above. */
int rdb_restore_value(struct slice payload, const struct rdb_load_context *with, bool skip_checksum,
                      struct value *ret_value, const char **ret_text) __attribute__((warn_unused_result));

#endif
