/* Sorted sets: what their commands share. */
#include "config.h"

#include "server/commands/zset_int.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/range.h"

/* ---- ranges ---- */

/* A bound as strtod() reads it, which takes more than a score in an argument: blanks in front, nothing at all for 0,
 * numbers beyond the range, and bytes behind a NUL. */
static bool parse_score(struct slice s, double *ret_score) {
    if (num_parse_double(s, ret_score) == 0)
        return true;
    char small[256], *text = s.n < sizeof small ? small : mem_try_alloc(s.n + 1), *end;
    if (text == NULL)
        return false;
    if (s.n != 0)
        memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    *ret_score = strtod(text, &end);
    bool good = *end == '\0' && !isnan(*ret_score);
    if (text != small)
        mem_free_sized(text, s.n + 1);
    return good;
}

static bool parse_score_bound(struct slice s, double *ret_score, bool *ret_excluded) {
    *ret_excluded = s.n > 0 && s.p[0] == '(';
    if (*ret_excluded)
        s = slice_of(s.p + 1, s.n - 1);
    return parse_score(s, ret_score);
}

static bool parse_lex_bound(struct slice s, enum sorted_set_bound *ret_bound, struct slice *ret_bytes) {
    if (s.n == 0)
        return false;
    *ret_bytes = slice_of(s.p + 1, s.n - 1);
    switch (s.p[0]) {
    case '-':
        *ret_bound = SORTED_SET_LOWEST;
        return s.n == 1 || s.p[1] == '\0';
    case '+':
        *ret_bound = SORTED_SET_HIGHEST;
        return s.n == 1 || s.p[1] == '\0';
    case '[':
        *ret_bound = SORTED_SET_INCLUDED;
        return true;
    case '(':
        *ret_bound = SORTED_SET_EXCLUDED;
        return true;
    default:
        return false;
    }
}

bool zset_arg_range(struct call *c, int min_at, int max_at, struct zset_range *r) {
    struct slice min = c->argv[min_at], max = c->argv[max_at];
    switch (r->kind) {
    case ZSET_BY_RANK:
        return call_arg_i64(c, min_at, &r->start) && call_arg_i64(c, max_at, &r->end);
    case ZSET_BY_SCORE:
        if (parse_score_bound(min, &r->min, &r->min_excluded) && parse_score_bound(max, &r->max, &r->max_excluded))
            return true;
        call_error(c, "ERR min or max is not a float");
        return false;
    case ZSET_BY_LEX:
        break;
    }
    if (parse_lex_bound(min, &r->lex.bound[0], &r->lex.bytes[0]) &&
        parse_lex_bound(max, &r->lex.bound[1], &r->lex.bytes[1]))
        return true;
    call_error(c, "ERR min or max not valid string range item");
    return false;
}

/* As range_cut(), but an end in front of the lowest rank leaves nothing. */
static size_t cut_ranks(int64_t start, int64_t end, size_t count, size_t *ret_rank) {
    return end < 0 && (count == 0 || end < -(int64_t)count) ? 0 : range_cut(start, end, count, ret_rank);
}

size_t zset_range_find(const struct collection *z, const struct zset_range *r, size_t *ret_rank) {
    size_t count = sorted_set_count(z);
    if (r->kind == ZSET_BY_RANK)
        return cut_ranks(r->start, r->end, count, ret_rank);
    if (r->kind == ZSET_BY_LEX)
        return sorted_set_lex_range(z, &r->lex, r->reverse, ret_rank);
    if (r->min > r->max || (r->min == r->max && (r->min_excluded || r->max_excluded)))
        return 0;
    size_t low = sorted_set_rank_of_score(z, r->min, r->min_excluded);
    size_t high = sorted_set_rank_of_score(z, r->max, !r->max_excluded);
    *ret_rank = r->reverse ? count - high : low;
    return high - low;
}

size_t zset_range_select(const struct collection *z, const struct zset_range *r, size_t *ret_rank) {
    size_t n = zset_range_find(z, r, ret_rank);
    if (r->offset < 0 || (uint64_t)r->offset >= n)
        return 0;
    *ret_rank += (size_t)r->offset;
    n -= (size_t)r->offset;
    return r->limit < 0 || (uint64_t)r->limit > n ? n : (size_t)r->limit;
}

/* ---- arguments ---- */

bool zset_arg_positive(struct call *c, int at, int64_t min, const char *error, int64_t *ret_value) {
    return call_arg_i64_range(c, at, min, INT64_MAX, error, ret_value);
}

/* ---- replies ---- */

void zset_reply_header(const struct zset_reply *r, size_t n) {
    resp_array(r->w, r->shape == ZSET_FLAT ? n * 2 : n);
}

