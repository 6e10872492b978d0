"""Says whether a connection that broke before the server's hello broke for want of TLS.

Knows what the server sent, how the connection ended and whether this client has talked to that
server before: facts at hand. It must not connect again to find out more.
"""

from __future__ import annotations

from mongokey.errors import MongoError, NetworkTimeout, TLSError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.connection._connection import Connection
    from mongokey.connection.establish import Address, ConnectionSettings

# RFC 8446, section 5.1: the type of a record (alert, handshake), then version 3 of old.
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")


def clear_up(
    error: MongoError,
    settings: ConnectionSettings,
    address: Address,
    connection: Connection | None,
) -> TLSError | None:
    """The better error for `error`, or None where TLS is not, or not known to be, the cause.

    A server that answers in TLS surely speaks it (the error is permanent). One that says nothing
    and hangs up most likely does, unless it has answered this client before.
    """
    if settings.tls is not None or connection is None or connection.hello is not None:
        return None
    if address[1] is None or isinstance(error, NetworkTimeout):
        return None
    received = connection.unread(2)
    sure = received in _TLS_RECORDS
    likely = not received and connection.stream.lost and address not in settings.greeted
    if not sure and not likely:
        return None
    from mongokey.stream.tls_errors import plain_answer

    return plain_answer(connection.stream.peer, sure)


__all__ = ["clear_up"]
