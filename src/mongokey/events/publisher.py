"""What the driver calls when something happens: it tells listeners and loggers.

Knows who wants to be told of what (`flags`), and makes events and log records of what it is given.
Must not know who calls it. The events' classes, and `logging`, are loaded when they are first
needed.
"""

from __future__ import annotations

import sys
import weakref
from _thread import allocate_lock
from collections import deque

from mongokey._support.fork import run_after_fork
from mongokey._support.lazy import imported_once
from mongokey._support.reprs import with_safe_repr
from mongokey.events import listeners
from mongokey.events.flags import PublisherFlags

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId
    from mongokey.events.command_publisher import CommandUnderWay
    from mongokey.handshake.reply import HelloReply
    from mongokey.topology.server_description import ServerDescription
    from mongokey.topology.topology_description import TopologyDescription

# connection-monitoring-and-pooling, "Connection Pool Logging".
_CLOSED_REASONS = {
    "stale": "Connection became stale because the pool was cleared",
    "idle": "Connection has been available but unused for longer than the configured max idle time",
    "error": "An error occurred while using the connection",
    "poolClosed": "Connection pool was closed",
}
_CHECK_OUT_REASONS = {
    "timeout": "Wait queue timeout elapsed without a connection becoming available",
    "connectionError": "An error occurred while trying to establish a new connection",
    "poolClosed": "Connection pool was closed",
}

# `mongokey.events.logs`, once a client is used; until then nobody can want a record.
_logs: ModuleType | None = None
# Those alive, by id: told when a logger is turned on or off.
_publishers: dict[int, weakref.ref[Publisher]] = {}


