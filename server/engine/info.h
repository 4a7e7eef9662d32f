/* INFO: sections registered by the modules that own the numbers, composed on request. Thread: the loop's thread. */
#ifndef HF_ENGINE_INFO_H
#define HF_ENGINE_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/slice.h"

struct info;

enum info_when {
    INFO_DEFAULT,    /* in INFO without arguments, INFO default, all and everything */
    INFO_ALL,        /* in INFO all and everything */
    INFO_EVERYTHING, /* in INFO everything */
};

struct info *info_create(void);
void info_destroy(struct info *i);
/* Several modules may add to one section; sections come out in the field's order: Server, Clients, Memory, Persistence, Stats, Replication, CPU, Modules, Commandstats,
 * Errorstats, Latencystats, Cluster, Keyspace; others after them in order of registration. fn appends "field:value\r\n" lines. title: "Server". */
void info_register(struct info *i, const char *title, enum info_when when, void (*fn)(void *ctx, struct buf *out), void *ctx);
/* Text for the given section names (any case; none = default; "all", "everything", "default"). */
void info_compose(const struct info *i, const struct slice *sections, int count, struct buf *out);

void info_field_i64(struct buf *out, const char *name, int64_t v);
void info_field_u64(struct buf *out, const char *name, uint64_t v);
void info_field_str(struct buf *out, const char *name, const char *v);
void info_field_f2(struct buf *out, const char *name, double v); /* two decimals */
/* name:bytes and name_human:text. */
void info_field_bytes(struct buf *out, const char *name, uint64_t v);

#endif
