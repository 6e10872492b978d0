"""Which event loop a client belongs to: the first, until it is over; never two at once."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mongokey.errors import InvalidOperation
from mongokey.execution.aio import LoopBinding


class Client:
    """What has a binding, and counts how often it was to drop what it had."""

    def __init__(self, on_new_loop: Callable[[], object] | None = None) -> None:
        self.dropped = 0
        self.on_new_loop = on_new_loop
        self.binding = LoopBinding(self.drop)

    def drop(self) -> None:
        self.dropped += 1
        if self.on_new_loop is not None:
            self.on_new_loop()

    async def use(self) -> None:
        running = asyncio.get_running_loop()
        if running is not self.binding.loop:
            self.binding.enter(running)
        assert self.binding.loop is running


def test_it_is_bound_by_the_first_use_and_says_where_that_was() -> None:
    client = Client()
    assert client.binding.loop is None
    assert client.binding.entered_at is None

    async def first_use() -> None:
        client.binding.enter(asyncio.get_running_loop())

    asyncio.run(first_use())
    place = client.binding.entered_at
    assert place is not None
    assert place.startswith(__file__), place
    assert place.endswith("in first_use")
    assert client.dropped == 0


def test_the_same_loop_is_entered_as_often_as_it_likes() -> None:
    client = Client()
    loop = asyncio.new_event_loop()
    for _ in range(3):
        loop.run_until_complete(client.use())
    loop.close()
    assert client.dropped == 0


def test_after_a_loop_that_is_closed_or_does_not_run_the_next_one_gets_it() -> None:
    client = Client()
    for count in range(3):
        asyncio.run(client.use())
        assert client.dropped == count
    stopped = asyncio.new_event_loop()
    stopped.run_until_complete(client.use())
    asyncio.run(client.use())
    assert client.dropped == 4
    stopped.run_until_complete(client.use())
    assert client.dropped == 5
    stopped.close()


def test_a_second_loop_that_runs_at_the_same_time_is_refused() -> None:
    client = Client()
    entered, leave = threading.Event(), threading.Event()

    async def stay_for_a_while() -> None:
        await client.use()
        entered.set()
        await asyncio.to_thread(leave.wait, 10)

    thread = threading.Thread(target=lambda: asyncio.run(stay_for_a_while()))
    thread.start()
    try:
        assert entered.wait(10)
        with pytest.raises(InvalidOperation) as caught:
            asyncio.run(client.use())
        text = str(caught.value)
        assert f"{Path(__file__).name}, line " in text
        assert "in use" in text
        assert "a client for each loop" in text
        (cause,) = caught.value.diagnoses
        assert (cause.code, cause.confidence) == ("ENV-LOOP", "certain")
        assert Path(__file__).name in cause.evidence[0]
        assert client.dropped == 0
    finally:
        leave.set()
        thread.join()
    # The other one is over.
    asyncio.run(client.use())
    assert client.dropped == 1


def test_of_two_loops_that_come_at_once_one_gets_it() -> None:
    for _ in range(30):
        client = Client()
        asyncio.run(client.use())
        barrier = threading.Barrier(4)
        refused: list[InvalidOperation] = []
        done: list[Any] = []

        async def use(
            client: Client = client,
            barrier: threading.Barrier = barrier,
            refused: list[InvalidOperation] = refused,
            done: list[Any] = done,
        ) -> None:
            barrier.wait(10)
            try:
                await client.use()
                done.append(client.binding.loop)
            except InvalidOperation as error:
                refused.append(error)
            # All loops run until the last one was told.
            barrier.wait(10)

        threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert (len(done), len(refused), client.dropped) == (1, 3, 1)


def test_dropping_that_was_interrupted_is_done_by_the_next_use() -> None:
    outcomes: list[BaseException | None] = [KeyboardInterrupt(), None]

    def drop() -> None:
        error = outcomes.pop(0)
        if error is not None:
            raise error

    client = Client(drop)
    asyncio.run(client.use())
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(client.use())
    assert client.binding.loop is None
    asyncio.run(client.use())
    assert (client.dropped, outcomes) == (2, [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_no_loop_and_takes_its_own() -> None:
    client = Client()

    async def fork() -> int:
        await client.use()
        return os.fork()

    loop = asyncio.new_event_loop()
    pid = loop.run_until_complete(fork())
    if pid == 0:
        status = 1
        try:
            # Even from within a loop that seems to be running.
            assert client.binding.loop is None
            asyncio.run(client.use())
            status = 0 if client.dropped == 0 else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert client.binding.loop is loop
    loop.close()


def test_a_binding_that_is_gone_leaves_nothing() -> None:
    client = Client()
    asyncio.run(client.use())
    gone = weakref.ref(client), weakref.ref(client.binding)
    del client
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError):
        LoopBinding(None)  # type: ignore[arg-type]
