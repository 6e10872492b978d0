"""The monitors of a client against scripted servers: one thread, or none on an event loop, and
nobody is held up."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mongokey._support.address import Address
from mongokey._support.deadline import Timeout
from mongokey.connection import step_loop
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import AutoReconnect, NetworkTimeout, ProtocolError
from mongokey.handshake import ClientMetadata
from mongokey.topology.checks import WatchedServers
from mongokey.topology.server_description import ServerDescription
from mongokey.transport.names import SocketAddress, known_addresses
from tests.monitors import (
    FACES,
    Face,
    make_monitors,
    monitor_threads,
    own_name,
    own_threads,
    thread_count,
    thread_of_monitors,
    worker_threads,
)
from tests.servers.scripted import (
    Close,
    Delay,
    Error,
    Raw,
    Reply,
    ScriptedServer,
    Silence,
    in_turn,
    standalone,
)
from tests.waiting import soon

pytestmark = pytest.mark.usefixtures("monitors_face")

ON_LOOPS = [face for face in FACES if face != "thread"]
HOUR_NS = 3600 * 1_000_000_000
SHORT = Timeout(300_000_000, "connectTimeoutMS")


def settings(connect_timeout: Timeout | None = None) -> ConnectionSettings:
    return ConnectionSettings(
        metadata=ClientMetadata(),
        connect_timeout=connect_timeout or Timeout(20_000_000_000, "connectTimeoutMS"),
    )


class Reports:
    """What monitors report, and a way to wait for it."""

    def __init__(self) -> None:
        self.all: list[ServerDescription] = []
        self._changed = threading.Condition()

    def add(self, description: ServerDescription) -> None:
        with self._changed:
            self.all.append(description)
            self._changed.notify_all()

    def of(self, address: Address) -> list[ServerDescription]:
        return [each for each in self.all if each.address == address]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, timeout), self.all

    def wait_for_one(self, address: Address, count: int = 1) -> ServerDescription:
        """The report number `count` of a server."""
        self.wait_for(lambda: len(self.of(address)) >= count)
        return self.of(address)[count - 1]


def address_of(server: ScriptedServer) -> Address:
    return (server.host, server.port)


@contextmanager
def monitoring(
    *,
    heartbeat_ns: int = HOUR_NS,
    mode: str = "poll",
    connect_timeout: Timeout | None = None,
) -> Iterator[tuple[WatchedServers, Reports]]:
    reports = Reports()
    monitors = make_monitors(
        settings(connect_timeout), reports.add, heartbeat_ns=heartbeat_ns, mode=mode
    )
    try:
        yield monitors, reports
    finally:
        monitors.close()
        assert soon(lambda: not own_threads())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux counts them")


# Checks


def test_a_server_is_reported_and_asked_again_on_the_same_connection() -> None:
    with ScriptedServer() as server, monitoring(heartbeat_ns=500_000_000) as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        monitors.watch(address)
        reports.wait_for_one(address, 2)
        assert [each.server_type_name for each in reports.all[:2]] == ["Standalone"] * 2
        assert reports.all[0].round_trip_time is not None
        assert server.accepted == 1
        first, second = server.commands("hello")[:2]
        assert "client" in first
        assert not {"saslSupportedMechs", "speculativeAuthenticate", "loadBalanced"} & first.keys()
        assert {"hello", "$db"} == second.keys()


def test_a_port_where_nobody_listens_is_refused() -> None:
    with socket.socket() as unused, monitoring() as (monitors, reports):
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
        monitors.watch(address)
        found = reports.wait_for_one(address)
        assert type(found.error) is AutoReconnect
        assert "is a server listening there?" in str(found.error)


def addresses(*hosts: str) -> Callable[[str, int], list[SocketAddress]]:
    """A look-up that finds these addresses, whatever the name."""
    return lambda _, port: [found for host in hosts for found in known_addresses(host, port) or ()]


def test_all_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_loop, "look_up", addresses("127.0.0.1", "::1"))
    with ScriptedServer(host="::1") as server, monitoring() as (monitors, reports):
        monitors.watch(("db.example.com", server.port))
        assert reports.wait_for_one(("db.example.com", server.port)).is_server_type_known


def test_an_address_that_does_not_answer_holds_up_the_next_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as full, ScriptedServer(host="127.0.0.1") as server:
        # The same port of another address, where the queue of connections is full.
        full.bind(("127.0.0.2", server.port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        monkeypatch.setattr(step_loop, "look_up", addresses("127.0.0.2", "127.0.0.1"))
        with monitoring() as (monitors, reports):
            began = time.monotonic()
            monitors.watch(("db.example.com", server.port))
            assert reports.wait_for_one(("db.example.com", server.port)).is_server_type_known
            assert time.monotonic() - began < 5
        for each in waiting:
            each.close()


def test_a_slow_look_up_holds_up_nobody_and_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    gate = threading.Event()

    def slow(host: str, port: int) -> list[SocketAddress]:
        asked.append(host)
        gate.wait(10)
        return known_addresses("127.0.0.1", port) or []

    monkeypatch.setattr(step_loop, "look_up", slow)
    with ScriptedServer() as server, monitoring(connect_timeout=SHORT) as (monitors, reports):
        named = ("slow.example.com", server.port)
        monitors.watch(named)
        monitors.watch(address_of(server))
        assert reports.wait_for_one(address_of(server)).is_server_type_known
        found = reports.wait_for_one(named)
        assert isinstance(found.error, NetworkTimeout)
        assert "resolving the host name" in str(found.error)
        # The next check waits for the same look-up.
        monitors.request_check(named)
        time.sleep(0.6)
        gate.set()
        assert reports.wait_for_one(named, 2).is_server_type_known
        assert asked == ["slow.example.com"]


def test_a_name_that_does_not_exist_says_so() -> None:
    with monitoring() as (monitors, reports):
        monitors.watch(("no-such-host.invalid", 27017))
        found = reports.wait_for_one(("no-such-host.invalid", 27017))
        assert "cannot be resolved" in str(found.error)


def test_a_unix_socket_is_monitored(tmp_path: Path) -> None:
    path = str(tmp_path / "server.sock")
    with ScriptedServer(path=path) as server, monitoring() as (monitors, reports):
        monitors.watch((path, None))
        assert reports.wait_for_one((path, None)).is_server_type_known
        assert server.accepted == 1


def test_what_cannot_be_an_address_is_an_error_and_no_hang() -> None:
    with monitoring() as (monitors, reports):
        for address in (("a", 0), ("", 1), ("a\0b", 1), ("/" + "x" * 300, None)):
            monitors.watch(address)
            assert reports.wait_for_one(address).error is not None


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Raw(b"SSH-2.0-OpenSSH_9.2\r\n"), ProtocolError, "speaks SSH"),
        (Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ProtocolError, "speaks HTTP"),
        (Raw(b"\xff\xff\xff\x7f" + bytes(12)), ProtocolError, "invalid wire message"),
        (Raw(b"\0" * 16), ProtocolError, "invalid wire message"),
        (Raw(bytes(range(200, 256))), ProtocolError, ""),
        (Raw(b"\x15\x03\x01\0\2\2\x46"), AutoReconnect, "TLS"),
        (Close(), AutoReconnect, ""),
        (Reply(keep=10), AutoReconnect, "connection closed by the server"),
        (Reply(keep=10, then_close=False), NetworkTimeout, "connectTimeoutMS=300"),
        (Silence(), NetworkTimeout, "connectTimeoutMS=300"),
        (Reply(response_to=7), ProtocolError, ""),
        (Reply(body=b"\0\0\0\0\0\5\0\0\0\1"), ProtocolError, ""),
        (Error(code=18, message="no"), Exception, "no"),
    ],
    ids=lambda value: None,
)
def test_a_server_that_answers_nonsense_is_unknown(
    answer: object, kind: type[Exception], words: str
) -> None:
    server = ScriptedServer(on={"hello": answer})  # type: ignore[dict-item]
    with server, monitoring(connect_timeout=SHORT) as (monitors, reports):
        monitors.watch(address_of(server))
        found = reports.wait_for_one(address_of(server))
        assert not found.is_server_type_known
        assert isinstance(found.error, kind)
        assert words in str(found.error)
        # And the next check begins with a new connection.
        server.on = {}
        monitors.request_check(address_of(server))
        assert reports.wait_for_one(address_of(server), 2).is_server_type_known
        assert server.accepted == 2


def test_a_server_that_drips_is_given_up_at_its_deadline() -> None:
    server = ScriptedServer(drip=0.1)
    with server, monitoring(connect_timeout=SHORT) as (monitors, reports):
        monitors.watch(address_of(server))
        found = reports.wait_for_one(address_of(server))
        assert isinstance(found.error, NetworkTimeout)


def test_a_known_server_that_hangs_up_is_checked_again_at_once() -> None:
    server = ScriptedServer()
    with server, monitoring(heartbeat_ns=500_000_000) as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        reports.wait_for_one(address)
        server.on = {"hello": in_turn(Close(), Reply(standalone()))}
        reports.wait_for_one(address, 3)
        assert [each.is_server_type_known for each in reports.all[:3]] == [True, False, True]
        gap = reports.all[2].last_update_time - reports.all[1].last_update_time
        assert gap < 0.4


# Requests


def test_a_requested_check_comes_after_half_a_second_at_the_earliest() -> None:
    with ScriptedServer() as server, monitoring() as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        first = reports.wait_for_one(address)
        for _ in range(100):
            monitors.request_check(address)
        second = reports.wait_for_one(address, 2)
        assert second.last_update_time - first.last_update_time >= 0.5
        time.sleep(0.7)
        assert len(reports.all) == 2


def test_who_asks_before_the_first_check_is_over_gets_that_one_and_no_other() -> None:
    with (
        ScriptedServer(on={"hello": Delay(1.5, standalone())}) as server,
        monitoring() as (
            monitors,
            reports,
        ),
    ):
        address = address_of(server)
        monitors.watch(address)
        for _ in range(10):
            monitors.request_check(address)
            time.sleep(0.02)
        assert reports.all == []
        reports.wait_for_one(address)
        time.sleep(0.8)
        assert len(reports.all) == 1
        # And from then on another one.
        monitors.request_check(address)
        reports.wait_for_one(address, 2)


def test_a_first_check_that_was_given_up_is_asked_for_again() -> None:
    server = ScriptedServer(on={"hello": in_turn(Silence(), Reply(standalone()))})
    with server, monitoring() as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        assert soon(lambda: server.accepted == 1)
        monitors.cancel_check(address)
        time.sleep(0.05)
        monitors.request_check(address)
        assert reports.wait_for_one(address).is_server_type_known


def test_a_check_that_is_given_up_ends_the_connection_and_another_begins() -> None:
    server = ScriptedServer(on={"hello": in_turn(Reply(standalone()), Silence())})
    with server, monitoring(heartbeat_ns=500_000_000) as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        reports.wait_for_one(address)
        assert server.wait_for(lambda: server.count("hello") == 2)
        server.on = {}
        monitors.cancel_check(address)
        assert reports.wait_for_one(address, 2).is_server_type_known
        assert server.accepted == 2


def test_giving_up_in_a_pause_closes_the_connection() -> None:
    with ScriptedServer() as server, monitoring() as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        reports.wait_for_one(address)
        monitors.cancel_check(address)
        assert server.wait_for(lambda: server.open == 0)
        monitors.request_check(address)
        assert reports.wait_for_one(address, 2).is_server_type_known


def test_a_server_that_is_not_watched_any_more_is_left_alone() -> None:
    with ScriptedServer() as server, monitoring(heartbeat_ns=500_000_000) as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        reports.wait_for_one(address)
        monitors.unwatch(address)
        monitors.unwatch(address)
        assert server.wait_for(lambda: server.open == 0)
        for method in (monitors.request_check, monitors.cancel_check):
            method(address)
        time.sleep(0.7)
        assert server.count("hello") == 1
        monitors.watch(address)
        assert reports.wait_for_one(address, 2).is_server_type_known


# One thread


def test_fifty_servers_have_one_thread_and_are_asked_side_by_side() -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(ScriptedServer(on={"hello": Delay(0.5, Reply(standalone()))}))
            for _ in range(50)
        ]
        before = thread_count()
        monitors, reports = stack.enter_context(monitoring())
        began = time.monotonic()
        for server in servers:
            monitors.watch(address_of(server))
        reports.wait_for(lambda: len(reports.all) == 50)
        assert time.monotonic() - began < 10  # one after the other: 25 s
        assert thread_count() - before <= 1 + 50  # each scripted server has a thread more
        assert own_threads() == monitor_threads()
        assert all(each.is_server_type_known for each in reports.all)


def test_half_of_fifty_servers_are_silent_and_the_others_do_not_notice() -> None:
    with ExitStack() as stack:
        good = [stack.enter_context(ScriptedServer()) for _ in range(25)]
        silent = []
        for _ in range(25):
            hole = stack.enter_context(socket.socket())
            hole.bind(("127.0.0.1", 0))
            hole.listen()
            silent.append(hole.getsockname())
        limit = Timeout(1_000_000_000, "connectTimeoutMS")
        monitors, reports = stack.enter_context(monitoring(connect_timeout=limit))
        for hole_address, server in zip(silent, good, strict=True):
            monitors.watch(hole_address)
            monitors.watch(address_of(server))
        reports.wait_for(lambda: len(reports.all) >= 25)
        assert all(each.is_server_type_known for each in reports.all[:25])
        reports.wait_for(lambda: len(reports.all) >= 50)
        assert all(type(reports.of(each)[0].error) is NetworkTimeout for each in silent)
        assert own_threads() == monitor_threads()


@needs_proc
def test_a_thousand_servers_come_and_go_and_leave_nothing() -> None:
    with ScriptedServer() as server:
        before = descriptors()
        with monitoring() as (monitors, _):
            for _ in range(1000):
                monitors.watch(address_of(server))
                monitors.unwatch(address_of(server))
            assert server.wait_for(lambda: server.open == 0)
        assert soon(lambda: descriptors() <= before)


def test_a_report_that_fails_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def fail(description: ServerDescription) -> None:
        seen.append(description)
        raise ValueError("a report went wrong")

    with ScriptedServer() as server:
        monitors = make_monitors(settings(), fail, heartbeat_ns=500_000_000, mode="poll")
        try:
            monitors.watch(address_of(server))
            assert soon(lambda: len(seen) >= 2)
        finally:
            monitors.close()
        assert soon(lambda: not own_threads())
    assert "ValueError: a report went wrong" in capsys.readouterr().err


# Other work


def test_jobs_are_done_now_and_then_until_they_are_cancelled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done: list[str] = []

    def work() -> None:
        done.append(own_name())
        if len(done) == 1:
            raise ValueError("once")

    with monitoring() as (monitors, _):
        job = monitors.call_every(10_000_000, work)
        assert soon(lambda: len(done) >= 3)
        job.cancel()
        job.cancel()
        time.sleep(0.1)
        count = len(done)
        time.sleep(0.1)
        assert len(done) == count
        assert set(done) == {thread_of_monitors()}
    assert "ValueError: once" in capsys.readouterr().err


def test_jobs_beside_are_done_in_order_by_one_thread_that_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done: list[int] = []
    names: set[str] = set()
    gate = threading.Event()

    def first() -> None:
        gate.wait(10)
        names.add(threading.current_thread().name)
        raise ValueError("the first one")

    with monitoring() as (monitors, _):
        assert monitors.run_beside(first)
        for number in range(100):
            assert monitors.run_beside(lambda number=number: done.append(number))
        assert own_threads() == worker_threads()
        gate.set()
        assert soon(lambda: done == list(range(100)))
        assert soon(lambda: not own_threads())
        # And once more, by another one.
        monitors.run_beside(lambda: done.append(-1))
        assert soon(lambda: done[-1] == -1)
    assert "ValueError: the first one" in capsys.readouterr().err


def test_jobs_beside_from_many_threads_are_all_done() -> None:
    done: list[int] = []
    with monitoring() as (monitors, _):

        def give() -> None:
            for _ in range(500):
                monitors.run_beside(lambda: done.append(1))

        threads = [threading.Thread(target=give) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert soon(lambda: len(done) == 4000)


# The end


@needs_proc
@pytest.mark.parametrize("phase", ["unused", "looking up", "connecting", "asking", "pausing"])
def test_close_leaves_nothing_behind(phase: str) -> None:
    with ExitStack() as stack:
        answers = {"hello": Silence()} if phase == "asking" else {}
        server = stack.enter_context(ScriptedServer(on=answers))  # type: ignore[arg-type]
        before = descriptors()
        reports = Reports()
        monitors = make_monitors(settings(), reports.add, heartbeat_ns=HOUR_NS, mode="poll")
        if phase == "looking up":
            monitors.watch(("no-such-host.invalid", 27017))
        elif phase == "connecting":
            # A documentation address: nobody answers, or the system says at once that it cannot.
            monitors.watch(("192.0.2.1", 27017))
        elif phase != "unused":
            monitors.watch(address_of(server))
            assert server.wait_for(lambda: server.count("hello") == 1)
            if phase == "pausing":
                reports.wait_for_one(address_of(server))
        monitors.close()
        monitors.close()
        for method in (monitors.watch, monitors.unwatch, monitors.request_check):
            method(address_of(server))
        assert soon(lambda: not own_threads())
        assert server.wait_for(lambda: server.open == 0)
        assert soon(lambda: descriptors() <= before)


def test_monitors_that_nobody_refers_to_end() -> None:
    with ScriptedServer() as server:
        reports = Reports()
        monitors = make_monitors(settings(), reports.add, heartbeat_ns=HOUR_NS, mode="poll")
        monitors.watch(address_of(server))
        monitors.call_every(10_000_000, lambda: None)
        reports.wait_for_one(address_of(server))
        gone = weakref.ref(monitors)
        del monitors
        gc.collect()
        assert gone() is None
        assert soon(lambda: not own_threads())
        assert server.wait_for(lambda: server.open == 0)


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'auto', 'stream' or 'poll'"):
        make_monitors(settings(), print, heartbeat_ns=HOUR_NS, mode="push")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("phase", ["unused", "asking", "pausing"])
def test_a_forked_child_starts_anew_and_the_parent_goes_on(phase: str) -> None:
    answers = {"hello": in_turn(Silence(), Reply(standalone()))} if phase == "asking" else {}
    with ScriptedServer(on=answers) as server, monitoring() as (monitors, reports):  # type: ignore[arg-type]
        address = address_of(server)
        if phase != "unused":
            monitors.watch(address)
            assert server.wait_for(lambda: server.count("hello") == 1)
        if phase == "pausing":
            reports.wait_for_one(address)
        asked = server.count("hello")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                reports.all.clear()
                reports._changed = threading.Condition()
                if phase == "unused":
                    monitors.watch(address)
                else:
                    monitors.request_check(address)
                code = 0 if reports.wait_for_one(address).is_server_type_known else 2
                monitors.close()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert server.count("hello") == asked + 1
        # The parent's connection is as it was.
        if phase == "pausing":
            assert server.wait_for(lambda: server.open == 1)
            monitors.request_check(address)
            reports.wait_for_one(address, 2)
            assert server.accepted == 2


@pytest.mark.parametrize("monitors_face", ["thread"], indirect=True)
def test_the_interpreter_ends_quietly_in_the_middle_of_everything() -> None:
    import subprocess

    program = """
