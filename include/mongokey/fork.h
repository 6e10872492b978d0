/* A flag that a forked child finds raised, however it was forked (os.fork or C's fork). */
#ifndef MONGOKEY_FORK_H
#define MONGOKEY_FORK_H

#ifdef _WIN32
/* Windows has no fork. */
static inline int mk_watch_fork(volatile int *flag) {
    (void)flag;
    return 0;
}
#else
#include <pthread.h>
#include <stddef.h>

static volatile int *mk_fork_flag = NULL;

static void mk_after_fork(void) {
    if (mk_fork_flag != NULL) *mk_fork_flag = 1;
}

/* Sets *flag to 1 in every child forked from now on; 0, or an errno. */
static inline int mk_watch_fork(volatile int *flag) {
    mk_fork_flag = flag;
    return pthread_atfork(NULL, NULL, mk_after_fork);
}
#endif

#endif
