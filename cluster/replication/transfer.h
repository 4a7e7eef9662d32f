/* The frame around the snapshot of a full sync, seen by the receiver.
 *
 *     $<length>\r\n bytes                      written to disk by the primary first
 *     $EOF:<40 bytes>\r\n bytes <40 bytes>     made while it is sent: the mark ends it
 *     $FRAMES\r\n …                           in frames, among the stream: see frames.h; the owner takes them apart
 *
 * Empty lines before the header keep the link alive. Bytes behind the end belong to the stream of commands.
 *
 * Pure: bytes in, what they are out. Ownership: embedded. Thread: any. Garbage comes back as an error, never a crash.
 */
#ifndef HF_REPLICATION_TRANSFER_H
#define HF_REPLICATION_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

#define TRANSFER_MARK_BYTES 40

struct transfer {
    bool has_header;
    bool has_mark; /* the end is a mark, else a length */
    bool has_frames;
    bool done;
    uint64_t total_bytes; /* UINT64_MAX: not known */
    uint64_t taken_bytes; /* payload so far */
    char mark[TRANSFER_MARK_BYTES];
    char reason[160]; /* of an error */
};

void transfer_begin(struct transfer *t);
/* Takes a line without its line end. 0 (also for an empty one: has_header says whether that was it), or -1 with the
 * reason. */
int transfer_header(struct transfer *t, struct slice line) __attribute__((warn_unused_result));
/* Looks at the n bytes that are next on the wire. The first *ret_payload of them are payload; *ret_used ≥ *ret_payload
 * is how many are done with (the mark, too). What is left stays for the next call with more bytes behind it, up to 39
 * bytes, or belongs to the stream when t->done is set. Not with frames. */
void transfer_take(struct transfer *t, const char *p, size_t n, size_t *ret_payload, size_t *ret_used);

#endif
