"""The steps that connections are made and used in, where who wants it and who does it are two.

A generator yields them and is sent what each comes to: by a blocking driver (`establish`), by a
loop that serves many connections (`step_loop`), or by a test that opens no socket. Each generator
has one connection at a time. This module knows names only: no socket, no clock.
"""

from __future__ import annotations

from mongokey._support.portable import Portable

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any, Protocol

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Timeout
    from mongokey.connection.missing_tls import BrokenConnection
    from mongokey.handshake import HelloReply

    class OpenConnection(BrokenConnection, Protocol):
        """What `Connect` is answered with."""

        @property
        def peer(self) -> str:
            """The server, for errors."""

        @property
        def hello(self) -> HelloReply | None:
            """The server's answer to hello, None before it."""

        @property
        def closed(self) -> bool: ...

        @property
        def more_to_come(self) -> bool:
            """Whether the server sends another reply unasked, after the last one."""

        @property
        def duration_ns(self) -> int:
            """How long the last exchange took."""

        def accept_hello(self, hello: HelloReply) -> None: ...

    Steps = Generator["object", Any, Any]


class Connect:
    """Open a connection to `address` within `limit` (None: no limit), which bounds all that is
    done on it without a limit of its own; answered with the `OpenConnection`."""

    __slots__ = ("address", "limit")

    def __init__(self, address: AddressLike, limit: Timeout | None) -> None:
        self.address = address
        self.limit = limit


class StartTLS:
    """Do the TLS handshake as `tls` (a ClientTLS) has it, with the server called `host`."""

    __slots__ = ("host", "tls")

    def __init__(self, tls: Any, host: str) -> None:
        self.tls = tls
        self.host = host


class Exchange:
    """Send a command to the database `admin`; answered with the reply's document.

    `limit` bounds it, None: nothing does. `exhaust` allows the server to send more replies.
    """

    __slots__ = ("document", "exhaust", "limit")

    def __init__(
        self, document: Mapping[str, Any], limit: Timeout | None, *, exhaust: bool = False
    ) -> None:
        self.document = document
        self.limit = limit
        self.exhaust = exhaust


class NextReply:
    """Wait for the reply that the server said is to come; answered with its document."""

    __slots__ = ("limit",)

    def __init__(self, limit: Timeout | None) -> None:
        self.limit = limit


class Disconnect:
    """Close the connection, if there is one."""

    __slots__ = ()


class Sleep:
    """Wait for so many nanoseconds; who is asked to hurry wakes sooner, after `at_least_ns`."""

    __slots__ = ("at_least_ns", "ns")

    def __init__(self, ns: int, at_least_ns: int) -> None:
        self.ns = ns
        self.at_least_ns = at_least_ns


class Now:
    """Answered with the monotonic clock, in nanoseconds."""

    __slots__ = ()


class Beside:
    """Call `function`, which may wait, where it holds up nobody; answered with what it returns."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function


class StepCancelled(Portable, Exception):
    """Thrown into a generator whose step was given up; its connection is closed."""


__all__ = [
    "Beside",
    "Connect",
    "Disconnect",
    "Exchange",
    "NextReply",
    "Now",
    "Sleep",
    "StartTLS",
    "StepCancelled",
]
