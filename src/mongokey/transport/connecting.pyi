from collections.abc import Callable, Iterable
from typing import NoReturn

from mongokey._support.deadline import Deadline
from mongokey.errors import ConnectionFailure
from mongokey.transport.happy_eyeballs import Race
from mongokey.transport.stream import SocketStream

def connect(
    host: str,
    port: int | None = 27017,
    *,
    deadline: Deadline | None = None,
    timeout: float | None = None,
    resolver: Callable[[str, int], Iterable[tuple[str, int]]] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SocketStream:
    """Connect to `host` and return the stream, without a timeout of its own yet.

    `host` is a name, an IP literal, or the path of a Unix socket (it starts with ``/`` or ends
    with ``.sock``; `port` means nothing then). All addresses of a name are raced with a head
    start of 250 ms each, families taking turns (RFC 8305). `deadline` or
    `timeout` (seconds) bounds look-up and race together; neither: not bounded.
    `resolver` is asked instead of the system's, for (IP literal, port) pairs. `cancelled` is asked
    four times a second whether the connection is still wanted.

    Raises `NetworkTimeout` when the time is over and `AutoReconnect` when nothing is reached;
    the message and `details` say what became of each address. Raises `AutoReconnect` too when
    `cancelled()` is true. Raises `ConfigurationError` when
    `host` or `port` cannot be one.
    """

def unresolved(error: ConnectionFailure, host: str) -> ConnectionFailure:
    """`error` of a look-up of `host`, with its causes."""

def look_for_gevent() -> None:
    """Wait as gevent does from now on, where it has patched `socket`."""

def check_target(host: str, port: int | None) -> None:
    """Raise `ConfigurationError` where `host` and `port` cannot be connected to."""

def is_unix(host: str) -> bool:
    """Whether `host` is the path of a Unix socket."""

def raise_lost_race(
    race: Race, texts: list[str], peer: str, now: int, deadline: Deadline | None
) -> NoReturn:
    """Raise what a race for the addresses with these `texts` has come to at `now`: `AutoReconnect`
    where all are lost, else `NetworkTimeout`."""
