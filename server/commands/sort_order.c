/* A radix sort from the most significant byte on over 64-bit keys, which leaves out the buckets that nobody asked for;
 * so LIMIT costs little more than a pass. Small runs are sorted by insertion. The key of a text is its next eight
 * bytes, big-endian; runs of equal ones go on with the eight after them (multikey sorting with cached characters: Ng
 * and Kakehi, "Cache Efficient Radix Sort for String Sorting", 2007). Descending, keys are inverted.
 */
#include "config.h"

#include "server/commands/sort_order.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/num.h"

#define INSERTION_MAX 24
#define TOP_SHIFT 56
#define CHUNK_BYTES 8u
#define CHUNKED_BYTES_MAX 128u /* beyond, runs are compared text by text: recursion is bounded */

_Static_assert(sizeof(struct sort_item) == 24, "what is moved around");

struct job {
    const struct sort_order *o;
    struct sort_item *other; /* as many as there are items */
    bool texts;
};

uint64_t sort_key(double number) {
    uint64_t bits;
    if (number == 0)
        number = 0; /* without a sign */
    memcpy(&bits, &number, sizeof bits);
    return bits >> 63 != 0 ? ~bits : bits | UINT64_C(1) << 63;
}

/* ---- comparing two ---- */

static int compare_bytes(struct slice a, struct slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int r = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return r != 0 ? r : a.n < b.n ? -1 : a.n > b.n;
}

static struct slice text_of_element(const struct job *j, uint32_t index, char digits[NUM_I64_CHARS]) {
    const struct sort_element *e = &j->o->elements[index];
    if (e->n == SORT_ELEMENT_INT)
        return slice_of(digits, num_format_i64(digits, e->i));
    return slice_of(j->o->text->data + e->at, e->n);
}

/* Of two items with equal keys. */
static int compare_rest(const struct job *j, const struct sort_item *a, const struct sort_item *b) {
    char x[NUM_I64_CHARS], y[NUM_I64_CHARS];
    int r;
    if (j->texts)
        r = compare_bytes(slice_of(j->o->text->data + a->at, a->n), slice_of(j->o->text->data + b->at, b->n));
    else
        r = compare_bytes(text_of_element(j, a->index, x), text_of_element(j, b->index, y));
    if (r != 0)
        return j->o->descending ? -r : r;
    return a->index < b->index ? -1 : a->index > b->index;
}

static inline bool is_less(const struct job *j, const struct sort_item *a, const struct sort_item *b) {
    return a->key != b->key ? a->key < b->key : compare_rest(j, a, b) < 0;
}

static void sort_few(const struct job *j, struct sort_item *items, size_t n) {
    for (size_t i = 1; i < n; i++) {
        const struct sort_item x = items[i];
        size_t k = i;
        for (; k > 0 && is_less(j, &x, &items[k - 1]); k--)
            items[k] = items[k - 1];
        items[k] = x;
    }
}

static int compare_equal_keys(const void *a, const void *b, void *job) {
    return compare_rest(job, a, b);
}

/* ---- runs of equal keys ---- */

static void sort_run(const struct job *j, struct sort_item *items, size_t n, size_t from, size_t to, int shift,
                     uint32_t depth);

static uint64_t chunk_key(const struct sort_order *o, const struct sort_item *item, uint32_t depth) {
    unsigned char chunk[CHUNK_BYTES] = {0};
    if (item->n > depth) {
        uint32_t n = item->n - depth;
        memcpy(chunk, o->text->data + item->at + depth, n < CHUNK_BYTES ? n : CHUNK_BYTES);
    }
    uint64_t key = 0;
    for (unsigned i = 0; i < CHUNK_BYTES; i++)
        key = key << 8 | chunk[i];
    return o->descending ? ~key : key;
}

static void sort_texts_from(const struct job *j, struct sort_item *items, size_t n, size_t from, size_t to,
                            uint32_t depth) {
    for (size_t i = 0; i < n; i++)
        items[i].key = chunk_key(j->o, &items[i], depth);
    sort_run(j, items, n, from, to, TOP_SHIFT, depth);
}

/* Texts whose bytes up to depth + CHUNK_BYTES, or their ends and zeros, are equal. */
static void sort_equal_chunks(const struct job *j, struct sort_item *items, size_t n, size_t from, size_t to,
                              uint32_t depth) {
    uint32_t shortest = UINT32_MAX, longest = 0;
    for (size_t i = 0; i < n; i++) {
        shortest = items[i].n < shortest ? items[i].n : shortest;
        longest = items[i].n > longest ? items[i].n : longest;
    }
    if (shortest == longest && longest <= depth + CHUNK_BYTES)
        return; /* the same text, and in the order of indexes already */
    if (shortest > depth + CHUNK_BYTES && depth < CHUNKED_BYTES_MAX)
        sort_texts_from(j, items, n, from, to, depth + CHUNK_BYTES);
    else
        qsort_r(items, n, sizeof *items, compare_equal_keys, (void *)(uintptr_t)j);
}

