/* OBJECT ENCODING | FREQ | IDLETIME | REFCOUNT | HELP */
#include "config.h"

#include "server/commands/keys_int.h"

#include <limits.h>

#include "server/commands/rows.h"
#include "server/engine/engine.h"

/* Small integers are one shared object in Redis, and tools see that by this count. */
#define SHARED_INTEGERS 10000

/* The entry, or NULL with null replied. */
static struct entry *find_or_null(struct call *c) {
    struct keyref key = call_key(c, 2);
    struct entry *e = call_find_read_silent(c, &key);
    if (e == NULL)
        resp_null(c->w);
    return e;
}

static void encoding_run(struct call *c) {
    const struct entry *e = find_or_null(c);
    if (e != NULL)
        resp_bulk_cstr(c->w, value_encoding_name(entry_encoding(e)));
}

static void refcount_run(struct call *c) {
    const struct entry *e = find_or_null(c);
    if (e == NULL)
        return;
    int64_t i;
    bool shared = entry_type(e) == VALUE_STRING && entry_string_is_int(e, &i) && i >= 0 && i < SHARED_INTEGERS;
    resp_int(c->w, shared ? INT_MAX : 1);
}

static bool clock_is_lfu(const struct call *c) {
    int policy = engine_options(c->engine)->maxmemory_policy;
    return policy == KEYSPACE_EVICT_ALLKEYS_LFU || policy == KEYSPACE_EVICT_VOLATILE_LFU;
}

#define SWITCHING_NOTE                                                                                                 \
    "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."

static void idletime_run(struct call *c) {
    const struct entry *e = find_or_null(c);
    if (e == NULL)
        return;
    if (clock_is_lfu(c))
        call_error(c, "ERR An LFU maxmemory policy is selected, idle time not tracked. " SWITCHING_NOTE);
    else
        resp_int(c->w, entry_idle_s(e, call_now_ms(c)));
}

static void freq_run(struct call *c) {
    const struct entry *e = find_or_null(c);
    if (e == NULL)
        return;
    if (!clock_is_lfu(c))
        call_error(c, "ERR An LFU maxmemory policy is not selected, access frequency not tracked. " SWITCHING_NOTE);
    else
        resp_int(c->w, entry_lfu_counter(e, call_now_ms(c), (int)engine_options(c->engine)->lfu_decay_time));
}

static void help_run(struct call *c) {
    static const char *const lines[] = {
        "ENCODING <key>",
        "    How the value is laid out in memory.",
        "FREQ <key>",
        "    The logarithmic access counter of an LFU eviction policy.",
        "IDLETIME <key>",
        "    Seconds since the key was last used.",
        "REFCOUNT <key>",
        "    How many times the value is referenced.",
        NULL,
    };
    call_reply_help(c, lines);
}

static const char *const nondeterministic[] = {"nondeterministic_output", NULL};

#define OBJECT_ROW(name_, since_, run_)                                                                                \
    {                                                                                                                  \
        .name = (name_), .group = "generic", .since = (since_), .arity = 3, .flags = COMMAND_READONLY,                 \
        .acl = ACL_KEYSPACE, .keys = {ROW_KEYS(KEY_RO, 2, 0, 1)}, .tips = nondeterministic, .run = (run_)              \
    }

static const struct command subcommands[] = {
    OBJECT_ROW("encoding", "2.2.3", encoding_run),
    OBJECT_ROW("freq", "4.0.0", freq_run),
    {.name = "help",
     .group = "generic",
     .since = "6.2.0",
     .arity = 2,
     .flags = COMMAND_LOADING | COMMAND_STALE,
     .acl = ACL_KEYSPACE,
     .run = help_run},
    OBJECT_ROW("idletime", "2.2.3", idletime_run),
    OBJECT_ROW("refcount", "2.2.3", refcount_run),
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "object", .group = "generic", .since = "2.2.3", .arity = -2, .subcommands = subcommands},
};

void keys_object_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
