"""The first checks of a client are carried out by the thread that waits for them, and go over to
the monitors' thread, whatever comes in between. Where there is one server, its first check is the
first connection of its pool."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import AsyncMongoClient, MongoClient
from mongokey.bson import ObjectId
from mongokey.bson.int64 import Int64
from mongokey.connection.thread_step_loop import ThreadStepLoop
from mongokey.errors import (
    AutoReconnect,
    InvalidOperation,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from mongokey.topology import monitors
from tests.servers.child import free_port
from tests.servers.scripted import (
    Delay,
    Hold,
    Login,
    Reply,
    Request,
    ScriptedServer,
    in_turn,
    make_set,
    mongos,
    primary,
    secondary,
    standalone,
)
from tests.threads import bare_threads, in_threads
from tests.waiting import soon

PATIENCE_S = 20.0


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def held_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks stay with the thread that waits for them, however long they take."""
    monkeypatch.setattr(monitors, "_HELD_NS", 60_000_000_000)


@pytest.fixture
def offered_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection of the first check can be had, however long it takes to ask for it."""
    monkeypatch.setattr(monitors, "_BEGUN_NS", 60_000_000_000)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that became the monitors' own."""
    found: list[int] = []
    run = ThreadStepLoop.run

    def noted(self: ThreadStepLoop) -> None:
        found.append(threading.get_ident())
        run(self)

    monkeypatch.setattr(ThreadStepLoop, "run", noted)
    return found


def has_ended(client: Any) -> bool:
    """Whether nothing is left of the client's checks."""
    checks = client._topology.monitors._checks
    ended = checks is None or (checks.ended and checks._loop._tasks == [])
    return bool(ended and not monitors._running and not monitors._alarms)


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts in /proc")


