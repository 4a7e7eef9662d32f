#include "config.h"

#include "server/store/set.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/intset.h"
#include "server/ds/listpack.h"
#include "server/store/fields.h"
#include "server/store/small.h"

/* Design
 *
 * Which form a set has follows from how it grew:
 *
 *   intset      integers only, at most set-max-intset-entries of them
 *   listpack    at most set-max-listpack-entries members of at most set-max-listpack-value bytes
 *   table       everything else
 *
 * An intset with one integer too many becomes a table; one that is given something else becomes a listpack where all of
 * it fits there. Members that spell an integer are that integer in the two small forms, so a member goes from form to
 * form as text or number, whichever costs nothing.
 *
 * Invariants (set_check): those of the form; no member twice; members of a table have neither value nor deadline.
 */

/* Room for fewer members is not worth looking for. */
#define EXPECT_MIN 64
/* How many buckets of a table a step of a scan looks at for each member that it aims for. */
#define SCAN_BUCKETS_PER_MEMBER 10

static struct small_limits limits_of(const struct collection *s) {
    const struct collection_limits *l = &s->rules->limits;
    return (struct small_limits){.elements = (size_t)l->set_max_listpack_entries,
                                 .element_bytes = (size_t)l->set_max_listpack_value};
}

/* False where a member is no integer. */
static bool integer_of(struct slice member, int64_t *ret_value) {
    return member.n != 0 && member.n < NUM_I64_CHARS && num_parse_i64(member, ret_value) == 0;
}

/* ---- whole sets ---- */

static void *create_object(const struct collection_rules *rules, size_t expected, struct slice example,
                           enum value_encoding *ret_encoding) {
    int64_t i;
    if (integer_of(example, &i) && expected <= (size_t)rules->limits.set_max_intset_entries) {
        *ret_encoding = VALUE_ENC_INTSET;
        return intset_create();
    }
    if (expected <= (size_t)rules->limits.set_max_listpack_entries) {
        *ret_encoding = VALUE_ENC_LISTPACK;
        return listpack_create(0);
    }
    struct fields *t = fields_create(rules->policy);
    int roomy = fields_try_expect(t, expected);
    (void)roomy; /* else it grows as it goes */
    *ret_encoding = VALUE_ENC_HASHTABLE;
    return t;
}

struct collection set_create(const struct collection_rules *rules, size_t expected, struct slice example) {
    struct collection s = {.rules = rules};
    s.object = create_object(rules, expected, example, &s.encoding);
    return s;
}

void set_destroy(struct collection *s) {
    set_type_ops.free(s->encoding, s->object);
    s->object = NULL;
}

struct collection set_copy(const struct collection *s) {
    struct collection copy = *s;
    copy.object = set_type_ops.copy(s->encoding, s->object);
    return copy;
}

size_t set_count(const struct collection *s) {
    return set_type_ops.count(s->encoding, s->object);
}

static int add_to_table(void *arg, const struct packed_item *member) {
    char digits[NUM_I64_CHARS];
    (void)fields_add(arg, packed_text(member, digits));
    return 0;
}

/* A listpack that was loaded unchecked may hold a member twice: the table has it once. */
static void enlarge(struct collection *s) {
    struct fields *t = fields_create(s->rules->policy);
    int roomy = fields_try_expect(t, set_count(s));
    (void)roomy; /* else it grows as it goes */
    (void)set_each(s, add_to_table, t);
    set_type_ops.free(s->encoding, s->object);
    s->encoding = VALUE_ENC_HASHTABLE;
    s->object = t;
}

void set_expect(struct collection *s, size_t more) {
    const struct collection_limits *l = &s->rules->limits;
    if ((s->encoding == VALUE_ENC_INTSET && more > (size_t)l->set_max_intset_entries) ||
        (s->encoding == VALUE_ENC_LISTPACK && more > (size_t)l->set_max_listpack_entries))
        enlarge(s);
    if (s->encoding == VALUE_ENC_HASHTABLE && more >= EXPECT_MIN) {
        int roomy = fields_try_expect(s->object, more);
        (void)roomy;
    }
}

