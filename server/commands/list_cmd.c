/* Lists: what their commands share. */
#include "config.h"

#include "server/commands/list_int.h"

#include "server/commands/commands.h"

bool list_arg_side(struct call *c, int i, enum quicklist_side *ret_side) {
    if (slice_is(c->argv[i], "left")) {
        *ret_side = QUICKLIST_HEAD;
    } else if (slice_is(c->argv[i], "right")) {
        *ret_side = QUICKLIST_TAIL;
    } else {
        call_error_syntax(c);
        return false;
    }
    return true;
}

size_t list_range(int64_t start, int64_t end, size_t count, size_t *ret_from) {
    int64_t n = (int64_t)count;
    *ret_from = 0;
    if (start < 0)
        start = start + n > 0 ? start + n : 0;
    if (end < 0)
        end += n;
    if (end >= n)
        end = n - 1;
    if (start > end)
        return 0;
    *ret_from = (size_t)start;
    return (size_t)(end - start) + 1;
}

void list_error_large(struct call *c) {
    call_error(c, "ERR Element too large");
}

void list_removed(struct call *c, const struct keyref *key, struct entry *e, const struct collection *l,
                  const char *event) {
    bool there = call_collection_store(c, key, e, VALUE_LIST, l);
    call_changed(c, key, NOTIFY_LIST, event);
    if (!there)
        call_notify(c, c->db, key, NOTIFY_GENERIC, "del");
}

void list_commands_register(struct command_table *t) {
    list_change_register(t);
    list_read_register(t);
    list_pop_register(t);
    list_move_register(t);
}
