"""Streams over TLS, by the OpenSSL inside `cryptography`: called from C, resumed, stapled.

It knows how OpenSSL is driven between two buffers in memory, and sessions. It must not know how a
context is made, what a certificate must be like, or what an OCSP response says.

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
expected (`_libssl`), and where one differs Python's ssl is used (`_tls`), as for an
`ssl.SSLContext` of the user's own.
"""

import os
import time

from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.string cimport strcmp

from mongokey._support.deadline cimport Deadline
from mongokey.transport.tls.libssl cimport fn, loaded
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

from mongokey.errors import AutoReconnect, ConfigurationError
from mongokey.transport.tls.libssl import bindings
from mongokey.transport.tls.errors import Facts, failure, silence
from mongokey.transport.tls.hosts import certified_name
from mongokey.transport.tls.trust import RESUMABLE_S

cdef extern from "mongokey/net.h" nogil:
    void mk_send_last(mk_socket s, const void *data, size_t size)

# ssl.h
cdef enum:
    SSL_ERROR_SSL = 1
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_SYSCALL = 5
    SSL_ERROR_ZERO_RETURN = 6
    SSL_SENT_AND_RECEIVED_SHUTDOWN = 3
    TLS1_3_VERSION = 0x0304
    REASON_VERIFY_FAILED = 134
    REASON_UNEXPECTED_EOF = 294
    REASON_ALERT = 1000
    # x509v3.h: X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, as Python's ssl has it
    NO_PARTIAL_WILDCARDS = 0x4
    # So much is encrypted, then sent: it bounds the buffer. From this size on encrypting takes
    # longer than winning the GIL back.
    CHUNK = 65536
    # So much is received, then decrypted: a record and a bit, so that copies stay in the cache.
    RECEIVED = 20480
    # Receiving into less than this would cost a system call for a few bytes.
    SMALL = 4096
    # So many of the server's first bytes tell what protocol they are of.
    HEARD = 64
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
    """An SSL_CTX at `address`, kept alive by `owner`; made by `tls_openssl`."""

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

    def forget_sessions(self):
        """Have the next handshake with each server exchange certificates again."""
        self.sessions = {}

    def session_count(self, str peer not None):
        """How many sessions there are to resume with `peer`."""
        return len(self.sessions.get(peer, ()))


