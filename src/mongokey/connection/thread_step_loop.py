"""A thread that carries out steps, and the one wait for all of them (`transport.polling`).

Knows how the thread is woken, and that it ends with `close`. Must not know steps (`step_loop`
does), nor what they are for.
"""

from __future__ import annotations

import threading
from collections import deque

from mongokey.connection.step_loop import StepLoop, Task, guarded, report_error
from mongokey.transport.connecting import look_for_gevent
from mongokey.transport.polling import Poller
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable

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

    def close(self) -> None:
        """Have `run` close all connections and return, soon."""
        self._closed = True
        self._poller.wake()

    def abandon(self) -> None:
        super().abandon()
        self._poller.close()

    # -- in its thread ----------------------------------------------------------------------------

    def run(self) -> None:
        """Carry out what there is, until `close`."""
        look_for_gevent()
        try:
            while not self._closed:
                while self._calls and not self._closed:
                    guarded(self._calls.popleft())
                if self._closed:
                    return
                ready = self._next_ready()
                self._woken_ns = monotonic_ns()
                for task in ready:
                    if task.serving is not None:
                        self._go_on(task)
                        if self._closed:
                            return
        finally:
            self._end_all()
            self._poller.close()

    def _next_ready(self) -> list[Task]:
        try:
            return self._poller.wait(self._tasks)
        except OSError:
            # The system is out of memory, or of what it lets one process wait for: that passes, and
            # nothing is lost meanwhile.
            report_error()
            threading.Event().wait(_PAUSE_AFTER_ERROR_S)
            return []


__all__ = ["ThreadStepLoop"]
