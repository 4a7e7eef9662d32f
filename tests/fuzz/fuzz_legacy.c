/* Ziplists and zipmaps of old snapshots: the first byte chooses, the rest are the bytes. Readers stay inside them, show
 * as many elements as they count, and find the same whether somebody looks or not. */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/ds/packed_legacy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t count, bytes, end_at;
};

static const char stop[] = "far enough";

static const char *see(void *arg, const struct packed_item *item) {
    struct seen *s = arg;
    s->count++;
    for (size_t i = 0; !item->is_int && i < item->s.n; i++)
        s->bytes += (unsigned char)item->s.p[i]; /* every byte is read */
    return s->count == s->end_at ? stop : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    const char *(*validate)(struct slice, packed_each_fn *, void *, uint64_t *) =
        data[0] & 1 ? ziplist_validate : zipmap_validate;
    /* An allocation of its own, so that a read past its end is seen. */
    char *copy = mem_alloc(size - 1);
    memcpy(copy, data + 1, size - 1);
    struct slice b = slice_of(copy, size - 1);
    struct seen all = {0}, some = {.end_at = 1 + data[0] / 2};
    uint64_t count = 0, again = 0;
    const char *why = validate(b, see, &all, &count), *silent = validate(b, NULL, NULL, &again);
    HF_ASSERT((why == NULL) == (silent == NULL));
    if (why == NULL)
        HF_ASSERT(count == all.count && again == count);
    HF_ASSERT(all.count <= size);
    const char *ended = validate(b, see, &some, &count);
    if (all.count >= some.end_at)
        HF_ASSERT(ended == stop && some.count == some.end_at);
    mem_free(copy);
    return 0;
}
