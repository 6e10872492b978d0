# The connections that a client is making just now.
from mongokey.transport.stream cimport Stream


cdef class Openings:
    cdef set _streams
    cdef readonly bint closed

    cpdef int add(self, Stream stream) except -1
    cpdef int remove(self, Stream stream) except -1
