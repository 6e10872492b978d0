# The steps that connections are made and used in.
from mongokey._support.deadline cimport Deadline, Timeout


cdef class Connect:
    cdef readonly object address            # an Address: (host, port or None)
    cdef readonly Timeout limit
    cdef readonly Deadline until            # the operation's that it is for, or None
    cdef readonly Deadline deadline         # since it was carried out first; None: no limit, or not

    cpdef Deadline begin(self)


cdef class StartTLS:
    cdef readonly object tls                # ClientTLS
    cdef readonly str host


cdef class Pause:
    cdef readonly object hello              # HelloReply


cdef class Exchange:
    cdef readonly object document
    cdef readonly Timeout limit
    cdef readonly bint exhaust


cdef class NextReply:
    cdef readonly Timeout limit


cdef class Sleep:
    cdef readonly object ns
    cdef readonly object at_least_ns


cdef class Beside:
    cdef readonly object function
