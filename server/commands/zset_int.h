/* What the files of the sorted-set commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_ZSET_INT_H
#define HF_COMMANDS_ZSET_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/engine/call.h"
#include "server/store/sorted_set.h"

/* ---- ranges ---- */

enum zset_range_kind { ZSET_BY_RANK, ZSET_BY_SCORE, ZSET_BY_LEX };

struct zset_range {
    enum zset_range_kind kind;
    bool reverse;
    int64_t start, end; /* ZSET_BY_RANK: inclusive, negative from the end */
    double min, max;    /* ZSET_BY_SCORE */
    bool min_excluded, max_excluded;
    struct sorted_set_lex lex; /* ZSET_BY_LEX */
    int64_t offset, limit;     /* of what is in the range; a negative limit is none */
};

/* The bounds in arguments min_at and max_at, for a range whose kind is set; false where an error was replied. */
bool zset_arg_range(struct call *c, int min_at, int max_at, struct zset_range *r);
/* How many members are in the range, without a limit. */
size_t zset_range_find(const struct collection *z, const struct zset_range *r, size_t *ret_rank);
/* The same cut to offset and limit. */
size_t zset_range_select(const struct collection *z, const struct zset_range *r, size_t *ret_rank);

/* ---- arguments ---- */

/* An integer of at least min; else replies the error text. */
bool zset_arg_positive(struct call *c, int at, int64_t min, const char *error, int64_t *ret_value);

/* ---- replies ---- */

enum zset_shape {
    ZSET_MEMBERS,
    ZSET_FLAT,   /* member, score, member, score, … */
    ZSET_NESTED, /* [member, score], … */
};
/* With scores in the customary shape of the client's protocol. */
static inline enum zset_shape zset_shape_for(const struct call *c, bool scores) {
    return !scores ? ZSET_MEMBERS : c->w->resp > 2 ? ZSET_NESTED : ZSET_FLAT;
}
struct zset_reply {
    struct resp_writer *w;
    enum zset_shape shape;
};
/* The header of an array of n members. */
void zset_reply_header(const struct zset_reply *r, size_t n);
/* One member; arg is a struct zset_reply. Returns 0. */
int zset_reply_member(void *arg, const struct packed_item *member, double score);
/* n members from a rank on, with their header. */
void zset_reply_ranks(struct call *c, const struct collection *z, size_t rank, size_t n, bool reverse,
                      enum zset_shape shape);

/* ---- changes ---- */

/* Stores the changed set back and announces the event, and "del" where nothing is left. False then. */
bool zset_changed(struct call *c, const struct keyref *key, struct entry *e, const struct collection *z,
                  const char *event);
/* Replaces whatever is under the key by a set, which is taken over, or deletes it where the set is empty; announces it
 * and replies the number of members. */
void zset_store_result(struct call *c, const struct keyref *key, struct collection *z, const char *event);

#define ZSET_ROW(name_, since_, arity_, flags_, key_flags_, run_)                                                      \
    {                                                                                                                  \
        .name = (name_), .group = "sorted_set", .since = (since_), .arity = (arity_), .flags = (flags_),               \
        .acl = ACL_SORTEDSET, .keys = {ROW_KEY(key_flags_)}, .run = (run_)                                             \
    }

void zset_add_register(struct command_table *t);
void zset_remove_register(struct command_table *t);
void zset_read_register(struct command_table *t);
void zset_range_register(struct command_table *t);
void zset_pop_register(struct command_table *t);
void zset_combine_register(struct command_table *t);

#endif
