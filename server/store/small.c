#include "config.h"

#include "server/store/small.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* Design
 *
 * A listpack stores integers as such, so a text that an element stands for is made where it is compared or moved to a
 * large form. Scores are integers where they are integral and not beyond 2^62, else the text of num_format_double();
 * reading gives the same double back, but 0 for -0, as Redis's small sorted sets do.
 */

/* ---- elements ---- */

static struct slice element_bytes(const struct listpack *lp, uint32_t at, char digits[static NUM_I64_CHARS]) {
    const struct packed_item item = listpack_get(lp, at);
    return packed_text(&item, digits);
}

bool small_fits(struct small_limits limits, size_t elements, size_t longest_bytes) {
    return elements <= limits.elements && longest_bytes <= limits.element_bytes;
}

/* ---- sorted sets ---- */

double small_zset_score(const struct listpack *lp, uint32_t at) {
    struct packed_item item = listpack_get(lp, listpack_next(lp, at));
    if (item.is_int)
        return (double)item.i;
    double score = 0;
    int bad = num_parse_double(item.s, &score);
    HF_ASSERT(bad == 0);
    return score;
}

/* A score as it is stored; text has room for it. */
static struct packed_item score_item(double score, char text[static NUM_DOUBLE_CHARS]) {
    if (score >= -0x1p62 && score <= 0x1p62 && score == (double)(int64_t)score)
        return packed_int((int64_t)score);
    return packed_bytes(slice_of(text, num_format_double(text, score)));
}

/* The member behind the one at `at`, or 0. */
static uint32_t next_pair(const struct listpack *lp, uint32_t at) {
    return listpack_next(lp, listpack_next(lp, at));
}

uint32_t small_zset_find(const struct listpack *lp, struct slice member, double *ret_score, size_t *ret_rank) {
    size_t rank = 0;
    for (uint32_t at = listpack_first(lp); at != 0; at = next_pair(lp, at), rank++) {
        if (!listpack_equals(lp, at, member))
            continue;
        if (ret_score != NULL)
            *ret_score = small_zset_score(lp, at);
        if (ret_rank != NULL)
            *ret_rank = rank;
        return at;
    }
    return 0;
}

/* The first member behind which (score, bytes) does not go; the offset of the end mark where there is none. */
static uint32_t place_of(const struct listpack *lp, double score, struct slice bytes) {
    char digits[NUM_I64_CHARS];
    for (uint32_t at = listpack_first(lp); at != 0; at = next_pair(lp, at)) {
        double other = small_zset_score(lp, at);
        if (other > score || (other == score && zmember_compare_bytes(element_bytes(lp, at, digits), bytes) > 0))
            return at;
    }
    return listpack_bytes(lp) - 1;
}

int small_zset_put(struct listpack **lp, struct small_limits limits, struct slice member, double score,
                   enum zset_put *ret_put) {
    double was = 0;
    char text[NUM_DOUBLE_CHARS];
    HF_ASSERT(score == score);
    const struct packed_item value = score_item(score, text);
    uint32_t at = small_zset_find(*lp, member, &was, NULL);
    if (at != 0 && was == score) {
        *ret_put = ZSET_SAME;
        return 0;
    }
    if (at == 0 && !small_fits(limits, listpack_count(*lp) / 2 + 1, member.n))
        return -1;
    if (!listpack_has_room(*lp, (uint64_t)member.n + NUM_DOUBLE_CHARS + 2 * LISTPACK_ELEMENT_OVERHEAD_BYTES))
        return -1;
    *ret_put = at != 0 ? ZSET_MOVED : ZSET_ADDED;
    if (at != 0)
        listpack_delete(lp, at, 2, NULL);
    at = place_of(*lp, score, member);
    int full = listpack_insert_before(lp, at, packed_bytes(member));
    if (full == 0)
        full = listpack_insert_after(lp, at, value, NULL);
    HF_ASSERT(full == 0); /* there was room */
    return 0;
}

bool small_zset_remove(struct listpack **lp, struct slice member) {
    uint32_t at = small_zset_find(*lp, member, NULL, NULL);
    if (at != 0)
        listpack_delete(lp, at, 2, NULL);
    return at != 0;
}

size_t small_zset_rank_of_score(const struct listpack *lp, double score, bool or_equal) {
    size_t rank = 0;
    for (uint32_t at = listpack_first(lp); at != 0; at = next_pair(lp, at), rank++) {
        double other = small_zset_score(lp, at);
        if (other > score || (other == score && !or_equal))
            break;
    }
    return rank;
}

size_t small_zset_rank_of_bytes(const struct listpack *lp, struct slice bytes, bool or_equal) {
    char digits[NUM_I64_CHARS];
    size_t rank = 0;
    for (uint32_t at = listpack_first(lp); at != 0; at = next_pair(lp, at), rank++) {
        int c = zmember_compare_bytes(element_bytes(lp, at, digits), bytes);
        if (c > 0 || (c == 0 && !or_equal))
            break;
    }
    return rank;
}

struct zset *small_zset_enlarge(const struct listpack *lp, const struct table_policy *policy) {
    char digits[NUM_I64_CHARS];
    size_t n = listpack_count(lp) / 2, i = 0;
    struct zmember **members = mem_calloc(n + 1, sizeof *members);
    for (uint32_t at = listpack_first(lp); at != 0; at = next_pair(lp, at))
        members[i++] = zmember_create(small_zset_score(lp, at), element_bytes(lp, at, digits));
    HF_ASSERT(i == n);
    struct zset *z = zset_try_load(policy, members, n);
    mem_free_sized(members, (n + 1) * sizeof *members);
    return z;
}

