#include "config.h"

#include "server/store/fields.h"

#include "server/base/assert.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/ds/slab.h"
#include "server/store/deadline.h"

/* Design
 *
 *   plain           flags nlen vlen(2) | name | value
 *   with deadline   flags nlen vlen(2) 0(4) | deadline_ms(8) | name | value
 *   long            flags 0(7) | [deadline_ms(8)] | nlen(8) vlen(8) | name | value
 *
 * The flags tell which. "Long" is a name of 256 bytes or a value of 65536 and more. A deadline stands where the index
 * of deadlines wants it (struct deadline_item), so that an element without one pays nothing. Elements live in cells of
 * a slab: one of 18 + 16 bytes takes 40 bytes instead of the 48 of an allocation.
 *
 * A new value that fits the old cell is written in place; else the element moves, and the table's slot and the index
 * are told.
 *
 * Invariants (fields_check): those of the table, the slab and the index; exactly the elements with the deadline flag
 * are in the index; cells add up to what the slab has given.
 */

#define FLAG_DEADLINE 1u
#define FLAG_LONG 2u
#define SHORT_NAME_MAX UINT8_MAX
#define SHORT_VALUE_MAX UINT16_MAX

struct field {
    uint8_t flags, name_len;
    uint16_t value_len;
    char data[];
};

_Static_assert(sizeof(struct field) == 4, "the layout above");
_Static_assert(offsetof(struct deadline_item, deadline_ms) == 8, "the layout above");

struct fields {
    struct table table;
    struct slab slab;
    struct deadline_index deadlines;
    const struct table_policy *policy;
    struct deadline_item *timer; /* see hash.h */
};

/* Where the parts of an element are. */
struct shape {
    uint8_t flags;
    size_t lengths; /* offset of the two long ones */
    size_t data;    /* offset of the name */
    size_t size;
};

static struct shape shape_of(size_t name_len, size_t value_len, bool deadline) {
    bool is_long = name_len > SHORT_NAME_MAX || value_len > SHORT_VALUE_MAX;
    struct shape s = {.flags = (uint8_t)((deadline ? FLAG_DEADLINE : 0) | (is_long ? FLAG_LONG : 0))};
    s.lengths = deadline ? sizeof(struct deadline_item) : 8;
    s.data = is_long ? s.lengths + 2 * sizeof(uint64_t) : deadline ? s.lengths : sizeof(struct field);
    HF_ASSERT(!__builtin_add_overflow(name_len, value_len, &s.size) &&
              !__builtin_add_overflow(s.size, s.data, &s.size));
    return s;
}

static size_t lengths_offset(const struct field *f) {
    return f->flags & FLAG_DEADLINE ? sizeof(struct deadline_item) : 8;
}

static size_t data_offset(const struct field *f) {
    if (f->flags & FLAG_LONG)
        return lengths_offset(f) + 2 * sizeof(uint64_t);
    return f->flags & FLAG_DEADLINE ? sizeof(struct deadline_item) : sizeof(struct field);
}

static size_t long_length(const struct field *f, unsigned which) {
    uint64_t n;
    memcpy(&n, (const char *)f + lengths_offset(f) + which * sizeof n, sizeof n);
    return n;
}

struct slice field_name(const struct field *f) {
    size_t n = f->flags & FLAG_LONG ? long_length(f, 0) : f->name_len;
    return slice_of((const char *)f + data_offset(f), n);
}

struct slice field_value(const struct field *f) {
    struct slice name = field_name(f);
    return slice_of(name.p + name.n, f->flags & FLAG_LONG ? long_length(f, 1) : f->value_len);
}

static size_t field_size(const struct field *f) {
    struct slice value = field_value(f);
    return (size_t)(value.p - (const char *)f) + value.n;
}

static struct deadline_item *item_of(struct field *f) {
    HF_ASSERT(f->flags & FLAG_DEADLINE);
    return (struct deadline_item *)(void *)f;
}

int64_t field_deadline_ms(const struct field *f) {
    int64_t ms = FIELD_NO_DEADLINE;
    if (f->flags & FLAG_DEADLINE)
        memcpy(&ms, (const char *)f + offsetof(struct deadline_item, deadline_ms), sizeof ms);
    return ms;
}

/* Writes all but the name's bytes where they are in place already. */
static void fill(struct field *f, const struct shape *s, struct slice name, struct slice value, int64_t deadline_ms,
                 bool in_place) {
    *f = (struct field){.flags = s->flags};
    if (s->flags & FLAG_LONG) {
        uint64_t lengths[2] = {name.n, value.n};
        memcpy((char *)f + s->lengths, lengths, sizeof lengths);
    } else {
        f->name_len = (uint8_t)name.n;
        f->value_len = (uint16_t)value.n;
    }
    if (s->flags & FLAG_DEADLINE)
        memcpy((char *)f + offsetof(struct deadline_item, deadline_ms), &deadline_ms, sizeof deadline_ms);
    if (!in_place && name.n != 0)
        memcpy((char *)f + s->data, name.p, name.n);
    if (value.n != 0)
        memcpy((char *)f + s->data + name.n, value.p, value.n);
}

