# Cursors that are open on servers, and those among them that nobody here will ask any more.
from libc.stdint cimport int64_t, uint64_t

from mongokey._support.deadline cimport Deadline
from mongokey.connection.connection cimport Connection
from mongokey.execution.operation cimport Namespace
from mongokey.pool.pool cimport Pool
from mongokey.sessions.server_session cimport ServerSession


cdef class ServerCursor:
    # A cursor open on a server. Its commands go to that server, in its session.
    cdef readonly Namespace namespace
    cdef readonly int64_t id                # 0: the server has it no more
    cdef public ServerSession session       # None while a command uses it, or for none
    cdef public object explicit             # the ExplicitSession that it belongs to, or None
    cdef readonly Pool server
    cdef Deadline lifetime                  # of its getMores, by the client's timeoutMS; or None
    cdef uint64_t forks                     # of the session pool when it was opened
    cdef bint sent                          # its latest command may have reached the server
    # Its owner opens another one elsewhere rather than wait until this server is back.
    cdef bint replaceable
    cdef bint exhaust                       # the server may send batches that nobody asks for
    # Behind a load balancer, and where the server may send one batch after the other, its commands
    # go on the connection that opened it, which goes back to the pool when the cursor is done
    # with. None: not pinned, or a command uses it.
    cdef readonly Connection connection
    cdef readonly bint pinned
    # Attempts to have it killed: since when (monotonic ns, 0: none yet), and how many failed.
    cdef public int64_t killing_since_ns
    cdef public int failures

    # Have it keep `connection`, which was checked out; and give that back, if it has one.
    cdef int pin(self, Connection connection) except -1
    cdef int unpin(self) except -1
    # The connection that it is pinned to, for one command.
    cdef Connection take_connection(self)


cdef class CursorBatch:
    # The result of a command that opens a cursor.
    cdef list documents                     # the first batch
    cdef object encoded                     # EncodedBatch: what is to be decoded of it, or None
    cdef ServerCursor cursor                # None if that was all
    cdef Pool server


cdef class PendingCursors:
    # ServerCursors that are to be killed; and those for which no connection was idle, or whose
    # killing failed once.
    cdef public list deferred, postponed
    cdef bint closed
    cdef readonly object lock               # held while one is killed: an RLock
    cdef readonly object maintenance              # its `wake()` has them killed beside the program
    cdef object make_maintenance            # () -> PoolMaintenance, or None

    # There is a cursor on a server that may have to be killed one day.
    cdef int prepare(self) except -1
    # Have a cursor killed beside the program, soon. Safe in a destructor: no I/O here.
    cdef int defer(self, ServerCursor cursor) except -1
