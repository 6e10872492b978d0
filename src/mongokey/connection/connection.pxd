# One connection to one server: a stream, the buffers its messages live in, and what the server
# said of itself in its hello. Not thread-safe: whoever has checked it out owns it.
from libc.stdint cimport int32_t, int64_t, uint64_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport Stream
from mongokey.wire.message_buffer cimport MessageBuffer


cdef class Connection(MessageBuffer):
    cdef readonly Stream stream
    cdef readonly object address            # an Address: (host, port or None)
    cdef readonly object hello              # HelloReply, None until the handshake is over
    # The server's limits, in bytes and documents, from its hello.
    cdef int64_t session_timeout_ns         # an idle session is forgotten by the server then
    cdef readonly int32_t max_bson_size
    cdef readonly int32_t max_write_batch_size
    cdef readonly int32_t max_wire_version
    cdef readonly bint is_member            # of a replica set
    cdef readonly bint supports_sessions
    cdef readonly bint supports_retryable_writes
    cdef readonly bint supports_cluster_time
    # The pool's bookkeeping; times are CLOCK_MONOTONIC nanoseconds.
    cdef readonly int64_t id                # counts from 1 in each pool
    cdef readonly uint64_t generation       # of the pool, or of the service, when it was begun
    cdef readonly object service_id         # behind a load balancer: which service; or None
    cdef readonly bint stale                # of an older generation: to be closed at checkin
    cdef readonly object interruption       # the error for its user, once the pool closed it; None
    cdef int64_t idle_since_ns
    cdef unsigned long held_by              # the thread that has checked it out; 0: none
    # What a login on the open connection needs (`establish.reauthenticate`); None without one.
    cdef public object login                # auth.login.LoginResult
    cdef public object settings             # settings.ConnectionSettings

    cdef int send(self, Deadline deadline) except -1
    cdef int receive(self, Deadline deadline) except -1
    # Whether another command may be sent: it is open, and nothing is left to be read.
    cdef bint reusable(self) except -1
    cpdef object command(self, str database, object command, Deadline deadline=*)
    cpdef close(self)
