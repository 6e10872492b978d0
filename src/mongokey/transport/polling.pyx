# cython: language_level=3
"""Sockets that one thread serves, many at a time, and the one wait for all of them.

It knows sockets, the clock, forks, and what wakes a thread that waits. None of its calls waits but
`Poller.wait`. It must not know what the bytes mean, nor who is served when.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from mongokey.transport.names cimport SocketAddress
from mongokey.transport.stream cimport (
    MK_EAGAIN,
    MK_ECONNREFUSED,
    MK_EINTR,
    MK_NO_SOCKET,
    POLLIN,
    POLLOUT,
    cooperative_wait,
    error_text,
    mk_address,
    mk_close,
    mk_monotonic_ns,
    mk_poll,
    mk_pollfd,
    mk_receive,
    mk_send_now,
    mk_socket,
)

from mongokey._support.fork import run_after_fork
from mongokey._support.lazy import late_imports
from mongokey._support.portable import Portable

cdef extern from "mongokey/net.h" nogil:
    int AF_UNIX
    int mk_address_family(const mk_address *address)
    int mk_open(int family, mk_socket *s)
    int mk_configure_tcp(mk_socket s)
    int mk_connect_start(mk_socket s, const mk_address *to)
    int mk_connect_finish(mk_socket s, const mk_address *to)
    void mk_send_last(mk_socket s, const void *data, size_t size)

cdef extern from "mongokey/wake.h" nogil:
    int mk_wakeup_open(mk_wakeup *w)
    void mk_wakeup_set(const mk_wakeup *w)
    void mk_wakeup_clear(const mk_wakeup *w)
    void mk_wakeup_close(mk_wakeup *w)

cdef extern from "mongokey/apart.h" nogil:
    mk_apart *mk_apart_new(unsigned count)
    int mk_apart_start(mk_apart *a)
    int mk_apart_recall(mk_apart *a)
    void mk_apart_wake(mk_apart *a)
    int mk_apart_reset()

cdef enum:
    # So much is received at a time: who sends more must let others be served.
    RECEIVED = 16384
    # A set of 50 servers has 100 connections.
    FIRST_CAPACITY = 16

# What the methods of a socket answer.
CONNECTED = 0
IN_PROGRESS = 1
BUSY = 2

READ = POLLIN
WRITE = POLLOUT


class SocketFailed(Portable, Exception):
    """A system call on a socket failed; `code` is the negated error number, `reason` the system's
    word for it."""

    def __init__(self, int64_t code):
        self.code = code
        self.reason = error_text(code)
        super().__init__(self.reason)

    @property
    def refused(self):
        """Whether nobody listens there."""
        return self.code == -MK_ECONNREFUSED


def is_ready(mk_socket number, short events):
    """Whether the socket of that number is, for READ or WRITE, or has failed; never waits."""
    cdef mk_pollfd one
    one.fd = number
    one.events = events
    one.revents = 0
    return mk_poll(&one, 1, 0) != 0


cdef class PolledSocket:
    """A socket that is yet to be connected, and never waits. It is closed when it is collected."""

    def __cinit__(self):
        self._socket = MK_NO_SOCKET
        self._pid = os.getpid()

    def __dealloc__(self):
        if self._socket != MK_NO_SOCKET:
            mk_close(self._socket)

    def connect(self, SocketAddress to not None):
        """Begin to connect: CONNECTED (as at once to a server on this machine), IN_PROGRESS (wait
        until it can be written to, then `finish`), or BUSY: a Unix socket's server has too many who
        wait, try again soon."""
        cdef int rc
        self.close()
        rc = mk_open(mk_address_family(&to.at), &self._socket)
        if rc != 0:
            self._socket = MK_NO_SOCKET
            raise SocketFailed(rc)
        rc = mk_connect_start(self._socket, &to.at)
        if rc == 1:
            self.events = POLLOUT
            if not self.look():
                return IN_PROGRESS
            rc = 0
        if rc == -MK_EAGAIN:
            self.close()
            return BUSY
        self._finish(to, rc)
        return CONNECTED

    def finish(self, SocketAddress to not None):
        """The attempt to connect has ended: raises SocketFailed unless it has succeeded."""
        self._finish(to, 0)

    cdef int _finish(self, SocketAddress to, int rc) except -1:
        if rc == 0:
            rc = mk_connect_finish(self._socket, &to.at)
        if rc == 0 and mk_address_family(&to.at) != AF_UNIX:
            rc = mk_configure_tcp(self._socket)
        if rc != 0:
            self.close()
            raise SocketFailed(rc)
        self.events = 0
        return 0

    def send(self, bytes data not None):
        """Send as many bytes of `data` as fit now; how many these are."""
        cdef int64_t sent
        sent = mk_send_now(self._socket, PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))
        if sent >= 0:
            return sent
        if sent == -MK_EAGAIN or sent == -MK_EINTR:
            return 0
        raise SocketFailed(sent)

    def receive(self):
        """Bytes that are there; None when there are none now, b"" at the end of the stream."""
        cdef char into[RECEIVED]
        cdef int64_t got = mk_receive(self._socket, into, RECEIVED, False)
        if got >= 0:
            return PyBytes_FromStringAndSize(into, <Py_ssize_t>got)
        if got == -MK_EAGAIN or got == -MK_EINTR:
            return None
        raise SocketFailed(got)

    def wait_for(self, short events):
        """Have the next `Poller.wait` wait for READ or WRITE."""
        self.events = events

    def send_last(self, bytes data not None):
        """Send `data` if it fits now, and the end of the stream; not in a forked child."""
        if self._socket != MK_NO_SOCKET and os.getpid() == self._pid:
            mk_send_last(
                self._socket, PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data)
            )

    def look(self):
        """Whether what is waited for came, or an error did; never waits."""
        cdef mk_pollfd one
        self.ready = False
        if self._socket != MK_NO_SOCKET and self.events:
            one.fd = self._socket
            one.events = self.events
            one.revents = 0
            self.ready = mk_poll(&one, 1, 0) != 0
        return self.ready

    cdef mk_socket detach(self) except? -1:
        cdef mk_socket s = self._socket
        if s == MK_NO_SOCKET:
            raise ValueError("the socket is closed")
        self._socket = MK_NO_SOCKET
        self.events = 0
        self.watcher = None
        return s

    def close(self):
        """Close it; more than once is allowed."""
        cdef mk_socket s = self._socket
        watcher, self.watcher = self.watcher, None
        self.events = 0
        try:
            if watcher is not None and s != MK_NO_SOCKET:
                watcher.forget(s)
        finally:
            # It may have been closed by what was told.
            if self._socket == s:
                self._socket = MK_NO_SOCKET
                if s != MK_NO_SOCKET:
                    mk_close(s)

    @property
    def closed(self):
        """Whether it is closed, or was not opened yet."""
        return self._socket == MK_NO_SOCKET

    def fileno(self):
        """The socket's number, -1 while there is none."""
        return -1 if self._socket == MK_NO_SOCKET else self._socket


