# The connections that a client is making just now.
from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport Stream


cdef class Openings:
    cdef set _streams
    cdef readonly bint closed

    # Whether nothing more is to be opened.
    cdef bint ended(self) except -1
    cpdef int add(self, Stream stream) except -1
    cpdef int remove(self, Stream stream) except -1


cdef class Opening(Openings):
    # One of them, which a pool may give up alone.
    cdef Openings client                    # those of the client, or None before `begin`
    # The operation's that it is made for, in place of the client's timeoutMS; None: of none.
    cdef public Deadline until
    cdef readonly object hello              # HelloReply once the server has said it, or None

    cpdef int begin(self, Openings client) except -1
    cpdef int hello_received(self, hello) except -1
