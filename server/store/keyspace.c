#include "config.h"

#include "server/store/keyspace.h"

#include "server/base/assert.h"
#include "server/base/crc.h"
#include "server/base/mem.h"
#include "server/store/keyspace_int.h"

/* Keys: finding, putting, changing, removing.
 *
 * Invariants (keyspace_check, in database.c):
 *  1. Every entry is in the table of its slot, and in the deadline index of its database exactly when it has a
 * deadline.
 *  2. An entry in the index does not change deadline or address without the index being told first.
 *  3. The timer of a hash (hash.h) is in the index of its database exactly when a field has a deadline; it tells the
 * earliest one and its entry.
 *  4. keys of a database, its slots and its groups of slots are the sums of the tables' counts.
 *
 * A put writes the new value before it frees the old one, because the new bytes may lie in it.
 */

struct keyspace *keyspace_create(const struct keyspace_options *options) {
    HF_ASSERT(options->databases >= 1);
    struct keyspace *ks = mem_calloc(1, sizeof *ks);
    ks->databases = options->databases;
    ks->near_count = options->databases < NEAR_DATABASES ? options->databases : NEAR_DATABASES;
    ks->near = mem_calloc(ks->near_count, sizeof *ks->near);
    ks->has_slots = options->slots;
    ks->resizing_allowed = true;
    ks->lfu_log_factor = 10;
    ks->lfu_decay_time_min = 1;
    ks->hash_key = options->hash_key;
    ks->policy = (struct table_policy){.ctx = &ks->hash_key, .resizing = TABLE_RESIZE_FREELY};
    ks->rules.policy = &ks->policy;
    collection_limits_default(&ks->rules.limits);
    ks->events = options->events;
    ks->lazyfree.worker = options->lazyfree;
    rng_init(&ks->rng, options->rng_seed);
    return ks;
}

void keyspace_destroy(struct keyspace *ks) {
    if (ks == NULL)
        return;
    lazyfree_finish(&ks->lazyfree);
    keyspace_flush(ks, -1, false);
    eviction_clear(&ks->eviction);
    mem_free(ks->made);
    mem_free(ks->near);
    mem_free(ks);
}

unsigned keyspace_databases(const struct keyspace *ks) {
    return ks->databases;
}
bool keyspace_has_slots(const struct keyspace *ks) {
    return ks->has_slots;
}

/* ---- settings ---- */

struct collection_rules *keyspace_rules(struct keyspace *ks) {
    return &ks->rules;
}

void keyspace_set_now_ms(struct keyspace *ks, int64_t now_ms) {
    ks->now_ms = now_ms;
    ks->lru_now = entry_lru_clock(now_ms);
}

int64_t keyspace_now_ms(const struct keyspace *ks) {
    return ks->now_ms;
}
void keyspace_set_expiry(struct keyspace *ks, enum keyspace_expiry mode) {
    ks->expiry = mode;
}
enum keyspace_expiry keyspace_expiry_mode(const struct keyspace *ks) {
    return ks->expiry;
}

void keyspace_set_clock(struct keyspace *ks, enum keyspace_clock clock, int lfu_log_factor, int lfu_decay_time_min) {
    ks->clock = clock;
    ks->lfu_log_factor = lfu_log_factor;
    ks->lfu_decay_time_min = lfu_decay_time_min;
}

static void choose_resizing(struct keyspace *ks) {
    ks->policy.resizing = ks->frozen || !ks->resizing_allowed ? TABLE_RESIZE_AVOID : TABLE_RESIZE_FREELY;
}

void keyspace_set_frozen(struct keyspace *ks, bool frozen) {
    ks->frozen = frozen;
    choose_resizing(ks);
}

void keyspace_set_resizing(struct keyspace *ks, bool allowed) {
    ks->resizing_allowed = allowed;
    choose_resizing(ks);
}

void keyspace_set_lazy(struct keyspace *ks, const struct keyspace_lazy *lazy) {
    ks->lazy = *lazy;
}

/* ---- the access clock ---- */

/* The logarithmic counter: the higher it stands above its initial value, the rarer a step. */
static __attribute__((noinline)) void touch_lfu(struct keyspace *ks, struct entry *e) {
    uint8_t counter = entry_lfu_counter(e, ks->now_ms, ks->lfu_decay_time_min);
    if (counter != 255) {
        double above = counter > ENTRY_LFU_INITIAL ? counter - ENTRY_LFU_INITIAL : 0;
        if (rng_unit(&ks->rng) < 1.0 / (above * ks->lfu_log_factor + 1))
            counter++;
    }
    entry_set_access(e, entry_lfu_pack(ks->now_ms, counter));
}