class Publisher(PublisherFlags):
    """Tells the listeners and loggers of one client.

    `event_listeners` are the client's own; those that `register` was given come before them.

    The flags `commands`, `pools`, `topology`, `servers`, `heartbeats` and `selection` say whether
    anybody wants to know; each costs a load to read, and may change at any time, as loggers are
    turned on and off. Callers ask first::

        if publisher is not None and publisher.pools:
            publisher.pool_ready(address)

    Every other method calls listeners: hold no lock then, or have it done later, in order, by
    `defer` and `deliver`. A listener's error is printed and goes no further, but for a
    `KeyboardInterrupt` and its kin. Durations are nanoseconds.
    """

    def __init__(self, event_listeners: tuple[Any, ...] = ()) -> None:
        found: Mapping[str, tuple[Any, ...]] = {}
        if event_listeners or listeners.registered:
            found = listeners.by_kind(event_listeners)
        self._commands = found.get("CommandListener", ())
        self._pools = found.get("ConnectionPoolListener", ())
        self._heartbeats = found.get("ServerHeartbeatListener", ())
        self._servers = found.get("ServerListener", ())
        self._topology = found.get("TopologyListener", ())
        self._topology_id: ObjectId | None = None
        self._deferred: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._delivering = allocate_lock()
        #: Called without arguments when `selection` was turned on, with logging's lock held.
        self.on_selection: Callable[[], Any] | None = None
        key = id(self)
        _publishers[key] = weakref.ref(self, lambda _: _publishers.pop(key, None))
        self._look_again()

    # -- who wants what -----------------------------------------------------------------------

    def start(self) -> None:
        """The client is used for the first time: from now on loggers are looked at."""
        global _logs
        if _logs is None:
            logs = imported_once("mongokey.events.logs")
            logs.watch_levels(_look_again)
            _logs = logs
        self._look_again()

    def _look_again(self) -> None:
        """Set the flags by listeners and loggers. Called with logging's lock held, perhaps in a
        signal handler: it must not wait."""
        logs = _logs
        command = topology = selection = connection = False
        if logs is not None:
            command = logs.is_on(logs.COMMAND)
            topology = logs.is_on(logs.TOPOLOGY)
            selection = logs.is_on(logs.SERVER_SELECTION)
            connection = logs.is_on(logs.CONNECTION)
        turned_on = selection and not self.selection
        self._set_flags(
            commands=command or bool(self._commands),
            pools=connection or bool(self._pools),
            topology=topology or bool(self._topology),
            servers=topology or bool(self._servers),
            heartbeats=topology or bool(self._heartbeats),
            selection=selection,
        )
        if turned_on and self.on_selection is not None:
            self.on_selection()

    @property
    def topology_id(self) -> ObjectId:
        """What tells this client from others, an ObjectId: `topology_id` of its events,
        `topologyId` and `clientId` of its log records."""
        found = self._topology_id
        if found is None:
            make = imported_once("mongokey.bson.objectid").ObjectId
            # In one step: whoever makes one at the same time gets the same.
            found = self._topology_id = self.__dict__.setdefault("_made_topology_id", make())
        return found

    # -- order --------------------------------------------------------------------------------

    def defer(self, method: Callable[..., None], *args: Any) -> None:
        """Have ``method(*args)``, a method of this object, called by the next `deliver`: for who
        holds a lock, under which the order is right, and must not call listeners there."""
        self._deferred.append((method, args))

    def deliver(self) -> None:
        """Publish what was deferred, in order; no lock may be held. If another thread, or a
        listener's caller further up, is at it, it does the rest and this returns at once."""
        # Who comes while it is held has deferred before, and is served by the one who holds it.
        while self._deferred and self._delivering.acquire(blocking=False):
            try:
                while self._deferred:
                    method, args = self._deferred.popleft()
                    method(*args)
            finally:
                self._delivering.release()

    def _reset_after_fork(self) -> None:
        """In a forked child: who delivered may be a thread of the parent's, and so is what
        happened."""
        self._delivering = allocate_lock()
        self._deferred.clear()

    # -- telling ------------------------------------------------------------------------------

    def _tell(self, told: tuple[Any, ...], method: str, event: object) -> None:
        for listener in told:
            try:
                getattr(listener, method)(event)
            except Exception:
                print_error()

    def _log(self, component: str, message: str, /, **fields: Any) -> None:
        if _logs is None or not _logs.is_on(component):
            return
        try:
            _logs.log(component, message, fields)
        except Exception:
            # A filter's or a handler's.
            print_error()

    # -- topology -----------------------------------------------------------------------------

    def topology_opening(self, topology_id: ObjectId) -> None:
        """Discovery begins; called once, before any other event."""
        self._log("topology", "Starting topology monitoring", topologyId=topology_id)
        if self._topology:
            self._tell(
                self._topology, "opened", _topology_events().TopologyOpenedEvent(topology_id)
            )

    def topology_changed(
        self, previous: TopologyDescription, new: TopologyDescription, topology_id: ObjectId
    ) -> None:
        """The deployment is not what it was."""
        self._log(
            "topology",
            "Topology description changed",
            topologyId=topology_id,
            previousDescription=_shown(previous),
            newDescription=_shown(new),
        )
        if self._topology:
            event = _topology_events().TopologyDescriptionChangedEvent(previous, new, topology_id)
            self._tell(self._topology, "description_changed", event)

    def topology_closed(self, topology_id: ObjectId) -> None:
        """The client is closed; no other event follows."""
        self._log("topology", "Stopped topology monitoring", topologyId=topology_id)
        if self._topology:
            self._tell(
                self._topology, "closed", _topology_events().TopologyClosedEvent(topology_id)
            )

    def server_opening(self, address: AddressLike, topology_id: ObjectId) -> None:
        """A server is going to be watched."""
        self._log(
            "topology", "Starting server monitoring", topologyId=topology_id, **_host(address)
        )
        if self._servers:
            event = _topology_events().ServerOpeningEvent(address, topology_id)
            self._tell(self._servers, "opened", event)

    def server_changed(
        self,
        previous: ServerDescription,
        new: ServerDescription,
        address: AddressLike,
        topology_id: ObjectId,
    ) -> None:
        """A server is not what it was. Not logged: the topology's change is."""
        if self._servers:
            event = _topology_events().ServerDescriptionChangedEvent(
                previous, new, address, topology_id
            )
            self._tell(self._servers, "description_changed", event)

    def server_closed(self, address: AddressLike, topology_id: ObjectId) -> None:
        """A server is not watched any more."""
        self._log("topology", "Stopped server monitoring", topologyId=topology_id, **_host(address))
        if self._servers:
            event = _topology_events().ServerClosedEvent(address, topology_id)
            self._tell(self._servers, "closed", event)

    # -- heartbeats: the ids are those of the monitor's connection, None while there is none ------

    def heartbeat_started(
        self,
        address: AddressLike,
        awaited: bool,
        *,
        connection_id: int | None = None,
        server_connection_id: int | None = None,
    ) -> None:
        """A check of a server begins."""
        self._log(
            "topology",
            "Server heartbeat started",
            **self._heartbeat_fields(address, awaited, connection_id, server_connection_id),
        )
        if self._heartbeats:
            event = _topology_events().ServerHeartbeatStartedEvent(address, awaited)
            self._tell(self._heartbeats, "started", event)

    def heartbeat_succeeded(
        self,
        address: AddressLike,
        duration_ns: int,
        reply: HelloReply,
        awaited: bool,
        *,
        connection_id: int | None = None,
        server_connection_id: int | None = None,
    ) -> None:
        """The server has answered the check."""
        self._log(
            "topology",
            "Server heartbeat succeeded",
            **self._heartbeat_fields(address, awaited, connection_id, server_connection_id),
            durationMS=duration_ns / 1e6,
            reply=reply.document,
        )
        if self._heartbeats:
            event = _topology_events().ServerHeartbeatSucceededEvent(
                duration_ns / 1e9, reply, address, awaited
            )
            self._tell(self._heartbeats, "succeeded", event)

    def heartbeat_failed(
        self,
        address: AddressLike,
        duration_ns: int,
        error: BaseException,
        awaited: bool,
        *,
        connection_id: int | None = None,
        server_connection_id: int | None = None,
    ) -> None:
        """The check has failed."""
        self._log(
            "topology",
            "Server heartbeat failed",
            **self._heartbeat_fields(address, awaited, connection_id, server_connection_id),
            durationMS=duration_ns / 1e6,
            failure=error,
        )
        if self._heartbeats:
            event = _topology_events().ServerHeartbeatFailedEvent(
                duration_ns / 1e9, error, address, awaited
            )
            self._tell(self._heartbeats, "failed", event)

    def _heartbeat_fields(
        self,
        address: AddressLike,
        awaited: bool,
        connection_id: int | None,
        server_connection_id: int | None,
    ) -> dict[str, Any]:
        return {
            "topologyId": self.topology_id,
            **_host(address),
            "awaited": awaited,
            "driverConnectionId": connection_id,
            "serverConnectionId": server_connection_id,
        }

    # -- pools --------------------------------------------------------------------------------

    def _log_connection(self, message: str, address: AddressLike, /, **fields: Any) -> None:
        self._log("connection", message, clientId=self.topology_id, **_host(address), **fields)

    def pool_created(self, address: AddressLike, options: dict[str, Any]) -> None:
        """A pool was made; `options` are those that differ from their defaults."""
        self._log_connection("Connection pool created", address, **options)
        if self._pools:
            event = _pool_events().PoolCreatedEvent(address, options)
            self._tell(self._pools, "pool_created", event)

    def pool_ready(self, address: AddressLike) -> None:
        """A pool may open connections."""
        self._log_connection("Connection pool ready", address)
        if self._pools:
            self._tell(self._pools, "pool_ready", _pool_events().PoolReadyEvent(address))

    def pool_cleared(
        self, address: AddressLike, service_id: ObjectId | None = None, interrupt: bool = False
    ) -> None:
        """A pool's connections are not used any more; with `interrupt`, those in use are closed."""
        shown = None if service_id is None else str(service_id)
        self._log_connection("Connection pool cleared", address, serviceId=shown)
        if self._pools:
            event = _pool_events().PoolClearedEvent(address, service_id, interrupt)
            self._tell(self._pools, "pool_cleared", event)

    def pool_closed(self, address: AddressLike) -> None:
        """A pool is closed for good."""
        self._log_connection("Connection pool closed", address)
        if self._pools:
            self._tell(self._pools, "pool_closed", _pool_events().PoolClosedEvent(address))

    def connection_created(self, address: AddressLike, connection_id: int) -> None:
        """A connection is going to be opened."""
        self._log_connection("Connection created", address, driverConnectionId=connection_id)
        if self._pools:
            event = _pool_events().ConnectionCreatedEvent(address, connection_id)
            self._tell(self._pools, "connection_created", event)

    def connection_ready(self, address: AddressLike, connection_id: int, duration_ns: int) -> None:
        """A connection has been opened and logged in."""
        self._log_connection(
            "Connection ready",
            address,
            driverConnectionId=connection_id,
            durationMS=duration_ns / 1e6,
        )
        if self._pools:
            event = _pool_events().ConnectionReadyEvent(address, connection_id, duration_ns / 1e9)
            self._tell(self._pools, "connection_ready", event)

    def connection_closed(
        self,
        address: AddressLike,
        connection_id: int,
        reason: str,
        error: BaseException | None = None,
    ) -> None:
        """A connection was closed; `reason` is one of `ConnectionClosedReason`."""
        self._log_connection(
            "Connection closed",
            address,
            driverConnectionId=connection_id,
            reason=_CLOSED_REASONS.get(reason, reason),
            error=_error_shown(error, reason == "error"),
        )
        if self._pools:
            event = _pool_events().ConnectionClosedEvent(address, connection_id, reason)
            self._tell(self._pools, "connection_closed", event)

    def checkout_started(self, address: AddressLike) -> None:
        """Somebody wants a connection."""
        self._log_connection("Connection checkout started", address)
        if self._pools:
            event = _pool_events().ConnectionCheckOutStartedEvent(address)
            self._tell(self._pools, "connection_check_out_started", event)

    def checkout_failed(
        self,
        address: AddressLike,
        reason: str,
        duration_ns: int,
        error: BaseException | None = None,
    ) -> None:
        """There was no connection; `reason` is one of `ConnectionCheckOutFailedReason`."""
        self._log_connection(
            "Connection checkout failed",
            address,
            reason=_CHECK_OUT_REASONS.get(reason, reason),
            error=_error_shown(error, reason == "connectionError"),
            durationMS=duration_ns / 1e6,
        )
        if self._pools:
            event = _pool_events().ConnectionCheckOutFailedEvent(address, reason, duration_ns / 1e9)
            self._tell(self._pools, "connection_check_out_failed", event)

    def checked_out(self, address: AddressLike, connection_id: int, duration_ns: int) -> None:
        """Who wanted a connection has got it."""
        self._log_connection(
            "Connection checked out",
            address,
            driverConnectionId=connection_id,
            durationMS=duration_ns / 1e6,
        )
        if self._pools:
            event = _pool_events().ConnectionCheckedOutEvent(
                address, connection_id, duration_ns / 1e9
            )
            self._tell(self._pools, "connection_checked_out", event)

    def checked_in(self, address: AddressLike, connection_id: int) -> None:
        """A connection was given back."""
        self._log_connection("Connection checked in", address, driverConnectionId=connection_id)
        if self._pools:
            event = _pool_events().ConnectionCheckedInEvent(address, connection_id)
            self._tell(self._pools, "connection_checked_in", event)

    # -- selection: `selector` is a read preference, or what else is to be logged as its repr ------

    def selection_started(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
    ) -> None:
        """A server is looked for, for the command `operation`."""
        self._log_selection(
            "Server selection started", selector, operation, operation_id, description
        )

    def selection_waiting(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        remaining_ns: int,
    ) -> None:
        """There is none yet; called once for an operation, whatever the flag `selection` says, as
        this record is of level INFO."""
        logs = _logs
        if logs is None or not logs.is_on(logs.SERVER_SELECTION, logs.INFO):
            return
        try:
            logs.log(
                logs.SERVER_SELECTION,
                "Waiting for suitable server to become available",
                self._selection_fields(
                    selector,
                    operation,
                    operation_id,
                    description,
                    {"remainingTimeMS": remaining_ns // 1_000_000},
                ),
                logs.INFO,
            )
        except Exception:
            print_error()

    def selection_succeeded(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        address: AddressLike,
    ) -> None:
        """The server at `address` was chosen."""
        self._log_selection(
            "Server selection succeeded",
            selector,
            operation,
            operation_id,
            description,
            **_host(address),
        )

    def selection_failed(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        failure: str,
    ) -> None:
        """There was none in time; `failure` says so, without the description."""
        self._log_selection(
            "Server selection failed",
            selector,
            operation,
            operation_id,
            description,
            failure=failure,
        )

    def _log_selection(
        self,
        message: str,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        /,
        **more: Any,
    ) -> None:
        self._log(
            "serverSelection",
            message,
            **self._selection_fields(selector, operation, operation_id, description, more),
        )

    def _selection_fields(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        more: dict[str, Any],
    ) -> dict[str, Any]:
        return {
            "clientId": self.topology_id,
            "selector": _shown(selector),
            "operation": operation,
            "operationId": operation_id,
            "topologyDescription": _shown(description),
            **more,
        }

    # -- commands -----------------------------------------------------------------------------

    def command_started(
        self,
        name: str,
        database: str,
        message: bytes,
        *,
        request_id: int,
        operation_id: int,
        address: AddressLike,
        connection_id: int | None,
        server_connection_id: int | None,
        service_id: ObjectId | None,
    ) -> CommandUnderWay:
        """`message`, a whole OP_MSG, is about to be sent. What is returned has to be told how it
        ends."""
        command: CommandUnderWay = imported_once(
            "mongokey.events.command_publisher"
        ).CommandUnderWay(
            self,
            name,
            database,
            request_id=request_id,
            operation_id=operation_id,
            address=address,
            connection_id=connection_id,
            server_connection_id=server_connection_id,
            service_id=service_id,
        )
        command.started(message)
        return command


@with_safe_repr
class _Repr:
    """Something whose repr is logged, made only if somebody reads the record."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return repr(self._value)


def _shown(value: object) -> object:
    return value if isinstance(value, str) else _Repr(value)


def _host(address: AddressLike) -> dict[str, Any]:
    # The path of a Unix socket has no port.
    return {"serverHost": address[0], "serverPort": address[1]}


def _error_shown(error: BaseException | None, expected: bool) -> object:
    return _Repr(error) if error is not None and expected else None


def _topology_events() -> Any:
    return imported_once("mongokey.events.topology_events")


def _pool_events() -> Any:
    return imported_once("mongokey.events.pool_events")


def _alive() -> list[Publisher]:
    found = [reference() for reference in list(_publishers.values())]
    return [each for each in found if each is not None]


def _look_again() -> None:
    """A logger may have been turned on or off."""
    for publisher in _alive():
        publisher._look_again()


@run_after_fork
def _reset_after_fork() -> None:
    for publisher in _alive():
        publisher._reset_after_fork()


def print_error() -> None:
    """Print the error being handled, which is a listener's or a log handler's."""
    stream = sys.stderr
    if stream is None:
        return
    import traceback

    try:
        traceback.print_exc(file=stream)
    except (OSError, ValueError):
        # There is nobody left to tell: the stream is closed.
        return
