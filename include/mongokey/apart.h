/* One thread of the process that waits for the sockets of many, without the interpreter's lock, and
 * has nothing to do with the interpreter: who has something to be done then gets a thread of its own.
 *
 * What a thread of Python's costs before and after its work (its stack, its state, two waits for the
 * lock) is more than most connections do. Most clients that are closed soon never need one: what
 * waits for them is a place in a list here, and beginning and ending that makes no system call but
 * where the thread has to look again: for sockets, an earlier time, or nothing more to wait for.
 *
 * The lock is held for a few steps of plain C each time, in which nothing waits, no system call but
 * a write to the wake-up and the start of a thread is made, and no code of Python's runs.
 */
#ifndef MONGOKEY_APART_H
#define MONGOKEY_APART_H

#include <Python.h>
#include <pythread.h>

#include "mongokey/wake.h"

/* The thread stays for so long after it had nobody to wait for any more, for whoever comes next. */
#define MK_APART_LINGER_NS 500000000LL
/* After a wait that the system refused, or when it has no thread to give. */
#define MK_APART_PAUSE_NS 100000000LL

/* Called once, in a thread of its own, with the interpreter's lock; it gives `owner` back, and frees
 * what mk_apart_new made. */
typedef void (*mk_apart_function)(PyObject *owner);

typedef struct mk_apart {
    struct mk_apart *previous, *next; /* in the list; an end of it has NULL there */
    int waiting;                      /* it is in the list */
    int woken;
    mk_apart_function function;
    PyObject *owner;                  /* a reference, for the function or who recalls it */
    PyInterpreterState *interpreter;
    int64_t due_ns;                   /* below 0: never */
    unsigned count;
    mk_pollfd sockets[1];             /* `count` of them */
} mk_apart;

static struct {
    PyThread_type_lock lock;
    mk_apart *first;
    unsigned sockets;    /* of all that are in the list */
    int running;         /* the thread is there */
    int64_t until_ns;    /* it waits no longer than that; below 0: for ever */
    mk_wakeup wakeup;    /* open while it is there */
} mk_waiting;

/* What has to be there before all else; 0, or -1 without memory. Called with the interpreter's lock
 * when the module is imported, and in a forked child, which has neither the thread nor the list. */
static inline int mk_apart_reset(void) {
    /* The old lock may be held by a thread that is not in the child. */
    mk_waiting.lock = PyThread_allocate_lock();
    mk_waiting.until_ns = 0;
    mk_waiting.first = NULL;
    mk_waiting.sockets = 0;
    if (mk_waiting.running) mk_wakeup_close(&mk_waiting.wakeup);
    mk_waiting.running = 0;
    return mk_waiting.lock == NULL ? -1 : 0;
}

static inline void mk_apart_lock(void) { PyThread_acquire_lock(mk_waiting.lock, WAIT_LOCK); }
static inline void mk_apart_unlock(void) { PyThread_release_lock(mk_waiting.lock); }

/* The lock is held, by this and the next ones. */
static inline void mk_apart_link(mk_apart *a) {
    a->previous = NULL;
    a->next = mk_waiting.first;
    if (a->next != NULL) a->next->previous = a;
    mk_waiting.first = a;
    mk_waiting.sockets += a->count;
    a->waiting = 1;
}

static inline void mk_apart_unlink(mk_apart *a) {
    if (a->previous != NULL) a->previous->next = a->next;
    else mk_waiting.first = a->next;
    if (a->next != NULL) a->next->previous = a->previous;
    mk_waiting.sockets -= a->count;
    a->waiting = 0;
}

static inline mk_apart *mk_apart_new(unsigned count) {
    mk_apart *a = (mk_apart *)malloc(sizeof *a + count * sizeof a->sockets[0]);
    if (a == NULL) return NULL;
    a->waiting = a->woken = 0;
    a->count = count;
    return a;
}

/* It will not be called: 1, and it is the caller's to be freed; or 0 when its thread has begun. */
static inline int mk_apart_recall(mk_apart *a) {
    int waiting;
    mk_apart_lock();
    waiting = a->waiting;
    if (waiting) {
        mk_apart_unlink(a);
        /* While a socket is waited for the system does not let go of it, whoever closes it. And the
         * thread does not stay for long without need. */
        if (a->count || (mk_waiting.first == NULL &&
                         (mk_waiting.until_ns < 0 ||
                          mk_waiting.until_ns > mk_monotonic_ns() + MK_APART_LINGER_NS)))
            mk_wakeup_set(&mk_waiting.wakeup);
    }
    mk_apart_unlock();
    return waiting;
}

/* Have it called now, if it still waits. */
static inline void mk_apart_wake(mk_apart *a) {
    mk_apart_lock();
    if (a->waiting && !a->woken) {
        a->woken = 1;
        mk_wakeup_set(&mk_waiting.wakeup);
    }
    mk_apart_unlock();
}

