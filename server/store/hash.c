#include "config.h"

#include "server/store/hash.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/store/small.h"

/* Design
 *
 *   listpack     a listpack of field, value, …: the object is the listpack
 *   listpackex   struct small_timed: a listpack of field, value, deadline, … and the timer
 *   hashtable    struct fields (fields.h), which has a place for a timer too
 *
 * A hash becomes listpackex with its first deadline and stays it when the last one goes. Its triples are ordered by
 * deadline, those without one (written as 0) behind: the earliest is found at once, due ones stand at the front, and
 * the block is what RDB type 25 holds. Fields of equal deadline are in no particular order.
 *
 * The timer is an allocation of its own, because the keyspace's index knows its address while object and form of the
 * hash change.
 */

struct small_timed {
    struct listpack *lp;
    struct deadline_item *timer;
};

static struct listpack *lp_of(const struct collection *h) {
    return h->encoding == VALUE_ENC_LISTPACK ? h->object : ((struct small_timed *)h->object)->lp;
}

static unsigned stride_of(const struct collection *h) {
    return h->encoding == VALUE_ENC_LISTPACK ? 2 : 3;
}

static struct small_limits limits_of(const struct collection_rules *rules) {
    const struct collection_limits *l = &rules->limits;
    return (struct small_limits){.elements = (size_t)l->hash_max_listpack_entries,
                                 .element_bytes = (size_t)l->hash_max_listpack_value};
}

static bool is_due(int64_t deadline_ms, int64_t now_ms) {
    return deadline_ms != FIELD_NO_DEADLINE && deadline_ms < now_ms;
}

/* A deadline of 0 is kept as 1, which is due as early as anybody can tell: in a triple 0 is none. */
static int64_t kept_deadline(int64_t deadline_ms) {
    return deadline_ms == 0 ? 1 : deadline_ms;
}

/* ---- small ones with deadlines ---- */

static int64_t triple_deadline(const struct listpack *lp, uint32_t at) {
    struct packed_item item = listpack_get(lp, listpack_next(lp, listpack_next(lp, at)));
    return item.is_int && item.i > 0 ? item.i : FIELD_NO_DEADLINE;
}

static struct packed_item stored_deadline(int64_t deadline_ms) {
    return packed_int(deadline_ms == FIELD_NO_DEADLINE ? 0 : deadline_ms);
}

static uint32_t next_triple(const struct listpack *lp, uint32_t at) {
    return listpack_next(lp, listpack_next(lp, listpack_next(lp, at)));
}

static uint32_t triple_find(const struct listpack *lp, struct slice field) {
    uint32_t at = listpack_first(lp);
    return at != 0 ? listpack_find(lp, at, field, 2) : 0;
}

/* Puts a triple in its place. */
static void triple_insert(struct listpack **lp, struct packed_item field, struct packed_item value,
                          int64_t deadline_ms) {
    uint32_t at = 0;
    if (deadline_ms != FIELD_NO_DEADLINE)
        for (at = listpack_first(*lp); at != 0; at = next_triple(*lp, at)) {
            int64_t there = triple_deadline(*lp, at);
            if (there == FIELD_NO_DEADLINE || there > deadline_ms)
                break;
        }
    const struct packed_item triple[3] = {field, value, stored_deadline(deadline_ms)};
    int failed = 0;
    if (at == 0)
        failed = listpack_append_all(lp, triple, 3);
    else
        for (int i = 2; i >= 0 && failed == 0; i--)
            failed = listpack_insert_before(lp, at, triple[i]);
    HF_ASSERT(failed == 0); /* who calls has looked for room */
}

/* Room for a triple of these strings in the largest listpack. */
static bool triple_has_room(const struct listpack *lp, size_t field_len, size_t value_len) {
    return listpack_has_room(lp, (uint64_t)field_len + value_len + 3 * LISTPACK_ELEMENT_OVERHEAD_BYTES);
}

/* Takes the triple at `at` out and puts it where another deadline wants it. */
static void triple_move(struct listpack **lp, uint32_t at, int64_t deadline_ms) {
    struct packed_item field = listpack_get(*lp, at), value = listpack_get(*lp, listpack_next(*lp, at));
    struct buf copy = BUF_INIT;
    size_t field_len = field.is_int ? 0 : field.s.n;
    buf_reserve(&copy, field_len + (value.is_int ? 0 : value.s.n) + 1);
    if (!field.is_int)
        buf_append_slice(&copy, field.s);
    if (!value.is_int)
        buf_append_slice(&copy, value.s);
    if (!field.is_int)
        field.s.p = copy.data;
    if (!value.is_int)
        value.s.p = copy.data + field_len;
    listpack_delete(lp, at, 3, NULL);
    triple_insert(lp, field, value, deadline_ms);
    buf_deinit(&copy);
}

