"""The monitors of one client of the asyncio face: everything is done on the client's event loop,
and there is no thread.

Knows that a loop may not run yet, and may be over with no word of it. What is done there stands in
`checks`.
"""

from __future__ import annotations

from mongokey._support.loop_jobs import LoopJobs
from mongokey.connection.aio_step_loop import AioStepLoop
from mongokey.connection.step_loop import report_error
from mongokey.topology.checks import Checks, WatchedServers

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from typing import Any


class LoopMonitors(WatchedServers):
    """`WatchedServers` on an event loop.

    :param current_loop: the loop that the client belongs to, or None; it must not keep the client
        alive

    While there is no loop, or it is closed, what is asked for is only noted: it is done once
    somebody asks when there is one.
    """

    def __init__(
        self, *args: Any, current_loop: Callable[[], AbstractEventLoop | None], **kwargs: Any
    ) -> None:
        self._current_loop = current_loop
        self._beside = LoopJobs(current_loop, report_error)
        super().__init__(*args, **kwargs)

    def run_beside(self, job: Callable[[], object]) -> bool:
        """Do `job` in a task of the loop; False where there is no loop."""
        return self._beside.run(job)

    def _start(self, begin: Callable[[Any], object] | None = None) -> Checks | None:
        loop = self._current_loop()
        if loop is None or loop.is_closed():
            return None
        return super()._start(begin)

    def _make_checks(self) -> Checks:
        loop = self._current_loop()
        assert loop is not None, "it was looked at"
        return _LoopChecks(self, loop)

    def pause(self) -> None:
        """Close all connections, until somebody asks for something."""
        checks = self._checks
        self._prepare()
        if checks is not None:
            checks.close()

    def reset_for_new_loop(self) -> None:
        """The loop of before is over, whether it was closed or not: drop what is open there. All is
        begun anew on the next one, once somebody asks."""
        self.pause()
        self._beside.reset_for_new_loop()

    def reset_after_fork(self) -> None:
        """In a forked child: the loop is the parent's."""
        self._beside.reset_after_fork()
        super().reset_after_fork()


class _LoopChecks(Checks):
    """The checks on one loop."""

    def __init__(self, monitors: LoopMonitors, loop: AbstractEventLoop) -> None:
        super().__init__(monitors, AioStepLoop(loop))
        self._event_loop = loop

    @property
    def ended(self) -> bool:
        """Whether the loop is closed."""
        return self._event_loop.is_closed()

    def start(self) -> None:
        """Nothing is left to be done: the loop runs."""


__all__ = ["LoopMonitors"]
