/* write-ack: replies to writes that wait until replicas have the change.
 *
 * Terms say how many replicas must have received the bytes of a change, or must have them on disk, before the reply to
 * the command goes out; the server has terms (`write-ack`, `write-ack-timeout`), and a client may have its own (CLIENT
 * WRITE-ACK). Like marks of the change log (design: the durable prefix) they hold a reply in place, so that pipelined
 * requests run on and are confirmed together. Who waits too long gets an error in place of the reply: the write is
 * applied here and may reach the replicas yet, but nobody confirmed it. Reads are not held by these terms: they may see
 * what is not confirmed.
 *
 * Ownership: terms and the source are copied; what a client waits for belongs to it and ends with it. Times are in
 * milliseconds, offsets those of the change log.
 *
 * Thread: the loop's thread; write_ack_limit() also on an I/O thread while that one waits. Nothing fails.
 */
#ifndef HF_ENGINE_WRITE_ACK_H
#define HF_ENGINE_WRITE_ACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

struct engine;
struct client;

struct write_ack_terms {
    unsigned replicas; /* 0: none needs to have it */
    bool durable;
    int64_t timeout_ms; /* 0: no limit */
};

/* The words of the option: `local`, or `replicas N [durable]`; the timeout stays. 0, or -1 with nothing changed. */
int write_ack_parse(const struct slice *argv, int argc, struct write_ack_terms *ret_terms)
    __attribute__((warn_unused_result));

/* Who knows the replicas. */
struct write_ack_source {
    void *ctx;
    /* How many replicas have the log up to the offset. Pure: any thread. */
    size_t (*confirmed)(void *ctx, uint64_t offset, bool durable);
    /* Replies wait: have the replicas report soon. */
    void (*ask)(void *ctx);
};
void engine_set_write_ack_source(struct engine *e, const struct write_ack_source *source);

/* Terms of a client from now on; NULL: those of the server. */
void client_set_write_ack(struct client *cl, const struct write_ack_terms *terms);
/* The terms in force for its next write. */
struct write_ack_terms client_write_ack(const struct client *cl);

struct write_ack_stats {
    uint64_t waiting;  /* clients with replies that are held now */
    uint64_t timeouts; /* replies that became errors */
};
/* Replies that are held now will never be confirmed: the history that they belong to is not this node's any more. */
void engine_write_ack_disown(struct engine *e);
void engine_write_ack_stats(const struct engine *e, struct write_ack_stats *ret_stats);

/* ---- for the engine ---- */

/* Whether the next write of the client has to wait for replicas. */
bool write_ack_applies(const struct client *cl);
/* The reply in [from, end of output) waits for the replicas to have `offset`; UINT64_MAX: nobody will ever have it. */
void write_ack_note(struct client *cl, uint64_t from, uint64_t offset);
/* Position up to which output may be written, at most `limit`: lets go of what is confirmed. */
uint64_t write_ack_limit(struct client *cl, uint64_t limit);
bool write_ack_is_waiting(const struct client *cl);
/* So many replies are held that the client should be read no further. */
bool write_ack_is_full(const struct client *cl);
void write_ack_free(struct client *cl);
size_t write_ack_memory(const struct client *cl);

#endif
