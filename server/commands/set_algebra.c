/* Intersections, unions, differences: SINTER SINTERCARD SUNION SDIFF and their storing forms.
 *
 * Nothing is built where a reply can be written as members are found: an intersection walks the smallest set, a union
 * shows of each set what is in none of the ones before it, a difference walks the first set. A union of many sets and a
 * difference of a large first set from small others work on a set of their own. */
#include "config.h"

#include <stdlib.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"
#include "server/commands/set_int.h"

/* A union of more sets is built: each further one would be looked for in all before it. */
#define UNION_SHOWN_MAX 4
/* Members looked up together, so that the memory they need is fetched meanwhile. */
#define BATCH 16

/* ---- operands ---- */

struct operands {
    struct collection *sets; /* those that are there */
    size_t n;
    size_t missing;
    bool first_missing;
    size_t cap;
};

static void operands_deinit(struct operands *o) {
    mem_free_sized(o->sets, o->cap * sizeof *o->sets);
}

/* The sets under n keys from argument `first` on. Every key is looked at before anything is replied; false (nothing to
 * deinit) where one holds something else. */
static bool operands_init(struct call *c, struct operands *o, int first, int n) {
    *o = (struct operands){.cap = (size_t)n};
    o->sets = mem_calloc(o->cap, sizeof *o->sets);
    for (int i = 0; i < n; i++) {
        struct keyref key = call_key(c, first + i);
        struct entry *e;
        if (!call_find_read_type(c, &key, VALUE_SET, &e)) {
            operands_deinit(o);
            return false;
        }
        if (e != NULL) {
            o->sets[o->n++] = call_collection(c, e);
            continue;
        }
        o->missing++;
        if (i == 0)
            o->first_missing = true;
    }
    return true;
}

static int by_count(const void *a, const void *b) {
    size_t x = set_count(a), y = set_count(b);
    return x < y ? -1 : x > y;
}

static int by_falling_count(const void *a, const void *b) {
    return by_count(b, a);
}

/* A set named several times is one operand: unions and intersections do not care. */
static void drop_repeated(struct operands *o) {
    size_t kept = 0;
    for (size_t i = 0; i < o->n; i++) {
        bool again = kept != 0 && o->sets[kept - 1].object == o->sets[i].object;
        if (!again)
            o->sets[kept++] = o->sets[i];
    }
    o->n = kept;
}

/* ---- where results go ---- */

struct result {
    struct call *call;
    enum { RESULT_REPLY, RESULT_COUNT, RESULT_STORE } kind;
    size_t n;
    size_t limit; /* ends with so many; 0: with all */
    struct collection set;
    bool made;
};

/* Nonzero when there are enough. */
static int result_add(struct result *r, const struct packed_item *member) {
    if (r->kind == RESULT_REPLY) {
        call_reply_item(r->call->w, member);
    } else if (r->kind == RESULT_STORE) {
        if (!r->made) {
            r->set = set_create(keyspace_rules(r->call->ks), 1, member->is_int ? SLICE_LIT("0") : member->s);
            r->made = true;
        }
        if (!set_add_item(&r->set, member))
            return 0;
    }
    r->n++;
    return r->n == r->limit;
}

static int result_each(void *arg, const struct packed_item *member) {
    return result_add(arg, member);
}

/* ---- members of one set that are, or are not, in others ---- */

struct filter {
    struct result *result;
    const struct collection *others;
    size_t n;
    bool wanted; /* in all of them; else in none */
    struct packed_item batch[BATCH];
    unsigned held;
};

static bool passes(const struct filter *f, const struct packed_item *member) {
    for (size_t i = 0; i < f->n; i++)
        if (set_contains_item(&f->others[i], member) != f->wanted)
            return false;
    return true;
}

static int filter_flush(struct filter *f) {
    unsigned held = f->held;
    f->held = 0;
    for (unsigned i = 0; i < held; i++)
        if (passes(f, &f->batch[i]) && result_add(f->result, &f->batch[i]))
            return 1;
    return 0;
}

static int filter_add(void *arg, const struct packed_item *member) {
    struct filter *f = arg;
    set_prefetch(&f->others[0], member);
    f->batch[f->held++] = *member;
    return f->held == BATCH ? filter_flush(f) : 0;
}

