# cython: language_level=3, nonecheck=True
"""TLS by the OpenSSL inside `cryptography`, without a socket: bytes in, bytes out.

It knows how OpenSSL is driven between two buffers in memory, sessions, and what an error means. It
must not know how bytes are moved, how a context is made, nor what an OCSP response says.

Why not Python's ssl: `openssl_stream` has the figures. The price is a binding that is not public:
every function's signature is compared with what is expected (`libssl`), and where one differs
Python's ssl is used (`context`), as for an `ssl.SSLContext` of the user's own.
"""

import os
import time

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.string cimport strcmp

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport error_text, mk_monotonic_ns
from mongokey.transport.tls.libssl cimport fn, loaded

from mongokey.errors import AutoReconnect, ConfigurationError, InvalidOperation
from mongokey.transport.tls.errors import Facts
from mongokey.transport.tls.errors import failure as exception_of
from mongokey.transport.tls.hosts import certified_name
from mongokey.transport.tls.libssl import bindings
from mongokey.transport.tls.trust import RESUMABLE_S

# ssl.h
cdef enum:
    SSL_ERROR_SSL = 1
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_SYSCALL = 5
    SSL_ERROR_ZERO_RETURN = 6
    SSL_SENT_AND_RECEIVED_SHUTDOWN = 3
    TLS1_3_VERSION = 0x0304
    REASON_VERIFY_FAILED = 134
    VERIFY_FAILED = 0xA000086  # the same, packed with its library, 20 for SSL (err.h)
    REASON_UNEXPECTED_EOF = 294
    REASON_ALERT = 1000
    # x509v3.h: X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, as Python's ssl has it
    NO_PARTIAL_WILDCARDS = 0x4
    # So many of the server's first bytes tell what protocol they are of.
    FIRST_RECEIVED = 64
    # Tickets kept for one server: a server sends two, and maxConnecting bounds how many are
    # wanted at once.
    MOST_SESSIONS = 8
    # Hosts whose names are remembered.
    MOST_NAMES = 256


# OpenSSL's own groups (3.5 and later), but a key share for X25519 alone. Making one for the hybrid
# X25519MLKEM768 too costs a sixth of a resumed handshake, and is done for servers not known yet.
# One that learns it later asks for it (HelloRetryRequest, RFC 8446 4.1.4).
cdef char *X25519_FIRST = (
    b"?X25519MLKEM768 / ?*X25519:?secp256r1 / ?X448:?secp384r1:?secp521r1 / ?ffdhe2048:?ffdhe3072"
)


cdef class TLSSession:
    """One session that can be resumed; freed with its last reference."""

    def __dealloc__(self):
        if self.pointer != NULL:
            fn.SSL_SESSION_free(self.pointer)


cdef class OpenSSLContext:
    """An SSL_CTX at `address`, kept alive by `owner`; made by `openssl_context`."""

    def __init__(self, owner, uintptr_t address, bint check_hosts):
        if not loaded() or address == 0:
            raise ValueError("OpenSSL's functions are not loaded")
        lib, ffi = bindings()
        lib.SSL_CTX_set_tlsext_status_cb(
            owner, ffi.cast("int(*)(SSL *, void *)", <uintptr_t>&check_server)
        )
        self.owner = owner
        self.pointer = <void *>address
        self.check_hosts = check_hosts
        self.plain_x25519 = set()
        self.sessions = {}
        self.names = {}
        self.pid = os.getpid()

    cdef TLSSession take(self, str peer):
        """A session to resume with `peer`, or None; one of TLS 1.3 is gone from here then."""
        cdef list kept
        cdef TLSSession session
        if self.pid != os.getpid():
            # A forked child: what parent and child both used would not be used once.
            self.sessions = {}
            self.pid = os.getpid()
        kept = self.sessions.get(peer)
        while kept:
            session = <TLSSession>kept[-1]
            if time.time() >= session.expires_s or mk_monotonic_ns() >= session.limit_ns:
                del kept[-1]
                continue
            if session.once:
                del kept[-1]
            return session
        return None

    cdef int keep(self, str peer, TLSSession session) except -1:
        cdef list kept
        if self.pid != os.getpid():
            return 0
        kept = self.sessions.setdefault(peer, [])
        if not session.once:
            kept.clear()
        kept.append(session)
        if len(kept) > MOST_SESSIONS:
            del kept[0]
        return 0

    cdef tuple certified(self, str host):
        """What `certified_name` says of `host`."""
        cdef tuple found = self.names.get(host)
        if found is None:
            if len(self.names) >= MOST_NAMES:
                self.names.clear()
            found = self.names[host] = certified_name(host)
        return found

    cdef int forget(self, str peer) except -1:
        """Have the next handshake with `peer` exchange certificates."""
        self.sessions.pop(peer, None)
        return 0

    def forget_sessions(self):
        """Have the next handshake with each server exchange certificates again."""
        self.sessions = {}

    def session_count(self, str peer not None):
        """How many sessions there are to resume with `peer`."""
        return len(self.sessions.get(peer, ()))


