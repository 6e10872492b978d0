"""Says why a connection broke before the server's hello: another protocol, or want of TLS.

Knows what the server sent, how the connection ended and what this process has tried with that
server before: facts at hand. It must not connect again to find out more.
"""

from __future__ import annotations

from mongokey._support.lazy import late_imports
from mongokey.errors import MongoError, NetworkTimeout, ProtocolError, TLSError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Protocol

    from mongokey._support.address import AddressLike
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.handshake import HelloReply

    class BrokenStream(Protocol):
        """How a connection ended."""

        @property
        def peer(self) -> str: ...
        @property
        def lost(self) -> bool: ...
        @property
        def last_words(self) -> bytes: ...

    class BrokenConnection(Protocol):
        """A connection that broke: one of a pool, or a monitor's."""

        @property
        def hello(self) -> HelloReply | None: ...
        @property
        def stream(self) -> BrokenStream: ...
        def received_bytes(self, most: int, /) -> bytes: ...


# RFC 8446, section 5.1: the type of a record (alert, handshake), then version 3 of old.
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")


def detect_missing_tls(
    error: MongoError,
    settings: ConnectionSettings,
    address: AddressLike,
    connection: BrokenConnection | None,
) -> TLSError | ProtocolError | None:
    """The better error for `error`, or None where nothing more is known.

    A server whose first bytes are another protocol's, or TLS, surely speaks that (the error is
    permanent). One that says nothing and hangs up may want TLS, unless it has answered this client
    before.
    """
    if connection is None or connection.hello is not None:
        return None
    with late_imports:
        from mongokey.transport.other_protocols import ENOUGH, recognize

    received = connection.received_bytes(ENOUGH) or connection.stream.last_words
    peer = connection.stream.peer
    if settings.tls is None and address[1] is not None:
        with late_imports:
            from mongokey.transport.tls.errors import plain_answer

        if received[:2] in _TLS_RECORDS:
            return plain_answer(peer, True)
        lost = connection.stream.lost and not isinstance(error, NetworkTimeout)
        if not received and lost and address not in settings.hello_seen:
            return plain_answer(peer, False)
    speaks = recognize(received)
    return None if speaks is None else ProtocolError(f"{peer}: this port {speaks}", permanent=True)


__all__ = ["detect_missing_tls"]
