#include "config.h"

#include "server/engine/command.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/base/assert.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/engine/latency.h"

/* Names are found by an open-addressing table over a hash of the name with bit 5 set in each byte, which folds case for
 * letters and leaves digits and '-' alone; the comparison is exact. The table is at most a quarter full. */
#define TABLE_CELLS 2048

struct command_table {
    struct command_entry **entries;
    size_t count, cap;
    int ids;
    struct command_entry *cells[TABLE_CELLS];
};

static inline uint32_t name_hash(const char *p, size_t n) {
    const uint64_t fold = 0x2020202020202020u;
    uint64_t a = 0, b = 0;
    if (n >= 8) {
        a = load_le64(p) | fold;
        b = load_le64(p + n - 8) | fold;
    } else {
        for (size_t i = 0; i < n; i++)
            a = a << 8 | ((unsigned char)p[i] | 0x20u);
    }
    uint64_t h = (a ^ (b * 0x9e3779b97f4a7c15u) ^ n) * 0xff51afd7ed558ccdu;
    return (uint32_t)(h >> 40);
}

struct command_table *command_table_create(void) {
    return mem_calloc(1, sizeof(struct command_table));
}

void command_table_destroy(struct command_table *t) {
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++) {
        struct command_entry *e = t->entries[i];
        for (int s = 0; s < e->sub_count; s++) {
            mem_free(e->subs[s].full_name);
            latency_destroy(e->subs[s].latency);
        }
        latency_destroy(e->latency);
        mem_free(e->subs);
        mem_free(e->full_name);
        mem_free(e);
    }
    mem_free(t->entries);
    mem_free(t);
}

struct command_entry *command_table_find(const struct command_table *t, struct slice name) {
    if (name.n == 0 || name.n > 64)
        return NULL;
    for (uint32_t i = name_hash(name.p, name.n) & (TABLE_CELLS - 1);; i = (i + 1) & (TABLE_CELLS - 1)) {
        struct command_entry *e = t->cells[i];
        if (e == NULL)
            return NULL;
        if (slice_is(name, e->row->name))
            return e;
    }
}

static struct command_entry *find_sub(const struct command_entry *e, struct slice word) {
    for (int i = 0; i < e->sub_count; i++)
        if (slice_is(word, e->subs[i].row->name))
            return &e->subs[i];
    return NULL;
}

struct command_entry *command_table_resolve(const struct command_table *t, const struct slice *argv, int argc,
                                            struct command_entry **ret_container) {
    struct command_entry *e = command_table_find(t, argv[0]);
    *ret_container = e;
    if (e == NULL || e->sub_count == 0)
        return e;
    if (argc < 2)
        return e->row->run ? e : NULL;
    return find_sub(e, argv[1]);
}

struct command_entry *command_table_find_full(const struct command_table *t, struct slice full_name) {
    const char *bar = memchr(full_name.p, '|', full_name.n);
    if (bar == NULL)
        return command_table_find(t, full_name);
    struct command_entry *e = command_table_find(t, slice_of(full_name.p, (size_t)(bar - full_name.p)));
    if (e == NULL)
        return NULL;
    return find_sub(e, slice_of(bar + 1, full_name.n - (size_t)(bar + 1 - full_name.p)));
}

static uint32_t derive_acl(uint32_t flags, uint32_t acl) {
    if (flags & COMMAND_WRITE)
        acl |= ACL_WRITE;
    if ((flags & COMMAND_READONLY) && !(acl & ACL_SCRIPTING))
        acl |= ACL_READ;
    if (flags & COMMAND_ADMIN)
        acl |= ACL_ADMIN | ACL_DANGEROUS;
    if (flags & COMMAND_PUBSUB)
        acl |= ACL_PUBSUB;
    if (flags & COMMAND_BLOCKING)
        acl |= ACL_BLOCKING;
    acl |= (flags & COMMAND_FAST) ? ACL_FAST : ACL_SLOW;
    return acl;
}

/* The old-style triple describes the specs that are ranges from a fixed index, when together they are one range;
 * further ones make the keys movable. */
