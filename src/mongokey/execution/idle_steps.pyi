from typing import Any

from mongokey._support.deadline import Deadline
from mongokey.execution.cursors import ServerCursor
from mongokey.execution.operation import Operation
from mongokey.pool.pool import Pool

AS_A_CALL: float

class OnIdle:
    """An operation on an idle connection, or on none."""

    def __init__(
        self,
        operation: Operation,
        cursor: ServerCursor | None,
        server: Pool | None,
        deadline: Deadline,
        wait_s: float,
    ) -> None: ...

class Turn:
    """One at a time."""

    def __init__(self, lock: Any, deadline: Deadline | None) -> None: ...
