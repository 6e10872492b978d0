# One connection to one server: a stream, the two buffers its messages live in, and what the
# server said of itself in its hello. Not thread-safe: whoever has checked it out owns it.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from mongokey._support.cdefs cimport mk_buffer
from mongokey.transport.stream cimport Stream
from mongokey.wire.framing cimport mk_reply


cdef class Connection:
    # The message being sent and the one just received; kept from command to command.
    cdef mk_buffer out
    cdef mk_buffer incoming
    cdef size_t message_size                # bytes of `incoming` that are the current message
    cdef Py_ssize_t message_start           # where in `out` the message under construction starts
    cdef mk_reply reply                     # pointers into `incoming`, valid until the next receive
    cdef int32_t request_id                 # of the message in `out`
    cdef uint32_t flags                     # and its flags
    cdef bint awaiting                      # a reply, or the rest of a stream of them, is to come

    cdef readonly Stream stream
    cdef readonly object address            # an Address: (host, port or None)
    cdef readonly object hello              # HelloReply, None until the handshake is over
    # The server's limits, in bytes and documents, from its hello.
    cdef readonly size_t max_message_size
    cdef size_t max_reply_size
    cdef int64_t session_timeout_ns         # an idle session is forgotten by the server then
    cdef readonly int32_t max_bson_size
    cdef readonly int32_t max_write_batch_size
    cdef readonly int32_t max_wire_version
    cdef readonly bint is_member            # of a replica set
    cdef readonly bint supports_sessions
    cdef readonly bint supports_retryable_writes
    cdef readonly bint supports_cluster_time
    # The pool's bookkeeping; times are CLOCK_MONOTONIC nanoseconds.
    cdef uint64_t generation
    cdef int64_t idle_since_ns
    cdef unsigned long held_by              # the thread that has checked it out; 0: none
    # What a login on the open connection needs (`establish.log_in_again`); None without one.
    cdef public object login                # auth.login.LoginResult
    cdef public object settings             # settings.ConnectionSettings

    cdef int begin(self, uint32_t flags) except -1
    cdef int finish(self) except -1
    cdef int send(self, int64_t deadline_ns) except -1
    cdef int receive(self, int64_t deadline_ns) except -1
    cdef int _receive(self, int64_t deadline_ns) except -1
    cdef int _check_beginning(self) except -1
    cdef int _reserve(self, size_t extra) except -1
    cdef int _write(self, str database, object command, object context) except -1
    cdef int trim_buffers(self) except -1
    # Whether another command may be sent: it is open, and nothing is left to be read.
    cdef bint reusable(self) except -1
    cpdef object command(self, str database, object command, int64_t deadline_ns=*)
    cpdef close(self)
