/* Layout, little endian:
 *
 *   u32 bytes of the block, u16 count (65535: not known), elements, 0xFF
 *   element: encoding, data, back length
 *
 *   0vvvvvvv                   integer 0 … 127
 *   10nnnnnn data              string of up to 63 bytes
 *   110vvvvv v                 13-bit integer, the high bits first
 *   1110nnnn n data            string of up to 4095 bytes, the high bits first
 *   11110000 u32 data          longer string
 *   11110001 … 11110100        integer of 16, 24, 32, 64 bits
 *
 * The back length is the number of bytes of encoding and data, in groups of 7 bits, the most significant first; all but
 * the first byte have the top bit set, so that it can be read backwards. Its width follows listpack_back_bytes(), which
 * is how programs step forward without reading it.
 *
 * Invariants (listpack_check()):
 *   1. bytes_le is the sum of header, elements and end mark.
 *   2. count_le is the number of elements, or 65535; 65535 may stay after deletions.
 *   3. Every back length is that of its element, in its one width.
 * Not required: the shortest encoding of an element. What is written here always has it.
 */
#include "config.h"

#include "server/ds/listpack.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"

_Static_assert(sizeof(struct listpack) == LISTPACK_HEADER_BYTES, "the header has no padding");
_Static_assert(offsetof(struct listpack, count_le) == 4, "the count stands behind the bytes");

#define SHRINK_SLACK_BYTES 64

