"""The checks of one server as steps: no socket is opened, and the clock is the test's."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from mongokey._support.deadline import Timeout
from mongokey.auth.login import Command
from mongokey.bson import ObjectId
from mongokey.bson.int64 import Int64
from mongokey.connection.settings import ConnectionSettings
from mongokey.connection.steps import (
    Connect,
    Disconnect,
    Exchange,
    NextReply,
    Now,
    Sleep,
    StepCancelled,
)
from mongokey.errors import AutoReconnect, NetworkTimeout, NotPrimaryError, OperationFailure
from mongokey.handshake import HelloReply
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.server_monitor import MIN_HEARTBEAT_NS, ServerMonitor

ADDRESS = ("a", 27017)
SECOND = 1_000_000_000
HELLO = {"ok": 1, "isWritablePrimary": True, "maxWireVersion": 21, "helloOk": True}
VERSION = {"processId": ObjectId(), "counter": Int64(1)}
MEMBER = {
    **HELLO,
    "connectionId": 77,
    "setName": "rs",
    "hosts": ["a:27017"],
    "topologyVersion": VERSION,
}


class FakeConnection:
    """What `Connect` is answered with."""

    def __init__(self) -> None:
        self.peer = "a:27017"
        self.hello: HelloReply | None = None
        self.closed = False
        self.more_to_come = False
        self.duration_ns = 2_000_000
        self.lost = False
        self.last_words = b""
        self.stream = self

    def accept_hello(self, hello: HelloReply) -> None:
        self.hello = hello

    def received_bytes(self, most: int) -> bytes:
        return b""


class Script:
    """Drives the steps: `Now` and `Disconnect` are done by itself, all else is for the test."""

    def __init__(self, monitor: ServerMonitor, steps: Generator[Any, Any, Any]) -> None:
        self.monitor = monitor
        self.steps = steps
        self.now_ns = 100 * SECOND
        self.disconnected = 0
        self.step: Any = None
        self.connection: FakeConnection | None = None
        self._proceed(lambda: next(steps))

    def _proceed(self, advance: Any) -> None:
        step = advance()
        while isinstance(step, Now | Disconnect):
            if isinstance(step, Now):
                step = self.steps.send(self.now_ns)
            else:
                self.disconnected += 1
                step = self.steps.send(None)
        self.step = step

    def answer(self, answer: Any = None, *, takes_ns: int = 2_000_000) -> Any:
        """Answer the step under way, `takes_ns` later; the next one."""
        self.now_ns += takes_ns
        if isinstance(self.step, Connect):
            answer = self.connection = FakeConnection()
        self._proceed(lambda: self.steps.send(answer))
        return self.step

    def fail(self, error: Exception) -> Any:
        """Let the step under way fail; the connection is gone then."""
        self.connection = None
        self._proceed(lambda: self.steps.throw(error))
        return self.step

    def connect(self, hello: dict[str, Any] = HELLO) -> Any:
        """Connect and answer the first hello; the step after it."""
        assert isinstance(self.step, Connect)
        assert isinstance(self.answer(), Command)
        return self.answer(hello)


class Heartbeats:
    """A publisher that keeps what it is told."""

    heartbeats = True

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def heartbeat_started(self, address: Any, awaited: bool, **ids: Any) -> None:
        self.told.append(("started", awaited))

    def heartbeat_succeeded(
        self, address: Any, duration: int, reply: HelloReply, awaited: bool, **ids: Any
    ) -> None:
        self.told.append(("succeeded", duration, awaited, reply.document, ids))

    def heartbeat_failed(
        self, address: Any, duration: int, error: Any, awaited: bool, **ids: Any
    ) -> None:
        self.told.append(("failed", duration, awaited, type(error)))


def monitored(
    *, streaming: bool = False, publisher: Any = None, settings: ConnectionSettings | None = None
) -> tuple[Script, list[ServerDescription], list[bool]]:
    """A script in the first step, what is reported, and whether measuring was asked for."""
    reports: list[ServerDescription] = []
    measured: list[bool] = []
    monitor = ServerMonitor(
        ADDRESS,
        settings or ConnectionSettings(),
        reports.append,
        Timeout(10 * SECOND, "heartbeatFrequencyMS"),
        streaming=streaming,
        measure=lambda steps: measured.append(True),
        publisher=publisher,
    )
    return Script(monitor, monitor.steps()), reports, measured


def test_a_server_is_greeted_then_asked_every_heartbeat_on_the_same_connection() -> None:
    script, reports, measured = monitored()
    sleep = script.connect()
    assert isinstance(sleep, Sleep)
    assert (sleep.ns, sleep.at_least_ns) == (10 * SECOND, MIN_HEARTBEAT_NS)
    step = script.answer()
    assert isinstance(step, Exchange)
    assert step.document == {"hello": 1}
    assert not step.exhaust
    assert step.limit is not None
    assert step.limit.ns == 20 * SECOND
    assert isinstance(script.answer(HELLO), Sleep)
    assert [each.server_type_name for each in reports] == ["Standalone"] * 2
    assert reports[0].round_trip_time == 0.002
    assert (reports[0].min_round_trip_time, reports[1].min_round_trip_time) == (0.0, 0.002)
    assert reports[0].last_update_time == pytest.approx(100.004)
    assert not measured


def test_the_first_hello_asks_for_no_login() -> None:
    script, _, _ = monitored()
    command = script.answer()
    assert command.document == {"isMaster": 1, "helloOk": True}


def test_a_server_that_does_not_know_hello_is_asked_in_the_old_way() -> None:
    script, _, _ = monitored()
    script.connect({**HELLO, "helloOk": False})
    assert script.answer().document == {"isMaster": 1, "helloOk": True}


def test_a_refused_hello_is_an_error_and_ends_the_connection() -> None:
    script, reports, _ = monitored()
    script.connect()
    script.answer()
    step = script.answer({"ok": 0, "errmsg": "shutting down", "code": 91})
    assert isinstance(step, Sleep)  # no network error: nothing to be gained by haste
    assert script.disconnected == 1
    assert isinstance(reports[-1].error, NotPrimaryError)
    assert reports[-1].server_type_name == "Unknown"
    assert isinstance(script.answer(), Connect)


def test_a_hello_refused_at_first_is_an_error_too() -> None:
    script, reports, _ = monitored()
    assert isinstance(script.connect({"ok": 0, "errmsg": "no", "code": 7}), Sleep)
    assert isinstance(reports[-1].error, OperationFailure)


def test_a_known_server_is_checked_again_at_once_after_a_network_error_but_once() -> None:
    script, reports, _ = monitored()
    script.connect()
    script.answer()
    assert isinstance(script.fail(AutoReconnect("gone")), Connect)
    assert isinstance(script.fail(AutoReconnect("gone still")), Sleep)
    assert [str(each.error) for each in reports[1:]] == ["gone", "gone still"]
    assert reports[-1].round_trip_time is None


def test_errors_hold_no_frames() -> None:
    script, reports, _ = monitored()
    script.connect()
    script.answer()
    try:
        try:
            raise ValueError("inner")
        except ValueError as inner:
            raise AutoReconnect("outer") from inner
    except AutoReconnect as error:
        script.fail(error)
    found = reports[-1].error
    assert found is not None
    assert found.__traceback__ is None
    assert found.__cause__ is not None
    assert found.__cause__.__traceback__ is None


def test_a_streaming_server_is_awaited_without_a_pause() -> None:
    script, reports, measured = monitored(streaming=True)
    step = script.connect(MEMBER)
    assert isinstance(step, Exchange)
    assert measured
    assert step.exhaust
    assert step.document == {
        "hello": 1,
        "topologyVersion": VERSION,
        "maxAwaitTimeMS": 10_000,
    }
    assert type(step.document["maxAwaitTimeMS"]) is Int64
    assert step.limit is not None
    assert step.limit.ns == 30 * SECOND
    assert script.connection is not None
    script.connection.more_to_come = True
    script.connection.duration_ns = 9 * SECOND
    newer = {**MEMBER, "topologyVersion": {**VERSION, "counter": Int64(2)}}
    step = script.answer(newer)
    assert isinstance(step, NextReply)
    assert step.limit is not None
    assert step.limit.ns == 30 * SECOND
    script.connection.more_to_come = False
    step = script.answer({**MEMBER, "topologyVersion": {**VERSION, "counter": Int64(3)}})
    assert isinstance(step, Exchange)
    assert step.document["topologyVersion"]["counter"] == 3
    # What was awaited is no round trip.
    assert [each.round_trip_time for each in reports] == [0.002] * 3


def test_no_limit_for_connecting_is_none_for_awaiting() -> None:
    script, _, _ = monitored(streaming=True, settings=ConnectionSettings(connect_timeout=None))
    assert script.step.limit is None
    step = script.connect(MEMBER)
    assert step.limit is None


def test_a_server_that_answers_at_once_without_news_is_not_asked_in_a_rush() -> None:
    script, reports, _ = monitored(streaming=True)
    assert isinstance(script.connect(MEMBER), Exchange)
    assert script.connection is not None
    script.connection.duration_ns = 1000
    step = script.answer(MEMBER)
    assert isinstance(step, Sleep)
    assert step.ns == MIN_HEARTBEAT_NS
    assert isinstance(script.answer(), Exchange)
    assert len(reports) == 2


def test_without_streaming_nothing_is_awaited() -> None:
    script, _, measured = monitored()
    assert isinstance(script.connect(MEMBER), Sleep)
    assert script.answer().document == {"hello": 1}
    assert not measured


def test_a_check_that_is_given_up_is_begun_anew_at_once_unless_the_last_ended_just_now() -> None:
    script, reports, _ = monitored(streaming=True)
    assert isinstance(script.connect(MEMBER), Exchange)
    script.now_ns += SECOND
    assert isinstance(script.fail(StepCancelled("given up")), Connect)
    assert len(reports) == 1
    script.connect(MEMBER)
    script.now_ns += SECOND // 5
    pause = script.fail(StepCancelled("given up"))
    assert isinstance(pause, Sleep)
    assert (pause.ns, pause.at_least_ns) == (SECOND * 3 // 10, SECOND * 3 // 10)
    assert isinstance(script.answer(), Connect)
    # Given up before the server was known again: there is no haste.
    pause = script.fail(StepCancelled("given up"))
    assert isinstance(pause, Sleep)
    assert pause.ns == 10 * SECOND


def test_heartbeats_are_published() -> None:
    publisher = Heartbeats()
    script, _, _ = monitored(streaming=True, publisher=publisher)
    script.connect(MEMBER)
    script.now_ns += SECOND
    script.fail(NetworkTimeout("slow"))
    script.fail(StepCancelled("given up"))
    assert publisher.told == [
        ("started", False),
        (
            "succeeded",
            2_000_000,
            False,
            MEMBER,
            {"connection_id": 1, "server_connection_id": 77},
        ),
        ("started", True),
        ("failed", SECOND, True, NetworkTimeout),
        ("started", False),
        ("failed", 0, False, AutoReconnect),
    ]


def test_measuring_goes_on_whatever_happens_and_reports_nothing() -> None:
    script, reports, _ = monitored(streaming=True)
    script.connect(MEMBER)
    measuring = Script(script.monitor, script.monitor.measure_steps())
    # The first hello of the monitor was a measurement already.
    sleep = measuring.step
    assert isinstance(sleep, Sleep)
    assert (sleep.ns, sleep.at_least_ns) == (10 * SECOND, 10 * SECOND)
    measuring.answer()
    assert isinstance(measuring.connect(MEMBER), Sleep)
    step = measuring.answer()
    assert isinstance(step, Exchange)
    assert step.document == {"hello": 1}
    assert not step.exhaust
    assert measuring.connection is not None
    measuring.connection.duration_ns = 1_000_000
    assert isinstance(measuring.answer(HELLO), Sleep)
    measuring.answer()
    assert isinstance(measuring.fail(AutoReconnect("gone")), Sleep)
    assert isinstance(measuring.answer(), Connect)
    assert len(reports) == 1
    script.answer({**MEMBER, "topologyVersion": {**VERSION, "counter": Int64(2)}})
    assert reports[-1].min_round_trip_time == 0.001
    assert reports[-1].round_trip_time == pytest.approx(0.0018)
