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

struct slice zset_item_bytes(const struct packed_item *item, char digits[24]) {
    return item->is_int ? slice_of(digits, num_format_i64(digits, item->i)) : item->s;
}

void zset_reply_header(const struct zset_reply *r, size_t n) {
    resp_array(r->w, r->shape == ZSET_FLAT ? n * 2 : n);
}

int zset_reply_member(void *arg, const struct packed_item *member, double score) {
    const struct zset_reply *r = arg;
    if (r->shape == ZSET_NESTED)
        resp_array(r->w, 2);
    zset_reply_item(r->w, member);
    if (r->shape != ZSET_MEMBERS)
        resp_double(r->w, score);
    return 0;
}

void zset_reply_ranks(struct call *c, const struct collection *z, size_t rank, size_t n, bool reverse,
                      enum zset_shape shape) {
    struct zset_reply r = {c->w, shape};
    zset_reply_header(&r, n);
    if (n != 0)
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