cdef class OpenSSLEngine:
    """TLS with the server `host` (named `peer` in errors), as a client of `context`."""

    def __init__(self, tls, OpenSSLContext context not None, str host not None, str peer not None):
        if self.ssl != NULL:
            raise InvalidOperation("an engine is for one connection")
        self.context = context
        self.tls = tls
        self.host = host
        self.peer = peer
        self._start()

    def __dealloc__(self):
        self.free()

    cdef void free(self) noexcept:
        cdef void *ssl = self.ssl
        self.ssl = self.source = self.sink = NULL
        if ssl != NULL:
            # A session is not to be resumed, OpenSSL thinks, unless both sides said goodbye.
            fn.SSL_set_shutdown(ssl, SSL_SENT_AND_RECEIVED_SHUTDOWN)
            fn.SSL_free(ssl)
            fn.ERR_clear_error()

    # -- handshake ----------------------------------------------------------------------------

    cdef int _start(self) except -1:
        """Make the SSL, for this host: SNI, what its certificate must be for, and the staple."""
        cdef void *param
        cdef bytes name, address
        cdef int done
        text, address = self.context.certified(self.host)
        self.ssl = fn.SSL_new(self.context.pointer)
        if self.ssl == NULL:
            raise MemoryError("OpenSSL has no memory for a connection")
        self.source = fn.BIO_new(fn.BIO_s_mem())
        self.sink = fn.BIO_new(fn.BIO_s_mem())
        if self.source == NULL or self.sink == NULL:
            fn.BIO_free(self.source)
            fn.BIO_free(self.sink)
            self.source = self.sink = NULL
            raise MemoryError("OpenSSL has no memory for a connection")
        fn.SSL_set_bio(self.ssl, self.source, self.sink)
        # An empty buffer is not the end of the stream: more may come.
        fn.BIO_set_mem_eof_return(self.source, -1)
        self.drained = True
        fn.SSL_set_connect_state(self.ssl)
        if self.peer in self.context.plain_x25519:
            # An older OpenSSL does not know the syntax, nor more than one key share.
            if fn.SSL_set1_curves_list(self.ssl, X25519_FIRST) != 1:
                fn.ERR_clear_error()
        param = fn.SSL_get0_param(self.ssl)
        name = b""
        if address is None:
            name = (<str>text).encode("ascii")
            fn.SSL_set_tlsext_host_name(self.ssl, name)
        if self.context.check_hosts:
            if address is not None:
                done = fn.X509_VERIFY_PARAM_set1_ip(param, address, len(address))
            else:
                fn.X509_VERIFY_PARAM_set_hostflags(param, NO_PARTIAL_WILDCARDS)
                done = fn.X509_VERIFY_PARAM_set1_host(param, name, len(name))
            # Without this the certificate of any host would do.
            if done != 1:
                fn.ERR_clear_error()
                raise ConfigurationError(
                    f"{self.peer}: OpenSSL does not take {self.host!r} as a host to check a "
                    "certificate against"
                )
        if self.tls.revocation is not None:
            fn.SSL_set_tlsext_status_type(self.ssl, 1)
        return 0

    cdef int begin_handshake(self, Deadline deadline) except -1:
        """Look for a session to resume; `deadline` bounds what the check for revocation asks."""
        cdef TLSSession session = self.context.take(self.peer)
        if session is not None:
            fn.SSL_set_session(self.ssl, session.pointer)
            self.resumed_expires_s = session.expires_s
            self.resumed_limit_ns = session.limit_ns
        self.deadline = deadline
        self.begun = True
        return 0

    cdef int handshake(self) noexcept:
        cdef int rc, code = 0
        cdef unsigned long error = 0
        cdef void *ssl = self.ssl
        if ssl == NULL:
            return FAILED
        # Others are let in where it takes long: for the server's certificates.
        with nogil:
            fn.ERR_clear_error()
            rc = fn.SSL_do_handshake(ssl)
            if rc != 1:
                code = fn.SSL_get_error(ssl, rc)
                error = take_handshake_error()
        if rc == 1:
            return DONE
        if self.refusal is None and code == SSL_ERROR_WANT_READ:
            return WANTS_INPUT
        self.last_code, self.last_error = code, error
        return FAILED

    cdef int end_handshake(self) except -1:
        """Note what was agreed on; afterwards data goes both ways."""
        cdef const char *group
        self.handshake_done = True
        self.drained = False
        self.resumed = fn.SSL_session_reused(self.ssl) == 1
        if self.resumed:
            self.context.resumed_handshakes += 1
            self.expires_s, self.limit_ns = self.resumed_expires_s, self.resumed_limit_ns
        else:
            self.context.full_handshakes += 1
            self.limit_ns = mk_monotonic_ns() + <int64_t>RESUMABLE_S * 1_000_000_000
            self.expires_s = self.tls.trust.until(
                self.verified_chain() if self.chain is None else self.chain, self.answered_until
            )
            self.chain = None
        group = fn.SSL_get0_group_name(self.ssl)
        if group != NULL and strcmp(group, b"x25519") == 0:
            self.context.plain_x25519.add(self.peer)
        else:
            self.context.plain_x25519.discard(self.peer)
        if fn.SSL_version(self.ssl) >= TLS1_3_VERSION:
            # Not one that can be resumed: its ticket is still to come.
            self.seen_session = fn.SSL_get_session(self.ssl)
        else:
            self._collect()
        return 0

    cdef int _approve(self) except -1:
        """Check the server's certificate for revocation, while the handshake waits."""
        revocation = self.tls.revocation
        if revocation is None:
            return 0
        self.chain = self.verified_chain()
        staple = self.stapled_response()
        if staple is not None or not self.chain or self.chain[0] not in revocation.unasked:
            self.answered_until = revocation.check(
                self.peer,
                self.chain,
                staple,
                self.deadline,
                stapling=True,
                cancelled=self.cancelled,
            )
        return 0

    cdef bint _ticket(self) noexcept:
        """Whether a session is there that was not seen before."""
        return fn.SSL_get_session(self.ssl) != self.seen_session

    cdef int _collect(self) except -1:
        """Keep the session, if it is one not seen before: the work of a new ticket."""
        cdef TLSSession session
        if not self._ticket():
            return 0
        self.seen_session = fn.SSL_get_session(self.ssl)
        if self.expires_s == 0:
            return 0
        session = TLSSession.__new__(TLSSession)
        session.pointer = fn.SSL_get1_session(self.ssl)
        session.once = fn.SSL_version(self.ssl) >= TLS1_3_VERSION
        session.expires_s, session.limit_ns = self.expires_s, self.limit_ns
        if session.pointer != NULL:
            self.context.keep(self.peer, session)
        return 0

    # -- bytes --------------------------------------------------------------------------------

    cdef int take_in(self, const uint8_t *data, size_t size) except -1:
        """Take in bytes of the server's."""
        cdef size_t first
        if self.ssl == NULL:
            self._refuse_closed()
        if self.first_received is None:
            first = size if size < <size_t>FIRST_RECEIVED else <size_t>FIRST_RECEIVED
            self.first_received = (<const char *>data)[:first]
        if fn.BIO_write(self.source, <void *>data, <int>size) != <int>size:
            raise MemoryError(f"{self.peer}: OpenSSL has no memory for {size} bytes")
        self.drained = False
        return 0

    cdef long pending_data(self, char **data) noexcept:
        return fn.BIO_get_mem_data(self.sink, data) if self.sink != NULL else 0

    cdef int take_pending(self, uint8_t *into, int capacity) noexcept:
        return fn.BIO_read(self.sink, into, capacity) if self.sink != NULL else 0

    cdef int write(self, const uint8_t *data, int size, bint big) noexcept:
        cdef int rc
        cdef void *ssl = self.ssl
        if ssl == NULL:
            return FAILED
        if big:
            with nogil:
                fn.ERR_clear_error()
                rc = fn.SSL_write(ssl, <void *>data, size)
        else:
            fn.ERR_clear_error()
            rc = fn.SSL_write(ssl, <void *>data, size)
        if rc > 0:
            return rc
        self.last_code = fn.SSL_get_error(ssl, rc)
        self.last_error = fn.ERR_get_error()
        return FAILED

    cdef int read(self, uint8_t *into, int capacity) except? -100:
        cdef int rc
        cdef char *_
        if self.ssl == NULL:
            return FAILED
        fn.ERR_clear_error()
        rc = fn.SSL_read(self.ssl, into, capacity)
        if rc > 0:
            self.data_received = True
            # A record that was read in part, or bytes of the next.
            self.drained = rc < capacity and fn.BIO_get_mem_data(self.source, &_) <= 0
            if self._ticket():
                self._collect()
            return rc
        self.last_code = fn.SSL_get_error(self.ssl, rc)
        if self.last_code != SSL_ERROR_WANT_READ:
            self.last_error = fn.ERR_get_error()
            return FAILED
        # OpenSSL comes back after each message that is no data, such as a ticket.
        self.drained = fn.BIO_get_mem_data(self.source, &_) <= 0
        if self._ticket():
            self._collect()
        return WANTS_INPUT

    cdef int say_goodbye(self) noexcept:
        """Have close_notify among the pending bytes: the server can tell an end from a cut."""
        if self.ssl != NULL and self.handshake_done and not self.broken:
            fn.ERR_clear_error()
            fn.SSL_shutdown(self.ssl)
            self.broken = True
        return 0

    # -- errors -------------------------------------------------------------------------------

    cdef bint alert_received(self):
        """Whether the last failure was TLS's own, not the end of the stream."""
        return self.last_code == SSL_ERROR_SSL

    cdef object failure(self, int64_t system, bint ended):
        cdef int code = SSL_ERROR_SYSCALL if ended else self.last_code
        cdef unsigned long error = 0 if ended else self.last_error
        cdef int reason = 0, verify = 0, alert = -1
        cdef str words = "", name = ""
        cdef bint over = False
        cdef bytes shown = None
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            self.broken = True
            fn.ERR_clear_error()
            return refusal
        lib, ffi = bindings()
        self.broken = True
        if code == SSL_ERROR_ZERO_RETURN:
            words, over = "connection closed by the server", True
        elif error:
            reason = lib.ERR_GET_REASON(error)
            text = lib.ERR_reason_error_string(error)
            words = "" if text == ffi.NULL else ffi.string(text).decode("ascii", "replace")
            name = words.upper().replace(" ", "_")
            if reason == REASON_UNEXPECTED_EOF:
                words, over = "connection closed by the server", True
            elif REASON_ALERT <= reason < REASON_ALERT + 256:
                alert = reason - REASON_ALERT
            elif reason == REASON_VERIFY_FAILED and self.ssl != NULL:
                verify = lib.SSL_get_verify_result(self._as_ssl())
                words = ffi.string(lib.X509_verify_cert_error_string(verify)).decode("ascii")
                chain = lib.SSL_get_peer_cert_chain(self._as_ssl())
                if chain != ffi.NULL and lib.sk_X509_num(chain) > 0:
                    one = lib.sk_X509_value(chain, 0)
                    shown = to_der(<void *><uintptr_t>int(ffi.cast("uintptr_t", one)))
        else:
            over = True
            words = error_text(system) if system else "connection closed by the server"
        fn.ERR_clear_error()
        facts = Facts(
            self.peer,
            words,
            handshake_done=self.handshake_done,
            reason=name,
            alert=alert if alert >= 0 else None,
            verify_code=verify,
            ended=over,
            data_received=self.data_received,
            first_received=self.first_received,
            certificate=shown,
        )
        return exception_of(facts, self.tls, self.host)

    cdef int _refuse_closed(self) except -1:
        raise AutoReconnect(f"{self.peer}: the connection is closed")

    # -- for Python: event loops, tests -----------------------------------------------------------

    def do_handshake(self, Deadline deadline=None):
        """Go on with the handshake; whether it is over. If not, bytes of the server's are
        needed."""
        cdef int rc
        if self.ssl == NULL:
            self._refuse_closed()
        if self.handshake_done:
            return True
        if not self.begun:
            self.begin_handshake(deadline)
        watch(self)
        try:
            rc = self.handshake()
        finally:
            unwatch(self)
        if rc == FAILED:
            raise self.failure(0, False)
        if rc == DONE:
            self.end_handshake()
        return rc == DONE

    def feed(self, data):
        """Take in `data`, bytes of the server's."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len > 0x7FFFFFFF:
                raise ValueError("more bytes than OpenSSL takes at once")
            if view.len:
                self.take_in(<const uint8_t *>view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)

    def pending(self):
        """The bytes to be sent to the server by now; they are gone from here then."""
        cdef char *data = NULL
        cdef long size = self.pending_data(&data)
        cdef bytes taken
        if size <= 0:
            return b""
        taken = PyBytes_FromStringAndSize(NULL, size)
        self.take_pending(<uint8_t *>PyBytes_AS_STRING(taken), <int>size)
        return taken

    def encrypt(self, data):
        """Encrypt all of `data`, for `pending`."""
        cdef Py_buffer view
        cdef const uint8_t *at
        cdef Py_ssize_t left
        cdef int rc
        self._expect_done()
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            at, left = <const uint8_t *>view.buf, view.len
            while left:
                rc = self.write(at, <int>min(left, 65536), False)
                if rc <= 0:
                    raise self.failure(0, False)
                at += rc
                left -= rc
        finally:
            PyBuffer_Release(&view)

    def decrypt(self, int most):
        """1 to `most` bytes of data that the server sent; None: more of its bytes are needed."""
        cdef bytes into
        cdef int got
        if most < 1:
            raise ValueError(f"at least 1 byte must be asked for, not {most}")
        self._expect_done()
        into = PyBytes_FromStringAndSize(NULL, most)
        while True:
            got = self.read(<uint8_t *>PyBytes_AS_STRING(into), most)
            if got > 0:
                return into[:got]
            if got == FAILED:
                raise self.failure(0, False)
            if self.drained:
                return None

    def connection_lost(self, int64_t code=0):
        """Why the connection ended, an exception of TLS's; None: TLS has nothing to say to it."""
        cdef uint8_t part[1]
        if self.ssl == NULL or self.data_received:
            self.broken = True
            return None
        # An alert may have come before the end.
        if not self.drained and self.read(part, 1) == FAILED and self.alert_received():
            return self.failure(0, False)
        return self.failure(code, True)

    def forget_session(self):
        """Have the next handshake with this server exchange certificates."""
        self.context.forget(self.peer)

    def close(self):
        """Say goodbye, for `pending`; nothing can be read or written any more."""
        self.say_goodbye()

    cdef int _expect_done(self) except -1:
        if self.ssl == NULL:
            self._refuse_closed()
        if not self.handshake_done:
            raise InvalidOperation(f"{self.peer}: the TLS handshake is not over")
        return 0

    # -- what was agreed ------------------------------------------------------------------------

    cdef int _open(self) except -1:
        return self._refuse_closed() if self.ssl == NULL else 0

    def _as_ssl(self):
        self._open()
        return bindings()[1].cast("SSL *", <uintptr_t>self.ssl)

    def group(self):
        """The name of the group that the keys were agreed on in."""
        cdef const char *name
        self._open()
        name = fn.SSL_get0_group_name(self.ssl)
        return "" if name == NULL else name.decode("ascii")

    def version(self):
        """The protocol's version: ``TLSv1.2`` or ``TLSv1.3``."""
        lib, ffi = bindings()
        return ffi.string(lib.SSL_get_version(self._as_ssl())).decode()

    def cipher(self):
        """The name of the cipher suite."""
        lib, ffi = bindings()
        name = lib.SSL_CIPHER_get_name(lib.SSL_get_current_cipher(self._as_ssl()))
        return ffi.string(name).decode()

    def peer_certificate(self):
        """The server's certificate in DER; None if it sent none."""
        cdef void *certificate
        self._open()
        certificate = fn.SSL_get_peer_certificate(self.ssl)
        if certificate == NULL:
            return None
        try:
            return to_der(certificate)
        finally:
            fn.X509_free(certificate)

    def verified_chain(self):
        """The chain from the server's certificate to the trusted authority, a list of DER."""
        cdef void *chain
        self._open()
        chain = fn.SSL_get0_verified_chain(self.ssl)
        if chain == NULL:
            return []
        return [to_der(fn.sk_X509_value(chain, n)) for n in range(fn.sk_X509_num(chain))]

    def stapled_response(self):
        """The OCSP response that came with the certificate, in DER; None if none came."""
        cdef unsigned char *data = NULL
        cdef long size
        self._open()
        size = fn.SSL_get_tlsext_status_ocsp_resp(self.ssl, &data)
        return None if data == NULL or size <= 0 else (<char *>data)[:size]


