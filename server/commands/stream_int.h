/* What the files of the stream commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_STREAM_INT_H
#define HF_COMMANDS_STREAM_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/engine/call.h"
#include "server/store/stream.h"

#define STREAM_ID_CHARS 48 /* two numbers and what stands between */

/* Writes "ms-seq" without NUL; returns the count. */
size_t stream_id_format(char dst[STREAM_ID_CHARS], struct stream_id id);

/* ---- arguments: on failure reply the usual error and return false ---- */

/* An id with "-" and "+" for the ends and missing_seq where only milliseconds are given. */
bool stream_arg_id(struct call *c, int i, uint64_t missing_seq, struct stream_id *ret_id);
/* The same without "-" and "+". *ret_auto_seq (NULL: not allowed): "ms-*". */
bool stream_arg_strict_id(struct call *c, int i, uint64_t missing_seq, struct stream_id *ret_id, bool *ret_auto_seq);
/* The same without a reply. */
bool stream_parse_strict_id(struct slice s, uint64_t missing_seq, struct stream_id *ret_id);
/* Ends of an interval: "(" in front of an id leaves it out. */
bool stream_arg_start(struct call *c, int i, struct stream_id *ret_id);
bool stream_arg_end(struct call *c, int i, struct stream_id *ret_id);
/* KEEPREF, DELREF or ACKED. */
bool stream_refs_parse(struct slice word, enum stream_refs *ret_refs);

/* The stream of a key, for reading or writing: true and NULL where there is none. */
bool stream_find_read(struct call *c, const struct keyref *key, struct stream **ret_stream);
bool stream_find_write(struct call *c, const struct keyref *key, struct stream **ret_stream);
/* The stream of argv[1] and its group argv[2], or an error. Though what is pending changes, it is a look-up for
 * reading: a key that is not there is told of as a miss. */
bool stream_find_group(struct call *c, struct stream **ret_stream, struct stream_group **ret_group);
void stream_error_no_group(struct call *c, struct slice key, struct slice group);

/* ---- replies ---- */

void stream_reply_id(struct call *c, struct stream_id id);
/* The current entry of a walk: id and an array of fields and values. */
void stream_reply_entry(struct call *c, struct stream_iter *it, struct stream_id id, uint64_t fields);
/* An array of the entries of [start, end], at most count; 0: all. Returns how many. */
uint64_t stream_reply_range(struct call *c, const struct stream *s, struct stream_id start, struct stream_id end,
                            uint64_t count, bool reverse);

/* ---- effects, instead of the request ---- */

/* XCLAIM key group consumer 0 id TIME … RETRYCOUNT … FORCE JUSTID LASTID … */
void stream_propagate_claim(struct call *c, struct slice key, const struct stream_group *g, struct stream_id id,
                            const struct stream_pending *p);
/* XGROUP SETID key group id ENTRIESREAD n */
void stream_propagate_group(struct call *c, struct slice key, const struct stream_group *g);
/* XGROUP CREATECONSUMER key group consumer */
void stream_propagate_consumer(struct call *c, struct slice key, const struct stream_group *g, struct slice consumer);
/* "verb key [extra] id …" in pieces. extra.p NULL: none. */
void stream_propagate_ids(struct call *c, const char *verb, struct slice key, struct slice extra,
                          const struct stream_id *ids, size_t n);

/* What goes away together with entries, for servers that do not know DELREF and ACKED. */
struct stream_effects {
    struct stream *s;
    struct stream_id *ids; /* entries that are deleted */
    size_t count, cap;
    struct {
        size_t group;
        struct stream_id id;
    } * acks; /* references of groups to them */
    size_t ack_count, ack_cap;
};
/* Notes an entry that goes, before it does; fits struct stream_trim. */
void stream_effects_note(void *arg, struct stream_id id);
/* Notes a reference of one group. */
void stream_effects_note_ack(struct stream_effects *f, size_t group, struct stream_id id);
/* XACK for each group and, with deleted, XDEL. */
void stream_effects_propagate(struct call *c, const struct stream_effects *f, struct slice key, bool deleted);
void stream_effects_deinit(struct stream_effects *f);

/* The consumer, made where it is not there (announced and propagated then). */
struct stream_consumer *stream_consumer_obtain(struct call *c, const struct keyref *key, struct stream_group *g,
                                               struct slice name);

void stream_add_register(struct command_table *t);
void stream_delete_register(struct command_table *t);
void stream_range_register(struct command_table *t);
void stream_read_register(struct command_table *t);
void stream_group_register(struct command_table *t);
void stream_pending_register(struct command_table *t);
void stream_claim_register(struct command_table *t);
void stream_info_register(struct command_table *t);

#endif
