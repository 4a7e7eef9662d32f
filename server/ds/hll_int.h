/* Registers packed into bytes. Internal to hll.c and hll_registers.c. */
#ifndef HF_DS_HLL_INT_H
#define HF_DS_HLL_INT_H

#include "server/ds/hll.h"

/* Where the form stands in an object. */
#define HLL_FORM_AT 4
#define HLL_FORM_DENSE 0
#define HLL_FORM_SPARSE 1

/* The registers of a dense object from one byte each. */
void hll_pack(unsigned char *object, const uint8_t registers[static HLL_REGISTERS]);
/* The estimate for registers of which histogram[r] have rank r. */
uint64_t hll_estimate(const uint32_t histogram[static 64]);

/* Whether n bytes of a sparse object are whole opcodes for exactly 16,384 registers. The second gives the same without
 * vector units. */
bool hll_runs_are_sound(const unsigned char *p, size_t n);
bool hll_runs_are_sound_portable(const unsigned char *p, size_t n);

#endif
