/* A histogram of durations: counts in buckets no wider than 1/32 of their value, from nanoseconds to hours, in 12 KiB.
 *
 * Recording costs a few instructions. Percentiles are upper ends of buckets: at most 3.2 % too high. Thread: the loop's
 * thread.
 */
#ifndef HF_ENGINE_LATENCY_H
#define HF_ENGINE_LATENCY_H

#include <stdint.h>

#define LATENCY_SUB_BITS 5 /* 32 buckets an octave */
#define LATENCY_OCTAVES 44
#define LATENCY_BUCKETS ((LATENCY_OCTAVES - LATENCY_SUB_BITS + 1) << LATENCY_SUB_BITS)

struct latency {
    uint64_t total;
    uint64_t counts[LATENCY_BUCKETS];
};

struct latency *latency_create(void);
void latency_destroy(struct latency *l); /* NULL is fine */

/* Small values have a bucket each; above, the exponent chooses the octave and the next five bits the bucket in it. */
static inline unsigned latency_bucket(uint64_t ns) {
    if (ns >= UINT64_C(1) << LATENCY_OCTAVES)
        return LATENCY_BUCKETS - 1;
    if (ns < 1u << LATENCY_SUB_BITS)
        return (unsigned)ns;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(ns);
    unsigned shift = exponent - LATENCY_SUB_BITS;
    return ((shift + 1) << LATENCY_SUB_BITS) + (unsigned)(ns >> shift) - (1u << LATENCY_SUB_BITS);
}

static inline void latency_record(struct latency *l, uint64_t ns) {
    l->total++;
    l->counts[latency_bucket(ns)]++;
}

/* Largest duration of a bucket. */
uint64_t latency_bucket_max_ns(unsigned bucket);
/* Duration that `percent` of all are not longer than; 0 when nothing was recorded. */
uint64_t latency_percentile_ns(const struct latency *l, double percent);
/* How many took at most ns (up to the width of the bucket that ns falls into). */
uint64_t latency_at_most(const struct latency *l, uint64_t ns);

#endif
