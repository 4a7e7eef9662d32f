/* Micro-benchmark of large collections: bytes an element and ns an operation, elements in random order. Usage:
 * collections_bench [elements] [operations]. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/store/fields.h"
#include "server/store/zset.h"

struct bench {
    size_t n, ops;
    struct table_policy policy;
    struct rng rng;
    double sum; /* keeps the reads alive */
};

static int64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* A permutation of 0 … n-1 for a prime multiplier. */
static size_t shuffled(const struct bench *b, size_t i) {
    return (size_t)((uint64_t)i * UINT64_C(2654435761) % b->n);
}

static struct slice name_of(char *buf, const char *form, size_t i) {
    return slice_of(buf, (size_t)snprintf(buf, 40, form, i));
}

static void report(const char *what, int64_t since_ns, size_t ops) {
    printf("  %-34s %7.0f ns\n", what, (double)(now_ns() - since_ns) / (double)ops);
}

static void zset_reads(struct bench *b, struct zset *z) {
    char buf[40];
    int64_t start = now_ns();
    for (size_t i = 0; i < b->ops; i++) {
        size_t rank = 0;
        zset_rank(z, name_of(buf, "element:%012zu", rng_below(&b->rng, b->n)), &rank);
        b->sum += (double)rank;
    }
    report("rank of a member", start, b->ops);
    start = now_ns();
    for (size_t i = 0; i < b->ops / 10; i++) {
        struct ordered_cursor c = ordered_tree_seek(zset_tree(z), rng_below(&b->rng, b->n));
        const struct zmember *m;
        for (int k = 0; k < 100 && (m = ordered_cursor_next(&c)) != NULL; k++)
            b->sum += m->score + (double)zmember_bytes(m).n;
    }
    report("range of 100 by rank", start, b->ops / 10);
}

static void zset_life(struct bench *b, bool equal_scores) {
    char buf[40];
    size_t before = mem_used();
    struct zset *z = zset_create(&b->policy);
    printf("sorted set, 20-byte members, %s scores\n", equal_scores ? "equal" : "random");
    int64_t start = now_ns();
    for (size_t i = 0; i < b->n; i++)
        zset_put(z, name_of(buf, "element:%012zu", shuffled(b, i)), equal_scores ? 0 : rng_unit(&b->rng));
    report("add", start, b->n);
    printf("  %-34s %7.1f bytes (nodes %.1f, table %.1f)\n", "memory a member",
           (double)(mem_used() - before) / (double)zset_count(z), (double)zset_tree(z)->node_bytes / (double)b->n,
           (double)(zset_memory_bytes(z, 1) - zset_tree(z)->node_bytes) / (double)b->n - 32);
    zset_reads(b, z);
    start = now_ns();
    for (size_t i = 0; i < b->ops; i++)
        zset_put(z, name_of(buf, "element:%012zu", rng_below(&b->rng, b->n)), rng_unit(&b->rng));
    report("new random score", start, b->ops);
    start = now_ns();
    for (size_t i = 0; i < b->ops; i++)
        zset_remove(z, name_of(buf, "element:%012zu", shuffled(b, i)));
    report("remove", start, b->ops);
    start = now_ns();
    size_t left = zset_count(z);
    zset_destroy(z);
    report("destroy, a member", start, left + 1);
}

static void hash_life(struct bench *b) {
    char buf[40], value[40];
    size_t before = mem_used();
    struct fields *t = fields_create(&b->policy);
    printf("hash, 18-byte fields, 16-byte values\n");
    int64_t start = now_ns();
    for (size_t i = 0; i < b->n; i++)
        fields_put(t, name_of(buf, "field:%012zu", shuffled(b, i)), name_of(value, "%016zu", i), FIELD_NO_DEADLINE);
    report("add", start, b->n);
    printf("  %-34s %7.1f bytes\n", "memory a field", (double)(mem_used() - before) / (double)fields_count(t));
    start = now_ns();
    for (size_t i = 0; i < b->ops; i++)
        b->sum += field_value(fields_find(t, name_of(buf, "field:%012zu", rng_below(&b->rng, b->n)))).p[3];
    report("find", start, b->ops);
    start = now_ns();
    for (size_t i = 0; i < b->ops; i++)
        fields_put(t, name_of(buf, "field:%012zu", rng_below(&b->rng, b->n)), name_of(value, "%016zu", i),
                   FIELD_NO_DEADLINE);
    report("another value", start, b->ops);
    start = now_ns();
    for (size_t i = 0; i < b->ops; i++)
        fields_set_deadline(t, name_of(buf, "field:%012zu", shuffled(b, i)), (int64_t)rng_below(&b->rng, 1000000));
    report("deadline", start, b->ops);
    start = now_ns();
    for (size_t i = 0; i < b->ops; i++)
        fields_remove(t, name_of(buf, "field:%012zu", shuffled(b, i)));
    report("remove", start, b->ops);
    start = now_ns();
    size_t left = fields_count(t);
    fields_destroy(t);
    report("destroy, a field", start, left + 1);
}

static void set_life(struct bench *b) {
    char buf[40];
    size_t before = mem_used();
    struct fields *t = fields_create(&b->policy);
    printf("set, 20-byte members\n");
    int64_t start = now_ns();
    for (size_t i = 0; i < b->n; i++)
        fields_add(t, name_of(buf, "element:%012zu", shuffled(b, i)));
    report("add", start, b->n);
    printf("  %-34s %7.1f bytes\n", "memory a member", (double)(mem_used() - before) / (double)fields_count(t));
    fields_destroy(t);
}

int main(int argc, char **argv) {
    struct hash_key key;
    hash_key_init(&key, "benchmark", 9);
    struct bench b = {.policy = {.ctx = &key, .resizing = TABLE_RESIZE_FREELY}};
    b.n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    b.ops = argc > 2 ? strtoull(argv[2], NULL, 10) : b.n / 2;
    if (b.n < 1000 || b.ops < 10 || b.ops >= b.n) {
        fprintf(stderr, "usage: collections_bench [elements >= 1000] [operations < elements]\n");
        return 2;
    }
    rng_init(&b.rng, 42);
    zset_life(&b, false);
    zset_life(&b, true);
    hash_life(&b);
    set_life(&b);
    printf("(%g)\n", b.sum);
    return 0;
}
