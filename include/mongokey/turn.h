/* Who holds the interpreter's lock, as far as streams know: so that a thread whose reply has come
 * does not go for the lock while it keeps the holder from running.
 *
 * On one core the kernel lets the thread whose reply comes run at once, in place of the thread that
 * holds the lock; it would find the lock taken, sleep, and be woken again: with many threads that
 * is two switches and four futex calls an exchange, and more with each thread. Letting the holder
 * go on first costs one switch. Nothing here is needed for correctness; a wrong guess costs one
 * sched_yield. */
#ifndef MONGOKEY_TURN_H
#define MONGOKEY_TURN_H

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#if defined(__linux__)
#include <sched.h>
#endif

/* The core this thread runs on; -1 where the system does not tell cheaply. */
static inline int mk_current_core(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Without the lock, before taking it: `holder` is the core of a thread that has it, -1 for none.
 * It changes at any time, and is read once. */
static inline void mk_let_holder_run(const volatile int *holder) {
#if defined(__linux__)
    int core = *holder;
    if (core >= 0 && core == sched_getcpu()) (void)sched_yield();
#else
    (void)holder;
#endif
}

#endif
