"""Server selection on made-up servers: no sockets, only what they say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    InvalidOperation,
    OperationFailure,
    ServerSelectionTimeoutError,
    TLSError,
)
from mongokey.handshake import HelloReply
from mongokey.topology import _topology
from mongokey.topology._topology import Topology, format_address
from tests.servers.scripted import arbiter, ghost, primary, secondary, standalone

A, B, C = ("a", 1), ("b", 2), ("c", 3)


class Connection:
    """What selection sees of a connection."""

    def __init__(self, address: Any, hello: Any) -> None:
        self.address = address
        self.hello = HelloReply(hello)
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Pool:
    """What selection sees of a pool."""

    def __init__(self, address: Any) -> None:
        self.address = address
        self.adopted: list[Connection] = []
        self.closed = False

    def adopt(self, connection: Connection) -> None:
        self.adopted.append(connection)

    def close(self) -> None:
        self.closed = True


class World:
    """Servers by address: a hello document, an exception, or a function that returns either."""

    def __init__(self, **servers: Any) -> None:
        self.servers = servers
        self.asked: list[Any] = []
        self.timeouts: list[float] = []
        self.made: list[Connection] = []

    def connect(self, address: Any, within_s: float) -> Connection:
        self.asked.append(address)
        self.timeouts.append(within_s)
        answer = self.servers.get(address[0], AutoReconnect(f"{format_address(address)}: refused"))
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        connection = Connection(address, answer)
        self.made.append(connection)
        return connection

    def topology(self, *seeds: Any, timeout: float = 0.2, **options: Any) -> Topology:
        return Topology(
            list(seeds),
            self.connect,  # type: ignore[arg-type]
            Pool,  # type: ignore[arg-type]
            server_selection_timeout_s=timeout,
            **options,
        )


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_topology, "_MIN_PAUSE_S", 0.01)


def explained(topology: Topology) -> str:
    with pytest.raises(ServerSelectionTimeoutError) as caught:
        topology.select()
    return str(caught.value)


@pytest.mark.parametrize(
    ("address", "text"),
    [(("h", 1), "h:1"), (("::1", 2), "[::1]:2"), (("/tmp/m.sock", None), "/tmp/m.sock")],
)
def test_addresses_are_written_as_in_connection_strings(address: Any, text: str) -> None:
    assert format_address(address) == text


def test_the_connection_that_found_the_server_goes_into_its_pool() -> None:
    world = World(a=standalone())
    topology = world.topology(A)
    pool: Any = topology.select()
    assert pool.address == A
    assert pool.adopted == world.made
    assert topology.select() is pool
    assert world.asked == [A]
    assert topology.pools == [pool]
    assert topology.current is pool


def test_a_forgotten_server_is_looked_for_again_and_keeps_its_pool() -> None:
    world = World(a=primary())
    topology = world.topology(A)
    pool: Any = topology.select()
    topology.forget(pool)
    assert topology.current is None
    assert topology.select() is pool
    assert len(pool.adopted) == 2


def test_forgetting_another_pool_changes_nothing() -> None:
    world = World(a=primary())
    topology = world.topology(A)
    pool = topology.select()
    topology.forget(Pool(B))  # type: ignore[arg-type]
    assert topology.current is pool


def test_the_first_writable_seed_wins_and_the_others_are_closed() -> None:
    world = World(a=secondary(), b=primary(), c=arbiter())
    topology = world.topology(A, B, C)
    assert topology.select().address == B
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not all(c.closed for c in world.made if c.address != B):
        time.sleep(0.005)
    assert {c.address: c.closed for c in world.made if c.address == B} == {B: False}


def test_a_primary_that_is_no_seed_is_followed_once() -> None:
    world = World(a=secondary(primary="b:2"), b=primary())
    assert world.topology(A).select().address == B
    world = World(a=secondary(primary="b:2"), b=secondary(primary="a:1"))
    assert "not writable" in explained(world.topology(A, timeout=0.0))
    assert world.asked == [A, B]


def test_a_direct_connection_takes_what_there_is() -> None:
    for hello in (secondary(primary="b:2"), ghost(), arbiter()):
        world = World(a=hello)
        assert world.topology(A, direct_connection=True).select().address == A
        assert world.asked == [A]


def test_seeds_named_twice_are_asked_once() -> None:
    world = World(a=ghost())
    explained(world.topology(A, A, timeout=0.0))
    assert world.asked == [A]


def test_what_waiting_cannot_mend_is_raised_at_once() -> None:
    for error in (OperationFailure("no", 18), ConfigurationError("too old")):
        for seeds in ((A,), (A, B)):
            world = World(a=error, b=secondary())
            with pytest.raises(type(error)):
                world.topology(*seeds, timeout=60).select()


@pytest.mark.parametrize("seeds", [(A,), (A, B)])
def test_unforeseen_errors_are_raised_and_not_waited_for(seeds: Any) -> None:
    world = World(a=ZeroDivisionError("a bug"), b=secondary())
    with pytest.raises(ZeroDivisionError):
        world.topology(*seeds, timeout=60).select()


def test_selection_looks_until_somebody_is_writable() -> None:
    answers = iter([ghost(), AutoReconnect("a:1: gone"), secondary(), primary()])
    world = World(a=lambda: next(answers))
    assert world.topology(A, timeout=30).select().address == A
    assert world.asked == [A] * 4


def test_every_look_has_what_is_left_of_the_time() -> None:
    world = World(a=ghost())
    explained(world.topology(A, timeout=0.1))
    assert len(world.timeouts) > 1
    assert world.timeouts == sorted(world.timeouts, reverse=True)
    assert 0 < world.timeouts[0] <= 0.1


def test_the_error_says_what_each_seed_answered() -> None:
    world = World(a=ghost(), b=secondary(primary="x:5"))
    text = explained(world.topology(A, B, C, timeout=0.05))
    for part in (
        "serverSelectionTimeoutMS=50",
        "a:1: a replica set member that was never initiated",
        "b:2: not writable: a member of set 'rs' whose primary is x:5",
        "c:3: refused",
        "x:5: refused",
    ):
        assert part in text
    assert text.count("c:3") == 1


def test_the_last_answer_of_a_seed_counts() -> None:
    answers = iter([AutoReconnect("a:1: gone")])
    world = World(a=lambda: next(answers, ghost()))
    topology = world.topology(A, timeout=0.1)
    with pytest.raises(ServerSelectionTimeoutError) as caught:
        topology.select()
    assert "gone" not in str(caught.value)
    assert caught.value.errors == {}


def test_a_seed_that_does_not_answer_is_named_and_closed_when_it_does() -> None:
    answer = threading.Event()

    def slow() -> Any:
        answer.wait(10)
        return primary()

    world = World(a=secondary(), b=slow)
    assert "no answer yet from b:2" in explained(world.topology(A, B, timeout=0.05))
    answer.set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not (
        len(world.made) == 2 and all(each.closed for each in world.made)
    ):
        time.sleep(0.005)
    assert [each.closed for each in world.made] == [True, True]


def test_the_set_must_have_the_right_name() -> None:
    world = World(a=primary(setName="one"), b=standalone())
    topology = world.topology(A, B, timeout=0.0, replica_set="two")
    text = explained(topology)
    assert "a:1: the server is called 'one', not replicaSet='two'" in text
    assert "b:2: the server is not in a set, not replicaSet='two'" in text
    assert world.topology(A, replica_set="one").select().address == A


def test_one_thread_looks_and_the_others_wait_for_what_it_finds() -> None:
    go = threading.Event()

    def slow() -> Any:
        go.wait(10)
        return primary()

    world = World(a=slow)
    topology = world.topology(A, timeout=10)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(topology.select())) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert world.asked == [A]


def test_who_waits_for_another_s_look_is_told_when_it_takes_too_long() -> None:
    go = threading.Event()

    def slow() -> Any:
        go.wait(10)
        return primary()

    topology = World(a=slow).topology(A, timeout=0.05)
    looking = threading.Thread(target=topology.select)
    looking.start()
    time.sleep(0.02)
    assert "another thread is still trying a:1" in explained(topology)
    go.set()
    looking.join(10)


def test_a_child_does_not_wait_for_a_lock_of_the_parent() -> None:
    topology = World(a=primary()).topology(A)
    topology._lock.acquire()
    topology.start_anew()
    assert topology.select().address == A


def test_a_closed_topology_closes_its_pools_and_selects_no_more() -> None:
    topology = World(a=primary()).topology(A)
    pool: Any = topology.select()
    topology.close()
    assert pool.closed
    with pytest.raises(InvalidOperation, match="after close"):
        topology.select()


def test_seeds_are_told_and_are_not_the_caller_s_list() -> None:
    topology = World().topology(A, B)
    topology.seeds.append(C)
    assert topology.seeds == [A, B]


class Clock:
    """A clock that a look around moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def hang_up(clock: Clock, seconds: float = 1.0) -> Any:
    def answer() -> Exception:
        clock.now += seconds
        return TLSError("hung up", "TLS-CLOSED", permanent=False)

    return answer


