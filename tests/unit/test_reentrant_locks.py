"""A signal handler may run an operation while its own thread holds a lock of the driver: every lock
that an operation's thread takes itself can be taken again by that thread."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mongokey._support.deadline import Timeout
from mongokey._support.waiting import OneTimeEvent
from mongokey.auth.credential import build_credential
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.shared_login import LoginScope, SharedLogin, shared_cache
from mongokey.auth.turns import NO_BACKOFF, Flight, LoginTurns, WaitForLogin
from mongokey.errors import (
    AutoReconnect,
    InvalidOperation,
    NetworkTimeout,
    ServerSelectionTimeoutError,
)
from mongokey.events.publisher_base import EventQueue
from mongokey.handshake import ClientMetadata
from mongokey.topology.topology import Topology
from tests.unit._executions import Deployment


def in_a_thread(call: Callable[[], Any]) -> list[Any]:
    """What `call` returned, as the only item; empty when it waits for itself."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(10)
    return found


def interrupted_at_each_line(work: Callable[[], Any], handler: Callable[[], Any]) -> int:
    """Do `work` in a thread, with a call of `handler` at each line of Python of the driver's and of
    `threading`'s that it comes by, as a signal handler or a destructor may come in there. How many
    calls that were; it fails where one of them waits for its own thread."""
    calls = 0
    inside = False

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal calls, inside
        name = frame.f_globals.get("__name__", "")
        if not (name == "threading" or name.startswith("mongokey.")):
            return None
        if event == "line" and not inside:
            inside = True
            calls += 1
            try:
                handler()
            finally:
                inside = False
        return trace

    def traced() -> bool:
        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(None)
        return True

    assert in_a_thread(traced) == [True], f"it stands still after {calls} calls"
    assert calls
    return calls


def test_a_first_login_can_be_waited_for_in_the_middle_of_any_wait_for_it() -> None:
    turns = LoginTurns()
    flight, own = turns.begin(NO_BACKOFF)
    assert own
    assert isinstance(flight, Flight)

    def wait(seconds: float) -> None:
        waiting = WaitForLogin(flight)
        waiting.run(Timeout(round(seconds * 1e9), "timeoutMS").start())
        assert isinstance(waiting.error, NetworkTimeout)

    flight.thread = 0  # another's
    interrupted_at_each_line(lambda: wait(0.05), lambda: wait(0.0001))
    interrupted_at_each_line(lambda: turns.leave(flight), lambda: wait_briefly(flight))
    assert flight.done.wait(0)


def wait_briefly(flight: Flight) -> None:
    flight.done.wait(0.0001)


def test_logins_may_begin_and_end_in_the_middle_of_each_other() -> None:
    shared = SharedLogin(b"key")
    refused = AuthenticationFailed("no", 18)

    def login() -> None:
        seen = shared.turns.refusals
        flight, own = shared.turns.begin(NO_BACKOFF)
        if own:
            assert isinstance(flight, Flight)
            shared.refused(flight, refused, seen, secret=True)

    assert interrupted_at_each_line(login, login) > 10


def test_clients_may_begin_and_end_in_the_middle_of_each_other() -> None:
    def client() -> None:
        scope = LoginScope(("h:1",), (object(),))
        credential = build_credential("PLAIN", "ann", "pw")
        assert credential is not None
        shared = scope.share(credential)
        shared_cache("keys of somewhere", "here", dict)
        shared.succeeded(None)
        scope.close()

    assert interrupted_at_each_line(client, client) > 10


def test_an_event_may_be_set_and_waited_for_in_the_middle_of_either() -> None:
    event = OneTimeEvent()

    def use() -> None:
        event.wait(0)
        event.set()
        assert event.wait()

    assert interrupted_at_each_line(use, use) > 10


def test_events_may_be_delivered_in_the_middle_of_a_delivery() -> None:
    queue = EventQueue()
    told: list[int] = []

    def deliver() -> None:
        queue.waiting.append((told.append, (len(told),)))
        queue.deliver()

    calls = interrupted_at_each_line(deliver, deliver)
    queue.deliver()
    assert len(told) == calls + 1


@pytest.mark.parametrize("kind", ["check", "error", "close"])
def test_servers_may_be_selected_in_the_middle_of_any_change(kind: str) -> None:
    deployment = Deployment({"ok": 1, "maxWireVersion": 21, "isWritablePrimary": True})
    topology = deployment.topology

    def change() -> None:
        if kind == "check":
            deployment.says(None)
            deployment.says(deployment.hello)
        elif kind == "error":
            topology.handle_application_error(
                deployment.pool, AutoReconnect("lost"), deployment.pool.generation, True
            )
            deployment.says(deployment.hello)
        else:
            topology.close()

    def use() -> None:
        deadline = Timeout(1, "serverSelectionTimeoutMS").start()
        with contextlib.suppress(ServerSelectionTimeoutError, InvalidOperation):
            topology._wait(topology.selection(None, (), "ping", None, deadline))

    assert interrupted_at_each_line(change, use) > 10


def test_a_first_login_may_begin_within_another_s_beginning() -> None:
    turns = LoginTurns()

    def call() -> bool:
        with turns._lock:
            return turns.begin(NO_BACKOFF)[1]

    assert in_a_thread(call) == [True]


def test_metadata_can_be_appended_while_it_is_appended() -> None:
    metadata = ClientMetadata("app")

    def call() -> bool:
        with metadata._lock:
            metadata.append(("wrapper", "1.0", None))
            return len(metadata._infos) == 1

    assert in_a_thread(call) == [True]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="it needs a signal of one's own")
def test_discovery_can_be_asked_for_while_dns_is_asked() -> None:
    asked = []
    again = threading.Event()

    def discover() -> tuple[list[tuple[str, int]], None, bool]:
        asked.append(1)
        if len(asked) == 1:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            assert again.wait(10)
        return [("db.example", 27017)], None, False

    def use_client(*_: Any) -> None:
        with pytest.raises(RuntimeError, match="no connection here"):
            topology.select()
        again.set()

    def connect(address: Any, *_: Any) -> Any:
        raise RuntimeError("no connection here")

    topology = Topology([], connect, lambda address: None, resolve_srv=discover)  # type: ignore[arg-type, return-value]

    before = signal.signal(signal.SIGUSR1, use_client)
    try:
        with pytest.raises(RuntimeError, match="no connection here"):
            topology.select()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(asked) == 2
