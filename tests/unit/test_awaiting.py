"""Coroutines of the application's that a thread needs the result of: in a private loop, or in the
application's own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mongokey._support.awaiting import InLoop, in_private_loop
from mongokey._support.tasks import in_thread

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


async def where() -> tuple[Any, int, str]:
    await asyncio.sleep(0)
    return asyncio.get_running_loop(), threading.get_ident(), MARK.get()


def asked(in_loop: InLoop, make: Callable[[], Any], timeout_s: float | None = None) -> Any:
    """What a thread gets that asks `in_loop`, awaited."""
    return in_thread(lambda: in_loop(make(), timeout_s), "asks")


def test_a_private_loop_ends_with_what_it_is_for() -> None:
    loop, thread, _ = in_private_loop(where(), None)
    assert loop.is_closed()
    assert thread == threading.get_ident()


def test_a_private_loop_bounds_it() -> None:
    with pytest.raises(TimeoutError, match="cancelled"):
        in_private_loop(asyncio.sleep(30), 0.05)


def test_the_application_s_loop_awaits_it_in_the_context_of_who_asks() -> None:
    async def main() -> None:
        running = asyncio.get_running_loop()

        def ask() -> Any:
            MARK.set("the thread's")
            return InLoop(running)(where(), None)

        found = await in_thread(ask, "asks")
        assert found == (running, threading.get_ident(), "the thread's")

    asyncio.run(main())


def test_what_it_raises_is_raised_to_who_asks() -> None:
    async def wrong(error: BaseException) -> None:
        raise error

    async def main() -> None:
        in_loop = InLoop(asyncio.get_running_loop())
        for error in (ValueError("no"), SystemExit(3), KeyboardInterrupt()):
            outcome: list[Any] = []

            def ask(error: BaseException = error, outcome: list[Any] = outcome) -> None:
                try:
                    in_loop(wrong(error), None)
                except BaseException as raised:
                    outcome.append(raised)

            await in_thread(ask, "asks")
            assert outcome == [error]
        with pytest.raises(TimeoutError):
            await asked(in_loop, lambda: asyncio.sleep(30), 0.05)

    asyncio.run(main())


def test_any_awaitable_will_do() -> None:
    class Late:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return 5

    async def main() -> None:
        assert await asked(InLoop(asyncio.get_running_loop()), Late) == 5

    asyncio.run(main())


def test_a_loop_that_ends_meanwhile_is_an_error_and_nothing_hangs() -> None:
    outcome: list[Any] = []

    def ask(in_loop: InLoop) -> None:
        try:
            in_loop(asyncio.sleep(30), None)
        except BaseException as error:
            outcome.append(error)

    async def main() -> threading.Thread:
        thread = threading.Thread(target=ask, args=(InLoop(asyncio.get_running_loop()),))
        thread.start()
        await asyncio.sleep(0.05)
        return thread

    asyncio.run(main()).join(10)
    assert [type(each) for each in outcome] == [RuntimeError]


def test_a_loop_that_is_closed_already_is_an_error() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="event loop"):
        InLoop(loop)(asyncio.sleep(30), None)
