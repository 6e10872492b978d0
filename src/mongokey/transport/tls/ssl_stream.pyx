"""Streams over TLS, by Python's ssl: the same interface, deadlines and errors as plain ones.

It knows how an SSLObject is driven between two buffers in memory, for a context of the user's own
and where the faster way (`_openssl`, which says why) does not fit. It must not know how an
SSLContext is made, nor load `ssl` before a stream becomes a TLS stream.

Between two buffers, because a socket given to ssl sends the handshake's last messages, and with
them the client's certificate, before anybody could ask whether the server's is revoked.

What it cannot do: ask for a stapled OCSP response (so a must-staple certificate without a staple
passes unless its responder says that it is revoked), keep more than the last ticket of a connection
(a burst of new connections exchanges certificates more often), send the handshake's last message
together with the first command, say in an alert why a revoked certificate is refused, or be free of
the GIL where it encrypts.
"""

import os

from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory
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
    mk_close,
    mk_monotonic_ns,
    mk_poll,
    mk_pollfd,
    mk_receive,
    mk_socket,
)

from mongokey._support.lazy import late_imports
from mongokey.errors import AutoReconnect
from mongokey.transport.tls.hosts import certified_name
from mongokey.transport.tls.trust import RESUMABLE_S

cdef extern from "mongokey/net.h" nogil:
    void mk_send_last(mk_socket s, const void *data, size_t size)

cdef enum:
    # What `_attempt` returns where bytes of the server's are needed first.
    WANT_READ = -1
    # So much is encrypted, then sent: it bounds the buffer.
    CHUNK = 65536
    # So much is received, then decrypted: a record and a bit.
    RECEIVED = 20480
    # So many of the server's first bytes tell what protocol they are of.
    HEARD = 64


