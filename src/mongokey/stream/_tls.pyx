"""Streams over TLS, by Python's ssl: the same interface, deadlines and errors as plain ones.

It knows how a non-blocking SSLSocket is driven, for a context of the user's own and where the
faster way (`_openssl`, which says why) does not fit. It must not know how an SSLContext is made,
nor load `ssl` before a stream becomes a TLS stream.

What it cannot do: ask for a stapled OCSP response (so a must-staple certificate without a staple
passes unless its responder says that it is revoked), keep more than the last ticket of a connection
(a burst of new connections exchanges certificates more often), send the handshake's last message
together with the first command, or be free of the GIL where it encrypts.
"""

import os

from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int64_t, uint8_t

from mongokey.stream._stream cimport (
    MK_NO_SOCKET,
    POLLIN,
    POLLOUT,
    SocketStream,
    Stream,
    mk_close,
    mk_monotonic_ns,
    mk_poll,
    mk_pollfd,
    mk_socket,
)

from mongokey.errors import AutoReconnect


cdef class SSLStream(Stream):
    """A TLS stream to a server; `wrap_tls` makes it."""

    def __init__(self):
        raise TypeError("an SSLStream is made by mongokey.stream.wrap_tls")

    def __del__(self):
        # Without this, ssl would warn that its socket was left open.
        self.close()

    cdef Py_ssize_t _attempt(self, method, argument) except? -32768:
        cdef Py_ssize_t moved = 0
        cdef object lost = None
        self._inside += 1
        try:
            if argument is None:
                method()
            else:
                moved = method(argument)
        except self._want_read:
            moved = -POLLIN
        except self._want_write:
            moved = -POLLOUT
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError; a socket that another thread closes gives either.
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
            from mongokey.stream.tls_errors import facts_of, failure

            self._broken = True
            shown = self._shown() if getattr(lost, "verify_code", 0) else None
            self.close()
            facts = facts_of(lost, self.peer, shaken=self._shaken, certificate=shown)
            raise failure(facts, self._tls, self._host) from lost
        return moved

    def _shown(self):
        """The certificate that the server showed, in DER, where its verification failed."""
        import ssl

        # Public since Python 3.13, but only after a handshake; the object below has it before.
        try:
            shown = self.ssl_socket._sslobj.get_unverified_chain()
            return ssl.PEM_cert_to_DER_cert(shown[0].public_bytes()) if shown else None
        except (AttributeError, ValueError, ssl.SSLError):
            return None

    cdef int _handshake(self, int64_t deadline_ns) except -1:
        cdef int64_t started = mk_monotonic_ns()
        cdef Py_ssize_t rc
        while True:
            rc = self._attempt(self.ssl_socket.do_handshake, None)
            if rc >= 0:
                self._shaken = True
                return 0
            self._wait(<short>-rc, deadline_ns, started, False)

    cdef int write(self, const uint8_t *data, size_t size, int64_t deadline_ns) except -1:
        cdef int64_t started, limit
        cdef Py_ssize_t sent
        if self.closed:
            self._refuse()
        if deadline_ns:
            self._mark(deadline_ns)
        while size:
            view = PyMemoryView_FromMemory(<char *>data, <Py_ssize_t>size, PyBUF_READ)
            try:
                sent = self._attempt(self.ssl_socket.send, view)
            finally:
                # A traceback may keep the view; it must not keep pointing at this memory.
                view.release()
            if sent >= 0:
                data += sent
                size -= <size_t>sent
                continue
            started = mk_monotonic_ns()
            limit = deadline_ns
            if limit == 0 and self.timeout_ns:
                limit = started + self.timeout_ns
            self._wait(<short>-sent, limit, started, deadline_ns == 0)
        return 0

    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, int64_t deadline_ns) except -1:
        cdef int64_t started = mk_monotonic_ns(), limit = deadline_ns
        cdef Py_ssize_t got
        if self.closed:
            self._refuse()
        if deadline_ns:
            self._mark(deadline_ns)
            if started >= deadline_ns:
                self._timed_out(POLLIN, started, False)
        if limit == 0 and self.timeout_ns:
            limit = started + self.timeout_ns
        while True:
            view = PyMemoryView_FromMemory(<char *>into, <Py_ssize_t>capacity, PyBUF_WRITE)
            try:
                got = self._attempt(self.ssl_socket.recv_into, view)
            finally:
                view.release()
            if got > 0:
                if self._fresh:
                    self._keep_session()
                return got
            if got == 0:
                self._lost(0, "waiting for the server's answer")
            self._wait(<short>-got, limit, started, deadline_ns == 0)

    cdef int _keep_session(self) except -1:
        """Leave the session for the next connection: of TLS 1.3 it came before the first data."""
        cdef bint once
        self._fresh = False
        if self._tls is not None:
            once = self.ssl_socket.version() == "TLSv1.3"
            # The one of TLS 1.2 that was resumed is kept still.
            if once or not self.resumed:
                self._tls.sessions.keep(
                    self.peer, self.ssl_socket.session, self._expires_s, once
                )
        return 0

    cpdef bint stale(self) except -1:
        cdef mk_pollfd one
        if self.closed:
            return True
        one.fd = self._socket
        one.events = POLLIN
        one.revents = 0
        if mk_poll(&one, 1, 0) == 0 and not self.ssl_socket.pending():
            return False
        # TLS 1.3 sends session tickets unasked: only data, an end or an error is bad news.
        try:
            return self._attempt(self.ssl_socket.recv_into, bytearray(1)) >= 0
        except AutoReconnect:
            return True

    cdef int _release(self) except -1:
        cdef mk_socket s = self._socket
        self._socket = MK_NO_SOCKET
        if s != MK_NO_SOCKET:
            if self._shaken and not self._broken and os.getpid() == self._pid:
                # close_notify: the server can tell an end from a cut. Its own is not waited for.
                try:
                    self.ssl_socket.unwrap()
                except (OSError, ValueError):
                    self._broken = True
            self.ssl_socket.detach()
            mk_close(s)
        return 0

    def verified_chain(self):
        """The chain from the server's certificate to the trusted authority, a list of DER."""
        import ssl

        # Public since Python 3.13; before that the same function of the object below.
        get = getattr(self.ssl_socket, "get_verified_chain", None)
        if get is not None:
            return list(get())
        get = getattr(self.ssl_socket._sslobj, "get_verified_chain", None)
        if get is None:
            return []
        return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in get() or ()]


