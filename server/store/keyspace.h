/* The keyspace: numbered databases of entries, their deadlines, expiry, eviction and scanning.
 *
 * One table per database, or one per hash slot in database 0 and the others alike where `slots` is on. A deadline index
 * per database holds the keys that have one in deadline order, and another one the hashes whose fields have deadlines.
 * The keyspace never logs, propagates or replies: what happens inside it (a key expired on access, was evicted …)
 * leaves through struct store_events.
 *
 * Time: the keyspace sees the time its owner sets (keyspace_set_now_ms), so that one command, transaction or script
 * sees one instant. Thread: one owner thread; a forked child may read. Errors: functions that can fail say so; memory
 * for entries of outside sizes is limited by the protocol's limits before it gets here.
 */
#ifndef HF_STORE_KEYSPACE_H
#define HF_STORE_KEYSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/hash.h"
#include "server/base/rng.h"
#include "server/base/worker.h"
#include "server/store/collection.h"
#include "server/store/entry.h"
#include "server/store/value.h"

struct keyspace;

#define KEYSPACE_SLOTS 16384

/* A key as commands pass it: bytes with the hash computed once. Borrowed bytes; made by keyspace_key(). */
struct keyref {
    struct slice key;
    uint64_t hash;
    uint32_t slot; /* 0 where slots are off */
};

enum keyspace_removal {
    KEYSPACE_EXPIRED,
    KEYSPACE_EVICTED,
    KEYSPACE_FIELDS_EXPIRED, /* a hash whose last fields were due */
};

/* Announcements. All are called on the owner's thread, after the change; the key bytes are valid during the call only.
 * They must not change the keyspace. Any pointer may be NULL. */
struct store_events {
    void *ctx;
    /* The keyspace removed a key by itself (never for keyspace_delete()). */
    void (*removed)(void *ctx, unsigned db, const struct keyref *key, enum keyspace_removal why);
    /* The keyspace removed due fields of a hash by itself, the earliest first. fields NULL: all that it had, n of them;
     * removed() follows for the key. */
    void (*fields_removed)(void *ctx, unsigned db, const struct keyref *key, const struct slice *fields, size_t n);
    /* A key appeared under a name that had none. */
    void (*appeared)(void *ctx, unsigned db, const struct keyref *key);
};

enum keyspace_expiry {
    KEYSPACE_EXPIRE_DELETE, /* a due key found on access is removed and announced (a primary) */
    KEYSPACE_EXPIRE_HIDE,   /* a due key is invisible but stays (a replica serving clients, CLIENT PAUSE WRITE) */
    KEYSPACE_EXPIRE_IGNORE, /* deadlines are not looked at (loading, a primary's stream on a replica) */
};

enum keyspace_clock { KEYSPACE_CLOCK_LRU, KEYSPACE_CLOCK_LFU };

struct keyspace_options {
    unsigned databases; /* 1 … INT_MAX; databases are set up when first used */
    bool slots;         /* one table per hash slot */
    struct hash_key hash_key;
    uint64_t rng_seed;
    struct worker *lazyfree; /* borrowed; NULL frees in place */
    struct store_events events;
};

struct keyspace *keyspace_create(const struct keyspace_options *options);
void keyspace_destroy(struct keyspace *ks); /* NULL is fine */
unsigned keyspace_databases(const struct keyspace *ks);
bool keyspace_has_slots(const struct keyspace *ks);

/* ---- settings ---- */
void keyspace_set_now_ms(struct keyspace *ks, int64_t now_ms);
int64_t keyspace_now_ms(const struct keyspace *ks);
void keyspace_set_expiry(struct keyspace *ks, enum keyspace_expiry mode);
enum keyspace_expiry keyspace_expiry_mode(const struct keyspace *ks);
/* LFU: log_factor and decay_time_min as the options lfu-log-factor and lfu-decay-time. */
void keyspace_set_clock(struct keyspace *ks, enum keyspace_clock clock, int lfu_log_factor, int lfu_decay_time_min);
/* What collections of this keyspace are made by; its owner may change the limits. It lives as long as the keyspace. */
struct collection_rules *keyspace_rules(struct keyspace *ks);
/* While a snapshot child lives: no access-clock writes, no resizing below a load of 4. */
void keyspace_set_frozen(struct keyspace *ks, bool frozen);
/* DEBUG DICT-RESIZING and `activerehashing`: whether tables grow and shrink at all, and whether keyspace_step()
 * rehashes. */
void keyspace_set_resizing(struct keyspace *ks, bool allowed);
/* Freeing big values in the background: by DEL, by expiry, by eviction, by overwriting (the lazyfree-lazy-* options).
 */
struct keyspace_lazy {
    bool user_del, expire, evict, server_del;
};
void keyspace_set_lazy(struct keyspace *ks, const struct keyspace_lazy *lazy);

