/* Members by chance: SPOP SRANDMEMBER.
 *
 * What SPOP took is propagated as SREM in pieces, or as DEL or UNLINK where nothing is left. */
#include "config.h"

#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/rows.h"
#include "server/commands/set_int.h"
#include "server/engine/engine.h"

/* Members in one SREM. */
#define PIECE 1024
/* SPOP that takes so many times what it leaves puts the rest into a new set. */
#define TAKEN_PER_LEFT 5

/* ---- SREM in pieces ---- */

/* Texts of members on their way into the change log. They are copied: the set they come from changes. */
struct pieces {
    struct call *call;
    struct slice key;
    struct buf text;
    size_t ends[PIECE]; /* of the texts */
    size_t held;
};

static void pieces_flush(struct pieces *p) {
    if (p->held == 0)
        return;
    struct slice *argv = mem_calloc(p->held + 2, sizeof *argv);
    argv[0] = SLICE_LIT("SREM");
    argv[1] = p->key;
    for (size_t i = 0, at = 0; i < p->held; at = p->ends[i++])
        argv[2 + i] = slice_of(p->text.data + at, p->ends[i] - at);
    call_propagate(p->call, p->call->db, argv, (int)p->held + 2);
    mem_free_sized(argv, (p->held + 2) * sizeof *argv);
    p->held = 0;
    buf_clear(&p->text);
}

static void pieces_add(struct pieces *p, const struct packed_item *member) {
    if (member->is_int)
        buf_append_i64(&p->text, member->i);
    else
        buf_append_slice(&p->text, member->s);
    p->ends[p->held++] = p->text.len;
    if (p->held == PIECE)
        pieces_flush(p);
}

/* ---- SPOP ---- */

/* The members to be taken: replied and put into pieces as they are drawn, removed afterwards. */
struct taking {
    struct call *call;
    struct pieces pieces;
    struct buf text;                /* of all of them, each behind its length */
    const struct collection *stays; /* members of this set are not taken */
};

static void take(struct taking *t, const struct packed_item *member) {
    call_reply_item(t->call->w, member);
    pieces_add(&t->pieces, member);
}

static void take_and_note(void *arg, const struct packed_item *member) {
    struct taking *t = arg;
    char digits[NUM_I64_CHARS];
    struct slice text = packed_text(member, digits);
    take(t, member);
    buf_append(&t->text, &text.n, sizeof text.n);
    buf_append_slice(&t->text, text);
}

static int take_unless_it_stays(void *arg, const struct packed_item *member) {
    struct taking *t = arg;
    if (!set_contains_item(t->stays, member))
        take(t, member);
    return 0;
}

struct keeping {
    struct collection set;
    size_t expected;
    bool made;
};

static void keep(void *arg, const struct packed_item *member) {
    struct keeping *k = arg;
    if (!k->made) {
        k->set = set_create(k->set.rules, k->expected, member->is_int ? SLICE_LIT("0") : member->s);
        k->made = true;
    }
    bool added = set_add_item(&k->set, member);
    HF_ASSERT(added);
}

/* Takes n members, fewer than there are, out of *s. */
static void take_some(struct call *c, struct slice key, struct collection *s, size_t n) {
    struct taking t = {.call = c, .pieces = {.call = c, .key = key, .text = BUF_INIT}, .text = BUF_INIT};
    struct rng *rng = engine_rng(c->engine);
    size_t left = set_count(s) - n;
    resp_set(c->w, n);
    if (left > n / TAKEN_PER_LEFT) {
        set_sample(s, n, rng, take_and_note, &t);
        for (size_t at = 0, len; at < t.text.len; at += len) {
            memcpy(&len, t.text.data + at, sizeof len);
            at += sizeof len;
            bool removed = set_remove(s, slice_of(t.text.data + at, len));
            HF_ASSERT(removed);
        }
    } else {
        struct keeping k = {.set.rules = s->rules, .expected = left};
        set_sample(s, left, rng, keep, &k);
        t.stays = &k.set;
        (void)set_each(s, take_unless_it_stays, &t);
        set_destroy(s);
        *s = k.set;
    }
    pieces_flush(&t.pieces);
    buf_deinit(&t.pieces.text);
    buf_deinit(&t.text);
}

