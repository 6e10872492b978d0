# What a cursor knows: the batch at hand and the cursor on the server. It hands out the next
# operation and takes in its result; who carries operations out is a face's matter.
from libc.stdint cimport int64_t

from mongokey.bson.codec cimport CodecContext
from mongokey.commands.crud cimport GetMore
from mongokey.commands.encoded_batch cimport EncodedBatch, RawBatch
from mongokey.execution.cursors cimport CursorBatch, ServerCursor
from mongokey.execution.execution cimport Executor
from mongokey.execution.operation cimport Namespace


cdef class CursorState:
    cdef Executor executor
    cdef Namespace namespace
    cdef CodecContext context
    # The batch at hand: documents[index:size] are still to be handed out.
    cdef list documents                     # None: no batch
    cdef Py_ssize_t index, size
    # What comes after them in that batch, not decoded yet; None: nothing. Of its documents,
    # `to_decode` are to be handed out.
    cdef EncodedBatch encoded
    cdef Py_ssize_t to_decode
    # The cursor on the server.
    cdef ServerCursor server_cursor         # None: none, or exhausted
    cdef ServerCursor broken                # pinned, after a getMore that failed: to be closed
    cdef object server                      # the Pool of the server that was asked, or None
    cdef bint started                       # the first command was sent
    cdef bint closed
    cdef bint fetching                      # a command of this cursor is on its way
    cdef int64_t batch_limit                # batchSize of getMore; 0: the server's choice
    cdef int64_t most                       # documents altogether; 0: all
    cdef readonly int64_t retrieved         # how many documents the server has sent so far
    cdef bint tailable
    cdef bint raw                           # a batch is handed out as one piece: bytes
    cdef dict get_more_extras

    # A fetch begins: refuses where one is on its way already. Its end is `fetching = False`.
    cdef int claim(self) except -1
    # The operation that gets the next batch, to be carried out for `server_cursor`.
    cdef GetMore get_more(self)
    # The outcome of the command that opens the cursor.
    cdef int opened(self, CursorBatch batch) except -1
    # The outcome of `get_more`: its documents; or an error, False if it is to be raised.
    cdef int received(self, object documents) except -1
    cdef bint failed(self, object error) except -1
    # Decode the next part of the batch at hand, of which no document is left.
    cdef int decode_part(self) except -1
    # Let the batch go.
    cdef int drop_batch(self) except -1
    # What is open on the server, no longer this cursor's; None for nothing.
    cdef ServerCursor release(self)
    # Have the cursor killed on the server soon, if there is one; does no I/O.
    cdef int defer_kill(self) except -1
    cdef int _take(self, list documents, EncodedBatch encoded) except -1
    cdef int _take_raw(self, RawBatch batch) except -1
    cdef int _taken(self) except -1
    cdef int _forget(self) except -1
