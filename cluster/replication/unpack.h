/* A snapshot that is compressed for its transfer, on its way into a file.
 *
 * The first bytes say whether it is an LZ4 frame. What comes out goes to a sink; anything else passes through as it is.
 * So the file that a replica keeps is one that every server reads. Memory: one buffer of 256 KiB, whatever arrives.
 *
 * Ownership: embedded. Thread: one at a time. Errors: -EBADMSG for damaged input, -ENODATA where it ends early,
 * -ENOMEM, or what the sink returned.
 */
#ifndef HF_REPLICATION_UNPACK_H
#define HF_REPLICATION_UNPACK_H

#include <stdbool.h>
#include <stddef.h>

#include "persistence/rdb/io.h"

struct unpack {
    struct LZ4F_dctx_s *ctx;
    unsigned char *out;
    unsigned char head[4]; /* until the kind is known */
    size_t head_len;
    bool known, packed, ended;
};

void unpack_begin(struct unpack *u);
void unpack_deinit(struct unpack *u);
int unpack_take(struct unpack *u, const void *p, size_t n, rdb_sink_fn *sink, void *arg)
    __attribute__((warn_unused_result));
/* No more bytes come. */
int unpack_end(struct unpack *u, rdb_sink_fn *sink, void *arg) __attribute__((warn_unused_result));

#endif
