"""Streams over TLS, by the OpenSSL inside `cryptography`: called from C, resumed, stapled.

It knows the few SSL_* functions that a connection needs, and takes their addresses from the
bindings once. It must not know how a context is made, what a certificate must be like, or what
an OCSP response says.

Why not Python's ssl: measured on a prototype (client CPU, medians of paired rounds, CPython 3.11
with its OpenSSL 3.0 against cryptography's OpenSSL 4.0), a full mutual handshake cost 2.4 and
1.7 ms (RSA-2048, TLS 1.2), 2.9 and 2.1 ms (TLS 1.3), a resumed one 0.87 and 0.32 ms (TLS 1.2),
1.5 and 0.9 ms (TLS 1.3): ssl copies a session by writing and parsing its certificates, some 0.2 ms
each way, cannot take more than one ticket of a connection, and cannot ask for a stapled OCSP
response. The price is a binding that is not public. So every function's signature is compared
with what is expected here, and where one differs Python's ssl is used (`_tls`), as it is for an
`ssl.SSLContext` of the user's own.
"""

import os
import socket
import time

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint8_t, uintptr_t

from mongokey.stream._stream cimport (
    MK_NO_SOCKET,
    POLLIN,
    POLLOUT,
    SocketStream,
    Stream,
    error_text,
    mk_close,
    mk_monotonic_ns,
    mk_poll,
    mk_pollfd,
    mk_socket,
)

from mongokey.errors import AutoReconnect
from mongokey.stream.tls_errors import Facts, failure

cdef extern from "mongokey/net.h" nogil:
    int mk_set_blocking(mk_socket s, bint blocking)

# ssl.h
cdef enum:
    SSL_ERROR_SSL = 1
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_WANT_WRITE = 3
    SSL_ERROR_SYSCALL = 5
    SSL_ERROR_ZERO_RETURN = 6
    SSL_SENT_AND_RECEIVED_SHUTDOWN = 3
    TLS1_3_VERSION = 0x0304
    REASON_VERIFY_FAILED = 134
    REASON_UNEXPECTED_EOF = 294
    REASON_ALERT = 1000
    # x509v3.h: X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, as Python's ssl has it
    NO_PARTIAL_WILDCARDS = 0x4
    # From this size on encrypting takes longer than winning the GIL back.
    BIG_WRITE = 65536
    LARGEST_WRITE = 1 << 30
    # Tickets kept for one server: a server sends two, and maxConnecting bounds how many are
    # wanted at once.
    MOST_SESSIONS = 8

cdef struct functions:
    void *(*SSL_new)(void *) noexcept nogil
    void (*SSL_free)(void *) noexcept nogil
    int (*SSL_set_fd)(void *, int) noexcept nogil
    void (*SSL_set_connect_state)(void *) noexcept nogil
    int (*SSL_do_handshake)(void *) noexcept nogil
    int (*SSL_read)(void *, void *, int) noexcept nogil
    int (*SSL_write)(void *, void *, int) noexcept nogil
    int (*SSL_pending)(void *) noexcept nogil
    int (*SSL_shutdown)(void *) noexcept nogil
    void (*SSL_set_shutdown)(void *, int) noexcept nogil
    int (*SSL_get_error)(void *, int) noexcept nogil
    unsigned long (*ERR_get_error)() noexcept nogil
    void (*ERR_clear_error)() noexcept nogil
    void *(*SSL_get_session)(void *) noexcept nogil
    void *(*SSL_get1_session)(void *) noexcept nogil
    int (*SSL_set_session)(void *, void *) noexcept nogil
    int (*SSL_session_reused)(void *) noexcept nogil
    void (*SSL_SESSION_free)(void *) noexcept nogil
    int (*SSL_version)(void *) noexcept nogil
    void (*SSL_set_tlsext_host_name)(void *, char *) noexcept nogil
    long (*SSL_set_tlsext_status_type)(void *, long) noexcept nogil
    long (*SSL_get_tlsext_status_ocsp_resp)(void *, unsigned char **) noexcept nogil
    void *(*SSL_get0_param)(void *) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_host)(void *, char *, size_t) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_ip)(void *, unsigned char *, size_t) noexcept nogil
    void (*X509_VERIFY_PARAM_set_hostflags)(void *, unsigned int) noexcept nogil

