"""Cancelling a task at every point where it can be, and loops that tell what went wrong in them.

It knows asyncio's tasks and futures. Must not know what the task does.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

#: When the task is cancelled: while it waits, or when what it waits for is there already but the
#: task has not gone on yet.
MOMENTS = ("while it waits", "when it is woken")
#: How long a whole test may take in its loop.
PATIENCE_S = 100.0


class CancelledAt:
    """Awaits what `work` gives, and cancels the running task where that waits for the n-th time.

    `reached` tells whether it came to that.
    """

    def __init__(self, work: Awaitable[Any], at: int, moment: str) -> None:
        self.work = work
        self.at = at
        self.moment = moment
        self.waits = 0
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self.work.__await__()
        go_on: Callable[[Any], Any] = lambda value: next(inner)  # noqa: E731
        value: Any = None
        while True:
            try:
                awaited = go_on(value)
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self.at:
                self.reached = True
                self._cancel(awaited)
            try:
                yield awaited
            except BaseException as error:  # goes to what waits, as if nobody stood between
                go_on, value = inner.throw, error
            else:
                go_on, value = (lambda value: next(inner)), None

    def _cancel(self, awaited: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self.moment == "when it is woken" and isinstance(awaited, asyncio.Future):
            # Called before the task's own callback, which is added after this.
            awaited.add_done_callback(lambda _: task.cancel())
        else:
            # It waits for `awaited` as soon as that has been handed to it, and not before.
            task.get_loop().call_soon(task.cancel)


async def cancelled_at(
    make: Callable[[], Awaitable[Any]], at: int, moment: str = MOMENTS[0]
) -> bool:
    """Whether the n-th wait of `make()` was reached, and its task cancelled there.

    A task that was cancelled ends as cancelled, or with its result if it had that already.
    """
    interrupted = CancelledAt(make(), at, moment)

    async def run() -> Any:
        return await interrupted

    task = asyncio.ensure_future(run())
    await asyncio.wait([task], timeout=PATIENCE_S / 4)
    assert task.done(), f"it was cancelled at wait {at}, and does not end: {task!r}"
    if not interrupted.reached:
        await task  # raises what went wrong
    elif not task.cancelled() and task.exception() is not None:
        raise AssertionError(f"cancelled at wait {at}: {task.exception()!r}") from task.exception()
    return interrupted.reached


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What `main()` comes to in a loop of its own, which has nothing to complain of afterwards."""
    complaints: list[str] = []

    async def watched() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
        result = await asyncio.wait_for(main(), PATIENCE_S)
        for _ in range(200):
            left = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
            if not left:
                break
            await asyncio.sleep(0.01)
        complaints.extend(f"a task is left: {task!r}" for task in left)
        # Futures with an error that nobody asked for complain when they are gone.
        gc.collect()
        await asyncio.sleep(0)
        return result

    result = asyncio.run(watched())
    assert not complaints, "\n".join(complaints)
    return result
