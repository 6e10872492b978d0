"""A pool that is cleared, closed or forked in the middle of things: who is told what, and that the
counts are right afterwards. Connections over socket pairs, nobody behind.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import monitoring
from mongokey._support.deadline import Timeout
from mongokey.bson.objectid import ObjectId
from mongokey.connection.connection import Connection
from mongokey.connection.settings import Opening
from mongokey.errors import (
    AutoReconnect,
    InvalidOperation,
    MongoError,
    NetworkTimeout,
    OperationFailure,
    PoolClearedError,
)
from mongokey.events.publisher import Publisher
from mongokey.handshake import HelloReply
from mongokey.pool.blocking import BlockingPool
from tests.pools import ADDRESS, ConnectionFactory

FAR_S = 20.0
GONE = AutoReconnect("host:27017: connection reset")


@pytest.fixture
def factory() -> Iterator[ConnectionFactory]:
    factory = ConnectionFactory()
    yield factory
    factory.close()


class Slow:
    """Connects by `factory` only when told to, with what happens before hello or after it."""

    def __init__(self, factory: ConnectionFactory, hello: dict[str, Any] | None = None) -> None:
        self.factory = factory
        self.hello = hello
        self.openings: list[Opening] = []
        self.began = threading.Semaphore(0)
        self.go = threading.Event()
        self.error: Exception | None = None

    def __call__(self, opening: Opening) -> Connection:
        connection = self.factory()
        self.openings.append(opening)
        opening.add(connection.stream)
        if self.hello is not None:
            opening.hello_received(HelloReply(self.hello))
        self.began.release()
        assert self.go.wait(FAR_S)
        opening.remove(connection.stream)
        if self.error is not None:
            connection.close()
            raise self.error
        if opening.is_closed():
            connection.close()
            raise opening.refuse()
        return connection


class Quiet(monitoring.ConnectionPoolListener):
    """Keeps the events, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("pool_", "connection_")):
            return self.note
        return super().__getattribute__(name)

    def note(self, event: Any) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.events if type(each) is kind]