static int64_t sign_extend(uint64_t v, unsigned bits) {
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

static uint32_t load_le24(const unsigned char *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static unsigned char *at_ptr(struct listpack *lp, uint32_t at) {
    return (unsigned char *)lp + at;
}

static void set_bytes(struct listpack *lp, uint32_t n) {
    store_le32(lp->bytes_le, n);
}

static void add_count(struct listpack *lp, int64_t delta) {
    int64_t n = load_le16(lp->count_le);
    if (n == LISTPACK_COUNT_UNKNOWN)
        return;
    n += delta;
    store_le16(lp->count_le, (uint16_t)(n < LISTPACK_COUNT_UNKNOWN ? n : LISTPACK_COUNT_UNKNOWN));
}

/* ---- encoding ---- */

struct code {
    unsigned char head[9];
    uint8_t head_n;
    uint8_t back_n;
    uint32_t body_n;
    const char *body;
    uint32_t total; /* with the back length */
};

static void encode_int(struct code *c, int64_t v) {
    c->body_n = 0;
    c->body = NULL;
    c->back_n = 1;
    if (v >= 0 && v <= 127) {
        c->head[0] = (unsigned char)v;
        c->head_n = 1;
    } else if (v >= -4096 && v <= 4095) {
        c->head[0] = (unsigned char)(0xC0 | (((uint64_t)v >> 8) & 31));
        c->head[1] = (unsigned char)v;
        c->head_n = 2;
    } else {
        c->head_n = v == (int16_t)v ? 3 : v >= -8388608 && v <= 8388607 ? 4 : v == (int32_t)v ? 5 : 9;
        c->head[0] = (unsigned char)(c->head_n == 9 ? 0xF4 : 0xEE + c->head_n);
        unsigned char raw[8];
        store_le64(raw, (uint64_t)v);
        memcpy(c->head + 1, raw, c->head_n - 1u);
    }
    c->total = c->head_n + 1u;
}

/* Canonical decimal integers only; most strings are told apart by length and first byte. */
static inline bool spells_int(struct slice s, int64_t *ret_value) {
    if (s.n == 0 || s.n > 20 || !((s.p[0] >= '0' && s.p[0] <= '9') || s.p[0] == '-'))
        return false;
    return num_parse_i64(s, ret_value) == 0;
}

/* 0, or -1 where v is too long. */
static int encode(struct code *c, struct packed_item v) {
    int64_t i = v.i;
    if (v.is_int || spells_int(v.s, &i)) {
        encode_int(c, i);
        return 0;
    }
    size_t n = v.s.n;
    if (n >= LISTPACK_MAX_BYTES)
        return -1;
    if (n < 64) {
        c->head[0] = (unsigned char)(0x80 | n);
        c->head_n = 1;
    } else if (n < 4096) {
        c->head[0] = (unsigned char)(0xE0 | n >> 8);
        c->head[1] = (unsigned char)n;
        c->head_n = 2;
    } else {
        c->head[0] = 0xF0;
        store_le32(c->head + 1, (uint32_t)n);
        c->head_n = 5;
    }
    c->body = v.s.p;
    c->body_n = (uint32_t)n;
    uint32_t len = c->head_n + c->body_n;
    c->back_n = (uint8_t)listpack_back_bytes(len);
    c->total = len + c->back_n;
    return 0;
}

static void write_code(unsigned char *p, const struct code *c) {
    memcpy(p, c->head, c->head_n);
    p += c->head_n;
    if (c->body_n != 0)
        memcpy(p, c->body, c->body_n);
    p += c->body_n;
    uint32_t len = c->head_n + c->body_n;
    for (unsigned i = c->back_n; i-- > 0; len >>= 7)
        p[i] = (unsigned char)((len & 127) | (i == 0 ? 0u : 128u));
}

uint64_t listpack_item_bytes(struct packed_item v) {
    struct code c;
    return encode(&c, v) == 0 ? c.total : UINT64_MAX;
}

struct packed_item listpack_get_slow(const unsigned char *e) {
    unsigned b = e[0];
    if (b < 0x80)
        return packed_int(b);
    if (b < 0xC0)
        return packed_bytes(slice_of(e + 1, b & 63));
    if (b < 0xE0)
        return packed_int(sign_extend((uint64_t)(b & 31) << 8 | e[1], 13));
    if (b < 0xF0)
        return packed_bytes(slice_of(e + 2, (size_t)(b & 15) << 8 | e[1]));
    switch (b) {
    case 0xF0:
        return packed_bytes(slice_of(e + 5, load_le32(e + 1)));
    case 0xF1:
        return packed_int((int16_t)load_le16(e + 1));
    case 0xF2:
        return packed_int(sign_extend(load_le24(e + 1), 24));
    case 0xF3:
        return packed_int((int32_t)load_le32(e + 1));
    case 0xF4:
        return packed_int((int64_t)load_le64(e + 1));
    default:
        HF_PANIC("byte 0x%02x begins no element of a listpack", b);
    }
}

/* ---- the block ---- */

struct listpack *listpack_create(size_t room_bytes) {
    struct listpack *lp = mem_alloc(room_bytes > LISTPACK_EMPTY_BYTES ? room_bytes : LISTPACK_EMPTY_BYTES);
    set_bytes(lp, LISTPACK_EMPTY_BYTES);
    store_le16(lp->count_le, 0);
    lp->rest[0] = LISTPACK_END;
    return lp;
}

void listpack_destroy(struct listpack *lp) {
    mem_free(lp);
}

struct listpack *listpack_dup(const struct listpack *lp) {
    uint32_t n = listpack_bytes(lp);
    struct listpack *copy = mem_alloc(n);
    memcpy(copy, lp, n);
    return copy;
}

struct listpack *listpack_try_load(struct slice validated) {
    struct listpack *lp = mem_try_alloc(validated.n);
    if (lp != NULL)
        memcpy(lp, validated.p, validated.n);
    return lp;
}

void listpack_shrink(struct listpack **lp) {
    uint32_t n = listpack_bytes(*lp);
    if (mem_usable_size(*lp) > mem_good_size(n))
        *lp = mem_realloc(*lp, n);
}

uint32_t listpack_count(const struct listpack *lp) {
    uint32_t n = load_le16(lp->count_le);
    if (__builtin_expect(n != LISTPACK_COUNT_UNKNOWN, 1))
        return n;
    n = 0;
    for (uint32_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at))
        n++;
    return n;
}

/* ---- walking ---- */

/* The element that ends in front of `at`, which is not the first. */
static uint32_t step_back(const struct listpack *lp, uint32_t at) {
    const unsigned char *p = listpack_ptr(lp, at) - 1;
    uint32_t n = *p & 127;
    unsigned shift = 7;
    for (; *p & 128; shift += 7)
        n |= (uint32_t)(*--p & 127) << shift;
    return at - shift / 7 - n;
}

uint32_t listpack_prev(const struct listpack *lp, uint32_t at) {
    return at == LISTPACK_HEADER_BYTES ? 0 : step_back(lp, at);
}

uint32_t listpack_last(const struct listpack *lp) {
    return listpack_is_empty(lp) ? 0 : step_back(lp, listpack_bytes(lp) - 1);
}

uint32_t listpack_seek(const struct listpack *lp, int64_t index) {
    uint32_t count = load_le16(lp->count_le);
    if (count != LISTPACK_COUNT_UNKNOWN) {
        if (index >= count || index < -(int64_t)count)
            return 0;
        if (index >= 0 && index > count / 2)
            index -= count;
        else if (index < 0 && -index > count / 2)
            index += count;
    }
    uint32_t at;
    if (index >= 0) {
        for (at = listpack_first(lp); at != 0 && index > 0; index--)
            at = listpack_next(lp, at);
    } else {
        for (at = listpack_last(lp); at != 0 && index < -1; index++)
            at = listpack_prev(lp, at);
    }
    return at;
}

static inline bool element_is(const unsigned char *e, struct slice s, bool s_is_int, int64_t s_int) {
    struct packed_item it;
    if (e[0] < 0x80)
        return s_is_int && s_int == e[0];
    if (e[0] < 0xC0)
        return (e[0] & 63u) == s.n && memcmp(e + 1, s.p, s.n) == 0;
    it = listpack_get_slow(e);
    return it.is_int ? s_is_int && s_int == it.i : slice_eq(it.s, s);
}

bool listpack_equals(const struct listpack *lp, uint32_t at, struct slice s) {
    int64_t i = 0;
    bool is_int = spells_int(s, &i);
    return element_is(listpack_ptr(lp, at), s, is_int, i);
}

uint32_t listpack_find(const struct listpack *lp, uint32_t from, struct slice s, unsigned skip) {
    if (from == 0)
        return 0;
    int64_t i = 0;
    bool is_int = spells_int(s, &i);
    unsigned left = 0;
    if (s.n == 0)
        s.p = ""; /* memcmp() wants a pointer */
    for (uint32_t at = from; at != 0; at = listpack_next(lp, at)) {
        if (left != 0) {
            left--;
            continue;
        }
        if (element_is(listpack_ptr(lp, at), s, is_int, i))
            return at;
        left = skip;
    }
    return 0;
}

/* ---- changing ---- */

/* Makes room for n bytes in the block. */
static void reserve(struct listpack **lp, size_t n) {
    if (n > mem_usable_size(*lp))
        *lp = mem_realloc(*lp, n);
}

void listpack_reserve(struct listpack **lp, size_t bytes) {
    reserve(lp, bytes);
}

/* Turns the `cut` bytes at `at` into `add` bytes of room and sets the size. NULL where it would be too big. */
static unsigned char *splice(struct listpack **lp, uint32_t at, uint32_t cut, uint32_t add) {
    uint32_t old = listpack_bytes(*lp);
    HF_ASSERT(at >= LISTPACK_HEADER_BYTES && at < old && cut <= old - 1 - at);
    uint64_t size = (uint64_t)old - cut + add;
    if (size > LISTPACK_MAX_BYTES && add > cut)
        return NULL;
    if (add > cut)
        reserve(lp, size);
    unsigned char *p = at_ptr(*lp, at);
    if (add != cut)
        memmove(p + add, p + cut, old - at - cut);
    set_bytes(*lp, (uint32_t)size);
    if (add < cut && mem_usable_size(*lp) / 2 > size + SHRINK_SLACK_BYTES) {
        *lp = mem_realloc(*lp, size);
        p = at_ptr(*lp, at);
    }
    return p;
}

static int put(struct listpack **lp, uint32_t at, uint32_t cut, struct packed_item v) {
    struct code c;
    if (encode(&c, v) != 0)
        return -1;
    unsigned char *p = splice(lp, at, cut, c.total);
    if (p == NULL)
        return -1;
    write_code(p, &c);
    if (cut == 0)
        add_count(*lp, 1);
    return 0;
}

int listpack_insert_before(struct listpack **lp, uint32_t at, struct packed_item v) {
    return put(lp, at, 0, v);
}

int listpack_append(struct listpack **lp, struct packed_item v) {
    return put(lp, listpack_bytes(*lp) - 1, 0, v);
}

int listpack_prepend(struct listpack **lp, struct packed_item v) {
    return put(lp, LISTPACK_HEADER_BYTES, 0, v);
}

int listpack_insert_after(struct listpack **lp, uint32_t at, struct packed_item v, uint32_t *ret_at) {
    uint32_t behind = listpack_skip(*lp, at);
    if (put(lp, behind, 0, v) != 0)
        return -1;
    if (ret_at != NULL)
        *ret_at = behind;
    return 0;
}

int listpack_replace(struct listpack **lp, uint32_t at, struct packed_item v) {
    return put(lp, at, listpack_skip(*lp, at) - at, v);
}

int listpack_append_all(struct listpack **lp, const struct packed_item *v, size_t n) {
    uint32_t at = listpack_bytes(*lp) - 1;
    uint64_t bound = at + UINT64_C(1);
    for (size_t i = 0; i < n; i++) {
        bound += LISTPACK_ELEMENT_OVERHEAD_BYTES;
        if (__builtin_add_overflow(bound, v[i].is_int ? 0 : v[i].s.n, &bound) || bound > LISTPACK_MAX_BYTES)
            return -1;
    }
    reserve(lp, bound);
    for (size_t i = 0; i < n; i++) {
        struct code c;
        HF_ASSERT(encode(&c, v[i]) == 0);
        write_code(at_ptr(*lp, at), &c);
        at += c.total;
    }
    *at_ptr(*lp, at) = LISTPACK_END;
    set_bytes(*lp, at + 1);
    add_count(*lp, n < LISTPACK_COUNT_UNKNOWN ? (int64_t)n : (int64_t)LISTPACK_COUNT_UNKNOWN);
    return 0;
}

uint32_t listpack_delete(struct listpack **lp, uint32_t at, uint32_t n, uint32_t *ret_deleted) {
    uint32_t end = at, deleted = 0;
    while (deleted < n && *listpack_ptr(*lp, end) != LISTPACK_END) {
        end = listpack_skip(*lp, end);
        deleted++;
    }
    if (deleted != 0) {
        (void)splice(lp, at, end - at, 0);
        if (listpack_is_empty(*lp))
            store_le16((*lp)->count_le, 0);
        else
            add_count(*lp, -(int64_t)deleted);
    }
    if (ret_deleted != NULL)
        *ret_deleted = deleted;
    return *listpack_ptr(*lp, at) == LISTPACK_END ? 0 : at;
}

uint32_t listpack_delete_range(struct listpack **lp, int64_t index, uint32_t n) {
    uint32_t at = listpack_seek(*lp, index), deleted = 0;
    if (at != 0)
        (void)listpack_delete(lp, at, n, &deleted);
    return deleted;
}

void listpack_clear(struct listpack **lp) {
    (void)splice(lp, LISTPACK_HEADER_BYTES, listpack_bytes(*lp) - LISTPACK_EMPTY_BYTES, 0);
    store_le16((*lp)->count_le, 0);
}

int listpack_concat(struct listpack **lp, const struct listpack *src) {
    uint32_t body = listpack_bytes(src) - LISTPACK_EMPTY_BYTES;
    if (body == 0)
        return 0;
    unsigned char *p = splice(lp, listpack_bytes(*lp) - 1, 0, body);
    if (p == NULL)
        return -1;
    memcpy(p, src->rest, body);
    uint32_t count = load_le16(src->count_le);
    if (count == LISTPACK_COUNT_UNKNOWN)
        store_le16((*lp)->count_le, LISTPACK_COUNT_UNKNOWN);
    else
        add_count(*lp, count);
    return 0;
}

struct listpack *listpack_split(struct listpack **lp, uint32_t at) {
    uint32_t body = listpack_bytes(*lp) - 1 - at, count = 0;
    struct listpack *tail = listpack_create(LISTPACK_EMPTY_BYTES + body);
    memcpy(tail->rest, listpack_ptr(*lp, at), body + 1);
    set_bytes(tail, LISTPACK_EMPTY_BYTES + body);
    (void)listpack_delete(lp, at, UINT32_MAX, &count);
    add_count(tail, count);
    return tail;
}

/* ---- random ---- */

uint32_t listpack_random(const struct listpack *lp, unsigned stride, struct rng *rng) {
    uint32_t groups = listpack_count(lp) / stride;
    if (groups == 0)
        return 0;
    return listpack_seek(lp, (int64_t)(rng_below(rng, groups) * stride));
}

/* A pick: the index of the group, then the place where its offset goes. */
static int by_group(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void listpack_random_picks(const struct listpack *lp, unsigned stride, struct rng *rng, uint32_t *ret_at, uint32_t n) {
    uint32_t groups = listpack_count(lp) / stride;
    HF_ASSERT(groups != 0);
    uint64_t *picks = mem_calloc(n, sizeof *picks);
    for (uint32_t i = 0; i < n; i++)
        picks[i] = rng_below(rng, groups) << 32 | i;
    qsort(picks, n, sizeof *picks, by_group);
    uint32_t at = LISTPACK_HEADER_BYTES;
    uint64_t index = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint64_t want = (picks[i] >> 32) * stride; index < want; index++)
            at = listpack_skip(lp, at);
        ret_at[(uint32_t)picks[i]] = at;
    }
    mem_free(picks);
}