/* ---- changing form ---- */

static void release_listpack(struct collection *h) {
    if (h->encoding == VALUE_ENC_LISTPACK) {
        listpack_destroy(h->object);
        return;
    }
    struct small_timed *s = h->object;
    listpack_destroy(s->lp);
    mem_free_sized(s, sizeof *s);
}

static int add_to_table(void *arg, const struct packed_item *field, const struct packed_item *value,
                        int64_t deadline_ms) {
    char field_digits[NUM_I64_CHARS], value_digits[NUM_I64_CHARS];
    struct slice name = packed_text(field, field_digits);
    /* A payload that was not looked at closely may have a field twice: as in the small form, the first one counts. */
    if (fields_find(arg, name) == NULL)
        fields_put(arg, name, packed_text(value, value_digits), deadline_ms);
    return 0;
}

static void enlarge(struct collection *h, size_t more) {
    if (h->encoding == VALUE_ENC_HASHTABLE)
        return;
    struct fields *t = fields_create(h->rules->policy);
    size_t n = hash_count(h);
    int roomy = fields_try_expect(t, more <= SIZE_MAX - n ? n + more : n);
    (void)roomy; /* else the table grows as it goes */
    hash_each(h, add_to_table, t);
    if (h->encoding == VALUE_ENC_LISTPACK_EX)
        fields_set_timer(t, ((struct small_timed *)h->object)->timer);
    release_listpack(h);
    h->encoding = VALUE_ENC_HASHTABLE;
    h->object = t;
}

/* The small form that has room for deadlines. False where the bytes would be too many: it is large then. */
static bool add_room_for_deadlines(struct collection *h) {
    const struct listpack *from = h->object;
    uint64_t most = (uint64_t)listpack_count(from) / 2 * LISTPACK_ELEMENT_OVERHEAD_BYTES;
    if (!listpack_has_room(from, most)) {
        enlarge(h, 0);
        return false;
    }
    struct small_timed *s = mem_alloc(sizeof *s);
    *s = (struct small_timed){.lp = listpack_create(listpack_bytes(from) + (size_t)listpack_count(from))};
    for (uint32_t at = listpack_first(from); at != 0; at = listpack_next(from, listpack_next(from, at)))
        triple_insert(&s->lp, listpack_get(from, at), listpack_get(from, listpack_next(from, at)), FIELD_NO_DEADLINE);
    release_listpack(h);
    h->encoding = VALUE_ENC_LISTPACK_EX;
    h->object = s;
    return true;
}

void hash_expect(struct collection *h, size_t more) {
    if (h->encoding == VALUE_ENC_HASHTABLE) {
        if (fields_try_expect(h->object, more) != 0)
            return; /* the table grows as it goes */
    } else if (more > limits_of(h->rules).elements || hash_count(h) > limits_of(h->rules).elements - more) {
        enlarge(h, more);
    }
}

/* ---- fields ---- */

struct collection hash_create(const struct collection_rules *rules) {
    return (struct collection){.rules = rules, .encoding = VALUE_ENC_LISTPACK, .object = listpack_create(0)};
}

size_t hash_count(const struct collection *h) {
    if (h->encoding == VALUE_ENC_HASHTABLE)
        return fields_count(h->object);
    return listpack_count(lp_of(h)) / stride_of(h);
}

bool hash_find(const struct collection *h, struct slice field, int64_t now_ms, struct packed_item *ret_value,
               int64_t *ret_deadline_ms) {
    struct packed_item value;
    int64_t deadline_ms = FIELD_NO_DEADLINE;
    if (h->encoding == VALUE_ENC_HASHTABLE) {
        const struct field *f = fields_find(h->object, field);
        if (f == NULL)
            return false;
        deadline_ms = field_deadline_ms(f);
        value = packed_bytes(field_value(f));
    } else if (h->encoding == VALUE_ENC_LISTPACK) {
        uint32_t at = small_hash_find(h->object, field);
        if (at == 0)
            return false;
        value = listpack_get(h->object, at);
    } else {
        const struct listpack *lp = lp_of(h);
        uint32_t at = triple_find(lp, field);
        if (at == 0)
            return false;
        deadline_ms = triple_deadline(lp, at);
        value = listpack_get(lp, listpack_next(lp, at));
    }
    if (is_due(deadline_ms, now_ms))
        return false;
    if (ret_value != NULL)
        *ret_value = value;
    if (ret_deadline_ms != NULL)
        *ret_deadline_ms = deadline_ms;
    return true;
}

