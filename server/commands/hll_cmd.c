/* HyperLogLogs, which are strings: PFADD PFCOUNT PFMERGE PFDEBUG PFSELFTEST.
 *
 * PFCOUNT of one key keeps its estimate in the value, as other programs do, and so is propagated when it made a new
 * one: copies stay equal byte by byte. */
#include "config.h"

#include "server/base/buf.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/ds/hll.h"
#include "server/engine/call.h"

#define ERROR_FOREIGN "WRONGTYPE Key is not a valid HyperLogLog string value."
#define ERROR_MEMORY "ERR not enough memory for a string of this size"
#define ERROR_CORRUPT "INVALIDOBJ Corrupted HLL object detected"

/* ---- finding and storing ---- */

/* A key's value and what it is. */
struct found {
    struct entry *e; /* NULL: not there */
    struct slice object;
    enum hll_kind kind;
    char scratch[24];
};

/* False where an error was replied: for a corrupt one nothing is, yet. */
static bool tell_kind(struct call *c, struct entry *e, struct found *f) {
    f->e = e;
    if (e == NULL)
        return true;
    if (entry_type(e) != VALUE_STRING) {
        call_error_wrong_type(c);
        return false;
    }
    f->object = entry_string(e, f->scratch);
    f->kind = hll_kind_of(f->object);
    if (f->kind == HLL_FOREIGN)
        call_error(c, ERROR_FOREIGN);
    return f->kind != HLL_FOREIGN;
}

/* False with an error replied. */
static bool is_sound(struct call *c, const struct found *f) {
    if (f->e == NULL || f->kind != HLL_CORRUPT)
        return true;
    call_error(c, ERROR_CORRUPT);
    return false;
}

/* False where an error was replied. */
static bool look_at(struct call *c, struct entry *e, struct found *f) {
    return tell_kind(c, e, f) && is_sound(c, f);
}

static size_t sparse_max(const struct call *c) {
    int64_t max = keyspace_rules(c->ks)->limits.hll_sparse_max_bytes;
    return max > 0 ? (size_t)max : 0;
}

/* The bytes of a value for writing, n of them. NULL with an error replied. */
static unsigned char *writable(struct call *c, const struct keyref *key, struct entry *e, size_t n) {
    char *bytes;
    if (keyspace_string_writable(c->ks, c->db, key, &e, n, &bytes) == 0)
        return (unsigned char *)bytes;
    call_error(c, ERROR_MEMORY);
    return NULL;
}

/* A value that may be changed is raw from then on, as if it were: that shows in OBJECT ENCODING. False with an error
 * replied. */
static bool make_raw(struct call *c, const struct keyref *key, struct found *f) {
    if (f->e == NULL || entry_encoding(f->e) == VALUE_ENC_RAW)
        return true;
    char *bytes;
    if (keyspace_string_writable(c->ks, c->db, key, &f->e, f->object.n, &bytes) != 0) {
        call_error(c, ERROR_MEMORY);
        return false;
    }
    f->object.p = bytes;
    return true;
}

static bool look_at_raw(struct call *c, const struct keyref *key, struct entry *e, struct found *f) {
    return look_at(c, e, f) && make_raw(c, key, f);
}

/* Puts an object in the place of the value of e, or under a new key. False with an error replied. */
static bool store(struct call *c, const struct keyref *key, struct entry *e, const struct hll_edit *h) {
    const struct slice object = hll_edit_object(h);
    if (e == NULL) {
        (void)keyspace_put(c->ks, c->db, key, value_string_raw(object), KEYSPACE_NO_DEADLINE);
        return true;
    }
    unsigned char *bytes = writable(c, key, e, object.n);
    if (bytes != NULL)
        memcpy(bytes, object.p, object.n);
    return bytes != NULL;
}

/* A change that has no event of its own. */
static void changed_quietly(struct call *c, const struct keyref *key) {
    call_changed(c, key, (enum notify_class)0, "");
}

