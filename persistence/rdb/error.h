/* What went wrong with a snapshot or a payload, and where. Filled by the first fault, borrowed text only. Header only.
 */
#ifndef HF_RDB_ERROR_H
#define HF_RDB_ERROR_H

#include <stdbool.h>
#include <stdint.h>

enum rdb_error_code {
    RDB_OK = 0,
    RDB_ERR_IO,          /* a system call failed: sys_errno */
    RDB_ERR_TRUNCATED,   /* the file or stream ends in the middle of something */
    RDB_ERR_FORMAT,      /* bytes that mean nothing here */
    RDB_ERR_CHECKSUM,    /* a checksum in the middle or at the end does not match */
    RDB_ERR_UNSUPPORTED, /* a version, opcode or value type that this build does not hold */
    RDB_ERR_DUPLICATE,   /* a key for the second time */
    RDB_ERR_MEMORY,      /* memory for a size that the input names is not there */
    RDB_ERR_ABORTED,     /* a callback said stop */
};

#define RDB_ERROR_TEXT_BYTES 480

struct rdb_error {
    enum rdb_error_code code;
    int sys_errno;        /* positive, with RDB_ERR_IO */
    uint64_t offset;      /* where it was noticed: bytes into the (uncompressed) snapshot */
    uint64_t damage_from; /* the bytes at fault lie in [damage_from, damage_to): behind the last mid-file checksum that
                             matched */
    uint64_t damage_to;
    uint64_t file_from; /* the same range in bytes of the file where it is compressed as a whole; else as above */
    uint64_t file_to;
    char key[96]; /* the key being read, or the first key of the damaged range, printable, cut; "" if none */
    char text[RDB_ERROR_TEXT_BYTES]; /* the whole story for a log line, offset and key included; no line end */
};

#define RDB_ERROR_INIT ((struct rdb_error){.code = RDB_OK})

#endif
