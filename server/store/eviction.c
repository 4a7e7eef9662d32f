#include "config.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/store/keyspace_int.h"

/* Eviction: candidates are sampled, and a pool keeps the best ones over calls, which comes near to exact LRU or LFU at
 * a small part of its cost. The pool holds copies of keys: entries may be gone, replaced or used again when their turn
 * comes, so a candidate is looked up and scored anew. TTL is exact: the deadline index knows the earliest. */

#define SAMPLES_MAX 64
#define ROUNDS 64 /* of sampling before a key is taken at random */

static bool is_volatile(enum keyspace_policy p) {
    return p == KEYSPACE_EVICT_VOLATILE_LRU || p == KEYSPACE_EVICT_VOLATILE_LFU ||
           p == KEYSPACE_EVICT_VOLATILE_RANDOM || p == KEYSPACE_EVICT_VOLATILE_TTL;
}

static bool is_lfu(enum keyspace_policy p) {
    return p == KEYSPACE_EVICT_VOLATILE_LFU || p == KEYSPACE_EVICT_ALLKEYS_LFU;
}

static uint64_t score(const struct keyspace *ks, enum keyspace_policy policy, const struct entry *e) {
    if (is_lfu(policy))
        return 255u - entry_lfu_counter(e, ks->now_ms, ks->lfu_decay_time_min);
    return entry_idle_s(e, ks->now_ms);
}

static void pool_take_out(struct eviction *ev, unsigned i) {
    mem_free(ev->pool[i].key);
    ev->used--;
    memmove(&ev->pool[i], &ev->pool[i + 1], (ev->used - i) * sizeof ev->pool[0]);
}

void eviction_clear(struct eviction *ev) {
    while (ev->used > 0)
        pool_take_out(ev, ev->used - 1);
}

static void pool_offer(struct keyspace *ks, unsigned db, const struct entry *e, uint64_t points) {
    struct eviction *ev = &ks->eviction;
    if (ev->used == EVICTION_POOL && points <= ev->pool[0].score)
        return;
    struct slice key = entry_key_bytes(e);
    uint64_t hash = hash_keyed(&ks->hash_key, key.p, key.n);
    for (unsigned i = 0; i < ev->used; i++)
        if (ev->pool[i].hash == hash && ev->pool[i].db == db) {
            pool_take_out(ev, i);
            break;
        }
    if (ev->used == EVICTION_POOL)
        pool_take_out(ev, 0);
    unsigned at = ev->used;
    while (at > 0 && ev->pool[at - 1].score > points)
        at--;
    memmove(&ev->pool[at + 1], &ev->pool[at], (ev->used - at) * sizeof ev->pool[0]);
    ev->pool[at] = (struct eviction_candidate){
        .score = points, .hash = hash, .db = db, .key = mem_strndup(key.p, key.n), .key_len = key.n};
    ev->used++;
}

static bool has_candidates(const struct database *d, bool of_volatile) {
    return of_volatile ? d->deadlines.used != 0 : d->keys != 0;
}

static void sample_into_pool(struct keyspace *ks, enum keyspace_policy policy, const struct made_database *m,
                             unsigned samples) {
    void *items[SAMPLES_MAX];
    size_t n = 0;
    if (is_volatile(policy)) {
        size_t most = m->d->deadlines.used < samples ? m->d->deadlines.used : samples;
        for (; n < most; n++) {
            items[n] = deadline_random(&m->d->deadlines, &ks->rng);
            __builtin_prefetch(items[n]);
        }
    } else {
        size_t most = m->d->keys < samples ? m->d->keys : samples;
        /* A slot may have fewer keys than wanted; four draws are enough for a candidate or four. */
        for (int draws = 0; n < most && draws < 4; draws++)
            n += table_sample(&m->d->tables[keyspace_random_slot(ks, m->d)], &ks->rng, items + n, most - n);
    }
    for (size_t i = 0; i < n; i++)
        pool_offer(ks, m->number, items[i], score(ks, policy, items[i]));
}

