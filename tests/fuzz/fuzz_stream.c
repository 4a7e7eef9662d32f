/* Streams: the input is a program of operations on a stream with small nodes; every invariant is checked after each. A
 * node of the program's own bytes may be loaded first. */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/store/stream.h"

#define GROUPS 3
#define CONSUMERS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct program {
    const uint8_t *at, *end;
    struct collection_limits limits;
};

static unsigned byte(struct program *p) {
    return p->at < p->end ? *p->at++ : 0;
}

static struct slice text(struct program *p) {
    size_t n = byte(p) % 20, left = (size_t)(p->end - p->at);
    struct slice s = slice_of(p->at, n < left ? n : left);
    p->at += s.n;
    return s;
}

/* Near the stream's ends, mostly. */
static struct stream_id some_id(const struct stream *s, struct program *p) {
    unsigned kind = byte(p);
    struct stream_id id = kind % 4 == 0 ? s->first_id : s->last_id;
    if (kind % 4 == 1)
        return (struct stream_id){byte(p) % 32, byte(p) % 8};
    if (kind % 4 == 2 && kind > 250)
        return STREAM_ID_MAX;
    uint64_t back = kind / 4;
    id.ms = id.ms > back ? id.ms - back : 0;
    id.seq = kind & 64 ? byte(p) : id.seq;
    return id;
}

static void append(struct stream *s, struct program *p) {
    struct stream_id id = s->last_id;
    unsigned step = byte(p);
    if (step % 3 == 0) {
        if (!stream_id_increment(&id))
            return;
    } else if (step == 254 && id.ms < UINT64_MAX) {
        id = (struct stream_id){UINT64_MAX, byte(p)};
    } else {
        if (id.ms > UINT64_MAX - 64)
            return;
        id = (struct stream_id){id.ms + 1 + step % 32, byte(p) % 8};
    }
    struct slice fields[8];
    size_t pairs = step % 4 + 1;
    for (size_t i = 0; i < pairs * 2; i++)
        fields[i] = i % 2 == 0 && step & 64 ? SLICE_LIT("same") : text(p);
    HF_ASSERT(stream_append(s, &p->limits, id, fields, pairs) == 0);
    HF_ASSERT(stream_contains(s, id) && stream_id_compare(s->last_id, id) == 0);
}

static void each_gone(void *arg, struct stream_id id) {
    const struct stream *s = arg;
    HF_ASSERT(stream_contains(s, id));
}

static void trim(struct stream *s, struct program *p) {
    unsigned kind = byte(p);
    struct stream_trim t = {.by_id = kind & 1,
                            .approximate = kind & 2,
                            .refs = (enum stream_refs)((kind >> 2) % 3),
                            .each = each_gone,
                            .arg = s};
    t.max_length = byte(p) % 64;
    t.limit = kind & 32 ? byte(p) : 0;
    if (t.by_id)
        t.min_id = some_id(s, p);
    uint64_t before = s->length, gone = stream_trim(s, &t);
    HF_ASSERT(s->length == before - gone);
    if (!t.approximate && !t.by_id && t.limit == 0 && t.refs != STREAM_ACKED)
        HF_ASSERT(s->length <= t.max_length || gone == 0 || s->length == t.max_length);
}

static struct stream_group *group(struct stream *s, struct program *p) {
    static const char names[] = "abc";
    struct slice name = slice_of(&names[byte(p) % GROUPS], 1);
    struct stream_group *g = stream_group_find(s, name);
    if (g == NULL) {
        g = stream_group_create(s, name, some_id(s, p), STREAM_ENTRIES_READ_UNKNOWN);
        HF_ASSERT(g != NULL && stream_group_find(s, name) == g);
    }
    return g;
}

static struct stream_consumer *consumer(struct stream_group *g, struct program *p) {
    static const char names[] = "xyz";
    struct slice name = slice_of(&names[byte(p) % CONSUMERS], 1);
    struct stream_consumer *c = stream_consumer_find(g, name);
    return c != NULL ? c : stream_consumer_create(g, name, 1000);
}

