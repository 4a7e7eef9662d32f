/* Sorted sets: a listpack (17) or members with binary scores (5); read also with scores as text (3) and as a ziplist
 * (12).
 *
 * What is read is checked in full whatever the context says: members in ascending order are what the store trusts in a
 * listpack, and one pass shows that together with the rest. Members that come one by one may come in any order. */
#include "config.h"

#include "persistence/rdb/codec.h"

#include <math.h>

#include "server/base/assert.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/listpack.h"
#include "server/ds/packed_legacy.h"
#include "server/store/small.h"
#include "server/store/sorted_set.h"

/* ---- saving ---- */

static unsigned zset_min_version(const struct entry *e) {
    return entry_encoding(e) == VALUE_ENC_LISTPACK ? 10 : 8;
}

static uint8_t zset_wire_type(const struct entry *e, unsigned version) {
    (void)version;
    return entry_encoding(e) == VALUE_ENC_LISTPACK ? RDB_TYPE_ZSET_LISTPACK : RDB_TYPE_ZSET_2;
}

static void zset_save(struct rdb_writer *w, const struct entry *e, unsigned version, bool compress) {
    (void)version;
    if (entry_encoding(e) == VALUE_ENC_LISTPACK) {
        rdb_write_blob(w, listpack_slice(entry_object(e)), compress);
        return;
    }
    const struct ordered_tree *t = zset_tree(entry_object(e));
    rdb_write_len(w, t->used);
    /* From the highest down, as Redis writes them: each is then the first of its list when it loads them. */
    struct ordered_cursor c = ordered_tree_seek(t, t->used - 1);
    for (const struct zmember *m; (m = ordered_cursor_prev(&c)) != NULL;) {
        uint64_t bits;
        memcpy(&bits, &m->score, sizeof bits);
        rdb_write_string(w, zmember_bytes(m), compress);
        rdb_write_u64(w, bits);
    }
}

/* ---- members as they are read ---- */

struct members {
    struct zmember **at;
    size_t n, room;
};

static bool add_member(struct members *k, struct slice bytes, double score) {
    if (k->n == k->room) {
        size_t room = k->room != 0 ? k->room * 2 : 64;
        struct zmember **at = mem_try_realloc(k->at, room * sizeof(struct zmember *));
        if (at == NULL)
            return false;
        k->at = at;
        k->room = room;
    }
    k->at[k->n++] = zmember_create(score, bytes);
    return true;
}

static void drop_members(struct members *k) {
    for (size_t i = 0; i < k->n; i++)
        zmember_destroy(k->at[i]);
    mem_free(k->at);
}

/* The value of the members, which are taken over; NULL, or what is wrong. */
static const char *finish_members(struct members *k, const struct rdb_load_context *with, struct value *ret_value) {
    struct collection z;
    int err = sorted_set_try_load(with->rules, k->at, k->n, &z);
    mem_free(k->at);
    if (err != 0)
        return "a sorted set holds a member twice";
    *ret_value = collection_value(VALUE_ZSET, &z);
    return NULL;
}

/* ---- values in pieces ---- */

/* A length byte and so many digits, or 253–255 for nan, inf, -inf. */
static int read_text_score(struct rdb_reader *r, double *ret_score) {
    unsigned n;
    char text[256];
    if (rdb_read_byte(r, &n) != 0)
        return -1;
    if (n > 253) {
        *ret_score = n == 254 ? (double)INFINITY : -(double)INFINITY;
        return 0;
    }
    if (n == 253)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a score is not a number");
    if (rdb_read(r, text, n) != 0)
        return -1;
    if (num_parse_double(slice_of(text, n), ret_score) != 0)
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a score is not a number");
    return 0;
}

static int read_score(struct rdb_reader *r, bool text, double *ret_score) {
    uint64_t bits;
    if (text)
        return read_text_score(r, ret_score);
    if (rdb_read_u64(r, &bits) != 0)
        return -1;
    memcpy(ret_score, &bits, sizeof bits);
    if (isnan(*ret_score))
        return rdb_reader_fail(r, RDB_ERR_FORMAT, "a score is not a number");
    return 0;
}

