/* Streams as commands: an XADD for each entry, XSETID for what entries do not tell, then groups and their consumers,
 * and an XCLAIM for each entry that is pending. What is pending of an entry that is gone cannot be said in commands. */
#include "config.h"

#include "persistence/aof/value_form.h"

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/store/stream.h"

#define ID_CHARS 48

static struct slice id_text(char dst[ID_CHARS], struct stream_id id) {
    size_t n = num_format_u64(dst, id.ms);
    dst[n++] = '-';
    return slice_of(dst, n + num_format_u64(dst + n, id.seq));
}

/* The argument list of an entry, which grows with the entries. */
struct arguments {
    struct slice *argv;
    char (*digits)[NUM_I64_CHARS];
    size_t cap;
};

static bool write_entry(struct command_form *f, struct slice key, struct arguments *a, struct stream_iter *it,
                        struct stream_id id, uint64_t fields) {
    char text[ID_CHARS];
    size_t n = 3 + 2 * fields;
    if (n > a->cap) {
        a->argv = mem_realloc(a->argv, n * sizeof *a->argv);
        a->digits = mem_realloc(a->digits, n * sizeof *a->digits);
        a->cap = n;
    }
    a->argv[0] = SLICE_LIT("XADD");
    a->argv[1] = key;
    a->argv[2] = id_text(text, id);
    for (size_t i = 3; i < n; i += 2) {
        struct packed_item field, value;
        stream_iter_field(it, &field, &value);
        a->argv[i] = packed_text(&field, a->digits[i]);
        a->argv[i + 1] = packed_text(&value, a->digits[i + 1]);
    }
    return form_command(f, a->argv, (int)n);
}

static bool write_entries(struct command_form *f, struct slice key, const struct stream *s) {
    struct stream_iter it;
    struct stream_id id;
    uint64_t fields;
    struct arguments a = {0};
    bool ok = true;
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (ok && stream_iter_next(&it, &id, &fields))
        ok = write_entry(f, key, &a, &it, id, fields);
    mem_free(a.argv);
    mem_free(a.digits);
    if (s->length == 0) { /* an empty stream: one entry that goes at once */
        const struct slice argv[] = {
            SLICE_LIT("XADD"), key,           SLICE_LIT("MAXLEN"), SLICE_LIT("0"), SLICE_LIT("0-1"),
            SLICE_LIT("x"),    SLICE_LIT("y")};
        ok = form_command(f, argv, sizeof argv / sizeof argv[0]);
    }
    return ok;
}

/* XSETID refuses figures that do not go together, which a snapshot of elsewhere may have held. */
static bool write_figures(struct command_form *f, struct slice key, const struct stream *s) {
    char last[ID_CHARS], deleted[ID_CHARS], added[NUM_I64_CHARS];
    struct stream_id max_deleted = s->max_deleted_id;
    uint64_t entries_added = s->entries_added < s->length ? s->length : s->entries_added;
    if (stream_id_compare(max_deleted, s->last_id) > 0)
        max_deleted = s->last_id;
    const struct slice argv[] = {SLICE_LIT("XSETID"),
                                 key,
                                 id_text(last, s->last_id),
                                 SLICE_LIT("ENTRIESADDED"),
                                 slice_of(added, num_format_u64(added, entries_added)),
                                 SLICE_LIT("MAXDELETEDID"),
                                 id_text(deleted, max_deleted)};
    return form_command(f, argv, sizeof argv / sizeof argv[0]);
}

static bool write_claim(struct command_form *f, struct slice key, const struct stream_group *g, struct stream_id id,
                        const struct stream_pending *p) {
    char text[ID_CHARS], at[NUM_I64_CHARS], count[NUM_I64_CHARS];
    const struct slice argv[] = {SLICE_LIT("XCLAIM"),
                                 key,
                                 g->name,
                                 p->consumer->name,
                                 SLICE_LIT("0"),
                                 id_text(text, id),
                                 SLICE_LIT("TIME"),
                                 slice_of(at, num_format_i64(at, p->delivered_ms)),
                                 SLICE_LIT("RETRYCOUNT"),
                                 slice_of(count, num_format_u64(count, p->deliveries)),
                                 SLICE_LIT("JUSTID"),
                                 SLICE_LIT("FORCE")};
    return form_command(f, argv, sizeof argv / sizeof argv[0]);
}

static bool write_group(struct command_form *f, struct slice key, const struct stream_group *g) {
    char last[ID_CHARS], read[NUM_I64_CHARS];
    const struct slice create[] = {
        SLICE_LIT("XGROUP"),
        SLICE_LIT("CREATE"),
        key,
        g->name,
        id_text(last, g->last_id),
        SLICE_LIT("ENTRIESREAD"),
        slice_of(read, num_format_i64(read, g->entries_read < 0 ? STREAM_ENTRIES_READ_UNKNOWN : g->entries_read))};
    bool ok = form_command(f, create, sizeof create / sizeof create[0]);
    for (size_t i = 0; ok && i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        const struct slice argv[] = {SLICE_LIT("XGROUP"), SLICE_LIT("CREATECONSUMER"), key, g->name, c->name};
        ok = form_command(f, argv, sizeof argv / sizeof argv[0]);
        for (struct id_cursor at = id_tree_first(&c->pending); ok && id_cursor_item(&at) != NULL; id_cursor_next(&at))
            ok = write_claim(f, key, g, id_cursor_item(&at)->id, id_cursor_item(&at)->value);
    }
    return ok;
}

void value_form_stream(struct command_form *f, struct slice key, const struct entry *e) {
    const struct stream *s = entry_object(e);
    bool ok = write_entries(f, key, s) && write_figures(f, key, s);
    for (size_t i = 0; ok && i < s->groups.count; i++)
        ok = write_group(f, key, stream_group_at(s, i));
}