cdef functions fn
cdef bint _loaded = False
cdef object _lib = None
cdef object _ffi = None

# In the order of the struct: the signatures that its fields stand for.
_SIGNATURES = (
    ("SSL_new", "SSL *(*)(SSL_CTX *)"),
    ("SSL_free", "void(*)(SSL *)"),
    ("SSL_set_fd", "int(*)(SSL *, int)"),
    ("SSL_set_connect_state", "void(*)(SSL *)"),
    ("SSL_do_handshake", "int(*)(SSL *)"),
    ("SSL_read", "int(*)(SSL *, void *, int)"),
    ("SSL_write", "int(*)(SSL *, void *, int)"),
    ("SSL_pending", "int(*)(SSL *)"),
    ("SSL_shutdown", "int(*)(SSL *)"),
    ("SSL_set_shutdown", "void(*)(SSL *, int)"),
    ("SSL_get_error", "int(*)(SSL *, int)"),
    ("ERR_get_error", "unsigned long(*)()"),
    ("ERR_clear_error", "void(*)()"),
    ("SSL_get_session", "SSL_SESSION *(*)(SSL *)"),
    ("SSL_get1_session", "SSL_SESSION *(*)(SSL *)"),
    ("SSL_set_session", "int(*)(SSL *, SSL_SESSION *)"),
    ("SSL_session_reused", "int(*)(SSL *)"),
    ("SSL_SESSION_free", "void(*)(SSL_SESSION *)"),
    ("SSL_version", "int(*)(SSL *)"),
    ("SSL_set_tlsext_host_name", "void(*)(SSL *, char *)"),
    ("SSL_set_tlsext_status_type", "long(*)(SSL *, long)"),
    ("SSL_get_tlsext_status_ocsp_resp", "long(*)(SSL *, unsigned char * *)"),
    ("SSL_get0_param", "X509_VERIFY_PARAM *(*)(SSL *)"),
    ("X509_VERIFY_PARAM_set1_host", "int(*)(X509_VERIFY_PARAM *, char *, size_t)"),
    ("X509_VERIFY_PARAM_set1_ip", "int(*)(X509_VERIFY_PARAM *, unsigned char *, size_t)"),
    ("X509_VERIFY_PARAM_set_hostflags", "void(*)(X509_VERIFY_PARAM *, unsigned int)"),
)
# What is called by way of the bindings, where the time does not matter.
_OTHERS = (
    "BIO_free",
    "BIO_get_mem_data",
    "BIO_new",
    "BIO_new_mem_buf",
    "BIO_s_mem",
    "ERR_GET_REASON",
    "ERR_peek_error",
    "ERR_reason_error_string",
    "EVP_PKEY_free",
    "PEM_read_bio_PrivateKey",
    "PEM_read_bio_X509",
    "SSL_CIPHER_get_name",
    "SSL_CTX_add_extra_chain_cert",
    "SSL_CTX_check_private_key",
    "SSL_CTX_clear_mode",
    "SSL_CTX_free",
    "SSL_CTX_get_cert_store",
    "SSL_CTX_load_verify_locations",
    "SSL_CTX_new",
    "SSL_CTX_set_min_proto_version",
    "SSL_CTX_set_mode",
    "SSL_CTX_set_options",
    "SSL_CTX_set_session_cache_mode",
    "SSL_CTX_set_verify",
    "SSL_CTX_use_PrivateKey",
    "SSL_CTX_use_certificate",
    "SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER",
    "SSL_MODE_AUTO_RETRY",
    "SSL_MODE_ENABLE_PARTIAL_WRITE",
    "SSL_OP_NO_COMPRESSION",
    "SSL_OP_NO_RENEGOTIATION",
    "SSL_OP_NO_TLSv1_3",
    "SSL_get0_verified_chain",
    "SSL_get_current_cipher",
    "SSL_get_peer_certificate",
    "SSL_get_verify_result",
    "SSL_get_version",
    "SSL_set_options",
    "TLS_method",
    "X509_STORE_add_cert",
    "X509_STORE_set_flags",
    "X509_free",
    "X509_verify_cert_error_string",
    "d2i_X509_bio",
    "i2d_X509_bio",
    "sk_X509_num",
    "sk_X509_value",
)


