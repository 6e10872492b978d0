# A connection whose messages an asyncio loop moves.

from mongokey._support.deadline cimport Deadline
from mongokey.connection.connection cimport Connection
from mongokey.transport.loop_stream cimport LoopStream
from mongokey.transport.loop_wait cimport LoopWait

cdef enum:
    # What a connection does.
    IDLE = 0
    SENDING = 1                             # not all of `out` is sent
    RECEIVING = 2
    OVER = 3                                # but the task that waits has not gone on yet


cdef class AsyncConnection(Connection):
    cdef LoopStream loop_stream             # the same as `stream`
    cdef MessageWait wait                   # of the exchange under way
    cdef int state
    cdef bint only_sends                    # no reply is waited for
    cdef size_t sent_size                   # bytes of `out` that are sent
    cdef Deadline deadline                  # of the exchange; None: the stream's own timeout
    cdef bint is_compressed                 # the reply is whole, and too large to be inflated here
    cdef object error                       # what the exchange came to; None: all went well

    # Sends what is in `out` and returns what to await until the reply is there; None: it is whole
    # already. `reply.body` and `reply.body_size` are valid until the next message. Raises what
    # `Connection.send` and `receive` raise, here or where it is awaited. After any error, and when
    # who awaits is cancelled, the connection is closed.
    cdef object exchange(self, Deadline deadline)
    # The same for a message that has no reply: until all of it is sent.
    cdef object send_only(self, Deadline deadline)

    # A coroutine: compress the message in `out`; and inflate the reply that `is_compressed`, with
    # `reply` valid then. A thread does it: other tasks need not wait.
    cdef object compress_soon(self)
    cdef object inflate_soon(self)

    cdef object _start(self, Deadline deadline, bint only_sends)
    cdef bint _go_on_with_stream(self) except -1
    cdef int _began(self, Deadline deadline) except -1
    cdef bint _send_more(self) except -1
    cdef int _receive_more(self) except -1
    cdef bint _whole(self) except -1
    cdef bint _is_large(self) except -1
    cdef int _readable(self) except -1
    cdef int _writable(self) except -1
    cdef int _timed_out(self) except -1
    cdef int _failed(self, object error) except -1
    cdef object _cause(self, object error)


cdef class MessageWait(LoopWait):
    cdef AsyncConnection connection         # while it is waited for
