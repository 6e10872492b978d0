"""What a server asks of client certificates, by a greeting that ends once it has said so.

TLS 1.2 says so in the clear (RFC 5246, 7.4.4): knows records and handshake messages just enough to
find the CertificateRequest. TLS 1.3 encrypts it (RFC 8446, 4.3.2): there OpenSSL reads it, by way
of `cryptography`'s bindings, as Python's ssl has no function for it. Every length is checked before
use. Must not know who asks, nor send a certificate.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

from mongokey._support.certificates import distinguished_name
from mongokey._support.deadline import Deadline

_HANDSHAKE = 22
_CERTIFICATE_REQUEST = 13
_SERVER_HELLO_DONE = 14
# The answer holds a chain and a list of names: a bound for what is read of it.
_MOST = 256 * 1024


class Request(NamedTuple):
    """A server's request: the names of the authorities it accepts certificates of, RFC 2253."""

    authorities: list[str]


def read_request(plain: socket.socket, host: str, deadline: Deadline) -> Request | None:
    """Greet the server in TLS 1.2 and read its request; None where it makes none, or speaks
    TLS 1.3 only. The handshake is not finished."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        engine = context.wrap_bio(incoming, outgoing, server_hostname=host)
        with contextlib.suppress(ssl.SSLWantReadError):
            engine.do_handshake()
        plain.sendall(outgoing.read())
        data = b""
        while len(data) < _MOST:
            for kind, body in _messages(data):
                if kind == _CERTIFICATE_REQUEST:
                    return Request(_authorities(body))
                if kind == _SERVER_HELLO_DONE:
                    return None
            part = _receive(plain, deadline)
            if not part:
                return None
            data += part
    except (OSError, ValueError):
        return None
    return None


def _receive(plain: socket.socket, deadline: Deadline) -> bytes:
    """What comes next, b"" for the end; no drip of single bytes makes it last longer."""
    left = deadline.left_s
    if left <= 0:
        raise TimeoutError
    plain.settimeout(left)
    return plain.recv(16384)


def read_request_of_tls_1_3(plain: socket.socket, host: str, deadline: Deadline) -> Request | None:
    """The same in TLS 1.3; None where no names are told, or `cryptography` has no bindings for it.

    The handshake is finished without a certificate, which a server that wants one refuses then.
    """
    found = _bindings()
    if found is None:
        return None
    lib, ffi = found
    context = ffi.gc(lib.SSL_CTX_new(lib.TLS_method()), lib.SSL_CTX_free)
    lib.SSL_CTX_set_verify(context, lib.SSL_VERIFY_NONE, ffi.NULL)
    engine = ffi.gc(lib.SSL_new(context), lib.SSL_free)
    incoming, outgoing = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
    lib.SSL_set_bio(engine, incoming, outgoing)  # they are the engine's from here on
    lib.SSL_set_connect_state(engine)
    buffer = ffi.new("char[]", 16384)
    received = 0
    try:
        if not host.replace(".", "").isdigit() and ":" not in host:
            lib.SSL_set_tlsext_host_name(engine, host.encode("idna"))
        while received < _MOST:
            done = lib.SSL_do_handshake(engine)
            wanted = lib.SSL_get_error(engine, done)
            lib.ERR_clear_error()
            while (size := lib.BIO_read(outgoing, buffer, 16384)) > 0:
                plain.sendall(ffi.buffer(buffer, size)[:])
            if done == 1 or wanted != lib.SSL_ERROR_WANT_READ:
                break
            part = _receive(plain, deadline)
            if not part:
                break
            received += len(part)
            lib.BIO_write(incoming, part, len(part))
    except (OSError, ValueError):
        return None
    names = _names_in(lib, ffi, lib.SSL_get_client_CA_list(engine))
    return Request(names) if names else None


def _bindings() -> tuple[Any, Any] | None:
    try:
        from cryptography.hazmat.bindings.openssl.binding import Binding
    except ImportError:
        return None
    lib, ffi = Binding.lib, Binding.ffi
    # They are not public: what is not there, or is called otherwise, is done without.
    for name, signature in _SIGNATURES.items():
        if str(ffi.typeof(getattr(lib, name, ffi.NULL))) != f"<ctype '{signature}'>":
            return None
    return lib, ffi


_NAMES = "Cryptography_STACK_OF_X509_NAME *"
_SIGNATURES = {
    "SSL_get_client_CA_list": f"{_NAMES}(*)(SSL *)",
    "sk_X509_NAME_num": f"int(*)({_NAMES})",
    "sk_X509_NAME_value": f"X509_NAME *(*)({_NAMES}, int)",
    "i2d_X509_NAME": "int(*)(X509_NAME *, unsigned char * *)",
    "OPENSSL_free": "void(*)(void *)",
    "SSL_do_handshake": "int(*)(SSL *)",
    "SSL_get_error": "int(*)(SSL *, int)",
    "BIO_read": "int(*)(BIO *, void *, int)",
    "BIO_write": "int(*)(BIO *, void *, int)",
}


def _names_in(lib: Any, ffi: Any, stack: Any) -> list[str]:
    """The names in OpenSSL's list of them; it stays the engine's."""
    if stack == ffi.NULL:
        return []
    names = []
    for at in range(max(lib.sk_X509_NAME_num(stack), 0)):
        written = ffi.new("unsigned char **")
        size = lib.i2d_X509_NAME(lib.sk_X509_NAME_value(stack, at), written)
        if size <= 0:
            continue
        try:
            name = _name(bytes(ffi.buffer(written[0], size)))
        finally:
            lib.OPENSSL_free(written[0])
        if name is not None:
            names.append(name)
    return names


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole handshake messages in `data`, which are TLS records."""
    stream = b""
    at = 0
    while at + 5 <= len(data):
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if at + 5 + size > len(data):
            break
        if data[at] != _HANDSHAKE:
            return
        stream += data[at + 5 : at + 5 + size]
        at += 5 + size
    at = 0
    while at + 4 <= len(stream):
        size = int.from_bytes(stream[at + 1 : at + 4], "big")
        if at + 4 + size > len(stream):
            return
        yield stream[at], stream[at + 4 : at + 4 + size]
        at += 4 + size


def _authorities(body: bytes) -> list[str]:
    """The names in a CertificateRequest, after its types and its signature algorithms."""
    if not body:
        return []
    at = 1 + body[0]
    if at + 2 > len(body):
        return []
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    if at + 2 > len(body):
        return []
    end = min(len(body), at + 2 + int.from_bytes(body[at : at + 2], "big"))
    at += 2
    names = []
    while at + 2 <= end:
        size = int.from_bytes(body[at : at + 2], "big")
        der = body[at + 2 : at + 2 + size]
        at += 2 + size
        if len(der) == size and (name := _name(der)) is not None:
            names.append(name)
    return names


def _name(der: bytes) -> str | None:
    """A distinguished name in DER, written as RFC 2253 has it."""
    from mongokey.cli.check.der_names import load_name

    name = load_name(der)
    return None if name is None else distinguished_name(name)


__all__ = ["Request", "read_request", "read_request_of_tls_1_3"]
