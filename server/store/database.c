#include "config.h"

#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/crc.h"
#include "server/base/mem.h"
#include "server/store/hash.h"
#include "server/store/keyspace_int.h"

/* Databases: made when first written to, kept sorted by number, with an array by number for the first ones. */

#define STEP_BUCKETS 64 /* moved between two looks at the clock */
#define UPKEEP_SLOTS 64 /* looked at per step for a resizing that was put off */

static size_t made_place(const struct keyspace *ks, unsigned db) {
    size_t lo = 0, hi = ks->made_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (ks->made[mid].number < db)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct database *keyspace_db_far(const struct keyspace *ks, unsigned db) {
    HF_ASSERT(db < ks->databases);
    size_t i = made_place(ks, db);
    return i < ks->made_count && ks->made[i].number == db ? ks->made[i].d : NULL;
}

struct database *keyspace_db_make(struct keyspace *ks, unsigned db) {
    struct database *d = keyspace_db(ks, db);
    if (__builtin_expect(d != NULL, 1))
        return d;
    d = mem_calloc(1, sizeof *d);
    d->tables = &d->single;
    if (ks->has_slots) {
        d->tables = mem_calloc(KEYSPACE_SLOTS, sizeof *d->tables);
        d->slots = mem_calloc(1, sizeof *d->slots);
    }
    size_t i = made_place(ks, db);
    if (ks->made_count == ks->made_cap) {
        ks->made_cap = ks->made_cap == 0 ? 16 : ks->made_cap * 2;
        ks->made = mem_realloc(ks->made, ks->made_cap * sizeof *ks->made);
    }
    memmove(&ks->made[i + 1], &ks->made[i], (ks->made_count - i) * sizeof *ks->made);
    ks->made[i] = (struct made_database){db, d};
    ks->made_count++;
    if (db < ks->near_count)
        ks->near[db] = d;
    return d;
}

static size_t flush_at(struct keyspace *ks, size_t i, bool async) {
    struct made_database m = ks->made[i];
    size_t keys = m.d->keys;
    ks->made_count--;
    memmove(&ks->made[i], &ks->made[i + 1], (ks->made_count - i) * sizeof *ks->made);
    if (m.number < ks->near_count)
        ks->near[m.number] = NULL;
    keyspace_release_database(ks, m.d, async);
    return keys;
}

size_t keyspace_flush(struct keyspace *ks, int db, bool async) {
    size_t keys = 0;
    if (db >= 0) {
        size_t i = made_place(ks, (unsigned)db);
        if (i < ks->made_count && ks->made[i].number == (unsigned)db)
            keys = flush_at(ks, i, async);
    } else {
        while (ks->made_count > 0)
            keys += flush_at(ks, ks->made_count - 1, async);
    }
    return keys;
}

void keyspace_swap(struct keyspace *ks, unsigned a, unsigned b) {
    if (a == b)
        return;
    struct database *da = keyspace_db_make(ks, a), *db = keyspace_db_make(ks, b);
    ks->made[made_place(ks, a)].d = db;
    ks->made[made_place(ks, b)].d = da;
    if (a < ks->near_count)
        ks->near[a] = db;
    if (b < ks->near_count)
        ks->near[b] = da;
}

struct keyspace *keyspace_create_beside(const struct keyspace *ks) {
    uint64_t seed;
    rng_entropy(&seed, sizeof seed);
    const struct keyspace_options o = {
        .databases = ks->databases, .slots = ks->has_slots, .hash_key = ks->hash_key, .rng_seed = seed};
    struct keyspace *beside = keyspace_create(&o);
    beside->rules = ks->rules; /* its policy, too: collections keep the address of the one they are to live under */
    beside->expiry = KEYSPACE_EXPIRE_IGNORE;
    beside->clock = ks->clock;
    beside->lfu_log_factor = ks->lfu_log_factor;
    beside->lfu_decay_time_min = ks->lfu_decay_time_min;
    keyspace_set_now_ms(beside, ks->now_ms);
    return beside;
}

void keyspace_take_all(struct keyspace *ks, struct keyspace *from, bool async) {
    HF_ASSERT(ks->databases == from->databases && ks->has_slots == from->has_slots);
    HF_ASSERT(memcmp(&ks->hash_key, &from->hash_key, sizeof ks->hash_key) == 0);
    keyspace_flush(ks, -1, async);
    struct made_database *made = ks->made;
    size_t cap = ks->made_cap;
    ks->made = from->made;
    ks->made_count = from->made_count;
    ks->made_cap = from->made_cap;
    for (size_t i = 0; i < ks->made_count; i++) {
        if (ks->made[i].number >= ks->near_count)
            continue;
        ks->near[ks->made[i].number] = ks->made[i].d;
        from->near[ks->made[i].number] = NULL;
    }
    from->made = made;
    from->made_count = 0;
    from->made_cap = cap;
}

void keyspace_expect(struct keyspace *ks, unsigned db, size_t keys, size_t deadlines) {
    (void)deadlines; /* the index grows by nodes: nothing to prepare */
    if (ks->has_slots || keys == 0)
        return; /* how the keys spread over the slots is not known */
    struct database *d = keyspace_db_make(ks, db);
    /* Where memory is not there, the table grows as the keys come, as far as they do. */
    if (table_try_expect(&d->single, &entry_table_ops, &ks->hash_key, keys) != 0)
        return;
}

/* ---- figures ---- */

size_t keyspace_size(const struct keyspace *ks, unsigned db) {
    const struct database *d = keyspace_db(ks, db);
    return d == NULL ? 0 : d->keys;
}

size_t keyspace_deadlines(const struct keyspace *ks, unsigned db) {
    const struct database *d = keyspace_db(ks, db);
    return d == NULL ? 0 : d->deadlines.used;
}

int64_t keyspace_deadline_mean_ms(const struct keyspace *ks, unsigned db) {
    const struct database *d = keyspace_db(ks, db);
    if (d == NULL || d->deadlines.used == 0)
        return 0;
    int64_t left_ms = deadline_mean_ms(&d->deadlines) - ks->now_ms;
    return left_ms > 0 ? left_ms : 0;
}

size_t keyspace_slot_size(const struct keyspace *ks, unsigned db, unsigned slot) {
    const struct database *d = keyspace_db(ks, db);
    HF_ASSERT(slot < KEYSPACE_SLOTS);
    return d == NULL || d->slots == NULL ? 0 : d->slots->keys[slot];
}

size_t keyspace_table_bytes(const struct keyspace *ks, unsigned db) {
    const struct database *d = keyspace_db(ks, db);
    if (d == NULL)
        return 0;
    size_t n = 0;
    for (unsigned i = 0; i < keyspace_table_count(ks); i++)
        n += table_bytes(&d->tables[i]);
    return n + (d->slots != NULL ? KEYSPACE_SLOTS * sizeof *d->tables + sizeof *d->slots : 0);
}

size_t keyspace_deadline_bytes(const struct keyspace *ks, unsigned db) {
    const struct database *d = keyspace_db(ks, db);
    return d == NULL ? 0 : deadline_bytes(&d->deadlines) + deadline_bytes(&d->fields);
}

size_t keyspace_rehash_bytes(const struct keyspace *ks) {
    size_t n = 0;
    for (size_t k = 0; k < ks->made_count; k++) {
        const struct database *d = ks->made[k].d;
        if (d->slots == NULL)
            n += table_resizing_bytes(&d->single);
        for (unsigned i = 0; d->slots != NULL && i < KEYSPACE_SLOTS / 64; i++)
            for (uint64_t bits = d->slots->resizing[i]; bits != 0; bits &= bits - 1)
                n += table_resizing_bytes(&d->tables[i * 64 + (unsigned)__builtin_ctzll(bits)]);
    }
    return n;
}

/* ---- slots ---- */

unsigned keyspace_next_slot(const struct slot_books *books, unsigned from) {
    while (from < KEYSPACE_SLOTS && books->keys[from] == 0) {
        if (from % SLOT_GROUP == 0 && books->groups[from / SLOT_GROUP] == 0)
            from += SLOT_GROUP;
        else
            from++;
    }
    return from;
}

unsigned keyspace_random_slot(struct keyspace *ks, const struct database *d) {
    HF_ASSERT(d->keys != 0);
    if (d->slots == NULL)
        return 0;
    uint64_t at = rng_below(&ks->rng, d->keys);
    unsigned group = 0, slot;
    for (; at >= d->slots->groups[group]; group++)
        at -= d->slots->groups[group];
    for (slot = group * SLOT_GROUP; at >= d->slots->keys[slot]; slot++)
        at -= d->slots->keys[slot];
    return slot;
}

/* ---- upkeep ---- */

/* Works on one table until it is done or the time is up. True when there is more to do. */
static bool step_table(struct keyspace *ks, struct table *t, int64_t end_us) {
    if (!table_resize_if_due(t, &entry_table_ops, &ks->policy))
        return false;
    while (table_step(t, &entry_table_ops, &ks->hash_key, STEP_BUCKETS))
        if (clock_mono_us() >= end_us)
            return true;
    return false;
}

static bool step_slots(struct keyspace *ks, struct database *d, int64_t end_us) {
    struct slot_books *books = d->slots;
    for (unsigned i = 0; i < UPKEEP_SLOTS; i++, books->upkeep_at = (books->upkeep_at + 1) % KEYSPACE_SLOTS)
        if (table_resize_if_due(&d->tables[books->upkeep_at], &entry_table_ops, &ks->policy))
            books->resizing[books->upkeep_at / 64] |= UINT64_C(1) << (books->upkeep_at % 64);
    for (unsigned i = 0; i < KEYSPACE_SLOTS / 64; i++)
        while (books->resizing[i] != 0) {
            unsigned bit = (unsigned)__builtin_ctzll(books->resizing[i]);
            if (step_table(ks, &d->tables[i * 64 + bit], end_us))
                return true;
            books->resizing[i] &= ~(UINT64_C(1) << bit);
            if (clock_mono_us() >= end_us)
                return true; /* perhaps not, which the next call finds out */
        }
    return false;
}

bool keyspace_step(struct keyspace *ks, int64_t budget_us) {
    if (ks->policy.resizing != TABLE_RESIZE_FREELY)
        return false;
    int64_t end_us = clock_mono_us() + budget_us;
    for (size_t k = 0; k < ks->made_count; k++) {
        struct database *d = ks->made[k].d;
        if (d->slots != NULL ? step_slots(ks, d, end_us) : step_table(ks, &d->single, end_us))
            return true;
    }
    return false;
}

/* ---- introspection ---- */

static void add_stats(struct table_stats *sum, const struct table_stats *one) {
    for (size_t i = 0; i < 2; i++)
        sum->buckets[i] += one->buckets[i];
    sum->moved += one->moved;
    sum->children += one->children;
    if (one->longest > sum->longest)
        sum->longest = one->longest;
    for (size_t i = 0; i < sizeof sum->lengths / sizeof sum->lengths[0]; i++)
        sum->lengths[i] += one->lengths[i];
}

void keyspace_describe(const struct keyspace *ks, unsigned db, bool full, struct buf *out) {
    const struct database *d = keyspace_db(ks, db);
    struct table_stats sum = {0}, one;
    unsigned tables = 0;
    for (unsigned i = 0; d != NULL && i < keyspace_table_count(ks); i++) {
        if (d->tables[i].arrays[0] == NULL)
            continue;
        table_stats(&d->tables[i], &one);
        add_stats(&sum, &one);
        tables++;
    }
    buf_append_cstr(out, "[Dictionary HT]\n");
    if (tables == 0) {
        buf_append_cstr(out, "no table: the database is empty\n");
    } else {
        size_t buckets = sum.buckets[0] + sum.buckets[1];
        buf_printf(out, " tables: %u\n buckets: %zu of %d slots\n elements: %zu\n", tables, buckets, TABLE_SLOTS,
                   d->keys);
        buf_printf(out, " chained buckets: %zu\n longest chain: %zu\n", sum.children, sum.longest);
        buf_printf(out, " load: %.2f elements per bucket\n", (double)d->keys / (double)buckets);
        if (sum.buckets[1] != 0)
            buf_printf(out, " resizing: %zu of %zu buckets moved to %zu\n", sum.moved, sum.buckets[0], sum.buckets[1]);
        for (size_t i = 0; full && i < sizeof sum.lengths / sizeof sum.lengths[0]; i++)
            if (sum.lengths[i] != 0)
                buf_printf(out, "   %s%zu: %zu chains\n", i == 15 ? ">= " : "", i, sum.lengths[i]);
    }
    buf_append_cstr(out, "[Expires HT]\n");
    if (d == NULL || d->deadlines.used == 0) {
        buf_append_cstr(out, "no key has a deadline\n");
        return;
    }
    buf_printf(out, " elements: %zu\n leaves: %zu\n inner nodes: %zu\n height: %u\n", d->deadlines.used,
               d->deadlines.leaves, d->deadlines.inners, d->deadlines.height + 1);
}

struct check_arg {
    const struct keyspace *ks;
    unsigned slot;
    size_t deadlines, timed;
};

static int check_entry(void *arg, void *item) {
    struct check_arg *a = arg;
    const struct entry *e = item;
    entry_check(e);
    struct slice key = entry_key_bytes(e);
    HF_ASSERT(!a->ks->has_slots || crc16_key_slot(key.p, key.n) == a->slot);
    a->deadlines += entry_has_deadline(e);
    if (entry_type_of(e) == VALUE_HASH) {
        struct collection h = collection_of(&a->ks->rules, e);
        hash_check(&h);
        a->timed += hash_next_deadline_ms(&h) != FIELD_NO_DEADLINE;
    }
    return 0;
}

static int check_timer(void *arg, struct deadline_item *timer) {
    const struct check_arg *a = arg;
    const struct entry *e = (const struct entry *)(uintptr_t)timer->own;
    struct keyref key = keyspace_key(a->ks, entry_key_bytes(e));
    HF_ASSERT(keyspace_peek(a->ks, a->slot, &key) == e && entry_type_of(e) == VALUE_HASH);
    struct collection h = collection_of(&a->ks->rules, e);
    HF_ASSERT(hash_timer(&h) != NULL && *hash_timer(&h) == timer);
    HF_ASSERT(hash_next_deadline_ms(&h) == timer->deadline_ms);
    return 0;
}

static int check_item(void *arg, struct deadline_item *item) {
    const struct keyspace *ks = ((struct check_arg *)arg)->ks;
    const struct entry *e = item_as_entry(item);
    HF_ASSERT(entry_has_deadline(e));
    struct keyref key = keyspace_key(ks, entry_key_bytes(e));
    unsigned number = ((struct check_arg *)arg)->slot;
    HF_ASSERT(keyspace_peek(ks, number, &key) == e);
    return 0;
}

static void check_database(const struct keyspace *ks, const struct made_database *m) {
    const struct database *d = m->d;
    struct check_arg arg = {.ks = ks};
    size_t keys = 0;
    uint64_t groups[SLOT_GROUPS] = {0};
    for (unsigned i = 0; i < keyspace_table_count(ks); i++) {
        const struct table *t = &d->tables[i];
        table_check(t, &entry_table_ops, &ks->hash_key);
        arg.slot = i;
        (void)table_each(t, check_entry, &arg);
        keys += t->used;
        HF_ASSERT(d->slots == NULL || d->slots->keys[i] == t->used);
        HF_ASSERT(d->slots == NULL || !table_is_resizing(t) || d->slots->resizing[i / 64] >> (i % 64) & 1);
        groups[i / SLOT_GROUP] += t->used;
    }
    HF_ASSERT(keys == d->keys);
    HF_ASSERT(d->slots == NULL || memcmp(groups, d->slots->groups, sizeof groups) == 0);
    deadline_check(&d->deadlines);
    HF_ASSERT(arg.deadlines == d->deadlines.used);
    arg.slot = m->number;
    (void)deadline_each(&d->deadlines, check_item, &arg);
    deadline_check(&d->fields);
    HF_ASSERT(arg.timed == d->fields.used);
    (void)deadline_each(&d->fields, check_timer, &arg);
}

void keyspace_check(const struct keyspace *ks) {
    for (size_t k = 0; k < ks->made_count; k++) {
        HF_ASSERT(ks->made[k].number < ks->databases);
        HF_ASSERT(k == 0 || ks->made[k - 1].number < ks->made[k].number);
        HF_ASSERT(keyspace_db(ks, ks->made[k].number) == ks->made[k].d);
        check_database(ks, &ks->made[k]);
    }
}