/* As XREADGROUP does: entries behind the group's last id. */
static void deliver(struct stream *s, struct program *p) {
    struct stream_group *g = group(s, p);
    struct stream_consumer *c = consumer(g, p);
    struct stream_id start = g->last_id, id;
    uint64_t fields;
    struct stream_iter it;
    unsigned left = byte(p) % 8;
    if (!stream_id_increment(&start))
        return;
    stream_iter_init(&it, s, start, STREAM_ID_MAX, false);
    while (left-- > 0 && stream_iter_next(&it, &id, &fields)) {
        HF_ASSERT(stream_id_compare(id, start) >= 0);
        struct stream_pending *pending = stream_pending_give(s, g, c, id);
        HF_ASSERT(pending != NULL && pending->consumer == c);
        pending->delivered_ms = 1000;
        pending->deliveries++;
        stream_group_advance(s, g, id);
        HF_ASSERT(stream_id_compare(g->last_id, id) == 0);
    }
    int64_t lag;
    if (stream_group_lag(s, g, &lag))
        HF_ASSERT(lag >= 0);
}

static void walk(const struct stream *s, struct program *p) {
    struct stream_id start = some_id(s, p), end = some_id(s, p), id, before = STREAM_ID_MIN;
    struct packed_item field, value;
    uint64_t fields, count = 0;
    struct stream_iter it;
    bool reverse = byte(p) & 1;
    stream_iter_init(&it, s, reverse ? STREAM_ID_MIN : start, reverse ? STREAM_ID_MAX : end, reverse);
    while (stream_iter_next(&it, &id, &fields)) {
        if (count++ > 0)
            HF_ASSERT(stream_id_compare(before, id) == (reverse ? 1 : -1));
        before = id;
        HF_ASSERT(stream_contains(s, id));
        for (uint64_t i = 0; i < fields && i < 5; i++)
            stream_iter_field(&it, &field, &value);
    }
    HF_ASSERT(count <= s->length && (!reverse || count == s->length));
}

static void step(struct stream *s, struct program *p) {
    switch (byte(p) % 12) {
    case 0:
    case 1:
    case 2:
    case 3:
        append(s, p);
        break;
    case 4:
    case 5: {
        struct stream_id id = some_id(s, p);
        bool there = stream_contains(s, id);
        HF_ASSERT(stream_delete(s, id) == there && !stream_contains(s, id));
        break;
    }
    case 6:
        trim(s, p);
        break;
    case 7:
    case 8:
        deliver(s, p);
        break;
    case 9: {
        struct stream_group *g = group(s, p);
        struct stream_id id = some_id(s, p);
        bool pending = stream_pending_find(g, id) != NULL;
        HF_ASSERT(stream_pending_remove(s, g, id) == pending && stream_pending_find(g, id) == NULL);
        break;
    }
    case 10: {
        struct stream_group *g = group(s, p);
        unsigned what = byte(p);
        if (what % 8 == 0)
            stream_group_destroy(s, g);
        else if (what % 2 == 0)
            stream_consumer_destroy(s, g, consumer(g, p));
        else
            (void)stream_is_referenced(s, some_id(s, p));
        break;
    }
    default:
        walk(s, p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int64_t entries[] = {100, 1, 2, 3, 8, 0}, bytes[] = {4096, 0, 40, 200};
    struct program p = {data, data + size, {0}};
    collection_limits_default(&p.limits);
    p.limits.stream_node_max_entries = entries[byte(&p) % 6];
    p.limits.stream_node_max_bytes = bytes[byte(&p) % 4];
    struct stream *s = stream_create();
    if (byte(&p) == 1) {
        struct stream_id master = {byte(&p), 0};
        size_t n = (size_t)(p.end - p.at) < 400 ? (size_t)(p.end - p.at) : 400;
        if (stream_load_node(s, master, slice_of(p.at, n)) != NULL || s->length == 0) {
            stream_destroy(s);
            return 0;
        }
        s->entries_added = s->length;
        HF_ASSERT(stream_edge(s, true, &s->first_id) && stream_edge(s, false, &s->last_id));
        p.at += n;
    }
    for (unsigned steps = 0; p.at < p.end && steps < 300; steps++) {
        step(s, &p);
        stream_check(s);
    }
    struct stream *copy = stream_copy(s);
    stream_check(copy);
    HF_ASSERT(copy->length == s->length);
    stream_destroy(copy);
    stream_destroy(s);
    return 0;
}
