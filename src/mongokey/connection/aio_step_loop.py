"""Carries out steps on an asyncio loop: no thread but for what may block.

Knows the loop's readers, writers and timers, and that the loop may be closed under it. Must not
know steps (`step_loop` does), nor what they are for.
"""

from __future__ import annotations

import os
import sys
from asyncio import _get_running_loop as running_loop
from asyncio import get_running_loop
from contextvars import Context

from mongokey._support.awaiting import InLoop
from mongokey.connection.step_loop import StepLoop, Task, guarded, report_error
from mongokey.transport.loop_readiness import (
    add_reader,
    add_writer,
    remove_reader,
    remove_writer,
)
from mongokey.transport.polling import READ, WRITE, PolledSocket
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable, Generator
    from typing import Any

    from mongokey.auth.conversation import OffloadedCall

# A loop that reckons in milliseconds may call a little early: that is no reason to spin.
_SHORTEST_S = 0.001
# A loop that is so late did not run: then what has come meanwhile counts, and is looked for so long
# before a deadline is said to have passed.
_LATE_NS = 1_000_000_000
_LOOK_S = 0.05


class LoopTask(Task):
    """A task on an asyncio loop, and the timer for its `due_ns`: never late, but it may be early
    where what it was for has come since."""

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        super().__init__(steps)
        self.timer: TimerHandle | None = None
        self.timer_at_ns = 0
        #: The due time that was given another look, as the loop was late.
        self.looked_again_ns = 0


class AioStepLoop(StepLoop):
    """Carries out steps on `loop`, by default the running one.

    `call`, `close` and `abandon` may be called from anywhere; nothing is done any more once the
    loop is closed.
    """

    def __init__(self, loop: AbstractEventLoop | None = None) -> None:
        super().__init__()
        self.loop = get_running_loop() if loop is None else loop
        self._pid = os.getpid()
        self._came_ns = 0

    def _prepare_work(self, work: OffloadedCall) -> None:
        work.await_result = InLoop(self.loop)

    # -- from anywhere ----------------------------------------------------------------------------

    def call(self, function: Callable[[], object]) -> None:
        """Have `function` called soon in the loop's thread; it must not wait."""
        self._call(self._called, function)

    def _call(self, function: Callable[..., object], *arguments: object) -> bool:
        """Whether the loop will call `function`; it does not where it is closed."""
        if os.getpid() != self._pid:
            return False  # what wakes the loop is the parent's
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    def _called(self, function: Callable[[], object]) -> None:
        if not self._closed:
            guarded(function)

    def close(self) -> None:
        """Have all connections closed, at once where that is possible here."""
        self._closed = True
        here = running_loop() is self.loop or not self.loop.is_running()
        if here and not any(task.running for task in self._tasks):
            self._end_all()
        elif not self._call(self._end_all):
            self.abandon()

    # -- in its thread ----------------------------------------------------------------------------

    def interrupted(self) -> None:
        """What is to end the program ends the loop, from a callback of its own."""
        error = sys.exc_info()[1]
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.loop.call_soon(_end_loop, error)
        else:
            report_error()

    def _new_task(self, steps: Generator[Any, Any, Any]) -> Task:
        return LoopTask(steps)

    def _socket_is_ready(self, task: LoopTask) -> None:
        due = task.due_ns
        if due and monotonic_ns() - due > _LATE_NS:
            # It came while the loop did not run: in time, as far as anybody knows.
            self._came_ns = due - 1
        self._go_on(task)

    def _go_on(self, task: Task, error: BaseException | None = None) -> None:
        assert isinstance(task, LoopTask)
        self._woken_ns = self._came_ns or monotonic_ns()
        self._came_ns = 0
        sockets = task.socket
        if isinstance(sockets, list):
            for each in sockets:
                each.look()
        super()._go_on(task, error)
        if task.serving is not None and not task.running:
            self._arrange(task)

    def _arrange(self, task: LoopTask) -> None:
        """Have the loop call when what `task` waits for comes."""
        sockets = task.socket
        if sockets is not None:
            each: PolledSocket
            for each in (sockets,) if isinstance(sockets, PolledSocket) else sockets:
                if each.events and not each.closed:
                    if each.watcher is None:
                        each.watcher = _Watch(self, task, each)
                    each.watcher.want(each.events)
        due = task.due_ns
        if due and (task.timer is None or due < task.timer_at_ns):
            self._arm(task, due, 0.0)

    def _arm(self, task: LoopTask, due_ns: int, shortest_s: float) -> None:
        if task.timer is not None:
            task.timer.cancel()
        wait_s = max((due_ns - monotonic_ns()) / 1e9, shortest_s)
        task.timer_at_ns = due_ns
        task.timer = self.loop.call_later(wait_s, self._timed, task, context=Context())

    def _timed(self, task: LoopTask) -> None:
        task.timer = None
        due = task.due_ns
        if task.serving is None or due == 0:
            return
        late_ns = monotonic_ns() - due
        if late_ns > _LATE_NS and task.socket is not None and task.looked_again_ns != due:
            task.looked_again_ns = due
            self._arm(task, due, _LOOK_S)
        elif late_ns >= 0:
            self._go_on(task)
        else:
            self._arm(task, due, _SHORTEST_S)

    def _end(self, task: Task) -> None:
        super()._end(task)
        if isinstance(task, LoopTask) and task.timer is not None:
            task.timer.cancel()
            task.timer = None


def _end_loop(error: BaseException) -> None:
    raise error


class _Reader:
    """What only the loop refers to, with its reader: a loop that is closed lets go of it, and says
    so to nobody else."""

    __slots__ = ("_steps",)

    def __init__(self, steps: AioStepLoop) -> None:
        self._steps = steps

    def __del__(self) -> None:
        # It has none where `__init__` did not come to its end.
        steps = getattr(self, "_steps", None)
        if steps is not None and steps.loop.is_closed() and not sys.is_finalizing():
            steps.close()


class _Watch:
    """What the loop watches of one socket. The reader stays when it was called, as each change
    costs a system call; it goes when it is called and nobody waits."""

    __slots__ = ("_number", "_reads", "_socket", "_steps", "_task", "_writes")

    def __init__(self, steps: AioStepLoop, task: LoopTask, socket: PolledSocket) -> None:
        self._steps = steps
        self._task = task
        self._socket = socket
        self._number = socket.fileno()
        self._reads = self._writes = False

    def want(self, events: int) -> None:
        """Have the task go on when the socket is ready for `events`."""
        if events & READ and not self._reads:
            add_reader(self._steps.loop, self._number, self._come, READ, _Reader(self._steps))
            self._reads = True
        if events & WRITE and not self._writes:
            add_writer(self._steps.loop, self._number, self._come, WRITE)
            self._writes = True

    def _come(self, event: int, _reader: object = None) -> None:
        if self._socket.events & event:
            self._steps._socket_is_ready(self._task)
        else:
            self._remove(event)

    def _remove(self, events: int) -> None:
        loop = self._steps.loop
        if self._reads and events & READ:
            self._reads = False
            if not loop.is_closed():
                remove_reader(loop, self._number)
        if self._writes and events & WRITE:
            self._writes = False
            if not loop.is_closed():
                remove_writer(loop, self._number)

    def forget(self, _number: int) -> None:
        """The socket is being closed."""
        if os.getpid() == self._steps._pid:
            # What the loop of a forked child waits with may be the parent's.
            self._remove(READ | WRITE)

    def hand_over(self) -> None:
        """Somebody else has the socket, and registers a reader in the place of this one."""
        self._remove(WRITE)


__all__ = ["AioStepLoop"]
