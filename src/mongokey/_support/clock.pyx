"""The monotonic clock for Python code that waits: the one that no test library can freeze.

It knows the system's clock only. Whoever bounds a wait must take the time from here, and not from
`time`, whose functions freezegun and time-machine replace: a deadline would never come.
"""

from libc.stdint cimport int64_t

cdef extern from "mongokey/clock.h" nogil:
    int64_t mk_monotonic_ns()


def monotonic():
    """Seconds of the clock that `time.monotonic` reads."""
    return <double>mk_monotonic_ns() / 1e9


def monotonic_ns():
    """Nanoseconds of the same clock."""
    return mk_monotonic_ns()
