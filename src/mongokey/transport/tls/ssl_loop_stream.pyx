# cython: language_level=3, nonecheck=True
"""TLS streams whose readiness an asyncio loop tells, by Python's ssl.

It moves bytes between a socket and an `SSLEngine` whose handshake is over; no call waits. It must
not know how the handshake was made, nor what the bytes mean. `ssl_stream` says what Python's ssl
cannot do.
"""

import os
from contextvars import Context

from libc.stdint cimport int64_t, uint8_t

from mongokey.transport.loop_stream cimport LoopStream
from mongokey.transport.polling cimport PolledSocket
from mongokey.transport.stream cimport (
    MK_EAGAIN,
    MK_EINTR,
    MK_NO_SOCKET,
    POLLIN,
    mk_close,
    mk_poll,
    mk_pollfd,
    mk_receive,
    mk_send_now,
    mk_socket,
)
from mongokey.transport.tls.ssl_engine cimport FAILED, WANTS_INPUT, SSLEngine

from mongokey.errors import AutoReconnect

cdef extern from "mongokey/net.h" nogil:
    void mk_send_last(mk_socket s, const void *data, size_t size)

cdef enum:
    # So much is encrypted, then sent: it bounds the buffer.
    CHUNK = 65536
    # So much is received, then decrypted: a record and a bit.
    RECEIVED = 20480


cdef class SSLLoopStream(LoopStream):
    """A TLS stream to a server; `ssl_stream_of` makes it."""

    @property
    def resumed(self):
        return self.engine.resumed

    cdef Py_ssize_t put(self, const uint8_t *data, size_t size) except -1:
        cdef Py_ssize_t taken
        if self.closed:
            self._refuse()
        taken = self.engine.write(data, <Py_ssize_t>(size if size < CHUNK else CHUNK))
        if taken == FAILED:
            raise self._failed() from self.engine.last_error
        if taken == WANTS_INPUT:
            # Only where the user's own context lets a server begin a second handshake.
            self.close()
            raise AutoReconnect(f"{self.peer}: the server wants another TLS handshake")
        self.flush()
        return taken

    cdef bint flush(self) except -1:
        cdef int64_t sent
        if self.closed:
            self._refuse()
        while True:
            if not self.unsent:
                self.unsent = self.engine.take_pending()
            if not self.unsent:
                self.holds_output = False
                return True
            sent = mk_send_now(self._socket, <const char *>self.unsent, <size_t>len(self.unsent))
            if sent <= 0:
                if sent != 0 and sent != -MK_EAGAIN and sent != -MK_EINTR:
                    self._lost(sent, "sending")
                self.holds_output = True
                return False
            self.unsent = self.unsent[sent:]

    cdef Py_ssize_t take(self, uint8_t *into, size_t capacity) except -1:
        cdef uint8_t received[RECEIVED]
        cdef Py_ssize_t part = <Py_ssize_t>(capacity if capacity < CHUNK else CHUNK)
        cdef int64_t got
        cdef Py_ssize_t plain
        cdef bint more = False
        if self.closed:
            self._refuse()
        while True:
            if self.engine.drained:
                got = mk_receive(self._socket, received, RECEIVED, False)
                if got <= 0:
                    if got != -MK_EAGAIN and got != -MK_EINTR:
                        self._lost(got, "waiting for the server's answer")
                    self.unread = False
                    return 0
                # What fills all of it is rarely all that there is.
                more = got == RECEIVED
                self.engine.take_in(received, <size_t>got)
            plain = self.engine.read(into, part)
            if plain > 0:
                self.unread = more or not self.engine.drained
                return plain
            if plain == 0:
                self._lost(0, "waiting for the server's answer")
            if plain == FAILED:
                raise self._failed() from self.engine.last_error
            # An answer of TLS's own, such as to a change of keys.
            self.flush()

    cdef int go_on_soon(self) except -1:
        # Of what the engine has the loop knows nothing.
        self.loop.call_soon(self.on_readable, context=Context())
        return 0

    cpdef bint stale(self) except -1:
        cdef mk_pollfd one
        cdef uint8_t part[RECEIVED]
        cdef int64_t got
        if self.closed:
            return True
        # TLS 1.3 sends session tickets unasked: only data, an end or an error is bad news.
        while True:
            if self.engine.drained:
                one.fd = self._socket
                one.events = POLLIN
                one.revents = 0
                if mk_poll(&one, 1, 0) == 0:
                    return False
                got = mk_receive(self._socket, part, RECEIVED, False)
                if got == -MK_EAGAIN or got == -MK_EINTR:
                    return False
                if got <= 0:
                    self.engine.broken = True
                    return True
                self.engine.take_in(part, <size_t>got)
            if self.engine.read(part, 1) != WANTS_INPUT:
                self.engine.broken = True
                return True

    # -- ends -----------------------------------------------------------------------------------

    cdef int _lost(self, int64_t code, str doing) except -1:
        cdef uint8_t part[RECEIVED]
        cdef int64_t got
        if code != 0 and not self.closed:
            # A write that failed: the alert that says why may lie in the socket still.
            got = mk_receive(self._socket, part, RECEIVED, False)
            if got > 0:
                self.engine.take_in(part, <size_t>got)
                if self.engine.read(part, 1) == FAILED:
                    raise self._failed() from self.engine.last_error
        self.engine.broken = True
        return LoopStream._lost(self, code, doing)

    cdef object _failed(self):
        """Close, and return the exception that says why."""
        error = self.engine.failure()
        # The alert that tells the server why.
        self._send_last()
        self.close()
        return error

    cdef int _send_last(self) except -1:
        cdef bytes data
        if self._socket != MK_NO_SOCKET and os.getpid() == self._pid:
            data = self.engine.take_pending()
            if data:
                mk_send_last(self._socket, <const char *>data, <size_t>len(data))
        return 0

    cdef int _release(self) except -1:
        if self.engine is not None and self._socket != MK_NO_SOCKET and os.getpid() == self._pid:
            # close_notify, unless half a record is out; the server's own is not waited for.
            if not self.unsent and not self.engine.broken:
                self.engine.say_goodbye()
                self._send_last()
        return LoopStream._release(self)


def ssl_stream_of(
    PolledSocket socket not None, str peer not None, loop not None, SSLEngine engine not None
):
    """The stream that takes over a connected socket, and the engine after its handshake."""
    cdef SSLLoopStream made
    cdef mk_socket fd = socket.detach()
    try:
        made = SSLLoopStream.__new__(SSLLoopStream, fd, peer, loop)
    except BaseException:
        mk_close(fd)
        raise
    made.engine = engine
    made.unsent = b""
    return made


__all__ = ["SSLLoopStream", "ssl_stream_of"]
