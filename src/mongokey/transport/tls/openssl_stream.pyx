# cython: language_level=3, nonecheck=True
"""Streams over TLS, by the OpenSSL inside `cryptography`: called from C, resumed, stapled.

It moves bytes between a socket and an `OpenSSLEngine`, with a plain stream's waits, deadlines and
signals. It must not know how a context is made, what a certificate must be like, or what an OCSP
response says.

Why not Python's ssl (`python -m bench.tls`, client CPU, CPython 3.11 with OpenSSL 3.0 against
cryptography's 4.0): a command costs 0.57 of what it does there, and 1.75 of plain TCP (ssl: 3.1;
PyMongo: 6 times this). On a prototype, a full mutual handshake cost 0.7, a resumed one 0.4 (TLS
1.2) to 0.6 (TLS 1.3): ssl copies a session by writing and parsing its certificates, cannot take
more than one ticket of a connection, and cannot ask for a stapled OCSP response.

OpenSSL works on two buffers in memory, and the socket is read and written as a plain stream's is.
So a command takes the two system calls of plain TCP (OpenSSL on a socket takes a poll, and two
reads for each record), and the handshake's last message, the login and the answer share packets:
a connection with its login costs 0.97 to 1.17 of the bare handshake, a resumed one 0.93 to 1.05
(of a loop with OpenSSL's own choice of key shares; with the same ones as here 1.14 to 1.28).
The price is a copy each way (megabytes still cost 0.8 to 0.9 of what they do with ssl, 1.5 to 1.8
of plain TCP), and a binding that is not public: every function's signature is compared with what is
expected (`libssl`), and where one differs Python's ssl is used (`context`), as for an
`ssl.SSLContext` of the user's own.
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
    expect_message,
    mk_monotonic_ns,
    mk_poll,
    mk_pollfd,
    mk_receive,
    mk_socket,
    take_over,
)
from mongokey.transport.tls.openssl_engine cimport (
    DONE,
    FAILED,
    OpenSSLContext,
    OpenSSLEngine,
    unwatch,
    watch,
)

from mongokey.errors import AutoReconnect
from mongokey.transport.tls.errors import silence

cdef extern from "mongokey/net.h" nogil:
    void mk_send_last(mk_socket s, const void *data, size_t size)

cdef enum:
    # So much is encrypted, then sent: it bounds the buffer. From this size on encrypting takes
    # longer than winning the GIL back.
    CHUNK = 65536
    # So much is received, then decrypted: a record and a bit, so that copies stay in the cache.
    RECEIVED = 20480
    # Receiving into less than this would cost a system call for a few bytes.
    SMALL = 4096


cdef class OpenSSLStream(SocketStream):
    """A TLS stream to a server; `wrap_openssl` makes it."""

    def __init__(self, *_):
        raise TypeError("an OpenSSLStream is made by wrap_openssl of its module")

    def __del__(self):
        self.close()

    # -- handshake ----------------------------------------------------------------------------

    cdef int _handshake(self, Deadline deadline) except -1:
        cdef OpenSSLEngine engine = self.engine
        cdef uint8_t spare[SMALL]
        cdef int rc
        engine.begin_handshake(deadline)
        engine.cancelled = self._is_closed
        expect_message(self)  # all of the handshake has one deadline
        watch(engine)
        try:
            while True:
                self._inside += 1
                rc = engine.handshake()
                self._leave()
                if rc == DONE:
                    break
                if rc == FAILED:
                    raise self._failed()
                self._flush(self._limit_ns if deadline is None else deadline.at_ns, deadline)
                self._fill(spare, SMALL, deadline)
        except AutoReconnect:
            # A session that the server chokes on is not tried again.
            engine.context.forget(self.peer)
            raise
        finally:
            unwatch(engine)
            engine.cancelled = None
        engine.end_handshake()
        return 0

    def _is_closed(self):
        return self.closed

    # -- bytes --------------------------------------------------------------------------------

    cdef int _flush(self, int64_t limit_ns, Deadline deadline) except -1:
        """Send what is encrypted, until `limit_ns`; without a deadline that is by `timeout`."""
        cdef uint8_t copy[SMALL]
        cdef char *data = NULL
        cdef long size = self.engine.pending_data(&data)
        cdef int got
        self.holds_last_flight = False
        if size <= 0:
            return 0
        if size <= SMALL:
            got = self.engine.take_pending(copy, SMALL)
            if got > 0:
                SocketStream._put(self, copy, <size_t>got, limit_ns, deadline)
            return 0
        SocketStream._put(self, <const uint8_t *>data, <size_t>size, limit_ns, deadline)
        # The bindings have no BIO_reset.
        while self.engine.take_pending(copy, SMALL) > 0:
            pass
        return 0

    cdef int _fill(self, uint8_t *spare, size_t size, Deadline deadline) except -1:
        """Wait for bytes of the server's; `spare` is memory that they may go through."""
        cdef uint8_t small[SMALL]
        cdef Py_ssize_t got
        if size < SMALL:
            spare, size = small, SMALL
        got = SocketStream.read(self, spare, size if size < RECEIVED else RECEIVED, deadline)
        return self._take_in(spare, <size_t>got)

    cdef int _take_in(self, const uint8_t *data, size_t size) except -1:
        self._timeout_hint = None
        try:
            return self.engine.take_in(data, size)
        except MemoryError:
            self.close()
            raise

    cdef int write(self, const uint8_t *data, size_t size, Deadline deadline) except -1:
        cdef int rc, part
        cdef bint big = size >= CHUNK
        cdef int64_t limit
        if self.closed:
            self._refuse()
        if deadline is None:
            limit = self._own_limit()
        else:
            limit = deadline.at_ns
        while size:
            part = <int>size if size < CHUNK else CHUNK
            if big:
                self._inside += 1
                rc = self.engine.write(data, part, True)
                self._leave()
            else:
                rc = self.engine.write(data, part, False)
            if rc == FAILED:
                raise self._failed()
            data += rc
            size -= <size_t>rc
            self._flush(limit, deadline)
        return 0

    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, Deadline deadline) except -1:
        cdef OpenSSLEngine engine = self.engine
        cdef int rc
        cdef int part = <int>capacity if capacity < CHUNK else CHUNK
        cdef int64_t limit = self._limit_ns if deadline is None else deadline.at_ns
        if self.closed:
            self._refuse()
        if self.holds_last_flight:
            self._flush(limit, deadline)
        # Bytes that are there by now do not count, or a server that sends one at a time could hold
        # a caller for ever.
        if limit and mk_monotonic_ns() >= limit:
            self._timed_out(POLLIN, limit, deadline)
        while True:
            if engine.drained:
                self._fill(into, capacity, deadline)
            rc = engine.read(into, part)
            if rc > 0:
                self.unread = not engine.drained
                return rc
            if rc == FAILED:
                raise self._failed()
            self._flush(limit, deadline)

    cpdef bint stale(self) except -1:
        return self.closed or is_stale(self.engine, self._socket)

    # -- ends ---------------------------------------------------------------------------------

    cdef int _release(self) except -1:
        say_goodbye(self.engine, self._socket, os.getpid() == self._pid)
        return SocketStream._release(self)

    cdef int _lost(self, int64_t code, str doing) except -1:
        cdef OpenSSLEngine engine = self.engine
        if engine is None or engine.data_received or engine.ssl == NULL:
            if engine is not None:
                engine.broken = True
            return SocketStream._lost(self, code, doing)
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

    # -- what was agreed ------------------------------------------------------------------------

    @property
    def resumed(self):
        return self.engine.resumed

    def group(self):
        """The name of the group that the keys were agreed on in."""
        return self.engine.group()

    def version(self):
        """The protocol's version: ``TLSv1.2`` or ``TLSv1.3``."""
        return self.engine.version()

    def cipher(self):
        """The name of the cipher suite."""
        return self.engine.cipher()

    def peer_certificate(self):
        """The server's certificate in DER; None if it sent none."""
        return self.engine.peer_certificate()

    def verified_chain(self):
        """The chain from the server's certificate to the trusted authority, a list of DER."""
        return self.engine.verified_chain()

    def stapled_response(self):
        """The OCSP response that came with the certificate, in DER; None if none came."""
        return self.engine.stapled_response()


