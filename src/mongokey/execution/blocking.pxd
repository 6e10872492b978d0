# The blocking runner of executions.
from mongokey._support.deadline cimport Deadline
from mongokey.execution.cursors cimport ServerCursor
from mongokey.execution.execution cimport Execution, Executor
from mongokey.execution.operation cimport Operation
from mongokey.pool.pool cimport Pool


cdef class BlockingExecutor(Executor):
    cdef Execution spare                    # an Execution that is not used at the moment, or None

    # For what is said to a server for good order, and not for a caller: `operation`, about `cursor`
    # or (None) to `server`, on an idle connection only, until `deadline`. With `wait_s` it
    # queues for so many seconds with those who wait for a connection. Returns the result, or
    # NO_IDLE_CONNECTION, or the error with which the last idle connection failed.
    cdef object execute_on_idle(
        self,
        Operation operation,
        ServerCursor cursor,
        Pool server,
        Deadline deadline,
        double wait_s,
    )
    cdef object _carry_out(self, object step)
    cdef Execution _take(self)
    cdef object _run(self, Execution execution, double wait_s)
