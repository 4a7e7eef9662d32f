#include "config.h"

#include "cluster/replication/unpack.h"

#include <errno.h>
#include <lz4frame.h>
#include <string.h>

#include "server/base/mem.h"

#define OUT_BYTES (256 * 1024)

static const unsigned char lz4_magic[4] = {0x04, 0x22, 0x4D, 0x18};

void unpack_begin(struct unpack *u) {
    memset(u, 0, sizeof *u);
}

void unpack_deinit(struct unpack *u) {
    LZ4F_freeDecompressionContext(u->ctx);
    mem_free(u->out);
    unpack_begin(u);
}

static int decompress(struct unpack *u, const unsigned char *p, size_t n, rdb_sink_fn *sink, void *arg) {
    while (n > 0) {
        size_t out = OUT_BYTES, in = n;
        if (u->ended)
            return -EBADMSG; /* nothing belongs behind the frame */
        size_t got = LZ4F_decompress(u->ctx, u->out, &out, p, &in, NULL);
        if (LZ4F_isError(got) || (in == 0 && out == 0))
            return -EBADMSG;
        u->ended = got == 0;
        int rc = out > 0 ? sink(arg, u->out, out) : 0;
        if (rc < 0)
            return rc;
        p += in;
        n -= in;
    }
    return 0;
}

/* What LZ4 still has of bytes that it has taken already. */
static int drain(struct unpack *u, rdb_sink_fn *sink, void *arg) {
    for (;;) {
        size_t out = OUT_BYTES, in = 0;
        if (u->ended)
            return 0;
        size_t got = LZ4F_decompress(u->ctx, u->out, &out, u->head, &in, NULL);
        if (LZ4F_isError(got))
            return -EBADMSG;
        u->ended = got == 0;
        if (out == 0)
            return 0;
        int rc = sink(arg, u->out, out);
        if (rc < 0)
            return rc;
    }
}

static int begin_frame(struct unpack *u) {
    u->out = mem_alloc(OUT_BYTES);
    return LZ4F_isError(LZ4F_createDecompressionContext(&u->ctx, LZ4F_VERSION)) ? -ENOMEM : 0;
}

int unpack_take(struct unpack *u, const void *p, size_t n, rdb_sink_fn *sink, void *arg) {
    const unsigned char *at = p;
    if (!u->known) {
        size_t take = sizeof u->head - u->head_len;
        take = n < take ? n : take;
        memcpy(u->head + u->head_len, at, take);
        u->head_len += take;
        at += take;
        n -= take;
        if (u->head_len < sizeof u->head)
            return 0;
        u->known = true;
        u->packed = memcmp(u->head, lz4_magic, sizeof lz4_magic) == 0;
        int rc = u->packed ? begin_frame(u) : sink(arg, u->head, sizeof u->head);
        if (rc == 0 && u->packed)
            rc = decompress(u, u->head, sizeof u->head, sink, arg);
        if (rc < 0)
            return rc;
    }
    if (n == 0)
        return 0;
    if (!u->packed)
        return sink(arg, at, n);
    int rc = decompress(u, at, n, sink, arg);
    return rc == 0 ? drain(u, sink, arg) : rc;
}

int unpack_end(struct unpack *u, rdb_sink_fn *sink, void *arg) {
    if (!u->known)
        return u->head_len > 0 ? sink(arg, u->head, u->head_len) : 0;
    return u->packed && !u->ended ? -ENODATA : 0;
}