static void reply_one(const struct zset_reply *r, const struct packed_item *member, double score) {
    if (r->shape == ZSET_NESTED)
        resp_array(r->w, 2);
    call_reply_item(r->w, member);
    if (r->shape != ZSET_MEMBERS)
        resp_double(r->w, score);
}

int zset_reply_member(void *arg, const struct packed_item *member, double score) {
    reply_one(arg, member, score);
    return 0;
}

#define AT_ONCE 32
/* Members up to here are written with one reservation, their score included. */
#define SHORT_MEMBER 512
#define SCORE_CHARS 32 /* of which %.17g needs 24 */
#define AROUND_MEMBER (3 * RESP_HEADER_BYTES + SCORE_CHARS)
_Static_assert(SHORT_MEMBER + AROUND_MEMBER <= OUTQ_RESERVE_MAX, "one reservation");

/* memcpy() of short members: the compiler makes of that, knowing SHORT_MEMBER, an instruction that takes 40 ns. Blocks
 * of one size, the last of which may lie over the one before. */
static inline char *copy_short(char *to, const char *from, size_t n) {
    if (n >= 16) {
        for (size_t i = 0; i + 16 < n; i += 16)
            memcpy(to + i, from + i, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
    }
    return to + n;
}

/* Type, digits or text, CR LF of a score. */
static char *put_score(char *p, int resp, double score) {
    char text[NUM_DOUBLE_CHARS];
    size_t n = num_format_double(text, score);
    if (resp == 2)
        p = resp_put_header(p, '$', n);
    else
        *p++ = ',';
    p = copy_short(p, text, n);
    memcpy(p, "\r\n", 2);
    return p + 2;
}

static void reply_short(struct resp_writer *w, enum zset_shape shape, struct slice bytes, double score) {
    char *start = outq_reserve(w->q, bytes.n + AROUND_MEMBER), *p = start;
    if (shape == ZSET_NESTED)
        p = resp_put_header(p, '*', 2);
    p = resp_put_header(p, '$', bytes.n);
    p = copy_short(p, bytes.p, bytes.n);
    memcpy(p, "\r\n", 2);
    p += 2;
    if (shape != ZSET_MEMBERS)
        p = put_score(p, w->resp, score);
    outq_commit(w->q, (size_t)(p - start));
}

static void reply_large(const struct zset_reply *r, const struct ordered_tree *t, size_t rank, size_t n, bool reverse) {
    const struct zmember *run[AT_ONCE];
    struct ordered_cursor at = ordered_tree_seek(t, reverse ? t->used - 1 - rank : rank);
    while (n > 0) {
        size_t got = ordered_cursor_take(&at, reverse, run, n < AT_ONCE ? n : AT_ONCE);
        for (size_t i = 0; i < got; i++) {
            struct packed_item member = packed_bytes(zmember_bytes(run[i]));
            if (member.s.n <= SHORT_MEMBER)
                reply_short(r->w, r->shape, member.s, run[i]->score);
            else
                reply_one(r, &member, run[i]->score);
        }
        n -= got;
    }
}

void zset_reply_ranks(struct call *c, const struct collection *z, size_t rank, size_t n, bool reverse,
                      enum zset_shape shape) {
    struct zset_reply r = {c->w, shape};
    zset_reply_header(&r, n);
    if (n == 0)
        return;
    if (z->encoding == VALUE_ENC_SKIPLIST)
        reply_large(&r, zset_tree(z->object), rank, n, reverse);
    else
        (void)sorted_set_each(z, rank, n, reverse, zset_reply_member, &r);
}

/* ---- changes ---- */

bool zset_changed(struct call *c, const struct keyref *key, struct entry *e, const struct collection *z,
                  const char *event) {
    bool there = call_collection_store(c, key, e, VALUE_ZSET, z);
    call_changed(c, key, NOTIFY_ZSET, event);
    if (!there)
        call_notify(c, c->db, key, NOTIFY_GENERIC, "del");
    return there;
}

void zset_store_result(struct call *c, const struct keyref *key, struct collection *z, const char *event) {
    size_t n = sorted_set_count(z);
    bool existed;
    if (call_collection_replace(c, key, VALUE_ZSET, z, &existed))
        call_changed(c, key, NOTIFY_ZSET, event);
    else if (existed)
        call_changed(c, key, NOTIFY_GENERIC, "del");
    resp_int(c->w, (int64_t)n);
}

void zset_commands_register(struct command_table *t) {
    zset_add_register(t);
    zset_remove_register(t);
    zset_read_register(t);
    zset_range_register(t);
    zset_pop_register(t);
    zset_combine_register(t);
}
