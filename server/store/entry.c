#include "config.h"

#include "server/store/entry.h"

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/store/entry_int.h"

/* The embedding limit. An embedded value costs one allocation and one cache miss; against it stands that the block is
 * copied whole when it changes its class. With values of 2000 bytes, a limit of 4 KiB takes a quarter off reading and
 * overwriting compared with one of 1 KiB (tests/bench/keyspace_bench); beyond 4 KiB copying the bytes is what the time
 * goes to. */

struct slice entry_key(const struct entry *e) {
    return entry_key_bytes(e);
}
enum value_type entry_type(const struct entry *e) {
    return entry_type_of(e);
}
enum value_encoding entry_encoding(const struct entry *e) {
    return entry_encoding_of(e);
}
int64_t entry_deadline_ms(const struct entry *e) {
    return entry_has_deadline(e) ? entry_deadline_value(e) : -1;
}

static struct slice embedded_bytes(const struct entry *e) {
    struct slice key = entry_key_bytes(e);
    return slice_of(key.p + key.n, e->value_len);
}

struct value entry_value(const struct entry *e) {
    struct value v = {.type = (uint8_t)entry_type_of(e), .encoding = (uint8_t)entry_encoding_of(e)};
    if (e->flags & ENTRY_INT) {
        v.repr = VALUE_REPR_INT;
        v.u.i = (int64_t)entry_word_value(e);
    } else if (e->flags & ENTRY_RBUF) {
        v.repr = VALUE_REPR_RBUF;
        v.u.rbuf = entry_pointer(e);
    } else if (e->flags & ENTRY_OBJECT) {
        v.repr = VALUE_REPR_OBJECT;
        v.u.object = entry_pointer(e);
    } else {
        v.repr = VALUE_REPR_BYTES;
        v.u.bytes = embedded_bytes(e);
    }
    return v;
}

struct slice entry_string(const struct entry *e, char scratch[24]) {
    if (!(e->flags & ENTRY_WORD))
        return embedded_bytes(e);
    if (e->flags & ENTRY_INT)
        return slice_of(scratch, num_format_i64(scratch, (int64_t)entry_word_value(e)));
    HF_ASSERT(e->flags & ENTRY_RBUF);
    const struct rbuf *r = entry_pointer(e);
    return slice_of(r->data, r->len);
}

size_t entry_string_len(const struct entry *e) {
    char scratch[24];
    return entry_string(e, scratch).n;
}

bool entry_string_is_int(const struct entry *e, int64_t *ret_i) {
    if (!(e->flags & ENTRY_INT))
        return false;
    *ret_i = (int64_t)entry_word_value(e);
    return true;
}

void *entry_object(const struct entry *e) {
    HF_ASSERT(e->flags & ENTRY_OBJECT);
    return entry_pointer(e);
}

uint32_t entry_idle_s(const struct entry *e, int64_t now_ms) {
    return (entry_lru_clock(now_ms) - entry_access(e)) & 0xffffffu;
}

uint8_t entry_lfu_counter(const struct entry *e, int64_t now_ms, int decay_time_min) {
    uint32_t access = entry_access(e);
    uint32_t counter = access & 0xffu;
    if (decay_time_min <= 0)
        return (uint8_t)counter;
    uint32_t minutes = ((uint32_t)(now_ms / 60000) - (access >> 8)) & 0xffffu;
    uint32_t periods = minutes / (uint32_t)decay_time_min;
    return periods > counter ? 0 : (uint8_t)(counter - periods);
}

size_t entry_memory_bytes(const struct entry *e, size_t samples) {
    size_t n = mem_usable_size(e);
    return entry_owns(e) ? n + value_memory_bytes(entry_owned(e), samples) : n;
}

/* ---- making and changing ---- */

