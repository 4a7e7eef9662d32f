/* BY and GET patterns of SORT. */
#include "config.h"

#include "server/commands/sort_int.h"

#include <string.h>

#include "server/store/hash.h"

struct sort_pattern sort_pattern_parse(struct slice text) {
    struct sort_pattern p = {.is_element = slice_eq(text, SLICE_LIT("#"))};
    if (text.n == 0)
        return p;
    /* Asterisk and arrow are looked for in front of the first NUL, as where patterns are C strings. */
    const char *nul = memchr(text.p, '\0', text.n), *end = text.p + text.n, *seen = nul != NULL ? nul : end;
    const char *star = memchr(text.p, '*', (size_t)(seen - text.p));
    if (star == NULL)
        return p;
    p.has_place = true;
    const char *behind_end = end, *arrow = memmem(star + 1, (size_t)(seen - star - 1), "->", 2);
    if (arrow != NULL && arrow + 2 < seen) {
        p.has_field = true;
        p.field = slice_of(arrow + 2, (size_t)(end - arrow - 2));
        behind_end = arrow;
    }
    p.before = slice_of(text.p, (size_t)(star - text.p));
    p.behind = slice_of(star + 1, (size_t)(behind_end - star - 1));
    return p;
}

bool sort_pattern_keeps_slot(const struct keyspace *ks, struct slice text, const struct keyref *key) {
    const struct sort_pattern p = sort_pattern_parse(text);
    if (p.is_element)
        return true;
    const struct slice fixed = p.has_place ? p.before : text;
    const char *open = memchr(fixed.p, '{', fixed.n);
    if (open == NULL)
        return false;
    const char *shut = memchr(open + 1, '}', (size_t)(fixed.p + fixed.n - open - 1));
    return shut != NULL && shut != open + 1 && keyspace_key(ks, text).slot == key->slot;
}

bool sort_pattern_get(struct call *c, const struct sort_pattern *p, struct slice element, struct buf *name,
                      struct packed_item *ret_value) {
    if (p->is_element) {
        *ret_value = packed_bytes(element);
        return true;
    }
    if (!p->has_place)
        return false;
    buf_clear(name);
    buf_append_slice(name, p->before);
    buf_append_slice(name, element);
    buf_append_slice(name, p->behind);
    const struct keyref key = keyspace_key(c->ks, buf_slice(name));
    struct entry *e = call_find_read(c, &key);
    if (e == NULL || entry_type(e) != (p->has_field ? VALUE_HASH : VALUE_STRING))
        return false;
    if (p->has_field) {
        const struct collection h = call_collection(c, e);
        return hash_get(&h, p->field, keyspace_field_now_ms(c->ks), ret_value);
    }
    int64_t i;
    char unused[24];
    *ret_value = entry_string_is_int(e, &i) ? packed_int(i) : packed_bytes(entry_string(e, unused));
    return true;
}
