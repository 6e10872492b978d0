# Operations given as a whole command document, and the driver's own housekeeping.
from libc.stdint cimport int64_t

from mongokey.bson.codec cimport CodecContext
from mongokey.execution.operation cimport CommandReply, Namespace, Operation, ServerCriteria


cdef class Command(Operation):
    cdef CodecContext context               # of what is sent, and of documents in the reply
    cdef CodecContext reply_context         # of the reply around them
    cdef readonly object document
    cdef object parse                       # (reply: dict) -> result, or None: the reply itself
    cdef bint check_write_concern           # a `writeConcernError` in the reply raises
    cdef tuple needs                        # of an unacknowledged one, see `check_unanswered`
    cdef int set_document(self, object document) except -1
    # The elements that the execution is to append, but for those that the document has itself.
    cdef int set_elements(
        self, ServerCriteria criteria, bytes read_concern, bytes write_concern
    ) except -1
    cdef int check_written(self, CommandReply *reply) except -1
    cdef int _ask_no_answer(self) except -1


cdef class FieldCommand(Command):
    cdef bytes field                        # the name of the field that is the result
    cdef bint array                         # it holds an array; else a document or nothing


cdef class CursorCommand(Command):
    cdef bint needs_cursor                  # a reply without one is an error
    cdef bint raw                           # batches are not decoded: `RawBatch`es
    cdef readonly int64_t batch_size        # of the getMores; 0: the server's choice
    cdef readonly dict get_more_extras      # further fields of the getMores, or None
    cdef bint is_endless(self) except -1
    cdef str _collection_of(self, CommandReply *reply)


# What a user gave to `Database.command`, whose keyword arguments are `options`.
cdef Command user_command(
    Namespace namespace,
    command,
    value,
    check,
    allowable_errors,
    read_preference,
    codec_options,
    comment,
    dict options,
)
