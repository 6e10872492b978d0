"""Opens a connection and logs in, blocking: connect, TLS, hello and login within one deadline.

It drives the steps of `auth.login` over a stream. It must not know how a mechanism works, nor
what the connection is used for.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.auth.login import Command, LoginResult, login
from mongokey.connection._connection import Connection
from mongokey.errors import AutoReconnect, ConfigurationError, ProtocolError
from mongokey.stream import connect, monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.conversation import Work
    from mongokey.auth.credential import MongoCredential
    from mongokey.handshake.hello import ServerApiLike
    from mongokey.handshake.metadata import ClientMetadata
    from mongokey.stream import Stream
    from mongokey.stream.tls_context import ClientTLS

Address = tuple[str, "int | None"]


class ConnectionSettings:
    """What all connections of a client share. Times are seconds; None or 0 means no limit."""

    __slots__ = (
        "connect_timeout_s",
        "credential",
        "deadline_text",
        "load_balanced",
        "metadata",
        "probed",
        "server_api",
        "socket_timeout_s",
        "tls",
    )

    def __init__(
        self,
        metadata: ClientMetadata | None = None,
        credential: MongoCredential | None = None,
        connect_timeout_s: float | None = 20.0,
        socket_timeout_s: float | None = None,
        tls: ClientTLS | None = None,
        server_api: ServerApiLike | None = None,
        load_balanced: bool = False,
    ) -> None:
        self.metadata = metadata
        self.credential = credential
        self.connect_timeout_s = connect_timeout_s
        # What bounds a connection, for errors.
        self.deadline_text = (
            f"connectTimeoutMS={connect_timeout_s * 1000:.0f}"
            if connect_timeout_s
            else "serverSelectionTimeoutMS"
        )
        self.socket_timeout_s = socket_timeout_s
        self.tls = tls
        self.server_api = server_api
        self.load_balanced = load_balanced
        # Servers that were asked whether they speak TLS or not: once is enough.
        self.probed: set[Address] = set()


def open_connection(
    address: Address, settings: ConnectionSettings, within_s: float | None = None
) -> tuple[Connection, LoginResult]:
    """A connection to `address` that has said hello and is logged in.

    `connectTimeoutMS`, and `within_s` if that is shorter, bounds all of it together. Raises
    `NetworkTimeout` or `AutoReconnect` when the server cannot be reached or falls silent,
    `AuthenticationFailed` when it refuses the login, `ConfigurationError` when it does not fit.
    """
    timeout = settings.connect_timeout_s or None
    text = settings.deadline_text
    if within_s is not None and (timeout is None or within_s < timeout):
        timeout, text = within_s, "serverSelectionTimeoutMS"
    deadline = monotonic_ns() + int(timeout * 1e9) if timeout else 0
    host, port = address
    stream: Stream | None = None
    connection: Connection | None = None
    try:
        stream = connect(host, port, deadline_ns=deadline, limit_text=text)
        if settings.tls is not None:
            if port is None:
                raise ConfigurationError(f"TLS is not used over Unix sockets: {host}")
            stream = settings.tls.wrap(stream, host, deadline)
        stream.deadline_text = text
        connection = Connection(stream, address)
        result = log_in(connection, settings, deadline)
        connection.accept_hello(result.hello)
        if settings.socket_timeout_s:
            stream.timeout_text = f"socketTimeoutMS={settings.socket_timeout_s * 1000:.0f}"
            stream.set_timeout(int(settings.socket_timeout_s * 1e9))
    except (AutoReconnect, ProtocolError) as error:
        if stream is not None:
            stream.close()
            from mongokey.connection.tls_doubt import clear_up

            better = clear_up(error, settings, address, connection, deadline)
            if better is not None:
                raise better from error
        raise
    except BaseException:
        if stream is not None:
            stream.close()
        raise
    return connection, result


def _subject(settings: ConnectionSettings) -> str | None:
    """Who the client's certificate says it is; "" when no certificate can be sent."""
    if settings.tls is None or settings.tls.without_certificate:
        return ""
    return settings.tls.subject


def log_in(connection: Connection, settings: ConnectionSettings, deadline_ns: int) -> LoginResult:
    """Say hello and log in on an open connection, by the steps of `auth.login.login`."""
    steps = login(
        settings.credential,
        settings.metadata,
        connection.address,
        server_api=settings.server_api,
        load_balanced=settings.load_balanced,
        subject=_subject(settings),
    )
    answer: Mapping[str, Any] | None = None
    try:
        step = next(steps)
        while True:
            if isinstance(step, Command):
                answer = connection.command(step.database, step.document, deadline_ns)
            else:
                deadline_ns = _run(step, deadline_ns)
                answer = None
            step = steps.send(answer)
    except StopIteration as finished:
        result: LoginResult = finished.value
        return result


def _run(work: Work, deadline_ns: int) -> int:
    """Do `work` within the deadline; returns the deadline, later by the time of patient work."""
    began = monotonic_ns()
    work.run(max(0.0, (deadline_ns - began) / 1e9) if deadline_ns and not work.patient else None)
    return deadline_ns + monotonic_ns() - began if deadline_ns and work.patient else deadline_ns
