# cython: language_level=3, nonecheck=True
"""TLS by Python's ssl, without a socket: bytes of the server's in, bytes for it out.

It knows how an SSLObject is driven between two buffers in memory, sessions, and what an error
means. It must not know how bytes are moved, how an SSLContext is made, nor load `ssl` before it is
used.

Between two buffers, because a socket given to ssl sends the handshake's last messages, and with
them the client's certificate, before anybody could ask whether the server's is revoked.
"""

from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport error_text, mk_monotonic_ns

from mongokey._support.lazy import late_imports
from mongokey.errors import InvalidOperation
from mongokey.transport.tls.hosts import certified_name
from mongokey.transport.tls.trust import RESUMABLE_S

cdef enum:
    # So many of the server's first bytes tell what protocol they are of.
    FIRST_RECEIVED = 64


cdef class SSLEngine:
    """TLS with the server `host` (named `peer` in errors), as a client of `context`."""

    def __init__(self, tls, context, str host, str peer not None):
        with late_imports:
            import ssl

        if self.ssl_object is not None:
            raise InvalidOperation("an engine is for one connection")
        self.tls, self.host, self.peer = tls, host, peer
        self.want_read = ssl.SSLWantReadError
        self.drained = self.fresh = True
        self.source, self.sink = ssl.MemoryBIO(), ssl.MemoryBIO()
        if host is None and context.check_hostname:
            # A socket's wrap minds that, this one does not.
            raise ValueError("a context that checks host names needs a server_hostname")
        name = None if host is None else certified_name(host)[0]
        self.ssl_object = context.wrap_bio(self.source, self.sink, server_hostname=name)
        kept = None if tls is None else tls.sessions.take(peer)
        if kept is not None:
            self.ssl_object.session = kept.session
            self.expires_s, self.resumable_until_ns = kept.expires_s, kept.limit_ns

    cdef Py_ssize_t _attempt(self, method, first, second) except? -100:
        """One call of a method of the object."""
        cdef Py_ssize_t moved = 0
        try:
            if first is None:
                method()
            elif second is None:
                moved = method(first)
            else:
                moved = method(first, second)
        except self.want_read:
            return WANTS_INPUT
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError.
            self.last_error = error
            return FAILED
        return moved

    # -- handshake ----------------------------------------------------------------------------

    cdef Py_ssize_t handshake(self, Deadline deadline) except? -100:
        cdef Py_ssize_t rc = self._attempt(self.ssl_object.do_handshake, None, None)
        if rc == FAILED:
            return FAILED
        # Before anything is said to a server that has shown its certificate.
        if not self.approved:
            self._approve(rc != WANTS_INPUT, deadline)
        if rc == WANTS_INPUT:
            return WANTS_INPUT
        self.handshake_done = True
        self.drained = False
        self.resumed = bool(self.ssl_object.session_reused)
        return 0

    cdef int _approve(self, bint over, Deadline deadline) except -1:
        """Check the server's certificate, once it is there, for revocation; `over`: the handshake
        is, and there will be none (it is not verified)."""
        cdef list chain
        if self.ssl_object.session_reused:
            # What was found out in the handshake that it goes back to holds still.
            self.approved = True
            return 0
        chain = self.verified_chain()
        if not chain and not over:
            return 0
        self.approved = True
        if self.tls is None:
            return 0
        answered = None
        if self.tls.revocation is not None:
            self.broken = True
            answered = self.tls.revocation.check(
                self.peer, chain, None, deadline, stapling=False, cancelled=self.cancelled
            )
            self.broken = False
        self.expires_s = self.tls.trust.until(chain, answered)
        self.resumable_until_ns = mk_monotonic_ns() + <int64_t>RESUMABLE_S * 1_000_000_000
        return 0

    cdef int _keep_session(self) except -1:
        """Leave the session for the next connection: of TLS 1.3 it came before the first data."""
        cdef bint once
        self.fresh = False
        if self.tls is not None and self.expires_s:
            once = self.ssl_object.version() == "TLSv1.3"
            # The one of TLS 1.2 that was resumed is kept still.
            if once or not self.resumed:
                self.tls.sessions.keep(
                    self.peer,
                    self.ssl_object.session,
                    self.expires_s,
                    self.resumable_until_ns,
                    once,
                )
        return 0

    def verified_chain(self):
        """The chain from the server's certificate to the trusted authority, a list of DER."""
        with late_imports:
            import ssl

        # Public since Python 3.13, but only after a handshake; the object below has it before.
        get = getattr(self.ssl_object._sslobj, "get_verified_chain", None)
        if get is None:
            return []
        return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in get() or ()]

    # -- bytes --------------------------------------------------------------------------------

    cdef int take_in(self, const uint8_t *data, size_t size) except -1:
        """Take in bytes of the server's."""
        cdef size_t first
        if self.first_received is None:
            first = size if size < <size_t>FIRST_RECEIVED else <size_t>FIRST_RECEIVED
            self.first_received = (<const char *>data)[:first]
        view = PyMemoryView_FromMemory(<char *>data, <Py_ssize_t>size, PyBUF_READ)
        try:
            self.source.write(view)
        finally:
            # A traceback may keep the view; it must not keep pointing at this memory.
            view.release()
        self.drained = False
        return 0

    cdef Py_ssize_t write(self, const uint8_t *data, Py_ssize_t size) except? -100:
        view = PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ)
        try:
            return self._attempt(self.ssl_object.write, view, None)
        finally:
            view.release()

    cdef Py_ssize_t read(self, uint8_t *into, Py_ssize_t capacity) except? -100:
        cdef Py_ssize_t got
        view = PyMemoryView_FromMemory(<char *>into, capacity, PyBUF_WRITE)
        try:
            got = self._attempt(self.ssl_object.read, capacity, view)
        finally:
            view.release()
        if got > 0:
            # A record that was read in part, or bytes of the next.
            self.drained = got < capacity and self.source.pending == 0
            if self.fresh:
                self._keep_session()
        elif got == WANTS_INPUT:
            self.drained = True
        return got

    cdef bytes take_pending(self):
        return self.sink.read() if self.sink is not None else b""

    cdef int say_goodbye(self) except -1:
        """Have close_notify among the pending bytes: the server can tell an end from a cut."""
        if self.handshake_done and not self.broken:
            self.broken = True
            try:
                self.ssl_object.unwrap()
            except (OSError, ValueError):
                # The server's own goodbye is not waited for.
                self.broken = True
        return 0

    # -- errors -------------------------------------------------------------------------------

    cdef object failure(self):
        with late_imports:
            from mongokey.transport.tls.errors import facts_of, failure

        self.broken = True
        shown = self._shown() if getattr(self.last_error, "verify_code", 0) else None
        facts = facts_of(
            self.last_error,
            self.peer,
            handshake_done=self.handshake_done,
            certificate=shown,
            first_received=self.first_received,
        )
        return failure(facts, self.tls, self.host)

    cdef object ended(self, str words):
        with late_imports:
            from mongokey.transport.tls.errors import Facts, failure

        self.broken = True
        facts = Facts(
            self.peer, words, handshake_done=False, ended=True, first_received=self.first_received
        )
        return failure(facts, self.tls, self.host)

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

    # -- for Python: event loops, tests -----------------------------------------------------------

    def do_handshake(self, Deadline deadline=None):
        """Go on with the handshake; whether it is over. If not, bytes of the server's are
        needed."""
        cdef Py_ssize_t rc
        if self.handshake_done:
            return True
        rc = self.handshake(deadline)
        if rc == FAILED:
            raise self.failure() from self.last_error
        return rc == 0

    def feed(self, data):
        """Take in `data`, bytes of the server's."""
        if self.first_received is None and len(data):
            self.first_received = bytes(memoryview(data)[:FIRST_RECEIVED])
        self.source.write(data)
        self.drained = False

    def pending(self):
        """The bytes to be sent to the server by now; they are gone from here then."""
        return self.take_pending()

    def encrypt(self, data):
        """Encrypt all of `data`, for `pending`."""
        cdef Py_ssize_t sent
        self._expect_done()
        left = memoryview(data)
        while len(left):
            sent = self._attempt(self.ssl_object.write, left, None)
            if sent == FAILED:
                raise self.failure() from self.last_error
            if sent == WANTS_INPUT:
                raise InvalidOperation(f"{self.peer}: TLS wants to read before it writes")
            left = left[sent:]

    def decrypt(self, Py_ssize_t most):
        """1 to `most` bytes of data that the server sent; None: more of its bytes are needed."""
        cdef bytes into
        cdef Py_ssize_t got
        if most < 1:
            raise ValueError(f"at least 1 byte must be asked for, not {most}")
        self._expect_done()
        into = PyBytes_FromStringAndSize(NULL, most)
        got = self.read(<uint8_t *>PyBytes_AS_STRING(into), most)
        if got == FAILED:
            raise self.failure() from self.last_error
        if got == 0:
            raise self.ended("connection closed by the server")
        return None if got == WANTS_INPUT else into[:got]

    def connection_lost(self, int64_t code=0):
        """Why the connection ended, an exception of TLS's; None: TLS has nothing to say to it."""
        cdef uint8_t part[1]
        cdef Py_ssize_t rc
        if not self.drained:
            # An alert may have come before the end.
            if self.handshake_done:
                rc = self.read(part, 1)
            else:
                rc = self._attempt(self.ssl_object.do_handshake, None, None)
            if rc == FAILED:
                return self.failure()
        self.broken = True
        if self.handshake_done:
            return None
        return self.ended(error_text(code) if code else "connection closed by the server")

    def forget_session(self):
        """Have the next handshake with this server exchange certificates."""
        if self.tls is not None:
            self.tls.sessions.forget(self.peer)

    def close(self):
        """Say goodbye, for `pending`; nothing can be written any more."""
        self.say_goodbye()

    cdef int _expect_done(self) except -1:
        if not self.handshake_done:
            raise InvalidOperation(f"{self.peer}: the TLS handshake is not over")
        return 0
