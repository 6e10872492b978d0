"""Jobs beside the program on an event loop: one after the other, and no word of those whose loop
ends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from mongokey._support.jobs import Blocking, run_job, run_steps
from mongokey._support.loop_jobs import LoopJobs, await_steps
from tests.loops import eager_tasks

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
if sys.platform != "win32":
    import uvloop

    LOOPS.append(uvloop.new_event_loop)


@pytest.fixture(params=LOOPS, ids=lambda make: make.__module__.partition(".")[0])
def loop(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """An event loop in debug mode; nothing may be said on stderr in the end."""
    made = request.param()
    made.set_debug(True)
    yield made
    made.close()
    del made
    gc.collect()
    assert capfd.readouterr().err == ""


class Jobs:
    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.errors: list[str] = []
        self.done: list[Any] = []
        self.jobs = LoopJobs(lambda: self.loop, self.report)

    def report(self) -> None:
        self.errors.append(traceback.format_exc())

    def run(self, job: Callable[[], object]) -> bool:
        return self.jobs.run(job)


def a_few_turns(count: int = 10) -> Any:
    async def turn() -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    return turn()


def one_turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_jobs_are_done_one_after_the_other_in_the_order_given(loop: Any) -> None:
    jobs = Jobs(loop)

    def slow(number: int) -> Generator[Any, Any, None]:
        jobs.done.append(f"{number} begins")
        answer = yield asyncio.sleep(0.01, "slept")
        jobs.done.append(f"{number} {answer}")

    for number in range(3):
        assert jobs.run(lambda number=number: slow(number))  # type: ignore[misc]
    assert jobs.run(lambda: jobs.done.append("plain"))
    loop.run_until_complete(asyncio.sleep(0.2))
    assert jobs.done == [
        *(f"{number} {what}" for number in range(3) for what in ("begins", "slept")),
        "plain",
    ]
    assert not jobs.errors


def test_steps_are_values_awaitables_and_calls_that_block_for_both_faces(loop: Any) -> None:
    def steps(awaited: bool) -> Generator[Any, Any, list[object]]:
        found: list[object] = [(yield 1), (yield None)]
        found.append((yield asyncio.sleep(0, "awaited") if awaited else "awaited"))
        thread = yield Blocking(threading.current_thread)
        found.append(thread is not threading.current_thread())
        try:
            yield Blocking(lambda: 1 // 0)
        except ZeroDivisionError as error:
            found.append(type(error))
        return found

    expected = [1, None, "awaited", True, ZeroDivisionError]
    assert loop.run_until_complete(await_steps(steps(True))) == expected
    expected[3] = False
    assert run_steps(steps(False)) == expected
    kept: list[int] = []
    run_job(lambda: kept.append(1))
    assert kept == [1]


def test_a_job_that_fails_is_reported_and_the_next_is_done(loop: Any) -> None:
    jobs = Jobs(loop)

    def fails() -> Generator[Any, Any, None]:
        yield asyncio.sleep(0)
        raise ValueError("of no use")

    jobs.run(fails)
    jobs.run(lambda: 1 // 0)
    jobs.run(lambda: jobs.done.append(1))
    loop.run_until_complete(a_few_turns())
    assert jobs.done == [1]
    assert ["of no use" in jobs.errors[0], "ZeroDivisionError" in jobs.errors[1]] == [True, True]


def test_jobs_come_from_any_thread_and_from_destructors(loop: Any) -> None:
    jobs = Jobs(loop)

    class Last:
        def __del__(self) -> None:
            jobs.run(lambda: jobs.done.append("last"))

    def give() -> None:
        for _ in range(100):
            jobs.run(lambda: jobs.done.append("thread"))
        Last()

    async def wait() -> None:
        threads = [threading.Thread(target=give) for _ in range(4)]
        for each in threads:
            each.start()
        while len(jobs.done) < 404:
            await asyncio.sleep(0.01)
        for each in threads:
            each.join()

    loop.run_until_complete(asyncio.wait_for(wait(), 20))
    assert jobs.done.count("last") == 4


def test_without_a_loop_they_are_done_by_the_next(loop: Any) -> None:
    jobs = Jobs(None)
    assert not jobs.run(lambda: jobs.done.append(1))
    closed = asyncio.new_event_loop()
    closed.close()
    jobs.loop = closed
    assert not jobs.run(lambda: jobs.done.append(2))
    jobs.loop = loop
    jobs.jobs.reset_for_new_loop()
    loop.run_until_complete(a_few_turns())
    assert jobs.done == [1, 2]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("how", ["cancelled", "closed", "stopped and run again"])
def test_a_loop_that_ends_in_the_middle_says_nothing_and_the_next_goes_on(
    loop: Any, begun: bool, how: str
) -> None:
    jobs = Jobs(loop)
    ended: list[str] = []

    def long() -> Generator[Any, Any, None]:
        try:
            jobs.done.append("begun")
            yield asyncio.sleep(0.3)
            jobs.done.append("through")
        finally:
            ended.append("finally")

    jobs.run(long)
    jobs.run(lambda: jobs.done.append("next"))
    if begun:
        loop.run_until_complete(a_few_turns())
    else:
        # The task is made in this turn, and its first step is for the next; uvloop does both.
        one_turn(loop)
        begun = jobs.done != []
        assert not (begun and type(loop).__module__.startswith("asyncio"))
    if how == "cancelled":
        tasks = asyncio.all_tasks(loop)
        assert len(tasks) == 1
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks))
        assert ended == (["finally"] if begun else [])
    if how != "stopped and run again":
        loop.close()
    other = asyncio.new_event_loop()
    try:
        jobs.loop = other
        jobs.jobs.reset_for_new_loop()
        assert ended == (["finally"] if begun else [])
        other.run_until_complete(asyncio.sleep(0.5))
    finally:
        other.close()
    assert jobs.done == (["begun", "next"] if begun else ["begun", "through", "next"])
    if how == "stopped and run again":
        loop.run_until_complete(asyncio.sleep(0.5))
        assert jobs.done.count("next") == 1
    assert not jobs.errors


def test_a_loop_whose_task_was_made_and_never_begun_says_nothing(loop: Any) -> None:
    jobs = Jobs(loop)
    jobs.run(lambda: jobs.done.append(1))
    one_turn(loop)
    assert jobs.done or "Unmissed" in repr(asyncio.all_tasks(loop))
    loop.close()


def test_the_context_of_who_asks_is_not_theirs(loop: Any) -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    jobs = Jobs(loop)

    async def ask() -> None:
        request.set("the first")
        jobs.run(lambda: jobs.done.append(request.get()))
        await asyncio.sleep(0.01)

    loop.run_until_complete(ask())
    assert jobs.done == ["none"]


def test_jobs_keep_their_owner_no_longer_than_they_last(loop: Any) -> None:
    jobs = Jobs(loop)

    class Owner:
        def job(self) -> Generator[Any, Any, None]:
            yield asyncio.sleep(0.05)

    owner = Owner()
    gone = weakref.ref(owner)
    jobs.run(owner.job)
    del owner
    loop.run_until_complete(asyncio.sleep(0.2))
    assert gone() is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")
def test_a_factory_of_eager_tasks_is_no_trouble(loop: Any) -> None:
    loop.set_task_factory(eager_tasks)
    jobs = Jobs(loop)
    jobs.run(lambda: jobs.done.append(1))
    jobs.run(lambda: jobs.done.append(2))
    loop.run_until_complete(a_few_turns())
    assert jobs.done == [1, 2]
