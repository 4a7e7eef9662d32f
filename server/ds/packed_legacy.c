/* Layouts, little endian unless stated:
 *
 *   ziplist  u32 bytes, u32 offset of the last entry, u16 count (65535: not known), entries, 0xFF
 *            entry: length of the one before (1 byte, or 0xFE and u32), encoding, data
 *            the lengths of strings in an encoding are big endian
 *   zipmap   u8 count (254 and more: not known), pairs, 0xFF
 *            pair: length (1 byte, or 254 and u32), field, length, u8 free, value, free bytes
 */
#include "config.h"

#include "server/ds/packed_legacy.h"

#include "server/base/endian.h"

#define ZIPLIST_HEADER 10
#define COUNT_UNKNOWN 65535
#define BLOB_END 0xFF
#define ZIP_BIG_PREV 0xFE

static int64_t sign_extend(uint64_t v, unsigned bits) {
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

static uint64_t load_le24(const unsigned char *p) {
    return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16;
}

/* ---- ziplist ---- */

/* Bytes of encoding and data of the entry at p, of which n > 0 are there; 0 where it does not fit or is no encoding. */
static uint64_t zl_entry(const unsigned char *p, uint64_t n, struct packed_item *it) {
    unsigned b = p[0];
    uint64_t head, len;
    *it = (struct packed_item){.is_int = false};
    if (b < 0xC0) {
        head = b < 0x40 ? 1 : b < 0x80 ? 2 : 5;
        if ((head == 5 && b != 0x80) || n < head)
            return 0;
        len = head == 1 ? b : head == 2 ? (uint64_t)(b & 63) << 8 | p[1] : load_be32(p + 1);
        if (len > n - head)
            return 0;
        it->s = slice_of(p + head, (size_t)len);
        return head + len;
    }
    it->is_int = true;
    if (b >= 0xF1 && b <= 0xFD) {
        it->i = (int64_t)(b & 15) - 1;
        return 1;
    }
    uint64_t w = b == 0xC0 ? 2 : b == 0xD0 ? 4 : b == 0xE0 ? 8 : b == 0xF0 ? 3 : b == 0xFE ? 1 : 0;
    if (w == 0 || n < 1 + w)
        return 0;
    it->i = w == 1   ? (int8_t)p[1]
            : w == 2 ? (int16_t)load_le16(p + 1)
            : w == 3 ? sign_extend(load_le24(p + 1), 24)
            : w == 4 ? (int32_t)load_le32(p + 1)
                     : (int64_t)load_le64(p + 1);
    return 1 + w;
}

const char *ziplist_validate(struct slice b, packed_each_fn *each, void *arg, uint64_t *ret_count) {
    const unsigned char *p = (const unsigned char *)b.p;
    uint64_t count = 0, at = ZIPLIST_HEADER, last = ZIPLIST_HEADER, previous = 0;
    if (b.n < ZIPLIST_HEADER + 1)
        return "a ziplist is too short";
    if (load_le32(p) != b.n)
        return "a ziplist states another length than it has";
    if (p[b.n - 1] != BLOB_END)
        return "a ziplist has no end mark";
    while (at < b.n - 1) {
        struct packed_item it;
        uint64_t left = b.n - 1 - at;
        uint64_t prev_bytes = p[at] < ZIP_BIG_PREV ? 1 : 5;
        if (p[at] == BLOB_END || left <= prev_bytes)
            return "an entry of a ziplist is damaged or reaches over its end";
        if ((prev_bytes == 1 ? p[at] : load_le32(p + at + 1)) != previous)
            return "an entry of a ziplist has the wrong length of the one before";
        uint64_t len = zl_entry(p + at + prev_bytes, left - prev_bytes, &it);
        if (len == 0)
            return "an entry of a ziplist is damaged or reaches over its end";
        const char *why = each != NULL ? each(arg, &it) : NULL;
        if (why != NULL)
            return why;
        previous = prev_bytes + len;
        last = at;
        at += previous;
        count++;
    }
    if (load_le32(p + 4) != last)
        return "a ziplist states another last entry than it has";
    unsigned stated = load_le16(p + 8);
    if (stated != COUNT_UNKNOWN && stated != count)
        return "a ziplist states another number of entries than it has";
    *ret_count = count;
    return NULL;
}

/* ---- zipmap ---- */

/* Reads the length at *at (before end); 0, or -1 where it does not fit. */
static int zm_len(const unsigned char *p, uint64_t end, uint64_t *at, uint64_t *ret_len) {
    if (*at >= end)
        return -1;
    unsigned b = p[*at];
    if (b < 254) {
        *ret_len = b;
        *at += 1;
        return 0;
    }
    if (b == BLOB_END || end - *at < 5)
        return -1;
    *ret_len = load_le32(p + *at + 1);
    *at += 5;
    return 0;
}

const char *zipmap_validate(struct slice b, packed_each_fn *each, void *arg, uint64_t *ret_count) {
    const unsigned char *p = (const unsigned char *)b.p;
    uint64_t pairs = 0, at = 1;
    if (b.n < 2 || p[b.n - 1] != BLOB_END)
        return "a zipmap has no end mark";
    uint64_t end = b.n - 1;
    while (at < end) {
        uint64_t len;
        for (unsigned part = 0; part < 2; part++) {
            uint64_t unused = 0;
            if (zm_len(p, end, &at, &len) != 0)
                return "a length in a zipmap is damaged";
            if (part == 1) {
                if (at >= end)
                    return "a pair of a zipmap reaches over its end";
                unused = p[at++];
            }
            if (len > end - at || unused > end - at - len)
                return "a pair of a zipmap reaches over its end";
            const struct packed_item it = {.s = slice_of(p + at, (size_t)len)};
            const char *why = each != NULL ? each(arg, &it) : NULL;
            if (why != NULL)
                return why;
            at += len + unused;
        }
        pairs++;
    }
    if (p[0] < 254 && p[0] != pairs)
        return "a zipmap states another number of fields than it has";
    *ret_count = 2 * pairs;
    return NULL;
}
