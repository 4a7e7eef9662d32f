/* Taking members from an end of sorted sets: ZPOPMIN ZPOPMAX ZMPOP BZPOPMIN BZPOPMAX BZMPOP.
 *
 * The blocking ones, and those of several keys, propagate as ZPOPMIN or ZPOPMAX of the key that served. */
#include "config.h"

#include "server/commands/zset_int.h"

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"

struct pop {
    bool highest;
    int64_t count; /* members, at most */
};

/* Takes members from the set of e into the reply, which has the array's header already. */
static void pop_members(struct call *c, const struct keyref *key, struct entry *e, struct pop p,
                        enum zset_shape shape) {
    struct collection z = call_collection(c, e);
    size_t members = sorted_set_count(&z), n = (uint64_t)p.count < members ? (size_t)p.count : members;
    struct zset_reply r = {c->w, shape};
    (void)sorted_set_each(&z, 0, n, p.highest, zset_reply_member, &r);
    sorted_set_remove_ranks(&z, p.highest ? members - n : 0, n);
    (void)zset_changed(c, key, e, &z, p.highest ? "zpopmax" : "zpopmin");
}

static size_t pop_count(struct call *c, const struct entry *e, struct pop p) {
    struct collection z = call_collection(c, e);
    size_t members = sorted_set_count(&z);
    return (uint64_t)p.count < members ? (size_t)p.count : members;
}

static void pop(struct call *c, bool highest) {
    struct pop p = {highest, 1};
    if (c->argc > 3) {
        call_error_syntax(c);
        return;
    }
    if (c->argc == 3 && !zset_arg_positive(c, 2, 0, "ERR value is out of range, must be positive", &p.count))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_ZSET, &e))
        return;
    if (e == NULL || p.count == 0) {
        resp_array(c->w, 0);
        return;
    }
    struct zset_reply r = {c->w, c->argc == 3 ? zset_shape_for(c, true) : ZSET_FLAT};
    zset_reply_header(&r, pop_count(c, e, p));
    pop_members(c, &key, e, p, r.shape);
}

static void zpopmin_run(struct call *c) {
    pop(c, false);
}

static void zpopmax_run(struct call *c) {
    pop(c, true);
}

/* ---- of the first of several keys ---- */

static void propagate(struct call *c, const struct keyref *key, struct pop p, bool with_count) {
    char digits[NUM_I64_CHARS];
    struct slice argv[3] = {p.highest ? SLICE_LIT("ZPOPMAX") : SLICE_LIT("ZPOPMIN"), key->key};
    argv[2] = slice_of(digits, num_format_i64(digits, p.count));
    call_propagate(c, c->db, argv, with_count ? 3 : 2);
}

/* The first key that holds a sorted set, in *ret_key and *ret_e (NULL: there is none). False where a key of another
 * type was met first and an error replied; a client that has waited passes over those, for it was right when it came.
 */
static bool find_first(struct call *c, int first, int64_t n, struct keyref *ret_key, struct entry **ret_e) {
    *ret_e = NULL;
    for (int i = first; i < first + n; i++) {
        *ret_key = call_key(c, i);
        struct entry *e = call_find_write(c, ret_key);
        if (e != NULL && entry_type(e) == VALUE_ZSET) {
            *ret_e = e;
            return true;
        }
        if (e != NULL && !c->retry) {
            call_error_wrong_type(c);
            return false;
        }
    }
    return true;
}

static void wait_for(struct call *c, int first, int64_t n, int64_t timeout_ms) {
    struct keyref few[8] = {{.hash = 0}}, *keys = n <= 8 ? few : mem_calloc((size_t)n, sizeof *keys);
    for (int i = 0; i < n; i++)
        keys[i] = call_key(c, first + i);
    call_block_on_keys(c, keys, (size_t)n, VALUE_ZSET, timeout_ms, CALL_TIMEOUT_NULL_ARRAY, NULL);
    if (keys != few)
        mem_free_sized(keys, (size_t)n * sizeof *keys);
}

static void blocking_pop(struct call *c, bool highest) {
    struct pop p = {highest, 1};
    int64_t timeout_ms, n = c->argc - 2;
    struct keyref key;
    struct entry *e;
    if (!call_arg_timeout(c, c->argc - 1, &timeout_ms) || !find_first(c, 1, n, &key, &e))
        return;
    if (e == NULL) {
        wait_for(c, 1, n, timeout_ms);
        return;
    }
    resp_array(c->w, 3);
    resp_bulk(c->w, key.key);
    pop_members(c, &key, e, p, ZSET_FLAT);
    propagate(c, &key, p, false);
}

