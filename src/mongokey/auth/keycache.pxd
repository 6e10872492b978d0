# A cache of derived keys in which each key is derived by one thread only.
from mongokey._support.deadline cimport Deadline
from mongokey._support.single_flight cimport SingleFlight


cdef class KeyCache:
    cdef readonly dict _entries
    cdef readonly SingleFlight _flights
    cdef Py_ssize_t _limit

    cpdef object get(self, object key)
    cpdef object derive(self, object key, object compute, Deadline deadline=*, object cancelled=*)
