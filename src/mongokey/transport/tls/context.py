"""What the connections of one client share of TLS: its options made into a context, once.

Knows which of two ways TLS goes: OpenSSL by way of `cryptography`'s bindings (`openssl_context`),
or Python's ssl module for a context of the user's own and where the bindings do not fit. Must not
know connections.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings

from mongokey._support.lazy import late_imports
from mongokey.errors import ConfigurationError
from mongokey.transport.stream import monotonic_ns
from mongokey.transport.tls.trust import Trust

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import ssl
    from asyncio import AbstractEventLoop
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey.client_options import TLSOptions
    from mongokey.transport.loop_stream import LoopStream
    from mongokey.transport.polling import PolledSocket
    from mongokey.transport.stream import SocketStream, Stream
    from mongokey.transport.tls.files import ClientFiles, Identity, Trusted
    from mongokey.transport.tls.openssl_engine import OpenSSLEngine
    from mongokey.transport.tls.ssl_engine import SSLEngine


# As many as `openssl_engine` keeps.
_MOST_SESSIONS = 8


class _Kept:
    """A session of Python's ssl, and until when what its first handshake proved holds: in Unix
    time and in monotonic time (ns), as clocks are set back."""

    __slots__ = ("expires_s", "limit_ns", "once", "session")

    def __init__(self, session: ssl.SSLSession, expires_s: int, limit_ns: int, once: bool) -> None:
        self.session = session
        self.expires_s = expires_s
        self.limit_ns = limit_ns
        self.once = once


class Sessions:
    """What the connections by Python's ssl leave to be resumed, by server (peer)."""

    def __init__(self) -> None:
        self._kept: dict[str, list[_Kept]] = {}
        self._pid = os.getpid()

    def take(self, peer: str) -> _Kept | None:
        """A session for a new connection, the newest; one of TLS 1.3 is gone from here then."""
        if self._pid != os.getpid():
            # A forked child: what parent and child both used would not be used once.
            self._kept = {}
            self._pid = os.getpid()
        kept = self._kept.get(peer)
        while kept:
            one = kept[-1]
            over = time.time() >= one.expires_s or monotonic_ns() >= one.limit_ns
            if one.once or over:
                del kept[-1]
            if not over:
                return one
        return None

    def keep(
        self,
        peer: str,
        session: ssl.SSLSession | None,
        expires_s: int,
        limit_ns: int,
        once: bool,
    ) -> None:
        """Leave `session` for a later connection; `once`: it serves one only (TLS 1.3)."""
        if session is None or expires_s == 0 or self._pid != os.getpid():
            return
        kept = self._kept.setdefault(peer, [])
        if not once:
            kept.clear()
        kept.append(_Kept(session, expires_s, limit_ns, once))
        del kept[:-_MOST_SESSIONS]

    def forget(self, peer: str) -> None:
        """Have the next connection exchange certificates again."""
        self._kept.pop(peer, None)


