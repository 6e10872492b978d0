# What somebody wants to be told of, readable from C at the cost of one load.


cdef class PublisherFlags:
    cdef readonly bint commands             # command events
    cdef readonly bint pools                # of pools and of their connections
    cdef readonly bint topology             # a topology's opening, changes and closing
    cdef readonly bint servers              # a server's opening, changes and closing
    cdef readonly bint heartbeats           # checks by monitors
    cdef readonly bint selection            # server selection: logs only
