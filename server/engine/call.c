#include "config.h"

#include "server/engine/call.h"

#include <stdio.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/engine/engine_int.h"
#include "server/store/type.h"

/* ---- replies ---- */

void engine_count_error(struct engine *e, struct slice text) {
    size_t n = 0;
    while (n < text.n && n < sizeof e->error_codes[0].code - 1 && text.p[n] != ' ')
        n++;
    e->stats.error_replies++;
    for (int i = 0; i < e->error_code_count; i++) {
        struct error_code *x = &e->error_codes[i];
        if (strncmp(x->code, text.p, n) == 0 && x->code[n] == '\0') {
            x->count++;
            return;
        }
    }
    if (e->error_code_count == ENGINE_ERROR_CODES_MAX)
        return;
    struct error_code *x = &e->error_codes[e->error_code_count++];
    memcpy(x->code, text.p, n);
    x->code[n] = '\0';
    x->count = 1;
}

void engine_reply_error(struct client *cl, const char *text) {
    struct slice s = slice_cstr(text);
    engine_count_error(cl->engine, s);
    resp_error(&cl->w, s);
}

static void reply_error(struct call *c, struct slice text) {
    c->failed = true;
    engine_count_error(c->engine, text);
    resp_error(c->w, text);
}

void call_error(struct call *c, const char *text) {
    reply_error(c, slice_cstr(text));
}

void call_errorf(struct call *c, const char *fmt, ...) {
    struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    reply_error(c, buf_slice(&b));
    buf_deinit(&b);
}

void call_error_syntax(struct call *c) {
    call_error(c, "ERR syntax error");
}
void call_error_wrong_type(struct call *c) {
    call_error(c, "WRONGTYPE Operation against a key holding the wrong kind of value");
}
void call_error_not_integer(struct call *c) {
    call_error(c, "ERR value is not an integer or out of range");
}
void call_error_not_float(struct call *c) {
    call_error(c, "ERR value is not a valid float");
}
void call_error_out_of_range(struct call *c) {
    call_error(c, "ERR index out of range");
}
void call_error_no_key(struct call *c) {
    call_error(c, "ERR no such key");
}
void call_error_oom(struct call *c) {
    call_error(c, "OOM command not allowed when used memory > 'maxmemory'.");
}

void call_error_arity(struct call *c) {
    call_errorf(c, "ERR wrong number of arguments for '%s' command", c->cmd->full_name);
}

static void upper_name(const char *name, char *dst, size_t cap) {
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < cap; i++)
        dst[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i]);
    dst[i] = '\0';
}

void call_error_subcommand(struct call *c) {
    char name[64];
    const struct command_entry *parent = c->cmd->parent ? c->cmd->parent : c->cmd;
    upper_name(parent->row->name, name, sizeof name);
    int n = c->argc > 1 ? (int)(c->argv[1].n > 128 ? 128 : c->argv[1].n) : 0;
    call_errorf(c, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.", n,
                n ? c->argv[1].p : "", name);
}

