"""Byte streams to servers: TCP, Unix sockets and TLS, blocking, with deadlines.

It knows sockets, name look-up, which address to try when (RFC 8305) and how to wait. It must not
know what the bytes mean. `ssl` and `socket` are loaded only when a stream becomes a TLS stream.
"""

from __future__ import annotations

from mongokey._lazy import loader

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.stream._connect import connect
    from mongokey.stream._stream import SocketStream, Stream, monotonic_ns
    from mongokey.stream._tls import SSLStream, wrap_tls

__all__ = ["SSLStream", "SocketStream", "Stream", "connect", "monotonic_ns", "wrap_tls"]

__getattr__ = loader(
    __name__,
    dict.fromkeys(("SocketStream", "Stream", "monotonic_ns"), "mongokey.stream._stream")
    | dict.fromkeys(("SSLStream", "wrap_tls"), "mongokey.stream._tls")
    | {"connect": "mongokey.stream._connect"},
)
