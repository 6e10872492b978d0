"""Makes OpenSSL's SSL_CTX of a client by way of `cryptography`'s bindings.

Knows the bindings, trust stores and the options that become settings. Must not know sockets:
`_openssl` drives connections, by the functions' addresses that it is given here once. Where the
bindings are not as expected, `make_openssl_context` says so by None, and Python's ssl is used.
"""

from __future__ import annotations

import os
import sys

from mongokey.errors import ConfigurationError
from mongokey.stream._libssl import load_functions
from mongokey.stream._openssl import OpenSSLContext
from mongokey.stream.tls_context import has_hashed_files, no_authorities

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.client_options import TLSOptions
    from mongokey.stream.tls_files import Identity

_TLS_1_2 = 0x0303
_VERIFY_NONE, _VERIFY_PEER = 0, 1
_CRL_CHECK = 0x4
# Not offered by the bindings by name: ssl.h
_CACHE_OFF = 0


def make_openssl_context(options: TLSOptions, identity: Identity | None) -> OpenSSLContext | None:
    """The context for `options`, or None where the bindings do not fit.

    TLS 1.2 or newer, chain and host name checked unless the options turn that off; neither
    compression nor renegotiation. Raises `ConfigurationError` for files that cannot be used.
    """

    try:
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
    # So that each ticket that comes before the data can be taken: see `_openssl`.
    lib.SSL_CTX_clear_mode(owner, lib.SSL_MODE_AUTO_RETRY)
    lib.SSL_CTX_set_session_cache_mode(owner, _CACHE_OFF)
    checked = not options.allow_invalid_certificates
    lib.SSL_CTX_set_verify(owner, _VERIFY_PEER if checked else _VERIFY_NONE, ffi.NULL)
    if identity is not None:
        _use_identity(lib, ffi, owner, identity, options.certificate_key_file_password)
    if options.ca_file:
        _load_file(lib, ffi, owner, options.ca_file, "tlsCAFile")
    elif checked:
        _load_default(lib, ffi, owner)
    if options.crl_file:
        _load_file(lib, ffi, owner, options.crl_file, "tlsCRLFile")
        lib.X509_STORE_set_flags(lib.SSL_CTX_get_cert_store(owner), _CRL_CHECK)
    lib.ERR_clear_error()
    check_hosts = checked and not options.allow_invalid_hostnames
    return OpenSSLContext(owner, int(ffi.cast("uintptr_t", pointer)), check_hosts)


def _use_identity(
    lib: Any, ffi: Any, context: Any, identity: Identity, password: str | None
) -> None:
    def refuse(what: str) -> ConfigurationError:
        number = lib.ERR_peek_error()
        said = ffi.string(lib.ERR_reason_error_string(number)).decode() if number else "no reason"
        lib.ERR_clear_error()
        return ConfigurationError(
            f"tlsCertificateKeyFile={identity.path!r} cannot be used: OpenSSL does not take {what} "
            f"({said})"
        )

    memory = ffi.from_buffer(identity.pem)
    # A password that is not NULL keeps OpenSSL from asking at the terminal.
    secret = ffi.new("char[]", (password or "").encode())
    source = ffi.gc(lib.BIO_new_mem_buf(memory, len(identity.pem)), lib.BIO_free)
    first = True
    while True:
        certificate = lib.PEM_read_bio_X509(source, ffi.NULL, ffi.NULL, secret)
        if certificate == ffi.NULL:
            break
        if first:
            taken = lib.SSL_CTX_use_certificate(context, certificate)
            lib.X509_free(certificate)
        else:
            # On success the chain owns it.
            taken = lib.SSL_CTX_add_extra_chain_cert(context, certificate)
            if taken != 1:
                lib.X509_free(certificate)
        if taken != 1:
            raise refuse("a certificate in it")
        first = False
    lib.ERR_clear_error()  # the last read ended at the end of the file
    source = ffi.gc(lib.BIO_new_mem_buf(memory, len(identity.pem)), lib.BIO_free)
    key = lib.PEM_read_bio_PrivateKey(source, ffi.NULL, ffi.NULL, secret)
    ffi.memmove(secret, bytes(len(secret)), len(secret))
    if key == ffi.NULL:
        raise refuse("its private key")
    taken = lib.SSL_CTX_use_PrivateKey(context, key)
    lib.EVP_PKEY_free(key)
    if taken != 1 or lib.SSL_CTX_check_private_key(context) != 1:
        raise refuse("its private key")


def _load_file(lib: Any, ffi: Any, context: Any, path: str, option: str) -> None:
    from mongokey.stream.tls_files import explain_authorities

    name = os.fsencode(path)
    if b"\0" in name:
        raise explain_authorities(path, option)
    if os.path.isdir(path):
        taken = lib.SSL_CTX_load_verify_locations(context, ffi.NULL, name)
    else:
        taken = lib.SSL_CTX_load_verify_locations(context, name, ffi.NULL)
    lib.ERR_clear_error()
    if taken != 1:
        raise explain_authorities(path, option)


def _load_default(lib: Any, ffi: Any, context: Any) -> None:
    """The authorities that Python's own OpenSSL trusts; the bindings' OpenSSL was built
    elsewhere and looks in places that are not this system's."""
    import ssl

    loaded = False
    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if sys.platform == "win32" and not (file or directory):
        loaded = _load_windows(lib, ffi, context)
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        taken = lib.SSL_CTX_load_verify_locations(context, os.fsencode(paths.cafile), ffi.NULL)
        loaded = taken == 1 or loaded
    if has_hashed_files(paths.capath):
        assert paths.capath is not None
        taken = lib.SSL_CTX_load_verify_locations(context, ffi.NULL, os.fsencode(paths.capath))
        loaded = taken == 1 or loaded
    lib.ERR_clear_error()
    if not loaded:
        raise no_authorities()


def _load_windows(lib: Any, ffi: Any, context: Any) -> bool:
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
