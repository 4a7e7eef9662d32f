/* What the stream commands have in common. */
#include "config.h"

#include "server/commands/stream_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/commands.h"

size_t stream_id_format(char dst[STREAM_ID_CHARS], struct stream_id id) {
    size_t n = num_format_u64(dst, id.ms);
    dst[n++] = '-';
    return n + num_format_u64(dst + n, id.seq);
}

/* ---- ids ---- */

#define ID_TEXT_MAX 127

/* Digits, with what strtoull() allows in front of them: Redis's clients send such ids. */
static bool parse_half(const char *s, uint64_t *ret_v) {
    if (num_parse_u64(slice_cstr(s), ret_v) == 0)
        return true;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno != 0 || *s == '\0' || *end != '\0' || strchr(s, '-') != NULL)
        return false;
    *ret_v = v;
    return true;
}

static bool parse_id(struct slice s, uint64_t missing_seq, bool strict, struct stream_id *ret_id, bool *ret_auto_seq) {
    char text[ID_TEXT_MAX + 1];
    if (ret_auto_seq != NULL)
        *ret_auto_seq = false;
    if (s.n > ID_TEXT_MAX || s.n == 0)
        return false;
    if (s.n == 1 && (s.p[0] == '-' || s.p[0] == '+')) {
        *ret_id = s.p[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return !strict;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    char *dash = strchr(text, '-');
    struct stream_id id = {0, missing_seq};
    if (dash != NULL)
        *dash = '\0';
    if (!parse_half(text, &id.ms))
        return false;
    if (dash != NULL && ret_auto_seq != NULL && strcmp(dash + 1, "*") == 0) {
        *ret_auto_seq = true;
        id.seq = 0;
    } else if (dash != NULL && !parse_half(dash + 1, &id.seq)) {
        return false;
    }
    *ret_id = id;
    return true;
}

static bool arg_id(struct call *c, struct slice s, uint64_t missing_seq, bool strict, struct stream_id *ret_id,
                   bool *ret_auto_seq) {
    if (parse_id(s, missing_seq, strict, ret_id, ret_auto_seq))
        return true;
    call_error(c, "ERR Invalid stream ID specified as stream command argument");
    return false;
}

bool stream_arg_id(struct call *c, int i, uint64_t missing_seq, struct stream_id *ret_id) {
    return arg_id(c, c->argv[i], missing_seq, false, ret_id, NULL);
}

bool stream_arg_strict_id(struct call *c, int i, uint64_t missing_seq, struct stream_id *ret_id, bool *ret_auto_seq) {
    return arg_id(c, c->argv[i], missing_seq, true, ret_id, ret_auto_seq);
}

bool stream_parse_strict_id(struct slice s, uint64_t missing_seq, struct stream_id *ret_id) {
    return parse_id(s, missing_seq, true, ret_id, NULL);
}

static bool arg_end(struct call *c, int i, uint64_t missing_seq, struct stream_id *ret_id, bool *ret_excluded) {
    struct slice s = c->argv[i];
    *ret_excluded = s.n > 1 && s.p[0] == '(';
    if (*ret_excluded)
        s = slice_of(s.p + 1, s.n - 1);
    return arg_id(c, s, missing_seq, *ret_excluded, ret_id, NULL);
}

bool stream_arg_start(struct call *c, int i, struct stream_id *ret_id) {
    bool excluded;
    if (!arg_end(c, i, 0, ret_id, &excluded))
        return false;
    if (!excluded || stream_id_increment(ret_id))
        return true;
    call_error(c, "ERR invalid start ID for the interval");
    return false;
}

bool stream_arg_end(struct call *c, int i, struct stream_id *ret_id) {
    bool excluded;
    if (!arg_end(c, i, UINT64_MAX, ret_id, &excluded))
        return false;
    if (!excluded || stream_id_decrement(ret_id))
        return true;
    call_error(c, "ERR invalid end ID for the interval");
    return false;
}

bool stream_refs_parse(struct slice word, enum stream_refs *ret_refs) {
    if (slice_is(word, "keepref"))
        *ret_refs = STREAM_KEEPREF;
    else if (slice_is(word, "delref"))
        *ret_refs = STREAM_DELREF;
    else if (slice_is(word, "acked"))
        *ret_refs = STREAM_ACKED;
    else
        return false;
    return true;
}

/* ---- keys ---- */

static struct stream *stream_in(const struct entry *e) {
    return e != NULL ? entry_object(e) : NULL;
}

bool stream_find_read(struct call *c, const struct keyref *key, struct stream **ret_stream) {
    struct entry *e;
    if (!call_find_read_type(c, key, VALUE_STREAM, &e))
        return false;
    *ret_stream = stream_in(e);
    return true;
}

bool stream_find_write(struct call *c, const struct keyref *key, struct stream **ret_stream) {
    struct entry *e;
    if (!call_find_write_type(c, key, VALUE_STREAM, &e))
        return false;
    *ret_stream = stream_in(e);
    return true;
}

void stream_error_no_group(struct call *c, struct slice key, struct slice group) {
    call_errorf(c, "NOGROUP No such key '%.*s' or consumer group '%.*s'", (int)key.n, key.p, (int)group.n, group.p);
}

bool stream_find_group(struct call *c, struct stream **ret_stream, struct stream_group **ret_group) {
    struct keyref key = call_key(c, 1);
    if (!stream_find_read(c, &key, ret_stream))
        return false;
    *ret_group = *ret_stream != NULL ? stream_group_find(*ret_stream, c->argv[2]) : NULL;
    if (*ret_group != NULL)
        return true;
    stream_error_no_group(c, c->argv[1], c->argv[2]);
    return false;
}

struct stream_consumer *stream_consumer_obtain(struct call *c, const struct keyref *key, struct stream_group *g,
                                               struct slice name) {
    struct stream_consumer *consumer = stream_consumer_find(g, name);
    if (consumer != NULL)
        return consumer;
    consumer = stream_consumer_create(g, name, call_now_ms(c));
    call_changed_unwatched(c, key, false);
    call_notify(c, c->db, key, NOTIFY_STREAM, "xgroup-createconsumer");
    stream_propagate_consumer(c, key->key, g, name);
    return consumer;
}

/* ---- replies ---- */

void stream_reply_id(struct call *c, struct stream_id id) {
    char text[STREAM_ID_CHARS];
    resp_bulk(c->w, slice_of(text, stream_id_format(text, id)));
}

void stream_reply_entry(struct call *c, struct stream_iter *it, struct stream_id id, uint64_t fields) {
    struct packed_item field, value;
    resp_array(c->w, 2);
    stream_reply_id(c, id);
    resp_array(c->w, 2 * fields);
    for (uint64_t i = 0; i < fields; i++) {
        stream_iter_field(it, &field, &value);
        call_reply_item(c->w, &field);
        call_reply_item(c->w, &value);
    }
}

uint64_t stream_reply_range(struct call *c, const struct stream *s, struct stream_id start, struct stream_id end,
                            uint64_t count, bool reverse) {
    struct stream_iter it;
    struct stream_id id;
    uint64_t fields, n = 0;
    struct outq_hole hole = resp_open(c->w);
    stream_iter_init(&it, s, start, end, reverse);
    while ((count == 0 || n < count) && stream_iter_next(&it, &id, &fields)) {
        stream_reply_entry(c, &it, id, fields);
        n++;
    }
    resp_close_array(c->w, hole, n);
    return n;
}

/* ---- effects ---- */

struct id_text {
    char text[STREAM_ID_CHARS];
};

static struct slice id_slice(struct id_text *t, struct stream_id id) {
    return slice_of(t->text, stream_id_format(t->text, id));
}

void stream_propagate_claim(struct call *c, struct slice key, const struct stream_group *g, struct stream_id id,
                            const struct stream_pending *p) {
    struct id_text text, last;
    char at[NUM_I64_CHARS], count[NUM_I64_CHARS];
    const struct slice argv[] = {SLICE_LIT("XCLAIM"),
                                 key,
                                 g->name,
                                 p->consumer->name,
                                 SLICE_LIT("0"),
                                 id_slice(&text, id),
                                 SLICE_LIT("TIME"),
                                 slice_of(at, num_format_i64(at, p->delivered_ms)),
                                 SLICE_LIT("RETRYCOUNT"),
                                 slice_of(count, num_format_u64(count, p->deliveries)),
                                 SLICE_LIT("FORCE"),
                                 SLICE_LIT("JUSTID"),
                                 SLICE_LIT("LASTID"),
                                 id_slice(&last, g->last_id)};
    call_propagate(c, c->db, argv, sizeof argv / sizeof argv[0]);
}

void stream_propagate_group(struct call *c, struct slice key, const struct stream_group *g) {
    struct id_text last;
    char read[NUM_I64_CHARS];
    /* A counter that somebody set near its end may have passed it: no server would take that number. */
    int64_t entries_read = g->entries_read < 0 ? STREAM_ENTRIES_READ_UNKNOWN : g->entries_read;
    const struct slice argv[] = {SLICE_LIT("XGROUP"),
                                 SLICE_LIT("SETID"),
                                 key,
                                 g->name,
                                 id_slice(&last, g->last_id),
                                 SLICE_LIT("ENTRIESREAD"),
                                 slice_of(read, num_format_i64(read, entries_read))};
    call_propagate(c, c->db, argv, sizeof argv / sizeof argv[0]);
}

void stream_propagate_consumer(struct call *c, struct slice key, const struct stream_group *g, struct slice consumer) {
    const struct slice argv[] = {SLICE_LIT("XGROUP"), SLICE_LIT("CREATECONSUMER"), key, g->name, consumer};
    call_propagate(c, c->db, argv, sizeof argv / sizeof argv[0]);
}

#define IDS_PER_COMMAND 128

void stream_propagate_ids(struct call *c, const char *verb, struct slice key, struct slice extra,
                          const struct stream_id *ids, size_t n) {
    struct id_text texts[IDS_PER_COMMAND];
    struct slice argv[IDS_PER_COMMAND + 3];
    for (size_t from = 0; from < n; from += IDS_PER_COMMAND) {
        int argc = 0;
        argv[argc++] = slice_cstr(verb);
        argv[argc++] = key;
        if (extra.p != NULL)
            argv[argc++] = extra;
        for (size_t i = from; i < n && i < from + IDS_PER_COMMAND; i++)
            argv[argc++] = id_slice(&texts[i - from], ids[i]);
        call_propagate(c, c->db, argv, argc);
    }
}

void stream_effects_note_ack(struct stream_effects *f, size_t group, struct stream_id id) {
    if (f->ack_count == f->ack_cap) {
        f->ack_cap = f->ack_cap != 0 ? 2 * f->ack_cap : 16;
        f->acks = mem_realloc(f->acks, f->ack_cap * sizeof f->acks[0]);
    }
    f->acks[f->ack_count].group = group;
    f->acks[f->ack_count++].id = id;
}

void stream_effects_note(void *arg, struct stream_id id) {
    struct stream_effects *f = arg;
    if (f->count == f->cap) {
        f->cap = f->cap != 0 ? 2 * f->cap : 16;
        f->ids = mem_realloc(f->ids, f->cap * sizeof f->ids[0]);
    }
    f->ids[f->count++] = id;
    for (size_t i = 0; i < f->s->groups.count; i++)
        if (stream_pending_find(stream_group_at(f->s, i), id) != NULL)
            stream_effects_note_ack(f, i, id);
}

void stream_effects_propagate(struct call *c, const struct stream_effects *f, struct slice key, bool deleted) {
    struct stream_id *of_group = f->ack_count != 0 ? mem_alloc(f->ack_count * sizeof *of_group) : NULL;
    for (size_t g = 0; f->ack_count != 0 && g < f->s->groups.count; g++) {
        size_t n = 0;
        for (size_t i = 0; i < f->ack_count; i++)
            if (f->acks[i].group == g)
                of_group[n++] = f->acks[i].id;
        stream_propagate_ids(c, "XACK", key, stream_group_at(f->s, g)->name, of_group, n);
    }
    mem_free(of_group);
    if (deleted)
        stream_propagate_ids(c, "XDEL", key, slice_of(NULL, 0), f->ids, f->count);
}

void stream_effects_deinit(struct stream_effects *f) {
    mem_free(f->ids);
    mem_free(f->acks);
}

void stream_commands_register(struct command_table *t) {
    stream_add_register(t);
    stream_delete_register(t);
    stream_range_register(t);
    stream_read_register(t);
    stream_group_register(t);
    stream_pending_register(t);
    stream_claim_register(t);
    stream_info_register(t);
}
