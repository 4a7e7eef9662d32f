#include "config.h"

#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/store/hash.h"
#include "server/store/keyspace_int.h"

/* Deadlines of fields.
 *
 * Inside a hash, fields are in deadline order already (hash.h). Across hashes, each database has an index of timers:
 * one per hash that has a field with a deadline, carrying the earliest one and, in its own word, the address of the
 * entry (0 while it is in no index). So the next due field of a database is found at once, whatever else it holds.
 *
 * What is due goes in three ways: actively, hash after hash by their earliest deadline; when a user looks at the hash
 * (some of it, so that a look stays cheap; all of it before a change that depends on it); and with the hash, once all
 * its fields are due: then the key is removed whole. Whoever reads in between asks by the time, so a due field is never
 * seen.
 */

#define ACCESS_FIELDS 64 /* due fields removed when somebody looks at a hash */
#define STEP_FIELDS 64   /* … and between two looks at the clock */

static struct collection hash_of(const struct keyspace *ks, const struct entry *e) {
    return collection_of(&ks->rules, e);
}

/* ---- the index ---- */

void keyspace_link_fields_slow(struct database *d, struct entry *e) {
    struct collection h = collection_of(NULL, e);
    int64_t next_ms = hash_next_deadline_ms(&h);
    if (next_ms == FIELD_NO_DEADLINE)
        return;
    struct deadline_item **place = hash_timer(&h);
    if (*place == NULL)
        *place = mem_calloc(1, sizeof **place);
    struct deadline_item *timer = *place;
    HF_ASSERT(timer->own == 0);
    timer->own = (uint64_t)(uintptr_t)e;
    timer->deadline_ms = next_ms;
    deadline_insert(&d->fields, timer);
}

/* The timer of a hash where it is in an index, or NULL. */
static struct deadline_item *linked_timer(const struct entry *e) {
    struct collection h = collection_of(NULL, e);
    struct deadline_item **place = hash_timer(&h);
    return place != NULL && *place != NULL && (*place)->own != 0 ? *place : NULL;
}

void keyspace_unlink_fields_slow(struct database *d, const struct entry *e) {
    struct deadline_item *timer = linked_timer(e);
    if (timer == NULL)
        return;
    deadline_remove(&d->fields, timer, timer->deadline_ms);
    timer->own = 0;
}

void keyspace_move_fields(struct database *d, struct entry *now) {
    if (d->fields.used == 0 || entry_type_of(now) != VALUE_HASH)
        return;
    struct deadline_item *timer = linked_timer(now);
    if (timer != NULL)
        timer->own = (uint64_t)(uintptr_t)now;
}

static void changed(struct database *d, struct entry *e) {
    struct collection h = collection_of(NULL, e);
    const struct deadline_item *timer = linked_timer(e);
    if ((timer != NULL ? timer->deadline_ms : FIELD_NO_DEADLINE) == hash_next_deadline_ms(&h))
        return;
    keyspace_unlink_fields_slow(d, e);
    keyspace_link_fields_slow(d, e);
}

void keyspace_fields_changed(struct keyspace *ks, unsigned db, struct entry *e) {
    HF_ASSERT(entry_type_of(e) == VALUE_HASH);
    if (entry_encoding_of(e) != VALUE_ENC_LISTPACK)
        changed(keyspace_db(ks, db), e);
}

size_t keyspace_timed_hashes(const struct keyspace *ks, unsigned db) {
    const struct database *d = keyspace_db(ks, db);
    return d == NULL ? 0 : d->fields.used;
}

/* ---- removing ---- */

/* Names of fields on their way out. */
struct taken {
    struct buf bytes;
    size_t count;
    size_t ends[STEP_FIELDS];
};

static void take(void *arg, struct slice field) {
    struct taken *t = arg;
    buf_append_slice(&t->bytes, field);
    t->ends[t->count++] = t->bytes.len;
}

static void announce(struct keyspace *ks, unsigned db, const struct keyref *key, const struct taken *t) {
    struct slice names[STEP_FIELDS];
    size_t from = 0;
    if (ks->events.fields_removed == NULL)
        return;
    for (size_t i = 0; i < t->count; from = t->ends[i++])
        names[i] = slice_of(t->bytes.len == 0 ? "" : t->bytes.data + from, t->ends[i] - from);
    ks->events.fields_removed(ks->events.ctx, db, key, names, t->count);
}