class ClientTLS:
    """TLS as one client speaks it.

    :param options: the client's TLSOptions; an `ssl_context` in them is used as it is
    :param bindings: False to keep to Python's ssl module, as for a context of one's own
    :param warned: True where `warn_of_no_checks` was called already

    Raises `ConfigurationError`, naming the file and what is wrong with it. `engine` is
    ``"openssl"`` or ``"ssl"``; `subject` the client certificate's, as a MONGODB-X509 user is
    called, None where there is no certificate or it cannot be known.
    """

    def __init__(self, options: TLSOptions, *, bindings: bool = True, warned: bool = False) -> None:
        if not warned:
            warn_of_no_checks(options)
        self.options = options
        self.identity: Identity | None = None
        self.revocation: Any = None
        self.sessions = Sessions()
        self._context: Any = None
        own = options.ssl_context is not None
        files: ClientFiles | None = None
        if not own and (options.certificate_key_file or options.ca_file or options.crl_file):
            with late_imports:
                from mongokey.transport.tls.files import ClientFiles

            files = ClientFiles(options)
            self.identity = files.identity
        if own:
            self._context = options.ssl_context
        elif bindings:
            with late_imports:
                from mongokey.transport.tls.openssl_context import make_openssl_context

            self._context = make_openssl_context(options, files)
        self.engine = "ssl" if own or self._context is None else "openssl"
        if self._context is None:
            self._context = make_context(options, files)
        if self.identity is not None:
            self.identity.forget_key()
        self._wrap_openssl: Any = None
        if self.engine == "openssl":
            with late_imports:
                from mongokey.transport.tls.openssl_stream import wrap_openssl

            self._wrap_openssl = wrap_openssl
        # A context of the user's own that verifies nobody leaves nobody to ask about.
        verifies = (
            bool(getattr(self._context, "verify_mode", 0))
            if own
            else (not options.allow_invalid_certificates)
        )
        if verifies and not options.disable_certificate_revocation_check:
            with late_imports:
                from mongokey.transport.tls.ocsp import Revocation

            self.revocation = Revocation(endpoints=not options.disable_ocsp_endpoint_check)
        # VERIFY_CRL_CHECK_LEAF and VERIFY_CRL_CHECK_CHAIN: ssl does not show the lists it has.
        unknown_lists = own and bool(self._context.verify_flags & 0xC)
        lists: list[tuple[bytes, int | None]] = []
        if files is not None and files.lists is not None:
            for each in (files.authorities, files.lists):
                if each is not None:
                    lists += each.lists or ()
                    unknown_lists = unknown_lists or each.lists is None
        self.trust = Trust(verifies=verifies, lists=lists, unknown_lists=unknown_lists)

    @property
    def subject(self) -> str | None:
        """The client certificate's subject in RFC 2253 order, None without one."""
        return self.identity.subject if self.identity is not None else None

    @property
    def without_certificate(self) -> bool:
        """Whether no client certificate can be sent; False where that is not known."""
        return self.identity is None and self.options.ssl_context is None

    @property
    def may_ask(self) -> bool:
        """Whether a handshake may ask somebody else than the server, and wait for that: whether a
        certificate was revoked."""
        return self.revocation is not None and bool(self.revocation.endpoints)

    def load_ahead(self) -> None:
        """Load now what connections on an event loop need, and what tells why one failed."""
        with late_imports:
            from cryptography import x509  # noqa: F401

            from mongokey._support import certificates  # noqa: F401
            from mongokey.transport.tls import errors, hosts, system  # noqa: F401

            if self.engine == "openssl":
                from mongokey.transport.tls import openssl_engine, openssl_loop_stream  # noqa: F401
            else:
                from mongokey.transport.tls import ssl_engine, ssl_loop_stream  # noqa: F401

    def make_engine(self, host: str, peer: str) -> OpenSSLEngine | SSLEngine:
        """TLS with `host` without a socket, for who moves the bytes in a way of their own.

        `peer` names the server in errors, and its sessions. Raises `ConfigurationError` for a
        `host` that is neither a host name nor an address.
        """
        if self.engine == "openssl":
            with late_imports:
                from mongokey.transport.tls.openssl_engine import OpenSSLEngine

            return OpenSSLEngine(self, self._context, host, peer)
        with late_imports:
            from mongokey.transport.tls.ssl_engine import SSLEngine

        return SSLEngine(self, self._context, host, peer)

    def loop_stream(
        self,
        socket: PolledSocket,
        peer: str,
        loop: AbstractEventLoop,
        engine: OpenSSLEngine | SSLEngine,
    ) -> LoopStream:
        """The stream, served by an asyncio loop, that goes on with a socket and an engine of
        `make_engine` whose handshake is over."""
        if self.engine == "openssl":
            with late_imports:
                from mongokey.transport.tls.openssl_loop_stream import openssl_stream_of

            made: LoopStream = openssl_stream_of(socket, peer, loop, engine)  # type: ignore[arg-type]
            return made
        with late_imports:
            from mongokey.transport.tls.ssl_loop_stream import ssl_stream_of

        return ssl_stream_of(socket, peer, loop, engine)  # type: ignore[arg-type]

    def wrap(
        self, stream: SocketStream, host: str, deadline: Deadline | None, *, hold: bool = False
    ) -> Stream:
        """Do the handshake on `stream` and return the stream that takes its socket over.

        `hold` lets the handshake's last message go with the first bytes that are written, for
        who writes at once: one packet less (engine ``"openssl"`` only).

        Raises `TLSError`, `NetworkTimeout` or `AutoReconnect`; `stream` is closed then.
        """
        if self._wrap_openssl is not None:
            wrapped: Stream = self._wrap_openssl(
                stream, self, self._context, host, deadline=deadline, hold=hold
            )
            return wrapped
        with late_imports:
            from mongokey.transport.tls.ssl_stream import wrap_tls

        return wrap_tls(stream, self._context, host, deadline=deadline, tls=self)


