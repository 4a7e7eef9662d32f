/* Inside of the keyspace, for the files it is made of: keyspace.c (keys), database.c (databases, upkeep), scan.c,
 * expiry.c, field_expiry.c, eviction.c, lazyfree.c. */
#ifndef HF_STORE_KEYSPACE_INT_H
#define HF_STORE_KEYSPACE_INT_H

#include <stdatomic.h>

#include "server/ds/table.h"
#include "server/store/deadline.h"
#include "server/store/entry_int.h"
#include "server/store/keyspace.h"

#define SLOT_BITS 14
#define SLOT_GROUP 128 /* slots per group in struct slot_books */
#define SLOT_GROUPS (KEYSPACE_SLOTS / SLOT_GROUP)

/* Where slots are on: keys per slot and per group of slots, to draw a slot by weight and to find the next one in use.
 */
struct slot_books {
    uint64_t keys[KEYSPACE_SLOTS];
    uint64_t groups[SLOT_GROUPS];
    uint64_t resizing[KEYSPACE_SLOTS / 64]; /* bit: the table of the slot may be resizing */
    unsigned upkeep_at;                     /* next slot to look at for a resizing that was put off */
};

struct database {
    struct table *tables; /* KEYSPACE_SLOTS of them, or &single */
    struct slot_books *slots;
    size_t keys;
    struct deadline_index deadlines;
    struct deadline_index fields; /* timers of the hashes whose fields have deadlines, by the earliest of each */
    struct table single;
};

/* Databases in use, by number. */
struct made_database {
    unsigned number;
    struct database *d;
};

/* Outlives the jobs that count in it: keyspace_destroy() waits for them. */
struct lazyfree {
    struct worker *worker;
    atomic_size_t pending;
    atomic_ullong done;
};

#define NEAR_DATABASES 1024
#define EVICTION_POOL 16

struct eviction_candidate {
    uint64_t score; /* higher goes first */
    uint64_t hash;
    unsigned db;
    char *key; /* owned */
    size_t key_len;
};

struct eviction {
    enum keyspace_policy policy; /* that the pool was filled under */
    unsigned used;
    unsigned next;                                 /* place in made[] where the next random eviction looks */
    struct eviction_candidate pool[EVICTION_POOL]; /* ascending */
};

struct keyspace {
    struct database **near; /* by number, below near_count; NULL where not in use */
    unsigned near_count;
    unsigned databases;
    bool has_slots;
    bool frozen, resizing_allowed;
    enum keyspace_expiry expiry;
    enum keyspace_clock clock;
    int lfu_log_factor, lfu_decay_time_min;
    uint32_t lru_now; /* of now_ms */
    int64_t now_ms;
    struct table_policy policy;
    struct collection_rules rules;
    struct keyspace_lazy lazy;
    struct store_events events;
    struct made_database *made; /* sorted by number */
    size_t made_count, made_cap;
    struct lazyfree lazyfree;
    struct eviction eviction;
    struct rng rng;
    struct hash_key hash_key;
};

struct database *keyspace_db_far(const struct keyspace *ks, unsigned db);
struct database *keyspace_db_make(struct keyspace *ks, unsigned db);

/* The database, or NULL where it has never had a key. */
static inline struct database *keyspace_db(const struct keyspace *ks, unsigned db) {
    if (__builtin_expect(db < ks->near_count, 1))
        return ks->near[db];
    return keyspace_db_far(ks, db);
}

static inline struct deadline_item *entry_as_item(const struct entry *e) {
    return (struct deadline_item *)(uintptr_t)e;
}
static inline struct entry *item_as_entry(const struct deadline_item *i) {
    return (struct entry *)(uintptr_t)i;
}

/* The constant instance of the table, so that look-ups are compiled in. */
TABLE_INLINE bool entry_table_match(const void *item, const void *key) {
    return slice_eq(entry_key_bytes(item), *(const struct slice *)key);
}

static inline uint64_t entry_table_hash(const void *ctx, const void *item) {
    struct slice key = entry_key_bytes(item);
    return hash_keyed(ctx, key.p, key.n);
}

static const struct table_ops entry_table_ops = {.match = entry_table_match, .hash = entry_table_hash};

TABLE_INLINE void **keyspace_slot(const struct database *d, const struct keyref *key) {
    return table_find(&d->tables[key->slot], &entry_table_ops, key->hash, &key->key);
}

/* A key is due when its deadline has passed: at the very millisecond it still lives, as in Redis. */
static inline bool entry_is_due(const struct entry *e, int64_t now_ms) {
    return entry_has_deadline(e) && entry_deadline_value(e) < now_ms;
}

static inline unsigned keyspace_table_count(const struct keyspace *ks) {
    return ks->has_slots ? KEYSPACE_SLOTS : 1;
}

/* First slot >= from with keys, or KEYSPACE_SLOTS. */
unsigned keyspace_next_slot(const struct slot_books *books, unsigned from);
/* A slot drawn by its number of keys (0 where slots are off). The database is not empty. */
unsigned keyspace_random_slot(struct keyspace *ks, const struct database *d);

/* Takes e (in `slot` of its table) out of table and index; the entry itself stays. */
void keyspace_unlink(struct keyspace *ks, struct database *d, const struct keyref *key, void **slot);
/* Removes e and announces it. lazy: a big value is freed in the background. */
void keyspace_remove_announced(struct keyspace *ks, struct database *d, unsigned db, const struct keyref *key,
                               void **slot, bool lazy, enum keyspace_removal why);

/* The timers of hashes, see field_expiry.c. An entry that is no hash is let alone by the first three. */
void keyspace_link_fields_slow(struct database *d, struct entry *e);
void keyspace_unlink_fields_slow(struct database *d, const struct entry *e);
static inline void keyspace_link_fields(struct database *d, struct entry *e) {
    if (entry_type_of(e) == VALUE_HASH)
        keyspace_link_fields_slow(d, e);
}
static inline void keyspace_unlink_fields(struct database *d, const struct entry *e) {
    if (__builtin_expect(d->fields.used != 0, 0) && entry_type_of(e) == VALUE_HASH)
        keyspace_unlink_fields_slow(d, e);
}
/* An entry with the same value took the place of another one. */
void keyspace_move_fields(struct database *d, struct entry *now);
/* A user's access to the entry in `slot`, a hash: where fields may be removed, some of the due ones go. False where it
 * is over: nobody may see it, and it is gone where it may be removed. */
bool keyspace_fields_on_access(struct keyspace *ks, struct database *d, unsigned db, const struct keyref *key,
                               void **slot);
/* Removes due fields of hashes, the earliest hash first, until none is due or end_us is reached; returns how many. */
size_t keyspace_expire_due_fields(struct keyspace *ks, int64_t end_us);
/* Earliest deadline of a field over all databases, or -1. */
int64_t keyspace_next_field_deadline_ms(const struct keyspace *ks);

/* Frees v now or, where it is big and lazy is set, in the background. */
void keyspace_release(struct keyspace *ks, struct value v, bool lazy);
/* Frees a whole database, which the keyspace has let go of. */
void keyspace_release_database(struct keyspace *ks, struct database *d, bool async);
void lazyfree_finish(struct lazyfree *l);

void eviction_clear(struct eviction *ev);

#endif
