"""Server selection on made-up servers: no sockets, only what they say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mongokey._support.address import format_address
from mongokey._support.deadline import Timeout
from mongokey.diagnostics import POSSIBLE, Diagnosis
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    InvalidOperation,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    TLSError,
)
from mongokey.handshake import HelloReply
from mongokey.topology import topology as topology_module
from mongokey.topology.topology import Topology
from tests.deadlines import timeout_of
from tests.servers.scripted import (
    arbiter,
    ghost,
    mongos,
    primary,
    secondary,
    standalone,
    too_new,
    too_old,
)
from tests.threads import outcomes

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

    def ready(self) -> None:
        """It is: its connection is there."""

    def add_connection(self, connection: Connection) -> None:
        self.adopted.append(connection)

    def close(self) -> None:
        self.closed = True


class FakeDeployment:
    """Servers by address: a hello document, an exception, or a function that returns either; and
    what their logins do, functions by address."""

    def __init__(self, **servers: Any) -> None:
        self.servers = servers
        self.logins: dict[str, Callable[[], None]] = {}
        self.asked: list[Any] = []
        self.logged_in: list[Any] = []
        self.only: list[bool] = []
        self.made: list[Connection] = []

    def connect(self, address: Any, judge: Any, to_be_used: bool) -> Connection:
        self.asked.append(address)
        self.only.append(to_be_used)
        answer = self.servers.get(address[0], AutoReconnect(f"{format_address(address)}: refused"))
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        connection = Connection(address, answer)
        self.made.append(connection)
        try:
            judge(connection.hello)
            self.logged_in.append(address)
            self.logins.get(address[0], lambda: None)()
        except BaseException:
            connection.close()
            raise
        return connection

    def topology(self, *seeds: Any, timeout: float = 0.2, **options: Any) -> Topology:
        options.setdefault("connect_limit", timeout_of(0))
        return Topology(
            list(seeds),
            self.connect,  # type: ignore[arg-type]
            Pool,  # type: ignore[arg-type]
            selection_timeout=timeout_of(timeout * 1000, "serverSelectionTimeoutMS"),
            **options,
        )


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology_module, "_MIN_PAUSE_S", 0.01)


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
    deployment = FakeDeployment(a=standalone())
    topology = deployment.topology(A)
    pool: Any = topology.select()
    assert pool.address == A
    assert pool.adopted == deployment.made
    assert topology.select() is pool
    assert deployment.asked == [A]
    assert topology.pools == [pool]
    assert topology.current is pool


def test_an_unknown_server_is_looked_for_again_and_keeps_its_pool() -> None:
    deployment = FakeDeployment(a=primary())
    topology = deployment.topology(A)
    pool: Any = topology.select()
    topology.mark_unknown(pool)
    assert topology.current is None
    assert topology.select() is pool
    assert len(pool.adopted) == 2


def test_marking_another_server_unknown_changes_nothing() -> None:
    deployment = FakeDeployment(a=primary())
    topology = deployment.topology(A)
    pool = topology.select()
    topology.mark_unknown(Pool(B))  # type: ignore[arg-type]
    assert topology.current is pool


def test_the_first_writable_seed_wins_and_the_others_are_closed() -> None:
    deployment = FakeDeployment(a=secondary(), b=primary(), c=arbiter())
    topology = deployment.topology(A, B, C)
    assert topology.select().address == B
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not all(
        c.closed for c in deployment.made if c.address != B
    ):
        time.sleep(0.005)
    assert {c.address: c.closed for c in deployment.made if c.address == B} == {B: False}


def test_a_primary_that_is_no_seed_is_followed_once() -> None:
    deployment = FakeDeployment(a=secondary(primary="b:2"), b=primary())
    assert deployment.topology(A).select().address == B
    deployment = FakeDeployment(a=secondary(primary="b:2"), b=secondary(primary="a:1"))
    assert "not writable" in explained(deployment.topology(A, timeout=0.0))
    assert deployment.asked == [A, B]


def test_a_direct_connection_takes_what_there_is() -> None:
    for hello in (secondary(primary="b:2"), ghost(), arbiter()):
        deployment = FakeDeployment(a=hello)
        assert deployment.topology(A, direct_connection=True).select().address == A
        assert deployment.asked == [A]


def test_seeds_named_twice_are_asked_once() -> None:
    deployment = FakeDeployment(a=ghost())
    explained(deployment.topology(A, A, timeout=0.0))
    assert deployment.asked == [A]


def failing(error: Exception) -> Callable[[], None]:
    def log_in() -> None:
        raise error

    return log_in


def test_what_waiting_cannot_mend_is_raised_at_once() -> None:
    for error in (OperationFailure("no", 18), ConfigurationError("no certificate")):
        for seeds in ((A,), (B, A, C)):
            deployment = FakeDeployment(a=primary(), b=secondary(), c=ghost())
            deployment.logins["a"] = failing(error)
            with pytest.raises(type(error)):
                deployment.topology(*seeds, timeout=60).select()
            assert deployment.logged_in == [A]
    for hello in (too_old(), too_new()):
        with pytest.raises(ConfigurationError):
            FakeDeployment(a=hello, b=ghost()).topology(A, B, timeout=60).select()


def test_a_refused_hello_ends_the_selection_only_where_nobody_else_is() -> None:
    refusal = OperationFailure("no hello", 8000)
    assert FakeDeployment(a=refusal, b=primary()).topology(A, B, timeout=30).select().address == B
    assert "no hello" in explained(
        FakeDeployment(a=refusal, b=secondary()).topology(A, B, timeout=0.1)
    )
    for seeds in ((A,), (A, B)):
        with pytest.raises(OperationFailure, match="no hello"):
            FakeDeployment(a=refusal, b=refusal).topology(*seeds, timeout=60).select()


def test_only_the_server_that_is_used_is_logged_in_to() -> None:
    deployment = FakeDeployment(
        a=ghost(), b=primary(setName="other"), c=primary(setName="rs"), d=secondary()
    )
    topology = deployment.topology(A, B, C, ("d", 4), timeout=30, replica_set="rs")
    assert topology.select().address == C
    assert deployment.logged_in == [C]
    assert not any(deployment.only)


def test_of_two_usable_servers_one_is_logged_in_to() -> None:
    both = threading.Barrier(2)

    def hello() -> Any:
        both.wait(10)
        return mongos()

    deployment = FakeDeployment(a=hello, b=hello)
    topology = deployment.topology(A, B, timeout=30)
    assert topology.select().address == deployment.logged_in[0]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and len(deployment.made) < 2:
        time.sleep(0.005)
    assert len(deployment.logged_in) == 1


def test_a_login_that_fails_on_the_network_leaves_the_others_to_be_tried() -> None:
    deployment = FakeDeployment(a=mongos(), b=mongos())
    deployment.logins["a"] = deployment.logins["b"] = lambda: (
        deployment.logins.clear() or failing(AutoReconnect("gone"))()
    )
    assert deployment.topology(A, B, timeout=30).select().address in (A, B)
    assert len(deployment.logged_in) == 2


@pytest.mark.parametrize(
    ("seeds", "options", "only"),
    [
        ((A,), {}, True),
        ((A,), {"direct_connection": True}, True),
        ((A,), {"replica_set": "rs"}, False),
        ((A, B), {}, False),
    ],
)
def test_a_login_may_go_along_with_hello_where_there_is_one_server(
    seeds: Any, options: Any, only: bool
) -> None:
    deployment = FakeDeployment(a=primary())
    deployment.topology(*seeds, timeout=30, **options).select()
    assert deployment.only[deployment.asked.index(A)] is only


def test_a_pool_s_server_that_changed_is_refused_before_the_login() -> None:
    topology = FakeDeployment(a=primary()).topology(A, timeout=30, replica_set="rs")
    pool = topology.select()

    def review(hello: Any) -> None:
        topology.review(A, HelloReply(hello))

    review(primary())
    for hello in (secondary(), primary(hidden=True), arbiter()):
        with pytest.raises(NotPrimaryError, match="a:1"):
            review(hello)
    for hello in (primary(setName="other"), standalone(), ghost()):
        with pytest.raises(AutoReconnect, match="not replicaSet='rs'") as caught:
            review(hello)
        assert not isinstance(caught.value, NotPrimaryError)
    topology.mark_unknown(pool)
    review(secondary())  # a cursor may go on there
    with pytest.raises(NotPrimaryError):
        review(primary(hidden=True))


@pytest.mark.parametrize("seeds", [(A,), (A, B)])
def test_unforeseen_errors_are_raised_and_not_waited_for(seeds: Any) -> None:
    deployment = FakeDeployment(a=ZeroDivisionError("a bug"), b=secondary())
    with pytest.raises(ZeroDivisionError):
        deployment.topology(*seeds, timeout=60).select()


def test_selection_looks_until_somebody_is_writable() -> None:
    answers = iter([ghost(), AutoReconnect("a:1: gone"), secondary(), primary()])
    deployment = FakeDeployment(a=lambda: next(answers))
    assert deployment.topology(A, timeout=30).select().address == A
    assert deployment.asked == [A] * 4


def test_the_error_says_what_each_seed_answered() -> None:
    deployment = FakeDeployment(a=ghost(), b=secondary(primary="x:5"))
    text = explained(deployment.topology(A, B, C, timeout=0.05))
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
    deployment = FakeDeployment(a=lambda: next(answers, ghost()))
    topology = deployment.topology(A, timeout=0.1)
    with pytest.raises(ServerSelectionTimeoutError) as caught:
        topology.select()
    assert "gone" not in str(caught.value)
    assert caught.value.errors == {}


@pytest.mark.parametrize("limit", [None, timeout_of(20_000)])
def test_a_connection_goes_on_when_the_selection_has_ended(limit: Timeout | None) -> None:
    answer = threading.Event()
    deployment = FakeDeployment(a=primary())
    deployment.logins["a"] = lambda: answer.wait(10)  # type: ignore[assignment,return-value]
    topology = deployment.topology(A, timeout=0.05, connect_limit=limit)
    for _ in range(3):
        assert "no answer yet from a:1" in explained(topology)
    answer.set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and topology.current is None:
        time.sleep(0.005)
    pool: Any = topology.select()
    assert pool.adopted == deployment.made
    assert deployment.asked == [A]


def test_a_connection_that_ends_in_time_whatever_happens_takes_no_thread() -> None:
    threads: list[Any] = []
    deployment = FakeDeployment(a=primary())
    deployment.logins["a"] = lambda: threads.append(threading.current_thread())
    deployment.topology(A, timeout=10, connect_limit=timeout_of(9000)).select()
    assert threads == [threading.current_thread()]


def test_an_interrupted_look_leaves_the_way_free_for_the_next() -> None:
    deployment = FakeDeployment(a=primary())
    deployment.logins["a"] = failing(KeyboardInterrupt())  # type: ignore[arg-type]
    topology = deployment.topology(A, timeout=10)
    with pytest.raises(KeyboardInterrupt):
        topology.select()
    deployment.logins.clear()
    assert topology.select().address == A


def test_a_signal_handler_that_interrupts_the_look_does_not_wait_for_it() -> None:
    deployment = FakeDeployment(a=primary())
    found: list[Any] = []
    deployment.logins["a"] = lambda: deployment.logins.clear() or found.append(topology.select())
    topology = deployment.topology(A, timeout=10)
    assert topology.select() is found[0]
    assert deployment.asked == [A, A]


def test_the_failure_of_a_look_is_every_waiting_thread_s_own() -> None:
    waiting = threading.Event()

    def refuse() -> None:
        waiting.wait(10)
        raise OperationFailure("no", 18)

    deployment = FakeDeployment(a=primary())
    deployment.logins["a"] = refuse
    topology = deployment.topology(A, timeout=30)

    def select() -> Any:
        if len(entered) == 19:
            threading.Timer(0.2, waiting.set).start()
        entered.append(1)
        return topology.select()

    entered: list[int] = []
    errors = outcomes(20, select)
    assert {type(each) for each in errors} == {OperationFailure}
    assert len({id(each) for each in errors}) == 20
    assert deployment.logged_in == [A]


def test_closing_wakes_who_waits_for_a_server() -> None:
    hold = threading.Event()
    deployment = FakeDeployment(a=lambda: hold.wait(30) and primary(), b=AutoReconnect("b:2: gone"))
    for seeds in ((A,), (A, B), (B,)):
        topology = deployment.topology(*seeds, timeout=30, connect_limit=None)
        threading.Timer(0.1, topology.close).start()
        began = time.monotonic()
        with pytest.raises(InvalidOperation, match="after close"):
            topology.select()
        assert time.monotonic() - began < 10
    hold.set()


def test_a_seed_that_does_not_answer_is_named_and_closed_when_it_does() -> None:
    answer = threading.Event()

    def slow() -> Any:
        answer.wait(10)
        return secondary()

    deployment = FakeDeployment(a=secondary(), b=slow)
    assert "no answer yet from b:2" in explained(deployment.topology(A, B, timeout=0.05))
    answer.set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not (
        len(deployment.made) == 2 and all(each.closed for each in deployment.made)
    ):
        time.sleep(0.005)
    assert [each.closed for each in deployment.made] == [True, True]


def test_the_set_must_have_the_right_name() -> None:
    deployment = FakeDeployment(a=primary(setName="one"), b=standalone())
    topology = deployment.topology(A, B, timeout=0.0, replica_set="two")
    text = explained(topology)
    assert "a:1: the server is called 'one', not replicaSet='two'" in text
    assert "b:2: the server is not in a set, not replicaSet='two'" in text
    assert deployment.topology(A, replica_set="one").select().address == A


def test_one_thread_looks_and_the_others_wait_for_what_it_finds() -> None:
    go = threading.Event()

    def slow() -> Any:
        go.wait(10)
        return primary()

    deployment = FakeDeployment(a=slow)
    topology = deployment.topology(A, timeout=10)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(topology.select())) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert deployment.asked == [A]


def test_who_waits_for_another_s_look_is_told_when_it_takes_too_long() -> None:
    go = threading.Event()

    def slow() -> Any:
        go.wait(10)
        return primary()

    deployment = FakeDeployment(a=slow)
    topology = deployment.topology(A, timeout=0.05, connect_limit=None)
    errors = outcomes(2, topology.select)
    assert all("no answer yet from a:1" in str(each) for each in errors)
    assert deployment.asked == [A]
    go.set()


def test_a_child_does_not_wait_for_a_lock_of_the_parent() -> None:
    topology = FakeDeployment(a=primary()).topology(A)
    held = threading.Thread(target=topology._lock.acquire)
    held.start()
    held.join()
    topology.reset_after_fork()
    assert topology.select().address == A


def test_a_closed_topology_closes_its_pools_and_selects_no_more() -> None:
    topology = FakeDeployment(a=primary()).topology(A)
    pool: Any = topology.select()
    topology.close()
    assert pool.closed
    with pytest.raises(InvalidOperation, match="after close"):
        topology.select()


def test_seeds_are_told_and_are_not_the_caller_s_list() -> None:
    topology = FakeDeployment().topology(A, B)
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
        return TLSError("hung up", Diagnosis("TLS-CLOSED", POSSIBLE, "hung up"), permanent=False)

    return answer


def test_tls_that_fails_for_long_and_with_every_seed_is_told_before_the_selection_ends() -> None:
    clock = Clock()
    deployment = FakeDeployment(a=hang_up(clock))
    topology = deployment.topology(A, timeout=30.0, clock=clock, tls_patience_s=5.0)
    with pytest.raises(TLSError, match="hung up") as caught:
        topology.select()
    assert not isinstance(caught.value, ServerSelectionTimeoutError)
    assert caught.value.reason == "TLS-CLOSED"
    assert deployment.asked == [A] * 5


def test_a_seed_that_fails_otherwise_between_starts_the_patience_anew() -> None:
    clock = Clock()
    answers = iter(
        [hang_up(clock)] * 4 + [lambda: AutoReconnect("a:1: refused")] + [hang_up(clock)] * 9
    )
    deployment = FakeDeployment(a=lambda: next(answers)())
    topology = deployment.topology(A, timeout=30.0, clock=clock, tls_patience_s=5.0)
    with pytest.raises(TLSError):
        topology.select()
    assert len(deployment.asked) == 4 + 1 + 5


def test_a_seed_that_may_answer_yet_keeps_the_selection_going() -> None:
    clock = Clock()
    deployment = FakeDeployment(a=hang_up(clock))
    text = explained(deployment.topology(A, B, timeout=12.0, clock=clock, tls_patience_s=2.0))
    assert "hung up" in text
    assert "refused" in text
