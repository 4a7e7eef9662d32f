/* What the files of the set commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_SET_INT_H
#define HF_COMMANDS_SET_INT_H

#include "server/engine/call.h"
#include "server/store/set.h"

/* All members, behind a header that says how many. */
void set_reply_members(struct call *c, const struct collection *s);
/* Stores a set that lost members and announces it with this event, and "del" where the key went with the last one. */
void set_store_smaller(struct call *c, const struct keyref *key, struct entry *e, const struct collection *s,
                       const char *event);

void set_random_register(struct command_table *t);
void set_algebra_register(struct command_table *t);

#endif
