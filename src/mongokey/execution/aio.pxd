# The asyncio runner of executions, and the loop that a client belongs to.
from mongokey.execution.execution cimport Execution, Executor


cdef class AsyncExecutor(Executor):
    cdef object binding                     # which loop it belongs to
    cdef object loop                        # the loop of the latest call, which was admitted
    cdef Execution spare                    # an Execution that is not used at the moment, or None

    # The running loop, which the client belongs to from now on. Raises where it must not.
    cpdef int enter(self) except -1
    cdef Execution _take(self)


cdef class LoopBinding:
    cdef readonly object loop               # None: none yet
    cdef object on_new_loop                 # () -> object
    cdef object on_loop_end                 # () -> object, or None
    cdef object loop_end                    # the LoopEnd of `loop`
    cdef object ended                       # a loop that came to its end; None: none did
    cdef bint has_remains                   # of a loop that it is no more bound to
    cdef readonly str entered_at            # where: "/srv/app.py, line 12, in main"
    cdef object __weakref__

    # Before an operation in `running`, the running loop, where that is not `loop`.
    cpdef int enter(self, object running) except -1
    cdef int _entered(self, object running) except -1
