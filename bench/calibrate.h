/* A fixed piece of work, to see at which speed the core runs just now.
 *
 * What halves the speed is a neighbour on the other hardware thread of the core, so the work is
 * what suffers most from one: independent sums that fill every execution unit. The floor and the
 * drivers' workers do the same work, so that their times can be compared. */
#ifndef MONGOKEY_BENCH_CALIBRATE_H
#define MONGOKEY_BENCH_CALIBRATE_H

#include <stdint.h>
#include <time.h>

static int64_t nanoseconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* CPU nanoseconds that the work took. */
static int64_t calibrate_work(void) {
    uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
    int64_t start = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < 150000; i++) {
        a += a >> 3;
        b ^= b << 5;
        c += c << 1;
        d ^= d >> 7;
        e += e >> 9;
        f ^= f << 3;
        g += g << 2;
        h ^= h >> 5;
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g), "+r"(h));
    }
    return nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start;
}

#endif