/* ---- the table's view ---- */

static bool match_name(const void *item, const void *key) {
    return slice_eq(field_name(item), *(const struct slice *)key);
}

static uint64_t hash_name(const void *ctx, struct slice name) {
    return hash_keyed(ctx, name.p, name.n);
}

static uint64_t hash_field(const void *ctx, const void *item) {
    return hash_name(ctx, field_name(item));
}

static const struct table_ops field_ops = {.match = match_name, .hash = hash_field};

static uint64_t hash_in(const struct fields *t, struct slice name) {
    return hash_name(t->policy->ctx, name);
}

static struct field *make(struct fields *t, struct slice name, struct slice value, int64_t deadline_ms) {
    struct shape s = shape_of(name.n, value.n, deadline_ms != FIELD_NO_DEADLINE);
    struct field *f = slab_alloc(&t->slab, s.size);
    fill(f, &s, name, value, deadline_ms, false);
    if (s.flags & FLAG_DEADLINE)
        deadline_insert(&t->deadlines, item_of(f));
    return f;
}

static void unmake(struct fields *t, struct field *f) {
    if (f->flags & FLAG_DEADLINE)
        deadline_remove(&t->deadlines, item_of(f), field_deadline_ms(f));
    slab_free(&t->slab, f, field_size(f));
}

/* Gives the element of a slot another value and deadline, in place where it can be. */
static void change(struct fields *t, void **slot, struct slice value, int64_t deadline_ms) {
    struct field *f = *slot;
    struct slice name = field_name(f);
    struct shape s = shape_of(name.n, value.n, deadline_ms != FIELD_NO_DEADLINE);
    if (s.flags == f->flags && deadline_ms == field_deadline_ms(f) && slab_same_cell(s.size, field_size(f))) {
        fill(f, &s, name, value, deadline_ms, true);
        return;
    }
    *slot = make(t, name, value, deadline_ms);
    unmake(t, f);
}

/* ---- whole tables ---- */

struct fields *fields_create(const struct table_policy *policy) {
    struct fields *t = mem_alloc(sizeof *t);
    *t = (struct fields){.policy = policy};
    return t;
}

static void drop_field(void *arg, void *item) {
    struct fields *t = arg;
    slab_free(&t->slab, item, field_size(item));
}

void fields_destroy(struct fields *t) {
    if (t == NULL)
        return;
    deadline_clear(&t->deadlines);
    table_clear(&t->table, drop_field, t);
    HF_ASSERT(t->slab.block_bytes == 0 && t->slab.outside_bytes == 0);
    mem_free(t->timer);
    mem_free_sized(t, sizeof *t);
}

static int copy_field(void *arg, void *item) {
    struct fields *copy = arg;
    struct slice name = field_name(item);
    struct field *f = make(copy, name, field_value(item), field_deadline_ms(item));
    table_insert(&copy->table, &field_ops, copy->policy, hash_in(copy, name), f);
    return 0;
}

struct fields *fields_copy(const struct fields *t) {
    struct fields *copy = fields_create(t->policy);
    int roomy = fields_try_expect(copy, t->table.used);
    (void)roomy; /* else the copy grows as it goes */
    table_each(&t->table, copy_field, copy);
    return copy;
}

size_t fields_count(const struct fields *t) {
    return t->table.used;
}

int fields_try_expect(struct fields *t, size_t more) {
    return table_try_expect(&t->table, &field_ops, t->policy->ctx, more);
}

/* ---- elements ---- */

struct field *fields_find(const struct fields *t, struct slice name) {
    void **slot = table_find(&t->table, &field_ops, hash_in(t, name), &name);
    return slot != NULL ? *slot : NULL;
}

bool fields_put(struct fields *t, struct slice name, struct slice value, int64_t deadline_ms) {
    HF_ASSERT(deadline_ms >= 0 || deadline_ms == FIELD_NO_DEADLINE);
    uint64_t hash = hash_in(t, name);
    void **slot = table_find(&t->table, &field_ops, hash, &name);
    if (slot != NULL) {
        change(t, slot, value, deadline_ms);
        return false;
    }
    table_insert(&t->table, &field_ops, t->policy, hash, make(t, name, value, deadline_ms));
    return true;
}

bool fields_add(struct fields *t, struct slice name) {
    uint64_t hash = hash_in(t, name);
    if (table_find(&t->table, &field_ops, hash, &name) != NULL)
        return false;
    struct field *f = make(t, name, slice_of(NULL, 0), FIELD_NO_DEADLINE);
    table_insert(&t->table, &field_ops, t->policy, hash, f);
    return true;
}

