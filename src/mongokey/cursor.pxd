# Cursors: batches of documents, and getMore for the next one.
from libc.stdint cimport int64_t, uint64_t

from mongokey.bson.codec cimport CodecContext
from mongokey.commands.crud cimport Find
from mongokey.execution.operation cimport (
    PendingCursor,
    Executor,
    Namespace,
    Operation,
    ServerSession,
)
from mongokey.pool.pool cimport Pool


cdef class BatchCursor:
    cdef Executor executor
    cdef Namespace namespace
    cdef CodecContext context
    cdef object _collection
    cdef bytes read_preference              # the elements for commands, or None
    cdef bytes read_concern
    # The batch at hand: documents[index:size] are still to be handed out.
    cdef list documents                     # None: no batch
    cdef Py_ssize_t index, size
    # The cursor on the server.
    cdef int64_t id                         # 0: none, or exhausted
    cdef ServerSession server_session
    cdef Pool pool                          # the server that has it
    cdef uint64_t forks                     # the executor's when it was opened
    cdef bint started                       # the first command was sent
    cdef bint closed
    cdef bint fetching                      # a command of this cursor is on its way
    cdef int64_t batch_limit                # batchSize of getMore; 0: the server's choice
    cdef int64_t most                       # documents altogether; 0: all
    cdef readonly int64_t retrieved         # how many documents the server has sent so far
    cdef bint tailable
    cdef dict get_more_extras
    cdef object __weakref__

    cdef int _drop_batch(self) except -1
    cdef int _take(self, list documents) except -1
    cdef bint _fill(self) except -1
    cdef int _claim(self) except -1
    cdef int _adopt(self, Operation operation) except -1
    cdef int _forget(self) except -1
    cdef PendingCursor _release(self)
    cdef bint _get_more(self) except -1
    cdef bint _is_empty(self) noexcept
    cdef int _start(self) except -1
    cdef int _end(self) except -1
    cdef int _abandon(self) except -1


cdef class Cursor(BatchCursor):
    cdef object _filter
    cdef object _projection
    cdef object _sort
    cdef object _hint
    cdef int64_t _skip
    cdef int64_t _batch_size
    cdef bint _single_batch
    cdef bint _empty                        # an empty slice: the server takes limit 0 for all
    cdef dict _options                      # further fields of `find`
    cdef Find _operation(self)


cdef class CommandCursor(BatchCursor):
    pass