struct listpack *small_zset_from(const struct zset *z, struct small_limits limits) {
    if (!small_fits(limits, zset_count(z), 0))
        return NULL;
    struct listpack *lp = listpack_create(zset_count(z) * 2 * LISTPACK_ELEMENT_OVERHEAD_BYTES);
    struct ordered_cursor c = ordered_tree_seek(zset_tree(z), 0);
    for (const struct zmember *m; (m = ordered_cursor_next(&c)) != NULL;) {
        char text[NUM_DOUBLE_CHARS];
        struct packed_item pair[2] = {packed_bytes(zmember_bytes(m)), score_item(m->score, text)};
        if (pair[0].s.n > limits.element_bytes || listpack_append_all(&lp, pair, 2) != 0) {
            listpack_destroy(lp);
            return NULL;
        }
    }
    listpack_shrink(&lp);
    return lp;
}

void small_zset_check(const struct listpack *lp) {
    listpack_check(lp);
    HF_ASSERT(listpack_count(lp) % 2 == 0);
    for (uint32_t at = listpack_first(lp), next; at != 0; at = next) {
        char digits[NUM_I64_CHARS], other[NUM_I64_CHARS];
        struct slice member = element_bytes(lp, at, digits);
        double score = small_zset_score(lp, at);
        next = next_pair(lp, at);
        HF_ASSERT(small_zset_find(lp, member, NULL, NULL) == at);
        if (next == 0)
            continue;
        double above = small_zset_score(lp, next);
        HF_ASSERT(score < above ||
                  (score == above && zmember_compare_bytes(member, element_bytes(lp, next, other)) < 0));
    }
}

/* ---- hashes and sets ---- */

uint32_t small_hash_find(const struct listpack *lp, struct slice field) {
    uint32_t at = listpack_first(lp);
    if (at != 0)
        at = listpack_find(lp, at, field, 1);
    return at != 0 ? listpack_next(lp, at) : 0;
}

int small_hash_put(struct listpack **lp, struct small_limits limits, struct slice field, struct slice value) {
    uint32_t at = small_hash_find(*lp, field);
    if (!small_fits(limits, listpack_count(*lp) / 2 + (at == 0), field.n > value.n ? field.n : value.n))
        return -1;
    if (at != 0)
        return listpack_replace(lp, at, packed_bytes(value));
    const struct packed_item pair[2] = {packed_bytes(field), packed_bytes(value)};
    return listpack_append_all(lp, pair, 2) == 0 ? 1 : -1;
}

bool small_hash_remove(struct listpack **lp, struct slice field) {
    uint32_t at = listpack_first(*lp);
    if (at != 0)
        at = listpack_find(*lp, at, field, 1);
    if (at != 0)
        listpack_delete(lp, at, 2, NULL);
    return at != 0;
}

static struct fields *fields_for(const struct table_policy *policy, size_t n) {
    struct fields *t = fields_create(policy);
    if (fields_try_expect(t, n) == 0)
        return t;
    fields_destroy(t);
    return NULL;
}

static struct fields *enlarge(const struct listpack *lp, const struct table_policy *policy, unsigned stride) {
    struct fields *t = fields_for(policy, listpack_count(lp) / stride);
    for (uint32_t at = listpack_first(lp); t != NULL && at != 0; at = listpack_next(lp, at)) {
        char name_digits[NUM_I64_CHARS], value_digits[NUM_I64_CHARS];
        struct slice name = element_bytes(lp, at, name_digits), value = {NULL, 0};
        if (stride == 2) {
            at = listpack_next(lp, at);
            value = element_bytes(lp, at, value_digits);
        }
        if (!fields_put(t, name, value, FIELD_NO_DEADLINE)) {
            fields_destroy(t);
            t = NULL;
        }
    }
    return t;
}

struct fields *small_hash_enlarge(const struct listpack *lp, const struct table_policy *policy) {
    return enlarge(lp, policy, 2);
}

struct fields *small_set_enlarge(const struct listpack *lp, const struct table_policy *policy) {
    return enlarge(lp, policy, 1);
}

struct fields *small_intset_enlarge(const struct intset *is, const struct table_policy *policy) {
    struct fields *t = fields_for(policy, intset_count(is));
    for (uint32_t i = 0; t != NULL && i < intset_count(is); i++) {
        char digits[NUM_I64_CHARS];
        const struct packed_item item = packed_int(intset_get(is, i));
        HF_ASSERT(fields_add(t, packed_text(&item, digits)));
    }
    return t;
}

struct listpack *small_set_from_intset(const struct intset *is, struct small_limits limits) {
    if (!small_fits(limits, intset_count(is), 0))
        return NULL;
    struct listpack *lp = listpack_create(intset_bytes(is));
    for (uint32_t i = 0; i < intset_count(is); i++) {
        char digits[NUM_I64_CHARS];
        struct packed_item item = packed_int(intset_get(is, i));
        if (packed_text(&item, digits).n > limits.element_bytes || listpack_append(&lp, item) != 0) {
            listpack_destroy(lp);
            return NULL;
        }
    }
    return lp;
}
