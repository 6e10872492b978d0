/* A thread that waits for sockets without the interpreter's lock, and has nothing to do with the
 * interpreter until there is something to be done.
 *
 * What a thread of Python's costs before and after its work (its state, two waits for the lock) is
 * more than most connections do. Whoever started one can recall it: then it ends by itself, and
 * has never been one of Python's.
 */
#ifndef MONGOKEY_APART_H
#define MONGOKEY_APART_H

#include <Python.h>
#include <pythread.h>

#include "mongokey/wake.h"

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#define MK_APART_WAITING 0L
#define MK_APART_BEGUN 1L    /* something came: the thread is about to call its function */
#define MK_APART_RECALLED 2L

/* Called once, in the thread, with the interpreter's lock; it gives `owner` back, and frees what
 * mk_apart_new made. */
typedef void (*mk_apart_function)(PyObject *owner);

typedef struct {
    volatile long state;
    volatile long holders;       /* of a recalled one: the thread, and who recalls it */
    mk_apart_function function;
    PyObject *owner;             /* a reference; whoever changes the state gives it back */
    PyInterpreterState *interpreter;
    mk_wakeup wakeup;            /* closed by the last holder of a recalled one */
    int64_t wait_ns;             /* from its beginning; below 0: for ever */
    unsigned count;
    mk_pollfd sockets[1];        /* `count` of them */
} mk_apart;

/* From waiting to `state`: 1, or 0 when somebody was faster. */
static inline int mk_apart_leave(mk_apart *a, long state) {
#if defined(_MSC_VER)
    return _InterlockedCompareExchange(&a->state, state, MK_APART_WAITING) == MK_APART_WAITING;
#else
    long waiting = MK_APART_WAITING;
    return __atomic_compare_exchange_n(
        &a->state, &waiting, state, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
#endif
}

/* The thread and who recalls it are both done with it, in whatever order. */
static inline void mk_apart_release(mk_apart *a) {
#if defined(_MSC_VER)
    if (_InterlockedDecrement(&a->holders) != 0) return;
#else
    if (__atomic_sub_fetch(&a->holders, 1, __ATOMIC_ACQ_REL) != 0) return;
#endif
    mk_wakeup_close(&a->wakeup);
    free(a);
}

/* Its thread will end without a call: 1, and the wake-up is no more the caller's; or 0 when it has
 * begun. */
static inline int mk_apart_recall(mk_apart *a) {
    if (!mk_apart_leave(a, MK_APART_RECALLED)) return 0;
    mk_wakeup_set(&a->wakeup);
    mk_apart_release(a);
    return 1;
}

static inline mk_apart *mk_apart_new(unsigned count) {
    mk_apart *a = (mk_apart *)malloc(sizeof *a + count * sizeof a->sockets[0]);
    if (a == NULL) return NULL;
    a->state = MK_APART_WAITING;
    a->holders = 2;
    a->count = count;
    return a;
}

static void mk_apart_run(void *argument) {
    mk_apart *a = (mk_apart *)argument;
    PyThreadState *thread;
    /* Whatever ends the wait, also an error: whoever is called looks at all sockets again. */
    (void)mk_poll(a->sockets, a->count, a->wait_ns);
    if (!mk_apart_leave(a, MK_APART_BEGUN)) {
        mk_apart_release(a);
        return;
    }
    /* Not PyGILState_Ensure: that is for the main interpreter alone. */
    thread = PyThreadState_New(a->interpreter);
    if (thread == NULL) Py_FatalError("mongokey: no memory for a thread's state");
    PyEval_AcquireThread(thread);
    a->function(a->owner);
    PyThreadState_Clear(thread);
    PyThreadState_DeleteCurrent();
}

/* Starts the thread, with the interpreter's lock: 1, or 0 where the system has none to give. */
static inline int mk_apart_start(mk_apart *a) {
    a->interpreter = PyInterpreterState_Get();
    return PyThread_start_new_thread(mk_apart_run, a) != PYTHREAD_INVALID_THREAD_ID;
}

#endif
