"""Which of the program's threads or asyncio tasks an action is for.

They are numbered here, as the interpreter gives the ident of a thread that has ended to another
one. Knows threads and tasks only.
"""

from __future__ import annotations

import sys
import threading
from itertools import count
from weakref import WeakKeyDictionary

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

_numbers = count()
_local = threading.local()
_tasks: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def caller_number() -> int:
    """The number of the running task, or, where none runs, of the calling thread."""
    acting: int | None = getattr(_local, "acting", None)
    if acting is not None:
        return acting
    # Who has a task has imported it.
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        task = asyncio.current_task()
        if task is not None:
            number = _tasks.get(task)
            if number is None:
                number = _tasks[task] = next(_numbers)
            return number
    number = getattr(_local, "number", None)
    if number is None:
        number = _local.number = next(_numbers)
    return number


def act_for(number: int | None) -> int | None:
    """Have what this thread does be for the caller of that number, until this is called with what
    it returns: for who goes on with the work of another."""
    before: int | None = getattr(_local, "acting", None)
    _local.acting = number
    return before


__all__ = ["act_for", "caller_number"]
