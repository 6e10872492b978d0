"""What a client's listeners saw, and whether it is what a test expects.

It knows PyMongo's listener and event classes and the format's names for them. Which client is
listened to, and when, the entities decide.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.unified.drivers import Driver, RunnerError, only, single
from tests.conformance.unified.matching import UNSET, Matcher, Mismatch

#: How long `waitForEvent` waits, as the format says.
WAIT = 10.0

#: Per listener class of PyMongo's: by its methods, the format's name of the event.
LISTENERS: Mapping[str, Mapping[str, str]] = {
    "CommandListener": {
        "started": "commandStartedEvent",
        "succeeded": "commandSucceededEvent",
        "failed": "commandFailedEvent",
    },
    "ConnectionPoolListener": {
        "pool_created": "poolCreatedEvent",
        "pool_ready": "poolReadyEvent",
        "pool_cleared": "poolClearedEvent",
        "pool_closed": "poolClosedEvent",
        "connection_created": "connectionCreatedEvent",
        "connection_ready": "connectionReadyEvent",
        "connection_closed": "connectionClosedEvent",
        "connection_check_out_started": "connectionCheckOutStartedEvent",
        "connection_check_out_failed": "connectionCheckOutFailedEvent",
        "connection_checked_out": "connectionCheckedOutEvent",
        "connection_checked_in": "connectionCheckedInEvent",
    },
    "ServerListener": {
        "opened": "serverOpeningEvent",
        "description_changed": "serverDescriptionChangedEvent",
        "closed": "serverClosedEvent",
    },
    "ServerHeartbeatListener": {
        "started": "serverHeartbeatStartedEvent",
        "succeeded": "serverHeartbeatSucceededEvent",
        "failed": "serverHeartbeatFailedEvent",
    },
    "TopologyListener": {
        "opened": "topologyOpeningEvent",
        "description_changed": "topologyDescriptionChangedEvent",
        "closed": "topologyClosedEvent",
    },
}
COMMAND = frozenset(LISTENERS["CommandListener"].values())
CMAP = frozenset(LISTENERS["ConnectionPoolListener"].values())
SDAM = frozenset(
    kind
    for listener in ("ServerListener", "ServerHeartbeatListener", "TopologyListener")
    for kind in LISTENERS[listener].values()
)
#: By the `eventType` of expected events, the kinds that it compares.
CATEGORIES: Mapping[str, frozenset[str]] = {"command": COMMAND, "cmap": CMAP, "sdam": SDAM}
KINDS = COMMAND | CMAP | SDAM


def category_of(kind: str) -> str:
    """The `eventType` that has a kind of event."""
    for category, kinds in CATEGORIES.items():
        if kind in kinds:
            return category
    raise RunnerError(f"{kind}: there is no such event")


#: Commands whose content the command monitoring specification hides ("Security").
SENSITIVE = frozenset(
    {
        "authenticate",
        "copydb",
        "copydbgetnonce",
        "copydbsaslstart",
        "createUser",
        "getnonce",
        "saslContinue",
        "saslStart",
        "updateUser",
    }
)
HELLOS = frozenset({"hello", "ismaster"})


@dataclass(frozen=True)
class Observed:
    """An event, by the format's name of its kind."""

    kind: str
    event: Any

    def __repr__(self) -> str:
        name = getattr(self.event, "command_name", "")
        return f"{self.kind} {name}".strip()


