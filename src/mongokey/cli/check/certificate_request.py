"""What a server asks of client certificates: TLS 1.2 says so in the clear (RFC 5246, 7.4.4).

Knows records and handshake messages just enough to find the CertificateRequest in a server's answer
to a greeting. Every length is checked before use. Must not know who asks, nor send a certificate.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

from mongokey._support.certificates import distinguished_name

_HANDSHAKE = 22
_CERTIFICATE_REQUEST = 13
_SERVER_HELLO_DONE = 14
# The answer holds a chain and a list of names: a bound for what is read of it.
_MOST = 256 * 1024


class Request(NamedTuple):
    """A server's request: the names of the authorities it accepts certificates of, RFC 2253."""

    authorities: list[str]


def read_request(plain: socket.socket, host: str) -> Request | None:
    """Greet the server in TLS 1.2 and read its request; None where it makes none, or speaks
    TLS 1.3 only. The socket's timeout bounds each wait; the handshake is not finished."""
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
            part = plain.recv(16384)
            if not part:
                return None
            data += part
    except (OSError, ValueError):
        return None
    return None


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


__all__ = ["Request", "read_request"]
