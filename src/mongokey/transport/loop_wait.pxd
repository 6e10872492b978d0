# What a task of an asyncio loop waits for, used again and again.


cdef class LoopWait:
    cdef public bint _asyncio_future_blocking  # asyncio's: what is yielded is to be waited for
    cdef readonly object loop               # the asyncio loop of who waits
    cdef object _wakeup                     # called with this object when it has come, or None
    cdef object _context                    # the contextvars.Context that it is called in
    cdef bint came                          # what is waited for has, or will never
    cdef bint _waiting                      # a task does
    cdef bint _cancelled
    cdef object _message                    # of the cancellation

    # A new wait begins.
    cdef int expect(self) noexcept
    # It has come: goes on with the task here and now, which only a callback of the loop may do.
    cdef int wake(self) except -1
    # The same, in the next turn of the loop; anybody in the loop's thread may do that.
    cdef int wake_soon(self) except -1

    # For subclasses. The task goes on: may raise what the wait came to.
    cdef int taken(self) except -1
    # The task was cancelled, or is gone: nobody will take what comes.
    cdef int abandoned(self) except -1
