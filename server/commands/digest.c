#include "config.h"

#include "server/commands/digest.h"

#include <string.h>

#include "server/base/assert.h"
#include "server/base/hash.h"
#include "server/base/num.h"
#include "server/store/list.h"
#include "server/store/set.h"
#include "server/store/sorted_set.h"
#include "server/store/stream.h"

void digest_init(struct digest *d) {
    memset(d->bytes, 0, sizeof d->bytes);
}

void digest_xor(struct digest *d, struct slice s) {
    uint8_t sha[20];
    hash_sha1(s.p, s.n, sha);
    for (size_t i = 0; i < sizeof sha; i++)
        d->bytes[i] ^= sha[i];
}

void digest_mix(struct digest *d, struct slice s) {
    uint8_t sha[20];
    digest_xor(d, s);
    hash_sha1(d->bytes, sizeof d->bytes, sha);
    memcpy(d->bytes, sha, sizeof sha);
}

void digest_xor_item(struct digest *d, const struct packed_item *item) {
    char digits[NUM_I64_CHARS];
    digest_xor(d, packed_text(item, digits));
}

void digest_mix_item(struct digest *d, const struct packed_item *item) {
    char digits[NUM_I64_CHARS];
    digest_mix(d, packed_text(item, digits));
}

static void mix_u32(struct digest *d, uint32_t v) {
    const uint8_t be[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    digest_mix(d, slice_of(be, sizeof be));
}

static void mix_string(struct digest *d, const struct entry *e) {
    char scratch[24];
    digest_mix(d, entry_string(e, scratch));
}

static int xor_member(void *arg, const struct packed_item *member) {
    digest_xor_item(arg, member);
    return 0;
}

static void mix_set(struct digest *d, const struct entry *e) {
    const struct collection s = collection_of(NULL, e);
    (void)set_each(&s, xor_member, d);
}

static int mix_element(void *arg, const struct packed_item *v) {
    digest_mix_item(arg, v);
    return 0;
}

static void mix_list(struct digest *d, const struct entry *e) {
    const struct collection l = collection_of(NULL, e);
    (void)list_each(&l, 0, SIZE_MAX, mix_element, d);
}

/* One member: its bytes and the text of its score in that order, all members in any order. */
static int mix_member(void *arg, const struct packed_item *member, double score) {
    struct digest pair;
    char text[NUM_DOUBLE_CHARS];
    digest_init(&pair);
    digest_mix_item(&pair, member);
    digest_mix(&pair, slice_of(text, num_format_double(text, score)));
    digest_xor(arg, slice_of(pair.bytes, sizeof pair.bytes));
    return 0;
}

static void mix_zset(struct digest *d, const struct entry *e) {
    const struct collection z = collection_of(NULL, e);
    (void)sorted_set_each(&z, 0, sorted_set_count(&z), false, mix_member, d);
}

static void mix_stream(struct digest *d, const struct entry *e) {
    struct stream_iter it;
    struct stream_id id;
    uint64_t fields;
    stream_iter_init(&it, entry_object(e), STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_iter_next(&it, &id, &fields)) {
        char text[2 * NUM_I64_CHARS];
        size_t n = num_format_u64(text, id.ms);
        text[n++] = '.';
        digest_mix(d, slice_of(text, n + num_format_u64(text + n, id.seq)));
        for (; fields > 0; fields--) {
            struct packed_item field, value;
            stream_iter_field(&it, &field, &value);
            digest_mix_item(d, &field);
            digest_mix_item(d, &value);
        }
    }
}

/* How a value of each type is mixed. */
static void (*const mixers[VALUE_TYPES])(struct digest *d, const struct entry *e) = {
    [VALUE_STRING] = mix_string, [VALUE_HASH] = digest_mix_hash, [VALUE_SET] = mix_set,
    [VALUE_LIST] = mix_list,     [VALUE_ZSET] = mix_zset,        [VALUE_STREAM] = mix_stream,
};

/* Numbers of the types in the digest. */
static uint32_t type_number(enum value_type type) {
    return type == VALUE_STREAM ? 6 : (uint32_t)type;
}

void digest_value(struct digest *d, const struct entry *e) {
    mix_u32(d, type_number(entry_type(e)));
    HF_ASSERT(mixers[entry_type(e)] != NULL);
    mixers[entry_type(e)](d, e);
    if (entry_deadline_ms(e) >= 0)
        digest_xor(d, SLICE_LIT("!!expire!!"));
}

static int add_key(void *arg, const struct entry *e) {
    struct digest key;
    digest_init(&key);
    digest_mix(&key, entry_key(e));
    digest_value(&key, e);
    digest_xor(arg, slice_of(key.bytes, sizeof key.bytes));
    return 0;
}

void digest_keyspace(const struct keyspace *ks, struct digest *ret_digest) {
    digest_init(ret_digest);
    for (unsigned db = 0; db < keyspace_databases(ks); db++) {
        if (keyspace_size(ks, db) == 0)
            continue;
        mix_u32(ret_digest, db);
        int stopped = keyspace_each(ks, db, add_key, ret_digest);
        HF_ASSERT(stopped == 0);
    }
}

void digest_hex(const struct digest *d, char dst[41]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof d->bytes; i++) {
        dst[2 * i] = digits[d->bytes[i] >> 4];
        dst[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    dst[40] = '\0';
}
