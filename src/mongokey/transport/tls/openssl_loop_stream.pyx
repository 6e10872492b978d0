# cython: language_level=3, nonecheck=True
"""TLS streams whose readiness an asyncio loop tells, by the OpenSSL inside `cryptography`.

It moves bytes between a socket and an `OpenSSLEngine` whose handshake is over; no call waits. It
must not know how the handshake was made, nor what the bytes mean.
"""

import os
from contextvars import Context

from libc.stdint cimport int64_t, uint8_t

from mongokey.transport.loop_stream cimport LoopStream
from mongokey.transport.polling cimport PolledSocket
from mongokey.transport.stream cimport (
    MK_EAGAIN,
    MK_EINTR,
    mk_close,
    mk_receive,
    mk_send_now,
    mk_socket,
)
from mongokey.transport.tls.openssl_engine cimport FAILED, OpenSSLEngine
from mongokey.transport.tls.openssl_stream cimport (
    error_of_break,
    is_stale,
    say_goodbye,
    send_pending,
)

cdef enum:
    # So much is encrypted, then sent: it bounds the buffer. From this size on encrypting takes
    # longer than winning the GIL back.
    CHUNK = 65536
    # So much is received, then decrypted: a record and a bit, so that copies stay in the cache.
    RECEIVED = 20480


cdef class OpenSSLLoopStream(LoopStream):
    """A TLS stream to a server; `openssl_stream_of` makes it."""

    @property
    def resumed(self):
        return self.engine.resumed

    cdef Py_ssize_t put(self, const uint8_t *data, size_t size) except -1:
        cdef int part = <int>size if size < CHUNK else CHUNK
        cdef int rc
        if self.closed:
            self._refuse()
        rc = self.engine.write(data, part, size >= CHUNK)
        if rc == FAILED:
            raise self._failed()
        self.flush()
        return rc

    cdef bint flush(self) except -1:
        cdef uint8_t scratch[4096]
        cdef char *data = NULL
        cdef long size
        cdef int64_t sent, gone
        if self.closed:
            self._refuse()
        while True:
            size = self.engine.pending_data(&data)
            if size <= 0:
                self.holds_output = False
                return True
            sent = mk_send_now(self._socket, data, <size_t>size)
            if sent <= 0:
                if sent != 0 and sent != -MK_EAGAIN and sent != -MK_EINTR:
                    self._lost(sent, "sending")
                self.holds_output = True
                return False
            # The bindings have no BIO_reset.
            while sent > 0:
                gone = self.engine.take_pending(
                    scratch, <int>(sent if sent < <int64_t>sizeof(scratch) else sizeof(scratch))
                )
                if gone <= 0:
                    break
                sent -= gone

    cdef Py_ssize_t take(self, uint8_t *into, size_t capacity) except -1:
        cdef OpenSSLEngine engine = self.engine
        cdef uint8_t received[RECEIVED]
        cdef int part = <int>capacity if capacity < CHUNK else CHUNK
        cdef int64_t got
        cdef int rc
        cdef bint more = False
        if self.closed:
            self._refuse()
        while True:
            if engine.drained:
                got = mk_receive(self._socket, received, RECEIVED, False)
                if got <= 0:
                    if got != -MK_EAGAIN and got != -MK_EINTR:
                        self._lost(got, "waiting for the server's answer")
                    self.unread = False
                    return 0
                # What fills all of it is rarely all that there is.
                more = got == RECEIVED
                try:
                    engine.take_in(received, <size_t>got)
                except MemoryError:
                    self.close()
                    raise
            rc = engine.read(into, part)
            if rc > 0:
                self.unread = more or not engine.drained
                return rc
            if rc == FAILED:
                raise self._failed()
            # An answer of TLS's own, such as to a change of keys.
            self.flush()

    cdef int go_on_soon(self) except -1:
        # Of what the engine has the loop knows nothing.
        self.loop.call_soon(self.on_readable, context=Context())
        return 0

    cpdef bint stale(self) except -1:
        return self.closed or is_stale(self.engine, self._socket)

    # -- ends -----------------------------------------------------------------------------------

    cdef int _release(self) except -1:
        say_goodbye(self.engine, self._socket, os.getpid() == self._pid)
        return LoopStream._release(self)

    cdef int _lost(self, int64_t code, str doing) except -1:
        cdef OpenSSLEngine engine = self.engine
        if engine.data_received or engine.ssl == NULL:
            engine.broken = True
            return LoopStream._lost(self, code, doing)
        raise self._closed_with(error_of_break(engine, self._socket, code))

    cdef object _failed(self):
        """Close, and return the exception that says why the engine's last step failed."""
        return self._closed_with(self.engine.failure(0, False))

    cdef object _closed_with(self, object error):
        """Close because of `error`, which is returned."""
        if os.getpid() == self._pid:
            # The alert that tells the server why; it is not worth waiting for.
            send_pending(self.engine, self._socket)
        self.close()
        return error


def openssl_stream_of(
    PolledSocket socket not None, str peer not None, loop not None, OpenSSLEngine engine not None
):
    """The stream that takes over a connected socket, and the engine after its handshake."""
    cdef OpenSSLLoopStream made
    cdef mk_socket fd = socket.detach()
    try:
        made = OpenSSLLoopStream.__new__(OpenSSLLoopStream, fd, peer, loop)
    except BaseException:
        mk_close(fd)
        raise
    made.engine = engine
    return made


__all__ = ["OpenSSLLoopStream", "openssl_stream_of"]
