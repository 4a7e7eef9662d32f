#include "config.h"

#include "server/commands/range.h"

size_t range_cut(int64_t start, int64_t end, size_t len, size_t *ret_start) {
    int64_t n = (int64_t)len;
    if (n == 0 || (start < 0 && end < 0 && start > end))
        return 0;
    /* n + start cannot overflow: one is negative, the other is not. */
    if (start < 0)
        start = start < -n ? 0 : n + start;
    if (end < 0)
        end = end < -n ? 0 : n + end;
    if (end >= n)
        end = n - 1;
    if (start > end)
        return 0;
    *ret_start = (size_t)start;
    return (size_t)(end - start + 1);
}