/* ---- PFADD ---- */

/* Dense values change in place, and are not touched where nothing is higher. False with an error replied. */
static bool add_to_dense(struct call *c, const struct keyref *key, const struct found *f, bool *ret_raised) {
    unsigned char *bytes = NULL;
    for (int i = 2; i < c->argc; i++) {
        struct hll_place place = hll_place_of(c->argv[i]);
        const unsigned char *now = bytes != NULL ? bytes : (const unsigned char *)f->object.p;
        if (hll_dense_get(now, place.index) >= place.rank)
            continue;
        if (bytes == NULL && (bytes = writable(c, key, f->e, HLL_DENSE_BYTES)) == NULL)
            return false;
        hll_dense_set(bytes, place.index, place.rank);
    }
    *ret_raised = bytes != NULL;
    if (bytes != NULL)
        hll_forget_count(bytes);
    return true;
}

static bool add_to_sparse(struct call *c, const struct keyref *key, const struct found *f, bool *ret_raised) {
    struct hll_edit h;
    const size_t max = sparse_max(c);
    bool raised = f->e == NULL;
    if (f->e == NULL)
        hll_edit_create(&h);
    else
        hll_edit_load(&h, f->object);
    for (int i = 2; i < c->argc; i++)
        raised |= hll_edit_raise(&h, hll_place_of(c->argv[i]), max);
    *ret_raised = raised;
    if (!raised)
        return true;
    hll_forget_count(h.bytes);
    return store(c, key, f->e, &h);
}

static void pfadd_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct found f;
    bool raised;
    if (!look_at_raw(c, &key, call_find_write(c, &key), &f))
        return;
    if (f.e != NULL && f.kind == HLL_DENSE ? !add_to_dense(c, &key, &f, &raised) : !add_to_sparse(c, &key, &f, &raised))
        return;
    if (raised)
        call_changed(c, &key, NOTIFY_STRING, "pfadd");
    resp_int(c->w, raised);
}

/* ---- PFCOUNT ---- */

static void count_one(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct found f;
    uint64_t count;
    if (!look_at_raw(c, &key, call_find_read(c, &key), &f))
        return;
    if (f.e == NULL) {
        resp_int(c->w, 0);
        return;
    }
    if (!hll_kept_count(f.object, &count)) {
        count = hll_count(f.object);
        unsigned char *bytes = writable(c, &key, f.e, f.object.n);
        if (bytes == NULL)
            return;
        hll_keep_count(bytes, count);
        changed_quietly(c, &key);
    }
    resp_int(c->w, (int64_t)count);
}

/* Merges the values of the keys from argument 1 on. False with an error replied. */
static bool merge_all(struct call *c, uint8_t registers[static HLL_REGISTERS], bool *ret_dense) {
    memset(registers, 0, HLL_REGISTERS);
    *ret_dense = false;
    for (int i = 1; i < c->argc; i++) {
        struct keyref key = call_key(c, i);
        struct found f;
        if (!look_at(c, call_find_read(c, &key), &f))
            return false;
        if (f.e == NULL)
            continue;
        *ret_dense |= f.kind == HLL_DENSE;
        hll_merge(registers, f.object);
    }
    return true;
}

static void pfcount_run(struct call *c) {
    uint8_t registers[HLL_REGISTERS];
    bool dense;
    if (c->argc == 2)
        count_one(c);
    else if (merge_all(c, registers, &dense))
        resp_int(c->w, (int64_t)hll_count_registers(registers));
}

/* ---- PFMERGE ---- */

