"""A thread that carries out steps, and the one wait for all of them (`transport.polling`).

Knows how the thread is woken, that it ends with `close`, and that another one may do the first
part. Must not know steps (`step_loop` does), nor what they are for.
"""

from __future__ import annotations

import threading
from collections import deque

from mongokey.connection.step_loop import StepLoop, guarded, report_error
from mongokey.transport.connecting import look_for_gevent
from mongokey.transport.polling import Poller, Waiter
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# After a wait that the system refused.
_PAUSE_AFTER_ERROR_S = 0.5


class ThreadStepLoop(StepLoop):
    """The loop of a thread, which calls `run`."""

    def __init__(self) -> None:
        super().__init__()
        self._poller = Poller()
        self._calls: deque[Callable[[], object]] = deque()

    # -- from anywhere ----------------------------------------------------------------------------

    def call(self, function: Callable[[], object]) -> None:
        """Have `function` called soon in the loop's thread; it must not wait."""
        self._calls.append(function)
        self._poller.wake()

    def call_first(self, function: Callable[[], object]) -> None:
        """`call`, before anything was carried out: there is nobody to be woken."""
        self._calls.append(function)

    def close(self) -> None:
        """Have `run` close all connections and return, soon."""
        self._closed = True
        self._poller.wake()

    @property
    def closed(self) -> bool:
        """Whether nothing is carried out any more."""
        return self._closed

    def abandon(self) -> None:
        super().abandon()
        self._poller.close()

    def run_apart(self, function: Callable[[], object]) -> None:
        """Have `function`, which is to `run`, called in a new thread as soon as there is anything
        to be carried out. Raises RuntimeError where the system has no thread to give."""
        if self._calls:
            self._poller.wake()
        self._poller.wait_apart(self._tasks, function)

    def recall(self) -> bool:
        """`close`, where `run_apart` has a function that it will not call any more: all connections
        are closed at once. False where it was called, or none was given."""
        if not self._poller.recall():
            return False
        self.end()
        return True

    # -- in its thread ----------------------------------------------------------------------------

    def run(self) -> None:
        """Carry out what there is, until `close`."""
        look_for_gevent()
        try:
            while not self._closed:
                self._make_calls()
                if self._closed:
                    return
                self._go_on_with(self._next_ready(self._tasks))
        finally:
            self.end()

    def run_until(self, done: Callable[[], bool], until_ns: int) -> None:
        """Carry out what there is, until `done()`, the time `until_ns`, or `close`: in the calling
        thread, before that of `run` or `run_apart` is started."""
        limit = Waiter()
        limit.socket, limit.due_ns = None, until_ns
        while not self._closed:
            self._make_calls()
            if self._closed or done():
                return
            ready = self._next_ready([*self._tasks, limit])
            if limit in ready:
                return
            self._go_on_with(ready)

    def end(self) -> None:
        """Close all connections, and what wakes the thread; nobody runs this."""
        self._end_all()
        self._calls.clear()
        self._poller.close()

    def _make_calls(self) -> None:
        while self._calls and not self._closed:
            guarded(self._calls.popleft())

    def _go_on_with(self, ready: list[Any]) -> None:
        self._woken_ns = monotonic_ns()
        for task in ready:
            if task.serving is not None:
                self._go_on(task)
                if self._closed:
                    return

    def _next_ready(self, waiters: list[Any]) -> list[Any]:
        try:
            return self._poller.wait(waiters)
        except OSError:
            # The system is out of memory, or of what it lets one process wait for: that passes, and
            # nothing is lost meanwhile.
            report_error()
            threading.Event().wait(_PAUSE_AFTER_ERROR_S)
            return []


__all__ = ["ThreadStepLoop"]
