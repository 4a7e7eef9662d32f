/* The bit-parallel recurrence of Hyyrö ("Bit-parallel LCS-length computation revisited", 2004).
 *
 * Let L(i, j) be the length for the first i bytes of a and j of b. Row i is held as one bit for each j: 0 where L(i, j)
 * = L(i, j-1) + 1. A row follows from the one before by one addition over the row's words:
 *
 *     V(0) = all ones,   U = V & M[a[i]],   V' = (V + U) | (V & ~M[a[i]])
 *
 * where bit j of M[c] says that b[j] = c. L(i, n) is the count of zero bits. Walking back, where a[i-1] != b[j-1], L(i,
 * j) is the greater of L(i-1, j) and L(i, j-1), so that L(i-1, j) > L(i, j-1) holds exactly when bit j of row i is 0:
 * the rows alone are enough, 32 times smaller than a table of numbers.
 */
#include "config.h"

#include "server/commands/lcs.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"

#define BYTE_VALUES 256

static size_t zero_bits(const uint64_t *row, size_t words, size_t bits) {
    size_t ones = 0;
    for (size_t w = 0; w < words; w++)
        ones += (size_t)__builtin_popcountll(row[w]);
    /* Bits behind the last byte of b stay one: no byte matches there, and a carry into them ends in the row's top. */
    size_t spare = words * 64 - bits;
    return words * 64 - spare - (ones - spare);
}

static void next_row(const uint64_t *row, const uint64_t *match, size_t words, uint64_t *next) {
    unsigned char carry = 0;
    for (size_t w = 0; w < words; w++) {
        uint64_t u = row[w] & match[w];
        uint64_t sum;
        bool c1 = __builtin_add_overflow(row[w], u, &sum);
        bool c2 = __builtin_add_overflow(sum, (uint64_t)carry, &sum);
        carry = (unsigned char)(c1 | c2);
        next[w] = sum | (row[w] & ~match[w]);
    }
}

int lcs_compute(struct lcs *l, struct slice a, struct slice b, int with_rows, uint64_t limit_bytes) {
    *l = (struct lcs){.a = a, .b = b};
    if (a.n == 0 || b.n == 0)
        return 0;
    size_t table_bytes;
    if (num_mul_size(a.n + 1, b.n + 1, &table_bytes) || num_mul_size(table_bytes, 4, &table_bytes) ||
        table_bytes > limit_bytes)
        return LCS_TOO_LARGE;
    size_t words = b.n / 64 + (b.n % 64 != 0);
    /* Row 0 stands in front: it is where the first row comes from. Without the walk back two rows take turns. */
    size_t row_count = with_rows ? a.n + 1 : 2;
    size_t total;
    if (num_mul_size(words * 8, row_count, &total))
        return LCS_TOO_LARGE;
    uint64_t *matches = mem_try_calloc(BYTE_VALUES, words * 8);
    uint64_t *rows = mem_try_alloc(total);
    if (matches == NULL || rows == NULL) {
        mem_free(matches);
        mem_free(rows);
        return LCS_NO_MEMORY;
    }
    for (size_t j = 0; j < b.n; j++)
        matches[(size_t)(unsigned char)b.p[j] * words + j / 64] |= UINT64_C(1) << (j % 64);
    memset(rows, 0xff, words * 8);
    const uint64_t *row = rows;
    for (size_t i = 0; i < a.n; i++) {
        uint64_t *next = rows + (with_rows ? i + 1 : (i + 1) % 2) * words;
        next_row(row, matches + (size_t)(unsigned char)a.p[i] * words, words, next);
        row = next;
    }
    l->words = words;
    l->len = zero_bits(row, words, b.n);
    mem_free(matches);
    if (with_rows)
        l->rows = rows;
    else
        mem_free(rows);
    return 0;
}

void lcs_free(struct lcs *l) {
    mem_free(l->rows);
    l->rows = NULL;
}

void lcs_walk(const struct lcs *l, void (*each)(void *arg, size_t a_start, size_t b_start, size_t len), void *arg) {
    size_t i = l->a.n, j = l->b.n, run = 0, total = 0;
    if (i == 0 || j == 0)
        return;
    HF_ASSERT(l->rows != NULL);
    while (i > 0 && j > 0) {
        if (l->a.p[i - 1] == l->b.p[j - 1]) {
            i--, j--, run++;
            continue;
        }
        if (run > 0)
            each(arg, i, j, run);
        total += run;
        run = 0;
        const uint64_t *row = l->rows + i * l->words;
        if (row[(j - 1) / 64] >> ((j - 1) % 64) & 1)
            j--;
        else
            i--;
    }
    if (run > 0)
        each(arg, i, j, run);
    HF_ASSERT(total + run == l->len);
}
