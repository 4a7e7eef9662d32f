#include "config.h"

#include "server/engine/slowlog.h"

#include "server/base/buf.h"
#include "server/base/mem.h"

/* The slow log: entries are held in a ring that grows to the length in use. */

struct slowlog {
    struct slowlog_entry *ring;
    size_t cap, newest, count; /* newest: index of entry 0 */
    int64_t next_id;
};

struct slowlog *slowlog_create(void) {
    return mem_calloc(1, sizeof(struct slowlog));
}

static void entry_deinit(struct slowlog_entry *e) {
    for (int i = 0; i < e->argc; i++)
        mem_free(e->argv[i]);
    mem_free(e->argv);
    mem_free(e->argv_len);
    mem_free(e->peer);
    mem_free(e->client_name);
    mem_free(e->user);
}

static size_t slot_of(const struct slowlog *s, size_t i) {
    return (s->newest + s->cap - i) % s->cap;
}

static void drop_oldest(struct slowlog *s) {
    entry_deinit(&s->ring[slot_of(s, s->count - 1)]);
    s->count--;
}

void slowlog_reset(struct slowlog *s) {
    while (s->count > 0)
        drop_oldest(s);
}

void slowlog_destroy(struct slowlog *s) {
    if (s == NULL)
        return;
    slowlog_reset(s);
    mem_free(s->ring);
    mem_free(s);
}

static void grow(struct slowlog *s) {
    size_t cap = s->cap == 0 ? 16 : s->cap * 2;
    struct slowlog_entry *ring = mem_calloc(cap, sizeof *ring);
    for (size_t i = 0; i < s->count; i++)
        ring[s->count - 1 - i] = s->ring[slot_of(s, i)];
    mem_free(s->ring);
    s->ring = ring;
    s->cap = cap;
    s->newest = s->count > 0 ? s->count - 1 : cap - 1;
}

static void keep(struct slowlog_entry *e, int i, struct slice s) {
    e->argv[i] = mem_strndup(s.p, s.n);
    e->argv_len[i] = s.n;
}

static void keep_cut(struct slowlog_entry *e, int i, struct slice s) {
    if (s.n <= SLOWLOG_MAX_STRING) {
        keep(e, i, s);
        return;
    }
    struct buf b = BUF_INIT;
    buf_append(&b, s.p, SLOWLOG_MAX_STRING);
    buf_printf(&b, "... (%zu more bytes)", s.n - SLOWLOG_MAX_STRING);
    e->argv_len[i] = b.len;
    e->argv[i] = buf_take_cstr(&b);
}

static void keep_request(struct slowlog_entry *e, const struct slice *argv, int argc) {
    e->argc = argc < SLOWLOG_MAX_ARGS ? argc : SLOWLOG_MAX_ARGS;
    e->argv = mem_calloc((size_t)e->argc + 1, sizeof *e->argv);
    e->argv_len = mem_calloc((size_t)e->argc + 1, sizeof *e->argv_len);
    for (int i = 0; i < e->argc; i++) {
        if (i == SLOWLOG_MAX_ARGS - 1 && argc > SLOWLOG_MAX_ARGS) {
            struct buf b = BUF_INIT;
            buf_printf(&b, "... (%d more arguments)", argc - SLOWLOG_MAX_ARGS + 1);
            keep(e, i, buf_slice(&b));
            buf_deinit(&b);
        } else {
            keep_cut(e, i, argv[i]);
        }
    }
}

void slowlog_add(struct slowlog *s, int64_t max_len, int64_t time_s, int64_t duration_us, int64_t wait_us, unsigned db,
                 const struct slice *argv, int argc, const char *peer, const char *client_name, const char *user) {
    if (max_len > 0) {
        if (s->count == s->cap && (int64_t)s->count < max_len)
            grow(s);
        else if ((int64_t)s->count >= max_len)
            drop_oldest(s);
        s->newest = (s->newest + 1) % s->cap;
        s->count++;
        struct slowlog_entry *e = &s->ring[s->newest];
        *e = (struct slowlog_entry){
            .id = s->next_id, .time_s = time_s, .duration_us = duration_us, .wait_us = wait_us, .db = db};
        e->peer = mem_strdup(peer == NULL ? "" : peer);
        e->client_name = mem_strdup(client_name == NULL ? "" : client_name);
        e->user = mem_strdup(user == NULL ? "" : user);
        keep_request(e, argv, argc);
    }
    s->next_id++;
    while (s->count > 0 && (int64_t)s->count > max_len)
        drop_oldest(s);
}

size_t slowlog_len(const struct slowlog *s) {
    return s->count;
}

const struct slowlog_entry *slowlog_at(const struct slowlog *s, size_t i) {
    return i < s->count ? &s->ring[slot_of(s, i)] : NULL;
}
