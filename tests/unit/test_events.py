"""Listeners, events and the publisher, without a server."""

from __future__ import annotations

import gc
import inspect
import threading
import weakref
from datetime import timedelta
from typing import Any

import pymongo.event_loggers
import pymongo.monitoring
import pytest

import mongokey.event_loggers
from mongokey import monitoring
from mongokey.bson import encode
from mongokey.bson.objectid import ObjectId
from mongokey.errors import AutoReconnect, ConfigurationError
from mongokey.events import listeners
from mongokey.events.publisher import Publisher
from mongokey.handshake import HelloReply
from mongokey.wire import encode_message

ADDRESS = ("host", 27017)
ID = ObjectId()
SECOND = timedelta(seconds=1, microseconds=5)

KINDS = {
    kind: getattr(monitoring, kind)
    for kind in (
        "CommandListener",
        "ConnectionPoolListener",
        "ServerHeartbeatListener",
        "ServerListener",
        "TopologyListener",
    )
}


def methods_of(kind: type) -> list[str]:
    return [name for name in vars(kind) if not name.startswith("_")]


class Everything(*KINDS.values()):  # type: ignore[misc]
    """Notes whatever it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if any(name in methods_of(kind) for kind in KINDS.values()):
            return self.events.append
        return super().__getattribute__(name)

    @property
    def names(self) -> list[str]:
        return [type(each).__name__ for each in self.events]


# -- classes ------------------------------------------------------------------------------------

EVENTS: dict[str, tuple[Any, ...]] = {
    "CommandStartedEvent": ({"find": "c", "$db": "d"}, "d", 1, ADDRESS, 2, ID, 3),
    "CommandSucceededEvent": (SECOND, {"ok": 1}, "find", 1, ADDRESS, 2, ID, "d", 3),
    "CommandFailedEvent": (SECOND, {"ok": 0, "code": 1}, "find", 1, ADDRESS, 2, ID, "d", 3),
    "PoolCreatedEvent": (ADDRESS, {"maxPoolSize": 5}),
    "PoolReadyEvent": (ADDRESS,),
    "PoolClearedEvent": (ADDRESS, ID, True),
    "PoolClosedEvent": (ADDRESS,),
    "ConnectionCreatedEvent": (ADDRESS, 4),
    "ConnectionReadyEvent": (ADDRESS, 4, 0.5),
    "ConnectionClosedEvent": (ADDRESS, 4, "stale"),
    "ConnectionCheckOutStartedEvent": (ADDRESS,),
    "ConnectionCheckOutFailedEvent": (ADDRESS, "timeout", 0.5),
    "ConnectionCheckedOutEvent": (ADDRESS, 4, 0.5),
    "ConnectionCheckedInEvent": (ADDRESS, 4),
    "ServerDescriptionChangedEvent": ("old", "new", ADDRESS, ID),
    "ServerOpeningEvent": (ADDRESS, ID),
    "ServerClosedEvent": (ADDRESS, ID),
    "TopologyEvent": (ID,),
    "TopologyDescriptionChangedEvent": ("old", "new", ID),
    "TopologyOpenedEvent": (ID,),
    "TopologyClosedEvent": (ID,),
    "ServerHeartbeatStartedEvent": (ADDRESS, True),
    "ServerHeartbeatSucceededEvent": (0.5, "reply", ADDRESS, True),
    "ServerHeartbeatFailedEvent": (0.5, AutoReconnect("gone"), ADDRESS, True),
}


def public(value: object) -> dict[str, Any]:
    return {name: getattr(value, name) for name in dir(value) if not name.startswith("_")}


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_events_are_like_pymongos(name: str) -> None:
    ours, theirs = (
        getattr(module, name)(*EVENTS[name]) for module in (monitoring, pymongo.monitoring)
    )
    assert public(ours) == public(theirs)
    assert repr(ours) == repr(theirs)
    with pytest.raises(AttributeError):
        ours.anything = 1


def test_all_of_pymongos_public_names_are_there() -> None:
    for ours, theirs in (
        (monitoring, pymongo.monitoring),
        (mongokey.event_loggers, pymongo.event_loggers),
    ):
        names = {
            name
            for name, value in vars(theirs).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == theirs.__name__
        }
        assert names == set(ours.__all__)


@pytest.mark.parametrize("name", [*sorted(EVENTS), *sorted(KINDS)])
def test_constructors_and_methods_take_what_pymongos_take(name: str) -> None:
    ours, theirs = getattr(monitoring, name), getattr(pymongo.monitoring, name)
    # Theirs takes *args in some, for the fields of the base.
    if "args" not in inspect.signature(theirs).parameters:
        assert list(inspect.signature(ours).parameters) == list(
            inspect.signature(theirs).parameters
        )
    assert {each for each in dir(theirs) if each[0] != "_"} == {
        each for each in dir(ours) if each[0] != "_"
    }


def test_methods_that_a_listener_leaves_out_say_so() -> None:
    for kind in KINDS.values():
        for method in methods_of(kind):
            with pytest.raises(NotImplementedError):
                getattr(kind(), method)(None)


def test_an_empty_command_is_none() -> None:
    with pytest.raises(ValueError, match="not a valid command"):
        monitoring.CommandStartedEvent({}, "d", 1, ADDRESS, 2)


@pytest.mark.parametrize("name", ["saslStart", "createUser", "SASLCONTINUE", "getnonce"])
def test_commands_with_secrets_are_not_shown(name: str) -> None:
    started = monitoring.CommandStartedEvent({name: 1, "pwd": "x"}, "d", 1, ADDRESS, 2)
    assert started.command == {}
    assert started.command_name == name
    ended = monitoring.CommandSucceededEvent(SECOND, {"payload": b"x"}, name, 1, ADDRESS, 2)
    assert ended.reply == {}


@pytest.mark.parametrize("name", ["hello", "isMaster", "ismaster"])
def test_a_hello_is_shown_unless_it_logs_in(name: str) -> None:
    secret = {"speculativeAuthenticate": {"payload": b"x"}}
    for extra, shown in (({}, True), (secret, False)):
        command = {name: 1, **extra}
        started = monitoring.CommandStartedEvent(command, "d", 1, ADDRESS, 2)
        assert started.command == (command if shown else {})
        reply = {"ok": 1, **extra}
        ended = monitoring.CommandSucceededEvent(SECOND, reply, name, 1, ADDRESS, 2)
        assert ended.reply == (reply if shown else {})


# -- listeners ------------------------------------------------------------------------------------


@pytest.fixture
def registered() -> Any:
    """The listeners of all clients; those that a test adds are taken out again."""
    before = listeners.registered[:]
    yield listeners.registered
    listeners.registered[:] = before


@pytest.mark.parametrize("value", [1, "ab", object(), [object()], {Everything()}, Everything()])
def test_the_option_takes_listeners_only(value: Any) -> None:
    with pytest.raises(TypeError, match="event_listeners must be ") as caught:
        mongokey.MongoClient(event_listeners=value)
    assert isinstance(caught.value, ConfigurationError)


def test_register_takes_listeners_only(registered: list[Any]) -> None:
    before = registered[:]
    with pytest.raises(TypeError, match="CommandListener"):
        monitoring.register(object())  # type: ignore[arg-type]
    assert registered == before


def test_registered_listeners_are_told_by_clients_made_later(registered: list[Any]) -> None:
    before = Publisher()
    listener, own = Everything(), Everything()
    monitoring.register(listener)
    after = Publisher((own,))
    assert not before.pools
    assert after.pools
    after.pool_ready(ADDRESS)
    assert listener.names == own.names == ["PoolReadyEvent"]
    assert listener.events[0] is own.events[0]


def test_a_listener_of_pymongos_classes_is_one(registered: list[Any]) -> None:
    class Theirs(pymongo.monitoring.ServerListener):
        def opened(self, event: Any) -> None:
            opened.append(event.server_address)

    opened: list[Any] = []
    monitoring.register(Theirs())  # type: ignore[arg-type]
    publisher = Publisher()
    assert publisher.servers
    assert not publisher.commands
    publisher.server_opening(ADDRESS, ID)
    assert opened == [ADDRESS]


# -- the publisher --------------------------------------------------------------------------------


def flags(publisher: Publisher) -> set[str]:
    names = ("commands", "pools", "topology", "servers", "heartbeats", "selection")
    return {name for name in names if getattr(publisher, name)}


def test_nobody_listens_at_first() -> None:
    assert flags(Publisher()) == set()


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        ("CommandListener", "commands"),
        ("ConnectionPoolListener", "pools"),
        ("ServerHeartbeatListener", "heartbeats"),
        ("ServerListener", "servers"),
        ("TopologyListener", "topology"),
    ],
)
def test_each_kind_has_its_flag(kind: str, flag: str) -> None:
    assert flags(Publisher((KINDS[kind](),))) == {flag}


HELLO = HelloReply({"ok": 1, "maxWireVersion": 21})
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("topology_opening", (ID,), {"topology_id": ID}, "TopologyOpenedEvent"),
    (
        "topology_changed",
        ("old", "new", ID),
        {"previous_description": "old", "new_description": "new", "topology_id": ID},
        "TopologyDescriptionChangedEvent",
    ),
    ("topology_closed", (ID,), {"topology_id": ID}, "TopologyClosedEvent"),
    (
        "server_opening",
        (ADDRESS, ID),
        {"server_address": ADDRESS, "topology_id": ID},
        "ServerOpeningEvent",
    ),
    (
        "server_changed",
        ("old", "new", ADDRESS, ID),
        {
            "previous_description": "old",
            "new_description": "new",
            "server_address": ADDRESS,
            "topology_id": ID,
        },
        "ServerDescriptionChangedEvent",
    ),
    (
        "server_closed",
        (ADDRESS, ID),
        {"server_address": ADDRESS, "topology_id": ID},
        "ServerClosedEvent",
    ),
    (
        "heartbeat_started",
        (ADDRESS, True),
        {"connection_id": ADDRESS, "awaited": True},
        "ServerHeartbeatStartedEvent",
    ),
    (
        "heartbeat_succeeded",
        (ADDRESS, 1500_000_000, HELLO, True),
        {"connection_id": ADDRESS, "awaited": True, "duration": 1.5, "reply": HELLO},
        "ServerHeartbeatSucceededEvent",
    ),
    (
        "heartbeat_failed",
        (ADDRESS, 1500_000_000, HELLO, False),
        {"connection_id": ADDRESS, "awaited": False, "duration": 1.5, "reply": HELLO},
        "ServerHeartbeatFailedEvent",
    ),
    (
        "pool_created",
        (ADDRESS, {"maxPoolSize": 5}),
        {"address": ADDRESS, "options": {"maxPoolSize": 5}},
        "PoolCreatedEvent",
    ),
    ("pool_ready", (ADDRESS,), {"address": ADDRESS}, "PoolReadyEvent"),
    (
        "pool_cleared",
        (ADDRESS, ID, True),
        {"address": ADDRESS, "service_id": ID, "interrupt_connections": True},
        "PoolClearedEvent",
    ),
    ("pool_closed", (ADDRESS,), {"address": ADDRESS}, "PoolClosedEvent"),
    (
        "connection_created",
        (ADDRESS, 1),
        {"address": ADDRESS, "connection_id": 1},
        "ConnectionCreatedEvent",
    ),
    (
        "connection_ready",
        (ADDRESS, 1, 1500_000_000),
        {"address": ADDRESS, "connection_id": 1, "duration": 1.5},
        "ConnectionReadyEvent",
    ),
    (
        "connection_closed",
        (ADDRESS, 1, "error", AutoReconnect("gone")),
        {"address": ADDRESS, "connection_id": 1, "reason": "error"},
        "ConnectionClosedEvent",
    ),
    ("checkout_started", (ADDRESS,), {"address": ADDRESS}, "ConnectionCheckOutStartedEvent"),
    (
        "checkout_failed",
        (ADDRESS, "timeout", 1500_000_000),
        {"address": ADDRESS, "reason": "timeout", "duration": 1.5, "connection_id": 0},
        "ConnectionCheckOutFailedEvent",
    ),
    (
        "checked_out",
        (ADDRESS, 1, 1500_000_000),
        {"address": ADDRESS, "connection_id": 1, "duration": 1.5},
        "ConnectionCheckedOutEvent",
    ),
    (
        "checked_in",
        (ADDRESS, 1),
        {"address": ADDRESS, "connection_id": 1},
        "ConnectionCheckedInEvent",
    ),
]


@pytest.mark.parametrize(("call", "args", "fields", "event"), CALLS, ids=[c[0] for c in CALLS])
def test_each_call_tells_the_listeners_of_its_kind(
    call: str, args: tuple[Any, ...], fields: dict[str, Any], event: str
) -> None:
    listener = Everything()
    getattr(Publisher((listener,)), call)(*args)
    (told,) = listener.events
    assert type(told).__name__ == event
    assert public(told) == fields


@pytest.mark.parametrize(("call", "args", "fields", "event"), CALLS, ids=[c[0] for c in CALLS])
def test_calls_that_nobody_listens_to_are_harmless(
    call: str, args: tuple[Any, ...], fields: dict[str, Any], event: str
) -> None:
    getattr(Publisher(), call)(*args)


def test_a_listeners_error_is_printed_and_goes_no_further(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Bad(monitoring.ConnectionPoolListener):
        def pool_ready(self, event: Any) -> None:
            raise RuntimeError("the listener's own")

    after = Everything()
    Publisher((Bad(), after)).pool_ready(ADDRESS)
    assert after.names == ["PoolReadyEvent"]
    assert "RuntimeError: the listener's own" in capsys.readouterr().err


def test_where_nothing_can_be_printed_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise OSError("closed")

    publisher = Publisher((monitoring.ConnectionPoolListener(),))
    for stream in (None, Closed()):
        monkeypatch.setattr("sys.stderr", stream)
        publisher.pool_ready(ADDRESS)


def test_a_ctrl_c_in_a_listener_is_not_swallowed() -> None:
    class Interrupted(monitoring.ConnectionPoolListener):
        def pool_ready(self, event: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Publisher((Interrupted(),)).pool_ready(ADDRESS)


def test_a_publisher_is_not_kept_alive() -> None:
    publisher = Publisher()
    seen = weakref.ref(publisher)
    del publisher
    gc.collect()
    assert seen() is None


def test_the_id_of_a_client_is_the_same_each_time() -> None:
    publisher = Publisher()
    found: list[ObjectId] = []
    threads = [
        threading.Thread(target=lambda: found.append(publisher.topology_id)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {publisher.topology_id}
    assert publisher.topology_id != Publisher().topology_id


def test_what_was_deferred_is_told_in_order() -> None:
    listener = Everything()
    publisher = Publisher((listener,))
    publisher.defer(publisher.pool_created, ADDRESS, {})
    publisher.defer(publisher.pool_ready, ADDRESS)
    assert listener.names == []
    publisher.deliver()
    publisher.deliver()
    assert listener.names == ["PoolCreatedEvent", "PoolReadyEvent"]


def test_a_listener_may_cause_more_events_while_others_are_delivered() -> None:
    class Causes(monitoring.ConnectionPoolListener):
        def pool_created(self, event: Any) -> None:
            publisher.defer(publisher.pool_closed, ADDRESS)
            publisher.deliver()

    after = Everything()
    publisher = Publisher((Causes(), after))
    publisher.defer(publisher.pool_created, ADDRESS, {})
    publisher.defer(publisher.pool_cleared, ADDRESS)
    publisher.deliver()
    assert after.names == ["PoolCreatedEvent", "PoolClearedEvent", "PoolClosedEvent"]


def test_who_delivers_does_it_for_others_too() -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(monitoring.ConnectionPoolListener):
        def pool_created(self, event: Any) -> None:
            entered.set()
            assert go_on.wait(20)

        def pool_ready(self, event: Any) -> None:
            readied_in.append(threading.get_ident())

    readied_in: list[int] = []
    publisher = Publisher((Slow(),))
    publisher.defer(publisher.pool_created, ADDRESS, {})
    thread = threading.Thread(target=publisher.deliver)
    thread.start()
    assert entered.wait(20)
    publisher.defer(publisher.pool_ready, ADDRESS)
    publisher.deliver()  # does not wait
    assert readied_in == []
    go_on.set()
    thread.join()
    assert readied_in == [thread.ident]


def test_what_a_ctrl_c_stopped_is_delivered_the_next_time() -> None:
    class Interrupted(monitoring.ConnectionPoolListener):
        def pool_created(self, event: Any) -> None:
            raise KeyboardInterrupt

        def pool_ready(self, event: Any) -> None:
            readied.append(event)

    readied: list[Any] = []
    publisher = Publisher((Interrupted(),))
    publisher.defer(publisher.pool_created, ADDRESS, {})
    publisher.defer(publisher.pool_ready, ADDRESS)
    with pytest.raises(KeyboardInterrupt):
        publisher.deliver()
    publisher.deliver()
    assert len(readied) == 1


# -- commands -------------------------------------------------------------------------------------


def start(publisher: Publisher, command: dict[str, Any], **sections: Any) -> Any:
    under_way = publisher.command(
        next(iter(command)),
        "d",
        request_id=7,
        operation_id=8,
        address=ADDRESS,
        connection_id=1,
        server_connection_id=3,
        service_id=None,
    )
    under_way.started(encode_message(command, request_id=7, sections=sections or None))
    return under_way


COMMON = {
    "command_name": "insert",
    "request_id": 7,
    "operation_id": 8,
    "connection_id": ADDRESS,
    "server_connection_id": 3,
    "service_id": None,
    "database_name": "d",
}


def test_document_sequences_stand_in_the_command_as_lists() -> None:
    listener = Everything()
    documents = [{"_id": 1, "x": {"y": [1]}}, {"_id": 2}]
    start(Publisher((listener,)), {"insert": "c", "$db": "d"}, documents=documents)
    (event,) = listener.events
    assert event.command == {"insert": "c", "$db": "d", "documents": documents}
    assert event.command is event.command
    assert public(event) == {**COMMON, "command": event.command}


def test_a_command_that_succeeds() -> None:
    listener = Everything()
    command = start(Publisher((listener,)), {"insert": "c"})
    command.succeeded(encode({"ok": 1, "n": 2}))
    event = listener.events[1]
    assert listener.names == ["CommandStartedEvent", "CommandSucceededEvent"]
    assert 0 <= event.duration_micros < 10**8
    duration = event.duration_micros
    assert public(event) == {**COMMON, "reply": {"ok": 1, "n": 2}, "duration_micros": duration}


def test_a_command_that_nobody_answers_succeeds() -> None:
    listener = Everything()
    start(Publisher((listener,)), {"insert": "c"}).succeeded(None)
    assert listener.events[1].reply == {"ok": 1}


def test_a_command_that_the_server_refuses() -> None:
    listener = Everything()
    reply = {"ok": 0, "code": 13, "errmsg": "no", "errorLabels": ["x"]}
    start(Publisher((listener,)), {"insert": "c"}).refused(encode(reply))
    event = listener.events[1]
    assert public(event) == {**COMMON, "failure": reply, "duration_micros": event.duration_micros}


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (AutoReconnect("gone"), {"errmsg": "gone", "errtype": "AutoReconnect"}),
        (
            KeyboardInterrupt(),
            {
                "errmsg": "operation interrupted by KeyboardInterrupt",
                "errtype": "KeyboardInterrupt",
            },
        ),
    ],
)
def test_a_command_that_did_not_arrive(error: BaseException, failure: dict[str, str]) -> None:
    listener = Everything()
    start(Publisher((listener,)), {"insert": "c"}).failed(error)
    assert listener.events[1].failure == failure


def test_nothing_of_a_secret_is_told() -> None:
    listener = Everything()
    publisher = Publisher((listener,))
    start(publisher, {"createUser": "u", "pwd": "secret"}).refused(
        encode({"ok": 0, "code": 1, "codeName": "x", "errmsg": "secret", "errorLabels": []})
    )
    start(publisher, {"hello": 1, "speculativeAuthenticate": {"p": "secret"}}).succeeded(
        encode({"ok": 1, "who": "secret"})
    )
    assert "secret" not in "".join(repr(public(each)) for each in listener.events)
    assert listener.events[1].failure == {"code": 1, "codeName": "x", "errorLabels": []}


def test_odd_replies_can_be_looked_at() -> None:
    # Text that is no UTF-8, and a date that Python does not have.
    reply = encode({"a": "xy", "ok": 1}).replace(b"xy", b"x\xff")
    listener = Everything()
    start(Publisher((listener,)), {"insert": "c"}).succeeded(reply)
    assert listener.events[1].reply == {"a": "x�", "ok": 1}