bool fields_set_deadline(struct fields *t, struct slice name, int64_t deadline_ms) {
    HF_ASSERT(deadline_ms >= 0 || deadline_ms == FIELD_NO_DEADLINE);
    void **slot = table_find(&t->table, &field_ops, hash_in(t, name), &name);
    if (slot == NULL)
        return false;
    struct field *f = *slot;
    if (field_deadline_ms(f) == deadline_ms)
        return true;
    *slot = make(t, field_name(f), field_value(f), deadline_ms);
    unmake(t, f);
    return true;
}

bool fields_remove(struct fields *t, struct slice name) {
    uint64_t hash = hash_in(t, name);
    void **slot = table_find(&t->table, &field_ops, hash, &name);
    if (slot == NULL)
        return false;
    struct field *f = *slot;
    table_remove(&t->table, &field_ops, t->policy, hash, slot);
    unmake(t, f);
    return true;
}

/* ---- deadlines ---- */

size_t fields_deadlines(const struct fields *t) {
    return t->deadlines.used;
}

int64_t fields_next_deadline_ms(struct fields *t) {
    const struct deadline_item *first = deadline_first(&t->deadlines);
    return first != NULL ? first->deadline_ms : FIELD_NO_DEADLINE;
}

int64_t fields_last_deadline_ms(const struct fields *t) {
    const struct deadline_item *last = deadline_last(&t->deadlines);
    return last != NULL ? last->deadline_ms : FIELD_NO_DEADLINE;
}

struct deadline_item **fields_timer(struct fields *t) {
    return &t->timer;
}

void fields_set_timer(struct fields *t, struct deadline_item *timer_take) {
    HF_ASSERT(t->timer == NULL);
    t->timer = timer_take;
}

struct field *fields_first_due(struct fields *t, int64_t before_ms) {
    struct deadline_item *first = deadline_first(&t->deadlines);
    return first != NULL && first->deadline_ms < before_ms ? (struct field *)(void *)first : NULL;
}

/* ---- walks ---- */

struct field *fields_random(const struct fields *t, struct rng *rng) {
    return table_random(&t->table, rng);
}

struct scan {
    void (*each)(void *arg, struct field *f);
    void *arg;
};

static void scan_item(void *arg, void *item) {
    const struct scan *s = arg;
    s->each(s->arg, item);
}

uint64_t fields_scan(const struct fields *t, uint64_t cursor, void (*each)(void *arg, struct field *f), void *arg) {
    struct scan s = {each, arg};
    return table_scan(&t->table, cursor, scan_item, &s);
}

struct walk {
    int (*each)(void *arg, struct field *f);
    void *arg;
};

static int walk_item(void *arg, void *item) {
    const struct walk *w = arg;
    return w->each(w->arg, item);
}

int fields_each(const struct fields *t, int (*each)(void *arg, struct field *f), void *arg) {
    struct walk w = {each, arg};
    return table_each(&t->table, walk_item, &w);
}

void fields_prefetch(const struct fields *t, struct slice name) {
    table_prefetch_bucket(&t->table, hash_in(t, name));
}

/* ---- figures and checks ---- */

size_t fields_memory_bytes(const struct fields *t) {
    return mem_usable_size(t) + table_bytes(&t->table) + t->slab.block_bytes + t->slab.outside_bytes +
           deadline_bytes(&t->deadlines) + (t->timer != NULL ? mem_usable_size(t->timer) : 0);
}

struct check {
    size_t with_deadline;
};

static int check_item(void *arg, void *item) {
    struct check *k = arg;
    const struct field *f = item;
    struct shape s = shape_of(field_name(f).n, field_value(f).n, (f->flags & FLAG_DEADLINE) != 0);
    HF_ASSERT(f->flags == s.flags && field_size(f) == s.size);
    HF_ASSERT(field_deadline_ms(f) >= 0 || !(f->flags & FLAG_DEADLINE));
    k->with_deadline += (f->flags & FLAG_DEADLINE) != 0;
    return 0;
}

static int check_indexed(void *arg, struct deadline_item *item) {
    const struct fields *t = arg;
    HF_ASSERT(fields_find(t, field_name((struct field *)(void *)item)) == (struct field *)(void *)item);
    return 0;
}

void fields_check(const struct fields *t) {
    struct check k = {0};
    table_check(&t->table, &field_ops, t->policy->ctx);
    slab_check(&t->slab);
    deadline_check(&t->deadlines);
    table_each(&t->table, check_item, &k);
    HF_ASSERT(k.with_deadline == t->deadlines.used);
    deadline_each(&t->deadlines, check_indexed, (void *)(uintptr_t)t);
}