def test_tls_that_fails_for_long_and_with_every_seed_is_told_before_the_selection_ends() -> None:
    clock = Clock()
    world = World(a=hang_up(clock))
    topology = world.topology(A, timeout=30.0, clock=clock, tls_patience_s=5.0)
    with pytest.raises(TLSError, match="hung up") as caught:
        topology.select()
    assert not isinstance(caught.value, ServerSelectionTimeoutError)
    assert caught.value.reason == "TLS-CLOSED"
    assert world.asked == [A] * 5


def test_a_seed_that_fails_otherwise_between_starts_the_patience_anew() -> None:
    clock = Clock()
    answers = iter(
        [hang_up(clock)] * 4 + [lambda: AutoReconnect("a:1: refused")] + [hang_up(clock)] * 9
    )
    world = World(a=lambda: next(answers)())
    topology = world.topology(A, timeout=30.0, clock=clock, tls_patience_s=5.0)
    with pytest.raises(TLSError):
        topology.select()
    assert len(world.asked) == 4 + 1 + 5


def test_a_seed_that_may_answer_yet_keeps_the_selection_going() -> None:
    clock = Clock()
    world = World(a=hang_up(clock))
    text = explained(world.topology(A, B, timeout=12.0, clock=clock, tls_patience_s=2.0))
    assert "hung up" in text
    assert "refused" in text
