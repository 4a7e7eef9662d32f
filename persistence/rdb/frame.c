/* LZ4 frames by liblz4's LZ4F, gzip by zlib.
 *
 * LZ4: linked 256 KiB blocks with block checksums and a content checksum. gzip: header with its own CRC (FHCRC), full
 * flushes at marks. Input comes through `in`, output of the compressor goes through `out`; both are of fixed size.
 */
#include "config.h"

#include "persistence/rdb/frame.h"

#include <errno.h>
#include <lz4frame.h>
#include <string.h>
#include <zlib.h>

#include "server/base/assert.h"
#include "server/base/crc.h"
#include "server/base/endian.h"
#include "server/base/mem.h"

#define FRAME_PIECE 262144 /* bytes given to the compressor, or asked of the source, at once */
#define LZ4_RATIO_MAX 255  /* a byte of input extends a match by at most 255 */
#define ZLIB_RATIO_MAX 1032
#define GZIP_WINDOW_BITS (15 + 16)

#define SEAL_MARK_BYTES 4
#define SEAL_CRC_AT 16
#define SEAL_BYTES 34
/* A subfield of a gzip header: name and length. */
static const unsigned char seal_mark[SEAL_MARK_BYTES] = {'H', 'F', 0, 0};

static void make_seal(uint64_t crc, unsigned char ret_seal[SEAL_BYTES]) {
    /* Header with FEXTRA, 12 bytes of extra, field HF of 8; an empty deflate stream; CRC-32 and length 0. */
    static const unsigned char form[SEAL_BYTES] = {0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 3, 12, 0, 'H', 'F', 8, 0, 0,
                                                   0,    0,    0, 0, 0, 0, 0, 3, 0, 0, 0,  0, 0,   0,   0, 0, 0};
    memcpy(ret_seal, form, SEAL_BYTES);
    store_le64(ret_seal + SEAL_CRC_AT, crc);
}

struct rdb_codec_state {
    enum rdb_codec kind;
    bool writing;
    bool begun, ended, seal_checked;
    unsigned char *io; /* compressor: output; decompressor: input */
    size_t io_cap;
    size_t in_pos, in_end;
    LZ4F_cctx *cctx;
    LZ4F_dctx *dctx;
    LZ4F_preferences_t prefs;
    z_stream z;
    gz_header gz;
    bool z_live;
    uint64_t raw_crc; /* of the compressed bytes */
    unsigned char extra[16];
};

enum rdb_codec frame_recognise(const unsigned char *head, size_t n) {
    static const unsigned char lz4[4] = {0x04, 0x22, 0x4D, 0x18};
    if (n >= 4 && memcmp(head, lz4, 4) == 0)
        return RDB_CODEC_LZ4;
    if (n >= 2 && head[0] == 0x1F && head[1] == 0x8B)
        return RDB_CODEC_ZLIB;
    return RDB_CODEC_NONE;
}

static voidpf zlib_alloc(voidpf opaque, uInt items, uInt size) {
    (void)opaque;
    return mem_try_calloc(items, size);
}

static void zlib_free(voidpf opaque, voidpf p) {
    (void)opaque;
    mem_free(p);
}

static struct rdb_codec_state *frame_create(enum rdb_codec kind, bool writing) {
    struct rdb_codec_state *f = mem_calloc(1, sizeof *f);
    f->kind = kind;
    f->writing = writing;
    f->z.zalloc = zlib_alloc;
    f->z.zfree = zlib_free;
    return f;
}

struct rdb_codec_state *frame_create_writer(enum rdb_codec kind) {
    struct rdb_codec_state *f = frame_create(kind, true);
    bool ok;
    if (kind == RDB_CODEC_LZ4) {
        f->prefs.frameInfo.blockSizeID = LZ4F_max256KB;
        f->prefs.frameInfo.blockMode = LZ4F_blockLinked;
        f->prefs.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
        f->prefs.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
        ok = !LZ4F_isError(LZ4F_createCompressionContext(&f->cctx, LZ4F_VERSION));
        f->io_cap = LZ4F_compressBound(FRAME_PIECE, &f->prefs) + LZ4F_HEADER_SIZE_MAX;
    } else {
        ok = deflateInit2(&f->z, 1, Z_DEFLATED, GZIP_WINDOW_BITS, 9, Z_DEFAULT_STRATEGY) == Z_OK;
        f->z_live = ok;
        f->gz.os = 3;
        f->gz.hcrc = 1;
        memcpy(f->extra, seal_mark, SEAL_MARK_BYTES);
        f->gz.extra = f->extra;
        f->gz.extra_len = SEAL_MARK_BYTES;
        ok = ok && deflateSetHeader(&f->z, &f->gz) == Z_OK;
        f->io_cap = FRAME_PIECE;
    }
    f->io = mem_try_alloc(f->io_cap);
    if (!ok || f->io == NULL) {
        frame_destroy(f);
        return NULL;
    }
    return f;
}