/* ---- members ---- */

static bool listpack_has(const struct listpack *lp, struct slice member) {
    return listpack_find(lp, listpack_first(lp), member, 0) != 0;
}

bool set_contains(const struct collection *s, struct slice member) {
    int64_t i;
    if (s->encoding == VALUE_ENC_HASHTABLE)
        return fields_find(s->object, member) != NULL;
    if (s->encoding == VALUE_ENC_LISTPACK)
        return listpack_has(s->object, member);
    return integer_of(member, &i) && intset_find(s->object, i, NULL);
}

bool set_contains_item(const struct collection *s, const struct packed_item *member) {
    char digits[NUM_I64_CHARS];
    if (member->is_int && s->encoding == VALUE_ENC_INTSET)
        return intset_find(s->object, member->i, NULL);
    return set_contains(s, packed_text(member, digits));
}

/* Adds a member that is not there to a listpack, or to what becomes of it. */
static void append(struct collection *s, struct slice member) {
    struct listpack *lp = s->object;
    if (small_fits(limits_of(s), (size_t)listpack_count(lp) + 1, member.n) &&
        listpack_append(&lp, packed_bytes(member)) == 0) {
        s->object = lp;
        return;
    }
    enlarge(s);
    bool added = fields_add(s->object, member);
    HF_ASSERT(added);
}

static bool add_integer(struct collection *s, int64_t i) {
    struct intset *is = s->object;
    int added = intset_add(&is, i);
    s->object = is;
    if (added == 0)
        return false;
    if (added < 0 || intset_count(is) > (uint64_t)s->rules->limits.set_max_intset_entries)
        enlarge(s);
    if (added < 0) {
        char digits[NUM_I64_CHARS];
        return fields_add(s->object, slice_of(digits, num_format_i64(digits, i)));
    }
    return true;
}

/* Adds what is no integer to an intset. */
static void add_stranger(struct collection *s, struct slice member) {
    struct intset *is = s->object;
    struct small_limits limits = limits_of(s);
    struct listpack *lp = NULL;
    if (small_fits(limits, (size_t)intset_count(is) + 1, member.n))
        lp = small_set_from_intset(is, limits);
    if (lp == NULL) {
        enlarge(s);
        bool added = fields_add(s->object, member);
        HF_ASSERT(added);
        return;
    }
    intset_destroy(is);
    s->encoding = VALUE_ENC_LISTPACK;
    s->object = lp;
    append(s, member);
}

bool set_add(struct collection *s, struct slice member) {
    int64_t i;
    if (s->encoding == VALUE_ENC_HASHTABLE)
        return fields_add(s->object, member);
    if (s->encoding == VALUE_ENC_LISTPACK) {
        if (listpack_has(s->object, member))
            return false;
        append(s, member);
        return true;
    }
    if (integer_of(member, &i))
        return add_integer(s, i);
    add_stranger(s, member);
    return true;
}

bool set_add_item(struct collection *s, const struct packed_item *member) {
    char digits[NUM_I64_CHARS];
    if (member->is_int && s->encoding == VALUE_ENC_INTSET)
        return add_integer(s, member->i);
    return set_add(s, packed_text(member, digits));
}

static bool remove_integer(struct collection *s, int64_t i) {
    struct intset *is = s->object;
    bool removed = intset_remove(&is, i);
    s->object = is;
    return removed;
}

bool set_remove(struct collection *s, struct slice member) {
    int64_t i;
    if (s->encoding == VALUE_ENC_HASHTABLE)
        return fields_remove(s->object, member);
    if (s->encoding == VALUE_ENC_INTSET)
        return integer_of(member, &i) && remove_integer(s, i);
    struct listpack *lp = s->object;
    uint32_t at = listpack_find(lp, listpack_first(lp), member, 0);
    if (at != 0)
        (void)listpack_delete(&lp, at, 1, NULL);
    s->object = lp;
    return at != 0;
}

