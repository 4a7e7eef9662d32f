#include "config.h"

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/store/keyspace_int.h"

/* Removing due keys: the deadline index gives them in order, so the work is what is due and no sampling. */

#define KEYS_PER_CLOCK 16

/* The database whose earliest deadline is the earliest of all, or NULL. */
static struct made_database *earliest(struct keyspace *ks, int64_t *ret_deadline_ms) {
    struct made_database *best = NULL;
    for (size_t k = 0; k < ks->made_count; k++) {
        const struct deadline_item *first = deadline_first(&ks->made[k].d->deadlines);
        if (first != NULL && (best == NULL || first->deadline_ms < *ret_deadline_ms)) {
            best = &ks->made[k];
            *ret_deadline_ms = first->deadline_ms;
        }
    }
    return best;
}

int64_t keyspace_next_deadline_ms(const struct keyspace *ks) {
    int64_t deadline_ms = -1, fields_ms = keyspace_next_field_deadline_ms(ks);
    /* The index keeps its earliest item once it has looked for it: a cache, not a change. */
    if (earliest((struct keyspace *)(uintptr_t)ks, &deadline_ms) == NULL)
        return fields_ms;
    return fields_ms >= 0 && fields_ms < deadline_ms ? fields_ms : deadline_ms;
}

static void expire(struct keyspace *ks, const struct made_database *m, const struct entry *e) {
    struct keyref key = keyspace_key(ks, entry_key_bytes(e));
    void **slot = keyspace_slot(m->d, &key);
    HF_ASSERT(slot != NULL && *slot == e);
    keyspace_remove_announced(ks, m->d, m->number, &key, slot, ks->lazy.expire, KEYSPACE_EXPIRED);
}

/* Due keys until none is left or the time is up. */
static size_t expire_due_keys(struct keyspace *ks, int64_t end_us) {
    size_t removed = 0;
    int64_t deadline_ms;
    const struct made_database *m = earliest(ks, &deadline_ms);
    while (m != NULL && deadline_ms < ks->now_ms) {
        struct deadline_item *due[DEADLINE_LEAF_ITEMS];
        size_t n = deadline_due(&m->d->deadlines, ks->now_ms, due);
        for (size_t i = 0; i < n; i++) {
            expire(ks, m, item_as_entry(due[i]));
            if (++removed % KEYS_PER_CLOCK == 0 && clock_mono_us() >= end_us)
                return removed;
        }
        m = earliest(ks, &deadline_ms);
    }
    return removed;
}

size_t keyspace_expire_due(struct keyspace *ks, int64_t budget_us) {
    if (ks->expiry != KEYSPACE_EXPIRE_DELETE)
        return 0;
    int64_t first_ms = keyspace_next_deadline_ms(ks);
    if (first_ms < 0 || first_ms >= ks->now_ms)
        return 0;
    int64_t now_us = clock_mono_us(), half_us, end_us;
    /* Keys leave some of the time to fields, and get back what those do not need. */
    if (__builtin_add_overflow(now_us, budget_us, &end_us))
        end_us = INT64_MAX;
    half_us = now_us + (end_us - now_us) / 2;
    size_t removed = expire_due_keys(ks, half_us);
    removed += keyspace_expire_due_fields(ks, end_us);
    if (clock_mono_us() < end_us)
        removed += expire_due_keys(ks, end_us);
    return removed;
}
