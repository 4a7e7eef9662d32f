/* RESTORE: the input is type and value, to which the trailer is added.
 *
 * What is accepted after deep validation is a sound value: its structure checks, it dumps to a payload that restores to
 * a value of the same digest, and commands run on it, each leaving a sound value. What is accepted with shallow checks
 * can at least be freed. The same input goes through the walk over values and, behind its first byte, through the
 * checks of packed payloads. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "persistence/rdb/rdb.h"
#include "persistence/rdb/walk.h"
#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/crc.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/commands/commands.h"
#include "server/commands/digest.h"
#include "server/engine/engine.h"
#include "server/store/hash.h"
#include "server/store/list.h"
#include "server/store/set.h"
#include "server/store/sorted_set.h"
#include "server/store/stream.h"

#define ROUNDS 12
#define WORDS_MAX 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- an engine with the commands of all types ---- */

struct fixture {
    struct loop *loop;
    struct engine *engine;
    struct keyspace *ks;
    struct client *client;
};

static void after_wake(struct loop *loop, void *arg) {
    (void)loop;
    engine_after_wake(arg);
}
static void batch(struct loop *loop, void *arg) {
    (void)loop;
    engine_batch(arg);
}
static void before_sleep(struct loop *loop, void *arg) {
    (void)loop;
    engine_before_sleep(arg);
}

static struct fixture *fixture(void) {
    static struct fixture f;
    static struct keys_hooks hooks;
    if (f.engine != NULL)
        return &f;
    f.loop = loop_create();
    struct engine_parts parts = {
        .loop = f.loop, .log = changelog_create(0), .settings = settings_create(), .info = info_create()};
    f.engine = engine_create(&parts);
    struct keyspace_options o = {.databases = 2, .rng_seed = 7, .events = engine_store_events(f.engine)};
    hash_key_init(&o.hash_key, "seed", 4);
    f.ks = keyspace_create(&o);
    engine_set_parts(f.engine, f.ks, NULL);
    struct command_table *t = engine_commands(f.engine);
    string_commands_register(t);
    bitmap_commands_register(t);
    hash_commands_register(t);
    set_commands_register(t);
    hll_commands_register(t);
    list_commands_register(t);
    sort_commands_register(t);
    zset_commands_register(t);
    stream_commands_register(t);
    memory_commands_register(t);
    keys_commands_register(t, &hooks);
    loop_set_after_wake_hook(f.loop, after_wake, f.engine);
    loop_set_batch_hook(f.loop, batch, f.engine);
    loop_set_before_sleep_hook(f.loop, before_sleep, f.engine);
    f.client = engine_client_create_internal(f.engine);
    return &f;
}

/* ---- values ---- */

static const struct entry *peek(const struct fixture *f, const char *name) {
    const struct keyref key = keyspace_key(f->ks, slice_cstr(name));
    return keyspace_peek(f->ks, 0, &key);
}

static void check_value(const struct fixture *f, const struct entry *e) {
    if (e == NULL || entry_type(e) == VALUE_STRING)
        return;
    const struct collection c = collection_of(keyspace_rules(f->ks), e);
    switch (entry_type(e)) {
    case VALUE_LIST:
        list_check(&c);
        break;
    case VALUE_SET:
        set_check(&c);
        break;
    case VALUE_HASH:
        hash_check(&c);
        break;
    case VALUE_ZSET:
        sorted_set_check(&c);
        break;
    case VALUE_STREAM:
        stream_check(stream_of(&c));
        break;
    default:
        HF_ASSERT(false);
    }
}

static struct digest digest_of(const struct entry *e) {
    struct digest d;
    digest_init(&d);
    digest_value(&d, e);
    return d;
}

/* ---- commands: * is the key, d another one; the others are words, and these: v a value, i an index, n a count ---- */