def load_functions(lib, ffi):
    """Take the functions' addresses; False if one of them is not what is expected here."""
    global _loaded, _lib, _ffi
    cdef void **slot = <void **>&fn
    cdef uintptr_t address
    if _loaded:
        return True
    if any(not hasattr(lib, name) for name in _OTHERS):
        return False
    addresses = []
    for name, signature in _SIGNATURES:
        function = getattr(lib, name, None)
        if function is None or str(ffi.typeof(function)) != f"<ctype '{signature}'>":
            return False
        addresses.append(int(ffi.cast("uintptr_t", ffi.addressof(lib, name))))
    if len(addresses) * sizeof(void *) != sizeof(functions):
        raise SystemError("the table of OpenSSL's functions and its struct differ in length")
    for address in addresses:
        slot[0] = <void *>address
        slot += 1
    _lib, _ffi = lib, ffi
    _loaded = True
    return True


cdef class TLSSession:
    """One session that can be resumed; freed with its last reference."""

    def __dealloc__(self):
        if self.pointer != NULL:
            fn.SSL_SESSION_free(self.pointer)


cdef class OpenSSLContext:
    """An SSL_CTX at `address`, kept alive by `owner`; made by `tls_openssl`."""

    def __init__(self, owner, uintptr_t address, bint check_hosts):
        if not _loaded or address == 0:
            raise ValueError("OpenSSL's functions are not loaded")
        self.owner = owner
        self.pointer = <void *>address
        self.check_hosts = check_hosts
        self.sessions = {}
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
            if session.expires_s and time.time() >= session.expires_s:
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

    def forget_sessions(self):
        """Have the next handshake with each server exchange certificates again."""
        self.sessions = {}

    def session_count(self, str peer not None):
        """How many sessions there are to resume with `peer`."""
        return len(self.sessions.get(peer, ()))