static void derive_keys(struct command_entry *e) {
    const struct command *row = e->row;
    int first = 0, last = 0, step = 0;
    /* A function that only tells the flags of keys whose places the specs give does not make them movable. */
    bool movable = row->get_keys != NULL && !(row->keys[0].flags & KEY_VARIABLE_FLAGS);
    for (int i = 0; i < COMMAND_KEY_SPECS_MAX && row->keys[i].begin != KEY_BEGIN_NONE; i++) {
        const struct key_spec *k = &row->keys[i];
        if (k->begin != KEY_BEGIN_INDEX || k->find != KEY_FIND_RANGE || (k->flags & (KEY_INCOMPLETE))) {
            movable = true;
            continue;
        }
        int to = k->last >= 0 ? k->index + k->last : k->last;
        if (first == 0) {
            first = k->index;
            last = to;
            step = k->step;
        } else if (k->limit == 0 && k->index == last + 1 && step == 1) {
            last = to;
        } else if (last >= 0 && k->index == first + (last - first) + step) {
            last = to;
        } else {
            movable = true;
        }
    }
    e->first_key = first;
    e->last_key = last;
    e->key_step = step;
    if (movable)
        e->flags |= COMMAND_MOVABLE_KEYS;
}

static void fill_entry(struct command_table *t, struct command_entry *e, const struct command *row, void *ctx) {
    e->row = row;
    e->ctx = ctx;
    e->flags = row->flags;
    e->acl = derive_acl(row->flags, row->acl);
    e->id = t->ids++;
    derive_keys(e);
}

static void register_one(struct command_table *t, const struct command *row, void *ctx) {
    HF_ASSERT(command_table_find(t, slice_cstr(row->name)) == NULL);
    struct command_entry *e = mem_calloc(1, sizeof *e);
    fill_entry(t, e, row, ctx);
    e->full_name = mem_strdup(row->name);
    int subs = 0;
    while (row->subcommands != NULL && row->subcommands[subs].name != NULL)
        subs++;
    if (subs > 0) {
        e->subs = mem_calloc((size_t)subs, sizeof *e->subs);
        e->sub_count = subs;
    }
    for (int i = 0; i < subs; i++) {
        struct command_entry *s = &e->subs[i];
        fill_entry(t, s, &row->subcommands[i], ctx);
        s->parent = e;
        char name[128];
        snprintf(name, sizeof name, "%s|%s", row->name, row->subcommands[i].name);
        s->full_name = mem_strdup(name);
    }
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 128;
        t->entries = mem_realloc(t->entries, t->cap * sizeof(struct command_entry *));
    }
    t->entries[t->count++] = e;
    HF_ASSERT(t->count < TABLE_CELLS / 2);
    uint32_t i = name_hash(row->name, strlen(row->name)) & (TABLE_CELLS - 1);
    while (t->cells[i] != NULL)
        i = (i + 1) & (TABLE_CELLS - 1);
    t->cells[i] = e;
}

void command_table_register(struct command_table *t, const struct command *rows, size_t count, void *ctx) {
    for (size_t i = 0; i < count; i++)
        register_one(t, &rows[i], ctx);
}

size_t command_table_count(const struct command_table *t) {
    return t->count;
}
int command_table_ids(const struct command_table *t) {
    return t->ids;
}

void command_table_each(const struct command_table *t, void (*each)(void *arg, struct command_entry *e), void *arg) {
    for (size_t i = 0; i < t->count; i++)
        each(arg, t->entries[i]);
}

bool command_arity_ok(const struct command_entry *e, int argc) {
    int a = e->row->arity;
    return a >= 0 ? argc == a : argc >= -a;
}

/* ---- keys ---- */

void key_positions_init(struct key_positions *k) {
    k->at = k->fixed;
    k->count = 0;
    k->cap = (int)(sizeof k->fixed / sizeof k->fixed[0]);
}

void key_positions_deinit(struct key_positions *k) {
    if (k->at != k->fixed)
        mem_free(k->at);
    k->at = k->fixed;
}

void key_positions_add(struct key_positions *k, int index, uint32_t flags) {
    if (k->count == k->cap) {
        size_t cap = (size_t)k->cap * 2;
        struct key_position *more = mem_alloc(cap * sizeof *more);
        memcpy(more, k->at, (size_t)k->count * sizeof *more);
        key_positions_deinit(k);
        k->at = more;
        k->cap = (int)cap;
    }
    k->at[k->count++] = (struct key_position){index, flags};
}

