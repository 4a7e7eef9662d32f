/* What the files of the list commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_LIST_INT_H
#define HF_COMMANDS_LIST_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/engine/call.h"
#include "server/store/list.h"

/* LEFT or RIGHT at argv[i]; else replies a syntax error and returns false. */
bool list_arg_side(struct call *c, int i, enum quicklist_side *ret_side);
/* Cuts [start, end] to what a list of `count` elements has; negative positions count from the end, and an end in front
 * of the head leaves nothing (strings differ there: range.h). Returns how many elements are left, and 0 as *ret_from
 * where none is. */
size_t list_range(int64_t start, int64_t end, size_t count, size_t *ret_from);
/* Replies that an element is too long for any list. */
void list_error_large(struct call *c);
/* Stores l, changed by a removal, back to e; announces the event, and "del" where nothing is left. */
void list_removed(struct call *c, const struct keyref *key, struct entry *e, const struct collection *l,
                  const char *event);
static inline const char *list_pop_event(enum quicklist_side side) {
    return side == QUICKLIST_HEAD ? "lpop" : "rpop";
}
static inline const char *list_push_event(enum quicklist_side side) {
    return side == QUICKLIST_HEAD ? "lpush" : "rpush";
}

void list_change_register(struct command_table *t);
void list_read_register(struct command_table *t);
void list_pop_register(struct command_table *t);
void list_move_register(struct command_table *t);

#endif
