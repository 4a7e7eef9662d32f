#include "config.h"

#include "server/engine/info.h"

#include <inttypes.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/base/num.h"

/* INFO. Parts are kept in order of registration; composing walks the sections in the field's order and, for each, its
 * parts. */

struct part {
    const char *title;
    enum info_when when;
    void (*fn)(void *ctx, struct buf *out);
    void *ctx;
};

struct info {
    struct part *parts;
    size_t count, cap;
};

static const char *const field_order[] = {"Server",       "Clients", "Memory",  "Persistence",  "Stats",
                                          "Replication",  "CPU",     "Modules", "Commandstats", "Errorstats",
                                          "Latencystats", "Cluster", "Keyspace"};
#define FIELD_SECTIONS (sizeof field_order / sizeof *field_order)

struct info *info_create(void) {
    return mem_calloc(1, sizeof(struct info));
}

void info_destroy(struct info *i) {
    if (i == NULL)
        return;
    mem_free(i->parts);
    mem_free(i);
}

void info_register(struct info *i, const char *title, enum info_when when, void (*fn)(void *ctx, struct buf *out),
                   void *ctx) {
    if (i->count == i->cap) {
        i->cap = i->cap == 0 ? 32 : i->cap * 2;
        i->parts = mem_realloc(i->parts, i->cap * sizeof *i->parts);
    }
    i->parts[i->count++] = (struct part){title, when, fn, ctx};
}

static bool same_title(const char *a, const char *b) {
    size_t n = strlen(a);
    if (n != strlen(b))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((a[i] | 0x20) != (b[i] | 0x20))
            return false;
    return true;
}

struct wanted {
    const struct slice *names;
    int count;
};

static bool names_title(struct slice name, const char *title) {
    char lower[64];
    size_t n = strlen(title);
    if (n >= sizeof lower)
        return false;
    for (size_t i = 0; i <= n; i++)
        lower[i] = title[i] >= 'A' && title[i] <= 'Z' ? (char)(title[i] | 0x20) : title[i];
    return slice_is(name, lower);
}

static bool is_wanted(const struct wanted *w, const struct part *p) {
    if (w->count == 0)
        return p->when == INFO_DEFAULT;
    for (int i = 0; i < w->count; i++) {
        if (slice_is(w->names[i], "everything"))
            return true;
        if (slice_is(w->names[i], "all") && p->when <= INFO_ALL)
            return true;
        if (slice_is(w->names[i], "default") && p->when == INFO_DEFAULT)
            return true;
        if (names_title(w->names[i], p->title))
            return true;
    }
    return false;
}

static void compose_section(const struct info *i, const struct wanted *w, const char *title, struct buf *out) {
    bool open = false;
    for (size_t p = 0; p < i->count; p++) {
        const struct part *part = &i->parts[p];
        if (!same_title(part->title, title) || !is_wanted(w, part))
            continue;
        if (!open) {
            if (out->len > 0)
                buf_append_cstr(out, "\r\n");
            buf_printf(out, "# %s\r\n", title);
            open = true;
        }
        part->fn(part->ctx, out);
    }
}

void info_compose(const struct info *i, const struct slice *sections, int count, struct buf *out) {
    struct wanted w = {sections, count};
    struct buf text = BUF_INIT; /* blank lines go between the sections of this text, whatever out holds */
    for (size_t s = 0; s < FIELD_SECTIONS; s++)
        compose_section(i, &w, field_order[s], &text);
    for (size_t p = 0; p < i->count; p++) {
        const char *title = i->parts[p].title;
        bool done = false;
        for (size_t s = 0; s < FIELD_SECTIONS && !done; s++)
            done = same_title(title, field_order[s]);
        for (size_t before = 0; before < p && !done; before++)
            done = same_title(title, i->parts[before].title);
        if (!done)
            compose_section(i, &w, title, &text);
    }
    buf_append_slice(out, buf_slice(&text));
    buf_deinit(&text);
}

void info_field_i64(struct buf *out, const char *name, int64_t v) {
    buf_printf(out, "%s:%" PRId64 "\r\n", name, v);
}
void info_field_u64(struct buf *out, const char *name, uint64_t v) {
    buf_printf(out, "%s:%" PRIu64 "\r\n", name, v);
}
void info_field_str(struct buf *out, const char *name, const char *v) {
    buf_printf(out, "%s:%s\r\n", name, v);
}
void info_field_f2(struct buf *out, const char *name, double v) {
    buf_printf(out, "%s:%.2f\r\n", name, v);
}

void info_field_bytes(struct buf *out, const char *name, uint64_t v) {
    char human[32];
    size_t n = num_format_human_bytes(human, v);
    info_field_u64(out, name, v);
    buf_printf(out, "%s_human:%.*s\r\n", name, (int)n, human);
}
