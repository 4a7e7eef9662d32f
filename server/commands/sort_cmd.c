/* SORT SORT_RO.
 *
 * Elements are copied into one block of text and an array, for what the patterns look up may change the key space
 * (keys that are due go). Then the order is made (sort_order.h), and the part that LIMIT leaves is replied or stored.
 */
#include "config.h"

#include <string.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/commands/sort_int.h"
#include "server/commands/sort_order.h"
#include "server/store/list.h"
#include "server/store/set.h"
#include "server/store/sorted_set.h"

struct sort {
    struct call *c;
    /* the request */
    bool descending, alpha, unordered;
    int64_t limit_start, limit_count;
    bool has_by;
    struct sort_pattern by;
    struct slice by_text;
    int store; /* index of the argument, 0: none */
    struct sort_pattern *gets;
    struct slice *get_texts;
    size_t get_count;
    /* the elements */
    struct buf text, name;
    struct sort_element *elements;
    struct sort_item *items; /* NULL: in the order of the elements */
    size_t count;
    size_t from, to; /* what LIMIT leaves */
    bool too_long, not_number;
};

static void sort_deinit(struct sort *s) {
    buf_deinit(&s->text);
    buf_deinit(&s->name);
    mem_free(s->elements);
    mem_free(s->items);
    mem_free(s->gets);
    mem_free(s->get_texts);
}

/* ---- the request ---- */

static bool parse_limit(struct sort *s, int i) {
    return call_arg_i64(s->c, i, &s->limit_start) && call_arg_i64(s->c, i + 1, &s->limit_count);
}

static void add_get(struct sort *s, struct slice text) {
    s->gets = mem_realloc(s->gets, (s->get_count + 1) * sizeof *s->gets);
    s->get_texts = mem_realloc(s->get_texts, (s->get_count + 1) * sizeof *s->get_texts);
    s->gets[s->get_count] = sort_pattern_parse(text);
    s->get_texts[s->get_count++] = text;
}

static bool parse(struct sort *s, bool may_store) {
    struct call *c = s->c;
    s->limit_count = -1;
    for (int i = 2; i < c->argc; i++) {
        int left = c->argc - i - 1;
        if (slice_is(c->argv[i], "asc")) {
            s->descending = false;
        } else if (slice_is(c->argv[i], "desc")) {
            s->descending = true;
        } else if (slice_is(c->argv[i], "alpha")) {
            s->alpha = true;
        } else if (slice_is(c->argv[i], "limit") && left >= 2) {
            if (!parse_limit(s, i + 1))
                return false;
            i += 2;
        } else if (slice_is(c->argv[i], "store") && may_store && left >= 1) {
            s->store = ++i;
        } else if (slice_is(c->argv[i], "by") && left >= 1) {
            s->by_text = c->argv[++i];
            s->has_by = true;
            s->by = sort_pattern_parse(s->by_text);
        } else if (slice_is(c->argv[i], "get") && left >= 1) {
            add_get(s, c->argv[++i]);
        } else {
            call_error_syntax(c);
            return false;
        }
    }
    if (s->has_by && !s->by.has_place) {
        s->unordered = true;
        s->has_by = false;
    }
    return true;
}

/* In cluster mode every key that is read must lie in the slot of the one that is sorted. */
static bool check_slots(struct sort *s, const struct keyref *key) {
    static const char by_error[] =
        "ERR BY option of SORT denied in cluster mode when keys formed by the pattern may be "
        "in different slots.";
    static const char get_error[] = "ERR GET option of SORT denied in cluster mode when keys formed by the pattern may "
                                    "be in different slots.";
    if (!keyspace_has_slots(s->c->ks))
        return true;
    const char *error = s->has_by && !sort_pattern_keeps_slot(s->c->ks, s->by_text, key) ? by_error : NULL;
    for (size_t i = 0; i < s->get_count && error == NULL; i++)
        if (!sort_pattern_keeps_slot(s->c->ks, s->get_texts[i], key))
            error = get_error;
    if (error != NULL)
        call_error(s->c, error);
    return error == NULL;
}

/* ---- the elements ---- */