struct rdb_codec_state *frame_create_reader(enum rdb_codec kind) {
    struct rdb_codec_state *f = frame_create(kind, false);
    bool ok;
    if (kind == RDB_CODEC_LZ4) {
        ok = !LZ4F_isError(LZ4F_createDecompressionContext(&f->dctx, LZ4F_VERSION));
    } else {
        ok = inflateInit2(&f->z, GZIP_WINDOW_BITS) == Z_OK;
        f->z_live = ok;
        f->gz.extra = f->extra;
        f->gz.extra_max = sizeof f->extra;
        ok = ok && inflateGetHeader(&f->z, &f->gz) == Z_OK;
    }
    f->io_cap = FRAME_PIECE;
    f->io = mem_try_alloc(f->io_cap);
    if (!ok || f->io == NULL) {
        frame_destroy(f);
        return NULL;
    }
    return f;
}

void frame_destroy(struct rdb_codec_state *f) {
    if (f == NULL)
        return;
    if (f->cctx != NULL)
        LZ4F_freeCompressionContext(f->cctx);
    if (f->dctx != NULL)
        LZ4F_freeDecompressionContext(f->dctx);
    if (f->z_live) {
        if (f->writing)
            deflateEnd(&f->z);
        else
            inflateEnd(&f->z);
    }
    mem_free(f->io);
    mem_free(f);
}

static int lz4_emit(struct rdb_codec_state *f, size_t produced, rdb_sink_fn *sink, void *arg) {
    if (LZ4F_isError(produced))
        return -ENOMEM; /* the output has room by construction: what is left is memory */
    return produced == 0 ? 0 : sink(arg, f->io, produced);
}

static int lz4_write(struct rdb_codec_state *f, const unsigned char *p, size_t n, enum frame_flush flush,
                     rdb_sink_fn *sink, void *arg) {
    int err = 0;
    if (!f->begun) {
        f->begun = true;
        err = lz4_emit(f, LZ4F_compressBegin(f->cctx, f->io, f->io_cap, &f->prefs), sink, arg);
    }
    while (err == 0 && n > 0) {
        size_t piece = n < FRAME_PIECE ? n : FRAME_PIECE;
        err = lz4_emit(f, LZ4F_compressUpdate(f->cctx, f->io, f->io_cap, p, piece, NULL), sink, arg);
        p += piece;
        n -= piece;
    }
    if (err == 0 && flush == FRAME_FLUSH)
        err = lz4_emit(f, LZ4F_flush(f->cctx, f->io, f->io_cap, NULL), sink, arg);
    if (err == 0 && flush == FRAME_END) {
        f->ended = true;
        err = lz4_emit(f, LZ4F_compressEnd(f->cctx, f->io, f->io_cap, NULL), sink, arg);
    }
    return err;
}

static int zlib_write(struct rdb_codec_state *f, const unsigned char *p, size_t n, enum frame_flush flush,
                      rdb_sink_fn *sink, void *arg) {
    static const int modes[] = {
        [FRAME_MORE] = Z_NO_FLUSH, [FRAME_FLUSH] = Z_SYNC_FLUSH, [FRAME_MARK] = Z_FULL_FLUSH, [FRAME_END] = Z_FINISH};
    do {
        size_t piece = n < FRAME_PIECE ? n : FRAME_PIECE;
        int mode = piece == n ? modes[flush] : Z_NO_FLUSH;
        f->z.next_in = (unsigned char *)(uintptr_t)p;
        f->z.avail_in = (uInt)piece;
        do {
            f->z.next_out = f->io;
            f->z.avail_out = (uInt)f->io_cap;
            int rc = deflate(&f->z, mode);
            HF_ASSERT(rc != Z_STREAM_ERROR);
            size_t produced = f->io_cap - f->z.avail_out;
            f->raw_crc = crc64(f->raw_crc, f->io, produced);
            int err = produced == 0 ? 0 : sink(arg, f->io, produced);
            if (err != 0)
                return err;
        } while (f->z.avail_out == 0);
        HF_ASSERT(f->z.avail_in == 0);
        p += piece;
        n -= piece;
    } while (n > 0);
    if (flush != FRAME_END)
        return 0;
    unsigned char seal[SEAL_BYTES];
    make_seal(f->raw_crc, seal);
    f->ended = true;
    return sink(arg, seal, SEAL_BYTES);
}

