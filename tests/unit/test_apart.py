"""What waits apart from Python's threads, alarms and pollers, served by one thread for all."""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
import time
from typing import Any

import pytest

from mongokey.transport.names import known_addresses
from mongokey.transport.polling import READ, Alarm, PolledSocket, Poller, Waiter
from mongokey.transport.stream import monotonic_ns
from tests.threads import bare_threads, in_threads
from tests.waiting import soon

PATIENCE_S = 20.0
LONG_NS = 60_000_000_000
MS = 1_000_000


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts in /proc")


class Called:
    """A function that notes when, and in which thread, it was called."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.at_ns = 0
        self.thread: int | None = None

    def __call__(self) -> None:
        self.at_ns = monotonic_ns()
        self.thread = threading.get_ident()
        self.event.set()

    def wait(self) -> bool:
        return self.event.wait(PATIENCE_S)


def test_an_alarm_calls_once_when_its_time_has_come_in_another_thread() -> None:
    called = Called()
    due = monotonic_ns() + 20 * MS
    alarm = Alarm(due, called)
    assert called.wait()
    assert called.at_ns >= due
    assert called.thread != threading.get_ident()
    assert not alarm.recall()


def test_one_that_is_due_already_is_called_at_once() -> None:
    called = Called()
    alarm = Alarm(0, called)
    assert called.wait()
    assert not alarm.recall()


def test_an_earlier_one_does_not_wait_for_a_later_one() -> None:
    late, early = Called(), Called()
    later = Alarm(monotonic_ns() + LONG_NS, late)
    Alarm(monotonic_ns() + 10 * MS, early)
    assert early.wait()
    assert not late.event.is_set()
    assert later.recall()


def test_a_recalled_one_is_not_called_and_keeps_nothing_alive() -> None:
    called = Called()
    before = sys.getrefcount(called)
    alarm = Alarm(monotonic_ns() + 50 * MS, called)
    assert alarm.recall()
    assert not alarm.recall()
    assert sys.getrefcount(called) == before
    own = sys.getrefcount(alarm)
    time.sleep(0.1)
    assert not called.event.is_set()
    assert sys.getrefcount(alarm) == own


def test_an_alarm_waits_once() -> None:
    alarm = Alarm(monotonic_ns() + LONG_NS, int)
    with pytest.raises(ValueError, match="waits already"):
        alarm.__init__(0, int)  # type: ignore[misc]
    assert alarm.recall()
    with pytest.raises(TypeError):
        Alarm(0, None)  # type: ignore[arg-type]


def test_many_from_many_threads_are_called_or_recalled_each_once() -> None:
    counts: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(60):
            calls: list[int] = []
            alarm = Alarm(
                monotonic_ns() + chance.randrange(5 * MS), lambda calls=calls: calls.append(1)
            )
            if chance.random() < 0.5:
                time.sleep(chance.random() * 0.004)
            if alarm.recall():
                with lock:
                    counts.append(1 + len(calls))
            else:
                assert soon(lambda calls=calls: calls == [1])
                with lock:
                    counts.append(len(calls))

    numbers = iter(range(8))
    in_threads(8, lambda: work(next(numbers)))
    assert counts == [1] * (8 * 60)


@needs_proc
def test_the_thread_ends_when_nobody_needs_it() -> None:
    before = bare_threads()
    alarms = [Alarm(monotonic_ns() + LONG_NS, int) for _ in range(50)]
    assert bare_threads() <= before + 1
    assert all(alarm.recall() for alarm in alarms)
    assert soon(lambda: bare_threads() <= before)


@pytest.fixture
def pair() -> Any:
    """A listening socket's accepted end, and the polled socket that is connected to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (address,) = known_addresses("127.0.0.1", listener.getsockname()[1])
        polled = PolledSocket()
        polled.connect(address)
        accepted, _ = listener.accept()
        with accepted:
            yield accepted, polled
        polled.close()


def waiter_for(polled: PolledSocket) -> Waiter:
    waiter = Waiter()
    waiter.socket, waiter.due_ns = polled, 0
    polled.wait_for(READ)
    return waiter


def test_a_poller_apart_is_called_when_its_socket_is_ready(pair: Any) -> None:
    accepted, polled = pair
    poller, called = Poller(), Called()
    waiters = [waiter_for(polled)]
    poller.wait_apart(waiters, called)
    assert not called.event.wait(0.05)
    accepted.sendall(b"x")
    assert called.wait()
    assert poller.wait(waiters) == waiters
    poller.close()


def test_a_poller_apart_can_be_woken(pair: Any) -> None:
    _, polled = pair
    poller, called = Poller(), Called()
    poller.wait_apart([waiter_for(polled)], called)
    poller.wake()
    assert called.wait()
    poller.close()


def test_one_that_was_woken_before_is_called_at_once(pair: Any) -> None:
    _, polled = pair
    poller, called = Poller(), Called()
    poller.wake()
    poller.wait_apart([waiter_for(polled)], called)
    assert called.wait()
    poller.close()


def test_a_socket_that_is_closed_after_a_recall_is_closed_for_its_peer(pair: Any) -> None:
    accepted, polled = pair
    poller, called = Poller(), Called()
    poller.wait_apart([waiter_for(polled)], called)
    time.sleep(0.02)  # it is being waited for
    assert poller.recall()
    polled.close()
    poller.close()
    accepted.settimeout(PATIENCE_S)
    assert accepted.recv(1) == b""
    assert not called.event.is_set()


def test_more_sockets_than_fit_at_first(pair: Any) -> None:
    accepted, polled = pair
    pollers = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        (address,) = known_addresses("127.0.0.1", listener.getsockname()[1])
        sockets = []
        for _ in range(40):
            one = PolledSocket()
            one.connect(address)
            sockets.append(one)
            poller, called = Poller(), Called()
            poller.wait_apart([waiter_for(one)], called)
            pollers.append((poller, called))
        last, called = Poller(), Called()
        last.wait_apart([waiter_for(polled)], called)
        accepted.sendall(b"x")
        assert called.wait()
        assert [each.event.is_set() for _, each in pollers] == [False] * 40
        assert all(poller.recall() for poller, _ in pollers)
        for one in sockets:
            one.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_none_of_them_and_can_have_its_own() -> None:
    called = Called()
    alarm = Alarm(monotonic_ns() + 200 * MS, called)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if not alarm.recall():
                alarm.abandon()
                own = Called()
                Alarm(monotonic_ns() + 10 * MS, own)
                code = 0 if own.wait() and not called.event.is_set() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert called.wait()
