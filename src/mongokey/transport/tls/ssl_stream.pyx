# cython: language_level=3, nonecheck=True
"""Streams over TLS, by Python's ssl: the same interface, deadlines and errors as plain ones.

It moves bytes between a socket and an `SSLEngine`, for a context of the user's own and where the
faster way (`openssl_stream`, which says why) does not fit. It must not know how an SSLContext is
made, nor load `ssl` before a stream becomes a TLS stream.

What it cannot do: ask for a stapled OCSP response (so a must-staple certificate without a staple
passes unless its responder says that it is revoked), keep more than the last ticket of a connection
(a burst of new connections exchanges certificates more often), send the handshake's last message
together with the first command, say in an alert why a revoked certificate is refused, or be free of
the GIL where it encrypts.
"""

import os

from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport (
    MK_EAGAIN,
    MK_EINTR,
    MK_NO_SOCKET,
    POLLIN,
    SocketStream,
    error_text,
    expect_message,
    mk_monotonic_ns,
    mk_poll,
    mk_pollfd,
    mk_receive,
    mk_socket,
    take_over,
)
from mongokey.transport.tls.ssl_engine cimport FAILED, WANTS_INPUT, SSLEngine

from mongokey._support.lazy import late_imports
from mongokey.errors import AutoReconnect

cdef extern from "mongokey/net.h" nogil:
    void mk_send_last(mk_socket s, const void *data, size_t size)

cdef enum:
    # So much is encrypted, then sent: it bounds the buffer.
    CHUNK = 65536
    # So much is received, then decrypted: a record and a bit.
    RECEIVED = 20480
    # So much is looked at of what came before a write failed, or between commands.
    SMALL = 4096
    # What the engine is asked for.
    HANDSHAKE = 0
    WRITE = 1
    READ = 2