static void take_all(struct call *c, const struct keyref *key, const struct collection *s) {
    const bool lazy = engine_options(c->engine)->lazy_server_del;
    resp_set(c->w, set_count(s));
    set_reply_members(c, s);
    keyspace_delete(c->ks, c->db, key, lazy);
    call_changed(c, key, NOTIFY_SET, "spop");
    call_notify(c, c->db, key, NOTIFY_GENERIC, "del");
    const struct slice argv[2] = {lazy ? SLICE_LIT("UNLINK") : SLICE_LIT("DEL"), key->key};
    call_propagate(c, c->db, argv, 2);
}

static void spop_count(struct call *c) {
    int64_t n;
    if (!call_arg_i64_range(c, 2, 0, INT64_MAX, "ERR value is out of range, must be positive", &n))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_SET, &e))
        return;
    if (e == NULL || n == 0) {
        resp_set(c->w, 0);
        return;
    }
    struct collection s = call_collection(c, e);
    if ((uint64_t)n >= set_count(&s)) {
        take_all(c, &key, &s);
        return;
    }
    take_some(c, key.key, &s, (size_t)n);
    set_store_smaller(c, &key, e, &s, "spop");
}

static void spop_run(struct call *c) {
    if (c->argc == 3) {
        spop_count(c);
        return;
    }
    if (c->argc > 3) {
        call_error_syntax(c);
        return;
    }
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_write_type(c, &key, VALUE_SET, &e))
        return;
    if (e == NULL) {
        resp_null(c->w);
        return;
    }
    struct collection s = call_collection(c, e);
    const struct packed_item member = set_random(&s, engine_rng(c->engine));
    call_reply_item(c->w, &member);
    struct buf text = BUF_INIT;
    if (member.is_int)
        buf_append_i64(&text, member.i);
    else
        buf_append_slice(&text, member.s);
    bool removed = set_remove(&s, buf_slice(&text));
    HF_ASSERT(removed);
    set_store_smaller(c, &key, e, &s, "spop");
    const struct slice argv[3] = {SLICE_LIT("SREM"), key.key, buf_slice(&text)};
    call_propagate(c, c->db, argv, 3);
    buf_deinit(&text);
}

/* ---- SRANDMEMBER ---- */

static void reply_member(void *arg, const struct packed_item *member) {
    const struct call *c = arg;
    call_reply_item(c->w, member);
}

static void srandmember_count(struct call *c) {
    int64_t n;
    if (!call_arg_i64_range(c, 2, -INT64_MAX, INT64_MAX, NULL, &n))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_SET, &e))
        return;
    if (e == NULL || n == 0) {
        resp_array(c->w, 0);
        return;
    }
    const struct collection s = call_collection(c, e);
    struct rng *rng = engine_rng(c->engine);
    if (n > 0) {
        size_t count = set_count(&s);
        resp_array(c->w, (uint64_t)n < count ? (size_t)n : count);
        set_sample(&s, (uint64_t)n < count ? (size_t)n : count, rng, reply_member, c);
        return;
    }
    resp_array(c->w, (size_t)-n);
    for (; n < 0; n++) {
        const struct packed_item member = set_random(&s, rng);
        call_reply_item(c->w, &member);
    }
}

static void srandmember_run(struct call *c) {
    if (c->argc == 3) {
        srandmember_count(c);
        return;
    }
    if (c->argc > 3) {
        call_error_syntax(c);
        return;
    }
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_SET, &e))
        return;
    if (e == NULL) {
        resp_null(c->w);
        return;
    }
    const struct collection s = call_collection(c, e);
    const struct packed_item member = set_random(&s, engine_rng(c->engine));
    call_reply_item(c->w, &member);
}

static const char *const tips[] = {"nondeterministic_output", NULL};

static const struct command rows[] = {
    {.name = "spop",
     .group = "set",
     .since = "1.0.0",
     .arity = -2,
     .flags = COMMAND_WRITE | COMMAND_FAST,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RW | KEY_ACCESS | KEY_DELETE)},
     .tips = tips,
     .run = spop_run},
    {.name = "srandmember",
     .group = "set",
     .since = "1.0.0",
     .arity = -2,
     .flags = COMMAND_READONLY,
     .acl = ACL_SET,
     .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)},
     .tips = tips,
     .run = srandmember_run},
};

void set_random_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
