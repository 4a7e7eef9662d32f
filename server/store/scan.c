#include "config.h"

#include "server/base/assert.h"
#include "server/store/keyspace_int.h"

/* Walking and drawing.
 *
 * The cursor of a database is that of the table; where slots are on, the slot is in its low 14 bits and the cursor of
 * the slot's table above. A slot is left when its table's cursor comes back to 0.
 */

#define EMPTY_STEPS 10 /* chains looked at per key aimed at */

struct scan {
    void (*each)(void *arg, const struct entry *e);
    void *arg;
    size_t seen;
};

static void scan_item(void *arg, void *item) {
    struct scan *s = arg;
    s->seen++;
    s->each(s->arg, item);
}

static uint64_t scan_table(const struct table *t, uint64_t cursor, size_t count, size_t *inout_steps, struct scan *s) {
    if (t->used == 0)
        return 0;
    do {
        cursor = table_scan(t, cursor, scan_item, s);
        --*inout_steps;
    } while (cursor != 0 && s->seen<count && * inout_steps> 0);
    return cursor;
}

static size_t steps_for(size_t count) {
    return count == 0 ? 1 : count <= SIZE_MAX / EMPTY_STEPS ? count * EMPTY_STEPS : SIZE_MAX;
}

uint64_t keyspace_scan(struct keyspace *ks, unsigned db, uint64_t cursor, size_t count,
                       void (*each)(void *arg, const struct entry *e), void *arg) {
    const struct database *d = keyspace_db(ks, db);
    if (d == NULL)
        return 0;
    struct scan s = {.each = each, .arg = arg};
    size_t steps = steps_for(count);
    if (d->slots == NULL)
        return scan_table(&d->single, cursor, count, &steps, &s);
    unsigned slot = (unsigned)(cursor % KEYSPACE_SLOTS);
    uint64_t at = cursor >> SLOT_BITS;
    do {
        at = scan_table(&d->tables[slot], at, count, &steps, &s);
        if (at == 0) {
            slot = keyspace_next_slot(d->slots, slot + 1);
            if (slot == KEYSPACE_SLOTS)
                return 0;
        }
    } while (s.seen < count && steps > 0);
    return at << SLOT_BITS | slot;
}

uint64_t keyspace_scan_slot(struct keyspace *ks, unsigned db, unsigned slot, uint64_t cursor, size_t count,
                            void (*each)(void *arg, const struct entry *e), void *arg) {
    const struct database *d = keyspace_db(ks, db);
    HF_ASSERT(ks->has_slots && slot < KEYSPACE_SLOTS);
    if (d == NULL)
        return 0;
    struct scan s = {.each = each, .arg = arg};
    size_t steps = steps_for(count);
    return scan_table(&d->tables[slot], cursor, count, &steps, &s);
}

struct walk {
    int (*each)(void *arg, const struct entry *e);
    void *arg;
};

static int walk_item(void *arg, void *item) {
    const struct walk *w = arg;
    return w->each(w->arg, item);
}

int keyspace_each(const struct keyspace *ks, unsigned db, int (*each)(void *arg, const struct entry *e), void *arg) {
    const struct database *d = keyspace_db(ks, db);
    struct walk w = {each, arg};
    if (d == NULL)
        return 0;
    if (d->slots == NULL)
        return table_each(&d->single, walk_item, &w);
    int rc = 0;
    for (unsigned slot = keyspace_next_slot(d->slots, 0); slot < KEYSPACE_SLOTS && rc == 0;
         slot = keyspace_next_slot(d->slots, slot + 1))
        rc = table_each(&d->tables[slot], walk_item, &w);
    return rc;
}

/* ---- a random key ---- */

struct live {
    const struct keyspace *ks;
    struct entry *found;
};

static int find_live(void *arg, void *item) {
    struct live *l = arg;
    if (entry_is_due(item, l->ks->now_ms) || keyspace_fields_over(l->ks, item))
        return 0;
    l->found = item;
    return 1;
}

/* A due key that was met goes, as any access has it. */
static void expire_met(struct keyspace *ks, unsigned db, const struct entry *e) {
    struct buf name = BUF_INIT;
    struct slice key = entry_key(e);
    buf_append(&name, key.p, key.n);
    const struct keyref ref = keyspace_key(ks, buf_slice(&name));
    (void)keyspace_find(ks, db, &ref, KEYSPACE_LOOKUP_NOTOUCH);
    buf_deinit(&name);
}

struct entry *keyspace_random(struct keyspace *ks, unsigned db) {
    struct database *d = keyspace_db(ks, db);
    while (d != NULL && d->keys != 0) {
        for (int tries = 0; tries < 100; tries++) {
            struct entry *e = table_random(&d->tables[keyspace_random_slot(ks, d)], &ks->rng);
            if (ks->expiry == KEYSPACE_EXPIRE_IGNORE || (!entry_is_due(e, ks->now_ms) && !keyspace_fields_over(ks, e)))
                return e;
            if (ks->expiry == KEYSPACE_EXPIRE_DELETE) {
                expire_met(ks, db, e);
                if (d->keys == 0)
                    return NULL;
            }
        }
        /* Nearly all are due. Where they may go, they go; elsewhere one is looked for if there is one. */
        if (ks->expiry == KEYSPACE_EXPIRE_DELETE) {
            (void)keyspace_expire_due(ks, INT64_MAX);
            continue;
        }
        const struct deadline_item *last = deadline_last(&d->deadlines);
        if (d->deadlines.used == d->keys && last->deadline_ms < ks->now_ms)
            return NULL;
        struct live live = {.ks = ks};
        for (unsigned i = 0; i < keyspace_table_count(ks) && live.found == NULL; i++)
            (void)table_each(&d->tables[i], find_live, &live);
        return live.found;
    }
    return NULL;
}
