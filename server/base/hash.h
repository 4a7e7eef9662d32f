/* Hashing. Keyed XXH3 for tables, plain XXH3 for digests and chained checksums. Pure, any thread. */
#ifndef HF_BASE_HASH_H
#define HF_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Key of a table hash: random per process, so that an outsider cannot choose colliding keys. */
struct hash_key {
    uint8_t secret[192]; /* XXH3_SECRET_DEFAULT_SIZE */
};

/* Derives a key from 64 bytes of entropy or from fixed bytes in tests. */
void hash_key_init(struct hash_key *k, const void *seed, size_t seed_bytes);
/* 64 well-mixed bits of p[0..n). Short keys (≤ 16 bytes) take a few nanoseconds. */
uint64_t hash_keyed(const struct hash_key *k, const void *p, size_t n);
/* XXH3-64, seed 0: the value of the DIGEST command. */
uint64_t hash_xxh3(const void *p, size_t n);
/* XXH3-64 with a seed: chained checksums of the change log (seed = previous checksum). */
uint64_t hash_xxh3_seed(uint64_t seed, const void *p, size_t n);
/* SHA-1 of p[0..n): DEBUG DIGEST and script names. */
void hash_sha1(const void *p, size_t n, uint8_t ret_digest[20]);
void hash_sha256(const void *p, size_t n, uint8_t ret_digest[32]);

#endif
