#include "config.h"

#include <string.h>

#include "server/base/endian.h"
#include "server/base/logging.h"
#include "server/commands/persist_int.h"

/* Function libraries that a snapshot brought. Nothing here runs them; they are kept as they came, so that every snapshot
 * and AOF base that is written has them again and another server gets them back.
 *
 * p->libraries is a row of records: 8 bytes of length, the code. */

#define LENGTH_BYTES 8

static struct slice next_library(const struct buf *libraries, size_t *inout_at) {
    size_t n = (size_t)load_le64(libraries->data + *inout_at);
    struct slice code = slice_of(libraries->data + *inout_at + LENGTH_BYTES, n);
    *inout_at += LENGTH_BYTES + n;
    return code;
}

/* Reading a snapshot again, as DEBUG RELOAD does, brings the same ones. */
static bool is_held(const struct buf *libraries, struct slice code) {
    for (size_t at = 0; at < libraries->len;)
        if (slice_eq(next_library(libraries, &at), code))
            return true;
    return false;
}

int persist_hold_library(void *arg, struct slice code, const char **ret_text) {
    struct persist *p = arg;
    char length[LENGTH_BYTES];
    if (is_held(&p->libraries, code))
        return 0;
    if (code.n > SIZE_MAX - LENGTH_BYTES || buf_try_reserve(&p->libraries, code.n + LENGTH_BYTES) != 0) {
        *ret_text = "out of memory";
        return -1;
    }
    store_le64(length, code.n);
    buf_append(&p->libraries, length, sizeof length);
    buf_append_slice(&p->libraries, code);
    log_warning("A function library of %zu bytes cannot be called here; it is kept for the files that are written",
                code.n);
    return 0;
}

void persist_write_libraries(void *arg, struct rdb_writer *w) {
    const struct persist *p = arg;
    for (size_t at = 0; at < p->libraries.len;)
        rdb_write_function(w, next_library(&p->libraries, &at), p->options.rdbcompression);
}
