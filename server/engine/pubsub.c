#include "config.h"

#include "server/engine/pubsub.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/ds/glob.h"
#include "server/ds/table.h"
#include "server/engine/engine_int.h"

/*   topic (kind, name) ─► list of its subscriptions, in order of arrival
 *   client             ─► list of its subscriptions of each kind, in order of arrival
 *
 * A subscription is in both lists, and in a table by (topic, client), so that subscribing again and leaving one of many
 * cost the same as the first. A topic exists while it has subscriptions. Patterns are tried one by one for each
 * message: they are few in practice, and any of them may match. */

struct topic;

struct subscription {
    struct client *cl;
    struct topic *topic;
    struct subscription *prev, *next;       /* of the topic */
    struct subscription *cl_prev, *cl_next; /* of the client */
};

struct topic {
    enum pubsub_kind kind;
    uint64_t hash;
    struct topic *prev, *next; /* of the kind */
    struct subscription *first, *last;
    size_t count;
    size_t name_len;
    char name[];
};

struct pubsub {
    struct hash_key hash_key;
    struct table topics, subscriptions;
    struct topic *first[PUBSUB_KINDS], *last[PUBSUB_KINDS];
    size_t names[PUBSUB_KINDS];
    size_t clients;
};

struct subscriber {
    struct subscription *first[PUBSUB_KINDS], *last[PUBSUB_KINDS];
    size_t count[PUBSUB_KINDS];
    struct outq pushes; /* messages that wait for the end of the client's own reply */
};

/* ---- tables ---- */

struct topic_key {
    enum pubsub_kind kind;
    struct slice name;
};

static struct slice topic_name(const struct topic *t) {
    return slice_of(t->name, t->name_len);
}

static bool match_topic(const void *item, const void *key) {
    const struct topic *t = item;
    const struct topic_key *k = key;
    return t->kind == k->kind && slice_eq(topic_name(t), k->name);
}

static uint64_t hash_topic(const void *ctx, const void *item) {
    (void)ctx;
    return ((const struct topic *)item)->hash;
}

static const struct table_ops topic_ops = {.match = match_topic, .hash = hash_topic};

struct subscription_key {
    const struct topic *topic;
    const struct client *cl;
};

static bool match_subscription(const void *item, const void *key) {
    const struct subscription *s = item;
    const struct subscription_key *k = key;
    return s->topic == k->topic && s->cl == k->cl;
}