cdef class OpenSSLStream(Stream):
    """A TLS stream to a server; `wrap_openssl` makes it."""

    def __init__(self):
        raise TypeError("an OpenSSLStream is made by mongokey.stream._openssl.wrap_openssl")

    def __del__(self):
        self.close()

    def __dealloc__(self):
        # Only a stream whose __del__ could not run comes here with anything left.
        if self.ssl != NULL:
            fn.SSL_set_shutdown(self.ssl, SSL_SENT_AND_RECEIVED_SHUTDOWN)
            fn.SSL_free(self.ssl)
        if self._socket != MK_NO_SOCKET:
            mk_close(self._socket)

    # -- handshake ----------------------------------------------------------------------------

    cdef int _start(self) except -1:
        """Make the SSL, for this host: SNI, what its certificate must be for, and the staple."""
        cdef void *param
        cdef bytes name
        cdef bytes address = ip_bytes(self.host)
        self.ssl = fn.SSL_new(self.context.pointer)
        if self.ssl == NULL or self._socket > 0x7fffffff:
            raise MemoryError("OpenSSL has no memory for a connection")
        if fn.SSL_set_fd(self.ssl, <int>self._socket) != 1:
            raise MemoryError("OpenSSL cannot take the socket")
        fn.SSL_set_connect_state(self.ssl)
        param = fn.SSL_get0_param(self.ssl)
        name = b""
        if address is None:
            name = server_name(self.host)
            fn.SSL_set_tlsext_host_name(self.ssl, name)
        if self.context.check_hosts:
            if address is not None:
                done = fn.X509_VERIFY_PARAM_set1_ip(param, address, len(address))
            else:
                fn.X509_VERIFY_PARAM_set_hostflags(param, NO_PARTIAL_WILDCARDS)
                done = fn.X509_VERIFY_PARAM_set1_host(param, name, len(name))
            # Without this the certificate of any host would do.
            if done != 1:
                raise MemoryError("OpenSSL does not take the host name to check")
        if self.tls.revocation is not None:
            fn.SSL_set_tlsext_status_type(self.ssl, 1)
        return 0

    cdef int _handshake(self, int64_t deadline_ns) except -1:
        cdef int64_t started = mk_monotonic_ns()
        cdef TLSSession session = self.context.take(self.peer) if self.resumes else None
        cdef int rc, code, system
        cdef unsigned long error
        if session is not None:
            fn.SSL_set_session(self.ssl, session.pointer)
        while True:
            self._inside += 1
            with nogil:
                fn.ERR_clear_error()
                rc = fn.SSL_do_handshake(self.ssl)
                system = errno
                code = fn.SSL_get_error(self.ssl, rc)
                error = fn.ERR_get_error()
            self._leave()
            if rc == 1:
                break
            if code == SSL_ERROR_WANT_READ:
                self._wait(POLLIN, deadline_ns, started, False)
            elif code == SSL_ERROR_WANT_WRITE:
                self._wait(POLLOUT, deadline_ns, started, False)
            else:
                # A session that the server chokes on is not tried again.
                self.context.sessions.pop(self.peer, None)
                raise self._failure(code, error, system)
        self.shaken = True
        self.resumed = fn.SSL_session_reused(self.ssl) == 1
        if self.resumed:
            self.context.resumed_handshakes += 1
            self.expires_s = session.expires_s if session is not None else 0
        else:
            self.context.full_handshakes += 1
        return 0

    cdef int _collect(self) except -1:
        """Keep the session, if it is one not seen before: the work of a new ticket."""
        cdef TLSSession session
        cdef void *now = fn.SSL_get_session(self.ssl)
        if now == self.seen_session:
            return 0
        self.seen_session = now
        session = TLSSession.__new__(TLSSession)
        session.pointer = fn.SSL_get1_session(self.ssl)
        session.once = fn.SSL_version(self.ssl) >= TLS1_3_VERSION
        session.expires_s = self.expires_s
        if session.pointer != NULL and self.resumes:
            self.context.keep(self.peer, session)
        return 0

    # -- bytes --------------------------------------------------------------------------------

    cdef int write(self, const uint8_t *data, size_t size, int64_t deadline_ns) except -1:
        cdef int64_t started, limit
        cdef int rc, code, system, part
        cdef unsigned long error
        if self.closed:
            self._refuse()
        while size:
            part = <int>size if size < LARGEST_WRITE else LARGEST_WRITE
            if size < BIG_WRITE:
                fn.ERR_clear_error()
                rc = fn.SSL_write(self.ssl, <void *>data, part)
                system = errno
            else:
                self._inside += 1
                with nogil:
                    fn.ERR_clear_error()
                    rc = fn.SSL_write(self.ssl, <void *>data, part)
                    system = errno
                self._leave()
            if rc > 0:
                data += rc
                size -= <size_t>rc
                continue
            code = fn.SSL_get_error(self.ssl, rc)
            if code != SSL_ERROR_WANT_WRITE and code != SSL_ERROR_WANT_READ:
                error = fn.ERR_get_error()
                if code == SSL_ERROR_SYSCALL and not self.greeted:
                    raise self._alert_or(system)
                raise self._failure(code, error, system)
            started = mk_monotonic_ns()
            limit = deadline_ns
            if limit == 0 and self.timeout_ns:
                limit = started + self.timeout_ns
            self._wait(
                POLLOUT if code == SSL_ERROR_WANT_WRITE else POLLIN,
                limit,
                started,
                deadline_ns == 0,
            )
        return 0

    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, int64_t deadline_ns) except -1:
        cdef int64_t started = 0, limit = deadline_ns
        cdef int rc, code, system
        cdef int part = <int>capacity if capacity < LARGEST_WRITE else LARGEST_WRITE
        cdef short events = POLLIN
        cdef unsigned long error
        cdef bint ticket = False
        cdef int tickets = 0
        if self.closed:
            self._refuse()
        if deadline_ns or self.timeout_ns:
            started = mk_monotonic_ns()
            if deadline_ns == 0:
                limit = started + self.timeout_ns
            elif started >= deadline_ns:
                self._timed_out(POLLIN, started, False)
        while True:
            # Nothing decrypted is left over: what comes next has to come over the socket. After
            # a server's two tickets it is there already, most times; more would dodge the deadline.
            if not (ticket and tickets <= 2) and fn.SSL_pending(self.ssl) == 0:
                self._wait(events, limit, started, deadline_ns == 0)
            fn.ERR_clear_error()
            rc = fn.SSL_read(self.ssl, into, part)
            system = errno
            ticket = fn.SSL_get_session(self.ssl) != self.seen_session
            if ticket:
                tickets += 1
                self._collect()
            if rc > 0:
                self.greeted = True
                return rc
            code = fn.SSL_get_error(self.ssl, rc)
            if code == SSL_ERROR_WANT_READ:
                events = POLLIN
            elif code == SSL_ERROR_WANT_WRITE:
                events = POLLOUT
            else:
                error = fn.ERR_get_error()
                raise self._failure(code, error, system)

    cpdef bint stale(self) except -1:
        cdef mk_pollfd one
        cdef uint8_t byte
        cdef int rc, _
        if self.closed:
            return True
        # TLS 1.3 sends tickets unasked: only data, an end or an error is bad news.
        for _ in range(MOST_SESSIONS):
            one.fd = self._socket
            one.events = POLLIN
            one.revents = 0
            if mk_poll(&one, 1, 0) == 0 and fn.SSL_pending(self.ssl) == 0:
                return False
            fn.ERR_clear_error()
            rc = fn.SSL_read(self.ssl, &byte, 1)
            if rc > 0 or fn.SSL_get_error(self.ssl, rc) != SSL_ERROR_WANT_READ:
                self.broken = rc <= 0
                fn.ERR_clear_error()
                return True
            self._collect()
        return True

    # -- ends ---------------------------------------------------------------------------------

    cdef int _release(self) except -1:
        cdef mk_socket s = self._socket
        cdef void *ssl = self.ssl
        self._socket = MK_NO_SOCKET
        self.ssl = NULL
        if ssl != NULL:
            fn.ERR_clear_error()
            if self.shaken and not self.broken and os.getpid() == self._pid:
                # close_notify: the server can tell an end from a cut. Its own is not waited for.
                fn.SSL_shutdown(ssl)
            # A session is not to be resumed, OpenSSL thinks, unless both sides said goodbye.
            fn.SSL_set_shutdown(ssl, SSL_SENT_AND_RECEIVED_SHUTDOWN)
            fn.SSL_free(ssl)
            fn.ERR_clear_error()
        if s != MK_NO_SOCKET:
            mk_close(s)
        return 0

    def _alert_or(self, int system):
        """The error after a write that failed: an alert that came before, or `system`."""
        cdef uint8_t byte
        cdef int rc, code
        cdef unsigned long error
        fn.ERR_clear_error()
        rc = fn.SSL_read(self.ssl, &byte, 1)
        code = fn.SSL_get_error(self.ssl, rc)
        error = fn.ERR_get_error()
        if code == SSL_ERROR_SSL:
            return self._failure(code, error, system)
        return self._failure(SSL_ERROR_SYSCALL, 0, system)

    cdef object _failure(self, int code, unsigned long error, int system):
        """Close, and make the exception that says why."""
        cdef bint shaken = self.shaken
        cdef int reason = 0, verify = 0, alert = -1
        cdef str words = "", name = ""
        cdef bint ended = False
        self.broken = True
        if code == SSL_ERROR_ZERO_RETURN:
            words, ended = "connection closed by the server", True
        elif error:
            reason = _lib.ERR_GET_REASON(error)
            text = _lib.ERR_reason_error_string(error)
            words = "" if text == _ffi.NULL else _ffi.string(text).decode("ascii", "replace")
            name = words.upper().replace(" ", "_")
            if reason == REASON_UNEXPECTED_EOF:
                words, ended = "connection closed by the server", True
            elif REASON_ALERT <= reason < REASON_ALERT + 256:
                alert = reason - REASON_ALERT
            elif reason == REASON_VERIFY_FAILED:
                verify = _lib.SSL_get_verify_result(self._as_ssl())
                words = _ffi.string(_lib.X509_verify_cert_error_string(verify)).decode("ascii")
        else:
            ended = True
            words = error_text(-system) if system else "connection closed by the server"
        fn.ERR_clear_error()
        facts = Facts(
            self.peer,
            words,
            shaken=shaken,
            reason=name,
            alert=alert if alert >= 0 else None,
            verify_code=verify,
            ended=ended,
            greeted=self.greeted,
        )
        self.close()
        return failure(facts, self.tls, self.host)

    # -- what was agreed ------------------------------------------------------------------------

    def _as_ssl(self):
        if self.ssl == NULL:
            raise AutoReconnect(f"{self.peer}: the connection is closed")
        return _ffi.cast("SSL *", <uintptr_t>self.ssl)

    def version(self):
        """The protocol's version: ``TLSv1.2`` or ``TLSv1.3``."""
        return _ffi.string(_lib.SSL_get_version(self._as_ssl())).decode()

    def cipher(self):
        """The name of the cipher suite."""
        name = _lib.SSL_CIPHER_get_name(_lib.SSL_get_current_cipher(self._as_ssl()))
        return _ffi.string(name).decode()

    def peer_certificate(self):
        """The server's certificate in DER; None if it sent none."""
        certificate = _lib.SSL_get_peer_certificate(self._as_ssl())
        if certificate == _ffi.NULL:
            return None
        try:
            return to_der(certificate)
        finally:
            _lib.X509_free(certificate)

    def verified_chain(self):
        """The chain from the server's certificate to the trusted authority, a list of DER."""
        chain = _lib.SSL_get0_verified_chain(self._as_ssl())
        if chain == _ffi.NULL:
            return []
        return [to_der(_lib.sk_X509_value(chain, n)) for n in range(_lib.sk_X509_num(chain))]

    def stapled_response(self):
        """The OCSP response that came with the certificate, in DER; None if none came."""
        cdef unsigned char *data = NULL
        cdef long size
        self._as_ssl()
        size = fn.SSL_get_tlsext_status_ocsp_resp(self.ssl, &data)
        return None if data == NULL or size <= 0 else (<char *>data)[:size]