cdef class Waiter:
    """What a poller waits for, for one of those it serves: sockets, a time, or both."""


cdef class Apart:
    """Waits without a thread of Python's, for the time or the sockets that a subclass says, and
    calls a function in a new thread then. It lives until that, or until `recall`."""

    def __cinit__(self):
        self._pid = os.getpid()

    cdef int _begin_apart(
        self, unsigned count, const mk_pollfd *sockets, int64_t due_ns, bint woken, function
    ) except -1:
        cdef mk_apart *apart = mk_apart_new(count)
        if apart == NULL:
            raise MemoryError("no memory to wait for sockets")
        if count:
            memcpy(apart.sockets, sockets, count * sizeof(mk_pollfd))
        apart.due_ns, apart.woken = due_ns, woken
        apart.function, apart.owner = begin_after_wait, <PyObject *>self
        self._apart, self._function = apart, function
        Py_INCREF(self)
        if not mk_apart_start(apart):
            self._take_function()
            raise RuntimeError("can't start new thread")
        return 0

    def recall(self):
        """Whether the function will not be called any more. False where it is about to be, and
        where there is none."""
        if self._apart == NULL or os.getpid() != self._pid or not mk_apart_recall(self._apart):
            return False
        self._take_function()
        return True

    def abandon(self):
        """In a forked child: what waits is in the parent."""
        if self._apart != NULL and os.getpid() != self._pid:
            self._take_function()

    cdef object _take_function(self):
        function, self._function = self._function, None
        if self._apart != NULL:
            free(self._apart)
            self._apart = NULL
            Py_DECREF(self)
        return function


@cython.final
cdef class Alarm(Apart):
    """Calls a function in a new thread when its time has come."""

    def __init__(self, int64_t due_ns, function not None):
        if self._apart != NULL:
            raise ValueError("the alarm waits already")
        self._begin_apart(0, NULL, due_ns, False, function)


