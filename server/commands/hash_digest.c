#include "config.h"

#include "server/commands/digest.h"
#include "server/store/hash.h"

/* A field's digest mixes name and value; one with a deadline is marked, whichever it is. */
static int mix_field(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms) {
    struct digest one;
    digest_init(&one);
    digest_mix_item(&one, field);
    digest_mix_item(&one, value);
    if (deadline_ms != FIELD_NO_DEADLINE)
        digest_xor(&one, SLICE_LIT("!!hexpire!!"));
    digest_xor(arg, slice_of(one.bytes, sizeof one.bytes));
    return 0;
}

void digest_mix_hash(struct digest *d, const struct entry *e) {
    struct collection h = collection_of(NULL, e);
    hash_each(&h, mix_field, d);
}
