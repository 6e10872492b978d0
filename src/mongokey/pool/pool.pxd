# The pool of one server's connections. Every method runs under the GIL without giving it up
# between a test and the change that follows it, so checkout and checkin take no lock.
from libc.stdint cimport int64_t, uint64_t

from mongokey._support.deadline cimport Timeout
from mongokey.connection.connection cimport Connection


cdef class Pool:
    cdef readonly object address            # an Address: (host, port or None)
    cdef readonly object description        # HelloReply of the latest handshake, or None
    # Limits: counts, and nanoseconds (0: none).
    cdef readonly Py_ssize_t max_size       # 0: unlimited
    cdef readonly Py_ssize_t min_size
    cdef readonly Py_ssize_t max_connecting
    cdef int64_t max_idle_ns
    cdef Timeout wait_queue_timeout         # or None
    # State.
    # Idle connections, last in, first out: the latest one, and those before it.
    cdef Connection latest
    cdef list idle
    cdef readonly Py_ssize_t in_use
    cdef readonly Py_ssize_t connecting
    cdef Py_ssize_t borrowed                # of those in use: by housekeeping
    cdef readonly uint64_t generation       # connections of an older one are closed at checkin
    cdef readonly bint closed
    cdef list opened                        # every connection, idle or in use, that is not dropped
    cdef list opening                       # threads that open a connection now: identifiers
    cdef object waiters                     # deque of _Waiter, oldest first; None until needed
    cdef object connect                     # () -> Connection
    cdef object __weakref__

    cdef Connection checkout(self)
    cdef Connection borrow(self, double wait_s)
    cdef int give_back(self, Connection connection) except -1
    cdef int checkin(self, Connection connection) except -1
    cdef Connection _checkout_slowly(self, int64_t started_ns)
    cdef Connection _open(self)
    cdef bint _only_held_by(self, unsigned long thread) except -1
    cdef int _enqueue(self, object waiter) except -1
    cdef int _drop(self, Connection connection) except -1
    cdef Connection _fresh_idle(self, int64_t now)
    # All idle connections; none is idle any more in the pool's eyes.
    cdef list _take_idle(self)
    cdef int _wake(self) except -1
    cdef int _fail(self, object error) except -1
    cpdef clear(self)
    cpdef close(self)
