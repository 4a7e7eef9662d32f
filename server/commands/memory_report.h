/* What the node's memory is used for: the numbers behind INFO memory and MEMORY STATS. Thread: the loop's thread. */
#ifndef HF_COMMANDS_MEMORY_REPORT_H
#define HF_COMMANDS_MEMORY_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/mem.h"

struct engine;

/* Bytes, if not stated otherwise. */
struct memory_report {
    size_t used, peak, startup, rss;
    size_t clients;  /* sessions with their buffers */
    size_t log;      /* change log: what the AOF and replicas still have to read */
    size_t tables;   /* hash tables and deadline indexes of all databases */
    size_t rehash;   /* of these, tables being resized */
    size_t overhead; /* startup + clients + log + tables */
    size_t dataset;  /* used - overhead */
    size_t keys;     /* number of keys */
    struct mem_allocator_stats allocator;
};

void memory_report_take(struct engine *e, struct memory_report *ret_report);
/* Resident bytes of this process; 0 where the system does not tell. */
size_t memory_rss(void);
double memory_percent(size_t part, size_t whole);
double memory_ratio(size_t a, size_t b);
/* 0 for a negative difference. */
static inline size_t memory_less(size_t a, size_t b) {
    return a > b ? a - b : 0;
}

#endif
