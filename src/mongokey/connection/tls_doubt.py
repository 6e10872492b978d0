"""Finds out whether a connection that broke at its very start broke over TLS.

Knows the three cases in which the server's own words are lost: plain to a TLS port, TLS to a
plain port, a client certificate refused by a server that speaks TLS 1.3. It asks again in another
way, once for each server of a client. No secret is sent, and a certificate of ours to a verified
server only.
"""

from __future__ import annotations

from mongokey.connection._connection import Connection
from mongokey.errors import AutoReconnect, MongoError, NetworkTimeout, TLSError
from mongokey.stream import connect, monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.connection.establish import Address, ConnectionSettings

# RFC 8446, section 5.1: the type of a record (alert, handshake), then version 3 of old.
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")
# How long such a question may take, in nanoseconds.
_PATIENCE_NS = 2_000_000_000


def clear_up(
    error: MongoError,
    settings: ConnectionSettings,
    address: Address,
    connection: Connection | None,
    deadline_ns: int,
) -> TLSError | None:
    """The better error for `error`, or None where TLS is not, or not known to be, the cause."""
    host, port = address
    if port is None or isinstance(error, NetworkTimeout):
        return None
    # A question that nobody answers must not turn a quick failure into a slow one.
    soon = monotonic_ns() + _PATIENCE_NS
    deadline_ns = min(deadline_ns, soon) if deadline_ns else soon
    tls = settings.tls
    if tls is None:
        return _plain(settings, address, connection, deadline_ns)
    if not isinstance(error, TLSError) or address in settings.probed:
        return None
    if error.reason == "TLS-CLOSED":
        settings.probed.add(address)
        if _answers_plainly(address, deadline_ns):
            from mongokey.stream.tls_errors import not_spoken

            return not_spoken(_peer(address), tls)
    elif error.reason == "TLS-CLOSED-EARLY" and tls.engine == "openssl":
        settings.probed.add(address)
        try:
            plain = connect(host, port, deadline_ns=deadline_ns)
            tls.wrap(plain, host, deadline_ns, newest=False).close()
        except TLSError as cause:
            return cause if cause.permanent else None
        except AutoReconnect:
            return None
    return None


def _plain(
    settings: ConnectionSettings,
    address: Address,
    connection: Connection | None,
    deadline_ns: int,
) -> TLSError | None:
    if connection is None or connection.hello is not None:
        return None
    received = connection.unread(2)
    if not received and address not in settings.probed:
        settings.probed.add(address)
        speaks = _speaks_tls(address, deadline_ns)
    else:
        speaks = received in _TLS_RECORDS
    if not speaks:
        return None
    from mongokey.stream.tls_errors import plain_answer

    return plain_answer(connection.stream.peer)


def _speaks_tls(address: Address, deadline_ns: int) -> bool:
    """Whether a TLS greeting is answered in TLS, be it by an alert. The ssl module does, and
    nothing is verified: not a byte of ours goes over that connection."""
    import ssl

    from mongokey.stream import wrap_tls

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, port = address
    try:
        plain = connect(host, port, deadline_ns=deadline_ns)
        wrap_tls(plain, context, host, deadline_ns=deadline_ns).close()
    except TLSError as error:
        return error.reason not in ("TLS-CLOSED", "TLS-NOT-SPOKEN", "TLS-FAILED")
    except MongoError:
        return False
    return True


def _answers_plainly(address: Address, deadline_ns: int) -> bool:
    """Whether a plain hello, which names nobody, is answered."""
    host, port = address
    try:
        stream = connect(host, port, deadline_ns=deadline_ns)
    except MongoError:
        return False
    try:
        Connection(stream, address).command("admin", {"hello": 1}, deadline_ns)
    except MongoError:
        return False
    finally:
        stream.close()
    return True


def _peer(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


__all__ = ["clear_up"]