static struct entry_shape shape_for(struct value v, int64_t deadline_ms) {
    struct entry_shape s = {.flags = deadline_ms != -1 ? ENTRY_DEADLINE : 0, .value_len = 0};
    if (v.repr == VALUE_REPR_BYTES) {
        s.value_len = v.u.bytes.n;
        return s;
    }
    s.flags |= ENTRY_WORD;
    s.flags |= v.repr == VALUE_REPR_INT ? ENTRY_INT : v.repr == VALUE_REPR_RBUF ? ENTRY_RBUF : ENTRY_OBJECT;
    return s;
}

struct value entry_normalise(size_t key_len, bool deadline, struct value v, struct rbuf **ret_release) {
    *ret_release = NULL;
    if (v.repr != VALUE_REPR_BYTES && v.repr != VALUE_REPR_RBUF)
        return v;
    struct slice bytes = v.repr == VALUE_REPR_BYTES ? v.u.bytes : slice_of(v.u.rbuf->data, v.u.rbuf->len);
    struct entry_shape s = {.flags = deadline ? ENTRY_DEADLINE : 0, .value_len = bytes.n};
    if (bytes.n <= ENTRY_EMBED_MAX && entry_shape_size(key_len, s) <= ENTRY_EMBED_MAX) {
        if (v.repr == VALUE_REPR_RBUF)
            *ret_release = v.u.rbuf;
        v.repr = VALUE_REPR_BYTES;
        v.u.bytes = bytes;
    } else if (v.repr == VALUE_REPR_BYTES) {
        struct rbuf *r = rbuf_create(bytes.n);
        memcpy(r->data, bytes.p, bytes.n);
        r->len = bytes.n;
        v.repr = VALUE_REPR_RBUF;
        v.u.rbuf = r;
    }
    return v;
}

/* Writes everything but the access clock; key may be where it already is. The value's bytes may lie where they go, but
 * not under the header or the key. */
static void write_entry(struct entry *e, struct slice key, struct value v, struct entry_shape s, int64_t deadline_ms) {
    unsigned char *p = e->rest + 8u * (s.flags & ENTRY_DEADLINE) + 4u * (s.flags & ENTRY_WORD);
    if (key.n >= ENTRY_LONG_KEY)
        p += sizeof(uint32_t);
    if ((const char *)p != key.p)
        memmove(p, key.p, key.n);
    if (key.n >= ENTRY_LONG_KEY) {
        uint32_t n = (uint32_t)key.n;
        memcpy(p - sizeof n, &n, sizeof n);
    }
    e->key_len = key.n >= ENTRY_LONG_KEY ? ENTRY_LONG_KEY : (uint8_t)key.n;
    e->flags = s.flags;
    e->value_len = (uint16_t)s.value_len;
    entry_set_kind(e, v.type, v.encoding);
    if (s.flags & ENTRY_DEADLINE)
        entry_deadline_store(e, deadline_ms);
    if (v.repr == VALUE_REPR_INT)
        entry_word_store(e, (uint64_t)v.u.i);
    else if (v.repr == VALUE_REPR_RBUF)
        entry_word_store(e, (uint64_t)(uintptr_t)v.u.rbuf);
    else if (v.repr == VALUE_REPR_OBJECT)
        entry_word_store(e, (uint64_t)(uintptr_t)v.u.object);
    else if (s.value_len != 0)
        memmove(p + key.n, v.u.bytes.p, s.value_len);
}

struct entry *entry_create(struct slice key, struct value v, int64_t deadline_ms) {
    HF_ASSERT(key.n <= UINT32_MAX);
    struct entry_shape s = shape_for(v, deadline_ms);
    HF_ASSERT(s.value_len <= ENTRY_EMBED_MAX);
    struct entry *e = mem_alloc(entry_class(entry_shape_size(key.n, s)));
    e->word = 0;
    write_entry(e, key, v, s, deadline_ms);
    return e;
}

