/* Payloads of DUMP and RESTORE: type, value, two bytes of version, eight of CRC-64 over all before. */
#include "config.h"

#include "persistence/rdb/rdb.h"

#include <string.h>

#include "persistence/rdb/codec.h"
#include "server/base/assert.h"
#include "server/base/crc.h"
#include "server/base/endian.h"

#define FOOTER_BYTES 10
#define VERSION_VALKEY 80

int rdb_dump_value(const struct entry *e, unsigned version_max, bool compress, struct buf *out) {
    const struct rdb_value_codec *codec = rdb_codec_for_value(entry_type(e));
    if (codec == NULL)
        return -1;
    unsigned version = codec->min_version(e);
    if (version < RDB_VERSION_MIN)
        version = RDB_VERSION_MIN;
    if (version > version_max)
        return -1;
    struct rdb_writer w;
    rdb_writer_init_buf(&w, out, RDB_CODEC_NONE);
    rdb_write_byte(&w, codec->wire_type(e, version));
    codec->save(&w, e, version, compress);
    rdb_write_u16(&w, (uint16_t)version);
    rdb_write_u64(&w, rdb_writer_crc(&w));
    int err = rdb_writer_finish(&w);
    HF_ASSERT(err == 0); /* memory is the only sink here */
    rdb_writer_deinit(&w);
    return 0;
}

/* A value must not point into the reader, which goes away; into the payload it may. */
static int settle(struct slice payload, struct value *inout_value) {
    struct value *v = inout_value;
    if (v->repr != VALUE_REPR_BYTES)
        return 0;
    uintptr_t at = (uintptr_t)v->u.bytes.p;
    if (v->u.bytes.n == 0 || (at >= (uintptr_t)payload.p && at < (uintptr_t)payload.p + payload.n))
        return 0;
    struct rbuf *block = rbuf_try_create(v->u.bytes.n);
    if (block == NULL)
        return -1;
    memcpy(block->data, v->u.bytes.p, v->u.bytes.n);
    block->len = v->u.bytes.n;
    uint8_t encoding = v->encoding; /* a short string stays one whatever carries it */
    *v = value_string_rbuf_take(block);
    v->encoding = encoding;
    return 0;
}

int rdb_restore_value(struct slice payload, const struct rdb_load_context *with, bool skip_checksum,
                      struct value *ret_value, const char **ret_text) {
    struct rdb_reader r;
    struct value v;
    unsigned type;
    *ret_text = RDB_RESTORE_BAD_TRAILER;
    if (payload.n < FOOTER_BYTES)
        return -1;
    const char *footer = payload.p + payload.n - FOOTER_BYTES;
    unsigned version = load_le16(footer);
    if (version > RDB_VERSION_MAX && version != VERSION_VALKEY)
        return -1;
    if (!skip_checksum && load_le64(footer + 2) != crc64(0, payload.p, payload.n - 8))
        return -1;
    *ret_text = RDB_RESTORE_BAD_FORMAT;
    const struct slice body = slice_of(payload.p, payload.n - FOOTER_BYTES);
    int err = rdb_reader_init_slice(&r, body, false);
    r.checksum = false;
    if (err == 0)
        err = rdb_read_byte(&r, &type);
    if (err == 0) {
        if (version == VERSION_VALKEY && type == 22)
            type = RDB_TYPE_HASH_2;
        const struct rdb_value_codec *codec = rdb_codec_for_rdb_type(type);
        err = codec == NULL ? -1 : codec->load(&r, type, with, &v);
        if (err == 0 && (!rdb_reader_is_drained(&r) || settle(payload, &v) != 0)) {
            value_free(v);
            err = -1;
        }
    }
    rdb_reader_deinit(&r);
    if (err != 0)
        return -1;
    *ret_value = v;
    return 0;
}
