/* HyperLogLogs as Redis keeps them in strings: estimates of how many different elements were seen, from 16,384
 * registers that hold the highest rank of the elements that fell to them.
 *
 * Sources: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog" (2007); Heule, Nunkesser, Hall, "HyperLogLog in practice"
 * (2013) for the sparse form; Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017) for the
 * estimate. An object's bytes, its changes of form and its estimates are those of redis-server, bit by bit.
 *
 * Objects are bytes of the caller. Everything but hll_kind_of() trusts them: bytes from outside are shown to it first.
 * Thread: any; pure. Nothing fails.
 */
#ifndef HF_DS_HLL_H
#define HF_DS_HLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

#define HLL_REGISTERS 16384u
#define HLL_REGISTER_BITS 6u
#define HLL_HEADER_BYTES 16u
#define HLL_DENSE_BYTES (HLL_HEADER_BYTES + HLL_REGISTERS * HLL_REGISTER_BITS / 8)
/* A sparse object has at most two bytes a register. */
#define HLL_SPARSE_BYTES_MAX (HLL_HEADER_BYTES + 2 * HLL_REGISTERS)

enum hll_kind {
    HLL_FOREIGN, /* no HyperLogLog */
    HLL_CORRUPT, /* one with a sound header, but registers that are not 16,384 */
    HLL_DENSE,
    HLL_SPARSE,
};
/* What bytes are; a sparse object is looked through. */
enum hll_kind hll_kind_of(struct slice object);

/* The register an element falls to, and its rank there (1 … 51). */
struct hll_place {
    uint32_t index;
    unsigned rank;
};
struct hll_place hll_place_of(struct slice element);

/* ---- the estimate kept in the header ---- */

/* False where it was forgotten. */
bool hll_kept_count(struct slice object, uint64_t *ret_count);
void hll_keep_count(unsigned char *object, uint64_t count);
void hll_forget_count(unsigned char *object);

/* ---- dense objects ---- */

unsigned hll_dense_get(const unsigned char *object, uint32_t index);
void hll_dense_set(unsigned char *object, uint32_t index, unsigned rank);

/* ---- objects of either form that change ---- */

/* Room for an object that may change its form. */
struct hll_edit {
    size_t n;            /* bytes of the object */
    size_t resume_at;    /* sparse: an opcode behind which a search may begin, or 0 */
    uint32_t resume_reg; /* its first register */
    unsigned char bytes[HLL_SPARSE_BYTES_MAX + 8];
};
/* An empty one, sparse. */
void hll_edit_create(struct hll_edit *h);
void hll_edit_load(struct hll_edit *h, struct slice object);
static inline struct slice hll_edit_object(const struct hll_edit *h) {
    return slice_of(h->bytes, h->n);
}
bool hll_edit_is_dense(const struct hll_edit *h);
/* Raises a register to a rank; false where it was there already. A sparse object becomes dense where it would grow over
 * sparse_max_bytes, or by a rank that only dense ones hold. The estimate stays as it was kept. */
bool hll_edit_raise(struct hll_edit *h, struct hll_place place, size_t sparse_max_bytes);
/* Raises all registers, in their order. */
void hll_edit_raise_all(struct hll_edit *h, const uint8_t registers[static HLL_REGISTERS], size_t sparse_max_bytes);
void hll_edit_make_dense(struct hll_edit *h);

/* ---- runs of a sparse object ---- */

struct hll_run {
    uint32_t length; /* registers */
    unsigned rank;   /* 0 … 32 */
    unsigned bytes;  /* 1, or 2: a long run of zeroes */
};
/* The run that begins at p, an opcode of a sound object. */
static inline struct hll_run hll_run_at(const unsigned char *p) {
    unsigned op = p[0];
    if (op & 0x80)
        return (struct hll_run){.length = (op & 3) + 1, .rank = ((op >> 2) & 31) + 1, .bytes = 1};
    if (op & 0x40)
        return (struct hll_run){.length = ((op & 63) << 8 | p[1]) + 1, .bytes = 2};
    return (struct hll_run){.length = (op & 63) + 1, .bytes = 1};
}

/* Whether n bytes of a sparse object are whole opcodes for exactly 16,384 registers. The second gives the same without
 * vector units. */
bool hll_runs_are_sound(const unsigned char *p, size_t n);
bool hll_runs_are_sound_portable(const unsigned char *p, size_t n);

/* ---- estimates ---- */

uint64_t hll_count(struct slice object);
/* Raises registers, one a byte, to those of an object. */
void hll_merge(uint8_t registers[static HLL_REGISTERS], struct slice object);
uint64_t hll_count_registers(const uint8_t registers[static HLL_REGISTERS]);
/* hll_merge() of a dense object without vector units. */
void hll_merge_dense_portable(uint8_t registers[static HLL_REGISTERS], const unsigned char *object);

#endif
