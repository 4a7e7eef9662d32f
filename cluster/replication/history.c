#include "config.h"

#include "cluster/replication/history.h"

#include <strings.h>

static bool same_id(struct slice a, const char *b) {
    return a.n == CHANGELOG_ID_CHARS && strncasecmp(a.p, b, CHANGELOG_ID_CHARS) == 0;
}

enum resync_verdict resync_decide(const struct resync_offer *offer, struct slice id, int64_t wanted,
                                  uint64_t *ret_offset) {
    const struct changelog_history *h = offer->history;
    if (slice_eq(id, SLICE_LIT("?")))
        return RESYNC_FULL_ASKED;
    bool previous = h->id2_offset >= 0 && same_id(id, h->id2);
    if (!same_id(id, h->id)) {
        if (!previous)
            return RESYNC_FULL_STRANGER;
        if (wanted > h->id2_offset && wanted - 1 > h->id2_offset)
            return RESYNC_FULL_PARTED;
    }
    if (!offer->has_backlog)
        return RESYNC_FULL_NO_BACKLOG;
    if (wanted < 1 || (uint64_t)wanted - 1 < offer->first)
        return RESYNC_FULL_TOO_OLD;
    if ((uint64_t)wanted - 1 > offer->sealed)
        return RESYNC_FULL_AHEAD;
    *ret_offset = (uint64_t)wanted - 1;
    return RESYNC_CONTINUE;
}

const char *resync_verdict_text(enum resync_verdict v) {
    switch (v) {
    case RESYNC_CONTINUE:
        return "it can continue";
    case RESYNC_FULL_ASKED:
        return "it brings no history";
    case RESYNC_FULL_STRANGER:
        return "its replication id is not one of ours";
    case RESYNC_FULL_PARTED:
        return "it went on under our previous replication id beyond the offset that we share";
    case RESYNC_FULL_NO_BACKLOG:
        return "there is no backlog";
    case RESYNC_FULL_TOO_OLD:
        return "the backlog does not reach back to its offset";
    case RESYNC_FULL_AHEAD:
        return "its offset lies beyond ours";
    }
    return "";
}

const char *resync_id_to_ask(const struct changelog_history *h, uint64_t offset) {
    return h->id2_offset >= 0 && (uint64_t)h->id2_offset == offset ? h->id2 : h->id;
}
