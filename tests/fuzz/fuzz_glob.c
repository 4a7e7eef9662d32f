/* Glob: the first byte says where the pattern ends and the text begins. A text matches itself when every byte of it is
 * escaped, and any text matches a pattern with a star in front and behind when it matches the pattern. */
#include "config.h"

#include <stdint.h>

#include "server/base/assert.h"
#include "server/base/buf.h"
#include "server/ds/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > 4096)
        return 0;
    size_t cut = data[0] < size ? data[0] : size - 1;
    struct slice pattern = slice_of(data + 1, cut), text = slice_of(data + 1 + cut, size - 1 - cut);
    bool matches = glob_match(pattern, text, false);
    (void)glob_match(pattern, text, true);
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < text.n; i++) {
        buf_append_char(&b, '\\');
        buf_append_char(&b, text.p[i]);
    }
    HF_ASSERT(glob_match(buf_slice(&b), text, false));
    HF_ASSERT(glob_match(buf_slice(&b), text, true));
    buf_clear(&b);
    buf_append_char(&b, '*');
    buf_append_slice(&b, pattern);
    HF_ASSERT(!matches || glob_match(buf_slice(&b), text, false));
    buf_deinit(&b);
    return 0;
}