bool hash_get(const struct collection *h, struct slice field, int64_t now_ms, struct packed_item *ret_value) {
    return hash_find(h, field, now_ms, ret_value, NULL);
}

static bool table_put(struct fields *t, struct slice field, struct slice value, int64_t deadline_ms) {
    if (deadline_ms == HASH_KEEP_DEADLINE) {
        const struct field *f = fields_deadlines(t) != 0 ? fields_find(t, field) : NULL;
        deadline_ms = f != NULL ? field_deadline_ms(f) : FIELD_NO_DEADLINE;
    }
    return fields_put(t, field, value, deadline_ms);
}

static bool triple_put(struct collection *h, struct slice field, struct slice value, int64_t deadline_ms) {
    struct small_timed *s = h->object;
    uint32_t at = triple_find(s->lp, field);
    struct small_limits limits = limits_of(h->rules);
    if (!small_fits(limits, hash_count(h) + (at == 0), field.n > value.n ? field.n : value.n) ||
        !triple_has_room(s->lp, field.n, value.n)) {
        enlarge(h, 0);
        return table_put(h->object, field, value, deadline_ms);
    }
    int64_t was = at != 0 ? triple_deadline(s->lp, at) : FIELD_NO_DEADLINE;
    if (deadline_ms == HASH_KEEP_DEADLINE)
        deadline_ms = was;
    if (at != 0 && deadline_ms == was) {
        int failed = listpack_replace(&s->lp, listpack_next(s->lp, at), packed_bytes(value));
        HF_ASSERT(failed == 0);
        return false;
    }
    if (at != 0)
        listpack_delete(&s->lp, at, 3, NULL);
    triple_insert(&s->lp, packed_bytes(field), packed_bytes(value), deadline_ms);
    return at == 0;
}

bool hash_put_until(struct collection *h, struct slice field, struct slice value, int64_t deadline_ms) {
    HF_ASSERT(deadline_ms >= HASH_KEEP_DEADLINE);
    deadline_ms = kept_deadline(deadline_ms);
    if (h->encoding == VALUE_ENC_LISTPACK && deadline_ms >= 0)
        (void)add_room_for_deadlines(h);
    if (h->encoding == VALUE_ENC_LISTPACK) {
        struct listpack *lp = h->object;
        int got = small_hash_put(&lp, limits_of(h->rules), field, value);
        h->object = lp;
        if (got >= 0)
            return got == 1;
        enlarge(h, 0);
    }
    if (h->encoding == VALUE_ENC_LISTPACK_EX)
        return triple_put(h, field, value, deadline_ms);
    return table_put(h->object, field, value, deadline_ms);
}

bool hash_put(struct collection *h, struct slice field, struct slice value) {
    return hash_put_until(h, field, value, FIELD_NO_DEADLINE);
}

bool hash_remove(struct collection *h, struct slice field) {
    if (h->encoding == VALUE_ENC_HASHTABLE)
        return fields_remove(h->object, field);
    if (h->encoding == VALUE_ENC_LISTPACK) {
        struct listpack *lp = h->object;
        bool there = small_hash_remove(&lp, field);
        h->object = lp;
        return there;
    }
    struct small_timed *s = h->object;
    uint32_t at = triple_find(s->lp, field);
    if (at != 0)
        listpack_delete(&s->lp, at, 3, NULL);
    return at != 0;
}

/* ---- deadlines ---- */

bool hash_set_deadline(struct collection *h, struct slice field, int64_t deadline_ms) {
    HF_ASSERT(deadline_ms >= FIELD_NO_DEADLINE);
    deadline_ms = kept_deadline(deadline_ms);
    if (h->encoding == VALUE_ENC_LISTPACK) {
        if (small_hash_find(h->object, field) == 0)
            return false;
        if (deadline_ms == FIELD_NO_DEADLINE)
            return true;
        (void)add_room_for_deadlines(h);
    }
    if (h->encoding == VALUE_ENC_HASHTABLE)
        return fields_set_deadline(h->object, field, deadline_ms);
    struct small_timed *s = h->object;
    uint32_t at = triple_find(s->lp, field);
    if (at == 0)
        return false;
    if (triple_deadline(s->lp, at) == deadline_ms)
        return true;
    if (!triple_has_room(s->lp, 0, 0)) {
        enlarge(h, 0);
        return fields_set_deadline(h->object, field, deadline_ms);
    }
    triple_move(&s->lp, at, deadline_ms);
    return true;
}

