"""How a thread waits for another one so that closing the client ends the wait.

Knows events and a clock. Must not know what is waited for.
"""

from __future__ import annotations

from collections.abc import Callable

from mongokey._support.clock import monotonic

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from threading import Event

# An event knows nothing of the client's end, so a wait looks for that so often.
_LOOK_EVERY_S = 0.25


class Cancelled(Exception):
    """What was waited for is not needed any more: the client was closed."""


def never() -> bool:
    """The `cancelled` of who is never cancelled."""
    return False


def wait_for(event: Event, within_s: float | None, cancelled: Callable[[], bool] = never) -> bool:
    """Wait until `event` is set; whether it was, within so many seconds (None: no limit).

    Raises `Cancelled` soon after `cancelled()` has become true.
    """
    ends = None if within_s is None else monotonic() + within_s
    while True:
        if cancelled():
            raise Cancelled
        step = _LOOK_EVERY_S
        if ends is not None:
            step = min(step, max(0.0, ends - monotonic()))
        if event.wait(step):
            return True
        if ends is not None and monotonic() >= ends:
            return event.is_set()


__all__ = ["Cancelled", "never", "wait_for"]
