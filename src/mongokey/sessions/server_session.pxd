# Server sessions and the pool of idle ones (driver-sessions, "Server Session Pool"). Every
# method runs under the GIL without giving it up between a test and the change that follows it.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from mongokey._support.cdefs cimport mk_buffer


cdef class ServerSession:
    # Used by one command at a time.
    cdef uint8_t id[16]                     # a UUID of version 4
    cdef public int64_t last_used_ns        # when a command was last written with it (monotonic)
    cdef readonly int64_t txn_number        # of the latest retryable write
    cdef public bint dirty                  # after a network error its command may still be running
    cdef readonly uint64_t forks            # of the pool when it was made


cdef class ServerSessionPool:
    # Idle sessions, last in, first out: the latest one, and those before it.
    cdef ServerSession latest
    cdef list earlier
    cdef bint closed
    cdef readonly uint64_t forks            # how often the process forked, down to this one

    # An idle session that a server which forgets it after `timeout_ns` still has; or a new one.
    cpdef ServerSession take(self, int64_t now_ns, int64_t timeout_ns)
    cpdef int give_back(self, ServerSession session) except -1


# The highest `$clusterTime` that a client has seen.
cdef class ClusterTime:
    cdef mk_buffer document                 # the whole document; empty until one was seen
    cdef uint64_t timestamp                 # its `clusterTime`

    # Takes over a document that mk_read_command_reply accepted, if its timestamp is higher.
    cdef int advance(self, const uint8_t *document, size_t size, uint64_t timestamp) except -1
    # Appends the element `$clusterTime` to an open document; nothing until one was seen.
    cdef int write(self, mk_buffer *out) except -1