/* Elements of equal numbers, by their texts. */
static void sort_equal_numbers(const struct job *j, struct sort_item *items, size_t n, size_t from, size_t to) {
    const struct sort_element *elements = j->o->elements;
    size_t ints = 0;
    for (size_t i = 0; i < n; i++)
        ints +=
            elements[items[i].index].n == SORT_ELEMENT_INT && elements[items[i].index].i == elements[items[0].index].i;
    if (ints == n)
        return;
    for (size_t i = 0; i < n; i++) {
        const struct sort_element *e = &elements[items[i].index];
        items[i].at = e->at;
        items[i].n = e->n;
        if (e->n == SORT_ELEMENT_INT) {
            char digits[NUM_I64_CHARS];
            items[i].at = j->o->text->len;
            items[i].n = (uint32_t)num_format_i64(digits, e->i);
            buf_append(j->o->text, digits, items[i].n);
        }
    }
    struct job texts = *j;
    texts.texts = true;
    sort_texts_from(&texts, items, n, from, to, 0);
}

/* ---- the radix sort ---- */

/* Distributes by one byte. False where all have the same. */
static bool distribute(const struct job *j, struct sort_item *items, size_t n, int shift, size_t ends[256]) {
    size_t counts[256] = {0};
    for (size_t i = 0; i < n; i++)
        counts[items[i].key >> shift & 255]++;
    if (counts[items[0].key >> shift & 255] == n)
        return false;
    size_t at = 0;
    for (unsigned b = 0; b < 256; b++) {
        ends[b] = at;
        at += counts[b];
    }
    for (size_t i = 0; i < n; i++)
        j->other[ends[items[i].key >> shift & 255]++] = items[i];
    memcpy(items, j->other, n * sizeof *items);
    return true;
}

static void sort_run(const struct job *j, struct sort_item *items, size_t n, size_t from, size_t to, int shift,
                     uint32_t depth) {
    size_t ends[256];
    if (n <= INSERTION_MAX) {
        sort_few(j, items, n);
        return;
    }
    while (shift >= 0 && !distribute(j, items, n, shift, ends))
        shift -= 8;
    if (shift < 0 && j->texts) {
        sort_equal_chunks(j, items, n, from, to, depth);
    } else if (shift < 0) {
        sort_equal_numbers(j, items, n, from, to);
    } else {
        for (size_t b = 0, at = 0; b < 256; at = ends[b++]) {
            size_t size = ends[b] - at;
            if (size > 1 && at < to && ends[b] > from)
                sort_run(j, items + at, size, from > at ? from - at : 0, to - at < size ? to - at : size, shift - 8,
                         depth);
        }
    }
}

static struct sort_item *room_for(size_t count) {
    return mem_alloc(count * sizeof(struct sort_item));
}

void sort_by_numbers(const struct sort_order *o, struct sort_item *items, size_t count, size_t from, size_t to) {
    if (count == 0 || from >= to)
        return;
    struct job j = {.o = o, .other = room_for(count)};
    if (o->descending)
        for (size_t i = 0; i < count; i++)
            items[i].key = ~items[i].key;
    sort_run(&j, items, count, from, to, TOP_SHIFT, 0);
    mem_free(j.other);
}

void sort_by_texts(const struct sort_order *o, struct sort_item *items, size_t count, size_t from, size_t to) {
    if (count == 0 || from >= to)
        return;
    struct job j = {.o = o, .other = room_for(count), .texts = true};
    sort_texts_from(&j, items, count, from, to, 0);
    mem_free(j.other);
}

/* ---- numbers ---- */

/* Decimal digits with at most one point, of a size for which one division is exact (Clinger, "How to read floating
 * point numbers accurately", 1990). */
static bool parse_short(struct slice s, double *ret_number) {
    static const double powers[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    bool negative = s.n > 0 && s.p[0] == '-';
    size_t i = negative, digits = 0, behind = 0;
    uint64_t m = 0;
    bool point = false;
    if (s.n > 20)
        return false;
    for (; i < s.n; i++) {
        unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
        if (d > 9) {
            if (s.p[i] != '.' || point)
                return false;
            point = true;
            continue;
        }
        m = m * 10 + d;
        digits++;
        behind += point;
    }
    if (digits == 0 || digits > 18 || (behind != 0 && m > UINT64_C(1) << 53))
        return false;
    double v = (double)m / powers[behind];
    *ret_number = negative ? -v : v;
    return true;
}

bool sort_parse_number(struct slice s, double *ret_number) {
    if (parse_short(s, ret_number))
        return true;
    char *text = mem_strndup(s.n != 0 ? s.p : "", s.n), *end;
    errno = 0;
    double v = strtod(text, &end);
    bool good = *end == '\0' && errno != ERANGE && !isnan(v);
    mem_free(text);
    if (good)
        *ret_number = v;
    return good;
}
