/* A stream's value as snapshots have it, read and then changed in every way: what is accepted is sound and stays so,
 * and is saved and read again as the same. The first byte picks the type, the last ones what is done. */
#include "config.h"

#include <stdint.h>

#include "persistence/rdb/codec.h"
#include "server/base/assert.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/store/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int load(unsigned type, struct slice body, struct stream **ret_stream) {
    struct rdb_reader r;
    struct value v;
    struct collection_rules rules = {0};
    collection_limits_default(&rules.limits);
    const struct rdb_load_context with = {.rules = &rules, .deep = true, .now_ms = 1700000000000};
    HF_ASSERT(rdb_reader_init_slice(&r, body, false) == 0);
    int err = rdb_stream_codec.load(&r, type, &with, &v);
    rdb_reader_deinit(&r);
    if (err == 0)
        *ret_stream = v.u.object;
    return err;
}

static struct stream_id some_id(const struct stream *s, struct rng *rng) {
    struct stream_id id = s->first_id, last = s->last_id;
    switch (rng_below(rng, 4)) {
    case 0:
        return id;
    case 1:
        return last;
    case 2:
        return (struct stream_id){id.ms + rng_below(rng, 3), rng_below(rng, 4)};
    default:
        return (struct stream_id){rng_u64(rng), rng_u64(rng)};
    }
}

static void walk(const struct stream *s, bool reverse) {
    struct stream_iter it;
    struct stream_id id, before = reverse ? STREAM_ID_MAX : STREAM_ID_MIN;
    uint64_t fields, n = 0;
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, reverse);
    while (stream_iter_next(&it, &id, &fields)) {
        int order = stream_id_compare(before, id);
        HF_ASSERT(n == 0 || (reverse ? order > 0 : order < 0));
        before = id;
        for (uint64_t i = 0; i < fields; i++) {
            struct packed_item field, value;
            stream_iter_field(&it, &field, &value);
        }
        n++;
    }
    HF_ASSERT(n == s->length);
}

static void change_group(struct stream *s, struct rng *rng) {
    struct stream_group *g = stream_group_at(s, rng_below(rng, s->groups.count));
    struct stream_id id = some_id(s, rng);
    (void)stream_consumer_create(g, SLICE_LIT("fuzz"), 1);
    struct stream_consumer *c = stream_consumer_at(g, rng_below(rng, g->consumers.count));
    switch (rng_below(rng, 5)) {
    case 0:
        (void)stream_pending_give(s, g, c, id);
        break;
    case 1:
        (void)stream_pending_remove(s, g, id);
        break;
    case 2:
        stream_consumer_destroy(s, g, c);
        break;
    case 3:
        stream_group_advance(s, g, id);
        break;
    default:
        stream_group_destroy(s, g);
    }
}

static void change(struct stream *s, struct rng *rng) {
    static const struct slice pairs[4] = {SLICE_LIT("f"), SLICE_LIT("12"), SLICE_LIT(""), SLICE_LIT("text")};
    struct collection_limits limits;
    struct stream_id id;
    struct stream_trim t = {.by_id = rng_below(rng, 2) == 0, .approximate = rng_below(rng, 2) == 0};
    collection_limits_default(&limits);
    switch (rng_below(rng, 6)) {
    case 0:
    case 1:
        if (stream_next_id(s, 5, &id))
            HF_ASSERT(stream_append(s, &limits, id, pairs, 1 + rng_below(rng, 2)) == 0);
        break;
    case 2:
        id = some_id(s, rng);
        HF_ASSERT(stream_contains(s, id) == stream_delete(s, id));
        break;
    case 3:
        t.refs = (enum stream_refs)rng_below(rng, 3);
        t.min_id = some_id(s, rng);
        t.max_length = rng_below(rng, s->length + 2);
        (void)stream_trim(s, &t);
        break;
    case 4:
        (void)stream_group_create(s, SLICE_LIT("fuzz"), some_id(s, rng), 0);
        break;
    default:
        if (s->groups.count != 0)
            change_group(s, rng);
    }
}

static void save_and_load(const struct stream *s) {
    struct buf out = BUF_INIT;
    struct keyspace_options o = {.databases = 1, .rng_seed = 7};
    hash_key_init(&o.hash_key, "seed", 4);
    struct keyspace *ks = keyspace_create(&o);
    const struct keyref key = keyspace_key(ks, SLICE_LIT("x"));
    struct value v = {.type = VALUE_STREAM, .encoding = VALUE_ENC_STREAM, .repr = VALUE_REPR_OBJECT};
    struct stream *again;
    v.u.object = stream_copy(s);
    const struct entry *e = keyspace_put(ks, 0, &key, v, KEYSPACE_NO_DEADLINE);
    for (unsigned version = RDB_VERSION_MIN; version <= RDB_VERSION_MAX; version++) {
        struct rdb_writer w;
        buf_clear(&out);
        rdb_writer_init_buf(&w, &out, RDB_CODEC_NONE);
        rdb_stream_codec.save(&w, e, version, version == 10);
        HF_ASSERT(rdb_writer_finish(&w) == 0);
        rdb_writer_deinit(&w);
        HF_ASSERT(load(rdb_stream_codec.wire_type(e, version), buf_slice(&out), &again) == 0);
        stream_check(again);
        HF_ASSERT(again->length == s->length && again->groups.count == s->groups.count);
        HF_ASSERT(stream_id_compare(again->last_id, s->last_id) == 0);
        stream_destroy(again);
    }
    keyspace_destroy(ks);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const unsigned types[3] = {RDB_TYPE_STREAM_LISTPACKS, RDB_TYPE_STREAM_LISTPACKS_2,
                                      RDB_TYPE_STREAM_LISTPACKS_3};
    struct stream *s;
    struct rng rng;
    if (size < 1)
        return 0;
    char *body = mem_alloc(size); /* of its own, so that a read past its end is seen */
    memcpy(body, data + 1, size - 1);
    int err = load(types[data[0] % 3], slice_of(body, size - 1), &s);
    mem_free(body);
    if (err != 0)
        return 0;
    stream_check(s);
    walk(s, false);
    walk(s, true);
    (void)stream_memory_bytes(s, 5);
    (void)id_tree_radix_nodes(&s->nodes);
    rng_init(&rng, hash_xxh3(data, size));
    for (int i = 0; i < 24; i++) {
        change(s, &rng);
        stream_check(s);
    }
    walk(s, true);
    save_and_load(s);
    stream_destroy(s);
    return 0;
}
