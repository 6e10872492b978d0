# The pool of one server's connections, blocking.
from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Timeout
from mongokey.connection.connection cimport Connection
from mongokey.pool.state cimport PoolState


cdef class Pool(PoolState):
    cdef readonly object address            # an Address: (host, port or None)
    cdef readonly object description        # HelloReply of the latest handshake, or None
    cdef Timeout wait_queue_timeout         # or None
    cdef object connect                     # () -> Connection
    cdef object __weakref__

    cdef Connection checkout(self)
    cdef Connection borrow(self, double wait_s)
    cdef int give_back(self, Connection connection) except -1
    cdef int checkin(self, Connection connection) except -1
    cdef Connection _take_idle(self, int64_t now)
    cdef Connection _checkout_slowly(self, int64_t started_ns)
    cdef Connection _open(self)
    cdef int _drop(self, Connection connection) except -1
    cpdef clear(self)
    cpdef close(self)