cdef class SSLStream(SocketStream):
    """A TLS stream to a server; `wrap_tls` makes it."""

    def __init__(self, *_):
        raise TypeError("an SSLStream is made by mongokey.transport.wrap_tls")

    def __del__(self):
        self.close()

    cdef Py_ssize_t _attempt(self, method, first, second) except? -32768:
        cdef Py_ssize_t moved = 0
        cdef object lost = None
        self._inside += 1
        try:
            if first is None:
                method()
            elif second is None:
                moved = method(first)
            else:
                moved = method(first, second)
        except self._want_read:
            moved = WANT_READ
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError.
            lost = error
        except BaseException:
            # ssl has run a signal handler, which raised: the state of the stream is unknown.
            self._inside -= 1
            if self.closed and self._inside == 0:
                self._release()
            self.close()
            raise
        self._leave()
        if lost is not None:
            raise self._failure(lost) from lost
        return moved

    cdef object _failure(self, error):
        """Close, and make the exception that says why; `error` is ssl's."""
        with late_imports:
            from mongokey.transport.tls.errors import facts_of, failure

        self._broken = True
        shown = self._shown() if getattr(error, "verify_code", 0) else None
        # The alert that tells the server why.
        self._send_last()
        self.close()
        facts = facts_of(
            error,
            self.peer,
            handshake_done=self._handshake_done,
            certificate=shown,
            first_received=self._first_received,
        )
        return failure(facts, self._tls, self._host)

    def _shown(self):
        """The certificate that the server showed, in DER, where its verification failed."""
        with late_imports:
            import ssl

        # Public since Python 3.13, but only after a handshake; the object below has it before.
        try:
            shown = self.ssl_object._sslobj.get_unverified_chain()
            return ssl.PEM_cert_to_DER_cert(shown[0].public_bytes()) if shown else None
        except (AttributeError, ValueError, ssl.SSLError):
            return None

    # -- handshake ----------------------------------------------------------------------------

    cdef int _handshake(self, Deadline deadline) except -1:
        cdef Py_ssize_t rc
        expect_message(self)  # all of the handshake has one deadline
        while True:
            rc = self._attempt(self.ssl_object.do_handshake, None, None)
            # Before anything is said to a server that has shown its certificate.
            if not self._approved:
                self._approve(rc != WANT_READ, deadline)
            self._flush(self._limit_ns if deadline is None else deadline.at_ns, deadline)
            if rc != WANT_READ:
                self._handshake_done = True
                self._dry = False
                return 0
            self._fill(deadline)

    cdef int _approve(self, bint over, Deadline deadline) except -1:
        """Check the server's certificate, once it is there, for revocation; `over`: the handshake
        is, and there will be none (it is not verified)."""
        cdef list chain
        if self.ssl_object.session_reused:
            # What was found out in the handshake that it goes back to holds still.
            self._approved = True
            return 0
        chain = self.verified_chain()
        if not chain and not over:
            return 0
        self._approved = True
        if self._tls is None:
            return 0
        answered = None
        if self._tls.revocation is not None:
            self._broken = True
            answered = self._tls.revocation.check(
                self.peer, chain, None, deadline, stapling=False
            )
            self._broken = False
        self._expires_s = self._tls.trust.until(chain, answered)
        self._resumable_until_ns = mk_monotonic_ns() + <int64_t>RESUMABLE_S * 1_000_000_000
        return 0

    cdef int _keep_session(self) except -1:
        """Leave the session for the next connection: of TLS 1.3 it came before the first data."""
        cdef bint once
        self._fresh = False
        if self._tls is not None and self._expires_s:
            once = self.ssl_object.version() == "TLSv1.3"
            # The one of TLS 1.2 that was resumed is kept still.
            if once or not self.resumed:
                self._tls.sessions.keep(
                    self.peer,
                    self.ssl_object.session,
                    self._expires_s,
                    self._resumable_until_ns,
                    once,
                )
        return 0

    # -- bytes --------------------------------------------------------------------------------

    cdef int _flush(self, int64_t limit_ns, Deadline deadline) except -1:
        """Send what is encrypted, until `limit_ns`; without a deadline that is by `timeout`."""
        cdef bytes data = self._sink.read()
        if data:
            SocketStream._put(self, data, <size_t>len(data), limit_ns, deadline)
        return 0

    cdef int _fill(self, Deadline deadline) except -1:
        """Wait for bytes of the server's."""
        cdef uint8_t part[RECEIVED]
        cdef Py_ssize_t got = SocketStream.read(self, part, RECEIVED, deadline)
        return self._take_in(part, <size_t>got)

    cdef int _take_in(self, const uint8_t *data, size_t size) except -1:
        if self._first_received is None:
            self._timeout_hint = None
            self._first_received = (<const char *>data)[:size if size < HEARD else HEARD]
        view = PyMemoryView_FromMemory(<char *>data, <Py_ssize_t>size, PyBUF_READ)
        try:
            self._source.write(view)
        finally:
            # A traceback may keep the view; it must not keep pointing at this memory.
            view.release()
        self._dry = False
        return 0

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
            view = PyMemoryView_FromMemory(
                <char *>data, <Py_ssize_t>(size if size < CHUNK else CHUNK), PyBUF_READ
            )
            try:
                sent = self._attempt(self.ssl_object.write, view, None)
            finally:
                view.release()
            self._flush(limit, deadline)
            if sent == WANT_READ:
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
            if self._dry:
                self._fill(deadline)
            view = PyMemoryView_FromMemory(<char *>into, part, PyBUF_WRITE)
            try:
                got = self._attempt(self.ssl_object.read, part, view)
            finally:
                view.release()
            if got > 0:
                # A record that was read in part, or bytes of the next.
                self._dry = got < part and self._source.pending == 0
                self.unread = not self._dry
                if self._fresh:
                    self._keep_session()
                return got
            if got == 0:
                self._lost(0, "waiting for the server's answer")
            self._dry = True
            self._flush(limit, deadline)

    cpdef bint stale(self) except -1:
        cdef mk_pollfd one
        cdef uint8_t part[4096]
        cdef int64_t got
        if self.closed:
            return True
        # TLS 1.3 sends session tickets unasked: only data, an end or an error is bad news.
        while True:
            if self._dry:
                one.fd = self._socket
                one.events = POLLIN
                one.revents = 0
                if mk_poll(&one, 1, 0) == 0:
                    return False
                got = mk_receive(self._socket, part, sizeof(part), False)
                if got == -MK_EAGAIN or got == -MK_EINTR:
                    return False
                if got <= 0:
                    self._broken = True
                    return True
                self._take_in(part, <size_t>got)
            try:
                if self._attempt(self.ssl_object.read, 1, bytearray(1)) >= 0:
                    return True
            except AutoReconnect:
                return True
            self._dry = True

    # -- ends ---------------------------------------------------------------------------------

    cdef int _lost(self, int64_t code, str doing) except -1:
        """Close and raise; before the end of the handshake that is TLS's own failure."""
        with late_imports:
            from mongokey.transport.tls.errors import Facts, failure

        cdef uint8_t part[4096]
        cdef int64_t got
        if code != 0 and self.ssl_object is not None and not self.closed:
            # A write that failed: the alert that says why may lie in the socket still.
            got = mk_receive(self._socket, part, sizeof(part), False)
            if got > 0:
                self._take_in(part, <size_t>got)
                # Raises what the alert comes to; without one the error of the write stands.
                if self._handshake_done:
                    self._attempt(self.ssl_object.read, 1, bytearray(1))
                else:
                    self._attempt(self.ssl_object.do_handshake, None, None)
        self._broken = True
        if self._handshake_done or self.closed:
            return SocketStream._lost(self, code, doing)
        self.lost = True
        self.close()
        facts = Facts(
            self.peer,
            error_text(code) if code else "connection closed by the server",
            handshake_done=False,
            ended=True,
            first_received=self._first_received,
        )
        raise failure(facts, self._tls, self._host)

    cdef int _send_last(self) except -1:
        cdef bytes data
        if self._sink is not None and self._socket != MK_NO_SOCKET and os.getpid() == self._pid:
            data = self._sink.read()
            if data:
                mk_send_last(self._socket, <const char *>data, <size_t>len(data))
        return 0

    cdef int _release(self) except -1:
        if self._socket != MK_NO_SOCKET and self._handshake_done and not self._broken:
            # close_notify: the server can tell an end from a cut. Its own is not waited for.
            if os.getpid() == self._pid:
                try:
                    self.ssl_object.unwrap()
                except (OSError, ValueError):
                    self._broken = True
                self._send_last()
        return SocketStream._release(self)

    def verified_chain(self):
        """The chain from the server's certificate to the trusted authority, a list of DER."""
        with late_imports:
            import ssl

        # Public since Python 3.13, but only after a handshake; the object below has it before.
        get = getattr(self.ssl_object._sslobj, "get_verified_chain", None)
        if get is None:
            return []
        return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in get() or ()]