static uint64_t hash_pair(const struct topic *t, const struct client *cl) {
    uint64_t h = (t->hash ^ cl->id * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
    return h ^ h >> 32;
}

static uint64_t hash_subscription(const void *ctx, const void *item) {
    const struct subscription *s = item;
    (void)ctx;
    return hash_pair(s->topic, s->cl);
}

static const struct table_ops subscription_ops = {.match = match_subscription, .hash = hash_subscription};
static const struct table_policy policy = {NULL, TABLE_RESIZE_FREELY};

/* ---- topics ---- */

static uint64_t hash_name(const struct pubsub *p, enum pubsub_kind kind, struct slice name) {
    return hash_keyed(&p->hash_key, name.p, name.n) + (uint64_t)kind * UINT64_C(0x9e3779b97f4a7c15);
}

static struct topic *find_topic(const struct pubsub *p, enum pubsub_kind kind, struct slice name) {
    struct topic_key key = {kind, name};
    void **slot = p->topics.used != 0 ? table_find(&p->topics, &topic_ops, hash_name(p, kind, name), &key) : NULL;
    return slot != NULL ? *slot : NULL;
}

static struct topic *topic_of(struct pubsub *p, enum pubsub_kind kind, struct slice name) {
    struct topic *t = find_topic(p, kind, name);
    if (t != NULL)
        return t;
    t = mem_calloc(1, sizeof *t + name.n);
    t->kind = kind;
    t->hash = hash_name(p, kind, name);
    t->name_len = name.n;
    memcpy(t->name, name.p, name.n);
    t->prev = p->last[kind];
    *(t->prev != NULL ? &t->prev->next : &p->first[kind]) = t;
    p->last[kind] = t;
    p->names[kind]++;
    table_insert(&p->topics, &topic_ops, &policy, t->hash, t);
    return t;
}

static void free_topic(struct pubsub *p, struct topic *t) {
    struct topic_key key = {t->kind, topic_name(t)};
    *(t->prev != NULL ? &t->prev->next : &p->first[t->kind]) = t->next;
    *(t->next != NULL ? &t->next->prev : &p->last[t->kind]) = t->prev;
    p->names[t->kind]--;
    table_remove(&p->topics, &topic_ops, &policy, t->hash, table_find(&p->topics, &topic_ops, t->hash, &key));
    mem_free(t);
}

struct pubsub *pubsub_create(void) {
    struct pubsub *p = mem_calloc(1, sizeof *p);
    uint8_t seed[64];
    rng_entropy(seed, sizeof seed);
    hash_key_init(&p->hash_key, seed, sizeof seed);
    return p;
}

void pubsub_destroy(struct pubsub *p) {
    if (p == NULL)
        return;
    HF_ASSERT(p->topics.used == 0 && p->subscriptions.used == 0);
    table_clear(&p->topics, NULL, NULL);
    table_clear(&p->subscriptions, NULL, NULL);
    mem_free(p);
}

/* ---- subscriptions ---- */

static size_t total(const struct subscriber *s) {
    return s->count[PUBSUB_CHANNEL] + s->count[PUBSUB_PATTERN] + s->count[PUBSUB_SHARD];
}

bool pubsub_subscribe(struct client *cl, enum pubsub_kind kind, struct slice name) {
    struct pubsub *p = cl->engine->pubsub;
    struct topic *t = topic_of(p, kind, name);
    struct subscription_key key = {t, cl};
    const uint64_t hash = hash_pair(t, cl);
    if (table_find(&p->subscriptions, &subscription_ops, hash, &key) != NULL)
        return false;
    if (cl->subscriber == NULL) {
        cl->subscriber = mem_calloc(1, sizeof *cl->subscriber);
        outq_init(&cl->subscriber->pushes);
    }
    struct subscriber *me = cl->subscriber;
    if (total(me) == 0) {
        cl->flags |= CLIENT_PUBSUB;
        p->clients++;
    }
    struct subscription *s = mem_calloc(1, sizeof *s);
    *s = (struct subscription){.cl = cl, .topic = t, .prev = t->last, .cl_prev = me->last[kind]};
    *(s->prev != NULL ? &s->prev->next : &t->first) = s;
    t->last = s;
    t->count++;
    *(s->cl_prev != NULL ? &s->cl_prev->cl_next : &me->first[kind]) = s;
    me->last[kind] = s;
    me->count[kind]++;
    table_insert(&p->subscriptions, &subscription_ops, &policy, hash, s);
    return true;
}

static void end_subscription(struct subscription *s) {
    struct client *cl = s->cl;
    struct pubsub *p = cl->engine->pubsub;
    struct subscriber *me = cl->subscriber;
    struct topic *t = s->topic;
    struct subscription_key key = {t, cl};
    const uint64_t hash = hash_pair(t, cl);
    table_remove(&p->subscriptions, &subscription_ops, &policy, hash,
                 table_find(&p->subscriptions, &subscription_ops, hash, &key));
    *(s->prev != NULL ? &s->prev->next : &t->first) = s->next;
    *(s->next != NULL ? &s->next->prev : &t->last) = s->prev;
    *(s->cl_prev != NULL ? &s->cl_prev->cl_next : &me->first[t->kind]) = s->cl_next;
    *(s->cl_next != NULL ? &s->cl_next->cl_prev : &me->last[t->kind]) = s->cl_prev;
    me->count[t->kind]--;
    if (--t->count == 0)
        free_topic(p, t);
    mem_free(s);
    if (total(me) == 0) {
        cl->flags &= ~(uint64_t)CLIENT_PUBSUB;
        p->clients--;
    }
}

bool pubsub_unsubscribe(struct client *cl, enum pubsub_kind kind, struct slice name) {
    struct pubsub *p = cl->engine->pubsub;
    const struct topic *t = find_topic(p, kind, name);
    if (t == NULL)
        return false;
    struct subscription_key key = {t, cl};
    void **slot = table_find(&p->subscriptions, &subscription_ops, hash_pair(t, cl), &key);
    if (slot == NULL)
        return false;
    end_subscription(*slot);
    return true;
}

void pubsub_drop(struct client *cl) {
    if (cl->subscriber == NULL)
        return;
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        while (cl->subscriber->first[kind] != NULL)
            end_subscription(cl->subscriber->first[kind]);
}

void pubsub_free(struct client *cl) {
    if (cl->subscriber == NULL)
        return;
    pubsub_drop(cl);
    if (!outq_empty(&cl->subscriber->pushes))
        cl->engine->pushed--;
    outq_deinit(&cl->subscriber->pushes);
    mem_free(cl->subscriber);
    cl->subscriber = NULL;
}

size_t pubsub_subscriptions(const struct client *cl, enum pubsub_kind kind) {
    return cl->subscriber != NULL ? cl->subscriber->count[kind] : 0;
}

bool pubsub_first(const struct client *cl, enum pubsub_kind kind, struct slice *ret_name) {
    if (cl->subscriber == NULL || cl->subscriber->first[kind] == NULL)
        return false;
    *ret_name = topic_name(cl->subscriber->first[kind]->topic);
    return true;
}

size_t pubsub_client_memory(const struct client *cl) {
    if (cl->subscriber == NULL)
        return 0;
    return sizeof *cl->subscriber + outq_memory(&cl->subscriber->pushes) +
           total(cl->subscriber) * (sizeof(struct subscription) + sizeof(void *));
}

/* ---- messages ---- */

/* A message in wire form; but for its first byte it is the same in both protocols. A large payload stands apart. */
struct message {
    struct buf bytes;
    struct rbuf *payload; /* borrowed */
};

static void append_bulk(struct buf *b, struct slice s) {
    char header[RESP_HEADER_BYTES];
    buf_append(b, header, (size_t)(resp_put_header(header, '$', s.n) - header));
    buf_append_slice(b, s);
    buf_append_cstr(b, "\r\n");
}

static void compose(struct message *m, const char *what, const struct topic *pattern, struct slice channel,
                    struct slice payload, struct rbuf *block) {
    buf_clear(&m->bytes);
    buf_append_cstr(&m->bytes, pattern != NULL ? "*4\r\n" : "*3\r\n");
    append_bulk(&m->bytes, slice_cstr(what));
    if (pattern != NULL)
        append_bulk(&m->bytes, topic_name(pattern));
    append_bulk(&m->bytes, channel);
    m->payload = block;
    if (block == NULL) {
        append_bulk(&m->bytes, payload);
    } else {
        char header[RESP_HEADER_BYTES];
        buf_append(&m->bytes, header, (size_t)(resp_put_header(header, '$', payload.n) - header));
    }
}

/* Its reply is being written: what is pushed to it must not come in between. */
static bool is_replying(const struct engine *e, const struct client *cl) {
    return (e->call != NULL && e->call->client == cl) || e->busy_client == cl;
}

/* What a client is told of a change that is not in the log yet is held once it is there. */
static void note_told(struct engine *e, struct client *cl) {
    if (e->told_count == e->told_cap) {
        e->told_cap = e->told_cap != 0 ? e->told_cap * 2 : 16;
        e->told = mem_realloc(e->told, e->told_cap * sizeof *e->told);
    }
    e->told[e->told_count++] = (struct told){cl, outq_end(&cl->out)};
}

static void deliver(struct engine *e, struct client *cl, const struct message *m, bool tells_change) {
    struct outq *q = &cl->out;
    if (cl->flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY))
        return; /* nothing follows what it is still owed */
    if (is_replying(e, cl)) {
        q = &cl->subscriber->pushes;
        e->pushed += outq_empty(q);
    } else if (tells_change) {
        if (e->call == NULL)
            engine_update_marks(cl, outq_end(q), changelog_appended(e->log));
        else
            note_told(e, cl);
    }
    outq_append(q, cl->w.resp == 2 ? "*" : ">", 1);
    outq_append(q, m->bytes.data + 1, m->bytes.len - 1);
    if (m->payload != NULL) {
        outq_append_rbuf(q, m->payload, 0, m->payload->len);
        outq_append(q, "\r\n", 2);
    }
    client_note_output(cl);
    if (q->memory_bytes > 4 * OUTQ_CHUNK_BYTES)
        client_check_output_limit(cl);
}

