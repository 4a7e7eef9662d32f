#include "config.h"

#include "server/engine/latency.h"

#include <math.h>

#include "server/base/mem.h"

struct latency *latency_create(void) {
    return mem_calloc(1, sizeof(struct latency));
}

void latency_destroy(struct latency *l) {
    mem_free(l);
}

uint64_t latency_bucket_max_ns(unsigned bucket) {
    unsigned octave = bucket >> LATENCY_SUB_BITS;
    if (octave == 0)
        return bucket;
    unsigned shift = octave - 1;
    uint64_t first = (uint64_t)((bucket & ((1u << LATENCY_SUB_BITS) - 1)) + (1u << LATENCY_SUB_BITS)) << shift;
    return first + (UINT64_C(1) << shift) - 1;
}

uint64_t latency_percentile_ns(const struct latency *l, double percent) {
    uint64_t wanted = (uint64_t)ceil((double)l->total * percent / 100), seen = 0;
    if (l->total == 0)
        return 0;
    if (wanted < 1)
        wanted = 1;
    if (wanted > l->total)
        wanted = l->total;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += l->counts[i];
        if (seen >= wanted)
            return latency_bucket_max_ns(i);
    }
    return latency_bucket_max_ns(LATENCY_BUCKETS - 1);
}

uint64_t latency_at_most(const struct latency *l, uint64_t ns) {
    uint64_t n = 0;
    for (unsigned i = 0, last = latency_bucket(ns); i <= last; i++)
        n += l->counts[i];
    return n;
}
