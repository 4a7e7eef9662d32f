/* Histories: may a replica go on where it stopped, and what does it ask for?
 *
 * A history is a replication id with the offsets written under it; a node knows its current one and, after a promotion
 * or an unclean stop, the one before with the last offset that both share (struct changelog_history). Offsets here are
 * those of the change log: the number of bytes that lie before. On the wire the first byte that is wanted is counted
 * from 1, so a node that stands at offset n asks for n + 1.
 *
 * Pure. Thread: any. Nothing fails.
 */
#ifndef HF_REPLICATION_HISTORY_H
#define HF_REPLICATION_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/slice.h"
#include "server/log/changelog.h"

enum resync_verdict {
    RESYNC_CONTINUE,
    RESYNC_FULL_ASKED,      /* the replica brings no history ("?") */
    RESYNC_FULL_STRANGER,   /* of an id that is not ours */
    RESYNC_FULL_PARTED,     /* the previous id, at an offset where its history and ours have parted */
    RESYNC_FULL_NO_BACKLOG, /* nothing is kept */
    RESYNC_FULL_TOO_OLD,    /* the offset is no longer kept */
    RESYNC_FULL_AHEAD,      /* the offset is not written yet */
};

/* What a primary has to offer. */
struct resync_offer {
    const struct changelog_history *history;
    bool has_backlog;
    uint64_t first;  /* oldest offset that is kept */
    uint64_t sealed; /* end of the log */
};

/* id and wanted are the arguments of PSYNC. With RESYNC_CONTINUE *ret_offset is where to go on. */
enum resync_verdict resync_decide(const struct resync_offer *offer, struct slice id, int64_t wanted,
                                  uint64_t *ret_offset);
/* The reason, for the log: "the replica asks for …". */
const char *resync_verdict_text(enum resync_verdict v);

/* What a node at this offset asks a primary for: the id to name. Right after a change of ids, with nothing written
 * since, that is the previous one, because the primary may well know it alone. */
const char *resync_id_to_ask(const struct changelog_history *h, uint64_t offset);

#endif