class EventCollector:
    """Keeps what the listeners of one client get to see, of the `kinds` that are observed.

    `checked_out` counts the connections in use; `ignored` are names of commands.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        ignored: Sequence[str] = (),
        sensitive: bool = False,
        count_connections: bool = False,
    ) -> None:
        unknown = set(kinds) - KINDS
        if unknown:
            raise RunnerError(f"there are no events called {', '.join(sorted(unknown))}")
        self.kinds = frozenset(kinds)
        self.checked_out = 0
        self._listened = set(kinds)
        if count_connections:
            self._listened |= {"connectionCheckedOutEvent", "connectionCheckedInEvent"}
        self._ignored = {name.lower() for name in (*ignored, "configureFailPoint")}
        self._sensitive = sensitive
        self._events: list[Observed] = []
        self._changed = threading.Condition()
        self._enabled = True

    def listeners(self, driver: Driver) -> list[Any]:
        """Listeners of the driver's classes that report here."""
        made = []
        for name, methods in LISTENERS.items():
            if self._listened.isdisjoint(methods.values()):
                continue
            base = getattr(driver.module("monitoring"), name)
            reports = {method: _reporter(self, kind) for method, kind in methods.items()}
            made.append(type(f"Collecting{name}", (base,), reports)())
        return made

    def disable(self) -> None:
        """Keep nothing from now on."""
        self._enabled = False

    def restart(self) -> None:
        """Forget what was seen so far."""
        with self._changed:
            self._events.clear()

    def add(self, kind: str, event: Any) -> None:
        """Called by the listeners, in whatever thread."""
        with self._changed:
            if kind == "connectionCheckedOutEvent":
                self.checked_out += 1
            elif kind == "connectionCheckedInEvent":
                self.checked_out -= 1
            if self._enabled and kind in self.kinds and not self._is_ignored(kind, event):
                self._events.append(Observed(kind, event))
            self._changed.notify_all()

    def _is_ignored(self, kind: str, event: Any) -> bool:
        if kind not in COMMAND:
            return False
        if event.command_name.lower() in self._ignored:
            return True
        return not self._sensitive and is_sensitive(kind, event)

    def seen(self, kinds: frozenset[str] = KINDS) -> list[Observed]:
        """What was seen of these kinds, in its order."""
        with self._changed:
            return [each for each in self._events if each.kind in kinds]

    def count(self, matcher: Matcher, expected: Mapping[str, Any]) -> int:
        """How many of the events seen are as expected."""
        kind, _ = single(expected)
        self._require(kind)
        return sum(event_matches(matcher, expected, each) for each in self.seen(frozenset({kind})))

    def wait_for(self, matcher: Matcher, expected: Mapping[str, Any], count: int) -> None:
        """Wait until as many events are as expected, those seen before included."""
        kind, _ = single(expected)
        self._require(kind)
        deadline = time.monotonic() + WAIT
        with self._changed:
            while True:
                found = sum(event_matches(matcher, expected, each) for each in self._events)
                if found >= count:
                    return
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise Mismatch(
                        f"{count} times {expected} expected within {WAIT:g} s, {found} were seen"
                        f" among {self._events}"
                    )

    def _require(self, kind: str) -> None:
        if kind not in self.kinds:
            raise RunnerError(f"{kind}: the client does not observe it")


def _reporter(collector: EventCollector, kind: str) -> Any:
    def report(self: Any, event: Any) -> None:
        collector.add(kind, event)

    return report


def is_sensitive(kind: str, event: Any) -> bool:
    """Whether a command's content is hidden; a hello's if the driver has emptied it."""
    name = event.command_name
    if name in SENSITIVE:
        return True
    if name.lower() not in HELLOS:
        return False
    if kind == "commandFailedEvent":
        return not event.failure
    return not (event.command if kind == "commandStartedEvent" else event.reply)


# -- matching -----------------------------------------------------------------------------------


def check_events(
    matcher: Matcher, collector: EventCollector, expectation: Mapping[str, Any]
) -> None:
    """Raise `Mismatch` unless a client's events are those of an expectedEventsForClient."""
    only(expectation, "client", "eventType", "events", "ignoreExtraEvents")
    category = expectation.get("eventType", "command")
    if category not in CATEGORIES:
        raise RunnerError(f"{category}: there is no such eventType")
    seen = collector.seen(CATEGORIES[category])
    expected = expectation["events"]
    for position, each in enumerate(expected):
        kind, _ = single(each)
        if kind not in CATEGORIES[category]:
            raise RunnerError(f"{kind} is no event of the type {category}")
        if position >= len(seen):
            raise Mismatch(
                f"event {position}, {each}, is missing on {expectation['client']}:"
                f" {len(expected)} expected, seen were {seen}"
            )
        match_event(matcher, each, seen[position], f"event {position} of {seen}")
    if len(seen) > len(expected) and not expectation.get("ignoreExtraEvents", False):
        raise Mismatch(
            f"on {expectation['client']} {len(expected)} events of type {category} are expected,"
            f" seen were {seen}"
        )


