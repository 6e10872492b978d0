"""A connection that says hello and logs nobody in, as steps: what monitors have.

Knows what a client's connections share and who says why one broke. Must not know what is made of
the server's answer, nor how a step is carried out.
"""

from __future__ import annotations

from mongokey._support.lazy import late_imports
from mongokey.auth.login import greet
from mongokey.connection.steps import Connect, StartTLS
from mongokey.errors import AutoReconnect, ConfigurationError, ProtocolError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.address import AddressLike
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.connection.steps import OpenConnection, Steps


def open_greeted(address: AddressLike, settings: ConnectionSettings) -> Steps:
    """Connect to `address` and say hello, within `connectTimeoutMS`; returns the `OpenConnection`,
    whose `hello` is the answer. No credential, and nothing that asks for one, is sent.

    Raises what making a connection of a pool raises before its login, with the same diagnoses.
    """
    host, port = address
    connection: OpenConnection | None = None
    try:
        connection = yield Connect(address, settings.connect_timeout)
        if settings.tls is not None:
            if port is None:
                raise ConfigurationError(f"TLS is not used over Unix sockets: {host}")
            yield StartTLS(settings.tls, host)
        greeting = yield from greet(
            None, settings.metadata, address, server_api=settings.server_api
        )
    except (AutoReconnect, ProtocolError) as error:
        with late_imports:
            from mongokey.connection.missing_tls import detect_missing_tls

        better = detect_missing_tls(error, settings, address, connection)
        if better is not None:
            raise better from error
        raise
    assert connection is not None, "it was connected"
    assert greeting.hello is not None, "it was greeted"
    connection.accept_hello(greeting.hello)
    settings.hello_seen.add(address)
    return connection


__all__ = ["open_greeted"]