/* ---- keys ---- */
struct keyref keyspace_key(const struct keyspace *ks, struct slice key);
/* Prefetch, in two passes over a batch: the bucket of a key, then the entries its tag matches. Hints only. */
void keyspace_prefetch_bucket(const struct keyspace *ks, unsigned db, const struct keyref *key);
void keyspace_prefetch_entry(const struct keyspace *ks, unsigned db, const struct keyref *key);

enum keyspace_lookup {
    KEYSPACE_LOOKUP_TOUCH = 0,   /* a user's access: moves the access clock (unless frozen) */
    KEYSPACE_LOOKUP_NOTOUCH = 1, /* OBJECT, TTL, TYPE …, CLIENT NO-TOUCH */
};
/* The live entry of a key or NULL. A due one is treated as the expiry mode says. */
struct entry *keyspace_find(struct keyspace *ks, unsigned db, const struct keyref *key, enum keyspace_lookup flags);
/* As stored, due or not, nothing touched or removed. */
const struct entry *keyspace_peek(const struct keyspace *ks, unsigned db, const struct keyref *key);

#define KEYSPACE_NO_DEADLINE INT64_C(-1)
#define KEYSPACE_KEEP_DEADLINE INT64_C(-2)
/* Puts v under the key, replacing whatever is there; takes over what v owns, copies bytes it borrows (which may lie
 * inside the entry that is replaced). deadline_ms: Unix ms, KEYSPACE_NO_DEADLINE or KEYSPACE_KEEP_DEADLINE. Short
 * strings are embedded. A key that is due there is treated as keyspace_find() does first. Returns the entry. */
struct entry *keyspace_put(struct keyspace *ks, unsigned db, const struct keyref *key, struct value v,
                           int64_t deadline_ms);
/* Puts a key known to be absent (loading): as keyspace_put() without the look-up. Returns NULL, v freed, if it was
 * there after all. */
struct entry *keyspace_add(struct keyspace *ks, unsigned db, const struct keyref *key, struct value v,
                           int64_t deadline_ms);
/* Removes the key; `lazy` frees a big value in the background whatever the options say (UNLINK). True if it was there.
 * Does not look at deadlines: a caller that must not see a due key calls keyspace_find() first. */
bool keyspace_delete(struct keyspace *ks, unsigned db, const struct keyref *key, bool lazy);
/* Removes the key and hands its value (owned; small strings become an rbuf or int) and deadline to the caller. False if
 * absent. */
bool keyspace_detach(struct keyspace *ks, unsigned db, const struct keyref *key, struct value *ret_value,
                     int64_t *ret_deadline_ms);

/* Sets (or with KEYSPACE_NO_DEADLINE clears) the deadline. The entry may move: use the one returned. */
struct entry *keyspace_set_deadline(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry *e,
                                    int64_t deadline_ms);
/* Overwrites an integer string in place or makes it one, keeping the deadline. Returns the entry. */
struct entry *keyspace_set_int(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry *e, int64_t v);
/* Makes the string of e writable, raw and len_bytes long: old bytes kept (cut or zero-extended). *ret_bytes points to
 * them until the next call. 0, or -1 when memory is not there (nothing changed). */
int keyspace_string_writable(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry **inout_e,
                             size_t len_bytes, char **ret_bytes) __attribute__((warn_unused_result));
/* A collection changed its encoding or its object pointer in place; of a hash, keyspace_fields_changed() is told too.
 */
void keyspace_set_object(struct keyspace *ks, struct entry *e, enum value_encoding encoding, void *object);
/* Fields of a hash, or their deadlines, changed: brings the index of hashes by deadline up to date. O(1) where the
 * earliest deadline is what it was. */
void keyspace_fields_changed(struct keyspace *ks, unsigned db, struct entry *e);
/* RESTORE … IDLETIME / FREQ and loading: -1 leaves that clock alone. */
void keyspace_set_access(struct keyspace *ks, struct entry *e, int64_t idle_s, int freq);

/* ---- databases ---- */
size_t keyspace_size(const struct keyspace *ks, unsigned db);      /* keys */
size_t keyspace_deadlines(const struct keyspace *ks, unsigned db); /* keys with a deadline */
int64_t keyspace_deadline_mean_ms(const struct keyspace *ks,
                                  unsigned db); /* INFO avg_ttl: estimate from now, 0 if none */
size_t keyspace_slot_size(const struct keyspace *ks, unsigned db, unsigned slot);
/* Empties a database (or all with db = -1). async: tables and values are freed in the background. Returns the keys
 * removed. */
size_t keyspace_flush(struct keyspace *ks, int db, bool async);
void keyspace_swap(struct keyspace *ks, unsigned a, unsigned b);
/* An empty keyspace of the same shape, hash key and rules, which announces nothing: to load into while this one serves,
 * and to be destroyed before it. */
