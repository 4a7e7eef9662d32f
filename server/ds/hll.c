/* Layout
 *
 *   "HYLL", form (0 dense, 1 sparse), 3 bytes of no meaning, estimate (u64, little endian; the top bit: forgotten)
 *
 *   dense    6 bits a register, register 0 in the low bits of the first byte
 *   sparse   runs of equal registers, all 16,384 of them:
 *              00nnnnnn            n + 1 zeroes
 *              01nnnnnn nnnnnnnn   n + 1 zeroes, the high bits first
 *              1vvvvvnn            n + 1 times rank v + 1
 *
 * How a sparse object changes decides its bytes, so it is done as every other program does it: the run that holds the
 * register is cut in up to three; then neighbours of equal rank are joined, within five opcodes from the one before the
 * cut, as far as a run goes.
 *
 * Invariants of a sound sparse object: no opcode is cut off; the runs add up to 16,384.
 */
#include "config.h"

#include "server/ds/hll.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/endian.h"
#include "server/ds/hll_registers.h"

#define MAGIC "HYLL"
#define COUNT_AT 8
#define FORGOTTEN 0x80u

#define INDEX_BITS 14
#define RANK_BITS (64 - INDEX_BITS)

#define ZEROES_MAX 64
#define RANK_RUN_MAX 4
#define SPARSE_RANK_MAX 32
#define JOIN_LOOKS 5

_Static_assert(HLL_REGISTERS == 1u << INDEX_BITS, "a register for each index");
_Static_assert(HLL_DENSE_BYTES == 12304, "what other programs expect");

/* ---- elements ---- */

/* MurmurHash64A (A. Appleby), of little-endian words. */
static uint64_t murmur(struct slice s, uint64_t seed) {
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    const char *p = s.p, *words_end = s.p + (s.n & ~(size_t)7);
    uint64_t h = seed ^ (s.n * m);
    for (; p != words_end; p += 8) {
        uint64_t k = load_le64(p) * m;
        k = (k ^ k >> 47) * m;
        h = (h ^ k) * m;
    }
    if (s.n & 7) {
        unsigned char tail[8] = {0};
        memcpy(tail, p, s.n & 7);
        h = (h ^ load_le64(tail)) * m;
    }
    h = (h ^ h >> 47) * m;
    return h ^ h >> 47;
}

struct hll_place hll_place_of(struct slice element) {
    uint64_t hash = murmur(element, 0xadc83b19u);
    uint64_t rest = hash >> INDEX_BITS | UINT64_C(1) << RANK_BITS;
    return (struct hll_place){.index = (uint32_t)(hash & (HLL_REGISTERS - 1)),
                              .rank = (unsigned)__builtin_ctzll(rest) + 1};
}

/* ---- opcodes ---- */

static bool is_rank(unsigned char op) {
    return op & 0x80;
}

static unsigned char rank_op(unsigned rank, uint32_t length) {
    return (unsigned char)(0x80 | (rank - 1) << 2 | (length - 1));
}

/* Writes a run of zeroes, or of a rank of at most four; returns the place behind. */
static unsigned char *put_run(unsigned char *to, unsigned rank, uint32_t length) {
    if (length == 0)
        return to;
    uint32_t n = length - 1;
    if (rank != 0) {
        *to++ = rank_op(rank, length);
    } else if (length <= ZEROES_MAX) {
        *to++ = (unsigned char)n;
    } else {
        *to++ = (unsigned char)(0x40 | n >> 8);
        *to++ = (unsigned char)n;
    }
    return to;
}

/* ---- whole objects ---- */

enum hll_kind hll_kind_of(struct slice object) {
    const unsigned char *p = (const unsigned char *)object.p;
    if (object.n < HLL_HEADER_BYTES || memcmp(p, MAGIC, sizeof MAGIC - 1) != 0)
        return HLL_FOREIGN;
    if (p[HLL_FORM_AT] == HLL_FORM_DENSE)
        return object.n == HLL_DENSE_BYTES ? HLL_DENSE : HLL_FOREIGN;
    if (p[HLL_FORM_AT] != HLL_FORM_SPARSE)
        return HLL_FOREIGN;
    return hll_runs_are_sound(p + HLL_HEADER_BYTES, object.n - HLL_HEADER_BYTES) ? HLL_SPARSE : HLL_CORRUPT;
}

bool hll_kept_count(struct slice object, uint64_t *ret_count) {
    uint64_t count = load_le64(object.p + COUNT_AT);
    *ret_count = count;
    return !(count >> 63);
}

void hll_keep_count(unsigned char *object, uint64_t count) {
    store_le64(object + COUNT_AT, count);
}

void hll_forget_count(unsigned char *object) {
    object[COUNT_AT + 7] |= FORGOTTEN;
}

/* ---- dense objects ---- */

/* A register lies in one byte or two; behind the last one nothing is read. */
unsigned hll_dense_get(const unsigned char *object, uint32_t index) {
    const unsigned char *p = object + HLL_HEADER_BYTES + index * HLL_REGISTER_BITS / 8;
    unsigned shift = index * HLL_REGISTER_BITS % 8;
    unsigned bits = p[0] >> shift;
    if (shift > 8 - HLL_REGISTER_BITS)
        bits |= (unsigned)p[1] << (8 - shift);
    return bits & 63;
}

void hll_dense_set(unsigned char *object, uint32_t index, unsigned rank) {
    unsigned char *p = object + HLL_HEADER_BYTES + index * HLL_REGISTER_BITS / 8;
    unsigned shift = index * HLL_REGISTER_BITS % 8;
    unsigned mask = 63u << shift, bits = rank << shift;
    p[0] = (unsigned char)((p[0] & ~mask) | bits);
    if (shift > 8 - HLL_REGISTER_BITS)
        p[1] = (unsigned char)((p[1] & ~(mask >> 8)) | bits >> 8);
}

