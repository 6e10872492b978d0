"""Which of the program's threads an action is for, also where one of the driver's carries it out.

Threads are numbered here, as the interpreter gives the ident of a thread that has ended to another
one. Knows threads only.
"""

from __future__ import annotations

import threading
from itertools import count

_numbers = count()
_local = threading.local()


def caller_number() -> int:
    """The number of the calling thread, or of the one that it acts for."""
    number: int | None = getattr(_local, "number", None)
    if number is None:
        number = _local.number = next(_numbers)
    return number


def act_for(number: int) -> None:
    """Say that all the calling thread does is for the thread with `number`."""
    _local.number = number


__all__ = ["act_for", "caller_number"]