bool set_remove_item(struct collection *s, const struct packed_item *member) {
    char digits[NUM_I64_CHARS];
    if (member->is_int && s->encoding == VALUE_ENC_INTSET)
        return remove_integer(s, member->i);
    return set_remove(s, packed_text(member, digits));
}

void set_prefetch(const struct collection *s, const struct packed_item *member) {
    if (s->encoding == VALUE_ENC_HASHTABLE && !member->is_int)
        fields_prefetch(s->object, member->s);
}

/* ---- walks ---- */

struct walk {
    int (*each)(void *arg, const struct packed_item *member);
    void *arg;
};

static int walk_field(void *arg, struct field *f) {
    const struct walk *w = arg;
    const struct packed_item member = packed_bytes(field_name(f));
    return w->each(w->arg, &member);
}

int set_each(const struct collection *s, int (*each)(void *arg, const struct packed_item *member), void *arg) {
    int stopped = 0;
    if (s->encoding == VALUE_ENC_HASHTABLE) {
        struct walk w = {each, arg};
        return fields_each(s->object, walk_field, &w);
    }
    if (s->encoding == VALUE_ENC_LISTPACK) {
        const struct listpack *lp = s->object;
        for (uint32_t at = listpack_first(lp); at != 0 && stopped == 0; at = listpack_next(lp, at)) {
            const struct packed_item member = listpack_get(lp, at);
            stopped = each(arg, &member);
        }
        return stopped;
    }
    const struct intset *is = s->object;
    for (uint32_t i = 0; i < intset_count(is) && stopped == 0; i++) {
        const struct packed_item member = packed_int(intset_get(is, i));
        stopped = each(arg, &member);
    }
    return stopped;
}

/* Passes members on to a function that cannot stop the walk. */
struct show {
    void (*each)(void *arg, const struct packed_item *member);
    void *arg;
    size_t shown;
};

static int show_item(void *arg, const struct packed_item *member) {
    struct show *w = arg;
    w->each(w->arg, member);
    w->shown++;
    return 0;
}

static void show_field(void *arg, struct field *f) {
    const struct packed_item member = packed_bytes(field_name(f));
    show_item(arg, &member);
}

uint64_t set_scan(const struct collection *s, uint64_t cursor, size_t count,
                  void (*each)(void *arg, const struct packed_item *member), void *arg) {
    struct show w = {.each = each, .arg = arg};
    size_t steps;
    if (s->encoding != VALUE_ENC_HASHTABLE) {
        set_each(s, show_item, &w);
        return 0;
    }
    if (num_mul_size(count, SCAN_BUCKETS_PER_MEMBER, &steps))
        steps = SIZE_MAX;
    do
        cursor = fields_scan(s->object, cursor, show_field, &w);
    while (cursor != 0 && w.shown < count && --steps != 0);
    return cursor;
}

/* ---- random members ---- */

struct packed_item set_random(const struct collection *s, struct rng *rng) {
    if (s->encoding == VALUE_ENC_INTSET)
        return packed_int(intset_random(s->object, rng));
    if (s->encoding == VALUE_ENC_LISTPACK)
        return listpack_get(s->object, listpack_random(s->object, 1, rng));
    return packed_bytes(field_name(fields_random(s->object, rng)));
}

/* Selection sampling (Knuth, volume 2, algorithm 3.4.2 S): each is taken with the chance wanted / left. */
struct selection {
    struct rng *rng;
    size_t wanted, left;
    void (*each)(void *arg, const struct packed_item *member);
    void *arg;
};

static int select_item(void *arg, const struct packed_item *member) {
    struct selection *k = arg;
    if (rng_below(k->rng, k->left--) >= k->wanted)
        return 0;
    k->each(k->arg, member);
    return --k->wanted == 0;
}

/* Draws members of a table until n different ones have come, of which there are many more: `seen` is an open hash of
 * their addresses. */