cdef bytes to_der(certificate):
    sink = _ffi.gc(_lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_free)
    if _lib.i2d_X509_bio(sink, certificate) != 1:
        _lib.ERR_clear_error()
        raise MemoryError("OpenSSL cannot write a certificate")
    start = _ffi.new("char **")
    size = _lib.BIO_get_mem_data(sink, start)
    return _ffi.buffer(start[0], size)[:]


cdef bytes ip_bytes(str host):
    """The bytes of an IP literal, None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, host.partition("%")[0])
        except (OSError, UnicodeError):
            continue
    return None


cdef bytes server_name(str host):
    """A host name as it is sent and compared: in ASCII, without the root's dot."""
    name = host.rstrip(".")
    return name.encode("ascii") if name.isascii() else name.encode("idna")


def wrap_openssl(
    SocketStream stream not None,
    tls,
    OpenSSLContext context not None,
    str host not None,
    *,
    int64_t deadline_ns=0,
    bint newest=True,
):
    """Do the TLS handshake on `stream` and return the OpenSSLStream that takes its socket over."""
    cdef OpenSSLStream wrapped = OpenSSLStream.__new__(OpenSSLStream)
    cdef int rc
    wrapped.peer = stream.peer
    wrapped.timeout_ns = stream.timeout_ns
    wrapped.timeout_text = stream.timeout_text
    wrapped.deadline_text = stream.deadline_text
    wrapped.context = context
    wrapped.tls = tls
    wrapped.host = host
    wrapped.resumes = newest
    wrapped._socket = stream._detach()
    wrapped.closed = False
    try:
        rc = mk_set_blocking(wrapped._socket, False)
        if rc != 0:
            raise AutoReconnect(f"{wrapped.peer}: {error_text(rc)} (before the TLS handshake)")
        wrapped._start()
        if not newest:
            _lib.SSL_set_options(wrapped._as_ssl(), _lib.SSL_OP_NO_TLSv1_3)
        wrapped._handshake(deadline_ns)
        if tls.revocation is not None and not wrapped.resumed:
            wrapped.expires_s = tls.revocation.check(
                wrapped.peer,
                wrapped.verified_chain(),
                wrapped.stapled_response(),
                deadline_ns,
                stapling=True,
            )
    except BaseException:
        wrapped.close()
        raise
    if fn.SSL_version(wrapped.ssl) >= TLS1_3_VERSION:
        # Not one that can be resumed: its ticket is still to come.
        wrapped.seen_session = fn.SSL_get_session(wrapped.ssl)
    else:
        wrapped._collect()
    return wrapped
