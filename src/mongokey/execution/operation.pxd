# What an operation is, and what carries it out. An Operation says which bytes to send and what
# the reply means; the Executor adds what every command needs (session, cluster time, $db),
# decides about retries, and, blocking, moves the bytes. An asyncio runner does the same loop.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from mongokey._support.cdefs cimport mk_buffer
from mongokey.bson.codec cimport CodecContext
from mongokey.connection.connection cimport Connection
from mongokey.pool.pool cimport Pool


cdef extern from "mongokey/reply.h" nogil:
    ctypedef struct mk_command_reply:
        int ok
        int has_write_errors
        int has_error_labels
        int64_t n
        const uint8_t *cursor
        size_t cursor_size
        const uint8_t *cluster_time
        size_t cluster_time_size
        uint64_t cluster_timestamp

    ctypedef struct mk_cursor_reply:
        int64_t id
        const uint8_t *ns
        size_t ns_size
        const uint8_t *batch
        size_t batch_size

    int mk_read_command_reply(const uint8_t *doc, size_t size, mk_command_reply *out)
    int mk_write_cluster_time(mk_buffer *out, const uint8_t *doc, size_t size)
    int mk_read_cursor_reply(const uint8_t *doc, size_t size, mk_cursor_reply *out)


cdef enum:
    # A command may hold a document of full size beside its own fields; so much do servers allow.
    COMMAND_RESERVE = 16 * 1024


cdef class Namespace:
    # A database, or a collection in it, with the bytes that name it in commands.
    cdef readonly str database
    cdef readonly str collection            # None for a database
    cdef bytes db_element                   # the element `$db`
    cdef bytes collection_value             # the collection's name as a BSON string value


cdef class ServerSession:
    # sessions: a server session; used by one command at a time.
    cdef uint8_t id[16]
    cdef int64_t last_used_ns
    cdef int64_t txn_number
    cdef bint dirty                         # a network error: the server may still be at it
    cdef uint64_t forks                     # of the executor when it was made


cdef class Operation:
    cdef Namespace namespace
    cdef ServerSession session              # while it runs; a cursor keeps it longer
    cdef int64_t deadline_ns                # 0: socketTimeoutMS bounds each wait
    # Elements that the executor appends; None, or b"" where the command has its own.
    cdef bytes read_preference
    cdef bytes read_concern
    cdef bytes write_concern
    cdef bint own_api                       # the command declares a stable API itself
    # Kinds of operation.
    cdef bint retryable_read
    cdef bint retryable_write
    cdef bint writes                        # it goes to a primary only
    cdef bint unacknowledged                # no reply is asked for
    cdef bint sessionless                   # no lsid at all
    cdef Pool pool                          # where it was sent last
    cdef uint64_t generation                # of the connection it was sent on
    cdef bint sent                          # this attempt may have reached the server
    cdef bint retried                       # this message was sent before
    cdef bint pinned                        # it may only go to `pool` (the cursor lives there)
    cdef bint tolerates_errors              # an error reply may be a result: ask `tolerates`
    cdef object tolerated                   # codes and messages, None: all
    # Progress, for operations of several messages (batches of writes).
    cdef bint nothing_to_send               # after `write_sections`: there is no message after all
    cdef bint more                          # after `read`: another message is to be sent
    cdef bint keeps_session                 # after `read`: the session lives on in a cursor
    cdef int64_t opened                     # after `read`: the id of the cursor it opened, or 0
    cdef str opened_collection              # where that cursor reads; None: in the namespace
    cdef int64_t txn_number                 # of the message being sent; 0: none

    # Appends the command's elements, without `lsid`, `$db` and kin, to an open document.
    cdef int write(self, mk_buffer *out, Connection connection) except -1
    # Appends kind-1 sections behind the body.
    cdef int write_sections(self, mk_buffer *out, Connection connection) except -1
    # What the reply in `connection` means; raises the server's error.
    cdef object read(self, Connection connection, mk_command_reply *reply)
    cdef bint tolerates(self, dict answer) except -1
    # An error reply that is the result; `answer` is how the driver read it.
    cdef object tolerated_reply(self, Connection connection, dict answer)
    # The result of an unacknowledged operation.
    cdef object unacknowledged_result(self)
    # What the caller gets, once the last message is answered. Both faces return this.
    cdef object finish(self, object result)


cdef class ReauthenticationRequired:
    # What `decode` returns for a reply that is error 391: log in again, then ask once more.
    cdef dict answer


cdef class PendingCursor:
    # A cursor on a server that nobody here will ask any more.
    cdef Namespace namespace
    cdef int64_t id
    cdef ServerSession session              # or None
    cdef Pool pool                          # of its server
    cdef int64_t since_ns
    cdef int tries                          # failed attempts to have it killed


cdef class Executor:
    cdef readonly object topology
    cdef Pool pool                          # the selected server's, None when one must be found
    cdef readonly bint closed
    cdef bint retry_reads
    cdef bint retry_writes
    cdef bint direct                        # one server, whatever it is (directConnection)
    cdef bytes server_api                   # elements of the stable API, or None
    # (answer, address, database) -> a hint for the error's message, or None; or None
    cdef object explain
    # Idle ServerSessions, last in, first out: the latest one, and those before it.
    cdef ServerSession latest
    cdef list sessions
    cdef mk_buffer cluster_time             # the latest `$clusterTime` document seen
    cdef uint64_t cluster_timestamp
    # Housekeeping (`_housekeeping`): cursors to be killed, as PendingCursor; and those for which
    # no connection was idle, or which failed once.
    cdef list abandoned, postponed
    cdef object housekeeping                # held while one is killed: an RLock
    cdef object maintenance                      # its `wake()` has them killed beside the program
    cdef object make_maintenance                 # () -> keeper
    cdef uint64_t forks                     # how often the process forked, down to this one
    cdef object __weakref__

    cdef int _forget(self) except -1
    cdef object execute(self, Operation operation)
    cdef object _once(self, Operation operation)
    cdef object _reauthenticate(self, Operation operation, Connection connection, object asked)
    cdef Pool _select(self)
    cdef bint _give_up(self, Operation operation, object error, object first_error) except -1
    cdef int handle_application_error(self, Operation operation, object error) except -1
    cdef int _write_session(
        self, mk_buffer *out, Operation operation, ServerSession session, Connection connection
    ) except -1
    cdef int encode(self, Operation operation, Connection connection) except -1
    cdef object decode(self, Operation operation, Connection connection)
    # An idle session, which a server forgets after `timeout_ns`, or a new one.
    cdef ServerSession take_session(self, int64_t timeout_ns)
    cdef int give_session(self, ServerSession session) except -1
    # All idle sessions; they stay idle.
    cdef list idle_sessions(self)
    # There is a cursor on a server that may have to be killed one day.
    cdef int expect_cursor(self) except -1
    cdef int abandon(self, PendingCursor cursor) except -1
    cdef int _abandon_opened(self, Operation operation) except -1


cdef int check(int rc) except -1
cdef int put(mk_buffer *out, bytes data) except -1
cdef int write_document_elements(mk_buffer *out, object document, object context) except -1
cdef CodecContext envelope_of(CodecContext context)
cdef dict decode_reply(Connection connection, CodecContext context)