static void deliver_to_topic(struct engine *e, const struct topic *t, const struct message *m, bool tells_change) {
    for (const struct subscription *s = t->first; s != NULL; s = s->next)
        deliver(e, s->cl, m, tells_change);
}

size_t pubsub_publish(struct engine *e, enum pubsub_kind kind, struct slice channel, struct slice message,
                      struct rbuf *block, bool tells_change) {
    struct pubsub *p = e->pubsub;
    size_t receivers = 0;
    const bool held = tells_change && e->log_active;
    struct message m = {BUF_INIT, NULL};
    struct rbuf *own = NULL;
    const struct topic *t = find_topic(p, kind, channel), *pattern = NULL;
    if (kind == PUBSUB_CHANNEL)
        for (pattern = p->first[PUBSUB_PATTERN]; pattern != NULL; pattern = pattern->next)
            if (glob_match(topic_name(pattern), channel, false))
                break;
    if (t == NULL && pattern == NULL)
        return 0;
    if (message.n < OUTQ_REF_MIN)
        block = NULL;
    else if (block == NULL) {
        own = block = rbuf_try_create(message.n);
        if (own != NULL) {
            memcpy(own->data, message.p, message.n);
            own->len = message.n;
        }
    }
    if (t != NULL) {
        compose(&m, kind == PUBSUB_SHARD ? "smessage" : "message", NULL, channel, message, block);
        deliver_to_topic(e, t, &m, held);
        receivers += t->count;
    }
    for (; pattern != NULL; pattern = pattern->next) {
        if (!glob_match(topic_name(pattern), channel, false))
            continue;
        compose(&m, "pmessage", pattern, channel, message, block);
        deliver_to_topic(e, pattern, &m, held);
        receivers += pattern->count;
    }
    buf_deinit(&m.bytes);
    rbuf_unref(own);
    return receivers;
}

void pubsub_release_pushes(struct client *cl) {
    if (cl->subscriber == NULL || outq_empty(&cl->subscriber->pushes))
        return;
    outq_move(&cl->out, &cl->subscriber->pushes);
    cl->engine->pushed--;
    client_note_output(cl);
}

void pubsub_hold_told(struct engine *e, uint64_t offset) {
    for (size_t i = 0; i < e->told_count && offset != 0; i++)
        engine_update_marks(e->told[i].cl, e->told[i].from, offset);
    e->told_count = 0;
}

/* ---- questions ---- */

size_t pubsub_names(const struct engine *e, enum pubsub_kind kind) {
    return e->pubsub->names[kind];
}

size_t pubsub_subscribers(const struct engine *e, enum pubsub_kind kind, struct slice name) {
    const struct topic *t = find_topic(e->pubsub, kind, name);
    return t != NULL ? t->count : 0;
}

void pubsub_each_name(struct engine *e, enum pubsub_kind kind, void (*each)(void *arg, struct slice name), void *arg) {
    for (const struct topic *t = e->pubsub->first[kind]; t != NULL; t = t->next)
        each(arg, topic_name(t));
}

size_t pubsub_clients(const struct engine *e) {
    return e->pubsub->clients;
}