class Thread(threading.Thread):
    """Does `work`; `result` or what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.value: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self.work()
        except BaseException as error:
            self.error = error

    def result(self) -> Any:
        self.join(FAR_S)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.value


def ready_pool(connect: Any, **options: Any) -> BlockingPool:
    pool = BlockingPool(ADDRESS, connect, **options)
    pool.ready()
    return pool


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + FAR_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def counts(pool: BlockingPool) -> tuple[int, int, int, int]:
    return pool.in_use, pool.idle_count, pool.connecting, pool.waiting_count


# -- paused -----------------------------------------------------------------------------------


def test_a_new_pool_is_paused_until_its_server_was_checked(factory: ConnectionFactory) -> None:
    pool = BlockingPool(ADDRESS, factory, min_size=1)
    assert pool.paused
    assert not pool.wants_connections()
    pool.fill()
    with pytest.raises(PoolClearedError, match=r"host:27017: .* has not answered a check"):
        pool.check_out()
    assert counts(pool) == (0, 0, 0, 0)
    assert factory.made == []
    pool.ready()
    assert pool.wants_connections()
    pool.check_in(pool.check_out())
    assert counts(pool) == (0, 1, 0, 0)


def test_who_comes_after_a_clear_is_told_why(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory)
    pool.clear(GONE)
    with pytest.raises(PoolClearedError) as caught:
        pool.check_out()
    for part in ("host:27017", "AutoReconnect", "connection reset", "tried again"):
        assert part in str(caught.value)
    assert isinstance(caught.value, AutoReconnect)
    assert not caught.value.timeout
    # An error may hold a document of 16 MB.
    pool.clear(OperationFailure("x" * 100_000))
    with pytest.raises(PoolClearedError) as caught:
        pool.check_out()
    assert len(str(caught.value)) < 1000
    assert pool.generation == 2


def test_a_pool_keeps_no_error_and_with_it_what_its_frames_hold(
    factory: ConnectionFactory,
) -> None:
    pool = ready_pool(factory)

    class Witness(AutoReconnect):
        pass

    def fail() -> Any:
        import weakref

        error = Witness("gone")
        pool.clear(error)
        return weakref.ref(error)

    assert fail()() is None


# -- who waits --------------------------------------------------------------------------------


def test_all_who_wait_are_told_at_once(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory, max_size=1)
    held = pool.check_out()
    waiting = [Thread(pool.check_out) for _ in range(8)]
    wait_until(lambda: pool.waiting_count == 8)
    assert pool.operation_count == 9
    pool.clear(GONE)
    errors = []
    for each in waiting:
        with pytest.raises(PoolClearedError, match="connection reset") as caught:
            each.result()
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 8
    pool.check_in(held)
    assert held.closed
    assert counts(pool) == (0, 0, 0, 0)
    assert pool.operation_count == 0


def test_who_begins_to_wait_after_the_next_check_is_not_told(factory: ConnectionFactory) -> None:
    """The clear tells those of before, however long its listeners take."""
    told = threading.Event()
    go = threading.Event()

    class Listener(Quiet):
        def note(self, event: Any) -> None:
            if type(event) is monitoring.PoolClearedEvent:
                told.set()
                assert go.wait(FAR_S)

    pool = BlockingPool(ADDRESS, factory, max_size=1, publisher=Publisher((Listener(),)))
    pool.ready()
    held = pool.check_out()
    before = Thread(pool.check_out)
    wait_until(lambda: pool.waiting_count == 1)
    clearing = Thread(lambda: pool.clear(GONE))
    assert told.wait(FAR_S)
    pool.ready()
    after = Thread(pool.check_out)
    wait_until(lambda: pool.waiting_count == 1)
    go.set()
    clearing.result()
    with pytest.raises(PoolClearedError):
        before.result()
    pool.check_in(held)
    pool.check_in(after.result())
    assert counts(pool) == (0, 1, 0, 0)


def test_a_deadline_and_a_clear_at_the_same_time_lose_nobody(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory, max_size=1, wait_queue_timeout=Timeout(2_000_000, "x"))
    for _ in range(100):
        pool.ready()
        held = pool.check_out()
        waiting = [Thread(pool.check_out) for _ in range(2)]
        time.sleep(0.002)
        pool.clear(GONE)
        pool.check_in(held)
        for each in waiting:
            with pytest.raises(MongoError):
                each.result()
        assert counts(pool) == (0, 0, 0, 0)


@pytest.mark.parametrize("removed", [False, True])
def test_closing_ends_the_waiting_and_what_is_being_opened(
    factory: ConnectionFactory, removed: bool
) -> None:
    connect = Slow(factory)
    pool = ready_pool(connect, max_connecting=1)
    opening = Thread(pool.check_out)
    assert connect.began.acquire(timeout=FAR_S)
    waiting = Thread(pool.check_out)
    wait_until(lambda: pool.waiting_count == 1)
    pool.close(removed=removed)
    kind = PoolClearedError if removed else InvalidOperation
    with pytest.raises(kind, match="no longer" if removed else "after close"):
        waiting.result()
    assert factory.made[0].closed
    connect.go.set()
    with pytest.raises(MongoError):
        opening.result()
    with pytest.raises(kind):
        pool.check_out()
    assert counts(pool) == (0, 0, 0, 0)
    # What it is told later changes nothing.
    pool.ready()
    pool.clear(GONE)
    pool.close(removed=not removed)
    with pytest.raises(kind):
        pool.check_out()


@pytest.mark.skipif(os.name == "nt", reason="no SIGUSR1 there")
@pytest.mark.parametrize("way", ["handler", "raise"])
def test_a_signal_in_the_middle_of_a_wait(factory: ConnectionFactory, way: str) -> None:
    pool = ready_pool(factory, max_size=1)
    held: Connection | None = Thread(pool.check_out).result()

    class Stop(Exception):
        pass

    def handle(*_: object) -> None:
        pool.clear(GONE)
        if way == "raise":
            raise Stop

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        with pytest.raises(Stop if way == "raise" else PoolClearedError):
            pool.check_out()
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert held is not None
    pool.check_in(held)
    assert counts(pool) == (0, 0, 0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_forked_while_others_wait_and_open(factory: ConnectionFactory) -> None:
    connect = Slow(factory)
    connect.go.set()
    pool = ready_pool(connect, max_size=3, max_connecting=1)
    held, idle = pool.check_out(), pool.check_out()
    pool.check_in(idle)
    pool.check_out()
    connect.go.clear()
    opening = Thread(pool.check_out)
    wait_until(lambda: pool.connecting == 1)
    waiting = Thread(pool.check_out)
    wait_until(lambda: pool.waiting_count == 1)
    generation = pool.generation
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert counts(pool) == (0, 0, 0, 0)
            assert pool.generation == generation + 1
            assert held.stale
            pool.check_in(held)
            assert held.closed
            connect.go.set()
            pool.clear(GONE, interrupt=True)
            pool.ready()
            pool.check_in(pool.check_out())
            assert counts(pool) == (0, 1, 0, 0)
            pool.close()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    assert not held.closed
    connect.go.set()
    pool.check_in(opening.result())
    pool.check_in(waiting.result())
    assert pool.in_use == 2


# -- what is being opened ---------------------------------------------------------------------


@pytest.mark.parametrize("ready_again", [False, True])
def test_a_connection_that_was_begun_before_the_clear_is_closed(
    factory: ConnectionFactory, ready_again: bool
) -> None:
    connect = Slow(factory)
    pool = ready_pool(connect)
    opening = Thread(pool.check_out)
    assert connect.began.acquire(timeout=FAR_S)
    pool.clear(GONE)
    if ready_again:
        pool.ready()
    connect.go.set()
    if ready_again:
        connection = opening.result()
        assert connection is factory.made[1]
        assert connection.generation == pool.generation == 1
        assert connection.id == 2
        pool.check_in(connection)
    else:
        with pytest.raises(PoolClearedError):
            opening.result()
    assert factory.made[0].closed
    assert counts(pool) == (0, int(ready_again), 0, 0)


def test_its_failure_tells_the_generation_that_it_began_in(factory: ConnectionFactory) -> None:
    told: list[tuple[Any, int]] = []
    connect = Slow(factory)
    connect.error = AutoReconnect("host:27017: refused")
    pool = BlockingPool(ADDRESS, connect, on_connect_failure=lambda *given: told.append(given))
    pool.ready()
    opening = Thread(pool.check_out)
    assert connect.began.acquire(timeout=FAR_S)
    pool.clear(GONE)
    pool.ready()
    connect.go.set()
    with pytest.raises(AutoReconnect, match="refused"):
        opening.result()
    assert told == [(connect.error, 0)]
    assert pool.generation == 1
    assert counts(pool) == (0, 0, 0, 0)


def test_interrupting_ends_what_is_being_opened_and_tells_nobody_else(
    factory: ConnectionFactory,
) -> None:
    told: list[Any] = []
    connect = Slow(factory)
    pool = BlockingPool(ADDRESS, connect, on_connect_failure=lambda *given: told.append(given))
    pool.ready()
    opening = Thread(pool.check_out)
    assert connect.began.acquire(timeout=FAR_S)
    pool.clear(NetworkTimeout("host:27017: the check took too long"), interrupt=True)
    assert factory.made[0].closed, "whoever waits for this connection is woken"
    connect.go.set()
    with pytest.raises(PoolClearedError, match="the check took too long"):
        opening.result()
    assert told == []
    assert counts(pool) == (0, 0, 0, 0)


def test_an_error_in_who_is_told_of_failures_leaves_the_counts_right(
    factory: ConnectionFactory,
) -> None:
    def fail(error: Exception, generation: int) -> None:
        raise ZeroDivisionError

    pool = BlockingPool(ADDRESS, factory, on_connect_failure=fail)
    pool.ready()
    factory.error = AutoReconnect("refused")
    with pytest.raises(ZeroDivisionError):
        pool.check_out()
    assert counts(pool) == (0, 0, 0, 0)


def test_a_refused_login_is_told_to_who_waits_though_it_clears_the_pool(
    factory: ConnectionFactory,
) -> None:
    connect = Slow(factory)
    connect.error = OperationFailure("Authentication failed.", 18)
    pool = BlockingPool(
        ADDRESS, connect, max_connecting=1, on_connect_failure=lambda error, _: pool.clear(error)
    )
    pool.ready()
    opening = Thread(pool.check_out)
    assert connect.began.acquire(timeout=FAR_S)
    waiting = [Thread(pool.check_out) for _ in range(3)]
    wait_until(lambda: pool.waiting_count == 3)
    connect.go.set()
    for each in [opening, *waiting]:
        with pytest.raises(OperationFailure, match="Authentication failed"):
            each.result()
    assert pool.paused
    assert len(factory.made) == 1
    assert counts(pool) == (0, 0, 0, 0)


def test_filling_rests_after_a_refused_login(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory, min_size=2)
    factory.error = OperationFailure("Authentication failed.", 18)
    assert pool.wants_connections()
    pool.fill()
    assert not pool.wants_connections()
    # What the network did is no reason: whether the server is there says its check.
    other = ready_pool(factory, min_size=2)
    factory.error = GONE
    other.fill()
    assert other.wants_connections()
    factory.error = None
    other.fill()
    assert other.idle_count == 2


# -- what is in use ---------------------------------------------------------------------------


def test_interrupting_ends_a_command_under_way_at_once(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory)
    one, two, idle = (pool.check_out() for _ in range(3))
    pool.check_in(idle)
    running = Thread(lambda: one.command("admin", {"ping": 1}))
    wait_until(lambda: len(factory.peers[0].recv(100)) > 0)
    time.sleep(0.05)
    began = time.monotonic()
    pool.clear(NetworkTimeout("host:27017: the check took too long"), interrupt=True)
    with pytest.raises(PoolClearedError) as caught:
        running.result()
    assert time.monotonic() - began < 5
    for part in ("host:27017", "interrupted", "the check took too long"):
        assert part in str(caught.value)
    assert isinstance(caught.value.__cause__, AutoReconnect)
    # One that nobody was reading from is told when it is used.
    with pytest.raises(PoolClearedError, match="interrupted"):
        two.command("admin", {"ping": 1})
    pool.ready()
    fresh = pool.check_out()
    pool.clear(GONE)
    for each in (one, two, fresh):
        pool.check_in(each)
    assert fresh.interruption is None
    assert counts(pool) == (0, 0, 0, 0)
    assert [each.closed for each in factory.made] == [True] * 4


def test_without_interruption_a_command_under_way_goes_on(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory)
    held = pool.check_out()
    pool.clear(GONE)
    assert not held.closed
    assert held.stale
    pool.check_in(held)
    assert held.closed


# -- behind a load balancer -------------------------------------------------------------------


def test_each_service_has_its_generation(factory: ConnectionFactory) -> None:
    first, second = ObjectId(), ObjectId()
    services = [first, first, second, second]

    def connect(opening: Opening) -> Connection:
        opening.hello_received(HelloReply({"ok": 1, "serviceId": services.pop(0)}))
        return factory()

    pool = BlockingPool(ADDRESS, connect, load_balanced=True)
    assert not pool.paused
    held = [pool.check_out() for _ in range(4)]
    assert [each.service_id for each in held] == [first, first, second, second]
    pool.check_in(held[0])
    pool.check_in(held[2])
    pool.clear(GONE, service_id=first)
    assert not pool.paused
    assert (pool.generation_of(first), pool.generation_of(second)) == (1, 0)
    assert [each.closed for each in held] == [True, False, False, False]
    assert [each.stale for each in held] == [True, True, False, False]
    # The connection that is left of `first` remembers the generation; then nobody needs it.
    pool.check_in(held[1])
    assert held[1].closed
    assert pool.generation_of(first) == 0
    assert pool.check_out() is held[2]
    pool.check_in(held[2])
    pool.check_in(held[3])
    assert counts(pool) == (0, 2, 0, 0)
    pool.clear(GONE)
    assert counts(pool) == (0, 0, 0, 0)


def test_a_failure_behind_a_load_balancer_is_told_after_hello_only(
    factory: ConnectionFactory,
) -> None:
    service = ObjectId()
    told: list[Any] = []

    def note(error: Exception, generation: int, **more: Any) -> None:
        told.append((error, generation, more))

    before, after = Slow(factory), Slow(factory, {"ok": 1, "serviceId": service})
    for connect in (before, after):
        connect.error = AutoReconnect("host:27017: reset")
        connect.go.set()
        pool = BlockingPool(ADDRESS, connect, load_balanced=True, on_connect_failure=note)
        with pytest.raises(AutoReconnect):
            pool.check_out()
        assert counts(pool) == (0, 0, 0, 0)
        assert pool.generation_of(service) == 0
    assert told == [(after.error, 0, {"service_id": service})]
    assert before.error is not None
    assert before.error.has_error_label("SystemOverloadedError")  # type: ignore[attr-defined]
    assert not after.error.has_error_label("SystemOverloadedError")  # type: ignore[union-attr]


def test_who_waits_behind_a_load_balancer_goes_on_waiting(factory: ConnectionFactory) -> None:
    service = ObjectId()

    def connect(opening: Opening) -> Connection:
        opening.hello_received(HelloReply({"ok": 1, "serviceId": service}))
        return factory()

    pool = BlockingPool(ADDRESS, connect, load_balanced=True, max_size=1)
    held = pool.check_out()
    waiting = Thread(pool.check_out)
    wait_until(lambda: pool.waiting_count == 1)
    pool.clear(GONE, service_id=service)
    assert pool.waiting_count == 1
    pool.check_in(held)
    fresh = waiting.result()
    assert (held.closed, fresh.closed, fresh.generation) == (True, False, 0)


# -- events -----------------------------------------------------------------------------------


def test_a_listener_may_use_the_pool(factory: ConnectionFactory) -> None:
    quiet = Quiet()
    pool: BlockingPool

    class Meddler(Quiet):
        def note(self, event: Any) -> None:
            kind = type(event)
            if kind is monitoring.PoolClearedEvent:
                pool.ready()
            elif kind is monitoring.ConnectionCheckedInEvent:
                pool.clear(GONE)
            elif kind is monitoring.ConnectionClosedEvent and event.connection_id == 1:
                pool.check_in(pool.check_out())

    pool = BlockingPool(ADDRESS, factory, publisher=Publisher((quiet, Meddler())))
    pool.ready()
    pool.check_in(pool.check_out())
    pool.close()
    assert counts(pool) == (0, 0, 0, 0)
    created = [each.connection_id for each in quiet.of(monitoring.ConnectionCreatedEvent)]
    closed = [each.connection_id for each in quiet.of(monitoring.ConnectionClosedEvent)]
    assert sorted(closed) == created == [1, 2]


@pytest.mark.parametrize("interrupt", [False, True])
def test_a_hundred_clears_in_a_storm(factory: ConnectionFactory, interrupt: bool) -> None:
    """Threads that take and give back, or wait, or open, while the pool is cleared and readied."""
    quiet = Quiet()
    failing = threading.Event()

    def connect(opening: Opening) -> Connection:
        time.sleep(0.0005)
        if failing.is_set():
            raise AutoReconnect("host:27017: refused")
        return factory()

    pool = BlockingPool(
        ADDRESS,
        connect,
        max_size=4,
        min_size=2,
        wait_queue_timeout=Timeout(50_000_000, "waitQueueTimeoutMS"),
        publisher=Publisher((quiet,)),
    )
    over = threading.Event()
    unexpected: list[BaseException] = []
    served = [0]

    def use() -> None:
        while not over.is_set():
            try:
                connection = pool.check_out()
            except MongoError:
                time.sleep(0.0005)
                continue
            except BaseException as error:
                unexpected.append(error)
                return
            time.sleep(random.random() * 0.001)
            if random.random() < 0.05:
                connection.close()
            served[0] += 1
            pool.check_in(connection)

    def tend() -> None:
        while not over.is_set():
            pool.prune()
            if pool.wants_connections():
                pool.fill()
            time.sleep(0.001)

    threads = [Thread(use) for _ in range(8)] + [Thread(tend)]
    for turn in range(100):
        pool.ready()
        time.sleep(0.003)
        (failing.set if turn % 3 == 2 else failing.clear)()
        pool.clear(GONE, interrupt=interrupt)
        assert pool.in_use <= 4
    over.set()
    for each in threads:
        each.result()
    assert unexpected == []
    assert served[0] > 0
    assert counts(pool) == (0, 0, 0, 0)
    assert pool.operation_count == 0
    assert pool.generation == 100
    assert all(each.closed for each in factory.made)
    created = [each.connection_id for each in quiet.of(monitoring.ConnectionCreatedEvent)]
    closed = [each.connection_id for each in quiet.of(monitoring.ConnectionClosedEvent)]
    assert sorted(created) == sorted(closed) == list(range(1, len(created) + 1))
    started = len(quiet.of(monitoring.ConnectionCheckOutStartedEvent))
    failed = len(quiet.of(monitoring.ConnectionCheckOutFailedEvent))
    assert started == failed + len(quiet.of(monitoring.ConnectionCheckedOutEvent))
    assert len(quiet.of(monitoring.PoolReadyEvent)) == 100
    assert len(quiet.of(monitoring.PoolClearedEvent)) == 100


# -- overload ---------------------------------------------------------------------------------


def of_the_resolver() -> AutoReconnect:
    error = AutoReconnect("nowhere: the host name cannot be resolved")
    error.resolving = True
    return error


@pytest.mark.parametrize(
    ("error", "labelled"),
    [
        (AutoReconnect("refused"), True),
        (NetworkTimeout("too long"), True),
        (of_the_resolver(), False),
        (OperationFailure("no", 91), False),
        (InvalidOperation("closed"), False),
    ],
    ids=lambda each: each if isinstance(each, bool) else type(each).__name__,
)
def test_errors_before_hello_that_load_may_cause_are_labelled(
    factory: ConnectionFactory, error: MongoError, labelled: bool
) -> None:
    factory.error = error
    with pytest.raises(type(error)):
        ready_pool(factory).check_out()
    for label in ("SystemOverloadedError", "RetryableError"):
        assert error.has_error_label(label) is labelled


def test_who_makes_pools_is_told_when_there_is_something_to_fill(
    factory: ConnectionFactory,
) -> None:
    told: list[int] = []
    pool = BlockingPool(ADDRESS, factory, min_size=1, on_ready=lambda: told.append(1))
    pool.ready()
    pool.ready()
    assert told == [1]
    pool.clear()
    pool.ready()
    assert told == [1, 1]
    without = BlockingPool(ADDRESS, factory, on_ready=lambda: told.append(2))
    without.ready()
    assert told == [1, 1]


def test_clearing_in_two_parts_is_clearing(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory)
    idle, used = pool.check_out(), pool.check_out()
    pool.check_in(idle)
    begun = pool.begin_clear(ValueError("why"), interrupt=True)
    # Nobody gets a connection from here on; nothing is closed yet.
    with pytest.raises(PoolClearedError, match="ValueError: why"):
        pool.check_out()
    assert not idle.closed
    assert not used.closed
    pool.finish_clear(begun)
    assert idle.closed
    assert used.closed
    pool.check_in(used)
    assert counts(pool) == (0, 0, 0, 0)
    pool.close()
    pool.finish_clear(pool.begin_clear())