/* True when the result has enough. */
static bool filter_set(struct result *result, const struct collection *s, const struct collection *others, size_t n,
                       bool wanted) {
    if (n == 0)
        return set_each(s, result_each, result) != 0;
    struct filter f = {.result = result, .others = others, .n = n, .wanted = wanted};
    return set_each(s, filter_add, &f) != 0 || filter_flush(&f) != 0;
}

/* ---- the operations ---- */

static void intersect(struct operands *o, struct result *r) {
    if (o->missing != 0)
        return;
    qsort(o->sets, o->n, sizeof *o->sets, by_count);
    drop_repeated(o);
    (void)filter_set(r, &o->sets[0], o->sets + 1, o->n - 1, true);
}

static bool is_large(const struct collection *s) {
    const struct collection_limits *l = &s->rules->limits;
    size_t n = set_count(s);
    return s->encoding == VALUE_ENC_HASHTABLE && n > (size_t)l->set_max_intset_entries &&
           n > (size_t)l->set_max_listpack_entries;
}

/* Begins the result with all members of a set: with a copy, where adding them one by one would give the same form. */
static void result_begin_with(struct result *r, const struct collection *s) {
    HF_ASSERT(r->kind == RESULT_STORE && !r->made);
    if (!is_large(s)) {
        (void)set_each(s, result_each, r);
        return;
    }
    r->set = set_copy(s);
    r->made = true;
    r->n = set_count(s);
}

static void build_union(const struct operands *o, struct result *r) {
    result_begin_with(r, &o->sets[0]);
    for (size_t i = 1; i < o->n; i++)
        (void)set_each(&o->sets[i], result_each, r);
}

static void unite(struct operands *o, struct result *r) {
    if (o->n == 0)
        return;
    qsort(o->sets, o->n, sizeof *o->sets, by_falling_count);
    drop_repeated(o);
    if (r->kind == RESULT_STORE) {
        build_union(o, r);
        return;
    }
    if (o->n <= UNION_SHOWN_MAX) {
        for (size_t i = 0; i < o->n; i++)
            (void)filter_set(r, &o->sets[i], o->sets, i, false);
        return;
    }
    struct result all = {.call = r->call, .kind = RESULT_STORE};
    build_union(o, &all);
    (void)set_each(&all.set, result_each, r);
    set_destroy(&all.set);
}

static int remove_item(void *arg, const struct packed_item *member) {
    struct result *r = arg;
    r->n -= set_remove_item(&r->set, member);
    return r->n == 0;
}

/* Takes the members of the others out of a copy of the first. */
static void build_difference(const struct operands *o, struct result *r) {
    result_begin_with(r, &o->sets[0]);
    for (size_t i = 1; i < o->n && r->n != 0; i++)
        (void)set_each(&o->sets[i], remove_item, r);
}

/* Looking each member of the first set up in all others, which often ends early, against walking through all sets.
 * Which of the two is taken also decides the form of what is stored. */
static bool lookups_pay(const struct operands *o) {
    uint64_t lookups = 0, steps = 0;
    for (size_t i = 0; i < o->n; i++) {
        lookups += set_count(&o->sets[0]);
        steps += set_count(&o->sets[i]);
    }
    return lookups / 2 <= steps;
}

static void subtract(struct operands *o, struct result *r) {
    if (o->first_missing)
        return;
    for (size_t i = 1; i < o->n; i++)
        if (o->sets[i].object == o->sets[0].object)
            return;
    if (lookups_pay(o)) {
        qsort(o->sets + 1, o->n - 1, sizeof *o->sets, by_falling_count);
        (void)filter_set(r, &o->sets[0], o->sets + 1, o->n - 1, false);
        return;
    }
    if (r->kind == RESULT_STORE) {
        build_difference(o, r);
        return;
    }
    struct result rest = {.call = r->call, .kind = RESULT_STORE};
    build_difference(o, &rest);
    (void)set_each(&rest.set, result_each, r);
    set_destroy(&rest.set);
}

/* ---- the commands ---- */

typedef void operation_fn(struct operands *o, struct result *r);