static inline void touch(struct keyspace *ks, struct entry *e) {
    if (__builtin_expect(ks->frozen, 0))
        return;
    if (__builtin_expect(ks->clock == KEYSPACE_CLOCK_LRU, 1))
        entry_set_access(e, ks->lru_now);
    else
        touch_lfu(ks, e);
}

static void start_access(struct keyspace *ks, struct entry *e) {
    entry_set_access(e, ks->clock == KEYSPACE_CLOCK_LRU ? ks->lru_now : entry_lfu_pack(ks->now_ms, ENTRY_LFU_INITIAL));
}

void keyspace_set_access(struct keyspace *ks, struct entry *e, int64_t idle_s, int freq) {
    if (ks->clock == KEYSPACE_CLOCK_LRU && idle_s >= 0)
        entry_set_access(e, idle_s >= 0xffffff ? ks->lru_now + 1 : ks->lru_now - (uint32_t)idle_s);
    else if (ks->clock == KEYSPACE_CLOCK_LFU && freq >= 0)
        entry_set_access(e, entry_lfu_pack(ks->now_ms, freq > 255 ? 255 : (uint8_t)freq));
}

/* ---- finding ---- */

struct keyref keyspace_key(const struct keyspace *ks, struct slice key) {
    return (struct keyref){.key = key,
                           .hash = hash_keyed(&ks->hash_key, key.p, key.n),
                           .slot = ks->has_slots ? crc16_key_slot(key.p, key.n) : 0};
}

void keyspace_prefetch_bucket(const struct keyspace *ks, unsigned db, const struct keyref *key) {
    const struct database *d = keyspace_db(ks, db);
    if (d != NULL)
        table_prefetch_bucket(&d->tables[key->slot], key->hash);
}

void keyspace_prefetch_entry(const struct keyspace *ks, unsigned db, const struct keyref *key) {
    const struct database *d = keyspace_db(ks, db);
    if (d != NULL)
        table_prefetch_items(&d->tables[key->slot], key->hash);
}

const struct entry *keyspace_peek(const struct keyspace *ks, unsigned db, const struct keyref *key) {
    const struct database *d = keyspace_db(ks, db);
    void **slot = d == NULL ? NULL : keyspace_slot(d, key);
    return slot == NULL ? NULL : *slot;
}

struct entry *keyspace_find(struct keyspace *ks, unsigned db, const struct keyref *key, enum keyspace_lookup flags) {
    struct database *d = keyspace_db(ks, db);
    void **slot = d == NULL ? NULL : keyspace_slot(d, key);
    if (slot == NULL)
        return NULL;
    struct entry *e = *slot;
    if (__builtin_expect(entry_is_due(e, ks->now_ms), 0) && ks->expiry != KEYSPACE_EXPIRE_IGNORE) {
        if (ks->expiry == KEYSPACE_EXPIRE_DELETE)
            keyspace_remove_announced(ks, d, db, key, slot, ks->lazy.expire, KEYSPACE_EXPIRED);
        return NULL;
    }
    if (__builtin_expect(d->fields.used != 0, 0) && entry_type_of(e) == VALUE_HASH &&
        !keyspace_fields_on_access(ks, d, db, key, slot))
        return NULL;
    if (!(flags & KEYSPACE_LOOKUP_NOTOUCH))
        touch(ks, e);
    return e;
}

/* ---- adding and removing ---- */

static inline void note_resizing(struct database *d, const struct keyref *key) {
    if (d->slots != NULL && __builtin_expect(table_is_resizing(&d->tables[key->slot]), 0))
        d->slots->resizing[key->slot / 64] |= UINT64_C(1) << (key->slot % 64);
}

static inline void count_key(struct database *d, const struct keyref *key, uint64_t change) {
    d->keys += change;
    if (d->slots != NULL) {
        d->slots->keys[key->slot] += change;
        d->slots->groups[key->slot / SLOT_GROUP] += change;
    }
}

