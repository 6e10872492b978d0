# The pool of one server's connections, for tasks of an asyncio loop.
from libc.stdint cimport int64_t

from mongokey.connection.connection cimport Connection
from mongokey.pool.pool cimport Pool


cdef class AsyncPool(Pool):
    cdef list closing                       # connections whose sockets are still to be closed

    # A connection for the caller alone, if one is idle and no listener is to be told; or None.
    cdef Connection take_now(self, int64_t now)