def event_matches(matcher: Matcher, expected: Mapping[str, Any], observed: Observed) -> bool:
    """Whether an event is as expected."""
    try:
        match_event(matcher, expected, observed, "event")
    except Mismatch:
        return False
    return True


def match_event(
    matcher: Matcher, expected: Mapping[str, Any], observed: Observed, path: str
) -> None:
    """Raise `Mismatch` unless an event is as an expectedEvent says."""
    kind, facts = single(expected)
    if kind not in KINDS:
        raise RunnerError(f"{kind}: there is no such event")
    if observed.kind != kind:
        raise Mismatch(f"{path}: expected {kind} {facts}, was {observed!r}")
    assertions = ASSERTIONS[kind]
    only(facts, *assertions)
    for key, value in facts.items():
        assertions[key](matcher, value, observed.event, f"{path}: {key}")


def _attribute(name: str, *, root: bool = False) -> Any:
    def check(matcher: Matcher, expected: Any, event: Any, path: str) -> None:
        matcher.match(expected, getattr(event, name, UNSET), root=root, path=path)

    return check


def _check_service_id(matcher: Matcher, expected: Any, event: Any, path: str) -> None:
    service_id = event.service_id
    is_set = service_id is not None and service_id.binary != bytes(12)
    if is_set is not expected:
        raise Mismatch(f"{path}: expected {expected}, was {service_id!r}")


def _check_server_connection_id(matcher: Matcher, expected: Any, event: Any, path: str) -> None:
    number = event.server_connection_id
    is_set = isinstance(number, int) and not isinstance(number, bool) and number > 0
    if is_set is not expected:
        raise Mismatch(f"{path}: expected {expected}, was {number!r}")


def _description(attribute: str, type_name: str) -> Any:
    def check(matcher: Matcher, expected: Any, event: Any, path: str) -> None:
        only(expected, "type")
        if "type" in expected:
            actual = getattr(getattr(event, attribute), type_name)
            matcher.match(expected["type"], actual, path=f"{path}.type")

    return check


_SERVICE = {"hasServiceId": _check_service_id}
_COMMAND = {
    "commandName": _attribute("command_name"),
    "databaseName": _attribute("database_name"),
    "hasServerConnectionId": _check_server_connection_id,
    **_SERVICE,
}
_SERVER = {
    "previousDescription": _description("previous_description", "server_type_name"),
    "newDescription": _description("new_description", "server_type_name"),
}
_TOPOLOGY = {
    "previousDescription": _description("previous_description", "topology_type_name"),
    "newDescription": _description("new_description", "topology_type_name"),
}
_HEARTBEAT = {"awaited": _attribute("awaited")}
_REASON = {"reason": _attribute("reason")}

#: By the kind of event, what a test may say about it.
ASSERTIONS: Mapping[str, Mapping[str, Any]] = {
    **{kind: {} for kind in KINDS},
    "commandStartedEvent": {"command": _attribute("command", root=True), **_COMMAND},
    "commandSucceededEvent": {"reply": _attribute("reply", root=True), **_COMMAND},
    "commandFailedEvent": _COMMAND,
    "poolClearedEvent": {
        "interruptInUseConnections": _attribute("interrupt_connections"),
        **_SERVICE,
    },
    "connectionClosedEvent": _REASON,
    "connectionCheckOutFailedEvent": _REASON,
    "serverDescriptionChangedEvent": _SERVER,
    "topologyDescriptionChangedEvent": _TOPOLOGY,
    "serverHeartbeatStartedEvent": _HEARTBEAT,
    "serverHeartbeatSucceededEvent": _HEARTBEAT,
    "serverHeartbeatFailedEvent": _HEARTBEAT,
}
