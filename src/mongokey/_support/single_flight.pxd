# One thread makes a value, the others that need it wait.
from mongokey._support.deadline cimport Deadline


cdef class Flight:
    # A value that is being made, and who waits for it, first come first.
    cdef SingleFlight _flights
    cdef readonly object key
    cdef readonly bint ended        # it has a value or an error
    cdef unsigned long _thread      # who makes it, by ident; 0: a thread that nobody here is
    cdef readonly object owner      # what `abandon` knows it by
    cdef object _value
    cdef object _error
    cdef object _waiting            # deque of _Waiter

    cpdef int finish(self, object value) except -1
    cpdef int fail(self, object error) except -1
    cpdef int give_up(self) except -1
    cpdef bint wait(self, Deadline deadline=*, object cancelled=*) except -1
    cpdef object result(self)
    cdef int _end(self) except -1
    cdef int _after_fork(self, unsigned long survivor) except -1


cdef class _Waiter:
    cdef object lock                # held until it is this waiter's turn
    cdef object owner               # its `owner`, should the flight become its own
    cdef unsigned long thread
    cdef bint inherits              # nobody makes the value any more: this one is to


cdef class SingleFlight:
    cdef object __weakref__
    cdef readonly dict _flights     # key -> Flight
    cdef readonly bint shares_errors

    cpdef tuple join(self, object key, object owner=*)
    cpdef object run(
        self,
        object key,
        object make,
        Deadline deadline=*,
        object cancelled=*,
        object owner=*,
    )
    cpdef int abandon(self, object key, object owner) except -1
    cpdef Py_ssize_t waiting(self, object key) except -1