@needs_proc
@pytest.mark.usefixtures("held_long")
def test_a_client_that_is_closed_soon_has_no_thread_of_pythons(
    server: ScriptedServer, runs: list[int]
) -> None:
    threads = bare_threads()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with MongoClient(server.uri()) as client, MongoClient(server.uri()) as other:
            client.admin.command("ping")
            other.admin.command("ping")
            # One of the system's alone waits for all of them.
            assert bare_threads() <= threads + 1
    assert runs == []
    assert server.count("ping") == 40
    # It ends by itself.
    assert soon(lambda: bare_threads() <= threads)
    assert soon(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


@pytest.mark.usefixtures("held_long")
def test_the_thread_goes_on_where_the_first_checks_ended(
    server: ScriptedServer, runs: list[int]
) -> None:
    with MongoClient(server.uri(heartbeatFrequencyMS=500)) as client:
        client.admin.command("ping")
        assert runs == []
        # Ended by time, and on the connection of the first check.
        assert server.wait_for(lambda: server.count("hello") >= 4)
        assert len(runs) == 1
        assert runs[0] != threading.get_ident()
        assert server.accepted == 2


@pytest.mark.usefixtures("held_long", "offered_long")
def test_the_connection_of_the_first_check_is_the_first_of_the_pool(server: ScriptedServer) -> None:
    with MongoClient(server.uri(heartbeatFrequencyMS=60_000)) as client:
        for _ in range(3):
            assert client.admin.command("ping")["ok"] == 1.0
        assert (server.accepted, server.count("hello"), server.count("ping")) == (1, 1, 3)
    assert server.wait_for(lambda: server.open == 0)


def test_a_connection_that_nobody_wanted_soon_is_made_anew(server: ScriptedServer) -> None:
    with MongoClient(server.uri(heartbeatFrequencyMS=60_000)) as client:
        assert client.is_primary is True
        assert server.accepted == 1
        time.sleep(0.12)
        assert client.admin.command("ping")["ok"] == 1.0
        assert server.accepted == 2
        assert server.wait_for(lambda: server.open == 1)


@pytest.mark.usefixtures("held_long")
def test_a_server_that_streams_does_so_on_a_connection_of_the_monitors() -> None:
    version = {"processId": ObjectId(), "counter": Int64(1)}

    def awaited(request: Request) -> bool:
        return "topologyVersion" in request.document

    def answer(request: Request) -> Any:
        return Hold() if awaited(request) else standalone(topologyVersion=version)

    with ScriptedServer(on={"hello": answer}) as server:
        with MongoClient(server.uri()) as client:
            client.admin.command("ping")
            assert server.wait_for(lambda: any(map(awaited, list(server.requests))))
            client.admin.command("ping")
            assert server.accepted == 2
            (stream,) = (each.connection for each in server.requests if awaited(each))
            pings = {each.connection for each in server.requests if each.name == "ping"}
            assert len(pings) == 1
            assert stream not in pings


@pytest.mark.usefixtures("held_long")
def test_an_offer_ends_with_its_time(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitors, "_BEGUN_NS", -1)
    with MongoClient(server.uri(heartbeatFrequencyMS=60_000)) as client:
        client.admin.command("ping")
        assert server.accepted == 2


@pytest.mark.usefixtures("offered_long")
def test_the_first_connection_logs_in_once_its_server_is_known() -> None:
    with ScriptedServer(login=Login()) as server:
        with MongoClient(server.uri(heartbeatFrequencyMS=60_000)) as client:
            client.admin.command("ping")
        assert (server.accepted, server.count("hello"), server.count("ping")) == (1, 1, 1)
        assert server.count("saslContinue") == 1


def test_nobody_logs_in_on_a_monitors_connection() -> None:
    with ScriptedServer(login=Login()) as server:
        with MongoClient(server.uri(heartbeatFrequencyMS=500)) as client:
            client.admin.command("ping")
            assert server.wait_for(lambda: server.count("hello") >= 3)
        logged_in = {each.connection for each in server.requests if each.name == "saslContinue"}
        assert logged_in == {each.connection for each in server.requests if each.name == "ping"}
        assert len(logged_in) == 1
        later = {each.connection for each in server.requests if each.name == "hello"} - logged_in
        assert len(later) >= 1


@pytest.mark.usefixtures("offered_long")
def test_nobody_logs_in_to_a_server_that_is_not_used() -> None:
    with ScriptedServer(login=Login(), hello=secondary()) as server:
        make_set(server)
        uri = server.uri(
            replicaSet="rs",
            directConnection=False,
            connectTimeoutMS=500,
            serverSelectionTimeoutMS=600,
        )
        with MongoClient(uri) as client, pytest.raises(ServerSelectionTimeoutError):
            client.admin.command("ping")
        assert server.count("hello") >= 1
        assert [each.name for each in server.requests if each.name.startswith("sasl")] == []


@pytest.mark.usefixtures("offered_long")
def test_a_refused_login_is_the_operations_error() -> None:
    with ScriptedServer(login=Login()) as server:
        uri = server.uri(heartbeatFrequencyMS=60_000)
        with MongoClient(uri, password="another") as client:
            with pytest.raises(OperationFailure) as raised:
                client.admin.command("ping")
            assert raised.value.code == 18
            assert server.accepted == 1


def test_an_operation_that_waits_less_long_leaves_it_to_the_monitors(
    server: ScriptedServer,
) -> None:
    uri = server.uri(heartbeatFrequencyMS=60_000)
    with MongoClient(uri, timeoutMS=10_000) as client:
        client.admin.command("ping")
        assert server.accepted == 2


@pytest.mark.usefixtures("held_long", "offered_long")
def test_a_begun_connection_ends_with_the_client(server: ScriptedServer) -> None:
    client = MongoClient(server.uri(heartbeatFrequencyMS=60_000))
    assert client.is_primary is True
    begun = client._topology.monitors.begun
    assert len(begun) == 1
    client.close()
    assert begun == {}
    assert server.wait_for(lambda: server.open == 0)


@pytest.mark.usefixtures("held_long", "offered_long")
def test_a_begun_connection_ends_where_an_operation_has_found_the_server_gone(
    server: ScriptedServer,
) -> None:
    with MongoClient(server.uri(heartbeatFrequencyMS=60_000)) as client:
        assert client.is_primary is True
        found = client._topology.monitors
        found.cancel_check(client.address)
        assert found.begun == {}
        # It is looked at again at once.
        assert server.wait_for(lambda: server.count("hello") == 2)
        assert client.admin.command("ping")["ok"] == 1.0


@pytest.mark.usefixtures("offered_long")
def test_a_client_that_is_garbage_closes_it(server: ScriptedServer) -> None:
    client = MongoClient(server.uri(heartbeatFrequencyMS=60_000))
    assert client.is_primary is True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del client
        gc.collect()
    assert server.wait_for(lambda: server.open == 0)
    assert not monitors._alarms


def test_monitors_that_are_garbage_leave_nothing_waiting(server: ScriptedServer) -> None:
    client = MongoClient(server.uri(heartbeatFrequencyMS=60_000))
    client.admin.command("ping")
    before = len(monitors._alarms)
    found = client._topology.monitors
    assert found._alarm in monitors._alarms
    alarm = found._alarm
    found.__del__()
    assert alarm not in monitors._alarms
    assert len(monitors._alarms) == before - 1
    client.close()


def test_a_client_that_is_closed_while_it_is_found_leaves_nothing_waiting(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MongoClient(server.uri(heartbeatFrequencyMS=60_000))
    begin_at = monitors.Monitors._begin_at

    def closed_first(self: monitors.Monitors, due_ns: int) -> None:
        self.close()
        begin_at(self, due_ns)

    monkeypatch.setattr(monitors.Monitors, "_begin_at", closed_first)
    client.admin.command("ping")
    found = client._topology.monitors
    assert (found._alarm, found.begun) == (None, {})
    client.close()


def test_a_server_that_is_not_there_yet_is_found_later() -> None:
    later = ScriptedServer()
    later.port = free_port()
    with MongoClient(f"mongodb://127.0.0.1:{later.port}", heartbeatFrequencyMS=500) as client:
        starter = threading.Timer(0.3, later.start)
        starter.start()
        try:
            assert client.admin.command("ping")["ok"] == 1.0
        finally:
            starter.join()
            later.stop()


@pytest.mark.usefixtures("held_long")
def test_a_closed_client_leaves_nothing_to_the_collector(server: ScriptedServer) -> None:
    gc.collect()
    gc.disable()
    try:
        client = MongoClient(server.uri())
        client.admin.command("ping")
        topology = client._topology
        left = [weakref.ref(each) for each in (topology, topology.monitors, client._context)]
        client.close()
        del client, topology
        assert soon(lambda: [each() for each in left if each() is not None] == [])
    finally:
        gc.enable()


def test_a_check_that_is_asked_for_wakes_the_thread(
    server: ScriptedServer, runs: list[int]
) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        before = server.count("hello")
        client._topology.monitors.request_check(client.address)
        assert server.wait_for(lambda: server.count("hello") > before)
        assert len(runs) == 1


def test_members_that_the_first_check_names_are_watched() -> None:
    with (
        ScriptedServer(hello=primary()) as first,
        ScriptedServer(hello=secondary()) as second,
        ScriptedServer(hello=secondary()) as third,
    ):
        make_set(first, second, third)
        with MongoClient(second.uri(replicaSet="rs", directConnection=False)) as client:
            assert client.admin.command("ping")["ok"] == 1.0
            assert client.primary == (first.host, first.port)
            assert soon(lambda: len(client.nodes) == 3)


def test_slow_servers_are_left_to_the_thread(runs: list[int]) -> None:
    slow = {"hello": Delay(0.1, Reply(mongos()))}
    with ScriptedServer(on=slow) as first, ScriptedServer(on=slow) as second:
        uri = f"mongodb://{first.host}:{first.port},{second.host}:{second.port}/"
        with MongoClient(uri) as client:
            assert client.admin.command("ping")["ok"] == 1.0
            assert len(runs) == 1


def test_a_slow_server_is_waited_for(server: ScriptedServer, runs: list[int]) -> None:
    server.on["hello"] = Delay(0.1, Reply(standalone()))
    with MongoClient(server.uri(heartbeatFrequencyMS=60_000)) as client:
        assert client.admin.command("ping")["ok"] == 1.0
        assert (server.accepted, runs) == (1, [])


def test_threads_that_begin_together(server: ScriptedServer) -> None:
    for _ in range(10):
        with MongoClient(server.uri()) as client:
            in_threads(8, lambda client=client: client.admin.command("ping"))


@pytest.mark.usefixtures("held_long")
def test_a_client_closed_by_another_thread_meanwhile(server: ScriptedServer) -> None:
    server.on["hello"] = Hold()
    client = MongoClient(server.uri())
    closer = threading.Thread(
        target=lambda: server.wait_for(lambda: server.count("hello") == 1) and client.close()
    )
    closer.start()
    began = time.monotonic()
    with pytest.raises(InvalidOperation):
        client.admin.command("ping")
    assert time.monotonic() - began < PATIENCE_S
    closer.join()
    assert has_ended(client)


class Interrupted(Exception):
    """What a signal handler raises."""


def after_hello(server: ScriptedServer, handler: Callable[[], object]) -> Callable[[], None]:
    """Have `handler` called in the main thread, as a signal's, once hello was asked; returns what
    takes it back."""
    before = signal.signal(signal.SIGUSR1, lambda number, frame: handler())
    main = threading.main_thread().ident
    assert main is not None

    def watch() -> None:
        if server.wait_for(lambda: server.count("hello") >= 1):
            signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=watch)
    thread.start()

    def back() -> None:
        thread.join()
        signal.signal(signal.SIGUSR1, before)

    return back


needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


@needs_signals
@pytest.mark.usefixtures("held_long")
def test_what_a_signal_handler_raises_leaves_nothing_half_done(
    server: ScriptedServer, runs: list[int]
) -> None:
    held = Hold()
    server.on["hello"] = in_turn(held, Reply(standalone()))

    def handler() -> None:
        raise Interrupted

    with MongoClient(server.uri()) as client:
        back = after_hello(server, handler)
        try:
            with pytest.raises(Interrupted):
                client.admin.command("ping")
        finally:
            back()
        # It begins anew, in a thread, and at once.
        assert client.admin.command("ping")["ok"] == 1.0
        assert len(runs) == 1


@needs_signals
@pytest.mark.usefixtures("held_long")
def test_a_signal_handler_may_use_the_client(server: ScriptedServer) -> None:
    server.on["hello"] = in_turn(Hold(), Reply(standalone()))
    answers: list[Any] = []
    with MongoClient(server.uri()) as client:
        back = after_hello(server, lambda: answers.append(client.admin.command("ping")["ok"]))
        try:
            assert client.admin.command("ping")["ok"] == 1.0
        finally:
            back()
        assert answers == [1.0]
        assert server.accepted == 3
    assert soon(lambda: not monitors._running)


@needs_signals
@pytest.mark.usefixtures("held_long")
def test_a_signal_handler_may_close_the_client(server: ScriptedServer) -> None:
    server.on["hello"] = Hold()
    client = MongoClient(server.uri())
    back = after_hello(server, client.close)
    try:
        with pytest.raises(InvalidOperation):
            client.admin.command("ping")
    finally:
        back()
    assert has_ended(client)


def test_a_thread_that_cannot_be_had_is_an_error_that_passes(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(due_ns: int, function: object) -> None:
        raise RuntimeError("can't start new thread")

    with MongoClient(server.uri()) as client:
        with monkeypatch.context() as patch:
            patch.setattr(monitors, "Alarm", refuse)
            with pytest.raises(AutoReconnect, match="thread that monitors"):
                client.admin.command("ping")
        assert not monitors._running
        assert client.admin.command("ping")["ok"] == 1.0
        before = server.count("hello")
        client._topology.monitors.request_check(client.address)
        assert server.wait_for(lambda: server.count("hello") > before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_watches_by_itself(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if client.admin.command("ping")["ok"] == 1.0 else 2
                client.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.admin.command("ping")["ok"] == 1.0


def test_what_is_told_to_listeners_is_told_in_a_thread(server: ScriptedServer) -> None:
    from mongokey.monitoring import ServerHeartbeatListener

    told: list[int] = []

    class Listener(ServerHeartbeatListener):
        def started(self, event: Any) -> None:
            told.append(threading.get_ident())

        def succeeded(self, event: Any) -> None:
            """Nothing."""

        def failed(self, event: Any) -> None:
            """Nothing."""

    with MongoClient(server.uri(), event_listeners=[Listener()]) as client:
        client.admin.command("ping")
    assert told
    assert threading.get_ident() not in told


def test_a_server_that_has_gone_is_noticed() -> None:
    with ScriptedServer() as server:
        with MongoClient(server.uri(heartbeatFrequencyMS=500)) as client:
            client.admin.command("ping")
            server.stop()
            assert soon(lambda: not client.nodes)


# ---------------------------------------------------------------- connect=True


def test_connect_true_looks_for_the_servers_at_once(server: ScriptedServer) -> None:
    host = f"127.0.0.1:{server.port}"
    for arguments, options in (((host,), {"connect": True}), ((f"{host}/?connect=true",), {})):
        uri = f"mongodb://{arguments[0]}"
        with MongoClient(uri, **options) as client:  # type: ignore[arg-type]
            assert soon(lambda client=client: client.nodes)  # type: ignore[misc]
            assert client.address == ("127.0.0.1", server.port)
            assert client.admin.command("ping")["ok"] == 1


@pytest.mark.parametrize("options", [{}, {"connect": False}])
def test_by_default_the_first_operation_does(
    server: ScriptedServer, options: dict[str, Any]
) -> None:
    with MongoClient("127.0.0.1", server.port, **options) as client:
        assert not client._topology.opened
        assert client.admin.command("ping")["ok"] == 1
        assert client.nodes


def test_a_client_that_connects_at_once_is_closed_at_once() -> None:
    with ScriptedServer(hello=Hold()) as server:
        client: Any = MongoClient("127.0.0.1", server.port, connect=True)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < PATIENCE_S
        with pytest.raises(InvalidOperation):
            client.admin.command("ping")


def test_an_asyncio_client_connects_no_sooner(server: ScriptedServer) -> None:
    client: Any = AsyncMongoClient("127.0.0.1", server.port, connect=True)
    assert not client._topology.opened
    asyncio.run(client.close())
