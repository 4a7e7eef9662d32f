/* Keyspace micro-benchmark: ns per operation over N keys of 16 bytes with values of 64 bytes (or as given), in random
 * order. Usage: keyspace_bench [keys] [operations] [value bytes]. With batches, 32 keys are prefetched as the engine
 * does it; without, each look-up stands alone. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/store/keyspace.h"

#define BATCH 32
#define KEY_LEN 16
#define VALUE_MAX 16384
#define START_MS INT64_C(1700000000000)

struct bench {
    struct keyspace *ks;
    uint64_t keys, ops;
    struct rng rng;
    size_t value_len;
    char value[VALUE_MAX];
    uint64_t sum; /* keeps the reads alive */
};

typedef void op_fn(struct bench *b, const struct keyref *key);

static void make_key(char *dst, uint64_t i) {
    memcpy(dst, "key:", 4);
    for (int d = KEY_LEN - 1; d >= 4; d--, i /= 10)
        dst[d] = (char)('0' + i % 10);
}

static void op_get(struct bench *b, const struct keyref *key) {
    char scratch[24];
    struct entry *e = keyspace_find(b->ks, 0, key, KEYSPACE_LOOKUP_TOUCH);
    if (e != NULL) {
        struct slice s = entry_string(e, scratch);
        b->sum += (unsigned char)s.p[0] + (unsigned char)s.p[s.n - 1];
    }
}

static void op_set(struct bench *b, const struct keyref *key) {
    b->value[3]++;
    keyspace_put(b->ks, 0, key, value_string(slice_of(b->value, b->value_len)), KEYSPACE_NO_DEADLINE);
}

static void op_set_ex(struct bench *b, const struct keyref *key) {
    int64_t deadline = START_MS + 100000 + (int64_t)rng_below(&b->rng, 1000000);
    keyspace_put(b->ks, 0, key, value_string(slice_of(b->value, b->value_len)), deadline);
}

static void op_set_other_size(struct bench *b, const struct keyref *key) {
    size_t n = b->value_len / 4 + 1 + rng_below(&b->rng, b->value_len * 3 / 4);
    keyspace_put(b->ks, 0, key, value_string(slice_of(b->value, n)), KEYSPACE_NO_DEADLINE);
}

static void op_del_set(struct bench *b, const struct keyref *key) {
    keyspace_delete(b->ks, 0, key, false);
    op_set(b, key);
}

static void run(struct bench *b, const char *name, op_fn *op, bool batched) {
    char names[BATCH][KEY_LEN];
    struct keyref refs[BATCH];
    int64_t start = clock_mono_ns();
    for (uint64_t done = 0; done < b->ops; done += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            make_key(names[i], rng_below(&b->rng, b->keys));
            if (!batched)
                continue;
            refs[i] = keyspace_key(b->ks, slice_of(names[i], KEY_LEN));
            keyspace_prefetch_bucket(b->ks, 0, &refs[i]);
        }
        for (int i = 0; batched && i < BATCH; i++)
            keyspace_prefetch_entry(b->ks, 0, &refs[i]);
        for (int i = 0; i < BATCH; i++) {
            if (!batched)
                refs[i] = keyspace_key(b->ks, slice_of(names[i], KEY_LEN));
            op(b, &refs[i]);
        }
    }
    double ns = (double)(clock_mono_ns() - start) / (double)b->ops;
    printf("%-22s %-8s %8.1f ns/op\n", name, batched ? "batched" : "single", ns);
}

static void run_nothing(struct bench *b) {
    char name[KEY_LEN];
    int64_t start = clock_mono_ns();
    for (uint64_t i = 0; i < b->ops; i++) {
        make_key(name, rng_below(&b->rng, b->keys));
        b->sum += keyspace_key(b->ks, slice_of(name, KEY_LEN)).hash;
    }
    printf("%-22s %-8s %8.1f ns/op\n", "key and hash alone", "", (double)(clock_mono_ns() - start) / (double)b->ops);
}

static void load(struct bench *b) {
    char name[KEY_LEN];
    size_t before = mem_used();
    int64_t start = clock_mono_ns(), worst = 0, last = start;
    for (uint64_t i = 0; i < b->keys; i++) {
        make_key(name, i);
        struct keyref k = keyspace_key(b->ks, slice_of(name, KEY_LEN));
        op_set(b, &k);
        int64_t now = clock_mono_ns();
        if (now - last > worst)
            worst = now - last;
        last = now;
    }
    printf("%-22s %-8s %8.1f ns/op, worst %.1f us, %.1f bytes/key\n", "insert", "single",
           (double)(last - start) / (double)b->keys, (double)worst / 1000,
           (double)(mem_used() - before) / (double)b->keys);
}

int main(int argc, char **argv) {
    struct bench b = {.keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000,
                      .ops = argc > 2 ? strtoull(argv[2], NULL, 10) : 4000000,
                      .value_len = argc > 3 ? strtoull(argv[3], NULL, 10) : 64};
    struct keyspace_options o = {.databases = 16};
    if (b.keys == 0 || b.ops < BATCH || b.value_len < 4 || b.value_len > VALUE_MAX) {
        fprintf(stderr, "usage: keyspace_bench [keys] [operations] [value bytes]\n");
        return 2;
    }
    hash_key_init(&o.hash_key, "bench", 5);
    rng_init(&b.rng, 1);
    memset(b.value, 'v', sizeof b.value);
    b.ks = keyspace_create(&o);
    keyspace_set_now_ms(b.ks, START_MS);
    load(&b);
    run_nothing(&b);
    for (int batched = 1; batched >= 0; batched--) {
        run(&b, "get", op_get, batched);
        run(&b, "set in place", op_set, batched);
        run(&b, "set of another size", op_set_other_size, batched);
        run(&b, "delete and set", op_del_set, batched);
    }
    size_t before = mem_used();
    run(&b, "set ex, first", op_set_ex, true);
    printf("%.1f bytes more per key with a deadline\n",
           (double)(mem_used() - before) / (double)keyspace_deadlines(b.ks, 0));
    run(&b, "set ex, again", op_set_ex, true);
    run(&b, "set ex, again", op_set_ex, false);
    keyspace_set_now_ms(b.ks, START_MS + 10000000);
    size_t due = keyspace_deadlines(b.ks, 0);
    int64_t start = clock_mono_ns();
    while (keyspace_expire_due(b.ks, 1000000) != 0) {
    }
    printf("%-22s %-8s %8.1f ns/op\n", "expire", "", (double)(clock_mono_ns() - start) / (double)(due == 0 ? 1 : due));
    keyspace_destroy(b.ks);
    return b.sum == 1;
}
