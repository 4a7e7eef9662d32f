/* Time. Modules that decide by time take `now` as a parameter; these functions are called at the edges only. Any thread. */
#ifndef HF_BASE_CLOCK_H
#define HF_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_us(void); /* CLOCK_MONOTONIC, microseconds */
int64_t clock_mono_ns(void); /* CLOCK_MONOTONIC, nanoseconds */
int64_t clock_wall_us(void); /* CLOCK_REALTIME since the epoch, microseconds */
int64_t clock_wall_ms(void); /* CLOCK_REALTIME since the epoch, milliseconds */

#endif
