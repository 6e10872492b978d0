"""Which of the program's threads an action is for.

Threads are numbered here, as the interpreter gives the ident of a thread that has ended to another
one. Knows threads only.
"""

from __future__ import annotations

import threading
from itertools import count

_numbers = count()
_local = threading.local()


def caller_number() -> int:
    """The number of the calling thread."""
    number: int | None = getattr(_local, "number", None)
    if number is None:
        number = _local.number = next(_numbers)
    return number


__all__ = ["caller_number"]