def wrap_openssl(
    SocketStream stream not None,
    tls,
    OpenSSLContext context not None,
    str host not None,
    *,
    Deadline deadline=None,
    bint hold=False,
):
    """Do the TLS handshake on `stream` and return the OpenSSLStream that takes its socket over."""
    cdef OpenSSLStream wrapped = <OpenSSLStream>take_over(stream, OpenSSLStream, silence(tls))
    try:
        wrapped.engine = OpenSSLEngine(tls, context, host, stream.peer)
        wrapped._handshake(deadline)
        wrapped.holds_last_flight = True
        if not hold:
            wrapped._flush(wrapped._limit_ns if deadline is None else deadline.at_ns, deadline)
    except BaseException:
        wrapped.close()
        raise
    return wrapped


# What both streams over OpenSSL, blocking or not, do with their sockets at the edges of a
# connection: between commands, at a break, at the end. None of this waits.
cdef bint is_stale(OpenSSLEngine engine, mk_socket s) except -1:
    cdef mk_pollfd one
    cdef uint8_t part[LOOKED_AT]
    cdef int64_t got
    cdef int rc
    # TLS 1.3 sends tickets unasked: only data, an end or an error is bad news.
    while True:
        if engine.drained:
            one.fd = s
            one.events = POLLIN
            one.revents = 0
            if mk_poll(&one, 1, 0) == 0:
                return False
            got = mk_receive(s, part, LOOKED_AT, False)
            if got == -MK_EAGAIN or got == -MK_EINTR:
                return False
            if got <= 0:
                engine.broken = True
                return True
            engine.take_in(part, <size_t>got)
        rc = engine.read(part, 1)
        if rc > 0 or rc == FAILED:
            if rc == FAILED:
                engine.broken = True
            return True


cdef object error_of_break(OpenSSLEngine engine, mk_socket s, int64_t code):
    cdef uint8_t part[LOOKED_AT]
    cdef int64_t got
    if code != 0 and s != MK_NO_SOCKET:
        # A write that failed: what the server said may lie in the socket still.
        got = mk_receive(s, part, LOOKED_AT, False)
        if got > 0:
            engine.take_in(part, <size_t>got)
    if not engine.drained:
        if engine.read(part, 1) == FAILED and engine.alert_received():
            return engine.failure(0, False)
    return engine.failure(code, True)


cdef int send_pending(OpenSSLEngine engine, mk_socket s) except -1:
    cdef char *data = NULL
    cdef long size
    if s != MK_NO_SOCKET:
        size = engine.pending_data(&data)
        if size > 0:
            mk_send_last(s, data, <size_t>size)
    return 0


cdef int say_goodbye(OpenSSLEngine engine, mk_socket s, bint own_process) except -1:
    if engine is not None and engine.ssl != NULL:
        # The server can tell an end from a cut. Its own goodbye is not waited for.
        if engine.handshake_done and own_process and not engine.broken:
            engine.say_goodbye()
            send_pending(engine, s)
        engine.free()
    return 0
