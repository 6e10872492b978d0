"""What the connections of one client share of TLS: its options made into a context, once.

Knows which of two ways TLS goes: OpenSSL by way of `cryptography`'s bindings (`tls_openssl`), or
Python's ssl module for a context of the user's own and where the bindings do not fit. Must not
know connections.
"""

from __future__ import annotations

import os
import sys
import time
import warnings

from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from mongokey.client_options import TLSOptions
    from mongokey.stream._stream import SocketStream, Stream
    from mongokey.stream.tls_files import Identity


# As many as `_openssl` keeps.
_MOST_SESSIONS = 8


class _Kept:
    """A session of Python's ssl, and when it is to be dropped (Unix time; 0: never)."""

    __slots__ = ("expires_s", "once", "session")

    def __init__(self, session: ssl.SSLSession, expires_s: int, once: bool) -> None:
        self.session = session
        self.expires_s = expires_s
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
            if one.once or (one.expires_s and time.time() >= one.expires_s):
                del kept[-1]
            if not one.expires_s or time.time() < one.expires_s:
                return one
        return None

    def keep(self, peer: str, session: ssl.SSLSession | None, expires_s: int, once: bool) -> None:
        """Leave `session` for a later connection; `once`: it serves one only (TLS 1.3)."""
        if session is None or self._pid != os.getpid():
            return
        kept = self._kept.setdefault(peer, [])
        if not once:
            kept.clear()
        kept.append(_Kept(session, expires_s, once))
        del kept[:-_MOST_SESSIONS]

    def forget(self, peer: str) -> None:
        """Have the next connection exchange certificates again."""
        self._kept.pop(peer, None)


class ClientTLS:
    """TLS as one client speaks it.

    :param options: the client's TLSOptions; an `ssl_context` in them is used as it is
    :param bindings: False to keep to Python's ssl module, as for a context of one's own

    Raises `ConfigurationError`, naming the file and what is wrong with it. `engine` is
    ``"openssl"`` or ``"ssl"``; `subject` the client certificate's, as a MONGODB-X509 user is
    called, None where there is no certificate or it cannot be known.
    """

    def __init__(self, options: TLSOptions, *, bindings: bool = True) -> None:
        self.options = options
        self.identity: Identity | None = None
        self.revocation: Any = None
        self.sessions = Sessions()
        self._context: Any = None
        if options.allow_invalid_certificates or options.allow_invalid_hostnames:
            what = "certificates" if options.allow_invalid_certificates else "host names"
            warnings.warn(
                f"TLS does not check {what}: whoever is between can read and change everything. "
                "For tests only",
                UserWarning,
                stacklevel=2,
            )
        if options.ssl_context is None and options.certificate_key_file:
            from mongokey.stream.tls_files import read_identity

            self.identity = read_identity(
                options.certificate_key_file, options.certificate_key_file_password
            )
        if options.ssl_context is not None:
            self._context = options.ssl_context
        elif bindings:
            from mongokey.stream.tls_openssl import make_openssl_context

            self._context = make_openssl_context(options, self.identity)
        own = options.ssl_context is not None
        self.engine = "ssl" if own or self._context is None else "openssl"
        if self._context is None:
            self._context = make_context(options)
        self._wrap_openssl: Any = None
        if self.engine == "openssl":
            from mongokey.stream._openssl import wrap_openssl

            self._wrap_openssl = wrap_openssl
        # A context of the user's own that verifies nobody leaves nobody to ask about.
        verifies = (
            bool(getattr(self._context, "verify_mode", 0))
            if own
            else (not options.allow_invalid_certificates)
        )
        if verifies and not options.disable_certificate_revocation_check:
            from mongokey.stream.ocsp import Revocation

            self.revocation = Revocation(endpoints=not options.disable_ocsp_endpoint_check)

    @property
    def subject(self) -> str | None:
        """The client certificate's subject in RFC 2253 order, None without one."""
        return self.identity.subject if self.identity is not None else None

    @property
    def without_certificate(self) -> bool:
        """Whether no client certificate can be sent; False where that is not known."""
        return self.identity is None and self.options.ssl_context is None

    def wrap(
        self, stream: SocketStream, host: str, deadline_ns: int, *, hold: bool = False
    ) -> Stream:
        """Do the handshake on `stream` and return the stream that takes its socket over.

        `hold` lets the handshake's last message go with the first bytes that are written, for
        who writes at once: one packet less (engine ``"openssl"`` only).

        Raises `TLSError`, `NetworkTimeout` or `AutoReconnect`; `stream` is closed then.
        """
        if self._wrap_openssl is not None:
            wrapped: Stream = self._wrap_openssl(
                stream, self, self._context, host, deadline_ns=deadline_ns, hold=hold
            )
            return wrapped
        from mongokey.stream._tls import wrap_tls

        return wrap_tls(stream, self._context, host, deadline_ns=deadline_ns, tls=self)


def make_context(options: TLSOptions) -> ssl.SSLContext:
    """A context of Python's ssl for `options`: TLS 1.2 or newer, chain and host name checked
    unless the options turn that off. Raises `ConfigurationError` naming the file that cannot be
    used. VERIFY_X509_STRICT stays off as in PyMongo: home-made authorities do not pass it."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Order matters: a context that does not check certificates may not check host names.
    if options.allow_invalid_hostnames or options.allow_invalid_certificates:
        context.check_hostname = False
    if options.allow_invalid_certificates:
        context.verify_mode = ssl.CERT_NONE
    if options.certificate_key_file:
        password = options.certificate_key_file_password
        try:
            # Without a password an encrypted key would make OpenSSL ask at the terminal.
            context.load_cert_chain(options.certificate_key_file, password=password or (lambda: ""))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"tlsCertificateKeyFile={options.certificate_key_file!r} cannot be used ({error})"
            ) from None
    if options.ca_file:
        _load_authorities(context, options.ca_file, "tlsCAFile")
    elif not options.allow_invalid_certificates:
        _load_default(context)
    if options.crl_file:
        _load_authorities(context, options.crl_file, "tlsCRLFile")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _load_default(context: ssl.SSLContext) -> None:
    import ssl

    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if sys.platform == "win32" and (file or directory):
        # There load_default_certs would add the system's store to those named.
        context.load_verify_locations(cafile=file or None, capath=directory or None)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if not context.cert_store_stats()["x509_ca"] and not has_hashed_files(
        ssl.get_default_verify_paths().capath
    ):
        raise no_authorities()


def has_hashed_files(directory: str | None) -> bool:
    """Whether a directory has certificates under the names OpenSSL looks them up by."""
    if not directory:
        return False
    try:
        with os.scandir(directory) as entries:
            return any(len(e.name) == 10 and e.name[8] == "." for e in entries)
    except OSError:
        return False


def no_authorities() -> ConfigurationError:
    """The error for a machine that trusts no authority at all."""
    how = (
        "run 'Install Certificates.command' of that Python"
        if sys.platform == "darwin"
        else "install the system's ca-certificates"
    )
    return ConfigurationError(
        "TLS: this machine has no certificate of any authority, so no server can be verified: "
        f"{how}, or name a file with them (tlsCAFile=certifi.where(), SSL_CERT_FILE)"
    )


def _load_authorities(context: ssl.SSLContext, path: str, option: str) -> None:
    from os.path import isdir

    try:
        if isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ValueError):
        from mongokey.stream.tls_files import explain_authorities

        raise explain_authorities(path, option) from None


__all__ = ["ClientTLS", "make_context"]
