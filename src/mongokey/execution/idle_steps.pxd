# The steps of what is told to servers for good order: see `Executor.carry_out`.
from mongokey._support.deadline cimport Deadline
from mongokey.execution.cursors cimport ServerCursor
from mongokey.execution.operation cimport Operation
from mongokey.pool.pool cimport Pool


cdef class OnIdle:
    # Carry out `operation`, about `cursor` or (None) to `server`, on a connection that is idle
    # anyway, until `deadline`; with `wait_s`, queue for so many seconds with those who wait for a
    # connection; with AS_A_CALL, which is less than 0, as a user's call. Comes to the result,
    # NO_IDLE_CONNECTION, or the error with which the last idle connection failed; or raises.
    cdef Operation operation
    cdef ServerCursor cursor
    cdef Pool server
    cdef Deadline deadline
    cdef double wait_s


cdef class Turn:
    # Have `lock` for those who take turns, until they release it: whether it was got in time.
    cdef object lock
    cdef Deadline deadline                  # None: none
