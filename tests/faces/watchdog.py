"""Tells what keeps a loop busy, or holds it up, so that others on it have to wait.

It knows asyncio's handles and the garbage collector. What is computed is measured in the thread's
own CPU time, so that a busy machine changes nothing; what waits, in time that passes, and only
where that is long beyond doubt.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: How long one callback of the loop may compute.
BUSY_NS = 5_000_000
#: How long it may take, on a machine that does a lot besides.
HELD_UP_NS = 300_000_000


class _Collections(threading.local):
    """The CPU time that collections of garbage took in this thread: the program's, not ours."""

    began_ns = 0
    total_ns = 0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        now = time.thread_time_ns()
        if phase == "start":
            self.began_ns = now
        else:
            self.total_ns += now - self.began_ns


@contextmanager
def watched(thread_name: str) -> Iterator[list[str]]:
    """What the loops of threads of that name are kept busy or held up by, within the `with`."""
    found: list[str] = []
    collections = _Collections()
    run: Any = asyncio.events.Handle._run  # type: ignore[attr-defined]

    def timed(handle: Any) -> None:
        if threading.current_thread().name != thread_name:
            run(handle)
            return
        what, modules = repr(handle), len(sys.modules)
        collected_ns = collections.total_ns
        began_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        run(handle)
        cpu_ns = time.thread_time_ns() - cpu_ns - (collections.total_ns - collected_ns)
        whole_ns = time.monotonic_ns() - began_ns
        if len(sys.modules) != modules:
            return  # the first time only: modules are loaded when they are needed
        if cpu_ns > BUSY_NS:
            found.append(f"busy for {cpu_ns / 1e6:.1f} ms: {what}")
        elif whole_ns > HELD_UP_NS:
            found.append(f"held up for {whole_ns / 1e6:.0f} ms: {what}")

    asyncio.events.Handle._run = timed  # type: ignore[attr-defined]
    gc.callbacks.append(collections)
    try:
        yield found
    finally:
        gc.callbacks.remove(collections)
        asyncio.events.Handle._run = run  # type: ignore[attr-defined]
