# cython: language_level=3, boundscheck=False, wraparound=False
"""Streams whose readiness an asyncio loop tells: no call waits, the owner is called when it may go
on.

Knows sockets, the loop's `add_reader` and its timers, and that a loop may be closed, or run in
another thread: one that is closed lets go of its readers, by which the stream learns of it. Must
not know what the bytes mean, nor what a task is.

The reader stays registered while the stream is open, as each change costs a system call, and the
timer is left running when what it was for is over: it looks then how long it is still to wait.
"""

import os
from asyncio import _get_running_loop as running_loop
from contextvars import Context

from libc.stdint cimport int64_t, uint8_t

from mongokey.transport.polling cimport PolledSocket
from mongokey.transport.stream cimport (
    MK_EAGAIN,
    MK_EINTR,
    MK_NO_SOCKET,
    POLLIN,
    Stream,
    mk_close,
    mk_monotonic_ns,
    mk_poll,
    mk_pollfd,
    mk_receive,
    mk_send_now,
    mk_shutdown,
    mk_socket,
)

from mongokey.errors import AutoReconnect
from mongokey.transport.loop_readiness import (
    add_reader,
    add_writer,
    remove_reader,
    remove_writer,
)

cdef int64_t NEVER_NS = <int64_t>0x7FFF_FFFF_FFFF_FFFF

# From this size on a copy into the kernel takes longer than winning the GIL back.
cdef enum:
    BIG_WRITE = 65536
    # So much is looked at of what came before a write failed.
    LAST_WORDS = 64