static int spec_begin(const struct key_spec *s, const struct slice *argv, int argc) {
    if (s->begin == KEY_BEGIN_INDEX)
        return s->index;
    if (s->begin != KEY_BEGIN_KEYWORD)
        return -1;
    int from = s->start_from > 0 ? s->start_from : argc + s->start_from;
    int to = s->start_from > 0 ? argc - 1 : 1;
    for (int i = from; i != to; i += from <= to ? 1 : -1) {
        if (i < 1 || i >= argc || i == to)
            break;
        if (argv[i].n == strlen(s->keyword) && strncasecmp(argv[i].p, s->keyword, argv[i].n) == 0)
            return i + 1;
    }
    return 0; /* the keyword is optional: no keys from this spec */
}

static int spec_keys(const struct key_spec *s, const struct slice *argv, int argc, struct key_positions *ret_keys) {
    int first = spec_begin(s, argv, argc);
    if (first < 0 || s->find == KEY_FIND_UNKNOWN)
        return 0;
    if (first == 0)
        return 0;
    int last, step = 1;
    if (s->find == KEY_FIND_RANGE) {
        step = s->step;
        if (s->last >= 0)
            last = first + s->last;
        else if (s->limit <= 1)
            last = argc + s->last;
        else
            last = first + (argc - first) / s->limit + s->last;
    } else {
        int64_t n;
        if (first + s->keynum_index >= argc || num_parse_i64(argv[first + s->keynum_index], &n) != 0 || n < 0 ||
            n > argc)
            return -1;
        step = s->keynum_step;
        first += s->first_key;
        last = first + ((int)n - 1) * step;
    }
    if (last < first)
        return 0;
    if (first >= argc || last >= argc || first < 1)
        return (s->find == KEY_FIND_KEYNUM || first < 1) ? -1 : -1;
    for (int i = first; i <= last; i += step)
        key_positions_add(ret_keys, i, s->flags);
    return 0;
}

int command_get_keys(const struct command_entry *e, const struct slice *argv, int argc,
                     struct key_positions *ret_keys) {
    if (e->row->get_keys != NULL)
        return e->row->get_keys(argv, argc, ret_keys);
    for (int i = 0; i < COMMAND_KEY_SPECS_MAX && e->row->keys[i].begin != KEY_BEGIN_NONE; i++) {
        if (e->row->keys[i].flags & KEY_NOT_KEY)
            continue;
        if (spec_keys(&e->row->keys[i], argv, argc, ret_keys) != 0)
            return -1;
    }
    return 0;
}

/* ---- names ---- */

static const struct {
    uint32_t bit;
    const char *name;
} flag_names[] = {
    {COMMAND_WRITE, "write"},
    {COMMAND_READONLY, "readonly"},
    {COMMAND_DENYOOM, "denyoom"},
    {COMMAND_ADMIN, "admin"},
    {COMMAND_PUBSUB, "pubsub"},
    {COMMAND_NOSCRIPT, "noscript"},
    {COMMAND_BLOCKING, "blocking"},
    {COMMAND_LOADING, "loading"},
    {COMMAND_STALE, "stale"},
    {COMMAND_SKIP_MONITOR, "skip_monitor"},
    {COMMAND_SKIP_SLOWLOG, "skip_slowlog"},
    {COMMAND_ASKING, "asking"},
    {COMMAND_FAST, "fast"},
    {COMMAND_NO_AUTH, "no_auth"},
    {COMMAND_MAY_REPLICATE, "may_replicate"},
    {COMMAND_NO_MULTI, "no_multi"},
    {COMMAND_NO_ASYNC_LOADING, "no_async_loading"},
    {COMMAND_ALLOW_BUSY, "allow_busy"},
    {COMMAND_NO_MANDATORY_KEYS, "no_mandatory_keys"},
    {COMMAND_TOUCHES_ARBITRARY_KEYS, "touches_arbitrary_keys"},
    {COMMAND_MOVABLE_KEYS, "movablekeys"},
};

const char *command_flag_name(uint32_t bit) {
    for (size_t i = 0; i < sizeof flag_names / sizeof flag_names[0]; i++)
        if (flag_names[i].bit == bit)
            return flag_names[i].name;
    return NULL;
}

static const char *const category_names[] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};

const char *acl_category_name(uint32_t bit) {
    unsigned i = (unsigned)__builtin_ctz(bit);
    return i < sizeof category_names / sizeof category_names[0] ? category_names[i] : NULL;
}

uint32_t acl_category_by_name(struct slice name) {
    for (unsigned i = 0; i < sizeof category_names / sizeof category_names[0]; i++)
        if (slice_is(name, category_names[i]))
            return 1u << i;
    return 0;
}
