"""One thread makes a value, the others wait: what a failure, an interruption and a fork mean."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mongokey._support.single_flight import SingleFlight
from mongokey._support.system import monotonic_ns
from mongokey._support.waiting import Cancelled
from tests.deadlines import within

WAIT = 60
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
QUIET_FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


class Thread(threading.Thread):
    """A thread that keeps what its function returned or raised."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        super().__init__(daemon=True)
        self.call = lambda: function(*arguments, **options)
        self.value: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self.call()
        except BaseException as error:
            self.error = error

    def end(self) -> Thread:
        self.join(WAIT)
        assert not self.is_alive()
        return self


class Slow:
    """Makes a value, or raises, once it is told to."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> Any:
        self.began.set()
        assert self.go_on.wait(WAIT)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def fails() -> Any:
    raise AssertionError("this thread was not to make the value")


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def begin(flights: SingleFlight, slow: Slow) -> Thread:
    first = Thread(flights.run, "key", slow)
    assert slow.began.wait(WAIT)
    return first


def follow(flights: SingleFlight, make: Callable[[], Any], count: int = 1) -> list[Thread]:
    """Threads that wait, in this order."""
    threads = []
    for _ in range(count):
        before = flights.waiting("key")
        threads.append(Thread(flights.run, "key", make))
        wait_until(lambda before=before: flights.waiting("key") > before)  # type: ignore[misc]
    return threads


@pytest.mark.parametrize("shares", [False, True])
def test_all_get_what_one_thread_makes(shares: bool) -> None:
    flights, slow = SingleFlight(shares_errors=shares), Slow(value := object())
    first = begin(flights, slow)
    others = follow(flights, fails, 20)
    slow.go_on.set()
    assert all(thread.end().value is value for thread in [first, *others])
    assert not flights._flights
    assert flights.run("key", lambda: "again") == "again"  # nothing is kept


def test_keys_do_not_wait_for_each_other() -> None:
    flights, slow = SingleFlight(), Slow("one")
    first = begin(flights, slow)
    assert flights.run("another", lambda: "two") == "two"
    slow.go_on.set()
    assert first.end().value == "one"


@pytest.mark.parametrize("value", [None, 0, "", ValueError("not raised, but made")])
def test_any_value_is_one(value: Any) -> None:
    flights = SingleFlight()
    flight, own = flights.join("key")
    assert own
    waiting = Thread(flights.run, "key", fails)
    wait_until(lambda: flights.waiting("key") == 1)
    flight.finish(value)
    assert waiting.end().value is value


# What a failure means


def test_where_errors_are_not_shared_the_next_one_tries_in_the_order_of_coming() -> None:
    flights, slow = SingleFlight(), Slow(ValueError("first"))
    first = begin(flights, slow)
    order: list[int] = []

    def make(number: int) -> Callable[[], str]:
        def call() -> str:
            order.append(number)
            if number < 2:
                raise ValueError(str(number))
            return "value"

        return call

    threads = [follow(flights, make(number))[0] for number in range(5)]
    slow.go_on.set()
    assert str(first.end().error) == "first"
    assert [str(thread.end().error) for thread in threads[:2]] == ["0", "1"]
    assert [thread.end().value for thread in threads[2:]] == ["value"] * 3
    assert order == [0, 1, 2]


def test_where_errors_are_shared_each_raises_one_of_its_own() -> None:
    error = ValueError("no")
    error.__cause__ = cause = KeyError("why")
    flights, slow = SingleFlight(shares_errors=True), Slow(error)
    first = begin(flights, slow)
    others = follow(flights, fails, 5)
    slow.go_on.set()
    errors = [thread.end().error for thread in [first, *others]]
    assert [str(each) for each in errors] == ["no"] * 6
    assert len({id(each) for each in errors}) == 6
    assert all(each is not None and each.__cause__ is cause for each in errors)
    assert flights.run("key", lambda: "anew") == "anew"


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_thread_is_nobody_else_s(end: type[BaseException], shares: bool) -> None:
    flights, slow = SingleFlight(shares_errors=shares), Slow(end())
    first = begin(flights, slow)
    others = follow(flights, lambda: "the next one's", 2)
    slow.go_on.set()
    assert type(first.end().error) is end
    assert [thread.end().value for thread in others] == ["the next one's"] * 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_that_nobody_waits_for_leaves_nothing(error: type[BaseException]) -> None:
    flights = SingleFlight(shares_errors=True)

    def make() -> Any:
        raise error

    with pytest.raises(error):
        flights.run("key", make)
    assert not flights._flights


# Deadlines, cancellation, giving up


def test_a_waiter_gives_up_at_its_own_deadline() -> None:
    flights, slow = SingleFlight(), Slow("value")
    first = begin(flights, slow)
    began = monotonic_ns()
    with pytest.raises(TimeoutError, match=r"still at it \(connectTimeoutMS=50\)"):
        flights.run("key", fails, within(50, "connectTimeoutMS"))
    assert monotonic_ns() - began >= 50_000_000
    with pytest.raises(TimeoutError):
        flights.run("key", fails, within(0))
    assert flights.waiting("key") == 0
    slow.go_on.set()
    assert first.end().value == "value"


def test_a_waiter_ends_soon_after_it_is_cancelled() -> None:
    flights, slow, closed = SingleFlight(), Slow("value"), threading.Event()
    first = begin(flights, slow)
    waiter = Thread(flights.run, "key", fails, None, closed.is_set)
    wait_until(lambda: flights.waiting("key") == 1)
    closed.set()
    assert isinstance(waiter.end().error, Cancelled)
    assert flights.waiting("key") == 0
    slow.go_on.set()
    first.end()


def test_one_who_gave_up_is_passed_over() -> None:
    flights, slow = SingleFlight(), Slow(ValueError())
    first = begin(flights, slow)
    hasty = Thread(flights.run, "key", fails, within(20))
    wait_until(lambda: flights.waiting("key") == 1)
    [steady] = follow(flights, lambda: "value")
    assert isinstance(hasty.end().error, TimeoutError)
    slow.go_on.set()
    first.end()
    assert steady.end().value == "value"


@pytest.mark.parametrize("shares", [False, True])
def test_many_threads_with_random_deadlines_and_failures_all_end(shares: bool) -> None:
    flights = SingleFlight(shares_errors=shares)
    rng = random.Random(7)
    plan = [(rng.random() * 0.02, rng.random() < 0.9) for _ in range(200)]

    def one(within_s: float, bad: bool) -> Any:
        def make() -> str:
            time.sleep(0.001)
            if bad:
                raise ValueError
            return "value"

        try:
            return flights.run("key", make, within(within_s * 1e3))
        except (ValueError, TimeoutError):
            return "failed"

    threads = [Thread(one, *arguments) for arguments in plan]
    assert {thread.end().value for thread in threads} <= {"value", "failed"}
    assert not flights._flights
    assert flights.run("key", lambda: "value") == "value"


def test_who_comes_after_an_abandoned_flight_does_not_wait_for_it() -> None:
    flights, slow, owner = SingleFlight(), Slow("late"), object()
    first = Thread(flights.run, "key", slow, owner=owner)
    assert slow.began.wait(WAIT)
    [waiter] = follow(flights, fails)
    flights.abandon("key", object())  # somebody else's
    assert flights.waiting("key") == 1
    flights.abandon("key", owner)
    assert flights.run("key", lambda: "anew") == "anew"
    slow.go_on.set()
    assert first.end().value == waiter.end().value == "late"


def test_a_flight_that_was_inherited_is_abandoned_by_its_heir_s_owner() -> None:
    flights, slow, second = SingleFlight(), Slow(ValueError()), Slow("late")
    first = Thread(flights.run, "key", slow, owner="first")
    assert slow.began.wait(WAIT)
    heir = Thread(flights.run, "key", second, owner="heir")
    wait_until(lambda: flights.waiting("key") == 1)
    slow.go_on.set()
    first.end()
    assert second.began.wait(WAIT)
    flights.abandon("key", "first")
    assert "key" in flights._flights
    flights.abandon("key", "heir")
    assert "key" not in flights._flights
    second.go_on.set()
    assert heir.end().value == "late"


# A flight by hand


def test_another_thread_may_make_the_value_while_who_began_it_waits() -> None:
    flights = SingleFlight()
    flight, own = flights.join("key")
    assert own
    assert flight.own
    flight.hand_over()
    assert not flight.own
    threading.Timer(0.02, flight.finish, ("value",)).start()
    assert flight.wait() is False
    assert flight.result() == "value"
    assert flight.ended


def test_a_flight_ends_once() -> None:
    flights = SingleFlight(shares_errors=True)
    flight, _ = flights.join("key")
    with pytest.raises(RuntimeError, match="not made yet"):
        flight.result()
    flight.finish("value")
    flight.fail(ValueError("too late"))
    flight.finish("other")
    flight.give_up()
    assert flight.result() == "value"
    assert flight.wait() is False
    other, own = flights.join("key")
    assert own
    flight.finish("once more")
    assert flights.join("key") == (other, False)


def test_who_inherits_by_hand_is_told() -> None:
    flights = SingleFlight()
    flight, _ = flights.join("key")
    waiter = Thread(flight.wait)
    wait_until(lambda: flights.waiting("key") == 1)
    flight.give_up()
    assert waiter.end().value is True
    assert not flight.ended
    assert "under way" in repr(flights)
    assert "ended=False" in repr(flight)


@pytest.mark.parametrize("key", [[], {}])
def test_a_key_that_cannot_be_one_is_refused(key: Any) -> None:
    with pytest.raises(TypeError):
        SingleFlight().run(key, fails)


# Signal handlers


@pytest.mark.skipif(sys.platform == "win32", reason="no setitimer")
def test_a_handler_that_needs_the_value_its_own_thread_makes_does_not_wait() -> None:
    flights = SingleFlight()
    seen: list[Any] = []

    def handler(*_: object) -> None:
        seen.append(flights.run("key", lambda: "handler's", within(10_000)))

    def make() -> str:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        wait_until(lambda: bool(seen))
        return "value"

    before = signal.signal(signal.SIGALRM, handler)
    try:
        assert flights.run("key", make) == "value"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen == ["handler's"]
    assert not flights._flights


@pytest.mark.skipif(sys.platform == "win32", reason="no setitimer")
def test_a_handler_that_raises_ends_the_wait_and_no_other() -> None:
    class Enough(Exception):
        pass

    def handler(*_: object) -> None:
        raise Enough

    flights, slow = SingleFlight(), Slow("value")
    first = begin(flights, slow)
    [other] = follow(flights, fails)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Enough):
            flights.run("key", fails)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert flights.waiting("key") == 1
    slow.go_on.set()
    assert first.end().value == other.end().value == "value"


# Forks


def succeeds_in_a_child(call: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        code = 2
        try:
            signal.alarm(20)
            code = 0 if call() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@FORKS
@QUIET_FORKS
def test_a_forked_child_does_not_wait_for_its_parent_s_threads() -> None:
    flights, slow = SingleFlight(), Slow("parent's")
    first = begin(flights, slow)
    others = follow(flights, fails, 3)
    assert succeeds_in_a_child(lambda: flights.run("key", lambda: "child's") == "child's")
    slow.go_on.set()
    assert {thread.end().value for thread in [first, *others]} == {"parent's"}


@FORKS
@QUIET_FORKS
def test_a_thread_that_forks_while_it_waits_makes_the_value_in_the_child() -> None:
    """A signal handler may fork; in the child nobody else is there to end the wait."""
    flights, slow = SingleFlight(), Slow("parent's")
    first = begin(flights, slow)
    children: list[int] = []

    def fork() -> bool:
        if not children:
            children.append(os.fork())
            if children[0] == 0:
                signal.alarm(20)
            slow.go_on.set()
        return False

    made: list[str] = []
    other = follow(flights, fails)
    try:
        value = flights.run("key", lambda: made.append("child") or "child's", None, fork)  # type: ignore[func-returns-value]
    finally:
        if children == [0]:
            os._exit(0 if made == ["child"] and value == "child's" else 1)
    assert value == first.end().value == other[0].end().value == "parent's"
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


@FORKS
@QUIET_FORKS
def test_a_thread_that_forks_while_it_makes_the_value_goes_on_in_both() -> None:
    flights = SingleFlight()
    children: list[int] = []

    def make() -> str:
        children.append(os.fork())
        return "child's" if children == [0] else "parent's"

    value = flights.run("key", make)
    if children == [0]:
        again = flights.run("key", lambda: "again")
        os._exit(0 if (value, again, flights._flights) == ("child's", "again", {}) else 1)
    assert value == "parent's"
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
