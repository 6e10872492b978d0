"""How a thread waits for another one so that closing the client ends the wait.

Knows events and a clock. Must not know what is waited for.
"""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from threading import Event

    from mongokey._support.deadline import Deadline

# An event knows nothing of the client's end, so a wait looks for that so often.
_LOOK_EVERY_S = 0.25


class Cancelled(Exception):
    """What was waited for is not needed any more: the client was closed."""


def never() -> bool:
    """The `cancelled` of who is never cancelled."""
    return False


def wait_for(
    event: Event, deadline: Deadline | None, cancelled: Callable[[], bool] = never
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


__all__ = ["Cancelled", "never", "wait_for"]
