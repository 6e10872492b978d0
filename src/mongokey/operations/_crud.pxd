# The operations of every day, written by hand for speed: find, getMore and the writes.
from libc.stdint cimport int64_t

from mongokey.bson._codec cimport CodecContext
from mongokey.operations._operation cimport Operation
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
    cdef int64_t cursor_id                  # after `read`


cdef class GetMore(Operation):
    cdef CodecContext context
    cdef int64_t cursor_id
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


cdef class Batch(Operation):
    # Statements of one kind, in as many messages as it takes; errors are kept by index.
    cdef CodecContext context
    cdef bytes command                      # b"insert", b"update" or b"delete"
    cdef bytes section                      # b"documents", b"updates" or b"deletes"
    cdef list statements
    cdef bint ordered
    cdef dict extras
    cdef Py_ssize_t start, end              # the batch being sent: statements[start:end]
    cdef list indexes                       # where each statement stands in the bulk; None: there
    cdef dict result                        # in the form of BulkWriteError.details
    cdef Py_ssize_t _index(self, Py_ssize_t statement) except -1
    cdef int _note(self, dict answer, int64_t n) except -1


cdef class InsertMany(Batch):
    cdef list inserted_ids


cdef list decode_batch(const unsigned char *batch, size_t size, CodecContext context)
cdef int check_statements(list statements, bint inserts, CodecContext context) except -1
cdef int raise_first_error(dict reply) except -1
