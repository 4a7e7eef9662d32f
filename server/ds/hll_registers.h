/* How the registers of a HyperLogLog lie in bytes, and the kernels that count over them, with vector units and without.
 * For hll.h and for the tests that hold the kernels against each other. Pure. Thread: any. Nothing fails. */
#ifndef HF_DS_HLL_REGISTERS_H
#define HF_DS_HLL_REGISTERS_H

#include "server/ds/hll.h"

/* Where the form stands in an object. */
#define HLL_FORM_AT 4
#define HLL_FORM_DENSE 0
#define HLL_FORM_SPARSE 1

/* The registers of a dense object from one byte each. */
void hll_pack(unsigned char *object, const uint8_t registers[static HLL_REGISTERS]);
/* The estimate for registers of which histogram[r] have rank r. */
uint64_t hll_estimate(const uint32_t histogram[static 64]);

#if defined(__x86_64__)
/* Called behind each function for AVX2, by a caller that is none: where the upper halves of the vector registers are
 * left in use, every SSE instruction of the process is slow from then on. The compiler's own clearing (gcc 12) is not
 * there at the end of every such function, and one written there may be moved in front of the last instructions. */
static inline void hll_clear_upper_halves(void) {
    __asm__ volatile("vzeroupper" ::: "memory");
}
#endif

#endif
