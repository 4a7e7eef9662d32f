#include "config.h"

#include "cluster/replication/frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/endian.h"

void frames_put_head(unsigned char dst[FRAMES_HEAD_BYTES], enum frames_kind kind, uint32_t n) {
    dst[0] = (unsigned char)kind;
    store_le32(dst + 1, n);
}

void frames_put_size(unsigned char dst[FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES], uint64_t bytes) {
    frames_put_head(dst, FRAMES_SIZE, FRAMES_SIZE_BYTES);
    store_le64(dst + FRAMES_HEAD_BYTES, bytes);
}

void frames_begin(struct frames *f) {
    memset(f, 0, sizeof *f);
}

static enum frames_got bad(struct frames *f, const char *what) {
    snprintf(f->reason, sizeof f->reason, "the frames of the snapshot are garbage: %s", what);
    return FRAMES_BAD;
}

/* What is wrong with a head, or NULL. */
static const char *fault_of(const struct frames *f, unsigned char kind, uint32_t n) {
    switch (kind) {
    case FRAMES_SNAPSHOT:
        if (f->sized && n > f->size - f->taken)
            return "more than was announced";
        return n == 0 || n > FRAMES_PAYLOAD_MAX ? "a wrong length of a piece of the snapshot" : NULL;
    case FRAMES_CHANGES:
        return n > FRAMES_PAYLOAD_MAX ? "a wrong length of a piece of the stream" : NULL;
    case FRAMES_SIZE:
        return n != FRAMES_SIZE_BYTES || f->sized || f->taken > 0 ? "a size where none belongs" : NULL;
    case FRAMES_END:
        if (f->taken == 0 || (f->sized && f->taken != f->size))
            return "an early end";
        return n != 0 ? "an end with a length" : NULL;
    default:
        return "an unknown kind";
    }
}

enum frames_got frames_take(struct frames *f, const void *p, size_t n, size_t *ret_skip, size_t *ret_n) {
    const unsigned char *at = p;
    *ret_skip = *ret_n = 0;
    while (f->left == 0) {
        if (f->ended)
            return bad(f, "they have ended");
        if (n - *ret_skip < FRAMES_HEAD_BYTES)
            return FRAMES_MORE;
        const unsigned char *head = at + *ret_skip;
        uint32_t length = load_le32(head + 1);
        const char *fault = fault_of(f, head[0], length);
        if (fault != NULL)
            return bad(f, fault);
        if (head[0] == FRAMES_SIZE) {
            if (n - *ret_skip < FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES)
                return FRAMES_MORE;
            f->size = load_le64(head + FRAMES_HEAD_BYTES);
            f->sized = true;
            *ret_skip += FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES;
            return f->size == 0 || f->size > INT64_MAX ? bad(f, "a wrong size") : FRAMES_GOT_SIZE;
        }
        *ret_skip += FRAMES_HEAD_BYTES;
        if (head[0] == FRAMES_END) {
            f->ended = true;
            return FRAMES_GOT_END;
        }
        f->kind = head[0];
        f->left = length;
    }
    size_t here = n - *ret_skip < f->left ? n - *ret_skip : f->left;
    if (here == 0)
        return FRAMES_MORE;
    f->left -= (uint32_t)here;
    *ret_n = here;
    if (f->kind == FRAMES_CHANGES)
        return FRAMES_GOT_CHANGES;
    f->taken += here;
    return FRAMES_GOT_SNAPSHOT;
}
