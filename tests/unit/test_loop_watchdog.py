"""The watchdog of the tests of logins finds what computes in a loop, and what makes it wait."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.faces import plugin
from tests.faces.loop_thread import LoopThread
from tests.faces.watchdog import watched


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread([])
    yield loop
    loop.close()


def compute() -> None:
    ends = time.thread_time() + 0.006
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


def test_a_module_of_ours_that_is_imported_there(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mongokey.pool.backpressure"
    __import__(name)
    monkeypatch.delitem(sys.modules, name)
    with watched("tests-loop") as found:
        __import__(name)  # in another thread than the loop's: as it should be
        monkeypatch.delitem(sys.modules, name)
        loop.call(lambda: __import__(name))
    (one,) = [each for each in found if not each.startswith("busy for ")]
    assert one.startswith(f"imported in the loop: {name}, by ")


@pytest.mark.parametrize(
    ("runs", "counted"),
    [
        ([["busy for 6 ms"], []], 2),
        ([["busy for 6 ms"]] * plugin.TRIES, plugin.TRIES),
        ([["busy for 6 ms", "imported in the loop: x"]], 1),
        ([["held up for 0.3 s"]], 1),
        ([[]], 1),
    ],
)
def test_a_run_that_was_busy_is_followed_by_others_and_the_best_one_counts(
    monkeypatch: pytest.MonkeyPatch, runs: list[list[str]], counted: int
) -> None:
    left = [*runs, *[["one too many"]] * plugin.TRIES]
    reported: list[Any] = []

    def run(item: Any, **_: Any) -> list[Any]:
        item.stash[plugin.FOUND] = found = left.pop(0)
        return [SimpleNamespace(when="teardown", failed=bool(found), found=found)]

    monkeypatch.setattr(plugin, "runtestprotocol", run)
    hooks = SimpleNamespace(
        pytest_runtest_logstart=lambda **_: None,
        pytest_runtest_logfinish=lambda **_: None,
        pytest_runtest_logreport=lambda report: reported.append(report),
    )
    item: Any = SimpleNamespace(
        module=ModuleType("tests.live.test_login"),
        callspec=SimpleNamespace(params={"face": plugin.ASYNCIO}),
        stash=pytest.Stash(),
        ihook=hooks,
        nodeid="",
        location=("", 0, ""),
    )
    assert plugin.pytest_runtest_protocol(item, None)
    assert len(left) == plugin.TRIES + len(runs) - counted
    # One report, of the last run.
    assert [report.found for report in reported] == [runs[counted - 1]]
    item.callspec.params["face"] = plugin.BLOCKING
    assert plugin.pytest_runtest_protocol(item, None) is None


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
