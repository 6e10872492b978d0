"""Opens a connection and logs in, on an asyncio loop: connect, TLS, hello and login within one
deadline.

It has the steps of `establish_steps`, and of a later login, carried out: by `async_driver`, or by
`loop_establishing` where there is TLS. It must not know how a mechanism works, nor what the
connection is used for.
"""

from __future__ import annotations

from asyncio import get_running_loop

from mongokey._support.lazy import imported_once
from mongokey._support.waiting import Cancelled
from mongokey.connection.async_driver import AsyncDriver
from mongokey.connection.establish_steps import deadline_of_login, establish, log_in_again
from mongokey.errors import AutoReconnect, ProtocolError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey.auth.login import LoginResult
    from mongokey.connection.async_connection import AsyncConnection
    from mongokey.connection.loop_establishing import Establishing
    from mongokey.connection.settings import ConnectionSettings, Opening, Openings
    from mongokey.handshake import HelloReply


async def open_connection(
    address: AddressLike,
    settings: ConnectionSettings,
    judge: Callable[[HelloReply], None] | None = None,
    *,
    to_be_used: bool = True,
    opening: Opening | None = None,
) -> tuple[AsyncConnection, LoginResult]:
    """A connection to `address`, in the running loop, that has said hello and is logged in.

    Arguments and errors are those of `establish.open_connection`. Cancelling the caller ends it,
    and closes what was opened.
    """
    openings: Openings = settings.openings
    if opening is not None:
        opening.begin(openings)
        openings = opening
    if openings.is_closed():
        raise openings.refuse()
    steps = establish(
        address, settings, settings.limit, judge=judge, to_be_used=to_be_used, opening=opening
    )
    loop = get_running_loop()
    driver: AsyncDriver | Establishing
    if settings.tls is None:
        driver = AsyncDriver(loop, settings, openings)
    else:
        driver = imported_once("mongokey.connection.loop_establishing").Establishing(
            loop, settings, openings
        )
    connection: AsyncConnection
    try:
        connection, result = await driver.drive(steps)
    except (AutoReconnect, ProtocolError, Cancelled) as error:
        if openings.is_closed():
            raise openings.refuse() from error
        raise
    if openings.is_closed():
        connection.close()
        raise openings.refuse()
    if result.mechanism is not None:
        connection.login, connection.settings = result, settings
    if settings.socket_timeout is not None:
        connection.stream.set_timeout(settings.socket_timeout)
    return connection, result


async def reauthenticate(connection: AsyncConnection, deadline: Deadline | None = None) -> None:
    """Log in once more on a connection in use whose server asks for it (error 391); no hello.

    Deadline and errors are those of `establish.reauthenticate`; the connection is closed after an
    error, and when the caller is cancelled.
    """
    settings, login = connection.settings, connection.login
    assert settings is not None, "only a connection of open_connection's can be logged in again"
    assert login is not None, "nobody was logged in"
    assert settings.credential is not None, "nobody was logged in"
    until = deadline
    deadline = deadline_of_login(settings, until)
    openings = settings.openings
    steps = log_in_again(settings, connection.address, login)
    driver = AsyncDriver(get_running_loop(), settings, openings)
    driver.go_on_with(connection, deadline, until)
    try:
        login.saved_state = await driver.drive(steps)
    except (AutoReconnect, Cancelled) as error:
        if openings.is_closed():
            raise openings.refuse() from error
        raise


__all__ = ["open_connection", "reauthenticate"]
