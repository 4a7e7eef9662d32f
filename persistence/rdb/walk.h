/* Walking over a value of any type without making it: what the check tool does with every value, and what deep
 * validation of loading and RESTORE is made of. Internal to persistence/rdb and its tests.
 *
 * Thread, errors: as the reader.
 */
#ifndef HF_RDB_WALK_H
#define HF_RDB_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "persistence/rdb/io.h"

struct rdb_walk {
    uint64_t elements; /* of a collection: elements, fields, members, stream entries; 1 for a string */
    uint64_t bytes;    /* of the value in the file */
};

/* Reads past the value of a type (enum rdb_type). deep: also decompresses every string, and verifies packed payloads
 * entry by entry: structure, pairs, numbers where scores stand, no repetitions. */
int rdb_walk_value(struct rdb_reader *r, unsigned type, bool deep, struct rdb_walk *ret_walk)
    __attribute__((warn_unused_result));

/* The deep check of one packed payload of a type, for value codecs that have read it already: NULL or what is wrong.
 * For a stream's listpack, type is a stream's. */
const char *rdb_check_packed(unsigned type, struct slice blob, uint64_t *ret_elements);

#endif
