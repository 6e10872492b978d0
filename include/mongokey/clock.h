/* The clock of all deadlines: monotonic nanoseconds, Python's time.monotonic_ns, read from the
 * system. Programs that freeze or move Python's clocks (freezegun, time-machine) do not reach it.
 */
#ifndef MONGOKEY_CLOCK_H
#define MONGOKEY_CLOCK_H

#include <stdint.h>

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
/* winsock2.h must come before windows.h, for those who include net.h as well. */
#include <winsock2.h>
#include <windows.h>
#else
#include <time.h>
#endif

static inline int64_t mk_monotonic_ns(void) {
#ifdef _WIN32
    LARGE_INTEGER frequency, ticks;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&ticks);
    return ticks.QuadPart / frequency.QuadPart * INT64_C(1000000000) +
           ticks.QuadPart % frequency.QuadPart * INT64_C(1000000000) / frequency.QuadPart;
#else
    struct timespec now;
#ifdef __APPLE__
    clock_gettime(CLOCK_UPTIME_RAW, &now);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (int64_t)now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
#endif
}

#endif
