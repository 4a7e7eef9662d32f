#include "config.h"

#include "server/base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/logging.h"

_Noreturn void assert_failed(const char *expr, const char *file, int line) {
    log_line(LOG_LEVEL_WARNING, "=== ASSERTION FAILED ===");
    log_line(LOG_LEVEL_WARNING, "==> %s:%d '%s' is not true", file, line, expr);
    abort();
}

_Noreturn void panic(const char *file, int line, const char *fmt, ...) {
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    log_line(LOG_LEVEL_WARNING, "=== PANIC: %s ===", message);
    log_line(LOG_LEVEL_WARNING, "==> at %s:%d", file, line);
    abort();
}
