"""What a plan of `Executor.carry_out` can ask for: an operation on a connection that is idle
anyway, or (`AS_A_CALL`) on any, and its turn among others that do the same.

Knows what the steps need, and nothing of how or where they are carried out.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey.execution.cursors import ServerCursor
    from mongokey.execution.operation import Operation
    from mongokey.pool.pool import Pool

__all__ = ["AS_A_CALL", "OnIdle", "Turn"]

# As `wait_s`: not for good order only, but as a user's call, which may take a new connection.
AS_A_CALL = -1.0


class OnIdle:
    """An operation on an idle connection, or on none.

    Carry out `operation`, about `cursor` or (None) to `server`, on a connection that is idle
    anyway, until `deadline`; with `wait_s`, queue for so many seconds with those who wait for a
    connection; with AS_A_CALL, which is less than 0, as a user's call. Comes to the result,
    NO_IDLE_CONNECTION, or the error with which the last idle connection failed; or raises.
    """

    __slots__ = ("cursor", "deadline", "operation", "server", "wait_s")

    def __init__(
        self,
        operation: Operation,
        cursor: ServerCursor | None,
        server: Pool | None,
        deadline: Deadline,
        wait_s: float,
    ) -> None:
        self.operation = operation
        self.cursor = cursor
        self.server = server
        self.deadline = deadline
        self.wait_s = wait_s


class Turn:
    """One at a time: have `lock` for those who take turns, until they release it; comes to whether
    it was got in time, that is before `deadline` (None: any time)."""

    __slots__ = ("deadline", "lock")

    def __init__(self, lock: Any, deadline: Deadline | None) -> None:
        self.lock = lock
        self.deadline = deadline
