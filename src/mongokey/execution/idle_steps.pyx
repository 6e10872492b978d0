# cython: language_level=3
"""What a plan of `Executor.carry_out` can ask for: an operation on a connection that is idle
anyway, and its turn among others that do the same.

Knows what the steps need, and nothing of how or where they are carried out.
"""

cimport cython

from mongokey._support.deadline cimport Deadline
from mongokey.execution.cursors cimport ServerCursor
from mongokey.execution.operation cimport Operation
from mongokey.pool.pool cimport Pool


@cython.final
cdef class OnIdle:
    """An operation on an idle connection, or on none."""


@cython.final
cdef class Turn:
    """One at a time."""


cdef OnIdle on_idle(
    Operation operation, ServerCursor cursor, Pool server, Deadline deadline, double wait_s
):
    cdef OnIdle step = OnIdle.__new__(OnIdle)
    step.operation = operation
    step.cursor = cursor
    step.server = server
    step.deadline = deadline
    step.wait_s = wait_s
    return step


cdef Turn turn(object lock, Deadline deadline):
    cdef Turn step = Turn.__new__(Turn)
    step.lock = lock
    step.deadline = deadline
    return step
