/* Intset bytes: what deep validation accepts can be searched and changed, and stays sound. The last 8 bytes are the
 * integer to look for. */
#include "config.h"

#include <stdint.h>

#include "server/base/assert.h"
#include "server/ds/intset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t count;
    if (size < 8)
        return 0;
    int64_t v = (int64_t)load_le64(data + size - 8);
    struct slice b = slice_of(data, size - 8);
    if (intset_validate(b, true, NULL, NULL, &count) != NULL)
        return 0;
    struct intset *is = intset_try_load(b);
    HF_ASSERT(is != NULL && intset_count(is) == count);
    for (uint32_t i = 0, at; i < count; i++)
        HF_ASSERT(intset_find(is, intset_get(is, i), &at) && at == i);
    bool there = intset_find(is, v, NULL);
    HF_ASSERT(intset_add(&is, v) == !there);
    intset_check(is);
    HF_ASSERT(intset_find(is, v, NULL) && intset_remove(&is, v) && !intset_find(is, v, NULL));
    intset_check(is);
    intset_destroy(is);
    return 0;
}
