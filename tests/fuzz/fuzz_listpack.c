/* Listpack bytes: what deep validation accepts can be walked both ways, searched and changed, and stays sound; what it
 * refuses is never touched. */
#include "config.h"

#include <stdint.h>

#include "server/base/assert.h"
#include "server/base/crc.h"
#include "server/base/mem.h"
#include "server/ds/listpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void change(struct listpack **lp, uint64_t seed) {
    struct rng rng;
    rng_init(&rng, seed);
    for (unsigned i = 0; i < 24; i++) {
        uint32_t n = listpack_count(*lp), at = n != 0 ? listpack_seek(*lp, (int64_t)rng_below(&rng, n)) : 0;
        const struct packed_item v = i & 1 ? packed_int((int64_t)rng_u64(&rng))
                                           : packed_bytes(slice_of("0123456789abcdef", rng_below(&rng, 17)));
        if (at == 0)
            HF_ASSERT(listpack_append(lp, v) == 0);
        else if (i % 3 == 0)
            HF_ASSERT(listpack_replace(lp, at, v) == 0);
        else if (i % 3 == 1)
            HF_ASSERT(listpack_insert_before(lp, at, v) == 0);
        else
            (void)listpack_delete(lp, at, (uint32_t)rng_below(&rng, 3), NULL);
        listpack_check(*lp);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t count, shallow;
    struct slice b = slice_of(data, size);
    if (listpack_validate(b, true, NULL, NULL, &count) != NULL)
        return 0;
    HF_ASSERT(listpack_validate(b, false, NULL, NULL, &shallow) == NULL && (shallow == count || shallow == UINT64_MAX));
    struct listpack *lp = listpack_try_load(b);
    HF_ASSERT(lp != NULL && listpack_count(lp) == count);
    uint64_t n = 0;
    for (uint32_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at), n++) {
        const struct packed_item it = listpack_get(lp, at);
        uint32_t next = listpack_next(lp, at);
        HF_ASSERT(next == 0 || listpack_prev(lp, next) == at);
        if (!it.is_int)
            HF_ASSERT(listpack_find(lp, listpack_first(lp), it.s, 0) <= at);
    }
    HF_ASSERT(n == count);
    change(&lp, crc64(count, data, size));
    listpack_destroy(lp);
    return 0;
}
