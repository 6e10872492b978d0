# Which event loop a client's connections and monitors belong to.


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