cdef class SSLStream(SocketStream):
    """A TLS stream to a server; `wrap_tls` makes it."""

    def __init__(self, *_):
        raise TypeError("an SSLStream is made by mongokey.transport.wrap_tls")

    def __del__(self):
        self.close()

    cdef Py_ssize_t _attempt(
        self, int what, uint8_t *data, Py_ssize_t size, Deadline deadline
    ) except? -100:
        """One step of the engine's: bytes moved, or WANTS_INPUT."""
        cdef Py_ssize_t moved = 0
        self._inside += 1
        try:
            if what == HANDSHAKE:
                moved = self.engine.handshake(deadline)
            elif what == WRITE:
                moved = self.engine.write(data, size)
            else:
                moved = self.engine.read(data, size)
        except BaseException:
            # ssl has run a signal handler, which raised (the state of the stream is unknown), or
            # the server's certificate was refused.
            self._inside -= 1
            if self.closed and self._inside == 0:
                self._release()
            self.close()
            raise
        self._leave()
        if moved == FAILED:
            raise self._failed() from self.engine.last_error
        return moved

    cdef object _failed(self):
        """Close, and return the exception that says why."""
        error = self.engine.failure()
        # The alert that tells the server why.
        self._send_last()
        self.close()
        return error

    # -- handshake ----------------------------------------------------------------------------

    cdef int _handshake(self, Deadline deadline) except -1:
        cdef Py_ssize_t rc
        expect_message(self)  # all of the handshake has one deadline
        self.engine.cancelled = self._is_closed
        try:
            while True:
                rc = self._attempt(HANDSHAKE, NULL, 0, deadline)
                self._flush(self._limit_ns if deadline is None else deadline.at_ns, deadline)
                if rc != WANTS_INPUT:
                    return 0
                self._fill(deadline)
        finally:
            self.engine.cancelled = None

    def _is_closed(self):
        return self.closed

    # -- bytes --------------------------------------------------------------------------------

    cdef int _flush(self, int64_t limit_ns, Deadline deadline) except -1:
        """Send what is encrypted, until `limit_ns`; without a deadline that is by `timeout`."""
        cdef bytes data = self.engine.take_pending()
        if data:
            SocketStream._put(self, data, <size_t>len(data), limit_ns, deadline)
        return 0

    cdef int _fill(self, Deadline deadline) except -1:
        """Wait for bytes of the server's."""
        cdef uint8_t part[RECEIVED]
        cdef Py_ssize_t got = SocketStream.read(self, part, RECEIVED, deadline)
        return self._take_in(part, <size_t>got)

    cdef int _take_in(self, const uint8_t *data, size_t size) except -1:
        self._timeout_hint = None
        return self.engine.take_in(data, size)

    cdef int write(self, const uint8_t *data, size_t size, Deadline deadline) except -1:
        cdef Py_ssize_t sent
        cdef int64_t limit
        if self.closed:
            self._refuse()
        if deadline is None:
            limit = self._own_limit()
        else:
            limit = deadline.at_ns
        while size:
            sent = self._attempt(
                WRITE, <uint8_t *>data, <Py_ssize_t>(size if size < CHUNK else CHUNK), deadline
            )
            self._flush(limit, deadline)
            if sent == WANTS_INPUT:
                self._limit_ns = limit
                self._fill(deadline)
                continue
            data += sent
            size -= <size_t>sent
        return 0

    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, Deadline deadline) except -1:
        cdef Py_ssize_t got
        cdef Py_ssize_t part = <Py_ssize_t>(capacity if capacity < CHUNK else CHUNK)
        cdef int64_t limit = self._limit_ns if deadline is None else deadline.at_ns
        if self.closed:
            self._refuse()
        # Bytes that are there by now do not count, or a server that sends one at a time could hold
        # a caller for ever.
        if limit and mk_monotonic_ns() >= limit:
            self._timed_out(POLLIN, limit, deadline)
        while True:
            if self.engine.drained:
                self._fill(deadline)
            got = self._attempt(READ, into, part, deadline)
            if got > 0:
                self.unread = not self.engine.drained
                return got
            if got == 0:
                self._lost(0, "waiting for the server's answer")
            self._flush(limit, deadline)

    cpdef bint stale(self) except -1:
        cdef mk_pollfd one
        cdef uint8_t part[SMALL]
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
                got = mk_receive(self._socket, part, SMALL, False)
                if got == -MK_EAGAIN or got == -MK_EINTR:
                    return False
                if got <= 0:
                    self.engine.broken = True
                    return True
                self._take_in(part, <size_t>got)
            try:
                if self._attempt(READ, part, 1, None) >= 0:
                    return True
            except AutoReconnect:
                return True

    # -- ends ---------------------------------------------------------------------------------

    cdef int _lost(self, int64_t code, str doing) except -1:
        """Close and raise; before the end of the handshake that is TLS's own failure."""
        cdef uint8_t part[SMALL]
        cdef int64_t got
        if self.engine is None:
            return SocketStream._lost(self, code, doing)
        if code != 0 and not self.closed:
            # A write that failed: the alert that says why may lie in the socket still.
            got = mk_receive(self._socket, part, SMALL, False)
            if got > 0:
                self._take_in(part, <size_t>got)
                # Raises what the alert comes to; without one the error of the write stands.
                if self.engine.handshake_done:
                    self._attempt(READ, part, 1, None)
                else:
                    self._attempt(HANDSHAKE, NULL, 0, None)
        self.engine.broken = True
        if self.engine.handshake_done or self.closed:
            return SocketStream._lost(self, code, doing)
        self.lost = True
        self.close()
        raise self.engine.ended(error_text(code) if code else "connection closed by the server")

    cdef int _send_last(self) except -1:
        cdef bytes data
        if self._socket != MK_NO_SOCKET and os.getpid() == self._pid:
            data = self.engine.take_pending()
            if data:
                mk_send_last(self._socket, <const char *>data, <size_t>len(data))
        return 0

    cdef int _release(self) except -1:
        if self.engine is not None and self._socket != MK_NO_SOCKET:
            if self.engine.handshake_done and not self.engine.broken:
                # close_notify: the server can tell an end from a cut. Its own is not waited for.
                if os.getpid() == self._pid:
                    self.engine.say_goodbye()
                    self._send_last()
        return SocketStream._release(self)

    # -- what was agreed ------------------------------------------------------------------------

    @property
    def ssl_object(self):
        return self.engine.ssl_object

    @property
    def resumed(self):
        return self.engine.resumed

    def verified_chain(self):
        """The chain from the server's certificate to the trusted authority, a list of DER."""
        return self.engine.verified_chain()


def wrap_tls(
    SocketStream stream not None, context, server_hostname, *, Deadline deadline=None, tls=None
):
    """Do the TLS handshake on `stream` and return the SSLStream that takes its socket over."""
    with late_imports:
        from mongokey.transport.tls.errors import silence

    cdef SSLStream wrapped = <SSLStream>take_over(stream, SSLStream, silence(tls))
    try:
        wrapped.engine = SSLEngine(tls, context, server_hostname, stream.peer)
        wrapped._handshake(deadline)
    except AutoReconnect:
        wrapped.close()
        # A session that the server chokes on is not tried again.
        if tls is not None:
            tls.sessions.forget(wrapped.peer)
        raise
    except BaseException:
        wrapped.close()
        raise
    wrapped._timeout_hint = None
    return wrapped
