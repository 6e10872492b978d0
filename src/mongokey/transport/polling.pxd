# Sockets that one thread serves, many at a time: none of their calls waits.
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from mongokey.transport.names cimport SocketAddress
from mongokey.transport.stream cimport mk_pollfd, mk_socket

cdef extern from "mongokey/wake.h" nogil:
    ctypedef struct mk_wakeup:
        mk_socket waited
        mk_socket set

cdef extern from "mongokey/apart.h":
    ctypedef void (*mk_apart_function)(PyObject *owner) noexcept
    ctypedef struct mk_apart:
        mk_apart_function function
        PyObject *owner
        int woken
        int64_t due_ns
        mk_pollfd *sockets


cdef class PolledSocket:
    cdef mk_socket _socket
    cdef int64_t _pid                       # process that made it: a forked child only closes
    cdef readonly short events              # what is waited for: POLLIN, POLLOUT or 0
    # Told before the number is given back, by `forget(number)`; None: nobody. For loops, which
    # know the numbers that they watch.
    cdef public object watcher
    cdef readonly bint ready                # it came, or an error did, in the last wait

    cdef int _finish(self, SocketAddress to, int rc) except -1
    # The number, which is the caller's from now on; the socket is closed then.
    cdef mk_socket detach(self) except? -1


cdef class Waiter:
    cdef public object socket               # PolledSocket, a list of them, or None
    cdef public int64_t due_ns              # when it is to go on whatever comes; 0: never


cdef class Apart:
    cdef int64_t _pid
    cdef mk_apart *_apart                   # what waits in its place, in a thread of many
    cdef object _function                   # what is called then

    cdef int _begin_apart(
        self, unsigned count, const mk_pollfd *sockets, int64_t due_ns, bint woken, function
    ) except -1
    cdef object _take_function(self)


cdef class Alarm(Apart):
    pass


cdef class Poller(Apart):
    cdef mk_wakeup _wakeup
    cdef mk_pollfd *_polls
    cdef unsigned _capacity
    cdef bint _set                          # the wake-up was set and not yet seen

    # Put what `waiters` wait for into `_polls`; how many sockets, the wake-up among them.
    cdef unsigned _prepare(self, waiters, int64_t *wait_ns) except 0
    cdef unsigned _add(self, PolledSocket one, unsigned count) except? 0
    cdef bint _take(self, Waiter waiter, unsigned *i) except -1
    cdef int _reserve(self, unsigned count) except -1
    cdef int _wait_cooperatively(self, unsigned count, int64_t wait_ns) except -1