cdef unsigned long take_handshake_error() noexcept nogil:
    """OpenSSL's first error, which is the cause; but where one says that a certificate was refused,
    that one: a signature that is not the authority's has an error of the cipher's before it."""
    cdef unsigned long first = fn.ERR_get_error()
    cdef unsigned long error = first
    while error != 0:
        if error == VERIFY_FAILED:
            return error
        error = fn.ERR_get_error()
    return first


cdef bytes to_der(void *certificate):
    cdef char *start = NULL
    cdef long size
    cdef void *sink = fn.BIO_new(fn.BIO_s_mem())
    if sink == NULL or fn.i2d_X509_bio(sink, certificate) != 1:
        fn.BIO_free(sink)
        fn.ERR_clear_error()
        raise MemoryError("OpenSSL cannot write a certificate")
    size = fn.BIO_get_mem_data(sink, &start)
    try:
        return start[:size] if size > 0 else b""
    finally:
        fn.BIO_free(sink)


# The engines whose handshake is just being gone on with, by the address of their SSL, which is what
# OpenSSL calls back with.
cdef dict in_handshake = {}


cdef int watch(OpenSSLEngine engine) except -1:
    in_handshake[<uintptr_t>engine.ssl] = engine
    return 0


cdef int unwatch(OpenSSLEngine engine) except -1:
    for key, each in list(in_handshake.items()):
        if each is engine:
            del in_handshake[key]
    return 0


cdef int check_server(void *ssl, void *_) noexcept nogil:
    """Called by OpenSSL when the server has proved who it is, before anything is said to that: the
    last messages of the handshake, and among them the client's certificate. 1 goes on, 0 sends
    the alert bad_certificate_status_response in their place (RFC 6066, section 8)."""
    if fn.SSL_session_reused(ssl) == 1:
        return 1  # what was found out in the handshake that it goes back to holds still
    with gil:
        return approve(<uintptr_t>ssl)


cdef int approve(uintptr_t key) noexcept:
    cdef OpenSSLEngine engine = in_handshake.get(key)
    if engine is None:
        return 0
    try:
        engine._approve()
    except BaseException as error:
        # There is OpenSSL between here and who called: the handshake raises it.
        engine.refusal = error
        return 0
    return 1
