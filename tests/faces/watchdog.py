"""Tells what keeps a loop busy, or holds it up, so that others on it have to wait.

It knows asyncio's handles, the garbage collector and imports. What is computed is measured in the
thread's own CPU time, which a busy machine changes little; what waits, in time that passes, and
only where that is long beyond doubt. A module of ours that is imported in the loop is told of
however long it took: that differs from one machine to the next, and happens once.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from contextlib import AbstractContextManager
from typing import Any

#: How long one callback of the loop may compute. What a virtual machine's host takes away counts
#: as well, and so do caches that others have emptied: the plugin tries again, and the best counts.
BUSY_NS = 5_000_000
#: How what was found begins, where another try may be better.
BUSY = "busy for "
#: How long it may wait for something else than its turn on the machine: a sleep, a lock, a server.
HELD_UP_S = 0.3
#: So often a thread that runs a callback is looked at.
LOOK_EVERY_S = 0.03
#: A thread that computed less than this in between waits.
IDLE_NS = 100_000


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


class _Imports:
    """What imports ask first: tells of modules of ours that a thread of that name imports."""

    def __init__(self, thread_name: str, found: list[str]) -> None:
        self.thread_name = thread_name
        self.found = found

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if threading.current_thread().name == self.thread_name and name.startswith("mongokey."):
            stack = [
                f"{frame.filename}:{frame.lineno}"
                for frame in traceback.extract_stack()[:-1]
                if "importlib" not in frame.filename
            ]
            self.found.append(f"imported in the loop: {name}, by {' '.join(stack[-3:])}")


class _Watch:
    """The callbacks that run now, by thread, and what was found of them."""

    def __init__(self, thread_name: str) -> None:
        self.thread_name = thread_name
        self.found: list[str] = []
        #: By the thread's identifier, the handle that runs, and since when it only waits.
        self.running: dict[int, Any] = {}
        self._collections = _Collections()
        self._imports: Any = _Imports(thread_name, self.found)
        self._run: Any = asyncio.events.Handle._run  # type: ignore[attr-defined]
        self._ended = threading.Event()
        self._looker = threading.Thread(target=self._look, name="tests-watchdog", daemon=True)

    def __enter__(self) -> list[str]:
        watch = self

        def timed(handle: Any) -> None:
            watch.run(handle)

        asyncio.events.Handle._run = timed  # type: ignore[attr-defined]
        gc.callbacks.append(self._collections)
        sys.meta_path.insert(0, self._imports)
        self._looker.start()
        return self.found

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looker.join()
        gc.callbacks.remove(self._collections)
        sys.meta_path.remove(self._imports)
        asyncio.events.Handle._run = self._run  # type: ignore[attr-defined]

    def run(self, handle: Any) -> None:
        """In the loop: one callback."""
        thread = threading.current_thread()
        if thread.name != self.thread_name or thread.ident is None:
            self._run(handle)
            return
        collected_ns = self._collections.total_ns
        cpu_ns = time.thread_time_ns()
        self.running[thread.ident] = handle
        try:
            self._run(handle)
        finally:
            self.running.pop(thread.ident, None)
        cpu_ns = time.thread_time_ns() - cpu_ns - (self._collections.total_ns - collected_ns)
        if cpu_ns > BUSY_NS:
            self.found.append(f"{BUSY}{cpu_ns / 1e6:.1f} ms: {handle!r}")

    def _look(self) -> None:
        """Beside the loop: find callbacks whose thread does nothing, look after look. Where the
        whole machine is busy this one is late as well, and what it did not see does not count."""
        waits: dict[int, tuple[Any, int, int]] = {}
        told: Any = None
        while not self._ended.wait(LOOK_EVERY_S):
            for ident, handle in list(self.running.items()):
                cpu_ns = _cpu_ns(ident)
                former, former_ns, times = waits.get(ident, (None, 0, 0))
                same = former is handle and cpu_ns - former_ns < IDLE_NS
                waits[ident] = (handle, cpu_ns, times + 1 if same else 0)
                if waits[ident][2] * LOOK_EVERY_S > HELD_UP_S and told is not handle:
                    told = handle
                    frame = sys._current_frames().get(ident)
                    where = "".join(traceback.format_stack(frame, limit=8)) if frame else ""
                    self.found.append(f"held up for {HELD_UP_S:g} s: {handle!r}\n{where}")
            for ident in set(waits) - set(self.running):
                del waits[ident]


def _cpu_ns(ident: int) -> int:
    try:
        return time.clock_gettime_ns(time.pthread_getcpuclockid(ident))
    except (AttributeError, OSError):  # not on this system, or the thread has ended
        return time.monotonic_ns()


def watched(thread_name: str) -> AbstractContextManager[list[str]]:
    """What the loops of threads of that name are kept busy or held up by, within the `with`."""
    return _Watch(thread_name)