struct keyspace *keyspace_create_beside(const struct keyspace *ks);
/* Empties ks and moves all databases of `from`, made by keyspace_create_beside(), into it; `from` is empty then. */
void keyspace_take_all(struct keyspace *ks, struct keyspace *from, bool async);
/* Room for `keys` more keys in the tables of a database, `deadlines` of them with a deadline (RESIZEDB of a snapshot).
 * Checked. */
void keyspace_expect(struct keyspace *ks, unsigned db, size_t keys, size_t deadlines);

/* Calls each() for live and due entries of one step of the scan; returns the next cursor, 0 at the end. Every key that
 * stays for a whole scan is seen at least once whatever the tables do. count: how many to aim at. each() must not
 * change the keyspace. */
uint64_t keyspace_scan(struct keyspace *ks, unsigned db, uint64_t cursor, size_t count,
                       void (*each)(void *arg, const struct entry *e), void *arg);
/* As above for one slot only. */
uint64_t keyspace_scan_slot(struct keyspace *ks, unsigned db, unsigned slot, uint64_t cursor, size_t count,
                            void (*each)(void *arg, const struct entry *e), void *arg);
/* Walks all entries of a database; for a forked child and for code that does not change the keyspace meanwhile. Slot
 * order where slots are on. each() returns nonzero to stop; that value is returned. */
int keyspace_each(const struct keyspace *ks, unsigned db, int (*each)(void *arg, const struct entry *e), void *arg);
/* A random entry that is not due, or NULL. */
struct entry *keyspace_random(struct keyspace *ks, unsigned db);

/* ---- expiry ---- */
/* The time by which fields of hashes are due for who reads: now, or HASH_NOTHING_DUE where deadlines are not looked at.
 */
int64_t keyspace_field_now_ms(const struct keyspace *ks);
/* Whether e is a hash whose fields all are due for who reads. */
bool keyspace_fields_over(const struct keyspace *ks, const struct entry *e);
/* Removes all due fields of e, a hash that keyspace_find() returned, where fields may be removed: before a change that
 * depends on them. At least one field stays. */
void keyspace_expire_fields(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry *e);
/* Hashes with fields that have a deadline. */
size_t keyspace_timed_hashes(const struct keyspace *ks, unsigned db);
/* Removes due keys in deadline order and due fields of hashes, all databases, until none is due or budget_us of CPU
 * time is used up; announces each. Returns how many. */
size_t keyspace_expire_due(struct keyspace *ks, int64_t budget_us);
/* Earliest deadline of keys and fields over all databases (Unix ms), or -1. */
int64_t keyspace_next_deadline_ms(const struct keyspace *ks);

/* ---- eviction ---- */
enum keyspace_policy {
    KEYSPACE_EVICT_NONE,
    KEYSPACE_EVICT_VOLATILE_LRU,
    KEYSPACE_EVICT_VOLATILE_LFU,
    KEYSPACE_EVICT_VOLATILE_RANDOM,
    KEYSPACE_EVICT_VOLATILE_TTL,
    KEYSPACE_EVICT_ALLKEYS_LRU,
    KEYSPACE_EVICT_ALLKEYS_LFU,
    KEYSPACE_EVICT_ALLKEYS_RANDOM,
};
/* Removes and announces one key that the policy picks from `samples` candidates (a pool keeps the best over calls; TTL
 * is exact). False when there is nothing that may go. */
bool keyspace_evict_one(struct keyspace *ks, enum keyspace_policy policy, unsigned samples);

/* ---- upkeep and introspection ---- */
/* A slice of incremental resizing and shrinking, at most budget_us. True when there is more to do. */
bool keyspace_step(struct keyspace *ks, int64_t budget_us);
/* Bytes of tables and deadline indexes of a database (overhead in MEMORY STATS), and of entry headers. */
size_t keyspace_table_bytes(const struct keyspace *ks, unsigned db);
size_t keyspace_deadline_bytes(const struct keyspace *ks, unsigned db);
/* Bytes of tables that are being resized now. */
size_t keyspace_rehash_bytes(const struct keyspace *ks);
/* Objects that wait to be freed in the background, and how many have been. */
size_t keyspace_lazyfree_pending(const struct keyspace *ks);
uint64_t keyspace_lazyfree_done(const struct keyspace *ks);
void keyspace_lazyfree_reset(struct keyspace *ks);
/* Text for DEBUG HTSTATS (full adds the chain-length distribution). */
void keyspace_describe(const struct keyspace *ks, unsigned db, bool full, struct buf *out);
/* Asserts every invariant of tables, entries and deadline indexes; O(keys). For tests and DEBUG. */
void keyspace_check(const struct keyspace *ks);

#endif