static const char *const programs[][24] = {
    [VALUE_STRING] = {"append * v", "setrange * n v", "getrange * i i", "setbit * n 1", "bitcount * i i",
                      "bitfield * incrby u5 n 3", "incr *", "pfadd * v v", "pfcount *", "pfmerge d *",
                      "pfdebug todense *", "bitop not d *", "strlen *", "getdel *", "lcs * *"},
    [VALUE_LIST] = {"rpush * v v", "lpush * v", "lpop * n", "rpop * n", "lset * i v", "linsert * before v v",
                    "lrem * i v", "ltrim * i i", "lmove * * left right", "lmove * d right left", "lrange * 0 -1",
                    "lpos * v count 0", "lindex * i", "sort * alpha", "sort * alpha store d", "llen *"},
    [VALUE_SET] = {"sadd * v v v", "srem * v v", "spop * n", "srandmember * i", "smembers *", "sinterstore d * *",
                   "sdiffstore d * *", "sunionstore d * *", "smove * d v", "sscan * 0 count n", "sismember * v",
                   "sort * alpha limit 0 5", "sintercard 1 *"},
    [VALUE_ZSET] = {"zadd * 1 v 2 v",
                    "zadd * nan v",
                    "zincrby * 1.5 v",
                    "zrem * v v",
                    "zrange * i i withscores",
                    "zrange * (1 +inf byscore",
                    "zrangebylex * - +",
                    "zremrangebyrank * i i",
                    "zpopmin * n",
                    "zpopmax * n",
                    "zunionstore d 1 * weights 2",
                    "zrandmember * i withscores",
                    "zscan * 0",
                    "zrank * v",
                    "zcount * -inf +inf",
                    "zremrangebyscore * (0 1",
                    "zrangestore d * 0 -1",
                    "zlexcount * - +",
                    "zinterstore d 2 * *",
                    "sort * alpha"},
    [VALUE_HASH] = {"hset * v v v v", "hdel * v v", "hincrby * v 7", "hincrbyfloat * v 1.5", "hgetall *",
                    "hrandfield * i withvalues", "hscan * 0 count n", "hpexpire * 100000 fields 1 v",
                    "hpersist * fields 2 v v", "hpttl * fields 1 v", "hgetex * ex 100 fields 1 v",
                    "hsetex * ex 50 fields 1 v v", "hgetdel * fields 1 v", "hstrlen * v", "hmget * v v",
                    "hexpire * 0 fields 1 v"},
    [VALUE_STREAM] = {"xadd * * v v",
                      "xadd * maxlen ~ n * v v v v",
                      "xtrim * maxlen n",
                      "xtrim * maxlen ~ n delref",
                      "xrange * - +",
                      "xrevrange * + - count n",
                      "xgroup create * g 0",
                      "xgroup create * h $ entriesread 1",
                      "xreadgroup group g v count n streams * >",
                      "xreadgroup group h c streams * 0",
                      "xpending * g - + n",
                      "xpending * g",
                      "xinfo stream * full count 0",
                      "xinfo groups *",
                      "xinfo consumers * g",
                      "xautoclaim * g c 0 0-0 count n",
                      "xclaim * g c 0 1-1 force",
                      "xdel * 1-1",
                      "xgroup delconsumer * g v",
                      "xgroup destroy * h",
                      "xdelex * acked ids 1 1-1",
                      "xack * g 1-1",
                      "xsetid * 18446744073709551615-1"},
};
static const char *const common[] = {
    "copy * d replace", "rename d *", "memory usage * samples 0", "object encoding *", "pexpire * 100000",
    "dump *",           "type *"};

static struct slice word(struct rng *rng, struct slice w, char *buf, size_t cap) {
    static const char *const values[] = {
        "",
        "a",
        "f",
        "-1",
        "127",
        "70000",
        "9223372036854775807",
        "value",
        "1.5",
        "b",
        "a value of more than sixty-four bytes, which does not fit where the limits are the usual"};
    if (w.n != 1)
        return w;
    switch (w.p[0]) {
    case '*':
        return SLICE_LIT("k");
    case 'v':
        return slice_cstr(values[rng_below(rng, sizeof values / sizeof values[0])]);
    case 'i':
        return slice_of(buf, (size_t)snprintf(buf, cap, "%d", (int)rng_below(rng, 40) - 20));
    case 'n':
        return slice_of(buf, (size_t)snprintf(buf, cap, "%d", (int)rng_below(rng, 8)));
    default:
        return w;
    }
}

static void run(const struct fixture *f, struct rng *rng, const char *text) {
    struct slice argv[WORDS_MAX];
    char digits[WORDS_MAX][16];
    int argc = 0;
    struct buf error = BUF_INIT;
    for (const char *p = text; *p != '\0'; p += *p == ' ') {
        size_t n = strcspn(p, " ");
        /* The first word is the command; XADD's id stands for itself behind the key. */
        bool is_id = argc > 1 && n == 1 && *p == '*' && strncmp(text, "xadd", 4) == 0;
        argv[argc] = argc == 0 || is_id ? slice_of(p, n) : word(rng, slice_of(p, n), digits[argc], sizeof digits[argc]);
        argc++;
        p += n;
    }
    (void)!engine_apply(f->client, argv, argc, &error); /* an error is as good */
    buf_deinit(&error);
    check_value(f, peek(f, "k"));
    check_value(f, peek(f, "d"));
}