int64_t hash_next_deadline_ms(const struct collection *h) {
    if (h->encoding == VALUE_ENC_LISTPACK)
        return FIELD_NO_DEADLINE;
    if (h->encoding == VALUE_ENC_HASHTABLE)
        return fields_deadlines(h->object) != 0 ? fields_next_deadline_ms(h->object) : FIELD_NO_DEADLINE;
    const struct listpack *lp = lp_of(h);
    return listpack_is_empty(lp) ? FIELD_NO_DEADLINE : triple_deadline(lp, listpack_first(lp));
}

bool hash_is_over(const struct collection *h, int64_t now_ms) {
    if (!is_due(hash_next_deadline_ms(h), now_ms))
        return false;
    int64_t last_ms;
    if (h->encoding == VALUE_ENC_HASHTABLE) {
        if (fields_deadlines(h->object) != fields_count(h->object))
            return false;
        last_ms = fields_last_deadline_ms(h->object);
    } else {
        const struct listpack *lp = lp_of(h);
        struct packed_item last = listpack_get(lp, listpack_last(lp));
        last_ms = last.is_int && last.i > 0 ? last.i : FIELD_NO_DEADLINE;
    }
    return is_due(last_ms, now_ms);
}

struct live {
    int64_t now_ms;
    size_t count;
};

static int count_live(void *arg, const struct packed_item *field, const struct packed_item *value,
                      int64_t deadline_ms) {
    struct live *l = arg;
    (void)field;
    (void)value;
    l->count += !is_due(deadline_ms, l->now_ms);
    return 0;
}

size_t hash_live_count(const struct collection *h, int64_t now_ms) {
    if (!is_due(hash_next_deadline_ms(h), now_ms))
        return hash_count(h);
    struct live l = {.now_ms = now_ms};
    hash_each(h, count_live, &l);
    return l.count;
}

static size_t remove_due_triples(struct small_timed *s, int64_t now_ms, size_t max,
                                 void (*each)(void *arg, struct slice field), void *arg) {
    size_t n = 0;
    for (uint32_t at = listpack_first(s->lp); at != 0 && n < max && is_due(triple_deadline(s->lp, at), now_ms);
         at = next_triple(s->lp, at), n++) {
        char digits[NUM_I64_CHARS];
        struct packed_item field = listpack_get(s->lp, at);
        each(arg, packed_text(&field, digits));
    }
    if (n != 0)
        listpack_delete(&s->lp, listpack_first(s->lp), (uint32_t)n * 3, NULL);
    return n;
}

size_t hash_remove_due(struct collection *h, int64_t now_ms, size_t max, void (*each)(void *arg, struct slice field),
                       void *arg) {
    if (h->encoding == VALUE_ENC_LISTPACK)
        return 0;
    if (h->encoding == VALUE_ENC_LISTPACK_EX)
        return remove_due_triples(h->object, now_ms, max, each, arg);
    size_t n = 0;
    struct buf name = BUF_INIT;
    for (const struct field *f; n < max && (f = fields_first_due(h->object, now_ms)) != NULL; n++) {
        buf_clear(&name);
        buf_reserve(&name, field_name(f).n + 1);
        buf_append_slice(&name, field_name(f));
        each(arg, buf_slice(&name));
        bool there = fields_remove(h->object, buf_slice(&name));
        HF_ASSERT(there);
    }
    buf_deinit(&name);
    return n;
}

/* ---- walks ---- */

struct walk {
    int (*each)(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms);
    void (*scanned)(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms);
    void *arg;
};

static int walk_field(void *arg, struct field *f) {
    const struct walk *w = arg;
    struct packed_item field = packed_bytes(field_name(f)), value = packed_bytes(field_value(f));
    return w->each(w->arg, &field, &value, field_deadline_ms(f));
}

static void scan_field(void *arg, struct field *f) {
    const struct walk *w = arg;
    struct packed_item field = packed_bytes(field_name(f)), value = packed_bytes(field_value(f));
    w->scanned(w->arg, &field, &value, field_deadline_ms(f));
}

static int scan_small(void *arg, const struct packed_item *field, const struct packed_item *value,
                      int64_t deadline_ms) {
    const struct walk *w = arg;
    w->scanned(w->arg, field, value, deadline_ms);
    return 0;
}

