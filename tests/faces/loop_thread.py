"""An event loop in a thread of its own, and calls into it from threads that wait for the result.

It knows asyncio, Ctrl-C and forks. Must not know what runs in it.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import os
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

#: How long a call is waited for. No test waits that long when all is well.
PATIENCE_S = 90.0
#: How long what was cancelled may take to end.
ENDING_S = 10.0
#: The name of the tasks that carry out calls.
WORKER = "tests-worker"
#: Another loop than asyncio's own: MONGOKEY_TEST_LOOP=uvloop.
LOOP_MODULE = os.environ.get("MONGOKEY_TEST_LOOP", "asyncio")


class _Call:
    """One call into the loop, and what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        self.context = contextvars.copy_context()

    async def carry_out(self) -> None:
        """Keeps what comes of it; raises nothing."""
        tokens = [(each, each.set(value)) for each, value in self.context.items()]
        try:
            value = self.work()
            if inspect.isawaitable(value):
                value = await value
            self.value = value
        except BaseException as error:  # whoever called gets it
            self.error = error
        finally:
            for variable, token in tokens:
                # The caller may have left a block by the next call.
                variable.reset(token)
            self.done.set()
            # Else an error, whose traceback has this frame, refers to itself.
            del self


class _Worker:
    """The task that carries out the calls of one thread, one after the other: what a thread is to
    a blocking client, a task is to one of asyncio's."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.call: _Call | None = None
        self.calls: deque[_Call] = deque()
        self._idle: asyncio.Future[None] | None = None

    # In the loop.

    def take(self, loop: asyncio.AbstractEventLoop, call: _Call) -> None:
        """Carry out a call after those that came before."""
        self.calls.append(call)
        if self.task is None:
            self.task = loop.create_task(self._serve(), name=WORKER)
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def cancel(self, call: _Call) -> None:
        """Cancel a call that has begun, or have it done without."""
        if self.call is call and self.task is not None:
            self.task.cancel()
        elif call in self.calls:
            self.calls.remove(call)
            call.error = asyncio.CancelledError()
            call.done.set()

    async def _serve(self) -> None:
        task: Any = asyncio.current_task()
        while True:
            while not self.calls:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
            self.call = self.calls.popleft()
            await self.call.carry_out()
            self.call = None
            while hasattr(task, "cancelling") and task.cancelling():  # Python 3.11
                task.uncancel()

    # In the thread.

    @property
    def busy(self) -> bool:
        """Whether the thread has a call under way: a signal's handler makes another meanwhile."""
        return self.call is not None or bool(self.calls)


