/* The frames of a full sync between Holdfast nodes: snapshot and stream on one connection.
 *
 * A replica that announces `capa holdfast-frames` gets, behind +FULLRESYNC and instead of the header of a plain
 * transfer, the line
 *
 *     $FRAMES\r\n
 *
 * and then frames, each with a head of five bytes: the kind, and the length of what follows (32 bits, little endian).
 *
 *     S  bytes of the snapshot                      1 … FRAMES_PAYLOAD_MAX
 *     C  bytes of the stream of changes             0 … FRAMES_PAYLOAD_MAX; 0 keeps the link alive
 *     N  how many bytes of S there are in all       8, a number of 64 bits, little endian; at most once, before any S
 *     E  the snapshot is complete                   0
 *
 * The bytes of all C, one behind the other, begin at the offset that FULLRESYNC names. Behind E the stream goes on
 * without frames. The two kinds are cut anywhere: a request may begin in C and end behind E.
 *
 * The primary prefers C: what is written while the snapshot is made and sent leaves it as fast as the link allows, so
 * that it has to keep no more of the stream than its backlog. The replica puts it aside (spool.h) until it has loaded.
 *
 * Pure: bytes in, what they are out. Ownership: embedded. Thread: any. Garbage comes back as an error, never a crash.
 */
#ifndef HF_REPLICATION_FRAMES_H
#define HF_REPLICATION_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMES_HEAD_BYTES 5
#define FRAMES_SIZE_BYTES 8
#define FRAMES_PAYLOAD_MAX (1024 * 1024)

enum frames_kind { FRAMES_SNAPSHOT = 'S', FRAMES_CHANGES = 'C', FRAMES_SIZE = 'N', FRAMES_END = 'E' };

/* ---- the sender ---- */

/* The head of a frame with n bytes. */
void frames_put_head(unsigned char dst[FRAMES_HEAD_BYTES], enum frames_kind kind, uint32_t n);
/* A whole frame N. */
void frames_put_size(unsigned char dst[FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES], uint64_t bytes);

/* ---- the receiver ---- */

struct frames {
    unsigned char kind; /* of the frame that is open */
    uint32_t left;      /* of its payload; 0: a head is next */
    bool sized, ended;
    uint64_t size;    /* of the snapshot, where sized */
    uint64_t taken;   /* payload of S so far */
    char reason[120]; /* of FRAMES_BAD */
};

enum frames_got {
    FRAMES_MORE,         /* all that is whole has been taken */
    FRAMES_GOT_SNAPSHOT, /* the next *ret_n bytes behind *ret_skip are of the snapshot */
    FRAMES_GOT_CHANGES,  /* … of the stream */
    FRAMES_GOT_SIZE,     /* size is known */
    FRAMES_GOT_END,      /* what is behind *ret_skip is the stream without frames */
    FRAMES_BAD,          /* reason */
};

void frames_begin(struct frames *f);
/* Looks at the n bytes that are next on the wire. *ret_skip of them are done with; *ret_n more are what was got, and
 * count as taken. */
enum frames_got frames_take(struct frames *f, const void *p, size_t n, size_t *ret_skip, size_t *ret_n);

#endif