static void evict(struct keyspace *ks, struct database *d, unsigned db, const struct keyref *key, void **slot) {
    keyspace_remove_announced(ks, d, db, key, slot, ks->lazy.evict, KEYSPACE_EVICTED);
}

/* Evicts the best of the pool that is still what it was. False when none is left. */
static bool evict_from_pool(struct keyspace *ks, enum keyspace_policy policy) {
    struct eviction *ev = &ks->eviction;
    while (ev->used > 0) {
        const struct eviction_candidate *c = &ev->pool[ev->used - 1];
        struct database *d = keyspace_db(ks, c->db);
        struct keyref key = keyspace_key(ks, slice_of(c->key, c->key_len));
        void **slot = d == NULL ? NULL : keyspace_slot(d, &key);
        const struct entry *e = slot == NULL ? NULL : *slot;
        bool good = e != NULL && (!is_volatile(policy) || entry_has_deadline(e)) && score(ks, policy, e) >= c->score;
        if (good)
            evict(ks, d, c->db, &key, slot);
        pool_take_out(ev, ev->used - 1);
        if (good)
            return true;
    }
    return false;
}

static void evict_entry(struct keyspace *ks, const struct made_database *m, const struct entry *e) {
    struct keyref key = keyspace_key(ks, entry_key_bytes(e));
    void **slot = keyspace_slot(m->d, &key);
    HF_ASSERT(slot != NULL && *slot == e);
    evict(ks, m->d, m->number, &key, slot);
}

/* Databases take turns. */
static bool evict_random(struct keyspace *ks, bool of_volatile) {
    for (size_t seen = 0; seen < ks->made_count; seen++) {
        struct eviction *ev = &ks->eviction;
        ev->next = ev->next + 1 < ks->made_count ? ev->next + 1 : 0;
        const struct made_database *m = &ks->made[ev->next];
        if (!has_candidates(m->d, of_volatile))
            continue;
        evict_entry(ks, m,
                    of_volatile ? item_as_entry(deadline_random(&m->d->deadlines, &ks->rng))
                                : table_random(&m->d->tables[keyspace_random_slot(ks, m->d)], &ks->rng));
        return true;
    }
    return false;
}

static bool evict_earliest(struct keyspace *ks) {
    const struct made_database *best = NULL;
    const struct deadline_item *first = NULL;
    for (size_t k = 0; k < ks->made_count; k++) {
        const struct deadline_item *item = deadline_first(&ks->made[k].d->deadlines);
        if (item != NULL && (first == NULL || item->deadline_ms < first->deadline_ms)) {
            best = &ks->made[k];
            first = item;
        }
    }
    if (best == NULL)
        return false;
    evict_entry(ks, best, item_as_entry(first));
    return true;
}

bool keyspace_evict_one(struct keyspace *ks, enum keyspace_policy policy, unsigned samples) {
    bool of_volatile = is_volatile(policy);
    switch (policy) {
    case KEYSPACE_EVICT_NONE:
        return false;
    case KEYSPACE_EVICT_VOLATILE_TTL:
        return evict_earliest(ks);
    case KEYSPACE_EVICT_VOLATILE_RANDOM:
    case KEYSPACE_EVICT_ALLKEYS_RANDOM:
        return evict_random(ks, of_volatile);
    default:
        break;
    }
    if (ks->eviction.policy != policy) {
        eviction_clear(&ks->eviction);
        ks->eviction.policy = policy;
    }
    samples = samples < 1 ? 1 : samples > SAMPLES_MAX ? SAMPLES_MAX : samples;
    for (int round = 0; round < ROUNDS; round++) {
        bool any = false;
        for (size_t k = 0; k < ks->made_count; k++)
            if (has_candidates(ks->made[k].d, of_volatile)) {
                any = true;
                sample_into_pool(ks, policy, &ks->made[k], samples);
            }
        if (!any)
            return false;
        if (evict_from_pool(ks, policy))
            return true;
    }
    return evict_random(ks, of_volatile);
}
