/* Random numbers: a seeded generator for decisions, and the system's entropy for secrets.
 *
 * Thread: a struct rng belongs to one thread. Algorithm: xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64.
 */
#ifndef HF_BASE_RNG_H
#define HF_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, bound), bound > 0, without modulo bias. */
uint64_t rng_below(struct rng *r, uint64_t bound);
double rng_unit(struct rng *r); /* [0, 1) */

/* Fills p with n bytes from getrandom(2). Aborts where the system has none. */
void rng_entropy(void *p, size_t n);
/* 2*n_bytes lower-case hex digits of entropy plus NUL into dst (run ids, replication ids: n_bytes = 20). */
void rng_hex_id(char *dst, size_t n_bytes);

#endif
