/* The replica's half of the handshake with a primary, as a pure state machine.
 *
 *     PING → [AUTH] → REPLCONF listening-port → [REPLCONF ip-address] → REPLCONF capa … → PSYNC id offset
 *
 * It is fed the lines that the primary sends and says what to send back. Up to the answer to PING one step waits for
 * the one before; AUTH and REPLCONF go out together, as Redis 7 does it. The order of the answers is the order of the
 * requests. A REPLCONF that is refused is passed over: old primaries do not know all of them.
 *
 * Ownership: the strings of the options are borrowed for the life of the machine. Thread: any. Nothing fails.
 */
#ifndef HF_REPLICATION_HANDSHAKE_H
#define HF_REPLICATION_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/slice.h"
#include "server/log/changelog.h"

/* The beginning of that refusal. Other programs read no further than its first word. */
#define HANDSHAKE_EMPTY_PRIMARY "NOMASTERLINK replica-accept-empty-primary is off:"

struct handshake_options {
    const char *user, *password; /* "" where there is none */
    int port;                    /* to announce */
    const char *announce_ip;     /* "" where the primary is to take the address it sees */
    const char *id;              /* of the history to continue, or NULL: none */
    uint64_t offset;             /* where it stands */
    bool failover;               /* the peer is our replica, and is asked to become our primary */
};

enum handshake_step {
    HANDSHAKE_PONG, /* waits for the answer to … */
    HANDSHAKE_AUTH,
    HANDSHAKE_PORT,
    HANDSHAKE_IP,
    HANDSHAKE_CAPA,
    HANDSHAKE_PSYNC,
};

struct handshake {
    struct handshake_options options;
    enum handshake_step step;
    /* results */
    char id[CHANGELOG_ID_CHARS + 1]; /* that the primary named, "" if none */
    uint64_t offset;                 /* of a full sync */
    char reason[200];                /* of a failure or a refusal */
    bool primary_is_empty;           /* it started without data and does not want to overwrite ours */
};

enum handshake_outcome {
    HANDSHAKE_GOES_ON,
    HANDSHAKE_FULL,     /* a snapshot follows; id and offset are set */
    HANDSHAKE_CONTINUE, /* the stream follows at the offset that was asked for; id may be a new one, or "" */
    HANDSHAKE_OLD,      /* PSYNC is not known there: SYNC was sent, a snapshot follows */
    HANDSHAKE_LATER,    /* the primary cannot now: close, try again; reason */
    HANDSHAKE_FAILED,   /* close, try again; reason */
};

/* Appends the first request to out. */
void handshake_begin(struct handshake *h, const struct handshake_options *options, struct buf *out);
/* Takes a line without its line end (an empty one keeps the link alive) and appends what to send to out. */
enum handshake_outcome handshake_line(struct handshake *h, struct slice line, struct buf *out);

#endif
