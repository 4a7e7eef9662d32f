#include "config.h"

#include "server/ds/slab.h"

#include <stdint.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

/* Design
 *
 *   block, 1 KiB at a multiple of 1 KiB:  prev next | free used fresh class | cell 0 | cell 1 | …
 *
 * The block of a cell is found by its address. A free cell holds the number of the next free one plus 1 in its first
 * two bytes; cells from `fresh` on were never used. Only 8, 24, 40 and 56 bytes gain by it: multiples of 16 are classes
 * of the allocator already, and beyond 56 the header and the rest of a block outweigh the 8 bytes. The small block
 * keeps what is unused to 1 KiB a class, which matters to a collection of a few hundred elements.
 *
 * Invariants (slab_check):
 *  1. A block is in the list of its class exactly while it has a free cell, and is given back with its last cell.
 *  2. used cells + cells of the free list = fresh.
 */

#define BLOCK_BYTES 1024
#define CELL_STEP 16 /* between classes; the first is 8 */

struct slab_block {
    struct slab_block *prev, *next;
    uint16_t free; /* first free cell plus 1 */
    uint16_t used;
    uint16_t fresh;
    uint16_t class;
    unsigned char cells[];
};

_Static_assert(sizeof(struct slab_block) == 24, "cells are aligned to 8 bytes");

static size_t rounded(size_t size_bytes) {
    return size_bytes <= 8 ? 8 : (size_bytes + 7) & ~(size_t)7;
}

/* SLAB_CLASSES where the allocator serves. */
static unsigned class_of(size_t size_bytes) {
    size_t r = rounded(size_bytes);
    return size_bytes <= 56 && r % CELL_STEP == 8 ? (unsigned)(r / CELL_STEP) : SLAB_CLASSES;
}

static size_t cell_bytes(unsigned class) {
    return class * CELL_STEP + 8u;
}

static unsigned cells_of(unsigned class) {
    return (unsigned)((BLOCK_BYTES - sizeof(struct slab_block)) / cell_bytes(class));
}

static unsigned char *cell_at(struct slab_block *b, unsigned i) {
    return b->cells + i * cell_bytes(b->class);
}

static void open_block(struct slab *s, struct slab_block *b) {
    b->prev = NULL;
    b->next = s->open[b->class];
    if (b->next != NULL)
        b->next->prev = b;
    s->open[b->class] = b;
}

static void close_block(struct slab *s, struct slab_block *b) {
    *(b->prev != NULL ? &b->prev->next : &s->open[b->class]) = b->next;
    if (b->next != NULL)
        b->next->prev = b->prev;
}

void *slab_alloc(struct slab *s, size_t size_bytes) {
    unsigned class = class_of(size_bytes);
    if (class == SLAB_CLASSES) {
        void *p = mem_alloc(size_bytes);
        s->outside_bytes += mem_good_size(size_bytes);
        return p;
    }
    struct slab_block *b = s->open[class];
    if (b == NULL) {
        b = mem_alloc_aligned_zero(BLOCK_BYTES, BLOCK_BYTES);
        b->class = (uint16_t) class;
        s->block_bytes += BLOCK_BYTES;
        open_block(s, b);
    }
    unsigned i = b->free != 0 ? b->free - 1u : b->fresh++;
    unsigned char *cell = cell_at(b, i);
    if (b->free != 0)
        memcpy(&b->free, cell, sizeof b->free);
    if (++b->used == cells_of(class))
        close_block(s, b);
    return cell;
}

void slab_free(struct slab *s, void *p, size_t size_bytes) {
    unsigned class = class_of(size_bytes);
    if (class == SLAB_CLASSES) {
        s->outside_bytes -= mem_good_size(size_bytes);
        mem_free_sized(p, size_bytes);
        return;
    }
    struct slab_block *b = (struct slab_block *)((uintptr_t)p & ~(uintptr_t)(BLOCK_BYTES - 1));
    HF_ASSERT(b->class == class && b->used > 0);
    if (b->used == cells_of(class))
        open_block(s, b);
    memcpy(p, &b->free, sizeof b->free);
    b->free = (uint16_t)((size_t)((unsigned char *)p - b->cells) / cell_bytes(class) + 1);
    if (--b->used == 0) {
        close_block(s, b);
        s->block_bytes -= BLOCK_BYTES;
        mem_free_sized(b, BLOCK_BYTES);
    }
}

bool slab_same_cell(size_t a_bytes, size_t b_bytes) {
    if (a_bytes == b_bytes)
        return true;
    unsigned class = class_of(a_bytes);
    return class != SLAB_CLASSES && class == class_of(b_bytes);
}

void slab_check(const struct slab *s) {
    size_t bytes = 0;
    for (unsigned class = 0; class < SLAB_CLASSES; class ++) {
        for (struct slab_block *b = s->open[class], *prev = NULL; b != NULL; prev = b, b = b->next) {
            HF_ASSERT(b->class == class && b->prev == prev);
            HF_ASSERT(b->used > 0 && b->used < cells_of(class) && b->fresh <= cells_of(class));
            unsigned listed = 0;
            for (uint16_t at = b->free; at != 0; memcpy(&at, cell_at(b, at - 1u), sizeof at)) {
                HF_ASSERT(at <= b->fresh && listed < b->fresh);
                listed++;
            }
            HF_ASSERT(listed + b->used == b->fresh);
            bytes += BLOCK_BYTES;
        }
    }
    HF_ASSERT(bytes <= s->block_bytes && s->block_bytes % BLOCK_BYTES == 0);
}