def wrap_tls(
    SocketStream stream not None, context, server_hostname, *, Deadline deadline=None, tls=None
):
    """Do the TLS handshake on `stream` and return the SSLStream that takes its socket over."""
    with late_imports:
        import ssl
        from mongokey.transport.tls.errors import silence

    cdef SSLStream wrapped
    cdef mk_socket fd
    kept = None
    fd = stream._detach()
    try:
        wrapped = SSLStream.__new__(SSLStream, fd, stream.peer)
    except BaseException:
        mk_close(fd)
        raise
    wrapped.timeout, wrapped.timeout_ns = stream.timeout, stream.timeout_ns
    wrapped._tls = tls
    wrapped._host = server_hostname
    wrapped._want_read = ssl.SSLWantReadError
    wrapped._dry = wrapped._fresh = True
    wrapped._source, wrapped._sink = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped._timeout_hint = silence(tls)
    stream._pass_on(wrapped)
    try:
        if server_hostname is None and context.check_hostname:
            # A socket's wrap minds that, this one does not.
            raise ValueError("a context that checks host names needs a server_hostname")
        name = None if server_hostname is None else certified_name(server_hostname)[0]
        wrapped.ssl_object = context.wrap_bio(
            wrapped._source, wrapped._sink, server_hostname=name
        )
        if tls is not None:
            kept = tls.sessions.take(wrapped.peer)
            if kept is not None:
                wrapped.ssl_object.session = kept.session
                wrapped._expires_s = kept.expires_s
                wrapped._resumable_until_ns = kept.limit_ns
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
    wrapped.resumed = bool(wrapped.ssl_object.session_reused)
    return wrapped
