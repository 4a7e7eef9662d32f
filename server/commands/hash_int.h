/* What the files of the hash commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_HASH_INT_H
#define HF_COMMANDS_HASH_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/engine/call.h"
#include "server/store/hash.h"

/* A hash that a command works on. */
struct hash_target {
    struct keyref key;
    struct entry *e;       /* NULL: there is none */
    struct collection col; /* where e is there, or it was opened to be created */
    int64_t now_ms;        /* by which fields are due */
};

/* argv[1] to be read. False with an error replied. */
bool hash_open_read(struct call *c, struct hash_target *t);
/* argv[1] to be changed: due fields are gone. False with an error replied. */
bool hash_open_write(struct call *c, struct hash_target *t);
/* As above, with an empty hash where there was none: hash_close() follows. */
bool hash_open_create(struct call *c, struct hash_target *t);
/* Stores what was changed. False where nothing is left and the key is gone. */
bool hash_close(struct call *c, struct hash_target *t);
/* Stores what was changed and announces the event, and "del" behind it where the key is gone. fields: how many changed.
 */
void hash_close_announced(struct call *c, struct hash_target *t, const char *event, size_t fields);

/* ---- the newer commands' arguments ---- */

struct hash_fields {
    int first; /* argument */
    int count;
    int width; /* 1, or 2 where values stand behind the fields */
};
/* "FIELDS n field …" from argument i to the end. False with an error replied; number_error is the text for what is no
 * positive number. */
bool hash_arg_fields(struct call *c, int i, int width, const char *number_error, struct hash_fields *ret_fields);
static inline struct slice hash_field_arg(const struct call *c, const struct hash_fields *f, int i) {
    return c->argv[f->first + i * f->width];
}
/* The deadline of fields as argument i gives it; *ret_ms is absolute. False with an error replied. */
bool hash_arg_deadline(struct call *c, int i, int64_t unit_ms, bool absolute, int64_t *ret_ms);
/* EX s, PX ms, EXAT s or PXAT ms at argument i: true where it is one of these; unit and kind of the time behind it. */
bool hash_is_time_option(struct slice word, int64_t *ret_unit_ms, bool *ret_absolute);
/* Deadlines that passed mean removal, unless a log or a primary says so: then what they say is kept. */
bool hash_deadline_passed(const struct call *c, int64_t deadline_ms);

/* ---- effects in the change log ---- */

/* HDEL key field … */
void hash_propagate_del(struct call *c, const struct hash_target *t, const struct slice *fields, size_t n);
/* HPEXPIREAT key deadline_ms FIELDS n field …, or HPERSIST where deadline_ms is FIELD_NO_DEADLINE. */
void hash_propagate_deadline(struct call *c, const struct hash_target *t, int64_t deadline_ms,
                             const struct slice *fields, size_t n);

void hash_get_register(struct command_table *t);
void hash_set_register(struct command_table *t);
void hash_scan_register(struct command_table *t);
void hash_expire_register(struct command_table *t);
void hash_ex_register(struct command_table *t);

#endif
