/* Groups, consumers and what they have pending.
 *
 * A pending entry is one cell in the id trees of its group and of its consumer. Which groups hold an entry is not
 * remembered per entry: the few questions that need it ask each group, which costs a look-up each and no memory. */
#include "config.h"

#include "server/store/stream.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/store/stream_int.h"

/* ---- names ---- */

static int compare_names(struct slice a, struct slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n != 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : a.n < b.n ? -1 : a.n > b.n;
}

/* The place of a name; *ret_there says whether it is there. Names often come in order. */
static size_t names_place(const struct stream_names *names, struct slice name, bool *ret_there) {
    size_t low = 0, high = names->count;
    *ret_there = false;
    if (high != 0 && compare_names(*names->at[high - 1], name) < 0)
        return high;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = compare_names(*names->at[mid], name);
        if (order == 0) {
            *ret_there = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void *names_find(const struct stream_names *names, struct slice name) {
    bool there;
    size_t i = names_place(names, name, &there);
    return there ? names->at[i] : NULL;
}

/* Memory of size bytes, zeroed, with the name as its first member and the name's bytes behind it; NULL where the name
 * is there. */
static void *names_add(struct stream_names *names, struct slice name, size_t size) {
    bool there;
    size_t i = names_place(names, name, &there);
    if (there)
        return NULL;
    if (names->count == names->cap) {
        names->cap = names->cap != 0 ? names->cap * 2 : 1;
        names->at = mem_realloc(names->at, names->cap * sizeof names->at[0]);
    }
    char *p = mem_alloc(size + name.n);
    memset(p, 0, size);
    if (name.n != 0)
        memcpy(p + size, name.p, name.n);
    *(struct slice *)(void *)p = slice_of(p + size, name.n);
    memmove(&names->at[i + 1], &names->at[i], (names->count - i) * sizeof names->at[0]);
    names->at[i] = (struct slice *)(void *)p;
    names->count++;
    return p;
}

static void names_remove(struct stream_names *names, struct slice name) {
    bool there;
    size_t i = names_place(names, name, &there);
    HF_ASSERT(there);
    mem_free(names->at[i]);
    names->count--;
    memmove(&names->at[i], &names->at[i + 1], (names->count - i) * sizeof names->at[0]);
}

/* ---- groups and consumers ---- */

struct stream_group *stream_group_find(const struct stream *s, struct slice name) {
    return names_find(&s->groups, name);
}

struct stream_group *stream_group_create(struct stream *s, struct slice name, struct stream_id last_id,
                                         int64_t entries_read) {
    struct stream_group *g = names_add(&s->groups, name, sizeof *g);
    if (g != NULL) {
        g->last_id = last_id;
        g->entries_read = entries_read;
    }
    return g;
}

static void drop_pending(void *arg, void *value) {
    slab_free(arg, value, sizeof(struct stream_pending));
}

void stream_group_destroy(struct stream *s, struct stream_group *g) {
    for (size_t i = 0; i < g->consumers.count; i++) {
        struct stream_consumer *c = stream_consumer_at(g, i);
        id_tree_clear(&c->pending, NULL, NULL);
        mem_free(c);
    }
    mem_free(g->consumers.at);
    id_tree_clear(&g->pending, drop_pending, &s->slab);
    names_remove(&s->groups, g->name);
}

struct stream_consumer *stream_consumer_find(const struct stream_group *g, struct slice name) {
    return names_find(&g->consumers, name);
}

struct stream_consumer *stream_consumer_create(struct stream_group *g, struct slice name, int64_t now_ms) {
    struct stream_consumer *c = names_add(&g->consumers, name, sizeof *c);
    if (c != NULL) {
        c->seen_ms = now_ms;
        c->active_ms = STREAM_NEVER;
    }
    return c;
}

void stream_consumer_destroy(struct stream *s, struct stream_group *g, struct stream_consumer *c) {
    for (struct id_cursor at = id_tree_first(&c->pending); id_cursor_item(&at) != NULL; id_cursor_next(&at)) {
        void *p = id_tree_remove(&g->pending, id_cursor_item(&at)->id);
        HF_ASSERT(p == id_cursor_item(&at)->value);
        drop_pending(&s->slab, p);
    }
    id_tree_clear(&c->pending, NULL, NULL);
    names_remove(&g->consumers, c->name);
}

/* ---- pending entries ---- */

static struct stream_pending *pending_create(struct stream *s, struct stream_consumer *c) {
    struct stream_pending *p = slab_alloc(&s->slab, sizeof *p);
    *p = (struct stream_pending){.consumer = c};
    return p;
}

struct stream_pending *stream_pending_give(struct stream *s, struct stream_group *g, struct stream_consumer *c,
                                           struct stream_id id) {
    struct stream_pending *p = NULL;
    struct id_cursor last = id_tree_last(&g->pending);
    if (id_cursor_item(&last) != NULL && stream_id_compare(id_cursor_item(&last)->id, id) >= 0)
        p = stream_pending_find(g, id);
    if (p == NULL) {
        p = pending_create(s, NULL);
        bool added = id_tree_insert(&g->pending, id, p);
        HF_ASSERT(added);
    }
    if (p->consumer == c)
        return p;
    if (p->consumer != NULL) {
        void *was = id_tree_remove(&p->consumer->pending, id);
        HF_ASSERT(was == p);
    }
    p->consumer = c;
    bool added = id_tree_insert(&c->pending, id, p);
    HF_ASSERT(added);
    return p;
}

struct stream_pending *stream_pending_load(struct stream *s, struct stream_group *g, struct stream_id id) {
    struct stream_pending *p = pending_create(s, NULL);
    if (id_tree_insert(&g->pending, id, p))
        return p;
    drop_pending(&s->slab, p);
    return NULL;
}

bool stream_pending_own(struct stream_group *g, struct stream_consumer *c, struct stream_id id) {
    struct stream_pending *p = stream_pending_find(g, id);
    if (p == NULL || p->consumer != NULL)
        return false;
    p->consumer = c;
    bool added = id_tree_insert(&c->pending, id, p);
    HF_ASSERT(added);
    return true;
}

bool stream_pending_remove(struct stream *s, struct stream_group *g, struct stream_id id) {
    struct stream_pending *p = id_tree_remove(&g->pending, id);
    if (p == NULL)
        return false;
    if (p->consumer != NULL) {
        void *was = id_tree_remove(&p->consumer->pending, id);
        HF_ASSERT(was == p);
    }
    drop_pending(&s->slab, p);
    return true;
}

bool stream_is_referenced(const struct stream *s, struct stream_id id) {
    for (size_t i = 0; i < s->groups.count; i++) {
        const struct stream_group *g = stream_group_at(s, i);
        if (stream_id_compare(id, g->last_id) > 0 || stream_pending_find(g, id) != NULL)
            return true;
    }
    return false;
}

/* ---- progress ---- */

/* Whether a deleted entry may lie at an id or behind it, among the entries: only the greatest deleted id is known. */
static bool has_tombstone_from(const struct stream *s, struct stream_id id) {
    return s->length != 0 && !stream_id_is_zero(s->max_deleted_id) &&
           stream_id_compare(s->first_id, s->max_deleted_id) <= 0 && stream_id_compare(id, s->max_deleted_id) <= 0;
}

int64_t stream_entries_up_to(const struct stream *s, struct stream_id id) {
    if (s->entries_added == 0)
        return 0;
    if (s->length == 0 && stream_id_compare(id, s->last_id) < 1)
        return (int64_t)s->entries_added;
    int order = stream_id_compare(id, s->last_id);
    if (order == 0)
        return (int64_t)s->entries_added;
    if (order > 0)
        return STREAM_ENTRIES_READ_UNKNOWN;
    /* Without gaps behind the first entry the distance to it tells. */
    if (stream_id_is_zero(s->max_deleted_id) || stream_id_compare(s->max_deleted_id, s->first_id) < 0) {
        order = stream_id_compare(id, s->first_id);
        if (order <= 0)
            return (int64_t)(s->entries_added - s->length) + (order == 0);
    }
    return STREAM_ENTRIES_READ_UNKNOWN;
}

void stream_group_advance(const struct stream *s, struct stream_group *g, struct stream_id id) {
    if (stream_id_compare(id, g->last_id) <= 0)
        return;
    if (g->entries_read != STREAM_ENTRIES_READ_UNKNOWN && !has_tombstone_from(s, id))
        g->entries_read++;
    else if (s->entries_added != 0)
        g->entries_read = stream_entries_up_to(s, id);
    g->last_id = id;
}

bool stream_group_lag(const struct stream *s, const struct stream_group *g, int64_t *ret_lag) {
    int64_t read = 0;
    if (s->entries_added != 0) {
        read = g->entries_read;
        if (read == STREAM_ENTRIES_READ_UNKNOWN || has_tombstone_from(s, g->last_id))
            read = stream_entries_up_to(s, g->last_id);
        if (read == STREAM_ENTRIES_READ_UNKNOWN)
            return false;
    }
    *ret_lag = (int64_t)(s->entries_added - (uint64_t)read);
    return true;
}
