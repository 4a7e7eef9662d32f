/* What the tests of the keyspace share: a keyspace with a fixed seed and clock that counts its announcements. */
#ifndef HF_TESTS_STORE_FIXTURE_H
#define HF_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/store/keyspace.h"

#define START_MS INT64_C(1700000000000)

struct seen {
    unsigned expired, evicted, appeared;
    char last[64];
};

static inline void on_removed(void *ctx, unsigned db, const struct keyref *key, enum keyspace_removal why) {
    struct seen *s = ctx;
    (void)db;
    s->expired += why == KEYSPACE_EXPIRED;
    s->evicted += why == KEYSPACE_EVICTED;
    if (key->key.n < sizeof s->last) {
        memcpy(s->last, key->key.p, key->key.n);
        s->last[key->key.n] = '\0';
    }
}

static inline void on_appeared(void *ctx, unsigned db, const struct keyref *key) {
    struct seen *s = ctx;
    (void)db;
    (void)key;
    s->appeared++;
}

static inline struct keyspace *make(bool slots, struct seen *seen, struct worker *worker) {
    struct keyspace_options o = {.databases = 16, .slots = slots, .rng_seed = 42, .lazyfree = worker};
    hash_key_init(&o.hash_key, "seed", 4);
    if (seen != NULL)
        o.events = (struct store_events){.ctx = seen, .removed = on_removed, .appeared = on_appeared};
    struct keyspace *ks = keyspace_create(&o);
    keyspace_set_now_ms(ks, START_MS);
    return ks;
}

static inline struct keyref ref(const struct keyspace *ks, const char *key) {
    return keyspace_key(ks, slice_cstr(key));
}

static inline struct entry *put(struct keyspace *ks, const char *key, const char *value, int64_t deadline_ms) {
    struct keyref k = ref(ks, key);
    return keyspace_put(ks, 0, &k, value_string(slice_cstr(value)), deadline_ms);
}

static inline struct entry *find(struct keyspace *ks, const char *key) {
    struct keyref k = ref(ks, key);
    return keyspace_find(ks, 0, &k, KEYSPACE_LOOKUP_TOUCH);
}

#endif
