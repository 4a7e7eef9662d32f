/* Which keys have a change that is appended to the change log but not released: (database, key) → offset, exact up to
 * 64-bit hash collisions, which only hold a reply longer. Open addressing; a ring in order of offsets prunes it.
 *
 * Offsets are put in ascending order. Ownership: embedded in its owner (init/deinit). Thread: the loop's thread.
 * Nothing fails.
 */
#ifndef HF_ENGINE_INFLIGHT_H
#define HF_ENGINE_INFLIGHT_H

#include <stddef.h>
#include <stdint.h>

struct inflight {
    struct inflight_cell {
        uint64_t key, offset; /* key 0 = empty */
    } * cells;
    size_t mask, count;
    struct inflight_cell *ring;
    size_t ring_mask, ring_head, ring_count;
    uint64_t all_offset; /* a change of whole databases */
};
void inflight_init(struct inflight *f);
void inflight_deinit(struct inflight *f);
void inflight_put(struct inflight *f, uint64_t key, uint64_t offset);
/* Offset that a reader of the key must wait for; 0 if none. */
uint64_t inflight_offset(const struct inflight *f, uint64_t key);
/* Forgets what is released: offsets up to and with `released`. */
void inflight_prune(struct inflight *f, uint64_t released);
static inline uint64_t inflight_key(unsigned db, uint64_t hash) {
    uint64_t k = hash ^ ((uint64_t)db * 0x9e3779b97f4a7c15u);
    return k ? k : 1;
}

#endif
