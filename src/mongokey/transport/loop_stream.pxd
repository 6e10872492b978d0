# A stream to a server whose readiness an asyncio loop tells: none of its calls waits.
from libc.stdint cimport int64_t, uint8_t

from mongokey.transport.stream cimport Stream, mk_socket

cdef enum:
    # What its owner is told.
    READABLE = 0
    WRITABLE = 1
    TIMED_OUT = 2                           # `limit_ns` has passed
    CLOSED = 3                              # by somebody here

# Called in the loop's thread; what it raises goes to the loop.
ctypedef int (*stream_event)(void *owner, int event) except -1


cdef class LoopStream(Stream):
    cdef readonly object loop               # the asyncio loop that serves it
    # Who uses it, told of events; NULL: nobody. Not a reference: the owner has one to this stream,
    # and lets go of it before it ends.
    cdef void *owner
    cdef stream_event tell
    cdef int64_t limit_ns                   # by when the owner wants to be told; 0: never
    cdef int64_t timer_at_ns                # when the timer looks at that
    cdef object timer                       # its handle, or None
    cdef bint reads, writes                 # registered with the loop
    cdef bint holds_output                  # what was taken is not all sent
    cdef SocketEvent on_readable, on_writable, on_timer
    cdef void *registered                   # the `Reader` that the loop has; NULL: it has none

    # How many bytes were taken to be sent (0: none for now): waits for WRITABLE for more, or, when
    # `holds_output`, before `flush`.
    cdef Py_ssize_t put(self, const uint8_t *data, size_t size) except -1
    # Whether all that was taken is sent.
    cdef bint flush(self) except -1
    # Bytes that are there; 0: none now. The end of the stream raises AutoReconnect.
    cdef Py_ssize_t take(self, uint8_t *into, size_t capacity) except -1

    # `take` has more (`unread`): be told READABLE again, after others.
    cdef int go_on_soon(self) except -1

    cdef int watch(self) except -1          # be told READABLE from now on
    cdef int pause(self) except -1          # not any more, until `watch`
    cdef int watch_writes(self, bint wanted) except -1
    cdef int arm(self, int64_t limit_ns) except -1
    cdef int handle(self, int event) except -1
    cdef bint _may_touch_loop(self) except -1
    cdef int _unregister(self) except -1
    cdef int _let_go(self) except -1        # the loop has


# Have the owner told TIMED_OUT at `limit_ns` (0: never), unless this is called again before.
cdef inline int expect_by(LoopStream stream, int64_t limit_ns) except -1:
    stream.limit_ns = limit_ns
    if limit_ns and limit_ns < stream.timer_at_ns:
        stream.arm(limit_ns)
    return 0


cdef class SocketEvent:
    # What a loop calls. It does not keep the stream alive.
    cdef void *stream                       # NULL once it is gone
    cdef int event


cdef class Reader(SocketEvent):
    # READABLE, as the loop has it: only the loop refers to it, and it tells the stream when the
    # loop does no more.
    pass