static void draw(const struct fields *t, size_t n, struct rng *rng,
                 void (*each)(void *arg, const struct packed_item *member), void *arg) {
    size_t places = 16;
    while (places < 2 * n)
        places *= 2;
    const struct field **seen = mem_calloc(places, sizeof *seen);
    while (n > 0) {
        const struct field *f = fields_random(t, rng);
        size_t at = (size_t)(((uint64_t)(uintptr_t)f * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (places - 1);
        while (seen[at] != NULL && seen[at] != f)
            at = (at + 1) & (places - 1);
        if (seen[at] == f)
            continue;
        seen[at] = f;
        const struct packed_item member = packed_bytes(field_name(f));
        each(arg, &member);
        n--;
    }
    mem_free(seen);
}

void set_sample(const struct collection *s, size_t n, struct rng *rng,
                void (*each)(void *arg, const struct packed_item *member), void *arg) {
    size_t count = set_count(s);
    if (n > count)
        n = count;
    if (n == 0)
        return;
    if (s->encoding == VALUE_ENC_HASHTABLE && n <= count / 3) {
        draw(s->object, n, rng, each, arg);
        return;
    }
    struct selection k = {.rng = rng, .wanted = n, .left = count, .each = each, .arg = arg};
    set_each(s, select_item, &k);
}

/* ---- checks ---- */

static int check_field(void *arg, struct field *f) {
    (void)arg;
    HF_ASSERT(field_value(f).n == 0 && field_deadline_ms(f) == FIELD_NO_DEADLINE);
    return 0;
}

static void check_listpack(const struct listpack *lp) {
    listpack_check(lp);
    for (uint32_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at)) {
        char digits[NUM_I64_CHARS];
        const struct packed_item member = listpack_get(lp, at);
        HF_ASSERT(listpack_find(lp, listpack_first(lp), packed_text(&member, digits), 0) == at);
    }
}

void set_check(const struct collection *s) {
    if (s->encoding == VALUE_ENC_INTSET) {
        intset_check(s->object);
    } else if (s->encoding == VALUE_ENC_LISTPACK) {
        check_listpack(s->object);
    } else {
        HF_ASSERT(s->encoding == VALUE_ENC_HASHTABLE);
        fields_check(s->object);
        fields_each(s->object, check_field, NULL);
    }
}

/* ---- the type's row ---- */

static void type_free(enum value_encoding encoding, void *object) {
    if (encoding == VALUE_ENC_HASHTABLE)
        fields_destroy(object);
    else if (encoding == VALUE_ENC_LISTPACK)
        listpack_destroy(object);
    else if (encoding == VALUE_ENC_INTSET)
        intset_destroy(object);
    else
        HF_PANIC("no encoding of sets: %d", (int)encoding);
}

static size_t type_effort(enum value_encoding encoding, const void *object) {
    return encoding == VALUE_ENC_HASHTABLE ? fields_count(object) : 1;
}

static size_t type_memory_bytes(enum value_encoding encoding, const void *object, size_t samples) {
    (void)samples; /* the sum is known */
    return encoding == VALUE_ENC_HASHTABLE ? fields_memory_bytes(object) : mem_usable_size(object);
}

static void *type_copy(enum value_encoding encoding, const void *object) {
    if (encoding == VALUE_ENC_HASHTABLE)
        return fields_copy(object);
    if (encoding == VALUE_ENC_LISTPACK)
        return listpack_dup(object);
    HF_ASSERT(encoding == VALUE_ENC_INTSET);
    return intset_dup(object);
}

static size_t type_count(enum value_encoding encoding, const void *object) {
    return encoding == VALUE_ENC_HASHTABLE  ? fields_count(object)
           : encoding == VALUE_ENC_LISTPACK ? listpack_count(object)
                                            : intset_count(object);
}

const struct value_type_ops set_type_ops = {.free = type_free,
                                            .effort = type_effort,
                                            .memory_bytes = type_memory_bytes,
                                            .copy = type_copy,
                                            .count = type_count};