static void bzpopmin_run(struct call *c) {
    blocking_pop(c, false);
}

static void bzpopmax_run(struct call *c) {
    blocking_pop(c, true);
}

/* numkeys key … MIN|MAX [COUNT n], from argument `at` on; false where an error was replied. */
static bool parse_mpop(struct call *c, int at, int64_t *ret_n, struct pop *ret_pop) {
    struct pop p = {.count = -1};
    int64_t n;
    if (!zset_arg_positive(c, at, 1, "ERR numkeys should be greater than 0", &n))
        return false;
    if (n > c->argc - at - 2) {
        call_error_syntax(c);
        return false;
    }
    int i = at + 1 + (int)n;
    p.highest = slice_is(c->argv[i], "max");
    bool good = p.highest || slice_is(c->argv[i], "min");
    for (i++; good && i < c->argc; i += 2) {
        good = p.count == -1 && i + 1 < c->argc && slice_is(c->argv[i], "count");
        if (good && !zset_arg_positive(c, i + 1, 1, "ERR count should be greater than 0", &p.count))
            return false;
    }
    if (!good) {
        call_error_syntax(c);
        return false;
    }
    if (p.count == -1)
        p.count = 1;
    *ret_n = n;
    *ret_pop = p;
    return true;
}

/* Replies key and members of the first set; false where there is none. */
static bool pop_first(struct call *c, int first, int64_t n, struct pop p) {
    struct keyref key;
    struct entry *e;
    if (!find_first(c, first, n, &key, &e))
        return true;
    if (e == NULL)
        return false;
    p.count = (int64_t)pop_count(c, e, p);
    resp_array(c->w, 2);
    resp_bulk(c->w, key.key);
    resp_array(c->w, (size_t)p.count);
    pop_members(c, &key, e, p, ZSET_NESTED);
    propagate(c, &key, p, true);
    return true;
}

static void zmpop_run(struct call *c) {
    struct pop p;
    int64_t n;
    if (parse_mpop(c, 1, &n, &p) && !pop_first(c, 2, n, p))
        resp_null_array(c->w);
}

static void bzmpop_run(struct call *c) {
    struct pop p;
    int64_t n, timeout_ms;
    if (!parse_mpop(c, 2, &n, &p) || !call_arg_timeout(c, 1, &timeout_ms))
        return;
    if (!pop_first(c, 3, n, p))
        wait_for(c, 3, n, timeout_ms);
}

#define POP_KEYS (KEY_RW | KEY_ACCESS | KEY_DELETE)
#define POP_ROW(name_, since_, arity_, flags_, keys_, run_)                                                            \
    {                                                                                                                  \
        .name = (name_), .group = "sorted_set", .since = (since_), .arity = (arity_), .flags = (flags_),               \
        .acl = ACL_SORTEDSET, .keys = {keys_}, .run = (run_)                                                           \
    }
#define BLOCKING_FLAGS (COMMAND_WRITE | COMMAND_FAST | COMMAND_BLOCKING)

static const struct command rows[] = {
    ZSET_ROW("zpopmin", "5.0.0", -2, COMMAND_WRITE | COMMAND_FAST, POP_KEYS, zpopmin_run),
    ZSET_ROW("zpopmax", "5.0.0", -2, COMMAND_WRITE | COMMAND_FAST, POP_KEYS, zpopmax_run),
    POP_ROW("zmpop", "7.0.0", -4, COMMAND_WRITE, ROW_KEYNUM(POP_KEYS, 1, 1), zmpop_run),
    POP_ROW("bzpopmin", "5.0.0", -3, BLOCKING_FLAGS, ROW_KEYS(POP_KEYS, 1, -2, 1), bzpopmin_run),
    POP_ROW("bzpopmax", "5.0.0", -3, BLOCKING_FLAGS, ROW_KEYS(POP_KEYS, 1, -2, 1), bzpopmax_run),
    POP_ROW("bzmpop", "7.0.0", -5, COMMAND_WRITE | COMMAND_BLOCKING, ROW_KEYNUM(POP_KEYS, 2, 1), bzmpop_run),
};

void zset_pop_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