int hash_each(const struct collection *h,
              int (*each)(void *arg, const struct packed_item *field, const struct packed_item *value,
                          int64_t deadline_ms),
              void *arg) {
    if (h->encoding == VALUE_ENC_HASHTABLE) {
        struct walk w = {.each = each, .arg = arg};
        return fields_each(h->object, walk_field, &w);
    }
    const struct listpack *lp = lp_of(h);
    bool timed = h->encoding == VALUE_ENC_LISTPACK_EX;
    int rc = 0;
    for (uint32_t at = listpack_first(lp); at != 0 && rc == 0;) {
        uint32_t value_at = listpack_next(lp, at);
        struct packed_item field = listpack_get(lp, at), value = listpack_get(lp, value_at);
        int64_t deadline_ms = timed ? triple_deadline(lp, at) : FIELD_NO_DEADLINE;
        at = listpack_next(lp, timed ? listpack_next(lp, value_at) : value_at);
        rc = each(arg, &field, &value, deadline_ms);
    }
    return rc;
}

uint64_t hash_scan(const struct collection *h, uint64_t cursor,
                   void (*each)(void *arg, const struct packed_item *field, const struct packed_item *value,
                                int64_t deadline_ms),
                   void *arg) {
    struct walk w = {.scanned = each, .arg = arg};
    if (h->encoding == VALUE_ENC_HASHTABLE)
        return fields_scan(h->object, cursor, scan_field, &w);
    hash_each(h, scan_small, &w);
    return 0;
}

bool hash_random(const struct collection *h, struct rng *rng, struct packed_item *ret_field,
                 struct packed_item *ret_value, int64_t *ret_deadline_ms) {
    if (h->encoding == VALUE_ENC_HASHTABLE) {
        const struct field *f = fields_random(h->object, rng);
        if (f == NULL)
            return false;
        *ret_field = packed_bytes(field_name(f));
        *ret_value = packed_bytes(field_value(f));
        *ret_deadline_ms = field_deadline_ms(f);
        return true;
    }
    const struct listpack *lp = lp_of(h);
    uint32_t at = listpack_random(lp, stride_of(h), rng);
    if (at == 0)
        return false;
    *ret_field = listpack_get(lp, at);
    *ret_value = listpack_get(lp, listpack_next(lp, at));
    *ret_deadline_ms = h->encoding == VALUE_ENC_LISTPACK_EX ? triple_deadline(lp, at) : FIELD_NO_DEADLINE;
    return true;
}

/* ---- whole hashes ---- */

const struct listpack *hash_listpack(const struct collection *h) {
    return h->encoding == VALUE_ENC_HASHTABLE ? NULL : lp_of(h);
}

struct collection hash_from_listpack_take(const struct collection_rules *rules, struct listpack *lp) {
    struct collection h = {.rules = rules, .encoding = VALUE_ENC_LISTPACK, .object = lp};
    if (listpack_count(lp) / 2 > limits_of(rules).elements)
        enlarge(&h, 0);
    return h;
}

/* Deadlines in order, and those without one last, all in the form in which we write them. */
static bool triples_are_ordered(const struct listpack *lp) {
    int64_t before = 0;
    for (uint32_t at = listpack_first(lp); at != 0; at = next_triple(lp, at)) {
        int64_t deadline_ms = triple_deadline(lp, at);
        if (deadline_ms == FIELD_NO_DEADLINE)
            deadline_ms = INT64_MAX;
        if (deadline_ms < before)
            return false;
        before = deadline_ms;
    }
    return true;
}

/* The pairs of triples of which none has a deadline. */
static struct collection pairs_of(const struct collection_rules *rules, struct listpack *triples_take) {
    struct listpack *lp = listpack_create(listpack_bytes(triples_take));
    for (uint32_t at = listpack_first(triples_take); at != 0; at = next_triple(triples_take, at)) {
        const struct packed_item pair[2] = {listpack_get(triples_take, at),
                                            listpack_get(triples_take, listpack_next(triples_take, at))};
        int failed = listpack_append_all(&lp, pair, 2);
        HF_ASSERT(failed == 0); /* there were three where there are two now */
    }
    listpack_destroy(triples_take);
    return hash_from_listpack_take(rules, lp);
}

static bool any_deadline(const struct listpack *lp) {
    for (uint32_t at = listpack_first(lp); at != 0; at = next_triple(lp, at))
        if (triple_deadline(lp, at) != FIELD_NO_DEADLINE)
            return true;
    return false;
}

