/*
 * Generators, driven from C: one step without the StopIteration that `next` ends with.
 *
 * An exception costs its object, a traceback and code that is rarely in a cache. It must not know
 * what the generators do.
 */
#ifndef MONGOKEY_GENERATORS_H
#define MONGOKEY_GENERATORS_H

#include <Python.h>

/* What a generator yields next, or, with *ended, what it returns; `answer` is sent to it, None at
 * first. NULL with an exception where it raises. */
static inline PyObject *mk_next_step(PyObject *steps, PyObject *answer, int *ended) {
    PyObject *step = NULL;
    *ended = PyIter_Send(steps, answer, &step) == PYGEN_RETURN;
    return step;
}

#endif
