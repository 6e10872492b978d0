# The operations of every day, written by hand for speed: find, getMore and the writes.
from libc.stdint cimport int64_t

from mongokey.bson.codec cimport CodecContext
from mongokey.execution.cursors cimport CursorBatch
from mongokey.execution.operation cimport CommandReply, Limits, Operation
from mongokey.results cimport InsertOneResult


cdef class Find(Operation):
    cdef CodecContext context
    cdef object filter
    cdef object projection
    cdef object sort
    cdef int64_t skip, limit
    cdef int64_t batch_size                 # 0: the server's default
    cdef bint single_batch
    cdef dict extras                        # further elements of the command, or None
    cdef bint first_only                    # the result is one document or None, not a batch
    cdef bint raw                           # batches are `RawBatch`es


cdef class GetMore(Operation):
    cdef CodecContext context
    cdef int64_t cursor_id
    cdef bint raw                           # the result is a `RawBatch`
    cdef int64_t batch_size
    cdef dict extras


cdef class InsertOne(Operation):
    cdef CodecContext context
    cdef object document
    cdef object inserted_id
    cdef dict extras
    cdef InsertOneResult _result(self, bint acknowledged)


cdef class WriteOne(Operation):
    # One update or delete statement.
    cdef CodecContext context
    cdef bint is_delete
    cdef dict statement
    cdef dict extras


# Put a batch into the result of a command that opens a cursor, decoded or not.
cdef int read_batch(
    CommandReply *reply, CursorBatch result, CodecContext context, bint raw
) except -1
cdef dict decode_written(CommandReply *reply, CodecContext context)
# What an unacknowledged write needs of the server, or None; and whether the server has it.
cdef tuple unanswered_needs(dict statement, bint is_delete)
cdef int check_needs(tuple needs, const Limits *limits) except -1
cdef int raise_first_error(dict reply) except -1