cdef class OpenSSLStream(SocketStream):
    """A TLS stream to a server; `wrap_openssl` makes it."""

    def __init__(self, *_):
        raise TypeError("an OpenSSLStream is made by wrap_openssl of its module")

    def __del__(self):
        self.close()

    def __dealloc__(self):
        # Only a stream whose __del__ could not run comes here with anything left; the socket is
        # closed by the base class.
        if self.ssl != NULL:
            fn.SSL_set_shutdown(self.ssl, SSL_SENT_AND_RECEIVED_SHUTDOWN)
            fn.SSL_free(self.ssl)

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

    cdef int _handshake(self, Deadline deadline) except -1:
        cdef TLSSession session = self.context.take(self.peer)
        cdef uint8_t spare[SMALL]
        cdef const char *group
        cdef int rc, code
        cdef unsigned long error
        cdef uintptr_t key = <uintptr_t>self.ssl
        if session is not None:
            fn.SSL_set_session(self.ssl, session.pointer)
        self.handshake_deadline = deadline
        in_handshake[key] = self
        expect_message(self)  # all of the handshake has one deadline
        try:
            while True:
                # Others are let in where it takes long: for the server's certificates.
                self._inside += 1
                with nogil:
                    fn.ERR_clear_error()
                    rc = fn.SSL_do_handshake(self.ssl)
                    code = fn.SSL_get_error(self.ssl, rc) if rc != 1 else 0
                    error = fn.ERR_get_error() if rc != 1 else 0
                self._leave()
                if rc == 1:
                    break
                if self.refusal is not None:
                    raise self._refused()
                if code != SSL_ERROR_WANT_READ:
                    raise self._failure(code, error, 0)
                self._flush(self._limit_ns if deadline is None else deadline.at_ns, deadline)
                self._fill(spare, SMALL, deadline)
        except AutoReconnect:
            # A session that the server chokes on is not tried again.
            self.context.sessions.pop(self.peer, None)
            raise
        finally:
            # A close from another thread has freed the SSL; the next may have its address by now.
            if in_handshake.get(key) is self:
                del in_handshake[key]
        self.handshake_done = True
        self.drained = False
        self.resumed = fn.SSL_session_reused(self.ssl) == 1
        if self.resumed:
            self.context.resumed_handshakes += 1
            if session is not None:
                self.expires_s, self.limit_ns = session.expires_s, session.limit_ns
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
                self.peer, self.chain, staple, self.handshake_deadline, stapling=True
            )
        return 0

    cdef object _refused(self):
        """Close with the alert that the failed check made, and return the check's error."""
        refusal, self.refusal = self.refusal, None
        self.broken = True
        fn.ERR_clear_error()
        self._send_alert()
        self.close()
        return refusal

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

    cdef int _flush(self, int64_t limit_ns, Deadline deadline) except -1:
        """Send what is encrypted, until `limit_ns`; without a deadline that is by `timeout`."""
        cdef uint8_t copy[SMALL]
        cdef char *data = NULL
        cdef long size = fn.BIO_get_mem_data(self.sink, &data)
        cdef int got
        self.holds_last_flight = False
        if size <= 0:
            return 0
        if size <= SMALL:
            got = fn.BIO_read(self.sink, copy, SMALL)
            if got > 0:
                SocketStream._put(self, copy, <size_t>got, limit_ns, deadline)
            return 0
        SocketStream._put(self, <const uint8_t *>data, <size_t>size, limit_ns, deadline)
        # The bindings have no BIO_reset.
        while self.ssl != NULL and fn.BIO_read(self.sink, copy, SMALL) > 0:
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
        if self.first_received is None:
            self._timeout_hint = None
            self.first_received = (<const char *>data)[:size if size < HEARD else HEARD]
        if fn.BIO_write(self.source, <void *>data, <int>size) != <int>size:
            self.close()
            raise MemoryError(f"{self.peer}: OpenSSL has no memory for {size} bytes")
        self.drained = False
        return 0

    cdef int write(self, const uint8_t *data, size_t size, Deadline deadline) except -1:
        cdef int rc, part, code
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
                with nogil:
                    fn.ERR_clear_error()
                    rc = fn.SSL_write(self.ssl, <void *>data, part)
                self._leave()
            else:
                fn.ERR_clear_error()
                rc = fn.SSL_write(self.ssl, <void *>data, part)
            if rc <= 0:
                code = fn.SSL_get_error(self.ssl, rc)
                raise self._failure(code, fn.ERR_get_error(), 0)
            data += rc
            size -= <size_t>rc
            self._flush(limit, deadline)
        return 0

    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, Deadline deadline) except -1:
        cdef int rc, code
        cdef int part = <int>capacity if capacity < CHUNK else CHUNK
        cdef int64_t limit = self._limit_ns if deadline is None else deadline.at_ns
        cdef char *_
        if self.closed:
            self._refuse()
        if self.holds_last_flight:
            self._flush(limit, deadline)
        # Bytes that are there by now do not count, or a server that sends one at a time could hold
        # a caller for ever.
        if limit and mk_monotonic_ns() >= limit:
            self._timed_out(POLLIN, limit, deadline)
        while True:
            if self.drained:
                self._fill(into, capacity, deadline)
            fn.ERR_clear_error()
            rc = fn.SSL_read(self.ssl, into, part)
            if rc > 0:
                self.data_received = True
                # A record that was read in part, or bytes of the next.
                self.drained = rc < part and fn.BIO_get_mem_data(self.source, &_) <= 0
                self.unread = not self.drained
                if self._ticket():
                    self._collect()
                return rc
            code = fn.SSL_get_error(self.ssl, rc)
            if code != SSL_ERROR_WANT_READ:
                raise self._failure(code, fn.ERR_get_error(), 0)
            # OpenSSL comes back after each message that is no data, such as a ticket.
            self.drained = fn.BIO_get_mem_data(self.source, &_) <= 0
            if self._ticket():
                self._collect()
            elif fn.BIO_get_mem_data(self.sink, &_) > 0:
                self._flush(limit, deadline)

    cpdef bint stale(self) except -1:
        cdef mk_pollfd one
        cdef uint8_t part[SMALL]
        cdef char *_
        cdef int64_t got
        cdef int rc
        if self.closed:
            return True
        # TLS 1.3 sends tickets unasked: only data, an end or an error is bad news.
        while True:
            if self.drained:
                one.fd = self._socket
                one.events = POLLIN
                one.revents = 0
                if mk_poll(&one, 1, 0) == 0:
                    return False
                got = mk_receive(self._socket, part, SMALL, False)
                if got == -MK_EAGAIN or got == -MK_EINTR:
                    return False
                if got <= 0:
                    self.broken = True
                    return True
                self._take_in(part, <size_t>got)
            fn.ERR_clear_error()
            rc = fn.SSL_read(self.ssl, part, 1)
            if rc > 0 or fn.SSL_get_error(self.ssl, rc) != SSL_ERROR_WANT_READ:
                self.broken = rc <= 0
                fn.ERR_clear_error()
                return True
            self.drained = fn.BIO_get_mem_data(self.source, &_) <= 0
            self._collect()

    # -- ends ---------------------------------------------------------------------------------

    cdef int _release(self) except -1:
        cdef void *ssl = self.ssl
        cdef char *data = NULL
        cdef long size
        self.ssl = NULL
        if ssl != NULL:
            fn.ERR_clear_error()
            if self.handshake_done and not self.broken and os.getpid() == self._pid:
                # close_notify: the server can tell an end from a cut. Its own is not waited for.
                fn.SSL_shutdown(ssl)
                size = fn.BIO_get_mem_data(self.sink, &data)
                if size > 0 and self._socket != MK_NO_SOCKET:
                    mk_send_last(self._socket, data, <size_t>size)
            # A session is not to be resumed, OpenSSL thinks, unless both sides said goodbye.
            fn.SSL_set_shutdown(ssl, SSL_SENT_AND_RECEIVED_SHUTDOWN)
            self.source = self.sink = NULL
            fn.SSL_free(ssl)
            fn.ERR_clear_error()
        return SocketStream._release(self)

    cdef int _lost(self, int64_t code, str doing) except -1:
        if self.data_received or self.ssl == NULL:
            self.broken = True
            return SocketStream._lost(self, code, doing)
        raise self._said_before_the_end(code)

    cdef object _said_before_the_end(self, int64_t code):
        """The error for a connection that broke: an alert that came before, or the break itself."""
        cdef uint8_t part[SMALL]
        cdef int64_t got = 0
        cdef int rc, why
        cdef unsigned long error
        if code != 0:
            # A write that failed: what the server said may lie in the socket still.
            got = mk_receive(self._socket, part, SMALL, False)
            if got > 0:
                self._take_in(part, <size_t>got)
        if not self.drained:
            fn.ERR_clear_error()
            rc = fn.SSL_read(self.ssl, part, 1)
            why = fn.SSL_get_error(self.ssl, rc)
            error = fn.ERR_get_error()
            if rc <= 0 and why == SSL_ERROR_SSL:
                return self._failure(why, error, 0)
        return self._failure(SSL_ERROR_SYSCALL, 0, code)

    cdef object _failure(self, int code, unsigned long error, int64_t system):
        """Close, and make the exception that says why; `system` is a negated error number."""
        cdef bint handshake_done = self.handshake_done
        cdef int reason = 0, verify = 0, alert = -1
        cdef str words = "", name = ""
        cdef bint ended = False
        cdef bytes shown = None
        lib, ffi = bindings()
        self.broken = True
        if code == SSL_ERROR_ZERO_RETURN:
            words, ended = "connection closed by the server", True
        elif error:
            reason = lib.ERR_GET_REASON(error)
            text = lib.ERR_reason_error_string(error)
            words = "" if text == ffi.NULL else ffi.string(text).decode("ascii", "replace")
            name = words.upper().replace(" ", "_")
            if reason == REASON_UNEXPECTED_EOF:
                words, ended = "connection closed by the server", True
            elif REASON_ALERT <= reason < REASON_ALERT + 256:
                alert = reason - REASON_ALERT
            elif reason == REASON_VERIFY_FAILED:
                verify = lib.SSL_get_verify_result(self._as_ssl())
                words = ffi.string(lib.X509_verify_cert_error_string(verify)).decode("ascii")
                chain = lib.SSL_get_peer_cert_chain(self._as_ssl())
                if chain != ffi.NULL and lib.sk_X509_num(chain) > 0:
                    one = lib.sk_X509_value(chain, 0)
                    shown = to_der(<void *><uintptr_t>int(ffi.cast("uintptr_t", one)))
        else:
            ended = True
            words = error_text(system) if system else "connection closed by the server"
        fn.ERR_clear_error()
        self._send_alert()
        facts = Facts(
            self.peer,
            words,
            handshake_done=handshake_done,
            reason=name,
            alert=alert if alert >= 0 else None,
            verify_code=verify,
            ended=ended,
            data_received=self.data_received,
            first_received=self.first_received,
            certificate=shown,
        )
        self.close()
        return failure(facts, self.tls, self.host)

    cdef int _send_alert(self) except -1:
        """Send the alert that tells the server why; it is not worth waiting for."""
        cdef char *data = NULL
        cdef long size
        if self.ssl != NULL and self._socket != MK_NO_SOCKET and os.getpid() == self._pid:
            size = fn.BIO_get_mem_data(self.sink, &data)
            if size > 0:
                mk_send_last(self._socket, data, <size_t>size)
        return 0

    # -- what was agreed ------------------------------------------------------------------------

    cdef int _open(self) except -1:
        if self.ssl == NULL:
            raise AutoReconnect(f"{self.peer}: the connection is closed")
        return 0

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


