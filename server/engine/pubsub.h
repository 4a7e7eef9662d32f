/* Publish and subscribe: who listens to which channels, and the delivery of messages.
 *
 * A client subscribes to channels, to patterns of channel names, and to shard channels, which are names of their own.
 * It has CLIENT_PUBSUB while it is subscribed to anything. A message is appended to the output of each subscriber at
 * once, in RESP2 as an array, in RESP3 as a push, whatever CLIENT REPLY says; to a client whose own command runs it
 * comes behind the reply. Subscribers are told of a change not before its reply could be: see pubsub_publish().
 *
 * Ownership: names are copied. Thread: the loop's thread. Nothing fails.
 */
#ifndef HF_ENGINE_PUBSUB_H
#define HF_ENGINE_PUBSUB_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/slice.h"

struct client;
struct engine;
struct rbuf;

enum pubsub_kind { PUBSUB_CHANNEL, PUBSUB_PATTERN, PUBSUB_SHARD, PUBSUB_KINDS };

/* False if the client was (not) subscribed to this name already. */
bool pubsub_subscribe(struct client *cl, enum pubsub_kind kind, struct slice name);
bool pubsub_unsubscribe(struct client *cl, enum pubsub_kind kind, struct slice name);
/* Ends all subscriptions of a client without telling it. */
void pubsub_drop(struct client *cl);
size_t pubsub_subscriptions(const struct client *cl, enum pubsub_kind kind);
/* The client's oldest subscription of a kind: false if it has none. Valid until it ends. */
bool pubsub_first(const struct client *cl, enum pubsub_kind kind, struct slice *ret_name);

/* Delivers a message to the subscribers of a channel (PUBSUB_CHANNEL: and of patterns that match it), or of a shard
 * channel. block: NULL, or the message's bytes as a block that may be shared. tells_change: the message tells of a change
 * of the command that runs, and is held as long as its reply. Returns the number of deliveries. */
size_t pubsub_publish(struct engine *e, enum pubsub_kind kind, struct slice channel, struct slice message,
                      struct rbuf *block, bool tells_change);

/* Names that have subscribers, of a kind, and the subscribers of one. */
size_t pubsub_names(const struct engine *e, enum pubsub_kind kind);
size_t pubsub_subscribers(const struct engine *e, enum pubsub_kind kind, struct slice name);
/* In the order in which they got their first subscriber. */
void pubsub_each_name(struct engine *e, enum pubsub_kind kind, void (*each)(void *arg, struct slice name), void *arg);
/* Clients that are subscribed to anything. */
size_t pubsub_clients(const struct engine *e);
size_t pubsub_client_memory(const struct client *cl);

#endif
