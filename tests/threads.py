"""Many threads that do the same at once, and what came of it. Knows nothing of what they do."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any


def outcomes(count: int, work: Callable[[], Any], timeout: float = 60.0) -> list[Any]:
    """Call `work` in so many threads that start together; what each call returned or raised."""
    ready = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(index: int) -> None:
        try:
            ready.wait(timeout)
            results[index] = work()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
        assert not thread.is_alive()
    return results


def in_threads(count: int, work: Callable[[], Any], timeout: float = 60.0) -> list[Any]:
    """The same where none may fail: the first error is raised here."""
    results = outcomes(count, work, timeout)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def bare_threads() -> int:
    """How many threads the process has that are none of Python's; only Linux tells."""
    return len(os.listdir("/proc/self/task")) - len(sys._current_frames())
