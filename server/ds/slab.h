/* A slab: small cells of 8, 24, 40 and 56 bytes for one collection, where the allocator's classes of 16 bytes would
 * waste up to a quarter. Other sizes go to the allocator.
 *
 * Who asks for a cell gives the same size back with it. A zeroed struct slab is empty; it holds nothing when the last
 * cell has come back. Cells are aligned to 8 bytes and uninitialised. Thread: one owner. Errors: none, memory that is
 * gone aborts; sizes of 512 MB and more are the caller's to refuse before.
 */
#ifndef HF_DS_SLAB_H
#define HF_DS_SLAB_H

#include <stdbool.h>
#include <stddef.h>

#define SLAB_CLASSES 4

struct slab_block;

struct slab {
    struct slab_block *open[SLAB_CLASSES]; /* blocks with a free cell */
    size_t block_bytes;                    /* of all blocks */
    size_t outside_bytes;                  /* usable bytes of what the allocator gave */
};

void *slab_alloc(struct slab *s, size_t size_bytes) __attribute__((returns_nonnull));
void slab_free(struct slab *s, void *p, size_t size_bytes);
/* True when a cell of one size serves for the other too, so that an element may be changed in place. */
bool slab_same_cell(size_t a_bytes, size_t b_bytes);
/* Asserts every invariant of the open blocks; O(their cells). */
void slab_check(const struct slab *s);

#endif