cdef class LoopStream(Stream):
    """A stream over the connected socket `fd`, served by `loop`."""

    def __cinit__(self, mk_socket fd, str peer not None, loop not None):
        self._socket = fd
        self.peer = peer
        self.loop = loop
        self.timer_at_ns = NEVER_NS
        self.closed = False

    def __del__(self):
        self.owner = NULL
        self.close()

    def __dealloc__(self):
        if self.registered != NULL:
            (<Reader>self.registered).stream = NULL
        if self.on_readable is not None:
            self.on_readable.stream = NULL
        if self.on_writable is not None:
            self.on_writable.stream = NULL
        if self.on_timer is not None:
            self.on_timer.stream = NULL
        if self._socket != MK_NO_SOCKET:
            mk_close(self._socket)

    # -- bytes ----------------------------------------------------------------------------------

    cdef Py_ssize_t put(self, const uint8_t *data, size_t size) except -1:
        cdef int64_t sent
        cdef mk_socket s = self._socket
        if self.closed:
            self._refuse()
        if size < BIG_WRITE:
            sent = mk_send_now(s, data, size)
        else:
            with nogil:
                sent = mk_send_now(s, data, size)
        if sent >= 0:
            return <Py_ssize_t>sent
        if sent != -MK_EAGAIN and sent != -MK_EINTR:
            self._lost(sent, "sending")
        return 0

    cdef bint flush(self) except -1:
        return True

    cdef Py_ssize_t take(self, uint8_t *into, size_t capacity) except -1:
        cdef int64_t got
        if self.closed:
            self._refuse()
        got = mk_receive(self._socket, into, capacity, False)
        if got > 0:
            self.unread = <size_t>got == capacity
            return <Py_ssize_t>got
        if got != -MK_EAGAIN and got != -MK_EINTR:
            self._lost(got, "waiting for the server's answer")
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

    cdef int go_on_soon(self) except -1:
        # The loop tells of a socket that can be read as long as it can.
        return 0

    # -- the loop -------------------------------------------------------------------------------

    cdef int watch(self) except -1:
        cdef Reader reader = Reader.__new__(Reader)
        if self.on_readable is None:
            self.on_readable = event_of(self, READABLE)
        self._unregister()
        reader.event = READABLE
        add_reader(self.loop, self._socket, reader)
        reader.stream, self.registered = <void *>self, <void *>reader
        self.reads = True
        return 0

    cdef int pause(self) except -1:
        if self.reads:
            self._unregister()
            remove_reader(self.loop, self._socket)
            self.reads = False
        return 0

    cdef int _unregister(self) except -1:
        """What the loop lets go of from here on is no news."""
        if self.registered != NULL:
            (<Reader>self.registered).stream = NULL
            self.registered = NULL
        return 0

    cdef int _let_go(self) except -1:
        self.registered = NULL
        if self.loop.is_closed():
            # Nobody says so but this.
            self.reads = self.writes = False
            self.close()
        return 0

    cdef int watch_writes(self, bint wanted) except -1:
        if wanted and not self.writes:
            if self.on_writable is None:
                self.on_writable = event_of(self, WRITABLE)
            add_writer(self.loop, self._socket, self.on_writable)
        elif self.writes and not wanted:
            remove_writer(self.loop, self._socket)
        self.writes = wanted
        return 0

    cdef int arm(self, int64_t limit_ns) except -1:
        cdef int64_t now = mk_monotonic_ns()
        if self.timer is not None:
            self.timer.cancel()
        if self.on_timer is None:
            self.on_timer = event_of(self, TIMED_OUT)
        self.timer_at_ns = limit_ns
        # A loop that reckons in milliseconds may be a little early: that is no reason to spin.
        self.timer = self.loop.call_later(
            max((limit_ns - now) / 1e9, 0.001), self.on_timer, context=Context()
        )
        return 0

    cdef int handle(self, int event) except -1:
        if event == TIMED_OUT:
            self.timer = None
            self.timer_at_ns = NEVER_NS
            if self.closed or self.limit_ns == 0:
                return 0
            if mk_monotonic_ns() < self.limit_ns:
                return self.arm(self.limit_ns)
        if self.owner != NULL:
            self.tell(self.owner, event)
        return 0

    # -- ends -----------------------------------------------------------------------------------

    cdef int _lost(self, int64_t code, str doing) except -1:
        cdef uint8_t said[LAST_WORDS]
        cdef int64_t got
        # A server that greets in another protocol may be gone before anything could be sent.
        if code != 0 and type(self) is LoopStream and self._socket != MK_NO_SOCKET:
            got = mk_receive(self._socket, said, LAST_WORDS, False)
            if got > 0:
                self.last_words = (<const char *>said)[:got]
        return Stream._lost(self, code, doing)

    cdef int _refuse(self) except -1:
        if self.lost:
            raise AutoReconnect(
                f"{self.peer}: the connection was closed by the server while nothing was sent"
            )
        return Stream._refuse(self)

    cpdef close(self):
        """Close the stream; more than once is allowed, and so is another thread's call: then the
        loop is told, and closes it in its own."""
        if self.closed:
            return
        self.closed = True
        if os.getpid() != self._pid:
            # What the loop waits with may be the parent's too: it is left alone.
            self._release()
        elif self._may_touch_loop():
            self._end()
        else:
            mk_shutdown(self._socket)
            try:
                self.loop.call_soon_threadsafe(self._end)
            except RuntimeError:
                # It was closed in this moment, and knows no sockets any more.
                self._release()

    cdef bint _may_touch_loop(self) except -1:
        """Whether this is the thread that runs the loop, or no thread does."""
        return running_loop() is self.loop or not self.loop.is_running()

    def _end(self):
        cdef mk_socket s = self._socket
        if s == MK_NO_SOCKET:
            return
        self._unregister()
        if self.reads or self.writes:
            # A number that is registered must not be given back to the system.
            if not self.loop.is_closed():
                remove_reader(self.loop, s)
                if self.writes:
                    remove_writer(self.loop, s)
            self.reads = self.writes = False
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self._release()
        if self.owner != NULL:
            self.tell(self.owner, CLOSED)


def stream_of(PolledSocket socket not None, str peer not None, loop not None):
    """The stream that takes over a connected socket."""
    cdef mk_socket fd = socket.detach()
    try:
        return LoopStream.__new__(LoopStream, fd, peer, loop)
    except BaseException:
        mk_close(fd)
        raise


cdef SocketEvent event_of(LoopStream stream, int event):
    cdef SocketEvent made = SocketEvent.__new__(SocketEvent)
    made.stream = <void *>stream
    made.event = event
    return made


cdef class SocketEvent:
    """What a loop calls when something came for a stream."""

    def __call__(self):
        cdef LoopStream stream
        if self.stream != NULL:
            # Owned while it is told: what it does may let go of the last reference.
            stream = <LoopStream>self.stream
            stream.handle(self.event)

    def __repr__(self):
        if self.stream == NULL:
            return "<SocketEvent of a stream that is gone>"
        return f"<SocketEvent of {(<LoopStream>self.stream).peer}>"


cdef class Reader(SocketEvent):
    """What a loop calls when there is something to receive."""

    def __del__(self):
        cdef LoopStream stream
        if self.stream != NULL:
            stream = <LoopStream>self.stream
            self.stream = NULL
            stream._let_go()


__all__ = ["LoopStream", "stream_of"]
