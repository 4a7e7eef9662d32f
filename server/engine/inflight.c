#include "config.h"

#include "server/engine/inflight.h"

#include <string.h>

#include "server/base/mem.h"

/* Linear probing with backward-shift deletion; both arrays double together. The ring holds one cell per put, in order
 * of offsets, so pruning is a walk from its head: a key is dropped when the cell popped is its latest one. */

#define INFLIGHT_MIN 1024

void inflight_init(struct inflight *f) {
    memset(f, 0, sizeof *f);
}

void inflight_deinit(struct inflight *f) {
    mem_free(f->cells);
    mem_free(f->ring);
    inflight_init(f);
}

static inline size_t home(const struct inflight *f, uint64_t key) {
    return (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & f->mask;
}

static struct inflight_cell *cell_of(const struct inflight *f, uint64_t key) {
    size_t i = home(f, key);
    while (f->cells[i].key != 0 && f->cells[i].key != key)
        i = (i + 1) & f->mask;
    return &f->cells[i];
}

static void grow_cells(struct inflight *f) {
    struct inflight_cell *old = f->cells;
    size_t n = old ? f->mask + 1 : 0;
    size_t to = n ? n * 2 : INFLIGHT_MIN;
    f->cells = mem_calloc(to, sizeof *f->cells);
    f->mask = to - 1;
    for (size_t i = 0; i < n; i++)
        if (old[i].key != 0)
            *cell_of(f, old[i].key) = old[i];
    mem_free(old);
}

static void grow_ring(struct inflight *f) {
    size_t n = f->ring ? f->ring_mask + 1 : 0;
    size_t to = n ? n * 2 : INFLIGHT_MIN;
    struct inflight_cell *ring = mem_alloc(to * sizeof *ring);
    for (size_t i = 0; i < f->ring_count; i++)
        ring[i] = f->ring[(f->ring_head + i) & f->ring_mask];
    mem_free(f->ring);
    f->ring = ring;
    f->ring_mask = to - 1;
    f->ring_head = 0;
}

void inflight_put(struct inflight *f, uint64_t key, uint64_t offset) {
    if (f->cells == NULL || f->count * 2 > f->mask)
        grow_cells(f);
    struct inflight_cell *c = cell_of(f, key);
    if (c->key == 0) {
        c->key = key;
        f->count++;
    }
    c->offset = offset;
    if (f->ring == NULL || f->ring_count > f->ring_mask)
        grow_ring(f);
    f->ring[(f->ring_head + f->ring_count++) & f->ring_mask] = (struct inflight_cell){key, offset};
}

uint64_t inflight_offset(const struct inflight *f, uint64_t key) {
    if (f->count == 0)
        return f->all_offset;
    const struct inflight_cell *c = cell_of(f, key);
    uint64_t offset = c->key != 0 ? c->offset : 0;
    return offset > f->all_offset ? offset : f->all_offset;
}

static void remove_cell(struct inflight *f, struct inflight_cell *c) {
    size_t hole = (size_t)(c - f->cells);
    for (size_t i = (hole + 1) & f->mask; f->cells[i].key != 0; i = (i + 1) & f->mask) {
        size_t want = home(f, f->cells[i].key);
        if (((i - want) & f->mask) >= ((i - hole) & f->mask)) {
            f->cells[hole] = f->cells[i];
            hole = i;
        }
    }
    f->cells[hole] = (struct inflight_cell){0, 0};
    f->count--;
}

void inflight_prune(struct inflight *f, uint64_t released) {
    while (f->ring_count > 0 && f->ring[f->ring_head].offset <= released) {
        struct inflight_cell done = f->ring[f->ring_head];
        f->ring_head = (f->ring_head + 1) & f->ring_mask;
        f->ring_count--;
        struct inflight_cell *c = cell_of(f, done.key);
        if (c->key != 0 && c->offset == done.offset)
            remove_cell(f, c);
    }
    if (f->all_offset <= released)
        f->all_offset = 0;
}
