"""Operations that begin in the middle of another one of the same thread: in a signal handler, in a
destructor, in a weak reference's callback. None of them waits for what its own thread holds."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.errors import AutoReconnect, InvalidOperation
from mongokey.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)
from tests.pools import drop_connections
from tests.servers.scripted import Close, Hold, Login, Reply, ScriptedServer, in_turn
from tests.threads import in_threads

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="needs signals to threads"
)

#: What waits for ever is ended after so many seconds; what is right takes a fraction of one.
FAR_S = 30


class Hung(BaseException):
    """The wait was ended by the test, not by the library."""


@pytest.fixture(autouse=True)
def _no_endless_wait() -> Iterator[None]:
    def end(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, FAR_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def held() -> Iterator[tuple[ScriptedServer, Hold]]:
    """A server that answers a `hold` command only once the `Hold`'s event is set."""
    hold = Hold(answer=Reply({"ok": 1.0, "held": True}))
    with ScriptedServer(on={"hold": hold}) as server:
        yield server, hold
        hold.event.set()


@contextmanager
def interrupted(when: Callable[[], object], action: Callable[[], object]) -> Iterator[None]:
    """Have the main thread's block run `action` in a signal handler, soon after `when` returns."""
    main = threading.main_thread().ident
    assert main is not None

    def send() -> None:
        when()
        time.sleep(0.1)  # until the main thread waits
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: action())
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def dropped(action: Callable[[], object]) -> Callable[[], object]:
    """`action` in a destructor."""

    class Dying:
        def __del__(self) -> None:
            action()

    last = [Dying()]
    return last.clear


def forgotten(action: Callable[[], object]) -> Callable[[], object]:
    """`action` in the callback of a weak reference."""

    class Dying:
        pass

    last = [Dying()]
    reference = weakref.ref(last[0], lambda _: action())

    def forget() -> None:
        last.clear()
        assert reference() is None

    return forget


def as_it_is(action: Callable[[], object]) -> Callable[[], object]:
    return action


class Told:
    """Calls `ping` and keeps what it returned or was refused with."""

    def __init__(self, client: Any, then: Callable[[], object] = lambda: None) -> None:
        self.client = client
        self.then = then
        self.outcomes: list[Any] = []

    def __call__(self) -> None:
        try:
            self.outcomes.append(self.client.admin.command("ping")["ok"])
        except InvalidOperation as error:
            self.outcomes.append(str(error))
        finally:
            self.then()


def assert_refused(outcomes: list[Any], limit: str) -> None:
    (outcome,) = outcomes
    assert isinstance(outcome, str)
    for part in ("this thread itself holds", limit, f"raise {limit.partition('=')[0]}", "__del__"):
        assert part in outcome


@pytest.mark.parametrize("way", [as_it_is, dropped, forgotten])
def test_the_only_connection_is_held_by_the_interrupted_operation(
    held: tuple[ScriptedServer, Hold], way: Callable[..., Callable[[], object]]
) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        told = Told(client, hold.event.set)
        with interrupted(lambda: server.wait_for(lambda: server.count("hold") == 1), way(told)):
            assert client.admin.command("hold")["held"]
        assert_refused(told.outcomes, "maxPoolSize=1")
        assert client._pool().in_use == 0
        assert client.admin.command("ping")["ok"] == 1
        assert server.used == 1


def test_the_refusal_does_not_wait_for_the_queue_s_timeout(
    held: tuple[ScriptedServer, Hold],
) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=1, waitQueueTimeoutMS=600_000)) as client:
        told = Told(client, hold.event.set)
        with interrupted(lambda: server.wait_for(lambda: server.count("hold") == 1), told):
            assert client.admin.command("hold")["held"]
        assert_refused(told.outcomes, "maxPoolSize=1")


def test_those_who_wait_for_the_interrupted_operation_still_get_its_connection(
    held: tuple[ScriptedServer, Hold],
) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        others = [threading.Thread(target=client.admin.command, args=("ping",)) for _ in range(3)]

        def ready() -> None:
            server.wait_for(lambda: server.count("hold") == 1)
            for other in others:
                other.start()

        told = Told(client, hold.event.set)
        with interrupted(ready, told):
            assert client.admin.command("hold")["held"]
        for other in others:
            other.join(FAR_S)
        assert_refused(told.outcomes, "maxPoolSize=1")
        assert server.count("ping") == 3


def test_a_second_connection_is_enough(held: tuple[ScriptedServer, Hold]) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=2)) as client:
        told = Told(client, hold.event.set)
        with interrupted(lambda: server.wait_for(lambda: server.count("hold") == 1), told):
            assert client.admin.command("hold")["held"]
        assert told.outcomes == [1]


def test_a_connection_of_another_thread_is_waited_for() -> None:
    mine, other_s = Hold(), Hold()
    with ScriptedServer(on={"mine": mine, "other": other_s}) as server:
        with MongoClient(server.uri(maxPoolSize=2)) as client:
            other = threading.Thread(target=client.admin.command, args=("other",))
            other.start()
            assert server.wait_for(lambda: server.count("other") == 1)
            told = Told(client, mine.event.set)

            def action() -> None:
                threading.Timer(0.2, other_s.event.set).start()
                told()

            with interrupted(lambda: server.wait_for(lambda: server.count("mine") == 1), action):
                assert client.admin.command("mine")["ok"] == 1
            other.join(FAR_S)
            assert told.outcomes == [1]
            assert client._pool().in_use == 0


