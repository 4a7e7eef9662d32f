/* Command rows and the command table.
 *
 * Every module declares its commands as rows (designated initialisers, static storage) and registers them once at start-up with the
 * context its functions need; the rows carry what COMMAND INFO tells and what dispatch checks. Names and facts are the field's (arity counts the
 * name; negative: at least). Thread: the loop's thread; a table is not changed after start-up.
 */
#ifndef HF_ENGINE_COMMAND_H
#define HF_ENGINE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

struct call;
struct latency;

enum command_flags {
    COMMAND_WRITE = 1 << 0,
    COMMAND_READONLY = 1 << 1,
    COMMAND_DENYOOM = 1 << 2,
    COMMAND_ADMIN = 1 << 3,
    COMMAND_PUBSUB = 1 << 4,
    COMMAND_NOSCRIPT = 1 << 5,
    COMMAND_BLOCKING = 1 << 6,
    COMMAND_LOADING = 1 << 7,
    COMMAND_STALE = 1 << 8,
    COMMAND_SKIP_MONITOR = 1 << 9,
    COMMAND_SKIP_SLOWLOG = 1 << 10,
    COMMAND_ASKING = 1 << 11,
    COMMAND_FAST = 1 << 12,
    COMMAND_NO_AUTH = 1 << 13,
    COMMAND_MAY_REPLICATE = 1 << 14,
    COMMAND_NO_MULTI = 1 << 15,
    COMMAND_NO_ASYNC_LOADING = 1 << 16,
    COMMAND_ALLOW_BUSY = 1 << 17,
    COMMAND_PROTECTED = 1 << 18,
    COMMAND_TOUCHES_ARBITRARY_KEYS = 1 << 19,
    COMMAND_MOVABLE_KEYS = 1 << 20, /* set by registration where the key specs do not tell all keys */
    COMMAND_NO_MANDATORY_KEYS = 1 << 21,
    /* Ours: reads the whole key space (KEYS, SCAN, DBSIZE, FLUSH*): its reply waits for the global offset while changes are in flight. */
    COMMAND_WHOLE_KEYSPACE = 1 << 22,
    /* Ours: refused like a write while the disk refuses (PING: what health checks ask). */
    COMMAND_TELLS_HEALTH = 1 << 23,
    /* Ours: may write what is in the log as a command of Redis 7.4 (HPEXPIREAT, HPERSIST): refused while a replica is
     * attached that does not know it. */
    COMMAND_WRITES_7_4 = 1 << 24,
};

enum acl_category {
    ACL_KEYSPACE = 1 << 0,
    ACL_READ = 1 << 1,
    ACL_WRITE = 1 << 2,
    ACL_SET = 1 << 3,
    ACL_SORTEDSET = 1 << 4,
    ACL_LIST = 1 << 5,
    ACL_HASH = 1 << 6,
    ACL_STRING = 1 << 7,
    ACL_BITMAP = 1 << 8,
    ACL_HYPERLOGLOG = 1 << 9,
    ACL_GEO = 1 << 10,
    ACL_STREAM = 1 << 11,
    ACL_PUBSUB = 1 << 12,
    ACL_ADMIN = 1 << 13,
    ACL_FAST = 1 << 14,
    ACL_SLOW = 1 << 15,
    ACL_BLOCKING = 1 << 16,
    ACL_DANGEROUS = 1 << 17,
    ACL_CONNECTION = 1 << 18,
    ACL_TRANSACTION = 1 << 19,
    ACL_SCRIPTING = 1 << 20,
};

enum key_flags {
    KEY_RO = 1 << 0,
    KEY_RW = 1 << 1,
    KEY_OW = 1 << 2,
    KEY_RM = 1 << 3,
    KEY_ACCESS = 1 << 4,
    KEY_UPDATE = 1 << 5,
    KEY_INSERT = 1 << 6,
    KEY_DELETE = 1 << 7,
    KEY_NOT_KEY = 1 << 8,
    KEY_INCOMPLETE = 1 << 9,
    KEY_VARIABLE_FLAGS = 1 << 10,
};

enum key_begin { KEY_BEGIN_NONE, KEY_BEGIN_INDEX, KEY_BEGIN_KEYWORD, KEY_BEGIN_UNKNOWN };
enum key_find { KEY_FIND_RANGE, KEY_FIND_KEYNUM, KEY_FIND_UNKNOWN };