/* Deadlines from before the epoch are as due as that of the epoch; the index and -1 for "none" want no others. */
static inline int64_t stored_deadline(int64_t deadline_ms) {
    return deadline_ms >= 0 || deadline_ms == KEYSPACE_NO_DEADLINE ? deadline_ms : 0;
}

static struct entry *add_absent(struct keyspace *ks, struct database *d, unsigned db, const struct keyref *key,
                                struct value v, int64_t deadline_ms) {
    struct rbuf *release;
    deadline_ms = deadline_ms == KEYSPACE_KEEP_DEADLINE ? KEYSPACE_NO_DEADLINE : stored_deadline(deadline_ms);
    v = entry_normalise(key->key.n, deadline_ms != KEYSPACE_NO_DEADLINE, v, &release);
    struct entry *e = entry_create(key->key, v, deadline_ms);
    rbuf_unref(release);
    start_access(ks, e);
    table_insert(&d->tables[key->slot], &entry_table_ops, &ks->policy, key->hash, e);
    count_key(d, key, 1);
    note_resizing(d, key);
    if (deadline_ms != KEYSPACE_NO_DEADLINE)
        deadline_insert(&d->deadlines, entry_as_item(e));
    keyspace_link_fields(d, e);
    if (ks->events.appeared != NULL)
        ks->events.appeared(ks->events.ctx, db, key);
    return e;
}

/* Gives the entry in `slot` another value and deadline (KEEP resolved already). Returns the entry. */
static struct entry *replace(struct keyspace *ks, struct database *d, void **slot, struct value v,
                             int64_t deadline_ms) {
    struct entry *was = *slot, *now = was;
    int64_t was_deadline = entry_deadline_ms(was);
    bool same_deadline = was_deadline == deadline_ms;
    bool owned = entry_owns(was);
    struct value old = entry_owned(was);
    struct rbuf *release;
    keyspace_unlink_fields(d, was);
    v = entry_normalise(entry_key_bytes(was).n, deadline_ms != KEYSPACE_NO_DEADLINE, v, &release);
    if (!same_deadline && was_deadline != KEYSPACE_NO_DEADLINE) {
        if (deadline_ms != KEYSPACE_NO_DEADLINE)
            deadline_prefetch(&d->deadlines, deadline_ms); /* both misses at once */
        deadline_remove(&d->deadlines, entry_as_item(was), was_deadline);
    }
    if (!entry_rewrite(was, v, deadline_ms)) {
        now = entry_create(entry_key_bytes(was), v, deadline_ms);
        entry_set_access(now, entry_access(was));
        *slot = now;
        if (same_deadline && was_deadline != KEYSPACE_NO_DEADLINE)
            deadline_replace(&d->deadlines, entry_as_item(was), entry_as_item(now));
        entry_free_block(was);
    }
    if (!same_deadline && deadline_ms != KEYSPACE_NO_DEADLINE)
        deadline_insert(&d->deadlines, entry_as_item(now));
    keyspace_link_fields(d, now);
    rbuf_unref(release);
    if (owned)
        keyspace_release(ks, old, ks->lazy.server_del);
    return now;
}

struct entry *keyspace_put(struct keyspace *ks, unsigned db, const struct keyref *key, struct value v,
                           int64_t deadline_ms) {
    struct database *d = keyspace_db_make(ks, db);
    void **slot = keyspace_slot(d, key);
    if (slot == NULL)
        return add_absent(ks, d, db, key, v, deadline_ms);
    if (__builtin_expect(entry_is_due(*slot, ks->now_ms), 0) && ks->expiry == KEYSPACE_EXPIRE_DELETE) {
        keyspace_remove_announced(ks, d, db, key, slot, ks->lazy.expire, KEYSPACE_EXPIRED);
        return add_absent(ks, d, db, key, v, deadline_ms);
    }
    if (deadline_ms == KEYSPACE_KEEP_DEADLINE)
        deadline_ms = entry_deadline_ms(*slot);
    struct entry *e = replace(ks, d, slot, v, stored_deadline(deadline_ms));
    touch(ks, e);
    return e;
}

struct entry *keyspace_add(struct keyspace *ks, unsigned db, const struct keyref *key, struct value v,
                           int64_t deadline_ms) {
    struct database *d = keyspace_db_make(ks, db);
    if (keyspace_slot(d, key) != NULL) {
        value_free(v);
        return NULL;
    }
    return add_absent(ks, d, db, key, v, deadline_ms);
}

