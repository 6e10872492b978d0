"""The `cmap-format` tests of the connection-monitoring-and-pooling specification.

The pool of either face without a client: of socket pairs for the unit tests, of connections to
SecantusDB for the integration tests, with its `configureFailPoint`. What SDAM and the background
thread are to a pool stands here in a few lines. Every file runs: none is skipped.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
import pytest

from mongokey import monitoring
from mongokey._support.deadline import Timeout
from mongokey.connection import establish_aio
from mongokey.connection.connection import Connection
from mongokey.connection.establish import open_connection
from mongokey.connection.settings import ConnectionSettings, Opening
from mongokey.errors import InvalidOperation, WaitQueueTimeoutError
from mongokey.events.publisher import Publisher
from mongokey.handshake.metadata import ClientMetadata
from mongokey.pool.aio import AsyncPool
from mongokey.pool.blocking import BlockingPool
from mongokey.transport.stream import SocketStream
from tests import specifications
from tests.faces.loop_thread import LoopThread
from tests.faces.wrapper import COMPLAINTS
from tests.servers.secantus import SecantusServer

SUITE = "connection-monitoring-and-pooling/cmap-format"
FILES = dict(specifications.suite(SUITE))

EVENTS = {
    "ConnectionPoolCreated": monitoring.PoolCreatedEvent,
    "ConnectionPoolReady": monitoring.PoolReadyEvent,
    "ConnectionPoolCleared": monitoring.PoolClearedEvent,
    "ConnectionPoolClosed": monitoring.PoolClosedEvent,
    "ConnectionCreated": monitoring.ConnectionCreatedEvent,
    "ConnectionReady": monitoring.ConnectionReadyEvent,
    "ConnectionClosed": monitoring.ConnectionClosedEvent,
    "ConnectionCheckOutStarted": monitoring.ConnectionCheckOutStartedEvent,
    "ConnectionCheckOutFailed": monitoring.ConnectionCheckOutFailedEvent,
    "ConnectionCheckedOut": monitoring.ConnectionCheckedOutEvent,
    "ConnectionCheckedIn": monitoring.ConnectionCheckedInEvent,
}
NAMES = {kind: name for name, kind in EVENTS.items()}
FIELDS = {"connectionId": "connection_id", "interruptInUseConnections": "interrupt_connections"}
ANY = (42, "42")
# The specification's error, and ours with its words.
ERRORS = {
    "PoolClosedError": (InvalidOperation, "after close"),
    "WaitQueueTimeoutError": (
        WaitQueueTimeoutError,
        "Timed out while checking out a connection from connection pool",
    ),
}
POOL_OPTIONS = {"maxPoolSize", "minPoolSize", "maxIdleTimeMS", "maxConnecting"}
TEST_OPTIONS = {"waitQueueTimeoutMS", "backgroundThreadIntervalMS", "appName"}
FAR_S = 20.0


class Recorder(monitoring.ConnectionPoolListener):
    """Keeps the events, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._changed = threading.Condition()

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("pool_", "connection_")):
            return self.note
        return super().__getattribute__(name)

    def note(self, event: Any) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, name: str, count: int, timeout_s: float) -> None:
        with self._changed:
            found = self._changed.wait_for(
                lambda: sum(NAMES[type(each)] == name for each in self.events) >= count,
                timeout_s,
            )
        assert found, f"{name} did not come {count} times: {self.events}"


