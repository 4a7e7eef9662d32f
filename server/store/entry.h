/* An entry: one key with its header, optional deadline and value, in one allocation (see entry.c for the layout).
 *
 * Entries belong to the keyspace. A pointer to one is valid until the next call that changes the key space; an entry
 * moves when its value or deadline changes size. Readers use these accessors and never the fields. Thread: the owner of
 * the store, and a forked child.
 */
#ifndef HF_STORE_ENTRY_H
#define HF_STORE_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/slice.h"
#include "server/store/value.h"

struct entry;

struct slice entry_key(const struct entry *e);
enum value_type entry_type(const struct entry *e);
enum value_encoding entry_encoding(const struct entry *e);
/* Unix time in ms, or -1 where the key has no deadline. */
int64_t entry_deadline_ms(const struct entry *e);
/* The value, borrowed: bytes point into the entry, rbuf and object are not referenced anew. */
struct value entry_value(const struct entry *e);
/* The bytes of a string entry; an int is written to scratch. Never called for another type. */
struct slice entry_string(const struct entry *e, char scratch[24]);
/* Length in bytes of a string entry. */
size_t entry_string_len(const struct entry *e);
/* True and *ret_i where a string entry is held as an integer. */
bool entry_string_is_int(const struct entry *e, int64_t *ret_i);
/* The object of a collection. */
void *entry_object(const struct entry *e);

/* Access clock: seconds idle (LRU), and the logarithmic counter (LFU) with its decay applied at now. */
uint32_t entry_idle_s(const struct entry *e, int64_t now_ms);
uint8_t entry_lfu_counter(const struct entry *e, int64_t now_ms, int decay_time_min);
/* Bytes of the entry itself and what hangs from it; samples as in value_memory_bytes(). */
size_t entry_memory_bytes(const struct entry *e, size_t samples);

#endif
