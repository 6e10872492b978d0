# Executor: what all executions of one client share. Execution: what one call of an operation goes
# through, a state machine without I/O. A runner (`execution.blocking` has the blocking one) does
# what `advance` says and tells the outcome:
#
#   SELECT_SERVER   -> selected          EXCHANGE       -> received
#   CHECK_OUT       -> checked_out       SEND_ONLY      -> sent_only
#   AUTHENTICATE    -> authenticated     SLEEP          -> slept
#   TAKE_PINNED     -> checked_out       GIVE_WAY       (nothing is told)
#   COMPRESS        (nothing is told)     ENCRYPT        -> encrypted
#                                         DECRYPT        -> decrypted
#   DONE            the result is there
#
# or `failed`, whatever it was doing; at the end, in any case, `end`.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.connection.connection cimport Connection
from mongokey.events.flags cimport PublisherFlags
from mongokey.execution.cursors cimport CursorBatch, PendingCursors, ServerCursor
from mongokey.execution.operation cimport CommandReply, Limits, Operation
from mongokey.pool.pool cimport Pool
from mongokey.sessions.server_session cimport ClusterTime, ServerSession, ServerSessionPool
from mongokey.topology.selected_servers cimport SelectedServers

from mongokey._support.cdefs cimport mk_buffer


# What is to be done next.
cdef enum:
    SELECT_SERVER
    CHECK_OUT                               # a connection of `server`
    EXCHANGE                                # send the message in `connection.out`, read the reply
    SEND_ONLY                               # send it; no reply will come
    AUTHENTICATE                            # log in on `connection` once more
    SLEEP                                   # for `backoff_ns`, as the server is overloaded
    TAKE_PINNED                             # as CHECK_OUT, but it is `pinned_connection`
    GIVE_WAY                                # let others have a turn; only with `in_parts`
    COMPRESS                                # the message, which takes long; only with `in_parts`
    ENCRYPT                                 # `plain_command` and `message`, by `executor.crypt`
    DECRYPT                                 # `sealed_reply`, by the same
    DONE


# How many sessions are bound to contexts, by whatever client: 0 costs a call no look at its own.
cdef int bound_sessions


cdef class Executor:
    cdef readonly object topology
    cdef SelectedServers selected           # the topology's, read on every call
    # The client's own executor, where this is one of other times. None: it is the client's own.
    cdef Executor origin
    cdef bint is_closed                     # only of the client's own: ask `has_closed`
    # Options.
    cdef bint retry_reads
    cdef bint retry_writes
    cdef int max_adaptive_retries           # of a call that met an overloaded server
    cdef bint direct                        # one server, whatever it is (directConnection)
    cdef bytes server_api                   # elements of the stable API, or None
    cdef readonly bint timed                # it has a timeoutMS
    cdef readonly Timeout timeout           # that, or None: no limit
    cdef readonly bint of_call              # that was given to a single call
    cdef readonly PublisherFlags publisher  # of events
    # (answer, address, database) -> a hint for the error's message, or None; or None
    cdef object explain
    # What encrypts commands and decrypts replies (field level encryption), or None.
    cdef object crypt
    cdef bint encrypts                      # it does both
    cdef public object jitter               # () -> a random number from 0 to 1, without 1
    # State.
    cdef readonly ServerSessionPool sessions
    cdef readonly ClusterTime cluster_time
    cdef readonly PendingCursors pending
    cdef object __weakref__

    # Carry out an operation: its result.
    cpdef object execute(self, Operation operation)
    # The same for a command about a cursor: on its server, in its session. Not tried again.
    cpdef object execute_for_cursor(self, Operation operation, ServerCursor cursor)
    # The same in a session that the user has started.
    cpdef object execute_in(self, Operation operation, object session)
    # The same with an implicit session that an operation before had, and did not give back.
    cpdef object execute_with(self, Operation operation, ServerSession session)
    # Carry out a plan, a generator of the steps in `execution.idle_steps`: what it returns.
    cpdef object carry_out(self, object plan)
    cdef bint has_closed(self) noexcept