static uint32_t add_text(struct sort *s, struct slice text, uint64_t *ret_at) {
    *ret_at = s->text.len;
    if (text.n >= SORT_ELEMENT_INT || buf_try_reserve(&s->text, text.n) != 0) {
        s->too_long = true;
        return 0;
    }
    if (text.n != 0)
        memcpy(s->text.data + s->text.len, text.p, text.n);
    s->text.len += text.n;
    return (uint32_t)text.n;
}

static int add_element(void *arg, const struct packed_item *v) {
    struct sort *s = arg;
    struct sort_element *e = &s->elements[s->count++];
    if (v->is_int) {
        e->i = v->i;
        e->n = SORT_ELEMENT_INT;
    } else {
        e->n = add_text(s, v->s, &e->at);
    }
    return s->too_long;
}

static int add_member(void *arg, const struct packed_item *v, double score) {
    (void)score;
    return add_element(arg, v);
}

static struct slice element_text(const struct sort *s, size_t i, char digits[NUM_I64_CHARS]) {
    const struct sort_element *e = &s->elements[i];
    if (e->n == SORT_ELEMENT_INT)
        return slice_of(digits, num_format_i64(digits, e->i));
    return slice_of(s->text.data + e->at, e->n);
}

static size_t count_of(enum value_type type, const struct collection *col) {
    return type == VALUE_LIST ? list_count(col) : type == VALUE_SET ? set_count(col) : sorted_set_count(col);
}

/* What LIMIT leaves of n elements. */
static void cut(struct sort *s, size_t n) {
    uint64_t start = s->limit_start < 0 ? 0 : (uint64_t)s->limit_start;
    s->from = start < n ? (size_t)start : n;
    s->to = n;
    if (s->limit_count >= 0 && (uint64_t)s->limit_count < n - s->from)
        s->to = s->from + (size_t)s->limit_count;
}

/* False, with an error replied, where memory is missing. */
static bool gather(struct sort *s, const struct entry *e) {
    const struct collection col = call_collection(s->c, e);
    enum value_type type = entry_type(e);
    size_t n = count_of(type, &col), skip = 0;
    cut(s, n);
    if (s->unordered && type != VALUE_SET) { /* lists and sorted sets have an order: only what is wanted is looked at */
        skip = s->from;
        n = s->to - s->from;
        s->from = 0;
        s->to = n;
    }
    if (n < SORT_ELEMENT_INT)
        s->elements = mem_try_calloc(n + 1, sizeof *s->elements);
    s->too_long = s->elements == NULL;
    bool backwards = s->unordered && s->descending;
    if (s->too_long || n == 0)
        ;
    else if (type == VALUE_SET)
        (void)set_each(&col, add_element, s);
    else if (type == VALUE_ZSET)
        (void)sorted_set_each(&col, skip, n, backwards, add_member, s);
    else if (backwards)
        (void)list_each_backwards(&col, -1 - (int64_t)skip, n, add_element, s);
    else
        (void)list_each(&col, (int64_t)skip, n, add_element, s);
    if (s->too_long)
        call_error(s->c, "ERR there is not enough memory to sort this key");
    return !s->too_long;
}

/* ---- the order ---- */

static double number_of(struct sort *s, const struct packed_item *v) {
    double d = 0;
    if (v->is_int)
        return (double)v->i;
    if (!sort_parse_number(v->s, &d))
        s->not_number = true;
    return d;
}

/* What element i goes by; false where a BY pattern finds nothing. */
static bool weight_of(struct sort *s, size_t i, char digits[NUM_I64_CHARS], struct packed_item *ret_v) {
    if (s->has_by)
        return sort_pattern_get(s->c, &s->by, element_text(s, i, digits), &s->name, ret_v);
    const struct sort_element *e = &s->elements[i];
    *ret_v = e->n == SORT_ELEMENT_INT ? packed_int(e->i) : packed_bytes(slice_of(s->text.data + e->at, e->n));
    return true;
}