static void mk_apart_call(void *argument) {
    mk_apart *a = (mk_apart *)argument;
    /* Not PyGILState_Ensure: that is for the main interpreter alone. */
    PyThreadState *thread = PyThreadState_New(a->interpreter);
    if (thread == NULL) Py_FatalError("mongokey: no memory for a thread's state");
    PyEval_AcquireThread(thread);
    a->function(a->owner);
    PyThreadState_Clear(thread);
    PyThreadState_DeleteCurrent();
}

/* Gives each that is due, woken or ready a thread of its own; of `polls`, what was waited for, the
 * first `ready` came. When the next one is due, below 0: never. */
static inline int64_t mk_apart_serve(const mk_pollfd *polls, unsigned ready) {
    int64_t now = mk_monotonic_ns(), due = -1;
    mk_apart *a, *next;
    unsigned i, j;
    for (a = mk_waiting.first; a != NULL; a = next) {
        int begins = a->woken || (a->due_ns >= 0 && a->due_ns <= now);
        next = a->next;
        /* The list may have changed meanwhile, so sockets are known by their numbers. Who has got the
         * number of one that was closed begins without need, and waits again by itself. */
        for (i = 0; i < a->count && !begins; i++)
            for (j = 0; j < ready && !begins; j++) begins = polls[j].fd == a->sockets[i].fd;
        if (begins) {
            mk_apart_unlink(a);
            if (PyThread_start_new_thread(mk_apart_call, a) != PYTHREAD_INVALID_THREAD_ID) continue;
            mk_apart_link(a);
            a->woken = 0;
            a->due_ns = now + MK_APART_PAUSE_NS;
        }
        if (a->due_ns >= 0 && (due < 0 || a->due_ns < due)) due = a->due_ns;
    }
    return due;
}

/* Have all with sockets begin: they cannot be waited for together. */
static inline void mk_apart_wake_all(void) {
    mk_apart *a;
    for (a = mk_waiting.first; a != NULL; a = a->next) a->woken = a->woken || a->count != 0;
}

static void mk_apart_run(void *argument) {
    mk_pollfd few[16], *polls = few, *larger;
    unsigned capacity = 16, count, ready = 0, i;
    int64_t due, now, idle_ns = -1;
    mk_apart *a;
    int rc;
    (void)argument;
    mk_apart_lock();
    for (;;) {
        if (mk_waiting.sockets + 1 > capacity) {
            larger = (mk_pollfd *)malloc(2 * (mk_waiting.sockets + 1) * sizeof *polls);
            if (larger != NULL) {
                for (i = 0; i < ready; i++) larger[i] = polls[i];
                if (polls != few) free(polls);
                polls = larger;
                capacity = 2 * (mk_waiting.sockets + 1);
            } else {
                mk_apart_wake_all();
            }
        }
        due = mk_apart_serve(polls, ready);
        now = mk_monotonic_ns();
        if (mk_waiting.first != NULL) {
            idle_ns = -1;
        } else {
            if (idle_ns < 0) idle_ns = now;
            due = idle_ns + MK_APART_LINGER_NS;
            if (due <= now) break;
        }
        polls[0].fd = mk_waiting.wakeup.waited;
        polls[0].events = POLLIN;
        polls[0].revents = 0;
        count = 1;
        for (a = mk_waiting.first; a != NULL; a = a->next)
            for (i = 0; i < a->count && count < capacity; i++) polls[count++] = a->sockets[i];
        mk_waiting.until_ns = due;
        mk_apart_unlock();
        rc = mk_poll(polls, count, due < 0 ? -1 : due > now ? due - now : 0);
        mk_apart_lock();
        ready = 0;
        if (rc > 0) {
            if (polls[0].revents) mk_wakeup_clear(&mk_waiting.wakeup);
            for (i = 1; i < count; i++)
                if (polls[i].revents) polls[ready++] = polls[i];
        } else if (rc < 0 && rc != -MK_EINTR) {
            /* More than the system takes, or no memory. */
            mk_apart_wake_all();
        }
    }
    mk_waiting.running = 0;
    mk_wakeup_close(&mk_waiting.wakeup);
    mk_apart_unlock();
    if (polls != few) free(polls);
}

/* Waits, from now on, with the interpreter's lock: 1, or 0 where the system has no thread to give. */
static inline int mk_apart_start(mk_apart *a) {
    int started = 1;
    a->interpreter = PyInterpreterState_Get();
    mk_apart_lock();
    if (!mk_waiting.running) {
        started = mk_wakeup_open(&mk_waiting.wakeup) == 0;
        if (started) {
            mk_waiting.running = 1;
            mk_apart_link(a);
            if (PyThread_start_new_thread(mk_apart_run, NULL) == PYTHREAD_INVALID_THREAD_ID) {
                mk_apart_unlink(a);
                mk_waiting.running = 0;
                mk_wakeup_close(&mk_waiting.wakeup);
                started = 0;
            }
        }
    } else {
        mk_apart_link(a);
        if (a->count || a->woken ||
            (a->due_ns >= 0 && (mk_waiting.until_ns < 0 || a->due_ns < mk_waiting.until_ns)))
            mk_wakeup_set(&mk_waiting.wakeup);
    }
    mk_apart_unlock();
    return started;
}

#endif
