"""The watchdog of the tests of logins finds what computes in a loop, and what makes it wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faces.loop_thread import LoopThread
from tests.faces.watchdog import watched


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread([])
    yield loop
    loop.close()


def compute() -> None:
    ends = time.thread_time() + 0.04
    while time.thread_time() < ends:
        pass


def test_what_computes_for_long(loop: LoopThread) -> None:
    with watched("tests-loop") as found:
        loop.call(compute)
    (one,) = found
    assert one.startswith("busy for ")


def test_what_waits_for_a_lock_or_sleeps(loop: LoopThread) -> None:
    lock = threading.Lock()
    lock.acquire()
    with watched("tests-loop") as found:
        threading.Timer(0.8, lock.release).start()
        loop.call(lock.acquire)
        loop.call(lambda: time.sleep(0.8))
    first, second = found
    assert "held up" in first
    assert "held up" in second
    assert "time.sleep(0.8)" in second


def test_what_is_awaited_holds_nobody_up(loop: LoopThread) -> None:
    with watched("tests-loop") as found:
        loop.call(lambda: asyncio.sleep(0.5))
    assert found == []


def test_other_threads_are_none_of_its_business(loop: LoopThread) -> None:
    async def work() -> None:
        compute()

    with watched("tests-loop") as found:
        asyncio.run(work())
    assert found == []
