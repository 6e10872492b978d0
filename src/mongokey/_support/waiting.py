"""How a thread waits for another one so that closing the client ends the wait.

Knows events, threads and a clock. Must not know what is waited for.
"""

from __future__ import annotations

from _thread import TIMEOUT_MAX
from collections import deque
from collections.abc import Callable
from contextlib import suppress

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from threading import Event
    from typing import Any, TypeVar

    _Result = TypeVar("_Result")

    from mongokey._support.deadline import Deadline

# An event knows nothing of the client's end, so a wait looks for that so often.
_LOOK_EVERY_S = 0.25


class Cancelled(Exception):
    """What was waited for is not needed any more: the client was closed."""


class OneTimeEvent:
    """A `threading.Event` that is set once. A signal handler or a destructor may use it while its
    own thread is in the middle of using it: it has no lock, only those that its waiters sleep on.
    """

    __slots__ = ("_set", "_sleeping")

    def __init__(self) -> None:
        self._set = False
        self._sleeping: deque[Any] = deque()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """Wake all who wait."""
        self._set = True
        while True:
            try:
                lock = self._sleeping.popleft()
            except IndexError:
                return
            lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds; whether it is set."""
        # Looked up each time, as gevent replaces it there.
        import _thread

        lock = _thread.allocate_lock()
        lock.acquire()
        self._sleeping.append(lock)
        # Whoever set it before may have looked before there was one to wake.
        if not self._set:
            lock.acquire(timeout=-1 if timeout is None else min(timeout, TIMEOUT_MAX))
        with suppress(ValueError):
            self._sleeping.remove(lock)
        return self._set


def never() -> bool:
    """The `cancelled` of who is never cancelled."""
    return False


def wait_for(
    event: Event | OneTimeEvent, deadline: Deadline | None, cancelled: Callable[[], bool] = never
) -> bool:
    """Wait until `event` is set; whether it was by the deadline (None: no limit).

    Raises `Cancelled` soon after `cancelled()` has become true.
    """
    while True:
        if cancelled():
            raise Cancelled
        step = _LOOK_EVERY_S
        if deadline is not None:
            step = min(step, deadline.left_s)
        if event.wait(step):
            return True
        if deadline is not None and deadline.passed():
            return event.is_set()


def call_in_thread(
    function: Callable[[], _Result],
    cancelled: Callable[[], bool],
    deadline: Deadline | None = None,
) -> _Result:
    """What `function()` returns or raises, called in a thread of its own, as it may wait where no
    signal and no end of the client reaches it.

    Raises `Cancelled` soon after `cancelled()` has become true, and at the deadline; the thread
    ends by itself then.
    """
    from threading import Event, Thread

    done = Event()
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    try:
        # A daemon: a process that wants to end does not wait for it.
        Thread(target=work, name="mongokey-look-up", daemon=True).start()
    except RuntimeError:
        # The system has no thread left, or Python is ending: better so than not.
        return function()
    try:
        if not wait_for(done, deadline, cancelled):
            raise Cancelled
        if errors:
            raise errors[0]
        result: _Result = outcome[0]
        return result
    finally:
        # Its traceback has this very frame.
        errors.clear()


__all__ = ["Cancelled", "OneTimeEvent", "call_in_thread", "never", "wait_for"]
