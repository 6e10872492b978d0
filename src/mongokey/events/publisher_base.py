"""The base of `Publisher`: who wants to be told of what, and how listeners and loggers are told.

Knows flags, listeners and loggers, and nothing of what happens. `logging` and the classes of events
are loaded when they are first needed.
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
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId
    from mongokey.events.tracing import Tracing

# `mongokey.events.logs`, once a client is used; until then nobody can want a record.
_logs: ModuleType | None = None
# Those of clients that are used: told when a logger is turned on or off.
_publishers: set[weakref.ref[PublisherBase]] = set()


class EventQueue:
    """What is to be told later, in order, by one thread at a time."""

    __slots__ = ("_delivering", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._delivering = allocate_lock()

    def deliver(self) -> None:
        # Who comes while it is held has deferred before, and is served by the one who holds it.
        interruption: BaseException | None = None
        while self.waiting and self._delivering.acquire(blocking=False):
            try:
                while self.waiting:
                    method, args = self.waiting.popleft()
                    try:
                        method(*args)
                    except BaseException as error:
                        # Such as a Ctrl-C that came in a listener: all are told first.
                        interruption = interruption or error
            finally:
                self._delivering.release()
        if interruption is not None:
            raise interruption


class PublisherBase(PublisherFlags):
    """Holds the listeners and flags of one client; see `Publisher`."""

    # Most clients have no listeners, and pay for none of this.
    _commands: tuple[Any, ...] = ()
    _pools: tuple[Any, ...] = ()
    _heartbeats: tuple[Any, ...] = ()
    _servers: tuple[Any, ...] = ()
    _topology: tuple[Any, ...] = ()
    _topology_id: ObjectId | None = None
    _queue: EventQueue | None = None
    _started = False
    #: What spans are made with (`mongokey.events.tracing`); None: nothing is traced.
    tracing: Tracing | None = None
    #: Called without arguments when `selection` was turned on, with logging's lock held.
    on_selection: Callable[[], Any] | None = None

    def __init__(self, event_listeners: tuple[Any, ...] = ()) -> None:
        if event_listeners or listeners.registered:
            found = listeners.by_kind(event_listeners)
            self._commands = found.get("CommandListener", ())
            self._pools = found.get("ConnectionPoolListener", ())
            self._heartbeats = found.get("ServerHeartbeatListener", ())
            self._servers = found.get("ServerListener", ())
            self._topology = found.get("TopologyListener", ())
            self._look_again()

    # -- who wants what -----------------------------------------------------------------------

    def start(self) -> None:
        """The client is going to be used: from now on loggers are looked at. Idempotent."""
        global _logs
        if self._started:
            return
        self._started = True
        if _logs is None:
            logs = imported_once("mongokey.events.logs")
            logs.watch_levels(_look_again)
            _logs = logs
        # Before it looks, so that it is told of what changes meanwhile.
        _publishers.add(weakref.ref(self, _publishers.discard))
        if _logs.on:
            self._look_again()

    def _look_again(self) -> None:
        """Set the flags by listeners and loggers. Called with logging's lock held, perhaps in a
        signal handler: it must not wait."""
        logs_on = _logs.on if _logs is not None else ()
        turned_on = "serverSelection" in logs_on and not self.selection
        self._set_flags(
            # What traces is told of commands as a listener is.
            commands="command" in logs_on or bool(self._commands) or self.tracing is not None,
            pools="connection" in logs_on or bool(self._pools),
            topology="topology" in logs_on or bool(self._topology),
            servers="topology" in logs_on or bool(self._servers),
            heartbeats="topology" in logs_on or bool(self._heartbeats),
            selection="serverSelection" in logs_on,
        )
        if turned_on and self.on_selection is not None:
            self.on_selection()

    def trace_with(self, tracing: Tracing) -> None:
        """From now on there are spans."""
        self.tracing = tracing
        self._look_again()

    def traced(self, plan: Any) -> Any:
        """A plan, whose operations are one in spans where there are any."""
        return plan if self.tracing is None else self.tracing.plan(plan)

    @property
    def tells_anybody(self) -> bool:
        """Whether there are listeners, or loggers that are on."""
        return (
            self.commands
            or self.pools
            or self.topology
            or self.servers
            or self.heartbeats
            or self.selection
        )

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
        queue = self._queue
        if queue is None:
            queue = self._queue = self.__dict__.setdefault("_made_queue", EventQueue())
        queue.waiting.append((method, args))

    def deliver(self) -> None:
        """Publish what was deferred, in order; no lock may be held. If another thread, or a
        listener's caller further up, is at it, it does the rest and this returns at once."""
        if self._queue is not None:
            self._queue.deliver()

    def _reset_after_fork(self) -> None:
        """In a forked child: who delivered may be a thread of the parent's, and so is what
        happened."""
        self._queue = None
        self.__dict__.pop("_made_queue", None)

    # -- telling ------------------------------------------------------------------------------

    def _tell(self, listeners: tuple[Any, ...], method: str, event: object) -> None:
        for listener in listeners:
            try:
                getattr(listener, method)(event)
            except Exception:
                print_error()

    def _log(self, component: str, message: str, /, **fields: Any) -> None:
        if _logs is not None and component in _logs.on:
            try:
                _logs.log(component, message, fields)
            except Exception:
                # A filter's or a handler's.
                print_error()

    def _logs_something(self) -> bool:
        return _logs is not None and bool(_logs.on)

    def _wants_info(self, component: str) -> bool:
        return _logs is not None and _logs.is_on(component, _logs.INFO)

    def _log_info(self, component: str, message: str, fields: dict[str, Any]) -> None:
        """For who has asked `_wants_info`."""
        assert _logs is not None
        try:
            _logs.log(component, message, fields, _logs.INFO)
        except Exception:
            print_error()


@with_safe_repr
class Repr:
    """Something whose repr is logged, made only if somebody reads the record."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return repr(self._value)


def shown(value: object) -> object:
    """What is logged of a description or a selector."""
    return value if isinstance(value, str) else Repr(value)


def host(address: AddressLike) -> dict[str, Any]:
    """The fields of a record that name a server; the path of a Unix socket has no port."""
    return {"serverHost": address[0], "serverPort": address[1]}


def _alive() -> list[PublisherBase]:
    found = [reference() for reference in _publishers.copy()]
    return [each for each in found if each is not None]


def _look_again() -> None:
    """A logger was turned on or off."""
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