static void run_some(const struct fixture *f, struct rng *rng) {
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct entry *e = peek(f, "k");
        if (e == NULL)
            return;
        const char *const *of_type = programs[entry_type(e)];
        unsigned n = 0;
        while (n < 24 && of_type[n] != NULL)
            n++;
        run(f, rng,
            rng_below(rng, 6) == 0 ? common[rng_below(rng, sizeof common / sizeof common[0])]
                                   : of_type[rng_below(rng, n)]);
    }
    keyspace_check(f->ks);
}

/* ---- */

static void restore(struct slice payload, uint64_t seed) {
    struct fixture *f = fixture();
    struct value v, again;
    const char *text;
    struct buf dump = BUF_INIT;
    struct rng rng;
    keyspace_flush(f->ks, -1, false);
    struct rdb_load_context with = {.rules = keyspace_rules(f->ks), .deep = true, .now_ms = 1700000000000};
    if (rdb_restore_value(payload, &with, false, &v, &text) != 0) {
        HF_ASSERT(strcmp(text, RDB_RESTORE_BAD_FORMAT) == 0);
        return;
    }
    const struct keyref x = keyspace_key(f->ks, SLICE_LIT("k")), y = keyspace_key(f->ks, SLICE_LIT("again"));
    (void)keyspace_put(f->ks, 0, &x, v, KEYSPACE_NO_DEADLINE);
    check_value(f, peek(f, "k"));
    HF_ASSERT(rdb_dump_value(peek(f, "k"), RDB_VERSION_MAX, true, &dump) == 0);
    HF_ASSERT(rdb_restore_value(buf_slice(&dump), &with, false, &again, &text) == 0);
    (void)keyspace_put(f->ks, 0, &y, again, KEYSPACE_NO_DEADLINE);
    const struct entry *a = peek(f, "k"), *b = peek(f, "again");
    HF_ASSERT(entry_type(a) == entry_type(b));
    const struct digest d = digest_of(a), e = digest_of(b);
    HF_ASSERT(memcmp(d.bytes, e.bytes, sizeof d.bytes) == 0);
    check_value(f, b);
    rng_init(&rng, seed);
    run_some(f, &rng);
    loop_run_once(f->loop, 0);
    buf_deinit(&dump);
}

static void restore_shallow(struct slice payload) {
    struct fixture *f = fixture();
    struct value v;
    const char *text;
    const struct rdb_load_context with = {.rules = keyspace_rules(f->ks), .now_ms = 1700000000000};
    keyspace_flush(f->ks, -1, false);
    if (rdb_restore_value(payload, &with, false, &v, &text) != 0)
        return;
    const struct keyref x = keyspace_key(f->ks, SLICE_LIT("k"));
    (void)keyspace_put(f->ks, 0, &x, v, KEYSPACE_NO_DEADLINE);
}

static void walk(struct slice value, unsigned type) {
    for (unsigned deep = 0; deep < 2; deep++) {
        struct rdb_reader r;
        struct rdb_walk w;
        HF_ASSERT(rdb_reader_init_slice(&r, value, false) == 0);
        if (rdb_walk_value(&r, type, deep, &w) == 0)
            HF_ASSERT(w.bytes <= value.n);
        rdb_reader_deinit(&r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf payload = BUF_INIT;
    char footer[10];
    uint64_t elements;
    if (size < 1)
        return 0;
    buf_append(&payload, data, size);
    store_le16(footer, RDB_VERSION_MAX);
    buf_append(&payload, footer, 2);
    uint64_t crc = crc64(0, payload.data, payload.len);
    store_le64(footer + 2, crc);
    buf_append(&payload, footer + 2, 8);
    restore(buf_slice(&payload), crc);
    restore_shallow(buf_slice(&payload));
    buf_deinit(&payload);
    /* An allocation of its own, so that a read past its end is seen. */
    char *value = mem_alloc(size - 1);
    memcpy(value, data + 1, size - 1);
    walk(slice_of(value, size - 1), data[0]);
    if (data[0] < 26)
        (void)rdb_check_packed(data[0], slice_of(value, size - 1), &elements);
    mem_free(value);
    return 0;
}