static void order_by_numbers(struct sort *s, const struct sort_order *o) {
    for (size_t i = 0; i < s->count && !s->not_number; i++) {
        char digits[NUM_I64_CHARS];
        struct packed_item v;
        double d = weight_of(s, i, digits, &v) ? number_of(s, &v) : 0;
        s->items[i] = (struct sort_item){.key = sort_key(d), .index = (uint32_t)i};
    }
    if (!s->not_number)
        sort_by_numbers(o, s->items, s->count, s->from, s->to);
}

/* The text of a weight in the block, up to its first NUL where the order is the locale's; n is SORT_ELEMENT_INT where
 * there is no weight. */
static void set_text(struct sort *s, size_t i, struct sort_item *item) {
    char digits[NUM_I64_CHARS], number[NUM_I64_CHARS];
    struct packed_item v;
    if (!weight_of(s, i, digits, &v)) {
        item->n = SORT_ELEMENT_INT;
        return;
    }
    if (v.is_int)
        v.s = slice_of(number, num_format_i64(number, v.i));
    if (s->has_by || v.is_int) {
        item->n = add_text(s, v.s, &item->at);
    } else {
        item->at = s->elements[i].at;
        item->n = s->elements[i].n;
    }
    if (s->store == 0 && item->n != 0)
        item->n = (uint32_t)strnlen(s->text.data + item->at, item->n);
}

/* Elements without a weight stand in front of all others, descending behind them. */
static void order_by_texts(struct sort *s, const struct sort_order *o) {
    struct sort_item *missing = mem_alloc((s->count + 1) * sizeof *missing);
    size_t n = 0, none = 0;
    for (size_t i = 0; i < s->count && !s->too_long; i++) {
        struct sort_item item = {.index = (uint32_t)i};
        set_text(s, i, &item);
        if (item.n == SORT_ELEMENT_INT)
            missing[none++] = item;
        else
            s->items[n++] = item;
    }
    size_t shift = s->descending ? 0 : none;
    memmove(s->items + shift, s->items, n * sizeof *s->items);
    memcpy(s->items + (s->descending ? n : 0), missing, none * sizeof *missing);
    mem_free(missing);
    size_t from = s->from > shift ? s->from - shift : 0, to = s->to > shift ? s->to - shift : 0;
    if (!s->too_long)
        sort_by_texts(o, s->items + shift, n, from, to < n ? to : n);
}

/* False, with an error replied, where that cannot be. */
static bool make_order(struct sort *s) {
    const struct sort_order o = {.text = &s->text, .elements = s->elements, .descending = s->descending};
    s->items = mem_try_calloc(s->count + 1, sizeof *s->items);
    if (s->items == NULL)
        s->too_long = true;
    else if (s->alpha)
        order_by_texts(s, &o);
    else
        order_by_numbers(s, &o);
    if (s->too_long)
        call_error(s->c, "ERR there is not enough memory to sort this key");
    else if (s->not_number)
        call_error(s->c, "ERR One or more scores can't be converted into double");
    return !s->too_long && !s->not_number;
}

/* ---- the outcome ---- */

/* Shows what comes out, in order: found is false for a GET without a value. */
typedef void emit_fn(struct sort *s, void *arg, bool found, const struct packed_item *v);

static void emit_all(struct sort *s, emit_fn *emit, void *arg) {
    for (size_t k = s->from; k < s->to; k++) {
        size_t i = s->items != NULL ? s->items[k].index : k;
        const struct sort_element *e = &s->elements[i];
        const struct packed_item element =
            e->n == SORT_ELEMENT_INT ? packed_int(e->i) : packed_bytes(slice_of(s->text.data + e->at, e->n));
        if (s->get_count == 0)
            emit(s, arg, true, &element);
        for (size_t g = 0; g < s->get_count; g++) {
            char digits[NUM_I64_CHARS];
            struct packed_item v;
            bool found = sort_pattern_get(s->c, &s->gets[g], element_text(s, i, digits), &s->name, &v);
            emit(s, arg, found, &v);
        }
    }
}

static void emit_reply(struct sort *s, void *arg, bool found, const struct packed_item *v) {
    (void)arg;
    if (!found)
        resp_null(s->c->w);
    else
        call_reply_item(s->c->w, v);
}