import sys
from mongokey.connection import step_loop
from mongokey.connection.settings import ConnectionSettings
from mongokey.topology.monitors import Monitors
from mongokey.handshake import ClientMetadata
port = int(sys.argv[1])
kept = []
for _ in range(3):
    monitors = Monitors(ConnectionSettings(metadata=ClientMetadata()), lambda found: None,
                        heartbeat_ns=500_000_000, mode="stream")
    monitors.watch(("127.0.0.1", port))
    monitors.watch(("no-such-host.invalid", port))
    monitors.call_every(1_000_000, lambda: None)
    kept.append(monitors)
"""
    with ScriptedServer() as server:
        run = subprocess.run(
            [sys.executable, "-X", "dev", "-c", program, str(server.port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("monitors_face", ON_LOOPS, indirect=True)
@pytest.mark.parametrize("answered", [True, False])
def test_what_came_while_the_loop_did_not_run_counts(monitors_face: Face, answered: bool) -> None:
    late = Delay(0.2, Reply(standalone())) if answered else Silence()
    server = ScriptedServer(on={"hello": in_turn(Reply(standalone()), late)})
    limit = Timeout(700_000_000, "connectTimeoutMS")
    with server, monitoring(heartbeat_ns=500_000_000, connect_timeout=limit) as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        reports.wait_for_one(address)
        assert server.wait_for(lambda: server.count("hello") == 2)
        # Somebody calls what blocks, or runs the loop only now and then.
        monitors_face.loop.call_soon_threadsafe(time.sleep, 2.5)
        found = reports.wait_for_one(address, 2)
        assert found.is_server_type_known is answered
        assert answered or isinstance(found.error, NetworkTimeout)