static void run_and_reply(struct call *c, operation_fn *operation) {
    struct operands o;
    if (!operands_init(c, &o, 1, c->argc - 1))
        return;
    struct result r = {.call = c, .kind = RESULT_REPLY};
    struct outq_hole hole = resp_open(c->w);
    operation(&o, &r);
    resp_close_set(c->w, hole, r.n);
    operands_deinit(&o);
}

static void run_and_store(struct call *c, operation_fn *operation, const char *event) {
    struct operands o;
    if (!operands_init(c, &o, 2, c->argc - 2))
        return;
    struct result r = {.call = c, .kind = RESULT_STORE};
    operation(&o, &r);
    operands_deinit(&o);
    if (!r.made)
        r.set = set_create(keyspace_rules(c->ks), 0, slice_of("", 0));
    struct keyref key = call_key(c, 1);
    bool existed;
    if (call_collection_replace(c, &key, VALUE_SET, &r.set, &existed))
        call_changed(c, &key, NOTIFY_SET, event);
    else if (existed)
        call_changed(c, &key, NOTIFY_GENERIC, "del");
    resp_int(c->w, (int64_t)r.n);
}

static void sinter_run(struct call *c) {
    run_and_reply(c, intersect);
}
static void sunion_run(struct call *c) {
    run_and_reply(c, unite);
}
static void sdiff_run(struct call *c) {
    run_and_reply(c, subtract);
}
static void sinterstore_run(struct call *c) {
    run_and_store(c, intersect, "sinterstore");
}
static void sunionstore_run(struct call *c) {
    run_and_store(c, unite, "sunionstore");
}
static void sdiffstore_run(struct call *c) {
    run_and_store(c, subtract, "sdiffstore");
}

static void sintercard_run(struct call *c) {
    int64_t keys, limit = 0;
    if (!call_arg_i64_range(c, 1, 1, INT64_MAX, "ERR numkeys should be greater than 0", &keys))
        return;
    if (keys > c->argc - 2) {
        call_error(c, "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (int i = (int)keys + 2; i < c->argc; i += 2) {
        if (i + 1 == c->argc || !slice_is(c->argv[i], "limit")) {
            call_error_syntax(c);
            return;
        }
        if (!call_arg_i64_range(c, i + 1, 0, INT64_MAX, "ERR LIMIT can't be negative", &limit))
            return;
    }
    struct operands o;
    if (!operands_init(c, &o, 2, (int)keys))
        return;
    struct result r = {.call = c, .kind = RESULT_COUNT, .limit = (size_t)limit};
    intersect(&o, &r);
    operands_deinit(&o);
    resp_int(c->w, (int64_t)r.n);
}

static const char *const tips[] = {"nondeterministic_output_order", NULL};

#define READ_ROW(name_, run_)                                                                                          \
    {                                                                                                                  \
        .name = (name_), .group = "set", .since = "1.0.0", .arity = -2, .flags = COMMAND_READONLY, .acl = ACL_SET,     \
        .keys = {ROW_KEYS(KEY_RO | KEY_ACCESS, 1, -1, 1)}, .tips = tips, .run = (run_)                                 \
    }
#define STORE_ROW(name_, run_)                                                                                         \
    {                                                                                                                  \
        .name = (name_), .group = "set", .since = "1.0.0", .arity = -3, .flags = COMMAND_WRITE | COMMAND_DENYOOM,      \
        .acl = ACL_SET, .keys = {ROW_KEY(KEY_OW | KEY_UPDATE), ROW_KEYS(KEY_RO | KEY_ACCESS, 2, -1, 1)}, .run = (run_) \
    }

static const struct command rows[] = {
    READ_ROW("sinter", sinter_run),
    READ_ROW("sunion", sunion_run),
    READ_ROW("sdiff", sdiff_run),
    STORE_ROW("sinterstore", sinterstore_run),
    STORE_ROW("sunionstore", sunionstore_run),
    STORE_ROW("sdiffstore", sdiffstore_run),
    {.name = "sintercard",
     .group = "set",
     .since = "7.0.0",
     .arity = -3,
     .flags = COMMAND_READONLY,
     .acl = ACL_SET,
     .keys = {ROW_KEYNUM(KEY_RO | KEY_ACCESS, 1, 1)},
     .run = sintercard_run},
};

void set_algebra_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
