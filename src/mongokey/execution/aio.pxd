# The asyncio runner of executions.
from mongokey.execution.execution cimport Execution, Executor


cdef class AsyncExecutor(Executor):
    cdef object binding                     # which loop it belongs to
    cdef object loop                        # the loop of the latest call, which was admitted
    cdef Execution spare                    # an Execution that is not used at the moment, or None

    # The running loop, which the client belongs to from now on. Raises where it must not.
    cpdef int enter(self) except -1
    cdef Execution _take(self)