static void emit_push(struct sort *s, void *arg, bool found, const struct packed_item *v) {
    const struct packed_item none = packed_bytes(slice_of("", 0));
    if (list_push_item(arg, QUICKLIST_TAIL, found ? *v : none) != 0)
        s->too_long = true;
}

static void store_result(struct sort *s) {
    struct call *c = s->c;
    struct collection l = list_create(keyspace_rules(c->ks));
    emit_all(s, emit_push, &l);
    if (s->too_long) {
        value_free(collection_value(VALUE_LIST, &l));
        call_error(c, "ERR Element too large");
        return;
    }
    struct keyref key = call_key(c, s->store);
    size_t n = list_count(&l);
    bool existed;
    if (call_collection_replace(c, &key, VALUE_LIST, &l, &existed))
        call_changed(c, &key, NOTIFY_LIST, "sortstore");
    else if (existed)
        call_changed(c, &key, NOTIFY_GENERIC, "del");
    resp_int(c->w, (int64_t)n);
}

static void reply_result(struct sort *s) {
    resp_array(s->c->w, (s->to - s->from) * (s->get_count != 0 ? s->get_count : 1));
    emit_all(s, emit_reply, NULL);
}

static void run(struct sort *s, bool may_store) {
    struct call *c = s->c;
    if (!parse(s, may_store))
        return;
    struct keyref key = call_key(c, 1);
    if (!check_slots(s, &key))
        return;
    struct entry *e = call_find_read(c, &key);
    enum value_type type = e != NULL ? entry_type(e) : VALUE_LIST;
    if (type != VALUE_LIST && type != VALUE_SET && type != VALUE_ZSET) {
        call_error_wrong_type(c);
        return;
    }
    if (s->unordered && type == VALUE_SET && s->store != 0) {
        /* A set has no order of its own; what is stored must be the same everywhere. */
        s->unordered = false;
        s->alpha = true;
    }
    buf_reserve(&s->text, 1);
    if (e != NULL && (!gather(s, e) || (!s->unordered && !make_order(s))))
        return;
    if (s->store != 0)
        store_result(s);
    else
        reply_result(s);
}

static void sort_run(struct call *c) {
    struct sort s = {.c = c};
    run(&s, true);
    sort_deinit(&s);
}

static void sort_ro_run(struct call *c) {
    struct sort s = {.c = c};
    run(&s, false);
    sort_deinit(&s);
}

/* The key that is sorted, and where there is a STORE, the last one counts. */
static int sort_get_keys(const struct slice *argv, int argc, struct key_positions *ret_keys) {
    int store = 0;
    for (int i = 2; i < argc; i++) {
        if (slice_is(argv[i], "limit"))
            i += 2;
        else if (slice_is(argv[i], "get") || slice_is(argv[i], "by"))
            i++;
        else if (slice_is(argv[i], "store") && i + 1 < argc)
            store = ++i;
    }
    key_positions_add(ret_keys, 1, KEY_RO | KEY_ACCESS);
    if (store != 0)
        key_positions_add(ret_keys, store, KEY_OW | KEY_UPDATE);
    return 0;
}

static int sort_ro_get_keys(const struct slice *argv, int argc, struct key_positions *ret_keys) {
    (void)argv;
    (void)argc;
    key_positions_add(ret_keys, 1, KEY_RO | KEY_ACCESS);
    return 0;
}

#define SOMEWHERE(flags_)                                                                                              \
    { .flags = (flags_), .begin = KEY_BEGIN_UNKNOWN, .find = KEY_FIND_UNKNOWN }
#define SORT_ACL (ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS)

static const struct command rows[] = {
    {.name = "sort",
     .group = "generic",
     .since = "1.0.0",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = SORT_ACL,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS), SOMEWHERE(KEY_RO | KEY_ACCESS), SOMEWHERE(KEY_OW | KEY_UPDATE)},
     .get_keys = sort_get_keys,
     .run = sort_run},
    {.name = "sort_ro",
     .group = "generic",
     .since = "7.0.0",
     .arity = -2,
     .flags = COMMAND_READONLY,
     .acl = SORT_ACL,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS), SOMEWHERE(KEY_RO | KEY_ACCESS)},
     .get_keys = sort_ro_get_keys,
     .run = sort_ro_run},
};

void sort_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