uint32_t listpack_random_distinct(const struct listpack *lp, unsigned stride, struct rng *rng, uint32_t *ret_at,
                                  uint32_t n) {
    /* Selection sampling (Knuth, volume 2, algorithm 3.4.2 S): each is taken with the chance wanted / left. */
    uint32_t left = listpack_count(lp) / stride, got = 0;
    if (n > left)
        n = left;
    for (uint32_t at = LISTPACK_HEADER_BYTES; got < n; left--) {
        if (rng_below(rng, left) < n - got)
            ret_at[got++] = at;
        for (unsigned i = 0; i < stride; i++)
            at = listpack_skip(lp, at);
    }
    return n;
}

/* ---- trust ---- */

/* Bytes of encoding and data of the element at p, of which n > 0 are there; 0 where it does not fit or is no encoding.
 */
static uint64_t measure(const unsigned char *p, uint64_t n) {
    unsigned b = p[0];
    uint64_t head = b < 0xC0 ? 1 : b < 0xF0 ? 2 : b == 0xF0 ? 5 : 1;
    if (b > 0xF4 || n < head)
        return 0;
    uint64_t len = b == 0xF0 ? UINT64_C(5) + load_le32(p + 1) : listpack_element_bytes(p);
    return len <= n ? len : 0;
}