static void pfmerge_run(struct call *c) {
    uint8_t registers[HLL_REGISTERS];
    bool dense;
    struct found f;
    struct hll_edit h;
    if (!merge_all(c, registers, &dense))
        return;
    struct keyref key = call_key(c, 1);
    if (!look_at(c, call_find_write(c, &key), &f))
        return;
    if (f.e == NULL)
        hll_edit_create(&h);
    else
        hll_edit_load(&h, f.object);
    if (dense && !hll_edit_is_dense(&h))
        hll_edit_make_dense(&h);
    hll_edit_raise_all(&h, registers, sparse_max(c));
    hll_forget_count(h.bytes);
    if (!store(c, &key, f.e, &h))
        return;
    call_changed(c, &key, NOTIFY_STRING, "pfadd");
    resp_ok(c->w);
}

/* ---- PFDEBUG ---- */

/* Makes the value dense. False with an error replied. */
static bool make_dense(struct call *c, const struct keyref *key, const struct found *f, struct hll_edit *h) {
    hll_edit_load(h, f->object);
    hll_edit_make_dense(h);
    if (!store(c, key, f->e, h))
        return false;
    changed_quietly(c, key);
    return true;
}

static void debug_registers(struct call *c, const struct keyref *key, const struct found *f) {
    struct hll_edit h;
    const unsigned char *object = (const unsigned char *)f->object.p;
    if (f->kind == HLL_SPARSE) {
        if (!make_dense(c, key, f, &h))
            return;
        object = h.bytes;
    }
    resp_array(c->w, HLL_REGISTERS);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++)
        resp_int(c->w, hll_dense_get(object, i));
}

static void debug_decode(struct call *c, const struct found *f) {
    if (f->kind != HLL_SPARSE) {
        call_error(c, "ERR HLL encoding is not sparse");
        return;
    }
    struct buf text = BUF_INIT;
    const char *p = f->object.p + HLL_HEADER_BYTES, *end = f->object.p + f->object.n;
    while (p != end) {
        struct hll_run run = hll_run_at((const unsigned char *)p);
        p += run.bytes;
        if (text.len != 0)
            buf_append_char(&text, ' ');
        if (run.rank != 0)
            buf_printf(&text, "v:%u,%u", run.rank, (unsigned)run.length);
        else
            buf_printf(&text, "%c:%u", run.bytes == 1 ? 'z' : 'Z', (unsigned)run.length);
    }
    resp_bulk(c->w, buf_slice(&text));
    buf_deinit(&text);
}

static void pfdebug_run(struct call *c) {
    struct keyref key = call_key(c, 2);
    struct entry *e = call_find_write(c, &key);
    struct found f;
    struct hll_edit h;
    if (e == NULL) {
        call_error(c, "ERR The specified key does not exist");
        return;
    }
    if (!tell_kind(c, e, &f) || !make_raw(c, &key, &f))
        return;
    if (slice_is(c->argv[1], "encoding"))
        resp_simple(c->w, f.kind == HLL_DENSE ? "dense" : "sparse");
    else if (!slice_is(c->argv[1], "getreg") && !slice_is(c->argv[1], "decode") && !slice_is(c->argv[1], "todense"))
        call_errorf(c, "ERR Unknown PFDEBUG subcommand '%.*s'", (int)c->argv[1].n, c->argv[1].p);
    else if (!is_sound(c, &f))
        return;
    else if (slice_is(c->argv[1], "getreg"))
        debug_registers(c, &key, &f);
    else if (slice_is(c->argv[1], "decode"))
        debug_decode(c, &f);
    else if (f.kind == HLL_DENSE || make_dense(c, &key, &f, &h))
        resp_int(c->w, f.kind == HLL_SPARSE);
}

/* ---- PFSELFTEST ---- */

/* Random registers go into a dense object and come out by each of the ways there are. */
static const char *test_registers(struct rng *rng) {
    struct hll_edit h;
    uint8_t want[HLL_REGISTERS], fast[HLL_REGISTERS] = {0}, portable[HLL_REGISTERS] = {0};
    hll_edit_create(&h);
    hll_edit_make_dense(&h);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        want[i] = (uint8_t)rng_below(rng, 64);
        hll_dense_set(h.bytes, i, want[i]);
    }
    for (uint32_t i = 0; i < HLL_REGISTERS; i++)
        if (hll_dense_get(h.bytes, i) != want[i])
            return "TESTFAILED A register does not hold what was put into it";
    hll_merge(fast, hll_edit_object(&h));
    hll_merge_dense_portable(portable, h.bytes);
    if (memcmp(fast, want, sizeof want) != 0 || memcmp(portable, want, sizeof want) != 0)
        return "TESTFAILED Registers are not unpacked as they were packed";
    return NULL;
}

