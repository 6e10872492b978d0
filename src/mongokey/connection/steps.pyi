from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol, TypeAlias

from mongokey._support.address import AddressLike
from mongokey._support.deadline import Deadline, Timeout
from mongokey._support.portable import Portable
from mongokey.connection.missing_tls import BrokenConnection
from mongokey.handshake import HelloReply
from mongokey.transport.tls.context import ClientTLS

class OpenConnection(BrokenConnection, Protocol):
    """What `Connect` is answered with."""

    def accept_hello(self, hello: HelloReply) -> None: ...

class WatchedConnection(OpenConnection, Protocol):
    """What a loop answers `Connect` with."""

    @property
    def closed(self) -> bool: ...
    @property
    def more_to_come(self) -> bool:
        """Whether the server sends another reply unasked, after the last one."""
    @property
    def duration_ns(self) -> int:
        """How long the last exchange took."""

Steps: TypeAlias = Generator[object, Any, Any]

class Connect:
    """Open a connection to `address` within `limit` (None: no limit) and not beyond `until` (an
    operation's deadline, or None), which bound all that is done on it without a limit of its own;
    answered with the `OpenConnection`.

    The same step once more closes that connection and makes another, in what is left of its time.
    """

    address: AddressLike
    limit: Timeout | None
    until: Deadline | None
    deadline: Deadline | None
    def begin(self) -> Deadline | None:
        """The deadline, which begins at the first call; None for no limit."""
    def __init__(
        self, address: AddressLike, limit: Timeout | None, until: Deadline | None = None
    ) -> None: ...

class StartTLS:
    """Do the TLS handshake as `tls` has it, with the server called `host`."""

    tls: ClientTLS
    host: str
    def __init__(self, tls: ClientTLS, host: str) -> None: ...

class Pause:
    """The server has said `hello`; what is left is the login. Only who asked for it gets it."""

    hello: HelloReply
    def __init__(self, hello: HelloReply) -> None: ...

class Exchange:
    """Send a command to the database `admin`; answered with the reply's document.

    `limit` bounds it, None: nothing does. `exhaust` allows the server to send more replies.
    """

    document: Mapping[str, Any]
    limit: Timeout | None
    exhaust: bool
    def __init__(
        self, document: Mapping[str, Any], limit: Timeout | None, *, exhaust: bool = False
    ) -> None: ...

class NextReply:
    """Wait for the reply that the server said is to come; answered with its document."""

    limit: Timeout | None
    def __init__(self, limit: Timeout | None) -> None: ...

class Disconnect:
    """Close the connection, if there is one."""

class Sleep:
    """Wait for so many nanoseconds; who is asked to hurry wakes sooner, after `at_least_ns`."""

    ns: int
    at_least_ns: int
    def __init__(self, ns: int, at_least_ns: int) -> None: ...

class Now:
    """Answered with the monotonic clock, in nanoseconds."""

class Beside:
    """Call `function`, which may wait, where it holds up nobody; answered with what it returns."""

    function: Callable[[], object]
    def __init__(self, function: Callable[[], object]) -> None: ...

class StepCancelled(Portable, Exception):
    """Thrown into a generator whose step was given up; its connection is closed."""
