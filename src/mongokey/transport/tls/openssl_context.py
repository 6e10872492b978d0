"""Makes OpenSSL's SSL_CTX of a client by way of `cryptography`'s bindings.

Knows the bindings, trust stores and the options that become settings. Must not know sockets:
`openssl_engine` drives connections, by the functions' addresses that it is given here once. Where
the bindings are not as expected, `make_openssl_context` says so by None, and Python's ssl is used.
"""

from __future__ import annotations

import os
import sys

from cryptography.hazmat.primitives.serialization import Encoding

from mongokey._support.lazy import late_imports
from mongokey._support.secrets import Secret
from mongokey.errors import ConfigurationError
from mongokey.transport.tls.libssl import load_functions
from mongokey.transport.tls.openssl_engine import OpenSSLContext
from mongokey.transport.tls.system import DIRECTORY, FILE, SystemAuthorities, no_authorities

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.client_options import TLSOptions
    from mongokey.transport.tls.files import ClientFiles, Identity, Trusted

_TLS_1_2 = 0x0303
_VERIFY_NONE, _VERIFY_PEER = 0, 1
_CRL_CHECK = 0x4
# Not offered by the bindings by name: ssl.h
_CACHE_OFF = 0


def make_openssl_context(options: TLSOptions, files: ClientFiles | None) -> OpenSSLContext | None:
    """The context for `options` with their `files`, or None where the bindings do not fit.

    TLS 1.2 or newer, chain and host name checked unless the options turn that off; neither
    compression nor renegotiation. Raises `ConfigurationError` for files that cannot be used.
    """

    try:
        with late_imports:
            from cryptography.hazmat.bindings._rust import _openssl
    except ImportError:
        return None
    lib, ffi = _openssl.lib, _openssl.ffi
    if not load_functions(lib, ffi):
        return None
    pointer = lib.SSL_CTX_new(lib.TLS_method())
    if pointer == ffi.NULL:
        raise MemoryError("OpenSSL has no memory for a context")
    owner = ffi.gc(pointer, lib.SSL_CTX_free)
    lib.SSL_CTX_set_min_proto_version(owner, _TLS_1_2)
    lib.SSL_CTX_set_options(owner, lib.SSL_OP_NO_COMPRESSION | lib.SSL_OP_NO_RENEGOTIATION)
    lib.SSL_CTX_set_mode(owner, lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
    # So that each ticket that comes before the data can be taken: see `openssl_engine`.
    lib.SSL_CTX_clear_mode(owner, lib.SSL_MODE_AUTO_RETRY)
    lib.SSL_CTX_set_session_cache_mode(owner, _CACHE_OFF)
    checked = not options.allow_invalid_certificates
    lib.SSL_CTX_set_verify(owner, _VERIFY_PEER if checked else _VERIFY_NONE, ffi.NULL)
    if files is not None and files.identity is not None:
        _use_identity(lib, ffi, owner, files.identity)
    if files is not None and files.authorities is not None:
        _load_trusted(lib, ffi, owner, files.authorities)
    elif checked:
        _load_default(lib, ffi, owner)
    if files is not None and files.lists is not None:
        _load_trusted(lib, ffi, owner, files.lists)
        lib.X509_STORE_set_flags(lib.SSL_CTX_get_cert_store(owner), _CRL_CHECK)
    lib.ERR_clear_error()
    check_hosts = checked and not options.allow_invalid_hostnames
    return OpenSSLContext(owner, int(ffi.cast("uintptr_t", pointer)), check_hosts)


def _use_identity(lib: Any, ffi: Any, context: Any, identity: Identity) -> None:
    def refuse(what: str) -> ConfigurationError:
        number = lib.ERR_peek_error()
        said = ffi.string(lib.ERR_reason_error_string(number)).decode() if number else "no reason"
        lib.ERR_clear_error()
        return ConfigurationError(
            f"tlsCertificateKeyFile={identity.path!r} cannot be used: OpenSSL does not take {what} "
            f"({said})"
        )

    for number, each in enumerate(identity.chain):
        der = each.public_bytes(Encoding.DER)
        source = ffi.gc(lib.BIO_new_mem_buf(ffi.from_buffer(der), len(der)), lib.BIO_free)
        certificate = lib.d2i_X509_bio(source, ffi.NULL)
        if certificate == ffi.NULL:
            raise refuse("a certificate in it")
        if number == 0:
            taken = lib.SSL_CTX_use_certificate(context, certificate)
            lib.X509_free(certificate)
        else:
            # On success the chain owns it.
            taken = lib.SSL_CTX_add_extra_chain_cert(context, certificate)
            if taken != 1:
                lib.X509_free(certificate)
        if taken != 1:
            raise refuse("a certificate in it")
    secret = Secret(identity.key_der())
    try:
        memory = ffi.from_buffer(secret.reveal())
        source = ffi.gc(lib.BIO_new_mem_buf(memory, len(memory)), lib.BIO_free)
        key = lib.d2i_PrivateKey_bio(source, ffi.NULL)
    finally:
        secret.reveal()[:] = bytes(len(secret.reveal()))
    if key == ffi.NULL:
        raise refuse("its private key")
    taken = lib.SSL_CTX_use_PrivateKey(context, key)
    lib.EVP_PKEY_free(key)
    if taken != 1 or lib.SSL_CTX_check_private_key(context) != 1:
        raise refuse("its private key")


def _load_trusted(lib: Any, ffi: Any, context: Any, trusted: Trusted) -> None:
    with trusted.opened() as name:
        if os.path.isdir(name):
            taken = lib.SSL_CTX_load_verify_locations(context, ffi.NULL, os.fsencode(name))
        else:
            taken = lib.SSL_CTX_load_verify_locations(context, os.fsencode(name), ffi.NULL)
    lib.ERR_clear_error()
    if taken != 1:
        with late_imports:
            from mongokey.transport.tls.files import explain_trusted

        raise explain_trusted(trusted)


def _load_default(lib: Any, ffi: Any, context: Any) -> None:
    """The authorities that Python's own OpenSSL trusts; the bindings' OpenSSL was built
    elsewhere and looks in places that are not this system's."""
    loaded = False
    if sys.platform == "win32" and not (os.environ.get(FILE) or os.environ.get(DIRECTORY)):
        loaded = _load_windows(lib, ffi, context)
    system = SystemAuthorities()
    file = system.opened()
    if file is not None:
        with file as name:
            taken = lib.SSL_CTX_load_verify_locations(context, os.fsencode(name), ffi.NULL)
        loaded = taken == 1 or loaded
    for directory in system.directories:
        taken = lib.SSL_CTX_load_verify_locations(context, ffi.NULL, os.fsencode(directory))
        loaded = taken == 1 or loaded
    lib.ERR_clear_error()
    if not loaded:
        raise no_authorities()


def _load_windows(lib: Any, ffi: Any, context: Any) -> bool:
    with late_imports:
        import ssl

    loaded = False
    store = lib.SSL_CTX_get_cert_store(context)
    for name in ("CA", "ROOT"):
        for der, encoding, trust in ssl.enum_certificates(name):  # type: ignore[attr-defined]
            if encoding != "x509_asn" or not (
                trust is True or ssl.Purpose.SERVER_AUTH.oid in trust
            ):
                continue
            source = ffi.gc(lib.BIO_new_mem_buf(ffi.from_buffer(der), len(der)), lib.BIO_free)
            certificate = lib.d2i_X509_bio(source, ffi.NULL)
            if certificate != ffi.NULL:
                loaded = lib.X509_STORE_add_cert(store, certificate) == 1 or loaded
                lib.X509_free(certificate)
    return loaded


__all__ = ["make_openssl_context"]
