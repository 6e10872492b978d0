"""How a thread has a coroutine of the application's awaited: in a loop of its own, or in the one
that the application runs.

Knows loops and threads. Must not know what is awaited.
"""

from __future__ import annotations

from mongokey._support.lazy import late_imports

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Awaitable, Callable
    from typing import Any

    #: From an awaitable, and the seconds it may take (None: any), to what it comes to; it waits.
    AwaitResult = Callable[[Awaitable[Any], float | None], Any]

# So often a thread that waits for a loop looks whether it is still there.
_LOOK_EVERY_S = 0.25


def in_private_loop(awaitable: Awaitable[Any], timeout_s: float | None) -> Any:
    """What `awaitable` comes to, in a loop that ends with it. `TimeoutError` after `timeout_s`."""
    # Late: only who has a coroutine needs it.
    with late_imports:
        import asyncio

    return asyncio.run(_bounded(awaitable, timeout_s))


async def _bounded(awaitable: Awaitable[Any], timeout_s: float | None) -> Any:
    with late_imports:
        import asyncio

    if timeout_s is None:
        return await awaitable
    try:
        return await asyncio.wait_for(awaitable, timeout_s)
    except asyncio.TimeoutError:  # not the built-in one in Python 3.10
        raise TimeoutError("cancelled") from None


class InLoop:
    """Has awaitables awaited in `loop`, each as a task in the context of the thread that waits;
    called in other threads than the loop's. `RuntimeError` where the loop ends meanwhile."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, awaitable: Awaitable[Any], timeout_s: float | None) -> Any:
        with late_imports:
            from contextvars import copy_context
            from threading import Event

        loop = self._loop
        context = copy_context()
        done = Event()
        results: list[Any] = []
        errors: list[BaseException] = []
        tasks: list[Task[None]] = []

        async def wait() -> None:
            try:
                results.append(await _bounded(awaitable, timeout_s))
            except Exception as error:
                errors.append(error)
            except (SystemExit, KeyboardInterrupt) as error:
                # The application's loop is not what they are to end: whoever waits decides.
                errors.append(error)

        def begin() -> None:
            # The loop has weak references only.
            tasks.append(context.run(loop.create_task, wait()))
            tasks[0].add_done_callback(lambda task: done.set())

        try:
            loop.call_soon_threadsafe(begin)
            while not done.wait(_LOOK_EVERY_S):
                if loop.is_closed():
                    break
        except RuntimeError:
            results.clear()  # it was closed before it could begin
        if not tasks and hasattr(awaitable, "close"):
            awaitable.close()  # nobody awaits it any more
        if errors:
            raise errors[0]
        if not results:
            raise RuntimeError("the event loop ended in the middle of it")
        return results[0]


__all__ = ["InLoop", "in_private_loop"]