/* One member: the score stands behind the bytes, which the reader keeps only until then. */
static int read_member(struct rdb_reader *r, bool text, struct members *k) {
    char digits[24];
    struct slice bytes;
    double score;
    if (rdb_read_bytes(r, digits, &bytes) != 0)
        return -1;
    if (!add_member(k, bytes, 0))
        return rdb_reader_fail(r, RDB_ERR_MEMORY, "no memory for a sorted set");
    if (read_score(r, text, &score) != 0)
        return -1;
    k->at[k->n - 1]->score = score;
    return 0;
}

static int load_pieces(struct rdb_reader *r, bool text, const struct rdb_load_context *with, struct value *ret_value) {
    struct members k = {0};
    uint64_t count;
    if (rdb_read_count(r, text ? 2 : 9, &count) != 0)
        return -1;
    if (count == 0)
        return 1;
    for (uint64_t i = 0; i < count; i++)
        if (read_member(r, text, &k) != 0) {
            drop_members(&k);
            return -1;
        }
    const char *why = finish_members(&k, with, ret_value);
    return why == NULL ? 0 : rdb_reader_fail(r, RDB_ERR_FORMAT, "%s", why);
}

/* ---- packed values ---- */

/* Hashes of the members of a payload that stays packed, to see those that come twice: four times as many slots as the
 * payload says that it has members, so that most fall on a free one. Those beyond that, and beyond the most, are looked
 * up in a table. */
#define SEEN_SLOTS_MIN 32
#define SEEN_SLOTS_MAX 1024

struct packed {
    struct listpack *lp;     /* being made of a ziplist; NULL for a listpack */
    uint64_t n;              /* elements so far */
    struct packed_item item; /* the member whose score comes next */
    char digits[2][24];      /* of the members at hand: this one and the last one */
    struct slice last;       /* the bytes of the last member */
    double last_score;
    size_t slots; /* of seen, a power of 2 */
    uint64_t *seen;
};

/* True where the hash was there. Two different members of one 64-bit hash would be taken for one: that harms only who
 * made the payload so. */
static bool seen_before(struct packed *k, struct slice bytes) {
    uint64_t h = hash_xxh3(bytes.p, bytes.n) | 1;
    size_t i = h >> 32 & (k->slots - 1);
    for (; k->seen[i] != 0; i = (i + 1) & (k->slots - 1))
        if (k->seen[i] == h)
            return true;
    k->seen[i] = h;
    return false;
}

/* The next member and its score. */
static inline const char *check_pair(struct packed *k, struct packed_item item, struct packed_item score_item) {
    uint64_t at = k->n / 2;
    char *digits = k->digits[at & 1];
    struct slice bytes = packed_text(&item, digits);
    double score = score_item.is_int ? (double)score_item.i : 0;
    if (!score_item.is_int && num_parse_double(score_item.s, &score) != 0)
        return "a score is not a number";
    if (at > 0 && (score < k->last_score || (score == k->last_score && zmember_compare_bytes(k->last, bytes) >= 0)))
        return "the members of a sorted set are not in order";
    k->last = bytes;
    k->last_score = score;
    return at < k->slots / 2 && seen_before(k, bytes) ? "a sorted set holds a member twice" : NULL;
}

static const char *take_element(void *arg, const struct packed_item *item) {
    struct packed *k = arg;
    const char *why = NULL;
    if (k->n % 2 == 0)
        k->item = *item;
    else
        why = check_pair(k, k->item, *item);
    k->n++;
    if (why == NULL && listpack_append(&k->lp, *item) != 0)
        why = "a sorted set is too large for what it is packed in";
    return why;
}

/* Verified first and looked at in a second walk, which passes elements in registers. */
static const char *check_listpack(struct slice b, struct packed *k, uint64_t *ret_count) {
    const char *why = listpack_validate(b, true, NULL, NULL, ret_count);
    if (why != NULL)
        return why;
    const struct listpack *lp = (const struct listpack *)b.p;
    uint32_t at = LISTPACK_HEADER_BYTES;
    for (; k->n + 1 < *ret_count; k->n += 2) {
        uint32_t score = listpack_skip(lp, at);
        why = check_pair(k, listpack_get(lp, at), listpack_get(lp, score));
        if (why != NULL)
            return why;
        at = listpack_skip(lp, score);
    }
    return NULL;
}

