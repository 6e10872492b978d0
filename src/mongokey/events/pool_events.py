"""What is told of pools and connections (connection-monitoring-and-pooling, "Events").

Values only, with PyMongo's names and reprs. Durations are in seconds; an `address` is
``(host, port)``, or ``(path, None)``.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId


class ConnectionClosedReason:
    """Why a connection was closed: `ConnectionClosedEvent.reason`."""

    STALE = "stale"
    IDLE = "idle"
    ERROR = "error"
    POOL_CLOSED = "poolClosed"


class ConnectionCheckOutFailedReason:
    """Why there was no connection: `ConnectionCheckOutFailedEvent.reason`."""

    TIMEOUT = "timeout"
    POOL_CLOSED = "poolClosed"
    CONN_ERROR = "connectionError"


@with_safe_repr
class _AddressEvent:
    __slots__ = ("_address",)

    def __init__(self, address: AddressLike) -> None:
        self._address = address

    @property
    def address(self) -> AddressLike:
        """The server's address."""
        return self._address

    def _shown(self) -> tuple[Any, ...]:
        return (self._address,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._shown()))})"


class _PoolEvent(_AddressEvent):
    __slots__ = ()


class PoolCreatedEvent(_PoolEvent):
    """A pool was made."""

    __slots__ = ("_options",)

    def __init__(self, address: AddressLike, options: dict[str, Any]) -> None:
        super().__init__(address)
        self._options = options

    @property
    def options(self) -> dict[str, Any]:
        """The pool options that differ from their defaults, under the URI options' names."""
        return self._options

    def _shown(self) -> tuple[Any, ...]:
        return self._address, self._options


class PoolReadyEvent(_PoolEvent):
    """A pool may open connections."""

    __slots__ = ()


class PoolClearedEvent(_PoolEvent):
    """A pool's connections are not used any more."""

    __slots__ = ("_interrupt_connections", "_service_id")

    def __init__(
        self,
        address: AddressLike,
        service_id: ObjectId | None = None,
        interrupt_connections: bool = False,
    ) -> None:
        super().__init__(address)
        self._service_id = service_id
        self._interrupt_connections = interrupt_connections

    @property
    def service_id(self) -> ObjectId | None:
        """Behind a load balancer, the service whose connections it is about; None for all."""
        return self._service_id

    @property
    def interrupt_connections(self) -> bool:
        """Whether connections in use were closed too."""
        return self._interrupt_connections

    def _shown(self) -> tuple[Any, ...]:
        return self._address, self._service_id, self._interrupt_connections


class PoolClosedEvent(_PoolEvent):
    """A pool is closed for good."""

    __slots__ = ()


class _ConnectionEvent(_AddressEvent):
    __slots__ = ()


class _ConnectionIdEvent(_ConnectionEvent):
    __slots__ = ("_connection_id",)

    def __init__(self, address: AddressLike, connection_id: int) -> None:
        super().__init__(address)
        self._connection_id = connection_id

    @property
    def connection_id(self) -> int:
        """The connection's number in its pool, from 1."""
        return self._connection_id

    def _shown(self) -> tuple[Any, ...]:
        return self._address, self._connection_id


class _ConnectionDurationEvent(_ConnectionIdEvent):
    __slots__ = ("_duration",)

    def __init__(self, address: AddressLike, connection_id: int, duration: float | None) -> None:
        super().__init__(address, connection_id)
        self._duration = duration

    @property
    def duration(self) -> float | None:
        """How long it took, in seconds."""
        return self._duration

    def _shown(self) -> tuple[Any, ...]:
        return self._address, self._connection_id, self._duration


class ConnectionCreatedEvent(_ConnectionIdEvent):
    """A connection is going to be opened."""

    __slots__ = ()


class ConnectionReadyEvent(_ConnectionDurationEvent):
    """A connection has been opened and logged in, which took `duration`."""

    __slots__ = ()


class ConnectionClosedEvent(_ConnectionIdEvent):
    """A connection was closed."""

    __slots__ = ("_reason",)

    def __init__(self, address: AddressLike, connection_id: int, reason: str) -> None:
        super().__init__(address, connection_id)
        self._reason = reason

    @property
    def reason(self) -> str:
        """One of the strings of `ConnectionClosedReason`."""
        return self._reason

    def _shown(self) -> tuple[Any, ...]:
        return self._address, self._connection_id, self._reason


class ConnectionCheckOutStartedEvent(_ConnectionEvent):
    """Somebody wants a connection."""

    __slots__ = ()


class ConnectionCheckOutFailedEvent(_ConnectionDurationEvent):
    """Who wanted a connection got none, after `duration`. Its `connection_id` is 0."""

    __slots__ = ("_reason",)

    def __init__(self, address: AddressLike, reason: str, duration: float | None) -> None:
        super().__init__(address, 0, duration)
        self._reason = reason

    @property
    def reason(self) -> str:
        """One of the strings of `ConnectionCheckOutFailedReason`."""
        return self._reason

    def _shown(self) -> tuple[Any, ...]:
        return self._address, self._reason, self._duration


class ConnectionCheckedOutEvent(_ConnectionDurationEvent):
    """Who wanted a connection has got it, after `duration`."""

    __slots__ = ()


class ConnectionCheckedInEvent(_ConnectionIdEvent):
    """A connection was given back."""

    __slots__ = ()