@pytest.mark.parametrize("way", [as_it_is, dropped])
def test_an_operation_in_the_queue_lets_the_one_that_interrupts_it_go_first(
    held: tuple[ScriptedServer, Hold], way: Callable[..., Callable[[], object]]
) -> None:
    server, hold = held
    order: list[str] = []
    server.on["ping"] = lambda _: order.append("ping")
    server.on["outer"] = lambda _: order.append("outer") or {"ok": 1.0}
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        busy = threading.Thread(target=client.admin.command, args=("hold",))
        busy.start()
        assert server.wait_for(lambda: server.count("hold") == 1)
        told = Told(client)

        def action() -> None:
            threading.Timer(0.2, hold.event.set).start()
            told()

        with interrupted(lambda: None, way(action)):
            assert client.admin.command("outer")["ok"] == 1
        busy.join(FAR_S)
        assert told.outcomes == [1]
        assert order == ["ping", "outer"]
        assert client._pool().in_use == 0
        assert server.used == 1


def test_an_operation_that_opens_the_only_connection_is_not_waited_for() -> None:
    go = threading.Event()
    on = {"saslContinue": in_turn(None, lambda _: go.wait(FAR_S) and None, None)}
    with ScriptedServer(login=Login(), on=on) as server:
        with MongoClient(server.uri(maxConnecting=1)) as client:
            client.admin.command("ping")
            drop_connections(client)
            told = Told(client, go.set)
            with interrupted(
                lambda: server.wait_for(lambda: server.count("saslContinue") == 2), told
            ):
                assert client.admin.command("ping")["ok"] == 1
            assert_refused(told.outcomes, "maxConnecting=1")
            assert (client._pool().in_use, client._pool().connecting) == (0, 0)
            assert client.admin.command("ping")["ok"] == 1


@pytest.mark.parametrize("during", ["clear", "close"])
def test_a_pool_that_is_cleared_or_closed_meanwhile(
    held: tuple[ScriptedServer, Hold], during: str
) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        pool = client._pool()
        told = Told(client, hold.event.set)

        def action() -> None:
            getattr(pool, during)()
            pool.ready()  # which nothing makes of one that is closed
            told()

        with interrupted(lambda: server.wait_for(lambda: server.count("hold") == 1), action):
            assert client.admin.command("hold")["held"]
        assert pool.in_use == 0
        if during == "close":
            assert "after close" in told.outcomes[0]
        else:
            assert_refused(told.outcomes, "maxPoolSize=1")
            assert client.admin.command("ping")["ok"] == 1


def test_a_thread_without_signals_is_told_too(held: tuple[ScriptedServer, Hold]) -> None:
    # What encodes a document may run anything: here the last reference goes while it is written.
    server, _ = held
    server.on["outer"] = {"ok": 1.0}
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        client.admin.command("ping")
        told = Told(client)
        drop = dropped(told)

        class Dropping(UserDict[str, int]):
            def __iter__(self) -> Iterator[str]:
                drop()
                return super().__iter__()

        outcome: list[Any] = []
        thread = threading.Thread(
            target=lambda: outcome.append(client.admin.command("outer", x=Dropping(a=1))),
            daemon=True,
        )
        thread.start()
        thread.join(FAR_S / 2)
        assert not thread.is_alive()
        assert_refused(told.outcomes, "maxPoolSize=1")
        assert outcome[0]["ok"] == 1


class Nested(CommandListener):
    """Pings in the middle of each `hold`, once so many threads are that far."""

    def __init__(self, threads: int) -> None:
        self.together = threading.Barrier(threads, timeout=FAR_S)
        self.outcomes: list[Any] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "hold":
            self.together.wait()
            told = Told(self.client)
            told()
            self.outcomes += told.outcomes

    def succeeded(self, event: CommandSucceededEvent) -> None: ...
    def failed(self, event: CommandFailedEvent) -> None: ...

    client: Any


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_that_have_all_connections_do_not_wait_for_each_other(threads: int) -> None:
    """Each waits, in the middle of an operation, for a connection of the others: the last one that
    comes is refused, and the others get what it gives back."""
    nested = Nested(threads)
    with ScriptedServer(on={"hold": {"ok": 1.0}}) as server:
        uri = server.uri(maxPoolSize=threads, maxConnecting=threads)
        with MongoClient(uri, event_listeners=[nested]) as client:
            nested.client = client
            in_threads(threads, lambda: client.admin.command("hold"), FAR_S)
        assert len(nested.outcomes) == threads
        refused = [each for each in nested.outcomes if each != 1.0]
        assert_refused(refused, f"maxPoolSize={threads}")


def test_who_has_interrupted_the_topology_s_change_does_not_wait_for_a_connection() -> None:
    """Who has it notes first that it broke, and for that the change must be over."""
    with ScriptedServer(on={"hold": Hold(answer=Close())}) as server:
        hold = server.on["hold"]
        assert isinstance(hold, Hold)
        with MongoClient(server.uri(maxPoolSize=1)) as client:
            errors: list[BaseException] = []

            def operate() -> None:
                try:
                    client.admin.command("hold")
                except AutoReconnect as error:
                    errors.append(error)

            holding = threading.Thread(target=operate)
            holding.start()
            assert server.wait_for(lambda: server.count("hold") == 1)
            with client._topology._lock:
                hold.event.set()
                with pytest.raises(InvalidOperation, match="interrupted its own thread"):
                    client.admin.command("ping")
            holding.join(FAR_S)
            assert len(errors) == 1
            # Nobody is left in the queue.
            assert client.admin.command("ping")["ok"] == 1.0
