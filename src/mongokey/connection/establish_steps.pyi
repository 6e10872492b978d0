from collections.abc import Callable, Generator
from typing import Any

from mongokey._support.address import AddressLike
from mongokey._support.deadline import Timeout
from mongokey.auth.login import LoginResult
from mongokey.connection.openings import Opening
from mongokey.connection.settings import ConnectionSettings
from mongokey.connection.steps import OpenConnection
from mongokey.handshake import HelloReply

def establish(
    address: AddressLike,
    settings: ConnectionSettings,
    limit: Timeout | None,
    *,
    log_in: bool = True,
    judge: Callable[[HelloReply], object] | None = None,
    to_be_used: bool = True,
    opening: Opening | None = None,
) -> Generator[object, Any, tuple[OpenConnection, LoginResult | None]]:
    """Connect to `address`, do the TLS handshake, say hello and, if `log_in`, log in; `limit` bounds
    all of it together (None: nothing does).

    Yields `Connect`, `StartTLS`, and what `auth.login` yields; returns what `Connect` was answered
    with, and the `LoginResult` (None without a login: then no credential is sent, nor anything that
    asks for one). The other arguments are those of `establish.open_connection`, and so is what it
    raises; who drives it closes the connection when a step fails, before it throws that in.
    """
