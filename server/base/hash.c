#include "config.h"

#include "server/base/hash.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "server/base/assert.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(((struct hash_key *)0)->secret) == XXH3_SECRET_DEFAULT_SIZE, "the secret of XXH3");

void hash_key_init(struct hash_key *k, const void *seed, size_t seed_bytes) {
    XXH_errorcode error = XXH3_generateSecret(k->secret, sizeof k->secret, seed, seed_bytes);
    HF_ASSERT(error == XXH_OK);
}

uint64_t hash_keyed(const struct hash_key *k, const void *p, size_t n) {
    return XXH3_64bits_withSecret(p, n, k->secret, sizeof k->secret);
}

uint64_t hash_xxh3(const void *p, size_t n) {
    return XXH3_64bits(p, n);
}

uint64_t hash_xxh3_seed(uint64_t seed, const void *p, size_t n) {
    return XXH3_64bits_withSeed(p, n, seed);
}

/* Looking an algorithm up by name costs more than hashing a short string, so each is fetched once and kept. */
static EVP_MD *md_sha1, *md_sha256;

static void fetch_digests(void) {
    md_sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    md_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (md_sha1 == NULL || md_sha256 == NULL)
        HF_PANIC("OpenSSL has no SHA-1 or SHA-256");
}

static void digest(EVP_MD *const *md, const void *p, size_t n, uint8_t *ret_digest) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch_digests);
    unsigned size;
    int ok = EVP_Digest(p, n, ret_digest, &size, *md, NULL);
    HF_ASSERT(ok == 1);
}

void hash_sha1(const void *p, size_t n, uint8_t ret_digest[20]) {
    digest(&md_sha1, p, n, ret_digest);
}

void hash_sha256(const void *p, size_t n, uint8_t ret_digest[32]) {
    digest(&md_sha256, p, n, ret_digest);
}