class Worker(threading.Thread):
    """One of the test's threads: does what it is told, in order."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # told by waitForThread
                self.error = error

    def tell(self, job: Callable[[], object] | None) -> None:
        self._jobs.put(job)

    def finish(self) -> None:
        """Wait until it has done everything; raises what went wrong."""
        self.tell(None)
        self.join(FAR_S)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


class Run:
    """One test: a pool, threads, and connections by label."""

    pool_class: Any = BlockingPool

    def __init__(self, options: dict[str, Any], connect: Any, address: tuple[str, int]) -> None:
        assert options.keys() <= POOL_OPTIONS | TEST_OPTIONS
        self.recorder = Recorder()
        wait_ms = options.get("waitQueueTimeoutMS")
        publisher = Publisher((self.recorder,))
        self.pool = self.pool_class(
            address,
            connect,
            max_size=options.get("maxPoolSize", 100),
            min_size=options.get("minPoolSize", 0),
            max_connecting=options.get("maxConnecting", 2),
            max_idle_ns=options.get("maxIdleTimeMS", 0) * 1_000_000,
            wait_queue_timeout=Timeout(wait_ms * 1_000_000, "waitQueueTimeoutMS")
            if wait_ms
            else None,
            publisher=publisher,
            on_connect_failure=self.failed_to_connect,
        )
        publisher.deliver()  # that the pool was made, as a topology does
        self.threads: dict[str, Worker] = {}
        self.labels: dict[str, Connection] = {}
        self.held: list[Connection] = []
        self.ended = threading.Event()
        interval_ms = options.get("backgroundThreadIntervalMS", 10)
        self.background = threading.Thread(target=self.tend, args=(interval_ms / 1000,))
        if interval_ms > 0:
            self.background.start()

    def call(self, work: Callable[[], Any]) -> Any:
        """What is to be done with the pool is done where the pool belongs."""
        return work()

    def check_out(self) -> Any:
        return self.pool.check_out()

    def fill(self) -> Any:
        if self.pool.wants_connections():
            return self.pool.fill()

    def tend(self, interval_s: float) -> None:
        while not self.ended.is_set():
            self.call(self.pool.prune)
            self.call(self.fill)
            self.ended.wait(interval_s)

    def failed_to_connect(self, error: Any, generation: int) -> None:
        overloaded = error.has_error_label("SystemOverloadedError")
        if generation == self.pool.generation and not overloaded:
            self.pool.clear(error)

    def operations(self, operations: list[dict[str, Any]]) -> None:
        for each in operations:
            self.operation(each)

    def operation(self, operation: dict[str, Any]) -> None:
        name = operation["name"]
        method = getattr(self, f"do_{name}")
        given = {key: value for key, value in operation.items() if key not in ("name", "thread")}
        if "thread" in operation:
            self.threads[operation["thread"]].tell(lambda: method(**given))
        else:
            method(**given)

    def do_start(self, target: str) -> None:
        self.threads[target] = Worker()

    def do_wait(self, ms: int) -> None:
        time.sleep(ms / 1000)

    def do_waitForThread(self, target: str) -> None:
        self.threads[target].finish()

    def do_waitForEvent(self, event: str, count: int, timeout: int | None = None) -> None:
        self.recorder.wait_for(event, count, FAR_S if timeout is None else timeout / 1000)

    def do_checkOut(self, label: str | None = None) -> None:
        connection = self.call(self.check_out)
        self.held.append(connection)
        if label is not None:
            self.labels[label] = connection

    def do_checkIn(self, connection: str) -> None:
        given = self.labels[connection]
        self.held.remove(given)
        self.call(lambda: self.pool.check_in(given))

    def do_ready(self) -> None:
        self.call(self.pool.ready)

    def do_clear(self, interruptInUseConnections: bool = False) -> None:
        self.call(lambda: self.pool.clear(interrupt=interruptInUseConnections))

    def do_close(self) -> None:
        self.call(self.pool.close)

    def end(self) -> None:
        """Everything is given back, and then the pool has nothing more."""
        self.ended.set()
        self.call(self.pool.close)
        for worker in self.threads.values():
            worker.tell(None)
            worker.join(FAR_S)
        if self.background.ident is not None:
            self.background.join(FAR_S)
        for connection in self.held:
            self.call(lambda given=connection: self.pool.check_in(given))
        pool = self.pool
        counts = (pool.in_use, pool.idle_count, pool.connecting, pool.waiting_count)
        assert counts == (0, 0, 0, 0)
        created, closed = (
            sorted(each.connection_id for each in self.recorder.events if type(each) is kind)
            for kind in (monitoring.ConnectionCreatedEvent, monitoring.ConnectionClosedEvent)
        )
        assert created == closed == list(range(1, len(created) + 1))


class AsyncioRun(Run):
    """One test of the asyncio face: the pool is used in a loop, by tasks that threads wait for."""

    pool_class = AsyncPool

    def __init__(self, *arguments: Any) -> None:
        self.loop = LoopThread(COMPLAINTS)
        super().__init__(*arguments)

    def call(self, work: Callable[[], Any]) -> Any:
        return self.loop.call(work)

    def check_out(self) -> Any:
        return self.pool.checkout_soon()

    def end(self) -> None:
        try:
            super().end()
        finally:
            self.loop.close()


RUNS = {"blocking": Run, "asyncio": AsyncioRun}


def expect(expected: Any, actual: Any) -> None:
    """MATCHES, of the format."""
    if expected in ANY:
        assert actual is not None
    elif isinstance(expected, dict):
        for key, value in expected.items():
            assert key in actual
            expect(value, actual[key])
    else:
        assert type(actual) is type(expected)
        assert actual == expected


def shown(event: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """The event as the format writes it, with those of its fields that are expected."""
    found = {"type": NAMES[type(event)]}
    for field in fields:
        if field != "type" and hasattr(event, FIELDS.get(field, field)):
            found[field] = getattr(event, FIELDS.get(field, field))
    return found


def check(test: dict[str, Any], run: Run) -> None:
    error = test.get("error")
    if error is None:
        run.operations(test["operations"])
    else:
        kind, words = ERRORS[error["type"]]
        with pytest.raises(kind, match=words):
            run.operations(test["operations"])
    ignored = test.get("ignore") or ()
    actual = [each for each in run.recorder.events if NAMES[type(each)] not in ignored]
    for place, expected in enumerate(test["events"]):
        assert place < len(actual), f"no {expected} after {actual}"
        expect(expected, shown(actual[place], expected))


def connect_pair(face: str, peers: list[socket.socket]) -> Callable[[Opening], Any]:
    def connect(opening: Opening) -> Connection:
        ours, theirs = socket.socketpair()
        peers.append(theirs)
        return Connection(SocketStream(ours.detach(), "host:27017"), ("host", 27017))

    async def connect_soon(opening: Opening) -> Connection:
        return connect(opening)

    return connect if face == "blocking" else connect_soon


@contextmanager
def fail_point(server: SecantusServer, command: dict[str, Any] | None) -> Iterator[None]:
    if command is None:
        yield
        return
    uri = f"mongodb://127.0.0.1:{server.port}/?directConnection=true"
    client: pymongo.MongoClient[Any]
    with pymongo.MongoClient(uri, appname="the runner") as client:
        client.admin.command(command)
        try:
            yield
        finally:
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


UNIT = [name for name, test in FILES.items() if test["style"] == "unit"]
INTEGRATION = [name for name, test in FILES.items() if test["style"] == "integration"]


def test_every_file_is_of_a_kind_that_runs() -> None:
    specifications.require(SUITE)
    assert len(UNIT) + len(INTEGRATION) == len(FILES) >= 33
    for test in FILES.values():
        assert test["version"] == 1
        for needed in test.get("runOn", ()):
            assert tuple(map(int, needed["minServerVersion"].split("."))) <= (5, 0, 0)


@pytest.mark.parametrize("name", UNIT)
def test_unit(name: str, face: str) -> None:
    test = FILES[name]
    peers: list[socket.socket] = []
    connect = connect_pair(face, peers)
    run = RUNS[face](test.get("poolOptions", {}), connect, ("host", 27017))
    try:
        check(test, run)
    finally:
        run.end()
        for peer in peers:
            peer.close()


@pytest.mark.live
@pytest.mark.parametrize("name", INTEGRATION)
def test_integration(name: str, face: str, open_secantus: SecantusServer) -> None:
    test = FILES[name]
    options = test.get("poolOptions", {})
    address = (open_secantus.host, open_secantus.port)
    settings = ConnectionSettings(metadata=ClientMetadata(options.get("appName"), None))

    def connect(opening: Opening) -> Connection:
        return open_connection(address, settings, opening=opening)[0]

    async def connect_soon(opening: Opening) -> Any:
        return (await establish_aio.open_connection(address, settings, opening=opening))[0]

    with fail_point(open_secantus, test.get("failPoint")):
        run = RUNS[face](options, connect if face == "blocking" else connect_soon, address)
        try:
            check(test, run)
        finally:
            run.end()
