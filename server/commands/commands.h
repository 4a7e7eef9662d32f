/* The commands: what the daemon registers at start-up, one function per family.
 *
 * Thread: the loop's thread. A function registers rows of static storage; contexts and hooks are borrowed for the life
 * of the table.
 */
#ifndef HF_COMMANDS_COMMANDS_H
#define HF_COMMANDS_COMMANDS_H

#include <stdbool.h>

#include "server/base/buf.h"
#include "server/engine/command.h"

struct engine;
struct info;

/* ---- strings ---- */
void string_commands_register(struct command_table *t);

/* ---- bitmaps: SETBIT GETBIT BITCOUNT BITPOS BITOP BITFIELD BITFIELD_RO ---- */
void bitmap_commands_register(struct command_table *t);

/* ---- HyperLogLogs: PFADD PFCOUNT PFMERGE PFDEBUG PFSELFTEST ---- */
void hll_commands_register(struct command_table *t);

/* ---- hashes ---- */
void hash_commands_register(struct command_table *t);

/* ---- places: GEOADD … GEOSEARCHSTORE ---- */
void geo_commands_register(struct command_table *t);

/* ---- publish and subscribe: SUBSCRIBE … SPUBLISH, PUBSUB ---- */
void pubsub_commands_register(struct command_table *t);

/* ---- sets ---- */
void set_commands_register(struct command_table *t);

/* ---- lists ---- */
void list_commands_register(struct command_table *t);

/* ---- SORT SORT_RO ---- */
void sort_commands_register(struct command_table *t);
/* ---- sorted sets ---- */
void zset_commands_register(struct command_table *t);

/* ---- streams: XADD … XTRIM ---- */
void stream_commands_register(struct command_table *t);

/* ---- keys: DEL … FLUSHALL, SCAN, EXPIRE …, OBJECT, DUMP, RESTORE ---- */
/* What the generic commands need from the rest of the server. Everything may be NULL, which means the default. */
struct keys_hooks {
    void *ctx;
    /* All databases were emptied by FLUSHALL: a running save is pointless, and a snapshot that is due anyway is to be
     * replaced. */
    void (*flushed_all)(void *ctx);
    const bool *dump_compress;         /* `rdbcompression`; default on */
    const bool *restore_skip_checksum; /* DEBUG SET-SKIP-CHECKSUM-VALIDATION; default off */
};
void keys_commands_register(struct command_table *t, const struct keys_hooks *hooks);

/* ---- connections, introspection, administration ---- */
/* What the node tells about itself (HELLO, INFO, LOLWUT). */
struct server_identity {
    struct engine *engine;
    const char *version;    /* ours: "0.1.0" */
    const char *executable; /* absolute path */
    const char *supervised; /* "no", "systemd" */
    void *ctx;
    /* Whether this node is a replica (HELLO). May be NULL. */
    bool (*is_replica)(void *ctx);
    /* INFO's lines listenerN:…, each ended by \r\n. May be NULL. */
    void (*listeners)(void *ctx, struct buf *out);
};
/* The protocol's compatible version: what clients look at to know which commands there are. */
#define SERVER_REDIS_VERSION "7.2.4"
#define SERVER_NAME "holdfast"

/* AUTH ECHO HELLO LOLWUT PING QUIT RESET SELECT */
void connection_commands_register(struct command_table *t, const struct server_identity *identity);
void client_commands_register(struct command_table *t);  /* CLIENT … */
void command_commands_register(struct command_table *t); /* COMMAND … */
void config_commands_register(struct command_table *t);  /* CONFIG … */
void slowlog_commands_register(struct command_table *t); /* SLOWLOG … */
void memory_commands_register(struct command_table *t);  /* MEMORY … */
void server_commands_register(struct command_table *t);  /* TIME */
/* LATENCY …, its option, INFO's section Latencystats. The struct is the caller's, zeroed but for the engine. */
#define LATENCY_PERCENTILES_MAX 16
struct latency_info {
    struct engine *engine;
    double percentiles[LATENCY_PERCENTILES_MAX]; /* latency-tracking-info-percentiles */
    int count;
};
void latency_commands_register(struct command_table *t, struct latency_info *l);
void info_commands_register(struct command_table *t); /* INFO */
/* INFO's sections Server, Clients, Memory, Stats, CPU, Modules, Commandstats, Errorstats, Cluster, Keyspace.
 * Persistence and Replication are registered by who owns their numbers. */
void info_sections_register(struct info *info, const struct server_identity *identity);

/* DEBUG. What needs more than the engine; any function may be NULL, then the subcommand says that it is not there. */
struct debug_hooks {
    void *ctx;
    /* DEBUG RELOAD, DEBUG LOADAOF: 0, or -1 with *error. */
    int (*reload)(void *ctx, bool merge, bool flush, bool save, struct buf *error);
    int (*load_aof)(void *ctx, struct buf *error);
    void (*pause_after_fork)(void *ctx, bool on);
    bool *skip_checksum; /* DEBUG SET-SKIP-CHECKSUM-VALIDATION sets it */
};
void debug_commands_register(struct command_table *t, const struct debug_hooks *hooks);

#endif
