#include "config.h"

#include "server/commands/memory_report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/fs.h"
#include "server/engine/engine.h"
#include "server/log/changelog.h"

size_t memory_rss(void) {
    struct buf text = BUF_INIT;
    unsigned long long pages = 0;
    if (fs_read_file(fs_posix(), "/proc/self/statm", 4096, &text) == 0) {
        buf_append_char(&text, '\0');
        if (sscanf(text.data, "%*u %llu", &pages) != 1)
            pages = 0;
    }
    buf_deinit(&text);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

double memory_percent(size_t part, size_t whole) {
    return whole == 0 ? 0 : (double)part * 100 / (double)whole;
}

double memory_ratio(size_t a, size_t b) {
    return b == 0 ? 0 : (double)a / (double)b;
}

void memory_report_take(struct engine *e, struct memory_report *ret_report) {
    const struct keyspace *ks = engine_keyspace(e);
    struct engine_stats *stats = engine_stats(e);
    struct memory_report r = {.used = mem_used(), .startup = stats->startup_memory, .rss = memory_rss()};
    if (r.used > stats->peak_memory)
        stats->peak_memory = r.used;
    r.peak = stats->peak_memory;
    r.clients = engine_clients_memory(e);
    r.log = changelog_memory(engine_log(e));
    for (unsigned db = 0; db < keyspace_databases(ks); db++) {
        size_t keys = keyspace_size(ks, db);
        if (keys == 0)
            continue;
        r.keys += keys;
        r.tables += keyspace_table_bytes(ks, db) + keyspace_deadline_bytes(ks, db);
    }
    r.rehash = keyspace_rehash_bytes(ks);
    r.overhead = r.startup + r.clients + r.log + r.tables;
    r.dataset = memory_less(r.used, r.overhead);
    mem_allocator_stats(&r.allocator);
    if (r.allocator.allocated == 0) { /* the allocator does not tell: what we count stands for it */
        r.allocator.allocated = r.allocator.active = r.used;
        r.allocator.resident = r.rss;
    }
    *ret_report = r;
}
