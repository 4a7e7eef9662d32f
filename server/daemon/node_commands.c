#include "config.h"

#include "server/commands/commands.h"
#include "server/daemon/node.h"

/* Which commands this server has, and what they need from the rest of it. */

static void flushed_all(void *ctx) {
    struct node *n = ctx;
    persist_flushed_all(n->persist);
}

void node_register_commands(struct node *n) {
    struct command_table *t = engine_commands(n->engine);
    n->keys_hooks = (struct keys_hooks){.ctx = n, .flushed_all = flushed_all};
    string_commands_register(t);
    bitmap_commands_register(t);
    keys_commands_register(t, &n->keys_hooks);
}