void keyspace_unlink(struct keyspace *ks, struct database *d, const struct keyref *key, void **slot) {
    const struct entry *e = *slot;
    if (entry_has_deadline(e))
        deadline_remove(&d->deadlines, entry_as_item(e), entry_deadline_value(e));
    keyspace_unlink_fields(d, e);
    table_remove(&d->tables[key->slot], &entry_table_ops, &ks->policy, key->hash, slot);
    count_key(d, key, (uint64_t)-1);
    note_resizing(d, key);
}

void keyspace_remove_announced(struct keyspace *ks, struct database *d, unsigned db, const struct keyref *key,
                               void **slot, bool lazy, enum keyspace_removal why) {
    struct entry *e = *slot;
    keyspace_unlink(ks, d, key, slot);
    if (ks->events.removed != NULL) {
        struct keyref stored = {.key = entry_key_bytes(e), .hash = key->hash, .slot = key->slot};
        ks->events.removed(ks->events.ctx, db, &stored, why);
    }
    if (entry_owns(e))
        keyspace_release(ks, entry_owned(e), lazy);
    entry_free_block(e);
}

bool keyspace_delete(struct keyspace *ks, unsigned db, const struct keyref *key, bool lazy) {
    struct database *d = keyspace_db(ks, db);
    void **slot = d == NULL ? NULL : keyspace_slot(d, key);
    if (slot == NULL)
        return false;
    struct entry *e = *slot;
    keyspace_unlink(ks, d, key, slot);
    if (entry_owns(e))
        keyspace_release(ks, entry_owned(e), lazy || ks->lazy.user_del);
    entry_free_block(e);
    return true;
}

bool keyspace_detach(struct keyspace *ks, unsigned db, const struct keyref *key, struct value *ret_value,
                     int64_t *ret_deadline_ms) {
    struct database *d = keyspace_db(ks, db);
    void **slot = d == NULL ? NULL : keyspace_slot(d, key);
    if (slot == NULL)
        return false;
    struct entry *e = *slot;
    struct value v = entry_value(e);
    if (v.repr == VALUE_REPR_BYTES)
        v = value_copy(v);
    *ret_value = v;
    *ret_deadline_ms = entry_deadline_ms(e);
    keyspace_unlink(ks, d, key, slot);
    entry_free_block(e);
    return true;
}

/* ---- changing ---- */

static void **slot_of(struct keyspace *ks, unsigned db, const struct keyref *key, const struct entry *e,
                      struct database **ret_database) {
    struct database *d = keyspace_db(ks, db);
    HF_ASSERT(d != NULL);
    void **slot = keyspace_slot(d, key);
    HF_ASSERT(slot != NULL && *slot == e);
    *ret_database = d;
    return slot;
}

struct entry *keyspace_set_deadline(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry *e,
                                    int64_t deadline_ms) {
    struct database *d;
    int64_t was = entry_deadline_ms(e);
    deadline_ms = deadline_ms == KEYSPACE_KEEP_DEADLINE ? was : stored_deadline(deadline_ms);
    if (deadline_ms == was)
        return e;
    void **slot = slot_of(ks, db, key, e, &d);
    if (was != KEYSPACE_NO_DEADLINE)
        deadline_remove(&d->deadlines, entry_as_item(e), was);
    if (was != KEYSPACE_NO_DEADLINE && deadline_ms != KEYSPACE_NO_DEADLINE) {
        entry_deadline_store(e, deadline_ms);
    } else if (!entry_toggle_deadline(e, deadline_ms)) {
        struct entry *now = entry_create(entry_key_bytes(e), entry_value(e), deadline_ms);
        entry_set_access(now, entry_access(e));
        *slot = now;
        entry_free_block(e);
        e = now;
        keyspace_move_fields(d, e);
    }
    if (deadline_ms != KEYSPACE_NO_DEADLINE)
        deadline_insert(&d->deadlines, entry_as_item(e));
    return e;
}

struct entry *keyspace_set_int(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry *e, int64_t v) {
    struct database *d;
    if (e->flags & ENTRY_INT) {
        entry_word_store(e, (uint64_t)v);
        return e;
    }
    void **slot = slot_of(ks, db, key, e, &d);
    return replace(ks, d, slot, value_string_int(v), entry_deadline_ms(e));
}