#define TEST_ELEMENTS 1000000u
/* Times the standard error of 1.04 / √16384, at 0.8 %. */
#define TEST_ERRORS_MAX 5.0

/* The two forms agree, and the estimates are as near as they should be. */
static const char *test_estimates(uint64_t seed) {
    struct hll_edit *sparse = mem_alloc(2 * sizeof *sparse), *dense = sparse + 1;
    const char *why = NULL;
    hll_edit_create(sparse);
    hll_edit_create(dense);
    hll_edit_make_dense(dense);
    for (uint64_t i = 1, next = 1; i <= TEST_ELEMENTS && why == NULL; i++) {
        const uint64_t element[2] = {seed, i};
        struct hll_place place = hll_place_of(slice_of(element, sizeof element));
        bool raised = hll_edit_raise(sparse, place, HLL_DENSE_BYTES);
        if (raised != hll_edit_raise(dense, place, 0))
            why = "TESTFAILED The two forms do not agree on what is new";
        if (i != next)
            continue;
        next *= 10;
        uint64_t count = hll_count(hll_edit_object(dense));
        double off = (double)count - (double)i, allowed = 0.0081 * TEST_ERRORS_MAX * (double)i;
        if (count != hll_count(hll_edit_object(sparse)))
            why = "TESTFAILED The two forms give other estimates";
        else if ((off < 0 ? -off : off) > allowed + (i == 10 ? 1 : 0))
            why = "TESTFAILED An estimate is too far off";
    }
    mem_free(sparse);
    return why;
}

static void pfselftest_run(struct call *c) {
    uint64_t seed;
    struct rng rng;
    rng_entropy(&seed, sizeof seed);
    rng_init(&rng, seed);
    const char *why = test_registers(&rng);
    if (why == NULL)
        why = test_estimates(seed);
    if (why != NULL)
        call_error(c, why);
    else
        resp_ok(c->w);
}

static const struct command rows[] = {
    {.name = "pfadd",
     .group = "hyperloglog",
     .since = "2.8.9",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
     .acl = ACL_HYPERLOGLOG,
     .keys = {ROW_KEY(KEY_RW | KEY_INSERT)},
     .run = pfadd_run},
    {.name = "pfcount",
     .group = "hyperloglog",
     .since = "2.8.9",
     .arity = -2,
     .flags = COMMAND_READONLY | COMMAND_MAY_REPLICATE,
     .acl = ACL_HYPERLOGLOG,
     .keys = {ROW_KEYS(KEY_RW | KEY_ACCESS, 1, -1, 1)},
     .run = pfcount_run},
    {.name = "pfmerge",
     .group = "hyperloglog",
     .since = "2.8.9",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_HYPERLOGLOG,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_INSERT), ROW_KEYS(KEY_RO | KEY_ACCESS, 2, -1, 1)},
     .run = pfmerge_run},
    {.name = "pfdebug",
     .group = "hyperloglog",
     .since = "2.8.9",
     .arity = 3,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_ADMIN,
     .acl = ACL_HYPERLOGLOG,
     .keys = {ROW_KEYS(KEY_RW | KEY_ACCESS, 2, 0, 1)},
     .run = pfdebug_run},
    {.name = "pfselftest",
     .group = "hyperloglog",
     .since = "2.8.9",
     .arity = 1,
     .flags = COMMAND_ADMIN,
     .acl = ACL_HYPERLOGLOG,
     .run = pfselftest_run},
};

void hll_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