class LoopThread:
    """A loop that starts with the first call and runs until `close`.

    After that, and when the calls of that time have ended, each call has a loop of its own for as
    long as it takes: the way of programs that call `asyncio.run` several times. `complaints` are
    what the loop's exception handler was told, and the tasks that were left when the loop was
    closed.
    """

    def __init__(self, complaints: list[str]) -> None:
        self.complaints = complaints
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._lock = threading.Lock()
        self._closed = False
        self._calls: set[_Call] = set()
        self._workers = threading.local()
        #: They outlive their threads: a task that waits may not just be gone.
        self._all_workers: list[_Worker] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs."""
        if self._pid != os.getpid():
            # In a forked child there is no such thread. The loop is left alone: what it watches
            # for its parent is the parent's too.
            self._lock = threading.Lock()
            self._loop, self._thread, self._calls = None, None, set()
            self._workers = threading.local()
            self._pid = os.getpid()
        with self._lock:
            if self._loop is None:
                self._loop = importlib.import_module(LOOP_MODULE).new_event_loop()
                self._loop.set_exception_handler(_handler(self.complaints))
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="tests-loop", daemon=True
                )
                self._thread.start()
            return self._loop

    def call(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, or what the awaitable that it returns comes to.

        All of it happens in the loop; what it raises is raised here. Ctrl-C in the thread that
        waits cancels it.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("called from the loop itself: it would wait for itself")
        call: Any = _Call(work)
        self._calls.add(call)  # from here on the loop is not ended
        try:
            if self._closed and self._loop is None:
                return self._call_alone(work)
            del work
            loop = self.loop
            worker = self._worker()
            loop.call_soon_threadsafe(worker.take, loop, call)
            self._wait(loop, worker, call)
            if call.error is not None:
                raise call.error
            return call.value
        finally:
            self._calls.discard(call)
            # Else the error, whose traceback has this frame, refers to itself.
            call = None
            if self._closed:
                self._end_when_idle()

    def _worker(self) -> _Worker:
        """The calling thread's, or another one while that is busy with a call of the thread's."""
        worker: _Worker | None = getattr(self._workers, "worker", None)
        if worker is None or worker.busy:
            made = _Worker()
            self._all_workers.append(made)
            if worker is not None:
                return made
            worker = self._workers.worker = made
        return worker

    def _wait(self, loop: asyncio.AbstractEventLoop, worker: _Worker, call: _Call) -> None:
        try:
            if call.done.wait(PATIENCE_S):
                return
        except BaseException:
            self._cancel(loop, worker, call)
            raise
        where = _stack(worker.task)
        self._cancel(loop, worker, call)
        raise AssertionError(f"a call did not end within {PATIENCE_S:g} s:\n{where}")

    def _cancel(self, loop: asyncio.AbstractEventLoop, worker: _Worker, call: _Call) -> None:
        loop.call_soon_threadsafe(worker.cancel, call)
        if not call.done.wait(ENDING_S):
            self.complaints.append(f"a cancelled call does not end:\n{_stack(worker.task)}")

    def _call_alone(self, work: Callable[[], Any]) -> Any:
        alone = LoopThread(self.complaints)
        try:
            return alone.call(work)
        finally:
            alone.close()

    def close(self, patience_s: float = 1.0) -> None:
        """End the loop once its calls have ended; tasks that do not end by then are complaints."""
        self._closed = True
        self._end_when_idle(patience_s)

    def _end_when_idle(self, patience_s: float = 1.0) -> None:
        """End the loop, unless somebody waits for it: then that one does."""
        with self._lock:
            loop, thread = self._loop, self._thread
            if self._calls or loop is None or thread is None or self._pid != os.getpid():
                return
            self._loop = self._thread = None
        asyncio.run_coroutine_threadsafe(_clear(self.complaints, patience_s), loop).result(
            patience_s + 2 * ENDING_S
        )
        loop.call_soon_threadsafe(loop.stop)
        thread.join(ENDING_S)
        assert not thread.is_alive(), "the loop does not end"

    def end_with(self, owner: object) -> None:
        """End the loop, beside the program, some time after `owner` is gone."""
        weakref.finalize(owner, _end_later, self).atexit = False


def _end_later(loop_thread: LoopThread) -> None:
    if loop_thread._loop is None or loop_thread._pid != os.getpid():
        return

    def end() -> None:
        time.sleep(0.3)  # what was left to the loop has begun by then
        loop_thread.close(ENDING_S)

    threading.Thread(target=end, name="tests-loop-end", daemon=True).start()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _handler(complaints: list[str]) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    def complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(f"the loop's exception handler: {context}")

    return complain


async def _clear(complaints: list[str], patience_s: float) -> None:
    """In the loop: wait until no other task is left; those that do not end are cancelled."""
    this = asyncio.current_task()
    workers = [task for task in asyncio.all_tasks() if task.get_name() == WORKER]
    for task in workers:
        task.cancel()
    if workers:
        await asyncio.wait(workers, timeout=ENDING_S)
    deadline = time.monotonic() + patience_s
    while left := [task for task in asyncio.all_tasks() if task is not this]:
        if time.monotonic() > deadline:
            complaints += [f"a task is left after close:\n{_stack(task)}" for task in left]
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=ENDING_S)
            break
        await asyncio.sleep(0.002)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def _stack(task: asyncio.Task[Any] | None) -> str:
    """Where a task waits: the frames of its coroutine and of those that this one awaits."""
    if task is None:
        return "it has not begun, or is done"
    lines = [repr(task)]
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None)
        if frame is not None:
            lines += traceback.format_list(
                traceback.StackSummary.extract([(frame, frame.f_lineno)])
            )
        else:
            lines.append(f"  {awaited!r}")
        awaited = getattr(awaited, "cr_await", None)
    return "\n".join(lines)
