# cython: boundscheck=False, wraparound=False
"""Connected byte streams: all bytes out, some bytes in, each message bounded and interruptible.

It knows sockets (through include/mongokey/net.h), deadlines, signals, threads and forks, and the
errors that a lost connection becomes. It must not know what the bytes mean, how a connection was
made (`connecting` does) or what TLS is (`tls` does).
"""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline, Timeout, describe_timeout

from mongokey.errors import AutoReconnect, NetworkTimeout

cdef extern from *:
    """
    static int mk_error_is_set(void) { return -1; }
    """
    # Raises the error that is set already.
    int raise_current "mk_error_is_set"() except -1
    # As it is in C: -1, with the error set, where a handler raised one.
    int PyErr_CheckSignals()

# The core of a thread that came back from a wait of a stream and holds the GIL since (turn.h); -1
# once it, or another one, begins to wait. Guarded by the GIL, read without it.
cdef int holder_core = -1

# So long the kernel waits for the first bytes of a reply where no timeout is set; without a
# deadline it is asked again. Logins have more time by default, so that each of their waits is one
# system call.
cdef int64_t KERNEL_WAIT_NS = 10_000_000_000

# From this size on a copy into the kernel takes longer than winning the GIL back.
cdef enum:
    BIG_WRITE = 65536
    # So much is looked at of what came before a write failed.
    LAST_WORDS = 64

if mk_net_init() != 0:
    raise ImportError("the system's socket library (Winsock 2.2) cannot be started")


cpdef int64_t monotonic_ns() noexcept nogil:
    """The clock of all deadlines, in nanoseconds."""
    return mk_monotonic_ns()


cdef object cooperative_wait = None


def wait_cooperatively(wait):
    """Have every wait for a socket done by `wait`; None: by the system, as at first."""
    global cooperative_wait
    cooperative_wait = wait


cdef str error_text(int64_t code):
    """The system's words for a negated error number."""
    cdef object number = int(-code)
    if os.name == "nt":
        import errno

        # strerror does not know Winsock's numbers, errno knows their names.
        return errno.errorcode.get(number, f"error {number}")
    return os.strerror(number)


cdef class Stream:
    """A connected stream to `peer`; this base class is only the interface, always closed."""

    def __cinit__(self):
        self._socket = MK_NO_SOCKET
        self.closed = True
        self.peer = ""
        self.last_words = b""
        self._pid = os.getpid()

    cdef int write(self, const uint8_t *data, size_t size, Deadline deadline) except -1:
        return self._refuse()

    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, Deadline deadline) except -1:
        return self._refuse()

    cpdef int set_timeout(self, Timeout timeout) except -1:
        """Bound each call without a deadline by `timeout`; None: not bounded."""
        if self.closed:
            self._refuse()
        self.timeout = timeout
        self.timeout_ns = 0 if timeout is None else timeout.ns
        return 0

    cpdef bint stale(self) except -1:
        """Whether the peer has closed, or sent bytes nobody asked for. Never waits."""
        return True

    cpdef close(self):
        """Close the stream; more than once is allowed, and so is another thread's call."""
        if self.closed:
            self._close_successor()
            return
        self.closed = True
        if self._inside == 0 or os.getpid() != self._pid:
            # In a forked child the calls that were inside do not exist, and a shutdown would
            # end the parent's connection.
            self._release()
        else:
            # Wakes the call that is inside; on its way out it releases the socket.
            mk_shutdown(self._socket)

    cdef int _close_successor(self) except -1:
        return 0

    def send_all(self, data, Deadline deadline=None):
        """Send all of `data`, a bytes-like object."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.write(<const uint8_t *>view.buf, <size_t>view.len, deadline)
        finally:
            PyBuffer_Release(&view)

    def receive(self, Py_ssize_t max, Deadline deadline=None):
        """Wait for bytes and return 1 to `max` of them."""
        cdef bytes into
        cdef Py_ssize_t got
        if max < 1:
            raise ValueError(f"at least 1 byte must be asked for, not {max}")
        into = PyBytes_FromStringAndSize(NULL, max)
        expect_message(self)
        got = self.read(<uint8_t *>PyBytes_AS_STRING(into), <size_t>max, deadline)
        return into if got == max else PyBytes_FromStringAndSize(PyBytes_AS_STRING(into), got)

    def fileno(self):
        """The socket's number; -1 once the stream is closed."""
        return -1 if self.closed else self._socket

    def __repr__(self):
        return f"<{type(self).__name__} to {self.peer}{', closed' if self.closed else ''}>"

    cdef int _wait(self, short events, int64_t limit_ns, Deadline deadline) except -1:
        global holder_core
        cdef mk_pollfd one
        cdef int64_t left = -1
        cdef int rc
        while True:
            # A signal since the last look would be heard only when this wait ends.
            self._interrupted()
            if limit_ns:
                left = limit_ns - mk_monotonic_ns()
                # Bytes that are there by now do not count, or a server that sends one at a time
                # could hold a caller for ever.
                if left <= 0:
                    self._timed_out(events, limit_ns, deadline)
            if cooperative_wait is not None:
                if self._wait_cooperatively(events, left):
                    return 0
                continue
            one.fd = self._socket
            one.events = events
            one.revents = 0
            self._inside += 1
            holder_core = -1
            with nogil:
                rc = mk_poll(&one, 1, left)
                mk_let_holder_run(&holder_core)
            holder_core = mk_current_core()
            self._leave()
            if rc > 0:
                return 0
            if rc < 0 and rc != -MK_EINTR:
                self._lost(rc, "waiting")

    cdef bint _wait_cooperatively(self, short events, int64_t left_ns) except -1:
        self._inside += 1
        try:
            ready = cooperative_wait(
                self._socket, events, None if left_ns < 0 else left_ns / 1e9
            )
        except BaseException:
            # A greenlet that was killed: half a message may have been read.
            self._inside -= 1
            if self.closed and self._inside == 0:
                self._release()
            self.close()
            raise
        self._leave()
        return ready

    cdef int _leave(self) except -1:
        """Ends a stay inside a system call, that `_inside += 1` began."""
        self._inside -= 1
        if self.closed:
            if self._inside == 0:
                self._release()
            raise AutoReconnect(f"{self.peer}: the connection was closed here while it was in use")
        return 0

    cdef int _interrupted(self) except -1:
        """Run the handlers of the signals that came; what they raise ends the stream."""
        # Without `try`, which saves what is handled now: this is done before each wait.
        if PyErr_CheckSignals() != 0:
            return end_by_signal(self)
        if self.closed:
            self._refuse()
        return 0

    cdef int _refuse(self) except -1:
        raise AutoReconnect(f"{self.peer}: the connection is closed")

    cdef int _lost(self, int64_t code, str doing) except -1:
        """Close and raise; `code` is a negated error number, 0 for the end of the stream."""
        self.lost = True
        self.close()
        what = error_text(code) if code else "connection closed by the server"
        raise AutoReconnect(f"{self.peer}: {what} (while {doing})")

    cdef int _timed_out(self, short events, int64_t limit_ns, Deadline deadline) except -1:
        """Close and raise; without a deadline the time was the stream's own timeout."""
        self.close()
        doing = "waiting for the server to take data"
        if events == POLLIN:
            doing = "waiting for the server's answer"
        if deadline is not None:
            said = deadline.timed_out(doing)
        else:
            said = describe_timeout(limit_ns - self.timeout_ns, doing, self.timeout)
        raise NetworkTimeout(f"{self.peer}: {said}{self._timeout_hint or ''}")

    cdef int _release(self) except -1:
        cdef mk_socket s = self._socket
        self._socket = MK_NO_SOCKET
        if s != MK_NO_SOCKET:
            mk_close(s)
        return 0


