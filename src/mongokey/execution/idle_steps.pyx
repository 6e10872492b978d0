# cython: language_level=3
"""What a plan of `Executor.carry_out` can ask for: an operation on a connection that is idle
anyway, or (`AS_A_CALL`) on any, and its turn among others that do the same.

Knows what the steps need, and nothing of how or where they are carried out.
"""

cimport cython

from mongokey._support.deadline cimport Deadline
from mongokey.execution.cursors cimport ServerCursor
from mongokey.execution.operation cimport Operation
from mongokey.pool.pool cimport Pool

# As `wait_s`: not for good order only, but as a user's call, which may take a new connection.
AS_A_CALL = -1.0


@cython.final
cdef class OnIdle:
    """An operation on an idle connection, or on none."""

    def __init__(
        self,
        Operation operation not None,
        ServerCursor cursor,
        Pool server,
        Deadline deadline not None,
        double wait_s,
    ):
        self.operation = operation
        self.cursor = cursor
        self.server = server
        self.deadline = deadline
        self.wait_s = wait_s


@cython.final
cdef class Turn:
    """One at a time."""

    def __init__(self, lock, Deadline deadline):
        self.lock = lock
        self.deadline = deadline
