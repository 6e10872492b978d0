"""Byte streams to servers: TCP, Unix sockets and TLS, blocking, with deadlines.

It knows sockets, name look-up, which address to try when (RFC 8305) and how to wait. It must not
know what the bytes mean. `ssl` and `socket` are loaded only when a stream becomes a TLS stream.
"""

from __future__ import annotations

from mongokey._support.lazy import loader

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.transport.connecting import connect
    from mongokey.transport.stream import SocketStream, Stream, monotonic_ns
    from mongokey.transport.tls.ssl_stream import SSLStream, wrap_tls

__all__ = ["SSLStream", "SocketStream", "Stream", "connect", "monotonic_ns", "wrap_tls"]

__getattr__ = loader(
    __name__,
    dict.fromkeys(("SocketStream", "Stream", "monotonic_ns"), "mongokey.transport.stream")
    | dict.fromkeys(("SSLStream", "wrap_tls"), "mongokey.transport.tls.ssl_stream")
    | {"connect": "mongokey.transport.connecting"},
)