struct key_spec {
    uint32_t flags; /* enum key_flags */
    uint8_t begin;  /* enum key_begin; KEY_BEGIN_NONE ends the list */
    uint8_t find;   /* enum key_find */
    int index;            /* KEY_BEGIN_INDEX: first key's position */
    const char *keyword;  /* KEY_BEGIN_KEYWORD */
    int start_from;       /* KEY_BEGIN_KEYWORD: where the search starts; negative: backwards from the end */
    int last, step, limit;            /* KEY_FIND_RANGE: last is relative to begin, negative from the end */
    int keynum_index, first_key, keynum_step; /* KEY_FIND_KEYNUM: relative to begin */
};

#define COMMAND_KEY_SPECS_MAX 4

/* One key position in a request. */
struct key_position {
    int index;
    uint32_t flags; /* enum key_flags */
};
/* Keys of a request. */
struct key_positions {
    struct key_position *at;
    int count;
    int cap;
    struct key_position fixed[32]; /* `at` points here until more are needed */
};
void key_positions_init(struct key_positions *k);
void key_positions_deinit(struct key_positions *k);
void key_positions_add(struct key_positions *k, int index, uint32_t flags);

struct command {
    const char *name; /* lower case; a subcommand's own word ("get" of CONFIG GET) */
    const char *group; /* "string", "generic", … */
    const char *since;
    int arity;
    uint32_t flags;          /* enum command_flags */
    uint32_t acl;            /* enum acl_category beyond those that follow from flags */
    struct key_spec keys[COMMAND_KEY_SPECS_MAX];
    void (*run)(struct call *c); /* NULL for a container of subcommands */
    /* Where key specs do not tell all (SORT … STORE, MIGRATE KEYS): 0, or -1 on a syntax error. */
    int (*get_keys)(const struct slice *argv, int argc, struct key_positions *ret_keys);
    const char *const *tips; /* NULL-terminated or NULL */
    const struct command *subcommands; /* rows, ended by one with name NULL */
};

/* What the table keeps for each row. */
struct command_entry {
    const struct command *row;
    const struct command_entry *parent; /* of a subcommand */
    void *ctx;                          /* given at registration, call_context() hands it to the function */
    char *full_name;                    /* "config|get" */
    uint32_t flags;                     /* with derived ones */
    uint32_t acl;                       /* with derived ones */
    int id;                             /* dense, 0 … command_table_ids() - 1 */
    int first_key, last_key, key_step;  /* the old-style triple of COMMAND INFO; 0 without keys */
    struct command_entry *subs;
    int sub_count;
    /* commandstats */
    uint64_t calls, usec_ns, rejected, failed; /* usec_ns: nanoseconds of execution */
    struct latency *latency;                   /* NULL until it ran with latency-tracking on */
};

struct command_table;

struct command_table *command_table_create(void);
void command_table_destroy(struct command_table *t);
/* Registers count rows (borrowed for the life of the table) with their context. Aborts on a name that is there already. */
void command_table_register(struct command_table *t, const struct command *rows, size_t count, void *ctx);
/* By name, any case; NULL if unknown. Never a subcommand. */
struct command_entry *command_table_find(const struct command_table *t, struct slice name);
/* The row a request means: the subcommand where the command has some. *ret_container is the command found when the subcommand is unknown. */
struct command_entry *command_table_resolve(const struct command_table *t, const struct slice *argv, int argc,
                                            struct command_entry **ret_container);
/* By full name "config|get" or "set". */
struct command_entry *command_table_find_full(const struct command_table *t, struct slice full_name);
size_t command_table_count(const struct command_table *t); /* commands without subcommands */
int command_table_ids(const struct command_table *t);
/* Calls each() for every command (no subcommands; walk row->subs yourself) in order of registration. */
void command_table_each(const struct command_table *t, void (*each)(void *arg, struct command_entry *e), void *arg);
bool command_arity_ok(const struct command_entry *e, int argc);
/* Keys of a request by specs or get_keys: 0, or -1 when the request names none or is malformed. */
int command_get_keys(const struct command_entry *e, const struct slice *argv, int argc, struct key_positions *ret_keys);

const char *command_flag_name(uint32_t bit);  /* "write", "denyoom", …; NULL for what COMMAND INFO does not show */
const char *acl_category_name(uint32_t bit);  /* "keyspace", … without @ */
uint32_t acl_category_by_name(struct slice name); /* 0 if unknown */

#endif