/* Removes up to max due fields of a hash of which some are not due. Returns how many. */
static size_t remove_some(struct keyspace *ks, struct database *d, unsigned db, const struct keyref *key,
                          struct entry *e, size_t max) {
    struct collection h = hash_of(ks, e);
    struct taken t = {.bytes = BUF_INIT};
    HF_ASSERT(max <= STEP_FIELDS);
    if (hash_remove_due(&h, ks->now_ms, max, take, &t) != 0) {
        HF_ASSERT(h.object == entry_object(e) && hash_count(&h) != 0);
        changed(d, e);
        struct keyref stored = {.key = entry_key_bytes(e), .hash = key->hash, .slot = key->slot};
        announce(ks, db, &stored, &t);
    }
    buf_deinit(&t.bytes);
    return t.count;
}

static void remove_whole(struct keyspace *ks, struct database *d, unsigned db, const struct keyref *key, void **slot) {
    const struct entry *e = *slot;
    struct collection h = hash_of(ks, e);
    struct keyref stored = {.key = entry_key_bytes(e), .hash = key->hash, .slot = key->slot};
    if (ks->events.fields_removed != NULL)
        ks->events.fields_removed(ks->events.ctx, db, &stored, NULL, hash_count(&h));
    keyspace_remove_announced(ks, d, db, key, slot, ks->lazy.expire, KEYSPACE_FIELDS_EXPIRED);
}

bool keyspace_fields_over(const struct keyspace *ks, const struct entry *e) {
    if (entry_type_of(e) != VALUE_HASH)
        return false;
    struct collection h = hash_of(ks, e);
    return hash_is_over(&h, keyspace_field_now_ms(ks));
}

bool keyspace_fields_on_access(struct keyspace *ks, struct database *d, unsigned db, const struct keyref *key,
                               void **slot) {
    struct entry *e = *slot;
    const struct deadline_item *timer = linked_timer(e);
    if (timer == NULL || timer->deadline_ms >= ks->now_ms || ks->expiry == KEYSPACE_EXPIRE_IGNORE)
        return true;
    bool over = keyspace_fields_over(ks, e);
    if (ks->expiry != KEYSPACE_EXPIRE_DELETE)
        return !over;
    if (over)
        remove_whole(ks, d, db, key, slot);
    else
        remove_some(ks, d, db, key, e, ACCESS_FIELDS);
    return !over;
}

void keyspace_expire_fields(struct keyspace *ks, unsigned db, const struct keyref *key, struct entry *e) {
    struct database *d = keyspace_db(ks, db);
    if (d->fields.used == 0 || ks->expiry != KEYSPACE_EXPIRE_DELETE)
        return;
    while (remove_some(ks, d, db, key, e, STEP_FIELDS) == STEP_FIELDS)
        ;
}

int64_t keyspace_field_now_ms(const struct keyspace *ks) {
    return ks->expiry == KEYSPACE_EXPIRE_IGNORE ? HASH_NOTHING_DUE : ks->now_ms;
}

/* The database whose earliest timer is the earliest of all, or NULL. */
static struct made_database *earliest(struct keyspace *ks, const struct deadline_item **ret_timer) {
    struct made_database *best = NULL;
    for (size_t k = 0; k < ks->made_count; k++) {
        const struct deadline_item *first = deadline_first(&ks->made[k].d->fields);
        if (first != NULL && (best == NULL || first->deadline_ms < (*ret_timer)->deadline_ms)) {
            best = &ks->made[k];
            *ret_timer = first;
        }
    }
    return best;
}

int64_t keyspace_next_field_deadline_ms(const struct keyspace *ks) {
    const struct deadline_item *timer;
    return earliest((struct keyspace *)(uintptr_t)ks, &timer) == NULL ? -1 : timer->deadline_ms;
}

/* One step on the hash of a timer: some of its due fields, or the whole of it. */
static size_t expire_step(struct keyspace *ks, const struct made_database *m, const struct deadline_item *timer) {
    struct entry *e = (struct entry *)(uintptr_t)timer->own;
    struct keyref key = keyspace_key(ks, entry_key_bytes(e));
    if (!keyspace_fields_over(ks, e))
        return remove_some(ks, m->d, m->number, &key, e, STEP_FIELDS);
    struct collection h = hash_of(ks, e);
    size_t n = hash_count(&h);
    void **slot = keyspace_slot(m->d, &key);
    HF_ASSERT(slot != NULL && *slot == e);
    remove_whole(ks, m->d, m->number, &key, slot);
    return n;
}

size_t keyspace_expire_due_fields(struct keyspace *ks, int64_t end_us) {
    size_t removed = 0;
    const struct deadline_item *timer;
    for (;;) {
        const struct made_database *m = earliest(ks, &timer);
        if (m == NULL || timer->deadline_ms >= ks->now_ms)
            return removed;
        removed += expire_step(ks, m, timer);
        if (clock_mono_us() >= end_us)
            return removed;
    }
}
