/* Whole-file compression under the snapshot streams: LZ4 frames and gzip. Internal to persistence/rdb.
 *
 * One state either compresses or decompresses. Every block carries its own checksum where the format has one (LZ4), and
 * gzip output is cut into independent pieces at marks, so that one damaged byte spoils little and is found near where
 * it lies. Thread: as the stream. Errors: -errno of the sink, -ENOMEM, -EBADMSG for damaged input, -ENODATA for input
 * that ends early.
 */
#ifndef HF_RDB_FRAME_H
#define HF_RDB_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "persistence/rdb/io.h"

/* The codec whose magic the first 4 bytes are; NONE otherwise. */
enum rdb_codec frame_recognise(const unsigned char *head, size_t n);

/* NULL when memory is not there. kind is LZ4 or ZLIB. */
struct rdb_codec_state *frame_create_writer(enum rdb_codec kind);
struct rdb_codec_state *frame_create_reader(enum rdb_codec kind);
void frame_destroy(struct rdb_codec_state *f); /* NULL is fine */

enum frame_flush { FRAME_MORE, FRAME_FLUSH, FRAME_MARK, FRAME_END };
/* Compresses n bytes and hands what comes out to sink. 0 or -errno. */
int frame_write(struct rdb_codec_state *f, const void *p, size_t n, enum frame_flush flush, rdb_sink_fn *sink,
                void *arg) __attribute__((warn_unused_result));

/* Decompresses up to n > 0 bytes from what source gives: the count, 0 at the end of the frame, or -errno. */
ssize_t frame_read(struct rdb_codec_state *f, void *p, size_t n, rdb_source_fn *source, void *arg)
    __attribute__((warn_unused_result));
/* Bytes taken from the source but not used yet. */
size_t frame_unused(const struct rdb_codec_state *f);
/* Most bytes that n compressed bytes can become. */
uint64_t frame_expansion_max(enum rdb_codec kind, uint64_t n);

#endif