bool entry_rewrite(struct entry *e, struct value v, int64_t deadline_ms) {
    struct entry_shape s = shape_for(v, deadline_ms);
    struct slice key = entry_key_bytes(e);
    size_t block = entry_block_size(e);
    if (entry_class(entry_shape_size(key.n, s)) != block)
        return false;
    bool key_stays = ((s.flags ^ e->flags) & (ENTRY_DEADLINE | ENTRY_WORD)) == 0;
    if (!key_stays && v.repr == VALUE_REPR_BYTES) {
        uintptr_t p = (uintptr_t)v.u.bytes.p, block_p = (uintptr_t)e;
        if (p < block_p + block && p + v.u.bytes.n > block_p)
            return false;
    }
    write_entry(e, key, v, s, deadline_ms);
    return true;
}

bool entry_toggle_deadline(struct entry *e, int64_t deadline_ms) {
    struct entry_shape was = entry_shape_of(e), now = was;
    size_t key_len = entry_key_bytes(e).n;
    now.flags ^= ENTRY_DEADLINE;
    HF_ASSERT(!(now.flags & ENTRY_DEADLINE) == (deadline_ms == -1));
    if (entry_class(entry_shape_size(key_len, now)) != entry_class(entry_shape_size(key_len, was)))
        return false;
    if (deadline_ms == -1) {
        memmove(e->rest, e->rest + sizeof deadline_ms, entry_shape_size(key_len, now) - sizeof *e);
        e->flags = now.flags;
    } else {
        memmove(e->rest + sizeof deadline_ms, e->rest, entry_shape_size(key_len, was) - sizeof *e);
        e->flags = now.flags;
        entry_deadline_store(e, deadline_ms);
    }
    return true;
}

struct entry *entry_create_resized(const struct entry *e, struct slice bytes, size_t len) {
    struct slice key = entry_key_bytes(e);
    struct entry_shape s = {.flags = e->flags & ENTRY_DEADLINE, .value_len = len};
    HF_ASSERT(len <= ENTRY_EMBED_MAX);
    struct entry *now = mem_alloc(entry_class(entry_shape_size(key.n, s)));
    size_t kept = bytes.n < len ? bytes.n : len;
    now->word = e->word;
    struct entry_shape kept_shape = {.flags = s.flags, .value_len = kept};
    write_entry(now, key, value_string_raw(slice_of(bytes.p, kept)), kept_shape, entry_deadline_ms(e));
    now->value_len = (uint16_t)len;
    memset((char *)(uintptr_t)embedded_bytes(now).p + kept, 0, len - kept);
    return now;
}

void entry_free_block(struct entry *e) {
    mem_free_sized(e, entry_block_size(e));
}

void entry_check(const struct entry *e) {
    const unsigned kinds = e->flags & (ENTRY_INT | ENTRY_RBUF | ENTRY_OBJECT);
    HF_ASSERT((e->flags & ~(ENTRY_DEADLINE | ENTRY_WORD | ENTRY_INT | ENTRY_RBUF | ENTRY_OBJECT)) == 0);
    HF_ASSERT((kinds & (kinds - 1)) == 0);
    HF_ASSERT(!(e->flags & ENTRY_WORD) == (kinds == 0));
    HF_ASSERT(entry_type_of(e) < VALUE_TYPES && entry_encoding_of(e) < VALUE_ENCODINGS);
    HF_ASSERT((entry_type_of(e) == VALUE_STRING) == !(e->flags & ENTRY_OBJECT));
    HF_ASSERT(!(e->flags & ENTRY_INT) == (entry_encoding_of(e) != VALUE_ENC_INT));
    HF_ASSERT(entry_has_deadline(e) ? entry_deadline_value(e) >= 0 : 1);
    HF_ASSERT(mem_usable_size(e) >= entry_block_size(e));
    HF_ASSERT((e->key_len == ENTRY_LONG_KEY) == (entry_key_bytes(e).n >= ENTRY_LONG_KEY));
    if (e->flags & (ENTRY_RBUF | ENTRY_OBJECT))
        HF_ASSERT(entry_pointer(e) != NULL);
}