cdef class Execution:
    cdef Executor executor
    cdef Operation operation
    cdef ServerCursor cursor                # the cursor that the operation is about, or None
    cdef bint background                    # for good order only: see `execute_on_idle`
    cdef bint in_parts                      # others share the thread: no step may take long
    # Of all attempts, or in the background of the message. None: socketTimeoutMS bounds each wait.
    cdef readonly Deadline deadline
    cdef int64_t round_trip_ns              # the least to the server, where there is a deadline
    cdef int state
    # All attempts.
    cdef readonly ServerSession session     # an implicit one
    cdef object explicit                    # the ExplicitSession that it is carried out in, or None
    cdef readonly int64_t txn_number        # 0: none
    cdef readonly int attempt               # from 1
    cdef int most_retries                   # so often is it tried once more
    # Of the attempt before that may have written something, or of the first; None: none failed.
    cdef readonly object first_error
    cdef readonly int64_t backoff_ns        # how long to wait before the next attempt
    cdef readonly list deprioritized        # addresses of servers that failed; None: none did
    # This attempt.
    cdef readonly Pool server
    cdef readonly Connection connection
    cdef uint64_t generation                # of the connection, or of the pool until there is one
    cdef int64_t now_ns                     # when the connection was checked out (monotonic)
    cdef readonly bint sent                 # the command may have reached the server
    cdef bint reauthenticated
    cdef int32_t streamed_id                # what the next reply of a stream answers
    cdef CommandReply reply
    cdef object under_way                   # the command as events know it, or None
    cdef size_t own_size                    # of what `operation` has written of the body
    cdef bytes document                     # a reply that is to be decrypted, or was
    cdef ServerCursor abandoned             # that the reply opened, and nobody will learn of
    # The outcome.
    cdef readonly object result

    cdef int begin(self, Executor executor, Operation operation, ServerCursor cursor) except -1
    # After `begin`: carry it out in a session that the user has started. May refuse to.
    cdef int join(self, object session) except -1
    cpdef int advance(self) except -1
    cpdef int selected(self, Pool server) except -1
    cpdef int checked_out(self, Connection connection, int64_t now_ns) except -1
    # Valid bytes until it returns.
    cdef int received(self, const uint8_t *body, size_t size) except -1
    cpdef int encrypted(self, bytes message) except -1
    cpdef int decrypted(self, bytes document) except -1
    cpdef int sent_only(self) except -1
    cpdef int authenticated(self) except -1
    cpdef int slept(self) except -1
    # None to go on with `advance`; otherwise what is to be raised: `error` itself, or another one.
    cpdef object failed(self, object error)
    # Whether a server that cannot be asked now is worth waiting for.
    cdef bint awaits_server(self) noexcept
    # The connection that the cursor, or the transaction, is pinned to.
    cdef Connection pinned_connection(self)
    cpdef int end(self) except -1

    cdef int _note_sealed_cursor(self) except -1
    cdef int _begin_attempt(self) except -1
    # What it has `Written`.
    cdef int _write_message(self) except -1
    cdef int _write_sections(self, const Limits *limits) except -1
    cdef uint32_t _message_flags(self) except? 0xFFFFFFFF
    cdef bint _is_to_be_compressed(self) except -1
    cdef int _set_limits(self, Limits *limits) except -1
    cdef int _write_read_preference(self, mk_buffer *out) except -1
    cdef int _write_session(self, mk_buffer *out) except -1
    cdef int _take_deadline(self, Executor executor, ServerCursor cursor) except -1
    cdef int _note_round_trip(self) except -1
    cdef int64_t _time_left(self) except -1
    cdef int _write_max_time(self, mk_buffer *out, size_t body) except -1
    cdef bytes _without_wtimeout(self, bytes elements)
    cdef int _write_explicit_session(self, mk_buffer *out) except -1
    cdef int _pin_transaction(self) except -1
    cdef bint _is_pinned(self)
    cdef int _note_reply(self) except -1
    cdef int _release_in_session(self, Connection connection) except -1
    cdef object _read_error(self)
    cdef int _note_cursor(self, object result) except -1
    cdef ServerCursor _opened_cursor(self)
    cdef int _finish(self, object result) except -1
    cdef int _kill_abandoned(self) except -1
    cdef object _tell_started(self)
    cdef object _tell_received(self, str event)
    cdef object _tell_failed(self, error)
    cdef object _explain_loss(self, error)
    cdef object _is_to_be_retried(self, error)
    cdef object _error_of(self, error, bint is_over)
    cdef object _max_wire_version(self)
    cdef int _release_connection(self) except -1
