#include "config.h"

#include "persistence/rdb/check.h"

#include <string.h>

#include "persistence/rdb/codec.h"
#include "persistence/rdb/record.h"
#include "persistence/rdb/walk.h"
#include "server/base/assert.h"
#include "server/base/crc.h"
#include "server/base/endian.h"

_Static_assert((int)RDB_CHECK_TYPES == (int)RDB_TYPES, "a counter for each value type");

const char *rdb_check_type_name(unsigned type) {
    return rdb_type_name(type);
}

static int check_key(struct rdb_reader *r, const struct rdb_check_options *o, const struct rdb_record *rec,
                     struct rdb_check_report *report) {
    struct rdb_walk walk;
    report->doing = "a value";
    if (rdb_walk_value(r, rec->type, true, &walk) != 0)
        return -1;
    report->keys++;
    report->elements += walk.elements;
    report->by_type[rdb_type_number(rec->type)]++;
    if (rec->deadline_ms >= 0) {
        report->with_deadline++;
        if (rec->deadline_ms < o->now_ms)
            report->expired++;
    }
    return 0;
}

static int check_records(struct rdb_reader *r, const struct rdb_check_options *o, struct rdb_stream *s,
                         struct rdb_check_report *report) {
    for (;;) {
        struct rdb_record rec;
        report->doing = "a record";
        if (rdb_stream_next(r, s, &rec) != 0)
            return -1;
        switch (rec.kind) {
        case RDB_RECORD_KEY:
            if (check_key(r, o, &rec, report) != 0)
                return -1;
            break;
        case RDB_OP_AUX:
            if (o->aux != NULL)
                o->aux(o->arg, rec.offset, rec.name, rec.value);
            break;
        case RDB_OP_SELECTDB:
            if (o->selectdb != NULL)
                o->selectdb(o->arg, rec.offset, rec.n[0]);
            break;
        case RDB_OP_FUNCTION:
            report->functions++;
            break;
        case RDB_OP_EOF:
            return 0;
        default:
            break;
        }
    }
}

int rdb_check(struct rdb_reader *r, const struct rdb_check_options *o, struct rdb_check_report *ret_report,
              struct rdb_error *ret_error) {
    struct rdb_stream s;
    *ret_report = (struct rdb_check_report){.codec = r->codec_kind, .doing = "the header"};
    int err = rdb_stream_begin(r, true, &s);
    if (err == 0)
        err = check_records(r, o, &s, ret_report);
    if (err == 0 && !o->trailing && !rdb_reader_is_drained(r))
        err = rdb_reader_fail(r, RDB_ERR_FORMAT, "there are bytes behind the end of the snapshot");
    ret_report->version = s.version;
    ret_report->valkey = s.valkey;
    ret_report->chunks_checked = s.chunks_checked;
    ret_report->checksum_checked = s.checksum_checked;
    ret_report->module_aux = s.module_aux;
    ret_report->bytes = rdb_reader_offset(r);
    *ret_error = r->error;
    return err;
}

/* ---- chunks ---- */

/* How a mark begins: the opcode and two strings with one-byte lengths. */
static const unsigned char mark_head[] = {RDB_OP_AUX, sizeof RDB_MARK_NAME - 1, 'h', 'f', '-', 'c', 'r',
                                          'c',        RDB_MARK_VALUE_CHARS};
_Static_assert(sizeof mark_head + RDB_MARK_VALUE_CHARS == RDB_MARK_BYTES, "the layout of a mark");

struct chunk_scan {
    struct rdb_reader *r;
    uint64_t crc;    /* of all bytes before `summed`, where the last mark told the truth */
    uint64_t summed; /* stream offset */
    uint64_t from;   /* where this chunk begins */
    uint64_t chunks;
    void (*each)(void *arg, uint64_t from, uint64_t to);
    void *arg;
};

/* Sums the window's bytes up to stream offset `to`. */
static void scan_sum(struct chunk_scan *c, uint64_t to) {
    const struct rdb_reader *r = c->r;
    HF_ASSERT(c->summed >= r->base && to >= c->summed && to <= r->base + r->end);
    c->crc = crc64(c->crc, r->window + (c->summed - r->base), (size_t)(to - c->summed));
    c->summed = to;
}

static void scan_compare(struct chunk_scan *c, uint64_t stated, uint64_t chunk_end) {
    c->chunks++;
    if (c->crc != stated)
        c->each(c->arg, c->from, chunk_end);
    c->crc = stated;
    c->from = c->summed;
}

/* Works off the marks that lie whole in the window; afterwards less than a mark's bytes are left unread. */
static void scan_window(struct chunk_scan *c) {
    struct rdb_reader *r = c->r;
    while (r->end - r->pos >= RDB_MARK_BYTES) {
        const unsigned char *at = r->window + r->pos;
        const unsigned char *hit = memmem(at, r->end - r->pos - RDB_MARK_VALUE_CHARS, mark_head, sizeof mark_head);
        if (hit == NULL) {
            r->pos = r->end - (RDB_MARK_BYTES - 1);
            return;
        }
        uint64_t offset, crc;
        uint64_t here = r->base + (uint64_t)(hit - r->window);
        r->pos = (size_t)(hit - r->window) + 1;
        if (rdb_mark_parse(slice_of(hit + sizeof mark_head, RDB_MARK_VALUE_CHARS), &offset, &crc) == 0 &&
            offset == here) {
            scan_sum(c, here);
            scan_compare(c, crc, here + RDB_MARK_BYTES);
        }
    }
}

int rdb_check_chunks(struct rdb_reader *r, void (*each)(void *arg, uint64_t from, uint64_t to), void *arg,
                     uint64_t *ret_chunks, struct rdb_error *ret_error) {
    struct chunk_scan c = {
        .r = r, .summed = rdb_reader_offset(r), .from = rdb_reader_offset(r), .each = each, .arg = arg};
    r->checksum = false;
    for (;;) {
        scan_window(&c);
        /* All but the last 8 bytes may be summed: those are the trailer if the input ends here. */
        size_t keep = RDB_MARK_BYTES;
        if (r->end - r->pos < keep)
            keep = r->end - r->pos;
        uint64_t upto = r->base + r->end - keep;
        if (upto > c.summed)
            scan_sum(&c, upto);
        if (r->at_end || r->error.code != RDB_OK)
            break;
        r->pos = r->end - keep;
        /* Where it fails, what came before the failure is in the window: one more round. */
        (void)!rdb_reader_fill(r, keep + 1);
    }
    if (r->error.code == RDB_OK || r->error.code == RDB_ERR_TRUNCATED) {
        uint64_t end = r->base + r->end;
        if (end - c.summed >= RDB_TRAILER_BYTES && c.chunks > 0) {
            uint64_t stated = load_le64(r->window + r->end - RDB_TRAILER_BYTES);
            scan_sum(&c, end - RDB_TRAILER_BYTES);
            scan_compare(&c, stated, end);
        }
        r->error = RDB_ERROR_INIT;
    }
    *ret_chunks = c.chunks;
    *ret_error = r->error;
    return r->error.code == RDB_OK ? 0 : -1;
}