cdef SocketStream take_over(SocketStream stream, type kind, str timeout_hint):
    """A new stream of this `kind` on the socket of `stream`, which is its from now on."""
    cdef SocketStream made
    cdef mk_socket fd = stream._detach()
    try:
        made = <SocketStream?>kind.__new__(kind, fd, stream.peer)
    except BaseException:
        mk_close(fd)
        raise
    made.timeout, made.timeout_ns = stream.timeout, stream.timeout_ns
    made._timeout_hint = timeout_hint
    stream._pass_on(made)
    return made


cdef int end_by_signal(Stream stream) except -1:
    try:
        raise_current()
    except BaseException:
        stream.close()
        raise


cdef class SocketStream(Stream):
    """A stream over the connected socket `fd`, which it owns from now on."""

    def __cinit__(self, mk_socket fd, str peer not None):
        cdef int rc = mk_set_stream_mode(fd)
        if rc != 0:
            raise OSError(-rc, error_text(rc))
        # What takes no time limit is waited for otherwise.
        self._is_kernel_limited = mk_set_receive_timeout(fd, KERNEL_WAIT_NS) == 0
        self.peer = peer
        self._socket = fd
        self.closed = False

    def __dealloc__(self):
        if self._socket != MK_NO_SOCKET:
            mk_close(self._socket)

    cdef int write(self, const uint8_t *data, size_t size, Deadline deadline) except -1:
        cdef int64_t sent
        if self.closed:
            self._refuse()
        if deadline is not None:
            return self._put(data, size, deadline.at_ns, deadline)
        if size < BIG_WRITE:
            # Returns at once, so the GIL is kept: releasing it costs more than the call.
            sent = mk_send_now(self._socket, data, size)
            if sent == <int64_t>size:
                return 0
            return self._write_rest(data, size, sent, self._own_limit(), None)
        return self._put(data, size, self._own_limit(), None)

    cdef int64_t _own_limit(self) noexcept:
        """When a call that begins now is over by `timeout`; 0: never."""
        return mk_monotonic_ns() + self.timeout_ns if self.timeout_ns else 0

    cdef int _put(
        self, const uint8_t *data, size_t size, int64_t limit_ns, Deadline deadline
    ) except -1:
        cdef int64_t sent
        if size < BIG_WRITE:
            sent = mk_send_now(self._socket, data, size)
        else:
            self._inside += 1
            with nogil:
                sent = mk_send_now(self._socket, data, size)
            self._leave()
        if sent == <int64_t>size:
            return 0
        return self._write_rest(data, size, sent, limit_ns, deadline)

    cdef int _write_rest(
        self, const uint8_t *data, size_t size, int64_t sent, int64_t limit_ns, Deadline deadline
    ) except -1:
        while True:
            if sent >= 0:
                data += sent
                size -= <size_t>sent
                if size == 0:
                    return 0
            elif sent != -MK_EAGAIN and sent != -MK_EINTR:
                self._lost(sent, "sending")
            self._wait(POLLOUT, limit_ns, deadline)
            self._inside += 1
            with nogil:
                sent = mk_send_now(self._socket, data, size)
            self._leave()

    cdef int _lost(self, int64_t code, str doing) except -1:
        cdef uint8_t said[LAST_WORDS]
        cdef int64_t got
        # A server that greets in another protocol may be gone before anything could be sent.
        if code != 0 and type(self) is SocketStream and self._socket != MK_NO_SOCKET:
            got = mk_receive(self._socket, said, LAST_WORDS, False)
            if got > 0:
                self.last_words = (<const char *>said)[:got]
        return Stream._lost(self, code, doing)

    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, Deadline deadline) except -1:
        global holder_core
        cdef int64_t got
        cdef int64_t limit = self._limit_ns if deadline is None else deadline.at_ns
        cdef bint first = self._first
        if self.closed:
            self._refuse()
        self._first = False
        if (
            MK_KERNEL_WAITS
            and (first or limit == 0)
            and cooperative_wait is None
            and (deadline is None or self._kernel_may_wait(limit))
        ):
            # A signal that came while the message was sent would be heard only at the end.
            self._interrupted()
            # The hot path: the kernel waits, and minds the timeout, in one system call. A
            # policy that looks (or spins) before it waits would stand here. Of a wait without a
            # timeout, or until a late deadline, it is only the beginning.
            self._inside += 1
            holder_core = -1
            with nogil:
                got = mk_receive(self._socket, into, capacity, True)
                mk_let_holder_run(&holder_core)
            holder_core = mk_current_core()
            self._leave()
            if got > 0:
                self.unread = <size_t>got == capacity
                return <Py_ssize_t>got
            if got == -MK_EINTR:
                self._interrupted()
            elif got != -MK_EAGAIN:
                self._lost(got, "waiting for the server's answer")
        if first or limit == 0:
            self._wait(POLLIN, limit, deadline)
        elif mk_monotonic_ns() >= limit:
            # Bytes that are there by now do not count, as in _wait.
            self._timed_out(POLLIN, limit, deadline)
        while True:
            self._inside += 1
            with nogil:
                got = mk_receive(self._socket, into, capacity, False)
            self._leave()
            if got > 0:
                self.unread = <size_t>got == capacity
                return <Py_ssize_t>got
            if got != -MK_EAGAIN and got != -MK_EINTR:
                self._lost(got, "waiting for the server's answer")
            self._wait(POLLIN, limit, deadline)

    cdef bint _kernel_may_wait(self, int64_t limit_ns) noexcept:
        """Whether the longest wait of `mk_receive` ends before the deadline."""
        return (
            self._is_kernel_limited
            and self.timeout_ns == 0
            and limit_ns - mk_monotonic_ns() >= KERNEL_WAIT_NS
        )

    cpdef int set_timeout(self, Timeout timeout) except -1:
        cdef int rc
        cdef int64_t before = self.timeout_ns
        Stream.set_timeout(self, timeout)
        if self.timeout_ns != before:
            rc = mk_set_receive_timeout(
                self._socket, self.timeout_ns if self.timeout_ns else KERNEL_WAIT_NS
            )
            if rc != 0:
                self._lost(rc, "setting its timeout")
        return 0

    cpdef bint stale(self) except -1:
        cdef mk_pollfd one
        if self.closed:
            return True
        one.fd = self._socket
        one.events = POLLIN
        one.revents = 0
        # Nothing is to be read between commands: whatever poll has to say is bad news.
        return mk_poll(&one, 1, 0) != 0

    cdef int _close_successor(self) except -1:
        if self._detached:
            if self._successor is None:
                self._unwanted = True
            else:
                self._successor.close()
        return 0

    cdef int _pass_on(self, Stream successor) except -1:
        """`successor` has taken the socket over: who closes this stream closes that one."""
        self._successor = successor
        if self._unwanted:
            successor.close()
        return 0

    cdef mk_socket _detach(self) except? -1:
        cdef mk_socket s = self._socket
        if self.closed:
            self._refuse()
        self.closed = True
        self._detached = True
        self._socket = MK_NO_SOCKET
        return s