def warn_of_no_checks(options: TLSOptions) -> None:
    """Tell a client's maker that its TLS checks less than everything."""
    if options.allow_invalid_certificates or options.allow_invalid_hostnames:
        what = "certificates" if options.allow_invalid_certificates else "host names"
        warnings.warn(
            f"TLS does not check {what}: whoever is between can read and change everything. "
            "For tests only",
            UserWarning,
            stacklevel=3,
        )


def make_context(options: TLSOptions, files: ClientFiles | None = None) -> ssl.SSLContext:
    """A context of Python's ssl for `options` and their `files`: TLS 1.2 or newer, chain and host
    name checked unless the options turn that off. Raises `ConfigurationError` naming the file that
    cannot be used. VERIFY_X509_STRICT stays off as in PyMongo: home-made authorities do not pass
    it."""
    with late_imports:
        import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Order matters: a context that does not check certificates may not check host names.
    if options.allow_invalid_hostnames or options.allow_invalid_certificates:
        context.check_hostname = False
    if options.allow_invalid_certificates:
        context.verify_mode = ssl.CERT_NONE
    if files is None and (options.certificate_key_file or options.ca_file or options.crl_file):
        with late_imports:
            from mongokey.transport.tls.files import ClientFiles

        files = ClientFiles(options)
    if files is not None and files.identity is not None:
        _use_identity(context, files.identity)
    if files is not None and files.authorities is not None:
        _load_trusted(context, files.authorities)
    elif not options.allow_invalid_certificates:
        _load_default(context)
    if files is not None and files.lists is not None:
        _load_trusted(context, files.lists)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _use_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Give the client's certificate and key to ssl, which reads them from a file only: the key in
    it is encrypted, with a password of this moment."""
    with late_imports:
        import binascii

        from mongokey.transport.tls.pem import as_file

    password = binascii.hexlify(os.urandom(32))
    try:
        with as_file(identity.as_pem(password)) as path:
            context.load_cert_chain(path, password=password)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"tlsCertificateKeyFile={identity.path!r} cannot be used ({error})"
        ) from None


def _load_default(context: ssl.SSLContext) -> None:
    with late_imports:
        import ssl

        from mongokey.transport.tls.system import DIRECTORY, FILE, SystemAuthorities, no_authorities

    if sys.platform == "win32" and not (os.environ.get(FILE) or os.environ.get(DIRECTORY)):
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    system = SystemAuthorities()
    file = system.opened()
    if file is not None:
        # One that cannot be loaded is none: what is missing is said below, or by the handshake.
        with file as name, contextlib.suppress(OSError, ValueError):
            context.load_verify_locations(cafile=name)
    for directory in system.directories:
        context.load_verify_locations(capath=directory)
    if not context.cert_store_stats()["x509_ca"] and not system.directories:
        raise no_authorities()


def _load_trusted(context: ssl.SSLContext, trusted: Trusted) -> None:
    try:
        with trusted.opened() as path:
            if os.path.isdir(path):
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
    except (OSError, ValueError):
        with late_imports:
            from mongokey.transport.tls.files import explain_trusted

        raise explain_trusted(trusted) from None


__all__ = ["ClientTLS", "make_context", "warn_of_no_checks"]