int frame_write(struct rdb_codec_state *f, const void *p, size_t n, enum frame_flush flush, rdb_sink_fn *sink,
                void *arg) {
    HF_ASSERT(f->writing && !f->ended);
    return f->kind == RDB_CODEC_LZ4 ? lz4_write(f, p, n, flush, sink, arg) : zlib_write(f, p, n, flush, sink, arg);
}

/* One step of decompression of what lies in `io`. *ret_done: the frame ended. The count produced, or -EBADMSG. */
static ssize_t lz4_step(struct rdb_codec_state *f, void *p, size_t n, bool *ret_done) {
    size_t produced = n;
    size_t used = f->in_end - f->in_pos;
    size_t hint = LZ4F_decompress(f->dctx, p, &produced, f->io + f->in_pos, &used, NULL);
    if (LZ4F_isError(hint))
        return -EBADMSG;
    f->in_pos += used;
    *ret_done = hint == 0;
    return (ssize_t)produced;
}

static ssize_t zlib_step(struct rdb_codec_state *f, void *p, size_t n, bool *ret_done) {
    if (n > UINT32_MAX)
        n = UINT32_MAX;
    f->z.next_in = f->io + f->in_pos;
    f->z.avail_in = (uInt)(f->in_end - f->in_pos);
    f->z.next_out = p;
    f->z.avail_out = (uInt)n;
    int rc = inflate(&f->z, Z_NO_FLUSH);
    size_t in_pos = f->in_end - f->z.avail_in;
    f->raw_crc = crc64(f->raw_crc, f->io + f->in_pos, in_pos - f->in_pos);
    f->in_pos = in_pos;
    if (rc == Z_MEM_ERROR)
        return -ENOMEM;
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return -EBADMSG;
    *ret_done = rc == Z_STREAM_END;
    return (ssize_t)(n - f->z.avail_out);
}

/* What must follow the member where its header announces the seal. */
static int zlib_check_seal(struct rdb_codec_state *f, rdb_source_fn *source, void *arg) {
    unsigned char seal[SEAL_BYTES];
    if (f->gz.done != 1 || f->gz.extra_len != SEAL_MARK_BYTES || memcmp(f->extra, seal_mark, SEAL_MARK_BYTES) != 0)
        return 0;
    memmove(f->io, f->io + f->in_pos, f->in_end - f->in_pos);
    f->in_end -= f->in_pos;
    f->in_pos = 0;
    while (f->in_end < SEAL_BYTES) {
        ssize_t in = source(arg, f->io + f->in_end, f->io_cap - f->in_end);
        if (in < 0)
            return (int)in;
        if (in == 0)
            return -ENODATA;
        f->in_end += (size_t)in;
    }
    make_seal(f->raw_crc, seal);
    if (memcmp(seal, f->io, SEAL_BYTES) != 0)
        return -EBADMSG;
    f->in_pos = SEAL_BYTES;
    return 0;
}

ssize_t frame_read(struct rdb_codec_state *f, void *p, size_t n, rdb_source_fn *source, void *arg) {
    HF_ASSERT(!f->writing && n > 0);
    bool source_ended = false;
    while (!f->ended) {
        size_t before = f->in_pos;
        ssize_t got = f->kind == RDB_CODEC_LZ4 ? lz4_step(f, p, n, &f->ended) : zlib_step(f, p, n, &f->ended);
        if (got != 0)
            return got;
        if (f->ended)
            break;
        if (f->in_pos < f->in_end) {
            if (f->in_pos == before)
                return -EBADMSG; /* the decompressor neither takes nor gives: the frame promises what is not there */
            continue;
        }
        if (source_ended)
            return -ENODATA;
        ssize_t in = source(arg, f->io, f->io_cap);
        if (in < 0)
            return in;
        f->in_pos = 0;
        f->in_end = (size_t)in;
        source_ended = in == 0;
    }
    if (f->kind == RDB_CODEC_ZLIB && !f->seal_checked) {
        int err = zlib_check_seal(f, source, arg);
        if (err != 0)
            return err;
        f->seal_checked = true;
    }
    return 0;
}

size_t frame_unused(const struct rdb_codec_state *f) {
    return f->in_end - f->in_pos;
}

uint64_t frame_expansion_max(enum rdb_codec kind, uint64_t n) {
    uint64_t max;
    uint64_t ratio = kind == RDB_CODEC_LZ4 ? LZ4_RATIO_MAX : ZLIB_RATIO_MAX;
    if (kind == RDB_CODEC_NONE)
        return n;
    return __builtin_mul_overflow(n, ratio, &max) ? UINT64_MAX : max;
}
