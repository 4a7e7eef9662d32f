/* LZF: any input is decoded inside its bounds; what was compressed comes back. The first two bytes give the length to
 * decode to. */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/ds/lzf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    size_t len = (size_t)data[0] | (size_t)data[1] << 8;
    data += 2;
    size -= 2;
    uint8_t *out = mem_alloc(len);
    if (lzf_decompress(data, size, out, len) == 0 && len != 0) {
        /* What decodes can be encoded again, if not to the same bytes. */
        size_t cap = len + len / 32 + 8;
        uint8_t *packed = mem_alloc(cap);
        HF_ASSERT(lzf_compress(out, len, packed, cap) != 0);
        mem_free(packed);
    }
    mem_free(out);
    if (size == 0)
        return 0;
    size_t cap = len < size + size / 32 + 8 ? len : size + size / 32 + 8;
    uint8_t *packed = mem_alloc(cap), *back = mem_alloc(size);
    size_t n = lzf_compress(data, size, packed, cap);
    HF_ASSERT(n <= cap);
    if (n != 0)
        HF_ASSERT(lzf_decompress(packed, n, back, size) == 0 && memcmp(back, data, size) == 0);
    mem_free(packed);
    mem_free(back);
    return 0;
}
