/* The digest of a data set, as DEBUG DIGEST has it: equal for equal data, whatever its order and encodings. Pure.
 *
 * Two operations on 20 bytes: xor with the SHA-1 of some bytes (order does not matter), and mix: xor, then SHA-1 of the
 * result (order matters). A value's digest mixes the type's number and its elements and is xored with the word
 * "!!expire!!" where the key has a deadline; a key's begins by mixing its name; the data set's mixes the number of each
 * database that is not empty (32 bits, big-endian) and is xored with the SHA-1 of each of its keys' digests.
 */
#ifndef HF_COMMANDS_DIGEST_H
#define HF_COMMANDS_DIGEST_H

#include <stdint.h>

#include "server/ds/packed.h"
#include "server/store/entry.h"
#include "server/store/keyspace.h"

struct digest {
    uint8_t bytes[20];
};

void digest_init(struct digest *d); /* zeros */
void digest_xor(struct digest *d, struct slice s);
void digest_mix(struct digest *d, struct slice s);
/* The same with a number's decimal digits where the item is one. */
void digest_xor_item(struct digest *d, const struct packed_item *item);
void digest_mix_item(struct digest *d, const struct packed_item *item);
/* Mixes the value of a hash: field by field, in whatever order. In hash_digest.c. */
void digest_mix_hash(struct digest *d, const struct entry *e);
/* Mixes the value of e and its having a deadline. */
void digest_value(struct digest *d, const struct entry *e);
/* Of the whole data set, due keys included. */
void digest_keyspace(const struct keyspace *ks, struct digest *ret_digest);
void digest_hex(const struct digest *d, char dst[41]);

#endif