/* ---- objects that change ---- */

void hll_edit_create(struct hll_edit *h) {
    memset(h->bytes, 0, HLL_HEADER_BYTES);
    memcpy(h->bytes, MAGIC, sizeof MAGIC - 1);
    h->bytes[HLL_FORM_AT] = HLL_FORM_SPARSE;
    unsigned char *end = put_run(h->bytes + HLL_HEADER_BYTES, 0, HLL_REGISTERS);
    h->n = (size_t)(end - h->bytes);
    h->resume_at = 0;
}

void hll_edit_load(struct hll_edit *h, struct slice object) {
    HF_ASSERT(object.n >= HLL_HEADER_BYTES && object.n <= HLL_SPARSE_BYTES_MAX);
    memcpy(h->bytes, object.p, object.n);
    h->n = object.n;
    h->resume_at = 0;
}

bool hll_edit_is_dense(const struct hll_edit *h) {
    return h->bytes[HLL_FORM_AT] == HLL_FORM_DENSE;
}

void hll_edit_make_dense(struct hll_edit *h) {
    uint8_t registers[HLL_REGISTERS] = {0};
    hll_merge(registers, hll_edit_object(h));
    hll_pack(h->bytes, registers);
    h->bytes[HLL_FORM_AT] = HLL_FORM_DENSE;
    h->n = HLL_DENSE_BYTES;
}

static bool raise_dense(struct hll_edit *h, struct hll_place place) {
    if (hll_dense_get(h->bytes, place.index) >= place.rank)
        return false;
    hll_dense_set(h->bytes, place.index, place.rank);
    return true;
}

/* Where a register's run is. */
struct found {
    size_t before, at; /* before: the opcode in front of it, or 0 */
    uint32_t before_reg, reg;
    struct hll_run run;
};

static struct found find_run(const struct hll_edit *h, uint32_t index) {
    struct found f = {.at = HLL_HEADER_BYTES};
    if (h->resume_at != 0) {
        struct hll_run run = hll_run_at(h->bytes + h->resume_at);
        if (index >= h->resume_reg + run.length)
            f = (struct found){.before = h->resume_at,
                               .before_reg = h->resume_reg,
                               .at = h->resume_at + run.bytes,
                               .reg = h->resume_reg + run.length};
    }
    for (;;) {
        f.run = hll_run_at(h->bytes + f.at);
        if (index < f.reg + f.run.length)
            return f;
        f.before = f.at;
        f.before_reg = f.reg;
        f.at += f.run.bytes;
        f.reg += f.run.length;
    }
}

static void join_neighbours(struct hll_edit *h, size_t at) {
    for (unsigned looks = JOIN_LOOKS; looks > 0 && at + 1 < h->n; looks--) {
        unsigned char *p = h->bytes + at;
        struct hll_run run = hll_run_at(p);
        if (run.rank == 0 || !is_rank(p[1])) {
            at += run.bytes;
            continue;
        }
        struct hll_run next = hll_run_at(p + 1);
        if (next.rank != run.rank || run.length + next.length > RANK_RUN_MAX) {
            at++;
            continue;
        }
        p[0] = rank_op(run.rank, run.length + next.length);
        memmove(p + 1, p + 2, h->n - at - 2);
        h->n--;
    }
}

bool hll_edit_raise(struct hll_edit *h, struct hll_place place, size_t sparse_max_bytes) {
    if (!hll_edit_is_dense(h) && place.rank > SPARSE_RANK_MAX)
        hll_edit_make_dense(h);
    if (hll_edit_is_dense(h))
        return raise_dense(h, place);

    const struct found f = find_run(h, place.index);
    h->resume_at = f.before;
    h->resume_reg = f.before_reg;
    if (f.run.rank >= place.rank)
        return false;
    unsigned char cut[5];
    unsigned char *end = put_run(cut, f.run.rank, place.index - f.reg);
    end = put_run(end, place.rank, 1);
    end = put_run(end, f.run.rank, f.reg + f.run.length - 1 - place.index);
    const size_t size = (size_t)(end - cut);
    if (size > f.run.bytes && h->n + size - f.run.bytes > sparse_max_bytes) {
        hll_edit_make_dense(h);
        return raise_dense(h, place);
    }
    HF_ASSERT(h->n + size - f.run.bytes <= sizeof h->bytes);
    unsigned char *p = h->bytes + f.at;
    memmove(p + size, p + f.run.bytes, h->n - f.at - f.run.bytes);
    memcpy(p, cut, size);
    h->n += size;
    h->n -= f.run.bytes;
    join_neighbours(h, f.before != 0 ? f.before : HLL_HEADER_BYTES);
    return true;
}

void hll_edit_raise_all(struct hll_edit *h, const uint8_t registers[static HLL_REGISTERS], size_t sparse_max_bytes) {
    uint8_t own[HLL_REGISTERS] = {0};
    hll_merge(own, hll_edit_object(h));
    if (hll_edit_is_dense(h)) {
        for (uint32_t i = 0; i < HLL_REGISTERS; i++)
            own[i] = own[i] > registers[i] ? own[i] : registers[i];
        hll_pack(h->bytes, own);
        return;
    }
    for (uint32_t i = 0; i < HLL_REGISTERS; i++)
        if (registers[i] > own[i])
            (void)hll_edit_raise(h, (struct hll_place){.index = i, .rank = registers[i]}, sparse_max_bytes);
}
