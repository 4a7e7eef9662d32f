/* Inclusive ranges as GETRANGE, BITCOUNT and their like take them. Pure, any thread. */
#ifndef HF_COMMANDS_RANGE_H
#define HF_COMMANDS_RANGE_H

#include <stddef.h>
#include <stdint.h>

/* Cuts [start, end] to what a sequence of len elements has; negative positions count from the end. Returns how many
 * elements are left; *ret_start is written when that is not 0. len ≤ INT64_MAX. */
size_t range_cut(int64_t start, int64_t end, size_t len, size_t *ret_start);

#endif
