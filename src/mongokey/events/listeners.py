"""Listeners: the classes to derive them from, and those registered for all clients.

Knows the names of the methods that are called, not the events they get. A listener that derives
from PyMongo's class of the same name counts too, as it has the same methods.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.events.command_events import (
        CommandFailedEvent,
        CommandStartedEvent,
        CommandSucceededEvent,
    )
    from mongokey.events.pool_events import (
        ConnectionCheckedInEvent,
        ConnectionCheckedOutEvent,
        ConnectionCheckOutFailedEvent,
        ConnectionCheckOutStartedEvent,
        ConnectionClosedEvent,
        ConnectionCreatedEvent,
        ConnectionReadyEvent,
        PoolClearedEvent,
        PoolClosedEvent,
        PoolCreatedEvent,
        PoolReadyEvent,
    )
    from mongokey.events.topology_events import (
        ServerClosedEvent,
        ServerDescriptionChangedEvent,
        ServerHeartbeatFailedEvent,
        ServerHeartbeatStartedEvent,
        ServerHeartbeatSucceededEvent,
        ServerOpeningEvent,
        TopologyClosedEvent,
        TopologyDescriptionChangedEvent,
        TopologyOpenedEvent,
    )


class _EventListener:
    """Base of all listeners. Methods that a listener does not define raise NotImplementedError,
    which is printed as any error of a listener is."""


class CommandListener(_EventListener):
    """Is told of each command that is sent to a server, and of its outcome."""

    def started(self, event: CommandStartedEvent) -> None:
        """A command is about to be sent."""
        raise NotImplementedError

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """The server has answered with ``ok: 1``; or nobody asked for an answer."""
        raise NotImplementedError

    def failed(self, event: CommandFailedEvent) -> None:
        """The server has answered with an error, or the connection failed."""
        raise NotImplementedError


class ConnectionPoolListener(_EventListener):
    """Is told of pools and their connections (connection-monitoring-and-pooling, "Events")."""

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """A pool was made for a server."""
        raise NotImplementedError

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """A pool may open connections."""
        raise NotImplementedError

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """A pool's connections are not used any more, as the server failed."""
        raise NotImplementedError

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """A pool is closed for good."""
        raise NotImplementedError

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """A connection is going to be opened."""
        raise NotImplementedError

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """A connection has been opened and logged in."""
        raise NotImplementedError

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        """A connection was closed."""
        raise NotImplementedError

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Somebody wants a connection."""
        raise NotImplementedError

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        """Who wanted a connection got none."""
        raise NotImplementedError

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """Who wanted a connection has got it."""
        raise NotImplementedError

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        """A connection was given back."""
        raise NotImplementedError


class ServerHeartbeatListener(_EventListener):
    """Is told of the checks by which servers are watched."""

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        """A check begins."""
        raise NotImplementedError

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        """The server has answered."""
        raise NotImplementedError

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        """The check has failed."""
        raise NotImplementedError


class ServerListener(_EventListener):
    """Is told of each server of a deployment."""

    def opened(self, event: ServerOpeningEvent) -> None:
        """A server is going to be watched."""
        raise NotImplementedError

    def description_changed(self, event: ServerDescriptionChangedEvent) -> None:
        """A server is not what it was."""
        raise NotImplementedError

    def closed(self, event: ServerClosedEvent) -> None:
        """A server is not watched any more."""
        raise NotImplementedError


class TopologyListener(_EventListener):
    """Is told of a deployment as a whole."""

    def opened(self, event: TopologyOpenedEvent) -> None:
        """A client begins to look at its deployment."""
        raise NotImplementedError

    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        """The deployment is not what it was."""
        raise NotImplementedError

    def closed(self, event: TopologyClosedEvent) -> None:
        """The client is closed."""
        raise NotImplementedError


#: The kinds of listeners, by the names of their classes.
KINDS = (
    "CommandListener",
    "ConnectionPoolListener",
    "ServerHeartbeatListener",
    "ServerListener",
    "TopologyListener",
)
_HOMES = (__name__, "pymongo.monitoring")

#: Those that `register` was given, in order.
registered: list[_EventListener] = []


def kinds_of(listener: object) -> frozenset[str]:
    """Which of `KINDS` the object is; none if it is no listener."""
    return frozenset(
        base.__name__
        for base in type(listener).__mro__
        if base.__module__ in _HOMES and base.__name__ in KINDS
    )


def is_listener(value: object) -> bool:
    """Whether the object may be told of events. Also true for a listener of no kind at all."""
    return isinstance(value, _EventListener) or bool(kinds_of(value))


def register(listener: _EventListener) -> None:
    """Have `listener` told of the events of every client that is made from now on.

    It is an object of a class derived from one or several of `CommandListener`,
    `ConnectionPoolListener`, `ServerHeartbeatListener`, `ServerListener`, `TopologyListener`.
    Raises TypeError for any other.
    """
    if not is_listener(listener):
        raise TypeError(
            f"a listener is an object of a class derived from {', '.join(KINDS[:-1])} or "
            f"{KINDS[-1]}, not {type(listener).__name__}"
        )
    registered.append(listener)


def by_kind(listeners: tuple[Any, ...] = ()) -> dict[str, tuple[Any, ...]]:
    """The registered listeners and then `listeners`, those of each kind."""
    found: dict[str, list[Any]] = {}
    for listener in (*registered, *listeners):
        for kind in kinds_of(listener):
            found.setdefault(kind, []).append(listener)
    return {kind: tuple(each) for kind, each in found.items()}
