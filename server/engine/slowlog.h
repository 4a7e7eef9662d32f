/* The slow log: the last commands that took longer than a threshold. Thread: the loop's thread. */
#ifndef HF_ENGINE_SLOWLOG_H
#define HF_ENGINE_SLOWLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

#define SLOWLOG_MAX_ARGS 32
#define SLOWLOG_MAX_STRING 128

struct slowlog_entry {
    int64_t id;
    int64_t time_s;     /* Unix time */
    int64_t duration_us;
    int64_t wait_us;    /* from the request being read to its execution */
    unsigned db;
    int argc;           /* ≤ SLOWLOG_MAX_ARGS; long requests end with "... (N more arguments)" */
    char **argv;        /* each at most SLOWLOG_MAX_STRING bytes, longer ones end with "... (N more bytes)" */
    size_t *argv_len;
    char *peer, *client_name, *user;
};

struct slowlog;

struct slowlog *slowlog_create(void);
void slowlog_destroy(struct slowlog *s);
/* Copies what it keeps; drops the oldest beyond max_len. */
void slowlog_add(struct slowlog *s, int64_t max_len, int64_t time_s, int64_t duration_us, int64_t wait_us, unsigned db, const struct slice *argv,
                 int argc, const char *peer, const char *client_name, const char *user);
size_t slowlog_len(const struct slowlog *s);
void slowlog_reset(struct slowlog *s);
/* i = 0 is the newest. NULL past the end. */
const struct slowlog_entry *slowlog_at(const struct slowlog *s, size_t i);

#endif
