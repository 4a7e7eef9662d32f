/* Checking a snapshot without loading it: every record, every value of every type, every checksum.
 *
 * Used by holdfast-check-rdb and holdfast-check-aof. Thread: any. Errors: the first fault, in a struct rdb_error.
 */
#ifndef HF_RDB_CHECK_H
#define HF_RDB_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "persistence/rdb/error.h"
#include "persistence/rdb/io.h"

#define RDB_CHECK_TYPES 26

struct rdb_check_options {
    bool trailing;  /* bytes may follow the snapshot */
    int64_t now_ms; /* decides which keys count as expired */
    /* Called for every aux field; may be NULL. */
    void (*aux)(void *arg, uint64_t offset, struct slice name, struct slice value);
    /* Called when another database is selected; may be NULL. */
    void (*selectdb)(void *arg, uint64_t offset, uint64_t db);
    void *arg;
};

struct rdb_check_report {
    unsigned version;
    bool valkey;
    enum rdb_codec codec;
    uint64_t bytes; /* uncompressed */
    uint64_t keys, with_deadline, expired, elements;
    uint64_t by_type[RDB_CHECK_TYPES]; /* keys by RDB value type */
    uint64_t functions, module_aux;
    uint64_t chunks_checked;
    bool checksum_checked;
    /* Where the walk is, for the message of a fault. */
    const char *doing;
};

/* 0 and a full report; -1 with *ret_error, the report as far as the walk went. */
int rdb_check(struct rdb_reader *r, const struct rdb_check_options *o, struct rdb_check_report *ret_report,
              struct rdb_error *ret_error) __attribute__((warn_unused_result));

/* Name of a value type of the files, for reports. */
const char *rdb_check_type_name(unsigned type);

/* Looks for the chunk checksums in a snapshot from r's position on by their looks alone, whatever lies between them,
 * and says which chunks are damaged: this works where a damaged length keeps the walk from finding its way. each(arg,
 * from, to) is called for every damaged range of uncompressed bytes. 0; -1 where the input cannot be read to its end.
 * ret_chunks: chunks with a checksum, damaged or not. */
int rdb_check_chunks(struct rdb_reader *r, void (*each)(void *arg, uint64_t from, uint64_t to), void *arg,
                     uint64_t *ret_chunks, struct rdb_error *ret_error) __attribute__((warn_unused_result));

#endif
