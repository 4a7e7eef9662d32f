/* Layouts, little endian unless stated:
 *
 *   listpack  u32 bytes, u16 count (65535: unknown), elements, 0xFF
 *             element: encoding, data, back length (of encoding and data; 1–5 bytes of 7 bits, the most significant
 * first, a set top bit on all but the first) ziplist   u32 bytes, u32 offset of the last entry, u16 count (65535:
 * unknown), entries, 0xFF entry: length of the previous one (1 byte, or 0xFE and u32), encoding, data zipmap    u8
 * count (254 and more: unknown), pairs, 0xFF pair: length (1 byte, or 254 and u32), field, length, u8 free, value, free
 * bytes intset    u32 width (2, 4, 8), u32 count, sorted integers
 */
#include "config.h"

#include "persistence/rdb/blob.h"

#include "server/base/endian.h"

#define LISTPACK_HEADER 6
#define ZIPLIST_HEADER 10
#define INTSET_HEADER 8
#define COUNT_UNKNOWN 65535
#define BLOB_END 0xFF
#define ZIP_BIG_PREV 0xFE

static int64_t sign_extend(uint64_t v, unsigned bits) {
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

static uint64_t load_le24(const unsigned char *p) {
    return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16;
}

/* ---- listpack ---- */

/* Bytes of encoding and data of the element at p, of which n are there; 0 where it does not fit or is no encoding. */
static uint64_t lp_element(const unsigned char *p, uint64_t n, struct blob_item *it) {
    unsigned b = p[0];
    uint64_t head = 1, len;
    *it = (struct blob_item){.is_int = true};
    if (b < 0x80) {
        it->i = b;
        return 1;
    }
    if (b < 0xC0) {
        len = b & 63;
    } else if (b < 0xE0) {
        if (n < 2)
            return 0;
        it->i = sign_extend((uint64_t)(b & 31) << 8 | p[1], 13);
        return 2;
    } else if (b < 0xF0) {
        if (n < 2)
            return 0;
        head = 2;
        len = (uint64_t)(b & 15) << 8 | p[1];
    } else if (b == 0xF0) {
        if (n < 5)
            return 0;
        head = 5;
        len = load_le32(p + 1);
    } else {
        static const unsigned widths[] = {2, 3, 4, 8};
        if (b > 0xF4)
            return 0;
        unsigned w = widths[b - 0xF1];
        if (n < 1 + w)
            return 0;
        it->i = w == 2   ? (int16_t)load_le16(p + 1)
                : w == 3 ? sign_extend(load_le24(p + 1), 24)
                : w == 4 ? (int32_t)load_le32(p + 1)
                         : (int64_t)load_le64(p + 1);
        return 1 + w;
    }
    it->is_int = false;
    if (len > n - head)
        return 0;
    it->s = slice_of(p + head, (size_t)len);
    return head + len;
}

/* Bytes that the back length of an element of n bytes takes. */
static unsigned lp_back_bytes(uint64_t n) {
    return n < 128 ? 1 : n < 16384 ? 2 : n < 2097152 ? 3 : n < 268435456 ? 4 : 5;
}

static bool lp_back_matches(const unsigned char *p, unsigned bytes, uint64_t n) {
    for (unsigned i = 0; i < bytes; i++) {
        unsigned want = (unsigned)(n >> (7 * (bytes - 1 - i))) & 127;
        if (p[i] != (i == 0 ? want : (want | 128)))
            return false;
    }
    return true;
}

const char *blob_check_listpack(struct slice b, blob_each_fn *each, void *arg, uint64_t *ret_count) {
    const unsigned char *p = (const unsigned char *)b.p;
    uint64_t count = 0, at = LISTPACK_HEADER;
    if (b.n < LISTPACK_HEADER + 1)
        return "a listpack is too short";
    if (load_le32(p) != b.n)
        return "a listpack states another length than it has";
    if (p[b.n - 1] != BLOB_END)
        return "a listpack has no end mark";
    while (at < b.n - 1) {
        struct blob_item it;
        uint64_t left = b.n - 1 - at;
        uint64_t len = lp_element(p + at, left, &it);
        if (len == 0)
            return "an element of a listpack is damaged or reaches over its end";
        unsigned back = lp_back_bytes(len);
        if (back > left - len || !lp_back_matches(p + at + len, back, len))
            return "an element of a listpack has the wrong back length";
        const char *why = each != NULL ? each(arg, &it) : NULL;
        if (why != NULL)
            return why;
        at += len + back;
        count++;
    }
    unsigned stated = load_le16(p + 4);
    if (stated != COUNT_UNKNOWN && stated != count)
        return "a listpack states another number of elements than it has";
    *ret_count = count;
    return NULL;
}

/* ---- ziplist ---- */

/* Bytes of encoding and data of the entry at p, of which n > 0 are there; 0 where it does not fit or is no encoding. */
static uint64_t zl_entry(const unsigned char *p, uint64_t n, struct blob_item *it) {
    unsigned b = p[0];
    uint64_t head, len;
    *it = (struct blob_item){.is_int = false};
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

const char *blob_check_ziplist(struct slice b, blob_each_fn *each, void *arg, uint64_t *ret_count) {
    const unsigned char *p = (const unsigned char *)b.p;
    uint64_t count = 0, at = ZIPLIST_HEADER, last = ZIPLIST_HEADER, previous = 0;
    if (b.n < ZIPLIST_HEADER + 1)
        return "a ziplist is too short";
    if (load_le32(p) != b.n)
        return "a ziplist states another length than it has";
    if (p[b.n - 1] != BLOB_END)
        return "a ziplist has no end mark";
    while (at < b.n - 1) {
        struct blob_item it;
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

const char *blob_check_zipmap(struct slice b, blob_each_fn *each, void *arg, uint64_t *ret_count) {
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
            const struct blob_item it = {.s = slice_of(p + at, (size_t)len)};
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

/* ---- intset ---- */

const char *blob_check_intset(struct slice b, blob_each_fn *each, void *arg, uint64_t *ret_count) {
    const unsigned char *p = (const unsigned char *)b.p;
    int64_t before = 0;
    if (b.n < INTSET_HEADER)
        return "an intset is too short";
    uint64_t width = load_le32(p), count = load_le32(p + 4);
    if (width != 2 && width != 4 && width != 8)
        return "an intset has an unknown width";
    if (count * width != b.n - INTSET_HEADER)
        return "an intset states another number of integers than it has";
    for (uint64_t i = 0; i < count; i++) {
        const unsigned char *at = p + INTSET_HEADER + i * width;
        int64_t v = width == 2 ? (int16_t)load_le16(at) : width == 4 ? (int32_t)load_le32(at) : (int64_t)load_le64(at);
        if (i > 0 && v <= before)
            return "an intset is not sorted or repeats an integer";
        before = v;
        const struct blob_item it = {.is_int = true, .i = v};
        const char *why = each != NULL ? each(arg, &it) : NULL;
        if (why != NULL)
            return why;
    }
    *ret_count = count;
    return NULL;
}
