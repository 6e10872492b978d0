"""Jobs that are done beside the program on an asyncio loop, one after the other.

Knows loops, tasks and what becomes of both when nobody waits for them: a loop may be closed in the
middle of a job, with no word of it. Must not know what the jobs are for (see `_support.jobs`).
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Coroutine
from contextvars import Context
from types import GeneratorType
from typing import Any

from mongokey._support.jobs import Blocking
from mongokey._support.tasks import in_thread

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable
    from typing import TypeVar

    from mongokey._support.jobs import JobSteps

    _Result = TypeVar("_Result")


async def await_job(job: Callable[[], object]) -> None:
    """Do a job in the running loop."""
    found = job()
    if type(found) is GeneratorType:
        await await_steps(found)


async def await_steps(steps: JobSteps[_Result]) -> _Result:
    """Carry out the steps of a job in the running loop; what they return."""
    try:
        step = next(steps)
        while True:
            answer: Any
            try:
                if type(step) is Blocking:
                    answer = await in_thread(step.function, "mongokey-background")
                elif hasattr(type(step), "__await__"):
                    answer = await step
                else:
                    answer = step
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: _Result = end.value
        return result
    finally:
        steps.close()


class Unmissed(Coroutine[Any, Any, None]):
    """A coroutine, made by `function` once it is begun, that nobody misses: if its loop is closed
    before it was begun, or before it was through, nothing is said. After `close` it is over, also
    for a task that has it, if that goes on after all."""

    def __init__(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._function = function
        self._begun: Coroutine[Any, Any, None] | None = None
        self._closed = False

    def start(self, loop: AbstractEventLoop) -> Task[None]:
        """A task for it, of `loop`, which runs."""
        task = loop.create_task(self)
        # What a loop's own helpers set for tasks that they account for.
        if hasattr(task, "_log_destroy_pending"):
            task._log_destroy_pending = False
        return task

    def send(self, value: Any) -> Any:
        """Go on."""
        if self._closed:
            raise StopIteration
        if self._begun is None:
            self._begun = self._function()
        return self._begun.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error, such as a cancellation."""
        if self._begun is not None and not self._closed:
            return self._begun.throw(*error)
        self._closed = True
        raise error[0] if isinstance(error[0], BaseException) else error[0]()

    def close(self) -> None:
        """Give it up."""
        self._closed = True
        if self._begun is not None:
            self._begun.close()

    def __await__(self) -> Any:
        raise TypeError("it is for a task of its own")

    def __repr__(self) -> str:
        function = self.__dict__.get("_function")
        return f"<{type(self).__name__} {getattr(function, '__qualname__', '')}>"


class LoopJobs:
    """The jobs of one client. `current_loop()` is the loop to do them on, or None.

    Nothing here raises for a loop that is closed: what was not done then is done by the next loop.
    """

    def __init__(
        self,
        current_loop: Callable[[], AbstractEventLoop | None],
        report_error: Callable[[], object],
    ) -> None:
        self._current_loop = current_loop
        self._report_error = report_error
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: what was to be done is the parent's."""
        self._work = _Work(deque(), self._report_error)

    def reset_for_new_loop(self) -> None:
        """The loop of before is over: what it had begun is given up."""
        work = self._work
        self._work = _Work(work.jobs, self._report_error)
        work.give_up()
        if work.jobs:
            self._begin()

    def run(self, job: Callable[[], object]) -> bool:
        """Have `job` done; False where there is no loop to do it."""
        self._work.jobs.append(job)
        return self._begin()

    def _begin(self) -> bool:
        loop = self._current_loop()
        if loop is None or sys.is_finalizing():
            return False
        return self._work.begin(loop)


class _Work:
    """The jobs that are left, and the task that does them. It refers to nobody that keeps a client
    alive, and lives until they are done."""

    def __init__(
        self, jobs: deque[Callable[[], object]], report_error: Callable[[], object]
    ) -> None:
        self.jobs = jobs
        self._report_error = report_error
        self._task: Task[None] | None = None
        self._coroutine: Unmissed | None = None
        self._given_up = False
        self._pid = os.getpid()

    def begin(self, loop: AbstractEventLoop) -> bool:
        """Have the jobs done on `loop`, from any thread; False if it is closed."""
        try:
            # Not in the context of who happens to ask.
            loop.call_soon_threadsafe(self._ensure_task, loop, context=Context())
        except RuntimeError:
            return False
        return True

    def give_up(self) -> None:
        """The loop does not run any more. Not in a forked child, whose copy of it is left alone."""
        self._given_up = True
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None and os.getpid() == self._pid:
            coroutine.close()

    def _ensure_task(self, loop: AbstractEventLoop) -> None:
        task = self._task
        if self.jobs and not self._given_up and (task is None or task.done()):
            self._coroutine = Unmissed(self._work_off)
            self._task = self._coroutine.start(loop)

    async def _work_off(self) -> None:
        while self.jobs and not self._given_up:
            job = self.jobs.popleft()
            try:
                await await_job(job)
            except Exception:
                self._report_error()
            del job  # or what it holds would live until the next one
        self._coroutine = self._task = None


__all__ = ["LoopJobs", "Unmissed", "await_job", "await_steps"]
