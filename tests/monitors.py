"""Monitors on either face, for the tests of both: in their own thread, or on an event loop that
runs in a thread of the test's.

Knows how a loop is started and ended, and what it complains of. A test makes its monitors by
`make_monitors` and says `pytestmark = pytest.mark.usefixtures("monitors_face")`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from mongokey.topology.checks import WatchedServers
from mongokey.topology.monitors import Monitors, _ThreadChecks

FACES = ("thread", "asyncio") if sys.platform == "win32" else ("thread", "asyncio", "uvloop")
PATIENCE_S = 20.0


class Face:
    """How monitors are made. A loop starts when it is first asked for, in a forked child anew."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.complaints: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs."""
        if self._loop is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._loop = importlib.import_module(self.name).new_event_loop()
            self._loop.set_debug(True)
            self._loop.slow_callback_duration = 10.0
            self._loop.set_exception_handler(
                lambda _, context: self.complaints.append(repr(context))
            )
            self._thread = threading.Thread(
                target=self._serve, args=(self._loop,), name="tests-loop", daemon=True
            )
            self._thread.start()
        return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        loop.close()

    def end_loop(self) -> None:
        """Stop the loop and close it, as it is."""
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive(), "the loop does not end"

    def make(self, *args: Any, **kwargs: Any) -> WatchedServers:
        if self.name == "thread":
            return Monitors(*args, **kwargs)
        from mongokey.topology.aio_monitors import LoopMonitors

        return LoopMonitors(*args, current_loop=lambda: self.loop, **kwargs)


current = Face("thread")


def monitors_face_fixture(request: pytest.FixtureRequest) -> Iterator[Face]:
    """The face of this test; its loop may not complain."""
    global current
    before, current = current, Face(request.param)
    try:
        if current.name != "thread":
            assert current.loop.get_debug()  # its descriptors are there before the test counts them
        yield current
        current.end_loop()
        gc.collect()
        assert current.complaints == []
    finally:
        current = before


def make_monitors(*args: Any, **kwargs: Any) -> WatchedServers:
    """`Monitors(...)` or `LoopMonitors(...)`."""
    return current.make(*args, **kwargs)


def own_threads() -> list[str]:
    """The names of the driver's threads that run now. One that monitors servers is no
    `threading.Thread` where no code but the driver's runs in it."""
    named = [each.name for each in threading.enumerate() if each.name.startswith("mongokey-")]
    return named + ["mongokey-monitor" for each in sys._current_frames().values() if _bare(each)]


def own_name() -> str:
    """The name of the calling thread, which is not asked for it where it is no `Thread`: that would
    make one."""
    return "mongokey-monitor" if _bare(sys._getframe()) else threading.current_thread().name


def thread_count() -> int:
    """How many threads of Python's there are, of whatever kind."""
    return len(sys._current_frames())


def _bare(frame: FrameType) -> bool:
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code is _ThreadChecks._run.__code__


def monitor_threads() -> list[str]:
    """The names of the threads that monitors have while they are at work."""
    return ["mongokey-monitor"] if current.name == "thread" else []


def worker_threads() -> list[str]:
    """The names of the threads that do jobs beside, as long as there are any."""
    return ["mongokey-background"] if current.name == "thread" else []


def thread_of_monitors() -> str:
    """The name of the thread in which reports and periodic jobs are made."""
    return "mongokey-monitor" if current.name == "thread" else "tests-loop"