static bool back_matches(const unsigned char *p, unsigned width, uint64_t n) {
    for (unsigned i = 0; i < width; i++) {
        unsigned want = (unsigned)(n >> (7 * (width - 1 - i))) & 127;
        if (p[i] != (i == 0 ? want : (want | 128)))
            return false;
    }
    return true;
}

uint32_t listpack_verify_slow(const unsigned char *e, uint32_t left) {
    if (left > 1 && e[0] < 0xF5 && e[0] != 0xF0) {
        uint32_t n = listpack_element_bytes(e);
        if (n < 128 && n < left && e[n] == n)
            return n + 1;
    }
    uint64_t len = measure(e, left);
    unsigned back = listpack_back_bytes(len);
    if (len == 0 || back > left - len || !back_matches(e + len, back, len))
        return 0;
    return (uint32_t)len + back;
}

const char *listpack_validate(struct slice b, bool deep, packed_each_fn *each, void *arg, uint64_t *ret_count) {
    const unsigned char *p = (const unsigned char *)b.p;
    if (b.n < LISTPACK_EMPTY_BYTES)
        return "a listpack is too short";
    if (load_le32(p) != b.n)
        return "a listpack states another length than it has";
    if (p[b.n - 1] != LISTPACK_END)
        return "a listpack has no end mark";
    unsigned stated = load_le16(p + 4);
    if (!deep) {
        *ret_count = stated != LISTPACK_COUNT_UNKNOWN ? stated : UINT64_MAX;
        return NULL;
    }
    uint64_t count = 0, at = LISTPACK_HEADER_BYTES;
    while (at < b.n - 1) {
        uint64_t left = b.n - 1 - at, len;
        if (p[at] < 0xF5 && p[at] != 0xF0 && each == NULL) {
            len = listpack_element_bytes(p + at); /* the second byte, if there is none, is the end mark */
            if (len < 128 && len < left && p[at + len] == len) { /* short: one byte of back length */
                at += len + 1;
                count++;
                continue;
            }
        }
        len = measure(p + at, left);
        if (len == 0)
            return "an element of a listpack is damaged or reaches over its end";
        unsigned back = listpack_back_bytes(len);
        if (back > left - len || !back_matches(p + at + len, back, len))
            return "an element of a listpack has the wrong back length";
        if (each != NULL) {
            const struct packed_item it = listpack_get_slow(p + at);
            const char *why = each(arg, &it);
            if (why != NULL)
                return why;
        }
        at += len + back;
        count++;
    }
    if (stated != LISTPACK_COUNT_UNKNOWN && stated != count)
        return "a listpack states another number of elements than it has";
    *ret_count = count;
    return NULL;
}

void listpack_check(const struct listpack *lp) {
    uint64_t count;
    const char *why = listpack_validate(listpack_slice(lp), true, NULL, NULL, &count);
    if (why != NULL)
        HF_PANIC("%s", why);
    HF_ASSERT(mem_usable_size(lp) >= listpack_bytes(lp));
}
