# A bound of waits, and the option it comes from. A bound that is not there is None.
from libc.stdint cimport int64_t


cdef class Timeout:
    # How long something may take; shared by all that the option bounds.
    cdef readonly int64_t ns                # 0: none is left from the start
    cdef readonly str option                # "connectTimeoutMS"; None: of no option

    cpdef Deadline start(self, int64_t now_ns=*)


cdef class Deadline:
    # When it is over. Times are CLOCK_MONOTONIC nanoseconds.
    cdef readonly int64_t at_ns
    cdef readonly int64_t began_ns          # since when it is waited for, for errors
    cdef readonly Timeout timeout           # where it comes from, or None

    cpdef int64_t left_ns(self, int64_t now_ns=*) noexcept
    cpdef bint passed(self, int64_t now_ns=*) noexcept
    cpdef Deadline extended(self, int64_t by_ns)
    cpdef Deadline begun(self, int64_t now_ns)
    cpdef str timed_out(self, str doing=*)


# The deadline that comes first; either may be None, which is no bound.
cpdef Deadline earliest(Deadline one, Deadline other)
# The shorter timeout, the first if they are the same.
cpdef Timeout shortest(Timeout one, Timeout other)
# "timed out after 1.500 s of resolving the host name (connectTimeoutMS=1500)"
cdef str describe_timeout(int64_t began_ns, str doing, Timeout timeout)
