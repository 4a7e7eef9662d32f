#include "config.h"

#include "server/daemon/service.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

static void notify(const char *text) {
#ifdef HAVE_SYSTEMD
    sd_notify(0, text);
#else
    (void)text;
#endif
}

bool service_present(void) {
#ifdef HAVE_SYSTEMD
    return getenv("NOTIFY_SOCKET") != NULL;
#else
    return false;
#endif
}

void service_ready(void) {
    notify("READY=1");
}
void service_stopping(void) {
    notify("STOPPING=1");
}

void service_status(const char *fmt, ...) {
    char text[256] = "STATUS=";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text + 7, sizeof text - 7, fmt, ap);
    va_end(ap);
    notify(text);
}

void service_extend_timeout(int64_t usec) {
    char text[64];
    snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%lld", (long long)usec);
    notify(text);
}

int64_t service_watchdog_interval_us(void) {
#ifdef HAVE_SYSTEMD
    uint64_t usec = 0;
    if (sd_watchdog_enabled(0, &usec) > 0)
        return (int64_t)usec / 3;
#endif
    return 0;
}

void service_watchdog(void) {
    notify("WATCHDOG=1");
}
