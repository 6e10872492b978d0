# A cache in which each value is computed by one thread only.
from libc.stdint cimport int64_t


cdef class _Flight:
    # A computation under way, and who waits for it, first come first.
    cdef bint ended
    cdef unsigned long owner        # the computing thread's ident
    cdef object waiting             # deque of _Waiter


cdef class _Waiter:
    cdef object lock                # held until it is this waiter's turn
    cdef unsigned long thread
    cdef bint inherits              # the one before failed: this one is to compute


cdef class KeyCache:
    cdef object __weakref__
    cdef readonly dict _entries
    cdef readonly dict _flights
    cdef Py_ssize_t _limit

    cpdef object get(self, object key)
    cpdef object derive(self, object key, object compute, int64_t deadline_ns=*, object cancelled=*)
    cdef int _keep(self, object key, object value) except -1
    cdef int _pass_on(self, object key, _Flight flight) except -1
    cdef int _end(self, object key, _Flight flight) except -1
    cdef bint _wait(
        self, object key, _Flight flight, int64_t deadline_ns, object cancelled) except -1