void call_reply_help(struct call *c, const char *const *lines) {
    char name[64], title[160];
    const struct command_entry *parent = c->cmd->parent ? c->cmd->parent : c->cmd;
    upper_name(parent->row->name, name, sizeof name);
    size_t n = 0;
    while (lines[n] != NULL)
        n++;
    snprintf(title, sizeof title, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    resp_array(c->w, n + 3);
    resp_simple(c->w, title);
    for (size_t i = 0; i < n; i++)
        resp_simple(c->w, lines[i]);
    resp_simple(c->w, "HELP");
    resp_simple(c->w, "    Prints this help.");
}

void call_redact(struct call *c, int i) {
    c->redacted |= UINT64_C(1) << (i < 63 ? i : 63);
}

/* ---- arguments ---- */

bool call_arg_i64(struct call *c, int i, int64_t *ret_value) {
    if (num_parse_i64(c->argv[i], ret_value) == 0)
        return true;
    call_error_not_integer(c);
    return false;
}

bool call_arg_i64_range(struct call *c, int i, int64_t min, int64_t max, const char *error, int64_t *ret_value) {
    int64_t v;
    bool is_int = num_parse_i64(c->argv[i], &v) == 0;
    if (is_int && v >= min && v <= max) {
        *ret_value = v;
        return true;
    }
    if (error != NULL)
        call_error(c, error);
    else if (is_int)
        call_errorf(c, "ERR value is out of range, value must between %lld and %lld", (long long)min, (long long)max);
    else
        call_error_not_integer(c);
    return false;
}

bool call_arg_double(struct call *c, int i, double *ret_value) {
    if (num_parse_double(c->argv[i], ret_value) == 0)
        return true;
    call_error_not_float(c);
    return false;
}

bool call_arg_ldouble(struct call *c, int i, long double *ret_value) {
    if (num_parse_ldouble(c->argv[i], ret_value) == 0)
        return true;
    call_error_not_float(c);
    return false;
}

bool call_arg_db(struct call *c, int i, unsigned *ret_db) {
    int64_t v;
    if (num_parse_i64(c->argv[i], &v) != 0) {
        call_error_not_integer(c);
        return false;
    }
    if (v < 0 || v >= (int64_t)keyspace_databases(c->ks)) {
        call_error(c, "ERR DB index is out of range");
        return false;
    }
    *ret_db = (unsigned)v;
    return true;
}

bool call_arg_deadline(struct call *c, int i, int64_t unit_ms, bool absolute, bool positive, int64_t *ret_ms) {
    int64_t v;
    if (!call_arg_i64(c, i, &v))
        return false;
    bool bad = positive && v <= 0;
    bad = bad || num_mul_i64(v, unit_ms, &v);
    if (!absolute)
        bad = bad || num_add_i64(v, call_now_ms(c), &v);
    if (bad) {
        call_errorf(c, "ERR invalid expire time in '%s' command", c->cmd->full_name);
        return false;
    }
    *ret_ms = v;
    return true;
}

struct rbuf *call_take_argument(struct call *c, struct slice argument) {
    if (c->large == NULL || argument.p != c->large->data || argument.n != c->large->len)
        return NULL;
    return rbuf_ref(c->large);
}

/* ---- keys ---- */

struct keyref call_key(const struct call *c, int i) {
    if (i == c->key_index)
        return c->key;
    return keyspace_key(c->ks, c->argv[i]);
}

/* A reader must wait for changes it saw that are not released. */
static inline void note_read(struct call *c, unsigned db, const struct keyref *key) {
    if (c->engine->inflight.ring_count == 0 && c->engine->inflight.all_offset == 0)
        return;
    uint64_t offset = inflight_offset(&c->engine->inflight, inflight_key(db, key->hash));
    if (offset > c->engine->read_offset)
        c->engine->read_offset = offset;
}

/* CLIENT NO-TOUCH: what this client uses does not get younger by it. */
static inline enum keyspace_lookup lookup_of(const struct call *c) {
    return __builtin_expect(c->client->flags & CLIENT_NO_TOUCH, 0) ? KEYSPACE_LOOKUP_NOTOUCH : KEYSPACE_LOOKUP_TOUCH;
}

/* Who runs again for a key sees only this one of the keys it waits for. */
static inline bool is_hidden(const struct call *c, const struct keyref *key) {
    return __builtin_expect(c->retry, 0) && block_keys_hides(c, key);
}

static void miss(struct call *c, const struct keyref *key, bool event) {
    c->engine->stats.keyspace_misses++;
    if (event)
        call_notify(c, c->db, key, NOTIFY_KEY_MISS, "keymiss");
}

static inline struct entry *find_counted(struct call *c, const struct keyref *key, enum keyspace_lookup how,
                                         bool event) {
    if (is_hidden(c, key))
        return NULL;
    struct entry *e = keyspace_find(c->ks, c->db, key, how);
    note_read(c, c->db, key);
    if (e != NULL)
        c->engine->stats.keyspace_hits++;
    else
        miss(c, key, event);
    return e;
}

struct entry *call_find_read(struct call *c, const struct keyref *key) {
    return find_counted(c, key, lookup_of(c), true);
}

struct entry *call_find_read_notouch(struct call *c, const struct keyref *key) {
    return find_counted(c, key, KEYSPACE_LOOKUP_NOTOUCH, true);
}

struct entry *call_find_read_silent(struct call *c, const struct keyref *key) {
    return find_counted(c, key, KEYSPACE_LOOKUP_NOTOUCH, false);
}

struct entry *call_find_write_db(struct call *c, unsigned db, const struct keyref *key) {
    note_read(c, db, key);
    return keyspace_find(c->ks, db, key, lookup_of(c));
}

struct entry *call_find_write(struct call *c, const struct keyref *key) {
    return is_hidden(c, key) ? NULL : call_find_write_db(c, c->db, key);
}

static bool check_type(struct call *c, struct entry *e, enum value_type type, struct entry **ret_e) {
    if (e != NULL && entry_type(e) != type) {
        call_error_wrong_type(c);
        return false;
    }
    *ret_e = e;
    return true;
}

bool call_find_read_type(struct call *c, const struct keyref *key, enum value_type type, struct entry **ret_e) {
    return check_type(c, call_find_read(c, key), type, ret_e);
}

bool call_find_write_type(struct call *c, const struct keyref *key, enum value_type type, struct entry **ret_e) {
    return check_type(c, call_find_write(c, key), type, ret_e);
}

/* ---- collections ---- */

static bool is_empty(enum value_type type, const struct collection *col) {
    const struct value_type_ops *ops = value_type_ops(type);
    return ops->count != NULL && ops->count(col->encoding, col->object) == 0;
}

bool call_collection_store(struct call *c, const struct keyref *key, struct entry *e, enum value_type type,
                           const struct collection *col) {
    bool empty = is_empty(type, col);
    if (e != NULL) {
        if (entry_object(e) != col->object || entry_encoding(e) != col->encoding)
            keyspace_set_object(c->ks, e, col->encoding, col->object);
        if (empty)
            keyspace_delete(c->ks, c->db, key, false);
        else if (type == VALUE_HASH)
            keyspace_fields_changed(c->ks, c->db, e);
    } else if (empty) {
        value_free(collection_value(type, col));
    } else {
        (void)keyspace_put(c->ks, c->db, key, collection_value(type, col), KEYSPACE_NO_DEADLINE);
    }
    return !empty;
}

bool call_collection_replace(struct call *c, const struct keyref *key, enum value_type type,
                             const struct collection *col, bool *ret_existed) {
    bool existed = call_find_write(c, key) != NULL;
    bool empty = is_empty(type, col);
    if (ret_existed != NULL)
        *ret_existed = existed;
    if (empty) {
        value_free(collection_value(type, col));
        if (existed)
            keyspace_delete(c->ks, c->db, key, false);
    } else {
        (void)keyspace_put(c->ks, c->db, key, collection_value(type, col), KEYSPACE_NO_DEADLINE);
    }
    return !empty;
}

/* ---- changes ---- */

static inline void note_in_flight(struct engine *e, unsigned db, const struct keyref *key) {
    if (e->log_active) {
        if (e->changed_count == e->changed_cap) {
            e->changed_cap = e->changed_cap ? e->changed_cap * 2 : 64;
            e->changed = mem_realloc(e->changed, e->changed_cap * sizeof *e->changed);
        }
        e->changed[e->changed_count++] = inflight_key(db, key->hash);
    }
}

void call_changed_db(struct call *c, unsigned db, const struct keyref *key, enum notify_class cls, const char *event) {
    struct engine *e = c->engine;
    c->dirty++;
    if (__builtin_expect(e->watch_count != 0, 0))
        transaction_touch(e, db, key);
    if (__builtin_expect(e->waits.queues != 0, 0))
        block_keys_note(e, db, key);
    note_in_flight(e, db, key);
    call_notify(c, db, key, cls, event);
}

void call_changed_unwatched(struct call *c, const struct keyref *key, bool wakes) {
    struct engine *e = c->engine;
    c->dirty++;
    if (wakes && e->waits.queues != 0)
        block_keys_note(e, c->db, key);
    note_in_flight(e, c->db, key);
}

void call_changed(struct call *c, const struct keyref *key, enum notify_class cls, const char *event) {
    call_changed_db(c, c->db, key, cls, event);
}

void call_notify(struct call *c, unsigned db, const struct keyref *key, enum notify_class cls, const char *event) {
    if (c->engine->notify.fn != NULL)
        c->engine->notify.fn(c->engine->notify.ctx, db, key, (unsigned)cls, event);
}

void call_changed_all(struct call *c, int db, size_t keys) {
    c->dirty += keys ? keys : 1;
    if (c->engine->watch_count != 0)
        transaction_touch_all(c->engine, db);
    if (c->engine->waits.queues != 0)
        block_keys_note_all(c->engine, db);
    c->engine->changed_everything = true;
}
