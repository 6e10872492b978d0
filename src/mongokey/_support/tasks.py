"""What tasks of an asyncio loop wait with: futures woken from any thread, and calls in threads.

Knows loops, futures and threads. Must not know what is waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable
    from typing import Any, TypeVar

    _Result = TypeVar("_Result")

# So often a sleep looks whether it is still wanted.
_LOOK_EVERY_S = 0.1


running_loop = asyncio.get_running_loop


def wake(loop: AbstractEventLoop, future: Future[None]) -> None:
    """Have whoever awaits `future`, a future of `loop`, go on. From any thread, and from
    destructors; nothing where it is done, or its loop is closed."""
    if asyncio._get_running_loop() is loop:
        _finish(future)
        return
    try:
        loop.call_soon_threadsafe(_finish, future)
    except RuntimeError:
        return  # the loop is closed: nobody awaits it any more


def _finish(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class NoThread(RuntimeError):
    """No thread can be started: the system has none left, or Python is ending."""


async def in_thread(
    function: Callable[[], _Result], name: str, future: Future[Any] | None = None
) -> _Result:
    """What `function`, which may wait, returns or raises: called in a thread of its own, `name`d.

    Not in the loop's own few threads, all of which may be waiting for what this one does. Who is
    cancelled does not wait for its end, nor does who waits when somebody else ends `future`.
    Raises `NoThread`.
    """
    loop = asyncio.get_running_loop()
    if future is None:
        future = loop.create_future()

    def done(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = function()
        except StopIteration as stop:
            # A future cannot carry it.
            error = RuntimeError(f"{name}: {stop!r}")
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(done, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody awaits it any more

    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:
        raise NoThread(str(error)) from None
    found: _Result = await future
    return found


class Turns:
    """A lock that tasks hold, one after the other, in the order in which they come. It may be let
    go of from any thread, and by a destructor, also when the loop of who waits is over."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[_WaitingTask] = deque()

    async def acquire(self, timeout: float | None = None) -> bool:
        """Have it; False if that took longer than `timeout`, in seconds."""
        if not self._held:
            self._held = True
            return True
        waiting = _WaitingTask()
        self._waiting.append(waiting)
        timer = None
        if timeout is not None:
            timer = waiting.loop.call_later(timeout, _finish, waiting.future)
        try:
            await waiting.future
        except BaseException:
            if waiting.has_it:
                self.release()
            waiting.gone = True
            raise
        finally:
            if timer is not None:
                timer.cancel()
        waiting.gone = not waiting.has_it
        return waiting.has_it

    def release(self) -> None:
        """Let the next one have it."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not (waiting.gone or waiting.loop.is_closed()):
                waiting.has_it = True
                wake(waiting.loop, waiting.future)
                return
        self._held = False


class _WaitingTask:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: Future[None] = self.loop.create_future()
        self.has_it = self.gone = False


async def give_way() -> None:
    """Let the other tasks that are ready have a turn."""
    await asyncio.sleep(0)


async def sleep_unless(ended: Callable[[], bool], seconds: float) -> None:
    """Wait so many seconds, or until soon after `ended()` has become true."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not ended():
        left = end - loop.time()
        if left <= 0:
            return
        await asyncio.sleep(min(left, _LOOK_EVERY_S))


__all__ = ["Turns", "give_way", "in_thread", "running_loop", "sleep_unless", "wake"]
