/* Longest common subsequence of two byte strings. Pure, any thread; memory and time are the product of the lengths over
 * 8 and 64.
 *
 * Among several longest subsequences it picks the one that LCS of Redis picks: walking back from both ends, where the
 * last bytes differ it drops the last byte of a when that alone costs nothing and dropping b's would, else the last
 * byte of b.
 */
#ifndef HF_COMMANDS_LCS_H
#define HF_COMMANDS_LCS_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

struct lcs {
    struct slice a, b; /* borrowed */
    size_t words;      /* of a row */
    size_t len;        /* of the longest common subsequence, in bytes */
    uint64_t *rows;    /* owned; NULL when only the length was asked for */
};

enum { LCS_TOO_LARGE = -1, LCS_NO_MEMORY = -2 };

/* Fills *l. 0; LCS_TOO_LARGE when a table with four bytes for each pair of positions would exceed limit_bytes (what
 * Redis allocates and therefore refuses; here it bounds the time that the command may take); LCS_NO_MEMORY. */
int lcs_compute(struct lcs *l, struct slice a, struct slice b, int with_rows, uint64_t limit_bytes)
    __attribute__((warn_unused_result));
void lcs_free(struct lcs *l);
/* Calls each() for the runs of consecutive matching bytes, from the end to the beginning: a[a_start …] = b[b_start …]
 * over len bytes. Needs rows. */
void lcs_walk(const struct lcs *l, void (*each)(void *arg, size_t a_start, size_t b_start, size_t len), void *arg);

#endif