/* Puts another entry in the place of e, which is freed but for what it owns. */
static void move_entry(struct database *d, void **slot, struct entry *e, struct entry *now) {
    *slot = now;
    if (entry_has_deadline(e))
        deadline_replace(&d->deadlines, entry_as_item(e), entry_as_item(now));
    entry_free_block(e);
}

/* Room for a string that grows: half as much again, an eighth once it is big; exact where it was empty before. */
static struct rbuf *create_growing(struct slice old, size_t len) {
    size_t more = old.n == 0 || len <= old.n ? 0 : len < (1 << 20) ? len / 2 : len / 8;
    struct rbuf *r = rbuf_try_create(len + more);
    if (r == NULL && more != 0)
        r = rbuf_try_create(len);
    if (r == NULL)
        return NULL;
    size_t kept = old.n < len ? old.n : len;
    if (kept != 0)
        memcpy(r->data, old.p, kept);
    memset(r->data + kept, 0, len - kept);
    r->len = len;
    return r;
}

static int writable_embedded(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry **inout_e,
                             size_t len, char **ret_bytes) {
    struct entry *e = *inout_e;
    struct database *d;
    size_t key_len = key->key.n;
    struct entry_shape s = {.flags = e->flags & ENTRY_DEADLINE, .value_len = len};
    if (!(e->flags & ENTRY_WORD) && entry_class(entry_shape_size(key_len, s)) == entry_block_size(e)) {
        struct slice bytes = entry_value(e).u.bytes;
        *ret_bytes = (char *)(uintptr_t)bytes.p;
        if (len > bytes.n)
            memset(*ret_bytes + bytes.n, 0, len - bytes.n);
        e->value_len = (uint16_t)len;
        entry_set_kind(e, VALUE_STRING, VALUE_ENC_RAW);
        return 0;
    }
    char scratch[24];
    bool owned = entry_owns(e);
    struct value old = entry_owned(e);
    struct entry *now = entry_create_resized(e, entry_string(e, scratch), len);
    void **slot = slot_of(ks, db, key, e, &d);
    move_entry(d, slot, e, now);
    if (owned)
        keyspace_release(ks, old, false);
    *ret_bytes = (char *)(uintptr_t)entry_value(now).u.bytes.p;
    *inout_e = now;
    return 0;
}

int keyspace_string_writable(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry **inout_e,
                             size_t len_bytes, char **ret_bytes) {
    struct entry *e = *inout_e;
    HF_ASSERT(entry_type_of(e) == VALUE_STRING);
    struct entry_shape s = {.flags = e->flags & ENTRY_DEADLINE, .value_len = len_bytes};
    if (len_bytes <= ENTRY_EMBED_MAX && entry_shape_size(key->key.n, s) <= ENTRY_EMBED_MAX)
        return writable_embedded(ks, db, key, inout_e, len_bytes, ret_bytes);

    char scratch[24];
    struct slice old = entry_string(e, scratch);
    if (e->flags & ENTRY_RBUF) {
        struct rbuf *r = entry_pointer(e);
        if (!rbuf_is_unique(r) || len_bytes > r->cap) {
            struct rbuf *bigger = create_growing(old, len_bytes);
            if (bigger == NULL)
                return -1;
            entry_word_store(e, (uint64_t)(uintptr_t)bigger);
            rbuf_unref(r);
            r = bigger;
        } else if (len_bytes > r->len) {
            memset(r->data + r->len, 0, len_bytes - r->len);
        }
        r->len = len_bytes;
        entry_set_kind(e, VALUE_STRING, VALUE_ENC_RAW);
        *ret_bytes = r->data;
        return 0;
    }
    struct rbuf *r = create_growing(old, len_bytes);
    if (r == NULL)
        return -1;
    struct database *d;
    void **slot = slot_of(ks, db, key, e, &d);
    struct entry *now = entry_create(entry_key_bytes(e), value_string_rbuf_take(r), entry_deadline_ms(e));
    entry_set_access(now, entry_access(e));
    move_entry(d, slot, e, now);
    *ret_bytes = r->data;
    *inout_e = now;
    return 0;
}

void keyspace_set_object(struct keyspace *ks, struct entry *e, enum value_encoding encoding, void *object) {
    (void)ks;
    HF_ASSERT((e->flags & ENTRY_OBJECT) && object != NULL);
    entry_word_store(e, (uint64_t)(uintptr_t)object);
    entry_set_kind(e, entry_type_of(e), encoding);
}