# The streams whose handshake is under way, by the address of their SSL, which is what OpenSSL calls
# back with.
cdef dict in_handshake = {}


cdef int check_server(void *ssl, void *_) noexcept nogil:
    """Called by OpenSSL when the server has proved who it is, before anything is said to that: the
    last messages of the handshake, and among them the client's certificate. 1 goes on, 0 sends
    the alert bad_certificate_status_response in their place (RFC 6066, section 8)."""
    if fn.SSL_session_reused(ssl) == 1:
        return 1  # what was found out in the handshake that it goes back to holds still
    with gil:
        return approve(<uintptr_t>ssl)


cdef int approve(uintptr_t key) noexcept:
    cdef OpenSSLStream stream = in_handshake.get(key)
    if stream is None:
        return 0
    try:
        stream._approve()
    except BaseException as error:
        # There is OpenSSL between here and who called: the handshake raises it.
        stream.refusal = error
        return 0
    return 1


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
    cdef OpenSSLStream wrapped
    cdef mk_socket fd = stream._detach()
    try:
        wrapped = OpenSSLStream.__new__(OpenSSLStream, fd, stream.peer)
    except BaseException:
        mk_close(fd)
        raise
    wrapped.timeout, wrapped.timeout_ns = stream.timeout, stream.timeout_ns
    wrapped.context = context
    wrapped.tls = tls
    wrapped.host = host
    wrapped._timeout_hint = silence(tls)
    stream._pass_on(wrapped)
    try:
        wrapped._start()
        wrapped._handshake(deadline)
        wrapped.holds_last_flight = True
        if not hold:
            wrapped._flush(wrapped._limit_ns if deadline is None else deadline.at_ns, deadline)
    except BaseException:
        wrapped.close()
        raise
    if fn.SSL_version(wrapped.ssl) >= TLS1_3_VERSION:
        # Not one that can be resumed: its ticket is still to come.
        wrapped.seen_session = fn.SSL_get_session(wrapped.ssl)
    else:
        wrapped._collect()
    return wrapped