struct collection hash_from_triples_take(const struct collection_rules *rules, struct listpack *lp) {
    if (!any_deadline(lp))
        return pairs_of(rules, lp);
    struct small_timed *s = mem_alloc(sizeof *s);
    *s = (struct small_timed){.lp = lp};
    struct collection h = {.rules = rules, .encoding = VALUE_ENC_LISTPACK_EX, .object = s};
    if (hash_count(&h) > limits_of(rules).elements) {
        enlarge(&h, 0);
    } else if (!triples_are_ordered(lp)) {
        s->lp = listpack_create(listpack_bytes(lp));
        for (uint32_t at = listpack_first(lp); at != 0; at = next_triple(lp, at))
            triple_insert(&s->lp, listpack_get(lp, at), listpack_get(lp, listpack_next(lp, at)),
                          triple_deadline(lp, at));
        listpack_destroy(lp);
    }
    return h;
}

/* ---- timer and checks ---- */

struct deadline_item **hash_timer(const struct collection *h) {
    if (h->encoding == VALUE_ENC_LISTPACK)
        return NULL;
    return h->encoding == VALUE_ENC_HASHTABLE ? fields_timer(h->object) : &((struct small_timed *)h->object)->timer;
}

static void check_small(const struct listpack *lp, unsigned stride) {
    listpack_check(lp);
    HF_ASSERT(listpack_count(lp) % stride == 0);
    for (uint32_t at = listpack_first(lp); at != 0;) {
        char digits[NUM_I64_CHARS];
        struct packed_item field = listpack_get(lp, at);
        HF_ASSERT(listpack_find(lp, listpack_first(lp), packed_text(&field, digits), stride - 1) == at);
        for (unsigned i = 0; i < stride; i++) {
            HF_ASSERT(at != 0);
            if (i == 2)
                HF_ASSERT(listpack_get(lp, at).is_int && listpack_get(lp, at).i >= 0);
            at = listpack_next(lp, at);
        }
    }
}

void hash_check(const struct collection *h) {
    HF_ASSERT(h->object != NULL);
    if (h->encoding == VALUE_ENC_HASHTABLE) {
        fields_check(h->object);
        return;
    }
    HF_ASSERT(h->encoding == VALUE_ENC_LISTPACK || h->encoding == VALUE_ENC_LISTPACK_EX);
    check_small(lp_of(h), stride_of(h));
    HF_ASSERT(h->encoding == VALUE_ENC_LISTPACK || triples_are_ordered(lp_of(h)));
}

/* ---- the type's row ---- */

static void type_free(enum value_encoding encoding, void *object) {
    struct collection h = {.encoding = encoding, .object = object};
    if (encoding == VALUE_ENC_HASHTABLE) {
        fields_destroy(object);
        return;
    }
    if (encoding == VALUE_ENC_LISTPACK_EX)
        mem_free(((struct small_timed *)object)->timer);
    release_listpack(&h);
}

static size_t type_effort(enum value_encoding encoding, const void *object) {
    return encoding == VALUE_ENC_HASHTABLE ? fields_count(object) : 1;
}

static size_t type_memory_bytes(enum value_encoding encoding, const void *object, size_t samples) {
    (void)samples; /* the sum is known */
    if (encoding == VALUE_ENC_HASHTABLE)
        return fields_memory_bytes(object);
    if (encoding == VALUE_ENC_LISTPACK)
        return mem_usable_size(object);
    const struct small_timed *s = object;
    return mem_usable_size(s) + mem_usable_size(s->lp) + (s->timer != NULL ? mem_usable_size(s->timer) : 0);
}

static void *type_copy(enum value_encoding encoding, const void *object) {
    if (encoding == VALUE_ENC_LISTPACK)
        return listpack_dup(object);
    if (encoding == VALUE_ENC_HASHTABLE)
        return fields_copy(object);
    struct small_timed *s = mem_alloc(sizeof *s);
    *s = (struct small_timed){.lp = listpack_dup(((const struct small_timed *)object)->lp)};
    return s;
}

static size_t type_count(enum value_encoding encoding, const void *object) {
    struct collection h = {.encoding = encoding, .object = (void *)(uintptr_t)object};
    return hash_count(&h);
}

const struct value_type_ops hash_type_ops = {.free = type_free,
                                             .effort = type_effort,
                                             .memory_bytes = type_memory_bytes,
                                             .copy = type_copy,
                                             .count = type_count};
