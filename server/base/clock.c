#include "config.h"

#include "server/base/clock.h"

#include <time.h>

static struct timespec read_clock(clockid_t id) {
    struct timespec ts;
    /* Cannot fail: both clocks exist on every Linux, and ts is ours. */
    (void)clock_gettime(id, &ts);
    return ts;
}

int64_t clock_mono_us(void) {
    struct timespec ts = read_clock(CLOCK_MONOTONIC);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_ns(void) {
    struct timespec ts = read_clock(CLOCK_MONOTONIC);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_wall_us(void) {
    struct timespec ts = read_clock(CLOCK_REALTIME);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_ms(void) {
    struct timespec ts = read_clock(CLOCK_REALTIME);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