cdef class Poller(Apart):
    """The one wait of a thread. `wake` may be called from anywhere, all else in that thread."""

    def __cinit__(self):
        cdef int rc
        self._wakeup.waited = self._wakeup.set = MK_NO_SOCKET
        rc = mk_wakeup_open(&self._wakeup)
        if rc != 0:
            raise OSError(-rc, error_text(rc))

    def __dealloc__(self):
        mk_wakeup_close(&self._wakeup)
        free(self._polls)

    def wake(self):
        """End the wait that is under way, or the next one."""
        if not self._set and os.getpid() == self._pid:
            self._set = True
            mk_wakeup_set(&self._wakeup)
            if self._apart != NULL:
                mk_apart_wake(self._apart)

    def close(self):
        """Close what it owns; `wake` does nothing from now on."""
        self.abandon()
        mk_wakeup_close(&self._wakeup)

    def wait(self, waiters not None):
        """Wait until one of `waiters` is ready or due, or somebody calls `wake`; the list of those
        that are. A signal's handler may raise here."""
        cdef list found = []
        cdef unsigned count, i
        cdef int rc = 0
        cdef int64_t now, wait_ns = -1
        cdef Waiter waiter
        count = self._prepare(waiters, &wait_ns)
        if cooperative_wait is not None and wait_ns != 0:
            self._wait_cooperatively(count, wait_ns)
            wait_ns = 0
        with nogil:
            rc = mk_poll(self._polls, count, wait_ns)
        if rc == -MK_EINTR:
            PyErr_CheckSignals()
            return found
        if rc < 0:
            raise OSError(-rc, error_text(rc))
        if self._polls[count - 1].revents:
            mk_wakeup_clear(&self._wakeup)
            # Whoever wakes from here on sets it again.
            self._set = False
        now = mk_monotonic_ns()
        i = 0
        for waiter in waiters:
            if self._take(waiter, &i) or (waiter.due_ns and waiter.due_ns <= now):
                found.append(waiter)
        return found

    def wait_apart(self, waiters not None, function not None):
        """As `wait`, by a thread that waits for all pollers of the process and is none of Python's;
        then `function()` is called in a new one. Nothing else may be called but `wake` and `recall`
        until then. Raises RuntimeError where the system has no thread to give."""
        cdef int64_t wait_ns = -1
        cdef unsigned count = self._prepare(waiters, &wait_ns) - 1  # its own wake-up is not needed
        cdef int64_t due_ns = -1 if wait_ns < 0 else mk_monotonic_ns() + wait_ns
        self._begin_apart(count, self._polls, due_ns, self._set, function)

    cdef unsigned _prepare(self, waiters, int64_t *wait_ns) except 0:
        cdef unsigned count = 0
        cdef int64_t now, due = 0
        cdef Waiter waiter
        cdef PolledSocket one
        for waiter in waiters:
            if waiter.due_ns and (due == 0 or waiter.due_ns < due):
                due = waiter.due_ns
            socket = waiter.socket
            if type(socket) is PolledSocket:
                count = self._add(<PolledSocket>socket, count)
            elif socket is not None:
                for one in <list?>socket:
                    count = self._add(one, count)
        self._reserve(count + 1)
        self._polls[count].fd = self._wakeup.waited
        self._polls[count].events = POLLIN
        self._polls[count].revents = 0
        if due:
            now = mk_monotonic_ns()
            wait_ns[0] = due - now if due > now else 0
        return count + 1

    cdef unsigned _add(self, PolledSocket one, unsigned count) except? 0:
        if one._socket == MK_NO_SOCKET or not one.events:
            one.ready = False
            return count
        self._reserve(count + 1)
        self._polls[count].fd = one._socket
        self._polls[count].events = one.events
        self._polls[count].revents = 0
        return count + 1

    cdef bint _take(self, Waiter waiter, unsigned *i) except -1:
        """Note which sockets of `waiter` are ready; whether one is. The same order as in `wait`."""
        cdef PolledSocket one
        cdef bint any_ready = False
        socket = waiter.socket
        if socket is None:
            return False
        for one in [socket] if type(socket) is PolledSocket else <list?>socket:
            if one._socket == MK_NO_SOCKET or not one.events:
                continue
            one.ready = self._polls[i[0]].revents != 0
            any_ready = any_ready or one.ready
            i[0] += 1
        return any_ready

    cdef int _reserve(self, unsigned count) except -1:
        cdef mk_pollfd *larger
        cdef unsigned capacity
        if count <= self._capacity:
            return 0
        capacity = max(2 * self._capacity, FIRST_CAPACITY)
        larger = <mk_pollfd *>realloc(self._polls, capacity * sizeof(mk_pollfd))
        if larger == NULL:
            raise MemoryError(f"no memory to wait for {capacity} sockets")
        self._polls, self._capacity = larger, capacity
        return 0

    cdef int _wait_cooperatively(self, unsigned count, int64_t wait_ns) except -1:
        cdef unsigned i
        with late_imports:
            from mongokey.transport import gevent_waits

        gevent_waits.wait_for_events(
            [(self._polls[i].fd, self._polls[i].events) for i in range(count)],
            None if wait_ns < 0 else wait_ns / 1e9,
        )
        return 0


@run_after_fork
def _reset_after_fork():
    """The thread that waits for all, and those it waits for, are in the parent."""
    if mk_apart_reset() != 0:
        raise MemoryError("no memory for a lock")


if mk_apart_reset() != 0:
    raise MemoryError("no memory for a lock")


cdef void begin_after_wait(PyObject *owner) noexcept:
    """In a new thread, when the wait is over."""
    cdef object function = (<Apart>owner)._take_function()
    function()
