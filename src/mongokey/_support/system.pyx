# cython: language_level=3
"""What Python code asks the system for in C: the monotonic clock that no test library can freeze,
and which environment variables there are.

Whoever bounds a wait must take the time from here, and not from `time`, whose functions freezegun
and time-machine replace: a deadline would never come. `os.environ` encodes each name and raises and
catches an error for each variable that is not there, which is most of what a client's start would
cost; values are `os.environ`'s.
"""

from libc.stdint cimport int64_t

cdef extern from "mongokey/clock.h" nogil:
    int64_t mk_monotonic_ns()

cdef extern from "stdlib.h":
    char *getenv(const char *name)


def monotonic():
    """Seconds of the clock that `time.monotonic` reads."""
    return <double>mk_monotonic_ns() / 1e9


def monotonic_ns():
    """Nanoseconds of the same clock."""
    return mk_monotonic_ns()


def any_is_set(tuple names not None):
    """Whether one of the variables `names`, a tuple of bytes, is set, be it to nothing."""
    for name in names:
        if getenv(<bytes?>name) != NULL:
            return True
    return False
