/* The service manager (systemd's notification protocol, through libsystemd): readiness, status, time extensions,
 * watchdog.
 *
 * Everything is a no-op where NOTIFY_SOCKET is not set or libsystemd was left out. Thread: the loop's thread.
 */
#ifndef HF_DAEMON_SERVICE_H
#define HF_DAEMON_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

/* True when a service manager listens. */
bool service_present(void);
void service_ready(void);
void service_stopping(void);
void service_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Asks for more time to start or stop: the manager waits at least until now + usec. */
void service_extend_timeout(int64_t usec);
/* Interval at which service_watchdog() must be called, µs; 0 when the manager does not watch. */
int64_t service_watchdog_interval_us(void);
void service_watchdog(void);

#endif