def wrap_tls(
    SocketStream stream not None, context, server_hostname, *, int64_t deadline_ns=0, tls=None
):
    """Do the TLS handshake on `stream` and return the SSLStream that takes its socket over."""
    import socket
    import ssl

    from mongokey.stream.tls_errors import silence

    cdef SSLStream wrapped = SSLStream.__new__(SSLStream)
    cdef mk_socket fd
    kept = None
    wrapped.peer = stream.peer
    wrapped.timeout_ns = stream.timeout_ns
    wrapped.timeout_text = stream.timeout_text
    wrapped.deadline_text = stream.deadline_text
    wrapped._deadline_ns = stream._deadline_ns
    wrapped._began_ns = stream._began_ns
    wrapped._tls = tls
    wrapped._host = server_hostname
    wrapped._want_read = ssl.SSLWantReadError
    wrapped._want_write = ssl.SSLWantWriteError
    fd = stream._detach()
    try:
        plain = socket.socket(fileno=fd)
    except BaseException:
        mk_close(fd)
        raise
    try:
        plain.setblocking(False)
        wrapped.ssl_socket = context.wrap_socket(
            plain, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        if tls is not None:
            kept = tls.sessions.take(wrapped.peer)
            if kept is not None:
                wrapped.ssl_socket.session = kept.session
    except OSError as error:
        # The server can be gone by now: then the socket has no peer to wrap.
        raise AutoReconnect(f"{wrapped.peer}: TLS handshake failed: {error}") from error
    finally:
        plain.close()
    wrapped._socket = fd
    wrapped.closed = False
    wrapped._fresh = True
    wrapped._doubt = silence(tls)
    stream._pass_on(wrapped)
    try:
        wrapped._handshake(deadline_ns)
    except AutoReconnect:
        # A session that the server chokes on is not tried again.
        if tls is not None:
            tls.sessions.forget(wrapped.peer)
        raise
    wrapped._doubt = None
    wrapped.resumed = bool(wrapped.ssl_socket.session_reused)
    if wrapped.resumed:
        wrapped._expires_s = kept.expires_s if kept is not None else 0
    elif tls is not None and tls.revocation is not None:
        try:
            wrapped._expires_s = tls.revocation.check(
                wrapped.peer, wrapped.verified_chain(), None, deadline_ns, stapling=False
            )
        except BaseException:
            wrapped.close()
            raise
    return wrapped
