"""Work that may block, for who must not: in a thread of its own, awaited in an asyncio loop.

Knows threads and the loop. Must not know what the work is. Not the loop's own threads: all of these
may be waiting for one another.
"""

from __future__ import annotations

import threading
from asyncio import get_running_loop

from mongokey.errors import AutoReconnect

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


async def in_thread(function: Callable[[], T], name: str) -> T:
    """What `function` returns or raises, called in a thread that ends with it.

    Who is cancelled meanwhile leaves the thread to end by itself, and its outcome forgotten.
    """
    loop = get_running_loop()
    over: Future[None] = loop.create_future()
    outcome: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            failed.append(error)
        try:
            loop.call_soon_threadsafe(end)
        except RuntimeError:
            # The loop was closed: nobody waits any more.
            return

    def end() -> None:
        if not over.done():
            over.set_result(None)

    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError:
        # The system has no thread left, or Python is ending.
        raise AutoReconnect(f"no thread can be started ({name})") from None
    await over
    if failed:
        try:
            raise failed[0]
        finally:
            failed.clear()
    return outcome[0]


__all__ = ["in_thread"]