/* The value of a listpack that was checked but for members that come twice behind the first `seen`. The listpack is
 * taken over. NULL, or what is wrong. */
static const char *finish_packed(struct listpack *lp, size_t seen, const struct rdb_load_context *with,
                                 struct value *ret_value) {
    size_t n = listpack_count(lp) / 2;
    struct collection z = {.rules = with->rules, .encoding = VALUE_ENC_LISTPACK, .object = lp};
    bool fits = with->rules->limits.zset_max_listpack_entries >= 0 &&
                n <= (uint64_t)with->rules->limits.zset_max_listpack_entries;
    if (!fits || n > seen) {
        struct zset *large = small_zset_enlarge(lp, with->rules->policy);
        if (!fits || large == NULL)
            listpack_destroy(lp);
        if (large == NULL)
            return "a sorted set holds a member twice";
        if (fits) {
            zset_destroy(large);
        } else {
            z.encoding = VALUE_ENC_SKIPLIST;
            z.object = large;
        }
    }
    *ret_value = collection_value(VALUE_ZSET, &z);
    return NULL;
}

static const char *check_packed(struct slice b, bool ziplist, struct packed *k) {
    uint64_t count;
    const char *why = ziplist ? ziplist_validate(b, take_element, k, &count) : check_listpack(b, k, &count);
    return why == NULL && count % 2 != 0 ? "a packed payload ends in the middle of an element" : why;
}

/* The number of elements stands in both headers; any answer will do. */
static size_t seen_slots(struct slice b, bool ziplist) {
    size_t at = ziplist ? 8 : 4, slots = SEEN_SLOTS_MIN;
    unsigned elements = b.n >= at + 2 ? load_le16(b.p + at) : 0;
    while (slots < 2 * elements && slots < SEEN_SLOTS_MAX)
        slots *= 2;
    return slots;
}

static int load_packed(struct rdb_reader *r, bool ziplist, const struct rdb_load_context *with,
                       struct value *ret_value) {
    char digits[24];
    struct slice b;
    uint64_t at = rdb_reader_offset(r);
    if (rdb_read_bytes(r, digits, &b) != 0)
        return -1;
    uint64_t seen[SEEN_SLOTS_MAX];
    struct packed k = {.lp = ziplist ? listpack_create(b.n) : NULL, .slots = seen_slots(b, ziplist), .seen = seen};
    memset(seen, 0, k.slots * sizeof seen[0]);
    const char *why = check_packed(b, ziplist, &k);
    if (why == NULL && k.n != 0) {
        struct listpack *lp = ziplist ? k.lp : listpack_try_load(b);
        k.lp = NULL;
        if (lp == NULL)
            return rdb_reader_fail(r, RDB_ERR_MEMORY, "no memory for a sorted set");
        if (ziplist)
            listpack_shrink(&lp);
        why = finish_packed(lp, k.slots / 2, with, ret_value);
    }
    if (k.lp != NULL)
        listpack_destroy(k.lp);
    if (why != NULL)
        return rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "%s", why);
    return k.n != 0 ? 0 : 1;
}

static int zset_load(struct rdb_reader *r, unsigned rdb_type, const struct rdb_load_context *with,
                     struct value *ret_value) {
    if (rdb_type == RDB_TYPE_ZSET || rdb_type == RDB_TYPE_ZSET_2)
        return load_pieces(r, rdb_type == RDB_TYPE_ZSET, with, ret_value);
    HF_ASSERT(rdb_type == RDB_TYPE_ZSET_ZIPLIST || rdb_type == RDB_TYPE_ZSET_LISTPACK);
    return load_packed(r, rdb_type == RDB_TYPE_ZSET_ZIPLIST, with, ret_value);
}

const struct rdb_value_codec rdb_zset_codec = {
    .type = VALUE_ZSET,
    .loads = UINT64_C(1) << RDB_TYPE_ZSET | UINT64_C(1) << RDB_TYPE_ZSET_2 | UINT64_C(1) << RDB_TYPE_ZSET_ZIPLIST |
             UINT64_C(1) << RDB_TYPE_ZSET_LISTPACK,
    .min_version = zset_min_version,
    .wire_type = zset_wire_type,
    .save = zset_save,
    .load = zset_load,
};
