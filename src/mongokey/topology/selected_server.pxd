# The server that operations go to, where executions see it without a call.


cdef class SelectedServer:
    cdef public object pool                 # its Pool; None while one must be found
